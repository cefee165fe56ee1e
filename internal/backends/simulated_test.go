package backends_test

import (
	"net/url"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/backends/xenapi/xensim"
)

// simulated is the VMs of a small fleet at each simulator, as the drivers read them.
func simulated(t testing.TB, view backends.View) []*backends.VM {
	t.Helper()
	one, err := onesim.Start(onesim.Config{VMs: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Close)
	xen, err := xensim.Start(xensim.Config{VMs: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(xen.Close)
	oneDriver, err := opennebula.New(opennebula.Config{Name: "one", Endpoints: []*url.URL{parsed(t, one.URL())}})
	if err != nil {
		t.Fatal(err)
	}
	xenDriver, err := xenapi.New(xenapi.Config{Name: "xen", Endpoints: []*url.URL{parsed(t, xen.URL())}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	admin := one.Users()[0]
	root := xen.Users()[0]
	vms := read(t, oneDriver, admin.Name, admin.Password, view)
	return append(vms, read(t, xenDriver, root.Name, root.Password, view)...)
}

func parsed(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// read reads all VMs of a backend, in the view that only single reads have if need be.
func read(t testing.TB, d backends.Driver, user, password string, view backends.View) (vms []*backends.VM) {
	t.Helper()
	login, err := d.Login(t.Context(), user, password)
	if err != nil {
		t.Fatal(err)
	}
	for vm, err := range d.VMs(t.Context(), login.Session, backends.Query{View: view}) {
		if err != nil {
			t.Fatal(err)
		}
		vms = append(vms, vm)
	}
	if len(vms) < 12 {
		t.Fatalf("%d VMs of %s", len(vms), d.Kind())
	}
	return vms
}
