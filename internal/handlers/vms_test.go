package handlers_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// putVM adds a VM to a simulator, and gives its id.
func (w *world) putVM(backend string, state backends.State) string {
	w.t.Helper()
	if backend == "xen" {
		raw := map[backends.State]string{
			backends.StateStopped: "Halted", backends.StateRunning: "Running",
			backends.StatePaused: "Paused", backends.StateSuspended: "Suspended",
		}[state]
		return "xen." + w.xen.PutVM(xensim.VMSpec{PowerState: raw})
	}
	raw := map[backends.State]onesim.VMSpec{
		backends.StateStopped:   {State: onesim.Poweroff},
		backends.StateRunning:   {State: onesim.Active, LCM: onesim.Running},
		backends.StateSuspended: {State: onesim.Suspended},
		backends.StatePending:   {State: onesim.Pending},
		backends.StateHeld:      {State: onesim.Hold},
	}[state]
	id, err := w.one.PutVM(raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprintf("one.%d", id)
}

// finish reads an operation to its end, while the simulators' time goes on.
func (w *world) finish(token string, r response) response {
	w.t.Helper()
	if r.status != 202 {
		w.t.Fatalf("not accepted: %d %s", r.status, r.text)
	}
	location := r.header.Get("Location")
	for range 200 {
		r = w.do("GET", location, token, nil)
		if r.status != 200 || r.str("state") != "RUNNING" {
			return r
		}
		w.one.Advance(time.Second)
		w.clock.Advance(time.Second)
	}
	w.t.Fatalf("does not end: %s", r.text)
	return r
}

// TestVerbsEndToEnd drives VMs through their lives on both backends, through HTTP.
func TestVerbsEndToEnd(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	tests := []struct {
		backend string
		from    backends.State
		verb    string
		body    any
		to      string
	}{
		{"one", backends.StateStopped, "start", nil, "RUNNING"},
		{"one", backends.StateRunning, "shutdown", map[string]any{"mode": "GRACEFUL"}, "STOPPED"},
		{"one", backends.StateRunning, "shutdown", map[string]any{"mode": "FORCE"}, "STOPPED"},
		{"one", backends.StateRunning, "reboot", nil, "RUNNING"},
		{"one", backends.StateRunning, "suspend", nil, "SUSPENDED"},
		{"one", backends.StateSuspended, "resume", nil, "RUNNING"},
		{"one", backends.StateRunning, "stop", nil, "STORED"},
		{"one", backends.StateRunning, "undeploy", nil, "STORED"},
		{"one", backends.StatePending, "hold", nil, "HELD"},
		{"one", backends.StateHeld, "release", nil, "PENDING"},
		{"one", backends.StatePending, "deploy", map[string]any{"host": "one.1"}, "RUNNING"},
		{"one", backends.StateRunning, "migrate", map[string]any{"host": "one.2"}, "RUNNING"},
		{"one", backends.StateRunning, "migrate", map[string]any{"host": "one.2", "live": false}, "RUNNING"},
		{"one", backends.StateRunning, "terminate", map[string]any{"mode": "FORCE"}, "DELETED"},
		{"xen", backends.StateStopped, "start", nil, "RUNNING"},
		{"xen", backends.StateStopped, "start", map[string]any{"startPaused": true}, "PAUSED"},
		{"xen", backends.StateRunning, "shutdown", nil, "STOPPED"},
		{"xen", backends.StateRunning, "shutdown", map[string]any{"mode": "FORCE"}, "STOPPED"},
		{"xen", backends.StateRunning, "reboot", map[string]any{"mode": "GRACEFUL"}, "RUNNING"},
		{"xen", backends.StateRunning, "pause", nil, "PAUSED"},
		{"xen", backends.StatePaused, "unpause", nil, "RUNNING"},
		{"xen", backends.StatePaused, "resume", nil, "RUNNING"},
		{"xen", backends.StateRunning, "suspend", nil, "SUSPENDED"},
		{"xen", backends.StateSuspended, "resume", nil, "RUNNING"},
		{"xen", backends.StateRunning, "resetPowerState", nil, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s/%s", tt.backend, tt.from, tt.verb), func(t *testing.T) {
			vm := w.putVM(tt.backend, tt.from)
			r := w.do("POST", "/vms/"+vm+":"+tt.verb, token, tt.body)
			if tt.to == "" {
				if r.status != 202 && r.status != 409 {
					t.Errorf("%d %s", r.status, r.text)
				}
				return
			}
			if op := w.finish(token, r); op.str("state") != "SUCCEEDED" || op.str("vm") != vm || op.str("verb") != tt.verb {
				t.Fatalf("the operation: %s", op.text)
			}
			if got := w.do("GET", "/vms/"+vm, token, nil); got.str("state") != tt.to {
				t.Errorf("the VM is %s, want %s", got.str("state"), tt.to)
			}
		})
	}
	if r := w.do("GET", "/operations", token, nil); len(r.list("operations")) < 15 {
		t.Errorf("operations: %.300s", r.text)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	one, xen := w.putVM("one", backends.StateRunning), w.putVM("xen", backends.StateRunning)
	tests := []struct {
		name, method, path string
		body               any
		status             int
		code               string
	}{
		{"wrong state", "POST", "/vms/" + one + ":start", nil, 409, "WRONG_STATE"},
		{"wrong state", "POST", "/vms/" + xen + ":start", nil, 409, "WRONG_STATE"},
		{"live migration of a VM that is off", "POST", "/vms/" + w.putVM("one", backends.StateStopped) + ":migrate", map[string]any{"host": "one.1"}, 409, "WRONG_STATE"},
		{"no such verb there", "POST", "/vms/" + one + ":pause", nil, 501, "UNSUPPORTED_BY_BACKEND"},
		{"no such verb there", "POST", "/vms/" + xen + ":hold", nil, 501, "UNSUPPORTED_BY_BACKEND"},
		{"no such call there", "POST", "/vms/" + xen + ":sendSysrq", map[string]any{"key": "h"}, 501, "UNSUPPORTED_BY_BACKEND"},
		{"no such part there", "GET", "/vms/" + one + "/crashDumps", nil, 501, "UNSUPPORTED_BY_BACKEND"},
		{"no such member there", "PATCH", "/vms/" + one, map[string]any{"xenapi": map[string]any{"userVersion": 2}}, 501, "UNSUPPORTED_BY_BACKEND"},
		{"a host that does not exist", "POST", "/vms/" + one + ":migrate", map[string]any{"host": "one.99"}, 422, "UNPROCESSABLE"},
		{"a host that does not exist", "POST", "/vms/" + xen + ":migrate", map[string]any{"host": "xen." + someUUID}, 422, "UNPROCESSABLE"},
		{"a VM that does not exist", "POST", "/vms/one.9999:start", nil, 404, "NOT_FOUND"},
		{"a VM that does not exist", "POST", "/vms/xen." + someUUID + ":start", nil, 404, "NOT_FOUND"},
		{"a VM that does not exist", "PATCH", "/vms/xen." + someUUID, map[string]any{"displayName": "x"}, 404, "NOT_FOUND"},
		{"a VM that does not exist", "GET", "/vms/one.9999/disks", nil, 404, "NOT_FOUND"},
		{"a disk that does not exist", "POST", "/vms/" + one + "/disks/one.9:save", map[string]any{"imageName": "x"}, 404, "NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(tt.method, tt.path, token, tt.body)
			w.want(r, tt.status, tt.code)
			switch tt.code {
			case "WRONG_STATE":
				if r.str("state") == "" || r.get("allowedActions") == nil || r.get("rawState") == nil {
					t.Errorf("does not say where the VM stands: %s", r.text)
				}
			case "UNSUPPORTED_BY_BACKEND":
				if r.str("detail") == "" {
					t.Errorf("does not say why: %s", r.text)
				}
			case "UNPROCESSABLE":
				if r.str("errors.0.pointer") != "/host" {
					t.Errorf("points at %q", r.str("errors.0.pointer"))
				}
			}
		})
	}
	r := w.do("POST", "/vms/"+one+":pause", token, nil)
	if got := r.list("supportedBy"); len(got) != 1 || got[0] != "xen" {
		t.Errorf("supportedBy: %v", got)
	}
}

