package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5/middleware"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// listPlan is what a list's query parameters ask for.
type listPlan struct {
	filter *query.Filter
	order  *query.Order
	mask   *query.Mask
	pager  *query.Pager
	start  *query.Position
	size   int
	from   []source
}

// source is one backend that a list reads.
type source struct {
	backend *backends.Backend
	session backends.Session
	err     error // why it cannot be read at all
}

// unreachableBody names a backend that a list could not read; the others are there.
type unreachableBody struct {
	Backend string   `json:"backend"`
	Problem *Problem `json:"problem"`
}

// undecodableBody names an object that a backend sent and nobody can read.
type undecodableBody struct {
	ID      backends.ID `json:"id,omitzero"`
	Problem *Problem    `json:"problem"`
}

const defaultPageSize = 100

// planList reads the parameters that all lists share. scope is what else decides which items are in
// the list.
func planList[T any](a *API, r *http.Request, collection string, scope ...string) (*listPlan, error) {
	q := r.URL.Query()
	t := reflect.TypeFor[T]()
	p := &listPlan{size: defaultPageSize}
	var err error
	if p.filter, err = query.Compile(q.Get("filter"), t); err != nil {
		return nil, queryError("filter", err)
	}
	if p.order, err = query.ParseOrder(q.Get("orderBy"), t); err != nil {
		return nil, queryError("orderBy", err)
	}
	if p.mask, err = fields[T](r); err != nil {
		return nil, err
	}
	if p.from, err = a.sources(r, q.Get("backend")); err != nil {
		return nil, err
	}
	scope = append(scope, collection, p.filter.String(), q.Get("backend"))
	scope = append(scope, p.logins(auth.From(r.Context()))...)
	p.pager = query.NewPager(a.sessions.Key("page tokens"), p.order, scope...)
	if p.start, err = p.pager.Position(q.Get("pageToken")); err != nil {
		return nil, queryError("pageToken", err)
	}
	if size := q.Get("pageSize"); size != "" {
		p.size, err = strconv.Atoi(size) // the contract has settled that it is a number in range
	}
	return p, err
}

// logins tells whose list it is: a page token of one user is none of another's.
func (p *listPlan) logins(session *auth.Session) (owners []string) {
	for _, l := range session.Logins {
		if slices.ContainsFunc(p.from, func(s source) bool { return s.backend.Name == l.Backend }) {
			owners = append(owners, l.Owner())
		}
	}
	slices.Sort(owners)
	return owners
}

// queryError points at the character of a parameter that is wrong.
func queryError(parameter string, err error) error {
	e, ok := errors.AsType[*query.Error](err)
	if !ok {
		return err
	}
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: fmt.Sprintf("The parameter %s is not valid: %s.", parameter, e.Error()),
		Fields: []backends.FieldError{{Parameter: parameter, Detail: e.Error()}},
	}
}

// sources is the backends that names asks for ("" is all that the session has a login at).
func (a *API) sources(r *http.Request, names string) ([]source, error) {
	session := auth.From(r.Context())
	var list []source
	if names == "" {
		for _, b := range a.backends {
			if slices.ContainsFunc(session.Logins, func(l auth.Login) bool { return l.Backend == b.Name }) {
				s, err := session.At(b.Name)
				list = append(list, source{b, s, err})
			}
		}
		return list, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		b, ok := a.backends.Get(name)
		if !ok {
			detail := fmt.Sprintf("there is no backend %q: GET /backends lists them", clip(name))
			return nil, &backends.Error{
				Code:   backends.InvalidArgument,
				Detail: "The parameter backend is not valid: " + detail + ".",
				Fields: []backends.FieldError{{Parameter: "backend", Detail: detail}},
			}
		}
		s, err := session.At(name)
		if err != nil && backends.CodeOf(err) == backends.Unauthenticated {
			return nil, err
		}
		list = append(list, source{b, s, err})
	}
	return list, nil
}

// gathered is what the backends of a list gave.
type gathered[T any] struct {
	mu          sync.Mutex
	items       []*T
	unreachable []unreachableBody
	undecodable []undecodableBody
}

