package onesim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is a minimal caller over net/http: what a driver would use, and what the raw sender of the replay is not.
type client struct {
	*testing.T
	s       *Server
	session string
}

func (c *client) post(body string) (*http.Response, []byte, error) {
	c.Helper()
	res, err := http.Post(c.s.URL(), "text/xml", strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, b, err
}

// encoded is a value as a request has it.
func encoded(v any) string {
	var e encoder
	e.value(v)
	return string(e.b)
}

func body(session, method string, args ...any) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<methodCall><methodName>%s</methodName><params>", method)
	for _, a := range append([]any{session}, args...) {
		b.WriteString("<param>" + encoded(a) + "</param>")
	}
	b.WriteString("</params></methodCall>")
	return b.String()
}

// call returns the reply taken apart; a document is in doc.
func (c *client) call(method string, args ...any) (got answered, doc string) {
	c.Helper()
	res, b, err := c.post(body(c.session, method, args...))
	if err != nil {
		c.Fatal(err)
	}
	if m := stringParam.FindSubmatch(b); m != nil {
		doc = unescape(string(m[1]))
	}
	return takeApart(res.StatusCode, string(b)), doc
}

// must is a call that has to succeed.
func (c *client) must(method string, args ...any) string {
	c.Helper()
	got, doc := c.call(method, args...)
	if got.code != "" {
		c.Fatalf("%s %v: %s %s", method, args, got.code, got.text)
	}
	return doc
}

func started(t *testing.T, c Config) (*Server, *client) {
	t.Helper()
	if c.Clock == nil {
		c.Clock = NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	}
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, &client{t, s, "oneadmin:opennebula"}
}

