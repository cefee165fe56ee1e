package opennebula

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// maxTokenSeconds keeps a lifetime within the 32 bits it is sent in.
const maxTokenSeconds = math.MaxInt32

// Login exchanges the password for a login token, which is the session from then on.
//
// Releases before 4.10 have no tokens: there the session is the password itself. Releases before
// 5.2 have one token a user, which all logins share, so that a logout ends them all.
func (d *Driver) Login(ctx context.Context, user, password string) (backends.Login, error) {
	plain, err := credential(user, password)
	if err != nil {
		return backends.Login{}, err
	}
	r, err := d.askRelease(ctx, plain, true)
	if err != nil {
		return backends.Login{}, err
	}
	login := backends.Login{Session: plain}
	if r.hasFeature(loginTokens) {
		if login.Session, login.Expire, err = d.takeToken(ctx, plain, user, r); err != nil {
			return backends.Login{}, err
		}
	}
	if login.User, login.Groups, err = d.whoAmI(ctx, login.Session); err != nil {
		// The login has failed for the caller, so its token must not stay behind.
		e := backends.AsError(err)
		e.Err = errors.Join(e.Err, d.Logout(context.WithoutCancel(ctx), login.Session))
		return backends.Login{}, e
	}
	return login, nil
}

// Verify checks a password and leaves nothing open.
func (d *Driver) Verify(ctx context.Context, user, password string) error {
	plain, err := credential(user, password)
	if err != nil {
		return err
	}
	_, err = d.askRelease(ctx, plain, true)
	return err
}

// credential joins name and password as oned splits them: at the first colon. A name with a colon
// would log in as somebody else, and no user has one.
func credential(user, password string) (backends.Session, error) {
	if user == "" || strings.Contains(user, ":") {
		return backends.Session{}, &backends.Error{Code: backends.Unauthenticated, Detail: wrongPassword}
	}
	return backends.NewSession(user + ":" + password), nil
}

func (d *Driver) takeToken(ctx context.Context, plain backends.Session, user string, r version) (backends.Session, time.Time, error) {
	seconds := min(int64(d.cfg.TokenLifetime/time.Second), maxTokenSeconds)
	expire := d.cfg.Now().Add(time.Duration(seconds) * time.Second)
	token, err := d.text(ctx, plain, request{
		method: "one.user.login", args: tokenArgs(r, user, "", int(seconds)), changes: true, login: true, asked: askedLogin,
	})
	if err != nil {
		return backends.Session{}, time.Time{}, err
	}
	if token == "" {
		return backends.Session{}, time.Time{}, d.malformed("one.user.login", errors.New("an empty token"))
	}
	return backends.NewSession(user + ":" + token), expire, nil
}

func tokenArgs(r version, user, token string, seconds int) []any {
	args := []any{user, token, seconds}
	if r.hasFeature(scopedTokens) {
		args = append(args, -1) // for all of the user's groups
	}
	return args
}

// Alive reads the user by a session.
func (d *Driver) Alive(ctx context.Context, s backends.Session) error {
	_, _, err := d.whoAmI(ctx, s)
	return err
}

// Logout revokes the session's token. One that has lapsed or was revoked already is no error.
func (d *Driver) Logout(ctx context.Context, s backends.Session) error {
	user, token, _ := strings.Cut(s.Reveal(), ":")
	r, err := d.detect(ctx, s)
	if err == nil && r.hasFeature(loginTokens) {
		_, err = d.text(ctx, s, request{
			method: "one.user.login", args: tokenArgs(r, user, token, 0), changes: true, asked: askedLogout,
		})
	}
	switch backends.CodeOf(err) {
	case backends.BackendSessionEnded, backends.NotFound:
		return nil
	}
	return err
}

// whoAmI reads the caller. The document holds the password's hash and all tokens; only the names
// leave this function.
func (d *Driver) whoAmI(ctx context.Context, s backends.Session) (backends.Ref, []backends.Ref, error) {
	r := request{method: "one.user.info", args: []any{-1}}
	rec, err := d.object(ctx, s, r, "USER")
	if err != nil {
		return backends.Ref{}, nil, err
	}
	user := d.ref(rec.text("ID"), rec.text("NAME"))
	if user == nil {
		return backends.Ref{}, nil, d.garbled(r, errors.New("the user has no id"))
	}
	primary := rec.text("GID")
	var groups []backends.Ref
	if g := d.ref(primary, rec.text("GNAME")); g != nil {
		groups = append(groups, *g)
	}
	for _, id := range rec.get("GROUPS").all("ID") {
		if g := d.ref(id.Text, ""); g != nil && id.Text != primary {
			groups = append(groups, *g)
		}
	}
	return *user, groups, nil
}
