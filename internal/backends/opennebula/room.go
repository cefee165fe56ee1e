package opennebula

import (
	"time"

	"vmgateway/internal/backends"
)

// room is where a VM is decoded into: all that it can point to. It is used for one VM after the other,
// so that a list makes nothing anew for each.
type room struct {
	vm        backends.VM
	cpu       backends.CPU
	memory    backends.Memory
	runtime   backends.Runtime
	boot      backends.Boot
	pv        backends.BootPV
	hvm       backends.BootHVM
	placement backends.Placement
	one       backends.OpenNebulaVM
	rights    backends.Permissions

	ints    shelf[int64]
	floats  shelf[float64]
	texts   shelf[string]
	times   shelf[time.Time]
	refs    shelf[backends.Ref]
	ids     shelf[backends.ID]
	disks   []backends.Disk
	nics    []backends.NIC
	history []backends.HistoryRecord
	lists   []string // the addresses of all NICs

	platform, annotations, params map[string]string
}

// clear makes the room empty for the next VM.
func (r *room) clear() {
	r.vm, r.one = backends.VM{}, backends.OpenNebulaVM{}
	r.cpu, r.memory, r.runtime = backends.CPU{}, backends.Memory{}, backends.Runtime{}
	r.ints.used, r.floats.used, r.texts.used, r.times.used, r.refs.used, r.ids.used = 0, 0, 0, 0, 0, 0
	r.disks, r.nics, r.history, r.lists = r.disks[:0], r.nics[:0], r.history[:0], r.lists[:0]
}

// emptied is m without what was in it.
func emptied(m *map[string]string) map[string]string {
	if *m == nil {
		*m = map[string]string{}
	}
	clear(*m)
	return *m
}

// shelf hands out places for values of one type. They stay where they are until the shelf is used
// again from its beginning.
type shelf[T any] struct {
	places []T
	used   int
}

func (s *shelf[T]) put(v T) *T {
	if s.used == len(s.places) {
		s.places, s.used = make([]T, max(8, 2*len(s.places))), 0
	}
	p := &s.places[s.used]
	s.used++
	*p = v
	return p
}
