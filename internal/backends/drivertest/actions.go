package drivertest

import (
	"slices"
	"testing"

	"vmgateway/internal/backends"
)

// testPlaces reads a VM in every place: state, base state and the backend's own word.
func testPlaces(t *testing.T, b *bench) {
	for _, p := range b.Claims.Places {
		t.Run(subtest(p.Name), func(t *testing.T) {
			id, ok := b.put(t, p.Name)
			if !ok {
				b.cannot++
				return
			}
			for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
				vm, err := b.backend.VM(t.Context(), b.session, id, view)
				if err != nil {
					t.Fatalf("%s: %v", view, err)
				}
				b.checkVM(t, vm, view)
				if vm.State != p.State || vm.BaseState != p.Base || word(vm.RawState) != p.raw() {
					t.Errorf("%s: %s, base %q, %s; want %s, base %q, %s",
						view, vm.State, vm.BaseState, word(vm.RawState), p.State, p.Base, p.raw())
				}
				if vm.CurrentOperations == nil && view != backends.ViewBasic {
					t.Errorf("%s: whether something is under way is not said", view)
				}
			}
			b.remove(t, id)
		})
	}
}

// testActions holds allowedActions, and checkOperation where there is one, against what the verbs
// are claimed to do: testVerbs has seen that they do it.
func testActions(t *testing.T, b *bench) {
	checks := slices.ContainsFunc(b.Claims.Verbs, func(c VerbClaim) bool { return c.Verb == "checkOperation" })
	for _, p := range b.Claims.Places {
		t.Run(subtest(p.Name), func(t *testing.T) {
			id, ok := b.put(t, p.Name)
			if !ok {
				b.cannot++
				return
			}
			vm := b.read(t, id)
			if vm.AllowedActions == nil {
				t.Error("allowedActions is absent")
			}
			for _, v := range verbs() {
				if v == backends.VerbInstantiate {
					continue // what a template allows, it allows always
				}
				listed := slices.ContainsFunc(vm.AllowedActions, func(a backends.AllowedAction) bool { return a.Action == v })
				accepted, possible, unlisted := b.accepts(v, p)
				switch {
				case listed && !possible:
					t.Errorf("allowedActions has %s, which the state does not allow", v)
				case !listed && accepted && !unlisted && !p.Waits:
					t.Errorf("allowedActions lacks %s, which is accepted here", v)
				}
				if spec, _ := backends.LookUp(v); checks && spec.Answers == backends.AnswersOperation && listed == possible && b.tells(v) {
					b.checked(t, id, v, listed)
				}
			}
			b.remove(t, id)
		})
	}
}

// accepts tells whether any way of a verb is accepted in a place; whether one is at least not
// refused for the state; and whether what is accepted is not listed.
func (b *bench) accepts(v backends.Verb, p Place) (accepted, possible, unlisted bool) {
	unlisted = true
	for _, c := range b.Claims.Verbs {
		if c.Verb != v {
			continue
		}
		switch code := c.move(p).Code; code {
		case 0:
			accepted, possible = true, true
			unlisted = unlisted && c.Unlisted
		case backends.WrongState:
		default:
			possible = true
		}
	}
	return accepted, possible, unlisted
}

// tells reports whether allowedActions is where the backend says whether a verb is allowed.
func (b *bench) tells(v backends.Verb) bool {
	return slices.ContainsFunc(b.Claims.Verbs, func(c VerbClaim) bool { return c.Verb == v && !c.Unlisted })
}

// checked asks checkOperation about a verb.
func (b *bench) checked(t *testing.T, id backends.ID, v backends.Verb, want bool) {
	t.Helper()
	result, err := b.backend.Do(t.Context(), b.session, "checkOperation", id, backends.Args{Action: string(v)})
	if err != nil {
		t.Errorf("checkOperation of %s: %v", v, err)
		return
	}
	check, ok := result.(*backends.Check)
	if !ok || check == nil {
		t.Fatalf("checkOperation gives a %T", result)
	}
	if check.Allowed != want || check.Allowed != (check.Reason == "") {
		t.Errorf("checkOperation says %t of %s (%q), allowedActions says %t", check.Allowed, v, check.Reason, want)
	}
}

// testArguments gives verbs ids of objects that do not exist, or cannot: the body is wrong then, not
// the path, and nothing happens.
func testArguments(t *testing.T, b *bench) {
	for _, c := range b.Claims.Verbs {
		for _, ref := range []struct {
			pointer string
			in      func(*backends.Args) **backends.ID
		}{
			{"/host", func(a *backends.Args) **backends.ID { return &a.Host }},
			{"/datastore", func(a *backends.Args) **backends.ID { return &a.Datastore }},
			{"/storage", func(a *backends.Args) **backends.ID { return &a.Storage }},
			{"/network", func(a *backends.Args) **backends.ID { return &a.Network }},
		} {
			places := c.accepted(b.Claims.settled())
			if args := c.Args; *ref.in(&args) == nil || len(places) == 0 || c.Verb == backends.VerbInstantiate {
				continue
			}
			t.Run(c.name()+ref.pointer, func(t *testing.T) {
				id, ok := b.put(t, places[0].Name)
				if !ok {
					b.cannot++
					return
				}
				before := b.Look(t, id.Native)
				with := func(native string) backends.Args {
					args := c.Args
					*ref.in(&args) = &backends.ID{Backend: b.Name, Native: native}
					return args
				}
				result, err := b.backend.Do(t.Context(), b.session, c.Verb, id, with(b.Claims.Missing))
				if op, ok := result.(*backends.Operation); ok && err == nil {
					if end := b.finish(t, op); end.Err != nil {
						err = end.Err
					}
				}
				b.points(t, err, backends.Unprocessable, ref.pointer)
				for _, native := range b.Claims.Malformed {
					calls := b.relay.count()
					_, err := b.backend.Do(t.Context(), b.session, c.Verb, id, with(native))
					b.points(t, err, backends.InvalidArgument, ref.pointer)
					if made := b.relay.since(calls); len(made) > 0 {
						t.Errorf("%q made calls: %v", native, made)
					}
				}
				b.unchanged(t, id, before)
				b.remove(t, id)
			})
		}
	}
}

// points checks that err has the code and names the member.
func (b *bench) points(t *testing.T, err error, code backends.Code, pointer string) {
	t.Helper()
	e := b.refused(t, err, code)
	if e == nil {
		return
	}
	if !slices.ContainsFunc(e.Fields, func(f backends.FieldError) bool { return within(f.Pointer, pointer) && f.Detail != "" }) {
		t.Errorf("%v points at %v, want %s", e, e.Fields, pointer)
	}
}
