package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"vmgateway/internal/backends/wire/scan"
)

func document(t testing.TB, text string) Element {
	t.Helper()
	e, err := ParseDocument([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// tell is an element and all below it: a(b("text")c()).
func tell(e Element) string {
	var b strings.Builder
	b.WriteString(e.Name() + "(")
	n := 0
	for child, err := range e.Children() {
		if err != nil {
			b.WriteString("!")
			n++
			continue
		}
		n++
		b.WriteString(tell(child))
	}
	if n == 0 {
		s, err := e.Text()
		if err != nil {
			s = "!"
		}
		fmt.Fprintf(&b, "%q", s)
	}
	return b.String() + ")"
}

func TestElements(t *testing.T) {
	for text, want := range map[string]string{
		`<A/>`:                                     `A("")`,
		`<A></A>`:                                  `A("")`,
		`<A />`:                                    `A("")`,
		`<A> a  b </A>`:                            `A(" a  b ")`,
		"<A>\r\n</A>":                              `A("\r\n")`,
		`<A>&lt;B/&gt;&#65;&#x42;</A>`:             `A("<B/>AB")`,
		`<A><![CDATA[<B></A>&amp;]]></A>`:          `A("<B></A>&amp;")`,
		`<A>a<![CDATA[b]]>c</A>`:                   `A("abc")`,
		`<A><![CDATA[]]]]><![CDATA[>]]></A>`:       `A("]]>")`,
		`<A><!-- <B> --><?p <C>?>x</A>`:            `A("x")`,
		`<A><B>1</B><C/><D></D></A>`:               `A(B("1")C("")D(""))`,
		`<A><A>1</A><A><A>2</A></A></A>`:           `A(A("1")A(A("2")))`,
		"<A>\n <B>1</B>\n <!-- <B>2</B> -->\n</A>": `A(B("1"))`,
		`<A x="1" y='>"'><B z="/>">1</B></A >`:     `A(B("1"))`,
		"<?xml version=\"1.0\"?>\n<!-- a --><A><B/></A><!-- b --> ": `A(B(""))`,
		"\xef\xbb\xbf<A>1</A>\n":                                    `A("1")`,
		`<A>1</A><!-- </A> -->`:                                     `A("1")`,
		`<A><AB>1</AB><A.B-C:D_E>2</A.B-C:D_E></A>`:                 `A(AB("1")A.B-C:D_E("2"))`,
		`<Ä>ö</Ä>`: `Ä("ö")`,
		`<A><B>1</B><![CDATA[<C/>]]><D>2</D></A>`: `A(B("1")D("2"))`,
	} {
		if got := tell(document(t, text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	e := document(t, `<VM><ID>7</ID><TEMPLATE><DISK><SIZE>1</SIZE></DISK><DISK><SIZE>2</SIZE></DISK></TEMPLATE></VM>`)
	size, ok := e.Path("TEMPLATE", "DISK", "SIZE")
	if s, err := size.Text(); !ok || s != "1" || err != nil {
		t.Error(s, ok, err)
	}
	if string(size.Raw()) != "<SIZE>1</SIZE>" {
		t.Errorf("%s", size.Raw())
	}
	if _, ok := e.Path("TEMPLATE", "NIC", "IP"); ok {
		t.Error("found what is not there")
	}
	if same, ok := e.Path(); !ok || same.Name() != "VM" {
		t.Error("no path is not the element itself")
	}
	if err := e.Check(); err != nil {
		t.Error(err)
	}
	template, _ := e.Child("TEMPLATE")
	if _, err := template.Text(); err == nil {
		t.Error("a text with elements inside")
	}
	missing, ok := e.Child("NAME")
	if _, err := missing.Text(); ok || err == nil || missing.Name() != "" || missing.Check() == nil {
		t.Error("a missing element is something")
	}
	for range missing.Children() {
		t.Error("a missing element has children")
	}
	disks := 0
	for disk, err := range template.Each("DISK") {
		if disk.Name() != "DISK" || err != nil {
			t.Error(disk.Name(), err)
		}
		disks++
	}
	if disks != 2 {
		t.Errorf("%d disks", disks)
	}
}

// TestDamage puts one damaged machine between sound ones: they are unharmed, and it is told.
func TestDamage(t *testing.T) {
	for name, inside := range map[string]string{
		"control character":    "<NAME>a\x01b</NAME>",
		"control in CDATA":     "<NAME><![CDATA[a\x02]]></NAME>",
		"control in a comment": "<!-- \x03 --><NAME/>",
		"control in attribute": "<NAME a=\"\x04\"/>",
		"invalid UTF-8":        "<NAME>a\xff\xfeb</NAME>",
		"cut UTF-8":            "<NAME>\xf0\x9f\x98</NAME>",
		"surrogate":            "<NAME>\xed\xa0\x80</NAME>",
		"U+FFFF":               "<NAME>\uffff</NAME>",
		"bad reference":        "<NAME>&#1;</NAME>",
		"reference to U+FFFE":  "<NAME>&#xFFFE;</NAME>",
		"unknown entity":       "<NAME>&nbsp;</NAME>",
		"bare &":               "<NAME>a & b</NAME>",
		"bare <":               "<NAME>a < b</NAME>",
		"missing end tag":      "<NAME>a",
		"missing start tag":    "a</NAME>",
		"crossed tags":         "<A><B></A></B>",
		"another end tag":      "<A></B>",
		"empty tag name":       "<>a</>",
		"cut tag":              "<NAME",
		"cut attribute":        "<NAME a=\"",
		"open comment":         "<!-- a",
		"open CDATA":           "<NAME><![CDATA[a</NAME>",
		"open instruction":     "<?a",
		"declaration":          "<!DOCTYPE a>",
		"own end tag in CDATA": "<NAME><![CDATA[</VM><VM><ID>666</ID></VM>]]></NAME>\x01",
		"the same broken too":  "<NAME><![CDATA[</VM><VM><ID>666</ID></VM>]]></NAME><A>",
		"end tag in a comment": "<!-- </VM><VM><ID>666</ID></VM> --><A>",
		"same name inside":     "<VM><ID>667</ID></VM><A>",
		"65 levels":            strings.Repeat("<A>", scan.MaxDepth) + strings.Repeat("</A>", scan.MaxDepth),
	} {
		t.Run(name, func(t *testing.T) {
			text := "<VM_POOL><VM><ID>0</ID></VM><VM><ID>1</ID>" + inside + "</VM><VM><ID>2</ID></VM>\n<VM><ID>3</ID></VM></VM_POOL>"
			for how, pool := range map[string]Element{"parsed": document(t, text), "from a value": fromValue(t, text)} {
				var got []string
				for vm, err := range pool.Each("VM") {
					id, ok := vm.Child("ID")
					s, textErr := id.Text()
					if !ok || textErr != nil || vm.Name() != "VM" {
						t.Errorf("%s: %s: %v %v", how, vm.Name(), ok, textErr)
					}
					if err != nil {
						if e := failure(t, err); e.Kind != Malformed {
							t.Error(e)
						}
						if vm.Check() == nil {
							t.Errorf("%s: a damaged machine is found sound", how)
						}
						s += "!"
					} else if vm.Check() != nil {
						t.Errorf("%s: a sound machine is not", how)
					}
					got = append(got, s)
				}
				if strings.Join(got, " ") != "0 1! 2 3" {
					t.Errorf("%s: machines %v", how, got)
				}
			}
		})
	}
}

// fromValue is the document inside a reply of oned.
func fromValue(t testing.TB, text string) Element {
	t.Helper()
	v, err := reply(oneReply([]byte(text))).Value()
	if err != nil {
		t.Fatal(err)
	}
	for item, err := range v.Items() {
		if err != nil {
			t.Fatal(err)
		}
		if item.Kind() == String {
			e, err := item.Document()
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
	}
	t.Fatal("no string")
	return Element{}
}

// TestOuterDamage has the damage in the reply's own escapes, around the document.
func TestOuterDamage(t *testing.T) {
	for _, bad := range []string{"&#1;", "&foo;", "&", "\x01", "\xff", "&#xFFFF;"} {
		v := value(t, "<value><string>&lt;P&gt;&lt;V&gt;1&lt;/V&gt;&lt;V&gt;"+bad+"&lt;/V&gt;&lt;V&gt;3&lt;/V&gt;&lt;/P&gt;</string></value>")
		e, err := v.Document()
		if err != nil {
			t.Fatalf("%q: %v", bad, err)
		}
		var got []string
		for child, err := range e.Each("V") {
			s, textErr := child.Text()
			if (err == nil) != (textErr == nil) {
				t.Errorf("%q: %v but %v", bad, err, textErr)
			}
			if err != nil {
				s = "!"
			}
			got = append(got, s)
		}
		if strings.Join(got, " ") != "1 ! 3" {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestNestingLimit(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("<A>", n) + strings.Repeat("</A>", n) }
	if err := document(t, nest(scan.MaxDepth)).Check(); err != nil {
		t.Error(err)
	}
	if err := document(t, nest(scan.MaxDepth+1)).Check(); err == nil {
		t.Errorf("%d levels are sound", scan.MaxDepth+1)
	}
	if err := document(t, nest(1e6)).Check(); err == nil {
		t.Error("a million levels are sound")
	}
	// A sound element's depth counts from the root, so its children cannot be deeper either.
	if n, err := stroll(document(t, nest(scan.MaxDepth))); n != scan.MaxDepth-1 || err != nil {
		t.Error(n, err)
	}
}

func TestNoDocument(t *testing.T) {
	for _, text := range []string{
		"", " ", sealed, sealed + "<A/>", "<A>", "<A", "<", "</A>", "<A></B>", "<A/>" + sealed, "<A></A><B/>", "<A/><A/>",
		"<!DOCTYPE a><A/>", "<!-- <A/>", "<A></A", "<A x='></A>", "<A><B></A><!-- x -->" + sealed, "&lt;A/&gt;", "<1>", "< A/>",
	} {
		e, err := ParseDocument([]byte(text))
		if err == nil {
			t.Errorf("%q is a document", text)
			continue
		}
		if f := failure(t, err); f.Kind != Malformed {
			t.Errorf("%q: %v (%s)", text, f, e.Name())
		}
	}
}

// TestTruncatedPools cuts a pool after each of its bytes: it is never taken for a smaller one.
func TestTruncatedPools(t *testing.T) {
	text := "<VM_POOL>" + oneVM(1) + oneVM(2) + "</VM_POOL>"
	for n := range text {
		if _, err := ParseDocument([]byte(text[:n])); err == nil {
			t.Errorf("%d bytes are a document", n)
		}
	}
}

// TestHostileDocuments are those that cost most to get through; each takes time in proportion to
// its size, or the test never ends.
func TestHostileDocuments(t *testing.T) {
	const n = 50_000
	for name, unit := range map[string]string{
		"open comments":      "<VM><!-- ",
		"open CDATA":         "<VM><![CDATA[",
		"open instructions":  "<VM><?",
		"open attributes":    "<VM a=\"",
		"open attributes 2":  "<VM><A b='><C d=\"",
		"unfinished":         "<VM><A></VM>",
		"unfinished, others": "<VM><A></VM><B/>",
		"ends only":          "</VM>",
		"starts only":        "<VM>",
		"twice open":         "<VM><VM></VM>",
		"declarations":       "<!a",
		"bare":               "< ",
		"ampersands":         "<VM>&&&&</VM>",
	} {
		t.Run(name, func(t *testing.T) {
			e := document(t, "<P>"+strings.Repeat(unit, n)+"</P>")
			damaged := 0
			for _, err := range e.Each("VM") {
				if err != nil {
					damaged++
				}
			}
			if damaged == 0 {
				t.Error("no damage was told")
			}
		})
	}
}

func TestBreak(t *testing.T) {
	e := document(t, "<P><A/>\x01<A/><B><</B></P>")
	for range e.Children() {
		break
	}
	for range e.Each("A") {
		break
	}
	if errors.Is(e.Check(), nil) {
		t.Error("sound")
	}
}
