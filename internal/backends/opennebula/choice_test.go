package opennebula

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// choose keeps one of so many VMs.
func (b *bench) choose(q backends.Query, of int) (*backends.Choice, []*backends.VM) {
	b.Helper()
	c := b.driver.Choose(b.Context(), b.session, q, []string{"displayName"})
	if c == nil {
		b.Fatalf("nothing to choose from: %+v", q)
	}
	var kept []*backends.VM
	n := 0
	for vm, err := range c.VMs {
		if err != nil {
			b.Fatal(err)
		}
		if n++; n%of == 0 {
			kept = append(kept, c.Keep(vm))
		}
	}
	return c, kept
}

// whole is the chosen VMs by their ids, and those that could not be read.
func (b *bench) whole(c *backends.Choice, kept []*backends.VM) (vms map[backends.ID]*backends.VM, bad []string) {
	b.Helper()
	vms, i := map[backends.ID]*backends.VM{}, 0
	for vm, err := range c.Whole(kept) {
		_, damaged := errors.AsType[*backends.Undecodable](err)
		switch {
		case damaged:
			bad = append(bad, kept[i].UID)
		case err != nil:
			b.Fatal(err)
		case vm != nil && vm.ID != kept[i].ID:
			b.Errorf("%s in the place of %s", vm.ID, kept[i].ID)
		case vm != nil:
			vms[vm.ID] = vm
		}
		i++
	}
	if i != len(kept) {
		b.Errorf("%d of %d", i, len(kept))
	}
	return vms, bad
}

var releasesToChooseFrom = []struct{ release, list, whole string }{
	{"5.12.0", "one.vmpool.info", "one.vm.info"},
	{"6.10.0", "one.vmpool.info", "one.vmpool.infoset"},
	{"7.4.0", "one.vmpool.info", "one.vmpool.infoset"},
}

// TestTheChosenAreWhole holds that VMs chosen of an abridged list are what reading each by itself gives, and
// that only they are read whole.
func TestTheChosenAreWhole(t *testing.T) {
	for _, c := range releasesToChooseFrom {
		b := newBench(t, c.release)
		for range 60 {
			b.running()
		}
		for _, view := range []backends.View{backends.ViewFull, backends.ViewNative} {
			before := b.sim.CallCounts()
			choice, kept := b.choose(backends.Query{View: view}, 7)
			vms, bad := b.whole(choice, kept)
			after := b.sim.CallCounts()
			if len(vms) != len(kept) || len(bad) > 0 {
				t.Errorf("%s, %s: %d of %d, and %v", c.release, view, len(vms), len(kept), bad)
			}
			want := 1
			if c.whole == "one.vm.info" {
				want = len(kept)
			}
			if after[c.list]-before[c.list] != 1 || after[c.whole]-before[c.whole] != want || after[extendedList] != before[extendedList] {
				t.Errorf("%s, %s: before %v, after %v", c.release, view, before, after)
			}
			for id, vm := range vms {
				alone, err := b.driver.VM(t.Context(), b.session, id, view)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(vm.AppendJSON(nil)), string(alone.AppendJSON(nil)); got != want {
					t.Errorf("%s, %s:\n%s\nalone\n%s", c.release, view, got, want)
				}
			}
		}
	}
}

// TestTheChosenChange deletes, renames and damages VMs after they were chosen.
func TestTheChosenChange(t *testing.T) {
	for _, c := range releasesToChooseFrom {
		b := newBench(t, c.release)
		for range 20 {
			b.put(stPoweroff, 0)
		}
		choice, kept := b.choose(backends.Query{View: backends.ViewFull}, 3)
		done, renamed, damaged := kept[0], kept[1], kept[2]
		n, _ := number(done.UID)
		if err := b.sim.SetState(n, onesim.Done, 0); err != nil {
			t.Fatal(err)
		}
		name := backends.Change{Path: "displayName", Value: "new"}
		if err := b.driver.Patch(t.Context(), b.session, renamed.ID, []backends.Change{name}); err != nil {
			t.Fatal(err)
		}
		n, _ = number(damaged.UID)
		b.sim.Inject(onesim.Fault{List: &onesim.List{Damaged: map[int]string{n: "\x01"}}, Times: -1})
		vms, bad := b.whole(choice, kept)
		if vms[done.ID] != nil || len(vms) != len(kept)-2 || !slices.Equal(bad, []string{damaged.UID}) {
			t.Errorf("%s: %d of %d, with a deleted one %v, undecodable %v", c.release, len(vms), len(kept), vms[done.ID], bad)
		}
		if vm := vms[renamed.ID]; vm == nil || *vm.DisplayName != "new" || *renamed.DisplayName == "new" {
			t.Errorf("%s: renamed: %v", c.release, vm)
		}
		b.sim.ClearFaults()
		choice, kept = b.choose(backends.Query{View: backends.ViewFull, ShowDeleted: true}, 1)
		if vms, _ := b.whole(choice, kept); len(vms) != 20 || vms[done.ID] == nil {
			t.Errorf("%s: %d with those that were deleted", c.release, len(vms))
		}
	}
}

