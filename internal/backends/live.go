package backends

import (
	"context"
	"iter"
	"time"
)

// Watcher is a Driver that tells of changes as they happen.
type Watcher interface {
	// Watch follows all that s may see, from the point that token names ("" is from now, beginning with
	// a Complete batch of what there is). It hands each batch to emit, in order, and returns when emit
	// does with an error, when ctx ends, or when the backend cannot be asked any more; then the caller
	// goes on later from the token of the last batch. A token that the backend no longer knows is no
	// error: the next batch is Complete. What is read without a difference is a batch as well: it
	// tells how things stood later.
	Watch(ctx context.Context, s Session, token string, emit func(Batch) error) error
}

// Batch is what changed since the batch before. One object stands in it once, as it is at its end.
type Batch struct {
	// Token names the point behind this batch; "" when the backend has no such points.
	Token string
	// Complete says that VMs is all there is: what is not among them is gone.
	Complete bool
	VMs      []*VM // in the view BASIC
	Gone     []ID
	Tasks    []TaskChange
	// Undecodable are those among VMs that nobody can read, of which nothing is told but that they
	// are there.
	Undecodable []*Undecodable
	// AsOf is until when all that happened is in this batch and those before it; more may be. It is
	// zero when something is not: a VM that does not even tell its id.
	AsOf time.Time
}

// Empty reports whether nothing has happened.
func (b Batch) Empty() bool {
	return !b.Complete && len(b.VMs) == 0 && len(b.Gone) == 0 && len(b.Tasks) == 0
}

// TaskChange is the progress of a backend's task (XenAPI). Name is what an Operation's driver knows
// it by; Progress is 0 to 1 while it runs.
type TaskChange struct {
	Name     string
	Progress *float64
	Ended    bool
}

// Canceller is a Driver that can end work it has begun.
type Canceller interface {
	// Cancel asks the backend to give the operation up. That it was asked is no promise: Operation
	// tells what became of it. An operation that has ended is WrongState; one that cannot be given up
	// is UnsupportedByBackend.
	Cancel(ctx context.Context, s Session, id ID) error
}

// Ranger is a Driver that can begin a list in its middle.
type Ranger interface {
	// VMsAfter is VMs in the order of ids, from behind the native id after ("" = from the first). It
	// reads no more than the caller goes on to ask for, and a little ahead.
	VMsAfter(ctx context.Context, s Session, q Query, after string) iter.Seq2[*VM, error]
}

// Chooser is a Driver that can wait with what is dear of a VM until it is known which VMs are wanted.
type Chooser interface {
	// Choose is a list of what q asks for, to choose from by these members alone. It is nil where that
	// would save nothing: VMs reads q as cheaply, or the members are dear themselves.
	Choose(ctx context.Context, s Session, q Query, members []string) *Choice
}

// Choice is a list to choose from.
type Choice struct {
	// VMs is what Driver.VMs gives, of each VM no more than it takes to choose. A VM is the caller's only
	// until the next one is asked for.
	VMs iter.Seq2[*VM, error]
	// Keep gives the last VM of VMs for good.
	Keep func(*VM) *VM
	// Whole reads some that were kept as the query wants them: for each, in this order, the VM, an
	// *Undecodable, or nil when it has gone meanwhile. Any other error is the last. What it gives may have
	// changed since, and is the caller's.
	Whole func(kept []*VM) iter.Seq2[*VM, error]
}

// Planner is a Driver that says what a change would do, without doing it.
type Planner interface {
	PlanDo(ctx context.Context, s Session, v Verb, id ID, a Args) (*Plan, error)
	PlanCreate(ctx context.Context, s Session, members []Change) (*Plan, error)
	PlanPatch(ctx context.Context, s Session, id ID, changes []Change) (*Plan, error)
}

// Plan is the answer to ?validateOnly=true: the calls that would go out, and whether the backend
// would allow them as things stand.
type Plan struct {
	Calls   []PlannedCall `json:"calls"`
	Allowed bool          `json:"allowed"`
	Reason  string        `json:"reason,omitempty"` // why not
	Fault   *Fault        `json:"backend,omitempty"`
}

// PlannedCall is one call to a backend. Arguments stand as they would go out, but without the
// session, with references as ids, and without secrets.
type PlannedCall struct {
	Method    string `json:"method"`
	Arguments []any  `json:"arguments"`
}
