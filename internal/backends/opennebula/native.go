package opennebula

import (
	"strings"
)

// types say which elements of a document are numbers and which are lists, by their path below the
// root; a path that ends in /* stands for all elements there. Everything else is text: a value in a
// template that looks like a number is still what a user wrote ("007").
type types struct {
	numbers, lists []string
}

// vmTypes are those of a VM. Source: share/doc/xsd/vm.xsd of 7.4.0.
var vmTypes = types{
	numbers: []string{
		"ID", "UID", "GID", "LAST_POLL", "STATE", "LCM_STATE", "PREV_STATE", "PREV_LCM_STATE", "RESCHED", "STIME", "ETIME",
		"CPU", "MEMORY", "NET_RX", "NET_TX", // up to 4.0
		"PERMISSIONS/*", "LOCK/*", "MONITORING/*", "MONITORING/DISK_SIZE/*", "SCHED_ACTIONS/ID",
		"TEMPLATE/SCHED_ACTION/ID", "TEMPLATE/SCHED_ACTION/PARENT_ID", "TEMPLATE/SCHED_ACTION/REPEAT", "TEMPLATE/SCHED_ACTION/END_TYPE",
		"TEMPLATE/SCHED_ACTION/END_VALUE", "TEMPLATE/SCHED_ACTION/DONE", "TEMPLATE/SCHED_ACTION/WARNING",
		"HISTORY_RECORDS/HISTORY/OID", "HISTORY_RECORDS/HISTORY/SEQ", "HISTORY_RECORDS/HISTORY/HID", "HISTORY_RECORDS/HISTORY/CID",
		"HISTORY_RECORDS/HISTORY/STIME", "HISTORY_RECORDS/HISTORY/ETIME", "HISTORY_RECORDS/HISTORY/DS_ID", "HISTORY_RECORDS/HISTORY/PLAN_ID",
		"HISTORY_RECORDS/HISTORY/ACTION_ID", "HISTORY_RECORDS/HISTORY/PSTIME", "HISTORY_RECORDS/HISTORY/PETIME",
		"HISTORY_RECORDS/HISTORY/RSTIME", "HISTORY_RECORDS/HISTORY/RETIME", "HISTORY_RECORDS/HISTORY/ESTIME",
		"HISTORY_RECORDS/HISTORY/EETIME", "HISTORY_RECORDS/HISTORY/ACTION", "HISTORY_RECORDS/HISTORY/REASON",
		"HISTORY_RECORDS/HISTORY/UID", "HISTORY_RECORDS/HISTORY/GID",
		"SNAPSHOTS/CURRENT_BASE", "SNAPSHOTS/DISK_ID", "SNAPSHOTS/NEXT_SNAPSHOT", "SNAPSHOTS/SNAPSHOT/DATE", "SNAPSHOTS/SNAPSHOT/ID",
		"SNAPSHOTS/SNAPSHOT/PARENT", "SNAPSHOTS/SNAPSHOT/SIZE", "BACKUPS/BACKUP_IDS/ID",
	},
	lists: []string{
		"MONITORING/DISK_SIZE", "SCHED_ACTIONS/ID", "TEMPLATE/DISK", "TEMPLATE/NIC", "TEMPLATE/NIC_ALIAS", "TEMPLATE/PCI",
		"TEMPLATE/SECURITY_GROUP_RULE", "TEMPLATE/SNAPSHOT", "TEMPLATE/SCHED_ACTION", "TEMPLATE/NUMA_NODE",
		"HISTORY_RECORDS/HISTORY", "SNAPSHOTS", "SNAPSHOTS/SNAPSHOT", "BACKUPS/BACKUP_IDS/ID",
	},
}

