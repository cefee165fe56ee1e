package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/handlers"
)

// TestService asks for what stands beside the VMs.
func TestService(t *testing.T) {
	w := newWorld(t, options{vms: 1})
	for path, contentType := range map[string]string{
		"/healthz":      "application/json",
		"/readyz":       "application/json",
		"/metrics":      "text/plain",
		"/openapi.yaml": "application/yaml",
		"/openapi.json": "application/json",
		"/docs":         "text/html",
		"/docs/errors":  "text/html",
	} {
		r := w.do("GET", path, "", nil)
		if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), contentType) || len(r.text) == 0 {
			t.Errorf("%s: %d %s, %d bytes", path, r.status, r.header.Get("Content-Type"), len(r.text))
		}
		head := w.do("HEAD", path, "", nil)
		if head.status != 200 || len(head.text) != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", path, head.status, len(head.text))
		}
	}
	if r := w.do("GET", "/", "", nil); r.status != http.StatusTemporaryRedirect || r.header.Get("Location") != "/ui/" {
		t.Errorf("/: %d %s", r.status, r.header.Get("Location"))
	}
}

func TestRequestIdentity(t *testing.T) {
	w := newWorld(t, options{})
	if r := w.do("GET", "/healthz", "", nil, "X-Request-Id", "my-id.1"); r.header.Get("X-Request-Id") != "my-id.1" {
		t.Errorf("a sane id became %q", r.header.Get("X-Request-Id"))
	}
	for _, bad := range []string{"a b", strings.Repeat("x", 129), `"`, "é"} {
		if r := w.do("GET", "/healthz", "", nil, "X-Request-Id", bad); r.header.Get("X-Request-Id") == bad {
			t.Errorf("the id %.20q was taken over", bad)
		}
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	r := w.do("GET", "/healthz", "", nil, "traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	if got := r.header.Get("traceparent"); !strings.HasPrefix(got, "00-"+trace+"-") || !strings.HasSuffix(got, "-01") {
		t.Errorf("the trace became %q", got)
	}
	if !strings.Contains(w.log.String(), trace) {
		t.Error("the log does not name the trace")
	}
	for _, bad := range []string{"00-" + trace, "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "ff"} {
		if r := w.do("GET", "/healthz", "", nil, "traceparent", bad); strings.Contains(r.header.Get("traceparent"), "00000000000000000000000000000000") {
			t.Errorf("the trace %q was taken over", bad)
		}
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t, options{cors: []string{"https://console.example.org"}})
	r := w.do("OPTIONS", "/vms", "", nil, "Origin", "https://console.example.org", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	if r.header.Get("Access-Control-Allow-Origin") != "https://console.example.org" {
		t.Errorf("the configured origin: %d %v", r.status, r.header)
	}
	r = w.do("GET", "/backends", "", nil, "Origin", "https://evil.example")
	if r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %v", r.header)
	}
}

// TestLogLine: one line a request, with what an operator needs and nothing of what a client sent.
func TestLogLine(t *testing.T) {
	w := newWorld(t, options{vms: 2})
	token := w.login("one")
	w.do("GET", "/vms/one.1?fields=displayName", token, nil, "X-Request-Id", "look-for-me")
	for line := range strings.Lines(w.log.String()) {
		if !strings.Contains(line, "look-for-me") || !strings.Contains(line, `"msg":"request"`) {
			continue
		}
		for _, part := range []string{`"method":"GET"`, `"route":"/vms/{vm}"`, `"status":200`, `"duration":`, `"backendCalls":1`} {
			if !strings.Contains(line, part) {
				t.Errorf("the line lacks %s: %s", part, line)
			}
		}
		if strings.Contains(line, "one.1") || strings.Contains(line, "displayName") {
			t.Errorf("the line holds what the client sent: %s", line)
		}
		return
	}
	t.Error("there is no line for the request")
}

// TestPanic: a mistake of the gateway is a 500 that says nothing of its inside, its stack is logged,
// and the gateway goes on.
func TestPanic(t *testing.T) {
	w := newWorld(t, options{})
	r := w.do("GET", "/docs/panic", "", nil)
	w.want(r, 500, "INTERNAL")
	if strings.Contains(string(r.text), "mistake of ours") {
		t.Errorf("the reply tells of the inside: %s", r.text)
	}
	if log := w.log.String(); !strings.Contains(log, "a mistake of ours") || !strings.Contains(log, "goroutine") || !strings.Contains(log, r.str("requestId")) {
		t.Errorf("the log has no stack for the request: %s", log)
	}
	if r := w.do("GET", "/healthz", "", nil); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
}

// TestProblemsComplete: no code lacks its row.
func TestProblemsComplete(t *testing.T) {
	rows := handlers.ErrorRows()
	if len(rows) != len(backends.Codes()) {
		t.Fatalf("%d rows for %d codes", len(rows), len(backends.Codes()))
	}
	for _, row := range rows {
		if row.Status < 400 || row.Title == "" || row.Advice == "" {
			t.Errorf("%s has no status, title or advice", row.Code)
		}
	}
}
