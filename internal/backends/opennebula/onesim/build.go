package onesim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// coreAttributes go into a VM's TEMPLATE; everything else is the user's. Source: VirtualMachine::insert.
var coreAttributes = strings.Fields(`BACKUP_CONFIG CONTEXT CPU CPU_COST CPU_MODEL DISK DISK_COST EMULATOR FEATURES GRAPHICS INPUT
	MEMORY MEMORY_COST MEMORY_MAX MEMORY_RESIZE_MODE MEMORY_SLOTS NIC NIC_ALIAS NIC_DEFAULT NUMA_NODE OS PCI RAW SUBMIT_ON_HOLD
	TEMPLATE_ID TOPOLOGY TPM VCPU VCPU_MAX VIDEO VMGROUP CLONING_TEMPLATE_ID`)

// restricted attributes, for everybody but oneadmin's group. Source: oned.conf VM_RESTRICTED_ATTR of 6.10.0, without those
// that only a vCenter understands.
var restricted = strings.Fields(`CONTEXT/FILES NIC/MAC NIC/VLAN_ID NIC/BRIDGE NIC/FILTER NIC/INBOUND_AVG_BW NIC/INBOUND_PEAK_BW
	NIC/INBOUND_PEAK_KB NIC/OUTBOUND_AVG_BW NIC/OUTBOUND_PEAK_BW NIC/OUTBOUND_PEAK_KB NIC_ALIAS/MAC NIC_ALIAS/VLAN_ID NIC_ALIAS/BRIDGE
	DISK/TOTAL_BYTES_SEC DISK/READ_BYTES_SEC DISK/WRITE_BYTES_SEC DISK/TOTAL_IOPS_SEC DISK/READ_IOPS_SEC DISK/WRITE_IOPS_SEC
	DISK/SIZE_IOPS_SEC DISK/ORIGINAL_SIZE DISK/SIZE_PREV DEPLOY_ID CPU_COST MEMORY_COST DISK_COST PCI EMULATOR RAW/DATA
	USER_PRIORITY USER_INPUTS/CPU USER_INPUTS/MEMORY USER_INPUTS/VCPU TOPOLOGY/PIN_POLICY TOPOLOGY/HUGEPAGE_SIZE`)

func (c *call) restrictedIn(t template) *refusal {
	if c.admin() {
		return nil
	}
	for _, r := range restricted {
		name, key, isVector := strings.Cut(r, "/")
		for _, a := range t.all(name) {
			if !isVector || a.has(key) {
				return refuse(codeAuthorization, "User [%d] : VM Template includes a restricted attribute %s.", c.user.id, cmp.Or(key, name))
			}
		}
	}
	return nil
}

// parse reads a template argument; code is what this method answers for a mistake in it.
func parseArg(text string, code int) (template, *refusal) {
	t, err := parseTemplate(text)
	if err != nil {
		return nil, refuse(code, "%v", err)
	}
	return t, nil
}

const maxName = 128

// checkName is oned's rule for names. Source: PoolObjectSQL::name_is_valid.
func checkName(name string) string {
	switch {
	case name == "":
		return "Invalid NAME, it cannot be empty"
	case len(name) > maxName:
		return "Invalid NAME, max length is 128 chars"
	}
	if i := strings.IndexAny(name, "&|:\\\";/'#{}$<>"); i >= 0 {
		return fmt.Sprintf("Invalid NAME, char '%c' is not allowed", name[i])
	}
	return ""
}

// allocate makes a VM out of a parsed template, as one.vm.allocate and one.template.instantiate do.
func (c *call) allocate(t template, hold bool) (*vm, *refusal) {
	if r := c.restrictedIn(t); r != nil {
		return nil, r
	}
	if q := c.user.vmQuota; q >= 0 && !c.admin() && c.usage(c.user.id).vms >= q {
		return nil, refuse(codeAuthorization, "User [%d] : user [%d] limit of %d reached for VMS quota in VM.", c.user.id, c.user.id, q)
	}
	name := t.get("NAME")
	if why := checkName(name); name != "" && why != "" {
		return nil, refuse(codeInternal, "%s", c.allocationText(why))
	}
	v := &vm{object: object{kind: kindVM, id: len(c.vms), uid: c.user.id, gid: c.gid, perms: private}, stime: c.now().Unix()}
	v.name = cmp.Or(name, fmt.Sprintf("one-%d", v.id))
	for _, a := range t {
		switch {
		case a.name == "NAME":
		case slices.Contains(coreAttributes, a.name):
			v.tmpl.add(a)
		default:
			v.user.add(a)
		}
	}
	if r := c.complete(v, hold); r != nil {
		for _, n := range c.nets {
			n.release(v.id, "")
		}
		return nil, r
	}
	c.vms = append(c.vms, v)
	state := Pending
	if hold {
		state = Hold
	}
	c.move(v, is(state), c.now())
	return v, nil
}

