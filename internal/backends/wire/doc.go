// Package wire is the room next to the backends: it moves one XML-RPC call over HTTP, and reads
// the reply. It knows sockets, deadlines, size limits and XML; it knows neither OpenNebula nor
// XenAPI. What a fault or a failure means, whether a call may be repeated, and what a reply's
// members are, is left to the drivers.
//
// Requests are written with kolo/xmlrpc, one scalar at a time; structs, arrays and the envelope are
// written here, because kolo leaves member names unescaped, orders members at random and drops the
// params element that xapi insists on.
//
// Replies are read by package scan, whose views into the reply's bytes build no tree. [Client.Call]
// reads a reply whole, and [Reply.Value] is what it holds; one that may be long is read record by
// record while it arrives, from the body that [Client.Open] gives. The other ways were rejected: kolo's
// decoder trims untyped strings and loses its place on an empty <value></value>, and encoding/xml
// refuses a whole pool of machines for one bad byte, at a twentieth of the speed.
//
// kolo's client was rejected as well: it sends one call at a time, takes no context, and turns a
// fault's code into text.
package wire
