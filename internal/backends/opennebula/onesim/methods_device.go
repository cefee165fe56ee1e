package onesim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func vmDeviceMethods() []method {
	return []method{
		{name: "one.vm.attach", params: "i s", help: "Attaches a new disk to the virtual machine", do: vmAttach},
		{name: "one.vm.detach", params: "i i", help: "Detaches a disk from a virtual machine", do: vmDetach},
		{name: "one.vm.diskresize", params: "i i s", help: "Resizes a disk from a virtual machine", span: span{since: "5.4"}, do: vmDiskResize},
		{name: "one.vm.disksaveas", params: "i i s s i", help: "Save a disk from virtual machine as a new image", span: span{since: "4.14"}, do: vmDiskSaveas},
		{name: "one.vm.savedisk", params: "i i s s b?0 b?0", help: "Sets the disk to be saved in the given image", span: span{until: "4.12.3"}, do: vmSaveDisk},
		{name: "one.vm.disksnapshotcreate", params: "i i s", help: "Creates a new virtual machine disk snapshot", span: span{since: "4.14"}, do: vmDiskSnapshotCreate},
		{name: "one.vm.disksnapshotdelete", params: "i i i", help: "Deletes a disk snapshot", span: span{since: "4.14"}, do: vmDiskSnapshotDelete},
		{name: "one.vm.disksnapshotrevert", params: "i i i", help: "Reverts disk state to a snapshot", span: span{since: "4.14"}, do: vmDiskSnapshotRevert},
		{name: "one.vm.disksnapshotrename", params: "i i i s", help: "Renames a disk snapshot", span: span{since: "5.8"}, do: vmDiskSnapshotRename},
		{name: "one.vm.attachnic", params: "i s", help: "Attaches a new NIC to the virtual machine", span: span{since: "4.0"}, do: vmAttachNIC},
		{name: "one.vm.detachnic", params: "i i", help: "Detaches a NIC from a virtual machine", span: span{since: "4.0"}, do: vmDetachNIC},
		{name: "one.vm.updatenic", params: "i i s i?0", help: "Updates a NIC", span: span{since: "6.6"}, do: vmUpdateNIC},
		{name: "one.vm.attachsg", params: "i i i", help: "Attaches a security group to a NIC", span: span{since: "6.4"}, do: vmAttachSG},
		{name: "one.vm.detachsg", params: "i i i", help: "Detaches a security group from a NIC", span: span{since: "6.4"}, do: vmDetachSG},
		{name: "one.vm.snapshotcreate", params: "i s?", help: "Creates a new virtual machine snapshot", span: span{since: "4.0"}, do: vmSnapshotCreate},
		{name: "one.vm.snapshotrevert", params: "i i", help: "Reverts a virtual machine to a snapshot", span: span{since: "4.0"}, do: vmSnapshotRevert},
		{name: "one.vm.snapshotdelete", params: "i i", help: "Deletes a virtual machine snapshot", span: span{since: "4.0"}, do: vmSnapshotDelete},
		{name: "one.vm.schedadd", params: "i s", help: "Add scheduled action to VM", span: span{since: "6.2"}, do: vmSchedAdd},
		{name: "one.vm.schedupdate", params: "i i s", help: "Update VM scheduled action", span: span{since: "6.2"}, do: vmSchedUpdate},
		{name: "one.vm.scheddelete", params: "i i", help: "Delete scheduled action from VM", span: span{since: "6.2"}, do: vmSchedDelete},
		{name: "one.vm.backup", params: "i i?-1 b?0", help: "Creates a new backup image for the virtual machine", span: span{since: "6.6"}, do: vmBackup},
		{name: "one.vm.backupcancel", params: "i", help: "Cancel active backup of VM", span: span{since: "6.6.2"}, do: vmBackupCancel},
	}
}

// through sends a VM through the transient state that its present one has for a job, and notes the action; act 0 is
// none. The table maps status names to states.
func (c *call) through(v *vm, table map[string]LCM, step Step, act int, ok, fail func()) {
	next := table[v.status.String()]
	if act != 0 {
		c.again(v, act)
	}
	v.work = &work{step: step, ok: ok, fail: fail}
	c.move(v, active(next), c.now())
}

func legalIn(table map[string]LCM, v *vm) bool {
	_, ok := table[v.status.String()]
	return ok
}

