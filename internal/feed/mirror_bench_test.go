package feed_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

// mirrored is a feed that knows n VMs.
func mirrored(b *testing.B, n int) (*benchSource, *feed.Feeds, *feed.Feed) {
	b.Helper()
	s, feeds, f := benchFeeds(b)
	s.emit(backends.Batch{Complete: true, VMs: fleetOfSize(n, running), AsOf: time.Now()})
	return s, feeds, f
}

// BenchmarkMirrorList is a warm list as JSON: of all 10,000 VMs, of one page of 100 in their middle,
// and of those 100 of 10,000 that a condition keeps.
func BenchmarkMirrorList(b *testing.B) {
	_, feeds, _ := mirrored(b, 10_000)
	for _, c := range []struct {
		name  string
		after string
		keep  func(n int, vm *backends.VM) bool
		most  int
	}{
		{"all 10,000", "", func(int, *backends.VM) bool { return true }, 10_000},
		{"a page of 100", "5000", func(int, *backends.VM) bool { return true }, 100},
		{"100 of 10,000", "", func(n int, _ *backends.VM) bool { return n%100 == 0 }, 10_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := make([]byte, 0, 16<<20)
			b.ReportAllocs()
			for b.Loop() {
				snapshot, ok := feeds.Snapshot(owner, time.Hour)
				if !ok {
					b.Fatal("there is no mirror")
				}
				vms := snapshot.VMs
				if c.after != "" {
					vms = snapshot.After(id(c.after))
				}
				body = append(body[:0], '[')
				shown := 0
				for n, vm := range vms {
					if !c.keep(n, vm) {
						continue
					}
					body = append(vm.AppendJSON(body), ',')
					if shown++; shown == c.most {
						break
					}
				}
			}
			b.SetBytes(int64(len(body)))
		})
	}
}

// BenchmarkMirrorOneChange is a batch in which one VM differs, while readers take 100 snapshots a
// second each and look at all of them.
func BenchmarkMirrorOneChange(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		for _, readers := range []int{0, 10} {
			b.Run(fmt.Sprintf("of %d, %d readers", size, readers), func(b *testing.B) {
				s, _, f := mirrored(b, size)
				ctx, stop := context.WithCancel(b.Context())
				defer stop()
				for range readers {
					go read(ctx, f)
				}
				changed := [][]*backends.VM{fleetOfSize(1, stopped), fleetOfSize(1, running)}
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					s.emit(backends.Batch{VMs: changed[n%2], AsOf: time.Now()})
				}
			})
		}
	}
}

func read(ctx context.Context, f *feed.Feed) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			snapshot, _ := f.Mirror()
			for _, vm := range snapshot.VMs {
				runtime.KeepAlive(vm.State)
			}
		}
	}
}

// BenchmarkMirrorEmptyBatch is a batch that only tells the time.
func BenchmarkMirrorEmptyBatch(b *testing.B) {
	s, _, _ := mirrored(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		s.emit(backends.Batch{AsOf: time.Now()})
	}
}

// BenchmarkMirrorGet finds one VM of 100,000.
func BenchmarkMirrorGet(b *testing.B) {
	_, feeds, _ := mirrored(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		snapshot, _ := feeds.Snapshot(owner, time.Hour)
		if _, ok := snapshot.Get(id("54321")); !ok {
			b.Fatal("not found")
		}
	}
}

// BenchmarkMirrorMemory is what one VM takes in a mirror, of those that the simulated backends give
// in the view BASIC.
func BenchmarkMirrorMemory(b *testing.B) {
	for name, begin := range map[string]func(testing.TB, int) *cloud{
		"opennebula": func(t testing.TB, n int) *cloud { c, _ := newOpenNebulaOf(t, n); return c },
		"xenapi":     func(t testing.TB, n int) *cloud { c, _ := newXenAPIOf(t, n); return c },
	} {
		b.Run(name, func(b *testing.B) {
			const n = 2000
			c := begin(b, n)
			s := c.login(b).Session
			var vms []*backends.VM
			for vm, err := range c.VMs(b.Context(), s, backends.Query{View: backends.ViewBasic, Owner: "all"}) {
				if err != nil {
					b.Fatal(err)
				}
				vms = append(vms, vm)
			}
			var kept []*feed.Feed
			source, _, _ := benchFeeds(b)
			before := inUse()
			for b.Loop() {
				source, _, f := benchFeeds(b)
				source.emit(backends.Batch{Complete: true, VMs: vms, AsOf: time.Now()})
				kept = append(kept, f)
			}
			b.ReportMetric(float64(inUse()-before)/float64(len(kept)*len(vms)), "B/VM")
			runtime.KeepAlive(source)
			runtime.KeepAlive(vms)
		})
	}
}