// objectTypes are those that hosts, images, templates, storages and networks have in common.
var objectTypes = types{
	numbers: []string{
		"ID", "UID", "GID", "STATE", "PREV_STATE", "CLUSTER_ID", "SIZE", "REGTIME", "MODTIME", "PERSISTENT", "RUNNING_VMS",
		"CLONING_OPS", "CLONING_ID", "DATASTORE_ID", "TYPE", "DISK_TYPE", "TOTAL_MB", "FREE_MB", "USED_MB", "USED_LEASES",
		"PERMISSIONS/*", "LOCK/*", "VMS/ID", "CLONES/ID", "IMAGES/ID", "CLUSTERS/ID",
		"HOST_SHARE/MEM_USAGE", "HOST_SHARE/CPU_USAGE", "HOST_SHARE/TOTAL_MEM", "HOST_SHARE/TOTAL_CPU", "HOST_SHARE/MAX_MEM",
		"HOST_SHARE/MAX_CPU", "HOST_SHARE/RUNNING_VMS", "HOST_SHARE/FREE_MEM", "HOST_SHARE/FREE_CPU", "HOST_SHARE/USED_MEM", "HOST_SHARE/USED_CPU",
	},
	lists: []string{
		"VMS/ID", "CLONES/ID", "APP_CLONES/ID", "IMAGES/ID", "CLUSTERS/ID", "AR_POOL/AR", "AR_POOL/AR/LEASES/LEASE",
		"HOST_SHARE/PCI_DEVICES/PCI", "HOST_SHARE/NUMA_NODES/NODE", "HOST_SHARE/DATASTORES/DS", "TEMPLATE/DISK", "TEMPLATE/NIC",
		"TEMPLATE/PCI", "SNAPSHOTS/SNAPSHOT",
	},
}

// native is a whole record under OpenNebula's names, with JSON's types and without secrets. What
// users themselves put into USER_TEMPLATE is theirs, and stays.
func native(r record, t types) map[string]any {
	return converter{set(t.numbers), set(t.lists)}.object(r, "")
}

// converter turns records into JSON values.
type converter struct{ numbers, lists paths }

// object is what is inside an element whose path, with a / at its end, is prefix.
func (c converter) object(r record, prefix string) map[string]any {
	m := make(map[string]any, len(r.Kids))
	seen := map[string]int{}
	for _, kid := range r.Kids {
		if secret(kid.Name) && !strings.HasPrefix(prefix, "USER_TEMPLATE/") {
			continue
		}
		path := prefix + kid.Name
		value := c.value(kid, path, prefix)
		seen[kid.Name]++
		switch before := m[kid.Name]; {
		case seen[kid.Name] == 1 && c.lists[path]:
			m[kid.Name] = []any{value}
		case seen[kid.Name] == 1:
			m[kid.Name] = value
		case seen[kid.Name] == 2 && !c.lists[path]:
			m[kid.Name] = []any{before, value}
		default:
			m[kid.Name] = append(before.([]any), value)
		}
	}
	return m
}

func (c converter) value(r record, path, prefix string) any {
	switch {
	case r.vector():
		return c.object(r, path+"/")
	case c.numbers[path] || c.numbers[prefix+"*"]:
		return jsonNumber(r.Text)
	case r.Text == "" && c.lists.under(path):
		return map[string]any{}
	}
	return r.Text
}

type paths map[string]bool

func set(list []string) paths {
	s := make(paths, len(list))
	for _, p := range list {
		s[p] = true
	}
	return s
}

// under reports whether a listed path lies below path: an empty element there is an empty object.
func (s paths) under(path string) bool {
	for p := range s {
		if strings.HasPrefix(p, path+"/") {
			return true
		}
	}
	return false
}

// jsonNumber is a number where the text is one, and null where it is NaN, infinite or nothing; a
// text that is none of these stays a text.
func jsonNumber(text string) any {
	if n := integer(text); n != nil {
		return *n
	}
	if f := decimal(text); f != nil {
		return *f
	}
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "", "nan", "inf", "infinity":
		return nil
	}
	return text
}
