package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// MissingError names what a list lacks: backends that could not be read to their end, and VMs that cannot be read.
type MissingError struct {
	Unreachable      []Unreachable
	Undecodable      []Undecodable // 100 at most for each page
	UndecodableTotal int64
}

func (e *MissingError) Error() string {
	var parts []string
	for _, u := range e.Unreachable {
		parts = append(parts, fmt.Sprintf("%s: %s", u.Backend, (&Error{Problem: u.Problem}).Error()))
	}
	if e.UndecodableTotal > 0 {
		parts = append(parts, fmt.Sprintf("VMs that cannot be read: %d", e.UndecodableTotal))
	}
	return "the list is not complete: " + strings.Join(parts, "; ")
}

// add takes in what one page lacks. Pages may name the same again.
func (e *MissingError) add(unreachable []Unreachable, undecodable []Undecodable, total int64) {
	for _, u := range unreachable {
		if !slices.ContainsFunc(e.Unreachable, func(known Unreachable) bool { return known.Backend == u.Backend }) {
			e.Unreachable = append(e.Unreachable, u)
		}
	}
	for _, u := range undecodable {
		same := func(known Undecodable) bool { return u.ID != nil && known.ID != nil && *known.ID == *u.ID }
		if !slices.ContainsFunc(e.Undecodable, same) {
			e.Undecodable = append(e.Undecodable, u)
		}
	}
	e.UndecodableTotal = max(e.UndecodableTotal, total, int64(len(e.Undecodable)))
}

// orNil is e if something is missing.
func (e *MissingError) orNil() error {
	if len(e.Unreachable) == 0 && e.UndecodableTotal == 0 {
		return nil
	}
	return e
}

// Listing is all VMs that fit, however many. It is read once.
type Listing struct {
	vms    iter.Seq2[*VM, error]
	cursor *string
}

// VMs are the VMs in their order. An error comes last: a *MissingError says that all have come but what it
// names.
func (l *Listing) VMs() iter.Seq2[*VM, error] { return l.vms }

// Cursor is, once all have come, the StreamEventsParams.Cursor that goes on without a gap; nil if there is none.
func (l *Listing) Cursor() *string { return l.cursor }

// AllVMs lists VMs page by page, each when the caller comes to it.
func (c *Client) AllVMs(ctx context.Context, params *ListVmsParams) *Listing {
	var query ListVmsParams
	if params != nil {
		query = *params
	}
	l := &Listing{}
	l.vms = func(yield func(*VM, error) bool) {
		var missing MissingError
		for first := true; first || query.PageToken != nil; first = false {
			page, err := c.ListVms(ctx, &query)
			if err != nil {
				yield(nil, err)
				return
			}
			if first { // what changes while the others are read is told behind it
				l.cursor = page.Cursor
			}
			missing.add(page.Unreachable, page.Undecodable, page.UndecodableTotal)
			for i := range page.Vms {
				if !yield(&page.Vms[i], nil) {
					return
				}
			}
			query.PageToken = page.NextPageToken
		}
		if err := missing.orNil(); err != nil {
			yield(nil, err)
		}
	}
	return l
}

// StreamVMs lists VMs in one call, as the backends send them: the fastest for very many. It takes no order and
// no pages, and whoever lets it wait for 30 seconds is cut off, which is an error.
func (c *Client) StreamVMs(ctx context.Context, params *ListVmsParams) *Listing {
	l := &Listing{}
	l.vms = func(yield func(*VM, error) bool) {
		r := newListVms(params)
		r.headers.Set("Accept", "application/x-ndjson")
		response, err := c.send(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer response.Body.Close()
		lines := json.NewDecoder(response.Body)
		lines.UseNumber()
		for {
			var line struct {
				VM
				Summary *VMSummary `json:"summary"`
			}
			if err := lines.Decode(&line); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF // the last line is the summary
				}
				yield(nil, fmt.Errorf("the stream of VMs was cut: %w", err))
				return
			}
			if sum := line.Summary; sum != nil {
				l.cursor = sum.Cursor
				missing := &MissingError{sum.Unreachable, sum.Undecodable, sum.UndecodableTotal}
				if err := missing.orNil(); err != nil {
					yield(nil, err)
				}
				return
			}
			if !yield(&line.VM, nil) {
				return
			}
		}
	}
	return l
}
