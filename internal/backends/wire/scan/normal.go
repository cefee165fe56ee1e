package scan

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// Normal reads the text of a string, escaped in whatever way XML allows, and gives it in the one form
// that a [Document] reads: with &lt;, &gt; and &amp;, and nothing else escaped. What cannot be resolved
// is kept, as a text, so that it is damage of the item that it is in.
type Normal struct {
	w     *Window
	alone bool
	tail  string // the end of the section that it is in
	cdata bool   // that section's text counts
	out   []byte
	given int // of out
	err   error
}

// NewNormal reads the string that w begins with. alone says that the stream ends with it; otherwise an
// end tag follows, which stays in the window.
func NewNormal(w *Window, alone bool) *Normal { return &Normal{w: w, alone: alone} }

// Read gives more of the text.
func (n *Normal) Read(p []byte) (int, error) {
	for n.given == len(n.out) {
		if n.err != nil {
			return 0, n.err
		}
		n.out, n.given = n.out[:0], 0
		n.err = n.fill()
	}
	size := copy(p, n.out[n.given:])
	n.given += size
	return size, nil
}

// fill reads as much as can be understood of what the window shows.
func (n *Normal) fill() error {
	b := n.w.Bytes()
	used, err := n.chunk(b)
	n.w.Advance(used)
	if err != nil || used > 0 {
		return err
	}
	if err = n.w.More(); errors.Is(err, io.EOF) && !(n.alone && len(b) == 0 && n.tail == "") {
		return ErrEnds
	}
	return err
}

func (n *Normal) chunk(b []byte) (i int, err error) {
	for i < len(b) {
		var size int
		switch {
		case n.tail != "":
			size = n.section(b[i:])
		case b[i] == '&':
			size = n.reference(b[i:])
		case b[i] == '<':
			size, err = n.markup(b[i:])
		default:
			if size = bytes.IndexAny(b[i:], "&<"); size < 0 {
				size = len(b) - i
			}
			n.write(b[i : i+size])
		}
		if size == 0 || err != nil {
			return i, err
		}
		i += size
	}
	return i, nil
}

// section goes on in a section, to its end or nearly to that of b.
func (n *Normal) section(b []byte) (size int) {
	end := bytes.Index(b, []byte(n.tail))
	if size = end + len(n.tail); end < 0 {
		end = max(0, len(b)-len(n.tail)+1)
		size = end
	} else {
		n.tail = ""
	}
	if n.cdata {
		n.write(b[:end])
	}
	return size
}

// reference writes what a reference stands for. A size of 0 says that it takes more of b.
func (n *Normal) reference(b []byte) (size int) {
	r, size := reference(b)
	if size == 0 {
		if len(b) < maxReference && !bytes.ContainsAny(b, ";<") {
			return 0
		}
		r, size = '&', 1
	}
	n.write(utf8.AppendRune(nil, r))
	return size
}

// markup begins a section, or ends with io.EOF in front of an end tag.
func (n *Normal) markup(b []byte) (size int, err error) {
	for _, s := range sections {
		switch {
		case bytes.HasPrefix(b, s.open):
			n.tail, n.cdata = string(s.end), bytes.Equal(s.open, cdataOpen)
			return len(s.open), nil
		case bytes.HasPrefix(s.open, b):
			return 0, nil
		}
	}
	if b[1] == '/' {
		return 0, io.EOF
	}
	return 0, errors.New("an element inside a string")
}

func (n *Normal) write(text []byte) {
	for _, c := range text {
		switch c {
		case '<':
			n.out = append(n.out, lt...)
		case '>':
			n.out = append(n.out, gt...)
		case '&':
			n.out = append(n.out, amp...)
		default:
			n.out = append(n.out, c)
		}
	}
}
