// Package store keeps what the gateway remembers between requests: sealed sessions, operations,
// answers to be replayed.
//
// It knows keys, bytes and times, and nothing of what they mean; who keeps secrets here seals them
// first. Memory ends with the process; Redis is shared by several gateways and survives their restarts.
//
// Rejected: a store with a method for each kind of entry. Each kind would have to be written again
// for each place where entries can be kept.
package store
