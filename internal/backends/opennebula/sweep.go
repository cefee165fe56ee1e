package opennebula

import (
	"context"
	"errors"
	"math"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
)

// errEnough ends a sweep whose caller has enough.
var errEnough = errors.New("enough")

// sweep reads a pool element by element, whatever is in it.
type sweep struct {
	d   *Driver
	ctx context.Context
	s   backends.Session
	// each is given a VM; with an error, what is left of a damaged one. It reports whether to go on,
	// as bad does.
	each func(e wire.Element, err error) bool
	// bad is given a VM that makes every answer which has it fail.
	bad func(id int, err error) bool
}

// everyID is all ids there can be.
var everyID = part{0, math.MaxInt32}

// all sweeps a whole pool in one call.
func (w *sweep) all(q query) error {
	doc, err := w.d.document(w.ctx, w.s, q.request(fromStart, toEnd), "VM_POOL")
	if poisoned(err) {
		return w.halves(q, everyID)
	}
	if err != nil {
		return err
	}
	return w.pool(doc)
}

// span sweeps a range of ids.
func (w *sweep) span(q query, p part) error {
	doc, err := w.d.document(w.ctx, w.s, q.request(p.from, p.to), "VM_POOL")
	switch {
	case poisoned(err) && p.from < p.to:
		return w.halves(q, p)
	case poisoned(err):
		return enough(w.bad(p.from, err))
	case err != nil:
		return err
	}
	return w.pool(doc)
}

// halves isolates a VM that makes every list which has it fail, for everybody: one that holds a
// character beyond the BMP. At most 62 calls for each, most of them with an empty answer.
func (w *sweep) halves(q query, p part) error {
	middle := p.from + (p.to-p.from)/2
	first, second := part{p.from, middle}, part{middle + 1, p.to}
	if q.newest {
		first, second = second, first
	}
	if err := w.span(q, first); err != nil {
		return err
	}
	return w.span(q, second)
}

func (w *sweep) pool(doc wire.Element) error {
	for e, err := range doc.Each("VM") {
		if !w.each(e, err) {
			return errEnough
		}
	}
	return nil
}

func enough(goOn bool) error {
	if goOn {
		return nil
	}
	return errEnough
}

// poisoned reports whether oned could not put its answer into words.
func poisoned(err error) bool {
	f, ok := errors.AsType[*wire.Fault](err)
	return ok && f.Code == faultNotCompleted
}
