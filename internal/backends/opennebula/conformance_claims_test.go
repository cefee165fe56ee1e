package opennebula_test

import (
	"path"
	"slices"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/opennebula/onesim"
)

// What OpenNebula has and does, written down from its sources by release: the state checks in
// src/dm/DispatchManagerActions.cc, src/lcm/LifeCycleActions.cc and
// src/rm/RequestManagerVirtualMachine.cc of 3.8.5, 4.14.2, 5.12.0, 6.10.0 and 7.4.0, and from
// recordings of 6.10.0 and 4.14.2.

// release is one that the simulator speaks, in their order.
type release int

const (
	r38 release = iota
	r414
	r512
	r610
	r74
	always = r74
)

var releases = map[release]string{r38: "3.8.5", r414: "4.14.2", r512: "5.12.0", r610: "6.10.0", r74: "7.4.0"}

// standing is a place with its numbers, and the releases that have it.
type standing struct {
	name         string
	lcm          bool // a number of LCM_STATE, while STATE is ACTIVE
	number       int
	state, base  backends.State
	since, until release
}

var standings = []standing{
	{"POWEROFF", false, 8, backends.StateStopped, "", r38, always},
	{"INIT", false, 0, backends.StateCreating, "", r38, always},
	{"PENDING", false, 1, backends.StatePending, "", r38, always},
	{"HOLD", false, 2, backends.StateHeld, "", r38, always},
	{"STOPPED", false, 4, backends.StateStored, "", r38, always},
	{"SUSPENDED", false, 5, backends.StateSuspended, "", r38, always},
	{"DONE", false, 6, backends.StateDeleted, "", r38, always},
	{"FAILED", false, 7, backends.StateFailed, "", r38, r38},
	{"UNDEPLOYED", false, 9, backends.StateStored, "", r414, always},
	{"CLONING", false, 10, backends.StateCreating, "", r512, always},
	{"CLONING_FAILURE", false, 11, backends.StateFailed, "", r512, always},

	{"LCM_INIT", true, 0, backends.StateUnknown, "", r38, always},
	{"PROLOG", true, 1, backends.StateStarting, "", r38, always},
	{"BOOT", true, 2, backends.StateStarting, "", r38, always},
	{"RUNNING", true, 3, backends.StateRunning, "", r38, always},
	{"MIGRATE", true, 4, backends.StateMigrating, "", r38, always},
	{"SAVE_STOP", true, 5, backends.StateStopping, "", r38, always},
	{"SAVE_SUSPEND", true, 6, backends.StateSuspending, "", r38, always},
	{"SAVE_MIGRATE", true, 7, backends.StateMigrating, "", r38, always},
	{"PROLOG_MIGRATE", true, 8, backends.StateMigrating, "", r38, always},
	{"PROLOG_RESUME", true, 9, backends.StateStarting, "", r38, always},
	{"EPILOG_STOP", true, 10, backends.StateStopping, "", r38, always},
	{"EPILOG", true, 11, backends.StateDeleting, "", r38, always},
	{"SHUTDOWN", true, 12, backends.StateDeleting, "", r38, always},
	{"CANCEL", true, 13, backends.StateDeleting, "", r38, r38},
	{"FAILURE", true, 14, backends.StateFailed, "", r38, r38},
	{"CLEANUP", true, 15, backends.StateDeleting, "", r38, r38},
	{"CLEANUP_RESUBMIT", true, 15, backends.StateStarting, "", r414, always},
	{"UNKNOWN", true, 16, backends.StateUnknown, "", r38, always},
	{"HOTPLUG", true, 17, backends.StateUpdating, backends.StateRunning, r38, always},
	{"SHUTDOWN_POWEROFF", true, 18, backends.StateStopping, "", r38, always},
	{"BOOT_UNKNOWN", true, 19, backends.StateStarting, "", r38, always},
	{"BOOT_POWEROFF", true, 20, backends.StateStarting, "", r38, always},
	{"BOOT_SUSPENDED", true, 21, backends.StateStarting, "", r38, always},
	{"BOOT_STOPPED", true, 22, backends.StateStarting, "", r38, always},
	{"CLEANUP_DELETE", true, 23, backends.StateDeleting, "", r414, always},
	{"HOTPLUG_SNAPSHOT", true, 24, backends.StateUpdating, backends.StateRunning, r414, always},
	{"HOTPLUG_NIC", true, 25, backends.StateUpdating, backends.StateRunning, r414, always},
	{"HOTPLUG_SAVEAS", true, 26, backends.StateUpdating, backends.StateRunning, r414, always},
	{"HOTPLUG_SAVEAS_POWEROFF", true, 27, backends.StateUpdating, backends.StateStopped, r414, always},
	{"HOTPLUG_SAVEAS_SUSPENDED", true, 28, backends.StateUpdating, backends.StateSuspended, r414, always},
	{"SHUTDOWN_UNDEPLOY", true, 29, backends.StateStopping, "", r414, always},
	{"EPILOG_UNDEPLOY", true, 30, backends.StateStopping, "", r414, always},
	{"PROLOG_UNDEPLOY", true, 31, backends.StateStarting, "", r414, always},
	{"BOOT_UNDEPLOY", true, 32, backends.StateStarting, "", r414, always},
	{"HOTPLUG_PROLOG_POWEROFF", true, 33, backends.StateUpdating, backends.StateStopped, r414, always},
	{"HOTPLUG_EPILOG_POWEROFF", true, 34, backends.StateUpdating, backends.StateStopped, r414, always},
	{"BOOT_MIGRATE", true, 35, backends.StateMigrating, "", r414, always},
	{"BOOT_FAILURE", true, 36, backends.StateFailed, "", r414, always},
	{"BOOT_MIGRATE_FAILURE", true, 37, backends.StateFailed, "", r414, always},
	{"PROLOG_MIGRATE_FAILURE", true, 38, backends.StateFailed, "", r414, always},
	{"PROLOG_FAILURE", true, 39, backends.StateFailed, "", r414, always},
	{"EPILOG_FAILURE", true, 40, backends.StateFailed, "", r414, always},
	{"EPILOG_STOP_FAILURE", true, 41, backends.StateFailed, "", r414, always},
	{"EPILOG_UNDEPLOY_FAILURE", true, 42, backends.StateFailed, "", r414, always},
	{"PROLOG_MIGRATE_POWEROFF", true, 43, backends.StateMigrating, "", r414, always},
	{"PROLOG_MIGRATE_POWEROFF_FAILURE", true, 44, backends.StateFailed, "", r414, always},
	{"PROLOG_MIGRATE_SUSPEND", true, 45, backends.StateMigrating, "", r414, always},
	{"PROLOG_MIGRATE_SUSPEND_FAILURE", true, 46, backends.StateFailed, "", r414, always},
	{"BOOT_UNDEPLOY_FAILURE", true, 47, backends.StateFailed, "", r414, always},
	{"BOOT_STOPPED_FAILURE", true, 48, backends.StateFailed, "", r414, always},
	{"PROLOG_RESUME_FAILURE", true, 49, backends.StateFailed, "", r414, always},
	{"PROLOG_UNDEPLOY_FAILURE", true, 50, backends.StateFailed, "", r414, always},
	{"DISK_SNAPSHOT_POWEROFF", true, 51, backends.StateUpdating, backends.StateStopped, r414, always},
	{"DISK_SNAPSHOT_REVERT_POWEROFF", true, 52, backends.StateUpdating, backends.StateStopped, r414, always},
	{"DISK_SNAPSHOT_DELETE_POWEROFF", true, 53, backends.StateUpdating, backends.StateStopped, r414, always},
	{"DISK_SNAPSHOT_SUSPENDED", true, 54, backends.StateUpdating, backends.StateSuspended, r414, always},
	{"DISK_SNAPSHOT_REVERT_SUSPENDED", true, 55, backends.StateUpdating, backends.StateSuspended, r414, r512},
	{"DISK_SNAPSHOT_DELETE_SUSPENDED", true, 56, backends.StateUpdating, backends.StateSuspended, r414, always},
	{"DISK_SNAPSHOT", true, 57, backends.StateUpdating, backends.StateRunning, r414, always},
	{"DISK_SNAPSHOT_REVERT", true, 58, backends.StateUpdating, backends.StateRunning, r414, r414},
	{"DISK_SNAPSHOT_DELETE", true, 59, backends.StateUpdating, backends.StateRunning, r414, always},
	{"PROLOG_MIGRATE_UNKNOWN", true, 60, backends.StateMigrating, "", r512, always},
	{"PROLOG_MIGRATE_UNKNOWN_FAILURE", true, 61, backends.StateFailed, "", r512, always},
	{"DISK_RESIZE", true, 62, backends.StateUpdating, backends.StateRunning, r512, always},
	{"DISK_RESIZE_POWEROFF", true, 63, backends.StateUpdating, backends.StateStopped, r512, always},
	{"DISK_RESIZE_UNDEPLOYED", true, 64, backends.StateUpdating, backends.StateStored, r512, always},
	{"HOTPLUG_NIC_POWEROFF", true, 65, backends.StateUpdating, backends.StateStopped, r512, always},
	{"HOTPLUG_RESIZE", true, 66, backends.StateUpdating, backends.StateRunning, r610, always},
	{"HOTPLUG_SAVEAS_UNDEPLOYED", true, 67, backends.StateUpdating, backends.StateStored, r610, always},
	{"HOTPLUG_SAVEAS_STOPPED", true, 68, backends.StateUpdating, backends.StateStored, r610, always},
	{"BACKUP", true, 69, backends.StateUpdating, backends.StateRunning, r610, always},
	{"BACKUP_POWEROFF", true, 70, backends.StateUpdating, backends.StateStopped, r610, always},
	{"RESTORE", true, 71, backends.StateUpdating, backends.StateStopped, r610, always},
}

