package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

const (
	secret = "the-password-of-the-backend"
	sealed = "text-of-the-reply"
	okBody = `<?xml version="1.0"?><methodResponse><params><param><value>` + sealed + `</value></param></params></methodResponse>`
)

func parse(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// failure asserts that err is an *Error that tells no secret.
func failure(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T %v, want an *Error", err, err)
	}
	for text := range strings.SplitSeq(fmt.Sprintf("%v\n%+v\n%v", e, e.Err, errors.Unwrap(err)), "\n") {
		if strings.Contains(text, secret) || strings.Contains(text, sealed) || strings.Contains(text, "user-of-the-url") {
			t.Errorf("an error tells a secret: %s", text)
		}
	}
	return e
}

func want(t *testing.T, err error, kind Failure, sent bool) *Error {
	t.Helper()
	e := failure(t, err)
	if e.Kind != kind || e.MaybeDone() != sent {
		t.Errorf("%v, sent %v; want %v, sent %v", e, e.Sent, kind, sent)
	}
	if e.Method != "one.vm.action" {
		t.Errorf("method %q", e.Method)
	}
	return e
}

// raw is a server that reads a request and hands its head and the connection to answer; the
// connection is closed after it.
func raw(t *testing.T, answer func(head string, conn net.Conn)) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if head, err := readRequest(bufio.NewReader(conn)); err == nil {
				answer(head, conn)
			}
			conn.Close()
		}
	}()
	return parse(t, "http://user-of-the-url:"+secret+"@"+l.Addr().String()+"/RPC2")
}

// readRequest is the head of a request, as it came; its body is read and dropped.
func readRequest(r *bufio.Reader) (head string, err error) {
	var b strings.Builder
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			break
		}
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if _, err := fmt.Sscan(n, &length); err != nil {
				return "", err
			}
		}
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return b.String(), err
}

func call(t testing.TB, o Options) (*Reply, error) {
	t.Helper()
	c := New(o)
	t.Cleanup(c.Close)
	return c.Call(t.Context(), "one.vm.action", secret, 7)
}

// calls are the ways to call: they fail alike.
var calls = map[string]func(testing.TB, Options) (*Reply, error){"whole": call, "kept": kept, "streamed": streamed}

// kept calls over a connection that would be kept.
func kept(t testing.TB, o Options) (*Reply, error) {
	t.Helper()
	o.KeepAlive = true
	return call(t, o)
}

func streamed(t testing.TB, o Options) (*Reply, error) {
	t.Helper()
	s, err := New(o).Open(t.Context(), "one.vm.action", secret, 7)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Whole(scan.NewWindow(s, 512, 1<<20))
}

func TestRequestHead(t *testing.T) {
	for _, keep := range []bool{false, true} {
		heads := make(chan string, 1)
		u := raw(t, func(head string, conn net.Conn) {
			heads <- head
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
		})
		c := New(Options{URL: u, KeepAlive: keep})
		r, err := c.Call(t.Context(), "one.vm.action", secret, 7)
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Value()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := v.Text(); err != nil || string(s) != sealed || r.Size() != int64(len(okBody)) {
			t.Errorf("%q %v, %d bytes", s, err, r.Size())
		}
		body, err := encodeCall("one.vm.action", []any{secret, 7})
		if err != nil {
			t.Fatal(err)
		}
		head := <-heads
		want := fmt.Sprintf("POST /RPC2 HTTP/1.1\r\nHost: %s\r\nUser-Agent: vmgateway\r\n", u.Host)
		if !keep {
			want += "Connection: close\r\n"
		}
		want += fmt.Sprintf("Content-Length: %d\r\nContent-Type: text/xml\r\n\r\n", len(body))
		if sorted(head) != sorted(want) {
			t.Errorf("sent\n%swant\n%s", head, want)
		}
		if n := c.headerSize(len(body)); n != len(head) {
			t.Errorf("reckoned %d bytes of headers, sent %d", n, len(head))
		}
		if c.URL().User != nil {
			t.Error("the URL keeps its userinfo")
		}
		if pool, ok := c.transport.(*http.Transport); ok && pool.Proxy != nil {
			t.Error("a proxy could be used")
		}
	}
}

