package xenapi

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// choose keeps one of so many VMs.
func (w *world) choose(q backends.Query, of int) (*backends.Choice, []*backends.VM) {
	w.Helper()
	c := w.d.Choose(w.Context(), w.s, q, []string{"displayName"})
	if c == nil {
		w.Fatalf("nothing to choose from: %+v", q)
	}
	var kept []*backends.VM
	n := 0
	for vm, err := range c.VMs {
		if err != nil {
			w.Fatal(err)
		}
		if n++; n%of == 0 {
			kept = append(kept, c.Keep(vm))
		}
	}
	return c, kept
}

// whole is the chosen VMs by their ids, and what became of them that could not be read.
func (w *world) whole(c *backends.Choice, kept []*backends.VM) (vms map[backends.ID]*backends.VM, bad []backends.ID) {
	w.Helper()
	vms, i := map[backends.ID]*backends.VM{}, 0
	for vm, err := range c.Whole(kept) {
		switch {
		case isUndecodable(err):
			bad = append(bad, kept[i].ID)
		case err != nil:
			w.Fatal(err)
		case vm != nil && vm.ID != kept[i].ID:
			w.Errorf("%s in the place of %s", vm.ID, kept[i].ID)
		case vm != nil:
			vms[vm.ID] = vm
		}
		i++
	}
	if i != len(kept) {
		w.Errorf("%d of %d", i, len(kept))
	}
	return vms, bad
}

// TestTheChosenAreWhole holds that VMs chosen of a list are what reading each by itself gives, be they few
// of all or many.
func TestTheChosenAreWhole(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 120})
	for _, q := range []backends.Query{
		{View: backends.ViewFull}, {View: backends.ViewNative}, {View: backends.ViewFull, ShowTemplates: true},
		{View: backends.ViewFull, Members: []string{"state", "nics[].addresses"}}, {View: backends.ViewFull, Members: []string{"disks"}},
		{View: backends.ViewFull, Members: []string{"xenapi.suspendDisk", "xenapi.snapshotOf"}},
	} {
		for _, of := range []int{15, 3} {
			c, kept := w.choose(q, of)
			vms, bad := w.whole(c, kept)
			if len(vms) != len(kept) || len(bad) > 0 {
				t.Errorf("%+v: %d of %d, and %v", q, len(vms), len(kept), bad)
			}
			for id, vm := range vms {
				l := w.d.link(w.s)
				alone, err := l.one(t.Context(), id, backends.Query{View: q.View, Members: q.Members})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := w.json(vm), w.json(alone); got != want {
					t.Errorf("%+v, 1 of %d:\n%s\nalone\n%s", q, of, got, want)
				}
			}
		}
	}
}

// TestAFewOfManyAreReadByThemselves counts what goes out for the chosen.
func TestAFewOfManyAreReadByThemselves(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 200})
	for _, c := range []struct {
		q    backends.Query
		of   int
		want string
	}{
		{backends.Query{View: backends.ViewFull}, 50, "VBD.get_record VDI.get_record VIF.get_record VM_guest_metrics.get_record SR.get_all_records host.get_all_records network.get_all_records"},
		{backends.Query{View: backends.ViewFull, Members: []string{"nics"}}, 50, "VIF.get_record VM_guest_metrics.get_record network.get_all_records"},
		{backends.Query{View: backends.ViewFull, Members: []string{"disks"}}, 50, "VBD.get_record VDI.get_record SR.get_all_records"},
		{backends.Query{View: backends.ViewFull, Members: []string{"disks"}}, 2, "VM.get_all VBD.get_all_records VDI.get_all_records SR.get_all_records"},
		{backends.Query{View: backends.ViewFull, Members: []string{"disks"}, DisplayNames: []string{"web-01", "web-04"}}, 1, "VBD.get_record VDI.get_record SR.get_all_records"},
	} {
		choice, kept := w.choose(c.q, c.of)
		before := w.sim.CallCounts()
		w.whole(choice, kept)
		calls := w.sim.CallCounts()
		maps.DeleteFunc(calls, func(method string, n int) bool { return n == before[method] })
		if got := slices.Sorted(maps.Keys(calls)); !slices.Equal(got, slices.Sorted(strings.FieldsSeq(c.want))) {
			t.Errorf("%+v: %v", c.q, got)
		}
		for method := range calls {
			most := 1 // of what many VMs share, or of a class as a whole
			if strings.HasSuffix(method, ".get_record") {
				most = 2 * len(kept) // the simulator's VMs have two drives
			}
			if n := calls[method] - before[method]; n > most {
				t.Errorf("%+v: %d calls of %s for %d VMs", c.q, n, method, len(kept))
			}
		}
	}
}

