package xenapi

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// vmRecord is a record of the class VM, as far as the model has it.
type vmRecord struct {
	uuid, label, description, power string

	allowed []string
	current map[string]string // operations by the references of their tasks

	template, defaultTemplate, snapshot, controlDomain *bool

	residentOn, affinity, suspendVDI, snapshotOf, metrics, guestMetrics string

	userVersion, domid, start, shutdown, order, hardware *int64
	maxVCPUs, vcpus                                      *int64
	vcpuParams                                           map[string]string

	staticMax, dynamicMax, dynamicMin, staticMin, target, overhead *int64

	afterShutdown, afterReboot, afterCrash string

	pvBootloader, pvKernel, pvRamdisk, pvArgs, pvBootloaderArgs, pvLegacyArgs string

	hvmPolicy, domainType, pciBus, recommendations, haPriority, domarch string

	hvmParams, platform, otherConfig, cpuFlags, xenstore, blocked map[string]string

	tags, vbds, vifs, consoles, crashDumps, vtpms []string

	shadow              *float64
	haAlwaysRun, reboot *bool
	snapshotTime        *time.Time
}

// vmFields is every member of the class VM that is read. Source: xen-api ocaml/idl/datamodel_vm.ml.
var vmFields = fields[vmRecord]{
	"uuid":                      text(func(r *vmRecord) *string { return &r.uuid }),
	"name_label":                text(func(r *vmRecord) *string { return &r.label }),
	"name_description":          text(func(r *vmRecord) *string { return &r.description }),
	"power_state":               text(func(r *vmRecord) *string { return &r.power }),
	"allowed_operations":        set(func(r *vmRecord) *[]string { return &r.allowed }),
	"current_operations":        dict(func(r *vmRecord) *map[string]string { return &r.current }),
	"is_a_template":             boolean(func(r *vmRecord) **bool { return &r.template }),
	"is_default_template":       boolean(func(r *vmRecord) **bool { return &r.defaultTemplate }),
	"is_a_snapshot":             boolean(func(r *vmRecord) **bool { return &r.snapshot }),
	"is_control_domain":         boolean(func(r *vmRecord) **bool { return &r.controlDomain }),
	"resident_on":               text(func(r *vmRecord) *string { return &r.residentOn }),
	"affinity":                  text(func(r *vmRecord) *string { return &r.affinity }),
	"suspend_VDI":               text(func(r *vmRecord) *string { return &r.suspendVDI }),
	"snapshot_of":               text(func(r *vmRecord) *string { return &r.snapshotOf }),
	"metrics":                   text(func(r *vmRecord) *string { return &r.metrics }),
	"guest_metrics":             text(func(r *vmRecord) *string { return &r.guestMetrics }),
	"user_version":              integer(func(r *vmRecord) **int64 { return &r.userVersion }),
	"domid":                     integer(func(r *vmRecord) **int64 { return &r.domid }),
	"start_delay":               integer(func(r *vmRecord) **int64 { return &r.start }),
	"shutdown_delay":            integer(func(r *vmRecord) **int64 { return &r.shutdown }),
	"order":                     integer(func(r *vmRecord) **int64 { return &r.order }),
	"hardware_platform_version": integer(func(r *vmRecord) **int64 { return &r.hardware }),
	"VCPUs_max":                 integer(func(r *vmRecord) **int64 { return &r.maxVCPUs }),
	"VCPUs_at_startup":          integer(func(r *vmRecord) **int64 { return &r.vcpus }),
	"VCPUs_params":              dict(func(r *vmRecord) *map[string]string { return &r.vcpuParams }),
	"memory_static_max":         integer(func(r *vmRecord) **int64 { return &r.staticMax }),
	"memory_dynamic_max":        integer(func(r *vmRecord) **int64 { return &r.dynamicMax }),
	"memory_dynamic_min":        integer(func(r *vmRecord) **int64 { return &r.dynamicMin }),
	"memory_static_min":         integer(func(r *vmRecord) **int64 { return &r.staticMin }),
	"memory_target":             integer(func(r *vmRecord) **int64 { return &r.target }),
	"memory_overhead":           integer(func(r *vmRecord) **int64 { return &r.overhead }),
	"actions_after_shutdown":    text(func(r *vmRecord) *string { return &r.afterShutdown }),
	"actions_after_reboot":      text(func(r *vmRecord) *string { return &r.afterReboot }),
	"actions_after_crash":       text(func(r *vmRecord) *string { return &r.afterCrash }),
	"PV_bootloader":             text(func(r *vmRecord) *string { return &r.pvBootloader }),
	"PV_kernel":                 text(func(r *vmRecord) *string { return &r.pvKernel }),
	"PV_ramdisk":                text(func(r *vmRecord) *string { return &r.pvRamdisk }),
	"PV_args":                   text(func(r *vmRecord) *string { return &r.pvArgs }),
	"PV_bootloader_args":        text(func(r *vmRecord) *string { return &r.pvBootloaderArgs }),
	"PV_legacy_args":            text(func(r *vmRecord) *string { return &r.pvLegacyArgs }),
	"HVM_boot_policy":           text(func(r *vmRecord) *string { return &r.hvmPolicy }),
	"HVM_boot_params":           dict(func(r *vmRecord) *map[string]string { return &r.hvmParams }),
	"HVM_shadow_multiplier":     float(func(r *vmRecord) **float64 { return &r.shadow }),
	"domain_type":               text(func(r *vmRecord) *string { return &r.domainType }),
	"platform":                  dict(func(r *vmRecord) *map[string]string { return &r.platform }),
	"PCI_bus":                   text(func(r *vmRecord) *string { return &r.pciBus }),
	"other_config":              dict(func(r *vmRecord) *map[string]string { return &r.otherConfig }),
	"domarch":                   text(func(r *vmRecord) *string { return &r.domarch }),
	"last_boot_CPU_flags":       dict(func(r *vmRecord) *map[string]string { return &r.cpuFlags }),
	"recommendations":           text(func(r *vmRecord) *string { return &r.recommendations }),
	"xenstore_data":             dict(func(r *vmRecord) *map[string]string { return &r.xenstore }),
	"ha_always_run":             boolean(func(r *vmRecord) **bool { return &r.haAlwaysRun }),
	"ha_restart_priority":       text(func(r *vmRecord) *string { return &r.haPriority }),
	"requires_reboot":           boolean(func(r *vmRecord) **bool { return &r.reboot }),
	"snapshot_time":             moment(func(r *vmRecord) **time.Time { return &r.snapshotTime }),
	"tags":                      set(func(r *vmRecord) *[]string { return &r.tags }),
	"blocked_operations":        dict(func(r *vmRecord) *map[string]string { return &r.blocked }),
	"VBDs":                      set(func(r *vmRecord) *[]string { return &r.vbds }),
	"VIFs":                      set(func(r *vmRecord) *[]string { return &r.vifs }),
	"consoles":                  set(func(r *vmRecord) *[]string { return &r.consoles }),
	"crash_dumps":               set(func(r *vmRecord) *[]string { return &r.crashDumps }),
	"VTPMs":                     set(func(r *vmRecord) *[]string { return &r.vtpms }),
}

