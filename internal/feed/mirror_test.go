package feed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
	"vmgateway/internal/feed"
)

// at is a batch as of the present of the test's clock.
func (w *world) at(b backends.Batch) backends.Batch {
	b.AsOf = w.clock.Now()
	return b
}

// take hands a batch over, and returns when the feed has taken it in: then it takes the next one.
func (w *world) take(b backends.Batch) {
	w.t.Helper()
	w.step(b)
	w.step(backends.Batch{AsOf: b.AsOf, Token: b.Token})
}

func natives(vms []*backends.VM) (list []string) {
	for _, v := range vms {
		list = append(list, v.ID.Native+" "+string(v.State))
	}
	return list
}

func (w *world) mirrors(want ...string) {
	w.t.Helper()
	s, ok := w.feeds.Snapshot(owner, time.Hour)
	if !ok {
		w.t.Fatal("there is no mirror")
	}
	if got := natives(s.VMs); !slices.Equal(got, want) {
		w.t.Errorf("mirrored %q, want %q", got, want)
	}
}

func (w *world) mirrorsNothing(why string) {
	w.t.Helper()
	if s, ok := w.feeds.Snapshot(owner, time.Hour); ok {
		w.t.Errorf("%s: there is a mirror of %q", why, natives(s.VMs))
	}
}

func TestTheMirrorFollowsTheBatches(t *testing.T) {
	w := newWorld(t, feed.Config{})
	w.mirrorsNothing("nobody watches")
	lease := w.acquire("s1")
	w.began()
	w.mirrorsNothing("before the first batch")
	w.step(w.at(backends.Batch{Complete: true, VMs: []*backends.VM{vm("10", running), vm("9", stopped), vm("2", running), vm("2", stopped)}}))
	receive(w.ctx, t, lease.Feed().Ready())
	w.mirrors("2 STOPPED", "9 STOPPED", "10 RUNNING")

	w.take(w.at(backends.Batch{VMs: []*backends.VM{vm("11", running), vm("9", running), vm("0", running)}, Gone: []backends.ID{id("10"), id("77")}}))
	w.mirrors("0 RUNNING", "2 STOPPED", "9 RUNNING", "11 RUNNING")

	before, _ := lease.Feed().Mirror()
	w.take(w.at(backends.Batch{Complete: true, VMs: []*backends.VM{vm("9", stopped), vm("3", running), vm("4", running)}}))
	w.mirrors("3 RUNNING", "4 RUNNING", "9 STOPPED")
	if got := natives(before.VMs); len(got) != 4 {
		t.Errorf("a snapshot that was taken before has become %q", got)
	}
	if n := w.feeds.Mirrored(); n != 3 {
		t.Errorf("%d VMs are counted", n)
	}
}

func TestTheMirrorKeepsNothingOfADriver(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	theirs := vm("1", running)
	theirs.Host = &backends.Ref{ID: id("7"), DisplayName: "h7"}
	w.step(w.at(backends.Batch{Complete: true, VMs: []*backends.VM{theirs}}))
	receive(w.ctx, t, lease.Feed().Ready())
	s, _ := lease.Feed().Mirror()
	if ours, ok := s.Get(id("1")); !ok || ours == theirs || ours.Host == theirs.Host || ours.Host.DisplayName != "h7" {
		t.Errorf("mirrored %+v", ours)
	}
}

func TestFindingInASnapshot(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	var all []*backends.VM
	for n := 0; n < 100; n += 2 {
		all = append(all, vm(fmt.Sprint(n), running))
	}
	w.step(w.at(backends.Batch{Complete: true, VMs: all}))
	receive(w.ctx, t, lease.Feed().Ready())
	s, _ := lease.Feed().Mirror()
	for n := range 102 {
		got, found := s.Get(id(fmt.Sprint(n)))
		if want := n < 100 && n%2 == 0; found != want || found && got.ID != id(fmt.Sprint(n)) {
			t.Errorf("%d: found %t: %v", n, found, got)
		}
		if got, want := len(s.After(id(fmt.Sprint(n)))), max(0, 49-n/2); got != want {
			t.Errorf("%d VMs come after %d, want %d", got, n, want)
		}
	}
}

