package bench

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"vmgateway"
	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/feed"
	"vmgateway/internal/handlers"
	"vmgateway/internal/operations"
	"vmgateway/internal/store"
)

// inside is the gateway in this process, without a socket towards the client: for what a request
// costs in CPU time and allocations, and for profiles (-cpuprofile).
type inside struct {
	b     *testing.B
	api   *handlers.API
	token string
}

// nowhere is a log that is written like any other, and ends nowhere.
type nowhere struct{}

func (nowhere) Write(text []byte) (int, error) { return len(text), nil }

func (w *world) inside(logins ...string) *inside {
	b := w.b
	endpoint := func(text string) []*url.URL {
		u, err := url.Parse(text)
		check(b, err)
		return []*url.URL{u}
	}
	one, err := opennebula.New(opennebula.Config{Name: "one", Endpoints: endpoint(w.sim.One.URL), MaxReply: 2 << 30})
	check(b, err)
	xen, err := xenapi.New(xenapi.Config{Name: "xen", Endpoints: endpoint(w.sim.Xen.URL), MaxReply: 2 << 30})
	check(b, err)
	registry := backends.Registry{{Name: "one", DisplayName: "one", Driver: one}, {Name: "xen", DisplayName: "xen", Driver: xen}}
	kept := store.NewMemory(time.Now)
	feeds := feed.New(feed.Config{})
	b.Cleanup(func() { check(b, feeds.Close(context.WithoutCancel(b.Context()))) })
	tracker := operations.New(operations.Config{Store: kept, Feeds: feeds, Body: handlers.OperationBody})
	b.Cleanup(tracker.Close)
	sessions, err := auth.New(auth.Options{Store: kept, Backends: registry, Idle: time.Hour, Absolute: time.Hour, SealKey: auth.NewKey()})
	check(b, err)
	api, err := handlers.New(handlers.Config{
		Contract: vmgateway.OpenAPI, Backends: registry, Sessions: sessions, Feeds: feeds, Operations: tracker, Store: kept,
		Log:     zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(nowhere{}), zap.InfoLevel)),
		Metrics: prometheus.NewRegistry(), Docs: http.NotFoundHandler(), Console: http.NotFoundHandler(),
	})
	check(b, err)
	i := &inside{b: b, api: api}
	if len(logins) == 0 {
		return i
	}
	a := map[string]account{"one": w.sim.One, "xen": w.sim.Xen}[logins[0]]
	token, session, err := sessions.Open(b.Context(), auth.Credentials{Backend: logins[0], Username: a.Username, Password: a.Password})
	check(b, err)
	b.Cleanup(func() { check(b, sessions.End(context.WithoutCancel(b.Context()), session)) })
	i.token = token
	return i
}

func (i *inside) do(want int, method, path, body string) {
	req := httptest.NewRequestWithContext(i.b.Context(), method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+i.token)
	w := httptest.NewRecorder()
	i.api.ServeHTTP(w, req)
	if w.Code != want {
		i.b.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

// BenchmarkInside is what a request costs within the gateway, from the outermost room to each of the
// inner ones; the last ones call the backend.
func BenchmarkInside(b *testing.B) {
	w := newWorld(b)
	token := w.login("one")
	held := w.find(token, "one", "HELD", 1)[0]
	action := []string{"release", "hold"}
	n := 0
	for _, c := range []struct {
		name, login string
		do          func(i *inside)
	}{
		{"edge", "one", func(i *inside) { i.do(http.StatusOK, "GET", "/healthz", "") }},
		{"session", "one", func(i *inside) { i.do(http.StatusNotFound, "GET", "/vms/none.1", "") }},
		{"contract", "one", func(i *inside) {
			i.do(http.StatusNotFound, "POST", "/vms/none.1:migrate", `{"host":"none.2","live":true,"enforce":false}`)
		}},
		{"verb", "one", func(i *inside) {
			i.do(http.StatusAccepted, "POST", "/vms/"+held+":"+action[n%2], "{}")
			n++
		}},
		{"read", "one", func(i *inside) { i.do(http.StatusOK, "GET", "/vms/"+held, "") }},
		{"list-opennebula", "one", func(i *inside) { i.do(http.StatusOK, "GET", "/vms?pageSize=100", "") }},
		{"list-xenapi", "xen", func(i *inside) { i.do(http.StatusOK, "GET", "/vms?pageSize=100", "") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			i := w.in(b).inside(c.login)
			b.ReportAllocs()
			for b.Loop() {
				c.do(i)
			}
		})
	}
}