// check refuses a record without what every VM has.
func (r *vmRecord) check() error {
	switch {
	case !isUUID(r.uuid):
		return errors.New("no uuid")
	case r.power == "":
		return errors.New("no power_state")
	}
	return nil
}

// vm makes the model of a record, as far as BASIC shows it.
func (n *names) vm(ctx context.Context, r *vmRecord) (*backends.VM, error) {
	state, base := stateOf(r.power, r.current)
	vm := &backends.VM{
		ID: n.d.id(r.uuid), Backend: n.d.cfg.Name, Kind: backends.XenAPI, UID: r.uuid,
		DisplayName: n.str(r.label), Description: n.setting(r.description),
		State: state, BaseState: base, RawState: &backends.RawState{PowerState: r.power},
		AllowedActions: actions(r.allowed),
		Template:       r.template, Snapshot: r.snapshot, ControlDomain: r.controlDomain,
		CPU: &backends.CPU{VCPUs: r.vcpus, MaxVCPUs: r.maxVCPUs, Params: n.dict(r.vcpuParams)},
		Memory: &backends.Memory{
			StaticMaxBytes: r.staticMax, DynamicMaxBytes: r.dynamicMax, DynamicMinBytes: r.dynamicMin,
			StaticMinBytes: r.staticMin, TargetBytes: r.target, OverheadBytes: r.overhead,
		},
		Boot:     n.boot(r),
		Platform: n.dict(r.platform),
		LifecyclePolicy: orNil(backends.LifecyclePolicy{
			OnShutdown: r.afterShutdown, OnReboot: r.afterReboot, OnCrash: r.afterCrash,
		}),
		Runtime:     n.runtime(r),
		Annotations: n.dict(r.otherConfig),
	}
	if err := n.place(ctx, vm, r); err != nil {
		return nil, err
	}
	return vm, n.xenapi(ctx, vm, r)
}

// place fills in what stands for other objects.
func (n *names) place(ctx context.Context, vm *backends.VM, r *vmRecord) (err error) {
	if vm.Host, err = n.ref(ctx, "host", r.residentOn); err != nil {
		return err
	}
	preferred, err := n.ref(ctx, "host", r.affinity)
	if err != nil {
		return err
	}
	if preferred != nil {
		vm.Placement = &backends.Placement{PreferredHost: preferred}
	}
	vm.CurrentOperations, err = n.currentOperations(ctx, r.current)
	return err
}

