package opennebula

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// watching is a watch whose polls are told one by one.
type watching struct {
	*bench
	batches []backends.Batch // since the last look; written between two pauses only
	pauses  chan time.Duration
	ticks   chan time.Time
	ended   chan error
	stop    func()
	calls   []string
}

// watch begins a watch as s, and returns after its first poll.
func (b *bench) watch(s backends.Session) *watching {
	b.Helper()
	w := &watching{bench: b, pauses: make(chan time.Duration), ticks: make(chan time.Time), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(b.Context())
	w.stop = stop
	cfg := b.driver.cfg
	cfg.Timer = func(d time.Duration) (<-chan time.Time, func()) {
		select {
		case w.pauses <- d:
		case <-ctx.Done():
		}
		return w.ticks, func() {}
	}
	driver, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx = backends.WithObserver(ctx, func(c backends.Call) { w.calls = append(w.calls, c.Method) })
	go func() {
		w.ended <- driver.Watch(ctx, s, "", func(batch backends.Batch) error {
			w.batches = append(w.batches, batch)
			return nil
		})
	}()
	b.Cleanup(stop)
	w.polled()
	return w
}

// polled waits for the end of a poll and gives the pause after it.
func (w *watching) polled() time.Duration {
	w.Helper()
	select {
	case d := <-w.pauses:
		return d
	case err := <-w.ended:
		w.Fatalf("the watch ended: %v", err)
		return 0
	}
}

// poll lets one poll happen and gives what it handed over.
func (w *watching) poll() []backends.Batch {
	w.Helper()
	w.batches, w.calls = nil, nil
	w.ticks <- time.Time{}
	w.polled()
	return w.batches
}

// seen is a batch in short: "*" for a complete one, "3 RUNNING", "-3" for one that is gone.
func seen(batches []backends.Batch) []string {
	var all []string
	for _, b := range batches {
		if b.Complete {
			all = append(all, "*")
		}
		for _, vm := range b.VMs {
			all = append(all, vm.ID.Native+" "+string(vm.State))
		}
		for _, id := range b.Gone {
			all = append(all, "-"+id.Native)
		}
	}
	return all
}

func (w *watching) want(got []backends.Batch, want ...string) {
	w.Helper()
	slices.Sort(want)
	if all := seen(got); !slices.Equal(slices.Sorted(slices.Values(all)), want) {
		w.Errorf("handed over %q, want %q", all, want)
	}
	for _, b := range got {
		if b.Token != "" {
			w.Errorf("a token %q", b.Token)
		}
	}
}

func TestWatchTellsWhatDiffers(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		t.Run(release, func(t *testing.T) {
			b := newBench(t, release)
			running, off := b.running(), b.put(stPoweroff, 0)
			b.put(stDone, 0)
			w := b.watch(b.session)
			w.want(w.batches, "*", "0 RUNNING", "1 STOPPED")
			if first := w.batches[0].VMs[0]; first.DisplayName == nil || first.AllowedActions == nil || first.CreateTime == nil {
				t.Errorf("not the view BASIC: %+v", first)
			}
			w.want(w.poll())
			if !slices.Equal(w.calls, []string{"one.vmpool.info"}) {
				t.Errorf("a poll costs %v", w.calls)
			}
			b.do("shutdown", running, backends.Args{})
			w.want(w.poll(), "0 STOPPING")
			b.sim.Advance(time.Second)
			made := b.put(stHold, 0)
			w.want(w.poll(), "0 STOPPED", made.Native+" HELD")
			b.do(backends.VerbDelete, off, backends.Args{})
			b.sim.Advance(time.Second)
			w.want(w.poll(), "-1")
			w.want(w.poll())
		})
	}
}

func TestWatchSeesWhatItsUserMaySee(t *testing.T) {
	b := newBench(t, "6.10.0")
	alice, _ := b.as("alice")
	b.running()
	if _, err := b.sim.PutVM(onesim.VMSpec{Owner: "alice", State: onesim.Hold}); err != nil {
		t.Fatal(err)
	}
	w := b.watch(alice)
	w.want(w.batches, "*", "1 HELD")
}

// TestWatchOfNothing says that there is nothing.
func TestWatchOfNothing(t *testing.T) {
	b := newBench(t, "6.10.0")
	w := b.watch(b.session)
	w.want(w.batches, "*")
}

