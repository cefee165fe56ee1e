package feed

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// Snapshot is the VMs of one login as its watcher knows them: those that a list shows when it asks
// for no owner, no deleted VMs and no templates. What it holds is shared by all who read it, and
// never written to again.
type Snapshot struct {
	// VMs are in the view BASIC, in the order of ids: numbers by their value, then others.
	VMs []*backends.VM
	// Undecodable are VMs that are there and that nobody can read, in the same order.
	Undecodable []*backends.Undecodable
	// AsOf is how old the snapshot is: nothing that happened to a VM before is missing. See
	// [backends.Batch]. What only the names of other objects tell, a host's that was renamed, can be older.
	AsOf time.Time
}

// Age is how long before now the snapshot was the truth.
func (s Snapshot) Age(now time.Time) time.Duration { return now.Sub(s.AsOf) }

// Get finds a VM. One that is not found may be there all the same: it can be new, deleted, a
// template, or one that nobody can read.
func (s Snapshot) Get(id backends.ID) (*backends.VM, bool) {
	i, found := search(s.VMs, id)
	if !found {
		return nil, false
	}
	return s.VMs[i], true
}

// After is the VMs that come behind id, whether or not id is one of them.
func (s Snapshot) After(id backends.ID) []*backends.VM {
	i, found := search(s.VMs, id)
	if found {
		i++
	}
	return s.VMs[i:]
}

// fleet is every VM that a feed knows. It is never written to: a batch makes another one, so that
// snapshots share it with the watcher.
type fleet struct {
	vms         []*backends.VM          // in the order of ids; unreadable ones too, as UNKNOWN
	undecodable []*backends.Undecodable // the unreadable ones, in the same order
}

// snapshot leaves out of the VMs those that nobody can read.
func (f fleet) snapshot(asOf time.Time) *Snapshot {
	vms := f.vms
	if len(f.undecodable) > 0 {
		vms = slices.DeleteFunc(slices.Clone(vms), func(vm *backends.VM) bool {
			_, bad := slices.BinarySearchFunc(f.undecodable, vm.ID, compareUndecodable)
			return bad
		})
	}
	return &Snapshot{VMs: vms, Undecodable: f.undecodable, AsOf: asOf}
}

// change is what a batch says of one VM: what it is now, or nil when it is gone.
type change struct {
	id backends.ID
	vm *backends.VM
}

// changesOf is a batch in the order of ids, with copies of its VMs. Of one that stands in it twice the
// last counts.
func changesOf(b backends.Batch, keep func(*backends.VM) *backends.VM) []change {
	changes := make([]change, 0, len(b.VMs)+len(b.Gone))
	for _, vm := range slices.Backward(b.VMs) {
		changes = append(changes, change{vm.ID, keep(vm)})
	}
	for _, id := range b.Gone {
		changes = append(changes, change{id: id})
	}
	slices.SortStableFunc(changes, func(a, b change) int { return compareIDs(a.id, b.id) })
	return slices.CompactFunc(changes, func(a, b change) bool { return a.id == b.id })
}

// with is the fleet after a batch, whose VMs are copied by keep. tell is handed each VM that the batch
// has or shows to be gone, as it was (nil: not known) and as it is (nil: gone), in the order of ids.
// It costs a copy of the pointers, and a search for each VM of the batch.
func (f fleet) with(b backends.Batch, keep func(*backends.VM) *backends.VM, tell func(id backends.ID, before, after *backends.VM)) fleet {
	changes := changesOf(b, keep)
	if len(changes) == 0 && !b.Complete {
		return f
	}
	rest := f.vms
	vms := make([]*backends.VM, 0, max(len(rest), len(changes)))
	pass := func(n int) { // the batch does not have the next n
		if !b.Complete {
			vms = append(vms, rest[:n]...)
		} else {
			for _, vm := range rest[:n] {
				tell(vm.ID, vm, nil)
			}
		}
		rest = rest[n:]
	}
	for _, c := range changes {
		at, known := search(rest, c.id)
		pass(at)
		var before *backends.VM
		if known {
			before, rest = rest[0], rest[1:]
		}
		if c.vm != nil {
			vms = append(vms, c.vm)
		}
		tell(c.id, before, c.vm)
	}
	pass(len(rest))
	return fleet{vms, f.undecodableAfter(b, changes)}
}

// undecodableAfter is which VMs nobody can read after a batch: its own, and those before that it says
// nothing of.
func (f fleet) undecodableAfter(b backends.Batch, changes []change) []*backends.Undecodable {
	if len(f.undecodable)+len(b.Undecodable) == 0 {
		return nil
	}
	bad := slices.Clone(b.Undecodable)
	for _, u := range f.undecodable {
		_, told := slices.BinarySearchFunc(changes, u.ID, func(c change, id backends.ID) int { return compareIDs(c.id, id) })
		if !told && !b.Complete {
			bad = append(bad, u)
		}
	}
	slices.SortFunc(bad, func(a, b *backends.Undecodable) int { return compareIDs(a.ID, b.ID) })
	return bad
}

// search is where id stands in vms, or would. It begins at the front, where the next one of a batch
// often is.
func search(vms []*backends.VM, id backends.ID) (at int, found bool) {
	end := 1
	for end < len(vms) && compareIDs(vms[end-1].ID, id) < 0 {
		end *= 2
	}
	begin := end / 2
	at, found = slices.BinarySearchFunc(vms[begin:min(end, len(vms))], id, func(vm *backends.VM, id backends.ID) int {
		return compareIDs(vm.ID, id)
	})
	return begin + at, found
}

func compareUndecodable(u *backends.Undecodable, id backends.ID) int { return compareIDs(u.ID, id) }

// compareIDs orders ids of one backend as lists do: numbers by their value, then all others.
func compareIDs(a, b backends.ID) int {
	switch numberA, numberB := isNumber(a.Native), isNumber(b.Native); {
	case numberA && numberB:
		return cmp.Or(cmp.Compare(len(a.Native), len(b.Native)), strings.Compare(a.Native, b.Native))
	case numberA:
		return -1
	case numberB:
		return 1
	}
	return strings.Compare(a.Native, b.Native)
}

func isNumber(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text != ""
}
