package feed

import (
	"sync/atomic"

	"vmgateway/internal/backends"
)

// errNoRoom ends a watch whose VMs are too many.
var errNoRoom = &backends.Error{
	Code:   backends.BackendUnavailable,
	Detail: "The gateway follows as many VMs as it may (mirror.maxVms), and these do not fit as well. They can still be listed.",
}

// room is how many VMs all feeds may know together.
type room struct {
	most int64
	used atomic.Int64
}

// resize makes a share of from VMs one of to. Without room for that it stays as it is.
func (r *room) resize(from, to int) bool {
	more := int64(to - from)
	if r.used.Add(more) > r.most && more > 0 {
		r.used.Add(-more)
		return false
	}
	return true
}

// fits reports whether n VMs more would fit now.
func (r *room) fits(n int) bool { return r.used.Load()+int64(n) <= r.most }
