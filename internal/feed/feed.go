package feed

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"sync/atomic"

	"vmgateway/internal/backends"
)

// Why a feed ends when it is not the backend that ends it.
var (
	errClosed = &backends.Error{Code: backends.BackendUnavailable, Detail: "The gateway is shutting down."}
	errIdle   = &backends.Error{Code: backends.BackendUnavailable, Detail: "Nobody followed the backend any more."}
)

// Feed is what one login sees happen at its backend. It is safe for concurrent use.
type Feed struct {
	cfg       *Config
	backend   *backends.Backend
	epoch     string
	cancel    context.CancelFunc // of the watcher's context
	ready     chan struct{}
	ended     chan struct{}
	inherited chan struct{} // closed when another feed goes on in this one's place

	// The watcher's alone.
	known  fleet
	keeper *keeper // of the VMs in known
	whole  bool    // known is all there is
	token  string
	held   int // the share of known in all that feeds may know
	needs  int // how many VMs there were when they did not fit

	mirror  atomic.Pointer[Snapshot] // of known, while a watch goes on that has told how old it is
	current atomic.Pointer[fleet]    // known, once it is whole, also while the backend is down

	mu          sync.Mutex
	log         eventLog
	changed     chan struct{} // nil when nobody waits
	down        *backends.Error
	err         *backends.Error
	sessions    []leased // the first is watched with
	users       int
	idle        chan struct{} // closed when there is a user again
	subscribers []*func(backends.Batch)
	shown       sightings
}

// leased is a session and how many leases were made with it.
type leased struct {
	session backends.Session
	users   int
}

func newFeed(cfg *Config, b *backends.Backend, cancel context.CancelFunc) *Feed {
	return &Feed{
		cfg: cfg, backend: b, epoch: rand.Text(), cancel: cancel,
		ready: make(chan struct{}), ended: make(chan struct{}), inherited: make(chan struct{}),
		keeper: newKeeper(), log: newEventLog(cfg.Log, cfg.LogBytes),
	}
}

// inherit makes f, which has not begun, go on where old ended.
func (f *Feed) inherit(old *Feed) {
	old.mu.Lock()
	defer old.mu.Unlock()
	f.epoch, f.ready, f.down, f.log = old.epoch, old.ready, old.down, old.log.clone()
	f.known, f.whole, f.token, f.held = old.known, old.whole, old.token, old.held
	f.current.Store(old.current.Load())
	f.shown, old.shown = old.shown, sightings{}
	old.known, old.held = fleet{}, 0
	close(old.inherited)
}

// lostSession reports whether f ended because no session was left.
func (f *Feed) lostSession() bool { return backends.CodeOf(f.Err()) == backends.BackendSessionEnded }

// Ready is closed once the feed knows all VMs that there are. A change before that gives no event;
// a position from before that is too old afterwards, so that nobody misses it.
func (f *Feed) Ready() <-chan struct{} { return f.ready }

// Position is behind the newest event. What is read from the backend after it was taken is at
// least as new: list, then follow from here, and nothing is missed.
func (f *Feed) Position() Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position(f.log.next - 1)
}

func (f *Feed) position(seq uint64) Position { return Position{Epoch: f.epoch, Seq: seq} }

// After gives at most limit events behind p (limit < 1: as many as it likes to), and the position
// behind them. It may give fewer than there are, but gives none only at the end. ok is false when
// the feed cannot tell all that happened since p: its log no longer reaches back, or p is of another
// feed or from the future. Then everything has to be read anew, and followed from next.
func (f *Feed) After(p Position, limit int) (events []Event, next Position, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Epoch == f.epoch {
		events, ok = f.log.after(p.Seq, limit)
	}
	if !ok {
		return nil, f.position(f.log.next - 1), false
	}
	return events, f.position(p.Seq + uint64(len(events))), true
}

