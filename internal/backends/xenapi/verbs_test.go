package xenapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/xenapi/xensim"
)

func ptr[T any](v T) *T { return &v }

func (w *world) hosts() []backends.ID {
	var ids []backends.ID
	for _, uuid := range w.sim.Hosts() {
		ids = append(ids, backends.ID{Backend: "xen", Native: uuid})
	}
	return ids
}

const missing = "11111111-2222-3333-4444-555555555555"

func missingID() *backends.ID { return &backends.ID{Backend: "xen", Native: missing} }

func TestVerbs(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	hosts := w.hosts()
	tests := []struct {
		name, from string
		verb       backends.Verb
		args       backends.Args
		to         backends.State
		message    string // that has gone out
	}{
		{"start", "Halted", "start", backends.Args{}, backends.StateRunning, "Async.VM.start"},
		{"start paused", "Halted", "start", backends.Args{StartPaused: ptr(true), Force: ptr(true)}, backends.StatePaused, "Async.VM.start"},
		{"start on", "Halted", "start", backends.Args{Host: &hosts[1]}, backends.StateRunning, "Async.VM.start_on"},
		{"shutdown", "Running", "shutdown", backends.Args{}, backends.StateStopped, "Async.VM.shutdown"},
		{"shutdown graceful", "Running", "shutdown", backends.Args{Mode: "GRACEFUL"}, backends.StateStopped, "Async.VM.clean_shutdown"},
		{"shutdown force", "Suspended", "shutdown", backends.Args{Mode: "FORCE"}, backends.StateStopped, "Async.VM.hard_shutdown"},
		{"reboot", "Running", "reboot", backends.Args{}, backends.StateRunning, "Async.VM.clean_reboot"},
		{"reboot force", "Paused", "reboot", backends.Args{Mode: "FORCE"}, backends.StateRunning, "Async.VM.hard_reboot"},
		{"suspend", "Running", "suspend", backends.Args{}, backends.StateSuspended, "Async.VM.suspend"},
		{"resume", "Suspended", "resume", backends.Args{}, backends.StateRunning, "Async.VM.resume"},
		{"resume on", "Suspended", "resume", backends.Args{Host: &hosts[0]}, backends.StateRunning, "Async.VM.resume_on"},
		{"resume a paused VM", "Paused", "resume", backends.Args{}, backends.StateRunning, "Async.VM.unpause"},
		{"pause", "Running", "pause", backends.Args{}, backends.StatePaused, "Async.VM.pause"},
		{"unpause", "Paused", "unpause", backends.Args{}, backends.StateRunning, "Async.VM.unpause"},
		{"migrate", "Running", "migrate", backends.Args{Host: &hosts[1], Compress: ptr(false)}, backends.StateRunning, "Async.VM.pool_migrate"},
		{"resize live", "Running", "resize", backends.Args{VCPUs: ptr(int64(1))}, backends.StateRunning, "Async.VM.set_VCPUs_number_live"},
		{"resize", "Halted", "resize", backends.Args{VCPUs: ptr(int64(9)), Memory: &backends.Memory{DynamicMaxBytes: ptr(int64(3 << 30))}}, backends.StateStopped, "VM.set_memory_limits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.on(t)
			id := w.put(xensim.VMSpec{PowerState: tt.from})
			before := w.sim.Calls(tt.message)
			w.do(tt.verb, id, tt.args)
			vm := w.vm(id)
			if vm.State != tt.to {
				t.Errorf("the VM is %s, want %s", vm.State, tt.to)
			}
			if tt.args.Host != nil && (vm.Host == nil || vm.Host.ID != *tt.args.Host) {
				t.Errorf("the VM is on %v", vm.Host)
			}
			if w.sim.Calls(tt.message) == before {
				t.Errorf("no %s has gone out: %v", tt.message, w.sim.CallCounts())
			}
		})
	}
	if got := w.sim.Tasks(); got != 0 {
		t.Errorf("%d tasks are left", got)
	}
	if w.sim.ColdMigrations() != 0 {
		t.Error("a migration was not live")
	}
}

