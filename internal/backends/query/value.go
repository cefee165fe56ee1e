package query

import (
	"cmp"
	"math"
	"strconv"
	"strings"
	"time"
)

// scalar is one value that can be compared. The zero scalar is an absent one.
type scalar struct {
	kind kind
	text string
	num  number
	flag bool
	time time.Time
}

type kind byte

// The kinds, in the order in which an orderBy puts the values of an any-typed member.
const (
	absent kind = iota
	boolean
	numeric
	instant
	text
)

// compareScalars orders two scalars that are there: by kind, then by value.
func compareScalars(a, b scalar) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	switch a.kind {
	case boolean:
		return compareBools(a.flag, b.flag)
	case numeric:
		return a.num.compare(b.num)
	case instant:
		return a.time.Compare(b.time)
	}
	return strings.Compare(a.text, b.text) // bytes of UTF-8 order as code points do
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// number is an integer of 64 bits, or else a float: a float64 alone would take 2^53+1 for 2^53.
type number struct {
	kind numberKind
	i    int64
	u    uint64
	f    float64
}

type numberKind byte

const (
	signed   numberKind = iota
	unsigned            // beyond the signed ones
	floating            // with a fraction, or beyond the unsigned ones
)

func fromInt(i int64) number { return number{kind: signed, i: i} }

func fromUint(u uint64) number {
	if u <= math.MaxInt64 {
		return fromInt(int64(u))
	}
	return number{kind: unsigned, u: u}
}

// fromFloat refuses NaN, which is no number.
func fromFloat(f float64) (number, bool) {
	switch {
	case math.IsNaN(f):
		return number{}, false
	case f != math.Trunc(f) || f < -1<<63 || f >= 1<<64:
		return number{kind: floating, f: f}, true
	case f < 1<<63:
		return fromInt(int64(f)), true
	}
	return fromUint(uint64(f)), true
}

func (n number) float() float64 {
	switch n.kind {
	case signed:
		return float64(n.i)
	case unsigned:
		return float64(n.u)
	}
	return n.f
}

func (n number) compare(m number) int {
	switch {
	case n.kind == floating || m.kind == floating:
		return n.compareFloat(m)
	case n.kind != m.kind: // every unsigned one is above every signed one
		return cmp.Compare(n.kind, m.kind)
	case n.kind == signed:
		return cmp.Compare(n.i, m.i)
	}
	return cmp.Compare(n.u, m.u)
}

// compareFloat compares where one side is floating at least. Such a float is never equal to an
// integer, so a tie comes from rounding 2^63-1 or 2^64-1 up to it, and the float is the larger.
func (n number) compareFloat(m number) int {
	if c := cmp.Compare(n.float(), m.float()); c != 0 || n.kind == m.kind {
		return c
	}
	return cmp.Compare(n.kind, m.kind)
}

// String is the number in JSON.
func (n number) String() string {
	switch n.kind {
	case signed:
		return strconv.FormatInt(n.i, 10)
	case unsigned:
		return strconv.FormatUint(n.u, 10)
	}
	return strconv.FormatFloat(n.f, 'g', -1, 64)
}

// parseNumber reads JSON's numbers, with a + or leading zeros if one likes.
func parseNumber(s string) (number, bool) {
	if !spelledNumber(s) {
		return number{}, false
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return fromInt(i), true
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return fromUint(u), true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return number{}, false
	}
	return fromFloat(f)
}

// spelledNumber keeps out what strconv takes beside: hexadecimals, underscores, Inf and NaN.
func spelledNumber(s string) bool {
	s = strings.TrimLeft(s, "+-")
	if s == "" || s[0] < '0' || s[0] > '9' {
		return false
	}
	return strings.Trim(s, "0123456789.eE+-") == ""
}

// pattern is what a text is held against.
type pattern struct {
	text string // without the wildcards, and in lower case if fold
	head bool   // anything may stand before it
	tail bool   // anything may stand behind it
	fold bool   // case does not matter
}

// exactly is the pattern of = and !=.
func exactly(l literal) pattern {
	p := pattern{text: l.text, head: l.head, tail: l.tail}
	if p.head {
		p.text = p.text[1:]
	}
	if p.tail && p.text != "" {
		p.text = p.text[:len(p.text)-1]
	}
	return p
}

// containing is the pattern of : on a text.
func containing(l literal) pattern {
	return pattern{text: strings.ToLower(l.text), head: true, tail: true, fold: true}
}

// searching is the pattern of a literal alone.
func searching(l literal) pattern {
	if !l.head && !l.tail {
		return containing(l)
	}
	p := exactly(l)
	p.text, p.fold = strings.ToLower(p.text), true
	return p
}

func (p pattern) match(s string) bool {
	if p.fold {
		s = strings.ToLower(s) // without a copy when it is in lower case already
	}
	switch {
	case p.head && p.tail:
		return strings.Contains(s, p.text)
	case p.head:
		return strings.HasSuffix(s, p.text)
	case p.tail:
		return strings.HasPrefix(s, p.text)
	}
	return s == p.text
}
