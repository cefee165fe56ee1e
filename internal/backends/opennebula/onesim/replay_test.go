package onesim

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exchange is one recorded call. testdata/oned-*.jsonl hold a subset of the recordings in this form; the whole of them
// lies beside the repository on machines that have it, one file an exchange.
type exchange struct {
	Name       string            `json:"name"`
	Method     string            `json:"method"`
	Request    string            `json:"request"`
	Status     int               `json:"status"`
	Response   string            `json:"response"`
	HTTPMethod string            `json:"http_method,omitempty"`
	Path       string            `json:"path,omitempty"`
	Headers    map[string]string `json:"request_headers,omitempty"`
	number     int
}

func (x *exchange) setNumber(t *testing.T) {
	t.Helper()
	n, err := strconv.Atoi(x.Name[:3])
	if err != nil {
		t.Fatalf("%s: no number", x.Name)
	}
	x.number = n
}

func readSubset(t *testing.T, file string) []exchange {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []exchange
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var x exchange
		if err := json.Unmarshal(sc.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		x.setNumber(t)
		out = append(out, x)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// readAll reads the whole recording if it is there.
func readAll(t *testing.T, folder string) []exchange {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "..", "shared", "wire", folder, "[0-9]*.json"))
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	var out []exchange
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var x exchange
		if err := json.Unmarshal(b, &x); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x.Name = strings.TrimSuffix(filepath.Base(name), ".json")
		x.setNumber(t)
		out = append(out, x)
	}
	return out
}

// outgoing is a request as it goes over the wire. Recordings of odd ones change it.
type outgoing struct {
	first   string // request line
	headers []string
	length  string // Content-Length; "" is none
	body    string
}

func (x *exchange) outgoing(body string) *outgoing {
	verb := orDefault(x.HTTPMethod, "POST")
	o := &outgoing{first: verb + " " + orDefault(x.Path, "/RPC2") + " HTTP/1.1", headers: []string{"Host: localhost", "Content-Type: text/xml"}, body: body}
	for k, v := range x.Headers {
		o.headers = append(o.headers, k+": "+v)
	}
	if verb == "POST" {
		o.length = strconv.Itoa(len(body))
	}
	return o
}

func (o *outgoing) bytes() []byte {
	head := append([]string{o.first}, o.headers...)
	if o.length != "" {
		head = append(head, "Content-Length: "+o.length)
	}
	return []byte(strings.Join(head, "\r\n") + "\r\n\r\n" + o.body)
}

// send writes the request and reads the whole reply.
func send(t *testing.T, s *Server, name string, o *outgoing) (int, string) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(o.bytes()); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(raw), "\r\n\r\n")
	if strings.HasPrefix(head, "HTTP/1.1 100") {
		head, rest, _ = strings.Cut(rest, "\r\n\r\n")
	}
	if !strings.Contains(head, "\r\nConnection: close") {
		t.Errorf("%s: the reply does not say that the connection ends: %q", name, head)
	}
	status, err := strconv.Atoi(strings.Fields(head)[1])
	if err != nil {
		t.Fatalf("%s: %q", name, head)
	}
	return status, rest
}

// answered is a reply taken apart: what is compared.
type answered struct {
	status int
	shape  string // types of the elements, or fault, or html
	code   string
	text   string
	doc    []string // paths of the document, repeated ones once
	order  []string // those of its first member, or of all if it is no pool, in their order
	states string   // STATE/LCM_STATE of each VM
	ids    string   // ids of a pool's members
	value  string
}

var (
	// whether a VM has been sampled by then is a matter of the monitor's rhythm
	sampled = regexp.MustCompile(`^(VM_POOL/)?VM/MONITORING/`)
	// how full a host is depends on VMs that were not recorded
	room      = regexp.MustCompile(`(Not enough CPU: \d+)/\d+`)
	position  = regexp.MustCompile(` at line.*$`)
	valueTags = regexp.MustCompile(`(?s)<value>(?:<(string|i4|i8|boolean)>(.*?)</(?:string|i4|i8|boolean)>)</value>`)
)

