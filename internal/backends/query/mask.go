package query

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Mask is a parsed fields parameter: which members of an item are answered. It is safe for
// concurrent use.
type Mask struct {
	src  string
	typ  reflect.Type
	root *pick
}

// pick is what a mask takes of one value.
type pick struct {
	whole bool
	names map[string]*pick
	star  *pick // what it takes of every member, key or element

	// What that comes to for the value's type:
	class  class
	fields []pickedField // of a struct, in its order
	keys   []string      // of a map: the names, in order
	elem   *pick         // of a list: what it takes of each element
	leaf   leaf          // of a scalar
}

type pickedField struct {
	field field
	label string // `"name":`
	pick  *pick
}

// ParseFields reads AIP-157's `id,displayName,memory.staticMaxBytes,disks.id` over t, a struct type
// (or a pointer to one). "" and * are everything. The id, and members that JSON never leaves out (no
// omitempty, no omitzero), are always there: a contract calls them required. A path ends in any member, which is then taken whole; it passes lists by their elements, with or without a * in
// their place (`disks.*.id`); `annotations.*` is every key. Names with other characters stand in
// quotes, or in backticks as AIP-161 has them. Errors in s are *Error.
func ParseFields(s string, t reflect.Type) (*Mask, error) {
	if err := checkText(s); err != nil {
		return nil, err
	}
	t, err := structType(t)
	if err != nil {
		return nil, err
	}
	m := &Mask{src: s, typ: t, root: &pick{}}
	if err := m.parse(); err != nil {
		return nil, err
	}
	if _, ok := member(t, "id"); ok {
		m.root.take(path{{name: "id"}})
	}
	m.root.settle(t, nil)
	return m, nil
}

func (m *Mask) parse() *Error {
	l := lexer{src: m.src}
	l.space()
	if l.peek() < 0 {
		m.root.whole = true
		return nil
	}
	for more := true; more; {
		l.space()
		p, err := l.maskPath()
		if err != nil {
			return err
		}
		if p, err = normalize(l.src, m.typ, p); err != nil {
			return err
		}
		m.root.take(p)
		l.space()
		if more = l.accept(","); !more && l.peek() >= 0 {
			return l.unexpected("a comma")
		}
	}
	return nil
}

// maskPath is path with names in backticks.
func (l *lexer) maskPath() (path, *Error) {
	var p path
	for {
		s, err := l.maskSegment()
		if err != nil {
			return nil, err
		}
		p = append(p, s)
		if !l.accept(".") {
			return p, nil
		}
	}
}

func (l *lexer) maskSegment() (segment, *Error) {
	if l.peek() != '`' {
		return l.segment()
	}
	at := l.at
	name, _, ok := strings.Cut(l.src[at+1:], "`")
	if !ok {
		return segment{}, l.fail(at, "this quote is not closed")
	}
	l.at += len(name) + 2
	return segment{name: name, quoted: true, at: at}, nil
}

func (s segment) star() bool { return s.name == "*" && !s.quoted }

// normalize checks p against t, and drops each * that stands for a list's elements.
func normalize(src string, t reflect.Type, p path) (path, *Error) {
	var out path
	for i, s := range p {
		t = indirect(t)
		c := classify(t)
		for ; c == classList && !s.star(); c = classify(t) {
			t = indirect(t.Elem())
		}
		switch {
		case c == classOpaque:
			return append(out, p[i:]...), nil
		case c == classList:
			t = t.Elem()
			continue
		case c == classMap:
			t = t.Elem()
		case c != classObject:
			return nil, errorAt(src, s.at, "%s is %s and has no members", shorten(p[:i].String()), c)
		case s.star() && i < len(p)-1: // the members are of different types
			return nil, errorAt(src, p[i+1].at, "nothing can follow the * of an object")
		case !s.star():
			f, ok := member(t, s.name)
			if !ok {
				return nil, unknown(src, t, p, i)
			}
			t = f.typ
		}
		out = append(out, s)
	}
	return out, nil
}

// take adds p to what k takes.
func (k *pick) take(p path) {
	switch {
	case len(p) == 0, len(p) == 1 && p[0].star():
		k.whole = true
	case p[0].star():
		k.starred().take(p[1:])
	default:
		k.named(p[0].name).take(p[1:])
	}
}

func (k *pick) starred() *pick {
	if k.star == nil {
		k.star = &pick{}
	}
	return k.star
}

func (k *pick) named(name string) *pick {
	if k.names == nil {
		k.names = map[string]*pick{}
	}
	if k.names[name] == nil {
		k.names[name] = &pick{}
	}
	return k.names[name]
}

// merge adds all that other takes.
func (k *pick) merge(other *pick) {
	k.whole = k.whole || other.whole
	for name, sub := range other.names {
		k.named(name).merge(sub)
	}
	if other.star != nil {
		k.starred().merge(other.star)
	}
}

// settle makes k ready for values of type t, so that Append looks no name up there. In m.*.a,m.k.b the
// member k has both. inside is the types that v is a part of: one that contains itself has no end.
func (k *pick) settle(t reflect.Type, inside []reflect.Type) {
	t = indirect(t)
	k.class = classify(t)
	if k.whole && slices.Contains(inside, t) {
		k.class = classOpaque
		return
	}
	inside = append(slices.Clone(inside), t)
	switch k.class {
	case classObject:
		k.settleObject(t, inside)
	case classMap:
		k.settleMap(t, inside)
	case classList:
		k.elem = &pick{}
		k.elem.merge(k)
		k.elem.settle(t.Elem(), inside)
	default:
		k.leaf = leafOf(t, k.class)
	}
}

func (k *pick) settleObject(t reflect.Type, inside []reflect.Type) {
	for _, f := range fieldsOf(t) {
		sub := k.names[f.name]
		switch {
		case k.whole || sub == nil && f.always():
			sub = &pick{whole: true}
		case sub == nil:
			continue
		}
		sub.settle(f.typ, inside)
		k.fields = append(k.fields, pickedField{f, label(f.name), sub})
	}
}

func (k *pick) settleMap(t reflect.Type, inside []reflect.Type) {
	k.keys = slices.Sorted(maps.Keys(k.names))
	for _, sub := range k.names {
		if k.star != nil {
			sub.merge(k.star)
		}
		sub.settle(t.Elem(), inside)
	}
	if k.star != nil {
		k.star.settle(t.Elem(), inside)
	}
}

// of is what k takes of the member called name; nil is nothing.
func (k *pick) of(name string) *pick {
	if sub := k.names[name]; sub != nil {
		return sub
	}
	return k.star
}

// All reports whether m takes everything, so that an item may be marshalled as it is.
func (m *Mask) All() bool { return m.root.whole }

// Members is the members that m answers, by their dotted names, so that no more of an item has to be
// read: nil is all. A part of a list or a map stands as the list or the map.
func (m *Mask) Members() []string {
	if m == nil || m.root.whole {
		return nil
	}
	return compact(m.root.members("", nil))
}

func (k *pick) members(name string, names []string) []string {
	if k.whole || k.class != classObject {
		return append(names, name)
	}
	if name != "" {
		name += "."
	}
	for i := range k.fields {
		names = k.fields[i].pick.members(name+k.fields[i].field.name, names)
	}
	return names
}
