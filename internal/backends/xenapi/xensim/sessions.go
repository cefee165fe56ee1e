package xensim

import (
	"crypto/rand"
	"fmt"
	"time"
)

// User is somebody who may log in.
type User struct {
	Name     string
	Password string
	Role     string // pool-admin, pool-operator, vm-power-admin, vm-admin, vm-operator or read-only
	Root     bool   // the local superuser, whom no role limits
}

const (
	maxSessions     = 500 // of one originator, or of one user without an originator
	sessionLifetime = 24 * time.Hour
)

// withoutSession are the messages whose first argument is no session.
var withoutSession = map[string]bool{
	"session.login_with_password":             true,
	"session.slave_local_login_with_password": true,
}

// localMessages are those that a pool member answers itself; to a local session it answers reads too.
var localMessages = map[string]bool{"session.local_logout": true}

// secretRef makes a reference that cannot be guessed: whoever knows it is logged in.
func secretRef() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return fmt.Sprintf("OpaqueRef:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *Server) login(m *message, params []any, onSlave bool) (any, *Failure) {
	if len(params) < 2 {
		return nil, fail("MESSAGE_PARAMETER_COUNT_MISMATCH", m.full(), "2", fmt.Sprint(len(params)))
	}
	var text [4]string
	for i, p := range params[:min(len(params), 4)] {
		v, ok := p.(string)
		if !ok {
			return nil, failWith("Expected string, got '%s'", show(p))
		}
		text[i] = v
	}
	local := m.name == "slave_local_login_with_password"
	if onSlave && !local {
		return nil, fail("HOST_IS_SLAVE", s.coordinatorAddress)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.takeFailure(m.full()); f != nil {
		return nil, f
	}
	user, f := s.authenticate(text[0], text[1])
	if f == nil && local && !user.Root {
		f = fail("SESSION_AUTHENTICATION_FAILED", text[0], "Authentication failure")
	}
	if f != nil {
		c := &call{s: s}
		if stopped := c.pass(s.durations.BadLogin); stopped != nil {
			return nil, stopped
		}
		return nil, f
	}
	originator := text[3]
	s.evictSessions(user.Name, originator)
	now := s.clock.Now()
	o := s.db.add("session", secretRef(), s.newUUID(), record{
		{"this_host", s.coordinator}, {"this_user", nullRef}, {"last_active", now}, {"validation_time", now}, {"pool", false},
		{"is_local_superuser", user.Root}, {"subject", nullRef}, {"auth_user_sid", ""}, {"auth_user_name", user.Name},
		{"originator", originator}, {"parent", nullRef}, {"client_certificate", false},
	})
	s.roleOf[o.ref] = user.Role
	s.db.set(o, "rbac_permissions", s.permissions(o))
	s.used[o.ref] = s.nextUse()
	if local {
		s.localSession[o.ref] = true
	}
	return o.ref, nil
}

func (s *Server) authenticate(name, password string) (User, *Failure) {
	for _, u := range s.users {
		if u.Name != name {
			continue
		}
		if u.Password == password {
			return u, nil
		}
		return User{}, fail("SESSION_AUTHENTICATION_FAILED", name, "Authentication failure")
	}
	return User{}, fail("SESSION_AUTHENTICATION_FAILED", name, "User not known to the underlying authentication module")
}

// nextUse counts uses of sessions: finer than any clock.
func (s *Server) nextUse() int64 {
	s.uses++
	return s.uses
}

// evictSessions makes room for one more session of the originator, or of the user when there is no
// originator: the least recently used go.
func (s *Server) evictSessions(user, originator string) {
	var same []*object
	for _, o := range s.db.tables["session"].byRef {
		if o.str("originator") == originator && (originator != "" || o.str("auth_user_name") == user) {
			same = append(same, o)
		}
	}
	for ; len(same) >= maxSessions; same = same[1:] {
		for i, o := range same {
			if s.used[o.ref] < s.used[same[0].ref] {
				same[0], same[i] = same[i], same[0]
			}
		}
		s.endSession(same[0])
	}
}

func (s *Server) endSession(o *object) {
	s.db.remove(o)
	delete(s.roleOf, o.ref)
	delete(s.used, o.ref)
	delete(s.localSession, o.ref)
	delete(s.registrations, o.ref)
}

func (s *Server) checkSession(ref string) (*object, *Failure) {
	o := s.db.find("session", ref)
	if o == nil {
		return nil, fail("SESSION_INVALID", ref)
	}
	now := s.clock.Now()
	if now.Sub(o.date("last_active")) > sessionLifetime {
		s.endSession(o)
		return nil, fail("SESSION_INVALID", ref)
	}
	s.used[ref] = s.nextUse()
	if now.Sub(o.date("last_active")) >= time.Second {
		s.db.set(o, "last_active", now)
	}
	return o, nil
}

func logout(c *call) (any, *Failure) {
	c.s.endSession(c.session)
	return nil, nil
}

// localLogout ends local sessions; on any other it succeeds and does nothing.
func localLogout(c *call) (any, *Failure) {
	if c.s.localSession[c.session.ref] {
		c.s.endSession(c.session)
	}
	return nil, nil
}

func subjectIdentifiers(*call) (any, *Failure) { return []string{}, nil }

func changePassword(c *call) (any, *Failure) {
	s := c.s
	if !c.session.flag("is_local_superuser") {
		return nil, fail("USER_IS_NOT_LOCAL_SUPERUSER", "The current user is not local superuser")
	}
	for i, u := range s.users {
		if u.Root && u.Password == c.str(0) {
			s.users[i].Password = c.str(1)
			return nil, nil
		}
	}
	return nil, fail("CHANGE_PASSWORD_REJECTED", "Authentication failure")
}
