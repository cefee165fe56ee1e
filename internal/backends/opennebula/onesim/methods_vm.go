package onesim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

func vmMethods() []method {
	return []method{
		{name: "one.vm.allocate", params: "s b?0", help: "Allocates a new virtual machine", do: vmAllocate},
		{name: "one.vm.info", params: "i b?0", help: "Returns virtual machine information", do: vmInfo},
		{name: "one.vm.action", params: "s i", help: "Performs an action on a virtual machine", do: vmAction},
		{name: "one.vm.deploy", params: "i i b?0 i?-1 s?", help: "Deploys a virtual machine", do: vmDeploy},
		{name: "one.vm.migrate", params: "i i b b?0 i?-1 i?0", help: "Migrates a virtual machine", do: vmMigrate},
		{name: "one.vm.recover", params: "i i", help: "Recovers a virtual machine", span: span{since: "4.14"}, do: vmRecover},
		{name: "one.vm.update", params: "i s i?0", help: "Updates a virtual machine template", span: span{since: "4.0"}, do: vmUpdate},
		{name: "one.vm.updateconf", params: "i s i?0", help: "Updates several configuration attributes of a VM", span: span{since: "5.0"}, do: vmUpdateConf},
		{name: "one.vm.rename", params: "i s", help: "Renames a virtual machine", span: span{since: "4.0"}, do: vmRename},
		{name: "one.vm.chown", params: "i i i", help: "Changes ownership of a virtual machine", do: vmChown},
		{name: "one.vm.chmod", params: "i i i i i i i i i i", help: "Changes permission bits", do: vmChmod},
		{name: "one.vm.resize", params: "i s b?1", help: "Changes the capacity of the virtual machine", span: span{since: "4.0"}, do: vmResize},
		{name: "one.vm.lock", params: "i i b?0", help: "Locks a VM", span: span{since: "5.6"}, do: vmLock},
		{name: "one.vm.unlock", params: "i", help: "Unlocks a VM", span: span{since: "5.6"}, do: vmUnlock},
		{name: "one.vm.monitoring", params: "i", help: "Returns the virtual machine monitoring records", do: vmMonitoring},
	}
}

// look finds a VM for those who only read it; its templates may have to be grown first.
func (c *call) look(id int) (*vm, *refusal) {
	if id < 0 || id >= len(c.vms) {
		return nil, missing(kindVM, id)
	}
	return c.vms[id], nil
}

// find finds a VM for those who may change it.
func (c *call) find(id int) (*vm, *refusal) {
	v, r := c.look(id)
	if r == nil {
		c.touch(v)
	}
	return v, r
}

// vm finds a VM and checks the right to it.
func (c *call) vm(id int, r right) (*vm, *refusal) {
	v, no := c.find(id)
	if no == nil {
		no = c.authorize(r, &v.object)
	}
	return v, no
}

// maxText is how long a text libxml2 takes; a longer one cannot come back out of a document.
const maxText = 10_000_000

func vmAllocate(c *call) (any, *refusal) {
	t, err := parseTemplate(c.s(0))
	if slices.ContainsFunc(t, func(a attr) bool { return len(a.value) > maxText }) {
		err = errUntransformable
	}
	if err != nil {
		text := err.Error()
		if err == errUntransformable { //nolint:errorlint // parseTemplate does not wrap it
			text = "Error transforming the VM to XML."
		}
		return nil, refuse(codeInternal, "%s", c.allocationText(text))
	}
	v, r := c.allocate(t, c.b(1))
	if r != nil {
		return nil, r
	}
	return v.id, nil
}

func vmInfo(c *call) (any, *refusal) {
	v, r := c.look(c.i(0))
	if r == nil {
		r = c.authorizeUnlocked(use, &v.object)
	}
	if r != nil {
		return nil, r
	}
	return c.documentOf(v), nil
}

