package xenapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// still runs f, and fails when it made a call that changes something, or when anything changed.
func (w *world) still(f func()) {
	w.Helper()
	before, calls, tasks := w.everything(), w.sim.CallCounts(), w.sim.Tasks()
	f()
	for method, n := range w.sim.CallCounts() {
		if n > calls[method] && !repeatable(method) {
			w.Errorf("a plan called %s", method)
		}
	}
	if got := w.everything(); !maps.Equal(got, before) || w.sim.Tasks() != tasks {
		w.Error("a plan changed something")
	}
}

// everything is all VMs, templates and all, as JSON by id.
func (w *world) everything() map[backends.ID]string {
	w.Helper()
	all := map[backends.ID]string{}
	for vm, err := range w.d.VMs(w.Context(), w.s, backends.Query{View: backends.ViewFull, ShowTemplates: true}) {
		if err != nil {
			w.Fatal(err)
		}
		all[vm.ID] = w.json(vm)
	}
	return all
}

func (w *world) checkPlan(p *backends.Plan) {
	w.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		w.Fatal(err)
	}
	if strings.Contains(string(text), "OpaqueRef") || strings.Contains(string(text), w.s.Reveal()) {
		w.Errorf("a plan holds a reference: %s", text)
	}
	if p.Calls == nil || p.Allowed == (p.Reason != "") {
		w.Errorf("plan %s", text)
	}
}

// argsOf is a body for each verb that is right in itself.
func (w *world) argsOf(v backends.Verb) backends.Args {
	hosts := w.hosts()
	switch v {
	case "migrate", "checkHost":
		return backends.Args{Host: &hosts[1]}
	case "resize":
		return backends.Args{VCPUs: ptr(int64(1)), Memory: &backends.Memory{DynamicMaxBytes: ptr(int64(1 << 30))}}
	case "setVcpuParam":
		return backends.Args{Key: "weight", Value: "256"}
	case "sendSysrq":
		return backends.Args{Key: "b"}
	case "sendTrigger":
		return backends.Args{Trigger: "nmi"}
	case "checkOperation":
		return backends.Args{Action: "start"}
	case backends.VerbInstantiate:
		return backends.Args{DisplayName: ptr("new"), Description: ptr("made of a template")}
	case backends.VerbDelete:
		return backends.Args{DeleteDisks: true}
	}
	return backends.Args{}
}

// What a plan tells is what then goes out, and whether it goes well.
func TestPlansOfVerbs(t *testing.T) {
	for _, from := range []string{"Halted", "Running", "Paused", "Suspended", "template"} {
		for v := range calls {
			t.Run(string(v)+"/"+from, func(t *testing.T) {
				w := newWorld(t, xensim.Config{})
				spec := xensim.VMSpec{Name: "web", PowerState: from}
				if from == "template" {
					spec.Template, spec.PowerState = true, "Halted"
				}
				id := w.put(spec)
				args := w.argsOf(v)
				var plan *backends.Plan
				var planErr error
				w.still(func() { plan, planErr = w.d.PlanDo(t.Context(), w.s, v, id, args) })

				before := w.sim.CallCounts()
				result, err := w.d.Do(t.Context(), w.s, v, id, args)
				if planErr != nil {
					if backends.CodeOf(planErr) != backends.CodeOf(err) {
						t.Errorf("planned %v, done %v", planErr, err)
					}
					return
				}
				w.checkPlan(plan)
				if plan.Allowed {
					if err != nil && !refusedBy(err, "NOT_IMPLEMENTED", "HOST_IS_LIVE") {
						t.Errorf("allowed, and then %v", err)
					}
				} else if backends.AsError(err).Code != backends.WrongState && backends.AsError(err).Code != backends.Conflict {
					t.Errorf("not allowed (%s), and then %v, %v", plan.Reason, result, err)
				}
				if plan.Allowed && plan.Fault != nil || !plan.Allowed && plan.Fault == nil && len(plan.Calls) > 0 {
					t.Errorf("plan %+v", plan)
				}
				if err == nil && v != "checkOperation" {
					w.wentOut(before, plan)
				}
			})
		}
	}
}

