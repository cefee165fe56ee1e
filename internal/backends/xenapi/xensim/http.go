package xensim

import (
	"bufio"
	"bytes"
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
			_, _ = conn.Write(refused.bytes()) // the connection ends either way
			return
		case err != nil:
			return
		}
		resp := s.respond(req, slave)
		resp.close = resp.close || !req.keepAlive
		out := resp.bytes()
		if resp.raw != nil {
			out = resp.raw
		}
		if resp.cut {
			out = out[:min(len(out), resp.cutAfter)]
		}
		if _, err := conn.Write(out); err != nil || resp.close || resp.cut {
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
	status   int
	reason   string
	headers  []string
	body     []byte
	close    bool
	raw      []byte // sent instead of everything else
	cut      bool
	cutAfter int
}

func (r *response) Error() string { return r.reason }

func (r *response) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", r.status, r.reason)
	fmt.Fprintf(&b, "content-length: %d\r\n", len(r.body))
	connection := "keep-alive"
	if r.close {
		connection = "close"
	}
	fmt.Fprintf(&b, "connection: %s\r\ncache-control: no-cache, no-store\r\n", connection)
	for _, h := range r.headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(r.body)
	return b.Bytes()
}

func page(status int, reason, body string) *response {
	return &response{status: status, reason: reason, headers: []string{"content-type: text/html"}, body: []byte("<html><body>" + body + "</body></html>"), close: true}
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
	ok := &response{status: 200, reason: "OK", headers: append([]string{"content-type: text/xml"}, cors...)}
	fault := s.noteCall(call.method)
	if fault == nil {
		ok.body = s.dispatch(call, slave)
		return ok
	}
	if f := s.delay(fault); f != nil {
		return &response{cut: true}
	}
	switch {
	case fault.Code != "":
		ok.body = encodeFailure(fail(fault.Code, fault.Params...))
		return ok
	case fault.Garbage != nil:
		return &response{raw: fault.Garbage, close: true}
	case fault.Status != 0:
		resp := page(fault.Status, "Fault", "")
		resp.body = []byte(fault.HTML)
		return resp
	}
	ok.body = s.dispatch(call, slave)
	ok.cut, ok.cutAfter = fault.Cut, fault.CutAfter
	return ok
}
