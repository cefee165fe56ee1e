package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"vmgateway/internal/backends/wire/scan"
)

const (
	defaultAgent    = "vmgateway"
	defaultMaxReply = 256 << 20
	maxReply        = math.MaxInt32 // the scanners' offsets have 32 bits
	maxReplyHeader  = 64 << 10
	contentType     = "text/xml"
)

// Options say how a backend wants to be called.
type Options struct {
	URL        *url.URL      // scheme, host, path of the endpoint ("/RPC2", "/"); userinfo is dropped
	MaxConns   int           // connections at once; further calls wait, 0 = no limit
	KeepAlive  bool          // oned: false (every idle socket blocks one of its 15 places); xapi: true
	MaxHeader  int           // bytes of request line and headers together, 0 = no limit; xapi: 1000
	MaxRequest int64         // bytes of a request's body, 0 = no limit; xapi: 300 KiB
	MaxReply   int64         // bytes of a reply's body, 0 = 256 MiB; never more than 2 GiB
	Timeout    time.Duration // a whole call with its wait for a place, where ctx has no earlier deadline; 0 = none
	TLS        *tls.Config
	UserAgent  string // "vmgateway" where empty
}

// Client calls one endpoint. It is safe for concurrent use.
type Client struct {
	opt       Options
	bad       error // why no call can be made with these options
	transport http.RoundTripper
	places    chan struct{}
}

// New makes a Client. It connects to nothing; options that no call can be made with are told by
// the first call, as BadRequest.
func New(o Options) *Client {
	c := &Client{opt: o, bad: check(o)}
	if o.URL != nil {
		u := *o.URL
		u.User = nil
		u.Fragment, u.RawFragment = "", ""
		c.opt.URL = &u
	}
	if o.UserAgent == "" {
		c.opt.UserAgent = defaultAgent
	}
	if o.MaxReply <= 0 {
		c.opt.MaxReply = defaultMaxReply
	}
	c.opt.MaxReply = min(c.opt.MaxReply, maxReply)
	if o.MaxConns > 0 {
		c.places = make(chan struct{}, o.MaxConns)
	}
	c.transport = newTransport(c.opt)
	return c
}

func check(o Options) error {
	switch {
	case o.URL == nil:
		return errors.New("no URL")
	case o.URL.Scheme != "http" && o.URL.Scheme != "https":
		return errors.New("the URL's scheme is neither http nor https")
	case o.URL.Host == "":
		return errors.New("the URL has no host")
	case strings.ContainsFunc(o.UserAgent, func(r rune) bool { return r < ' ' || r >= 0x7f }):
		return errors.New("the user agent is not printable ASCII")
	}
	return nil
}

func newTransport(o Options) http.RoundTripper {
	if !o.KeepAlive {
		return &once{dial: counted(&net.Dialer{KeepAlive: -1}), tls: o.TLS} // it ends long before it is probed
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            counted(&net.Dialer{KeepAlive: 30 * time.Second}),
		Protocols:              &protocols,
		DisableCompression:     true, // neither daemon compresses
		MaxConnsPerHost:        o.MaxConns,
		MaxIdleConnsPerHost:    o.MaxConns,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxReplyHeader,
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	return t
}

func counted(d *net.Dialer) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &countedConn{Conn: conn}, nil
	}
}

// URL is the endpoint, without userinfo; nil where Options had none.
func (c *Client) URL() *url.URL {
	if c.opt.URL == nil {
		return nil
	}
	u := *c.opt.URL
	return &u
}

// Close closes idle connections. Calls under way go on, and later ones connect anew.
func (c *Client) Close() {
	if t, ok := c.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Call sends one call and reads its reply whole. Every error is an *Error; a fault shows when the
// reply is read. Nothing is ever sent twice: a call that met a stale kept connection is repeated
// only where not one of its bytes was written, and redirects are not followed.
//
// A 200 of the wrong content type is accepted where its body is an XML-RPC reply, since proxies
// relabel replies; anything else is a ContentType error.
func (c *Client) Call(ctx context.Context, method string, args ...any) (*Reply, error) {
	body, err := c.encode(method, args)
	if err != nil {
		return nil, &Error{Method: method, Kind: BadRequest, Err: err}
	}
	if c.opt.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opt.Timeout)
		defer cancel()
	}
	if err := c.enter(ctx); err != nil {
		return nil, &Error{Method: method, Kind: ended(err), Err: err}
	}
	defer c.leave()
	x := &exchange{method: method}
	reply, err := c.exchange(ctx, x, body)
	if err != nil {
		return nil, x.fail(ctx, err)
	}
	return reply, nil
}

func (c *Client) encode(method string, args []any) ([]byte, error) {
	if c.bad != nil {
		return nil, c.bad
	}
	body, err := encodeCall(method, args)
	if err != nil {
		return nil, err
	}
	if n := int64(len(body)); c.opt.MaxRequest > 0 && n > c.opt.MaxRequest {
		return nil, fmt.Errorf("the request has %d bytes, the limit is %d", n, c.opt.MaxRequest)
	}
	if n := c.headerSize(len(body)); c.opt.MaxHeader > 0 && n > c.opt.MaxHeader {
		return nil, fmt.Errorf("the request's headers have %d bytes, the limit is %d", n, c.opt.MaxHeader)
	}
	return body, nil
}

