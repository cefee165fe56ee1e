package onesim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of the Abyss server inside oned. Source: xmlrpc-c lib/abyss/src/session.c and recordings.
const (
	maxHeader   = 4095             // bytes of all header lines together
	bodyTimeout = 15 * time.Second // oned.conf TIMEOUT
	maxBody     = 1 << 30          // oned.conf MESSAGE_SIZE
	abyss       = "Xmlrpc-c_Abyss/1.33.14"
)

// httpError is a refusal of the web server itself: HTML, and no Content-Length.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

var reasons = map[int]string{
	200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
	411: "Length Required", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}

type httpRequest struct {
	verb, path string
	header     map[string]string // names in lower case
	body       []byte
}

// readRequest reads one request. A nil request without an error is a connection closed before it said anything.
func (s *Server) readRequest(c net.Conn) (*httpRequest, error) {
	// Real deadlines on a real socket: how long a slow sender is borne is not part of the simulated time.
	if err := c.SetReadDeadline(time.Now().Add(s.bodyTimeout)); err != nil {
		return nil, err
	}
	br := bufio.NewReaderSize(c, maxHeader+1)
	head, err := readHead(br)
	if err != nil || head == nil {
		return nil, err
	}
	lines := strings.Split(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	first := strings.Fields(lines[0])
	if len(first) != 3 || !strings.HasPrefix(first[2], "HTTP/") || !strings.HasPrefix(first[1], "/") && first[1] != "*" {
		return nil, &httpError{400, fmt.Sprintf("Unable to parse the request header '%s'", lines[0])}
	}
	path, _, _ := strings.Cut(first[1], "?")
	r := &httpRequest{verb: first[0], path: path, header: map[string]string{}}
	for _, l := range lines[1:] {
		if name, v, ok := strings.Cut(l, ":"); ok {
			r.header[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(v)
		}
	}
	return r, s.readBody(c, br, r)
}

func readHead(br *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(head) == 0 && len(line) == 0 {
			return nil, nil
		}
		head = append(head, line...)
		if err != nil || len(head) > maxHeader {
			return nil, &httpError{408, "Failed to read header from client connection."}
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return bytes.TrimRight(head, "\r\n"), nil
		}
	}
}

// readBody checks in Abyss's order: the path, the method, the length, then the bytes.
func (s *Server) readBody(c net.Conn, br *bufio.Reader, r *httpRequest) error {
	if r.path != "/RPC2" {
		return &httpError{404, "This XML-RPC For C/C++ Abyss XML-RPC server responds to only one URI path.  " +
			"I don't know what URI path that is, but it's not the one you requested: '" + r.path + "'.  " +
			"(Typically, it's '/RPC2')"}
	}
	switch r.verb {
	case "POST":
	case "OPTIONS":
		return nil
	default:
		return &httpError{405, "POST is the only HTTP method this server understands"}
	}
	length, given := r.header["content-length"]
	if !given {
		return &httpError{411, "You must send a content-length HTTP header in an XML-RPC call."}
	}
	n, err := strconv.ParseUint(length, 10, 62)
	switch {
	case err != nil:
		return &httpError{400, "There's non-numeric crap in the value of your content-length HTTP header: '" + length + "'"}
	case n == 0:
		return &httpError{400, "According to your content-length HTTP header, your request is empty (zero length)"}
	case n > uint64(s.limit()):
		return &httpError{500, fmt.Sprintf("XML-RPC request too large (%d bytes)", n)}
	}
	if strings.EqualFold(r.header["expect"], "100-continue") {
		if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	if err := c.SetReadDeadline(time.Now().Add(s.bodyTimeout)); err != nil {
		return err
	}
	r.body = make([]byte, n)
	if _, err := io.ReadFull(br, r.body); err != nil {
		return &httpError{408, "Timed out waiting for client to send its POST data"}
	}
	return nil
}

// reply is what goes out: a status, a content type and a body, with or without its length.
type reply struct {
	status  int
	header  string // further header lines, each ended by CR LF
	body    part
	unsized bool

	method string // "" when none was understood
	fault  *Fault // what spoils it on its way
}

// head is everything before the body.
func (s *Server) head(r reply) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%s", r.status, reasons[r.status], r.header)
	if !r.unsized {
		b = fmt.Appendf(b, "Content-length: %d\r\n", r.body.size())
	}
	// oned 6.10 says close on every reply. 4.14 kept connections; this one does not, as a client may not rely on it.
	return fmt.Appendf(b, "Connection: close\r\nDate: %s\r\nServer: %s\r\n\r\n", s.today().UTC().Format("Mon, 02 Jan 2006 15:04:05 MST"), abyss)
}

func htmlReply(status int, text string) reply {
	return reply{status: status, header: "Content-type: text/html\r\n", unsized: true, body: literal(fmt.Sprintf(
		"<HTML><HEAD><TITLE>Error %d</TITLE></HEAD><BODY><H1>Error %d</H1><P>%s</P><p><HR><b><i>"+
			"<a href=\"http://xmlrpc-c.sourceforge.net\">ABYSS Web Server for XML-RPC For C/C++</a></i></b> version 1.33.14<br></p></BODY></HTML>",
		status, status, text))}
}

func xmlReply(body part) reply {
	return reply{status: 200, header: "Content-type: text/xml; charset=utf-8\r\n", body: body}
}

// serve handles one connection: one request, one reply, close.
func (s *Server) serve(c net.Conn) {
	defer c.Close()
	r, err := s.readRequest(c)
	if r == nil && err == nil {
		return
	}
	var he *httpError
	switch {
	case errors.As(err, &he):
		s.send(c, htmlReply(he.status, he.text))
	case err != nil: // the connection broke; there is nobody to tell
	case r.verb == "OPTIONS":
		s.send(c, reply{status: 200, header: "Allow: POST\r\n", body: literal(nil)})
	default:
		s.send(c, s.answer(r.body))
	}
}

// sendBuffer is how much of a long reply is put together before it is written.
const sendBuffer = 256 << 10

// send writes the reply, or as much of it as an injected fault lets through.
func (s *Server) send(c net.Conn, r reply) {
	head := s.head(r)
	w := sink{bufio.NewWriterSize(s.outlet(c, r), min(sendBuffer, len(head)+r.body.size()))}
	w.put(head)
	r.body.write(w)
	if err := w.Flush(); err != nil && !errors.Is(err, errCut) {
		return // the client has gone; oned does not mind either
	}
	// Closing with unread input would reset the connection and could lose the reply on its way: read it off.
	if t, ok := c.(*net.TCPConn); ok {
		if err := t.CloseWrite(); err != nil {
			return
		}
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20)); err != nil {
			return
		}
	}
}

