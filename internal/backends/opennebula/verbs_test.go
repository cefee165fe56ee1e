package opennebula

import (
	"context"
	"slices"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

func hostArg(n string) *backends.ID { return &backends.ID{Backend: "one", Native: n} }

// TestVerbsReachTheirGoals runs each verb to its end in each release that has it: the calls that go
// out, and the state that comes of them.
func TestVerbsReachTheirGoals(t *testing.T) {
	type row struct {
		name    string
		verb    backends.Verb
		args    backends.Args
		from    place
		want    backends.State
		methods []string
		in      span
	}
	const action, info = "one.vm.action", "one.vm.info"
	rows := []row{
		{"shutdown", "shutdown", backends.Args{}, place{3, 3}, backends.StateStopped, []string{action}, span{}},
		{"shutdown auto", "shutdown", backends.Args{Mode: "AUTO"}, place{3, 3}, backends.StateStopped, []string{action}, span{}},
		{"shutdown hard", "shutdown", backends.Args{Mode: "FORCE"}, place{3, 3}, backends.StateStopped, []string{action}, since(4, 0)},
		{"reboot", "reboot", backends.Args{}, place{3, 3}, backends.StateRunning, []string{action}, span{}},
		{"reboot hard", "reboot", backends.Args{Mode: "FORCE"}, place{3, 3}, backends.StateRunning, []string{action}, span{}},
		{"suspend", "suspend", backends.Args{}, place{3, 3}, backends.StateSuspended, []string{action}, span{}},
		{"resume suspended", "resume", backends.Args{}, place{5, 0}, backends.StateRunning, []string{action}, span{}},
		{"resume stopped", "resume", backends.Args{}, place{4, 0}, backends.StatePending, []string{action}, span{}},
		{"resume on a host", "resume", backends.Args{Host: hostArg("2")}, place{4, 0}, backends.StateRunning, []string{info, "one.vm.deploy"}, since(4, 14)},
		{"start poweroff", "start", backends.Args{}, place{8, 0}, backends.StateRunning, []string{info, action}, span{}},
		{"start unknown", "start", backends.Args{}, place{3, 16}, backends.StateRunning, []string{info, action}, span{}},
		{"start held", "start", backends.Args{}, place{2, 0}, backends.StatePending, []string{info, action}, span{}},
		{"start undeployed", "start", backends.Args{}, place{9, 0}, backends.StatePending, []string{info, action}, since(4, 0)},
		{"start on a host", "start", backends.Args{Host: hostArg("1")}, place{2, 0}, backends.StateRunning, []string{info, "one.vm.deploy"}, since(4, 0)},
		{"stop", "stop", backends.Args{}, place{3, 3}, backends.StateStored, []string{action}, span{}},
		{"undeploy", "undeploy", backends.Args{}, place{3, 3}, backends.StateStored, []string{action}, since(4, 0)},
		{"undeploy hard", "undeploy", backends.Args{Mode: "FORCE"}, place{3, 3}, backends.StateStored, []string{action}, since(4, 0)},
		{"hold", "hold", backends.Args{}, place{1, 0}, backends.StateHeld, []string{action}, span{}},
		{"release", "release", backends.Args{}, place{2, 0}, backends.StatePending, []string{action}, span{}},
		{"deploy", "deploy", backends.Args{Host: hostArg("0")}, place{1, 0}, backends.StateRunning, []string{"one.vm.deploy"}, span{}},
		{"terminate", "terminate", backends.Args{}, place{3, 3}, backends.StateDeleted, []string{info, action}, span{}},
		{"terminate hard", "terminate", backends.Args{Mode: "FORCE"}, place{3, 3}, backends.StateDeleted, []string{info, action}, span{}},
		{"delete", backends.VerbDelete, backends.Args{}, place{3, 3}, backends.StateDeleted, []string{info, action}, span{}},
		{"delete by force", backends.VerbDelete, backends.Args{Force: new(true)}, place{3, 2}, backends.StateDeleted, []string{info, "one.vm.recover"}, since(5, 0)},
		{"delete by force, old", backends.VerbDelete, backends.Args{Force: new(true)}, place{3, 2}, backends.StateDeleted, []string{info, action}, upTo(5, 0)},
		{"recreate", "recreate", backends.Args{}, place{3, 3}, backends.StatePending, []string{info, "one.vm.recover"}, since(5, 0)},
		{"recreate, old", "recreate", backends.Args{}, place{3, 3}, backends.StatePending, []string{info, action}, upTo(5, 0)},
		{"retry", "recover", backends.Args{Outcome: "RETRY"}, place{3, 36}, backends.StateRunning, []string{info, "one.vm.recover"}, since(4, 14)},
		{"recover as failed", "recover", backends.Args{Outcome: "FAILURE"}, place{3, 1}, backends.StateFailed, []string{info, "one.vm.recover"}, since(4, 14)},
		{"recover as done", "recover", backends.Args{Outcome: "SUCCESS"}, place{3, 36}, backends.StateRunning, []string{info, "one.vm.recover"}, since(4, 14)},
		{"recover delete", "recover", backends.Args{Outcome: "DELETE"}, place{3, 36}, backends.StateDeleted, []string{info, "one.vm.recover"}, since(5, 0)},
		{"recover recreate", "recover", backends.Args{Outcome: "RECREATE"}, place{3, 36}, backends.StatePending, []string{info, "one.vm.recover"}, since(5, 0)},
		{"recover delete-db", "recover", backends.Args{Outcome: "DELETE_DB"}, place{3, 36}, backends.StateDeleted, []string{info, "one.vm.recover"}, since(5, 8)},
		{"migrate live", "migrate", backends.Args{Host: hostArg("1")}, place{3, 3}, backends.StateRunning, []string{info, "one.vm.migrate"}, span{}},
		{"migrate cold", "migrate", backends.Args{Host: hostArg("1"), Live: new(false)}, place{3, 3}, backends.StateRunning, []string{info, "one.vm.migrate"}, span{}},
		{"migrate by poweroff", "migrate", backends.Args{Host: hostArg("1"), Live: new(false), ColdMode: "POWEROFF"}, place{3, 3}, backends.StateRunning, []string{info, "one.vm.migrate"}, since(5, 8)},
		{"migrate stopped", "migrate", backends.Args{Host: hostArg("1"), Live: new(false)}, place{8, 0}, backends.StateStopped, []string{info, "one.vm.migrate"}, since(4, 14)},
		{"migrate to a datastore", "migrate", backends.Args{Host: hostArg("1"), Datastore: hostArg("101"), Live: new(false), Enforce: new(true)}, place{8, 0}, backends.StateStopped, []string{info, "one.vm.migrate"}, since(4, 14)},
		{"resize", "resize", backends.Args{VCPUs: new(int64(2)), CPUShare: new(0.25), Memory: &backends.Memory{DynamicMaxBytes: new(int64(128 * mib))}}, place{8, 0}, backends.StateStopped, []string{"one.vm.resize"}, since(4, 0)},
		{"resize live", "resize", backends.Args{VCPUs: new(int64(2)), Live: new(true)}, place{3, 3}, backends.StateRunning, []string{info, "one.vm.resize"}, since(6, 0)},
		{"save a disk", backends.VerbSaveDisk, backends.Args{Disk: "0", ImageName: "saved"}, place{8, 0}, backends.StateStopped, []string{"one.vm.disksaveas"}, since(4, 14)},
	}
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		t.Run(release, func(t *testing.T) {
			b := newBench(t, release)
			for _, row := range rows {
				if !row.in.has(b.driver.known()) {
					continue
				}
				t.Run(row.name, func(t *testing.T) {
					b := &bench{T: t, sim: b.sim, clock: b.clock, driver: b.driver, session: b.session}
					id := b.put(row.from.state, row.from.lcm)
					var op *backends.Operation
					methods := b.calls(func(ctx context.Context) {
						result, err := b.driver.Do(ctx, b.session, row.verb, id, row.args)
						if err != nil {
							t.Fatal(err)
						}
						op = result.(*backends.Operation)
					})
					if !slices.Equal(methods, row.methods) {
						t.Errorf("calls %v, want %v", methods, row.methods)
					}
					if op = b.finish(op); op.State != backends.OperationSucceeded {
						t.Fatalf("ended %s: %v", op.State, op.Err)
					}
					b.sim.Advance(2 * time.Second) // what follows, if anything
					if vm := b.vm(id); vm.State != row.want {
						t.Errorf("the VM is %s (%s), want %s", vm.State, vm.RawState.LCMState, row.want)
					}
				})
			}
		})
	}
}