// numbers are STATE and LCM_STATE of a place.
func numbers(r release, place string) (onesim.State, onesim.LCM) {
	for _, s := range standings {
		switch {
		case s.name != place || r < s.since || s.until < r:
		case s.lcm:
			return onesim.Active, onesim.LCM(s.number)
		default:
			return onesim.State(s.number), 0
		}
	}
	return -1, -1
}

func places(r release) []drivertest.Place {
	var all []drivertest.Place
	for _, s := range standings {
		if s.since <= r && r <= s.until {
			all = append(all, drivertest.Place{Name: s.name, State: s.state, Base: s.base, Hidden: s.name == "DONE"})
		}
	}
	return all
}

// Sets of places that rows below share.
const (
	neverRan = "INIT PENDING HOLD CLONING CLONING_FAILURE"
	atRest   = "SUSPENDED POWEROFF STOPPED UNDEPLOYED"
	// transient are the states in which OpenNebula is at work.
	transient = "PROLOG BOOT MIGRATE SAVE_* PROLOG_MIGRATE PROLOG_RESUME EPILOG_STOP EPILOG SHUTDOWN CANCEL CLEANUP* HOTPLUG* " +
		"SHUTDOWN_POWEROFF BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED BOOT_STOPPED SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY PROLOG_UNDEPLOY " +
		"BOOT_UNDEPLOY BOOT_MIGRATE PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_SUSPEND DISK_SNAPSHOT* PROLOG_MIGRATE_UNKNOWN DISK_RESIZE* " +
		"BACKUP* RESTORE"
)