func put(t *testing.T, s *Server, spec VMSpec) int {
	t.Helper()
	id, err := s.PutVM(spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func statusOf(s *Server, id int) string {
	v, ok := s.VM(id)
	if !ok {
		return "none"
	}
	return status{v.State, v.LCM}.String()
}

// TestPaths walks the state machine: the call, and every state until it is calm.
func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		name string
		from status
		fail Step
		call []any // method, then arguments; the VM's id is put where nil is
		want string
	}{
		{"deploy", is(Pending), "", []any{"one.vm.deploy", nil, 1}, "LCM_INIT PROLOG BOOT RUNNING"},
		{"deploy, no disk space", is(Pending), StepProlog, []any{"one.vm.deploy", nil, 1}, "LCM_INIT PROLOG PROLOG_FAILURE"},
		{"deploy, no kvm", is(Hold), StepBoot, []any{"one.vm.deploy", nil, 1}, "LCM_INIT PROLOG BOOT BOOT_FAILURE"},
		{"deploy after stop", is(Stopped), "", []any{"one.vm.deploy", nil, 1}, "LCM_INIT PROLOG_RESUME BOOT_STOPPED RUNNING"},
		{"deploy after undeploy", is(Undeployed), "", []any{"one.vm.deploy", nil, 1}, "LCM_INIT PROLOG_UNDEPLOY BOOT_UNDEPLOY RUNNING"},
		{"terminate", active(Running), "", []any{"one.vm.action", "terminate", nil}, "SHUTDOWN EPILOG DONE"},
		{"terminate, ignored by the guest", active(Running), StepShutdown, []any{"one.vm.action", "terminate", nil}, "SHUTDOWN RUNNING"},
		{"terminate in poweroff", is(Poweroff), "", []any{"one.vm.action", "terminate-hard", nil}, "EPILOG DONE"},
		{"terminate pending", is(Pending), "", []any{"one.vm.action", "terminate", nil}, "DONE"},
		{"terminate after failure", active(BootFailure), "", []any{"one.vm.action", "terminate", nil}, "CLEANUP_DELETE DONE"},
		{"poweroff", active(Running), "", []any{"one.vm.action", "poweroff", nil}, "SHUTDOWN_POWEROFF POWEROFF"},
		{"suspend", active(Running), "", []any{"one.vm.action", "suspend", nil}, "SAVE_SUSPEND SUSPENDED"},
		{"suspend fails", active(Running), StepSave, []any{"one.vm.action", "suspend", nil}, "SAVE_SUSPEND RUNNING"},
		{"stop", active(Running), "", []any{"one.vm.action", "stop", nil}, "SAVE_STOP EPILOG_STOP STOPPED"},
		{"stop a suspended one", is(Suspended), "", []any{"one.vm.action", "stop", nil}, "EPILOG_STOP STOPPED"},
		{"undeploy", active(Running), "", []any{"one.vm.action", "undeploy", nil}, "SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY UNDEPLOYED"},
		{"undeploy fails", active(Running), StepEpilog, []any{"one.vm.action", "undeploy-hard", nil}, "SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY EPILOG_UNDEPLOY_FAILURE"},
		{"resume", is(Poweroff), "", []any{"one.vm.action", "resume", nil}, "BOOT_POWEROFF RUNNING"},
		{"resume fails", is(Poweroff), StepBoot, []any{"one.vm.action", "resume", nil}, "BOOT_POWEROFF POWEROFF"},
		{"resume from suspended", is(Suspended), "", []any{"one.vm.action", "resume", nil}, "BOOT_SUSPENDED RUNNING"},
		{"resume from unknown", active(Unknown), "", []any{"one.vm.action", "resume", nil}, "BOOT_UNKNOWN RUNNING"},
		{"resume from stopped", is(Stopped), "", []any{"one.vm.action", "resume", nil}, "PENDING"},
		{"reboot", active(Running), "", []any{"one.vm.action", "reboot", nil}, "RUNNING"},
		{"hold", is(Pending), "", []any{"one.vm.action", "hold", nil}, "HOLD"},
		{"release", is(Hold), "", []any{"one.vm.action", "release", nil}, "PENDING"},
		{"migrate live", active(Running), "", []any{"one.vm.migrate", nil, 1, true}, "MIGRATE RUNNING"},
		{"migrate live fails", active(Running), StepMigrate, []any{"one.vm.migrate", nil, 1, true}, "MIGRATE RUNNING"},
		{"migrate cold", active(Running), "", []any{"one.vm.migrate", nil, 1, false}, "SAVE_MIGRATE PROLOG_MIGRATE BOOT_MIGRATE RUNNING"},
		{"migrate by poweroff", active(Running), "", []any{"one.vm.migrate", nil, 1, false, false, -1, 1}, "SAVE_MIGRATE PROLOG_MIGRATE BOOT RUNNING"},
		{"migrate powered off", is(Poweroff), "", []any{"one.vm.migrate", nil, 1, true}, "PROLOG_MIGRATE_POWEROFF POWEROFF"},
		{"migrate suspended", is(Suspended), "", []any{"one.vm.migrate", nil, 1, true}, "PROLOG_MIGRATE_SUSPEND SUSPENDED"},
		{"migrate unknown", active(Unknown), "", []any{"one.vm.migrate", nil, 1, true}, "PROLOG_MIGRATE_UNKNOWN BOOT RUNNING"},
		{"attach", active(Running), "", []any{"one.vm.attach", nil, `DISK=[IMAGE_ID="1"]`}, "HOTPLUG RUNNING"},
		{"attach fails", active(Running), StepAttach, []any{"one.vm.attach", nil, `DISK=[IMAGE_ID="1"]`}, "HOTPLUG RUNNING"},
		{"attach powered off", is(Poweroff), "", []any{"one.vm.attach", nil, `DISK=[IMAGE_ID="1"]`}, "HOTPLUG_PROLOG_POWEROFF POWEROFF"},
		{"detach", is(Poweroff), "", []any{"one.vm.detach", nil, 0}, "HOTPLUG_EPILOG_POWEROFF POWEROFF"},
		{"attachnic", active(Running), "", []any{"one.vm.attachnic", nil, `NIC=[NETWORK_ID="0"]`}, "HOTPLUG_NIC RUNNING"},
		{"resize", active(Running), "", []any{"one.vm.resize", nil, `MEMORY="128"`, false}, "HOTPLUG_RESIZE RUNNING"},
		{"snapshot", active(Running), "", []any{"one.vm.snapshotcreate", nil, "a"}, "HOTPLUG_SNAPSHOT RUNNING"},
		{"disk snapshot", is(Suspended), "", []any{"one.vm.disksnapshotcreate", nil, 0, "a"}, "DISK_SNAPSHOT_SUSPENDED SUSPENDED"},
		{"disksaveas", is(Undeployed), "", []any{"one.vm.disksaveas", nil, 0, "x", "", -1}, "HOTPLUG_SAVEAS_UNDEPLOYED UNDEPLOYED"},
		{"diskresize", is(Poweroff), "", []any{"one.vm.diskresize", nil, 0, "4096"}, "DISK_RESIZE_POWEROFF POWEROFF"},
		{"updateconf", active(Running), "", []any{"one.vm.updateconf", nil, `CONTEXT=[A="b"]`}, "HOTPLUG RUNNING"},
		{"recover success", active(PrologFailure), "", []any{"one.vm.recover", nil, 1}, "BOOT RUNNING"},
		{"recover retry", active(BootFailure), "", []any{"one.vm.recover", nil, 2}, "BOOT RUNNING"},
		{"recover failure", active(Prolog), "", []any{"one.vm.recover", nil, 0}, "PROLOG_FAILURE"},
		{"recover delete", active(Running), "", []any{"one.vm.recover", nil, 3}, "DONE"},
		{"recover recreate", active(Running), "", []any{"one.vm.recover", nil, 4}, "CLEANUP_RESUBMIT PENDING"},
		{"recover delete-db", active(Running), "", []any{"one.vm.recover", nil, 5}, "DONE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := started(t, Config{Delays: slow()})
			id := put(t, s, VMSpec{State: tt.from.state, LCM: tt.from.lcm})
			if tt.fail != "" {
				s.FailNext(tt.fail)
			}
			for i := range tt.call {
				if tt.call[i] == nil {
					tt.call[i] = id
				}
			}
			c.must(tt.call[0].(string), tt.call[1:]...)
			path := []string{statusOf(s, id)}
			for range 20 {
				s.Advance(time.Second)
				if now := statusOf(s, id); now != path[len(path)-1] {
					path = append(path, now)
				}
			}
			if got := strings.Join(path, " "); got != tt.want {
				t.Errorf("went through %s, want %s", got, tt.want)
			}
		})
	}
}

