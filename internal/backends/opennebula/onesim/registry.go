package onesim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Error codes. Source: OpenNebula include/Request.h, ErrorCode.
const (
	codeAuthentication = 0x0100
	codeAuthorization  = 0x0200
	codeNoExists       = 0x0400
	codeAction         = 0x0800
	codeAPI            = 0x1000
	codeInternal       = 0x2000
	codeAllocate       = 0x4000
)

// refusal is a failure as OpenNebula reports one: code, text, and the id of a missing object or -1.
type refusal struct {
	code int
	text string
	id   int
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.text) }

func refuse(code int, format string, a ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, a...), -1}
}

// method is a row: what it is called, its parameters after the session, in which releases it exists, what it does.
//
// A parameter is s, i, b, or one of these with ? and a default when it may be missing: "i b?0 i?-1 s?".
type method struct {
	name   string
	params string
	help   string
	span
	do func(*call) (any, *refusal)
}

func (m *method) signature() []any {
	names := map[byte]string{'s': "string", 'i': "int", 'b': "boolean"}
	out := []any{"array", "string"}
	for _, p := range strings.Fields(m.params) {
		out = append(out, names[p[0]])
	}
	return out
}

// call is one request on its way through a method.
type call struct {
	*Server
	m    *method
	user *user
	gid  int // the group that counts: the user's, or that of a scoped token
	args []any
	seq  int // REQUEST_ID of history records
}

func (c *call) i(n int) int { v, _ := c.args[n].(int); return v }

func (c *call) s(n int) string { v, _ := c.args[n].(string); return v }

func (c *call) b(n int) bool { v, _ := c.args[n].(bool); return v }

// methods are the rows of this release.
func (r release) methods() map[string]*method {
	out := map[string]*method{}
	for _, rows := range [][]method{systemMethods(), userMethods(), vmMethods(), vmDeviceMethods(), vmPoolMethods(), objectMethods()} {
		for i := range rows {
			if rows[i].holds(r.version) {
				out[rows[i].name] = &rows[i]
			}
		}
	}
	return out
}

// answer turns a request's body into a reply, with the fault that has to spoil it on its way out.
func (s *Server) answer(body []byte) reply {
	r, err := decodeRequest(body)
	if err != nil {
		if f, ok := err.(*fault); ok { //nolint:errorlint // decodeRequest returns no wrapped ones
			return xmlReply(encodeReply(f))
		}
		return xmlReply(encodeReply(parseFault("%v", err)))
	}
	f := s.take(r.method)
	out, replaced := reply{}, false
	if f != nil {
		s.wait(f.Delay)
		out, replaced = f.instead(s, r.method)
	}
	if !replaced {
		v := s.dispatch(r)
		if d, ok := documentIn(v); ok && f != nil {
			s.wait(f.Each * time.Duration(len(d.entries)))
			if f.List != nil {
				f.List.apply(d)
			}
		}
		out = xmlReply(encodeReply(v))
	}
	out.method, out.fault = r.method, f
	return out
}

// documentIn finds the VMs in what a method returns.
func documentIn(v any) (*document, bool) {
	if list, ok := v.([]any); ok && len(list) > 1 {
		d, ok := list[1].(*document)
		return d, ok
	}
	return nil, false
}

