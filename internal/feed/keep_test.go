package feed

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"vmgateway/internal/backends"
)

func TestWhatIsKeptIsEqualAndItsOwn(t *testing.T) {
	k := newKeeper()
	for range 2 { // the second time with what is there already
		for _, vm := range []*backends.VM{
			{}, {ID: backends.ID{Backend: "one", Native: "1"}, AllowedActions: []backends.AllowedAction{}, RawState: &backends.RawState{}}, fullVM(),
		} {
			kept := k.keep(vm)
			if !reflect.DeepEqual(kept, vm) {
				t.Errorf("kept %+v of %+v", kept, vm)
			}
			if kept == vm || vm.RawState != nil && kept.RawState == vm.RawState {
				t.Error("a driver's value was kept")
			}
			if len(vm.AllowedActions) > 0 && unsafe.StringData(kept.AllowedActions[0].Raw) == unsafe.StringData(vm.AllowedActions[0].Raw) {
				t.Error("a part of a driver's text was kept")
			}
		}
	}
}

func TestWhatIsAlikeIsShared(t *testing.T) {
	k := newKeeper()
	base := func() *backends.VM {
		return &backends.VM{
			RawState:       &backends.RawState{State: "ACTIVE", StateCode: new(3), LCMStateCode: new(4)},
			AllowedActions: []backends.AllowedAction{{Action: "stop", Raw: "poweroff"}, {Raw: "x"}},
		}
	}
	first, second := k.keep(base()), k.keep(base())
	if first.RawState != second.RawState || &first.AllowedActions[0] != &second.AllowedActions[0] {
		t.Error("what is alike is kept twice")
	}
	for name, change := range map[string]func(*backends.VM){
		"a name":          func(vm *backends.VM) { vm.RawState.State = "POWEROFF" },
		"a code":          func(vm *backends.VM) { vm.RawState.StateCode = new(8) },
		"no code":         func(vm *backends.VM) { vm.RawState.LCMStateCode = nil },
		"an action less":  func(vm *backends.VM) { vm.AllowedActions = vm.AllowedActions[:1] },
		"a verb":          func(vm *backends.VM) { vm.AllowedActions[1].Action = "x" },
		"none is allowed": func(vm *backends.VM) { vm.AllowedActions = []backends.AllowedAction{} },
	} {
		other := base()
		change(other)
		if kept := k.keep(other); !reflect.DeepEqual(kept, other) {
			t.Errorf("%s: kept %+v", name, kept)
		}
	}
	for n := range 10 * keptAlike {
		vm := &backends.VM{RawState: &backends.RawState{State: fmt.Sprint(n)}, AllowedActions: []backends.AllowedAction{{Raw: fmt.Sprint(n)}}}
		if !reflect.DeepEqual(k.keep(vm), vm) {
			t.Fatalf("%d is not kept", n)
		}
	}
	if len(k.states) > keptAlike || len(k.actions) > keptAlike {
		t.Errorf("%d states and %d lists of actions are remembered", len(k.states), len(k.actions))
	}
}
