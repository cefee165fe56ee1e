package drivertest

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// Account is somebody who may log in.
type Account struct{ User, Password string }

// Options is what the suite decides about a driver.
type Options struct {
	Endpoint *url.URL
	Timeout  time.Duration // of one call; 0 = the driver's own
}

// World is one backend of its own for one test, and the ways to bring it where the test wants it.
// Functions marked so are nil for a backend that is known by its URL only; the suite then does what
// it can without, and says how much it could not.
type World struct {
	Name     string   // the backend's configured name
	Endpoint *url.URL // where the backend itself answers, without credentials
	New      func(Options) (backends.Driver, error)
	Claims   Claims

	Admin    Account
	Ordinary Account // may log in and read the VM of Share, and may not change it; zero if unknown

	// Put makes a VM in a place and gives its native id. nil: by Create and verbs.
	Put func(t testing.TB, place string) string
	// Move brings a VM into a place, as somebody else would; false when it has no way to. nil: cannot.
	Move func(t testing.TB, native, place string) bool
	// Share lets everybody read a VM and nobody else change it. nil: there is nothing to do.
	Share func(t testing.TB, native string)
	// Remove makes a VM disappear. nil: by verbs.
	Remove func(t testing.TB, native string)
	// Advance lets time pass; work of others that is under way ends. nil: wait for it.
	Advance func(d time.Duration)
	// Look is everything that the backend itself holds of a VM, as text: equal means unchanged.
	Look func(t testing.TB, native string) string
	// Leftovers is how many sessions, tokens and tasks there are. nil: cannot be told.
	Leftovers func() int
	// Poison makes a VM that cannot be read. nil: cannot.
	Poison func(t testing.TB) string
	// Damage spoils what a reply says of a VM, and of no other; for a backend without Poison.
	Damage func(reply []byte, native string) []byte
	// Refusal is a whole reply that refuses a call with a code, and text in what it says about it.
	Refusal func(code, text string) []byte
	// EndSession ends a session behind its owner's back. nil: cannot.
	EndSession func(t testing.TB, s backends.Session)

	// NewPlaces are the places that a VM can be in right after Create; for a World without Put.
	NewPlaces []string

	// Pause is how long to wait between two looks at a backend whose clock is not in our hands; 0 = 100 ms.
	Pause time.Duration

	// Crowd is how many VMs a list is tried with; 0 = 500.
	Crowd int
}

// topic is a part of the suite, with a World or more of its own.
type topic struct {
	name string
	run  func(*testing.T, func(*testing.T) World)
}

// Run holds a driver to its claims. fresh makes a World with a simulator of its own and closes it
// when its test ends.
func Run(t *testing.T, fresh func(t *testing.T) World) {
	run(t, fresh, []topic{
		{"verbs", testVerbs},
		{"late", testLate},
		{"claims", alone(testClaims)},
		{"places", alone(testPlaces)},
		{"actions", alone(testActions)},
		{"arguments", alone(testArguments)},
		{"instantiate", alone(testInstantiate)},
		{"resources", alone(testResources)},
		{"members", alone(testMembers)},
		{"halfway", alone(testHalfWay)},
		{"names", alone(testNames)},
		{"ids", alone(testIDs)},
		{"transport", alone(testTransport)},
		{"refusals", alone(testRefusals)},
		{"permissions", alone(testPermissions)},
		{"sessions", alone(testSessions)},
		{"lists", alone(testLists)},
		{"undecodable", alone(testUndecodable)},
	})
}

// RunCore is the part of Run that depends on the backend's release.
func RunCore(t *testing.T, fresh func(t *testing.T) World) {
	run(t, fresh, []topic{
		{"verbs", testVerbsBriefly},
		{"claims", alone(testClaims)},
		{"places", alone(testPlaces)},
		{"actions", alone(testActions)},
		{"instantiate", alone(testInstantiate)},
		{"resources", alone(testResources)},
		{"members", alone(testMembers)},
		{"sessions", alone(testSessions)},
	})
}

// RunRemote holds a driver to its claims at a backend of which nothing is known but its URL. It
// touches only VMs that it made itself, whose names begin with [Prefix], and removes them again. A
// place that verbs do not lead to is not tried; how many cases that leaves out is logged.
func RunRemote(t *testing.T, known func(t *testing.T) World) {
	run(t, known, []topic{
		{"verbs", testVerbs},
		{"claims", alone(testClaims)},
		{"places", alone(testPlaces)},
		{"actions", alone(testActions)},
		{"arguments", alone(testArguments)},
		{"resources", alone(testResources)},
		{"members", alone(testMembers)},
		{"halfway", alone(testHalfWay)},
		{"names", alone(testNames)},
		{"ids", alone(testIDs)},
		{"transport", alone(testTransport)},
		{"refusals", alone(testRefusals)},
		{"sessions", alone(testSessions)},
		{"lists", alone(testLists)},
	})
}

