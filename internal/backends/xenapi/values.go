package xenapi

import (
	"errors"
	"fmt"
	"math"
	"time"

	"vmgateway/internal/backends/wire"
)

// A field reads one member of a record into its place. The place is touched only when the value says
// something: what a release does not have, and what is empty, stays zero.
type field[T any] func(into *T, v wire.Value) error

// fields is the members of a class that matter here; all others are passed over.
type fields[T any] map[string]field[T]

// record reads a struct in one pass.
func record[T any](table fields[T], v wire.Value) (*T, error) {
	into := new(T)
	for m, err := range v.Members() {
		if err != nil {
			return nil, err
		}
		read, ok := table[m.Name]
		if !ok {
			continue
		}
		if err := read(into, m.Value); err != nil {
			return nil, fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return into, nil
}

// The readers for each of XenAPI's types. Each takes the place in the record.

func text[T any](place func(*T) *string) field[T] {
	return func(into *T, v wire.Value) (err error) {
		*place(into), err = v.Str()
		return err
	}
}

func boolean[T any](place func(*T) **bool) field[T] {
	return func(into *T, v wire.Value) error {
		b, err := v.Bool()
		*place(into) = &b
		return err
	}
}

// integer reads XenAPI's int, a decimal string of 64 bits.
func integer[T any](place func(*T) **int64) field[T] {
	return func(into *T, v wire.Value) error {
		n, err := v.Int()
		*place(into) = &n
		return err
	}
}

// float passes over NaN and the infinities: nobody knows such a value, and JSON cannot say it.
func float[T any](place func(*T) **float64) field[T] {
	return func(into *T, v wire.Value) error {
		f, err := v.Float()
		if err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			*place(into) = &f
		}
		return err
	}
}

// moment reads a time; XenAPI's 1970 is "never".
func moment[T any](place func(*T) **time.Time) field[T] {
	return func(into *T, v wire.Value) error {
		t, err := v.Time()
		if err == nil && t.Unix() > 0 {
			*place(into) = &t
		}
		return err
	}
}

func set[T any](place func(*T) *[]string) field[T] {
	return func(into *T, v wire.Value) (err error) {
		*place(into), err = stringsOf(v)
		return err
	}
}

func dict[T any](place func(*T) *map[string]string) field[T] {
	return func(into *T, v wire.Value) (err error) {
		*place(into), err = stringMap(v)
		return err
	}
}

func floats[T any](place func(*T) *map[string]float64) field[T] {
	return func(into *T, v wire.Value) error {
		all := map[string]float64{}
		for m, err := range v.Members() {
			if err != nil {
				return err
			}
			f, err := m.Value.Float()
			if err != nil {
				return err
			}
			if !math.IsNaN(f) && !math.IsInf(f, 0) {
				all[m.Name] = f
			}
		}
		if len(all) > 0 {
			*place(into) = all
		}
		return nil
	}
}

func stringsOf(v wire.Value) ([]string, error) {
	all := []string{}
	for item, err := range v.Items() {
		if err != nil {
			return nil, err
		}
		s, err := item.Str()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func stringMap(v wire.Value) (map[string]string, error) {
	all := map[string]string{}
	for m, err := range v.Members() {
		if err != nil {
			return nil, err
		}
		s, err := m.Value.Str()
		if err != nil {
			return nil, err
		}
		all[m.Name] = s
	}
	return all, nil
}

// part is a member that has to be there.
func part(v wire.Value, name string) (wire.Value, error) {
	m, ok, err := v.Member(name)
	if err == nil && !ok {
		err = errors.New("no member " + name)
	}
	return m, err
}
