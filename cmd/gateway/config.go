package main

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// config is the configuration file; docs/configuration.md describes each key.
type config struct {
	Listen         string          `koanf:"listen"`
	TLS            listenTLS       `koanf:"tls"`
	Log            logConfig       `koanf:"log"`
	Backends       []backendConfig `koanf:"backends"`
	Store          storeConfig     `koanf:"store"`
	Sessions       sessionConfig   `koanf:"sessions"`
	Logins         loginConfig     `koanf:"logins"`
	Mirror         mirrorConfig    `koanf:"mirror"`
	CORS           corsConfig      `koanf:"cors"`
	TrustedProxies []string        `koanf:"trustedProxies"`
	Limits         limitConfig     `koanf:"limits"`
	Timeouts       timeoutConfig   `koanf:"timeouts"`
}

type listenTLS struct {
	CertFile string `koanf:"certFile"`
	KeyFile  string `koanf:"keyFile"`
}

type logConfig struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // json, console
}

type backendConfig struct {
	ID             string        `koanf:"id"`
	Kind           string        `koanf:"kind"` // opennebula, xenapi
	DisplayName    string        `koanf:"displayName"`
	Endpoints      []string      `koanf:"endpoints"`
	TLS            backendTLS    `koanf:"tls"`
	MaxConnections int           `koanf:"maxConnections"`
	Timeout        time.Duration `koanf:"timeout"`
	MaxReplyBytes  int64         `koanf:"maxReplyBytes"`
}

type backendTLS struct {
	CAFile     string `koanf:"caFile"`
	PinSHA256  string `koanf:"pinSha256"` // base64 of the SHA-256 of the certificate's public key
	ServerName string `koanf:"serverName"`
}

type storeConfig struct {
	URL string `koanf:"url"` // memory:, redis://…, rediss://…
}

type sessionConfig struct {
	Idle           time.Duration `koanf:"idle"`
	Absolute       time.Duration `koanf:"absolute"`
	SealingKey     string        `koanf:"sealingKey"` // base64 of 32 bytes
	SealingKeyFile string        `koanf:"sealingKeyFile"`
}

type loginConfig struct {
	PerMinute int `koanf:"perMinute"`
}

type mirrorConfig struct {
	MaxVMs int `koanf:"maxVms"`
}

type corsConfig struct {
	Origins []string `koanf:"origins"`
}

type limitConfig struct {
	BodyBytes   int64 `koanf:"bodyBytes"`
	HeaderBytes int   `koanf:"headerBytes"`
}

type timeoutConfig struct {
	ReadHeader time.Duration `koanf:"readHeader"`
	Read       time.Duration `koanf:"read"`
	Write      time.Duration `koanf:"write"`
	Idle       time.Duration `koanf:"idle"`
	Shutdown   time.Duration `koanf:"shutdown"`
}

func defaults() config {
	return config{
		Listen:   "127.0.0.1:8080",
		Log:      logConfig{Level: "info", Format: "json"},
		Store:    storeConfig{URL: "memory:"},
		Sessions: sessionConfig{Idle: time.Hour, Absolute: 24 * time.Hour},
		Logins:   loginConfig{PerMinute: 20},
		Mirror:   mirrorConfig{MaxVMs: 1_000_000},
		Limits:   limitConfig{BodyBytes: 1 << 20, HeaderBytes: 32 << 10},
		Timeouts: timeoutConfig{
			ReadHeader: 5 * time.Second, Read: 30 * time.Second, Write: 6 * time.Minute,
			Idle: 2 * time.Minute, Shutdown: 20 * time.Second,
		},
	}
}

// flags is the command line.
type flags struct {
	config, listen, logLevel, demoInfo      string
	checkConfig, demo, healthCheck, version bool
	demoVMs                                 int
	set                                     map[string]any // configuration keys given as flags
}

