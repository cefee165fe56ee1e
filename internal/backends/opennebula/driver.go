package opennebula

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

const (
	// maxConns stays below oned's MAX_CONN of 15, which idle sockets count against as well.
	maxConns = 12
	// maxHeader is what oned reads of a request's head; a longer one is answered with 408.
	maxHeader            = 4095
	defaultTimeout       = 60 * time.Second
	defaultTokenLifetime = 24 * time.Hour
)

// Config says which OpenNebula this is and how to reach it.
type Config struct {
	Name      string     // the backend's configured name: the part of an id before its dot
	Endpoints []*url.URL // ending in /RPC2; tried in turn when one cannot be reached
	TLS       *tls.Config
	MaxConns  int           // connections at once to one endpoint; 0 = 12
	Timeout   time.Duration // of one call; 0 = 60 s
	MaxReply  int64         // bytes; 0 = the wire's default
	UserAgent string
	Now       func() time.Time // nil = time.Now
	// TokenLifetime is how long a login token lives when nobody revokes it; 0 = 24 h. oned may
	// shorten it (MAX_TOKEN_TIME). Tokens survive a restart of oned and of the gateway.
	TokenLifetime time.Duration
	// PollInterval is the time between two polls of a watch; 0 = 2 s.
	PollInterval time.Duration
	// Timer is the clock that Watch waits by: nil = time's. Its second result gives the timer up.
	Timer func(time.Duration) (<-chan time.Time, func())
}

// Driver speaks to one OpenNebula. See [backends.Driver] for its methods.
type Driver struct {
	cfg     Config
	clients []*wire.Client
	working atomic.Int32            // index of the endpoint that answered last
	release atomic.Pointer[version] // nil before the first login

	plans     sync.Map // of whole views: planKey → *plan
	standings sync.Map // of places that have names → *standing
}

var _ backends.Driver = (*Driver)(nil)

// New makes a Driver. It connects to nothing.
func New(cfg Config) (*Driver, error) {
	if !backends.ValidName(cfg.Name) {
		return nil, fmt.Errorf("opennebula: %q is not a backend's name: expected [a-z][a-z0-9-]{0,31}", cfg.Name)
	}
	if len(cfg.Endpoints) == 0 || slices.Contains(cfg.Endpoints, nil) {
		return nil, errors.New("opennebula: an endpoint is missing, such as http://127.0.0.1:2633/RPC2")
	}
	if cfg.MaxConns < 0 || cfg.Timeout < 0 || cfg.MaxReply < 0 || cfg.TokenLifetime < 0 || cfg.PollInterval < 0 {
		return nil, errors.New("opennebula: limits and times cannot be negative")
	}
	cfg.MaxConns = orElse(cfg.MaxConns, maxConns)
	cfg.Timeout = orElse(cfg.Timeout, defaultTimeout)
	cfg.TokenLifetime = orElse(cfg.TokenLifetime, defaultTokenLifetime)
	cfg.PollInterval = orElse(cfg.PollInterval, defaultPollInterval)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timer == nil {
		cfg.Timer = timer
	}
	d := &Driver{cfg: cfg}
	for _, u := range cfg.Endpoints {
		d.clients = append(d.clients, wire.New(wire.Options{
			URL: u, MaxConns: cfg.MaxConns, KeepAlive: false, MaxHeader: maxHeader,
			MaxReply: cfg.MaxReply, Timeout: cfg.Timeout, TLS: cfg.TLS, UserAgent: cfg.UserAgent,
		}))
	}
	return d, nil
}

