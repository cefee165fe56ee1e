// Package operations follows the work that backends do to its end, and remembers how it ended.
//
// It is the room between the handlers and the drivers' [backends.Driver.Operation]. A driver tells
// how one operation stands when it is asked; the [Tracker] knows when to ask: once when it begins to
// follow, whenever the login's feed tells of the operation's VM or task, and now and then in case
// nothing was told. What it learned lies in a [store.Store], so that another gateway, or this one
// after its restart, goes on from there; an id that the store does not know is asked of the driver,
// since ids carry what it takes to find the work again.
//
// An operation never goes back: what has ended stays as it ended, whoever saw it first, and progress
// only grows. Nothing is claimed that was not seen; work that the backend has forgotten is UNKNOWN.
//
// What an operation means, and when it has reached its goal, is the driver's to say. How clients see
// one is the handlers'.
//
// Rejected: asking the backend only when a client asks. XenAPI forgets a task in about an hour, and
// on OpenNebula a VM's state has to be read before somebody else changes it again.
package operations
