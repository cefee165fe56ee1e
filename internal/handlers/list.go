package handlers

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// vmPlan is what a list of VMs asks for.
type vmPlan struct {
	*listPlan
	ask    backends.Query    // of each backend, but for the owner
	owners map[string]string // whose VMs each backend is asked for
	shape  vmShape
}

// vmShape is how much of a VM is answered.
type vmShape struct {
	bare bool // the id alone
	mask *query.Mask
}

// appendJSON appends the VM as the request wants to see it.
func (s vmShape) appendJSON(b []byte, vm *backends.VM) ([]byte, error) {
	switch {
	case s.bare:
		return (&backends.VM{ID: vm.ID}).AppendJSON(b), nil
	case s.mask != nil && !s.mask.All():
		return s.mask.Append(b, vm)
	}
	return vm.AppendJSON(b), nil
}

// planVMs works out what to ask the backends for.
func (a *API) planVMs(r *http.Request, p *listPlan) (*vmPlan, error) {
	q := r.URL.Query()
	view := viewOf(r, backends.ViewBasic)
	v := &vmPlan{listPlan: p, shape: vmShape{bare: view == backends.ViewID, mask: p.mask}}
	v.ask = backends.Query{
		View:          view,
		ShowDeleted:   q.Get("showDeleted") == "true",
		ShowTemplates: q.Get("showTemplates") == "true",
		Reuse:         true,
	}
	if view == backends.ViewID && (q.Get("filter") != "" || q.Get("orderBy") != "") {
		v.ask.View = backends.ViewBasic // what is compared must be read
	}
	v.ask.Members = v.members()
	v.ask.States, _ = p.filter.Equal("state")
	v.ask.RawStates, _ = p.filter.Equal("rawState.state")
	v.ask.DisplayNames, _ = p.filter.Equal("displayName")
	var err error
	if v.owners, err = p.owners(q.Get("owner")); err != nil {
		return nil, err
	}
	within := maxAge(r.Header)
	for i := range p.from {
		if src := &p.from[i]; src.err == nil && mirrored(v.askOf(*src)) {
			src.mirror = a.mirrorFor(*src, within)
		}
	}
	return v, nil
}

// members is what of each VM is looked at; nil is all that the view has.
func (v *vmPlan) members() []string {
	chosenBy := v.chosenBy()
	switch {
	case v.shape.bare || chosenBy == nil:
		return chosenBy
	case v.mask == nil:
		return nil
	}
	shown := v.mask.Members()
	if shown == nil {
		return nil
	}
	return append(chosenBy, shown...)
}

// chosenBy is what of each VM decides whether, and where, it is in the list; nil is anything.
func (v *vmPlan) chosenBy() []string {
	filter, order := v.filter.Members(), v.order.Members()
	if filter == nil || order == nil {
		return nil
	}
	return append(filter, order...)
}

// askOf is the query for one backend.
func (v *vmPlan) askOf(src source) backends.Query {
	ask := v.ask
	ask.Owner = v.owners[src.backend.Name]
	return ask
}

// read begins to read a source for a page: what its watcher knows, the backend from the page's start
// on, what it takes to choose, or the backend as a whole.
func (v *vmPlan) read(ctx context.Context, src source) reading[backends.VM] {
	byID := v.order.ByID()
	after := ""
	if start, err := backends.ParseID(v.start.ID()); err == nil && byID && start.Backend == src.backend.Name {
		after = start.Native
	}
	ranger, ok := src.backend.Driver.(backends.Ranger)
	switch {
	case src.mirror != nil:
		return reading[backends.VM]{items: mirrorAfter(src, after), sorted: byID}
	case ok && byID && (after == "" || src.backend.Driver.CheckID(after)):
		seq := ranger.VMsAfter(ctx, src.session, v.askOf(src), after)
		return reading[backends.VM]{items: seq, sorted: true, keep: (*backends.VM).Clone}
	}
	if chooser, ok := src.backend.Driver.(backends.Chooser); ok {
		if c := chooser.Choose(ctx, src.session, v.askOf(src), v.chosenBy()); c != nil {
			return reading[backends.VM]{items: c.VMs, keep: c.Keep, whole: c.Whole}
		}
	}
	return reading[backends.VM]{items: v.all(ctx, src), keep: (*backends.VM).Clone}
}

