package onesim

import (
	"strings"
	"testing"
)

// prepare414 takes the state out of the exchanges' names: they say on which one an action was tried.
func prepare414(all []exchange) map[int]string {
	out := map[int]string{19: "PENDING", 23: "RUNNING", 24: "RUNNING", 25: "RUNNING", 26: "RUNNING", 59: "RUNNING", 60: "RUNNING",
		61: "RUNNING", 66: "RUNNING", 68: "RUNNING", 70: "RUNNING", 71: "RUNNING", 72: "RUNNING", 73: "RUNNING"}
	for _, x := range all {
		for _, st := range []string{"running", "done", "pending"} {
			if strings.HasSuffix(x.Name, "-on-"+st) {
				out[x.number] = strings.ToUpper(st)
			}
		}
	}
	return out
}

var hooks414 = map[int]func(*replay){
	1: func(r *replay) { r.do("one.user.delete", 3) }, // there was no bob
	20: func(r *replay) { // and the template had less in it
		r.s.locked(func() {
			for _, name := range []string{"GRAPHICS", "OS", "VCPU"} {
				r.s.templates[0].tmpl.drop(name)
			}
		})
	},
	29: func(r *replay) { // the script cleaned up
		r.set(4, is(Done))
		r.set(5, is(Done))
	},
}

const (
	reread   = "a context that oned has read back from its database shows empty members; this one is never read back"
	snapshot = "accounting shows a VM as it is now, not as it was when the record was written"
)

var differences414 = map[int]string{
	82: "whether a VM has been sampled by then is a matter of the monitor's rhythm",
	83: snapshot, 84: reread, 85: reread, 86: reread, 87: reread,
}

func TestReplay414(t *testing.T) {
	all := readSubset(t, "oned-4.14.2.jsonl")
	replayAll(t, Config{Release: "4.14.2"}, all, recording{prepare414(all), hooks414, nil, differences414})
}

// TestReplay414Whole runs over the whole recording where it lies beside the repository.
func TestReplay414Whole(t *testing.T) {
	if all := readAll(t, "opennebula-4.14"); len(all) > 0 {
		replayAll(t, Config{Release: "4.14.2"}, all, recording{prepare414(all), hooks414, nil, differences414})
	}
}
