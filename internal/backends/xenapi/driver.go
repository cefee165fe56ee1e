package xenapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

// Config is what a Driver needs to know. Name and Endpoints are required.
type Config struct {
	Name      string     // the backend's configured name: the first part of its ids
	Endpoints []*url.URL // pool members, tried in turn; a path of "" is "/"
	TLS       *tls.Config
	MaxConns  int           // connections to one pool member at once; 0 = 32
	Timeout   time.Duration // a single call; 0 = 2 minutes
	MaxReply  int64         // bytes of a reply that is read whole; 0 = 256 MiB. Lists are not.
	UserAgent string
	Now       func() time.Time // nil = time.Now

	// Originator names the gateway in XenAPI's session table: xapi ends the oldest of more than 500
	// sessions with the same originator. "" = "vmgateway".
	Originator string
	// Grace is how long Do waits for a task to end before it answers with a running operation; 0 =
	// one second.
	Grace time.Duration
}

// What xapi allows a client: it refuses headers beyond about 1,000 bytes (431) and bodies beyond
// 300 KiB, and stops answering beyond some 800 connections. Seen on xapi 24.16.
const (
	maxHeader      = 1000
	maxRequest     = 300 << 10
	defaultConns   = 32
	maxWatches     = 256 // connections on which event.from waits, for they are held; further watches wait
	maxStreams     = 64  // connections over which lists arrive, for a slow client holds them; further lists wait
	defaultTimeout = 2 * time.Minute
	defaultGrace   = time.Second
	defaultClient  = "vmgateway"
)

// Driver speaks to one XenAPI pool. It is safe for concurrent use.
type Driver struct {
	cfg     Config
	pool    *pool
	refs    *refs
	release atomic.Pointer[release]
}

var _ backends.Driver = (*Driver)(nil)

// New makes a Driver. It connects to nothing.
func New(c Config) (*Driver, error) {
	if !backends.ValidName(c.Name) {
		return nil, fmt.Errorf("xenapi: %q is not a backend's name", c.Name)
	}
	if len(c.Endpoints) == 0 {
		return nil, errors.New("xenapi: no endpoint")
	}
	for _, u := range c.Endpoints {
		if u == nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return nil, errors.New("xenapi: an endpoint is not an http or https URL with a host")
		}
	}
	setDefault(&c.MaxConns, defaultConns)
	setDefault(&c.Timeout, defaultTimeout)
	setDefault(&c.Grace, defaultGrace)
	setDefault(&c.Originator, defaultClient)
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Driver{cfg: c, pool: newPool(c), refs: newRefs()}, nil
}

func setDefault[T comparable](value *T, def T) {
	var zero T
	if *value == zero {
		*value = def
	}
}

// Close closes idle connections.
func (d *Driver) Close() { d.pool.close() }

// Kind is XENAPI.
func (d *Driver) Kind() backends.Kind { return backends.XenAPI }

// Ping asks for the VMs of no session at all: being refused for that is an answer.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.send(ctx, "VM.get_all", "")
	if f, ok := errors.AsType[*failure](err); ok && f.code() == "SESSION_INVALID" {
		return nil
	}
	return err
}

// send makes one call, at whichever pool member is the coordinator. Errors are *backends.Error; a
// refusal has its *failure inside.
func (d *Driver) send(ctx context.Context, method string, args ...any) (v scan.Value, err error) {
	err = d.follow(ctx, method, func(at *node) (err error) {
		start := time.Now()
		var size int64
		v, size, err = exchange(ctx, at.through(method), method, args)
		d.observe(ctx, method, start, size, err)
		return err
	})
	return v, err
}

func (d *Driver) observe(ctx context.Context, method string, start time.Time, size int64, err error) {
	backends.Observe(ctx, backends.Call{Backend: d.cfg.Name, Method: method, Duration: time.Since(start), Bytes: size, Err: err})
}

