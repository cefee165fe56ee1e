package drivertest

import (
	"slices"
	"testing"

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
		result, err := b.driver.Do(background(t), b.session, backends.VerbDelete, id, b.deletion())
		switch code := backends.CodeOf(err); {
		case err != nil && code != backends.NotFound && code != backends.WrongState:
			t.Errorf("%s is left behind: %v", id, err)
		case err == nil:
			if op, ok := result.(*backends.Operation); ok && !op.Done() {
				t.Logf("%s is being removed: %s", id, op.State)
			}
		}
	})
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
