package onesim

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// attr is one attribute of an OpenNebula template: a single value, or a vector of named values.
type attr struct {
	name   string
	value  string
	vector bool
	kids   []attr // of a vector: single attributes, sorted by name
}

// template is what oned keeps as a multimap: sorted by name, repeated names in the order they came.
type template []attr

func (t *template) add(a attr) {
	i, _ := slices.BinarySearchFunc(*t, a.name, func(x attr, name string) int {
		if x.name <= name {
			return -1 // after all of its name
		}
		return 1
	})
	*t = slices.Insert(*t, i, a)
}

// set replaces all attributes of that name by one.
func (t *template) set(name, value string) {
	t.drop(name)
	t.add(attr{name: name, value: value})
}

func (t *template) drop(name string) {
	*t = slices.DeleteFunc(*t, func(a attr) bool { return a.name == name })
}

func (t template) get(name string) string {
	for i := range t {
		if t[i].name == name {
			return t[i].value
		}
	}
	return ""
}

func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(a attr) bool { return a.name == name })
}

// all returns pointers into t: valid until t grows.
func (t template) all(names ...string) []*attr {
	var out []*attr
	for i := range t {
		if slices.Contains(names, t[i].name) {
			out = append(out, &t[i])
		}
	}
	return out
}

func (t template) clone() template {
	out := slices.Clone(t)
	for i := range out {
		out[i].kids = slices.Clone(out[i].kids)
	}
	return out
}

// merge puts each name of other in the place of t's attributes of that name, as append=1 does.
func (t *template) merge(other template) {
	for i, a := range other {
		if i == 0 || other[i-1].name != a.name {
			t.drop(a.name)
		}
	}
	for _, a := range other {
		t.add(a)
	}
}

func vector(name string, pairs ...string) attr {
	a := attr{name: name, vector: true}
	for i := 0; i+1 < len(pairs); i += 2 {
		a.set(pairs[i], pairs[i+1])
	}
	return a
}

func (a *attr) get(name string) string {
	for i := range a.kids {
		if a.kids[i].name == name {
			return a.kids[i].value
		}
	}
	return ""
}

func (a *attr) has(name string) bool {
	return slices.ContainsFunc(a.kids, func(k attr) bool { return k.name == name })
}

func (a *attr) set(name, value string) {
	i, found := slices.BinarySearchFunc(a.kids, name, func(k attr, n string) int { return strings.Compare(k.name, n) })
	if found {
		a.kids[i].value = value
		return
	}
	a.kids = slices.Insert(a.kids, i, attr{name: name, value: value})
}

func (a *attr) unset(names ...string) {
	a.kids = slices.DeleteFunc(a.kids, func(k attr) bool { return slices.Contains(names, k.name) })
}

// id reads a number out of a vector; -1 if there is none.
func (a *attr) id(name string) int {
	n, err := strconv.Atoi(a.get(name))
	if err != nil {
		return -1
	}
	return n
}

// append renders the attributes as children of an element, values in CDATA.
func (t template) append(b []byte) []byte {
	for i := range t {
		b = t[i].append(b)
	}
	return b
}

func (a *attr) append(b []byte) []byte {
	if a.vector && len(a.kids) == 0 {
		return append(append(append(b, '<'), a.name...), "/>"...)
	}
	b = append(append(append(b, '<'), a.name...), '>')
	if a.vector {
		for i := range a.kids {
			b = a.kids[i].append(b)
		}
	} else {
		b = append(append(append(b, "<![CDATA["...), a.value...), "]]>"...)
	}
	return append(append(append(b, "</"...), a.name...), '>')
}

// syntaxError is what oned's parser says, without the position (which oned itself reports wrongly at times).
type syntaxError struct{ text string }

func (e *syntaxError) Error() string { return "Parse error" + e.text }

var errUntransformable = errors.New("a value holds the end of a CDATA section")

// parseTemplate reads a template in either of its forms: KEY=VALUE text, or XML.
func parseTemplate(s string) (template, error) {
	if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "<") {
		return parseXML(s)
	}
	p := &scanner{s: s}
	return p.template()
}

// scanner reads the text form. Source: OpenNebula src/parsers/template_parser.l and .y.
type scanner struct {
	s    string
	pos  int
	line int
}

func (p *scanner) fail(unexpected, expected string) error {
	return &syntaxError{": syntax error, unexpected " + unexpected + ", expecting " + expected +
		" at line " + strconv.Itoa(p.line) + ", columns " + strconv.Itoa(p.pos) + ":" + strconv.Itoa(p.pos+1)}
}

// blanks skips white space and comments; a comment starts a line.
func (p *scanner) blanks() {
	for p.pos < len(p.s) {
		switch c := p.s[p.pos]; {
		case c == '\n':
			p.line++
			p.pos++
		case c == ' ' || c == '\t' || c == '\r':
			p.pos++
		case c == '#':
			for p.pos < len(p.s) && p.s[p.pos] != '\n' {
				p.pos++
			}
		case !isName(c) && !strings.ContainsRune("=[],\"", rune(c)):
			p.pos++ // flex echoes what no rule takes, and goes on
		default:
			return
		}
	}
}

