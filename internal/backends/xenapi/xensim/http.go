package xensim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Limits of xapi's HTTP server.
const (
	maxHead        = 1024       // request line and headers together, bytes
	maxBody        = 300 * 1024 // bytes
	maxConnections = 796        // of one host; the next one is left waiting
)

type listener struct {
	net.Listener
	slave bool
}

func (s *Server) accept(l *listener) {
	slots := make(chan struct{}, maxConnections)
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		slots <- struct{}{}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			conn.Close()
			return
		}
		s.connections[conn] = struct{}{}
		s.mu.Unlock()
		s.work.Go(func() {
			defer func() { <-slots }()
			s.serve(conn, l.slave)
		})
	}
}

func (s *Server) serve(conn net.Conn, slave bool) {
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.connections, conn)
		s.mu.Unlock()
	}()
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		req, err := readRequest(r)
		var refused *response
		switch {
		case errors.As(err, &refused):
			refused.close = true
			_ = s.send(conn, refused) // the connection ends either way
			return
		case err != nil:
			return
		}
		resp := s.respond(req, slave)
		resp.close = resp.close || !req.keepAlive
		if err := s.send(conn, resp); err != nil || resp.close {
			return
		}
	}
}

type request struct {
	method, path string
	keepAlive    bool
	body         []byte
}

// response is also an error: one that refuses a request before it is read.
type response struct {
	status  int
	reason  string
	headers []string
	body    part // nil is none
	close   bool
	raw     []byte // sent instead of everything else
	lost    bool   // nothing is sent

	method string // "" when none was understood
	fault  *Fault // what spoils it on its way
}

func (r *response) Error() string { return r.reason }

// parts are the bytes to send.
func (r *response) parts() parts {
	switch {
	case r.lost:
		return nil
	case r.raw != nil:
		return parts{literal(r.raw)}
	case r.body == nil:
		return parts{literal(r.head(0))}
	}
	return parts{literal(r.head(r.body.size())), r.body}
}

func (r *response) head(length int) []byte {
	connection := "keep-alive"
	if r.close {
		connection = "close"
	}
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\ncontent-length: %d\r\nconnection: %s\r\ncache-control: no-cache, no-store\r\n",
		r.status, r.reason, length, connection)
	for _, h := range r.headers {
		b = append(append(b, h...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// sendBuffer is how much of a long reply is put together before it is written.
const sendBuffer = 256 << 10

// send writes a response, or as much of it as an injected fault lets through; then it returns an error.
func (s *Server) send(conn net.Conn, r *response) error {
	o := &outlet{s: s, conn: conn, method: r.method}
	if r.fault != nil {
		o.fault = *r.fault
	}
	out := r.parts()
	w := sink{bufio.NewWriterSize(o, min(sendBuffer, out.size()))}
	out.write(w)
	err := w.Flush()
	if err == nil && (r.lost || o.fault.Cut) {
		err = errCut // also where the reply was shorter than that
	}
	return err
}

// outlet is the way of one response to its connection: it counts the bytes, waits where it is held up, and ends where it is
// cut.
type outlet struct {
	s      *Server
	conn   net.Conn
	method string
	fault  Fault
	sent   int
}

var errCut = errors.New("cut on purpose")

func (o *outlet) Write(b []byte) (int, error) {
	written := 0
	if o.fault.Hold != nil && o.sent+len(b) > o.fault.HoldAt {
		n, err := o.pass(b[:max(0, o.fault.HoldAt-o.sent)])
		if written = n; err != nil {
			return written, err
		}
		o.wait()
	}
	n, err := o.pass(b[written:])
	return written + n, err
}

// wait lasts until the fault's owner, or the end of the toolstack.
func (o *outlet) wait() {
	o.s.mu.Lock()
	done := o.s.done
	o.s.mu.Unlock()
	select {
	case <-o.fault.Hold:
	case <-done:
	}
	o.fault.Hold = nil
}

// pass writes up to the cut.
func (o *outlet) pass(b []byte) (int, error) {
	cut := o.fault.Cut && o.sent+len(b) > o.fault.CutAfter
	if cut {
		b = b[:max(0, o.fault.CutAfter-o.sent)]
	}
	n, err := o.conn.Write(b)
	o.sent += n
	o.s.traffic.Lock()
	o.s.traffic.sent[o.method] += int64(n)
	o.s.traffic.Unlock()
	if err == nil && cut {
		err = errCut
	}
	return n, err
}

func page(status int, reason, body string) *response {
	return &response{status: status, reason: reason, headers: []string{"content-type: text/html"}, body: literal("<html><body>" + body + "</body></html>"), close: true}
}

// crash is the page for whatever xapi did not expect, with the exception in it.
func crash(exception string) *response {
	return page(500, "Internal Error", "<h1>HTTP 500 internal server error</h1>An unexpected error occurred; please wait a while and try again. "+
		"If the problem persists, please contact your support representative.<h1> Additional information </h1>"+string(appendText(nil, exception)))
}

func readRequest(r *bufio.Reader) (*request, error) {
	head, err := readHead(r)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(head, "\n")
	words := strings.Fields(lines[0])
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") {
		return nil, io.ErrUnexpectedEOF // xapi never answers this
	}
	req := &request{method: words[0], path: words[1], keepAlive: words[2] != "HTTP/1.0"}
	length := int64(-1)
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil || length < 0 {
				return nil, crash(`Failure("Int64.of_string")`)
			}
		case "connection":
			req.keepAlive = !strings.EqualFold(value, "close")
		}
	}
	if req.method != "POST" {
		return req, nil
	}
	switch {
	case length < 0:
		return nil, crash(`Failure("We require a content-length: HTTP header")`)
	case length > maxBody:
		return nil, crash("Http_svr.Client_requested_size_over_limit")
	}
	req.body = make([]byte, length)
	_, err = io.ReadFull(r, req.body)
	return req, err
}