var attachStates = map[string]LCM{"RUNNING": Hotplug, "POWEROFF": HotplugPrologPoweroff}

func vmAttach(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	t, r := parseArg(c.s(1), codeInternal)
	switch {
	case r != nil:
		return nil, r
	case v.last() == nil:
		return nil, refuse(codeAction, "VM is not running in any host")
	case !legalIn(attachStates, v):
		return nil, refuse(codeAction, "Could not attach a new disk to VM %d, wrong state %s.", v.id, v.status)
	case !t.has("DISK"):
		return nil, refuse(codeAction, "Internal error parsing DISK attribute")
	}
	if r := c.restrictedIn(t); r != nil {
		return nil, r
	}
	d := *t.all("DISK")[0]
	id := v.nextDevice("DISK_ID", "DISK", "CONTEXT")
	if why := c.fillDisk(v, &d, id); why != "" {
		return nil, refuse(codeAction, "%s", why)
	}
	if !c.release.old {
		d.set("TM_MAD_SYSTEM", "dummy")
		d.set("ATTACH", "YES")
		if !d.has("IMAGE_ID") {
			store := v.last().store
			for k, x := range map[string]string{"ALLOW_ORPHANS": "NO", "CLUSTER_ID": "0", "DATASTORE": c.storeName(store), "DATASTORE_ID": strconv.Itoa(store), "TM_MAD": "dummy"} {
				d.set(k, x)
			}
		}
	}
	v.tmpl.add(d)
	c.through(v, attachStates, StepAttach, actDiskAttach,
		func() { v.disk(id).unset("ATTACH") }, func() { v.remove("DISK", "DISK_ID", id) })
	return v.id, nil
}

var detachStates = map[string]LCM{"RUNNING": Hotplug, "POWEROFF": HotplugEpilogPoweroff}

func vmDetach(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	id := c.i(1)
	switch {
	case !legalIn(detachStates, v):
		return nil, refuse(codeAction, "Could not detach disk from VM %d, wrong state %s.", v.id, v.status)
	case v.disk(id) == nil:
		return nil, refuse(codeAction, "Could not detach disk with DISK_ID %d, it does not exist.", id)
	}
	v.disk(id).set("ATTACH", "YES")
	c.through(v, detachStates, StepDetach, actDiskDetach, func() {
		v.remove("DISK", "DISK_ID", id)
		v.snaps = slices.DeleteFunc(v.snaps, func(d *diskSnapshots) bool { return d.disk == id })
	}, func() { v.disk(id).unset("ATTACH") })
	return v.id, nil
}

var resizeStates = map[string]LCM{"RUNNING": DiskResize, "POWEROFF": DiskResizePoweroff, "UNDEPLOYED": DiskResizeUndeployed}

func vmDiskResize(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	d := v.disk(c.i(1))
	size, err := strconv.Atoi(c.s(2))
	switch {
	case err != nil:
		return nil, refuse(codeAction, "Disk SIZE is not a valid integer")
	case d == nil:
		return nil, refuse(codeAction, "VM disk does not exist")
	case size <= d.id("SIZE"):
		return nil, refuse(codeAction, "New disk size has to be greater than current one")
	case !legalIn(resizeStates, v):
		return nil, refuse(codeAction, "Could not resize disk for VM %d, wrong state %s.", v.id, v.status)
	}
	id, old := c.i(1), d.get("SIZE")
	d.set("SIZE_PREV", old)
	d.set("SIZE", strconv.Itoa(size))
	d.set("RESIZE", "YES")
	c.through(v, resizeStates, StepResize, actDiskResize, func() { v.disk(id).unset("RESIZE", "SIZE_PREV") }, func() {
		v.disk(id).set("SIZE", old)
		v.disk(id).unset("RESIZE", "SIZE_PREV")
	})
	return id, nil
}

var saveasStates = map[string]LCM{"RUNNING": HotplugSaveas, "POWEROFF": HotplugSaveasPoweroff, "SUSPENDED": HotplugSaveasSuspended,
	"UNDEPLOYED": HotplugSaveasUndeployed, "STOPPED": HotplugSaveasStopped}

var imageTypes = []string{"OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT"}

