package xenapi

import (
	"errors"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// failure is a refusal as it came: the code and its parameters, references and all. Its text has the
// code only, so that a log of it gives nothing away.
type failure struct {
	method string
	params []string // never empty; the code first
}

func (f *failure) Error() string { return f.method + ": " + f.code() }

func (f *failure) code() string { return f.params[0] }

// gone reports whether the refusal is that ref stands for nothing.
func (f *failure) gone(ref string) bool {
	return f.code() == "HANDLE_INVALID" && len(f.params) > 2 && f.params[2] == ref
}

// outsideEnum reports whether a value is none of an enumeration's, which xapi tells as a fault of its
// own.
func (f *failure) outsideEnum() bool {
	return f.code() == "INTERNAL_ERROR" && len(f.params) > 1 && strings.Contains(f.params[1], "Unknown tag/contents")
}

// becomes is codeTable by code.
var becomes = func() map[string]backends.Code {
	m := map[string]backends.Code{}
	for _, row := range codeTable {
		for code := range strings.FieldsSeq(row.codes) {
			m[code] = row.becomes
		}
	}
	return m
}()

// codeOf is what a code of XenAPI's becomes. One that is not in the table is a fault that we cannot
// classify. Storage plug-ins put their own number behind SR_BACKEND_FAILURE_.
func codeOf(code string) backends.Code {
	if c, ok := becomes[code]; ok {
		return c
	}
	return backends.BackendFault
}

// ErrorRows are all error codes of XenAPI, and what each becomes.
func ErrorRows() []backends.ErrorRow {
	rows := make([]backends.ErrorRow, 0, len(becomes)+2)
	for code, becomes := range becomes {
		rows = append(rows, backends.ErrorRow{Backend: backends.XenAPI, Code: code, Becomes: becomes, Note: notes[code]})
	}
	rows = append(rows, backends.ErrorRow{
		Backend: backends.XenAPI, Code: "SR_BACKEND_FAILURE_*", Becomes: backends.BackendFault,
		Note: "Any other number of a storage plug-in.",
	}, backends.ErrorRow{
		Backend: backends.XenAPI, Code: "*", Becomes: backends.BackendFault, Note: "A code that is not listed.",
	})
	slices.SortFunc(rows, func(a, b backends.ErrorRow) int { return strings.Compare(a.Code, b.Code) })
	return rows
}

const missingNote = "UNPROCESSABLE when the missing object is not the one in the URL."

// notes say when a code becomes something else, or never comes through.
var notes = map[string]string{
	"HANDLE_INVALID":              missingNote,
	"UUID_INVALID":                missingNote,
	"OBJECT_NOLONGER_EXISTS":      missingNote,
	"HOST_IS_SLAVE":               "Followed to the coordinator it names; only shown when that leads nowhere.",
	"TASK_CANCELLED":              "An operation reads CANCELLED.",
	"SESSION_INVALID":             "Ends the login.",
	"NOT_IMPLEMENTED":             "The message exists in the API, and this release does not carry it out.",
	"INTERNAL_ERROR":              "Also what XenAPI says of a value of the wrong type.",
	"SR_BACKEND_FAILURE_44":       "The storage is full.",
	"NO_HOSTS_AVAILABLE":          "No host of the pool can take the VM now.",
	"OTHER_OPERATION_IN_PROGRESS": "Most conflicting calls wait instead.",
}

// details are our words for the codes that users meet. All others have those of their class.
var details = map[string]string{
	"SESSION_AUTHENTICATION_FAILED":          "The user name or the password is wrong.",
	"SESSION_AUTHORIZATION_FAILED":           "The user may not log in at this backend.",
	"SESSION_INVALID":                        "The session at the backend has ended: log in again.",
	"RBAC_PERMISSION_DENIED":                 "The user's role at the backend does not allow this.",
	"PERMISSION_DENIED":                      "The user may not do this at the backend.",
	"LICENCE_RESTRICTION":                    "The backend's license does not include this.",
	"FEATURE_RESTRICTED":                     "The backend's license does not include this.",
	"VM_IS_TEMPLATE":                         "The VM is a template, and a template cannot do this.",
	"VM_IS_SNAPSHOT":                         "The VM is a snapshot, and a snapshot cannot do this.",
	"PROVISION_ONLY_ALLOWED_ON_TEMPLATE":     "Only a template, or the clone of one, can be provisioned.",
	"OTHER_OPERATION_IN_PROGRESS":            "Another operation on the VM is under way.",
	"OPERATION_BLOCKED":                      "The operation is blocked for this VM (xenapi.blockedOperations).",
	"OPERATION_NOT_ALLOWED":                  "The backend does not allow this here; its message says why.",
	"HOST_IS_LIVE":                           "The VM's host is alive, so that the power state cannot be reset: shut the VM down instead.",
	"DOMAIN_EXISTS":                          "The VM still runs, so that the power state cannot be reset: shut it down instead.",
	"VM_LACKS_FEATURE":                       "The guest does not support this: its agent is missing, too old, or not running yet.",
	"VM_MISSING_PV_DRIVERS":                  "The guest lacks the drivers that this needs.",
	"VM_NO_SUSPEND_SR":                       "There is no storage to keep the suspended VM's memory on.",
	"NO_HOSTS_AVAILABLE":                     "No host of the pool can take the VM now.",
	"HOST_NOT_ENOUGH_FREE_MEMORY":            "The host has not enough free memory.",
	"HOST_NOT_LIVE":                          "The host does not answer.",
	"HOST_OFFLINE":                           "The host is offline.",
	"HOST_DISABLED":                          "The host is disabled.",
	"VM_REQUIRES_SR":                         "The host has no access to a storage that the VM needs.",
	"VM_REQUIRES_NETWORK":                    "The host has no access to a network that the VM needs.",
	"VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT":      "The guest did not react to the request to shut down.",
	"VM_FAILED_SUSPEND_ACKNOWLEDGMENT":       "The guest did not react to the request to suspend.",
	"VM_SHUTDOWN_TIMEOUT":                    "The guest did not shut down in time.",
	"MEMORY_CONSTRAINT_VIOLATION":            "The memory limits must satisfy static min <= dynamic min <= dynamic max <= static max.",
	"MEMORY_CONSTRAINT_VIOLATION_ORDER":      "The memory limits must satisfy static min <= dynamic min <= dynamic max <= static max.",
	"SR_FULL":                                "The storage is full.",
	"SR_BACKEND_FAILURE_44":                  "The storage is full.",
	"NOT_IMPLEMENTED":                        "The backend's release knows this call and does not carry it out.",
	"MESSAGE_REMOVED":                        "The backend's release no longer has this call.",
	"MESSAGE_METHOD_UNKNOWN":                 "The backend's release does not have this call.",
	"INVALID_VALUE":                          "The backend does not accept a value of the request; its message says which.",
	"HOST_IS_SLAVE":                          "The backend is not the pool's coordinator, and the coordinator it names does not answer.",
	"VM_CANNOT_DELETE_DEFAULT_TEMPLATE":      "A template that ships with the product cannot be deleted.",
	"HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN": "This would break the pool's high-availability plan.",
}

var classDetails = map[backends.Code]string{
	backends.InvalidArgument:      "The backend does not accept a value of the request; its message says which.",
	backends.PermissionDenied:     "The user may not do this at the backend.",
	backends.NotFound:             "There is no such object.",
	backends.Conflict:             "The present state of the VM, or of what it needs, does not allow this; the backend's code says why.",
	backends.Unprocessable:        "The backend cannot do this with the values of the request; its code says why.",
	backends.RateLimited:          "The backend is asked for too much of this at once.",
	backends.UnsupportedByBackend: "The backend's release does not have this.",
	backends.BackendFault:         "The backend failed; its code and its message say how.",
	backends.BackendUnavailable:   "The backend, or what it needs, is not available now.",
	backends.BackendTimeout:       "What the backend waited for did not happen in time.",
}

// retryAfter is how long to wait before asking again what is not available now.
const retryAfter = 5 * time.Second

// refused turns a failure into an *Error in our words.
func (d *Driver) refused(f *failure) *backends.Error {
	code := f.code()
	e := &backends.Error{Code: codeOf(code), Op: d.op(f.method), Fault: d.fault(f), Err: f}
	e.Detail = details[code]
	if e.Detail == "" {
		e.Detail = classDetails[e.Code]
	}
	if e.Code == backends.BackendUnavailable || e.Code == backends.RateLimited {
		e.Wait = retryAfter
	}
	return e
}

// fault is what the backend said, without references. Of a login, and of a session that has ended,
// nothing but the code is told: the parameters are what was typed, or the session.
func (d *Driver) fault(f *failure) *backends.Fault {
	fault := &backends.Fault{ID: d.cfg.Name, Kind: backends.XenAPI, Method: f.method, Code: d.clean(f.code(), "")}
	if strings.HasPrefix(f.method, "session.login") || f.code() == "SESSION_INVALID" {
		fault.Message = fault.Code
		return fault
	}
	for i, p := range f.params[1:] {
		class := ""
		if f.code() == "HANDLE_INVALID" && i == 1 {
			class = f.params[1]
		}
		fault.Params = append(fault.Params, d.clean(p, class))
	}
	fault.Message = strings.Join(append([]string{fault.Code}, fault.Params...), ": ")
	return fault
}

// refine says a refusal in the words of the request: whether what is missing is the URL's object or
// one that the body names, and what cannot be done in a wrong state.
func (l *link) refine(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	e := backends.AsError(err)
	if l.pointer != "" && f.outsideEnum() {
		e.Code, e.Detail = backends.InvalidArgument, "The backend's release does not know this value."
	}
	switch e.Code {
	case backends.NotFound:
		l.missing(e, f)
	case backends.WrongState:
		if e.Detail == "" {
			e.Detail = l.wrongState()
		}
	case backends.InvalidArgument, backends.Unprocessable:
		if l.pointer != "" && len(e.Fields) == 0 {
			e.Fields = []backends.FieldError{{Pointer: l.pointer, Detail: "the backend refuses this value"}}
		}
	}
	return e
}

func (l *link) wrongState() string {
	if l.doing == "" {
		return "The VM is not in a state that allows this."
	}
	return "The VM is not in a state in which it can be " + l.doing + "."
}

// missing settles whose mistake a missing object is.
func (l *link) missing(e *backends.Error, f *failure) {
	last := f.params[len(f.params)-1]
	if len(f.params) < 2 || last != "" && (last == l.subject.uuid || last == l.subRef) {
		e.Detail = "There is no " + l.thing() + " with this id."
		return
	}
	e.Code = backends.Unprocessable
	e.Detail = "Something that this needs is missing at the backend."
	if pointer, ok := l.named[last]; ok {
		e.Detail = "The request names an object that does not exist."
		e.Fields = []backends.FieldError{{Pointer: pointer, Detail: "there is no such object"}}
	}
}

func (l *link) thing() string {
	switch l.subject.class {
	case "", "task":
		return "object"
	}
	return l.subject.class
}

// unprocessable is a value that is well-formed and cannot be.
func unprocessable(pointer, detail string) *backends.Error {
	return &backends.Error{
		Code:   backends.Unprocessable,
		Detail: "The request cannot be carried out: " + detail,
		Fields: []backends.FieldError{{Pointer: pointer, Detail: detail}},
	}
}

func (d *Driver) notFound(id backends.ID) *backends.Error {
	return &backends.Error{Code: backends.NotFound, Detail: "There is no object with the id " + id.String() + "."}
}

// undecodable is an answer that is XML-RPC, and not what the message answers with.
func (d *Driver) undecodable(method string, err error) *backends.Error {
	if e, ok := errors.AsType[*backends.Error](err); ok {
		return e
	}
	return &backends.Error{
		Code:   backends.BackendFault,
		Op:     d.op(method),
		Detail: "The backend's answer is not what this call answers with.",
		Err:    err,
	}
}

// refusedBy reports whether err is the backend's refusal with one of these codes.
func refusedBy(err error, codes ...string) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && slices.Contains(codes, f.code())
}

// and adds a later error to the log's part of an earlier one.
func and(err, later error) error {
	if later == nil {
		return err
	}
	e := *backends.AsError(err)
	e.Err = errors.Join(e.Err, later)
	return &e
}

func asFailure(err error) (*failure, bool) { return errors.AsType[*failure](err) }
