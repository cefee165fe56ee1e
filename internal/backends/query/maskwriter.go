package query

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

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
	w := maskWriter{b: dst}
	w.write(v, m.root)
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

// maskWriter appends JSON; errors stay. It writes itself what most members are, and leaves maps and
// whatever knows its own JSON to encoding/json.
type maskWriter struct {
	b   []byte
	err error
}

// Write is how encoding/json appends.
func (w *maskWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (w *maskWriter) encode(x any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	w.b = w.b[:len(w.b)-1] // the encoder ends in a newline
}

// text writes a string. Most need no escapes.
func (w *maskWriter) text(s string) {
	if !plain(s) {
		w.encode(s)
		return
	}
	w.b = append(append(append(w.b, '"'), s...), '"')
}

// plain reports whether s stands in JSON as it is; that all beyond ASCII is asked of encoding/json
// spares a look at what is UTF-8.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (w *maskWriter) identifier(v reflect.Value) {
	id := readIdentifier(v)
	if !id.flag || !plain(id.head) || !plain(id.text) {
		w.text(id.joined().text)
		return
	}
	w.b = append(append(w.b, '"'), id.head...)
	w.b = append(append(append(w.b, '.'), id.text...), '"')
}

// label is a member's name in JSON, with its colon.
func label(name string) string {
	var w maskWriter
	w.text(name)
	return string(w.b) + ":"
}

// leaf writes a scalar. nil leaves it to encoding/json.
type leaf func(w *maskWriter, v reflect.Value)

func leafOf(t reflect.Type, c class) leaf {
	switch {
	case c == classTime:
		return (*maskWriter).time
	case c == classBool:
		return func(w *maskWriter, v reflect.Value) { w.b = strconv.AppendBool(w.b, v.Bool()) }
	case c == classText && implements[Identifier](t):
		return (*maskWriter).identifier
	case c == classText && t.Kind() == reflect.String && !implements[encoding.TextMarshaler](t):
		return func(w *maskWriter, v reflect.Value) { w.text(v.String()) }
	case c == classNumber && reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		return func(w *maskWriter, v reflect.Value) { w.b = strconv.AppendInt(w.b, v.Int(), 10) }
	}
	return nil
}

func (w *maskWriter) time(v reflect.Value) {
	w.b = append(w.b, '"')
	b, err := readTime(v).time.AppendText(w.b)
	if err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	b = append(b, '"')
	w.b = b
}

// write writes what k takes of v; it reports false, and writes nothing, if that is no value at all.
func (w *maskWriter) write(v reflect.Value, k *pick) bool {
	if k.whole && k.leaf == nil && k.class != classObject && k.class != classList {
		w.encode(address(v))
		return true
	}
	v, ok := settle(v)
	if !ok {
		w.b = append(w.b, "null"...)
		return true
	}
	switch {
	case k.leaf != nil:
		k.leaf(w, v)
	case k.class == classObject:
		w.object(v, k)
	case k.class == classMap:
		w.dict(v, k)
	case k.class == classList:
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

func (w *maskWriter) object(v reflect.Value, k *pick) {
	w.b = append(w.b, '{')
	start := len(w.b)
	for i := range k.fields {
		f := &k.fields[i]
		if x, ok := f.field.value(v); ok {
			w.member(start, f.label, f.field.quoted, x, f.pick)
		}
	}
	w.b = append(w.b, '}')
}

func (w *maskWriter) dict(m reflect.Value, k *pick) {
	w.b = append(w.b, '{')
	start := len(w.b)
	if texts, ok := m.Interface().(map[string]string); ok && k.star == nil {
		for _, key := range k.keys {
			if s, ok := texts[key]; ok {
				w.comma(start)
				w.text(key)
				w.b = append(w.b, ':')
				w.text(s)
			}
		}
	} else {
		w.entries(start, m, k)
	}
	w.b = append(w.b, '}')
}

// entries writes what k takes of a map of any type, in the order of the keys' texts.
func (w *maskWriter) entries(start int, m reflect.Value, k *pick) {
	values := make(map[string]reflect.Value, m.Len())
	for it := m.MapRange(); it.Next(); {
		values[keyText(it.Key())] = it.Value()
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if sub := k.of(name); sub != nil {
			w.member(start, label(name), false, values[name], sub)
		}
	}
}

// comma separates what comes from what was written since start.
func (w *maskWriter) comma(start int) {
	if len(w.b) > start {
		w.b = append(w.b, ',')
	}
}

// member writes one `"name":value`, or nothing; start is where the first one stands.
func (w *maskWriter) member(start int, label string, quoted bool, v reflect.Value, k *pick) {
	before := len(w.b)
	w.comma(start)
	w.b = append(w.b, label...)
	at := len(w.b)
	if !w.write(v, k) {
		w.b = w.b[:before]
		return
	}
	if raw := w.b[at:]; quoted && k.whole && string(raw) != "null" {
		text := string(raw)
		w.b = w.b[:at]
		w.encode(text)
	}
}

func (w *maskWriter) list(v reflect.Value, k *pick) {
	w.b = append(w.b, '[')
	start := len(w.b)
	for i := range v.Len() {
		before := len(w.b)
		w.comma(start)
		if !w.write(v.Index(i), k.elem) {
			w.b = w.b[:before]
		}
	}
	w.b = append(w.b, ']')
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
