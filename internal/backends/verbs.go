package backends

// Verb is a call that acts on a VM: the {verb} of POST /vms/{vm}:{verb}.
type Verb string

// Answer is the shape in which a verb answers.
type Answer int

// The answers.
const (
	AnswersOperation Answer = iota // 202 with an Operation
	AnswersVM                      // 200 with the VM as it is afterwards
	AnswersCheck                   // 200 with a Check
)

// Spec is one verb's row.
type Spec struct {
	Verb    Verb
	Answers Answer
	// Settles is the states in which the VM is when the verb has done its work.
	Settles []State
}

// Verbs is every verb of POST /vms/{vm}:{verb}. The contract, the routes and the conformance suite
// are checked against it; what goes out for one stands in each driver's table of calls.
var Verbs = []Spec{
	{"start", AnswersOperation, []State{StateRunning, StatePaused, StatePending}},
	{"shutdown", AnswersOperation, []State{StateStopped}},
	{"reboot", AnswersOperation, []State{StateRunning}},
	{"suspend", AnswersOperation, []State{StateSuspended}},
	{"resume", AnswersOperation, []State{StateRunning, StatePaused, StatePending}},
	{"pause", AnswersOperation, []State{StatePaused}},
	{"unpause", AnswersOperation, []State{StateRunning}},
	{"stop", AnswersOperation, []State{StateStored}},
	{"undeploy", AnswersOperation, []State{StateStored}},
	{"hold", AnswersOperation, []State{StateHeld}},
	{"release", AnswersOperation, []State{StatePending}},
	{"deploy", AnswersOperation, []State{StateRunning}},
	{"terminate", AnswersOperation, []State{StateDeleted}},
	{"recreate", AnswersOperation, []State{StatePending}},
	{"recover", AnswersOperation, nil},
	{"migrate", AnswersOperation, []State{StateRunning, StateStopped, StateSuspended}},
	{"resize", AnswersOperation, nil},
	{"clone", AnswersOperation, nil},
	{"copy", AnswersOperation, nil},
	{"provision", AnswersOperation, []State{StateStopped}},
	{"resetPowerState", AnswersOperation, []State{StateStopped}},
	{"setVcpuParam", AnswersVM, nil},
	{"sendSysrq", AnswersVM, nil},
	{"sendTrigger", AnswersVM, nil},
	{"refreshAllowedActions", AnswersVM, nil},
	{"checkOperation", AnswersCheck, nil},
	{"checkHost", AnswersCheck, nil},
}

// Calls beside POST /vms/{vm}:{verb} that also go through a driver's table of calls.
const (
	VerbDelete      Verb = "delete"      // DELETE /vms/{vm}
	VerbSaveDisk    Verb = "saveDisk"    // POST /vms/{vm}/disks/{disk}:save
	VerbInstantiate Verb = "instantiate" // POST /templates/{template}:instantiate
)

var specByVerb = func() map[Verb]Spec {
	m := make(map[Verb]Spec, len(Verbs)+3)
	for _, s := range Verbs {
		m[s.Verb] = s
	}
	m[VerbDelete] = Spec{VerbDelete, AnswersOperation, []State{StateDeleted}}
	m[VerbSaveDisk] = Spec{VerbSaveDisk, AnswersOperation, nil}
	m[VerbInstantiate] = Spec{VerbInstantiate, AnswersOperation, nil}
	return m
}()

// LookUp gives the row of v.
func LookUp(v Verb) (Spec, bool) {
	s, ok := specByVerb[v]
	return s, ok
}

// Args is the body of every verb together; the contract says which members a verb has. A nil
// pointer is a member that was not sent.
type Args struct {
	// Mode of shutdown, reboot, terminate, undeploy: AUTO (the default where the backend has it:
	// graceful, then hard), GRACEFUL or FORCE.
	Mode string `json:"mode,omitempty"`
	// Host the VM shall run on: start, resume, deploy, migrate, checkHost.
	Host *ID `json:"host,omitempty"`
	// Datastore: the system datastore of a deployment or migration (OpenNebula).
	Datastore *ID `json:"datastore,omitempty"`
	// Storage of a copy's disks (XenAPI).
	Storage *ID `json:"storage,omitempty"`
	// Live: migrate (default true) and resize (default: as the VM's state asks).
	Live *bool `json:"live,omitempty"`
	// ColdMode of a migration that is not live: SAVE, POWEROFF or POWEROFF_HARD.
	ColdMode string `json:"coldMode,omitempty"`
	// Force skips safety checks (XenAPI).
	Force *bool `json:"force,omitempty"`
	// Compress and Network of a XenAPI migration.
	Compress *bool `json:"compress,omitempty"`
	Network  *ID   `json:"network,omitempty"`
	// Enforce makes OpenNebula check the host's capacity first: deploy, migrate, resize.
	Enforce     *bool `json:"enforce,omitempty"`
	StartPaused *bool `json:"startPaused,omitempty"`
	// Outcome of recover: FAILURE, SUCCESS, RETRY, DELETE, RECREATE, DELETE_DB.
	Outcome string `json:"outcome,omitempty"`
	// DisplayName of the VM that clone, copy and instantiate make.
	DisplayName *string `json:"displayName,omitempty"`
	// Description of the VM that instantiate makes.
	Description *string `json:"description,omitempty"`
	// Hold keeps an instantiated VM from being scheduled (OpenNebula).
	Hold *bool `json:"hold,omitempty"`
	// ExtraTemplate is merged into the template that is instantiated (OpenNebula).
	ExtraTemplate *string `json:"extraTemplate,omitempty"`
	// VCPUs, CPUShare and Memory of resize.
	VCPUs    *int64   `json:"vcpus,omitempty"`
	CPUShare *float64 `json:"cpuShare,omitempty"`
	Memory   *Memory  `json:"memory,omitempty"`
	// Key and Value of setVcpuParam; Key of sendSysrq (one character).
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"`
	// Trigger of sendTrigger.
	Trigger string `json:"trigger,omitempty"`
	// Action that checkOperation asks about: a verb, or the backend's own name of an operation.
	Action string `json:"action,omitempty"`

	// Set by the gateway from path and query, never from a body.
	DeleteDisks bool   `json:"-"` // DELETE /vms/{vm}?deleteDisks=true
	Disk        string `json:"-"` // the native disk id of saveDisk

	// ImageName, ImageType and Snapshot of saveDisk.
	ImageName string `json:"imageName,omitempty"`
	ImageType string `json:"imageType,omitempty"`
	Snapshot  *int64 `json:"snapshot,omitempty"`
}

// Check is the answer of checkOperation and checkHost. Reason says why not; Fault is the backend's.
type Check struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
	Fault   *Fault `json:"backend,omitempty"`
}
