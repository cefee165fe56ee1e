package xenapi

import (
	"context"
	"time"

	"vmgateway/internal/backends"
)

// clientVersion is the API version that we say we speak. xapi has never looked at it.
const clientVersion = "1.0"

// Login opens a session. A wrong password takes about two seconds to be told.
func (d *Driver) Login(ctx context.Context, user, password string) (backends.Login, error) {
	s, err := d.openSession(ctx, user, password)
	if err != nil {
		return backends.Login{}, err
	}
	l := d.link(s)
	login, err := l.whoAmI(ctx, user)
	if err == nil {
		err = l.detect(ctx)
	}
	if err != nil {
		return backends.Login{}, and(err, d.abandon(ctx, s))
	}
	login.Session = s
	return login, nil
}

// Verify checks the password with a session of its own, and ends that.
func (d *Driver) Verify(ctx context.Context, user, password string) error {
	s, err := d.openSession(ctx, user, password)
	if err != nil {
		return err
	}
	return d.abandon(ctx, s)
}

// Alive reads a session by itself.
func (d *Driver) Alive(ctx context.Context, s backends.Session) error {
	l := d.link(s)
	_, err := l.call(ctx, "session.get_record", l.session)
	return err
}

// Logout ends a session.
func (d *Driver) Logout(ctx context.Context, s backends.Session) error {
	_, err := d.link(s).call(ctx, "session.logout")
	if refusedBy(err, "SESSION_INVALID") {
		return nil
	}
	return err
}

// openSession logs in. Releases before originators were known refuse the fourth argument, and the
// first ones the third.
func (d *Driver) openSession(ctx context.Context, user, password string) (backends.Session, error) {
	const method = "session.login_with_password"
	args := []any{user, password, clientVersion, d.cfg.Originator}
	for {
		v, err := d.send(ctx, method, args...)
		if refusedBy(err, "MESSAGE_PARAMETER_COUNT_MISMATCH") && len(args) > 2 {
			args = args[:len(args)-1]
			continue
		}
		if err != nil {
			return backends.Session{}, err
		}
		ref, err := str(v)
		if err != nil || ref == "" {
			return backends.Session{}, d.undecodable(method, err)
		}
		return backends.NewSession(ref), nil
	}
}

// abandonTime is how long a session that nobody wants may take to be ended.
const abandonTime = 10 * time.Second

// abandon ends a session that was opened for nothing, even when the caller has gone: xapi keeps it
// for a day otherwise.
func (d *Driver) abandon(ctx context.Context, s backends.Session) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	return d.Logout(ctx, s)
}

type sessionRecord struct {
	superuser *bool
	subject   string
	name      string
}

var sessionFields = fields[sessionRecord]{
	"is_local_superuser": boolean(func(r *sessionRecord) **bool { return &r.superuser }),
	"subject":            text(func(r *sessionRecord) *string { return &r.subject }),
	"auth_user_name":     text(func(r *sessionRecord) *string { return &r.name }),
}

// whoAmI reads who the session belongs to. The local root has neither a subject nor a role, and may
// do everything.
func (l *link) whoAmI(ctx context.Context, user string) (backends.Login, error) {
	const method = "session.get_record"
	v, err := l.call(ctx, method, l.session)
	if err != nil {
		return backends.Login{}, err
	}
	r, err := record(sessionFields, v)
	if err != nil {
		return backends.Login{}, l.d.undecodable(method, err)
	}
	login := backends.Login{User: backends.Ref{DisplayName: user}}
	if r.name != "" {
		login.User.DisplayName = r.name
	}
	if r.superuser != nil && *r.superuser {
		login.Roles = []string{"pool-admin"}
		return login, nil
	}
	id, err := l.names(false).id(ctx, "subject", r.subject)
	if id == nil || err != nil {
		return login, err
	}
	login.User.ID = *id
	login.Roles, err = l.roles(ctx, r.subject)
	return login, err
}

// roles are the names of a subject's roles, as far as the user may see them.
func (l *link) roles(ctx context.Context, subject string) ([]string, error) {
	const method = "subject.get_roles"
	v, err := l.call(ctx, method, subject)
	if err != nil {
		return nil, passOver(err)
	}
	refs, err := stringsOf(v)
	if err != nil {
		return nil, l.d.undecodable(method, err)
	}
	var roles []string
	for _, ref := range refs {
		name, err := l.callText(ctx, "role.get_name_label", ref)
		if err = passOver(err); err != nil {
			return nil, err
		}
		if name != "" {
			roles = append(roles, name)
		}
	}
	return roles, nil
}