func TestPermissions(t *testing.T) {
	w := newWorld(t, options{})
	vm := w.putVM("one", backends.StateRunning)
	var password string
	for _, u := range w.one.Users() {
		if u.Name == "alice" {
			password = u.Password
		}
	}
	token := w.loginAs("", "one", "alice", password)
	w.want(w.do("POST", "/vms/"+vm+":shutdown", token, nil), 403, "PERMISSION_DENIED")
	w.want(w.do("GET", "/vms/"+vm, token, nil), 403, "PERMISSION_DENIED")
	if r := w.do("GET", "/vms", token, nil); len(r.list("vms")) != 0 {
		t.Errorf("sees %s", r.text)
	}

	admin := w.login("one")
	op := w.do("POST", "/vms/"+vm+":shutdown", admin, nil)
	w.want(w.do("GET", op.header.Get("Location"), token, nil), 404, "NOT_FOUND")
}

// TestLists pages, filters, orders and masks over both backends.
func TestLists(t *testing.T) {
	w := newWorld(t, options{vms: 30})
	if _, err := w.one.PutVM(onesim.VMSpec{State: onesim.Done}); err != nil {
		t.Fatal(err)
	}
	token := w.login("one", "xen")
	var ids []string
	next := ""
	for {
		path := "/vms?pageSize=7"
		if next != "" {
			path += "&pageToken=" + url.QueryEscape(next)
		}
		r := w.do("GET", path, token, nil)
		for _, vm := range r.list("vms") {
			ids = append(ids, vm.(map[string]any)["id"].(string))
		}
		if next = r.str("nextPageToken"); next == "" {
			break
		}
	}
	whole := w.do("GET", "/vms?pageSize=1000&view=ID", token, nil)
	var all []string
	for _, vm := range whole.list("vms") {
		all = append(all, vm.(map[string]any)["id"].(string))
	}
	if !slices.Equal(ids, all) || len(all) < 50 {
		t.Errorf("pages give %d VMs, the whole list %d", len(ids), len(all))
	}
	count := func(query string) int {
		t.Helper()
		r := w.do("GET", "/vms?pageSize=1000&"+query, token, nil)
		if r.status != 200 || len(r.list("unreachable")) > 0 {
			t.Errorf("%s: %d %.300s", query, r.status, r.text)
		}
		return len(r.list("vms"))
	}
	filter := func(f string) int { t.Helper(); return count("filter=" + url.QueryEscape(f)) }
	sum := 0
	for _, s := range backends.States {
		sum += filter(fmt.Sprintf(`state=%q`, s))
	}
	if sum != len(all) {
		t.Errorf("the states add up to %d of %d", sum, len(all))
	}
	if n := filter(`rawState.powerState="Running"`); n == 0 || n != filter(`state="RUNNING" AND kind=XENAPI`) {
		t.Errorf("running on XenAPI: %d", n)
	}
	if n := count("backend=one") + count("backend=xen"); n != len(all) {
		t.Errorf("the backends add up to %d of %d", n, len(all))
	}
	if n := count("showTemplates=true"); n <= len(all) {
		t.Errorf("with templates there are %d", n)
	}
	if n := count("showDeleted=true"); n <= len(all) {
		t.Errorf("with deleted VMs there are %d", n)
	}
	r := w.do("GET", "/vms?orderBy="+url.QueryEscape("displayName desc")+"&fields=displayName&pageSize=1000", token, nil)
	var names []string
	for _, vm := range r.list("vms") {
		m := vm.(map[string]any)
		if len(m) != 2 {
			t.Errorf("the mask left %v", m)
		}
		names = append(names, m["displayName"].(string))
	}
	if !slices.IsSortedFunc(names, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("not in order: %v", names)
	}
	if r := w.do("GET", "/vms?owner=me", token, nil); r.str("unreachable.0.problem.code") != "UNSUPPORTED_BY_BACKEND" {
		t.Errorf("XenAPI was asked for an owner's VMs: %.300s", r.text)
	}
	for _, view := range []string{"ID", "BASIC", "FULL", "NATIVE"} {
		if n := count("view=" + view); n != len(all) {
			t.Errorf("view %s shows %d of %d", view, n, len(all))
		}
	}
}

