package operations_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/operations"
	"vmgateway/internal/store"
	"vmgateway/internal/store/storetest"
)

func TestWaitEndsWithTheOperation(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, op, backends.OperationRunning)
	if early, err := g.Wait(t.Context(), g.backend, g.owner, g.session, op.ID, time.Millisecond); err != nil || early.Done() {
		t.Fatalf("before the end: %+v, %v", early, err)
	}
	waits := []<-chan *backends.Operation{g.waiting(op.ID), g.waiting(op.ID), g.waiting(op.ID)}
	c.sim.Advance(time.Second)
	for _, w := range waits {
		wantState(t, <-w, backends.OperationSucceeded)
	}
	// It has ended: nobody asks the backend any more, and the feed is left.
	calls := c.sim.Calls("one.vm.info")
	wantState(t, g.get(op.ID), backends.OperationSucceeded)
	wantState(t, g.wait(op.ID), backends.OperationSucceeded)
	if again := c.sim.Calls("one.vm.info"); again != calls {
		t.Errorf("reading what has ended took %d calls", again-calls)
	}
	if list := g.list(); len(list) != 1 || list[0].State != backends.OperationSucceeded {
		t.Errorf("list: %+v", list)
	}
}

func TestOutcomes(t *testing.T) {
	type call struct {
		verb backends.Verb
		args backends.Args
	}
	for _, tt := range []struct {
		name   string
		state  onesim.State
		lcm    onesim.LCM
		fail   onesim.Step
		host   int // of migrate and deploy
		call   call
		meddle func(c *cloud, vm int)  // a third party
		want   backends.OperationState // "": FAILED or UNKNOWN, as the driver sees it
		detail string                  // where the VM stands then, by its own name
		on     int                     // the host in the end; -1 for any
	}{
		{name: "deploy", state: onesim.Pending, host: 1, call: call{verb: "deploy"}, want: backends.OperationSucceeded, on: 1},
		{
			name: "deploy, and the boot fails", state: onesim.Pending, fail: onesim.StepBoot, host: 1, call: call{verb: "deploy"},
			want: backends.OperationFailed, detail: "BOOT_FAILURE", on: 1,
		},
		{name: "migrate", state: onesim.Active, lcm: onesim.Running, host: 2, call: call{verb: "migrate"}, want: backends.OperationSucceeded, on: 2},
		{
			name: "migrate, and it falls back to the old host", state: onesim.Active, lcm: onesim.Running, fail: onesim.StepMigrate, host: 2,
			call: call{verb: "migrate"}, want: backends.OperationFailed, detail: "RUNNING", on: 0,
		},
		{
			name: "migrate, and somebody deletes the VM", state: onesim.Active, lcm: onesim.Running, host: 2, call: call{verb: "migrate"},
			meddle: func(c *cloud, vm int) { c.set(vm, onesim.Done, 0) },
			want:   backends.OperationFailed, detail: "DONE", on: -1,
		},
		{
			name: "shut down, and somebody has it running again", state: onesim.Active, lcm: onesim.Running, call: call{verb: "shutdown"},
			meddle: func(c *cloud, vm int) {
				c.clock.Advance(time.Minute)
				c.set(vm, onesim.Active, onesim.Running)
			},
			detail: "RUNNING", on: 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			g := c.gateway(c.memory())
			vm, err := c.sim.PutVM(onesim.VMSpec{State: tt.state, LCM: tt.lcm})
			if err != nil {
				t.Fatal(err)
			}
			if tt.fail != "" {
				c.sim.FailNext(tt.fail)
			}
			args := tt.call.args
			if tt.call.verb == "migrate" || tt.call.verb == "deploy" {
				args.Host = new(c.id(tt.host))
			}
			op := g.begin(tt.call.verb, c.id(vm), args)
			wantState(t, op, backends.OperationRunning)
			end := g.waiting(op.ID)
			if tt.meddle != nil {
				tt.meddle(c, vm)
			} else {
				c.sim.Advance(time.Minute)
			}
			op = <-end
			if tt.want == "" {
				wantNoSuccess(t, op)
			} else {
				wantState(t, op, tt.want)
			}
			if op.Err != nil && !strings.Contains(op.Err.Detail, tt.detail) {
				t.Errorf("because of %s: %s", op.Err.Code, op.Err.Detail)
			}
			if state, _ := c.sim.VM(vm); tt.on >= 0 && state.Host != tt.on {
				t.Errorf("the VM is on host %d, want %d", state.Host, tt.on)
			}
		})
	}
}

