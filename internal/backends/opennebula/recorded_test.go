package opennebula

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/wire/scan"
)

// recording is a reply of a real oned.
type recording struct {
	Name     string `json:"name"`
	Method   string `json:"method"`
	Response string `json:"response"`
	release  version
}

// recordings are those in testdata, and, where it lies beside the repository, all of the archive
// they were taken from.
func recordings(t testing.TB) []recording {
	t.Helper()
	var all []recording
	for file, r := range map[string]version{"oned-6.10.0.jsonl": v(6, 10, 0), "oned-4.14.2.jsonl": v(4, 14, 2)} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			rec := recording{release: r}
			if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
				t.Fatal(err)
			}
			all = append(all, rec)
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	for folder, r := range map[string]version{"opennebula-6.10": v(6, 10, 0), "opennebula-4.14": v(4, 14, 2)} {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "wire", folder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rec := recording{Name: filepath.Base(file), release: r}
			if err := json.Unmarshal(text, &rec); err != nil {
				t.Fatal(err)
			}
			all = append(all, rec)
		}
	}
	return all
}

var stringResult = regexp.MustCompile(`(?s)^.*?<boolean>1</boolean></value>\s*<value><string>(.*?)</string>`)

var rootName = regexp.MustCompile(`^&lt;(\w+)`)

// root is the name of the XML document that a recording answers, "" where it does not.
func (rec recording) root() string {
	if result := stringResult.FindStringSubmatch(rec.Response); result != nil {
		if root := rootName.FindStringSubmatch(result[1]); root != nil {
			return root[1]
		}
	}
	return ""
}

