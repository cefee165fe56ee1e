package opennebula

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// small is what a VM needs at least.
var small = []backends.Change{{Path: "memory.dynamicMaxBytes", Value: int64(64 * mib)}}

func change(path string, value any) backends.Change { return backends.Change{Path: path, Value: value} }

func text(pairs ...string) map[string]*string {
	m := map[string]*string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = new(pairs[i+1])
	}
	return m
}

func (b *bench) create(changes ...backends.Change) *backends.VM {
	b.Helper()
	id, err := b.driver.Create(b.Context(), b.session, changes)
	if err != nil {
		b.Fatal(err)
	}
	return b.vm(id)
}

func (b *bench) patch(id backends.ID, changes ...backends.Change) *backends.VM {
	b.Helper()
	if err := b.driver.Patch(b.Context(), b.session, id, changes); err != nil {
		b.Fatal(err)
	}
	return b.vm(id)
}

// hard are values that go wrong where quoting is wrong.
var hard = []string{
	`plain`, `say "hi"`, `\`, `a\"b`, `ends with \`, `"`, `]`, `]]`, `[a=b,c]`, "two\nlines\n", "tab\there", "  blanks  ", "# no comment",
	`<b>&amp;</b>`, `<![CDATA[`, `$NAME`, "é ü 日本語 ☃", `a=b`, "",
}

// TestValuesSurvive writes values in each way there is and reads them back as they were.
func TestValuesSurvive(t *testing.T) {
	for _, release := range []string{"4.14.2", "6.10.0"} {
		b := newBench(t, release)
		for _, value := range hard {
			if value == "" {
				continue // absent, where it is read
			}
			vm := b.create(append(small, change("description", value), change("annotations", text("KEY", value)), change("boot.pv.args", value))...)
			if vm.Description == nil || *vm.Description != value || vm.Annotations["KEY"] != value || vm.Boot == nil || *vm.Boot.PV.Args != value {
				t.Errorf("%s: created with %q, reads %v, %q", release, value, vm.Description, vm.Annotations["KEY"])
			}
			vm = b.patch(b.create(small...).ID, change("description", value), change("annotations", text("KEY", value)))
			if vm.Description == nil || *vm.Description != value || vm.Annotations["KEY"] != value {
				t.Errorf("%s: patched to %q, reads %v, %q", release, value, vm.Description, vm.Annotations["KEY"])
			}
			if release == "4.14.2" {
				continue
			}
			vm = b.patch(vm.ID, change("boot.pv.kernel", value), change("platform", text("ACPI", value)))
			if *vm.Boot.PV.Kernel != value || vm.Platform["ACPI"] != value {
				t.Errorf("patched to %q, reads %q, %v", value, *vm.Boot.PV.Kernel, vm.Platform)
			}
		}
	}
}

func TestWhatCannotBeSaidIsRefused(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.create(small...).ID
	before := b.sim.Calls("")
	for _, row := range []struct {
		change  backends.Change
		pointer string
	}{
		{change("displayName", "😀"), "/displayName"},
		{change("displayName", "a\x01b"), "/displayName"},
		{change("displayName", ""), "/displayName"},
		{change("displayName", strings.Repeat("x", 129)), "/displayName"},
		{change("displayName", "a]]>b"), "/displayName"},
		{change("displayName", "blank "), "/displayName"},
		{change("displayName", "a&b"), "/displayName"},
		{change("displayName", "a:b"), "/displayName"},
		{change("displayName", `a"b`), "/displayName"},
		{change("description", "a]]>b"), "/description"},
		{change("description", "a\r\nb"), "/description"},
		{change("description", "\ufffe"), "/description"},
		{change("description", "\xff"), "/description"},
		{change("annotations", text("env", "x")), "/annotations/env"},
		{change("annotations", text("1A", "x")), "/annotations/1A"},
		{change("annotations", text("A/B", "x")), "/annotations/A~1B"},
		{change("annotations", text("DESCRIPTION", "x")), "/annotations/DESCRIPTION"},
		{change("annotations", text("DISK", "x")), "/annotations/DISK"},
		{change("annotations", text("", "x")), "/annotations/"},
		{change("annotations", text("A", "\x00")), "/annotations/A"},
		{change("boot.hvm.params", text("cpuid", "x")), "/boot/hvm/params/cpuid"},
		{change("boot.pv.kernel", ""), "/boot/pv/kernel"},
		{change("platform", text("acpi", "yes")), "/platform/acpi"},
		{change("cpu.vcpus", int64(0)), "/cpu/vcpus"},
		{change("cpu.share", 0.0), "/cpu/share"},
		{change("memory.dynamicMaxBytes", int64(1)), "/memory/dynamicMaxBytes"},
		{change("memory.dynamicMaxBytes", int64(-mib)), "/memory/dynamicMaxBytes"},
	} {
		for name, err := range map[string]error{
			"patch":  b.driver.Patch(t.Context(), b.session, id, []backends.Change{row.change}),
			"create": createError(b, append(slices.DeleteFunc(slices.Clone(small), func(c backends.Change) bool { return c.Path == row.change.Path }), row.change)),
		} {
			e := backends.AsError(err)
			if e.Code != backends.InvalidArgument || len(e.Fields) != 1 || e.Fields[0].Pointer != row.pointer {
				t.Errorf("%s of %q to %q: %v at %v, want %s at %s", name, row.change.Path, row.change.Value, err, e.Fields, backends.InvalidArgument, row.pointer)
			}
		}
	}
	if made := b.sim.Calls("") - before; made > 0 {
		t.Errorf("%d calls were made", made)
	}
}

