package query_test

import (
	"fmt"
	"reflect"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// fleet is VMs as a list has them.
func fleet(n int) []*backends.VM {
	vms := make([]*backends.VM, n)
	for i := range vms {
		vms[i] = &backends.VM{
			ID: backends.ID{Backend: "one", Native: fmt.Sprint(i)}, Backend: "one", Kind: backends.OpenNebula, UID: fmt.Sprint(i),
			DisplayName: new(fmt.Sprintf("Web-%05d.example.org", i)), Description: new("The front end of the shop"),
			State: []backends.State{backends.StateRunning, backends.StateRunning, backends.StateStopped}[i%3],
			Host:  &backends.Ref{ID: backends.ID{Backend: "one", Native: fmt.Sprint(i % 10)}, DisplayName: fmt.Sprintf("node-%d", i%10)},
			CPU:   &backends.CPU{VCPUs: new(int64(i%8 + 1)), Share: new(0.5)}, Memory: &backends.Memory{DynamicMaxBytes: new(int64(i%5) << 30)},
			Annotations: map[string]string{"team": "web", "stage": "production"},
		}
	}
	return vms
}

func BenchmarkMatch(b *testing.B) {
	vms := fleet(1000)
	for _, s := range []string{
		`state="RUNNING" AND memory.dynamicMaxBytes>1073741824 AND displayName:"web"`,
		`displayName:"web"`, `shop`, `id="one.7"`, `host.id="one.7"`, `annotations.team="web"`, `memory.dynamicMaxBytes>1073741824`, `state="RUNNING"`,
	} {
		f, err := query.Compile(s, reflect.TypeFor[backends.VM]())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := f.Match(vms[i%len(vms)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	vms := fleet(1000)
	for _, s := range []string{"", "displayName", "memory.dynamicMaxBytes desc, displayName"} {
		o, err := query.ParseOrder(s, reflect.TypeFor[backends.VM]())
		if err != nil {
			b.Fatal(err)
		}
		pager := query.NewPager(signingKey, o)
		token, err := pager.Token(vms[500])
		if err != nil {
			b.Fatal(err)
		}
		place, err := pager.Position(token)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("order by "+s, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				o.Compare(vms[i%len(vms)], vms[(i+7)%len(vms)])
			}
		})
		b.Run("before by "+s, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				place.Before(vms[i%len(vms)])
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	vms := fleet(1000)
	for _, s := range []string{"displayName,state", "id,displayName,state,host,cpu.vcpus,memory.dynamicMaxBytes,annotations.team"} {
		m, err := query.ParseFields(s, reflect.TypeFor[backends.VM]())
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			var text []byte
			for i := 0; b.Loop(); i++ {
				if text, err = m.Append(text[:0], vms[i%len(vms)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
