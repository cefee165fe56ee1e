package xenapi

import (
	"context"
	"iter"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

const (
	// fewOf is how many times as much what belongs to a VM costs read by itself as it costs among that of
	// all: 8 to 10 on the simulator.
	fewOf = 10
	// maxAtOnce is how many records are read at once: enough that the way there and back is not waited
	// for each time, and few beside the connections that others need.
	maxAtOnce = 8
)

var _ backends.Chooser = (*Driver)(nil)

// Choose reads all VMs once and keeps the records of those that may be wanted, so that only what belongs
// to these is left to read: by the references in their records, unless they are a good part of all. By
// an expression of get_all_records_where it would be fewer calls, but xapi tries each of its terms on
// each row, which for the devices of 100 VMs of 10,000 is millions of times. Source: xen-api
// ocaml/database/db_cache_impl.ml, find_refs_with_filter_internal.
func (d *Driver) Choose(ctx context.Context, s backends.Session, q backends.Query, members []string) *backends.Choice {
	if !dear(q.View, q.Members) || dear(backends.ViewNative, members) {
		return nil
	}
	c := &choice{ctx: ctx, s: s, n: d.link(s).names(true), q: q}
	c.q.Reuse = false
	lean := q
	lean.View, lean.Members, lean.Reuse = backends.ViewBasic, members, true
	r := c.n.reader(lean)
	return &backends.Choice{
		VMs: func(yield func(*backends.VM, error) bool) {
			r.list(ctx, lean, func(vm *backends.VM, err error) bool {
				c.all++
				return yield(vm, err)
			})
		},
		Keep: func(vm *backends.VM) *backends.VM {
			kept := vm.Clone()
			kept.Native = r.rec.Whole().Clone() // it goes with the VM when that is not chosen after all
			return kept
		},
		Whole: c.whole,
	}
}

// choice is a list to choose from.
type choice struct {
	ctx context.Context
	s   backends.Session
	n   *names
	q   backends.Query
	all int // VMs in the list
}

// recordOf is the record that a VM was kept with.
func recordOf(kept *backends.VM) scan.Value {
	v, _ := kept.Native.(scan.Value)
	return v
}

func (c *choice) whole(kept []*backends.VM) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		r := c.n.reader(c.q)
		err := c.countFew(len(kept))
		if err == nil && c.n.few {
			err = c.loadFew(r, kept)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, vm := range kept {
			vm, err := c.one(r, vm)
			if !yield(vm, err) || err != nil && !isUndecodable(err) {
				return
			}
		}
	}
}

// countFew decides whether what belongs to the VMs is read by itself. There may be many more than in the
// list: those that its expression leaves out, snapshots above all, which have devices like any other.
func (c *choice) countFew(kept int) error {
	if c.n.few = kept <= maxAtOnce || kept*fewOf < c.all; c.n.few {
		return nil
	}
	const method = "VM.get_all"
	v, err := c.n.call(c.ctx, method)
	if err != nil {
		return err
	}
	all := 0
	p := v.Parts(scan.Array)
	for p.Next() {
		all++
	}
	if p.Err() != nil {
		return c.n.d.undecodable(method, p.Err())
	}
	c.n.few = kept*fewOf < all
	return nil
}

// one makes a VM of its record. One of which something has gone since the record was read has changed, or
// gone itself: it is read again.
func (c *choice) one(r *vmReader, kept *backends.VM) (*backends.VM, error) {
	r.devices.gone = false
	vm, err := r.of(c.ctx, recordOf(kept))
	switch {
	case err != nil:
		return nil, r.spoilt(err)
	case !r.devices.gone:
		return vm, nil
	}
	vm, err = r.d.link(c.s).one(c.ctx, kept.ID, c.q)
	switch {
	case err == nil:
		return vm, nil
	case backends.CodeOf(err) == backends.NotFound:
		return nil, nil
	case backends.CodeOf(err) == backends.BackendFault:
		return nil, &backends.Undecodable{ID: kept.ID, Err: err}
	}
	return nil, err
}

// loadFew reads what belongs to a few VMs, as far as it is asked for.
func (c *choice) loadFew(r *vmReader, kept []*backends.VM) (err error) {
	var vbds, vdis, vifs, guests []string
	for _, vm := range kept {
		if r.parse(recordOf(vm)) != nil {
			continue // it is told when the VM is made
		}
		if asked("disks", c.q.Members) {
			vbds = r.addRefs(vbds, slotVBDs)
		}
		if asked("nics", c.q.Members) {
			vifs = r.addRefs(vifs, slotVIFs)
			guests = r.addRefs(guests, slotGuestMetrics)
		}
		if asked("xenapi.suspendDisk", c.q.Members) {
			vdis = r.addRefs(vdis, slotSuspendDisk)
		}
	}
	d := r.devices
	if d.vbds, err = readEach(c.ctx, c.n, "VBD", vbdFields, vbds); err != nil {
		return err
	}
	for _, vbd := range d.vbds {
		vdis = append(vdis, vbd.vdi)
	}
	if d.vdis, err = readEach(c.ctx, c.n, "VDI", vdiFields, vdis); err != nil {
		return err
	}
	if d.vifs, err = readEach(c.ctx, c.n, "VIF", vifFields, vifs); err != nil {
		return err
	}
	d.guests, err = readEach(c.ctx, c.n, "VM_guest_metrics", guestFields, guests)
	return err
}

// addRefs adds the references in a member: one, or a set. What nobody can read is told when the VM is made.
func (r *vmReader) addRefs(all []string, slot int) []string {
	if r.rec.Value(slot).Kind() == scan.Array {
		refs, _ := r.refs(slot)
		return append(all, refs...)
	}
	ref, _ := r.reference(slot)
	return append(all, ref)
}
