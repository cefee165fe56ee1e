package query_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

func TestOrder(t *testing.T) {
	at := func(s int64) *time.Time { return new(time.Unix(s, 0)) }
	items := []*vm{
		{ID: vmID{"one", "1"}, DisplayName: new("b"), Memory: memory{new(int64(10))}, Template: new(true), CreateTime: at(3), Native: map[string]any{"x": 2}},
		{ID: vmID{"one", "2"}, DisplayName: new("B"), Memory: memory{new(int64(9))}, Template: new(false), CreateTime: at(1), Native: map[string]any{"x": "a"}},
		{ID: vmID{"one", "3"}, Annotations: map[string]string{"k": "v"}},
		{ID: vmID{"one", "4"}, DisplayName: new("ä"), Memory: memory{new(int64(math.MaxInt64))}, CreateTime: at(2), Native: map[string]any{"x": true}},
		{ID: vmID{"one", "5"}, DisplayName: new("b"), Memory: memory{new(int64(-1))}, Share: new(math.NaN())},
	}
	tests := []struct{ order, want, spelled string }{
		{"", "1 2 3 4 5", ""}, {"  ", "1 2 3 4 5", ""}, {"id desc", "5 4 3 2 1", "id desc"},
		{"displayName", "2 1 5 4 3", "displayName"}, {" displayName  desc ", "4 1 5 2 3", "displayName desc"}, {"displayName asc", "2 1 5 4 3", "displayName"},
		{"displayName,memory.staticMaxBytes", "2 5 1 4 3", "displayName, memory.staticMaxBytes"},
		{"displayName desc , id desc", "4 5 1 2 3", "displayName desc, id desc"},
		{"memory.staticMaxBytes", "5 2 1 4 3", "memory.staticMaxBytes"}, {"memory.staticMaxBytes desc", "4 1 2 5 3", "memory.staticMaxBytes desc"},
		{"template", "2 1 3 4 5", "template"}, {"template desc", "1 2 3 4 5", "template desc"},
		{"createTime", "2 4 1 3 5", "createTime"}, {`annotations."k"`, "3 1 2 4 5", `annotations."k"`}, {"share", "1 2 3 4 5", "share"},
		{"native.x", "4 1 2 3 5", "native.x"}, {"native", "1 2 3 4 5", "native"},
	}
	for _, tt := range tests {
		t.Run(tt.order, func(t *testing.T) {
			o, err := query.ParseOrder(tt.order, vmType())
			if err != nil {
				t.Fatal(err)
			}
			sorted := slices.Clone(items)
			slices.Reverse(sorted)
			slices.SortFunc(sorted, func(a, b *vm) int { return o.Compare(a, b) })
			if got := natives(sorted); got != tt.want || o.String() != tt.spelled {
				t.Errorf("%s by %q, want %s by %q", got, o, tt.want, tt.spelled)
			}
			if o.Compare(items[0], items[0]) != 0 || o.Compare(nil, nil) != 0 || o.Compare(nil, items[0]) <= 0 {
				t.Error("an item is itself, and nothing is last")
			}
		})
	}
}

func natives(items []*vm) string {
	var out []string
	for _, v := range items {
		out = append(out, v.ID.native)
	}
	return strings.Join(out, " ")
}

func TestOrderErrors(t *testing.T) {
	for _, tt := range []struct {
		order string
		pos   int
		msg   string
	}{
		{"nme", 0, "unknown member"}, {"id, dispalyName", 4, "did you mean displayName?"}, {"id,", 3, "found the end"}, {",id", 0, "member's name"},
		{"id DESC", 3, "asc or desc"}, {"id desc desc", 8, "asc or desc"}, {"id id", 3, "asc or desc"}, {"tags", 0, "many values"}, {"disks.id", 0, "many values"},
		{"host", 0, "is an object"}, {"annotations", 0, "is a map"}, {"id, id desc", 4, "named twice"}, {"host.id.x", 8, "no members"}, {`"id`, 0, "not closed"},
		{"native.a,native.b,native.c,native.d,native.e,native.f,native.g,native.h,native.i", 72, "more than 8"}, {strings.Repeat(" ", 5000), 4096, "too long"},
	} {
		_, err := query.ParseOrder(tt.order, vmType())
		t.Run(tt.order[:min(20, len(tt.order))], func(t *testing.T) { checkError(t, err, tt.pos, tt.msg) })
	}
	if _, err := query.ParseOrder("staticMaxBytes", reflect.TypeFor[memory]()); err == nil {
		t.Error("an order over items without id was accepted")
	}
}

