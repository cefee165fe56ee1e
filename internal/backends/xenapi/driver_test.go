package xenapi

import (
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// world is a driver, and a simulated pool whose operations end at once.
type world struct {
	*testing.T
	d   *Driver
	sim *xensim.Server
	s   backends.Session
}

func newWorld(t *testing.T, cfg xensim.Config) *world {
	t.Helper()
	if cfg.Durations == nil {
		cfg.Durations = &xensim.Durations{}
	}
	sim, err := xensim.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	d := newDriver(t, sim.URL())
	login, err := d.Login(t.Context(), "root", "xenroot")
	if err != nil {
		t.Fatal(err)
	}
	return &world{T: t, d: d, sim: sim, s: login.Session}
}

// on is the world as a subtest uses it.
func (w *world) on(t *testing.T) *world {
	own := *w
	own.T = t
	return &own
}

func newDriver(t testing.TB, endpoints ...string) *Driver {
	t.Helper()
	c := Config{Name: "xen", Timeout: 30 * time.Second}
	for _, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		c.Endpoints = append(c.Endpoints, u)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func (w *world) put(spec xensim.VMSpec) backends.ID {
	return backends.ID{Backend: "xen", Native: w.sim.PutVM(spec)}
}

func (w *world) vm(id backends.ID) *backends.VM {
	w.Helper()
	vm, err := w.d.VM(w.Context(), w.s, id, backends.ViewFull)
	if err != nil {
		w.Fatalf("read %s: %v", id, err)
	}
	return vm
}

// do runs a verb that has to be accepted, and follows its operation to the end.
func (w *world) do(v backends.Verb, id backends.ID, a backends.Args) *backends.Operation {
	w.Helper()
	got, err := w.d.Do(w.Context(), w.s, v, id, a)
	if err != nil {
		w.Fatalf("%s: %v", v, err)
	}
	o, ok := got.(*backends.Operation)
	if !ok {
		w.Fatalf("%s answered %T", v, got)
	}
	for !o.Done() {
		if o, err = w.d.Operation(w.Context(), w.s, o.ID); err != nil {
			w.Fatalf("operation of %s: %v", v, err)
		}
	}
	if o.State != backends.OperationSucceeded {
		w.Fatalf("%s ended as %s: %v", v, o.State, o.Err)
	}
	return o
}

// refused runs a verb that has to be refused.
func (w *world) refused(v backends.Verb, id backends.ID, a backends.Args, want backends.Code) *backends.Error {
	w.Helper()
	got, err := w.d.Do(w.Context(), w.s, v, id, a)
	if err == nil {
		w.Fatalf("%s answered %+v, want %s", v, got, want)
	}
	e, ok := errors.AsType[*backends.Error](err)
	if !ok || e.Code != want {
		w.Fatalf("%s: %v, want %s", v, err, want)
	}
	return e
}

func TestFirstSteps(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 3})
	id := w.put(xensim.VMSpec{Name: "web"})
	if got := w.vm(id); got.State != backends.StateStopped || *got.DisplayName != "web" {
		t.Fatalf("state %s, name %q", got.State, *got.DisplayName)
	}
	o := w.do("start", id, backends.Args{})
	if o.VM == nil || *o.VM != id || o.EndTime == nil {
		t.Errorf("operation %+v", o)
	}
	if got := w.vm(id); got.State != backends.StateRunning || got.Host == nil || got.Host.DisplayName == "" {
		t.Errorf("state %s, host %v", got.State, got.Host)
	}
	w.do("shutdown", id, backends.Args{})
	if got := w.vm(id).State; got != backends.StateStopped {
		t.Errorf("state %s", got)
	}
	e := w.refused("pause", id, backends.Args{}, backends.WrongState)
	if want := "The VM is not in a state in which it can be paused."; e.Detail != want {
		t.Errorf("detail %q, want %q", e.Detail, want)
	}
	if !slices.Equal(e.Fault.Params, []string{id.String(), "running", "halted"}) {
		t.Errorf("params %q", e.Fault.Params)
	}
	if got := w.sim.Tasks(); got != 0 {
		t.Errorf("%d tasks are left", got)
	}
	var names []string
	for vm, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: backends.ViewFull}) {
		if err != nil {
			t.Fatal(err)
		}
		if vm.ETag == "" || vm.Disks == nil {
			t.Errorf("%s has no ETag or no disks", vm.ID)
		}
		names = append(names, *vm.DisplayName)
	}
	if len(names) != 4 || !slices.Contains(names, "web") {
		t.Errorf("listed %q", names)
	}
	if err := w.d.Logout(t.Context(), w.s); err != nil {
		t.Error(err)
	}
	if _, err := w.d.VM(t.Context(), w.s, id, backends.ViewID); backends.CodeOf(err) != backends.BackendSessionEnded {
		t.Errorf("after logout: %v", err)
	}
}
