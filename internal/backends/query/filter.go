package query

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
)

// Filter is a parsed filter; see the package for what it may say. A nil or empty one matches
// everything. It is safe for concurrent use.
type Filter struct {
	src   string
	root  node
	bound atomic.Pointer[binding]
}

// binding is a filter made ready for one type.
type binding struct {
	typ     reflect.Type
	match   matcher
	members []string
}

// ParseFilter reads s without knowing its members; they are looked up when the first item comes.
// Errors are *Error.
func ParseFilter(s string) (*Filter, error) {
	root, err := parse(s)
	if err != nil {
		return nil, err
	}
	return &Filter{src: s, root: root}, nil
}

// Compile reads s as a filter over t, a struct type or a pointer to one: every member must exist,
// and every literal must fit its member. Errors in s are *Error.
func Compile(s string, t reflect.Type) (*Filter, error) {
	f, err := ParseFilter(s)
	if err != nil {
		return nil, err
	}
	if t, err = structType(t); err != nil {
		return nil, err
	}
	if _, err := f.bind(t); err != nil {
		return nil, err
	}
	return f, nil
}

func structType(t reflect.Type) (reflect.Type, error) {
	if t == nil || indirect(t).Kind() != reflect.Struct {
		return nil, fmt.Errorf("query: %v is not a struct", t)
	}
	return indirect(t), nil
}

func (f *Filter) bind(t reflect.Type) (*binding, error) {
	if b := f.bound.Load(); b != nil && b.typ == t {
		return b, nil
	}
	c := compiler{src: f.src, typ: t}
	match, err := c.compile(f.root)
	if err != nil {
		return nil, err
	}
	b := &binding{typ: t, match: match, members: compact(c.members)}
	f.bound.Store(b)
	return b, nil
}

// Match reports whether item, a pointer to a struct (or a struct, which is copied first), satisfies
// f. After [Compile] it fails only for an item of another type; else the error may be an *Error.
func (f *Filter) Match(item any) (bool, error) {
	if f == nil {
		return true, nil
	}
	v, err := structValue(item)
	if err != nil {
		return false, err
	}
	b, err := f.bind(v.Type())
	if err != nil {
		return false, err
	}
	return b.match(v), nil
}

// structValue is the struct that item is or points to, addressable.
func structValue(item any) (reflect.Value, error) {
	v := reflect.ValueOf(item)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return v, fmt.Errorf("query: %T is not a struct", item)
	}
	if !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	return v, nil
}

// Members is the members that f looks at, by their dotted names, so that no more of an item has to be
// read. A member of a list or a map stands as the list or the map. An empty list is none; nil is what
// cannot be told, for a filter that was not made by [Compile] and has not seen an item yet.
func (f *Filter) Members() []string {
	if f == nil || f.root == nil {
		return []string{}
	}
	b := f.bound.Load()
	if b == nil {
		return nil
	}
	return slices.Clone(b.members)
}

// String is f in one spelling: equal filters that differ in blanks, or in AND said or left out,
// print alike, and what is printed parses to the same.
func (f *Filter) String() string {
	if f == nil || f.root == nil {
		return ""
	}
	var b strings.Builder
	f.root.write(&b)
	return b.String()
}

// Equal is the set of values of which the member at path must have one for f to match at all, so
// that a driver may ask its backend for those only. ok is false if f sets no such limit. An empty
// set with ok means that nothing can match. For a path that passes a list, some element must have
// one of the values. Numbers, times and booleans are spelled as in JSON, times in UTC.
//
// The set is a limit, not the filter: what the backend returns is still to be matched.
func (f *Filter) Equal(path string) (values []string, ok bool) {
	if f == nil || f.root == nil {
		return nil, false
	}
	l := lexer{src: path}
	want, err := l.path()
	if err != nil || l.at != len(path) {
		return nil, false
	}
	e := equalities{want: want}
	if b := f.bound.Load(); b != nil {
		if pl, err := resolve(path, b.typ, want); err == nil {
			e.plan = pl
		}
	}
	return e.of(f.root)
}

// equalities collects what Equal answers.
type equalities struct {
	want path
	plan *plan // nil if the type is not known
}

func (e equalities) of(n node) ([]string, bool) {
	switch n := n.(type) {
	case all:
		return e.ofAll(n)
	case some:
		return e.ofSome(n)
	case restriction:
		if n.op == equal && e.names(n.path) && !n.value.head && !n.value.tail {
			return []string{e.spell(n.value)}, true
		}
	}
	return nil, false
}

// ofAll intersects; but two elements of one list may satisfy two conditions, so there, and where
// that is not known, the smallest set is the limit.
func (e equalities) ofAll(nodes all) (values []string, ok bool) {
	single := e.plan != nil && !e.plan.lists && e.plan.class != classOpaque && e.plan.class != classList
	for _, n := range nodes {
		v, limited := e.of(n)
		switch {
		case !limited:
		case !ok:
			values, ok = v, true
		case single:
			values = slices.DeleteFunc(values, func(s string) bool { return !slices.Contains(v, s) })
		case len(v) < len(values):
			values = v
		}
	}
	return values, ok
}

func (e equalities) ofSome(nodes some) (values []string, ok bool) {
	for _, n := range nodes {
		v, limited := e.of(n)
		if !limited {
			return nil, false
		}
		for _, s := range v {
			if !slices.Contains(values, s) {
				values = append(values, s)
			}
		}
	}
	return values, true
}

func (e equalities) names(p path) bool {
	return slices.EqualFunc(p, e.want, func(a, b segment) bool { return a.name == b.name })
}

// spell writes a literal as its member's JSON would hold it.
func (e equalities) spell(l literal) string {
	if e.plan == nil {
		return l.text
	}
	s, err := scalarFor("", e.plan, e.want, l)
	if err != nil {
		return l.text
	}
	return s.String()
}
