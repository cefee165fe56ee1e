package onesim

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prepare610 is the state that the VM of an exchange was in, where neither the exchange nor those before it tell.
var prepare610 = map[int]string{
	236: "RUNNING", 250: "BOOT_POWEROFF", 265: "POWEROFF", 267: "POWEROFF", 269: "POWEROFF", 274: "RUNNING", 276: "RUNNING", 285: "RUNNING", 287: "RUNNING", 288: "RUNNING",
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
		r.calm(23)
		r.do("one.vm.recover", 23, 2)
		r.failing(23, StepEpilog, "one.vm.action", "undeploy", 23)
	},
	246: func(r *replay) {
		r.calm(23)
		r.do("one.vm.recover", 23, 1)
		r.failing(23, StepProlog, "one.vm.deploy", 23, 0)
	},
	247: func(r *replay) { r.failing(23, StepBoot, "one.vm.recover", 23, 2) },
	248: func(r *replay) {
		r.calm(23)
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
	264: func(r *replay) { r.calm(26); r.do("one.vm.recover", 26, 2); r.calm(26) },
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
		r.calm(26)
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
	515: func(r *replay) {
		r.set(13, active(Running))
		r.s.Advance(30 * time.Second)
	},
	738: func(r *replay) { r.s.locked(func() { r.s.messageSize = 100000 }) },
	525: func(r *replay) {
		for i, st := range []status{is(Pending), is(Hold), active(Running), is(Poweroff), is(Suspended), is(Stopped), is(Undeployed), is(Done), is(Hold), is(Hold)} {
			owner := ""
			if i == 8 {
				owner = "alice"
			}
			r.fresh(33+i, VMSpec{State: st.state, LCM: st.lcm, Owner: owner, User: recorded})
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

// bytes turns the escapes of a recording that is not text into what was sent.
func rawBytes(o *outgoing) {
	o.body = escape.ReplaceAllStringFunc(o.body, func(m string) string {
		n, err := strconv.ParseUint(m[2:], 16, 8)
		if err != nil {
			return m
		}
		return string([]byte{byte(n)})
	})
	o.length = strconv.Itoa(len(o.body))
}

var escape = regexp.MustCompile(`\\x[0-9a-f]{2}`)

// huge is an allocate with a value of that many bytes; the recording shortened it.
func huge(n int) func(*outgoing) {
	return func(o *outgoing) {
		o.body = "<methodCall><methodName>one.vm.allocate</methodName><params><param><value><string>oneadmin:opennebula</string></value></param>" +
			"<param><value><string>NAME=\"big\" CPU=\"0.1\" MEMORY=\"64\" BLOB=\"" + strings.Repeat("x", n) + "\"</string></value></param>" +
			"<param><value><boolean>1</boolean></value></param></params></methodCall>"
		o.length = strconv.Itoa(len(o.body))
	}
}

var odd610 = map[int]func(*outgoing){
	639: rawBytes,
	640: func(o *outgoing) {
		o.headers = append(o.headers, "Transfer-Encoding: chunked")
		o.body, o.length = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(o.body), o.body), ""
	},
	641: func(o *outgoing) { o.length = "" },
	642: func(o *outgoing) { o.length = strconv.Itoa(len(o.body) - 20) },
	643: func(o *outgoing) { o.length = strconv.Itoa(len(o.body) + 20) },
	644: func(o *outgoing) { o.length = "many" },
	649: func(o *outgoing) { o.first = "\x16\x03\x01hello" },
	651: rawBytes, 652: rawBytes, 654: rawBytes,
	659: huge(1 << 20), 660: huge(8 << 20), 661: huge(64 << 20),
	738: func(o *outgoing) { huge(100016)(o); o.length = "100016" },
}

var differences610 = map[int]string{
	516: "the recorded monitor reports VMs that do not run, as no hypervisor's does",
	517: "the recorded monitor reports VMs that do not run, as no hypervisor's does",
	520: "accounting shows a VM as it is now, not as it was when the record was written",
	614: "only the methods that drivers need exist",
}

var rec610 = recording{prepare610, hooks610, odd610, differences610}

func TestReplay610(t *testing.T) { replayAll(t, Config{}, readSubset(t, "oned-6.10.0.jsonl"), rec610) }

// TestReplay610Whole runs over the whole recording where it lies beside the repository.
func TestReplay610Whole(t *testing.T) {
	if all := readAll(t, "opennebula-6.10"); len(all) > 0 {
		replayAll(t, Config{}, all, rec610)
	}
}
