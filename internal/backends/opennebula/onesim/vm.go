package onesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type vm struct {
	object
	status
	due  time.Time // when the present step ends; zero is never
	work *work     // what a hotplug or snapshot step does at its end

	resched    bool
	stime      int64
	etime      int64
	deployID   string
	tmpl, user template
	hist       []history
	snaps      []*diskSnapshots
	sched      []int
	migration  int // 0 save, 1 poweroff, 2 poweroff-hard
	backTo     status

	samples  []sample
	lastPoll int64

	mould *mould             // what tmpl and user are made of when somebody needs them; nil once they are there
	lease int                // the first of the NICs' addresses, of a VM with a mould
	kept  [formCount]*record // its documents, since it last changed
	shown *moment            // the gaps in them
}

// work is the other half of a call that goes through a transient state.
type work struct {
	step Step
	ok   func()
	fail func()
}

// history is one HISTORY record. Times are epoch seconds, 0 is not yet.
type history struct {
	seq, host, store                                             int
	stime, etime, pstime, petime, rstime, retime, estime, eetime int64
	action, uid, gid, request                                    int
	reason                                                       int
}

type diskSnapshots struct {
	disk, next, active int
	list               []diskSnapshot
}

type diskSnapshot struct {
	id, parent, size int
	date             int64
	name             string
	active           bool
}

type sample struct {
	at  int64
	mem int
}

func (v *vm) last() *history {
	if len(v.hist) == 0 {
		return nil
	}
	return &v.hist[len(v.hist)-1]
}

func (v *vm) cpu() float64 {
	f, err := strconv.ParseFloat(v.tmpl.get("CPU"), 64)
	if err != nil {
		return 0
	}
	return f
}

func (v *vm) memory() int {
	n, err := strconv.Atoi(v.tmpl.get("MEMORY"))
	if err != nil {
		return 0
	}
	return n
}

func (v *vm) disk(id int) *attr {
	for _, d := range v.tmpl.all("DISK") {
		if d.id("DISK_ID") == id {
			return d
		}
	}
	return nil
}

func (v *vm) nic(id int) *attr {
	for _, n := range v.tmpl.all("NIC", "NIC_ALIAS") {
		if n.id("NIC_ID") == id {
			return n
		}
	}
	return nil
}

// remove takes one DISK, NIC or SNAPSHOT out of the template.
func (v *vm) remove(name, key string, id int) {
	v.tmpl = slices.DeleteFunc(v.tmpl, func(a attr) bool { return a.name == name && a.id(key) == id })
}

// usage is what VMs hold of a host or a quota.
type usage struct {
	ids                  []int
	vms, running, memory int
	runningMemory, disk  int
	cpu, runningCPU      float64
	leases, images       map[int]int // how often each network and image is used
}

func (u *usage) add(v *vm) {
	l := v.load()
	u.ids = append(u.ids, v.id)
	u.vms++
	u.cpu += l.cpu
	u.memory += l.memory
	u.disk += l.disk
	for _, id := range l.images {
		u.images[id]++
	}
	for _, id := range l.nets {
		u.leases[id]++
	}
	if v.state == Active {
		u.running++
		u.runningCPU += l.cpu
		u.runningMemory += l.memory
	}
}

// load is what one VM holds.
type load struct {
	cpu          float64
	memory, disk int
	images, nets []int
}

func (v *vm) load() load {
	if v.mould != nil {
		return v.mould.load
	}
	l := load{cpu: v.cpu(), memory: v.memory()}
	for _, d := range v.tmpl.all("DISK") {
		l.disk += max(0, d.id("SIZE"))
		if id := d.id("IMAGE_ID"); id >= 0 {
			l.images = append(l.images, id)
		}
	}
	for _, n := range v.tmpl.all("NIC", "NIC_ALIAS") {
		if id := n.id("NETWORK_ID"); id >= 0 {
			l.nets = append(l.nets, id)
		}
	}
	return l
}

func (s *Server) usage(uid int) usage {
	return s.usageOf(func(v *vm) bool { return v.uid == uid && v.state != Done })
}

func (s *Server) usageOf(mine func(*vm) bool) usage {
	u := usage{leases: map[int]int{}, images: map[int]int{}}
	for _, v := range s.vms {
		if mine(v) {
			u.add(v)
		}
	}
	return u
}

// onAHost tells whether the VM holds a host's capacity: also when powered off or suspended.
func (v *vm) onAHost() bool {
	return v.state == Active || v.state == Poweroff || v.state == Suspended
}

func (s *Server) hostUsage(id int) usage {
	return s.usageOf(func(v *vm) bool {
		h := v.last()
		return h != nil && h.host == id && v.onAHost()
	})
}

// poll takes the samples that the monitor has sent since it last looked: of running VMs, every period, at most 20.
func (s *Server) poll(v *vm) {
	period := int64(s.monitoring / time.Second)
	h := v.last()
	if period <= 0 || v.state != Active || v.lcm != Running || h == nil {
		return
	}
	now := s.now().Unix()
	for at := max(v.lastPoll, h.rstime, now-20*period) + period; at <= now; at += period {
		v.samples = append(v.samples, sample{at, 16384 + int(at*7919+int64(v.id)*104729)%65536})
		v.lastPoll = at
	}
	if len(v.samples) > 20 {
		v.samples = slices.Clone(v.samples[len(v.samples)-20:])
	}
}

