package onesim

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Fault codes of xmlrpc-c, as oned sends them (HTTP status 200).
const (
	faultInternal = -500 // the reply cannot be encoded
	faultType     = -501 // wrong type of a parameter, or too few
	faultIndex    = -502 // system.* with the wrong number of parameters
	faultParse    = -503 // not XML, not XML-RPC, or a character outside the basic plane
	faultNoMethod = -506
)

const maxNesting = 64 // XMLRPC_NESTING_LIMIT of xmlrpc-c

// fault is an XML-RPC fault; as an error it also ends the decoding of a request.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return fmt.Sprintf("fault %d: %s", f.code, f.text) }

func parseFault(format string, a ...any) *fault {
	return &fault{faultParse, "Call XML not a proper XML-RPC call.  " + fmt.Sprintf(format, a...)}
}

// Values of a request and of a reply: string, int (i4), int64 (i8), bool, float64, nil, []any, []member, and
// opaque for the types that no method of oned accepts.
type (
	member struct {
		name  string
		value any
	}
	opaque struct{ kind string }
)

type request struct {
	method string
	params []any
}

var entityDecl = regexp.MustCompile(`<!ENTITY\s+(\w+)\s+(?:"([^"]*)"|'([^']*)'|SYSTEM\b[^>]*)\s*>`)

// decodeRequest reads a methodCall as strictly as xmlrpc-c 1.33 over expat does.
func decodeRequest(body []byte) (*request, error) {
	body, err := toUTF8(body)
	if err != nil {
		return nil, err
	}
	p := &parser{d: xml.NewDecoder(bytes.NewReader(body)), size: len(body)}
	p.d.CharsetReader = charset
	root, err := p.root()
	if err != nil {
		return nil, err
	}
	return p.call(root)
}

// toUTF8 turns UTF-16 with a byte order mark into UTF-8, as expat does. A UTF-8 mark is refused by xmlrpc-c.
func toUTF8(b []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		return nil, parseFault("Call is not valid XML.  not well-formed")
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	default:
		return b, nil
	}
	u := make([]uint16, 0, len(b)/2)
	for b = b[2:]; len(b) > 1; b = b[2:] {
		u = append(u, order.Uint16(b))
	}
	return []byte(string(utf16.Decode(u))), nil
}

func charset(name string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "utf-8", "us-ascii", "utf-16": // a UTF-16 body is UTF-8 by now
		return in, nil
	case "iso-8859-1":
		raw, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		var out strings.Builder
		for _, c := range raw {
			out.WriteRune(rune(c))
		}
		return strings.NewReader(out.String()), nil
	}
	return nil, fmt.Errorf("unknown encoding %q", name)
}

type elem struct {
	name string
	text string
	kids []*elem
}