// TestTheMirrorIsInTheOrderOfLists compares with the order that lists have.
func TestTheMirrorIsInTheOrderOfLists(t *testing.T) {
	order, err := query.ParseOrder("", reflect.TypeFor[backends.VM]())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	var all []*backends.VM
	for _, native := range []string{
		"0", "7", "9", "10", "99", "100", "2147483647", "00a", "a", "b0", "9f", "10-x", "0b2f7c1e-0000", "0b2f7c1e", "f", "12e4",
	} {
		all = append(all, vm(native, running))
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	w.step(w.at(backends.Batch{Complete: true, VMs: all}))
	receive(w.ctx, t, lease.Feed().Ready())
	s, _ := lease.Feed().Mirror()
	slices.SortFunc(all, func(a, b *backends.VM) int { return order.Compare(a, b) })
	if got, want := natives(s.VMs), natives(all); !slices.Equal(got, want) {
		t.Errorf("mirrored %q\nlisted   %q", got, want)
	}
}

// TestRandomBatches compares the mirror with a map that the same batches are put into.
func TestRandomBatches(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, _ := w.ready()
	r := rand.New(rand.NewPCG(1, 2))
	known := map[int]backends.State{}
	for round := range 300 {
		var b backends.Batch
		if b.Complete = r.IntN(10) == 0; b.Complete {
			clear(known)
		}
		for range r.IntN(40) {
			switch n := r.IntN(120); {
			case r.IntN(3) > 0 || b.Complete:
				known[n] = backends.State(fmt.Sprint("S", round))
				b.VMs = append(b.VMs, vm(fmt.Sprint(n), known[n]))
			case !slices.ContainsFunc(b.VMs, func(v *backends.VM) bool { return v.ID == id(fmt.Sprint(n)) }):
				delete(known, n)
				b.Gone = append(b.Gone, id(fmt.Sprint(n)))
			}
		}
		b.VMs = slices.DeleteFunc(b.VMs, func(v *backends.VM) bool { return slices.Contains(b.Gone, v.ID) })
		for _, gone := range b.Gone {
			for n := range known {
				if id(fmt.Sprint(n)) == gone {
					delete(known, n)
				}
			}
		}
		w.take(w.at(b))
		s, _ := lease.Feed().Mirror()
		var want []string
		for n := range 120 {
			if state, ok := known[n]; ok {
				want = append(want, fmt.Sprint(n, " ", state))
			}
		}
		if got := natives(s.VMs); !slices.Equal(got, want) {
			t.Fatalf("round %d: mirrored %q, want %q", round, got, want)
		}
	}
}

func TestWhatNobodyCanReadStandsApart(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	damage := errors.New("damaged")
	bad := func(natives ...string) (b backends.Batch) {
		for _, n := range natives {
			b.VMs = append(b.VMs, vm(n, backends.StateUnknown))
			b.Undecodable = append(b.Undecodable, &backends.Undecodable{ID: id(n), Err: damage})
		}
		return w.at(b)
	}
	wantBad := func(want ...string) {
		t.Helper()
		s, _ := lease.Feed().Mirror()
		var got []string
		for _, u := range s.Undecodable {
			got = append(got, u.ID.Native)
			if u.Err != damage {
				t.Errorf("%s is undecodable because of %v", u.ID, u.Err)
			}
			if _, found := s.Get(u.ID); found {
				t.Errorf("%s is found", u.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("undecodable %q, want %q", got, want)
		}
	}
	first := bad("10", "2")
	first.Complete, first.VMs = true, append(first.VMs, vm("1", running))
	w.step(first)
	receive(w.ctx, t, lease.Feed().Ready())
	w.mirrors("1 RUNNING")
	wantBad("2", "10")

	w.take(bad("3"))
	w.mirrors("1 RUNNING")
	wantBad("2", "3", "10")

	w.take(w.at(backends.Batch{VMs: []*backends.VM{vm("2", running)}, Gone: []backends.ID{id("10")}}))
	w.mirrors("1 RUNNING", "2 RUNNING")
	wantBad("3")

	w.take(w.at(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}}))
	w.mirrors("1 RUNNING")
	wantBad()
}

func TestTheMirrorIsAsOldAsItSays(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	w.step(w.at(backends.Batch{Complete: true}))
	receive(w.ctx, t, lease.Feed().Ready())
	l := listen(w.ctx, t, lease.Feed())
	fresh := func(maxAge time.Duration) bool {
		s, ok := w.feeds.Snapshot(owner, maxAge)
		if ok && s.Age(w.clock.Now()) > maxAge {
			t.Errorf("a snapshot of %s ago, asked for %s", s.Age(w.clock.Now()), maxAge)
		}
		return ok
	}
	if !fresh(0) {
		t.Error("no snapshot of the present")
	}
	w.clock.advance(10 * time.Second)
	if fresh(9*time.Second) || !fresh(10*time.Second) {
		t.Error("its age is not 10 s")
	}
	if _, ok := w.feeds.Snapshot("one\x00bob", time.Hour); ok {
		t.Error("somebody else is given the snapshot")
	}
	w.take(w.at(backends.Batch{}))
	if !fresh(0) {
		t.Error("a batch without changes does not make it younger")
	}
	l.none()
	w.take(backends.Batch{VMs: []*backends.VM{vm("2", running)}})
	w.mirrorsNothing("a batch that does not say how old it is")
	w.take(w.at(backends.Batch{}))
	w.mirrors("2 RUNNING")
}

func TestThereIsNoMirrorOfABackendThatIsDown(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	w.step(w.at(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}}))
	receive(w.ctx, t, lease.Feed().Ready())
	l := listen(w.ctx, t, lease.Feed())
	w.step(unreachable)
	l.want(down)
	w.mirrorsNothing("the backend is down")
	w.timer().fire()
	w.began()
	w.mirrorsNothing("the next watch has not told anything")
	w.step(w.at(backends.Batch{Token: "t1"}))
	l.want(up)
	w.mirrors("1 RUNNING")

	second := w.acquire("s2")
	w.step(sessionEnded)
	w.began()
	w.mirrorsNothing("the session that it was watched with has ended")
	w.take(w.at(backends.Batch{VMs: []*backends.VM{vm("2", running)}}))
	l.want(data(feed.VMCreated, vm("2", running)))
	w.mirrors("1 RUNNING", "2 RUNNING")
	w.step(sessionEnded)
	receive(w.ctx, t, second.Feed().Ended())
	w.mirrorsNothing("no session is left")
	if _, ok := lease.Feed().Mirror(); ok {
		t.Error("a feed that has ended has a mirror")
	}

	w.acquire("s3")
	w.began()
	w.step(w.at(backends.Batch{VMs: []*backends.VM{vm("3", running)}})) // it goes on from the token
	l.feed = w.acquire("s3").Feed()
	l.want(data(feed.VMCreated, vm("3", running)))
	w.mirrors("1 RUNNING", "2 RUNNING", "3 RUNNING")
}

