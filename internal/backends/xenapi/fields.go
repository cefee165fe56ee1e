package xenapi

import (
	"context"
	"math"
	"slices"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// row says how a member of the model is made of a record of the class VM.
type row struct {
	backends.Field
	// read fills the member in from the first of the sources. It is not called for a record that lacks
	// it, as an older release's does. nil: another row has the member with its own, or it costs nothing.
	read read
}

// read reads the value of one member of a record into the VM that r is making. An error that is no
// *backends.Error is damage of the record.
type read func(ctx context.Context, r *vmReader, v scan.Value) error

// vmRows is how a record of the class VM becomes a VM: the only such description, for single reads,
// lists and events alike. A source without a dot is a member of the record, one with a dot a member of
// another class's. Source: xen-api ocaml/idl/datamodel_vm.ml.
var vmRows = []row{
	{backends.Field{Member: "id", Source: "uuid", View: backends.ViewID}, nil},
	inBasic("uid", "uuid", nil),
	inBasic("displayName", "name_label", vmText(func(m *model) **string { return &m.vm.DisplayName })),
	inBasic("description", "name_description", vmSetting(func(m *model) **string { return &m.vm.Description })),
	inBasic("state", "power_state current_operations", readState),
	inBasic("baseState", "power_state current_operations", readBaseState),
	inBasic("rawState.powerState", "power_state", readRawState),
	inBasic("allowedActions[].action", "allowed_operations", nil),
	inBasic("allowedActions[].raw", "allowed_operations", readActions),
	inBasic("currentOperations[].task", "current_operations task.uuid", nil),
	inBasic("currentOperations[].action", "current_operations", nil),
	inBasic("currentOperations[].raw", "current_operations", readOperations),
	inBasic("template", "is_a_template", vmFlag(func(m *model) **bool { return &m.vm.Template })),
	inBasic("snapshot", "is_a_snapshot", vmFlag(func(m *model) **bool { return &m.vm.Snapshot })),
	inBasic("controlDomain", "is_control_domain", vmFlag(func(m *model) **bool { return &m.vm.ControlDomain })),
	inBasic("host.id", "resident_on host.uuid", vmHost(false, func(m *model) **backends.Ref { return &m.vm.Host })),
	inBasic("host.displayName", "resident_on host.name_label", vmHost(true, func(m *model) **backends.Ref { return &m.vm.Host })),
	inBasic("cpu.vcpus", "VCPUs_at_startup", vmNumber(func(m *model) **int64 { return &m.cpu().VCPUs })),
	inBasic("cpu.maxVcpus", "VCPUs_max", vmNumber(func(m *model) **int64 { return &m.cpu().MaxVCPUs })),
	inBasic("cpu.params", "VCPUs_params", vmDict(func(m *model) *map[string]string { return &m.cpu().Params })),
	inBasic("memory.staticMaxBytes", "memory_static_max", vmNumber(func(m *model) **int64 { return &m.memory().StaticMaxBytes })),
	inBasic("memory.dynamicMaxBytes", "memory_dynamic_max", vmNumber(func(m *model) **int64 { return &m.memory().DynamicMaxBytes })),
	inBasic("memory.dynamicMinBytes", "memory_dynamic_min", vmNumber(func(m *model) **int64 { return &m.memory().DynamicMinBytes })),
	inBasic("memory.staticMinBytes", "memory_static_min", vmNumber(func(m *model) **int64 { return &m.memory().StaticMinBytes })),
	inBasic("memory.targetBytes", "memory_target", vmNumber(func(m *model) **int64 { return &m.memory().TargetBytes })),
	inBasic("memory.overheadBytes", "memory_overhead", vmNumber(func(m *model) **int64 { return &m.memory().OverheadBytes })),
	inBasic("boot.domainType", "domain_type", vmWord("unspecified", func(m *model) *string { return &m.boot().DomainType })),
	inBasic("boot.pv.bootloader", "PV_bootloader", vmSetting(func(m *model) **string { return &m.pv().Bootloader })),
	inBasic("boot.pv.kernel", "PV_kernel", vmSetting(func(m *model) **string { return &m.pv().Kernel })),
	inBasic("boot.pv.ramdisk", "PV_ramdisk", vmSetting(func(m *model) **string { return &m.pv().Ramdisk })),
	inBasic("boot.pv.args", "PV_args", vmSetting(func(m *model) **string { return &m.pv().Args })),
	inBasic("boot.pv.bootloaderArgs", "PV_bootloader_args", vmSetting(func(m *model) **string { return &m.pv().BootloaderArgs })),
	inBasic("boot.pv.legacyArgs", "PV_legacy_args", vmSetting(func(m *model) **string { return &m.pv().LegacyArgs })),
	inBasic("boot.hvm.policy", "HVM_boot_policy", vmSetting(func(m *model) **string { return &m.hvm().Policy })),
	inBasic("boot.hvm.params", "HVM_boot_params", vmDict(func(m *model) *map[string]string { return &m.hvm().Params })),
	inBasic("platform", "platform", vmDict(func(m *model) *map[string]string { return &m.vm.Platform })),
	inBasic("placement.preferredHost.id", "affinity host.uuid", vmHost(false, func(m *model) **backends.Ref { return &m.placement().PreferredHost })),
	inBasic("placement.preferredHost.displayName", "affinity host.name_label", vmHost(true, func(m *model) **backends.Ref { return &m.placement().PreferredHost })),
	inBasic("lifecyclePolicy.onShutdown", "actions_after_shutdown", vmWord("", func(m *model) *string { return &m.policy().OnShutdown })),
	inBasic("lifecyclePolicy.onReboot", "actions_after_reboot", vmWord("", func(m *model) *string { return &m.policy().OnReboot })),
	inBasic("lifecyclePolicy.onCrash", "actions_after_crash", vmWord("", func(m *model) *string { return &m.policy().OnCrash })),
	inBasic("runtime.domainId", "domid", readDomain),
	inBasic("runtime.architecture", "domarch", vmWord("", func(m *model) *string { return &m.runtime().Architecture })),
	inBasic("runtime.lastBootCpuFlags", "last_boot_CPU_flags", vmDict(func(m *model) *map[string]string { return &m.runtime().LastBootCPUFlags })),
	inBasic("annotations", "other_config", vmDict(func(m *model) *map[string]string { return &m.vm.Annotations })),
	inBasic("xenapi.userVersion", "user_version", vmNumber(func(m *model) **int64 { return &m.xenapi().UserVersion })),
	inFull("xenapi.suspendDisk", "suspend_VDI VDI.uuid", vmRef("VDI", func(m *model) **backends.ID { return &m.xenapi().SuspendDisk })),
	inBasic("xenapi.pciBus", "PCI_bus", vmSetting(func(m *model) **string { return &m.xenapi().PCIBus })),
	inBasic("xenapi.recommendations", "recommendations", vmSetting(func(m *model) **string { return &m.xenapi().Recommendations })),
	inBasic("xenapi.tags", "tags", vmWords(func(m *model) *[]string { return &m.xenapi().Tags })),
	inBasic("xenapi.blockedOperations", "blocked_operations", vmDict(func(m *model) *map[string]string { return &m.xenapi().BlockedOperations })),
	inBasic("xenapi.haAlwaysRun", "ha_always_run", vmFlag(func(m *model) **bool { return &m.xenapi().HAAlwaysRun })),
	inBasic("xenapi.haRestartPriority", "ha_restart_priority", vmSetting(func(m *model) **string { return &m.xenapi().HARestartPriority })),
	inBasic("xenapi.startOrder", "order", vmNumber(func(m *model) **int64 { return &m.xenapi().StartOrder })),
	inBasic("xenapi.startDelaySeconds", "start_delay", vmNumber(func(m *model) **int64 { return &m.xenapi().StartDelay })),
	inBasic("xenapi.shutdownDelaySeconds", "shutdown_delay", vmNumber(func(m *model) **int64 { return &m.xenapi().ShutdownDelay })),
	inBasic("xenapi.shadowMultiplier", "HVM_shadow_multiplier", vmFraction(func(m *model) **float64 { return &m.xenapi().ShadowMultiplier })),
	inBasic("xenapi.xenstoreData", "xenstore_data", vmDict(func(m *model) *map[string]string { return &m.xenapi().XenstoreData })),
	inBasic("xenapi.requiresReboot", "requires_reboot", vmFlag(func(m *model) **bool { return &m.xenapi().RequiresReboot })),
	inBasic("xenapi.hardwarePlatformVersion", "hardware_platform_version", vmNumber(func(m *model) **int64 { return &m.xenapi().HardwareVersion })),
	inBasic("xenapi.snapshotOf", "snapshot_of VM.uuid", vmRef("VM", func(m *model) **backends.ID { return &m.xenapi().SnapshotOf })),
	inBasic("xenapi.snapshotTime", "snapshot_time", readSnapshotTime),
	inFull("disks[].id", "VBDs VBD.uuid", readDisks),
	inFull("disks[].device", "VBD.device", nil),
	inFull("disks[].position", "VBD.userdevice", nil),
	inFull("disks[].type", "VBD.type", nil),
	inFull("disks[].mode", "VBD.mode", nil),
	inFull("disks[].bootable", "VBD.bootable", nil),
	inFull("disks[].attached", "VBD.currently_attached", nil),
	inFull("disks[].empty", "VBD.empty", nil),
	inFull("disks[].persistent", "VDI.on_boot", nil),
	inFull("disks[].sizeBytes", "VDI.virtual_size", nil),
	inFull("disks[].usedBytes", "VDI.physical_utilisation", nil),
	inFull("disks[].image.id", "VBD.VDI VDI.uuid", nil),
	inFull("disks[].image.displayName", "VDI.name_label", nil),
	inFull("disks[].storage.id", "VDI.SR SR.uuid", nil),
	inFull("disks[].storage.displayName", "SR.name_label", nil),
	inFull("nics[].id", "VIFs VIF.uuid", readNICs),
	inFull("nics[].device", "VIF.device", nil),
	inFull("nics[].mac", "VIF.MAC", nil),
	inFull("nics[].mtu", "VIF.MTU", nil),
	inFull("nics[].attached", "VIF.currently_attached", nil),
	inFull("nics[].addresses", "guest_metrics VM_guest_metrics.networks", nil),
	inFull("nics[].network.id", "VIF.network network.uuid", nil),
	inFull("nics[].network.displayName", "network.name_label", nil),
	inFull("etag", "uuid", nil),
	{backends.Field{Member: "native", Source: "uuid", View: backends.ViewNative}, nil},
}

func inBasic(member, source string, r read) row {
	return row{backends.Field{Member: member, Source: source, View: backends.ViewBasic}, r}
}

func inFull(member, source string, r read) row {
	return row{backends.Field{Member: member, Source: source, View: backends.ViewFull}, r}
}

// VMFields says where each member of a VM comes from.
func VMFields() []backends.Field {
	all := make([]backends.Field, len(vmRows))
	for i, r := range vmRows {
		all[i] = r.Field
	}
	return all
}

// The slots of members that are asked for by name: they are the first of vmNames.
const (
	slotUUID = iota
	slotPower
	slotOperations
	slotVBDs
	slotVIFs
	slotMetrics
	slotGuestMetrics
	slotConsoles
	slotCrashDumps
	slotVTPMs
	slotShipped
	slotTemplate
	slotSnapshot
	slotControlDomain
	slotSuspendDisk
)

var slotNames = [...]string{
	slotUUID: "uuid", slotPower: "power_state", slotOperations: "current_operations", slotVBDs: "VBDs", slotVIFs: "VIFs",
	slotMetrics: "metrics", slotGuestMetrics: "guest_metrics", slotConsoles: "consoles", slotCrashDumps: "crash_dumps",
	slotVTPMs: "VTPMs", slotShipped: "is_default_template", slotTemplate: "is_a_template", slotSnapshot: "is_a_snapshot",
	slotControlDomain: "is_control_domain", slotSuspendDisk: "suspend_VDI",
}

// vmNames are the members of the class VM that are read, by their slots: those with a constant, and
// the rows' own.
var vmNames = func() []string {
	names := slices.Clone(slotNames[:])
	for _, r := range vmRows {
		for source := range strings.FieldsSeq(r.Source) {
			if !strings.Contains(source, ".") && !slices.Contains(names, source) {
				names = append(names, source)
			}
		}
	}
	return names
}()

var vmMembers = scan.NewMembers(vmNames...)

// wanted are the rows with something to read for a query.
func wanted(view backends.View, members []string) []reading {
	var all []reading
	for _, r := range vmRows {
		if r.read == nil || !includes(view, r.View) || !asked(r.Member, members) {
			continue
		}
		source, _, _ := strings.Cut(r.Source, " ")
		all = append(all, reading{slices.Index(vmNames, source), source, r.read})
	}
	return all
}

// dear reports whether a query asks for more of a VM than its record tells: for what belongs to it.
func dear(view backends.View, members []string) bool {
	return slices.ContainsFunc(vmRows, func(r row) bool {
		return includes(r.View, backends.ViewFull) && includes(view, r.View) && asked(r.Member, members)
	})
}

// reading is a row that is wanted.
type reading struct {
	slot   int
	source string
	read   read
}

// views, from the smallest.
var views = []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative}

