package xenapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

func TestResources(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{Name: "web", PowerState: "Running"})
	template := w.put(xensim.VMSpec{Name: "debian", Template: true})
	read := func(r backends.Resource, id backends.ID) any {
		t.Helper()
		v, err := w.d.Read(t.Context(), w.s, r, id)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "OpaqueRef") {
			t.Errorf("%s: a reference gets out: %s", r, text)
		}
		return v
	}
	all := backends.ID{}
	hosts := read(backends.Hosts, all).([]backends.Host)
	if len(hosts) != 2 || hosts[0].State != "ENABLED" || *hosts[0].MemoryTotalBytes == 0 {
		t.Errorf("hosts %+v", hosts)
	}
	if !slices.ContainsFunc(hosts, func(h backends.Host) bool { return slices.Contains(h.VMs, id) }) {
		t.Errorf("no host has the VM: %+v", hosts)
	}
	if h := read(backends.HostByID, hosts[1].ID).(backends.Host); h.DisplayName != hosts[1].DisplayName {
		t.Errorf("host %+v", h)
	}
	templates := read(backends.Templates, all).([]backends.Template)
	if !slices.ContainsFunc(templates, func(x backends.Template) bool { return x.ID == template }) ||
		slices.ContainsFunc(templates, func(x backends.Template) bool { return x.ID == id }) {
		t.Errorf("templates %+v", templates)
	}
	read(backends.TemplateByID, template)
	if _, err := w.d.Read(t.Context(), w.s, backends.TemplateByID, id); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("a VM as a template: %v", err)
	}
	images := read(backends.Images, all).([]backends.Image)
	if len(images) == 0 || images[0].Storage == nil || images[0].SizeBytes == nil {
		t.Errorf("images %+v", images)
	}
	read(backends.ImageByID, images[0].ID)
	storages := read(backends.Storages, all).([]backends.Storage)
	read(backends.StorageByID, storages[0].ID)
	networks := read(backends.Networks, all).([]backends.Network)
	read(backends.NetworkByID, networks[0].ID)

	disks := read(backends.VMDisks, id).([]backends.Disk)
	if len(disks) != 2 || disks[0].Type != "DISK" || disks[0].Image == nil || disks[0].Storage.DisplayName == "" || disks[1].Type != "CDROM" || !*disks[1].Empty {
		t.Errorf("disks %+v", disks)
	}
	nics := read(backends.VMNICs, id).([]backends.NIC)
	if len(nics) != 1 || nics[0].MAC == "" || nics[0].Network.DisplayName == "" || len(nics[0].Addresses) == 0 {
		t.Errorf("nics %+v", nics)
	}
	consoles := read(backends.VMConsoles, id).([]backends.Console)
	if len(consoles) == 0 || consoles[0].Protocol != "RFB" {
		t.Errorf("consoles %+v", consoles)
	}
	if m := read(backends.VMMetrics, id).(backends.Metrics); m.StartTime == nil {
		t.Errorf("metrics %+v", m)
	}
	if g := read(backends.VMGuestMetrics, id).(backends.GuestMetrics); len(g.Addresses) == 0 || len(g.OSVersion) == 0 {
		t.Errorf("guest metrics %+v", g)
	}
	read(backends.VMCrashDumps, id)
	read(backends.VMTPMs, id)
	if vm := read(backends.VMBootRecord, id).(backends.VM); vm.ID != id {
		t.Errorf("boot record %+v", vm)
	}
	if possible := read(backends.VMPossibleHosts, id).([]backends.Host); len(possible) != 2 {
		t.Errorf("possible hosts %+v", possible)
	}
	if devices := read(backends.VMAllowedDisks, id).([]string); len(devices) == 0 {
		t.Error("no device is left for a disk")
	}
	if devices := read(backends.VMAllowedNICs, id).([]string); len(devices) == 0 {
		t.Error("no device is left for an interface")
	}

	off := w.put(xensim.VMSpec{})
	if _, err := w.d.Read(t.Context(), w.s, backends.VMGuestMetrics, off); backends.CodeOf(err) != backends.NotFound {
		t.Errorf("guest metrics of a VM that never ran: %v", err)
	}
	if _, err := w.d.Read(t.Context(), w.s, backends.VMBootRecord, off); backends.CodeOf(err) != backends.WrongState {
		t.Errorf("boot record of a halted VM: %v", err)
	}
	for _, r := range backends.Resources {
		if !w.d.Reads(r) {
			t.Errorf("%s is not read", r)
		}
		if resources[r].class == "" {
			continue
		}
		if _, err := w.d.Read(t.Context(), w.s, r, *missingID()); backends.CodeOf(err) != backends.NotFound {
			t.Errorf("%s of nothing: %v", r, err)
		}
	}
}