// allocationText is how 4.x words a refused allocation.
func (c *call) allocationText(text string) string {
	if c.release.old { // whose grammar has no empty vector
		return "Error allocating a new virtual machine. " + strings.Replace(text, "CBRACKET or VARIABLE", "VARIABLE", 1)
	}
	return text
}

// complete checks the capacity and fills in what the core adds to a template.
func (c *call) complete(v *vm, hold bool) *refusal {
	if n, err := strconv.Atoi(v.tmpl.get("MEMORY")); err != nil || n <= 0 {
		return refuse(codeInternal, "%s", c.allocationText("MEMORY attribute must be a positive integer value."))
	}
	if f, err := strconv.ParseFloat(v.tmpl.get("CPU"), 64); err != nil || f <= 0 {
		return refuse(codeInternal, "%s", c.allocationText("CPU attribute must be a positive float or integer value."))
	}
	disks, nics := v.tmpl.all("DISK"), v.tmpl.all("NIC", "NIC_ALIAS")
	for i, d := range disks {
		if why := c.fillDisk(v, d, i); why != "" {
			return refuse(codeInternal, "%s", c.allocationText(fmt.Sprintf("DISK %d: %s", i, why)))
		}
	}
	for i, n := range nics {
		if why := c.fillNIC(v, n, i); why != "" {
			return refuse(codeInternal, "%s", c.allocationText(why))
		}
	}
	if ctx := v.tmpl.all("CONTEXT"); len(ctx) > 0 {
		ctx[0].set("DISK_ID", strconv.Itoa(len(disks)))
		ctx[0].set("TARGET", "hda")
		c.fillContext(v)
	}
	if hold && !c.release.old {
		v.tmpl.set("SUBMIT_ON_HOLD", "YES")
	}
	v.tmpl.set("VMID", strconv.Itoa(v.id))
	c.require(v, len(disks) > 0, len(nics) > 0)
	return nil
}

// require adds the automatic requirements, the machine's uuid and the rules of the security groups.
func (c *call) require(v *vm, disks, nics bool) {
	if c.release.old {
		v.tmpl.set("AUTOMATIC_REQUIREMENTS", "!(PUBLIC_CLOUD = YES)")
	} else {
		requirements := "!(PUBLIC_CLOUD = YES) & !(PIN_POLICY = PINNED)"
		if disks || nics {
			requirements = "(CLUSTER_ID = 0) & " + requirements
			v.tmpl.set("AUTOMATIC_DS_REQUIREMENTS", `("CLUSTERS/ID" @> 0)`)
		}
		if nics {
			v.tmpl.set("AUTOMATIC_NIC_REQUIREMENTS", `("CLUSTERS/ID" @> 0)`)
		}
		v.tmpl.set("AUTOMATIC_REQUIREMENTS", requirements)
		v.fillUUID()
	}
	if slices.ContainsFunc(v.tmpl.all("NIC"), func(n *attr) bool { return n.has("SECURITY_GROUPS") }) {
		v.addRules()
	}
}

