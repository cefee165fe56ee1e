package backends_test

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"

	"vmgateway/internal/backends"
)

// sharing collects what two equal values have in common in memory.
type sharing struct {
	found []string
	texts map[string]string // of the second one, by their paths
}

func (s *sharing) note(path string, shared bool) {
	if shared {
		s.found = append(s.found, path)
	}
}

func (s *sharing) compare(path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.String:
		if a.Len() > 0 {
			s.note(path, place(a.String()) == place(b.String()))
			s.texts[path] = b.String()
		}
	case reflect.Pointer:
		s.note(path, !a.IsNil() && a.Pointer() == b.Pointer())
		if !a.IsNil() {
			s.compare(path, a.Elem(), b.Elem())
		}
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			return // of a location, which nobody writes
		}
		for i := range a.NumField() {
			s.compare(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Slice:
		s.note(path, a.Len() > 0 && a.Pointer() == b.Pointer())
		for i := range a.Len() {
			s.compare(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i))
		}
	case reflect.Map:
		s.note(path, !a.IsNil() && a.Pointer() == b.Pointer())
		s.compareKeys(path, a, b)
	}
}

// compareKeys also holds the keys against each other, which a look-up would not tell apart.
func (s *sharing) compareKeys(path string, a, b reflect.Value) {
	keys := map[string]reflect.Value{}
	for _, k := range b.MapKeys() {
		keys[k.String()] = k
	}
	for _, k := range a.MapKeys() {
		s.compare(path+" key "+k.String(), k, keys[k.String()])
		s.compare(path+"."+k.String(), a.MapIndex(k), b.MapIndex(k))
	}
}

func TestCloneSharesNothing(t *testing.T) {
	vms := append(simulated(t, backends.ViewFull), filled(t), &backends.VM{}, &backends.VM{
		Disks: []backends.Disk{}, AllowedActions: []backends.AllowedAction{}, Annotations: map[string]string{}, DisplayName: new(""),
	})
	for _, vm := range vms {
		clone := vm.Clone()
		if !reflect.DeepEqual(vm, clone) {
			t.Errorf("%s differs:\n got %s\nwant %s", vm.ID, clone.AppendJSON(nil), vm.AppendJSON(nil))
		}
		s := sharing{texts: map[string]string{}}
		s.compare("VM", reflect.ValueOf(vm).Elem(), reflect.ValueOf(clone).Elem())
		for _, path := range s.found {
			t.Errorf("%s: the clone shares %s", vm.ID, path)
		}
	}
}

// TestCloneKeepsTextsTogether finds a text that is moved without having been counted: the texts follow
// each other without a gap, in memory that was taken once.
func TestCloneKeepsTextsTogether(t *testing.T) {
	for _, vm := range append(simulated(t, backends.ViewFull), filled(t)) {
		clone := vm.Clone()
		s := sharing{texts: map[string]string{}}
		s.compare("VM", reflect.ValueOf(vm).Elem(), reflect.ValueOf(clone).Elem())
		paths := slices.SortedFunc(maps.Keys(s.texts), func(a, b string) int { return cmp.Compare(place(s.texts[a]), place(s.texts[b])) })
		for i, path := range paths[1:] {
			if before := s.texts[paths[i]]; place(before)+uintptr(len(before)) != place(s.texts[path]) {
				t.Errorf("%s: %s does not lie behind %s", vm.ID, path, paths[i])
			}
		}
	}
}

func place(text string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(text))) }

func BenchmarkClone(b *testing.B) {
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull} {
		vms := simulated(b, view)
		b.Run(string(view), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				kept = vms[i%len(vms)].Clone()
			}
		})
	}
}

var kept *backends.VM