// wentOut checks that exactly the planned calls have gone out since before.
func (w *world) wentOut(before map[string]int, plan *backends.Plan) {
	w.Helper()
	want, got := map[string]int{}, map[string]int{}
	for _, c := range plan.Calls {
		want[c.Method]++
	}
	for method, n := range w.sim.CallCounts() {
		if n -= before[method]; n > 0 && (!repeatable(method) || want[method] > 0) && method != "task.destroy" {
			got[method] = n
		}
	}
	if !maps.Equal(got, want) {
		w.Errorf("planned %v, went out %v", want, got)
	}
}

func TestPlanTellsArguments(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	hosts := w.hosts()
	tests := []struct {
		name string
		spec xensim.VMSpec
		verb backends.Verb
		args backends.Args
		want string // "{vm}" is the VM
	}{
		{"start", xensim.VMSpec{}, "start", backends.Args{StartPaused: ptr(true)}, `[{"method":"Async.VM.start","arguments":["{vm}",true,false]}]`},
		{"migrate", xensim.VMSpec{PowerState: "Running"}, "migrate", backends.Args{Host: &hosts[1], Compress: ptr(false)},
			`[{"method":"Async.VM.pool_migrate","arguments":["{vm}","` + hosts[1].String() + `",{"compress":"false","live":"true"}]}]`},
		{"copy", xensim.VMSpec{Name: "web"}, "copy", backends.Args{}, `[{"method":"Async.VM.copy","arguments":["{vm}","web",""]}]`},
		{"instantiate", xensim.VMSpec{Name: "debian", Template: true}, backends.VerbInstantiate, backends.Args{Description: ptr("x")},
			`[{"method":"Async.VM.clone","arguments":["{vm}","debian"]},{"method":"VM.set_name_description","arguments":["(the VM that was made)","x"]},` +
				`{"method":"Async.VM.provision","arguments":["(the VM that was made)"]}]`},
		{"delete", xensim.VMSpec{PowerState: "Running"}, backends.VerbDelete, backends.Args{Force: ptr(true)},
			`[{"method":"Async.VM.hard_shutdown","arguments":["{vm}"]},{"method":"Async.VM.destroy","arguments":["{vm}"]}]`},
		{"a reference in a text", xensim.VMSpec{}, "clone", backends.Args{DisplayName: ptr("OpaqueRef:0a57d32d")}, `[{"method":"Async.VM.clone","arguments":["{vm}","reference"]}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.on(t)
			id := w.put(tt.spec)
			plan, err := w.d.PlanDo(t.Context(), w.s, tt.verb, id, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			w.checkPlan(plan)
			text, err := json.Marshal(plan.Calls)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.want, "{vm}", id.String()); string(text) != want || !plan.Allowed {
				t.Errorf("allowed %v\n%s, want\n%s", plan.Allowed, text, want)
			}
		})
	}
}

func TestPlansOfChanges(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	values := map[string]any{}
	for path, m := range writable {
		for _, v := range []any{"text", true, int64(1 << 31), int64(1), 1.5, map[string]*string{"clone": ptr("no")}, []string{"a"}, w.hosts()[0], "hvm", "restart"} {
			l := w.d.link(w.s)
			if _, err := m.say(t.Context(), l, "/x", v); err == nil {
				values[path] = v
				break
			}
		}
	}
	delete(values, "xenapi.suspendDisk") // takes a disk, of which there is none here
	for _, power := range []string{"Halted", "Running", "Suspended"} {
		for path, value := range values {
			t.Run(path+"/"+power, func(t *testing.T) {
				w := w.on(t)
				id := w.put(xensim.VMSpec{PowerState: power})
				change := []backends.Change{{Path: path, Value: value}}
				if strings.HasPrefix(path, "memory.") {
					change[0].Value = map[string]int64{
						"memory.staticMaxBytes": 4 << 30, "memory.dynamicMaxBytes": 1 << 30, "memory.dynamicMinBytes": 1 << 29, "memory.staticMinBytes": 1 << 27,
					}[path]
				}
				var plan *backends.Plan
				var planErr error
				w.still(func() { plan, planErr = w.d.PlanPatch(t.Context(), w.s, id, change) })
				before := w.sim.CallCounts()
				err := w.d.Patch(t.Context(), w.s, id, change)
				switch {
				case planErr != nil:
					if backends.CodeOf(planErr) != backends.CodeOf(err) {
						t.Errorf("planned %v, done %v", planErr, err)
					}
					return
				case plan.Allowed != (err == nil):
					t.Errorf("allowed %v (%s), and then %v", plan.Allowed, plan.Reason, err)
				case err == nil:
					w.wentOut(before, plan)
				}
				w.checkPlan(plan)
			})
		}
	}
	t.Run("create", func(t *testing.T) {
		w := w.on(t)
		members := []backends.Change{{Path: "displayName", Value: "new"}, {Path: "memory.staticMaxBytes", Value: int64(1 << 30)}, {Path: "placement.preferredHost", Value: w.hosts()[0]}}
		var plan *backends.Plan
		var err error
		w.still(func() { plan, err = w.d.PlanCreate(t.Context(), w.s, members) })
		if err != nil {
			t.Fatal(err)
		}
		w.checkPlan(plan)
		vm := plan.Calls[0].Arguments[0].(map[string]any)
		if !plan.Allowed || plan.Calls[0].Method != "VM.create" || vm["name_label"] != "new" || vm["affinity"] != w.hosts()[0].String() {
			t.Errorf("plan %+v", plan)
		}
		before := w.sim.CallCounts()
		if _, err := w.d.Create(t.Context(), w.s, members); err != nil {
			t.Fatal(err)
		}
		w.wentOut(before, plan)
	})
}

func TestPlansOfThoseWhoMayNot(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	login, err := w.d.Login(t.Context(), "viewer", "viewer-demo")
	if err != nil {
		t.Fatal(err)
	}
	w.s = login.Session
	id := w.put(xensim.VMSpec{})
	check := func(plan *backends.Plan, err error) {
		t.Helper()
		if err != nil || plan.Allowed || plan.Fault == nil || plan.Fault.Code != "RBAC_PERMISSION_DENIED" {
			t.Errorf("plan %+v, %v", plan, err)
		}
	}
	check(w.d.PlanDo(t.Context(), w.s, "start", id, backends.Args{}))
	check(w.d.PlanPatch(t.Context(), w.s, id, []backends.Change{{Path: "displayName", Value: "x"}}))
	check(w.d.PlanCreate(t.Context(), w.s, []backends.Change{{Path: "memory.staticMaxBytes", Value: int64(1 << 30)}}))
	if plan, err := w.d.PlanDo(t.Context(), w.s, "checkOperation", id, backends.Args{Action: "start"}); err != nil || !plan.Allowed {
		t.Errorf("plan %+v, %v", plan, err)
	}

	gone := backends.ID{Backend: "xen", Native: missing}
	if _, err := w.d.PlanDo(t.Context(), w.s, "start", gone, backends.Args{}); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("a VM that does not exist: %v", err)
	}
	if err := w.d.Logout(t.Context(), w.s); err != nil {
		t.Fatal(err)
	}
	if _, err := w.d.PlanCreate(t.Context(), w.s, []backends.Change{{Path: "memory.staticMaxBytes", Value: int64(1 << 30)}}); backends.CodeOf(err) != backends.BackendSessionEnded {
		t.Errorf("a session that has ended: %v", err)
	}
}

func TestAssertionsAreOperations(t *testing.T) {
	for method, raw := range assertedAs {
		if _, ok := operationByName[raw]; !ok {
			t.Errorf("%s is asserted as %s", method, raw)
		}
	}
	var methods []string
	for _, row := range calls {
		methods = append(methods, row.methods...)
	}
	slices.Sort(methods)
	for _, method := range slices.Compact(methods) {
		if _, ok := (step{method: method}).operation(); !ok && method != "VDI.destroy" && !slices.Contains(anyState, method) {
			t.Errorf("nobody asks whether %s is allowed", method)
		}
	}
}