// objects are what verbs refer to.
type objects struct {
	name        string       // of the backend
	first, next *backends.ID // hosts: where VMs are, and where they can go
	user, group *backends.ID
	diskless    bool // the VMs that are made have no disk
}

// verbs has OpenNebula's rows. In places that no row names a verb is refused.
func verbs(r release, o objects) []drivertest.VerbClaim {
	yes, no := true, false
	from := func(since release, list string) string {
		if r < since {
			return ""
		}
		return " " + list
	}
	unsupported := []drivertest.Move{{From: "*", Code: backends.UnsupportedByBackend}}
	unless := func(since release, moves ...drivertest.Move) []drivertest.Move {
		if r < since {
			return unsupported
		}
		return moves
	}
	move := func(from, to string) drivertest.Move { return drivertest.Move{From: from, To: to} }

	alive := "RUNNING" + from(r414, "UNKNOWN")
	deployable := "PENDING" + from(r414, "HOLD STOPPED UNDEPLOYED")
	terminable := "RUNNING" + from(r414, "UNKNOWN POWEROFF SUSPENDED") + from(r512, neverRan+" STOPPED UNDEPLOYED *_FAILURE")
	recreatable := move("INIT PENDING HOLD STOPPED UNDEPLOYED FAILED FAILURE *_FAILURE CLONING RUNNING UNKNOWN LCM_INIT "+transient+from(r610, "POWEROFF SUSPENDED"), "PENDING")
	deletable := neverRan + " " + atRest + " FAILED FAILURE *_FAILURE RUNNING UNKNOWN LCM_INIT " + transient

	claims := []drivertest.VerbClaim{
		{Verb: "start", Moves: []drivertest.Move{move("HOLD STOPPED UNDEPLOYED", "PENDING"), move("POWEROFF UNKNOWN", "RUNNING")}},
		{Verb: "start", Way: "host", Args: backends.Args{Host: o.first}, Moves: []drivertest.Move{move(deployable, "RUNNING")}, Unlisted: true},
		{Verb: "shutdown", Moves: []drivertest.Move{move(alive, "POWEROFF")}},
		{Verb: "shutdown", Way: "FORCE", Args: backends.Args{Mode: "FORCE"}, Moves: unless(r414, move(alive+from(r610, "SHUTDOWN_POWEROFF"), "POWEROFF"))},
		{Verb: "reboot", Moves: []drivertest.Move{move("RUNNING", "")}},
		{Verb: "reboot", Way: "FORCE", Args: backends.Args{Mode: "FORCE"}, Moves: []drivertest.Move{move("RUNNING", "")}},
		{Verb: "suspend", Moves: []drivertest.Move{move("RUNNING", "SUSPENDED")}},
		{Verb: "resume", Moves: []drivertest.Move{move("SUSPENDED"+from(r414, "POWEROFF UNKNOWN"), "RUNNING"), move("STOPPED UNDEPLOYED", "PENDING")}},
		{Verb: "resume", Way: "host", Args: backends.Args{Host: o.first}, Moves: []drivertest.Move{move(from(r414, "STOPPED UNDEPLOYED"), "RUNNING")}},
		{Verb: "stop", Moves: []drivertest.Move{move("RUNNING"+from(r414, "SUSPENDED"), "STOPPED")}},
		{Verb: "hold", Moves: []drivertest.Move{move("PENDING", "HOLD")}},
		{Verb: "release", Moves: []drivertest.Move{move("HOLD", "PENDING")}},
		{Verb: "deploy", Args: backends.Args{Host: o.first}, Moves: []drivertest.Move{move(deployable, "RUNNING")}},
		{Verb: "terminate", Moves: []drivertest.Move{move(terminable, "DONE")}},
		{Verb: "terminate", Way: "FORCE", Args: backends.Args{Mode: "FORCE"}, Moves: []drivertest.Move{move(terminable+from(r610, "SHUTDOWN"), "DONE")}},
		{Verb: "recreate", Moves: []drivertest.Move{recreatable}},
		{Verb: "migrate", Args: backends.Args{Host: o.next}, Moves: []drivertest.Move{move("RUNNING", "")}},
		{Verb: "migrate", Way: "cold", Args: backends.Args{Host: o.next, Live: &no},
			Moves: []drivertest.Move{move("RUNNING"+from(r414, "POWEROFF SUSPENDED"), ""), move(from(r414, "UNKNOWN"), "RUNNING")}},
		{Verb: "migrate", Way: "cold-POWEROFF", Args: backends.Args{Host: o.next, Live: &no, ColdMode: "POWEROFF"},
			Moves: unless(r512, move("RUNNING POWEROFF SUSPENDED", ""), move("UNKNOWN", "RUNNING"))},
		{Verb: backends.VerbInstantiate, Args: backends.Args{DisplayName: text("conformance-instantiate")}, Moves: []drivertest.Move{move("template", "PENDING")}},
		{Verb: "checkOperation", Args: backends.Args{Action: "start"}, Moves: []drivertest.Move{move("*", "")}, Unlisted: true},
	}
	claims = append(claims, recoveries(r, recreatable, deletable)...)
	deletion := drivertest.VerbClaim{Verb: backends.VerbDelete, Moves: []drivertest.Move{move(terminable+from(r610, "SHUTDOWN"), "DONE")}}
	if r < r512 {
		deletion.Moves = []drivertest.Move{move(deletable, "DONE")}
	}
	forced := drivertest.VerbClaim{Verb: backends.VerbDelete, Way: "force", Args: backends.Args{Force: &yes}, Moves: []drivertest.Move{move(deletable, "DONE")}}
	claims = append(claims, deletion, forced)
	claims = append(claims, drivertest.VerbClaim{
		Verb: backends.VerbSaveDisk, Args: backends.Args{Disk: "0", ImageName: "conformance-image"}, Moves: []drivertest.Move{saving(r, o)},
	})
	if r >= r414 {
		two := int64(2)
		claims = append(claims,
			drivertest.VerbClaim{Verb: "undeploy", Moves: []drivertest.Move{move("RUNNING UNKNOWN POWEROFF", "UNDEPLOYED")}},
			drivertest.VerbClaim{Verb: "undeploy", Way: "FORCE", Args: backends.Args{Mode: "FORCE"},
				Moves: []drivertest.Move{move("RUNNING UNKNOWN POWEROFF"+from(r610, "SHUTDOWN_UNDEPLOY"), "UNDEPLOYED")}},
			drivertest.VerbClaim{Verb: "resize", Args: backends.Args{VCPUs: &two},
				Moves: []drivertest.Move{move("CLONING", drivertest.Anywhere), move(neverRan+" POWEROFF UNDEPLOYED"+from(r610, "RUNNING"), "")}},
			drivertest.VerbClaim{Verb: backends.VerbInstantiate, Way: "hold", Args: backends.Args{DisplayName: text("conformance-held"), Hold: &yes},
				Moves: []drivertest.Move{move("template", "HOLD")}},
		)
	}
	return claims
}

