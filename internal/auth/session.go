package auth

import (
	"context"
	"fmt"
	"slices"
	"time"

	"vmgateway/internal/backends"
)

// Session is what one token stands for: a login at each of some backends.
type Session struct {
	CreateTime time.Time
	ExpireTime time.Time // when it ends if it is not used before; never later than its absolute lifetime
	Logins     []Login

	key string // of the store's entry
}

// Login is a session's login at one backend.
type Login struct {
	Backend    string
	User       backends.Ref
	Roles      []string
	CreateTime time.Time

	session backends.Session
	ended   bool
}

// Owner tells whose login it is, for what the gateway itself keeps for a user: equal for all
// sessions of one user at one backend.
func (l Login) Owner() string { return l.Backend + "\x00" + l.User.DisplayName }

// At gives the backend's session. Without a login there it is Unauthenticated, and after the
// backend ended it BackendSessionEnded.
func (s *Session) At(backend string) (backends.Session, error) {
	l, err := s.LoginAt(backend)
	return l.session, err
}

// LoginAt gives the login at backend; the errors are those of At.
func (s *Session) LoginAt(backend string) (Login, error) {
	i := slices.IndexFunc(s.Logins, func(l Login) bool { return l.Backend == backend })
	switch {
	case i < 0:
		return Login{}, &backends.Error{
			Code:   backends.Unauthenticated,
			Detail: fmt.Sprintf("This session has no login at backend %q: add one with POST /sessions/current/logins.", backend),
		}
	case s.Logins[i].ended:
		return Login{}, endedError(backend)
	}
	return s.Logins[i], nil
}

func endedError(backend string) *backends.Error {
	return &backends.Error{
		Code:   backends.BackendSessionEnded,
		Detail: fmt.Sprintf("Backend %q has ended the login: log in again with POST /sessions/current/logins.", backend),
	}
}

type contextKey struct{}

// With puts a session into a request's context.
func With(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// From gives the context's session, or nil when the request came without a token.
func From(ctx context.Context) *Session {
	s, _ := ctx.Value(contextKey{}).(*Session)
	return s
}
