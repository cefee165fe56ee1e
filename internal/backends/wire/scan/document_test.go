package scan_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"vmgateway/internal/backends/wire/scan"
)

// ways are those in which the text of a string can be escaped.
var ways = map[string]func(string) string{
	"as oned does":   escaped,
	"quotes too":     strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace,
	"> raw":          strings.NewReplacer("&", "&amp;", "<", "&lt;", "]]>", "]]&gt;").Replace,
	"by number":      numbered,
	"by hex number":  strings.NewReplacer("&", "&#x26;", "<", "&#x3C;", ">", "&#x3E;").Replace,
	"as CDATA":       func(s string) string { return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>" },
	"mixed":          mixed,
	"with a comment": func(s string) string { return "<!-- a -->" + escaped(s) + "<?b?>" },
}

var (
	escaped  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xd;").Replace
	numbered = strings.NewReplacer("&", "&#38;", "<", "&#60;", ">", "&#62;").Replace
)

// mixed escapes every third piece in another way.
func mixed(s string) string {
	var b strings.Builder
	for i, piece := range strings.SplitAfter(s, ">") {
		switch i % 3 {
		case 0:
			b.WriteString(escaped(piece))
		case 1:
			b.WriteString("<![CDATA[" + piece + "]]>")
		case 2:
			b.WriteString(numbered(piece))
		}
	}
	return strings.ReplaceAll(b.String(), "]]]]>", "]]]]&gt;")
}

var readers = map[string]func(io.Reader) io.Reader{
	"at once":      func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
}

// tell is a document in short: the ids of its items, with a ! behind those of damaged ones, and how it
// ended.
func tell(d *scan.Document) string {
	var all []string
	for {
		item, err := d.Next()
		if _, damaged := errors.AsType[*scan.Damage](err); err != nil && !damaged {
			if !errors.Is(err, io.EOF) {
				all = append(all, err.Error())
			}
			return strings.Join(all, " ")
		}
		one := ""
		for _, f := range item.Found() {
			if f.Slot == 0 && one == "" {
				one = string(item.Append(nil, f))
			}
		}
		if err != nil {
			one += "!"
		}
		all = append(all, one)
	}
}

const stringEnd = "</string></value>"

func pool(text string) *scan.Document {
	return scan.NewDocument(scan.NewWindow(strings.NewReader(text), 512, 1<<18), "VM_POOL/VM", scan.NewTable([]string{"ID"}), false)
}

// TestDamageStaysInItsItem puts one damaged item between sound ones: they are unharmed, and it is told.
func TestDamageStaysInItsItem(t *testing.T) {
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
		"long tag name":        "<" + strings.Repeat("A", scan.MaxName+1) + "/>",
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
		text := "<VM_POOL><VM><ID>0</ID></VM><VM><ID>1</ID>" + inside + "</VM><VM><ID>2</ID></VM>\n<VM><ID>3</ID></VM></VM_POOL>"
		for how, escape := range ways {
			for pace, wrap := range readers {
				w := scan.NewWindow(wrap(strings.NewReader(escape(text)+stringEnd)), 512, 1<<20)
				d := scan.NewDocument(w, "VM_POOL/VM", scan.NewTable([]string{"ID"}), false)
				if got := tell(d); got != "0 1! 2 3" {
					t.Errorf("%s, %s, %s: items %s", name, how, pace, got)
				}
				if got := string(w.Bytes()); !strings.HasPrefix(stringEnd, got) || got == "" {
					t.Errorf("%s, %s, %s: it ends in front of %q", name, how, pace, got)
				}
			}
		}
	}
}

// TestDamageOfTheString has the damage in the string's own escapes.
func TestDamageOfTheString(t *testing.T) {
	for _, bad := range []string{"&#1;", "&foo;", "&", "\x01", "\xff", "&#xFFFF;"} {
		text := escaped("<VM_POOL><VM><ID>0</ID></VM><VM><ID>1</ID>") + bad + escaped("</VM><VM><ID>2</ID></VM></VM_POOL>")
		if got := tell(pool(text + stringEnd)); got != "0 1! 2" {
			t.Errorf("%q: items %s", bad, got)
		}
	}
}

