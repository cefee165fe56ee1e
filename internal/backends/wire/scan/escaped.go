package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"
)

// Limits of a record, beside MaxDepth.
const (
	MaxName = 1 << 10  // bytes of an element's name
	maxTag  = 64 << 10 // bytes of a tag that has attributes
)

var (
	errLong      = errors.New("a name or a tag is too long")
	errReference = errors.New("a reference that is not one of XML's")
	errNoStart   = errors.New("an end tag without its start")
	errChar      = errors.New("a character that cannot be in XML")
	errMarkup    = errors.New("it has a declaration, which no document has")

	// errOver says that the string ends: a walker met the end tag around it.
	errOver = errors.New("the document ends inside an element")
	// errOdd says that the string is escaped in another way than a walker reads.
	errOdd = errors.New("escaped in an unusual way")
)

// Markup of a document inside a string.
const (
	lt        = "&lt;"
	gt        = "&gt;"
	amp       = "&amp;"
	cdataHead = "&lt;![CDATA["
	noteHead  = "&lt;!--"
	piHead    = "&lt;?"
)

// Two of them as words of four bytes, the first byte in the lowest.
const (
	lt4 = '&' | 'l'<<8 | 't'<<16 | ';'<<24
	gt4 = '&' | 'g'<<8 | 't'<<16 | ';'<<24
)

