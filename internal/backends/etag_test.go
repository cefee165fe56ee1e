package backends_test

import (
	"reflect"
	"testing"

	"vmgateway/internal/backends"
)

func TestETagChangesWithWhatIsChanged(t *testing.T) {
	vm := filled(t)
	etag := backends.ETag(vm)
	if len(etag) != 16 {
		t.Fatalf("ETag %q", etag)
	}
	before := vm.Clone()
	seen := map[string]string{etag: "nothing"}
	for name, change := range map[string]func(*backends.VM){
		"name":           func(vm *backends.VM) { *vm.DisplayName += "." },
		"state":          func(vm *backends.VM) { vm.State = backends.StateStopped },
		"memory":         func(vm *backends.VM) { *vm.Memory.DynamicMaxBytes++ },
		"annotation":     func(vm *backends.VM) { vm.Annotations["new"] = "" },
		"disk":           func(vm *backends.VM) { vm.Disks = vm.Disks[1:] },
		"disk's size":    func(vm *backends.VM) { *vm.Disks[1].SizeBytes++ },
		"address":        func(vm *backends.VM) { vm.NICs[0].Addresses[1] = "10.0.0.1" },
		"permission":     func(vm *backends.VM) { vm.OpenNebula.Permissions.Other.Admin = false },
		"no disks":       func(vm *backends.VM) { vm.Disks = []backends.Disk{} },
		"disks not told": func(vm *backends.VM) { vm.Disks = nil },
		"allowed action": func(vm *backends.VM) { vm.AllowedActions = nil },
	} {
		changed := vm.Clone()
		change(changed)
		got := backends.ETag(changed)
		if same, ok := seen[got]; ok {
			t.Errorf("%s: changed, and the ETag is that with %s changed", name, same)
		}
		seen[got] = name
	}
	if !reflect.DeepEqual(vm, before) {
		t.Error("ETag has changed the VM")
	}
}

func TestETagStaysWithSamplesAndViews(t *testing.T) {
	vm := filled(t)
	etag := backends.ETag(vm)
	sampled := vm.Clone()
	*sampled.Memory.TargetBytes++
	*sampled.Disks[1].UsedBytes++
	*sampled.OpenNebula.LastPoll = sampled.OpenNebula.LastPoll.AddDate(0, 0, 1)
	sampled.ETag, sampled.Native = "another", nil
	if got := backends.ETag(sampled); got != etag {
		t.Errorf("samples made it %s from %s", got, etag)
	}
}

func BenchmarkETag(b *testing.B) {
	vms := simulated(b, backends.ViewFull)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		backends.ETag(vms[i%len(vms)])
	}
}
