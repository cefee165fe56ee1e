package query

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"
)

// matcher decides over one struct, addressable and of the type it was compiled for.
type matcher func(v reflect.Value) bool

// Enumerated may be implemented by a text type, such as an enum of strings. A filter that compares
// such a member (= or !=) with something that is not among its values is an error.
type Enumerated interface {
	// Values is every value, as in JSON. It is called on the zero value.
	Values() []string
}

// compiler turns a tree into matchers.
type compiler struct {
	src     string
	typ     reflect.Type
	members []string // that the matchers read
}

// reads remembers that a matcher follows pl.
func (c *compiler) reads(pl *plan) { c.members = append(c.members, pl.member()) }

func (c *compiler) fail(at int, format string, args ...any) *Error {
	return errorAt(c.src, at, format, args...)
}

func (c *compiler) compile(n node) (matcher, error) {
	switch n := n.(type) {
	case all:
		return c.compileAll(n, false)
	case some:
		return c.compileAll(n, true)
	case not:
		m, err := c.compile(n.node)
		return func(v reflect.Value) bool { return !m(v) }, err
	case search:
		return c.search(n.value)
	case restriction:
		m, err := c.restriction(n)
		if err != nil {
			return nil, err // not a nil *Error in an error
		}
		return m, nil
	}
	return func(reflect.Value) bool { return true }, nil
}

// compileAll makes the matcher that stops at the first node which answers stop.
func (c *compiler) compileAll(nodes []node, stop bool) (matcher, error) {
	matchers := make([]matcher, len(nodes))
	for i, n := range nodes {
		var err error
		if matchers[i], err = c.compile(n); err != nil {
			return nil, err
		}
	}
	return func(v reflect.Value) bool {
		for _, m := range matchers {
			if m(v) == stop {
				return stop
			}
		}
		return !stop
	}, nil
}

// search looks for a literal in the members a reader knows an item by.
func (c *compiler) search(l literal) (matcher, error) {
	var nodes []matcher
	sought := &condition{op: has, want: scalar{kind: text}, pattern: searching(l)}
	for _, name := range [...]string{"displayName", "id", "description"} {
		pl, err := resolve(name, c.typ, path{{name: name}})
		if err != nil || pl.class != classText {
			continue
		}
		c.reads(pl)
		nodes = append(nodes, pl.test(sought.holds))
	}
	if nodes == nil {
		return nil, c.fail(l.at, "there is no text to search here: compare a member")
	}
	return func(v reflect.Value) bool {
		return slices.ContainsFunc(nodes, func(m matcher) bool { return m(v) })
	}, nil
}

// restriction compiles `member op value` by what the member is.
func (c *compiler) restriction(r restriction) (matcher, *Error) {
	pl, err := resolve(c.src, c.typ, r.path)
	if err != nil {
		return nil, err
	}
	if r.op == has && r.value.present() {
		c.reads(pl)
		return pl.present(), nil
	}
	pl.pass()
	if pl.class == classObject || pl.class == classMap {
		return c.collection(pl, r)
	}
	c.reads(pl)
	if pl.class == classOpaque {
		return pl.dynamic(r), nil
	}
	held, err := c.condition(pl, r)
	if err != nil {
		return nil, err
	}
	return pl.test(held.holds), nil
}

// collection compiles `object:member` and `map:key`.
func (c *compiler) collection(pl *plan, r restriction) (matcher, *Error) {
	at := r.path[len(r.path)-1].at
	if r.op != has {
		return nil, c.fail(at, "%s is %s: compare one of its members, or ask for one with :", shorten(r.path.String()), pl.class)
	}
	name := segment{name: r.value.text, quoted: true, at: r.value.at}
	full, err := resolve(c.src, c.typ, append(slices.Clone(r.path), name))
	if err != nil {
		return nil, err
	}
	c.reads(full)
	return full.there(), nil
}

// test makes the matcher that reads the scalar at the end of pl; holds is asked if it is there.
func (pl *plan) test(holds func(scalar) bool) matcher {
	way, read := pl.way, pl.read
	leaf := func(v reflect.Value) bool {
		s := read(v)
		return s.kind != absent && holds(s)
	}
	return func(v reflect.Value) bool { return walk(v, way, leaf) }
}

// there is the matcher for a member that is not absent.
func (pl *plan) there() matcher {
	if len(pl.way) < len(pl.steps) { // to the key of a map of texts
		return pl.test(func(scalar) bool { return true })
	}
	return pl.ending(func(reflect.Value) bool { return true }, &ends{
		scalar: func(scalar, bool) bool { return true },
		object: func(map[string]any) bool { return true },
		list:   func([]any) bool { return true },
	})
}

// present is the matcher of `member:*`: there, and not an empty list or map.
func (pl *plan) present() matcher {
	return pl.ending(func(v reflect.Value) bool {
		return pl.class != classList && pl.class != classMap || v.Len() > 0
	}, &ends{
		scalar: func(scalar, bool) bool { return true },
		object: func(m map[string]any) bool { return len(m) > 0 },
		list:   func(l []any) bool { return len(l) > 0 },
	})
}

// ending makes the matcher that ends in leaf, or in e if the last value is opaque.
func (pl *plan) ending(leaf func(reflect.Value) bool, e *ends) matcher {
	steps := pl.steps
	if pl.class == classOpaque {
		leaf = func(v reflect.Value) bool { return e.walkAny(opaqueValue(v), pl.rest, pl.below) }
	}
	return func(v reflect.Value) bool { return walk(v, steps, leaf) }
}

