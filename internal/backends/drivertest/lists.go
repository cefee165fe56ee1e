package drivertest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"vmgateway/internal/backends"
)

// list gathers a list: the VMs, those that cannot be read, and what ended it early.
func (b *bench) list(t *testing.T, q backends.Query) (vms []*backends.VM, bad []*backends.Undecodable, err error) {
	t.Helper()
	seen := map[backends.ID]bool{}
	for vm, err := range b.driver.VMs(t.Context(), b.session, q) {
		var u *backends.Undecodable
		switch {
		case errors.As(err, &u):
			bad = append(bad, u)
		case err != nil:
			return vms, bad, err
		case seen[vm.ID]:
			t.Errorf("%s is in the list twice", vm.ID)
		default:
			seen[vm.ID] = true
			vms = append(vms, vm)
		}
	}
	return vms, bad, nil
}

func (b *bench) mustList(t *testing.T, q backends.Query) map[backends.ID]*backends.VM {
	t.Helper()
	vms, bad, err := b.list(t, q)
	if err != nil || len(bad) > 0 {
		t.Fatalf("VMs(%+v): %v, undecodable %v", q, err, bad)
	}
	all := map[backends.ID]*backends.VM{}
	for _, vm := range vms {
		all[vm.ID] = vm
	}
	return all
}

// most is how many calls a list may make, however many VMs there are.
const most = 40

// testLists lists a crowd of VMs in every view, and with every hint.
func testLists(t *testing.T, b *bench) {
	crowd := b.Crowd
	if crowd == 0 {
		crowd = 500
	}
	shown := slices.DeleteFunc(b.Claims.settled(), func(p Place) bool { return p.Hidden })
	made := map[backends.ID]Place{}
	for i := range crowd {
		p := shown[i%len(shown)]
		if id, ok := b.put(t, p.Name); ok {
			made[id] = p
		}
	}
	full := b.mustList(t, backends.Query{View: backends.ViewFull, Owner: "all"})
	for id := range full {
		if _, ours := made[id]; !ours {
			delete(full, id) // somebody else's may go at any time
		}
	}
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		t.Run(string(view), func(t *testing.T) { b.listed(t, view, made, full) })
	}
	t.Run("like one", func(t *testing.T) { b.likeOne(t, made, full) })
	t.Run("hints", func(t *testing.T) { b.hints(t, full) })
	t.Run("hidden", func(t *testing.T) { b.hidden(t) })
	t.Run("left early", func(t *testing.T) {
		n := 0
		for range b.driver.VMs(t.Context(), b.session, backends.Query{View: backends.ViewBasic}) {
			if n++; n == 2 {
				break
			}
		}
	})
}

func (b *bench) listed(t *testing.T, view backends.View, made map[backends.ID]Place, full map[backends.ID]*backends.VM) {
	calls := b.relay.count()
	all := b.mustList(t, backends.Query{View: view})
	if n := len(b.relay.since(calls)); n > most {
		t.Errorf("%d calls for %d VMs", n, len(all))
	}
	for id, p := range made {
		vm := all[id]
		if vm == nil {
			t.Errorf("%s is not in the list", id)
			continue
		}
		if view == backends.ViewID {
			continue
		}
		b.checkVM(t, vm, view)
		if vm.State != p.State || word(vm.RawState) != p.raw() {
			t.Errorf("%s is %s (%s), want %s (%s)", id, vm.State, word(vm.RawState), p.State, p.raw())
		}
		if f := full[id]; view == backends.ViewBasic && f != nil && !contains(asJSON(t, f), asJSON(t, vm)) {
			t.Errorf("%s is in %s what it is not in FULL:\n%s\n%s", id, view, dump(vm), dump(f))
		}
	}
}

// likeOne compares VMs of a list with the same ones read alone.
func (b *bench) likeOne(t *testing.T, made map[backends.ID]Place, full map[backends.ID]*backends.VM) {
	few := map[string]bool{}
	for id, p := range made {
		if few[p.Name] || full[id] == nil {
			continue
		}
		few[p.Name] = true
		one := b.read(t, id)
		if got, want := dump(full[id]), dump(one); got != want {
			t.Errorf("%s in a list and alone:\n%s\n%s", id, got, want)
		}
	}
}

