// Package scan reads what backends send, while it arrives: XML-RPC replies, and the XML documents
// inside them. It knows bytes and grammar; it knows no socket, no backend and no virtual machine.
//
// A [Window] is the part of a stream that is looked at. The walkers go over its bytes once, build
// nothing, and hand out where things are; who wants a text takes it from there. A record that the
// window cuts is walked again from its start once there is more of it, so that no walker has to
// keep its place in the middle of one.
//
// # Grammar
//
// The XML that is read is what both daemons write, and proxies make of it: no DTD, no namespaces, five
// entities. Names are looser than XML's, texts are exact.
//
//	document = { misc } element { misc }
//	misc     = S | comment | pi
//	element  = "<" name attrs "/>" | "<" name attrs ">" content "</" name { S } ">"
//	content  = { Char - ("<" | "&") | reference | cdata | comment | pi | element }
//	attrs    = { S | name | "=" | '"' { Char - ("<" | '"') } '"' | "'" { Char - ("<" | "'") } "'" }
//	cdata    = "<![CDATA[" { Char } "]]>"          comment = "<!--" { Char } "-->"
//	pi       = "<?" { Char } "?>"                  S       = blank | tab | line feed | carriage return
//	reference = "&" ( "lt" | "gt" | "amp" | "quot" | "apos" | "#" digits | "#x" hex digits ) ";"
//	name     = { letter | digit | "_" | "-" | "." | ":" | any byte above 7F }-
//	Char     = as in XML 1.0, in UTF-8
//
// A [Document] is such a document as the text of a string, in which each of its characters may stand
// for itself, as a reference, or in a CDATA section:
//
//	string   = { Char - ("<" | "&") | reference | cdata | comment | pi }
//
// The walker works on one form of it without resolving it first, which is what oned sends:
//
//	usual    = { Char - ("<" | "&") | "&lt;" | "&gt;" | "&amp;" | other reference to no markup }
//
// and [Normal] brings every other string into that form.
//
// # Limits
//
// Elements are nested MaxDepth deep at most, names have MaxName bytes, tags with attributes 64 KiB. How
// long a record may be is the window's limit; a longer one is told and passed over, never held.
//
// Damage stays inside one record: a character or reference that XML has not, tags that do not match, a
// limit. The record ends at its end tag all the same, as far as that can be told.
package scan
