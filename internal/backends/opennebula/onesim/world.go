package onesim

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Parts of documents that never change here, as recorded from oned 6.10.0 and 4.14.2 with dummy drivers.
var (
	//go:embed recorded/config-6.10.0.xml
	configFile string
	//go:embed recorded/host-devices-6.10.0.xml
	hostDevicesFile string
	//go:embed recorded/host-devices-4.14.2.xml
	oldHostDevicesFile string

	systemConfig   = strings.TrimSpace(configFile)
	hostDevices    = strings.TrimSpace(hostDevicesFile)
	oldHostDevices = strings.TrimSpace(oldHostDevicesFile)
)

// What a dummy host offers: 8 cores in percent, 16 GiB in KiB.
const (
	hostCPU    = 800
	hostMemory = 16777216
)

// Numbers of image states and datastore types. Source: OpenNebula include/Image.h, Datastore.h.
const (
	imageReady          = 1
	imageUsed           = 2
	imageLocked         = 4
	imageError          = 5
	imageUsedPersistent = 8
	storeImage          = 0
	storeSystem         = 1
	storeFile           = 2
)

// Host states that can be set. Source: OpenNebula include/Host.h.
const (
	hostMonitored = 2
	hostDisabled  = 4
	hostOffline   = 8
)

// thing is any object but a VM or a user.
type thing interface{ header() *object }

type (
	host struct {
		object
		state int
		tmpl  template
	}
	image struct {
		object
		typ, state, size, store int
		persistent              bool
		regtime                 int64
		source, path, format    string
		tmpl                    template
	}
	vmTemplate struct {
		object
		regtime int64
		tmpl    template
	}
	datastore struct {
		object
		typ, total, free, used int
		tmpl                   template
	}
	vnet struct {
		object
		tmpl   template
		leases map[int]int // index in the address range → VM
		free   int         // no index below is free
	}
	// plain is an object that nothing here changes: clusters, zones, security groups.
	plain struct {
		object
		rest func(*Server) string
	}
)

// world is the data: what oned keeps in its database.
type world struct {
	users     []*user
	groups    []*group
	hosts     []*host
	images    []*image
	templates []*vmTemplate
	stores    []*datastore
	nets      []*vnet
	clusters  []*plain
	zones     []*plain
	secgroups []*plain
	vdcs      []*plain

	vms       []*vm // by id: none is ever removed
	busy      map[int]*vm
	scheds    map[int]*sched
	nextSched int
	requests  int
}

func newWorld(now time.Time, hosts int, passwords map[string]string, rel release) world {
	w := world{busy: map[int]*vm{}, scheds: map[int]*sched{}}
	w.groups = []*group{{object: object{kind: kindGroup, id: 0, uid: -1, gid: -1, name: "oneadmin"}},
		{object: object{kind: kindGroup, id: 1, uid: -1, gid: -1, name: "users"}, tmpl: template{vector("SUNSTONE",
			"DEFAULT_VIEW", "cloud", "GROUP_ADMIN_DEFAULT_VIEW", "groupadmin", "GROUP_ADMIN_VIEWS", "groupadmin,cloud", "VIEWS", "cloud")}}}
	for _, a := range []struct {
		name, password string
		gid            int
	}{{"oneadmin", "opennebula", 0}, {"serveradmin", "serveradmin-pw", 0}, {"alice", "alice-pw", 1}, {"bob", "bob-pw", 1}} {
		u := w.addUser(a.name, orDefault(passwords[a.name], a.password), a.gid)
		if a.name == "serveradmin" {
			u.driver = "server_cipher"
		}
		s := Server{release: rel}
		u.tmpl.set("TOKEN_PASSWORD", s.hash("token of "+a.name))
	}
	for i := range hosts {
		w.addHost(i, rel)
	}
	w.addStorage(now)
	w.addNet()
	w.addTemplates(now)
	w.addPlain()
	return w
}

