package xenapi

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// resource is a row of what can be read beside VMs.
type resource struct {
	class string // of the object that the URL names; "" for a collection
	read  func(ctx context.Context, n *names, h *handle) (any, error)
}

// resources is every resource of XenAPI; backends.Resource says the type that each gives.
var resources = map[backends.Resource]resource{
	backends.Hosts:     {"", all("host", hostFields, (*names).host)},
	backends.Templates: {"", templates},
	backends.Images:    {"", all("VDI", vdiFields, (*names).image)},
	backends.Storages:  {"", all("SR", srFields, (*names).storage)},
	backends.Networks:  {"", all("network", networkFields, (*names).network)},

	backends.HostByID:     {"host", one(hostFields, (*names).host)},
	backends.TemplateByID: {"VM", ofVM(templateByID)},
	backends.ImageByID:    {"VDI", one(vdiFields, (*names).image)},
	backends.StorageByID:  {"SR", one(srFields, (*names).storage)},
	backends.NetworkByID:  {"network", one(networkFields, (*names).network)},

	backends.VMDisks:         {"VM", ofVM(disksOf)},
	backends.VMNICs:          {"VM", ofVM(nicsOf)},
	backends.VMConsoles:      {"VM", ofVM(consolesOf)},
	backends.VMMetrics:       {"VM", ofVM(metricsOf)},
	backends.VMGuestMetrics:  {"VM", ofVM(guestMetricsOf)},
	backends.VMCrashDumps:    {"VM", ofVM(crashDumpsOf)},
	backends.VMTPMs:          {"VM", ofVM(tpmsOf)},
	backends.VMBootRecord:    {"VM", bootRecord},
	backends.VMPossibleHosts: {"VM", possibleHosts},
	backends.VMAllowedDisks:  {"VM", devicesOf("VM.get_allowed_VBD_devices")},
	backends.VMAllowedNICs:   {"VM", devicesOf("VM.get_allowed_VIF_devices")},
}

// Reads reports whether XenAPI has a resource; all releases have the same.
func (d *Driver) Reads(r backends.Resource) bool {
	_, ok := resources[r]
	return ok
}

// Read reads a resource.
func (d *Driver) Read(ctx context.Context, s backends.Session, r backends.Resource, id backends.ID) (any, error) {
	row, ok := resources[r]
	if !ok {
		return nil, d.unsupported("XenAPI has no " + string(r) + ".")
	}
	l := d.link(s)
	l.doing = "asked for this"
	if row.class == "" {
		return row.read(ctx, l.names(true), nil)
	}
	h, err := l.open(ctx, row.class, id)
	if err != nil {
		return nil, err
	}
	return row.read(ctx, l.names(false), h)
}

func (d *Driver) unsupported(detail string) *backends.Error {
	return &backends.Error{
		Code: backends.UnsupportedByBackend, Detail: detail,
		Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.XenAPI},
	}
}

// one reads the record of the URL's object and makes something of it.
func one[R, T any](table fields[R], build func(*names, context.Context, *R) (T, error)) func(context.Context, *names, *handle) (any, error) {
	return func(ctx context.Context, n *names, h *handle) (any, error) {
		method := h.class + ".get_record"
		v, err := n.on(ctx, h, method)
		if err != nil {
			return nil, err
		}
		r, err := record(table, v)
		if err != nil {
			return nil, n.d.undecodable(method, err)
		}
		return build(n, ctx, r)
	}
}

// all reads all records of a class, in the order of their names and ids.
func all[R, T any](class string, table fields[R], build func(*names, context.Context, *R) (T, error)) func(context.Context, *names, *handle) (any, error) {
	return func(ctx context.Context, n *names, _ *handle) (any, error) {
		records, err := readAll(ctx, n, class, table)
		if err != nil {
			return nil, err
		}
		return buildAll(ctx, n, records, build)
	}
}

// buildAll makes something of all records. XenAPI's maps have no order of their own, so it is the
// one of names and ids.
func buildAll[R, T any](ctx context.Context, n *names, records map[string]*R, build func(*names, context.Context, *R) (T, error)) ([]T, error) {
	refs := make([]string, 0, len(records))
	for ref := range records {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, func(a, b string) int {
		return cmp.Or(cmp.Compare(n.known[a].label, n.known[b].label), cmp.Compare(n.known[a].uuid, n.known[b].uuid))
	})
	built := make([]T, 0, len(refs))
	for _, ref := range refs {
		t, err := build(n, ctx, records[ref])
		if err != nil {
			return nil, err
		}
		built = append(built, t)
	}
	return built, firstDamage(n)
}

// firstDamage refuses a collection of which a record could not be read: leaving it out would say
// that it is not there.
func firstDamage(n *names) error {
	for _, err := range n.damaged {
		return err
	}
	return nil
}