func sorted(head string) string {
	lines := strings.Split(head, "\r\n")
	slices.Sort(lines)
	return strings.Join(lines, "\r\n")
}

func TestStatus(t *testing.T) {
	for _, row := range []struct {
		status int
		sent   bool
	}{
		{201, true}, {204, true}, {301, false}, {307, false}, {400, false}, {404, false}, {408, false}, {411, false},
		{431, false}, {500, true}, {501, false}, {502, true}, {503, true}, {504, true},
	} {
		requests := 0
		u := raw(t, func(_ string, conn net.Conn) {
			requests++
			fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nLocation: /elsewhere\r\nContent-Type: text/html\r\n\r\n", row.status, sealed)
			if row.status != 204 {
				fmt.Fprintf(conn, "<html>%s</html>", sealed)
			}
		})
		for how, call := range calls {
			requests = 0
			_, err := call(t, Options{URL: u})
			if e := want(t, err, Status, row.sent); e.Status != row.status || requests != 1 {
				t.Errorf("%s: status %d after %d requests, want %d", how, e.Status, requests, row.status)
			}
		}
	}
}

func TestContentType(t *testing.T) {
	for _, row := range []struct {
		name, header, body string
		want               Failure // 0: the value is read
	}{
		{"xml", "text/xml", okBody, 0},
		{"xml with charset", "text/xml; charset=utf-8", okBody, 0},
		{"application/xml", "application/xml", okBody, 0},
		{"none", "", okBody, 0},
		{"relabelled reply", "text/html", okBody, 0},
		{"reply as bytes", "application/octet-stream", "\xef\xbb\xbf" + okBody, 0},
		{"broken type", ";;", okBody, 0},
		{"html", "text/html", "<html>" + sealed + "</html>", ContentType},
		{"json", "application/json", `{"a":"` + sealed + `"}`, ContentType},
		{"empty html", "text/html", "", ContentType},
		{"html named xml", "text/xml", "<html>" + sealed + "</html>", Malformed},
		{"doctype html", "text/xml", "<!DOCTYPE html><html>" + sealed + "</html>", Malformed},
		{"empty xml", "text/xml", "", Cut},
		{"not xml", "text/xml", sealed, Malformed},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := raw(t, func(_ string, conn net.Conn) {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", row.header, len(row.body), row.body)
			})
			for how, call := range calls {
				r, err := call(t, Options{URL: u})
				if err == nil {
					_, err = r.Value()
				}
				if row.want != 0 {
					want(t, err, row.want, true)
				} else if err != nil {
					t.Errorf("%s: %v", how, err)
				}
			}
		})
	}
}

func TestBrokenReplies(t *testing.T) {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n", len(okBody))
	for _, row := range []struct {
		name, text string
		want       Failure
	}{
		{"nothing", "", Cut},
		{"half a status line", "HTTP/1.1 20", Cut},
		{"half a header", "HTTP/1.1 200 OK\r\nContent-Ty", Cut},
		{"no body", head, Cut},
		{"half a body", head + okBody[:40], Cut},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n" + okBody[:40], Cut},
		{"another protocol", "SSH-2.0-" + sealed + "\r\n" + strings.Repeat(sealed, 9) + "\r\n\r\n", Malformed},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: " + sealed + "\r\n\r\n", Malformed},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Malformed},
		{"bad header", "HTTP/1.1 200 OK\r\n" + sealed + "\r\n\r\n", Malformed},
		{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sealed + "\r\n", Malformed},
		{"100 kB of headers", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", TooLarge},
		{"2 GB announced", "HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n", TooLarge},
		{"more than the limit", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", 2000), TooLarge},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := raw(t, func(_ string, conn net.Conn) { io.WriteString(conn, row.text) })
			for how, call := range calls {
				r, err := call(t, Options{URL: u, MaxReply: 1000})
				switch {
				case how == "streamed" && err == nil: // no length is too much
					_, err = r.Value()
					want(t, err, Malformed, true)
				case how == "streamed" && row.name == "2 GB announced":
					want(t, err, Cut, true)
				default:
					want(t, err, row.want, true)
				}
			}
		})
	}
}

