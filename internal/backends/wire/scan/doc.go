// Package scan reads what backends send, while it arrives: XML-RPC replies, and the XML documents
// inside them. It knows bytes and grammar; it knows no socket, no backend and no virtual machine.
//
// A [Window] is the part of a stream that is looked at. The walkers go over its bytes once, build
// nothing, and hand out where things are; who wants a text takes it from there. A record that the
// window cuts is walked again from its start once there is more of it, so that no walker has to
// keep its place in the middle of one.
package scan