func (w *world) addHost(id int, rel release) {
	name := fmt.Sprintf("dummy-host-%d", id)
	h := &host{object: object{kind: kindHost, id: id, uid: -1, gid: -1, name: name}, state: hostMonitored}
	pairs := []string{"ARCH", "x86_64", "CPUSPEED", "3200", "HOSTNAME", name, "HYPERVISOR", "dummy", "IM_MAD", "dummy",
		"KVM_CPU_FEATURES", "vme,ds,acpi,ss,ht,tm,pbe", "KVM_CPU_MODELS", "486 pentium Conroe Penryn Nehalem SandyBridge",
		"MODELNAME", "Dummy(R) Core @ 3.2GHz", "RESERVED_CPU", "", "RESERVED_MEM", "", "VM_MAD", "dummy"}
	if rel.old {
		pairs = []string{"CPUSPEED", "2.2GHz", "HOSTNAME", name, "HYPERVISOR", "dummy", "IM_MAD", "dummy", "RESERVED_CPU", "",
			"RESERVED_MEM", "", "VM_MAD", "dummy", "VN_MAD", "dummy"}
	}
	for i := 0; i < len(pairs); i += 2 {
		h.tmpl.add(attr{name: pairs[i], value: pairs[i+1]})
	}
	w.hosts = append(w.hosts, h)
}

// shared is what the objects that everybody uses carry: 644.
func shared() perms { return perms{0: true, 1: true, 3: true, 6: true} }

func root(k kind, id int, name string, p perms) object {
	return object{kind: k, id: id, name: name, perms: p}
}

func (w *world) addStorage(now time.Time) {
	group := perms{0: true, 1: true, 3: true}
	imageDS := []string{"ALLOW_ORPHANS", "NO", "CLONE_TARGET", "SYSTEM", "DISK_TYPE", "FILE", "DS_MAD", "dummy", "LN_TARGET", "NONE",
		"RESTRICTED_DIRS", "/", "SAFE_DIRS", "/var/tmp", "TM_MAD", "dummy", "TYPE", "IMAGE_DS"}
	systemDS := []string{"ALLOW_ORPHANS", "NO", "DISK_TYPE", "FILE", "DS_MIGRATE", "YES", "RESTRICTED_DIRS", "/", "SAFE_DIRS", "/var/tmp",
		"SHARED", "YES", "TM_MAD", "dummy", "TYPE", "SYSTEM_DS"}
	fileDS := []string{"ALLOW_ORPHANS", "NO", "CLONE_TARGET", "SYSTEM", "DS_MAD", "dummy", "LN_TARGET", "NONE", "RESTRICTED_DIRS", "/",
		"SAFE_DIRS", "/var/tmp", "TM_MAD", "dummy", "TYPE", "FILE_DS"}
	for _, d := range []struct {
		id               int
		name             string
		typ              int
		total, free, use int
		attrs            []string
	}{
		{0, "system", storeSystem, 0, 0, 0, systemDS}, {1, "default", storeImage, 0, 0, 0, imageDS}, {2, "files", storeFile, 0, 0, 0, fileDS},
		{100, "dummy-images", storeImage, 20480, 20480, 9720, imageDS}, {101, "dummy-system-2", storeSystem, 4796800, 3333260, 1429920, systemDS},
	} {
		ds := &datastore{object: root(kindDatastore, d.id, d.name, group), typ: d.typ, total: d.total, free: d.free, used: d.use}
		ds.tmpl = vectorless(d.attrs)
		w.stores = append(w.stores, ds)
	}
	for _, m := range []image{
		{object: root(kindImage, 0, "tiny-os", shared()), typ: 0, size: 1024, path: "/etc/hostname", format: "dummy_format"},
		{object: root(kindImage, 1, "tiny-data", shared()), typ: 2, size: 64, format: "raw"},
	} {
		m.state, m.store, m.source, m.regtime = imageReady, 100, "dummy_path", now.Unix()
		m.tmpl.set("DEV_PREFIX", "vd")
		w.images = append(w.images, &m)
	}
}

