package handlers_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"vmgateway/internal/backends"
)

// plain sends a request as a client does that compresses nothing by itself, and gives the reply as it
// came over the line.
func (w *world) plain(method, path, token string, headers ...string) response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response{status: resp.StatusCode, header: resp.Header, text: text}
}

// TestNotModified sends the ETag of each kind of read back, in all the ways there are.
func TestNotModified(t *testing.T) {
	w := newWorld(t, options{vms: 12})
	token := w.login("one", "xen")
	one, xen := w.putVM("one", backends.StateRunning), w.putVM("xen", backends.StateRunning)
	paths := []string{
		"/vms", "/vms?view=FULL", "/vms?pageSize=3", "/vms?filter=" + url.QueryEscape(`state="RUNNING"`), "/vms?backend=one",
		"/vms?fields=displayName", "/vms?orderBy=displayName",
		"/vms/" + one, "/vms/" + one + "?view=BASIC", "/vms/" + one + "?view=ID", "/vms/" + one + "?fields=displayName", "/vms/" + one + "?view=NATIVE",
		"/vms/" + xen, "/vms/" + xen + "?view=BASIC", "/vms/" + xen + "/disks", "/vms/" + one + "/nics", "/vms/" + xen + "/disks:allowedDevices",
		"/hosts", "/hosts?fields=displayName", "/images", "/storages?backend=one", "/networks", "/templates", "/hosts/one.1",
	}
	tags := map[string]string{}
	for _, path := range paths {
		first := w.do("GET", path, token, nil)
		tag := first.header.Get("ETag")
		if first.status != 200 || len(tag) < 10 || !strings.HasPrefix(tag, `"`) {
			t.Errorf("%s: %d with ETag %s", path, first.status, tag)
			continue
		}
		if other, twice := tags[tag]; twice {
			t.Errorf("%s has the ETag of %s", path, other)
		}
		tags[tag] = path
		if got := first.header.Get("Cache-Control"); got != "private, no-cache" {
			t.Errorf("%s: Cache-Control %q forbids what the ETag is for", path, got)
		}
		for _, header := range []string{tag, "W/" + tag, `"other", ` + tag, ` , "a,b",,W/` + tag + `,`, "*"} {
			r := w.do("GET", path, token, nil, "If-None-Match", header)
			if r.status != http.StatusNotModified || len(r.text) > 0 || r.header.Get("Content-Type") != "" || r.header.Get("ETag") == "" {
				t.Errorf("%s, If-None-Match: %s: %d %v %.100s", path, header, r.status, r.header, r.text)
			}
			if header == tag && r.header.Get("ETag") != tag {
				t.Errorf("%s: asked for %s, told %s", path, tag, r.header.Get("ETag"))
			}
		}
		for _, header := range []string{`"other"`, `W/"x"`, tag[:len(tag)-2] + `"`, `"*"`} {
			if r := w.do("GET", path, token, nil, "If-None-Match", header); r.status != 200 || !bytes.Equal(r.text, first.text) {
				t.Errorf("%s, If-None-Match: %s: %d, or another body", path, header, r.status)
			}
		}
		if r := w.do("HEAD", path, token, nil, "If-None-Match", tag); r.status != http.StatusNotModified {
			t.Errorf("HEAD %s: %d", path, r.status)
		}
	}
	for _, bad := range []string{"x", `"x`, `x"`, `"a" "b"`, `*, "a"`, "W/*", `w/"a"`} {
		w.want(w.do("GET", "/vms/"+one, token, nil, "If-None-Match", bad), 400, "INVALID_ARGUMENT")
	}
	w.want(w.do("GET", "/vms/one.9999", token, nil, "If-None-Match", "*"), 404, "NOT_FOUND")
}

// TestModified changes a VM, and reads again what was read before.
func TestModified(t *testing.T) {
	w := newWorld(t, options{vms: 5})
	token := w.login("one", "xen")
	for _, backend := range []string{"one", "xen"} {
		vm := w.putVM(backend, backends.StateRunning)
		for _, path := range []string{"/vms?pageSize=1000", "/vms/" + vm, "/vms/" + vm + "?view=BASIC", "/vms/" + vm + "?fields=displayName"} {
			tag := w.do("GET", path, token, nil).header.Get("ETag")
			if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": "for " + path[1:4] + backend + tag[1:6]}); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.text)
			}
			r := w.do("GET", path, token, nil, "If-None-Match", tag)
			if r.status != 200 || r.header.Get("ETag") == tag {
				t.Errorf("%s after a change: %d with ETag %s, was %s", path, r.status, r.header.Get("ETag"), tag)
			}
		}
	}
	// A list whose backend does not answer is another one.
	tag := w.do("GET", "/vms", token, nil).header.Get("ETag")
	w.xen.Close()
	down := w.do("GET", "/vms", token, nil, "If-None-Match", tag)
	if down.status != 200 || len(down.list("unreachable")) != 1 {
		t.Errorf("with a backend down: %d %.200s", down.status, down.text)
	}
	if r := w.do("GET", "/vms", token, nil, "If-None-Match", down.header.Get("ETag")); r.status != 304 {
		t.Errorf("still down: %d", r.status)
	}
}