// gather reads all sources at once, and keeps the items that the filter and the page ask for.
func gather[T any](r *http.Request, a *API, p *listPlan, read func(context.Context, source) iter.Seq2[*T, error]) (*gathered[T], error) {
	g := &gathered[T]{items: []*T{}, unreachable: []unreachableBody{}, undecodable: []undecodableBody{}}
	var wg sync.WaitGroup
	var failed error
	for _, src := range p.from {
		if src.err != nil {
			g.lost(r, src, src.err)
			continue
		}
		wg.Go(func() {
			defer a.surviveSource(r, func(err error) { g.lost(r, src, err) })
			for item, err := range read(r.Context(), src) {
				if bad, ok := errors.AsType[*backends.Undecodable](err); ok {
					g.mu.Lock()
					g.undecodable = append(g.undecodable, undecodableBody{bad.ID, problem(bad.Err, middleware.GetReqID(r.Context()))})
					g.mu.Unlock()
					a.metrics.undecodable.WithLabelValues(src.backend.Name).Inc()
					continue
				}
				if err != nil {
					a.backendEnded(r, err)
					g.lost(r, src, err)
					return
				}
				match, err := p.filter.Match(item)
				if err != nil {
					g.mu.Lock()
					failed = queryError("filter", err)
					g.mu.Unlock()
					return
				}
				if match && p.start.Before(item) {
					g.mu.Lock()
					g.items = append(g.items, item)
					g.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	slices.SortFunc(g.items, func(x, y *T) int { return p.order.Compare(x, y) })
	slices.SortFunc(g.unreachable, func(x, y unreachableBody) int { return strings.Compare(x.Backend, y.Backend) })
	slices.SortFunc(g.undecodable, func(x, y undecodableBody) int { return strings.Compare(x.ID.String(), y.ID.String()) })
	return g, r.Context().Err()
}

func (g *gathered[T]) lost(r *http.Request, src source, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unreachable = append(g.unreachable, unreachableBody{src.backend.Name, problem(err, middleware.GetReqID(r.Context()))})
}

// page cuts the gathered items to the page's size, and says where the next one begins.
func page[T any](p *listPlan, items []*T) (shown []any, next string, err error) {
	more := len(items) > p.size
	if more {
		items = items[:p.size]
	}
	shown = make([]any, len(items))
	for i, item := range items {
		shown[i] = item
		if p.mask != nil {
			if shown[i], err = p.mask.Apply(item); err != nil {
				return nil, "", err
			}
		}
	}
	if more {
		next, err = p.pager.Token(items[len(items)-1])
	}
	return shown, next, err
}

// listVMs serves GET /vms.
func (a *API) listVMs(r *http.Request) (reply, error) {
	q := r.URL.Query()
	p, err := planList[backends.VM](a, r, "vms", q.Get("owner"), q.Get("showDeleted"), q.Get("showTemplates"))
	if err != nil {
		return reply{}, err
	}
	ask := backends.Query{
		View:          viewOf(r, backends.ViewBasic),
		ShowDeleted:   q.Get("showDeleted") == "true",
		ShowTemplates: q.Get("showTemplates") == "true",
	}
	shown := ask.View
	if ask.View == backends.ViewID && (q.Get("filter") != "" || q.Get("orderBy") != "") {
		ask.View = backends.ViewBasic // what is compared must be read
	}
	ask.States, _ = p.filter.Equal("state")
	ask.RawStates, _ = p.filter.Equal("rawState.state")
	ask.DisplayNames, _ = p.filter.Equal("displayName")
	owners, err := p.owners(q.Get("owner"))
	if err != nil {
		return reply{}, err
	}

	follow := a.cursorOf(r, p.from)
	g, err := gather(r, a, p, func(ctx context.Context, s source) iter.Seq2[*backends.VM, error] {
		mine := ask
		mine.Owner = owners[s.backend.Name]
		return s.backend.VMs(ctx, s.session, mine)
	})
	if err != nil {
		return reply{}, err
	}
	if shown == backends.ViewID {
		for i, vm := range g.items {
			g.items[i] = &backends.VM{ID: vm.ID}
		}
	}
	vms, next, err := page(p, g.items)
	if err != nil {
		return reply{}, err
	}
	body := struct {
		VMs           []any             `json:"vms"`
		NextPageToken string            `json:"nextPageToken,omitempty"`
		Cursor        string            `json:"cursor,omitempty"`
		Unreachable   []unreachableBody `json:"unreachable"`
		Undecodable   []undecodableBody `json:"undecodable"`
	}{vms, next, follow.String(), g.unreachable, g.undecodable}
	return reply{status: http.StatusOK, body: body}, nil
}

// owners says whose VMs each backend is asked for. A backend whose VMs have no owner is named as
// unreachable, instead of answering as if nobody owned anything there.
func (p *listPlan) owners(owner string) (map[string]string, error) {
	asked := make(map[string]string)
	var user backends.ID
	if text, ok := strings.CutPrefix(owner, "user:"); ok {
		var err error
		if user, err = backends.ParseID(text); err != nil {
			return nil, ownerError("expected user:{id}, such as user:one.3")
		}
	}
	for i, src := range p.from {
		switch {
		case owner == "" || owner == "all" || src.err != nil:
			asked[src.backend.Name] = owner
		case src.backend.Driver.Kind() == backends.XenAPI:
			p.from[i].err = &backends.Error{Code: backends.UnsupportedByBackend, Detail: "VMs of this backend have no owner: leave the parameter owner out to see them."}
		case user == backends.ID{}:
			asked[src.backend.Name] = owner
		case user.Backend != src.backend.Name:
			p.from[i].err = &backends.Error{Code: backends.Unprocessable, Detail: fmt.Sprintf("%s is not a user of this backend.", user)}
		case !src.backend.Driver.CheckID(user.Native):
			return nil, ownerError("the part behind the dot is not an id of this backend")
		default:
			asked[src.backend.Name] = "user:" + user.Native
		}
	}
	return asked, nil
}

func ownerError(detail string) error {
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: "The parameter owner is not valid: " + detail + ".",
		Fields: []backends.FieldError{{Parameter: "owner", Detail: detail}},
	}
}

// collection serves GET of a collection beside VMs.
func collection[T any](a *API, name string, what backends.Resource) handler {
	return func(r *http.Request) (reply, error) {
		p, err := planList[T](a, r, name)
		if err != nil {
			return reply{}, err
		}
		g, err := gather(r, a, p, func(ctx context.Context, s source) iter.Seq2[*T, error] {
			return func(yield func(*T, error) bool) {
				value, err := s.backend.Read(ctx, s.session, what, backends.ID{})
				if err != nil {
					yield(nil, err)
					return
				}
				items, ok := value.([]T)
				if !ok {
					yield(nil, fmt.Errorf("the driver of %s answered %s with a %T", s.backend.Name, what, value))
					return
				}
				for i := range items {
					if !yield(&items[i], nil) {
						return
					}
				}
			}
		})
		if err != nil {
			return reply{}, err
		}
		shown, next, err := page(p, g.items)
		if err != nil {
			return reply{}, err
		}
		body := map[string]any{name: shown, "unreachable": g.unreachable}
		if next != "" {
			body["nextPageToken"] = next
		}
		return reply{status: http.StatusOK, body: body}, nil
	}
}

// object serves GET of one object beside VMs.
func (a *API) object(parameter string, what backends.Resource) handler {
	masks := map[backends.Resource]func(*http.Request) (*query.Mask, error){
		backends.HostByID:     fields[backends.Host],
		backends.TemplateByID: fields[backends.Template],
		backends.ImageByID:    fields[backends.Image],
		backends.StorageByID:  fields[backends.Storage],
		backends.NetworkByID:  fields[backends.Network],
	}
	return func(r *http.Request) (reply, error) {
		mask, err := masks[what](r)
		if err != nil {
			return reply{}, err
		}
		t, err := a.target(r, parameter)
		if err != nil {
			return reply{}, err
		}
		value, err := t.backend.Read(r.Context(), t.session, what, t.id)
		if err != nil {
			return reply{}, err
		}
		if mask != nil {
			masked, err := mask.Apply(value)
			return reply{status: http.StatusOK, body: masked}, err
		}
		return reply{status: http.StatusOK, body: value}, nil
	}
}

// vmPart is a part of a VM that is read by itself. A list stands under its member's name.
type vmPart struct {
	operationID string
	what        backends.Resource
	member      string // "" when the part is one object
}

var vmParts = []vmPart{
	{"listVmDisks", backends.VMDisks, "disks"},
	{"listVmNics", backends.VMNICs, "nics"},
	{"listVmConsoles", backends.VMConsoles, "consoles"},
	{"getVmMetrics", backends.VMMetrics, ""},
	{"getVmGuestMetrics", backends.VMGuestMetrics, ""},
	{"listVmCrashDumps", backends.VMCrashDumps, "crashDumps"},
	{"listVmTpms", backends.VMTPMs, "tpms"},
	{"getVmBootRecord", backends.VMBootRecord, ""},
	{"listVmPossibleHosts", backends.VMPossibleHosts, "hosts"},
	{"listVmAllowedDiskDevices", backends.VMAllowedDisks, "devices"},
	{"listVmAllowedNicDevices", backends.VMAllowedNICs, "devices"},
}

// part serves GET of a part of a VM.
func (a *API) part(p vmPart) handler {
	return func(r *http.Request) (reply, error) {
		t, err := a.target(r, "vm")
		if err != nil {
			return reply{}, err
		}
		value, err := t.backend.Read(r.Context(), t.session, p.what, t.id)
		if err != nil {
			return reply{}, a.elsewhere(err, func(d backends.Driver) bool { return d.Reads(p.what) })
		}
		if p.member == "" {
			return reply{status: http.StatusOK, body: value}, nil
		}
		if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.IsNil() {
			value = json.RawMessage("[]")
		}
		return reply{status: http.StatusOK, body: map[string]any{p.member: value}}, nil
	}
}
