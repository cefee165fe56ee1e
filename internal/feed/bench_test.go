package feed_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

const (
	benchVMs       = 10_000
	benchListeners = 1_000
)

// fleet is benchVMs VMs, all in one state.
func fleet(state backends.State) []*backends.VM { return fleetOfSize(benchVMs, state) }

// fleetOfSize is VMs as a list of OpenNebula gives them, all in one state.
func fleetOfSize(size int, state backends.State) []*backends.VM {
	vms := make([]*backends.VM, size)
	for n := range vms {
		native := fmt.Sprint(n)
		user, group := backends.Ref{ID: id("2"), DisplayName: "alice"}, backends.Ref{ID: id("100"), DisplayName: "lab"}
		vms[n] = &backends.VM{
			ID: id(native), Backend: "one", Kind: backends.OpenNebula, UID: native, State: state,
			DisplayName: new("web-" + native), Template: new(false),
			RawState: &backends.RawState{
				State: "ACTIVE", StateCode: new(3), StateShort: "runn", LCMState: "RUNNING", LCMStateCode: new(3), LCMStateShort: "runn",
			},
			AllowedActions: []backends.AllowedAction{{Action: "stop", Raw: "poweroff"}, {Action: "migrate", Raw: "migrate"}, {Action: "suspend", Raw: "suspend"}},
			Host:           &backends.Ref{ID: id("7"), DisplayName: "host-7"},
			Owner:          &backends.Owner{User: &user, Group: &group},
			CPU:            &backends.CPU{VCPUs: new(int64(2)), Share: new(0.5)},
			Memory:         &backends.Memory{DynamicMaxBytes: new(int64(4 << 30)), StaticMaxBytes: new(int64(8 << 30))},
			CreateTime:     new(time.Unix(1_700_000_000, 0).UTC()),
		}
	}
	return vms
}

// benchSource emits the batches that a benchmark hands in, and answers each once it is in the log.
type benchSource struct {
	backends.Driver
	batches chan backends.Batch
	taken   chan struct{}
}

func (s *benchSource) Watch(ctx context.Context, _ backends.Session, _ string, emit func(backends.Batch) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-s.batches:
			if err := emit(b); err != nil {
				return err
			}
			s.taken <- struct{}{}
		}
	}
}

func (s *benchSource) emit(b backends.Batch) {
	s.batches <- b
	<-s.taken
}

func benchFeed(b *testing.B) (*benchSource, *feed.Feed) {
	b.Helper()
	s, _, f := benchFeeds(b)
	s.emit(backends.Batch{Complete: true, VMs: fleet(running)})
	return s, f
}

// benchFeeds is a feed that knows nothing yet.
func benchFeeds(b *testing.B) (*benchSource, *feed.Feeds, *feed.Feed) {
	b.Helper()
	s := &benchSource{batches: make(chan backends.Batch), taken: make(chan struct{})}
	feeds := feed.New(feed.Config{})
	b.Cleanup(func() {
		if err := feeds.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	backend := &backends.Backend{Name: "one", DisplayName: "Lab", Driver: s}
	return s, feeds, feeds.Acquire(backend, owner, backends.NewSession("s")).Feed()
}

func perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
}

// BenchmarkAppend is a poll after which each of 10,000 VMs differs: compared, encoded and logged,
// with nobody listening.
func BenchmarkAppend(b *testing.B) {
	s, _ := benchFeed(b)
	fleets := [][]*backends.VM{fleet(stopped), fleet(running)}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.emit(backends.Batch{VMs: fleets[n%2]})
	}
	perEvent(b, benchVMs)
}

// BenchmarkUnchanged is the same poll when nothing differs.
func BenchmarkUnchanged(b *testing.B) {
	s, _ := benchFeed(b)
	same := [][]*backends.VM{fleet(running), fleet(running)}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.emit(backends.Batch{Complete: true, VMs: same[n%2]})
	}
	perEvent(b, benchVMs)
}

// BenchmarkFanOut is BenchmarkAppend with 1,000 listeners, until the last of them has read the last
// of 10,000 events.
func BenchmarkFanOut(b *testing.B) {
	s, f := benchFeed(b)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var round sync.WaitGroup
	for range benchListeners {
		l := listen(ctx, b, f)
		go l.count(benchVMs, round.Done)
	}
	fleets := [][]*backends.VM{fleet(stopped), fleet(running)}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		round.Add(benchListeners)
		s.emit(backends.Batch{VMs: fleets[n%2]})
		round.Wait()
	}
	perEvent(b, benchVMs*benchListeners)
}

// count reads until its context ends, and calls round after every n events.
func (l *listener) count(n int, round func()) {
	for seen := 0; ; {
		changed := l.feed.Changed()
		events, next, ok := l.feed.After(l.at, 0)
		if !ok {
			l.t.Error("a listener was cut off")
			return
		}
		l.at = next
		seen += len(events)
		if seen >= n {
			seen -= n
			round()
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return
		}
	}
}

// BenchmarkListener is what one waiting listener holds: its goroutine, and its position in the log.
func BenchmarkListener(b *testing.B) {
	_, f := benchFeed(b)
	ctx, cancel := context.WithCancel(b.Context())
	var waiting, done sync.WaitGroup
	before := inUse()
	for b.Loop() {
		waiting.Add(1)
		l := listen(ctx, b, f)
		done.Go(func() {
			waiting.Done()
			l.count(1, func() {})
		})
	}
	waiting.Wait()
	b.ReportMetric(float64(inUse()-before)/float64(b.N), "B/listener")
	cancel()
	done.Wait()
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