func (n *names) host(ctx context.Context, r *hostRecord) (backends.Host, error) {
	h := backends.Host{
		ID: n.d.id(r.uuid), Backend: n.d.cfg.Name, DisplayName: n.d.clean(r.label, ""), Description: n.setting(r.description),
		Address: r.address, CPUs: cpuCount(r), Annotations: n.dict(r.otherConfig),
	}
	metrics, err := n.hostMetrics(ctx, r.metrics)
	if err != nil {
		return h, err
	}
	h.State, h.RawState = hostState(r.enabled, metrics)
	if metrics != nil {
		h.MemoryTotalBytes, h.MemoryFreeBytes = metrics.total, metrics.free
	}
	guests := slices.DeleteFunc(slices.Clone(r.residentVMs), func(ref string) bool { return ref == r.controlDomain })
	h.VMs, err = n.ids(ctx, "VM", guests)
	return h, err
}

func (n *names) hostMetrics(ctx context.Context, ref string) (*hostMetricsRecord, error) {
	if !n.bulk {
		return get(ctx, n, "host_metrics", ref, hostMetricsFields, nil)
	}
	if n.hosts == nil {
		all, err := readAll(ctx, n, "host_metrics", hostMetricsFields)
		if err != nil {
			return nil, err
		}
		n.hosts = all
	}
	return n.hosts[ref], nil
}

// hostState derives a host's state: XenAPI says it with two booleans.
func hostState(enabled *bool, metrics *hostMetricsRecord) (state, raw string) {
	switch {
	case metrics != nil && metrics.live != nil && !*metrics.live:
		return "OFFLINE", "not live"
	case enabled == nil:
		return "UNKNOWN", ""
	case !*enabled:
		return "DISABLED", "disabled"
	case metrics == nil || metrics.live == nil:
		return "UNKNOWN", "enabled"
	}
	return "ENABLED", "enabled"
}

// cpuCount is the number of physical CPUs: host.cpu_info has it since XenServer 5.6.
func cpuCount(r *hostRecord) *int64 {
	if n, err := strconv.ParseInt(r.cpuInfo["cpu_count"], 10, 64); err == nil {
		return &n
	}
	if n := int64(len(r.hostCPUs)); n > 0 {
		return &n
	}
	return nil
}

func templates(ctx context.Context, n *names, _ *handle) (any, error) {
	a, err := n.stream(ctx, ofLookups, "VM.get_all_records_where", equals("is_a_template", "true")+" and "+equals("is_a_snapshot", "false"))
	if err != nil {
		return nil, err
	}
	defer a.close()
	all := []backends.Template{}
	r := n.reader(backends.Query{View: backends.ViewID})
	err = a.records(r.rec, func(damaged error) error {
		if damaged != nil {
			return damage{damaged}
		}
		t, err := template(ctx, r)
		all = append(all, t)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b backends.Template) int {
		return cmp.Or(cmp.Compare(a.DisplayName, b.DisplayName), cmp.Compare(a.ID.Native, b.ID.Native))
	})
	return all, nil
}

func template(ctx context.Context, r *vmReader) (t backends.Template, err error) {
	vm, err := r.some("displayName", "description", "cpu", "memory", "annotations").read(ctx)
	if err != nil {
		return t, err
	}
	t = backends.Template{
		ID: vm.ID, Backend: vm.Backend, Description: vm.Description, CPU: vm.CPU, Memory: vm.Memory, Annotations: vm.Annotations,
	}
	if vm.DisplayName != nil {
		t.DisplayName = *vm.DisplayName
	}
	if t.Memory != nil {
		t.Memory.TargetBytes, t.Memory.OverheadBytes = nil, nil
	}
	t.Default, err = r.shipped(vm)
	return t, err
}

// templateByID refuses VMs and snapshots, which XenAPI keeps in the same class.
func templateByID(ctx context.Context, r *vmReader) (backends.Template, error) {
	vm, err := r.some("template", "snapshot").read(ctx)
	if err != nil {
		return backends.Template{}, err
	}
	if !isTemplate(vm) {
		return backends.Template{}, &backends.Error{Code: backends.NotFound, Detail: "There is no template with this id."}
	}
	return template(ctx, r)
}

func isTemplate(vm *backends.VM) bool { return isTrue(vm.Template) && !isTrue(vm.Snapshot) }

func isTrue(b *bool) bool { return b != nil && *b }

// shipped reports whether a template came with the product: a member since XenServer 7.2, a key of
// other_config before.
func (r *vmReader) shipped(vm *backends.VM) (*bool, error) {
	if v := r.rec.Value(slotShipped); v.Kind() != scan.Invalid {
		is, err := v.Bool()
		return &is, blame(slotNames[slotShipped], err)
	}
	return new(vm.Annotations["default_template"] == "true"), nil
}

