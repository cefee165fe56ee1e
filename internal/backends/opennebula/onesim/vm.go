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
	u.ids = append(u.ids, v.id)
	u.vms++
	u.cpu += v.cpu()
	u.memory += v.memory()
	for _, d := range v.tmpl.all("DISK") {
		u.disk += max(0, d.id("SIZE"))
		if id := d.id("IMAGE_ID"); id >= 0 {
			u.images[id]++
		}
	}
	for _, n := range v.tmpl.all("NIC", "NIC_ALIAS") {
		if id := n.id("NETWORK_ID"); id >= 0 {
			u.leases[id]++
		}
	}
	if v.state == Active {
		u.running++
		u.runningCPU += v.cpu()
		u.runningMemory += v.memory()
	}
}

func (s *Server) usage(uid int) usage {
	u := usage{leases: map[int]int{}, images: map[int]int{}}
	for _, v := range s.vms {
		if v.uid == uid && v.state != Done {
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
	u := usage{leases: map[int]int{}, images: map[int]int{}}
	for _, v := range s.vms {
		if h := v.last(); h != nil && h.host == id && v.onAHost() {
			u.add(v)
		}
	}
	return u
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

// appendVM renders the whole document. Source: recorded one.vm.info of 6.10.0 and 4.14.2.
func (s *Server) appendVM(b []byte, v *vm) []byte {
	s.poll(v)
	b = s.owned(b, &v.object)
	if !s.release.since("4.0") {
		return s.appendAncient(b, v)
	}
	b = s.appendStates(b, v, true)
	b = v.lock.append(b)
	b = s.appendLastSample(b, v, "<MONITORING></MONITORING>")
	if s.release.since("6.2") {
		b = ids(b, "SCHED_ACTIONS", v.sched)
	}
	b = v.tmpl.append(append(b, "<TEMPLATE>"...))
	for _, id := range v.sched {
		b = s.scheds[id].append(b)
	}
	b = append(v.user.append(append(b, "</TEMPLATE><USER_TEMPLATE>"...)), "</USER_TEMPLATE>"...)
	b = s.appendHistory(b, v)
	for _, d := range v.snaps {
		b = d.append(b, s.release.old)
	}
	if s.release.since("6.6") {
		b = append(b, "<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS></BACKUP_IDS></BACKUPS>"...)
	}
	return append(b, "</VM>"...)
}

// appendAncient is the rest of a document of 3.x: the last sample at the top level, the user's attributes in TEMPLATE.
func (s *Server) appendAncient(b []byte, v *vm) []byte {
	b = s.appendStates(b, v, false)
	var last sample
	if n := len(v.samples); n > 0 {
		last = v.samples[n-1]
	}
	b = number(number(number(number(b, "MEMORY", last.mem), "CPU", 0), "NET_TX", last.mem/16), "NET_RX", last.mem/8)
	all := v.tmpl.clone()
	for _, a := range v.user {
		all.add(a)
	}
	return append(s.appendHistory(all.document(b), v), "</VM>"...)
}

func (s *Server) appendStates(b []byte, v *vm, prev bool) []byte {
	b = number(number(number(b, "LAST_POLL", v.lastPoll), "STATE", v.state), "LCM_STATE", v.lcm)
	if prev {
		b = number(number(b, "PREV_STATE", v.state), "PREV_LCM_STATE", v.lcm)
	}
	b = number(number(number(b, "RESCHED", bit(v.resched)), "STIME", v.stime), "ETIME", v.etime)
	return element(b, "DEPLOY_ID", v.deployID)
}

func (s *Server) appendLastSample(b []byte, v *vm, none string) []byte {
	if n := len(v.samples); n > 0 {
		return v.samples[n-1].append(b, v.id, s.release.old)
	}
	return append(b, none...)
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

// Members of the abridged documents, in their order. Source: recorded one.vmpool.info of 6.10.0.
var (
	shortDisk = strings.Fields(`DISK_ID DATASTORE DATASTORE_ID IMAGE IMAGE_ID SIZE TYPE CLONE CLONE_TARGET LN_TARGET
		DISK_SNAPSHOT_TOTAL_SIZE`)
	shortNIC = strings.Fields("IP MAC NETWORK NETWORK_ID NIC_ID SECURITY_GROUPS")
)

// appendShortVM renders the document as one.vmpool.info shows it since 5.8.
func (s *Server) appendShortVM(b []byte, v *vm) []byte {
	s.poll(v)
	b = s.appendStates(s.ownership(b, &v.object), v, false)
	b = v.lock.append(b)
	b = append(b, "<TEMPLATE>"...)
	for _, name := range []string{"CPU", "MEMORY", "VCPU"} {
		b = element(b, name, v.tmpl.get(name))
	}
	b = appendShort(b, &v.tmpl, "DISK", shortDisk)
	b = appendShort(b, &v.tmpl, "NIC", shortNIC)
	b = appendShort(b, &v.tmpl, "NIC_ALIAS", shortNIC)
	for _, g := range v.tmpl.all("GRAPHICS") {
		b = g.append(b)
	}
	b = append(b, "</TEMPLATE>"...)
	b = s.appendLastSample(b, v, "<MONITORING/>")
	b = append(b, "<USER_TEMPLATE>"...)
	for _, name := range []string{"LABELS", "ERROR", "SCHED_REQUIREMENTS"} {
		for _, a := range v.user.all(name) {
			b = a.append(b)
		}
	}
	b = append(b, "</USER_TEMPLATE>"...)
	h := v.last()
	if h == nil {
		return append(b, "<HISTORY_RECORDS/></VM>"...)
	}
	b = number(number(append(b, "<HISTORY_RECORDS><HISTORY>"...), "OID", v.id), "SEQ", h.seq)
	b = number(cdata(b, "HOSTNAME", s.hostName(h.host)), "HID", h.host)
	b = number(number(b, "CID", 0), "DS_ID", h.store)
	b = cdata(cdata(cdata(b, "VM_MAD", "dummy"), "TM_MAD", "dummy"), "ACTION", strconv.Itoa(h.action))
	return append(b, "</HISTORY></HISTORY_RECORDS></VM>"...)
}

func appendShort(b []byte, t *template, name string, members []string) []byte {
	for _, a := range t.all(name) {
		b = append(append(append(b, '<'), name...), '>')
		for _, m := range members {
			if a.has(m) {
				b = cdata(b, m, a.get(m))
			}
		}
		b = append(append(append(b, "</"...), name...), '>')
	}
	return b
}

// failed notes a driver's message where oned does.
func (v *vm) failed(at time.Time, text string) {
	v.user.set("ERROR", fmt.Sprintf("%s: %s", at.UTC().Format("Mon Jan _2 15:04:05 2006"), text))
}
