package handlers_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSession(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	if r := w.do("GET", "/backends", "", nil); len(r.list("backends")) != 2 || r.get("backends.0.capabilities") != nil {
		t.Errorf("without a token: %s", r.text)
	}
	token := w.login("one")
	if r := w.do("GET", "/sessions/current", token, nil); r.get("token") != nil || len(r.list("logins")) != 1 || r.str("logins.0.user.displayName") != "oneadmin" {
		t.Errorf("current session: %s", r.text)
	}
	if r := w.do("GET", "/backends", token, nil); r.get("backends.0.loggedIn") != true || r.str("backends.0.release.version") == "" || r.get("backends.1.loggedIn") != false {
		t.Errorf("with a token: %s", r.text)
	}
	user, password := w.admin("xen")
	w.loginAs(token, "xen", user, password)
	if r := w.do("GET", "/vms", token, nil); len(r.list("vms")) < 4 || len(r.list("unreachable")) != 0 {
		t.Errorf("the fleet: %s", r.text)
	}
	if r := w.do("DELETE", "/sessions/current/logins/one", token, nil); r.status != http.StatusNoContent {
		t.Errorf("drop: %d", r.status)
	}
	w.want(w.do("DELETE", "/sessions/current/logins/one", token, nil), 404, "NOT_FOUND")
	w.want(w.do("GET", "/vms/one.0", token, nil), 401, "UNAUTHENTICATED")
	if r := w.do("DELETE", "/sessions/current", token, nil); r.status != http.StatusNoContent {
		t.Errorf("logout: %d", r.status)
	}
	w.want(w.do("GET", "/sessions/current", token, nil), 401, "UNAUTHENTICATED")
	w.checkNothingOpen()
}

// TestSharedLogin: fifty browsers of one user cost each backend one session; the password is
// checked for every one of them.
func TestSharedLogin(t *testing.T) {
	w := newWorld(t, options{vms: 1})
	for _, backend := range []string{"one", "xen"} {
		var tokens [20]string
		var wg sync.WaitGroup
		for i := range tokens {
			wg.Go(func() { tokens[i] = w.login(backend) })
		}
		wg.Wait()
		if n := w.open(backend); n != 1 {
			t.Errorf("%s: %d sessions are open, want 1", backend, n)
		}
		user, _ := w.admin(backend)
		r := w.do("POST", "/sessions", "", map[string]string{"backend": backend, "username": user, "password": w.secret("wrong-secret-word")})
		w.want(r, 401, "UNAUTHENTICATED")
		if r.get("retryable") != false {
			t.Error("a wrong password is said to be worth another try")
		}
		for i, token := range tokens {
			if n := w.open(backend); n != 1 {
				t.Errorf("%s: %d sessions after %d of 20 logouts, want 1", backend, n, i)
			}
			if r := w.do("DELETE", "/sessions/current", token, nil); r.status != 204 {
				t.Errorf("logout: %d", r.status)
			}
		}
		if n := w.open(backend); n != 0 {
			t.Errorf("%s: %d sessions after the last logout, want 0", backend, n)
		}
	}
}

func TestSessionsEndAtTheBackend(t *testing.T) {
	t.Run("when they lapse", func(t *testing.T) {
		w := newWorld(t, options{vms: 1})
		w.login("one", "xen")
		w.clock.Advance(2 * time.Hour)
		if n, err := w.sessions.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		w.checkNothingOpen()
	})
	t.Run("at shutdown", func(t *testing.T) {
		w := newWorld(t, options{vms: 1})
		w.login("one", "xen")
		w.login("one")
		if err := w.sessions.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		w.checkNothingOpen()
	})
	t.Run("not before their absolute end while in use", func(t *testing.T) {
		w := newWorld(t, options{vms: 1})
		token := w.login("one")
		for range 30 {
			w.clock.Advance(50 * time.Minute)
			if n, err := w.sessions.Sweep(t.Context()); err != nil {
				t.Fatal(n, err)
			}
			r := w.do("GET", "/sessions/current", token, nil)
			if used := w.clock.Now().Sub(start); used < 24*time.Hour && r.status != 200 {
				t.Fatalf("ended after %v of use", used)
			} else if used >= 24*time.Hour {
				w.want(r, 401, "UNAUTHENTICATED")
			}
		}
	})
}

// TestBackendEndsSession: the login is over, the session is not.
func TestBackendEndsSession(t *testing.T) {
	w := newWorld(t, options{vms: 1})
	token := w.login("one", "xen")
	w.xen.Restart()
	id := "xen." + someUUID
	w.want(w.do("GET", "/vms/"+id, token, nil), 401, "BACKEND_SESSION_ENDED")
	if r := w.do("GET", "/vms", token, nil); r.status != 200 || r.str("unreachable.0.backend") != "xen" || r.str("unreachable.0.problem.code") != "BACKEND_SESSION_ENDED" || len(r.list("vms")) == 0 {
		t.Errorf("the other backend: %s", r.text)
	}
	user, password := w.admin("xen")
	w.loginAs(token, "xen", user, password)
	w.want(w.do("GET", "/vms/"+id, token, nil), 404, "NOT_FOUND")
}

