package xenapi

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// slow is a world in which operations last until the clock is advanced, and nobody waits for them.
func slow(t *testing.T, d xensim.Durations) (*world, *xensim.ManualClock) {
	t.Helper()
	clock := xensim.NewClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	w := newWorld(t, xensim.Config{Clock: clock, Durations: &d})
	w.d.cfg.Grace = time.Millisecond
	return w, clock
}

// begin starts a verb that is to be running when Do answers.
func (w *world) begin(v backends.Verb, id backends.ID, a backends.Args) *backends.Operation {
	w.Helper()
	got, err := w.d.Do(w.Context(), w.s, v, id, a)
	if err != nil {
		w.Fatalf("%s: %v", v, err)
	}
	o := got.(*backends.Operation)
	if o.State != backends.OperationRunning {
		w.Fatalf("%s is %s", v, o.State)
	}
	return o
}

// ended follows an operation to its end.
func (w *world) ended(id backends.ID) *backends.Operation {
	w.Helper()
	for {
		o, err := w.d.Operation(w.Context(), w.s, id)
		if err != nil {
			w.Fatal(err)
		}
		if o.Done() {
			return o
		}
	}
}

func TestCancel(t *testing.T) {
	w, clock := slow(t, xensim.Durations{Migrate: time.Hour, Cancel: time.Second})
	id := w.put(xensim.VMSpec{PowerState: "Running"})
	host := w.otherHost(id)
	o := w.begin("migrate", id, backends.Args{Host: &host})
	if !o.Cancellable {
		t.Error("the operation cannot be cancelled")
	}
	if err := w.d.Cancel(t.Context(), w.s, o.ID); err != nil {
		t.Fatal(err)
	}
	clock.AwaitWaiting(2, t.Context().Done())
	clock.Advance(time.Second)
	ended := w.ended(o.ID)
	if ended.State != backends.OperationCancelled || ended.Cancellable || ended.EndTime == nil {
		t.Errorf("ended as %+v", ended)
	}
	if w.vm(id).Host.ID == host || w.sim.Tasks() != 0 {
		t.Errorf("the VM has moved, or %d tasks are left", w.sim.Tasks())
	}
	for _, native := range []string{o.ID.Native, "migrate-" + id.Native + "-" + missing, "garbage", "frobnicate-" + id.Native + "-" + missing} {
		if err := w.d.Cancel(t.Context(), w.s, w.d.id(native)); backends.CodeOf(err) != backends.NotFound {
			t.Errorf("%s: %v", native, err)
		}
	}
}

func TestCancelOfWhatCannotBe(t *testing.T) {
	w, clock := slow(t, xensim.Durations{Migrate: time.Hour})
	id := w.put(xensim.VMSpec{PowerState: "Running"})
	host := w.otherHost(id)
	o := w.begin("migrate", id, backends.Args{Host: &host})
	w.sim.Inject(xensim.Fault{Method: "task.cancel", Code: "OPERATION_NOT_ALLOWED", Params: []string{"no"}})
	err := w.d.Cancel(t.Context(), w.s, o.ID)
	if e := backends.AsError(err); e.Code != backends.UnsupportedByBackend || e.Fault.Code != "OPERATION_NOT_ALLOWED" {
		t.Errorf("refused: %v", err)
	}
	clock.Advance(time.Hour)
	w.taskEnds(o)
	if err := w.d.Cancel(t.Context(), w.s, o.ID); backends.CodeOf(err) != backends.WrongState {
		t.Errorf("ended: %v", err)
	}
	if got := w.ended(o.ID); got.State != backends.OperationSucceeded {
		t.Errorf("ended as %s", got.State)
	}
}

// taskEnds waits for the end of an operation's task, and leaves it there.
func (w *world) taskEnds(o *backends.Operation) {
	w.Helper()
	for {
		_, _, r, err := w.d.taskOf(w.Context(), w.s, o.ID)
		if err != nil {
			w.Fatal(err)
		}
		if r.ended() {
			return
		}
	}
}

// A refusal is the same whether it comes in time for Do's answer or after it.
func TestErrorsAreTheSameLater(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{})
	w.sim.FailNext("VM.start", "NO_HOSTS_AVAILABLE")
	_, atOnce := w.d.Do(t.Context(), w.s, "start", id, backends.Args{})

	later, clock := slow(t, xensim.Durations{Start: time.Minute})
	id = later.put(xensim.VMSpec{})
	later.sim.FailNext("VM.start", "NO_HOSTS_AVAILABLE")
	o := later.begin("start", id, backends.Args{})
	clock.Advance(time.Minute)
	ended := later.ended(o.ID)
	if ended.State != backends.OperationFailed || ended.Err == nil || atOnce == nil {
		t.Fatalf("ended as %+v, at once %v", ended, atOnce)
	}
	if got, want := problem(t, ended.Err), problem(t, atOnce); got != want {
		t.Errorf("later   %s\nat once %s", got, want)
	}
	if n := later.sim.Tasks(); n != 0 {
		t.Errorf("%d tasks are left", n)
	}
}

