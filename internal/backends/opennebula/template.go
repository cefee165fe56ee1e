package opennebula

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// attribute is one attribute of a template: a value, or the parts of a vector.
type attribute struct {
	name  string
	value string
	parts []attribute // of a vector; a part has a value
}

// asAttribute turns a decoded element back into an attribute.
func asAttribute(r record) attribute {
	a := attribute{name: r.Name, value: r.Text}
	for _, kid := range r.Kids {
		a.parts = append(a.parts, attribute{name: kid.Name, value: kid.Text})
	}
	return a
}

// templateXML writes attributes in OpenNebula's XML form. Every method that takes a template takes
// this form too (Template::parse_str_or_xml), and it is used throughout because the KEY="value"
// form cannot say a backslash in front of a quote or at a value's end: \" is unescaped there, and
// \\ is not.
func templateXML(attrs []attribute) string {
	var b strings.Builder
	b.WriteString("<TEMPLATE>")
	for _, a := range attrs {
		a.write(&b)
	}
	b.WriteString("</TEMPLATE>")
	return b.String()
}

func (a attribute) write(b *strings.Builder) {
	b.WriteString("<" + a.name + ">")
	if len(a.parts) == 0 {
		b.WriteString("<![CDATA[" + a.value + "]]>")
	}
	for _, p := range a.parts {
		p.write(b)
	}
	b.WriteString("</" + a.name + ">")
}

// checkValue refuses what a template cannot hold, or would hold changed: oned refuses ]]> and
// characters beyond the BMP (which, once in, spoil every list), and turns a CR into an LF.
func checkValue(pointer, text string) error {
	switch {
	case !utf8.ValidString(text):
		return backends.Invalid(pointer, "not valid UTF-8")
	case strings.Contains(text, "]]>"):
		return backends.Invalid(pointer, `OpenNebula cannot store the characters "]]>"`)
	}
	for _, c := range text {
		if detail := badCharacter(c); detail != "" {
			return backends.Invalid(pointer, detail)
		}
	}
	return nil
}

func badCharacter(c rune) string {
	switch {
	case c == '\r':
		return "OpenNebula turns a carriage return into a line feed: send line feeds alone"
	case c < ' ' && c != '\t' && c != '\n', c == 0xFFFE, c == 0xFFFF:
		return fmt.Sprintf("OpenNebula cannot store the control character U+%04X", c)
	case c > 0xFFFF:
		return fmt.Sprintf("OpenNebula cannot store the character U+%04X: it takes none beyond U+FFFF", c)
	}
	return ""
}

const (
	maxName       = 128
	nameForbidden = "&|:\\\";/'#{}$<>"
)

// checkName refuses what no object can be called. Source: PoolObjectSQL::name_is_valid.
func checkName(pointer, name string) error {
	if err := checkValue(pointer, name); err != nil {
		return err
	}
	switch {
	case name == "":
		return backends.Invalid(pointer, "a name cannot be empty")
	case utf8.RuneCountInString(name) > maxName:
		return backends.Invalid(pointer, fmt.Sprintf("a name has at most %d characters", maxName))
	case strings.TrimRight(name, " \t\n") != name:
		return backends.Invalid(pointer, "OpenNebula removes blanks at the end of a name")
	}
	if i := strings.IndexAny(name, nameForbidden); i >= 0 {
		return backends.Invalid(pointer, fmt.Sprintf("a name in OpenNebula cannot have the character %q", name[i]))
	}
	return nil
}

// checkKey refuses what cannot be an attribute's name, or would be stored under another one:
// OpenNebula turns names into upper case.
func checkKey(pointer, key string) error {
	if key == "" || len(key) > maxName {
		return backends.Invalid(pointer, "an attribute's name has 1 to 128 characters")
	}
	for i, c := range []byte(key) {
		switch {
		case c >= 'A' && c <= 'Z', c == '_', i > 0 && c >= '0' && c <= '9':
		case c >= 'a' && c <= 'z':
			return backends.Invalid(pointer, fmt.Sprintf("OpenNebula has attribute names in upper case only: use %q", strings.ToUpper(key)))
		default:
			return backends.Invalid(pointer, "an attribute's name in OpenNebula has letters, digits and underscores only, and no digit first")
		}
	}
	return nil
}

