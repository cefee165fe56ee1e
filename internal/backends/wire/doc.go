// Package wire is the room next to the backends: it moves one XML-RPC call over HTTP, and reads
// the reply. It knows sockets, deadlines, size limits and XML; it knows neither OpenNebula nor
// XenAPI. What a fault or a failure means, whether a call may be repeated, and what a reply's
// members are, is left to the drivers.
//
// Requests are written with kolo/xmlrpc, one scalar at a time; structs, arrays and the envelope are
// written here, because kolo leaves member names unescaped, orders members at random and drops the
// params element that xapi insists on.
//
// Replies are read by two scanners of our own: [Value] over XML-RPC, [Element] over the XML
// documents that OpenNebula sends inside a string. Both hand out views into the reply's bytes and
// build no tree. The other ways were rejected: kolo's decoder trims untyped strings and loses its
// place on an empty <value></value>, and encoding/xml refuses a whole pool of machines for one bad
// byte, at a twentieth of the speed. kolo's decoder remains for small typed replies
// ([Reply.Decode]), where neither can happen.
//
// A reply that may be long is read while it arrives: [Client.Open] gives its body, and package scan
// walks over it record by record.
//
// kolo's client was rejected as well: it sends one call at a time, takes no context, and turns a
// fault's code into text.
package wire
