package drivertest

import (
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// testMembers writes every member, by PATCH and by POST, and reads it back.
func testMembers(t *testing.T, b *bench) {
	for _, c := range b.Claims.Members {
		i := slices.IndexFunc(backends.Members, func(m backends.Member) bool { return m.Path == c.Path })
		if i < 0 {
			t.Errorf("a claim of a member that there is not: %s", c.Path)
			continue
		}
		m := backends.Members[i]
		if m.Patch {
			t.Run("patch/"+m.Path, func(t *testing.T) { b.patched(t, m, c) })
		}
		if m.Create {
			t.Run("create/"+m.Path, func(t *testing.T) { b.created(t, m, c) })
		}
	}
	t.Run("lacking", func(t *testing.T) { b.lackingMembers(t) })
	t.Run("together", func(t *testing.T) { b.together(t) })
}

func (b *bench) patched(t *testing.T, m backends.Member, c MemberClaim) {
	at := c.At
	if at == "" {
		at = b.home()
	}
	id, ok := b.put(t, at)
	if !ok {
		b.cannot++
		return
	}
	before := b.Look(t, id.Native)
	changes := inOrder(append(slices.Clone(c.WithPatch), backends.Change{Path: m.Path, Value: c.Value}))
	vm, err := b.backend.Patch(t.Context(), b.session, id, changes)
	if c.NoPatch {
		b.points(t, err, backends.UnsupportedByBackend, backends.Pointer(m.Path))
		b.unchanged(t, id, before)
		return
	}
	if err != nil {
		t.Fatalf("Patch: %v", err)
	}
	b.checkVM(t, vm, backends.ViewFull)
	b.reads(t, c, vm)
	b.sameAgain(t, id, vm)
	b.badValues(t, id, m, c)
	if m.Nullable {
		b.cleared(t, id, m, c)
	}
	b.remove(t, id)
}

// inOrder puts changes into the order in which callers give them.
func inOrder(changes []backends.Change) []backends.Change {
	place := func(c backends.Change) int {
		return slices.IndexFunc(backends.Members, func(m backends.Member) bool { return m.Path == c.Path })
	}
	slices.SortStableFunc(changes, func(x, y backends.Change) int { return place(x) - place(y) })
	return changes
}

// reads checks that a VM shows what was written.
func (b *bench) reads(t *testing.T, c MemberClaim, vm *backends.VM) {
	t.Helper()
	if c.Unread {
		return
	}
	want := c.Reads
	if want == nil {
		want = c.Value
	}
	if got := lookUp(t, vm, c.Path); !contains(got, asJSON(t, want)) {
		t.Errorf("%s reads %s, want %s", c.Path, dump(got), dump(want))
	}
}

// sameAgain checks that a second read gives the same VM, with the same version.
func (b *bench) sameAgain(t *testing.T, id backends.ID, vm *backends.VM) {
	t.Helper()
	again, err := b.backend.VM(t.Context(), b.session, id, backends.ViewFull)
	if err != nil {
		t.Fatal(err)
	}
	if again.ETag != vm.ETag {
		t.Errorf("the version changes between two reads:\n%s\n%s", dump(vm), dump(again))
	}
}

// badValues checks that values which cannot be are refused, and change nothing.
func (b *bench) badValues(t *testing.T, id backends.ID, m backends.Member, c MemberClaim) {
	t.Helper()
	before := b.Look(t, id.Native)
	bad := slices.Clone(c.Bad)
	if m.Type == backends.TypeID {
		bad = append(bad, b.id(b.Claims.Missing))
	}
	for _, value := range bad {
		_, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{{Path: m.Path, Value: value}})
		switch e := backends.AsError(err); {
		case err == nil:
			t.Errorf("%s takes %s", m.Path, dump(value))
		case e.Code != backends.Unprocessable && e.Code != backends.InvalidArgument:
			t.Errorf("%s refuses %s with %v", m.Path, dump(value), e)
		case !slices.ContainsFunc(e.Fields, func(f backends.FieldError) bool { return within(f.Pointer, backends.Pointer(m.Path)) }):
			t.Errorf("%s refuses %s and points at %v", m.Path, dump(value), e.Fields)
		}
	}
	if m.Type == backends.TypeID {
		_, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{{Path: m.Path, Value: b.id(b.Claims.Missing)}})
		b.points(t, err, backends.Unprocessable, backends.Pointer(m.Path))
	}
	b.unchanged(t, id, before)
}

func (b *bench) cleared(t *testing.T, id backends.ID, m backends.Member, c MemberClaim) {
	t.Helper()
	vm, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{{Path: m.Path, Value: nil}})
	if c.NoClear != 0 {
		b.points(t, err, c.NoClear, backends.Pointer(m.Path))
		return
	}
	if err != nil {
		t.Errorf("%s cannot be removed: %v", m.Path, err)
		return
	}
	got := lookUp(t, vm, m.Path)
	if object, ok := got.(map[string]any); ok && len(object) == 0 {
		got = nil
	}
	if !contains(got, asJSON(t, c.Cleared)) || c.Cleared == nil && got != nil {
		t.Errorf("%s reads %s after null, want %s", m.Path, dump(got), dump(c.Cleared))
	}
}