func (e *elem) kid(name string) *elem {
	for _, k := range e.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

type parser struct {
	d    *xml.Decoder
	size int
}

// root reads the whole document into elements.
func (p *parser) root() (*elem, error) {
	var stack []*elem
	var root *elem
	for {
		tok, err := p.d.RawToken()
		if errors.Is(err, io.EOF) && root != nil && len(stack) == 0 {
			return root, nil
		}
		if err != nil {
			return nil, p.notXML(err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			p.entities(string(t))
		case xml.StartElement:
			e := &elem{name: t.Name.Local}
			if len(stack) == 0 {
				if root != nil {
					return nil, parseFault("Call is not valid XML.  junk after document element")
				}
				root = e
			} else {
				top := stack[len(stack)-1]
				top.kids = append(top.kids, e)
			}
			stack = append(stack, e)
		case xml.EndElement:
			if len(stack) == 0 || stack[len(stack)-1].name != t.Name.Local {
				return nil, parseFault("Call is not valid XML.  mismatched tag")
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, parseFault("Call is not valid XML.  syntax error")
			}
		}
	}
}

func (p *parser) notXML(err error) error {
	var syntax *xml.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, io.EOF) {
		return parseFault("Call is not valid XML.  %v", err)
	}
	text := "no element found"
	if syntax != nil {
		text = syntax.Msg
	}
	return parseFault(`Call is not valid XML.  Invalid XML "content".  %s`, text)
}

// entities takes the internal general entities of a DOCTYPE; an external one is empty, as in oned.
func (p *parser) entities(doctype string) {
	for _, m := range entityDecl.FindAllStringSubmatch("<!"+doctype+">", -1) {
		if p.d.Entity == nil {
			p.d.Entity = map[string]string{}
		}
		p.d.Entity[m[1]] = m[2] + m[3]
	}
}

func (p *parser) call(root *elem) (*request, error) {
	if root.name != "methodCall" {
		return nil, parseFault("XML-RPC call should be a <methodCall> element.  Instead, we have a <%s> element.", root.name)
	}
	name := root.kid("methodName")
	if name == nil {
		return nil, parseFault("Expected <methodName> child")
	}
	r := &request{method: name.text}
	params := root.kid("params")
	if params == nil {
		return r, nil
	}
	for _, k := range params.kids {
		v := k.kid("value")
		if k.name != "param" || v == nil {
			return nil, parseFault("<params> must hold <param> elements with one <value> each")
		}
		x, err := value(v, 0)
		if err != nil {
			return nil, err
		}
		r.params = append(r.params, x)
	}
	return r, nil
}

func value(e *elem, depth int) (any, error) {
	if depth > maxNesting {
		return nil, parseFault("Nested data structure too deep.")
	}
	if len(e.kids) == 0 {
		return text(e.text)
	}
	if len(e.kids) > 1 {
		return nil, parseFault("<value> has %d child elements. Only zero or one make sense.", len(e.kids))
	}
	k := e.kids[0]
	switch k.name {
	case "string":
		return text(k.text)
	case "int", "i4":
		return integer(k.text, 32)
	case "i8", "ex:i8":
		return integer(k.text, 64)
	case "boolean":
		return boolean(k.text)
	case "double":
		f, err := strconv.ParseFloat(k.text, 64)
		if err != nil {
			return nil, parseFault("<double> element value contains an invalid number: '%s'", k.text)
		}
		return f, nil
	case "nil":
		return nil, nil
	case "array":
		return array(k, depth)
	case "struct":
		return structure(k, depth)
	case "dateTime.iso8601", "base64":
		return opaque{k.name}, nil
	}
	return nil, parseFault("Unknown value type -- XML element is named <%s>", k.name)
}

func integer(s string, bits int) (any, error) {
	if s == "" {
		return nil, parseFault("<int> XML element content is empty")
	}
	if s[0] == ' ' || s[0] == '\t' || s[0] == '\n' || s[0] == '\r' {
		return nil, parseFault("<int> content '%s' starts with white space", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return nil, parseFault("<int> value %s is out of range", s)
	case err != nil:
		return nil, parseFault("<int> content '%s' is not a number", s)
	case bits == 64:
		return n, nil
	case n > 1<<31-1:
		return nil, parseFault("<int> value %d is above the range allowed by XML-RPC (maximum is 2147483647)", n)
	case n < -1<<31:
		return nil, parseFault("<int> value %d is below the range allowed by XML-RPC (minimum is -2147483648)", n)
	}
	return int(n), nil
}

func boolean(s string) (any, error) {
	if s != "0" && s != "1" {
		return nil, parseFault("<boolean> XML element content must be either '0' or '1' according to XML-RPC.  This one has '%s'", s)
	}
	return s == "1", nil
}

func array(e *elem, depth int) (any, error) {
	data := e.kid("data")
	if data == nil {
		return nil, parseFault("<array> XML element has no <data> child")
	}
	out := []any{}
	for _, k := range data.kids {
		v, err := value(k, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func structure(e *elem, depth int) (any, error) {
	out := []member{}
	for _, k := range e.kids {
		name, v := k.kid("name"), k.kid("value")
		if k.name != "member" || name == nil || v == nil {
			return nil, parseFault("<struct> must hold <member> elements with <name> and <value>")
		}
		x, err := value(v, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, member{name.text, x})
	}
	return out, nil
}

// text refuses what xmlrpc-c refuses in a string. encoding/xml has checked the rest.
func text(s string) (any, error) {
	if why := notPlain(s); why != "" {
		return nil, parseFault("%s", why)
	}
	return s, nil
}

// notPlain tells why xmlrpc-c cannot carry s, in its words; "" if it can.
func notPlain[T string | []byte](s T) string {
	if i := notPlainAt(s); i >= 0 {
		return notPlainText(len(s), s[i])
	}
	return ""
}

func notPlainAt[T string | []byte](s T) int {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0xf0 {
			return i
		}
	}
	return -1
}

func notPlainText(length int, first byte) string {
	return fmt.Sprintf("%d-byte supposed UTF-8 string is not valid UTF-8.  "+
		"UTF-8 string contains a character not in the Basic Multilingual Plane (first byte 0xffffff%x)", length, first) // sign-extended there, so here
}

// encodeReply renders a methodResponse as xmlrpc-c does: CR LF, i4, no indentation.
func encodeReply(v any) part {
	if f, ok := v.(*fault); ok {
		return encodeFault(f)
	}
	if s, bad := findNotPlain(v); bad {
		return encodeFault(&fault{faultInternal, "Unexpected error executing code for particular method, detected by " +
			"Xmlrpc-c method registry code.  Method did not fail; rather, it did not complete at all.  " + s})
	}
	var e encoder
	e.text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodResponse>\r\n<params>\r\n<param>")
	e.value(v)
	e.text("</param>\r\n</params>\r\n</methodResponse>\r\n")
	return append(e.done, literal(e.b))
}

func encodeFault(f *fault) part {
	var e encoder
	e.text("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodResponse>\r\n<fault>\r\n")
	e.value(faultStruct(f))
	e.text("\r\n</fault>\r\n</methodResponse>\r\n")
	return literal(e.b)
}

func faultStruct(f *fault) []member {
	return []member{{"faultCode", f.code}, {"faultString", f.text}}
}

// encoder writes values one after the other; documents stand among its bytes as they are.
type encoder struct {
	done parts
	b    []byte // what comes after done
}

func (e *encoder) text(s string) { e.b = append(e.b, s...) }

func (e *encoder) value(v any) {
	e.text("<value>")
	switch v := v.(type) {
	case string:
		e.text("<string>")
		e.b = appendEscaped(e.b, v)
		e.text("</string>")
	case []byte:
		e.text("<string>")
		e.b = appendEscaped(e.b, v)
		e.text("</string>")
	case *document:
		e.text("<string>")
		e.done, e.b = append(e.done, literal(e.b), v), nil
		e.text("</string>")
	case int:
		e.b = append(strconv.AppendInt(append(e.b, "<i4>"...), int64(v), 10), "</i4>"...)
	case int64:
		e.b = append(strconv.AppendInt(append(e.b, "<i8>"...), v, 10), "</i8>"...)
	case bool:
		if v {
			e.text("<boolean>1</boolean>")
		} else {
			e.text("<boolean>0</boolean>")
		}
	case []any:
		e.array(v)
	case []member:
		e.structure(v)
	}
	e.text("</value>")
}

func (e *encoder) array(v []any) {
	e.text("<array><data>\r\n")
	for _, x := range v {
		e.value(x)
		e.text("\r\n")
	}
	e.text("</data></array>")
}

func (e *encoder) structure(v []member) {
	e.text("<struct>\r\n")
	for _, m := range v {
		e.text("<member><name>")
		e.b = appendEscaped(e.b, m.name)
		e.text("</name>\r\n")
		e.value(m.value)
		e.text("</member>\r\n")
	}
	e.text("</struct>")
}

// appendEscaped escapes as xmlrpc-c does: < > & and CR, nothing else.
func appendEscaped[T string | []byte](b []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		var esc string
		switch s[i] {
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '&':
			esc = "&amp;"
		case '\r':
			esc = "&#x0d;"
		default:
			continue
		}
		b = append(append(b, s[from:i]...), esc...)
		from = i + 1
	}
	return append(b, s[from:]...)
}

func findNotPlain(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		s := notPlain(v)
		return s, s != ""
	case []byte:
		s := notPlain(v)
		return s, s != ""
	case *document:
		if v.poison != 0 {
			return notPlainText(v.raw, v.poison), true
		}
	case []any:
		for _, x := range v {
			if s, bad := findNotPlain(x); bad {
				return s, true
			}
		}
	}
	return "", false
}
