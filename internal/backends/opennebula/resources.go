package opennebula

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// resource is a row: how something beside VMs is read. Reads of a part of a VM begin with its
// document.
type resource struct {
	in   span
	read func(d *Driver, ctx context.Context, s backends.Session, id backends.ID) (any, error)
}

// resources is everything that can be read; what has no row, OpenNebula does not have.
var resources = map[backends.Resource]resource{
	backends.Hosts:     {span{}, pool("one.hostpool.info", "HOST_POOL", "HOST", nil, (*Driver).host)},
	backends.Templates: {span{}, pool("one.templatepool.info", "VMTEMPLATE_POOL", "VMTEMPLATE", everything, (*Driver).template)},
	backends.Images:    {span{}, pool("one.imagepool.info", "IMAGE_POOL", "IMAGE", everything, (*Driver).image)},
	backends.Storages:  {span{}, pool("one.datastorepool.info", "DATASTORE_POOL", "DATASTORE", nil, (*Driver).storage)},
	backends.Networks:  {span{}, pool("one.vnpool.info", "VNET_POOL", "VNET", everything, (*Driver).network)},

	backends.HostByID:     {span{}, single("one.host.info", "HOST", "host", (*Driver).host)},
	backends.TemplateByID: {span{}, single("one.template.info", "VMTEMPLATE", "virtual machine template", (*Driver).template)},
	backends.ImageByID:    {span{}, single("one.image.info", "IMAGE", "image", (*Driver).image)},
	backends.StorageByID:  {span{}, single("one.datastore.info", "DATASTORE", "datastore", (*Driver).storage)},
	backends.NetworkByID:  {span{}, single("one.vn.info", "VNET", "virtual network", (*Driver).network)},

	backends.VMDisks:         {span{}, membersOf("disks", func(vm *backends.VM) any { return vm.Disks })},
	backends.VMNICs:          {span{}, membersOf("nics", func(vm *backends.VM) any { return vm.NICs })},
	backends.VMConsoles:      {span{}, ofVM(func(d *Driver, m *machine) any { return d.consoles(m) })},
	backends.VMGuestMetrics:  {span{}, ofVM(func(_ *Driver, m *machine) any { return guestMetrics(m) })},
	backends.VMTPMs:          {features[tpmSection], ofVM(func(d *Driver, m *machine) any { return d.tpms(m) })},
	backends.VMMetrics:       {span{}, (*Driver).metrics},
	backends.VMPossibleHosts: {span{}, (*Driver).possibleHosts},
}

// everything is the filter and range of pools that take one: all that the user may see.
var everything = []any{allVisible, fromStart, toEnd}

// Reads reports whether there is a row for r in the release last seen.
func (d *Driver) Reads(r backends.Resource) bool {
	row, ok := resources[r]
	return ok && row.in.has(d.known())
}

// Read reads what r names. See the constants of [backends.Resource] for the types.
func (d *Driver) Read(ctx context.Context, s backends.Session, r backends.Resource, id backends.ID) (any, error) {
	row, ok := resources[r]
	if !ok {
		return nil, d.lacks("", fmt.Sprintf("OpenNebula has no %q.", r))
	}
	release, err := d.detect(ctx, s)
	if err != nil {
		return nil, err
	}
	if !row.in.has(release) {
		return nil, d.lacks("", fmt.Sprintf("OpenNebula %s has no %q.", release, r))
	}
	return row.read(d, ctx, s, id)
}

type reader = func(d *Driver, ctx context.Context, s backends.Session, id backends.ID) (any, error)

// pool reads a collection. One object that is damaged is an error of the whole: a collection that
// is short of one would look complete.
func pool[T any](method, root, element string, args []any, decode func(*Driver, record, bool) (T, error)) reader {
	return func(d *Driver, ctx context.Context, s backends.Session, _ backends.ID) (any, error) {
		return poolOf(d, ctx, s, request{method: method, args: args}, root, element, decode)
	}
}

func poolOf[T any](d *Driver, ctx context.Context, s backends.Session, r request, root, element string, decode func(*Driver, record, bool) (T, error)) ([]T, error) {
	doc, err := d.document(ctx, s, r, root+"/"+element, allElements)
	if err != nil {
		return nil, err
	}
	all := []T{}
	for {
		var one T
		item, err := doc.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil {
			one, err = decodeObject(d, recordOf(element, item), false, decode)
		}
		if err != nil {
			return nil, d.garbled(r, err)
		}
		all = append(all, one)
	}
}

