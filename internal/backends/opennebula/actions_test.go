package opennebula

import (
	"fmt"
	"testing"

	"vmgateway/internal/backends"
)

// places are all that a VM of a release can be put in.
func places(r version) []place {
	var all []place
	for _, s := range vmStates {
		if s.in.has(r) && s.code != stActive {
			all = append(all, place{s.code, 0})
		}
	}
	for _, l := range lcmStates {
		if l.in.has(r) && l.code != lcmInit {
			all = append(all, place{stActive, l.code})
		}
	}
	return all
}

// send says an action of the table to the simulator, the short way.
func (b *bench) send(raw string, vm int, r version) error {
	host := 1
	type args = []any
	requests := map[string]request{
		"deploy":           {method: "one.vm.deploy", args: args{vm, host, false, -1, ""}},
		"live-migrate":     {method: "one.vm.migrate", args: args{vm, host, true, false, -1, 0}},
		"migrate":          {method: "one.vm.migrate", args: args{vm, host, false, false, -1, 0}},
		"resize":           {method: "one.vm.resize", args: args{vm, `MEMORY="128"`, false}},
		"recover-failure":  {method: "one.vm.recover", args: args{vm, 0}},
		"recover-success":  {method: "one.vm.recover", args: args{vm, 1}},
		"recover-retry":    {method: "one.vm.recover", args: args{vm, 2}},
		"recover-delete":   {method: "one.vm.recover", args: args{vm, 3}},
		"recover-recreate": {method: "one.vm.recover", args: args{vm, 4}},
		"disk-saveas":      {method: "one.vm.disksaveas", args: args{vm, 0, fmt.Sprintf("img-%d", vm), "", -1}},
	}
	req, ok := requests[raw]
	if !ok {
		req = request{method: "one.vm.action", args: args{raw, vm}}
	}
	_, err := b.driver.integer(b.Context(), b.session, req)
	return err
}

// silent are the actions that oned accepts where they do nothing, which the table leaves out.
var silent = map[string]bool{"recover-failure": true, "recover-success": true, "recover-retry": true, "recover-delete": true, "live-migrate": true,
	"terminate": true, "terminate-hard": true, "delete": true, "finalize": true, "shutdown": true, "shutdown-hard": true, "cancel": true}

// unsimulated is what the simulator does not have, and the recordings neither: one.vm.savedisk, and
// resubmit in the failure states of 3.8.
func unsimulated(raw string, p place) bool {
	return raw == "savedisk" || raw == "resubmit" && (p.lcm == 13 || p.lcm == 14)
}

// TestActionsAgainstTheSimulator asks for each action in each place of each release: the table
// allows what is accepted, and nothing else. The simulator shares no code with the table.
func TestActionsAgainstTheSimulator(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		t.Run(release, func(t *testing.T) {
			b := newBench(t, release)
			r := b.driver.known()
			for _, raw := range rawNames(r) {
				for _, p := range places(r) {
					if unsimulated(raw, p) {
						continue
					}
					id := b.put(p.state, p.lcm)
					n, _ := number(id.Native)
					err := b.send(raw, n, r)
					want := allows(p, r, raw)
					switch {
					case want && err != nil:
						t.Errorf("%s in %s: the table allows it, and it is refused: %v", raw, p.name(r), err)
					case !want && err == nil && !silent[raw]:
						t.Errorf("%s in %s: the table does not allow it, and it is accepted", raw, p.name(r))
					case err != nil && backends.CodeOf(err) != backends.WrongState && raw != "disk-saveas":
						t.Errorf("%s in %s: %v, want %s", raw, p.name(r), err, backends.WrongState)
					}
				}
			}
		})
	}
}

func rawNames(r version) []string {
	var all []string
	seen := map[string]bool{"recover-delete-db": true}
	for _, a := range actions {
		if a.in.has(r) && !seen[a.raw] {
			seen[a.raw] = true
			all = append(all, a.raw)
		}
	}
	return all
}
