package drivertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// testVerbs asks for every way of every verb in every place: what is claimed to be accepted ends
// well in the claimed place, and all else is refused with an explanation and changes nothing.
func testVerbs(t *testing.T, fresh func(*testing.T) World) { verbsIn(t, fresh, (*Claims).every) }

// testVerbsBriefly is testVerbs in fewer of the places where the backend is at work.
func testVerbsBriefly(t *testing.T, fresh func(*testing.T) World) { verbsIn(t, fresh, (*Claims).brief) }

func verbsIn(t *testing.T, fresh func(*testing.T) World, places func(*Claims) []Place) {
	for _, c := range fresh(t).Claims.Verbs {
		if c.Verb == backends.VerbInstantiate {
			continue // not about a VM: testInstantiate
		}
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			b := open(t, fresh(t))
			for _, p := range places(&b.Claims) {
				t.Run(subtest(p.Name), func(t *testing.T) { b.inTime(t, c, p) })
			}
		})
	}
	t.Run("lacking", func(t *testing.T) {
		t.Parallel()
		b := open(t, fresh(t))
		id := b.mustPut(t, b.home())
		for _, v := range b.Claims.LacksVerbs {
			calls := b.relay.count()
			_, err := b.backend.Do(t.Context(), b.session, v, id, backends.Args{})
			e := b.refused(t, err, backends.UnsupportedByBackend)
			if made := b.relay.since(calls); len(made) > 0 {
				t.Errorf("%s, which the backend lacks, made calls: %v", v, made)
			}
			if e != nil && (e.Fault == nil || e.Fault.ID != b.Name) {
				t.Errorf("%s: the refusal does not name the backend: %+v", v, e.Fault)
			}
		}
	})
}

// inTime asks for a verb while the VM is where everybody thinks it is.
func (b *bench) inTime(t *testing.T, c VerbClaim, p Place) {
	id, ok := b.put(t, p.Name)
	if !ok {
		b.cannot++
		return
	}
	before := b.Look(t, id.Native)
	move := c.move(p)
	result, err := b.do(t, c, p, id)
	if move.Code != 0 {
		b.refusedHere(t, p, id, before, move.Code, result, err)
		return
	}
	if err != nil {
		t.Errorf("refused: %v", err)
		return
	}
	to := move.To
	if to == "" {
		to = p.Name
	}
	if to == Later {
		b.waits(t, result)
		return
	}
	b.ends(t, c.Verb, id, result, backends.OperationSucceeded)
	if to == Anywhere || to == p.Name && p.Waits {
		return // what the VM is now depends on when the work of others ended
	}
	if p.Waits {
		b.pass(t) // the work of others ends
	}
	b.stands(t, id, to)
	b.remove(t, id)
}

// do runs a verb. Where the backend makes calls wait for its own work, time passes once it was asked.
func (b *bench) do(t *testing.T, c VerbClaim, p Place, id backends.ID) (any, error) {
	ask := func() (any, error) { return b.backend.Do(t.Context(), b.session, c.Verb, id, b.args(c)) }
	switch {
	case p.Waits:
		asked := make(chan struct{})
		b.relay.justBefore(b.Claims.Changes, func() { close(asked) })
		defer b.relay.heal()
		return b.meanwhile(t, ask, asked)
	case c.Waits:
		return b.meanwhile(t, ask, nil)
	}
	return ask()
}

// meanwhile lets time pass while something is asked for, from the moment that begin is closed; nil is
// at once.
func (b *bench) meanwhile(t *testing.T, ask func() (any, error), begin <-chan struct{}) (result any, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, err = ask()
	}()
	if begin != nil {
		select {
		case <-begin:
		case <-done:
			return result, err
		}
	}
	for {
		select {
		case <-done:
			return result, err
		case <-time.After(time.Millisecond): // a call needs real time to arrive; without a pause a day would pass meanwhile
			b.pass(t)
		}
	}
}

// args are the arguments of a claim. An image's name is taken once only.
func (b *bench) args(c VerbClaim) backends.Args {
	a := c.Args
	if a.ImageName != "" {
		b.images++
		a.ImageName = fmt.Sprintf("%s-%d", a.ImageName, b.images)
	}
	return a
}

