package auth

import (
	"context"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/store"
)

// world is one store that gateways share, over one backend.
type world struct {
	testing.TB
	sim   *onesim.Server
	store *store.Memory
	key   []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	sim, err := onesim.Start(onesim.Config{VMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return &world{TB: t, sim: sim, store: store.NewMemory(time.Now), key: NewKey()}
}

// gateway is one of those that share the store.
func (w *world) gateway() *Sessions {
	w.Helper()
	endpoint, err := url.Parse(w.sim.URL())
	w.check(err)
	one, err := opennebula.New(opennebula.Config{Name: "one", Endpoints: []*url.URL{endpoint}})
	w.check(err)
	s, err := New(Options{
		Store: w.store, Backends: backends.Registry{{Name: "one", DisplayName: "one", Driver: one}},
		Idle: time.Hour, Absolute: time.Hour, SealKey: w.key,
	})
	w.check(err)
	return s
}

func (w *world) credentials() Credentials {
	admin := w.sim.Users()[0]
	return Credentials{"one", admin.Name, admin.Password}
}

func (w *world) open(s *Sessions) (token string, session *Session) {
	w.Helper()
	token, session, err := s.Open(w.Context(), w.credentials())
	w.check(err)
	return token, session
}

// read reads a session twice: what the second time gives, the first has left.
func (w *world) read(s *Sessions, token string) (*Session, error) {
	w.Helper()
	_, first := s.Get(w.Context(), token)
	session, second := s.Get(w.Context(), token)
	if backends.CodeOf(first) != backends.CodeOf(second) || (first == nil) != (second == nil) {
		w.Errorf("read first: %v, and then: %v", first, second)
	}
	return session, second
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// TestWhatAnotherGatewayChangesShowsAtOnce reads a session in one gateway, which so remembers it,
// before and after another one changes what is stored.
func TestWhatAnotherGatewayChangesShowsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(other *Sessions, ctx context.Context, token string, s *Session) error
		session backends.Code // of Get afterwards, and of At
		login   backends.Code
	}{
		{"nothing", func(*Sessions, context.Context, string, *Session) error { return nil }, 0, 0},
		{"session ended", func(other *Sessions, ctx context.Context, _ string, s *Session) error {
			return other.End(ctx, s)
		}, backends.Unauthenticated, 0},
		{"login dropped", func(other *Sessions, ctx context.Context, _ string, s *Session) error {
			return other.DropLogin(ctx, s, "one")
		}, 0, backends.Unauthenticated},
		{"login ended by its backend", func(other *Sessions, ctx context.Context, _ string, s *Session) error {
			return other.BackendEnded(ctx, s, "one")
		}, 0, backends.BackendSessionEnded},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			one, other := w.gateway(), w.gateway()
			token, _ := w.open(one)
			session, err := w.read(one, token)
			w.check(err)
			if _, err := session.At("one"); err != nil {
				t.Fatal("before the change: ", err)
			}
			w.check(c.change(other, t.Context(), token, session))
			session, err = w.read(one, token)
			if backends.CodeOf(err) != c.session || (err == nil) != (c.session == 0) {
				t.Fatalf("Get: %v, want code %s", err, c.session)
			}
			if err != nil {
				return
			}
			if _, err := session.At("one"); backends.CodeOf(err) != c.login || (err == nil) != (c.login == 0) {
				t.Errorf("At: %v, want code %s", err, c.login)
			}
		})
	}
}

// TestALoginAnewIsNotTheOldOne: the credential comes from what is stored now.
func TestALoginAnewIsNotTheOldOne(t *testing.T) {
	w := newWorld(t)
	one, other := w.gateway(), w.gateway()
	token, _ := w.open(one)
	session, err := w.read(one, token)
	w.check(err)
	before, err := session.At("one")
	w.check(err)
	w.check(other.BackendEnded(t.Context(), session, "one"))
	_, err = other.AddLogin(t.Context(), session, w.credentials())
	w.check(err)
	session, err = w.read(one, token)
	w.check(err)
	after, err := session.At("one")
	w.check(err)
	if before == after {
		t.Error("the session that the backend had ended is given after a login anew")
	}
}

