package drivertest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// resourceTypes is what Read gives of each resource, as their constants say.
var resourceTypes = map[backends.Resource]reflect.Type{
	backends.Hosts:     reflect.TypeFor[[]backends.Host](),
	backends.Templates: reflect.TypeFor[[]backends.Template](),
	backends.Images:    reflect.TypeFor[[]backends.Image](),
	backends.Storages:  reflect.TypeFor[[]backends.Storage](),
	backends.Networks:  reflect.TypeFor[[]backends.Network](),

	backends.HostByID:     reflect.TypeFor[backends.Host](),
	backends.TemplateByID: reflect.TypeFor[backends.Template](),
	backends.ImageByID:    reflect.TypeFor[backends.Image](),
	backends.StorageByID:  reflect.TypeFor[backends.Storage](),
	backends.NetworkByID:  reflect.TypeFor[backends.Network](),

	backends.VMDisks:         reflect.TypeFor[[]backends.Disk](),
	backends.VMNICs:          reflect.TypeFor[[]backends.NIC](),
	backends.VMConsoles:      reflect.TypeFor[[]backends.Console](),
	backends.VMMetrics:       reflect.TypeFor[backends.Metrics](),
	backends.VMGuestMetrics:  reflect.TypeFor[backends.GuestMetrics](),
	backends.VMCrashDumps:    reflect.TypeFor[[]backends.CrashDump](),
	backends.VMTPMs:          reflect.TypeFor[[]backends.TPM](),
	backends.VMBootRecord:    reflect.TypeFor[backends.VM](),
	backends.VMPossibleHosts: reflect.TypeFor[[]backends.Host](),
	backends.VMAllowedDisks:  reflect.TypeFor[[]string](),
	backends.VMAllowedNICs:   reflect.TypeFor[[]string](),
}

// byID is the resource of one object of each collection.
var byID = map[backends.Resource]backends.Resource{
	backends.Hosts: backends.HostByID, backends.Templates: backends.TemplateByID, backends.Images: backends.ImageByID,
	backends.Storages: backends.StorageByID, backends.Networks: backends.NetworkByID,
}

// testResources reads every resource: its type and shape, each element by its id, each id in it.
func testResources(t *testing.T, b *bench) {
	for _, c := range b.Claims.Resources {
		if c.isObject() {
			continue // read with its collection
		}
		t.Run(string(c.Resource), func(t *testing.T) {
			id := backends.ID{}
			if strings.HasPrefix(string(c.Resource), "vm.") {
				at := c.At
				if at == "" {
					at = b.home()
				}
				var ok bool
				if id, ok = b.put(t, at); !ok {
					b.cannot++
					return
				}
			}
			value := b.resource(t, c.Resource, id)
			if list := reflect.ValueOf(value); list.Kind() == reflect.Slice {
				if list.IsNil() {
					t.Error("the list is nil")
				}
				if list.Len() < c.Least {
					t.Errorf("there are %d, want at least %d", list.Len(), c.Least)
				}
				b.elements(t, c.Resource, list)
			}
			b.readable(t, string(c.Resource), reflect.ValueOf(value), map[backends.ID]bool{})
			if id != (backends.ID{}) {
				b.missingResource(t, c.Resource)
				b.notHere(t, c)
			}
		})
	}
	t.Run("lacking", func(t *testing.T) {
		id := b.mustPut(t, b.home())
		for _, r := range b.Claims.LacksResources {
			calls := b.relay.count()
			_, err := b.backend.Read(t.Context(), b.session, r, id)
			b.refused(t, err, backends.UnsupportedByBackend)
			if made := b.relay.since(calls); len(made) > 0 {
				t.Errorf("%s, which the backend lacks, made calls: %v", r, made)
			}
		}
	})
	t.Run("vm", func(t *testing.T) {
		for _, p := range b.Claims.settled() {
			if id, ok := b.put(t, p.Name); ok {
				b.readable(t, "vm in "+p.Name, reflect.ValueOf(b.read(t, id)), map[backends.ID]bool{id: true})
				b.remove(t, id)
			}
		}
	})
}

