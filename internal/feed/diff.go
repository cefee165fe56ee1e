package feed

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// samples are members that differ between two reads although nobody changed anything. They are
// those that backends.ETag leaves out.
func samples() []string {
	return []string{"etag", "native", "memory.targetBytes", "opennebula.lastPollTime"}
}

// changedMembers names the members of which two states of a VM differ, under their JSON names and
// in the order of the model.
func changedMembers(before, after *backends.VM) []string {
	changed := appendChanged(nil, "", reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
	return slices.DeleteFunc(changed, func(name string) bool { return slices.Contains(samples(), name) })
}

func appendChanged(changed []string, prefix string, a, b reflect.Value) []string {
	for i := range a.NumField() {
		x, y := a.Field(i), b.Field(i)
		if same(x, y) {
			continue
		}
		name := jsonName(a.Type().Field(i))
		if prefix == "" && hasMembers(x) && hasMembers(y) {
			changed = appendChanged(changed, name+".", x.Elem(), y.Elem())
		} else {
			changed = append(changed, prefix+name)
		}
	}
	return changed
}

// same reports whether two values are equal. Most are texts, or nothing, or one that both share, which
// is told without the cost of a deep look.
func same(x, y reflect.Value) bool {
	switch x.Kind() {
	case reflect.String:
		return x.String() == y.String()
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if x.UnsafePointer() == y.UnsafePointer() && (x.Kind() != reflect.Slice || x.Len() == y.Len()) {
			return x.IsNil() == y.IsNil()
		}
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}

// hasMembers reports whether v holds members that change one by one. A reference to another object
// and a backend's raw state are one value each.
func hasMembers(v reflect.Value) bool {
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return false
	}
	switch v.Interface().(type) {
	case *backends.Ref, *backends.RawState, *time.Time:
		return false
	}
	return true
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
