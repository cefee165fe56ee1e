package opennebula

import (
	"context"
	"errors"
	"io"
	"regexp"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

const (
	// readAhead is how much of an answer is looked at at once.
	readAhead = 256 << 10
	// maxRecord is how long one VM may be; a longer one is told, and passed over.
	maxRecord = 16 << 20
)

// reading is an answer that holds a document, while it arrives.
type reading struct {
	d      *Driver
	ctx    context.Context
	s      backends.Session
	r      request
	begun  time.Time
	stream *wire.Stream
	window *scan.Window
	head   []byte // what stood in front of the document, where that is read from the stream
	doc    *scan.Document
}

// open sends a call whose result is a document, and reads up to that. What a refusal or a fault says is
// told as by call.
func (d *Driver) open(ctx context.Context, s backends.Session, r request, path string, t *scan.Table) (g *reading, err error) {
	err = d.try(func(c *wire.Client) error {
		g = &reading{d: d, ctx: ctx, s: s, r: r, begun: d.cfg.Now()}
		if err := g.begin(c, path, t); err != nil {
			g.close(err)
			return err
		}
		return nil
	})
	return g, err
}

func (g *reading) begin(c *wire.Client, path string, t *scan.Table) (err error) {
	if g.stream, err = c.Open(g.ctx, g.r.method, g.r.arguments(g.s)...); err != nil {
		return g.failed(err)
	}
	g.window = scan.NewWindow(g.stream, readAhead, maxRecord)
	for {
		n, err := answerHead(g.window.Bytes())
		if err == nil {
			g.head = append(g.head, g.window.Bytes()[:n]...)
			g.window.Advance(n)
			g.doc = scan.NewDocument(g.window, path, t, false)
			return nil
		}
		if !errors.Is(err, scan.ErrEnds) || g.window.More() != nil {
			return g.whole(path, t)
		}
	}
}

// whole reads an answer that does not begin as one with a document does. Nearly always it is a refusal
// or a fault.
func (g *reading) whole(path string, t *scan.Table) error {
	reply, err := g.stream.Whole(g.window)
	if err != nil {
		return g.failed(err)
	}
	result, err := g.d.result(g.s, g.r, reply)
	if err != nil {
		return err
	}
	if g.doc, err = inString(result, path, t); err != nil {
		return g.d.garbled(g.r, err)
	}
	return nil
}

// inString is the document that a string holds.
func inString(v scan.Value, path string, t *scan.Table) (*scan.Document, error) {
	if v.Kind() != scan.String {
		return nil, errors.New("the result is no string")
	}
	return scan.NewDocument(scan.Whole(v.Body()), path, t, true), nil
}

// answerTags are what stands in front of the result in [true, result, …].
var answerTags = []string{"methodResponse", "params", "param", "value", "array", "data", "value", "boolean"}

var errNoAnswer = errors.New("not a success with a string")

// answerHead is the length of what stands in front of the string in [true, string, …].
func answerHead(b []byte) (n int, err error) {
	i := len(b) - len(scan.Trim(b))
	for _, name := range answerTags {
		if i, err = scan.Expect(b, i, name, scan.Start); err != nil {
			return 0, err
		}
	}
	switch {
	case i == len(b):
		return 0, scan.ErrEnds
	case b[i] != '1':
		return 0, errNoAnswer
	}
	if i, err = scan.Expect(b, i+1, "boolean", scan.End); err != nil {
		return 0, err
	}
	if i, err = scan.Expect(b, i, "value", scan.End); err != nil {
		return 0, err
	}
	if i, err = scan.Expect(b, i, "value", scan.Start); err != nil {
		return 0, err
	}
	return scan.Expect(b, i, "string", scan.Start)
}

// next gives the next item of the document; with a *scan.Damage, what is left of a damaged one. After
// the last there is io.EOF, if the answer ended well. The reading closes itself with any other error.
func (g *reading) next() (*scan.Item, error) {
	item, err := g.doc.Next()
	if _, damaged := errors.AsType[*scan.Damage](err); err == nil || damaged {
		return item, err
	}
	if errors.Is(err, io.EOF) {
		err = g.finish()
	} else {
		err = g.failed(err)
	}
	g.close(err)
	if err == nil {
		err = io.EOF
	}
	return nil, err
}

// finish reads what follows the document: with what stood in front of it, it makes a reply.
func (g *reading) finish() error {
	if g.head == nil {
		return nil
	}
	rest, err := g.stream.Whole(g.window)
	if err != nil {
		return g.failed(err)
	}
	_, err = g.d.result(g.s, g.r, rest.After(g.head))
	return err
}

// failed is a reading's error as an *Error.
func (g *reading) failed(err error) error {
	if errors.Is(err, scan.ErrEnds) {
		err = &wire.Error{Method: g.r.method, Kind: wire.Cut, Sent: true, Err: err}
	}
	if _, ok := errors.AsType[*wire.Error](err); ok {
		return backends.Transport(op(g.r.method), err, g.r.changes)
	}
	return g.d.garbled(g.r, err)
}

// close gives up what has not been read, and observes the call.
func (g *reading) close(err error) {
	if g.begun.IsZero() {
		return
	}
	var size int64
	if g.stream != nil {
		size = g.stream.Size()
		g.stream.Close()
	}
	g.d.observe(g.ctx, g.r, g.begun, size, err)
	g.begun = time.Time{}
}

var firstID = regexp.MustCompile(`&lt;ID&gt;([0-9]{1,10})&lt;/ID&gt;`)

// idOf is the id of an item whose table has the core's paths, damaged or not.
func idOf(item *scan.Item) (int, bool) {
	for _, f := range item.Found() {
		if f.Slot == slotID {
			if n, ok := number(string(item.Append(nil, f))); ok {
				return n, true
			}
			break
		}
	}
	match := firstID.FindSubmatch(item.Raw())
	if match == nil {
		return 0, false
	}
	return number(string(match[1]))
}
