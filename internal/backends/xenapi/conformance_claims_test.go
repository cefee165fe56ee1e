package xenapi_test

import (
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/xenapi/xensim"
)

// What XenAPI has and does, written down from xen-api's ocaml/idl/datamodel_vm.ml and
// ocaml/xapi/xapi_vm_lifecycle.ml of fhs/1.3, v24.16.0 and v26.17.0, and from recordings of 24.16.0.

const (
	mib = 1 << 20
	gib = 1 << 30
)

// held are places in which another client's operation is under way, as power state+operation.
var held = []struct {
	name        string
	state, base backends.State
}{
	{"Halted+start", backends.StateStarting, ""},
	{"Halted+start_on", backends.StateStarting, ""},
	{"Halted+provision", backends.StateCreating, ""},
	{"Halted+import", backends.StateCreating, ""},
	{"Halted+destroy", backends.StateDeleting, ""},
	{"Halted+clone", backends.StateUpdating, backends.StateStopped},
	{"Halted+copy", backends.StateUpdating, backends.StateStopped},
	{"Halted+snapshot", backends.StateUpdating, backends.StateStopped},
	{"Halted+changing_VCPUs", backends.StateUpdating, backends.StateStopped},
	{"Halted+export", backends.StateUpdating, backends.StateStopped},
	{"Running+clean_shutdown", backends.StateStopping, ""},
	{"Running+hard_shutdown", backends.StateStopping, ""},
	{"Running+clean_reboot", backends.StateRebooting, ""},
	{"Running+hard_reboot", backends.StateRebooting, ""},
	{"Running+suspend", backends.StateSuspending, ""},
	{"Running+checkpoint", backends.StateSuspending, ""},
	{"Running+pool_migrate", backends.StateMigrating, ""},
	{"Running+migrate_send", backends.StateMigrating, ""},
	{"Running+pause", backends.StateUpdating, backends.StateRunning},
	{"Running+snapshot", backends.StateUpdating, backends.StateRunning},
	{"Running+changing_VCPUs_live", backends.StateUpdating, backends.StateRunning},
	{"Running+metadata_export", backends.StateRunning, ""},
	{"Running+not_invented_yet", backends.StateUpdating, backends.StateRunning},
	{"Paused+unpause", backends.StateUpdating, backends.StatePaused},
	{"Paused+hard_shutdown", backends.StateStopping, ""},
	{"Suspended+resume", backends.StateStarting, ""},
	{"Suspended+resume_on", backends.StateStarting, ""},
	{"Suspended+snapshot", backends.StateUpdating, backends.StateSuspended},
}

func places() []drivertest.Place {
	all := []drivertest.Place{
		{Name: "Halted", State: backends.StateStopped},
		{Name: "Running", State: backends.StateRunning},
		{Name: "Paused", State: backends.StatePaused},
		{Name: "Suspended", State: backends.StateSuspended},
		{Name: "template", State: backends.StateStopped, Raw: "Halted", Hidden: true},
		{Name: "default-template", State: backends.StateStopped, Raw: "Halted", Hidden: true},
		{Name: "snapshot", State: backends.StateStopped, Raw: "Halted", Hidden: true},
	}
	for _, h := range held {
		power, _, _ := strings.Cut(h.name, "+")
		all = append(all, drivertest.Place{Name: h.name, State: h.state, Base: h.base, Raw: power, Waits: true})
	}
	return all
}

// Power states, whether somebody else is at work or not: calls wait for each other.
const (
	halted    = "Halted Halted+*"
	running   = "Running Running+*"
	paused    = "Paused Paused+*"
	suspended = "Suspended Suspended+*"
	templates = "template default-template"
)

// objects are what verbs and members refer to.
type objects struct {
	first, next, storage, network, image *backends.ID
}

func move(to string, from ...string) drivertest.Move {
	return drivertest.Move{From: strings.Join(from, " "), To: to}
}

func refused(code backends.Code, from ...string) drivertest.Move {
	return drivertest.Move{From: strings.Join(from, " "), Code: code}
}

type moves = []drivertest.Move