// TestReadEverything reads each collection, each object of it, and each part of each VM; the
// contract check of every reply does the rest.
func TestReadEverything(t *testing.T) {
	w := newWorld(t, options{vms: 12})
	token := w.login("one", "xen")
	for _, name := range []string{"hosts", "templates", "images", "storages", "networks"} {
		r := w.do("GET", "/"+name, token, nil)
		list := r.list(name)
		if len(list) < 2 || len(r.list("unreachable")) > 0 {
			t.Errorf("%s: %.300s", name, r.text)
		}
		for _, item := range list {
			id := item.(map[string]any)["id"].(string)
			if one := w.do("GET", "/"+name+"/"+id, token, nil); one.status != 200 || one.str("id") != id {
				t.Errorf("%s %s: %.300s", name, id, one.text)
			}
			if one := w.do("GET", "/"+name+"/"+id+"?fields=displayName", token, nil); one.status != 200 {
				t.Errorf("%s %s with a mask: %.300s", name, id, one.text)
			}
		}
	}
	parts := []string{
		"disks", "disks:allowedDevices", "nics", "nics:allowedDevices", "consoles", "metrics",
		"guestMetrics", "crashDumps", "tpms", "bootRecord", "possibleHosts",
	}
	r := w.do("GET", "/vms?pageSize=1000&showTemplates=true", token, nil)
	for _, item := range r.list("vms") {
		id := item.(map[string]any)["id"].(string)
		for _, view := range []string{"ID", "BASIC", "FULL", "NATIVE"} {
			if vm := w.do("GET", "/vms/"+id+"?view="+view, token, nil); vm.status != 200 || vm.str("id") != id {
				t.Errorf("%s %s: %d %.300s", id, view, vm.status, vm.text)
			}
		}
		for _, part := range parts {
			switch got := w.do("GET", "/vms/"+id+"/"+part, token, nil); got.status {
			case 200, 404, 409, 501:
			default:
				t.Errorf("%s %s: %d %.300s", id, part, got.status, got.text)
			}
		}
	}
}

