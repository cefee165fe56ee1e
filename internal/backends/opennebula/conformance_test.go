package opennebula_test

import (
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
)

const (
	backendName = "one"
	// The simulator's own password of oneadmin is a member's name as well, which the watch would see everywhere.
	adminPassword    = "conformance-Pw-1"
	ordinaryPassword = "conformance-Pw-2"
)

var passwords = map[string]string{"oneadmin": adminPassword, "alice": ordinaryPassword}

// TestConformance holds the driver to the suite, against the simulator as the release of which most
// was recorded.
func TestConformance(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.World { return simulated(t, r610) })
}

// TestConformanceOfReleases holds the driver to what differs by release.
func TestConformanceOfReleases(t *testing.T) {
	for _, r := range []release{r38, r414, r512, r74} {
		t.Run(releases[r], func(t *testing.T) {
			t.Parallel()
			drivertest.RunCore(t, func(t *testing.T) drivertest.World { return simulated(t, r) })
		})
	}
}

// TestConformanceByURL holds the driver to the suite at CONFORMANCE_OPENNEBULA
// (http://user:password@host:2633/RPC2), or without it at a simulator of which only the URL is used.
func TestConformanceByURL(t *testing.T) {
	at := os.Getenv("CONFORMANCE_OPENNEBULA")
	pause := time.Duration(0)
	if at == "" {
		pause = 2 * time.Millisecond
		fast := map[onesim.Step]time.Duration{}
		for step := range onesim.DefaultDelays() {
			fast[step] = time.Millisecond
		}
		sim := start(t, onesim.Config{Delays: fast, Passwords: passwords})
		at = strings.Replace(sim.URL(), "http://", "http://oneadmin:"+adminPassword+"@", 1)
		t.Cleanup(func() {
			for n := 0; ; n++ {
				vm, ok := sim.VM(n)
				if !ok {
					break
				}
				if vm.State != onesim.Done {
					t.Errorf("the suite has left %s (%d) behind", vm.Name, n)
				}
			}
		})
	}
	drivertest.RunRemote(t, func(t *testing.T) drivertest.World { return remote(t, at, pause) })
}

