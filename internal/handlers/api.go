package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/httprate"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
	"vmgateway/internal/operations"
	"vmgateway/internal/store"
)

// Config is what the API is made of. All are required but the last group.
type Config struct {
	Contract []byte // the OpenAPI document
	Backends backends.Registry
	Sessions *auth.Sessions
	// Feeds tells what changes, Operations follows what was begun, and Store keeps the answers to
	// Idempotency-Keys.
	Feeds      *feed.Feeds
	Operations *operations.Tracker
	Store      store.Store
	Log        *zap.Logger
	Metrics    *prometheus.Registry
	Docs       http.Handler // the API reference under /docs
	Console    http.Handler // the web console under /ui/

	Limits         map[string]Limits // by backend, for GET /backends
	MaxBody        int64             // bytes of a request's body; default 1 MiB
	LoginsPerMin   int               // login attempts a minute, for each client and for each user; default 20
	CORSOrigins    []string          // origins of web frontends served elsewhere; none by default
	TrustedProxies []string          // CIDRs whose X-Forwarded-For is believed; none by default
	Now            func() time.Time
}

// Limits is what the gateway allows itself towards a backend.
type Limits struct {
	MaxConnections int `json:"maxConnections"`
	TimeoutSeconds int `json:"timeoutSeconds"`
}

// API serves the contract. It is an http.Handler.
type API struct {
	http.Handler

	mux            *chi.Mux
	cfg            Config
	doc            *openapi3.T
	verbs          map[string][]string // methods by custom verb
	log            *zap.Logger
	backends       backends.Registry
	sessions       *auth.Sessions
	operations     *operations.Tracker
	feeds          *feed.Feeds
	reads          sharedReads
	compress       func(http.Handler) http.HandlerFunc
	stopping       context.Context // ends when event streams shall
	stop           context.CancelFunc
	metrics        *metrics
	loginsByClient *httprate.RateLimiter
	loginsByUser   *httprate.RateLimiter
	crossOrigin    *http.CrossOriginProtection
	now            func() time.Time
}

// handler serves one operation of the contract. The contract has settled the request's shape.
type handler func(r *http.Request) (reply, error)