func (s *Server) dispatch(r *request) any {
	if v, ok := s.builtin(r); ok {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[r.method]++
	m := s.methods[r.method]
	if m == nil {
		return &fault{faultNoMethod, "Method '" + r.method + "' not defined"}
	}
	s.settle()
	out := s.invoke(m, r.params)
	s.settle()
	return out
}

// invoke checks in oned's order: a session is there and a string, it is valid, then the other parameters.
func (s *Server) invoke(m *method, params []any) any {
	if len(params) == 0 {
		return &fault{faultType, "Not enough parameters"}
	}
	session, ok := params[0].(string)
	if !ok {
		return &fault{faultType, "Parameter that is supposed to be a string is not"}
	}
	c := &call{Server: s, m: m}
	if c.user, c.gid = s.authenticate(session); c.user == nil {
		return c.failure(refuse(codeAuthentication, "User couldn't be authenticated, aborting call."))
	}
	if f := c.bind(params[1:]); f != nil {
		return f
	}
	s.requests++
	c.seq = s.requests*16%9984 + 16
	v, r := m.do(c)
	if r != nil {
		return c.failure(r)
	}
	return []any{true, v, 0}
}

var typeNames = map[byte]string{'s': "a string", 'i': "integer", 'b': "boolean"}

func (c *call) bind(params []any) *fault {
	for n, p := range strings.Fields(c.m.params) {
		kind, def, optional := p[0], "", len(p) > 1
		if optional {
			def = p[2:]
		}
		if n >= len(params) {
			if !optional {
				return &fault{faultType, "Not enough parameters"}
			}
			c.args = append(c.args, defaultArg(kind, def))
			continue
		}
		ok := false
		switch params[n].(type) {
		case string:
			ok = kind == 's'
		case int:
			ok = kind == 'i'
		case bool:
			ok = kind == 'b'
		}
		if !ok {
			return &fault{faultType, "Parameter that is supposed to be " + typeNames[kind] + " is not"}
		}
		c.args = append(c.args, params[n])
	}
	return nil
}

func defaultArg(kind byte, def string) any {
	switch kind {
	case 'i':
		if def == "-1" {
			return -1
		}
		return 0
	case 'b':
		return def == "1"
	}
	return def
}

func (c *call) failure(r *refusal) any {
	out := []any{false, "[" + c.release.label(c.m.name) + "] " + r.text, r.code}
	if c.release.fields > 3 {
		out = append(out, r.id)
	}
	if c.release.fields > 4 {
		out = append(out, int64(-1))
	}
	return out
}

// builtin answers what xmlrpc-c's registry answers by itself; none of it needs a session.
func (s *Server) builtin(r *request) (any, bool) {
	switch r.method {
	case "system.listMethods":
		if f := exactly(0, r.params); f != nil {
			return f, true
		}
		return s.listMethods(), true
	case "system.capabilities", "system.getCapabilities":
		return []member{{"facility", "xmlrpc-c"}, {"version_major", 1}, {"version_minor", 33}, {"version_point", 14}, {"protocol_version", 2}}, true
	case "system.methodHelp", "system.methodSignature", "system.methodExist":
		if f := exactly(1, r.params); f != nil {
			return f, true
		}
		return s.describe(r), true
	case "system.multicall":
		if f := exactly(1, r.params); f != nil {
			return f, true
		}
		return s.multicall(r.params[0]), true
	}
	return nil, false
}

func exactly(n int, params []any) *fault {
	if len(params) == n {
		return nil
	}
	return &fault{faultIndex, fmt.Sprintf("Format string requests exactly %d items from array, but array has %d items.  "+
		"(A '*' at the end would avoid this failure)", n, len(params))}
}

var builtins = []string{"system.listMethods", "system.methodExist", "system.methodHelp", "system.methodSignature",
	"system.multicall", "system.shutdown", "system.capabilities", "system.getCapabilities"}

func (s *Server) listMethods() any {
	out := []any{}
	for _, name := range builtins {
		out = append(out, name)
	}
	names := make([]string, 0, len(s.methods))
	for name := range s.methods {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out = append(out, name)
	}
	return out
}

func (s *Server) describe(r *request) any {
	name, ok := r.params[0].(string)
	if !ok {
		return &fault{faultType, "Parameter that is supposed to be a string is not"}
	}
	m := s.methods[name]
	switch {
	case r.method == "system.methodExist":
		return m != nil || slices.Contains(builtins, name)
	case m == nil:
		return &fault{faultNoMethod, "Method '" + name + "' not defined"}
	case r.method == "system.methodHelp":
		return cmp.Or(m.help, "Returns "+strings.TrimPrefix(name, "one."))
	}
	return []any{m.signature()}
}

func (s *Server) multicall(arg any) any {
	list, ok := arg.([]any)
	if !ok {
		return &fault{faultType, "Value of type other than array supplied where array was expected"}
	}
	out := []any{}
	for _, one := range list {
		var r request
		fields, _ := one.([]member)
		for _, f := range fields {
			switch f.name {
			case "methodName":
				r.method, _ = f.value.(string)
			case "params":
				r.params, _ = f.value.([]any)
			}
		}
		if r.method == "system.multicall" {
			out = append(out, faultStruct(&fault{-1, "Recursive system.multicall forbidden"}))
			continue
		}
		v := s.dispatch(&r)
		if f, bad := v.(*fault); bad {
			out = append(out, faultStruct(f))
		} else {
			out = append(out, []any{v})
		}
	}
	return out
}
