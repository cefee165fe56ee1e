package opennebula

import (
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

// vmField is a row of the table: members of a VM that come from the same places, and how.
type vmField struct {
	members string // separated by blanks, as are sources
	sources string // paths below VM: see [scan.NewTable]
	unit    string
	view    backends.View
	decode  func(*decoder, source) // nil for what every VM has
	leftOut bool                   // by abridged lists of some releases or all, though view is BASIC
	parts   []backends.Field       // of a list's elements: their members and sources, below those of the row
}

const (
	basic = backends.ViewBasic
	full  = backends.ViewFull
)

// vmFields is how a VM document becomes a VM. Lists, single reads and the watcher decode by it, and the
// documentation is made of it. Sources: OpenNebula share/doc/xsd/vm.xsd of 7.4.0, and each release's
// src/vm/VirtualMachine.cc.
var vmFields = []vmField{
	{members: "id uid", sources: "ID", view: backends.ViewID},
	{members: "backend kind", view: backends.ViewID},

	{members: "displayName", sources: "NAME", view: basic, decode: (*decoder).displayName},
	{members: "state baseState", sources: "STATE LCM_STATE", view: basic, decode: (*decoder).state},
	{members: "rawState.state rawState.stateCode rawState.stateShort rawState.lcmState rawState.lcmStateCode rawState.lcmStateShort",
		sources: "STATE LCM_STATE", view: basic, decode: (*decoder).rawState},
	{members: "allowedActions[].action allowedActions[].raw", sources: "STATE LCM_STATE", view: basic, decode: (*decoder).allowedActions},
	{members: "currentOperations[].action currentOperations[].raw", sources: "STATE LCM_STATE", view: basic, decode: (*decoder).currentOperations},
	{members: "host.id host.displayName", sources: "HISTORY_RECORDS/HISTORY/ HISTORY_RECORDS/HISTORY/SEQ HISTORY_RECORDS/HISTORY/HID HISTORY_RECORDS/HISTORY/HOSTNAME STATE LCM_STATE",
		view: basic, decode: (*decoder).host},
	{members: "owner.user.id owner.user.displayName owner.group.id owner.group.displayName", sources: "UID UNAME GID GNAME", view: basic, decode: (*decoder).owner},
	{members: "cpu.vcpus", sources: "TEMPLATE/VCPU", view: basic, decode: (*decoder).vcpus, leftOut: true},
	{members: "cpu.maxVcpus", sources: "TEMPLATE/VCPU_MAX", view: basic, decode: (*decoder).maxVCPUs, leftOut: true},
	{members: "cpu.share", sources: "TEMPLATE/CPU", view: basic, decode: (*decoder).share},
	{members: "memory.dynamicMaxBytes", sources: "TEMPLATE/MEMORY", unit: "MiB", view: basic, decode: (*decoder).dynamicMax},
	{members: "memory.staticMaxBytes", sources: "TEMPLATE/MEMORY_MAX", unit: "MiB", view: basic, decode: (*decoder).staticMax, leftOut: true},
	{members: "runtime.domainId", sources: "DEPLOY_ID", view: basic, decode: (*decoder).domainID},
	{members: "createTime", sources: "STIME", unit: "seconds since 1970", view: basic, decode: (*decoder).createTime},
	{members: "opennebula.rescheduled", sources: "RESCHED", view: basic, decode: (*decoder).rescheduled},
	{members: "opennebula.lastPollTime", sources: "LAST_POLL", unit: "seconds since 1970", view: basic, decode: (*decoder).lastPoll},
	{members: "opennebula.endTime", sources: "ETIME", unit: "seconds since 1970", view: basic, decode: (*decoder).endTime},

	{members: "description", sources: "USER_TEMPLATE/DESCRIPTION", view: full, decode: (*decoder).description},
	{members: "boot.pv.bootloader boot.pv.kernel boot.pv.ramdisk boot.pv.args",
		sources: "TEMPLATE/OS/BOOTLOADER TEMPLATE/OS/KERNEL TEMPLATE/OS/INITRD TEMPLATE/OS/KERNEL_CMD", view: full, decode: (*decoder).bootPV},
	{members: "boot.hvm.params", sources: "TEMPLATE/OS/BOOT TEMPLATE/OS/FIRMWARE", view: full, decode: (*decoder).bootHVM},
	{members: "platform", sources: "TEMPLATE/FEATURES/*", view: full, decode: (*decoder).features},
	{members: "placement.requirements placement.preferredHost.id", sources: "USER_TEMPLATE/SCHED_REQUIREMENTS", view: full, decode: (*decoder).requirements},
	{members: "placement.rank", sources: "USER_TEMPLATE/SCHED_RANK", view: full, decode: (*decoder).rank},
	{members: "runtime.architecture", sources: "TEMPLATE/OS/ARCH", view: full, decode: (*decoder).architecture},
	{members: "annotations", sources: "USER_TEMPLATE/*", view: full, decode: (*decoder).userAttributes},
	{members: "disks[]", sources: "TEMPLATE/DISK/ TEMPLATE/CONTEXT/", view: full, decode: (*decoder).diskList, parts: fieldsOf(diskFields)},
	{members: "disks[].usedBytes", sources: "MONITORING/DISK_SIZE/ MONITORING/DISK_SIZE/ID MONITORING/DISK_SIZE/SIZE", unit: "MiB", view: full, decode: (*decoder).diskUse},
	{members: "disks[].bootable", sources: "TEMPLATE/OS/BOOT", view: full, decode: (*decoder).bootOrder},
	{members: "nics[]", sources: "TEMPLATE/NIC/ TEMPLATE/NIC_ALIAS/ TEMPLATE/PCI/", view: full, decode: (*decoder).nicList, parts: fieldsOf(nicFields)},
	{members: "opennebula.permissions.owner.use opennebula.permissions.owner.manage opennebula.permissions.owner.admin " +
		"opennebula.permissions.group.use opennebula.permissions.group.manage opennebula.permissions.group.admin " +
		"opennebula.permissions.other.use opennebula.permissions.other.manage opennebula.permissions.other.admin",
		sources: "PERMISSIONS/OWNER_U PERMISSIONS/OWNER_M PERMISSIONS/OWNER_A PERMISSIONS/GROUP_U PERMISSIONS/GROUP_M PERMISSIONS/GROUP_A " +
			"PERMISSIONS/OTHER_U PERMISSIONS/OTHER_M PERMISSIONS/OTHER_A", view: full, decode: (*decoder).permissions},
	{members: "opennebula.templateId", sources: "TEMPLATE/TEMPLATE_ID", view: full, decode: (*decoder).templateID},
	{members: "opennebula.lock", sources: "LOCK/LOCKED", view: full, decode: (*decoder).lock},
	{members: "opennebula.error", sources: "USER_TEMPLATE/ERROR", view: full, decode: (*decoder).userError},
	{members: "opennebula.history[]", sources: "HISTORY_RECORDS/HISTORY/", view: full, decode: (*decoder).stays, parts: fieldsOf(historyFields)},
	{members: "etag", view: full},
	{members: "native", sources: "*", view: backends.ViewNative},
}

// elementField is a row of a table of a list's elements.
type elementField[T any] struct {
	members string // below the element; separated by blanks, as are sources
	sources string // below the element
	unit    string
	decode  func(d *decoder, e element, to *T)
}

func fieldsOf[T any](rows []elementField[T]) []backends.Field {
	var fields []backends.Field
	for _, row := range rows {
		for member := range strings.FieldsSeq(row.members) {
			fields = append(fields, backends.Field{Member: member, Source: row.sources, Unit: row.unit})
		}
	}
	return fields
}

// VMFields is the table, for the documentation and the contract.
func VMFields() []backends.Field {
	var fields []backends.Field
	for _, row := range vmFields {
		fields = append(fields, row.fields()...)
	}
	return fields
}

func (f vmField) fields() []backends.Field {
	var fields []backends.Field
	for member := range strings.FieldsSeq(f.members) {
		if f.parts == nil {
			sources := slices.DeleteFunc(strings.Fields(f.sources), isElement)
			fields = append(fields, backends.Field{Member: member, Source: strings.Join(sources, " "), Unit: f.unit, View: f.view})
		}
		for _, part := range f.parts {
			fields = append(fields, backends.Field{Member: member + "." + part.Member, Source: strings.Join(f.below(part), " "), Unit: part.Unit, View: f.view})
		}
	}
	return fields
}

// isElement reports whether a source is an element that may occur again, not a value.
func isElement(path string) bool { return strings.HasSuffix(path, "/") }

// below are the sources of a part in all elements of the row.
func (f vmField) below(part backends.Field) []string {
	var paths []string
	for source := range strings.FieldsSeq(part.Source) {
		for above := range strings.FieldsSeq(f.sources) {
			paths = append(paths, above+source)
		}
	}
	return paths
}

// paths are all sources of a row in a release. Up to 3.8 there was no USER_TEMPLATE: what users wrote
// stood in TEMPLATE, beside the core's own attributes.
func (f vmField) paths(r version) []string {
	paths := strings.Fields(f.sources)
	for _, part := range f.parts {
		for _, path := range f.below(part) {
			if !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	if !r.hasFeature(userTemplate) {
		for i := range paths {
			if rest, ok := strings.CutPrefix(paths[i], "USER_TEMPLATE/"); ok {
				paths[i] = "TEMPLATE/" + rest
			}
		}
	}
	return paths
}

// wanted reports whether one of the members that are asked for is in the row, above it, or below.
func (f vmField) wanted(asked []string) bool {
	if asked == nil {
		return true
	}
	for member := range strings.FieldsSeq(f.members) {
		if slices.ContainsFunc(asked, func(a string) bool { return under(a, member) || under(member, a) }) {
			return true
		}
	}
	return false
}

// under reports whether a member is another one, or a part of it.
func under(member, above string) bool {
	rest, ok := strings.CutPrefix(member, strings.TrimSuffix(above, "[]"))
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
