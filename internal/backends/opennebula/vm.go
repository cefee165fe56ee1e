package opennebula

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
)

// machine is a VM document, with what everything else hangs on read out of it.
type machine struct {
	id int
	at place
	record
}

// parseMachine decodes a VM. One without an id, a name or a state is damaged.
func parseMachine(e wire.Element) (*machine, error) {
	rec, err := parseRecord(e)
	if err != nil {
		return nil, err
	}
	m := &machine{record: rec}
	if m.id, err = rec.need("ID"); err != nil {
		return nil, err
	}
	if !rec.has("NAME") {
		return nil, errors.New("VM without NAME")
	}
	for _, field := range []struct {
		name string
		to   *int
	}{{"STATE", &m.at.state}, {"LCM_STATE", &m.at.lcm}} {
		n, err := strconv.Atoi(rec.text(field.name))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("VM without a usable %s", field.name)
		}
		*field.to = n
	}
	if !m.at.active() {
		m.at.lcm = 0 // without a meaning then
	}
	return m, nil
}

// placed reports whether the VM is on a host: the history keeps the last host for ever.
func (m *machine) placed() bool {
	return m.at.active() || m.at.state == stSuspended || m.at.state == stPoweroff
}

// user is USER_TEMPLATE. Up to 3.8 there was none, and what users wrote stood beside the core's own
// attributes.
func (m *machine) user() record {
	if m.has("USER_TEMPLATE") {
		return m.get("USER_TEMPLATE")
	}
	user := record{Name: "USER_TEMPLATE"}
	for _, kid := range m.get("TEMPLATE").Kids {
		if !slices.Contains(coreKeys, kid.Name) {
			user.Kids = append(user.Kids, kid)
		}
	}
	return user
}

// history is the records in the order of SEQ. Lists of 5.8 and later give the last one only.
func (m *machine) history() []record {
	all := m.get("HISTORY_RECORDS").all("HISTORY")
	slices.SortStableFunc(all, func(a, b record) int { return sequence(a) - sequence(b) })
	return all
}

func sequence(h record) int {
	n, _ := number(h.text("SEQ"))
	return n
}

// last is the current history record; the zero record for a VM that was never placed.
func (m *machine) last() record {
	all := m.history()
	if len(all) == 0 {
		return record{}
	}
	return all[len(all)-1]
}

// vm is a machine in the gateway's words, as far as view goes.
func (d *Driver) vm(m *machine, view backends.View, r version) *backends.VM {
	vm := &backends.VM{ID: d.id(m.id), Backend: d.cfg.Name, Kind: backends.OpenNebula, UID: strconv.Itoa(m.id)}
	if view == backends.ViewID {
		return vm
	}
	d.basic(vm, m, r)
	if view == backends.ViewBasic {
		return vm
	}
	d.full(vm, m)
	vm.ETag = backends.ETag(vm)
	if view == backends.ViewNative {
		vm.Native = native(m.record, vmTypes)
	}
	return vm
}

// basic fills in what lists have as well: those of 5.8 and later leave the rest out.
func (d *Driver) basic(vm *backends.VM, m *machine, r version) {
	vm.DisplayName = new(m.text("NAME"))
	vm.State, vm.BaseState = m.at.unified(r)
	vm.RawState = m.at.raw(r)
	vm.AllowedActions = allowed(m.at, r)
	vm.CurrentOperations = m.at.currentOperation(r)
	if m.placed() {
		h := m.last()
		vm.Host = d.ref(h.text("HID"), h.text("HOSTNAME"))
	}
	vm.Owner = d.owner(m.record)
	t := m.get("TEMPLATE")
	vm.CPU = cpu(t)
	vm.Memory = memory(t)
	if id := m.text("DEPLOY_ID"); id != "" {
		vm.Runtime = &backends.Runtime{DomainID: id}
	}
	vm.CreateTime = moment(m.text("STIME"))
	vm.OpenNebula = &backends.OpenNebulaVM{
		Rescheduled: yes(m.text("RESCHED")),
		LastPoll:    moment(m.text("LAST_POLL")),
		EndTime:     moment(m.text("ETIME")),
	}
}

