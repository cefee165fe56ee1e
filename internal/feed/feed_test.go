package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

const (
	running = backends.StateRunning
	stopped = backends.StateStopped
)

func data(kind string, v *backends.VM, changed ...string) string {
	text, _ := json.Marshal(v)
	if kind != feed.VMChanged {
		return fmt.Sprintf(`%s {"backend":"one","vm":%s}`, kind, text)
	}
	names, _ := json.Marshal(changed)
	return fmt.Sprintf(`%s {"backend":"one","vm":%s,"changed":%s}`, kind, text, names)
}

func deleted(native string) string {
	return fmt.Sprintf(`vm.deleted {"backend":"one","id":"one.%s"}`, native)
}

func withTarget(v *backends.VM, bytes int64) *backends.VM {
	c := *v
	c.Memory = &backends.Memory{DynamicMaxBytes: new(int64(1 << 30)), TargetBytes: &bytes}
	return &c
}

func TestBatchesBecomeEvents(t *testing.T) {
	known := []*backends.VM{vm("1", running), vm("2", stopped), withTarget(vm("3", running), 5)}
	hosted := vm("1", stopped)
	hosted.Host = &backends.Ref{ID: id("7"), DisplayName: "h7"}
	for _, c := range []struct {
		name  string
		batch backends.Batch
		want  []string
	}{
		{"nothing", backends.Batch{}, nil},
		{"a VM is made", backends.Batch{VMs: []*backends.VM{vm("4", running)}}, []string{data(feed.VMCreated, vm("4", running))}},
		{"a VM changes", backends.Batch{VMs: []*backends.VM{hosted}}, []string{data(feed.VMChanged, hosted, "state", "host")}},
		{"a VM is as before", backends.Batch{VMs: []*backends.VM{vm("1", running)}}, nil},
		{"a sample differs", backends.Batch{VMs: []*backends.VM{withTarget(vm("3", running), 6)}}, nil},
		{"a VM goes", backends.Batch{Gone: []backends.ID{id("2")}}, []string{deleted("2")}},
		{"an unknown VM goes", backends.Batch{Gone: []backends.ID{id("9")}}, nil},
		{"all is as before", backends.Batch{Complete: true, VMs: known}, nil},
		{
			"all is told anew",
			backends.Batch{Complete: true, VMs: []*backends.VM{vm("3", stopped), vm("5", running)}},
			[]string{
				deleted("1"), deleted("2"),
				data(feed.VMChanged, vm("3", stopped), "state", "memory"), data(feed.VMCreated, vm("5", running)),
			},
		},
		{"all are gone", backends.Batch{Complete: true}, []string{deleted("1"), deleted("2"), deleted("3")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, feed.Config{})
			_, l := w.ready(known...)
			w.step(c.batch)
			w.step(backends.Batch{VMs: []*backends.VM{vm("end", running)}})
			l.want(append(c.want, data(feed.VMCreated, vm("end", running)))...)
			l.none()
		})
	}
}

func TestAnEventSaysWhatItIsAbout(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready()
	w.step(backends.Batch{VMs: []*backends.VM{vm("1", running)}})
	w.step(backends.Batch{Gone: []backends.ID{id("1")}})
	created, gone := l.next(), l.next()
	for _, e := range []feed.Event{created, gone} {
		if e.VM != id("1") || e.Backend != "one" || !e.Time.Equal(w.clock.Now()) {
			t.Errorf("event %+v", e)
		}
	}
	if gone.Seq != created.Seq+1 {
		t.Errorf("numbers %d, %d do not follow each other", created.Seq, gone.Seq)
	}
	lease.Feed().Publish(feed.Event{Type: feed.OperationChanged, VM: id("1"), Data: json.RawMessage(`{"operation":1}`)})
	if e := l.next(); e.Backend != "one" || e.VM != id("1") || e.Seq != gone.Seq+1 || e.Time.IsZero() {
		t.Errorf("published event %+v", e)
	}
}

func TestAVMThatJSONCannotHoldIsStillToldOf(t *testing.T) {
	w := newWorld(t, feed.Config{})
	_, l := w.ready(vm("1", running))
	odd, told := vm("1", running), vm("1", running)
	odd.CPU, told.CPU = &backends.CPU{Share: new(math.NaN())}, &backends.CPU{}
	w.step(backends.Batch{VMs: []*backends.VM{odd}})
	l.want(data(feed.VMChanged, told, "cpu"))
}

