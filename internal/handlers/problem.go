package handlers

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5/middleware"
	"go.uber.org/zap"

	"vmgateway/internal/backends"
)

// problemRow is how a code leaves as HTTP.
type problemRow struct {
	status    int
	title     string
	retryable bool // the same request may succeed later without anything being changed
	advice    string
}

// problems has a row for every backends.Code; docs/errors.md is generated from it.
var problems = map[backends.Code]problemRow{
	backends.InvalidArgument:      {400, "The request is not valid", false, "Correct the members or parameters named in `errors`."},
	backends.Unauthenticated:      {401, "Not logged in", false, "Log in with `POST /sessions`, and send the token as `Authorization: Bearer …`."},
	backends.BackendSessionEnded:  {401, "The backend has ended the login", false, "Log in again at that backend with `POST /sessions/current/logins`."},
	backends.PermissionDenied:     {403, "Not allowed", false, "Ask an administrator of the backend for the right, the quota or the lock named in `backend.message`."},
	backends.NotFound:             {404, "Not found", false, "Check the id and the path; what you may not see is not found either."},
	backends.MethodNotAllowed:     {405, "Method not allowed", false, "Use one of the methods in the `Allow` header."},
	backends.WrongState:           {409, "Not possible in this state", false, "`state` says where the VM stands, `allowedActions` what it can do now."},
	backends.Conflict:             {409, "In conflict with something else", true, "Wait for the other work, or change what `backend.message` names."},
	backends.ETagMismatch:         {412, "Changed meanwhile", false, "Read the VM again, and repeat with its new `etag`."},
	backends.PayloadTooLarge:      {413, "Request too large", false, "Send a smaller body."},
	backends.UnsupportedMediaType: {415, "Unsupported media type", false, "Send `Content-Type: application/json`."},
	backends.Unprocessable:        {422, "Understood, but not possible", false, "The request is well-formed but names something that does not exist or does not fit: see `errors`."},
	backends.RateLimited:          {429, "Too many requests", true, "Wait as long as `Retry-After` says."},
	backends.Internal:             {500, "Fault of the gateway", false, "Report it with the `requestId`."},
	backends.UnsupportedByBackend: {501, "The backend cannot do this", false, "`supportedBy` names the backends that can."},
	backends.BackendFault:         {502, "The backend failed", false, "`backend` has what it said. Read the VM before you try again."},
	backends.BackendUnavailable:   {503, "The backend is not available", true, "Wait as long as `Retry-After` says."},
	backends.BackendTimeout:       {504, "The backend did not answer in time", true, "With `outcomeUnknown`, read the VM before you try again."},
}

// Problem is the body of every error (RFC 9457). See Problem in the contract.
type Problem struct {
	Type           string                   `json:"type"`
	Title          string                   `json:"title"`
	Status         int                      `json:"status"`
	Detail         string                   `json:"detail,omitempty"`
	Code           string                   `json:"code"`
	Retryable      bool                     `json:"retryable"`
	RequestID      string                   `json:"requestId"`
	Errors         []backends.FieldError    `json:"errors,omitempty"`
	Backend        *backends.Fault          `json:"backend,omitempty"`
	State          backends.State           `json:"state,omitempty"`
	RawState       *backends.RawState       `json:"rawState,omitempty"`
	AllowedActions []backends.AllowedAction `json:"allowedActions,omitzero"`
	SupportedBy    []string                 `json:"supportedBy,omitempty"`
	Applied        []string                 `json:"applied,omitempty"`
	NotApplied     []string                 `json:"notApplied,omitempty"`
	OutcomeUnknown bool                     `json:"outcomeUnknown,omitempty"`
}

// problem words an error for clients.
func problem(err error, requestID string) *Problem {
	e := backends.AsError(err)
	row := problems[e.Code]
	p := &Problem{
		Type:           "/docs/errors#" + ErrorRow{Code: e.Code.String()}.Anchor(),
		Title:          row.title,
		Status:         row.status,
		Detail:         e.Detail,
		Code:           e.Code.String(),
		Retryable:      row.retryable && !e.MaybeDone,
		RequestID:      requestID,
		Errors:         e.Fields,
		Backend:        e.Fault,
		SupportedBy:    e.SupportedBy,
		Applied:        e.Applied,
		NotApplied:     e.NotApplied,
		OutcomeUnknown: e.MaybeDone,
	}
	if e.State != nil {
		p.State, p.RawState, p.AllowedActions = e.State.State, e.State.RawState, e.State.AllowedActions
	}
	return p
}

// fail is the one place where an error becomes HTTP, and the one place where it is logged.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := backends.AsError(err)
	p := problem(e, middleware.GetReqID(r.Context()))
	if e.Wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.Wait.Seconds()))))
	}
	if len(e.Allow) > 0 {
		w.Header().Set("Allow", strings.Join(e.Allow, ", "))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vmgateway"`)
	}
	level := zap.InfoLevel
	if p.Status >= 500 && e.Code != backends.UnsupportedByBackend {
		level = zap.WarnLevel
	}
	if e.Code == backends.Internal {
		level = zap.ErrorLevel
	}
	a.log.Log(level, "refused", zap.String("requestId", p.RequestID), zap.Stringer("code", e.Code), zap.Error(e))
	reply{status: p.Status, body: p}.write(w, r)
}
