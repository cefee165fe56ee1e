package opennebula

import (
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// What the rows of the table make of their sources. A number or time that is none is absent.

// standing is what a place says in a release.
type standing struct {
	state, base backends.State
	raw         *backends.RawState
	allowed     []backends.AllowedAction
	operations  []backends.CurrentOperation
}

// standing is worked out once for each place that a list has.
func (d *decoder) standing() *standing {
	st, ok := d.standings[d.at]
	if !ok {
		st = d.driver.standing(d.at, d.release)
		keep(d.standings, d.at, st)
	}
	return st
}

// keep notes a value that will be met again, without remembering all there ever was.
func keep[K comparable, V any](m map[K]V, key K, value V) {
	const most = 1 << 12
	if len(m) >= most {
		clear(m)
	}
	m[key] = value
}

// standing is what a place says, worked out once for those that have a name.
func (d *Driver) standing(at place, r version) *standing {
	type key struct {
		at place
		r  version
	}
	if st, ok := d.standings.Load(key{at, r}); ok {
		return st.(*standing)
	}
	st := &standing{raw: at.raw(r), allowed: allowed(at, r), operations: at.currentOperation(r)}
	st.state, st.base = at.unified(r)
	if st.raw.State != "" && (!at.active() || st.raw.LCMState != "") {
		d.standings.Store(key{at, r}, st)
	}
	return st
}

func (d *decoder) displayName(from source) { d.vm.DisplayName = d.room.texts.put(from.text(0)) }

func (d *decoder) state(source) { d.vm.State, d.vm.BaseState = d.standing().state, d.standing().base }

func (d *decoder) rawState(source) { d.vm.RawState = d.standing().raw }

func (d *decoder) allowedActions(source) { d.vm.AllowedActions = d.standing().allowed }

func (d *decoder) currentOperations(source) { d.vm.CurrentOperations = d.standing().operations }

type hostKey struct{ id, name string }

// host is that of the last history record, which stays for ever: only a VM that has a place is there.
func (d *decoder) host(from source) {
	if !d.at.placed() {
		return
	}
	var last element
	newest := -1
	from.elements(1, func(e element) {
		if n := sequenceOf(e.text("SEQ")); n >= newest {
			newest, last = n, e
		}
	})
	if newest < 0 {
		return
	}
	key := hostKey{last.text("HID"), last.text("HOSTNAME")}
	host, ok := d.hosts[key]
	if !ok {
		host = d.driver.ref(key.id, key.name)
		keep(d.hosts, key, host)
	}
	d.vm.Host = host
}

type ownerKey struct{ user, userName, group, groupName string }

func (d *decoder) owner(from source) {
	key := ownerKey{from.text(0), from.text(1), from.text(2), from.text(3)}
	owner, ok := d.owners[key]
	if !ok {
		owner = d.driver.owner(key)
		keep(d.owners, key, owner)
	}
	d.vm.Owner = owner
}

// processors is the VM's CPU, once there is something to put into it. Those below are likewise.
func (d *decoder) processors() *backends.CPU {
	d.vm.CPU = &d.cpu
	return &d.cpu
}

func (d *decoder) vcpus(from source) {
	if n := d.whole(from.text(0)); n != nil {
		d.processors().VCPUs = n
	}
}

func (d *decoder) maxVCPUs(from source) {
	if n := d.whole(from.text(0)); n != nil {
		d.processors().MaxVCPUs = n
	}
}

func (d *decoder) share(from source) {
	if f, ok := parseDecimal(from.text(0)); ok {
		d.processors().Share = d.floats.put(f)
	}
}

func (d *decoder) ram() *backends.Memory {
	d.vm.Memory = &d.memory
	return &d.memory
}

func (d *decoder) dynamicMax(from source) {
	if n := d.bytes(from.text(0)); n != nil {
		d.ram().DynamicMaxBytes = n
	}
}

func (d *decoder) staticMax(from source) {
	if n := d.bytes(from.text(0)); n != nil {
		d.ram().StaticMaxBytes = n
	}
}

func (d *decoder) domainID(from source) {
	if id := from.text(0); id != "" {
		d.vm.Runtime = &d.runtime
		d.runtime.DomainID = id
	}
}

func (d *decoder) architecture(from source) {
	if arch := from.text(0); arch != "" {
		d.vm.Runtime = &d.runtime
		d.runtime.Architecture = arch
	}
}

func (d *decoder) createTime(from source) { d.vm.CreateTime = d.moment(from.text(0)) }

func (d *decoder) own() *backends.OpenNebulaVM {
	d.vm.OpenNebula = &d.one
	return &d.one
}

func (d *decoder) rescheduled(from source) { d.own().Rescheduled = yes(from.text(0)) }

func (d *decoder) lastPoll(from source) { d.own().LastPoll = d.moment(from.text(0)) }

func (d *decoder) endTime(from source) { d.own().EndTime = d.moment(from.text(0)) }

func (d *decoder) description(from source) { d.vm.Description = d.filled(from.text(0)) }

func (d *decoder) bootPV(from source) {
	d.pv = backends.BootPV{
		Bootloader: d.filled(from.text(0)), Kernel: d.filled(from.text(1)), Ramdisk: d.filled(from.text(2)), Args: d.filled(from.text(3)),
	}
	if d.pv != (backends.BootPV{}) {
		d.boot = backends.Boot{PV: &d.pv}
		d.vm.Boot = &d.boot
	}
}

// bootHVM comes after bootPV.
func (d *decoder) bootHVM(from source) {
	params := emptied(&d.params)
	for i, name := range []string{"order", "firmware"} {
		if text := from.text(i); text != "" {
			params[name] = text
		}
	}
	if len(params) == 0 {
		return
	}
	if d.vm.Boot == nil {
		d.boot = backends.Boot{}
		d.vm.Boot = &d.boot
	}
	d.hvm = backends.BootHVM{Params: params}
	d.boot.HVM = &d.hvm
}

func (d *decoder) features(from source) {
	all := emptied(&d.platform)
	from.leaves(0, func(name, text string) { all[name] = text })
	if len(all) > 0 {
		d.vm.Platform = all
	}
}

func (d *decoder) requirements(from source) {
	text := d.filled(from.text(0))
	if text == nil {
		return
	}
	d.placement = backends.Placement{Requirements: text}
	d.vm.Placement = &d.placement
	if host, ok := hostOf(*text); ok {
		d.placement.PreferredHost = d.ref(host, "")
	}
}

// rank comes after requirements.
func (d *decoder) rank(from source) {
	text := d.filled(from.text(0))
	switch {
	case text == nil:
		return
	case d.vm.Placement == nil:
		d.placement = backends.Placement{}
		d.vm.Placement = &d.placement
	}
	d.placement.Rank = text
}

// userAttributes are the single attributes of USER_TEMPLATE that no other member shows. Vectors and
// repeated attributes have no place in a map: the NATIVE view has them.
func (d *decoder) userAttributes(from source) {
	all := emptied(&d.room.annotations)
	d.vm.Annotations = all
	var twice map[string]bool
	core := !d.release.hasFeature(userTemplate)
	from.leaves(0, func(name, text string) {
		if reservedKeys[name] || core && slices.Contains(coreKeys, name) {
			return
		}
		if _, seen := all[name]; seen {
			if twice == nil {
				twice = map[string]bool{}
			}
			twice[name] = true
		}
		all[name] = text
	})
	for name := range twice {
		delete(all, name)
	}
}

// permissions has nine paths: what owner, group and others may use, manage and administer.
func (d *decoder) permissions(from source) {
	told := false
	bits := func(at int) backends.PermissionBits {
		told = told || from.has(at) || from.has(at+1) || from.has(at+2)
		return backends.PermissionBits{Use: from.text(at) == "1", Manage: from.text(at+1) == "1", Admin: from.text(at+2) == "1"}
	}
	d.rights = backends.Permissions{Owner: bits(0), Group: bits(3), Other: bits(6)}
	if told {
		d.own().Permissions = &d.rights
	}
}

func (d *decoder) templateID(from source) {
	if _, ok := number(from.text(0)); ok {
		d.own().TemplateID = d.ids.put(backends.ID{Backend: d.driver.cfg.Name, Native: from.text(0)})
	}
}

// lockNames are the values of LOCK/LOCKED. Source: include/PoolObjectSQL.h, enum LockStates.
var lockNames = map[string]string{"1": "USE", "2": "MANAGE", "3": "ADMIN", "4": "ALL"}

func (d *decoder) lock(from source) { d.own().Lock = lockNames[from.text(0)] }

func (d *decoder) userError(from source) { d.own().Error = from.text(0) }

// add makes an element of a list by its table.
func add[T any](list []T, rows []elementField[T], d *decoder, e element) []T {
	var zero T
	list = append(list, zero)
	for _, row := range rows {
		row.decode(d, e, &list[len(list)-1])
	}
	return list
}

// diskFields is how TEMPLATE/DISK, and the context's CDROM, become a disk.
var diskFields = []elementField[backends.Disk]{
	{"id", "DISK_ID", "", func(d *decoder, e element, to *backends.Disk) { to.ID = d.id(e.text("DISK_ID")) }},
	{"device", "TARGET", "", func(_ *decoder, e element, to *backends.Disk) { to.Device = e.text("TARGET") }},
	{"type", "TYPE", "", func(_ *decoder, e element, to *backends.Disk) { to.Type = diskType(e) }},
	{"mode", "READONLY TYPE", "", func(_ *decoder, e element, to *backends.Disk) { to.Mode = diskMode(e) }},
	{"attached", "DISK_ID", "", func(_ *decoder, _ element, to *backends.Disk) { to.Attached = truth(true) }},
	{"sizeBytes", "SIZE", "MiB", func(d *decoder, e element, to *backends.Disk) { to.SizeBytes = d.bytes(e.text("SIZE")) }},
	{"image.id image.displayName", "IMAGE_ID IMAGE", "", func(d *decoder, e element, to *backends.Disk) {
		to.Image = d.ref(e.text("IMAGE_ID"), e.text("IMAGE"))
	}},
	{"storage.id storage.displayName", "DATASTORE_ID DATASTORE", "", func(d *decoder, e element, to *backends.Disk) {
		to.Storage = d.ref(e.text("DATASTORE_ID"), e.text("DATASTORE"))
	}},
	{"persistent", "PERSISTENT IMAGE_ID", "", func(_ *decoder, e element, to *backends.Disk) {
		if to.Image != nil {
			to.Persistent = truth(isYes(e.text("PERSISTENT")))
		}
	}},
}

const contextDisk = 1 // the place of TEMPLATE/CONTEXT/ among the row's paths

func (d *decoder) diskList(from source) {
	from.elements(2, func(e element) {
		if _, ok := number(e.text("DISK_ID")); ok { // a context that no disk was made for has none
			d.disks = add(d.disks, diskFields, d, e)
		}
	})
	d.vm.Disks = d.disks
	if d.disks == nil {
		d.vm.Disks = []backends.Disk{}
	}
}

// diskUse is the last sample of each disk's size.
func (d *decoder) diskUse(from source) {
	from.elements(1, func(e element) {
		for i := range d.disks {
			if disk := &d.disks[i]; disk.ID.Native == e.text("ID") && disk.UsedBytes == nil {
				disk.UsedBytes = d.bytes(e.text("SIZE"))
			}
		}
	})
}

// bootOrder is OS/BOOT since 5.0: "disk0,nic0". Before, it named kinds of devices.
func (d *decoder) bootOrder(from source) {
	text := from.text(0)
	if text == "" {
		return
	}
	for i := range d.disks {
		disk := &d.disks[i]
		disk.Bootable = truth(false)
		for device := range strings.SplitSeq(text, ",") {
			if name, ok := strings.CutPrefix(strings.TrimSpace(device), "disk"); ok && name == disk.ID.Native {
				disk.Bootable = truth(true)
			}
		}
	}
}

// diskTypes are the values of DISK/TYPE. Source: src/image/Image.cc and the storage guides.
var diskTypes = map[string]string{
	"FILE": "DISK", "BLOCK": "DISK", "RBD": "DISK", "GLUSTER": "DISK", "SHEEPDOG": "DISK", "ISCSI": "DISK", "NVMEOF": "DISK",
	"CDROM": "CDROM", "RBD_CDROM": "CDROM", "GLUSTER_CDROM": "CDROM", "SHEEPDOG_CDROM": "CDROM",
	"SWAP": "SWAP", "FS": "FS", "FILESYSTEM": "FS",
}

func diskType(e element) string {
	if e.slot == contextDisk {
		return "CONTEXT"
	}
	if t, ok := diskTypes[strings.ToUpper(e.text("TYPE"))]; ok {
		return t
	}
	return "UNKNOWN"
}

func diskMode(e element) string {
	if t := diskType(e); t == "CDROM" || t == "CONTEXT" || isYes(e.text("READONLY")) {
		return "RO"
	}
	return "RW"
}

// nicFields is how TEMPLATE/NIC, NIC_ALIAS, and PCI devices that are network cards, become a NIC.
var nicFields = []elementField[backends.NIC]{
	{"id", "NIC_ID", "", func(d *decoder, e element, to *backends.NIC) { to.ID = d.id(e.text("NIC_ID")) }},
	{"device", "NAME", "", func(_ *decoder, e element, to *backends.NIC) { to.Device = e.text("NAME") }},
	{"mac", "MAC", "", func(_ *decoder, e element, to *backends.NIC) { to.MAC = e.text("MAC") }},
	{"mtu", "MTU", "", func(d *decoder, e element, to *backends.NIC) { to.MTU = d.whole(e.text("MTU")) }},
	{"network.id network.displayName", "NETWORK_ID NETWORK", "", func(d *decoder, e element, to *backends.NIC) {
		to.Network = d.ref(e.text("NETWORK_ID"), e.text("NETWORK"))
	}},
	{"addresses", strings.Join(addressKeys, " "), "", func(d *decoder, e element, to *backends.NIC) { to.Addresses = d.addresses(e) }},
	{"attached", "NIC_ID", "", func(_ *decoder, _ element, to *backends.NIC) { to.Attached = truth(true) }},
	{"alias", "NIC_ID", "", func(_ *decoder, e element, to *backends.NIC) { to.Alias = truth(e.slot == aliasNIC) }},
	{"parent", "PARENT_ID", "", func(d *decoder, e element, to *backends.NIC) {
		if id := e.text("PARENT_ID"); d.driver.CheckID(id) {
			to.Parent = d.ids.put(d.id(id))
		}
	}},
}

const aliasNIC = 1 // the place of TEMPLATE/NIC_ALIAS/ among the row's paths

func (d *decoder) nicList(from source) {
	from.elements(3, func(e element) {
		if _, ok := number(e.text("NIC_ID")); ok {
			d.nics = add(d.nics, nicFields, d, e)
		}
	})
	d.vm.NICs = d.nics
	if d.nics == nil {
		d.vm.NICs = []backends.NIC{}
	}
}

// addressKeys are where a NIC has addresses.
var addressKeys = []string{"IP", "IP6", "IP6_GLOBAL", "IP6_ULA", "IP6_LINK", "EXTERNAL_IP"}

// addresses are a NIC's, each once; nil when it has none.
func (d *decoder) addresses(e element) []string {
	from := len(d.lists)
	for _, key := range addressKeys {
		if text := e.text(key); text != "" && !slices.Contains(d.lists[from:], text) {
			d.lists = append(d.lists, text)
		}
	}
	if len(d.lists) == from {
		return nil
	}
	return slices.Clip(d.lists[from:])
}

// historyFields is how HISTORY_RECORDS/HISTORY becomes a stay on a host.
var historyFields = []elementField[backends.HistoryRecord]{
	{"sequence", "SEQ", "", func(_ *decoder, e element, to *backends.HistoryRecord) { to.Sequence, _ = parseWhole(e.text("SEQ")) }},
	{"host.id host.displayName", "HID HOSTNAME", "", func(d *decoder, e element, to *backends.HistoryRecord) {
		to.Host = backends.Ref{ID: d.id(e.text("HID")), DisplayName: e.text("HOSTNAME")}
	}},
	{"storage.id", "DS_ID", "", func(d *decoder, e element, to *backends.HistoryRecord) { to.Storage = d.ref(e.text("DS_ID"), "") }},
	{"action actionCode", "ACTION", "", func(d *decoder, e element, to *backends.HistoryRecord) {
		if to.ActionCode = d.whole(e.text("ACTION")); to.ActionCode == nil {
			return
		}
		if n := *to.ActionCode; n >= 0 && n < int64(len(historyActions)) {
			to.Action = historyActions[n]
		}
	}},
	{"startTime", "STIME", "seconds since 1970", func(d *decoder, e element, to *backends.HistoryRecord) { to.StartTime = d.moment(e.text("STIME")) }},
	{"endTime", "ETIME", "seconds since 1970", func(d *decoder, e element, to *backends.HistoryRecord) { to.EndTime = d.moment(e.text("ETIME")) }},
}

// stays are in the order of SEQ. One without it, or without a host, has nothing to hang on.
func (d *decoder) stays(from source) {
	from.elements(1, func(e element) {
		_, placed := number(e.text("HID"))
		if _, ok := parseWhole(e.text("SEQ")); ok && placed {
			d.room.history = add(d.room.history, historyFields, d, e)
		}
	})
	slices.SortStableFunc(d.room.history, func(a, b backends.HistoryRecord) int { return int(a.Sequence - b.Sequence) })
	if len(d.room.history) > 0 {
		d.own().History = d.room.history
	}
}

// historyActions are the numbers of HISTORY/ACTION. Source: include/VMActions.h. Up to 4.14 the
// number was that of the reason instead and is not in the document.
var historyActions = []string{
	"none", "migrate", "live-migrate", "shutdown", "shutdown-hard", "undeploy", "undeploy-hard", "hold", "release", "stop",
	"suspend", "resume", "boot", "delete", "delete-recreate", "reboot", "reboot-hard", "resched", "unresched", "poweroff",
	"poweroff-hard", "disk-attach", "disk-detach", "nic-attach", "nic-detach", "disk-snapshot-create", "disk-snapshot-delete",
	"terminate", "terminate-hard", "disk-resize", "deploy", "chown", "chmod", "updateconf", "rename", "resize", "update",
	"snapshot-create", "snapshot-delete", "snapshot-revert", "disk-saveas", "disk-snapshot-revert", "recover", "retry", "monitor",
	"disk-snapshot-rename", "alias-attach", "alias-detach", "poff-migrate", "poff-hard-migrate", "backup", "nic-update",
	"backup-cancel", "sched-add", "sched-update", "sched-delete", "sg-attach", "sg-detach", "pci-attach", "pci-detach", "restore",
	"exec", "exec-retry", "exec-cancel", "vmgroup-add", "vmgroup-del",
}

func (d *decoder) id(native string) backends.ID {
	return backends.ID{Backend: d.driver.cfg.Name, Native: native}
}

// ref is another object, or nil for what OpenNebula says for none: -1, or nothing.
func (d *decoder) ref(native, name string) *backends.Ref {
	if _, ok := number(native); !ok {
		return nil
	}
	return d.refs.put(backends.Ref{ID: d.id(native), DisplayName: name})
}

func (d *decoder) whole(text string) *int64 {
	n, ok := parseWhole(text)
	if !ok {
		return nil
	}
	return d.ints.put(n)
}

// bytes is a number of MiB.
func (d *decoder) bytes(text string) *int64 {
	n, ok := parseScaled(text, mib)
	if !ok {
		return nil
	}
	return d.ints.put(n)
}

func (d *decoder) moment(text string) *time.Time {
	t, ok := parseMoment(text)
	if !ok {
		return nil
	}
	return d.times.put(t)
}

func (d *decoder) filled(text string) *string {
	if text == "" {
		return nil
	}
	return d.room.texts.put(text)
}