func TestNoSnapshotIsOlderThanTheLastWrite(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	w.began()
	w.step(w.at(backends.Batch{Complete: true}))
	receive(w.ctx, t, lease.Feed().Ready())
	poll := func(native string) {
		w.clock.advance(time.Second)
		w.take(w.at(backends.Batch{VMs: []*backends.VM{vm(native, running)}}))
	}
	poll("1")
	w.mirrors("1 RUNNING")
	end := w.feeds.Writing(owner)
	poll("2")
	w.mirrorsNothing("a write is under way")
	other := w.feeds.Writing(owner)
	end()
	poll("3")
	w.mirrorsNothing("another write is under way")
	sent := w.clock.Now()
	w.clock.advance(time.Second)
	other()
	other() // once is enough
	w.mirrorsNothing("the poll was sent before the write ended")
	w.take(w.at(backends.Batch{}))
	w.mirrorsNothing("the poll was sent in the instant in which the write ended")
	poll("5")
	w.mirrors("1 RUNNING", "2 RUNNING", "3 RUNNING", "5 RUNNING")
	if w.feeds.Seen(owner, sent) || !w.feeds.Seen("one\x00bob", sent) || !w.feeds.Seen(owner, w.clock.Now()) {
		t.Error("what was read before the write has it, or somebody else's has not")
	}
	w.feeds.Writing("one\x00bob")
	if _, ok := w.feeds.Snapshot(owner, time.Hour); !ok {
		t.Error("what somebody else writes takes the mirror away")
	}
}

