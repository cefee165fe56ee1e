package backends

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"
)

// ETag is the version of a VM as FULL shows it: equal for two reads between which nothing was
// changed. Samples do not count as changes. The VM itself is left as it is.
func ETag(vm *VM) string {
	text, _ := etagTexts.Get().(*[]byte)
	defer etagTexts.Put(text)
	stable := withoutSamples(vm)
	*text = stable.AppendJSON((*text)[:0])
	sum := sha256.Sum256(*text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// etagTexts are buffers for what is hashed.
var etagTexts = sync.Pool{New: func() any { return new([]byte) }}

// withoutSamples is vm without what changes by itself, and without what stands in some views only.
func withoutSamples(vm *VM) VM {
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
	return stable
}
