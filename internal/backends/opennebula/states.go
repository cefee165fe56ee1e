package opennebula

import (
	"slices"
	"strconv"

	"vmgateway/internal/backends"
)

// The states that the tables name. Numbers are OpenNebula's: VirtualMachine::VmState.
const (
	stInit           = 0
	stPending        = 1
	stHold           = 2
	stActive         = 3
	stStopped        = 4
	stSuspended      = 5
	stDone           = 6
	stFailed         = 7
	stPoweroff       = 8
	stUndeployed     = 9
	stCloning        = 10
	stCloningFailure = 11
)

// LCM states, VirtualMachine::LcmState: what an ACTIVE VM does.
const (
	lcmInit             = 0
	lcmBoot             = 2
	lcmRunning          = 3
	lcmMigrate          = 4
	lcmEpilog           = 11
	lcmShutdown         = 12
	lcmCancel           = 13
	lcmUnknown          = 16
	lcmShutdownPoweroff = 18
	lcmCleanupDelete    = 23
	lcmShutdownUndeploy = 29
	lcmEpilogFailure    = 40
	lcmHotplugResize    = 66
)

// stateRow is one number of STATE, or of LCM_STATE while STATE is ACTIVE. Numbers were given new
// names (15), and given up (13, 14, 55, 58), so a row belongs to a range of releases.
type stateRow struct {
	code  int
	name  string
	short string // what OpenNebula's own command line shows
	in    span
	state backends.State
	base  backends.State // of UPDATING
	verb  backends.Verb  // the call that leads through this state, when there is one
}

// vmStates is every STATE. ACTIVE is refined by lcmStates.
// Source: include/VirtualMachine.h and src/oca/ruby/opennebula/virtual_machine.rb of each release.
var vmStates = []stateRow{
	{code: 0, name: "INIT", short: "init", in: since(1, 2), state: backends.StateCreating},
	{code: 1, name: "PENDING", short: "pend", in: since(1, 2), state: backends.StatePending},
	{code: 2, name: "HOLD", short: "hold", in: since(1, 2), state: backends.StateHeld},
	{code: 3, name: "ACTIVE", short: "actv", in: since(1, 2)},
	{code: 4, name: "STOPPED", short: "stop", in: since(1, 2), state: backends.StateStored},
	{code: 5, name: "SUSPENDED", short: "susp", in: since(1, 2), state: backends.StateSuspended},
	{code: 6, name: "DONE", short: "done", in: since(1, 2), state: backends.StateDeleted},
	{code: 7, name: "FAILED", short: "fail", in: between(v(1, 2), v(4, 14)), state: backends.StateFailed},
	{code: 8, name: "POWEROFF", short: "poff", in: since(3, 8), state: backends.StateStopped},
	{code: 9, name: "UNDEPLOYED", short: "unde", in: since(4, 0), state: backends.StateStored},
	{code: 10, name: "CLONING", short: "clon", in: since(5, 0), state: backends.StateCreating},
	{code: 11, name: "CLONING_FAILURE", short: "fail", in: since(5, 0), state: backends.StateFailed},
}

