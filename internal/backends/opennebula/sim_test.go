package opennebula

import (
	"context"
	"net/url"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// bench is a driver logged in at a simulator of its own, on a real port, with a clock by hand.
type bench struct {
	*testing.T
	sim     *onesim.Server
	clock   *onesim.ManualClock
	driver  *Driver
	session backends.Session
	login   backends.Login
}

var start0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T, release string) *bench {
	t.Helper()
	return newBenchOf(t, onesim.Config{Release: release})
}

func newBenchOf(t *testing.T, c onesim.Config) *bench {
	t.Helper()
	clock := onesim.NewClock(start0)
	c.Clock = clock
	sim, err := onesim.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	endpoint, err := url.Parse(sim.URL())
	if err != nil {
		t.Fatal(err)
	}
	driver, err := New(Config{Name: "one", Endpoints: []*url.URL{endpoint}, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, sim: sim, clock: clock, driver: driver}
	b.session, b.login = b.as("oneadmin")
	return b
}

// as logs a user of the simulator in.
func (b *bench) as(name string) (backends.Session, backends.Login) {
	b.Helper()
	for _, u := range b.sim.Users() {
		if u.Name == name {
			l, err := b.driver.Login(b.Context(), u.Name, u.Password)
			if err != nil {
				b.Fatalf("login as %s: %v", name, err)
			}
			return l.Session, l
		}
	}
	b.Fatalf("no user %s", name)
	return backends.Session{}, backends.Login{}
}

func (b *bench) password(name string) string {
	b.Helper()
	for _, u := range b.sim.Users() {
		if u.Name == name {
			return u.Password
		}
	}
	b.Fatalf("no user %s", name)
	return ""
}

// put makes a VM in a state.
func (b *bench) put(state, lcm int) backends.ID {
	b.Helper()
	n, err := b.sim.PutVM(onesim.VMSpec{State: onesim.State(state), LCM: onesim.LCM(lcm)})
	if err != nil {
		b.Fatal(err)
	}
	return b.driver.id(n)
}

func (b *bench) running() backends.ID { return b.put(stActive, lcmRunning) }

func (b *bench) vm(id backends.ID) *backends.VM {
	b.Helper()
	vm, err := b.driver.VM(b.Context(), b.session, id, backends.ViewFull)
	if err != nil {
		b.Fatal(err)
	}
	return vm
}

// do runs a verb that has to be accepted.
func (b *bench) do(v backends.Verb, id backends.ID, a backends.Args) *backends.Operation {
	b.Helper()
	result, err := b.driver.Do(b.Context(), b.session, v, id, a)
	if err != nil {
		b.Fatalf("%s: %v", v, err)
	}
	op, ok := result.(*backends.Operation)
	if !ok {
		b.Fatalf("%s gives a %T", v, result)
	}
	return op
}

// refuse runs a verb that has to be refused.
func (b *bench) refuse(v backends.Verb, id backends.ID, a backends.Args, want backends.Code) *backends.Error {
	b.Helper()
	result, err := b.driver.Do(b.Context(), b.session, v, id, a)
	if err == nil {
		b.Fatalf("%s was accepted: %+v", v, result)
	}
	e := backends.AsError(err)
	if e.Code != want {
		b.Fatalf("%s: %v, want %s", v, e, want)
	}
	return e
}

// finish lets time pass until an operation ends.
func (b *bench) finish(op *backends.Operation) *backends.Operation {
	b.Helper()
	for range 200 {
		if op.Done() {
			return op
		}
		b.sim.Advance(100 * time.Millisecond)
		next, err := b.driver.Operation(b.Context(), b.session, op.ID)
		if err != nil {
			b.Fatal(err)
		}
		op = next
	}
	b.Fatalf("%s does not end", op.ID)
	return nil
}

// calls are the methods that go out while f runs.
func (b *bench) calls(f func(ctx context.Context)) []string {
	var methods []string
	f(backends.WithObserver(b.Context(), func(c backends.Call) { methods = append(methods, c.Method) }))
	return methods
}

func TestEndToEnd(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.running()
	op := b.finish(b.do("shutdown", id, backends.Args{}))
	if op.State != backends.OperationSucceeded || b.vm(id).State != backends.StateStopped {
		t.Fatalf("shutdown: %s, the VM is %s", op.State, b.vm(id).State)
	}
	op = b.finish(b.do("start", id, backends.Args{}))
	if op.State != backends.OperationSucceeded || b.vm(id).State != backends.StateRunning {
		t.Fatalf("start: %s, the VM is %s", op.State, b.vm(id).State)
	}
}