func TestCreatePatchDelete(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	bodies := map[string]map[string]any{
		"one": {"backend": "one", "displayName": "made here", "description": "a \"quoted\" text\nover two lines \\ [x]", "hold": true,
			"cpu": map[string]any{"vcpus": 2, "share": 0.5}, "memory": map[string]any{"dynamicMaxBytes": 256 << 20},
			"annotations": map[string]any{"TEAM": "web & db <é>"}},
		"xen": {"backend": "xen", "displayName": "  made here  ", "description": "a \"quoted\" text\nover two lines ]]> 😀",
			"cpu": map[string]any{"vcpus": 2, "maxVcpus": 4}, "memory": map[string]any{"staticMaxBytes": 1 << 30},
			"annotations": map[string]any{"team": "web & db <é>"}},
	}
	for backend, body := range bodies {
		t.Run(backend, func(t *testing.T) {
			r := w.do("POST", "/vms", token, body)
			if r.status != 201 || r.header.Get("Location") != "/vms/"+r.str("id") {
				t.Fatalf("create: %d %s", r.status, r.text)
			}
			path := r.header.Get("Location")
			for _, member := range []string{"displayName", "description"} {
				if r.str(member) != body[member] {
					t.Errorf("%s is %q, want %q", member, r.str(member), body[member])
				}
			}
			etag := r.header.Get("ETag")
			r = w.do("PATCH", path, token, map[string]any{"displayName": "renamed", "description": nil}, "Content-Type", "application/merge-patch+json")
			if r.status != 200 || r.str("displayName") != "renamed" || r.get("description") != nil {
				t.Errorf("patch: %d %s", r.status, r.text)
			}
			if r.header.Get("ETag") == etag || r.header.Get("ETag") != `"`+r.str("etag")+`"` {
				t.Errorf("etag %s, was %s", r.header.Get("ETag"), etag)
			}
			if again := w.do("GET", path, token, nil); again.str("etag") != r.str("etag") {
				t.Error("another etag without a change")
			}
			if r := w.do("PATCH", path, token, map[string]any{}); r.status != 200 {
				t.Errorf("an empty patch: %d", r.status)
			}
			op := w.finish(token, w.do("DELETE", path, token, nil))
			if op.str("state") != "SUCCEEDED" {
				t.Errorf("delete: %s", op.text)
			}
			if r := w.do("GET", path, token, nil); r.status == 200 && r.str("state") != "DELETED" {
				t.Errorf("after delete: %s", r.str("state"))
			}
		})
	}
}

// TestNames: whatever a name holds, it is either stored exactly or refused, pointing at it.
func TestNames(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	for _, backend := range []string{"one", "xen"} {
		vm := w.putVM(backend, backends.StateStopped)
		for _, name := range []string{
			`say "hello"`, "it's", "two\nlines", "a\rb", "tab\t", "]]>", "<b>&amp;</b>", "😀", "\u0000", "\u0007", "\ufffe",
			" blanks ", "é", "e\u0301", "a\\b", "[x=1]", strings.Repeat("x", 10_240), "$(reboot)", "../../etc/passwd",
		} {
			for _, member := range []string{"displayName", "description"} {
				before := w.do("GET", "/vms/"+vm, token, nil)
				r := w.do("PATCH", "/vms/"+vm, token, map[string]any{member: name})
				switch {
				case r.status == 200 && r.str(member) == name:
				case r.status == 400 && r.str("errors.0.pointer") == "/"+member:
					if after := w.do("GET", "/vms/"+vm, token, nil); after.str("etag") != before.str("etag") {
						t.Errorf("%s %s=%.40q: refused, and yet changed", backend, member, name)
					}
				default:
					t.Errorf("%s %s=%.40q: %d %.300s", backend, member, name, r.status, r.text)
				}
			}
		}
	}
}