// saving is what saveDisk does: up to 4.12 the disk is saved when the VM is shut down.
func saving(r release, o objects) drivertest.Move {
	switch {
	case r < r414:
		return drivertest.Move{From: "RUNNING", To: drivertest.Later}
	case r < r610:
		return drivertest.Move{From: "RUNNING POWEROFF SUSPENDED"}
	case o.diskless:
		return drivertest.Move{From: "RUNNING POWEROFF SUSPENDED STOPPED UNDEPLOYED", Code: backends.NotFound}
	}
	return drivertest.Move{From: "RUNNING POWEROFF SUSPENDED STOPPED UNDEPLOYED"}
}

// known leaves out of each row the places that the release does not have.
func known(r release, claims []drivertest.VerbClaim) []drivertest.VerbClaim {
	for _, c := range claims {
		for i, m := range c.Moves {
			there := slices.DeleteFunc(strings.Fields(m.From), func(pattern string) bool {
				return pattern != "template" && !slices.ContainsFunc(places(r), func(p drivertest.Place) bool {
					ok, err := path.Match(pattern, p.Name)
					return ok && err == nil
				})
			})
			c.Moves[i].From = strings.Join(there, " ")
		}
	}
	return claims
}

// recoveries are the ways of recover, which there is since 4.0.1. What one leads to depends on what
// was under way.
func recoveries(r release, recreatable drivertest.Move, deletable string) []drivertest.VerbClaim {
	if r < r414 {
		return nil
	}
	unsupported := []drivertest.Move{{From: "*", Code: backends.UnsupportedByBackend}}
	// What oned answers with success without doing anything is claimed to be refused: failing what has failed, and asking
	// drivers again that were not asked. Source: src/lcm/LifeCycleActions.cc, recover and retry.
	retried := "PROLOG* BOOT* MIGRATE SAVE_* EPILOG* SHUTDOWN*"
	var claims []drivertest.VerbClaim
	for _, row := range []struct {
		outcome string
		since   release
		moves   []drivertest.Move
	}{
		{"FAILURE", r414, []drivertest.Move{{From: transient, To: drivertest.Anywhere}}},
		{"SUCCESS", r414, []drivertest.Move{{From: transient + " *_FAILURE UNKNOWN", To: drivertest.Anywhere}}},
		{"RETRY", r414, []drivertest.Move{{From: retried, To: drivertest.Anywhere}}},
		{"DELETE", r512, []drivertest.Move{{From: deletable, To: "DONE"}}},
		{"RECREATE", r512, []drivertest.Move{recreatable}},
		{"DELETE_DB", r512, []drivertest.Move{{From: deletable, To: "DONE"}}},
	} {
		c := drivertest.VerbClaim{Verb: "recover", Way: row.outcome, Args: backends.Args{Outcome: row.outcome}, Moves: row.moves}
		if r < row.since {
			c.Moves = unsupported
		}
		claims = append(claims, c)
	}
	return claims
}

