package scan_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kolo/xmlrpc"

	"vmgateway/internal/backends/wire/scan"
)

// recordings are the XML-RPC replies of real daemons; each file names its origin.
func recordings(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../testdata/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r struct{ Response string }
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = []byte(r.Response)
	}
	return all
}

// tree is all of a reply, in Go's types: texts of every scalar, []any, and []field.
func tree(v scan.Value) (any, error) {
	switch v.Kind() {
	case scan.Struct:
		fields := []field{}
		p := v.Parts(scan.Struct)
		for p.Next() {
			value, err := tree(p.Value)
			if err != nil {
				return nil, err
			}
			fields = append(fields, field{string(p.Name), value})
		}
		return fields, p.Err()
	case scan.Array:
		items := []any{}
		p := v.Parts(scan.Array)
		for p.Next() {
			item, err := tree(p.Value)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		return items, p.Err()
	}
	text, err := scan.Content(v.Body(), false)
	return string(text), err
}

type field struct {
	name  string
	value any
}

// whole reads a reply as one value.
func whole(r io.Reader) (any, error) {
	in := scan.NewReader(scan.NewWindow(r, 512, 1<<24), "")
	if _, err := in.Begin(); err != nil {
		return nil, err
	}
	v, err := in.Value()
	if err != nil {
		return nil, err
	}
	top, treeErr := tree(v)
	if err := in.End(); err != nil {
		return nil, err
	}
	return top, treeErr
}

// parsed reads a reply that is all there.
func parsed(body []byte) (any, error) {
	v, _, err := scan.ParseReply(body)
	if err != nil {
		return nil, err
	}
	return tree(v)
}

// reference reads a reply with encoding/xml, by the grammar of XML-RPC.
type reference struct {
	d     *xml.Decoder
	depth int
}

var errReference = errors.New("not XML-RPC")

func byTheBook(body []byte) (any, error) {
	r := &reference{d: xml.NewDecoder(bytes.NewReader(body))}
	around := []string{"methodResponse", "params", "param"}
	if bytes.Contains(body, []byte("<fault>")) {
		around = []string{"methodResponse", "fault"}
	}
	for _, name := range append(around, "value") {
		if _, err := r.start(name); err != nil {
			return nil, err
		}
	}
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(around) {
		if err := r.end(name); err != nil {
			return nil, err
		}
	}
	if _, _, err = r.next(); !errors.Is(err, io.EOF) {
		return nil, errReference
	}
	return v, nil
}

// next is the next tag, and the text in front of it.
func (r *reference) next() (xml.Token, string, error) {
	var text strings.Builder
	for {
		token, err := r.d.Token()
		if err != nil {
			return nil, "", err
		}
		switch t := token.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.Directive:
			return nil, "", errReference
		case xml.StartElement:
			if len(t.Attr) > 0 || t.Name.Space != "" {
				return nil, "", errReference
			}
			return token, text.String(), nil
		case xml.EndElement:
			return token, text.String(), nil
		}
	}
}

func (r *reference) start(names ...string) (string, error) {
	token, text, err := r.next()
	if err != nil {
		return "", err
	}
	s, ok := token.(xml.StartElement)
	if !ok || strings.TrimSpace(text) != "" || !slices.Contains(names, s.Name.Local) {
		return "", errReference
	}
	return s.Name.Local, nil
}

func (r *reference) end(name string) error {
	token, text, err := r.next()
	if err != nil {
		return err
	}
	e, ok := token.(xml.EndElement)
	if !ok || strings.TrimSpace(text) != "" || e.Name.Local != name {
		return errReference
	}
	return nil
}

