package query_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"vmgateway/internal/backends/query"
)

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`state="RUNNING" AND memory.staticMaxBytes>1073741824 AND displayName:"web"`, `a b OR -c (d e)`, `NOT (a OR b) AND c`,
		`annotations."a\"b\u00e4\*" = '*x*'`, `disks.storage.id:one.1 -host:*`, `state = (RUNNING OR (NOT PAUSED))`, `createTime > 2024-05-06T07:08:09Z`,
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
			checkToken(t, query.NewPager(o), item)
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
	p := query.NewPager(o, "scope")
	good, err := p.Token(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		pos, err := p.Position(token)
		if err != nil {
			checkPosition(t, token, err)
			return
		}
		pos.Before(full())
		if pos.Start() != (token == "") {
			t.Fatalf("%q is the start", token)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	items := make([]*vm, 100_000)
	for i := range items {
		v := full()
		v.ID.native, v.DisplayName = fmt.Sprint(i), new(fmt.Sprintf("web-%05d", i))
		v.State = []vmState{"RUNNING", "PAUSED", "STOPPED"}[i%3]
		items[i] = v
	}
	for name, filter := range map[string]string{
		"state": `state = "RUNNING"`, "design": `state="RUNNING" AND memory.staticMaxBytes>1073741824 AND displayName:"web"`,
		"list": `disks.storage.displayName = "x"`, "map": `annotations.team = "web"`, "id": `id = "one.5"`, "any": `native.N > 4`, "search": `prod`,
	} {
		b.Run(name, func(b *testing.B) {
			f, err := query.Compile(filter, vmType())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, v := range items {
					if _, err := f.Match(v); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(items)), "ns/item")
		})
	}
}
