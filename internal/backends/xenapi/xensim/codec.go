package xensim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Values in the database, in arguments and in replies:
//
//	string, int64, bool, float64, time.Time   as their names say; an int64 is sent as a decimal string
//	[]string, []any                           arrays
//	record                                    a struct, its members in order; also every map
//	counter                                   the one int that is sent as <i4>, in event.from
//	localTime                                 a date without a zone, of host.get_server_localtime
//	void                                      nothing, sent as an empty value
//	base64Text, dateText, nilValue            only in arguments
type (
	record []member
	member struct {
		Name  string
		Value any
	}
	counter    int
	localTime  string
	void       struct{}
	base64Text string
	dateText   string
	nilValue   struct{}
)

const dateLayout = "20060102T15:04:05Z"

func (r record) get(name string) (any, bool) {
	for _, m := range r {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

func (r record) text(name string) string {
	v, _ := r.get(name)
	s, _ := v.(string)
	return s
}

// with is a copy of r that has name set to v; records are shared, never changed in place.
func (r record) with(name string, v any) record {
	out := make(record, 0, len(r)+1)
	found := false
	for _, m := range r {
		if m.Name == name {
			m.Value, found = v, true
		}
		out = append(out, m)
	}
	if !found {
		out = slices.Insert(out, 0, member{name, v}) // where xapi's lists grow
	}
	return out
}

func (r record) without(name string) record {
	out := make(record, 0, len(r))
	for _, m := range r {
		if m.Name != name {
			out = append(out, m)
		}
	}
	return out
}

func appendText(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); i++ {
		var esc string
		switch s[i] {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '"':
			esc = "&quot;"
		default:
			continue
		}
		b = append(append(b, s[start:i]...), esc...)
		start = i + 1
	}
	return append(b, s[start:]...)
}

func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// encoder writes values one after the other; parts stand among its bytes as they are.
type encoder struct {
	done parts
	b    []byte // what comes after done
}

func (e *encoder) text(s string) { e.b = append(e.b, s...) }

func (e *encoder) part(p part) {
	e.done = append(e.done, literal(e.b), p)
	e.b = e.b[len(e.b):] // the next bytes go behind those, which nobody changes
}

func (e *encoder) whole() part { return append(e.done, literal(e.b)) }

// value writes v the way xapi does: strings and ints without a type tag.
func (e *encoder) value(v any) {
	e.text("<value>")
	switch v := v.(type) {
	case part:
		e.part(v)
	case []any:
		e.text("<array><data>")
		for _, x := range v {
			e.value(x)
		}
		e.text("</data></array>")
	case record:
		e.text("<struct>")
		for _, m := range v {
			e.text("<member><name>")
			e.b = appendText(e.b, m.Name)
			e.text("</name>")
			e.value(m.Value)
			e.text("</member>")
		}
		e.text("</struct>")
	default:
		e.b = appendPlain(e.b, v)
	}
	e.text("</value>")
}

// appendValue is for values without a part in them.
func appendValue(b []byte, v any) []byte {
	e := encoder{b: b}
	e.value(v)
	return e.b
}

// appendPlain writes what holds no other values.
func appendPlain(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		if v {
			return append(b, "<boolean>1</boolean>"...)
		}
		return append(b, "<boolean>0</boolean>"...)
	case float64:
		return append(append(append(b, "<double>"...), formatFloat(v)...), "</double>"...)
	case time.Time:
		return append(v.UTC().AppendFormat(append(b, "<dateTime.iso8601>"...), dateLayout), "</dateTime.iso8601>"...)
	case localTime:
		return append(append(append(b, "<dateTime.iso8601>"...), v...), "</dateTime.iso8601>"...)
	case counter:
		return append(strconv.AppendInt(append(b, "<i4>"...), int64(v), 10), "</i4>"...)
	case []string:
		b = append(b, "<array><data>"...)
		for _, e := range v {
			b = append(appendText(append(b, "<value>"...), e), "</value>"...)
		}
		return append(b, "</data></array>"...)
	}
	return b
}

