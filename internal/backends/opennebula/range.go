package opennebula

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

const (
	// firstRange is how many ids the first call of a list in the order of ids asks for: a page, where
	// ids are dense.
	firstRange = 128
	// goodRange is how many VMs a call should bring.
	goodRange = 512
	// A range with more VMs, or more bytes, is not held to be put in order, but cut.
	maxHeld      = 4 * goodRange
	maxHeldBytes = 32 << 20
)

var _ backends.Ranger = (*Driver)(nil)

// VMsAfter lists VMs in the order of ids, in ranges of as many ids as bring some 500 VMs. Pools come
// newest first, so that a range is held, as it was sent, until it can be handed over in order.
func (d *Driver) VMsAfter(ctx context.Context, s backends.Session, q backends.Query, after string) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		l, pool, err := d.lister(ctx, s, q)
		if err != nil {
			yield(nil, err)
			return
		}
		if l == nil {
			return
		}
		l.yield = yield
		if l.abridged() && !l.alone() {
			pool.method = extendedList
		}
		w := &rangeWalk{lister: l, pool: pool, last: everyID.to, size: firstRange}
		if after != "" {
			n, err := d.pathID(backends.ID{Backend: d.cfg.Name, Native: after})
			if err != nil {
				yield(nil, err)
				return
			}
			w.from = n + 1
		}
		l.ended(w.all())
	}
}

// rangeWalk goes through a pool in ascending ranges.
type rangeWalk struct {
	*lister
	pool       query
	from, last int  // ids that are still to be read
	size       int  // of the next range
	crowd      int  // up to here there are more VMs than are held, once that was met
	asked      bool // for the newest VM
	items      scan.Items
	entries    []entry
}

// entry is a VM of a range: an item, and with an error what is left of one.
type entry struct {
	id   int
	item int // none for one that no answer can have
	err  error
}

const noItem = -1

var errTooMany = errors.New("more VMs than are put in order at once")

func (w *rangeWalk) all() error {
	for w.from <= w.last {
		p := part{w.from, min(w.last, w.from+min(w.size, everyID.to-w.from+1)-1)}
		switch err := w.collect(p); {
		case errors.Is(err, errTooMany):
			w.crowd, w.size = p.to, (p.to-p.from+1)/2
			continue
		case err != nil:
			return err
		}
		for _, e := range w.entries {
			if !w.hand(e) {
				return errEnough
			}
		}
		if err := w.adapt(p); err != nil {
			return err
		}
	}
	return nil
}

// collect reads a range and puts it in order.
func (w *rangeWalk) collect(p part) error {
	w.items.Reset()
	w.entries = w.entries[:0]
	sweep := w.sweep()
	sweep.each = func(item *scan.Item, err error) bool {
		id, _ := idOf(item)
		w.entries = append(w.entries, entry{id, w.items.Add(item), err})
		return len(w.entries) <= maxHeld && w.items.Size() <= maxHeldBytes
	}
	sweep.bad = func(id int, err error) bool {
		w.entries = append(w.entries, entry{id, noItem, err})
		return len(w.entries) <= maxHeld
	}
	err := sweep.span(w.pool, p)
	if errors.Is(err, errEnough) && p.from < p.to {
		return errTooMany
	}
	slices.SortStableFunc(w.entries, func(a, b entry) int { return cmp.Compare(a.id, b.id) })
	return err
}

// hand hands over an entry. It reports whether to go on.
func (w *rangeWalk) hand(e entry) bool {
	switch {
	case e.item == noItem:
		return w.yield(nil, &backends.Undecodable{ID: w.d.id(e.id), Err: e.err})
	case e.err == nil && w.alone():
		return w.oneByOne([]int{e.id})
	}
	return w.element(w.items.Item(e.item), e.err)
}

// adapt chooses the next range by what was in p. Where the end of p is empty, this may be the end of
// the pool: then it is asked, once, which VM is the newest.
func (w *rangeWalk) adapt(p part) (err error) {
	w.from = p.to + 1
	size, had, end := p.to-p.from+1, len(w.entries), p.from-1
	if had > 0 {
		end = w.entries[had-1].id
	}
	if !w.asked && w.from <= w.last && p.to-end > size/8 {
		w.asked = true
		if w.last, err = w.newest(); err != nil {
			return err
		}
	}
	switch {
	case had == 0 && w.from < w.crowd:
		w.size = (w.crowd - w.from + 1) / 2
	case had < goodRange:
		w.size = min(size*min(goodRange/max(1, had), 64), everyID.to)
	default:
		w.size = size
	}
	return nil
}

// newest is the id of the newest VM of the pool, or the last there can be where that is not told: a page
// of two begins with it, unless oned was configured to list the oldest first.
func (w *rangeWalk) newest() (int, error) {
	const first, two = 0, -2
	var ids []int
	sweep := w.sweep()
	sweep.each = func(item *scan.Item, _ error) bool {
		id, ok := idOf(item)
		ids = append(ids, id)
		return ok && len(ids) < 2
	}
	q := w.pool
	q.method = "one.vmpool.info"
	switch err := sweep.read(q.request(first, two)); {
	case poisoned(err) || errors.Is(err, errEnough) && len(ids) < 2:
		return everyID.to, nil
	case err != nil && !errors.Is(err, errEnough):
		return 0, err
	case len(ids) == 0:
		return -1, nil
	case len(ids) == 2 && ids[0] < ids[1]:
		return everyID.to, nil
	}
	return ids[0], nil
}
