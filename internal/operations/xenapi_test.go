package operations_test

import (
	"encoding/json"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
	"vmgateway/internal/feed"
	"vmgateway/internal/operations"
	"vmgateway/internal/store/storetest"
)

// follow leases the owner's feed as a listener does.
func (g *gateway) follow() *feed.Feed {
	lease := g.feeds.Acquire(g.backend, g.owner, g.session)
	g.Cleanup(lease.Release)
	select {
	case <-lease.Feed().Ready():
	case <-lease.Feed().Ended():
	}
	return lease.Feed()
}

func TestProgress(t *testing.T) {
	p := newPool(t)
	g := p.gateway(p.memory())
	op := g.begin("migrate", p.put("Running"), backends.Args{Host: p.host(1)})
	wantState(t, op, backends.OperationRunning)
	p.started(1)
	var last float64
	for range 3 {
		p.clock.Advance(2 * time.Second)
		op = g.get(op.ID)
		wantState(t, op, backends.OperationRunning)
		if op.Progress == nil || *op.Progress <= last || *op.Progress >= 1 {
			t.Fatalf("progress after %v: %v", last, op.Progress)
		}
		last = *op.Progress
	}
	if listed := g.list(); len(listed) != 1 || listed[0].Progress == nil || *listed[0].Progress < last {
		t.Errorf("listed: %+v", listed[0])
	}
	end := g.waiting(op.ID)
	p.clock.Advance(time.Minute)
	op = <-end
	wantState(t, op, backends.OperationSucceeded)
	if tasks := p.sim.Tasks(); tasks != 0 {
		t.Errorf("%d tasks are left", tasks)
	}
}

func TestResultAndFailure(t *testing.T) {
	p := newPool(t)
	g := p.gateway(p.memory())
	t.Run("a clone names the new VM", func(t *testing.T) {
		op := g.begin("clone", p.put("Halted"), backends.Args{DisplayName: new("copy")})
		end := g.waiting(op.ID)
		p.started(1)
		p.clock.Advance(time.Minute)
		op = <-end
		wantState(t, op, backends.OperationSucceeded)
		if op.Result == nil || op.Result.VM == nil {
			t.Fatalf("result: %+v", op.Result)
		}
		vm, err := g.backend.VM(t.Context(), g.session, *op.Result.VM, backends.ViewBasic)
		if err != nil || *vm.DisplayName != "copy" {
			t.Errorf("%+v, %v", vm, err)
		}
	})
	t.Run("a failure names its cause, from the store too", func(t *testing.T) {
		p.sim.FailNext("VM.start", "HOST_NOT_ENOUGH_FREE_MEMORY", "1", "0")
		op := g.begin("start", p.put("Halted"), backends.Args{})
		end := g.waiting(op.ID)
		p.started(1)
		p.clock.Advance(time.Minute)
		failed := <-end
		wantState(t, failed, backends.OperationFailed)
		stored := g.get(op.ID)
		wantState(t, stored, backends.OperationFailed)
		for what, e := range map[string]*backends.Error{"seen": failed.Err, "stored": stored.Err} {
			if e.Fault == nil || e.Fault.Code != "HOST_NOT_ENOUGH_FREE_MEMORY" || e.Detail == "" || e.Code == backends.Internal {
				t.Errorf("%s: %v", what, e)
			}
		}
	})
}

// xapi remembers a task once: whoever sees its end destroys it. Two gateways that share a store agree
// on the end all the same, whichever was first.
func TestTwoGateways(t *testing.T) {
	p := newPool(t)
	url := storetest.Redis(t)
	a, b := p.gateway(openRedis(t, url, p.clock.Now)), p.gateway(openRedis(t, url, p.clock.Now))
	const operations = 10
	var ids []backends.ID
	var ends []<-chan *backends.Operation
	for range operations {
		op := a.begin("start", p.put("Halted"), backends.Args{})
		ids = append(ids, op.ID)
		wantState(t, b.get(op.ID), backends.OperationRunning)
		ends = append(ends, a.waiting(op.ID), b.waiting(op.ID))
	}
	p.started(operations)
	p.clock.Advance(time.Minute)
	for _, end := range ends {
		wantState(t, <-end, backends.OperationSucceeded)
	}
	for _, id := range ids {
		wantState(t, a.get(id), backends.OperationSucceeded)
		wantState(t, b.get(id), backends.OperationSucceeded)
	}
}

// What the backend has forgotten ends as UNKNOWN, and says so.
func TestForgotten(t *testing.T) {
	p := newPool(t)
	g := newGateway(t, p.backend, "root", p.login("root", "xenroot"), operations.Config{Store: p.memory(), Now: p.clock.Now, Poll: never})
	op := g.begin("start", p.put("Halted"), backends.Args{})
	wantState(t, g.get(op.ID), backends.OperationRunning)
	g.Tracker.Close()
	p.started(1)
	p.clock.Advance(time.Minute)
	// Somebody else who has the id reads the end, which destroys the task.
	p.await(g, op.ID)
	op = g.get(op.ID)
	wantState(t, op, backends.OperationUnknown)
	if op.Err.Detail == "" || op.Cancellable || op.Progress != nil {
		t.Errorf("%+v", op)
	}
	wantState(t, g.get(op.ID), backends.OperationUnknown)
}

