package wire

import (
	"bytes"
	"errors"
	"fmt"
)

// Errors of the scanners. errEnds is the one that a cut-off text gives.
var (
	errEnds = errors.New("it ends early")
	errDeep = fmt.Errorf("it is nested deeper than %d levels", maxDepth)
)

// wordByte has the bytes of a name: of an element, of a method. Bytes beyond ASCII are taken too.
var wordByte = func() (t [256]byte) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80,
			c == '_', c == '-', c == '.', c == ':', c == '/':
			t[c] = 1
		}
	}
	t['/'] = 0
	return t
}()

// form is what a tag is.
type form uint8

const (
	start form = iota
	end
	empty // <a/>
)

// tag reads the tag at b[i], which is a '<', and gives its name and the place after it. It checks
// that attributes are quoted, and looks no closer at them.
func tag(b []byte, i int) (name []byte, f form, next int, err error) {
	j := i + 1
	if j < len(b) && b[j] == '/' {
		f = end
		j++
	}
	from := j
	for j < len(b) && wordByte[b[j]] != 0 {
		j++
	}
	name = b[from:j]
	switch {
	case j == len(b):
		return nil, f, j, errEnds
	case len(name) == 0:
		return nil, f, j, errors.New("a tag has no name")
	case b[j] == '>':
		return name, f, j + 1, nil
	}
	f, next, err = tagRest(b, j, f)
	return name, f, next, err
}

// tagRest reads a tag's attributes from b[j] on, up to its end.
func tagRest(b []byte, j int, f form) (form, int, error) {
	for j < len(b) {
		switch c := b[j]; {
		case c == '>':
			return f, j + 1, nil
		case c == '/':
			if j+1 == len(b) {
				return f, j, errEnds
			}
			if b[j+1] != '>' || f == end {
				return f, j, errors.New("a tag has a slash in its middle")
			}
			return empty, j + 2, nil
		case c == '<':
			return f, j, errors.New("a tag has another one inside")
		case c == '"' || c == '\'':
			if f == end {
				return f, j, errors.New("an end tag has an attribute")
			}
			n := bytes.IndexByte(b[j+1:], c)
			if n < 0 {
				return f, len(b), errEnds
			}
			if bytes.IndexByte(b[j+1:j+1+n], '<') >= 0 {
				return f, j, errors.New("an attribute has a < inside")
			}
			j += n + 2
		case isSpace(c), c == '=', wordByte[c] != 0:
			j++
		default:
			return f, j, errors.New("a tag has a character that belongs to no attribute")
		}
	}
	return f, j, errEnds
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipMisc is the place of what follows blanks, comments and processing instructions.
func skipMisc(b []byte, i int) int {
	for i < len(b) {
		switch {
		case isSpace(b[i]):
			i++
		case b[i] == '<' && i+1 < len(b) && (b[i+1] == '?' || bytes.HasPrefix(b[i:], commentOpen)):
			n, _ := section(b[i:])
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
// instructions. plain says that there was only text.
func skipText(b []byte, i int) (next int, plain bool, err error) {
	plain = true
	for {
		n := bytes.IndexByte(b[i:], '<')
		if n < 0 || i+n+1 == len(b) {
			return len(b), plain, errEnds
		}
		i += n
		if c := b[i+1]; c != '!' && c != '?' {
			return i, plain, nil
		}
		plain = false
		n, _ = section(b[i:])
		if n == 0 {
			return i, plain, unfinished(b[i:])
		}
		i += n
	}
}

// unfinished says why b does not begin with a whole section.
func unfinished(b []byte) error {
	for _, open := range [][]byte{cdataOpen, commentOpen, piOpen} {
		if bytes.HasPrefix(b, open) || bytes.HasPrefix(open, b) {
			return errEnds
		}
	}
	return errors.New("it has a declaration, which no reply has")
}

// at adds a place to an error of a scanner.
func at(err error, i int) error { return fmt.Errorf("%w, at byte %d", err, i) }