// follow makes a call at the coordinator, and then wherever that leads: a call is only ever repeated
// elsewhere when it was surely not carried out: when no connection came about, or when a pool member
// said that it is not the coordinator. Only one that may be sent twice is repeated after its answer was cut off.
func (d *Driver) follow(ctx context.Context, method string, once func(*node) error) error {
	at := d.pool.first()
	for hops := 0; ; hops++ {
		err := once(at)
		if next := d.elsewhere(ctx, at, method, err, hops); next != nil {
			at = next
			continue
		}
		if f, ok := errors.AsType[*failure](err); ok {
			if f.code() != "HOST_IS_SLAVE" {
				d.pool.prefer(at)
			}
			return d.refused(f)
		}
		if err != nil {
			return backends.Transport(d.op(method), err, !repeatable(method))
		}
		d.pool.prefer(at)
		return nil
	}
}

// elsewhere is the pool member at which a call that ended with err shall be made again, or nil.
func (d *Driver) elsewhere(ctx context.Context, at *node, method string, err error, hops int) *node {
	if err == nil || ctx.Err() != nil || hops > d.pool.count()+1 {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok {
		if f.code() != "HOST_IS_SLAVE" || len(f.params) < 2 {
			return nil
		}
		return d.pool.coordinator(at, f.params[1])
	}
	w, ok := errors.AsType[*wire.Error](err)
	switch {
	case ok && w.Kind == wire.Unreachable && !w.Sent:
		return d.pool.after(at, hops)
	case ok && w.Kind == wire.Cut && hops == 0 && repeatable(method) && method != eventFrom:
		return at // most likely a kept connection that the other side had closed, as after its restart
	}
	return nil
}

// exchange makes one call at one pool member: the value and the size of the answer, a *failure, or an
// error of the wire.
func exchange(ctx context.Context, c *wire.Client, method string, args []any) (scan.Value, int64, error) {
	reply, err := c.Call(ctx, method, args...)
	if err != nil {
		return scan.Value{}, 0, err
	}
	v, err := unwrap(method, reply)
	return v, reply.Size(), err
}

// unwrap takes XenAPI's envelope off: {Status: Success, Value} or {Status: Failure, ErrorDescription:
// [code, parameter...]}.
func unwrap(method string, reply *wire.Reply) (v scan.Value, err error) {
	top, err := reply.Value()
	if fault, ok := errors.AsType[*wire.Fault](err); ok {
		// Not XenAPI's way to refuse, but that of whatever else speaks XML-RPC.
		return v, &failure{method: method, params: []string{"Fault", fault.Text}}
	}
	if err != nil {
		return v, err
	}
	status, err := part(top, "Status")
	if err != nil {
		return v, malformed(method, err)
	}
	switch text, err := str(status); {
	case err != nil:
		return v, malformed(method, err)
	case text == statusSuccess:
		v, err := part(top, "Value")
		if err != nil {
			return v, malformed(method, err)
		}
		return v, nil
	case text == "Failure":
		return v, readFailure(method, top)
	}
	return v, malformed(method, errors.New("the status is neither Success nor Failure"))
}

const statusSuccess = "Success"

func readFailure(method string, top scan.Value) error {
	description, err := part(top, "ErrorDescription")
	if err != nil {
		return malformed(method, err)
	}
	params, err := stringsOf(description)
	if err != nil {
		return malformed(method, err)
	}
	if len(params) == 0 {
		return malformed(method, errors.New("a failure without a code"))
	}
	return &failure{method: method, params: params}
}

func malformed(method string, err error) error {
	if w, ok := errors.AsType[*wire.Error](err); ok {
		return w
	}
	return &wire.Error{Method: method, Kind: wire.Malformed, Sent: true, Err: err}
}

// repeatable reports whether a message may be sent twice: it changes nothing, or only opens or ends a
// session. One that was opened for nobody xapi ends by itself.
func repeatable(method string) bool {
	class, message, _ := strings.Cut(method, ".")
	return strings.HasPrefix(message, "get_") || strings.HasPrefix(message, "assert_") || method == eventFrom || class == "session"
}

func (d *Driver) op(method string) string { return "xenapi " + method }
