package onesim

import (
	"fmt"
	"slices"
	"strconv"
)

// VMSpec is a VM to put into the simulator directly, without calls. Zero values are a VM of oneadmin's, named one-ID, in
// INIT, with one disk, one NIC and a context, on no host.
type VMSpec struct {
	Name      string
	Owner     string // user name; "" is oneadmin
	State     State
	LCM       LCM // of an Active one; LCMInit there is refused
	Host      int // host id, for states on a host; the last history record has it
	CPU       float64
	Memory    int               // MiB
	Disks     int               // 0 is one; negative is none
	NICs      int               // 0 is one; negative is none
	User      map[string]string // user attributes
	NoContext bool

	network string // id; "" is 0
}

// VMState is what a VM document says of a VM's state, and where it is.
type VMState struct {
	ID    int
	Name  string
	State State
	LCM   LCM
	Host  int // of the last history record; -1 without one
	Disks int
	NICs  int
	Error string // USER_TEMPLATE/ERROR
}

// PutVM adds a VM in any state and returns its id. A transient state goes on from there as if it had just been entered.
func (s *Server) PutVM(spec VMSpec) (int, error) {
	id, err := 0, error(nil)
	s.locked(func() { id, err = s.put(spec) })
	return id, err
}

// SetState brings a VM into any state, as if it had just been entered there.
func (s *Server) SetState(id int, state State, lcm LCM) error {
	var err error
	s.locked(func() {
		if id < 0 || id >= len(s.vms) {
			err = fmt.Errorf("onesim: no VM %d", id)
			return
		}
		s.touch(s.vms[id])
		s.enter(s.vms[id], status{state, lcm}, 0)
	})
	return err
}

// VM tells a VM's state; false if there is none of that id.
func (s *Server) VM(id int) (VMState, bool) {
	var out VMState
	found := false
	s.locked(func() {
		if id < 0 || id >= len(s.vms) {
			return
		}
		v := s.vms[id].grown(s)
		found = true
		out = VMState{ID: v.id, Name: v.name, State: v.state, LCM: v.lcm, Host: -1, Disks: len(v.tmpl.all("DISK")),
			NICs: len(v.tmpl.all("NIC", "NIC_ALIAS")), Error: v.user.get("ERROR")}
		if h := v.last(); h != nil {
			out.Host = h.host
		}
	})
	return out, found
}

// AddHost adds a host and returns its id.
func (s *Server) AddHost() int {
	id := 0
	s.locked(func() {
		id = nextID(s.hosts)
		s.addHost(id, s.release)
	})
	return id
}

// AddSecurityGroup adds a security group that everybody may use and returns its id: 100 or more.
func (s *Server) AddSecurityGroup(name string) int {
	id := 0
	s.locked(func() {
		id = max(100, nextID(s.secgroups))
		s.secgroups = append(s.secgroups, &plain{root(kindSecGroup, id, name, shared()), secGroupRest})
	})
	return id
}

// AddTemplate adds a VM template of oneadmin's; others may use it if public.
func (s *Server) AddTemplate(name, text string, public bool) (int, error) {
	t, err := parseTemplate(text)
	if err != nil {
		return 0, fmt.Errorf("onesim: %w", err)
	}
	id := 0
	s.locked(func() {
		id = nextID(s.templates)
		p := private
		if public {
			p = shared()
		}
		s.templates = append(s.templates, &vmTemplate{object: root(kindTemplate, id, name, p), regtime: s.now().Unix(), tmpl: t})
	})
	return id, nil
}

// put allocates as the owner would and enters the state.
func (s *Server) put(spec VMSpec) (int, error) {
	owner := orDefault(spec.Owner, "oneadmin")
	i := slices.IndexFunc(s.users, func(u *user) bool { return u.name == owner })
	if i < 0 {
		return 0, fmt.Errorf("onesim: no user %q", owner)
	}
	c := &call{Server: s, user: s.users[i], gid: s.users[i].gid}
	quota := c.user.vmQuota
	c.user.vmQuota = -1
	v, r := c.allocate(spec.template(), spec.State == Hold)
	c.user.vmQuota = quota
	if r != nil {
		return 0, fmt.Errorf("onesim: %s", r.text)
	}
	s.enter(v, status{spec.State, spec.LCM}, spec.Host)
	return v.id, nil
}

func (spec VMSpec) template() template {
	var t template
	if spec.Name != "" {
		t.set("NAME", spec.Name)
	}
	t.set("CPU", strconv.FormatFloat(orDefault(spec.CPU, 0.1), 'f', -1, 64))
	t.set("MEMORY", strconv.Itoa(orDefault(spec.Memory, 64)))
	for i := range max(orDefault(spec.Disks, 1), 0) {
		t.add(vector("DISK", "IMAGE_ID", strconv.Itoa(i%2)))
	}
	for range max(orDefault(spec.NICs, 1), 0) {
		t.add(vector("NIC", "NETWORK_ID", orDefault(spec.network, "0")))
	}
	if !spec.NoContext {
		t.add(vector("CONTEXT", "NETWORK", "YES"))
	}
	for k, v := range spec.User {
		t.set(k, v)
	}
	return t
}

// enter writes a status and the history that goes with it.
func (s *Server) enter(v *vm, to status, host int) {
	at := s.now()
	v.work, v.backTo = nil, is(Pending)
	if to.state != Active {
		to.lcm = LCMInit
	}
	ran := to.state == Active || to.state == Stopped || to.state == Suspended || to.state == Poweroff || to.state == Undeployed
	if ran && len(v.hist) == 0 {
		h := s.record(v, host, 0, at)
		h.pstime = at.Unix()
		s.placeOn(v)
		if to.stage() != prologue {
			h.petime, h.rstime = at.Unix(), at.Unix()
			v.deployID = s.hostName(host) + ":" + v.name + ":dummy"
		}
	}
	if act := map[State]int{Stopped: actStop, Suspended: actSuspend, Poweroff: actPoweroff, Undeployed: actUndeploy}[to.state]; act != 0 {
		h := v.last()
		h.action, h.uid, h.gid = act, 0, 0
		h.retime = at.Unix()
	}
	if (to.lcm == Migrate || to.lcm == SaveMigrate) && to.state == Active {
		next := (v.last().host + 1) % len(s.hosts)
		v.hist = append(v.hist, history{seq: len(v.hist), host: next, uid: -1, gid: -1, request: -1, stime: at.Unix()})
		v.status = to
		s.after(v, phases[to.lcm].step, at)
		return
	}
	s.move(v, to, at)
}
