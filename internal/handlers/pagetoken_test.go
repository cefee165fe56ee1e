package handlers_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends/opennebula/onesim"
)

// TestPageTokensAreSigned holds that a page token goes on in the list of the user it was given to, in
// any session and across a restart, and in no other.
func TestPageTokensAreSigned(t *testing.T) {
	w := newWorld(t, options{vms: 12})
	token := w.login("one")
	path := "/vms?pageSize=3&filter=" + url.QueryEscape(`state!="FAILED"`)
	first := w.do("GET", path, token, nil)
	next := first.str("nextPageToken")
	if first.status != 200 || next == "" {
		t.Fatalf("no page to go on from: %.300s", first.text)
	}
	goOn := func(path, token, page string) response {
		t.Helper()
		return w.do("GET", path+"&pageToken="+url.QueryEscape(page), token, nil)
	}
	second := goOn(path, token, next)
	if second.status != 200 || second.str("vms.0.id") == "" || second.str("vms.0.id") == first.str("vms.0.id") {
		t.Fatalf("the second page: %.300s", second.text)
	}

	other := "B"
	if next[len(next)/2] == 'B' {
		other = "C"
	}
	tampered := next[:len(next)/2] + other + next[len(next)/2+1:]
	users := w.one.Users()
	user := users[slices.IndexFunc(users, func(u onesim.User) bool { return !u.Admin })]
	for name, r := range map[string]response{
		"tampered with":   goOn(path, token, tampered),
		"another filter":  goOn(strings.Replace(path, "FAILED", "STOPPED", 1), token, next),
		"another order":   goOn(path+"&orderBy=displayName", token, next),
		"another user":    goOn(path, w.loginAs("", "one", user.Name, user.Password), next),
		"other backends":  goOn(path, w.login("one", "xen"), next),
		"something of it": goOn(path, token, next[:len(next)-4]),
	} {
		if r.status != 400 || r.str("code") != "INVALID_ARGUMENT" || !strings.Contains(string(r.text), "page token") {
			t.Errorf("%s: %d %.300s", name, r.status, r.text)
		}
	}

	w.serve(options{vms: 12})
	again := goOn(path, w.login("one"), next)
	if again.status != 200 || again.str("vms.0.id") != second.str("vms.0.id") {
		t.Errorf("after a restart, in a new session: %.300s", again.text)
	}
}
