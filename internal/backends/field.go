package backends

// Field says where a member of [VM] comes from at one backend. The tables of the drivers are made of
// it: what they decode, what the contract promises and what docs/fields.md tells are one list.
type Field struct {
	// Member is its dotted name in JSON; elements of a list stand behind []: "disks[].sizeBytes".
	// Everything below a member that is a map belongs to the map.
	Member string
	// Source is what of the backend's record it is made of, in the record's own names and separated by
	// blanks: "TEMPLATE/VCPU", "power_state current_operations".
	Source string
	// Unit is how the backend counts when the API counts otherwise: "MiB", "KiB", "seconds since 1970".
	Unit string
	// View is the smallest that has it.
	View View
}