// TestAForeignEntryIsRefusedThoughItIsRemembered puts what is known in one place into another.
func TestAForeignEntryIsRefusedThoughItIsRemembered(t *testing.T) {
	w := newWorld(t)
	s := w.gateway()
	mine, _ := w.open(s)
	theirs, _ := w.open(s)
	for _, token := range []string{mine, theirs} {
		_, err := w.read(s, token)
		w.check(err)
	}
	sealed, err := w.store.Load(t.Context(), sessionKey(theirs))
	w.check(err)
	w.put(sessionKey(mine), sealed)
	if session, err := w.read(s, mine); err == nil {
		t.Errorf("another session's entry was taken: %+v", session)
	}
	if _, err := w.read(s, theirs); err != nil {
		t.Errorf("in its own place: %v", err)
	}
}

// TestAnEntryUnderAnotherSealingKeyIsRefused though its place is remembered.
func TestAnEntryUnderAnotherSealingKeyIsRefused(t *testing.T) {
	w := newWorld(t)
	s := w.gateway()
	token, _ := w.open(s)
	_, err := w.read(s, token)
	w.check(err)
	text := []byte(`{"Create":"2026-01-01T00:00:00Z","LastUse":"2126-01-01T00:00:00Z","Logins":[]}`)
	other, err := newSealer(NewKey())
	w.check(err)
	w.put(sessionKey(token), other.seal(text, sessionKey(token)))
	if session, err := w.read(s, token); err == nil {
		t.Errorf("taken: %+v", session)
	}
}

func (w *world) put(key string, sealed []byte) {
	w.Helper()
	w.check(w.store.Update(w.Context(), key, func([]byte) ([]byte, time.Time, error) {
		return sealed, time.Time{}, nil
	}))
}

// TestNothingThatHasEndedIsRemembered by the gateway that ended it.
func TestNothingThatHasEndedIsRemembered(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*Sessions, context.Context, *Session) error
	}{
		{"End", (*Sessions).End},
		{"Shutdown", func(s *Sessions, ctx context.Context, _ *Session) error { return s.Shutdown(ctx) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.gateway()
			token, session := w.open(s)
			_, err := w.read(s, token)
			w.check(err)
			if len(s.openedSessions.opened) != 1 || len(s.openedLogins.opened) != 1 {
				t.Fatal("the session and its login were not remembered")
			}
			w.check(c.end(s, t.Context(), session))
			if n := len(s.openedSessions.opened) + len(s.openedLogins.opened); n != 0 {
				t.Errorf("%d entries are still remembered", n)
			}
		})
	}
}

func TestMemoIsBounded(t *testing.T) {
	var m memo[int]
	for i := range 3 * remembered {
		key := strconv.Itoa(i)
		m.put(key, []byte(key), i)
		if got, ok := m.get(key, []byte(key)); got != i || !ok {
			t.Fatalf("the newest of %d: %d, %t", i+1, got, ok)
		}
		if len(m.opened) > remembered {
			t.Fatalf("%d entries are remembered, the most are %d", len(m.opened), remembered)
		}
	}
	if _, ok := m.get("0", []byte("other bytes")); ok {
		t.Error("other bytes than it remembers were known to it")
	}
}

// TestReadersAndWritersOfOneSession is for the race detector, and that no reader sees a login halfway.
func TestReadersAndWritersOfOneSession(t *testing.T) {
	w := newWorld(t)
	s := w.gateway()
	keeper, _ := w.open(s) // holds the shared login, whatever becomes of the other's
	token, session := w.open(s)
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for range 200 {
				got, err := s.Get(t.Context(), token)
				if err != nil {
					t.Error(err)
					return
				}
				for _, l := range got.Logins {
					if l.ended || l.User.DisplayName == "" {
						t.Errorf("a login that never was: %+v", l.User)
					}
				}
				if kept, err := s.Get(t.Context(), keeper); err != nil || len(kept.Logins) != 1 {
					t.Errorf("the other session: %+v, %v", kept, err)
				}
			}
		})
	}
	done.Go(func() {
		for range 50 {
			if err := s.DropLogin(t.Context(), session, "one"); err != nil {
				t.Error(err)
			}
			if _, err := s.AddLogin(t.Context(), session, w.credentials()); err != nil {
				t.Error(err)
			}
		}
	})
	done.Wait()
}

// BenchmarkGet is what a request pays for its session: remembered, and when it must be opened.
func BenchmarkGet(b *testing.B) {
	w := newWorld(b)
	s := w.gateway()
	token, _ := w.open(s)
	for _, c := range []struct {
		name   string
		before func()
	}{
		{"remembered", func() {}},
		{"opened", func() {
			clear(s.openedSessions.opened)
			clear(s.openedLogins.opened)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.before()
				if _, err := s.Get(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
