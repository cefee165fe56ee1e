package xensim

import (
	"slices"
	"strings"
	"time"
)

// operation is one value of vm_operations: the power states it is possible in, by initial (Halted,
// Paused, Suspended, Running), in the order in which errors name them. Sources: xen-api
// ocaml/xapi/xapi_vm_lifecycle.ml of v26.17.0 and of fhs/1.3.
type operation struct {
	name   string
	states string
	old    string // the same in the oldest release; "-" = it had none such
}

func operations() []operation {
	return []operation{
		{"import", "", ""}, {"changing_VCPUs", "H", "H"}, {"changing_static_range", "H", "H"}, {"changing_memory_limits", "H", "H"},
		{"changing_shadow_memory", "H", "H"}, {"changing_NVRAM", "H", "-"}, {"make_into_template", "H", "H"}, {"provision", "H", "H"},
		{"start", "H", "H"}, {"start_on", "H", "H"}, {"create_vtpm", "H", "-"}, {"unpause", "P", "P"}, {"csvm", "S", "S"},
		{"resume", "S", "S"}, {"resume_on", "S", "S"}, {"awaiting_memory_live", "R", "R"}, {"call_plugin", "R", "-"},
		{"clean_reboot", "R", "R"}, {"clean_shutdown", "R", "R"}, {"changing_memory_live", "R", "R"}, {"changing_shadow_memory_live", "R", "R"},
		{"changing_VCPUs_live", "R", "R"}, {"data_source_op", "R", "R"}, {"pause", "R", "R"}, {"pool_migrate", "R", "R"},
		{"send_sysrq", "R", "R"}, {"send_trigger", "R", "R"}, {"snapshot_with_quiesce", "R", "R"}, {"sysprep", "R", "-"}, {"suspend", "R", "R"},
		{"changing_dynamic_range", "HR", "HR"}, {"clone", "H", "HS"}, {"copy", "H", "HS"}, {"create_template", "HS", "HS"},
		{"destroy", "HS", "HS"}, {"export", "HS", "HS"}, {"hard_reboot", "PR", "PR"}, {"checkpoint", "PSR", "PSR"},
		{"get_boot_record", "PSR", "PSR"}, {"shutdown", "PSR", "-"}, {"hard_shutdown", "PSR", "PSR"}, {"migrate_send", "HSR", "-"},
		{"assert_operation_valid", "HPSR", "HPSR"}, {"metadata_export", "HPSR", "HPSR"}, {"power_state_reset", "HPSR", "HPSR"},
		{"revert", "HPSR", "HPSR"}, {"reverting", "HPSR", "HPSR"}, {"snapshot", "HPSR", "HPSR"},
		{"update_allowed_operations", "HPSR", "HPSR"}, {"query_services", "HPSR", "-"},
	}
}

// listedOperations are those that allowed_operations may name, in its order.
func listedOperations() []string {
	return strings.Fields(`create_vtpm destroy metadata_export export make_into_template changing_NVRAM
		changing_shadow_memory changing_static_range changing_VCPUs_live changing_dynamic_range migrate_send pool_migrate
		provision resume_on resume suspend hard_reboot hard_shutdown clean_reboot clean_shutdown unpause pause start_on start
		checkpoint revert copy clone snapshot`)
}

// What each kind of VM that is no ordinary one allows.
func templateOperations() []string {
	return strings.Fields(`changing_dynamic_range changing_static_range changing_memory_limits changing_shadow_memory
		changing_VCPUs changing_NVRAM clone copy export metadata_export provision make_into_template`)
}

func snapshotOperations() []string {
	return strings.Fields("revert clone copy export destroy hard_shutdown metadata_export")
}

func controlDomainOperations() []string {
	return strings.Fields(`data_source_op changing_memory_live awaiting_memory_live metadata_export changing_dynamic_range
		changing_memory_limits changing_static_range start changing_VCPUs`)
}

// operationRules is the tables above, ready to be asked; one per Server.
type operationRules struct {
	states                            map[string][]string
	listed                            []string
	template, snapshot, controlDomain map[string]bool
	needsAgent                        map[string]string // operation → the guest's feature
	old                               bool
}

func newOperationRules(old bool) *operationRules {
	names := map[byte]string{'H': "Halted", 'P': "Paused", 'S': "Suspended", 'R': "Running"}
	set := func(list []string) map[string]bool {
		out := map[string]bool{}
		for _, v := range list {
			out[v] = true
		}
		return out
	}
	r := &operationRules{states: map[string][]string{}, old: old,
		template: set(templateOperations()), snapshot: set(snapshotOperations()), controlDomain: set(controlDomainOperations()),
		needsAgent: map[string]string{
			"clean_shutdown": "feature-shutdown", "clean_reboot": "feature-reboot", "suspend": "feature-suspend",
			"checkpoint": "feature-suspend", "pool_migrate": "feature-suspend", "migrate_send": "feature-suspend",
			"changing_VCPUs_live": "feature-vcpu-hotplug",
		}}
	for _, op := range operations() {
		states := op.states
		if old {
			states = op.old
		}
		if states == "-" {
			continue
		}
		r.states[op.name] = []string{}
		for i := range len(states) {
			r.states[op.name] = append(r.states[op.name], names[states[i]])
		}
	}
	r.listed = slices.DeleteFunc(listedOperations(), func(op string) bool { return r.states[op] == nil })
	return r
}