// TestCompression reads in each coding, and sends the ETag of one back in another.
func TestCompression(t *testing.T) {
	w := newWorld(t, options{vms: 12})
	token := w.login("one", "xen")
	path := "/vms/" + w.putVM("one", backends.StateRunning)
	plain := w.plain("GET", path, token)
	if plain.header.Get("Content-Encoding") != "" || len(plain.text) < 1024 {
		t.Fatalf("not as it is: %v, %d bytes", plain.header, len(plain.text))
	}
	tests := map[string]string{ // what is accepted, and what comes
		"gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip, deflate, br, zstd": "zstd", "GZip": "gzip",
		"zstd;q=0.5, gzip": "gzip", "gzip;q=0, zstd;q=0": "", "identity": "", "*": "gzip", "*;q=0": "", "gzip;q=0, *": "", "*, zstd": "zstd",
		"identity, gzip;q=0.5": "", "identity;q=0.5, gzip": "gzip", "identity;q=0, gzip;q=0.1": "gzip", "br": "", "deflate;q=1, *;q=0": "",
		"gzip;q=2": "", ";;,=": "",
	}
	var seen []string
	for accept, want := range tests {
		r := w.plain("GET", path, token, "Accept-Encoding", accept)
		if got := r.header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: %q, want %q", accept, got, want)
			continue
		}
		if text := decoded(t, r); !bytes.Equal(text, plain.text) {
			t.Errorf("%q says something else: %.100s", want, text)
		}
		if !slices.Contains(r.header.Values("Vary"), "Accept-Encoding") {
			t.Errorf("Vary: %v", r.header.Values("Vary"))
		}
		tag := r.header.Get("ETag")
		if (tag == plain.header.Get("ETag")) != (want == "") {
			t.Errorf("%q has the ETag %s, as it is %s", want, tag, plain.header.Get("ETag"))
		}
		seen = append(seen, tag)
	}
	slices.Sort(seen)
	for _, tag := range slices.Compact(seen) {
		for _, accept := range []string{"gzip", "zstd", "identity"} {
			r := w.plain("GET", path, token, "Accept-Encoding", accept, "If-None-Match", tag)
			if r.status != 304 || r.header.Get("ETag") != tag || r.header.Get("Content-Encoding") != "" {
				t.Errorf("%s with %s: %d, ETag %s", accept, tag, r.status, r.header.Get("ETag"))
			}
		}
		if r := w.do("PATCH", path, token, map[string]any{}, "If-Match", tag); r.status != 200 {
			t.Errorf("If-Match: %s: %d %.200s", tag, r.status, r.text)
		}
		if r := w.do("PATCH", path, token, map[string]any{}, "If-Match", strings.Replace(tag, `"`, `"x`, 1)); r.status != 412 {
			t.Errorf("If-Match: another one: %d", r.status)
		}
	}
}

func decoded(t *testing.T, r response) []byte {
	t.Helper()
	var body io.Reader = bytes.NewReader(r.text)
	var err error
	switch r.header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestNotCompressed looks at what is sent as it is: what is small, and what holds a secret.
func TestNotCompressed(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	vm := w.putVM("xen", backends.StateRunning)
	for _, path := range []string{"/healthz", "/vms/" + vm + "?view=ID", "/vms/" + vm + "/consoles", "/metrics"} {
		if r := w.plain("GET", path, token, "Accept-Encoding", "gzip, zstd"); r.status != 200 || r.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d in %q", path, r.status, r.header.Get("Content-Encoding"))
		}
	}
	for _, path := range []string{"/openapi.yaml", "/openapi.json", "/backends"} {
		if r := w.plain("GET", path, token, "Accept-Encoding", "gzip"); r.status != 200 || r.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d in %q", path, r.status, r.header.Get("Content-Encoding"))
		}
	}
	user, password := w.admin("one")
	login := w.do("POST", "/sessions", "", map[string]string{"backend": "one", "username": user, "password": password}, "Accept-Encoding", "gzip, zstd")
	w.secret(login.str("token"))
	if login.status != 201 || login.header.Get("Content-Encoding") != "" || slices.Contains(login.header.Values("Vary"), "Accept-Encoding") {
		t.Errorf("a login: %d in %q", login.status, login.header.Get("Content-Encoding"))
	}
}
