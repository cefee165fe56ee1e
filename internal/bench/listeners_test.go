package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	listeners = 1_000
	changing  = 200                   // VMs, of the fleet's 10,000
	pace      = 50 * time.Millisecond // between two changes
	atRest    = 8 * time.Second
)

// BenchmarkListeners is first one listener and then a thousand on one session, each time at rest and
// while VMs change at a steady pace. Latencies are from before the change is sent to the backend
// until the last listener has read the event: the backend's own time, and the watcher's poll on
// OpenNebula (every 2 s), are part of it.
func BenchmarkListeners(b *testing.B) {
	w := newWorld(b)
	b.Run("opennebula", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		var ids []int
		for _, vm := range w.find(token, "one", "RUNNING", changing) {
			ids = append(ids, number(native(vm)))
		}
		w.listen("one", token, func(n int, name string) { one.one("one.vm.rename", ids[n], name) })
	})
	b.Run("xenapi", func(b *testing.B) {
		w := w.in(b)
		token := w.login("xen")
		w.listen("xen", token, w.renameXen(token))
	})
}

// renameXen gives what renames one of the VMs that change.
func (w *world) renameXen(token string) func(n int, name string) {
	xen := w.newXen()
	var refs []string
	for _, vm := range w.find(token, "xen", "RUNNING", changing) {
		refs = append(refs, xen.ref("VM", vm))
	}
	return func(n int, name string) { xen.xen("VM.set_name_label", refs[n], name) }
}

// BenchmarkListenerMemory is what a listener holds that has been told of something: the difference
// between a thousand and one. The gateway collects its garbage early (GOGC=5), so that what is seen is
// what is held; as it is shipped its heap may grow to twice that. XenAPI, because nothing else then
// happens in the gateway; which backend it is makes no difference to a listener.
func BenchmarkListenerMemory(b *testing.B) {
	w := newWorld(b, "GOGC=5")
	token := w.login("xen")
	rename := w.renameXen(token)
	ctx, cancel := context.WithCancel(b.Context())
	var gone sync.WaitGroup
	defer gone.Wait()
	defer cancel()
	a := &audience{w: w, token: token}
	for b.Loop() {
		if a.present > 0 {
			b.Fatal("run it with a shorter -benchtime: once is enough")
		}
		held := make([]sample, 2)
		for i, n := range []int{1, listeners - 1} {
			a.come(ctx, &gone, n)
			a.busy("xen", rename)
			held[i] = a.rest("xen")
		}
		per := float64(listeners-1) * 1024
		b.ReportMetric(0, "ns/op")
		b.ReportMetric((held[1].heap-held[0].heap)/per, "heap-KiB/listener")
		b.ReportMetric((held[1].rss-held[0].rss)/per, "RSS-KiB/listener")
	}
}

// audience is the listeners of one session.
type audience struct {
	w       *world
	token   string
	present int // how many have come
	name    atomic.Pointer[string]
	changes [changing]change
	read    atomic.Int64 // events, of whatever kind
}

// change is one change of a VM and who has heard of it.
type change struct {
	sent  atomic.Pointer[time.Time]
	left  atomic.Int64
	heard chan time.Duration // until the last listener
}

func (w *world) listen(backend, token string, rename func(n int, name string)) {
	b := w.b
	ctx, cancel := context.WithCancel(b.Context())
	var gone sync.WaitGroup
	defer gone.Wait()
	defer cancel()
	a := &audience{w: w, token: token}
	for b.Loop() { // once: it takes longer than any benchtime
		if a.present > 0 {
			b.Fatal("run it with a shorter -benchtime: once is enough")
		}
		a.come(ctx, &gone, 1)
		oneResting := a.rest(backend)
		oneBusy := a.busy(backend, rename)
		a.come(ctx, &gone, listeners-1)
		allResting := a.rest(backend)
		allBusy := a.busy(backend, rename)

		b.ReportMetric(0, "ns/op")
		b.ReportMetric(oneResting.calls, "calls/s-1")
		b.ReportMetric(allResting.calls, "calls/s-1000")
		b.ReportMetric(oneBusy.calls, "busy-calls/s-1")
		b.ReportMetric(allBusy.calls, "busy-calls/s-1000")
		b.ReportMetric(micros(median(oneBusy.last))/1000, "p50-ms-1")
		b.ReportMetric(micros(median(allBusy.last))/1000, "p50-ms-1000")
		b.ReportMetric(micros(quantile(oneBusy.last, 0.99))/1000, "p99-ms-1")
		b.ReportMetric(micros(quantile(allBusy.last, 0.99))/1000, "p99-ms-1000")
		b.ReportMetric(oneResting.cpu, "cpu/s-1")
		b.ReportMetric(allResting.cpu, "cpu/s-1000")
		b.ReportMetric(1000*(allBusy.cpu-allResting.cpu)*allBusy.took.Seconds()/allBusy.events, "cpu-s/1000-events")
		b.ReportMetric(allBusy.events/allBusy.took.Seconds(), "events/s")
	}
}