func (r *operationRules) statesFor(o *object, op string) []string {
	states := r.states[op]
	switch {
	case (op == "clone" || op == "copy") && o.flag("is_a_snapshot") && len(states) == 1:
		return append(slices.Clone(states), "Suspended")
	case o.flag("is_control_domain") && slices.Contains([]string{"changing_VCPUs", "changing_static_range", "changing_memory_limits"}, op):
		return append(slices.Clone(states), "Running")
	}
	return states
}

func badState(o *object, states []string) *Failure {
	return fail("VM_BAD_POWER_STATE", o.ref, strings.ToLower(strings.Join(states, ", ")), o.lowerState())
}

// needState refuses an object that is in none of the states; no states means no condition.
func needState(o *object, states []string) *Failure {
	if len(states) == 0 || !o.isClass("VM") || slices.Contains(states, o.powerState()) {
		return nil
	}
	return badState(o, states)
}

// overlaps tells whether op may begin while the others run.
func (r *operationRules) overlaps(op string, running record) bool {
	among := func(set ...string) bool {
		return slices.Contains(set, op) && !slices.ContainsFunc(running, func(m member) bool { return !slices.Contains(set, asString(m.Value)) })
	}
	only := func(name string) bool { return len(running) == 1 && running[0].Value == name }
	none := func(names ...string) bool {
		return !slices.ContainsFunc(running, func(m member) bool { return slices.Contains(names, asString(m.Value)) })
	}
	switch {
	case among("clone", "copy", "export"), among("snapshot", "checkpoint"), among("get_boot_record"):
		return true
	case only("migrate_send") && slices.Contains([]string{"metadata_export", "clean_shutdown", "clean_reboot"}, op):
		return true
	case only("snapshot_with_quiesce") && op == "snapshot":
		return true
	case op == "hard_shutdown":
		return none("hard_shutdown")
	case op == "hard_reboot":
		return none("hard_shutdown", "hard_reboot")
	}
	return false
}

