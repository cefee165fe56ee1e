package handlers_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

func createBody(backend, name string) map[string]any {
	if backend == "xen" {
		return map[string]any{"backend": "xen", "displayName": name, "memory": map[string]any{"staticMaxBytes": 1 << 30}}
	}
	return map[string]any{"backend": "one", "displayName": name, "hold": true, "memory": map[string]any{"dynamicMaxBytes": 64 << 20}, "cpu": map[string]any{"share": 0.1}}
}

// TestKeySentFiftyTimes: the same key sent at once makes one VM.
func TestKeySentFiftyTimes(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	for backend, method := range map[string]string{"one": "one.vm.allocate", "xen": "VM.create"} {
		t.Run(backend, func(t *testing.T) {
			var mu sync.Mutex
			var wg sync.WaitGroup
			ids := map[string]int{}
			for range 50 {
				wg.Go(func() {
					for {
						r := w.do("POST", "/vms", token, createBody(backend, "once"), "Idempotency-Key", "fifty")
						if r.status == 409 && r.get("retryable") == true && r.header.Get("Retry-After") != "" {
							continue // the first one is still under way
						}
						if r.status != 201 {
							t.Errorf("%d %s", r.status, r.text)
						}
						mu.Lock()
						defer mu.Unlock()
						ids[r.str("id")]++
						return
					}
				})
			}
			wg.Wait()
			calls := w.one.CallCounts()[method] + w.xen.CallCounts()[method]
			if len(ids) != 1 || calls != 1 {
				t.Errorf("made %v with %d calls", ids, calls)
			}
		})
	}
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	vm := w.putVM("one", backends.StateRunning)

	first := w.do("POST", "/vms/"+vm+":suspend", token, nil, "Idempotency-Key", "k1")
	again := w.do("POST", "/vms/"+vm+":suspend", token, nil, "Idempotency-Key", "k1")
	if first.status != 202 || again.status != 202 || first.str("id") != again.str("id") || again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("first: %d %s\nagain: %d %s", first.status, first.text, again.status, again.text)
	}
	other := w.do("POST", "/vms/"+vm+":stop", token, nil, "Idempotency-Key", "k1")
	w.want(other, 422, "UNPROCESSABLE")
	if other.str("errors.0.parameter") != "Idempotency-Key" {
		t.Errorf("points at %q", other.str("errors.0.parameter"))
	}

	t.Run("a body that says the same in other words", func(t *testing.T) {
		vm := w.putVM("one", backends.StateRunning)
		a := w.do("POST", "/vms/"+vm+":migrate", token, `{"host":"one.2","live":true}`, "Idempotency-Key", "k2")
		b := w.do("POST", "/vms/"+vm+":migrate", token, ` { "live" : true, "host" : "one.2" }`, "Idempotency-Key", "k2")
		if a.status != 202 || b.status != 202 || a.str("id") != b.str("id") {
			t.Errorf("%d %s, %d %s", a.status, a.text, b.status, b.text)
		}
		w.want(w.do("POST", "/vms/"+vm+":migrate", token, `{"host":"one.1","live":true}`, "Idempotency-Key", "k2"), 422, "UNPROCESSABLE")
	})
	t.Run("a refusal is an answer", func(t *testing.T) {
		vm := w.putVM("one", backends.StateStopped)
		w.want(w.do("POST", "/vms/"+vm+":suspend", token, nil, "Idempotency-Key", "k3"), 409, "WRONG_STATE")
		r := w.do("POST", "/vms/"+vm+":suspend", token, nil, "Idempotency-Key", "k3")
		w.want(r, 409, "WRONG_STATE")
		if r.header.Get("Idempotency-Replayed") != "true" {
			t.Error("was asked of the backend again")
		}
	})
	t.Run("what says to try again is not kept", func(t *testing.T) {
		vm := w.putVM("xen", backends.StateStopped)
		w.xen.Inject(xensim.Fault{Status: 503, HTML: "<html>busy</html>", Times: -1})
		r := w.do("POST", "/vms/"+vm+":start", token, nil, "Idempotency-Key", "k4")
		if r.status != 503 {
			t.Fatalf("%d %s", r.status, r.text)
		}
		w.xen.ClearFaults()
		if r.get("retryable") == true {
			if r := w.do("POST", "/vms/"+vm+":start", token, nil, "Idempotency-Key", "k4"); r.status != 202 {
				t.Errorf("the second try: %d %s", r.status, r.text)
			}
		}
	})
	t.Run("a request that the contract refuses takes no key", func(t *testing.T) {
		w.want(w.do("POST", "/vms", token, map[string]any{"backend": "xen", "frob": 1}, "Idempotency-Key", "k5"), 400, "INVALID_ARGUMENT")
		if r := w.do("POST", "/vms", token, createBody("xen", "k5"), "Idempotency-Key", "k5"); r.status != 201 {
			t.Errorf("%d %s", r.status, r.text)
		}
	})
	t.Run("another user's key is another key", func(t *testing.T) {
		viewer := w.xen.Users()[1]
		theirs := w.loginAs("", "xen", viewer.Name, viewer.Password)
		if r := w.do("POST", "/vms", theirs, createBody("xen", "k5"), "Idempotency-Key", "k5"); r.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("was told somebody else's answer: %s", r.text)
		}
	})
	t.Run("a day later it is new", func(t *testing.T) {
		w.clock.Advance(25 * time.Hour)
		token := w.login("one")
		r := w.do("POST", "/vms/"+vm+":suspend", token, nil, "Idempotency-Key", "k1")
		if r.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("replayed after a day: %s", r.text)
		}
	})
	w.want(w.do("POST", "/vms/"+vm+":stop", w.login("one"), nil, "Idempotency-Key", strings.Repeat("k", 256)), 400, "INVALID_ARGUMENT")
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	for _, backend := range []string{"one", "xen"} {
		t.Run(backend, func(t *testing.T) {
			path := "/vms/" + w.putVM(backend, backends.StateRunning)
			etag := w.do("GET", path, token, nil).header.Get("ETag")
			patch := map[string]any{"description": "first"}
			r := w.do("PATCH", path, token, patch, "If-Match", etag)
			if r.status != 200 {
				t.Fatalf("with the etag: %d %s", r.status, r.text)
			}
			w.want(w.do("PATCH", path, token, map[string]any{"description": "second"}, "If-Match", etag), 412, "ETAG_MISMATCH")
			w.want(w.do("POST", path+":suspend", token, nil, "If-Match", etag), 412, "ETAG_MISMATCH")
			w.want(w.do("DELETE", path, token, nil, "If-Match", etag), 412, "ETAG_MISMATCH")
			w.want(w.do("PATCH", path, token, patch, "If-Match", `W/`+r.header.Get("ETag")), 412, "ETAG_MISMATCH")
			for _, bad := range []string{"x", `"x`, `x"`, `"a" "b"`, `"a",b`, `,`, `*, "a"`} {
				w.want(w.do("PATCH", path, token, patch, "If-Match", bad), 400, "INVALID_ARGUMENT")
			}
			if r := w.do("PATCH", path, token, patch, "If-Match", "*"); r.status != 200 {
				t.Errorf("any: %d %s", r.status, r.text)
			}
			now := w.do("GET", path, token, nil)
			if now.str("description") != "first" || now.str("state") != "RUNNING" {
				t.Errorf("something was changed: %s", now.text)
			}
			if r := w.do("POST", path+":suspend", token, nil, "If-Match", `"other", `+now.header.Get("ETag")); r.status != 202 {
				t.Errorf("one of a list: %d %s", r.status, r.text)
			}
		})
	}
	w.want(w.do("PATCH", "/vms/one.9999", token, map[string]any{"description": "x"}, "If-Match", "*"), 404, "NOT_FOUND")
}