// set is a third party's doing.
func (c *cloud) set(vm int, state onesim.State, lcm onesim.LCM) {
	c.Helper()
	if err := c.sim.SetState(vm, state, lcm); err != nil {
		c.Fatal(err)
	}
}

// Without the feed telling anything, the look now and then finds the end.
func TestLooksNowAndThen(t *testing.T) {
	c := newCloud(t)
	g := newGateway(t, c.backend, "oneadmin", c.login("oneadmin"), operations.Config{Store: c.memory(), Now: c.clock.Now, Poll: time.Millisecond})
	vm := c.put(onesim.Pending, 0)
	op := g.begin("deploy", vm, backends.Args{Host: new(c.id(1))})
	// The call is lost in OpenNebula: nothing happens to the VM, and nothing is told of it.
	c.set(0, onesim.Hold, 0)
	c.clock.Advance(11 * time.Second)
	wantNoSuccess(t, g.wait(op.ID))
}

// wantNoSuccess is for work that came to nothing, of which the driver knows more or less.
func wantNoSuccess(t *testing.T, op *backends.Operation) {
	t.Helper()
	if op.State == backends.OperationUnknown {
		wantState(t, op, backends.OperationUnknown)
	} else {
		wantState(t, op, backends.OperationFailed)
	}
}

func TestAnotherOwnersOperation(t *testing.T) {
	c := newCloud(t)
	for name, s := range stores(t, c.clock.Now) {
		t.Run(name, func(t *testing.T) {
			g := c.on(t).gateway(s())
			op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
			// bob may see as much at the backend: he has the same session.
			bob := g.as("bob", g.session)
			calls := c.sim.Calls("one.vm.info")
			bob.refused(op.ID, backends.NotFound)
			if _, err := bob.Wait(t.Context(), bob.backend, bob.owner, bob.session, op.ID, soon); backends.CodeOf(err) != backends.NotFound {
				t.Errorf("wait: %v", err)
			}
			if _, err := bob.Cancel(t.Context(), bob.backend, bob.owner, bob.session, op.ID); backends.CodeOf(err) != backends.NotFound {
				t.Errorf("cancel: %v", err)
			}
			if len(bob.list()) != 0 {
				t.Errorf("bob's list: %+v", bob.list())
			}
			c.sim.Advance(time.Second)
			wantState(t, g.wait(op.ID), backends.OperationSucceeded)
			bob.refused(op.ID, backends.NotFound)
			if after := c.sim.Calls("one.vm.info"); after > calls+4 { // those that follow it
				t.Errorf("%d calls", after-calls)
			}
		})
	}
}

func (c *cloud) on(t *testing.T) *cloud {
	own := *c
	own.T = t
	return &own
}

// stores opens an empty store of each kind; with Redis, each call gives another way to the same.
func stores(t *testing.T, now func() time.Time) map[string]func() store.Store {
	t.Helper()
	url := storetest.Redis(t)
	memory := store.NewMemory(now)
	return map[string]func() store.Store{
		"memory": func() store.Store { return memory },
		"redis":  func() store.Store { return openRedis(t, url, now) },
	}
}

