package opennebula

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
)

const wrongPassword = "The user name or the password is wrong, or the user is disabled."

func op(method string) string { return "opennebula " + method }

// Codes of [false, text, code, …]. Source: include/RequestManager.h, enum ErrorCode.
const (
	codeAuthentication = 0x0100
	codeAuthorization  = 0x0200
	codeNoExists       = 0x0400
	codeAction         = 0x0800
	codeAPI            = 0x1000
	codeInternal       = 0x2000
	codeAllocate       = 0x4000
	codeLocked         = 0x8000
	codeReplication    = 0x10000
)

// Faults that xmlrpc-c answers with before, or instead of, oned.
const (
	faultNotCompleted = -500
	faultType         = -501
	faultParse        = -503
	faultNoMethod     = -506
)

// asked is what a call was about: INTERNAL and ACTION say too little without it.
type asked int

const (
	askedOther    asked = iota
	askedTemplate       // a template was sent: its mistakes come as INTERNAL
	askedDisk           // a disk was to be saved
	askedName           // a name was sent
	askedLogin          // a token was wanted
	askedLogout         // a token was revoked
)

// errorRow is a row of the table theirs → ours. The first that fits is taken: code, then what was
// asked (askedOther: anything), then a part of the text ("": any), compared without case.
type errorRow struct {
	code    int
	asked   asked
	has     string
	becomes backends.Code
	pointer string // the member of the request that is wrong
	detail  string
}

// errorRows is every code of OpenNebula. Texts are looked at where one code stands for several
// things; they are those of 3.8 to 7.4, and an unknown one falls through to its code's last row.
// Source: src/rm/*.cc, and traffic recorded from oned 6.10.0 and 4.14.2.
var errorRows = []errorRow{
	{codeAuthentication, askedOther, "", backends.BackendSessionEnded, "", "The session at OpenNebula has ended: log in again."},

	{codeAuthorization, askedOther, "quota", backends.PermissionDenied, "", "A quota of the user or the group does not allow it."},
	{codeAuthorization, askedOther, "restricted attribute", backends.PermissionDenied, "/opennebula/template", "The template has an attribute that only administrators may use."},
	{codeAuthorization, askedOther, "is locked", backends.Conflict, "", "The object is locked: unlock it first."},
	{codeAuthorization, askedOther, "", backends.PermissionDenied, "", "OpenNebula does not allow this user to do it. The object's permissions, a lock, or an ACL rule stand against it."},

	{codeNoExists, askedOther, "", backends.NotFound, "", "There is no object with this id."},

	{codeAction, askedOther, "is not supported", backends.UnsupportedByBackend, "", "This release of OpenNebula does not have the action."},
	{codeAction, askedOther, "wrong recovery operation", backends.UnsupportedByBackend, "/outcome", "This release of OpenNebula does not have this recovery."},
	{codeAction, askedOther, "invalid name", backends.InvalidArgument, "/displayName", "OpenNebula does not accept the name."},
	{codeAction, askedLogin, "", backends.PermissionDenied, "", "This OpenNebula gives out no login tokens (MAX_TOKEN_TIME is 0), so the gateway cannot log in."},
	{codeAction, askedOther, "parse error", backends.InvalidArgument, "/opennebula/template", "OpenNebula cannot read the template."},
	{codeAction, askedOther, "does not fit", backends.Conflict, "/host", "The host has not enough free capacity for the VM."},
	{codeAction, askedOther, "not enough", backends.Conflict, "", "There is not enough free capacity for the VM."},
	{codeAction, askedOther, "already running on host", backends.Conflict, "/host", "The VM is on this host already."},
	{codeAction, askedOther, "performed live", backends.Unprocessable, "/datastore", "A VM cannot move to another system datastore while it runs: say live false."},
	{codeAction, askedOther, "quota", backends.PermissionDenied, "", "A quota of the user or the group does not allow it."},
	{codeAction, askedOther, "disabled", backends.Conflict, "/host", "The host is disabled."},
	{codeAction, askedOther, "offline", backends.Conflict, "/host", "The host is offline."},
	{codeAction, askedOther, "different cluster", backends.Unprocessable, "/host", "The host is in another cluster."},
	{codeAction, askedOther, "does not include", backends.Unprocessable, "/datastore", "The host's cluster does not have the datastore."},
	{codeAction, askedOther, "", backends.WrongState, "", "The VM is not in a state in which this can be done."},

	{codeAPI, askedLogin, "limit reached", backends.Conflict, "", "The user has ten login tokens already, the most that OpenNebula allows. Delete some (oneuser token-delete), or wait until they lapse."},
	{codeAPI, askedLogout, "", backends.NotFound, "", "The login token is gone already."},
	{codeAPI, askedOther, "", backends.InvalidArgument, "", "OpenNebula does not accept an argument of the call."},

	{codeInternal, askedOther, "leader", backends.BackendUnavailable, "", "OpenNebula has no leader at the moment."},
	{codeInternal, askedOther, "election", backends.BackendUnavailable, "", "OpenNebula is choosing a leader."},
	{codeInternal, askedOther, "zone is disabled", backends.BackendUnavailable, "", "The OpenNebula zone is disabled."},
	{codeInternal, askedTemplate, "does not exist", backends.Unprocessable, "/opennebula/template", "The template names an image or network that does not exist."},
	{codeInternal, askedTemplate, "does not own", backends.Unprocessable, "/opennebula/template", "The template names an image or network that does not exist, or belongs to somebody else."},
	{codeInternal, askedTemplate, "invalid name", backends.InvalidArgument, "/displayName", "OpenNebula does not accept the name."},
	{codeInternal, askedTemplate, "memory", backends.InvalidArgument, "/memory/dynamicMaxBytes", "OpenNebula does not accept the memory: it has to be a positive number of MiB."},
	{codeInternal, askedTemplate, "vcpu", backends.InvalidArgument, "/cpu/vcpus", "OpenNebula does not accept the number of vCPUs."},
	{codeInternal, askedTemplate, "cpu attribute", backends.InvalidArgument, "/cpu/share", "OpenNebula does not accept the CPU share: it has to be a positive number."},
	{codeInternal, askedTemplate, "not available for state", backends.WrongState, "", "The VM is not in a state in which this can be done."},
	{codeInternal, askedTemplate, "", backends.InvalidArgument, "/opennebula/template", "OpenNebula does not accept the template."},
	{codeInternal, askedDisk, "disk does not exist", backends.NotFound, "", "The VM has no disk with this id."},
	{codeInternal, askedDisk, "has to be", backends.WrongState, "", "The VM is not in a state in which its disks can be saved."},
	{codeInternal, askedDisk, "state", backends.WrongState, "", "The VM is not in a state in which its disks can be saved."},
	{codeInternal, askedDisk, "", backends.Unprocessable, "", "The disk cannot be saved as an image."},
	{codeInternal, askedName, "invalid name", backends.InvalidArgument, "/displayName", "OpenNebula does not accept the name."},
	{codeInternal, askedOther, "not of type system", backends.Unprocessable, "/datastore", "It is not a system datastore."},
	{codeInternal, askedOther, "wrong state", backends.WrongState, "", "The VM is not in a state in which this can be done."},
	{codeInternal, askedOther, "", backends.BackendFault, "", "OpenNebula reports an error of its own."},

	{codeAllocate, askedOther, "already taken", backends.Conflict, "/imageName", "The name is taken."},
	{codeAllocate, askedOther, "unknown type", backends.InvalidArgument, "/imageType", "OpenNebula does not have this type of image."},
	{codeAllocate, askedOther, "", backends.Unprocessable, "", "OpenNebula cannot make the object."},

	{codeLocked, askedOther, "", backends.Conflict, "", "The object is locked: unlock it first."},
	{codeReplication, askedOther, "", backends.BackendUnavailable, "", "OpenNebula's servers do not agree at the moment."},
}