func takeApart(status int, body string) answered {
	a := answered{status: status}
	switch {
	case strings.HasPrefix(body, "<HTML>"):
		a.shape = "html"
		_, rest, _ := strings.Cut(body, "<P>")
		a.text, _, _ = strings.Cut(rest, "</P>")
		return a
	case !strings.Contains(body, "<methodResponse>"):
		a.shape = "none"
		a.text = body
		return a
	}
	var kinds, values []string
	for _, m := range valueTags.FindAllStringSubmatch(body, -1) {
		kinds = append(kinds, m[1])
		values = append(values, unescape(m[2]))
	}
	a.shape = strings.Join(kinds, " ")
	switch {
	case strings.Contains(body, "<fault>"):
		a.shape = "fault " + a.shape
		a.code, a.text = values[0], position.ReplaceAllString(values[1], "")
		if a.code == "-503" || a.code == "-500" {
			a.text, _, _ = strings.Cut(a.text, ".") // what follows is expat's, and a count of bytes
		}
	case len(kinds) >= 3 && values[0] == "0" && kinds[0] == "boolean":
		a.text, a.code = position.ReplaceAllString(room.ReplaceAllString(values[1], "$1"), ""), values[2]
		if len(values) > 3 {
			a.code += " " + values[3]
		}
	case len(kinds) == 3 && kinds[1] == "string" && strings.HasPrefix(values[1], "<"):
		a.doc, a.order, a.states, a.ids = outline(values[1])
	case len(kinds) == 3 && kinds[1] == "i4":
		a.value = values[1]
	}
	return a
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#x0d;", "\r", "&amp;", "&").Replace(s)
}

// outline lists a document's paths once each, in the order of first appearance.
func outline(doc string) (all, order []string, states, ids string) {
	d := xml.NewDecoder(strings.NewReader(doc))
	var stack []string
	seen := map[string]bool{}
	var text strings.Builder
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return append(all, err.Error()), order, states, ids
		}
		switch e := tok.(type) {
		case xml.StartElement:
			stack = append(stack, e.Name.Local)
			text.Reset()
			if p := strings.Join(stack, "/"); !seen[p] && !sampled.MatchString(p) {
				seen[p] = true
				all = append(all, p)
			}
		case xml.CharData:
			text.Write(e)
		case xml.EndElement:
			p := strings.Join(stack, "/")
			stack = stack[:len(stack)-1]
			if len(stack) == 1 && order == nil && strings.HasSuffix(stack[0], "_POOL") {
				order = slices.Clone(all)
			}
			switch {
			case p == "VM/STATE" || p == "VM/LCM_STATE" || p == "VM_POOL/VM/STATE" || p == "VM_POOL/VM/LCM_STATE":
				states += text.String() + " "
			case len(stack) == 2 && e.Name.Local == "ID" && strings.HasSuffix(stack[0], "_POOL") && !strings.HasSuffix(p, "QUOTAS/ID"):
				ids += text.String() + " "
			}
			text.Reset()
		}
	}
	if order == nil {
		order = all
	}
	return all, order, states, ids
}

// compare names the differences, the most telling first.
func compare(got, want answered) []string {
	var out []string
	differ := func(what, g, w string) {
		if g != w {
			out = append(out, fmt.Sprintf("%s: got %q, want %q", what, g, w))
		}
	}
	if got.status != want.status {
		out = append(out, fmt.Sprintf("status %d, want %d", got.status, want.status))
	}
	differ("shape", got.shape, want.shape)
	differ("code", got.code, want.code)
	differ("text", got.text, want.text)
	differ("states", got.states, want.states)
	differ("ids", got.ids, want.ids)
	differ("value", got.value, want.value)
	var missing, extra []string
	for _, p := range want.doc {
		if !slices.Contains(got.doc, p) {
			missing = append(missing, p)
		}
	}
	for _, p := range got.doc {
		if !slices.Contains(want.doc, p) {
			extra = append(extra, p)
		}
	}
	if len(missing)+len(extra) > 0 {
		out = append(out, fmt.Sprintf("document lacks %v, has too much %v", missing, extra))
	} else if !sameOrder(got.order, want.order) {
		out = append(out, "document: elements in another order")
	}
	return out
}

