package query

import "strings"

// The tree of a filter. A nil node is the empty filter.
type node interface{ write(*strings.Builder) }

type (
	all  []node              // AND, and juxtaposition
	some []node              // OR
	not  struct{ node node } // NOT, -

	// restriction compares a member with a literal.
	restriction struct {
		path  path
		op    operator
		value literal
	}

	// search is a literal that stands alone.
	search struct{ value literal }
)

type operator string

const (
	equal          operator = "="
	notEqual       operator = "!="
	less           operator = "<"
	lessOrEqual    operator = "<="
	greater        operator = ">"
	greaterOrEqual operator = ">="
	has            operator = ":"
)

// operators in the order they are tried: a longer one before the one it begins with.
func operators() [7]operator {
	return [...]operator{lessOrEqual, greaterOrEqual, notEqual, equal, less, greater, has}
}

// parser is AIP-160's grammar by recursive descent, one method for each production that matters.
type parser struct {
	lexer
	depth int
}

func parse(src string) (node, *Error) {
	if err := checkText(src); err != nil {
		return nil, err
	}
	p := &parser{lexer: lexer{src: src}}
	p.space()
	if p.peek() < 0 {
		return nil, nil
	}
	n, err := p.expression()
	if err != nil {
		return nil, err
	}
	if p.peek() >= 0 { // only a ) stops an expression early
		return nil, p.fail(p.at, "this parenthesis was not opened")
	}
	return n, nil
}

// keyword reports whether word comes next, as a word of its own.
func (p *parser) keyword(word string) bool { return p.run(nameStops) == word }

// acceptKeyword steps over word and the blanks after it.
func (p *parser) acceptKeyword(word string) bool {
	if !p.keyword(word) {
		return false
	}
	p.at += len(word)
	p.space()
	return true
}

// expression reads factors joined by AND or by nothing. AIP-160's sequences need no production of
// their own: both joints mean the same and bind alike.
func (p *parser) expression() (node, *Error) {
	var nodes all
	for {
		n, err := p.factor()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if p.acceptKeyword("AND") {
			continue
		}
		if r := p.peek(); r < 0 || r == ')' {
			break
		}
	}
	if len(nodes) == 1 {
		return nodes[0], nil
	}
	return nodes, nil
}

// factor reads terms joined by OR.
func (p *parser) factor() (node, *Error) {
	var nodes some
	for {
		n, err := p.term()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if !p.acceptKeyword("OR") {
			break
		}
	}
	if len(nodes) == 1 {
		return nodes[0], nil
	}
	return nodes, nil
}

// term reads a restriction or a group, negated or not.
func (p *parser) term() (node, *Error) {
	if !p.acceptKeyword("NOT") && !p.accept("-") {
		return p.simple()
	}
	n, err := p.simple()
	if err != nil {
		return nil, err
	}
	return not{n}, nil
}

func (p *parser) simple() (node, *Error) {
	if p.peek() == '(' {
		return p.composite(p.expression)
	}
	return p.restriction()
}

// apart passes on n, which a word ended, if something sets off what follows. A group needs no such
// check: its own parenthesis does.
func (p *parser) apart(n node, err *Error) (node, *Error) {
	if err != nil {
		return nil, err
	}
	if p.space() || p.peek() < 0 || p.peek() == ')' {
		return n, nil
	}
	return nil, p.unexpected("a blank")
}

// composite reads what stands in parentheses.
func (p *parser) composite(inside func() (node, *Error)) (node, *Error) {
	open := p.at
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail(open, "parentheses are nested deeper than %d", maxDepth)
	}
	p.at++
	p.space()
	n, err := inside()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, p.fail(open, "this parenthesis is not closed")
	}
	p.depth--
	p.space()
	return n, nil
}

// restriction reads a member, and its operator and value if they follow. Without them it is a
// literal to search for, dots and all (10.0.0.1, one.42).
func (p *parser) restriction() (node, *Error) {
	start := p.at
	if err := p.checkStart(); err != nil {
		return nil, err
	}
	member, err := p.path()
	if err != nil {
		return nil, err
	}
	if p.peek() == '(' {
		return nil, p.fail(start, "there are no functions")
	}
	end := p.at
	p.space()
	op, ok := p.operator()
	if !ok {
		p.at = end
		return p.apart(p.search(start, member))
	}
	p.space()
	return p.argument(member, op)
}