func decodeObject[T any](d *Driver, rec record, whole bool, decode func(*Driver, record, bool) (T, error)) (one T, err error) {
	if !rec.has("NAME") {
		return one, errors.New(rec.Name + " without NAME")
	}
	if _, err := rec.need("ID"); err != nil {
		return one, err
	}
	return decode(d, rec, whole)
}

// single reads one object, with its whole record as Native.
func single[T any](method, root, noun string, decode func(*Driver, record, bool) (T, error)) reader {
	return func(d *Driver, ctx context.Context, s backends.Session, id backends.ID) (any, error) {
		n, err := d.pathID(id)
		if err != nil {
			return nil, err
		}
		r := request{method: method, args: []any{n}, subject: noun}
		rec, err := d.object(ctx, s, r, root)
		if err != nil {
			return nil, err
		}
		one, err := decodeObject(d, rec, true, decode)
		if err != nil {
			return nil, d.garbled(r, err)
		}
		return one, nil
	}
}

// ofVM reads a VM's document and takes a part of it.
func ofVM(part func(d *Driver, m *machine) any) reader {
	return func(d *Driver, ctx context.Context, s backends.Session, id backends.ID) (any, error) {
		m, _, err := d.machine(ctx, s, id)
		if err != nil {
			return nil, err
		}
		return part(d, m), nil
	}
}

// membersOf reads a VM and takes one member.
func membersOf(member string, part func(vm *backends.VM) any) reader {
	return func(d *Driver, ctx context.Context, s backends.Session, id backends.ID) (any, error) {
		vm, _, err := d.vm(ctx, s, id, backends.ViewFull, []string{member})
		if err != nil {
			return nil, err
		}
		return part(vm), nil
	}
}

// nativeIf is the whole record when it is asked for.
func nativeIf(whole bool, r record) any {
	if !whole {
		return nil
	}
	return native(r, objectTypes)
}

func (d *Driver) objectID(r record) backends.ID {
	return backends.ID{Backend: d.cfg.Name, Native: r.text("ID")}
}

// enum is a number in a document with its meaning.
type enum map[string]struct{ raw, state string }

// hostStates are the values of HOST/STATE. Source: include/Host.h.
var hostStates = enum{
	"0": {"INIT", "UNKNOWN"},
	"1": {"MONITORING_MONITORED", "ENABLED"},
	"2": {"MONITORED", "ENABLED"},
	"3": {"ERROR", "ERROR"},
	"4": {"DISABLED", "DISABLED"},
	"5": {"MONITORING_ERROR", "ERROR"},
	"6": {"MONITORING_INIT", "UNKNOWN"},
	"7": {"MONITORING_DISABLED", "DISABLED"},
	"8": {"OFFLINE", "OFFLINE"},
}

// Names of numbers, by the number. Sources: include/Image.h, include/Datastore.h.
var (
	imageStates  = []string{"INIT", "READY", "USED", "DISABLED", "LOCKED", "ERROR", "CLONE", "DELETE", "USED_PERS", "LOCKED_USED", "LOCKED_USED_PERS"}
	imageTypes   = []string{"OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT", "BACKUP", "FILESYSTEM"}
	storageTypes = []string{"IMAGE", "SYSTEM", "FILE", "BACKUP"}
)

// nameOf is a number's name; the number itself when it has none yet.
func nameOf(names []string, text string) string {
	if n, ok := number(text); ok && n < len(names) {
		return names[n]
	}
	return text
}

