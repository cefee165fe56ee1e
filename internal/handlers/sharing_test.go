package handlers_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// TestSharedReads sends the same requests at once, while the backend takes its time.
func TestSharedReads(t *testing.T) {
	w := newWorld(t, options{vms: 10})
	one := w.putVM("one", backends.StateRunning)
	admin := w.login("one")
	again := w.login("one")
	alice := w.loginAs("", "one", "alice", "pw-of-alice")
	for path, method := range map[string]string{"/vms?orderBy=displayName": "one.vmpool.info", "/vms?orderBy=displayName&view=FULL": "one.vmpool.info", "/vms/" + one: "one.vm.info", "/vms/" + one + "/disks": "one.vm.info", "/images": "one.imagepool.info"} {
		t.Run(path, func(t *testing.T) {
			w.do("GET", path, admin, nil)
			release := make(chan struct{})
			w.one.Inject(onesim.Fault{Method: method, Hold: release, HoldAt: 1})
			before := w.one.Calls(method)
			arrived := w.arrived.Load()
			texts := make([]string, 20)
			var wg sync.WaitGroup
			for i := range texts {
				wg.Go(func() { texts[i] = string(w.do("GET", path, []string{admin, again}[i%2], nil).text) })
			}
			w.eventually("the backend is asked by all", func() bool { return w.one.Calls(method) > before && w.arrived.Load() == arrived+20 })
			w.do("GET", path, alice, nil) // is held up by nobody
			if n := w.one.Calls(method) - before; n != 2 {
				t.Errorf("another user brought the calls to %d", n)
			}
			close(release)
			wg.Wait()
			if n := w.one.Calls(method) - before; n >= 10 {
				t.Errorf("%d calls for 20 requests at once", n)
			}
			if texts = slices.Compact(texts); len(texts) != 1 {
				t.Errorf("%d different answers", len(texts))
			}
		})
	}
}

// TestReadAfterWrite changes a VM while a read of it is under way: the same read, sent afterwards,
// shows the change.
func TestReadAfterWrite(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one")
	vm := w.putVM("one", backends.StateRunning)
	for i, path := range []string{"/vms/" + vm, "/vms?fields=displayName"} {
		method := []string{"one.vm.info", "one.vmpool.info"}[i]
		release := make(chan struct{})
		before := w.one.Calls(method)
		w.one.Inject(onesim.Fault{Method: method, Hold: release, HoldAt: 1})
		old := make(chan response)
		go func() { old <- w.do("GET", path, token, nil) }()
		w.eventually("the backend is asked", func() bool { return w.one.Calls(method) > before })
		name := fmt.Sprint("renamed-", i)
		if r := w.do("PATCH", "/vms/"+vm, token, map[string]any{"displayName": name}); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.text)
		}
		now := w.do("GET", path, token, nil)
		if !slices.Contains([]string{now.str("displayName"), now.str("vms.3.displayName")}, name) {
			t.Errorf("%s after the change: %.400s", path, now.text)
		}
		close(release)
		if r := <-old; r.status != 200 {
			t.Errorf("%d %s", r.status, r.text)
		}
	}
}