func text(s string) *string { return &s }

// missing is the id of nothing.
func missing(o objects) *backends.ID { return &backends.ID{Backend: o.name, Native: missingID} }

const missingID = "1999999"

func lacking(r release) []backends.Verb {
	lacks := []backends.Verb{"pause", "unpause", "clone", "copy", "provision", "resetPowerState", "setVcpuParam", "sendSysrq",
		"sendTrigger", "refreshAllowedActions", "checkHost"}
	if r < r414 {
		lacks = append(lacks, "undeploy", "recover", "resize")
	}
	return lacks
}

const mib = 1 << 20

func members(r release, o objects) []drivertest.MemberClaim {
	sized := []backends.Change{{Path: "memory.dynamicMaxBytes", Value: int64(64 * mib)}, {Path: "cpu.share", Value: 0.1}}
	booting := []backends.Change{{Path: "boot.hvm.params", Value: map[string]*string{"order": text("disk0")}}}
	on := true
	return []drivertest.MemberClaim{
		{Path: "displayName", Value: "conformance-renamed", NoPatch: r < r414, Bad: []any{strings.Repeat("x", 129), "a/b", ""}},
		{Path: "description", Value: "made by the conformance suite", NoPatch: r < r414},
		{Path: "hold", Value: true, Unread: true, CreatesIn: "HOLD", NoCreate: r < r414},
		{Path: "owner", Value: backends.OwnerPatch{User: o.user, Group: o.group},
			Reads: map[string]any{"user": map[string]any{"id": o.user}, "group": map[string]any{"id": o.group}},
			Bad:   []any{backends.OwnerPatch{User: missing(o)}, backends.OwnerPatch{Group: missing(o)}}},
		{Path: "cpu.vcpus", Value: int64(2), NoPatch: r < r414, Bad: []any{int64(0), int64(-1), int64(1) << 40}},
		{Path: "cpu.maxVcpus", Value: int64(4), NoPatch: true},
		{Path: "cpu.share", Value: 0.5, NoPatch: r < r414, Bad: []any{0.0, -1.0}},
		{Path: "memory.dynamicMaxBytes", Value: int64(128 * mib), NoPatch: r < r414, Bad: []any{int64(0), int64(-mib), int64(mib + 1)}},
		{Path: "memory.staticMaxBytes", Value: int64(256 * mib), NoPatch: true, With: sized},
		{Path: "boot.pv.bootloader", Value: "/usr/bin/pygrub", NoPatch: r < r512, WithPatch: booting, Bad: []any{""}},
		{Path: "boot.pv.kernel", Value: "/boot/vmlinuz", NoPatch: r < r512, WithPatch: booting},
		{Path: "boot.pv.ramdisk", Value: "/boot/initrd", NoPatch: r < r512, WithPatch: booting},
		{Path: "boot.pv.args", Value: `root=/dev/vda1 quiet="a b"`, NoPatch: r < r512, WithPatch: booting},
		{Path: "boot.hvm.params", Value: map[string]*string{"order": text("disk0,nic0"), "firmware": text("BIOS")}, NoPatch: r < r512,
			WithPatch: []backends.Change{{Path: "boot.pv.kernel", Value: "/boot/vmlinuz"}}, Bad: []any{map[string]*string{"color": text("red")}}},
		{Path: "platform", Value: map[string]*string{"ACPI": text("yes"), "PAE": text("no")}, NoPatch: r < r512},
		{Path: "placement.requirements", Value: `ARCH = "x86_64" & FREE_CPU > 5`, NoPatch: r < r414},
		{Path: "placement.preferredHost", Value: *o.next, Reads: map[string]any{"id": o.next}, NoPatch: r < r414, Alone: true},
		{Path: "placement.rank", Value: "FREE_MEMORY * 2", NoPatch: r < r414},
		{Path: "annotations", Value: map[string]*string{"TEAM": text("web"), "COST_CENTRE": text("4711")}, NoPatch: r < r414,
			Bad: []any{map[string]*string{"a b": text("x")}, map[string]*string{"CPU": text("64")}, map[string]*string{"ERROR": text("x")}}},
		{Path: "opennebula.template", Value: "CPU = 0.1\nMEMORY = 64\n", Unread: true},
		{Path: "opennebula.permissions", Value: backends.PermissionsPatch{Group: backends.PermissionBitsPatch{Use: &on}, Other: backends.PermissionBitsPatch{Use: &on}},
			Reads: map[string]any{"group": map[string]any{"use": true}, "other": map[string]any{"use": true}, "owner": map[string]any{"use": true, "manage": true}}},
	}
}

