package scan_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kolo/xmlrpc"

	"vmgateway/internal/backends/wire/scan"
)

// recorded are the bodies of the replies in the recordings whose names begin so. They are those of
// ../testdata, which tells where they come from.
func recorded(t testing.TB, prefix string) (bodies []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", prefix+"*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var exchange struct{ Response string }
		if err := json.Unmarshal(text, &exchange); err != nil {
			t.Fatal(file, err)
		}
		bodies = append(bodies, exchange.Response)
	}
	return bodies
}

// strings inside replies of oned that hold documents, as they were escaped.
func recordedStrings(t testing.TB) (texts []string) {
	t.Helper()
	for _, body := range recorded(t, "oned-") {
		_, rest, ok := strings.Cut(body, "<string>")
		text, _, ended := strings.Cut(rest, "</string>")
		if ok && ended && strings.HasPrefix(text, "&lt;") {
			texts = append(texts, text)
		}
	}
	if len(texts) < 10 {
		t.Fatalf("%d documents only", len(texts))
	}
	return texts
}

// leaves are all leaves of a document: path and text, by encoding/xml. ok is false where it finds
// something that it does not take, or that ours takes otherwise: names with a prefix, as it resolves
// them, line ends, which it changes, and directives.
func leaves(text string) (all []string, ok bool) {
	if strings.ContainsAny(text, "\r:") || strings.Contains(text, "<!D") {
		return nil, false
	}
	d := xml.NewDecoder(strings.NewReader(text))
	var path []string
	var inside []bool
	var chars strings.Builder
	roots := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, len(path) == 0 && roots == 1
		}
		if err != nil {
			return nil, false
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(inside) > 0 {
				inside[len(inside)-1] = true
			} else if roots++; roots > 1 {
				return nil, false
			}
			path, inside = append(path, token.Name.Local), append(inside, false)
			chars.Reset()
		case xml.CharData:
			if len(path) == 0 && len(bytes.TrimSpace(token)) > 0 {
				return nil, false
			}
			chars.Write(token)
		case xml.EndElement:
			if n := len(path); !inside[n-1] && n > 1 {
				all = append(all, strings.Join(path[1:], "/")+"="+chars.String())
			}
			path, inside = path[:len(path)-1], inside[:len(inside)-1]
		}
	}
}

// ours is leaves as a Document finds them: each path that occurs is asked for.
func ours(escaped string, paths []string) (all []string, err error) {
	err = only(escaped, scan.NewTable(paths), func(item *scan.Item) {
		for _, f := range item.Found() {
			all = append(all, paths[f.Slot]+"="+string(item.Append(nil, f)))
		}
	})
	return all, err
}

// oursAll is leaves as a Document finds them when everything is asked for.
func oursAll(escaped string) (all []string, err error) {
	err = only(escaped, everything, func(item *scan.Item) {
		found := item.Found()
		var above []scan.Found
		var path []string
		for i, f := range found {
			for len(above) > 0 && !above[len(above)-1].Holds(f) {
				above, path = above[:len(above)-1], path[:len(path)-1]
			}
			above, path = append(above, f), append(path, string(item.Name(f)))
			if i+1 == len(found) || !f.Holds(found[i+1]) {
				all = append(all, strings.Join(path, "/")+"="+string(item.Append(nil, f)))
			}
		}
	})
	return all, err
}