// verbs has XenAPI's rows. In places that no row names a verb is refused.
func verbs(release string, o objects) []drivertest.VerbClaim {
	yes, no := true, false
	two, smaller := int64(2), int64(512*mib)
	name := func(s string) *string { return &s }
	old := release == xensim.ReleaseOld

	clonable := moves{move("", halted, templates, "snapshot")}
	auto := moves{move("Halted", running, paused, suspended)}
	goneLive := moves{refused(backends.UnsupportedByBackend, running)}
	if old {
		clonable = moves{move("", halted, suspended, templates, "snapshot")}
		auto = moves{move("Halted", running)}
	}
	return []drivertest.VerbClaim{
		{Verb: "start", Way: "host", Args: backends.Args{Host: o.first}, Moves: moves{move("Running", halted)}},
		{Verb: "start", Moves: moves{move("Running", halted)}},
		{Verb: "start", Way: "paused", Args: backends.Args{StartPaused: &yes}, Moves: moves{move("Paused", halted)}},
		{Verb: "shutdown", Moves: auto},
		{Verb: "shutdown", Way: "GRACEFUL", Args: backends.Args{Mode: "GRACEFUL"}, Moves: moves{move("Halted", running)}},
		{Verb: "shutdown", Way: "FORCE", Args: backends.Args{Mode: "FORCE"}, Moves: moves{move("Halted", running, paused, suspended)}},
		{Verb: "reboot", Moves: moves{move("Running", running)}},
		{Verb: "reboot", Way: "FORCE", Args: backends.Args{Mode: "FORCE"}, Moves: moves{move("Running", running, paused)}},
		{Verb: "suspend", Moves: moves{move("Suspended", running)}},
		{Verb: "resume", Moves: moves{move("Running", suspended, paused)}},
		{Verb: "resume", Way: "paused", Args: backends.Args{StartPaused: &yes}, Moves: moves{move("Paused", suspended)}},
		{Verb: "resume", Way: "host", Args: backends.Args{Host: o.next}, Moves: moves{move("Running", suspended)}},
		{Verb: "pause", Moves: moves{move("Paused", running)}},
		{Verb: "unpause", Moves: moves{move("Running", paused)}},
		{Verb: "migrate", Args: backends.Args{Host: o.next}, Moves: moves{move("Running", running)}},
		{Verb: "migrate", Way: "network", Args: backends.Args{Host: o.next, Network: o.network, Compress: &yes}, Moves: moves{move("Running", running)}},
		{Verb: "migrate", Way: "cold", Args: backends.Args{Host: o.next, Live: &no}, Moves: moves{refused(backends.Unprocessable, running)}},
		{Verb: "resize", Args: backends.Args{VCPUs: &two},
			Moves: moves{move("", halted, running, paused, suspended, templates, "snapshot")}, Unlisted: true}, // for the next start
		{Verb: "resize", Way: "memory", Args: backends.Args{Memory: &backends.Memory{DynamicMinBytes: &smaller}}, Moves: moves{move("", halted, running, templates)}},
		{Verb: "clone", Args: backends.Args{DisplayName: name("conformance-clone")}, Moves: clonable},
		{Verb: "copy", Args: backends.Args{DisplayName: name("conformance-copy")}, Moves: clonable},
		{Verb: "copy", Way: "storage", Args: backends.Args{DisplayName: name("conformance-copy"), Storage: o.storage}, Moves: clonable},
		{Verb: "provision", Moves: moves{move("Halted", templates)}},
		{Verb: "resetPowerState", Moves: moves{move("Halted", halted, suspended), move("", templates, "snapshot")}, Unlisted: true},
		{Verb: "setVcpuParam", Args: backends.Args{Key: "weight", Value: "512"}, Moves: goneLive},
		{Verb: "sendSysrq", Args: backends.Args{Key: "h"}, Moves: goneLive},
		{Verb: "sendTrigger", Args: backends.Args{Trigger: "nmi"}, Moves: goneLive},
		{Verb: "refreshAllowedActions", Moves: moves{move("", "*")}, Unlisted: true},
		{Verb: "checkOperation", Args: backends.Args{Action: "start"}, Moves: moves{move("", "*")}, Unlisted: true},
		{Verb: "checkHost", Args: backends.Args{Host: o.next}, Moves: moves{move("", "*")}, Unlisted: true},
		{Verb: backends.VerbDelete, Moves: moves{move(drivertest.Gone, halted, "template", "snapshot")}},
		{Verb: backends.VerbDelete, Way: "force", Args: backends.Args{Force: &yes, DeleteDisks: true},
			Moves: moves{move(drivertest.Gone, halted, running, paused, suspended, "template", "snapshot")}, Waits: true, Unlisted: true},
		{Verb: backends.VerbInstantiate, Args: backends.Args{DisplayName: name("conformance-instantiate"), Description: name("made of a template")},
			Moves: moves{move("Halted", "template")}},
	}
}

