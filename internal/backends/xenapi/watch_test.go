package xenapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// watch is a watch whose batches are taken one by one.
type watch struct {
	*world
	batches chan backends.Batch
	ended   chan error
	stop    context.CancelFunc
}

func (w *world) watch(token string) *watch {
	ctx, stop := context.WithCancel(w.Context())
	f := &watch{world: w, batches: make(chan backends.Batch), ended: make(chan error, 1), stop: stop}
	w.Cleanup(stop)
	go func() {
		f.ended <- w.d.Watch(ctx, w.s, token, func(b backends.Batch) error {
			select {
			case f.batches <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return f
}

func (f *watch) next() backends.Batch {
	f.Helper()
	select {
	case b := <-f.batches:
		checkBatch(f.T, b)
		return b
	case err := <-f.ended:
		f.Fatalf("the watch ended: %v", err)
	case <-f.Context().Done():
		f.Fatal("no batch came")
	}
	return backends.Batch{}
}

// until takes batches until one of them, or all together, have what is waited for.
func (f *watch) until(found func(backends.Batch) bool) backends.Batch {
	f.Helper()
	for {
		if b := f.next(); found(b) {
			return b
		}
	}
}

func (f *watch) end() error {
	f.stop()
	return <-f.ended
}

// checkBatch checks what is true of every batch.
func checkBatch(t *testing.T, b backends.Batch) {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Error(err)
	}
	if strings.Contains(string(text), "OpaqueRef") {
		t.Errorf("a batch holds a reference: %s", text)
	}
	seen := map[backends.ID]bool{}
	for _, vm := range b.VMs {
		if seen[vm.ID] {
			t.Errorf("%s stands in a batch twice", vm.ID)
		}
		seen[vm.ID] = true
		if vm.Template != nil && *vm.Template || vm.Snapshot != nil && *vm.Snapshot || vm.ControlDomain != nil && *vm.ControlDomain {
			t.Errorf("%s is none that lists show", vm.ID)
		}
	}
	for _, id := range b.Gone {
		if seen[id] {
			t.Errorf("%s stands in a batch twice", id)
		}
		seen[id] = true
	}
}

func find(b backends.Batch, id backends.ID) *backends.VM {
	if i := slices.IndexFunc(b.VMs, func(vm *backends.VM) bool { return vm.ID == id }); i >= 0 {
		return b.VMs[i]
	}
	return nil
}

func shows(id backends.ID, state backends.State) func(backends.Batch) bool {
	return func(b backends.Batch) bool {
		vm := find(b, id)
		return vm != nil && vm.State == state
	}
}

func goneIn(id backends.ID) func(backends.Batch) bool {
	return func(b backends.Batch) bool { return slices.Contains(b.Gone, id) }
}

// listed is what a list shows, as JSON by id.
func (w *world) listed() map[backends.ID]string {
	w.Helper()
	all := map[backends.ID]string{}
	for vm, err := range w.d.VMs(w.Context(), w.s, backends.Query{View: backends.ViewBasic}) {
		if err != nil {
			w.Fatal(err)
		}
		all[vm.ID] = w.json(vm)
	}
	return all
}

func (w *world) json(vm *backends.VM) string {
	w.Helper()
	text, err := json.Marshal(vm)
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

func (w *world) sameAsListed(b backends.Batch) {
	w.Helper()
	want := w.listed()
	if !b.Complete || len(b.VMs) != len(want) {
		w.Errorf("complete %v with %d VMs, listed %d", b.Complete, len(b.VMs), len(want))
	}
	for _, vm := range b.VMs {
		if got := w.json(vm); got != want[vm.ID] {
			w.Errorf("watched %s\nlisted  %s", got, want[vm.ID])
		}
	}
}

func TestWatchBeginsWithAllThatListsShow(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 120})
	id := w.put(xensim.VMSpec{PowerState: "Suspended"})
	b := w.watch("").next()
	w.sameAsListed(b)
	if find(b, id) == nil || b.Token == "" || strings.Contains(b.Token, "OpaqueRef") {
		t.Errorf("token %q", b.Token)
	}
}

func TestWatchTellsWhatHappens(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 3})
	id := w.put(xensim.VMSpec{Name: "web"})
	f := w.watch("")
	f.next()

	w.do("start", id, backends.Args{})
	b := f.until(shows(id, backends.StateRunning))
	if b.Complete || len(b.VMs) != 1 || w.json(b.VMs[0]) != w.listed()[id] {
		t.Errorf("after a start: %+v", b)
	}

	made := *w.do("clone", id2(w), backends.Args{DisplayName: ptr("new")}).Result.VM
	f.until(shows(made, backends.StateStopped))

	if err := w.d.Patch(t.Context(), w.s, made, []backends.Change{{Path: "template", Value: true}}); err != nil {
		t.Fatal(err)
	}
	f.until(goneIn(made))
	if err := w.d.Patch(t.Context(), w.s, made, []backends.Change{{Path: "template", Value: false}}); err != nil {
		t.Fatal(err)
	}
	f.until(shows(made, backends.StateStopped))
	w.do(backends.VerbDelete, made, backends.Args{})
	f.until(goneIn(made))

	if n := w.sim.Calls("VM.get_all_records_where") + w.sim.Calls("host.get_all_records"); n > 3 {
		t.Errorf("%d lists were read for single VMs", n)
	}
	if err := f.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// id2 is a halted VM beside that of the test.
func id2(w *world) backends.ID { return w.put(xensim.VMSpec{Name: "other"}) }

func TestWatchTellsProgressOfTasks(t *testing.T) {
	clock := xensim.NewClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	w := newWorld(t, xensim.Config{Clock: clock, Durations: &xensim.Durations{Migrate: 10 * time.Second}})
	w.d.cfg.Grace = time.Millisecond
	id := w.put(xensim.VMSpec{PowerState: "Running"})
	target := w.otherHost(id)
	f := w.watch("")
	f.next()
	got, err := w.d.Do(t.Context(), w.s, "migrate", id, backends.Args{Host: &target})
	if err != nil {
		t.Fatal(err)
	}
	o := got.(*backends.Operation)
	task := func(b backends.Batch) (backends.TaskChange, bool) {
		i := slices.IndexFunc(b.Tasks, func(c backends.TaskChange) bool { return strings.HasSuffix(o.ID.Native, c.Name) })
		if i < 0 {
			return backends.TaskChange{}, false
		}
		return b.Tasks[i], true
	}
	b := f.until(func(b backends.Batch) bool { _, ok := task(b); return ok })
	if c, _ := task(b); c.Ended || c.Progress == nil || *c.Progress > 0.5 {
		t.Errorf("at the start: %+v", c)
	}
	clock.Advance(10 * time.Second)
	b = f.until(func(b backends.Batch) bool { c, ok := task(b); return ok && c.Ended })
	if c, _ := task(b); c.Progress != nil {
		t.Errorf("at the end: %+v", c)
	}
}

func (w *world) otherHost(id backends.ID) backends.ID {
	w.Helper()
	on := w.vm(id).Host.ID
	all := w.hosts()
	i := slices.IndexFunc(all, func(h backends.ID) bool { return h != on })
	if i < 0 {
		w.Fatal("there is only one host")
	}
	return all[i]
}

func TestWatchGoesOnFromItsToken(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 5})
	changed, deleted, calm := w.put(xensim.VMSpec{}), w.put(xensim.VMSpec{}), w.put(xensim.VMSpec{})
	f := w.watch("")
	token := f.next().Token
	if err := f.end(); err == nil {
		t.Error("no error of a watch that was ended")
	}

	again := w.watch(token)
	if b := again.next(); b.Complete || len(b.VMs)+len(b.Gone) > 0 || b.Token == "" {
		t.Errorf("when nothing happened: %+v", b)
	}
	if err := again.end(); err == nil {
		t.Error("no error of a watch that was ended")
	}

	w.do("start", changed, backends.Args{})
	w.do(backends.VerbDelete, deleted, backends.Args{})
	b := w.watch(token).next()
	if b.Complete || !shows(changed, backends.StateRunning)(b) || !goneIn(deleted)(b) || find(b, calm) != nil || len(b.VMs) != 1 {
		t.Errorf("what happened in between: %+v", b)
	}
}

