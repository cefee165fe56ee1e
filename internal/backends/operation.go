package backends

import "time"

// OperationState is how far an operation is. It never goes back.
type OperationState string

// The states of an operation. UNKNOWN is an end whose outcome nobody can tell any more.
const (
	OperationRunning   OperationState = "RUNNING"
	OperationSucceeded OperationState = "SUCCEEDED"
	OperationFailed    OperationState = "FAILED"
	OperationCancelled OperationState = "CANCELLED"
	OperationUnknown   OperationState = "UNKNOWN"
)

// Operation is work that a backend does after it accepted a call. ID is chosen by the driver and
// carries what it needs to find the work again, so that a restart of the gateway loses nothing.
type Operation struct {
	ID          ID               `json:"id"`
	Backend     string           `json:"backend"`
	Verb        Verb             `json:"verb"`
	VM          *ID              `json:"vm,omitempty"` // absent when the verb is not about a VM (instantiate)
	State       OperationState   `json:"state"`
	Progress    *float64         `json:"progress,omitempty"` // 0 to 1; absent when unknown
	CreateTime  time.Time        `json:"createTime"`
	EndTime     *time.Time       `json:"endTime,omitempty"` // when the end was seen
	Cancellable bool             `json:"cancellable"`
	Result      *OperationResult `json:"result,omitempty"`
	Err         *Error           `json:"-"` // why it FAILED; the edge turns it into a problem
	// GaveUp says that it FAILED because the backend took the work as failed. That is how a cancel ends
	// as well where the backend keeps no word of it: only who knows of the cancel can tell the two apart.
	GaveUp bool `json:"-"`
}

// OperationResult is what an operation made.
type OperationResult struct {
	VM    *ID `json:"vm,omitempty"`
	Image *ID `json:"image,omitempty"`
}

// Done reports whether the operation has ended.
func (o *Operation) Done() bool { return o.State != OperationRunning }
