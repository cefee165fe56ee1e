package drivertest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

func dump(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(text)
}

// within reports whether a pointer names a member or something inside it.
func within(pointer, member string) bool {
	return pointer == member || strings.HasPrefix(pointer, member+"/")
}

// checkVM holds a VM to what the model says of every VM.
func (b *bench) checkVM(t *testing.T, vm *backends.VM, view backends.View) {
	t.Helper()
	if vm.Backend != b.Name || vm.Kind != b.driver.Kind() || vm.UID == "" {
		t.Errorf("%s: backend %q, kind %q, uid %q", view, vm.Backend, vm.Kind, vm.UID)
	}
	if (vm.State == backends.StateUpdating) != (vm.BaseState != "") {
		t.Errorf("%s: state %s with base state %q", view, vm.State, vm.BaseState)
	}
	if full := view == backends.ViewFull || view == backends.ViewNative; full {
		if vm.ETag == "" || vm.Disks == nil || vm.NICs == nil {
			t.Errorf("%s lacks etag, disks or nics: %s", view, dump(vm))
		}
	}
	if (view == backends.ViewNative) != (vm.Native != nil) {
		t.Errorf("%s with native = %t", view, vm.Native != nil)
	}
	b.checkShape(t, string(view), vm)
}

// checkShape walks a value: ids are well-formed and of this backend, nothing that is there is empty
// or zero without a meaning, and times are real and in UTC. Native records are the backend's own.
func (b *bench) checkShape(t *testing.T, what string, v any) {
	t.Helper()
	for _, problem := range b.shape(what, reflect.ValueOf(v), nil) {
		t.Error(problem)
	}
}

var (
	idType   = reflect.TypeFor[backends.ID]()
	timeType = reflect.TypeFor[time.Time]()
)

func (b *bench) shape(path string, v reflect.Value, problems []string) []string {
	bad := func(format string, args ...any) []string {
		return append(problems, path+" "+fmt.Sprintf(format, args...))
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return problems
		}
		if e := v.Elem(); e.Kind() == reflect.String && e.Len() == 0 {
			return bad("is there and empty")
		}
		return b.shape(path, v.Elem(), problems)
	case reflect.Slice:
		for i := range v.Len() {
			problems = b.shape(fmt.Sprintf("%s[%d]", path, i), v.Index(i), problems)
		}
		return problems
	case reflect.Map:
		for key := range v.Seq() {
			if key.Kind() == reflect.String && key.Len() == 0 {
				problems = bad("has an empty key")
			}
		}
		return problems
	case reflect.Struct:
		return b.shapeOfStruct(path, v, problems)
	}
	return problems
}

func (b *bench) shapeOfStruct(path string, v reflect.Value, problems []string) []string {
	bad := func(format string, args ...any) []string {
		return append(problems, path+" "+fmt.Sprintf(format, args...))
	}
	switch v.Type() {
	case idType:
		id, _ := v.Interface().(backends.ID)
		parsed, err := backends.ParseID(id.String())
		switch {
		case err != nil || parsed != id:
			return bad("is the id %q, which cannot be read again: %v", id, err)
		case id.Backend != b.Name || !b.driver.CheckID(id.Native):
			return bad("is the id %q, which this backend would not take", id)
		}
		return problems
	case timeType:
		at, _ := v.Interface().(time.Time)
		if at.Location() != time.UTC || at.Year() < 2000 || at.Year() > 2200 {
			return bad("is the time %v, want a real one in UTC", at)
		}
		return problems
	}
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		if name == "native" || name == "-" {
			continue
		}
		if options == "" && f.Kind() == reflect.String && f.Len() == 0 {
			problems = bad("lacks %s", name)
		}
		problems = b.shape(path+"."+name, f, problems)
	}
	return problems
}

// lookUp gives the member at a path of a value's JSON; nil when it is absent.
func lookUp(t *testing.T, v any, path string) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var at any
	if err := json.Unmarshal(text, &at); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[name]
	}
	return at
}

// asJSON is a value as JSON decodes it.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

// contains reports whether got has everything that want has: objects may have more members.
func contains(got, want any) bool {
	object, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	have, ok := got.(map[string]any)
	if !ok {
		return len(object) == 0 && got == nil
	}
	for name, value := range object {
		if !contains(have[name], value) {
			return false
		}
	}
	return true
}