func TestResizedValues(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{Memory: 1 << 30, VCPUs: 2})
	w.do("resize", id, backends.Args{VCPUs: ptr(int64(6)), Memory: &backends.Memory{DynamicMaxBytes: ptr(int64(3 << 30))}})
	vm := w.vm(id)
	if *vm.CPU.VCPUs != 6 || *vm.CPU.MaxVCPUs != 6 || *vm.Memory.DynamicMaxBytes != 3<<30 || *vm.Memory.StaticMaxBytes != 3<<30 {
		t.Errorf("cpu %d/%d, memory %d/%d", *vm.CPU.VCPUs, *vm.CPU.MaxVCPUs, *vm.Memory.DynamicMaxBytes, *vm.Memory.StaticMaxBytes)
	}
	live := w.put(xensim.VMSpec{Memory: 2 << 30, VCPUs: 2, PowerState: "Running"})
	e := w.refused("resize", live, backends.Args{Memory: &backends.Memory{DynamicMaxBytes: ptr(int64(4 << 30))}}, backends.Unprocessable)
	if len(e.Fields) != 1 || e.Fields[0].Pointer != "/memory/dynamicMaxBytes" {
		t.Errorf("fields %v", e.Fields)
	}
	w.refused("resize", live, backends.Args{VCPUs: ptr(int64(9))}, backends.Unprocessable)
	w.refused("resize", live, backends.Args{Memory: &backends.Memory{StaticMaxBytes: ptr(int64(4 << 30))}}, backends.WrongState)
	w.refused("resize", id, backends.Args{Live: ptr(true), VCPUs: ptr(int64(1))}, backends.WrongState)
	w.refused("resize", id, backends.Args{}, backends.InvalidArgument)
}

func TestCopies(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{Name: "web"})
	o := w.do("clone", id, backends.Args{DisplayName: ptr("clone of web")})
	if o.Result == nil || o.Result.VM == nil || *w.vm(*o.Result.VM).DisplayName != "clone of web" {
		t.Errorf("result %+v", o.Result)
	}
	o = w.do("copy", id, backends.Args{})
	if o.Result == nil || o.Result.VM == nil || *w.vm(*o.Result.VM).DisplayName != "web" {
		t.Errorf("result %+v", o.Result)
	}
	e := w.refused("copy", id, backends.Args{Storage: missingID()}, backends.Unprocessable)
	if len(e.Fields) != 1 || e.Fields[0].Pointer != "/storage" {
		t.Errorf("fields %v", e.Fields)
	}
	if n := w.sim.Calls("Async.VM.copy"); n != 1 {
		t.Errorf("%d copies have gone out", n)
	}
}

