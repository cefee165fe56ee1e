package query

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// ends decides at the end of a dynamic path, where a value's type is first seen.
type ends struct {
	scalar func(s scalar, below bool) bool
	object func(m map[string]any) bool // nil: an object satisfies nothing
	list   func(l []any) bool          // nil: an element may
}

// walkAny is walk below an opaque value: every name is accepted, lists are transparent.
func (e *ends) walkAny(x any, rest []string, below bool) bool {
	switch x := x.(type) {
	case map[string]any:
		if len(rest) == 0 {
			return e.object != nil && e.object(x)
		}
		y, ok := x[rest[0]]
		return ok && e.walkAny(y, rest[1:], true)
	case []any:
		if len(rest) == 0 && e.list != nil {
			return e.list(x)
		}
		for _, y := range x {
			if e.walkAny(y, rest, true) {
				return true
			}
		}
		return false
	}
	if s, ok := plainScalar(x); ok {
		return len(rest) == 0 && s.kind != absent && e.scalar(s, below)
	}
	y, ok := decoded(x)
	return ok && e.walkAny(y, rest, below)
}

// plainScalar reads the Go types that JSON decodes to, and their kin; ok is false for all others,
// which say themselves what their JSON is.
func plainScalar(x any) (_ scalar, ok bool) {
	switch x := x.(type) {
	case nil:
		return scalar{}, true
	case string:
		return scalar{kind: text, text: x}, true
	case bool:
		return scalar{kind: boolean, flag: x}, true
	case float64, float32, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, json.Number:
		s := readNumber(reflect.ValueOf(x))
		return s, true
	}
	return scalar{}, false
}

// decoded is x by way of its JSON, with integers kept exact; ok is false for null, and for what has
// no JSON.
func decoded(x any) (any, bool) {
	raw, err := json.Marshal(x)
	if err != nil {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var y any
	err = d.Decode(&y)
	return y, err == nil && y != nil
}

// opaqueValue is what an opaque value holds, ready for walkAny.
func opaqueValue(v reflect.Value) any {
	if v.Kind() == reflect.Interface {
		return v.Elem().Interface()
	}
	return address(v)
}