func (d *Driver) full(vm *backends.VM, m *machine) {
	t, user := m.get("TEMPLATE"), m.user()
	vm.Description = filled(user.text("DESCRIPTION"))
	vm.CPU = cpu(t)
	vm.Boot = boot(t.get("OS"))
	vm.Platform = pairs(t.get("FEATURES"))
	if arch := t.get("OS").text("ARCH"); arch != "" {
		vm.Runtime = orElse(vm.Runtime, &backends.Runtime{})
		vm.Runtime.Architecture = arch
	}
	if req, rank := filled(user.text(attrRequirements)), filled(user.text(attrRank)); req != nil || rank != nil {
		vm.Placement = &backends.Placement{Requirements: req, Rank: rank}
		if host, ok := hostOf(user.text(attrRequirements)); ok {
			vm.Placement.PreferredHost = d.ref(host, "")
		}
	}
	vm.Annotations = annotations(user)
	vm.Disks = d.disks(m)
	vm.NICs = d.nics(m)
	one := vm.OpenNebula
	one.Permissions = permissions(m.get("PERMISSIONS"))
	if id, ok := number(t.text("TEMPLATE_ID")); ok {
		one.TemplateID = new(d.id(id))
	}
	one.Lock = lockNames[m.get("LOCK").text("LOCKED")]
	one.Error = user.text("ERROR")
	one.History = d.historyRecords(m)
}

// lockNames are the values of LOCK/LOCKED. Source: include/PoolObjectSQL.h, enum LockStates.
var lockNames = map[string]string{"1": "USE", "2": "MANAGE", "3": "ADMIN", "4": "ALL"}

func (d *Driver) owner(r record) *backends.Owner {
	o := &backends.Owner{User: d.ref(r.text("UID"), r.text("UNAME")), Group: d.ref(r.text("GID"), r.text("GNAME"))}
	if o.User == nil && o.Group == nil {
		return nil
	}
	return o
}

func cpu(t record) *backends.CPU {
	c := backends.CPU{VCPUs: integer(t.text("VCPU")), MaxVCPUs: integer(t.text("VCPU_MAX")), Share: decimal(t.text("CPU"))}
	if c.VCPUs == nil && c.MaxVCPUs == nil && c.Share == nil {
		return nil
	}
	return &c
}

func memory(t record) *backends.Memory {
	m := backends.Memory{DynamicMaxBytes: scaled(t.text("MEMORY"), mib), StaticMaxBytes: scaled(t.text("MEMORY_MAX"), mib)}
	if m.DynamicMaxBytes == nil && m.StaticMaxBytes == nil {
		return nil
	}
	return &m
}

// boot is TEMPLATE/OS; nil when it says nothing of booting.
func boot(os record) *backends.Boot {
	pv := backends.BootPV{
		Bootloader: filled(os.text("BOOTLOADER")), Kernel: filled(os.text("KERNEL")),
		Ramdisk: filled(os.text("INITRD")), Args: filled(os.text("KERNEL_CMD")),
	}
	params := map[string]string{}
	for param, key := range bootParams {
		if value := os.text(key); value != "" {
			params[param] = value
		}
	}
	var b backends.Boot
	if pv != (backends.BootPV{}) {
		b.PV = &pv
	}
	if len(params) > 0 {
		b.HVM = &backends.BootHVM{Params: params}
	}
	if b == (backends.Boot{}) {
		return nil
	}
	return &b
}

// pairs is a vector attribute as a map; nil when there is none.
func pairs(r record) map[string]string {
	if !r.vector() {
		return nil
	}
	m := make(map[string]string, len(r.Kids))
	for _, kid := range r.Kids {
		m[kid.Name] = kid.Text
	}
	return m
}

// annotations are the single attributes of USER_TEMPLATE that no other member shows. Vectors and
// repeated attributes have no place in a map: the NATIVE view has them.
func annotations(user record) map[string]string {
	m := map[string]string{}
	for _, kid := range user.Kids {
		if !kid.vector() && !reservedKeys[kid.Name] && len(user.all(kid.Name)) == 1 {
			m[kid.Name] = kid.Text
		}
	}
	return m
}

func permissions(p record) *backends.Permissions {
	if !p.vector() {
		return nil
	}
	bits := func(circle string) backends.PermissionBits {
		on := func(bit string) bool { return p.text(circle+bit) == "1" }
		return backends.PermissionBits{Use: on("_U"), Manage: on("_M"), Admin: on("_A")}
	}
	return &backends.Permissions{Owner: bits("OWNER"), Group: bits("GROUP"), Other: bits("OTHER")}
}

