package xenapi

import (
	"time"

	"vmgateway/internal/backends"
)

// model is a VM with all that it may point to, in one piece of memory.
type model struct {
	vm    backends.VM
	parts struct {
		cpu       backends.CPU
		memory    backends.Memory
		boot      backends.Boot
		pv        backends.BootPV
		hvm       backends.BootHVM
		placement backends.Placement
		policy    backends.LifecyclePolicy
		runtime   backends.Runtime
		xenapi    backends.XenAPIVM
		fraction  float64
		moment    time.Time
	}
	numbers slots[int64]
	flags   slots[bool]
	texts   slots[string]
}

// slots are places for values that are pointed to.
type slots[T any] struct {
	room [16]T
	used int
}

func (s *slots[T]) put(v T) *T {
	if s.used == len(s.room) {
		return new(v)
	}
	s.room[s.used] = v
	s.used++
	return &s.room[s.used-1]
}

func (m *model) cpu() *backends.CPU {
	m.vm.CPU = &m.parts.cpu
	return m.vm.CPU
}

func (m *model) memory() *backends.Memory {
	m.vm.Memory = &m.parts.memory
	return m.vm.Memory
}

func (m *model) boot() *backends.Boot {
	m.vm.Boot = &m.parts.boot
	return m.vm.Boot
}

func (m *model) pv() *backends.BootPV {
	m.boot().PV = &m.parts.pv
	return &m.parts.pv
}

func (m *model) hvm() *backends.BootHVM {
	m.boot().HVM = &m.parts.hvm
	return &m.parts.hvm
}

func (m *model) placement() *backends.Placement {
	m.vm.Placement = &m.parts.placement
	return m.vm.Placement
}

func (m *model) policy() *backends.LifecyclePolicy {
	m.vm.LifecyclePolicy = &m.parts.policy
	return m.vm.LifecyclePolicy
}

func (m *model) runtime() *backends.Runtime {
	m.vm.Runtime = &m.parts.runtime
	return m.vm.Runtime
}

func (m *model) xenapi() *backends.XenAPIVM {
	m.vm.XenAPI = &m.parts.xenapi
	return m.vm.XenAPI
}
