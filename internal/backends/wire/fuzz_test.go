package wire

import (
	"bytes"
	"strings"
	"testing"

	"vmgateway/internal/backends/wire/scan"
)

// FuzzReply: no reply makes the scanner panic, and what it takes it reads twice alike.
func FuzzReply(f *testing.F) {
	for _, r := range load(f, "testdata/*.json") {
		f.Add([]byte(r.Response))
	}
	f.Add(wrap(`<value><struct><member><name>a</name><value><array><data><value/><value><nil/></value></data></array></value></member></struct></value>`))
	f.Add(wrap(`<value>&#x1F600;<![CDATA[a]]><!-- b --></value>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := reply(body)
		v, err := r.Value()
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		n, err := walk(v)
		if err == nil && n < 1 {
			t.Error("nothing visited")
		}
		_, first := v.Any()
		_, second := v.Any()
		if (first == nil) != (second == nil) {
			t.Errorf("%v, then %v", first, second)
		}
		if raw := v.Raw(); !bytes.Contains(body, raw) {
			t.Error("Raw is not of the reply")
		}
		var into any
		if err := r.Decode(&into); err == nil && first != nil {
			t.Errorf("kolo takes what Any refuses: %v", first)
		}
		// What comes around the same value is a reply again.
		again, err := reply(wrap("<value>" + string(v.Raw()) + "</value>")).Value()
		if err != nil || again.Kind() != v.Kind() {
			t.Errorf("%v %v, want %v", again.Kind(), err, v.Kind())
		}
		if v.Kind() == String {
			if e, err := v.Document(); err == nil {
				wander(t, e)
			}
		}
	})
}

// FuzzDocument: no document makes the scanner panic, and elements lie inside one another in order.
func FuzzDocument(f *testing.F) {
	for _, r := range load(f, "testdata/oned-*.json") {
		if v, err := reply([]byte(r.Response)).Value(); err == nil && v.Kind() == Array {
			for item, err := range v.Items() {
				if s, strErr := item.Str(); err == nil && strErr == nil && strings.HasPrefix(s, "<") {
					f.Add([]byte(s))
				}
			}
		}
	}
	f.Add([]byte("<P><VM><ID>1</ID></VM><VM><A></VM><VM a='b'><![CDATA[</VM>]]></VM></P>"))
	f.Add([]byte("<P><VM><!-- <VM> --><?x?>&#1;</VM>\x01<VM/></P>"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := ParseDocument(text)
		if err != nil {
			return
		}
		wander(t, e)
	})
}

// wander goes through everything below e, damaged or not.
func wander(t *testing.T, e Element) {
	rest := e.Raw()
	sound := e.Check() == nil
	for child, err := range e.Children() {
		i := bytes.Index(rest, child.Raw())
		if i < 0 || len(child.Raw()) == 0 {
			t.Fatal("a child is not inside, or comes twice")
		}
		rest = rest[i+len(child.Raw()):]
		if sound && err != nil {
			t.Fatalf("a sound element has a damaged child: %v", err)
		}
		if err == nil && child.Check() != nil {
			t.Fatal("a sound child is not")
		}
		if found, ok := e.Child(child.Name()); child.Name() != "" && (!ok || found.Name() != child.Name()) {
			t.Fatal("a child is not found by its name")
		}
		if err == nil {
			wander(t, child)
		}
	}
	_, _ = e.Text() // for the panic it must not have
}

// FuzzEncode: whatever is written is read back the same.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", " a ", "<>&\"'", "]]>", "\r\n\t", "😀", "\x00", "\ufffe", "\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		body, err := encodeCall("VM.start", []any{a, map[string]string{b: a}, []string{b}})
		if err != nil {
			if scan.BadChar(a) < 0 && scan.BadChar(b) < 0 {
				t.Fatal(err)
			}
			return
		}
		got, ok := parameters(string(body))
		if !ok || len(got) != 3 {
			t.Fatalf("%q", body)
		}
		if s, err := got[0].Str(); s != a || err != nil {
			t.Errorf("%q %v, want %q", s, err, a)
		}
		m, ok, err := got[1].Member(b)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if s, err := m.Str(); s != a || err != nil {
			t.Errorf("%q %v, want %q", s, err, a)
		}
	})
}