func TestAPositionFromBeforeTheFirstSnapshotIsTooOld(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	f := lease.Feed()
	before := f.Position()
	changed := f.Changed()
	if events, next, ok := f.After(before, 0); len(events) > 0 || next != before || !ok {
		t.Fatalf("After on an empty feed gave %v, %v, %t", events, next, ok)
	}
	w.began()
	w.step(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}})
	receive(w.ctx, t, f.Ready())
	receive(w.ctx, t, changed)
	_, next, ok := f.After(before, 0)
	if ok || next != f.Position() {
		t.Errorf("the position from before the snapshot: ok %t, next %v, want resync at %v", ok, next, f.Position())
	}
}

func TestPositionsTheFeedDoesNotKnow(t *testing.T) {
	w := newWorld(t, feed.Config{Log: 100})
	lease, l := w.ready()
	begin := l.at
	for n := range 1000 {
		w.step(backends.Batch{VMs: []*backends.VM{vm(fmt.Sprint(n%10), backends.State(fmt.Sprint(n)))}})
		l.next()
	}
	f, now := lease.Feed(), l.at
	other := now
	other.Epoch = begin.Epoch + "X"
	future, last := now, now
	future.Seq++
	last.Seq = math.MaxUint64
	for name, p := range map[string]feed.Position{
		"zero": {}, "another feed's": other, "from the future": future, "the last number": last, "forgotten": begin,
	} {
		if events, next, ok := f.After(p, 0); ok || len(events) > 0 || next != now {
			t.Errorf("%s: ok %t, %d events, next %v, want resync at %v", name, ok, len(events), next, now)
		}
	}
	back := now
	back.Seq -= 100
	again := &listener{ctx: w.ctx, t: t, feed: f, at: back, most: 7}
	for seq := back.Seq + 1; seq <= now.Seq; seq++ {
		if e := again.next(); e.Seq != seq {
			t.Fatalf("event %d, want %d", e.Seq, seq)
		}
	}
	again.none()
}

func TestTheLogIsBoundedInBytes(t *testing.T) {
	w := newWorld(t, feed.Config{LogBytes: 64 << 10})
	lease, l := w.ready()
	begin := l.at
	payload, err := json.Marshal(map[string]string{"text": string(make([]byte, 1<<10))})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		lease.Feed().Publish(feed.Event{Type: feed.OperationChanged, Data: payload})
	}
	if _, _, ok := lease.Feed().After(begin, 0); ok {
		t.Error("a log of 64 KiB holds a thousand events of a kilobyte")
	}
	if e, _, ok := lease.Feed().After(feed.Position{Epoch: begin.Epoch, Seq: begin.Seq + 999}, 0); !ok || len(e) != 1 {
		t.Errorf("the newest event is not kept: %d events, ok %t", len(e), ok)
	}
}

func TestOnePollInWhichEveryVMChangedCutsNobodyOff(t *testing.T) {
	w := newWorld(t, feed.Config{Log: 10})
	fleet := func(s backends.State) (vms []*backends.VM) {
		for n := range 1000 {
			vms = append(vms, vm(fmt.Sprint(n), s))
		}
		return vms
	}
	_, l := w.ready(fleet(running)...)
	w.step(backends.Batch{VMs: fleet(stopped)})
	for n := range 1000 {
		if e := l.next(); e.VM != id(fmt.Sprint(n)) {
			t.Fatalf("event %d is about %v", n, e.VM)
		}
	}
}

func TestPositionsAsText(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, _ := w.ready()
	p := lease.Feed().Position()
	if back, err := feed.ParsePosition(p.String()); err != nil || back != p {
		t.Errorf("%q became %v, %v", p.String(), back, err)
	}
	for _, text := range []string{
		"", "-", "x", "x-", "-1", "x--1", "x-+1", "x-01", "x-1 ", "x-99999999999999999999", p.String()[:len(p.Epoch)],
		p.String()[:len(p.Epoch)+1],
	} {
		if back, err := feed.ParsePosition(text); err == nil {
			t.Errorf("%q became %v, want an error", text, back)
		}
	}
}

var unreachable = &backends.Error{Code: backends.BackendUnavailable, Detail: "The backend could not be reached."}