const (
	replyHead = `<?xml version="1.0"?><methodResponse><params><param>`
	replyTail = `</param></params></methodResponse>`
)

func encodeReply(v any) part {
	var e encoder
	e.text(replyHead)
	e.value(v)
	e.text(replyTail)
	return e.whole()
}

func encodeSuccess(v any) part {
	return encodeReply(record{{"Status", "Success"}, {"Value", v}})
}

func encodeFailure(f *Failure) part {
	return encodeReply(record{{"Status", "Failure"}, {"ErrorDescription", append([]string{f.Code}, f.Params...)}})
}

// methodCall is a decoded request.
type methodCall struct {
	method string
	params []any
}

// xmlError is a refusal of the XML itself, shown in the HTML page of a 500.
func xmlError(line, col int, format string, args ...any) error {
	return fmt.Errorf("Xmlm.Error(%d:%d, %s)", line, col, `"`+fmt.Sprintf(format, args...)+`"`)
}

func parseError(got, want string) error {
	return fmt.Errorf("Xmlrpc.Parse_error(%q, %q, _)", got, want)
}

var errDepth = errors.New("Stack_overflow")

const maxDepth = 200

type tokenKind int

const (
	tokenEnd tokenKind = iota // end of input
	tokenOpen
	tokenClose
	tokenText
)

type token struct {
	kind tokenKind
	text string // tag name, or character data
}

func (t token) String() string {
	switch t.kind {
	case tokenOpen:
		return "open_tag(" + t.text + ")"
	case tokenClose:
		return "close_tag"
	case tokenText:
		return "data"
	}
	return "eof"
}

// scanner cuts a request into tags and text. It knows the XML that xapi accepts: no entities but the
// five built-in ones, a doctype only to skip it, comments and CDATA anywhere.
type scanner struct {
	in     string
	pos    int
	open   []string
	queued *token
}

// newScanner checks the characters and normalises line ends, as an XML reader has to before anything else.
func newScanner(body []byte) (*scanner, error) {
	latin1 := declaredLatin1(body)
	var b strings.Builder
	b.Grow(len(body))
	line, col := 1, 1
	for i := 0; i < len(body); {
		r, size := rune(body[i]), 1
		if !latin1 && body[i] >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(body[i:])
			if r == utf8.RuneError && size <= 1 {
				return nil, xmlError(line, col, "malformed character stream")
			}
		}
		i += size
		if !xmlChar(r) {
			return nil, xmlError(line, col, "malformed character stream")
		}
		if r == '\r' {
			if i < len(body) && body[i] == '\n' {
				i++
			}
			r = '\n'
		}
		b.WriteRune(r)
		if col++; r == '\n' {
			line, col = line+1, 1
		}
	}
	return &scanner{in: strings.TrimPrefix(b.String(), "\ufeff")}, nil
}

func declaredLatin1(body []byte) bool {
	head := strings.ToLower(string(body[:min(len(body), 100)]))
	end := strings.Index(head, "?>")
	return strings.HasPrefix(head, "<?xml") && end > 0 && strings.Contains(head[:end], "iso-8859-1")
}

func xmlChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

func (s *scanner) fail(format string, args ...any) error {
	done := s.in[:min(s.pos, len(s.in))]
	line := strings.Count(done, "\n") + 1
	return xmlError(line, utf8.RuneCountInString(done[strings.LastIndexByte(done, '\n')+1:])+1, format, args...)
}

const endOfInput = "unexpected end of input"

// skipPast moves behind the next end; the input must have one.
func (s *scanner) skipPast(end string) error {
	i := strings.Index(s.in[s.pos:], end)
	if i < 0 {
		s.pos = len(s.in)
		return s.fail("%s", endOfInput)
	}
	s.pos += i + len(end)
	return nil
}

