package opennebula

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// VM reads one VM, in state DONE too.
func (d *Driver) VM(ctx context.Context, s backends.Session, id backends.ID, view backends.View) (*backends.VM, error) {
	vm, _, err := d.vm(ctx, s, id, view, nil)
	return vm, err
}

// vm reads the members of one VM that are asked for, and its place; nil is all that the view has.
func (d *Driver) vm(ctx context.Context, s backends.Session, id backends.ID, view backends.View, members []string) (vm *backends.VM, at place, err error) {
	req, r, err := d.info(ctx, s, id)
	if err != nil {
		return nil, at, err
	}
	dec := d.decoder(d.plan(view, members, r), r)
	doc, err := d.document(ctx, s, req, "VM", dec.plan.table)
	if err != nil {
		return nil, at, err
	}
	err = alone(doc, func(item *scan.Item) (err error) {
		vm, err = dec.decode(item)
		return err
	})
	if err != nil {
		return nil, at, d.garbled(req, err)
	}
	return vm, dec.at, nil
}

// info is the call that reads one VM, and the release that explains its answer.
func (d *Driver) info(ctx context.Context, s backends.Session, id backends.ID) (request, version, error) {
	n, err := d.pathID(id)
	if err != nil {
		return request{}, version{}, err
	}
	r, err := d.detect(ctx, s)
	return request{method: "one.vm.info", args: []any{n}, subject: "virtual machine"}, r, err
}

// machine reads one VM document as a tree: what changes and operations look at.
func (d *Driver) machine(ctx context.Context, s backends.Session, id backends.ID) (*machine, version, error) {
	req, r, err := d.info(ctx, s, id)
	if err != nil {
		return nil, r, err
	}
	rec, err := d.object(ctx, s, req, "VM")
	if err != nil {
		return nil, r, err
	}
	m, err := newMachine(rec)
	if err != nil {
		return nil, r, d.garbled(req, err)
	}
	return m, r, nil
}

// Filter flags of pools.
const (
	ownedByMe      = -3
	allVisible     = -2
	mineAndGroups  = -1
	primaryOfMine  = -4
	anyState       = -2
	anyStateButEnd = -1
	fromStart      = -1
	toEnd          = -1
)

// extendedChunk is how many whole VMs one call asks for: some 6 MB of XML.
const extendedChunk = 500

// quickRange is within what time a quick caller has taken such an answer.
const quickRange = time.Second

// extendedList is the list of whole VMs.
const extendedList = "one.vmpool.infoextended"

// query is a list, in the pool methods' arguments.
type query struct {
	method string
	flag   int
	state  int
	newest bool // the pool gives the newest first, as it does since 5.8 unless configured otherwise
}

func (q query) request(from, to int) request {
	return request{method: q.method, args: []any{q.flag, from, to, q.state}}
}

// VMs reads many VMs: in one call, or, for whole VMs of a release whose lists are abridged, in
// ranges of ids that an abridged list has told. Ranges are cheap; pages by offset are not, since
// oned makes each by reading all before it, and they lose VMs while others come and go.
func (d *Driver) VMs(ctx context.Context, s backends.Session, q backends.Query) iter.Seq2[*backends.VM, error] {
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
		if l.abridged() {
			l.whole(pool)
		} else {
			l.all(pool)
		}
	}
}

// pool turns a query into the pool's arguments. some is false when no VM can be meant.
func (d *Driver) pool(q backends.Query, r version) (_ query, some bool, err error) {
	p := query{method: "one.vmpool.info", newest: r.hasFeature(abridgedPools), state: anyStateButEnd}
	if q.ShowDeleted {
		p.state = anyState
	}
	if p.flag, err = ownerFlag(q.Owner, r); err != nil {
		return p, false, err
	}
	numbers, every := statesOf(q.States, q.RawStates, r)
	if every {
		return p, true, nil
	}
	if !q.ShowDeleted {
		numbers = slices.DeleteFunc(numbers, func(n int) bool { return n == stDone })
	}
	if len(numbers) == 1 {
		p.state = numbers[0]
	}
	return p, len(numbers) > 0, nil
}

func ownerFlag(owner string, r version) (int, error) {
	switch owner {
	case "", "all":
		return allVisible, nil
	case "me":
		return ownedByMe, nil
	case "group":
		if r.hasFeature(primaryGroup) {
			return primaryOfMine, nil
		}
		return mineAndGroups, nil
	}
	if native, ok := strings.CutPrefix(owner, "user:"); ok {
		if n, ok := number(native); ok {
			return n, nil
		}
	}
	e := &backends.Error{Code: backends.InvalidArgument, Detail: `The owner is not valid: expected "me", "group", "all" or "user:<number>".`}
	e.Fields = []backends.FieldError{{Parameter: "owner", Detail: "not an owner of this backend"}}
	return 0, e
}

// lister is one list under way.
type lister struct {
	d     *Driver
	ctx   context.Context
	s     backends.Session
	r     version
	q     backends.Query
	dec   *decoder
	yield func(*backends.VM, error) bool
}

// lister begins a list; nil when no VM can be meant.
func (d *Driver) lister(ctx context.Context, s backends.Session, q backends.Query) (*lister, query, error) {
	r, err := d.detect(ctx, s)
	if err != nil {
		return nil, query{}, err
	}
	pool, some, err := d.pool(q, r)
	if err != nil || !some {
		return nil, pool, err
	}
	return newLister(ctx, d, s, r, q), pool, nil
}

