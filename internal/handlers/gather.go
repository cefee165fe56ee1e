package handlers

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5/middleware"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
	"vmgateway/internal/feed"
)

// reading is how one source is read.
type reading[T any] struct {
	items iter.Seq2[*T, error]
	// sorted says that they come in the order of ids, and only those behind the page's start.
	sorted bool
	// keep gives an item that outlives the next one; nil when each does so by itself.
	keep func(*T) *T
	// whole reads what is shown of items to choose from: see [backends.Choice]. nil when the items are
	// what is shown.
	whole func([]*T) iter.Seq2[*T, error]
}

// outcome is what became of reading one source.
type outcome struct {
	backend     string
	lost        error // why there may be more items
	undecodable undecodables
	at          feed.Position // where the source's feed stood before; zero when it was not read
}

// undecodables are the objects that a backend sent and nobody can read: their number, and the first
// of them.
type undecodables struct {
	named []*backends.Undecodable
	total int
}

// mostNamed bounds how many undecodable objects a reply names.
const mostNamed = 100

func (u *undecodables) add(bad *backends.Undecodable) {
	if u.total++; len(u.named) < mostNamed {
		u.named = append(u.named, bad)
	}
}

// part is what one source gives to a page: its first items, at most one more than the page holds.
// Identical requests share it.
type part[T any] struct {
	outcome
	items []*T
	// shown is what the page shows for an item that was to choose from: nil for one that it cannot show.
	shown map[*T]*T
}

// page is the items that a page shows, where the next one begins, and what became of the sources.
type page[T any] struct {
	items    []*T
	next     string
	outcomes []outcome
}

// gather reads the sources of a page, as many as it takes to fill it.
func gather[T any](r *http.Request, a *API, p *listPlan, read func(context.Context, source) reading[T]) (*page[T], error) {
	var got page[T]
	shown := make(map[*T]*T)
	for _, round := range p.rounds() {
		parts, err := gatherRound(r, a, p, round, read)
		if err != nil {
			return nil, err
		}
		for _, one := range parts {
			got.items = append(got.items, one.items...)
			maps.Copy(shown, one.shown)
			got.outcomes = append(got.outcomes, one.outcome)
		}
		if len(got.items) > p.size {
			break
		}
	}
	for _, src := range p.from {
		if !slices.ContainsFunc(got.outcomes, func(o outcome) bool { return o.backend == src.backend.Name }) {
			got.outcomes = append(got.outcomes, a.outcomeOf(src)) // for another page to read
		}
	}
	slices.SortFunc(got.items, func(x, y *T) int { return p.order.Compare(x, y) })
	if len(got.items) > p.size {
		var err error
		got.items = got.items[:p.size]
		if got.next, err = p.pager.Token(got.items[p.size-1]); err != nil {
			return nil, err
		}
	}
	got.items = showing(got.items, shown)
	return &got, r.Context().Err()
}

// showing puts what is shown in the place of the items that were chosen for it.
func showing[T any](items []*T, shown map[*T]*T) []*T {
	for i, item := range items {
		if one, chosen := shown[item]; chosen {
			items[i] = one
		}
	}
	return slices.DeleteFunc(items, func(item *T) bool { return item == nil })
}

// gatherRound reads sources at once.
func gatherRound[T any](r *http.Request, a *API, p *listPlan, from []source, read func(context.Context, source) reading[T]) ([]*part[T], error) {
	parts, failed := make([]*part[T], len(from)), make([]error, len(from))
	var wg sync.WaitGroup
	for i, src := range from {
		if src.err != nil {
			parts[i] = &part[T]{outcome: a.outcomeOf(src)}
			continue
		}
		wg.Go(func() {
			defer a.surviveSource(r, func(err error) {
				parts[i] = &part[T]{outcome: outcome{backend: src.backend.Name, lost: err}}
			})
			if src.mirror != nil {
				parts[i], failed[i] = readPart(a, p, src, read(r.Context(), src))
				return
			}
			parts[i], failed[i] = joinRead(r.Context(), &a.reads, src.key(p.what), func(ctx context.Context) (*part[T], error) {
				return readPart(a, p, src, read(ctx, src))
			})
		})
	}
	wg.Wait()
	return parts, errors.Join(failed...)
}

// readPart reads one source, and keeps what the page may show.
func readPart[T any](a *API, p *listPlan, src source, from reading[T]) (*part[T], error) {
	got := &part[T]{outcome: a.outcomeOf(src)}
	first := firstItems[T]{n: p.size + 1, order: p.order}
	for item, err := range from.items {
		if err != nil {
			if got.failed(a, err) {
				break
			}
			continue
		}
		match, err := p.filter.Match(item)
		if err != nil {
			return nil, queryError("filter", err)
		}
		if match && p.start.Before(item) {
			first.offer(item, from.keep)
		}
		if from.sorted && first.full() {
			break
		}
	}
	got.items = first.items
	if from.whole == nil {
		return got, nil
	}
	return got, got.complete(a, p, from.whole)
}