func vectorless(pairs []string) template {
	var t template
	for i := 0; i+1 < len(pairs); i += 2 {
		t.add(attr{name: pairs[i], value: pairs[i+1]})
	}
	return t
}

// addNet adds a network of 10.ID.0.0/16. All VMs that are not told otherwise are on the first.
func (w *world) addNet() {
	id := nextID(w.nets)
	name := "private"
	if id > 0 {
		name = fmt.Sprintf("private-%d", id)
	}
	prefix := fmt.Sprintf("10.%d.0.", id)
	w.nets = append(w.nets, &vnet{object: root(kindNet, id, name, shared()), leases: map[int]int{}, tmpl: vectorless([]string{
		"BRIDGE", fmt.Sprintf("br%d", id), "BRIDGE_TYPE", "linux", "DNS", prefix + "2", "GATEWAY", prefix + "1", "NETWORK_ADDRESS", prefix + "0",
		"NETWORK_MASK", "255.255.0.0", "OUTER_VLAN_ID", "", "PHYDEV", "", "SECURITY_GROUPS", "0", "VLAN_ID", "", "VN_MAD", "dummy"})})
}

func (w *world) addTemplates(now time.Time) {
	small := `CPU="0.1" MEMORY="64" VCPU="1" DISK=[IMAGE_ID="0"] NIC=[NETWORK_ID="0"] OS=[ARCH="x86_64"]
		GRAPHICS=[LISTEN="127.0.0.1",TYPE="VNC"]`
	ctx := `CPU="0.5" MEMORY="512" VCPU="2" DESCRIPTION="two disks, two nics, context" LABELS="test,gateway"
		DISK=[IMAGE_ID="0",SIZE="2048"] DISK=[IMAGE_ID="1"] NIC=[NETWORK_ID="0",SECURITY_GROUPS="0"] NIC=[NETWORK_ID="0"]
		CONTEXT=[HOSTNAME="$NAME",NETWORK="YES",SSH_PUBLIC_KEY="$USER[SSH_PUBLIC_KEY]",START_SCRIPT="echo hello"]
		GRAPHICS=[LISTEN="127.0.0.1",TYPE="VNC"] OS=[ARCH="x86_64",BOOT="disk0,nic0"]
		USER_INPUTS=[APP_PORT="O|number|Port of the application| |8080"]`
	for id, text := range []string{small, ctx} {
		t, err := parseTemplate(text)
		if err != nil {
			continue // the two texts above parse: the tests read them back
		}
		w.templates = append(w.templates, &vmTemplate{object: root(kindTemplate, id, []string{"small", "ctx"}[id], shared()),
			regtime: now.Unix(), tmpl: t})
	}
}

func (w *world) addPlain() {
	nobody := func(k kind, id int, name string) object { return object{kind: k, id: id, uid: -1, gid: -1, name: name} }
	w.clusters = []*plain{{nobody(kindCluster, 0, "default"), func(s *Server) string {
		b := ids(nil, "HOSTS", idsOf(s.hosts))
		b = ids(ids(b, "DATASTORES", idsOf(s.stores)), "VNETS", idsOf(s.nets))
		return string(vectorless([]string{"RESERVED_CPU", "", "RESERVED_MEM", ""}).document(b))
	}}}
	w.zones = []*plain{{nobody(kindZone, 0, "OpenNebula"), func(s *Server) string {
		return "<STATE>0</STATE><TEMPLATE><ENDPOINT><![CDATA[" + s.URL() + "]]></ENDPOINT></TEMPLATE><SERVER_POOL></SERVER_POOL>"
	}}}
	secgroup := shared()
	secgroup[2] = true
	w.secgroups = []*plain{{root(kindSecGroup, 0, "default", secgroup), secGroupRest}}
	w.vdcs = []*plain{{nobody(kindVDC, 0, "default"), func(*Server) string {
		return "<GROUPS><ID>1</ID></GROUPS><CLUSTERS><CLUSTER><ZONE_ID>0</ZONE_ID><CLUSTER_ID>-10</CLUSTER_ID></CLUSTER></CLUSTERS>" +
			"<HOSTS></HOSTS><DATASTORES></DATASTORES><VNETS></VNETS><TEMPLATE><DESCRIPTION><![CDATA[Every new group is added to this VDC.]]></DESCRIPTION></TEMPLATE>"
	}}}
}

