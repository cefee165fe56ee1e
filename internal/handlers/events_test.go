package handlers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// event is one server-sent event.
type event struct {
	id, kind string
	data     map[string]any
}

func (e event) vm() string {
	if vm, ok := e.data["vm"].(map[string]any); ok {
		return vm["id"].(string)
	}
	id, _ := e.data["id"].(string)
	return id
}

// follower reads an event stream.
type follower struct {
	t      *testing.T
	events chan event
	stop   func()
	last   string
}

func (w *world) follow(token, query string, headers ...string) *follower {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+"/events"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("events: %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	f := &follower{t: w.t, events: make(chan event, 1000), stop: cancel}
	started := make(chan struct{})
	go func() {
		defer close(f.events)
		defer resp.Body.Close()
		var e event
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "":
				switch {
				case value == "following":
					close(started)
				case e.kind != "":
					f.events <- e
				}
				e = event{}
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				if err := json.Unmarshal([]byte(value), &e.data); err != nil {
					w.t.Errorf("data is not JSON: %s", value)
				}
			}
			if strings.Contains(lines.Text(), "OpaqueRef:") {
				w.t.Errorf("an event holds a reference: %s", lines.Text())
			}
		}
	}()
	<-started
	w.t.Cleanup(cancel)
	return f
}

// await reads until an event fits, and gives it with all before it.
func (f *follower) await(fits func(event) bool) (event, []event) {
	f.t.Helper()
	var seen []event
	timeout := time.After(20 * time.Second)
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatalf("the stream ended after %v", seen)
			}
			if e.kind != e.data["type"] || e.id == "" || e.data["time"] == nil {
				f.t.Errorf("the event is not whole: %+v", e)
			}
			f.last = e.id
			seen = append(seen, e)
			if fits(e) {
				return e, seen
			}
		case <-timeout:
			f.t.Fatalf("what was awaited does not come; seen: %v", seen)
		}
	}
}

func isAbout(kind, vm string) func(event) bool {
	return func(e event) bool { return e.kind == kind && e.vm() == vm }
}

// named fits the event that a VM is called name now.
func named(name string) func(event) bool {
	return func(e event) bool {
		vm, _ := e.data["vm"].(map[string]any)
		return e.kind == "vm.changed" && vm["displayName"] == name
	}
}

// TestEvents follows a VM's life on both backends.
func TestEvents(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one", "xen")
	f := w.follow(token, "")
	for _, backend := range []string{"one", "xen"} {
		t.Run(backend, func(t *testing.T) {
			created := w.do("POST", "/vms", token, createBody(backend, "followed"))
			vm := created.str("id")
			f.await(isAbout("vm.created", vm))
			if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": "renamed"}); r.status != 200 {
				t.Fatal(r.status)
			}
			changed, _ := f.await(isAbout("vm.changed", vm))
			if names, _ := changed.data["changed"].([]any); !slices.Contains(names, any("displayName")) {
				t.Errorf("changed: %v", changed.data["changed"])
			}
			op := w.do("DELETE", "/vms/"+vm, token, nil)
			w.one.Advance(time.Minute)
			gone, done := false, op.str("state") == "SUCCEEDED"
			f.await(func(e event) bool {
				o, _ := e.data["operation"].(map[string]any)
				done = done || o["id"] == op.str("id") && o["state"] == "SUCCEEDED"
				gone = gone || e.kind == "vm.deleted" && e.vm() == vm
				return gone && done
			})
		})
	}
}

