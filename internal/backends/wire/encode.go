package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/kolo/xmlrpc"

	"vmgateway/internal/backends/wire/scan"
)

const (
	callHead = `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>`
	callBody = `</methodName><params>`
	callTail = `</params></methodCall>`
)

// encodeCall writes a call. Arguments may be
//
//	string                        <string>, every character but control characters, U+FFFE, U+FFFF
//	int, uint of any size         <int>, 32 bits; an id that XenAPI wants as text is sent as a string
//	bool                          <boolean>
//	float32, float64              <double>, finite
//	time.Time                     <dateTime.iso8601>, in UTC, to the second
//	[]byte                        <base64>
//	slice or array                <array>
//	map with string keys          <struct>, members in the order of their names
//
// and named types and pointers of those, nil pointers and nil excepted. An error names the place of
// what it refuses ("argument 2, member 1"), never its text.
//
// The params element is always there: xapi answers a call without it with HTTP 500.
func encodeCall(method string, args []any) ([]byte, error) {
	if err := checkMethod(method); err != nil {
		return nil, err
	}
	e := &encoder{}
	e.buf.WriteString(callHead)
	e.buf.WriteString(method)
	e.buf.WriteString(callBody)
	for i, arg := range args {
		e.buf.WriteString("<param>")
		if err := e.value(reflect.ValueOf(arg), 1); err != nil {
			return nil, fmt.Errorf("argument %d%w", i+1, err)
		}
		e.buf.WriteString("</param>")
	}
	e.buf.WriteString(callTail)
	return e.buf.Bytes(), nil
}

// checkMethod holds a method's name to the characters that XML-RPC gives it.
func checkMethod(method string) error {
	if method == "" {
		return errors.New("the method has no name")
	}
	for i := range len(method) {
		c := method[i]
		if c >= utf8.RuneSelf || !scan.IsName(c) {
			return fmt.Errorf("the method's name has the character U+%04X at byte %d", c, i)
		}
	}
	return nil
}

type encoder struct{ buf bytes.Buffer }

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// value writes v. Its errors begin with what follows "argument 2": ", item 3: …" or ": …".
func (e *encoder) value(v reflect.Value, depth int) error {
	if depth > scan.MaxDepth {
		return fmt.Errorf(": nested deeper than %d levels", scan.MaxDepth)
	}
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		// A pointer may lead to itself.
		if depth++; depth > scan.MaxDepth {
			return fmt.Errorf(": nested deeper than %d levels", scan.MaxDepth)
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return errors.New(": is nil, which XML-RPC cannot say")
	}
	switch {
	case v.Type() == timeType:
		// kolo writes the wall clock and drops the zone.
		return e.scalar(v.Interface().(time.Time).UTC())
	case v.Kind() == reflect.Slice && v.Type().Elem() == bytesType.Elem():
		// kolo would write an array of numbers.
		return e.scalar(xmlrpc.Base64(base64.StdEncoding.EncodeToString(v.Bytes())))
	}
	switch v.Kind() {
	case reflect.String:
		if err := scan.CheckText(v.String()); err != nil {
			return fmt.Errorf(": %w", err)
		}
		return e.scalar(v.String())
	case reflect.Bool:
		return e.scalar(v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if i := v.Int(); i < math.MinInt32 || i > math.MaxInt32 {
			return errors.New(": is a number beyond 32 bits")
		}
		return e.scalar(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() > math.MaxInt32 {
			return errors.New(": is a number beyond 32 bits")
		}
		return e.scalar(int64(v.Uint()))
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return errors.New(": is not a finite number")
		}
		return e.scalar(v.Float())
	case reflect.Slice, reflect.Array:
		return e.array(v, depth)
	case reflect.Map:
		return e.members(v, depth)
	}
	return fmt.Errorf(": has the type %s, which XML-RPC has not", v.Type())
}

func (e *encoder) array(v reflect.Value, depth int) error {
	e.buf.WriteString("<value><array><data>")
	for i := range v.Len() {
		if err := e.value(v.Index(i), depth+1); err != nil {
			return fmt.Errorf(", item %d%w", i+1, err)
		}
	}
	e.buf.WriteString("</data></array></value>")
	return nil
}

func (e *encoder) members(v reflect.Value, depth int) error {
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf(": is a map with keys of type %s, not strings", v.Type().Key())
	}
	members := make(map[string]reflect.Value, v.Len())
	for it := v.MapRange(); it.Next(); {
		members[it.Key().String()] = it.Value()
	}
	e.buf.WriteString("<value><struct>")
	for i, name := range slices.Sorted(maps.Keys(members)) {
		if err := scan.CheckText(name); err != nil {
			return fmt.Errorf(", name of member %d: %w", i+1, err)
		}
		e.buf.WriteString("<member><name>")
		e.buf.WriteString(scan.Escape(name))
		e.buf.WriteString("</name>")
		if err := e.value(members[name], depth+1); err != nil {
			return fmt.Errorf(", member %d%w", i+1, err)
		}
		e.buf.WriteString("</member>")
	}
	e.buf.WriteString("</struct></value>")
	return nil
}

// scalar writes what kolo writes for v.
func (e *encoder) scalar(v any) error {
	b, err := xmlrpc.EncodeMethodCall("", v)
	if err != nil {
		return fmt.Errorf(": %w", err)
	}
	_, b, _ = bytes.Cut(b, []byte("<param>"))
	b, _, _ = bytes.Cut(b, []byte("</param>"))
	e.buf.Write(b)
	return nil
}
