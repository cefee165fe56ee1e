package opennebula

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

// errEnough ends a sweep whose caller has enough.
var errEnough = errors.New("enough")

// sweep reads a pool element by element, whatever is in it.
type sweep struct {
	d   *Driver
	ctx context.Context
	s   backends.Session
	// table has the core's paths, at least.
	table *scan.Table
	// each is given a VM; with an error, what is left of a damaged one. It reports whether to go on,
	// as bad does.
	each func(item *scan.Item, err error) bool
	// bad is given a VM that makes every answer which has it fail.
	bad func(id int, err error) bool

	early *early        // the first call, if it was made before
	took  time.Duration // to read the last answer, from its begin
}

// early is a call that is made while the answer before it is still being read: oned thinks about an
// answer for longer than it takes to read one.
type early struct {
	made chan struct{} // closed when the rest is set
	g    *reading
	err  error
}

// ask makes the first call of a span early.
func (w *sweep) ask(q query, p part) *early {
	e := &early{made: make(chan struct{})}
	go func() {
		defer close(e.made)
		e.g, e.err = w.d.open(w.ctx, w.s, q.request(p.from, p.to), vmsInPool, w.table)
	}()
	return e
}

// drop gives up a call whose answer nobody wants. Its context has ended.
func (e *early) drop() {
	if e == nil {
		return
	}
	if <-e.made; e.err == nil {
		e.g.close(nil)
	}
}

// vmsInPool is where the VMs of a pool's document are.
const vmsInPool = "VM_POOL/VM"

// everyID is all ids there can be.
var everyID = part{0, math.MaxInt32}

// all sweeps a whole pool in one call.
func (w *sweep) all(q query) error {
	err := w.read(q.request(fromStart, toEnd))
	if poisoned(err) {
		return w.halves(q, everyID)
	}
	return err
}

// span sweeps a range of ids.
func (w *sweep) span(q query, p part) error {
	err := w.read(q.request(p.from, p.to))
	switch {
	case poisoned(err) && p.from < p.to:
		return w.halves(q, p)
	case poisoned(err):
		return enough(w.bad(p.from, err))
	}
	return err
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

// read makes one call, and reads its answer while it arrives.
func (w *sweep) read(r request) error {
	g, err := w.open(r)
	if err != nil {
		return err
	}
	defer g.close(nil)
	begun := w.d.cfg.Now()
	defer func() { w.took = w.d.cfg.Now().Sub(begun) }()
	for {
		item, err := g.next()
		damage, damaged := errors.AsType[*scan.Damage](err)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case damaged:
			err = damage.Err
		case err != nil:
			return err
		}
		if !w.each(item, err) {
			return errEnough
		}
	}
}

func (w *sweep) open(r request) (*reading, error) {
	if e := w.early; e != nil {
		w.early = nil
		return e.g, e.err
	}
	return w.d.open(w.ctx, w.s, r, vmsInPool, w.table)
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
