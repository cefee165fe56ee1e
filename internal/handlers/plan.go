package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

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
	what   string // all of the request that a backend's part of the page depends on
}

// source is one backend that a list reads.
type source struct {
	backend *backends.Backend
	session backends.Session
	owner   string
	err     error   // why it cannot be read at all
	mirror  *mirror // to be read instead of the backend, if there is one
}

// key names a read of the source for all who want the same of it.
func (s source) key(what string) readKey {
	return readKey{owner: s.owner, session: s.session, what: what}
}

const defaultPageSize = 100

// planList reads the parameters that all lists share. scope is what else decides which items are in
// the list.
func planList[T any](a *API, r *http.Request, collection string, scope ...string) (*listPlan, error) {
	q := r.URL.Query()
	p, err := planItems[T](a, r)
	if err != nil {
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
	q.Del("backend")
	p.what = collection + "?" + q.Encode()
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

// planItems reads the parameters that say which items a list has, in which order, and how much of
// each.
func planItems[T any](a *API, r *http.Request) (*listPlan, error) {
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
	p.from, err = a.sources(r, q.Get("backend"))
	return p, err
}

// fields reads the mask of a request; nil is everything.
func fields[T any](r *http.Request) (*query.Mask, error) {
	text := r.URL.Query().Get("fields")
	if text == "" {
		return nil, nil
	}
	mask, err := query.ParseFields(text, reflect.TypeFor[T]())
	if err != nil {
		return nil, queryError("fields", err)
	}
	return mask, nil
}

// queryError points at the character of a parameter that is wrong.
func queryError(parameter string, err error) error {
	e, ok := errors.AsType[*query.Error](err)
	if !ok {
		return err
	}
	return parameterError(parameter, e.Error())
}

// parameterError refuses a parameter. detail goes on after a colon.
func parameterError(name, detail string) error {
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: "The parameter " + name + " is not valid: " + detail + ".",
		Fields: []backends.FieldError{{Parameter: name, Detail: detail}},
	}
}

// sources is the backends that names asks for ("" is all that the session has a login at).
func (a *API) sources(r *http.Request, names string) ([]source, error) {
	session := auth.From(r.Context())
	var list []source
	if names == "" {
		for _, b := range a.backends {
			if slices.ContainsFunc(session.Logins, func(l auth.Login) bool { return l.Backend == b.Name }) {
				list = append(list, sourceAt(session, b))
			}
		}
		return list, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		b, ok := a.backends.Get(name)
		if !ok {
			return nil, parameterError("backend", fmt.Sprintf("there is no backend %q: GET /backends lists them", clip(name)))
		}
		src := sourceAt(session, b)
		if backends.CodeOf(src.err) == backends.Unauthenticated && src.err != nil {
			return nil, src.err
		}
		list = append(list, src)
	}
	return list, nil
}

func sourceAt(session *auth.Session, b *backends.Backend) source {
	login, err := session.LoginAt(b.Name)
	if err != nil {
		return source{backend: b, err: err}
	}
	s, err := session.At(b.Name)
	return source{backend: b, session: s, owner: login.Owner(), err: err}
}

// whole reports whether the list is everything in the order of ids, so that its first items are the
// first ones of the first backends.
func (p *listPlan) whole() bool { return p.filter.String() == "" && p.order.ByID() }

// pending is the sources that can have something behind the place where the page begins.
func (p *listPlan) pending() []source {
	start, err := backends.ParseID(p.start.ID())
	if err != nil || !p.order.ByID() {
		return p.from
	}
	return slices.DeleteFunc(slices.Clone(p.from), func(s source) bool { return s.backend.Name < start.Backend })
}

// rounds is the sources in groups that are read at once, one group after the other until the page is
// full: whoever pages through all VMs shall not have every backend read to its end for each page.
func (p *listPlan) rounds() [][]source {
	pending := p.pending()
	if !p.whole() {
		return [][]source{pending}
	}
	pending = slices.SortedFunc(slices.Values(pending), func(x, y source) int { return strings.Compare(x.backend.Name, y.backend.Name) })
	return slices.Collect(slices.Chunk(pending, 1))
}

func (p *listPlan) mirrors() []*mirror {
	list := make([]*mirror, len(p.from))
	for i := range p.from {
		list[i] = p.from[i].mirror
	}
	return list
}
