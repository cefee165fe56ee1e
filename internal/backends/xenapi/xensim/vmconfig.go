package xensim

import (
	"slices"
	"strconv"
)

// Setters of a VM that check more than a type.

const vcpuRule = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max"

func setVCPUsAtStartup(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		if n := c.num(1); n <= 0 || n > o.num("VCPUs_max") {
			return fail("INVALID_VALUE", vcpuRule, strconv.FormatInt(n, 10))
		}
		c.s.db.set(o, "VCPUs_at_startup", c.num(1))
		return nil
	})
}

func setVCPUsMax(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		if n := c.num(1); n <= 0 || n < o.num("VCPUs_at_startup") {
			return fail("INVALID_VALUE", vcpuRule, strconv.FormatInt(n, 10))
		}
		c.s.db.set(o, "VCPUs_max", c.num(1))
		c.s.refreshOverhead(o)
		return nil
	})
}

func setVCPUsLive(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		n := c.num(1)
		if highest := o.num("VCPUs_max"); n <= 0 || n > highest {
			return fail("INVALID_VALUE", "VCPU values must satisfy: 0 < VCPUs ≤ VCPUs_max", strconv.FormatInt(highest, 10))
		}
		c.s.db.set(o, "VCPUs_at_startup", n)
		if m := c.s.db.find("VM_metrics", o.str("metrics")); m != nil {
			c.s.db.set(m, "VCPUs_number", n)
		}
		return nil
	})
}

// memory is the four limits of a VM, smallest first; -1 keeps what is there.
type memory struct{ staticMin, dynamicMin, dynamicMax, staticMax int64 }

func keepAll() memory { return memory{-1, -1, -1, -1} }

func (c *call) setMemory(m memory) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		limits := []struct {
			field string
			value int64
		}{{"memory_static_min", m.staticMin}, {"memory_dynamic_min", m.dynamicMin}, {"memory_dynamic_max", m.dynamicMax}, {"memory_static_max", m.staticMax}}
		for i, l := range limits {
			if l.value == -1 {
				limits[i].value = o.num(l.field)
			}
			if limits[i].value < 0 || i > 0 && limits[i].value < limits[i-1].value {
				return fail("MEMORY_CONSTRAINT_VIOLATION_ORDER")
			}
		}
		for _, l := range limits {
			c.s.db.set(o, l.field, l.value)
		}
		c.s.refreshOverhead(o)
		c.s.balloon(o, o.num("memory_dynamic_max"))
		return nil
	})
}

// balloon sets how much memory the guest shall have, and gives it to a running one at once.
func (s *Server) balloon(o *object, target int64) {
	s.db.set(o, "memory_target", target)
	s.memoryChanged(o)
	if o.powerState() != "Running" {
		return
	}
	if m := s.db.find("VM_metrics", o.str("metrics")); m != nil {
		s.db.set(m, "memory_actual", target)
	}
}

func setMemoryLimit(field string) handler {
	return func(c *call) (any, *Failure) {
		m := keepAll()
		switch field {
		case "static_min":
			m.staticMin = c.num(1)
		case "static_max":
			m.staticMax = c.num(1)
		case "dynamic_min":
			m.dynamicMin = c.num(1)
		case "dynamic_max":
			m.dynamicMax = c.num(1)
		}
		return c.setMemory(m)
	}
}

func setMemoryDynamicRange(c *call) (any, *Failure) {
	m := keepAll()
	m.dynamicMin, m.dynamicMax = c.num(1), c.num(2)
	return c.setMemory(m)
}

func setMemoryStaticRange(c *call) (any, *Failure) {
	m := keepAll()
	m.staticMin, m.staticMax = c.num(1), c.num(2)
	return c.setMemory(m)
}

func setMemoryLimits(c *call) (any, *Failure) {
	return c.setMemory(memory{staticMin: c.num(1), staticMax: c.num(2), dynamicMin: c.num(3), dynamicMax: c.num(4)})
}

func setMemory(c *call) (any, *Failure) {
	m := keepAll()
	m.dynamicMin, m.dynamicMax, m.staticMax = c.num(1), c.num(1), c.num(1)
	return c.setMemory(m)
}

func setMemoryTargetLive(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		n := c.num(1)
		if n > o.num("memory_static_max") {
			return fail("MEMORY_CONSTRAINT_VIOLATION_ORDER")
		}
		c.s.db.set(o, "memory_dynamic_min", n)
		c.s.db.set(o, "memory_dynamic_max", n)
		c.s.balloon(o, n)
		return nil
	})
}

func setShadowMultiplier(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		if v := c.float(1); v < 1 {
			return fail("INVALID_VALUE", "multiplier", formatFloat(v))
		}
		c.s.db.set(o, "HVM_shadow_multiplier", c.float(1))
		c.s.refreshOverhead(o)
		return nil
	})
}

// setBIOSStrings fills what is not given with the usual values.
func setBIOSStrings(c *call) (any, *Failure) {
	return c.change(func(o *object) *Failure {
		out := slices.Clone(c.s.guest.bios)
		for i, m := range out {
			if v, given := c.dict(1).get(m.Name); given {
				out[i].Value = v
			}
		}
		c.s.db.set(o, "bios_strings", out)
		return nil
	})
}

// setIsTemplate needs the operation make_into_template only on the way to a template.
func setIsTemplate(c *call) (any, *Failure) {
	vm, f := c.self()
	if f != nil {
		return nil, f
	}
	set := func() (any, *Failure) {
		c.s.db.set(vm, "is_a_template", c.flag(1))
		return nil, nil
	}
	if c.flag(1) && !vm.flag("is_a_template") {
		return c.operate(vm, "make_into_template", 0, set)
	}
	return set()
}

func setDefaultTemplate(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	return c.operate(vm, "make_into_template", 0, func() (any, *Failure) {
		c.s.db.set(vm, "is_default_template", c.flag(1))
		c.s.db.set(vm, "other_config", vm.fields("other_config").with("default_template", strconv.FormatBool(c.flag(1))))
		return nil, nil
	})
}

// vmCreate makes a VM of a struct: members that must be there are checked, values hardly.
func vmCreate(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	s := c.s
	values = slices.DeleteFunc(values, func(m member) bool {
		return slices.Contains([]string{"power_state", "suspend_VDI", "last_booted_record"}, m.Name)
	})
	if values.text("domain_type") == "" || values.text("domain_type") == "unspecified" {
		values = values.with("domain_type", domainTypeOf(values))
	}
	return s.addVM(s.newUUID(), values).ref, nil
}

func domainTypeOf(values record) string {
	if values.text("HVM_boot_policy") == "" {
		return "pv"
	}
	return "hvm"
}

// addVM makes a halted VM with what every VM has.
func (s *Server) addVM(uuid string, values record) *object {
	metrics := s.db.add("VM_metrics", s.newRef(), s.newUUID(), record{{"current_domain_type", "unspecified"}})
	vm := s.db.add("VM", s.newRef(), uuid, record{
		{"power_state", "Halted"}, {"domid", int64(-1)}, {"resident_on", nullRef}, {"metrics", metrics.ref}, {"guest_metrics", nullRef},
	})
	for _, m := range values {
		s.db.set(vm, m.Name, m.Value)
	}
	other := vm.fields("other_config")
	if _, has := other.get("mac_seed"); !has {
		s.db.set(vm, "other_config", other.with("mac_seed", s.newUUID()))
	}
	if vm.flag("has_vendor_device") {
		s.db.set(vm, "hardware_platform_version", max(2, vm.num("hardware_platform_version")))
	}
	s.refreshOverhead(vm)
	return vm
}