// TestALoginNeverJoinsADeadOne: the backend has ended the shared login, and nobody has noticed yet.
func TestALoginNeverJoinsADeadOne(t *testing.T) {
	for name, end := range map[string]func(*world){
		"one": func(w *world) { w.one.Advance(100 * 24 * time.Hour) },
		"xen": func(w *world) { w.xen.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{vms: 1})
			w.login(name)
			end(w)
			if r := w.do("GET", "/vms", w.login(name), nil); r.status != 200 || len(r.list("vms")) == 0 || len(r.list("unreachable")) > 0 {
				t.Errorf("%d %s", r.status, r.text)
			}
		})
	}
}

func TestCookieSession(t *testing.T) {
	w := newWorld(t, options{vms: 2})
	user, password := w.admin("one")
	r := w.do("POST", "/sessions?cookie=true", "", map[string]string{"backend": "one", "username": user, "password": w.secret(password)})
	cookie, err := http.ParseSetCookie(r.header.Get("Set-Cookie"))
	if err != nil || r.get("token") != nil {
		t.Fatalf("login: %v %s", err, r.text)
	}
	if cookie.Name != "__Host-session" || !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("the cookie is %s", strings.Replace(cookie.String(), cookie.Value, "…", 1))
	}
	w.secret(cookie.Value)
	header := "__Host-session=" + cookie.Value
	if r := w.do("GET", "/vms", "", nil, "Cookie", header, "Origin", "https://evil.example"); r.status != 200 {
		t.Errorf("a read: %d", r.status) // the browser itself keeps the answer from the page
	}
	w.want(w.do("POST", "/vms/one.0:hold", "", nil, "Cookie", header, "Origin", "https://evil.example"), 403, "PERMISSION_DENIED")
	w.want(w.do("POST", "/vms/one.0:hold", "", nil, "Cookie", header, "Sec-Fetch-Site", "cross-site"), 403, "PERMISSION_DENIED")
	if r := w.do("DELETE", "/sessions/current", "", nil, "Cookie", header, "Sec-Fetch-Site", "same-origin"); r.status != 204 {
		t.Errorf("same origin: %d %s", r.status, r.text)
	}
}

func TestLoginLimit(t *testing.T) {
	w := newWorld(t, options{loginsPerMin: 3})
	body := map[string]string{"backend": "one", "username": "oneadmin", "password": w.secret("wrong-secret-word")}
	for range 3 {
		w.want(w.do("POST", "/sessions", "", body), 401, "UNAUTHENTICATED")
	}
	r := w.do("POST", "/sessions", "", body)
	w.want(r, 429, "RATE_LIMITED")
	if r.header.Get("Retry-After") == "" || r.get("retryable") != true {
		t.Errorf("no word on when to try again: %v", r.header)
	}
}

func TestBadLogins(t *testing.T) {
	w := newWorld(t, options{})
	tests := []struct {
		name   string
		body   any
		status int
		code   string
	}{
		{"unknown backend", map[string]string{"backend": "nowhere", "username": "a", "password": "b"}, 400, "INVALID_ARGUMENT"},
		{"unknown user", map[string]string{"backend": "one", "username": "nobody", "password": "b"}, 401, "UNAUTHENTICATED"},
		{"unknown user", map[string]string{"backend": "xen", "username": "nobody", "password": "b"}, 401, "UNAUTHENTICATED"},
		{"empty password", map[string]string{"backend": "one", "username": "oneadmin", "password": ""}, 401, "UNAUTHENTICATED"},
		{"empty name", map[string]string{"backend": "one", "username": "", "password": "b"}, 400, "INVALID_ARGUMENT"},
		{"no password", map[string]string{"backend": "one", "username": "a"}, 400, "INVALID_ARGUMENT"},
		{"surplus", map[string]string{"backend": "one", "username": "a", "password": "b", "role": "admin"}, 400, "INVALID_ARGUMENT"},
		{"no text", map[string]any{"backend": "one", "username": "a", "password": []string{"b"}}, 400, "INVALID_ARGUMENT"},
		{"control characters", map[string]string{"backend": "xen", "username": "ro\u0000ot", "password": "b"}, 400, "INVALID_ARGUMENT"},
		{"control characters", map[string]string{"backend": "one", "username": "one\u0001", "password": "b"}, 400, "INVALID_ARGUMENT"},
		{"a colon", map[string]string{"backend": "one", "username": "one:admin", "password": "b"}, 401, "UNAUTHENTICATED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { w.want(w.do("POST", "/sessions", "", tt.body), tt.status, tt.code) })
	}
	w.checkNothingOpen()
}
