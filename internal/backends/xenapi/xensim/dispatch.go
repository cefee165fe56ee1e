package xensim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Failure is an answer of xapi that says no: a code and its parameters, as in ErrorDescription.
type Failure struct {
	Code   string
	Params []string
}

func (f *Failure) Error() string { return f.Code + "(" + strings.Join(f.Params, ", ") + ")" }

func fail(code string, params ...string) *Failure { return &Failure{code, params} }

func internal(format string, args ...any) *Failure {
	return fail("INTERNAL_ERROR", fmt.Sprintf(format, args...))
}

// failWith is INTERNAL_ERROR with an OCaml exception that carries text.
func failWith(format string, args ...any) *Failure {
	return internal("Failure(%s)", strconv.Quote(fmt.Sprintf(format, args...)))
}

// call is one message on its way through a handler. A handler runs with the Server's mutex held and
// gives it back while it waits.
type call struct {
	s       *Server
	msg     *message
	session *object
	args    []any
	task    *runningTask // nil when the caller waits for the answer
	opID    string       // its key in current_operations
	onSlave bool
	failure *Failure // asked for by FailNext: comes after the operation's time has passed
}

type handler func(c *call) (any, *Failure)

func (c *call) str(i int) string    { s, _ := c.arg(i).(string); return s }
func (c *call) num(i int) int64     { n, _ := c.arg(i).(int64); return n }
func (c *call) flag(i int) bool     { b, _ := c.arg(i).(bool); return b }
func (c *call) dict(i int) record   { r, _ := c.arg(i).(record); return r }
func (c *call) float(i int) float64 { f, _ := c.arg(i).(float64); return f }

func (c *call) arg(i int) any {
	if i < len(c.args) {
		return c.args[i]
	}
	return nil
}

// object finds the object that argument i refers to.
func (c *call) object(class string, i int) (*object, *Failure) {
	ref := c.str(i)
	if o := c.s.db.find(class, ref); o != nil {
		return o, nil
	}
	return nil, fail("HANDLE_INVALID", class, ref)
}

// self is the object of the message's own class in the first argument.
func (c *call) self() (*object, *Failure) { return c.object(c.msg.class.name, 0) }

// dispatch answers one request. The order of the checks is that of xapi: name, number of arguments,
// session, this host's role in the pool, types of arguments, permission, and only then the objects. List, if
// there is one, spoils the answer.
func (s *Server) dispatch(mc methodCall, onSlave bool, list *List) part {
	if mc.method == "system.listMethods" {
		return encodeReply(s.methodNames())
	}
	v, f := s.answer(mc, onSlave)
	if f != nil {
		return encodeFailure(f)
	}
	if list != nil {
		v = list.apply(v)
	}
	return encodeSuccess(v)
}

func (s *Server) methodNames() []string {
	var out []string
	for _, name := range s.schema.order {
		for _, m := range sortedMessages(s.schema.classes[name]) {
			out = append(out, m.full())
			if m.async {
				out = append(out, "Async."+m.full())
			}
		}
	}
	return out
}

func sortedMessages(cl *class) []*message {
	out := make([]*message, 0, len(cl.messages))
	for _, m := range cl.messages {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *message) int { return strings.Compare(a.name, b.name) })
	return out
}

func (s *Server) findMessage(name string) *message {
	className, rest, ok := strings.Cut(name, ".")
	if !ok {
		// the older form Class_method; class names hold underscores themselves
		for i, r := range name {
			if cl := s.schema.classes[name[:i]]; r == '_' && cl != nil && cl.messages[name[i+1:]] != nil {
				return cl.messages[name[i+1:]]
			}
		}
		return nil
	}
	if cl := s.schema.classes[className]; cl != nil {
		return cl.messages[rest]
	}
	return nil
}