func vmAction(c *call) (any, *refusal) {
	name, id := c.s(0), c.i(1)
	v, r := c.find(id)
	if r != nil {
		return nil, r
	}
	a, known, legal := c.release.actionFor(name, v.status)
	if r := c.authorize(a.right, &v.object); r != nil {
		return nil, r
	}
	switch {
	case !known && c.release.old:
		return nil, refuse(codeAction, "Virtual machine action \"%s\" is not supported", name)
	case !known:
		return nil, refuse(codeAction, "Action \"%s\" is not supported", name)
	case !legal:
		return nil, c.notNow(name, v)
	}
	a.do(c, v)
	return id, nil
}

// notNow words the refusal of an action in this state.
func (c *call) notNow(name string, v *vm) *refusal {
	if c.release.old {
		return refuse(codeAction, "Error performing action \"%s\" on virtual machine [%d]. This action is not available for state %s", name, v.id, v.status)
	}
	if name == "terminate" || name == "terminate-hard" {
		return refuse(codeAction, "Error performing action \"%s\": Could not terminate VM %d, wrong state %s.", name, v.id, v.status)
	}
	return refuse(codeAction, "Error performing action \"%s\": This action is not available for state %s", name, v.status)
}

func (c *call) host(id int) (*host, *refusal) {
	if h, ok := find(c.hosts, id); ok {
		return h, nil
	}
	return nil, missing(kindHost, id)
}

// systemStore finds a system datastore; -1 is the default one.
func (c *call) systemStore(id, dflt int) (int, *refusal) {
	if id == -1 {
		return dflt, nil
	}
	d, ok := find(c.stores, id)
	if !ok {
		return 0, missing(kindDatastore, id)
	}
	if d.typ != storeSystem {
		return 0, refuse(codeInternal, "Trying to use datastore [%d] to deploy the VM, but it is not of type system datastore.", id)
	}
	return id, nil
}

// target finds what deploy and migrate need: the VM, the host and the datastore, and checks rights in oned's order.
func (c *call) target(store int) (*vm, *host, int, *refusal) {
	v, r := c.find(c.i(0))
	if r != nil {
		return nil, nil, 0, r
	}
	h, r := c.host(c.i(1))
	if r != nil {
		return nil, nil, 0, r
	}
	dflt := 0
	if last := v.last(); last != nil {
		dflt = last.store
	}
	ds, r := c.systemStore(store, dflt)
	if r == nil {
		r = c.authorize(admin, &v.object)
	}
	return v, h, ds, r
}

func vmDeploy(c *call) (any, *refusal) {
	v, h, store, r := c.target(c.i(3))
	if r != nil {
		return nil, r
	}
	legal := "PENDING HOLD STOPPED UNDEPLOYED"
	if !c.release.since("4.0") {
		legal = "PENDING"
	}
	if !v.in(legal) {
		return nil, refuse(codeAction, "Deploy action is not available for state %s", v.status)
	}
	if c.b(2) {
		if r := c.fits(v, h, v.cpu(), v.memory()); r != nil {
			return nil, r
		}
	}
	c.record(v, h.id, store, c.now())
	c.Server.deploy(v, c.now())
	return v.id, nil
}

// fits checks a host's capacity.
func (c *call) fits(v *vm, h *host, cpu float64, memory int) *refusal {
	u := c.hostUsage(h.id)
	text := fmt.Sprintf("virtual machine [%d] does not fit in host [%d]. ", v.id, h.id)
	if why := short(cpu, memory, u); why != "" {
		return refuse(codeAction, "%s", text+why)
	}
	return nil
}

func short(cpu float64, memory int, u usage) string {
	if want, free := int(cpu*100+0.5), hostCPU-int(u.cpu*100+0.5); want > free {
		return fmt.Sprintf("Not enough CPU: %d/%d", want, free)
	}
	if want, free := memory<<10, hostMemory-u.memory<<10; want > free {
		return fmt.Sprintf("Not enough memory: %d/%d", want, free)
	}
	return ""
}

