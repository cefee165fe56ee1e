// Package drivertest is what every driver has to do, as one test suite: [Run] for a simulator,
// [RunRemote] for whatever answers at a URL.
//
// A driver's conformance test builds a [World]: a backend on a socket, the ways to bring a VM of it
// into a state, and [Claims] written by hand, which say what the backend has and what it does with
// it. The suite holds the driver to the claims and to what [backends.Driver] promises. A verb, a
// member or a resource without a claim fails, so that nothing is skipped in silence.
//
// Every call of the driver passes a relay, which counts it, and can change the world before it goes
// on, or spoil its answer; and every answer of the driver passes a watch that looks for secrets. The
// relay speaks HTTP on a socket of its own, so that what is spoilt is spoilt for real.
//
// It leaves to others: what a driver says to its backend word by word (the driver's own tests), and
// whether a simulator answers as the daemon does (the simulator's replay of recorded traffic).
//
// Rejected: faults built into the simulators. Each would have its own, and a real daemon none, while
// the suite shall be the same for all three.
//
//	looking for…                                   open
//	what a World has to bring                      world.go, claims.go
//	every verb in every state, in time             verbs.go; too late: late.go
//	allowedActions and checkOperation              actions.go
//	members written and read back                  members.go; hard names: names.go
//	collections and sub-resources                  resources.go; shape of values: shape.go
//	errors, broken connections, permissions        errors.go
//	lists, views, hints                            lists.go
//	logins, releases, what is left behind          logins.go
//	how a VM of a real daemon gets into a state    remote.go
package drivertest