func openRedis(t *testing.T, url string, now func() time.Time) store.Store {
	t.Helper()
	r, err := store.NewRedis(store.RedisConfig{URL: url, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestIDsThatNobodyGave(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	calls := c.sim.Calls("")
	for _, native := range []string{"", "x", "0", "shutdown-0-x-0-nowhere", "nothing-0-x-1-none", "shutdown-99999999999-x-1-none", strings.Repeat("a", 4000)} {
		g.refused(backends.ID{Backend: "one", Native: native}, backends.NotFound)
	}
	g.refused(backends.ID{Backend: "xen", Native: "shutdown-0-x-1-none"}, backends.NotFound)
	if after := c.sim.Calls(""); after != calls {
		t.Errorf("they took %d calls: %v", after-calls, c.sim.CallCounts())
	}
}

// The operation goes on in a gateway that only shares the store, and in one that knows nothing at all.
func TestRestart(t *testing.T) {
	c := newCloud(t)
	url := storetest.Redis(t)
	for _, tt := range []struct {
		name   string
		before store.Store
		after  store.Store
	}{
		{"with the same Redis", openRedis(t, url, c.clock.Now), openRedis(t, url, c.clock.Now)},
		{"with an empty memory", c.memory(), c.memory()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := c.on(t)
			vm := c.put(onesim.Active, onesim.Running)
			first := c.gateway(tt.before)
			op := first.begin("migrate", vm, backends.Args{Host: new(c.id(1))})
			first.Tracker.Close()
			if left, err := first.Wait(t.Context(), first.backend, first.owner, first.session, op.ID, soon); err != nil || left.Done() {
				t.Errorf("after Close: %+v, %v", left, err)
			}

			second := c.gateway(tt.after)
			again := second.get(op.ID)
			wantState(t, again, backends.OperationRunning)
			if again.Verb != "migrate" || *again.VM != vm || !again.CreateTime.Equal(op.CreateTime) {
				t.Errorf("it is %+v now, and was %+v", again, op)
			}
			end := second.waiting(op.ID)
			c.sim.Advance(time.Minute)
			wantState(t, <-end, backends.OperationSucceeded)

			third := c.gateway(tt.after)
			c.set(must(t)(intOf(vm)), onesim.Done, 0)
			wantState(t, third.get(op.ID), backends.OperationSucceeded)
		})
	}
}

func intOf(id backends.ID) (n int, err error) {
	_, err = fmt.Sscan(id.Native, &n)
	return n, err
}

func must(t *testing.T) func(int, error) int {
	return func(n int, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// After a restart nobody has to ask for each operation: whatever the owner does first resumes them all.
func TestResume(t *testing.T) {
	c := newCloud(t)
	url := storetest.Redis(t)
	first := c.gateway(openRedis(t, url, c.clock.Now))
	ops := []*backends.Operation{
		first.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{}),
		first.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{}),
	}
	first.Tracker.Close()
	kept := openRedis(t, url, c.clock.Now)
	second := c.gateway(kept)
	second.Resume(second.backend, second.owner, second.session)
	c.sim.Advance(time.Second)
	wantState(t, second.wait(ops[0].ID), backends.OperationSucceeded)
	// The other was not asked for: that it ends is told by the store alone.
	second.await(func() bool {
		for _, op := range second.list() {
			if op.State != backends.OperationSucceeded {
				return false
			}
		}
		return true
	})
}

// await yields until something is so that happens by itself.
func (g *gateway) await(so func() bool) {
	g.Helper()
	deadline := time.NewTimer(soon)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline.C:
			g.Fatal("it does not come about")
		}
	}
}

