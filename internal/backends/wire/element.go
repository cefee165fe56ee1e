package wire

import (
	"bytes"
	"errors"
	"iter"

	"vmgateway/internal/backends/wire/scan"
)

// Element is a view of one element of an XML document, such as OpenNebula sends inside a string.
// Nothing is copied until a text is asked for. The zero Element has no name, no children, and no
// text: asking for it is an error.
//
// Damage stays where it is. An element with a character or reference that XML has not, or with
// tags that do not match, is handed over beside its error, and can still be walked as far as it is
// sound; its siblings are not affected.
type Element struct {
	b       []byte // from its < to its last >
	nameEnd int32
	in0     int32 // its inside
	in1     int32
	depth   uint8
	sound   bool // all of it was looked at, and is well-formed
}

// Document reads the XML document that a String holds, as far as its root element's tags; see
// [Element.Children] for how what is inside is checked. A document that is cut off is Malformed.
func (v Value) Document() (Element, error) {
	if v.kind != String {
		return Element{}, v.not(String)
	}
	// What cannot be resolved stays, and is then damage of the element that holds it.
	text, err := scan.Content(v.Inside(), true)
	if err != nil {
		return Element{}, v.fail(err)
	}
	e, err := parseDocument(text)
	if err != nil {
		return Element{}, v.fail(err)
	}
	return e, nil
}

// ParseDocument is the root element of an XML document in UTF-8. The text must not change as long
// as one of its elements is used.
func ParseDocument(text []byte) (Element, error) {
	e, err := parseDocument(text)
	if err != nil {
		return Element{}, damage(err)
	}
	return e, nil
}

func damage(err error) error { return &Error{Kind: Malformed, Sent: true, Err: err} }

func parseDocument(text []byte) (Element, error) {
	if len(text) > maxReply {
		return Element{}, errors.New("the document has more than 2 GiB")
	}
	i := scan.SkipMisc(text, len(text)-len(scan.Trim(text)))
	if i == len(text) || text[i] != '<' {
		return Element{}, errors.New("a document without a root element")
	}
	name, f, j, err := scan.Tag(text, i)
	if err != nil {
		return Element{}, err
	}
	if f == scan.End {
		return Element{}, errors.New("a document that begins with an end tag")
	}
	e := Element{b: text[i:], nameEnd: int32(1 + len(name)), in0: int32(j - i), in1: int32(j - i)}
	if f == scan.Empty {
		e.b = text[i:j:j]
		return e, onlyMisc(text, j)
	}
	// The root's end is looked for from behind, as what is inside may be damaged.
	k := bytes.LastIndex(text, append([]byte("</"), name...))
	if k >= j {
		got, _, next, err := scan.Tag(text, k)
		if err == nil && bytes.Equal(got, name) && onlyMisc(text, next) == nil {
			e.b, e.in1 = text[i:next:next], int32(k-i)
			return e, nil
		}
	}
	s := walker{b: text}
	if e, j, err = s.element(i, 0, true); err == nil {
		err = onlyMisc(text, j)
	}
	if err != nil {
		return Element{}, err
	}
	return e, nil
}

func onlyMisc(text []byte, i int) error {
	if scan.SkipMisc(text, i) != len(text) {
		return errors.New("something follows the root element")
	}
	return nil
}

// Name is the element's name, with its prefix if it has one.
func (e Element) Name() string {
	if e.b == nil {
		return ""
	}
	return string(e.b[1:e.nameEnd])
}

// Raw is the element with its tags, as it stands in the document. It must not be changed.
func (e Element) Raw() []byte { return e.b }

// Text is the element's text with references and CDATA resolved, and blanks kept. It is an error
// to ask for it where there are elements inside, or characters or references that XML has not.
func (e Element) Text() (string, error) {
	if e.b == nil {
		return "", damage(errors.New("no element to read a text from"))
	}
	b, err := scan.Content(e.b[e.in0:e.in1], false)
	if err != nil {
		return "", damage(err)
	}
	return string(b), nil
}

// Check looks at all of an element, and gives an error where it is not well-formed. Elements that
// Children and Each gave without an error are known to be.
func (e Element) Check() error {
	if e.sound {
		return nil
	}
	if e.b == nil {
		return damage(errors.New("no element to check"))
	}
	s := walker{b: e.b}
	_, next, err := s.element(0, int(e.depth), true)
	if err == nil && next != len(e.b) {
		err = errors.New("an element that ends twice")
	}
	if err != nil {
		return damage(err)
	}
	return nil
}

// Children are the elements directly inside, in their order; text between them is passed over.
// A damaged one comes with an error of its own, and the next is the one after its end tag.
func (e Element) Children() iter.Seq2[Element, error] {
	return func(yield func(Element, error) bool) {
		s := walker{b: e.b[:e.in1]}
		for i := int(e.in0); ; {
			n := bytes.IndexByte(s.b[i:], '<')
			if n < 0 {
				return
			}
			i += n
			if c := s.at(i + 1); c == '!' || c == '?' {
				if n := s.sect.Size(s.b[i:]); n > 0 {
					i += n
					continue
				}
			}
			child, next, err := s.child(i, e)
			if err != nil {
				err = damage(err)
			}
			if !yield(child, err) {
				return
			}
			i = next
		}
	}
}

// Each are the Children of one name. A damaged child of another name comes too, with its error:
// the damage may have cost it the name.
func (e Element) Each(name string) iter.Seq2[Element, error] {
	return func(yield func(Element, error) bool) {
		for child, err := range e.Children() {
			if err == nil && !child.is(name) {
				continue
			}
			if !yield(child, err) {
				return
			}
		}
	}
}