var codeNames = map[int]string{
	codeAuthentication: "AUTHENTICATION",
	codeAuthorization:  "AUTHORIZATION",
	codeNoExists:       "NO_EXISTS",
	codeAction:         "ACTION",
	codeAPI:            "XML_RPC_API",
	codeInternal:       "INTERNAL",
	codeAllocate:       "ALLOCATE",
	codeLocked:         "LOCKED",
	codeReplication:    "REPLICATION",
}

// faultRow is a row for an XML-RPC fault.
type faultRow struct {
	code    int
	name    string
	becomes backends.Code
	detail  string
}

// faultRows are the faults. Source: xmlrpc-c's include/xmlrpc-c/base.h; recorded from oned 6.10.0.
var faultRows = []faultRow{
	{faultNotCompleted, "internal error", backends.BackendFault, "OpenNebula cannot put its answer into words: something in it has a character that its XML-RPC library refuses."},
	{faultType, "type error", backends.Internal, ""},
	{faultParse, "parse error", backends.InvalidArgument, "The request has a character that OpenNebula's XML-RPC library refuses."},
	{faultNoMethod, "no such method", backends.UnsupportedByBackend, "This release of OpenNebula does not have the call."},
}

// ErrorRows is the table theirs → ours, for the documentation.
func ErrorRows() []backends.ErrorRow {
	var rows []backends.ErrorRow
	for _, r := range errorRows {
		var notes []string
		if r.has != "" {
			notes = append(notes, fmt.Sprintf("text has %q", r.has))
		}
		if r.asked != askedOther {
			notes = append(notes, "in answer to "+askedNames[r.asked])
		}
		rows = append(rows, backends.ErrorRow{
			Backend: backends.OpenNebula, Code: strconv.Itoa(r.code), Name: codeNames[r.code],
			Becomes: r.becomes, Note: strings.Join(notes, ", "),
		})
	}
	for _, r := range faultRows {
		rows = append(rows, backends.ErrorRow{
			Backend: backends.OpenNebula, Code: strconv.Itoa(r.code), Name: "fault: " + r.name, Becomes: r.becomes,
		})
	}
	return rows
}

var askedNames = map[asked]string{
	askedTemplate: "a template",
	askedDisk:     "saving a disk",
	askedName:     "a name",
	askedLogin:    "a login",
	askedLogout:   "a logout",
}