// TestCutEverywhere cuts a reply after each of its bytes, with a length announced and without.
func TestCutEverywhere(t *testing.T) {
	body := `<?xml version="1.0"?><methodResponse><params><param><value><array><data><value>a</value>` +
		`<value><i4>1</i4></value></data></array></value></param></params></methodResponse>`
	for n := range len(body) {
		for _, length := range []string{"", fmt.Sprintf("Content-Length: %d\r\n", len(body))} {
			u := raw(t, func(_ string, conn net.Conn) {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n%s\r\n%s", length, body[:n])
			})
			for _, call := range calls {
				r, err := call(t, Options{URL: u})
				if err == nil {
					_, err = r.Value()
				}
				want(t, err, Cut, true)
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	u := parse(t, "http://user-of-the-url:"+secret+"@127.0.0.1:1/") // a port that no test is given by chance
	_, err := call(t, Options{URL: u})
	want(t, err, Unreachable, false)
}

func TestTimeoutAndCancel(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 9)
	u := raw(t, func(_ string, conn net.Conn) { asked <- struct{}{}; <-release })
	defer close(release)
	_, err := call(t, Options{URL: u, Timeout: 50 * time.Millisecond})
	if e := want(t, err, Timeout, true); !errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("%v is no deadline", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := New(Options{URL: u})
	_, err = c.Call(ctx, "one.vm.action")
	want(t, err, Canceled, false)

	block, gone := context.WithCancel(t.Context())
	second := raw(t, func(_ string, conn net.Conn) { gone(); <-release })
	_, err = New(Options{URL: second}).Call(block, "one.vm.action", secret)
	want(t, err, Canceled, true)

	third := raw(t, func(_ string, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n<")
		<-release
	})
	_, err = call(t, Options{URL: third, Timeout: 50 * time.Millisecond})
	want(t, err, Timeout, true)
}

func TestMaxConns(t *testing.T) {
	const places = 2
	var now, most atomic.Int32
	entered, release := make(chan struct{}, 20), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		entered <- struct{}{}
		<-release
		w.Header().Set("Content-Type", "text/xml")
		io.WriteString(w, okBody)
	}))
	defer server.Close()
	c := New(Options{URL: parse(t, server.URL), MaxConns: places, KeepAlive: true})
	defer c.Close()
	errs := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := c.Call(t.Context(), "one.vm.action")
			errs <- err
		}()
	}
	for range places {
		<-entered
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, "one.vm.action", secret)
	want(t, err, Timeout, false)
	close(release)
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != places {
		t.Errorf("%d calls at once, want %d", most.Load(), places)
	}
}

