package backends

import (
	"context"
	"fmt"
	"iter"
	"slices"
)

// Backend is a configured backend: its name, and the driver that speaks to it. It settles what is
// the same for every driver: whether the backend has a verb, and what a refusal is told with.
type Backend struct {
	Name        string
	DisplayName string
	Driver      Driver
}

// CheckID refuses an id in a request's body that cannot be an object of b. No I/O.
func (b *Backend) CheckID(pointer string, id ID) error {
	if id.Backend != b.Name {
		return Invalid(pointer, fmt.Sprintf("expected an id of backend %q", b.Name))
	}
	if !b.Driver.CheckID(id.Native) {
		return Invalid(pointer, "the part behind the dot is not an id of this backend")
	}
	return nil
}

// PathID makes the id of a path's segment. One that cannot be an object of b is NotFound. No I/O.
func (b *Backend) PathID(id ID) error {
	if id.Backend != b.Name || !b.Driver.CheckID(id.Native) {
		return &Error{Code: NotFound, Detail: fmt.Sprintf("There is no object with the id %q.", shorten(id.String()))}
	}
	return nil
}

// Do runs a verb. A refusal for the VM's state is explained with one read of the VM.
func (b *Backend) Do(ctx context.Context, s Session, v Verb, id ID, a Args) (any, error) {
	if err := b.checkDo(v, id, a); err != nil {
		return nil, err
	}
	result, err := b.Driver.Do(ctx, s, v, id, a)
	if err != nil {
		return nil, b.explain(ctx, s, id, err)
	}
	if spec, _ := LookUp(v); spec.Answers == AnswersVM {
		return b.Driver.VM(ctx, s, id, ViewFull)
	}
	return result, nil
}

// Create makes a VM and reads it.
func (b *Backend) Create(ctx context.Context, s Session, members []Change) (*VM, error) {
	if err := b.checkChanges(members); err != nil {
		return nil, err
	}
	id, err := b.Driver.Create(ctx, s, members)
	if err != nil {
		return nil, err
	}
	vm, err := b.Driver.VM(ctx, s, id, ViewFull)
	if err != nil {
		// The VM is there: failing now would report a failure for a success.
		return &VM{ID: id, Backend: b.Name, Kind: b.Driver.Kind(), UID: id.Native, State: StateUnknown}, nil //nolint:nilerr // see above
	}
	return vm, nil
}

// Patch changes a VM and reads it.
func (b *Backend) Patch(ctx context.Context, s Session, id ID, changes []Change) (*VM, error) {
	if err := b.checkPatch(id, changes); err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		if err := b.Driver.Patch(ctx, s, id, changes); err != nil {
			return nil, b.explain(ctx, s, id, err)
		}
	}
	return b.Driver.VM(ctx, s, id, ViewFull)
}

// VM reads one VM.
func (b *Backend) VM(ctx context.Context, s Session, id ID, view View) (*VM, error) {
	if err := b.PathID(id); err != nil {
		return nil, err
	}
	return b.Driver.VM(ctx, s, id, view)
}

// VMs reads many VMs.
func (b *Backend) VMs(ctx context.Context, s Session, q Query) iter.Seq2[*VM, error] {
	return b.Driver.VMs(ctx, s, q)
}

// Read reads a resource; the zero id stands for the backend itself.
func (b *Backend) Read(ctx context.Context, s Session, r Resource, id ID) (any, error) {
	if !b.Driver.Reads(r) {
		return nil, b.unsupported(fmt.Sprintf("%s has no %q.", b.DisplayName, r))
	}
	if id != (ID{}) {
		if err := b.PathID(id); err != nil {
			return nil, err
		}
	}
	value, err := b.Driver.Read(ctx, s, r, id)
	if err != nil {
		return nil, b.explain(ctx, s, id, err)
	}
	return value, nil
}

// PlanDo says what Do would send.
func (b *Backend) PlanDo(ctx context.Context, s Session, v Verb, id ID, a Args) (*Plan, error) {
	if err := b.checkDo(v, id, a); err != nil {
		return nil, err
	}
	return b.plan(func(p Planner) (*Plan, error) { return p.PlanDo(ctx, s, v, id, a) })
}

// PlanCreate says what Create would send.
func (b *Backend) PlanCreate(ctx context.Context, s Session, members []Change) (*Plan, error) {
	if err := b.checkChanges(members); err != nil {
		return nil, err
	}
	return b.plan(func(p Planner) (*Plan, error) { return p.PlanCreate(ctx, s, members) })
}

