// Package opennebula says the gateway's words in those of OpenNebula (oned), releases 3.8 to 7.4.
//
// It is the driver: one row per verb (verbs.go), per writable member (members.go), per resource
// (resources.go), per state (states.go), per action a state allows (actions.go) and per error
// (errors.go). Moving a call is left to the wire package, checking a request's shape to the
// contract, and keeping a session to whoever holds the token.
//
// Rejected: one type per release. Releases differ in single words and arguments, so a release is a
// column of the tables (since, until), and no code asks for a version number.
//
//	looking for…                                  open
//	what goes out for a verb                      verbs.go; when it has ended: courses.go, operations.go
//	what a change would send, without sending it  plan.go
//	how an operation is given up                  cancel.go
//	what a release calls it                       release.go
//	how a member is created or patched            members.go, changes.go
//	how a value is put into a template            template.go
//	a record's element → a member of backends.VM  record.go, vm.go
//	how one bad VM does not spoil a list          sweep.go
//	what differs since the poll before            watch.go
package opennebula
