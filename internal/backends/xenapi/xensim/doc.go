// Package xensim is a XenAPI pool in memory: it speaks xapi's XML-RPC over HTTP on real TCP ports, so
// that drivers are tested, and a demo runs, without a hypervisor.
//
// It answers like xapi 24.16.0, of which a whole run was recorded: envelope, types on the wire, error
// codes and their parameters, the order in which a call is checked, power states and allowed operations,
// calls that wait for each other, tasks, events, HTTP limits. A test replays the recording against it.
// It also speaks as the oldest public toolstack and as a newer one; schema.txt says what each release has.
//
// What it leaves to others: nothing here knows the gateway. It shares no code with the driver it is there
// to test, as otherwise both could be wrong in the same way and agree.
//
// The simulator is a database of objects whose classes come from a table (schema.txt), with the rules of a
// VM's life on top (operations.go, vm.go). The other way, a handler per message, was rejected: a VM alone
// has over two hundred, nearly all of them reads and writes of one field.
//
// Not simulated: TLS, JSON-RPC, HTTP handlers other than XML-RPC (consoles, import, export), storage and
// network behind their records, high availability, updates. Messages that are in the data model but not
// here are answered NOT_IMPLEMENTED.
//
//	server.go      Start, Config, Server
//	http.go        connections, HTTP as xapi speaks it
//	codec.go       XML-RPC
//	reply.go       how the records of 100,000 VMs are kept and sent
//	schema.go      the data model; schema.txt, release.go
//	db.go          objects and references
//	dispatch.go    from a request to a handler: checks, arguments, roles
//	accessors.go   reads, writes and listings; query.go: their filter language
//	operations.go  which operation is possible when; waiting
//	vm.go          start, stop, migrate; vmconfig.go: memory, VCPUs; copies.go: clones, snapshots
//	devices.go     disks, interfaces, networks; hosts.go
//	sessions.go, tasks.go, events.go
//	fleet.go       what is in the pool at the start; PutVM
//	faults.go      faults and counters for tests; clock.go
package xensim
