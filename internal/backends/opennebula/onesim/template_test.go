package onesim

import (
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"single", `A="b"`, "<A><![CDATA[b]]></A>"},
		{"upper case and order", "b=1\na=\"2\"", "<A><![CDATA[2]]></A><B><![CDATA[1]]></B>"},
		{"repeated keep their order", `R="1" R="2" Q="0"`, "<Q><![CDATA[0]]></Q><R><![CDATA[1]]></R><R><![CDATA[2]]></R>"},
		{"vector", `D=[B="2", A="1"]`, "<D><A><![CDATA[1]]></A><B><![CDATA[2]]></B></D>"},
		{"vector without quotes", "D=[A=1,B=two words]", "<D><A><![CDATA[1]]></A><B><![CDATA[two words]]></B></D>"},
		{"empty vector", "D=[]", "<D/>"},
		{"quote", `A="say \"hi\" c:\\dir \n"`, `<A><![CDATA[say "hi" c:\\dir \n]]></A>`},
		{"newline", "A=\"x\ny\"", "<A><![CDATA[x\ny]]></A>"},
		{"brackets and equals", `A="k=v,[x]=y # no comment"`, "<A><![CDATA[k=v,[x]=y # no comment]]></A>"},
		{"comment", "# first\nA=1\n  # second\nB=2", "<A><![CDATA[1]]></A><B><![CDATA[2]]></B>"},
		{"empty values", "A=\"\"\nB=", "<A><![CDATA[]]></A><B><![CDATA[]]></B>"},
		{"nothing", "", ""},
		{"xml", "<T><B>1</B><A>&lt;x&gt;</A></T>", "<A><![CDATA[<x>]]></A><B><![CDATA[1]]></B>"},
		{"xml vector", "<T><D><b>1</b></D></T>", "<D><B><![CDATA[1]]></B></D>"},
		{"xml three levels", "<T><A><B><C>x</C></B></A><D>1</D></T>", "<D><![CDATA[1]]></D>"},
		{"xml cdata", "<T><A><![CDATA[<raw> &]]></A></T>", "<A><![CDATA[<raw> &]]></A>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseTemplate(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if s := string(got.append(nil)); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

func TestParseTemplateRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"A=[":                  "Parse error: syntax error, unexpected $end, expecting CBRACKET or VARIABLE",
		`D=[A="1"`:             "Parse error: syntax error, unexpected $end, expecting COMMA or CBRACKET",
		"not a template":       "Parse error: syntax error, unexpected VARIABLE, expecting EQUAL or EQUAL_EMPTY",
		`A="x ]]> y"`:          "Parse error.",
		`A="x`:                 "Parse error: syntax error, unexpected $end, expecting STRING",
		"<T><A>1</T>":          "Parse error: XML Template malformed.",
		"=1":                   "Parse error: syntax error, unexpected EQUAL, expecting VARIABLE",
		"<T><A>]]&gt;</A></T>": errUntransformable.Error(),
	} {
		_, err := parseTemplate(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestMerge(t *testing.T) {
	a, errA := parseTemplate(`A="1" B="2" C=[X="1"]`)
	b, errB := parseTemplate(`B="3" B="4" C=[Y="2"]`)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	before := a.clone()
	a.merge(b)
	if got, want := string(a.append(nil)), "<A><![CDATA[1]]></A><B><![CDATA[3]]></B><B><![CDATA[4]]></B><C><Y><![CDATA[2]]></Y></C>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if before.get("B") != "2" {
		t.Error("the clone changed with the original")
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{`A="b" D=[X="1",Y=2]`, "A=[", "<T><A>1</A></T>", "# c\nA=\"\\\"\"", "%%%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tmpl, err := parseTemplate(s); err == nil {
			if strings.Count(string(tmpl.append(nil)), "<![CDATA[") > 0 && len(tmpl) == 0 {
				t.Error("values without attributes")
			}
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(body("a:b", "one.vm.info", 1)))
	f.Add([]byte("<methodCall><methodName>x</methodName><params><param><value><array><data/></array></value></param></params></methodCall>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeRequest(b); err == nil && r == nil {
			t.Error("neither a request nor an error")
		}
	})
}
