package backends

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// The append functions below write one member behind b, or nothing where encoding/json would leave it
// out. name is the member's name as it stands in JSON, with the comma before it: `,"uid":`.

// closeObject ends the object whose members were written from start on. What stands at start is the
// comma before the first of them.
func closeObject(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{'
	return append(b, '}')
}

func appendWord[S ~string](b []byte, name string, s S) []byte {
	if s == "" {
		return b
	}
	return appendQuoted(append(b, name...), string(s))
}

func appendText(b []byte, name string, s *string) []byte {
	if s == nil {
		return b
	}
	return appendQuoted(append(b, name...), *s)
}

func appendFlag(b []byte, name string, flag *bool) []byte {
	if flag == nil {
		return b
	}
	return strconv.AppendBool(append(b, name...), *flag)
}

func appendInt[N int | int64](b []byte, name string, n *N) []byte {
	if n == nil {
		return b
	}
	return strconv.AppendInt(append(b, name...), int64(*n), 10)
}

// appendFloat writes what JSON can hold; NaN and the infinities are absent.
func appendFloat(b []byte, name string, f *float64) []byte {
	if f == nil || math.IsNaN(*f) || math.IsInf(*f, 0) {
		return b
	}
	return appendNumber(append(b, name...), *f)
}

// appendNumber writes f as encoding/json does, which is as ECMAScript does.
func appendNumber(b []byte, f float64) []byte {
	if size := math.Abs(f); size == 0 || 1e-6 <= size && size < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' { // e-09 is e-9 there
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

// appendTime writes t in RFC 3339; a time that it cannot write, with a year of five digits, is absent.
func appendTime(b []byte, name string, t *time.Time) []byte {
	if t == nil {
		return b
	}
	long, err := t.AppendText(append(append(b, name...), '"'))
	if err != nil {
		return b
	}
	return append(long, '"')
}

func appendID(b []byte, name string, id *ID) []byte {
	if id == nil {
		return b
	}
	return id.appendJSON(append(b, name...))
}

// appendJSON writes the id as text. Its two halves are free text to Go, if not to [ParseID].
func (id ID) appendJSON(b []byte) []byte {
	b = append(b, '"')
	if id != (ID{}) {
		b = appendEscaped(b, id.Backend)
		b = appendEscaped(append(b, '.'), id.Native)
	}
	return append(b, '"')
}

func appendRef(b []byte, name string, r *Ref) []byte {
	if r == nil {
		return b
	}
	return r.appendJSON(append(b, name...))
}

func (r *Ref) appendJSON(b []byte) []byte {
	b = r.ID.appendJSON(append(b, `{"id":`...))
	b = appendWord(b, `,"displayName":`, r.DisplayName)
	return append(b, '}')
}

// appendMap writes the entries in the order of their keys.
func appendMap(b []byte, name string, m map[string]string) []byte {
	if m == nil {
		return b
	}
	var room [24]string // on the stack: most maps of a VM are smaller
	keys := room[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(append(b, name...), '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, key), ':')
		b = appendQuoted(b, m[key])
	}
	return append(b, '}')
}

func appendTexts(b []byte, name string, texts []string) []byte {
	if texts == nil {
		return b
	}
	b = append(append(b, name...), '[')
	for i, s := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, s)
	}
	return append(b, ']')
}

// appendList writes each element with one.
func appendList[T any](b []byte, name string, list []T, one func(*T, []byte) []byte) []byte {
	if list == nil {
		return b
	}
	b = append(append(b, name...), '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(&list[i], b)
	}
	return append(b, ']')
}

// appendNative writes a backend's own record; one that JSON cannot hold is absent.
func appendNative(b []byte, name string, record any) []byte {
	if record == nil {
		return b
	}
	w := appender(append(b, name...))
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if enc.Encode(record) != nil {
		return b
	}
	return w[:len(w)-1] // the encoder ends in a newline
}

// appender is a writer that appends.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

func appendQuoted(b []byte, s string) []byte {
	return append(appendEscaped(append(b, '"'), s), '"')
}

// appendEscaped writes s with the escapes of encoding/json (those for HTML left out): quotes,
// backslashes, control characters, and the two line ends that JavaScript once took for ends of a
// literal. What is not UTF-8 becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	from := 0 // s[from:at] is copied as it is
	for at := 0; at < len(s); {
		if plain[s[at]] {
			at++
			continue
		}
		size := 1
		if s[at] >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[at:]); !escapedRune(r, size) {
				at += size
				continue
			}
		}
		b = appendEscape(append(b, s[from:at]...), s[at:at+size])
		at += size
		from = at
	}
	return append(b, s[from:]...)
}

// plain is the bytes that stand in a JSON text as they are, whatever comes before and after them.
var plain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

func escapedRune(r rune, size int) bool {
	return r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029'
}

// appendEscape writes the one character, or stray byte, that c is.
func appendEscape(b []byte, c string) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case `"`, `\`:
		return append(b, '\\', c[0])
	case "\b":
		return append(b, `\b`...)
	case "\f":
		return append(b, `\f`...)
	case "\n":
		return append(b, `\n`...)
	case "\r":
		return append(b, `\r`...)
	case "\t":
		return append(b, `\t`...)
	case "\u2028":
		return append(b, `\u2028`...)
	case "\u2029":
		return append(b, `\u2029`...)
	}
	if c[0] < ' ' {
		return append(b, '\\', 'u', '0', '0', hex[c[0]>>4], hex[c[0]&15])
	}
	return append(b, `\ufffd`...)
}
