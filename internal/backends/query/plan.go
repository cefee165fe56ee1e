package query

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// plan is the way from a struct to a member: a path, looked up once in the Go type.
type plan struct {
	steps []step
	typ   reflect.Type // of what is there
	class class
	way   []step                     // to where read begins: steps, but for the key of a map of texts
	read  func(reflect.Value) scalar // nil where there is no scalar
	lists bool                       // passes a list: there may be many values
	below bool                       // passes a list or a map
	rest  []string                   // the names below an opaque value, to look up in each one
}

type stepKind byte

const (
	stepField stepKind = iota
	stepKey            // of a map
	stepEach           // of a list
)

type step struct {
	kind  stepKind
	field field
	key   string
	value reflect.Value // the key as the map's own type, if that is a kind of string
	texts bool          // the map is a map[string]string
}

// resolve looks p up in t. A list on the way is passed by its elements, one at the end is kept.
func resolve(src string, t reflect.Type, p path) (*plan, *Error) {
	pl := &plan{}
	pl.at(t)
	for i, s := range p {
		pl.pass()
		switch pl.class {
		case classObject:
			f, ok := member(pl.typ, s.name)
			if !ok {
				return nil, unknown(src, pl.typ, p, i)
			}
			pl.arrive(step{kind: stepField, field: f}, f.typ)
		case classMap:
			pl.below = true
			pl.arrive(keyStep(pl.typ, s.name), pl.typ.Elem())
		case classOpaque:
			pl.rest = append(pl.rest, s.name)
		default:
			return nil, errorAt(src, s.at, "%s is %s and has no members", shorten(p[:i].String()), pl.class)
		}
	}
	return pl, nil
}

// member is the dotted name of the member that pl reads, as far as the struct goes: all below a list, a
// map or an opaque value is that.
func (pl *plan) member() string {
	var names []string
	for i := 0; i < len(pl.steps) && pl.steps[i].kind == stepField; i++ {
		names = append(names, pl.steps[i].field.name)
	}
	return strings.Join(names, ".")
}

// compact sorts names and leaves out what stands for itself already: a name, and all below one. It is
// never nil, since that stands for everything.
func compact(names []string) []string {
	slices.Sort(names)
	out := make([]string, 0, len(names))
	for _, name := range names {
		if !slices.ContainsFunc(out, func(above string) bool { return name == above || strings.HasPrefix(name, above+".") }) {
			out = append(out, name)
		}
	}
	return out
}

// arrive takes a step to a value of type t.
func (pl *plan) arrive(s step, t reflect.Type) {
	pl.steps = append(pl.steps, s)
	pl.at(t)
	if s.texts {
		pl.way, pl.read = pl.steps[:len(pl.steps)-1], textOf(s.key)
	}
}

func (pl *plan) at(t reflect.Type) {
	pl.typ, pl.class = indirect(t), classify(indirect(t))
	pl.way, pl.read = pl.steps, reader(pl.typ, pl.class)
}

// pass steps into the elements of the list that pl has arrived at, if it is one.
func (pl *plan) pass() {
	for pl.class == classList {
		pl.lists, pl.below = true, true
		pl.arrive(step{kind: stepEach}, pl.typ.Elem())
	}
}

