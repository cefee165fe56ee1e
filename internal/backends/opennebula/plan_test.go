package opennebula

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// world is all that a user can see of the VMs and images.
func (b *bench) world() string {
	b.Helper()
	var all strings.Builder
	for _, r := range []request{
		{method: "one.vmpool.info", args: []any{allVisible, fromStart, toEnd, anyState}},
		{method: "one.imagepool.info", args: []any{allVisible, fromStart, toEnd}},
		{method: "one.templatepool.info", args: []any{allVisible, fromStart, toEnd}},
	} {
		text, err := b.driver.text(b.Context(), b.session, r)
		if err != nil {
			b.Fatal(err)
		}
		all.WriteString(text)
	}
	for vm, err := range b.driver.VMs(b.Context(), b.session, backends.Query{View: backends.ViewNative, ShowDeleted: true}) {
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprint(&all, vm.Native)
	}
	return all.String()
}

// reads reports whether a method only reads.
func reads(method string) bool {
	return strings.HasSuffix(method, ".info") || strings.HasSuffix(method, ".infoextended") || method == "one.system.version"
}

// planned makes a plan and checks that nothing but reads went out, and nothing changed.
func (b *bench) planned(plan func() (*backends.Plan, error)) *backends.Plan {
	b.Helper()
	world, before := b.world(), b.sim.CallCounts()
	p, err := plan()
	after := b.sim.CallCounts()
	if err != nil {
		b.Fatal(err)
	}
	for method, n := range after {
		if n != before[method] && !reads(method) {
			b.Errorf("%s was called", method)
		}
	}
	if now := b.world(); now != world {
		b.Errorf("the plan changed something:\n%s\nbefore:\n%s", now, world)
	}
	if p.Calls == nil || p.Allowed != (p.Reason == "") {
		b.Errorf("a plan %+v", p)
	}
	return p
}

// sent are the changing calls that go out while f runs, as the simulator counts them.
func (b *bench) sent(f func() error) (methods []string, err error) {
	before := b.sim.CallCounts()
	err = f()
	after := b.sim.CallCounts()
	for _, method := range slices.Sorted(maps.Keys(after)) {
		for range after[method] - before[method] {
			if !reads(method) {
				methods = append(methods, method)
			}
		}
	}
	return methods, err
}

func methodsOf(p *backends.Plan) []string {
	var methods []string
	for _, c := range p.Calls {
		methods = append(methods, c.Method)
	}
	slices.Sort(methods)
	return methods
}

