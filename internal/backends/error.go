package backends

import (
	"context"
	"errors"
	"time"
)

// Code says what went wrong, in a closed vocabulary: callers act on it, never on text. The zero
// Code is Internal, so that an error which forgot its code is a 500.
type Code int

// The codes. Their HTTP status and title stand in one table, internal/handlers/problem.go.
const (
	Internal Code = iota
	InvalidArgument
	Unauthenticated
	BackendSessionEnded
	PermissionDenied
	NotFound
	MethodNotAllowed
	WrongState
	Conflict
	ETagMismatch
	PayloadTooLarge
	UnsupportedMediaType
	Unprocessable
	RateLimited
	UnsupportedByBackend
	BackendFault
	BackendUnavailable
	BackendTimeout
	codeCount // not a code
)

var codeNames = [codeCount]string{
	Internal:             "INTERNAL",
	InvalidArgument:      "INVALID_ARGUMENT",
	Unauthenticated:      "UNAUTHENTICATED",
	BackendSessionEnded:  "BACKEND_SESSION_ENDED",
	PermissionDenied:     "PERMISSION_DENIED",
	NotFound:             "NOT_FOUND",
	MethodNotAllowed:     "METHOD_NOT_ALLOWED",
	WrongState:           "WRONG_STATE",
	Conflict:             "CONFLICT",
	ETagMismatch:         "ETAG_MISMATCH",
	PayloadTooLarge:      "PAYLOAD_TOO_LARGE",
	UnsupportedMediaType: "UNSUPPORTED_MEDIA_TYPE",
	Unprocessable:        "UNPROCESSABLE",
	RateLimited:          "RATE_LIMITED",
	UnsupportedByBackend: "UNSUPPORTED_BY_BACKEND",
	BackendFault:         "BACKEND_FAULT",
	BackendUnavailable:   "BACKEND_UNAVAILABLE",
	BackendTimeout:       "BACKEND_TIMEOUT",
}

// Codes is every Code.
func Codes() []Code {
	all := make([]Code, codeCount)
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// String is the code as clients see it.
func (c Code) String() string {
	if c < 0 || c >= codeCount {
		return codeNames[Internal]
	}
	return codeNames[c]
}

// Error is the only error that passes from room to room.
type Error struct {
	Code   Code
	Op     string         // for the log: "opennebula one.vm.migrate"
	Detail string         // for the caller, in our own words: no secret, no reference, no backend text
	Fields []FieldError   // which members of the request are wrong
	Fault  *Fault         // what the backend said, cleaned; nil when it said nothing
	Err    error          // the cause, for the log only
	Wait   time.Duration  // how long to wait before trying again; 0 = not said
	State  *StateConflict // with WrongState: where the VM stands
	// MaybeDone says that a change may have happened although the answer was lost.
	MaybeDone bool
	// SupportedBy names the backends that have what this one lacks, with UnsupportedByBackend.
	SupportedBy []string
	// Applied and NotApplied list the members of a PATCH that failed half-way.
	Applied, NotApplied []string
	// Allow lists the methods a path has, with MethodNotAllowed.
	Allow []string
}

// FieldError points at one member (an RFC 6901 pointer into the body) or parameter of a request.
type FieldError struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// Fault is a backend's refusal in its own words, with references turned into ids and secrets
// removed. Code is XenAPI's first error parameter, or OpenNebula's number in decimal.
type Fault struct {
	ID      string   `json:"id"`
	Kind    Kind     `json:"kind"`
	Method  string   `json:"method,omitempty"`
	Code    string   `json:"code,omitempty"`
	Params  []string `json:"params,omitempty"`
	Message string   `json:"message,omitempty"`
}

// StateConflict is where a VM stood when it refused a verb.
type StateConflict struct {
	State          State
	RawState       *RawState
	AllowedActions []AllowedAction
}

// Error is for logs and tests; clients get Detail.
func (e *Error) Error() string {
	text := e.Code.String()
	if e.Op != "" {
		text = e.Op + ": " + text
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Fault != nil && e.Fault.Code != "" {
		text += " (backend code " + e.Fault.Code + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError turns any error into an *Error: one that is not ours becomes Internal without a detail.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Err: err}
}

// CodeOf is the code of err; Internal for an error that is not ours.
func CodeOf(err error) Code { return AsError(err).Code }

// Invalid is a request whose member at pointer is wrong.
func Invalid(pointer, detail string) *Error {
	return &Error{
		Code:   InvalidArgument,
		Detail: "The request is not valid: " + detail,
		Fields: []FieldError{{Pointer: pointer, Detail: detail}},
	}
}

// transportError is what internal/backends/wire says of a call that brought no well-formed reply.
// It is an interface so that wire need not import this package, nor this package wire.
type transportError interface {
	error
	Failure() string // "unreachable", "timeout", "canceled", "cut", "status", "content-type", "too-large", "malformed", "bad-request"
	MaybeDone() bool
}

var transportDetails = map[string]struct {
	code   Code
	detail string
}{
	"unreachable":  {BackendUnavailable, "The backend could not be reached."},
	"timeout":      {BackendTimeout, "The backend did not answer in time."},
	"canceled":     {BackendTimeout, "The request was given up before the backend answered."},
	"cut":          {BackendUnavailable, "The backend closed the connection in the middle of its answer."},
	"status":       {BackendUnavailable, "The backend, or a proxy in front of it, answered with an HTTP error."},
	"content-type": {BackendFault, "The backend answered with something that is not XML-RPC."},
	"too-large":    {BackendFault, "The backend's answer is larger than the gateway accepts."},
	"malformed":    {BackendFault, "The backend's answer is not well-formed."},
	"bad-request":  {InvalidArgument, "The request holds something that cannot be sent to the backend."},
}

// Transport turns an error of the wire into an *Error. With changes, a call that may have reached
// the backend says that its outcome is unknown.
func Transport(op string, err error, changes bool) *Error {
	e := &Error{Code: Internal, Op: op, Err: err}
	t, ok := errors.AsType[transportError](err)
	if !ok {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			e.Code, e.Detail = BackendTimeout, transportDetails["timeout"].detail
		}
		return e
	}
	d := transportDetails[t.Failure()]
	e.Code, e.Detail = d.code, d.detail
	if e.Code == BackendUnavailable {
		e.Wait = 5 * time.Second
	}
	if changes && t.MaybeDone() {
		e.MaybeDone = true
		e.Detail += " Whether the change was made is unknown: read the VM before trying again."
	}
	return e
}

// ErrorRow documents what one of a backend's own error codes becomes. docs/errors.md is made of
// them.
type ErrorRow struct {
	Backend Kind
	Code    string // the backend's: "VM_BAD_POWER_STATE", "2048"
	Name    string // the backend's name of a numbered code, or ""
	Becomes Code
	Note    string // when it becomes something else
}
