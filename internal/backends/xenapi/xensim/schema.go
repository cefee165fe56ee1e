package xensim

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed schema.txt
var schemaText string

const nullRef = "OpaqueRef:NULL"

// valueType is a type of the data model: string, int, bool, float, datetime, void, struct, enum, ref,
// record, set or map.
type valueType struct {
	kind string
	name string     // the class of a ref or record, the enumeration of an enum
	key  *valueType // of a map
	elem *valueType // of a map or set
}

type field struct {
	name     string
	typ      *valueType
	readOnly bool // no setter made from it
	role     string
	dflt     any
	create   bool // member of the constructor
	required bool
	db       string // its name in filter expressions
	index    int
}

type param struct {
	name     string
	typ      *valueType
	optional bool
}

type message struct {
	class    *class
	name     string
	params   []param
	required int
	result   *valueType
	async    bool
	role     string
	removed  bool
	op       string   // vm_operations value that it takes while it runs
	states   []string // power states it needs, as xapi names them in errors
	handle   handler
}

// full is the name on the wire, "VM.start".
func (m *message) full() string { return m.class.name + "." + m.name }

type class struct {
	name     string
	fields   []*field
	index    map[string]*field
	messages map[string]*message
	named    bool
	defaults []any  // of its fields
	table    *table // its objects
}

type schema struct {
	classes map[string]*class
	order   []string
	enums   map[string][]string
}

// loadSchema reads the table for one release and gives every message its handler.
func loadSchema(rel release) (*schema, error) {
	sc := &schema{classes: map[string]*class{}, enums: map[string][]string{}}
	var cl *class
	for n, line := range strings.Split(schemaText, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		switch kind := words[0]; {
		case kind == "e":
			sc.enums[words[1]] = words[2:]
		case kind == "c":
			cl = &class{name: words[1], index: map[string]*field{}, messages: map[string]*message{}, named: slices.Contains(words, "named")}
			if rel.has(words[2], true) {
				sc.classes[cl.name] = cl
				sc.order = append(sc.order, cl.name)
			}
		case kind == "f" && cl != nil:
			if err := cl.addField(words[1:], rel); err != nil {
				return nil, fmt.Errorf("schema line %d: %w", n+1, err)
			}
		case kind == "m" && cl != nil:
			if err := cl.addMessage(words[1:], rel); err != nil {
				return nil, fmt.Errorf("schema line %d: %w", n+1, err)
			}
		default:
			return nil, fmt.Errorf("schema line %d: %q", n+1, line)
		}
	}
	handlers := handlerTable()
	for _, cl := range sc.classes {
		cl.addImplicit(rel, handlers)
	}
	return sc, nil
}

func parseType(s string) (*valueType, error) {
	inner, isSet := strings.CutPrefix(s, "set(")
	pair, isMap := strings.CutPrefix(s, "map(")
	switch {
	case isSet && strings.HasSuffix(inner, ")"):
		elem, err := parseType(inner[:len(inner)-1])
		return &valueType{kind: "set", elem: elem}, err
	case isMap && strings.HasSuffix(pair, ")"):
		k, v, _ := strings.Cut(pair[:len(pair)-1], ",")
		key, err := parseType(k)
		if err != nil {
			return nil, err
		}
		elem, err := parseType(v)
		return &valueType{kind: "map", key: key, elem: elem}, err
	}
	kind, name, _ := strings.Cut(s, ":")
	switch kind {
	case "string", "int", "bool", "float", "datetime", "void", "struct", "enum", "ref", "record":
		return &valueType{kind: kind, name: name}, nil
	}
	return nil, fmt.Errorf("no such type: %q", s)
}

// zero is what a field holds when nobody has set it.
func (t *valueType) zero() any {
	switch t.kind {
	case "int":
		return int64(0)
	case "bool":
		return false
	case "float":
		return 0.0
	case "datetime":
		return time.Unix(0, 0).UTC()
	case "ref":
		return nullRef
	case "set":
		return []string{}
	case "map", "struct", "record":
		return record{}
	}
	return ""
}

func (cl *class) addField(words []string, rel release) error {
	typ, err := parseType(words[1])
	if err != nil {
		return err
	}
	if !rel.has(words[3], slices.Contains(words, "old")) {
		return nil
	}
	db := words[0]
	if db == "name_label" || db == "name_description" {
		db = strings.Replace(db, "_", "__", 1)
	}
	f := &field{name: words[0], typ: typ, readOnly: words[2] != "RW", dflt: typ.zero(), db: db, index: len(cl.fields), role: "pool-admin"}
	for _, w := range words[4:] {
		key, v, _ := strings.Cut(w, "=")
		switch key {
		case "create":
			f.create = true
		case "required":
			f.create, f.required = true, true
		case "role":
			f.role = v
		case "db":
			f.db = v
		case "default":
			if f.dflt, err = parseDefault(typ, strings.ReplaceAll(v, `\s`, " ")); err != nil {
				return err
			}
		}
	}
	if typ.kind == "ref" && f.dflt == "" {
		f.dflt = nullRef
	}
	cl.fields, cl.defaults = append(cl.fields, f), append(cl.defaults, f.dflt)
	cl.index[f.name] = f
	return nil
}

