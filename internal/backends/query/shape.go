package query

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"
)

// class is what a Go type is in JSON.
type class byte

const (
	classText class = iota
	classNumber
	classBool
	classTime
	classObject // a struct
	classMap
	classList
	classOpaque // any, or a type that writes its JSON itself: known only by looking at a value
)

func (c class) String() string {
	return [...]string{"text", "a number", "true or false", "a time", "an object", "a map", "a list", "anything"}[c]
}

// indirect is t without its pointers.
func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// classify follows the order of encoding/json: json.Marshaler, encoding.TextMarshaler, then the kind.
func classify(t reflect.Type) class {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return classTime
	case t == reflect.TypeFor[json.Number]():
		return classNumber
	case implements[json.Marshaler](t):
		return classOpaque
	case implements[encoding.TextMarshaler](t):
		return classText
	}
	switch t.Kind() {
	case reflect.String:
		return classText
	case reflect.Bool:
		return classBool
	case reflect.Struct:
		return classObject
	case reflect.Map:
		return classMap
	case reflect.Array:
		return classList
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // base64
			return classOpaque
		}
		return classList
	}
	if reflect.Int <= t.Kind() && t.Kind() <= reflect.Float64 {
		return classNumber
	}
	return classOpaque
}

func implements[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}

// field is one member of a struct, as encoding/json sees it.
type field struct {
	name      string
	index     []int
	typ       reflect.Type
	named     bool // by its tag
	omitEmpty bool
	omitZero  bool
	quoted    bool // `json:",string"`: only a mask minds, a filter sees the value inside
}

// fieldsOf lists the members of struct t in the order encoding/json writes them, with its rules for
// embedded structs: the shallowest of a name wins, then the one named by a tag, then none.
func fieldsOf(t reflect.Type) []field {
	found := collect(t, nil, nil)
	best := map[string][]field{}
	for _, f := range found {
		rivals := best[f.name]
		switch {
		case len(rivals) == 0 || f.beats(rivals[0]):
			best[f.name] = []field{f}
		case !rivals[0].beats(f):
			best[f.name] = append(rivals, f)
		}
	}
	return slices.DeleteFunc(found, func(f field) bool {
		winners := best[f.name]
		return len(winners) != 1 || !slices.Equal(winners[0].index, f.index)
	})
}

// always reports whether the member is in every JSON of its struct.
func (f field) always() bool { return !f.omitEmpty && !f.omitZero }

func (f field) beats(g field) bool {
	if len(f.index) != len(g.index) {
		return len(f.index) < len(g.index)
	}
	return f.named && !g.named
}

func collect(t reflect.Type, prefix []int, inside []reflect.Type) []field {
	if slices.Contains(inside, t) { // a type that embeds itself adds nothing new
		return nil
	}
	inside = append(slices.Clone(inside), t)
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		embedded := sf.Anonymous && indirect(sf.Type).Kind() == reflect.Struct
		if tag == "-" || !sf.IsExported() && !embedded {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clone(prefix), i)
		if embedded && name == "" {
			fields = append(fields, collect(indirect(sf.Type), index, inside)...)
			continue
		}
		if !sf.IsExported() {
			continue
		}
		fields = append(fields, newField(sf, index, name, strings.Split(options, ",")))
	}
	return fields
}

func newField(sf reflect.StructField, index []int, name string, options []string) field {
	f := field{
		name: name, index: index, typ: sf.Type, named: name != "",
		omitEmpty: slices.Contains(options, "omitempty"),
		omitZero:  slices.Contains(options, "omitzero"),
		quoted:    slices.Contains(options, "string"),
	}
	if name == "" {
		f.name = sf.Name
	}
	return f
}

// value is f of the struct v; ok is false if encoding/json would leave it out.
func (f *field) value(v reflect.Value) (_ reflect.Value, ok bool) {
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer { // an embedded one
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	if f.omitEmpty && isEmpty(v) || f.omitZero && isZero(v) {
		return v, false
	}
	return v, true
}

// isEmpty is what omitempty asks.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// isZero is what omitzero asks: the type's own IsZero, if it has one.
func isZero(v reflect.Value) bool {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return true
		}
	}
	if z, ok := address(v).(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	return v.IsZero()
}

// address is v by pointer where it has one, which needs no allocation and has every method.
func address(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return v.Interface()
}

// settle follows pointers; ok is false for what is null in JSON.
func settle(v reflect.Value) (_ reflect.Value, ok bool) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return v, false
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.Interface:
		return v, !v.IsNil()
	}
	return v, true
}