// refusedHere checks a refusal, which comes at once or as the end of an operation: its code, that it
// says where the VM stands, and that nothing has changed.
func (b *bench) refusedHere(t *testing.T, p Place, id backends.ID, before string, code backends.Code, result any, err error) {
	t.Helper()
	if op, ok := result.(*backends.Operation); ok && err == nil && op != nil {
		end := b.finish(t, op)
		if end.State != backends.OperationFailed || end.Err == nil || end.Err.Code != code {
			t.Errorf("accepted, and ended %s (%v), want a refusal with %s", end.State, end.Err, code)
		}
	} else if e := b.refused(t, err, code); e != nil && code == backends.WrongState {
		b.explained(t, e, id, p)
	}
	if after := b.Look(t, id.Native); after != before && !p.Waits {
		t.Errorf("refused, and yet the VM has changed.\nbefore: %s\nafter:  %s", before, after)
	}
	b.remove(t, id)
}

// refused checks that err has the code; nil when it has not.
func (b *bench) refused(t *testing.T, err error, code backends.Code) *backends.Error {
	t.Helper()
	var e *backends.Error
	if !errors.As(err, &e) {
		t.Errorf("got %v, want a refusal with %s", err, code)
		return nil
	}
	if e.Code != code {
		t.Errorf("refused with %v, want %s", e, code)
		return nil
	}
	return e
}

// explained checks that a refusal says where the VM stands, as a read says it.
func (b *bench) explained(t *testing.T, e *backends.Error, id backends.ID, p Place) {
	t.Helper()
	if e.State == nil {
		t.Errorf("WrongState without the VM's state: %v", e)
		return
	}
	if p.Waits {
		return // the work of others has gone on meanwhile
	}
	if e.State.State != p.State || word(e.State.RawState) != p.raw() {
		t.Errorf("the refusal says %s (%s), want %s (%s)", e.State.State, word(e.State.RawState), p.State, p.raw())
	}
	if vm := b.read(t, id); !reflect.DeepEqual(vm.AllowedActions, e.State.AllowedActions) {
		t.Errorf("the refusal allows %v, a read %v", e.State.AllowedActions, vm.AllowedActions)
	}
}

// ends checks what an accepted verb gave, and waits for its end.
func (b *bench) ends(t *testing.T, v backends.Verb, id backends.ID, result any, want backends.OperationState) {
	t.Helper()
	spec, _ := backends.LookUp(v)
	switch spec.Answers {
	case backends.AnswersCheck:
		if check, ok := result.(*backends.Check); !ok || check == nil {
			t.Errorf("%s gives a %T, want a *Check", v, result)
		}
		return
	case backends.AnswersVM:
		if vm, ok := result.(*backends.VM); !ok || vm == nil || vm.ID != id {
			t.Errorf("%s gives a %T, want the *VM", v, result)
		}
		return
	}
	op, ok := result.(*backends.Operation)
	if !ok || op == nil {
		t.Fatalf("%s gives a %T, want an *Operation", v, result)
	}
	if op.Verb != v || op.VM == nil != (v == backends.VerbInstantiate) || op.VM != nil && *op.VM != id {
		t.Errorf("the operation is of %s on %v, want %s on %s", op.Verb, op.VM, v, id)
	}
	end := b.finish(t, op)
	if end.State != want {
		t.Errorf("the operation ended %s (%v), want %s", end.State, end.Err, want)
	}
	if r := end.Result; r != nil && r.VM != nil && *r.VM != id {
		b.read(t, *r.VM)
		b.discard(t, *r.VM)
	}
}

// waits checks that an operation is still under way after a while.
func (b *bench) waits(t *testing.T, result any) {
	t.Helper()
	op, ok := result.(*backends.Operation)
	if !ok || op == nil {
		t.Fatalf("got a %T, want an *Operation", result)
	}
	for range 30 {
		b.pass(t)
	}
	later, err := b.driver.Operation(t.Context(), b.session, op.ID)
	if err != nil || later.State != backends.OperationRunning {
		t.Errorf("the operation is %s, %v; want %s", dump(later), err, backends.OperationRunning)
	}
}

