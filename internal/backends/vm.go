package backends

import "time"

// VM is one virtual machine, in one model over both backends. A member that a backend does not
// have, or whose value nobody knows, is absent: never zero, never "". Sizes are bytes, times UTC.
//
//	member              OpenNebula                          XenAPI
//	ID, UID             VM/ID                               VM.uuid (a reference dies with its session)
//	DisplayName         VM/NAME                             name_label
//	Description         USER_TEMPLATE/DESCRIPTION           name_description
//	State, RawState     STATE, LCM_STATE                    power_state, current_operations
//	Host                last HISTORY: HID, HOSTNAME         resident_on
//	Owner               UID, UNAME, GID, GNAME              -
//	CPU                 TEMPLATE/VCPU, VCPU_MAX, CPU        VCPUs_at_startup, VCPUs_max, VCPUs_params
//	Memory              TEMPLATE/MEMORY, MEMORY_MAX (MiB)   memory_* (bytes)
//	Boot                TEMPLATE/OS                         PV_*, HVM_boot_*, domain_type
//	Platform            TEMPLATE/FEATURES                   platform
//	Placement           USER_TEMPLATE/SCHED_*               affinity
//	LifecyclePolicy     -                                   actions_after_*
//	Runtime             DEPLOY_ID, TEMPLATE/OS/ARCH         domid, domarch, last_boot_CPU_flags
//	Annotations         USER_TEMPLATE                       other_config
//	CreateTime          STIME                               -
//
// BASIC has what a list call of the backend gives (OpenNebula's is abridged since 5.8); FULL adds
// the rest, Disks, NICs and ETag; NATIVE adds Native, the backend's whole record under its own
// names. Sources: OpenNebula share/doc/xsd/vm.xsd; xen-api ocaml/idl/datamodel_vm.ml.
//
// Nobody writes to a VM that a driver handed over: what its pointers, lists and maps lead to may be a
// driver's table and stand in other VMs as well, and its texts may be parts of a whole reply, which
// they keep in memory. Who wants to change one, or to keep it for long, takes a [VM.Clone].
type VM struct {
	ID                ID                 `json:"id"`
	Backend           string             `json:"backend,omitempty"`
	Kind              Kind               `json:"kind,omitempty"`
	UID               string             `json:"uid,omitempty"`
	DisplayName       *string            `json:"displayName,omitempty"`
	Description       *string            `json:"description,omitempty"`
	State             State              `json:"state,omitempty"`
	BaseState         State              `json:"baseState,omitempty"` // only while State is UPDATING
	RawState          *RawState          `json:"rawState,omitempty"`
	AllowedActions    []AllowedAction    `json:"allowedActions,omitzero"`
	CurrentOperations []CurrentOperation `json:"currentOperations,omitzero"`
	Template          *bool              `json:"template,omitempty"`
	Snapshot          *bool              `json:"snapshot,omitempty"`
	ControlDomain     *bool              `json:"controlDomain,omitempty"`
	Host              *Ref               `json:"host,omitempty"`
	Owner             *Owner             `json:"owner,omitempty"`
	CPU               *CPU               `json:"cpu,omitempty"`
	Memory            *Memory            `json:"memory,omitempty"`
	Boot              *Boot              `json:"boot,omitempty"`
	Platform          map[string]string  `json:"platform,omitzero"`
	Placement         *Placement         `json:"placement,omitempty"`
	LifecyclePolicy   *LifecyclePolicy   `json:"lifecyclePolicy,omitempty"`
	Runtime           *Runtime           `json:"runtime,omitempty"`
	Annotations       map[string]string  `json:"annotations,omitzero"`
	Disks             []Disk             `json:"disks,omitzero"`
	NICs              []NIC              `json:"nics,omitzero"`
	CreateTime        *time.Time         `json:"createTime,omitempty"`
	ETag              string             `json:"etag,omitempty"`
	OpenNebula        *OpenNebulaVM      `json:"opennebula,omitempty"`
	XenAPI            *XenAPIVM          `json:"xenapi,omitempty"`
	Native            any                `json:"native,omitempty"` // map[string]any with JSON types
}