// come lets n listeners join, and waits until they follow.
func (a *audience) come(ctx context.Context, gone *sync.WaitGroup, n int) {
	following := make(chan error, n)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for range n {
		gone.Go(func() { a.follow(ctx, client, following) })
	}
	for range n {
		check(a.w.b, <-following)
	}
	a.present += n
}

// follow reads events until ctx ends.
func (a *audience) follow(ctx context.Context, client *http.Client, following chan<- error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.w.url+"/events", nil)
	if err != nil {
		following <- err
		return
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := client.Do(req)
	if err != nil {
		following <- err
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		following <- fmt.Errorf("GET /events: %s", resp.Status)
		return
	}
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			if ctx.Err() == nil {
				a.w.b.Error("a listener was cut off: ", err)
			}
			return
		}
		switch {
		case bytes.HasPrefix(line, []byte(": following")):
			following <- nil
		case bytes.HasPrefix(line, []byte("data: ")):
			a.read.Add(1)
			a.hear(line)
		}
	}
}

// hear counts a listener for the change that the event tells of.
func (a *audience) hear(event []byte) {
	prefix := a.name.Load()
	if prefix == nil {
		return
	}
	_, rest, ok := bytes.Cut(event, []byte(*prefix))
	if !ok {
		return
	}
	number, _, _ := bytes.Cut(rest, []byte(`"`))
	n, err := strconv.Atoi(string(number))
	if err != nil {
		a.w.b.Error("an event with a strange name: ", string(event))
		return
	}
	if c := &a.changes[n]; c.left.Add(-1) == 0 {
		c.heard <- time.Since(*c.sent.Load())
	}
}

// sample is what was seen for a while.
type sample struct {
	took   time.Duration
	calls  float64 // of the backend, a second, without those that change VMs
	cpu    float64 // CPU seconds of the gateway, a second
	heap   float64 // bytes, the least that was seen: what is left after a collection; with stacks
	rss    float64 // bytes, at the end
	events float64 // that were read
	last   []time.Duration
}

// during measures while wait does.
func (a *audience) during(backend string, wait func(s *sample)) sample {
	w := a.w
	s := sample{heap: math.Inf(1)}
	calls, cpu, read, begin := a.calls(backend), w.metric("process_cpu_seconds_total"), a.read.Load(), time.Now()
	wait(&s)
	s.took = time.Since(begin)
	seconds := s.took.Seconds()
	s.calls = float64(a.calls(backend)-calls) / seconds
	s.cpu = (w.metric("process_cpu_seconds_total") - cpu) / seconds
	s.events = float64(a.read.Load() - read)
	s.rss = w.metric("process_resident_memory_bytes")
	return s
}

func (a *audience) calls(backend string) int {
	n := 0
	for method, times := range a.w.calls(backend) {
		if method != "one.vm.rename" && method != "VM.set_name_label" {
			n += times
		}
	}
	return n
}

// rest measures while nothing changes.
func (a *audience) rest(backend string) sample {
	return a.during(backend, func(s *sample) {
		for end := time.Now().Add(atRest); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			s.heap = min(s.heap, a.w.metric("go_memstats_heap_alloc_bytes")+a.w.metric("go_memstats_stack_inuse_bytes"))
		}
	})
}

// busy renames VMs, one after the other, and waits until all listeners have heard of each.
func (a *audience) busy(backend string, rename func(n int, name string)) sample {
	prefix := fmt.Sprintf("heard-by-%d-", a.present)
	for n := range a.changes {
		a.changes[n].left.Store(int64(a.present))
		a.changes[n].heard = make(chan time.Duration, 1)
	}
	a.name.Store(&prefix)
	return a.during(backend, func(s *sample) {
		next := time.NewTicker(pace)
		defer next.Stop()
		for n := range a.changes {
			<-next.C
			now := time.Now()
			a.changes[n].sent.Store(&now)
			rename(n, prefix+strconv.Itoa(n))
		}
		late := time.After(time.Minute)
		for n := range a.changes {
			select {
			case d := <-a.changes[n].heard:
				s.last = append(s.last, d)
			case <-late:
				a.w.b.Fatalf("%d listeners were never told of a change", a.changes[n].left.Load())
			}
		}
	})
}
