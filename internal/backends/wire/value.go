package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kolo/xmlrpc"

	"vmgateway/internal/backends/wire/scan"
)

// Reply is the reply to one call, whole. It is safe for concurrent use, and so are its values.
type Reply struct {
	method string
	body   []byte
	once   sync.Once
	doc    *doc
	top    Value
	err    error
}

// Size is the length of the reply's body in bytes; 0 for none.
func (r *Reply) Size() int64 {
	if r == nil {
		return 0
	}
	return int64(len(r.body))
}

// Value is the reply's one value. The first call scans the whole reply, so that the structure of
// what it gives is sound down to the last level; only the contents of scalars are looked at later.
// The error is a *Fault for a fault, and otherwise an *Error: Cut where the reply ends early,
// Malformed where it is not XML-RPC.
func (r *Reply) Value() (Value, error) {
	r.once.Do(r.read)
	return r.top, r.err
}

func (r *Reply) read() {
	d := &doc{method: r.method, b: r.body}
	r.doc = d
	top, fault, err := d.response()
	switch {
	case errors.Is(err, scan.ErrEnds):
		r.err = &Error{Method: r.method, Kind: Cut, Sent: true, Err: err}
	case err != nil:
		r.err = &Error{Method: r.method, Kind: Malformed, Sent: true, Err: err}
	case fault:
		r.err = asFault(top)
	default:
		r.top = top
	}
}

// asFault reads the struct of a <fault>.
func asFault(v Value) error {
	code, okCode, err := v.Member("faultCode")
	if err != nil {
		return err
	}
	text, okText, err := v.Member("faultString")
	if err != nil {
		return err
	}
	if !okCode || !okText {
		return v.fail(errors.New("a fault without its code or text"))
	}
	n, err := code.Int()
	if err != nil {
		return err
	}
	if n != int64(int(n)) {
		return code.fail(errors.New("a fault's code is out of range"))
	}
	s, err := text.Str()
	if err != nil {
		return err
	}
	return &Fault{Method: v.d.method, Code: int(n), Text: s}
}

// Decode fills v, a pointer, by way of kolo/xmlrpc. It is for small replies whose every value has
// its type written down, as oned's have; others are refused as Malformed, because kolo trims
// untyped strings, loses its place on an empty one, reads a text only up to a CDATA section, and
// takes an empty number or <nil/> for a zero.
// Errors are those of Value.
func (r *Reply) Decode(v any) (err error) {
	top, err := r.Value()
	if err != nil {
		return err
	}
	if r.doc.special {
		return top.fail(errors.New("it has untyped or absent values or CDATA, which have to be read by Value"))
	}
	defer func() {
		// kolo reflects on v without looking whether it can be set.
		if recover() != nil {
			err = top.fail(fmt.Errorf("it cannot be decoded into a %T", v))
		}
	}()
	if err := xmlrpc.Response(r.body).Unmarshal(v); err != nil {
		// kolo's and strconv's texts quote what they could not read.
		return top.fail(fmt.Errorf("it does not fit a %T", v))
	}
	return nil
}

// Kind is the type of a value.
type Kind uint8

// The types that XML-RPC has, <nil/> included. A value without a type is a String.
const (
	Invalid Kind = iota // the zero Value
	String
	Int
	Bool
	Double
	DateTime
	Base64
	Nil
	Array
	Struct
)

var kindNames = [...]string{"nothing", "string", "int", "boolean", "double", "dateTime", "base64", "nil", "array", "struct"}

func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// kinds are the types by their tags, <array> and <struct> apart.
var kinds = map[string]Kind{
	"string":           String,
	"int":              Int,
	"i1":               Int,
	"i2":               Int,
	"i4":               Int,
	"i8":               Int,
	"ex:i8":            Int,
	"boolean":          Bool,
	"double":           Double,
	"dateTime.iso8601": DateTime,
	"base64":           Base64,
	"nil":              Nil,
	"ex:nil":           Nil,
}

// doc is a reply's body with what the first scan learnt.
type doc struct {
	method  string
	b       []byte
	jumps   []jump // of each array and struct, in the order of their start
	indexed bool   // jumps is complete
	special bool   // there is what kolo reads wrongly: an untyped or absent value, a CDATA section
}

