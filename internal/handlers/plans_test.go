package handlers_test

import (
	"testing"

	"vmgateway/internal/backends"
)

// TestValidateOnly: a dry run tells the calls and changes nothing, on both backends.
func TestValidateOnly(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	for _, backend := range []string{"one", "xen"} {
		t.Run(backend, func(t *testing.T) {
			vm := w.putVM(backend, backends.StateRunning)
			path := "/vms/" + vm
			before := w.do("GET", path, token, nil)
			count := len(w.do("GET", "/vms", token, nil).list("vms"))
			tests := []struct {
				name, method, path string
				body               any
				allowed            bool
			}{
				{"a verb", "POST", path + ":suspend", nil, true},
				{"a verb in the wrong state", "POST", path + ":start", nil, false},
				{"a change", "PATCH", path, map[string]any{"displayName": "other", "description": "x"}, true},
				{"a new VM", "POST", "/vms", createBody(backend, "planned"), true},
				{"a deletion", "DELETE", path, nil, backend == "one"},
			}
			for _, tt := range tests {
				r := w.do(tt.method, tt.path+"?validateOnly=true", token, tt.body, "Idempotency-Key", "dry")
				if r.status != 200 || r.header.Get("Content-Type") != "application/vnd.vmgateway.plan+json" {
					t.Errorf("%s: %d %s", tt.name, r.status, r.text)
					continue
				}
				if r.get("allowed") != tt.allowed || tt.allowed && len(r.list("calls")) == 0 || !tt.allowed && r.str("reason") == "" {
					t.Errorf("%s: %s", tt.name, r.text)
				}
			}
			w.want(w.do("POST", path+":migrate?validateOnly=true", token, map[string]any{"host": "one.007"}), 400, "INVALID_ARGUMENT")
			if after := w.do("GET", path, token, nil); after.str("etag") != before.str("etag") {
				t.Errorf("a dry run changed the VM: %s", after.text)
			}
			if n := len(w.do("GET", "/vms", token, nil).list("vms")); n != count {
				t.Errorf("there were %d VMs, now %d", count, n)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t, options{})
	token := w.login("one", "xen")
	vm := w.putVM("one", backends.StatePending)
	op := w.do("POST", "/vms/"+vm+":deploy", token, map[string]any{"host": "one.1"})
	if op.status != 202 {
		t.Fatalf("%d %s", op.status, op.text)
	}
	cancelled := w.do("POST", op.header.Get("Location")+":cancel", token, nil)
	if cancelled.status != 202 && cancelled.status != 409 {
		t.Errorf("cancel: %d %s", cancelled.status, cancelled.text)
	}
	end := w.finish(token, op)
	if end.str("state") == "SUCCEEDED" && cancelled.status == 202 {
		t.Errorf("was cancelled, and yet: %s", end.text)
	}
	w.want(w.do("POST", op.header.Get("Location")+":cancel", token, nil), 409, "WRONG_STATE")
	w.want(w.do("POST", "/operations/one.garbage:cancel", token, nil), 404, "NOT_FOUND")
	w.want(w.do("POST", "/operations/one.garbage:frob", token, nil), 404, "NOT_FOUND")
}
