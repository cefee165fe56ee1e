package feed

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"vmgateway/internal/backends"
)

// Config is how feeds behave. The zero value of each member stands for its default.
type Config struct {
	// Log is how many events a feed keeps: 10,000, and always twice as many as there are VMs, so
	// that one poll in which every VM changed cuts nobody off. LogBytes bounds their data: 64 MiB.
	Log      int
	LogBytes int
	// Linger is how long a feed goes on that nobody uses, and how long one that ended with its session
	// is kept for the owner's next: 60 s.
	Linger time.Duration
	// MaxVMs is how many VMs all feeds may know together: 1,000,000. A feed whose VMs do not fit as
	// well is down until they do, and knows none meanwhile.
	MaxVMs int
	// Backoff is how long to wait before the backend is asked again, after attempt failures in a
	// row (from 0): 0.5 s to 30 s, doubling, of which up to a half is left off by chance.
	Backoff func(attempt int) time.Duration
	// Now and Timer are the clock: time's. Timer's second result gives the timer up.
	Now   func() time.Time
	Timer func(time.Duration) (<-chan time.Time, func())
	// Observe is told of each call that a watcher makes.
	Observe func(backends.Call)
	// Health is told when a backend can no longer be watched (err says why, for the log), and with
	// nil when it can again.
	Health func(backend string, err error)

	room *room
}

