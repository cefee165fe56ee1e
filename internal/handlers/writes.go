package handlers

import (
	"net/http"

	"vmgateway/internal/auth"
)

// writing notes that a request changes something, so that its user reads nothing afterwards that is
// older: neither what a watcher knows from before, nor a read that was under way meanwhile.
func (a *API) writing(next handler) handler {
	return func(r *http.Request) (reply, error) {
		for _, owner := range a.writers(r) {
			end := a.feeds.Writing(owner)
			defer func() {
				end()
				a.reads.forget(owner)
			}()
		}
		return next(r)
	}
}

// writers names the user at the backend that a request is for; at each of the session's backends if
// that cannot be told.
func (a *API) writers(r *http.Request) []string {
	if owner, known := a.ownerOf(r); known {
		return []string{owner}
	}
	var owners []string
	if session := auth.From(r.Context()); session != nil {
		for _, login := range session.Logins {
			owners = append(owners, login.Owner())
		}
	}
	return owners
}
