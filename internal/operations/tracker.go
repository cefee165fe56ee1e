package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
	"vmgateway/internal/store"
)

// Config is what a Tracker needs to know. Store and Feeds are required.
type Config struct {
	Store store.Store
	Feeds *feed.Feeds
	Now   func() time.Time // nil = time.Now
	// Keep is how long an operation stays readable after its end was seen; 0 = one hour.
	Keep time.Duration
	// PerOwner is how many operations of one owner are kept; 0 = 1,000. The oldest that have ended go
	// first. Up to a quarter more can be there for a moment.
	PerOwner int
	// Poll is how long a running operation goes unasked when the feed tells nothing of it; it grows
	// to four times that. 0 = 15 s, which is more than an OpenNebula VM may take to begin to move.
	Poll time.Duration
	// Body is how clients see an operation: the member "operation" of the event operation.changed.
	// nil = as it is, without why it failed.
	Body func(*backends.Operation) any
	// Report is told what went wrong while no client waited for the answer. nil = nobody is told.
	Report func(error)
}

// Tracker follows operations and remembers them. It is safe for concurrent use. The operations that
// it hands out are shared: nobody may write to them.
//
// Its methods take the backend, whose login it is (auth.Login.Owner), and that login's session.
// Errors are *backends.Error, or whatever the store fails with.
type Tracker struct {
	cfg  Config
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup

	sweeping sync.Mutex

	mu        sync.Mutex // taken before a follower's and a job's
	closed    bool
	jobs      map[string]*job // by the key of its entry
	followers map[login]*follower
	resumed   map[login]bool
	untrimmed map[string]int // operations since the last trim, by owner
	swept     time.Time
}

// login names who follows.
type login struct {
	owner   string
	session backends.Session
}

// New makes a Tracker that follows nothing yet. Close ends it.
func New(c Config) *Tracker {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keep <= 0 {
		c.Keep = time.Hour
	}
	if c.PerOwner <= 0 {
		c.PerOwner = 1000
	}
	if c.Poll <= 0 {
		c.Poll = 15 * time.Second
	}
	if c.Body == nil {
		c.Body = func(op *backends.Operation) any { return op }
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Tracker{
		cfg: c, ctx: ctx, stop: stop,
		jobs: make(map[string]*job), followers: make(map[login]*follower),
		resumed: make(map[login]bool), untrimmed: make(map[string]int),
	}
}

// Close stops following and waits until nothing is under way any more. What is stored stays; the
// feeds are left before Close returns. Afterwards operations can be read, and nothing is followed.
func (t *Tracker) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.work.Wait()
}

// Started keeps an operation that a driver has just begun, follows it if it runs, and gives it as it
// is kept. It cannot fail, because the work is under way: what the store refuses is kept in memory,
// told to Config.Report and tried again.
func (t *Tracker) Started(b *backends.Backend, owner string, s backends.Session, op *backends.Operation) *backends.Operation {
	j := t.job(b, owner, op.ID, nil)
	j.turn <- struct{}{}
	j.claimed = true
	t.record(t.ctx, j, op)
	j.endTurn()
	known := j.known()
	if !j.settled() {
		t.follow(j, s)
	}
	t.Resume(b, owner, s)
	return known
}

// Get reads an operation: one that has ended as it is kept, one that runs fresh from the backend. A
// backend that cannot be reached does not hide what was last seen of it.
//
// An operation that nobody knows, that another owner started, or that ended longer ago than Keep is
// NotFound.
func (t *Tracker) Get(ctx context.Context, b *backends.Backend, owner string, s backends.Session, id backends.ID) (*backends.Operation, error) {
	_, op, err := t.get(ctx, b, owner, s, id)
	return op, err
}

