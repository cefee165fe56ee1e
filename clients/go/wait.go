package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// waitSeconds is how long one read of an operation waits for its end at the gateway.
	waitSeconds = 60
	// maxBackoff is the longest wait between two attempts, unless Retry-After says more.
	maxBackoff = 30 * time.Second
)

// OperationError is the end of an operation that has not succeeded. What it unwraps to, if the gateway says
// why, is an *Error.
type OperationError struct {
	Operation *Operation
}

func (e *OperationError) Error() string {
	text := fmt.Sprintf("%s: %s", e.Operation.Verb, e.Operation.State)
	if e.Operation.VM != nil {
		text = fmt.Sprintf("%s of %s: %s", e.Operation.Verb, *e.Operation.VM, e.Operation.State)
	}
	if err := e.Unwrap(); err != nil {
		text += ": " + err.Error()
	}
	return text
}

func (e *OperationError) Unwrap() error {
	if e.Operation.Error == nil {
		return nil
	}
	return &Error{Problem: *e.Operation.Error}
}

// Wait answers the operation as it has ended. An end that is not SUCCEEDED is an *OperationError, beside the
// operation. What may pass, such as a backend that cannot be reached, does not end the wait; ctx does.
func (c *Client) Wait(ctx context.Context, operation *Operation) (*Operation, error) {
	r := newRequest(http.MethodGet, "/operations/{operation}", operation.ID)
	r.query("waitSeconds", waitSeconds)
	for failures := 0; operation.State == OperationStateRunning; {
		read, err := call[Operation](ctx, c, r)
		switch {
		case err == nil:
			operation, failures = read, 0
		case ctx.Err() != nil || !transient(err):
			return operation, err
		default:
			if stopped := sleep(ctx, backoff(failures, err)); stopped != nil {
				return operation, errors.Join(stopped, err)
			}
			failures++
		}
	}
	if operation.State != OperationStateSucceeded {
		return operation, &OperationError{operation}
	}
	return operation, nil
}

// backoff is how long to wait after so many failures in a row, the last with err: longer each time, and not
// as long as all the others who lost their connection at the same moment.
func backoff(failures int, err error) time.Duration {
	wait := min(time.Second<<min(failures, 5), maxBackoff)
	wait = wait/2 + rand.N(wait/2)
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}