func TestWatchIsCompleteWhenItsTokenIsWorthNothing(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 4})
	token := func(id backends.ID) string {
		f := w.watch("")
		b := f.next()
		if find(b, id) == nil {
			t.Fatalf("%s is not there", id)
		}
		if err := f.end(); err == nil {
			t.Error("no error of a watch that was ended")
		}
		return b.Token
	}
	id := w.put(xensim.VMSpec{})
	good := token(id)
	instance, rest, _ := strings.Cut(good, "/")
	objects, at, _ := strings.Cut(rest, "/")
	for _, tt := range []struct{ name, token string }{
		{"not one of ours", "garbage"},
		{"another instance's", "0123456789abcdef/" + objects + "/" + at},
		{"one with another number of VMs", instance + "/1/" + at},
		{"one that xapi cannot read", instance + "/" + objects + "/x"},
		{"one of the future", instance + "/" + objects + "/00000000000099999999,00000000000000000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.on(t)
			w.sameAsListed(w.watch(tt.token).next())
		})
	}
	t.Run("one of before a restart", func(t *testing.T) {
		w.do(backends.VerbDelete, id, backends.Args{})
		w.sim.Restart()
		// A driver of its own: the connections of the other may not be known to be cut yet.
		login, err := newDriver(t, w.sim.URL()).Login(t.Context(), "root", "xenroot")
		if err != nil {
			t.Fatal(err)
		}
		w.s = login.Session
		w := w.on(t)
		b := w.watch(good).next()
		w.sameAsListed(b)
		if find(b, id) != nil {
			t.Error("a deleted VM is there")
		}
	})
	t.Run("a VM was deleted whose reference nobody remembers", func(t *testing.T) {
		w := w.on(t)
		id := w.put(xensim.VMSpec{})
		token := token(id)
		w.do(backends.VerbDelete, id, backends.Args{})
		w.d.refs = newRefs()
		w.sameAsListed(w.watch(token).next())
	})
}