// noteSpecial notes what kolo cannot read. After the first scan a doc never changes.
func (d *doc) noteSpecial() {
	if !d.indexed {
		d.special = true
	}
}

// jump leads over an array or struct.
type jump struct {
	end  int32 // place of </data> or </struct>
	next int32 // number of arrays and structs that begin before end
}

// Value is a view of one value of a reply. The zero Value is Invalid, and each of its methods says so.
type Value struct {
	d          *doc
	raw0, raw1 int32 // between <value> and </value>
	in0, in1   int32 // between the type's tags
	ord        int32 // index of its jump, for an array or struct
	kind       Kind
}

// Member is a named value of a struct.
type Member struct {
	Name  string
	Value Value
}

// response reads <methodResponse> from its first byte to its last.
func (d *doc) response() (top Value, fault bool, err error) {
	i := scan.SkipMisc(d.b, len(d.b)-len(scan.Trim(d.b)))
	if i, err = d.expect(i, "methodResponse", scan.Start); err != nil {
		return top, false, err
	}
	i = scan.SkipMisc(d.b, i)
	around := []string{"params", "param"}
	if name, _, _, err := d.tag(i); err == nil && string(name) == "fault" {
		around, fault = []string{"fault"}, true
	}
	for _, name := range around {
		if i, err = d.expect(i, name, scan.Start); err != nil {
			return top, false, err
		}
	}
	top, i, _, err = d.value(scan.SkipMisc(d.b, i), 0, 1)
	if err != nil {
		return top, false, err
	}
	if len(around) == 2 {
		around[0], around[1] = around[1], around[0]
	}
	for _, name := range append(around, "methodResponse") {
		if i, err = d.expect(i, name, scan.End); err != nil {
			return top, false, err
		}
	}
	if i = scan.SkipMisc(d.b, i); i != len(d.b) {
		return top, false, scan.At(errors.New("something follows the reply's end"), i)
	}
	d.indexed = true
	return top, fault, nil
}

// isReply reports whether b begins as a reply.
func isReply(b []byte) bool {
	d := &doc{b: b}
	_, err := d.expect(len(b)-len(scan.Trim(b)), "methodResponse", scan.Start)
	return err == nil
}

// tag reads the tag at i.
func (d *doc) tag(i int) (name []byte, f scan.Form, next int, err error) {
	switch {
	case i >= len(d.b):
		return nil, scan.Start, i, scan.At(scan.ErrEnds, i)
	case d.b[i] != '<':
		return nil, scan.Start, i, scan.At(errors.New("text where a tag belongs"), i)
	case i+1 < len(d.b) && (d.b[i+1] == '!' || d.b[i+1] == '?'):
		return nil, scan.Start, i, scan.At(scan.Unfinished(d.b[i:]), i)
	}
	if name, f, next, err = scan.Tag(d.b, i); err != nil {
		err = scan.At(err, i)
	}
	return name, f, next, err
}

// expect reads a tag of that name and form after blanks and comments.
func (d *doc) expect(i int, name string, f scan.Form) (next int, err error) {
	i = scan.SkipMisc(d.b, i)
	if next := bare(d.b, i, name, f); next > 0 {
		return next, nil
	}
	got, g, next, err := d.tag(i)
	if err != nil {
		return next, err
	}
	if string(got) != name || g != f {
		return next, scan.At(fmt.Errorf("no %s%s", [...]string{"<", "</", "empty <"}[f], name), i)
	}
	return next, nil
}

// bare is the place after the tag at i, if that is the one looked for and has nothing but its name,
// and otherwise 0.
func bare(b []byte, i int, name string, f scan.Form) int {
	open := "<"
	if f == scan.End {
		open = "</"
	}
	j := i + len(open)
	k := j + len(name)
	if k < len(b) && b[k] == '>' && string(b[i:j]) == open && string(b[j:k]) == name {
		return k + 1
	}
	return 0
}

