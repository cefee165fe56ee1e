package opennebula

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/opennebula/onesim"
)

func TestLoginGivesATokenAndLogoutTakesIt(t *testing.T) {
	for _, release := range []string{"4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		b := newBench(t, release)
		session, login := b.as("alice")
		if login.User.ID.Native != "2" || login.User.DisplayName != "alice" || len(login.Groups) != 1 || login.Groups[0].DisplayName != "users" {
			t.Errorf("%s: logged in as %+v of %+v", release, login.User, login.Groups)
		}
		if strings.Contains(session.Reveal(), b.password("alice")) || !strings.HasPrefix(session.Reveal(), "alice:") {
			t.Errorf("%s: the session is not a token", release)
		}
		if want := start0.Add(24 * time.Hour); !login.Expire.Equal(want) {
			t.Errorf("%s: expires %s, want %s", release, login.Expire, want)
		}
		if n := b.sim.OpenTokens("alice"); n != 1 {
			t.Errorf("%s: %d tokens, want 1", release, n)
		}
		if r, ok := b.driver.Release(); !ok || r.Version != release || r.Product != "OpenNebula" {
			t.Errorf("%s: the release is %+v", release, r)
		}
		for range 2 { // the second time it is gone already
			if err := b.driver.Logout(t.Context(), session); err != nil {
				t.Errorf("%s: logout: %v", release, err)
			}
		}
		if n := b.sim.OpenTokens("alice"); n != 0 {
			t.Errorf("%s: %d tokens after the logout", release, n)
		}
		if _, err := b.driver.VM(t.Context(), session, b.running(), backends.ViewFull); backends.CodeOf(err) != backends.BackendSessionEnded {
			t.Errorf("%s: a call with a dead token: %v", release, err)
		}
	}
}

func TestBeforeTokensThePasswordIsTheSession(t *testing.T) {
	b := newBench(t, "3.8.5")
	session, login := b.as("alice")
	if session.Reveal() != "alice:"+b.password("alice") || !login.Expire.IsZero() {
		t.Errorf("the session is not the password, or expires %s", login.Expire)
	}
	if err := b.driver.Logout(t.Context(), session); err != nil {
		t.Error(err)
	}
}

func TestWrongPasswords(t *testing.T) {
	b := newBench(t, "6.10.0")
	for _, row := range []struct{ user, password string }{
		{"alice", "wrong"}, {"nobody", "x"}, {"", "x"}, {"alice:x", "y"}, {"alice", ""}, {"alice\x00", "x"},
	} {
		before := b.sim.Calls("")
		_, err := b.driver.Login(t.Context(), row.user, row.password)
		verify := b.driver.Verify(t.Context(), row.user, row.password)
		want := backends.Unauthenticated
		if strings.Contains(row.user, "\x00") {
			want = backends.InvalidArgument
		}
		if backends.CodeOf(err) != want || backends.CodeOf(verify) != want || err == nil || verify == nil {
			t.Errorf("%q: login %v, verify %v, want %s", row.user, err, verify, want)
		}
		if made := b.sim.Calls("") - before; strings.ContainsAny(row.user, ":\x00") && made > 0 {
			t.Errorf("%q was sent", row.user)
		}
	}
	if err := b.driver.Verify(t.Context(), "alice", b.password("alice")); err != nil {
		t.Error(err)
	}
	if n := b.sim.OpenTokens("alice"); n != 0 {
		t.Errorf("verifying left %d tokens", n)
	}
}

func TestTenTokensAreTheMost(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 10 {
		b.as("alice")
	}
	_, err := b.driver.Login(t.Context(), "alice", b.password("alice"))
	if backends.CodeOf(err) != backends.Conflict {
		t.Errorf("the eleventh: %v", err)
	}
}

// TestAFailedLoginLeavesNoToken lets one.user.info fail, after the token was given.
func TestAFailedLoginLeavesNoToken(t *testing.T) {
	b := newBench(t, "6.10.0")
	b.sim.Inject(onesim.Fault{Method: "one.user.info", Garbage: []byte("<html>"), Times: 1})
	_, err := b.driver.Login(t.Context(), "alice", b.password("alice"))
	if _, ok := errors.AsType[*backends.Error](err); !ok {
		t.Fatalf("got %v", err)
	}
	if n := b.sim.OpenTokens("alice"); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
}