var lackingMembers = strings.Fields(`template cpu.params memory.dynamicMinBytes memory.staticMinBytes boot.domainType
	boot.pv.bootloaderArgs boot.pv.legacyArgs boot.hvm.policy lifecyclePolicy.onShutdown
	lifecyclePolicy.onReboot lifecyclePolicy.onCrash xenapi.userVersion xenapi.suspendDisk xenapi.pciBus xenapi.recommendations
	xenapi.tags xenapi.blockedOperations xenapi.haAlwaysRun xenapi.haRestartPriority xenapi.startOrder xenapi.startDelaySeconds
	xenapi.shutdownDelaySeconds xenapi.shadowMultiplier xenapi.xenstoreData`)

func resources(r release) (has []drivertest.ResourceClaim, lacks []backends.Resource) {
	lacks = []backends.Resource{backends.VMCrashDumps, backends.VMBootRecord, backends.VMAllowedDisks, backends.VMAllowedNICs}
	has = []drivertest.ResourceClaim{
		{Resource: backends.Hosts, Least: 2}, {Resource: backends.Templates}, {Resource: backends.Images},
		{Resource: backends.Storages, Least: 1}, {Resource: backends.Networks},
		{Resource: backends.HostByID}, {Resource: backends.TemplateByID}, {Resource: backends.ImageByID},
		{Resource: backends.StorageByID}, {Resource: backends.NetworkByID},
		{Resource: backends.VMDisks}, {Resource: backends.VMNICs}, {Resource: backends.VMConsoles},
		{Resource: backends.VMMetrics, At: "RUNNING"}, {Resource: backends.VMGuestMetrics, At: "RUNNING"}, {Resource: backends.VMPossibleHosts},
	}
	if r < r74 {
		return has, append(lacks, backends.VMTPMs)
	}
	return append(has, drivertest.ResourceClaim{Resource: backends.VMTPMs}), lacks
}