func start(t *testing.T, c onesim.Config) *onesim.Server {
	t.Helper()
	sim, err := onesim.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func id(n int) *backends.ID { return &backends.ID{Backend: backendName, Native: strconv.Itoa(n)} }

// simulated is a World over a simulator of its own, with a clock that stands still.
func simulated(t *testing.T, r release) drivertest.World {
	t.Helper()
	clock := onesim.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	delays := map[onesim.Step]time.Duration{onesim.StepQueue: 100 * time.Millisecond} // LCM_INIT can be seen
	sim := start(t, onesim.Config{Release: releases[r], Clock: clock, Delays: delays, Passwords: passwords})
	admin := raw{t, sim.URL(), "oneadmin:" + adminPassword}
	return drivertest.World{
		Name: backendName, Endpoint: drivertest.ParseURL(t, sim.URL()), New: maker(clock.Now),
		Claims:   claims(r, objects{name: backendName, first: id(0), next: id(1), user: id(2), group: id(1)}),
		Admin:    drivertest.Account{User: "oneadmin", Password: adminPassword},
		Ordinary: drivertest.Account{User: "alice", Password: ordinaryPassword},
		Put: func(t testing.TB, place string) string {
			state, lcm := numbers(r, place)
			n, err := sim.PutVM(onesim.VMSpec{State: onesim.Poweroff, CPU: 0.01, Memory: 1})
			if err == nil {
				err = sim.SetState(n, state, lcm)
			}
			if err != nil {
				t.Fatal(err)
			}
			return strconv.Itoa(n)
		},
		Move: func(t testing.TB, native, place string) bool {
			state, lcm := numbers(r, place)
			return sim.SetState(number(t, native), state, lcm) == nil
		},
		Share: func(t testing.TB, native string) {
			admin.call("one.vm.chmod", number(t, native), -1, -1, -1, -1, -1, -1, 1, -1, -1)
		},
		Remove: func(t testing.TB, native string) {
			if err := sim.SetState(number(t, native), onesim.Done, 0); err != nil {
				t.Fatal(err)
			}
		},
		Advance:   sim.Advance,
		Look:      func(t testing.TB, native string) string { return look(admin, number(t, native)) },
		Leftovers: func() int { return sim.OpenTokens("") },
		Poison: func(t testing.TB) string {
			answer := admin.call("one.vm.allocate", "<TEMPLATE><NAME>odd &#x1F600;</NAME><CPU>1</CPU><MEMORY>64</MEMORY></TEMPLATE>")
			return regexp.MustCompile(`<(?:i4|int)>(\d+)<`).FindStringSubmatch(answer)[1]
		},
		Refusal: refusal,
		EndSession: func(_ testing.TB, s backends.Session) {
			user, token, _ := strings.Cut(s.Reveal(), ":")
			admin.call("one.user.login", user, token, 0)
		},
	}
}

// remote is a World of which nothing is known but a URL.
func remote(t *testing.T, at string, pause time.Duration) drivertest.World {
	t.Helper()
	u, admin := drivertest.Known(t, at)
	r, o := explore(t, u, admin)
	c := claims(r, o)
	c.Create = append(c.Create, backends.Change{Path: "hold", Value: true}) // so that no scheduler takes it
	look := func(_ testing.TB, native string) string {
		return look(raw{t, u.String(), admin.User + ":" + admin.Password}, number(t, native))
	}
	return drivertest.World{
		Name: backendName, Endpoint: u, New: maker(time.Now), Claims: c, Admin: admin, Look: look, Refusal: refusal,
		NewPlaces: []string{"HOLD"}, Crowd: 4, Pause: pause,
	}
}

// explore finds out the release, and objects for verbs to refer to.
func explore(t *testing.T, u *url.URL, a drivertest.Account) (r release, o objects) {
	t.Helper()
	d, err := maker(time.Now)(drivertest.Options{Endpoint: u})
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Explore(t, d, a, func(l backends.Login) {
		hosts := drivertest.All[backends.Host](t, d, l.Session, backends.Hosts)
		if len(hosts) < 2 {
			t.Fatalf("the suite needs two hosts at the backend; there are %d", len(hosts))
		}
		o = objects{name: backendName, first: &hosts[0].ID, next: &hosts[1].ID, user: &l.User.ID, group: &l.Groups[0].ID, diskless: true}
	})
	version, _ := d.Release()
	for r, name := range releases {
		if name == version.Version {
			return r, o
		}
	}
	t.Fatalf("there are no claims about OpenNebula %s", version.Version)
	return 0, o
}

func maker(now func() time.Time) func(drivertest.Options) (backends.Driver, error) {
	return func(o drivertest.Options) (backends.Driver, error) {
		return opennebula.New(opennebula.Config{
			Name: backendName, Endpoints: []*url.URL{o.Endpoint}, Timeout: o.Timeout, Now: now, UserAgent: "conformance",
		})
	}
}

func number(t testing.TB, native string) int {
	t.Helper()
	n, err := strconv.Atoi(native)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// raw speaks to oned without the driver.
type raw struct {
	t       testing.TB
	url     string
	session string
}

func (c raw) call(method string, args ...any) string {
	c.t.Helper()
	return drivertest.Call(c.t, c.url, method, append([]any{c.session}, args...)...)
}

// volatile is what of a VM document changes by itself.
var volatile = regexp.MustCompile(`(?s)&lt;LAST_POLL&gt;.*?/LAST_POLL&gt;|&lt;MONITORING&gt;.*?/MONITORING&gt;`)

// look is a VM's document, without what changes by itself.
func look(c raw, vm int) string { return volatile.ReplaceAllString(c.call("one.vm.info", vm), "") }

// refusal is [false, text, code, object]. oned's codes are numbers.
func refusal(code, text string) []byte {
	return []byte(`<?xml version="1.0"?><methodResponse><params><param><value><array><data>` +
		`<value><boolean>0</boolean></value><value><string>` + drivertest.Escape(text) + `</string></value><value><i4>` + code + `</i4></value>` +
		`<value><i4>-1</i4></value></data></array></value></param></params></methodResponse>`)
}