// TestListCalls holds that a list costs the same number of calls however many VMs there are, but for a
// few VMs outside the list that those in it refer to.
func TestListCalls(t *testing.T) {
	calls := func(vms int, view backends.View) int {
		w := newWorld(t, xensim.Config{VMs: vms})
		total := func() int {
			n := 0
			for _, c := range w.sim.CallCounts() {
				n += c
			}
			strays := w.sim.Calls("VM.get_uuid")
			if strays > fewVMs {
				t.Errorf("%d VMs were asked for one by one", strays)
			}
			return n - strays
		}
		before, seen := total(), 0
		for vm, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: view}) {
			if err != nil {
				t.Fatal(err)
			}
			if view != backends.ViewID && vm.RawState.PowerState == "Running" && vm.Host.DisplayName == "" {
				t.Errorf("%s runs nowhere", vm.ID)
			}
			seen++
		}
		if seen != vms {
			t.Errorf("%d VMs, want %d", seen, vms)
		}
		return total() - before
	}
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		few, many := calls(20, view), calls(300, view)
		// Which classes are asked for depends a little on what the VMs are doing.
		if many > few+2 || many > 20 {
			t.Errorf("%s: %d calls for 20 VMs, %d for 300", view, few, many)
		}
	}
}

func TestListHides(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	vm := w.put(xensim.VMSpec{Name: "one"})
	snapshot := w.put(xensim.VMSpec{SnapshotOf: vm.Native})
	on := w.put(xensim.VMSpec{Name: `a "quoted" name`, PowerState: "Running"})
	list := func(q backends.Query) (ids []backends.ID, dom0 bool) {
		t.Helper()
		for vm, err := range w.d.VMs(t.Context(), w.s, q) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, vm.ID)
			dom0 = dom0 || isTrue(vm.ControlDomain)
		}
		return ids, dom0
	}
	if ids, dom0 := list(backends.Query{View: backends.ViewBasic}); len(ids) != 2 || dom0 {
		t.Errorf("listed %v, control domains %v", ids, dom0)
	}
	if ids, dom0 := list(backends.Query{View: backends.ViewBasic, ShowTemplates: true}); !slices.Contains(ids, snapshot) || !dom0 {
		t.Errorf("listed %v, control domains %v", ids, dom0)
	}
	if ids, _ := list(backends.Query{States: []string{"RUNNING"}}); !slices.Equal(ids, []backends.ID{on}) {
		t.Errorf("running are %v", ids)
	}
	if ids, _ := list(backends.Query{DisplayNames: []string{"one"}}); !slices.Equal(ids, []backends.ID{vm}) {
		t.Errorf("called one are %v", ids)
	}
	if ids, _ := list(backends.Query{DisplayNames: []string{`a "quoted" name`}}); !slices.Contains(ids, on) {
		t.Errorf("by a name with quotes: %v", ids)
	}
	for range w.d.VMs(t.Context(), w.s, backends.Query{}) {
		break // whoever has enough may stop
	}
	other := backends.NewSession("OpaqueRef:" + missing)
	for _, err := range w.d.VMs(t.Context(), other, backends.Query{}) {
		if backends.CodeOf(err) != backends.BackendSessionEnded {
			t.Errorf("without a session: %v", err)
		}
	}
}

// TestDamagedVM puts VMs that nobody can read between others.
func TestDamagedVM(t *testing.T) {
	good := load(t, filepath.Join("testdata", "vm-halted.json")).Response
	_, good, _ = strings.Cut(good, "<name>Value</name><value>")
	good, _, _ = strings.Cut(good, "</value></member></struct></value></param></params></methodResponse>")
	var members strings.Builder
	for i, damage := range []*strings.Replacer{
		strings.NewReplacer(),
		strings.NewReplacer("<name>memory_static_max</name><value>", "<name>memory_static_max</name><value>much"),
		strings.NewReplacer("<name>name_label</name><value>", "<name>name_label</name><value>\xff"),
		strings.NewReplacer("<name>power_state</name>", "<name>power</name>"),
		strings.NewReplacer("<name>uuid</name><value>", "<name>uuid</name><value>x"),
		strings.NewReplacer(),
	} {
		fmt.Fprintf(&members, "<member><name>OpaqueRef:%d</name><value>%s</value></member>", i, damage.Replace(good))
	}
	r := recorded{Method: "VM.get_all_records_where", Response: "<methodResponse><params><param><value><struct><member><name>Status</name>" +
		"<value>Success</value></member><member><name>Value</name><value><struct>" + members.String() +
		"</struct></value></member></struct></value></param></params></methodResponse>"}
	l := replay(t, r)
	read, damaged, named := 0, 0, 0
	for vm, err := range l.d.VMs(t.Context(), backends.NewSession("s"), backends.Query{View: backends.ViewBasic}) {
		u, ok := errors.AsType[*backends.Undecodable](err)
		switch {
		case err == nil && vm != nil:
			read++
		case !ok:
			t.Fatal(err)
		default:
			damaged++
			if u.ID != (backends.ID{}) {
				named++
			}
		}
	}
	if read != 2 || damaged != 4 || named != 3 {
		t.Errorf("%d read, %d damaged, %d of these with an id", read, damaged, named)
	}
}

// success is an answer with a value in XML.
func success(method, value string) recorded {
	return recorded{Method: method, Response: "<methodResponse><params><param><value><struct><member><name>Status</name>" +
		"<value>Success</value></member><member><name>Value</name><value>" + value + "</value></member></struct></value></param></params></methodResponse>"}
}