var lackingVerbs = []backends.Verb{"stop", "undeploy", "hold", "release", "deploy", "terminate", "recreate", "recover", backends.VerbSaveDisk}

func members(release string, o objects) (has []drivertest.MemberClaim, lacks []string) {
	one := func(key, value string) map[string]*string { return map[string]*string{key: &value} }
	lacks = strings.Fields(`hold owner cpu.share placement.requirements placement.rank opennebula.template opennebula.permissions`)
	has = []drivertest.MemberClaim{
		{Path: "displayName", Value: "conformance-renamed"},
		{Path: "description", Value: "made by the conformance suite"},
		{Path: "template", Value: true},
		{Path: "cpu.vcpus", Value: int64(2), With: []backends.Change{{Path: "cpu.maxVcpus", Value: int64(4)}}, Bad: []any{int64(0), int64(-1), int64(99)}},
		{Path: "cpu.maxVcpus", Value: int64(8), Bad: []any{int64(0)}},
		{Path: "cpu.params", Value: one("weight", "512")},
		{Path: "memory.staticMaxBytes", Value: int64(2 * gib), Bad: []any{int64(0), int64(mib)}},
		{Path: "memory.dynamicMaxBytes", Value: int64(768 * mib), WithPatch: []backends.Change{{Path: "memory.dynamicMinBytes", Value: int64(768 * mib)}},
			Bad: []any{int64(4 * gib), int64(mib)}},
		{Path: "memory.dynamicMinBytes", Value: int64(768 * mib), Bad: []any{int64(4 * gib), int64(mib)}},
		{Path: "memory.staticMinBytes", Value: int64(256 * mib), Bad: []any{int64(4 * gib), int64(-1)}},
		{Path: "boot.pv.bootloader", Value: "pygrub"},
		{Path: "boot.pv.kernel", Value: "/boot/vmlinuz"},
		{Path: "boot.pv.ramdisk", Value: "/boot/initrd"},
		{Path: "boot.pv.args", Value: `root=/dev/xvda1 quiet="a b"`},
		{Path: "boot.pv.bootloaderArgs", Value: "--offset=0"},
		{Path: "boot.pv.legacyArgs", Value: "ro"},
		{Path: "boot.hvm.policy", Value: "BIOS order"},
		{Path: "boot.hvm.params", Value: one("order", "ncd")},
		{Path: "platform", Value: one("viridian", "true")},
		{Path: "placement.preferredHost", Value: *o.next, Reads: map[string]any{"id": o.next}},
		{Path: "lifecyclePolicy.onShutdown", Value: "restart", Bad: []any{"explode", ""}},
		{Path: "lifecyclePolicy.onReboot", Value: "destroy", Bad: []any{"explode"}},
		{Path: "lifecyclePolicy.onCrash", Value: "preserve", Bad: []any{"explode"}},
		{Path: "annotations", Value: one("team", "web")},
		{Path: "xenapi.userVersion", Value: int64(7)},
		{Path: "xenapi.pciBus", Value: "0/0000:00:19.0"},
		{Path: "xenapi.recommendations", Value: "<restrictions/>"},
		{Path: "xenapi.tags", Value: []string{"blue", "green"}},
		{Path: "xenapi.blockedOperations", Value: one("snapshot", "not today"), Bad: []any{one("explode", "x")}},
		{Path: "xenapi.haAlwaysRun", Value: true},
		{Path: "xenapi.haRestartPriority", Value: "best-effort"},
		{Path: "xenapi.shadowMultiplier", Value: 2.0, Bad: []any{0.5}},
		{Path: "xenapi.xenstoreData", Value: one("vm-data/colour", "blue")},
	}
	newer := []drivertest.MemberClaim{
		{Path: "boot.domainType", Value: "pv", Bad: []any{"explode"}},
		{Path: "xenapi.suspendDisk", Value: *o.image, At: "Suspended"},
		{Path: "xenapi.startOrder", Value: int64(5), Bad: []any{int64(-1)}},
		{Path: "xenapi.startDelaySeconds", Value: int64(10), Bad: []any{int64(-1)}},
		{Path: "xenapi.shutdownDelaySeconds", Value: int64(20), Bad: []any{int64(-1)}},
	}
	if release == xensim.ReleaseOld {
		for _, c := range newer {
			lacks = append(lacks, c.Path)
		}
		return has, lacks
	}
	return append(has, newer...), lacks
}

