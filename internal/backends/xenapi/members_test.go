package xenapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// memberCase is a value for a member, and what a read gives for it: the JSON at the member's path.
type memberCase struct {
	value any
	reads any // nil: the value itself
}

func memberCases(host backends.ID) map[string]memberCase {
	text := func(s string) memberCase { return memberCase{value: s} }
	number := func(n int64) memberCase { return memberCase{n, float64(n)} }
	dictionary := func(key, value string) memberCase {
		return memberCase{map[string]*string{key: &value, "gone": nil}, map[string]any{key: value}}
	}
	return map[string]memberCase{
		"displayName":                 text(" two  blanks, \"quotes\", <b>&amp; 😀\n"),
		"description":                 text("x"),
		"template":                    {value: true},
		"cpu.vcpus":                   number(3),
		"cpu.maxVcpus":                number(8),
		"cpu.params":                  dictionary("weight", "512"),
		"memory.staticMaxBytes":       number(5 << 30),
		"memory.dynamicMaxBytes":      number(4 << 30),
		"memory.dynamicMinBytes":      number(3 << 30),
		"memory.staticMinBytes":       number(2 << 30),
		"boot.domainType":             text("pvh"),
		"boot.pv.bootloader":          text("pygrub"),
		"boot.pv.kernel":              text("/boot/vmlinuz"),
		"boot.pv.ramdisk":             text("/boot/initrd"),
		"boot.pv.args":                text("root=/dev/xvda1 ro"),
		"boot.pv.bootloaderArgs":      text("-q"),
		"boot.pv.legacyArgs":          text("old"),
		"boot.hvm.policy":             text("BIOS order"),
		"boot.hvm.params":             dictionary("order", "dc"),
		"platform":                    dictionary("viridian", "true"),
		"placement.preferredHost":     {host, map[string]any{"id": host.String()}},
		"lifecyclePolicy.onShutdown":  text("restart"),
		"lifecyclePolicy.onReboot":    text("destroy"),
		"lifecyclePolicy.onCrash":     text("coredump_and_destroy"),
		"annotations":                 dictionary("folder/a~b", "/web"),
		"xenapi.userVersion":          number(1 << 40),
		"xenapi.pciBus":               text("0000:00"),
		"xenapi.recommendations":      text("<restrictions/>"),
		"xenapi.tags":                 {[]string{"a", "b"}, []any{"a", "b"}},
		"xenapi.blockedOperations":    {map[string]*string{"destroy": ptr("no"), "clone": nil}, map[string]any{"destroy": "no"}},
		"xenapi.haAlwaysRun":          {value: true},
		"xenapi.haRestartPriority":    text("restart"),
		"xenapi.startOrder":           number(2),
		"xenapi.startDelaySeconds":    number(30),
		"xenapi.shutdownDelaySeconds": number(40),
		"xenapi.shadowMultiplier":     {value: 1.5},
		"xenapi.xenstoreData":         dictionary("vm-data/role", "web"),
	}
}

// at reads the JSON of a VM at a member's path.
func at(t *testing.T, vm *backends.VM, path string) any {
	t.Helper()
	text, err := json.Marshal(vm)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	return value
}

// same compares a read value with the wanted one; of objects and arrays, what is wanted must be there.
func same(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		for key, value := range want {
			ok = ok && same(object[key], value)
		}
		return ok
	case []any:
		all, ok := got.([]any)
		return ok && len(all) == len(want) && !slices.ContainsFunc(want, func(w any) bool {
			return !slices.ContainsFunc(all, func(g any) bool { return reflect.DeepEqual(g, w) })
		})
	}
	return reflect.DeepEqual(got, want)
}

func TestMembers(t *testing.T) {
	for _, release := range []string{xensim.ReleaseMiddle, xensim.ReleaseNew} {
		t.Run(release, func(t *testing.T) {
			w := newWorld(t, xensim.Config{Release: release})
			cases := memberCases(w.hosts()[1])
			for _, m := range backends.Members {
				c, ok := cases[m.Path]
				if w.d.Writes(m.Path) != (ok || m.Path == "xenapi.suspendDisk") {
					t.Errorf("Writes(%s) = %v", m.Path, !ok)
				}
				if !ok {
					continue
				}
				want := c.reads
				if want == nil {
					want = c.value
				}
				if m.Patch {
					t.Run("patch "+m.Path, func(t *testing.T) {
						w := w.on(t)
						id := w.put(xensim.VMSpec{Memory: 4 << 30, VCPUs: 4})
						changes := []backends.Change{{Path: m.Path, Value: c.value}}
						if m.Path == "memory.staticMinBytes" {
							changes = slices.Insert(changes, 0, backends.Change{Path: "memory.dynamicMinBytes", Value: int64(4 << 30)})
						}
						if err := w.d.Patch(t.Context(), w.s, id, changes); err != nil {
							t.Fatal(err)
						}
						if got := at(t, w.vm(id), m.Path); !same(got, want) {
							t.Errorf("reads %#v, want %#v", got, want)
						}
						if !m.Nullable {
							return
						}
						if err := w.d.Patch(t.Context(), w.s, id, []backends.Change{{Path: m.Path}}); err != nil {
							t.Fatal(err)
						}
						if got := at(t, w.vm(id), m.Path); got != nil {
							t.Errorf("reads %#v after it was removed", got)
						}
					})
				}
				if m.Create {
					t.Run("create "+m.Path, func(t *testing.T) {
						w := w.on(t)
						changes := []backends.Change{{Path: m.Path, Value: c.value}}
						if m.Path != "memory.staticMaxBytes" {
							changes = append(changes, backends.Change{Path: "memory.staticMaxBytes", Value: int64(5 << 30)})
						}
						if m.Path == "cpu.vcpus" {
							changes = append(changes, backends.Change{Path: "cpu.maxVcpus", Value: int64(8)})
						}
						id, err := w.d.Create(t.Context(), w.s, changes)
						if err != nil {
							t.Fatal(err)
						}
						if got := at(t, w.vm(id), m.Path); !same(got, want) {
							t.Errorf("reads %#v, want %#v", got, want)
						}
					})
				}
			}
		})
	}
}

