package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vmgateway/internal/backends"
	"vmgateway/internal/store"
)

// Options configures [Sessions]. All are required but Now.
type Options struct {
	Store    store.Store
	Backends backends.Registry
	Idle     time.Duration // a session that is not used for so long ends
	Absolute time.Duration // a session ends after so long in any case
	SealKey  []byte        // KeySize bytes
	Now      func() time.Time
}

// Sessions issues, looks up, extends and ends sessions. It is safe for concurrent use.
type Sessions struct {
	store          store.Store
	backends       backends.Registry
	idle, absolute time.Duration
	sealer         sealer
	userKey        []byte
	partsKey       []byte
	now            func() time.Time
	opening        keyedMutex
	openedSessions memo[sessionEntry]
	openedLogins   memo[loginEntry]
}

// Credentials are what a user logs in with at one backend.
type Credentials struct{ Backend, Username, Password string }

// New makes an empty set of sessions over a store.
func New(o Options) (*Sessions, error) {
	sealer, err := newSealer(o.SealKey)
	if err != nil {
		return nil, err
	}
	if o.Idle <= 0 || o.Absolute <= 0 {
		return nil, errors.New("the lifetimes of a session must be positive")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sessions{
		store: o.Store, backends: o.Backends, idle: o.Idle, absolute: o.Absolute,
		sealer: sealer, userKey: derive(o.SealKey, "keys of shared logins"), partsKey: derive(o.SealKey, "keys of other parts"),
		now: o.Now,
	}, nil
}

// sessionEntry is what the store keeps for a token.
type sessionEntry struct {
	Create  time.Time
	LastUse time.Time
	Logins  []heldLogin
}

// heldLogin names a loginEntry. Generation tells a later login of the same user apart.
type heldLogin struct {
	Backend    string
	Key        string
	Generation string
	Create     time.Time
}

// loginEntry is a backend session that one user's tokens share.
type loginEntry struct {
	Generation string
	Backend    string
	UserID     *backends.ID `json:",omitempty"` // XenAPI's local root has none
	UserName   string
	Roles      []string
	Credential string
	Holders    []string // keys of the sessions
}

const (
	sessionPrefix = "session/"
	loginPrefix   = "login/"
)

// Open checks the credentials at the backend and issues a token for a new session.
func (s *Sessions) Open(ctx context.Context, c Credentials) (token string, session *Session, err error) {
	token = base64.RawURLEncoding.EncodeToString(randomBytes(32))
	key := sessionKey(token)
	held, err := s.logIn(ctx, c, key)
	if err != nil {
		return "", nil, err
	}
	now := s.now()
	e := sessionEntry{Create: now, LastUse: now, Logins: []heldLogin{held}}
	if err := s.putSession(ctx, key, func(*sessionEntry) (*sessionEntry, error) { return &e, nil }); err != nil {
		return "", nil, errors.Join(err, s.release(ctx, held, key))
	}
	session, err = s.resolve(ctx, key, e)
	return token, session, err
}

// Get looks a token up and counts as a use. A token that is unknown, malformed or lapsed is
// Unauthenticated, all in the same words.
func (s *Sessions) Get(ctx context.Context, token string) (*Session, error) {
	key := sessionKey(token)
	e, err := load(ctx, s, &s.openedSessions, key)
	if errors.Is(err, store.ErrNoEntry) {
		return nil, &backends.Error{
			Code:   backends.Unauthenticated,
			Detail: "The token is not valid, or its session has ended: log in with POST /sessions.",
		}
	}
	if err != nil {
		return nil, err
	}
	// A write for each request would cost a shared store more than the request itself.
	if now := s.now(); now.Sub(e.LastUse) > s.idle/20 {
		e.LastUse = now
		err := s.putSession(ctx, key, func(old *sessionEntry) (*sessionEntry, error) {
			if old == nil {
				return nil, store.ErrNoEntry
			}
			old.LastUse = now
			return old, nil
		})
		if err != nil && !errors.Is(err, store.ErrNoEntry) {
			return nil, err
		}
	}
	return s.resolve(ctx, key, e)
}

// AddLogin adds a login at another backend to session, or replaces the one it has there.
func (s *Sessions) AddLogin(ctx context.Context, session *Session, c Credentials) (*Session, error) {
	held, err := s.logIn(ctx, c, session.key)
	if err != nil {
		return nil, err
	}
	var replaced *heldLogin
	var e sessionEntry
	err = s.putSession(ctx, session.key, func(old *sessionEntry) (*sessionEntry, error) {
		if old == nil {
			return nil, store.ErrNoEntry
		}
		replaced = nil
		i := slices.IndexFunc(old.Logins, func(l heldLogin) bool { return l.Backend == c.Backend })
		if i < 0 {
			old.Logins = append(old.Logins, held)
		} else {
			if was := old.Logins[i]; was.Key != held.Key {
				replaced = &was
			}
			old.Logins[i] = held
		}
		e = *old
		return old, nil
	})
	if err != nil {
		if errors.Is(err, store.ErrNoEntry) {
			err = &backends.Error{Code: backends.Unauthenticated, Detail: "The session has ended: log in with POST /sessions."}
		}
		return nil, errors.Join(err, s.release(ctx, held, session.key))
	}
	if replaced != nil {
		if err := s.release(ctx, *replaced, session.key); err != nil {
			return nil, err
		}
	}
	return s.resolve(ctx, session.key, e)
}

// DropLogin ends session's login at backend. A session without one there is NotFound.
func (s *Sessions) DropLogin(ctx context.Context, session *Session, backend string) error {
	var dropped *heldLogin
	err := s.putSession(ctx, session.key, func(old *sessionEntry) (*sessionEntry, error) {
		dropped = nil
		if old == nil {
			return nil, store.ErrNoEntry
		}
		i := slices.IndexFunc(old.Logins, func(l heldLogin) bool { return l.Backend == backend })
		if i >= 0 {
			was := old.Logins[i]
			dropped = &was
			old.Logins = slices.Delete(old.Logins, i, i+1)
		}
		return old, nil
	})
	if err != nil && !errors.Is(err, store.ErrNoEntry) {
		return err
	}
	if dropped == nil {
		return &backends.Error{Code: backends.NotFound, Detail: fmt.Sprintf("This session has no login at backend %q.", backend)}
	}
	return s.release(ctx, *dropped, session.key)
}

// End ends a session and each of its logins. An error says which backend could not be told; the
// token is void all the same.
func (s *Sessions) End(ctx context.Context, session *Session) error {
	var logins []heldLogin
	err := s.putSession(ctx, session.key, func(old *sessionEntry) (*sessionEntry, error) {
		logins = nil
		if old != nil {
			logins = old.Logins
		}
		return nil, nil
	})
	if err != nil && !errors.Is(err, store.ErrNoEntry) {
		return err
	}
	return s.releaseAll(ctx, logins, session.key)
}

// BackendEnded forgets a login that the backend itself has ended, for all sessions that share it.
func (s *Sessions) BackendEnded(ctx context.Context, session *Session, backend string) error {
	i := slices.IndexFunc(session.Logins, func(l Login) bool { return l.Backend == backend && !l.ended })
	if i < 0 {
		return nil
	}
	return s.forgetLogin(ctx, s.loginKey(backend, session.Logins[i].User.DisplayName), session.Logins[i].session.Reveal())
}

// forgetLogin takes a shared login away, unless it is a newer one than that with the credential.
func (s *Sessions) forgetLogin(ctx context.Context, key, credential string) error {
	err := s.putLogin(ctx, key, func(old *loginEntry) (*loginEntry, error) {
		if old == nil || old.Credential != credential {
			return old, nil // somebody has logged in anew meanwhile
		}
		return nil, nil
	})
	if errors.Is(err, store.ErrNoEntry) {
		return nil
	}
	return err
}

// Sweep ends the sessions that have lapsed, at their backends too, and tells how many.
func (s *Sessions) Sweep(ctx context.Context) (int, error) { return s.take(ctx, s.now()) }

// Shutdown ends every session at its backends when the store ends with the process; otherwise
// another gateway, or this one after its restart, goes on with them.
func (s *Sessions) Shutdown(ctx context.Context) error {
	if !s.store.Ephemeral() {
		return nil
	}
	_, err := s.take(ctx, time.Time{})
	return err
}

func (s *Sessions) take(ctx context.Context, now time.Time) (int, error) {
	taken, err := s.store.Take(ctx, sessionPrefix, now)
	if err != nil {
		return 0, err
	}
	if now.IsZero() {
		logins, err := s.store.Take(ctx, loginPrefix, now)
		if err != nil {
			return 0, err
		}
		maps.Copy(taken, logins)
	}
	var n int
	var work errgroup.Group
	work.SetLimit(16)
	for key, sealed := range taken {
		switch {
		case strings.HasPrefix(key, sessionPrefix):
			n++
			s.openedSessions.forget(key)
			if e, err := decode[sessionEntry](s, key, sealed); err == nil && !now.IsZero() {
				work.Go(func() error { return s.releaseAll(ctx, e.Logins, key) })
			}
		case strings.HasPrefix(key, loginPrefix): // only at shutdown: these never lapse
			s.openedLogins.forget(key)
			if e, err := decode[loginEntry](s, key, sealed); err == nil {
				work.Go(func() error { return s.logOut(ctx, e.Backend, e.Credential) })
			}
		}
	}
	return n, work.Wait()
}

// logIn checks the password and makes holder one of the holders of the user's shared login.
func (s *Sessions) logIn(ctx context.Context, c Credentials, holder string) (heldLogin, error) {
	b, ok := s.backends.Get(c.Backend)
	if !ok {
		return heldLogin{}, backends.Invalid("/backend", fmt.Sprintf("there is no backend %q: GET /backends lists them", c.Backend))
	}
	key := s.loginKey(c.Backend, c.Username)
	if held, err := s.join(ctx, b, c, key, holder); !errors.Is(err, store.ErrNoEntry) {
		return held, err
	}
	// One at a time: fifty browsers that log in at once must not use up OpenNebula's ten tokens.
	unlock := s.opening.lock(key)
	defer unlock()
	if held, err := s.join(ctx, b, c, key, holder); !errors.Is(err, store.ErrNoEntry) {
		return held, err
	}
	login, err := b.Driver.Login(ctx, c.Username, c.Password)
	if err != nil {
		return heldLogin{}, err
	}
	e := loginEntry{
		Generation: hex.EncodeToString(randomBytes(8)), Backend: c.Backend, UserName: c.Username,
		Roles: login.Roles, Credential: login.Session.Reveal(), Holders: []string{holder},
	}
	if login.User.ID != (backends.ID{}) {
		e.UserID = &login.User.ID
	}
	joined := e
	err = s.putLogin(ctx, key, func(old *loginEntry) (*loginEntry, error) {
		if old != nil { // another gateway was faster: share its session, end ours
			joined = *old
			joined.Holders = addHolder(old.Holders, holder)
		} else {
			joined = e
		}
		return &joined, nil
	})
	if err != nil || joined.Generation != e.Generation {
		logoutErr := s.logOut(ctx, c.Backend, e.Credential)
		if err != nil {
			return heldLogin{}, errors.Join(err, logoutErr)
		}
	}
	return heldLogin{Backend: c.Backend, Key: key, Generation: joined.Generation, Create: s.now()}, nil
}

// join checks the password for a login that exists and adds holder to it. store.ErrNoEntry says that
// there is none, or none any more: what the backend has ended, it forgets.
func (s *Sessions) join(ctx context.Context, b *backends.Backend, c Credentials, key, holder string) (heldLogin, error) {
	e, err := load(ctx, s, &s.openedLogins, key)
	if err != nil {
		return heldLogin{}, err
	}
	if err := b.Driver.Verify(ctx, c.Username, c.Password); err != nil {
		return heldLogin{}, err
	}
	switch err := b.Driver.Alive(ctx, backends.NewSession(e.Credential)); {
	case backends.CodeOf(err) == backends.BackendSessionEnded:
		if err := s.forgetLogin(ctx, key, e.Credential); err != nil {
			return heldLogin{}, err
		}
		return heldLogin{}, store.ErrNoEntry
	case err != nil:
		return heldLogin{}, err
	}
	err = s.putLogin(ctx, key, func(old *loginEntry) (*loginEntry, error) {
		if old == nil || old.Generation != e.Generation {
			return nil, store.ErrNoEntry
		}
		old.Holders = addHolder(old.Holders, holder)
		return old, nil
	})
	if err != nil {
		return heldLogin{}, err
	}
	return heldLogin{Backend: c.Backend, Key: key, Generation: e.Generation, Create: s.now()}, nil
}

func addHolder(holders []string, holder string) []string {
	if slices.Contains(holders, holder) {
		return holders
	}
	return append(slices.Clip(holders), holder)
}

// release takes holder off a shared login, and logs out at the backend with the last.
func (s *Sessions) release(ctx context.Context, held heldLogin, holder string) error {
	var last string
	err := s.putLogin(ctx, held.Key, func(old *loginEntry) (*loginEntry, error) {
		last = ""
		if old == nil || old.Generation != held.Generation {
			return old, nil
		}
		old.Holders = slices.DeleteFunc(old.Holders, func(h string) bool { return h == holder })
		if len(old.Holders) > 0 {
			return old, nil
		}
		last = old.Credential
		return nil, nil
	})
	if errors.Is(err, store.ErrNoEntry) {
		return nil
	}
	if err != nil || last == "" {
		return err
	}
	return s.logOut(ctx, held.Backend, last)
}

func (s *Sessions) releaseAll(ctx context.Context, logins []heldLogin, holder string) error {
	var errs []error
	for _, l := range logins {
		errs = append(errs, s.release(ctx, l, holder))
	}
	return errors.Join(errs...)
}

// logOut goes on when the client has hung up: a session that is left behind costs others theirs.
func (s *Sessions) logOut(ctx context.Context, backend, credential string) error {
	b, ok := s.backends.Get(backend)
	if !ok {
		return nil // no longer configured
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return b.Driver.Logout(ctx, backends.NewSession(credential))
}

// resolve reads the logins that a session holds.
func (s *Sessions) resolve(ctx context.Context, key string, e sessionEntry) (*Session, error) {
	session := &Session{CreateTime: e.Create, ExpireTime: s.expiry(e), key: key}
	for _, held := range e.Logins {
		l := Login{Backend: held.Backend, CreateTime: held.Create, ended: true}
		shared, err := load(ctx, s, &s.openedLogins, held.Key)
		switch {
		case errors.Is(err, store.ErrNoEntry):
		case err != nil:
			return nil, err
		case shared.Generation == held.Generation:
			l.User.DisplayName, l.Roles, l.session, l.ended = shared.UserName, shared.Roles, backends.NewSession(shared.Credential), false
			if shared.UserID != nil {
				l.User.ID = *shared.UserID
			}
		}
		session.Logins = append(session.Logins, l)
	}
	return session, nil
}

func (s *Sessions) expiry(e sessionEntry) time.Time {
	idle, absolute := e.LastUse.Add(s.idle), e.Create.Add(s.absolute)
	if idle.Before(absolute) {
		return idle
	}
	return absolute
}

func (s *Sessions) putSession(ctx context.Context, key string, change func(*sessionEntry) (*sessionEntry, error)) error {
	return update(ctx, s, &s.openedSessions, key, change, func(e *sessionEntry) time.Time { return s.expiry(*e) })
}

func (s *Sessions) putLogin(ctx context.Context, key string, change func(*loginEntry) (*loginEntry, error)) error {
	return update(ctx, s, &s.openedLogins, key, change, func(*loginEntry) time.Time { return time.Time{} })
}

// load reads an entry, which is shared with whoever else reads it: see memo.
func load[E any](ctx context.Context, s *Sessions, m *memo[E], key string) (E, error) {
	sealed, err := s.store.Load(ctx, key)
	if err != nil {
		var none E
		return none, err
	}
	if e, ok := m.get(key, sealed); ok {
		return e, nil
	}
	e, err := decode[E](s, key, sealed)
	if err == nil {
		m.put(key, sealed, e)
	}
	return e, err
}

func decode[E any](s *Sessions, key string, sealed []byte) (E, error) {
	var e E
	text, err := s.sealer.open(sealed, key)
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(text, &e)
}

// update changes an entry; what change is given is its own, and not what load shares.
func update[E any](ctx context.Context, s *Sessions, m *memo[E], key string, change func(*E) (*E, error), expire func(*E) time.Time) error {
	defer m.forget(key)
	return s.store.Update(ctx, key, func(old []byte) ([]byte, time.Time, error) {
		var was *E
		if old != nil {
			e, err := decode[E](s, key, old)
			if err != nil {
				return nil, time.Time{}, err
			}
			was = &e
		}
		is, err := change(was)
		if err != nil || is == nil {
			return nil, time.Time{}, err
		}
		text, err := json.Marshal(is)
		if err != nil {
			return nil, time.Time{}, err
		}
		return s.sealer.seal(text, key), expire(is), nil
	})
}

// sessionKey hashes a token: it has 256 random bits, so no salt is needed.
func sessionKey(token string) string {
	sum := sha256.Sum256([]byte(token))
	return sessionPrefix + hex.EncodeToString(sum[:])
}

// loginKey keeps user names out of the store's keys.
func (s *Sessions) loginKey(backend, user string) string {
	mac := hmac.New(sha256.New, s.userKey)
	mac.Write([]byte(backend + "\x00" + user))
	return loginPrefix + hex.EncodeToString(mac.Sum(nil))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return b
}