// TestABadVMSpoilsNoWatch puts VMs in that make oned fail to answer any list they are in, and heals
// one of them.
func TestABadVMSpoilsNoWatch(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 10 {
		b.put(stPoweroff, 0)
	}
	w := b.watch(b.session)
	bad := []int{b.poison(), b.poison()}
	b.put(stPoweroff, 0)
	w.want(w.poll(), "10 UNKNOWN", "11 UNKNOWN", "12 STOPPED")
	for round := range badAgainEvery {
		w.want(w.poll())
		if len(w.calls) > 4 {
			t.Fatalf("poll %d costs %v", round, w.calls)
		}
	}
	for _, r := range []request{
		{method: "one.vm.rename", args: []any{bad[1], "well"}},
		{method: "one.vm.action", args: []any{"terminate-hard", bad[0]}},
	} {
		if _, err := b.driver.integer(t.Context(), b.session, r); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for range badAgainEvery {
		got = append(got, seen(w.poll())...)
	}
	if !slices.Equal(got, []string{"11 PENDING", "-10"}) {
		t.Errorf("after they were healed: %q", got)
	}
	w.poll()
	if !slices.Equal(w.calls, []string{"one.vmpool.info"}) {
		t.Errorf("a poll costs %v again", w.calls)
	}
}

// poison makes a VM that no list can have.
func (b *bench) poison() int {
	b.Helper()
	n, err := b.driver.integer(b.Context(), b.session, request{method: "one.vm.allocate",
		args: []any{"<TEMPLATE><NAME>&#x1F600;</NAME><CPU>1</CPU><MEMORY>64</MEMORY></TEMPLATE>", false}})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// TestDamageStaysInItsVMWhenWatched gives answers in which VMs are broken, in the end so far that
// nobody can tell which one it is.
func TestDamageStaysInItsVMWhenWatched(t *testing.T) {
	b := newBench(t, "6.10.0")
	answer := func(vms ...string) {
		b.sim.Inject(onesim.Fault{Method: "one.vmpool.info", Garbage: reply("<VM_POOL>" + strings.Join(vms, "") + "</VM_POOL>")})
	}
	answer(vmText(1, "a"), vmText(2, "b"), vmText(3, "c"))
	w := b.watch(b.session)
	w.want(w.batches, "*", "1 RUNNING", "2 RUNNING", "3 RUNNING")
	broken := `<VM><ID>2</ID><NAME>b&nope;</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>`
	answer(vmText(1, "a"), broken)
	w.want(w.poll(), "2 UNKNOWN", "-3")
	answer(vmText(1, "a"), broken)
	w.want(w.poll())
	answer(vmText(1, "z"), `<VM><NAME>b</NAME></VM>`)
	w.want(w.poll(), "1 RUNNING")
	answer(vmText(1, "z"), vmText(2, "b"))
	w.want(w.poll(), "2 RUNNING")
}

func TestAWatchEnds(t *testing.T) {
	b := newBench(t, "6.10.0")
	b.running()
	enough := errors.New("enough")
	if err := b.driver.Watch(t.Context(), b.session, "", func(backends.Batch) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("ended with %v, want what emit gave", err)
	}
	w := b.watch(b.session)
	w.stop()
	if err := <-w.ended; !errors.Is(err, context.Canceled) || backends.CodeOf(err) == backends.Internal {
		t.Errorf("ended with %v, want the context's end", err)
	}
	w = b.watch(b.session)
	if err := b.driver.Logout(t.Context(), b.session); err != nil {
		t.Fatal(err)
	}
	w.ticks <- time.Time{}
	if err := <-w.ended; backends.CodeOf(err) != backends.BackendSessionEnded {
		t.Errorf("ended with %v, want %s", err, backends.BackendSessionEnded)
	}
	b.sim.Close()
	if err := b.driver.Watch(t.Context(), b.session, "", nil); backends.CodeOf(err) != backends.BackendUnavailable {
		t.Errorf("ended with %v, want %s", err, backends.BackendUnavailable)
	}
}

func TestGaps(t *testing.T) {
	for _, row := range []struct {
		ids  []int
		want []part
	}{
		{nil, []part{everyID}},
		{[]int{0}, []part{{1, everyID.to}}},
		{[]int{3, 4, 7}, []part{{0, 2}, {5, 6}, {8, everyID.to}}},
		{[]int{everyID.to}, []part{{0, everyID.to - 1}}},
	} {
		if got := gaps(row.ids); !slices.Equal(got, row.want) {
			t.Errorf("%v: %v, want %v", row.ids, got, row.want)
		}
	}
}

// BenchmarkWatch is the driver's part of one poll of 10,000 VMs, of which share are different.
func BenchmarkWatch(b *testing.B) {
	sim, err := onesim.Start(onesim.Config{VMs: 10_000, Hosts: 50, Clock: onesim.NewClock(start0)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(sim.Close)
	answers := map[string][]byte{}
	for _, method := range []string{"one.system.version", "one.vmpool.info"} {
		args := map[string]string{"one.vmpool.info": strings.Repeat("<param><value><i4>-1</i4></value></param>", 4)}[method]
		args = strings.Replace(args, "-1", "-2", 1)
		res, err := http.Post(sim.URL(), "text/xml", strings.NewReader("<?xml version=\"1.0\"?><methodCall><methodName>"+method+
			"</methodName><params><param><value><string>oneadmin:opennebula</string></value></param>"+args+"</params></methodCall>"))
		if err != nil {
			b.Fatal(err)
		}
		if answers[method], err = io.ReadAll(res.Body); err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
	}
	for _, changed := range []int{0, 100, 10_000} {
		b.Run(strconv.Itoa(changed)+" changed", func(b *testing.B) {
			flip := false
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				request, _ := io.ReadAll(r.Body)
				method := "one.system.version"
				if bytes.Contains(request, []byte("vmpool")) {
					method = "one.vmpool.info"
				}
				body := answers[method]
				if flip = !flip; flip {
					body = bytes.Replace(body, []byte("&lt;LAST_POLL&gt;"), []byte("&lt;LAST_POLL&gt;1"), changed)
				}
				w.Header().Set("Content-Type", "text/xml")
				_, _ = w.Write(body)
			}))
			defer server.Close()
			endpoint, err := url.Parse(server.URL)
			if err != nil {
				b.Fatal(err)
			}
			tick := make(chan time.Time)
			close(tick)
			driver, err := New(Config{Name: "one", Endpoints: []*url.URL{endpoint}, Timer: func(time.Duration) (<-chan time.Time, func()) { return tick, func() {} }})
			if err != nil {
				b.Fatal(err)
			}
			w := newWatcher(driver, backends.NewSession("a:b"), newest)
			if _, err := w.poll(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(answers["one.vmpool.info"])))
			b.ReportAllocs()
			for b.Loop() {
				batch, err := w.poll(b.Context())
				if err != nil || len(batch.VMs) != changed {
					b.Fatalf("%d VMs, %v", len(batch.VMs), err)
				}
			}
		})
	}
}