// TestEveryVerbIsPlannedAsItIsDone plans each verb in each settled state, and then does it: what the
// plan shows is what goes out, and what it says of the backend is what the backend says.
func TestEveryVerbIsPlannedAsItIsDone(t *testing.T) {
	host := backends.Args{Host: hostArg("1")}
	asks := []struct {
		verb backends.Verb
		args backends.Args
	}{
		{"start", backends.Args{}}, {"start", host}, {"shutdown", backends.Args{}}, {"shutdown", backends.Args{Mode: "FORCE"}},
		{"reboot", backends.Args{}}, {"suspend", backends.Args{}}, {"resume", backends.Args{}}, {"resume", host}, {"stop", backends.Args{}},
		{"undeploy", backends.Args{}}, {"hold", backends.Args{}}, {"release", backends.Args{}}, {"deploy", host}, {"terminate", backends.Args{}},
		{"recreate", backends.Args{}}, {"recover", backends.Args{Outcome: "RETRY"}}, {"recover", backends.Args{Outcome: "DELETE"}},
		{"migrate", host}, {"migrate", backends.Args{Host: hostArg("1"), Live: new(false)}}, {"resize", backends.Args{VCPUs: new(int64(2))}},
		{backends.VerbDelete, backends.Args{}}, {backends.VerbDelete, backends.Args{Force: new(true)}},
		{backends.VerbSaveDisk, backends.Args{Disk: "0", ImageName: "saved"}}, {backends.VerbInstantiate, backends.Args{}},
	}
	verbs := map[backends.Verb]bool{}
	for _, ask := range asks {
		verbs[ask.verb] = true
	}
	for v := range calls {
		if !verbs[v] {
			t.Errorf("%q is not planned here", v)
		}
	}
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		for i, ask := range asks {
			b := newBench(t, release) // small, so that all of it can be compared
			if !calls[ask.verb].in.has(b.driver.known()) {
				continue
			}
			for _, at := range []place{{1, 0}, {2, 0}, {3, 3}, {3, 16}, {3, 36}, {4, 0}, {5, 0}, {8, 0}, {9, 0}, {6, 0}} {
				if state, lcm := at.rows(b.driver.known()); state == nil || at.active() && lcm == nil {
					continue
				}
				t.Run(fmt.Sprintf("%s %s %d %s", release, ask.verb, i, at.name(b.driver.known())), func(t *testing.T) {
					b := b.in(t)
					id := b.put(at.state, at.lcm)
					args := ask.args
					if args.ImageName != "" {
						args.ImageName += id.Native
					}
					if ask.verb == backends.VerbInstantiate {
						id = b.driver.id(0)
					}
					if _, err := b.driver.PlanDo(t.Context(), b.session, ask.verb, id, args); backends.CodeOf(err) == backends.UnsupportedByBackend {
						return // of this release
					}
					plan := b.planned(func() (*backends.Plan, error) { return b.driver.PlanDo(t.Context(), b.session, ask.verb, id, args) })
					methods, err := b.sent(func() error {
						_, err := b.driver.Do(t.Context(), b.session, ask.verb, id, args)
						return err
					})
					if got := methodsOf(plan); !slices.Equal(got, methods) {
						t.Errorf("planned %v, sent %v", got, methods)
					}
					if plan.Allowed != (err == nil) {
						t.Errorf("planned %t (%s), done: %v", plan.Allowed, plan.Reason, err)
					}
				})
			}
		}
	}
}

// TestEveryMemberIsPlannedAsItIsDone plans and applies each member that the driver writes.
func TestEveryMemberIsPlannedAsItIsDone(t *testing.T) {
	values := map[string]any{
		"displayName": "planned", "description": "d", "hold": true, "owner": backends.OwnerPatch{User: hostArg("2")},
		"cpu.vcpus": int64(2), "cpu.maxVcpus": int64(4), "cpu.share": 0.5, "memory.dynamicMaxBytes": int64(128 * mib),
		"memory.staticMaxBytes": int64(256 * mib), "boot.pv.bootloader": "b", "boot.pv.kernel": "k", "boot.pv.ramdisk": "r", "boot.pv.args": "a",
		"boot.hvm.params": map[string]*string{"order": new("disk0")}, "platform": map[string]*string{"ACPI": new("yes")},
		"placement.preferredHost": *hostArg("1"), "placement.requirements": "CPUSPEED > 1000", "placement.rank": "FREE_CPU",
		"annotations": map[string]*string{"TEAM": new("x")}, "opennebula.template": "CPU=1\nMEMORY=64\n",
		"opennebula.permissions": backends.PermissionsPatch{Other: backends.PermissionBitsPatch{Use: new(true)}},
	}
	for _, release := range []string{"4.14.2", "6.10.0", "7.4.0"} {
		for _, m := range backends.Members {
			b := newBench(t, release)
			if !b.driver.Writes(m.Path) {
				continue
			}
			value, ok := values[m.Path]
			if !ok {
				t.Errorf("%s is not planned here", m.Path)
				continue
			}
			change := backends.Change{Path: m.Path, Value: value}
			if m.Create {
				t.Run(release+" create "+m.Path, func(t *testing.T) {
					b := b.in(t)
					members := []backends.Change{change}
					if m.Path != "memory.dynamicMaxBytes" && m.Path != "opennebula.template" {
						members = append(members, backends.Change{Path: "memory.dynamicMaxBytes", Value: int64(128 * mib)})
					}
					plan := b.planned(func() (*backends.Plan, error) { return b.driver.PlanCreate(t.Context(), b.session, members) })
					methods, err := b.sent(func() error { _, err := b.driver.Create(t.Context(), b.session, members); return err })
					if got := methodsOf(plan); err != nil || !slices.Equal(got, methods) || !plan.Allowed {
						t.Errorf("planned %v (%t), sent %v: %v", got, plan.Allowed, methods, err)
					}
				})
			}
			if m.Patch && members[m.Path].step != stepCreate {
				for _, value := range []any{value, nil} {
					if value == nil && !m.Nullable {
						continue
					}
					t.Run(fmt.Sprintf("%s patch %s %t", release, m.Path, value == nil), func(t *testing.T) {
						b := b.in(t)
						id := b.put(stPoweroff, 0)
						changes := []backends.Change{{Path: m.Path, Value: value}}
						if _, err := b.driver.PlanPatch(t.Context(), b.session, id, changes); backends.CodeOf(err) == backends.UnsupportedByBackend {
							return // of this release
						}
						plan := b.planned(func() (*backends.Plan, error) { return b.driver.PlanPatch(t.Context(), b.session, id, changes) })
						methods, err := b.sent(func() error { return b.driver.Patch(t.Context(), b.session, id, changes) })
						if got := methodsOf(plan); err != nil || !slices.Equal(got, methods) || !plan.Allowed {
							t.Errorf("planned %v (%t), sent %v: %v", got, plan.Allowed, methods, err)
						}
					})
				}
			}
		}
	}
}