// only reads a document that is one item.
func only(escaped string, table *scan.Table, read func(*scan.Item)) error {
	d := scan.NewDocument(scan.NewWindow(strings.NewReader(escaped), 512, 1<<22), "", table, true)
	item, err := d.Next()
	if err != nil {
		return err
	}
	read(item)
	if _, err = d.Next(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// paths are those of leaves, each once.
func paths(leaves []string) (all []string) {
	for _, leaf := range leaves {
		path, _, _ := strings.Cut(leaf, "=")
		if !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

// FuzzDocument holds the walker against encoding/xml: what that takes, ours takes, and finds the same in
// it, in whatever way the string around it is escaped.
func FuzzDocument(f *testing.F) {
	for _, text := range recordedStrings(f) {
		f.Add(string(scan.Unescape(nil, []byte(text))))
	}
	f.Add("<A b='>'><B>&#65;&lt;<![CDATA[&]]><!-- > --></B ><C/>\t<D\n/></A>\n<?x?>")
	f.Fuzz(func(t *testing.T, text string) {
		want, ok := leaves(text)
		if !ok || strings.Count(text, "<") > 1<<12 || len(paths(want)) > 200 {
			return
		}
		for how, escape := range ways {
			in := escape(text)
			got, err := ours(in, paths(want))
			if all, allErr := oursAll(in); (allErr == nil) != (err == nil) || allErr == nil && !slices.Equal(all, want) {
				t.Errorf("%s: of everything %q (%v),\nwant %q (%v)", how, all, allErr, want, err)
			}
			switch {
			case err != nil && strings.Contains(err.Error(), "deeper"):
			case err != nil:
				t.Errorf("%s: %v:\n%q", how, err, text)
			case !slices.Equal(got, want):
				t.Errorf("%s: found %q,\nwant %q", how, got, want)
			}
		}
	})
}

// FuzzString: no string makes the reader panic or hang, and one in the usual form reads the same however
// it arrives. Where a broken string is in another form, it depends on what is seen of it at once whether
// that is met before the damage.
func FuzzString(f *testing.F) {
	for _, text := range recordedStrings(f) {
		f.Add(text + "</")
		f.Add(strings.ReplaceAll(text, "LAST", "&lt;![CDATA[") + "</")
		f.Add(text[:len(text)/2])
	}
	f.Add("&lt;VM_POOL&gt;&lt;VM&gt;&lt;ID&gt;&#1;&lt;/VM&gt;&lt;VM&gt;&#60;/VM&gt;&lt;/VM_POOL&gt;</")
	f.Fuzz(func(t *testing.T, text string) {
		read := func(r io.Reader, size int) string {
			return tell(scan.NewDocument(scan.NewWindow(r, size, 1<<22), "VM_POOL/VM", scan.NewTable([]string{"ID"}), false))
		}
		want := read(strings.NewReader(text), 1<<16)
		if strings.Contains(text, "&#") || strings.Contains(text, "<!") || strings.Contains(text, "<?") || strings.Contains(text, ">") {
			return
		}
		if got := read(iotest.HalfReader(strings.NewReader(text)), 512); got != want {
			t.Errorf("by halves %q, at once %q", got, want)
		}
		if len(text) < 1<<12 {
			if got := read(iotest.OneByteReader(strings.NewReader(text)), 512); got != want {
				t.Errorf("byte by byte %q, at once %q", got, want)
			}
		}
	})
}

// FuzzNormal: what comes out of a Normal is in the usual form, and says what went in.
func FuzzNormal(f *testing.F) {
	for _, text := range recordedStrings(f) {
		f.Add(text)
	}
	f.Add("a<![CDATA[<&>]]>&#60;&#x10FFFF;&foo;&<!-- x --><?y?>]]&gt;")
	f.Fuzz(func(t *testing.T, text string) {
		want, err := scan.Content([]byte(text), true)
		got, normalErr := io.ReadAll(scan.NewNormal(scan.NewWindow(strings.NewReader(text), 512, 1<<22), true))
		if err != nil || normalErr != nil {
			return // an element inside, or an end
		}
		if resolved := scan.Unescape(nil, got); !bytes.Equal(resolved, want) {
			t.Errorf("%q is %q, want %q", text, resolved, want)
		}
		if i := bytes.IndexByte(got, '<'); i >= 0 {
			t.Errorf("%q keeps markup: %q", text, got)
		}
		// kolo reads a text up to a section, changes line ends, and takes an empty string for none.
		if text == "" || strings.ContainsAny(text, "<\r") {
			return
		}
		var kolo string
		body := "<methodResponse><params><param><value><string>" + text + "</string></value></param></params></methodResponse>"
		if err := xmlrpc.Response(body).Unmarshal(&kolo); err == nil && kolo != string(want) {
			t.Errorf("%q is %q, and %q to kolo", text, want, kolo)
		}
	})
}

// TestRecordedDocuments are read as encoding/xml reads them.
func TestRecordedDocuments(t *testing.T) {
	n := 0
	for _, text := range recordedStrings(t) {
		want, ok := leaves(string(scan.Unescape(nil, []byte(text))))
		if !ok {
			continue
		}
		n++
		if got, err := ours(text, paths(want)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: found %q,\nwant %q", err, got, want)
		}
	}
	if n < 5 {
		t.Errorf("%d documents only", n)
	}
}