func TestSuspendDisk(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	off := w.put(xensim.VMSpec{})
	image := w.vm(off).Disks[0].Image.ID
	err := w.d.Patch(t.Context(), w.s, off, []backends.Change{{Path: "xenapi.suspendDisk", Value: image}})
	if backends.CodeOf(err) != backends.WrongState {
		t.Errorf("of a halted VM: %v", err)
	}
	asleep := w.put(xensim.VMSpec{PowerState: "Suspended"})
	own := w.vm(asleep).XenAPI.SuspendDisk
	if own == nil {
		t.Fatal("a suspended VM without a suspend disk")
	}
	if err := w.d.Patch(t.Context(), w.s, asleep, []backends.Change{{Path: "xenapi.suspendDisk", Value: *own}}); err != nil {
		t.Error(err)
	}
}

func TestRefusedMembers(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{Memory: 4 << 30, VCPUs: 4})
	on := w.put(xensim.VMSpec{PowerState: "Running"})
	change := func(path string, value any) []backends.Change { return []backends.Change{{Path: path, Value: value}} }
	tests := []struct {
		name    string
		id      backends.ID
		changes []backends.Change
		code    backends.Code
		pointer string
	}{
		{"more vCPUs than there can be", id, change("cpu.vcpus", int64(5)), backends.Unprocessable, "/cpu/vcpus"},
		{"no vCPU", id, change("cpu.vcpus", int64(0)), backends.InvalidArgument, "/cpu/vcpus"},
		{"fewer than there are", id, change("cpu.maxVcpus", int64(2)), backends.Unprocessable, "/cpu/maxVcpus"},
		{"memory out of order", id, change("memory.dynamicMaxBytes", int64(9<<30)), backends.Unprocessable, "/memory/dynamicMaxBytes"},
		{"memory below", id, change("memory.staticMaxBytes", int64(1<<20)), backends.Unprocessable, "/memory/staticMaxBytes"},
		{"static memory of a running VM", on, change("memory.staticMaxBytes", int64(64<<30)), backends.WrongState, ""},
		{"a host that is not there", id, change("placement.preferredHost", *missingID()), backends.Unprocessable, "/placement/preferredHost"},
		{"no value of the enumeration", id, change("lifecyclePolicy.onCrash", "explode"), backends.InvalidArgument, "/lifecyclePolicy/onCrash"},
		{"no operation", id, change("xenapi.blockedOperations", map[string]*string{"fly/away": ptr("x")}), backends.InvalidArgument, "/xenapi/blockedOperations/fly~1away"},
		{"a control character", id, change("displayName", "a\x00b"), backends.InvalidArgument, "/displayName"},
		{"an operation of 1.3", id, change("xenapi.blockedOperations", map[string]*string{"migrate": ptr("x")}), backends.InvalidArgument, "/xenapi/blockedOperations"},
		{"not a character", id, change("annotations", map[string]*string{"k": ptr("\uFFFE")}), backends.InvalidArgument, "/annotations/k"},
		{"not UTF-8", id, change("xenapi.tags", []string{"a", "\xff"}), backends.InvalidArgument, "/xenapi/tags/1"},
		{"a wrong type", id, change("displayName", 5), backends.InvalidArgument, "/displayName"},
		{"not removable", id, change("displayName", nil), backends.InvalidArgument, "/displayName"},
		{"a member of OpenNebula's", id, change("cpu.share", 1.0), backends.UnsupportedByBackend, "/cpu/share"},
		{"too small a multiplier", id, change("xenapi.shadowMultiplier", 0.5), backends.InvalidArgument, "/xenapi/shadowMultiplier"},
		{"more than a request holds", id, change("description", strings.Repeat("x", 400<<10)), backends.InvalidArgument, ""},
		{"a template that runs", on, change("template", true), backends.WrongState, ""},
		{"a VM that is not there", *missingID(), change("displayName", "x"), backends.NotFound, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := w.on(t)
			before := w.d.cfg.Name + fmt.Sprint(at(t, w.vm(id), "displayName"), at(t, w.vm(id), "cpu"), at(t, w.vm(id), "memory"))
			err := w.d.Patch(t.Context(), w.s, tt.id, tt.changes)
			e, ok := errors.AsType[*backends.Error](err)
			if !ok || e.Code != tt.code {
				t.Fatalf("got %v, want %s", err, tt.code)
			}
			if tt.pointer != "" && (len(e.Fields) != 1 || e.Fields[0].Pointer != tt.pointer) {
				t.Errorf("fields %v, want %s", e.Fields, tt.pointer)
			}
			after := w.d.cfg.Name + fmt.Sprint(at(t, w.vm(id), "displayName"), at(t, w.vm(id), "cpu"), at(t, w.vm(id), "memory"))
			if before != after {
				t.Errorf("refused, and changed\nfrom %s\nto   %s", before, after)
			}
		})
	}
	creates := []struct {
		name    string
		changes []backends.Change
		code    backends.Code
		pointer string
	}{
		{"without memory", nil, backends.InvalidArgument, "/memory/staticMaxBytes"},
		{"memory out of order", append(change("memory.staticMaxBytes", int64(1<<30)), change("memory.staticMinBytes", int64(2<<30))...), backends.Unprocessable, "/memory/staticMinBytes"},
		{"vCPUs out of order", append(change("memory.staticMaxBytes", int64(1<<30)), append(change("cpu.vcpus", int64(4)), change("cpu.maxVcpus", int64(2))...)...), backends.Unprocessable, "/cpu/vcpus"},
		{"a host that is not there", append(change("memory.staticMaxBytes", int64(1<<30)), change("placement.preferredHost", *missingID())...), backends.Unprocessable, "/placement/preferredHost"},
	}
	for _, tt := range creates {
		t.Run("create "+tt.name, func(t *testing.T) {
			before := len(w.sim.VMs())
			_, err := w.d.Create(t.Context(), w.s, tt.changes)
			e, ok := errors.AsType[*backends.Error](err)
			if !ok || e.Code != tt.code || len(e.Fields) != 1 || e.Fields[0].Pointer != tt.pointer {
				t.Errorf("got %v, %v", err, e)
			}
			if len(w.sim.VMs()) != before {
				t.Error("refused, and made")
			}
		})
	}
}

