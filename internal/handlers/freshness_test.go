package handlers_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// warm asks for lists that may be old until they come from a mirror.
func (w *world) warm(token, query string) response {
	w.t.Helper()
	var r response
	w.eventually("a list comes from the mirror", func() bool {
		w.clock.Advance(time.Millisecond) // so that what is known is newer than the last write
		r = w.do("GET", "/vms"+query, token, nil, "Cache-Control", "max-age=60")
		return r.header.Get("Age") != ""
	})
	return r
}

// freeze holds the watcher's next poll up, so that what it knows gets old.
func (w *world) freeze() {
	w.t.Helper()
	release := make(chan struct{})
	w.t.Cleanup(func() { close(release) })
	before := w.one.Calls("one.vmpool.info")
	w.one.Inject(onesim.Fault{Method: "one.vmpool.info", Hold: release, HoldAt: 1})
	w.eventually("the watcher asks", func() bool { return w.one.Calls("one.vmpool.info") > before })
}

func TestMaxAge(t *testing.T) {
	w := newWorld(t, options{vms: 20})
	token := w.login("one", "xen")
	vm := w.putVM("one", backends.StateRunning)
	if r := w.do("GET", "/vms", token, nil, "Cache-Control", "max-age=60"); r.header.Get("Age") != "" {
		t.Errorf("nobody watched, and yet the list is %s seconds old", r.header.Get("Age"))
	}
	for _, query := range []string{"", "?backend=one", "?backend=xen", "?view=ID", "?pageSize=7", "?orderBy=displayName", "?filter=state%3DRUNNING"} {
		old, fresh := w.warm(token, query), w.do("GET", "/vms"+query, token, nil)
		if fresh.header.Get("Age") != "" {
			t.Errorf("%s: unasked, the list is %s seconds old", query, fresh.header.Get("Age"))
		}
		if old.header.Get("ETag") != fresh.header.Get("ETag") || len(old.list("vms")) == 0 {
			t.Errorf("%s: the mirror shows %d VMs, the backend %d, or others", query, len(old.list("vms")), len(fresh.list("vms")))
		}
	}
	for control, old := range map[string]bool{
		"max-age=60": true, `Max-Age="60"`: true, "no-transform, max-age=60": true, "max-age=99999999999999999999999": true, "min-fresh=5, max-age=60": true,
		"max-age=0": false, "no-cache": false, "max-age=60, no-cache": false, "max-age=60, max-age=0": false,
		"max-age": false, "max-age=": false, "max-age=-1": false, "max-age=1e3": false, "max-age=x": false, "max-age = 60": false, "max-stale=60": false, ",,=": false,
	} {
		if r := w.do("GET", "/vms?backend=one", token, nil, "Cache-Control", control); (r.header.Get("Age") != "") != old {
			t.Errorf("%q: Age %q", control, r.header.Get("Age"))
		}
	}
	for _, query := range []string{"?view=FULL&backend=one", "?view=NATIVE&backend=one", "?backend=one&showDeleted=true", "?showTemplates=true", "?owner=me&backend=one"} {
		if r := w.do("GET", "/vms"+query, token, nil, "Cache-Control", "max-age=60"); r.header.Get("Age") != "" {
			t.Errorf("%s: a mirror does not have this", query)
		}
	}
	stream := w.stream(token, "", "Cache-Control", "max-age=60")
	lines, _ := stream.rest()
	if all, _ := w.page(token, ""); stream.header.Get("Age") == "" || len(lines) != len(all) {
		t.Errorf("a stream of the mirror: Age %q, %d VMs of %d", stream.header.Get("Age"), len(lines), len(all))
	}
	for query, old := range map[string]bool{"?view=BASIC": true, "?view=ID": true, "?view=BASIC&fields=displayName": true, "": false, "?view=NATIVE": false} {
		path := "/vms/" + vm + query
		r := w.do("GET", path, token, nil, "Cache-Control", "max-age=60")
		if fresh := w.do("GET", path, token, nil); (r.header.Get("Age") != "") != old || old && r.header.Get("ETag") == "" || r.str("id") != fresh.str("id") {
			t.Errorf("%s: Age %q, %.100s", path, r.header.Get("Age"), r.text)
		}
	}
	w.want(w.do("GET", "/vms/one.9999?view=BASIC", token, nil, "Cache-Control", "max-age=60"), 404, "NOT_FOUND")
}

// TestMaxAgeIsKept lets the mirror get older than a request accepts, and than the user's own writes.
func TestMaxAgeIsKept(t *testing.T) {
	w := newWorld(t, options{vms: 5})
	token := w.login("one")
	vm := w.putVM("one", backends.StateRunning)
	w.warm(token, "")
	w.freeze()
	w.clock.Advance(30 * time.Second)
	get := func(path string, within int) response {
		return w.do("GET", path, token, nil, "Cache-Control", fmt.Sprint("max-age=", within))
	}
	for _, path := range []string{"/vms", "/vms/" + vm + "?view=BASIC"} {
		if age, err := strconv.Atoi(get(path, 40).header.Get("Age")); err != nil || age < 30 || age > 40 {
			t.Errorf("%s: Age %d, want 30 or a little more", path, age)
		}
		if r := get(path, 29); r.header.Get("Age") != "" {
			t.Errorf("%s: 29 seconds were asked for, Age is %s", path, r.header.Get("Age"))
		}
	}
	if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": "new"}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.text)
	}
	if r := get("/vms/"+vm+"?view=BASIC", 3600); r.header.Get("Age") != "" || r.str("displayName") != "new" {
		t.Errorf("after a change: Age %q, %s", r.header.Get("Age"), r.str("displayName"))
	}
	names := []string{}
	for _, one := range get("/vms", 3600).list("vms") {
		names = append(names, one.(map[string]any)["displayName"].(string))
	}
	if !slices.Contains(names, "new") {
		t.Errorf("a list after a change has %v", names)
	}
}

// TestMaxAgeOfOthers reads what another user's watcher knows: not at all.
func TestMaxAgeOfOthers(t *testing.T) {
	w := newWorld(t, options{vms: 5})
	w.warm(w.login("one"), "")
	alice := w.loginAs("", "one", "alice", "pw-of-alice")
	fresh := w.do("GET", "/vms", alice, nil)
	first := w.do("GET", "/vms", alice, nil, "Cache-Control", "max-age=60")
	if tag := fresh.header.Get("ETag"); first.header.Get("Age") != "" || first.header.Get("ETag") != tag || w.warm(alice, "").header.Get("ETag") != tag {
		t.Errorf("alice sees %.300s", first.text)
	}
	if all := w.warm(w.login("one"), "").list("vms"); len(all) <= len(fresh.list("vms")) {
		t.Errorf("alice sees %d VMs, the administrator %d", len(fresh.list("vms")), len(all))
	}
}
