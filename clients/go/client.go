// Package gateway is a client of the VM gateway. The calls and types of api.gen.go are generated from the
// gateway's contract; what a generator cannot do is beside it: a session, errors with their code, the end of
// an operation, lists of any length, and events that miss nothing.
package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// patience is how long a call waits in all when the gateway says, by 429 with Retry-After, that it is
// called too often. Such a call was not carried out, so that any may be sent again.
const patience = time.Minute

// Secret is a text that does not show itself when it is printed.
type Secret string

func (Secret) String() string { return "[secret]" }

// GoString is for %#v.
func (Secret) GoString() string { return "[secret]" }

// Client is one session at a gateway. It is safe for concurrent use.
type Client struct {
	base      string
	http      *http.Client
	authorize func(http.Header) // hides the token from whoever prints a Client
}

// Option changes how a Client is made.
type Option func(*Client)

// WithHTTPClient makes the calls with h, which must not limit the time of a whole call: events do not end.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithToken uses a session that exists.
func WithToken(token Secret) Option {
	return func(c *Client) {
		c.authorize = func(h http.Header) { h.Set("Authorization", "Bearer "+string(token)) }
	}
}

// New makes a client of the gateway at a URL, such as https://gateway.example.org.
func New(gateway string, options ...Option) (*Client, error) {
	u, err := url.Parse(gateway)
	if err != nil {
		return nil, fmt.Errorf("the URL of the gateway: %w", errors.Unwrap(err)) // the rest may hold a password
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the URL of a gateway", u.Redacted())
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), http: http.DefaultClient, authorize: func(http.Header) {}}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// LogIn makes a client with a session of its own. DeleteSession ends it; AddLogin adds another backend.
func LogIn(ctx context.Context, gateway string, who Credentials, options ...Option) (*Client, error) {
	c, err := New(gateway, options...)
	if err != nil {
		return nil, err
	}
	session, err := c.CreateSession(ctx, who)
	if err != nil {
		return nil, err
	}
	if session.Token == nil {
		return nil, errors.New("the gateway gave no token")
	}
	WithToken(*session.Token)(c)
	return c, nil
}

// Error is an answer that is no success: nearly always a problem document of the gateway. One of a proxy in
// between has a status, and no code.
type Error struct {
	Problem
	RetryAfter time.Duration // how long to wait; 0 if that was not said
}

func (e *Error) Error() string {
	text := e.Title
	if e.Detail != nil {
		text = *e.Detail
	}
	if e.Code == "" {
		return text
	}
	return string(e.Code) + ": " + text
}

// CodeOf is the code of the problem in err, or "" if it holds none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// transient reports whether the same request may succeed later: the gateway says so, a proxy cannot reach
// it, or it cannot be reached at all.
func transient(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Retryable || e.Code == "" && e.Status >= 500
	}
	_, network := errors.AsType[*url.Error](err)
	return network
}

// request is one call before it goes out. The first mistake in making it is what it ends with.
type request struct {
	method, path string
	values       url.Values
	headers      http.Header
	body         []byte
	err          error
}

// newRequest puts the ids into the path, in their order.
func newRequest(method, path string, ids ...string) *request {
	for _, id := range ids {
		before, rest, _ := strings.Cut(path, "{")
		_, after, _ := strings.Cut(rest, "}")
		path = before + url.PathEscape(id) + after
	}
	return &request{method: method, path: path, values: url.Values{}, headers: http.Header{}}
}

func (r *request) json(contentType string, body any) {
	r.headers.Set("Content-Type", contentType)
	r.body, r.err = json.Marshal(body)
}

func (r *request) query(name string, value any) {
	if text, ok := textOf(value); ok {
		r.values.Set(name, text)
	}
}

func (r *request) header(name string, value any) {
	if text, ok := textOf(value); ok {
		r.headers.Set(name, text)
	}
}

// textOf writes a parameter, lists with commas; false is for one that was left out.
func textOf(value any) (string, bool) {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "", false
		}
		return textOf(v.Elem().Interface())
	case reflect.Slice:
		if v.IsNil() {
			return "", false
		}
		var parts []string
		for _, part := range v.Seq2() {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, ","), true
	default:
		return fmt.Sprint(value), true
	}
}

// once makes the call, and answers a response of success; the caller closes its body.
func (c *Client) once(ctx context.Context, r *request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	address := c.base + r.path
	if len(r.values) > 0 {
		address += "?" + r.values.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	q.Header = r.headers.Clone()
	c.authorize(q.Header)
	response, err := c.http.Do(q)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, refused(response)
	}
	return response, nil
}

// send makes the call as once does, again when it is told to come back soon.
func (c *Client) send(ctx context.Context, r *request) (*http.Response, error) {
	for left := patience; ; {
		response, err := c.once(ctx, r)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != http.StatusTooManyRequests || e.RetryAfter == 0 || e.RetryAfter > left {
			return response, err
		}
		left -= e.RetryAfter
		if stopped := sleep(ctx, e.RetryAfter); stopped != nil {
			return nil, errors.Join(stopped, err)
		}
	}
}

// refused reads what the gateway says to a call that it refuses, and closes the response.
func refused(response *http.Response) *Error {
	defer response.Body.Close()
	e := &Error{}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	if mediaType(response) != "application/problem+json" || json.NewDecoder(response.Body).Decode(&e.Problem) != nil || e.Code == "" {
		e.Problem = Problem{Status: int32(response.StatusCode), Title: "HTTP " + response.Status}
	}
	return e
}

func mediaType(response *http.Response) string {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return kind
}

// call makes a call, and decodes its answer, if there is one.
func call[T any](ctx context.Context, c *Client, r *request) (*T, error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer := new(T)
	if response.StatusCode == http.StatusNoContent {
		return answer, nil
	}
	d := json.NewDecoder(response.Body)
	d.UseNumber() // the backends' own records hold integers of 64 bits
	if err := d.Decode(answer); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s %s: the answer cannot be read: %w", r.method, r.path, err)
	}
	return answer, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