// hints narrows lists: whatever a driver makes of a hint, no VM that matches may be missing.
func (b *bench) hints(t *testing.T, full map[backends.ID]*backends.VM) {
	keep := func(what string, q backends.Query, match func(*backends.VM) bool) {
		q.View = backends.ViewBasic
		got := b.mustList(t, q)
		for id, vm := range full {
			if match(vm) && got[id] == nil {
				t.Errorf("%s hides %s (%s, %s)", what, id, vm.State, word(vm.RawState))
			}
		}
	}
	for _, s := range backends.States {
		keep("state "+string(s), backends.Query{States: []string{string(s)}}, func(vm *backends.VM) bool { return vm.State == s })
	}
	keep("two states", backends.Query{States: []string{"RUNNING", "STOPPED"}}, func(vm *backends.VM) bool {
		return vm.State == backends.StateRunning || vm.State == backends.StateStopped
	})
	words := map[string]bool{}
	for _, vm := range full {
		words[rawState(vm)] = true
	}
	for w := range words {
		keep("raw state "+w, backends.Query{RawStates: []string{w}}, func(vm *backends.VM) bool { return rawState(vm) == w })
	}
	keep("no state", backends.Query{States: []string{}}, func(*backends.VM) bool { return false })
	for _, vm := range full {
		if vm.DisplayName != nil {
			keep("a name", backends.Query{DisplayNames: []string{*vm.DisplayName, `no "such" name`}}, func(other *backends.VM) bool {
				return other.DisplayName != nil && *other.DisplayName == *vm.DisplayName
			})
			break
		}
	}
	for _, owner := range []string{"", "me", "group", "all"} {
		keep(fmt.Sprintf("owner %q", owner), backends.Query{Owner: owner}, func(*backends.VM) bool { return true })
	}
}

// rawState is what the hint RawStates is about: the backend's state, without its refinement.
func rawState(vm *backends.VM) string {
	if vm.RawState == nil {
		return ""
	}
	return vm.RawState.PowerState + vm.RawState.State
}

// hidden checks that lists leave out what they shall, and show it when asked to.
func (b *bench) hidden(t *testing.T) {
	for _, p := range b.Claims.Places {
		if !p.Hidden {
			continue
		}
		id, ok := b.put(t, p.Name)
		if !ok {
			b.cannot++
			continue
		}
		if all := b.mustList(t, backends.Query{View: backends.ViewBasic}); all[id] != nil {
			t.Errorf("a VM in %s is in the list", p.Name)
		}
		all := b.mustList(t, backends.Query{View: backends.ViewBasic, ShowDeleted: true, ShowTemplates: true})
		if all[id] == nil {
			t.Errorf("a VM in %s is not in the list, which was asked for all", p.Name)
		}
		b.remove(t, id)
	}
}

// poison makes a VM unreadable: at the backend, or on the way.
func (b *bench) poison(t *testing.T) (backends.ID, bool) {
	t.Helper()
	switch {
	case b.Poison != nil:
		return b.id(b.Poison(t)), true
	case b.Damage == nil:
		return backends.ID{}, false
	}
	id := b.mustPut(t, b.home())
	b.relay.spoilNext(spoiler{answer: func(w http.ResponseWriter, _ *http.Request, pass func() (*http.Response, []byte, error)) {
		reply, text, err := pass()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		write(w, reply.StatusCode, reply.Header.Get("Content-Type"), b.Damage(text, id.Native))
	}})
	return id, true
}

// testUndecodable makes one VM unreadable: the list names it, and has all others.
func testUndecodable(t *testing.T, b *bench) {
	var sound []backends.ID
	for range 20 {
		sound = append(sound, b.mustPut(t, b.home()))
	}
	poisoned, ok := b.poison(t)
	if !ok {
		b.cannot++
		return
	}
	for range 20 {
		sound = append(sound, b.mustPut(t, b.home()))
	}
	spoilt := 0
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		vms, bad, err := b.list(t, backends.Query{View: view})
		if err != nil {
			t.Errorf("%s: the list fails: %v", view, err)
			continue
		}
		readable := slices.ContainsFunc(vms, func(vm *backends.VM) bool { return vm.ID == poisoned })
		named := slices.ContainsFunc(bad, func(u *backends.Undecodable) bool { return u.ID == poisoned })
		if readable == named {
			t.Errorf("%s: the VM that cannot be read is in the list: %t, named as undecodable: %t", view, readable, named)
		}
		spoilt += len(bad)
		if len(bad) > 1 {
			t.Errorf("%s: %d are named as undecodable, want one", view, len(bad))
		}
		for _, id := range sound {
			if !slices.ContainsFunc(vms, func(vm *backends.VM) bool { return vm.ID == id }) {
				t.Errorf("%s: %s is missing", view, id)
			}
		}
	}
	if spoilt == 0 {
		t.Error("the VM that cannot be read was read in every view")
	}
}
