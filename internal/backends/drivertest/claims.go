package drivertest

import (
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// Where a verb can lead beside the backend's places.
const (
	Gone     = "gone"     // the backend no longer knows the VM
	Anywhere = "anywhere" // it depends on more than the place
	Later    = "later"    // it is accepted, and done only when somebody does something else to the VM
)

// Sessions is what becomes of several logins of one user.
type Sessions int

// The kinds of sessions.
const (
	OwnSessions   Sessions = iota // each login has its own
	SharedSession                 // all logins share one, which ends with the first logout
	NoSessions                    // the backend has none: the password goes along with each call
)

// Claims is what a backend has and what it does with it, written by hand from the backend's own
// documents and recordings: never computed from the driver.
type Claims struct {
	// Places is every state that a VM of this backend can be in. The first is where a VM is that
	// members are patched in, unless their claim says another.
	Places []Place

	// Verbs has a row for each way of each verb that the backend has, LacksVerbs the others.
	Verbs      []VerbClaim
	LacksVerbs []backends.Verb

	// Members has a row for each writable member that the backend has, LacksMembers the others.
	Members      []MemberClaim
	LacksMembers []string
	// Create is what a VM needs to be made at all: a small one.
	Create []backends.Change
	// HalfWay is two or more members that take a call each, in the order of the calls.
	HalfWay []backends.Change

	// Resources has a row for each resource that the backend has, LacksResources the others.
	Resources      []ResourceClaim
	LacksResources []backends.Resource

	// Missing is a well-formed native id that no object has; Malformed are those that none can have.
	Missing   string
	Malformed []string

	// Changes tells the methods that change something from those that only look.
	Changes func(method string) bool
	// Release is what the driver detects.
	Release  backends.Release
	Sessions Sessions
}

// Place is one state of a VM in the backend's own words.
type Place struct {
	Name  string
	State backends.State
	Base  backends.State // while State is UPDATING
	Raw   string         // the word in RawState; "" = Name
	// Waits says that the backend makes calls wait here until its own work is done. allowedActions
	// then says less than is accepted.
	Waits bool
	// Hidden says that lists leave such a VM out unless they are asked for deleted ones or templates.
	Hidden bool
}

func (p Place) raw() string {
	if p.Raw == "" {
		return p.Name
	}
	return p.Raw
}

// VerbClaim is one way of a verb. In every place that no Move names it is refused with WrongState.
type VerbClaim struct {
	Verb  backends.Verb
	Way   string // tells apart the rows of one verb: "FORCE"
	Args  backends.Args
	Moves []Move
	// Waits says that the driver waits for the backend on the way, so that time has to pass meanwhile.
	Waits bool
	// Unlisted says that the backend accepts it where allowedActions does not name it.
	Unlisted bool
}

func (c VerbClaim) name() string {
	if c.Way == "" {
		return string(c.Verb)
	}
	return string(c.Verb) + "-" + c.Way
}

// Move is what a verb does from some places: names, or patterns with *, separated by blanks. The
// first row that names a place counts.
type Move struct {
	From string
	To   string        // where the VM is afterwards; "" = where it was
	Code backends.Code // not 0: refused with this code
}

// move gives what c does with a VM in p.
func (c VerbClaim) move(p Place) Move {
	for _, m := range c.Moves {
		if named(m.From, p.Name) {
			return m
		}
	}
	return Move{From: p.Name, Code: backends.WrongState}
}

// named reports whether list, names or patterns separated by blanks, names a place. A name with
// blanks of its own ("Halted during clone") is reached by a pattern.
func named(list, place string) bool {
	for pattern := range strings.FieldsSeq(list) {
		if ok, err := path.Match(pattern, place); err == nil && ok {
			return true
		}
	}
	return false
}

// accepted are the places from which the claim is accepted.
func (c VerbClaim) accepted(places []Place) []Place {
	return slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return c.move(p).Code != 0 })
}

