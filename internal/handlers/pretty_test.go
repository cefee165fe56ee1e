package handlers_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// TestPretty reads with pretty=true and without: the same JSON, in lines.
func TestPretty(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one", "xen")
	vm := w.putVM("one", backends.StateStopped)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/vms?view=BASIC&fields=displayName", 200},
		{"GET", "/vms/" + vm, 200},
		{"GET", "/vms/" + vm + "/disks", 200},
		{"GET", "/hosts", 200},
		{"GET", "/backends", 200},
		{"GET", "/sessions/current", 200},
		{"GET", "/openapi.json", 200},
		{"POST", "/vms/" + vm + ":start?validateOnly=true", 200},
		{"GET", "/vms/one.nonsense", 404},
		{"GET", "/vms?filter=state%3D", 400},
		{"GET", "/no/such/path", 404},
	} {
		plain := w.do(c.method, c.path, token, nil, "X-Request-Id", "the-same")
		sep := "?"
		if strings.Contains(c.path, "?") {
			sep = "&"
		}
		lines := w.do(c.method, c.path+sep+"pretty=true", token, nil, "X-Request-Id", "the-same")
		var want bytes.Buffer
		if err := json.Indent(&want, plain.text, "", "  "); err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if plain.status != c.status || lines.status != c.status || !bytes.Equal(lines.text, want.Bytes()) || bytes.Equal(lines.text, plain.text) {
			t.Errorf("%s %s: %d and %d, want %d; pretty:\n%.400s\nwant:\n%.400s", c.method, c.path, plain.status, lines.status, c.status, lines.text, want.Bytes())
		}
		if again := w.do(c.method, c.path+sep+"pretty=false", token, nil, "X-Request-Id", "the-same"); !bytes.Equal(again.text, plain.text) {
			t.Errorf("%s: pretty=false is not plain: %.200s", c.path, again.text)
		}
	}
}

// TestPrettyTags sends the ETag of what was broken into lines back, to read and to change.
func TestPrettyTags(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one")
	vm := w.putVM("one", backends.StateStopped)
	plain := w.plain("GET", "/vms/"+vm, token)
	lines := w.plain("GET", "/vms/"+vm+"?pretty=true", token)
	tag := lines.header.Get("ETag")
	if tag == "" || tag == plain.header.Get("ETag") {
		t.Errorf("the ETag is %s in lines and %s without", tag, plain.header.Get("ETag"))
	}
	if r := w.do("GET", "/vms/"+vm+"?pretty=true", token, nil, "If-None-Match", tag); r.status != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", r.status)
	}
	if r := w.do("POST", "/vms/"+vm+":start?validateOnly=true", token, nil, "If-Match", tag); r.status != 200 {
		t.Errorf("If-Match: %d %s", r.status, r.text)
	}
	if r := w.do("POST", "/vms/"+vm+":start?validateOnly=true", token, nil, "If-Match", `"other-pretty"`); r.status != 412 {
		t.Errorf("If-Match with another: %d %s", r.status, r.text)
	}
	packed := w.plain("GET", "/vms/"+vm+"?pretty=true", token, "Accept-Encoding", "gzip").header.Get("ETag")
	if packed == "" || packed == tag {
		t.Fatalf("the ETag is %s compressed and %s not", packed, tag)
	}
	for _, method := range []string{"GET", "POST"} {
		path, header, want := "/vms/"+vm+"?pretty=true", "If-None-Match", 304
		if method == "POST" {
			path, header, want = "/vms/"+vm+":start?validateOnly=true", "If-Match", 200
		}
		if r := w.do(method, path, token, nil, header, packed); r.status != want {
			t.Errorf("%s %s: %s is %d, want %d", method, path, header, r.status, want)
		}
	}
}

// TestPrettyRefused asks for it where it cannot be.
func TestPrettyRefused(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one")
	w.want(w.do("GET", "/vms?pretty=true", token, nil, "Accept", "application/x-ndjson"), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/vms?pretty=yes", token, nil), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/events?pretty=true", token, nil), 400, "INVALID_ARGUMENT")
}
