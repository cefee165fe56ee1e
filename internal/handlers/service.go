package handlers

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// backendBody is Backend in the contract; what a login form does not need comes with a token only.
type backendBody struct {
	ID           string            `json:"id"`
	Kind         backends.Kind     `json:"kind"`
	DisplayName  string            `json:"displayName"`
	Release      *backends.Release `json:"release,omitempty"`
	Healthy      *bool             `json:"healthy,omitempty"`
	LoggedIn     *bool             `json:"loggedIn,omitempty"`
	User         *userBody         `json:"user,omitempty"`
	Capabilities *capabilities     `json:"capabilities,omitempty"`
	Limits       *Limits           `json:"limits,omitempty"`
}

type capabilities struct {
	Verbs     []backends.Verb     `json:"verbs"`
	Members   []string            `json:"members"`
	Resources []backends.Resource `json:"resources"`
}

// listBackends serves GET /backends.
func (a *API) listBackends(r *http.Request) (reply, error) {
	session := auth.From(r.Context())
	list := make([]backendBody, len(a.backends))
	for i, b := range a.backends {
		list[i] = backendBody{ID: b.Name, Kind: b.Driver.Kind(), DisplayName: b.DisplayName}
	}
	if session != nil {
		health := a.pingAll(r.Context())
		for i, b := range a.backends {
			healthy := health[i] == nil
			list[i].Healthy = &healthy
			a.describe(&list[i], b, session)
		}
	}
	return reply{status: http.StatusOK, body: map[string]any{"backends": list}}, nil
}

func (a *API) describe(body *backendBody, b *backends.Backend, session *auth.Session) {
	if release, known := b.Driver.Release(); known {
		body.Release = &release
	}
	login, err := session.LoginAt(b.Name)
	loggedIn := err == nil
	body.LoggedIn = &loggedIn
	if loggedIn {
		user := userOf(login.User)
		body.User = &user
	}
	c := capabilities{Verbs: []backends.Verb{}, Members: []string{}, Resources: []backends.Resource{}}
	for _, s := range backends.Verbs {
		if b.Driver.Can(s.Verb) {
			c.Verbs = append(c.Verbs, s.Verb)
		}
	}
	for _, m := range backends.Members {
		if b.Driver.Writes(m.Path) {
			c.Members = append(c.Members, m.Path)
		}
	}
	for _, what := range backends.Resources {
		if b.Driver.Reads(what) {
			c.Resources = append(c.Resources, what)
		}
	}
	body.Capabilities = &c
	if limits, ok := a.cfg.Limits[b.Name]; ok {
		body.Limits = &limits
	}
}

// pingAll asks every backend whether it answers; nil is yes.
func (a *API) pingAll(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answers := make([]error, len(a.backends))
	var wg sync.WaitGroup
	for i, b := range a.backends {
		wg.Go(func() { answers[i] = b.Driver.Ping(ctx) })
	}
	wg.Wait()
	return answers
}

// getHealth serves GET /healthz: the process answers.
func (a *API) getHealth(*http.Request) (reply, error) {
	return reply{status: http.StatusOK, body: map[string]string{"status": "ok"}}, nil
}

// getReadiness serves GET /readyz: ready while at least one backend answers, so that one that is
// down does not take the gateway away from the others.
func (a *API) getReadiness(r *http.Request) (reply, error) {
	type state struct {
		ID      string `json:"id"`
		Healthy bool   `json:"healthy"`
		Detail  string `json:"detail,omitempty"`
	}
	answers := a.pingAll(r.Context())
	states := make([]state, len(answers))
	for i, err := range answers {
		states[i] = state{ID: a.backends[i].Name, Healthy: err == nil}
		if err != nil {
			states[i].Detail = backends.AsError(err).Detail
		}
	}
	status, word := http.StatusServiceUnavailable, "unready"
	if len(states) == 0 || slices.ContainsFunc(states, func(s state) bool { return s.Healthy }) {
		status, word = http.StatusOK, "ready"
	}
	return reply{status: status, body: map[string]any{"status": word, "backends": states}}, nil
}

func (a *API) getContractYAML(*http.Request) (reply, error) {
	return reply{status: http.StatusOK, body: rawBody{"application/yaml", a.cfg.Contract}}, nil
}

func (a *API) getContractJSON(*http.Request) (reply, error) {
	return reply{status: http.StatusOK, body: a.doc}, nil
}

// getDocs serves GET /docs through the same pages as /docs/*.
func (a *API) getDocs(r *http.Request) (reply, error) {
	rec := newCapture()
	a.cfg.Docs.ServeHTTP(rec, r)
	return reply{status: rec.status, header: rec.header, body: rawBody{rec.header.Get("Content-Type"), rec.body.Bytes()}}, nil
}