func (c Config) withDefaults() *Config {
	if c.Log <= 0 {
		c.Log = 10_000
	}
	if c.LogBytes <= 0 {
		c.LogBytes = 64 << 20
	}
	if c.Linger <= 0 {
		c.Linger = time.Minute
	}
	if c.MaxVMs <= 0 {
		c.MaxVMs = 1_000_000
	}
	c.room = &room{most: int64(c.MaxVMs)}
	if c.Backoff == nil {
		c.Backoff = backoff
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Timer == nil {
		c.Timer = timer
	}
	if c.Observe == nil {
		c.Observe = func(backends.Call) {}
	}
	if c.Health == nil {
		c.Health = func(string, error) {}
	}
	return &c
}

func backoff(attempt int) time.Duration {
	const least, most = 500 * time.Millisecond, 30 * time.Second
	d := min(least<<min(attempt, 10), most)
	return d - rand.N(d/2)
}

func timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Feeds is every feed that runs. It is safe for concurrent use.
type Feeds struct {
	cfg      *Config
	writes   *writes
	watchers sync.WaitGroup

	closing chan struct{}

	mu     sync.Mutex       // taken before a Feed's
	feeds  map[string]*Feed // by owner; also those that wait for an heir
	closed bool
}

// New makes an empty Feeds.
func New(c Config) *Feeds {
	cfg := c.withDefaults()
	return &Feeds{cfg: cfg, writes: newWrites(cfg.Now), closing: make(chan struct{}), feeds: map[string]*Feed{}}
}

// Lease keeps a feed running for one user of it.
type Lease struct {
	feed    *Feed
	release func()
}

// Feed is what the lease is for.
func (l *Lease) Feed() *Feed { return l.feed }

// Release ends the lease; again, it does nothing. The feed can be read on, for as long as it runs.
func (l *Lease) Release() { l.release() }

// Acquire gives the feed of owner, which names a user at one backend, and starts it for its first
// user. All sessions of an owner share one feed: when the backend ends the one it watches with, it
// goes on with another that is leased. When there is none it ends, and the feed of the owner's next
// session goes on in its place: positions stay good, and what changed in between is told. After
// Close the feed has ended already.
func (fs *Feeds) Acquire(b *backends.Backend, owner string, s backends.Session) *Lease {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.feeds[owner]
	if f == nil || !f.join(s) {
		f = fs.start(owner, b, s, f)
	}
	return &Lease{feed: f, release: sync.OnceFunc(func() {
		if idle := f.leave(s); idle != nil {
			fs.watchers.Go(func() { fs.stopIdle(owner, f, idle) })
		}
	})}
}

// start makes a feed with its first user, and runs its watcher; old, which may be nil, had its place.
// fs is locked.
func (fs *Feeds) start(owner string, b *backends.Backend, s backends.Session, old *Feed) *Feed {
	ctx, cancel := context.WithCancel(backends.WithObserver(context.Background(), fs.cfg.Observe))
	f := newFeed(fs.cfg, b, cancel)
	f.join(s)
	if old != nil && old.lostSession() {
		f.inherit(old)
	}
	if fs.closed {
		f.end(errClosed)
		return f
	}
	fs.feeds[owner] = f
	fs.watchers.Go(func() {
		f.run(ctx)
		fs.retire(owner, f)
	})
	return f
}

// stopIdle ends f, which lost its last user, unless it has a user again before Linger is over.
func (fs *Feeds) stopIdle(owner string, f *Feed, idle <-chan struct{}) {
	over, stop := fs.cfg.Timer(fs.cfg.Linger)
	defer stop()
	select {
	case <-idle:
	case <-f.Ended():
	case <-over:
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if f.idleSince(idle) {
			f.end(errIdle)
			fs.remove(owner, f)
		}
	}
}

// retire takes f away, which has ended; one that could have an heir only when nobody has taken its
// place in time.
func (fs *Feeds) retire(owner string, f *Feed) {
	if f.lostSession() {
		over, stop := fs.cfg.Timer(fs.cfg.Linger)
		defer stop()
		select {
		case <-f.inherited:
		case <-fs.closing:
		case <-over:
		}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.forget(0)
	fs.remove(owner, f)
}

// remove takes f away, unless another has its place. fs is locked.
func (fs *Feeds) remove(owner string, f *Feed) {
	if fs.feeds[owner] == f {
		delete(fs.feeds, owner)
	}
}

// Running gives the feed of owner, if it runs.
func (fs *Feeds) Running(owner string) (*Feed, bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f, ok := fs.feeds[owner]
	if !ok || f.Err() != nil {
		return nil, false
	}
	return f, true
}

// Writing notes that owner begins to change something at its backend, until end is called: when the
// call has ended, however it did, and before its answer is told. It is for every call that may change
// something, and for [Feeds.Seen].
func (fs *Feeds) Writing(owner string) (end func()) { return fs.writes.begin(owner) }

// Seen reports whether what was read from the backend at asOf has all that owner changed through
// this gateway. While a change is under way it is false.
func (fs *Feeds) Seen(owner string, asOf time.Time) bool { return fs.writes.seen(owner, asOf) }

// Snapshot is what the watcher of owner knows, if it is not older than maxAge and has all that owner
// changed through this gateway. It never asks the backend, nor begins to watch it.
func (fs *Feeds) Snapshot(owner string, maxAge time.Duration) (Snapshot, bool) {
	f, ok := fs.Running(owner)
	if !ok {
		return Snapshot{}, false
	}
	s, ok := f.Mirror()
	if !ok || s.Age(fs.cfg.Now()) > maxAge || !fs.Seen(owner, s.AsOf) {
		return Snapshot{}, false
	}
	return s, true
}

// Mirrored is how many VMs all feeds know together.
func (fs *Feeds) Mirrored() int { return int(fs.cfg.room.used.Load()) }

// Count is how many feeds run: as many watchers ask backends.
func (fs *Feeds) Count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := 0
	for _, f := range fs.feeds {
		if f.Err() == nil {
			n++
		}
	}
	return n
}

// Close ends every feed and waits until all watchers have returned, or for ctx, whose error it
// gives then.
func (fs *Feeds) Close(ctx context.Context) error {
	fs.mu.Lock()
	if !fs.closed {
		fs.closed = true
		close(fs.closing)
	}
	for owner, f := range fs.feeds {
		f.end(errClosed)
		fs.remove(owner, f)
	}
	fs.mu.Unlock()

	done := make(chan struct{})
	go func() {
		fs.watchers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