func TestHalfWay(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	id := w.put(xensim.VMSpec{})
	w.sim.FailNext("VM.set_PV_kernel", "INTERNAL_ERROR", "OpaqueRef:"+missing)
	err := w.d.Patch(t.Context(), w.s, id, []backends.Change{
		{Path: "displayName", Value: "new"}, {Path: "boot.pv.kernel", Value: "/k"}, {Path: "annotations", Value: map[string]*string{"k": ptr("v")}},
	})
	e := backends.AsError(err)
	if !slices.Equal(e.Applied, []string{"displayName"}) || !slices.Equal(e.NotApplied, []string{"boot.pv.kernel", "annotations"}) {
		t.Errorf("applied %v, not applied %v", e.Applied, e.NotApplied)
	}
	if *w.vm(id).DisplayName != "new" {
		t.Error("what was applied is not there")
	}
	if strings.Contains(fmt.Sprint(e.Fault.Params, e), "OpaqueRef") {
		t.Errorf("a reference gets out: %+v", e.Fault)
	}
}

func TestOldRelease(t *testing.T) {
	w := newWorld(t, xensim.Config{Release: xensim.ReleaseOld})
	r, _ := w.d.Release()
	if r.API == "" || w.d.Writes("boot.domainType") {
		t.Errorf("release %+v has domain types", r)
	}
	id, err := w.d.Create(t.Context(), w.s, []backends.Change{
		{Path: "displayName", Value: "old"}, {Path: "memory.staticMaxBytes", Value: int64(1 << 30)}, {Path: "cpu.vcpus", Value: int64(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.do("start", id, backends.Args{})
	w.refused("shutdown", id, backends.Args{Mode: "AUTO"}, backends.UnsupportedByBackend)
	w.do("shutdown", id, backends.Args{Mode: "FORCE"})
	w.do("resize", id, backends.Args{Memory: &backends.Memory{DynamicMaxBytes: ptr(int64(2 << 30))}})
	if got := w.vm(id); *got.Memory.StaticMaxBytes != 2<<30 || got.Boot.DomainType != "" {
		t.Errorf("memory %+v, boot %+v", got.Memory, got.Boot)
	}
	for vm, err := range w.d.VMs(t.Context(), w.s, backends.Query{View: backends.ViewNative, ShowTemplates: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if vm.Native == nil || vm.State == backends.StateUnknown {
			t.Errorf("VM %+v", vm)
		}
	}
	agent := w.put(xensim.VMSpec{PowerState: "Running"})
	w.do("shutdown", agent, backends.Args{})
	w.do("start", agent, backends.Args{})
	w.do("migrate", agent, backends.Args{Host: &w.hosts()[1]})
	if w.sim.ColdMigrations() != 0 {
		t.Error("a migration was not live")
	}
}
