package feed

import "vmgateway/internal/backends"

// keptAlike bounds how many different values are shared.
const keptAlike = 1024

// keeper copies VMs to be kept. The texts of a driver's are parts of a whole reply, which would stay
// in memory with them. Copies share what many have alike: their state in the backend's words, and
// what it allows, which are a third of a VM in the view BASIC.
type keeper struct {
	states  map[rawState]*backends.RawState
	actions map[string][]backends.AllowedAction
	key     []byte
}

// rawState is a RawState by its values.
type rawState struct {
	backends.RawState // without its pointers
	code, lcmCode     int
}

func newKeeper() *keeper {
	return &keeper{states: map[rawState]*backends.RawState{}, actions: map[string][]backends.AllowedAction{}}
}

func (k *keeper) keep(vm *backends.VM) *backends.VM {
	own := *vm
	own.RawState, own.AllowedActions = nil, nil
	kept := own.Clone()
	kept.RawState, kept.AllowedActions = k.rawState(vm.RawState), k.allowedActions(vm.AllowedActions)
	return kept
}

func (k *keeper) rawState(s *backends.RawState) *backends.RawState {
	if s == nil {
		return nil
	}
	key := rawState{RawState: *s, code: valueOf(s.StateCode), lcmCode: valueOf(s.LCMStateCode)}
	key.StateCode, key.LCMStateCode = nil, nil
	if alike, ok := k.states[key]; ok {
		return alike
	}
	kept := (&backends.VM{RawState: s}).Clone().RawState
	key.RawState = *kept // its texts, too, are to be kept
	key.StateCode, key.LCMStateCode = nil, nil
	return remember(k.states, key, kept)
}

func valueOf(n *int) int {
	if n == nil {
		return -1 << 62 // no code
	}
	return *n
}

func (k *keeper) allowedActions(actions []backends.AllowedAction) []backends.AllowedAction {
	if actions == nil {
		return nil
	}
	k.key = k.key[:0]
	for _, a := range actions {
		k.key = append(append(append(append(k.key, a.Action...), 0), a.Raw...), 0)
	}
	if alike, ok := k.actions[string(k.key)]; ok {
		return alike
	}
	return remember(k.actions, string(k.key), (&backends.VM{AllowedActions: actions}).Clone().AllowedActions)
}

// remember begins anew when a backend has too many: they are not alike then.
func remember[K comparable, V any](m map[K]V, key K, value V) V {
	if len(m) >= keptAlike {
		clear(m)
	}
	m[key] = value
	return value
}
