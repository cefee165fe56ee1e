package xensim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// expression is what get_all_records_where takes:
//
//	true, false, not E, E and E, E or E, (E), field "name__label" = "x", "x" = field "uuid"
//
// A field goes by its name in the database, where name_label is name__label. Values are compared as the
// database prints them: ints in decimal, bools as true and false.
type expression interface {
	match(s *Server, o *object) bool
}

type (
	constant    bool
	negation    struct{ e expression }
	conjunction struct{ a, b expression }
	disjunction struct{ a, b expression }
	equality    struct{ a, b operand }
	operand     struct {
		field   *field
		literal string
	}
)

func (e constant) match(*Server, *object) bool        { return bool(e) }
func (e negation) match(s *Server, o *object) bool    { return !e.e.match(s, o) }
func (e conjunction) match(s *Server, o *object) bool { return e.a.match(s, o) && e.b.match(s, o) }
func (e disjunction) match(s *Server, o *object) bool { return e.a.match(s, o) || e.b.match(s, o) }
func (e equality) match(s *Server, o *object) bool    { return e.a.text(s, o) == e.b.text(s, o) }

func (p operand) text(s *Server, o *object) string {
	if p.field == nil {
		return p.literal
	}
	return databaseText(s.fieldOf(o, p.field))
}

// databaseText prints a value as xapi's database holds it.
func databaseText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return formatFloat(v)
	case time.Time:
		return v.UTC().Format(dateLayout)
	case []string:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = "'" + e + "'"
		}
		return "(" + strings.Join(parts, " ") + ")"
	case record:
		parts := make([]string, len(v))
		for i, m := range v {
			parts[i] = fmt.Sprintf("('%s' '%s')", m.Name, databaseText(m.Value))
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	return fmt.Sprint(v)
}

type expressionParser struct {
	text  string
	rest  string
	class *class
	token string // "" at the end; texts keep their opening quote
}

const lexError = "lexing: empty token"

func parseExpression(text string, cl *class) (expression, *Failure) {
	p := &expressionParser{text: text, rest: text, class: cl}
	if f := p.advance(); f != nil {
		return nil, f
	}
	e, f := p.disjunction()
	if f != nil {
		return nil, f
	}
	if p.token != "" {
		return nil, p.bad("Parsing.Parse_error")
	}
	return e, nil
}

func (p *expressionParser) bad(cause string) *Failure {
	return fail("INVALID_VALUE", p.text, cause)
}

// advance reads the next token.
func (p *expressionParser) advance() *Failure {
	p.rest = strings.TrimLeft(p.rest, " \t\n")
	p.token = ""
	if p.rest == "" {
		return nil
	}
	if quote := p.rest[0]; quote == '"' || quote == '\'' {
		return p.quoted(quote)
	}
	for _, word := range []string{"=", "(", ")", "true", "false", "not", "and", "or", "field"} {
		if rest, ok := strings.CutPrefix(p.rest, word); ok {
			p.token, p.rest = word, rest
			return nil
		}
	}
	return p.bad(`Failure("` + lexError + `")`)
}

func (p *expressionParser) quoted(quote byte) *Failure {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch ch := p.rest[i]; {
		case ch == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		case ch == quote:
			p.token, p.rest = `"`+b.String(), p.rest[i+1:]
			return nil
		default:
			b.WriteByte(ch)
		}
	}
	return p.bad(`Failure("` + lexError + `")`)
}

func (p *expressionParser) disjunction() (expression, *Failure) {
	a, f := p.conjunction()
	for f == nil && p.token == "or" {
		if f = p.advance(); f != nil {
			return nil, f
		}
		var b expression
		b, f = p.conjunction()
		a = disjunction{a, b}
	}
	return a, f
}

func (p *expressionParser) conjunction() (expression, *Failure) {
	a, f := p.unary()
	for f == nil && p.token == "and" {
		if f = p.advance(); f != nil {
			return nil, f
		}
		var b expression
		b, f = p.unary()
		a = conjunction{a, b}
	}
	return a, f
}

func (p *expressionParser) unary() (expression, *Failure) {
	word := p.token
	switch word {
	case "true", "false":
		return constant(word == "true"), p.advance()
	case "not":
		if f := p.advance(); f != nil {
			return nil, f
		}
		e, f := p.unary()
		return negation{e}, f
	case "(":
		if f := p.advance(); f != nil {
			return nil, f
		}
		e, f := p.disjunction()
		if f != nil {
			return nil, f
		}
		if p.token != ")" {
			return nil, p.bad("Parsing.Parse_error")
		}
		return e, p.advance()
	}
	a, f := p.operand()
	if f != nil {
		return nil, f
	}
	if p.token != "=" {
		return nil, p.bad("Parsing.Parse_error")
	}
	if f := p.advance(); f != nil {
		return nil, f
	}
	b, f := p.operand()
	return equality{a, b}, f
}

func (p *expressionParser) operand() (operand, *Failure) {
	isField := p.token == "field"
	if isField {
		if f := p.advance(); f != nil {
			return operand{}, f
		}
	}
	text, quoted := strings.CutPrefix(p.token, `"`)
	if !quoted {
		return operand{}, p.bad("Parsing.Parse_error")
	}
	if f := p.advance(); f != nil {
		return operand{}, f
	}
	if !isField {
		return operand{literal: text}, nil
	}
	for _, fd := range p.class.fields {
		if fd.db == text {
			return operand{field: fd}, nil
		}
	}
	return operand{}, fail("INTERNAL_ERROR", "missing field", text, "")
}