// next returns the next tag or the next non-empty text.
func (s *scanner) next() (token, error) {
	if s.queued != nil {
		t := *s.queued
		s.queued = nil
		return t, nil
	}
	var text strings.Builder
	for {
		rest := s.in[s.pos:]
		switch {
		case rest == "":
			if len(s.open) > 0 || text.Len() > 0 {
				return token{}, s.fail("%s", endOfInput)
			}
			return token{kind: tokenEnd}, nil
		case strings.HasPrefix(rest, "<!--"):
			if err := s.skipPast("-->"); err != nil {
				return token{}, err
			}
		case strings.HasPrefix(rest, "<![CDATA["):
			start := s.pos + len("<![CDATA[")
			if err := s.skipPast("]]>"); err != nil {
				return token{}, err
			}
			text.WriteString(s.in[start : s.pos-3])
		case strings.HasPrefix(rest, "<?"):
			if err := s.skipPast("?>"); err != nil {
				return token{}, err
			}
		case strings.HasPrefix(rest, "<!"):
			if err := s.skipDoctype(); err != nil {
				return token{}, err
			}
		case rest[0] == '<':
			if text.Len() > 0 {
				return token{tokenText, text.String()}, nil
			}
			return s.tag()
		case rest[0] == '&':
			r, err := s.reference()
			if err != nil {
				return token{}, err
			}
			text.WriteString(r)
		default:
			n := strings.IndexAny(rest, "<&")
			if n < 0 {
				n = len(rest)
			}
			if len(s.open) == 0 {
				if strings.TrimSpace(rest[:n]) != "" {
					return token{}, s.fail("expected root element")
				}
			} else {
				text.WriteString(rest[:n])
			}
			s.pos += n
		}
	}
}

func (s *scanner) skipDoctype() error {
	depth := 0
	for ; s.pos < len(s.in); s.pos++ {
		switch s.in[s.pos] {
		case '<':
			depth++
		case '>':
			if depth--; depth == 0 {
				s.pos++
				return nil
			}
		}
	}
	return s.fail("%s", endOfInput)
}

