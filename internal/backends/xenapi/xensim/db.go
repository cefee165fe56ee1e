package xensim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// object is one row of the database: a reference and a value for each field of its class.
type object struct {
	class             *class
	ref               string
	vals              []any
	created, modified int64 // generations, for events
	row               *row  // how it was shown last; may be out of date
}

func (o *object) get(name string) any {
	f := o.class.index[name]
	if f == nil {
		return nil
	}
	return o.vals[f.index]
}

func (o *object) str(name string) string     { s, _ := o.get(name).(string); return s }
func (o *object) num(name string) int64      { n, _ := o.get(name).(int64); return n }
func (o *object) flag(name string) bool      { b, _ := o.get(name).(bool); return b }
func (o *object) strs(name string) []string  { s, _ := o.get(name).([]string); return s }
func (o *object) fields(name string) record  { r, _ := o.get(name).(record); return r }
func (o *object) date(name string) time.Time { t, _ := o.get(name).(time.Time); return t }
func (o *object) isClass(name string) bool   { return o.class.name == name }
func (o *object) uuid() string               { return o.str("uuid") }
func (o *object) powerState() string         { return o.str("power_state") }
func (o *object) operations() record         { return o.fields("current_operations") }
func (o *object) lowerState() string         { return strings.ToLower(o.powerState()) }

type table struct {
	class  *class
	byRef  map[string]*object
	byUUID map[string]*object
	latest int64     // generation of the newest change
	order  []*object // what sorted returned, until an object comes or goes

	sources []*table // those that its records follow from too
}

// sourcesLatest is the generation of the newest change that records here can show.
func (t *table) sourcesLatest() int64 {
	latest := t.latest
	for _, x := range t.sources {
		latest = max(latest, x.latest)
	}
	return latest
}

// sorted lists the rows as xapi does, by falling reference. The caller must not change the list.
func (t *table) sorted() []*object {
	if t.order == nil {
		t.order = slices.SortedFunc(maps.Values(t.byRef), func(a, b *object) int { return strings.Compare(b.ref, a.ref) })
	}
	return t.order
}

type tombstone struct {
	class, ref          string
	created, generation int64
}

// database holds all objects. The Server's mutex guards it.
type database struct {
	tables     map[string]*table
	inverse    map[string]inverse // "VBD.VM" → VM.VBDs
	generation int64
	deleted    []tombstone
	watchers   chan struct{}   // closed at the next change; nil while nobody watches
	filling    map[mirror]bool // while the database is filled: the sets that are not sorted yet; nil afterwards
}

// mirror is one of the sets that inverses tells of.
type mirror struct {
	owner *object
	field string
}

// inverse is a set of references that mirrors the single references pointing back at it.
type inverse struct{ class, field string }

// inverses says which sets are kept by the database itself: owner field → mirrored set.
func inverses() map[string]inverse {
	return map[string]inverse{
		"VBD.VM": {"VM", "VBDs"}, "VIF.VM": {"VM", "VIFs"}, "console.VM": {"VM", "consoles"}, "VTPM.VM": {"VM", "VTPMs"},
		"crashdump.VM": {"VM", "crash_dumps"}, "crashdump.VDI": {"VDI", "crash_dumps"},
		"VM.snapshot_of": {"VM", "snapshots"}, "VM.parent": {"VM", "children"}, "VM.resident_on": {"host", "resident_VMs"},
		"VM.appliance": {"VM_appliance", "VMs"}, "VBD.VDI": {"VDI", "VBDs"}, "VDI.SR": {"SR", "VDIs"}, "VDI.snapshot_of": {"VDI", "snapshots"},
		"PBD.SR": {"SR", "PBDs"}, "PBD.host": {"host", "PBDs"}, "PIF.network": {"network", "PIFs"}, "PIF.host": {"host", "PIFs"},
		"VIF.network": {"network", "VIFs"}, "task.subtask_of": {"task", "subtasks"}, "host_cpu.host": {"host", "host_CPUs"}, "PCI.host": {"host", "PCIs"},
	}
}

func newDatabase(sc *schema) *database {
	db := &database{tables: map[string]*table{}, inverse: inverses()}
	for name, cl := range sc.classes {
		cl.table = &table{class: cl, byRef: map[string]*object{}, byUUID: map[string]*object{}}
		db.tables[name] = cl.table
	}
	for name, others := range sources() {
		for _, other := range others {
			if t := db.tables[other]; t != nil && db.tables[name] != nil {
				db.tables[name].sources = append(db.tables[name].sources, t)
			}
		}
	}
	return db
}