// TestNothingToChooseFrom asks for what a list's records tell, and by what they do not tell.
func TestNothingToChooseFrom(t *testing.T) {
	d := newDriver(t, "http://127.0.0.1:1")
	for _, c := range []struct {
		q  backends.Query
		by []string
	}{
		{backends.Query{View: backends.ViewBasic}, []string{"displayName"}},
		{backends.Query{View: backends.ViewID}, []string{"id"}},
		{backends.Query{View: backends.ViewFull, Members: []string{"displayName", "host"}}, []string{"displayName"}},
		{backends.Query{View: backends.ViewFull}, []string{"id", "disks"}},
		{backends.Query{View: backends.ViewFull}, []string{"etag"}},
		{backends.Query{View: backends.ViewNative}, []string{"native"}},
		{backends.Query{View: backends.ViewFull}, nil},
	} {
		if d.Choose(t.Context(), backends.NewSession("s"), c.q, c.by) != nil {
			t.Errorf("%+v by %v", c.q, c.by)
		}
	}
}

// TestTheChosenChange destroys VMs and takes disks from others after they were chosen.
func TestTheChosenChange(t *testing.T) {
	for _, of := range []int{2, 20} {
		w := newWorld(t, xensim.Config{VMs: 60})
		w.put(xensim.VMSpec{PowerState: "Halted"})
		c, kept := w.choose(backends.Query{View: backends.ViewFull}, of)
		gone, changed := kept[0].ID, kept[1].ID
		l := w.d.link(w.s)
		for _, id := range []backends.ID{gone, changed} {
			w.sim.SetState(id.Native, "Halted")
		}
		ref, _ := w.d.refs.ref(object{"VM", gone.Native})
		if _, err := l.call(t.Context(), "VM.destroy", ref); err != nil {
			t.Fatal(err)
		}
		was, err := w.d.VM(t.Context(), w.s, changed, backends.ViewFull)
		if err != nil {
			t.Fatal(err)
		}
		ref, err = l.callText(t.Context(), "VBD.get_by_uuid", was.Disks[0].ID.Native)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.call(t.Context(), "VBD.destroy", ref); err != nil {
			t.Fatal(err)
		}
		vms, bad := w.whole(c, kept)
		if vms[gone] != nil || len(vms) != len(kept)-1 || len(bad) > 0 {
			t.Errorf("1 of %d: %d of %d, with the one that has gone %v, and %v", of, len(vms), len(kept), vms[gone], bad)
		}
		if now := vms[changed]; now == nil || len(now.Disks) != len(was.Disks)-1 {
			t.Errorf("1 of %d: one that lost a disk is %s", of, w.json(now))
		}
	}
}

// TestOneBadDeviceIsThatOfOneVM damages a disk of a chosen VM.
func TestOneBadDeviceIsThatOfOneVM(t *testing.T) {
	for _, of := range []int{2, 20} {
		w := newWorld(t, xensim.Config{VMs: 60})
		c, kept := w.choose(backends.Query{View: backends.ViewFull}, of)
		vm, err := w.d.VM(t.Context(), w.s, kept[1].ID, backends.ViewFull)
		if err != nil {
			t.Fatal(err)
		}
		var disk string
		for _, d := range vm.Disks {
			if d.Image != nil {
				disk = d.Image.ID.Native
			}
		}
		w.sim.Inject(xensim.Fault{List: &xensim.List{Damaged: map[string]string{disk: "\x01"}}, Times: -1})
		vms, bad := w.whole(c, kept)
		if !slices.Equal(bad, []backends.ID{vm.ID}) || len(vms) != len(kept)-1 {
			t.Errorf("1 of %d: %d of %d, undecodable %v, want %s", of, len(vms), len(kept), bad, vm.ID)
		}
	}
}

// TestTheChosenOfABackendThatFails ends what cannot go on.
func TestTheChosenOfABackendThatFails(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 60})
	c, kept := w.choose(backends.Query{View: backends.ViewFull}, 20)
	w.sim.Inject(xensim.Fault{Method: "VDI.get_record", Cut: true, Times: -1})
	n := 0
	for vm, err := range c.Whole(kept) {
		if n++; vm != nil || backends.CodeOf(err) != backends.BackendUnavailable {
			t.Errorf("%v, %v", vm, err)
		}
	}
	if n != 1 {
		t.Errorf("%d", n)
	}
}

// TestAFewOfManyThatAreNotListed chooses all of a list that leaves out most VMs, whose disks are not to be
// read.
func TestAFewOfManyThatAreNotListed(t *testing.T) {
	w := newWorld(t, xensim.Config{})
	for range 12 {
		of := w.put(xensim.VMSpec{PowerState: "Halted"})
		for range 10 {
			w.put(xensim.VMSpec{SnapshotOf: of.Native})
		}
	}
	c, kept := w.choose(backends.Query{View: backends.ViewFull}, 1)
	w.whole(c, kept)
	if len(kept) != 12 || w.sim.Calls("VBD.get_all_records") != 0 || w.sim.Calls("VBD.get_record") == 0 {
		t.Errorf("%d kept: %v", len(kept), w.sim.CallCounts())
	}
}
