package handlers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"
	"github.com/go-chi/httprate"
	"go.uber.org/zap"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// use puts what happens to every request around the routes.
func (a *API) use(r *chi.Mux) {
	if len(a.cfg.TrustedProxies) > 0 {
		r.Use(middleware.ClientIPFromXFF(a.cfg.TrustedProxies...))
	} else {
		r.Use(middleware.ClientIPFromRemoteAddr)
	}
	r.Use(a.identify, a.record, a.survive, a.normalise)
	if len(a.cfg.CORSOrigins) > 0 {
		r.Use(cors.Handler(cors.Options{
			AllowedOrigins:   a.cfg.CORSOrigins,
			AllowedMethods:   []string{"GET", "HEAD", "POST", "PATCH", "DELETE"},
			AllowedHeaders:   []string{"Authorization", "Content-Type", "X-Request-Id", "traceparent", "Prefer", "If-Match", "If-None-Match", "Cache-Control", "Idempotency-Key", "Last-Event-ID"},
			ExposedHeaders:   []string{"X-Request-Id", "Location", "ETag", "Age", "Retry-After", "Preference-Applied", "Idempotency-Replayed"},
			AllowCredentials: true,
			MaxAge:           600,
		}))
	}
	r.Use(middleware.GetHead)
}

var (
	saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	traceparent   = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$`)
)

const (
	noTrace = "00000000000000000000000000000000"
	noSpan  = "0000000000000000"
)

// identify gives the request an id (the client's own, if it is sane) and a place in its trace (W3C
// Trace Context), and says both on the reply.
func (a *API) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !saneRequestID.MatchString(id) {
			id = randomHex(16)
		}
		trace, flags := randomHex(16), "00"
		if m := traceparent.FindStringSubmatch(r.Header.Get("traceparent")); m != nil && m[1] != noTrace && m[2] != noSpan {
			trace, flags = m[1], m[3]
		}
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("traceparent", "00-"+trace+"-"+randomHex(8)+"-"+flags)
		ctx := context.WithValue(r.Context(), middleware.RequestIDKey, id)
		notes := &notes{trace: trace}
		ctx = context.WithValue(ctx, notesKey{}, notes)
		ctx = backends.WithObserver(ctx, func(c backends.Call) {
			notes.calls.Add(1)
			a.metrics.backendCall(c)
		})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// notes collects what a request's log line tells.
type notes struct {
	trace string
	route atomic.Pointer[string]
	calls atomic.Int64
}

type notesKey struct{}

func notesOf(r *http.Request) *notes {
	n, ok := r.Context().Value(notesKey{}).(*notes)
	if !ok {
		return &notes{}
	}
	return n
}

func noteRoute(r *http.Request, route string) { notesOf(r).route.Store(&route) }

// record writes one line a request, and counts it. Neither has the path or the query: they may
// hold what a client should not have put there.
func (a *API) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		n := notesOf(r)
		route := "(none)"
		if p := n.route.Load(); p != nil {
			route = *p
		}
		status := ww.Status()
		if status == 0 {
			status = http.StatusOK
		}
		took := time.Since(begin)
		a.metrics.request(r.Method, route, status, ww.BytesWritten(), took)
		a.log.Info("request",
			zap.String("method", r.Method),
			zap.String("route", route),
			zap.Int("status", status),
			zap.Duration("duration", took),
			zap.Int64("backendCalls", n.calls.Load()),
			zap.Int("bytes", ww.BytesWritten()),
			zap.String("client", middleware.GetClientIP(r.Context())),
			zap.String("requestId", middleware.GetReqID(r.Context())),
			zap.String("traceId", n.trace),
		)
	})
}

// survive turns a panic into a 500 that says nothing about the inside, and logs its stack.
func (a *API) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p) // net/http's own way to cut a connection
			default:
				a.logFor(r).Error("panic", zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
				a.fail(w, r, &backends.Error{Code: backends.Internal, Detail: "The gateway made a mistake; its log says more under this requestId."})
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// surviveSource does the same for a goroutine that reads one backend of a list.
func (a *API) surviveSource(r *http.Request, lost func(error)) {
	if p := recover(); p != nil {
		a.logFor(r).Error("panic", zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
		lost(&backends.Error{Code: backends.Internal, Detail: "The gateway made a mistake; its log says more under this requestId."})
	}
}

// normalise lets an id be percent-encoded, and refuses a path in which an encoded colon or slash
// would change what it means (RFC 3986, 2.2).
func (a *API) normalise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if raw := strings.ToLower(r.URL.RawPath); raw != "" {
			if strings.Contains(raw, "%3a") || strings.Contains(raw, "%2f") {
				a.fail(w, r, &backends.Error{
					Code:   backends.NotFound,
					Detail: "There is no such path: no id holds a colon or a slash, and the colon in front of a verb is not percent-encoded.",
				})
				return
			}
			r.URL.RawPath = ""
		}
		if err := a.checkVerb(r); err != nil {
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

const cookieName = "__Host-session"

// authenticate turns a token into the request's session. A token in a cookie counts only when the
// request does not come from somebody else's page.
func (a *API) authenticate(r *http.Request, need tokenNeed) (*http.Request, error) {
	if need == tokenIgnored {
		return r, nil
	}
	token, fromCookie, err := tokenOf(r)
	if err != nil {
		return r, err
	}
	if token == "" {
		if need == tokenOptional {
			return r, nil
		}
		return r, &backends.Error{Code: backends.Unauthenticated, Detail: "This call needs a token: log in with POST /sessions, and send Authorization: Bearer <token>."}
	}
	if fromCookie {
		if err := a.crossOrigin.Check(r); err != nil {
			return r, &backends.Error{Code: backends.PermissionDenied, Detail: "A request with a session cookie that changes something must come from the gateway's own pages.", Err: err}
		}
	}
	session, err := a.sessions.Get(r.Context(), token)
	if err != nil {
		return r, err
	}
	return r.WithContext(auth.With(r.Context(), session)), nil
}

func tokenOf(r *http.Request) (token string, fromCookie bool, err error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, ok := strings.Cut(header, " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
			return "", false, &backends.Error{Code: backends.Unauthenticated, Detail: "The Authorization header is not of the form: Bearer <token>."}
		}
		return strings.TrimSpace(token), false, nil
	}
	if cookie, err := r.Cookie(cookieName); err == nil {
		return cookie.Value, true, nil
	}
	return "", false, nil
}

func newLoginLimiter(perMinute int) *httprate.RateLimiter {
	// The headers would tell about a user name's limit to somebody who only guesses it.
	return httprate.NewRateLimiter(perMinute, time.Minute, httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
}

// limitLogin counts a login attempt, for the client and for the user.
func (a *API) limitLogin(r *http.Request, backend, username string) error {
	var header discard
	client := httprate.CanonicalizeIP(middleware.GetClientIP(r.Context()))
	if !a.loginsByClient.OnLimit(header, r, client) && !a.loginsByUser.OnLimit(header, r, backend+"\x00"+username) {
		return nil
	}
	return &backends.Error{Code: backends.RateLimited, Detail: "There were too many attempts to log in.", Wait: time.Minute}
}

// discard is a ResponseWriter for a library that insists on setting headers.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// capture holds a reply of a handler that is not ours, until it is sent like any other.
type capture struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newCapture() *capture                        { return &capture{status: http.StatusOK, header: http.Header{}} }
func (c *capture) Header() http.Header            { return c.header }
func (c *capture) WriteHeader(status int)         { c.status = status }
func (c *capture) Write(text []byte) (int, error) { return c.body.Write(text) }

func (a *API) logFor(r *http.Request) *zap.Logger {
	return a.log.With(zap.String("requestId", middleware.GetReqID(r.Context())))
}

func errorField(err error) zap.Field { return zap.Error(err) }

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