func TestEveryStatePutIsShown(t *testing.T) {
	s, c := started(t, Config{Delays: slow()})
	for state := Init; state <= CloningFailure; state++ {
		if state == Active {
			continue
		}
		id := put(t, s, VMSpec{State: state})
		if got, _ := c.call("one.vm.info", id); got.states != fmt.Sprintf("%d 0 ", state) {
			t.Errorf("%s: shown as %q", state, got.states)
		}
	}
	for lcm := range phases {
		id := put(t, s, VMSpec{State: Active, LCM: lcm})
		if got, _ := c.call("one.vm.info", id); got.states != fmt.Sprintf("3 %d ", lcm) {
			t.Errorf("%s: shown as %q", lcm, got.states)
		}
	}
}

// TestRetryOfAFailedClone is refused: retry is for ACTIVE alone, and CLONING_FAILURE leaves only by success or its end.
func TestRetryOfAFailedClone(t *testing.T) {
	s, c := started(t, Config{Delays: slow()})
	id := put(t, s, VMSpec{State: CloningFailure})
	if got, _ := c.call("one.vm.recover", id, 2); got.code != "2048 -1" || statusOf(s, id) != "CLONING_FAILURE" {
		t.Errorf("retry: %q, then %s", got.code, statusOf(s, id))
	}
	c.must("one.vm.recover", id, 0)
	if got := statusOf(s, id); got != "CLONING_FAILURE" {
		t.Errorf("%s after recover 0", got)
	}
	c.must("one.vm.recover", id, 1)
	if got := statusOf(s, id); got != "PENDING" {
		t.Errorf("%s after recover 1", got)
	}
}

