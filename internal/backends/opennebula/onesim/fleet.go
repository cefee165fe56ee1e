package onesim

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// demoStates is how the demo's VMs are spread: mostly running, some of everything else.
var demoStates = [...]status{
	active(Running), active(Running), active(Running), is(Poweroff), active(Running), is(Suspended), active(Running), is(Hold),
	active(Running), is(Stopped), active(Running), is(Undeployed), active(Running), active(Unknown), active(Running), active(BootFailure),
}

const (
	demoNICs = 2
	// vmsPerNet is a multiple of the number of demoStates.
	vmsPerNet = leaseCount / demoNICs
)

// mould is what the demo's VMs of one state have in common. 100,000 VMs with templates of their own would be 2 GB.
type mould struct {
	tmpl, user template
	net        *vnet
	load       load
}

// fill makes the demo's VMs: two disks, two NICs, a context, user attributes, two history records, as those that were
// measured (about 11 kB each). Of each state the first one is allocated as any other VM; those after it are like it.
func (s *Server) fill(n int) error {
	first := make([]*vm, len(demoStates))
	moulds := make([]*mould, len(demoStates))
	for i := range n {
		k := i % len(demoStates)
		if i%vmsPerNet >= len(demoStates) {
			s.addLike(first[k], moulds[k], i)
			continue
		}
		if i > 0 && i%vmsPerNet == 0 {
			s.addNet()
		}
		v, err := s.allocateDemo(i)
		if err != nil {
			return err
		}
		first[k] = v
		moulds[k] = &mould{v.tmpl.clone(), v.user.clone(), s.nets[len(s.nets)-1], v.load()}
	}
	return nil
}

var demoRoles = []string{"web", "db", "cache", "build"}

func demoName(i int) string { return fmt.Sprintf("%s-%d", demoRoles[i%len(demoRoles)], i) }

func (s *Server) allocateDemo(i int) (*vm, error) {
	role, state := demoRoles[i%len(demoRoles)], demoStates[i%len(demoStates)]
	net := strconv.Itoa(s.nets[len(s.nets)-1].id)
	id, err := s.put(VMSpec{Name: demoName(i), Owner: []string{"oneadmin", "alice", "oneadmin", "bob"}[i%4], State: state.state, LCM: state.lcm,
		Host: i % len(s.hosts), CPU: 0.1, Memory: 64, Disks: 2, NICs: demoNICs, network: net, User: map[string]string{
			"DESCRIPTION": "one of the demo's machines", "LABELS": role, "ROLE": role, "NOTE": "made at start"}})
	if err != nil {
		return nil, err
	}
	v := s.vms[id]
	if h := v.last(); h != nil {
		at := s.now().Add(-time.Hour)
		v.hist = slices.Insert(v.hist, 0, history{host: (h.host + 1) % len(s.hosts), action: actMigrate, stime: at.Unix(), etime: at.Unix() + 60,
			pstime: at.Unix(), petime: at.Unix() + 5, rstime: at.Unix() + 5, retime: at.Unix() + 60, request: 16})
		v.last().seq = 1
	}
	return v, nil
}

// addLike adds the demo's VM i, which is like v but for its name, host and addresses.
func (s *Server) addLike(v *vm, m *mould, i int) {
	host := i % len(s.hosts)
	w := *v
	w.id, w.name, w.hist = len(s.vms), demoName(i), slices.Clone(v.hist)
	w.tmpl, w.user, w.mould = nil, nil, m
	if len(w.hist) > 0 {
		w.hist[0].host = (host + 1) % len(s.hosts)
		w.last().host = host
	}
	if w.deployID != "" {
		w.deployID = s.hostName(host) + ":" + w.name + ":dummy"
	}
	for k := range demoNICs {
		if a, ok := m.net.lease(w.id); ok && k == 0 {
			w.lease = a
		}
	}
	s.vms = append(s.vms, &w)
}

// grown is the VM with its templates: itself, or a copy to be read and thrown away.
func (v *vm) grown(s *Server) *vm {
	if v.mould == nil {
		return v
	}
	w := *v
	w.grow(s)
	return &w
}

// grow gives a VM templates of its own.
func (v *vm) grow(s *Server) {
	m := v.mould
	v.mould = nil
	v.tmpl, v.user = m.tmpl.clone(), m.user.clone()
	for k, n := range v.tmpl.all("NIC") {
		a := m.net.address(v.lease + k)
		n.set("IP", a.ip)
		n.set("MAC", a.mac)
		if n.has("TARGET") {
			n.set("TARGET", fmt.Sprintf("one-%d-%d", v.id, k))
		}
	}
	v.tmpl.set("VMID", strconv.Itoa(v.id))
	if !s.release.old {
		v.fillUUID()
	}
	s.fillContext(v)
}

// touch prepares a VM for being changed.
func (s *Server) touch(v *vm) {
	v.kept = [formCount]*record{}
	if v.mould != nil {
		v.grow(s)
	}
}
