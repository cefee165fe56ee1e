package wire

import (
	"fmt"
	"strconv"
)

// Failure says how a call failed. The zero value is no failure and never occurs in an [Error].
type Failure int

// The ways in which a call fails, short of a fault.
const (
	Unreachable Failure = iota + 1 // no connection: refused, unknown host, TLS refused
	Timeout                        // the deadline passed, while waiting for a place or for the reply
	Canceled                       // the caller gave up
	Cut                            // the connection or the reply ended early
	Status                         // an HTTP status other than 200
	ContentType                    // HTTP 200 with something that neither is nor claims to be XML
	TooLarge                       // the reply exceeds Options.MaxReply, or its header 64 KiB
	Malformed                      // the reply is not HTTP, not XML-RPC, or not of the type asked for
	BadRequest                     // the call cannot be encoded, or exceeds a limit; nothing was sent
)

var failureNames = [...]string{
	Unreachable: "unreachable",
	Timeout:     "timeout",
	Canceled:    "canceled",
	Cut:         "cut",
	Status:      "status",
	ContentType: "content-type",
	TooLarge:    "too-large",
	Malformed:   "malformed",
	BadRequest:  "bad-request",
}

// String is the failure's name, as [Error.Failure] gives it.
func (f Failure) String() string {
	if f < Unreachable || int(f) >= len(failureNames) {
		return "unknown"
	}
	return failureNames[f]
}

// Error is everything that is not a well-formed reply free of a fault. Its text holds neither an
// argument of the call, nor text of the reply, nor userinfo of the URL; the address of the backend
// may occur in Err.
type Error struct {
	Method string
	Kind   Failure
	Status int   // HTTP status, where Kind is Status
	Sent   bool  // the outcome of a change is unknown: at least a byte of the call left this machine, and no refusal came back
	Err    error // the cause; nil where Kind says everything
}

func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Method != "" {
		s = e.Method + ": " + s
	}
	if e.Kind == Status {
		s += " " + strconv.Itoa(e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failure is the kind as a word: "unreachable", "timeout", "canceled", "cut", "status",
// "content-type", "too-large", "malformed" or "bad-request".
func (e *Error) Failure() string { return e.Kind.String() }

// MaybeDone reports whether the backend may have carried the call out.
func (e *Error) MaybeDone() bool { return e.Sent }

// Fault is an XML-RPC <fault>: the backend's own refusal of a call, before its method ran.
//
// Text is the backend's, and stays out of Error, because it may quote what was sent.
type Fault struct {
	Method string
	Code   int
	Text   string
}

func (f *Fault) Error() string { return fmt.Sprintf("%s: fault %d", f.Method, f.Code) }