// TestEventsResume: whoever comes back misses nothing.
func TestEventsResume(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one", "xen")
	one, xen := w.putVM("one", backends.StateStopped), w.putVM("xen", backends.StateStopped)
	f := w.follow(token, "")
	rename := func(vm, name string) {
		t.Helper()
		if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": name}); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.text)
		}
	}
	rename(one, "first")
	f.await(named("first"))
	rename(xen, "first")
	f.await(func(e event) bool { return e.vm() == xen && named("first")(e) })
	f.stop()

	rename(one, "second")
	rename(xen, "second")
	again := w.follow(token, "", "Last-Event-ID", f.last)
	missed := map[string]bool{one: true, xen: true}
	_, seen := again.await(func(e event) bool {
		if named("second")(e) {
			delete(missed, e.vm())
		}
		return len(missed) == 0
	})
	for _, e := range seen {
		if e.kind == "resync" {
			t.Error("was told to read everything anew, though the log reaches back")
		}
	}

	t.Run("list, then follow", func(t *testing.T) {
		list := w.do("GET", "/vms", token, nil)
		rename(one, "third")
		rename(xen, "third")
		f := w.follow(token, "?cursor="+url.QueryEscape(list.str("cursor")))
		left := map[string]bool{one: true, xen: true}
		f.await(func(e event) bool {
			if e.kind == "resync" {
				t.Error("resync")
			}
			if named("third")(e) {
				delete(left, e.vm())
			}
			return len(left) == 0
		})
	})
	t.Run("filters", func(t *testing.T) {
		f := w.follow(token, "?type=vm.changed&vm="+xen)
		rename(one, "fourth")
		rename(xen, "fourth")
		if _, seen := f.await(named("fourth")); len(seen) != 1 || seen[0].vm() != xen {
			t.Errorf("saw %v", seen)
		}
		f = w.follow(token, "?backend=one")
		rename(xen, "fifth")
		rename(one, "fifth")
		if _, seen := f.await(named("fifth")); seen[0].data["backend"] != "one" {
			t.Errorf("saw %v", seen)
		}
	})
	t.Run("a cursor that the log does not know", func(t *testing.T) {
		position := f.last
		for _, cursor := range []string{
			strings.ReplaceAll(position, "-", "-9"),     // from the future
			"one.someotherepoch-3~xen.another-1",        // of another session
			strings.Split(position, "~")[0][:4] + "x-1", // of nobody
		} {
			f := w.follow(token, "?cursor="+url.QueryEscape(cursor))
			f.await(func(e event) bool { return e.kind == "resync" })
			f.stop()
		}
	})
	for _, bad := range []string{"x", "one", "one.", "one.-", "one.a-b", "one.a-1~", "~", "one.a-1~xen", "ONE.a-1", strings.Repeat("x", 5000)} {
		w.want(w.do("GET", "/events?cursor="+url.QueryEscape(bad), token, nil), 400, "INVALID_ARGUMENT")
	}
	w.want(w.do("GET", "/events", token, nil, "Last-Event-ID", "nonsense"), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/events?type=vm.frobbed", token, nil), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/events?vm=frob", token, nil), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/events?backend=nowhere", token, nil), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", "/events", "", nil), 401, "UNAUTHENTICATED")
}

// TestWhatWasReadIsPutRight reads what no watcher sees: it is there only while none can look.
func TestWhatWasReadIsPutRight(t *testing.T) {
	for _, b := range []struct {
		name      string
		away      func(*world)
		back      func(*world)
		transient func(w *world, native string) (restore func())
	}{
		{
			"one",
			func(w *world) { w.one.Inject(onesim.Fault{Method: "one.vmpool.info", Status: 502, Times: -1}) },
			func(w *world) { w.one.ClearFaults() },
			func(w *world, native string) func() {
				n, err := strconv.Atoi(native)
				set := func(s onesim.State, l onesim.LCM) {
					if err = errors.Join(err, w.one.SetState(n, s, l)); err != nil {
						w.t.Fatal(err)
					}
				}
				set(onesim.Active, onesim.Hotplug)
				return func() { set(onesim.Active, onesim.Running) }
			},
		},
		{
			"xen",
			func(w *world) { w.xen.Inject(xensim.Fault{Method: "event.from", Status: 502, Times: -1}) },
			func(w *world) { w.xen.ClearFaults() },
			func(w *world, native string) func() {
				w.xen.SetState(native, "Suspended")
				return func() { w.xen.SetState(native, "Running") }
			},
		},
	} {
		t.Run(b.name, func(t *testing.T) {
			w := newWorld(t, options{vms: 3})
			token := w.login(b.name)
			vm := w.putVM(b.name, backends.StateRunning)
			f := w.follow(token, "")
			w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": "known"})
			f.await(named("known"))

			b.away(w)
			f.await(func(e event) bool { return e.kind == "backend.down" })
			restore := b.transient(w, strings.TrimPrefix(vm, b.name+"."))
			if r := w.do("GET", "/vms/"+vm, token, nil); r.str("state") == "RUNNING" {
				t.Fatalf("it does not show in %s", r.text)
			}
			restore()
			w.clock.Advance(time.Second)
			b.back(w)
			_, seen := f.await(func(e event) bool { return e.kind == "backend.up" })
			if !slices.ContainsFunc(seen, func(e event) bool {
				told, _ := e.data["vm"].(map[string]any)
				return isAbout("vm.changed", vm)(e) && told["state"] == "RUNNING"
			}) {
				t.Errorf("nobody was told that it runs: %v", seen)
			}
		})
	}
}

