package xenapi

import (
	"context"
	"slices"
	"strconv"

	"vmgateway/internal/backends"
)

// limits are a VM's four memory limits in bytes. XenAPI keeps
// 0 < static min <= dynamic min <= dynamic max <= static max, though VM.create does not check it.
type limits struct{ staticMin, dynamicMin, dynamicMax, staticMax int64 }

// asked is what a request says of them; nil is not said.
type askedLimits struct{ staticMin, dynamicMin, dynamicMax, staticMax *int64 }

func (a askedLimits) any() bool { return a.dynamic() || a.static() }

func (a askedLimits) dynamic() bool { return a.dynamicMin != nil || a.dynamicMax != nil }

func (a askedLimits) static() bool { return a.staticMin != nil || a.staticMax != nil }

func limitsOf(m *backends.Memory) limits {
	if m == nil {
		return limits{}
	}
	return limits{value(m.StaticMinBytes), value(m.DynamicMinBytes), value(m.DynamicMaxBytes), value(m.StaticMaxBytes)}
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// with puts what is asked for in the place of what is.
func (l limits) with(a askedLimits) limits {
	for _, m := range []struct {
		into *int64
		said *int64
	}{{&l.staticMin, a.staticMin}, {&l.dynamicMin, a.dynamicMin}, {&l.dynamicMax, a.dynamicMax}, {&l.staticMax, a.staticMax}} {
		if m.said != nil {
			*m.into = *m.said
		}
	}
	return l
}

// fit moves what was not asked for as far as the order of the limits needs. Static limits move only
// where they may.
func (l limits) fit(a askedLimits, static bool) limits {
	// Upwards: each limit is at least the one below it, if that was asked for.
	raise := func(into *int64, said *int64, least int64) {
		if said == nil {
			*into = max(*into, least)
		}
	}
	lower := func(into *int64, said *int64, most int64) {
		if said == nil {
			*into = min(*into, most)
		}
	}
	if a.dynamicMax != nil || a.staticMax != nil {
		if a.staticMax != nil {
			lower(&l.dynamicMax, a.dynamicMax, l.staticMax)
		} else if static {
			raise(&l.staticMax, nil, l.dynamicMax)
		}
		lower(&l.dynamicMin, a.dynamicMin, l.dynamicMax)
		if static {
			lower(&l.staticMin, a.staticMin, l.dynamicMin)
		}
	}
	if a.dynamicMin != nil || a.staticMin != nil {
		if a.staticMin != nil {
			raise(&l.dynamicMin, a.dynamicMin, l.staticMin)
		} else if static {
			lower(&l.staticMin, nil, l.dynamicMin)
		}
		raise(&l.dynamicMax, a.dynamicMax, l.dynamicMin)
		if static {
			raise(&l.staticMax, a.staticMax, l.dynamicMax)
		}
	}
	return l
}

// check refuses limits that are out of order. The pointer is that of a member that was asked for.
func (l limits) check(a askedLimits) error {
	pairs := []struct {
		low, high         int64
		lowName, highName string
		lowSaid, highSaid *int64
	}{
		{1, l.staticMin, "", "staticMinBytes", nil, a.staticMin},
		{l.staticMin, l.dynamicMin, "staticMinBytes", "dynamicMinBytes", a.staticMin, a.dynamicMin},
		{l.dynamicMin, l.dynamicMax, "dynamicMinBytes", "dynamicMaxBytes", a.dynamicMin, a.dynamicMax},
		{l.dynamicMax, l.staticMax, "dynamicMaxBytes", "staticMaxBytes", a.dynamicMax, a.staticMax},
	}
	for _, p := range pairs {
		if p.low <= p.high {
			continue
		}
		if p.lowName == "" {
			return unprocessable("/memory/"+p.highName, "must be more than 0")
		}
		pointer, detail := p.highName, "must not be less than "+p.lowName+" ("+decimal(p.low)+")"
		if p.highSaid == nil && p.lowSaid != nil {
			pointer, detail = p.lowName, "must not be more than "+p.highName+" ("+decimal(p.high)+")"
		}
		return unprocessable("/memory/"+pointer, detail)
	}
	return nil
}

// decimal is XenAPI's int on the wire.
func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// memorySteps set all limits (VM halted), or the dynamic ones (halted or running; live if it runs).
// Before XenServer 5.6 each limit has a call of its own, and another one while the VM runs.
func memorySteps(l limits, static, live bool, members []string) []step {
	suffix := ""
	if live {
		suffix = "_live"
	}
	older := []step{
		{members: members, method: "VM.set_memory_dynamic_max" + suffix, args: []any{decimal(l.dynamicMax)}},
		{members: members, method: "VM.set_memory_dynamic_min" + suffix, args: []any{decimal(l.dynamicMin)}},
	}
	if !static {
		return []step{{
			members: members, method: "VM.set_memory_dynamic_range", older: older,
			args: []any{decimal(l.dynamicMin), decimal(l.dynamicMax)},
		}}
	}
	older = append([]step{{members: members, method: "VM.set_memory_static_max", args: []any{decimal(l.staticMax)}}}, older...)
	older = append(older, step{members: members, method: "VM.set_memory_static_min", args: []any{decimal(l.staticMin)}})
	return []step{{
		members: members, method: "VM.set_memory_limits", older: older,
		args: []any{decimal(l.staticMin), decimal(l.staticMax), decimal(l.dynamicMin), decimal(l.dynamicMax)},
	}}
}

// vcpuSteps set how many vCPUs a VM starts with, and how many it can have. The order keeps
// 0 < at startup <= max all the way.
func vcpuSteps(now *backends.CPU, vcpus, most *int64) []step {
	var steps []step
	if vcpus != nil {
		steps = append(steps, step{members: []string{"cpu.vcpus"}, method: "VM.set_VCPUs_at_startup", args: []any{decimal(*vcpus)}})
	}
	if most != nil {
		limit := step{members: []string{"cpu.maxVcpus"}, method: "VM.set_VCPUs_max", args: []any{decimal(*most)}}
		if *most > value(now.MaxVCPUs) {
			steps = append([]step{limit}, steps...)
		} else {
			steps = append(steps, limit)
		}
	}
	return steps
}

// cpuOf is what a VM has of processors, if only nothing.
func cpuOf(vm *backends.VM) *backends.CPU {
	if vm.CPU == nil {
		return &backends.CPU{}
	}
	return vm.CPU
}

// checkVCPUs refuses numbers that XenAPI refuses, or that VM.create should.
func checkVCPUs(vcpus, most int64, pointer string) error {
	switch {
	case vcpus < 1:
		return unprocessable(pointer, "must be at least 1")
	case vcpus > most:
		return unprocessable(pointer, "must not be more than the VM's maximum ("+decimal(most)+")")
	}
	return nil
}

// resize changes vCPUs and memory: of the running VM, or of a halted one for its next start. It
// brings limits along that were not mentioned and would be in the way, since a client of both
// backends only says how much the VM shall have. What can be refused is refused before the first
// call that changes something.
func resize(ctx context.Context, j *job) ([]step, error) {
	asked := memoryAsked(j.a.Memory)
	if j.a.VCPUs == nil && !asked.any() {
		return nil, backends.Invalid("", "vcpus or memory is required")
	}
	vm, err := j.vm(ctx, j.h, "rawState", "cpu", "memory")
	if err != nil {
		return nil, err
	}
	on := vm.RawState.PowerState == running
	live := on
	if j.a.Live != nil {
		live = *j.a.Live
	}
	if live && !on {
		return nil, j.wrong("The VM is not running, so that it cannot be resized live.")
	}
	steps, err := j.resizeSteps(vm, asked, live)
	if err != nil {
		return nil, err
	}
	last := &steps[len(steps)-1]
	last.async = slices.Contains(j.row.methods, last.method)
	return steps, nil
}

func memoryAsked(m *backends.Memory) askedLimits {
	if m == nil {
		return askedLimits{}
	}
	return askedLimits{m.StaticMinBytes, m.DynamicMinBytes, m.DynamicMaxBytes, m.StaticMaxBytes}
}

func (j *job) resizeSteps(vm *backends.VM, asked askedLimits, live bool) (steps []step, err error) {
	var memory []step
	if asked.any() {
		if live && asked.static() {
			return nil, j.wrong("The static memory limits can only be changed while the VM is halted.")
		}
		l := limitsOf(vm.Memory).with(asked).fit(asked, !live)
		if err := l.check(asked); err != nil {
			return nil, err
		}
		memory = memorySteps(l, !live, live, []string{"memory"})
	}
	cpu, err := j.cpuSteps(cpuOf(vm), live)
	if err != nil {
		return nil, err
	}
	if live {
		return append(cpu, memory...), nil // that which is refused more often comes first
	}
	return append(memory, cpu...), nil
}

func (j *job) cpuSteps(now *backends.CPU, live bool) ([]step, error) {
	if j.a.VCPUs == nil {
		return nil, nil
	}
	n, most := *j.a.VCPUs, value(now.MaxVCPUs)
	if !live {
		most = max(n, most)
	}
	if err := checkVCPUs(n, most, "/vcpus"); err != nil {
		return nil, err
	}
	if live {
		return []step{{members: []string{"vcpus"}, method: "VM.set_VCPUs_number_live", args: []any{decimal(n)}}}, nil
	}
	var limit *int64
	if n > value(now.MaxVCPUs) {
		limit = &n
	}
	steps := vcpuSteps(now, &n, limit)
	for i := range steps {
		steps[i].members = []string{"vcpus"}
	}
	return steps, nil
}
