// Package onesim is OpenNebula's oned in memory, speaking its real XML-RPC protocol on a real TCP port.
//
// It is the backend that driver tests and `gateway -demo` talk to when no cloud is at hand. It answers like
// the daemon: the same reply shapes per release, error codes and texts, XML documents, faults and HTTP habits
// (one request a connection, 411 without a length, 408 for a long header, HTML for what is not XML-RPC).
// What was recorded from oned 6.10.0 and 4.14.2 is answered as recorded: the replay test sends those requests again
// and compares. Legality per release follows OpenNebula's sources. Two things are weaker: refusals that no recording
// shows have the right code, but a text worded like their neighbours', and the documents of releases that were not
// recorded are those of the nearest one that was, with the members that are known to differ.
//
// Time is handed in (Config.Clock). There are no timers: a transition has a due time, and every request, as
// well as Server.Advance, first settles what is due. A test with a manual clock therefore never sleeps.
//
// What it leaves to others: everything about the gateway. It shares no code with the OpenNebula driver, so a
// misreading there is not repeated here.
//
// Rejected: net/http as the server, because it keeps connections, sends its own headers, answers requests
// that oned refuses and refuses some that oned answers; a library codec, because the point is to be strict in
// the places where oned is strict.
//
//	looking for…                               open
//	the XML-RPC and HTTP of it                 codec.go, http.go
//	which method exists since when, how typed  the rows in methods_*.go and users.go; registry.go reads them
//	which action is legal where                machine.go, actions
//	how a state is left, and into which        machine.go, phases
//	what a template becomes in a VM            template.go, build.go
//	a document's elements                      forms.go, vm.go, document.go
//	how 100,000 documents are kept and sent    reply.go
//	users, tokens, permissions                 users.go, access.go
//	hosts, images, networks at the start       world.go
//	what differs between the releases          release.go
//	the demo's VMs                             fleet.go
//	putting VMs, reading states                testing.go
//	failures on purpose                        faults.go
package onesim