// Wait reads an operation as Get does, and if it runs, again as soon as it ends, at the latest after
// d. When ctx ends it gives what is known by then.
func (t *Tracker) Wait(ctx context.Context, b *backends.Backend, owner string, s backends.Session, id backends.ID, d time.Duration) (*backends.Operation, error) {
	j, op, err := t.get(ctx, b, owner, s, id)
	if err != nil || op.Done() || d <= 0 {
		return op, err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	left := t.follow(j, s)
	for {
		select {
		case <-j.over:
			return j.known(), nil
		case <-left:
			// Whoever it was followed for is gone; once more with this session, which tells why.
			if j, op, err = t.get(ctx, b, owner, s, id); err != nil || op.Done() || t.ctx.Err() != nil {
				return op, err
			}
			t.follow(j, s)
			left = nil
		case <-timer.C:
			return j.known(), nil
		case <-ctx.Done():
			return j.known(), nil
		}
	}
}

// List gives what is remembered of the owners' operations, newest first. Nothing is asked of the
// backends: one that nobody follows is as it was last seen (see Resume).
func (t *Tracker) List(ctx context.Context, owners []string) ([]*backends.Operation, error) {
	list := []*backends.Operation{}
	for _, owner := range owners {
		of, err := t.listOwner(ctx, hashOf(owner))
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	slices.SortFunc(list, newestFirst)
	return list, nil
}

func (t *Tracker) listOwner(ctx context.Context, owner string) ([]*backends.Operation, error) {
	entries, err := t.entries(ctx, owner)
	if err != nil {
		return nil, err
	}
	byID := make(map[backends.ID]*backends.Operation, len(entries))
	for _, e := range entries {
		byID[e.Operation.ID] = e.Operation
	}
	for id, op := range t.followed(owner) { // newer than the store, which is not told of progress
		byID[id] = merge(byID[id], op)
	}
	list := make([]*backends.Operation, 0, len(byID))
	for _, op := range byID {
		list = append(list, op)
	}
	slices.SortFunc(list, newestFirst)
	return list[:min(len(list), t.cfg.PerOwner)], nil
}

// followed gives the owner's operations that are held in memory.
func (t *Tracker) followed(owner string) map[backends.ID]*backends.Operation {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[backends.ID]*backends.Operation)
	for _, j := range t.jobs {
		if op := j.known(); j.owner == owner && op != nil {
			all[j.id] = op
		}
	}
	return all
}

// Cancel asks the backend to give an operation up, and reads it. That it was asked is no promise:
// the operation tells what became of it. One that has ended is WrongState; a backend that cannot
// give it up is UnsupportedByBackend; the other errors are those of Get.
func (t *Tracker) Cancel(ctx context.Context, b *backends.Backend, owner string, s backends.Session, id backends.ID) (*backends.Operation, error) {
	j, op, err := t.get(ctx, b, owner, s, id)
	if err != nil {
		return nil, err
	}
	if op.Done() {
		return nil, endedAlready(op)
	}
	if err := t.cancel(ctx, s, j); err != nil {
		if op, now := t.look(ctx, s, j); now == nil && op.Done() { // it was about to end
			return nil, endedAlready(op)
		}
		return nil, err
	}
	op, err = t.look(ctx, s, j)
	if op != nil { // it was asked: a failure to read on does not undo that
		return op, nil
	}
	return nil, err
}

func endedAlready(op *backends.Operation) error {
	return &backends.Error{Code: backends.WrongState, Detail: fmt.Sprintf("The operation has ended already: it is %s.", op.State)}
}

// Resume follows again what the store holds as running for an owner, such as after a restart. It
// returns at once, and does nothing when it was done before. The other methods that take a session
// do it by themselves.
func (t *Tracker) Resume(b *backends.Backend, owner string, s backends.Session) {
	who := login{owner, s}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.resumed[who] {
		return
	}
	if len(t.resumed) >= 10_000 { // logins come and go; forgetting them costs one list of the store
		clear(t.resumed)
	}
	t.resumed[who] = true
	t.work.Go(func() {
		entries, err := t.entries(t.ctx, hashOf(owner))
		if err != nil {
			t.report(fmt.Errorf("resume operations: %w", err))
			return
		}
		for _, e := range entries {
			if !e.Operation.Done() && e.Operation.Backend == b.Name {
				t.follow(t.job(b, owner, e.Operation.ID, &e), s)
			}
		}
	})
}

func notFound(id backends.ID) error {
	return &backends.Error{Code: backends.NotFound, Detail: fmt.Sprintf("There is no operation with the id %s.", id)}
}

// get is Get, with the job of an operation that runs.
func (t *Tracker) get(ctx context.Context, b *backends.Backend, owner string, s backends.Session, id backends.ID) (*job, *backends.Operation, error) {
	if id.Backend != b.Name {
		return nil, nil, notFound(id)
	}
	t.Resume(b, owner, s)
	j, ended, err := t.find(ctx, b, owner, id)
	if err != nil || ended != nil {
		return nil, ended, err
	}
	op, err := t.look(ctx, s, j)
	switch {
	case op == nil:
		t.forgetUnknown(j)
		return nil, nil, err
	case err != nil && !unreachable(err):
		return nil, nil, err
	case !j.settled():
		t.follow(j, s)
	}
	return j, op, nil
}

func unreachable(err error) bool {
	code := backends.CodeOf(err)
	return code == backends.BackendUnavailable || code == backends.BackendTimeout
}

// find gives an operation that has ended, or the job of one that may run. The operation of a job that
// only the driver may know is nil.
func (t *Tracker) find(ctx context.Context, b *backends.Backend, owner string, id backends.ID) (*job, *backends.Operation, error) {
	key := entryKey(hashOf(owner), id)
	if j, ok := t.lookUp(key); ok && j.known() != nil {
		if j.settled() {
			return nil, j.known(), nil
		}
		return j, nil, nil
	}
	e, err := t.load(ctx, key)
	switch {
	case err == nil && e.Operation.Done():
		return nil, e.Operation, nil
	case err == nil:
		return t.job(b, owner, id, &e), nil, nil
	case !errors.Is(err, store.ErrNoEntry):
		return nil, nil, err
	}
	// To ask the driver could use up what another owner waits for: the end of a task is read once.
	starter, err := t.ownerOf(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if starter != "" && starter != hashOf(owner) {
		return nil, nil, notFound(id)
	}
	return t.job(b, owner, id, nil), nil, nil
}

// tidy does now and then, after an operation was stored, what keeps the store small.
func (t *Tracker) tidy(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if now := t.cfg.Now(); now.Sub(t.swept) >= time.Minute {
		t.swept = now
		t.background("sweep operations", t.sweep)
	}
	if j.counted {
		return
	}
	j.counted = true
	if t.untrimmed[j.owner]++; t.untrimmed[j.owner] > t.cfg.PerOwner/4 {
		delete(t.untrimmed, j.owner)
		t.background("trim operations", func(ctx context.Context) error { return t.trim(ctx, j.owner) })
	}
}

func (t *Tracker) background(what string, do func(context.Context) error) {
	t.work.Go(func() {
		if err := do(t.ctx); err != nil {
			t.report(fmt.Errorf("%s: %w", what, err))
		}
	})
}

// report leaves out what only tells that the tracker was closed.
func (t *Tracker) report(err error) {
	if t.ctx.Err() == nil {
		t.cfg.Report(err)
	}
}