func member(t reflect.Type, name string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// unknown is the error for p[i], which t has not.
func unknown(src string, t reflect.Type, p path, i int) *Error {
	where := ""
	if i > 0 {
		where = " in " + shorten(p[:i].String())
	}
	hint := ""
	best := 3 // more than two slips are another word
	for _, f := range fieldsOf(t) {
		if d := distance(strings.ToLower(p[i].name), strings.ToLower(f.name)); d < best && d < len(f.name) {
			best, hint = d, "; did you mean "+f.name+"?"
		}
	}
	return errorAt(src, p[i].at, "unknown member %s%s%s", shorten(p[i].name), where, hint)
}

// distance is Levenshtein's, by bytes; names much longer than any member are not looked at.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// walk reports whether some value at the end of steps, starting from v, satisfies test. It allocates
// nothing of its own but for the values of maps.
func walk(v reflect.Value, steps []step, test func(reflect.Value) bool) bool {
	for i := range steps {
		s := &steps[i]
		if s.kind == stepEach {
			for j := range v.Len() {
				if e, ok := settle(v.Index(j)); ok && walk(e, steps[i+1:], test) {
					return true
				}
			}
			return false
		}
		var ok bool
		if v, ok = s.next(v); !ok {
			return false
		}
	}
	return test(v)
}

// next is the value one step on from v; ok is false if it is absent.
func (s *step) next(v reflect.Value) (_ reflect.Value, ok bool) {
	if s.kind == stepField {
		v, ok = s.field.value(v)
	} else {
		v, ok = s.entry(v)
	}
	if !ok {
		return v, false
	}
	return settle(v)
}

func keyStep(m reflect.Type, key string) step {
	s := step{kind: stepKey, key: key, texts: m == reflect.TypeFor[map[string]string]()}
	if m.Key().Kind() == reflect.String {
		s.value = reflect.ValueOf(key).Convert(m.Key())
	}
	return s
}

// textOf reads the text of a key from a map[string]string, which reflection would copy to the heap.
func textOf(key string) func(reflect.Value) scalar {
	return func(v reflect.Value) scalar {
		m, _ := v.Interface().(map[string]string)
		s, ok := m[key]
		if !ok {
			return scalar{}
		}
		return scalar{kind: text, text: s}
	}
}

// entry is the value of the key in m, which JSON writes as text whatever its Go type.
func (s *step) entry(m reflect.Value) (reflect.Value, bool) {
	if s.value.IsValid() {
		v := m.MapIndex(s.value)
		return v, v.IsValid()
	}
	for it := m.MapRange(); it.Next(); {
		if keyText(it.Key()) == s.key {
			return it.Value(), true
		}
	}
	return reflect.Value{}, false
}

// keyText is the key of a map as encoding/json writes it.
func keyText(k reflect.Value) string {
	if k.Kind() == reflect.String {
		return k.String()
	}
	s, ok := marshalText(k)
	if ok {
		return s
	}
	n := readNumber(k)
	return n.num.String()
}

// reader is how to read a scalar of type t. It is nil where there is none.
func reader(t reflect.Type, c class) func(reflect.Value) scalar {
	switch c {
	case classText:
		if implements[Identifier](t) {
			return readIdentifier
		}
		if implements[encoding.TextMarshaler](t) {
			return readMarshaled
		}
		return func(v reflect.Value) scalar { return scalar{kind: text, text: v.String()} }
	case classBool:
		return func(v reflect.Value) scalar { return scalar{kind: boolean, flag: v.Bool()} }
	case classTime:
		return readTime
	case classNumber:
		return readNumber
	}
	return nil
}

// Identifier may be implemented by a text type that is an id, {backend}.{native}: it is compared and
// ordered without being put together first.
type Identifier interface {
	// Parts is what stands before the dot and behind it; the text of two empty ones is empty.
	Parts() (backend, native string)
}

func readIdentifier(v reflect.Value) scalar {
	id, ok := address(v).(Identifier)
	if !ok {
		return scalar{}
	}
	backend, native := id.Parts()
	return scalar{kind: identifier, head: backend, text: native, flag: backend != "" || native != ""}
}

func readMarshaled(v reflect.Value) scalar {
	s, ok := marshalText(v)
	if !ok {
		return scalar{}
	}
	return scalar{kind: text, text: s}
}

// marshalText is the text of a value that writes its own. AppendText is preferred: it needs one
// allocation where MarshalText mostly needs two.
func marshalText(v reflect.Value) (string, bool) {
	var b []byte
	var err error
	switch m := address(v).(type) {
	case encoding.TextAppender:
		b, err = m.AppendText(nil)
	case encoding.TextMarshaler:
		b, err = m.MarshalText()
	default:
		return "", false
	}
	return string(b), err == nil
}

func readTime(v reflect.Value) scalar {
	switch t := address(v).(type) {
	case *time.Time:
		return scalar{kind: instant, time: *t}
	case time.Time:
		return scalar{kind: instant, time: t}
	}
	return scalar{}
}

// readNumber reads any kind of number; a NaN is an absent one.
func readNumber(v reflect.Value) scalar {
	var n number
	ok := true
	switch {
	case v.CanInt():
		n = fromInt(v.Int())
	case v.CanUint():
		n = fromUint(v.Uint())
	case v.CanFloat():
		n, ok = fromFloat(v.Float())
	case v.Type() == reflect.TypeFor[json.Number]():
		n, ok = parseNumber(v.String())
	default:
		ok = false
	}
	if !ok {
		return scalar{}
	}
	return scalar{kind: numeric, num: n}
}
