package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"vmgateway"
	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/backends/xenapi/xensim"
	"vmgateway/internal/feed"
	"vmgateway/internal/handlers"
	"vmgateway/internal/operations"
	"vmgateway/internal/store"
)

// world is the whole gateway over both simulators, on sockets, with clocks that stand still.
type world struct {
	t        *testing.T
	one      *onesim.Server
	xen      *xensim.Server
	sessions *auth.Sessions
	clock    *clock
	url      string
	log      *lockedBuffer
	secrets  map[string]bool
	mu       sync.Mutex
	arrived  atomic.Int64 // requests

	backends backends.Registry
	store    store.Store
	key      []byte
	stop     func()
}

// clock is the gateway's time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// options changes what newWorld makes.
type options struct {
	vms          int
	loginsPerMin int
	maxBody      int64
	timeout      time.Duration
	cors         []string
}

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	if o.loginsPerMin == 0 {
		o.loginsPerMin = 10_000
	}
	if o.timeout == 0 {
		o.timeout = 20 * time.Second
	}
	one, err := onesim.Start(onesim.Config{VMs: o.vms, Clock: onesim.NewClock(start), Passwords: map[string]string{
		"oneadmin": "pw-of-the-admin", "alice": "pw-of-alice", "bob": "pw-of-bob",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.Close() })
	users := xensim.DefaultUsers()
	for i := range users {
		users[i].Password = "pw-of-" + users[i].Name + "-there"
	}
	xen, err := xensim.Start(xensim.Config{VMs: o.vms, Users: users, Durations: &xensim.Durations{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { xen.Close() })
	w := &world{t: t, one: one, xen: xen, clock: &clock{now: start}, log: &lockedBuffer{}, secrets: map[string]bool{}}

	oneDriver, err := opennebula.New(opennebula.Config{Name: "one", Endpoints: []*url.URL{mustParse(t, one.URL())}, Timeout: o.timeout, Now: w.clock.Now, PollInterval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	xenDriver, err := xenapi.New(xenapi.Config{Name: "xen", Endpoints: []*url.URL{mustParse(t, xen.URL())}, Timeout: o.timeout, Grace: 50 * time.Millisecond, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.backends = backends.Registry{
		{Name: "one", DisplayName: "OpenNebula", Driver: oneDriver},
		{Name: "xen", DisplayName: "XenAPI", Driver: xenDriver},
	}
	w.store, w.key = store.NewMemory(w.clock.Now), auth.NewKey()
	w.serve(o)
	t.Cleanup(w.checkLog)
	return w
}

// serve starts a gateway; again, another one of the same store, which is the one to talk to then.
func (w *world) serve(o options) {
	w.t.Helper()
	t := w.t
	feeds := feed.New(feed.Config{Now: w.clock.Now})
	t.Cleanup(func() { feeds.Close(context.Background()) })
	tracker := operations.New(operations.Config{Store: w.store, Feeds: feeds, Now: w.clock.Now, Body: handlers.OperationBody})
	t.Cleanup(tracker.Close)
	var err error
	w.sessions, err = auth.New(auth.Options{
		Store: w.store, Backends: w.backends,
		Idle: time.Hour, Absolute: 24 * time.Hour, SealKey: w.key, Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(w.log), zap.DebugLevel))
	api, err := handlers.New(handlers.Config{
		Contract: vmgateway.OpenAPI, Backends: w.backends, Sessions: w.sessions, Log: log,
		Metrics: prometheus.NewRegistry(), Feeds: feeds, Operations: tracker, Store: w.store,
		Docs: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/docs/panic" {
				panic("a mistake of ours")
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, "<html>docs</html>")
		}),
		Console: http.NotFoundHandler(),
		MaxBody: o.maxBody, LoginsPerMin: o.loginsPerMin, CORSOrigins: o.cors, Now: w.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.arrived.Add(1)
		api.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.stop = api.Stop
	t.Cleanup(w.stop)
	w.url = server.URL
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// secret remembers a text that must not be in any reply or log line.
func (w *world) secret(text string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" {
		w.secrets[text] = true
	}
	return text
}

func (w *world) checkLog() {
	log := w.log.String()
	for secret := range w.secrets {
		if strings.Contains(log, secret) {
			w.t.Errorf("the log holds a password or token")
		}
	}
	if i := strings.Index(log, "OpaqueRef:"); i >= 0 {
		w.t.Errorf("the log holds a reference: …%s", log[max(0, i-200):min(len(log), i+60)])
	}
}

// response is a reply that has been held against the contract.
type response struct {
	status int
	header http.Header
	text   []byte
	body   any
}

// get gives what stands at a path such as "vms.0.id", or nil.
func (r response) get(path string) any {
	value := r.body
	for name := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

func (r response) str(path string) string {
	s, _ := r.get(path).(string)
	return s
}

func (r response) list(path string) []any {
	l, _ := r.get(path).([]any)
	return l
}

// strictContract is the contract with every object closed: an answer with a member that the
// contract does not have is a mistake, though clients must accept one.
var strictContract = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		return nil, err
	}
	closed := false
	for _, ref := range doc.Components.Schemas {
		if s := ref.Value; len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
			s.AdditionalProperties.Has = &closed
		}
	}
	return doc, nil
})

var strictRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := strictContract()
	if err != nil {
		return nil, err
	}
	return gorillamux.NewRouter(doc)
})

