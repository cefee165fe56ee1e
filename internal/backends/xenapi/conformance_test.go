package xenapi_test

import (
	"bytes"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/backends/xenapi/xensim"
)

const backendName = "xen"

// TestConformance holds the driver to the suite, against the simulator as the release that was
// recorded.
func TestConformance(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.World { return simulated(t, xensim.ReleaseMiddle) })
}

// TestConformanceOfReleases holds the driver to what differs by release.
func TestConformanceOfReleases(t *testing.T) {
	for _, release := range []string{xensim.ReleaseOld, xensim.ReleaseNew} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			drivertest.RunCore(t, func(t *testing.T) drivertest.World { return simulated(t, release) })
		})
	}
}

// TestConformanceByURL holds the driver to the suite at CONFORMANCE_XENAPI
// (http://user:password@host/), or without it at a simulator of which only the URL is used.
func TestConformanceByURL(t *testing.T) {
	at := os.Getenv("CONFORMANCE_XENAPI")
	pause := time.Duration(0)
	if at == "" {
		pause = 2 * time.Millisecond
		d := xensim.Durations{
			Start: time.Millisecond, Shutdown: time.Millisecond, Reboot: time.Millisecond, Pause: time.Millisecond, Suspend: time.Millisecond,
			Resume: time.Millisecond, Migrate: time.Millisecond, Clone: time.Millisecond, Copy: time.Millisecond, Snapshot: time.Millisecond,
		}
		sim := start(t, xensim.Config{Durations: &d})
		at = strings.Replace(sim.URL(), "http://", "http://root:xenroot@", 1)
		before := sim.VMs()
		t.Cleanup(func() {
			for _, uuid := range sim.VMs() {
				if vm, _ := sim.VM(uuid); !slices.Contains(before, uuid) {
					t.Errorf("the suite has left a VM behind: %+v", vm)
				}
			}
		})
	}
	drivertest.RunRemote(t, func(t *testing.T) drivertest.World { return remote(t, at, pause) })
}

func start(t *testing.T, c xensim.Config) *xensim.Server {
	t.Helper()
	sim, err := xensim.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

// simulated is a World over a simulator of its own, with a clock that stands still.
func simulated(t *testing.T, release string) drivertest.World {
	t.Helper()
	clock := xensim.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	durations := xensim.DefaultDurations()
	durations.BadLogin, durations.Cancel = 0, 0
	sim := start(t, xensim.Config{Release: release, Clock: clock, Durations: &durations})
	admin := drivertest.Account{User: "root", Password: "xenroot"}
	u := drivertest.ParseURL(t, sim.URL())
	_, o := explore(t, u, admin)
	hosts := sim.Hosts() // in the order in which PutVM counts them
	o.first, o.next = &backends.ID{Backend: backendName, Native: hosts[0]}, &backends.ID{Backend: backendName, Native: hosts[1]}
	c := raw{t, sim.URL(), ""}.login(admin)
	others := &others{sim: sim}
	return drivertest.World{
		Name: backendName, Endpoint: u, New: maker(clock.Now), Claims: claims(release, o),
		Admin: admin, Ordinary: drivertest.Account{User: "viewer", Password: "viewer-demo"},
		Put: others.put,
		Move: func(_ testing.TB, native, place string) bool {
			switch place {
			case "Halted", "Running", "Paused", "Suspended":
				return sim.SetState(native, place)
			}
			return false
		},
		Remove: func(_ testing.TB, native string) {
			others.release()
			sim.SetState(native, "Halted")
			c.call("VM.destroy", c.session, c.ref(native))
		},
		Advance: func(d time.Duration) {
			others.release()
			clock.Advance(d)
		},
		Look:       func(_ testing.TB, native string) string { return c.call("VM.get_record", c.session, c.ref(native)) },
		Damage:     damage,
		Leftovers:  func() int { return sim.Sessions() + sim.Tasks() },
		Refusal:    refusal,
		EndSession: func(_ testing.TB, s backends.Session) { c.call("session.logout", s.Reveal()) },
	}
}

// damage makes a number of a VM's record one that is none.
func damage(reply []byte, uuid string) []byte {
	const member = "<name>memory_static_max</name><value>"
	at := bytes.Index(reply, []byte("<value>"+uuid+"</value>"))
	if at < 0 {
		return reply
	}
	next := bytes.Index(reply[at:], []byte(member))
	if next < 0 {
		return reply
	}
	at += next + len(member)
	return slices.Concat(reply[:at], []byte("lots of "), reply[at:])
}

// others are other clients, whose operations on VMs go on until time passes.
type others struct {
	sim *xensim.Server
	mu  sync.Mutex
	end []func()
}

func (o *others) put(_ testing.TB, place string) string {
	spec := xensim.VMSpec{VCPUs: 4}
	power, operation, busy := strings.Cut(place, "+")
	switch power {
	case "template":
		spec.Template = true
	case "default-template":
		spec.Template, spec.Default, spec.OtherConfig = true, true, map[string]string{"default_template": "true"}
	case "snapshot":
		spec.SnapshotOf = o.sim.PutVM(spec)
	default:
		spec.PowerState = power
	}
	uuid := o.sim.PutVM(spec)
	if busy {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.end = append(o.end, o.sim.HoldOperation(uuid, operation))
	}
	return uuid
}

func (o *others) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, end := range o.end {
		end()
	}
	o.end = nil
}

