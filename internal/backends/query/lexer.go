package query

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// segment is one name of a path.
type segment struct {
	name   string
	quoted bool
	at     int // byte offset
}

// path names a member.
type path []segment

// literal is a value as the client wrote it.
type literal struct {
	text   string // unescaped, with its wildcards
	quoted bool
	head   bool // the first character is a wildcard
	tail   bool // the last one is
	at     int  // byte offset
}

// present reports whether l is the * of `member:*`.
func (l literal) present() bool { return !l.quoted && l.text == "*" }

// lexer cuts a request into words. The grammar decides what kind of word comes next, since a value
// may hold dots and colons (1.5, 02:00:0a:00:00:01, 2024-01-02T03:04:05Z) and a name may not.
type lexer struct {
	src string
	at  int
}

func (l *lexer) fail(at int, format string, args ...any) *Error {
	return errorAt(l.src, at, format, args...)
}

func (l *lexer) peek() rune {
	r, size := utf8.DecodeRuneInString(l.src[l.at:])
	if size == 0 {
		return -1
	}
	return r
}

func (l *lexer) space() (skipped bool) {
	rest := strings.TrimLeftFunc(l.src[l.at:], unicode.IsSpace)
	skipped = len(rest) < len(l.src)-l.at
	l.at = len(l.src) - len(rest)
	return skipped
}

// accept steps over s if it comes next.
func (l *lexer) accept(s string) bool {
	if !strings.HasPrefix(l.src[l.at:], s) {
		return false
	}
	l.at += len(s)
	return true
}

const (
	nameStops  = `.(),:=<>!"'`
	valueStops = `(),=<>!"'`
)

// run is the longest text without blanks, control characters and stops; it may be empty.
func (l *lexer) run(stops string) string {
	rest := l.src[l.at:]
	end := strings.IndexFunc(rest, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(stops, r)
	})
	if end < 0 {
		return rest
	}
	return rest[:end]
}

// unexpected is the error for the character that comes next, where want was due.
func (l *lexer) unexpected(want string) *Error {
	if r := l.peek(); r >= 0 {
		return l.fail(l.at, "expected %s, found %q", want, r)
	}
	return l.fail(l.at, "expected %s, found the end", want)
}

// path reads names joined by dots.
func (l *lexer) path() (path, *Error) {
	var p path
	for {
		s, err := l.segment()
		if err != nil {
			return nil, err
		}
		p = append(p, s)
		if !l.accept(".") {
			return p, nil
		}
	}
}

func (l *lexer) segment() (segment, *Error) {
	at := l.at
	if l.quote() {
		lit, err := l.quotedText()
		return segment{name: lit.text, quoted: true, at: at}, err
	}
	name := l.run(nameStops)
	if name == "" {
		return segment{}, l.unexpected("a member's name")
	}
	l.at += len(name)
	return segment{name: name, at: at}, nil
}

func (l *lexer) quote() bool { return l.peek() == '"' || l.peek() == '\'' }

// value reads a literal, quoted or not.
func (l *lexer) value() (literal, *Error) {
	if l.quote() {
		return l.quotedText()
	}
	text := l.run(valueStops)
	if text == "" {
		return literal{}, l.unexpected("a value")
	}
	lit := bareLiteral(text, l.at)
	l.at += len(text)
	return lit, nil
}

func bareLiteral(text string, at int) literal {
	return literal{text: text, at: at, head: strings.HasPrefix(text, "*"), tail: strings.HasSuffix(text, "*")}
}

// quotedText reads a string in quotes. Only a * without \ before it is a wildcard.
func (l *lexer) quotedText() (literal, *Error) {
	lit := literal{quoted: true, at: l.at}
	end := l.src[l.at]
	l.at++
	var b strings.Builder
	for l.at < len(l.src) {
		switch c := l.src[l.at]; c {
		case end:
			l.at++
			lit.text = b.String()
			return lit, nil
		case '\\':
			r, err := l.escape()
			if err != nil {
				return literal{}, err
			}
			b.WriteRune(r)
			lit.tail = false
		default:
			lit.tail = c == '*'
			lit.head = lit.head || c == '*' && b.Len() == 0
			b.WriteByte(c)
			l.at++
		}
	}
	return literal{}, l.fail(lit.at, "this quote is not closed")
}

// escape reads \ and what belongs to it.
func (l *lexer) escape() (rune, *Error) {
	start := l.at
	l.at++
	r, size := utf8.DecodeRuneInString(l.src[l.at:])
	l.at += size
	switch r {
	case '\\', '"', '\'', '*':
		return r, nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return l.unicodeEscape(start)
	}
	return 0, l.fail(start, `unknown escape: \ may stand before \ " ' * n r t and uXXXX`)
}

// unicodeEscape reads the digits of \uXXXX, and the second half of a surrogate pair as JSON has it.
func (l *lexer) unicodeEscape(start int) (rune, *Error) {
	r, ok := l.hex4()
	if ok && utf16.IsSurrogate(r) {
		var low rune
		if ok = l.accept(`\u`); ok {
			low, ok = l.hex4()
			r = utf16.DecodeRune(r, low)
			ok = ok && r != utf8.RuneError
		}
	}
	if !ok {
		return 0, l.fail(start, `\u needs four hexadecimal digits that are a character`)
	}
	return r, nil
}

func (l *lexer) hex4() (rune, bool) {
	if len(l.src)-l.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(l.src[l.at:l.at+4], 16, 16)
	if err != nil {
		return 0, false
	}
	l.at += 4
	return rune(n), true
}

// quoteText writes text so that value reads it back; head and tail say which stars are wildcards.
func quoteText(text string, head, tail bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '*' && (i == 0 && !head || i == len(text)-1 && !tail):
			b.WriteString(`\*`)
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// String writes p so that path reads it back.
func (p path) String() string {
	names := make([]string, len(p))
	for i, s := range p {
		names[i] = s.name
		if s.quoted {
			names[i] = quoteText(s.name, true, true)
		}
	}
	return strings.Join(names, ".")
}

// String writes l so that value reads it back.
func (l literal) String() string {
	if l.quoted {
		return quoteText(l.text, l.head, l.tail)
	}
	return l.text
}