func parseFlags(args []string, stderr io.Writer) (flags, error) {
	var f flags
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&f.config, "config", "", "configuration `file` (YAML)")
	fs.BoolVar(&f.checkConfig, "check-config", false, "check the configuration, tell every mistake, and exit")
	fs.StringVar(&f.listen, "listen", "", "`address` to listen on (default 127.0.0.1:8080)")
	fs.StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error (default info)")
	fs.BoolVar(&f.demo, "demo", false, "start both built-in simulators, and serve them")
	fs.IntVar(&f.demoVMs, "demo-vms", 24, "VMs in each simulator")
	fs.StringVar(&f.demoInfo, "demo-info", "", "write addresses, users and passwords of the demo to `file` as JSON once it is ready")
	fs.BoolVar(&f.healthCheck, "health-check", false, "ask the gateway that runs with this configuration whether it is alive, and exit")
	fs.BoolVar(&f.version, "version", false, "print the version, and exit")
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		return f, fmt.Errorf("unexpected argument %q: flags only", fs.Arg(0))
	}
	if f.demo && f.config != "" {
		return f, errors.New("-demo brings its own backends: leave -config out")
	}
	if f.demoVMs < 0 || f.demoVMs > 200_000 {
		return f, errors.New("-demo-vms: expected 0 to 200000")
	}
	keys := map[string]string{"listen": "listen", "log-level": "log.level"}
	f.set = make(map[string]any)
	fs.Visit(func(given *flag.Flag) {
		if key, ok := keys[given.Name]; ok {
			f.set[key] = given.Value.String()
		}
	})
	return f, nil
}

const envPrefix = "VMGATEWAY_"

// loadConfig merges file, environment and flags over the defaults, and tells all mistakes at once.
func loadConfig(f flags, environ []string) (config, error) {
	cfg := defaults()
	k := koanf.New(".")
	if f.config != "" {
		if err := k.Load(file.Provider(f.config), yaml.Parser()); err != nil {
			return cfg, fmt.Errorf("%s: %w", f.config, err)
		}
	}
	known := envNames(reflect.TypeFor[config](), "")
	var mistakes []error
	err := k.Load(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			path, ok := known[name]
			if !ok {
				mistakes = append(mistakes, fmt.Errorf("environment: there is no variable %s", name))
				return "", nil
			}
			return path, value
		},
	}), nil)
	if err != nil {
		return cfg, err
	}
	if err := k.Load(confmap.Provider(f.set, "."), nil); err != nil {
		return cfg, err
	}
	err = k.UnmarshalWithConf("", &cfg, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &cfg, TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true,
		MatchName: func(key, field string) bool { return key == field },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		mistakes = append(mistakes, err)
	} else {
		mistakes = append(mistakes, cfg.check(f.demo || f.healthCheck)...)
	}
	if len(mistakes) > 0 {
		return cfg, fmt.Errorf("the configuration is not valid:\n%w", errors.Join(mistakes...))
	}
	return cfg, nil
}

// envNames maps VMGATEWAY_SESSIONS_SEALING_KEY to sessions.sealingKey, for every key that is not in
// a list.
func envNames(t reflect.Type, path string) map[string]string {
	names := make(map[string]string)
	for i := range t.NumField() {
		field := t.Field(i)
		key := strings.TrimPrefix(path+"."+field.Tag.Get("koanf"), ".")
		switch {
		case field.Type.Kind() == reflect.Struct:
			for name, path := range envNames(field.Type, key) {
				names[name] = path
			}
		case field.Type.Kind() == reflect.Slice && field.Type.Elem().Kind() == reflect.Struct:
		default:
			names[envName(key)] = key
		}
	}
	return names
}

func envName(key string) string {
	var name strings.Builder
	for _, r := range key {
		switch {
		case r == '.':
			name.WriteByte('_')
		case unicode.IsUpper(r):
			name.WriteByte('_')
			name.WriteRune(r)
		default:
			name.WriteRune(unicode.ToUpper(r))
		}
	}
	return envPrefix + name.String()
}

