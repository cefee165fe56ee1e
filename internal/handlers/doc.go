// Package handlers is the door: it turns HTTP requests into calls of package backends, and values or
// errors into replies.
//
// Routes come from the OpenAPI document: [New] walks it, and fails when an operation has no handler
// or a handler no operation. chi finds the route; kin-openapi then checks parameters and body
// against the operation that the route stands for, so that there is one router and one description
// of what a client may send. A handler only carries. Every refusal leaves through one place, fail,
// which is also the only place where one is logged.
//
// A list is planned (plan.go), gathered from all of its backends at once or one after the other
// (gather.go), and leaves as a page (list.go) or, as its VMs arrive, as lines (stream.go). A page holds
// no more in memory than it shows. Identical reads of one login share a call (shared.go); a request
// that accepts an older answer may get what the login's watcher knows (freshness.go). Nobody reads what
// is older than his own last change (writes.go).
//
// Left to others: what a token means (auth), what a verb does (backends and its drivers).
//
// Rejected: generated handlers. They bring a second router and a tree of types beside the ones of
// package backends; what they would guarantee is checked at run time by the contract, and in tests
// for every reply.
package handlers
