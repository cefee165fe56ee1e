package feed

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"vmgateway/internal/backends"
)

// steady is how long a watch has to hold for the back-off to begin anew: a backend that answers
// once and fails again is not asked more often for it.
const steady = 30 * time.Second

// run watches until the feed ends.
func (f *Feed) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		began := f.cfg.Now()
		err := f.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err.Code == backends.UnsupportedByBackend:
			f.end(err)
			continue
		case err.Code == backends.BackendSessionEnded:
			f.sessionEnded(err)
			continue
		}
		f.goDown(err)
		if f.cfg.Now().Sub(began) >= steady {
			attempt = 0
		}
		f.pause(ctx, f.cfg.Backoff(attempt))
	}
}

// watch follows the backend from where it stands until it cannot any more, and says why.
func (f *Feed) watch(ctx context.Context) *backends.Error {
	w, ok := f.backend.Driver.(backends.Watcher)
	if !ok {
		return &backends.Error{
			Code:   backends.UnsupportedByBackend,
			Detail: fmt.Sprintf("%s cannot be watched for changes.", f.backend.DisplayName),
		}
	}
	err := w.Watch(ctx, f.session(), f.token, func(b backends.Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.take(b)
		return nil
	})
	if err == nil {
		return &backends.Error{Code: backends.BackendUnavailable, Detail: "The backend ended the watch."}
	}
	return backends.AsError(err)
}

func (f *Feed) pause(ctx context.Context, d time.Duration) {
	over, stop := f.cfg.Timer(d)
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// goDown tells that the backend cannot be watched, once until it can again.
func (f *Feed) goDown(why *backends.Error) {
	f.mu.Lock()
	first := f.down == nil
	f.down = why
	f.mu.Unlock()
	if first {
		f.cfg.Health(f.backend.Name, why)
		f.append([]Event{newDownEvent(f.backend.Name, why)})
	}
}

// goUp reports whether the backend was down until now.
func (f *Feed) goUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.down != nil
	f.down = nil
	return was
}

// take makes events of a batch. What changed while the backend was down comes before backend.up.
func (f *Feed) take(b backends.Batch) {
	events, gone := f.compare(b)
	b.Gone = gone
	f.token = b.Token

	f.mu.Lock()
	f.log.most = max(f.cfg.Log, 2*len(f.known))
	subscribers := f.subscribers
	f.mu.Unlock()

	if b.Complete {
		f.becomeReady()
	}
	if f.goUp() {
		f.cfg.Health(f.backend.Name, nil)
		events = append(events, newUpEvent(f.backend.Name))
	}
	f.append(events)
	for _, fn := range subscribers {
		(*fn)(b)
	}
}

// becomeReady, the first time, makes everybody who has a position from before read anew: whether
// their lists are older than what the feed knows, nobody can tell.
func (f *Feed) becomeReady() {
	if f.isReady() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log.restart()
	f.wake()
	close(f.ready)
}

func (f *Feed) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// compare brings what is known up to date, and tells what differs and which VMs are gone.
func (f *Feed) compare(b backends.Batch) (events []Event, gone []backends.ID) {
	gone = f.findGone(b)
	ready := f.isReady()
	for _, id := range gone {
		if f.known[id] != nil && ready {
			events = append(events, newDeletedEvent(id))
		}
		delete(f.known, id)
	}
	for _, vm := range b.VMs {
		old := f.known[vm.ID]
		f.known[vm.ID] = vm
		if !ready {
			continue
		}
		if old == nil {
			events = append(events, newVMEvent(VMCreated, vm, nil))
		} else if changed := changedMembers(old, vm); len(changed) > 0 {
			events = append(events, newVMEvent(VMChanged, vm, changed))
		}
	}
	return events, gone
}

// findGone is what b says is gone, and with a Complete batch all that it no longer has.
func (f *Feed) findGone(b backends.Batch) []backends.ID {
	if !b.Complete {
		return b.Gone
	}
	present := make(map[backends.ID]bool, len(b.VMs))
	for _, vm := range b.VMs {
		present[vm.ID] = true
	}
	gone := slices.DeleteFunc(slices.Clone(b.Gone), func(id backends.ID) bool { return f.known[id] != nil })
	for id := range f.known {
		if !present[id] {
			gone = append(gone, id)
		}
	}
	slices.SortFunc(gone, func(a, b backends.ID) int { return cmp.Compare(a.Native, b.Native) })
	return gone
}