func TestOldWritesAreForgotten(t *testing.T) {
	w := newWorld(t, feed.Config{})
	long := w.feeds.Writing("long")
	for n := range 10_000 {
		w.feeds.Writing(fmt.Sprint(n))()
		w.clock.advance(time.Second)
	}
	if !w.feeds.Seen("0", time.Time{}) {
		t.Error("a write of hours ago is remembered")
	}
	if w.feeds.Seen("9999", time.Time{}) || w.feeds.Seen("long", w.clock.Now()) {
		t.Error("a write that counts was forgotten")
	}
	long()
}

func fleetOf(n int) (vms []*backends.VM) {
	for i := range n {
		vms = append(vms, vm(fmt.Sprint(i), running))
	}
	return vms
}

func noRoom(backend string) string {
	return fmt.Sprintf(`backend.down {"backend":%q,"code":"BACKEND_UNAVAILABLE","detail":"The gateway follows as many VMs as it may (mirror.maxVms), and these do not fit as well. They can still be listed."}`, backend)
}

// following is how many VMs are known of both feeds together.
func (w *world) following(want int) {
	w.t.Helper()
	if n := w.feeds.Mirrored(); n != want {
		w.t.Errorf("%d VMs are counted, want %d", n, want)
	}
}

func TestMoreVMsThanMayBeFollowed(t *testing.T) {
	w := newWorld(t, feed.Config{MaxVMs: 100})
	first := w.acquire("s1")
	w.began()
	w.step(w.at(backends.Batch{Token: "t1", Complete: true, VMs: fleetOf(60)}))
	receive(w.ctx, t, first.Feed().Ready())
	l := listen(w.ctx, t, first.Feed())
	w.following(60)

	// Another feed comes, and has to wait until there is room for it.
	source := newSource()
	backend := &backends.Backend{Name: "two", DisplayName: "Two", Driver: source}
	second := w.feeds.Acquire(backend, "two\x00alice", backends.NewSession("s"))
	l2 := listen(w.ctx, t, second.Feed())
	receive(w.ctx, t, source.began)
	source.steps <- w.at(backends.Batch{Complete: true, VMs: fleetOf(41)})
	l2.want(noRoom("two"))
	w.following(60)
	w.timer().fire()
	again := w.timer()
	if len(source.began) > 0 {
		t.Error("VMs were read that do not fit")
	}
	w.step(w.at(backends.Batch{Complete: true, VMs: fleetOf(59)}))
	l.want(deleted("59"))
	again.fire()
	receive(w.ctx, t, source.began)
	source.steps <- w.at(backends.Batch{Complete: true, VMs: fleetOf(41)})
	receive(w.ctx, t, second.Feed().Ready())
	w.following(100)

	// The first one grows. It forgets what it knew, so that those who followed it read anew.
	w.step(w.at(backends.Batch{Token: "t2", VMs: []*backends.VM{vm("59", running)}}))
	l.want(noRoom("one"))
	w.mirrorsNothing("the VMs do not fit")
	w.following(41)
	timer := w.timer()
	source.steps <- w.at(backends.Batch{Complete: true})
	source.steps <- sessionEnded // taken when the batch before has been
	receive(w.ctx, t, second.Feed().Ended())
	w.following(0)
	timer.fire()
	if s := w.began(); s.token != "" {
		t.Errorf("what has forgotten everything goes on from token %q", s.token)
	}
	w.take(w.at(backends.Batch{Complete: true, VMs: fleetOf(60)}))
	w.following(60)
	if _, _, ok := first.Feed().After(l.at, 0); ok {
		t.Error("a listener was not told to read anew")
	}
	if s, ok := first.Feed().Mirror(); !ok || len(s.VMs) != 60 {
		t.Errorf("mirrored %q", natives(s.VMs))
	}
}

func TestReadersDoNotHoldUpTheWatcher(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, _ := w.ready(fleetOf(1000)...)
	ctx, stop := context.WithCancel(w.ctx)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				s, _ := lease.Feed().Mirror()
				if !slices.IsSortedFunc(s.VMs, func(a, b *backends.VM) int {
					if len(a.ID.Native) != len(b.ID.Native) {
						return len(a.ID.Native) - len(b.ID.Native)
					}
					return slices.Compare([]byte(a.ID.Native), []byte(b.ID.Native))
				}) {
					t.Error("a snapshot out of order")
					return
				}
			}
		})
	}
	for n := range 300 {
		w.take(w.at(backends.Batch{VMs: []*backends.VM{vm(fmt.Sprint(2000+n), running)}}))
	}
	stop()
	readers.Wait()
}
