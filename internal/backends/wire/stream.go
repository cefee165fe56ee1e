package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

// Stream is the reply to one call while it arrives: an [io.Reader] of its body. It holds the call's
// place among the client's connections until it is closed, and is not safe for concurrent use.
//
// Options.MaxReply does not bound it, as nothing of it is kept. Options.Timeout bounds the wait for its
// first byte and then for each further one; the time that the reader takes between two reads does not
// count.
type Stream struct {
	client *Client
	x      *exchange
	resp   *http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *time.Timer // nil without a timeout
	first  []byte      // read ahead, to see what it is
	size   int64
	err    error // what every further Read gives
	closed bool
}

// Open sends one call, as [Client.Call] does, and gives the reply's body as it arrives. It has to be
// closed. Errors of Open and of Read are those of Call: *Error, and at the body's sound end io.EOF.
func (c *Client) Open(ctx context.Context, method string, args ...any) (*Stream, error) {
	body, err := c.encode(method, args)
	if err != nil {
		return nil, &Error{Method: method, Kind: BadRequest, Err: err}
	}
	s := &Stream{client: c, x: &exchange{method: method}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if t := c.opt.Timeout; t > 0 {
		s.idle = time.AfterFunc(t, func() { s.cancel(context.DeadlineExceeded) })
	}
	if err := c.enter(s.ctx); err != nil {
		cause := context.Cause(s.ctx)
		s.rest()
		return nil, &Error{Method: method, Kind: ended(cause), Err: cause}
	}
	if s.resp, err = c.send(s.ctx, s.x, body); err == nil { //nolint:bodyclose // Close does
		err = s.recognize()
	}
	if err != nil {
		err = s.x.fail(s.ctx, err)
		s.Close()
		return nil, err
	}
	s.pause()
	return s, nil
}

// recognize refuses what neither is nor claims to be XML.
func (s *Stream) recognize() error {
	if isXML(s.resp.Header.Get("Content-Type")) {
		return nil
	}
	const enough = 1 << 10 // for an XML declaration and a tag
	s.first = make([]byte, enough)
	n, err := io.ReadFull(s.resp.Body, s.first)
	s.first = s.first[:n]
	switch {
	case scan.IsReply(s.first):
		return nil
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return &Error{Kind: ContentType}
}

// Read reads more of the body.
func (s *Stream) Read(p []byte) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(s.first) > 0 {
		n = copy(p, s.first)
		s.first = s.first[n:]
	} else {
		if s.idle != nil {
			s.idle.Reset(s.client.opt.Timeout)
		}
		n, err = s.resp.Body.Read(p)
		s.pause()
	}
	s.size += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.x.fail(s.ctx, err)
	}
	s.err = err
	return n, err
}

// pause stops the clock: nobody waits for the backend.
func (s *Stream) pause() {
	if s.idle != nil {
		s.idle.Stop()
	}
}

// Close ends the call: what has not been read is given up at once.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.resp != nil {
		s.resp.Body.Close()
	}
	s.rest()
	s.client.leave()
	if s.err == nil {
		s.err = &Error{Method: s.x.method, Kind: Canceled, Sent: true, Err: context.Canceled}
	}
	return nil
}

// rest lets go of the clock and the context.
func (s *Stream) rest() {
	s.pause()
	s.cancel(context.Canceled)
}

// Size is how many bytes of the body were read.
func (s *Stream) Size() int64 { return s.size }

// Whole reads all that w has not shown of s, and makes a reply of what it then shows. It is for replies
// that turn out to be small: a fault, a refusal.
func (s *Stream) Whole(w *scan.Window) (*Reply, error) {
	for {
		switch err := w.More(); {
		case errors.Is(err, io.EOF):
			return &Reply{method: s.x.method, body: w.Bytes()}, nil
		case errors.Is(err, scan.ErrTooLong):
			return nil, &Error{Method: s.x.method, Kind: TooLarge, Sent: true, Err: err}
		case err != nil:
			return nil, err
		}
	}
}

// After is a reply of head and then r: what is left of a stream of which a part was used otherwise.
func (r *Reply) After(head []byte) *Reply {
	return &Reply{method: r.method, body: append(head[:len(head):len(head)], r.body...)}
}
