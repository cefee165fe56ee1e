package handlers

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// target is an object that a path names: its backend, and the caller's session there.
type target struct {
	backend *backends.Backend
	session backends.Session
	login   auth.Login
	id      backends.ID
}

// target reads the id in the path's parameter name. Whatever cannot be an id is not found, without a
// call to any backend.
func (a *API) target(r *http.Request, name string) (target, error) {
	text := chi.URLParam(r, name)
	missing := &backends.Error{Code: backends.NotFound, Detail: fmt.Sprintf("There is no %s with the id %q.", name, clip(text))}
	id, err := backends.ParseID(text)
	if err != nil {
		return target{}, missing
	}
	b, ok := a.backends.Get(id.Backend)
	if !ok {
		return target{}, missing
	}
	if name != "operation" { // an operation's id is its driver's own
		if err := b.PathID(id); err != nil {
			return target{}, missing
		}
	}
	login, err := auth.From(r.Context()).LoginAt(id.Backend)
	if err != nil {
		return target{}, err
	}
	session, err := auth.From(r.Context()).At(id.Backend)
	return target{b, session, login, id}, err
}

// key names a read of the target for all who want the same of it.
func (t target) key(what string) readKey {
	return readKey{owner: t.login.Owner(), session: t.session, what: what + " " + t.id.String()}
}

// getVM serves GET /vms/{vm}.
func (a *API) getVM(r *http.Request) (reply, error) {
	mask, err := fields[backends.VM](r)
	if err != nil {
		return reply{}, err
	}
	t, err := a.target(r, "vm")
	if err != nil {
		return reply{}, err
	}
	view := viewOf(r, backends.ViewFull)
	vm, known, err := a.readVM(r, t, view)
	if err != nil {
		return reply{}, err
	}
	text, err := vmShape{bare: view == backends.ViewID, mask: mask}.appendJSON(nil, vm)
	if err != nil {
		return reply{}, err
	}
	rep := reply{status: http.StatusOK, body: rawBody{jsonType, append(text, '\n')}, header: http.Header{}, tag: tagOf(text)}
	if vm.ETag != "" {
		rep.tag = vm.ETag + "." + rep.tag
	}
	a.noteAge(rep.header, known)
	return rep, nil
}

// readVM reads a VM at its backend, or in the mirror that it gives then.
func (a *API) readVM(r *http.Request, t target, view backends.View) (*backends.VM, *mirror, error) {
	if mirrored(backends.Query{View: view}) {
		if known := a.mirrorOf(t.login.Owner(), maxAge(r.Header)); known != nil {
			if vm, ok := known.Get(t.id); ok {
				return vm, known, nil
			}
		}
	}
	vm, err := joinRead(r.Context(), &a.reads, t.key("vm "+string(view)), func(ctx context.Context) (*backends.VM, error) {
		vm, err := t.backend.VM(ctx, t.session, t.id, view)
		if err == nil {
			a.note(t.login.Owner(), vm)
		}
		return vm, err
	})
	return vm, nil, err
}

// readResource reads a resource of the target.
func (a *API) readResource(r *http.Request, t target, what backends.Resource) (any, error) {
	return joinRead(r.Context(), &a.reads, t.key(string(what)), func(ctx context.Context) (any, error) {
		return t.backend.Read(ctx, t.session, what, t.id)
	})
}

func viewOf(r *http.Request, otherwise backends.View) backends.View {
	if v := r.URL.Query().Get("view"); v != "" {
		return backends.View(v)
	}
	return otherwise
}

func vmReply(status int, vm *backends.VM) reply {
	rep := reply{status: status, body: vm, header: http.Header{}}
	if vm.ETag != "" {
		rep.header["ETag"] = []string{`"` + vm.ETag + `"`}
	}
	return rep
}

// createVM serves POST /vms.
func (a *API) createVM(r *http.Request) (reply, error) {
	members, body, err := changes(r)
	if err != nil {
		return reply{}, err
	}
	name, _ := body["backend"].(string)
	b, ok := a.backends.Get(name)
	if !ok {
		return reply{}, backends.Invalid("/backend", fmt.Sprintf("there is no backend %q: GET /backends lists them", clip(name)))
	}
	session, err := auth.From(r.Context()).At(name)
	if err != nil {
		return reply{}, err
	}
	has := func(d backends.Driver) bool { return writesAll(d, members) }
	if dryRun(r) {
		plan, err := b.PlanCreate(r.Context(), session, members)
		return planned(plan, a.elsewhere(err, has))
	}
	vm, err := b.Create(r.Context(), session, members)
	if err != nil {
		return reply{}, a.elsewhere(err, has)
	}
	rep := vmReply(http.StatusCreated, vm)
	rep.header.Set("Location", "/vms/"+vm.ID.String())
	return rep, nil
}

