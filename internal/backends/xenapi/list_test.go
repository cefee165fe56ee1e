package xenapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
	"vmgateway/internal/backends/xenapi/xensim"
)

// list reads all, and tells which VMs could be read, which could not, and what ended it.
func list(t *testing.T, d *Driver, q backends.Query) (good, bad []string, end error) {
	t.Helper()
	for vm, err := range d.VMs(t.Context(), backends.NewSession("OpaqueRef:session"), q) {
		if u, ok := errors.AsType[*backends.Undecodable](err); ok {
			bad = append(bad, u.ID.Native)
			continue
		}
		if err != nil {
			return good, bad, err
		}
		good = append(good, vm.ID.Native)
	}
	return good, bad, nil
}

// served is a driver whose backend answers every list with body.
func served(t *testing.T, body []byte, length int) *Driver {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("Content-Length", strconv.Itoa(length))
		_, _ = w.Write(body) // the driver may have enough before the end
	}))
	t.Cleanup(server.Close)
	return newDriver(t, server.URL)
}

func uuids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%08x-0000-4000-9000-%012x", i, i)
	}
	return all
}

func TestAListThatIsCutKeepsWhatCame(t *testing.T) {
	whole := fleet(t, 100)
	q := backends.Query{View: backends.ViewBasic, Members: []string{"displayName"}}
	for _, c := range []struct {
		name         string
		body, length int
		good         int
	}{
		{"whole", len(whole), len(whole), 100},
		{"the connection breaks", len(whole) / 2, len(whole), 50},
		{"the answer ends", len(whole) / 2, len(whole) / 2, 50},
		{"only the envelope's end is missing", len(whole) - 20, len(whole) - 20, 100},
		{"in the head", 60, 60, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, bad, err := list(t, served(t, whole[:c.body], c.length), q)
			if !slices.Equal(good, uuids(c.good)) || len(bad) > 0 {
				t.Errorf("%d read, %d damaged, want %d", len(good), len(bad), c.good)
			}
			if (err == nil) != (c.name == "whole") || err != nil && backends.CodeOf(err) != backends.BackendUnavailable {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestDamageIsThatOfOneVM(t *testing.T) {
	const second = "00000001-0000-4000-9000-000000000001"
	whole := string(fleet(t, 4))
	at := strings.Index(whole, second)
	label := at + strings.Index(whole[at:], "<name>name_label</name><value>") + len("<name>name_label</name><value>")
	for name, in := range map[string]string{
		"broken tags": "</struct>", "a bad byte": "\xff", "a control character": "\x01", "a reference that XML has not": "&bomb;",
		"a map where a text belongs": "<struct></struct>", "too long": strings.Repeat("x", maxRecord),
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(whole[:label] + in + whole[label:])
			good, bad, err := list(t, served(t, body, len(body)), backends.Query{View: backends.ViewBasic})
			want := uuids(4)
			if !slices.Equal(good, slices.Delete(want, 1, 2)) || !slices.Equal(bad, []string{second}) || err != nil {
				t.Errorf("read %v, damaged %v, %v", good, bad, err)
			}
		})
	}
}

// TestAListIsNotHeld holds that memory does not grow with a list.
func TestAListIsNotHeld(t *testing.T) {
	body := fleet(t, 5000)
	d := served(t, body, len(body))
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n := live(), 0
	for _, err := range d.VMs(t.Context(), backends.NewSession("s"), backends.Query{View: backends.ViewBasic, Reuse: true}) {
		if err != nil {
			t.Fatal(err)
		}
		// What is remembered of references is the driver's, and bounded.
		if n++; n == 4000 {
			if now := live(); now > before+8<<20 {
				t.Errorf("%d bytes are held in the middle of %d", now-before, len(body))
			}
		}
	}
	if n != 5000 {
		t.Errorf("%d VMs", n)
	}
}

func TestAVMUsedAgainReadsTheSame(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 40})
	w.put(xensim.VMSpec{PowerState: "Suspended"})
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull} {
		read := func(reuse bool) (all []string) {
			var kept []*backends.VM
			for vm, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: view, Reuse: reuse, ShowTemplates: true}) {
				if err != nil {
					t.Fatal(err)
				}
				if reuse {
					all = append(all, w.json(vm))
				} else {
					kept = append(kept, vm)
				}
			}
			for _, vm := range kept { // each is still what it was
				all = append(all, w.json(vm))
			}
			return all
		}
		if again, own := read(true), read(false); !slices.Equal(again, own) {
			t.Errorf("%s: used again\n%s\neach its own\n%s", view, again, own)
		}
	}
}

