package drivertest

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// putRemote makes a VM and leads it to a place by verbs.
func (b *bench) putRemote(t *testing.T, place string) (backends.ID, bool) {
	t.Helper()
	if _, ok := b.route("", place); !ok {
		return backends.ID{}, false
	}
	id, err := b.create(t, nil)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	path, _ := b.route(b.whereIs(t, id), place)
	for _, c := range path {
		result, err := b.backend.Do(t.Context(), b.session, c.Verb, id, b.args(c))
		if err != nil {
			t.Logf("on the way to %s, %s is refused: %v", place, c.name(), err)
			return id, false
		}
		op, ok := result.(*backends.Operation)
		if !ok {
			return id, false
		}
		if end := b.finish(t, op); end.State != backends.OperationSucceeded {
			t.Logf("on the way to %s, %s ended %s: %v", place, c.name(), end.State, end.Err)
			return id, false
		}
	}
	return id, b.whereIs(t, id) == place
}

// whereIs is the place in which a VM is.
func (b *bench) whereIs(t *testing.T, id backends.ID) string {
	t.Helper()
	vm, err := b.backend.VM(t.Context(), b.session, id, backends.ViewBasic)
	if err != nil {
		return Gone
	}
	for _, p := range b.Claims.Places {
		if !p.Waits && p.State == vm.State && p.raw() == word(vm.RawState) {
			return p.Name
		}
	}
	return ""
}

// route is a shortest way by verbs from one place to another; from "" it tells whether there is one
// from any place in which a new VM can be.
func (b *bench) route(from, to string) ([]VerbClaim, bool) {
	starts := []string{from}
	if from == "" {
		starts = b.NewPlaces
	}
	type way struct {
		at   string
		path []VerbClaim
	}
	var open []way
	for _, s := range starts {
		open = append(open, way{at: s})
	}
	seen := slices.Clone(starts)
	for len(open) > 0 {
		w := open[0]
		open = open[1:]
		if w.at == to {
			return w.path, true
		}
		for _, c := range b.Claims.Verbs {
			m := c.move(b.Claims.place(w.at))
			if spec, _ := backends.LookUp(c.Verb); m.Code != 0 || m.To == "" || m.To == Gone || m.To == Anywhere || m.To == Later || spec.Answers != backends.AnswersOperation ||
				c.Verb == backends.VerbInstantiate || slices.Contains(seen, m.To) {
				continue
			}
			seen = append(seen, m.To)
			open = append(open, way{m.To, append(slices.Clone(w.path), c)})
		}
	}
	return nil, false
}

// discard removes a VM that the suite made through the driver when the test ends.
func (b *bench) discard(t *testing.T, id backends.ID) {
	t.Helper()
	t.Cleanup(func() {
		b.relay.heal()
		if b.Remove != nil {
			b.Remove(t, id.Native)
			return
		}
		b.delete(t, id)
	})
}

// sweep removes what was made by calls whose answer was lost, so that nobody knows its id.
func (b *bench) sweep(t *testing.T) {
	if b.Remove != nil {
		return // the simulator goes as well
	}
	for vm, err := range b.driver.VMs(background(t), b.session, backends.Query{View: backends.ViewBasic}) {
		if err == nil && vm.DisplayName != nil && *vm.DisplayName == b.made {
			b.delete(t, vm.ID)
		}
	}
}

// delete removes a VM, and waits until it is gone: what is still under way may be in the way at first.
func (b *bench) delete(t *testing.T, id backends.ID) {
	t.Helper()
	ctx := background(t) // the test's own has ended
	var last error
	for range patience {
		vm, err := b.driver.VM(ctx, b.session, id, backends.ViewBasic)
		if backends.CodeOf(err) == backends.NotFound || err == nil && vm.State == backends.StateDeleted {
			return
		}
		if err == nil && vm.State != backends.StateDeleting {
			_, err = b.driver.Do(ctx, b.session, backends.VerbDelete, id, b.deletion())
		}
		last = err
		time.Sleep(cmp.Or(b.Pause, pause))
	}
	t.Errorf("%s is left behind: %v", id, last)
}

// deletion is how to delete a VM wherever it is.
func (b *bench) deletion() backends.Args {
	var args backends.Args
	for _, c := range b.Claims.Verbs {
		if c.Verb == backends.VerbDelete {
			args = c.Args // the last row is the one with force
		}
	}
	return args
}