// do sends a request and holds the reply against the contract. body may be nil, text, or a value
// that becomes JSON; headers come in pairs.
func (w *world) do(method, path, token string, body any, headers ...string) response {
	w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case io.Reader:
		reader = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	r := response{status: resp.StatusCode, header: resp.Header, text: text}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && method != "HEAD" {
		if err := json.Unmarshal(text, &r.body); err != nil {
			w.t.Errorf("%s %s: the reply is not JSON: %v", method, path, err)
		}
	}
	w.checkReply(req, r)
	return r
}

func (w *world) checkReply(req *http.Request, r response) {
	w.t.Helper()
	name := req.Method + " " + req.URL.RequestURI()
	if r.header.Get("X-Request-Id") == "" {
		w.t.Errorf("%s: no X-Request-Id", name)
	}
	if r.status >= 400 && req.URL.Path != "/readyz" && r.header.Get("Content-Type") != "application/problem+json" {
		w.t.Errorf("%s: an error of type %q", name, r.header.Get("Content-Type"))
	}
	for _, never := range []string{"OpaqueRef:", ".go:", "goroutine ", "runtime error"} {
		if bytes.Contains(r.text, []byte(never)) && !strings.HasSuffix(req.URL.Path, "/metrics") && !strings.HasPrefix(req.URL.Path, "/openapi") {
			w.t.Errorf("%s: the reply holds %q: %s", name, never, r.text)
		}
	}
	w.mu.Lock()
	for secret := range w.secrets {
		if bytes.Contains(r.text, []byte(secret)) {
			w.t.Errorf("%s: the reply holds a password or token", name)
		}
	}
	w.mu.Unlock()

	if req.Method == "HEAD" || req.Method == "OPTIONS" || req.URL.Path == "/docs/errors" {
		return // not operations of the contract
	}
	router, err := strictRouter()
	if err != nil {
		w.t.Fatal(err)
	}
	route, params, err := router.FindRoute(req)
	if err != nil { // outside of the contract: nothing but a refusal is right
		if r.status < 300 {
			w.t.Errorf("%s: answered %d, and is not in the contract", name, r.status)
		}
		return
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 r.status, Header: r.header, Body: io.NopCloser(bytes.NewReader(r.text)),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			ExcludeResponseBody: !strings.Contains(r.header.Get("Content-Type"), "json"),
		},
	})
	if err != nil {
		w.t.Errorf("%s: the reply (%d) breaks the contract: %.600s\n%.1200s", name, r.status, err, r.text)
	}
}

// login opens a session at the backends named, as the administrators of the simulators.
func (w *world) login(names ...string) string {
	w.t.Helper()
	var token string
	for _, name := range names {
		user, password := w.admin(name)
		token = w.loginAs(token, name, user, password)
	}
	return token
}

func (w *world) admin(backend string) (user, password string) {
	if backend == "one" {
		u := w.one.Users()[0]
		return u.Name, u.Password
	}
	u := w.xen.Users()[0]
	return u.Name, u.Password
}

func (w *world) loginAs(token, backend, user, password string) string {
	w.t.Helper()
	w.secret(password)
	body := map[string]string{"backend": backend, "username": user, "password": password}
	path := "/sessions"
	if token != "" {
		path = "/sessions/current/logins"
	}
	r := w.do("POST", path, token, body)
	if r.status != http.StatusCreated {
		w.t.Fatalf("login at %s: %d %s", backend, r.status, r.text)
	}
	if token == "" {
		return w.secret(r.str("token"))
	}
	return token
}

// backendCalls counts what went out to both backends.
func (w *world) backendCalls() int {
	n := 0
	for _, counts := range []map[string]int{w.one.CallCounts(), w.xen.CallCounts()} {
		for _, c := range counts {
			n += c
		}
	}
	return n
}

// open counts the backend's sessions, or login tokens, of everybody.
func (w *world) open(backend string) int {
	if backend == "xen" {
		return w.xen.Sessions()
	}
	n := 0
	for _, u := range w.one.Users() {
		n += w.one.OpenTokens(u.Name)
	}
	return n
}

// checkNothingOpen fails when a session was left behind at a backend.
func (w *world) checkNothingOpen() {
	w.t.Helper()
	for _, backend := range []string{"one", "xen"} {
		if n := w.open(backend); n != 0 {
			w.t.Errorf("%d sessions are left behind at %s", n, backend)
		}
	}
}

// want checks status and code of a refusal.
func (w *world) want(r response, status int, code string) {
	w.t.Helper()
	if r.status != status || r.str("code") != code {
		w.t.Errorf("got %d %s, want %d %s: %.500s", r.status, r.str("code"), status, code, r.text)
	}
}

func idOf(backend string, native int) string { return fmt.Sprintf("%s.%d", backend, native) }

// eventually waits until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatalf("does not come true: %s", what)
}

// requestsLogged counts the log lines of a route.
func (w *world) requestsLogged(route string) int {
	return strings.Count(w.log.String(), fmt.Sprintf(`"route":%q`, route))
}