func vmDiskSaveas(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	d := v.disk(c.i(1))
	legal := legalIn(saveasStates, v) && (c.release.since("6.0") || v.in("RUNNING POWEROFF SUSPENDED"))
	switch {
	case !legal:
		return nil, refuse(codeInternal, "VM has to be RUNNING, POWEROFF or SUSPENDED to save disks.")
	case d == nil:
		return nil, refuse(codeInternal, "Cannot use DISK. DISK does not exist.")
	}
	origin, ok := find(c.images, d.id("IMAGE_ID"))
	if !ok {
		return nil, refuse(codeInternal, "Cannot use selected DISK, it is volatile.")
	}
	typ := slices.Index(imageTypes, cmp.Or(c.s(3), imageTypes[origin.typ]))
	if typ < 0 {
		return nil, refuse(codeAllocate, "Error allocating a new image. Unknown type ")
	}
	if why := checkName(c.s(2)); why != "" {
		return nil, refuse(codeAllocate, "Error allocating a new image. %s.", why)
	}
	for _, m := range c.images {
		if m.name == c.s(2) && m.uid == c.user.id {
			return nil, refuse(codeAllocate, "Error allocating a new image. NAME is already taken by IMAGE %d.", m.id)
		}
	}
	return c.saveas(v, d, origin, typ).id, nil
}

// saveas makes the new image, locked until the copy is done.
func (c *call) saveas(v *vm, d *attr, origin *image, typ int) *image {
	m := &image{object: object{kind: kindImage, id: nextID(c.images), uid: c.user.id, gid: c.gid, name: c.s(2), perms: private},
		typ: typ, state: imageLocked, size: d.id("SIZE"), store: origin.store, regtime: c.now().Unix(), source: "dummy_path", format: origin.format}
	disk := c.i(1)
	m.tmpl = vectorless([]string{"DEV_PREFIX", d.get("DEV_PREFIX"), "SAVED_DISK_ID", strconv.Itoa(disk), "SAVED_IMAGE_ID", strconv.Itoa(origin.id), "SAVED_VM_ID", strconv.Itoa(v.id)})
	c.images = append(c.images, m)
	for k, x := range map[string]string{"HOTPLUG_SAVE_AS": strconv.Itoa(m.id), "HOTPLUG_SAVE_AS_ACTIVE": "YES",
		"HOTPLUG_SAVE_AS_SNAPSHOT_ID": strconv.Itoa(c.i(4)), "HOTPLUG_SAVE_AS_SOURCE": "dummy_path"} {
		d.set(k, x)
	}
	end := func(state int) func() {
		return func() {
			m.state = state
			v.disk(disk).unset("HOTPLUG_SAVE_AS", "HOTPLUG_SAVE_AS_ACTIVE", "HOTPLUG_SAVE_AS_SNAPSHOT_ID", "HOTPLUG_SAVE_AS_SOURCE")
		}
	}
	c.through(v, saveasStates, StepSaveAs, 0, end(imageReady), end(imageError))
	return m
}

// vmSaveDisk is how disks were saved before disksaveas: the image is registered at once and filled when the VM ends.
func vmSaveDisk(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	d := v.disk(c.i(1))
	if d == nil {
		return nil, refuse(codeInternal, "Cannot use DISK. DISK does not exist.")
	}
	if d.has("SAVE_AS") {
		return nil, refuse(codeInternal, "Cannot use DISK. The disk is already going to be saved.")
	}
	if v.state == Done {
		return nil, refuse(codeAction, "Could not save disk of VM %d, wrong state DONE.", v.id)
	}
	for _, m := range c.images {
		if m.name == c.s(2) && m.uid == c.user.id {
			return nil, refuse(codeInternal, "Error allocating a new image. NAME is already taken by IMAGE %d.", m.id)
		}
	}
	typ := slices.Index(imageTypes, cmp.Or(c.s(3), "OS"))
	if typ < 0 {
		return nil, refuse(codeInternal, "Error allocating a new image. Unknown type %s", c.s(3))
	}
	m := &image{object: object{kind: kindImage, id: nextID(c.images), uid: c.user.id, gid: c.gid, name: c.s(2), perms: private},
		typ: typ, state: imageLocked, size: d.id("SIZE"), store: 100, regtime: c.now().Unix(), source: "dummy_path", format: "raw"}
	c.images = append(c.images, m)
	d.set("SAVE", "YES")
	d.set("SAVE_AS", strconv.Itoa(m.id))
	return m.id, nil
}

