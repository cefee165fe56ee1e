package opennebula

import (
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

const (
	defaultPollInterval = 2 * time.Second
	// badAgainEvery is after how many polls VMs that could not be read are asked for again.
	badAgainEvery = 15
	// badForPause is how many VMs that cannot be read make the pause between polls one interval
	// longer: each of them costs a call more.
	badForPause = 8
)

var _ backends.Watcher = (*Driver)(nil)

// Watch polls: OpenNebula tells nobody what happens. A poll is one call for the abridged list, and
// only a VM whose part of the answer differs from that of the poll before is decoded and handed
// over, samples or not. What came and went between two polls is not told of. There are no tokens: each
// watch begins with a Complete batch. A deleted VM is Gone; one that nobody can read is handed over once,
// as UNKNOWN, since it is there. A batch is as of when its poll was sent; while there are VMs that are only
// asked for now and then, as of when they were.
func (d *Driver) Watch(ctx context.Context, s backends.Session, _ string, emit func(backends.Batch) error) error {
	r, err := d.detect(ctx, s)
	if err != nil {
		return err
	}
	w := newWatcher(d, s, r)
	for {
		batch, err := w.poll(ctx)
		if err != nil {
			return err
		}
		if err := emit(batch); err != nil {
			return err
		}
		if err := w.pause(ctx); err != nil {
			return err
		}
	}
}

// watcher is one watch under way.
type watcher struct {
	d     *Driver
	s     backends.Session
	dec   *decoder
	seed  maphash.Seed
	round int
	known map[int]*sighting
	bad   []int     // VMs that make every answer which has them fail, in order
	asked time.Time // when the last poll was sent that asked for all, the bad ones too

	batch    backends.Batch
	nameless bool // this poll had something that does not even tell its id
}

// sighting is a VM as the last poll saw it.
type sighting struct {
	hash  uint64 // of its element; 0 for one of the bad
	round int
}

func newWatcher(d *Driver, s backends.Session, r version) *watcher {
	dec := d.decoder(d.plan(backends.ViewBasic, nil, r), r)
	return &watcher{d: d, s: s, dec: dec, seed: maphash.MakeSeed(), known: map[int]*sighting{}}
}

// poll asks once, and gives what differs.
func (w *watcher) poll(ctx context.Context) (backends.Batch, error) {
	w.batch, w.nameless = backends.Batch{Complete: w.round == 0}, false
	w.round++
	if w.asksAll() {
		w.asked = w.d.cfg.Now()
	}
	if err := w.ask(ctx); err != nil {
		return backends.Batch{}, err
	}
	if !w.nameless {
		w.batch.AsOf = w.asked
	}
	// What has no id may be any of those that are missing.
	for id, seen := range w.known {
		if seen.round != w.round && !w.nameless {
			delete(w.known, id)
			w.batch.Gone = append(w.batch.Gone, w.d.id(id))
		}
	}
	return w.batch, nil
}

// asksAll reports whether this poll asks for the bad VMs as well.
func (w *watcher) asksAll() bool { return len(w.bad) == 0 || w.round%badAgainEvery == 0 }

// ask sweeps the pool in one call; when there are bad VMs, in the ranges between them, and now and
// then each of them alone.
func (w *watcher) ask(ctx context.Context) error {
	q := query{method: "one.vmpool.info", flag: allVisible, state: anyStateButEnd}
	known, again := w.bad, w.asksAll()
	w.bad = nil
	sweep := &sweep{d: w.d, ctx: ctx, s: w.s, table: w.dec.plan.table, each: w.element, bad: w.unreadable}
	if len(known) == 0 {
		return sweep.all(q)
	}
	for _, p := range gaps(known) {
		if err := sweep.span(q, p); err != nil {
			return err
		}
	}
	for _, id := range known {
		if !again {
			w.unreadable(id, nil)
		} else if err := sweep.span(q, part{id, id}); err != nil {
			return err
		}
	}
	slices.Sort(w.bad)
	return nil
}

// element is one VM of the answer.
func (w *watcher) element(item *scan.Item, damage error) bool {
	id, ok := idOf(item)
	if !ok {
		w.nameless = true
		return true
	}
	if !w.differs(id, maphash.Bytes(w.seed, item.Raw())) {
		return true
	}
	var vm *backends.VM
	if damage == nil {
		vm, damage = w.dec.decode(item)
	}
	switch {
	case damage != nil:
		w.undecodable(id, damage)
	case w.dec.at.state == stDone: // a release that lists them although they were not asked for
		w.batch.Gone = append(w.batch.Gone, w.d.id(id))
	default:
		w.batch.VMs = append(w.batch.VMs, vm.Clone())
	}
	return true
}

// unreadable is a VM that makes each answer which has it fail.
func (w *watcher) unreadable(id int, err error) bool {
	w.bad = append(w.bad, id)
	if w.differs(id, 0) {
		w.undecodable(id, err)
	}
	return true
}

// undecodable hands over all that can be said of a VM that nobody can read.
func (w *watcher) undecodable(id int, err error) {
	vm := &backends.VM{ID: w.d.id(id), Backend: w.d.cfg.Name, Kind: backends.OpenNebula, UID: strconv.Itoa(id), State: backends.StateUnknown}
	w.batch.VMs = append(w.batch.VMs, vm)
	w.batch.Undecodable = append(w.batch.Undecodable, &backends.Undecodable{ID: vm.ID, Err: err})
}

// differs notes a VM as seen and reports whether it is not as before.
func (w *watcher) differs(id int, hash uint64) bool {
	before, known := w.known[id]
	if !known {
		before = &sighting{}
		w.known[id] = before
	}
	changed := !known || before.hash != hash
	*before = sighting{hash, w.round}
	return changed
}

func (w *watcher) pause(ctx context.Context) error {
	over, stop := w.d.cfg.Timer(w.d.cfg.PollInterval * time.Duration(1+len(w.bad)/badForPause))
	defer stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return backends.Transport(op("one.vmpool.info"), ctx.Err(), false)
	}
}

// gaps are the ranges between ids, which are in order.
func gaps(ids []int) []part {
	var parts []part
	rest := everyID
	for _, id := range ids {
		if rest.from < id {
			parts = append(parts, part{rest.from, id - 1})
		}
		rest.from = id + 1
	}
	if rest.from <= rest.to {
		parts = append(parts, rest)
	}
	return parts
}
