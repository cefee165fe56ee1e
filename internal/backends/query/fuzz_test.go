package query_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"unicode/utf8"

	"vmgateway/internal/backends/query"
)

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`state="RUNNING" AND memory.staticMaxBytes>1073741824 AND displayName:"web"`, `a b OR -c (d e)`, `NOT (a OR b) AND c`,
		`annotations."a\"b\u00e4\*" = '*x*'`, `disks.storage.id:one.1 -host:*`, `state = (RUNNING OR (NOT PAUSED))`, `tags:((a OR -b)c)AND -state=(d)OR(e)`, `createTime > 2024-05-06T07:08:09Z`,
		`uptimeSeconds = 1h30m share < -5e-1`, `native.a.b != true raw.a:1`, `"*" OR * OR "\*"`, `((((a))))`, `-"x"`, `a.AND=b`, `"AND"=c`, `"":""`, `a=-b`,
	} {
		f.Add(s)
	}
	item := full()
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := query.ParseFilter(s)
		if err != nil {
			checkPosition(t, s, err)
			return
		}
		printed := parsed.String()
		if utf8.RuneCountInString(printed) > 4096 {
			return // canonical spelling may be longer than what was written
		}
		again, err := query.ParseFilter(printed)
		if err != nil || again.String() != printed {
			t.Fatalf("%q prints as %q, which is %v, %v", s, printed, again, err)
		}
		first, err1 := parsed.Match(item)
		second, err2 := again.Match(item)
		if first != second || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: %v, %v; %q: %v, %v", s, first, err1, printed, second, err2)
		}
		if err1 != nil {
			checkPosition(t, s, err1)
		}
	})
}

func checkPosition(t *testing.T, s string, err error) {
	t.Helper()
	e, ok := errors.AsType[*query.Error](err)
	if !ok {
		t.Fatalf("%q: %v is no *Error", s, err)
	}
	if e.Pos < 0 || e.Pos > utf8.RuneCountInString(s) || e.Msg == "" || !utf8.ValidString(e.Msg) {
		t.Fatalf("%q: %#v", s, e)
	}
}

func FuzzOrderAndFields(f *testing.F) {
	for _, s := range []string{`memory.staticMaxBytes desc, displayName`, `id,disks.*.id,annotations.*`, "annotations.`a b`", `native.x.y,*`, `"id" asc`} {
		f.Add(s)
	}
	item := full()
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := query.ParseOrder(s, vmType()); err != nil {
			checkPosition(t, s, err)
		} else {
			if again, err := query.ParseOrder(o.String(), vmType()); err != nil || again.String() != o.String() {
				t.Fatalf("%q prints as %q, which is %v, %v", s, o, again, err)
			}
			checkToken(t, query.NewPager(signingKey, o), item)
		}
		m, err := query.ParseFields(s, vmType())
		if err != nil {
			checkPosition(t, s, err)
			return
		}
		if raw, err := m.Apply(item); err != nil || !json.Valid(raw) {
			t.Fatalf("%q: %s, %v", s, raw, err)
		}
	})
}

func checkToken(t *testing.T, p *query.Pager, item *vm) {
	t.Helper()
	token, err := p.Token(item)
	if err != nil {
		t.Fatal(err)
	}
	if pos, err := p.Position(token); err != nil || pos.Before(item) {
		t.Fatalf("%s: %v, %v", token, pos, err)
	}
}

func FuzzToken(f *testing.F) {
	o, err := query.ParseOrder("displayName, memory.staticMaxBytes, createTime, template, native.N", vmType())
	if err != nil {
		f.Fatal(err)
	}
	p := query.NewPager(signingKey, o, "scope")
	good, err := p.Token(full())
	if err != nil {
		f.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		f.Fatal(err)
	}
	const head, signature = 17, 16
	f.Add(raw[head:len(raw)-signature], good)
	f.Add([]byte{}, good[:40])
	f.Add([]byte("\x00\x00\x00\x00\x00\x07\x01a"), "")
	f.Fuzz(func(t *testing.T, values []byte, token string) {
		mac := hmac.New(sha256.New, signingKey)
		text := append(slices.Clone(raw[:head]), values...)
		mac.Write(text)
		signed := base64.RawURLEncoding.EncodeToString(append(text, mac.Sum(nil)[:signature]...))
		for _, token := range []string{token, signed} {
			pos, err := p.Position(token)
			if err != nil {
				checkPosition(t, token, err)
				continue
			}
			pos.Before(full())
			if pos.Start() != (token == "") {
				t.Fatalf("%q is the start", token)
			}
		}
	})
}