// replay is one run of a recording against a simulator.
type replay struct {
	*testing.T
	s       *Server
	clock   *ManualClock
	replace map[string]string // recorded token → the simulator's
	placed  int               // how often a VM had to be put into a state that no call had led to
}

var (
	stringParam = regexp.MustCompile(`<string>(.*?)</string>`)
	intParam    = regexp.MustCompile(`<(?:int|i4)>(-?\d+)</(?:int|i4)>`)
	stateWord   = regexp.MustCompile(`state ([A-Z_]+)`)
)

// vmOf is the id of the VM that a call is about; -1 if there is none.
func (x *exchange) vmOf() int {
	m := intParam.FindStringSubmatch(x.Request)
	if m == nil || !strings.HasPrefix(x.Method, "one.vm.") || x.Method == "one.vm.allocate" {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}

// pad makes the VMs that the recording made in calls that were not kept.
func (r *replay) pad(n int, want answered) {
	r.Helper()
	for want.code != "1024 "+strconv.Itoa(n) && n >= r.count() && n < 9999 {
		user := map[string]string{"NOTE": "recorded"}
		if _, err := r.s.PutVM(VMSpec{State: Pending, User: user}); err != nil {
			r.Fatal(err)
		}
	}
}

// count is how many VMs there are.
func (r *replay) count() int {
	n := 0
	r.s.locked(func() { n = len(r.s.vms) })
	return n
}

func (r *replay) statusOf(id int) status {
	v, _ := r.s.VM(id)
	return status{v.State, v.LCM}
}

// reach lets time pass until the VM is in the state; if it does not get there by itself, it is put there.
func (r *replay) reach(id int, want status) {
	r.Helper()
	for range 12 {
		if r.statusOf(id) == want {
			return
		}
		r.s.Advance(5 * time.Second)
	}
	r.placed++
	if err := r.s.SetState(id, want.state, want.lcm); err != nil {
		r.Fatal(err)
	}
}

// calm lets time pass until the VM waits for nothing.
func (r *replay) calm(id int) {
	for range 20 {
		st := r.statusOf(id)
		if _, transient := phases[st.lcm]; st.state != Cloning && (st.state != Active || !transient && st.lcm != LCMInit) {
			return
		}
		r.s.Advance(5 * time.Second)
	}
}

func statusNamed(name string) (status, bool) {
	if i := slices.Index(lcmNames, name); i > 0 {
		return active(LCM(i)), true
	}
	if i := slices.Index(stateNames, name); i >= 0 {
		return is(State(i)), true
	}
	return status{}, false
}

// before brings the VM of a call into the state that the recording had it in.
func (r *replay) before(x *exchange, want answered, prepare map[int]string) {
	r.Helper()
	id := x.vmOf()
	if strings.HasSuffix(x.Method, ".allocate") || strings.HasSuffix(x.Method, ".instantiate") {
		if n, err := strconv.Atoi(want.value); err == nil && x.Method != "one.user.allocate" {
			r.pad(n-1, want)
		}
	}
	if id < 0 {
		return
	}
	r.pad(id, want)
	if id >= r.count() {
		return
	}
	if name, ok := prepare[x.number]; ok {
		st, known := statusNamed(name)
		if !known {
			r.Fatalf("%d: no state %s", x.number, name)
		}
		r.reach(id, st)
		return
	}
	if f := strings.Fields(want.states); len(f) == 2 {
		state, err1 := strconv.Atoi(f[0])
		lcm, err2 := strconv.Atoi(f[1])
		if err := errors.Join(err1, err2); err != nil {
			r.Fatal(err)
		}
		r.reach(id, status{State(state), LCM(lcm)})
		return
	}
	if m := stateWord.FindStringSubmatch(want.text); m != nil {
		if st, known := statusNamed(m[1]); known {
			r.reach(id, st)
			return
		}
	}
	if x.Method != "one.vm.info" {
		r.calm(id)
	}
}

func (r *replay) run(x *exchange, want answered, odd map[int]func(*outgoing)) answered {
	r.Helper()
	body := x.Request
	for from, to := range r.replace {
		body = strings.ReplaceAll(body, from, to)
	}
	o := x.outgoing(body)
	if change := odd[x.number]; change != nil {
		change(o)
	}
	status, reply := send(r.T, r.s, x.Name, o)
	got := takeApart(status, reply)
	if x.Method == "one.user.login" {
		old, now := stringParam.FindStringSubmatch(x.Response), stringParam.FindStringSubmatch(reply)
		if old != nil && now != nil && old[1] != "" && want.code == "" {
			r.replace[old[1]] = now[1]
		}
	}
	return got
}

// sameOrder compares the order of what both have.
func sameOrder(a, b []string) bool {
	keep := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(p string) bool { return !slices.Contains(other, p) })
	}
	return slices.Equal(keep(a, b), keep(b, a))
}

