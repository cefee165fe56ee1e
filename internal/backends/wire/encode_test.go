package wire

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

func TestEncode(t *testing.T) {
	type id string
	seven := 7
	for _, row := range []struct {
		name string
		arg  any
		want string // without <value>
	}{
		{"string", "web-01", "<string>web-01</string>"},
		{"empty string", "", "<string></string>"},
		{"blanks", " a  b ", "<string> a  b </string>"},
		{"named string", id("a"), "<string>a</string>"},
		{"quotes", `a"b'c`, "<string>a&#34;b&#39;c</string>"},
		{"markup", "<a>&amp;</a>", "<string>&lt;a&gt;&amp;amp;&lt;/a&gt;</string>"},
		{"end of CDATA", "]]>", "<string>]]&gt;</string>"},
		{"carriage return", "a\r\nb\rc\td", "<string>a&#xD;&#xA;b&#xD;c&#x9;d</string>"},
		{"emoji", "a😀b", "<string>a😀b</string>"},
		{"replacement character", "a\ufffdb", "<string>a\ufffdb</string>"},
		{"delete and C1", "\x7f\u0085", "<string>\x7f\u0085</string>"},
		{"looks like a param", "<param>x</param>", "<string>&lt;param&gt;x&lt;/param&gt;</string>"},
		{"int", -42, "<int>-42</int>"},
		{"pointer", &seven, "<int>7</int>"},
		{"largest int", math.MaxInt32, "<int>2147483647</int>"},
		{"smallest int", math.MinInt32, "<int>-2147483648</int>"},
		{"unsigned", uint16(9), "<int>9</int>"},
		{"true", true, "<boolean>1</boolean>"},
		{"false", false, "<boolean>0</boolean>"},
		{"double", 1.5, "<double>1.5</double>"},
		{"large double", 1e21, "<double>1000000000000000000000</double>"},
		{"time", time.Date(2026, 11, 22, 12, 33, 19, 5e8, time.FixedZone("", 7200)), "<dateTime.iso8601>20261122T10:33:19</dateTime.iso8601>"},
		{"bytes", []byte{0, 1, 255}, "<base64>AAH/</base64>"},
		{"no bytes", []byte(nil), "<base64></base64>"},
		{"array", [2]int{1, 2}, "<array><data><value><int>1</int></value><value><int>2</int></value></data></array>"},
		{"strings", []string{"a", "&"}, "<array><data><value><string>a</string></value><value><string>&amp;</string></value></data></array>"},
		{"empty slice", []any{}, "<array><data></data></array>"},
		{"nil slice", []string(nil), "<array><data></data></array>"},
		{"empty map", map[string]string{}, "<struct></struct>"},
		{"nil map", map[string]any(nil), "<struct></struct>"},
		{"map", map[string]any{"b": "x", "a<&\r": 1, "c": map[id]bool{"d": true}},
			"<struct><member><name>a&lt;&amp;&#xD;</name><value><int>1</int></value></member>" +
				"<member><name>b</name><value><string>x</string></value></member>" +
				"<member><name>c</name><value><struct><member><name>d</name><value><boolean>1</boolean></value></member></struct></value></member></struct>"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range 5 { // the same bytes each time
				got, err := encodeCall("VM.start", []any{row.arg})
				if err != nil {
					t.Fatal(err)
				}
				want := `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>VM.start</methodName><params>` +
					"<param><value>" + row.want + "</value></param></params></methodCall>"
				if string(got) != want {
					t.Fatalf("wrote\n%s\nwant\n%s", got, want)
				}
				if err := xml.Unmarshal(got, new(struct{})); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestEncodeWithoutArguments(t *testing.T) {
	got, err := encodeCall("host.list_methods", nil)
	if err != nil || !strings.HasSuffix(string(got), "</methodName><params></params></methodCall>") {
		t.Errorf("%s %v", got, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	var loop any
	loop = &loop
	deep := []any{}
	for range scan.MaxDepth {
		deep = []any{deep}
	}
	self := map[string]any{}
	self["a"] = self
	const s = "super-secret"
	for _, row := range []struct {
		name string
		arg  any
		want string
	}{
		{"control character", s + "\x01", "argument 2: the character U+0001 at byte 12 cannot be in XML"},
		{"NUL", "\x00" + s, "U+0000 at byte 0"},
		{"vertical tab", s + "\v", "U+000B"},
		{"U+FFFE", s + "\ufffe", "U+FFFE at byte 12"},
		{"U+FFFF", s + "\uffff", "U+FFFF"},
		{"surrogate", s + "\xed\xa0\x80", "invalid UTF-8 at byte 12"},
		{"cut UTF-8", s + "\xf0\x9f", "invalid UTF-8 at byte 12"},
		{"in a slice", []any{"a", []string{s, s + "\x02"}}, "argument 2, item 2, item 2: the character U+0002"},
		{"in a map", map[string]any{"a": 1, s: s + "\x03"}, "argument 2, member 2: the character U+0003"},
		{"in a map's key", map[string]string{"a" + s + "\x04": "b"}, "argument 2, name of member 1: the character U+0004"},
		{"in a pointer", new(any(s + "\x05")), "U+0005"},
		{"nil", nil, "argument 2: is nil"},
		{"nil pointer", (*string)(nil), "is nil"},
		{"nil in a map", map[string]any{"a": nil}, "is nil"},
		{"a number of 33 bits", int64(math.MaxInt32 + 1), "beyond 32 bits"},
		{"a negative one", int64(math.MinInt32 - 1), "beyond 32 bits"},
		{"an unsigned one", uint32(math.MaxInt32 + 1), "beyond 32 bits"},
		{"NaN", math.NaN(), "not a finite number"},
		{"infinity", math.Inf(-1), "not a finite number"},
		{"struct", struct{ A string }{s}, "has the type struct"},
		{"function", func() {}, "has the type func()"},
		{"numbers as keys", map[int]string{1: s}, "keys of type int"},
		{"a pointer to itself", loop, "nested deeper"},
		{"a map in itself", self, "nested deeper"},
		{"deep", deep, "nested deeper"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := encodeCall("VM.start", []any{"fine", row.arg})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("%v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), s) {
				t.Errorf("the error tells the argument: %v", err)
			}
		})
	}
	for _, method := range []string{"", "VM start", "VM</methodName>", "VM.stört", "a\x00"} {
		if _, err := encodeCall(method, nil); err == nil {
			t.Errorf("the method %q was taken", method)
		}
	}
}

// TestBadCharAtEveryPlace covers the reading of eight bytes at a time.
func TestBadCharAtEveryPlace(t *testing.T) {
	for n := range 40 {
		text := strings.Repeat("a", n)
		for _, bad := range []string{"\x00", "\x1f", "\xff", "\ufffe"} {
			s := text + bad + text
			if got := scan.BadChar(s); got != n {
				t.Errorf("%q: %d, want %d", s, got, n)
			}
			if got := scan.BadChar([]byte(s)); got != n {
				t.Errorf("%q as bytes: %d, want %d", s, got, n)
			}
		}
		for _, good := range []string{"\n", "é", "\x7f", "😀", "\ufffd"} {
			if s := text + good + text; scan.BadChar(s) >= 0 {
				t.Errorf("%q: %d", s, scan.BadChar(s))
			}
		}
	}
}

func TestPlaceOfRefusal(t *testing.T) {
	err := scan.CheckText(strings.Repeat("é", 10) + "\x1b")
	if want := "the character U+001B at byte 20 cannot be in XML"; fmt.Sprint(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}