// remote is a World of which nothing is known but a URL.
func remote(t *testing.T, at string, pause time.Duration) drivertest.World {
	t.Helper()
	u, admin := drivertest.Known(t, at)
	release, o := explore(t, u, admin)
	return drivertest.World{
		Name: backendName, Endpoint: u, New: maker(time.Now), Claims: claims(release, o), Admin: admin, Refusal: refusal,
		Look: func(t testing.TB, native string) string {
			c := raw{t, u.String(), ""}.login(admin)
			defer c.call("session.logout", c.session)
			return c.call("VM.get_record", c.session, c.ref(native))
		},
		NewPlaces: []string{"Halted"}, Crowd: 4, Pause: pause,
	}
}

// explore finds out the release, and objects for verbs and members to refer to.
func explore(t *testing.T, u *url.URL, a drivertest.Account) (release string, o objects) {
	t.Helper()
	d, err := maker(time.Now)(drivertest.Options{Endpoint: u})
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Explore(t, d, a, func(l backends.Login) {
		hosts := drivertest.All[backends.Host](t, d, l.Session, backends.Hosts)
		images := drivertest.All[backends.Image](t, d, l.Session, backends.Images)
		storages := drivertest.All[backends.Storage](t, d, l.Session, backends.Storages)
		networks := drivertest.All[backends.Network](t, d, l.Session, backends.Networks)
		if len(hosts) < 2 || len(images) == 0 || len(storages) == 0 || len(networks) == 0 {
			t.Fatal("the suite needs two hosts, an image, a storage and a network at the backend")
		}
		o = objects{first: &hosts[0].ID, next: &hosts[1].ID, storage: &storages[0].ID, network: &networks[0].ID, image: &images[0].ID}
		for i := range storages {
			if s := &storages[i]; s.Shared != nil && *s.Shared && s.ContentType == "user" {
				o.storage = &s.ID
			}
		}
	})
	found, _ := d.Release()
	for release, r := range detected {
		if r.API == found.API {
			return release, o
		}
	}
	t.Fatalf("there are no claims about XenAPI %s", found.API)
	return "", o
}

// maker makes drivers that wait hardly at all for a task, so that most verbs give an operation.
func maker(now func() time.Time) func(drivertest.Options) (backends.Driver, error) {
	return func(o drivertest.Options) (backends.Driver, error) {
		return xenapi.New(xenapi.Config{
			Name: backendName, Endpoints: []*url.URL{o.Endpoint}, Timeout: o.Timeout, Now: now, UserAgent: "conformance",
			Originator: "conformance", Grace: 20 * time.Millisecond,
		})
	}
}

// raw speaks to xapi without the driver.
type raw struct {
	t       testing.TB
	url     string
	session string
}

var reference = regexp.MustCompile(`OpaqueRef:[0-9a-f-]+`)

func (c raw) login(a drivertest.Account) raw {
	c.t.Helper()
	c.session = reference.FindString(c.call("session.login_with_password", a.User, a.Password))
	return c
}

// ref is a VM's reference.
func (c raw) ref(uuid string) string {
	return reference.FindString(c.call("VM.get_by_uuid", c.session, uuid))
}

func (c raw) call(method string, args ...any) string {
	c.t.Helper()
	return drivertest.Call(c.t, c.url, method, args...)
}

// refusal is XenAPI's envelope of a failure.
func refusal(code, text string) []byte {
	return []byte(`<?xml version="1.0"?><methodResponse><params><param><value><struct>` +
		`<member><name>Status</name><value>Failure</value></member>` +
		`<member><name>ErrorDescription</name><value><array><data><value>` + code + `</value><value>` + drivertest.Escape(text) + `</value></data></array></value></member>` +
		`</struct></value></param></params></methodResponse>`)
}