// fillSaved makes the images of savedisk usable: their VM has ended.
func (s *Server) fillSaved(v *vm) {
	for _, d := range v.tmpl.all("DISK") {
		if m, ok := find(s.images, d.id("SAVE_AS")); ok && m.state == imageLocked {
			m.state = imageReady
		}
	}
}

var (
	diskSnapshotStates       = map[string]LCM{"RUNNING": DiskSnapshot, "POWEROFF": DiskSnapshotPoweroff, "SUSPENDED": DiskSnapshotSuspended}
	diskSnapshotDeleteStates = map[string]LCM{"RUNNING": DiskSnapshotDelete, "POWEROFF": DiskSnapshotDeletePoweroff, "SUSPENDED": DiskSnapshotDeleteSuspended}
	diskSnapshotRevertStates = map[string]LCM{"RUNNING": DiskSnapshotRevert, "POWEROFF": DiskSnapshotRevertPoweroff, "SUSPENDED": DiskSnapshotRevertSuspended}
)

func (v *vm) snapshots(disk int) *diskSnapshots {
	for _, d := range v.snaps {
		if d.disk == disk {
			return d
		}
	}
	return nil
}

// busyDisk marks the disk that a snapshot job works on.
func (v *vm) busyDisk(disk, snapshot int, total int) {
	d := v.disk(disk)
	d.set("DISK_SNAPSHOT_ACTIVE", "YES")
	d.set("DISK_SNAPSHOT_ID", strconv.Itoa(snapshot))
	d.set("DISK_SNAPSHOT_TOTAL_SIZE", strconv.Itoa(total))
}

func (d *diskSnapshots) total() int {
	n := 0
	for _, x := range d.list {
		n += x.size
	}
	return n
}

// calm ends a snapshot job: marks gone, total as it is now.
func (v *vm) calm(disk int) {
	d := v.disk(disk)
	d.unset("DISK_SNAPSHOT_ACTIVE", "DISK_SNAPSHOT_ID")
	total := 0
	if s := v.snapshots(disk); s != nil {
		total = s.total()
		if len(s.list) == 0 {
			v.snaps = slices.DeleteFunc(v.snaps, func(x *diskSnapshots) bool { return x == s })
		}
	}
	d.set("DISK_SNAPSHOT_TOTAL_SIZE", strconv.Itoa(total))
}

func vmDiskSnapshotCreate(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	disk := c.i(1)
	switch {
	case !legalIn(diskSnapshotStates, v):
		return nil, refuse(codeAction, "Could not create a new snapshot for VM %d, wrong state %s.", v.id, v.status)
	case v.disk(disk) == nil:
		return nil, refuse(codeAction, "VM disk does not exist")
	}
	s := v.snapshots(disk)
	if s == nil {
		s = &diskSnapshots{disk: disk, active: -1}
		v.snaps = append(v.snaps, s)
	}
	x := diskSnapshot{id: s.next, parent: s.active, size: v.disk(disk).id("SIZE"), date: c.now().Unix(), name: c.s(2)}
	if x.name == "" {
		x.name = fmt.Sprintf("snapshot-%d", x.id)
	}
	s.next++
	s.list = append(s.list, x)
	v.busyDisk(disk, x.id, s.total())
	c.through(v, diskSnapshotStates, StepSnapshot, actDiskSnapCreate,
		func() { s.activate(x.id); v.calm(disk) }, func() { s.drop(x.id); v.calm(disk) })
	return x.id, nil
}

func (d *diskSnapshots) activate(id int) {
	d.active = id
	for i := range d.list {
		d.list[i].active = d.list[i].id == id
	}
}

func (d *diskSnapshots) drop(id int) {
	d.list = slices.DeleteFunc(d.list, func(x diskSnapshot) bool { return x.id == id })
}

// snapshotOf finds a disk's snapshot.
func (c *call) snapshotOf(v *vm, disk, id int) (*diskSnapshots, *refusal) {
	if s := v.snapshots(disk); s != nil && s.find(id) != nil && v.disk(disk) != nil {
		return s, nil
	}
	return nil, refuse(codeAction, "Disk id (%d) or snapshot id (%d) is not valid.", disk, id)
}