func TestFields(t *testing.T) {
	whole, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ fields, want string }{
		{"", string(whole)}, {"*", string(whole)}, {"id", `{"id":"one.42"}`},
		{"state , displayName", `{"id":"one.42","displayName":"Web-01 \"prod\"","state":"RUNNING"}`},
		{"memory.staticMaxBytes,host.displayName", `{"id":"one.42","host":{"id":"one.7"},"memory":{"staticMaxBytes":9007199254740993}}`},
		{"host,host.id", `{"id":"one.42","host":{"id":"one.7"}}`}, {"host.*", `{"id":"one.42","host":{"id":"one.7"}}`},
		{"disks.id", `{"id":"one.42","disks":[{"id":0},{"id":1}]}`}, {"disks.*.id", `{"id":"one.42","disks":[{"id":0},{"id":1}]}`},
		{"disks.storage.id,disks.*.type", `{"id":"one.42","disks":[{"id":0,"type":"block","storage":{"id":"one.100"}},{"id":1,"type":"file"}]}`},
		{"tags.*", `{"id":"one.42","tags":["green","blue"]}`}, {"quoted", `{"id":"one.42","quoted":"6"}`},
		{"annotations.team,annotations.none", `{"id":"one.42","annotations":{"team":"web"}}`},
		{"annotations.`a b`,annotations.\"a-b\"", `{"id":"one.42","annotations":{"a b":"x","a-b":"1"}}`},
		{"byNumber.-7,limits.*", `{"id":"one.42","limits":{"PAUSED":4},"byNumber":{"-7":"seven"}}`},
		{"native.L.k,native.none,native.T.id,native.N", `{"id":"one.42","native":{"L":[{"k":"v"}],"N":5,"T":{"id":"xen.1"}}}`},
		{"raw.a.b", `{"id":"one.42","raw":{"a":[{"b":"c"}]}}`}, {"native.S.x", `{"id":"one.42","native":{}}`},
		{"createTime,wait,etag,template", `{"id":"one.42","template":false,"wait":20000000000,"createTime":"2024-05-06T07:08:09Z","etag":"e1"}`},
	}
	for _, tt := range tests {
		t.Run(tt.fields, func(t *testing.T) {
			m, err := query.ParseFields(tt.fields, vmType())
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Apply(full())
			if err != nil || string(got) != tt.want {
				t.Errorf("%s, %v\nwant %s", got, err, tt.want)
			}
			if m.All() != (tt.want == string(whole)) {
				t.Errorf("All() = %v", m.All())
			}
		})
	}
	m, err := query.ParseFields("tags,memory.staticMaxBytes,disks.id", vmType())
	if err != nil {
		t.Fatal(err)
	}
	const want = `x{"id":"."}`
	if got, err := m.Append([]byte("x"), vm{}); err != nil || string(got) != want {
		t.Errorf("an empty item: %s, %v; want %s", got, err, want)
	}
	if _, err := m.Apply(&disk{}); err == nil {
		t.Error("an item of another type was accepted")
	}
	if got, err := m.Apply(nil); err == nil {
		t.Errorf("nothing became %s", got)
	}
}

// TestFieldsAgreeWithJSON holds that a mask naming every member one by one is encoding/json.
func TestFieldsAgreeWithJSON(t *testing.T) {
	for _, item := range []*vm{full(), {}} {
		want, err := json.Marshal(item)
		if err != nil {
			t.Fatal(err)
		}
		m, err := query.ParseFields("id,displayName,description,state,rawState.state,rawState.code,template,host.id,host.displayName,"+
			"memory.staticMaxBytes,share,uptimeSeconds,wait,big,annotations,limits,byNumber,disks.id,disks.type,disks.storage.id,"+
			"disks.storage.displayName,disks.params,tags,createTime,native,raw,quoted,etag", vmType())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Apply(item); err != nil || string(got) != string(want) {
			t.Errorf("%s, %v\nwant %s", got, err, want)
		}
	}
}