// check tells every mistake, each with the key it is about.
func (c *config) check(withoutBackends bool) []error {
	var m mistakes
	m.check("listen", checkAddress(c.Listen))
	m.check("tls", c.TLS.check())
	m.require("log.level", slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "expected debug, info, warn or error")
	m.require("log.format", slices.Contains([]string{"json", "console"}, c.Log.Format), "expected json or console")
	m.check("store.url", c.Store.check(c.Sessions))
	m.require("sessions.idle", c.Sessions.Idle >= time.Minute, "expected a minute at least")
	m.require("sessions.absolute", c.Sessions.Absolute >= c.Sessions.Idle, "expected at least sessions.idle")
	_, err := c.Sessions.key()
	m.check("sessions", err)
	m.require("logins.perMinute", c.Logins.PerMinute >= 1, "expected 1 at least")
	m.require("mirror.maxVms", c.Mirror.MaxVMs >= 1, "expected 1 at least")
	m.require("limits.bodyBytes", c.Limits.BodyBytes >= 1024, "expected 1024 at least")
	m.require("limits.headerBytes", c.Limits.HeaderBytes >= 4096, "expected 4096 at least")
	for i, origin := range c.CORS.Origins {
		m.check(fmt.Sprintf("cors.origins[%d]", i), checkOrigin(origin))
	}
	for i, cidr := range c.TrustedProxies {
		_, err := netip.ParsePrefix(cidr)
		m.check(fmt.Sprintf("trustedProxies[%d]", i), err)
	}
	for key, d := range map[string]time.Duration{
		"readHeader": c.Timeouts.ReadHeader, "read": c.Timeouts.Read, "write": c.Timeouts.Write,
		"idle": c.Timeouts.Idle, "shutdown": c.Timeouts.Shutdown,
	} {
		m.require("timeouts."+key, d > 0, "expected a positive duration, such as 30s")
	}
	if !withoutBackends {
		m.require("backends", len(c.Backends) > 0, "expected one at least (or start with -demo)")
	}
	seen := make(map[string]bool)
	for i := range c.Backends {
		at := fmt.Sprintf("backends[%d].", i)
		c.Backends[i].check(&m, at)
		m.require(at+"id", !seen[c.Backends[i].ID], "is taken by another backend")
		seen[c.Backends[i].ID] = true
	}
	slices.SortFunc(m.list, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	return m.list
}

func (b *backendConfig) check(m *mistakes, at string) {
	m.require(at+"id", backends.ValidName(b.ID), "expected a lower-case letter, then up to 31 letters, digits or dashes")
	_, ok := drivers[b.Kind]
	m.require(at+"kind", ok, "expected opennebula or xenapi")
	m.require(at+"endpoints", len(b.Endpoints) > 0, "expected one URL at least")
	for i, endpoint := range b.Endpoints {
		u, err := url.Parse(endpoint)
		good := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
		m.require(fmt.Sprintf("%sendpoints[%d]", at, i), good, "expected an http or https URL, without user and password")
	}
	_, err := b.TLS.config()
	m.check(at+"tls", err)
	m.require(at+"maxConnections", b.MaxConnections >= 0, "expected a positive number")
	m.require(at+"maxConnections", b.Kind != "opennebula" || b.MaxConnections <= 14, "expected at most 14: oned serves 15 connections at once, and makes the others wait")
	m.require(at+"timeout", b.Timeout >= 0, "expected a positive duration")
	m.require(at+"maxReplyBytes", b.MaxReplyBytes >= 0, "expected a positive number")
}

// mistakes collects what is wrong.
type mistakes struct{ list []error }

func (m *mistakes) require(key string, good bool, expected string) {
	if !good {
		m.list = append(m.list, fmt.Errorf("%s: %s", key, expected))
	}
}

func (m *mistakes) check(key string, err error) {
	if err != nil {
		m.list = append(m.list, fmt.Errorf("%s: %w", key, err))
	}
}

func checkAddress(address string) error {
	_, _, err := net.SplitHostPort(address)
	return err
}

func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" {
		return errors.New("expected an origin, such as https://console.example.org (no path, no *)")
	}
	return nil
}

func (t listenTLS) check() error {
	if t == (listenTLS{}) {
		return nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return errors.New("certFile and keyFile go together")
	}
	_, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	return err
}

// check tells whether the store can be used. One that others share needs a key that they share.
func (s storeConfig) check(sessions sessionConfig) error {
	u, err := url.Parse(s.URL)
	if err != nil || !slices.Contains([]string{"memory", "redis", "rediss"}, u.Scheme) {
		return errors.New("expected memory:, or redis://host:port/number, or rediss://…") // not the text: it may hold a password
	}
	if u.Scheme != "memory" && sessions.SealingKey == "" && sessions.SealingKeyFile == "" {
		return errors.New("a shared store needs sessions.sealingKeyFile: what it holds has to be readable after a restart")
	}
	return nil
}

// key is the sealing key; a random one when none is configured, since sessions in memory end with
// the process anyway.
func (s sessionConfig) key() ([]byte, error) {
	text := s.SealingKey
	if s.SealingKeyFile != "" {
		if text != "" {
			return nil, errors.New("sealingKey and sealingKeyFile exclude each other")
		}
		content, err := os.ReadFile(s.SealingKeyFile)
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(content))
	}
	if text == "" {
		return auth.NewKey(), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != auth.KeySize {
		return nil, fmt.Errorf("the sealing key is not the base64 of %d bytes: make one with `openssl rand -base64 %d`", auth.KeySize, auth.KeySize)
	}
	return key, nil
}
