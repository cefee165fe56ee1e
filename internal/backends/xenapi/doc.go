// Package xenapi is the driver for XenAPI: xapi in XenServer, Citrix Hypervisor and XCP-ng, API 1.3
// to 2.21 and the releases after it. It says the gateway's words in XenAPI's: verbs as messages of
// the VM class ([Driver.Do]), members as fields (members.go), states, error codes and records as the
// tables in this folder have them.
//
// Lists and events are read while they arrive (answer.go): one record at a time becomes a VM by the rows
// of one table (fields.go), the same as for single reads, and only by the rows that somebody asked for.
//
// What it keeps: which pool member is the coordinator, the release last seen, and which reference
// stands for which uuid. It keeps nothing per user. HTTP and XML are left to the wire package, what
// a problem looks like to the handlers.
//
// References ("OpaqueRef:…") stay inside: every one that goes out is turned into an id, or into the
// name of its class where nobody knows it any more.
//
// Rejected: mirroring the pool with event.from in order to answer reads from memory. It makes each
// read as old as the last event, and needs a session of the gateway's own; [Driver.Watch] only tells
// what happens, to whom it concerns. Also rejected: a second description of the verbs for plans. A row
// yields its calls as steps, which Do sends and PlanDo tells. And rejected: the synchronous form of the
// long messages. Conflicting calls wait inside xapi instead of failing, so that a lost connection would
// leave the outcome unknown; the Async form gives a task that can be asked again.
package xenapi