func vmMigrate(c *call) (any, *refusal) {
	v, h, store, r := c.target(c.i(4))
	if r != nil {
		return nil, r
	}
	legal := "RUNNING UNKNOWN POWEROFF SUSPENDED"
	if !c.release.since("4.14") {
		legal = "RUNNING"
	}
	last := v.last()
	if !v.in(legal) || last == nil {
		return nil, refuse(codeAction, "Migrate action is not available for state %s", v.status)
	}
	live := c.b(2) && v.lcm == Running
	switch {
	case live && store != last.store:
		return nil, refuse(codeAction, "A migration to a different system datastore cannot be performed live.")
	case h.id == last.host && store == last.store:
		return nil, refuse(codeAction, "VM is already running on host [%d]", h.id)
	case c.b(3) && h.id != last.host:
		if r := c.fits(v, h, v.cpu(), v.memory()); r != nil {
			return nil, r
		}
	}
	c.migrate(v, h, store, live)
	return v.id, nil
}

// migrate opens the record of the new host and enters the state that the old one leads to. Live is live only for a
// running VM; otherwise it is cold without a word.
func (c *call) migrate(v *vm, h *host, store int, live bool) {
	at := c.now()
	act := actMigrate
	v.migration = 0
	if v.lcm == Running && !live {
		v.migration = c.i(5)
		act = [...]int{actMigrate, actPoffMigrate, actPoffHardMigrate}[min(max(v.migration, 0), 2)]
	}
	if live {
		act = actLiveMigrate
	}
	c.by(v.last(), act)
	if v.state != Active || v.lcm == Unknown {
		c.Server.close(v, at)
		if l := v.last(); l.retime == 0 {
			l.retime = at.Unix()
		}
	}
	v.hist = append(v.hist, history{seq: len(v.hist), host: h.id, store: store, uid: -1, gid: -1, request: -1, stime: at.Unix()})
	if !live {
		c.by(v.last(), act)
	}
	next := map[string]LCM{"RUNNING": SaveMigrate, "UNKNOWN": PrologMigrateUnknown, "POWEROFF": PrologMigratePoweroff, "SUSPENDED": PrologMigrateSuspend}[v.status.String()]
	if live {
		next = Migrate
	}
	c.enterMigration(v, next)
}

// enterMigration is move without stamping the new record as running: the VM still runs on the old host.
func (c *call) enterMigration(v *vm, l LCM) {
	if l == Migrate || l == SaveMigrate {
		v.status = active(l)
		c.after(v, phases[l].step, c.now())
		return
	}
	if v.lcm == Unknown {
		v.status = is(Poweroff) // its stage: on no host while the disks move
	}
	c.move(v, active(l), c.now())
}

func vmRecover(c *call) (any, *refusal) {
	op := c.i(1)
	last := 5
	if !c.release.since("5.0") {
		last = 2
	}
	if op < 0 || op > last {
		if _, r := c.find(c.i(0)); r != nil {
			return nil, r
		}
		return nil, refuse(codeAction, "Wrong recovery operation code")
	}
	v, r := c.vm(c.i(0), admin)
	if r != nil {
		return nil, r
	}
	return v.id, c.recoverVM(v, op)
}

func (c *call) recoverVM(v *vm, op int) *refusal {
	switch op {
	case 3:
		remove(c, v)
	case 4:
		if v.state == Done {
			return refuse(codeAction, "Cannot delete-recreate a VM already in DONE state")
		}
		if !c.release.since("6.0") && v.in("POWEROFF SUSPENDED") {
			return refuse(codeAction, "Could not delete-recreate VM %d, wrong state %s.", v.id, v.status)
		}
		recreate(c, v)
	case 5:
		if v.state != Done {
			v.work = nil
			c.move(v, is(Done), c.now())
		}
	default:
		return c.recoverStep(v, op)
	}
	return nil
}

// recoverStep is recover 0, 1 and 2: the outcome of the present step, or the step once more, which a failed clone has not.
func (c *call) recoverStep(v *vm, op int) *refusal {
	at := c.now()
	if v.state == CloningFailure && op != 2 {
		if op == 1 {
			c.cloned(v)
			c.move(v, v.backTo, at)
		}
		return nil
	}
	if v.state != Active {
		return refuse(codeAction, "Could not recover VM %d, wrong state %s.", v.id, v.status)
	}
	origin, failed := origins[v.lcm]
	_, transient := phases[v.lcm]
	switch {
	case op == 0 && transient:
		c.Server.failed(v, v.lcm, at)
	case op == 1 && transient:
		c.succeeded(v, v.lcm, at)
	case op == 1 && failed:
		c.succeeded(v, origin, at)
	case op == 1 && v.lcm == Unknown:
		c.move(v, active(Running), at)
	case op == 2 && failed:
		c.reenter(v, origin)
	}
	return nil
}

