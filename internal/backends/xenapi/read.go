package xenapi

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

// VM reads one VM. Templates, snapshots and control domains are VMs of XenAPI too, and say so.
func (d *Driver) VM(ctx context.Context, s backends.Session, id backends.ID, view backends.View) (*backends.VM, error) {
	return d.link(s).one(ctx, id, backends.Query{View: view})
}

// one reads the VM with an id.
func (l *link) one(ctx context.Context, id backends.ID, q backends.Query) (*backends.VM, error) {
	h, err := l.open(ctx, "VM", id)
	if err != nil {
		return nil, err
	}
	return l.read(ctx, h, q)
}

// vm reads some members of a VM.
func (l *link) vm(ctx context.Context, h *handle, members ...string) (*backends.VM, error) {
	return l.read(ctx, h, backends.Query{View: backends.ViewBasic, Members: members})
}

func (l *link) read(ctx context.Context, h *handle, q backends.Query) (*backends.VM, error) {
	const method = "VM.get_record"
	v, err := l.on(ctx, h, method)
	if err != nil {
		return nil, err
	}
	vm, err := l.names(false).reader(q).of(ctx, v)
	if err != nil {
		return nil, l.d.undecodable(method, err)
	}
	return vm, nil
}

// VMs reads all VMs with one call while its answer arrives, and with one for each other class that is
// shown. The answer is read as fast as the VMs are taken.
func (d *Driver) VMs(ctx context.Context, s backends.Session, q backends.Query) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		d.link(s).names(true).reader(q).list(ctx, q, yield)
	}
}

// list makes VMs of the records of a list.
func (r *vmReader) list(ctx context.Context, q backends.Query, yield func(*backends.VM, error) bool) {
	a, err := r.stream(ctx, ofLists, "VM.get_all_records_where", expression(q))
	if err != nil {
		yield(nil, err)
		return
	}
	defer a.close()
	err = a.records(r.rec, func(damaged error) error {
		vm, err := r.next(ctx, damaged)
		if err != nil && !isUndecodable(err) {
			return err
		}
		if !yield(vm, err) {
			return errEnough
		}
		return nil
	})
	if err != nil {
		yield(nil, err)
	}
}

// next makes a VM of the record of a list that was walked last.
func (r *vmReader) next(ctx context.Context, damaged error) (*backends.VM, error) {
	if damaged != nil {
		return nil, r.spoilt(damage{damaged})
	}
	if uuid, err := r.uuid(); err == nil {
		r.d.refs.learnListed(r.rec.Name, uuid)
	}
	vm, err := r.read(ctx)
	if err != nil {
		return nil, r.spoilt(err)
	}
	return vm, nil
}

// spoilt tells the damage of one VM from an error that ends the list.
func (r *vmReader) spoilt(err error) error {
	if _, ok := errors.AsType[damage](err); !ok {
		return r.d.undecodable("VM.get_all_records_where", err)
	}
	u := &backends.Undecodable{Err: err}
	if uuid, err := r.uuid(); err == nil {
		u.ID = r.d.id(string(uuid))
	}
	return u
}

func isUndecodable(err error) bool {
	_, ok := errors.AsType[*backends.Undecodable](err)
	return ok
}

// expression is what of a query XenAPI's own filter can do. A namespaced field is written with two
// underscores. Values that would need an escape, whose rules differ by release, are left to the
// caller. Source: xen-api ocaml/database/db_filter_parse.mly.
func expression(q backends.Query) string {
	var all []string
	if !q.ShowTemplates {
		all = append(all, equals("is_a_template", "false"), equals("is_a_snapshot", "false"), equals("is_control_domain", "false"))
	}
	all = append(all, anyOf("power_state", powerStatesOf(q.States))...)
	all = append(all, anyOf("power_state", q.RawStates)...)
	all = append(all, anyOf("name__label", q.DisplayNames)...)
	if len(all) == 0 {
		return "true"
	}
	return strings.Join(all, " and ")
}

func equals(field, value string) string { return `field "` + field + `" = "` + value + `"` }

// anyOf is a term that says a field has one of the values: none when all may pass.
func anyOf(field string, values []string) []string {
	if values == nil || slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\"'\\\r\n") }) {
		return nil
	}
	if len(values) == 0 {
		return []string{"false"}
	}
	terms := make([]string, len(values))
	for i, v := range values {
		terms[i] = equals(field, v)
	}
	return []string{"(" + strings.Join(terms, " or ") + ")"}
}

// powerStatesOf are the power states in which a VM can be in one of the states; nil for all. What is
// under way hides a power state, and never the other way round.
func powerStatesOf(states []string) []string {
	if states == nil {
		return nil
	}
	power := []string{}
	for _, s := range states {
		found := false
		for name, settled := range powerStates {
			if string(settled) == s {
				power, found = append(power, name), true
			}
		}
		if !found && !never(backends.State(s)) {
			return nil
		}
	}
	slices.Sort(power)
	return power
}

// never reports whether no VM of XenAPI is ever in s.
func never(s backends.State) bool {
	switch s {
	case backends.StatePending, backends.StateHeld, backends.StateStored, backends.StateDeleted, backends.StateFailed:
		return true
	}
	return false
}