func TestAPlanShowsTheArguments(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.running()
	for _, row := range []struct {
		verb backends.Verb
		args backends.Args
		want backends.PlannedCall
	}{
		{"shutdown", backends.Args{Mode: "FORCE"}, backends.PlannedCall{Method: "one.vm.action", Arguments: []any{"poweroff-hard", 0}}},
		{"migrate", backends.Args{Host: hostArg("1")}, backends.PlannedCall{Method: "one.vm.migrate", Arguments: []any{0, 1, true, false, -1, 0}}},
	} {
		plan, err := b.driver.PlanDo(t.Context(), b.session, row.verb, id, row.args)
		if err != nil || !reflect.DeepEqual(plan.Calls, []backends.PlannedCall{row.want}) || !plan.Allowed {
			t.Errorf("%s: %+v, %v, want %+v", row.verb, plan, err, row.want)
		}
	}
	if _, err := b.driver.PlanDo(t.Context(), b.session, "shutdown", b.driver.id(99), backends.Args{}); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("a VM that is not there: %v", err)
	}
	if _, err := b.driver.PlanPatch(t.Context(), b.session, b.driver.id(99), []backends.Change{{Path: "displayName", Value: "x"}}); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("a VM that is not there: %v", err)
	}
	plan, err := b.driver.PlanDo(t.Context(), b.session, "migrate", b.put(stPoweroff, 0), backends.Args{Host: hostArg("1")})
	if err != nil || plan.Allowed || len(plan.Calls) > 0 || plan.Fault == nil || !strings.Contains(plan.Reason, "live") {
		t.Errorf("what the gateway refuses itself: %+v, %v", plan, err)
	}
	if _, err := b.driver.integer(t.Context(), b.session, request{method: "one.vm.lock", args: []any{0, 1}}); err != nil {
		t.Fatal(err)
	}
	plan, err = b.driver.PlanDo(t.Context(), b.session, "suspend", id, backends.Args{})
	if _, refused := b.driver.Do(t.Context(), b.session, "suspend", id, backends.Args{}); err != nil || plan.Allowed || refused == nil {
		t.Errorf("a locked VM: %+v, %v; done: %v", plan, err, refused)
	}
}

