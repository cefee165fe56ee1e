package handlers

import (
	"context"
	"iter"
	"net/http"
	"sync"
	"time"

	"vmgateway/internal/backends"
)

const (
	// batchBytes and batchEvery are when the lines that have come together are sent: the first at once,
	// then so many bytes, or what there is after so long.
	batchBytes = 128 << 10
	batchEvery = 20 * time.Millisecond
	// pendingBytes bounds the lines that wait for a client; then its backends wait as well.
	pendingBytes = 256 << 10
	// takenWithin is how long a client may leave what is sent: it keeps connections to backends busy.
	takenWithin = 30 * time.Second
)

// streamVMs serves GET /vms as lines: one VM each, in the order in which they come, and at the end a
// summary.
func (a *API) streamVMs(r *http.Request) (reply, error) {
	q := r.URL.Query()
	for _, name := range []string{"orderBy", "pageSize", "pageToken"} {
		if q.Has(name) {
			return reply{}, parameterError(name, "a stream has no pages, and comes in the order of the backends")
		}
	}
	if q.Has("pretty") {
		return reply{}, parameterError("pretty", "a stream has one VM a line")
	}
	p, err := planItems[backends.VM](a, r)
	if err != nil {
		return reply{}, err
	}
	v, err := a.planVMs(r, p)
	if err != nil {
		return reply{}, err
	}
	header := http.Header{
		"Content-Type":           {linesType},
		"Cache-Control":          {"no-store"},
		"Vary":                   {"Accept"},
		"X-Accel-Buffering":      {"no"}, // nginx would hold lines back
		"X-Content-Type-Options": {"nosniff"},
	}
	a.noteAge(header, p.mirrors()...)
	return reply{status: http.StatusOK, header: header, body: stream(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		if http.NewResponseController(w).Flush() == nil { // the backends may take their time
			a.writeLines(w, r, v)
		}
	})}, nil
}

// writeLines reads all sources at once, and writes what they give until all have ended or the client
// has gone. Then the sources end as well, before it returns.
func (a *API) writeLines(w http.ResponseWriter, r *http.Request, v *vmPlan) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	lines := newLines(ctx)
	outcomes, counts := make([]outcome, len(v.from)), make([]int, len(v.from))
	var sources sync.WaitGroup
	for i, src := range v.from {
		outcomes[i] = a.outcomeOf(src)
		if src.err != nil {
			continue
		}
		sources.Go(func() {
			defer a.surviveSource(r, func(err error) { outcomes[i].lost = err })
			counts[i] = a.putLines(lines, v, &outcomes[i], a.noted(v, src, v.all(ctx, src)))
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sources.Wait()
		lines.close()
	}()
	err := lines.writeTo(w)
	cancel()
	<-ended
	if err != nil || r.Context().Err() != nil {
		return
	}
	s := summary{missing: a.missing(r, outcomes), Cursor: cursorBehind(outcomes).String()}
	for _, n := range counts {
		s.Count += n
	}
	s.Complete = len(s.Unreachable) == 0 && s.UndecodableTotal == 0
	a.metrics.listed.WithLabelValues("vms").Add(float64(s.Count))
	text, err := encodeJSON(map[string]summary{"summary": s})
	if err == nil {
		w.Write(text) // a client that has hung up is nobody's error
	}
}

// summary is the last line of a stream.
type summary struct {
	Count    int    `json:"count"`
	Complete bool   `json:"complete"`
	Cursor   string `json:"cursor,omitempty"`
	missing
}

// putLines reads one source to its end, and says how many lines it gave.
func (a *API) putLines(l *lines, v *vmPlan, o *outcome, vms iter.Seq2[*backends.VM, error]) (count int) {
	var line []byte
	for vm, err := range vms {
		if err != nil {
			if o.failed(a, err) {
				break
			}
			continue
		}
		match, err := v.filter.Match(vm)
		if err == nil && match {
			line, err = v.shape.appendJSON(line[:0], vm)
		}
		switch {
		case err != nil:
			o.lost = err
			return count
		case !match:
		case !l.put(append(line, '\n')):
			return count
		default:
			count++
		}
	}
	return count
}

// lines is what sources have ready for a client. Each puts whole lines; who writes them takes all that
// there is, so that a batch is as large as the client is slow, up to pendingBytes.
type lines struct {
	ctx context.Context

	mu      sync.Mutex
	taken   *sync.Cond // there is room again, or ctx has ended
	pending []byte
	closed  bool

	some chan struct{} // has an element when there is something to take, or nothing will follow
	many chan struct{} // likewise when there is a batch
}

func newLines(ctx context.Context) *lines {
	l := &lines{ctx: ctx, some: make(chan struct{}, 1), many: make(chan struct{}, 1)}
	l.taken = sync.NewCond(&l.mu)
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.taken.Broadcast()
	})
	return l
}

// put adds a line; false when nobody will take it any more.
func (l *lines) put(line []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) >= pendingBytes && l.ctx.Err() == nil {
		l.taken.Wait()
	}
	if l.ctx.Err() != nil {
		return false
	}
	l.pending = append(l.pending, line...)
	l.tell()
	return true
}

// close says that no line will follow.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.tell()
}

// tell wakes who writes. l is locked.
func (l *lines) tell() {
	wake(l.some)
	if len(l.pending) >= batchBytes || l.closed {
		wake(l.many)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take gives all that is pending, in exchange for room of a batch taken before, and whether more may
// follow.
func (l *lines) take(room []byte) (batch []byte, more bool) {
	if cap(room) > 2*pendingBytes {
		room = nil // a line that was very long
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, l.pending = l.pending, room[:0]
	l.taken.Broadcast()
	return batch, !l.closed
}

// writeTo writes the lines until no more will follow, the client has gone, or it has taken nothing for
// too long.
func (l *lines) writeTo(w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	pause := time.NewTimer(0)
	defer pause.Stop()
	var batch []byte
	for {
		select {
		case <-l.some:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
		var more bool
		if batch, more = l.take(batch); len(batch) > 0 {
			if err := send(w, control, batch); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		pause.Reset(batchEvery)
		select {
		case <-l.many:
		case <-pause.C:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

func send(w http.ResponseWriter, control *http.ResponseController, batch []byte) error {
	if err := control.SetWriteDeadline(time.Now().Add(takenWithin)); err != nil {
		return err
	}
	if _, err := w.Write(batch); err != nil {
		return err
	}
	return control.Flush()
}