// A list asks for no more than its members need.
func TestAListReadsWhatIsAskedFor(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 10})
	on := w.put(xensim.VMSpec{Name: "web", PowerState: "Running"})
	for _, c := range []struct {
		members []string
		view    backends.View
		calls   map[string]int
		want    string
	}{
		{[]string{"displayName", "state"}, backends.ViewFull, nil, "backend displayName id kind state uid"},
		{[]string{}, backends.ViewNative, nil, "backend id kind uid"},
		{[]string{"cpu.vcpus"}, backends.ViewBasic, nil, "backend cpu id kind uid"},
		{[]string{"host"}, backends.ViewBasic, map[string]int{"host.get_all_records": 1}, "backend host id kind uid"},
		{[]string{"host.displayName", "memory"}, backends.ViewFull, map[string]int{"host.get_all_records": 1}, "backend host id kind memory uid"},
		{[]string{"nics[].mac"}, backends.ViewFull, map[string]int{"VIF.get_all_records": 1}, "backend id kind nics uid"},
		{nil, backends.ViewID, nil, "id"},
	} {
		d := newDriver(t, w.sim.URL())
		before := w.sim.CallCounts()
		for vm, err := range d.VMs(t.Context(), w.s, backends.Query{View: c.view, Members: c.members, DisplayNames: []string{"web"}}) {
			if err != nil || vm.ID != on {
				t.Fatal(vm, err)
			}
			var members map[string]any
			if err := json.Unmarshal([]byte(w.json(vm)), &members); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(sorted(members), " "); got != c.want {
				t.Errorf("%q gives %s, want %s", c.members, got, c.want)
			}
		}
		for _, method := range []string{"host.get_all_records", "VBD.get_all_records", "VIF.get_all_records"} {
			if got := w.sim.CallCounts()[method] - before[method]; got > c.calls[method] {
				t.Errorf("%q makes %d calls of %s", c.members, got, method)
			}
		}
	}
}

func sorted(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// What is asked in the middle of a list never waits for a list.
func TestAListHoldsNothingUp(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 5})
	d := newDriver(t, w.sim.URL())
	d.cfg.MaxConns = 1
	d.pool = newPool(d.cfg)
	for vm, err := range d.VMs(t.Context(), w.s, backends.Query{View: backends.ViewBasic}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.VM(t.Context(), w.s, vm.ID, backends.ViewFull); err != nil {
			t.Fatal(err)
		}
		break
	}
	if good, _, err := list(t, d, backends.Query{}); err == nil || good != nil {
		t.Errorf("without a session: %v", good)
	}
}

func TestAListTellsWhatItRead(t *testing.T) {
	body := fleet(t, 10)
	d := served(t, body, len(body))
	var calls []backends.Call
	ctx := backends.WithObserver(t.Context(), func(c backends.Call) { calls = append(calls, c) })
	for _, err := range d.VMs(ctx, backends.NewSession("s"), backends.Query{View: backends.ViewID}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(calls) != 1 || calls[0].Bytes != int64(len(body)) || calls[0].Err != nil || calls[0].Method != "VM.get_all_records_where" {
		t.Errorf("calls %+v", calls)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range d.VMs(ctx, backends.NewSession("s"), backends.Query{View: backends.ViewID}) {
		if backends.CodeOf(err) != backends.BackendTimeout {
			t.Errorf("given up: %v", err)
		}
	}
}

// TestFieldsAreAllThereIs holds that every member of a VM has a row, with a view that shows it.
func TestFieldsAreAllThereIs(t *testing.T) {
	rows := map[string]backends.View{"backend": backends.ViewBasic, "kind": backends.ViewBasic}
	for _, f := range VMFields() {
		if _, twice := rows[f.Member]; twice || f.Source == "" {
			t.Errorf("%s stands twice, or is made of nothing", f.Member)
		}
		rows[f.Member] = f.View
	}
	w := newWorld(t, xensim.Config{VMs: 30})
	seen := map[string]bool{}
	for _, view := range views {
		for vm, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: view, ShowTemplates: true}) {
			if err != nil {
				t.Fatal(err)
			}
			var tree any
			if err := json.Unmarshal([]byte(w.json(vm)), &tree); err != nil {
				t.Fatal(err)
			}
			leaves("", tree, rows, func(member string) {
				seen[member] = true
				least, ok := rows[member]
				if !ok || !includes(view, least) {
					t.Errorf("%s shows %s, whose row says %q", view, member, least)
				}
			})
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d members were seen: %v", len(seen), seen)
	}
}

// leaves goes through the members of a VM down to those that have a row.
func leaves(at string, v any, rows map[string]backends.View, f func(string)) {
	if _, ok := rows[at]; ok {
		f(at)
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			leaves(strings.TrimPrefix(at+"."+name, "."), value, rows, f)
		}
	case []any:
		for _, item := range v {
			leaves(at+"[]", item, rows, f)
		}
	default:
		f(at)
	}
}