// rawTemplate is a template that a client wrote, in either of OpenNebula's forms. It is passed on
// as it is; its attributes' names are looked at so that other members can be added to it.
type rawTemplate struct {
	text  string
	xml   bool
	names map[string]bool
}

func parseRaw(text string) (rawTemplate, error) {
	t := rawTemplate{text: text, names: map[string]bool{}}
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		t.xml = true
		return t, t.xmlNames()
	}
	return t, t.textNames()
}

func (t *rawTemplate) xmlNames() error {
	doc := scan.NewDocument(scan.Whole([]byte(escapeMarkup(t.text))), "", allElements, true)
	err := alone(doc, func(item *scan.Item) error {
		for _, kid := range recordOf("", item).Kids {
			t.names[strings.ToUpper(kid.Name)] = true
		}
		return nil
	})
	if err != nil {
		return errors.New("it is not well-formed XML")
	}
	return nil
}

// escapeMarkup is a document as it stands in a string.
var escapeMarkup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace

// textNames finds the names in front of each = that is outside of quotes, brackets and comments.
func (t *rawTemplate) textNames() error {
	depth, name := 0, ""
	for i := 0; i < len(t.text); i++ {
		switch c := t.text[i]; {
		case c == '"':
			end := closingQuote(t.text, i+1)
			if end < 0 {
				return errors.New("a quote is not closed")
			}
			i, name = end, ""
		case c == '#' && depth == 0:
			if i = lineEnd(t.text, i); i == len(t.text) {
				return nil
			}
		case c == '[':
			depth++
		case c == ']':
			depth, name = max(depth-1, 0), ""
		case depth > 0 || c == ' ' || c == '\t':
		case c == '\n':
			name = ""
		case c == '=':
			if name != "" {
				t.names[strings.ToUpper(name)] = true
			}
			name = ""
		default:
			name += string(c)
		}
	}
	if depth > 0 {
		return errors.New("a bracket is not closed")
	}
	return nil
}

// closingQuote is the place of the quote that ends a value, -1 when there is none.
func closingQuote(s string, i int) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func lineEnd(s string, i int) int {
	if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(s)
}

// with gives the template with attributes added, in its own form. An attribute that it has already
// is refused, since OpenNebula would keep both.
func (t rawTemplate) with(attrs []attribute) (string, error) {
	if len(attrs) == 0 {
		return t.text, nil
	}
	for _, a := range attrs {
		if t.names[a.name] {
			return "", fmt.Errorf("%s is in the template, and said by another member too", a.name)
		}
	}
	if t.xml {
		end := strings.LastIndex(t.text, "</")
		if end < 0 {
			return "", errors.New("the XML template is empty: leave it out")
		}
		added := strings.TrimSuffix(strings.TrimPrefix(templateXML(attrs), "<TEMPLATE>"), "</TEMPLATE>")
		return t.text[:end] + added + t.text[end:], nil
	}
	lines := []string{t.text}
	for _, a := range attrs {
		line, err := a.line()
		if err != nil {
			return "", err
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

// line is an attribute in the KEY="value" form.
func (a attribute) line() (string, error) {
	if len(a.parts) == 0 {
		value, err := quote(a.value)
		return a.name + "=" + value, err
	}
	var parts []string
	for _, p := range a.parts {
		value, err := quote(p.value)
		if err != nil {
			return "", err
		}
		parts = append(parts, p.name+"="+value)
	}
	return a.name + "=[" + strings.Join(parts, ",") + "]", nil
}

// quote is a value in the KEY="value" form. Inside quotes everything stands for itself except \",
// so that a backslash before a quote, or at the end, cannot be said.
func quote(value string) (string, error) {
	if strings.Contains(value, `\"`) || strings.HasSuffix(value, `\`) {
		return "", errors.New("a value has a backslash in front of a quote or at its end, which can only be said in an XML template")
	}
	return `"` + strings.ReplaceAll(value, `"`, `\"`) + `"`, nil
}
