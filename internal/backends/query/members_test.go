package query_test

import (
	"reflect"
	"slices"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

var vmOfBackends = reflect.TypeFor[backends.VM]()

func TestMembersOfFilters(t *testing.T) {
	for filter, want := range map[string][]string{
		"":                                  {},
		`state="RUNNING"`:                   {"state"},
		`state="RUNNING" OR -state=STOPPED`: {"state"},
		`memory.dynamicMaxBytes>1 AND NOT (cpu.vcpus=2 OR displayName:"web")`: {"cpu.vcpus", "displayName", "memory.dynamicMaxBytes"},
		`web`:                                {"description", "displayName", "id"},
		`web state=(RUNNING OR PAUSED)`:      {"description", "displayName", "id", "state"},
		`annotations.team="web"`:             {"annotations"},
		`annotations:team`:                   {"annotations"},
		`disks.storage.id="one.1"`:           {"disks"},
		`disks:*`:                            {"disks"},
		`cpu:*`:                              {"cpu"},
		`cpu:vcpus`:                          {"cpu.vcpus"},
		`cpu.vcpus>1 cpu:*`:                  {"cpu"},
		`cpu.params.weight="1"`:              {"cpu.params"},
		`native.TEMPLATE.MEMORY>1`:           {"native"},
		`host.id="one.1" host.displayName=x`: {"host.displayName", "host.id"},
		`opennebula.history.host.id:"one.1"`: {"opennebula.history"},
	} {
		f, err := query.Compile(filter, vmOfBackends)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		if got := f.Members(); got == nil || !slices.Equal(got, want) {
			t.Errorf("%s needs %#v, want %q", filter, got, want)
		}
	}
	var none *query.Filter
	if got := none.Members(); got == nil || len(got) > 0 {
		t.Errorf("no filter needs %#v", got)
	}
	unbound, err := query.ParseFilter("state=RUNNING")
	if err != nil {
		t.Fatal(err)
	}
	if got := unbound.Members(); got != nil {
		t.Errorf("a filter over no type needs %q", got)
	}
}

func TestMembersOfOrders(t *testing.T) {
	for order, want := range map[string]struct {
		members []string
		byID    bool
	}{
		"":              {[]string{"id"}, true},
		"id":            {[]string{"id"}, true},
		"id asc, state": {[]string{"id", "state"}, true},
		"id desc":       {[]string{"id"}, false},
		"state":         {[]string{"id", "state"}, false},
		"state, id":     {[]string{"id", "state"}, false},
		"annotations.a, memory.staticMaxBytes desc": {[]string{"annotations", "id", "memory.staticMaxBytes"}, false},
	} {
		o, err := query.ParseOrder(order, vmOfBackends)
		if err != nil {
			t.Errorf("%s: %v", order, err)
			continue
		}
		if got := o.Members(); !slices.Equal(got, want.members) || o.ByID() != want.byID {
			t.Errorf("%q needs %q, by id: %t", order, got, o.ByID())
		}
	}
}

func TestMembersOfMasks(t *testing.T) {
	for mask, want := range map[string][]string{
		"":                             nil,
		"*":                            nil,
		"displayName,*":                nil,
		"id":                           {"id"},
		"state":                        {"id", "state"},
		"cpu.*,cpu.vcpus":              {"cpu", "id"},
		"host.displayName":             {"host.displayName", "host.id", "id"},
		"memory,memory.staticMaxBytes": {"id", "memory"},
		"annotations.*,native.X":       {"annotations", "id", "native"},
		"disks.*.id,nics.network.id":   {"disks", "id", "nics"},
		"boot.hvm.params.order":        {"boot.hvm.params", "id"},
	} {
		m, err := query.ParseFields(mask, vmOfBackends)
		if err != nil {
			t.Errorf("%s: %v", mask, err)
			continue
		}
		if got := m.Members(); (got == nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%q needs %#v, want %#v", mask, got, want)
		}
	}
	var none *query.Mask
	if got := none.Members(); got != nil {
		t.Errorf("no mask needs %q", got)
	}
}