func recordedDriver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(Config{Name: "one", Endpoints: []*url.URL{drivertest.ParseURL(t, "http://127.0.0.1:1/RPC2")}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRecordedVMs decodes every VM that a real oned told, and holds it to what is true of all.
func TestRecordedVMs(t *testing.T) {
	d := recordedDriver(t)
	n := 0
	for _, rec := range recordings(t) {
		path := map[string]string{"VM": "VM", "VM_POOL": "VM_POOL/VM"}[rec.root()]
		if path == "" {
			continue
		}
		dec := d.decoder(d.plan(backends.ViewNative, nil, rec.release), rec.release)
		items := rec.items(t, path, dec.plan.table)
		for item, err := items.Next(); !errors.Is(err, io.EOF); item, err = items.Next() {
			if err != nil {
				t.Fatalf("%s: %v", rec.Name, err)
			}
			vm, err := dec.decode(item)
			if err != nil {
				t.Fatalf("%s: %v", rec.Name, err)
			}
			n++
			checkRecorded(t, rec, machineOf(t, item), vm)
		}
	}
	if n < 20 {
		t.Errorf("%d VMs only", n)
	}
}

// items are the items of the document that a recording answers.
func (rec recording) items(t *testing.T, path string, table *scan.Table) *scan.Document {
	t.Helper()
	match := stringResult.FindStringSubmatch(rec.Response)
	if match == nil {
		t.Fatalf("%s is no document", rec.Name)
	}
	return scan.NewDocument(scan.Whole([]byte(match[1])), path, table, true)
}

// machineOf is an item as changes and operations look at it.
func machineOf(t *testing.T, item *scan.Item) *machine {
	t.Helper()
	var m *machine
	err := alone(scan.NewDocument(scan.Whole(item.Raw()), "VM", allElements, true), func(item *scan.Item) (err error) {
		m, err = newMachine(recordOf("VM", item))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func checkRecorded(t *testing.T, rec recording, m *machine, vm *backends.VM) {
	t.Helper()
	text, err := json.Marshal(vm)
	if err != nil {
		t.Errorf("%s: %v", rec.Name, err)
	}
	raw := vm.RawState
	abridged := !m.has("PREV_STATE") // as in the lists of 5.8 and later
	switch {
	case vm.ID.Native != m.text("ID") || vm.UID != vm.ID.Native || vm.DisplayName == nil || vm.Owner == nil || vm.Owner.User == nil:
		t.Errorf("%s: without an identity: %s", rec.Name, text)
	case vm.CPU == nil || *vm.CPU.Share <= 0 || vm.Memory == nil || *vm.Memory.DynamicMaxBytes%mib != 0:
		t.Errorf("%s: CPU %+v, memory %+v", rec.Name, vm.CPU, vm.Memory)
	case raw.State == "" || raw.StateShort == "" || m.at.active() && raw.LCMState == "":
		t.Errorf("%s: a state without a name: %+v", rec.Name, raw)
	case m.at.placed() && (vm.Host == nil || vm.Host.DisplayName == ""):
		t.Errorf("%s: on a host, which is not told", rec.Name)
	case vm.CreateTime == nil || vm.ETag == "" || vm.Disks == nil || vm.NICs == nil || vm.AllowedActions == nil || vm.CurrentOperations == nil:
		t.Errorf("%s: something is absent: %s", rec.Name, text)
	case !abridged && vm.OpenNebula.Permissions == nil:
		t.Errorf("%s: no permissions", rec.Name)
	case strings.Contains(string(text), "PASSWD") || strings.Contains(string(text), "TOKEN"):
		t.Errorf("%s: a secret: %s", rec.Name, text)
	}
}

// TestRecordedObjects decodes every other object.
func TestRecordedObjects(t *testing.T) {
	d := recordedDriver(t)
	decoders := map[string]func(r record) (any, error){
		"HOST":       func(r record) (any, error) { return decodeObject(d, r, true, (*Driver).host) },
		"IMAGE":      func(r record) (any, error) { return decodeObject(d, r, true, (*Driver).image) },
		"VMTEMPLATE": func(r record) (any, error) { return decodeObject(d, r, true, (*Driver).template) },
		"DATASTORE":  func(r record) (any, error) { return decodeObject(d, r, true, (*Driver).storage) },
		"VNET":       func(r record) (any, error) { return decodeObject(d, r, true, (*Driver).network) },
	}
	seen := map[string]int{}
	for _, rec := range recordings(t) {
		path := rec.root()
		name, pooled := strings.CutSuffix(path, "_POOL")
		if pooled {
			path += "/" + name
		}
		decode, ok := decoders[name]
		if !ok {
			continue
		}
		items := rec.items(t, path, allElements)
		for item, err := items.Next(); !errors.Is(err, io.EOF); item, err = items.Next() {
			if err != nil {
				t.Fatalf("%s: %v", rec.Name, err)
			}
			seen[name]++
			one, err := decode(recordOf(name, item))
			if err != nil {
				t.Errorf("%s: %v", rec.Name, err)
			}
			if _, err := json.Marshal(one); err != nil {
				t.Errorf("%s: %v", rec.Name, err)
			}
		}
	}
	for name := range decoders {
		if seen[name] == 0 {
			t.Errorf("no %s was recorded", name)
		}
	}
}

// recorded finds a VM in testdata.
func recorded(t *testing.T, d *Driver, name string) (*machine, *backends.VM, version) {
	t.Helper()
	for _, rec := range recordings(t) {
		if !strings.HasPrefix(rec.Name, name) {
			continue
		}
		dec := d.decoder(d.plan(backends.ViewNative, nil, rec.release), rec.release)
		item, err := rec.items(t, "VM", dec.plan.table).Next()
		if err != nil {
			t.Fatal(err)
		}
		vm, err := dec.decode(item)
		if err != nil {
			t.Fatal(err)
		}
		return machineOf(t, item), vm, rec.release
	}
	t.Fatalf("no recording %s", name)
	return nil, nil, version{}
}

func TestARecordedVMInFull(t *testing.T) {
	d := recordedDriver(t)
	m, vm, _ := recorded(t, d, "519-one.vm.info-with-monitoring")
	if *vm.DisplayName != "actions" || vm.State != backends.StateRunning || vm.Host.ID.Native != "0" || vm.Host.DisplayName != "dummy-host-0" ||
		vm.Owner.User.DisplayName != "oneadmin" || *vm.CPU.VCPUs != 2 || *vm.CPU.Share != 0.2 || *vm.Memory.DynamicMaxBytes != 256*mib ||
		vm.Runtime.DomainID != "dummy-host-0:actions:dummy" || vm.Annotations["NOTE"] != "recorded" || vm.CreateTime.Unix() != 1795343756 {
		t.Errorf("read %+v", vm)
	}
	if len(vm.Disks) != 3 || vm.Disks[0].Type != "CONTEXT" || vm.Disks[0].Mode != "RO" || vm.Disks[1].Image.DisplayName != "tiny-os" ||
		*vm.Disks[1].SizeBytes != 2048*mib || *vm.Disks[1].Persistent || vm.Disks[2].Type != "FS" || vm.Disks[2].Persistent != nil {
		t.Errorf("disks %+v", vm.Disks)
	}
	if len(vm.NICs) != 2 || *vm.NICs[0].Alias || !*vm.NICs[1].Alias || vm.NICs[1].Parent.Native != "0" || vm.NICs[1].Addresses[0] != "10.0.0.30" {
		t.Errorf("NICs %+v", vm.NICs)
	}
	if p := vm.OpenNebula.Permissions; !p.Owner.Manage || !p.Group.Use || !p.Other.Use || p.Other.Manage {
		t.Errorf("permissions %+v", p)
	}
	if h := vm.OpenNebula.History; len(h) < 3 || h[0].Sequence != 0 || h[0].Action != "poweroff-hard" || *h[0].ActionCode != 20 || h[0].Storage.ID.Native != "0" {
		t.Errorf("history %+v", h)
	}
	native := vm.Native.(map[string]any)
	if native["ID"] != int64(28) || native["NAME"] != "actions" || native["LAST_POLL"] != int64(1795343790) {
		t.Errorf("native %v", native)
	}
	template := native["TEMPLATE"].(map[string]any)
	if template["CPU"] != "0.2" || len(template["DISK"].([]any)) != 2 || len(template["NIC_ALIAS"].([]any)) != 1 {
		t.Errorf("native template %v", template)
	}
	g := guestMetrics(m)
	if g.Networks["0/ip"] != "10.0.0.27" && g.Networks["0/ip/1"] != "10.0.0.27" || len(g.Addresses) != 2 {
		t.Errorf("guest %+v", g)
	}
}

func TestRecordedFallbacksAndFailures(t *testing.T) {
	d := recordedDriver(t)
	m, _, r := recorded(t, d, "237-one.vm.info-running-after-failed-live-migrate")
	moved := tracked{verb: "migrate", id: m.id, seq: 2, at: d.cfg.Now(), goal: goalMoved(true, 0, -1), r: r}
	o := d.operation(moved)
	d.judge(o, moved, m)
	if o.State != backends.OperationFailed {
		t.Errorf("a live migration that fell back is %s", o.State)
	}
	m, _, r = recorded(t, d, "173-one.vm.info-running-after-live-migrate")
	moved = tracked{verb: "migrate", id: m.id, seq: 4, at: d.cfg.Now(), goal: goalMoved(true, 1, -1), r: r}
	o = d.operation(moved)
	d.judge(o, moved, m)
	if o.State != backends.OperationSucceeded {
		t.Errorf("a live migration that went well is %s", o.State)
	}
	m, _, r = recorded(t, d, "212-one.vm.info-active-prolog-failure")
	started := tracked{verb: "deploy", id: m.id, seq: -1, at: d.cfg.Now(), goal: goalRunningOn(0), r: r}
	o = d.operation(started)
	d.judge(o, started, m)
	if o.State != backends.OperationFailed || !strings.Contains(o.Err.Fault.Message, "dummy tm failure") {
		t.Errorf("a deployment that failed is %s: %v", o.State, o.Err)
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]any{"": nil, "0": int64(0), "-1": int64(-1), "9223372036854775807": int64(math.MaxInt64), "0.5": 0.5,
		"NaN": nil, "-inf": nil, "Infinity": nil, "12:30": "12:30"} {
		if got := jsonNumber(text); got != want {
			t.Errorf("%q is %v (%T), want %v", text, got, got, want)
		}
	}
	for text, want := range map[string]int64{"1": mib, "0": 0, "1.9": mib, "-1": -1, "x": -1, "": -1, "9223372036854775807": -1, "NaN": -1} {
		got := scaled(text, mib)
		if want < 0 && got != nil || want >= 0 && (got == nil || *got != want) {
			t.Errorf("%q MiB is %v, want %d", text, got, want)
		}
	}
	for native, want := range map[string]bool{"0": true, "42": true, "2147483647": true, "2147483648": false, "007": false, "-1": false, "": false,
		"+1": false, "1 ": false, "1.0": false, "x": false, "4294967296": false, "00": false} {
		if got := (&Driver{}).CheckID(native); got != want {
			t.Errorf("%q: %t", native, got)
		}
	}
}
