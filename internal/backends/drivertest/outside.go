package drivertest

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"vmgateway/internal/backends"
)

// ParseURL is a URL that has to be one.
func ParseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Known is where a backend answers, and who may log in there, from a URL with both.
func Known(t testing.TB, text string) (endpoint *url.URL, admin Account) {
	t.Helper()
	endpoint = ParseURL(t, text)
	admin.User = endpoint.User.Username()
	admin.Password, _ = endpoint.User.Password()
	endpoint.User = nil
	return endpoint, admin
}

// Explore looks at a backend through its driver, in a session that lasts as long.
func Explore(t testing.TB, d backends.Driver, a Account, look func(backends.Login)) {
	t.Helper()
	l, err := d.Login(t.Context(), a.User, a.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Logout(t.Context(), l.Session); err != nil {
			t.Error(err)
		}
	}()
	look(l)
}

// All reads a whole collection.
func All[T any](t testing.TB, d backends.Driver, s backends.Session, r backends.Resource) []T {
	t.Helper()
	v, err := d.Read(t.Context(), s, r, backends.ID{})
	list, ok := v.([]T)
	if err != nil || !ok {
		t.Fatalf("Read(%s) gives a %T: %v", r, v, err)
	}
	return list
}

// Call speaks to a backend without the driver, in numbers and texts, and gives the whole reply.
func Call(t testing.TB, endpoint, method string, args ...any) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\"?><methodCall><methodName>" + method + "</methodName><params>")
	for _, arg := range args {
		switch arg := arg.(type) {
		case int:
			fmt.Fprintf(&b, "<param><value><int>%d</int></value></param>", arg)
		case string:
			b.WriteString("<param><value><string>" + Escape(arg) + "</string></value></param>")
		default:
			t.Fatalf("%s: an argument is a %T", method, arg)
		}
	}
	b.WriteString("</params></methodCall>")
	q, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, endpoint, &b)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "text/xml")
	reply, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Escape writes a text as XML.
func Escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes all
	return b.String()
}