// Ref is another object of the same backend; DisplayName is absent when it is not known.
type Ref struct {
	ID          ID     `json:"id"`
	DisplayName string `json:"displayName,omitempty"`
}

// RawState is the backend's own state: PowerState for XenAPI, the others for OpenNebula. The codes
// are kept even when no name is known for them. LCM members mean something only while State is
// ACTIVE (3), and are absent otherwise.
type RawState struct {
	PowerState    string `json:"powerState,omitempty"`
	State         string `json:"state,omitempty"`
	StateCode     *int   `json:"stateCode,omitempty"`
	StateShort    string `json:"stateShort,omitempty"`
	LCMState      string `json:"lcmState,omitempty"`
	LCMStateCode  *int   `json:"lcmStateCode,omitempty"`
	LCMStateShort string `json:"lcmStateShort,omitempty"`
}

// AllowedAction is one thing that the VM's present state allows. Action is the REST verb (absent
// where this API has none), Raw the backend's own name of it.
type AllowedAction struct {
	Action Verb   `json:"action,omitempty"`
	Raw    string `json:"raw"`
}

// CurrentOperation is work of the backend on the VM. Task is absent when the backend has no tasks,
// or the task has already gone.
type CurrentOperation struct {
	Task   *ID    `json:"task,omitempty"`
	Action Verb   `json:"action,omitempty"`
	Raw    string `json:"raw"`
}

// Owner is who a VM belongs to.
type Owner struct {
	User  *Ref `json:"user,omitempty"`
	Group *Ref `json:"group,omitempty"`
}

// CPU is the processors of a VM. Share is the part of a physical CPU it is scheduled for
// (OpenNebula TEMPLATE/CPU); Params are XenAPI's VCPUs_params (weight, cap, mask).
type CPU struct {
	VCPUs    *int64            `json:"vcpus,omitempty"`
	MaxVCPUs *int64            `json:"maxVcpus,omitempty"`
	Share    *float64          `json:"share,omitempty"`
	Params   map[string]string `json:"params,omitzero"`
}

// Memory is in bytes. DynamicMaxBytes is what the VM has when all is well (OpenNebula MEMORY);
// StaticMaxBytes what it could be given without a restart (OpenNebula MEMORY_MAX).
type Memory struct {
	StaticMaxBytes  *int64 `json:"staticMaxBytes,omitempty"`
	DynamicMaxBytes *int64 `json:"dynamicMaxBytes,omitempty"`
	DynamicMinBytes *int64 `json:"dynamicMinBytes,omitempty"`
	StaticMinBytes  *int64 `json:"staticMinBytes,omitempty"`
	TargetBytes     *int64 `json:"targetBytes,omitempty"`
	OverheadBytes   *int64 `json:"overheadBytes,omitempty"`
}

// Boot is how the VM starts. OpenNebula's TEMPLATE/OS: KERNEL, INITRD, KERNEL_CMD, BOOTLOADER under
// PV; BOOT and FIRMWARE as params "order" and "firmware" of HVM.
type Boot struct {
	DomainType string   `json:"domainType,omitempty"`
	PV         *BootPV  `json:"pv,omitempty"`
	HVM        *BootHVM `json:"hvm,omitempty"`
}

// BootPV is direct kernel boot.
type BootPV struct {
	Bootloader     *string `json:"bootloader,omitempty"`
	Kernel         *string `json:"kernel,omitempty"`
	Ramdisk        *string `json:"ramdisk,omitempty"`
	Args           *string `json:"args,omitempty"`
	BootloaderArgs *string `json:"bootloaderArgs,omitempty"`
	LegacyArgs     *string `json:"legacyArgs,omitempty"`
}

// BootHVM is firmware boot.
type BootHVM struct {
	Policy *string           `json:"policy,omitempty"`
	Params map[string]string `json:"params,omitzero"`
}

// Placement is where the VM would like to run. Requirements and Rank are OpenNebula scheduler
// expressions (SCHED_REQUIREMENTS, SCHED_RANK).
type Placement struct {
	PreferredHost *Ref    `json:"preferredHost,omitempty"`
	Requirements  *string `json:"requirements,omitempty"`
	Rank          *string `json:"rank,omitempty"`
}