func (db *database) find(class, ref string) *object {
	if t := db.tables[class]; t != nil {
		return t.byRef[ref]
	}
	return nil
}

// mark notes that the object changed.
func (db *database) mark(o *object) {
	o.modified = db.touch()
	o.class.table.latest = o.modified
}

func (db *database) touch() int64 {
	db.generation++
	if db.watchers != nil {
		close(db.watchers)
		db.watchers = nil
	}
	return db.generation
}

// changes is closed at the next change of any object.
func (db *database) changes() <-chan struct{} {
	if db.watchers == nil {
		db.watchers = make(chan struct{})
	}
	return db.watchers
}

// add makes an object; values not given are the fields' defaults.
func (db *database) add(class, ref, uuid string, values record) *object {
	t := db.tables[class]
	g := db.touch()
	o := &object{class: t.class, ref: ref, vals: slices.Clone(t.class.defaults), created: g, modified: g}
	t.byRef[ref], t.byUUID[uuid], t.order = o, o, nil
	db.set(o, "uuid", uuid)
	for _, m := range values {
		db.set(o, m.Name, m.Value)
	}
	return o
}

// set writes a field. A field that this release does not have is left out.
func (db *database) set(o *object, name string, v any) {
	f := o.class.index[name]
	if f == nil {
		return
	}
	old := o.vals[f.index]
	o.vals[f.index] = v
	db.mark(o)
	if f.typ.kind == "ref" {
		if inv, ok := db.inverse[o.class.name+"."+name]; ok && old != v {
			db.unlink(inv, old, o.ref)
			db.link(inv, v, o.ref)
		}
	}
}

func (db *database) link(inv inverse, to any, ref string) {
	owner := db.find(inv.class, asString(to))
	if owner == nil {
		return
	}
	refs := owner.strs(inv.field)
	if db.filling != nil {
		db.filling[mirror{owner, inv.field}] = true
		db.set(owner, inv.field, append(refs, ref))
		return
	}
	if at, found := slices.BinarySearchFunc(refs, ref, falling); !found {
		db.set(owner, inv.field, slices.Insert(slices.Clone(refs), at, ref))
	}
}

func (db *database) unlink(inv inverse, from any, ref string) {
	owner := db.find(inv.class, asString(from))
	if owner == nil {
		return
	}
	refs := owner.strs(inv.field)
	if last := len(refs) - 1; db.filling != nil && last >= 0 && refs[last] == ref {
		db.set(owner, inv.field, refs[:last])
		return
	}
	db.set(owner, inv.field, slices.DeleteFunc(slices.Clone(refs), func(r string) bool { return r == ref }))
}

func falling(a, b string) int { return strings.Compare(b, a) }

// fill runs f, which adds so many VMs to an empty database. Sets of 100,000 references that grow by one are sorted once, at
// the end.
func (db *database) fill(vms int, f func()) {
	for class, each := range map[string]int{"VM": 1, "VM_metrics": 1, "VM_guest_metrics": 1, "VBD": 2, "VIF": 1, "VDI": 1, "console": 1} {
		t := db.tables[class]
		t.byRef, t.byUUID = make(map[string]*object, vms*each), make(map[string]*object, vms*each)
	}
	db.filling = map[mirror]bool{}
	f()
	for m := range db.filling {
		slices.SortFunc(m.owner.strs(m.field), falling)
	}
	db.filling = nil
}

func asString(v any) string { s, _ := v.(string); return s }

func (db *database) remove(o *object) {
	t := db.tables[o.class.name]
	for _, f := range o.class.fields {
		if inv, ok := db.inverse[o.class.name+"."+f.name]; ok {
			db.unlink(inv, o.vals[f.index], o.ref)
		}
	}
	delete(t.byRef, o.ref)
	delete(t.byUUID, o.uuid())
	t.order = nil
	t.latest = db.touch()
	db.deleted = append(db.deleted, tombstone{strings.ToLower(o.class.name), o.ref, o.created, t.latest})
	if len(db.deleted) > maxTombstones {
		db.deleted = slices.Clone(db.deleted[len(db.deleted)-maxTombstones/2:])
	}
}

// maxTombstones bounds the memory of deletions; a client with an older token misses some.
const maxTombstones = 100_000
