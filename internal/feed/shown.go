package feed

import (
	"maps"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// sighting is the state in which somebody was shown a VM that the watcher knew in another, or not at all.
type sighting struct {
	at time.Time
	stateWords
}

// stateWords is what tells a VM's state; "" is what was not read.
type stateWords struct {
	state           backends.State
	power, one, lcm string // of the raw state
}

func stateWordsOf(vm *backends.VM) stateWords {
	w := stateWords{state: vm.State}
	if raw := vm.RawState; raw != nil {
		w.power, w.one, w.lcm = raw.PowerState, raw.State, raw.LCMState
	}
	return w
}

// changed names the members of now that are not as they were shown.
func (w stateWords) changed(now stateWords) (names []string) {
	if w.state != "" && w.state != now.state {
		names = append(names, "state")
	}
	differs := func(shown, now string) bool { return shown != "" && shown != now }
	if differs(w.power, now.power) || differs(w.one, now.one) || differs(w.lcm, now.lcm) {
		names = append(names, "rawState")
	}
	return names
}

// sightings are those of which the feed has yet to learn what became of the VM, by its native id.
type sightings struct {
	by   map[string]sighting
	lost time.Time // of the last that there was no room for
}

// add keeps a sighting, unless there are most.
func (s *sightings) add(native string, seen sighting, most int) {
	if len(s.by) >= most {
		s.lost = seen.at
		return
	}
	if s.by == nil {
		s.by = make(map[string]sighting)
	}
	s.by[native] = seen
}

// take gives those from before asOf, and whether these are all that there were.
func (s *sightings) take(asOf time.Time) (before map[string]sighting, all bool) {
	for native, seen := range s.by {
		if seen.at.Before(asOf) {
			if before == nil {
				before = make(map[string]sighting)
			}
			before[native] = seen
			delete(s.by, native)
		}
	}
	all = s.lost.IsZero() || !s.lost.Before(asOf)
	if !all {
		s.lost = time.Time{}
	}
	return before, all
}

// Shown is to be called with each VM that was read from the backend and is shown to somebody who may
// follow. A watcher sees how things stand now and then: a state that came and went in between it misses,
// and so it does a VM. When a reader saw one, the feed tells how things stand as soon as it knows how they
// stood later; without it the reader would believe for ever what was true for a moment. listed says that
// the VM is one of a list that has neither deleted VMs nor templates. vm is not kept.
func (f *Feed) Shown(vm *backends.VM, listed bool) {
	now := f.current.Load()
	if now == nil {
		return // who reads now will have to read anew
	}
	seen := sighting{f.cfg.Now(), stateWordsOf(vm)}
	at, known := search(now.vms, vm.ID)
	if known && len(seen.changed(stateWordsOf(now.vms[at]))) == 0 || !known && !listed {
		return
	}
	seen.power, seen.one, seen.lcm = strings.Clone(seen.power), strings.Clone(seen.one), strings.Clone(seen.lcm)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown.add(strings.Clone(vm.ID.Native), seen, f.log.most)
}

// missed tells of the VMs that were shown before asOf as they no longer are, but for those that events
// tell of. When there were too many, all who follow have to read anew.
func (f *Feed) missed(asOf time.Time, events []Event) (gone, changed []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, all := f.shown.take(asOf)
	if !all {
		f.restart()
	}
	if len(seen) == 0 {
		return nil, nil
	}
	for _, e := range events {
		delete(seen, e.VM.Native)
	}
	for _, native := range slices.Sorted(maps.Keys(seen)) {
		id := backends.ID{Backend: f.backend.Name, Native: native}
		if at, known := search(f.known.vms, id); !known {
			gone = append(gone, newDeletedEvent(id))
		} else if names := seen[native].changed(stateWordsOf(f.known.vms[at])); len(names) > 0 {
			changed = append(changed, newVMEvent(VMChanged, f.known.vms[at], names))
		}
	}
	return gone, changed
}
