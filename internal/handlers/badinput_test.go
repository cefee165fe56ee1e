package handlers_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const someUUID = "11111111-2222-3333-4444-555555555555"

// TestBadPaths holds what a new user may get wrong in a path: each is refused with a code that says
// what to do, and none reaches a backend.
func TestBadPaths(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one", "xen")
	before := w.backendCalls()
	tests := []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/vms/one.007", 404, "NOT_FOUND"},
		{"GET", "/vms/one.-1", 404, "NOT_FOUND"},
		{"GET", "/vms/one.+1", 404, "NOT_FOUND"},
		{"GET", "/vms/one.4294967296", 404, "NOT_FOUND"},
		{"GET", "/vms/one.2147483648", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1e3", 404, "NOT_FOUND"},
		{"GET", "/vms/one.", 404, "NOT_FOUND"},
		{"GET", "/vms/one", 404, "NOT_FOUND"},
		{"GET", "/vms/1", 404, "NOT_FOUND"},
		{"GET", "/vms/xen.42", 404, "NOT_FOUND"},
		{"GET", "/vms/xen." + strings.ToUpper("abcdef12-2222-3333-4444-555555555555"), 404, "NOT_FOUND"},
		{"GET", "/vms/one." + someUUID, 404, "NOT_FOUND"},
		{"GET", "/vms/nowhere.1", 404, "NOT_FOUND"},
		{"GET", "/vms/ONE.1", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1:frobnicate", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1:frobnicate", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1:", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1:Start", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1:start:start", 404, "NOT_FOUND"},
		{"POST", "/vms/OpaqueRef:x:start", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1%3Astart", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1%3astart", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1%253Astart", 404, "NOT_FOUND"},
		{"POST", "/vms/one.1%253Astart", 405, "METHOD_NOT_ALLOWED"},
		{"GET", "/vms/one.1%2Fdisks", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1%00", 404, "NOT_FOUND"},
		{"GET", "/vms/", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1/", 404, "NOT_FOUND"},
		{"GET", "/vms/one.1/frobs", 404, "NOT_FOUND"},
		{"GET", "/frobs", 404, "NOT_FOUND"},
		{"GET", "/vms/" + strings.Repeat("a", 4000), 404, "NOT_FOUND"},
		{"POST", "/vms/one.1/disks/one.00:save", 400, "INVALID_ARGUMENT"},
		{"GET", "/vms/one.1:start", 405, "METHOD_NOT_ALLOWED"},
		{"PUT", "/vms/one.1", 405, "METHOD_NOT_ALLOWED"},
		{"DELETE", "/vms", 405, "METHOD_NOT_ALLOWED"},
		{"GET", "/operations/one.", 404, "NOT_FOUND"},
		{"GET", "/operations/nowhere.start-1", 404, "NOT_FOUND"},
		{"GET", "/operations/one.garbage", 404, "NOT_FOUND"},
		{"GET", "/operations/xen.garbage", 404, "NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path[:min(len(tt.path), 60)], func(t *testing.T) {
			r := w.do(tt.method, tt.path, token, nil)
			w.want(r, tt.status, tt.code)
			if r.str("detail") == "" {
				t.Error("the problem does not say what is wrong")
			}
			if tt.status == 405 && r.header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
	if after := w.backendCalls(); after != before {
		t.Errorf("%d calls went to the backends, want none", after-before)
	}
}

// TestEncodedID: an id may be percent-encoded as long as that changes nothing (RFC 3986, 2.3).
func TestEncodedID(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one")
	if r := w.do("GET", "/vms/one%2E1", token, nil); r.status != 200 || r.str("id") != "one.1" {
		t.Errorf("got %d %.200s", r.status, r.text)
	}
}

func TestBadTokens(t *testing.T) {
	w := newWorld(t, options{vms: 2})
	token := w.login("one")
	w.want(w.do("GET", "/vms", "", nil), 401, "UNAUTHENTICATED")
	w.want(w.do("GET", "/vms", "nonsense", nil), 401, "UNAUTHENTICATED")
	w.want(w.do("GET", "/vms", "", nil, "Authorization", "Basic b25lOm9uZQ=="), 401, "UNAUTHENTICATED")
	w.want(w.do("GET", "/vms", "", nil, "Authorization", "Bearer"), 401, "UNAUTHENTICATED")
	w.want(w.do("GET", "/vms/xen."+someUUID, token, nil), 401, "UNAUTHENTICATED")
	w.want(w.do("GET", "/vms?backend=xen", token, nil), 401, "UNAUTHENTICATED")
	if r := w.do("GET", "/vms", token, nil); r.status != 200 {
		t.Fatalf("a good token: %d", r.status)
	}
	w.clock.Advance(61 * 60 * 1e9)
	w.want(w.do("GET", "/vms", token, nil), 401, "UNAUTHENTICATED")
}

// TestBadBodies: each is refused before anything is changed.
func TestBadBodies(t *testing.T) {
	w := newWorld(t, options{vms: 4})
	token := w.login("one", "xen")
	before := w.backendCalls()
	tests := []struct {
		name, method, path string
		body               any
		contentType        string
		status             int
		code, where        string // where: pointer or parameter of the first error
	}{
		{"not JSON", "POST", "/vms/one.1:migrate", `{"host":`, "", 400, "INVALID_ARGUMENT", ""},
		{"text behind", "POST", "/vms/one.1:migrate", `{"host":"one.1"} {}`, "", 400, "INVALID_ARGUMENT", ""},
		{"not UTF-8", "PATCH", "/vms/one.1", "{\"displayName\":\"\xff\"}", "", 400, "INVALID_ARGUMENT", ""},
		{"a member twice", "PATCH", "/vms/one.1", `{"displayName":"a","displayName":"b"}`, "", 400, "INVALID_ARGUMENT", "/displayName"},
		{"an array", "PATCH", "/vms/one.1", `[]`, "", 400, "INVALID_ARGUMENT", ""},
		{"nested without end", "PATCH", "/vms/one.1", strings.Repeat(`{"a":`, 5000), "", 400, "INVALID_ARGUMENT", ""},
		{"unknown member", "POST", "/vms/one.1:migrate", `{"host":"one.1","hots":1}`, "", 400, "INVALID_ARGUMENT", "/hots"},
		{"unknown member in an object", "PATCH", "/vms/one.1", `{"memory":{"max":1}}`, "", 400, "INVALID_ARGUMENT", "/memory/max"},
		{"required member", "POST", "/vms/one.1:migrate", `{}`, "", 400, "INVALID_ARGUMENT", "/host"},
		{"no body where one is needed", "POST", "/vms/one.1:migrate", nil, "", 400, "INVALID_ARGUMENT", ""},
		{"a number for text", "PATCH", "/vms/one.1", `{"displayName":7}`, "", 400, "INVALID_ARGUMENT", "/displayName"},
		{"text for a number", "POST", "/vms/one.1:resize", `{"vcpus":"2"}`, "", 400, "INVALID_ARGUMENT", "/vcpus"},
		{"a fraction", "POST", "/vms/one.1:resize", `{"vcpus":1.5}`, "", 400, "INVALID_ARGUMENT", "/vcpus"},
		{"beyond 64 bit", "PATCH", "/vms/one.1", `{"memory":{"dynamicMaxBytes":99999999999999999999}}`, "", 400, "INVALID_ARGUMENT", "/memory/dynamicMaxBytes"},
		{"beyond a float", "PATCH", "/vms/one.1", `{"cpu":{"share":1e400}}`, "", 400, "INVALID_ARGUMENT", "/cpu/share"},
		{"null", "PATCH", "/vms/one.1", `{"displayName":null}`, "", 400, "INVALID_ARGUMENT", "/displayName"},
		{"unknown value", "POST", "/vms/one.1:shutdown", `{"mode":"SOFTLY"}`, "", 400, "INVALID_ARGUMENT", "/mode"},
		{"an id without a backend", "POST", "/vms/one.1:migrate", `{"host":"1"}`, "", 400, "INVALID_ARGUMENT", "/host"},
		{"an id of another backend", "POST", "/vms/one.1:migrate", `{"host":"xen.` + someUUID + `"}`, "", 400, "INVALID_ARGUMENT", "/host"},
		{"an id that is none", "POST", "/vms/one.1:migrate", `{"host":"one.007"}`, "", 400, "INVALID_ARGUMENT", "/host"},
		{"unknown backend", "POST", "/vms", `{"backend":"nowhere","displayName":"x"}`, "", 400, "INVALID_ARGUMENT", "/backend"},
		{"a form", "POST", "/vms/one.1:migrate", `host=one.1`, "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE", ""},
		{"a body for a call without one", "GET", "/vms", `{}`, "", 400, "INVALID_ARGUMENT", ""},
		{"unknown parameter", "GET", "/vms?frob=1", nil, "", 400, "INVALID_ARGUMENT", "frob"},
		{"a parameter twice", "GET", "/vms?view=ID&view=FULL", nil, "", 400, "INVALID_ARGUMENT", "view"},
		{"a boolean in another spelling", "POST", "/vms/one.1:start?validateOnly=1", nil, "", 400, "INVALID_ARGUMENT", "validateOnly"},
		{"a boolean in another spelling", "DELETE", "/vms/one.1?force=TRUE", nil, "", 400, "INVALID_ARGUMENT", "force"},
		{"unknown view", "GET", "/vms?view=EVERYTHING", nil, "", 400, "INVALID_ARGUMENT", "view"},
		{"page size", "GET", "/vms?pageSize=0", nil, "", 400, "INVALID_ARGUMENT", "pageSize"},
		{"page size", "GET", "/vms?pageSize=x", nil, "", 400, "INVALID_ARGUMENT", "pageSize"},
		{"page token", "GET", "/vms?pageToken=AAAA", nil, "", 400, "INVALID_ARGUMENT", "pageToken"},
		{"filter", "GET", "/vms?filter=state%3D", nil, "", 400, "INVALID_ARGUMENT", "filter"},
		{"filter on nothing", "GET", "/vms?filter=staet%3D%22RUNNING%22", nil, "", 400, "INVALID_ARGUMENT", "filter"},
		{"filter with an unknown state", "GET", "/vms?filter=state%3D%22RUNING%22", nil, "", 400, "INVALID_ARGUMENT", "filter"},
		{"order", "GET", "/vms?orderBy=frob", nil, "", 400, "INVALID_ARGUMENT", "orderBy"},
		{"fields", "GET", "/vms?fields=frob", nil, "", 400, "INVALID_ARGUMENT", "fields"},
		{"backend", "GET", "/vms?backend=nowhere", nil, "", 400, "INVALID_ARGUMENT", "backend"},
		{"owner", "GET", "/vms?owner=you", nil, "", 400, "INVALID_ARGUMENT", "owner"},
		{"owner's id", "GET", "/vms?owner=user:one.x", nil, "", 400, "INVALID_ARGUMENT", "owner"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			if tt.contentType != "" {
				headers = []string{"Content-Type", tt.contentType}
			}
			r := w.do(tt.method, tt.path, token, tt.body, headers...)
			w.want(r, tt.status, tt.code)
			at := r.str("errors.0.pointer") + r.str("errors.0.parameter")
			if tt.where != "" && at != tt.where {
				t.Errorf("points at %q, want %q: %s", at, tt.where, r.text)
			}
		})
	}
	if after := w.backendCalls(); after != before {
		t.Errorf("%d calls went to the backends, want none", after-before)
	}
}

// endless is a body of n bytes that nobody has to hold.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.n))
	for i := range n {
		p[i] = ' '
	}
	e.n -= int64(n)
	return n, nil
}

func TestLargeBodies(t *testing.T) {
	w := newWorld(t, options{vms: 1})
	token := w.login("one")
	body := func() io.Reader { return &endless{2 << 30} }

	req, err := http.NewRequestWithContext(t.Context(), "PATCH", w.url+"/vms/one.0", body())
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil { // the gateway may also cut the line while the client still sends
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("2 GB of body: %d, want 413", resp.StatusCode)
		}
	}
	r := w.do("PATCH", "/vms/one.0", token, `{"description":"`+strings.Repeat("x", 1<<20)+`"}`)
	w.want(r, 413, "PAYLOAD_TOO_LARGE")
	if r := w.do("GET", "/vms/one.0", token, nil); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
}