// outlet is the way of one reply to its connection: it counts the bytes, waits where it is held up, and ends where it is cut.
type outlet struct {
	s      *Server
	c      io.Writer
	method string
	sent   int
	holdAt int // only while hold is not nil
	hold   <-chan struct{}
	cutAt  int // -1 is nowhere
}

var errCut = errors.New("cut on purpose")

func (s *Server) outlet(c net.Conn, r reply) *outlet {
	o := &outlet{s: s, c: c, method: r.method, cutAt: -1}
	if f := r.fault; f != nil {
		o.hold, o.holdAt = f.Hold, f.HoldAt
		if f.cuts() {
			o.cutAt = f.Cut
		}
	}
	return o
}

func (o *outlet) Write(b []byte) (int, error) {
	written := 0
	if o.hold != nil && o.sent+len(b) > o.holdAt {
		n, err := o.pass(b[:max(0, o.holdAt-o.sent)])
		if written = n; err != nil {
			return written, err
		}
		select {
		case <-o.hold:
		case <-o.s.life().Done():
		}
		o.hold = nil
	}
	n, err := o.pass(b[written:])
	return written + n, err
}

// pass writes up to the cut.
func (o *outlet) pass(b []byte) (int, error) {
	cut := o.cutAt >= 0 && o.sent+len(b) > o.cutAt
	if cut {
		b = b[:max(0, o.cutAt-o.sent)]
	}
	n, err := o.c.Write(b)
	o.sent += n
	o.s.net.Lock()
	o.s.net.sent[o.method] += int64(n)
	o.s.net.Unlock()
	if err == nil && cut {
		err = errCut
	}
	return n, err
}