// recording is a set of exchanges with what has to be known to send them again.
type recording struct {
	prepare     map[int]string          // the VM's state, where neither the exchange nor those before it tell
	hooks       map[int]func(*replay)   // what the recording's script did between two exchanges without recording it
	odd         map[int]func(*outgoing) // how a request was written, where its body alone does not tell
	differences map[int]string          // what is answered differently on purpose, and why
}

// replayAll sends all exchanges, compares, and fails on every difference that is not listed, and on every listed one
// that is none any more.
func replayAll(t *testing.T, c Config, all []exchange, rec recording) {
	t.Helper()
	clock := NewClock(time.Date(2026, 11, 22, 10, 34, 6, 0, time.UTC))
	c.Clock, c.Delays = clock, slow()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &replay{T: t, s: s, clock: clock, replace: map[string]string{}}
	matched, listed, next := 0, 0, 0
	for i := range all {
		x := &all[i]
		want := takeApart(x.Status, x.Response)
		for ; next < x.number; next++ { // also those of exchanges that a subset leaves out
			if h := rec.hooks[next+1]; h != nil {
				h(r)
			}
		}
		r.before(x, want, rec.prepare)
		d := compare(r.run(x, want, rec.odd), want)
		why, known := rec.differences[x.number]
		switch {
		case len(d) == 0 && !known:
			matched++
		case len(d) == 0:
			t.Errorf("%s: listed as different (%s), but it matches", x.Name, why)
		case known:
			listed++
		default:
			t.Errorf("%s:\n\t%s", x.Name, strings.Join(d, "\n\t"))
		}
	}
	t.Logf("%s: %d of %d exchanges match, %d differ on purpose; %d times a VM was put into a state instead of led there", s.Release(), matched, len(all), listed, r.placed)
}

// slow makes every step long, so that a replay can stop in each of them.
func slow() map[Step]time.Duration {
	d := DefaultDelays()
	for k := range d {
		d[k] = 5 * time.Second
	}
	d[StepQueue] = time.Millisecond
	return d
}

// do makes a call that the recording's script made without keeping it, as oneadmin.
func (r *replay) do(method string, args ...any) {
	r.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "<methodCall><methodName>%s</methodName><params>", method)
	for _, a := range append([]any{"oneadmin:opennebula"}, args...) {
		b.WriteString("<param>" + encoded(a) + "</param>")
	}
	b.WriteString("</params></methodCall>")
	x := exchange{Name: method}
	status, body := send(r.T, r.s, method, x.outgoing(b.String()))
	if got := takeApart(status, body); got.code != "" {
		r.Errorf("%s %v: %s %s", method, args, got.code, got.text)
	}
}

// fresh makes sure that id is the next VM, and puts it.
func (r *replay) fresh(id int, spec VMSpec) {
	r.Helper()
	r.pad(id-1, answered{})
	if id < r.count() {
		return
	}
	if _, err := r.s.PutVM(spec); err != nil {
		r.Fatal(err)
	}
}

func (r *replay) set(id int, st status) {
	r.Helper()
	if err := r.s.SetState(id, st.state, st.lcm); err != nil {
		r.Fatal(err)
	}
}
