package xensim

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client speaks to a simulator over a kept connection, in its own encoding.
type client struct {
	t       *testing.T
	conn    net.Conn
	r       *bufio.Reader
	session string
}

func dial(t *testing.T, url string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// login opens a session of the user.
func login(t *testing.T, s *Server, name string) *client {
	t.Helper()
	c := dial(t, s.URL())
	for _, u := range s.Users() {
		if u.Name == name {
			c.session = c.must("session.login_with_password", u.Name, u.Password, "1.0", "test").(string)
			return c
		}
	}
	t.Fatalf("no user %s", name)
	return nil
}

func (c *client) send(method string, args ...any) {
	c.t.Helper()
	if c.session != "" {
		args = append([]any{c.session}, args...)
	}
	body := []byte("<methodCall><methodName>" + method + "</methodName><params>")
	for _, a := range args {
		body = append(appendValue(append(body, "<param>"...), a), "</param>"...)
	}
	body = append(body, "</params></methodCall>"...)
	if _, err := fmt.Fprintf(c.conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) receive() (v any, failed []string) {
	c.t.Helper()
	status, body, err := readResponse(c.r, false)
	if err != nil || status != 200 {
		c.t.Fatalf("status %d, %v: %.200s", status, err, body)
	}
	v, failed, err = outcome(body)
	if err != nil {
		c.t.Fatalf("%v in %.200s", err, body)
	}
	return v, failed
}

func (c *client) call(method string, args ...any) (v any, failed []string) {
	c.t.Helper()
	c.send(method, args...)
	return c.receive()
}

func (c *client) must(method string, args ...any) any {
	c.t.Helper()
	v, failed := c.call(method, args...)
	if failed != nil {
		c.t.Fatalf("%s: %q", method, failed)
	}
	return v
}

func (c *client) refuses(code, method string, args ...any) []string {
	c.t.Helper()
	_, failed := c.call(method, args...)
	if failed == nil || failed[0] != code {
		c.t.Errorf("%s: %q, want %s", method, failed, code)
		return nil
	}
	return failed
}

func (c *client) strings(method string, args ...any) []string {
	c.t.Helper()
	var out []string
	for _, e := range c.must(method, args...).([]any) {
		out = append(out, asString(e))
	}
	return out
}

func (c *client) vm(uuid string) string {
	c.t.Helper()
	return c.must("VM.get_by_uuid", uuid).(string)
}

func (c *client) task(ref string) record {
	c.t.Helper()
	return c.must("task.get_record", ref).(record)
}

// pool starts a simulator whose operations take no time.
func pool(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Durations == nil {
		cfg.Durations = &Durations{}
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func allStates() []string { return []string{"Halted", "Paused", "Running", "Suspended"} }

// moves is what each message of a VM's life does in each state; a state that is missing refuses it.
var moves = []struct {
	method string
	args   []any
	to     map[string]string
}{
	{"VM.start", []any{false, false}, map[string]string{"Halted": "Running"}},
	{"VM.start", []any{true, false}, map[string]string{"Halted": "Paused"}},
	{"VM.pause", nil, map[string]string{"Running": "Paused"}},
	{"VM.unpause", nil, map[string]string{"Paused": "Running"}},
	{"VM.suspend", nil, map[string]string{"Running": "Suspended"}},
	{"VM.resume", []any{false, false}, map[string]string{"Suspended": "Running"}},
	{"VM.resume", []any{true, false}, map[string]string{"Suspended": "Paused"}},
	{"VM.clean_shutdown", nil, map[string]string{"Running": "Halted"}},
	{"VM.hard_shutdown", nil, map[string]string{"Running": "Halted", "Paused": "Halted", "Suspended": "Halted"}},
	{"VM.shutdown", nil, map[string]string{"Running": "Halted", "Paused": "Halted", "Suspended": "Halted"}},
	{"VM.clean_reboot", nil, map[string]string{"Running": "Running"}},
	{"VM.hard_reboot", nil, map[string]string{"Running": "Running", "Paused": "Running"}},
	{"VM.get_boot_record", nil, map[string]string{"Running": "Running", "Paused": "Paused", "Suspended": "Suspended"}},
	{"VM.snapshot", []any{"s"}, map[string]string{"Halted": "Halted", "Running": "Running", "Paused": "Paused", "Suspended": "Suspended"}},
	{"VM.checkpoint", []any{"s"}, map[string]string{"Running": "Running", "Paused": "Paused", "Suspended": "Suspended"}},
	{"VM.clone", []any{"s"}, map[string]string{"Halted": "Halted"}},
	{"VM.csvm", nil, map[string]string{"Suspended": "Suspended"}},
	{"VM.destroy", nil, map[string]string{"Halted": "", "Suspended": ""}},
}

func TestPowerStates(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	for _, m := range moves {
		for _, from := range allStates() {
			uuid := s.PutVM(VMSpec{PowerState: from})
			ref := c.vm(uuid)
			_, failed := c.call(m.method, append([]any{ref}, m.args...)...)
			want, possible := m.to[from]
			state, exists := s.VM(uuid)
			switch {
			case !possible && (failed == nil || state.PowerState != from):
				t.Errorf("%s of a %s VM: %q, now %s", m.method, from, failed, state.PowerState)
			case possible && (failed != nil || state.PowerState != want || exists != (want != "")):
				t.Errorf("%s of a %s VM: %q, now %q, want %q", m.method, from, failed, state.PowerState, want)
			case !possible && m.method != "VM.csvm" && failed[0] != "VM_BAD_POWER_STATE":
				t.Errorf("%s of a %s VM: %q", m.method, from, failed)
			}
		}
	}
}

// Whatever allowed_operations names has to be possible, and assert_operation_valid has to agree with it.
func TestAllowedOperationsAreTheOnesThatWork(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	specs := []VMSpec{{PowerState: "Halted"}, {PowerState: "Paused"}, {PowerState: "Running"}, {PowerState: "Suspended"},
		{PowerState: "Running", NoAgent: true}, {Template: true}, {Template: true, Default: true}, {Blocked: map[string]string{"start": "no"}}}
	for _, spec := range specs {
		ref := c.vm(s.PutVM(spec))
		allowed := c.strings("VM.get_allowed_operations", ref)
		for _, op := range s.rules.listed {
			_, failed := c.call("VM.assert_operation_valid", ref, op)
			if slices.Contains(allowed, op) != (failed == nil) && op != "make_into_template" {
				t.Errorf("%+v: %s is allowed: %v, asserted: %q", spec, op, slices.Contains(allowed, op), failed)
			}
		}
	}
}

func TestDevicesFollowTheVM(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	ref := c.vm(s.PutVM(VMSpec{}))
	c.must("VM.start", ref, false, false)
	rec := c.must("VM.get_record", ref).(record)
	if rec.text("domid") == "-1" || rec.text("resident_on") == nullRef || rec.text("memory_target") != rec.text("memory_static_max") {
		t.Errorf("a running VM without a domain: %v", rec)
	}
	vif := c.strings("VM.get_VIFs", ref)[0]
	if c.must("VIF.get_currently_attached", vif) != true {
		t.Error("the interface of a running VM is not attached")
	}
	c.refuses("OPERATION_NOT_ALLOWED", "VIF.destroy", vif)
	c.must("VIF.unplug", vif)
	c.must("VIF.destroy", vif)
	if left := c.strings("VM.get_VIFs", ref); len(left) != 0 {
		t.Errorf("VIFs after destroy: %v", left)
	}
	disk := c.must("VBD.get_VDI", c.strings("VM.get_VBDs", ref)[1]).(string)
	c.must("VM.hard_shutdown", ref)
	disks := len(c.strings("VDI.get_all"))
	c.must("VM.destroy", ref)
	if now := len(c.strings("VDI.get_all")); now != disks {
		t.Errorf("destroy took disks with it: %d, before %d (%s)", now, disks, disk)
	}
}

// memoryFree is the memory_free of each host, the coordinator first, and what each has in all.
func (c *client) memoryFree(s *Server) (free []int64, total int64) {
	for _, uuid := range s.Hosts() {
		metrics := c.must("host.get_metrics", c.must("host.get_by_uuid", uuid).(string)).(string)
		rec := c.must("host_metrics.get_record", metrics).(record)
		if one := c.must("host_metrics.get_memory_free", metrics); one != rec.text("memory_free") {
			c.t.Errorf("get_memory_free gives %v, the record %s", one, rec.text("memory_free"))
		}
		free = append(free, number(c.t, rec.text("memory_free")))
		total = number(c.t, rec.text("memory_total"))
	}
	return free, total
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMemoryFree(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	idle, total := c.memoryFree(s)
	for i, free := range idle {
		if dom0 := total - ownMemory - free; dom0 < ownMemory || dom0 > ownMemory+gib {
			t.Errorf("host %d: %d of %d are free, its control domain takes %d", i, free, total, dom0)
		}
	}
	vm := c.vm(s.PutVM(VMSpec{Memory: 8 * gib}))
	overhead := number(t, c.must("VM.get_memory_overhead", vm).(string))
	hosts := s.Hosts()
	first, second := c.must("host.get_by_uuid", hosts[0]).(string), c.must("host.get_by_uuid", hosts[1]).(string)
	up := 8*gib + overhead
	for _, step := range []struct {
		method string
		args   []any
		taken  [2]int64 // of each host
	}{
		{"VM.start_on", []any{first, false, false}, [2]int64{up, 0}},
		{"VM.pause", nil, [2]int64{up, 0}},
		{"VM.unpause", nil, [2]int64{up, 0}},
		{"VM.set_memory_dynamic_range", []any{strconv.FormatInt(4*gib, 10), strconv.FormatInt(6*gib, 10)}, [2]int64{up - 2*gib, 0}},
		{"VM.pool_migrate", []any{second, record{{"live", "true"}}}, [2]int64{0, up - 2*gib}},
		{"VM.suspend", nil, [2]int64{}},
		{"VM.resume_on", []any{first, false, false}, [2]int64{up - 2*gib, 0}},
		{"VM.hard_reboot", nil, [2]int64{up - 2*gib, 0}},
		{"VM.hard_shutdown", nil, [2]int64{}},
		{"VM.destroy", nil, [2]int64{}},
	} {
		token := c.must("event.from", []string{"host_metrics"}, "", 0.0).(record).text("token")
		c.must(step.method, append([]any{vm}, step.args...)...)
		free, _ := c.memoryFree(s)
		for i := range free {
			if got := idle[i] - free[i]; got != step.taken[i] {
				t.Errorf("after %s, %d are taken of host %d, want %d", step.method, got, i, step.taken[i])
			}
		}
		told := len(eventsOf(c.must("event.from", []string{"host_metrics"}, token, 0.0).(record))) > 0
		if want := !slices.Contains([]string{"VM.pause", "VM.unpause", "VM.destroy"}, step.method); told != want {
			t.Errorf("after %s, an event of host_metrics: %t, want %t", step.method, told, want)
		}
	}
}

// The demo's hosts are neither empty nor full, however many VMs and hosts there are.
func TestDemoHostsHaveRoom(t *testing.T) {
	for _, hosts := range []int{1, 2, 3} {
		for _, vms := range []int{1, 3, 7, 10, 24, 50, 100, 333, 1000} {
			s := pool(t, Config{Hosts: hosts, VMs: vms})
			free, total := login(t, s, "root").memoryFree(s)
			for i, free := range free {
				if percent := 100 * (total - free) / total; percent < 20 || percent > 80 {
					t.Errorf("%d VMs, host %d of %d: %d %% of %d GiB are taken", vms, i+1, hosts, percent, total/gib)
				}
			}
		}
	}
}

func TestSnapshotsFormATree(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	vm := c.vm(s.PutVM(VMSpec{Name: "a"}))
	one := c.must("VM.snapshot", vm, "one").(string)
	c.must("VM.set_name_description", vm, "later")
	two := c.must("VM.snapshot", vm, "two").(string)
	if got := c.must("VM.get_parent", two); got != one {
		t.Error("the second snapshot is no child of the first")
	}
	if got := c.strings("VM.get_snapshots", vm); len(got) != 2 {
		t.Errorf("snapshots: %v", got)
	}
	c.must("VM.revert", one)
	if got := c.must("VM.get_name_description", vm); got != "" {
		t.Errorf("after revert: %q", got)
	}
	c.refuses("VM_IS_SNAPSHOT", "VM.start", one, false, false)
	c.refuses("VM_REVERT_FAILED", "VM.revert", vm)
	c.must("VM.destroy", one)
	if got := c.must("VM.get_parent", two); got != nullRef {
		t.Error("a snapshot whose parent is gone still names it")
	}
}

func TestTemplateBecomesVM(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	template := c.strings("VM.get_by_name_label", "Debian Bookworm 12")[0]
	c.refuses("VM_IS_TEMPLATE", "VM.start", template, false, false)
	c.refuses("VM_IS_TEMPLATE", "VM.destroy", template)
	vm := c.must("VM.clone", template, "new").(string)
	c.must("VM.provision", vm)
	if disks := c.strings("VM.get_VBDs", vm); len(disks) != 1 {
		t.Errorf("VBDs of a provisioned VM: %v", disks)
	}
	c.refuses("PROVISION_ONLY_ALLOWED_ON_TEMPLATE", "VM.provision", vm)
	c.must("VM.start", vm, false, false)
}

func TestTasks(t *testing.T) {
	clock := NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := pool(t, Config{Clock: clock, Durations: &Durations{Start: 4 * time.Second, Copy: 4 * time.Second}})
	c := login(t, s, "root")
	uuid := s.PutVM(VMSpec{})
	vm := c.vm(uuid)
	ref := c.must("Async.VM.start", vm, false, false).(string)
	clock.AwaitWaiting(1, nil)
	clock.Advance(time.Second)
	task := c.task(ref)
	if p, _ := task.get("progress"); task.text("status") != "pending" || p != 0.25 {
		t.Errorf("after a quarter of its time: %v", task)
	}
	if state, _ := s.VM(uuid); state.PowerState != "Halted" || !slices.Equal(state.Operations, []string{"start"}) {
		t.Errorf("during the start: %+v", state)
	}
	clock.Advance(3 * time.Second)
	awaitTask(t, s, ref)
	if task = c.task(ref); task.text("status") != "success" || task.text("result") != "<value></value>" {
		t.Errorf("after the start: %v", task)
	}
	c.must("task.cancel", ref) // finished: nothing happens
	c.must("task.destroy", ref)
	c.refuses("HANDLE_INVALID", "task.get_record", ref)

	ref = c.must("Async.VM.start", vm, false, false).(string)
	awaitTask(t, s, ref)
	task = c.task(ref)
	info, _ := task.get("error_info")
	if task.text("status") != "failure" || fmt.Sprint(info) != fmt.Sprint([]any{"VM_BAD_POWER_STATE", vm, "halted", "running"}) {
		t.Errorf("start of a running VM: %v", task)
	}

	before := len(s.VMs())
	ref = c.must("Async.VM.copy", c.vm(s.PutVM(VMSpec{})), "copy", nullRef).(string)
	clock.AwaitWaiting(1, nil)
	c.must("task.cancel", ref)
	awaitTask(t, s, ref)
	if task = c.task(ref); task.text("status") != "cancelled" {
		t.Errorf("after cancel: %v", task)
	}
	if len(s.VMs()) != before+1 {
		t.Error("a cancelled copy left a VM")
	}
	c.refuses("Fault", "Async.VM.get_record", vm)
}

// awaitTask waits until nothing works on the task.
func awaitTask(t *testing.T, s *Server, ref string) {
	t.Helper()
	for {
		s.mu.Lock()
		busy, changed := s.running[ref] != nil, s.db.changes()
		s.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("the task does not end")
		}
	}
}

func TestOldTasksAreDropped(t *testing.T) {
	clock := NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := pool(t, Config{Clock: clock})
	c := login(t, s, "root")
	vm := c.vm(s.PutVM(VMSpec{}))
	for range maxTasks + 20 {
		awaitTask(t, s, c.must("Async.VM.assert_agile", vm).(string))
	}
	if n := s.Tasks(); n > maxTasks+1 {
		t.Errorf("%d tasks", n)
	}
	clock.Advance(taskLifetime + time.Second)
	awaitTask(t, s, c.must("Async.VM.assert_agile", vm).(string))
	if n := s.Tasks(); n != 1 {
		t.Errorf("%d tasks after %v", n, taskLifetime)
	}
}

func TestConflictingCallsWait(t *testing.T) {
	s := pool(t, Config{})
	c, other := login(t, s, "root"), login(t, s, "root")
	uuid := s.PutVM(VMSpec{})
	vm := c.vm(uuid)
	release := s.HoldOperation(uuid, "copy")
	c.refuses("OTHER_OPERATION_IN_PROGRESS", "VM.assert_operation_valid", vm, "start")
	if got, want := c.strings("VM.get_allowed_operations", vm), []string{"export", "copy", "clone"}; !slices.Equal(got, want) {
		t.Errorf("allowed during a copy: %v", got)
	}
	c.must("VM.clone", vm, "meanwhile")
	other.send("VM.start", vm, false, false)
	c.must("VM.set_name_label", vm, "renamed") // nothing stops this
	if state, _ := s.VM(uuid); state.PowerState != "Halted" {
		t.Error("started during a copy")
	}
	release()
	if _, failed := other.receive(); failed != nil {
		t.Errorf("start after the copy: %q", failed)
	}
}

func TestEvents(t *testing.T) {
	clock := NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := pool(t, Config{Clock: clock})
	c, other := login(t, s, "root"), login(t, s, "root")
	vm := c.vm(s.PutVM(VMSpec{}))
	first := c.must("event.from", []string{"VM/" + vm}, "", 5.0).(record)
	if ops := eventsOf(first); !slices.Equal(ops, []string{"add vm " + vm}) {
		t.Fatalf("first: %v", ops)
	}
	counts, _ := first.get("valid_ref_counts")
	if n, _ := counts.(record).get("host"); n != int64(2) {
		t.Errorf("valid_ref_counts.host is %v (%T), want the int 2", n, n)
	}
	c.send("event.from", []string{"vm"}, first.text("token"), 30.0)
	clock.AwaitWaiting(1, nil)
	other.must("VM.set_name_label", vm, "changed")
	reply, _ := c.receive()
	second := reply.(record)
	if ops := eventsOf(second); !slices.Equal(ops, []string{"mod vm " + vm}) {
		t.Errorf("after a change: %v", ops)
	}
	other.must("VM.destroy", vm)
	third := c.must("event.from", []string{"*"}, second.text("token"), 5.0).(record)
	if ops := eventsOf(third); !slices.Contains(ops, "del vm "+vm) {
		t.Errorf("after destroy: %v", ops)
	}
	c.send("event.from", []string{"VM"}, third.text("token"), 10.0)
	clock.AwaitWaiting(1, nil)
	clock.Advance(10 * time.Second)
	if reply, _ := c.receive(); len(eventsOf(reply.(record))) != 0 {
		t.Errorf("events of nothing: %v", reply)
	}
	c.refuses("EVENT_FROM_TOKEN_PARSE_FAILURE", "event.from", []string{"VM"}, "garbage", 1.0)
	c.refuses("SESSION_NOT_REGISTERED", "event.next")
}

// eventsOf lists operation, class and reference; it also checks that only deletions lack a snapshot.
func eventsOf(batch record) []string {
	out := []string{}
	events, _ := batch.get("events")
	for _, e := range events.([]any) {
		r := e.(record)
		if _, has := r.get("snapshot"); has == (r.text("operation") == "del") {
			out = append(out, "snapshot is wrong: ")
		}
		out = append(out, r.text("operation")+" "+r.text("class")+" "+r.text("ref"))
	}
	return out
}

func TestExpressions(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	a, b := s.PutVM(VMSpec{Name: `a "quoted"`, VCPUs: 3}), s.PutVM(VMSpec{Name: "b", PowerState: "Running"})
	for _, tc := range []struct {
		expr string
		want []string
	}{
		{`field "name__label" = "b"`, []string{b}},
		{`field "name__label" = "a \"quoted\""`, []string{a}},
		{`field "VCPUs__max" = "3"`, []string{a}},
		{`"` + a + `" = field "uuid"`, []string{a}},
		{`field "uuid" = "` + a + `" or field "uuid" = "` + b + `"`, []string{a, b}},
		{`(field "power_state" = "Running") and field "is_control_domain" = "false"`, []string{b}},
		{`not (true) or false`, nil},
		{`not field "is_a_template" = "true" and field "name__label" = "b"`, []string{b}},
	} {
		var got []string
		for _, m := range c.must("VM.get_all_records_where", tc.expr).(record) {
			got = append(got, m.Value.(record).text("uuid"))
		}
		slices.Sort(got)
		slices.Sort(tc.want)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.expr, got, tc.want)
		}
	}
	for _, bad := range []string{"", "power_state = x", `field "uuid"`, `field "uuid" = `, `true true`, `(true`, `"open`, `field "name_label" = "b"`} {
		if _, failed := c.call("VM.get_all_records_where", bad); failed == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}

func TestRoles(t *testing.T) {
	s := pool(t, Config{})
	viewer, operator := login(t, s, "viewer"), login(t, s, "operator")
	vm := viewer.vm(s.PutVM(VMSpec{}))
	failed := viewer.refuses("RBAC_PERMISSION_DENIED", "VM.start", vm, false, false)
	want := []string{"RBAC_PERMISSION_DENIED", "vm.start",
		"No permission in user session. (Roles with this permission: pool-admin, pool-operator, vm-power-admin, vm-admin, vm-operator)"}
	if !slices.Equal(failed, want) {
		t.Errorf("%q, want %q", failed, want)
	}
	operator.must("VM.start", vm, false, false)
	operator.refuses("RBAC_PERMISSION_DENIED", "VM.set_name_label", vm, "x")
	viewer.refuses("RBAC_PERMISSION_DENIED", "VM.update_allowed_operations", vm)
	task := viewer.must("Async.VM.hard_shutdown", vm).(string)
	awaitTask(t, s, task)
	if viewer.task(task).text("status") != "failure" {
		t.Error("a task does what its caller may not")
	}
}

func TestSessionsAreLimitedByOriginator(t *testing.T) {
	s := pool(t, Config{})
	first := dial(t, s.URL())
	oldest := first.must("session.login_with_password", "root", "xenroot", "1.0", "gateway").(string)
	second := first.must("session.login_with_password", "root", "xenroot", "1.0", "gateway").(string)
	first.must("VM.get_all", oldest) // now the second is the least recently used
	for range maxSessions - 1 {
		first.must("session.login_with_password", "root", "xenroot", "1.0", "gateway")
	}
	if n := s.Sessions(); n != maxSessions {
		t.Errorf("%d sessions", n)
	}
	first.must("VM.get_all", oldest)
	first.refuses("SESSION_INVALID", "VM.get_all", second)
	first.must("session.logout", oldest)
	first.refuses("SESSION_INVALID", "VM.get_all", oldest)
}

func TestIdleSessionsEnd(t *testing.T) {
	clock := NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := pool(t, Config{Clock: clock})
	c := login(t, s, "root")
	clock.Advance(sessionLifetime - time.Minute)
	c.must("VM.get_all")
	clock.Advance(sessionLifetime + time.Minute)
	c.refuses("SESSION_INVALID", "VM.get_all")
}

func TestSlaveNamesTheCoordinator(t *testing.T) {
	s := pool(t, Config{SlaveAddr: "127.0.0.2:0"})
	c := dial(t, s.SlaveURL())
	failed := c.refuses("HOST_IS_SLAVE", "session.login_with_password", "root", "xenroot")
	if !slices.Equal(failed, []string{"HOST_IS_SLAVE", "127.0.0.1"}) {
		t.Errorf("%q", failed)
	}
	if a, b := s.URL(), s.SlaveURL(); a[strings.LastIndex(a, ":"):] != b[strings.LastIndex(b, ":"):] {
		t.Errorf("ports differ: %s and %s", a, b)
	}
}

func TestFailNext(t *testing.T) {
	s := pool(t, Config{})
	c := login(t, s, "root")
	uuid := s.PutVM(VMSpec{})
	vm := c.vm(uuid)
	s.FailNext("VM.start", "BOOTLOADER_FAILED", vm, "no kernel")
	c.refuses("BOOTLOADER_FAILED", "VM.start", vm, false, false)
	s.FailNext("VM.start", "BOOTLOADER_FAILED", vm, "no kernel")
	task := c.must("Async.VM.start", vm, false, false).(string)
	awaitTask(t, s, task)
	if c.task(task).text("status") != "failure" {
		t.Error("the task did not fail")
	}
	if state, _ := s.VM(uuid); state.PowerState != "Halted" || len(state.Operations) != 0 {
		t.Errorf("after failed starts: %+v", state)
	}
	c.must("VM.start", vm, false, false)
}

func TestFaults(t *testing.T) {
	s := pool(t, Config{})
	uuid := s.PutVM(VMSpec{})
	c := login(t, s, "root")
	vm := c.vm(uuid)
	s.Inject(Fault{Method: "VM.get_all", Times: 2, Code: "TOO_BUSY"})
	c.refuses("TOO_BUSY", "VM.get_all")
	c.refuses("TOO_BUSY", "VM.get_all")
	c.must("VM.get_all")
	if n := s.Calls("VM.get_all"); n != 3 {
		t.Errorf("%d calls counted", n)
	}
	s.Inject(Fault{Method: "VM.start", Cut: true, CutAfter: 20})
	c.send("VM.start", vm, false, false)
	if _, _, err := readResponse(c.r, false); err == nil {
		t.Error("a cut reply could be read")
	}
	if state, _ := s.VM(uuid); state.PowerState != "Running" {
		t.Error("the call whose reply was cut was not done")
	}
	for _, f := range []Fault{{Status: 502, HTML: "<html>bad gateway</html>"}, {Garbage: []byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n???")}} {
		s.Inject(f)
		c = &client{t: t, conn: dial(t, s.URL()).conn, session: c.session}
		c.send("VM.get_all")
		status, body, err := readResponse(bufio.NewReader(c.conn), false)
		if err != nil || status != max(200, f.Status) || strings.Contains(body, "methodResponse") {
			t.Errorf("%+v: %d %q %v", f, status, body, err)
		}
	}
}

func TestRestart(t *testing.T) {
	s := pool(t, Config{VMs: 5})
	c := login(t, s, "root")
	uuid := s.PutVM(VMSpec{PowerState: "Running"})
	vm := c.vm(uuid)
	s.Restart()
	if s.Sessions() != 0 || s.Tasks() != 0 {
		t.Error("sessions or tasks outlived the restart")
	}
	c = login(t, s, "root")
	c.refuses("HANDLE_INVALID", "VM.get_record", vm)
	again := c.vm(uuid)
	if again == vm {
		t.Error("the reference is the same")
	}
	if host := c.must("VM.get_resident_on", again).(string); !slices.Contains(c.strings("host.get_resident_VMs", host), again) {
		t.Error("references do not agree after the restart")
	}
	c.must("VM.clean_shutdown", again)
}

func TestReleases(t *testing.T) {
	for _, tc := range []struct {
		release, major, minor string
		members               []string // of a VM's record
		unknown               []string
	}{
		{ReleaseOld, "1", "3", []string{"suspend_SR"}, []string{"VM.migrate_send", "VM.set_memory", "VM.shutdown", "event.from"}},
		{ReleaseMiddle, "2", "21", []string{"domain_type", "NVRAM"}, []string{"VM.set_groups", "VM.sysprep"}},
		{ReleaseNew, "2", "23", []string{"groups", "secureboot_certificates_state"}, nil},
	} {
		s := pool(t, Config{Release: tc.release})
		c := login(t, s, "root")
		host := c.must("pool.get_master", c.strings("pool.get_all")[0]).(string)
		if major, minor := c.must("host.get_API_version_major", host), c.must("host.get_API_version_minor", host); major != tc.major || minor != tc.minor {
			t.Errorf("%s: API %v.%v", tc.release, major, minor)
		}
		vm := c.vm(s.PutVM(VMSpec{PowerState: "Running"}))
		rec := c.must("VM.get_record", vm).(record)
		for _, m := range tc.members {
			if _, ok := rec.get(m); !ok {
				t.Errorf("%s: no %s", tc.release, m)
			}
		}
		for _, m := range tc.unknown {
			c.refuses("MESSAGE_METHOD_UNKNOWN", m)
		}
		c.must("VM.pool_migrate", vm, host, record{})
	}
	s := pool(t, Config{Release: ReleaseOld})
	c := login(t, s, "root")
	vm := c.vm(s.PutVM(VMSpec{PowerState: "Running"}))
	host := c.strings("host.get_all")[0]
	c.must("VM.pool_migrate", vm, host, record{{"live", "true"}})
	c.must("VM.pool_migrate", vm, host, record{})
	if n := s.ColdMigrations(); n != 1 {
		t.Errorf("%d cold migrations, want the one without live=true", n)
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, cfg := range []Config{{Release: "9"}, {VMs: -1}, {Users: []User{{Name: "x", Role: "king"}}}, {Addr: "nowhere"}, {SlaveAddr: "127.0.0.2"}} {
		if s, err := Start(cfg); err == nil {
			s.Close()
			t.Errorf("accepted: %+v", cfg)
		}
	}
}

func TestManyClients(t *testing.T) {
	s := pool(t, Config{VMs: 20})
	var wg sync.WaitGroup
	for i := range 8 {
		c := login(t, s, "root")
		wg.Go(func() {
			vm := c.vm(s.PutVM(VMSpec{Name: fmt.Sprint("own ", i)}))
			for range 5 {
				c.must("VM.start", vm, false, false)
				c.must("VM.get_all_records")
				c.must("VM.hard_shutdown", vm)
			}
		})
	}
	wg.Wait()
}

func FuzzDecodeCall(f *testing.F) {
	for _, seed := range []string{"", "<methodCall/>", "<methodCall><methodName>a</methodName><params><param><value><struct><member><name>a</name><value><i4>1</i4></value></member></struct></value></param></params></methodCall>",
		"<!DOCTYPE a [<!ENTITY b 'c'>]><methodCall><methodName>&b;</methodName>", "<?xml version='1.0' encoding='ISO-8859-1'?><methodCall>\xfc"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if mc, err := decodeCall(body); err == nil && mc.method == "" {
			t.Errorf("a call without a name from %q", body)
		}
	})
}
