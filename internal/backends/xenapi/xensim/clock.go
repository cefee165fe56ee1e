package xensim

import (
	"sync"
	"time"
)

// Clock is the simulator's time: dates in replies and the length of operations come from it.
type Clock interface {
	Now() time.Time
	// Timer delivers once d has passed, at once when d is zero or negative. Stop it when nobody waits
	// for it any more.
	Timer(d time.Duration) (passed <-chan time.Time, stop func())
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// ManualClock is a Clock that stands still until it is advanced, so that a test decides when an
// operation ends. Safe for concurrent use.
type ManualClock struct {
	mu      sync.Mutex
	now     time.Time
	waiting map[*waiter]struct{}
	arrived chan struct{} // closed and replaced whenever somebody starts to wait
}

type waiter struct {
	at time.Time
	ch chan time.Time
}

// NewClock makes a clock that shows start until Advance is called.
func NewClock(start time.Time) *ManualClock {
	return &ManualClock{now: start, waiting: map[*waiter]struct{}{}, arrived: make(chan struct{})}
}

// Now is the time the clock shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Timer delivers once the clock has been advanced by d.
func (c *ManualClock) Timer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &waiter{at: c.now.Add(d), ch: make(chan time.Time, 1)}
	if d <= 0 {
		w.ch <- c.now
		return w.ch, func() {}
	}
	c.waiting[w] = struct{}{}
	close(c.arrived)
	c.arrived = make(chan struct{})
	return w.ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, w)
	}
}

// Advance moves the clock on by d and wakes whoever waited for less.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for w := range c.waiting {
		if !w.at.After(c.now) {
			w.ch <- c.now
			delete(c.waiting, w)
		}
	}
}

// Waiting is the number of operations and waits that only Advance will end.
func (c *ManualClock) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting)
}

// AwaitWaiting blocks until at least n operations wait for the clock, or until done is closed.
func (c *ManualClock) AwaitWaiting(n int, done <-chan struct{}) {
	for {
		c.mu.Lock()
		enough, arrived := len(c.waiting) >= n, c.arrived
		c.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-arrived:
		case <-done:
			return
		}
	}
}
