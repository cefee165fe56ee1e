package bench

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"
)

// work is the same thing to do in several ways. Each is told how often it was done before.
type work struct {
	backend string
	slow    bool // takes part of a second: warmed up less
	direct  func(n int)
	relay   func(n int) // nil = is not compared
	gateway func(n int)
}

// way is one of them, and how long it took each time.
type way struct {
	name string
	do   func(n int)
	took []time.Duration
}

func (do work) ways() []*way {
	ways := []*way{{name: "direct", do: do.direct}, {name: "gateway", do: do.gateway}}
	if do.relay != nil {
		ways = append(ways, &way{name: "relay", do: do.relay})
	}
	return ways
}

// compare does them in turns. It reports the median of each, and of what the gateway and the relay add
// to the direct one within a turn. A turn also has a request for nothing at all, to a server in the
// simulators' process: a hop.
func (w *world) compare(do work) {
	b := w.b
	b.Helper()
	ways := do.ways()
	w.checkSameCalls(do, ways)
	var hop []time.Duration
	n := 0
	for b.Loop() {
		for i := range ways { // verbs alternate with n, so that each is as often first as last
			way := ways[(i+n/2)%len(ways)]
			way.took = append(way.took, timed(way.do, n))
		}
		hop = append(hop, timed(func(int) { w.get("/nothing") }, n))
		n++
	}
	direct, gateway := ways[0].took, ways[1].took
	b.ReportMetric(0, "ns/op") // a turn is no unit of anything
	for _, way := range ways {
		b.ReportMetric(micros(median(way.took)), way.name+"-µs")
	}
	b.ReportMetric(micros(median(hop)), "hop-µs")
	b.ReportMetric(micros(added(gateway, direct)), "added-µs")
	b.ReportMetric(ratio(gateway, direct), "gateway/direct")
	if do.relay != nil {
		relay := ways[2].took
		b.ReportMetric(micros(added(relay, direct)), "relay-added-µs")
		b.ReportMetric(ratio(gateway, relay), "gateway/relay")
	}
}

// added is the median of the differences within a turn.
func added(more, less []time.Duration) time.Duration {
	differences := make([]time.Duration, len(more))
	for i := range more {
		differences[i] = more[i] - less[i]
	}
	return median(differences)
}

func ratio(a, b []time.Duration) float64 { return float64(median(a)) / float64(median(b)) }

// checkSameCalls fails when one way makes other calls than the direct one.
func (w *world) checkSameCalls(do work, ways []*way) {
	w.b.Helper()
	times := 20 // an even number
	if do.slow {
		times = 2
	}
	var direct map[string]int
	for _, way := range ways {
		for n := range times {
			way.do(n)
		}
		before := w.calls(do.backend)
		for n := range times {
			way.do(n)
		}
		made := w.calls(do.backend)
		for method, n := range before {
			if made[method] -= n; made[method] == 0 {
				delete(made, method)
			}
		}
		if made[look] >= times {
			delete(made, look) // how often depends on when the task ends
		}
		if direct == nil {
			direct = made
		}
		if !maps.Equal(made, direct) {
			w.b.Fatalf("calls in %d times: %v directly, %v by the %s", times, direct, made, way.name)
		}
	}
}

func timed(f func(int), n int) time.Duration {
	begin := time.Now()
	f(n)
	return time.Since(begin)
}