func TestKeepsForAnHour(t *testing.T) {
	c := newCloud(t)
	for name, open := range stores(t, c.clock.Now) {
		t.Run(name, func(t *testing.T) {
			c := c.on(t)
			g := c.gateway(open())
			vm := c.put(onesim.Active, onesim.Running)
			op := g.begin("shutdown", vm, backends.Args{})
			end := g.waiting(op.ID)
			c.sim.Advance(time.Second)
			wantState(t, <-end, backends.OperationSucceeded)

			c.clock.Advance(time.Hour - time.Second)
			wantState(t, g.get(op.ID), backends.OperationSucceeded)
			if len(g.list()) != 1 {
				t.Errorf("list: %+v", g.list())
			}
			c.clock.Advance(2 * time.Second)
			// The driver would still judge it by the VM, which somebody has deleted by now.
			c.set(must(t)(intOf(vm)), onesim.Done, 0)
			g.refused(op.ID, backends.NotFound)
			if len(g.list()) != 0 {
				t.Errorf("list: %+v", g.list())
			}
			g.Tracker.Close()
			if all, err := g.store.List(t.Context(), "operation/"); len(all) != 0 || err != nil {
				t.Errorf("stored: %q, %v", all, err)
			}
		})
	}
}

func TestKeepsTheNewest(t *testing.T) {
	c := newCloud(t)
	const keep, started = 10, 35
	g := newGateway(t, c.backend, "oneadmin", c.login("oneadmin"), operations.Config{Store: c.memory(), Now: c.clock.Now, Poll: never, PerOwner: keep})
	var ops []*backends.Operation
	for range started {
		ops = append(ops, g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{}))
		c.sim.Advance(time.Second)
		wantState(t, g.wait(ops[len(ops)-1].ID), backends.OperationSucceeded)
	}
	list := g.list()
	if len(list) != keep {
		t.Fatalf("%d are listed, want %d", len(list), keep)
	}
	for i, op := range list {
		if want := ops[started-1-i].ID; op.ID != want {
			t.Errorf("number %d of the list is %s, want %s", i, op.ID, want)
		}
	}
	g.Tracker.Close() // ends what tidies up
	stored, err := g.store.List(t.Context(), "operation/")
	if err != nil || len(stored) < keep || len(stored) > keep+keep/4+1 {
		t.Errorf("%d are stored (%v)", len(stored), err)
	}
	claims, err := g.store.List(t.Context(), "operation-owner/")
	if err != nil || len(claims) != len(stored) {
		t.Errorf("%d owners are stored for %d operations (%v)", len(claims), len(stored), err)
	}
	g.refused(ops[0].ID, backends.NotFound)
}

func TestManyReadersCostOneCall(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, g.get(op.ID), backends.OperationRunning)
	const readers = 50
	before := c.sim.Calls("one.vm.info")
	c.sim.Inject(onesim.Fault{Method: "one.vm.info", Delay: 100 * time.Millisecond, Times: 3})
	var work sync.WaitGroup
	for range readers {
		work.Go(func() { wantRunning(t, g, op.ID) })
	}
	work.Wait()
	if calls := c.sim.Calls("one.vm.info") - before; calls >= readers/2 {
		t.Errorf("%d readers took %d calls", readers, calls)
	}
}

func wantRunning(t *testing.T, g *gateway, id backends.ID) {
	if op, err := g.Get(t.Context(), g.backend, g.owner, g.session, id); err != nil || op.Done() {
		t.Errorf("%+v, %v", op, err)
	}
}

// A backend that is away does not hide what was seen, and does not end anything.
func TestBackendAway(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, g.get(op.ID), backends.OperationRunning)
	c.sim.Inject(onesim.Fault{Status: 502, Times: -1})
	wantState(t, g.get(op.ID), backends.OperationRunning)
	end := g.waiting(op.ID)
	c.sim.Advance(time.Second)
	c.sim.ClearFaults()
	wantState(t, <-end, backends.OperationSucceeded)
}

func TestContextOfAWait(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := g.Wait(ctx, g.backend, g.owner, g.session, op.ID, soon)
		done <- err
	}()
	cancel()
	if err := <-done; err != nil && backends.CodeOf(err) != backends.BackendTimeout {
		t.Errorf("a wait that was given up: %v", err)
	}
	c.sim.Advance(time.Second) // it is followed all the same
	wantState(t, g.wait(op.ID), backends.OperationSucceeded)
}