// reenter asks the driver once more.
func (c *call) reenter(v *vm, l LCM) {
	if h := v.last(); h != nil && phases[l].step == StepBoot {
		h.etime, h.retime = 0, 0
	}
	c.move(v, active(l), c.now())
}

// update merges or replaces a user template.
func (c *call) update(t *template, text string, mode int) *refusal {
	if mode != 0 && mode != 1 {
		return refuse(codeAPI, "Wrong update type")
	}
	n, r := parseArg(text, codeAction)
	if r == nil {
		r = c.restrictedIn(n)
	}
	if r != nil {
		return r
	}
	if mode == 0 {
		*t = nil
	}
	t.merge(n)
	return nil
}

func vmUpdate(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r == nil {
		r = c.update(&v.user, c.s(1), c.i(2))
	}
	if r != nil {
		return nil, r
	}
	return v.id, nil
}

func vmRename(c *call) (any, *refusal) {
	v, r := c.find(c.i(0))
	if r != nil {
		return nil, r
	}
	name := c.s(1)
	if name == v.name {
		return v.id, nil // before the rights: seen on 6.10.0
	}
	if r := c.authorize(manage, &v.object); r != nil {
		return nil, r
	}
	if why := checkName(name); why != "" {
		return nil, refuse(codeAction, "%s", why)
	}
	v.name = name
	return v.id, nil
}

func vmChown(c *call) (any, *refusal) {
	v, r := c.find(c.i(0))
	if r != nil {
		return nil, r
	}
	uid, gid := c.i(1), c.i(2)
	if uid >= 0 {
		if _, r := c.findUser(uid); r != nil {
			return nil, r
		}
		if !c.admin() && uid != c.user.id {
			return nil, c.unauthorized(manage, kindUser, uid)
		}
	}
	if gid >= 0 {
		if _, ok := find(c.groups, gid); !ok {
			return nil, missing(kindGroup, gid)
		}
		if !c.admin() && !c.user.in(gid) {
			return nil, c.unauthorized(use, kindGroup, gid)
		}
	}
	if r := c.authorize(manage, &v.object); r != nil {
		return nil, r
	}
	if uid >= 0 {
		v.uid = uid
	}
	if gid >= 0 {
		v.gid = gid
	}
	return v.id, nil
}

func vmChmod(c *call) (any, *refusal) {
	v, r := c.find(c.i(0))
	if r != nil {
		return nil, r
	}
	need := manage
	for i := 1; i <= 9; i++ {
		if x := c.i(i); x < -1 || x > 1 {
			return nil, refuse(codeInternal, "New permission values must be -1, 0 or 1")
		}
		if i%3 == 0 && c.i(i) != -1 {
			need = admin
		}
	}
	if r := c.authorize(need, &v.object); r != nil {
		return nil, r
	}
	for i := range v.perms {
		if x := c.i(i + 1); x >= 0 {
			v.perms[i] = x == 1
		}
	}
	return v.id, nil
}

// capacity is what resize was asked for; what is missing or 0 or no number stays.
type capacity struct {
	cpu    float64
	memory int
	vcpu   int
}

func (v *vm) newCapacity(t template) (capacity, *refusal) {
	want := capacity{v.cpu(), v.memory(), 0}
	if f, err := strconv.ParseFloat(t.get("CPU"), 64); err == nil && f != 0 {
		want.cpu = f
	}
	if n, err := strconv.Atoi(t.get("MEMORY")); err == nil && n != 0 {
		want.memory = n
	}
	if n, err := strconv.Atoi(t.get("VCPU")); err == nil && n != 0 {
		want.vcpu = n
	}
	switch {
	case want.cpu < 0:
		return want, refuse(codeInternal, "CPU must be a positive float or integer value.")
	case want.memory < 0:
		return want, refuse(codeInternal, "MEMORY must be a positive integer value.")
	case want.vcpu < 0:
		return want, refuse(codeInternal, "VCPU must be a positive integer value.")
	}
	return want, nil
}