// TestSilentSuccessIsRefused asks for what oned would answer success to without doing it.
func TestSilentSuccessIsRefused(t *testing.T) {
	b := newBench(t, "6.10.0")
	for _, row := range []struct {
		name string
		verb backends.Verb
		args backends.Args
		at   place
	}{
		{"live migration of a VM that is off", "migrate", backends.Args{Host: hostArg("1")}, place{8, 0}},
		{"live migration of a suspended VM", "migrate", backends.Args{Host: hostArg("1"), Live: new(true)}, place{5, 0}},
		{"live migration of a lost VM", "migrate", backends.Args{Host: hostArg("1")}, place{3, 16}},
		{"terminate of a deleted VM", "terminate", backends.Args{}, place{6, 0}},
		{"delete of a deleted VM", backends.VerbDelete, backends.Args{}, place{6, 0}},
		{"forced delete of a deleted VM", backends.VerbDelete, backends.Args{Force: new(true)}, place{6, 0}},
		{"recover of a running VM as failed", "recover", backends.Args{Outcome: "FAILURE"}, place{3, 3}},
		{"recover of a running VM as done", "recover", backends.Args{Outcome: "SUCCESS"}, place{3, 3}},
		{"retry of a running VM", "recover", backends.Args{Outcome: "RETRY"}, place{3, 3}},
		{"recover of a VM that has failed as failed", "recover", backends.Args{Outcome: "FAILURE"}, place{3, 36}},
		{"retry of what no driver was asked for", "recover", backends.Args{Outcome: "RETRY"}, place{3, 17}},
		{"retry of a VM that is off", "recover", backends.Args{Outcome: "RETRY"}, place{8, 0}},
		{"recover delete of a deleted VM", "recover", backends.Args{Outcome: "DELETE"}, place{6, 0}},
		{"recreate of a deleted VM", "recreate", backends.Args{}, place{6, 0}},
		{"start of a running VM", "start", backends.Args{}, place{3, 3}},
		{"start of a suspended VM", "start", backends.Args{}, place{5, 0}},
		{"start of a VM on a host, on another", "start", backends.Args{Host: hostArg("1")}, place{8, 0}},
		{"resume of a pending VM on a host", "resume", backends.Args{Host: hostArg("1")}, place{1, 0}},
		{"live resize of a VM that is off", "resize", backends.Args{VCPUs: new(int64(2)), Live: new(true)}, place{8, 0}},
		{"resize of a running VM, not live", "resize", backends.Args{VCPUs: new(int64(2)), Live: new(false)}, place{3, 3}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := &bench{T: t, sim: b.sim, clock: b.clock, driver: b.driver, session: b.session}
			id := b.put(row.at.state, row.at.lcm)
			var err error
			methods := b.calls(func(ctx context.Context) { _, err = b.driver.Do(ctx, b.session, row.verb, id, row.args) })
			e := backends.AsError(err)
			if err == nil || e.Code != backends.WrongState {
				t.Fatalf("got %v, want %s", err, backends.WrongState)
			}
			if !slices.Equal(methods, []string{"one.vm.info"}) {
				t.Errorf("calls %v, want a read only", methods)
			}
			if e.State == nil || e.State.RawState == nil || e.Detail == "" || e.Fault == nil {
				t.Errorf("the refusal explains nothing: %+v", e)
			}
		})
	}
}