// The backend ends the login: whoever waits learns it, and the next login goes on.
func TestLoginEnds(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, g.get(op.ID), backends.OperationRunning)
	done := make(chan error, 1)
	go func() {
		_, err := g.Wait(t.Context(), g.backend, g.owner, g.session, op.ID, soon)
		done <- err
	}()
	if err := g.backend.Driver.Logout(t.Context(), g.session); err != nil {
		t.Fatal(err)
	}
	if err := <-done; backends.CodeOf(err) != backends.BackendSessionEnded {
		t.Errorf("the wait: %v", err)
	}
	later := g.as("oneadmin", c.login("oneadmin"))
	wantState(t, later.get(op.ID), backends.OperationRunning)
	end := later.waiting(op.ID)
	c.sim.Advance(time.Second)
	wantState(t, <-end, backends.OperationSucceeded)
}

// While the store is away operations are followed in memory; what ended meanwhile is stored later.
func TestStoreAway(t *testing.T) {
	c := newCloud(t)
	server := storetest.StartRedis(t, "")
	g := newGateway(t, c.backend, "oneadmin", c.login("oneadmin"), operations.Config{
		Store: openRedis(t, server.URL(), c.clock.Now), Now: c.clock.Now, Poll: time.Millisecond,
	})
	server.Stop()
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, op, backends.OperationRunning)
	end := g.waiting(op.ID)
	c.sim.Advance(time.Second)
	wantState(t, <-end, backends.OperationSucceeded)
	if len(g.reported()) == 0 {
		t.Error("nobody was told that the store is away")
	}
	if _, err := g.List(t.Context(), []string{g.owner}); err == nil {
		t.Error("the list of a store that is away is no error")
	}
	server.Restart()
	other := openRedis(t, server.URL(), c.clock.Now)
	g.await(func() bool {
		all, err := other.List(t.Context(), "operation/")
		return err == nil && len(all) == 1
	})
	wantState(t, g.get(op.ID), backends.OperationSucceeded)
}

func TestCancelOfWhatHasEnded(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	c.sim.Advance(time.Second)
	wantState(t, g.wait(op.ID), backends.OperationSucceeded)
	_, err := g.Cancel(t.Context(), g.backend, g.owner, g.session, op.ID)
	if e, ok := errors.AsType[*backends.Error](err); !ok || e.Code != backends.WrongState || !strings.Contains(e.Detail, "SUCCEEDED") {
		t.Errorf("%v", err)
	}
}

// OpenNebula forgets that work was cancelled: the tracker remembers, and tells it from work that failed.
func TestCancel(t *testing.T) {
	grace := func(c *cloud, _ int) { c.clock.Advance(time.Minute) } // for a VM that has fallen back
	for _, tt := range []struct {
		name string
		verb backends.Verb
		from onesim.State
		lcm  onesim.LCM
		then func(c *cloud, vm int) // after the cancel
		want backends.OperationState
	}{
		{"shut down, and it falls back", "shutdown", onesim.Active, onesim.Running, grace, backends.OperationCancelled},
		{"suspend, and it falls back", "suspend", onesim.Active, onesim.Running, grace, backends.OperationCancelled},
		{"migrate, and it falls back to the old host", "migrate", onesim.Active, onesim.Running, grace, backends.OperationCancelled},
		{"deploy, and it stays in a failure state", "deploy", onesim.Pending, 0, grace, backends.OperationCancelled},
		{
			"shut down, and it had succeeded", "shutdown", onesim.Active, onesim.Running,
			func(c *cloud, vm int) { c.set(vm, onesim.Poweroff, 0) }, backends.OperationSucceeded,
		},
		{
			"shut down, and somebody deletes the VM", "shutdown", onesim.Active, onesim.Running,
			func(c *cloud, vm int) { c.set(vm, onesim.Done, 0) }, backends.OperationFailed,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			g := c.gateway(c.memory())
			vm := c.put(tt.from, tt.lcm)
			op := g.begin(tt.verb, vm, c.toHost(tt.verb))
			wantState(t, g.get(op.ID), backends.OperationRunning)
			g.cancel(op.ID)
			tt.then(c, must(t)(intOf(vm)))
			wantState(t, g.wait(op.ID), tt.want)
			wantState(t, g.get(op.ID), tt.want)
			if list := g.list(); len(list) != 1 || list[0].State != tt.want {
				t.Errorf("listed: %+v", list)
			}
		})
	}
}

