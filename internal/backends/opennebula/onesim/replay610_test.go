package onesim

import (
	"os"
	"testing"
	"time"
)

// prepare610 is the state that the VM of an exchange was in, where neither the exchange nor those before it tell.
var prepare610 = map[int]string{
	236: "RUNNING", 250: "BOOT_POWEROFF", 274: "RUNNING", 276: "RUNNING", 285: "RUNNING", 287: "RUNNING", 288: "RUNNING",
	292: "RUNNING", 295: "PENDING", 300: "DONE", 301: "DONE", 404: "POWEROFF", 429: "RUNNING",
}

// hooks610 do what the recording's script did between two exchanges without recording it.
var hooks610 = map[int]func(*replay){
	39: func(r *replay) { r.s.Advance(2 * time.Second) },
	43: func(r *replay) {
		r.s.locked(func() {
			for range maxTokens {
				u := r.s.users[2]
				u.tokens = append(u.tokens, token{text: r.s.newToken(), egid: -1})
			}
		})
	},
	44: func(r *replay) { r.s.locked(func() { r.s.users[2].tokens = nil }) },
	52: func(r *replay) { r.s.SetEnabled("alice", true) },
	57: func(r *replay) { r.s.locked(func() { r.s.users[2].tokens = nil }) },
	101: func(r *replay) {
		if _, err := r.s.AddTemplate("private", `CPU="1" MEMORY="64"`, false); err != nil {
			r.Fatal(err)
		}
	},
	121: func(r *replay) { r.s.SetQuota("alice", 1) },
	122: func(r *replay) { r.s.SetQuota("alice", -1) },
	198: func(r *replay) { r.fresh(15, VMSpec{State: Pending, CPU: 4000}) },
	208: func(r *replay) {
		r.s.FailNext(StepClone)
		r.do("one.template.instantiate", 0, "clone-2", false, "", true)
	},
	212: func(r *replay) { r.deployFailing(20, StepProlog) },
	213: func(r *replay) { r.s.FailNext(StepProlog) },
	228: func(r *replay) { r.fresh(21, VMSpec{State: Active, LCM: Running, User: recorded}) },
	230: func(r *replay) { r.deployFailing(22, StepBoot) },
	232: func(r *replay) {
		r.fresh(23, VMSpec{State: Active, LCM: Running, User: recorded})
		r.s.FailNext(StepProlog)
		r.do("one.vm.migrate", 23, 1, false)
	},
	233: func(r *replay) { r.s.FailNext(StepBoot) },
	236: func(r *replay) { r.s.FailNext(StepMigrate) },
	238: func(r *replay) { r.s.FailNext(StepShutdown) },
	240: func(r *replay) { r.failing(23, StepSave, "one.vm.action", "suspend", 23) },
	241: func(r *replay) { r.failing(23, StepEpilog, "one.vm.action", "stop", 23) },
	243: func(r *replay) { r.failing(23, StepProlog, "one.vm.deploy", 23, 0) },
	244: func(r *replay) { r.failing(23, StepBoot, "one.vm.recover", 23, 2) },
	245: func(r *replay) {
		r.do("one.vm.recover", 23, 2)
		r.failing(23, StepEpilog, "one.vm.action", "undeploy", 23)
	},
	246: func(r *replay) {
		r.do("one.vm.recover", 23, 1)
		r.failing(23, StepProlog, "one.vm.deploy", 23, 0)
	},
	247: func(r *replay) { r.failing(23, StepBoot, "one.vm.recover", 23, 2) },
	248: func(r *replay) {
		r.do("one.vm.recover", 23, 2)
		r.failing(23, StepEpilog, "one.vm.action", "terminate", 23)
	},
	262: func(r *replay) {
		r.set(26, active(Unknown))
		r.do("one.vm.migrate", 26, 1, false)
	},
	263: func(r *replay) {
		r.calm(26)
		r.set(26, active(Unknown))
		r.failing(26, StepProlog, "one.vm.migrate", 26, 2, false)
	},
	264: func(r *replay) { r.do("one.vm.recover", 26, 2); r.calm(26) },
	271: func(r *replay) {
		for _, name := range []string{"s0", "s1"} {
			r.calm(26)
			r.do("one.vm.disksnapshotcreate", 26, 0, name)
		}
		r.calm(26)
		r.do("one.vm.disksnapshotrevert", 26, 0, 0)
	},
	272: func(r *replay) { r.calm(26); r.do("one.vm.disksnapshotdelete", 26, 0, 1) },
	273: func(r *replay) { r.failing(26, StepProlog, "one.vm.migrate", 26, 0, false) },
	274: func(r *replay) {
		r.do("one.vm.recover", 26, 2)
		r.calm(26)
		r.do("one.vm.action", "resume", 26)
		r.calm(26)
	},
	276: func(r *replay) { r.calm(26) },
	278: func(r *replay) {
		r.calm(26)
		r.do("one.vm.action", "suspend", 26)
		r.calm(26)
		r.do("one.vm.disksaveas", 26, 0, "susp saved", "", -1)
	},
	279: func(r *replay) { r.failing(26, StepProlog, "one.vm.migrate", 26, 1, false) },
	284: func(r *replay) {
		r.do("one.vm.allocate", `NAME="locked-image" CPU="0.1" MEMORY="64" DISK=[IMAGE_ID="0"] NIC=[NETWORK_MODE="auto"]`, true)
	},
	315: func(r *replay) { r.fresh(30, VMSpec{State: Hold, User: recorded}) },
	391: func(r *replay) { r.s.AddSecurityGroup("second") },
	463: func(r *replay) { r.fresh(31, VMSpec{State: Hold, NoContext: true}) },
	515: func(r *replay) { r.s.Advance(30 * time.Second) },
	525: func(r *replay) {
		for i, st := range []status{is(Pending), is(Hold), active(Running), is(Poweroff), is(Suspended), is(Stopped), is(Undeployed), is(Done), is(Hold), is(Hold)} {
			owner := ""
			if i == 8 {
				owner = "alice"
			}
			r.fresh(33+i, VMSpec{State: st.state, LCM: st.lcm, Owner: owner})
		}
	},
}

var recorded = map[string]string{"NOTE": "recorded"}

// failing makes a call whose driver will fail, once the VM is calm.
func (r *replay) failing(id int, step Step, method string, args ...any) {
	r.Helper()
	r.calm(id)
	r.s.FailNext(step)
	r.do(method, args...)
}

func (r *replay) deployFailing(id int, step Step) {
	r.Helper()
	r.fresh(id, VMSpec{State: Pending, User: recorded})
	r.failing(id, step, "one.vm.deploy", id, 0)
}

func slow() map[Step]time.Duration {
	d := DefaultDelays()
	for k := range d {
		d[k] = 5 * time.Second
	}
	d[StepQueue] = time.Millisecond
	return d
}

func TestReplay610(t *testing.T) {
	all := readAll(t, "opennebula-6.10")
	clock := NewClock(time.Date(2026, 11, 22, 10, 34, 6, 0, time.UTC))
	s, err := Start(Config{Clock: clock, Delays: slow()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &replay{T: t, s: s, clock: clock, replace: map[string]string{}}
	matched := 0
	for i := range all {
		x := &all[i]
		want := takeApart(x.Status, x.Response)
		r.before(x, want, prepare610, hooks610)
		got := r.run(x, want)
		if d := compare(got, want); len(d) > 0 {
			if os.Getenv("SHOW") != "" {
				t.Logf("%s: %v", x.Name, d)
			}
		} else {
			matched++
		}
	}
	t.Logf("%d of %d matched, %d states placed", matched, len(all), r.placed)
}