func problem(t *testing.T, err error) string {
	t.Helper()
	e := *backends.AsError(err)
	e.Err = nil
	text, jsonErr := json.Marshal(e)
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	return string(text)
}

// A template is cloned, and only then is there an operation: what is left when that fails is named.
func TestInstantiationThatFailsLater(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	made := w.put(xensim.VMSpec{Name: "new", Template: true})
	j := &job{link: w.d.link(w.s), verb: backends.VerbInstantiate, id: made, row: calls[backends.VerbInstantiate]}
	o, err := j.operation(t.Context(), "OpaqueRef:gone", &taskRecord{
		uuid: missing, label: "Async.VM.provision", status: "failure", errorInfo: []string{"SR_FULL", "1", "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.State != backends.OperationFailed || o.Result == nil || *o.Result.VM != made || !strings.Contains(o.Err.Detail, made.String()) {
		t.Errorf("ended as %+v, %v", o, o.Err)
	}
}

// giveUp runs a verb whose caller goes when its first task has been looked at, before it ends.
func (w *world) giveUp(v backends.Verb, id backends.ID, a backends.Args) *backends.Error {
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	defer stop()
	ctx = backends.WithObserver(ctx, func(c backends.Call) {
		if c.Method == "task.get_record" {
			stop()
		}
	})
	got, err := w.d.Do(ctx, w.s, v, id, a)
	if err == nil {
		w.Fatalf("%s answered %+v", v, got)
	}
	return backends.AsError(err)
}

func TestDoGivesUpWithItsContext(t *testing.T) {
	tests := []struct {
		name   string
		spec   xensim.VMSpec
		verb   backends.Verb
		args   backends.Args
		detail string
	}{
		{"a forced deletion", xensim.VMSpec{PowerState: "Running"}, backends.VerbDelete, backends.Args{Force: ptr(true)}, "It is being stopped; it is not deleted."},
		{"an instantiation", xensim.VMSpec{Name: "debian", Template: true}, backends.VerbInstantiate, backends.Args{}, "A clone of the template may be made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := slow(t, xensim.Durations{Shutdown: time.Hour, Clone: time.Hour})
			id := w.put(tt.spec)
			e := w.giveUp(tt.verb, id, tt.args)
			if !e.MaybeDone || e.Code != backends.BackendTimeout || !strings.Contains(e.Detail, tt.detail) {
				t.Errorf("%+v", e)
			}
			if got := w.sim.Calls("Async.VM.destroy") + w.sim.Calls("Async.VM.provision"); got != 0 {
				t.Error("what was given up goes on")
			}
			w.vm(id) // it is still there
			if n := w.sim.Tasks(); n != 0 {
				t.Errorf("%d tasks are left of which nobody knows", n)
			}
		})
	}
}

func TestHalfDeleted(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{PowerState: "Running"})
	w.sim.FailNext("VM.destroy", "OTHER_OPERATION_IN_PROGRESS", "VM", "x")
	e := w.refused(backends.VerbDelete, id, backends.Args{Force: ptr(true)}, backends.WrongState)
	if !strings.HasSuffix(e.Detail, "The VM is stopped, and not deleted.") || e.MaybeDone {
		t.Errorf("%+v", e)
	}
	if got := w.vm(id).State; got != backends.StateStopped || w.sim.Tasks() != 0 {
		t.Errorf("state %s, %d tasks", got, w.sim.Tasks())
	}
	w.do(backends.VerbDelete, id, backends.Args{})
}

// A change that succeeded is never told as a failure, even when its result cannot be read at once.
func TestResultThatCannotBeReadAtOnce(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{})
	w.sim.Inject(xensim.Fault{Method: "VM.get_uuid", Status: 503})
	o := w.begin("clone", id, backends.Args{DisplayName: ptr("new")})
	ended := w.ended(o.ID)
	if ended.State != backends.OperationSucceeded || ended.Result == nil || *w.vm(*ended.Result.VM).DisplayName != "new" || w.sim.Tasks() != 0 {
		t.Errorf("ended as %+v", ended)
	}
}