func TestFailedLiveMigrationStaysOnTheOldHost(t *testing.T) {
	s, c := started(t, Config{Delays: slow()})
	id := put(t, s, VMSpec{State: Active, LCM: Running, Host: 2})
	s.FailNext(StepMigrate)
	c.must("one.vm.migrate", id, 0, true)
	if v, _ := s.VM(id); v.Host != 0 {
		t.Errorf("while migrating the last record is of host %d, want that of the target, 0", v.Host)
	}
	s.Advance(10 * time.Second)
	if v, _ := s.VM(id); v.Host != 2 || v.LCM != Running {
		t.Errorf("on host %d in %s, want RUNNING on 2", v.Host, v.LCM)
	}
	doc := c.must("one.vm.info", id)
	if n := strings.Count(doc, "<HISTORY>"); n != 3 {
		t.Errorf("%d history records, want 3: old host, target, old host again", n)
	}
}

func TestFailureLeavesAMessage(t *testing.T) {
	s, c := started(t, Config{})
	id := put(t, s, VMSpec{State: Pending})
	s.FailNext(StepBoot)
	c.must("one.vm.deploy", id, 0)
	s.Advance(time.Minute)
	if v, _ := s.VM(id); v.LCM != BootFailure || !strings.Contains(v.Error, "DEPLOY") {
		t.Errorf("%s with %q", v.LCM, v.Error)
	}
	c.must("one.vm.recover", id, 2)
	s.Advance(time.Minute)
	if v, _ := s.VM(id); v.LCM != Running || v.Error == "" {
		t.Errorf("%s with %q: the message outlives the recovery", v.LCM, v.Error)
	}
}

func TestSchedulerDeploys(t *testing.T) {
	s, c := started(t, Config{Scheduler: true})
	c.must("one.template.instantiate", 1, "big", false, "", false)
	s.Advance(time.Minute)
	if v, _ := s.VM(0); v.LCM != Running || v.Disks != 2 || v.NICs != 2 {
		t.Errorf("%+v", v)
	}
	c.must("one.vm.schedadd", 0, `SCHED_ACTION=[ACTION="poweroff",TIME="+120"]`)
	s.Advance(2 * time.Minute)
	s.Advance(time.Minute)
	if got := statusOf(s, 0); got != "POWEROFF" {
		t.Errorf("%s after a scheduled poweroff", got)
	}
}

func TestTokensAreCounted(t *testing.T) {
	s, c := started(t, Config{})
	alice := &client{t, s, "alice:alice-pw"}
	token := alice.must("one.user.login", "alice", "", 60, -1)
	if n := s.OpenTokens("alice"); n != 1 {
		t.Errorf("%d tokens after a login", n)
	}
	byToken := &client{t, s, "alice:" + token}
	byToken.must("one.vmpool.info", -3, -1, -1, -1)
	byToken.must("one.user.login", "alice", token, 0, -1)
	if n := s.OpenTokens(""); n != 0 {
		t.Errorf("%d tokens after the logout", n)
	}
	if got, _ := byToken.call("one.system.version"); got.code != "256 -1" {
		t.Errorf("a deleted token: %q", got.code)
	}
	alice.must("one.user.login", "alice", "", 60, -1)
	s.Advance(time.Hour)
	if n := s.OpenTokens(""); n != 0 {
		t.Errorf("%d tokens after they expired", n)
	}
	if s.Calls("one.user.login") != 3 || c.s.Calls("") < 5 {
		t.Errorf("counted %v", s.CallCounts())
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	s, _ := started(t, Config{VMs: 3})
	alice := &client{t, s, "alice:alice-pw"}
	token := alice.must("one.user.login", "alice", "", -1, -1)
	url := s.URL()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.URL() != url {
		t.Errorf("another port: %s", s.URL())
	}
	again := &client{t, s, "alice:" + token}
	if got, _ := again.call("one.vmpool.info", -2, -1, -1, -2); got.ids != "1 " {
		t.Errorf("alice sees %q", got.ids)
	}
	s.Close()
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("still listens after Close")
	}
}

