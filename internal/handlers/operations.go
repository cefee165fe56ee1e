package handlers

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// operationBody is Operation in the contract.
type operationBody struct {
	*backends.Operation
	Error *Problem `json:"error,omitempty"`
}

func operationOf(o *backends.Operation, r *http.Request) operationBody {
	b := operationBody{Operation: o}
	if o.Err != nil {
		b.Error = problem(o.Err, middleware.GetReqID(r.Context()))
	}
	return b
}

// OperationBody is an operation as clients see it, for events: no request asked for those.
func OperationBody(o *backends.Operation) any {
	b := operationBody{Operation: o}
	if o.Err != nil {
		b.Error = problem(o.Err, "")
	}
	return b
}

// accepted answers a verb that began work: 202 with the operation, or with Prefer: wait=N the ended
// one, if it ends in time.
func (a *API) accepted(r *http.Request, t target, op *backends.Operation) (reply, error) {
	op = a.operations.Started(t.backend, t.login.Owner(), t.session, op)
	wait, asked, err := preferredWait(r)
	if err != nil {
		return reply{}, err
	}
	header := http.Header{"Location": {"/operations/" + op.ID.String()}}
	status := http.StatusAccepted
	if asked {
		header.Set("Preference-Applied", appliedWait(wait))
		// The work goes on whatever becomes of the wait: what is known so far is the answer then.
		if later, err := a.waitFor(r, t, op.ID, wait); err == nil {
			op = later
		}
		if op.Done() {
			status = http.StatusOK
		}
	}
	return reply{status: status, body: operationOf(op, r), header: header}, nil
}

// waitFor waits for an operation's end. When the gateway stops, what is known by then is the answer:
// an operation can take longer than a request may hold up the stop.
func (a *API) waitFor(r *http.Request, t target, id backends.ID, d time.Duration) (*backends.Operation, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	return a.operations.Wait(ctx, t.backend, t.login.Owner(), t.session, id, d)
}

// getOperation serves GET /operations/{operation}.
func (a *API) getOperation(r *http.Request) (reply, error) {
	t, err := a.target(r, "operation")
	if err != nil {
		return reply{}, err
	}
	seconds, err := waitSeconds(r)
	if err != nil {
		return reply{}, err
	}
	var op *backends.Operation
	if seconds > 0 {
		op, err = a.waitFor(r, t, t.id, seconds)
	} else {
		op, err = a.operations.Get(r.Context(), t.backend, t.login.Owner(), t.session, t.id)
	}
	if err != nil {
		return reply{}, err
	}
	if op.Done() {
		a.reads.forget(t.login.Owner()) // who knows of the end reads nothing from before it
	}
	return reply{status: http.StatusOK, body: operationOf(op, r)}, nil
}

// waitSeconds is the parameter of that name, which the contract has settled to be a small number.
func waitSeconds(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("waitSeconds")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	return time.Duration(n) * time.Second, err
}

// cancelOperation serves POST /operations/{operation}:cancel.
func (a *API) cancelOperation(r *http.Request) (reply, error) {
	t, err := a.target(r, "operation")
	if err != nil {
		return reply{}, err
	}
	op, err := a.operations.Cancel(r.Context(), t.backend, t.login.Owner(), t.session, t.id)
	if err != nil {
		return reply{}, err
	}
	header := http.Header{"Location": {"/operations/" + op.ID.String()}}
	return reply{status: http.StatusAccepted, body: operationOf(op, r), header: header}, nil
}

// listOperations serves GET /operations: what the gateway remembers of the caller's own.
func (a *API) listOperations(r *http.Request) (reply, error) {
	session := auth.From(r.Context())
	var owners []string
	for _, l := range session.Logins {
		s, err := session.At(l.Backend)
		b, ok := a.backends.Get(l.Backend)
		if err != nil || !ok {
			continue
		}
		owners = append(owners, l.Owner())
		a.operations.Resume(b, l.Owner(), s) // after a restart, nobody else may have asked yet
	}
	kept, err := a.operations.List(r.Context(), owners)
	if err != nil {
		return reply{}, err
	}
	list := make([]operationBody, len(kept))
	for i, op := range kept {
		list[i] = operationOf(op, r)
	}
	return reply{status: http.StatusOK, body: map[string]any{"operations": list}}, nil
}
