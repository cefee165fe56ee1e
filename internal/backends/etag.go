package backends

import (
	"crypto/sha256"
	"encoding/base64"
	"sync"
)

// ETag is the version of a VM as FULL shows it: equal for two reads between which nothing was
// changed. Samples do not count as changes. The VM itself is left as it is.
func ETag(vm *VM) string {
	r, _ := etagRooms.Get().(*etagRoom)
	defer etagRooms.Put(r)
	r.text = r.withoutSamples(vm).AppendJSON(r.text[:0])
	r.forget()
	sum := sha256.Sum256(r.text)
	var tag [16]byte
	base64.RawURLEncoding.Encode(tag[:], sum[:12])
	return string(tag[:])
}

// etagRoom is where a VM is copied to without its samples, and what is hashed of it.
type etagRoom struct {
	vm     VM
	memory Memory
	one    OpenNebulaVM
	disks  []Disk
	text   []byte
}

var etagRooms = sync.Pool{New: func() any { return &etagRoom{disks: []Disk{}} }}

// withoutSamples is vm without what changes by itself, and without what stands in some views only.
func (r *etagRoom) withoutSamples(vm *VM) *VM {
	r.vm = *vm
	r.vm.ETag, r.vm.Native = "", nil
	if vm.OpenNebula != nil {
		r.one = *vm.OpenNebula
		r.one.LastPoll = nil
		r.vm.OpenNebula = &r.one
	}
	if vm.Memory != nil {
		r.memory = *vm.Memory
		r.memory.TargetBytes = nil
		r.vm.Memory = &r.memory
	}
	if vm.Disks != nil { // not told is not the same as none
		r.disks = append(r.disks[:0], vm.Disks...)
		for i := range r.disks {
			r.disks[i].UsedBytes = nil
		}
		r.vm.Disks = r.disks
	}
	return &r.vm
}

// forget lets go of the VM, which the room must not keep alive.
func (r *etagRoom) forget() {
	r.vm, r.memory, r.one = VM{}, Memory{}, OpenNebulaVM{}
	clear(r.disks)
}