func newLister(ctx context.Context, d *Driver, s backends.Session, r version, q backends.Query) *lister {
	return &lister{d: d, ctx: ctx, s: s, r: r, q: q, dec: d.decoder(d.plan(q.View, q.Members, r), r)}
}

// abridged reports whether the usual list lacks what is asked for.
func (l *lister) abridged() bool { return dear(l.q.View, l.q.Members) && l.r.hasFeature(abridgedPools) }

// dear reports whether a query asks for more of a VM than abridged lists tell. Source: OpenNebula
// src/vm/VirtualMachine.cc, to_xml_short.
func dear(view backends.View, members []string) bool {
	return (view == backends.ViewFull || view == backends.ViewNative) && slices.ContainsFunc(vmFields, func(f vmField) bool {
		return (f.leftOut || viewRank(f.view) > viewRank(basic)) && viewRank(f.view) <= viewRank(view) && f.wanted(members)
	})
}

// alone reports whether only reading VMs one by one tells what is asked for, as in 5.8.0.
func (l *lister) alone() bool { return l.abridged() && !l.r.hasFeature(extendedPool) }

func (l *lister) sweep() *sweep {
	return &sweep{
		d: l.d, ctx: l.ctx, s: l.s, table: l.dec.plan.table, each: l.element,
		bad: func(id int, err error) bool {
			return l.yield(nil, &backends.Undecodable{ID: l.d.id(id), Err: err})
		},
	}
}

// ended yields what ended a list early. It reports whether to go on.
func (l *lister) ended(err error) bool {
	if err != nil && !errors.Is(err, errEnough) {
		l.yield(nil, err)
	}
	return err == nil
}

// all lists a pool in one call. It reports whether to go on.
func (l *lister) all(q query) bool { return l.ended(l.sweep().all(q)) }

// whole lists whole VMs: which there are first, and then range by range. The ranges leave no gap,
// so that a VM whose id the first list could not tell is met in the second.
func (l *lister) whole(q query) {
	var ids []int
	damage := false
	names := newLister(l.ctx, l.d, l.s, l.r, backends.Query{View: backends.ViewID, ShowDeleted: l.q.ShowDeleted, Reuse: true})
	names.yield = func(vm *backends.VM, err error) bool {
		bad, damaged := errors.AsType[*backends.Undecodable](err)
		var id backends.ID
		switch {
		case damaged:
			damage, id = true, bad.ID // the second list meets it again
		case err != nil:
			return l.yield(nil, err)
		default:
			id = vm.ID
		}
		if n, ok := number(id.Native); ok {
			ids = append(ids, n)
		}
		return true
	}
	if !names.all(q) || len(ids) == 0 && !damage {
		return
	}
	if l.alone() {
		l.oneByOne(ids)
		return
	}
	q.method = extendedList
	l.inRanges(q, ranges(ids, q.newest))
}

// inRanges reads range by range. While a caller is quick each range is asked for before the one in front
// of it has been read; from a slow one oned would wait to be rid of the answer, until it gives up.
func (l *lister) inRanges(q query, parts []part) {
	ctx, cancel := context.WithCancel(l.ctx)
	var next *early
	defer func() {
		cancel()
		next.drop()
	}()
	quick := false
	for i, p := range parts {
		sweep := l.sweep()
		sweep.ctx = ctx
		if next == nil {
			next = sweep.ask(q, p)
		}
		<-next.made
		sweep.early, next = next, nil
		if quick && i+1 < len(parts) {
			next = sweep.ask(q, parts[i+1])
		}
		if !l.ended(sweep.span(q, p)) {
			return
		}
		quick = sweep.took < quickRange
	}
}

// part is a range of ids, both ends included.
type part struct{ from, to int }

// ranges cuts all ids there can be into parts with extendedChunk of ids in each.
func ranges(ids []int, newestFirst bool) []part {
	slices.Sort(ids)
	parts := []part{everyID}
	for i := extendedChunk; i < len(ids); i += extendedChunk {
		parts[len(parts)-1].to = ids[i] - 1
		parts = append(parts, part{ids[i], math.MaxInt32})
	}
	if newestFirst {
		slices.Reverse(parts)
	}
	return parts
}

// oneByOne is for 5.8.0, which abridges its lists and has no other. It reports whether to go on.
func (l *lister) oneByOne(ids []int) bool {
	for _, n := range ids {
		vm, err := l.one(l.ctx, l.d.id(n))
		if vm == nil && err == nil {
			continue
		}
		if !l.yield(vm, err) || err != nil {
			return false
		}
	}
	return true
}

// one reads a VM by itself: nil for one that is not in the list any more.
func (l *lister) one(ctx context.Context, id backends.ID) (*backends.VM, error) {
	vm, at, err := l.d.vm(ctx, l.s, id, l.q.View, l.q.Members)
	switch {
	case err != nil && (backends.CodeOf(err) == backends.NotFound || backends.CodeOf(err) == backends.PermissionDenied):
		return nil, nil
	case err != nil:
		return nil, err
	case !l.q.ShowDeleted && at.state == stDone:
		return nil, nil
	}
	return vm, nil
}

// element is one VM of the answer.
func (l *lister) element(item *scan.Item, err error) bool {
	var vm *backends.VM
	if err == nil {
		vm, err = l.dec.decode(item)
	}
	switch {
	case err != nil:
		var id backends.ID
		if n, ok := idOf(item); ok {
			id = l.d.id(n)
		}
		return l.yield(nil, &backends.Undecodable{ID: id, Err: err})
	case !l.q.ShowDeleted && l.dec.at.state == stDone:
		return true
	case !l.q.Reuse:
		vm = vm.Clone()
	}
	return l.yield(vm, nil)
}
