package opennebula

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

// record is one element of a document, decoded: its text, or the elements inside. The zero record
// stands for an element that is not there.
type record struct {
	Name string
	Text string
	Kids []record
}

// allElements is the table of a tree.
var allElements = scan.NewTable([]string{"**"})

// recordOf is the tree of an item of that name, in which all elements were looked for.
func recordOf(name string, item *scan.Item) record {
	t := tree{found: item.Found(), ends: make([]int, 0, 2*len(item.Found()))}
	chars := make([]byte, 0, len(item.Raw()))
	for i, f := range t.found {
		chars = append(chars, item.Name(f)...)
		t.ends = append(t.ends, len(chars))
		if !t.holds(i, i+1) {
			chars = item.Append(chars, f)
		}
		t.ends = append(t.ends, len(chars))
	}
	t.chars = string(chars)
	return record{Name: name, Kids: t.kids(0, len(t.found))}
}

// tree is what was found in an item, with all names and texts in one string.
type tree struct {
	found []scan.Found
	chars string
	ends  []int // of each name, and of its text
}

// holds reports whether element i has the later element j inside.
func (t *tree) holds(i, j int) bool { return j < len(t.found) && t.found[i].Holds(t.found[j]) }

// kids are the outermost of the elements from i up to end.
func (t *tree) kids(i, end int) (kids []record) {
	for i < end {
		next := i + 1
		for next < end && t.holds(i, next) {
			next++
		}
		begin, name := 0, t.ends[2*i]
		if i > 0 {
			begin = t.ends[2*i-1]
		}
		kids = append(kids, record{t.chars[begin:name], t.chars[name:t.ends[2*i+1]], t.kids(i+1, next)})
		i = next
	}
	return kids
}

// get is the first element of that name.
func (r record) get(name string) record {
	for i := range r.Kids {
		if r.Kids[i].Name == name {
			return r.Kids[i]
		}
	}
	return record{}
}

// text is the first element of that name's text, "" when there is none.
func (r record) text(name string) string { return r.get(name).Text }

// has reports whether there is an element of that name.
func (r record) has(name string) bool { return r.get(name).Name != "" }

// all is every element of the names, in the document's order.
func (r record) all(names ...string) []record {
	var found []record
	for _, kid := range r.Kids {
		for _, name := range names {
			if kid.Name == name {
				found = append(found, kid)
			}
		}
	}
	return found
}

// vector reports whether the element holds elements, as OpenNebula's vector attributes do.
func (r record) vector() bool { return len(r.Kids) > 0 }

// parseWhole reads a whole number.
func parseWhole(text string) (n int64, ok bool) {
	if text == "" {
		return 0, false // the usual case; an error of strconv's would be made for each
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// parseDecimal reads a finite number.
func parseDecimal(text string) (f float64, ok bool) {
	if text == "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// parseScaled reads a whole number of units as bytes, unless it is negative or out of range. Monitoring
// sends whole numbers with a fraction too.
func parseScaled(text string, unit int64) (bytes int64, ok bool) {
	n, ok := parseWhole(text)
	if !ok {
		f, finite := parseDecimal(text)
		if n, ok = int64(f), finite && f < math.MaxInt64/2; !ok {
			return 0, false
		}
	}
	if n < 0 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// parseMoment reads a time in seconds since 1970; 0 and less is "not yet".
func parseMoment(text string) (t time.Time, ok bool) {
	n, ok := parseWhole(text)
	if !ok || n <= 0 {
		return t, false
	}
	return time.Unix(n, 0).UTC(), true
}

// orNil is a value that was read, or nil.
func orNil[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// integer is a text as a whole number; nil when it is not one.
func integer(text string) *int64 { return orNil(parseWhole(text)) }

// decimal is a text as a number; nil when it is not one, or not finite.
func decimal(text string) *float64 { return orNil(parseDecimal(text)) }

// scaled is a whole number of units as bytes; nil when it is not one.
func scaled(text string, unit int64) *int64 { return orNil(parseScaled(text, unit)) }

// moment is a time in seconds since 1970; nil for "not yet".
func moment(text string) *time.Time { return orNil(parseMoment(text)) }

const (
	kib = 1 << 10
	mib = 1 << 20
)

// yes is OpenNebula's boolean: YES or NO in templates, 1 or 0 elsewhere; nil for anything else.
func yes(text string) *bool {
	switch {
	case isYes(text):
		return truth(true)
	case text == "0" || strings.EqualFold(text, "NO"):
		return truth(false)
	}
	return nil
}

func isYes(text string) bool { return text == "1" || strings.EqualFold(text, "YES") }

// truths are what every *bool of a VM points to.
var truths = [...]bool{false, true}

func truth(b bool) *bool {
	if b {
		return &truths[1]
	}
	return &truths[0]
}

// filled is a text that is there; nil for "".
func filled(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// need is an element that a document cannot do without, as an id.
func (r record) need(name string) (int, error) {
	n, ok := number(r.text(name))
	if !ok {
		return 0, errors.New(r.Name + " without a usable " + name)
	}
	return n, nil
}

// secret reports whether an element's value is one that nobody is shown: passwords of consoles,
// keepalived and contexts, hashes and tokens of users.
func secret(name string) bool {
	return strings.Contains(name, "PASSW") || name == "LOGIN_TOKEN" || name == "TOKEN"
}
