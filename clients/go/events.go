package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// silence is how long nothing may come from a stream. It has a heartbeat every 15 seconds.
const silence = 45 * time.Second

// errLost says that a connection has ended, for whatever reason.
var errLost = errors.New("the stream of events was lost")

// Stream is what happens, as it happens. It is for one goroutine.
type Stream struct {
	ctx     context.Context
	client  *Client
	request *request
	cursor  string
	first   *Event // read while connecting
	closed  bool

	body  io.Closer // nil without a connection
	lines *bufio.Reader
	alive *time.Timer // cuts a connection that is silent for too long
	cut   context.CancelFunc
}

// Follow opens the stream of events; ctx ends it. It answers when the stream stands: nothing that
// happens from then on is missed, and nothing since params.Cursor, if there is one.
func (c *Client) Follow(ctx context.Context, params *StreamEventsParams) (*Stream, error) {
	s := &Stream{ctx: ctx, client: c, request: newStreamEvents(params)}
	if err := s.connect(); err != nil {
		return nil, err
	}
	return s, nil
}

// Events are the events in their order. When the connection is lost they go on behind the last one, as often
// as it takes. One of the type EventTypeResync says that the gateway can no longer tell all: read the VMs of
// its backend anew, and go on. They end with an error: the context's, or the gateway's when it lets
// nobody come back, as at the end of the session.
func (s *Stream) Events() iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for failures := 0; ; {
			event, err := s.next()
			if err == nil {
				failures = 0
				if event != nil && !yield(event, nil) {
					return
				}
				continue
			}
			s.disconnect()
			for err != nil {
				if s.closed {
					return
				}
				if s.ctx.Err() == nil && !errors.Is(err, errLost) && !transient(err) {
					yield(nil, err)
					return
				}
				if stopped := sleep(s.ctx, backoff(failures, err)); stopped != nil {
					yield(nil, stopped)
					return
				}
				failures++
				err = s.connect()
			}
		}
	}
}

// Cursor is where the stream stands: behind the last event. As params.Cursor it lets another one go on there.
func (s *Stream) Cursor() string { return s.cursor }

// Close ends the stream, and its events.
func (s *Stream) Close() {
	s.closed = true
	s.disconnect()
}

func (s *Stream) disconnect() {
	if s.body != nil {
		s.alive.Stop()
		s.cut()
		s.body.Close()
		s.body = nil
	}
}

// connect opens the stream, behind the last event if there was one, and reads up to where it stands.
func (s *Stream) connect() error {
	if s.cursor != "" {
		s.request.header("Last-Event-ID", s.cursor)
	}
	ctx, cut := context.WithCancel(s.ctx)
	alive := time.AfterFunc(silence, cut)
	response, err := s.client.once(ctx, s.request)
	if err != nil {
		alive.Stop()
		cut()
		return err
	}
	s.body, s.lines, s.alive, s.cut = response.Body, bufio.NewReader(response.Body), alive, cut
	if kind := mediaType(response); kind != "text/event-stream" {
		err = fmt.Errorf("GET /events: the answer is no stream of events, but %q", kind)
	} else {
		s.first, err = s.block()
	}
	if err != nil {
		s.disconnect()
	}
	return err
}

// next is the next event, or nil for a heartbeat.
func (s *Stream) next() (*Event, error) {
	if s.body == nil {
		return nil, errLost
	}
	if event := s.first; event != nil {
		s.first = nil
		return event, nil
	}
	return s.block()
}

// block reads up to the next empty line. What a lost connection cuts short counts for nothing.
func (s *Stream) block() (*Event, error) {
	var id, data []byte
	for {
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errLost, err)
		}
		s.alive.Reset(silence)
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimPrefix(value, []byte(" ")); string(field) {
		case "id":
			id = value
		case "data":
			data = append(append(data, value...), '\n')
		}
	}
	if id != nil { // also of a heartbeat, which has come past events that were not asked for
		s.cursor = string(id)
	}
	if data == nil {
		return nil, nil
	}
	event := new(Event)
	if err := json.Unmarshal(data, event); err != nil {
		return nil, fmt.Errorf("event %s cannot be read: %w", id, err)
	}
	return event, nil
}