func (n *names) xenapi(ctx context.Context, vm *backends.VM, r *vmRecord) (err error) {
	x := &backends.XenAPIVM{
		UserVersion: r.userVersion, PCIBus: n.setting(r.pciBus), Recommendations: n.setting(r.recommendations),
		Tags: n.strs(r.tags), BlockedOperations: n.dict(r.blocked),
		HAAlwaysRun: r.haAlwaysRun, HARestartPriority: n.setting(r.haPriority),
		StartOrder: r.order, StartDelay: r.start, ShutdownDelay: r.shutdown,
		ShadowMultiplier: r.shadow, XenstoreData: n.dict(r.xenstore),
		RequiresReboot: r.reboot, HardwareVersion: r.hardware, SnapshotTime: r.snapshotTime,
	}
	if x.SuspendDisk, err = n.id(ctx, "VDI", r.suspendVDI); err != nil {
		return err
	}
	if x.SnapshotOf, err = n.id(ctx, "VM", r.snapshotOf); err != nil {
		return err
	}
	vm.XenAPI = x
	return nil
}

func (n *names) boot(r *vmRecord) *backends.Boot {
	b := backends.Boot{
		PV: orNil(backends.BootPV{
			Bootloader: n.setting(r.pvBootloader), Kernel: n.setting(r.pvKernel), Ramdisk: n.setting(r.pvRamdisk),
			Args: n.setting(r.pvArgs), BootloaderArgs: n.setting(r.pvBootloaderArgs), LegacyArgs: n.setting(r.pvLegacyArgs),
		}),
	}
	if r.domainType != "unspecified" {
		b.DomainType = r.domainType
	}
	if policy, params := n.setting(r.hvmPolicy), n.dict(r.hvmParams); policy != nil || params != nil {
		b.HVM = &backends.BootHVM{Policy: policy, Params: params}
	}
	return orNil(b)
}

// runtime is what the hypervisor says; XenAPI's domain -1 is none.
func (n *names) runtime(r *vmRecord) *backends.Runtime {
	rt := &backends.Runtime{Architecture: r.domarch, LastBootCPUFlags: n.dict(r.cpuFlags)}
	if r.domid != nil && *r.domid >= 0 {
		rt.DomainID = strconv.FormatInt(*r.domid, 10)
	}
	if rt.DomainID == "" && rt.Architecture == "" && rt.LastBootCPUFlags == nil {
		return nil
	}
	return rt
}

// currentOperations are in the order of their names, since XenAPI's map has none. The task is told
// where it is known and visible to the user.
func (n *names) currentOperations(ctx context.Context, current map[string]string) ([]backends.CurrentOperation, error) {
	all := make([]backends.CurrentOperation, 0, len(current))
	for task, raw := range current {
		op := backends.CurrentOperation{Raw: raw}
		row, _ := lookUpOperation(raw)
		op.Action = row.verb
		if strings.HasPrefix(task, "OpaqueRef:") {
			id, err := n.id(ctx, "task", task)
			if err != nil {
				return nil, err
			}
			op.Task = id
		}
		all = append(all, op)
	}
	slices.SortFunc(all, func(a, b backends.CurrentOperation) int {
		return strings.Compare(a.Raw+taskText(a), b.Raw+taskText(b))
	})
	return all, nil
}

func taskText(o backends.CurrentOperation) string {
	if o.Task == nil {
		return ""
	}
	return o.Task.Native
}

// actions are sorted: XenAPI's order changes from read to read.
func actions(allowed []string) []backends.AllowedAction {
	if allowed == nil {
		return nil
	}
	all := make([]backends.AllowedAction, 0, len(allowed)+1)
	for _, raw := range slices.Sorted(slices.Values(allowed)) {
		row, _ := lookUpOperation(raw)
		all = append(all, backends.AllowedAction{Action: row.verb, Raw: raw})
		if raw == "unpause" {
			all = append(all, backends.AllowedAction{Action: "resume", Raw: raw}) // see resume
		}
	}
	return all
}

// str is a text as clients may see it; setting is one that XenAPI says with "" when it is not set.
func (n *names) str(s string) *string {
	s = n.d.clean(s, "")
	return &s
}

func (n *names) setting(s string) *string {
	if s == "" {
		return nil
	}
	return n.str(s)
}

func (n *names) strs(all []string) []string {
	for i, s := range all {
		all[i] = n.d.clean(s, "")
	}
	return all
}

// dict is absent when it is empty.
func (n *names) dict(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[n.d.clean(k, "")] = n.d.clean(v, "")
	}
	return out
}

func orNil[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
