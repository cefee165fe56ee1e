package scan

import (
	"bytes"
	"errors"
	"fmt"
)

// The grammar of XML-RPC, as far as replies have it. Between tags there may be blanks, comments and
// processing instructions; text is characters, references and CDATA sections.
//
//	reply  = [ BOM ] "<methodResponse>" ( params | fault ) "</methodResponse>" .
//	params = "<params>" "<param>" value "</param>" "</params>" .
//	fault  = "<fault>" value "</fault>" .
//	value  = "<value>" ( text | scalar | struct | array ) "</value>" | "<value/>" .
//	scalar = "<" type ">" text "</" type ">" | "<" type "/>" .
//	type   = "string" | "int" | "i1" | "i2" | "i4" | "i8" | "ex:i8" | "boolean" | "double"
//	       | "dateTime.iso8601" | "base64" | "nil" | "ex:nil" .
//	struct = "<struct>" { member } "</struct>" | "<struct/>" .
//	member = "<member>" name value "</member>" .
//	name   = "<name>" text "</name>" | "<name/>" .
//	array  = "<array>" "<data>" { value } "</data>" "</array>" | "<array>" "<data/>" "</array>" .
//
// Backends write it without blanks, so each step first looks for the very bytes that they write, and
// only then for whatever else the grammar allows.

// maxName bounds a member's name.
const maxName = 1 << 16

var errName = fmt.Errorf("a member's name is longer than %d bytes", maxName)

// Kind is the type of an XML-RPC value.
type Kind uint8