func (d *Driver) historyRecords(m *machine) []backends.HistoryRecord {
	var records []backends.HistoryRecord
	for _, h := range m.history() {
		host := d.ref(h.text("HID"), h.text("HOSTNAME"))
		seq := integer(h.text("SEQ"))
		if host == nil || seq == nil {
			continue // there is nothing to hang the stay on
		}
		rec := backends.HistoryRecord{
			Sequence: *seq, Host: *host, Storage: d.ref(h.text("DS_ID"), ""),
			StartTime: moment(h.text("STIME")), EndTime: moment(h.text("ETIME")),
		}
		if code := integer(h.text("ACTION")); code != nil {
			rec.ActionCode = code
			if *code >= 0 && *code < int64(len(historyActions)) {
				rec.Action = historyActions[*code]
			}
		}
		records = append(records, rec)
	}
	return records
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

// disks are TEMPLATE/DISK and the context's CDROM.
func (d *Driver) disks(m *machine) []backends.Disk {
	t := m.get("TEMPLATE")
	disks := []backends.Disk{}
	order := bootOrder(t)
	for _, rec := range t.all("DISK", "CONTEXT") {
		id, ok := number(rec.text("DISK_ID"))
		if !ok {
			continue // a context that no disk was made for
		}
		disk := backends.Disk{
			ID: d.id(id), Device: rec.text("TARGET"), Type: diskType(rec), Mode: "RW", Attached: new(true),
			SizeBytes: scaled(rec.text("SIZE"), mib), UsedBytes: usedBytes(m, id),
			Image: d.ref(rec.text("IMAGE_ID"), rec.text("IMAGE")), Storage: d.ref(rec.text("DATASTORE_ID"), rec.text("DATASTORE")),
		}
		if readOnly := yes(rec.text("READONLY")); disk.Type == "CDROM" || disk.Type == "CONTEXT" || readOnly != nil && *readOnly {
			disk.Mode = "RO"
		}
		if order != nil {
			disk.Bootable = new(slices.Contains(order, "disk"+strconv.Itoa(id)))
		}
		if disk.Image != nil {
			persistent := yes(rec.text("PERSISTENT"))
			disk.Persistent = new(persistent != nil && *persistent)
		}
		disks = append(disks, disk)
	}
	return disks
}

// bootOrder is OS/BOOT since 5.0: "disk0,nic0". Before, it named kinds of devices.
func bootOrder(t record) []string {
	text := t.get("OS").text("BOOT")
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// diskTypes are the values of DISK/TYPE. Source: src/image/Image.cc and the storage guides.
var diskTypes = map[string]string{
	"FILE": "DISK", "BLOCK": "DISK", "RBD": "DISK", "GLUSTER": "DISK", "SHEEPDOG": "DISK", "ISCSI": "DISK", "NVMEOF": "DISK",
	"CDROM": "CDROM", "RBD_CDROM": "CDROM", "GLUSTER_CDROM": "CDROM", "SHEEPDOG_CDROM": "CDROM",
	"SWAP": "SWAP", "FS": "FS", "FILESYSTEM": "FS",
}

func diskType(rec record) string {
	if rec.Name == "CONTEXT" {
		return "CONTEXT"
	}
	if t, ok := diskTypes[strings.ToUpper(rec.text("TYPE"))]; ok {
		return t
	}
	return "UNKNOWN"
}

// usedBytes is the last sample of a disk's size, in MiB.
func usedBytes(m *machine, disk int) *int64 {
	for _, s := range m.get("MONITORING").all("DISK_SIZE") {
		if s.text("ID") == strconv.Itoa(disk) {
			return scaled(s.text("SIZE"), mib)
		}
	}
	return nil
}

// nics are TEMPLATE/NIC, NIC_ALIAS, and PCI devices that are network cards.
func (d *Driver) nics(m *machine) []backends.NIC {
	nics := []backends.NIC{}
	for _, rec := range m.get("TEMPLATE").all("NIC", "NIC_ALIAS", "PCI") {
		id, ok := number(rec.text("NIC_ID"))
		if !ok {
			continue
		}
		nic := backends.NIC{
			ID: d.id(id), Device: rec.text("NAME"), MAC: rec.text("MAC"), MTU: integer(rec.text("MTU")),
			Network: d.ref(rec.text("NETWORK_ID"), rec.text("NETWORK")), Addresses: addresses(rec), Attached: new(true),
			Alias: new(rec.Name == "NIC_ALIAS"),
		}
		if parent, ok := number(rec.text("PARENT_ID")); ok {
			nic.Parent = new(d.id(parent))
		}
		nics = append(nics, nic)
	}
	return nics
}

// addressKeys are where a NIC has addresses.
var addressKeys = []string{"IP", "IP6", "IP6_GLOBAL", "IP6_ULA", "IP6_LINK", "EXTERNAL_IP"}

func addresses(rec record) []string {
	var found []string
	for _, key := range addressKeys {
		if text := rec.text(key); text != "" && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	return found
}

// usage is what a VM needs of a host, in the units of HOST_SHARE.
func (m *machine) usage() (cpu, memory int64, known bool) {
	t := m.get("TEMPLATE")
	share, mem := decimal(t.text("CPU")), integer(t.text("MEMORY"))
	if share == nil || mem == nil || *mem < 0 || *mem > math.MaxInt64/kib {
		return 0, 0, false
	}
	return int64(math.Ceil(*share * 100)), *mem * kib, true
}
