package xensim

import (
	"slices"
	"strings"
)

// hosts lists the pool's hosts, the coordinator first.
func (s *Server) hosts() []*object {
	out := slices.Clone(s.db.tables["host"].sorted())
	slices.SortStableFunc(out, func(a, b *object) int {
		switch s.coordinator {
		case a.ref:
			return -1
		case b.ref:
			return 1
		}
		return strings.Compare(a.uuid(), b.uuid())
	})
	return out
}

// onHost is a message about one host, given as its first argument.
func onHost(do func(c *call, host *object) (any, *Failure)) handler {
	return func(c *call) (any, *Failure) {
		host, f := c.object("host", 0)
		if f != nil {
			return nil, f
		}
		return do(c, host)
	}
}

func hostServertime(c *call, _ *object) (any, *Failure) { return c.s.clock.Now(), nil }

func hostLocaltime(c *call, _ *object) (any, *Failure) {
	return localTime(c.s.clock.Now().UTC().Format("20060102T15:04:05")), nil
}

func hostFreeMemory(c *call, host *object) (any, *Failure) { return c.s.freeMemory(host), nil }

func hostOverhead(_ *call, host *object) (any, *Failure) { return host.num("memory_overhead"), nil }

func hostEnable(on bool) func(*call, *object) (any, *Failure) {
	return func(c *call, host *object) (any, *Failure) {
		c.s.db.set(host, "enabled", on)
		return nil, nil
	}
}

// hostEvacuate moves the host's running VMs to the others.
func hostEvacuate(c *call, host *object) (any, *Failure) {
	s := c.s
	for _, ref := range host.strs("resident_VMs") {
		vm := s.db.find("VM", ref)
		if vm.flag("is_control_domain") {
			continue
		}
		targets := slices.DeleteFunc(s.possibleHosts(vm), func(r string) bool { return r == host.ref })
		if len(targets) == 0 {
			return nil, fail("NO_HOSTS_AVAILABLE")
		}
		if _, f := c.operate(vm, "pool_migrate", s.durations.Migrate, func() (any, *Failure) {
			s.moveTo(vm, s.db.find("host", targets[0]))
			return nil, nil
		}); f != nil {
			return nil, f
		}
	}
	return nil, nil
}

func migrateReceive(c *call, host *object) (any, *Failure) {
	return record{
		{"SM", "http://" + host.str("address") + "/services/SM?session_id=" + c.session.ref}, {"host", host.ref},
		{"xenops", "http://" + host.str("address") + "/services/xenops?session_id=" + c.session.ref},
		{"session_id", c.session.ref}, {"master", "http://" + host.str("address") + "/"},
	}, nil
}

func listMethods(c *call) (any, *Failure) { return c.s.methodNames(), nil }

// scan succeeds: the simulator's storage never differs from its database.
func srScan(c *call) (any, *Failure) {
	_, f := c.object("SR", 0)
	return nil, f
}

func srTypes(*call) (any, *Failure) { return []string{"ext", "iso", "lvm", "nfs"}, nil }