// host is a HOST. Capacity is what OpenNebula gives away, which may differ from what the machine
// has (overcommitment).
func (d *Driver) host(r record, whole bool) (backends.Host, error) {
	share := r.get("HOST_SHARE")
	h := backends.Host{
		ID: d.objectID(r), Backend: d.cfg.Name, DisplayName: r.text("NAME"), Native: nativeIf(whole, r),
		State: "UNKNOWN", RawState: r.text("STATE"),
		CPUs:             hundredths(firstText(share, "TOTAL_CPU", "MAX_CPU")),
		MemoryTotalBytes: scaled(firstText(share, "TOTAL_MEM", "MAX_MEM"), kib),
		MemoryFreeBytes:  scaled(freeMemory(r), kib),
		VMs:              []backends.ID{},
	}
	if st, ok := hostStates[r.text("STATE")]; ok {
		h.State, h.RawState = st.state, st.raw
	}
	if used := decimal(share.text("CPU_USAGE")); used != nil {
		h.CPUUsedShare = new(*used / 100)
	}
	for _, id := range r.get("VMS").all("ID") {
		if n, ok := number(id.Text); ok {
			h.VMs = append(h.VMs, d.id(n))
		}
	}
	h.Annotations = plain(r.get("TEMPLATE"))
	return h, nil
}

// freeMemory is the last sample: in HOST_SHARE up to 5.10, in MONITORING since.
func freeMemory(r record) string {
	if text := r.get("MONITORING").get("CAPACITY").text("FREE_MEMORY"); text != "" {
		return text
	}
	return r.get("HOST_SHARE").text("FREE_MEM")
}

func firstText(r record, names ...string) string {
	for _, name := range names {
		if text := r.text(name); text != "" {
			return text
		}
	}
	return ""
}

// hundredths is a number of CPUs that OpenNebula counts in hundredths.
func hundredths(text string) *int64 {
	n := integer(text)
	if n == nil {
		return nil
	}
	return new(*n / 100)
}

// plain are the single attributes of a template, without secrets.
func plain(t record) map[string]string {
	m := map[string]string{}
	for _, kid := range t.Kids {
		if !kid.vector() && !secret(kid.Name) {
			m[kid.Name] = kid.Text
		}
	}
	return m
}

func (d *Driver) template(r record, whole bool) (backends.Template, error) {
	t := r.get("TEMPLATE")
	attrs := plain(t)
	for _, shown := range []string{"DESCRIPTION", "CPU", "VCPU", "VCPU_MAX", "MEMORY", "MEMORY_MAX"} {
		delete(attrs, shown)
	}
	return backends.Template{
		ID: d.objectID(r), Backend: d.cfg.Name, DisplayName: r.text("NAME"), Native: nativeIf(whole, r),
		Description: filled(t.text("DESCRIPTION")), Owner: d.owner(ownerOf(r)), CPU: cpu(t), Memory: memory(t),
		CreateTime: moment(r.text("REGTIME")), Annotations: attrs,
	}, nil
}

func (d *Driver) image(r record, whole bool) (backends.Image, error) {
	return backends.Image{
		ID: d.objectID(r), Backend: d.cfg.Name, DisplayName: r.text("NAME"), Native: nativeIf(whole, r),
		Description: filled(r.get("TEMPLATE").text("DESCRIPTION")), Owner: d.owner(ownerOf(r)),
		Type: nameOf(imageTypes, r.text("TYPE")), State: nameOf(imageStates, r.text("STATE")),
		SizeBytes: scaled(r.text("SIZE"), mib), Storage: d.ref(r.text("DATASTORE_ID"), r.text("DATASTORE")),
		Persistent: yes(r.text("PERSISTENT")), ReadOnly: yes(r.get("TEMPLATE").text("READONLY")),
		CreateTime: moment(r.text("REGTIME")),
	}, nil
}

func (d *Driver) storage(r record, whole bool) (backends.Storage, error) {
	t := r.get("TEMPLATE")
	return backends.Storage{
		ID: d.objectID(r), Backend: d.cfg.Name, DisplayName: r.text("NAME"), Native: nativeIf(whole, r),
		Description: filled(t.text("DESCRIPTION")), Owner: d.owner(ownerOf(r)), Type: nameOf(storageTypes, r.text("TYPE")),
		TotalBytes: capacity(r.text("TOTAL_MB")), FreeBytes: capacity(r.text("FREE_MB")), UsedBytes: capacity(r.text("USED_MB")),
		Shared: yes(t.text("SHARED")),
	}, nil
}

// capacity is a datastore's size; OpenNebula says 0 for one it does not monitor.
func capacity(text string) *int64 {
	if text == "0" {
		return nil
	}
	return scaled(text, mib)
}

