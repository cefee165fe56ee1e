package onesim

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// element appends <name>text</name>, escaped.
func element(b []byte, name, text string) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = append(b, xmlText(text)...)
	return append(append(append(b, "</"...), name...), '>')
}

// number appends <name>n</name>.
func number[N int | int64 | State | LCM](b []byte, name string, n N) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = strconv.AppendInt(b, int64(n), 10)
	return append(append(append(b, "</"...), name...), '>')
}

// cdata appends <name><![CDATA[text]]></name>.
func cdata(b []byte, name, text string) []byte {
	b = append(append(append(b, '<'), name...), "><![CDATA["...)
	return append(append(append(append(b, text...), "]]></"...), name...), '>')
}

func xmlText(s string) string {
	if !strings.ContainsAny(s, "&<>") {
		return s
	}
	var out bytes.Buffer
	if err := xml.EscapeText(&out, []byte(s)); err != nil {
		return "" // a bytes.Buffer does not fail
	}
	return out.String()
}

// ids appends <name><ID>1</ID>…</name>.
func ids(b []byte, name string, list []int) []byte {
	b = append(append(append(b, '<'), name...), '>')
	for _, id := range list {
		b = number(b, "ID", id)
	}
	return append(append(append(b, "</"...), name...), '>')
}

// owned appends what every owned object begins with, up to its permissions.
func (s *Server) owned(b []byte, o *object) []byte {
	return o.perms.append(s.ownership(b, o))
}

func (s *Server) ownership(b []byte, o *object) []byte {
	b = number(append(append(append(b, '<'), o.kind.elem...), '>'), "ID", o.id)
	b = number(number(b, "UID", o.uid), "GID", o.gid)
	b = element(element(b, "UNAME", s.userName(o.uid)), "GNAME", s.groupName(o.gid))
	return element(b, "NAME", o.name)
}

func closing(b []byte, k kind) []byte { return append(append(append(b, "</"...), k.elem...), '>') }

func (t template) document(b []byte) []byte {
	return append(t.append(append(b, "<TEMPLATE>"...)), "</TEMPLATE>"...)
}

func (s *Server) document(b []byte, x thing, pool bool) []byte {
	switch x := x.(type) {
	case *host:
		return s.appendHost(b, x, pool)
	case *image:
		return s.appendImage(b, x)
	case *vmTemplate:
		b = s.owned(b, &x.object)
		b = number(x.lock.append(b), "REGTIME", x.regtime)
		return closing(x.tmpl.document(b), x.kind)
	case *vnet:
		return s.appendNet(b, x, pool)
	case *datastore:
		return s.appendDatastore(b, x)
	case *group:
		return s.appendGroup(b, x, pool)
	case *plain:
		if x.uid >= 0 {
			b = s.owned(b, &x.object)
		} else {
			b = element(number(append(append(append(b, '<'), x.kind.elem...), '>'), "ID", x.id), "NAME", x.name)
		}
		return closing(append(b, x.rest(s)...), x.kind)
	}
	return b
}

func (s *Server) appendHost(b []byte, h *host, pool bool) []byte {
	used := s.hostUsage(h.id)
	b = element(number(append(b, "<HOST>"...), "ID", h.id), "NAME", h.name)
	b = number(b, "STATE", h.state)
	if !s.release.old {
		b = number(b, "PREV_STATE", h.state)
	}
	b = cdata(cdata(b, "IM_MAD", "dummy"), "VM_MAD", "dummy")
	if s.release.old {
		return s.appendOldHost(b, h, used)
	}
	b = append(b, "<CLUSTER_ID>0</CLUSTER_ID><CLUSTER>default</CLUSTER><HOST_SHARE>"...)
	b = number(number(b, "MEM_USAGE", used.memory<<10), "CPU_USAGE", int(used.cpu*100+0.5))
	b = number(number(b, "TOTAL_MEM", hostMemory), "TOTAL_CPU", hostCPU)
	b = number(number(b, "MAX_MEM", hostMemory), "MAX_CPU", hostCPU)
	b = append(number(b, "RUNNING_VMS", len(used.ids)), "<VMS_THREAD>1</VMS_THREAD><DATASTORES>"...)
	b = cdata(cdata(b, "DISK_USAGE", "0"), "FREE_DISK", "20480")
	b = append(cdata(cdata(b, "MAX_DISK", "20480"), "USED_DISK", "9720"), "</DATASTORES>"...)
	b = append(append(b, hostDevices...), "</HOST_SHARE>"...)
	b = h.tmpl.document(ids(b, "VMS", used.ids))
	if pool {
		return append(b, "<MONITORING/></HOST>"...)
	}
	return append(s.appendHostSample(b, h), "</HOST>"...)
}

