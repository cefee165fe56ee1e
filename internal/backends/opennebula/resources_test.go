package opennebula

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

func read[T any](b *bench, r backends.Resource, id backends.ID) T {
	b.Helper()
	value, err := b.driver.Read(b.Context(), b.session, r, id)
	if err != nil {
		b.Fatalf("%s: %v", r, err)
	}
	typed, ok := value.(T)
	if !ok {
		b.Fatalf("%s gives a %T", r, value)
	}
	return typed
}

func TestCollections(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		b := newBench(t, release)
		id := b.running()
		hosts := read[[]backends.Host](b, backends.Hosts, backends.ID{})
		i := slices.IndexFunc(hosts, func(h backends.Host) bool { return h.ID.Native == "0" })
		if len(hosts) != 3 || i < 0 || hosts[i].State != "ENABLED" || hosts[i].RawState != "MONITORED" || *hosts[i].CPUs != 8 || *hosts[i].MemoryTotalBytes != 16<<30 {
			t.Fatalf("%s: hosts %+v", release, hosts)
		}
		one := read[backends.Host](b, backends.HostByID, hosts[i].ID)
		if !slices.Equal(one.VMs, []backends.ID{id}) || one.Native == nil || *one.CPUUsedShare != 0.1 {
			t.Errorf("%s: host %+v", release, one)
		}
		templates := read[[]backends.Template](b, backends.Templates, backends.ID{})
		if len(templates) == 0 || read[backends.Template](b, backends.TemplateByID, templates[0].ID).DisplayName != templates[0].DisplayName {
			t.Errorf("%s: templates %+v", release, templates)
		}
		images := read[[]backends.Image](b, backends.Images, backends.ID{})
		if len(images) == 0 || images[0].State == "" || images[0].Type == "" || images[0].SizeBytes == nil || images[0].Storage == nil {
			t.Errorf("%s: images %+v", release, images)
		}
		read[backends.Image](b, backends.ImageByID, images[0].ID)
		storages := read[[]backends.Storage](b, backends.Storages, backends.ID{})
		if len(storages) == 0 || !slices.ContainsFunc(storages, func(s backends.Storage) bool { return s.Type == "SYSTEM" }) {
			t.Errorf("%s: storages %+v", release, storages)
		}
		read[backends.Storage](b, backends.StorageByID, storages[0].ID)
		networks := read[[]backends.Network](b, backends.Networks, backends.ID{})
		if len(networks) == 0 || networks[0].Bridge == "" {
			t.Errorf("%s: networks %+v", release, networks)
		}
		read[backends.Network](b, backends.NetworkByID, networks[0].ID)
		for _, r := range []backends.Resource{backends.HostByID, backends.TemplateByID, backends.ImageByID, backends.StorageByID, backends.NetworkByID, backends.VMDisks} {
			for _, native := range []string{"999", "x"} {
				if _, err := b.driver.Read(t.Context(), b.session, r, backends.ID{Backend: "one", Native: native}); backends.CodeOf(err) != backends.NotFound || err == nil {
					t.Errorf("%s: %s %s: %v", release, r, native, err)
				}
			}
		}
	}
}

func TestPartsOfAVM(t *testing.T) {
	b := newBench(t, "7.4.0")
	id := b.create(change("opennebula.template", `CPU=1
MEMORY=64
GRAPHICS=[TYPE="VNC",LISTEN="127.0.0.1",PASSWD="sesame",PORT="5942"]
TPM=[MODEL="tpm-crb"]
OS=[BOOT="disk0"]
CONTEXT=[NETWORK="YES",PASSWORD="open"]
DISK=[IMAGE_ID="0"]
NIC=[NETWORK_ID="0"]`)).ID
	consoles := read[[]backends.Console](b, backends.VMConsoles, id)
	if len(consoles) != 1 || consoles[0].Protocol != "RFB" || consoles[0].Raw != "VNC" || *consoles[0].Port != 5942 {
		t.Errorf("consoles %+v", consoles)
	}
	if tpms := read[[]backends.TPM](b, backends.VMTPMs, id); len(tpms) != 1 || tpms[0].Model != "tpm-crb" || tpms[0].ID.Native != "0" {
		t.Errorf("TPMs %+v", tpms)
	}
	disks := read[[]backends.Disk](b, backends.VMDisks, id)
	if len(disks) != 2 || !slices.ContainsFunc(disks, func(d backends.Disk) bool { return d.Bootable != nil && *d.Bootable && d.ID.Native == "0" }) {
		t.Errorf("disks %+v", disks)
	}
	nics := read[[]backends.NIC](b, backends.VMNICs, id)
	if len(nics) != 1 || nics[0].MAC == "" || len(nics[0].Addresses) != 1 {
		t.Errorf("NICs %+v", nics)
	}
	guest := read[backends.GuestMetrics](b, backends.VMGuestMetrics, id)
	if !slices.Equal(guest.Addresses, nics[0].Addresses) || guest.Networks["0/ip"] != nics[0].Addresses[0] {
		t.Errorf("guest %+v", guest)
	}
	vm, err := b.driver.VM(t.Context(), b.session, id, backends.ViewNative)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{vm, consoles})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"sesame", "open\""} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is shown: %s", secret, text)
		}
	}
	if hosts := read[[]backends.Host](b, backends.VMPossibleHosts, id); len(hosts) != 3 {
		t.Errorf("%d possible hosts", len(hosts))
	}
	big := b.create(change("cpu.share", 7.95), change("memory.dynamicMaxBytes", int64(64*mib))).ID
	b.running() // a tenth of a CPU of host 0
	if hosts := read[[]backends.Host](b, backends.VMPossibleHosts, big); slices.ContainsFunc(hosts, func(h backends.Host) bool { return h.ID.Native == "0" }) || len(hosts) != 2 {
		t.Errorf("%d possible hosts for a big VM", len(hosts))
	}
}