func (v *vm) fillUUID() {
	if len(v.tmpl.all("OS")) == 0 {
		v.tmpl.add(attr{name: "OS", vector: true})
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d of %d", v.id, v.stime))
	x := hex.EncodeToString(h[:16])
	v.tmpl.all("OS")[0].set("UUID", x[:8]+"-"+x[8:12]+"-4"+x[13:16]+"-8"+x[17:20]+"-"+x[20:])
}

func (v *vm) addRules() {
	v.tmpl.drop("SECURITY_GROUP_RULE")
	for _, way := range []string{"OUTBOUND", "INBOUND"} {
		v.tmpl.add(vector("SECURITY_GROUP_RULE", "PROTOCOL", "ALL", "RULE_TYPE", way, "SECURITY_GROUP_ID", "0", "SECURITY_GROUP_NAME", "default"))
	}
}

// fillDisk completes a DISK from its image; "" if that worked.
func (c *call) fillDisk(v *vm, d *attr, id int) string {
	d.set("DISK_ID", strconv.Itoa(id))
	if !d.has("IMAGE_ID") && !d.has("IMAGE") {
		return c.fillVolatile(v, d)
	}
	m, why := c.imageOf(d)
	if m == nil {
		return why
	}
	if !c.may(use, &m.object) {
		return fmt.Sprintf("User [%d] : Not authorized to perform USE IMAGE [%d].", c.user.id, m.id)
	}
	prefix := cmp.Or(m.tmpl.get("DEV_PREFIX"), "sd")
	for k, x := range map[string]string{"CLONE": "YES", "SAVE": "NO", "CLONE_TARGET": "SYSTEM", "DATASTORE": c.storeName(m.store),
		"DATASTORE_ID": strconv.Itoa(m.store), "DISK_SNAPSHOT_TOTAL_SIZE": "0", "IMAGE": m.name, "IMAGE_ID": strconv.Itoa(m.id),
		"LN_TARGET": "NONE", "READONLY": "NO", "SOURCE": m.source, "TM_MAD": "dummy", "TYPE": "FILE"} {
		d.set(k, x)
	}
	if m.persistent {
		d.set("CLONE", "NO")
		d.set("SAVE", "YES")
		d.set("PERSISTENT", "YES")
	}
	if !d.has("SIZE") {
		d.set("SIZE", strconv.Itoa(m.size))
	}
	if !d.has("DEV_PREFIX") {
		d.set("DEV_PREFIX", prefix)
	}
	if !d.has("TARGET") {
		d.set("TARGET", v.freeTarget(d.get("DEV_PREFIX")))
	}
	if !c.release.old {
		for k, x := range map[string]string{"ALLOW_ORPHANS": "NO", "CLUSTER_ID": "0", "DISK_TYPE": "FILE", "DRIVER": m.format,
			"FORMAT": m.format, "IMAGE_STATE": "2", "ORIGINAL_SIZE": strconv.Itoa(m.size)} {
			d.set(k, x)
		}
	}
	return ""
}

func (c *call) imageOf(d *attr) (*image, string) {
	if d.has("IMAGE_ID") {
		if m, ok := find(c.images, d.id("IMAGE_ID")); ok {
			return m, ""
		}
		return nil, "Image with ID: " + d.get("IMAGE_ID") + " does not exist"
	}
	for _, m := range c.images {
		if m.name == d.get("IMAGE") && m.uid == c.user.id {
			return m, ""
		}
	}
	return nil, fmt.Sprintf("User %d does not own an image with name: %s . Set IMAGE_UNAME or IMAGE_UID of owner in DISK.", c.user.id, d.get("IMAGE"))
}

// fillVolatile is a disk without an image: swap, fs or raw.
func (c *call) fillVolatile(v *vm, d *attr) string {
	if n := d.id("SIZE"); n <= 0 {
		return "SIZE attribute must be a positive integer value."
	}
	if !d.has("TYPE") {
		return "Type is missing in DISK"
	}
	for k, x := range map[string]string{"DEV_PREFIX": "sd", "DISK_TYPE": "FILE", "FORMAT": "raw", "DRIVER": "raw"} {
		if !d.has(k) {
			d.set(k, x)
		}
	}
	d.set("TARGET", v.freeTarget(d.get("DEV_PREFIX")))
	return ""
}

// freeTarget is the first device name nobody has: vda, vdb, …; the context's is hda.
func (v *vm) freeTarget(prefix string) string {
	taken := map[string]bool{}
	for _, d := range v.tmpl.all("DISK", "CONTEXT") {
		taken[d.get("TARGET")] = true
	}
	for x := 'a'; x <= 'z'; x++ {
		if t := prefix + string(x); !taken[t] {
			return t
		}
	}
	return prefix + "aa"
}

// fillNIC completes a NIC or NIC_ALIAS with a lease; "" if that worked.
func (c *call) fillNIC(v *vm, n *attr, id int) string {
	n.set("NIC_ID", strconv.Itoa(id))
	if !c.release.old && !n.has("NAME") {
		n.set("NAME", fmt.Sprintf("NIC%d", id))
	}
	if n.get("NETWORK_MODE") == "auto" {
		return ""
	}
	net, why := c.netOf(n)
	if net == nil {
		return why
	}
	if !c.may(use, &net.object) {
		return fmt.Sprintf("User [%d] : Not authorized to perform USE NET [%d].", c.user.id, net.id)
	}
	i, ok := net.lease(v.id)
	if !ok {
		return fmt.Sprintf("Cannot get IP/MAC lease from virtual network %d.", net.id)
	}
	a := net.address(i)
	for k, x := range map[string]string{"AR_ID": "0", "BRIDGE": net.tmpl.get("BRIDGE"), "IP": a.ip, "MAC": a.mac,
		"NETWORK": net.name, "NETWORK_ID": strconv.Itoa(net.id)} {
		n.set(k, x)
	}
	if !n.has("SECURITY_GROUPS") {
		n.set("SECURITY_GROUPS", "0")
	}
	if c.release.old {
		n.set("VLAN", "NO")
		return ""
	}
	for k, x := range map[string]string{"BRIDGE_TYPE": "linux", "CLUSTER_ID": "0", "DNS": net.tmpl.get("DNS"),
		"GATEWAY": net.tmpl.get("GATEWAY"), "TARGET": fmt.Sprintf("one-%d-%d", v.id, id), "VN_MAD": "dummy"} {
		n.set(k, x)
	}
	return ""
}

func (c *call) netOf(n *attr) (*vnet, string) {
	if !n.has("NETWORK_ID") && n.has("NETWORK") {
		for _, x := range c.nets {
			if x.name == n.get("NETWORK") {
				return x, ""
			}
		}
		return nil, fmt.Sprintf("User %d does not own a network with name: %s . Set NETWORK_UNAME or NETWORK_UID of owner in NIC.", c.user.id, n.get("NETWORK"))
	}
	if x, ok := find(c.nets, n.id("NETWORK_ID")); ok {
		return x, ""
	}
	return nil, "Virtual network with ID: " + n.get("NETWORK_ID") + " does not exist"
}

// netContext is what a context holds for each NIC when NETWORK=YES; an empty member has no value here.
var netContext = strings.Fields(`DNS EXTERNAL GATEWAY IP IP6 IP6_GATEWAY IP6_METHOD IP6_METRIC IP6_PREFIX_LENGTH IP6_ULA MAC MASK METHOD
	METRIC MTU NETWORK SEARCH_DOMAIN VLAN_ID VROUTER_IP VROUTER_IP6 VROUTER_MANAGEMENT`)

var oldNetContext = strings.Fields("IP MAC MASK NETWORK")

// fillContext writes the network part of a context anew.
func (s *Server) fillContext(v *vm) {
	contexts := v.tmpl.all("CONTEXT")
	if len(contexts) == 0 {
		return
	}
	ctx := contexts[0]
	ctx.kids = slices.DeleteFunc(ctx.kids, func(k attr) bool { return strings.HasPrefix(k.name, "ETH") })
	if !strings.EqualFold(ctx.get("NETWORK"), "YES") {
		return
	}
	for _, n := range v.tmpl.all("NIC", "NIC_ALIAS") {
		if !n.has("IP") {
			continue
		}
		prefix := "ETH" + n.get("NIC_ID") + "_"
		if n.name == "NIC_ALIAS" {
			prefix = "ETH" + n.get("PARENT_ID") + "_ALIAS" + n.get("ALIAS_ID") + "_"
		}
		known := map[string]string{"IP": n.get("IP"), "MAC": n.get("MAC"), "DNS": n.get("DNS"), "GATEWAY": n.get("GATEWAY")}
		if net, ok := find(s.nets, n.id("NETWORK_ID")); ok {
			known["MASK"], known["NETWORK"] = net.tmpl.get("NETWORK_MASK"), net.tmpl.get("NETWORK_ADDRESS")
		}
		members := netContext
		if s.release.old {
			members = oldNetContext
		}
		for _, m := range members {
			ctx.set(prefix+m, known[m])
		}
	}
}

// nextDevice is the first number above those of the given attributes.
func (v *vm) nextDevice(key string, names ...string) int {
	next := 0
	for _, a := range v.tmpl.all(names...) {
		next = max(next, a.id(key)+1)
	}
	return next
}