func (c ResourceClaim) isObject() bool {
	for _, object := range byID {
		if object == c.Resource {
			return true
		}
	}
	return false
}

func (b *bench) resource(t *testing.T, r backends.Resource, id backends.ID) any {
	t.Helper()
	value, err := b.backend.Read(t.Context(), b.session, r, id)
	if err != nil {
		t.Fatalf("Read(%s): %v", r, err)
	}
	if got := reflect.TypeOf(value); got != resourceTypes[r] {
		t.Fatalf("Read(%s) gives a %v, want a %v", r, got, resourceTypes[r])
	}
	b.checkShape(t, string(r), value)
	return value
}

// elements reads each element of a collection by its id, and expects the same; ids are unique.
func (b *bench) elements(t *testing.T, r backends.Resource, list reflect.Value) {
	t.Helper()
	seen := map[backends.ID]bool{}
	for i := range list.Len() {
		e := list.Index(i)
		if e.Kind() != reflect.Struct {
			continue
		}
		id, ok := e.FieldByName("ID").Interface().(backends.ID)
		if !ok {
			continue
		}
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		object, ok := byID[r]
		if !ok {
			continue
		}
		one := b.resource(t, object, id)
		if got, want := lookUp(t, one, "displayName"), lookUp(t, e.Interface(), "displayName"); got != want {
			t.Errorf("%s is %v alone and %v in the list", id, got, want)
		}
	}
	if object, ok := byID[r]; ok {
		b.missingResource(t, object)
	}
}

// missingResource reads a resource of an object that does not exist, and of one that cannot.
func (b *bench) missingResource(t *testing.T, r backends.Resource) {
	t.Helper()
	_, err := b.backend.Read(t.Context(), b.session, r, b.id(b.Claims.Missing))
	b.refused(t, err, backends.NotFound)
	for _, native := range b.Claims.Malformed {
		calls := b.relay.count()
		_, err := b.driver.Read(t.Context(), b.session, r, b.id(native))
		b.refused(t, err, backends.NotFound)
		if made := b.relay.since(calls); len(made) > 0 {
			t.Errorf("%s of %q made calls: %v", r, native, made)
		}
	}
}

// notHere reads a resource of VMs that have none in their state.
func (b *bench) notHere(t *testing.T, c ResourceClaim) {
	t.Helper()
	for _, p := range b.Claims.settled() {
		if !named(c.Refused.From, p.Name) {
			continue
		}
		if id, ok := b.put(t, p.Name); ok {
			_, err := b.backend.Read(t.Context(), b.session, c.Resource, id)
			b.refused(t, err, c.Refused.Code)
			b.remove(t, id)
		}
	}
}

// refersTo is which resource an id stands for, by the name of the member that holds it.
var refersTo = map[string]backends.Resource{
	"host": backends.HostByID, "preferredHost": backends.HostByID, "storage": backends.StorageByID,
	"image": backends.ImageByID, "suspendDisk": backends.ImageByID, "network": backends.NetworkByID,
}

// readable follows the ids in a value: what is given out can be read.
func (b *bench) readable(t *testing.T, path string, v reflect.Value, seen map[backends.ID]bool) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			b.readable(t, path, v.Elem(), seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.readable(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name == "native" || v.Type() == idType || v.Type() == timeType {
				continue
			}
			id, ok := referenced(v.Field(i))
			r, known := refersTo[name]
			if !ok || !known {
				b.readable(t, path+"."+name, v.Field(i), seen)
				continue
			}
			if !seen[id] {
				seen[id] = true
				if _, err := b.backend.Read(t.Context(), b.session, r, id); err != nil {
					t.Errorf("%s.%s is %s, which cannot be read: %v", path, name, id, err)
				}
			}
		}
	}
}

// referenced is the id in a Ref or an ID, or in a pointer to one.
func referenced(v reflect.Value) (backends.ID, bool) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return backends.ID{}, false
		}
		v = v.Elem()
	}
	switch ref := v.Interface().(type) {
	case backends.Ref:
		return ref.ID, true
	case backends.ID:
		return ref, true
	}
	return backends.ID{}, false
}
