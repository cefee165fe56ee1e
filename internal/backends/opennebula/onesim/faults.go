package onesim

import (
	"maps"
	"slices"
	"time"
)

// Fault is a failure on purpose of one or more calls. Exactly one of Cut, Garbage, Status and Code says what happens;
// with none of them the call is only delayed. The zero Cut with Times only would be ambiguous, so a cut before the first
// byte is CutNow.
type Fault struct {
	Method string        // such as "one.vm.action"; "" is any method
	Times  int           // how many calls; 0 is one, negative is all
	Delay  time.Duration // real time before the answer, ended early by Close

	Cut     int    // close the connection after that many bytes of the reply (the call itself has happened)
	CutNow  bool   // close it before the first byte (the call has happened)
	Garbage []byte // these bytes as the body, with status 200 and oned's content type
	Status  int    // this HTTP status with an HTML page, as from a proxy
	HTML    bool   // the same page with status 200, unless Status is set
	Code    int    // an OpenNebula error code, with Text; 0x2000 is internal
	Text    string
	Fault   int // an XML-RPC fault code, with Text
}

// Inject orders a fault. Faults are used up in the order they were given; those that replace the reply keep the call
// from happening.
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

// wait is real time: what it holds up is a real client.
func (s *Server) wait(f *Fault) {
	if f.Delay <= 0 {
		return
	}
	t := time.NewTimer(f.Delay)
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
		return xmlReply(f.Garbage), true
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