func (s *scanner) reference() (string, error) {
	end := strings.IndexByte(s.in[s.pos:], ';')
	if end < 0 || end > 40 {
		return "", s.fail("character sequence illegal here (\"&\")")
	}
	name := s.in[s.pos+1 : s.pos+end]
	s.pos += end + 1
	switch name {
	case "lt":
		return "<", nil
	case "gt":
		return ">", nil
	case "amp":
		return "&", nil
	case "quot":
		return `"`, nil
	case "apos":
		return "'", nil
	}
	digits, isChar := strings.CutPrefix(name, "#")
	if !isChar {
		return "", s.fail("unknown entity reference (%s)", name)
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !xmlChar(rune(n)) {
		return "", s.fail("illegal character reference (%s)", name)
	}
	return string(rune(n)), nil
}

func (s *scanner) tag() (token, error) {
	end := strings.IndexByte(s.in[s.pos:], '>')
	if end < 0 {
		s.pos = len(s.in)
		return token{}, s.fail("%s", endOfInput)
	}
	inside := s.in[s.pos+1 : s.pos+end]
	if name, ok := strings.CutPrefix(inside, "/"); ok {
		name = strings.TrimRight(name, " \t\n")
		if len(s.open) == 0 || s.open[len(s.open)-1] != name {
			want := ""
			if len(s.open) > 0 {
				want = s.open[len(s.open)-1]
			}
			return token{}, s.fail("expected one of these character sequence: \"%s\", found \"%s\"", want, name)
		}
		s.open = s.open[:len(s.open)-1]
		s.pos += end + 1
		return token{tokenClose, name}, nil
	}
	name, empty := strings.CutSuffix(inside, "/")
	name, _, _ = strings.Cut(name, " ")
	name = strings.TrimSpace(name)
	if name == "" || strings.ContainsAny(name, "<&\"'=") {
		return token{}, s.fail("character sequence illegal here (%q)", s.in[s.pos:s.pos+1])
	}
	s.pos += end + 1
	if empty {
		s.queued = &token{tokenClose, name}
	} else {
		s.open = append(s.open, name)
	}
	return token{tokenOpen, name}, nil
}

// nextTag skips white space between tags.
func (s *scanner) nextTag() (token, error) {
	for {
		t, err := s.next()
		if err != nil || t.kind != tokenText || strings.TrimSpace(t.text) != "" {
			return t, err
		}
	}
}

func (s *scanner) expectOpen(name string) error {
	t, err := s.nextTag()
	if err != nil {
		return err
	}
	if t.kind != tokenOpen {
		return parseError(t.String(), "open_tag")
	}
	if t.text != name {
		return parseError(t.String(), "open_tag("+name+")")
	}
	return nil
}

func (s *scanner) expectClose(name string) error {
	t, err := s.nextTag()
	if err != nil {
		return err
	}
	if t.kind != tokenClose {
		return parseError(t.String(), "close_tag("+name+")")
	}
	return nil
}

// textUntilClose reads the text of an element that holds nothing else.
func (s *scanner) textUntilClose(name string) (string, error) {
	t, err := s.next()
	if err != nil {
		return "", err
	}
	text := ""
	if t.kind == tokenText {
		text = t.text
		if t, err = s.next(); err != nil {
			return "", err
		}
	}
	if t.kind != tokenClose {
		return "", parseError(t.String(), "close_tag("+name+")")
	}
	return text, nil
}

// decodeCall reads a request. Its errors are the texts of xapi's HTML page for them.
func decodeCall(body []byte) (methodCall, error) {
	s, err := newScanner(body)
	if err != nil {
		return methodCall{}, err
	}
	if t, err := s.nextTag(); err != nil {
		return methodCall{}, err
	} else if t.kind == tokenEnd {
		return methodCall{}, xmlError(1, 1, "%s", endOfInput)
	} else if t.text != "methodCall" {
		return methodCall{}, parseError(t.String(), "open_tag(methodCall)")
	}
	if err := s.expectOpen("methodName"); err != nil {
		return methodCall{}, err
	}
	var c methodCall
	if c.method, err = s.textUntilClose("methodName"); err != nil {
		return methodCall{}, err
	}
	if c.method == "" {
		return methodCall{}, parseError("open_tag(params)", "close_tag(methodName)")
	}
	if err := s.expectOpen("params"); err != nil {
		return methodCall{}, err
	}
	for {
		t, err := s.nextTag()
		if err != nil {
			return methodCall{}, err
		}
		if t.kind == tokenClose {
			break
		}
		if t.kind != tokenOpen || t.text != "param" {
			return methodCall{}, parseError(t.String(), "open_tag(param)")
		}
		if err := s.expectOpen("value"); err != nil {
			return methodCall{}, err
		}
		v, err := s.value(0)
		if err != nil {
			return methodCall{}, err
		}
		c.params = append(c.params, v)
		if err := s.expectClose("param"); err != nil {
			return methodCall{}, err
		}
	}
	if err := s.expectClose("methodCall"); err != nil {
		return methodCall{}, err
	}
	_, err = s.nextTag()
	return c, err
}

// value reads what follows <value>, with its end tag.
func (s *scanner) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDepth
	}
	t, err := s.next()
	if err != nil {
		return nil, err
	}
	text := ""
	if t.kind == tokenText {
		text = t.text
		if t, err = s.next(); err != nil {
			return nil, err
		}
	}
	if t.kind == tokenClose {
		return text, nil
	}
	if strings.TrimSpace(text) != "" {
		return nil, parseError(t.String(), "close_tag(value)")
	}
	v, err := s.typed(t.text, depth)
	if err != nil {
		return nil, err
	}
	return v, s.expectClose("value")
}