func TestFieldsErrors(t *testing.T) {
	for _, tt := range []struct {
		fields string
		pos    int
		msg    string
	}{
		{"nope", 0, "unknown member"}, {"id,hots", 3, "did you mean host?"}, {"host.idd", 5, "unknown member"}, {"id.x", 3, "no members"},
		{"id,", 3, "found the end"}, {"id displayName", 3, "a comma"}, {"*.id", 2, "nothing can follow"}, {"host.*.id", 7, "nothing can follow"},
		{"disks.nope", 6, "unknown member"}, {"disks.*.nope", 8, "unknown member"}, {"tags.x", 5, "no members"}, {"annotations.`a", 12, "not closed"},
		{strings.Repeat("id,", 1500), 4096, "too long"},
	} {
		_, err := query.ParseFields(tt.fields, vmType())
		t.Run(tt.fields[:min(20, len(tt.fields))], func(t *testing.T) { checkError(t, err, tt.pos, tt.msg) })
	}
}

// TestPages delivers a list page by page while items come and go, in every order.
func TestPages(t *testing.T) {
	for _, orderBy := range []string{
		"", "id desc", "displayName", "displayName desc", "memory.staticMaxBytes desc, displayName", "template", "createTime desc",
		"share", "big", "annotations.k, id desc", "native.x desc",
	} {
		t.Run(orderBy, func(t *testing.T) {
			o, err := query.ParseOrder(orderBy, vmType())
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			var items []*vm
			for i := range 200 {
				items = append(items, randomVM(rng, i))
			}
			stays := map[string]bool{}
			for _, v := range items[:100] {
				stays[v.ID.native] = true
			}
			seen := deliver(t, query.NewPager(signingKey, o, "vms", "filter"), o, items, stays, rng)
			for native := range stays {
				if !seen[native] {
					t.Errorf("%s was there all the time and never delivered", native)
				}
			}
		})
	}
}

// deliver reads all pages of seven. Between two, an item that need not stay leaves, and one comes.
func deliver(t *testing.T, p *query.Pager, o *query.Order, items []*vm, stays map[string]bool, rng *rand.Rand) map[string]bool {
	seen := map[string]bool{}
	for token, fresh := "", 5000; ; fresh-- {
		pos, err := p.Position(token)
		if err != nil {
			t.Fatal(err)
		}
		page := slices.DeleteFunc(slices.Clone(items), func(v *vm) bool { return !pos.Before(v) })
		slices.SortFunc(page, func(a, b *vm) int { return o.Compare(a, b) })
		page = page[:min(7, len(page))]
		if len(page) == 0 {
			return seen
		}
		for _, v := range page {
			if seen[v.ID.native] {
				t.Fatalf("%s was delivered twice", v.ID.native)
			}
			seen[v.ID.native] = true
		}
		last := page[len(page)-1]
		if token, err = p.Token(last); err != nil {
			t.Fatal(err)
		}
		if len(token) > 4096 {
			t.Fatalf("a token of %d characters", len(token))
		}
		items = slices.DeleteFunc(items, func(v *vm) bool { return v == last && !stays[v.ID.native] })
		items = append(items, randomVM(rng, fresh))
		if fresh < 4000 {
			t.Fatal("the list does not end")
		}
	}
}

func randomVM(rng *rand.Rand, i int) *vm {
	v := &vm{ID: vmID{"one", fmt.Sprint(i)}}
	maybe := func(set func(n int64)) {
		if n := rng.Int64N(6); n > 0 {
			set(n)
		}
	}
	maybe(func(n int64) { v.DisplayName = new(strings.Repeat("ä", int(n)*60) + fmt.Sprint(n)) })
	maybe(func(n int64) { v.Memory.StaticMaxBytes = new(n - 3) })
	maybe(func(n int64) { v.Template = new(n > 2) })
	maybe(func(n int64) { v.CreateTime = new(time.Unix(n-3, n).UTC()) })
	maybe(func(n int64) { v.Share = new(float64(n) / 3) })
	maybe(func(n int64) { v.Big = math.MaxUint64 - uint64(n) })
	maybe(func(n int64) { v.Annotations = map[string]string{"k": fmt.Sprint(n)} })
	maybe(func(n int64) { v.Native = map[string]any{"x": []any{n, fmt.Sprint(n), n > 3, nil, 0.1, nil}[n]} })
	return v
}