// updateVM serves PATCH /vms/{vm}.
func (a *API) updateVM(r *http.Request) (reply, error) {
	t, err := a.target(r, "vm")
	if err != nil {
		return reply{}, err
	}
	list, _, err := changes(r)
	if err != nil {
		return reply{}, err
	}
	has := func(d backends.Driver) bool { return writesAll(d, list) }
	if dryRun(r) {
		plan, err := t.backend.PlanPatch(r.Context(), t.session, t.id, list)
		return planned(plan, a.elsewhere(err, has))
	}
	vm, err := t.backend.Patch(r.Context(), t.session, t.id, list)
	if err != nil {
		return reply{}, a.elsewhere(err, has)
	}
	a.note(t.login.Owner(), vm)
	return vmReply(http.StatusOK, vm), nil
}

func writesAll(d backends.Driver, list []backends.Change) bool {
	for _, c := range list {
		if !d.Writes(c.Path) {
			return false
		}
	}
	return true
}

// deleteVM serves DELETE /vms/{vm}.
func (a *API) deleteVM(r *http.Request) (reply, error) {
	q := r.URL.Query()
	force := q.Get("force") == "true"
	return a.do(r, "vm", backends.VerbDelete, backends.Args{Force: &force, DeleteDisks: q.Get("deleteDisks") == "true"})
}

// act serves POST /vms/{vm}:{verb}, for each row of backends.Verbs.
func (a *API) act(spec backends.Spec) handler {
	return func(r *http.Request) (reply, error) {
		var args backends.Args
		if err := decode(r, &args); err != nil {
			return reply{}, err
		}
		return a.do(r, "vm", spec.Verb, args)
	}
}

// saveDisk serves POST /vms/{vm}/disks/{disk}:save.
func (a *API) saveDisk(r *http.Request) (reply, error) {
	var args backends.Args
	if err := decode(r, &args); err != nil {
		return reply{}, err
	}
	vm, err := a.target(r, "vm")
	if err != nil {
		return reply{}, err
	}
	disk, err := a.target(r, "disk")
	if err != nil {
		return reply{}, err
	}
	if disk.id.Backend != vm.id.Backend {
		return reply{}, &backends.Error{Code: backends.NotFound, Detail: "The disk is not one of this VM's."}
	}
	args.Disk = disk.id.Native
	return a.do(r, "vm", backends.VerbSaveDisk, args)
}

// instantiate serves POST /templates/{template}:instantiate.
func (a *API) instantiate(r *http.Request) (reply, error) {
	var args backends.Args
	if err := decode(r, &args); err != nil {
		return reply{}, err
	}
	return a.do(r, "template", backends.VerbInstantiate, args)
}

// do runs a verb on the object that the path's parameter names.
func (a *API) do(r *http.Request, parameter string, v backends.Verb, args backends.Args) (reply, error) {
	t, err := a.target(r, parameter)
	if err != nil {
		return reply{}, err
	}
	has := func(d backends.Driver) bool { return d.Can(v) }
	if _, _, err := preferredWait(r); err != nil {
		return reply{}, err
	}
	if dryRun(r) {
		plan, err := t.backend.PlanDo(r.Context(), t.session, v, t.id, args)
		return planned(plan, a.elsewhere(err, has))
	}
	result, err := t.backend.Do(r.Context(), t.session, v, t.id, args)
	if err != nil {
		return reply{}, a.elsewhere(err, has)
	}
	switch value := result.(type) {
	case *backends.Operation:
		return a.accepted(r, t, value)
	case *backends.VM:
		a.note(t.login.Owner(), value)
		return vmReply(http.StatusOK, value), nil
	case *backends.Check:
		return reply{status: http.StatusOK, body: value}, nil
	}
	return reply{}, fmt.Errorf("the driver of %s answered %q with a %T", t.backend.Name, v, result)
}

// elsewhere names the backends that have what this one lacks.
func (a *API) elsewhere(err error, has func(backends.Driver) bool) error {
	if err == nil || backends.CodeOf(err) != backends.UnsupportedByBackend {
		return err
	}
	e := backends.AsError(err)
	named := *e
	named.SupportedBy = a.backends.Having(has)
	return &named
}
