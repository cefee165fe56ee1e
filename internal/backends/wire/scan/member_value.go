package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Value is a view of one value of an XML-RPC reply, in the bytes that were walked. The zero Value is
// Invalid.
type Value struct {
	body []byte // between the tags of its type
	kind Kind
}

func (s span) of(b []byte) Value { return Value{b[s.from:s.to:s.to], s.kind} }

// Kind is the value's type.
func (v Value) Kind() Kind { return v.kind }

// Body is what stands between the tags of the value's type, still escaped: the same for the same value
// from the same backend. It must not be changed.
func (v Value) Body() []byte { return v.body }

// Clone is the value in bytes of its own.
func (v Value) Clone() Value { return Value{bytes.Clone(v.body), v.kind} }

func (v Value) not(want Kind) error {
	return fmt.Errorf("a value of type %s where %s belongs", v.kind, want)
}

// Text is the text of a String, verbatim but for what is escaped: blanks and line ends are kept. It may
// be a part of what was walked, and must not be changed.
func (v Value) Text() ([]byte, error) {
	if v.kind != String {
		return nil, v.not(String)
	}
	return resolved(v.body)
}

// resolved is Content, which costs nothing where there is nothing to resolve.
func resolved(b []byte) ([]byte, error) {
	if isVerbatim(b) {
		return b, nil
	}
	return Content(b, false)
}

// isVerbatim reports whether b is ASCII without control characters and markup. Of other texts some may
// be verbatim as well.
func isVerbatim(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		amp, less := w^(ones*'&'), w^(ones*'<')
		// A byte below the one that is taken away borrows into its top bit.
		if (w|(w-ones*' ')|((amp-ones)&^amp)|((less-ones)&^less))&tops != 0 {
			return false
		}
	}
	for _, c := range b {
		if c < ' ' || c >= 0x80 || c == '&' || c == '<' {
			return false
		}
	}
	return true
}

// trimmed is a scalar's text without the blanks around it.
func (v Value) trimmed(want Kind, also ...Kind) ([]byte, error) {
	ok := v.kind == want
	for _, k := range also {
		ok = ok || v.kind == k
	}
	if !ok {
		return nil, v.not(want)
	}
	b, err := resolved(v.body)
	return bytes.TrimSpace(b), err
}

// Int is an Int, or a String that is a decimal number, as XenAPI writes every integer.
func (v Value) Int() (int64, error) {
	if n, ok := digits(v.body); ok && (v.kind == String || v.kind == Int) {
		return n, nil
	}
	b, err := v.trimmed(Int, String)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, errors.New("not a decimal integer of 64 bits")
	}
	return n, nil
}

// digits is the number that b is in plain digits, few enough for 64 bits.
func digits(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// Bool is a Bool: 1 or 0, or true or false.
func (v Value) Bool() (bool, error) {
	if v.kind == Bool && len(v.body) == 1 && (v.body[0] == '0' || v.body[0] == '1') {
		return v.body[0] == '1', nil
	}
	b, err := v.trimmed(Bool)
	if err != nil {
		return false, err
	}
	switch string(b) {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, errors.New("not a boolean")
}

// Float is a Double, an Int, or a String that is a number. xapi writes nan, inf and -inf too.
func (v Value) Float() (float64, error) {
	b, err := v.trimmed(Double, Int, String)
	if err != nil {
		return 0, err
	}
	s := string(b)
	switch strings.ToLower(s) {
	case "nan", "-nan", "+nan":
		return math.NaN(), nil
	case "inf", "+inf", "infinity", "+infinity":
		return math.Inf(1), nil
	case "-inf", "-infinity", "neg_infinity":
		return math.Inf(-1), nil
	}
	if strings.Trim(s, "0123456789+-.eE") == "" {
		// The characters at the ends decide: what ParseFloat takes beyond, hexadecimal and
		// underscores, is not a double of XML-RPC.
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, nil
		}
	}
	return 0, errors.New("not a number")
}

// timeLayouts are the forms of dateTime.iso8601 met, xapi's first. Parse takes a fraction of a
// second after each of them, and a time without a zone as UTC.
var timeLayouts = func() (layouts []string) {
	for _, date := range []string{"20060102", "2006-01-02"} {
		for _, clock := range []string{"T15:04:05", "T150405"} {
			for _, zone := range []string{"Z07:00", "", "Z0700", "Z07"} {
				layouts = append(layouts, date+clock+zone)
			}
		}
	}
	return layouts
}()

// Time is a DateTime, or a String that is one, in UTC.
func (v Value) Time() (time.Time, error) {
	b, err := v.trimmed(DateTime, String)
	if err != nil {
		return time.Time{}, err
	}
	s := string(b)
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("not a date and time")
}

// Member is the first member of a Struct that has that name.
func (v Value) Member(name string) (m Value, ok bool, err error) {
	p := v.Parts(Struct)
	for p.Next() {
		if string(p.Name) == name {
			return p.Value, true, nil
		}
	}
	return Value{}, false, p.Err()
}

// Parts goes through the members of a Struct, or the items of an Array:
//
//	for p := v.Parts(Struct); p.Next(); {
//		use(p.Name, p.Value)
//	}
//	err := p.Err()
type Parts struct {
	Name  []byte // a member's; it may be a part of what was walked
	Value Value

	b    []byte
	i    int
	kind Kind
	err  error
}

// Parts is at v's start. For a value that is no k it gives an error and nothing else.
func (v Value) Parts(k Kind) Parts {
	p := Parts{b: v.body, kind: k}
	if v.kind != k {
		p.err = v.not(k)
	}
	return p
}

// Next goes to the next part, and reports whether there is one.
func (p *Parts) Next() bool {
	if p.i = skipMisc(p.b, p.i); p.i == len(p.b) || p.err != nil {
		return false
	}
	var v span
	if p.kind == Struct {
		p.Name, v, p.i, p.err = readMember(p.b, p.i, 0)
		if p.err == nil {
			p.Name, p.err = resolved(p.Name)
		}
	} else {
		v, p.i, p.err = readValue(p.b, p.i, 0)
	}
	if p.err != nil {
		return false
	}
	p.Value = v.of(p.b)
	return true
}

// Err is why there was no next part, where it is not the end.
func (p *Parts) Err() error { return p.err }