func quantile(d []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// BenchmarkVerb is a verb from the request to the 202 with its operation, which has ended then.
func BenchmarkVerb(b *testing.B) {
	w := newWorld(b)
	w.startRelay()
	b.Run("opennebula-hold-release", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		held := w.find(token, "one", "HELD", 3)
		id := number(native(held[0]))
		relayed := w.relay + "/one/" + native(held[1]) + "/"
		action := []string{"release", "hold"}
		w.compare(work{
			backend: "one",
			direct:  func(n int) { one.one("one.vm.action", action[n%2], id) },
			relay:   func(n int) { w.ask("POST", relayed+action[n%2]) },
			gateway: func(n int) { w.do(http.StatusAccepted, "POST", "/vms/"+held[2]+":"+action[n%2], token, "{}") },
		})
	})
	b.Run("xenapi-pause-unpause", func(b *testing.B) {
		w := w.in(b)
		token, xen := w.login("xen"), w.newXen()
		running := w.find(token, "xen", "RUNNING", 3)
		ref := xen.ref("VM", running[0])
		relayed := w.relay + "/xen/" + xen.ref("VM", running[1]) + "/"
		action := []string{"pause", "unpause"}
		w.compare(work{
			backend: "xen",
			direct:  func(n int) { xen.async("VM."+action[n%2], ref) },
			relay:   func(n int) { w.ask("POST", relayed+action[n%2]) },
			gateway: func(n int) { w.do(http.StatusAccepted, "POST", "/vms/"+running[2]+":"+action[n%2], token, "{}") },
		})
	})
}

// BenchmarkCold is a hop, and a verb that the gateway refuses without a call, each over and over and
// then in turns with a direct call, as in the other benchmarks: what it costs that in between the
// process went to sleep, and others used the processors and their caches.
func BenchmarkCold(b *testing.B) {
	w := newWorld(b)
	token, one := w.login("one"), w.newOne()
	id := number(native(w.find(token, "one", "HELD", 1)[0]))
	hop := func(int) { w.get("/nothing") }
	refused := func(int) { w.do(http.StatusNotFound, "POST", "/vms/none.1:hold", token, "{}") }
	direct := func(int) { one.one("one.vm.info", id) }
	var alone, turns [2][]time.Duration
	n := 0
	for b.Loop() {
		for i, do := range []func(int){hop, refused} {
			for range 10 {
				do(n)
			}
			alone[i] = append(alone[i], timed(do, n))
		}
		for i, do := range []func(int){hop, refused} {
			direct(n)
			turns[i] = append(turns[i], timed(do, n))
		}
		n++
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range []string{"hop", "refused"} {
		b.ReportMetric(micros(median(alone[i])), name+"-alone-µs")
		b.ReportMetric(micros(median(turns[i])), name+"-in-turns-µs")
		b.ReportMetric(ratio(turns[i], alone[i]), name+"-in-turns/alone")
	}
}

// BenchmarkRead is one whole VM.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	w.startRelay()
	b.Run("opennebula", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		vm := w.find(token, "one", "RUNNING", 1)[0]
		id := number(native(vm))
		w.compare(work{
			backend: "one",
			direct:  func(int) { one.one("one.vm.info", id) },
			relay:   func(int) { w.ask("GET", w.relay+"/one/"+native(vm)) },
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms/"+vm+"?view=FULL", token, "") },
		})
	})
	b.Run("xenapi", func(b *testing.B) {
		w := w.in(b)
		token, xen := w.login("xen"), w.newXen()
		vm := w.find(token, "xen", "RUNNING", 1)[0]
		ref := xen.ref("VM", vm)
		w.compare(work{
			backend: "xen",
			direct:  func(int) { xen.vm(ref) },
			relay:   func(int) { w.ask("GET", w.relay+"/xen/"+ref) },
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms/"+vm+"?view=FULL", token, "") },
		})
	})
}

// BenchmarkList is a page of 100 of 10,000 VMs.
func BenchmarkList(b *testing.B) {
	w := newWorld(b)
	b.Run("opennebula", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		w.compare(work{
			backend: "one",
			slow:    true,
			direct:  func(int) { one.one("one.vmpool.info", -2, -1, -1, -1) },
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms?pageSize=100", token, "") },
		})
	})
	b.Run("xenapi", func(b *testing.B) {
		w := w.in(b)
		token, xen := w.login("xen"), w.newXen()
		const ordinary = `field "is_a_template" = "false" and field "is_a_snapshot" = "false" and field "is_control_domain" = "false"`
		w.compare(work{
			backend: "xen",
			slow:    true,
			direct: func(int) {
				xen.xen("VM.get_all_records_where", ordinary)
				xen.xen("host.get_all_records")
			},
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms?pageSize=100", token, "") },
		})
	})
}
