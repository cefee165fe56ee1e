package feed

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// TestAChangeIsWhatChangesTheETag sets each member of the model, one at a time, on an empty VM and
// on one whose other members are all set.
func TestAChangeIsWhatChangesTheETag(t *testing.T) {
	for _, c := range []struct {
		name string
		base func() *backends.VM
	}{
		{"empty", func() *backends.VM { return &backends.VM{} }},
		{"full", fullVM},
	} {
		base := c.base()
		members := 0
		for i := range reflect.TypeFor[backends.VM]().NumField() {
			for _, path := range paths(reflect.ValueOf(base).Elem().Field(i), []int{i}) {
				members++
				after := c.base()
				field := reflect.ValueOf(after).Elem().FieldByIndex(path)
				alter(t, field)
				got := changedMembers(base, after)
				same := backends.ETag(base) == backends.ETag(after)
				if same != (len(got) == 0) || len(got) > 1 {
					t.Errorf("%s, member %v: changed %q, same ETag %t", c.name, path, got, same)
				}
				if !same && len(got) == 1 && !slices.Contains(memberNames(), got[0]) {
					t.Errorf("%s, member %v: %q is not a member's name", c.name, path, got[0])
				}
			}
		}
		if members < reflect.TypeFor[backends.VM]().NumField() {
			t.Errorf("%s: only %d members seen", c.name, members)
		}
	}
}

func TestChangedMembersAreNamed(t *testing.T) {
	a := &backends.VM{State: "A", Host: &backends.Ref{DisplayName: "h1"}, Memory: &backends.Memory{DynamicMaxBytes: new(int64(1))}}
	b := &backends.VM{
		State: "B", Host: &backends.Ref{DisplayName: "h2"}, RawState: &backends.RawState{PowerState: "x"},
		Memory:     &backends.Memory{DynamicMaxBytes: new(int64(2)), TargetBytes: new(int64(3))},
		OpenNebula: &backends.OpenNebulaVM{Lock: "USE"},
	}
	want := []string{"state", "rawState", "host", "memory.dynamicMaxBytes", "opennebula"}
	if got := changedMembers(a, b); !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
	if got := changedMembers(a, a); len(got) > 0 {
		t.Errorf("a VM differs from itself in %q", got)
	}
}

// paths lists the members of v, or v itself when it has none that change one by one. Disks are not in
// BASIC, and their use is a sample; the whole list is.
func paths(v reflect.Value, at []int) [][]int {
	if !hasMembers(v) {
		return [][]int{at}
	}
	var all [][]int
	for i := range v.Elem().NumField() {
		all = append(all, append(slices.Clone(at), i))
	}
	return all
}

func memberNames() []string {
	var names []string
	full := reflect.ValueOf(fullVM()).Elem()
	for i := range full.NumField() {
		f := full.Type().Field(i)
		name := jsonName(f)
		names = append(names, name)
		if hasMembers(full.Field(i)) {
			for j := range full.Field(i).Elem().NumField() {
				names = append(names, name+"."+jsonName(full.Field(i).Elem().Type().Field(j)))
			}
		}
	}
	return names
}

// alter gives v another value than it has.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	before := v.Interface()
	fill(v, 2)
	if reflect.DeepEqual(before, v.Interface()) {
		t.Fatalf("a value of type %s stayed as it was", v.Type())
	}
}

// fullVM is a VM with every member set, as far as JSON can show them.
func fullVM() *backends.VM {
	vm := &backends.VM{}
	v := reflect.ValueOf(vm).Elem()
	for i := range v.NumField() {
		fill(v.Field(i), 1)
	}
	return vm
}

func fill(v reflect.Value, n int) {
	if _, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(time.Unix(int64(n), 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": fmt.Sprint(n)}))
	case reflect.String:
		v.SetString(fmt.Sprint("v", n))
	case reflect.Bool:
		v.SetBool(n == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Float64:
		v.SetFloat(float64(n))
	case reflect.Interface:
		v.Set(reflect.ValueOf(any(map[string]any{"k": float64(n)})))
	}
}