// value reads from behind <value> to behind </value>.
func (r *reference) value() (v any, err error) {
	token, text, err := r.next()
	if err != nil {
		return nil, err
	}
	s, ok := token.(xml.StartElement)
	if !ok {
		return text, nil
	}
	if strings.TrimSpace(text) != "" {
		return nil, errReference
	}
	switch s.Name.Local {
	case "struct":
		v, err = r.members()
	case "array":
		v, err = r.items()
	case "string", "int", "i1", "i2", "i4", "i8", "boolean", "double", "dateTime.iso8601", "base64", "nil":
		token, text, nextErr := r.next()
		if _, ok := token.(xml.EndElement); nextErr != nil || !ok {
			return nil, errReference
		}
		v = text
	default:
		return nil, errReference
	}
	if err != nil {
		return nil, err
	}
	return v, r.end("value")
}

func (r *reference) members() (any, error) {
	fields := []field{}
	err := r.each("member", func() error {
		f, err := r.member()
		fields = append(fields, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return fields, nil
}

// each reads elements of that name, up to the end of what they are in.
func (r *reference) each(name string, read func() error) error {
	if r.depth++; r.depth > scan.MaxDepth {
		return errReference
	}
	for {
		token, text, err := r.next()
		if err != nil || strings.TrimSpace(text) != "" {
			return errReference
		}
		if _, ok := token.(xml.EndElement); ok {
			r.depth--
			return nil
		}
		if token.(xml.StartElement).Name.Local != name {
			return errReference
		}
		if err := read(); err != nil {
			return err
		}
	}
}

func (r *reference) member() (f field, err error) {
	if _, err := r.start("name"); err != nil {
		return f, err
	}
	token, name, err := r.next()
	if _, ok := token.(xml.EndElement); err != nil || !ok {
		return f, errReference
	}
	f.name = name
	if _, err := r.start("value"); err != nil {
		return f, err
	}
	if f.value, err = r.value(); err != nil {
		return f, err
	}
	return f, r.end("member")
}

func (r *reference) items() (any, error) {
	if _, err := r.start("data"); err != nil {
		return nil, err
	}
	items := []any{}
	err := r.each("value", func() error {
		item, err := r.value()
		items = append(items, item)
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, r.end("array")
}

// agree holds that what encoding/xml reads in a reply is what is read here, however it arrives.
func agree(t *testing.T, body []byte) {
	t.Helper()
	got, err := whole(bytes.NewReader(body))
	if slow, slowErr := whole(iotest.OneByteReader(bytes.NewReader(body))); !reflect.DeepEqual(slow, got) || (slowErr == nil) != (err == nil) {
		t.Fatalf("byte by byte %v (%v), at once %v (%v)", slow, slowErr, got, err)
	}
	if at, atErr := parsed(body); !reflect.DeepEqual(at, got) || (atErr == nil) != (err == nil) {
		t.Fatalf("as one text %v (%v), as a stream %v (%v)", at, atErr, got, err)
	}
	// encoding/xml turns line ends into \n, and does not tell a CDATA section from blanks.
	if bytes.ContainsAny(body, "\r") || bytes.Contains(body, []byte("<![CDATA[")) {
		return
	}
	want, wantErr := byTheBook(body)
	if wantErr == nil && (err != nil || !reflect.DeepEqual(got, want)) {
		t.Fatalf("%q\ngot  %v (%v)\nwant %v", body, got, err, want)
	}
}

func TestRepliesReadAsEncodingXMLReadsThem(t *testing.T) {
	good := 0
	for file, body := range recordings(t, "*.json") {
		t.Run(file, func(t *testing.T) {
			agree(t, body)
			if _, err := byTheBook(body); err == nil {
				good++
			}
		})
	}
	if good < 30 {
		t.Errorf("only %d replies were compared", good)
	}
}

// kolo is right where every value has its type, as oned writes it.
func TestRepliesReadAsKoloReadsThem(t *testing.T) {
	compared := 0
	for file, body := range recordings(t, "oned-*.json") {
		var want any
		if xmlrpc.Response(body).Err() != nil || xmlrpc.Response(body).Unmarshal(&want) != nil {
			continue
		}
		got, err := whole(bytes.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		items, ok := want.([]any)
		if !ok || len(items) < 2 {
			continue
		}
		compared++
		for i, item := range items {
			if text, ok := item.(string); ok && got.([]any)[i] != text {
				t.Errorf("%s: item %d is %q, want %q", file, i, got.([]any)[i], text)
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d replies were compared", compared)
	}
}

func FuzzMembers(f *testing.F) {
	for _, body := range recordings(f, "xapi-*.json") {
		f.Add(body)
	}
	f.Add([]byte(`<methodResponse><params><param><value><struct><member><name/><value/></member></struct></value></param></params></methodResponse>`))
	f.Add([]byte(`<methodResponse><params><param><value><array><data/></array></value></param></params></methodResponse>`))
	f.Add([]byte(`<methodResponse><fault><value> a &#x1F600;<!-- c --> b</value></fault></methodResponse> <!-- end -->`))
	f.Add(list(`<member><name>Ref:1</name><value><struct><member><name>id</name><value>1</value></struct></value></member>`, record(2)))
	f.Fuzz(func(t *testing.T, body []byte) {
		agree(t, body)
		read(t, iotest.OneByteReader(bytes.NewReader(body)), 1<<12)
		read(t, bytes.NewReader(body), 1<<12)
	})
}

// list is a reply with records under names that begin with "Ref:".
func list(records ...string) []byte {
	return []byte(`<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>` +
		`<member><name>Value</name><value><struct>` + strings.Join(records, "") + `</struct></value></member></struct></value></param></params></methodResponse>`)
}

func record(id int, members ...string) string {
	return fmt.Sprintf(`<member><name>Ref:%d</name><value><struct><member><name>id</name><value>%d</value></member>`, id, id) +
		`<member><name>tags</name><value><array><data><value>a</value><value>b</value></data></array></value></member>` + strings.Join(members, "") +
		`<member><name>end</name><value><boolean>1</boolean></value></member></struct></value></member>`
}

func text(name, value string) string {
	return "<member><name>" + name + "</name><value>" + value + "</value></member>"
}

var members = scan.NewMembers("id", "tags", "end", "long")

// records goes through a list.
func records(stream io.Reader, limit int, each func(*scan.Record, error)) error {
	r := scan.NewReader(scan.NewWindow(stream, limit/64, limit), "Ref:")
	if _, err := r.Begin(); err != nil {
		return err
	}
	if _, err := r.Enter(); err != nil {
		return err
	}
	for rec := scan.NewRecord(members); ; {
		name, ok, err := r.Member()
		switch {
		case err != nil:
			return err
		case !ok:
			return r.End()
		case name != "Value":
			_, err = r.Value()
		default:
			_, err = r.Enter()
			for ok = err == nil; ok; {
				if ok, err = r.Next(rec); ok {
					each(rec, err)
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// read tells the ids of a list's records, of the whole and of the damaged ones.
func read(t *testing.T, stream io.Reader, limit int) (good, bad []string, err error) {
	t.Helper()
	err = records(stream, limit, func(rec *scan.Record, damage error) {
		id, _ := rec.Value(0).Text()
		if damage != nil {
			bad = append(bad, string(id))
			return
		}
		good = append(good, string(id))
		if end := rec.Value(2); end.Kind() == scan.Bool {
			if _, err := end.Bool(); err != nil {
				t.Logf("record %s: %v", id, err)
			}
		}
	})
	return good, bad, err
}

func TestRecordsAreReadOneByOne(t *testing.T) {
	cut := list(record(1), record(2), record(3))
	for name, c := range map[string]struct {
		body      []byte
		good, bad []string
		err       error
	}{
		"three":    {list(record(1), record(2), record(3)), []string{"1", "2", "3"}, nil, nil},
		"none":     {list(), nil, nil, nil},
		"no end":   {cut[:len(cut)-40], []string{"1", "2", "3"}, nil, scan.ErrEnds},
		"cut":      {cut[:len(cut)-300], []string{"1", "2"}, nil, scan.ErrEnds},
		"empty":    {bytes.Replace(cut, []byte("<name>Value</name><value>"), []byte("<name>Value</name><value><struct/></value></member><member><name>More</name><value>"), 1), nil, nil, nil},
		"pretty":   {bytes.ReplaceAll(cut, []byte("><"), []byte(">\n  <!-- x --><")), []string{"1", "2", "3"}, nil, nil},
		"blanks":   {bytes.ReplaceAll(cut, []byte("</name>"), []byte("</name>\r\n")), []string{"1", "2", "3"}, nil, nil},
		"no type":  {list(record(1), `<member><name>Ref:2</name><value>two</value></member>`, record(3)), []string{"1", "3"}, []string{""}, nil},
		"bad text": {list(record(1), record(2, text("name", "\xff\x01 &nope;")), record(3)), []string{"1", "2", "3"}, nil, nil},
		"broken": {
			list(record(1), record(2, "<member><name>x</name><value><struct></value></member>"), record(3)),
			[]string{"1", "3"}, []string{"2"}, nil,
		},
		"broken last": {list(record(1), record(2, "<member>")), []string{"1"}, []string{"2"}, nil},
		"broken twice": {
			list(record(1, "</struct>"), record(2, "<"), record(3)), []string{"3"}, []string{"1", "2"}, nil,
		},
		"broken, and maps like records": {
			list(record(1, "</value>", "<member><name>Ref:task</name><value>clone</value></member>", "<member><name>platform</name><value><struct></struct></value></member>"), record(2)),
			[]string{"2"}, []string{"1"}, nil,
		},
		"broken, and a text like a record": {
			list(record(1, "</value>", text("x", "<![CDATA["+record(7)+"]]>"), "<!--"+record(8)+"-->"), record(2)),
			[]string{"2"}, []string{"1"}, nil,
		},
		"broken and cut": {list(record(1, "</struct>"), record(2))[:600], nil, []string{"1"}, scan.ErrEnds},
		"too long":       {list(record(1), record(2, text("long", strings.Repeat("x", 1<<20))), record(3)), []string{"1", "3"}, []string{"2"}, nil},
		"too long, in CDATA": {
			list(record(1), record(2, text("long", "<![CDATA["+strings.Repeat("<member>", 1<<15)+record(9)+"]]>")), record(3)), []string{"1", "3"}, []string{"2"}, nil,
		},
		"too long and last": {list(record(1), record(2, text("long", strings.Repeat("x", 1<<20)))), []string{"1"}, []string{"2"}, nil},
		"too long a name":   {list(record(1), record(2, text(strings.Repeat("x", 1<<17), "y")), record(3)), []string{"1", "3"}, []string{"2"}, nil},
		"too deep": {
			list(record(1), record(2, strings.Repeat("<member><name>x</name><value><struct>", 70)+strings.Repeat("</struct></value></member>", 70)), record(3)),
			[]string{"1", "3"}, []string{"2"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, wrap := range []func(io.Reader) io.Reader{iotest.DataErrReader, iotest.HalfReader, iotest.OneByteReader} {
				good, bad, err := read(t, wrap(bytes.NewReader(c.body)), 1<<13)
				if !slices.Equal(good, c.good) || !slices.Equal(bad, c.bad) || !errors.Is(err, c.err) {
					t.Errorf("good %q, bad %q, %v; want %q, %q, %v", good, bad, err, c.good, c.bad, c.err)
				}
			}
		})
	}
}

// A record of a quarter of a gigabyte is passed over without being held.
func TestAHugeRecordIsNotHeld(t *testing.T) {
	body := list(record(1), record(2, text("long", "@")), record(3))
	before, after, _ := bytes.Cut(body, []byte("@"))
	stream := io.MultiReader(bytes.NewReader(before), io.LimitReader(endless{}, 1<<28), bytes.NewReader(after))
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	good, bad, err := read(t, stream, 1<<16)
	runtime.ReadMemStats(&end)
	if err != nil || !slices.Equal(good, []string{"1", "3"}) || !slices.Equal(bad, []string{"2"}) {
		t.Errorf("good %q, bad %q, %v", good, bad, err)
	}
	if allocated := end.TotalAlloc - start.TotalAlloc; allocated > 1<<22 {
		t.Errorf("%d bytes were allocated", allocated)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestAStreamsErrorIsTheEnd(t *testing.T) {
	broken := errors.New("broken")
	body := list(record(1), record(2))
	good, bad, err := read(t, io.MultiReader(bytes.NewReader(body[:len(body)-150]), iotest.ErrReader(broken)), 1<<13)
	if !slices.Equal(good, []string{"1"}) || bad != nil || !errors.Is(err, broken) {
		t.Errorf("good %q, bad %q, %v", good, bad, err)
	}
}

// parse is the value that stands between <value> and </value>.
func parse(in string) (scan.Value, error) {
	v, _, err := scan.ParseReply([]byte("<methodResponse><params><param><value>" + in + "</value></param></params></methodResponse>"))
	return v, err
}

func TestScalars(t *testing.T) {
	for in, want := range map[string]any{
		"12": int64(12), "<i4>-7</i4>": int64(-7), " 9223372036854775807 ": int64(9223372036854775807), "<i8> 5</i8>": int64(5),
		"<boolean>1</boolean>": true, "<boolean>false</boolean>": false, "<double>1.5</double>": 1.5, "2.25": 2.25,
		"a &amp; b": "a & b", "<string> x </string>": " x ", "<![CDATA[<a>]]>": "<a>", "&#x1F600;é": "😀é", "": "", "<string/>": "",
		"<dateTime.iso8601>20230102T03:04:05Z</dateTime.iso8601>": "2023-01-02T03:04:05Z",
	} {
		v, err := parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		var got any
		switch want.(type) {
		case int64:
			got, err = v.Int()
		case bool:
			got, err = v.Bool()
		case float64:
			got, err = v.Float()
		case string:
			if v.Kind() == scan.DateTime {
				at, timeErr := v.Time()
				got, err = at.Format("2006-01-02T15:04:05Z07:00"), timeErr
				break
			}
			b, textErr := v.Text()
			got, err = string(b), textErr
		}
		if err != nil || got != want {
			t.Errorf("%s is %v (%v), want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"x", "", "1 2", "0x10", "1e3", "9223372036854775808", "<boolean>1</boolean>", "<nil/>", "1_000"} {
		v, err := parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := v.Int(); err == nil {
			t.Errorf("%s is the number %d", in, n)
		}
	}
	for _, in := range []string{"a\x01", "\xff", "&nope;", "&#0;", "\ufffe"} {
		v, err := parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := v.Text(); err == nil {
			t.Errorf("%q is the text %q", in, b)
		}
	}
	for _, in := range []string{"<int>1</i4>", "<float>1</float>", "<struct>", "<array></array>", "<i4>1</i4>x", "<struct></struct", "<!DOCTYPE x>", "<", "<i4><i4>1</i4></i4>"} {
		if v, err := parse(in); err == nil {
			t.Errorf("%q is a value of type %s", in, v.Kind())
		}
	}
}

func TestMembersAreFoundByTheirNames(t *testing.T) {
	names := []string{"", "a", "b", "ab", "ba", "memory_static_max", "memory_static_min", "memory_dynamic_max", "memory_dynamic_min", "a-name-of-exactly-that-length-1", "a-name-of-exactly-that-length-2"}
	table := scan.NewMembers(names...)
	for slot, name := range names {
		rec := scan.NewRecord(table)
		v, err := parse("<struct>" + text("other", "0") + text(name, "1") + text(name, "2") + "</struct>")
		if err != nil {
			t.Fatal(err)
		}
		if err := rec.Parse(v); err != nil {
			t.Fatal(err)
		}
		for i := range names {
			got, _ := rec.Value(i).Text()
			if want := map[bool]string{true: "1"}[i == slot]; string(got) != want {
				t.Errorf("%q: member %q is %q, want %q", name, names[i], got, want)
			}
		}
	}
}