func vmResize(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	t, r := parseArg(c.s(1), codeInternal)
	if r == nil {
		r = c.restrictedIn(t)
	}
	if r != nil {
		return nil, r
	}
	want, r := v.newCapacity(t)
	if r != nil {
		return nil, r
	}
	legal := "INIT PENDING HOLD POWEROFF UNDEPLOYED CLONING CLONING_FAILURE"
	if c.release.since("6.0") {
		legal += " RUNNING"
	}
	if !v.in(legal) {
		return nil, refuse(codeAction, "Resize action is not available for state %s", v.status)
	}
	if h := v.last(); c.b(2) && h != nil && v.onAHost() {
		u := c.hostUsage(h.host)
		if why := short(want.cpu-v.cpu(), want.memory-v.memory(), u); why != "" {
			// oned names the whole new value against what is free
			return nil, refuse(codeAction, "Not enough CPU: %d/%d", int(want.cpu*100+0.5), hostCPU-int(u.cpu*100+0.5))
		}
	}
	c.resize(v, want)
	return v.id, nil
}

func (c *call) resize(v *vm, want capacity) {
	old := vector("RESIZE", "CPU", v.tmpl.get("CPU"), "MEMORY", v.tmpl.get("MEMORY"), "VCPU", cmp.Or(v.tmpl.get("VCPU"), "1"))
	v.tmpl.set("CPU", strconv.FormatFloat(want.cpu, 'f', -1, 64))
	v.tmpl.set("MEMORY", strconv.Itoa(want.memory))
	if want.vcpu > 0 {
		v.tmpl.set("VCPU", strconv.Itoa(want.vcpu))
	}
	if v.state != Active {
		return
	}
	v.tmpl.add(old)
	v.work = &work{step: StepResize, ok: func() { v.tmpl.drop("RESIZE") }, fail: func() {
		for _, k := range []string{"CPU", "MEMORY", "VCPU"} {
			v.tmpl.set(k, old.get(k))
		}
		v.tmpl.drop("RESIZE")
	}}
	c.move(v, active(HotplugResize), c.now())
}

func vmLock(c *call) (any, *refusal) {
	v, r := c.find(c.i(0))
	if r == nil {
		r = c.authorizeUnlocked(manage, &v.object)
	}
	if r != nil {
		return nil, r
	}
	level := c.i(1)
	if level < 1 || level > 4 {
		return nil, refuse(codeAction, "Wrong lock level specified")
	}
	if v.lock != nil && (c.b(2) || v.lock.owner != c.user.id && !c.admin()) {
		return nil, refuse(codeAction, "Error trying to lock the resource.")
	}
	v.lock = &lock{level: level, owner: c.user.id, time: c.now().Unix(), request: c.seq}
	return v.id, nil
}

func vmUnlock(c *call) (any, *refusal) {
	v, r := c.find(c.i(0))
	if r == nil {
		r = c.authorizeUnlocked(manage, &v.object)
	}
	if r != nil {
		return nil, r
	}
	if v.lock != nil && v.lock.owner != c.user.id && !c.admin() {
		return nil, refuse(codeAction, "Error trying to unlock the resource.")
	}
	v.lock = nil
	return v.id, nil
}

func vmMonitoring(c *call) (any, *refusal) {
	v, r := c.look(c.i(0))
	if r == nil {
		r = c.authorizeUnlocked(use, &v.object)
	}
	if r != nil {
		return nil, r
	}
	c.poll(v)
	return append(c.appendSamples([]byte("<MONITORING_DATA>"), v, -1), "</MONITORING_DATA>"...), nil
}

