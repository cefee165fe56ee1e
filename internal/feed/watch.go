package feed

import (
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
	if !f.cfg.room.fits(f.needs - f.held) {
		return errNoRoom // nobody is asked for what would not fit
	}
	defer f.mirror.Store(nil)
	err := w.Watch(ctx, f.session(), f.token, func(b backends.Batch) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f.take(b)
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
func (f *Feed) take(b backends.Batch) error {
	known, events, gone := f.compare(b)
	if !f.cfg.room.resize(f.held, len(known.vms)) {
		f.forget(len(known.vms))
		return errNoRoom
	}
	f.known, f.held, f.needs, f.token = known, len(known.vms), 0, b.Token
	b.Gone = gone

	f.mu.Lock()
	f.log.most = max(f.cfg.Log, 2*len(known.vms))
	subscribers := f.subscribers
	f.mu.Unlock()

	f.reflect(b)
	if b.Complete && !f.whole {
		f.becomeWhole()
	}
	if f.whole {
		f.current.Store(&known)
		gone, changed := f.missed(b.AsOf, events)
		events = slices.Concat(gone, events, changed)
	}
	if f.goUp() {
		f.cfg.Health(f.backend.Name, nil)
		events = append(events, newUpEvent(f.backend.Name))
	}
	f.append(events)
	if b.Empty() {
		return nil
	}
	for _, fn := range subscribers {
		(*fn)(b)
	}
	return nil
}

// reflect shows what is known. A batch that does not say how old it is leaves something out.
func (f *Feed) reflect(b backends.Batch) {
	var s *Snapshot
	if (f.whole || b.Complete) && !b.AsOf.IsZero() {
		s = f.known.snapshot(b.AsOf)
	}
	f.mirror.Store(s)
}

// forget begins anew, once needs VMs fit.
func (f *Feed) forget(needs int) {
	f.cfg.room.resize(f.held, 0)
	f.known, f.whole, f.token, f.held, f.needs = fleet{}, false, "", 0, needs
	f.current.Store(nil)
}

// becomeWhole makes everybody who has a position from before read anew: whether their lists are
// older than what the feed knows, nobody can tell.
func (f *Feed) becomeWhole() {
	f.whole = true
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restart()
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

// restart makes every position so far too old. f is locked.
func (f *Feed) restart() {
	f.shown = sightings{}
	f.log.restart()
	f.wake()
}

// compare gives what is known after a batch, and tells what differs and which VMs are gone.
func (f *Feed) compare(b backends.Batch) (known fleet, events []Event, gone []backends.ID) {
	var there []Event // told after what is gone
	known = f.known.with(b, f.keeper.keep, func(id backends.ID, before, after *backends.VM) {
		if after == nil {
			gone = append(gone, id)
		}
		switch {
		case !f.whole || before == nil && after == nil:
		case after == nil:
			events = append(events, newDeletedEvent(id))
		case before == nil:
			there = append(there, newVMEvent(VMCreated, after, nil))
		default:
			if changed := changedMembers(before, after); len(changed) > 0 {
				there = append(there, newVMEvent(VMChanged, after, changed))
			}
		}
	})
	return known, append(events, there...), gone
}