func TestAPlanHasNoSecrets(t *testing.T) {
	b := newBench(t, "6.10.0")
	for _, template := range []string{
		"CPU=1\nMEMORY=64\nNAME=web\nCONTEXT=[ NETWORK=\"YES\", PASSWORD=\"hunter \\\"2\\\" x\", ROOT_PASSWORD=hunter2, crypted_password_base64 = \"hunter2==\" ]\nGRAPHICS=[TYPE=vnc,PASSWD=hunter2]\nMY_TOKEN=\"hunter\n2\"\nKEEP=\"seen\"",
		"<TEMPLATE><CPU>1</CPU><MEMORY>64</MEMORY><CONTEXT><PASSWORD><![CDATA[hunter</PASSWORD>2]]></PASSWORD><ROOT_PASSWORD>hunter&lt;2</ROOT_PASSWORD></CONTEXT><KEEP>seen</KEEP><RAW><DATA><![CDATA[<graphics passwd='hunter2'/>]]></DATA></RAW></TEMPLATE>",
	} {
		plan, err := b.driver.PlanCreate(t.Context(), b.session, []backends.Change{{Path: "opennebula.template", Value: template}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(plan)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter") || !strings.Contains(string(text), mask) || !strings.Contains(string(text), "seen") || !strings.Contains(string(text), "MEMORY") {
			t.Errorf("%s", text)
		}
		if _, token, _ := strings.Cut(b.session.Reveal(), ":"); strings.Contains(string(text), token) {
			t.Errorf("the session is in the plan")
		}
	}
}

func TestCancel(t *testing.T) {
	for _, release := range []string{"4.14.2", "6.10.0", "7.4.0"} {
		for _, row := range []struct {
			goal string
			ends string
		}{
			{goalPoweroff.String(), "RUNNING"}, {goalSuspended.String(), "RUNNING"}, {goalStopped.String(), "RUNNING"}, {goalUndeployed.String(), "RUNNING"},
			{goalDone.String(), "RUNNING"}, {"started", "POWEROFF"}, {"on", "PROLOG_FAILURE"}, {"moved", "RUNNING"}, {"movedlive", "RUNNING"},
		} {
			t.Run(release+" "+row.goal, func(t *testing.T) {
				b := newBench(t, release)
				ask := toward[row.goal]
				id := b.put(ask.from.state, ask.from.lcm)
				begun := b.do(ask.verb, id, ask.args)
				op, err := b.driver.Operation(t.Context(), b.session, begun.ID)
				if err != nil || !op.Cancellable || begun.Cancellable && !op.Cancellable {
					t.Fatalf("cancellable at first %t, then %+v: %v", begun.Cancellable, op, err)
				}
				if err := b.driver.Cancel(t.Context(), b.session, op.ID); err != nil {
					t.Fatal(err)
				}
				op = b.finish(op)
				if op.State != backends.OperationFailed || !op.GaveUp || !strings.Contains(op.Err.Detail, row.ends) {
					t.Errorf("ended %s, given up %t: %v", op.State, op.GaveUp, op.Err)
				}
				if err := b.driver.Cancel(t.Context(), b.session, op.ID); backends.CodeOf(err) != backends.WrongState {
					t.Errorf("when it has ended: %v, want %s", err, backends.WrongState)
				}
			})
		}
	}
}

func TestWhatCannotBeCancelled(t *testing.T) {
	b := newBench(t, "6.10.0")
	cancel := func(s backends.Session, op *backends.Operation, want backends.Code) {
		t.Helper()
		methods, err := b.sent(func() error { return b.driver.Cancel(t.Context(), s, op.ID) })
		if backends.CodeOf(err) != want || err == nil {
			t.Errorf("%s: %v, want %s", op.ID, err, want)
		}
		if want != backends.PermissionDenied && len(methods) > 0 {
			t.Errorf("%s: sent %v", op.ID, methods)
		}
	}
	cancel(b.session, b.do("hold", b.put(stPending, 0), backends.Args{}), backends.WrongState)
	cancel(b.session, b.do("recreate", b.running(), backends.Args{}), backends.UnsupportedByBackend)
	cancel(b.session, b.do(backends.VerbSaveDisk, b.put(stPoweroff, 0), backends.Args{Disk: "0", ImageName: "saved"}), backends.UnsupportedByBackend)
	// A VM that is well again, before grace is over: recover would succeed and do nothing.
	id := b.running()
	op := b.do("shutdown", id, backends.Args{})
	b.set(id, place{stActive, lcmRunning})
	cancel(b.session, op, backends.UnsupportedByBackend)
	// A VM that somebody else moves by now.
	id = b.running()
	op = b.do("shutdown", id, backends.Args{})
	b.set(id, place{stActive, lcmMigrate})
	cancel(b.session, op, backends.UnsupportedByBackend)

	id = b.running()
	if _, err := b.driver.integer(t.Context(), b.session, request{method: "one.vm.chmod", args: []any{mustNumber(t, id), -1, -1, -1, -1, -1, -1, 1, 1, 0}}); err != nil {
		t.Fatal(err)
	}
	alice, _ := b.as("alice")
	result, err := b.driver.Do(context.Background(), alice, "shutdown", id, backends.Args{})
	if err != nil {
		t.Fatal(err)
	}
	cancel(alice, result.(*backends.Operation), backends.PermissionDenied)
	cancel(b.session, &backends.Operation{ID: backends.ID{Backend: "one", Native: "x"}}, backends.NotFound)
}

func mustNumber(t *testing.T, id backends.ID) int {
	t.Helper()
	n, ok := number(id.Native)
	if !ok {
		t.Fatalf("%s has no number", id)
	}
	return n
}

func TestPreferredHost(t *testing.T) {
	b := newBench(t, "6.10.0")
	host := func(native string) backends.Change {
		return backends.Change{Path: "placement.preferredHost", Value: *hostArg(native)}
	}
	remove := backends.Change{Path: "placement.preferredHost"}
	id, err := b.driver.Create(t.Context(), b.session, []backends.Change{{Path: "memory.dynamicMaxBytes", Value: int64(64 * mib)}, host("1")})
	if err != nil {
		t.Fatal(err)
	}
	want := func(preferred, requirements string) {
		t.Helper()
		p := b.vm(id).Placement
		if p == nil {
			p = &backends.Placement{}
		}
		got := ""
		if p.PreferredHost != nil {
			got = p.PreferredHost.ID.String()
		}
		if got != preferred || (p.Requirements == nil) != (requirements == "") || requirements != "" && *p.Requirements != requirements {
			t.Errorf("prefers %q with %v, want %q with %q", got, p.Requirements, preferred, requirements)
		}
	}
	patch := func(changes ...backends.Change) error { return b.driver.Patch(t.Context(), b.session, id, changes) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want("one.1", `ID = "1"`)
	must(patch(host("2"), backends.Change{Path: "annotations", Value: map[string]*string{"TEAM": new("x")}}))
	want("one.2", `ID = "2"`)
	must(patch(remove))
	want("", "")
	if b.vm(id).Annotations["TEAM"] != "x" {
		t.Error("removing the host took an annotation away")
	}
	other := `ID = "1" | ID = "2"`
	must(patch(backends.Change{Path: "placement.requirements", Value: other}))
	want("", other)
	methods, err := b.sent(func() error { return patch(remove) })
	if must(err); len(methods) > 0 {
		t.Errorf("removing a host that is not preferred sends %v", methods)
	}
	want("", other)
	must(patch(backends.Change{Path: "placement.requirements", Value: "ID=2"}))
	want("one.2", "ID=2")
	for _, row := range []struct {
		changes []backends.Change
		want    backends.Code
	}{
		{[]backends.Change{host("1"), {Path: "placement.requirements", Value: "X"}}, backends.InvalidArgument},
		{[]backends.Change{remove, {Path: "placement.requirements"}}, backends.InvalidArgument},
		{[]backends.Change{host("99")}, backends.Unprocessable},
		{[]backends.Change{host("01")}, backends.InvalidArgument},
		{[]backends.Change{{Path: "placement.preferredHost", Value: backends.ID{Backend: "two", Native: "1"}}}, backends.InvalidArgument},
	} {
		e := backends.AsError(patch(row.changes...))
		if e.Code != row.want || len(e.Fields) != 1 || e.Fields[0].Pointer != pointerHost {
			t.Errorf("%v: %v at %v, want %s", row.changes, e, e.Fields, row.want)
		}
	}
}