func createError(b *bench, changes []backends.Change) error {
	_, err := b.driver.Create(b.Context(), b.session, changes)
	return err
}

func TestCreate(t *testing.T) {
	b := newBench(t, "6.10.0")
	vm := b.create(
		change("displayName", "web"), change("description", "front"), change("hold", true), change("cpu.vcpus", int64(2)),
		change("cpu.maxVcpus", int64(4)), change("memory.staticMaxBytes", int64(256*mib)), change("memory.dynamicMaxBytes", int64(128*mib)),
		change("boot.hvm.params", text("order", "disk0", "firmware", "UEFI")), change("platform", text("ACPI", "yes")),
		change("placement.requirements", "ID = 1"), change("placement.rank", "FREE_CPU"), change("annotations", text("ROLE", "web")))
	if *vm.DisplayName != "web" || *vm.Description != "front" || vm.State != backends.StateHeld || *vm.CPU.VCPUs != 2 || *vm.CPU.MaxVCPUs != 4 ||
		*vm.CPU.Share != 2 || *vm.Memory.StaticMaxBytes != 256*mib || *vm.Memory.DynamicMaxBytes != 128*mib {
		t.Errorf("made %+v, CPU %+v, memory %+v", vm, vm.CPU, vm.Memory)
	}
	if !maps.Equal(vm.Boot.HVM.Params, map[string]string{"order": "disk0", "firmware": "UEFI"}) || !maps.Equal(vm.Platform, map[string]string{"ACPI": "yes"}) ||
		*vm.Placement.Requirements != "ID = 1" || *vm.Placement.Rank != "FREE_CPU" || !maps.Equal(vm.Annotations, map[string]string{"ROLE": "web"}) {
		t.Errorf("made boot %+v, platform %v, placement %+v, annotations %v", vm.Boot, vm.Platform, vm.Placement, vm.Annotations)
	}
	vm = b.create(change("memory.staticMaxBytes", int64(64*mib)))
	if *vm.Memory.DynamicMaxBytes != 64*mib || *vm.CPU.Share != 1 || vm.State != backends.StatePending {
		t.Errorf("the smallest has %+v, %+v", vm.Memory, vm.CPU)
	}
	for name, changes := range map[string][]backends.Change{
		"no memory":                 {change("cpu.vcpus", int64(1))},
		"memory in the wrong order": {change("memory.staticMaxBytes", int64(mib)), change("memory.dynamicMaxBytes", int64(2*mib))},
		"vCPUs in the wrong order":  append(small, change("cpu.vcpus", int64(4)), change("cpu.maxVcpus", int64(2))),
	} {
		if err := createError(b, changes); backends.CodeOf(err) != backends.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := createError(b, append(small, change("xenapi.pciBus", "x"))); backends.CodeOf(err) != backends.UnsupportedByBackend {
		t.Errorf("a member of the other backend: %v", err)
	}
}

func TestRawTemplates(t *testing.T) {
	b := newBench(t, "6.10.0")
	for _, raw := range []string{
		"NAME=\"raw\"\nCPU=0.5\nMEMORY=64\nNOTE=\"a \\\" ] DESCRIPTION=\"\nOS=[ARCH=\"x86_64\", BOOT=\"\"] # DESCRIPTION=x\n",
		"<TEMPLATE><NAME>raw</NAME><CPU>0.5</CPU><MEMORY>64</MEMORY><NOTE><![CDATA[x]]></NOTE></TEMPLATE>",
	} {
		vm := b.create(change("opennebula.template", raw), change("description", `more "of it"`), change("hold", true))
		if *vm.DisplayName != "raw" || vm.State != backends.StateHeld || *vm.Description != `more "of it"` || *vm.CPU.Share != 0.5 {
			t.Errorf("made %q in %s: %v", *vm.DisplayName, vm.State, vm.Description)
		}
		if err := createError(b, []backends.Change{change("displayName", "again"), change("opennebula.template", raw)}); backends.CodeOf(err) != backends.InvalidArgument {
			t.Errorf("a name said twice: %v", err)
		}
	}
	for _, row := range []struct {
		raw  string
		want backends.Code
	}{
		{" ", backends.InvalidArgument},
		{`NAME="x`, backends.InvalidArgument},
		{`OS=[ARCH="x"`, backends.InvalidArgument},
		{`<TEMPLATE><NAME>x</TEMPLATE>`, backends.InvalidArgument},
		{`CPU=1`, backends.InvalidArgument},
		{"CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=99]", backends.Unprocessable},
		{"CPU=1\nMEMORY=64\nNIC=[NETWORK_ID=99]", backends.Unprocessable},
	} {
		if err := createError(b, []backends.Change{change("opennebula.template", row.raw)}); backends.CodeOf(err) != row.want {
			t.Errorf("%q: %v, want %s", row.raw, err, row.want)
		}
	}
}

func TestPatch(t *testing.T) {
	b := newBench(t, "6.10.0")
	vm := b.create(append(small, change("annotations", text("KEEP", "1", "DROP", "2")), change("hold", true))...)
	uuidBefore := nativeOS(t, b, vm.ID)["UUID"]
	var err error
	methods := b.calls(func(ctx context.Context) {
		err = b.driver.Patch(ctx, b.session, vm.ID, []backends.Change{
			change("displayName", "new"), change("description", "d"), change("owner", backends.OwnerPatch{User: hostArg("2"), Group: hostArg("1")}),
			change("cpu.vcpus", int64(3)), change("cpu.share", 0.5), change("memory.dynamicMaxBytes", int64(128*mib)),
			change("boot.pv.kernel", "/k"), change("boot.hvm.params", text("order", "disk0")), change("platform", text("PAE", "yes")),
			change("annotations", map[string]*string{"DROP": nil, "ADD": new("3")}),
			change("opennebula.permissions", backends.PermissionsPatch{Group: backends.PermissionBitsPatch{Use: new(true)}, Other: backends.PermissionBitsPatch{Manage: new(true)}}),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"one.vm.info", "one.user.info", "one.group.info", "one.vm.rename", "one.vm.resize", "one.vm.update", "one.vm.updateconf", "one.vm.chmod", "one.vm.chown"}
	if !slices.Equal(methods, want) {
		t.Errorf("calls %v, want %v", methods, want)
	}
	vm = b.vm(vm.ID)
	if *vm.DisplayName != "new" || *vm.Description != "d" || vm.Owner.User.ID.Native != "2" || vm.Owner.Group.ID.Native != "1" ||
		*vm.CPU.VCPUs != 3 || *vm.CPU.Share != 0.5 || *vm.Memory.DynamicMaxBytes != 128*mib || *vm.Boot.PV.Kernel != "/k" ||
		vm.Boot.HVM.Params["order"] != "disk0" || vm.Platform["PAE"] != "yes" {
		t.Errorf("patched to %+v", vm)
	}
	if !maps.Equal(vm.Annotations, map[string]string{"KEEP": "1", "ADD": "3"}) {
		t.Errorf("annotations %v", vm.Annotations)
	}
	if p := vm.OpenNebula.Permissions; !p.Group.Use || !p.Other.Manage || p.Other.Use || !p.Owner.Use {
		t.Errorf("permissions %+v", p)
	}
	if got := nativeOS(t, b, vm.ID)["UUID"]; got == nil || got != uuidBefore {
		t.Errorf("the rest of OS was not kept: UUID %v, was %v", got, uuidBefore)
	}

	vm = b.patch(vm.ID, change("description", nil), change("boot.pv.kernel", nil), change("annotations", nil))
	if vm.Description != nil || vm.Boot.PV != nil || vm.Boot.HVM.Params["order"] != "disk0" || len(vm.Annotations) != 0 {
		t.Errorf("removed, and left: %v, %+v, %v", vm.Description, vm.Boot, vm.Annotations)
	}
	if vm = b.patch(vm.ID, change("annotations", map[string]*string{})); len(vm.Annotations) != 0 {
		t.Errorf("annotations %v", vm.Annotations)
	}
}

func nativeOS(t *testing.T, b *bench, id backends.ID) map[string]any {
	t.Helper()
	vm, err := b.driver.VM(t.Context(), b.session, id, backends.ViewNative)
	if err != nil {
		t.Fatal(err)
	}
	template, _ := vm.Native.(map[string]any)["TEMPLATE"].(map[string]any)
	os, _ := template["OS"].(map[string]any)
	return os
}

// TestRemovingKeepsTheRest takes one attribute away from a USER_TEMPLATE that holds what the model
// has no member for.
func TestRemovingKeepsTheRest(t *testing.T) {
	for _, release := range []string{"4.14.2", "6.10.0"} {
		b := newBench(t, release)
		id := b.create(change("opennebula.template", "CPU=1\nMEMORY=64\nDESCRIPTION=\"d\"\nA=\"1\"\nV=[X=\"a b\",Y=\"\\\"\"]\nR=\"1\"\nR=\"2\"")).ID
		b.patch(id, change("annotations", map[string]*string{"A": nil}))
		vm, err := b.driver.VM(t.Context(), b.session, id, backends.ViewNative)
		if err != nil {
			t.Fatal(err)
		}
		user, _ := vm.Native.(map[string]any)["USER_TEMPLATE"].(map[string]any)
		vector, _ := user["V"].(map[string]any)
		repeated, _ := user["R"].([]any)
		if user["A"] != nil || user["DESCRIPTION"] != "d" || vector["X"] != "a b" || vector["Y"] != `"` || !slices.Equal(repeated, []any{"1", "2"}) {
			t.Errorf("%s: left %v", release, user)
		}
	}
}

func TestPatchFailsHalfWay(t *testing.T) {
	b := newBench(t, "6.10.0")
	id := b.running()
	err := b.driver.Patch(t.Context(), b.session, id, []backends.Change{
		change("displayName", "new"), change("memory.dynamicMaxBytes", int64(1<<50)), change("description", "d"),
	})
	e := backends.AsError(err)
	if e.Code != backends.Conflict || !slices.Equal(e.Applied, []string{"displayName"}) || !slices.Equal(e.NotApplied, []string{"memory.dynamicMaxBytes", "description"}) {
		t.Errorf("%v; applied %v, not applied %v", err, e.Applied, e.NotApplied)
	}
	err = b.driver.Patch(t.Context(), b.session, id, []backends.Change{
		change("displayName", "newer"), change("owner", backends.OwnerPatch{User: hostArg("99")}),
	})
	e = backends.AsError(err)
	if e.Code != backends.Unprocessable || len(e.Applied) > 0 || len(e.Fields) != 1 || e.Fields[0].Pointer != "/owner/user/id" {
		t.Errorf("an owner that is not there: %v, applied %v, points at %v", err, e.Applied, e.Fields)
	}
	if name := *b.vm(id).DisplayName; name != "new" {
		t.Errorf("called %q", name)
	}
}

func TestReleasesThatCannotPatch(t *testing.T) {
	for _, row := range []struct {
		release string
		change  backends.Change
	}{
		{"3.8.5", change("displayName", "x")},
		{"3.8.5", change("annotations", text("A", "1"))},
		{"3.8.5", change("cpu.vcpus", int64(1))},
		{"4.14.2", change("boot.pv.kernel", "/k")},
		{"4.14.2", change("platform", text("ACPI", "yes"))},
		{"6.10.0", change("cpu.maxVcpus", int64(2))},
		{"6.10.0", change("memory.staticMaxBytes", int64(mib))},
	} {
		b := newBench(t, row.release)
		err := b.driver.Patch(t.Context(), b.session, b.running(), []backends.Change{row.change})
		if e := backends.AsError(err); e.Code != backends.UnsupportedByBackend || len(e.Fields) != 1 || e.Fields[0].Pointer != backends.Pointer(row.change.Path) {
			t.Errorf("%s of %s: %v", row.change.Path, row.release, err)
		}
	}
}

// TestEveryMemberHasARowOrNot holds the table against the vocabulary.
func TestEveryMemberHasARowOrNot(t *testing.T) {
	known := map[string]bool{}
	for _, m := range backends.Members {
		known[m.Path] = true
		if row, ok := members[m.Path]; ok && m.Patch && !m.Create {
			if _, patched := stepSince[row.step]; !patched {
				t.Errorf("%s can be patched only, and no step does it", m.Path)
			}
		}
	}
	for path := range members {
		if !known[path] {
			t.Errorf("%s is no member", path)
		}
	}
}