func TestFaults(t *testing.T) {
	version := body("oneadmin:opennebula", "one.system.version")
	for _, tt := range []struct {
		name string
		f    Fault
		want func(*http.Response, []byte, error) bool
	}{
		{"cut in the middle", Fault{Cut: 300}, func(_ *http.Response, b []byte, err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && len(b) > 0
		}},
		{"cut at once", Fault{CutNow: true}, func(_ *http.Response, _ []byte, err error) bool { return errors.Is(err, io.EOF) }},
		{"garbage", Fault{Garbage: []byte("\x00\xff<")}, func(r *http.Response, b []byte, _ error) bool {
			return r.StatusCode == 200 && string(b) == "\x00\xff<"
		}},
		{"a proxy's page", Fault{Status: 502}, func(r *http.Response, b []byte, _ error) bool {
			return r.StatusCode == 502 && strings.HasPrefix(string(b), "<HTML>")
		}},
		{"a login page", Fault{HTML: true}, func(r *http.Response, b []byte, _ error) bool {
			return r.StatusCode == 200 && strings.HasPrefix(string(b), "<HTML>")
		}},
		{"an error", Fault{Method: "one.system.version", Code: codeInternal, Text: "no leader"}, func(_ *http.Response, b []byte, _ error) bool {
			return strings.Contains(string(b), "<i4>8192</i4>") && strings.Contains(string(b), "[one.system.version] no leader")
		}},
		{"a fault", Fault{Fault: -504, Text: "x"}, func(_ *http.Response, b []byte, _ error) bool {
			return strings.Contains(string(b), "<i4>-504</i4>")
		}},
		{"of another method", Fault{Method: "one.vm.info", Status: 500}, func(_ *http.Response, b []byte, _ error) bool {
			return strings.Contains(string(b), "6.10.0")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := started(t, Config{})
			s.Inject(tt.f)
			if r, b, err := c.post(version); !tt.want(r, b, err) {
				t.Errorf("got %v %q %v", r, b, err)
			}
			s.ClearFaults()
			if _, b, err := c.post(version); err != nil || !strings.Contains(string(b), "6.10.0") {
				t.Errorf("afterwards: %q %v", b, err)
			}
		})
	}
}

// TestDelayEndsWithTheServer holds a call up for an hour and closes the server.
func TestDelayEndsWithTheServer(t *testing.T) {
	s, c := started(t, Config{})
	s.Inject(Fault{Delay: time.Hour})
	var done sync.WaitGroup
	done.Go(func() {
		if _, _, err := c.post(body("oneadmin:opennebula", "one.system.version")); err == nil {
			t.Error("an answer from a closed server")
		}
	})
	for waiting := true; waiting; {
		s.mu.Lock()
		waiting = len(s.faults) > 0
		s.mu.Unlock()
	}
	s.Close()
	done.Wait()
}

func TestReplyLengthsByRelease(t *testing.T) {
	for rel, want := range map[string]string{"3.8.5": "boolean string i4", "4.14.2": "boolean string i4", "5.12.0": "boolean string i4 i4 i8",
		"6.10.0": "boolean string i4 i4 i8", "7.4.0": "boolean string i4 i4 i8"} {
		_, c := started(t, Config{Release: rel})
		if got, _ := c.call("one.vm.info", 99); got.shape != want {
			t.Errorf("%s: %s, want %s", rel, got.shape, want)
		}
	}
	if _, err := Start(Config{Release: "1.0"}); err == nil {
		t.Error("a release that never was")
	}
}