// readHead reads up to the empty line, with line ends made "\n".
func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for size := 0; ; {
		line, err := r.ReadSlice('\n')
		size += len(line)
		if size > maxHead || errors.Is(err, bufio.ErrBufferFull) {
			return "", page(431, "Request Header Fields Too Large", "<h1>HTTP 431 request header fields too large</h1>Exceeded the maximum header size.")
		}
		if err != nil {
			return "", err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" && head.Len() > 0 {
			return strings.TrimSuffix(head.String(), "\n"), nil
		}
		if text != "" {
			head.WriteString(text + "\n")
		}
	}
}

func (s *Server) respond(req *request, slave bool) *response {
	cors := []string{"Access-Control-Allow-Origin: *", "Access-Control-Allow-Headers: X-Requested-With"}
	switch req.method {
	case "POST":
	case "OPTIONS":
		return &response{status: 200, reason: "OK", headers: append(cors, "Access-Control-Allow-Methods: PUT")}
	case "GET", "PUT":
		return page(403, "Forbidden", "<h1>HTTP 403 forbidden</h1>Access to the requested resource is forbidden.")
	case "HEAD":
		return &response{status: 501, reason: "Method Not Implemented", headers: []string{"content-type: text/html"}, close: true}
	default:
		return page(501, "Method Not Implemented", "<h1>HTTP 501 Method Not Implemented</h1><p>Unknown "+string(appendText(nil, req.method))+" not supported.<br /></p>")
	}
	call, err := decodeCall(req.body)
	if err != nil {
		return crash(err.Error())
	}
	ok := &response{status: 200, reason: "OK", headers: append([]string{"content-type: text/xml"}, cors...), method: call.method}
	fault := s.noteCall(call.method)
	if fault == nil {
		ok.body = s.dispatch(call, slave, nil)
		return ok
	}
	if f := s.delay(fault); f != nil {
		return &response{lost: true}
	}
	switch {
	case fault.Code != "":
		ok.body = encodeFailure(fail(fault.Code, fault.Params...))
		return ok
	case fault.Garbage != nil:
		return &response{raw: fault.Garbage, close: true, method: call.method}
	case fault.Status != 0:
		resp := page(fault.Status, "Fault", "")
		resp.body, resp.method = literal(fault.HTML), call.method
		return resp
	}
	ok.body, ok.fault = s.dispatch(call, slave, fault.List), fault
	return ok
}