func secGroupRest(*Server) string {
	return "<UPDATED_VMS></UPDATED_VMS><OUTDATED_VMS></OUTDATED_VMS><UPDATING_VMS></UPDATING_VMS><ERROR_VMS></ERROR_VMS><TEMPLATE>" +
		"<DESCRIPTION><![CDATA[The default security group is added to every network.]]></DESCRIPTION>" +
		"<RULE><PROTOCOL><![CDATA[ALL]]></PROTOCOL><RULE_TYPE><![CDATA[OUTBOUND]]></RULE_TYPE></RULE>" +
		"<RULE><PROTOCOL><![CDATA[ALL]]></PROTOCOL><RULE_TYPE><![CDATA[INBOUND]]></RULE_TYPE></RULE></TEMPLATE>"
}

func idsOf[T thing](list []T) []int {
	out := make([]int, 0, len(list))
	for _, x := range list {
		out = append(out, x.header().id)
	}
	return out
}

func find[T thing](list []T, id int) (T, bool) {
	i := slices.IndexFunc(list, func(x T) bool { return x.header().id == id })
	if i < 0 {
		var none T
		return none, false
	}
	return list[i], true
}

func nextID[T thing](list []T) int {
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].header().id + 1
}

// ordered is a pool's order: newest first, before 6.0 oldest first. Source: oned.conf API_LIST_ORDER.
func ordered[T any](c *call, list []T) []T {
	out := slices.Clone(list)
	if !c.release.oldest {
		slices.Reverse(out)
	}
	return out
}

func (s *Server) storeName(id int) string {
	if d, ok := find(s.stores, id); ok {
		return d.name
	}
	return ""
}

func (s *Server) imagesIn(store int) []int {
	var out []int
	for _, m := range s.images {
		if m.store == store {
			out = append(out, m.id)
		}
	}
	return out
}

// imageUsers are the VMs that have a disk of the image. Derived, so that it cannot be wrong.
func (s *Server) imageUsers(id int) []int {
	var out []int
	for _, v := range s.vms {
		if v.state != Done && slices.Contains(v.load().images, id) {
			out = append(out, v.id)
		}
	}
	return out
}

const leaseCount = 60000

type address struct{ ip, mac string }

func (n *vnet) address(i int) address {
	a := 10 + i
	return address{fmt.Sprintf("10.%d.%d.%d", n.id, a>>8&255, a&255), fmt.Sprintf("02:00:0a:%02x:%02x:%02x", n.id, a>>8&255, a&255)}
}

// lease takes the lowest free address; false if there is none.
func (n *vnet) lease(vm int) (int, bool) {
	for ; n.free < leaseCount; n.free++ {
		if _, taken := n.leases[n.free]; !taken {
			n.leases[n.free] = vm
			n.free++
			return n.free - 1, true
		}
	}
	return 0, false
}

// release gives back one address of a VM, or with "" all.
func (n *vnet) release(vm int, ip string) {
	for i, owner := range n.leases {
		if owner == vm && (ip == "" || n.address(i).ip == ip) {
			delete(n.leases, i)
			n.free = min(n.free, i)
		}
	}
}

func (n *vnet) taken() []int { return slices.Sorted(maps.Keys(n.leases)) }

func (n *vnet) vms() []int {
	out := slices.Sorted(maps.Values(n.leases))
	return slices.Compact(out)
}