func (s *Server) answer(mc methodCall, onSlave bool) (any, *Failure) {
	name, async := strings.CutPrefix(mc.method, "Async.")
	m := s.findMessage(name)
	if m == nil {
		return nil, fail("MESSAGE_METHOD_UNKNOWN", name)
	}
	if async && !m.async {
		return nil, fail("Fault", "No async mode for this operation (rpc: "+name+")")
	}
	if m.removed {
		return nil, fail("MESSAGE_REMOVED")
	}
	if withoutSession[m.full()] {
		return s.login(m, mc.params, onSlave)
	}
	given := len(mc.params) - 1
	if given < m.required || given > len(m.params) {
		return nil, fail("MESSAGE_PARAMETER_COUNT_MISMATCH", m.full(), strconv.Itoa(m.required), strconv.Itoa(given))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, isText := mc.params[0].(string)
	if !isText {
		return nil, failWith("Expected string, got '%s'", show(mc.params[0]))
	}
	sess, f := s.checkSession(ref)
	if f != nil {
		return nil, f
	}
	if onSlave && !localMessages[m.full()] && !(s.localSession[ref] && m.role == "read-only") {
		return nil, fail("HOST_IS_SLAVE", s.coordinatorAddress)
	}
	if m.role == "local-root-only" && m.full() != "session.change_password" {
		return nil, internal("Internal API \"%s\" call attempted with non-pool (external) session", m.full())
	}
	args, f := s.readArguments(m, mc.params[1:])
	if f != nil {
		return nil, f
	}
	c := &call{s: s, msg: m, session: sess, args: args, onSlave: onSlave}
	if async {
		return s.startTask(c), nil
	}
	c.opID = "DummyRef:|" + s.newUUID() + "|" + m.full()
	return c.run()
}

// run checks the permission and calls the handler; for tasks this happens inside the task.
func (c *call) run() (any, *Failure) {
	s, m := c.s, c.msg
	if f := s.checkPermission(c.session, m); f != nil {
		return nil, f
	}
	if f := s.takeFailure(m.full()); f != nil {
		if m.op == "" {
			return nil, f
		}
		c.failure = f
	}
	if m.handle == nil {
		return nil, fail("NOT_IMPLEMENTED", m.name)
	}
	v, f := m.handle(c)
	if f == nil && c.failure != nil {
		f = c.failure
	}
	if f != nil {
		return nil, f
	}
	if v == nil {
		v = void{}
	}
	return v, nil
}

// roles from the least to the most powerful.
func roles() []string {
	return []string{"read-only", "vm-operator", "vm-admin", "vm-power-admin", "pool-operator", "pool-admin"}
}

func (s *Server) checkPermission(sess *object, m *message) *Failure {
	if sess.flag("is_local_superuser") {
		return nil
	}
	all := roles()
	need := slices.Index(all, m.role)
	if need >= 0 && slices.Index(all, s.roleOf[sess.ref]) >= need {
		return nil
	}
	var allowed []string
	if need >= 0 {
		allowed = slices.Clone(all[need:])
		slices.Reverse(allowed)
	}
	return fail("RBAC_PERMISSION_DENIED", strings.ToLower(m.full()),
		"No permission in user session. (Roles with this permission: "+strings.Join(allowed, ", ")+")")
}

// permissions are what a session lists of the messages that its user's role has: none for the local
// superuser, as in the recording.
func (s *Server) permissions(sess *object) []string {
	names := []string{}
	if sess.flag("is_local_superuser") {
		return names
	}
	for _, class := range s.schema.order {
		for _, m := range s.schema.classes[class].messages {
			if s.checkPermission(sess, m) == nil {
				names = append(names, strings.ToLower(m.full()))
			}
		}
	}
	slices.Sort(names)
	return names
}

func (s *Server) readArguments(m *message, params []any) ([]any, *Failure) {
	args := make([]any, 0, len(params))
	for i, raw := range params {
		if f := checkText(raw); f != nil {
			return nil, f
		}
		v, f := s.convert(m.params[i].typ, raw)
		if f != nil {
			return nil, f
		}
		args = append(args, v)
	}
	return args, nil
}

// checkText refuses Unicode's non-characters, which XML would allow.
func checkText(v any) *Failure {
	switch v := v.(type) {
	case string:
		for i, r := range v {
			if r >= 0xFDD0 && r <= 0xFDEF || r&0xFFFE == 0xFFFE || r == utf8.RuneError && !strings.HasPrefix(v[i:], "\uFFFD") {
				return fail("INVALID_VALUE", "Invalid UTF-8 string in parameter", show(v))
			}
		}
	case []any:
		for _, e := range v {
			if f := checkText(e); f != nil {
				return f
			}
		}
	case record:
		for _, m := range v {
			if f := checkText(m.Value); f != nil {
				return f
			}
		}
	}
	return nil
}

// convert makes of a decoded argument the value that the data model asks for, with xapi's leniency:
// ints and floats may come as text or as each other's kind, but no other type may stand for another.
func (s *Server) convert(t *valueType, raw any) (any, *Failure) {
	switch t.kind {
	case "string", "ref":
		if v, ok := raw.(string); ok {
			return v, nil
		}
		return nil, failWith("Expected string, got '%s'", show(raw))
	case "enum":
		v, ok := raw.(string)
		if !ok {
			return nil, failWith("Expected string, got '%s'", show(raw))
		}
		if values, known := s.schema.enums[t.name]; known && !slices.ContainsFunc(values, func(e string) bool { return strings.EqualFold(e, v) }) {
			return nil, failWith("Unknown tag/contents")
		}
		return s.canonical(t.name, v), nil
	case "int":
		return toInt(raw)
	case "bool":
		if v, ok := raw.(bool); ok {
			return v, nil
		}
		return nil, failWith("Expected bool, got '%s'", show(raw))
	case "float":
		return toFloat(raw)
	case "datetime":
		return toDate(raw)
	case "set":
		return s.convertSet(t, raw)
	case "map":
		return s.convertMap(t, raw)
	case "struct":
		if v, ok := raw.(record); ok {
			return v, nil
		}
		return nil, failWith("bad __structure")
	}
	return raw, nil
}

func (s *Server) canonical(enum, v string) string {
	for _, e := range s.schema.enums[enum] {
		if strings.EqualFold(e, v) {
			return e
		}
	}
	return v
}

func toInt(raw any) (any, *Failure) {
	switch v := raw.(type) {
	case int64:
		return v, nil
	case string:
		n, err := parseInt(v)
		if err != nil {
			return nil, failWith("Int64.of_string")
		}
		return n, nil
	}
	return nil, failWith("Expected int64, got '%s'", show(raw))
}

func toFloat(raw any) (any, *Failure) {
	switch v := raw.(type) {
	case float64:
		return v, nil
	case int64:
		return float64(v), nil
	case string:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return nil, failWith("float_of_string")
		}
		return n, nil
	}
	return nil, failWith("Expected float, got '%s'", show(raw))
}

