package operations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
	"vmgateway/internal/store"
)

// job is an operation that is being looked at: one that runs, or whose end is not stored yet.
type job struct {
	backend  *backends.Backend
	id       backends.ID
	owner    string // as a hash
	feedName string // the owner as feeds know it
	key      string
	over     chan struct{} // closed when the end has been seen
	turn     chan struct{} // held for a look: one at a time
	wake     chan struct{}

	// The tracker's lock is over these.
	left    chan struct{} // closed when nobody follows any more; nil when nobody does
	counted bool          // for the next trim

	// These belong to whoever holds the turn.
	claimed   bool
	cancelled bool
	published *backends.Operation // as the feed was told last

	mu     sync.Mutex
	op     *backends.Operation // nil until anything is known
	err    error               // of the last look
	begun  int                 // looks
	shared int                 // the last look whose outcome others may take for theirs
	saved  bool
	stale  bool      // something was told that only a look can settle
	missed time.Time // when the backend first did not know it
}

// job gives the job of an operation, and makes it, with what the store knows, if there is none.
func (t *Tracker) job(b *backends.Backend, owner string, id backends.ID, stored *entry) *job {
	hash := hashOf(owner)
	key := entryKey(hash, id)
	t.mu.Lock()
	defer t.mu.Unlock()
	if j, ok := t.jobs[key]; ok {
		return j
	}
	j := &job{
		backend: b, id: id, owner: hash, feedName: owner, key: key,
		over: make(chan struct{}), turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	if stored != nil {
		j.op, j.published, j.claimed, j.cancelled = stored.Operation, stored.Operation, stored.Claimed, stored.Cancelled
		j.saved, j.counted = true, true
	}
	t.jobs[key] = j
	return j
}

func (t *Tracker) lookUp(key string) (*job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j, ok := t.jobs[key]
	return j, ok
}

// forgetUnknown lets go of a job about which nothing was learned.
func (t *Tracker) forgetUnknown(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.jobs[j.key] == j && j.known() == nil {
		delete(t.jobs, j.key)
	}
}

// forget lets go of a job, whose operation is settled or kept no more.
func (t *Tracker) forget(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.jobs[j.key] == j {
		delete(t.jobs, j.key)
	}
}

// drop stops following what is kept no more.
func (t *Tracker) drop(key string) {
	if j, ok := t.lookUp(key); ok {
		t.forget(j)
		j.poke()
	}
}

func (j *job) known() *backends.Operation {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.op
}

func (j *job) ended() bool {
	op := j.known()
	return op != nil && op.Done()
}

// settled reports whether nothing is left to do: the operation has ended, and that is stored.
func (j *job) settled() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.saved && j.op != nil && j.op.Done()
}

func (j *job) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// look reads how far the operation is, and gives what is known of it afterwards; nil when nothing is.
// Many who look at once share one call, which began after the last of them came.
func (t *Tracker) look(ctx context.Context, s backends.Session, j *job) (*backends.Operation, error) {
	came := j.looks()
	if err := j.takeTurn(ctx); err != nil {
		return j.known(), err
	}
	defer j.endTurn()
	if op, ok, err := j.sharedSince(came); ok {
		return op, err
	}
	if j.ended() { // and perhaps still has to be stored
		t.record(ctx, j, j.known())
		return j.known(), nil
	}
	n := j.begin()
	op, err := j.backend.Driver.Operation(ctx, s, j.id)
	if err == nil {
		err = t.refuseGone(ctx, j, op)
	} else if backends.CodeOf(err) == backends.NotFound {
		op, err = t.miss(ctx, j, err)
	}
	if err == nil && op != nil {
		t.record(ctx, j, op)
	}
	return j.finish(n, err, ctx.Err() == nil && backends.CodeOf(err) != backends.BackendSessionEnded)
}

func (j *job) takeTurn(ctx context.Context) error {
	select {
	case j.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return backends.Transport("operation", ctx.Err(), false)
	}
}

func (j *job) endTurn() { <-j.turn }

// cancel asks the backend to give the operation up, and stores that it took the cancel, or may have:
// not every backend remembers. It has the turn all the while, so that nobody reads the end without
// knowing why.
func (t *Tracker) cancel(ctx context.Context, s backends.Session, j *job) error {
	if err := j.takeTurn(ctx); err != nil {
		return err
	}
	defer j.endTurn()
	op := j.known()
	if op.Done() {
		return endedAlready(op)
	}
	err := j.backend.Cancel(ctx, s, j.id)
	if err != nil && !backends.AsError(err).MaybeDone {
		return err
	}
	j.cancelled = true
	j.unsave()
	t.record(ctx, j, op)
	return err
}

// refuseGone refuses an operation that only the driver knows, when it was kept and is kept no more. When
// the store cannot tell, it is taken: its end may have been read this once.
func (t *Tracker) refuseGone(ctx context.Context, j *job, op *backends.Operation) error {
	if j.known() != nil {
		return nil
	}
	gone, err := t.isGone(ctx, j.owner, op)
	if err != nil {
		t.report(fmt.Errorf("look for the operation %s: %w", j.id, err))
	}
	if gone {
		return notFound(j.id)
	}
	return nil
}

