package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	whole  bool
	names  map[string]*pick
	star   *pick // what it takes of every member, key or element
	class  class
	fields []pickedField // of a struct: what names and star come to, in the struct's order
	elem   *pick         // of a list: what it takes of each element
}

type pickedField struct {
	field field
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
	m.root.settle(t)
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

// settle makes k ready for values of type t, so that Apply looks no name up there. In m.*.a,m.k.b
// the member k has both.
func (k *pick) settle(t reflect.Type) {
	if k.whole {
		return
	}
	t = indirect(t)
	if k.class = classify(t); k.class == classList {
		k.elem = &pick{}
		k.elem.merge(k)
		k.elem.settle(t.Elem())
		return
	}
	for _, sub := range k.names {
		if k.star != nil {
			sub.merge(k.star)
		}
	}
	switch k.class {
	case classObject:
		for _, f := range fieldsOf(t) {
			sub := k.of(f.name)
			if sub == nil && f.always() {
				sub = &pick{whole: true}
			}
			if sub != nil {
				sub.settle(f.typ)
				k.fields = append(k.fields, pickedField{f, sub})
			}
		}
	case classMap:
		for _, sub := range k.names {
			sub.settle(t.Elem())
		}
		if k.star != nil {
			k.star.settle(t.Elem())
		}
	}
}

// of is what k takes of the member called name; nil is nothing.
func (k *pick) of(name string) *pick {
	if sub := k.names[name]; sub != nil {
		return sub
	}
	return k.star
}

// Apply is the JSON of item with the members of m only, in the order of the struct; a member that
// is absent stays absent. item is a pointer to a struct (or a struct) of the type m was made for.
func (m *Mask) Apply(item any) (json.RawMessage, error) { return m.Append(nil, item) }

// Append is Apply, behind dst. HTML characters are not escaped.
func (m *Mask) Append(dst []byte, item any) ([]byte, error) {
	v, err := structValue(item)
	if err != nil {
		return dst, err
	}
	if v.Type() != m.typ {
		return dst, fmt.Errorf("query: a mask of %v does not fit %v", m.typ, v.Type())
	}
	w := maskWriter{buf: bytes.NewBuffer(dst)}
	w.enc = json.NewEncoder(w.buf)
	w.enc.SetEscapeHTML(false)
	w.write(v, m.root)
	if w.err != nil {
		return dst, w.err
	}
	return w.buf.Bytes(), nil
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

// maskWriter writes JSON; the first error stays.
type maskWriter struct {
	buf *bytes.Buffer
	enc *json.Encoder
	err error
}

// write writes what k takes of v; it reports false, and writes nothing, if that is no value at all.
func (w *maskWriter) write(v reflect.Value, k *pick) bool {
	if k.whole {
		w.encode(address(v))
		return true
	}
	v, ok := settle(v)
	if !ok {
		w.buf.WriteString("null")
		return true
	}
	switch k.class {
	case classObject:
		w.object(v, k)
	case classMap:
		w.dict(v, k)
	case classList:
		w.list(v, k)
	default:
		x, ok := k.prune(opaqueValue(v))
		if ok {
			w.encode(x)
		}
		return ok
	}
	return true
}

func (w *maskWriter) encode(x any) {
	if err := w.enc.Encode(x); err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	w.buf.Truncate(w.buf.Len() - 1) // the encoder ends in a newline
}

func (w *maskWriter) object(v reflect.Value, k *pick) {
	w.buf.WriteByte('{')
	for i, first := 0, true; i < len(k.fields); i++ {
		f := &k.fields[i]
		if x, ok := f.field.value(v); ok && w.member(first, f.field.name, f.field.quoted, x, f.pick) {
			first = false
		}
	}
	w.buf.WriteByte('}')
}

func (w *maskWriter) dict(m reflect.Value, k *pick) {
	keys := make(map[string]reflect.Value, m.Len())
	for it := m.MapRange(); it.Next(); {
		keys[keyText(it.Key())] = it.Value()
	}
	w.buf.WriteByte('{')
	first := true
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if sub := k.of(name); sub != nil && w.member(first, name, false, keys[name], sub) {
			first = false
		}
	}
	w.buf.WriteByte('}')
}

// member writes one `"name":value`, or nothing.
func (w *maskWriter) member(first bool, name string, quoted bool, v reflect.Value, k *pick) bool {
	start := w.buf.Len()
	if !first {
		w.buf.WriteByte(',')
	}
	w.encode(name)
	w.buf.WriteByte(':')
	at := w.buf.Len()
	if !w.write(v, k) {
		w.buf.Truncate(start)
		return false
	}
	if raw := string(w.buf.Bytes()[at:]); quoted && k.whole && raw != "null" {
		w.buf.Truncate(at)
		w.encode(raw)
	}
	return true
}

func (w *maskWriter) list(v reflect.Value, k *pick) {
	w.buf.WriteByte('[')
	for i, first := 0, true; i < v.Len(); i++ {
		start := w.buf.Len()
		if !first {
			w.buf.WriteByte(',')
		}
		if w.write(v.Index(i), k.elem) {
			first = false
			continue
		}
		w.buf.Truncate(start)
	}
	w.buf.WriteByte(']')
}

// prune is what k takes of a value without a Go type to go by; ok is false if that is nothing.
func (k *pick) prune(x any) (_ any, ok bool) {
	if k.whole {
		return x, true
	}
	switch x := x.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, y := range x {
			if z, ok := k.pruneMember(name, y); ok {
				out[name] = z
			}
		}
		return out, true
	case []any:
		out := []any{}
		for _, y := range x {
			if z, ok := k.pruneElement(y); ok {
				out = append(out, z)
			}
		}
		return out, true
	}
	if _, ok := plainScalar(x); ok {
		return nil, false
	}
	y, ok := decoded(x)
	if !ok {
		return nil, false
	}
	return k.prune(y)
}

func (k *pick) pruneMember(name string, x any) (any, bool) {
	sub := k.of(name)
	if sub == nil {
		return nil, false
	}
	return sub.prune(x)
}

// pruneElement takes of a list's element what k takes of the list, as lists are transparent; a *
// that stands for the elements is passed.
func (k *pick) pruneElement(x any) (any, bool) {
	if k.star != nil && len(k.names) == 0 {
		return k.star.prune(x)
	}
	return k.prune(x)
}
