package xenapi

import (
	"maps"
	"slices"

	"vmgateway/internal/backends"
)

// powerStates are XenAPI's enum vm_power_state.
var powerStates = map[string]backends.State{
	"Halted":    backends.StateStopped,
	"Paused":    backends.StatePaused,
	"Running":   backends.StateRunning,
	"Suspended": backends.StateSuspended,
}

// rawStates are the same as clients see them.
var rawStates = func() map[string]*backends.RawState {
	m := map[string]*backends.RawState{}
	for name := range powerStates {
		m[name] = &backends.RawState{PowerState: name}
	}
	return m
}()

const (
	halted    = "Halted"
	paused    = "Paused"
	running   = "Running"
	suspended = "Suspended"
)

// operation is a row of XenAPI's enum vm_operations.
type operation struct {
	raw string
	// while is the VM's state while the operation is under way; "" for one that only looks.
	while backends.State
	// verb is the call of ours that allowed_operations allows with it; "" where there is none.
	verb backends.Verb
}

// operations are all operations of the releases 1.3 to 26.17, the one that decides the state first:
// with two under way at once, a VM is what the first row says. Source: xen-api
// ocaml/idl/datamodel_vm.ml, ocaml/xapi/xapi_vm_lifecycle.ml.
var operations = []operation{
	{"destroy", backends.StateDeleting, backends.VerbDelete},
	{"provision", backends.StateCreating, "provision"},
	{"import", backends.StateCreating, ""},
	{"hard_shutdown", backends.StateStopping, "shutdown"},
	{"shutdown", backends.StateStopping, "shutdown"},
	{"clean_shutdown", backends.StateStopping, "shutdown"},
	{"hard_reboot", backends.StateRebooting, "reboot"},
	{"clean_reboot", backends.StateRebooting, "reboot"},
	{"pool_migrate", backends.StateMigrating, "migrate"},
	{"migrate_send", backends.StateMigrating, ""},
	{"migrate", backends.StateMigrating, ""}, // up to 1.3
	{"start_on", backends.StateStarting, "start"},
	{"start", backends.StateStarting, "start"},
	{"resume_on", backends.StateStarting, "resume"},
	{"resume", backends.StateStarting, "resume"},
	{"suspend", backends.StateSuspending, "suspend"},
	{"checkpoint", backends.StateSuspending, ""},
	{"csvm", backends.StateUpdating, ""},
	{"pause", backends.StateUpdating, "pause"},
	{"unpause", backends.StateUpdating, "unpause"},
	{"power_state_reset", backends.StateUpdating, "resetPowerState"},
	{"snapshot", backends.StateUpdating, ""},
	{"snapshot_with_quiesce", backends.StateUpdating, ""},
	{"clone", backends.StateUpdating, "clone"},
	{"copy", backends.StateUpdating, "copy"},
	{"create_template", backends.StateUpdating, ""},
	{"make_into_template", backends.StateUpdating, ""},
	{"revert", backends.StateUpdating, ""},
	{"reverting", backends.StateUpdating, ""},
	{"changing_VCPUs", backends.StateUpdating, "resize"},
	{"changing_VCPUs_live", backends.StateUpdating, "resize"},
	{"changing_memory_live", backends.StateUpdating, "resize"},
	{"awaiting_memory_live", backends.StateUpdating, ""},
	{"changing_dynamic_range", backends.StateUpdating, "resize"},
	{"changing_static_range", backends.StateUpdating, "resize"},
	{"changing_memory_limits", backends.StateUpdating, "resize"},
	{"changing_shadow_memory", backends.StateUpdating, ""},
	{"changing_shadow_memory_live", backends.StateUpdating, ""},
	{"changing_NVRAM", backends.StateUpdating, ""},
	{"create_vtpm", backends.StateUpdating, ""},
	{"sysprep", backends.StateUpdating, ""},
	{"export", backends.StateUpdating, ""},
	{"metadata_export", "", ""},
	{"send_sysrq", "", "sendSysrq"},
	{"send_trigger", "", "sendTrigger"},
	{"update_allowed_operations", "", "refreshAllowedActions"},
	{"assert_operation_valid", "", "checkOperation"},
	{"get_boot_record", "", ""},
	{"data_source_op", "", ""},
	{"query_services", "", ""},
	{"call_plugin", "", ""},
	{"get_cooperative", "", ""}, // up to 1.3
}

// alsoAsked are operations that checkOperation asks about for a verb beside those of its rows, and
// for verbs that have none.
var alsoAsked = map[backends.Verb][]string{
	"resume":       {"unpause"}, // see resume
	"setVcpuParam": {"changing_VCPUs_live"},
	"checkHost":    {"start"},
}

var operationByName = func() map[string]int {
	m := make(map[string]int, len(operations))
	for i, o := range operations {
		m[o.raw] = i
	}
	return m
}()

// lookUpOperation gives the row of an operation. A name that a later release adds changes the VM in
// a way that nobody here knows.
func lookUpOperation(raw string) (row operation, rank int) {
	if i, ok := operationByName[raw]; ok {
		return operations[i], i
	}
	return operation{raw: raw, while: backends.StateUpdating}, len(operations)
}

// operationsFor are the names under which XenAPI knows what is asked about: the ways to carry out a
// verb of ours, the gentlest first, or the one operation that is meant by its name.
func operationsFor(action string) []string {
	var all []string
	for _, o := range slices.Backward(operations) {
		if o.verb != "" && string(o.verb) == action {
			all = append(all, o.raw)
		}
	}
	all = append(all, alsoAsked[backends.Verb(action)]...)
	if _, ok := operationByName[action]; ok && len(all) == 0 {
		all = []string{action}
	}
	return all
}

// stateOf derives the state of a VM: what is under way decides, and else the power state. During a
// start power_state stays Halted.
func stateOf(power string, current map[string]string) (state, base backends.State) {
	settled, ok := powerStates[power]
	if !ok {
		settled = backends.StateUnknown
	}
	best := len(operations) + 1
	for _, raw := range current {
		row, rank := lookUpOperation(raw)
		if row.while == "" || rank >= best {
			continue
		}
		best, state = rank, row.while
	}
	switch state {
	case "":
		return settled, ""
	case backends.StateUpdating:
		return state, settled
	}
	return state, ""
}

// StateRows documents what each power state, and each operation under way, makes of a VM's state.
func StateRows() []backends.StateRow {
	var rows []backends.StateRow
	for _, name := range slices.Sorted(maps.Keys(powerStates)) {
		rows = append(rows, backends.StateRow{Of: "power_state", Raw: name, Becomes: powerStates[name]})
	}
	for _, o := range operations {
		rows = append(rows, backends.StateRow{Of: "current_operations", Raw: o.raw, Becomes: o.while})
	}
	return rows
}