func vmDiskSnapshotDelete(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	disk, id := c.i(1), c.i(2)
	if !legalIn(diskSnapshotDeleteStates, v) {
		return nil, refuse(codeAction, "Could not delete disk snapshot from VM %d, wrong state %s.", v.id, v.status)
	}
	s, r := c.snapshotOf(v, disk, id)
	switch {
	case r != nil:
		return nil, r
	case s.active == id && s.children(id) != "":
		return nil, refuse(codeAction, "Cannot delete the active snapshot with children")
	case s.active == id && v.lcm == Running:
		return nil, refuse(codeAction, "Cannot delete the active snapshot")
	case s.children(id) != "":
		return nil, refuse(codeAction, "Cannot delete snapshot with children")
	}
	v.busyDisk(disk, id, s.total())
	c.through(v, diskSnapshotDeleteStates, StepSnapshot, actDiskSnapDelete, func() {
		if s.active == id {
			s.activate(s.find(id).parent)
		}
		s.drop(id)
		v.calm(disk)
	}, func() { v.calm(disk) })
	return v.id, nil
}

func vmDiskSnapshotRevert(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	disk, id := c.i(1), c.i(2)
	legal := "RUNNING POWEROFF SUSPENDED"
	if c.release.since("5.0") {
		legal = "POWEROFF SUSPENDED"
	}
	if c.release.since("6.6.3") {
		legal = "POWEROFF"
	}
	if !v.in(legal) {
		return nil, refuse(codeAction, "Could not revert to disk snapshot for VM %d, wrong state %s.", v.id, v.status)
	}
	s, r := c.snapshotOf(v, disk, id)
	if r != nil {
		return nil, r
	}
	v.busyDisk(disk, id, s.total())
	c.through(v, diskSnapshotRevertStates, StepSnapshot, actDiskSnapRevert,
		func() { s.activate(id); v.calm(disk) }, func() { v.calm(disk) })
	return v.id, nil
}

func vmDiskSnapshotRename(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	s, r := c.snapshotOf(v, c.i(1), c.i(2))
	switch {
	case r != nil:
		return nil, r
	case c.s(3) == "":
		return nil, refuse(codeAction, "Snapshot name cannot be empty")
	}
	s.find(c.i(2)).name = c.s(3)
	return v.id, nil
}

var nicStates = map[string]LCM{"RUNNING": HotplugNIC, "POWEROFF": LCMInit}

// throughNIC is through, but a powered off VM changes at once: the dummy driver has no cold attach.
func (c *call) throughNIC(v *vm, act int, ok, fail func()) {
	if v.state == Poweroff {
		c.again(v, act)
		ok()
		return
	}
	c.through(v, nicStates, StepNIC, act, ok, fail)
}

func vmAttachNIC(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	t, r := parseArg(c.s(1), codeInternal)
	nics := t.all("NIC", "NIC_ALIAS")
	switch {
	case r != nil:
		return nil, r
	case !legalIn(nicStates, v):
		return nil, refuse(codeAction, "Could not add a new NIC to VM %d, wrong state %s.", v.id, v.status)
	case len(nics) == 0:
		return nil, refuse(codeAction, "Internal error parsing NIC attribute")
	}
	if r := c.restrictedIn(t); r != nil {
		return nil, r
	}
	n := *nics[0]
	id := v.nextDevice("NIC_ID", "NIC", "NIC_ALIAS")
	act := actNICAttach
	if n.name == "NIC_ALIAS" {
		act = actAliasAttach
		if why := v.alias(&n, id); why != "" {
			return nil, refuse(codeAction, "%s", why)
		}
	}
	if why := c.fillNIC(v, &n, id); why != "" {
		return nil, refuse(codeAction, "%s", why)
	}
	if !c.release.old {
		n.set("ATTACH", "YES")
	}
	v.tmpl.add(n)
	if v.state == Active && !c.release.old { // a VM that is off gets its new context when it boots; 4.x never changes it
		c.fillContext(v)
	}
	c.throughNIC(v, act, func() { v.nic(id).unset("ATTACH") }, func() { c.dropNIC(v, id) })
	return v.id, nil
}

