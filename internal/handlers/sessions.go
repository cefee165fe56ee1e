package handlers

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

// sessionBody is Session in the contract.
type sessionBody struct {
	Token      string      `json:"token,omitempty"`
	TokenType  string      `json:"tokenType"`
	CreateTime time.Time   `json:"createTime"`
	ExpireTime time.Time   `json:"expireTime"`
	Logins     []loginBody `json:"logins"`
}

type loginBody struct {
	Backend    string    `json:"backend"`
	User       userBody  `json:"user"`
	Roles      []string  `json:"roles,omitempty"`
	CreateTime time.Time `json:"createTime"`
}

type userBody struct {
	ID          *backends.ID `json:"id,omitempty"`
	DisplayName string       `json:"displayName"`
}

func userOf(ref backends.Ref) userBody {
	u := userBody{DisplayName: ref.DisplayName}
	if ref.ID != (backends.ID{}) {
		u.ID = &ref.ID
	}
	return u
}

func sessionOf(s *auth.Session, token string) sessionBody {
	b := sessionBody{Token: token, TokenType: "Bearer", CreateTime: s.CreateTime.UTC(), ExpireTime: s.ExpireTime.UTC(), Logins: []loginBody{}}
	for _, l := range s.Logins {
		if _, err := s.At(l.Backend); err != nil {
			continue // the backend has ended it
		}
		b.Logins = append(b.Logins, loginBody{Backend: l.Backend, User: userOf(l.User), Roles: l.Roles, CreateTime: l.CreateTime.UTC()})
	}
	return b
}

func (a *API) credentials(r *http.Request) (auth.Credentials, error) {
	var body struct{ Backend, Username, Password string }
	if err := decode(r, &body); err != nil {
		return auth.Credentials{}, err
	}
	return auth.Credentials(body), a.limitLogin(r, body.Backend, body.Username)
}

// createSession serves POST /sessions.
func (a *API) createSession(r *http.Request) (reply, error) {
	c, err := a.credentials(r)
	if err != nil {
		return reply{}, err
	}
	token, session, err := a.sessions.Open(r.Context(), c)
	if err != nil {
		return reply{}, err
	}
	header := http.Header{"Location": {"/sessions/current"}}
	if r.URL.Query().Get("cookie") == "true" {
		cookie := http.Cookie{
			Name: cookieName, Value: token, Path: "/", HttpOnly: true, Secure: true,
			SameSite: http.SameSiteStrictMode,
		}
		header.Set("Set-Cookie", cookie.String())
		token = ""
	}
	return reply{status: http.StatusCreated, body: sessionOf(session, token), header: header}, nil
}

// getSession serves GET /sessions/current.
func (a *API) getSession(r *http.Request) (reply, error) {
	return reply{status: http.StatusOK, body: sessionOf(auth.From(r.Context()), "")}, nil
}

// deleteSession serves DELETE /sessions/current. The token is void even when a backend could not be
// told, so that is logged and not told to the client.
func (a *API) deleteSession(r *http.Request) (reply, error) {
	if err := a.sessions.End(r.Context(), auth.From(r.Context())); err != nil {
		a.logFor(r).Warn("a backend could not be told of a logout", errorField(err))
	}
	gone := http.Cookie{Name: cookieName, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode, MaxAge: -1}
	return reply{status: http.StatusNoContent, header: http.Header{"Set-Cookie": {gone.String()}}}, nil
}

// addLogin serves POST /sessions/current/logins.
func (a *API) addLogin(r *http.Request) (reply, error) {
	c, err := a.credentials(r)
	if err != nil {
		return reply{}, err
	}
	session, err := a.sessions.AddLogin(r.Context(), auth.From(r.Context()), c)
	if err != nil {
		return reply{}, err
	}
	header := http.Header{"Location": {"/sessions/current"}}
	return reply{status: http.StatusCreated, body: sessionOf(session, ""), header: header}, nil
}

// removeLogin serves DELETE /sessions/current/logins/{backend}.
func (a *API) removeLogin(r *http.Request) (reply, error) {
	err := a.sessions.DropLogin(r.Context(), auth.From(r.Context()), chi.URLParam(r, "backend"))
	if err != nil && backends.CodeOf(err) == backends.NotFound {
		return reply{}, err
	}
	if err != nil {
		a.logFor(r).Warn("a backend could not be told of a logout", errorField(err))
	}
	return reply{status: http.StatusNoContent}, nil
}
