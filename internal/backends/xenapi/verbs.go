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
	// do carries it out: *backends.Operation, *backends.Check, or nil for verbs that answer with the VM.
	do func(context.Context, *job) (any, error)
}

// job is a verb under way.
type job struct {
	*link
	h    *handle // the VM
	verb backends.Verb
	id   backends.ID
	a    backends.Args
}

// calls says each verb in XenAPI's words; a verb without a row is one that XenAPI does not have. The
// long ones go out as Async.VM.…. Source: xen-api ocaml/idl/datamodel_vm.ml.
//
// Check-first, because XenAPI would do something else in silence: resume (a paused VM), migrate (to
// the host where the VM is), delete (a suspended VM), copy (to a storage that does not exist),
// resize (which call it is depends on the state) and instantiate (of what is not a template).
var calls = map[backends.Verb]call{
	"start":           {"started", []string{"VM.start", "VM.start_on"}, start},
	"shutdown":        {"shut down", []string{"VM.shutdown", "VM.clean_shutdown", "VM.hard_shutdown"}, shutdown},
	"reboot":          {"rebooted", []string{"VM.clean_reboot", "VM.hard_reboot"}, reboot},
	"suspend":         {"suspended", []string{"VM.suspend"}, plain("VM.suspend")},
	"resume":          {"resumed", []string{"VM.resume", "VM.resume_on", "VM.unpause"}, resume},
	"pause":           {"paused", []string{"VM.pause"}, plain("VM.pause")},
	"unpause":         {"unpaused", []string{"VM.unpause"}, plain("VM.unpause")},
	"migrate":         {"migrated", []string{"VM.pool_migrate"}, migrate},
	"resize":          {"resized", []string{"VM.set_VCPUs_number_live", "VM.set_memory_dynamic_range", "VM.set_memory_limits"}, resize},
	"clone":           {"cloned", []string{"VM.clone"}, clone},
	"copy":            {"copied", []string{"VM.copy"}, copyVM},
	"provision":       {"provisioned", []string{"VM.provision"}, plain("VM.provision")},
	"resetPowerState": {"reset", []string{"VM.power_state_reset"}, plain("VM.power_state_reset")},

	"setVcpuParam":          {"given a vCPU parameter", nil, setVcpuParam},
	"sendSysrq":             {"sent a SysRq key", nil, sendSysrq},
	"sendTrigger":           {"sent a trigger", nil, sendTrigger},
	"refreshAllowedActions": {"asked for this", nil, atOnce("VM.update_allowed_operations")},
	"checkOperation":        {"asked for this", nil, checkOperation},
	"checkHost":             {"asked for this", nil, checkHost},

	backends.VerbDelete:      {"deleted", []string{"VM.destroy", "VDI.destroy"}, destroy},
	backends.VerbInstantiate: {"instantiated", []string{"VM.provision"}, instantiate},
}

// Can reports whether XenAPI has a verb; all releases have the same. That the newer ones do not
// carry some out (setVcpuParam, sendSysrq, sendTrigger) only they can say.
func (d *Driver) Can(v backends.Verb) bool {
	_, ok := calls[v]
	return ok
}