// dynamic compiles a comparison with a value whose type only the item knows. The literal's own type
// decides, and a value of another type satisfies nothing.
func (pl *plan) dynamic(r restriction) matcher {
	contains := containing(r.value)
	c := &condition{op: r.op, want: spelled(r.value), pattern: exactly(r.value)}
	e := &ends{
		scalar: func(s scalar, below bool) bool {
			if s.kind == text && r.op == has && !below {
				return contains.match(s.text)
			}
			return s.kind == c.want.kind && c.holds(s)
		},
	}
	if r.op == has {
		e.object = func(m map[string]any) bool { v, ok := m[r.value.text]; return ok && v != nil }
	}
	return pl.ending(nil, e)
}

// spelled is a literal by its own look.
func spelled(l literal) scalar {
	if !l.quoted {
		if n, ok := parseNumber(l.text); ok {
			return scalar{kind: numeric, num: n}
		}
		if l.text == "true" || l.text == "false" {
			return scalar{kind: boolean, flag: l.text == "true"}
		}
	}
	return scalar{kind: text, text: l.text}
}

// condition is a comparison with a literal.
type condition struct {
	op      operator
	want    scalar
	pattern pattern // what a text is held against by =, != and :
}

// condition is what the scalar at the end of pl must satisfy.
func (c *compiler) condition(pl *plan, r restriction) (*condition, *Error) {
	want, err := scalarFor(c.src, pl, r.path, r.value)
	if err != nil {
		return nil, err
	}
	held := &condition{op: r.op, want: want, pattern: exactly(r.value)}
	switch {
	case want.kind == boolean && r.op != equal && r.op != notEqual && r.op != has:
		return nil, c.fail(r.value.at, "true and false have no order: use = or !=")
	case want.kind != text:
		return held, nil
	case r.op == has && !pl.below:
		held.pattern = containing(r.value)
		return held, nil
	}
	if (r.op == equal || r.op == notEqual) && !held.pattern.head && !held.pattern.tail {
		if err := c.checkValue(pl, r); err != nil {
			return nil, err
		}
	}
	return held, nil
}

// holds is for a scalar that is there and, but for an identifier, of the kind of the literal.
func (c *condition) holds(s scalar) bool {
	switch c.op {
	case equal, has:
		return c.same(s)
	case notEqual:
		return !c.same(s)
	}
	order := compareScalars(s.joined(), c.want)
	switch c.op {
	case less:
		return order < 0
	case lessOrEqual:
		return order <= 0
	case greater:
		return order > 0
	}
	return order >= 0
}

func (c *condition) same(s scalar) bool {
	switch s.kind {
	case text:
		return c.pattern.match(s.text)
	case identifier:
		return c.pattern.matchID(s)
	}
	return compareScalars(s, c.want) == 0
}

// scalarFor reads l as a value of the member that pl leads to.
func scalarFor(src string, pl *plan, p path, l literal) (scalar, *Error) {
	s := spelled(l)
	name := shorten(p.String())
	switch pl.class {
	case classText:
		if s.kind != text {
			return s, errorAt(src, l.at, "%s is text: write %q, in quotes, if that is meant", name, l.text)
		}
	case classNumber:
		if s.kind != numeric {
			return durationFor(src, pl, p, l)
		}
	case classBool:
		if s.kind != boolean {
			return s, errorAt(src, l.at, "%s is true or false, not %s", name, shorten(l.text))
		}
	case classTime:
		t, err := time.Parse(time.RFC3339, l.text)
		if err != nil {
			return s, errorAt(src, l.at, "%s is a time: write it as 2006-01-02T15:04:05Z (RFC 3339)", name)
		}
		return scalar{kind: instant, time: t}, nil
	}
	return s, nil
}

// durationFor reads 20s or 1h30m for a number of seconds, or for a time.Duration.
func durationFor(src string, pl *plan, p path, l literal) (scalar, *Error) {
	isDuration := pl.typ == reflect.TypeFor[time.Duration]()
	if isDuration || strings.HasSuffix(p[len(p)-1].name, "Seconds") {
		if d, err := time.ParseDuration(l.text); err == nil && isDuration {
			return scalar{kind: numeric, num: fromInt(int64(d))}, nil
		} else if err == nil {
			n, _ := fromFloat(d.Seconds()) // never NaN
			return scalar{kind: numeric, num: n}, nil
		}
	}
	if l.quoted {
		return scalar{}, errorAt(src, l.at, "%s is a number: write one without quotes", shorten(p.String()))
	}
	return scalar{}, errorAt(src, l.at, "%s is a number, not %s", shorten(p.String()), shorten(l.text))
}

// checkValue refuses a text that the member's type can never have: one not among those of an
// [Enumerated] type, or one its UnmarshalText refuses.
func (c *compiler) checkValue(pl *plan, r restriction) *Error {
	zero := reflect.New(pl.typ).Interface()
	if e, ok := zero.(Enumerated); ok {
		if values := e.Values(); !slices.Contains(values, r.value.text) {
			return c.fail(r.value.at, "%s is never %s: it is one of %s",
				shorten(r.path.String()), shorten(r.value.text), strings.Join(values, ", "))
		}
	}
	if u, ok := zero.(encoding.TextUnmarshaler); ok && u.UnmarshalText([]byte(r.value.text)) != nil {
		return c.fail(r.value.at, "%s is not a value that %s can have", shorten(r.value.text), shorten(r.path.String()))
	}
	return nil
}

// String is a scalar as JSON would hold it, without quotes.
func (s scalar) String() string {
	switch s.kind {
	case boolean:
		if s.flag {
			return "true"
		}
		return "false"
	case numeric:
		return s.num.String()
	case instant:
		return s.time.UTC().Format(time.RFC3339Nano)
	}
	return s.joined().text
}