// missingNouns are the objects that a body can name, by the noun in "Error getting host [99].".
var missingNouns = []struct{ noun, pointer, detail string }{
	{"virtual machine template", "/template", "There is no template with this id."},
	{"virtual machine", "", "There is no VM with this id."},
	{"host", "/host", "There is no host with this id."},
	{"datastore", "/datastore", "There is no storage with this id."},
	{"user", "/owner/user/id", "There is no user with this id."},
	{"group", "/owner/group/id", "There is no group with this id."},
	{"image", "", "There is no image with this id."},
	{"virtual network", "", "There is no network with this id."},
}

var gettingText = regexp.MustCompile(`(?i)getting ([a-z ]+?) *(\[|pool|\.|$)`)

// refused turns [false, text, code, …] into an *Error.
func (d *Driver) refused(s backends.Session, r request, no *refusal) *backends.Error {
	e := &backends.Error{Code: backends.BackendFault, Op: op(r.method), Detail: "OpenNebula refuses with a code that is not known.",
		Fault: d.said(s, r, no)}
	if row := findError(r.asked, no); row != nil {
		e.Code, e.Detail = row.becomes, row.detail
		if row.pointer != "" {
			e.Fields = []backends.FieldError{{Pointer: row.pointer, Detail: row.detail}}
		}
	}
	switch {
	case no.code == codeNoExists:
		missing(e, r, no)
	case e.Code == backends.BackendSessionEnded && r.login:
		e.Code, e.Detail = backends.Unauthenticated, wrongPassword
	}
	return e
}

func findError(what asked, no *refusal) *errorRow {
	text := strings.ToLower(no.text)
	for i, row := range errorRows {
		if row.code == no.code && (row.asked == askedOther || row.asked == what) && strings.Contains(text, row.has) {
			return &errorRows[i]
		}
	}
	return nil
}

// missing tells the object that the URL names from one that the body names: only the first is
// NotFound.
func missing(e *backends.Error, r request, no *refusal) {
	match := gettingText.FindStringSubmatch(no.text)
	if match == nil {
		return
	}
	noun := strings.ToLower(strings.TrimSpace(match[1]))
	for _, m := range missingNouns {
		if m.noun != noun {
			continue
		}
		e.Detail = m.detail
		if noun != r.subject && r.subject != "" {
			e.Code = backends.Unprocessable
			if m.pointer != "" {
				e.Fields = []backends.FieldError{{Pointer: m.pointer, Detail: m.detail}}
			}
		}
		return
	}
}

// said is the refusal in OpenNebula's words. No text of oned's is known to quote a credential; one
// that did would be left out.
func (d *Driver) said(s backends.Session, r request, no *refusal) *backends.Fault {
	f := &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula, Method: r.method, Code: strconv.Itoa(no.code)}
	if _, password, _ := strings.Cut(s.Reveal(), ":"); password == "" || !strings.Contains(no.text, password) {
		f.Message = no.text
	}
	if no.object >= 0 {
		f.Params = []string{strconv.FormatInt(no.object, 10)}
	}
	return f
}

// fault turns an XML-RPC fault into an *Error. Its text stays out: a parse error's quotes the
// request, session and all.
func (d *Driver) fault(r request, f *wire.Fault) *backends.Error {
	e := &backends.Error{Code: backends.BackendFault, Op: op(r.method), Detail: "OpenNebula answers with a fault.", Err: f,
		Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula, Method: r.method, Code: strconv.Itoa(f.Code)}}
	for _, row := range faultRows {
		if row.code == f.Code {
			e.Code, e.Detail = row.becomes, row.detail
		}
	}
	// The method may have run: it is its answer that could not be sent.
	e.MaybeDone = r.changes && f.Code == faultNotCompleted
	return e
}

// garbled is an answer that is not what the method answers.
func (d *Driver) garbled(r request, cause error) *backends.Error {
	e := d.malformed(r.method, cause)
	e.MaybeDone = r.changes
	return e
}

func (d *Driver) malformed(method string, cause error) *backends.Error {
	return &backends.Error{
		Code: backends.BackendFault, Op: op(method), Detail: "OpenNebula's answer is not what this call answers.", Err: cause,
		Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula, Method: method},
	}
}

// lacks is something that the release does not have.
func (d *Driver) lacks(pointer, detail string) *backends.Error {
	e := &backends.Error{Code: backends.UnsupportedByBackend, Detail: detail,
		Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula}}
	if pointer != "" {
		e.Fields = []backends.FieldError{{Pointer: pointer, Detail: detail}}
	}
	return e
}

// wrongState is a refusal of our own, made after a read: the state needs no second one.
func (d *Driver) wrongState(method string, m *machine, r version, detail string) *backends.Error {
	state, _ := m.at.unified(r)
	return &backends.Error{
		Code: backends.WrongState, Op: op(method), Detail: detail,
		Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula, Method: method},
		State: &backends.StateConflict{State: state, RawState: m.at.raw(r), AllowedActions: allowed(m.at, r)},
		Err:   errors.New("seen in " + m.at.name(r)),
	}
}