// TestDamagedDevice gives a VM a disk that nobody can read: that VM is lost, and no other.
func TestDamagedDevice(t *testing.T) {
	const (
		vms = `<struct><member><name>OpaqueRef:1</name><value><struct>%s</struct></value></member><member><name>OpaqueRef:2</name><value><struct>%s</struct></value></member></struct>`
		vm  = `<member><name>uuid</name><value>%s</value></member><member><name>power_state</name><value>Halted</value></member>` +
			`<member><name>VBDs</name><value><array><data><value>OpaqueRef:%s</value></data></array></value></member>`
		vbds = `<struct><member><name>OpaqueRef:a</name><value><struct>%s</struct></value></member><member><name>OpaqueRef:b</name><value><struct>%s</struct></value></member></struct>`
		vbd  = `<member><name>uuid</name><value>%s</value></member><member><name>type</name><value>Disk</value></member><member><name>VDI</name><value>OpaqueRef:%s</value></member>`
		vdis = `<struct><member><name>OpaqueRef:x</name><value><struct>%s</struct></value></member><member><name>OpaqueRef:y</name><value><struct>%s</struct></value></member></struct>`
		vdi  = `<member><name>uuid</name><value>%s</value></member><member><name>virtual_size</name><value>%s</value></member>`
	)
	uuid := func(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", n) }
	l := replay(t,
		success("VM.get_all_records_where", fmt.Sprintf(vms, fmt.Sprintf(vm, uuid(1), "a"), fmt.Sprintf(vm, uuid(2), "b"))),
		success("VBD.get_all_records", fmt.Sprintf(vbds, fmt.Sprintf(vbd, uuid(3), "x"), fmt.Sprintf(vbd, uuid(4), "y"))),
		success("VDI.get_all_records", fmt.Sprintf(vdis, fmt.Sprintf(vdi, uuid(5), "8"), fmt.Sprintf(vdi, uuid(6), "eight"))),
		success("VIF.get_all_records", "<struct></struct>"), success("VM_guest_metrics.get_all_records", "<struct></struct>"),
	)
	var good, bad []string
	for vm, err := range l.d.VMs(t.Context(), backends.NewSession("s"), backends.Query{View: backends.ViewFull}) {
		if u, ok := errors.AsType[*backends.Undecodable](err); ok {
			bad = append(bad, u.ID.Native)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(vm.Disks) != 1 || *vm.Disks[0].SizeBytes != 8 {
			t.Errorf("disks %+v", vm.Disks)
		}
		good = append(good, vm.ID.Native)
	}
	if !slices.Equal(good, []string{uuid(1)}) || !slices.Equal(bad, []string{uuid(2)}) {
		t.Errorf("read %v, undecodable %v", good, bad)
	}
}

func TestNoReferenceGetsOut(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 5})
	id := w.put(xensim.VMSpec{
		Name: "OpaqueRef:" + missing, PowerState: "Suspended",
		OtherConfig: map[string]string{"by": "OpaqueRef:" + missing, "OpaqueRef:" + missing: "x"},
	})
	vm, err := w.d.VM(t.Context(), w.s, id, backends.ViewNative)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(vm)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "OpaqueRef") || strings.Contains(string(text), w.s.Reveal()) {
		t.Errorf("a reference gets out: %s", text)
	}
	native := vm.Native.(map[string]any)
	if vbds := native["VBDs"].([]any); len(vbds) != len(vm.Disks) || !slices.Contains(vbds, any(vm.Disks[0].ID.String())) {
		t.Errorf("native VBDs %v, disks %v", vbds, vm.Disks)
	}
}

// TestListIsSingleRead holds that a VM reads the same in a list and alone, its ETag included.
func TestListIsSingleRead(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 30})
	w.put(xensim.VMSpec{PowerState: "Suspended"})
	held := w.put(xensim.VMSpec{PowerState: "Running"})
	defer w.sim.HoldOperation(held.Native, "snapshot")()
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		for listed, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: view, ShowTemplates: true}) {
			if err != nil {
				t.Fatal(err)
			}
			alone, err := newDriver(t, w.sim.URL()).VM(t.Context(), w.s, listed.ID, view)
			if err != nil {
				t.Fatal(err)
			}
			a, err := json.Marshal(alone)
			if err != nil {
				t.Fatal(err)
			}
			l, err := json.Marshal(listed)
			if err != nil {
				t.Fatal(err)
			}
			if string(a) != string(l) {
				t.Errorf("%s %s\nalone  %s\nlisted %s", view, listed.ID, a, l)
			}
		}
	}
	before := w.vm(held).ETag
	if before == "" || w.vm(held).ETag != before {
		t.Errorf("the ETag %q does not stay", before)
	}
	if err := w.d.Patch(t.Context(), w.s, held, []backends.Change{{Path: "description", Value: "changed"}}); err != nil {
		t.Fatal(err)
	}
	if w.vm(held).ETag == before {
		t.Error("the ETag stays after a change")
	}
}