func TestMetrics(t *testing.T) {
	for _, release := range []string{"4.14.2", "6.10.0"} {
		b := newBench(t, release)
		id := b.running()
		b.sim.Advance(time.Minute)
		m := read[backends.Metrics](b, backends.VMMetrics, id)
		if m.MemoryActualBytes == nil || *m.MemoryActualBytes%kib != 0 || m.CPUUsedPercent == nil || m.StartTime == nil || m.SampleTime == nil {
			t.Errorf("%s: metrics %+v", release, m)
		}
		if release != "4.14.2" && (m.NetSentBytes == nil || m.DiskReadBytes == nil) {
			t.Errorf("%s: metrics %+v", release, m)
		}
		if m = read[backends.Metrics](b, backends.VMMetrics, b.put(stHold, 0)); m.SampleTime != nil || m.MemoryActualBytes != nil || m.CPUUsedPercent != nil {
			t.Errorf("%s: metrics of a VM that never ran: %+v", release, m)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	b := newBench(t, "6.10.0")
	for _, r := range []backends.Resource{backends.VMCrashDumps, backends.VMBootRecord, backends.VMAllowedDisks, backends.VMAllowedNICs, backends.VMTPMs} {
		if b.driver.Reads(r) {
			t.Errorf("%s is claimed", r)
		}
		if _, err := b.driver.Read(t.Context(), b.session, r, b.driver.id(0)); backends.CodeOf(err) != backends.UnsupportedByBackend {
			t.Errorf("%s: %v", r, err)
		}
	}
	for _, r := range backends.Resources {
		if _, ok := resources[r]; b.driver.Reads(r) && !ok {
			t.Errorf("%s has no row", r)
		}
	}
	alice, _ := b.as("alice")
	hosts, err := b.driver.Read(t.Context(), alice, backends.Hosts, backends.ID{})
	if err != nil || len(hosts.([]backends.Host)) != 0 {
		t.Errorf("hosts for an ordinary user: %v, %v", hosts, err)
	}
}

// TestOldMetrics reads the shapes that samples had before 5.12.
func TestOldMetrics(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.put(stPoweroff, 0)
	for name, text := range map[string]string{
		"up to 5.10": "<MONITORING_DATA><VM><LAST_POLL>1700000000</LAST_POLL><MONITORING><CPU>1.5</CPU><MEMORY>1024</MEMORY></MONITORING></VM>" +
			"<VM><LAST_POLL>1700000010</LAST_POLL><MONITORING><CPU>2.5</CPU><MEMORY>2048</MEMORY></MONITORING></VM></MONITORING_DATA>",
		"since": "<MONITORING_DATA><MONITORING><CPU>2.5</CPU><MEMORY>2048</MEMORY><TIMESTAMP>1700000010</TIMESTAMP></MONITORING>" +
			"<MONITORING><CPU>NaN</CPU><TIMESTAMP>1700000000</TIMESTAMP></MONITORING></MONITORING_DATA>",
	} {
		b.sim.Inject(onesim.Fault{Method: "one.vm.monitoring", Garbage: reply(text)})
		m := read[backends.Metrics](b, backends.VMMetrics, id)
		if m.SampleTime == nil || m.SampleTime.Unix() != 1700000010 || *m.CPUUsedPercent != 2.5 || *m.MemoryActualBytes != 2<<20 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	b.sim.Inject(onesim.Fault{Method: "one.vm.info", Garbage: reply("<VM><ID>1</ID><NAME>old</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE>" +
		"<LAST_POLL>1300000000</LAST_POLL><CPU>12</CPU><MEMORY>1024</MEMORY><NET_RX>5</NET_RX><NET_TX>6</NET_TX></VM>")})
	if m := read[backends.Metrics](b, backends.VMMetrics, id); *m.NetReceivedBytes != 5 || *m.NetSentBytes != 6 || *m.CPUUsedPercent != 12 || m.SampleTime.Unix() != 1300000000 {
		t.Errorf("3.8: %+v", m)
	}
}