func (d *Driver) network(r record, whole bool) (backends.Network, error) {
	t := r.get("TEMPLATE")
	return backends.Network{
		ID: d.objectID(r), Backend: d.cfg.Name, DisplayName: r.text("NAME"), Native: nativeIf(whole, r),
		Description: filled(t.text("DESCRIPTION")), Owner: d.owner(ownerOf(r)), Bridge: r.text("BRIDGE"),
		MTU: integer(t.text("MTU")), VLAN: integer(r.text("VLAN_ID")),
	}, nil
}

// consoleTypes are the values of GRAPHICS/TYPE.
var consoleTypes = map[string]string{"VNC": "RFB", "SPICE": "SPICE", "SDL": "SDL", "RDP": "RDP"}

// consoles is TEMPLATE/GRAPHICS, of which there is one at most. Where it listens and its password
// stay here.
func (d *Driver) consoles(m *machine) []backends.Console {
	all := []backends.Console{}
	for i, g := range m.get("TEMPLATE").all("GRAPHICS") {
		raw := g.text("TYPE")
		c := backends.Console{ID: d.id(i), Protocol: "UNKNOWN", Raw: raw, Port: integer(g.text("PORT"))}
		if p, ok := consoleTypes[strings.ToUpper(raw)]; ok {
			c.Protocol = p
		}
		all = append(all, c)
	}
	return all
}

func (d *Driver) tpms(m *machine) []backends.TPM {
	all := []backends.TPM{}
	for i, t := range m.get("TEMPLATE").all("TPM") {
		all = append(all, backends.TPM{ID: d.id(i), Model: t.text("MODEL")})
	}
	return all
}

// metrics is the last sample: in the document, or else the newest that one.vm.monitoring has. Up to
// 4.0 the values stood at the top of the document, and some have had two names since.
func (d *Driver) metrics(ctx context.Context, s backends.Session, id backends.ID) (any, error) {
	m, _, err := d.machine(ctx, s, id)
	if err != nil {
		return nil, err
	}
	last := sample{m.get("MONITORING"), m.text("LAST_POLL")}
	switch {
	case m.has("NET_RX"):
		last.record = m.record
	case !last.vector():
		if last, err = d.newestSample(ctx, s, m.id); err != nil {
			return nil, err
		}
	}
	out := backends.Metrics{
		VCPUs:             integer(m.get("TEMPLATE").text("VCPU")),
		CPUUsedPercent:    decimal(last.text("CPU")),
		MemoryActualBytes: scaled(last.text("MEMORY"), kib),
		DiskReadBytes:     scaled(last.text("DISKRDBYTES"), 1),
		DiskWriteBytes:    scaled(last.text("DISKWRBYTES"), 1),
		DiskReadOps:       scaled(last.text("DISKRDIOPS"), 1),
		DiskWriteOps:      scaled(last.text("DISKWRIOPS"), 1),
		NetReceivedBytes:  scaled(firstText(last.record, "NETRX", "NET_RX"), 1),
		NetSentBytes:      scaled(firstText(last.record, "NETTX", "NET_TX"), 1),
		SampleTime:        last.time(),
	}
	if m.at.active() {
		out.StartTime = moment(m.last().text("RSTIME"))
	}
	if last.Name == "MONITORING" && last.vector() {
		out.Native = native(last.record, types{numbers: slices.Collect(maps.Keys(names(last.record)))})
	}
	return out, nil
}

// sample is what was measured. Since 5.12 it says when; before, the VM's last poll does.
type sample struct {
	record
	polled string
}

func (s sample) time() *time.Time {
	if !s.vector() {
		return nil
	}
	return moment(orElse(s.text("TIMESTAMP"), s.polled))
}

// names are the elements directly inside: in a sample, all are numbers where they can be.
func names(r record) map[string]bool {
	m := map[string]bool{}
	for _, kid := range r.Kids {
		m[kid.Name] = true
	}
	return m
}

// newestSample asks for all samples that are kept. Up to 5.10 each is a VM document with its
// MONITORING inside.
func (d *Driver) newestSample(ctx context.Context, s backends.Session, vm int) (sample, error) {
	r := request{method: "one.vm.monitoring", args: []any{vm}, subject: "virtual machine"}
	all, err := d.object(ctx, s, r, "MONITORING_DATA")
	if err != nil {
		return sample{}, err
	}
	var newest sample
	for _, rec := range all.all("MONITORING", "VM") {
		one := sample{rec, ""}
		if rec.Name == "VM" {
			one = sample{rec.get("MONITORING"), rec.text("LAST_POLL")}
		}
		if at, best := one.time(), newest.time(); at != nil && (best == nil || at.After(*best)) {
			newest = one
		}
	}
	return newest, nil
}