// LifecyclePolicy is XenAPI's actions_after_*: OnShutdown and OnReboot are "destroy" or "restart",
// OnCrash one of six (enum on_crash_behaviour).
type LifecyclePolicy struct {
	OnShutdown string `json:"onShutdown,omitempty"`
	OnReboot   string `json:"onReboot,omitempty"`
	OnCrash    string `json:"onCrash,omitempty"`
}

// Runtime is what the hypervisor says. DomainID is text, since OpenNebula's DEPLOY_ID is.
type Runtime struct {
	DomainID         string            `json:"domainId,omitempty"`
	Architecture     string            `json:"architecture,omitempty"`
	LastBootCPUFlags map[string]string `json:"lastBootCpuFlags,omitzero"`
}

// OpenNebulaVM is what only OpenNebula has.
type OpenNebulaVM struct {
	Permissions *Permissions    `json:"permissions,omitempty"`
	Template    *string         `json:"template,omitempty"`   // never read back; accepted by POST /vms
	TemplateID  *ID             `json:"templateId,omitempty"` // TEMPLATE/TEMPLATE_ID
	Rescheduled *bool           `json:"rescheduled,omitempty"`
	Lock        string          `json:"lock,omitempty"` // USE, MANAGE, ADMIN, ALL
	LastPoll    *time.Time      `json:"lastPollTime,omitempty"`
	EndTime     *time.Time      `json:"endTime,omitempty"`
	Error       string          `json:"error,omitempty"` // USER_TEMPLATE/ERROR; stays after a recovery
	History     []HistoryRecord `json:"history,omitzero"`
}

// Permissions are OpenNebula's nine bits.
type Permissions struct {
	Owner PermissionBits `json:"owner"`
	Group PermissionBits `json:"group"`
	Other PermissionBits `json:"other"`
}

// PermissionBits are what one circle of users may do.
type PermissionBits struct {
	Use    bool `json:"use"`
	Manage bool `json:"manage"`
	Admin  bool `json:"admin"`
}

// HistoryRecord is one stay of a VM on a host (VM/HISTORY_RECORDS/HISTORY). Action is the name of
// the history action that ended it; ActionCode is kept when no name is known.
type HistoryRecord struct {
	Sequence   int64      `json:"sequence"`
	Host       Ref        `json:"host"`
	Storage    *Ref       `json:"storage,omitempty"`
	Action     string     `json:"action,omitempty"`
	ActionCode *int64     `json:"actionCode,omitempty"`
	StartTime  *time.Time `json:"startTime,omitempty"`
	EndTime    *time.Time `json:"endTime,omitempty"`
}

// XenAPIVM is what only XenAPI has, beyond the common model.
type XenAPIVM struct {
	UserVersion       *int64            `json:"userVersion,omitempty"`
	SuspendDisk       *ID               `json:"suspendDisk,omitempty"` // VM.suspend_VDI
	PCIBus            *string           `json:"pciBus,omitempty"`
	Recommendations   *string           `json:"recommendations,omitempty"`
	Tags              []string          `json:"tags,omitzero"`
	BlockedOperations map[string]string `json:"blockedOperations,omitzero"`
	HAAlwaysRun       *bool             `json:"haAlwaysRun,omitempty"`
	HARestartPriority *string           `json:"haRestartPriority,omitempty"`
	StartOrder        *int64            `json:"startOrder,omitempty"`
	StartDelay        *int64            `json:"startDelaySeconds,omitempty"`
	ShutdownDelay     *int64            `json:"shutdownDelaySeconds,omitempty"`
	ShadowMultiplier  *float64          `json:"shadowMultiplier,omitempty"`
	XenstoreData      map[string]string `json:"xenstoreData,omitzero"`
	RequiresReboot    *bool             `json:"requiresReboot,omitempty"`
	HardwareVersion   *int64            `json:"hardwarePlatformVersion,omitempty"`
	SnapshotOf        *ID               `json:"snapshotOf,omitempty"`
	SnapshotTime      *time.Time        `json:"snapshotTime,omitempty"`
}
