package opennebula

import (
	"testing"

	"vmgateway/internal/backends"
)

// TestStates spells the numbers of STATE and LCM_STATE out, by release, as the documentation of the
// states has them.
func TestStates(t *testing.T) {
	type row struct {
		r           version
		state, lcm  int
		want, base  backends.State
		name, short string
	}
	for _, c := range []row{
		{newest, 0, 0, backends.StateCreating, "", "INIT", "init"},
		{newest, 1, 0, backends.StatePending, "", "PENDING", "pend"},
		{newest, 2, 0, backends.StateHeld, "", "HOLD", "hold"},
		{newest, 4, 0, backends.StateStored, "", "STOPPED", "stop"},
		{newest, 5, 0, backends.StateSuspended, "", "SUSPENDED", "susp"},
		{newest, 6, 0, backends.StateDeleted, "", "DONE", "done"},
		{v(3, 8, 5), 7, 0, backends.StateFailed, "", "FAILED", "fail"},
		{newest, 7, 0, backends.StateUnknown, "", "", ""},
		{newest, 8, 0, backends.StateStopped, "", "POWEROFF", "poff"},
		{newest, 9, 0, backends.StateStored, "", "UNDEPLOYED", "unde"},
		{v(3, 8, 5), 9, 0, backends.StateUnknown, "", "", ""},
		{newest, 10, 0, backends.StateCreating, "", "CLONING", "clon"},
		{newest, 11, 0, backends.StateFailed, "", "CLONING_FAILURE", "fail"},
		{newest, 12, 0, backends.StateUnknown, "", "", ""},
		{newest, 3, 0, backends.StateUnknown, "", "LCM_INIT", "init"},
		{newest, 3, 1, backends.StateStarting, "", "PROLOG", "prol"},
		{newest, 3, 3, backends.StateRunning, "", "RUNNING", "runn"},
		{newest, 3, 4, backends.StateMigrating, "", "MIGRATE", "migr"},
		{newest, 3, 5, backends.StateStopping, "", "SAVE_STOP", "save"},
		{newest, 3, 6, backends.StateSuspending, "", "SAVE_SUSPEND", "save"},
		{newest, 3, 11, backends.StateDeleting, "", "EPILOG", "epil"},
		{v(4, 12, 3), 3, 13, backends.StateDeleting, "", "CANCEL", "shut"},
		{v(4, 14, 2), 3, 13, backends.StateUnknown, "", "", ""},
		{v(4, 12, 3), 3, 14, backends.StateFailed, "", "FAILURE", "fail"},
		{v(2, 0, 1), 3, 15, backends.StateDeleting, "", "DELETE", "dele"},
		{v(3, 8, 5), 3, 15, backends.StateDeleting, "", "CLEANUP", "clea"},
		{v(4, 0), 3, 15, backends.StateStarting, "", "CLEANUP_RESUBMIT", "clea"},
		{newest, 3, 16, backends.StateUnknown, "", "UNKNOWN", "unkn"},
		{newest, 3, 17, backends.StateUpdating, backends.StateRunning, "HOTPLUG", "hotp"},
		{newest, 3, 27, backends.StateUpdating, backends.StateStopped, "HOTPLUG_SAVEAS_POWEROFF", "hotp"},
		{newest, 3, 28, backends.StateUpdating, backends.StateSuspended, "HOTPLUG_SAVEAS_SUSPENDED", "hotp"},
		{newest, 3, 36, backends.StateFailed, "", "BOOT_FAILURE", "fail"},
		{v(6, 6, 2), 3, 55, backends.StateUpdating, backends.StateSuspended, "DISK_SNAPSHOT_REVERT_SUSPENDED", "snap"},
		{v(6, 10, 0), 3, 55, backends.StateUnknown, "", "", ""},
		{v(4, 14, 2), 3, 58, backends.StateUpdating, backends.StateRunning, "DISK_SNAPSHOT_REVERT", "snap"},
		{v(5, 0), 3, 58, backends.StateUnknown, "", "", ""},
		{newest, 3, 64, backends.StateUpdating, backends.StateStored, "DISK_RESIZE_UNDEPLOYED", "drsz"},
		{newest, 3, 71, backends.StateUpdating, backends.StateStopped, "RESTORE", "rest"},
		{v(6, 8, 0), 3, 71, backends.StateUnknown, "", "", ""},
		{newest, 3, 72, backends.StateUnknown, "", "", ""},
	} {
		p := place{c.state, c.lcm}
		state, base := p.unified(c.r)
		raw := p.raw(c.r)
		name, short := raw.State, raw.StateShort
		if p.active() {
			name, short = raw.LCMState, raw.LCMStateShort
		}
		if state != c.want || base != c.base || name != c.name || short != c.short {
			t.Errorf("%s: %v is %s, base %q, %q, %q; want %s, base %q, %q, %q", c.r, p, state, base, name, short, c.want, c.base, c.name, c.short)
		}
		if raw.StateCode == nil || *raw.StateCode != c.state || (raw.LCMStateCode != nil) != p.active() {
			t.Errorf("%v: the numbers are not kept: %+v", p, raw)
		}
	}
}

