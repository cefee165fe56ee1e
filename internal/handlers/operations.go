package handlers

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// operationBody is Operation in the contract.
type operationBody struct {
	*backends.Operation
	Error *Problem `json:"error,omitempty"`
}

func operationOf(o *backends.Operation) operationBody {
	b := operationBody{Operation: o}
	if o.Err != nil {
		b.Error = problem(o.Err, "")
	}
	return b
}

const (
	operationsKept = 10_000
	operationsFor  = time.Hour // after the end
)

// operationStore remembers operations, so that one which has ended stays readable after the backend
// has forgotten it. It is bounded: the oldest that have ended go first.
type operationStore struct {
	now   func() time.Time
	mu    sync.Mutex
	byID  map[backends.ID]*keptOperation
	order []backends.ID // oldest first
}

type keptOperation struct {
	owner string
	op    *backends.Operation
}

func newOperationStore(now func() time.Time) *operationStore {
	return &operationStore{now: now, byID: make(map[backends.ID]*keptOperation)}
}

// put keeps what is known of an operation. What has ended does not change any more.
func (s *operationStore) put(owner string, op *backends.Operation) *backends.Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.byID[op.ID]; ok {
		if !kept.op.Done() {
			kept.op = op
		}
		return kept.op
	}
	s.byID[op.ID] = &keptOperation{owner, op}
	s.order = append(s.order, op.ID)
	s.shrink()
	return op
}

func (s *operationStore) shrink() {
	old := s.now().Add(-operationsFor)
	lapsed := func(o *backends.Operation) bool { return o.Done() && o.EndTime != nil && o.EndTime.Before(old) }
	excess := len(s.order) - operationsKept
	if excess <= 0 && !lapsed(s.byID[s.order[0]].op) {
		return
	}
	s.order = slices.DeleteFunc(s.order, func(id backends.ID) bool {
		op := s.byID[id].op
		if lapsed(op) || excess > 0 {
			excess--
			delete(s.byID, id)
			return true
		}
		return false
	})
}

func (s *operationStore) get(id backends.ID) (keptOperation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, ok := s.byID[id]
	if !ok {
		return keptOperation{}, false
	}
	return *kept, true
}

// of lists an owner's operations, newest first.
func (s *operationStore) of(owners []string) []*backends.Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []*backends.Operation{}
	for _, id := range slices.Backward(s.order) {
		if kept := s.byID[id]; slices.Contains(owners, kept.owner) {
			list = append(list, kept.op)
		}
	}
	return list
}

// getOperation serves GET /operations/{operation}.
func (a *API) getOperation(r *http.Request) (reply, error) {
	t, err := a.target(r, "operation")
	if err != nil {
		return reply{}, err
	}
	kept, ok := a.operations.get(t.id)
	if ok && kept.owner != t.login.Owner() {
		return reply{}, &backends.Error{Code: backends.NotFound, Detail: "There is no operation with the id " + chi.URLParam(r, "operation") + "."}
	}
	if ok && kept.op.Done() {
		return reply{status: http.StatusOK, body: a.operationReply(r, kept.op)}, nil
	}
	op, err := t.backend.Driver.Operation(r.Context(), t.session, t.id)
	if err != nil {
		if ok && backends.CodeOf(err) == backends.NotFound { // the backend has forgotten how it ended
			end := a.now().UTC()
			lost := *kept.op
			lost.State, lost.EndTime, lost.Progress = backends.OperationUnknown, &end, nil
			lost.Err = &backends.Error{Code: backends.BackendFault, Detail: "The backend no longer knows this operation: read the VM to see what became of it."}
			return reply{status: http.StatusOK, body: a.operationReply(r, a.operations.put(t.login.Owner(), &lost))}, nil
		}
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: a.operationReply(r, a.operations.put(t.login.Owner(), op))}, nil
}

func (a *API) operationReply(r *http.Request, op *backends.Operation) operationBody {
	b := operationOf(op)
	if b.Error != nil {
		b.Error.RequestID = middleware.GetReqID(r.Context())
	}
	return b
}

// listOperations serves GET /operations: what this gateway remembers of the caller's own.
func (a *API) listOperations(r *http.Request) (reply, error) {
	var owners []string
	for _, l := range auth.From(r.Context()).Logins {
		if _, err := auth.From(r.Context()).At(l.Backend); err == nil {
			owners = append(owners, l.Owner())
		}
	}
	list := []operationBody{}
	for _, op := range a.operations.of(owners) {
		list = append(list, a.operationReply(r, op))
	}
	return reply{status: http.StatusOK, body: map[string]any{"operations": list}}, nil
}