func (e Element) is(name string) bool { return e.b != nil && string(e.b[1:e.nameEnd]) == name }

// Child is the first child of that name, damaged or not; the zero Element and false where there
// is none.
func (e Element) Child(name string) (Element, bool) {
	for child := range e.Children() {
		if child.is(name) {
			return child, true
		}
	}
	return Element{}, false
}

// Path is the first child of the first child, and so on.
func (e Element) Path(names ...string) (_ Element, ok bool) {
	for _, name := range names {
		if e, ok = e.Child(name); !ok {
			return Element{}, false
		}
	}
	return e, e.b != nil
}

// walker goes through a document.
type walker struct {
	b    []byte
	open [scan.MaxDepth][]byte // names of the elements that are open
	sect scan.Sections
}

func (s *walker) at(i int) byte {
	if i >= len(s.b) {
		return 0
	}
	return s.b[i]
}

// child reads the child of parent whose < is at i. A damaged one is what lies between its tags,
// together with the error.
func (s *walker) child(i int, parent Element) (e Element, next int, err error) {
	e, next, err = s.element(i, int(parent.depth)+1, !parent.sound)
	if err == nil {
		return e, next, nil
	}
	name, f, j, tagErr := scan.Tag(s.b, i)
	if tagErr != nil || f == scan.End {
		// Nothing is known but that something is wrong up to the next tag.
		next = i + 1
		if n := bytes.IndexByte(s.b[next:], '<'); n >= 0 {
			next += n
		} else {
			next = len(s.b)
		}
		return Element{b: s.b[i:next:next], nameEnd: 1, in0: 1, in1: 1, depth: parent.depth + 1}, next, err
	}
	in1, next := s.resume(j, name)
	return Element{
		b: s.b[i:next:next], nameEnd: int32(1 + len(name)),
		in0: int32(j - i), in1: int32(in1 - i), depth: parent.depth + 1,
	}, next, err
}

// maxResume bounds how many end tags are tried to find a damaged element's own.
const maxResume = 8

// resume finds where a damaged element ends whose inside begins at i: at the first end tag of its
// name that is followed by another element of that name, or by nothing; or else, at the first.
// CDATA sections and comments are passed over whole: a value must not be able to end its element.
func (s *walker) resume(i int, name []byte) (in1, next int) {
	in1, next = len(s.b), len(s.b)
	found := 0
	for found < maxResume {
		n := bytes.IndexByte(s.b[i:], '<')
		if n < 0 {
			return in1, next
		}
		i += n
		if n := s.sect.Size(s.b[i:]); n > 0 {
			i += n
			continue
		}
		got, f, j, err := scan.Tag(s.b, i)
		if err != nil || f != scan.End || !bytes.Equal(got, name) {
			i++
			continue
		}
		if found++; found == 1 {
			in1, next = i, j
		}
		if s.fresh(j, name) {
			return i, j
		}
		i = j
	}
	return in1, next
}

// fresh reports whether an element of that name, or nothing, is next.
func (s *walker) fresh(i int, name []byte) bool {
	n := bytes.IndexByte(s.b[i:], '<')
	if n < 0 {
		return true
	}
	got, f, _, err := scan.Tag(s.b, i+n)
	return err == nil && f != scan.End && bytes.Equal(got, name)
}

// element reads the element whose < is at i, down to its last level. With check, its characters,
// references and names are looked at too; without, they are known to be good.
func (s *walker) element(i, depth int, check bool) (e Element, next int, err error) {
	first := i
	var open int
	for {
		name, f, j, err := scan.Tag(s.b, i)
		if err != nil {
			return e, j, scan.At(err, i)
		}
		switch f {
		case scan.Start:
			if depth+open >= scan.MaxDepth {
				return e, j, scan.At(scan.ErrDeep, i)
			}
			s.open[open] = name
			open++
		case scan.End:
			if open == 0 || check && !bytes.Equal(s.open[open-1], name) {
				return e, j, scan.At(errors.New("an end tag without its start"), i)
			}
			open--
		case scan.Empty:
			if depth+open >= scan.MaxDepth {
				return e, j, scan.At(scan.ErrDeep, i)
			}
		}
		if i == first {
			e = Element{nameEnd: int32(1 + len(name)), in0: int32(j - first), depth: uint8(depth), sound: true}
		}
		if open == 0 {
			e.b = s.b[first:j:j]
			e.in1 = e.in0
			if f == scan.End {
				e.in1 = int32(i - first)
			}
			if check {
				err = scan.CheckText(e.b)
			}
			return e, j, err
		}
		if i, err = s.text(j, check); err != nil {
			return e, i, err
		}
	}
}

// text goes from i to the next tag.
func (s *walker) text(i int, check bool) (next int, err error) {
	for {
		n := bytes.IndexByte(s.b[i:], '<')
		if n < 0 {
			return len(s.b), scan.At(scan.ErrEnds, len(s.b))
		}
		if check {
			if err := scan.CheckReferences(s.b[i : i+n]); err != nil {
				return i, scan.At(err, i)
			}
		}
		i += n
		if c := s.at(i + 1); c != '!' && c != '?' {
			return i, nil
		}
		n = s.sect.Size(s.b[i:])
		if n == 0 {
			return i, scan.At(scan.Unfinished(s.b[i:]), i)
		}
		i += n
	}
}