func claims(r release, o objects) drivertest.Claims {
	has, lacks := resources(r)
	c := drivertest.Claims{
		Places: places(r), Verbs: known(r, verbs(r, o)), LacksVerbs: lacking(r), Members: members(r, o), LacksMembers: lackingMembers,
		Resources: has, LacksResources: lacks,
		Create: []backends.Change{{Path: "cpu.share", Value: 0.1}, {Path: "memory.dynamicMaxBytes", Value: int64(64 * mib)}},
		HalfWay: []backends.Change{
			{Path: "displayName", Value: "conformance-half-way"}, {Path: "description", Value: "half way"}, {Path: "cpu.vcpus", Value: int64(3)},
		},
		Missing: missingID,
		Malformed: []string{"", "007", "-1", "+1", " 1", "1 ", "4294967296", "2147483648", "0x1", "1e3", "\uff11", "abc", "1.0", "1:start",
			"99999999999999999999", "0b2f7c1e-1111-2222-3333-444444444444"},
		Changes: func(method string) bool {
			verb := method[strings.LastIndexByte(method, '.')+1:]
			return (strings.HasPrefix(method, "one.vm.") && verb != "info" && verb != "monitoring") || verb == "instantiate"
		},
		Release: backends.Release{Product: "OpenNebula", Version: releases[r]},
	}
	switch {
	case r == r38:
		c.Sessions = drivertest.NoSessions
	case r < r512:
		c.Sessions = drivertest.SharedSession
	}
	return c
}
