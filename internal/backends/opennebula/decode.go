package opennebula

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// plan is the part of the table of fields that one reading needs.
type plan struct {
	table *scan.Table
	slots int
	rows  []planned
	named []bool // by slot: the names of what is found are of interest
	view  backends.View
	etag  bool
}

// planned is a row with the slots of its sources.
type planned struct {
	decode func(*decoder, source)
	slots  []int
}

// What every VM has; one that lacks it is damaged.
const (
	slotID = iota
	slotName
	slotState
	slotLCM
)

var corePaths = []string{slotID: "ID", slotName: "NAME", slotState: "STATE", slotLCM: "LCM_STATE"}

// viewRank orders the views. One that is not named is FULL.
func viewRank(v backends.View) int {
	switch v {
	case backends.ViewID:
		return 0
	case backends.ViewBasic:
		return 1
	case backends.ViewNative:
		return 3
	}
	return 2
}

// newPlan chooses the rows that a view and the members that are asked for need.
func newPlan(view backends.View, members []string, r version) *plan {
	p := &plan{view: view}
	paths := slices.Clone(corePaths)
	for _, row := range vmFields {
		if viewRank(row.view) > viewRank(view) || !row.wanted(members) {
			continue
		}
		if row.decode == nil {
			p.etag = p.etag || row.members == "etag"
			continue
		}
		slots := []int{}
		for _, path := range row.paths(r) {
			slot := slices.Index(paths, path)
			if slot < 0 {
				slot = len(paths)
				paths = append(paths, path)
			}
			slots = append(slots, slot)
		}
		p.rows = append(p.rows, planned{row.decode, slots})
	}
	if p.etag && members != nil {
		return newPlan(view, nil, r) // the version is that of everything
	}
	for _, path := range paths {
		p.named = append(p.named, strings.HasSuffix(path, "/*"))
	}
	p.table, p.slots = scan.NewTable(paths), len(paths)
	return p
}

// plan is the plan of a whole view, which is made once.
func (d *Driver) plan(view backends.View, members []string, r version) *plan {
	if members != nil {
		return newPlan(view, members, r)
	}
	key := planKey{view, r}
	if p, ok := d.plans.Load(key); ok {
		return p.(*plan)
	}
	p := newPlan(view, nil, r)
	d.plans.Store(key, p)
	return p
}

type planKey struct {
	view    backends.View
	release version
}

// decoder makes VMs of items, one after the other in the same room.
type decoder struct {
	*room   // what a VM keeps alive
	driver  *Driver
	release version
	plan    *plan

	item  *scan.Item
	texts []string // of what was found
	names []string // likewise, where they are of interest
	first []int    // by slot: the place of the first that was found, plus one
	chars []byte
	ends  []int
	at    place

	standings map[place]*standing
	owners    map[ownerKey]*backends.Owner
	hosts     map[hostKey]*backends.Ref
}

func (d *Driver) decoder(p *plan, r version) *decoder {
	return &decoder{
		room: &room{}, driver: d, release: r, plan: p, first: make([]int, p.slots),
		standings: map[place]*standing{}, owners: map[ownerKey]*backends.Owner{}, hosts: map[hostKey]*backends.Ref{},
	}
}

// decode makes a VM of an item. It is good until the next.
func (d *decoder) decode(item *scan.Item) (*backends.VM, error) {
	d.load(item)
	d.clear()
	if err := d.core(); err != nil {
		return nil, err
	}
	for _, row := range d.plan.rows {
		row.decode(d, source{d, row.slots})
	}
	if d.plan.etag {
		d.vm.ETag = backends.ETag(&d.vm)
	}
	if d.plan.view == backends.ViewNative {
		if err := d.native(); err != nil {
			return nil, err
		}
	}
	return &d.vm, nil
}

