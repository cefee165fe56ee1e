package backends

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
)

// ETag is the version of a VM as FULL shows it: equal for two reads between which nothing was
// changed. Samples do not count as changes. The VM itself is left as it is.
func ETag(vm *VM) string {
	stable := *vm
	stable.ETag, stable.Native = "", nil
	if stable.OpenNebula != nil {
		o := *stable.OpenNebula
		o.LastPoll = nil
		stable.OpenNebula = &o
	}
	if stable.Memory != nil {
		m := *stable.Memory
		m.TargetBytes = nil
		stable.Memory = &m
	}
	stable.Disks = slices.Clone(stable.Disks)
	for i := range stable.Disks {
		stable.Disks[i].UsedBytes = nil
	}
	text, err := json.Marshal(&stable)
	if err != nil {
		return "" // a float that JSON has not: no version rather than a wrong one
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
