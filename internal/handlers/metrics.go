package handlers

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"vmgateway/internal/backends"
)

// metrics is what /metrics tells. No label holds anything that a client chose.
type metrics struct {
	requests *prometheus.HistogramVec
	calls    *prometheus.HistogramVec
	read     *prometheus.CounterVec
	// undecodable counts objects that a list had to leave out, so that a silent gap shows.
	undecodable *prometheus.CounterVec
	// listed counts the items of lists, and sent the bytes of replies as they went out.
	listed    *prometheus.CounterVec
	sent      *prometheus.CounterVec
	listeners prometheus.Gauge
	handler   http.Handler
}

func newMetrics(registry *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vmgateway_http_request_duration_seconds",
			Help:    "Time from a request's arrival to the end of its reply.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route", "status"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "vmgateway_backend_call_duration_seconds",
			Help:    "Time of one XML-RPC call, by what became of it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"backend", "method", "outcome"}),
		read: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vmgateway_backend_reply_bytes_total",
			Help: "Bytes of backends' replies, as far as they were read.",
		}, []string{"backend", "method"}),
		undecodable: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vmgateway_undecodable_objects_total",
			Help: "Objects in lists that a backend sent and the gateway could not read.",
		}, []string{"backend"}),
		listed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vmgateway_listed_objects_total",
			Help: "Objects in the replies to lists.",
		}, []string{"collection"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vmgateway_http_response_bytes_total",
			Help: "Bytes of replies' bodies, as they were sent.",
		}, []string{"route"}),
		listeners: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vmgateway_event_listeners",
			Help: "Clients that follow /events now.",
		}),
		handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	registry.MustRegister(m.requests, m.calls, m.read, m.undecodable, m.listed, m.sent, m.listeners)
	return m
}

func (m *metrics) request(method, route string, status, bytes int, took time.Duration) {
	m.sent.WithLabelValues(route).Add(float64(bytes))
	m.requests.WithLabelValues(knownMethod(method), route, strconv.Itoa(status)).Observe(took.Seconds())
}

func (m *metrics) backendCall(c backends.Call) {
	outcome := "OK"
	if c.Err != nil {
		outcome = backends.CodeOf(c.Err).String()
	}
	m.calls.WithLabelValues(c.Backend, c.Method, outcome).Observe(c.Duration.Seconds())
	m.read.WithLabelValues(c.Backend, c.Method).Add(float64(c.Bytes))
}

// Observe counts a call that no request made, such as a watcher's.
func (a *API) Observe(c backends.Call) { a.metrics.backendCall(c) }

// knownMethod keeps a client from making up time series.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func (m *metrics) serve(r *http.Request) (reply, error) {
	plain := r.Clone(r.Context())
	plain.Header.Del("Accept-Encoding")
	plain.Header.Del("Accept")
	rec := newCapture()
	m.handler.ServeHTTP(rec, plain)
	return reply{status: rec.status, body: rawBody{rec.header.Get("Content-Type"), rec.body.Bytes()}}, nil
}