func TestCutDocuments(t *testing.T) {
	whole := "<?xml version=\"1.0\"?>\n<VM_POOL><VM><ID>0</ID><A><![CDATA[x]]>&amp;</A></VM><VM><ID>1</ID></VM></VM_POOL>"
	for n := range whole {
		got := tell(pool(escaped(whole[:n]) + stringEnd))
		if !strings.HasSuffix(got, "the document is cut off") && !strings.HasSuffix(got, "without a root element") {
			t.Errorf("the string ends after %d bytes: %s", n, got)
		}
		if got = tell(pool(escaped(whole)[:n])); !strings.HasSuffix(got, scan.ErrEnds.Error()) {
			t.Errorf("the stream ends after %d bytes: %s", n, got)
		}
	}
	for text, want := range map[string]string{
		"":                        "the document is cut off",
		"<VM_POOL/>":              "",
		"<VM_POOL />\n<!-- a -->": "",
		"<VM_POOL></VM_POOL >":    "",
		"<VM_POOL></VM_POOL>x":    "something follows the root element",
		"<VM_POOL></VM_POOL><A/>": "something follows the root element",
		"<HOST_POOL></HOST_POOL>": "no VM_POOL document",
		"</VM_POOL>":              "no VM_POOL document",
		"x":                       "a document without a root element",
		"<VM_POOL><VM/><HOST/><VM a='1'/></VM_POOL>":    " ",
		"<VM_POOL></A><VM><ID>3</ID></VM></VM_POOL>":    "! 3",
		"<VM_POOL><VM><ID>3</ID></VM_POOL>":             "3!",
		"<VM_POOL> a &x; <VM><ID>3</ID></VM></VM_POOL>": "3",
	} {
		if got := tell(pool(escaped(text) + stringEnd)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestOneItemAlone(t *testing.T) {
	for text, want := range map[string]string{
		"<VM><ID>7</ID></VM>\n":   "7",
		"<VM/>":                   "",
		"<VM><ID>7</ID></VM>x":    "7 something follows the root element",
		"<VM><ID>7</ID></VM>&":    "7 something follows the root element",
		"<VM><ID>7</ID></VM><A/>": "7 something follows the root element",
		"<VM><ID>7</ID>":          "the document is cut off",
		"<VM><ID>7</VM>":          "an end tag without its start",
		"<HOST><ID>7</ID></HOST>": "no VM document",
	} {
		d := scan.NewDocument(scan.Whole([]byte(escaped(text))), "VM", scan.NewTable([]string{"ID"}), true)
		if got := tell(d); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestWhatIsFound has each kind of path, and each way in which a text is written.
func TestWhatIsFound(t *testing.T) {
	table := scan.NewTable([]string{"ID", "T/CPU", "T/DISK/", "T/DISK/SIZE", "U/*", "U/KNOWN", "H/R/", "H/R/S/N"})
	text := `<VM><ID>7</ID><X><ID>8</ID></X><T a="b"><CPU><![CDATA[0.5]]></CPU><DISK><ID>9</ID><SIZE>1</SIZE></DISK><DISK/>` +
		`<DISK><SIZE> 2 </SIZE></DISK></T><U><A>&lt;&amp;&#228;</A><B><![CDATA[<&amp;]]></B><KNOWN/><V><W>1</W></V>` +
		`<C>a<![CDATA[b]]><!-- c -->d</C><D>]]"'` + "\r\n\t" + `</D></U><H><R><S><N>5</N></S></R></H></VM>`
	want := []string{"0 ID 7", "1 CPU 0.5", "2 DISK", "3 SIZE 1", "2 DISK", "2 DISK", "3 SIZE  2 ", "4 A <&ä", "4 B <&amp;", "5 KNOWN ",
		"4 C abd", "4 D ]]\"'\r\n\t", "6 R", "7 N 5"}
	for how, escape := range ways {
		d := scan.NewDocument(scan.Whole([]byte(escape(text))), "VM", table, true)
		item, err := d.Next()
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		var got []string
		for i, f := range item.Found() {
			one := fmt.Sprintf("%d %s", f.Slot, item.Name(f))
			if f.Slot == 2 || f.Slot == 6 {
				holds := len(item.Found()) > i+1 && f.Holds(item.Found()[i+1])
				if wants := got == nil || i != 4; holds != wants {
					t.Errorf("%s: %s holds what follows: %t", how, one, holds)
				}
			} else {
				one += " " + string(item.Append(nil, f))
			}
			got = append(got, one)
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: found %q,\nwant %q", how, got, want)
		}
		if xml := string(item.XML(nil)); xml != text {
			t.Errorf("%s: the document is\n%s, want\n%s", how, xml, text)
		}
	}
}

// outline is a document with all elements in it: A(B("1")C("")), read with everything.
func outline(d *scan.Document) (string, error) {
	item, err := d.Next()
	if err != nil {
		return "", err
	}
	found := item.Found()
	var inside func(i, end int) string
	inside = func(i, end int) string {
		var all strings.Builder
		for i < end {
			next := i + 1
			for next < end && found[i].Holds(found[next]) {
				next++
			}
			all.Write(item.Name(found[i]))
			if next > i+1 {
				all.WriteString("(" + inside(i+1, next) + ")")
			} else {
				fmt.Fprintf(&all, "(%q)", item.Append(nil, found[i]))
			}
			i = next
		}
		return all.String()
	}
	all := inside(0, len(found))
	if _, err = d.Next(); errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

var everything = scan.NewTable([]string{"**"})

func TestEverythingIsFound(t *testing.T) {
	for text, want := range map[string]string{
		`<A/>`:                                                      ``,
		`<A> a  b </A>`:                                             ``,
		`<A><B/></A>`:                                               `B("")`,
		`<A><B></B></A>`:                                            `B("")`,
		`<A><B />x</A>`:                                             `B("")`,
		`<A><B> a  b </B></A>`:                                      `B(" a  b ")`,
		"<A><B>\r\n</B></A>":                                        `B("\r\n")`,
		`<A><B>&lt;B/&gt;&#65;&#x42;</B></A>`:                       `B("<B/>AB")`,
		`<A><B><![CDATA[<B></A>&amp;]]></B></A>`:                    `B("<B></A>&amp;")`,
		`<A><B>a<![CDATA[b]]>c</B></A>`:                             `B("abc")`,
		`<A><B><![CDATA[]]]]><![CDATA[>]]></B></A>`:                 `B("]]>")`,
		`<A><B><!-- <B> --><?p <C>?>x</B></A>`:                      `B("x")`,
		`<A><B>1</B><C/><D></D></A>`:                                `B("1")C("")D("")`,
		`<A><A>1</A><A><A>2</A></A><A>3</A></A>`:                    `A("1")A(A("2"))A("3")`,
		"<A>\n <B>1</B>\n <!-- <B>2</B> -->\n</A>":                  `B("1")`,
		`<A x="1" y='>"'><B z="/>">1</B></A >`:                      `B("1")`,
		"<?xml version=\"1.0\"?>\n<!-- a --><A><B/></A><!-- b --> ": `B("")`,
		"\xef\xbb\xbf<A><B>1</B></A>\n":                             `B("1")`,
		`<A><B>1</B></A><!-- </A> -->`:                              `B("1")`,
		`<A><AB>1</AB><A.B-C:D_E>2</A.B-C:D_E></A>`:                 `AB("1")A.B-C:D_E("2")`,
		`<Ä><Ö>ü</Ö></Ä>`:                                           `Ö("ü")`,
		`<A><B>1</B><![CDATA[<C/>]]><D>2</D></A>`:                   `B("1")D("2")`,
		`<A><B>b<C>c</C>b</B></A>`:                                  `B(C("c"))`,
		`<A><B><C/><D><E/></D></B><F><G/></F></A>`:                  `B(C("")D(E("")))F(G(""))`,
	} {
		for how, escape := range ways {
			got, err := outline(scan.NewDocument(scan.Whole([]byte(escape(text))), "", everything, true))
			if err != nil || got != want {
				t.Errorf("%s, %s: %s %v, want %s", text, how, got, err, want)
			}
		}
	}
}

// TestEverythingElseIsFound has paths of their own beside those of all others.
func TestEverythingElseIsFound(t *testing.T) {
	table := scan.NewTable([]string{"**", "ID", "T/**", "T/ID", "T/U/V"})
	text := "<VM><ID>1</ID><A><ID>2</ID></A><T><ID>3</ID><B><ID>4</ID></B><U><V>5</V><ID>6</ID></U></T></VM>"
	item, err := scan.NewDocument(scan.Whole([]byte(escaped(text))), "VM", table, true).Next()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range item.Found() {
		got = append(got, fmt.Sprintf("%d %s", f.Slot, item.Name(f)))
	}
	if want := "1 ID, 0 A, 0 ID, 3 ID, 2 B, 2 ID, 4 V"; strings.Join(got, ", ") != want {
		t.Errorf("found %s, want %s", strings.Join(got, ", "), want)
	}
}

// TestWhatStandsBetweenItems has what looks like items, and is none.
func TestWhatStandsBetweenItems(t *testing.T) {
	text := "<?xml version='1.0'?><!-- <VM_POOL> --><VM_POOL><!-- <VM><ID>6</ID></VM> --><VM><ID>0</ID></VM> a <?b <VM>?>" +
		"<VM><ID>1</ID><!-- </VM> --></VM><![CDATA[<VM><ID>7</ID></VM>]]><VM><ID>2</ID></VM><!-- <VM> --></VM_POOL><!-- </VM_POOL> -->"
	for how, escape := range ways {
		if got := tell(pool(escape(text) + stringEnd)); got != "0 1 2" {
			t.Errorf("%s: items %s", how, got)
		}
	}
}

func TestNoDocument(t *testing.T) {
	for _, text := range []string{
		"", " ", "x", "x<A/>", "<A>", "<A", "<", "</A>", "<A></B>", "<A/>x", "<A></A><B/>", "<A/><A/>", "<!DOCTYPE a><A/>", "<!-- <A/>",
		"<A></A", "<A x='></A>", "<A><B></A><!-- x -->x", "&lt;A/&gt;", "<1", "< A/>", "<A>&nbsp;</A>", "<A>\x01</A>",
		strings.Repeat("<A>", scan.MaxDepth+1) + strings.Repeat("</A>", scan.MaxDepth+1),
	} {
		for how, escape := range ways {
			if got, err := outline(scan.NewDocument(scan.Whole([]byte(escape(text))), "", everything, true)); err == nil {
				t.Errorf("%q, %s: it is the document %s", text, how, got)
			}
		}
	}
}

// TestALongItemIsPassedOver has one that no window holds.
func TestALongItemIsPassedOver(t *testing.T) {
	for name, long := range map[string]string{
		"one text":   "<A>" + strings.Repeat("x", 400<<10) + "</A>",
		"elements":   strings.Repeat("<A>x</A>", 1<<16),
		"in CDATA":   "<A><![CDATA[" + strings.Repeat("</VM><VM><ID>6</ID></VM>", 1<<14) + "]]></A>",
		"a tag":      "<A b='" + strings.Repeat("x", 400<<10) + "'/>",
		"a name":     "<" + strings.Repeat("x", 400<<10) + "/>",
		"references": "<A>" + strings.Repeat("&amp;", 1<<16) + "</A>",
	} {
		text := "<VM_POOL><VM><ID>0</ID></VM><VM><ID>1</ID>" + long + "</VM>\n<VM><ID>2</ID></VM><VM><ID>3</ID>" + long + "</VM></VM_POOL>"
		for how, escape := range ways {
			if got := tell(pool(escape(text) + stringEnd)); got != "0 1! 2 3!" {
				t.Errorf("%s, %s: items %s", name, how, got[:min(len(got), 200)])
			}
		}
	}
}

// TestHostileDocuments are those that cost most to get through; each takes time in proportion to its
// size, or the test never ends.
func TestHostileDocuments(t *testing.T) {
	const n = 50_000
	for name, unit := range map[string]string{
		"open comments":      "<VM><!-- ",
		"open CDATA":         "<VM><![CDATA[",
		"closed by CDATA":    "<VM><![CDATA[</VM>",
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
			got := tell(pool(escaped("<VM_POOL>"+strings.Repeat(unit, n)+"</VM_POOL>") + stringEnd))
			if !strings.Contains(got, "!") && !strings.Contains(got, "cut off") {
				t.Errorf("no damage was told: %s", got)
			}
		})
	}
}

// TestAStreamThatBreaks gives the stream's own error, and no damage.
func TestAStreamThatBreaks(t *testing.T) {
	broken := errors.New("broken")
	whole := escaped("<VM_POOL><VM><ID>0</ID></VM><VM><ID>1</ID><A>\x01</A></VM></VM_POOL>") + stringEnd
	for n := range len(whole) - len(stringEnd) {
		r := io.MultiReader(bytes.NewReader([]byte(whole[:n])), iotest.ErrReader(broken))
		d := scan.NewDocument(scan.NewWindow(r, 512, 1<<20), "VM_POOL/VM", scan.NewTable([]string{"ID"}), false)
		if got := tell(d); !strings.HasSuffix(got, "broken") {
			t.Errorf("after %d bytes: %s", n, got)
		}
	}
}