// Do starts a verb.
func (d *Driver) Do(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (any, error) {
	row, ok := calls[v]
	if !ok {
		return nil, d.unsupported("XenAPI has no way to do " + string(v) + ".")
	}
	if err := d.refuse(a); err != nil {
		return nil, err
	}
	l := d.link(s)
	l.doing = row.doing
	h, err := l.open(ctx, "VM", id)
	if err != nil {
		return nil, err
	}
	return row.do(ctx, &job{link: l, h: h, verb: v, id: id, a: a})
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
func plain(method string) func(context.Context, *job) (any, error) {
	return func(ctx context.Context, j *job) (any, error) { return j.run(ctx, j.h, method) }
}

// atOnce is a message with the VM alone that answers when it is done.
func atOnce(method string) func(context.Context, *job) (any, error) {
	return func(ctx context.Context, j *job) (any, error) {
		_, err := j.on(ctx, j.h, method)
		return nil, err
	}
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

func start(ctx context.Context, j *job) (any, error) {
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	paused, force := isTrue(j.a.StartPaused), isTrue(j.a.Force)
	if host != "" {
		return j.run(ctx, j.h, "VM.start_on", host, paused, force)
	}
	return j.run(ctx, j.h, "VM.start", paused, force)
}

// resume unpauses a paused VM, for which VM.resume has only a refusal.
func resume(ctx context.Context, j *job) (any, error) {
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	startPaused, force := isTrue(j.a.StartPaused), isTrue(j.a.Force)
	if host != "" {
		return j.run(ctx, j.h, "VM.resume_on", host, startPaused, force)
	}
	power, err := j.power(ctx)
	if err != nil {
		return nil, err
	}
	if power == paused && !startPaused {
		return j.run(ctx, j.h, "VM.unpause")
	}
	return j.run(ctx, j.h, "VM.resume", startPaused, force)
}

const (
	modeAuto     = "AUTO"
	modeGraceful = "GRACEFUL"
	modeForce    = "FORCE"
)

func shutdown(ctx context.Context, j *job) (any, error) {
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
		return j.run(ctx, j.h, "VM.shutdown")
	case modeGraceful:
		return j.run(ctx, j.h, "VM.clean_shutdown")
	case modeForce:
		return j.run(ctx, j.h, "VM.hard_shutdown")
	}
	return nil, badMode()
}

func reboot(ctx context.Context, j *job) (any, error) {
	switch j.a.Mode {
	case "", modeGraceful:
		return j.run(ctx, j.h, "VM.clean_reboot")
	case modeForce:
		return j.run(ctx, j.h, "VM.hard_reboot")
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
func migrate(ctx context.Context, j *job) (any, error) {
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
	return j.run(ctx, j.h, "VM.pool_migrate", host, options)
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

func clone(ctx context.Context, j *job) (any, error) {
	name, err := j.newName(ctx)
	if err != nil {
		return nil, err
	}
	return j.run(ctx, j.h, "VM.clone", name)
}

// copyVM makes full disks, on the storage that is asked for or each where it is: xapi takes a
// storage that does not exist for "where it is".
func copyVM(ctx context.Context, j *job) (any, error) {
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
	return j.run(ctx, j.h, "VM.copy", name, storage)
}

func setVcpuParam(ctx context.Context, j *job) (any, error) {
	if j.a.Key == "" {
		return nil, backends.Invalid("/key", "the name of the parameter is required")
	}
	_, err := j.on(ctx, j.h, "VM.add_to_VCPUs_params_live", j.a.Key, j.a.Value)
	return nil, j.notCarriedOut(err, "Running VMs' vCPU parameters can no longer be changed; cpu.params can, for the next start.")
}

func sendSysrq(ctx context.Context, j *job) (any, error) {
	if utf8.RuneCountInString(j.a.Key) != 1 {
		return nil, backends.Invalid("/key", "expected one character")
	}
	_, err := j.on(ctx, j.h, "VM.send_sysrq", j.a.Key)
	return nil, j.notCarriedOut(err, "It takes SysRq keys no longer.")
}

func sendTrigger(ctx context.Context, j *job) (any, error) {
	if j.a.Trigger == "" {
		return nil, backends.Invalid("/trigger", "the name of the trigger is required")
	}
	_, err := j.on(ctx, j.h, "VM.send_trigger", j.a.Trigger)
	return nil, j.notCarriedOut(err, "It takes triggers no longer.")
}

// notCarriedOut says what today's xapi means with NOT_IMPLEMENTED.
func (j *job) notCarriedOut(err error, why string) error {
	if refusedBy(err, "NOT_IMPLEMENTED") {
		e := *backends.AsError(err)
		e.Detail += " " + why
		return &e
	}
	return err
}

// checkOperation asks whether there is a way to carry out a verb: XenAPI has several operations for
// some. The reason why not is that of the first way. (A name that is both a verb and an operation
// means the verb.)
func checkOperation(ctx context.Context, j *job) (any, error) {
	ways := operationsFor(j.a.Action)
	if len(ways) == 0 {
		return nil, backends.Invalid("/action", "expected a verb, or one of XenAPI's operations")
	}
	j.pointer = "/action"
	var first *backends.Check
	for _, raw := range ways {
		_, err := j.on(ctx, j.h, "VM.assert_operation_valid", raw)
		c, err := check(err)
		if err != nil {
			return nil, err
		}
		if c.Allowed {
			return c, nil
		}
		if first == nil {
			first = c
		}
	}
	return first, nil
}

func checkHost(ctx context.Context, j *job) (any, error) {
	if j.a.Host == nil {
		return nil, backends.Invalid("/host", "the host to check is required")
	}
	host, err := j.host(ctx)
	if err != nil {
		return nil, err
	}
	_, err = j.on(ctx, j.h, "VM.assert_can_boot_here", host)
	c, err := check(err)
	if err != nil {
		return nil, err
	}
	return c, nil
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
func destroy(ctx context.Context, j *job) (any, error) {
	power, err := j.power(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case power == halted:
	case isTrue(j.a.Force):
		if err := j.kill(ctx); err != nil {
			return nil, err
		}
	case power == suspended:
		return nil, j.wrong("The VM is suspended, and its memory would be lost: resume it and shut it down, or delete it with force.")
	}
	var disks []*handle
	if j.a.DeleteDisks {
		if disks, err = j.ownDisks(ctx, j.h); err != nil {
			return nil, err
		}
	}
	if len(disks) == 0 {
		return j.run(ctx, j.h, "VM.destroy")
	}
	if _, err := j.complete(ctx, j.h, "VM.destroy"); err != nil {
		return nil, err
	}
	return j.destroyDisks(ctx, disks)
}

// destroyDisks destroys what a VM has left behind; the operation is that of the last disk.
func (j *job) destroyDisks(ctx context.Context, disks []*handle) (*backends.Operation, error) {
	last := len(disks) - 1
	for i, disk := range disks[:last] {
		if _, err := j.complete(ctx, disk, "VDI.destroy"); err != nil {
			return nil, j.leftOver(err, disks[i:])
		}
	}
	o, err := j.run(ctx, disks[last], "VDI.destroy")
	if err != nil {
		return nil, j.leftOver(err, disks[last:])
	}
	return o, nil
}

// kill stops a VM at once. One that has stopped in the meantime is no error.
func (j *job) kill(ctx context.Context) error {
	_, err := j.complete(ctx, j.h, "VM.hard_shutdown")
	if f, ok := asFailure(err); ok && f.code() == "VM_BAD_POWER_STATE" && strings.EqualFold(f.params[len(f.params)-1], halted) {
		return nil
	}
	return err
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

// leftOver says which disks are still there after the VM has gone.
func (j *job) leftOver(err error, disks []*handle) error {
	ids := make([]string, len(disks))
	for i, d := range disks {
		ids[i] = j.d.id(d.uuid).String()
	}
	e := *backends.AsError(err)
	e.Detail += " The VM is deleted; still there are its disks " + strings.Join(ids, ", ") + "."
	e.State = nil
	return &e
}

// instantiate makes a VM from a template: a clone, which is a template itself until it is
// provisioned. Two messages, one operation: that of the second.
func instantiate(ctx context.Context, j *job) (any, error) {
	v, err := j.on(ctx, j.h, "VM.get_record")
	if err != nil {
		return nil, err
	}
	template, err := record(vmFields, v)
	if err != nil {
		return nil, j.d.undecodable("VM.get_record", err)
	}
	if !isTemplate(template) {
		return nil, &backends.Error{Code: backends.NotFound, Detail: "There is no template with this id."}
	}
	name := template.label
	if j.a.DisplayName != nil {
		name = *j.a.DisplayName
	}
	made, err := j.complete(ctx, j.h, "VM.clone", name)
	if err != nil {
		return nil, err
	}
	vm := &handle{ref: refPattern.FindString(made.result)}
	vm.class = "VM"
	if vm.uuid, err = j.callText(ctx, "VM.get_uuid", vm.ref); err != nil {
		return nil, lost(err)
	}
	j.d.refs.learn(vm.object, vm.ref)
	// From here on the operation is about the new VM.
	j.h, j.id, j.subject, j.subRef = vm, j.d.id(vm.uuid), vm.object, vm.ref
	o, err := j.provision(ctx)
	if err != nil {
		return nil, j.unmake(ctx, err)
	}
	return o, nil
}

func (j *job) provision(ctx context.Context) (*backends.Operation, error) {
	if j.a.Description != nil {
		if _, err := j.on(ctx, j.h, "VM.set_name_description", *j.a.Description); err != nil {
			return nil, err
		}
	}
	return j.run(ctx, j.h, "VM.provision")
}

// unmake removes the clone that could not be provisioned, so that a refused request leaves nothing
// behind; if that is not possible either, the error says what is left.
func (j *job) unmake(ctx context.Context, err error) error {
	if backends.AsError(err).MaybeDone {
		return j.leftVM(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	disks, undo := j.ownDisks(ctx, j.h)
	if undo == nil {
		_, undo = j.complete(ctx, j.h, "VM.destroy")
	}
	for _, disk := range disks {
		if undo == nil {
			_, undo = j.complete(ctx, disk, "VDI.destroy")
		}
	}
	if undo == nil {
		return err
	}
	return j.leftVM(and(err, undo))
}

func (j *job) leftVM(err error) error {
	e := *backends.AsError(err)
	e.Detail += " The new VM, which may not be complete, is " + j.id.String() + "."
	return &e
}
