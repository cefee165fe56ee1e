package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
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
	"vmgateway/web"
)

// drivers is every kind of backend.
var drivers = map[string]func(backendConfig, []*url.URL, *tls.Config) (backends.Driver, error){
	"opennebula": func(b backendConfig, endpoints []*url.URL, t *tls.Config) (backends.Driver, error) {
		return opennebula.New(opennebula.Config{
			Name: b.ID, Endpoints: endpoints, TLS: t, MaxConns: b.MaxConnections, Timeout: b.Timeout,
			MaxReply: b.MaxReplyBytes, UserAgent: userAgent,
		})
	},
	"xenapi": func(b backendConfig, endpoints []*url.URL, t *tls.Config) (backends.Driver, error) {
		return xenapi.New(xenapi.Config{
			Name: b.ID, Endpoints: endpoints, TLS: t, MaxConns: b.MaxConnections, Timeout: b.Timeout,
			MaxReply: b.MaxReplyBytes, UserAgent: userAgent, Originator: userAgent,
		})
	},
}

const userAgent = "vmgateway"

// backendDefaults is what a backend has when its configuration does not say otherwise.
var backendDefaults = map[string]backendConfig{
	"opennebula": {MaxConnections: 12, Timeout: 60 * time.Second, MaxReplyBytes: 2 << 30},
	"xenapi":     {MaxConnections: 32, Timeout: 60 * time.Second, MaxReplyBytes: 2 << 30},
}

func (b backendConfig) withDefaults() backendConfig {
	d := backendDefaults[b.Kind]
	if b.MaxConnections == 0 {
		b.MaxConnections = d.MaxConnections
	}
	if b.Timeout == 0 {
		b.Timeout = d.Timeout
	}
	if b.MaxReplyBytes == 0 {
		b.MaxReplyBytes = d.MaxReplyBytes
	}
	if b.DisplayName == "" {
		b.DisplayName = b.ID
	}
	return b
}

// server is the gateway, ready to serve.
type server struct {
	cfg      config
	log      *zap.Logger
	sessions *auth.Sessions
	feeds    *feed.Feeds
	tracker  *operations.Tracker
	api      *handlers.API
	http     *http.Server
}

func newServer(cfg config, log *zap.Logger) (*server, error) {
	var registry backends.Registry
	limits := make(map[string]handlers.Limits)
	for _, b := range cfg.Backends {
		b = b.withDefaults()
		driver, err := newDriver(b)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", b.ID, err)
		}
		registry = append(registry, &backends.Backend{Name: b.ID, DisplayName: b.DisplayName, Driver: driver})
		limits[b.ID] = handlers.Limits{MaxConnections: b.MaxConnections, TimeoutSeconds: int(b.Timeout.Seconds())}
	}
	key, err := cfg.Sessions.key()
	if err != nil {
		return nil, err
	}
	kept, err := newStore(cfg.Store)
	if err != nil {
		return nil, err
	}
	sessions, err := auth.New(auth.Options{
		Store: kept, Backends: registry,
		Idle: cfg.Sessions.Idle, Absolute: cfg.Sessions.Absolute, SealKey: key,
	})
	if err != nil {
		return nil, err
	}
	docs, err := web.Docs("/openapi.json", handlers.ErrorRows())
	if err != nil {
		return nil, err
	}
	console, err := web.Console()
	if err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var api *handlers.API // is there before anybody watches
	feeds := feed.New(feed.Config{
		MaxVMs:  cfg.Mirror.MaxVMs,
		Observe: func(c backends.Call) { api.Observe(c) },
		Health: func(backend string, err error) {
			if err != nil {
				log.Warn("a backend cannot be watched", zap.String("backend", backend), zap.Error(err))
				return
			}
			log.Info("a backend can be watched again", zap.String("backend", backend))
		},
	})
	tracker := operations.New(operations.Config{
		Store: kept, Feeds: feeds, Body: handlers.OperationBody,
		Report: func(err error) { log.Warn("an operation cannot be followed", zap.Error(err)) },
	})
	api, err = handlers.New(handlers.Config{
		Contract: vmgateway.OpenAPI, Backends: registry, Sessions: sessions, Log: log, Metrics: metrics,
		Feeds: feeds, Operations: tracker, Store: kept,
		Docs: docs, Console: console,
		Limits: limits, MaxBody: cfg.Limits.BodyBytes, LoginsPerMin: cfg.Logins.PerMinute,
		CORSOrigins: cfg.CORS.Origins, TrustedProxies: cfg.TrustedProxies,
	})
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, log: log, sessions: sessions, feeds: feeds, tracker: tracker, api: api, http: &http.Server{
		Handler:           api,
		ReadHeaderTimeout: cfg.Timeouts.ReadHeader,
		ReadTimeout:       cfg.Timeouts.Read,
		WriteTimeout:      cfg.Timeouts.Write,
		IdleTimeout:       cfg.Timeouts.Idle,
		MaxHeaderBytes:    cfg.Limits.HeaderBytes,
		ErrorLog:          zap.NewStdLog(log),
	}}
	s.http.RegisterOnShutdown(api.Stop)
	return s, nil
}

