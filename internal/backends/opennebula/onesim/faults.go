package onesim

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// Fault is a failure on purpose of one or more calls. At most one of Garbage, Status, HTML, Code and Fault replaces the
// reply, which keeps the call from happening. The others leave it and may be combined: Delay, Hold, List, and a cut. As a
// Cut of zero is none, a cut before the first byte is CutNow.
type Fault struct {
	Method string        // such as "one.vm.action"; "" is any method
	Times  int           // how many calls; 0 is one, negative is all
	Delay  time.Duration // real time before the answer, ended early by Close
	Each   time.Duration // likewise, for each VM in the answer

	Hold   <-chan struct{} // once HoldAt bytes of the reply are sent, wait until this is closed, or the server is
	HoldAt int
	List   *List // what becomes of the VMs in the reply

	Cut     int    // close the connection after that many bytes of the reply (the call itself has happened)
	CutNow  bool   // close it before the first byte (the call has happened)
	Garbage []byte // these bytes as the body, with status 200 and oned's content type
	Status  int    // this HTTP status with an HTML page, as from a proxy
	HTML    bool   // the same page with status 200, unless Status is set
	Code    int    // an OpenNebula error code, with Text; 0x2000 is internal
	Text    string
	Fault   int // an XML-RPC fault code, with Text
}

// List is what becomes of the VMs in one.vmpool.info, infoextended, infoset and one.vm.info. A VM is named by its id; one
// that is not in the reply is no matter.
type List struct {
	Empty    bool           // none of them
	Reversed bool           // the other way round
	Swapped  bool           // each pair of neighbours changes places: neither ascending nor descending
	Twice    []int          // these once more, after all others
	Damaged  map[int]string // bytes put at the end of the VM's NAME as they are, such as "\xff" or "\x01"
	Padded   map[int]int    // the VM gets a user attribute PADDING of so many bytes, which are never held in memory
}

// Inject orders a fault. Faults are used up in the order they were given.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	s.faults = append(s.faults, &f)
}

// ClearFaults takes back all faults and ordered driver failures.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.failures = nil, map[Step]int{}
}

// FailNext makes the next step of that name fail, as a driver would: boot ends in BOOT_FAILURE, a live migration in
// RUNNING on the old host, an attach in RUNNING without the disk.
func (s *Server) FailNext(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[step]++
}

// Bytes is how much was sent in answer to a method since the start, heads included and as far as it got; "" is in all.
func (s *Server) Bytes(method string) int64 {
	s.net.Lock()
	defer s.net.Unlock()
	if method != "" {
		return s.net.sent[method]
	}
	n := int64(0)
	for _, one := range s.net.sent {
		n += one
	}
	return n
}

// Calls counts the calls of a method since the start, authenticated or not; "" counts all.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if method != "" {
		return s.calls[method]
	}
	n := 0
	for _, one := range s.calls {
		n += one
	}
	return n
}

// CallCounts is a copy of all counters, by method.
func (s *Server) CallCounts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// take finds the fault for a call and uses it up once.
func (s *Server) take(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Method != "" && f.Method != method {
			continue
		}
		if f.Times--; f.Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		once := *f
		return &once
	}
	return nil
}

// apply does to the VMs what was ordered.
func (l *List) apply(d *document) {
	if l.Empty {
		d.entries = nil
	}
	if l.Reversed {
		slices.Reverse(d.entries)
	}
	for i := 1; l.Swapped && i < len(d.entries); i += 2 {
		d.entries[i-1], d.entries[i] = d.entries[i], d.entries[i-1]
	}
	for _, id := range l.Twice {
		if i := slices.IndexFunc(d.entries, func(x entry) bool { return x.id == id }); i >= 0 {
			d.entries = append(d.entries, d.entries[i])
		}
	}
	for i, x := range d.entries {
		if bad, ok := l.Damaged[x.id]; ok {
			x.part = insert(x.part, "&lt;/NAME&gt;", literal(bad))
		}
		if n, ok := l.Padded[x.id]; ok {
			x.part = insert(x.part, "&lt;/USER_TEMPLATE&gt;", parts{
				literal("&lt;PADDING&gt;&lt;![CDATA["), padding(n), literal("]]&gt;&lt;/PADDING&gt;")})
		}
		d.entries[i] = x
	}
}

// insert puts more before the first place where text stands. Documents of 3.x, which have no USER_TEMPLATE, stay as they are.
func insert(p part, text string, more part) part {
	switch p := p.(type) {
	case *row:
		return insert(literal(p.bytes()), text, more)
	case parts:
		last := len(p) - 1
		return append(slices.Clone(p[:last]), insert(p[last], text, more))
	case literal:
		if i := bytes.Index(p, []byte(text)); i >= 0 {
			return parts{p[:i], more, p[i:]}
		}
	}
	return p
}

// wait is real time: what it holds up is a real client.
func (s *Server) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.life().Done():
	}
}

// instead is the reply that a fault puts in the place of the real one.
func (f *Fault) instead(s *Server, name string) (reply, bool) {
	switch {
	case f.Garbage != nil:
		return xmlReply(literal(f.Garbage)), true
	case f.Status != 0:
		return htmlReply(f.Status, "The proxy could not reach the server"), true
	case f.HTML:
		r := htmlReply(200, "It works")
		return r, true
	case f.Fault != 0:
		return xmlReply(encodeReply(&fault{f.Fault, f.Text})), true
	case f.Code != 0:
		c := &call{Server: s, m: &method{name: name}}
		return xmlReply(encodeReply(c.failure(refuse(f.Code, "%s", f.Text)))), true
	}
	return reply{}, false
}

func (f *Fault) cuts() bool { return f.Cut > 0 || f.CutNow }