// TestTheChosenSpoilAnAnswer lets a VM that makes oned fail to answer come into the list after it was
// chosen from.
func TestTheChosenSpoilAnAnswer(t *testing.T) {
	b := newBench(t, "6.10.0")
	n, err := b.driver.integer(t.Context(), b.session, request{method: "one.vm.allocate",
		args: []any{"<TEMPLATE><NAME>&#x1F600;</NAME><CPU>1</CPU><MEMORY>64</MEMORY></TEMPLATE>", false}})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b.put(stPoweroff, 0)
	}
	l := newLister(t.Context(), b.driver, b.session, v(6, 10), backends.Query{View: backends.ViewFull})
	var kept []*backends.VM
	for i := range 10 {
		kept = append(kept, &backends.VM{ID: b.driver.id(n + i), UID: strconv.Itoa(n + i)})
	}
	vms, bad := b.whole(&backends.Choice{Whole: l.chosen}, kept)
	if len(vms) != 9 || !slices.Equal(bad, []string{strconv.Itoa(n)}) {
		t.Errorf("%d, undecodable %v", len(vms), bad)
	}
}

// TestNothingToChooseFrom asks for what lists tell, and by what they do not tell.
func TestNothingToChooseFrom(t *testing.T) {
	for _, c := range []struct {
		release string
		q       backends.Query
		by      []string
	}{
		{"4.14.2", backends.Query{View: backends.ViewFull}, []string{"displayName"}},
		{"6.10.0", backends.Query{View: backends.ViewBasic}, []string{"displayName"}},
		{"6.10.0", backends.Query{View: backends.ViewFull, Members: []string{"displayName"}}, []string{"displayName"}},
		{"6.10.0", backends.Query{View: backends.ViewFull}, []string{"annotations"}},
		{"6.10.0", backends.Query{View: backends.ViewFull}, []string{"id", "cpu"}},
		{"6.10.0", backends.Query{View: backends.ViewFull}, []string{"memory.staticMaxBytes"}},
		{"6.10.0", backends.Query{View: backends.ViewFull}, nil},
	} {
		b := newBench(t, c.release)
		if b.driver.Choose(t.Context(), b.session, c.q, c.by) != nil {
			t.Errorf("%s: %+v by %v", c.release, c.q, c.by)
		}
	}
	b := newBench(t, "6.10.0")
	b.running()
	ids, _ := b.list(t.Context(), b.session, backends.Query{View: backends.ViewFull, Members: []string{"displayName"}})
	if len(ids) != 1 || b.sim.Calls(extendedList) != 0 {
		t.Errorf("%v, by %v", ids, b.sim.CallCounts())
	}
}

// TestAbridgedListsTellTheTruth holds that what VMs are chosen by is the same in an abridged list and in the
// whole VM.
func TestAbridgedListsTellTheTruth(t *testing.T) {
	for _, c := range releasesToChooseFrom {
		b := newBench(t, c.release)
		ids := []backends.ID{b.running(), b.put(stHold, 0), b.put(stDone, 0)}
		n, err := b.driver.integer(t.Context(), b.session, request{method: "one.vm.allocate", args: []any{
			"NAME=x\nCPU=1.5\nVCPU=2\nVCPU_MAX=4\nMEMORY=64\nMEMORY_MAX=128", false,
		}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.driver.id(n))
		compared := 0
		for _, f := range vmFields {
			members := strings.Fields(f.members)
			if dear(backends.ViewNative, members) {
				continue
			}
			for vm, err := range b.driver.VMs(t.Context(), b.session, backends.Query{View: basic, Members: members, ShowDeleted: true}) {
				if err != nil {
					t.Fatal(err)
				}
				whole, _, err := b.driver.vm(t.Context(), b.session, vm.ID, full, members)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(vm.AppendJSON(nil)), string(whole.AppendJSON(nil)); got != want {
					t.Errorf("%s: %s is\n%s\nin a list, and alone\n%s", c.release, f.members, got, want)
				}
				compared++
			}
		}
		if compared < 10*len(ids) {
			t.Errorf("%s: only %d were compared", c.release, compared)
		}
	}
}

// TestTheChosenOfABackendThatFails ends what cannot go on.
func TestTheChosenOfABackendThatFails(t *testing.T) {
	for _, c := range releasesToChooseFrom {
		b := newBench(t, c.release)
		for range 20 {
			b.running()
		}
		choice, kept := b.choose(backends.Query{View: backends.ViewFull}, 4)
		b.sim.Inject(onesim.Fault{Method: c.whole, CutNow: true, Times: -1})
		n := 0
		for vm, err := range choice.Whole(kept) {
			if n++; vm != nil || backends.CodeOf(err) != backends.BackendUnavailable {
				t.Errorf("%s: %v, %v", c.release, vm, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d", c.release, n)
		}
	}
}