func run(t *testing.T, fresh func(t *testing.T) World, topics []topic) {
	for _, p := range topics {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(t, fresh)
		})
	}
}

// alone gives a test a World of its own, opened.
func alone(test func(*testing.T, *bench)) func(*testing.T, func(*testing.T) World) {
	return func(t *testing.T, fresh func(*testing.T) World) { test(t, open(t, fresh(t))) }
}

// bench is a World at work: its driver behind the relay and the watch, and somebody logged in.
type bench struct {
	World
	relay   *relay
	watch   *watch
	driver  backends.Driver
	backend *backends.Backend
	session backends.Session
	made    string // the name of VMs that are made by calls whose answer is lost
	images  int    // that saveDisk was asked for
	cannot  int    // cases that this World has no way to bring about
}

func open(t *testing.T, w World) *bench {
	t.Helper()
	b := &bench{World: w, relay: newRelay(t, w.Endpoint)}
	b.watch = newWatch(t, w.Admin.Password, w.Ordinary.Password)
	b.driver = b.newDriver(t, Options{})
	b.backend = &backends.Backend{Name: w.Name, DisplayName: w.Name, Driver: b.driver}
	b.session = b.login(t, w.Admin)
	b.made = conformanceName(t)
	t.Cleanup(func() { b.sweep(t) })
	t.Cleanup(func() {
		if b.cannot > 0 {
			t.Logf("%d cases cannot be brought about at this backend", b.cannot)
		}
	})
	return b
}

// newDriver makes a driver that speaks to the backend through the relay, watched.
func (b *bench) newDriver(t *testing.T, o Options) backends.Driver {
	t.Helper()
	if o.Endpoint == nil {
		o.Endpoint = b.relay.url
	}
	d, err := b.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &watched{Driver: d, watch: b.watch}
}

// login opens a session that ends with the test.
func (b *bench) login(t *testing.T, a Account) backends.Session {
	t.Helper()
	l, err := b.driver.Login(t.Context(), a.User, a.Password)
	if err != nil {
		t.Fatalf("login as %s: %v", a.User, err)
	}
	t.Cleanup(func() {
		b.relay.heal()
		if err := b.driver.Logout(background(t), l.Session); err != nil {
			t.Errorf("logout of %s: %v", a.User, err)
		}
	})
	return l.Session
}

func (b *bench) id(native string) backends.ID { return backends.ID{Backend: b.Name, Native: native} }

// put makes a VM in a place that ends with the test. ok is false when this World cannot.
func (b *bench) put(t *testing.T, place string) (id backends.ID, ok bool) {
	t.Helper()
	if b.Put == nil {
		return b.putRemote(t, place)
	}
	return b.id(b.Put(t, place)), true
}

// mustPut is put of a place that every World can bring about.
func (b *bench) mustPut(t *testing.T, place string) backends.ID {
	t.Helper()
	id, ok := b.put(t, place)
	if !ok {
		t.Fatalf("no way to bring a VM into %s", place)
	}
	return id
}

// home is the place of a VM where nothing else is asked for.
func (b *bench) home() string { return b.Claims.Places[0].Name }

func (b *bench) remove(t *testing.T, id backends.ID) {
	t.Helper()
	if b.Remove != nil {
		b.Remove(t, id.Native)
	}
}

// read reads a VM and holds it to the shape that all values have.
func (b *bench) read(t *testing.T, id backends.ID) *backends.VM {
	t.Helper()
	vm, err := b.backend.VM(t.Context(), b.session, id, backends.ViewFull)
	if err != nil {
		t.Fatalf("VM(%s): %v", id, err)
	}
	b.checkVM(t, vm, backends.ViewFull)
	return vm
}

// word is the backend's own word for where a VM stands.
func word(r *backends.RawState) string {
	switch {
	case r == nil:
		return ""
	case r.PowerState != "":
		return r.PowerState
	case r.LCMState != "":
		return r.LCMState
	}
	return r.State
}

// stands checks that a VM is in a place.
func (b *bench) stands(t *testing.T, id backends.ID, place string) {
	t.Helper()
	if place == Gone {
		_, err := b.backend.VM(t.Context(), b.session, id, backends.ViewBasic)
		if backends.CodeOf(err) != backends.NotFound || err == nil {
			t.Errorf("reading a VM that shall be gone: %v", err)
		}
		return
	}
	want := b.Claims.place(place)
	vm := b.read(t, id)
	if vm.State != want.State || word(vm.RawState) != want.raw() {
		t.Errorf("the VM is %s (%s), want %s (%s)", vm.State, word(vm.RawState), want.State, want.raw())
	}
}

// subtest turns a name into one that go test -run takes as it is.
func subtest(name string) string { return strings.ReplaceAll(name, " ", "_") }
