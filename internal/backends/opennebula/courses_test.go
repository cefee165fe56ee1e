package opennebula

import (
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// toward is a request for each goal: how it comes to be asked for.
var toward = map[string]struct {
	verb backends.Verb
	args backends.Args
	from place
}{
	"none":                  {"hold", backends.Args{}, place{1, 0}},
	"made":                  {backends.VerbInstantiate, backends.Args{}, place{1, 0}},
	goalPoweroff.String():   {"shutdown", backends.Args{}, place{3, 3}},
	goalSuspended.String():  {"suspend", backends.Args{}, place{3, 3}},
	goalStopped.String():    {"stop", backends.Args{}, place{3, 3}},
	goalUndeployed.String(): {"undeploy", backends.Args{}, place{3, 3}},
	goalDone.String():       {"terminate", backends.Args{}, place{3, 3}},
	"started":               {"start", backends.Args{}, place{8, 0}},
	"on":                    {"deploy", backends.Args{Host: hostArg("1")}, place{1, 0}},
	"moved":                 {"migrate", backends.Args{Host: hostArg("1"), Live: new(false)}, place{3, 3}},
	"movedlive":             {"migrate", backends.Args{Host: hostArg("1")}, place{3, 3}},
	"recreated":             {"recreate", backends.Args{}, place{3, 3}},
	"left":                  {"recover", backends.Args{Outcome: "RETRY"}, place{3, 36}},
	"leftorfailed":          {"recover", backends.Args{Outcome: "FAILURE"}, place{3, 1}},
	"sized":                 {"resize", backends.Args{VCPUs: new(int64(2))}, place{3, 3}},
}

var courseReleases = []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"}

// TestEveryCourse brings the VM, while the operation runs, to each place that a row names, and to
// DONE: in each release that has the verb.
func TestEveryCourse(t *testing.T) {
	for _, release := range courseReleases {
		b := newBench(t, release)
		for i := range courses {
			row := &courses[i]
			ask, ok := toward[row.goal]
			if !ok {
				t.Fatalf("no request leads to the goal %q", row.goal)
			}
			if row.goal == "none" || row.goal == "made" || !row.in.has(b.driver.known()) || !b.mayAsk(ask.verb, ask.args, ask.from) {
				continue
			}
			end := func(at place, want backends.OperationState, code backends.Code) {
				t.Run(release+" "+row.goal+" "+at.name(b.driver.known()), func(t *testing.T) {
					b := b.in(t)
					id := b.put(ask.from.state, ask.from.lcm)
					op := b.do(ask.verb, id, ask.args)
					b.set(id, at)
					op = b.late(op)
					if op.State != want || want != backends.OperationSucceeded && (op.Err == nil || op.Err.Code != code) || op.Cancellable {
						t.Errorf("ended %s (%v, cancellable %t), want %s with %s", op.State, op.Err, op.Cancellable, want, code)
					}
				})
			}
			for _, name := range row.failures {
				for _, at := range placesCalled(name, b.driver.known()) {
					end(at, backends.OperationFailed, backends.BackendFault)
				}
			}
			if row.goal != goalDone.String() && row.goal != "leftorfailed" {
				end(place{stDone, 0}, backends.OperationFailed, backends.WrongState)
			}
		}
	}
}

// in is the bench for a subtest.
func (b *bench) in(t *testing.T) *bench {
	return &bench{T: t, sim: b.sim, clock: b.clock, driver: b.driver, session: b.session}
}

func (b *bench) set(id backends.ID, at place) {
	b.Helper()
	n, _ := number(id.Native)
	if err := b.sim.SetState(n, onesim.State(at.state), onesim.LCM(at.lcm)); err != nil {
		b.Fatal(err)
	}
}

// mayAsk reports whether the release has the verb, and allows it there.
func (b *bench) mayAsk(v backends.Verb, a backends.Args, from place) bool {
	b.Helper()
	plan, err := b.driver.PlanDo(b.Context(), b.session, v, b.put(from.state, from.lcm), a)
	return err == nil && plan.Allowed
}

// late reads an operation when grace is over.
func (b *bench) late(op *backends.Operation) *backends.Operation {
	b.Helper()
	b.clock.Advance(grace + time.Second)
	next, err := b.driver.Operation(b.Context(), b.session, op.ID)
	if err != nil {
		b.Fatal(err)
	}
	return next
}

// placesCalled are the places with a name in a release; all that have failed for "*".
func placesCalled(name string, r version) []place {
	var found []place
	for _, s := range vmStates {
		if p := (place{s.code, 0}); s.in.has(r) && (s.name == name || name == "*" && p.failed(r)) {
			found = append(found, p)
		}
	}
	for _, s := range lcmStates {
		if p := (place{stActive, s.code}); s.in.has(r) && (s.name == name || name == "*" && p.failed(r)) {
			found = append(found, p)
		}
	}
	return found
}

// TestEveryGoalHasACourse looks for gaps and doubles in the table, and for states that no release has.
func TestEveryGoalHasACourse(t *testing.T) {
	for _, release := range courseReleases {
		r, err := parseVersion(release)
		if err != nil {
			t.Fatal(err)
		}
		for name := range toward {
			if n := len(slices.Collect(func(yield func(*course) bool) {
				for i := range courses {
					if courses[i].goal == name && courses[i].in.has(r) && !yield(&courses[i]) {
						return
					}
				}
			})); n != 1 {
				t.Errorf("%s: %d rows for %q, want one", release, n, name)
			}
		}
	}
	for _, row := range courses {
		for _, name := range append(slices.Clone(row.through), row.failures...) {
			if name != "*" && !slices.ContainsFunc(append(slices.Clone(lcmStates), vmStates...), func(s stateRow) bool { return s.name == name }) {
				t.Errorf("%q names a state %q that there is not", row.goal, name)
			}
		}
	}
}

// TestDriversFail orders the failure of each driver's step, in each release that shows it the same.
func TestDriversFail(t *testing.T) {
	const failed, back = backends.OperationFailed, ""
	cold := backends.Args{Host: hostArg("1"), Live: new(false)}
	for _, row := range []struct {
		name  string
		verb  backends.Verb
		args  backends.Args
		from  place
		step  onesim.Step
		ends  string // the place
		says  string // of OpenNebula's own reason
		since version
	}{
		{"live migration", "migrate", backends.Args{Host: hostArg("1")}, place{3, 3}, onesim.StepMigrate, "RUNNING", back, v(3, 8)},
		{"cold migration, saving", "migrate", cold, place{3, 3}, onesim.StepSave, "RUNNING", back, v(4, 14)},
		{"cold migration, moving", "migrate", cold, place{3, 3}, onesim.StepProlog, "PROLOG_MIGRATE_FAILURE", "tm failure", v(4, 14)},
		{"cold migration, booting", "migrate", cold, place{3, 3}, onesim.StepBoot, "BOOT_MIGRATE_FAILURE", back, v(4, 14)},
		{"migration of a VM that is off", "migrate", cold, place{8, 0}, onesim.StepProlog, "PROLOG_MIGRATE_POWEROFF_FAILURE", "tm failure", v(4, 14)},
		{"migration of a suspended VM", "migrate", cold, place{5, 0}, onesim.StepProlog, "PROLOG_MIGRATE_SUSPEND_FAILURE", "tm failure", v(4, 14)},
		{"start", "start", backends.Args{}, place{8, 0}, onesim.StepBoot, "POWEROFF", back, v(4, 0)},
		{"start of a lost VM", "start", backends.Args{}, place{3, 16}, onesim.StepBoot, "UNKNOWN", back, v(4, 14)},
		{"resume", "resume", backends.Args{}, place{5, 0}, onesim.StepBoot, "SUSPENDED", back, v(3, 8)},
		{"deploy, moving", "deploy", backends.Args{Host: hostArg("1")}, place{1, 0}, onesim.StepProlog, "PROLOG_FAILURE", "tm failure", v(4, 14)},
		{"deploy, booting", "deploy", backends.Args{Host: hostArg("1")}, place{1, 0}, onesim.StepBoot, "BOOT_FAILURE", "DEPLOY", v(4, 14)},
		{"deploy of a stored VM", "deploy", backends.Args{Host: hostArg("1")}, place{4, 0}, onesim.StepProlog, "PROLOG_RESUME_FAILURE", "tm failure", v(4, 14)},
		{"deploy of an undeployed VM", "deploy", backends.Args{Host: hostArg("1")}, place{9, 0}, onesim.StepBoot, "BOOT_UNDEPLOY_FAILURE", "DEPLOY", v(4, 14)},
		{"shutdown", "shutdown", backends.Args{}, place{3, 3}, onesim.StepShutdown, "RUNNING", back, v(3, 8)},
		{"suspend", "suspend", backends.Args{}, place{3, 3}, onesim.StepSave, "RUNNING", back, v(3, 8)},
		{"stop, saving", "stop", backends.Args{}, place{3, 3}, onesim.StepSave, "RUNNING", back, v(3, 8)},
		{"stop, moving", "stop", backends.Args{}, place{3, 3}, onesim.StepEpilog, "EPILOG_STOP_FAILURE", "tm failure", v(4, 14)},
		{"undeploy", "undeploy", backends.Args{}, place{3, 3}, onesim.StepShutdown, "RUNNING", back, v(4, 0)},
		{"undeploy, moving", "undeploy", backends.Args{}, place{3, 3}, onesim.StepEpilog, "EPILOG_UNDEPLOY_FAILURE", "tm failure", v(4, 14)},
		{"terminate", "terminate", backends.Args{}, place{3, 3}, onesim.StepShutdown, "RUNNING", back, v(3, 8)},
		{"terminate, moving", "terminate", backends.Args{}, place{3, 3}, onesim.StepEpilog, "EPILOG_FAILURE", "tm failure", v(4, 14)},
		{"delete", backends.VerbDelete, backends.Args{}, place{3, 3}, onesim.StepShutdown, "RUNNING", back, v(5, 0)},
		{"retry", "recover", backends.Args{Outcome: "RETRY"}, place{3, 36}, onesim.StepBoot, "BOOT_FAILURE", "DEPLOY", v(4, 14)},
		{"live resize", "resize", backends.Args{VCPUs: new(int64(2))}, place{3, 3}, onesim.StepResize, "RUNNING", back, v(6, 0)},
	} {
		for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
			if r, _ := parseVersion(release); r.before(row.since) {
				continue
			}
			t.Run(release+" "+row.name, func(t *testing.T) {
				b := newBench(t, release)
				id := b.put(row.from.state, row.from.lcm)
				b.sim.FailNext(row.step)
				op := b.finish(b.do(row.verb, id, row.args))
				if op.State != failed || op.Err == nil || op.Err.Code != backends.BackendFault || op.Cancellable || op.Result != nil {
					t.Fatalf("ended %+v (%v)", op, op.Err)
				}
				raw := op.Err.State.RawState
				if !strings.HasSuffix(op.Err.Detail, " It is in "+row.ends+" now.") || raw.LCMState != row.ends && raw.State != row.ends {
					t.Errorf("it says %q, want %s", op.Err.Detail, row.ends)
				}
				if says := op.Err.Fault.Message; (says == "") != (row.says == "") || !strings.Contains(says, row.says) {
					t.Errorf("OpenNebula says %q, want %q", says, row.says)
				}
			})
		}
	}
}