func (m sample) append(b []byte, id int, old bool) []byte {
	if old {
		return append(cdata(cdata(append(b, "<MONITORING>"...), "CPU", "0.0"), "MEMORY", strconv.Itoa(m.mem)), "</MONITORING>"...)
	}
	seed := int(m.at)%997 + id
	b = cdata(append(b, "<MONITORING>"...), "CPU", strconv.Itoa(seed%100))
	b = cdata(cdata(b, "DISKRDBYTES", strconv.Itoa(seed*3)), "DISKRDIOPS", strconv.Itoa(seed))
	b = cdata(cdata(b, "DISKWRBYTES", strconv.Itoa(seed*2)), "DISKWRIOPS", strconv.Itoa(seed/2))
	b = cdata(cdata(b, "ID", strconv.Itoa(id)), "MEMORY", strconv.Itoa(m.mem))
	b = cdata(cdata(b, "NETRX", strconv.Itoa(seed*5)), "NETTX", strconv.Itoa(seed*4))
	return append(cdata(b, "TIMESTAMP", strconv.FormatInt(m.at, 10)), "</MONITORING>"...)
}

func (s *Server) appendHistory(b []byte, v *vm) []byte {
	if len(v.hist) == 0 {
		return append(b, "<HISTORY_RECORDS/>"...)
	}
	b = append(b, "<HISTORY_RECORDS>"...)
	for i := range v.hist {
		b = append(s.appendRecord(b, v, &v.hist[i]), "</HISTORY>"...)
	}
	return append(b, "</HISTORY_RECORDS>"...)
}

func (s *Server) hostName(id int) string {
	if h, ok := find(s.hosts, id); ok {
		return h.name
	}
	return ""
}

// appendRecord leaves the element open: accounting puts the VM into it.
func (s *Server) appendRecord(b []byte, v *vm, h *history) []byte {
	b = number(number(append(b, "<HISTORY>"...), "OID", v.id), "SEQ", h.seq)
	b = number(element(b, "HOSTNAME", s.hostName(h.host)), "HID", h.host)
	ancient := !s.release.since("4.0")
	if s.release.old {
		if !ancient {
			b = number(b, "CID", -1)
		}
		b = number(number(b, "STIME", h.stime), "ETIME", h.etime)
		b = element(element(element(b, "VMMMAD", "dummy"), "VNMMAD", "dummy"), "TMMAD", "dummy")
		if !ancient {
			b = element(b, "DS_LOCATION", "/var/lib/one/datastores")
		}
		b = number(b, "DS_ID", h.store)
	} else {
		b = number(number(number(b, "CID", 0), "STIME", h.stime), "ETIME", h.etime)
		b = number(cdata(cdata(b, "VM_MAD", "dummy"), "TM_MAD", "dummy"), "DS_ID", h.store)
	}
	b = number(number(number(b, "PSTIME", h.pstime), "PETIME", h.petime), "RSTIME", h.rstime)
	b = number(number(number(b, "RETIME", h.retime), "ESTIME", h.estime), "EETIME", h.eetime)
	switch {
	case ancient:
		return number(b, "REASON", h.reason)
	case s.release.old:
		return number(number(b, "REASON", h.reason), "ACTION", h.action)
	}
	b = number(number(number(number(b, "ACTION", h.action), "UID", h.uid), "GID", h.gid), "REQUEST_ID", h.request)
	if s.release.since("7.0") {
		b = append(b, "<PLAN_ID>-1</PLAN_ID><ACTION_ID>-1</ACTION_ID>"...)
	}
	return b
}

func (d *diskSnapshots) append(b []byte, old bool) []byte {
	b = append(b, "<SNAPSHOTS>"...)
	if !old {
		b = cdata(cdata(b, "ALLOW_ORPHANS", "NO"), "CURRENT_BASE", "-1")
	}
	b = cdata(b, "DISK_ID", strconv.Itoa(d.disk))
	if !old {
		b = cdata(b, "NEXT_SNAPSHOT", strconv.Itoa(d.next))
	}
	for _, x := range d.list {
		b = append(b, "<SNAPSHOT>"...)
		if x.active {
			b = cdata(b, "ACTIVE", "YES")
		}
		if kids := d.children(x.id); kids != "" {
			b = cdata(b, "CHILDREN", kids)
		}
		b = cdata(cdata(b, "DATE", strconv.FormatInt(x.date, 10)), "ID", strconv.Itoa(x.id))
		b = cdata(cdata(b, "NAME", x.name), "PARENT", strconv.Itoa(x.parent))
		b = append(cdata(b, "SIZE", strconv.Itoa(x.size)), "</SNAPSHOT>"...)
	}
	return append(b, "</SNAPSHOTS>"...)
}

func (d *diskSnapshots) children(id int) string {
	var kids []string
	for _, x := range d.list {
		if x.parent == id {
			kids = append(kids, strconv.Itoa(x.id))
		}
	}
	return strings.Join(kids, ",")
}

func (d *diskSnapshots) find(id int) *diskSnapshot {
	for i := range d.list {
		if d.list[i].id == id {
			return &d.list[i]
		}
	}
	return nil
}

// failed notes a driver's message where oned does.
func (v *vm) failed(at time.Time, text string) {
	v.user.set("ERROR", fmt.Sprintf("%s: %s", at.UTC().Format("Mon Jan _2 15:04:05 2006"), text))
}