// value reads the <value> at i. ord is the number of arrays and structs before it; nextOrd the one
// after it. In the first scan it goes through arrays and structs, later it jumps over them.
func (d *doc) value(i int, ord int32, depth int) (v Value, next int, nextOrd int32, err error) {
	name, f, j, err := d.tag(i)
	if err != nil {
		return v, j, ord, err
	}
	if string(name) != "value" || f == scan.End {
		return v, j, ord, scan.At(errors.New("no <value"), i)
	}
	v = Value{d: d, kind: String, raw0: int32(j), raw1: int32(j), in0: int32(j), in1: int32(j), ord: ord}
	if f == scan.Empty {
		d.noteSpecial()
		return v, j, ord, nil
	}
	if k := scan.SkipMisc(d.b, j); k < len(d.b) && d.b[k] == '<' && k+1 < len(d.b) && d.b[k+1] != '/' && d.b[k+1] != '!' {
		return d.typed(v, k, depth)
	}
	k, _, err := scan.SkipText(d.b, j)
	if err != nil {
		return v, k, ord, scan.At(err, k)
	}
	d.noteSpecial()
	v.in1, v.raw1 = int32(k), int32(k)
	next, err = d.expect(k, "value", scan.End)
	return v, next, ord, err
}

// typed reads the element at i, which says a value's type, and the value's end.
func (d *doc) typed(v Value, i int, depth int) (_ Value, next int, ord int32, err error) {
	ord = v.ord
	name, f, j, err := d.tag(i)
	if err != nil {
		return v, j, ord, err
	}
	switch string(name) {
	case "array":
		v.kind = Array
		v, j, ord, err = d.container(v, "array", f, j, depth)
	case "struct":
		v.kind = Struct
		v, j, ord, err = d.container(v, "struct", f, j, depth)
	default:
		v, j, err = d.single(v, name, f, j)
	}
	if err != nil {
		return v, j, ord, err
	}
	j = scan.SkipMisc(d.b, j)
	v.raw1 = int32(j)
	next, err = d.expect(j, "value", scan.End)
	return v, next, ord, err
}

// single reads a scalar after its start tag.
func (d *doc) single(v Value, name []byte, f scan.Form, i int) (_ Value, next int, err error) {
	var known bool
	if v.kind, known = kinds[string(name)]; !known {
		return v, i, scan.At(errors.New("a type that XML-RPC has not"), i)
	}
	v.in0, v.in1 = int32(i), int32(i)
	if f == scan.Empty {
		if v.kind != String {
			d.noteSpecial()
		}
		return v, i, nil
	}
	j, plain, err := scan.SkipText(d.b, i)
	if err != nil {
		return v, j, scan.At(err, j)
	}
	if !plain || j == i && v.kind != String {
		d.noteSpecial()
	}
	v.in1 = int32(j)
	got, f, next, err := d.tag(j)
	if err == nil && (f != scan.End || !bytes.Equal(got, name)) {
		err = scan.At(fmt.Errorf("no end tag of a %s", v.kind), j)
	}
	return v, next, err
}

// container reads an array or struct after its start tag.
func (d *doc) container(v Value, name string, f scan.Form, i, depth int) (_ Value, next int, ord int32, err error) {
	ord = v.ord
	if depth > scan.MaxDepth {
		return v, i, ord, scan.At(scan.ErrDeep, i)
	}
	if v.kind == Array {
		if f == scan.Empty {
			return v, i, ord, scan.At(errors.New("no <data"), i)
		}
		i = scan.SkipMisc(d.b, i)
		var got []byte
		if got, f, i, err = d.tag(i); err != nil {
			return v, i, ord, err
		}
		if string(got) != "data" || f == scan.End {
			return v, i, ord, scan.At(errors.New("no <data"), i)
		}
	}
	v.in0, v.in1 = int32(i), int32(i)
	switch {
	case d.indexed:
		j := d.jumps[ord]
		v.in1, ord = j.end, j.next
	case f == scan.Empty:
		ord++
		d.jumps = append(d.jumps, jump{v.in1, ord})
	default:
		if v.in1, ord, err = d.through(v, depth); err != nil {
			return v, i, ord, err
		}
	}
	i = int(v.in1)
	if v.kind == Array && f != scan.Empty {
		if i, err = d.expect(i, "data", scan.End); err != nil {
			return v, i, ord, err
		}
	}
	if v.kind == Struct && f == scan.Empty {
		return v, i, ord, nil
	}
	next, err = d.expect(i, name, scan.End)
	return v, next, ord, err
}

