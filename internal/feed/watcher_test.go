package feed_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

// source is a watcher whose batches and errors the test hands in: what no simulator can be brought
// to do. It has no other method of a driver.
type source struct {
	backends.Driver
	began chan start // one for each call of Watch
	steps chan any   // backends.Batch to emit, or an error (nil too) to return with
	done  chan error // what ended a Watch that its context ended
}

type start struct {
	session backends.Session
	token   string
}

func newSource() *source {
	return &source{began: make(chan start, 100), steps: make(chan any), done: make(chan error, 100)}
}

func (s *source) Watch(ctx context.Context, session backends.Session, token string, emit func(backends.Batch) error) error {
	s.began <- start{session, token}
	for {
		select {
		case <-ctx.Done():
			s.done <- ctx.Err()
			return ctx.Err()
		case step := <-s.steps:
			b, isBatch := step.(backends.Batch)
			if !isBatch {
				err, _ := step.(error)
				return err
			}
			if err := emit(b); err != nil {
				s.done <- err
				return err
			}
		}
	}
}

// clock is time that the test moves.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers chan *manualTimer
}

type manualTimer struct {
	d       time.Duration
	c       chan time.Time
	stopped chan struct{}
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), timers: make(chan *manualTimer, 100)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Timer hands the timer to the test, which fires it.
func (c *clock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := &manualTimer{d: d, c: make(chan time.Time, 1), stopped: make(chan struct{})}
	c.timers <- t
	return t.c, sync.OnceFunc(func() { close(t.stopped) })
}

func (t *manualTimer) fire() { t.c <- time.Time{} }

// world is feeds over one source.
type world struct {
	t       *testing.T
	ctx     context.Context
	source  *source
	clock   *clock
	backend *backends.Backend
	feeds   *feed.Feeds
}

const owner = "one\x00alice"

func newWorld(t *testing.T, c feed.Config) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // the cleanup needs it
	w := &world{t: t, ctx: ctx, source: newSource(), clock: newClock()}
	w.backend = &backends.Backend{Name: "one", DisplayName: "Lab", Driver: w.source}
	c.Now, c.Timer = w.clock.Now, w.clock.Timer
	w.feeds = feed.New(c)
	t.Cleanup(func() {
		if err := w.feeds.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		cancel()
	})
	return w
}

func (w *world) acquire(session string) *feed.Lease {
	return w.feeds.Acquire(w.backend, owner, backends.NewSession(session))
}

// began awaits the next call of Watch.
func (w *world) began() start {
	w.t.Helper()
	return receive(w.ctx, w.t, w.source.began)
}

func (w *world) step(step any) {
	w.t.Helper()
	select {
	case w.source.steps <- step:
	case <-w.ctx.Done():
		w.t.Fatal("nobody watches")
	}
}

// timer awaits the next timer that is set.
func (w *world) timer() *manualTimer {
	w.t.Helper()
	return receive(w.ctx, w.t, w.clock.timers)
}

// ready is a feed that knows vms, and a listener that begins there.
func (w *world) ready(vms ...*backends.VM) (*feed.Lease, *listener) {
	w.t.Helper()
	lease := w.acquire("s1")
	w.began()
	w.step(backends.Batch{Token: "t0", Complete: true, VMs: vms})
	receive(w.ctx, w.t, lease.Feed().Ready())
	return lease, listen(w.ctx, w.t, lease.Feed())
}

func receive[T any](ctx context.Context, t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	return v
}

// listener reads a feed event by event.
type listener struct {
	ctx  context.Context
	t    testing.TB
	feed *feed.Feed
	at   feed.Position
	most int
	got  []feed.Event
}

func listen(ctx context.Context, t testing.TB, f *feed.Feed) *listener {
	return &listener{ctx: ctx, t: t, feed: f, at: f.Position()}
}

// next awaits one event.
func (l *listener) next() feed.Event {
	l.t.Helper()
	for len(l.got) == 0 {
		changed := l.feed.Changed()
		events, next, ok := l.feed.After(l.at, l.most)
		if !ok {
			l.t.Fatalf("the feed no longer knows position %v: it is at %v", l.at, next)
		}
		if l.got, l.at = events, next; len(events) > 0 {
			break
		}
		select {
		case <-changed:
		case <-l.feed.Ended():
			l.t.Fatalf("the feed ended: %v", l.feed.Err())
		case <-l.ctx.Done():
			l.t.Fatalf("no event came; the backend is down: %v", l.feed.Down())
		}
	}
	e := l.got[0]
	l.got = l.got[1:]
	return e
}

// none fails when an event is there.
func (l *listener) none() {
	l.t.Helper()
	events, _, ok := l.feed.After(l.at, 0)
	if pending := slices.Concat(l.got, events); len(pending) > 0 || !ok {
		l.t.Fatalf("events %s (ok %t), want none", summaries(pending), ok)
	}
}

// want awaits events and compares their summaries.
func (l *listener) want(summaries ...string) {
	l.t.Helper()
	for _, want := range summaries {
		if got := summary(l.next()); got != want {
			l.t.Fatalf("event %s, want %s", got, want)
		}
	}
}

func summary(e feed.Event) string { return e.Type + " " + string(e.Data) }

func summaries(events []feed.Event) (out []string) {
	for _, e := range events {
		out = append(out, summary(e))
	}
	return out
}

func id(native string) backends.ID { return backends.ID{Backend: "one", Native: native} }

func vm(native string, state backends.State) *backends.VM {
	return &backends.VM{ID: id(native), Backend: "one", State: state}
}
