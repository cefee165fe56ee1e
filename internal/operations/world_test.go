package operations_test

import (
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/backends/xenapi/xensim"
	"vmgateway/internal/feed"
	"vmgateway/internal/operations"
	"vmgateway/internal/store"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// poll is never for a backend that can be watched.
func poll(b *backends.Backend) time.Duration {
	if _, ok := b.Driver.(backends.Watcher); ok {
		return never
	}
	return 10 * time.Millisecond
}

// never is a Poll so long that only what the feed tells leads to a look.
const never = time.Hour

// soon is how long a wait may take that should end by itself. It is only reached when a test fails.
const soon = 30 * time.Second

// gateway is a tracker and what it stands on, for one user of one backend.
type gateway struct {
	*testing.T
	*operations.Tracker
	backend *backends.Backend
	owner   string
	session backends.Session
	feeds   *feed.Feeds
	store   store.Store

	mu      sync.Mutex
	reports []error
}

// newGateway starts a tracker; c.Feeds and what it reports to are made here.
func newGateway(t *testing.T, b *backends.Backend, user string, s backends.Session, c operations.Config) *gateway {
	t.Helper()
	g := &gateway{
		T: t, backend: b, owner: b.Name + "\x00" + user, session: s, store: c.Store,
		feeds: feed.New(feed.Config{Now: c.Now, Linger: time.Millisecond}),
	}
	c.Feeds, c.Report = g.feeds, g.report
	g.Tracker = operations.New(c)
	t.Cleanup(func() {
		g.Tracker.Close()
		if err := g.feeds.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gateway) report(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reports = append(g.reports, err)
}

func (g *gateway) reported() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reports
}

// as is the gateway for another user.
func (g *gateway) as(user string, s backends.Session) *gateway {
	return &gateway{T: g.T, Tracker: g.Tracker, backend: g.backend, owner: g.backend.Name + "\x00" + user, session: s, feeds: g.feeds, store: g.store}
}

// begin runs a verb and hands its operation to the tracker.
func (g *gateway) begin(v backends.Verb, vm backends.ID, a backends.Args) *backends.Operation {
	g.Helper()
	result, err := g.backend.Do(g.Context(), g.session, v, vm, a)
	if err != nil {
		g.Fatalf("%s: %v", v, err)
	}
	op, ok := result.(*backends.Operation)
	if !ok {
		g.Fatalf("%s gives a %T", v, result)
	}
	return g.Started(g.backend, g.owner, g.session, op)
}

func (g *gateway) get(id backends.ID) *backends.Operation {
	g.Helper()
	op, err := g.Get(g.Context(), g.backend, g.owner, g.session, id)
	if err != nil {
		g.Fatalf("get %s: %v", id, err)
	}
	return op
}

func (g *gateway) wait(id backends.ID) *backends.Operation {
	g.Helper()
	op, err := g.Wait(g.Context(), g.backend, g.owner, g.session, id, soon)
	if err != nil {
		g.Fatalf("wait for %s: %v", id, err)
	}
	if !op.Done() {
		g.Fatalf("%s does not end: %s", id, op.State)
	}
	return op
}

// waiting waits meanwhile.
func (g *gateway) waiting(id backends.ID) <-chan *backends.Operation {
	ch := make(chan *backends.Operation, 1)
	go func() {
		op, err := g.Wait(g.Context(), g.backend, g.owner, g.session, id, soon)
		if err != nil {
			g.Errorf("wait for %s: %v", id, err)
			op = &backends.Operation{}
		}
		ch <- op
	}()
	return ch
}

func (g *gateway) refused(id backends.ID, want backends.Code) {
	g.Helper()
	op, err := g.Get(g.Context(), g.backend, g.owner, g.session, id)
	if err == nil || backends.CodeOf(err) != want {
		g.Errorf("get %s: %+v (%v), want %s", id, op, err, want)
	}
}

func (g *gateway) list() []*backends.Operation {
	g.Helper()
	list, err := g.List(g.Context(), []string{g.owner})
	if err != nil {
		g.Fatal(err)
	}
	return list
}

func wantState(t *testing.T, op *backends.Operation, want backends.OperationState) {
	t.Helper()
	if op.State != want {
		t.Fatalf("%s is %s (%v), want %s", op.ID, op.State, op.Err, want)
	}
	if op.Done() != (op.EndTime != nil) || (want == backends.OperationFailed || want == backends.OperationUnknown) != (op.Err != nil) {
		t.Errorf("%s: end %v, error %v", op.State, op.EndTime, op.Err)
	}
}

func endpoint(t *testing.T, text string) []*url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return []*url.URL{u}
}

// cloud is a simulated OpenNebula with a clock by hand.
type cloud struct {
	*testing.T
	sim     *onesim.Server
	clock   *onesim.ManualClock
	backend *backends.Backend
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	clock := onesim.NewClock(start)
	sim, err := onesim.Start(onesim.Config{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	d, err := opennebula.New(opennebula.Config{
		Name: "one", Endpoints: endpoint(t, sim.URL()), Now: clock.Now, PollInterval: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{t, sim, clock, &backends.Backend{Name: "one", DisplayName: "OpenNebula", Driver: d}}
}

func (c *cloud) login(user string) backends.Session {
	c.Helper()
	for _, u := range c.sim.Users() {
		if u.Name == user {
			l, err := c.backend.Driver.Login(c.Context(), u.Name, u.Password)
			if err != nil {
				c.Fatal(err)
			}
			return l.Session
		}
	}
	c.Fatalf("no user %s", user)
	return backends.Session{}
}

func (c *cloud) put(state onesim.State, lcm onesim.LCM) backends.ID {
	c.Helper()
	n, err := c.sim.PutVM(onesim.VMSpec{State: state, LCM: lcm})
	if err != nil {
		c.Fatal(err)
	}
	return c.id(n)
}

func (c *cloud) id(n int) backends.ID {
	return backends.ID{Backend: "one", Native: strconv.Itoa(n)}
}

// gateway is one whose tracker looks only when the feed tells something.
func (c *cloud) gateway(s store.Store) *gateway {
	c.Helper()
	return newGateway(c.T, c.backend, "oneadmin", c.login("oneadmin"), operations.Config{Store: s, Now: c.clock.Now, Poll: never})
}

func (c *cloud) memory() store.Store { return store.NewMemory(c.clock.Now) }

// pool is a simulated XenAPI pool with a clock by hand.
type pool struct {
	*testing.T
	sim     *xensim.Server
	clock   *xensim.ManualClock
	backend *backends.Backend
}

func newPool(t *testing.T) *pool {
	t.Helper()
	clock := xensim.NewClock(start)
	sim, err := xensim.Start(xensim.Config{Clock: clock, Durations: &xensim.Durations{
		Start: 10 * time.Second, Migrate: 10 * time.Second, Clone: 10 * time.Second, Cancel: time.Second,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	d, err := xenapi.New(xenapi.Config{
		Name: "xen", Endpoints: endpoint(t, sim.URL()), Now: clock.Now, Timeout: soon, Grace: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pool{t, sim, clock, &backends.Backend{Name: "xen", DisplayName: "XenServer", Driver: d}}
}

func (p *pool) login(user, password string) backends.Session {
	p.Helper()
	l, err := p.backend.Driver.Login(p.Context(), user, password)
	if err != nil {
		p.Fatal(err)
	}
	return l.Session
}

func (p *pool) put(powerState string) backends.ID {
	return backends.ID{Backend: "xen", Native: p.sim.PutVM(xensim.VMSpec{PowerState: powerState})}
}

func (p *pool) host(n int) *backends.ID {
	return &backends.ID{Backend: "xen", Native: p.sim.Hosts()[n]}
}

// gateway is one whose tracker looks only when the feed tells something.
func (p *pool) gateway(s store.Store) *gateway {
	p.Helper()
	return newGateway(p.T, p.backend, "root", p.login("root", "xenroot"), operations.Config{Store: s, Now: p.clock.Now, Poll: poll(p.backend)})
}

func (p *pool) memory() store.Store { return store.NewMemory(p.clock.Now) }

// started waits until the simulator has begun what takes its time, so that advancing the clock ends it.
func (p *pool) started(n int) { p.clock.AwaitWaiting(n, p.Context().Done()) }