// alias ties a NIC_ALIAS to the NIC that PARENT names.
func (v *vm) alias(n *attr, id int) string {
	for _, p := range v.tmpl.all("NIC") {
		if p.get("NAME") != n.get("PARENT") {
			continue
		}
		known := strings.Fields(strings.ReplaceAll(p.get("ALIAS_IDS"), ",", " "))
		n.set("PARENT_ID", p.get("NIC_ID"))
		n.set("ALIAS_ID", strconv.Itoa(len(known)))
		n.set("NAME", fmt.Sprintf("%s_ALIAS%d", p.get("NAME"), id))
		p.set("ALIAS_IDS", strings.Join(append(known, strconv.Itoa(id)), ","))
		return ""
	}
	return "NIC_ALIAS: parent NIC " + n.get("PARENT") + " does not exist"
}

func (c *call) dropNIC(v *vm, id int) {
	n := v.nic(id)
	if n == nil {
		return
	}
	if net, ok := find(c.nets, n.id("NETWORK_ID")); ok {
		net.release(v.id, n.get("IP"))
	}
	v.remove(n.name, "NIC_ID", id)
	if !c.release.old {
		c.fillContext(v)
	}
}

func vmDetachNIC(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	id := c.i(1)
	n := v.nic(id)
	switch {
	case !legalIn(nicStates, v):
		return nil, refuse(codeAction, "Could not detach NIC from VM %d, wrong state %s.", v.id, v.status)
	case n == nil:
		return nil, refuse(codeAction, "Could not detach NIC with NIC_ID %d, it does not exist.", id)
	}
	act := actNICDetach
	if n.name == "NIC_ALIAS" {
		act = actAliasDetach
	}
	n.set("ATTACH", "YES")
	c.throughNIC(v, act, func() { c.dropNIC(v, id) }, func() { v.nic(id).unset("ATTACH") })
	return v.id, nil
}

func vmUpdateNIC(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	t, r := parseArg(c.s(2), codeInternal)
	n := v.nic(c.i(1))
	switch {
	case r != nil:
		return nil, r
	case n == nil:
		return nil, refuse(codeAction, "Could not update NIC with NIC_ID %d, it does not exist.", c.i(1))
	case v.state == Active && v.lcm != Running:
		return nil, refuse(codeAction, "Could not update NIC of VM %d, wrong state %s.", v.id, v.status)
	case !t.has("NIC"):
		return nil, refuse(codeAction, "Internal error parsing NIC attribute")
	}
	if r := c.restrictedIn(t); r != nil {
		return nil, r
	}
	for _, k := range t.all("NIC")[0].kids {
		n.set(k.name, k.value)
	}
	if v.state == Active {
		c.throughNIC(v, actNICUpdate, func() {}, func() {})
	}
	return v.id, nil
}

// securityGroups reads a NIC's list.
func securityGroups(n *attr) []string {
	return strings.Fields(strings.ReplaceAll(n.get("SECURITY_GROUPS"), ",", " "))
}

func (c *call) nicAndGroup() (*vm, *attr, string, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, nil, "", r
	}
	n := v.nic(c.i(1))
	if n == nil {
		return nil, nil, "", refuse(codeAction, "VM %d: NIC %d does not exist", v.id, c.i(1))
	}
	if _, ok := find(c.secgroups, c.i(2)); !ok {
		return nil, nil, "", missing(kindSecGroup, c.i(2))
	}
	if v.in("BOOT* MIGRATE HOTPLUG_NIC* UNKNOWN") {
		return nil, nil, "", refuse(codeAction, "Could not change security groups of VM %d, wrong state %s.", v.id, v.status)
	}
	return v, n, strconv.Itoa(c.i(2)), nil
}

func vmAttachSG(c *call) (any, *refusal) {
	v, n, sg, r := c.nicAndGroup()
	if r != nil {
		return nil, r
	}
	list := securityGroups(n)
	if slices.Contains(list, sg) {
		return nil, refuse(codeAction, "VM %d SG %s already in NIC %d", v.id, sg, c.i(1))
	}
	n.set("SECURITY_GROUPS", strings.Join(append(list, sg), ","))
	return v.id, nil
}

func vmDetachSG(c *call) (any, *refusal) {
	v, n, sg, r := c.nicAndGroup()
	if r != nil {
		return nil, r
	}
	list := securityGroups(n)
	if !slices.Contains(list, sg) {
		return nil, refuse(codeAction, "VM %d SG %s not in NIC %d", v.id, sg, c.i(1))
	}
	n.set("SECURITY_GROUPS", strings.Join(slices.DeleteFunc(list, func(x string) bool { return x == sg }), ","))
	return v.id, nil
}

