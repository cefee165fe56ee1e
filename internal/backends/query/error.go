package query

import (
	"fmt"
	"unicode/utf8"
)

const (
	// maxLength is the most characters a filter, an order, a mask or a page token may have.
	maxLength = 4096
	// maxDepth is how deep the parentheses of a filter may be nested.
	maxDepth = 32
)

// Error is a mistake in what the client wrote. Msg is for the client; it quotes at most a few words
// of the request and nothing else.
type Error struct {
	Pos int // the offending character: its index, from 0, in characters (code points), not bytes
	Msg string
}

// Error counts characters from 1, as people do.
func (e *Error) Error() string { return fmt.Sprintf("character %d: %s", e.Pos+1, e.Msg) }

// errorAt is the mistake at byte offset at of src.
func errorAt(src string, at int, format string, args ...any) *Error {
	return &Error{Pos: utf8.RuneCountInString(src[:at]), Msg: fmt.Sprintf(format, args...)}
}

// checkText refuses what is too long to look at, or not text.
func checkText(src string) *Error {
	if n := utf8.RuneCountInString(src); n > maxLength {
		return &Error{Pos: maxLength, Msg: fmt.Sprintf("too long: %d characters, at most %d", n, maxLength)}
	}
	for at, r := range src {
		if _, size := utf8.DecodeRuneInString(src[at:]); r == utf8.RuneError && size == 1 {
			return errorAt(src, at, "not UTF-8")
		}
	}
	return nil
}

// shorten quotes a word of the request, the beginning of it if it is long.
func shorten(word string) string {
	const most = 40
	n := 0
	for at := range word {
		if n++; n > most {
			return fmt.Sprintf("%q", word[:at]+"…")
		}
	}
	return fmt.Sprintf("%q", word)
}