// The types that XML-RPC has, <nil/> included. A value without a type is a String.
const (
	Invalid Kind = iota // of the zero Value
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

// kindOf is the type behind a scalar's tag; Invalid for none.
func kindOf(name []byte) Kind {
	switch string(name) {
	case "string":
		return String
	case "int", "i1", "i2", "i4", "i8", "ex:i8":
		return Int
	case "boolean":
		return Bool
	case "double":
		return Double
	case "dateTime.iso8601":
		return DateTime
	case "base64":
		return Base64
	case "nil", "ex:nil":
		return Nil
	}
	return Invalid
}

// span is where a value is in the bytes that were walked: what stands between the tags of its type,
// or of the value where it has none.
type span struct {
	from, to int32
	kind     Kind
}

// ParseReply walks a whole reply, down to its last level, and gives its one value; fault says that it is
// a fault's. ErrEnds says that it ends early.
func ParseReply(b []byte) (v Value, fault bool, err error) {
	i, fault, err := readHead(b)
	if err != nil {
		return Value{}, false, err
	}
	s, i, err := readValue(b, i, 0)
	if err == nil {
		i, err = expectEnds(b, i, around(fault)...)
	}
	if i = skipMisc(b, i); err == nil && i != len(b) {
		err = errorAt(errFollows, i)
	}
	if err != nil {
		return Value{}, false, err
	}
	return s.of(b), fault, nil
}

// IsReply reports whether b begins as a reply.
func IsReply(b []byte) bool {
	_, err := Expect(b, len(b)-len(Trim(b)), "methodResponse", Start)
	return err == nil
}

var errFollows = errors.New("something follows the reply's end")

// readHead reads up to the reply's one value.
func readHead(b []byte) (next int, fault bool, err error) {
	i, err := Expect(b, len(b)-len(Trim(b)), "methodResponse", Start)
	if err != nil {
		return i, false, err
	}
	i = skipMisc(b, i)
	name, _, next, err := tagAt(b, i)
	if err != nil {
		return next, false, err
	}
	if string(name) == "fault" {
		next, err = Expect(b, i, "fault", Start)
		return next, true, err
	}
	if i, err = Expect(b, i, "params", Start); err != nil {
		return i, false, err
	}
	next, err = Expect(b, i, "param", Start)
	return next, false, err
}

// around are the end tags behind the reply's one value.
func around(fault bool) []string {
	if fault {
		return []string{"fault", "methodResponse"}
	}
	return []string{"param", "params", "methodResponse"}
}

// readValue walks the next <value>, down to its last level. Texts are passed over: they are looked
// at by those who ask for them.
func readValue(b []byte, i, depth int) (v span, next int, err error) {
	const open = "<value>"
	if len(b)-i > len(open) && string(b[i:i+len(open)]) == open {
		i += len(open)
		if v, next := bareText(b, i); next > 0 {
			return v, next, nil
		}
	} else {
		i = skipMisc(b, i)
		name, f, j, err := tagAt(b, i)
		switch {
		case err != nil:
			return v, j, err
		case string(name) != "value" || f == End:
			return v, i, errorAt(errors.New("no <value"), i)
		case f == Empty:
			return bareSpan(j, j), j, nil
		}
		i = j
	}
	j := skipMisc(b, i)
	if j+1 < len(b) && b[j] == '<' && b[j+1] != '/' && b[j+1] != '!' {
		v, j, err = readTyped(b, j, depth)
	} else if j, err = skipText(b, i); err != nil {
		err = errorAt(err, j)
	} else {
		v = bareSpan(i, j)
	}
	if err != nil {
		return v, j, err
	}
	next, err = expectEnd(b, j, "value")
	return v, next, err
}

// bareText is the value behind a "<value>" at b[i] that is nothing but text, up to the end of its tag;
// next is 0 for any other.
func bareText(b []byte, i int) (v span, next int) {
	const end = "</value>"
	n := 0
	if i < len(b) && b[i] != '<' {
		if n = bytes.IndexByte(b[i:], '<'); n < 0 {
			return v, 0
		}
	}
	j := i + n
	if len(b)-j < len(end) || string(b[j:j+len(end)]) != end {
		return v, 0
	}
	return bareSpan(i, j), j + len(end)
}

// bareSpan is a text without a type, which is a String.
func bareSpan(from, to int) span { return span{int32(from), int32(to), String} }

// readTyped walks the element at b[i], which says a value's type.
func readTyped(b []byte, i, depth int) (v span, next int, err error) {
	const aStruct, aBool, yes, no = "<struct>", "<boolean>", "1</boolean>", "0</boolean>"
	switch {
	case len(b)-i > len(aStruct) && string(b[i:i+len(aStruct)]) == aStruct:
		return readStruct(b, i+len(aStruct), depth, nil, nil)
	case len(b)-i > len(aBool)+len(yes) && string(b[i:i+len(aBool)]) == aBool:
		from := i + len(aBool)
		next := from + len(yes)
		if s := b[from:next]; string(s) == yes || string(s) == no {
			return span{from: int32(from), to: int32(from + 1), kind: Bool}, next, nil
		}
	}
	name, f, j, err := tagAt(b, i)
	if err != nil {
		return v, j, err
	}
	switch string(name) {
	case "struct":
		if f == Empty {
			return span{from: int32(j), to: int32(j), kind: Struct}, j, nil
		}
		return readStruct(b, j, depth, nil, nil)
	case "array":
		if f == Empty {
			return v, i, errorAt(errors.New("no <data"), i)
		}
		return readArray(b, j, depth)
	}
	return readScalar(b, name, f, i, j)
}

// readScalar walks a scalar whose start tag is at b[i] and ends before b[from].
func readScalar(b, name []byte, f Form, i, from int) (v span, next int, err error) {
	kind := kindOf(name)
	if kind == Invalid {
		return v, i, errorAt(errors.New("a type that XML-RPC has not"), i)
	}
	if f == Empty {
		return span{from: int32(from), to: int32(from), kind: kind}, from, nil
	}
	j, err := skipText(b, from)
	if err != nil {
		return v, j, errorAt(err, j)
	}
	got, g, next, err := tagAt(b, j)
	if err == nil && (g != End || !bytes.Equal(got, name)) {
		err = errorAt(fmt.Errorf("no end tag of a %s", kind), j)
	}
	return span{from: int32(from), to: int32(j), kind: kind}, next, err
}

// readArray walks an array from behind its start tag.
func readArray(b []byte, i, depth int) (v span, next int, err error) {
	if depth >= MaxDepth {
		return v, i, errorAt(errDeep, i)
	}
	i = skipMisc(b, i)
	name, f, i, err := tagAt(b, i)
	if err == nil && (string(name) != "data" || f == End) {
		err = errorAt(errors.New("no <data"), i)
	}
	if err != nil {
		return v, i, err
	}
	v = span{from: int32(i), to: int32(i), kind: Array}
	if f != Empty {
		i = skipMisc(b, i)
		for !endsAt(b, i) {
			if _, i, err = readValue(b, i, depth+1); err != nil {
				return v, i, err
			}
			i = skipMisc(b, i)
		}
		v.to = int32(i)
		if i, err = expectEnd(b, i, "data"); err != nil {
			return v, i, err
		}
	}
	next, err = expectEnd(b, i, "array")
	return v, next, err
}

// readStruct walks a struct from behind its start tag. With a table, it notes where the members are
// that the table names.
func readStruct(b []byte, i, depth int, t *Members, spans []span) (v span, next int, err error) {
	if depth >= MaxDepth {
		return v, i, errorAt(errDeep, i)
	}
	v = span{from: int32(i), to: int32(i), kind: Struct}
	i = skipMisc(b, i)
	for !endsAt(b, i) {
		name, value, j, err := readMember(b, i, depth)
		if err != nil {
			return v, j, err
		}
		if t != nil {
			t.note(name, value, spans)
		}
		i = skipMisc(b, j)
	}
	v.to = int32(i)
	next, err = expectEnd(b, i, "struct")
	return v, next, err
}

// readMember walks the member at b[i]. Its name is still escaped.
func readMember(b []byte, i, depth int) (name []byte, v span, next int, err error) {
	if name, i, err = readName(b, i); err != nil {
		return nil, v, i, err
	}
	if v, next, err = readValue(b, i, depth+1); err != nil {
		return name, v, next, err
	}
	const end = "</member>"
	if len(b)-next >= len(end) && string(b[next:next+len(end)]) == end {
		return name, v, next + len(end), nil
	}
	next, err = expectEnd(b, next, "member")
	return name, v, next, err
}

// readName walks a member up to its value.
func readName(b []byte, i int) (name []byte, next int, err error) {
	const open, end = "<member><name>", "</name>"
	if len(b)-i > len(open) && string(b[i:i+len(open)]) == open {
		from := i + len(open)
		n := bytes.IndexByte(b[from:], '<')
		if to := from + n; n > 0 && n <= maxName && len(b)-to > len(end) && string(b[to:to+len(end)]) == end {
			return b[from:to], to + len(end), nil
		}
	}
	if i, err = Expect(b, i, "member", Start); err != nil {
		return nil, i, err
	}
	i = skipMisc(b, i)
	got, f, from, err := tagAt(b, i)
	if err == nil && (string(got) != "name" || f == End) {
		err = errorAt(errors.New("no <name"), i)
	}
	if err != nil {
		return nil, from, err
	}
	to := from
	if f != Empty {
		if to, err = skipText(b, from); err != nil {
			return nil, to, errorAt(err, to)
		}
		if i, err = expectEnd(b, to, "name"); err != nil {
			return nil, i, err
		}
	} else {
		i = from
	}
	if to-from > maxName {
		return nil, from, errorAt(errName, from)
	}
	return b[from:to], i, nil
}

// endsAt reports whether an end tag is at b[i].
func endsAt(b []byte, i int) bool { return i+1 < len(b) && b[i] == '<' && b[i+1] == '/' }

// tagAt is Tag, where there need not be one.
func tagAt(b []byte, i int) (name []byte, f Form, next int, err error) {
	switch {
	case i >= len(b):
		return nil, Start, i, errorAt(ErrEnds, i)
	case b[i] != '<':
		return nil, Start, i, errorAt(errors.New("text where a tag belongs"), i)
	case i+1 < len(b) && (b[i+1] == '!' || b[i+1] == '?'):
		return nil, Start, i, errorAt(unfinished(b[i:]), i)
	}
	if name, f, next, err = readTag(b, i); err != nil {
		err = errorAt(err, i)
	}
	return name, f, next, err
}

// expectEnd reads an end tag of that name after blanks and comments.
func expectEnd(b []byte, i int, name string) (next int, err error) {
	if k := i + 2 + len(name); k < len(b) && b[k] == '>' && b[i] == '<' && b[i+1] == '/' && string(b[i+2:k]) == name {
		return k + 1, nil
	}
	return Expect(b, i, name, End)
}

// Expect reads a tag of that name and form after blanks and comments, and gives the place after it.
func Expect(b []byte, i int, name string, f Form) (next int, err error) {
	i = skipMisc(b, i)
	got, g, next, err := tagAt(b, i)
	if err != nil {
		return next, err
	}
	if string(got) != name || g != f {
		return next, errorAt(fmt.Errorf("no %s%s", [...]string{"<", "</", "empty <"}[f], name), i)
	}
	return next, nil
}