var snapshotStates = map[string]LCM{"RUNNING": HotplugSnapshot}

func (v *vm) snapshot(id int) *attr {
	for _, a := range v.tmpl.all("SNAPSHOT") {
		if a.id("SNAPSHOT_ID") == id {
			return a
		}
	}
	return nil
}

func vmSnapshotCreate(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	if !legalIn(snapshotStates, v) {
		return nil, refuse(codeAction, "Could not create a new snapshot for VM %d, wrong state %s.", v.id, v.status)
	}
	id := v.nextDevice("SNAPSHOT_ID", "SNAPSHOT")
	a := vector("SNAPSHOT", "ACTION", "CREATE", "ACTIVE", "YES", "HYPERVISOR_ID", "", "NAME", cmp.Or(c.s(1), fmt.Sprintf("snapshot-%d", id)),
		"SNAPSHOT_ID", strconv.Itoa(id), "TIME", strconv.FormatInt(c.now().Unix(), 10))
	if !c.release.old {
		a.set("SYSTEM_DISK_SIZE", strconv.Itoa(v.memory()))
	}
	v.tmpl.add(a)
	c.through(v, snapshotStates, StepSnapshot, 0, func() {
		v.snapshot(id).unset("ACTION", "ACTIVE")
		v.snapshot(id).set("HYPERVISOR_ID", "dummy-snap")
	}, func() { v.remove("SNAPSHOT", "SNAPSHOT_ID", id) })
	return id, nil
}

func vmSnapshotRevert(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	id := c.i(1)
	switch {
	case !legalIn(snapshotStates, v):
		return nil, refuse(codeAction, "Could not revert VM %d to snapshot %d, wrong state %s.", v.id, id, v.status)
	case v.snapshot(id) == nil:
		return nil, refuse(codeAction, "Could not revert VM %d to snapshot %d, it does not exist.", v.id, id)
	}
	c.snapshotJob(v, id, "REVERT", func() {})
	return -1, nil // seen on 6.10.0
}

func vmSnapshotDelete(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	id := c.i(1)
	switch {
	case !legalIn(snapshotStates, v):
		return nil, refuse(codeAction, "Could not delete snapshot %d for VM %d, wrong state %s.", id, v.id, v.status)
	case v.snapshot(id) == nil:
		return nil, refuse(codeAction, "Could not delete snapshot %d for VM %d, it does not exist.", id, v.id)
	}
	c.snapshotJob(v, id, "DELETE", func() { v.remove("SNAPSHOT", "SNAPSHOT_ID", id) })
	return -1, nil
}

func (c *call) snapshotJob(v *vm, id int, what string, ok func()) {
	v.snapshot(id).set("ACTION", what)
	v.snapshot(id).set("ACTIVE", "YES")
	end := func() { v.snapshot(id).unset("ACTION", "ACTIVE") }
	c.through(v, snapshotStates, StepSnapshot, 0, func() { end(); ok() }, end)
}

// bootOrder writes OS/BOOT into the devices that it names.
func (v *vm) bootOrder() {
	os := v.tmpl.all("OS")
	if len(os) == 0 {
		return
	}
	for _, d := range v.tmpl.all("DISK", "NIC") {
		d.unset("ORDER")
	}
	for i, name := range strings.Split(os[0].get("BOOT"), ",") {
		for _, d := range v.tmpl.all("DISK", "NIC") {
			if name == strings.ToLower(d.name)+cmp.Or(d.get("DISK_ID"), d.get("NIC_ID")) {
				d.set("ORDER", strconv.Itoa(i+1))
			}
		}
	}
}

// sched is a scheduled action. A relative time counts from the VM's start.
type sched struct {
	id, vm int
	tmpl   attr
	at     int64
	done   int64 // -1 is not yet
}