// TestBrokenBackends: a backend that is down, slow, cut or speaks HTML is told as such; the other
// one goes on, and so does the gateway.
func TestBrokenBackends(t *testing.T) {
	w := newWorld(t, options{timeout: 400 * time.Millisecond})
	token := w.login("one", "xen")
	one, xen := w.putVM("one", backends.StateRunning), w.putVM("xen", backends.StateRunning)
	tests := []struct {
		name   string
		one    onesim.Fault
		xen    xensim.Fault
		status []int
		code   []string
	}{
		{"slow", onesim.Fault{Delay: 30 * time.Second}, xensim.Fault{Delay: 30 * time.Second}, []int{504}, []string{"BACKEND_TIMEOUT"}},
		{"cut", onesim.Fault{Cut: 120}, xensim.Fault{Cut: true, CutAfter: 120}, []int{503}, []string{"BACKEND_UNAVAILABLE"}},
		{"cut at once", onesim.Fault{CutNow: true}, xensim.Fault{Cut: true}, []int{503}, []string{"BACKEND_UNAVAILABLE"}},
		{"HTML", onesim.Fault{HTML: true}, xensim.Fault{Status: 200, HTML: "<html>hello</html>"}, []int{502, 503}, []string{"BACKEND_FAULT", "BACKEND_UNAVAILABLE"}},
		{"502 of a proxy", onesim.Fault{Status: 502}, xensim.Fault{Status: 502, HTML: "<html>bad gateway</html>"}, []int{503}, []string{"BACKEND_UNAVAILABLE"}},
		{"garbage", onesim.Fault{Garbage: []byte("\x00\x01garbage")}, xensim.Fault{Garbage: []byte("\x00\x01garbage")}, []int{502, 503}, []string{"BACKEND_FAULT", "BACKEND_UNAVAILABLE"}},
		{"an error nobody knows", onesim.Fault{Code: 0x40000, Text: "surprise"}, xensim.Fault{Code: "SURPRISE", Params: []string{"OpaqueRef:12345678-0000-0000-0000-000000000000"}}, []int{502}, []string{"BACKEND_FAULT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := func(r response, changes bool) {
				t.Helper()
				if !slices.Contains(tt.status, r.status) || !slices.Contains(tt.code, r.str("code")) || r.str("detail") == "" {
					t.Errorf("got %d %s, want %v: %s", r.status, r.str("code"), tt.code, r.text)
				}
				if r.status == 503 && r.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				if lost := strings.HasPrefix(tt.name, "cut") || tt.name == "slow"; changes && lost && r.get("outcomeUnknown") != true {
					t.Errorf("a change whose answer was lost is told as if it were known: %s", r.text)
				}
			}
			for _, f := range []func(){
				func() { check(w.do("GET", "/vms/"+one, token, nil), false) },
				func() { check(w.do("POST", "/vms/"+one+":suspend", token, nil), true) },
			} {
				fault := tt.one
				fault.Times = -1
				w.one.Inject(fault)
				f()
				if r := w.do("GET", "/vms", token, nil); r.status != 200 || r.str("unreachable.0.backend") != "one" || len(r.list("unreachable")) != 1 {
					t.Errorf("a list: %d %.300s", r.status, r.text)
				}
				w.one.ClearFaults()
			}
			for _, f := range []func(){
				func() { check(w.do("GET", "/vms/"+xen, token, nil), false) },
				func() { check(w.do("POST", "/vms/"+xen+":pause", token, nil), true) },
			} {
				fault := tt.xen
				fault.Times = -1
				w.xen.Inject(fault)
				f()
				w.xen.ClearFaults()
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		w.xen.Close()
		w.want(w.do("GET", "/vms/"+xen, token, nil), 503, "BACKEND_UNAVAILABLE")
		if r := w.do("GET", "/vms/"+one, token, nil); r.status != 200 {
			t.Errorf("the other one: %d %s", r.status, r.text)
		}
		if r := w.do("GET", "/readyz", "", nil); r.status != 200 || r.get("backends.1.healthy") != false || r.get("backends.0.healthy") != true {
			t.Errorf("readiness: %s", r.text)
		}
		w.one.Close()
		if r := w.do("GET", "/readyz", "", nil); r.status != 503 {
			t.Errorf("readiness with nothing left: %d", r.status)
		}
		if r := w.do("GET", "/healthz", "", nil); r.status != 200 {
			t.Errorf("health: %d", r.status)
		}
	})
}
