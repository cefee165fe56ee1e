package scan

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// CheckText reports the first character of s that XML 1.0 cannot carry, by its code point and
// place. Such a character has no escape either: oned and xapi refuse the whole call for one.
func CheckText[T string | []byte](s T) error {
	i := BadChar(s)
	if i < 0 {
		return nil
	}
	r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
	if r == utf8.RuneError && size == 1 {
		return fmt.Errorf("invalid UTF-8 at byte %d", i)
	}
	return fmt.Errorf("the character U+%04X at byte %d cannot be in XML", r, i)
}

// BadChar is the place of the first character that is not one of XML 1.0's, or -1.
func BadChar[T string | []byte](s T) int {
	for i := plainRun(s, 0); i < len(s); i = plainRun(s, i) {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		if r == utf8.RuneError && size == 1 || !isChar(r) {
			return i
		}
		i += size
	}
	return -1
}

// plainRun is the place after the groups of eight bytes from i on that are all ASCII without
// control characters, which is nearly everything a backend sends.
func plainRun[T string | []byte](s T, i int) int {
	const tops, blanks = 0x8080808080808080, 0x2020202020202020
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		// A byte below a blank borrows into its top bit; one beyond ASCII has it anyway.
		if (w-blanks|w)&tops != 0 {
			break
		}
	}
	return i
}

// isChar is the production Char of XML 1.0.
func isChar(r rune) bool {
	switch {
	case r < ' ':
		return r == '\t' || r == '\n' || r == '\r'
	case r > 0xd7ff && r < 0xe000:
		return false
	}
	return r <= 0x10ffff && r != 0xfffe && r != 0xffff
}

// Escape writes s as XML text; a carriage return becomes a reference, as a raw one would be read
// as a line feed.
func Escape(s string) string {
	var b bytes.Buffer
	// A bytes.Buffer takes every write.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// reference resolves the entity or character reference that b begins with, and is its length; a
// length of 0 says that there is none. Named entities are XML's five: neither daemon declares any.
func reference(b []byte) (r rune, size int) {
	r, size = entity(b[1:])
	if size == 0 {
		return 0, 0
	}
	return r, size + 1
}

// entity is reference for what follows the &.
func entity(b []byte) (r rune, size int) {
	end := bytes.IndexByte(b[:min(len(b), maxReference)], ';')
	if end < 1 {
		return 0, 0
	}
	switch name := b[:end]; string(name) {
	case "lt":
		r = '<'
	case "gt":
		r = '>'
	case "amp":
		r = '&'
	case "quot":
		r = '"'
	case "apos":
		r = '\''
	default:
		if r = codePoint(name); r == 0 {
			return 0, 0
		}
	}
	return r, end + 1
}

// maxReference is the length of the longest reference looked at; leading zeros count.
const maxReference = 32

// codePoint is the character of "#10" or "#xA", or 0.
func codePoint(name []byte) rune {
	if name[0] != '#' {
		return 0
	}
	digits, base := name[1:], 10
	if len(digits) > 0 && digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	// ParseUint takes no sign and, with a base given, no underscore.
	n, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return 0
	}
	return rune(n)
}

// Content resolves what is between two tags: references, CDATA sections; comments and processing
// instructions are left out. Everything else is verbatim, line ends too. With lenient, what cannot
// be resolved is kept as it is; without, it is an error, and so is a character that XML has not.
func Content(b []byte, lenient bool) ([]byte, error) {
	if !lenient {
		if err := CheckText(b); err != nil {
			return nil, err
		}
	}
	i := bytes.IndexAny(b, "&<")
	if i < 0 {
		return b, nil
	}
	out := make([]byte, 0, len(b))
	rest := b
	for {
		i := indexMarkup(rest)
		if i < 0 {
			return append(out, rest...), nil
		}
		out = append(out, rest[:i]...)
		rest = rest[i:]
		if rest[0] == '&' {
			r, size := reference(rest)
			switch {
			case size > 0:
				out = utf8.AppendRune(out, r)
			case lenient:
				out, size = append(out, '&'), 1
			default:
				return nil, fmt.Errorf("a reference at byte %d is not one of XML's", len(b)-len(rest))
			}
			rest = rest[size:]
			continue
		}
		size, inner := rawSection(rest)
		if size == 0 {
			return nil, fmt.Errorf("an element at byte %d of a text", len(b)-len(rest))
		}
		out = append(out, inner...)
		rest = rest[size:]
	}
}

// indexMarkup is the place of the first & or <.
func indexMarkup(b []byte) int {
	for i, c := range b {
		if c == '&' || c == '<' {
			return i
		}
	}
	return -1
}

var (
	cdataOpen    = []byte("<![CDATA[")
	cdataClose   = []byte("]]>")
	commentOpen  = []byte("<!--")
	commentClose = []byte("-->")
	piOpen       = []byte("<?")
	piClose      = []byte("?>")
)

// sections are what can stand in a text beside characters and references.
var sections = [...]struct{ open, end []byte }{
	{cdataOpen, cdataClose}, {commentOpen, commentClose}, {piOpen, piClose},
}

// rawSection is the length of the CDATA section, comment or processing instruction that b begins
// with, and the text of the first. A length of 0 says that b begins with something else, or ends
// inside.
func rawSection(b []byte) (size int, text []byte) {
	if len(b) < 2 || b[1] != '!' && b[1] != '?' {
		return 0, nil
	}
	for _, s := range sections {
		if !bytes.HasPrefix(b, s.open) {
			continue
		}
		n := len(s.open)
		i := bytes.Index(b[n:], s.end)
		if i < 0 {
			return 0, nil
		}
		size = n + i + len(s.end)
		if b[1] == '!' && b[2] == '[' {
			text = b[n : n+i]
		}
		return size, text
	}
	return 0, nil
}