func (b *bench) created(t *testing.T, m backends.Member, c MemberClaim) {
	id, err := b.create(t, append(slices.Clone(c.With), backends.Change{Path: m.Path, Value: c.Value}))
	if c.NoCreate {
		b.points(t, err, backends.UnsupportedByBackend, backends.Pointer(m.Path))
		return
	}
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	b.reads(t, c, b.read(t, id))
	if c.CreatesIn != "" {
		b.stands(t, id, c.CreatesIn)
	}
	b.remove(t, id)
	if m.Type == backends.TypeID {
		_, err := b.create(t, []backends.Change{{Path: m.Path, Value: b.id(b.Claims.Missing)}})
		b.points(t, err, backends.Unprocessable, backends.Pointer(m.Path))
	}
}

// create makes a VM of the members, and those that the backend cannot do without. It goes with the
// test.
func (b *bench) create(t *testing.T, members []backends.Change) (backends.ID, error) {
	t.Helper()
	if _, raw := backends.Lookup(members, "opennebula.template"); !raw {
		for _, least := range b.Claims.Create {
			if _, ok := backends.Lookup(members, least.Path); !ok {
				members = append(members, least)
			}
		}
	}
	if _, ok := backends.Lookup(members, "displayName"); !ok {
		members = append(members, backends.Change{Path: "displayName", Value: conformanceName(t)})
	}
	vm, err := b.backend.Create(t.Context(), b.session, inOrder(members))
	if err != nil {
		return backends.ID{}, err
	}
	b.discard(t, vm.ID)
	return vm.ID, nil
}

// Prefix is how the names of VMs begin that the suite makes through a driver.
const Prefix = "conformance-"

func conformanceName(t *testing.T) string {
	name := Prefix + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return name[:min(len(name), 100)]
}

func (b *bench) lackingMembers(t *testing.T) {
	id := b.mustPut(t, b.home())
	before := b.Look(t, id.Native)
	for _, path := range b.Claims.LacksMembers {
		calls := b.relay.count()
		_, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{{Path: path, Value: "x"}})
		b.points(t, err, backends.UnsupportedByBackend, backends.Pointer(path))
		err = b.driver.Patch(t.Context(), b.session, id, []backends.Change{{Path: path, Value: "x"}})
		b.points(t, err, backends.UnsupportedByBackend, backends.Pointer(path))
		for _, method := range b.relay.since(calls) {
			if b.Claims.Changes(method) {
				t.Errorf("%s, which the backend lacks, made the call %s", path, method)
			}
		}
	}
	b.unchanged(t, id, before)
	b.remove(t, id)
}

// together writes all that can be written in one request, and checks that all of it stands.
func (b *bench) together(t *testing.T) {
	var changes []backends.Change
	var claims []MemberClaim
	for _, c := range b.Claims.Members {
		i := slices.IndexFunc(backends.Members, func(m backends.Member) bool { return m.Path == c.Path })
		if i < 0 || !backends.Members[i].Patch || c.NoPatch || c.Alone || c.At != "" || len(c.WithPatch) > 0 {
			continue
		}
		changes = append(changes, backends.Change{Path: c.Path, Value: c.Value})
		claims = append(claims, c)
	}
	id := b.mustPut(t, b.home())
	vm, err := b.backend.Patch(t.Context(), b.session, id, inOrder(changes))
	if err != nil {
		t.Fatalf("Patch of %d members: %v", len(changes), err)
	}
	for _, c := range claims {
		b.reads(t, c, vm)
	}
	b.remove(t, id)
}

// testHalfWay lets the second call of a patch fail: the error says what was applied and what was
// not, and that is how it is.
func testHalfWay(t *testing.T, b *bench) {
	for failing := range len(b.Claims.HalfWay) {
		id := b.mustPut(t, b.home())
		was := b.read(t, id)
		b.relay.spoilNext(spoiler{
			when: b.Claims.Changes, skip: failing, once: true,
			answer: answers(200, "text/xml", b.Refusal("99999", "no more of this")),
		})
		err := b.driver.Patch(t.Context(), b.session, id, b.Claims.HalfWay)
		b.relay.heal()
		e := b.refused(t, err, backends.BackendFault)
		if e == nil {
			continue
		}
		var applied, not []string
		vm := b.read(t, id)
		for _, c := range b.Claims.HalfWay {
			now, then, want := lookUp(t, vm, c.Path), lookUp(t, was, c.Path), asJSON(t, c.Value)
			switch {
			case contains(now, want):
				applied = append(applied, c.Path)
			case contains(now, then) || now == nil && then == nil:
				not = append(not, c.Path)
			default:
				t.Errorf("%s is neither what it was nor what it shall be: %s", c.Path, dump(now))
			}
		}
		if failing == 0 && len(e.Applied) == 0 && len(e.NotApplied) == 0 {
			b.remove(t, id)
			continue // nothing was applied, and the error need not say so
		}
		if !same(e.Applied, applied) || !same(e.NotApplied, not) {
			t.Errorf("call %d failed: applied %v, not %v; want %v, not %v", failing+1, e.Applied, e.NotApplied, applied, not)
		}
		b.remove(t, id)
	}
}

func same(x, y []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(x)), slices.Sorted(slices.Values(y)))
}