// MemberClaim is a writable member that the backend has.
type MemberClaim struct {
	Path  string
	Value any // as in a Change
	// Reads is how Value is read back, in JSON; nil = as it was written.
	Reads any
	// Cleared is how it is read after null, in JSON; nil = absent.
	Cleared any
	// With must go along with it on Create, WithPatch on Patch.
	With, WithPatch []backends.Change
	// NoClear says that null is refused, and with which code.
	NoClear backends.Code
	// At is the place it is patched in; "" = the first of Places.
	At string
	// NoCreate and NoPatch: the backend has no way to, although the contract would let it.
	NoCreate, NoPatch bool
	// Unread says that it is not read back; the place where Create leaves the VM may show it.
	Unread bool
	// Alone says that another member cannot be written in the same request, since both are one thing to
	// the backend.
	Alone bool
	// CreatesIn is where Create leaves the VM because of it; "" = not said.
	CreatesIn string
	// Bad are values that are refused with InvalidArgument or Unprocessable, pointing at the member.
	Bad []any
}

// ResourceClaim is a resource that the backend has.
type ResourceClaim struct {
	Resource backends.Resource
	// At is the place of the VM whose part is read; "" = the first of Places.
	At string
	// Least is how many there are at least, where the resource is a list.
	Least int
	// Refused are places where a VM has none, and the code which says so.
	Refused Move
}

func (c *Claims) place(name string) Place {
	for _, p := range c.Places {
		if p.Name == name {
			return p
		}
	}
	return Place{Name: name}
}

func (c *Claims) settled() []Place {
	return slices.DeleteFunc(slices.Clone(c.Places), func(p Place) bool { return p.Waits || !p.State.Settled() })
}

func (c *Claims) every() []Place { return c.Places }

// brief is the settled places, and of the others the first with each state.
func (c *Claims) brief() []Place {
	seen := map[backends.State]bool{}
	return slices.DeleteFunc(slices.Clone(c.Places), func(p Place) bool {
		if !p.Waits && p.State.Settled() {
			return false
		}
		again := seen[p.State]
		seen[p.State] = true
		return again
	})
}

// verbs is every verb, those beside POST /vms/{vm}:{verb} with the others.
func verbs() []backends.Verb {
	all := []backends.Verb{backends.VerbDelete, backends.VerbSaveDisk, backends.VerbInstantiate}
	for _, s := range backends.Verbs {
		all = append(all, s.Verb)
	}
	return all
}

// testClaims holds the claims against the vocabulary, and the driver's own word against the claims.
func testClaims(t *testing.T, b *bench) {
	c := &b.Claims
	for _, v := range verbs() {
		has := slices.ContainsFunc(c.Verbs, func(r VerbClaim) bool { return r.Verb == v })
		once(t, "verb", string(v), has, slices.Contains(c.LacksVerbs, v))
		if got := b.driver.Can(v); got != has {
			t.Errorf("Can(%q) = %t, want %t", v, got, has)
		}
	}
	for _, m := range backends.Members {
		has := slices.ContainsFunc(c.Members, func(r MemberClaim) bool { return r.Path == m.Path })
		once(t, "member", m.Path, has, slices.Contains(c.LacksMembers, m.Path))
		if got := b.driver.Writes(m.Path); got != has {
			t.Errorf("Writes(%q) = %t, want %t", m.Path, got, has)
		}
	}
	for _, r := range backends.Resources {
		has := slices.ContainsFunc(c.Resources, func(q ResourceClaim) bool { return q.Resource == r })
		once(t, "resource", string(r), has, slices.Contains(c.LacksResources, r))
		if got := b.driver.Reads(r); got != has {
			t.Errorf("Reads(%q) = %t, want %t", r, got, has)
		}
	}
	for _, v := range c.Verbs {
		for _, m := range v.Moves {
			for pattern := range strings.FieldsSeq(m.From) {
				if v.Verb != backends.VerbInstantiate && !slices.ContainsFunc(c.Places, func(p Place) bool { return named(pattern, p.Name) }) {
					t.Errorf("the claim of %s names a place that there is not: %s", v.name(), pattern)
				}
			}
			if m.To != "" && m.To != Gone && m.To != Anywhere && m.To != Later && c.place(m.To).State == "" {
				t.Errorf("the claim of %s leads to a place that there is not: %s", v.name(), m.To)
			}
		}
	}
	if got, ok := b.driver.Release(); !ok || got != c.Release {
		t.Errorf("Release() = %+v, %t, want %+v", got, ok, c.Release)
	}
}

func once(t *testing.T, kind, name string, has, lacks bool) {
	t.Helper()
	switch {
	case has && lacks:
		t.Errorf("%s %q is claimed both to be there and to be lacking", kind, name)
	case !has && !lacks:
		t.Errorf("%s %q has no claim", kind, name)
	}
}

// step is how far the world's clock is moved while something is waited for.
const step = time.Second
