package xenapi

import (
	"context"
	"errors"
	"io"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

const (
	// window is how much of an answer is looked at while it arrives.
	window = 256 << 10
	// maxRecord is how long one record may be. One that is longer is passed over without being held.
	maxRecord = 16 << 20
	// refPrefix is how references begin, and so the names of the records in an answer.
	refPrefix = "OpaqueRef:"
)

// answer is the reply to a call that was not refused, while it arrives: read up to what the call
// answers with. It has to be closed.
type answer struct {
	*scan.Reader
	d      *Driver
	method string
	stream *wire.Stream
	seen   func(size int64, err error)
	err    error
}

// stream is call for an answer that is read while it arrives, over the client that via chooses.
func (l *link) stream(ctx context.Context, via func(*node) *wire.Client, method string, args ...any) (a *answer, err error) {
	args = append([]any{l.session}, args...)
	err = l.d.follow(ctx, method, func(at *node) (err error) {
		start := time.Now()
		seen := func(size int64, err error) { l.d.observe(ctx, method, start, size, err) }
		if a, err = openAt(ctx, via(at), method, args); err != nil {
			seen(0, err)
			return err
		}
		a.d, a.seen = l.d, seen
		return nil
	})
	if err != nil {
		return nil, l.refine(err)
	}
	return a, nil
}

func ofLists(at *node) *wire.Client   { return at.streams }
func ofEvents(at *node) *wire.Client  { return at.watches }
func ofLookups(at *node) *wire.Client { return at.client }

func openAt(ctx context.Context, c *wire.Client, method string, args []any) (*answer, error) {
	stream, err := c.Open(ctx, method, args...)
	if err != nil {
		return nil, err
	}
	w := scan.NewWindow(stream, window, maxRecord)
	a := &answer{Reader: scan.NewReader(w, refPrefix), method: method, stream: stream}
	good, err := succeeded(w)
	if err == nil && !good {
		var reply *wire.Reply
		if reply, err = stream.Whole(w); err == nil {
			_, err = unwrap(method, reply)
		}
	}
	if err == nil {
		err = a.begin()
	}
	if err != nil {
		err = a.failed(err)
		stream.Close()
		return nil, err
	}
	return a, nil
}

// succeeded looks whether a reply begins as XenAPI's successes do. Anything else is small, and read
// whole.
func succeeded(w *scan.Window) (bool, error) {
	for {
		good, err := beginsWell(w.Bytes())
		if !errors.Is(err, scan.ErrEnds) {
			return good, nil // what is wrong is told when it is read whole
		}
		if err := w.More(); err != nil {
			return false, err
		}
	}
}

func beginsWell(b []byte) (bool, error) {
	r := scan.NewReader(scan.Whole(b), "")
	if fault, err := r.Begin(); fault || err != nil {
		return false, err
	}
	if _, err := r.Enter(); err != nil {
		return false, err
	}
	name, _, err := r.Member()
	if err != nil || name != "Status" {
		return false, err
	}
	status, err := r.Value()
	if err != nil {
		return false, err
	}
	text, err := status.Text()
	return string(text) == statusSuccess, err
}

// begin reads up to what the call answers with.
func (a *answer) begin() error {
	if _, err := a.Begin(); err != nil {
		return err
	}
	if _, err := a.Enter(); err != nil {
		return err
	}
	for {
		name, ok, err := a.Member()
		switch {
		case err != nil:
			return err
		case !ok:
			return errors.New("no member Value")
		case name == "Value":
			return nil
		}
		if _, err := a.Value(); err != nil {
			return err
		}
	}
}

// finish reads the rest, which must not be missing: an answer without its end was cut.
func (a *answer) finish() error {
	for {
		_, ok, err := a.Member()
		if err != nil {
			return err
		}
		if !ok {
			return a.End()
		}
		if _, err := a.Value(); err != nil {
			return err
		}
	}
}

// fail is the error with which an answer ends, as an *Error.
func (a *answer) fail(err error) error {
	if _, ok := errors.AsType[damage](err); ok {
		return a.d.undecodable(a.method, err)
	}
	if _, ok := errors.AsType[*backends.Error](err); ok {
		return err
	}
	a.err = a.failed(err)
	return backends.Transport(a.d.op(a.method), a.err, !repeatable(a.method))
}

// failed tells an error of the scanner as the wire tells those of a reply that was read whole.
func (a *answer) failed(err error) error {
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	if errors.Is(err, scan.ErrEnds) || errors.Is(err, io.EOF) {
		return &wire.Error{Method: a.method, Kind: wire.Cut, Sent: true, Err: err}
	}
	return malformed(a.method, err)
}

// close gives up what has not been read.
func (a *answer) close() {
	a.seen(a.stream.Size(), a.err)
	a.stream.Close()
}

// records goes through the records that an answer consists of, and then finishes it. An error of each
// ends it, as does errEnough, which is none.
func (a *answer) records(rec *scan.Record, each func(damaged error) error) error {
	kind, err := a.Enter()
	if err == nil && kind != scan.Struct {
		err = errors.New("the answer is no struct")
	}
	for err == nil {
		var ok bool
		if ok, err = a.Next(rec); !ok {
			break
		}
		err = each(err)
	}
	if err == nil {
		err = a.finish()
	}
	if err == nil || errors.Is(err, errEnough) {
		return nil
	}
	return a.fail(err)
}

// errEnough says that nothing more is wanted.
var errEnough = errors.New("enough")
