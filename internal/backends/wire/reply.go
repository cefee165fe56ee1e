package wire

import (
	"errors"
	"fmt"
	"sync"

	"vmgateway/internal/backends/wire/scan"
)

// Reply is the reply to one call, whole. It is safe for concurrent use, and so are its values.
type Reply struct {
	method string
	body   []byte
	once   sync.Once
	top    scan.Value
	err    error
}

// Size is the length of the reply's body in bytes; 0 for none.
func (r *Reply) Size() int64 {
	if r == nil {
		return 0
	}
	return int64(len(r.body))
}

// Value is the reply's one value. The first call scans the whole reply, so that the structure of
// what it gives is sound down to the last level; only the contents of scalars are looked at later.
// The error is a *Fault for a fault, and otherwise an *Error: Cut where the reply ends early,
// Malformed where it is not XML-RPC.
func (r *Reply) Value() (scan.Value, error) {
	r.once.Do(r.read)
	return r.top, r.err
}

func (r *Reply) read() {
	top, fault, err := scan.ParseReply(r.body)
	switch {
	case errors.Is(err, scan.ErrEnds):
		r.err = &Error{Method: r.method, Kind: Cut, Sent: true, Err: err}
	case err != nil:
		r.err = r.malformed(err)
	case fault:
		r.err = r.fault(top)
	default:
		r.top = top
	}
}

func (r *Reply) malformed(err error) error {
	return &Error{Method: r.method, Kind: Malformed, Sent: true, Err: err}
}

var faultMembers = scan.NewMembers("faultCode", "faultString")

// fault reads the struct of a <fault>.
func (r *Reply) fault(v scan.Value) error {
	rec := scan.NewRecord(faultMembers)
	if err := rec.Parse(v); err != nil {
		return r.malformed(err)
	}
	code, err := rec.Value(0).Int()
	if err != nil {
		return r.malformed(fmt.Errorf("a fault's code: %w", err))
	}
	if code != int64(int(code)) {
		return r.malformed(errors.New("a fault's code is out of range"))
	}
	text, err := rec.Value(1).Text()
	if err != nil {
		return r.malformed(fmt.Errorf("a fault's text: %w", err))
	}
	return &Fault{Method: r.method, Code: int(code), Text: string(text)}
}