// lcmStates is every LCM_STATE, with the number 15 under its three names. Source: as above.
var lcmStates = []stateRow{
	{code: 0, name: "LCM_INIT", short: "init", in: since(1, 2), state: backends.StateUnknown},
	{code: 1, name: "PROLOG", short: "prol", in: since(1, 2), state: backends.StateStarting, verb: "deploy"},
	{code: 2, name: "BOOT", short: "boot", in: since(1, 2), state: backends.StateStarting, verb: "deploy"},
	{code: 3, name: "RUNNING", short: "runn", in: since(1, 2), state: backends.StateRunning},
	{code: 4, name: "MIGRATE", short: "migr", in: since(1, 2), state: backends.StateMigrating, verb: "migrate"},
	{code: 5, name: "SAVE_STOP", short: "save", in: since(1, 2), state: backends.StateStopping, verb: "stop"},
	{code: 6, name: "SAVE_SUSPEND", short: "save", in: since(1, 2), state: backends.StateSuspending, verb: "suspend"},
	{code: 7, name: "SAVE_MIGRATE", short: "save", in: since(1, 2), state: backends.StateMigrating, verb: "migrate"},
	{code: 8, name: "PROLOG_MIGRATE", short: "migr", in: since(1, 2), state: backends.StateMigrating, verb: "migrate"},
	{code: 9, name: "PROLOG_RESUME", short: "prol", in: since(1, 2), state: backends.StateStarting, verb: "resume"},
	{code: 10, name: "EPILOG_STOP", short: "epil", in: since(1, 2), state: backends.StateStopping, verb: "stop"},
	{code: 11, name: "EPILOG", short: "epil", in: since(1, 2), state: backends.StateDeleting, verb: "terminate"},
	{code: 12, name: "SHUTDOWN", short: "shut", in: since(1, 2), state: backends.StateDeleting, verb: "terminate"},
	{code: 13, name: "CANCEL", short: "shut", in: between(v(1, 2), v(4, 14)), state: backends.StateDeleting, verb: "terminate"},
	{code: 14, name: "FAILURE", short: "fail", in: between(v(1, 4), v(4, 14)), state: backends.StateFailed},
	{code: 15, name: "CLEANUP", short: "clea", in: between(v(2, 2), v(4, 0)), state: backends.StateDeleting},
	{code: 15, name: "CLEANUP_RESUBMIT", short: "clea", in: since(4, 0), state: backends.StateStarting, verb: "recreate"},
	{code: 15, name: "DELETE", short: "dele", in: between(v(1, 4), v(2, 2)), state: backends.StateDeleting, verb: "terminate"},
	{code: 16, name: "UNKNOWN", short: "unkn", in: since(1, 4), state: backends.StateUnknown},
	{code: 17, name: "HOTPLUG", short: "hotp", in: since(3, 6), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 18, name: "SHUTDOWN_POWEROFF", short: "shut", in: since(3, 8), state: backends.StateStopping, verb: "shutdown"},
	{code: 19, name: "BOOT_UNKNOWN", short: "boot", in: since(3, 8), state: backends.StateStarting, verb: "resume"},
	{code: 20, name: "BOOT_POWEROFF", short: "boot", in: since(3, 8), state: backends.StateStarting, verb: "resume"},
	{code: 21, name: "BOOT_SUSPENDED", short: "boot", in: since(3, 8), state: backends.StateStarting, verb: "resume"},
	{code: 22, name: "BOOT_STOPPED", short: "boot", in: since(3, 8), state: backends.StateStarting, verb: "resume"},
	{code: 23, name: "CLEANUP_DELETE", short: "clea", in: since(4, 0), state: backends.StateDeleting, verb: "terminate"},
	{code: 24, name: "HOTPLUG_SNAPSHOT", short: "snap", in: since(4, 0), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 25, name: "HOTPLUG_NIC", short: "hotp", in: since(4, 0), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 26, name: "HOTPLUG_SAVEAS", short: "hotp", in: since(4, 0), state: backends.StateUpdating, base: backends.StateRunning, verb: "saveDisk"},
	{code: 27, name: "HOTPLUG_SAVEAS_POWEROFF", short: "hotp", in: since(4, 0), state: backends.StateUpdating, base: backends.StateStopped, verb: "saveDisk"},
	{code: 28, name: "HOTPLUG_SAVEAS_SUSPENDED", short: "hotp", in: since(4, 0), state: backends.StateUpdating, base: backends.StateSuspended, verb: "saveDisk"},
	{code: 29, name: "SHUTDOWN_UNDEPLOY", short: "shut", in: since(4, 0), state: backends.StateStopping, verb: "undeploy"},
	{code: 30, name: "EPILOG_UNDEPLOY", short: "epil", in: since(4, 0), state: backends.StateStopping, verb: "undeploy"},
	{code: 31, name: "PROLOG_UNDEPLOY", short: "prol", in: since(4, 0), state: backends.StateStarting, verb: "resume"},
	{code: 32, name: "BOOT_UNDEPLOY", short: "boot", in: since(4, 0), state: backends.StateStarting, verb: "resume"},
	{code: 33, name: "HOTPLUG_PROLOG_POWEROFF", short: "hotp", in: since(4, 14), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 34, name: "HOTPLUG_EPILOG_POWEROFF", short: "hotp", in: since(4, 14), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 35, name: "BOOT_MIGRATE", short: "boot", in: since(4, 14), state: backends.StateMigrating, verb: "migrate"},
	{code: 36, name: "BOOT_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 37, name: "BOOT_MIGRATE_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 38, name: "PROLOG_MIGRATE_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 39, name: "PROLOG_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 40, name: "EPILOG_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 41, name: "EPILOG_STOP_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 42, name: "EPILOG_UNDEPLOY_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 43, name: "PROLOG_MIGRATE_POWEROFF", short: "migr", in: since(4, 14), state: backends.StateMigrating, verb: "migrate"},
	{code: 44, name: "PROLOG_MIGRATE_POWEROFF_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 45, name: "PROLOG_MIGRATE_SUSPEND", short: "migr", in: since(4, 14), state: backends.StateMigrating, verb: "migrate"},
	{code: 46, name: "PROLOG_MIGRATE_SUSPEND_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 47, name: "BOOT_UNDEPLOY_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 48, name: "BOOT_STOPPED_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 49, name: "PROLOG_RESUME_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 50, name: "PROLOG_UNDEPLOY_FAILURE", short: "fail", in: since(4, 14), state: backends.StateFailed},
	{code: 51, name: "DISK_SNAPSHOT_POWEROFF", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 52, name: "DISK_SNAPSHOT_REVERT_POWEROFF", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 53, name: "DISK_SNAPSHOT_DELETE_POWEROFF", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 54, name: "DISK_SNAPSHOT_SUSPENDED", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateSuspended},
	{code: 55, name: "DISK_SNAPSHOT_REVERT_SUSPENDED", short: "snap", in: between(v(4, 14), v(6, 6, 3)), state: backends.StateUpdating, base: backends.StateSuspended},
	{code: 56, name: "DISK_SNAPSHOT_DELETE_SUSPENDED", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateSuspended},
	{code: 57, name: "DISK_SNAPSHOT", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 58, name: "DISK_SNAPSHOT_REVERT", short: "snap", in: between(v(4, 14), v(5, 0)), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 59, name: "DISK_SNAPSHOT_DELETE", short: "snap", in: since(4, 14), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 60, name: "PROLOG_MIGRATE_UNKNOWN", short: "migr", in: since(5, 0), state: backends.StateMigrating, verb: "migrate"},
	{code: 61, name: "PROLOG_MIGRATE_UNKNOWN_FAILURE", short: "fail", in: since(5, 0), state: backends.StateFailed},
	{code: 62, name: "DISK_RESIZE", short: "drsz", in: since(5, 4), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 63, name: "DISK_RESIZE_POWEROFF", short: "drsz", in: since(5, 4), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 64, name: "DISK_RESIZE_UNDEPLOYED", short: "drsz", in: since(5, 4), state: backends.StateUpdating, base: backends.StateStored},
	{code: 65, name: "HOTPLUG_NIC_POWEROFF", short: "hotp", in: since(5, 12), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 66, name: "HOTPLUG_RESIZE", short: "hotp", in: since(6, 0), state: backends.StateUpdating, base: backends.StateRunning, verb: "resize"},
	{code: 67, name: "HOTPLUG_SAVEAS_UNDEPLOYED", short: "hotp", in: since(6, 0), state: backends.StateUpdating, base: backends.StateStored, verb: "saveDisk"},
	{code: 68, name: "HOTPLUG_SAVEAS_STOPPED", short: "hotp", in: since(6, 0), state: backends.StateUpdating, base: backends.StateStored, verb: "saveDisk"},
	{code: 69, name: "BACKUP", short: "back", in: since(6, 6), state: backends.StateUpdating, base: backends.StateRunning},
	{code: 70, name: "BACKUP_POWEROFF", short: "back", in: since(6, 6), state: backends.StateUpdating, base: backends.StateStopped},
	{code: 71, name: "RESTORE", short: "rest", in: since(6, 10), state: backends.StateUpdating, base: backends.StateStopped},
}

// findState is the row of a number in a release; nil for a number that nobody has listed.
func findState(rows []stateRow, code int, r version) *stateRow {
	i := slices.IndexFunc(rows, func(s stateRow) bool { return s.code == code && s.in.has(r) })
	if i < 0 {
		return nil
	}
	return &rows[i]
}

// place is where a VM stands. lcm means something only while state is ACTIVE; it is 0 otherwise.
type place struct{ state, lcm int }

func (p place) active() bool { return p.state == stActive }

// doing reports whether it is ACTIVE in that LCM state.
func (p place) doing(lcm int) bool { return p == place{stActive, lcm} }

// rows are the rows of a place, nil where a number is not listed.
func (p place) rows(r version) (state, lcm *stateRow) {
	state = findState(vmStates, p.state, r)
	if p.active() {
		lcm = findState(lcmStates, p.lcm, r)
	}
	return state, lcm
}

// unified is a place in the gateway's vocabulary. A number that is not listed is UNKNOWN.
func (p place) unified(r version) (state, base backends.State) {
	row, lcm := p.rows(r)
	if p.active() {
		row = lcm
	}
	if row == nil {
		return backends.StateUnknown, ""
	}
	return row.state, row.base
}

// raw is a place in OpenNebula's words. The numbers are kept even when no name is known.
func (p place) raw(r version) *backends.RawState {
	state, lcm := p.rows(r)
	raw := &backends.RawState{StateCode: new(p.state)}
	if state != nil {
		raw.State, raw.StateShort = state.name, state.short
	}
	if p.active() {
		raw.LCMStateCode = new(p.lcm)
		if lcm != nil {
			raw.LCMState, raw.LCMStateShort = lcm.name, lcm.short
		}
	}
	return raw
}

// name is the place as errors tell it: "POWEROFF", or "BOOT" for an ACTIVE VM.
func (p place) name(r version) string {
	state, lcm := p.rows(r)
	switch {
	case lcm != nil:
		return lcm.name
	case p.active():
		return "ACTIVE, LCM state " + strconv.Itoa(p.lcm)
	case state != nil:
		return state.name
	}
	return "state " + strconv.Itoa(p.state)
}

// failed reports whether OpenNebula has given up on what it was doing.
func (p place) failed(r version) bool {
	state, _ := p.unified(r)
	return state == backends.StateFailed
}

// moving reports whether OpenNebula is at work on the VM. LCM_INIT with ACTIVE is seen for a
// moment after a deployment was accepted.
func (p place) moving(r version) bool {
	state, _ := p.unified(r)
	return !state.Settled() || p.doing(lcmInit)
}

// currentOperation is the work that a place says is under way.
func (p place) currentOperation(r version) []backends.CurrentOperation {
	_, lcm := p.rows(r)
	if lcm == nil || lcm.state.Settled() {
		return []backends.CurrentOperation{}
	}
	return []backends.CurrentOperation{{Action: lcm.verb, Raw: lcm.name}}
}

// statesOf gives the numbers of STATE that a VM in one of the unified states, and of the raw ones,
// can have: what a list may be narrowed down to. A nil list does not narrow; every is true when
// nothing can be said.
func statesOf(states, raw []string, r version) (numbers []int, every bool) {
	if states == nil && raw == nil || slices.Contains(states, string(backends.StateUnknown)) {
		return nil, true
	}
	for _, row := range vmStates {
		if !row.in.has(r) || raw != nil && !slices.Contains(raw, row.name) {
			continue
		}
		if states == nil || row.canBe(states, r) {
			numbers = append(numbers, row.code)
		}
	}
	return numbers, false
}

// canBe reports whether a VM with this STATE can be in one of the unified states.
func (s stateRow) canBe(states []string, r version) bool {
	if s.code != stActive {
		return slices.Contains(states, string(s.state))
	}
	return slices.ContainsFunc(lcmStates, func(l stateRow) bool {
		return l.in.has(r) && slices.Contains(states, string(l.state))
	})
}

// StateRows documents what each STATE, and each LCM_STATE, becomes.
func StateRows() []backends.StateRow {
	var rows []backends.StateRow
	add := func(of string, table []stateRow) {
		for _, s := range table {
			rows = append(rows, backends.StateRow{
				Of: of, Raw: s.name, Short: s.short, Becomes: s.state, Base: s.base, Releases: s.in.String(),
			})
		}
	}
	add("STATE", vmStates)
	add("LCM_STATE", lcmStates)
	return rows
}