func TestWatchEndsWithWhatEndedIt(t *testing.T) {
	start := func(t *testing.T) *watch {
		w := newWorld(t, xensim.Config{VMs: 1})
		f := w.watch("")
		f.next()
		return f
	}
	t.Run("the session", func(t *testing.T) {
		f := start(t)
		if err := f.d.Logout(t.Context(), f.s); err != nil {
			t.Fatal(err)
		}
		if err := <-f.ended; backends.CodeOf(err) != backends.BackendSessionEnded {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("a restart", func(t *testing.T) {
		f := start(t)
		f.sim.Restart()
		err := <-f.ended
		if code := backends.CodeOf(err); code != backends.BackendUnavailable && code != backends.BackendSessionEnded {
			t.Errorf("ended with %v", err)
		}
		if backends.AsError(err).MaybeDone {
			t.Errorf("nothing was to be done: %v", err)
		}
	})
	t.Run("emit", func(t *testing.T) {
		w := newWorld(t, xensim.Config{})
		enough := errors.New("enough")
		if err := w.d.Watch(t.Context(), w.s, "", func(backends.Batch) error { return enough }); err != enough {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWatchSurvivesALostSubscription(t *testing.T) {
	for _, code := range []string{"EVENT_SUBSCRIPTION_FAILURE", "EVENT_FROM_TOKEN_PARSE_FAILURE", "EVENTS_LOST"} {
		t.Run(code, func(t *testing.T) {
			w := newWorld(t, xensim.Config{VMs: 2})
			f := w.watch("")
			f.next()
			w.sim.Inject(xensim.Fault{Method: eventFrom, Code: code})
			w.put(xensim.VMSpec{})
			w.sameAsListed(f.until(func(b backends.Batch) bool { return b.Complete }))

			other := newWorld(t, xensim.Config{})
			other.sim.Inject(xensim.Fault{Method: eventFrom, Code: code})
			if err := <-other.watch("").ended; err == nil {
				t.Error("what cannot begin did not end")
			}
		})
	}
}

// A watch holds a connection for as long as it goes on, and it must be none of those on which calls
// are made.
func TestWatchesLeaveTheConnectionsToOthers(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 1})
	cfg := w.d.cfg
	cfg.MaxConns = 1
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	w.d = d
	var watches []*watch
	for range 5 {
		f := w.watch("")
		f.next()
		watches = append(watches, f)
	}
	id := w.put(xensim.VMSpec{})
	if got := w.vm(id).State; got != backends.StateStopped {
		t.Errorf("state %s", got)
	}
	for _, f := range watches {
		f.until(shows(id, backends.StateStopped))
		if err := f.end(); err == nil {
			t.Error("no error of a watch that was ended")
		}
	}
}

func TestWatchDecodesOnlyWhatChanged(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 200})
	f := w.watch("")
	all := f.next().VMs
	before := w.sim.CallCounts()
	for _, vm := range all[:100] {
		w.sim.SetState(vm.ID.Native, "Paused")
	}
	seen := map[backends.ID]bool{}
	f.until(func(b backends.Batch) bool {
		for _, vm := range b.VMs {
			seen[vm.ID] = true
		}
		return len(seen) >= 100
	})
	if len(seen) != 100 {
		t.Errorf("%d VMs were handed over", len(seen))
	}
	for method, n := range w.sim.CallCounts() {
		if strings.HasSuffix(method, ".get_all_records") && n-before[method] > 10 {
			t.Errorf("%d calls of %s", n-before[method], method)
		}
	}
}

// answers is a backend that answers event.from in turn, and the rest as a coordinator would.
func answers(t *testing.T, replies ...string) *world {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := r.Body.Read(body); err != nil && !strings.Contains(err.Error(), "EOF") {
			t.Error(err)
		}
		reply := `<struct><member><name>agent_start_time</name><value>1.</value></member></struct>`
		switch text := string(body); {
		case strings.Contains(text, "get_this_host"):
			reply = "OpaqueRef:host"
		case strings.Contains(text, eventFrom):
			n := int(asked.Add(1)) - 1
			if n >= len(replies) {
				<-r.Context().Done()
				return
			}
			reply = replies[n]
		}
		rw.Header().Set("Content-Type", "text/xml")
		_, err := fmt.Fprintf(rw, `<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>`+
			`<member><name>Value</name><value>%s</value></member></struct></value></param></params></methodResponse>`, reply)
		if err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.CloseClientConnections)
	return &world{T: t, d: newDriver(t, server.URL), s: backends.NewSession("OpaqueRef:session")}
}

// batchOf is an answer of event.from's.
func batchOf(token, vms int, events ...string) string {
	return fmt.Sprintf(`<struct><member><name>events</name><value><array><data>%s</data></array></value></member>`+
		`<member><name>valid_ref_counts</name><value><struct><member><name>vm</name><value><i4>%d</i4></value></member></struct></value></member>`+
		`<member><name>token</name><value>%020d,%020d</value></member></struct>`, strings.Join(events, ""), vms, token, 0)
}

func vmEvent(operation string, n int, power, more string) string {
	snapshot := ""
	if operation != "del" {
		snapshot = fmt.Sprintf(`<member><name>snapshot</name><value><struct><member><name>uuid</name><value>%s</value></member>`+
			`<member><name>power_state</name><value>%s</value></member>%s</struct></value></member>`, uuidNumber(n), power, more)
	}
	return fmt.Sprintf(`<value><struct><member><name>class</name><value>vm</value></member><member><name>operation</name><value>%s</value></member>`+
		`<member><name>ref</name><value>OpaqueRef:%d</value></member>%s</struct></value>`, operation, n, snapshot)
}

func uuidNumber(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }

func numbered(n int) backends.ID { return backends.ID{Backend: "xen", Native: uuidNumber(n)} }

func TestWatchTakesAnObjectOnceAsItEnds(t *testing.T) {
	w := answers(t,
		batchOf(1, 2, vmEvent("add", 1, "Halted", ""), vmEvent("add", 2, "Halted", "")),
		batchOf(2, 2, vmEvent("add", 3, "Halted", ""), vmEvent("mod", 3, "Running", ""), vmEvent("mod", 2, "Running", ""), vmEvent("del", 2, "", ""), vmEvent("mod", 2, "Halted", "")),
	)
	f := w.watch("")
	f.next()
	b := f.next()
	if b.Complete || len(b.VMs) != 1 || !shows(numbered(3), backends.StateRunning)(b) || !goneIn(numbered(2))(b) {
		t.Errorf("batch %+v", b)
	}
}

func TestWatchSeesWhenDeletionsWereLost(t *testing.T) {
	all := []string{vmEvent("add", 1, "Halted", ""), vmEvent("add", 2, "Halted", "")}
	for name, replies := range map[string][]string{
		"the count":     {batchOf(1, 2, all...), batchOf(2, 1), batchOf(2, 1, all[0])},
		"going back":    {batchOf(5, 2, all...), batchOf(2, 2), batchOf(2, 1, all[0])},
		"never heard":   {batchOf(1, 2, all...), batchOf(2, 1, vmEvent("del", 9, "", "")), batchOf(2, 1, all[0])},
		"in the middle": {batchOf(1, 2, all...), batchOf(2, 3, vmEvent("mod", 1, "Running", "")), batchOf(2, 1, all[0])},
	} {
		t.Run(name, func(t *testing.T) {
			f := answers(t, replies...).watch("")
			f.next()
			if b := f.next(); !b.Complete || len(b.VMs) != 1 || b.VMs[0].ID != numbered(1) {
				t.Errorf("batch %+v", b)
			}
		})
	}
}

func TestWatchHandsOverWhatNobodyCanRead(t *testing.T) {
	const broken = `<member><name>VCPUs_max</name><value>many</value></member>`
	const template = `<member><name>is_a_template</name><value><boolean>1</boolean></value></member>`
	w := answers(t, batchOf(1, 3, vmEvent("add", 1, "Halted", ""), vmEvent("add", 2, "Halted", broken), vmEvent("add", 3, "Halted", broken+template)))
	b := w.watch("").next()
	if len(b.VMs) != 2 || !shows(numbered(1), backends.StateStopped)(b) || !shows(numbered(2), backends.StateUnknown)(b) {
		t.Errorf("batch %+v", b)
	}
}

func TestRecordedEvents(t *testing.T) {
	for file, want := range map[string]struct {
		vms, tasks int
		state      backends.State
	}{
		"events-first":    {1, 0, backends.StateStopped},
		"events-mod":      {1, 0, backends.StateStopped},
		"events-tasks":    {1, 13, backends.StateStopped},
		"events-start":    {1, 0, backends.StateRunning},
		"events-shutdown": {1, 0, backends.StateStopped},
	} {
		t.Run(file, func(t *testing.T) {
			l := replay(t, load(t, filepath.Join("testdata", file+".json")))
			w := &watcher{names: l.names(false), vms: map[string]sighting{}, tasks: map[string]taskSighting{}}
			b, err := w.next(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			checkBatch(t, *b)
			if len(b.VMs) != want.vms || len(b.Tasks) != want.tasks || b.VMs[0].State != want.state {
				t.Errorf("%d VMs, %d tasks, state %s", len(b.VMs), len(b.Tasks), b.VMs[0].State)
			}
			if w.at.objects != 45 || w.at.token == "" {
				t.Errorf("at %+v", w.at)
			}
		})
	}
}

// xapi answers half a second later than it was asked to; that must not be taken for a failure.
func TestWatchWaitsLessThanACallMayTake(t *testing.T) {
	const added = 500 * time.Millisecond
	for _, timeout := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, defaultTimeout, time.Hour} {
		d := newDriver(t, "http://127.0.0.1:1")
		d.cfg.Timeout = timeout
		if wait := d.longestWait(); wait <= 0 || wait > longestWait || wait+added >= timeout {
			t.Errorf("waits %s when a call may take %s", wait, timeout)
		}
	}
}

// Cancelling the context ends a watch that waits, and leaves no connection behind.
func TestWatchLeavesNoConnection(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 1})
	d := newDriver(t, w.sim.URL())
	w.d = d
	f := w.watch("")
	f.next()
	if err := f.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	d.Close()
	w.put(xensim.VMSpec{})        // the other side answers, and finds nobody
	for w.sim.Connections() > 1 { // that of the driver that logged in
		if t.Context().Err() != nil {
			t.Fatal("a connection is left")
		}
		runtime.Gosched()
	}
}
