package backends

import (
	"context"
	"time"
)

// Call is one call that went out to a backend: what a request's log line and the metrics count.
type Call struct {
	Backend  string
	Method   string // "one.vm.info", "VM.get_record": never an argument
	Duration time.Duration
	Bytes    int64 // of the answer's body, as far as it was read
	Err      error // nil when the backend answered without a refusal
}

type observerKey struct{}

// WithObserver makes drivers tell observe of each call they make under the context. observe is
// called from whichever goroutine made the call.
func WithObserver(ctx context.Context, observe func(Call)) context.Context {
	return context.WithValue(ctx, observerKey{}, observe)
}

// Observe tells the context's observer, if there is one. Drivers call it once for each call.
func Observe(ctx context.Context, c Call) {
	if observe, ok := ctx.Value(observerKey{}).(func(Call)); ok {
		observe(c)
	}
}