func TestPing(t *testing.T) {
	b := newBench(t, "6.10.0")
	if err := b.driver.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	b.sim.Inject(onesim.Fault{Method: "one.system.version", HTML: true})
	if err := b.driver.Ping(t.Context()); backends.CodeOf(err) != backends.BackendFault {
		t.Errorf("something else answers: %v", err)
	}
	b.sim.Close()
	if err := b.driver.Ping(t.Context()); backends.CodeOf(err) != backends.BackendUnavailable {
		t.Errorf("nobody answers: %v", err)
	}
}

// TestTheNextEndpointIsTried has nobody at the first.
func TestTheNextEndpointIsTried(t *testing.T) {
	b := newBench(t, "6.10.0")
	const dead = "http://127.0.0.1:1/RPC2" // a port that no test is given by chance
	d, err := New(Config{Name: "one", Endpoints: []*url.URL{drivertest.ParseURL(t, dead), drivertest.ParseURL(t, b.sim.URL())}, Now: b.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	var calls []backends.Call
	ctx := backends.WithObserver(t.Context(), func(c backends.Call) { calls = append(calls, c) })
	for range 2 {
		if _, err := d.VM(ctx, b.session, b.running(), backends.ViewBasic); err != nil {
			t.Fatal(err)
		}
	}
	var failed int
	for _, c := range calls {
		if c.Err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d calls to the dead endpoint, want 1: %+v", failed, calls)
	}
}

// TestAChangeIsNeverSentTwice cuts the connection after the call has happened: another endpoint is
// not tried, and the outcome is said to be unknown.
func TestAChangeIsNeverSentTwice(t *testing.T) {
	b := newBench(t, "6.10.0")
	u := drivertest.ParseURL(t, b.sim.URL())
	d, err := New(Config{Name: "one", Endpoints: []*url.URL{u, u}, Now: b.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	id := b.running()
	b.sim.Inject(onesim.Fault{Method: "one.vm.action", CutNow: true})
	before := b.sim.Calls("one.vm.action")
	_, err = d.Do(t.Context(), b.session, "suspend", id, backends.Args{})
	e := backends.AsError(err)
	if e.Code != backends.BackendUnavailable || !e.MaybeDone {
		t.Errorf("got %v, maybe done %t", err, e.MaybeDone)
	}
	if n := b.sim.Calls("one.vm.action") - before; n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestConfigMistakes(t *testing.T) {
	u := drivertest.ParseURL(t, "http://127.0.0.1:2633/RPC2")
	for name, cfg := range map[string]Config{
		"no name":       {Endpoints: []*url.URL{u}},
		"a bad name":    {Name: "One", Endpoints: []*url.URL{u}},
		"no endpoint":   {Name: "one"},
		"a nil one":     {Name: "one", Endpoints: []*url.URL{nil}},
		"negative time": {Name: "one", Endpoints: []*url.URL{u}, Timeout: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestSecretsStayIn looks for the password and the token in all that a failing backend brings up.
func TestSecretsStayIn(t *testing.T) {
	b := newBench(t, "6.10.0")
	session, _ := b.as("alice")
	_, token, _ := strings.Cut(session.Reveal(), ":")
	secrets := []string{b.password("alice"), token}
	id := b.running()
	for _, f := range []onesim.Fault{
		{Code: codeInternal, Text: "what you sent was " + session.Reveal()},
		{Fault: faultParse, Text: "problem with token at " + session.Reveal()},
		{Garbage: []byte(session.Reveal())},
		{Status: 500},
	} {
		b.sim.Inject(f)
		_, err := b.driver.Do(t.Context(), session, "hold", id, backends.Args{})
		e := backends.AsError(err)
		text := e.Error() + e.Detail
		if e.Fault != nil {
			text += e.Fault.Message + strings.Join(e.Fault.Params, " ")
		}
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
			t.Errorf("a secret is in %q", text)
		}
	}
}

func TestObservedCallsHoldNoArguments(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.running()
	methods := b.calls(func(ctx context.Context) { _, _ = b.driver.VM(ctx, b.session, id, backends.ViewFull) })
	if !slices.Equal(methods, []string{"one.vm.info"}) {
		t.Errorf("observed %v", methods)
	}
}