func isName(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func (p *scanner) name() string {
	from := p.pos
	for p.pos < len(p.s) && isName(p.s[p.pos]) {
		p.pos++
	}
	return strings.ToUpper(p.s[from:p.pos])
}

// token names what comes next, for an error message.
func (p *scanner) token() string {
	if p.pos >= len(p.s) {
		return "$end"
	}
	switch c := p.s[p.pos]; {
	case isName(c):
		return "VARIABLE"
	case c == '=':
		return "EQUAL"
	case c == '[':
		return "OBRACKET"
	case c == ']':
		return "CBRACKET"
	case c == ',':
		return "COMMA"
	}
	return "STRING"
}

func (p *scanner) template() (template, error) {
	var t template
	for p.blanks(); p.pos < len(p.s); p.blanks() {
		name := p.name()
		if name == "" {
			return nil, p.fail(p.token(), "VARIABLE")
		}
		a, err := p.value(name, false)
		if err != nil {
			return nil, err
		}
		t.add(a)
	}
	return t, nil
}

func (p *scanner) value(name string, inside bool) (attr, error) {
	p.blanks()
	if p.pos >= len(p.s) || p.s[p.pos] != '=' {
		return attr{}, p.fail(p.token(), "EQUAL or EQUAL_EMPTY")
	}
	p.pos++
	for p.pos < len(p.s) && (p.s[p.pos] == ' ' || p.s[p.pos] == '\t') {
		p.pos++
	}
	switch {
	case p.pos >= len(p.s):
		return attr{name: name}, nil
	case p.s[p.pos] == '"':
		v, err := p.quoted()
		return attr{name: name, value: v}, err
	case p.s[p.pos] == '[' && !inside:
		p.pos++
		return p.vector(name)
	}
	return attr{name: name, value: p.bare(inside)}, nil
}

// quoted unescapes \" and nothing else: \\ and \n stay as they are (seen on 6.10.0).
func (p *scanner) quoted() (string, error) {
	var b strings.Builder
	for p.pos++; p.pos < len(p.s); p.pos++ {
		switch c := p.s[p.pos]; {
		case c == '\\' && p.pos+1 < len(p.s) && p.s[p.pos+1] == '"':
			b.WriteByte('"')
			p.pos++
		case c == '"':
			p.pos++
			if strings.Contains(b.String(), "]]>") {
				return "", &syntaxError{"."}
			}
			return b.String(), nil
		default:
			if c == '\n' {
				p.line++
			}
			b.WriteByte(c)
		}
	}
	return "", p.fail("$end", "STRING")
}

func (p *scanner) bare(inside bool) string {
	stop := "\n"
	if inside {
		stop = "\n,]"
	}
	n := strings.IndexAny(p.s[p.pos:], stop)
	if n < 0 {
		n = len(p.s) - p.pos
	}
	v := p.s[p.pos : p.pos+n]
	p.pos += n
	return strings.TrimRight(v, " \t\r")
}

func (p *scanner) vector(name string) (attr, error) {
	a := attr{name: name, vector: true}
	for {
		p.blanks()
		if p.pos < len(p.s) && p.s[p.pos] == ']' && len(a.kids) == 0 {
			p.pos++
			return a, nil
		}
		key := p.name()
		if key == "" {
			return a, p.fail(p.token(), "CBRACKET or VARIABLE")
		}
		k, err := p.value(key, true)
		if err != nil {
			return a, err
		}
		a.set(key, k.value)
		p.blanks()
		switch {
		case p.pos < len(p.s) && p.s[p.pos] == ',':
			p.pos++
		case p.pos < len(p.s) && p.s[p.pos] == ']':
			p.pos++
			return a, nil
		default:
			return a, p.fail(p.token(), "COMMA or CBRACKET")
		}
	}
}

// parseXML reads the XML form. Whatever lies deeper than a vector's values is dropped without a word, as in oned.
func parseXML(s string) (template, error) {
	malformed := &syntaxError{": XML Template malformed."}
	p := &parser{d: xml.NewDecoder(strings.NewReader(s))}
	p.d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	root, err := p.root()
	if err != nil {
		return nil, malformed
	}
	var t template
	for _, k := range root.kids {
		a := attr{name: strings.ToUpper(k.name), value: k.text, vector: len(k.kids) > 0}
		for _, v := range k.kids {
			if len(v.kids) == 0 {
				a.set(strings.ToUpper(v.name), v.text)
			}
		}
		if a.vector && len(a.kids) == 0 {
			continue
		}
		if a.vector {
			a.value = "" // the blanks between its parts
		}
		t.add(a)
	}
	if t.untransformable() {
		return nil, errUntransformable
	}
	return t, nil
}

func (t template) untransformable() bool {
	return slices.ContainsFunc(t, func(a attr) bool {
		return strings.Contains(a.value, "]]>") || template(a.kids).untransformable()
	})
}