// TestWhatThisBackendHasNoWordFor asks for members that would be left unsaid.
func TestWhatThisBackendHasNoWordFor(t *testing.T) {
	b := newBench(t, "6.10.0")
	old := newBench(t, "4.14.2")
	oldest := newBench(t, "3.8.5")
	for _, row := range []struct {
		name    string
		at      *bench
		verb    backends.Verb
		args    backends.Args
		want    backends.Code
		pointer string
	}{
		{"a verb", b, "pause", backends.Args{}, backends.UnsupportedByBackend, ""},
		{"startPaused", b, "start", backends.Args{StartPaused: new(true)}, backends.UnsupportedByBackend, "/startPaused"},
		{"compress", b, "migrate", backends.Args{Host: hostArg("1"), Compress: new(true)}, backends.UnsupportedByBackend, "/compress"},
		{"network", b, "migrate", backends.Args{Host: hostArg("1"), Network: hostArg("1")}, backends.UnsupportedByBackend, "/network"},
		{"static memory", b, "resize", backends.Args{Memory: &backends.Memory{StaticMaxBytes: new(int64(mib))}}, backends.InvalidArgument, "/memory"},
		{"half a MiB", b, "resize", backends.Args{Memory: &backends.Memory{DynamicMaxBytes: new(int64(mib / 2))}}, backends.InvalidArgument, "/memory/dynamicMaxBytes"},
		{"no vCPU", b, "resize", backends.Args{VCPUs: new(int64(0))}, backends.InvalidArgument, "/vcpus"},
		{"a cold mode of a live migration", b, "migrate", backends.Args{Host: hostArg("1"), ColdMode: "SAVE"}, backends.InvalidArgument, "/coldMode"},
		{"a cold mode that nobody knows", b, "migrate", backends.Args{Host: hostArg("1"), Live: new(false), ColdMode: "X"}, backends.InvalidArgument, "/coldMode"},
		{"no host", b, "migrate", backends.Args{}, backends.InvalidArgument, "/host"},
		{"a host of another form", b, "deploy", backends.Args{Host: hostArg("007")}, backends.InvalidArgument, "/host"},
		{"an outcome that nobody knows", b, "recover", backends.Args{Outcome: "X"}, backends.InvalidArgument, "/outcome"},
		{"a mode that nobody knows", b, "shutdown", backends.Args{Mode: "X"}, backends.InvalidArgument, "/mode"},
		{"storage without a host", b, "resume", backends.Args{Datastore: hostArg("0")}, backends.InvalidArgument, "/host"},
		{"a cold mode of 5.8", old, "migrate", backends.Args{Host: hostArg("1"), Live: new(false), ColdMode: "POWEROFF"}, backends.UnsupportedByBackend, "/coldMode"},
		{"an outcome of 5.0", old, "recover", backends.Args{Outcome: "DELETE"}, backends.UnsupportedByBackend, "/outcome"},
		{"a live resize of 6.0", old, "resize", backends.Args{VCPUs: new(int64(2)), Live: new(true)}, backends.UnsupportedByBackend, "/live"},
		{"a verb of 4.0", oldest, "undeploy", backends.Args{}, backends.UnsupportedByBackend, ""},
		{"a mode of 4.0", oldest, "shutdown", backends.Args{Mode: "FORCE"}, backends.UnsupportedByBackend, "/mode"},
		{"a datastore of 4.4", oldest, "deploy", backends.Args{Host: hostArg("0"), Datastore: hostArg("0")}, backends.UnsupportedByBackend, "/datastore"},
		{"a check of 4.0", oldest, "deploy", backends.Args{Host: hostArg("0"), Enforce: new(true)}, backends.UnsupportedByBackend, "/enforce"},
	} {
		t.Run(row.name, func(t *testing.T) {
			at := &bench{T: t, sim: row.at.sim, clock: row.at.clock, driver: row.at.driver, session: row.at.session}
			id := at.running()
			e := at.refuse(row.verb, id, row.args, row.want)
			if row.pointer != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != row.pointer) {
				t.Errorf("points at %v, want %s", e.Fields, row.pointer)
			}
		})
	}
	e := b.refuse(backends.VerbDelete, b.running(), backends.Args{DeleteDisks: true}, backends.UnsupportedByBackend)
	if len(e.Fields) != 1 || e.Fields[0].Parameter != "deleteDisks" {
		t.Errorf("deleteDisks: points at %v", e.Fields)
	}
}

