package backends

import (
	"context"
	"iter"
	"time"
)

// Kind is what a backend is.
type Kind string

// The kinds.
const (
	OpenNebula Kind = "OPENNEBULA"
	XenAPI     Kind = "XENAPI"
)

// Values lists what a Kind can be.
func (Kind) Values() []string { return []string{string(OpenNebula), string(XenAPI)} }

// View is how much of a VM is read. See [VM].
type View string

// The views, each with all of the one before it.
const (
	ViewID     View = "ID"
	ViewBasic  View = "BASIC"
	ViewFull   View = "FULL"
	ViewNative View = "NATIVE"
)

// Session is one login at one backend: a user and what the backend takes for a password. Its only
// field is unexported, since a String method alone still leaks through JSON and reflection.
type Session struct{ credential string }

// NewSession keeps a backend's credential: "user:token" for OpenNebula, a session reference for
// XenAPI.
func NewSession(credential string) Session { return Session{credential} }

// Reveal gives the credential to a driver, and to nobody else.
func (s Session) Reveal() string { return s.credential }

// Login is what a backend gives for a user name and a password.
type Login struct {
	Session Session
	User    Ref       // its ID may be zero (XenAPI's local root has no user object)
	Groups  []Ref     // OpenNebula groups; XenAPI: empty
	Roles   []string  // XenAPI RBAC roles, when told
	Expire  time.Time // when the backend ends the session by itself; zero = not known
}

// Release is what runs on the other side, detected once for each backend.
type Release struct {
	Product string `json:"product,omitempty"` // "OpenNebula", "XenServer", "XCP-ng", …
	Version string `json:"version"`           // "6.10.0"; XenAPI: the product's version
	API     string `json:"api,omitempty"`     // XenAPI: "2.21"
}

// Query is what a list asks for. The driver hands down what its backend can do of it; the caller
// checks every VM again, so a driver that hands nothing down is slow, not wrong.
type Query struct {
	View          View
	Owner         string // "", "me", "group", "all", "user:<native id>"
	ShowDeleted   bool
	ShowTemplates bool
	// When not nil, no VM outside these values is of interest.
	States, RawStates, DisplayNames []string
	// Members are those whose values are of interest, by their dotted names; a name stands for all
	// below it ("cpu" for "cpu.vcpus"). nil is all that View has. The id is always told, and a
	// driver may fill in more.
	Members []string
	// Reuse lets a driver hand over the same VM again and again: it is the caller's only until the
	// next one is asked for. What is to be kept is cloned ([VM.Clone]).
	Reuse bool
}

// Undecodable is one object of a list that the backend sent and nobody can read. It is an error of
// that object alone: the list goes on.
type Undecodable struct {
	ID  ID // zero when not even the id can be read
	Err error
}

func (u *Undecodable) Error() string {
	return "undecodable object " + u.ID.String() + ": " + u.Err.Error()
}

// Unwrap gives the cause.
func (u *Undecodable) Unwrap() error { return u.Err }

// Driver is one backend, spoken to in the gateway's words. It keeps nothing per user (the Session
// travels with each call), never repeats a call that changes something, never logs, and is safe
// for concurrent use. Every error it returns is an *Error; ids go in and out in full.
//
// Cancelling ctx abandons the wait, not the work. A native id of the wrong form is NotFound
// without a call to the backend.
type Driver interface {
	Kind() Kind

	// CheckID reports whether native can be the id of an object of this backend: no I/O.
	CheckID(native string) bool

	// Can reports whether this backend has v at all, in the release last seen (before the first
	// login: in any). Reads and Writes tell the same of resources and members. No I/O.
	Can(v Verb) bool
	Reads(r Resource) bool
	Writes(member string) bool

	// Release is the release last seen; false before the first login.
	Release() (Release, bool)

	// Ping asks whether the backend answers at all, without a session.
	Ping(ctx context.Context) error

	// Login checks the password and opens a session of its own. Verify checks it and leaves nothing
	// open. A wrong password is Unauthenticated.
	Login(ctx context.Context, user, password string) (Login, error)
	Verify(ctx context.Context, user, password string) error

	// Alive asks whether s is still good: BackendSessionEnded when it has ended.
	Alive(ctx context.Context, s Session) error

	// Logout ends s at the backend; a session that has already ended is no error.
	Logout(ctx context.Context, s Session) error

	// VM reads one VM.
	VM(ctx context.Context, s Session, id ID, view View) (*VM, error)

	// VMs reads many, in the backend's order. An *Undecodable names one VM and the sequence goes
	// on; any other error is the last.
	VMs(ctx context.Context, s Session, q Query) iter.Seq2[*VM, error]

	// Read reads what r names: of the object id, or of the backend when id is zero. The types are
	// told by the constants of Resource.
	Read(ctx context.Context, s Session, r Resource, id ID) (any, error)

	// Create makes a VM from members that Members accepts for Create, and gives its id.
	Create(ctx context.Context, s Session, members []Change) (ID, error)

	// Patch applies all changes or says which were applied (Error.Applied, Error.NotApplied). What
	// can be checked is checked before the first call that changes something.
	Patch(ctx context.Context, s Session, id ID, changes []Change) error

	// Do starts v and returns once the backend has accepted it. For verbs that answer an operation
	// the result is an *Operation, for AnswersCheck a *Check, for AnswersVM nil.
	Do(ctx context.Context, s Session, v Verb, id ID, a Args) (any, error)

	// Operation reads how far an operation is that Do gave. One that nobody remembers is NotFound.
	Operation(ctx context.Context, s Session, id ID) (*Operation, error)
}