// TestAnOldReasonIsNotTold fails a live migration of a VM that still has the reason of an earlier
// failure.
func TestAnOldReasonIsNotTold(t *testing.T) {
	b := newBench(t, "6.10.0")
	n, err := b.sim.PutVM(onesim.VMSpec{State: onesim.Active, LCM: onesim.Running, User: map[string]string{"ERROR": "of last year"}})
	if err != nil {
		t.Fatal(err)
	}
	b.sim.FailNext(onesim.StepMigrate)
	op := b.finish(b.do("migrate", b.driver.id(n), backends.Args{Host: hostArg("1")}))
	if op.State != backends.OperationFailed || op.Err.Fault.Message != "" {
		t.Errorf("ended %s with the reason %q", op.State, op.Err.Fault.Message)
	}
}

// TestOthersInterfere lets a third party act after the call was accepted.
func TestOthersInterfere(t *testing.T) {
	type then func(b *bench, id backends.ID)
	verb := func(v backends.Verb, a backends.Args) then {
		return func(b *bench, id backends.ID) {
			b.sim.Advance(5 * time.Second)
			b.do(v, id, a)
			b.sim.Advance(5 * time.Second)
		}
	}
	state := func(p place) then { return func(b *bench, id backends.ID) { b.set(id, p) } }
	for _, row := range []struct {
		name string
		goal string
		then []then
		want backends.OperationState
		says string
	}{
		{"deleted while it shuts down", goalPoweroff.String(), []then{state(place{6, 0})}, backends.OperationFailed, "deleted meanwhile"},
		{"resumed after it was shut down", goalPoweroff.String(), []then{verb("start", backends.Args{})}, backends.OperationUnknown, `"resume", by the user one.0`},
		{"suspended instead", goalPoweroff.String(), []then{state(place{5, 0})}, backends.OperationUnknown, `"suspend", by the user one.0`},
		{"resumed after it was suspended", goalSuspended.String(), []then{verb("resume", backends.Args{})}, backends.OperationUnknown, `"resume", by the user one.0`},
		{"off by itself while it is suspended", goalSuspended.String(), []then{state(place{8, 0})}, backends.OperationUnknown, `"poweroff"`},
		{"deployed after it was stored", goalStopped.String(), []then{verb("deploy", backends.Args{Host: hostArg("2")})}, backends.OperationUnknown, "RUNNING"},
		{"deployed after it was undeployed", goalUndeployed.String(), []then{verb("deploy", backends.Args{Host: hostArg("2")})}, backends.OperationUnknown, "RUNNING"},
		{"off instead of deleted", goalDone.String(), []then{state(place{8, 0})}, backends.OperationUnknown, `"poweroff"`},
		{"off after it was started", "started", []then{verb("shutdown", backends.Args{})}, backends.OperationUnknown, `"poweroff", by the user one.0`},
		{"moved after it was deployed", "on", []then{verb("migrate", backends.Args{Host: hostArg("2")})}, backends.OperationFailed, "host wanted"},
		{"moved back after a live migration", "movedlive", []then{verb("migrate", backends.Args{Host: hostArg("0")})}, backends.OperationSucceeded, ""},
		{"off after a live migration", "movedlive", []then{verb("shutdown", backends.Args{})}, backends.OperationSucceeded, ""},
		{"deleted after a live migration", "movedlive", []then{verb("terminate", backends.Args{})}, backends.OperationSucceeded, ""},
		{"off before a live migration", "movedlive", []then{state(place{8, 0})}, backends.OperationFailed, "stopped running"},
		{"moved back after a cold migration", "moved", []then{verb("migrate", backends.Args{Host: hostArg("0")})}, backends.OperationUnknown, "somebody else"},
		{"held after it was recreated", "recreated", []then{verb("hold", backends.Args{})}, backends.OperationSucceeded, ""},
		{"deleted instead of recovered", "left", []then{state(place{6, 0})}, backends.OperationFailed, "deleted meanwhile"},
		{"resized again", "sized", []then{verb("resize", backends.Args{VCPUs: new(int64(3))})}, backends.OperationFailed, "resized it again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, "6.10.0")
			ask := toward[row.goal]
			id := b.put(ask.from.state, ask.from.lcm)
			op := b.do(ask.verb, id, ask.args)
			for _, next := range row.then {
				next(b, id)
			}
			op = b.finish(op)
			if op.State != row.want {
				t.Fatalf("ended %s (%v), want %s", op.State, op.Err, row.want)
			}
			if row.says != "" && !strings.Contains(op.Err.Detail, row.says) {
				t.Errorf("it says %q, want %q in it", op.Err.Detail, row.says)
			}
		})
	}
}
