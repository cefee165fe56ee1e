package feed_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/backends/xenapi/xensim"
	"vmgateway/internal/feed"
)

// cloud is a simulated backend on a socket, its driver, and what the simulator can be made to do.
type cloud struct {
	*backends.Backend
	user, password string

	put      func() (native string)
	change   func(native string) // to another power state
	remove   func(native string)
	failing  func() // the call that a watcher makes is answered by a proxy's error page
	cutting  func() // its answers break off
	mended   func()
	watching func() int // how often that call was made
}

// clouds runs test on each kind of backend.
func clouds(t *testing.T, test func(*testing.T, *cloud)) {
	t.Run("opennebula", func(t *testing.T) {
		c, _ := newOpenNebula(t)
		test(t, c)
	})
	t.Run("xenapi", func(t *testing.T) {
		c, _ := newXenAPI(t)
		test(t, c)
	})
}

func newOpenNebula(t *testing.T) (*cloud, *onesim.Server) { return newOpenNebulaOf(t, 12) }

func newOpenNebulaOf(t testing.TB, vms int) (*cloud, *onesim.Server) {
	t.Helper()
	sim, err := onesim.Start(onesim.Config{VMs: vms})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	driver, err := opennebula.New(opennebula.Config{
		Name: "one", Endpoints: []*url.URL{parseURL(t, sim.URL())}, PollInterval: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	const poll = "one.vmpool.info"
	number := func(native string) int {
		n, err := strconv.Atoi(native)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	set := func(native string, s onesim.State) {
		if err := sim.SetState(number(native), s, onesim.LCMInit); err != nil {
			t.Fatal(err)
		}
	}
	return &cloud{
		Backend: &backends.Backend{Name: "one", DisplayName: "OpenNebula", Driver: driver},
		user:    "oneadmin", password: password(t, sim),
		put: func() string {
			id, err := sim.PutVM(onesim.VMSpec{State: onesim.Poweroff})
			if err != nil {
				t.Fatal(err)
			}
			return strconv.Itoa(id)
		},
		change:   func(native string) { set(native, onesim.Undeployed) },
		remove:   func(native string) { set(native, onesim.Done) },
		failing:  func() { sim.Inject(onesim.Fault{Method: poll, Status: 502, Times: -1}) },
		cutting:  func() { sim.Inject(onesim.Fault{Method: poll, Cut: 100, Times: -1}) },
		mended:   sim.ClearFaults,
		watching: func() int { return sim.Calls(poll) },
	}, sim
}

func password(t testing.TB, sim *onesim.Server) string {
	t.Helper()
	users := sim.Users()
	i := slices.IndexFunc(users, func(u onesim.User) bool { return u.Name == "oneadmin" })
	if i < 0 {
		t.Fatal("no oneadmin")
	}
	return users[i].Password
}

func newXenAPI(t *testing.T) (*cloud, *xensim.Server) { return newXenAPIOf(t, 12) }

func newXenAPIOf(t testing.TB, vms int) (*cloud, *xensim.Server) {
	t.Helper()
	sim, err := xensim.Start(xensim.Config{VMs: vms, Durations: &xensim.Durations{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	driver, err := xenapi.New(xenapi.Config{Name: "xen", Endpoints: []*url.URL{parseURL(t, sim.URL())}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(driver.Close)
	c := &cloud{
		Backend: &backends.Backend{Name: "xen", DisplayName: "XenAPI", Driver: driver},
		user:    "root", password: "xenroot",
		put:      func() string { return sim.PutVM(xensim.VMSpec{}) },
		change:   func(native string) { sim.SetState(native, "Suspended") },
		failing:  func() { sim.Inject(xensim.Fault{Method: "event.from", Status: 502, Times: -1}) },
		cutting:  func() { sim.Inject(xensim.Fault{Method: "event.from", Cut: true, CutAfter: 100, Times: -1}) },
		mended:   sim.ClearFaults,
		watching: func() int { return sim.Calls("event.from") },
	}
	c.remove = func(native string) {
		sim.SetState(native, "Halted")
		id := backends.ID{Backend: "xen", Native: native}
		if _, err := c.Do(t.Context(), c.login(t).Session, backends.VerbDelete, id, backends.Args{}); err != nil {
			t.Fatal(err)
		}
	}
	return c, sim
}

func parseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (c *cloud) login(t testing.TB) backends.Login {
	t.Helper()
	l, err := c.Driver.Login(t.Context(), c.user, c.password)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// truth is the state of every VM, as a list tells it.
func (c *cloud) truth(t *testing.T, s backends.Session) map[backends.ID]backends.State {
	t.Helper()
	return c.list(t, s, func(*backends.VM) {})
}

// list is the state of every VM, each of which is handed to show.
func (c *cloud) list(t *testing.T, s backends.Session, show func(*backends.VM)) map[backends.ID]backends.State {
	t.Helper()
	states := map[backends.ID]backends.State{}
	for vm, err := range c.VMs(t.Context(), s, backends.Query{View: backends.ViewBasic, Owner: "all"}) {
		if err != nil {
			t.Fatal(err)
		}
		show(vm)
		states[vm.ID] = vm.State
	}
	return states
}

// follower knows the fleet from one list, and from nothing but events since.
type follower struct {
	*listener
	states map[backends.ID]backends.State
	seen   map[string]int // events by type
}

func awaitReady(ctx context.Context, t *testing.T, f *feed.Feed) {
	t.Helper()
	select {
	case <-f.Ready():
	case <-f.Ended():
		t.Fatalf("the feed ended: %v", f.Err())
	case <-ctx.Done():
		t.Fatalf("no snapshot came; the backend is down: %v", f.Down())
	}
}

// follow lists and follows from before the list, as a page would.
func (c *cloud) follow(ctx context.Context, t *testing.T, f *feed.Feed, s backends.Session) *follower {
	t.Helper()
	awaitReady(ctx, t, f)
	l := listen(ctx, t, f)
	states := c.list(t, s, func(vm *backends.VM) { f.Shown(vm, true) })
	return &follower{listener: l, states: states, seen: map[string]int{}}
}

// until applies events up to and with the first of which enough is true.
func (f *follower) until(enough func(feed.Event) bool) {
	f.t.Helper()
	for {
		e := f.next()
		f.apply(e)
		if enough(e) {
			return
		}
	}
}

func (f *follower) apply(e feed.Event) {
	f.t.Helper()
	f.seen[e.Type]++
	var body struct {
		VM struct{ State backends.State }
	}
	if err := json.Unmarshal(e.Data, &body); err != nil {
		f.t.Fatal(err)
	}
	switch e.Type {
	case feed.VMCreated, feed.VMChanged:
		f.states[e.VM] = body.VM.State
	case feed.VMDeleted:
		delete(f.states, e.VM)
	}
}

// untilSame applies events until what the follower knows is what a list says.
func (f *follower) untilSame(truth map[backends.ID]backends.State) {
	f.t.Helper()
	for !maps.Equal(f.states, truth) {
		f.apply(f.next())
	}
}

func ofType(kind string) func(feed.Event) bool {
	return func(e feed.Event) bool { return e.Type == kind }
}

// about is an event of one type about one VM.
func about(kind string, c *cloud, native string) func(feed.Event) bool {
	return func(e feed.Event) bool {
		return e.Type == kind && e.VM == backends.ID{Backend: c.Name, Native: native}
	}
}

func quick(int) time.Duration { return time.Millisecond }

func newFeeds(t *testing.T, c feed.Config) (*feed.Feeds, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	if c.Backoff == nil {
		c.Backoff = quick
	}
	feeds := feed.New(c)
	t.Cleanup(func() {
		if err := feeds.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		cancel()
	})
	return feeds, ctx
}

func TestTheChangesOfACloudAreTold(t *testing.T) {
	clouds(t, func(t *testing.T, c *cloud) {
		feeds, ctx := newFeeds(t, feed.Config{})
		s := c.login(t).Session
		lease := feeds.Acquire(c.Backend, owner, s)
		f := c.follow(ctx, t, lease.Feed(), s)
		native := c.put()
		f.until(about(feed.VMCreated, c, native))
		c.change(native)
		f.until(about(feed.VMChanged, c, native))
		c.remove(native)
		f.until(about(feed.VMDeleted, c, native))
		f.untilSame(c.truth(t, s))
		if f.seen[feed.BackendDown]+f.seen[feed.BackendUp] > 0 {
			t.Errorf("events %v of a backend that was up all the time", f.seen)
		}
	})
}

// TestTheMirrorOfACloudHasWhatWasWritten changes VMs, and looks as soon as the mirror may be used again.
func TestTheMirrorOfACloudHasWhatWasWritten(t *testing.T) {
	clouds(t, func(t *testing.T, c *cloud) {
		feeds, ctx := newFeeds(t, feed.Config{})
		s := c.login(t).Session
		lease := feeds.Acquire(c.Backend, owner, s)
		changed, removed := c.put(), c.put()
		f := c.follow(ctx, t, lease.Feed(), s)

		end := feeds.Writing(owner)
		c.change(changed)
		c.remove(removed)
		if _, ok := feeds.Snapshot(owner, time.Hour); ok {
			t.Error("the mirror is used while something is written")
		}
		end()
		ended := time.Now()
		mirror, ok := feeds.Snapshot(owner, time.Hour)
		for ; !ok; mirror, ok = feeds.Snapshot(owner, time.Hour) {
			f.until(about(feed.VMCreated, c, c.put())) // so that the backend has something to tell
		}
		if !mirror.AsOf.After(ended) {
			t.Errorf("as of %s, written until %s", mirror.AsOf, ended)
		}
		c.sameAsListed(t, s, mirror)
	})
}

// sameAsListed compares all that a client would see, but for samples.
func (c *cloud) sameAsListed(t *testing.T, s backends.Session, mirror feed.Snapshot) {
	t.Helper()
	listed := 0
	for vm, err := range c.VMs(t.Context(), s, backends.Query{View: backends.ViewBasic}) {
		if err != nil {
			t.Fatal(err)
		}
		listed++
		if mirrored, ok := mirror.Get(vm.ID); !ok || backends.ETag(mirrored) != backends.ETag(vm) {
			t.Errorf("listed %+v\nmirrored %+v", vm, mirrored)
		}
	}
	if listed == 0 || listed != len(mirror.VMs) || len(mirror.Undecodable) > 0 {
		t.Errorf("%d VMs are listed, %d mirrored, %d undecodable", listed, len(mirror.VMs), len(mirror.Undecodable))
	}
}

// TestNothingIsLostWhileACloudIsAway takes the watcher's call away for a while, in which VMs are made,
// changed and deleted.
func TestNothingIsLostWhileACloudIsAway(t *testing.T) {
	for _, outage := range []string{"failing", "cutting"} {
		t.Run(outage, func(t *testing.T) {
			clouds(t, func(t *testing.T, c *cloud) {
				failures := make(chan struct{})
				feeds, ctx := newFeeds(t, feed.Config{Backoff: func(int) time.Duration {
					select {
					case failures <- struct{}{}:
					default:
					}
					return time.Millisecond
				}})
				s := c.login(t).Session
				lease := feeds.Acquire(c.Backend, owner, s)
				kept, gone := c.put(), c.put()
				f := c.follow(ctx, t, lease.Feed(), s)

				map[string]func(){"failing": c.failing, "cutting": c.cutting}[outage]()
				for f.seen[feed.BackendDown] == 0 {
					c.put() // a call that waits for a change ends with it, or breaks off
					f.apply(f.next())
				}
				made := c.put()
				c.change(kept)
				c.remove(gone)
				for range 3 { // it is tried again and again, and that is no news
					receive(ctx, t, failures)
				}
				c.mended()
				f.until(ofType(feed.BackendUp))
				f.untilSame(c.truth(t, s))
				if _, ok := f.states[backends.ID{Backend: c.Name, Native: made}]; !ok || f.seen[feed.BackendDown] != 1 || f.seen[feed.BackendUp] != 1 {
					t.Errorf("events %v, states %v", f.seen, f.states)
				}
			})
		})
	}
}

// TestACloudEndsTheSession: while another session of the owner is left the feed goes on with it, and
// otherwise with the next one.
func TestACloudEndsTheSession(t *testing.T) {
	clouds(t, func(t *testing.T, c *cloud) {
		feeds, ctx := newFeeds(t, feed.Config{})
		first, second, third := c.login(t).Session, c.login(t).Session, c.login(t).Session
		lease := feeds.Acquire(c.Backend, owner, first)
		other := feeds.Acquire(c.Backend, owner, second)
		f := c.follow(ctx, t, lease.Feed(), third)

		c.logout(t, first)
		native := c.put()
		f.until(about(feed.VMCreated, c, native))
		c.logout(t, second)
		c.change(native)
		receive(ctx, t, other.Feed().Ended())
		if err := other.Feed().Err(); backends.CodeOf(err) != backends.BackendSessionEnded {
			t.Errorf("Err is %v", err)
		}

		again := feeds.Acquire(c.Backend, owner, third)
		f.feed = again.Feed()
		f.until(about(feed.VMChanged, c, native))
		f.untilSame(c.truth(t, third))
		if f.seen[feed.BackendDown] > 0 {
			t.Errorf("events %v", f.seen)
		}
	})
}

func (c *cloud) logout(t *testing.T, s backends.Session) {
	t.Helper()
	if err := c.Driver.Logout(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestOpenNebulaGoesAndComesBack(t *testing.T) {
	c, sim := newOpenNebula(t)
	feeds, ctx := newFeeds(t, feed.Config{})
	s := c.login(t).Session
	lease := feeds.Acquire(c.Backend, owner, s)
	kept, gone := c.put(), c.put()
	f := c.follow(ctx, t, lease.Feed(), s)
	sim.Close()
	f.until(ofType(feed.BackendDown))
	c.put()
	c.change(kept)
	c.remove(gone)
	if err := sim.Restart(); err != nil {
		t.Fatal(err)
	}
	f.until(ofType(feed.BackendUp))
	f.untilSame(c.truth(t, s))
}

// TestXapiRestarts: its sessions end with it, its tokens and references begin anew. Whoever logs in
// again follows on from where it was.
func TestXapiRestarts(t *testing.T) {
	c, sim := newXenAPI(t)
	feeds, ctx := newFeeds(t, feed.Config{})
	s := c.login(t).Session
	lease := feeds.Acquire(c.Backend, owner, s)
	kept, gone := c.put(), c.put()
	f := c.follow(ctx, t, lease.Feed(), s)
	sim.Restart()
	receive(ctx, t, lease.Feed().Ended())
	c.put()
	c.change(kept)
	c.remove(gone)

	s = c.login(t).Session
	f.feed = feeds.Acquire(c.Backend, owner, s).Feed()
	f.until(about(feed.VMDeleted, c, gone))
	f.untilSame(c.truth(t, s))
}

func TestXapiLosesTheSubscription(t *testing.T) {
	c, sim := newXenAPI(t)
	feeds, ctx := newFeeds(t, feed.Config{})
	s := c.login(t).Session
	lease := feeds.Acquire(c.Backend, owner, s)
	f := c.follow(ctx, t, lease.Feed(), s)
	for _, code := range []string{"EVENT_SUBSCRIPTION_FAILURE", "EVENTS_LOST", "EVENT_FROM_TOKEN_PARSE_FAILURE"} {
		sim.FailNext("event.from", code)
		native := c.put()
		f.until(about(feed.VMCreated, c, native))
		c.change(native)
		f.until(about(feed.VMChanged, c, native))
	}
	f.untilSame(c.truth(t, s))
}

// TestAThousandListenersAskACloudOnce counts the calls that reach the backend.
func TestAThousandListenersAskACloudOnce(t *testing.T) {
	clouds(t, func(t *testing.T, c *cloud) {
		var calls atomic.Int64
		feeds, ctx := newFeeds(t, feed.Config{Observe: func(backends.Call) { calls.Add(1) }})
		s := c.login(t).Session
		native := c.put()
		before := c.watching()
		followers := make([]*listener, 1000)
		for n := range followers {
			f := feeds.Acquire(c.Backend, owner, s).Feed()
			awaitReady(ctx, t, f)
			followers[n] = listen(ctx, t, f)
		}
		c.change(native)
		for _, l := range followers {
			for changed := about(feed.VMChanged, c, native); !changed(l.next()); {
				continue
			}
		}
		// Nobody else asks: each call that came in was one of the only watcher's, and it has at
		// most one more under way than it has told of.
		if told, came := int(calls.Load()), c.watching()-before; feeds.Count() != 1 || came > told+2 {
			t.Errorf("%d watchers, %d calls, of which the watcher made %d", feeds.Count(), came, told)
		}
	})
}