func TestInstantiate(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	template := w.put(xensim.VMSpec{Name: "debian", Template: true})
	args := backends.Args{DisplayName: ptr("new"), Description: ptr("made of a template")}
	o := w.do(backends.VerbInstantiate, template, args)
	if o.VM != nil || o.Result == nil || o.Result.VM == nil {
		t.Fatalf("operation %+v", o)
	}
	vm := w.vm(*o.Result.VM)
	if *vm.Template || *vm.DisplayName != "new" || *vm.Description != "made of a template" || vm.State != backends.StateStopped {
		t.Errorf("VM %+v", vm)
	}
	if !*w.vm(template).Template {
		t.Error("the template is none any more")
	}
	w.refused(backends.VerbInstantiate, w.put(xensim.VMSpec{}), args, backends.NotFound)
	w.refused("provision", vm.ID, backends.Args{}, backends.WrongState)

	before := w.sim.VMs()
	w.sim.FailNext("VM.provision", "SR_FULL", "10", "5")
	w.refused(backends.VerbInstantiate, template, args, backends.Conflict)
	if after := w.sim.VMs(); !slices.Equal(before, after) {
		t.Errorf("a refused instantiation has left %d VMs behind", len(after)-len(before))
	}
	if got := w.sim.Tasks(); got != 0 {
		t.Errorf("%d tasks are left", got)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	ctx := t.Context()
	images := func() int {
		v, err := w.d.Read(ctx, w.s, backends.Images, backends.ID{})
		if err != nil {
			t.Fatal(err)
		}
		return len(v.([]backends.Image))
	}
	gone := func(id backends.ID) {
		t.Helper()
		if _, err := w.d.VM(ctx, w.s, id, backends.ViewID); backends.CodeOf(err) != backends.NotFound {
			t.Errorf("reading a deleted VM: %v", err)
		}
	}
	for _, from := range []string{"Running", "Paused", "Suspended"} {
		id := w.put(xensim.VMSpec{PowerState: from})
		w.refused(backends.VerbDelete, id, backends.Args{}, backends.WrongState)
		w.do(backends.VerbDelete, id, backends.Args{Force: ptr(true)})
		gone(id)
	}
	id := w.put(xensim.VMSpec{})
	before := images()
	w.do(backends.VerbDelete, id, backends.Args{})
	if gone(id); images() != before {
		t.Errorf("%d images are left of %d", images(), before)
	}
	id = w.put(xensim.VMSpec{})
	before = images()
	disks := w.vm(id).Disks
	w.do(backends.VerbDelete, id, backends.Args{DeleteDisks: true})
	if gone(id); images() != before-1 || len(disks) != 2 {
		t.Errorf("%d images are left of %d; the VM had %d drives", images(), before, len(disks))
	}
	id = w.put(xensim.VMSpec{})
	w.sim.FailNext("VDI.destroy", "VDI_IN_USE", "x", "destroy")
	e := w.refused(backends.VerbDelete, id, backends.Args{DeleteDisks: true}, backends.Conflict)
	if gone(id); !strings.Contains(e.Detail, "The VM is deleted; still there are its disks xen.") {
		t.Errorf("detail %q", e.Detail)
	}
}

func TestCheckFirst(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	hosts := w.hosts()
	on0 := w.put(xensim.VMSpec{PowerState: "Running"})
	off := w.put(xensim.VMSpec{})
	tests := []struct {
		name    string
		verb    backends.Verb
		id      backends.ID
		args    backends.Args
		code    backends.Code
		pointer string
	}{
		{"migrate to where it is", "migrate", on0, backends.Args{Host: &hosts[0]}, backends.WrongState, ""},
		{"migrate cold", "migrate", on0, backends.Args{Host: &hosts[1], Live: ptr(false)}, backends.Unprocessable, "/live"},
		{"migrate a halted VM", "migrate", off, backends.Args{Host: &hosts[1]}, backends.WrongState, ""},
		{"migrate a halted VM cold", "migrate", off, backends.Args{Host: &hosts[1], Live: ptr(false)}, backends.WrongState, ""},
		{"migrate to nowhere", "migrate", on0, backends.Args{Host: missingID()}, backends.Unprocessable, "/host"},
		{"migrate without a host", "migrate", on0, backends.Args{}, backends.InvalidArgument, "/host"},
		{"migrate storage", "migrate", on0, backends.Args{Host: &hosts[1], Datastore: missingID()}, backends.UnsupportedByBackend, "/datastore"},
		{"start nowhere", "start", off, backends.Args{Host: missingID()}, backends.Unprocessable, "/host"},
		{"an id of the wrong form", "start", off, backends.Args{Host: &backends.ID{Backend: "xen", Native: "42"}}, backends.InvalidArgument, "/host"},
		{"a VM that is not there", "start", *missingID(), backends.Args{}, backends.NotFound, ""},
		{"a VM of the wrong form", "start", backends.ID{Backend: "xen", Native: "42"}, backends.Args{}, backends.NotFound, ""},
		{"reboot both ways", "reboot", on0, backends.Args{Mode: "AUTO"}, backends.UnsupportedByBackend, "/mode"},
		{"reboot in no way", "reboot", on0, backends.Args{Mode: "KINDLY"}, backends.InvalidArgument, "/mode"},
		{"two keys", "sendSysrq", on0, backends.Args{Key: "ab"}, backends.InvalidArgument, "/key"},
		{"sysrq", "sendSysrq", on0, backends.Args{Key: "s"}, backends.UnsupportedByBackend, ""},
		{"sysrq of a halted VM", "sendSysrq", off, backends.Args{Key: "s"}, backends.WrongState, ""},
		{"trigger", "sendTrigger", on0, backends.Args{Trigger: "sleep"}, backends.UnsupportedByBackend, ""},
		{"vCPU parameter", "setVcpuParam", on0, backends.Args{Key: "weight", Value: "300"}, backends.UnsupportedByBackend, ""},
		{"an operation XenAPI has not", "checkOperation", on0, backends.Args{Action: "fly"}, backends.InvalidArgument, "/action"},
		{"a name with a control character", "clone", off, backends.Args{DisplayName: ptr("a\x01b")}, backends.InvalidArgument, "/displayName"},
		{"what only OpenNebula has", "migrate", on0, backends.Args{Host: &hosts[1], ColdMode: "SAVE"}, backends.UnsupportedByBackend, "/coldMode"},
		{"reset a live VM", "resetPowerState", on0, backends.Args{}, backends.WrongState, ""},
		{"a verb XenAPI has not", "undeploy", on0, backends.Args{}, backends.UnsupportedByBackend, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := w.on(t).refused(tt.verb, tt.id, tt.args, tt.code)
			if tt.pointer != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != tt.pointer) {
				t.Errorf("fields %v, want %s", e.Fields, tt.pointer)
			}
			if strings.Contains(e.Error()+e.Detail, "OpaqueRef") {
				t.Errorf("a reference gets out: %v", e)
			}
		})
	}
	if w.vm(on0).State != backends.StateRunning || w.vm(off).State != backends.StateStopped {
		t.Error("a refused verb has changed a VM")
	}
}