const (
	down = `backend.down {"backend":"one","code":"BACKEND_UNAVAILABLE","detail":"The backend could not be reached."}`
	up   = `backend.up {"backend":"one"}`
)

func TestWhatChangedWhileTheBackendWasDownIsTold(t *testing.T) {
	var mu sync.Mutex
	var attempts []int
	var health []error
	w := newWorld(t, feed.Config{
		Backoff: func(attempt int) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, attempt)
			return time.Duration(attempt+1) * time.Second
		},
		Health: func(_ string, err error) {
			mu.Lock()
			defer mu.Unlock()
			health = append(health, err)
		},
	})
	lease, l := w.ready(vm("1", running), vm("2", running))
	for n := range 3 {
		w.step(unreachable)
		timer := w.timer()
		if want := time.Duration(n+1) * time.Second; timer.d != want {
			t.Errorf("after failure %d it waits %s, want %s", n, timer.d, want)
		}
		if err := lease.Feed().Down(); err != unreachable {
			t.Errorf("Down is %v", err)
		}
		timer.fire()
		if s := w.began(); s.token != "t0" {
			t.Errorf("it went on from token %q, want t0", s.token)
		}
	}
	w.step(backends.Batch{Token: "t9", Complete: true, VMs: []*backends.VM{vm("2", stopped), vm("3", running)}})
	l.want(down, deleted("1"), data(feed.VMChanged, vm("2", stopped), "state"), data(feed.VMCreated, vm("3", running)), up)
	l.none()
	if err := lease.Feed().Down(); err != nil {
		t.Errorf("Down is %v, want nil", err)
	}

	w.step(nil) // the driver gave up without a reason: asked again later, never at once
	w.timer().fire()
	if s := w.began(); s.token != "t9" {
		t.Errorf("it went on from token %q, want t9", s.token)
	}
	w.clock.advance(time.Hour)
	w.step(unreachable)
	w.timer().fire()
	w.began()
	mu.Lock()
	defer mu.Unlock()
	if want := []int{0, 1, 2, 3, 0}; !slices.Equal(attempts, want) {
		t.Errorf("back-off after attempts %v, want %v: only a watch that held begins anew", attempts, want)
	}
	if len(health) != 3 || !errors.Is(health[0], unreachable) || health[1] != nil || health[2] == nil {
		t.Errorf("told of health %v", health)
	}
}

func TestABackendThatIsDownFromTheStart(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease := w.acquire("s1")
	l := listen(w.ctx, t, lease.Feed())
	w.began()
	w.step(unreachable)
	l.want(down)
	w.timer().fire()
	w.began()
	w.step(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}})
	receive(w.ctx, t, lease.Feed().Ready())
	if _, _, ok := lease.Feed().After(l.at, 0); ok {
		t.Error("a listener from before the first snapshot was not told to read anew")
	}
}

var sessionEnded = &backends.Error{Code: backends.BackendSessionEnded, Detail: "The backend ended the session."}

func TestTheBackendEndsTheSession(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running), vm("2", running))
	w.step(backends.Batch{Token: "t1", VMs: []*backends.VM{vm("1", stopped)}})
	w.step(sessionEnded)
	receive(w.ctx, t, lease.Feed().Ended())
	if err := lease.Feed().Err(); backends.CodeOf(err) != backends.BackendSessionEnded {
		t.Errorf("Err is %v", err)
	}
	if _, ok := w.feeds.Running(owner); ok || w.feeds.Count() != 0 {
		t.Error("an ended feed runs")
	}
	lease.Feed().Publish(feed.Event{Type: feed.OperationChanged}) // too late

	again := w.acquire("s2")
	if s := w.began(); s.session.Reveal() != "s2" || s.token != "t1" {
		t.Error("the new session's feed does not go on where the old one was")
	}
	lease.Release()
	if f, ok := w.feeds.Running(owner); !ok || f != again.Feed() {
		t.Error("releasing the old feed's lease took the new feed away")
	}
	w.step(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", stopped)}})
	resumed := &listener{ctx: w.ctx, t: t, feed: again.Feed(), at: l.at}
	resumed.want(data(feed.VMChanged, vm("1", stopped), "state"), deleted("2"))
	resumed.none()
	l.want(data(feed.VMChanged, vm("1", stopped), "state")) // the old feed can be read to its end
	l.none()
}