func timer(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

func orElse[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Kind is OPENNEBULA.
func (d *Driver) Kind() backends.Kind { return backends.OpenNebula }

// Release is the release last seen.
func (d *Driver) Release() (backends.Release, bool) {
	r := d.release.Load()
	if r == nil {
		return backends.Release{}, false
	}
	return backends.Release{Product: "OpenNebula", Version: r.String()}, true
}

// known is the release for questions that may not cost a call.
func (d *Driver) known() version {
	if r := d.release.Load(); r != nil {
		return *r
	}
	return newest
}

// detect is the release, asked for once: at the first login, or by the first call of a session
// that outlived a restart of the gateway.
func (d *Driver) detect(ctx context.Context, s backends.Session) (version, error) {
	if r := d.release.Load(); r != nil {
		return *r, nil
	}
	return d.askRelease(ctx, s, false)
}

// askRelease calls one.system.version, which also is the cheapest check of a credential.
func (d *Driver) askRelease(ctx context.Context, s backends.Session, login bool) (version, error) {
	text, err := d.text(ctx, s, request{method: "one.system.version", login: login})
	if err != nil {
		return version{}, err
	}
	r, err := parseVersion(text)
	if err != nil {
		return version{}, d.malformed("one.system.version", err)
	}
	d.release.Store(&r)
	return r, nil
}

// request is one call, and what its refusals are measured by.
type request struct {
	method  string
	args    []any
	changes bool   // a lost answer leaves the outcome open
	login   bool   // the credential is a password, not a session's token
	subject string // OpenNebula's noun of the object that the URL names: "virtual machine"
	asked   asked  // what was asked, for refusals whose code says nothing
}

// call sends one call to the endpoint that works, and gives the result out of
// [true, result, 0]. A refusal becomes an *Error by the tables in errors.go.
func (d *Driver) call(ctx context.Context, s backends.Session, r request) (result scan.Value, err error) {
	err = d.try(func(c *wire.Client) error {
		result, err = d.attempt(ctx, c, s, r)
		return err
	})
	return result, err
}

// try makes a call at the endpoint that worked last, or at the next one that can be reached.
func (d *Driver) try(do func(c *wire.Client) error) (err error) {
	first := int(d.working.Load())
	for i := range d.clients {
		at := (first + i) % len(d.clients)
		if err = do(d.clients[at]); err == nil || !unreachable(err) {
			d.working.Store(int32(at))
			return err
		}
	}
	return err
}

// attempt makes and observes one call.
func (d *Driver) attempt(ctx context.Context, c *wire.Client, s backends.Session, r request) (result scan.Value, err error) {
	start := d.cfg.Now()
	reply, err := c.Call(ctx, r.method, r.arguments(s)...)
	if err != nil {
		err = backends.Transport(op(r.method), err, r.changes)
	} else {
		result, err = d.result(s, r, reply)
	}
	d.observe(ctx, r, start, reply.Size(), err)
	return result, err
}

func (d *Driver) observe(ctx context.Context, r request, start time.Time, size int64, err error) {
	backends.Observe(ctx, backends.Call{Backend: d.cfg.Name, Method: r.method, Duration: d.cfg.Now().Sub(start), Bytes: size, Err: err})
}

// arguments are those of the method: the session comes first.
func (r request) arguments(s backends.Session) []any { return append([]any{s.Reveal()}, r.args...) }

// result is what a reply holds, or the error that it tells.
func (d *Driver) result(s backends.Session, r request, reply *wire.Reply) (scan.Value, error) {
	value, err := reply.Value()
	if err != nil {
		if fault, ok := errors.AsType[*wire.Fault](err); ok {
			return scan.Value{}, d.fault(r, fault)
		}
		return scan.Value{}, backends.Transport(op(r.method), err, r.changes)
	}
	result, refused, err := answer(value)
	switch {
	case err != nil:
		return scan.Value{}, d.garbled(r, err)
	case refused != nil:
		return scan.Value{}, d.refused(s, r, refused)
	}
	return result, nil
}

// unreachable reports whether nothing of the call was sent because no connection came about.
func unreachable(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && e.Kind == wire.Unreachable && !e.MaybeDone()
}

// refusal is [false, text, code, object, …]. Elements that older releases lack are -1.
type refusal struct {
	text   string
	code   int
	object int64
}

// answer takes the array apart that every method answers with: 2 elements at least, 3 to 5 since
// 3.0. Elements that a later release adds are passed over.
func answer(v scan.Value) (result scan.Value, refused *refusal, err error) {
	var parts []scan.Value
	items := v.Parts(scan.Array)
	for items.Next() {
		parts = append(parts, items.Value)
	}
	if items.Err() != nil {
		return result, nil, items.Err()
	}
	if len(parts) < 2 {
		return result, nil, fmt.Errorf("an answer of %d elements", len(parts))
	}
	done, err := parts[0].Bool()
	if err != nil {
		return result, nil, err
	}
	if done {
		return parts[1], nil, nil
	}
	text, err := parts[1].Text()
	if err != nil {
		return result, nil, err
	}
	refused = &refusal{text: string(text), code: -1, object: -1}
	if len(parts) > 2 {
		code, err := parts[2].Int()
		if err != nil {
			return result, nil, err
		}
		refused.code = int(code)
	}
	if len(parts) > 3 {
		if refused.object, err = parts[3].Int(); err != nil {
			return result, nil, err
		}
	}
	return result, refused, nil
}

// text is a call whose result is a string.
func (d *Driver) text(ctx context.Context, s backends.Session, r request) (string, error) {
	value, err := d.call(ctx, s, r)
	if err != nil {
		return "", err
	}
	text, err := value.Text()
	if err != nil {
		return "", d.garbled(r, err)
	}
	return string(text), nil
}

// integer is a call whose result is the id of an object.
func (d *Driver) integer(ctx context.Context, s backends.Session, r request) (int, error) {
	value, err := d.call(ctx, s, r)
	if err != nil {
		return 0, err
	}
	n, err := value.Int()
	if err != nil || n < 0 || n != int64(int32(n)) {
		return 0, d.garbled(r, fmt.Errorf("the result is not an id: %w", err))
	}
	return int(n), nil
}

// document is a call whose result is an XML document. path says what its items are.
func (d *Driver) document(ctx context.Context, s backends.Session, r request, path string, t *scan.Table) (*scan.Document, error) {
	value, err := d.call(ctx, s, r)
	if err != nil {
		return nil, err
	}
	doc, err := inString(value, path, t)
	if err != nil {
		return nil, d.garbled(r, err)
	}
	return doc, nil
}

// object is a call whose result is a document that is one object.
func (d *Driver) object(ctx context.Context, s backends.Session, r request, root string) (rec record, err error) {
	doc, err := d.document(ctx, s, r, root, allElements)
	if err != nil {
		return rec, err
	}
	err = alone(doc, func(item *scan.Item) error {
		rec = recordOf(root, item)
		return nil
	})
	if err != nil {
		return rec, d.garbled(r, err)
	}
	return rec, nil
}

// alone reads a document's one item.
func alone(doc *scan.Document, read func(*scan.Item) error) error {
	item, err := doc.Next()
	if err == nil {
		err = read(item)
	}
	if err == nil {
		_, err = doc.Next()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Ping asks whether oned answers at all. It has no method without a session, so an empty one is
// sent: being refused is an answer.
func (d *Driver) Ping(ctx context.Context) error {
	_, err := d.call(ctx, backends.Session{}, request{method: "one.system.version", login: true})
	if err == nil || backends.CodeOf(err) == backends.Unauthenticated {
		return nil
	}
	return err
}