func TestChecks(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	host := w.hosts()[0]
	id := w.put(xensim.VMSpec{})
	tests := []struct {
		name    string
		verb    backends.Verb
		args    backends.Args
		allowed bool
		code    string
	}{
		{"start", "checkOperation", backends.Args{Action: "start"}, true, ""},
		{"pause", "checkOperation", backends.Args{Action: "pause"}, false, "VM_BAD_POWER_STATE"},
		{"another way", "checkOperation", backends.Args{Action: "resize"}, true, ""},
		{"XenAPI's own name", "checkOperation", backends.Args{Action: "clean_shutdown"}, false, "VM_BAD_POWER_STATE"},
		{"host", "checkHost", backends.Args{Host: &host}, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.d.Do(t.Context(), w.s, tt.verb, id, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			c := got.(*backends.Check)
			if c.Allowed != tt.allowed || !c.Allowed && (c.Reason == "" || c.Fault.Code != tt.code) {
				t.Errorf("check %+v", c)
			}
		})
	}
	w.refused("checkHost", id, backends.Args{Host: missingID()}, backends.Unprocessable)
}

// TestRunningOperation holds a start back: its operation is there to be asked for until it ends.
func TestRunningOperation(t *testing.T) {
	clock := xensim.NewClock(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	w := newWorld(t, xensim.Config{Clock: clock, Durations: &xensim.Durations{Start: time.Minute}})
	w.d.cfg.Grace = time.Millisecond
	id := w.put(xensim.VMSpec{})
	got, err := w.d.Do(t.Context(), w.s, "start", id, backends.Args{})
	if err != nil {
		t.Fatal(err)
	}
	o := got.(*backends.Operation)
	if o.State != backends.OperationRunning || !strings.HasPrefix(o.ID.Native, "start-"+id.Native+"-") {
		t.Fatalf("operation %+v", o)
	}
	vm := w.vm(id)
	if vm.State != backends.StateStarting || len(vm.CurrentOperations) != 1 || vm.CurrentOperations[0].Task == nil {
		t.Errorf("state %s, operations %+v", vm.State, vm.CurrentOperations)
	}
	// The task of one verb is not to be had, and not to be destroyed, under the name of another.
	other := strings.Replace(o.ID.Native, "start-", "suspend-", 1)
	if _, err := w.d.Operation(t.Context(), w.s, backends.ID{Backend: "xen", Native: other}); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("another verb's operation: %v", err)
	}
	for !o.Done() {
		clock.AwaitWaiting(1, t.Context().Done())
		clock.Advance(time.Minute)
		if o, err = w.d.Operation(t.Context(), w.s, o.ID); err != nil {
			t.Fatal(err)
		}
	}
	if o.State != backends.OperationSucceeded || w.vm(id).State != backends.StateRunning {
		t.Errorf("operation %+v", o)
	}
	if _, err := w.d.Operation(t.Context(), w.s, o.ID); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("an operation whose end was seen: %v", err)
	}
}

func TestRestartMakesReferencesStale(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{})
	w.vm(id)
	w.restart()
	if got := w.vm(id).State; got != backends.StateStopped {
		t.Errorf("state %s", got)
	}
	w.restart()
	w.do("start", id, backends.Args{})
}