func TestActionsByRelease(t *testing.T) {
	for _, tt := range []struct {
		release, action string
		from            status
		ok              bool
	}{
		{"3.8.5", "cancel", active(Running), true}, {"3.8.5", "restart", is(Poweroff), true}, {"3.8.5", "resume", is(Poweroff), false},
		{"3.8.5", "finalize", is(Suspended), true}, {"3.8.5", "terminate", active(Running), false}, {"3.8.5", "undeploy", active(Running), false},
		{"4.14.2", "shutdown", is(Poweroff), true}, {"4.14.2", "delete-recreate", active(Running), true}, {"4.14.2", "boot", is(Poweroff), false},
		{"5.12.0", "shutdown", active(Running), true}, {"5.12.0", "cancel", active(Running), false}, {"5.12.0", "delete", active(Running), true},
		{"5.12.0", "poweroff-hard", active(ShutdownPoweroff), false}, {"6.10.0", "poweroff-hard", active(ShutdownPoweroff), true},
		{"6.10.0", "shutdown", active(Running), false}, {"7.4.0", "terminate-hard", active(Shutdown), true}, {"7.4.0", "resched", is(Poweroff), true},
		{"4.14.2", "resched", is(Poweroff), false},
	} {
		s, c := started(t, Config{Release: tt.release, Delays: slow()})
		id := put(t, s, VMSpec{State: tt.from.state, LCM: tt.from.lcm})
		if got, _ := c.call("one.vm.action", tt.action, id); (got.code == "") != tt.ok {
			t.Errorf("%s: %s from %s: %q %q, want ok %t", tt.release, tt.action, tt.from, got.code, got.text, tt.ok)
		}
	}
}

// TestOldestRelease reads what only 3.x has: a sample at the top level, user attributes in TEMPLATE, savedisk.
func TestOldestRelease(t *testing.T) {
	s, c := started(t, Config{Release: "3.8.5"})
	id := put(t, s, VMSpec{State: Active, LCM: Running, User: map[string]string{"NOTE": "mine"}})
	s.Advance(time.Minute)
	got, doc := c.call("one.vm.info", id)
	for _, want := range []string{"VM/CPU", "VM/MEMORY", "VM/NET_TX", "VM/TEMPLATE/NOTE", "VM/HISTORY_RECORDS/HISTORY/REASON"} {
		if !slices.Contains(got.doc, want) {
			t.Errorf("no %s in %s", want, doc)
		}
	}
	for _, p := range []string{"VM/USER_TEMPLATE", "VM/MONITORING", "VM/PREV_STATE", "VM/HISTORY_RECORDS/HISTORY/ACTION"} {
		if slices.Contains(got.doc, p) {
			t.Errorf("%s did not exist yet", p)
		}
	}
	saved, _ := c.call("one.vm.savedisk", id, 0, "saved", "OS")
	c.must("one.vm.action", "shutdown", id)
	s.Advance(time.Minute)
	if doc := c.must("one.image.info", 2); saved.value != "2" || !strings.Contains(doc, "<STATE>1</STATE>") {
		t.Errorf("image %s: %s", saved.value, doc)
	}
}

func TestPermissions(t *testing.T) {
	s, c := started(t, Config{})
	alice := &client{t, s, "alice:alice-pw"}
	bob := &client{t, s, "bob:bob-pw"}
	id := put(t, s, VMSpec{State: Hold, Owner: "alice"})
	if got, _ := bob.call("one.vm.info", id); got.code != "512 -1" {
		t.Errorf("bob reads alice's: %q", got.code)
	}
	alice.must("one.vm.chmod", id, -1, -1, -1, 1, 1, -1, -1, -1, -1)
	bob.must("one.vm.rename", id, "by-bob")
	if got, _ := bob.call("one.vm.recover", id, 3); got.code != "512 -1" {
		t.Errorf("bob deletes alice's: %q", got.code)
	}
	c.must("one.vm.chown", id, 3, -1)
	if got, _ := bob.call("one.vmpool.info", -3, -1, -1, -1); got.ids != "0 " {
		t.Errorf("bob has %q", got.ids)
	}
	if got, _ := alice.call("one.hostpool.info"); got.ids != "" || got.code != "" {
		t.Errorf("alice sees hosts %q, %q", got.ids, got.code)
	}
}