// checkOperation says why op is not possible on the VM now, or nil; the order of the checks is xapi's.
func (s *Server) checkOperation(o *object, op string) *Failure {
	r := s.rules
	if reason, blocked := o.fields("blocked_operations").get(op); blocked {
		return fail("OPERATION_BLOCKED", o.ref, asString(reason))
	}
	states := r.statesFor(o, op)
	if !slices.Contains(states, o.powerState()) {
		return badState(o, states)
	}
	if running := o.operations(); len(running) > 0 && !r.overlaps(op, running) {
		return fail("OTHER_OPERATION_IN_PROGRESS", "VM."+operationNames(running), o.ref)
	}
	template, snapshot := o.flag("is_a_template"), o.flag("is_a_snapshot")
	if template && !snapshot && !r.template[op] {
		isDefault := o.flag("is_default_template") || o.fields("other_config").text("default_template") == "true"
		if op != "destroy" && op != "migrate_send" || isDefault {
			return fail("VM_IS_TEMPLATE", o.ref, op)
		}
	}
	if snapshot && !r.snapshot[op] {
		return fail("VM_IS_SNAPSHOT", o.ref, op)
	}
	if op == "provision" && !template {
		return fail("PROVISION_ONLY_ALLOWED_ON_TEMPLATE")
	}
	if op == "revert" && !snapshot {
		return fail("REVERT_ONLY_ALLOWED_ON_SNAPSHOT")
	}
	if o.flag("is_control_domain") && !r.controlDomain[op] {
		return fail("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
	}
	if f := s.checkGuest(o, op); f != nil {
		return f
	}
	if op == "make_into_template" && s.db.find("VM_appliance", o.str("appliance")) != nil {
		return fail("VM_IS_PART_OF_AN_APPLIANCE", o.ref, o.str("appliance"))
	}
	if op == "query_services" && o.fields("other_config").text("is_system_domain") != "true" {
		return fail("NOT_SYSTEM_DOMAIN", o.ref)
	}
	return nil
}

// checkGuest refuses what needs a guest agent when there is none.
func (s *Server) checkGuest(o *object, op string) *Failure {
	feature := s.rules.needsAgent[op]
	if feature == "" || o.powerState() != "Running" || o.str("domain_type") == "pv" || o.flag("is_control_domain") {
		return nil
	}
	if s.guestHas(o, feature) {
		return nil
	}
	if s.rules.old {
		return fail("VM_MISSING_PV_DRIVERS", o.ref)
	}
	return fail("VM_LACKS_FEATURE", o.ref)
}

// guestHas tells whether the guest's agent has told of the feature.
func (s *Server) guestHas(vm *object, feature string) bool {
	gm := s.db.find("VM_guest_metrics", vm.str("guest_metrics"))
	return gm != nil && gm.fields("other").text(feature) == "1"
}

// hasAgent tells whether devices can be plugged into the running guest.
func (s *Server) hasAgent(vm *object) bool {
	return vm.str("domain_type") == "pv" || s.guestHas(vm, "feature-shutdown")
}

func operationNames(running record) string {
	names := make([]string, len(running))
	for i, m := range running {
		names[i] = asString(m.Value)
	}
	if len(names) == 1 {
		return names[0]
	}
	return "{" + strings.Join(names, ",") + "}"
}

func (s *Server) allowedOperations(o *object) []string {
	out := []string{}
	for _, op := range s.rules.listed {
		if op == "make_into_template" && o.flag("is_a_template") {
			continue
		}
		if s.checkOperation(o, op) == nil {
			out = append(out, op)
		}
	}
	return out
}

// conflictPatience is how long a call waits for the operations in its way.
const conflictPatience = 20 * time.Minute

// operate runs apply as the operation op on the VM: it waits until no other operation is in the way,
// shows op in current_operations while d passes, and then applies it, if the VM's state still allows it.
func (c *call) operate(o *object, op string, d time.Duration, apply func() (any, *Failure)) (any, *Failure) {
	return c.operateWith(o, steps{op: op, duration: d, apply: apply})
}

// steps are the parts of an operation. Only apply is needed.
type steps struct {
	op        string
	duration  time.Duration
	prepare   func() *Failure // once the operation is in place, before its time passes
	apply     func() (any, *Failure)
	cancelled func() // when the task was cancelled while the time passed
}

func (c *call) operateWith(o *object, st steps) (any, *Failure) {
	s := c.s
	if f := c.awaitTurn(o, st.op); f != nil {
		return nil, f
	}
	s.db.set(o, "current_operations", o.operations().with(c.opID, st.op))
	defer func() { s.db.set(o, "current_operations", o.operations().without(c.opID)) }()
	if st.prepare != nil {
		if f := st.prepare(); f != nil {
			return nil, f
		}
	}
	if f := c.pass(st.duration + s.extraDelay(o, st.op)); f != nil {
		if st.cancelled != nil {
			st.cancelled()
		}
		return nil, f
	}
	if c.failure != nil {
		return nil, c.failure
	}
	if s.db.find("VM", o.ref) != o {
		return nil, fail("HANDLE_INVALID", "VM", o.ref)
	}
	if states := s.rules.statesFor(o, st.op); !slices.Contains(states, o.powerState()) {
		return nil, badState(o, states)
	}
	return st.apply()
}

// awaitTurn waits while another operation is in the way, as xapi does instead of refusing.
func (c *call) awaitTurn(o *object, op string) *Failure {
	s := c.s
	var patience <-chan time.Time
	for {
		if s.db.find("VM", o.ref) != o {
			return fail("HANDLE_INVALID", "VM", o.ref)
		}
		f := s.checkOperation(o, op)
		if f == nil || f.Code != "OTHER_OPERATION_IN_PROGRESS" {
			return f
		}
		if patience == nil {
			passed, stop := s.clock.Timer(conflictPatience)
			defer stop()
			patience = passed
		}
		changed, done := s.db.changes(), s.done
		s.mu.Unlock()
		var give *Failure
		select {
		case <-changed:
		case <-patience:
			give = f
		case <-c.cancelled():
			give = c.cancelFailure()
		case <-done:
			give = errStopped()
		}
		s.mu.Lock()
		if give != nil {
			return give
		}
	}
}

func errStopped() *Failure { return fail("CANNOT_CONTACT_HOST", "the toolstack is stopping") }

// pass lets d of the clock's time go by with the mutex released.
func (c *call) pass(d time.Duration) *Failure {
	if d <= 0 {
		return nil
	}
	s := c.s
	if c.task != nil {
		c.task.begin(s.clock.Now(), d)
	}
	end, stop := s.clock.Timer(d)
	defer stop()
	done := s.done
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-end:
		return nil
	case <-c.cancelled():
		return c.cancelFailure()
	case <-done:
		return errStopped()
	}
}

// cancelled is closed when the call's task is cancelled; nil, which never delivers, for a call without one.
func (c *call) cancelled() <-chan struct{} {
	if c.task == nil {
		return nil
	}
	return c.task.cancel
}

func (c *call) cancelFailure() *Failure { return fail("TASK_CANCELLED", c.opID) }