// through is the first scan of an array or struct: it finds its end, and notes it.
func (d *doc) through(v Value, depth int) (in1, ord int32, err error) {
	d.jumps = append(d.jumps, jump{})
	ord = v.ord + 1
	i := scan.SkipMisc(d.b, int(v.in0))
	for !d.ends(i) {
		if _, _, i, ord, err = d.part(v.kind, i, ord, depth+1); err != nil {
			return in1, ord, err
		}
		i = scan.SkipMisc(d.b, i)
	}
	in1 = int32(i)
	d.jumps[v.ord] = jump{in1, ord}
	return in1, ord, nil
}

// ends reports whether an end tag is at i.
func (d *doc) ends(i int) bool {
	return i+1 < len(d.b) && d.b[i] == '<' && d.b[i+1] == '/'
}

// part reads the item or member at i of an array or struct. name is a member's, escaped.
func (d *doc) part(k Kind, i int, ord int32, depth int) (name []byte, v Value, next int, nextOrd int32, err error) {
	if k == Struct {
		if name, i, err = d.name(i); err != nil {
			return nil, v, i, ord, err
		}
	}
	v, next, nextOrd, err = d.value(i, ord, depth)
	if err == nil && k == Struct {
		next, err = d.expect(next, "member", scan.End)
	}
	return name, v, next, nextOrd, err
}

// name reads a member up to its value.
func (d *doc) name(i int) (name []byte, next int, err error) {
	if i, err = d.expect(i, "member", scan.Start); err != nil {
		return nil, i, err
	}
	i = scan.SkipMisc(d.b, i)
	got, f, j, err := d.tag(i)
	if err != nil {
		return nil, j, err
	}
	if string(got) != "name" || f == scan.End {
		return nil, j, scan.At(errors.New("no <name"), i)
	}
	if f == scan.Empty {
		return nil, scan.SkipMisc(d.b, j), nil
	}
	k, plain, err := scan.SkipText(d.b, j)
	if err != nil {
		return nil, k, scan.At(err, k)
	}
	if !plain {
		d.noteSpecial()
	}
	name = d.b[j:k]
	if k, err = d.expect(k, "name", scan.End); err != nil {
		return nil, k, err
	}
	return name, scan.SkipMisc(d.b, k), nil
}

// fail is a Malformed error about v.
func (v Value) fail(err error) error {
	e := &Error{Kind: Malformed, Sent: true, Err: err}
	if v.d != nil {
		e.Method = v.d.method
		e.Err = scan.At(err, int(v.raw0))
	}
	return e
}

func (v Value) not(want Kind) error {
	return v.fail(fmt.Errorf("a value of type %s where %s belongs", v.kind, want))
}

// Kind is the value's type.
func (v Value) Kind() Kind { return v.kind }

// Raw is what stands between <value> and </value>, type tags included and still escaped: the same
// for the same value from the same backend. It must not be changed.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	return v.d.b[v.raw0:v.raw1:v.raw1]
}

// Inside is what stands between the type's tags, still escaped. It must not be changed.
func (v Value) Inside() []byte {
	if v.d == nil {
		return nil
	}
	return v.d.b[v.in0:v.in1:v.in1]
}

// Str is the text of a String, verbatim but for what is escaped: blanks and line ends are kept.
func (v Value) Str() (string, error) {
	if v.kind != String {
		return "", v.not(String)
	}
	b, err := scan.Content(v.Inside(), false)
	if err != nil {
		return "", v.fail(err)
	}
	return string(b), nil
}

// text is a scalar's text without the blanks around it.
func (v Value) text(want Kind, also ...Kind) (string, error) {
	ok := v.kind == want
	for _, k := range also {
		ok = ok || v.kind == k
	}
	if !ok {
		return "", v.not(want)
	}
	b, err := scan.Content(v.Inside(), false)
	if err != nil {
		return "", v.fail(err)
	}
	return string(bytes.TrimSpace(b)), nil
}

// Int is an Int, or a String that is a decimal number, as XenAPI writes every integer.
func (v Value) Int() (int64, error) {
	s, err := v.text(Int, String)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, v.fail(errors.New("not a decimal integer of 64 bits"))
	}
	return n, nil
}