func TestPoisonSpoilsEveryPoolUntilRenamed(t *testing.T) {
	s, c := started(t, Config{VMs: 2})
	c.must("one.vm.allocate", "<TEMPLATE><NAME>p &#x1F600;</NAME><CPU>1</CPU><MEMORY>64</MEMORY></TEMPLATE>", true)
	if got, _ := c.call("one.vmpool.info", -2, -1, -1, -1); got.code != "-500" {
		t.Errorf("a pool with an emoji: %q", got.code)
	}
	if got, _ := c.call("one.vmpool.info", -2, 0, 1, -1); got.ids != "1 0 " {
		t.Errorf("the range without it: %q", got.ids)
	}
	c.must("one.vm.rename", 2, "cured")
	if got, _ := c.call("one.vmpool.info", -2, -1, -1, -1); got.ids != "2 1 0 " {
		t.Errorf("after the cure: %q", got.ids)
	}
	_ = s
}

func TestConcurrentCalls(t *testing.T) {
	s, c := started(t, Config{VMs: 40, Scheduler: true, MaxConn: 4})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, _, err1 := c.post(body("oneadmin:opennebula", "one.vm.action", "poweroff", i))
			_, _, err2 := c.post(body("oneadmin:opennebula", "one.vmpool.infoextended", -2, -1, -1, -1))
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
			}
			s.Advance(time.Second)
		})
	}
	all.Wait()
	if n := s.Calls("one.vm.action"); n != 20 {
		t.Errorf("%d calls", n)
	}
}

// TestTenThousand checks that a pool of real size comes out whole and well-formed; how fast is the benchmark's matter.
func TestTenThousand(t *testing.T) {
	_, c := started(t, Config{VMs: 10000, Hosts: 50})
	for _, method := range []string{"one.vmpool.info", "one.vmpool.infoextended"} {
		_, b, err := c.post(body(c.session, method, -2, -1, -1, -2))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b, []byte("&lt;VM&gt;&lt;ID&gt;")); n != 10000 {
			t.Errorf("%s: %d VMs", method, n)
		}
		_, doc, _ := bytes.Cut(b[:min(len(b), 256<<10)], []byte("<string>"))
		d := xml.NewDecoder(strings.NewReader(unescape(string(doc))))
		for err == nil {
			_, err = d.RawToken()
		}
		var syntax *xml.SyntaxError
		if !errors.Is(err, io.EOF) && (!errors.As(err, &syntax) || !strings.Contains(syntax.Msg, "unexpected EOF")) {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestStateNames(t *testing.T) {
	if len(stateNames) != int(CloningFailure)+1 || len(lcmNames) != int(Restore)+1 {
		t.Fatalf("%d states and %d life-cycle states", len(stateNames), len(lcmNames))
	}
	for l, name := range map[LCM]string{BootMigrate: "BOOT_MIGRATE", PrologMigrateUnknown: "PROLOG_MIGRATE_UNKNOWN", Restore: "RESTORE", DiskSnapshot: "DISK_SNAPSHOT"} {
		if l.String() != name {
			t.Errorf("%d is %s, want %s", l, l, name)
		}
	}
	for failure, origin := range origins {
		if failure.String() != origin.String()+"_FAILURE" {
			t.Errorf("%s is said to come from %s", failure, origin)
		}
		if phases[origin].fail != active(failure) {
			t.Errorf("%s does not fail into %s", origin, failure)
		}
	}
	for _, a := range actions() {
		for _, name := range strings.Fields(a.legal) {
			if !strings.Contains(name, "*") && !slices.Contains(stateNames, name) && !slices.Contains(lcmNames, name) {
				t.Errorf("%s is legal in %q, which is no state", a.name, name)
			}
		}
	}
}
