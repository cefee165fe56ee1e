package scan

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxDepth bounds the nesting of arguments, replies and documents alike.
const MaxDepth = 64

// Errors of the scanners. ErrEnds is the one that a cut-off text gives.
var (
	ErrEnds = errors.New("it ends early")
	errDeep = fmt.Errorf("it is nested deeper than %d levels", MaxDepth)
)

// wordByte has the bytes of a name.
var wordByte = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 ||
			c == '_' || c == '-' || c == '.' || c == ':'
	}
	return t
}()

// IsName reports whether c can be in a name: of an element, of a method. Bytes beyond ASCII are
// taken too.
func IsName(c byte) bool { return wordByte[c] }

// Form is what a tag is.
type Form uint8

// The forms.
const (
	Start Form = iota
	End
	Empty // <a/>
)

// readTag reads the tag at b[i], which is a '<', and gives its name and the place after it. It checks
// that attributes are quoted, and looks no closer at them.
func readTag(b []byte, i int) (name []byte, f Form, next int, err error) {
	j := i + 1
	if j < len(b) && b[j] == '/' {
		f = End
		j++
	}
	from := j
	for j < len(b) && wordByte[b[j]] {
		j++
	}
	name = b[from:j]
	switch {
	case j == len(b):
		return nil, f, j, ErrEnds
	case len(name) == 0:
		return nil, f, j, errors.New("a tag has no name")
	case b[j] == '>':
		return name, f, j + 1, nil
	}
	f, next, err = tagRest(b, j, f)
	return name, f, next, err
}

// tagRest reads a tag's attributes from b[j] on, up to its end.
func tagRest(b []byte, j int, f Form) (Form, int, error) {
	for j < len(b) {
		switch c := b[j]; {
		case c == '>':
			return f, j + 1, nil
		case c == '/':
			if j+1 == len(b) {
				return f, j, ErrEnds
			}
			if b[j+1] != '>' || f == End {
				return f, j, errors.New("a tag has a slash in its middle")
			}
			return Empty, j + 2, nil
		case c == '<':
			return f, j, errors.New("a tag has another one inside")
		case c == '"' || c == '\'':
			if f == End {
				return f, j, errors.New("an end tag has an attribute")
			}
			n := bytes.IndexByte(b[j+1:], c)
			if n < 0 {
				return f, len(b), ErrEnds
			}
			if bytes.IndexByte(b[j+1:j+1+n], '<') >= 0 {
				return f, j, errors.New("an attribute has a < inside")
			}
			j += n + 2
		case isSpace(c), c == '=', wordByte[c]:
			j++
		default:
			return f, j, errors.New("a tag has a character that belongs to no attribute")
		}
	}
	return f, j, ErrEnds
}

// isSpace reports whether c is one of XML's blanks.
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipMisc is the place of what follows blanks, comments and processing instructions.
func skipMisc(b []byte, i int) int {
	for i < len(b) {
		switch {
		case isSpace(b[i]):
			i++
		case b[i] == '<' && i+1 < len(b) && (b[i+1] == '?' || bytes.HasPrefix(b[i:], commentOpen)):
			n, _ := rawSection(b[i:])
			if n == 0 {
				return i
			}
			i += n
		default:
			return i
		}
	}
	return i
}

// skipText is the place of the next tag after text, CDATA sections, comments and processing
// instructions.
func skipText(b []byte, i int) (next int, err error) {
	for {
		n := bytes.IndexByte(b[i:], '<')
		if n < 0 || i+n+1 == len(b) {
			return len(b), ErrEnds
		}
		i += n
		if c := b[i+1]; c != '!' && c != '?' {
			return i, nil
		}
		n, _ = rawSection(b[i:])
		if n == 0 {
			return i, unfinished(b[i:])
		}
		i += n
	}
}

// unfinished says why b does not begin with a whole section.
func unfinished(b []byte) error {
	for _, open := range [][]byte{cdataOpen, commentOpen, piOpen} {
		if bytes.HasPrefix(b, open) || bytes.HasPrefix(open, b) {
			return ErrEnds
		}
	}
	return errors.New("it has a declaration, which no reply has")
}

// errorAt adds a place to an error of a scanner.
func errorAt(err error, i int) error { return fmt.Errorf("%w, at byte %d", err, i) }

// Trim is b without a byte order mark.
func Trim(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) }
