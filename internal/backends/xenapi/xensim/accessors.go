package xensim

import (
	"maps"
	"slices"
)

// What xapi derives from the fields of a class: reads, writes and listings.

// appendRecord writes an object as get_record shows it.
func (s *Server) appendRecord(b []byte, o *object) []byte {
	b = append(b, structHead...)
	for _, f := range o.class.fields {
		b = append(append(append(b, listedHead...), f.name...), "</name>"...)
		b = append(appendValue(b, s.fieldOf(o, f)), "</member>"...)
	}
	return append(b, structTail...)
}

// fieldOf reads a field; some follow from others and are worked out here.
func (s *Server) fieldOf(o *object, f *field) any {
	if f.name == "allowed_operations" {
		switch o.class.name {
		case "VM":
			return s.allowedOperations(o)
		case "VBD", "VIF":
			return s.deviceOperations(o)
		case "VDI":
			return s.diskOperations(o)
		}
	}
	switch {
	case f.name == "progress" && o.class.name == "task":
		return s.progressOf(o)
	case f.name == "memory_free" && o.class.name == "host_metrics":
		return s.memoryFree(o)
	}
	return o.vals[f.index]
}

func getRecord(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	return c.s.rowOf(o), nil
}

func getByUUID(c *call) (any, *Failure) {
	o := c.s.db.tables[c.msg.class.name].byUUID[c.str(0)]
	if o == nil {
		return nil, fail("UUID_INVALID", c.msg.class.name, c.str(0))
	}
	return o.ref, nil
}

func getByNameLabel(c *call) (any, *Failure) {
	return c.refsWhere(func(o *object) bool { return o.str("name_label") == c.str(0) }), nil
}

func (c *call) refsWhere(keep func(*object) bool) []string {
	out := []string{}
	for _, o := range c.s.db.tables[c.msg.class.name].sorted() {
		if keep(o) {
			out = append(out, o.ref)
		}
	}
	return out
}

func getAll(c *call) (any, *Failure) {
	return c.refsWhere(func(*object) bool { return true }), nil
}

func (c *call) recordsWhere(keep func(*object) bool) listing {
	out := listing{}
	for _, o := range c.s.db.tables[c.msg.class.name].sorted() {
		if keep(o) {
			out = append(out, listed{o.ref, o.uuid(), c.s.rowOf(o)})
		}
	}
	return out
}

func getAllRecords(c *call) (any, *Failure) {
	return c.recordsWhere(func(*object) bool { return true }), nil
}

func getAllRecordsWhere(c *call) (any, *Failure) {
	keep, f := c.filter()
	if f != nil {
		return nil, f
	}
	return c.recordsWhere(keep), nil
}

func getAllWhere(c *call) (any, *Failure) {
	keep, f := c.filter()
	if f != nil {
		return nil, f
	}
	return c.refsWhere(keep), nil
}

func (c *call) filter() (func(*object) bool, *Failure) {
	e, f := parseExpression(c.str(0), c.msg.class)
	if f != nil {
		return nil, f
	}
	return func(o *object) bool { return e.match(c.s, o) }, nil
}

func getField(fd *field) handler {
	return func(c *call) (any, *Failure) {
		o, f := c.self()
		if f != nil {
			return nil, f
		}
		return c.s.fieldOf(o, fd), nil
	}
}

// change runs a write on the object, inside the operation that the message takes, if it takes one.
func (c *call) change(write func(o *object) *Failure) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	if c.msg.op == "" {
		if f := needState(o, c.msg.states); f != nil {
			return nil, f
		}
		return nil, write(o)
	}
	return c.operate(o, c.msg.op, 0, func() (any, *Failure) { return nil, write(o) })
}

func setField(fd *field) handler {
	return func(c *call) (any, *Failure) {
		return c.change(func(o *object) *Failure {
			c.s.db.set(o, fd.name, c.arg(1))
			return nil
		})
	}
}

func addToMap(fd *field) handler {
	return func(c *call) (any, *Failure) {
		return c.change(func(o *object) *Failure {
			if _, exists := o.fields(fd.name).get(c.str(1)); exists {
				return fail("MAP_DUPLICATE_KEY", o.class.name, fd.db, o.ref, c.str(1))
			}
			c.s.db.set(o, fd.name, o.fields(fd.name).with(c.str(1), c.arg(2)))
			return nil
		})
	}
}

func removeFromMap(fd *field) handler {
	return func(c *call) (any, *Failure) {
		return c.change(func(o *object) *Failure {
			c.s.db.set(o, fd.name, o.fields(fd.name).without(c.str(1)))
			return nil
		})
	}
}

func addToSet(fd *field) handler {
	return func(c *call) (any, *Failure) {
		return c.change(func(o *object) *Failure {
			if set := o.strs(fd.name); !slices.Contains(set, c.str(1)) {
				c.s.db.set(o, fd.name, append(slices.Clone(set), c.str(1)))
			}
			return nil
		})
	}
}

func removeFromSet(fd *field) handler {
	return func(c *call) (any, *Failure) {
		return c.change(func(o *object) *Failure {
			c.s.db.set(o, fd.name, slices.DeleteFunc(slices.Clone(o.strs(fd.name)), func(v string) bool { return v == c.str(1) }))
			return nil
		})
	}
}

// construct checks the struct of a constructor: members missing that must be there, and their types.
// Members that are no part of it (uuid, power_state of the caller's choice, nonsense) are ignored.
func (c *call) construct(given record) (record, *Failure) {
	out := record{}
	for _, fd := range c.msg.class.fields {
		if !fd.create {
			continue
		}
		raw, present := given.get(fd.name)
		if !present {
			if fd.required {
				return nil, internal("Server_helpers.Dispatcher_FieldNotFound(%q)", fd.name)
			}
			continue
		}
		v, f := c.s.convert(fd.typ, raw)
		if f != nil {
			return nil, f
		}
		out = append(out, member{fd.name, v})
	}
	return out, nil
}

// sortedKeys is for replies that must not depend on Go's map order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