// all is every VM of a source, in its own order.
func (v *vmPlan) all(ctx context.Context, src source) iter.Seq2[*backends.VM, error] {
	if src.mirror != nil {
		return mirrorAfter(src, "")
	}
	return src.backend.VMs(ctx, src.session, v.askOf(src))
}

// mirrorAfter is the VMs of a mirror behind the native id after, in the order of ids, and then those
// that nobody can read.
func mirrorAfter(src source, after string) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		vms := src.mirror.VMs
		if after != "" {
			vms = src.mirror.After(backends.ID{Backend: src.backend.Name, Native: after})
		}
		for _, bad := range src.mirror.Undecodable {
			if !yield(nil, bad) {
				return
			}
		}
		for _, vm := range vms {
			if !yield(vm, nil) {
				return
			}
		}
	}
}

// listVMs serves GET /vms.
func (a *API) listVMs(r *http.Request) (reply, error) {
	if wantsLines(r.Header) {
		return a.streamVMs(r)
	}
	q := r.URL.Query()
	p, err := planList[backends.VM](a, r, "vms", q.Get("owner"), q.Get("showDeleted"), q.Get("showTemplates"))
	if err != nil {
		return reply{}, err
	}
	v, err := a.planVMs(r, p)
	if err != nil {
		return reply{}, err
	}
	page, err := gather(r, a, p, func(ctx context.Context, src source) reading[backends.VM] {
		from := v.read(ctx, src)
		from.items = a.noted(v, src, from.items)
		if whole := from.whole; whole != nil {
			from.whole = func(chosen []*backends.VM) iter.Seq2[*backends.VM, error] {
				return a.noted(v, src, whole(chosen))
			}
		}
		return from
	})
	if err != nil {
		return reply{}, err
	}
	tail := vmTail{NextPageToken: page.next, Cursor: cursorBehind(page.outcomes).String(), missing: a.missing(r, page.outcomes)}
	rep, err := pageReply(a, "vms", page.items, v.shape.appendJSON, tail)
	rep.header.Set("Vary", "Accept")
	a.noteAge(rep.header, p.mirrors()...)
	return rep, err
}

// vmTail is what follows the VMs of a page.
type vmTail struct {
	NextPageToken string `json:"nextPageToken,omitempty"`
	Cursor        string `json:"cursor,omitempty"`
	missing
}

// version is the tail without the cursor and the request's id, which change by themselves.
func (t vmTail) version() string { return t.NextPageToken + t.missing.version() }

// pageReply is a page of items, each as appendJSON writes it, under the collection's name.
func pageReply[T any](a *API, name string, items []*T, appendJSON func([]byte, *T) ([]byte, error), tail interface{ version() string }) (reply, error) {
	rep := reply{status: http.StatusOK, header: http.Header{}}
	a.metrics.listed.WithLabelValues(name).Add(float64(len(items)))
	text := append(make([]byte, 0, 3<<9*(len(items)+1)), `{"`+name+`":[`...)
	for i, item := range items {
		var err error
		if i > 0 {
			text = append(text, ',')
		}
		if text, err = appendJSON(text, item); err != nil {
			return rep, err
		}
	}
	rep.tag = tagOf(text, []byte(tail.version()))
	rest, err := encodeJSON(tail)
	if err != nil {
		return rep, err
	}
	text = append(append(text, "],"...), rest[1:]...)
	rep.body = rawBody{jsonType, text}
	return rep, nil
}

// owners says whose VMs each backend is asked for. A backend whose VMs have no owner is named as
// unreachable, instead of answering as if nobody owned anything there.
func (p *listPlan) owners(owner string) (map[string]string, error) {
	asked := make(map[string]string)
	var user backends.ID
	if text, ok := strings.CutPrefix(owner, "user:"); ok {
		var err error
		if user, err = backends.ParseID(text); err != nil {
			return nil, parameterError("owner", "expected user:{id}, such as user:one.3")
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
			return nil, parameterError("owner", "the part behind the dot is not an id of this backend")
		default:
			asked[src.backend.Name] = "user:" + user.Native
		}
	}
	return asked, nil
}
