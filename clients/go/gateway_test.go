package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oapi-codegen/nullable"
)

// demo is the gateway that tools/clients/check.sh has started, as it tells of itself.
type demo struct {
	URL      string `json:"url"`
	Backends []struct {
		ID    string `json:"id"`
		Users []struct {
			Username string `json:"username"`
			Password Secret `json:"password"`
			Role     string `json:"role"`
		} `json:"users"`
	} `json:"backends"`
}

func theDemo(t *testing.T) demo {
	t.Helper()
	text, err := os.ReadFile(os.Getenv("DEMO_INFO"))
	if err != nil {
		t.Fatal("DEMO_INFO has to name the file that gateway -demo -demo-info wrote: ", err)
	}
	var d demo
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func logIn(t *testing.T, at string, d demo, backend int) *Client {
	t.Helper()
	b := d.Backends[backend]
	c, err := LogIn(t.Context(), at, Credentials{Backend: b.ID, Username: b.Users[0].Username, Password: b.Users[0].Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.DeleteSession(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

func ids(t *testing.T, l *Listing) []string {
	t.Helper()
	var all []string
	for vm, err := range l.VMs() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vm.ID)
	}
	if l.Cursor() == nil {
		t.Error("a list without a cursor")
	}
	slices.Sort(all)
	return all
}

func TestListsAgree(t *testing.T) {
	d := theDemo(t)
	for i, b := range d.Backends {
		t.Run(b.ID, func(t *testing.T) {
			c := logIn(t, d.URL, d, i)
			pages := ids(t, c.AllVMs(t.Context(), &ListVmsParams{PageSize: new(int32(3))}))
			stream := ids(t, c.StreamVMs(t.Context(), nil))
			if len(pages) < 4 || !slices.Equal(pages, stream) {
				t.Errorf("pages have %v, the stream %v", pages, stream)
			}
		})
	}
}

func TestProblemsAreErrors(t *testing.T) {
	d := theDemo(t)
	c := logIn(t, d.URL, d, 0)
	_, missing := c.GetVM(t.Context(), "one.4000000000", nil)
	_, empty := c.GetVM(t.Context(), "", nil)
	_, climbing := c.GetVM(t.Context(), "../backends", nil)
	_, wrong := c.ListVms(t.Context(), &ListVmsParams{Filter: new("state=")})
	_, refused := LogIn(t.Context(), d.URL, Credentials{Backend: "one", Username: "oneadmin", Password: "no"})
	for _, row := range []struct {
		name string
		err  error
		want Code
	}{
		{"missing", missing, CodeNotFound},
		{"empty id", empty, CodeNotFound},
		{"id with a slash", climbing, CodeNotFound},
		{"filter", wrong, CodeInvalidArgument},
		{"password", refused, CodeUnauthenticated},
		{"wrapped", fmt.Errorf("at work: %w", missing), CodeNotFound},
		{"none", nil, ""},
	} {
		if got := CodeOf(row.err); got != row.want {
			t.Errorf("%s: %v has the code %q, want %q", row.name, row.err, got, row.want)
		}
	}
	if !strings.HasPrefix(wrong.Error(), "INVALID_ARGUMENT: The parameter filter ") {
		t.Errorf("%q does not tell what is wrong", wrong)
	}
}

// TestMigrate plans, moves, waits, and asks for what is refused, at both backends.
func TestMigrate(t *testing.T) {
	d := theDemo(t)
	for i, b := range d.Backends {
		t.Run(b.ID, func(t *testing.T) {
			c := logIn(t, d.URL, d, i)
			var vm *VM
			for candidate, err := range c.AllVMs(t.Context(), &ListVmsParams{Filter: new(`state="RUNNING"`)}).VMs() {
				if err != nil {
					t.Fatal(err)
				}
				vm = candidate
				break
			}
			if vm == nil {
				t.Fatal("no VM is running")
			}
			hosts, err := c.ListHosts(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(hosts.Hosts, func(h Host) bool { return h.ID != vm.Host.ID && h.State == HostStateEnabled })
			args := MigrateArgs{Host: hosts.Hosts[at].ID}

			plan, err := c.PlanVMMigrate(t.Context(), vm.ID, args, nil)
			if err != nil || !plan.Allowed || len(plan.Calls) == 0 {
				t.Errorf("the plan is %+v, %v", plan, err)
			}
			begun, err := c.VMMigrate(t.Context(), vm.ID, args, nil)
			if err != nil {
				t.Fatal(err)
			}
			ended, err := c.Wait(t.Context(), begun)
			if err != nil || ended.State != OperationStateSucceeded || ended.EndTime == nil {
				t.Fatalf("it ended as %+v, %v", ended, err)
			}
			read, err := c.GetVM(t.Context(), vm.ID, &GetVMParams{View: new(ViewNative)})
			if err != nil || read.Host.ID != args.Host || read.Native == nil {
				t.Errorf("the VM is %+v, %v", read, err)
			}
			_, err = c.VMMigrate(t.Context(), vm.ID, args, &VMMigrateParams{IfMatch: new(`"0"`)})
			if CodeOf(err) != CodeEtagMismatch {
				t.Errorf("with an old etag: %v", err)
			}
		})
	}
}

func TestPatchTellsNullFromAbsent(t *testing.T) {
	d := theDemo(t)
	c := logIn(t, d.URL, d, 1)
	id := ids(t, c.AllVMs(t.Context(), nil))[0]
	change := func(body UpdateVM) *VM {
		t.Helper()
		vm, err := c.UpdateVM(t.Context(), id, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		return vm
	}
	change(UpdateVM{Description: nullable.NewNullableWithValue("by the client"), Xenapi: &UpdateXenAPIVM{Tags: &Tags{"a", "b"}}})
	vm := change(UpdateVM{Xenapi: &UpdateXenAPIVM{Tags: &Tags{}}})
	if vm.Description == nil || *vm.Description != "by the client" || len(vm.Xenapi.Tags) != 0 {
		t.Errorf("after the tags were taken: %v, %v", vm.Description, vm.Xenapi.Tags)
	}
	if vm = change(UpdateVM{Description: nullable.NewNullNullable[string]()}); valueOf(vm.Description) != "" {
		t.Errorf("a description that was taken is %q", *vm.Description)
	}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// relay stands between client and gateway, and can cut all connections.
type relay struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	t.Cleanup(func() { l.Close(); r.cut() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", u.Host)
			if err != nil {
				near.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, near, far)
			r.mu.Unlock()
			go func() { io.Copy(far, near); far.Close() }()
			go func() { io.Copy(near, far); near.Close() }()
		}
	}()
	return r
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// TestEventsOutliveTheConnection changes a VM while the stream is there and while it is cut, and sees
// each change once, in its order.
func TestEventsOutliveTheConnection(t *testing.T) {
	d := theDemo(t)
	direct := logIn(t, d.URL, d, 1)
	r := newRelay(t, d.URL)
	c := logIn(t, "http://"+r.Addr().String(), d, 1)
	id := ids(t, direct.AllVMs(t.Context(), nil))[0]
	stream, err := c.Follow(t.Context(), &StreamEventsParams{VM: []ID{id}, Type: []EventType{EventTypeVmChanged}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	rename := func(i int) {
		if _, err := direct.UpdateVM(t.Context(), id, UpdateVM{DisplayName: new(fmt.Sprint("renamed ", i))}, nil); err != nil {
			t.Fatal(err)
		}
	}
	const changes = 5
	seen := 0
	rename(0)
	for event, err := range stream.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if event.Type == EventTypeResync {
			t.Fatal("the gateway lost its place")
		}
		if !slices.Contains(event.Changed, "displayName") {
			continue
		}
		if got, want := *event.VM.DisplayName, fmt.Sprint("renamed ", seen); got != want {
			t.Fatalf("event %d tells of %q, want %q", seen, got, want)
		}
		if seen++; seen == changes {
			break
		}
		r.cut()
		rename(seen)
	}
	token := c.authorize
	c.authorize = func(h http.Header) { h.Set("Authorization", "Bearer ended") }
	r.cut()
	for _, err := range stream.Events() {
		if err != nil {
			if CodeOf(err) != CodeUnauthenticated {
				t.Errorf("after the session: %v", err)
			}
			break
		}
	}
	c.authorize = token
}

// scripted answers one request after the other by hand.
func scripted(t *testing.T, answers ...http.HandlerFunc) *Client {
	t.Helper()
	var mu sync.Mutex
	at := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		i := at
		at++
		mu.Unlock()
		if i >= len(answers) {
			t.Errorf("%s %s was not expected", r.Method, r.URL)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answers[i](w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		if at != len(answers) {
			t.Errorf("%d requests came, want %d", at, len(answers))
		}
	})
	c, err := New(server.URL+"/", WithToken("a-token"), WithHTTPClient(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(status int, kind, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func problem(status int, code string, retryable bool) string {
	return fmt.Sprintf(`{"type":"about:blank","title":"No","status":%d,"code":%q,"retryable":%t,"requestId":"1"}`, status, code, retryable)
}

func TestWaitsWhenToldTo(t *testing.T) {
	c := scripted(t,
		answer(429, "application/problem+json", problem(429, "RATE_LIMITED", true), "Retry-After: 1"),
		func(w http.ResponseWriter, r *http.Request) {
			if body, _ := io.ReadAll(r.Body); string(body) != `{"host":"one.1"}` {
				t.Errorf("sent again: %q", body)
			}
			answer(202, "application/json", `{"id":"one.x","state":"RUNNING"}`)(w, r)
		},
		answer(429, "application/problem+json", problem(429, "RATE_LIMITED", true), "Retry-After: 3600"),
		answer(429, "application/problem+json", problem(429, "RATE_LIMITED", true)),
	)
	if _, err := c.VMMigrate(t.Context(), "one.1", MigrateArgs{Host: "one.1"}, nil); err != nil {
		t.Error(err)
	}
	_, err := c.ListBackends(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeRateLimited || e.RetryAfter.Seconds() != 3600 {
		t.Errorf("an hour is too long: %v", err)
	}
	if _, err := c.ListBackends(t.Context()); CodeOf(err) != CodeRateLimited {
		t.Errorf("without a time: %v", err)
	}
}

func TestWaitOutlastsWhatPasses(t *testing.T) {
	c := scripted(t,
		answer(503, "application/problem+json", problem(503, "BACKEND_UNAVAILABLE", true), "Retry-After: 1"),
		answer(502, "text/html", "<h1>Bad Gateway</h1>"),
		answer(200, "application/json", `{"id":"one.x","verb":"migrate","vm":"one.1","state":"FAILED","error":`+problem(502, "BACKEND_FAULT", false)+`}`),
		answer(404, "application/problem+json", problem(404, "NOT_FOUND", false)),
	)
	begun := &Operation{ID: "one.x", State: OperationStateRunning}
	ended, err := c.Wait(t.Context(), begun)
	failed, ok := errors.AsType[*OperationError](err)
	if !ok || failed.Operation != ended || ended.State != OperationStateFailed || CodeOf(err) != CodeBackendFault {
		t.Errorf("it ended as %+v, %v", ended, err)
	}
	if want := "migrate of one.1: FAILED: BACKEND_FAULT: No"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if _, err := c.Wait(t.Context(), begun); CodeOf(err) != CodeNotFound {
		t.Errorf("an operation that nobody knows: %v", err)
	}
}

// TestGoesOnBehindTheLastEvent: an id counts when its block is whole, also without an event.
func TestGoesOnBehindTheLastEvent(t *testing.T) {
	event := func(id, kind string) string {
		return fmt.Sprintf("id: %s\nevent: %s\ndata: {\"type\":%q,\ndata: \"backend\":\"one\"}\n\n", id, kind, kind)
	}
	from := func(want string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Last-Event-ID"); got != want {
				t.Errorf("it goes on from %q, want %q", got, want)
			}
			if r.URL.RawQuery != "cursor=c&vm=one.1%2Cone.2" {
				t.Errorf("it asks for %q", r.URL.RawQuery)
			}
			if r.Header.Get("Authorization") != "Bearer a-token" {
				t.Error("the token is missing")
			}
			next(w, r)
		}
	}
	c := scripted(t,
		from("", answer(200, "text/event-stream; charset=utf-8", ": following\nid: 1\n\n"+event("2", "backend.down")+"id: 3\nevent: vm.changed\ndata: {\"type\"")),
		from("2", answer(503, "application/problem+json", problem(503, "BACKEND_UNAVAILABLE", true), "Retry-After: 1")),
		from("2", answer(200, "text/event-stream", strings.ReplaceAll(event("3", "resync")+": alive\nid: 4\n\n", "\n", "\r\n"))),
		from("4", answer(200, "text/event-stream", event("5", "news")+"id: 6\ndata: [\n\n")),
	)
	stream, err := c.Follow(t.Context(), &StreamEventsParams{Cursor: new("c"), VM: []ID{"one.1", "one.2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if stream.Cursor() != "1" {
		t.Errorf("it stands at %q", stream.Cursor())
	}
	var seen []string
	for event, err := range stream.Events() {
		if err != nil {
			if !strings.Contains(err.Error(), "event 6 cannot be read") {
				t.Errorf("it ended with %v", err)
			}
			break
		}
		seen = append(seen, string(event.Type)+" "+stream.Cursor())
	}
	if want := []string{"backend.down 2", "resync 3", "news 5"}; !slices.Equal(seen, want) {
		t.Errorf("events %q, want %q", seen, want)
	}
	stream.Close()
	for event, err := range stream.Events() {
		t.Errorf("a closed stream goes on: %v, %v", event, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	c := scripted(t,
		answer(200, "text/html", "<h1>Log in</h1>"),
		answer(200, "application/json", ""),
		answer(200, "text/html", "<h1>Log in</h1>"),
		answer(200, "application/x-ndjson", `{"id":"one.1"}`+"\n"),
		answer(200, "application/x-ndjson", `{"id":"one.1"}`+"\n"+`{"summary":{"unreachable":[{"backend":"xen","problem":`+problem(503, "BACKEND_UNAVAILABLE", true)+`}],"undecodable":[],"undecodableTotal":0}}`+"\n"),
		answer(200, "application/json", `{"id":"one.1","native":{"big":9007199254740993}}`),
	)
	if _, err := c.GetVM(t.Context(), "one.1", nil); err == nil {
		t.Error("a page is a VM")
	}
	if _, err := c.GetVM(t.Context(), "one.1", nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := c.Follow(t.Context(), nil); err == nil {
		t.Error("a page is a stream of events")
	}
	last := func() (seen int, last error) {
		for vm, err := range c.StreamVMs(t.Context(), nil).VMs() {
			if last = err; err == nil && vm.ID == "one.1" {
				seen++
			}
		}
		return seen, last
	}
	if seen, err := last(); seen != 1 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that was cut: %d VMs, %v", seen, err)
	}
	seen, err := last()
	if missing, ok := errors.AsType[*MissingError](err); seen != 1 || !ok || missing.Unreachable[0].Backend != "xen" {
		t.Errorf("a stream without one backend: %d VMs, %v", seen, err)
	}
	vm, err := c.GetVM(t.Context(), "one.1", nil)
	if err != nil || fmt.Sprint((*vm.Native)["big"]) != "9007199254740993" {
		t.Errorf("a large number: %v, %v", vm, err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	who := Credentials{Password: "tell-nobody"}
	c, err := New("http://127.0.0.1:1", WithToken("tell-nobody"))
	if err != nil {
		t.Fatal(err)
	}
	session := Session{Token: new(Secret("tell-nobody"))}
	_, failed := c.GetVM(t.Context(), "one.1", nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format+format+format+format, who, c, *session.Token, failed); strings.Contains(text, "tell-nobody") {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if text, err := json.Marshal(who); err != nil || !strings.Contains(string(text), "tell-nobody") {
		t.Errorf("what is sent is %s, %v", text, err)
	}
	for _, wrong := range []string{"", "127.0.0.1:80", "ftp://host", "http://user:tell-nobody@host", "http://user:tell-nobody@ho st", "http://host?a=b"} {
		if _, err := New(wrong); err == nil || strings.Contains(err.Error(), "tell-nobody") {
			t.Errorf("New(%q): %v", wrong, err)
		}
	}
}