func newStore(c storeConfig) (store.Store, error) {
	if c.URL == "memory:" {
		return store.NewMemory(time.Now), nil
	}
	return store.NewRedis(store.RedisConfig{URL: c.URL, Prefix: "vmgateway:"})
}

func newDriver(b backendConfig) (backends.Driver, error) {
	var endpoints []*url.URL
	for _, text := range b.Endpoints {
		u, err := url.Parse(text)
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, u)
	}
	t, err := b.TLS.config()
	if err != nil {
		return nil, err
	}
	return drivers[b.Kind](b, endpoints, t)
}

// serve listens, calls ready with the gateway's URL, and ends with ctx: requests under way are
// finished, then every session is ended at its backend.
func (s *server) serve(ctx context.Context, ready func(url string) error) error {
	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if s.cfg.TLS.CertFile != "" {
		scheme = "https"
	}
	failed := make(chan error, 1)
	go func() {
		if scheme == "https" {
			failed <- s.http.ServeTLS(listener, s.cfg.TLS.CertFile, s.cfg.TLS.KeyFile)
			return
		}
		failed <- s.http.Serve(listener)
	}()
	gatewayURL := scheme + "://" + listener.Addr().String()
	s.log.Info("listening", zap.String("url", gatewayURL), zap.Int("backends", len(s.cfg.Backends)), zap.String("version", version()))
	sweeping := make(chan struct{})
	go func() { defer close(sweeping); s.sweep(ctx) }()

	if err = ready(gatewayURL); err == nil {
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	stopped := s.stop()
	<-sweeping
	return errors.Join(err, stopped)
}

// stop needs no context of its caller: that has ended, or this would not run.
func (s *server) stop() error {
	s.log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeouts.Shutdown)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("requests were cut: %w", errors.Join(err, s.http.Close()))
	}
	s.tracker.Close()
	err = errors.Join(err, s.feeds.Close(ctx))
	if ended := s.sessions.Shutdown(ctx); ended != nil {
		s.log.Warn("not every backend could be told of the logouts", zap.Error(ended))
	}
	return err
}

// sweep ends lapsed sessions every few seconds, until ctx ends.
func (s *server) sweep(ctx context.Context) {
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.api.Sweep(ctx); err != nil {
				s.log.Warn("old answers cannot be dropped", zap.Error(err))
			}
			if n, err := s.sessions.Sweep(ctx); err != nil {
				s.log.Warn("not every backend could be told of a logout", zap.Error(err))
			} else if n > 0 {
				s.log.Info("sessions lapsed", zap.Int("sessions", n))
			}
		}
	}
}

func newLogger(c logConfig, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, err
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if c.Format == "console" {
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// checkHealth is the container's health check: it asks the gateway that was started with the same
// configuration.
func checkHealth(ctx context.Context, cfg config) error {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: "/healthz"}
	client := &http.Client{Timeout: 3 * time.Second}
	if cfg.TLS.CertFile != "" {
		u.Scheme = "https"
		// It asks its own process on its own machine, and sends no secret.
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // see above
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", u.String(), resp.Status)
	}
	return nil
}
