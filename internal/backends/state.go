package backends

// State is what a VM does, in one vocabulary over both backends. Clients must accept values that a
// later release adds.
//
//	State       OpenNebula                                XenAPI
//	CREATING    INIT, CLONING                             provision, import under way
//	PENDING     PENDING                                   -
//	HELD        HOLD                                      -
//	STARTING    PROLOG, BOOT and their kin                start, resume under way
//	RUNNING     ACTIVE/RUNNING                            Running
//	PAUSED      -                                         Paused
//	SUSPENDING  SAVE_SUSPEND                              suspend, checkpoint under way
//	SUSPENDED   SUSPENDED                                 Suspended
//	STOPPING    SAVE_STOP, EPILOG_STOP, SHUTDOWN_…        shutdown under way
//	STOPPED     POWEROFF (placed, off)                    Halted
//	STORED      STOPPED, UNDEPLOYED (off the host)        -
//	MIGRATING   MIGRATE, SAVE_MIGRATE, PROLOG_MIGRATE     pool_migrate, migrate_send under way
//	REBOOTING   -                                         clean_reboot, hard_reboot under way
//	UPDATING    HOTPLUG…, DISK_SNAPSHOT…, with BaseState  any other operation, with BaseState
//	DELETING    EPILOG, SHUTDOWN, CLEANUP_DELETE          destroy under way
//	DELETED     DONE                                      - (not found)
//	FAILED      …_FAILURE, CLONING_FAILURE                -
//	UNKNOWN     UNKNOWN, and every number not listed      every name not listed
type State string

// The states. See [State] for what each stands for.
const (
	StateCreating   State = "CREATING"
	StatePending    State = "PENDING"
	StateHeld       State = "HELD"
	StateStarting   State = "STARTING"
	StateRunning    State = "RUNNING"
	StatePaused     State = "PAUSED"
	StateSuspending State = "SUSPENDING"
	StateSuspended  State = "SUSPENDED"
	StateStopping   State = "STOPPING"
	StateStopped    State = "STOPPED"
	StateStored     State = "STORED"
	StateMigrating  State = "MIGRATING"
	StateRebooting  State = "REBOOTING"
	StateUpdating   State = "UPDATING"
	StateDeleting   State = "DELETING"
	StateDeleted    State = "DELETED"
	StateFailed     State = "FAILED"
	StateUnknown    State = "UNKNOWN"
)

// States is every State, in the order of the contract's enum.
var States = []State{
	StateCreating, StatePending, StateHeld, StateStarting, StateRunning, StatePaused, StateSuspending,
	StateSuspended, StateStopping, StateStopped, StateStored, StateMigrating, StateRebooting,
	StateUpdating, StateDeleting, StateDeleted, StateFailed, StateUnknown,
}

// Settled reports whether a VM stays in s until somebody acts: no work of the backend is under way.
func (s State) Settled() bool {
	switch s {
	case StateCreating, StateStarting, StateSuspending, StateStopping, StateMigrating, StateRebooting, StateUpdating, StateDeleting:
		return false
	}
	return true
}

// Values lists what a State can be, so that a filter which compares with anything else is refused.
func (State) Values() []string {
	values := make([]string, len(States))
	for i, s := range States {
		values[i] = string(s)
	}
	return values
}

// StateRow documents what one of a backend's own words becomes. docs/opennebula.md and
// docs/xenapi.md are made of them.
type StateRow struct {
	Of       string // the member of the backend's record that says it: "LCM_STATE", "power_state"
	Raw      string // the backend's: "BOOT", "Halted"
	Short    string // what its command line shows, where that is something else
	Becomes  State  // "" for what does not decide the state
	Base     State  // of UPDATING: what the VM is besides
	Releases string // which have it, where not all do
}