// includes reports whether view has what is first shown in least.
func includes(view, least backends.View) bool {
	return slices.Index(views, view) >= slices.Index(views, least)
}

// asked reports whether a query for members wants this one. A member stands for all below it. The rows
// of a list stand and fall together, since one of them reads it; and the ETag is of everything.
func asked(member string, members []string) bool {
	list, _, _ := strings.Cut(member, "[]")
	return members == nil || slices.ContainsFunc(members, func(m string) bool {
		m, _, _ = strings.Cut(m, "[]")
		return m == "etag" || under(list, m) || under(m, list)
	})
}

// under reports whether member is path, or below it.
func under(member, path string) bool {
	rest, ok := strings.CutPrefix(member, path)
	return ok && (rest == "" || rest[0] == '.')
}

// The readers for each of XenAPI's types. Each takes the place in the model, which is touched only
// when there is something to put into it: what a release does not have, and what is empty, is absent.

func vmText(place func(*model) **string) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		s, err := r.text(v)
		if err == nil {
			*place(r.m) = r.m.texts.put(s)
		}
		return err
	}
}

// vmSetting is a text that XenAPI says with "" when it is not set.
func vmSetting(place func(*model) **string) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		s, err := r.text(v)
		if err == nil && s != "" {
			*place(r.m) = r.m.texts.put(s)
		}
		return err
	}
}

