package xensim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The life of a VM: what each lifecycle message changes once its time has passed.

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// memoryOverhead is what the hypervisor needs beside the guest's own memory.
func memoryOverhead(staticMax, vcpus int64, domainType string, shadowMultiplier float64) int64 {
	shadow := staticMax/mib/128 + vcpus
	if domainType == "pv" {
		return (shadow + 1) * mib
	}
	return int64((float64(shadow)*shadowMultiplier + 2) * float64(mib))
}

func overheadOf(vm *object) int64 {
	multiplier, _ := vm.get("HVM_shadow_multiplier").(float64)
	return memoryOverhead(vm.num("memory_static_max"), vm.num("VCPUs_max"), vm.str("domain_type"), max(1, multiplier))
}

func (s *Server) refreshOverhead(o *object) {
	s.db.set(o, "memory_overhead", overheadOf(o))
	s.memoryChanged(o)
}

// freeMemory of a host is what it can still promise: its VMs may grow to what they need.
func (s *Server) freeMemory(host *object) int64 { return s.memoryLeft(host, neededMemory) }

// memoryFree is what nothing on the host takes at the moment.
func (s *Server) memoryFree(metrics *object) int64 {
	for _, host := range s.db.tables["host"].byRef {
		if host.str("metrics") == metrics.ref {
			return max(0, s.memoryLeft(host, takenMemory))
		}
	}
	return 0
}

// memoryLeft is the host's memory without its own part and that of its VMs, the control domain among them.
func (s *Server) memoryLeft(host *object, part func(vm *object) int64) int64 {
	left := int64(0)
	if m := s.db.find("host_metrics", host.str("metrics")); m != nil {
		left = m.num("memory_total")
	}
	left -= host.num("memory_overhead")
	for _, ref := range host.strs("resident_VMs") {
		if vm := s.db.find("VM", ref); vm != nil {
			left -= part(vm)
		}
	}
	return left
}

func neededMemory(vm *object) int64 { return vm.num("memory_static_max") + vm.num("memory_overhead") }

func takenMemory(vm *object) int64 { return vm.num("memory_target") + vm.num("memory_overhead") }

// memoryChanged marks the metrics of the VM's host as changed, whose memory_free is worked out when it is read.
func (s *Server) memoryChanged(vm *object) {
	if host := s.db.find("host", vm.str("resident_on")); host != nil {
		s.db.mark(s.db.find("host_metrics", host.str("metrics")))
	}
}

func (s *Server) checkHost(vm, host *object) *Failure {
	m := s.db.find("host_metrics", host.str("metrics"))
	switch {
	case m == nil || !m.flag("live"):
		return fail("HOST_NOT_LIVE")
	case !host.flag("enabled"):
		return fail("HOST_DISABLED", host.ref)
	}
	if need, free := neededMemory(vm), s.freeMemory(host); need > free && vm.str("resident_on") != host.ref {
		return fail("HOST_NOT_ENOUGH_FREE_MEMORY", strconv.FormatInt(need, 10), strconv.FormatInt(free, 10))
	}
	return nil
}

// possibleHosts are the hosts a VM could run on, the coordinator first.
func (s *Server) possibleHosts(vm *object) []string {
	out := []string{}
	for _, host := range s.hosts() {
		if s.checkHost(vm, host) == nil {
			out = append(out, host.ref)
		}
	}
	return out
}

// chooseHost prefers the VM's affinity and then the emptier host.
func (s *Server) chooseHost(vm *object) (string, *Failure) {
	best := ""
	for _, ref := range s.possibleHosts(vm) {
		if ref == vm.str("affinity") {
			return ref, nil
		}
		if best == "" || s.freeMemory(s.db.find("host", ref)) > s.freeMemory(s.db.find("host", best)) {
			best = ref
		}
	}
	if best == "" {
		return "", fail("NO_HOSTS_AVAILABLE")
	}
	return best, nil
}

// A VM's xenstore_data may steer the guest that the simulator pretends to run, with the keys that the
// hypervisor stand-in behind the recorded traffic reads.
const (
	keyNoAgent = "vm-data/sim-no-agent" // no guest agent answers inside
	keyDelay   = "vm-data/sim-delay"    // seconds that a start takes longer
)

