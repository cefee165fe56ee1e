package xensim

import "strings"

// differences are the exchanges whose answers differ on purpose, with the reason.
var differences = map[int]string{
	139: "JSON-RPC is not simulated",
	140: "JSON-RPC is not simulated",
	141: "JSON-RPC is not simulated",
	305: "messages are not simulated",
	577: "free memory follows from all VMs of the recorded pool, of which some were not recorded",
	581: "xapi takes back the permission to cancel shortly before the end of a start; the simulator never does",
	599: "the recorded pool has tasks left over from calls that were not recorded, and subtasks",
	667: "consoles of VMs that were not recorded",
	679: "as 599",
	692: "the recorded pool was rebuilt before: it has only a few VMs left",
	693: "as 692",
	694: "as 692",
}

// varies tells whether the value at the path depends on the moment, on chance or on the machine, so that
// only its type is compared.
func varies(path string) bool {
	if strings.Contains(path, ".valid_ref_counts.") {
		return true // the recorded pool has objects of classes that were not recorded
	}
	for _, suffix := range []string{
		".last_active", ".validation_time", ".created", ".finished", ".snapshot_time", ".start_time", ".last_updated", // dates
		".snapshot_metadata",           // the simulator keeps none
		".subtasks",                    // nor subtasks for the disks of a copy
		"error.SESSION_NOT_REGISTERED", // a random id
		"task.other_config",            // counters for xapi's own debugging
		".domid", ".MAC", ".mac_seed", ".location", ".token", ".id", ".timestamp", ".progress", ".memory_free",
	} {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return false
}