// checkStart refuses what cannot begin a member, and words that were meant as a keyword.
func (p *parser) checkStart() *Error {
	if p.quote() {
		return nil
	}
	word := p.run(nameStops)
	if strings.HasPrefix(word, "-") {
		return p.fail(p.at, "negated twice")
	}
	switch word {
	case "AND", "OR", "NOT":
		return p.fail(p.at, "expected a member or a value, found %s; quote it if you mean the word", word)
	case "and", "or", "not":
		return p.fail(p.at, "write %s in capitals, or %q to search for the word", strings.ToUpper(word), word)
	case "&&", "&":
		return p.fail(p.at, "write AND")
	case "||", "|":
		return p.fail(p.at, "write OR")
	}
	return nil
}

func (p *parser) operator() (operator, bool) {
	for _, op := range operators() {
		if p.accept(string(op)) {
			return op, true
		}
	}
	return "", false
}

// search makes the words from start a literal. In quotes it is one word.
func (p *parser) search(start int, member path) (node, *Error) {
	if len(member) == 1 && member[0].quoted {
		again := lexer{src: p.src, at: start} // for the wildcards, which names do not have
		lit, err := again.quotedText()
		return search{lit}, err
	}
	for _, s := range member {
		if s.quoted {
			return nil, p.unexpected("an operator (= != < <= > >= :)")
		}
	}
	return search{bareLiteral(p.src[start:p.at], start)}, nil
}

// argument reads the value, or the group of values, that member is compared with.
func (p *parser) argument(member path, op operator) (node, *Error) {
	if p.peek() != '(' {
		lit, err := p.argumentValue()
		return p.apart(restriction{member, op, lit}, err)
	}
	if op != equal && op != has {
		return nil, p.fail(p.at, "a group of values needs = or :")
	}
	at := p.at
	n, err := p.composite(p.expression)
	if err != nil {
		return nil, err
	}
	return p.distribute(member, op, n, at)
}

func (p *parser) argumentValue() (literal, *Error) {
	switch word := p.run(valueStops); word {
	case "AND", "OR", "NOT":
		return literal{}, p.fail(p.at, "expected a value, found %s; quote it if you mean the word", word)
	}
	lit, err := p.value()
	if err == nil && p.peek() == '(' {
		return literal{}, p.fail(lit.at, "there are no functions")
	}
	return lit, err
}

// distribute turns `member op (a OR NOT b)` into `member op a OR NOT member op b`.
func (p *parser) distribute(member path, op operator, n node, at int) (node, *Error) {
	switch n := n.(type) {
	case search:
		return restriction{member, op, n.value}, nil
	case not:
		inner, err := p.distribute(member, op, n.node, at)
		return not{inner}, err
	case all:
		nodes, err := p.distributeAll(member, op, n, at)
		return all(nodes), err
	case some:
		nodes, err := p.distributeAll(member, op, n, at)
		return some(nodes), err
	}
	return nil, p.fail(at, "a group of values holds values only, not comparisons")
}

func (p *parser) distributeAll(member path, op operator, nodes []node, at int) ([]node, *Error) {
	out := make([]node, len(nodes))
	for i, n := range nodes {
		var err *Error
		if out[i], err = p.distribute(member, op, n, at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// The write methods print a tree in one way, so that what parses alike prints alike. They add no
// parentheses that the grammar does not need.

func (n all) write(b *strings.Builder) {
	for i, n := range n {
		if i > 0 {
			b.WriteString(" AND ")
		}
		_, nested := n.(all)
		group(b, n, nested)
	}
}

func (n some) write(b *strings.Builder) {
	for i, n := range n {
		if i > 0 {
			b.WriteString(" OR ")
		}
		group(b, n, composite(n))
	}
}

func (n not) write(b *strings.Builder) {
	b.WriteString("NOT ")
	_, negated := n.node.(not)
	group(b, n.node, negated || composite(n.node))
}

func (n restriction) write(b *strings.Builder) {
	b.WriteString(n.path.String())
	b.WriteString(" " + string(n.op) + " ")
	b.WriteString(n.value.String())
}

func (n search) write(b *strings.Builder) { b.WriteString(n.value.String()) }

func composite(n node) bool {
	switch n.(type) {
	case all, some:
		return true
	}
	return false
}

func group(b *strings.Builder, n node, parentheses bool) {
	if !parentheses {
		n.write(b)
		return
	}
	b.WriteByte('(')
	n.write(b)
	b.WriteByte(')')
}
