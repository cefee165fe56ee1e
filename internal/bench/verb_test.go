package bench

import (
	"iter"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"vmgateway/internal/backends/wire"
)

// work is the same thing to do in two ways. Both are told how often they were called before.
type work struct {
	backend string
	slow    bool // takes part of a second: warmed up less
	direct  func(n int)
	gateway func(n int)
}

// compare does both in turns. It reports the medians of each, and of the difference within a turn:
// what the gateway adds. A turn also has a request for nothing at all, to a server in the
// simulators' process: what any further hop would add, whatever it does.
func (w *world) compare(do work) {
	b := w.b
	b.Helper()
	w.checkSameCalls(do)
	var direct, gateway, added, hop []time.Duration
	n := 0
	for b.Loop() {
		var d, g time.Duration
		if n%4 < 2 { // verbs alternate with n, so that each is as often first as last
			d, g = timed(do.direct, n), timed(do.gateway, n)
		} else {
			g, d = timed(do.gateway, n), timed(do.direct, n)
		}
		direct, gateway, added = append(direct, d), append(gateway, g), append(added, g-d)
		hop = append(hop, timed(func(int) { w.get("/nothing") }, n))
		n++
	}
	b.ReportMetric(0, "ns/op") // a turn is no unit of anything
	b.ReportMetric(micros(median(direct)), "direct-µs")
	b.ReportMetric(micros(median(gateway)), "gateway-µs")
	b.ReportMetric(micros(median(added)), "added-µs")
	b.ReportMetric(micros(median(hop)), "hop-µs")
	b.ReportMetric(float64(median(gateway))/float64(median(direct)), "gateway/direct")
}

// checkSameCalls fails when the gateway makes other calls than those it is compared with.
func (w *world) checkSameCalls(do work) {
	w.b.Helper()
	times := 20 // an even number
	if do.slow {
		times = 2
	}
	var made [2]map[string]int
	for i, f := range []func(int){do.direct, do.gateway} {
		for n := range times {
			f(n)
		}
		before := w.calls(do.backend)
		for n := range times {
			f(n)
		}
		made[i] = w.calls(do.backend)
		for method, n := range before {
			if made[i][method] -= n; made[i][method] == 0 {
				delete(made[i], method)
			}
		}
	}
	for _, m := range made {
		if m[look] >= times {
			delete(m, look) // how often depends on when the task ends
		}
	}
	if !maps.Equal(made[0], made[1]) {
		w.b.Fatalf("calls in %d times: %v directly, %v through the gateway", times, made[0], made[1])
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
	b.Run("opennebula-hold-release", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		held := w.find(token, "one", "HELD", 2)
		id, err := strconv.Atoi(native(held[0]))
		check(b, err)
		action := []string{"release", "hold"}
		w.compare(work{
			backend: "one",
			direct:  func(n int) { one.one("one.vm.action", action[n%2], id) },
			gateway: func(n int) { w.do(http.StatusAccepted, "POST", "/vms/"+held[1]+":"+action[n%2], token, "{}") },
		})
	})
	b.Run("xenapi-pause-unpause", func(b *testing.B) {
		w := w.in(b)
		token, xen := w.login("xen"), w.newXen()
		running := w.find(token, "xen", "RUNNING", 2)
		ref := xen.str(xen.xen("VM.get_by_uuid", native(running[0])))
		action := []string{"pause", "unpause"}
		w.compare(work{
			backend: "xen",
			direct:  func(n int) { xen.async("VM."+action[n%2], ref) },
			gateway: func(n int) { w.do(http.StatusAccepted, "POST", "/vms/"+running[1]+":"+action[n%2], token, "{}") },
		})
	})
}

const look = "task.get_record"

// async does as a task what ends at once, reads how it ended, and destroys the task.
func (c *caller) async(method string, args ...any) {
	c.b.Helper()
	task := c.str(c.xen("Async."+method, args...))
	for {
		status := c.str(c.member(c.xen(look, task), "status"))
		if status == "success" {
			break
		}
		if status != "pending" {
			c.b.Fatalf("%s: %s", method, status)
		}
		time.Sleep(5 * time.Millisecond) // as the driver does
	}
	c.xen("task.destroy", task)
}

// BenchmarkRead is one whole VM.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	b.Run("opennebula", func(b *testing.B) {
		w := w.in(b)
		token, one := w.login("one"), w.newOne()
		vm := w.find(token, "one", "RUNNING", 1)[0]
		id, err := strconv.Atoi(native(vm))
		check(b, err)
		w.compare(work{
			backend: "one",
			direct:  func(int) { one.one("one.vm.info", id) },
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms/"+vm+"?view=FULL", token, "") },
		})
	})
	b.Run("xenapi", func(b *testing.B) {
		w := w.in(b)
		token, xen := w.login("xen"), w.newXen()
		vm := w.find(token, "xen", "RUNNING", 1)[0]
		ref := xen.str(xen.xen("VM.get_by_uuid", native(vm)))
		w.compare(work{
			backend: "xen",
			direct:  func(int) { xen.vm(ref) },
			gateway: func(int) { w.do(http.StatusOK, "GET", "/vms/"+vm+"?view=FULL", token, "") },
		})
	})
}

// vm reads a VM with its devices and the names of what it is connected to.
func (c *caller) vm(ref string) {
	vm := c.xen("VM.get_record", ref)
	c.xen("host.get_name_label", c.str(c.member(vm, "resident_on")))
	for vbd := range c.refs(vm, "VBDs") {
		if vdi := c.str(c.member(c.xen("VBD.get_record", vbd), "VDI")); vdi != noRef {
			c.xen("SR.get_name_label", c.str(c.member(c.xen("VDI.get_record", vdi), "SR")))
		}
	}
	for vif := range c.refs(vm, "VIFs") {
		c.xen("network.get_name_label", c.str(c.member(c.xen("VIF.get_record", vif), "network")))
	}
	c.xen("VM_guest_metrics.get_record", c.str(c.member(vm, "guest_metrics")))
}

const noRef = "OpaqueRef:NULL"

func (c *caller) refs(v wire.Value, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item, err := range c.member(v, name).Items() {
			check(c.b, err)
			if !yield(c.str(item)) {
				return
			}
		}
	}
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
