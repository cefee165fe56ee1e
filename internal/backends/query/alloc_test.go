package query_test

import (
	"reflect"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// TestNothingIsAllocatedForAnItem holds for what is done to each VM of a long list.
func TestNothingIsAllocatedForAnItem(t *testing.T) {
	vm := fleet(1)[0]
	check := func(what string, do func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, do); n > 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	for _, s := range []string{
		`state="RUNNING" AND memory.dynamicMaxBytes>=0 AND displayName:"web"`, `shop`, `example*`, `NOT id="one.7"`, `host.id!="one.7"`,
		`annotations.team="web"`, `annotations:stage`, `disks:*`, `createTime>2024-01-01T00:00:00Z`, `cpu.share<1.5`,
	} {
		f, err := query.Compile(s, reflect.TypeFor[backends.VM]())
		if err != nil {
			t.Fatal(err)
		}
		check(s, func() { _, _ = f.Match(vm) })
	}
	for _, s := range []string{"", "id desc", "displayName", "host.id, memory.dynamicMaxBytes desc", "annotations.team, createTime"} {
		o, err := query.ParseOrder(s, reflect.TypeFor[backends.VM]())
		if err != nil {
			t.Fatal(err)
		}
		pager := query.NewPager(signingKey, o)
		token, err := pager.Token(vm)
		if err != nil {
			t.Fatal(err)
		}
		place, err := pager.Position(token)
		if err != nil {
			t.Fatal(err)
		}
		check("order by "+s, func() { o.Compare(vm, vm) })
		check("place in the order by "+s, func() { place.Before(vm) })
	}
}