var contextAddress = regexp.MustCompile(`^ETH(\d+)(?:_ALIAS\d+)?_(IP|IP6|IP6_ULA)$`)

// guestMetrics are addresses only: those that the context gives to the guest, and those that some
// drivers see in it. Networks has the keys that XenAPI uses: "0/ip", "0/ipv6/0".
func guestMetrics(m *machine) backends.GuestMetrics {
	g := backends.GuestMetrics{Addresses: []string{}, Networks: map[string]string{}}
	add := func(text string) {
		if text != "" && !slices.Contains(g.Addresses, text) {
			g.Addresses = append(g.Addresses, text)
		}
	}
	counts := map[string]int{}
	for _, kid := range m.get("TEMPLATE").get("CONTEXT").Kids {
		match := contextAddress.FindStringSubmatch(kid.Name)
		if match == nil || kid.Text == "" {
			continue
		}
		add(kid.Text)
		g.Networks[networkKey(match[1], match[2], counts)] = kid.Text
	}
	for _, nic := range m.get("TEMPLATE").all("NIC", "NIC_ALIAS") {
		for _, key := range addressKeys {
			add(nic.text(key))
		}
	}
	sample := m.get("MONITORING")
	add(sample.text("GUEST_IP"))
	for text := range strings.SplitSeq(sample.text("GUEST_IP_ADDRESSES"), ",") {
		add(strings.TrimSpace(text))
	}
	return g
}

// networkKey is "0/ip" for a card's first IPv4 address, "0/ip/1" for the next, "0/ipv6/0" for IPv6.
func networkKey(card, kind string, counts map[string]int) string {
	key := card + "/ip"
	if kind != "IP" {
		key = card + "/ipv6"
	}
	n := counts[key]
	counts[key]++
	if n == 0 && kind == "IP" {
		return key
	}
	return key + "/" + strconv.Itoa(n)
}

var clusterTerm = regexp.MustCompile(`CLUSTER_ID = (\d+)`)

// candidate is a host with what possibleHosts looks at.
type candidate struct {
	backends.Host
	rec record
}

// possibleHosts is an estimate: the hosts that are enabled, in one of the VM's clusters, and have
// the CPU and memory that it needs left, the one it is on included. OpenNebula has no such call;
// the scheduler looks at requirements, storage and devices as well, and decides. The list is empty
// for users who may not see hosts.
func (d *Driver) possibleHosts(ctx context.Context, s backends.Session, id backends.ID) (any, error) {
	m, _, err := d.machine(ctx, s, id)
	if err != nil {
		return nil, err
	}
	all, err := poolOf(d, ctx, s, request{method: "one.hostpool.info"}, "HOST_POOL", "HOST",
		func(d *Driver, r record, whole bool) (candidate, error) {
			h, err := d.host(r, whole)
			return candidate{h, r}, err
		})
	if err != nil {
		return nil, err
	}
	hosts := []backends.Host{}
	for _, c := range all {
		if c.State == "ENABLED" && inCluster(m, c.rec) && (onHost(m, c.rec) || fits(m, c.rec)) {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts, nil
}

func inCluster(m *machine, host record) bool {
	terms := clusterTerm.FindAllStringSubmatch(m.get("TEMPLATE").text("AUTOMATIC_REQUIREMENTS"), -1)
	return len(terms) == 0 || slices.ContainsFunc(terms, func(t []string) bool { return t[1] == host.text("CLUSTER_ID") })
}

func onHost(m *machine, host record) bool {
	return m.at.placed() && m.last().text("HID") == host.text("ID")
}

func fits(m *machine, host record) bool {
	cpu, mem, known := m.usage()
	if !known {
		return false
	}
	share := host.get("HOST_SHARE")
	free := func(most, used string) int64 {
		a, b := integer(share.text(most)), integer(share.text(used))
		if a == nil || b == nil {
			return -1
		}
		return *a - *b
	}
	return cpu <= free("MAX_CPU", "CPU_USAGE") && mem <= free("MAX_MEM", "MEM_USAGE")
}
