// Package storetest is what every store has to do, as one test suite, and the Redis that tests use.
//
// It is for tests alone. Rejected: a Redis in memory within the test's process, which would prove
// that the store works with that, scripts and lapses included.
package storetest