func (x *sched) append(b []byte) []byte {
	b = number(number(append(b, "<SCHED_ACTION>"...), "ID", x.id), "PARENT_ID", x.vm)
	b = element(element(b, "TYPE", "VM"), "ACTION", x.tmpl.get("ACTION"))
	b = number(element(b, "ARGS", x.tmpl.get("ARGS")), "TIME", x.at)
	for _, m := range [...]struct{ name, none string }{{"REPEAT", "-1"}, {"DAYS", ""}, {"END_TYPE", "-1"}, {"END_VALUE", "-1"}} {
		b = element(b, m.name, cmp.Or(x.tmpl.get(m.name), m.none))
	}
	return append(number(b, "DONE", x.done), "<MESSAGE></MESSAGE><WARNING>0</WARNING></SCHED_ACTION>"...)
}

// runSchedule performs the scheduled actions that are due, as the scheduler would: in their owner's name, and without
// anybody to tell when one is not possible.
func (s *Server) runSchedule(now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(s.scheds)) {
		x := s.scheds[id]
		if x.done >= 0 || x.at > now.Unix() {
			continue
		}
		x.done = now.Unix()
		v := s.vms[x.vm]
		s.touch(v)
		i := slices.IndexFunc(s.users, func(u *user) bool { return u.id == v.uid })
		a, _, legal := s.release.actionFor(x.tmpl.get("ACTION"), v.status)
		if i < 0 || !legal {
			continue
		}
		a.do(&call{Server: s, m: &method{name: "one.vm.action"}, user: s.users[i], gid: s.users[i].gid}, v)
	}
}

// schedulable are the actions that may be scheduled. Source: SchedAction::parse.
var schedulable = strings.Fields(`terminate terminate-hard undeploy undeploy-hard hold release stop suspend resume reboot reboot-hard
	poweroff poweroff-hard snapshot-create snapshot-revert snapshot-delete disk-snapshot-create disk-snapshot-revert disk-snapshot-delete
	backup migrate live-migrate poff-migrate poff-hard-migrate`)

func (c *call) schedArg(v *vm, text string) (*sched, *refusal) {
	t, r := parseArg(text, codeAction)
	if r != nil {
		return nil, r
	}
	a := t.all("SCHED_ACTION")
	if len(a) == 0 {
		return nil, refuse(codeAction, "No SCHED_ACTION attribute in template")
	}
	if name := a[0].get("ACTION"); !slices.Contains(schedulable, name) {
		return nil, refuse(codeAction, "%s is not supported.", name)
	}
	when, relative := strings.CutPrefix(a[0].get("TIME"), "+")
	at, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return nil, refuse(codeAction, "Unable to parse TIME")
	}
	if relative {
		at += v.stime
	}
	return &sched{vm: v.id, tmpl: *a[0], at: at, done: -1}, nil
}

func vmSchedAdd(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r != nil {
		return nil, r
	}
	s, r := c.schedArg(v, c.s(1))
	if r != nil {
		return nil, r
	}
	s.id = c.nextSched
	c.nextSched++
	c.scheds[s.id] = s
	v.sched = append(v.sched, s.id)
	return s.id, nil
}

func (c *call) schedOf(v *vm, id int) *refusal {
	if slices.Contains(v.sched, id) {
		return nil
	}
	return &refusal{codeNoExists, fmt.Sprintf("Error getting scheduled action [%d].", id), id}
}

func vmSchedUpdate(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r == nil {
		r = c.schedOf(v, c.i(1))
	}
	if r != nil {
		return nil, r
	}
	s, r := c.schedArg(v, c.s(2))
	if r != nil {
		return nil, r
	}
	s.id = c.i(1)
	c.scheds[s.id] = s
	return s.id, nil
}

func vmSchedDelete(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), manage)
	if r == nil {
		r = c.schedOf(v, c.i(1))
	}
	if r != nil {
		return nil, r
	}
	delete(c.scheds, c.i(1))
	v.sched = slices.DeleteFunc(v.sched, func(id int) bool { return id == c.i(1) })
	return c.i(1), nil
}

func vmBackup(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), admin)
	if r != nil {
		return nil, r
	}
	if _, ok := find(c.stores, c.i(1)); !ok {
		return nil, missing(kindDatastore, c.i(1))
	}
	return nil, refuse(codeInternal, "Datastore needs to be of type BACKUP. VM %d was not backed up.", v.id)
}

func vmBackupCancel(c *call) (any, *refusal) {
	v, r := c.vm(c.i(0), admin)
	if r != nil {
		return nil, r
	}
	return nil, refuse(codeInternal, "Could not cancel backup for VM %d, no backup in progress", v.id)
}