// TestStateTables checks that each number has one row a release, and UPDATING rows their base.
func TestStateTables(t *testing.T) {
	if len(vmStates) != 12 || len(lcmStates) != 74 {
		t.Errorf("%d states and %d LCM states", len(vmStates), len(lcmStates))
	}
	for _, r := range []version{v(2, 0, 1), v(3, 8, 5), v(4, 0), v(4, 12, 3), v(4, 14, 2), v(5, 0), v(5, 12), v(6, 6, 2), v(6, 10), newest} {
		for _, rows := range [][]stateRow{vmStates, lcmStates} {
			seen := map[int]string{}
			for _, row := range rows {
				if !row.in.has(r) {
					continue
				}
				if before, twice := seen[row.code]; twice {
					t.Errorf("%s: %d is %s and %s", r, row.code, before, row.name)
				}
				seen[row.code] = row.name
				if (row.state == backends.StateUpdating) != (row.base != "") {
					t.Errorf("%s is %s with base %q", row.name, row.state, row.base)
				}
				if _, ok := backends.LookUp(row.verb); row.verb != "" && !ok {
					t.Errorf("%s: %q is no verb", row.name, row.verb)
				}
			}
		}
	}
	for _, a := range actions {
		if _, ok := backends.LookUp(a.verb); a.verb != "" && !ok {
			t.Errorf("action %s: %q is no verb", a.raw, a.verb)
		}
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]version{"3.8.5": v(3, 8, 5), "5.12.0.4": v(5, 12, 0, 4), "7.4": v(7, 4)} {
		if got, err := parseVersion(text); err != nil || got != want {
			t.Errorf("%q is %v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "6", "6.x", "6.10.0.1.2", "-1.0", "6.10.0-rc1"} {
		if got, err := parseVersion(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for action, names := range map[string][5]string{
		"terminate":      {"shutdown", "shutdown", "terminate", "terminate", "terminate"},
		"terminate-hard": {"cancel", "shutdown-hard", "terminate-hard", "terminate-hard", "terminate-hard"},
		"poweroff-hard":  {"", "poweroff-hard", "poweroff-hard", "poweroff-hard", "poweroff-hard"},
		"reboot-hard":    {"reset", "reboot-hard", "reboot-hard", "reboot-hard", "reboot-hard"},
		"delete":         {"finalize", "delete", "", "", ""},
		"recreate":       {"resubmit", "delete-recreate", "", "", ""},
		"hold":           {"hold", "hold", "hold", "hold", "hold"},
	} {
		for i, r := range []version{v(3, 8, 5), v(4, 14, 2), v(5, 12), v(6, 10), v(7, 4)} {
			if got, _ := r.word(action); got != names[i] {
				t.Errorf("%s in %s is %q, want %q", action, r, got, names[i])
			}
		}
	}
}

func TestStatesOfAQuery(t *testing.T) {
	for _, c := range []struct {
		states, raw []string
		want        int
		every       bool
	}{
		{nil, nil, 0, true},
		{[]string{"RUNNING"}, nil, 1, false},
		{[]string{"FAILED"}, nil, 2, false}, // ACTIVE and CLONING_FAILURE
		{[]string{"STORED"}, nil, 2, false},
		{[]string{"UNKNOWN", "RUNNING"}, nil, 0, true},
		{[]string{"STORED"}, []string{"STOPPED"}, 1, false},
		{[]string{"PAUSED"}, nil, 0, false},
	} {
		got, every := statesOf(c.states, c.raw, newest)
		if len(got) != c.want || every != c.every {
			t.Errorf("%v, %v: %v, %t", c.states, c.raw, got, every)
		}
	}
}