// complete reads what the page may show of the items that were chosen. One that is no longer what the
// filter asks for is not shown; it keeps its place, so that the next page begins behind it all the same.
func (got *part[T]) complete(a *API, p *listPlan, whole func([]*T) iter.Seq2[*T, error]) error {
	chosen := got.items[:min(len(got.items), p.size)]
	got.shown = make(map[*T]*T, len(chosen))
	for _, item := range chosen {
		got.shown[item] = nil
	}
	i := -1
	for item, err := range whole(chosen) {
		i++
		if err != nil {
			if got.failed(a, err) {
				break
			}
			continue
		}
		if item == nil {
			continue // it has gone
		}
		match, err := p.filter.Match(item)
		if err != nil {
			return queryError("filter", err)
		}
		if match {
			got.shown[chosen[i]] = item
		}
	}
	return nil
}

// failed notes an error of a sequence, and reports whether it is the last of it.
func (o *outcome) failed(a *API, err error) bool {
	bad, ok := errors.AsType[*backends.Undecodable](err)
	if !ok {
		o.lost = err
		return true
	}
	o.undecodable.add(bad)
	a.metrics.undecodable.WithLabelValues(o.backend).Inc()
	return false
}

// firstItems keeps the first n of any number of items, in their order. Of two that are equal, which
// are one object sent twice, it keeps the first.
type firstItems[T any] struct {
	n     int
	order *query.Order
	items []*T
}

func (f *firstItems[T]) full() bool { return len(f.items) == f.n }

func (f *firstItems[T]) compare(x, y *T) int { return f.order.Compare(x, y) }

func (f *firstItems[T]) offer(item *T, keep func(*T) *T) {
	if f.full() && f.compare(item, f.items[f.n-1]) >= 0 {
		return
	}
	at := len(f.items)
	if at > 0 && f.compare(item, f.items[at-1]) <= 0 { // a source in order gives the next one
		var twice bool
		if at, twice = slices.BinarySearchFunc(f.items, item, f.compare); twice {
			return
		}
	}
	if keep != nil {
		item = keep(item)
	}
	if f.full() {
		f.items = f.items[:f.n-1]
	}
	f.items = slices.Insert(f.items, at, item)
}

// missing is what a list does not have, as clients are told.
type missing struct {
	Unreachable      []unreachableBody `json:"unreachable"`
	Undecodable      []undecodableBody `json:"undecodable"`
	UndecodableTotal int               `json:"undecodableTotal"`
}

// unreachableBody names a backend that a list could not read to its end; the others are there.
type unreachableBody struct {
	Backend string   `json:"backend"`
	Problem *Problem `json:"problem"`
}

// undecodableBody names an object that a backend sent and nobody can read.
type undecodableBody struct {
	ID      backends.ID `json:"id,omitzero"`
	Problem *Problem    `json:"problem"`
}

// missing words what became of the sources.
func (a *API) missing(r *http.Request, outcomes []outcome) missing {
	m := missing{Unreachable: []unreachableBody{}, Undecodable: []undecodableBody{}}
	request := middleware.GetReqID(r.Context())
	for _, o := range outcomes {
		if o.lost != nil {
			a.backendEnded(r, o.lost)
			m.Unreachable = append(m.Unreachable, unreachableBody{o.backend, problem(o.lost, request)})
		}
		m.UndecodableTotal += o.undecodable.total
		for _, bad := range o.undecodable.named {
			m.Undecodable = append(m.Undecodable, undecodableBody{bad.ID, problem(bad.Err, request)})
		}
	}
	slices.SortFunc(m.Unreachable, func(x, y unreachableBody) int { return strings.Compare(x.Backend, y.Backend) })
	slices.SortStableFunc(m.Undecodable, func(x, y undecodableBody) int { return strings.Compare(x.ID.String(), y.ID.String()) })
	m.Undecodable = m.Undecodable[:min(len(m.Undecodable), mostNamed)]
	return m
}

// version is what is missing, without the request's id.
func (m missing) version() string {
	var b strings.Builder
	for _, u := range m.Unreachable {
		fmt.Fprintf(&b, "\n%s %s %s", u.Backend, u.Problem.Code, u.Problem.Detail)
	}
	for _, u := range m.Undecodable {
		fmt.Fprintf(&b, "\n%s %s", u.ID, u.Problem.Code)
	}
	fmt.Fprintf(&b, "\n%d", m.UndecodableTotal)
	return b.String()
}

// outcomeOf begins to read a source: its changes are to be followed from where its feed stands now.
func (a *API) outcomeOf(src source) outcome {
	o := outcome{backend: src.backend.Name, lost: src.err}
	switch {
	case src.err != nil:
	case src.mirror != nil:
		o.at = src.mirror.at
	default:
		o.at = a.positionOf(src.owner)
	}
	return o
}

func (a *API) positionOf(owner string) feed.Position {
	if f, ok := a.feeds.Running(owner); ok {
		return f.Position()
	}
	return nowhere
}

// cursorBehind is where to follow the backends from that were read.
func cursorBehind(outcomes []outcome) cursor {
	c := make(cursor)
	for _, o := range outcomes {
		if o.at != (feed.Position{}) {
			c[o.backend] = o.at
		}
	}
	return c
}