// TestStaleConnection has the server answer one call, and close the kept connection while the next
// one is under way, after it was read, or before it comes. No call is ever seen twice.
func TestStaleConnection(t *testing.T) {
	for _, readSecond := range []bool{true, false} {
		var seen atomic.Int32
		serve := func(head string, conn net.Conn) {
			if seen.Add(1) != 1 {
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
			if readSecond {
				if _, err := readRequest(bufio.NewReader(conn)); err == nil {
					seen.Add(1)
				}
			}
		}
		c := New(Options{URL: raw(t, serve), KeepAlive: true})
		defer c.Close()
		if _, err := c.Call(t.Context(), "one.vm.action"); err != nil {
			t.Fatal(err)
		}
		_, err := c.Call(t.Context(), "one.vm.action", secret)
		switch {
		case readSecond:
			want(t, err, Cut, true)
			if n := seen.Load(); n != 2 {
				t.Errorf("the server saw %d calls, want 2", n)
			}
		case err == nil: // on a connection of its own
			if n := seen.Load(); n != 2 {
				t.Errorf("the server saw %d calls, want 2", n)
			}
		default: // written before the close was seen
			want(t, err, Cut, true)
			if n := seen.Load(); n != 1 {
				t.Errorf("the server saw %d calls, want 1", n)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	cut := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if cut {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "text/xml")
		io.WriteString(w, okBody)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it is refused on purpose
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for _, keep := range []bool{false, true} {
		cut = false
		o := Options{URL: parse(t, server.URL), TLS: &tls.Config{RootCAs: pool}, KeepAlive: keep}
		if _, err := call(t, o); err != nil {
			t.Fatal(err)
		}
		cut = true
		_, err := call(t, o)
		want(t, err, Cut, true)
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		_, err = call(t, o)
		want(t, err, Unreachable, false)
		o.TLS = &tls.Config{RootCAs: pool, ServerName: "another.example"}
		_, err = call(t, o)
		want(t, err, Unreachable, false)
	}
}

// TestAnnouncedReply has a server say before its reply that there will be one, and say so for ever.
func TestAnnouncedReply(t *testing.T) {
	const announcement = "HTTP/1.1 102 Processing\r\nX: a\r\n\r\n"
	reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
	for _, keep := range []bool{false, true} {
		u := raw(t, func(_ string, conn net.Conn) { io.WriteString(conn, announcement+announcement+reply) })
		if _, err := call(t, Options{URL: u, KeepAlive: keep}); err != nil {
			t.Error(err)
		}
		u = raw(t, func(_ string, conn net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(conn, announcement)
			}
		})
		if _, err := call(t, Options{URL: u, KeepAlive: keep}); err == nil {
			t.Error("announcements without end were read to their end")
		}
	}
}

// TestNoConnectionIsKept: an idle one would block a place at oned. The server sees it end by itself.
func TestNoConnectionIsKept(t *testing.T) {
	ended := make(chan error, 1)
	u := raw(t, func(_ string, conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	})
	for range 2 {
		if _, err := call(t, Options{URL: u}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != io.EOF {
			t.Errorf("the connection ended with %v", err)
		}
	}
}

// TestRefusedUnread has a server refuse a request of which it has read no more than the head.
func TestRefusedUnread(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, r)
	}()
	_, err = New(Options{URL: parse(t, "http://"+l.Addr().String())}).Call(t.Context(), "one.vm.action", strings.Repeat("a", 8<<20))
	if e := want(t, err, Status, false); e.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", e.Status)
	}
}

func TestLimits(t *testing.T) {
	u := parse(t, "http://127.0.0.1:1/")
	for name, o := range map[string]Options{
		"header":     {URL: u, MaxHeader: 100, UserAgent: strings.Repeat("a", 100)},
		"request":    {URL: u, MaxRequest: 100},
		"no URL":     {},
		"scheme":     {URL: parse(t, "ftp://127.0.0.1/")},
		"no host":    {URL: parse(t, "http:///RPC2")},
		"user agent": {URL: u, UserAgent: "a\r\nX: b"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call(t, o)
			want(t, err, BadRequest, false)
		})
	}
	if _, err := New(Options{URL: u, MaxHeader: 1000, MaxRequest: 300 << 10}).encode("VM.start", []any{"a"}); err != nil {
		t.Error(err)
	}
}

func TestFailureNames(t *testing.T) {
	for f := Unreachable; f <= BadRequest; f++ {
		if (&Error{Kind: f}).Failure() == "unknown" {
			t.Errorf("failure %d has no name", f)
		}
	}
	if Failure(0).String() != "unknown" || Failure(99).String() != "unknown" {
		t.Error("a failure that is none has a name")
	}
}
