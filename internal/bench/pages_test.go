package bench

import (
	"testing"
	"time"
)

// BenchmarkPage is a page of 100 of 10,000 VMs: with what their lists tell, and with all of each.
func BenchmarkPage(b *testing.B) {
	w := newWorld(b)
	for _, c := range []struct{ backend, name, query string }{
		{"one", "by-name-BASIC", "orderBy=displayName"}, {"one", "by-name-FULL", "orderBy=displayName&view=FULL"},
		{"xen", "BASIC", ""}, {"xen", "FULL", "view=FULL"},
	} {
		b.Run(c.backend+"-"+c.name, func(b *testing.B) {
			w := w.in(b)
			token := w.login(c.backend)
			var took []time.Duration
			for b.Loop() {
				t, _ := w.list(token, "/vms?pageSize=100&"+c.query, "application/json", 0)
				took = append(took, t)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(took).Seconds()*1e3, "ms")
		})
	}
}