func (s *scanner) typed(tag string, depth int) (any, error) {
	switch tag {
	case "array":
		return s.array(depth)
	case "struct":
		return s.members(depth)
	}
	text, err := s.textUntilClose(tag)
	if err != nil {
		return nil, err
	}
	switch tag {
	case "string":
		return text, nil
	case "int", "i4", "i8":
		n, err := parseInt(text)
		if err != nil {
			return nil, errors.New(`Failure("Int64.of_string")`)
		}
		return n, nil
	case "boolean":
		switch text {
		case "1", "true":
			return true, nil
		case "0", "false":
			return false, nil
		}
		return nil, errors.New(`Failure("bool_of_string")`)
	case "double":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, errors.New(`Failure("float_of_string")`)
		}
		return f, nil
	case "dateTime.iso8601":
		return dateText(text), nil
	case "base64":
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, errors.New("Base64.Invalid_char")
		}
		return base64Text(raw), nil
	case "nil":
		return nilValue{}, nil
	}
	return nil, parseError("open_tag("+tag+")", "open_tag(value type)")
}

func (s *scanner) array(depth int) (any, error) {
	if err := s.expectOpen("data"); err != nil {
		return nil, err
	}
	out := []any{}
	for {
		t, err := s.nextTag()
		if err != nil {
			return nil, err
		}
		if t.kind == tokenClose {
			return out, s.expectClose("array")
		}
		if t.kind != tokenOpen || t.text != "value" {
			return nil, parseError(t.String(), "open_tag(value)")
		}
		v, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

func (s *scanner) members(depth int) (any, error) {
	out := record{}
	for {
		t, err := s.nextTag()
		if err != nil {
			return nil, err
		}
		if t.kind == tokenClose {
			return out, nil
		}
		if t.kind != tokenOpen || t.text != "member" {
			return nil, parseError(t.String(), "open_tag(member)")
		}
		if err := s.expectOpen("name"); err != nil {
			return nil, err
		}
		name, err := s.textUntilClose("name")
		if err != nil {
			return nil, err
		}
		if err := s.expectOpen("value"); err != nil {
			return nil, err
		}
		v, err := s.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if err := s.expectClose("member"); err != nil {
			return nil, err
		}
		out = append(out, member{name, v})
	}
}

// parseInt reads what OCaml's Int64.of_string reads: a sign, 0x/0o/0b/0u, underscores after the first digit.
func parseInt(s string) (int64, error) {
	sign, digits := int64(1), s
	if strings.HasPrefix(digits, "-") {
		sign, digits = -1, digits[1:]
	} else {
		digits = strings.TrimPrefix(digits, "+")
	}
	base := 10
	if len(digits) > 2 && digits[0] == '0' {
		switch digits[1] {
		case 'x', 'X':
			base, digits = 16, digits[2:]
		case 'o', 'O':
			base, digits = 8, digits[2:]
		case 'b', 'B':
			base, digits = 2, digits[2:]
		case 'u', 'U':
			digits = digits[2:]
		}
	}
	if strings.HasPrefix(digits, "_") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(strings.ReplaceAll(digits, "_", ""), base, 64)
	if err != nil {
		return 0, err
	}
	if base == 10 && n > math.MaxInt64 && !(sign < 0 && n == math.MaxInt64+1) {
		return 0, strconv.ErrRange
	}
	return sign * int64(n), nil
}

// show prints an argument as xapi's error texts do: S(text), I(1), {key:S(value)}.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return "S(" + v + ")"
	case int64:
		return "I(" + strconv.FormatInt(v, 10) + ")"
	case bool:
		return "B(" + strconv.FormatBool(v) + ")"
	case float64:
		return "F(" + formatFloat(v) + ")"
	case base64Text:
		return "B64(" + string(v) + ")"
	case dateText:
		return "D(" + string(v) + ")"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = show(e)
		}
		return "[" + strings.Join(parts, ";") + "]"
	case record:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = m.Name + ":" + show(m.Value)
		}
		return "{" + strings.Join(parts, ";") + "}"
	}
	return "N"
}
