package onesim

import (
	"strconv"
	"strings"
)

// form is a document of a VM in three sections. Between them stand what the monitor changes all the time: the time of the
// last poll, and the last sample.
type form struct {
	id                 int // its index in vm.kept
	head, middle, tail func(s *Server, b []byte, v *vm) []byte
	sample             func(s *Server, b []byte, v *vm) []byte
}

// The forms of a VM's document: whole as one.vm.info shows it, short as one.vmpool.info does since 5.8, ancient as 3.x did.
// Source: recorded one.vm.info and one.vmpool.info of 6.10.0 and 4.14.2.
var (
	wholeForm = &form{0, headOfWhole, middleOfWhole, tailOfWhole, func(s *Server, b []byte, v *vm) []byte {
		return s.appendLastSample(b, v, "<MONITORING></MONITORING>")
	}}
	shortForm = &form{1, headOfShort, middleOfShort, tailOfShort, func(s *Server, b []byte, v *vm) []byte {
		return s.appendLastSample(b, v, "<MONITORING/>")
	}}
	ancientForm = &form{0, headOfWhole, middleOfAncient, tailOfAncient, sampleOfAncient}
)

const formCount = 2

// whole is the form that this release shows of one VM.
func (s *Server) whole() *form {
	if s.release.since("4.0") {
		return wholeForm
	}
	return ancientForm
}

// moment is what the monitor last told of a VM, escaped, as the gaps of its documents have it.
type moment struct {
	at   int64
	gaps [2][]byte
}

// row renders a VM, or finds how it was rendered before.
func (s *Server) row(v *vm, f *form) *row {
	s.poll(v)
	if v.kept[f.id] == nil {
		w := v.grown(s)
		v.kept[f.id] = s.packer.pack(baseKey{f, v.status, len(v.hist)}, [sections]func([]byte) []byte{
			func(b []byte) []byte { return f.head(s, b, w) },
			func(b []byte) []byte { return f.middle(s, b, w) },
			func(b []byte) []byte { return f.tail(s, b, w) },
		})
	}
	if len(v.samples) == 0 {
		return &row{v.kept[f.id], s.gaps(v, f)}
	}
	if v.shown == nil || v.shown.at != v.lastPoll {
		v.shown = &moment{v.lastPoll, s.gaps(v, f)}
	}
	return &row{v.kept[f.id], v.shown.gaps}
}

func (s *Server) gaps(v *vm, f *form) [2][]byte {
	return [2][]byte{
		appendEscaped(nil, number(nil, "LAST_POLL", v.lastPoll)),
		appendEscaped(nil, f.sample(s, nil, v)),
	}
}

// documentOf is the document of one VM.
func (s *Server) documentOf(v *vm) *document {
	d := &document{}
	d.add(v.id, s.row(v, s.whole()))
	return d
}

func headOfWhole(s *Server, b []byte, v *vm) []byte { return s.owned(b, &v.object) }

func middleOfWhole(_ *Server, b []byte, v *vm) []byte { return v.lock.append(appendStates(b, v, true)) }

func tailOfWhole(s *Server, b []byte, v *vm) []byte {
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

func middleOfAncient(_ *Server, b []byte, v *vm) []byte { return appendStates(b, v, false) }

// sampleOfAncient is the last sample at the top level.
func sampleOfAncient(_ *Server, b []byte, v *vm) []byte {
	var last sample
	if n := len(v.samples); n > 0 {
		last = v.samples[n-1]
	}
	return number(number(number(number(b, "MEMORY", last.mem), "CPU", 0), "NET_TX", last.mem/16), "NET_RX", last.mem/8)
}

// tailOfAncient has the user's attributes in TEMPLATE.
func tailOfAncient(s *Server, b []byte, v *vm) []byte {
	all := v.tmpl.clone()
	for _, a := range v.user {
		all.add(a)
	}
	return append(s.appendHistory(all.document(b), v), "</VM>"...)
}

// appendStates begins after LAST_POLL.
func appendStates(b []byte, v *vm, prev bool) []byte {
	b = number(number(b, "STATE", v.state), "LCM_STATE", v.lcm)
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

// Members of the abridged documents, in their order. Source: recorded one.vmpool.info of 6.10.0.
var (
	shortDisk = strings.Fields(`DISK_ID DATASTORE DATASTORE_ID IMAGE IMAGE_ID SIZE TYPE CLONE CLONE_TARGET LN_TARGET
		DISK_SNAPSHOT_TOTAL_SIZE`)
	shortNIC = strings.Fields("IP MAC NETWORK NETWORK_ID NIC_ID SECURITY_GROUPS")
)

func headOfShort(s *Server, b []byte, v *vm) []byte { return s.ownership(b, &v.object) }

func middleOfShort(_ *Server, b []byte, v *vm) []byte {
	b = append(v.lock.append(appendStates(b, v, false)), "<TEMPLATE>"...)
	for _, name := range []string{"CPU", "MEMORY", "VCPU"} {
		b = element(b, name, v.tmpl.get(name))
	}
	b = appendShort(b, &v.tmpl, "DISK", shortDisk)
	b = appendShort(b, &v.tmpl, "NIC", shortNIC)
	b = appendShort(b, &v.tmpl, "NIC_ALIAS", shortNIC)
	for _, g := range v.tmpl.all("GRAPHICS") {
		b = g.append(b)
	}
	return append(b, "</TEMPLATE>"...)
}

func tailOfShort(s *Server, b []byte, v *vm) []byte {
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
