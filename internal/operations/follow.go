package operations

import (
	"context"
	"strings"
	"sync"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

// looksAtOnce is how many of a login's operations are read at once: the rest of the backend's
// connections are for the clients.
const looksAtOnce = 4

// follower follows the operations of one login.
type follower struct {
	t       *Tracker
	who     login
	ctx     context.Context // ends when the login does
	stop    context.CancelFunc
	lease   *feed.Lease
	cancel  func() // of the subscription
	looking chan struct{}

	mu   sync.Mutex
	jobs map[*job]struct{}
	byVM map[backends.ID]map[*job]struct{}
}

// follow follows a job until its operation has ended, with s; left is closed when nobody follows it
// any more.
func (t *Tracker) follow(j *job, s backends.Session) (left <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.left != nil {
		return j.left
	}
	gone := make(chan struct{})
	op := j.known()
	if t.closed || t.jobs[j.key] != j || op == nil { // it ended meanwhile, was dropped, or is just being asked for
		close(gone)
		return gone
	}
	f := t.follower(j, s)
	f.add(j, op)
	j.left = gone
	t.work.Go(func() { f.run(j) })
	return gone
}

// follower gives the login's follower, and makes it for its first job. t is locked.
func (t *Tracker) follower(j *job, s backends.Session) *follower {
	who := login{j.feedName, s}
	if f, ok := t.followers[who]; ok {
		return f
	}
	ctx, stop := context.WithCancel(t.ctx)
	f := &follower{
		t: t, who: who, ctx: ctx, stop: stop, lease: t.cfg.Feeds.Acquire(j.backend, who.owner, s),
		looking: make(chan struct{}, looksAtOnce),
		jobs:    make(map[*job]struct{}), byVM: make(map[backends.ID]map[*job]struct{}),
	}
	f.cancel = f.lease.Feed().Subscribe(f.take)
	t.followers[who] = f
	t.work.Go(f.watchEnd)
	return f
}

// watchEnd stops following when the backend has ended the login. A feed that ends for another reason
// only leaves the looks now and then.
func (f *follower) watchEnd() {
	select {
	case <-f.lease.Feed().Ended():
		if backends.CodeOf(f.lease.Feed().Err()) == backends.BackendSessionEnded {
			f.stop()
		}
	case <-f.ctx.Done():
	}
}

// vmsOf are the VMs that an operation can move.
func vmsOf(op *backends.Operation) []backends.ID {
	var vms []backends.ID
	if op.VM != nil {
		vms = append(vms, *op.VM)
	}
	if op.Result != nil && op.Result.VM != nil {
		vms = append(vms, *op.Result.VM)
	}
	return vms
}

func (f *follower) add(j *job, op *backends.Operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs[j] = struct{}{}
	for _, vm := range vmsOf(op) {
		if f.byVM[vm] == nil {
			f.byVM[vm] = make(map[*job]struct{})
		}
		f.byVM[vm][j] = struct{}{}
	}
}

// remove reports whether it was the last job.
func (f *follower) remove(j *job) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.jobs, j)
	for vm, jobs := range f.byVM {
		if delete(jobs, j); len(jobs) == 0 {
			delete(f.byVM, vm)
		}
	}
	return len(f.jobs) == 0
}

// take tells the jobs what a batch says of them. It is called in the watcher's goroutine: it only
// leaves word.
func (f *follower) take(b backends.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b.Complete { // what happened before it, nobody was told
		for j := range f.jobs {
			j.told(nil, true)
		}
	}
	for _, vm := range b.VMs {
		for j := range f.byVM[vm.ID] {
			j.told(nil, true)
		}
	}
	for _, id := range b.Gone {
		for j := range f.byVM[id] {
			j.told(nil, true)
		}
	}
	if len(b.Tasks) == 0 {
		return
	}
	tasks := make(map[string]backends.TaskChange, len(b.Tasks))
	for _, task := range b.Tasks {
		tasks[task.Name] = task
	}
	for j := range f.jobs {
		if task, ok := taskOf(j.id.Native, tasks); ok {
			j.told(task.Progress, task.Ended)
		}
	}
}

// taskOf finds the task of an operation, whose id ends with the task's name.
func taskOf(native string, tasks map[string]backends.TaskChange) (backends.TaskChange, bool) {
	for rest, more := native, true; more; _, rest, more = strings.Cut(rest, "-") {
		if task, ok := tasks[rest]; ok {
			return task, true
		}
	}
	return backends.TaskChange{}, false
}

// run looks at a job's operation until it is settled, or the login or the tracker ends. The first
// look is at once: what happened before the subscription, nobody was told.
func (f *follower) run(j *job) {
	defer f.leave(j)
	for pause := f.t.cfg.Poll; ; pause = min(2*pause, 4*f.t.cfg.Poll) {
		if err := f.look(j); err != nil && backends.CodeOf(err) == backends.BackendSessionEnded {
			f.stop()
		}
		if j.isMissed() {
			pause = min(forgottenFor, f.t.cfg.Poll)
		}
		if !f.wait(j, pause) {
			return
		}
	}
}

// living is how long a job is worked at: as long as the login lives, and when only its end has to be
// stored, which takes no login, as long as the tracker does.
func (f *follower) living(j *job) context.Context {
	if j.ended() {
		return f.t.ctx
	}
	return f.ctx
}

func (f *follower) look(j *job) error {
	ctx := f.living(j)
	select {
	case f.looking <- struct{}{}:
		defer func() { <-f.looking }()
	case <-ctx.Done():
		return nil
	}
	_, err := f.t.look(ctx, f.who.session, j)
	return err
}

// wait waits until there is a reason to look again. It reports false when there will be none.
func (f *follower) wait(j *job, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		if at, ok := f.t.lookUp(j.key); !ok || at != j {
			return false
		}
		if j.takeStale() {
			return true
		}
		select {
		case <-j.wake:
			f.t.tellProgress(j)
		case <-timer.C:
			return true
		case <-f.living(j).Done():
			return false
		}
	}
}

// tellProgress publishes what a batch told of a job without a look.
func (t *Tracker) tellProgress(j *job) {
	j.turn <- struct{}{}
	defer j.endTurn()
	t.tell(j)
}

// leave ends following one job, and with the last one the lease.
func (f *follower) leave(j *job) {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	last := f.remove(j)
	if last {
		delete(f.t.followers, f.who)
	}
	close(j.left)
	j.left = nil
	if last {
		f.stop()
		f.cancel()
		f.lease.Release()
	}
}