// PlanPatch says what Patch would send.
func (b *Backend) PlanPatch(ctx context.Context, s Session, id ID, changes []Change) (*Plan, error) {
	if err := b.checkPatch(id, changes); err != nil {
		return nil, err
	}
	return b.plan(func(p Planner) (*Plan, error) { return p.PlanPatch(ctx, s, id, changes) })
}

func (b *Backend) plan(ask func(Planner) (*Plan, error)) (*Plan, error) {
	p, ok := b.Driver.(Planner)
	if !ok {
		return nil, b.unsupported(b.DisplayName + " cannot tell beforehand what a change would do.")
	}
	return ask(p)
}

// Watch follows all that s may see; see [Watcher].
func (b *Backend) Watch(ctx context.Context, s Session, token string, emit func(Batch) error) error {
	w, ok := b.Driver.(Watcher)
	if !ok {
		return b.unsupported(b.DisplayName + " cannot be watched.")
	}
	return w.Watch(ctx, s, token, emit)
}

// Cancel asks the backend to give an operation up; see [Canceller].
func (b *Backend) Cancel(ctx context.Context, s Session, id ID) error {
	c, ok := b.Driver.(Canceller)
	if !ok {
		return b.unsupported(b.DisplayName + " cannot give up what it has begun.")
	}
	return c.Cancel(ctx, s, id)
}

// explain adds where the VM stands to a refusal that its state caused.
func (b *Backend) explain(ctx context.Context, s Session, id ID, err error) error {
	e := AsError(err)
	if e.Code != WrongState || e.State != nil {
		return e
	}
	vm, readErr := b.Driver.VM(ctx, s, id, ViewBasic)
	if readErr != nil {
		return e // the refusal stands; that it cannot be explained does not change it
	}
	explained := *e
	explained.State = &StateConflict{State: vm.State, RawState: vm.RawState, AllowedActions: vm.AllowedActions}
	return &explained
}

func (b *Backend) unsupported(detail string) error {
	return &Error{Code: UnsupportedByBackend, Detail: detail, Fault: &Fault{ID: b.Name, Kind: b.Driver.Kind()}}
}

func (b *Backend) checkDo(v Verb, id ID, a Args) error {
	if !b.Driver.Can(v) {
		return b.unsupported(fmt.Sprintf("%s has no way to do %q.", b.DisplayName, v))
	}
	if err := b.PathID(id); err != nil {
		return err
	}
	return b.checkArgs(a)
}

func (b *Backend) checkPatch(id ID, changes []Change) error {
	if err := b.PathID(id); err != nil {
		return err
	}
	return b.checkChanges(changes)
}

func (b *Backend) checkArgs(a Args) error {
	for _, ref := range []struct {
		pointer string
		id      *ID
	}{{"/host", a.Host}, {"/datastore", a.Datastore}, {"/storage", a.Storage}, {"/network", a.Network}} {
		if ref.id == nil {
			continue
		}
		if err := b.CheckID(ref.pointer, *ref.id); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) checkChanges(changes []Change) error {
	for _, c := range changes {
		if !b.Driver.Writes(c.Path) {
			e := AsError(b.unsupported(fmt.Sprintf("%s has no member %q to write.", b.DisplayName, c.Path)))
			e.Fields = []FieldError{{Pointer: Pointer(c.Path), Detail: "this backend does not have it"}}
			return e
		}
		var err error
		switch v := c.Value.(type) {
		case ID:
			err = b.CheckID(Pointer(c.Path), v)
		case OwnerPatch:
			for i, id := range []*ID{v.User, v.Group} {
				if id != nil && err == nil {
					err = b.CheckID(Pointer(c.Path)+[]string{"/user/id", "/group/id"}[i], *id)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Registry is every configured backend, in the order of the configuration.
type Registry []*Backend

// Get finds a backend by its name.
func (r Registry) Get(name string) (*Backend, bool) {
	i := slices.IndexFunc(r, func(b *Backend) bool { return b.Name == name })
	if i < 0 {
		return nil, false
	}
	return r[i], true
}

// Having names the backends for which has is true: those to turn to after UNSUPPORTED_BY_BACKEND.
func (r Registry) Having(has func(Driver) bool) []string {
	var names []string
	for _, b := range r {
		if has(b.Driver) {
			names = append(names, b.Name)
		}
	}
	return names
}