// New checks that contract and handlers agree, and builds the routes.
func New(cfg Config) (*API, error) {
	doc, err := loadContract(cfg.Contract)
	if err != nil {
		return nil, err
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.LoginsPerMin <= 0 {
		cfg.LoginsPerMin = 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &API{
		cfg: cfg, doc: doc, verbs: customMethods(doc), log: cfg.Log, backends: cfg.Backends, sessions: cfg.Sessions,
		operations:     cfg.Operations,
		feeds:          cfg.Feeds,
		metrics:        newMetrics(cfg.Metrics),
		loginsByClient: newLoginLimiter(cfg.LoginsPerMin),
		loginsByUser:   newLoginLimiter(cfg.LoginsPerMin),
		crossOrigin:    http.NewCrossOriginProtection(),
		now:            cfg.Now,
	}
	if a.compress, err = newCompressor(); err != nil {
		return nil, err
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	for _, origin := range cfg.CORSOrigins {
		if err := a.crossOrigin.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("CORS origin: %w", err)
		}
	}
	return a, a.route()
}

// Stop ends the event streams, which would otherwise hold up a graceful stop: their listeners go on
// elsewhere from where they were.
func (a *API) Stop() { a.stop() }

// route makes a chi route of every operation in the contract.
func (a *API) route() error {
	r := chi.NewRouter()
	a.use(r)
	r.NotFound(a.notFound)
	r.MethodNotAllowed(a.methodNotAllowed)

	handlers := a.handlers()
	var mistakes []error
	for path, item := range a.doc.Paths.Map() {
		for method, op := range item.Operations() {
			serve, ok := handlers[op.OperationID]
			if !ok {
				mistakes = append(mistakes, fmt.Errorf("the contract's %s %s (%s) has no handler", method, path, op.OperationID))
				continue
			}
			delete(handlers, op.OperationID)
			o := a.newOperation(method, path, item, op)
			r.Method(method, path, a.around(o, serve))
		}
	}
	for id := range handlers {
		mistakes = append(mistakes, fmt.Errorf("the handler %s has no operation in the contract", id))
	}
	// The pages beside the contract: they are for people.
	r.Method(http.MethodGet, "/docs/*", a.cfg.Docs)
	r.Method(http.MethodGet, "/ui/*", a.cfg.Console)
	for _, path := range []string{"/", "/ui"} {
		r.Method(http.MethodGet, path, http.RedirectHandler("/ui/", http.StatusTemporaryRedirect))
	}
	a.Handler, a.mux = r, r
	sort.Slice(mistakes, func(i, j int) bool { return mistakes[i].Error() < mistakes[j].Error() })
	return errors.Join(mistakes...)
}

// around puts around a handler what its operation says to heed.
func (a *API) around(o *operation, next handler) http.Handler {
	if o.takes("If-Match") {
		next = a.matching(next)
	}
	if o.takes(idempotencyName) {
		next = a.idempotent(next)
	}
	if o.changes() {
		next = a.writing(next)
	}
	if o.takes("If-None-Match") {
		next = a.conditional(next)
	}
	if uncompressed[o.route.Operation.OperationID] {
		return a.serve(o, next)
	}
	return a.compressed(a.serve(o, next))
}

// handlers is every operation by its operationId.
func (a *API) handlers() map[string]handler {
	m := map[string]handler{
		"listBackends":         a.listBackends,
		"createSession":        a.createSession,
		"getSession":           a.getSession,
		"deleteSession":        a.deleteSession,
		"addLogin":             a.addLogin,
		"removeLogin":          a.removeLogin,
		"listVms":              a.listVMs,
		"createVm":             a.createVM,
		"getVm":                a.getVM,
		"updateVm":             a.updateVM,
		"deleteVm":             a.deleteVM,
		"saveVmDisk":           a.saveDisk,
		"instantiateTemplate":  a.instantiate,
		"listOperations":       a.listOperations,
		"getOperation":         a.getOperation,
		"cancelOperation":      a.cancelOperation,
		"streamEvents":         a.streamEvents,
		"getHealth":            a.getHealth,
		"getReadiness":         a.getReadiness,
		"getPrometheusMetrics": a.metrics.serve,
		"getContractYaml":      a.getContractYAML,
		"getContractJson":      a.getContractJSON,
		"getDocs":              a.getDocs,
	}
	for _, spec := range backends.Verbs {
		m[verbOperationID(spec.Verb)] = a.act(spec)
	}
	for _, p := range vmParts {
		m[p.operationID] = a.part(p)
	}
	m["listHosts"], m["getHost"] = collection[backends.Host](a, "hosts", backends.Hosts), a.object("host", backends.HostByID)
	m["listTemplates"], m["getTemplate"] = collection[backends.Template](a, "templates", backends.Templates), a.object("template", backends.TemplateByID)
	m["listImages"], m["getImage"] = collection[backends.Image](a, "images", backends.Images), a.object("image", backends.ImageByID)
	m["listStorages"], m["getStorage"] = collection[backends.Storage](a, "storages", backends.Storages), a.object("storage", backends.StorageByID)
	m["listNetworks"], m["getNetwork"] = collection[backends.Network](a, "networks", backends.Networks), a.object("network", backends.NetworkByID)
	return m
}

// verbOperationID is the contract's name of POST /vms/{vm}:{verb}: vmStart for start.
func verbOperationID(v backends.Verb) string {
	return "vm" + strings.ToUpper(string(v[:1])) + string(v[1:])
}

// customMethods maps the verb behind the last colon of a contract's path to the methods it has.
func customMethods(doc *openapi3.T) map[string][]string {
	methods := make(map[string][]string)
	for path, item := range doc.Paths.Map() {
		if _, verb, ok := strings.Cut(lastSegment(path), ":"); ok {
			for method := range item.Operations() {
				if !slices.Contains(methods[verb], method) {
					methods[verb] = append(methods[verb], method)
				}
				if method == http.MethodGet && !slices.Contains(methods[verb], http.MethodHead) {
					methods[verb] = append(methods[verb], http.MethodHead)
				}
			}
		}
	}
	return methods
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// checkVerb settles what chi cannot: it cuts {vm}:verb at the colon, and so takes an unknown verb
// for a part of an id, or for a missing method. No id has a colon.
func (a *API) checkVerb(r *http.Request) error {
	_, verb, colon := strings.Cut(lastSegment(r.URL.Path), ":")
	if !colon {
		return nil
	}
	methods, known := a.verbs[verb]
	switch {
	case !known:
		return &backends.Error{
			Code:   backends.NotFound,
			Detail: fmt.Sprintf("There is no verb %q: allowedActions of a VM lists what it can do.", clip(verb)),
		}
	case r.Method != http.MethodOptions && !slices.Contains(methods, r.Method):
		return methodError(r, methods)
	}
	return nil
}

// methodNotAllowed answers for a path that has other methods.
func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE"} {
		if a.mux.Match(chi.NewRouteContext(), method, r.URL.Path) {
			allowed = append(allowed, method)
		}
	}
	a.fail(w, r, methodError(r, allowed))
}

func methodError(r *http.Request, allowed []string) error {
	return &backends.Error{
		Code:   backends.MethodNotAllowed,
		Detail: fmt.Sprintf("%s is not a method of this path.", clip(r.Method)),
		Allow:  allowed,
	}
}

func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, &backends.Error{Code: backends.NotFound, Detail: "There is no such path: /docs describes those there are."})
}

// clip keeps what a client sent short enough to be sent back.
func clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