// TestAVMThatOnlyAListSawIsToldGone: it goes before the watcher can look.
func TestAVMThatOnlyAListSawIsToldGone(t *testing.T) {
	for name, list := range map[string]func(*world, string) []string{
		"page":   func(w *world, token string) []string { ids, _ := w.page(token, ""); return ids },
		"stream": func(w *world, token string) []string { ids, _ := w.stream(token, "").rest(); return ids },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{vms: 3})
			token := w.login("xen")
			f := w.follow(token, "")
			w.xen.Inject(xensim.Fault{Method: "event.from", Status: 502, Times: -1})
			w.putVM("xen", backends.StateStopped) // it waits for something to happen
			f.await(func(e event) bool { return e.kind == "backend.down" })
			vm := w.putVM("xen", backends.StateStopped)
			if ids := list(w, token); !slices.Contains(ids, vm) {
				t.Fatalf("it is not in %q", ids)
			}
			if r := w.do("DELETE", "/vms/"+vm, token, nil); r.str("state") != "SUCCEEDED" {
				t.Fatal(r.text)
			}
			w.clock.Advance(time.Second)
			w.xen.ClearFaults()
			_, seen := f.await(func(e event) bool { return e.kind == "backend.up" })
			if !slices.ContainsFunc(seen, isAbout("vm.deleted", vm)) {
				t.Errorf("nobody was told that it is gone: %v", seen)
			}
		})
	}
}

// TestEventsOfOthers: a login is told only of what it may see.
func TestEventsOfOthers(t *testing.T) {
	w := newWorld(t, options{})
	admin := w.login("one")
	hers, err := w.one.PutVM(onesim.VMSpec{State: onesim.Poweroff, Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	his := w.putVM("one", backends.StateStopped)
	var password string
	for _, u := range w.one.Users() {
		if u.Name == "alice" {
			password = u.Password
		}
	}
	alice := w.loginAs("", "one", "alice", password)
	f := w.follow(alice, "")
	for _, vm := range []string{his, idOf("one", hers)} {
		if r := w.do("PATCH", "/vms/"+vm, admin, map[string]any{"displayName": "seen"}); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.text)
		}
	}
	if _, seen := f.await(named("seen")); len(seen) != 1 || seen[0].vm() != idOf("one", hers) {
		t.Errorf("alice was told of %v", seen)
	}
}

// TestEventsWatchOnce: fifty listeners cost the backend what one costs.
func TestEventsWatchOnce(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one", "xen")
	vm := w.putVM("xen", backends.StateStopped)
	var all []*follower
	for range 50 {
		all = append(all, w.follow(token, ""))
	}
	if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": "for all"}); r.status != 200 {
		t.Fatal(r.status)
	}
	for _, f := range all {
		f.await(named("for all"))
	}
	if n := w.xen.CallCounts()["event.from"]; n > 10 {
		t.Errorf("50 listeners cost %d calls of event.from", n)
	}
}

// TestEventsOfOperationsFromBefore: who only follows learns how an operation ends that ran when the
// gateway was started.
func TestEventsOfOperationsFromBefore(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one")
	r := w.do("POST", "/vms/"+w.putVM("one", backends.StateRunning)+":suspend", token, nil) // time stands still there
	if r.status != 202 || r.str("state") != "RUNNING" {
		t.Fatalf("%d %s", r.status, r.text)
	}
	w.serve(options{})
	f := w.follow(token, "?type=operation.changed")
	w.one.Advance(time.Minute)
	f.await(func(e event) bool {
		op, _ := e.data["operation"].(map[string]any)
		return op["id"] == r.str("id") && op["state"] == "SUCCEEDED"
	})
}