// toHost is the arguments of a verb that takes a host.
func (c *cloud) toHost(v backends.Verb) backends.Args {
	if v == "migrate" || v == "deploy" {
		return backends.Args{Host: new(c.id(1))}
	}
	return backends.Args{}
}

// cancel asks for what the backend will take.
func (g *gateway) cancel(id backends.ID) {
	g.Helper()
	if _, err := g.Cancel(g.Context(), g.backend, g.owner, g.session, id); err != nil {
		g.Fatalf("cancel %s: %v", id, err)
	}
}

// A gateway that shares the store and follows the operation since before the cancel knows of it too.
func TestCancelAtAnotherGateway(t *testing.T) {
	c := newCloud(t)
	url := storetest.Redis(t)
	first, other := c.gateway(openRedis(t, url, c.clock.Now)), c.gateway(openRedis(t, url, c.clock.Now))
	op := first.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	wantState(t, other.get(op.ID), backends.OperationRunning)
	first.cancel(op.ID)
	c.clock.Advance(time.Minute)
	wantState(t, other.get(op.ID), backends.OperationCancelled)
	wantState(t, first.get(op.ID), backends.OperationCancelled)
}

func TestCancelSurvivesARestart(t *testing.T) {
	c := newCloud(t)
	kept := c.memory()
	first := c.gateway(kept)
	op := first.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	first.cancel(op.ID)
	wantState(t, first.get(op.ID), backends.OperationRunning)
	first.Tracker.Close()
	second := c.gateway(kept)
	wantState(t, second.get(op.ID), backends.OperationRunning)
	c.clock.Advance(time.Minute)
	wantState(t, second.get(op.ID), backends.OperationCancelled)
}

// Only a cancel that OpenNebula took, or may have taken, makes a failure one.
func TestCancelsThatWereNot(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault onesim.Fault
		want  backends.OperationState
	}{
		{"refused", onesim.Fault{Code: 512, Text: "[one.vm.recover] Not authorized to perform ADMIN VM."}, backends.OperationFailed},
		{"an answer that is lost", onesim.Fault{CutNow: true}, backends.OperationCancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCloud(t)
			g := c.gateway(c.memory())
			c.sim.FailNext(onesim.StepMigrate)
			op := g.begin("migrate", c.put(onesim.Active, onesim.Running), c.toHost("migrate"))
			tt.fault.Method = "one.vm.recover"
			c.sim.Inject(tt.fault)
			if now, err := g.Cancel(t.Context(), g.backend, g.owner, g.session, op.ID); err == nil {
				t.Fatalf("it was taken: %+v", now)
			}
			c.sim.Advance(time.Minute)
			wantState(t, g.wait(op.ID), tt.want)
		})
	}
}

// When nothing runs any more, nothing is watched any more.
func TestLeavesTheFeed(t *testing.T) {
	c := newCloud(t)
	g := c.gateway(c.memory())
	op := g.begin("shutdown", c.put(onesim.Active, onesim.Running), backends.Args{})
	f, ok := g.feeds.Running(g.owner)
	if !ok {
		t.Fatal("nothing is watched")
	}
	c.sim.Advance(time.Second)
	wantState(t, g.wait(op.ID), backends.OperationSucceeded)
	<-f.Ended()
}