func TestAnEndedFeedIsNotKeptForLong(t *testing.T) {
	w := newWorld(t, feed.Config{Linger: time.Minute})
	lease, l := w.ready()
	w.step(sessionEnded)
	timer := w.timer()
	if timer.d != time.Minute {
		t.Errorf("it is kept for %s", timer.d)
	}
	timer.fire()
	receive(w.ctx, t, timer.stopped)
	lease.Release()
	again := w.acquire("s2")
	if s := w.began(); s.token != "" {
		t.Errorf("the new feed goes on from token %q", s.token)
	}
	if _, _, ok := again.Feed().After(l.at, 0); ok {
		t.Error("a feed that begins anew knows a position of the old one")
	}
}

func TestAFeedGoesOnWithAnotherSession(t *testing.T) {
	w := newWorld(t, feed.Config{})
	first, l := w.ready(vm("1", running))
	second, third := w.acquire("s2"), w.acquire("s3")
	if second.Feed() != first.Feed() || w.feeds.Count() != 1 {
		t.Fatal("two sessions of one owner have two feeds")
	}
	second.Release() // s2 is nobody's any more
	first.Release()
	w.step(sessionEnded)
	if s := w.began(); s.session.Reveal() != "s3" || s.token != "t0" {
		t.Error("the feed did not go on with the session that is left, from where it was")
	}
	w.step(backends.Batch{VMs: []*backends.VM{vm("1", stopped)}})
	l.want(data(feed.VMChanged, vm("1", stopped), "state"))
	l.none()
	w.step(sessionEnded)
	receive(w.ctx, t, third.Feed().Ended())
}

func TestABackendThatCannotBeWatched(t *testing.T) {
	feeds := feed.New(feed.Config{})
	b := &backends.Backend{Name: "old", DisplayName: "Old", Driver: struct{ backends.Driver }{}}
	lease := feeds.Acquire(b, "old\x00alice", backends.NewSession("s"))
	receive(t.Context(), t, lease.Feed().Ended())
	if err := lease.Feed().Err(); backends.CodeOf(err) != backends.UnsupportedByBackend {
		t.Errorf("Err is %v", err)
	}
	if err := feeds.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAFeedLingersAndStops(t *testing.T) {
	w := newWorld(t, feed.Config{Linger: time.Minute})
	lease, l := w.ready()
	second := w.acquire("s1")
	lease.Release()
	lease.Release() // once is enough
	second.Release()
	timer := w.timer()
	if timer.d != time.Minute {
		t.Errorf("it lingers for %s", timer.d)
	}
	w.step(backends.Batch{VMs: []*backends.VM{vm("1", running)}})
	l.want(data(feed.VMCreated, vm("1", running)))

	third := w.acquire("s1")
	if third.Feed() != lease.Feed() {
		t.Fatal("a lingering feed was not taken up again")
	}
	receive(w.ctx, t, timer.stopped)
	third.Release()
	timer = w.timer()
	timer.fire()
	receive(w.ctx, t, lease.Feed().Ended())
	receive(w.ctx, t, w.source.done)
	if _, ok := w.feeds.Running(owner); ok || w.feeds.Count() != 0 {
		t.Error("a stopped feed runs")
	}
	if len(w.source.began) > 0 {
		t.Error("the backend was watched more than once")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, _ := w.ready()
	if err := w.feeds.Close(w.ctx); err != nil {
		t.Fatal(err)
	}
	receive(w.ctx, t, w.source.done)
	receive(w.ctx, t, lease.Feed().Ended())
	lease.Release()
	late := w.acquire("s1")
	receive(w.ctx, t, late.Feed().Ended())
	late.Release()
	for _, l := range []*feed.Lease{lease, late} {
		if err := l.Feed().Err(); backends.CodeOf(err) != backends.BackendUnavailable {
			t.Errorf("Err is %v", err)
		}
	}
	if len(w.source.began) > 0 {
		t.Error("a closed Feeds watched a backend")
	}
}

func TestCloseDoesNotWaitForever(t *testing.T) {
	release := make(chan struct{})
	stuck := &stuckDriver{began: make(chan struct{}), release: release}
	feeds := feed.New(feed.Config{})
	lease := feeds.Acquire(&backends.Backend{Name: "one", Driver: stuck}, owner, backends.NewSession("s"))
	<-stuck.began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := feeds.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close gave %v", err)
	}
	receive(t.Context(), t, lease.Feed().Ended())
	close(release)
	if err := feeds.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// stuckDriver is a watcher that does not notice that its context has ended.
type stuckDriver struct {
	backends.Driver
	began   chan struct{}
	release <-chan struct{}
}

func (d *stuckDriver) Watch(context.Context, backends.Session, string, func(backends.Batch) error) error {
	close(d.began)
	<-d.release
	return nil
}

func TestSubscribersGetBatches(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running), vm("2", running))
	got := make(chan backends.Batch, 10)
	cancel := lease.Feed().Subscribe(func(b backends.Batch) {
		if p := lease.Feed().Position(); p.Seq == l.at.Seq && len(b.Tasks) == 0 {
			t.Error("the batch came before its events")
		}
		got <- b
	})
	w.step(backends.Batch{Token: "t1", Tasks: []backends.TaskChange{{Name: "x", Ended: true}}})
	if b := receive(w.ctx, t, got); len(b.Tasks) != 1 || b.Tasks[0].Name != "x" {
		t.Errorf("batch %+v", b)
	}
	w.step(backends.Batch{Complete: true, VMs: []*backends.VM{vm("2", stopped)}})
	if b := receive(w.ctx, t, got); !slices.Equal(b.Gone, []backends.ID{id("1")}) || len(b.VMs) != 1 || !b.Complete {
		t.Errorf("batch %+v", b)
	}
	cancel()
	w.step(backends.Batch{VMs: []*backends.VM{vm("2", running)}})
	l.want(deleted("1"), data(feed.VMChanged, vm("2", stopped), "state"), data(feed.VMChanged, vm("2", running), "state"))
	w.step(backends.Batch{})
	if len(got) > 0 {
		t.Error("a batch came after cancel")
	}
}

