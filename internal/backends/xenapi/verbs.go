package xenapi

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"vmgateway/internal/backends"
)

// call is a verb's row.
type call struct {
	// doing is what cannot be done in a wrong state.
	doing string
	// methods are the messages whose tasks are operations of this verb.
	methods []string
	// steps yields the calls that carry it out, and makes none that changes anything: Do sends them,
	// PlanDo tells them.
	steps func(context.Context, *job) ([]step, error)
	// failed tells more of an error than that the call number i, behind others, was the one; nil where
	// there is no more.
	failed func(ctx context.Context, j *job, err error, i int) error
	// late is failed for the last call, whose error was seen after Do had answered.
	late func(j *job, method string, err error) error
}

// job is a verb under way.
type job struct {
	*link
	h    *handle // the VM
	verb backends.Verb
	id   backends.ID
	a    backends.Args
	row  call

	steps []step // as far as they are sent
}

// calls says each verb in XenAPI's words; a verb without a row is one that XenAPI does not have. The
// long ones go out as Async.VM.…. Source: xen-api ocaml/idl/datamodel_vm.ml.
//
// Check-first, because XenAPI would do something else in silence: resume (a paused VM), migrate (to
// the host where the VM is), delete (a suspended VM), copy (to a storage that does not exist),
// resize (which call it is depends on the state) and instantiate (of what is not a template).
var calls = map[backends.Verb]call{
	"start":           {doing: "started", methods: []string{"VM.start", "VM.start_on"}, steps: start},
	"shutdown":        {doing: "shut down", methods: []string{"VM.shutdown", "VM.clean_shutdown", "VM.hard_shutdown"}, steps: shutdown},
	"reboot":          {doing: "rebooted", methods: []string{"VM.clean_reboot", "VM.hard_reboot"}, steps: reboot},
	"suspend":         {doing: "suspended", methods: []string{"VM.suspend"}, steps: plain("VM.suspend")},
	"resume":          {doing: "resumed", methods: []string{"VM.resume", "VM.resume_on", "VM.unpause"}, steps: resume},
	"pause":           {doing: "paused", methods: []string{"VM.pause"}, steps: plain("VM.pause")},
	"unpause":         {doing: "unpaused", methods: []string{"VM.unpause"}, steps: plain("VM.unpause")},
	"migrate":         {doing: "migrated", methods: []string{"VM.pool_migrate"}, steps: migrate},
	"resize":          {doing: "resized", methods: []string{"VM.set_VCPUs_number_live", "VM.set_memory_dynamic_range", "VM.set_memory_limits"}, steps: resize},
	"clone":           {doing: "cloned", methods: []string{"VM.clone"}, steps: clone},
	"copy":            {doing: "copied", methods: []string{"VM.copy"}, steps: copyVM},
	"provision":       {doing: "provisioned", methods: []string{"VM.provision"}, steps: plain("VM.provision")},
	"resetPowerState": {doing: "reset", methods: []string{"VM.power_state_reset"}, steps: plain("VM.power_state_reset")},

	"setVcpuParam":          {doing: "given a vCPU parameter", steps: setVcpuParam},
	"sendSysrq":             {doing: "sent a SysRq key", steps: sendSysrq},
	"sendTrigger":           {doing: "sent a trigger", steps: sendTrigger},
	"refreshAllowedActions": {doing: "asked for this", steps: atOnce("VM.update_allowed_operations")},
	"checkOperation":        {doing: "asked for this", steps: checkOperation},
	"checkHost":             {doing: "asked for this", steps: checkHost},

	backends.VerbDelete: {
		doing: "deleted", methods: []string{"VM.destroy", "VDI.destroy"},
		steps: destroy, failed: halfDeleted, late: diskLeft,
	},
	backends.VerbInstantiate: {
		doing: "instantiated", methods: []string{"VM.provision"},
		steps: instantiate, failed: halfMade, late: vmLeft,
	},
}

// Can reports whether XenAPI has a verb; all releases have the same. That the newer ones do not
// carry some out (setVcpuParam, sendSysrq, sendTrigger) only they can say.
func (d *Driver) Can(v backends.Verb) bool {
	_, ok := calls[v]
	return ok
}