func TestWaiting(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	t.Run("to the end", func(t *testing.T) {
		vm := w.putVM("xen", backends.StateStopped)
		r := w.do("POST", "/vms/"+vm+":start", token, nil, "Prefer", "wait=20")
		if r.status != 200 || r.str("state") != "SUCCEEDED" || r.header.Get("Preference-Applied") != "wait=20" {
			t.Errorf("%d %v %s", r.status, r.header, r.text)
		}
	})
	t.Run("in vain", func(t *testing.T) {
		vm := w.putVM("one", backends.StateRunning) // time stands still there
		r := w.do("POST", "/vms/"+vm+":suspend", token, nil, "Prefer", "respond-async, wait=0.2")
		if r.status != 202 || r.str("state") != "RUNNING" || r.header.Get("Preference-Applied") != "wait=0.2" {
			t.Errorf("%d %v %s", r.status, r.header, r.text)
		}
		done := make(chan response)
		go func() { done <- w.do("GET", r.header.Get("Location")+"?waitSeconds=60", token, nil) }()
		w.one.Advance(time.Minute)
		if op := <-done; op.str("state") != "SUCCEEDED" {
			t.Errorf("%s", op.text)
		}
	})
	t.Run("until the gateway stops", func(t *testing.T) {
		w := newWorld(t, options{})
		token := w.login("one")
		r := w.do("POST", "/vms/"+w.putVM("one", backends.StateRunning)+":suspend", token, nil)
		done := make(chan response)
		go func() { done <- w.do("GET", r.header.Get("Location")+"?waitSeconds=300", token, nil) }()
		w.stop()
		if op := <-done; op.status != 200 || op.str("state") != "RUNNING" {
			t.Errorf("%d %s", op.status, op.text)
		}
	})
	t.Run("for a failure", func(t *testing.T) {
		vm := w.putVM("one", backends.StatePending)
		w.one.FailNext(onesim.StepBoot)
		r := w.do("POST", "/vms/"+vm+":deploy", token, map[string]any{"host": "one.1"})
		op := w.finish(token, r)
		if op.str("state") != "FAILED" || op.str("error.code") == "" || op.str("error.detail") == "" {
			t.Errorf("%s", op.text)
		}
	})
	vm := w.putVM("one", backends.StateRunning)
	for _, bad := range []string{"wait=-1", "wait=x", "wait=", "wait=NaN"} {
		w.want(w.do("POST", "/vms/"+vm+":suspend", token, nil, "Prefer", bad), 400, "INVALID_ARGUMENT")
	}
	if got := w.do("GET", "/vms/"+vm, token, nil); got.str("state") != "RUNNING" {
		t.Errorf("a malformed wait changed the VM to %s", got.str("state"))
	}
	r := w.do("POST", "/vms/"+w.putVM("xen", backends.StateStopped)+":start", token, nil, "Prefer", "wait=1e9")
	if r.header.Get("Preference-Applied") != "wait=300" {
		t.Errorf("without bound: %v", r.header)
	}
	w.want(w.do("GET", r.header.Get("Location")+"?waitSeconds=-1", token, nil), 400, "INVALID_ARGUMENT")
	w.want(w.do("GET", r.header.Get("Location")+"?waitSeconds=301", token, nil), 400, "INVALID_ARGUMENT")
}
