package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"
)

// relay stands between a driver and its backend: it hands each call on, counts it, and can run
// something just before the call goes on, or spoil its answer.
type relay struct {
	url    *url.URL
	target string
	server *httptest.Server
	client *http.Client

	mu     sync.Mutex
	calls  []string
	spoil  *spoiler
	before *before
}

// before runs do once, before the first call that when names goes on.
type before struct {
	when func(method string) bool
	do   func()
}

// spoiler is what becomes of calls that when names, after skip of them have passed.
type spoiler struct {
	when    func(method string) bool
	skip    int
	once    bool
	reached chan struct{} // told of each spoilt call, when not nil
	answer  func(w http.ResponseWriter, r *http.Request, pass func() (*http.Response, []byte, error))
}

func newRelay(t *testing.T, target *url.URL) *relay {
	r := &relay{target: target.String(), client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	r.server = httptest.NewServer(r)
	u, err := url.Parse(r.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = target.Path
	r.url = u
	t.Cleanup(func() {
		r.server.CloseClientConnections()
		r.server.Close()
		r.client.CloseIdleConnections()
	})
	return r
}

var methodName = regexp.MustCompile(`<methodName>\s*([^<\s]*)`)

func (r *relay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // the driver has gone
	}
	method := ""
	if m := methodName.FindSubmatch(body); m != nil {
		method = string(m[1])
	}
	s, do := r.note(method)
	if do != nil {
		do()
	}
	pass := func() (*http.Response, []byte, error) { return r.pass(q, body) }
	if s != nil {
		if s.reached != nil {
			s.reached <- struct{}{}
		}
		s.answer(w, q, pass)
		return
	}
	reply, text, err := pass()
	if err != nil {
		panic(http.ErrAbortHandler) // what the driver sees when the backend breaks off
	}
	write(w, reply.StatusCode, reply.Header.Get("Content-Type"), text)
}

// note counts a call, and finds what shall happen to it.
func (r *relay) note(method string) (s *spoiler, do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, method)
	if b := r.before; b != nil && b.when(method) {
		r.before, do = nil, b.do
	}
	if s = r.spoil; s == nil || s.when != nil && !s.when(method) {
		return nil, do
	}
	if s.skip > 0 {
		s.skip--
		return nil, do
	}
	if s.once {
		r.spoil = nil
	}
	return s, do
}

// pass hands a call on. What the driver gives up, the backend still gets to the end, as it would
// from the driver itself.
func (r *relay) pass(q *http.Request, body []byte) (*http.Response, []byte, error) {
	ctx := context.WithoutCancel(q.Context())
	out, err := http.NewRequestWithContext(ctx, q.Method, r.target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"Content-Type", "User-Agent"} {
		out.Header.Set(name, q.Header.Get(name))
	}
	reply, err := r.client.Do(out)
	if err != nil {
		return nil, nil, err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	return reply, text, err
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a driver that has gone does not want it
}

// count is how many calls there were.
func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

// since are the calls after the first n.
func (r *relay) since(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.calls[n:]...)
}

// justBefore runs do once, before the next call that when names goes on.
func (r *relay) justBefore(when func(string) bool, do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = &before{when, do}
}

func (r *relay) spoilNext(s spoiler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoil = &s
}

// heal lets everything pass again.
func (r *relay) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoil, r.before = nil, nil
}

type answerer = func(w http.ResponseWriter, r *http.Request, pass func() (*http.Response, []byte, error))

// answers makes a reply without asking the backend.
func answers(status int, contentType string, body []byte) answerer {
	return func(w http.ResponseWriter, _ *http.Request, _ func() (*http.Response, []byte, error)) {
		write(w, status, contentType, body)
	}
}

// silent never answers.
func silent(_ http.ResponseWriter, r *http.Request, _ func() (*http.Response, []byte, error)) {
	<-r.Context().Done()
}

// cut lets the backend do what it was asked, and breaks off in the middle of its answer.
func cut(w http.ResponseWriter, _ *http.Request, pass func() (*http.Response, []byte, error)) {
	reply, text, err := pass()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", reply.Header.Get("Content-Type"), len(text))
	_, _ = out.Write(text[:len(text)/2])
	_ = out.Flush()
}

// noise answers with bytes that are no HTTP.
func noise(w http.ResponseWriter, _ *http.Request, _ func() (*http.Response, []byte, error)) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = out.WriteString("SSH-2.0-OpenSSH_9.2\r\n\x00\xff")
	_ = out.Flush()
}