// headerSize is the number of bytes that net/http writes before a body of n bytes.
func (c *Client) headerSize(n int) int {
	size := len(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n",
		c.opt.URL.RequestURI(), c.opt.URL.Host, c.opt.UserAgent, n, contentType))
	if !c.opt.KeepAlive {
		size += len("Connection: close\r\n")
	}
	return size
}

func (c *Client) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.places == nil {
		return nil
	}
	select {
	case c.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) leave() {
	if c.places != nil {
		<-c.places
	}
}

// exchange sends body and reads the reply.
func (c *Client) exchange(ctx context.Context, x *exchange, body []byte) (*Reply, error) {
	resp, err := c.send(ctx, x, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := c.read(resp)
	if err != nil {
		return nil, err
	}
	if !isXML(resp.Header.Get("Content-Type")) && !scan.IsReply(text) {
		return nil, &Error{Kind: ContentType}
	}
	return &Reply{method: x.method, body: text}, nil
}

// send sends body and waits for the reply's head. It uses the transport itself, not an http.Client,
// which would follow redirects and put the URL into its errors.
func (c *Client) send(ctx context.Context, x *exchange, body []byte) (*http.Response, error) {
	// A bytes.Reader gives the request a length and a GetBody. The latter lets the transport use
	// another connection when a kept one turns out closed before a byte was written; a POST of
	// which bytes were written is never sent again.
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, x.trace()),
		http.MethodPost, c.opt.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Kind: BadRequest, Err: errors.New("the URL is not usable")}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", c.opt.UserAgent)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, &Error{Kind: Status, Status: resp.StatusCode}
	}
	return resp, nil
}

// read reads a reply's body into a buffer that is allocated once where the length is known.
func (c *Client) read(resp *http.Response) ([]byte, error) {
	limit := c.opt.MaxReply
	if resp.ContentLength > limit {
		return nil, &Error{Kind: TooLarge, Err: fmt.Errorf("the reply has %d bytes, the limit is %d", resp.ContentLength, limit)}
	}
	if resp.ContentLength >= 0 {
		b := make([]byte, resp.ContentLength)
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			return nil, err
		}
		// The body's end has to be seen for the connection to be kept.
		if _, err := resp.Body.Read(make([]byte, 1)); err != nil && err != io.EOF {
			return nil, err
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &Error{Kind: TooLarge, Err: fmt.Errorf("the reply exceeds the limit of %d bytes", limit)}
	}
	return b, nil
}

// isXML reports whether a content type is XML's; an absent one is taken for it.
func isXML(header string) bool {
	if header == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(header)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return media == "text/xml" || media == "application/xml" || strings.HasSuffix(media, "+xml")
}

// exchange is what is known about one call under way.
type exchange struct {
	method    string
	conn      *countedConn
	base      int64 // bytes that conn had written before this call
	connected bool
	sent      bool // bytes were written to an earlier connection
}

func (x *exchange) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			x.sent = x.wrote()
			x.connected = true
			conn := i.Conn
			if t, ok := conn.(*tls.Conn); ok {
				conn = t.NetConn()
			}
			x.conn, _ = conn.(*countedConn)
			if x.conn != nil {
				x.base = x.conn.written.Load()
			}
		},
	}
}

// wrote reports whether a byte of the request may have left.
func (x *exchange) wrote() bool {
	return x.sent || x.conn != nil && x.conn.written.Load() > x.base
}

// fail turns what went wrong into an *Error.
func (x *exchange) fail(ctx context.Context, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		own := *e // it may be another call's, which has ended the context of both
		own.Method = x.method
		own.Sent = x.wrote() && !refused(own.Status)
		return &own
	}
	e := &Error{Method: x.method, Sent: x.wrote()}
	switch {
	case ctx.Err() != nil:
		cause := context.Cause(ctx) // a stream that was idle too long ends by one
		e.Kind, e.Err = ended(cause), cause
	case !x.connected:
		e.Kind, e.Err = Unreachable, err
	case lost(err):
		e.Kind, e.Err = Cut, err
	case x.conn != nil && x.conn.ended.Load():
		// net/http complains about the half line that came last.
		e.Kind, e.Err = Cut, io.ErrUnexpectedEOF
	case strings.Contains(err.Error(), "response headers exceeded"):
		e.Kind = TooLarge
	default:
		// net/http quotes what it could not read, so its text stays out.
		e.Kind, e.Err = Malformed, errors.New("not a reply in HTTP/1.x")
	}
	return e
}

// refused reports whether an HTTP status says that the call was not carried out: redirects, what
// HTTP calls the client's mistake, and 501. A 500 or a proxy's 502 to 504 does not say so.
func refused(status int) bool {
	return status >= 300 && status < 500 || status == http.StatusNotImplemented
}

// ended is the failure for a context's error.
func ended(err error) Failure {
	if errors.Is(err, context.DeadlineExceeded) {
		return Timeout
	}
	return Canceled
}

// lost reports whether err is a connection's end, and not a complaint about what came over it.
func lost(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	_, errno := errors.AsType[syscall.Errno](err)
	return errno || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// countedConn counts the bytes that may have left. It counts them before they are written, because
// a call can be given up in the middle of a write. It also notes that the other side sent its last.
type countedConn struct {
	net.Conn
	written atomic.Int64
	ended   atomic.Bool
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	n, err := c.Conn.Write(b)
	if n < len(b) {
		c.written.Add(int64(n - len(b)))
	}
	return n, err
}
