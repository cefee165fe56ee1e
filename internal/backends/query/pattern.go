package query

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is what a text is held against.
type pattern struct {
	text []byte // without the wildcards, and in lower case if fold
	head bool   // anything may stand before it
	tail bool   // anything may stand behind it
	fold bool   // case does not matter
}

// exactly is the pattern of = and !=.
func exactly(l literal) pattern {
	p := pattern{text: []byte(l.text), head: l.head, tail: l.tail}
	if p.head {
		p.text = p.text[1:]
	}
	if p.tail && len(p.text) > 0 {
		p.text = p.text[:len(p.text)-1]
	}
	return p
}

// containing is the pattern of : on a text.
func containing(l literal) pattern {
	return pattern{text: []byte(strings.ToLower(l.text)), head: true, tail: true, fold: true}
}

// searching is the pattern of a literal alone.
func searching(l literal) pattern {
	if !l.head && !l.tail {
		return containing(l)
	}
	p := exactly(l)
	p.text, p.fold = bytes.ToLower(p.text), true
	return p
}

// patternRoom is how long a text may be, in bytes, to be held against a pattern without an allocation.
const patternRoom = 256

func (p *pattern) match(s string) bool {
	if !p.head && !p.tail && !p.fold {
		return s == string(p.text)
	}
	var room [patternRoom]byte
	return p.matchBytes(p.append(room[:0], s))
}

// matchID is match of an identifier.
func (p *pattern) matchID(id scalar) bool {
	if !id.flag {
		return p.match(id.head)
	}
	var room [patternRoom]byte
	return p.matchBytes(p.append(append(p.append(room[:0], id.head), '.'), id.text))
}

func (p *pattern) append(b []byte, s string) []byte {
	if p.fold {
		return appendLower(b, s)
	}
	return append(b, s...)
}

// matchBytes is match of what append gave.
func (p *pattern) matchBytes(b []byte) bool {
	switch {
	case p.head && p.tail:
		return bytes.Contains(b, p.text)
	case p.head:
		return bytes.HasSuffix(b, p.text)
	case p.tail:
		return bytes.HasPrefix(b, p.text)
	}
	return bytes.Equal(b, p.text)
}

// appendLower appends what strings.ToLower makes of s.
func appendLower(b []byte, s string) []byte {
	for i, c := range []byte(s) {
		if c >= utf8.RuneSelf {
			for _, r := range s[i:] {
				b = utf8.AppendRune(b, unicode.ToLower(r))
			}
			return b
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}
