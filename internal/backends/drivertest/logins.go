package drivertest

import (
	"slices"
	"testing"

	"vmgateway/internal/backends"
)

// testSessions logs in, rightly and wrongly, and checks that nothing is left behind.
func testSessions(t *testing.T, b *bench) {
	t.Run("before", func(t *testing.T) {
		d := b.newDriver(t, Options{})
		if r, ok := d.Release(); ok {
			t.Errorf("the release is known before the first login: %+v", r)
		}
		for _, c := range b.Claims.Verbs {
			if !d.Can(c.Verb) {
				t.Errorf("before the first login, Can(%q) = false", c.Verb)
			}
		}
		if err := d.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
	})
	b.leavesNothing(t, "login and logout", func(t *testing.T) {
		l, err := b.driver.Login(t.Context(), b.Admin.User, b.Admin.Password)
		if err != nil {
			t.Fatal(err)
		}
		if l.User.DisplayName != b.Admin.User {
			t.Errorf("logged in as %+v, want %s", l.User, b.Admin.User)
		}
		if l.Session.Reveal() == "" {
			t.Error("the session is empty")
		}
		if _, _, err := b.list(t, backends.Query{View: backends.ViewID}); err != nil {
			t.Errorf("the session does not work: %v", err)
		}
		if err := b.driver.Logout(t.Context(), l.Session); err != nil {
			t.Error(err)
		}
		if err := b.driver.Logout(t.Context(), l.Session); err != nil {
			t.Errorf("ending a session that has ended: %v", err)
		}
		if b.Claims.Sessions == SharedSession {
			b.session = b.login(t, b.Admin)
		}
		if _, _, err := b.list(t, backends.Query{View: backends.ViewID}); err != nil {
			t.Errorf("another session of the same user has ended with it: %v", err)
		}
	})
	b.leavesNothing(t, "verify", func(t *testing.T) {
		if err := b.driver.Verify(t.Context(), b.Admin.User, b.Admin.Password); err != nil {
			t.Error(err)
		}
	})
	if b.Claims.Sessions == SharedSession {
		b.session = b.login(t, b.Admin) // the test before took it along when it ended
	}
	b.leavesNothing(t, "verbs", func(t *testing.T) {
		c, ok := b.ready()
		if !ok {
			return
		}
		id := b.mustPut(t, b.home())
		result, err := b.backend.Do(t.Context(), b.session, c.Verb, id, b.args(c))
		if err != nil {
			t.Fatal(err)
		}
		b.ends(t, c.Verb, id, result, backends.OperationSucceeded)
		if _, err := b.backend.Do(t.Context(), b.session, c.Verb, b.id(b.Claims.Missing), b.args(c)); err == nil {
			t.Error("a verb on a VM that does not exist is accepted")
		}
	})
	for _, wrong := range b.wrongAccounts() {
		b.leavesNothing(t, "wrong/"+subtest(wrong.name), func(t *testing.T) {
			_, err := b.driver.Login(t.Context(), wrong.User, wrong.Password)
			b.denied(t, err)
			b.denied(t, b.driver.Verify(t.Context(), wrong.User, wrong.Password))
		})
	}
	t.Run("ended", func(t *testing.T) { b.ended(t) })
}

type wrongAccount struct {
	name string
	Account
}

func (b *bench) wrongAccounts() []wrongAccount {
	user, password := b.Admin.User, b.Admin.Password
	return []wrongAccount{
		{"password", Account{user, password + "x"}},
		{"password too short", Account{user, password[:len(password)-1]}},
		{"empty password", Account{user, ""}},
		{"user", Account{"nobody", password}},
		{"empty user", Account{"", password}},
		{"colon in the user", Account{user + ":" + password, password}},
		{"colon in the password", Account{user, password + ":" + password}},
		{"markup", Account{user, "</string></value>&lt;]]>"}},
		{"emoji", Account{user, "🔑" + password}},
		{"control character", Account{user, password + "\x01"}},
		{"newline", Account{user, password + "\n"}},
		{"blank", Account{user, " " + password}},
	}
}

// denied checks the refusal of a login: Unauthenticated, or a word about characters that no
// password there can have.
func (b *bench) denied(t *testing.T, err error) {
	t.Helper()
	if code := backends.CodeOf(err); err == nil || code != backends.Unauthenticated && code != backends.InvalidArgument {
		t.Errorf("a wrong login gives %v", err)
	}
}

// leavesNothing runs a test after which there are as many sessions, tokens and tasks as before.
func (b *bench) leavesNothing(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		if b.Leftovers == nil || b.Claims.Sessions == SharedSession {
			b.cannot++
			test(t)
			return
		}
		before := b.Leftovers()
		test(t)
		if after := b.Leftovers(); after != before {
			t.Errorf("%d sessions, tokens and tasks are left behind", after-before)
		}
	})
}

// ended uses sessions that have ended: by a logout, and behind their owner's back.
func (b *bench) ended(t *testing.T) {
	id := b.mustPut(t, b.home())
	before := b.Look(t, id.Native)
	end := []func(backends.Session){func(s backends.Session) {
		if err := b.driver.Logout(t.Context(), s); err != nil {
			t.Error(err)
		}
	}}
	if b.EndSession != nil {
		end = append(end, func(s backends.Session) { b.EndSession(t, s) })
	}
	if b.Claims.Sessions == NoSessions {
		end = nil
	}
	for _, f := range end {
		l, err := b.driver.Login(t.Context(), b.Admin.User, b.Admin.Password)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.driver.Alive(t.Context(), l.Session); err != nil {
			t.Errorf("a session that has not ended: %v", err)
		}
		f(l.Session)
		b.refused(t, b.driver.Alive(t.Context(), l.Session), backends.BackendSessionEnded)
		for _, u := range b.uses() {
			err := u.call(t.Context(), b.driver, l.Session, id)
			if b.refused(t, err, backends.BackendSessionEnded) == nil {
				t.Errorf("of %s with a session that has ended", u.name)
			}
		}
		if err := b.driver.Logout(t.Context(), l.Session); err != nil {
			t.Errorf("ending a session that has ended: %v", err)
		}
	}
	for _, s := range []backends.Session{{}, backends.NewSession("nonsense"), backends.NewSession("no:thing")} {
		err := b.uses()[0].call(t.Context(), b.driver, s, id)
		if code := backends.CodeOf(err); !slices.Contains([]backends.Code{backends.BackendSessionEnded, backends.Unauthenticated}, code) {
			t.Errorf("a session that never was: %v", err)
		}
	}
	b.unchanged(t, id, before)
}