func toDate(raw any) (any, *Failure) {
	text, isDate := raw.(dateText)
	if plain, ok := raw.(string); ok {
		text, isDate = dateText(plain), true
	}
	if !isDate {
		return nil, failWith("Expected datetime, got '%s'", show(raw))
	}
	for _, layout := range []string{dateLayout, "20060102T15:04:05", time.RFC3339} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return nil, failWith("date.ml:of_iso8601: %s", text)
}

func (s *Server) convertSet(t *valueType, raw any) (any, *Failure) {
	list, ok := raw.([]any)
	if !ok {
		return nil, failWith("Expecting Rpc.Enum, but found '%s'", show(raw))
	}
	texts, others := []string{}, []any{}
	for _, e := range list {
		v, f := s.convert(t.elem, e)
		if f != nil {
			return nil, f
		}
		if text, isText := v.(string); isText {
			texts = append(texts, text)
		}
		others = append(others, v)
	}
	if len(texts) == len(others) {
		return texts, nil
	}
	return others, nil
}

func (s *Server) convertMap(t *valueType, raw any) (any, *Failure) {
	dict, ok := raw.(record)
	if !ok {
		return nil, failWith("Expecting Rpc.Dict, but found '%s'", show(raw))
	}
	out := make(record, 0, len(dict))
	for _, m := range dict {
		key, f := s.convert(t.key, m.Name)
		if f != nil {
			return nil, f
		}
		v, f := s.convert(t.elem, m.Value)
		if f != nil {
			return nil, f
		}
		name := m.Name
		if text, isText := key.(string); isText {
			name = text
		}
		out = append(out, member{name, v})
	}
	return out, nil
}
