package wire

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// once is the transport where each call has a connection of its own. It does in the goroutine of the
// call what net/http's Transport spreads over three more for the sake of connections that are kept:
// on a short call, handing over from one to the next costs more than anything else.
type once struct {
	dial dial
	tls  *tls.Config
}

// dial connects, as net.Dialer does.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

// RoundTrip implements http.RoundTripper. The connection ends with the reply's body.
func (o *once) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, err := o.connect(req)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // long ago: what is being read or written ends; fails only once it has
	})
	resp, err := converse(conn, req)
	if err != nil {
		stop()
		return nil, errors.Join(err, conn.Close())
	}
	resp.Body = lastBody{resp.Body, conn, stop}
	return resp, nil
}

// connect takes the same way as net/http: the request's trace is told of the connection only when the
// other side has shown its certificate.
func (o *once) connect(req *http.Request) (net.Conn, error) {
	ctx, u := req.Context(), req.URL
	conn, err := o.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), u.Scheme)))
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		config := cmp.Or(o.tls, &tls.Config{MinVersion: tls.VersionTLS12}).Clone()
		config.ServerName = cmp.Or(config.ServerName, u.Hostname())
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = secure
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: conn})
	}
	return conn, nil
}

// converse sends a request and reads its reply up to the body. Whoever refuses a request need not read
// it to its end, so a failure to send it whole counts only if there is no reply.
func converse(conn net.Conn, req *http.Request) (*http.Response, error) {
	req.Close = true
	w := bufio.NewWriter(conn)
	sent := req.Write(w)
	if sent == nil {
		sent = w.Flush()
	}
	head := &io.LimitedReader{R: conn, N: maxReplyHeader}
	r := bufio.NewReader(head)
	for {
		resp, err := http.ReadResponse(r, req)
		switch {
		case err != nil && head.N <= 0:
			return nil, &Error{Kind: TooLarge}
		case err != nil:
			return nil, errors.Join(sent, err)
		case resp.StatusCode >= http.StatusOK: // others announce the reply
			head.N = math.MaxInt64
			return resp, nil
		}
	}
}

// lastBody is a reply's body, and its connection's end.
type lastBody struct {
	io.Reader
	conn net.Conn
	stop func() bool
}

func (b lastBody) Close() error {
	b.stop()
	return b.conn.Close()
}