func (n *names) image(ctx context.Context, r *vdiRecord) (backends.Image, error) {
	i := backends.Image{
		ID: n.d.id(r.uuid), Backend: n.d.cfg.Name, DisplayName: n.d.clean(r.label, ""), Description: n.setting(r.description),
		Type: r.kind, SizeBytes: r.size, UsedBytes: r.used, Persistent: persistent(r), ReadOnly: r.readOnly,
	}
	if isTrue(r.missing) {
		i.State = "missing"
	}
	var err error
	i.Storage, err = n.ref(ctx, "SR", r.sr)
	return i, err
}

func (n *names) storage(_ context.Context, r *srRecord) (backends.Storage, error) {
	s := backends.Storage{
		ID: n.d.id(r.uuid), Backend: n.d.cfg.Name, DisplayName: n.d.clean(r.label, ""), Description: n.setting(r.description),
		Type: r.kind, ContentType: r.content, UsedBytes: r.used, Shared: r.shared,
	}
	// A storage that is not attached says -1 or 0.
	if r.size != nil && *r.size > 0 {
		s.TotalBytes = r.size
		if r.used != nil && *r.used >= 0 && *r.used <= *r.size {
			free := *r.size - *r.used
			s.FreeBytes = &free
		}
	}
	if r.used != nil && *r.used < 0 {
		s.UsedBytes = nil
	}
	return s, nil
}

func (n *names) network(_ context.Context, r *networkRecord) (backends.Network, error) {
	return backends.Network{
		ID: n.d.id(r.uuid), Backend: n.d.cfg.Name, DisplayName: n.d.clean(r.label, ""), Description: n.setting(r.description),
		Bridge: r.bridge, MTU: r.mtu,
	}, nil
}

// ofVM reads the record of the URL's VM and makes something of it.
func ofVM[T any](build func(context.Context, *vmReader) (T, error)) func(context.Context, *names, *handle) (any, error) {
	return func(ctx context.Context, n *names, h *handle) (any, error) {
		const method = "VM.get_record"
		v, err := n.on(ctx, h, method)
		if err != nil {
			return nil, err
		}
		return vmPart(ctx, n, method, v, build)
	}
}

// vmPart makes something of the record of a VM that method answered with.
func vmPart[T any](ctx context.Context, n *names, method string, v scan.Value, build func(context.Context, *vmReader) (T, error)) (t T, err error) {
	r := n.reader(backends.Query{View: backends.ViewID})
	if err = r.parse(v); err == nil {
		t, err = build(ctx, r)
	}
	if err != nil {
		return t, n.d.undecodable(method, err)
	}
	return t, nil
}

func disksOf(ctx context.Context, r *vmReader) ([]backends.Disk, error) {
	refs, err := r.refs(slotVBDs)
	if err != nil {
		return nil, err
	}
	return r.devices.disks(ctx, refs)
}

func nicsOf(ctx context.Context, r *vmReader) ([]backends.NIC, error) {
	refs, err := r.refs(slotVIFs)
	if err != nil {
		return nil, err
	}
	guest, err := r.reference(slotGuestMetrics)
	if err != nil {
		return nil, err
	}
	return r.devices.nics(ctx, refs, guest)
}

var protocols = map[string]string{"rfb": "RFB", "vt100": "VT100", "rdp": "RDP"}

func consolesOf(ctx context.Context, r *vmReader) ([]backends.Console, error) {
	refs, err := r.refs(slotConsoles)
	if err != nil {
		return nil, err
	}
	return each(ctx, r.names, "console", refs, consoleFields, func(console *consoleRecord) (backends.Console, error) {
		c := backends.Console{ID: r.d.id(console.uuid), Protocol: protocols[console.protocol], Raw: console.protocol}
		if c.Protocol == "" {
			c.Protocol = "UNKNOWN"
		}
		return c, nil
	})
}

func crashDumpsOf(ctx context.Context, r *vmReader) ([]backends.CrashDump, error) {
	refs, err := r.refs(slotCrashDumps)
	if err != nil {
		return nil, err
	}
	return each(ctx, r.names, "crashdump", refs, crashDumpFields, func(c *crashDumpRecord) (backends.CrashDump, error) {
		dump := backends.CrashDump{ID: r.d.id(c.uuid)}
		vdi, err := get(ctx, r.names, "VDI", c.vdi, vdiFields, nil)
		if vdi != nil {
			dump.SizeBytes = vdi.size
			dump.Image = &backends.Ref{ID: r.d.id(vdi.uuid), DisplayName: r.d.clean(vdi.label, "")}
		}
		return dump, err
	})
}