// Do starts a verb. Of one that takes several calls the last is the operation, and Do lasts until
// those before it are done: until the VM of a forced deletion is stopped, until the VM is deleted
// whose disks go too, until a template is cloned. When ctx ends first the error says which call is
// under way, and which were not made.
func (d *Driver) Do(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (any, error) {
	j, steps, err := d.job(ctx, s, v, id, a)
	if err != nil {
		return nil, err
	}
	return j.send(ctx, steps)
}

// job is a verb that can be begun, and its calls.
func (d *Driver) job(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (*job, []step, error) {
	row, ok := calls[v]
	if !ok {
		return nil, nil, d.unsupported("XenAPI has no way to do " + string(v) + ".")
	}
	if err := d.refuse(a); err != nil {
		return nil, nil, err
	}
	l := d.link(s)
	l.doing = row.doing
	h, err := l.open(ctx, "VM", id)
	if err != nil {
		return nil, nil, err
	}
	j := &job{link: l, h: h, verb: v, id: id, a: a, row: row}
	steps, err := row.steps(ctx, j)
	return j, steps, err
}

// refuse tells of arguments that XenAPI does not have, instead of passing over them.
func (d *Driver) refuse(a backends.Args) error {
	for _, arg := range []struct {
		pointer string
		given   bool
	}{
		{"/enforce", isTrue(a.Enforce)},
		{"/coldMode", a.ColdMode != ""},
		{"/cpuShare", a.CPUShare != nil},
		{"/hold", isTrue(a.Hold)},
		{"/extraTemplate", a.ExtraTemplate != nil && *a.ExtraTemplate != ""},
		{"/outcome", a.Outcome != ""},
		{"/datastore", a.Datastore != nil},
	} {
		if arg.given {
			return &backends.Error{
				Code:   backends.UnsupportedByBackend,
				Detail: "XenAPI has no " + strconv.Quote(strings.TrimPrefix(arg.pointer, "/")) + " for this verb: leave it out.",
				Fields: []backends.FieldError{{Pointer: arg.pointer, Detail: "this backend does not have it"}},
				Fault:  &backends.Fault{ID: d.cfg.Name, Kind: backends.XenAPI},
			}
		}
	}
	for pointer, text := range map[string]*string{
		"/displayName": a.DisplayName, "/description": a.Description, "/key": &a.Key, "/value": &a.Value, "/trigger": &a.Trigger,
	} {
		if text == nil {
			continue
		}
		if err := checkText(pointer, *text); err != nil {
			return err
		}
	}
	return nil
}

// plain is a message with the VM alone, as a task.
func plain(method string) func(context.Context, *job) ([]step, error) {
	return func(context.Context, *job) ([]step, error) { return task(method), nil }
}

// atOnce is a message with the VM alone that answers when it is done.
func atOnce(method string) func(context.Context, *job) ([]step, error) {
	return func(context.Context, *job) ([]step, error) { return []step{{method: method}}, nil }
}

// host is the reference of the body's host; "" when it names none.
func (j *job) host(ctx context.Context) (string, error) {
	if j.a.Host == nil {
		return "", nil
	}
	return j.find(ctx, "/host", "host", *j.a.Host)
}

func (j *job) power(ctx context.Context) (string, error) {
	return j.onText(ctx, j.h, "VM.get_power_state")
}

func (j *job) wrong(detail string) error {
	return &backends.Error{Code: backends.WrongState, Op: j.d.op(string(j.verb)), Detail: detail}
}

func start(ctx context.Context, j *job) ([]step, error) {
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	paused, force := isTrue(j.a.StartPaused), isTrue(j.a.Force)
	if host != "" {
		return task("VM.start_on", host, paused, force), nil
	}
	return task("VM.start", paused, force), nil
}

// resume unpauses a paused VM, for which VM.resume has only a refusal.
func resume(ctx context.Context, j *job) ([]step, error) {
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	startPaused, force := isTrue(j.a.StartPaused), isTrue(j.a.Force)
	if host != "" {
		return task("VM.resume_on", host, startPaused, force), nil
	}
	power, err := j.power(ctx)
	if err != nil {
		return nil, err
	}
	if power == paused && !startPaused {
		return task("VM.unpause"), nil
	}
	return task("VM.resume", startPaused, force), nil
}

const (
	modeAuto     = "AUTO"
	modeGraceful = "GRACEFUL"
	modeForce    = "FORCE"
)

func shutdown(ctx context.Context, j *job) ([]step, error) {
	mode, auto := j.a.Mode, j.d.has(clearwater)
	if mode == "" {
		mode = modeGraceful
		if auto {
			mode = modeAuto
		}
	}
	switch mode {
	case modeAuto:
		if !auto {
			return nil, j.noMode("Before XenServer 6.2, XenAPI cannot try both by itself: ask for GRACEFUL or FORCE.")
		}
		return task("VM.shutdown"), nil
	case modeGraceful:
		return task("VM.clean_shutdown"), nil
	case modeForce:
		return task("VM.hard_shutdown"), nil
	}
	return nil, badMode()
}

func reboot(ctx context.Context, j *job) ([]step, error) {
	switch j.a.Mode {
	case "", modeGraceful:
		return task("VM.clean_reboot"), nil
	case modeForce:
		return task("VM.hard_reboot"), nil
	case modeAuto:
		return nil, j.noMode("XenAPI has no reboot that tries both: ask for GRACEFUL or FORCE.")
	}
	return nil, badMode()
}

func (j *job) noMode(detail string) error {
	e := j.d.unsupported(detail)
	e.Fields = []backends.FieldError{{Pointer: "/mode", Detail: "this backend does not have it"}}
	return e
}

func badMode() error { return backends.Invalid("/mode", "expected AUTO, GRACEFUL or FORCE") }

// migrate moves the VM to another host of the pool, always live: xapi migrates in no other way
// today, and reads live=true where it once could.
func migrate(ctx context.Context, j *job) ([]step, error) {
	if j.a.Host == nil {
		return nil, backends.Invalid("/host", "the host to migrate to is required")
	}
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	options := map[string]string{"live": "true"}
	for key, b := range map[string]*bool{"force": j.a.Force, "compress": j.a.Compress} {
		if b != nil {
			options[key] = map[bool]string{true: "true", false: "false"}[*b]
		}
	}
	if j.a.Network != nil {
		if options["network"], err = j.find(ctx, "/network", "network", *j.a.Network); err != nil {
			return nil, err
		}
	}
	if err := j.checkMigration(ctx, host); err != nil {
		return nil, err
	}
	return task("VM.pool_migrate", host, options), nil
}

// checkMigration refuses what xapi answers with a success that means nothing.
func (j *job) checkMigration(ctx context.Context, host string) error {
	if j.a.Live != nil && !*j.a.Live {
		power, err := j.power(ctx)
		if err != nil {
			return err
		}
		if power == running {
			return unprocessable("/live", "XenAPI migrates a running VM live, and in no other way")
		}
	}
	resident, err := j.onText(ctx, j.h, "VM.get_resident_on")
	if err != nil {
		return err
	}
	if resident == host {
		return j.wrong("The VM is on this host already.")
	}
	return nil
}

// newName is the name for a VM that is made from this one: by default the same.
func (j *job) newName(ctx context.Context) (string, error) {
	if j.a.DisplayName != nil {
		return *j.a.DisplayName, nil
	}
	return j.onText(ctx, j.h, "VM.get_name_label")
}

func clone(ctx context.Context, j *job) ([]step, error) {
	name, err := j.newName(ctx)
	if err != nil {
		return nil, err
	}
	return task("VM.clone", name), nil
}

// copyVM makes full disks, on the storage that is asked for or each where it is: xapi takes a
// storage that does not exist for "where it is".
func copyVM(ctx context.Context, j *job) ([]step, error) {
	storage := nullRef
	if j.a.Storage != nil {
		var err error
		if storage, err = j.find(ctx, "/storage", "SR", *j.a.Storage); err != nil {
			return nil, err
		}
	}
	name, err := j.newName(ctx)
	if err != nil {
		return nil, err
	}
	return task("VM.copy", name, storage), nil
}

func setVcpuParam(ctx context.Context, j *job) ([]step, error) {
	if j.a.Key == "" {
		return nil, backends.Invalid("/key", "the name of the parameter is required")
	}
	return []step{{method: "VM.add_to_VCPUs_params_live", args: []any{j.a.Key, j.a.Value}, removed: "Running VMs' vCPU parameters can no longer be changed; cpu.params can, for the next start."}}, nil
}

func sendSysrq(ctx context.Context, j *job) ([]step, error) {
	if utf8.RuneCountInString(j.a.Key) != 1 {
		return nil, backends.Invalid("/key", "expected one character")
	}
	return []step{{method: "VM.send_sysrq", args: []any{j.a.Key}, removed: "It takes SysRq keys no longer."}}, nil
}

func sendTrigger(ctx context.Context, j *job) ([]step, error) {
	if j.a.Trigger == "" {
		return nil, backends.Invalid("/trigger", "the name of the trigger is required")
	}
	return []step{{method: "VM.send_trigger", args: []any{j.a.Trigger}, removed: "It takes triggers no longer."}}, nil
}

// checkOperation asks whether there is a way to carry out a verb: XenAPI has several operations for
// some. The reason why not is that of the first way. (A name that is both a verb and an operation
// means the verb.)
func checkOperation(_ context.Context, j *job) ([]step, error) {
	ways := operationsFor(j.a.Action)
	if len(ways) == 0 {
		return nil, backends.Invalid("/action", "expected a verb, or one of XenAPI's operations")
	}
	j.pointer = "/action"
	steps := make([]step, len(ways))
	for i, raw := range ways {
		steps[i] = step{method: assertOperation, args: []any{raw}, asks: true}
	}
	return steps, nil
}

func checkHost(ctx context.Context, j *job) ([]step, error) {
	if j.a.Host == nil {
		return nil, backends.Invalid("/host", "the host to check is required")
	}
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	return []step{{method: "VM.assert_can_boot_here", args: []any{host}, asks: true}}, nil
}

// noAnswer are the refusals that are none of the thing asked about.
var noAnswer = []string{
	"HANDLE_INVALID", "UUID_INVALID", "PERMISSION_DENIED", "RBAC_PERMISSION_DENIED", "USER_IS_NOT_LOCAL_SUPERUSER",
	"HOST_IS_SLAVE", "HOST_STILL_BOOTING", "TOO_BUSY", "TOO_MANY_PENDING_TASKS", "MESSAGE_METHOD_UNKNOWN", "MESSAGE_REMOVED",
}

// check makes an answer of what an assertion said: nothing, or why not.
func check(err error) (*backends.Check, error) {
	if err == nil {
		return &backends.Check{Allowed: true}, nil
	}
	e := backends.AsError(err)
	switch e.Code {
	case backends.WrongState, backends.Conflict, backends.Unprocessable, backends.PermissionDenied,
		backends.UnsupportedByBackend, backends.BackendUnavailable:
		if e.Fault != nil && !slices.Contains(noAnswer, e.Fault.Code) {
			return &backends.Check{Reason: e.Detail, Fault: e.Fault}, nil
		}
	}
	return nil, err
}

// destroy deletes a VM, and its disks where that is asked for. XenAPI deletes a suspended VM as
// readily as a halted one, and its memory with it: only force does so here.
func destroy(ctx context.Context, j *job) ([]step, error) {
	power, err := j.power(ctx)
	if err != nil {
		return nil, err
	}
	var steps []step
	switch {
	case power == halted:
	case isTrue(j.a.Force):
		steps = []step{{method: "VM.hard_shutdown", async: true, forgive: isHalted}}
	case power == suspended:
		return nil, j.wrong("The VM is suspended, and its memory would be lost: resume it and shut it down, or delete it with force.")
	}
	steps = append(steps, task("VM.destroy")...)
	if !j.a.DeleteDisks {
		return steps, nil
	}
	disks, err := j.ownDisks(ctx, j.h)
	if err != nil {
		return nil, err
	}
	for _, disk := range disks {
		steps = append(steps, step{on: disk, method: "VDI.destroy", async: true})
	}
	return steps, nil
}

// isHalted reports whether a VM was not stopped because it had stopped in the meantime.
func isHalted(err error) bool {
	f, ok := asFailure(err)
	return ok && f.code() == "VM_BAD_POWER_STATE" && strings.EqualFold(f.params[len(f.params)-1], halted)
}

// ownDisks are the VM's disks that nobody else uses. Media are not the VM's, and neither is what is
// shared or attached to another VM.
func (l *link) ownDisks(ctx context.Context, vm *handle) ([]*handle, error) {
	v, err := l.on(ctx, vm, "VM.get_VBDs")
	if err != nil {
		return nil, err
	}
	refs, err := stringsOf(v)
	if err != nil {
		return nil, l.d.undecodable("VM.get_VBDs", err)
	}
	n := l.names(false)
	var disks []*handle
	for _, ref := range refs {
		vbd, err := get(ctx, n, "VBD", ref, vbdFields, nil)
		if err != nil {
			return nil, err
		}
		if vbd == nil || vbd.kind != "Disk" {
			continue
		}
		vdi, err := get(ctx, n, "VDI", vbd.vdi, vdiFields, nil)
		if err != nil {
			return nil, err
		}
		if vdi == nil || isTrue(vdi.sharable) || slices.ContainsFunc(vdi.vbds, func(user string) bool { return !slices.Contains(refs, user) }) {
			continue
		}
		disks = append(disks, &handle{object: object{"VDI", vdi.uuid}, ref: vbd.vdi})
	}
	return disks, nil
}

// halfDeleted says what has been done of a deletion, and which disks are still there.
func halfDeleted(_ context.Context, j *job, err error, i int) error {
	e := *backends.AsError(err)
	switch deleted := slices.IndexFunc(j.steps, func(s step) bool { return s.method == "VM.destroy" }); {
	case i > deleted:
		var ids []string
		for _, s := range j.steps[i:] {
			ids = append(ids, j.d.id(s.on.uuid).String())
		}
		e.Detail += " The VM is deleted; still there are its disks " + strings.Join(ids, ", ") + "."
		e.State = nil
	case e.MaybeDone && i < deleted:
		e.Detail += " It is being stopped; it is not deleted."
	case e.MaybeDone && i < len(j.steps)-1:
		e.Detail += " It is being deleted; its disks are still there."
	case i > 0 && !e.MaybeDone:
		e.Detail += " The VM is stopped, and not deleted."
	}
	return &e
}

// diskLeft is halfDeleted for the last disk.
func diskLeft(_ *job, method string, err error) error {
	if method != "VDI.destroy" {
		return err
	}
	e := *backends.AsError(err)
	e.Detail += " The VM is deleted; a disk of it is still there."
	return &e
}

// instantiate makes a VM from a template: a clone, which is a template itself until it is
// provisioned. Several messages, one operation: that of the last.
func instantiate(ctx context.Context, j *job) ([]step, error) {
	template, err := j.vm(ctx, j.h, "displayName", "template", "snapshot")
	if err != nil {
		return nil, err
	}
	if !isTemplate(template) {
		return nil, &backends.Error{Code: backends.NotFound, Detail: "There is no template with this id."}
	}
	name := j.a.DisplayName
	if name == nil {
		name = template.DisplayName
	}
	if name == nil {
		name = new("")
	}
	made := &handle{object: object{class: "VM"}}
	steps := []step{{method: "VM.clone", args: []any{*name}, async: true, makes: made}}
	if j.a.Description != nil {
		steps = append(steps, step{on: made, method: "VM.set_name_description", args: []any{*j.a.Description}})
	}
	return append(steps, step{on: made, method: "VM.provision", async: true}), nil
}

// adopt makes the job about the VM that one of its calls made.
func (j *job) adopt(ctx context.Context, made *handle, r *taskRecord) (err error) {
	made.ref = refPattern.FindString(r.result)
	if made.uuid, err = j.callText(ctx, "VM.get_uuid", made.ref); err != nil {
		return lost(err)
	}
	j.d.refs.learn(made.object, made.ref)
	j.h, j.id, j.subject, j.subRef = made, j.d.id(made.uuid), made.object, made.ref
	return nil
}

// halfMade removes the clone that could not be provisioned, so that a refused request leaves nothing
// behind; if that is not possible either, the error says what is left.
func halfMade(ctx context.Context, j *job, err error, _ int) error {
	made, maybe := j.steps[0].makes, backends.AsError(err).MaybeDone
	switch {
	case made.uuid != "" && maybe:
		return vmLeft(j, "", err)
	case maybe:
		e := *backends.AsError(err)
		e.Detail += " A clone of the template may be made, which is not provisioned: it is a template by the new VM's name."
		return &e
	case made.uuid == "":
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	disks, undo := j.ownDisks(ctx, made)
	if undo == nil {
		_, undo = j.complete(ctx, made, "VM.destroy")
	}
	for _, disk := range disks {
		if undo == nil {
			_, undo = j.complete(ctx, disk, "VDI.destroy")
		}
	}
	if undo == nil {
		return err
	}
	return vmLeft(j, "", and(err, undo))
}

// vmLeft names the VM that was made and not provisioned.
func vmLeft(j *job, _ string, err error) error {
	e := *backends.AsError(err)
	e.Detail += " The new VM, which may not be complete, is " + j.id.String() + "."
	return &e
}