func parseDefault(t *valueType, s string) (any, error) {
	switch t.kind {
	case "bool":
		return strconv.ParseBool(s)
	case "int":
		return strconv.ParseInt(s, 10, 64)
	case "float":
		return strconv.ParseFloat(s, 64)
	}
	return s, nil
}

func (cl *class) addMessage(words []string, rel release) error {
	if !rel.has(words[2], slices.Contains(words, "old")) {
		return nil
	}
	result, err := parseType(words[1])
	if err != nil {
		return err
	}
	m := &message{class: cl, name: words[0], result: result, role: "pool-admin"}
	for _, w := range words[3:] {
		key, v, isFlag := strings.Cut(w, "=")
		switch {
		case w == "old" || w == "implicit":
		case w == "async":
			m.async = true
		case isFlag && key == "role":
			m.role = v
		case isFlag && key == "removed":
			m.removed = rel.has(v, false)
		case isFlag && key == "op":
			m.op = v
		case isFlag && key == "states":
			m.states = strings.Split(v, ",")
		default:
			name, typ, _ := strings.Cut(w, ":")
			typ, optional := strings.CutSuffix(typ, "?")
			t, err := parseType(typ)
			if err != nil {
				return fmt.Errorf("%s: %w", w, err)
			}
			m.params = append(m.params, param{name, t, optional})
			if !optional {
				m.required++
			}
		}
	}
	cl.messages[m.name] = m
	return nil
}

// accessor is a message that writes one field.
type accessor struct {
	name   string
	handle handler
	params []param
}

func (cl *class) implicit(name string, role string, h handler, result *valueType, params ...param) {
	m := cl.messages[name]
	if m == nil {
		m = &message{class: cl, name: name, role: role, params: params, required: len(params), result: result}
		cl.messages[name] = m
	}
	if m.handle == nil {
		m.handle = h
	}
}

// addImplicit makes the messages that xapi derives from fields, and finds the handler of every other.
func (cl *class) addImplicit(rel release, handlers map[string]handler) {
	for _, m := range cl.messages {
		m.handle = handlers[m.full()]
	}
	if cl.name == "event" {
		return
	}
	str, strs := &valueType{kind: "string"}, &valueType{kind: "set", elem: &valueType{kind: "ref"}}
	self := param{name: "self", typ: &valueType{kind: "ref", name: cl.name}}
	cl.implicit("get_record", "read-only", getRecord, &valueType{kind: "record"}, self)
	cl.implicit("get_by_uuid", "read-only", getByUUID, &valueType{kind: "ref"}, param{name: "uuid", typ: str})
	if cl.named {
		cl.implicit("get_by_name_label", "read-only", getByNameLabel, strs, param{name: "label", typ: str})
	}
	if cl.name != "session" {
		expr := param{name: "expr", typ: str}
		cl.implicit("get_all", "read-only", getAll, strs)
		cl.implicit("get_all_records", "read-only", getAllRecords, &valueType{kind: "map"})
		cl.implicit("get_all_records_where", "read-only", getAllRecordsWhere, &valueType{kind: "map"}, expr)
		if rel.has("26.17.0", false) {
			cl.implicit("get_all_where", "read-only", getAllWhere, strs, expr)
		}
	}
	for _, f := range cl.fields {
		cl.implicit("get_"+f.name, "read-only", getField(f), f.typ, self)
		accessors := []accessor{{"set_" + f.name, setField(f), []param{self, {name: "value", typ: f.typ}}}}
		switch f.typ.kind {
		case "map":
			key := param{name: "key", typ: f.typ.key}
			accessors = append(accessors,
				accessor{"add_to_" + f.name, addToMap(f), []param{self, key, {name: "value", typ: f.typ.elem}}},
				accessor{"remove_from_" + f.name, removeFromMap(f), []param{self, key}})
		case "set":
			value := param{name: "value", typ: f.typ.elem}
			accessors = append(accessors,
				accessor{"add_" + f.name, addToSet(f), []param{self, value}},
				accessor{"remove_" + f.name, removeFromSet(f), []param{self, value}})
		}
		for _, a := range accessors {
			if _, listed := cl.messages[a.name]; listed || !f.readOnly {
				cl.implicit(a.name, f.role, a.handle, &valueType{kind: "void"}, a.params...)
			}
		}
	}
}