func TestMayTellMissesNothing(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a:b=c": false, "OpaqueRef:x": true, "opaqueref:NULL": true, "see DummyRef:|x|task": true, "trackid=0af": true,
		"TRACKID=9": true, "ref:": false, "trackid": false, "12:30:00": false, "xOpaqueRef:": true,
	} {
		if refPattern.MatchString(text) != want || want && !mayTell(text) || mayTell(text) != mayTell([]byte(text)) {
			t.Errorf("%q: %v", text, mayTell(text))
		}
	}
}

// A snapshot in a list names the VM it is of, which need not be in the list.
func TestSnapshotsNameTheirVMs(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	want := map[backends.ID]backends.ID{}
	for range 3 * fewVMs {
		of := w.put(xensim.VMSpec{PowerState: "Running"})
		want[w.put(xensim.VMSpec{SnapshotOf: of.Native})] = of
	}
	d := newDriver(t, w.sim.URL())
	for vm, err := range d.VMs(t.Context(), w.s, backends.Query{View: backends.ViewBasic, ShowTemplates: true, States: []string{"STOPPED"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if of, ok := want[vm.ID]; ok {
			if vm.XenAPI.SnapshotOf == nil || *vm.XenAPI.SnapshotOf != of {
				t.Errorf("%s is a snapshot of %v, want %s", vm.ID, vm.XenAPI.SnapshotOf, of)
			}
			delete(want, vm.ID)
		}
	}
	if len(want) > 0 || w.sim.Calls("VM.get_uuid") > fewVMs || w.sim.Calls("VM.get_all_records") > 1 {
		t.Errorf("%d were not listed; %d calls for single VMs, %d for all", len(want), w.sim.Calls("VM.get_uuid"), w.sim.Calls("VM.get_all_records"))
	}
}

// Recorded VMs read the same alone and in a list.
func TestRecordedVMsInAList(t *testing.T) {
	files, err := filepath.Glob("testdata/vm-*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		r := load(t, file)
		alone := decodeVM(t, r)
		_, body, _ := strings.Cut(r.Response, "<name>Value</name><value>")
		body, _, _ = strings.Cut(body, "</value></member></struct></value></param></params></methodResponse>")
		l := replay(t, success("VM.get_all_records_where", "<struct><member><name>OpaqueRef:1</name><value>"+body+"</value></member></struct>"))
		for vm, err := range l.d.VMs(t.Context(), backends.NewSession("s"), backends.Query{View: backends.ViewBasic}) {
			if err != nil {
				t.Fatal(err)
			}
			want := *alone
			want.Disks, want.NICs, want.ETag, want.Native = nil, nil, "", nil
			got, expected := vm.AppendJSON(nil), want.AppendJSON(nil)
			if string(got) != string(expected) {
				t.Errorf("%s: listed\n%s\nalone\n%s", file, got, expected)
			}
		}
	}
}

// FuzzVM: no record makes the reader panic, or lets a reference out. The seeds are recordings of xapi
// 24.16.
func FuzzVM(f *testing.F) {
	files, err := filepath.Glob("testdata/vm-*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		_, body, _ := strings.Cut(load(f, file).Response, "<name>Value</name><value>")
		body, _, _ = strings.Cut(body, "</value></member></struct></value></param></params></methodResponse>")
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n := newDriver(t, "http://127.0.0.1:1").link(backends.NewSession("s")).names(true)
		n.strays = fewVMs
		for _, class := range []string{"VM", "host", "VDI", "task"} {
			n.loaded[class] = true // nothing more is asked for
		}
		v, _, err := scan.ParseReply(slices.Concat([]byte("<methodResponse><params><param><value>"), body, []byte("</value></param></params></methodResponse>")))
		if err != nil {
			return
		}
		var texts []string
		again := n.reader(backends.Query{View: backends.ViewBasic, Reuse: true})
		for _, r := range []*vmReader{again, again, n.reader(backends.Query{View: backends.ViewBasic})} {
			vm, err := r.of(t.Context(), v)
			if err != nil {
				texts = append(texts, err.Error())
				continue
			}
			text := vm.AppendJSON(nil)
			if !json.Valid(text) || refPattern.Match(text) {
				t.Errorf("%s", text)
			}
			texts = append(texts, string(text))
		}
		if texts[0] != texts[1] || texts[0] != texts[2] {
			t.Errorf("read differently: %q", texts)
		}
	})
}
