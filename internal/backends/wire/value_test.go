package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

// wrap is a reply whose one param is text, a whole <value>.
func wrap(text string) []byte {
	return []byte("<?xml version=\"1.0\"?>\r\n<methodResponse><params><param>" + text + "</param></params></methodResponse>\r\n")
}

func value(t testing.TB, text string) scan.Value {
	t.Helper()
	v, err := reply(wrap(text)).Value()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestAny(t *testing.T) {
	day := time.Date(2026, 11, 22, 10, 33, 19, 0, time.UTC)
	for text, want := range map[string]any{
		`<value> a  b </value>`:                                                  " a  b ",
		`<value>   </value>`:                                                     "   ",
		"<value>\r\n</value>":                                                    "\r\n",
		`<value></value>`:                                                        "",
		`<value/>`:                                                               "",
		`<value />`:                                                              "",
		`<value><string/></value>`:                                               "",
		`<value><string></string></value>`:                                       "",
		`<value> <string> a </string> </value>`:                                  " a ",
		"<value\n ><string\t>a</string ></value >":                               "a",
		`<value x="1>2" y='"'>a</value>`:                                         "a",
		`<value>&lt;&gt;&amp;&quot;&apos;</value>`:                               `<>&"'`,
		`<value>&amp;lt;</value>`:                                                "&lt;",
		`<value>&#65;&#x42;&#x1F600;&#13;&#xD;&#9;</value>`:                      "AB😀\r\r\t",
		`<value>&#0000000000000000065;</value>`:                                  "A",
		"<value>a\r\nb\rc</value>":                                               "a\r\nb\rc",
		`<value><![CDATA[<a>&amp;]]&gt;]]></value>`:                              "<a>&amp;]]&gt;",
		`<value><![CDATA[]]]]><![CDATA[>]]></value>`:                             "]]>",
		`<value><string>a<![CDATA[b]]>c<!-- d -->e<?f g?>h</string></value>`:     "abceh",
		`<value>a<!-- </value> -->b</value>`:                                     "ab",
		`<value><!-- a --><i4>1</i4><!-- b --></value>`:                          int64(1),
		`<value><int>-7</int></value>`:                                           int64(-7),
		`<value><i4> 7 </i4></value>`:                                            int64(7),
		`<value><i8>-9223372036854775808</i8></value>`:                           int64(math.MinInt64),
		`<value><ex:i8>8</ex:i8></value>`:                                        int64(8),
		`<value><boolean>1</boolean></value>`:                                    true,
		`<value><boolean>0</boolean></value>`:                                    false,
		`<value><double>1.5</double></value>`:                                    1.5,
		`<value><double>-1.</double></value>`:                                    -1.0,
		`<value><double>1e-7</double></value>`:                                   1e-7,
		`<value><double>inf</double></value>`:                                    math.Inf(1),
		`<value><double>-Infinity</double></value>`:                              math.Inf(-1),
		`<value><dateTime.iso8601>20261122T10:33:19Z</dateTime.iso8601></value>`: day,
		`<value><nil/></value>`:                                                  nil,
		`<value><nil></nil></value>`:                                             nil,
		`<value><ex:nil/></value>`:                                               nil,
		`<value><array><data/></array></value>`:                                  []any{},
		`<value><array><data></data></array></value>`:                            []any{},
		`<value><array><data><value/><value></value><value>a</value></data></array></value>`: []any{"", "", "a"},
		`<value><struct/></value>`:         map[string]any{},
		`<value><struct></struct></value>`: map[string]any{},
		`<value><struct><member><name>a&amp;</name><value></value></member><member><name/><value><struct><member><name> </name><value><array><data><value><i4>1</i4></value></data></array></value></member></struct></value></member><member><name>z</name><value/></member></struct></value>`: map[string]any{
			"a&": "", "": map[string]any{" ": []any{int64(1)}}, "z": ""},
		`<value><struct><member><name>a</name><value>1</value></member><member><name>a</name><value>2</value></member></struct></value>`: map[string]any{"a": "1"},
	} {
		got, err := anyOf(value(t, text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v %v, want %#v", text, got, err, want)
		}
	}
}

func TestScalarsInOtherForms(t *testing.T) {
	if n, err := value(t, `<value> -5 </value>`).Int(); n != -5 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	for text, check := range map[string]func(float64) bool{
		"nan": math.IsNaN, "NaN": math.IsNaN, "-nan": math.IsNaN,
		"inf":       func(f float64) bool { return math.IsInf(f, 1) },
		"Infinity":  func(f float64) bool { return math.IsInf(f, 1) },
		"-inf":      func(f float64) bool { return math.IsInf(f, -1) },
		"-INFINITY": func(f float64) bool { return math.IsInf(f, -1) },
		"3":         func(f float64) bool { return f == 3 },
	} {
		for _, form := range []string{"<value><double>%s</double></value>", "<value>%s</value>"} {
			f, err := value(t, fmt.Sprintf(form, text)).Float()
			if err != nil || !check(f) {
				t.Errorf("%s: %v %v", text, f, err)
			}
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 33, 19, 0, time.UTC)
	half := at.Add(500 * time.Millisecond)
	for text, want := range map[string]time.Time{
		"20261122T10:33:19Z":            at,
		"20261122T10:33:19":             at,
		"20261122T103319Z":              at,
		"20261122T103319":               at,
		"2026-11-22T10:33:19Z":          at,
		"2026-11-22T10:33:19":           at,
		"2026-11-22T12:33:19+02:00":     at,
		"2026-11-22T12:33:19+0200":      at,
		"2026-11-22T12:33:19+02":        at,
		"20261122T05:03:19-05:30":       at,
		"20261122T10:33:19.5Z":          half,
		"20261122T10:33:19.500":         half,
		"2026-11-22T10:33:19.500000Z":   half,
		"2026-11-22T11:33:19.500+01:00": half,
		" 20261122T10:33:19Z ":          at,
		"19700101T00:00:00Z":            time.Unix(0, 0).UTC(),
	} {
		for _, form := range []string{"<value><dateTime.iso8601>%s</dateTime.iso8601></value>", "<value>%s</value>"} {
			got, err := value(t, fmt.Sprintf(form, text)).Time()
			if err != nil || !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("%s: %v %v, want %v", text, got, err, want)
			}
		}
	}
}

// TestWrongScalars: each is asked for as its own type, and is an error that does not tell its text.
func TestWrongScalars(t *testing.T) {
	for text, ask := range map[string]func(scan.Value) error{
		`<value><int>` + sealed + `</int></value>`:                                   anyError,
		`<value><int/></value>`:                                                      anyError,
		`<value><int>1_0</int></value>`:                                              anyError,
		`<value><int>0x10</int></value>`:                                             anyError,
		`<value><i8>9223372036854775808</i8></value>`:                                anyError,
		`<value><int>1.0</int></value>`:                                              anyError,
		`<value><boolean>2</boolean></value>`:                                        anyError,
		`<value><boolean>TRUE</boolean></value>`:                                     anyError,
		`<value><double>` + sealed + `</double></value>`:                             anyError,
		`<value><double>0x1p4</double></value>`:                                      anyError,
		`<value><double>1e999</double></value>`:                                      anyError,
		`<value><double></double></value>`:                                           anyError,
		`<value><dateTime.iso8601>20261322T10:33:19Z</dateTime.iso8601></value>`:     anyError,
		`<value><dateTime.iso8601>20261122</dateTime.iso8601></value>`:               anyError,
		`<value><dateTime.iso8601>` + sealed + `</dateTime.iso8601></value>`:         anyError,
		`<value>` + sealed + `&nbsp;</value>`:                                        anyError,
		`<value>&` + sealed + `</value>`:                                             anyError,
		`<value>&#0;</value>`:                                                        anyError,
		`<value>&#1;</value>`:                                                        anyError,
		`<value>&#xD800;</value>`:                                                    anyError,
		`<value>&#xFFFE;</value>`:                                                    anyError,
		`<value>&#x110000;</value>`:                                                  anyError,
		`<value>&#;</value>`:                                                         anyError,
		`<value>&#x;</value>`:                                                        anyError,
		`<value>&#-1;</value>`:                                                       anyError,
		`<value>&#+1;</value>`:                                                       anyError,
		`<value>&#1_0;</value>`:                                                      anyError,
		`<value>&#X41;</value>`:                                                      anyError,
		"<value>" + sealed + "\x01</value>":                                          anyError,
		"<value>" + sealed + "\xff</value>":                                          anyError,
		"<value><![CDATA[\x01]]></value>":                                            anyError,
		`<value><struct><member><name>&x;</name><value/></member></struct></value>`:  anyError,
		`<value><array><data><value><int>a</int></value></data></array></value>`:     anyError,
		`<value><boolean>1</boolean></value>`:                                        func(v scan.Value) error { _, err := v.Int(); return err },
		`<value><int>1</int></value>`:                                                func(v scan.Value) error { _, err := v.Text(); return err },
		`<value><int>2</int></value>`:                                                func(v scan.Value) error { _, err := v.Bool(); return err },
		`<value>true</value>`:                                                        func(v scan.Value) error { _, err := v.Bool(); return err },
		`<value><array><data/></array></value>`:                                      func(v scan.Value) error { _, _, err := v.Member("a"); return err },
		`<value><int>4</int></value>`:                                                func(v scan.Value) error { _, err := v.Time(); return err },
		`<value><struct/></value>`:                                                   itemsError,
		`<value>b</value>`:                                                           membersError,
		`<value><struct><member><name>a</name><value/></member></struct></value>`:    func(v scan.Value) error { _, err := v.Float(); return err },
		`<value><struct><member><name>&#1;</name><value/></member></struct></value>`: func(v scan.Value) error { _, _, err := v.Member("a"); return err },
	} {
		if err := ask(value(t, text)); err == nil || strings.Contains(err.Error(), sealed) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var zero scan.Value
	for _, ask := range []func(scan.Value) error{anyError, itemsError, membersError} {
		if ask(zero) == nil {
			t.Error("the zero value has something in it")
		}
	}
	if zero.Kind() != scan.Invalid || zero.Body() != nil {
		t.Error("the zero value is something")
	}
}

func anyError(v scan.Value) error { _, err := anyOf(v); return err }

func itemsError(v scan.Value) error { return partsError(v, scan.Array) }

func membersError(v scan.Value) error { return partsError(v, scan.Struct) }

func partsError(v scan.Value, k scan.Kind) error {
	p := v.Parts(k)
	for p.Next() {
	}
	return p.Err()
}

// anyOf is a value, down to its last level, in Go's types: those that a call's arguments may have. Of
// members with the same name the first counts.
func anyOf(v scan.Value) (any, error) {
	switch v.Kind() {
	case scan.String:
		text, err := v.Text()
		return string(text), err
	case scan.Int:
		return v.Int()
	case scan.Bool:
		return v.Bool()
	case scan.Double:
		return v.Float()
	case scan.DateTime:
		return v.Time()
	case scan.Base64:
		text, err := scan.Content(v.Body(), false)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(string(text))
	case scan.Nil:
		return nil, nil
	case scan.Array:
		return anyItems(v)
	case scan.Struct:
		return anyMembers(v)
	}
	return nil, errors.New("no value")
}

func anyItems(v scan.Value) (any, error) {
	items := []any{}
	p := v.Parts(scan.Array)
	for p.Next() {
		item, err := anyOf(p.Value)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, p.Err()
}

func anyMembers(v scan.Value) (any, error) {
	members := map[string]any{}
	p := v.Parts(scan.Struct)
	for p.Next() {
		member, err := anyOf(p.Value)
		if err != nil {
			return nil, err
		}
		if _, twice := members[string(p.Name)]; !twice {
			members[string(p.Name)] = member
		}
	}
	return members, p.Err()
}

func TestMalformedReplies(t *testing.T) {
	nest := func(n int) string {
		return strings.Repeat("<value><array><data>", n) + strings.Repeat("</data></array></value>", n)
	}
	if _, err := anyOf(value(t, nest(scan.MaxDepth))); err != nil {
		t.Errorf("%d levels: %v", scan.MaxDepth, err)
	}
	for name, body := range map[string]string{
		"65 levels":           string(wrap(nest(scan.MaxDepth + 1))),
		"a million levels":    string(wrap(nest(1e6))),
		"no param":            `<methodResponse><params></params></methodResponse>`,
		"empty params":        `<methodResponse><params/></methodResponse>`,
		"two params":          `<methodResponse><params><param><value/></param><param><value/></param></params></methodResponse>`,
		"two values":          string(wrap(`<value/><value/>`)),
		"a call":              `<methodCall><methodName>a</methodName></methodCall>`,
		"something after":     string(wrap(`<value/>`)) + sealed,
		"a second reply":      string(wrap(`<value/>`)) + string(wrap(`<value/>`)),
		"text before":         sealed + string(wrap(`<value/>`)),
		"text in params":      `<methodResponse><params>` + sealed + `<param><value/></param></params></methodResponse>`,
		"crossed tags":        string(wrap(`<value><int>1</value></int>`)),
		"another end tag":     string(wrap(`<value><int>1</i4></value>`)),
		"an unknown type":     string(wrap(`<value><` + sealed + `>1</` + sealed + `></value>`)),
		"two types":           string(wrap(`<value><int>1</int><int>2</int></value>`)),
		"text beside a type":  string(wrap(`<value>a<int>1</int></value>`)),
		"an element inside":   string(wrap(`<value><string>a<b/></string></value>`)),
		"array without data":  string(wrap(`<value><array></array></value>`)),
		"empty array tag":     string(wrap(`<value><array/></value>`)),
		"two data":            string(wrap(`<value><array><data/><data/></array></value>`)),
		"text in data":        string(wrap(`<value><array><data>` + sealed + `</data></array></value>`)),
		"member without name": string(wrap(`<value><struct><member><value/></member></struct></value>`)),
		"empty member":        string(wrap(`<value><struct><member/></struct></value>`)),
		"value first":         string(wrap(`<value><struct><member><value/><name>a</name></member></struct></value>`)),
		"value in struct":     string(wrap(`<value><struct><value/></struct></value>`)),
		"member in array":     string(wrap(`<value><array><data><member><name>a</name><value/></member></data></array></value>`)),
		"a bare <":            string(wrap(`<value>a < b</value>`)),
		"a doctype":           `<!DOCTYPE a [<!ENTITY b "c">]>` + string(wrap(`<value>&b;</value>`)),
		"an unquoted <":       string(wrap(`<value a="<">b</value>`)),
		"end tag attribute":   string(wrap(`<value>b</value a="1">`)),
		"a slash in a tag":    string(wrap(`<value/a>`)),
		"control in a tag":    string(wrap("<value \x01></value>")),
		"fault without code":  `<methodResponse><fault><value><struct><member><name>faultString</name><value>` + sealed + `</value></member></struct></value></fault></methodResponse>`,
		"fault as text":       `<methodResponse><fault><value>` + sealed + `</value></fault></methodResponse>`,
		"fault with bad code": `<methodResponse><fault><value><struct><member><name>faultCode</name><value>` + sealed + `</value></member><member><name>faultString</name><value/></member></struct></value></fault></methodResponse>`,
		"utf-16":              "\xff\xfe<\x00m\x00",
	} {
		t.Run(name, func(t *testing.T) {
			r := reply([]byte(body))
			_, err := r.Value()
			if e := failure(t, err); e.Kind != Malformed || !e.Sent {
				t.Error(e)
			}
		})
	}
}

// TestTruncatedReplies cuts real replies after each of their bytes.
func TestTruncatedReplies(t *testing.T) {
	for _, r := range load(t, "testdata/*.json") {
		body := strings.TrimRight(r.Response, "\r\n")
		if r.Status != 200 || r.cut || len(body) > 4000 || !strings.HasSuffix(body, "</methodResponse>") {
			continue
		}
		for n := range body {
			_, err := reply([]byte(body[:n])).Value()
			if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Cut {
				t.Errorf("%s after %d bytes: %v", r.file, n, err)
			}
		}
	}
}

func TestFault(t *testing.T) {
	for _, code := range []string{"int", "i4", "i8"} {
		_, err := reply([]byte(`<methodResponse><fault><value><struct>` +
			`<member><name>faultCode</name><value><` + code + `>-503</` + code + `></value></member>` +
			`<member><name>faultString</name><value><string>` + sealed + ` &amp; more</string></value></member>` +
			`</struct></value></fault></methodResponse>`)).Value()
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.Code != -503 || f.Text != sealed+" & more" || f.Method != "test" {
			t.Fatalf("%s: %#v", code, err)
		}
		if f.Error() != "test: fault -503" {
			t.Errorf("%q", f.Error())
		}
	}
}

func TestMember(t *testing.T) {
	v := value(t, `<value><struct><member><name>a</name><value><struct><member><name>b&lt;</name><value>x</value></member></struct></value></member>`+
		`<member><name>c</name><value><array><data><value><struct/></value><value> y </value></data></array></value></member></struct></value>`)
	a, ok, err := v.Member("a")
	if !ok || err != nil || a.Kind() != scan.Struct {
		t.Fatal(a.Kind(), ok, err)
	}
	b, ok, err := a.Member("b<")
	if !ok || err != nil || string(b.Body()) != "x" {
		t.Fatal(string(b.Body()), ok, err)
	}
	if _, ok, err := a.Member("c"); ok || err != nil {
		t.Error(ok, err)
	}
	c, _, err := v.Member("c")
	if err != nil {
		t.Fatal(err)
	}
	if want := `<value><struct/></value><value> y </value>`; string(c.Body()) != want {
		t.Errorf("%s, want %s", c.Body(), want)
	}
	var kinds []scan.Kind
	items := c.Parts(scan.Array)
	for items.Next() {
		kinds = append(kinds, items.Value.Kind())
	}
	if !reflect.DeepEqual(kinds, []scan.Kind{scan.Struct, scan.String}) || items.Err() != nil {
		t.Error(kinds, items.Err())
	}
}