// native reads the item once more, for all that is in it.
func (d *decoder) native() error {
	again := scan.NewDocument(scan.Whole(d.item.Raw()), "VM", allElements, true)
	return alone(again, func(item *scan.Item) error {
		d.vm.Native = native(recordOf("VM", item), vmTypes)
		return nil
	})
}

// load resolves the texts of what was found, all into one string.
func (d *decoder) load(item *scan.Item) {
	d.item = item
	d.chars, d.ends, d.texts, d.names = d.chars[:0], d.ends[:0], d.texts[:0], d.names[:0]
	clear(d.first)
	for i, f := range item.Found() {
		if d.first[f.Slot] == 0 {
			d.first[f.Slot] = i + 1
		}
		if d.plan.named[f.Slot] {
			d.chars = append(d.chars, item.Name(f)...)
		}
		d.ends = append(d.ends, len(d.chars))
		d.chars = item.Append(d.chars, f)
		d.ends = append(d.ends, len(d.chars))
	}
	all, from := string(d.chars), 0
	for i := range item.Found() {
		name, text := d.ends[2*i], d.ends[2*i+1]
		d.names = append(d.names, all[from:name])
		d.texts = append(d.texts, all[name:text])
		from = text
	}
}

// text is the first text of a slot, "" when there is none.
func (d *decoder) text(slot int) string {
	if i := d.first[slot]; i > 0 {
		return d.texts[i-1]
	}
	return ""
}

// core decodes what every VM has.
func (d *decoder) core() error {
	id := d.text(slotID)
	if _, ok := number(id); !ok {
		return errors.New("VM without a usable ID")
	}
	if d.first[slotName] == 0 {
		return errors.New("VM without NAME")
	}
	var err error
	if d.at.state, err = d.code(slotState); err != nil {
		return err
	}
	if d.at.lcm, err = d.code(slotLCM); err != nil {
		return err
	}
	if !d.at.active() {
		d.at.lcm = 0 // without a meaning then
	}
	d.vm.ID = backends.ID{Backend: d.driver.cfg.Name, Native: id}
	d.vm.Backend, d.vm.Kind, d.vm.UID = d.driver.cfg.Name, backends.OpenNebula, id
	return nil
}

// code is a state's number.
func (d *decoder) code(slot int) (int, error) {
	n, err := strconv.Atoi(d.text(slot))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("VM without a usable %s", corePaths[slot])
	}
	return n, nil
}

// source is where a row's values come from.
type source struct {
	d     *decoder
	slots []int // in the order of the row's paths
}

// text is the text of the row's path i.
func (s source) text(i int) string { return s.d.text(s.slots[i]) }

// has reports whether there is an element of path i.
func (s source) has(i int) bool { return s.d.first[s.slots[i]] > 0 }

// leaves gives the names and texts of all that was found by path i, which ends in /*.
func (s source) leaves(i int, each func(name, text string)) {
	for at, f := range s.d.item.Found() {
		if f.Slot == s.slots[i] {
			each(s.d.names[at], s.d.texts[at])
		}
	}
}

// element is one of those that may occur again, as far as its row's paths lead into it.
type element struct {
	d        *decoder
	slot     int
	from, to int // places among what was found
}

// elements gives the elements of the row's first n paths, which end in /, in the record's order.
func (s source) elements(n int, each func(element)) {
	found := s.d.item.Found()
	for i := 0; i < len(found); i++ {
		at := slices.Index(s.slots[:n], found[i].Slot)
		if at < 0 {
			continue
		}
		e := element{d: s.d, slot: at, from: i + 1, to: i + 1}
		for e.to < len(found) && found[i].Holds(found[e.to]) {
			e.to++
		}
		each(e)
		i = e.to - 1
	}
}

// text is the text of the first leaf of that name, "" when there is none.
func (e element) text(name string) string {
	found := e.d.item.Found()
	for i := e.from; i < e.to; i++ {
		if string(e.d.item.Name(found[i])) == name {
			return e.d.texts[i]
		}
	}
	return ""
}
