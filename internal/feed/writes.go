package feed

import (
	"maps"
	"sync"
	"time"
)

const (
	// writesKept is for how long a write is remembered: by then nothing is read from what was known
	// before it.
	writesKept = time.Hour
	// writesSwept is from how many owners on those are looked for whose writes need not be kept.
	writesSwept = 1024
)

// writes is when each owner last changed something through this gateway.
type writes struct {
	now func() time.Time

	mu      sync.Mutex
	by      map[string]*written
	sweepAt int
}

type written struct {
	underWay int
	ended    time.Time // of the last that has ended
}

func newWrites(now func() time.Time) *writes {
	return &writes{now: now, by: map[string]*written{}, sweepAt: writesSwept}
}

// begin notes that owner changes something, until end is called.
func (w *writes) begin(owner string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, known := w.by[owner]
	if !known {
		w.sweep()
		one = &written{}
		w.by[owner] = one
	}
	one.underWay++
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		one.underWay--
		one.ended = w.now()
	})
}

// seen reports whether what was read at asOf has all that owner wrote.
func (w *writes) seen(owner string, asOf time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	one, known := w.by[owner]
	return !known || one.underWay == 0 && asOf.After(one.ended)
}

// sweep forgets old writes, whenever there are twice as many as it left the last time. w is locked.
func (w *writes) sweep() {
	if len(w.by) < w.sweepAt {
		return
	}
	now := w.now()
	maps.DeleteFunc(w.by, func(_ string, one *written) bool {
		return one.underWay == 0 && now.Sub(one.ended) > writesKept
	})
	w.sweepAt = max(writesSwept, 2*len(w.by))
}