// appendSamples appends the samples of the last so many seconds: -1 all, 0 the newest.
func (c *call) appendSamples(b []byte, v *vm, seconds int) []byte {
	samples := v.samples
	if seconds == 0 && len(samples) > 0 {
		samples = samples[len(samples)-1:]
	}
	from := int64(0)
	if seconds > 0 {
		from = c.now().Unix() - int64(seconds)
	}
	for _, m := range samples {
		if m.at >= from {
			b = m.append(b, v.id, c.release.old)
		}
	}
	return b
}

// confAttributes are what updateconf changes; all else in its template is ignored.
var confAttributes = []string{"BACKUP_CONFIG", "CONTEXT", "CPU_MODEL", "FEATURES", "GRAPHICS", "INPUT", "OS", "RAW", "TPM", "VIDEO"}

func vmUpdateConf(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	t, r := parseArg(c.s(1), codeInternal)
	if r == nil {
		r = c.restrictedIn(t)
	}
	if r != nil {
		return nil, r
	}
	if c.i(2) != 0 && c.i(2) != 1 {
		return nil, refuse(codeAPI, "Wrong update type")
	}
	legal := confStates
	if c.release.since("6.0") {
		legal += " RUNNING"
	}
	switch {
	case !v.in(legal):
		return nil, refuse(codeInternal, "configuration cannot be updated in state %s", v.status)
	case t.has("CONTEXT") && !v.tmpl.has("CONTEXT"):
		return nil, refuse(codeInternal, "Virtual machine does not have context, cannot add a new one.")
	}
	c.updateConf(v, t, c.i(2) == 1)
	return v.id, nil
}

// confStates are those in which a VM's configuration may change. Source: VirtualMachine::check_updateconf.
const confStates = "PENDING HOLD POWEROFF UNDEPLOYED CLONING CLONING_FAILURE LCM_INIT PROLOG EPILOG SHUTDOWN SHUTDOWN_POWEROFF " +
	"SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY PROLOG_UNDEPLOY CLEANUP_RESUBMIT CLEANUP_DELETE HOTPLUG_PROLOG_POWEROFF " +
	"HOTPLUG_EPILOG_POWEROFF HOTPLUG_SAVEAS_POWEROFF HOTPLUG_NIC_POWEROFF BOOT_FAILURE PROLOG_FAILURE EPILOG_FAILURE " +
	"EPILOG_UNDEPLOY_FAILURE PROLOG_UNDEPLOY_FAILURE BOOT_UNDEPLOY_FAILURE PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_POWEROFF_FAILURE " +
	"DISK_SNAPSHOT_POWEROFF DISK_SNAPSHOT_REVERT_POWEROFF DISK_SNAPSHOT_DELETE_POWEROFF"

func (c *call) updateConf(v *vm, t template, merge bool) {
	before := v.tmpl.clone()
	for _, name := range confAttributes {
		old, given := v.tmpl.all(name), t.all(name)
		switch {
		case name == "CONTEXT" && len(given) > 0 && len(old) > 0:
			n := *given[0]
			n.set("DISK_ID", old[0].get("DISK_ID"))
			n.set("TARGET", old[0].get("TARGET"))
			if merge {
				n = merged(*old[0], n)
			}
			v.tmpl.drop(name)
			v.tmpl.add(n)
			c.fillContext(v)
		case len(given) > 0 && merge && len(old) > 0 && old[0].vector:
			n := merged(*old[0], *given[0])
			v.tmpl.drop(name)
			v.tmpl.add(n)
		case len(given) > 0:
			v.tmpl.drop(name)
			for _, a := range given {
				v.tmpl.add(*a)
			}
		case !merge && name != "CONTEXT":
			v.tmpl.drop(name)
		}
	}
	v.bootOrder()
	if v.state == Active && v.lcm == Running && t.has("CONTEXT") {
		v.work = &work{step: StepConf, ok: func() {}, fail: func() { v.tmpl = before }}
		c.move(v, active(Hotplug), c.now())
	}
}

func merged(old, n attr) attr {
	old.kids = slices.Clone(old.kids)
	for _, k := range n.kids {
		old.set(k.name, k.value)
	}
	return old
}