func word4(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

// Found is something in a record that its table asks for: a leaf and where its text is, or an
// element that may hold others, in front of what was found inside it.
type Found struct {
	Slot       int
	from, to   int32 // of the text, or of the element's inside
	name, size int32 // where its own name is
	how        effort
}

// Holds reports whether o, found after f, is inside f.
func (f Found) Holds(o Found) bool { return o.from < f.to }

// effort is how much of a text has to be resolved.
type effort uint8

const (
	verbatim effort = iota // nothing
	once                   // the string's references: it is the text of a CDATA section
	twice                  // these, and then the document's own references, sections and comments
)

// walker goes over one record of an escaped document, once.
type walker struct {
	table *Table
	base  int // levels above the record
	found []Found
	reach int    // how far the last walk came
	tag   []byte // a tag that has more than a name, resolved
	depth int
	open  [MaxDepth]opened
}

// opened is an element whose end has not come.
type opened struct {
	node       *node // nil where nothing inside is asked for
	name, size int32
	leaf       int32 // slot of its text
	group      int32 // its place among the found
	inside     bool  // there is an element in it
}

// element walks the element whose &lt; is at b[i], and gives the place after it. What ends the walk
// before is ErrEnds where the bytes do, errOver, errOdd, or damage.
func (w *walker) element(b []byte, i int) (next int, err error) {
	w.found, w.depth = w.found[:0], 0
	var t passage
	for {
		if i, err = w.step(b, i, t); err != nil {
			w.reach = i
			return i, err
		}
		if w.depth == 0 {
			return i, nil
		}
		if t, i, err = text(b, i); err != nil {
			w.reach = i
			return i, err
		}
	}
}

// step goes over the tag at b[i]. t is the text in front of it.
func (w *walker) step(b []byte, i int, t passage) (next int, err error) {
	if len(b)-i < len(lt)+1 {
		return i, ErrEnds
	}
	j := i + len(lt)
	if b[j] == '/' {
		if next, err = w.end(b, i); err == nil {
			w.pop(i, t)
		}
		return next, err
	}
	f, k := Start, j
	for k < len(b) && wordByte[b[k]] && b[k] < utf8.RuneSelf {
		k++
	}
	next = k + len(gt)
	switch {
	case next+1 > len(b) || k == j || k-j > MaxName:
		f, k, next, err = w.long(b, i)
	case word4(b, k) == gt4:
	case b[k] == '/' && word4(b, k+1) == gt4:
		f, next = Empty, next+1
	default:
		f, k, next, err = w.long(b, i)
	}
	switch {
	case err != nil:
		return next, err
	case f == End:
		return i, errNoStart
	case w.base+w.depth >= MaxDepth:
		return i, errDeep
	}
	w.push(b[j:k], j, next)
	if f == Empty {
		w.pop(next, passage{from: int32(i), to: int32(i)})
	}
	return next, nil
}

// push opens the element whose name is at b[at] and whose inside begins at in.
func (w *walker) push(name []byte, at, in int) {
	o := &w.open[w.depth]
	o.node, o.leaf, o.group, o.inside = nil, none, none, false
	o.name, o.size = int32(at), int32(len(name))
	if w.depth == 0 {
		o.node = w.table.top
	} else if up := &w.open[w.depth-1]; up.node == nil {
		up.inside = true
	} else {
		up.inside = true
		o.leaf = up.node.any
		if o.node = up.node.find(name); o.node != nil {
			w.mark(o, in)
		}
	}
	w.depth++
}

// mark notes what the table asks of an element that it knows.
func (w *walker) mark(o *opened, in int) {
	if o.node.leaf != none {
		o.leaf = o.node.leaf
	}
	if o.node.group != none {
		o.group = int32(len(w.found))
		w.found = append(w.found, Found{Slot: int(o.node.group), from: int32(in), name: o.name, size: o.size})
	}
}

// pop closes the innermost element, whose end tag is at to and whose last text is t.
func (w *walker) pop(to int, t passage) {
	w.depth--
	o := &w.open[w.depth]
	if o.leaf != none && !o.inside {
		w.found = append(w.found, Found{Slot: int(o.leaf), from: t.from, to: t.to, name: o.name, size: o.size, how: t.how})
	}
	if o.group != none {
		f := &w.found[o.group]
		if f.to = int32(to); !o.inside {
			f.from, f.to, f.how = t.from, t.to, t.how
		}
	}
}

// end reads the end tag at b[i], which has to be the innermost element's.
func (w *walker) end(b []byte, i int) (next int, err error) {
	if w.depth == 0 {
		return i, errNoStart
	}
	o := &w.open[w.depth-1]
	j := i + len(lt) + 1
	k := j + int(o.size)
	name := b[o.name : o.name+o.size]
	if k+4 <= len(b) && word4(b, k) == gt4 && string(b[j:k]) == string(name) {
		return k + 4, nil
	}
	f, k, next, err := w.long(b, i)
	switch {
	case err != nil:
		return next, err
	case f != End || !bytes.Equal(b[j:k], name):
		return i, errNoStart
	}
	return next, nil
}

// long reads a tag that is more than a name between &lt; and &gt;, up to its &gt;. nameEnd is the place
// after its name.
func (w *walker) long(b []byte, i int) (f Form, nameEnd, next int, err error) {
	w.tag = append(w.tag[:0], '<')
	for j := i + len(lt); ; {
		if j == len(b) {
			return Start, j, j, ErrEnds
		}
		if len(w.tag) > maxTag {
			return Start, j, j, errLong
		}
		r, size, err := char(b, j)
		if err != nil {
			return Start, j, j, err
		}
		w.tag = utf8.AppendRune(w.tag, r)
		raw := r == '>' && size == 1
		if j += size; r != '>' && r != '<' {
			continue
		}
		name, f, _, err := readTag(w.tag, 0)
		if errors.Is(err, ErrEnds) {
			continue // a > inside quotes
		}
		from := i + len(lt)
		if f == End {
			from++
		}
		nameEnd = from + len(name)
		switch {
		case err != nil:
			return f, j, j, err
		case raw || nameEnd > len(b) || !bytes.Equal(b[from:nameEnd], name):
			return f, j, j, errOdd
		case len(name) > MaxName:
			return f, j, j, errLong
		}
		return f, nameEnd, j, nil
	}
}

// passage is the text between two tags.
type passage struct {
	from, to int32
	how      effort
}

// text goes over the text at b[i:], to the next tag.
func text(b []byte, i int) (t passage, next int, err error) {
	from := i
	var how effort
	for {
		if i < len(b) && b[i] != '&' {
			i = plain(b, i)
		}
		if len(b)-i < len(lt)+1 {
			return t, i, short(b, i)
		}
		if word4(b, i) == lt4 {
			c := b[i+4]
			if c != '!' && c != '?' {
				return passage{int32(from), int32(i), how}, i, nil
			}
			if !isCDATA(b, i) {
				i, err = section(b, i)
			} else if t, i, err = cdataText(b, i+len(cdataHead)); err == nil && from+len(cdataHead) == int(t.from) &&
				len(b)-i > len(lt) && word4(b, i) == lt4 && b[i+4] == '/' {
				return t, i, nil // the usual case: one such section is all there is
			}
			if err != nil {
				return t, i, err
			}
			how = twice
			continue
		}
		var e effort
		if i, e, err = special(b, i, false); err != nil {
			return t, i, err
		}
		how = max(how, e)
	}
}

// short is the error of a text that has less than a tag left at b[i:].
func short(b []byte, i int) error {
	if len(b)-i >= 2 && b[i] == '<' && b[i+1] == '/' {
		return errOver
	}
	return ErrEnds
}

// special goes over the character at b[i] that is not a plain one. In a CDATA section the document's
// own references are none.
func special(b []byte, i int, cdata bool) (next int, how effort, err error) {
	if b[i] == '&' && !cdata && bytes.HasPrefix(b[i:], []byte(amp)) {
		rest := b[i+len(amp):]
		_, size := entity(rest)
		if size == 0 {
			rest = rest[:min(len(rest), maxReference)]
			switch {
			case bytes.Contains(rest, []byte("&#")):
				return i, twice, errOdd // it may stand for a part of the reference's name
			case len(rest) < maxReference && !bytes.ContainsAny(rest, ";&<"):
				return i, twice, ErrEnds
			}
			return i, twice, errReference
		}
		return i + len(amp) + size, twice, nil
	}
	_, size, err := char(b, i)
	if size > 1 && b[i] == '&' {
		how = once
	}
	return i + size, how, err
}

// char reads the character at b[i] of the string, resolved. An error comes with a size of 0.
func char(b []byte, i int) (r rune, size int, err error) {
	switch c := b[i]; {
	case c == '&':
		return outer(b, i)
	case c == '<':
		switch {
		case i+1 == len(b):
			return 0, 0, ErrEnds
		case b[i+1] == '/':
			return 0, 0, errOver
		}
		return 0, 0, errOdd
	case c < utf8.RuneSelf:
		if !isChar(rune(c)) {
			return 0, 0, errChar
		}
		return rune(c), 1, nil
	}
	r, size = utf8.DecodeRune(b[i:])
	switch {
	case size == 1 && !utf8.FullRune(b[i:]):
		return 0, 0, ErrEnds
	case size == 1 || !isChar(r):
		return 0, 0, errChar
	}
	return r, size, nil
}

// outer reads the string's reference at b[i]. One that may hide markup is odd.
func outer(b []byte, i int) (r rune, size int, err error) {
	switch r, size = reference(b[i:]); {
	case size == 0 && len(b)-i < maxReference && bytes.IndexByte(b[i:], ';') < 0:
		return 0, 0, ErrEnds
	case size == 0:
		return 0, 0, errReference
	case b[i+1] == '#' && r > ' ' && r < utf8.RuneSelf && r != '"' && r != '\'':
		return 0, 0, errOdd
	}
	return r, size, nil
}

// isCDATA reports whether a CDATA section begins at b[i].
func isCDATA(b []byte, i int) bool {
	return len(b)-i > len(cdataHead) && string(b[i:i+len(cdataHead)]) == cdataHead
}

// section goes over the comment or processing instruction at b[i].
func section(b []byte, i int) (next int, err error) {
	switch rest := b[i:]; {
	case bytes.HasPrefix(rest, []byte(noteHead)):
		return until(b, i+len(noteHead), "--")
	case bytes.HasPrefix(rest, []byte(piHead)):
		return until(b, i+len(piHead), "?")
	case len(rest) <= len(cdataHead) && bytes.HasPrefix([]byte(cdataHead), rest),
		len(rest) < len(noteHead) && bytes.HasPrefix([]byte(noteHead), rest):
		return i, ErrEnds
	}
	return i, errMarkup
}

// cdataText goes over the text of a CDATA section, and its end.
func cdataText(b []byte, i int) (inner passage, next int, err error) {
	from := i
	var how effort
	for {
		i = plain(b, i)
		if len(b)-i < len(gt) {
			return inner, i, short(b, i)
		}
		switch {
		case word4(b, i) == gt4:
			if b[i-1] == ']' && b[i-2] == ']' {
				return passage{int32(from), int32(i - 2), how}, i + len(gt), nil
			}
			how = once
			i += len(gt)
		case b[i] == '&' && bytes.HasPrefix(b[i:], []byte(amp)):
			how = once
			i += len(amp)
		default:
			var e effort
			if i, e, err = special(b, i, true); err != nil {
				return inner, i, err
			}
			how = max(how, e)
		}
	}
}

// until goes on to what follows a mark and an &gt;.
func until(b []byte, i int, mark string) (next int, err error) {
	for from := i; ; {
		run := i
		i = plain(b, i)
		if bytes.Contains(b[run:i], []byte(mark+">")) {
			return i, errOdd
		}
		if len(b)-i < len(gt) {
			return i, short(b, i)
		}
		if word4(b, i) == gt4 && i-len(mark) >= from && string(b[i-len(mark):i]) == mark {
			return i + len(gt), nil
		}
		if i, _, err = special(b, i, true); err != nil {
			return i, err
		}
	}
}

// plain is the place of the first byte from b[i] on that is an & or a <, a control character, or not
// ASCII; len(b) where there is none.
func plain(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		v := binary.LittleEndian.Uint64(b[i:])
		a, l := v^('&'*ones), v^('<'*ones)
		// A byte that is zero, or below a blank, borrows into its top bit. What it borrows from the bytes
		// above it does not matter: the lowest hit is a true one.
		if hit := ((a-ones)&^a | (l-ones)&^l | (v - ' '*ones) | v) & tops; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] < utf8.RuneSelf && b[i] != '&' && b[i] != '<' {
		i++
	}
	return i
}