// appendHostSample is what the dummy monitor last said about a host: the numbers follow from the time.
func (s *Server) appendHostSample(b []byte, h *host) []byte {
	period := int64(s.monitoring.Seconds())
	at := s.now().Unix() / period * period
	used := int(at/period*37+int64(h.id)*11)%600 + 100
	memory := used * (hostMemory / hostCPU)
	b = number(number(append(b, "<MONITORING>"...), "TIMESTAMP", at), "ID", h.id)
	b = append(b, "<CAPACITY>"...)
	b = cdata(cdata(b, "FREE_CPU", strconv.Itoa(hostCPU-used)), "FREE_MEMORY", strconv.Itoa(hostMemory-memory))
	b = cdata(cdata(b, "USED_CPU", strconv.Itoa(used)), "USED_MEMORY", strconv.Itoa(memory))
	b = cdata(append(b, "</CAPACITY><SYSTEM>"...), "NETRX", strconv.FormatInt(at*31, 10))
	b = append(cdata(b, "NETTX", strconv.FormatInt(at*37, 10)), "</SYSTEM>"...)
	for node := range 2 {
		b = append(b, "<NUMA_NODE>"...)
		for _, size := range []string{"2048", "1048576"} {
			b = append(cdata(cdata(append(b, "<HUGEPAGE>"...), "FREE", "1024"), "SIZE", size), "</HUGEPAGE>"...)
		}
		b = cdata(append(b, "<MEMORY>"...), "FREE", strconv.Itoa((hostMemory-memory)/2))
		b = append(cdata(b, "USED", strconv.Itoa(memory/2)), "</MEMORY>"...)
		b = append(cdata(b, "NODE_ID", strconv.Itoa(node)), "</NUMA_NODE>"...)
	}
	return append(b, "</MONITORING>"...)
}

// appendOldHost is the rest of a host in 4.x.
func (s *Server) appendOldHost(b []byte, h *host, used usage) []byte {
	b = number(cdata(b, "VN_MAD", "dummy"), "LAST_MON_TIME", s.now().Unix())
	b = append(b, "<CLUSTER_ID>-1</CLUSTER_ID><CLUSTER></CLUSTER><HOST_SHARE><DISK_USAGE>0</DISK_USAGE>"...)
	b = number(number(b, "MEM_USAGE", used.memory<<10), "CPU_USAGE", int(used.cpu*100+0.5))
	b = append(b, "<MAX_DISK>20480</MAX_DISK>"...)
	b = number(number(b, "MAX_MEM", hostMemory), "MAX_CPU", hostCPU)
	b = append(b, "<FREE_DISK>20480</FREE_DISK><FREE_MEM>11023380</FREE_MEM><FREE_CPU>247</FREE_CPU>"+
		"<USED_DISK>9720</USED_DISK><USED_MEM>5753836</USED_MEM><USED_CPU>553</USED_CPU>"...)
	b = append(number(b, "RUNNING_VMS", len(used.ids)), "<DATASTORES></DATASTORES>"...)
	b = append(append(b, oldHostDevices...), "</HOST_SHARE>"...)
	return append(h.tmpl.document(ids(b, "VMS", used.ids)), "</HOST>"...)
}

func (s *Server) appendImage(b []byte, m *image) []byte {
	users := s.imageUsers(m.id)
	state := m.state
	if state == imageReady && len(users) > 0 {
		state = imageUsed
	}
	if state == imageUsed && m.persistent {
		state = imageUsedPersistent
	}
	b = m.lock.append(s.owned(b, &m.object))
	b = number(number(b, "TYPE", m.typ), "DISK_TYPE", 0)
	b = number(b, "PERSISTENT", bit(m.persistent))
	b = number(b, "REGTIME", m.regtime)
	b = cdata(cdata(b, "SOURCE", m.source), "PATH", m.path)
	if s.release.old {
		b = cdata(b, "FSTYPE", m.format)
	} else {
		b = cdata(cdata(b, "FORMAT", m.format), "FS", "")
	}
	b = number(number(b, "SIZE", m.size), "STATE", state)
	if !s.release.old {
		b = number(b, "PREV_STATE", state)
	}
	b = number(b, "RUNNING_VMS", len(users))
	b = append(b, "<CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID><TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT>"...)
	b = element(number(b, "DATASTORE_ID", m.store), "DATASTORE", s.storeName(m.store))
	b = append(ids(b, "VMS", users), "<CLONES></CLONES><APP_CLONES></APP_CLONES>"...)
	b = append(m.tmpl.document(b), "<SNAPSHOTS><ALLOW_ORPHANS><![CDATA[NO]]></ALLOW_ORPHANS><CURRENT_BASE><![CDATA[-1]]></CURRENT_BASE>"+
		"<NEXT_SNAPSHOT><![CDATA[0]]></NEXT_SNAPSHOT></SNAPSHOTS>"...)
	if s.release.since("6.6") {
		b = append(b, "<BACKUP_INCREMENTS></BACKUP_INCREMENTS><BACKUP_DISK_IDS></BACKUP_DISK_IDS>"...)
	}
	return closing(b, m.kind)
}