func TestRefusalsNameWhatIsMissing(t *testing.T) {
	b := newBench(t, "6.10.0")
	old := newBench(t, "4.14.2")
	for _, at := range []*bench{b, old} {
		held := at.put(stHold, 0)
		at.refuse("hold", at.driver.id(9999), backends.Args{}, backends.NotFound)
		at.refuse("hold", backends.ID{Backend: "one", Native: "x"}, backends.Args{}, backends.NotFound)
		e := at.refuse("deploy", held, backends.Args{Host: hostArg("99")}, backends.Unprocessable)
		if len(e.Fields) != 1 || e.Fields[0].Pointer != "/host" {
			t.Errorf("a host that is not there: points at %v", e.Fields)
		}
		e = at.refuse("deploy", held, backends.Args{Host: hostArg("0"), Datastore: hostArg("99")}, backends.Unprocessable)
		if len(e.Fields) != 1 || e.Fields[0].Pointer != "/datastore" {
			t.Errorf("a storage that is not there: points at %v", e.Fields)
		}
		at.refuse(backends.VerbSaveDisk, at.put(stPoweroff, 0), backends.Args{Disk: "9", ImageName: "x"}, backends.NotFound)
		at.refuse(backends.VerbSaveDisk, held, backends.Args{Disk: "0", ImageName: "x"}, backends.WrongState)
		at.refuse(backends.VerbSaveDisk, held, backends.Args{Disk: "0", ImageName: "a/b"}, backends.InvalidArgument)
		at.refuse(backends.VerbInstantiate, at.driver.id(99), backends.Args{}, backends.NotFound)
		at.refuse("migrate", at.running(), backends.Args{Host: hostArg("0")}, backends.Conflict)
	}
	alice, _ := b.as("alice")
	_, err := b.driver.Do(t.Context(), alice, "hold", b.put(stPending, 0), backends.Args{})
	if backends.CodeOf(err) != backends.PermissionDenied {
		t.Errorf("somebody else's VM: %v", err)
	}
}