// vmWord is a value of an enumeration, one of which means none.
func vmWord(none string, place func(*model) *string) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		s, err := r.text(v)
		if err == nil && s != "" && s != none {
			*place(r.m) = s
		}
		return err
	}
}

func vmFlag(place func(*model) **bool) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		is, err := v.Bool()
		if err == nil {
			*place(r.m) = r.m.flags.put(is)
		}
		return err
	}
}

// vmNumber is XenAPI's int, a decimal string of 64 bits.
func vmNumber(place func(*model) **int64) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		n, err := v.Int()
		if err == nil {
			*place(r.m) = r.m.numbers.put(n)
		}
		return err
	}
}

// vmFraction passes over NaN and the infinities: nobody knows such a value, and JSON cannot say it.
func vmFraction(place func(*model) **float64) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		f, err := v.Float()
		if err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			r.m.parts.fraction = f
			*place(r.m) = &r.m.parts.fraction
		}
		return err
	}
}

func vmWords(place func(*model) *[]string) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		all, err := r.words(v)
		if err == nil {
			*place(r.m) = all
		}
		return err
	}
}

// vmDict is absent when it is empty.
func vmDict(place func(*model) *map[string]string) read {
	return func(_ context.Context, r *vmReader, v scan.Value) error {
		all, err := r.dict(v)
		if len(all) > 0 && err == nil {
			*place(r.m) = all
		}
		return err
	}
}