func bit(v bool) int {
	if v {
		return 1
	}
	return 0
}

func (s *Server) appendNet(b []byte, n *vnet, pool bool) []byte {
	b = n.lock.append(s.owned(b, &n.object))
	b = ids(b, "CLUSTERS", []int{0})
	b = cdata(cdata(b, "BRIDGE", n.tmpl.get("BRIDGE")), "BRIDGE_TYPE", "linux")
	if s.release.since("6.4") {
		b = cdata(cdata(b, "STATE", "1"), "PREV_STATE", "1")
	}
	b = cdata(append(b, "<PARENT_NETWORK_ID/>"...), "VN_MAD", "dummy")
	b = append(b, "<PHYDEV/><VLAN_ID/><OUTER_VLAN_ID/><VLAN_ID_AUTOMATIC>0</VLAN_ID_AUTOMATIC><OUTER_VLAN_ID_AUTOMATIC>0</OUTER_VLAN_ID_AUTOMATIC>"...)
	b = append(number(b, "USED_LEASES", len(n.leases)), "<VROUTERS></VROUTERS>"...)
	if s.release.since("6.4") {
		b = ids(b, "UPDATED_VMS", n.vms())
		b = append(b, "<OUTDATED_VMS></OUTDATED_VMS><UPDATING_VMS></UPDATING_VMS><ERROR_VMS></ERROR_VMS>"...)
	}
	b = append(n.tmpl.document(b), "<AR_POOL><AR>"...)
	first, last := n.address(0), n.address(leaseCount-1)
	b = cdata(cdata(cdata(b, "AR_ID", "0"), "IP", first.ip), "MAC", first.mac)
	b = cdata(cdata(b, "SIZE", strconv.Itoa(leaseCount)), "TYPE", "IP4")
	if !pool {
		b = cdata(cdata(b, "MAC_END", last.mac), "IP_END", last.ip)
		b = n.appendLeases(number(b, "USED_LEASES", len(n.leases)))
	}
	return closing(append(b, "</AR></AR_POOL>"...), n.kind)
}

func (n *vnet) appendLeases(b []byte) []byte {
	if len(n.leases) == 0 {
		return append(b, "<LEASES/>"...)
	}
	b = append(b, "<LEASES>"...)
	for _, i := range n.taken() {
		a := n.address(i)
		b = fmt.Appendf(b, "<LEASE><IP><![CDATA[%s]]></IP><MAC><![CDATA[%s]]></MAC><VM><![CDATA[%d]]></VM></LEASE>", a.ip, a.mac, n.leases[i])
	}
	return append(b, "</LEASES>"...)
}

func (s *Server) appendDatastore(b []byte, d *datastore) []byte {
	b = s.owned(b, &d.object)
	dsMad := "dummy"
	if d.typ == storeSystem {
		dsMad = "-"
	}
	b = cdata(cdata(b, "DS_MAD", dsMad), "TM_MAD", "dummy")
	b = cdata(b, "BASE_PATH", "/var/lib/one/datastores/"+strconv.Itoa(d.id))
	b = append(number(b, "TYPE", d.typ), "<DISK_TYPE>0</DISK_TYPE><STATE>0</STATE>"...)
	b = ids(b, "CLUSTERS", []int{0})
	b = number(number(number(b, "TOTAL_MB", d.total), "FREE_MB", d.free), "USED_MB", d.used)
	return closing(d.tmpl.document(ids(b, "IMAGES", s.imagesIn(d.id))), d.kind)
}

func (s *Server) appendGroup(b []byte, g *group, pool bool) []byte {
	b = element(number(append(b, "<GROUP>"...), "ID", g.id), "NAME", g.name)
	var members []int
	for _, u := range s.users {
		if u.in(g.id) {
			members = append(members, u.id)
		}
	}
	b = append(ids(g.tmpl.document(b), "USERS", members), "<ADMINS></ADMINS>"...)
	if pool {
		return fmt.Appendf(b, "</GROUP><QUOTAS><ID>%d</ID>%s</QUOTAS>", g.id, noQuotas)
	}
	return append(appendDefaultQuotas(append(b, noQuotas...), "GROUP"), "</GROUP>"...)
}
