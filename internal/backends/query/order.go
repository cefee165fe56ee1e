package query

import (
	"cmp"
	"errors"
	"reflect"
	"strings"
)

const (
	// maxKeys is how many members an order may name; a page token holds a value for each.
	maxKeys = 8
	// maxKeyText is how much of a text an order looks at, in bytes, so that page tokens stay short.
	// Texts that are equal so far are ordered by what comes next in the order, at last by the id.
	maxKeyText = 256
)

// Order is a parsed orderBy. It is total: items that are equal in all its members are ordered by
// their id. It is safe for concurrent use.
type Order struct {
	typ  reflect.Type
	keys []key
	id   key // after all others
}

// key is one member of an order.
type key struct {
	path path
	desc bool
	plan *plan
	id   bool // the values are ids, see compareIDs
}

// scalar is the value of k in an item.
func (k *key) scalar(v reflect.Value) scalar {
	s := k.plan.scalar(v)
	if k.id {
		return s.split()
	}
	return s
}

// ParseOrder reads AIP-132's `memory.staticMaxBytes desc, displayName` over t, a struct type (or a
// pointer to one) that has an id. "" is the order by id. The members must have one value: a path
// that passes a list is refused. Errors in s are *Error.
//
// Numbers are ordered numerically, times as instants, false before true, and texts by code point,
// over their first 256 bytes; the id, and members that are an [Identifier], by backend and then, where
// they are numbers, by number. An item without the member comes last, in both directions.
func ParseOrder(s string, t reflect.Type) (*Order, error) {
	if err := checkText(s); err != nil {
		return nil, err
	}
	t, err := structType(t)
	if err != nil {
		return nil, err
	}
	id, unknown := resolve("id", t, path{{name: "id"}})
	if unknown != nil || id.class != classText || len(id.steps) != 1 {
		return nil, errors.New("query: " + t.String() + " has no id to order by")
	}
	o := &Order{typ: t, id: key{plan: id, id: true}}
	if err := o.parse(s); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Order) parse(s string) *Error {
	l := lexer{src: s}
	l.space()
	for more := l.peek() >= 0; more; {
		if err := o.parseKey(&l); err != nil {
			return err
		}
		if more = l.accept(","); !more && l.peek() >= 0 {
			return l.unexpected("a comma, asc or desc")
		}
		l.space()
	}
	return nil
}

func (o *Order) parseKey(l *lexer) *Error {
	at := l.at
	p, err := l.path()
	if err != nil {
		return err
	}
	pl, err := resolve(l.src, o.typ, p)
	if err != nil {
		return err
	}
	switch {
	case pl.lists || pl.class == classList:
		return l.fail(at, "%s can have many values and gives no order", shorten(p.String()))
	case pl.read == nil && pl.class != classOpaque:
		return l.fail(at, "%s is %s: name one of its members", shorten(p.String()), pl.class)
	case o.has(p):
		return l.fail(at, "%s is named twice", shorten(p.String()))
	case len(o.keys) == maxKeys:
		return l.fail(at, "more than %d members", maxKeys)
	}
	k := key{path: p, plan: pl, id: pl.member() == "id" || implements[Identifier](pl.typ)}
	if l.space() {
		if k.desc = l.run(nameStops) == "desc"; k.desc || l.run(nameStops) == "asc" {
			l.at += len(l.run(nameStops))
			l.space()
		}
	}
	o.keys = append(o.keys, k)
	return nil
}

func (o *Order) has(p path) bool {
	for _, k := range o.keys {
		if (equalities{want: k.path}).names(p) {
			return true
		}
	}
	return false
}

// String is o in one spelling.
func (o *Order) String() string {
	terms := make([]string, len(o.keys))
	for i, k := range o.keys {
		terms[i] = k.path.String()
		if k.desc {
			terms[i] += " desc"
		}
	}
	return strings.Join(terms, ", ")
}

// ByID reports whether o is the order of the ids alone, from the first to the last.
func (o *Order) ByID() bool {
	return len(o.keys) == 0 || o.keys[0].plan.member() == "id" && !o.keys[0].desc
}

// Members is the members that o looks at, by their dotted names. A member of a list or a map stands as
// the list or the map.
func (o *Order) Members() []string {
	names := []string{"id"}
	for i := range o.keys {
		names = append(names, o.keys[i].plan.member())
	}
	return compact(names)
}

// Compare is negative if a comes before b, and 0 only for items of one id that are equal in all
// members of o. Both are pointers to (or are) structs of o's type; anything else counts as an item
// without members.
func (o *Order) Compare(a, b any) int {
	v, w := o.item(a), o.item(b)
	for i := range o.keys {
		k := &o.keys[i]
		if c := k.compare(k.scalar(v), k.scalar(w)); c != 0 {
			return c
		}
	}
	return o.id.compare(o.id.scalar(v), o.id.scalar(w))
}

// item is the struct behind item, or an invalid Value.
func (o *Order) item(item any) reflect.Value {
	v, err := structValue(item)
	if err != nil || v.Type() != o.typ {
		return reflect.Value{}
	}
	return v
}

// compare orders two values of k, of which any may be absent.
func (k *key) compare(a, b scalar) int {
	switch {
	case a.kind == absent || b.kind == absent:
		return cmp.Compare(b.kind, a.kind) // what is absent is last
	case k.desc:
		return compareScalars(b, a)
	}
	return compareScalars(a, b)
}

// scalar is the one value at the end of a plan without lists, cut to what an order looks at.
func (pl *plan) scalar(v reflect.Value) scalar {
	if !v.IsValid() {
		return scalar{}
	}
	for i := range pl.way {
		var ok bool
		if v, ok = pl.way[i].next(v); !ok {
			return scalar{}
		}
	}
	var s scalar
	if pl.class == classOpaque {
		s = opaqueScalar(opaqueValue(v), pl.rest)
	} else {
		s = pl.read(v)
	}
	if len(s.head)+len(s.text) >= maxKeyText {
		return s.cut()
	}
	return s
}

// cut shortens a text to what an order looks at.
func (s scalar) cut() scalar {
	whole := s.joined()
	whole.text = whole.text[:min(len(whole.text), maxKeyText)]
	return whole
}

// opaqueScalar is the scalar at rest below x; lists and objects are none.
func opaqueScalar(x any, rest []string) (found scalar) {
	e := &ends{
		scalar: func(s scalar, _ bool) bool { found = s; return true },
		list:   func([]any) bool { return false },
	}
	e.walkAny(x, rest, false)
	return found
}