func TestInstantiate(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "6.10.0"} {
		b := newBench(t, release)
		args := backends.Args{DisplayName: new("made"), Description: new(`say "hi" \`), Hold: new(true), ExtraTemplate: new(`ROLE="web"`)}
		if release == "3.8.5" {
			b.refuse(backends.VerbInstantiate, b.driver.id(0), backends.Args{Hold: new(true)}, backends.UnsupportedByBackend)
			b.refuse(backends.VerbInstantiate, b.driver.id(0), backends.Args{Description: new("x")}, backends.UnsupportedByBackend)
			args = backends.Args{DisplayName: new("made")}
		}
		if release != "3.8.5" {
			// A backslash at the end cannot be said beside a template in the KEY="value" form.
			b.refuse(backends.VerbInstantiate, b.driver.id(0), args, backends.InvalidArgument)
			args.Description = new(`say "hi"`)
		}
		op := b.finish(b.do(backends.VerbInstantiate, b.driver.id(0), args))
		if op.VM != nil || op.Result == nil || op.Result.VM == nil || op.State != backends.OperationSucceeded {
			t.Fatalf("%s: %+v", release, op)
		}
		vm := b.vm(*op.Result.VM)
		if *vm.DisplayName != "made" {
			t.Errorf("%s: called %q", release, *vm.DisplayName)
		}
		if release == "3.8.5" {
			continue
		}
		if vm.State != backends.StateHeld || vm.Description == nil || *vm.Description != `say "hi"` || vm.Annotations["ROLE"] != "web" {
			t.Errorf("%s: %s, %v, %v", release, vm.State, vm.Description, vm.Annotations)
		}
	}
}

func TestSavedDiskIsAnImage(t *testing.T) {
	b := newBench(t, "6.10.0")
	op := b.do(backends.VerbSaveDisk, b.put(stPoweroff, 0), backends.Args{Disk: "0", ImageName: "saved"})
	if op.State != backends.OperationRunning {
		t.Fatalf("%s before the image is there", op.State)
	}
	op = b.finish(op)
	value, err := b.driver.Read(t.Context(), b.session, backends.ImageByID, *op.Result.Image)
	if err != nil {
		t.Fatal(err)
	}
	if image := value.(backends.Image); image.DisplayName != "saved" || image.State != "READY" {
		t.Errorf("the image is %q in %s", image.DisplayName, image.State)
	}
}

func TestCheckOperation(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.running()
	for action, want := range map[string]bool{"suspend": true, "poweroff-hard": true, "resume": false, "pause": false, "delete": true} {
		result, err := b.driver.Do(t.Context(), b.session, "checkOperation", id, backends.Args{Action: action})
		if err != nil {
			t.Fatal(err)
		}
		check := result.(*backends.Check)
		if check.Allowed != want || (check.Reason == "") != want {
			t.Errorf("%s: %+v, want %t", action, check, want)
		}
	}
	b.refuse("checkOperation", id, backends.Args{Action: "frobnicate"}, backends.InvalidArgument)
}

func TestOperationIDs(t *testing.T) {
	b := newBench(t, "6.10.0")
	op := b.do("migrate", b.running(), backends.Args{Host: hostArg("1"), Live: new(false)})
	parsed, ok := parseOperation(op.ID.Native)
	if !ok || parsed.native() != op.ID.Native || !parsed.at.Equal(start0) {
		t.Errorf("%q becomes %+v", op.ID.Native, parsed)
	}
	if _, err := backends.ParseID(op.ID.String()); err != nil {
		t.Error(err)
	}
	for _, native := range []string{
		"", "42", "migrate", "migrate-1-0-17-", "nothing-1-0-17-none", "hold-1-x-17-nowhere", "hold-01-x-17-none", "hold-1-x-17-none-",
		"hold--1-x-17-none", "saveDisk-1-x-17-image", "hold-99999999999-x-17-none",
	} {
		if _, err := b.driver.Operation(t.Context(), b.session, backends.ID{Backend: "one", Native: native}); backends.CodeOf(err) != backends.NotFound {
			t.Errorf("%q: %v, want %s", native, err, backends.NotFound)
		}
	}
	if _, err := b.driver.Operation(t.Context(), b.session, backends.ID{Backend: "one", Native: "hold-999-x-17-none"}); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("an operation of a VM that is not there: %v", err)
	}
}
