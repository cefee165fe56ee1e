package opennebula

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"vmgateway/internal/backends"
)

// maxAtOnce is how many VMs are read by themselves at once: some of the connections that oned serves.
const maxAtOnce = 6

var _ backends.Chooser = (*Driver)(nil)

// Choose has abridged lists chosen from, a quarter of what whole VMs are.
func (d *Driver) Choose(ctx context.Context, s backends.Session, q backends.Query, members []string) *backends.Choice {
	r, err := d.detect(ctx, s)
	if err != nil {
		return nil // the list will meet it too
	}
	l := newLister(ctx, d, s, r, q)
	if !l.abridged() || dear(backends.ViewNative, members) {
		return nil
	}
	l.q.Reuse = false
	lean := q
	lean.View, lean.Members, lean.Reuse = backends.ViewBasic, members, true
	return &backends.Choice{VMs: d.VMs(ctx, s, lean), Keep: (*backends.VM).Clone, Whole: l.chosen}
}

// chosen lists these VMs as they are now, in their order.
func (l *lister) chosen(vms []*backends.VM) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		ids := make([]string, len(vms))
		for i, vm := range vms {
			ids[i] = vm.ID.Native
		}
		found, err := l.find(ids)
		for _, id := range ids {
			one, there := found.by[id]
			if !there && err != nil {
				break
			}
			if !there && len(found.nobody) > 0 {
				one.err, found.nobody = found.nobody[0], found.nobody[1:]
			}
			if !yield(one.vm, one.err) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// find reads the VMs with these ids.
func (l *lister) find(ids []string) (*found, error) {
	all := &found{by: make(map[string]result, len(ids))}
	l.yield = all.add
	if !l.r.hasFeature(vmSet) {
		return all, l.each(ids)
	}
	for part := range slices.Chunk(ids, extendedChunk) {
		if err := l.set(part); err != nil {
			return all, err
		}
	}
	return all, nil
}

// found is what became of VMs that were asked for, in whichever order.
type found struct {
	by     map[string]result
	nobody []error // of VMs that do not even tell their ids
}

type result struct {
	vm  *backends.VM
	err error
}

func (f *found) add(vm *backends.VM, err error) bool {
	bad, damaged := errors.AsType[*backends.Undecodable](err)
	switch {
	case !damaged:
		f.by[vm.ID.Native] = result{vm, nil}
	case bad.ID == backends.ID{}:
		f.nobody = append(f.nobody, err)
	default:
		f.by[bad.ID.Native] = result{nil, err}
	}
	return true
}

// set reads VMs in one call, or by halves where one of them makes every answer fail that has it. Those
// that have gone, or may not be seen any more, are not in the answer.
func (l *lister) set(ids []string) error {
	err := l.sweep().read(request{method: "one.vmpool.infoset", args: []any{strings.Join(ids, ","), true}})
	switch {
	case !poisoned(err):
		return err
	case len(ids) == 1:
		l.yield(nil, l.undecodable(ids[0], err))
		return nil
	}
	if err := l.set(ids[:len(ids)/2]); err != nil {
		return err
	}
	return l.set(ids[len(ids)/2:])
}

// each is set for releases that have no call for it.
func (l *lister) each(ids []string) error {
	results := make([]result, len(ids))
	group, ctx := errgroup.WithContext(l.ctx)
	group.SetLimit(maxAtOnce)
	for i, id := range ids {
		group.Go(func() error {
			vm, err := l.one(ctx, backends.ID{Backend: l.d.cfg.Name, Native: id})
			if err != nil && backends.CodeOf(err) != backends.BackendFault {
				return err
			}
			if err != nil {
				err = l.undecodable(id, err)
			}
			results[i] = result{vm, err}
			return nil
		})
	}
	err := group.Wait()
	for _, r := range results {
		if r.vm != nil || r.err != nil {
			l.yield(r.vm, r.err)
		}
	}
	return err
}

func (l *lister) undecodable(native string, err error) error {
	return &backends.Undecodable{ID: backends.ID{Backend: l.d.cfg.Name, Native: native}, Err: err}
}
