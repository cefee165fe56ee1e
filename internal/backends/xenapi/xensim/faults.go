package xensim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Fault is something that goes wrong with a call. Of Code, Garbage and Status only one counts, in the order
// in which they stand here; they replace the answer. The others leave it, and may be combined: Delay, List,
// Hold and Cut.
type Fault struct {
	// Method as it is sent, "Async.VM.start", or without "Async."; "" is any.
	Method string
	// Times it happens: 0 is once, negative for ever.
	Times int
	// Delay before anything else, on the simulator's clock.
	Delay time.Duration
	// Code and Params are an error of the API, answered instead of doing the call.
	Code   string
	Params []string
	// Garbage is sent instead of an HTTP response; the call is not done.
	Garbage []byte
	// Status and HTML are an HTTP response of a proxy, say; the call is not done.
	Status int
	HTML   string
	// List is what becomes of the records in the answer.
	List *List
	// Hold, once HoldAt bytes of the response are sent (headers count), lets it wait until Hold is closed, or
	// the pool is.
	Hold   <-chan struct{}
	HoldAt int
	// Cut ends the connection after CutAfter bytes of the response (headers count). The call is done.
	Cut      bool
	CutAfter int
}

// List is what becomes of the records in an answer, of whatever class. An object is named by its uuid; one
// that is not in the answer is no matter. Damaged and Padded are also for get_record and for snapshots in
// events, the others for get_all_records and get_all_records_where.
type List struct {
	Empty    bool              // none of them
	Reversed bool              // by rising reference
	Swapped  bool              // each pair of neighbours changes places: neither rising nor falling
	Twice    []string          // these once more, after all others
	Damaged  map[string]string // bytes put before the object's name_label as they are, such as "\xff" or "\x01"
	Padded   map[string]int    // its other_config gets a member "padding" of so many bytes, which are never held in memory
}

type failure struct {
	method string
	fail   *Failure
}

// Inject adds a fault; the first that fits a call is used.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	s.faults = append(s.faults, &f)
}

// ClearFaults forgets all faults and failures not used yet.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.failures = nil, nil
}

// FailNext lets the next call of the message fail with the code, inside its task if it has one. An
// operation of a VM fails when its time has passed; session, arguments and state are checked before.
func (s *Server) FailNext(method, code string, params ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, failure{strings.TrimPrefix(method, "Async."), fail(code, params...)})
}

// takeFailure is called with the mutex held.
func (s *Server) takeFailure(method string) *Failure {
	i := slices.IndexFunc(s.failures, func(f failure) bool { return f.method == method })
	if i < 0 {
		return nil
	}
	f := s.failures[i].fail
	s.failures = slices.Delete(s.failures, i, i+1)
	return f
}

// noteCall counts a call and finds the fault that it meets.
func (s *Server) noteCall(method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method]++
	for i, f := range s.faults {
		if f.Method != "" && f.Method != method && "Async."+f.Method != method {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return f
	}
	return nil
}

func (s *Server) delay(f *Fault) *Failure {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	passed, stop := s.clock.Timer(f.Delay)
	defer stop()
	select {
	case <-passed:
		return nil
	case <-done:
		return errStopped()
	}
}

// Calls is how often the method was called, as it was sent.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// CallCounts is how often each method was called.
func (s *Server) CallCounts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Bytes is how much was sent in answer to the method, as it was sent, headers included and as far as it got;
// "" is in all.
func (s *Server) Bytes(method string) int64 {
	s.traffic.Lock()
	defer s.traffic.Unlock()
	if method != "" {
		return s.traffic.sent[method]
	}
	n := int64(0)
	for _, one := range s.traffic.sent {
		n += one
	}
	return n
}

// Sessions is how many sessions are open.
func (s *Server) Sessions() int { return s.count("session") }

// Tasks is how many task objects there are, finished or not.
func (s *Server) Tasks() int { return s.count("task") }

// Connections is how many TCP connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.connections)
}

// ColdMigrations is how often VM.pool_migrate was asked, in the oldest release, without live=true.
func (s *Server) ColdMigrations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.coldMigrations
}

func (s *Server) count(class string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.db.tables[class].byRef)
}
