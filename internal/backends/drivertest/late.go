package drivertest

import (
	"slices"
	"sync"
	"testing"

	"vmgateway/internal/backends"
)

// testLate asks for verbs when it is too late: the VM changes its place just before the call that
// would change it arrives, after whatever the driver read first. The only answers are that it was
// done and that the state is wrong, and a refusal has changed nothing.
func testLate(t *testing.T, fresh func(*testing.T) World) {
	for _, c := range fresh(t).Claims.Verbs {
		spec, _ := backends.LookUp(c.Verb)
		if c.Verb == backends.VerbInstantiate || spec.Answers == backends.AnswersCheck {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			b := open(t, fresh(t))
			settled := b.Claims.settled()
			from := c.accepted(settled)
			for _, p := range spread(from, 3) {
				for _, q := range settled {
					if p.Name != q.Name {
						t.Run(subtest(p.Name+" to "+q.Name), func(t *testing.T) { b.tooLate(t, c, p, q) })
					}
				}
			}
		})
	}
}

// spread picks at most n of list, from its whole length.
func spread[T any](list []T, n int) []T {
	if len(list) <= n {
		return list
	}
	var few []T
	for i := range n {
		few = append(few, list[i*(len(list)-1)/(n-1)])
	}
	return few
}

func (b *bench) tooLate(t *testing.T, c VerbClaim, p, q Place) {
	if b.Move == nil {
		b.cannot++
		return
	}
	id := b.mustPut(t, p.Name)
	var change struct {
		sync.Mutex   // done by the relay's goroutine
		asked, moved bool
		before       string
	}
	b.relay.justBefore(b.Claims.Changes, func() {
		change.Lock()
		defer change.Unlock()
		change.asked, change.moved = true, b.Move(t, id.Native, q.Name)
		change.before = b.Look(t, id.Native)
	})
	result, err := b.do(t, c, p, id)
	b.relay.heal()
	change.Lock()
	defer change.Unlock()
	switch {
	case !change.asked && err == nil:
		t.Error("accepted without a call that changes something")
		return
	case !change.moved:
		b.cannot++
		return
	}
	code := c.move(q).Code
	if code == 0 {
		code = backends.WrongState // a driver may have chosen its call by what it read before
	}
	if err != nil {
		if e := b.refused(t, err, code); e != nil && code == backends.WrongState {
			b.explained(t, e, id, q)
		}
		b.unchanged(t, id, change.before)
		return
	}
	op, ok := result.(*backends.Operation)
	if !ok {
		return
	}
	end := b.finish(t, op)
	switch spec, _ := backends.LookUp(c.Verb); {
	case end.State == backends.OperationFailed:
		b.refused(t, end.Err, code)
	case end.State == backends.OperationSucceeded && len(spec.Settles) > 0:
		if state := b.stateOf(t, id); !slices.Contains(spec.Settles, state) {
			t.Errorf("SUCCEEDED, and the VM is %s", state)
		}
	}
	b.remove(t, id)
}

// stateOf is where a VM stands; DELETED when the backend does not know it any more.
func (b *bench) stateOf(t *testing.T, id backends.ID) backends.State {
	t.Helper()
	vm, err := b.backend.VM(t.Context(), b.session, id, backends.ViewBasic)
	switch {
	case err == nil:
		return vm.State
	case backends.CodeOf(err) == backends.NotFound:
		return backends.StateDeleted
	}
	t.Error(err)
	return backends.StateUnknown
}

func (b *bench) unchanged(t *testing.T, id backends.ID, before string) {
	t.Helper()
	if after := b.Look(t, id.Native); after != before {
		t.Errorf("refused, and yet the VM has changed.\nbefore: %s\nafter:  %s", before, after)
	}
}
