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
	flag bool   // of an identifier: it has a dot
	text string // of an identifier: what stands behind the dot
	head string // of an identifier: what stands before it
	num  number
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
	identifier
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
	case identifier:
		return compareIDs(a, b)
	}
	return strings.Compare(a.text, b.text) // bytes of UTF-8 order as code points do
}

// joined is an identifier as the text that JSON has; any other scalar is as it was.
func (s scalar) joined() scalar {
	if s.kind != identifier {
		return s
	}
	if !s.flag {
		return scalar{kind: text, text: s.head}
	}
	return scalar{kind: text, text: s.head + "." + s.text}
}

// split makes an identifier of a text.
func (s scalar) split() scalar {
	if s.kind != text {
		return s
	}
	head, tail, dot := strings.Cut(s.text, ".")
	return scalar{kind: identifier, head: head, text: tail, flag: dot}
}

// compareIDs orders ids, {backend}.{native}: by backend, then numbers by their value, so that one.9
// comes before one.10, then all others by code point. Numbers have no leading zeros, so the shorter
// one is the smaller one.
func compareIDs(a, b scalar) int {
	if c := strings.Compare(a.head, b.head); c != 0 {
		return c
	}
	switch numberA, numberB := isNumber(a.text), isNumber(b.text); {
	case numberA && numberB && len(a.text) != len(b.text):
		return cmp.Compare(len(a.text), len(b.text))
	case numberA && !numberB:
		return -1
	case numberB && !numberA:
		return 1
	}
	return cmp.Or(strings.Compare(a.text, b.text), compareBools(a.flag, b.flag))
}

func isNumber(text string) bool {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text != ""
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
	bits uint64 // of the int64, uint64 or float64
}

type numberKind byte

const (
	signed   numberKind = iota
	unsigned            // beyond the signed ones
	floating            // with a fraction, or beyond the unsigned ones
)

func fromInt(i int64) number { return number{kind: signed, bits: uint64(i)} }

func fromUint(u uint64) number {
	if u <= math.MaxInt64 {
		return fromInt(int64(u))
	}
	return number{kind: unsigned, bits: u}
}

// fromFloat refuses NaN, which is no number.
func fromFloat(f float64) (number, bool) {
	switch {
	case math.IsNaN(f):
		return number{}, false
	case f != math.Trunc(f) || f < -1<<63 || f >= 1<<64:
		return number{kind: floating, bits: math.Float64bits(f)}, true
	case f < 1<<63:
		return fromInt(int64(f)), true
	}
	return fromUint(uint64(f)), true
}

func (n number) float() float64 {
	switch n.kind {
	case signed:
		return float64(int64(n.bits))
	case unsigned:
		return float64(n.bits)
	}
	return math.Float64frombits(n.bits)
}

func (n number) compare(m number) int {
	switch {
	case n.kind == floating || m.kind == floating:
		return n.compareFloat(m)
	case n.kind != m.kind: // every unsigned one is above every signed one
		return cmp.Compare(n.kind, m.kind)
	case n.kind == signed:
		return cmp.Compare(int64(n.bits), int64(m.bits))
	}
	return cmp.Compare(n.bits, m.bits)
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
		return strconv.FormatInt(int64(n.bits), 10)
	case unsigned:
		return strconv.FormatUint(n.bits, 10)
	}
	return strconv.FormatFloat(n.float(), 'g', -1, 64)
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