// await asks the driver past the tracker until the operation has ended.
func (p *pool) await(g *gateway, id backends.ID) {
	p.Helper()
	g.await(func() bool {
		op, err := p.backend.Driver.Operation(p.Context(), g.session, id)
		if err != nil {
			p.Fatal(err)
		}
		return op.Done()
	})
}

// A gateway that knows nothing finds running work by its id, and keeps how it ends.
func TestRestartWithoutAStore(t *testing.T) {
	p := newPool(t)
	first := p.gateway(p.memory())
	op := first.begin("migrate", p.put("Running"), backends.Args{Host: p.host(1)})
	first.Tracker.Close()
	p.started(1)

	second := p.gateway(p.memory())
	again := second.get(op.ID)
	wantState(t, again, backends.OperationRunning)
	if again.Verb != op.Verb || *again.VM != *op.VM {
		t.Errorf("it is %+v now, and was %+v", again, op)
	}
	end := second.waiting(op.ID)
	p.clock.Advance(time.Minute)
	wantState(t, <-end, backends.OperationSucceeded)
	wantState(t, second.get(op.ID), backends.OperationSucceeded) // xapi has forgotten it by now
	p.clock.Advance(time.Hour + time.Second)
	second.refused(op.ID, backends.NotFound)

	// It may also have ended while nobody was there.
	third := p.gateway(p.memory())
	op = third.begin("start", p.put("Halted"), backends.Args{})
	third.Tracker.Close()
	p.started(1)
	p.clock.Advance(time.Minute)
	fourth := p.gateway(p.memory())
	wantState(t, fourth.wait(op.ID), backends.OperationSucceeded)
	wantState(t, fourth.get(op.ID), backends.OperationSucceeded)
}

func TestCancelOfATask(t *testing.T) {
	p := newPool(t)
	g := p.gateway(p.memory())
	op := g.begin("migrate", p.put("Running"), backends.Args{Host: p.host(1)})
	p.started(1)
	asked, err := g.Cancel(t.Context(), g.backend, g.owner, g.session, op.ID)
	if _, can := p.backend.Driver.(backends.Canceller); !can {
		if backends.CodeOf(err) != backends.UnsupportedByBackend {
			t.Errorf("%+v, %v", asked, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, asked, backends.OperationRunning) // that it was asked is no end
	end := g.waiting(op.ID)
	p.started(1)
	p.clock.Advance(2 * time.Second)
	wantState(t, <-end, backends.OperationCancelled)
	if _, err := g.Cancel(t.Context(), g.backend, g.owner, g.session, op.ID); backends.CodeOf(err) != backends.WrongState {
		t.Errorf("once more: %v", err)
	}
}

// A task that fails although its cancel may have been taken keeps its own reason: xapi tells the two apart.
func TestCancelOfATaskThatFails(t *testing.T) {
	p := newPool(t)
	g := p.gateway(p.memory())
	p.sim.FailNext("VM.pool_migrate", "HOST_NOT_ENOUGH_FREE_MEMORY", "1", "0")
	op := g.begin("migrate", p.put("Running"), backends.Args{Host: p.host(1)})
	p.started(1)
	p.sim.Inject(xensim.Fault{Method: "task.cancel", Cut: true})
	if _, err := g.Cancel(t.Context(), g.backend, g.owner, g.session, op.ID); err == nil || !backends.AsError(err).MaybeDone {
		t.Fatalf("a cancel whose answer is lost: %v", err)
	}
	end := g.waiting(op.ID)
	p.clock.Advance(time.Minute)
	op = <-end
	wantState(t, op, backends.OperationFailed)
	if op.Err.Fault == nil || op.Err.Fault.Code != "HOST_NOT_ENOUGH_FREE_MEMORY" {
		t.Errorf("%v", op.Err)
	}
}

// Whoever listens to the feed is told of each step, in order, and once of the end.
func TestEvents(t *testing.T) {
	c := newCloud(t)
	g := newGateway(t, c.backend, "oneadmin", c.login("oneadmin"), operations.Config{
		Store: c.memory(), Now: c.clock.Now, Poll: never,
		Body: func(op *backends.Operation) any {
			return map[string]any{"id": op.ID, "state": op.State, "seen": true}
		},
	})
	f := g.follow()
	from := f.Position()
	vm := c.put(3, 3)
	op := g.begin("shutdown", vm, backends.Args{})
	c.sim.Advance(time.Second)
	wantState(t, g.wait(op.ID), backends.OperationSucceeded)
	g.Tracker.Close()

	events, _, ok := f.After(from, 0)
	if !ok {
		t.Fatal("the log does not reach back")
	}
	var states []backends.OperationState
	for _, e := range events {
		if e.Type != feed.OperationChanged {
			continue
		}
		var data struct {
			Backend   string
			Operation struct {
				ID    backends.ID
				State backends.OperationState
				Seen  bool
			}
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if e.VM != vm || data.Backend != "one" || data.Operation.ID != op.ID || !data.Operation.Seen {
			t.Errorf("%+v: %s", e, e.Data)
		}
		states = append(states, data.Operation.State)
	}
	if len(states) != 2 || states[0] != backends.OperationRunning || states[1] != backends.OperationSucceeded {
		t.Errorf("told of %v", states)
	}
}