func (s *Server) extraDelay(o *object, op string) time.Duration {
	if op != "start" && op != "start_on" {
		return 0
	}
	seconds, err := strconv.ParseFloat(o.fields("xenstore_data").text(keyDelay), 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// bringUp makes a domain of the VM on the host.
func (s *Server) bringUp(vm *object, host string, state string) {
	s.domains++
	db := s.db
	db.set(vm, "power_state", state)
	db.set(vm, "resident_on", host)
	db.set(vm, "scheduled_to_be_resident_on", nullRef)
	db.set(vm, "domid", s.domains)
	db.set(vm, "memory_target", vm.num("memory_dynamic_max"))
	s.memoryChanged(vm)
	db.set(vm, "last_boot_CPU_flags", s.guest.cpu)
	if vm.str("domain_type") != "pv" {
		db.set(vm, "platform", vm.fields("platform").with("device-model", "qemu-upstream-compat"))
	}
	if len(vm.fields("bios_strings")) == 0 {
		db.set(vm, "bios_strings", s.guest.bios)
	}
	if m := db.find("VM_metrics", vm.str("metrics")); m != nil {
		db.set(m, "VCPUs_number", vm.num("VCPUs_at_startup"))
		db.set(m, "start_time", s.clock.Now())
		db.set(m, "hvm", vm.str("domain_type") != "pv")
		db.set(m, "current_domain_type", vm.str("domain_type"))
		db.set(m, "memory_actual", vm.num("memory_dynamic_max"))
		db.set(m, "state", []string{})
	}
	s.plugDevices(vm, true)
	s.addConsole(vm, "rfb")
	s.greetAgent(vm)
}

// greetAgent fills the guest metrics the way a guest agent does when it comes up.
func (s *Server) greetAgent(vm *object) {
	db := s.db
	gm := db.find("VM_guest_metrics", vm.str("guest_metrics"))
	if gm == nil {
		gm = db.add("VM_guest_metrics", s.newRef(), s.newUUID(), record{{"can_use_hotplug_vbd", "unspecified"}, {"can_use_hotplug_vif", "unspecified"}})
		db.set(vm, "guest_metrics", gm.ref)
	}
	db.set(gm, "last_updated", s.clock.Now())
	db.set(gm, "live", true)
	if _, silent := vm.fields("xenstore_data").get(keyNoAgent); silent {
		return
	}
	ip := fmt.Sprintf("10.%d.%d.%d", s.domains>>16&255, s.domains>>8&255, s.domains&255)
	db.set(gm, "os_version", s.guest.os)
	db.set(gm, "PV_drivers_version", s.guest.drivers)
	db.set(gm, "PV_drivers_up_to_date", true)
	db.set(gm, "PV_drivers_detected", true)
	db.set(gm, "networks", record{{"0/ipv6/0", "fe80::216:3eff:fe00:1"}, {"0/ip", ip}, {"0/ipv4/0", ip}})
	db.set(gm, "other", s.guest.features)
}

// guest is what is the same of all guests. Records are never changed in place, so that all VMs share these.
type guest struct{ bios, cpu, os, drivers, features, platform, boot record }

func newGuest() guest {
	g := guest{
		cpu:     record{{"vendor", "GenuineIntel"}, {"features", ""}},
		os:      record{{"name", "Debian GNU/Linux 12 (bookworm)"}, {"uname", "6.1.0-18-amd64"}, {"distro", "debian"}, {"major", "12"}, {"minor", "5"}},
		drivers: record{{"major", "7"}, {"minor", "30"}, {"micro", "0"}, {"build", "15"}},
		features: record{{"feature-poweroff", "1"}, {"feature-reboot", "1"}, {"feature-shutdown", "1"}, {"feature-suspend", "1"},
			{"feature-vcpu-hotplug", "1"}, {"feature-balloon", "1"}},
		platform: record{{"acpi", "1"}, {"apic", "true"}, {"pae", "true"}, {"nx", "true"}, {"viridian", "false"}, {"hpet", "true"}, {"timeoffset", "0"}},
		boot:     record{{"order", "cdn"}, {"firmware", "bios"}},
	}
	for _, line := range strings.Split(`bios-vendor=Xen bios-version= system-manufacturer=Xen system-product-name=HVM\sdomU system-version=
system-serial-number= baseboard-manufacturer= baseboard-product-name= baseboard-version= baseboard-serial-number= baseboard-asset-tag=
baseboard-location-in-chassis= enclosure-asset-tag= hp-rombios= oem-1=Xen oem-2=MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d`, "\n") {
		for _, pair := range strings.Fields(line) {
			k, v, _ := strings.Cut(pair, "=")
			g.bios = append(g.bios, member{k, strings.ReplaceAll(v, `\s`, " ")})
		}
	}
	return g
}

// takeDown removes the domain. The guest metrics stay, as what was last known; a suspended VM keeps its
// consoles too.
func (s *Server) takeDown(vm *object, state string) {
	db := s.db
	s.memoryChanged(vm)
	db.set(vm, "power_state", state)
	db.set(vm, "resident_on", nullRef)
	db.set(vm, "domid", int64(-1))
	s.plugDevices(vm, false)
	if state == "Suspended" {
		return
	}
	s.dropSuspendImage(vm)
	db.set(vm, "memory_target", int64(0))
	for _, ref := range vm.strs("consoles") {
		db.remove(db.find("console", ref))
	}
	if m := db.find("VM_metrics", vm.str("metrics")); m != nil {
		db.set(m, "VCPUs_number", int64(0))
		db.set(m, "memory_actual", int64(0))
	}
}

func (s *Server) dropSuspendImage(vm *object) {
	if vdi := s.db.find("VDI", vm.str("suspend_VDI")); vdi != nil {
		s.db.remove(vdi)
	}
	s.db.set(vm, "suspend_VDI", nullRef)
}

func (s *Server) plugDevices(vm *object, attached bool) {
	for _, ref := range vm.strs("VBDs") {
		vbd := s.db.find("VBD", ref)
		s.db.set(vbd, "currently_attached", attached && (!vbd.flag("empty") || vbd.str("type") == "CD"))
		if attached {
			s.db.set(vbd, "device", deviceName(vbd.str("userdevice")))
		}
	}
	for _, ref := range vm.strs("VIFs") {
		s.db.set(s.db.find("VIF", ref), "currently_attached", attached)
	}
}

func (s *Server) addConsole(vm *object, protocol string) {
	if len(vm.strs("consoles")) > 0 {
		return
	}
	address := ""
	if host := s.db.find("host", vm.str("resident_on")); host != nil {
		address = host.str("address")
	}
	ref := s.newRef()
	s.db.add("console", ref, s.newUUID(), record{{"protocol", protocol}, {"location", "https://" + address + "/console?ref=" + ref}, {"VM", vm.ref}})
}

// startOn serves start, start_on, resume and resume_on: argument host is -1 where xapi chooses.
func (c *call) startOn(hostArg, pausedArg int, d time.Duration) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	target := ""
	if hostArg > 0 {
		host, f := c.object("host", hostArg)
		if f != nil {
			return nil, f
		}
		target = host.ref
	}
	s := c.s
	state := "Running"
	if c.flag(pausedArg) {
		state = "Paused"
	}
	return c.operateWith(vm, steps{
		op: c.msg.op, duration: d,
		prepare: func() *Failure {
			if target == "" {
				chosen, f := s.chooseHost(vm)
				if f != nil {
					return f
				}
				target = chosen
			} else if f := s.checkHost(vm, s.db.find("host", target)); f != nil {
				return f
			}
			s.db.set(vm, "scheduled_to_be_resident_on", target)
			return nil
		},
		apply: func() (any, *Failure) {
			s.bringUp(vm, target, state)
			s.dropSuspendImage(vm)
			return nil, nil
		},
		// a start that is cancelled leaves the domain it had built, paused
		cancelled: func() { s.bringUp(vm, target, "Paused") },
	})
}

func vmStart(c *call) (any, *Failure)    { return c.startOn(-1, 1, c.s.durations.Start) }
func vmStartOn(c *call) (any, *Failure)  { return c.startOn(1, 2, c.s.durations.Start) }
func vmResume(c *call) (any, *Failure)   { return c.startOn(-1, 1, c.s.durations.Resume) }
func vmResumeOn(c *call) (any, *Failure) { return c.startOn(1, 2, c.s.durations.Resume) }

// lifecycle is a message that only moves a VM from state to state.
func lifecycle(length func(Durations) time.Duration, apply func(s *Server, vm *object)) handler {
	return func(c *call) (any, *Failure) {
		vm, f := c.object("VM", 0)
		if f != nil {
			return nil, f
		}
		return c.operate(vm, c.msg.op, length(c.s.durations), func() (any, *Failure) {
			apply(c.s, vm)
			return nil, nil
		})
	}
}

func halt(s *Server, vm *object)    { s.takeDown(vm, "Halted") }
func pause(s *Server, vm *object)   { s.db.set(vm, "power_state", "Paused") }
func unpause(s *Server, vm *object) { s.db.set(vm, "power_state", "Running") }

func reboot(s *Server, vm *object) {
	host := vm.str("resident_on")
	s.takeDown(vm, "Halted")
	s.bringUp(vm, host, "Running")
}

func suspend(s *Server, vm *object) {
	sr := vm.str("suspend_SR")
	if s.db.find("SR", sr) == nil {
		sr = s.defaultSR
	}
	image := s.addDisk("Suspend image", sr, neededMemory(vm), record{{"type", "suspend"}})
	s.takeDown(vm, "Suspended")
	s.db.set(vm, "suspend_VDI", image.ref)
}

func powerStateReset(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	s := c.s
	if vm.flag("is_control_domain") {
		return nil, fail("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
	}
	if host := s.db.find("host", vm.str("resident_on")); host != nil {
		if m := s.db.find("host_metrics", host.str("metrics")); m != nil && m.flag("live") {
			return nil, fail("HOST_IS_LIVE", host.ref)
		}
	}
	if vm.powerState() != "Halted" {
		s.takeDown(vm, "Halted")
	}
	return nil, nil
}

// poolMigrate is always live, except in the oldest release, where the option live says so.
func poolMigrate(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	host, f := c.object("host", 1)
	if f != nil {
		return nil, f
	}
	s := c.s
	cold := s.release.old && c.dict(2).text("live") != "true"
	return c.operateWith(vm, steps{
		op: "pool_migrate", duration: s.durations.Migrate,
		prepare: func() *Failure {
			if f := s.checkHost(vm, host); f != nil {
				return f
			}
			s.db.set(vm, "scheduled_to_be_resident_on", host.ref)
			return nil
		},
		apply: func() (any, *Failure) {
			s.moveTo(vm, host)
			if cold {
				s.coldMigrations++
			}
			return nil, nil
		},
		cancelled: func() { s.db.set(vm, "scheduled_to_be_resident_on", nullRef) },
	})
}

func (s *Server) moveTo(vm, host *object) {
	s.domains++
	s.memoryChanged(vm)
	s.db.set(vm, "resident_on", host.ref)
	s.memoryChanged(vm)
	s.db.set(vm, "scheduled_to_be_resident_on", nullRef)
	s.db.set(vm, "domid", s.domains)
	for _, ref := range vm.strs("consoles") {
		s.db.set(s.db.find("console", ref), "location", "https://"+host.str("address")+"/console?ref="+ref)
	}
}

// migrateSend moves a VM within this pool: dest is what host.migrate_receive of the target answered.
func migrateSend(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	s := c.s
	host := s.db.find("host", c.dict(1).text("host"))
	if host == nil {
		return nil, fail("VM_MIGRATE_FAILED", vm.ref, "", "", "the destination is no host of this pool")
	}
	return c.operate(vm, "migrate_send", s.durations.Migrate, func() (any, *Failure) {
		for _, m := range c.dict(3) {
			disk, sr := s.db.find("VDI", m.Name), s.db.find("SR", asString(m.Value))
			if disk == nil || sr == nil {
				return nil, fail("HANDLE_INVALID", "VDI", m.Name)
			}
			s.db.set(disk, "SR", sr.ref)
		}
		if vm.powerState() == "Running" {
			s.moveTo(vm, host)
		}
		return vm.ref, nil
	})
}

func assertCanMigrate(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	if c.s.db.find("host", c.dict(1).text("host")) == nil {
		return nil, fail("VM_MIGRATE_FAILED", vm.ref, "", "", "the destination is no host of this pool")
	}
	return nil, c.s.checkOperation(vm, "migrate_send")
}

func getBootRecord(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	return c.operate(vm, "get_boot_record", 0, func() (any, *Failure) { return c.s.rowOf(vm), nil })
}

func assertOperationValid(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	return nil, c.s.checkOperation(vm, c.str(1))
}

// updateAllowedOperations has nothing to work out: they always are. It tells the listeners, as xapi does.
func updateAllowedOperations(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	c.s.db.mark(vm)
	return nil, nil
}

func assertCanBootHere(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	host := c.s.db.find("host", c.str(1))
	if host == nil {
		return nil, fail("HOST_NOT_LIVE")
	}
	return nil, c.s.checkHost(vm, host)
}

func getPossibleHosts(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	return c.s.possibleHosts(vm), nil
}

// freeDevices lists the device numbers below limit that no device of the VM has.
func freeDevices(list, class, number string, limit int) handler {
	return func(c *call) (any, *Failure) {
		vm, f := c.object("VM", 0)
		if f != nil {
			return nil, f
		}
		return c.s.freeNumbers(vm, list, class, number, limit), nil
	}
}

func (s *Server) freeNumbers(vm *object, list, class, number string, limit int) []string {
	used := map[string]bool{}
	for _, ref := range vm.strs(list) {
		used[s.db.find(class, ref).str(number)] = true
	}
	out := []string{}
	for i := range limit {
		if n := strconv.Itoa(i); !used[n] {
			out = append(out, n)
		}
	}
	return out
}

func computeMemoryOverhead(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	return overheadOf(vm), nil
}

// maximiseMemory finds the largest static maximum whose sum with its overhead fits; an approximate
// answer assumes 64 VCPUs and the overhead of the whole total.
func maximiseMemory(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	total := c.num(1)
	if c.flag(2) {
		return max(0, total-memoryOverhead(total, 64, vm.str("domain_type"), 1)), nil
	}
	fits := total / mib * 128 / 129
	for fits > 0 && fits*mib+memoryOverhead(fits*mib, vm.num("VCPUs_max"), vm.str("domain_type"), 1) > total {
		fits--
	}
	return max(0, fits*mib), nil
}

// always answers v once the VM is found and, if the message takes an operation, it is possible.
func always(v any) handler {
	return func(c *call) (any, *Failure) {
		vm, f := c.object("VM", 0)
		if f != nil {
			return nil, f
		}
		if f := needState(vm, c.msg.states); f != nil {
			return nil, f
		}
		if c.msg.op != "" {
			return c.operate(vm, c.msg.op, 0, func() (any, *Failure) { return v, nil })
		}
		return v, nil
	}
}

// notImplemented are the messages that xapi itself answers so, after its checks.
func notImplemented(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	return c.operate(vm, c.msg.op, 0, func() (any, *Failure) { return nil, fail("NOT_IMPLEMENTED", c.msg.name) })
}

func callPlugin(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	return c.operate(vm, c.msg.op, 0, func() (any, *Failure) {
		if c.str(1) != "guest-agent-operation" {
			return nil, fail("XENAPI_MISSING_PLUGIN", c.str(1))
		}
		text := fmt.Sprintf("The requested fn %q of plugin %q could not be executed for lack of guest agent control feature.", c.str(2), c.str(1))
		return nil, fail("XENAPI_PLUGIN_FAILURE", "failed to execute fn", text, text)
	})
}

func noRecommendations(c *call) (any, *Failure) {
	if _, f := c.object("VM", 0); f != nil {
		return nil, f
	}
	return nil, fail("WLB_NOT_INITIALIZED")
}