func resources(release string) (has []drivertest.ResourceClaim, lacks []backends.Resource) {
	has = []drivertest.ResourceClaim{
		{Resource: backends.Hosts, Least: 2}, {Resource: backends.Templates, Least: 1}, {Resource: backends.Images},
		{Resource: backends.Storages, Least: 1}, {Resource: backends.Networks, Least: 1},
		{Resource: backends.HostByID}, {Resource: backends.TemplateByID}, {Resource: backends.ImageByID},
		{Resource: backends.StorageByID}, {Resource: backends.NetworkByID},
		{Resource: backends.VMDisks}, {Resource: backends.VMNICs}, {Resource: backends.VMConsoles, At: "Running"},
		{Resource: backends.VMMetrics}, {Resource: backends.VMCrashDumps}, {Resource: backends.VMTPMs},
		{Resource: backends.VMGuestMetrics, At: "Running", Refused: refused(backends.NotFound, "Halted")},
		{Resource: backends.VMBootRecord, At: "Running", Refused: refused(backends.WrongState, "Halted")},
		{Resource: backends.VMPossibleHosts, Least: 1}, {Resource: backends.VMAllowedDisks, Least: 1}, {Resource: backends.VMAllowedNICs, Least: 1},
	}
	return has, nil
}

var detected = map[string]backends.Release{
	xensim.ReleaseOld:    {Product: "XCP", Version: "1.3.0", API: "1.3"},
	xensim.ReleaseMiddle: {Product: "XenServer", Version: "8.4.0", API: "2.21"},
	xensim.ReleaseNew:    {Product: "XenServer", Version: "9.0.0", API: "2.23"},
}

func claims(release string, o objects) drivertest.Claims {
	written, unwritten := members(release, o)
	has, lacks := resources(release)
	return drivertest.Claims{
		Places: places(), Verbs: verbs(release, o), LacksVerbs: lackingVerbs, Members: written, LacksMembers: unwritten,
		Resources: has, LacksResources: lacks,
		Create: []backends.Change{
			{Path: "cpu.maxVcpus", Value: int64(4)}, {Path: "memory.staticMaxBytes", Value: int64(gib)}, {Path: "memory.staticMinBytes", Value: int64(512 * mib)},
		},
		HalfWay: []backends.Change{
			{Path: "displayName", Value: "conformance-half-way"}, {Path: "description", Value: "half way"}, {Path: "xenapi.userVersion", Value: int64(9)},
		},
		Missing: "0b2f7c1e-1111-4222-8333-444444444444",
		Malformed: []string{"", "42", "0B2F7C1E-1111-4222-8333-444444444444", "{0b2f7c1e-1111-4222-8333-444444444444}",
			"0b2f7c1e-1111-4222-8333-44444444444", "0b2f7c1e-1111-4222-8333-4444444444444", "0b2f7c1e11114222833344444444 4444",
			"0b2f7c1e-1111-4222-8333-44444444444g", "abc"},
		Changes: func(method string) bool {
			method = strings.TrimPrefix(method, "Async.")
			class, message, _ := strings.Cut(method, ".")
			return class != "session" && class != "task" && !strings.HasPrefix(message, "get_") && !strings.HasPrefix(message, "assert_")
		},
		Release: detected[release],
	}
}