var signingKey = []byte("the key of these tests")

func TestTokenRefused(t *testing.T) {
	order := func(s string) *query.Order {
		o, err := query.ParseOrder(s, vmType())
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	p := query.NewPager(signingKey, order("displayName"), "a", "bc")
	good, err := p.Token(full())
	if err != nil {
		t.Fatal(err)
	}
	if pos, err := p.Position(good); err != nil || pos.ID() != "one.42" || pos.Start() || pos.Before(full()) {
		t.Fatalf("the token itself: %v, %v", pos, err)
	}
	for name, other := range map[string]*query.Pager{
		"order": query.NewPager(signingKey, order("displayName desc"), "a", "bc"), "scope": query.NewPager(signingKey, order("displayName"), "a", "bd"),
		"boundary": query.NewPager(signingKey, order("displayName"), "ab", "c"), "count": query.NewPager(signingKey, order("displayName"), "a"),
	} {
		_, err := other.Position(good)
		t.Run(name, func(t *testing.T) { checkError(t, err, 0, "belongs to another list") })
	}
	for name, token := range map[string]string{
		"text": "hello world", "padding": good + "=", "newline": good[:10] + "\n" + good[10:], "short": "Ag", "version": "AQ" + good[2:],
		"long": strings.Repeat("A", 5000), "longer": good + "AAAA", "cut": good[:len(good)-4],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Position(token)
			checkError(t, err, 0, "page token")
		})
	}
	_, err = query.NewPager([]byte("another key"), order("displayName"), "a", "bc").Position(good)
	checkError(t, err, 0, "damaged")
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		_, err := p.Position(base64.RawURLEncoding.EncodeToString(raw))
		checkError(t, err, 0, "page token")
		raw[i] ^= 1
	}
	if token, err := p.Token(&disk{}); err == nil {
		t.Errorf("a token for an item of another type: %s", token)
	}
	if token, err := p.Token(nil); err == nil {
		t.Errorf("a token for nothing: %s", token)
	}
}

func TestOrderOfIDs(t *testing.T) {
	type item struct {
		ID string `json:"id"`
	}
	// Sorted: any two that are apart must compare that way round.
	sorted := []string{"one.0", "one.9", "one.10", "one.99", "one.100", "one.2147483647", "one", "one.1x", "one.a", "one.a2", "xen.1", "xen.0b2f"}
	o, err := query.ParseOrder("", reflect.TypeFor[item]())
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := o.Compare(&item{a}, &item{b}); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
}

func TestOrderOfIdentifiers(t *testing.T) {
	hosts := []string{"one-b.3", "one.9", "one.10", "one.x", "xen.1"}
	vms := make([]*backends.VM, 0, len(hosts))
	for i, host := range hosts {
		id, err := backends.ParseID(host)
		if err != nil {
			t.Fatal(err)
		}
		vms = append(vms, &backends.VM{ID: backends.ID{Backend: "one", Native: fmt.Sprint(100 - i)}, Host: &backends.Ref{ID: id}})
	}
	slices.SortFunc(vms, func(a, b *backends.VM) int { return strings.Compare(a.ID.Native, b.ID.Native) })
	o, err := query.ParseOrder("host.id", vmOfBackends)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(vms, func(a, b *backends.VM) int { return o.Compare(a, b) })
	var got []string
	for _, vm := range vms {
		got = append(got, vm.Host.ID.String())
	}
	if want := []string{"one.9", "one.10", "one.x", "one-b.3", "xen.1"}; !slices.Equal(got, want) {
		t.Errorf("by host: %q, want %q", got, want)
	}
	pager := query.NewPager(signingKey, o)
	for i, vm := range vms {
		token, err := pager.Token(vm)
		if err != nil {
			t.Fatal(err)
		}
		place, err := pager.Position(token)
		if err != nil || place.ID() != vm.ID.String() {
			t.Fatalf("the place behind %s is %q, %v", vm.ID, place.ID(), err)
		}
		for j, other := range vms {
			if place.Before(other) != (i < j) {
				t.Errorf("%s before %s: %t", vm.Host.ID, other.Host.ID, i >= j)
			}
		}
	}
}