// restart restarts the toolstack, and logs in again over new connections.
func (w *world) restart() {
	w.Helper()
	w.d.Close()
	w.sim.Restart()
	login, err := w.d.Login(w.Context(), "root", "xenroot")
	if err != nil {
		w.Fatal(err)
	}
	w.s = login.Session
}

func TestCoordinator(t *testing.T) {
	sim, err := xensim.Start(xensim.Config{SlaveAddr: "127.0.0.2:0", Durations: &xensim.Durations{}})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	d := newDriver(t, sim.SlaveURL())
	for range 2 {
		login, err := d.Login(t.Context(), "root", "xenroot")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Logout(t.Context(), login.Session); err != nil {
			t.Error(err)
		}
	}
	if got, want := d.pool.first().url.Host, drivertest.ParseURL(t, sim.URL()).Host; got != want {
		t.Errorf("the coordinator is remembered as %s, want %s", got, want)
	}
	if n := d.pool.count(); n != 2 {
		t.Errorf("%d pool members are known", n)
	}
}

func TestNextEndpoint(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	const nobody = "http://127.0.0.1:1" // a port that no test is given by chance
	d := newDriver(t, nobody, w.sim.URL())
	if err := d.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if got := d.pool.first().url.String(); got != w.sim.URL() {
		t.Errorf("the endpoint that works is remembered as %s", got)
	}
	e := newDriver(t, nobody).Ping(t.Context())
	if backends.CodeOf(e) != backends.BackendUnavailable {
		t.Errorf("ping of nobody: %v", e)
	}
}

func TestCoordinatorAddress(t *testing.T) {
	p := newPool(Config{Endpoints: []*url.URL{drivertest.ParseURL(t, "https://127.0.0.1:8443/")}})
	for address, want := range map[string]string{
		"127.0.0.2": "https://127.0.0.2:8443/", "::1": "https://[::1]:8443/", "[::1]": "https://[::1]:8443/",
		"127.0.0.1": "", "": "", "evil/path": "", "user@127.0.0.3": "", "127.0.0.3:80": "",
	} {
		at := p.coordinator(p.first(), address)
		if want == "" && at != nil || want != "" && (at == nil || at.url.String() != want) {
			t.Errorf("%q leads to %v, want %q", address, at, want)
		}
	}
}

func TestLogin(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	ctx := t.Context()
	before := w.sim.Sessions()
	if err := w.d.Verify(ctx, "root", "xenroot"); err != nil {
		t.Error(err)
	}
	for _, password := range []string{"", "XENROOT", "xenroot "} {
		err := w.d.Verify(ctx, "root", password)
		e := backends.AsError(err)
		if e.Code != backends.Unauthenticated || e.Fault == nil || len(e.Fault.Params) != 0 {
			t.Errorf("%q: %v, %+v", password, err, e.Fault)
		}
	}
	if got := w.sim.Sessions(); got != before {
		t.Errorf("%d sessions are left open", got-before)
	}
	r, ok := w.d.Release()
	if !ok || r.API != "2.21" || r.Version != "8.4.0" || r.Product == "" {
		t.Errorf("release %+v", r)
	}
	viewer, err := w.d.Login(ctx, "viewer", "viewer-demo")
	if err != nil {
		t.Fatal(err)
	}
	id := w.put(xensim.VMSpec{})
	if _, err := w.d.Do(ctx, viewer.Session, "start", id, backends.Args{}); backends.CodeOf(err) != backends.PermissionDenied {
		t.Errorf("a viewer starts a VM: %v", err)
	}
	for range 2 {
		if err := w.d.Logout(ctx, viewer.Session); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsRepeated(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{})
	w.vm(id)
	before := w.sim.Calls("Async.VM.start")
	w.sim.Inject(xensim.Fault{Method: "Async.VM.start", Cut: true, CutAfter: 40})
	e := w.refused("start", id, backends.Args{}, backends.BackendUnavailable)
	if !e.MaybeDone {
		t.Errorf("an outcome that is unknown is not said to be: %v", e)
	}
	if got := w.sim.Calls("Async.VM.start") - before; got != 1 {
		t.Errorf("%d calls have gone out", got)
	}
}