func TestAThousandListenersCostOneWatcher(t *testing.T) {
	const listeners, rounds = 1000, 20
	w := newWorld(t, feed.Config{})
	lease, _ := w.ready()
	lagging := lease.Feed().Position()
	var wg sync.WaitGroup
	for n := range listeners {
		l := w.acquire("s1")
		r := listen(w.ctx, t, l.Feed())
		r.most = n % 7
		wg.Go(func() {
			defer l.Release()
			for at := range rounds * 100 {
				if !r.tryNext(id(fmt.Sprint(at))) {
					return
				}
			}
		})
	}
	for n := range rounds {
		var b backends.Batch
		for i := range 100 {
			b.VMs = append(b.VMs, vm(fmt.Sprint(n*100+i), running))
		}
		w.step(b)
	}
	wg.Wait()
	if len(w.source.began) > 0 || w.feeds.Count() != 1 {
		t.Error("more than one watcher ran")
	}
	late := &listener{ctx: w.ctx, t: t, feed: lease.Feed(), at: lagging}
	for range rounds * 100 {
		late.next()
	}
	late.none()
}

// tryNext awaits the event of vm, and says in t what came instead; unlike next it may be called in
// any goroutine.
func (l *listener) tryNext(vm backends.ID) bool {
	for len(l.got) == 0 {
		changed := l.feed.Changed()
		events, next, ok := l.feed.After(l.at, l.most)
		if !ok {
			l.t.Errorf("position %v is lost", l.at)
			return false
		}
		if l.got, l.at = events, next; len(events) > 0 {
			break
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			l.t.Error("no event came")
			return false
		}
	}
	got := l.got[0].VM
	l.got = l.got[1:]
	if got != vm {
		l.t.Errorf("event of %v, want %v", got, vm)
	}
	return got == vm
}

func TestLeasesComeAndGoAtOnce(t *testing.T) {
	w := newWorld(t, feed.Config{})
	go func() { // whoever waits for a timer waits no longer than that
		for {
			select {
			case timer := <-w.clock.timers:
				timer.fire()
			case <-w.ctx.Done():
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 200 {
				l := w.acquire(fmt.Sprint("s", n%3))
				select {
				case w.source.steps <- []any{backends.Batch{Complete: true}, unreachable, sessionEnded}[n%3]:
				case <-l.Feed().Ended():
				case <-w.ctx.Done():
					t.Error("a leased feed neither watched nor ended")
				}
				l.Release()
			}
		})
	}
	go func() {
		for {
			select {
			case <-w.source.began:
			case <-w.source.done:
			case <-w.ctx.Done():
				return
			}
		}
	}()
	wg.Wait()
}