func tpmsOf(ctx context.Context, r *vmReader) ([]backends.TPM, error) {
	refs, err := r.refs(slotVTPMs)
	if err != nil {
		return nil, err
	}
	return each(ctx, r.names, "VTPM", refs, tpmFields, func(t *tpmRecord) (backends.TPM, error) {
		return backends.TPM{ID: r.d.id(t.uuid), Unique: t.unique, Protected: t.protected, Storage: t.persistence}, nil
	})
}

// each reads the records behind references, one by one.
func each[R, T any](ctx context.Context, n *names, class string, refs []string, table fields[R], build func(*R) (T, error)) ([]T, error) {
	built := make([]T, 0, len(refs))
	for _, ref := range refs {
		r, err := get(ctx, n, class, ref, table, nil)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		t, err := build(r)
		if err != nil {
			return nil, err
		}
		built = append(built, t)
	}
	return built, nil
}

func metricsOf(ctx context.Context, vm *vmReader) (backends.Metrics, error) {
	n := vm.names
	ref, err := vm.reference(slotMetrics)
	if err != nil {
		return backends.Metrics{}, err
	}
	r, err := get(ctx, n, "VM_metrics", ref, metricsFields, nil)
	if err == nil && r == nil {
		err = nothing("The VM has no metrics.")
	}
	if err != nil {
		return backends.Metrics{}, err
	}
	return backends.Metrics{
		SampleTime: r.when, StartTime: r.started, InstallTime: r.installed, VCPUs: r.vcpus,
		VCPUUtilisation: r.utilisation, CPUUsedPercent: percent(r.utilisation), MemoryActualBytes: r.memory,
	}, nil
}

// percent is the sum over all vCPUs, of one CPU.
func percent(utilisation map[string]float64) *float64 {
	if len(utilisation) == 0 {
		return nil
	}
	sum := 0.0
	for _, u := range utilisation {
		sum += u * 100
	}
	return &sum
}

func guestMetricsOf(ctx context.Context, vm *vmReader) (backends.GuestMetrics, error) {
	n := vm.names
	ref, err := vm.reference(slotGuestMetrics)
	if err != nil {
		return backends.GuestMetrics{}, err
	}
	r, err := get(ctx, n, "VM_guest_metrics", ref, guestFields, nil)
	if err == nil && r == nil {
		err = nothing("The VM's guest has not reported anything.")
	}
	if err != nil {
		return backends.GuestMetrics{}, err
	}
	return backends.GuestMetrics{
		SampleTime: r.when, Live: r.live, OSVersion: n.dict(r.os), Drivers: n.dict(r.drivers), UpToDate: r.upToDate,
		Addresses: addresses(r.networks, ""), Networks: n.dict(r.networks), Features: n.dict(r.other),
	}, nil
}

func nothing(detail string) *backends.Error {
	return &backends.Error{Code: backends.NotFound, Detail: detail}
}

// bootRecord is the VM as it was when it booted; since XenServer 7.3 as it is.
func bootRecord(ctx context.Context, n *names, h *handle) (any, error) {
	const method = "VM.get_boot_record"
	v, err := n.on(ctx, h, method)
	if err != nil {
		return nil, err
	}
	vm, err := n.reader(backends.Query{View: backends.ViewBasic}).of(ctx, v)
	if err != nil {
		return nil, n.d.undecodable(method, err)
	}
	return *vm, nil
}

func possibleHosts(ctx context.Context, n *names, h *handle) (any, error) {
	const method = "VM.get_possible_hosts"
	v, err := n.on(ctx, h, method)
	if err != nil {
		return nil, err
	}
	refs, err := stringsOf(v)
	if err != nil {
		return nil, n.d.undecodable(method, err)
	}
	return each(ctx, n, "host", refs, hostFields, func(r *hostRecord) (backends.Host, error) { return n.host(ctx, r) })
}

// devicesOf reads the places where a device can still go.
func devicesOf(method string) func(context.Context, *names, *handle) (any, error) {
	return func(ctx context.Context, n *names, h *handle) (any, error) {
		v, err := n.on(ctx, h, method)
		if err != nil {
			return nil, err
		}
		all, err := stringsOf(v)
		if err != nil {
			return nil, n.d.undecodable(method, err)
		}
		slices.SortFunc(all, byNumber)
		return all, nil
	}
}

// setting is a text that XenAPI says with "" when it is not set, as clients may see it.
func (n *names) setting(s string) *string {
	if s == "" {
		return nil
	}
	return new(n.d.clean(s, ""))
}

// dict is absent when it is empty.
func (n *names) dict(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[n.d.clean(k, "")] = n.d.clean(v, "")
	}
	return out
}
