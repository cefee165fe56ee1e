package query

import (
	"strings"
	"testing"
)

// matchSlowly is what a pattern means, by the functions of package strings.
func matchSlowly(l literal, fold bool, s string) bool {
	text := l.text
	if l.head {
		text = text[1:]
	}
	if l.tail && text != "" {
		text = text[:len(text)-1]
	}
	if fold {
		text, s = strings.ToLower(text), strings.ToLower(s)
	}
	switch {
	case l.head && l.tail:
		return strings.Contains(s, text)
	case l.head:
		return strings.HasSuffix(s, text)
	case l.tail:
		return strings.HasPrefix(s, text)
	}
	return s == text
}

func FuzzPattern(f *testing.F) {
	for _, c := range [][2]string{
		{"*web*", "WEB"}, {"web*", "Web-01"}, {"*-01", "web-01"}, {"Äpfel", "äpfel"}, {"*K", "1\u212a"}, {"ı", "I"}, {"İ", "i̇"}, {"*\xff", "a\xff"},
		{"*\ufffd*", "\xe2\x80"}, {"*", ""}, {"", ""}, {"one.7", "one.7"}, {"*.7", "one.7"}, {"ONE.*", "one.7"}, {"*z*", strings.Repeat("Ä", 200) + "Z"},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, written, s string) {
		l := bareLiteral(written, 0)
		p := exactly(l)
		if got, want := p.match(s), matchSlowly(l, false, s); got != want {
			t.Errorf("%q = %q: %t, want %t", s, written, got, want)
		}
		id := scalar{kind: text, text: s}.split()
		if got, want := p.matchID(id), p.match(s); got != want {
			t.Errorf("id %q = %q: %t, want %t", s, written, got, want)
		}
		p = containing(l)
		if got, want := p.match(s), strings.Contains(strings.ToLower(s), strings.ToLower(written)); got != want {
			t.Errorf("%q : %q: %t, want %t", s, written, got, want)
		}
		p = searching(l)
		if want := matchSlowly(l, true, s); (l.head || l.tail) && p.match(s) != want {
			t.Errorf("search for %q in %q: %t, want %t", written, s, !want, want)
		}
		if got, want := p.matchID(id), p.match(s); got != want {
			t.Errorf("search for %q in id %q: %t, want %t", written, s, got, want)
		}
	})
}