// finish follows an operation to its end, and checks each report on the way.
func (b *bench) finish(t *testing.T, op *backends.Operation) *backends.Operation {
	t.Helper()
	first := op
	for range patience {
		b.checkOperation(t, first, op)
		if op.Done() {
			return op
		}
		b.pass(t)
		next, err := b.driver.Operation(t.Context(), b.session, op.ID)
		if err != nil {
			t.Fatalf("Operation(%s): %v", op.ID, err)
		}
		op = next
	}
	t.Fatalf("the operation %s does not end: %+v", op.ID, op)
	return nil
}

func (b *bench) checkOperation(t *testing.T, first, op *backends.Operation) {
	t.Helper()
	if op.ID != first.ID || op.Verb != first.Verb || op.Backend != b.Name || !reflect.DeepEqual(op.VM, first.VM) {
		t.Errorf("the operation %s has become another: %s", dump(first), dump(op))
	}
	if parsed, err := backends.ParseID(op.ID.String()); err != nil || parsed != op.ID || op.ID.Backend != b.Name {
		t.Errorf("the operation's id %q cannot be read again: %v", op.ID, err)
	}
	if op.CreateTime.IsZero() || op.CreateTime.Location() != time.UTC {
		t.Errorf("the operation's createTime is %v, want a time in UTC", op.CreateTime)
	}
	if p := op.Progress; p != nil && (*p < 0 || *p > 1) {
		t.Errorf("progress %v is not between 0 and 1", *p)
	}
	if op.Done() != (op.EndTime != nil) {
		t.Errorf("%s with the end time %v", op.State, op.EndTime)
	}
	if (op.State == backends.OperationFailed) != (op.Err != nil) && op.State != backends.OperationUnknown {
		t.Errorf("%s with the error %v", op.State, op.Err)
	}
	if op.GaveUp && op.State != backends.OperationFailed {
		t.Errorf("%s, and given up", op.State)
	}
	if op.Done() && op.Cancellable {
		t.Errorf("%s, and cancellable", op.State)
	}
}

// pass lets some time go by.
func (b *bench) pass(t *testing.T) {
	if b.Advance != nil {
		b.Advance(step)
		return
	}
	// A daemon that is only known by its URL has its own clock: ask again a little later.
	select {
	case <-time.After(cmp.Or(b.Pause, pause)):
	case <-t.Context().Done():
	}
}

// pause is how long to wait between two looks at a backend whose clock is not in our hands.
const pause = 100 * time.Millisecond

// patience is how many steps of the clock, or looks, an operation may take.
const patience = 600

// background is for what must still be done when a test's own context has ended.
func background(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }

// testInstantiate makes VMs of templates.
func testInstantiate(t *testing.T, b *bench) {
	for _, c := range b.Claims.Verbs {
		if c.Verb != backends.VerbInstantiate {
			continue
		}
		templates, err := b.driver.Read(t.Context(), b.session, backends.Templates, backends.ID{})
		list, ok := templates.([]backends.Template)
		if err != nil || !ok || len(list) == 0 {
			t.Fatalf("Read(templates) gives a %T: %v", templates, err)
		}
		t.Run(c.name(), func(t *testing.T) {
			result, err := b.meanwhile(t, func() (any, error) {
				return b.driver.Do(t.Context(), b.session, c.Verb, list[0].ID, c.Args)
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			op, ok := result.(*backends.Operation)
			if !ok || op == nil {
				t.Fatalf("instantiate gives a %T, want an *Operation", result)
			}
			end := b.finish(t, op)
			if end.State != backends.OperationSucceeded || end.Result == nil || end.Result.VM == nil {
				t.Fatalf("ended %s with %+v (%v), want a VM", end.State, end.Result, end.Err)
			}
			vm := b.read(t, *end.Result.VM)
			if name := c.Args.DisplayName; name != nil && (vm.DisplayName == nil || *vm.DisplayName != *name) {
				t.Errorf("the VM is called %v, want %q", dump(vm.DisplayName), *name)
			}
			b.stands(t, vm.ID, c.move(Place{Name: "template"}).To)
			b.remove(t, vm.ID)
		})
		t.Run(c.name()+"/missing", func(t *testing.T) {
			_, err := b.driver.Do(t.Context(), b.session, c.Verb, b.id(b.Claims.Missing), c.Args)
			b.refused(t, err, backends.NotFound)
		})
	}
}