// Mirror is what the watcher knows; false while that may be out of date for longer than until the
// watcher has asked again: before the first batch of a watch, while the backend is down, after the
// end. It never waits. Events are appended after what they tell of is in the mirror: whoever has
// read one, or has taken a position before, does not miss anything in between.
func (f *Feed) Mirror() (Snapshot, bool) {
	s := f.mirror.Load()
	if s == nil || f.hasEnded() {
		return Snapshot{}, false
	}
	return *s, true
}

func (f *Feed) hasEnded() bool {
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// Changed is closed when something is appended. Take it before After: then what After has not
// given will close it.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

// Publish appends an event of the caller's. Seq, Time and Backend are set here. A feed that has ended
// takes none.
func (f *Feed) Publish(e Event) { f.append([]Event{e}) }

func (f *Feed) append(events []Event) {
	if len(events) == 0 {
		return
	}
	now := f.cfg.Now().UTC()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return // its heir counts on
	}
	for _, e := range events {
		e.Time, e.Backend = now, f.backend.Name
		f.log.append(e)
	}
	f.wake()
}

// wake tells all who wait. f is locked.
func (f *Feed) wake() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// Subscribe hands each batch of the watcher to fn, after its events are in the log; Gone then also
// names what a Complete batch shows to be gone. fn is called in the watcher's goroutine and must
// not block, nor write to the batch. One call may be under way when cancel returns.
func (f *Feed) Subscribe(fn func(backends.Batch)) (cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := &fn
	f.subscribers = append(slices.Clone(f.subscribers), entry) // the watcher reads the old one unlocked
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.subscribers = slices.DeleteFunc(slices.Clone(f.subscribers), func(e *func(backends.Batch)) bool { return e == entry })
	}
}

// Down says why the backend cannot be watched at present; nil when it can, or has not yet been
// asked.
func (f *Feed) Down() *backends.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

// Ended is closed when nothing will follow any more. Err says why.
func (f *Feed) Ended() <-chan struct{} { return f.ended }

// Err is nil while the feed runs; then BackendSessionEnded when the backend ended every session the
// feed was leased with, UnsupportedByBackend when it cannot be watched at all, and
// BackendUnavailable when the feed was stopped.
func (f *Feed) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return nil
	}
	return f.err
}

// end stops the watcher; the first reason stands.
func (f *Feed) end(reason *backends.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endLocked(reason)
}

func (f *Feed) endLocked(reason *backends.Error) {
	if f.err != nil {
		return
	}
	f.err = reason
	close(f.ended)
	f.cancel()
}

// join counts a user in; false when f has ended.
func (f *Feed) join(s backends.Session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return false
	}
	i := f.find(s)
	if i < 0 {
		f.sessions = append(f.sessions, leased{session: s})
		i = len(f.sessions) - 1
	}
	f.sessions[i].users++
	f.users++
	if f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
	return true
}

// leave counts a user out. After the last one it gives a channel that is closed when there is one
// again.
func (f *Feed) leave(s backends.Session) (idle <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.find(s); i >= 0 {
		f.sessions[i].users--
		if i > 0 && f.sessions[i].users == 0 {
			f.sessions = slices.Delete(f.sessions, i, i+1)
		}
	}
	f.users--
	if f.users > 0 || f.err != nil {
		return nil
	}
	f.idle = make(chan struct{})
	return f.idle
}

func (f *Feed) idleSince(idle <-chan struct{}) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.idle == idle
}

func (f *Feed) find(s backends.Session) int {
	return slices.IndexFunc(f.sessions, func(l leased) bool { return l.session == s })
}

// session is what to watch with.
func (f *Feed) session() backends.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[0].session
}

// sessionEnded gives up the session that was watched with, and with the last one the feed.
func (f *Feed) sessionEnded(why *backends.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) == 1 {
		f.endLocked(why)
		return
	}
	f.sessions = slices.Delete(f.sessions, 0, 1)
}