// Bool is a Bool: 1 or 0, or true or false.
func (v Value) Bool() (bool, error) {
	s, err := v.text(Bool)
	if err != nil {
		return false, err
	}
	switch s {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, v.fail(errors.New("not a boolean"))
}

// Float is a Double, an Int, or a String that is a number. xapi writes nan, inf and -inf too.
func (v Value) Float() (float64, error) {
	s, err := v.text(Double, Int, String)
	if err != nil {
		return 0, err
	}
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
	return 0, v.fail(errors.New("not a number"))
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
	s, err := v.text(DateTime, String)
	if err != nil {
		return time.Time{}, err
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, v.fail(errors.New("not a date and time"))
}

// Bytes is a Base64.
func (v Value) Bytes() ([]byte, error) {
	if v.kind != Base64 {
		return nil, v.not(Base64)
	}
	b, err := scan.Content(v.Inside(), false)
	if err != nil {
		return nil, v.fail(err)
	}
	// The decoder skips line ends, not other blanks.
	b = bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, b)
	out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(out, b)
	if err != nil {
		return nil, v.fail(errors.New("not base64"))
	}
	return out[:n], nil
}

// Items are an Array's values, in their order. For another type they are one error.
func (v Value) Items() iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for m, err := range v.parts(Array) {
			if !yield(m.value, err) {
				return
			}
		}
	}
}

// Members are a Struct's, in their order. For another type they are one error.
func (v Value) Members() iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		for m, err := range v.parts(Struct) {
			if err != nil {
				yield(Member{}, err)
				return
			}
			if !yield(Member{string(m.name), m.value}, nil) {
				return
			}
		}
	}
}

// Member is the first member of a Struct that has that name.
func (v Value) Member(name string) (Value, bool, error) {
	for m, err := range v.parts(Struct) {
		if err != nil {
			return Value{}, false, err
		}
		if string(m.name) == name {
			return m.value, true, nil
		}
	}
	return Value{}, false, nil
}

// part is an item, or a member with its name resolved.
type part struct {
	name  []byte
	value Value
}

// parts goes through an array's or struct's inside. An error is the last thing it gives.
func (v Value) parts(k Kind) iter.Seq2[part, error] {
	return func(yield func(part, error) bool) {
		if v.kind != k {
			yield(part{}, v.not(k))
			return
		}
		ord := v.ord + 1
		i := scan.SkipMisc(v.d.b, int(v.in0))
		for i < int(v.in1) {
			var p part
			var err error
			if p.name, p.value, i, ord, err = v.d.part(k, i, ord, 0); err == nil {
				p.name, err = scan.Content(p.name, false)
			}
			if err != nil {
				yield(part{}, v.fail(err))
				return
			}
			if !yield(p, nil) {
				return
			}
			i = scan.SkipMisc(v.d.b, i)
		}
	}
}

// Any is the value as string, int64, bool, float64, time.Time, []byte, nil, []any or
// map[string]any. Of members with the same name the first counts, as for Member.
func (v Value) Any() (any, error) {
	switch v.kind {
	case String:
		return v.Str()
	case Int:
		return v.Int()
	case Bool:
		return v.Bool()
	case Double:
		return v.Float()
	case DateTime:
		return v.Time()
	case Base64:
		return v.Bytes()
	case Nil:
		return nil, nil
	case Array:
		return v.anyItems()
	case Struct:
		return v.anyMembers()
	}
	return nil, v.fail(errors.New("no value"))
}

func (v Value) anyItems() (any, error) {
	items := []any{}
	for item, err := range v.Items() {
		if err != nil {
			return nil, err
		}
		a, err := item.Any()
		if err != nil {
			return nil, err
		}
		items = append(items, a)
	}
	return items, nil
}

func (v Value) anyMembers() (any, error) {
	members := map[string]any{}
	for m, err := range v.Members() {
		if err != nil {
			return nil, err
		}
		a, err := m.Value.Any()
		if err != nil {
			return nil, err
		}
		if _, twice := members[m.Name]; !twice {
			members[m.Name] = a
		}
	}
	return members, nil
}
