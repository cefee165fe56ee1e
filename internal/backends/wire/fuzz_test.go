package wire

import (
	"bytes"
	"fmt"
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
		want, err := anyOf(v)
		if again, secondErr := anyOf(v); (err == nil) != (secondErr == nil) || !alike(want, again) {
			t.Errorf("%v %v, then %v %v", want, err, again, secondErr)
		}
		if !bytes.Contains(body, v.Body()) {
			t.Error("Body is not of the reply")
		}
	})
}

// alike is reflect.DeepEqual, but NaN is like itself.
func alike(a, b any) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }

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
		if s, err := got[0].Text(); string(s) != a || err != nil {
			t.Errorf("%q %v, want %q", s, err, a)
		}
		m, ok, err := got[1].Member(b)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if s, err := m.Text(); string(s) != a || err != nil {
			t.Errorf("%q %v, want %q", s, err, a)
		}
	})
}