// miss is an operation that the backend does not know. Another gateway may have read its end, and
// the backend forgotten it since: when several share the store, it is UNKNOWN only after a second
// look that finds no end there either. A nil operation is one about which nothing new is known.
func (t *Tracker) miss(ctx context.Context, j *job, err error) (*backends.Operation, error) {
	known := j.known()
	e, loadErr := t.load(ctx, j.key)
	switch {
	case loadErr == nil && e.Operation.Done():
		return e.Operation, nil
	case known == nil:
		return nil, err
	case loadErr != nil && !errors.Is(loadErr, store.ErrNoEntry):
		return nil, loadErr
	case !t.cfg.Store.Ephemeral() && !j.missedBefore(t.cfg.Now()):
		return nil, nil
	}
	end := t.cfg.Now().UTC()
	lost := *known
	lost.State, lost.EndTime, lost.Progress, lost.Cancellable, lost.Result = backends.OperationUnknown, &end, nil, false, nil
	lost.Err = &backends.Error{
		Code:   backends.BackendFault,
		Detail: "The backend no longer knows this operation: read the VM to see what became of it.",
	}
	return &lost, nil
}

// record takes in what was seen, stores it and tells the feed. Whoever calls it has the turn.
func (t *Tracker) record(ctx context.Context, j *job, seen *backends.Operation) {
	was := j.known()
	op := merge(was, outcome(seen, j.cancelled))
	saved := j.isSaved()
	if !saved || ends(was, op) {
		stored, err := t.save(ctx, entry{Owner: j.owner, Claimed: j.claimed, Cancelled: j.cancelled, Operation: op})
		if saved = err == nil; saved {
			op = stored
			t.tidy(j)
		} else {
			t.report(fmt.Errorf("store the operation %s: %w", op.ID, err))
		}
	}
	j.mu.Lock()
	j.op, j.saved, j.missed = merge(j.op, op), saved, time.Time{}
	j.mu.Unlock()
	t.tell(j)
	if ends(was, op) { // which may be how another gateway saw it end
		close(j.over)
	}
	if j.settled() {
		t.forget(j)
		j.poke()
	}
}

func ends(was, is *backends.Operation) bool { return is.Done() && (was == nil || !was.Done()) }

// tell publishes what the feed was not told yet. Whoever calls it has the turn, so that nobody is
// told of progress after the end.
func (t *Tracker) tell(j *job) {
	if op := j.known(); differ(j.published, op) {
		j.published = op
		t.publish(j, op)
	}
}

// publish tells those who listen to the owner's feed, if it runs.
func (t *Tracker) publish(j *job, op *backends.Operation) {
	f, ok := t.cfg.Feeds.Running(j.feedName)
	if !ok {
		return
	}
	data, err := json.Marshal(struct {
		Backend   string `json:"backend"`
		Operation any    `json:"operation"`
	}{op.Backend, t.cfg.Body(op)})
	if err != nil {
		t.report(fmt.Errorf("tell of the operation %s: %w", op.ID, err))
		return
	}
	e := feed.Event{Type: feed.OperationChanged, Data: data}
	if op.VM != nil {
		e.VM = *op.VM
	}
	f.Publish(e)
}

func (j *job) looks() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.begun
}

func (j *job) sharedSince(came int) (op *backends.Operation, shared bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.op, j.shared > came, j.err
}

func (j *job) begin() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun++
	j.stale = false
	return j.begun
}

// finish ends look n. Its outcome is not for others when it was this caller's own matter.
func (j *job) finish(n int, err error, share bool) (*backends.Operation, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if share {
		j.shared, j.err = n, err
	}
	return j.op, err
}

// unsave has the next record store what it knows, even if nothing has ended.
func (j *job) unsave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.saved = false
}

func (j *job) isSaved() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.saved
}

// told takes in what a batch says of the operation. It is called in the watcher's goroutine.
func (j *job) told(progress *float64, look bool) {
	j.mu.Lock()
	j.stale = j.stale || look
	if progress != nil && j.op != nil && !j.op.Done() && (j.op.Progress == nil || *j.op.Progress < *progress) {
		next := *j.op
		next.Progress = progress
		j.op = &next
	}
	j.mu.Unlock()
	j.poke()
}

func (j *job) takeStale() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.stale
	j.stale = false
	return was
}

// forgottenFor is how long another gateway may take to store an end that it has read.
const forgottenFor = time.Second

// missedBefore reports whether the backend did not know the operation some time ago already.
func (j *job) missedBefore(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.missed.IsZero() {
		j.missed = now
	}
	return now.Sub(j.missed) >= forgottenFor
}

func (j *job) isMissed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.missed.IsZero()
}
