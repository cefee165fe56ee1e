package opennebula

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
)

// call is a verb's row: the releases that have it, the members of its body that mean something
// here, and how it is done.
type call struct {
	in    span
	takes []string // pointers
	run   func(*act) (*backends.Operation, error)
}

// calls is every verb that OpenNebula has. A row that says "first" reads the VM before it acts,
// because oned would otherwise succeed with something else, or with nothing; all others are one
// call, whose refusal the caller explains.
//
// Sources: src/rm/RequestManagerVirtualMachine.cc and RequestManagerVMTemplate.cc of each release.
var calls = map[backends.Verb]call{
	"start":     {span{}, []string{"/host", "/datastore", "/enforce"}, first(start)},
	"shutdown":  {span{}, []string{"/mode"}, byMode("poweroff", "poweroff-hard", goalPoweroff)},
	"reboot":    {span{}, []string{"/mode"}, byMode("reboot", "reboot-hard", goalNone)},
	"suspend":   {span{}, nil, simple("suspend", goalSuspended)},
	"resume":    {span{}, []string{"/host", "/datastore", "/enforce"}, resume},
	"stop":      {span{}, nil, simple("stop", goalStopped)},
	"undeploy":  {since(4, 0), []string{"/mode"}, byMode("undeploy", "undeploy-hard", goalUndeployed)},
	"hold":      {span{}, nil, simple("hold", goalNone)},
	"release":   {span{}, nil, simple("release", goalNone)},
	"deploy":    {span{}, []string{"/host", "/datastore", "/enforce"}, deploy},
	"terminate": {span{}, []string{"/mode"}, first(notDone(byMode("terminate", "terminate-hard", goalDone)))},
	"recreate":  {span{}, nil, first(recreate)},
	"recover":   {since(4, 0, 1), []string{"/outcome"}, first(recoverVM)},
	"migrate":   {span{}, []string{"/host", "/datastore", "/live", "/coldMode", "/enforce"}, first(migrate)},
	"resize":    {features[resizeMethod], []string{"/vcpus", "/cpuShare", "/memory", "/live", "/enforce"}, resize},

	backends.VerbDelete:      {span{}, []string{"/force"}, first(notDone(deleteVM))},
	backends.VerbSaveDisk:    {span{}, []string{"/imageName", "/imageType", "/snapshot"}, saveDisk},
	backends.VerbInstantiate: {span{}, []string{"/displayName", "/description", "/hold", "/extraTemplate"}, instantiate},
}

// verbCheckOperation is answered from the table of actions.
const verbCheckOperation backends.Verb = "checkOperation"

// Can reports whether there is a row for v in the release last seen.
func (d *Driver) Can(v backends.Verb) bool {
	row, ok := calls[v]
	return v == verbCheckOperation || ok && row.in.has(d.known())
}

// act is one verb under way.
type act struct {
	d    *Driver
	ctx  context.Context
	s    backends.Session
	verb backends.Verb
	id   int
	a    backends.Args
	r    version
	m    *machine // read before, by rows that say "first"
}

// Do runs a verb. See [backends.Driver].
func (d *Driver) Do(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (any, error) {
	n, err := d.pathID(id)
	if err != nil {
		return nil, err
	}
	if v == verbCheckOperation {
		return d.checkOperation(ctx, s, id, a)
	}
	row, ok := calls[v]
	if !ok {
		return nil, d.lacks("", fmt.Sprintf("OpenNebula has no way to do %q.", v))
	}
	if err := d.checkArgs(a, row.takes); err != nil {
		return nil, err
	}
	r, err := d.detect(ctx, s)
	if err != nil {
		return nil, err
	}
	if !row.in.has(r) {
		return nil, d.lacks("", fmt.Sprintf("OpenNebula %s has no way to do %q.", r, v))
	}
	operation, err := row.run(&act{d: d, ctx: ctx, s: s, verb: v, id: n, a: a, r: r})
	if err != nil {
		return nil, err
	}
	return operation, nil
}

// argSet is a row of which members of a body were sent. A false that only says the default counts
// as not sent.
type argSet struct {
	pointer string
	sent    func(a backends.Args) bool
}

var argSets = []argSet{
	{"/mode", func(a backends.Args) bool { return a.Mode != "" }},
	{"/host", func(a backends.Args) bool { return a.Host != nil }},
	{"/datastore", func(a backends.Args) bool { return a.Datastore != nil }},
	{"/storage", func(a backends.Args) bool { return a.Storage != nil }},
	{"/live", func(a backends.Args) bool { return a.Live != nil }},
	{"/coldMode", func(a backends.Args) bool { return a.ColdMode != "" }},
	{"/force", func(a backends.Args) bool { return isTrue(a.Force) }},
	{"/compress", func(a backends.Args) bool { return isTrue(a.Compress) }},
	{"/network", func(a backends.Args) bool { return a.Network != nil }},
	{"/enforce", func(a backends.Args) bool { return a.Enforce != nil }},
	{"/startPaused", func(a backends.Args) bool { return isTrue(a.StartPaused) }},
	{"/outcome", func(a backends.Args) bool { return a.Outcome != "" }},
	{"/displayName", func(a backends.Args) bool { return a.DisplayName != nil }},
	{"/description", func(a backends.Args) bool { return a.Description != nil }},
	{"/hold", func(a backends.Args) bool { return isTrue(a.Hold) }},
	{"/extraTemplate", func(a backends.Args) bool { return a.ExtraTemplate != nil }},
	{"/vcpus", func(a backends.Args) bool { return a.VCPUs != nil }},
	{"/cpuShare", func(a backends.Args) bool { return a.CPUShare != nil }},
	{"/memory", func(a backends.Args) bool { return a.Memory != nil }},
	{"/key", func(a backends.Args) bool { return a.Key != "" }},
	{"/value", func(a backends.Args) bool { return a.Value != "" }},
	{"/trigger", func(a backends.Args) bool { return a.Trigger != "" }},
	{"/action", func(a backends.Args) bool { return a.Action != "" }},
	{"/imageName", func(a backends.Args) bool { return a.ImageName != "" }},
	{"/imageType", func(a backends.Args) bool { return a.ImageType != "" }},
	{"/snapshot", func(a backends.Args) bool { return a.Snapshot != nil }},
}

func isTrue(b *bool) bool { return b != nil && *b }

// checkArgs refuses what would be left unsaid: a member that this backend has no word for.
func (d *Driver) checkArgs(a backends.Args, takes []string) error {
	for _, set := range argSets {
		if set.sent(a) && !slices.Contains(takes, set.pointer) {
			return d.lacks(set.pointer, fmt.Sprintf("OpenNebula has no %q for this verb: leave it out.", strings.TrimPrefix(set.pointer, "/")))
		}
	}
	if a.DeleteDisks {
		e := d.lacks("", "OpenNebula deletes a VM's own disks with it and keeps persistent images: leave deleteDisks out.")
		e.Fields = []backends.FieldError{{Parameter: "deleteDisks", Detail: "this backend does not have it"}}
		return e
	}
	return nil
}

// vmRequest is a call about the VM.
func (a *act) vmRequest(method string, args ...any) request {
	return request{method: method, args: args, changes: true, subject: "virtual machine"}
}

// action sends one.vm.action, in which the name stands before the id, under the release's name.
func (a *act) action(name string) error {
	word, ok := a.r.word(name)
	if !ok {
		return a.d.lacks("/mode", fmt.Sprintf("OpenNebula %s has no action %q.", a.r, name))
	}
	_, err := a.d.integer(a.ctx, a.s, a.vmRequest("one.vm.action", word, a.id))
	return err
}

// simple is a verb that is one action.
func simple(name string, g goal) func(*act) (*backends.Operation, error) {
	return func(a *act) (*backends.Operation, error) {
		if err := a.action(name); err != nil {
			return nil, err
		}
		return a.begun(g), nil
	}
}

// byMode is a verb whose mode chooses the action. AUTO is GRACEFUL: nothing at OpenNebula waits for
// a guest and then forces it.
func byMode(graceful, force string, g goal) func(*act) (*backends.Operation, error) {
	names := map[string]string{"": graceful, "AUTO": graceful, "GRACEFUL": graceful, "FORCE": force}
	return func(a *act) (*backends.Operation, error) {
		name, ok := names[a.a.Mode]
		if !ok {
			return nil, backends.Invalid("/mode", "expected AUTO, GRACEFUL or FORCE")
		}
		return simple(name, g)(a)
	}
}

// first reads the VM before the verb is run.
func first(run func(*act) (*backends.Operation, error)) func(*act) (*backends.Operation, error) {
	return func(a *act) (*backends.Operation, error) {
		m, _, err := a.d.machine(a.ctx, a.s, a.d.id(a.id))
		if err != nil {
			return nil, err
		}
		a.m = m
		return run(a)
	}
}

// notDone refuses a VM that is deleted already: oned would answer success and do nothing.
func notDone(run func(*act) (*backends.Operation, error)) func(*act) (*backends.Operation, error) {
	return func(a *act) (*backends.Operation, error) {
		if a.m.at.state == stDone {
			return nil, a.wrongState("one.vm.action", "The VM is deleted already.")
		}
		return run(a)
	}
}

func (a *act) wrongState(method, detail string) error {
	return a.d.wrongState(method, a.m, a.r, detail)
}

// start says what the state needs: the VM is resumed, released, or deployed on the host given.
func start(a *act) (*backends.Operation, error) {
	if a.a.Host != nil {
		if !allows(a.m.at, a.r, "deploy") {
			return nil, a.wrongState("one.vm.deploy", "A host can only be chosen for a VM that is not on one: one that is pending, held, stopped or undeployed.")
		}
		return deploy(a)
	}
	for _, row := range allowed(a.m.at, a.r) {
		if row.Action != a.verb {
			continue
		}
		if err := a.deploymentOnly(); err != nil {
			return nil, err
		}
		if _, err := a.d.integer(a.ctx, a.s, a.vmRequest("one.vm.action", row.Raw, a.id)); err != nil {
			return nil, err
		}
		return a.begun(goalStarted), nil
	}
	return nil, a.wrongState("one.vm.action", "The VM is not in a state in which it can be started.")
}

// resume is an action, or, with a host, a deployment of a VM that has none.
func resume(a *act) (*backends.Operation, error) {
	if a.a.Host == nil {
		if err := a.deploymentOnly(); err != nil {
			return nil, err
		}
		return simple("resume", goalStarted)(a)
	}
	return first(func(a *act) (*backends.Operation, error) {
		// one.vm.deploy would take a VM that never ran too, which is not resuming.
		if a.m.at.state != stStopped && a.m.at.state != stUndeployed {
			return nil, a.wrongState("one.vm.deploy", "A host can only be chosen when a stopped or undeployed VM is resumed.")
		}
		return deploy(a)
	})(a)
}

// deploymentOnly refuses what only a deployment could use.
func (a *act) deploymentOnly() error {
	if a.a.Datastore != nil || a.a.Enforce != nil {
		return backends.Invalid("/host", "datastore and enforce need a host")
	}
	return nil
}

// target is the host and the system datastore that the body names; -1 where it names none.
func (a *act) target() (host, storage int, err error) {
	storage = -1
	if a.a.Host == nil {
		return 0, 0, backends.Invalid("/host", "a host is needed")
	}
	if host, err = a.d.bodyID("/host", *a.a.Host); err != nil {
		return 0, 0, err
	}
	if a.a.Datastore != nil {
		storage, err = a.d.bodyID("/datastore", *a.a.Datastore)
	}
	return host, storage, err
}

func deploy(a *act) (*backends.Operation, error) {
	host, storage, err := a.target()
	if err != nil {
		return nil, err
	}
	if storage >= 0 && !a.r.hasFeature(deployDatastore) {
		return nil, a.d.lacks("/datastore", fmt.Sprintf("OpenNebula %s cannot choose a datastore.", a.r))
	}
	args := []any{a.id, host}
	if args, err = a.withEnforce(args); err != nil {
		return nil, err
	}
	if a.r.hasFeature(deployDatastore) {
		args = append(args, storage)
	}
	if a.r.hasFeature(deployExtra) {
		args = append(args, "")
	}
	if _, err := a.d.integer(a.ctx, a.s, a.vmRequest("one.vm.deploy", args...)); err != nil {
		return nil, err
	}
	return a.begun(goalRunningOn(host)), nil
}

// withEnforce adds whether the host's capacity is checked, where the release can.
func (a *act) withEnforce(args []any) ([]any, error) {
	if a.r.hasFeature(enforceArgument) {
		return append(args, isTrue(a.a.Enforce)), nil
	}
	if isTrue(a.a.Enforce) {
		return nil, a.d.lacks("/enforce", fmt.Sprintf("OpenNebula %s cannot check the host's capacity.", a.r))
	}
	return args, nil
}

// coldModes are the migration types of 5.8 and later.
var coldModes = map[string]int{"": 0, "SAVE": 0, "POWEROFF": 1, "POWEROFF_HARD": 2}

// migrate moves the VM. Asked for a live migration of a VM that is not running, oned migrates it
// cold and says nothing, so the state is looked at first.
func migrate(a *act) (*backends.Operation, error) {
	host, storage, err := a.target()
	if err != nil {
		return nil, err
	}
	live := a.a.Live == nil || *a.a.Live
	kind, known := coldModes[a.a.ColdMode]
	switch {
	case !known:
		return nil, backends.Invalid("/coldMode", "expected SAVE, POWEROFF or POWEROFF_HARD")
	case live && a.a.ColdMode != "":
		return nil, backends.Invalid("/coldMode", "a live migration has no cold mode: say live false")
	case kind > 0 && !a.r.hasFeature(migrateKind):
		return nil, a.d.lacks("/coldMode", fmt.Sprintf("OpenNebula %s migrates cold by saving the VM only.", a.r))
	case storage >= 0 && !a.r.hasFeature(migrateDatastore):
		return nil, a.d.lacks("/datastore", fmt.Sprintf("OpenNebula %s cannot choose a datastore.", a.r))
	case live && !allows(a.m.at, a.r, "live-migrate"):
		return nil, a.wrongState("one.vm.migrate", "Only a running VM can be migrated live. To move it as it is, say live false.")
	}
	args := []any{a.id, host, live}
	if args, err = a.withEnforce(args); err != nil {
		return nil, err
	}
	if a.r.hasFeature(migrateDatastore) {
		args = append(args, storage)
	}
	if a.r.hasFeature(migrateKind) {
		args = append(args, kind)
	}
	if _, err := a.d.integer(a.ctx, a.s, a.vmRequest("one.vm.migrate", args...)); err != nil {
		return nil, err
	}
	return a.begun(goalMoved(live, host, storage)), nil
}

// recovery is a row of what recover can do. Through is what says it: a number of one.vm.recover, or
// up to 4.12, where that took a boolean, an action.
type recovery struct {
	number int
	raw    string // in the table of actions
	goal   func(before place) goal
}

// recoveries are the outcomes. FAILURE, SUCCESS and RETRY on a VM that is well, and DELETE on one
// that is deleted, succeed at OpenNebula without doing anything: the table of actions has none of
// them, so they are refused here.
var recoveries = map[string]recovery{
	"FAILURE":   {0, "recover-failure", goalLeft(true)},
	"SUCCESS":   {1, "recover-success", goalLeft(false)},
	"RETRY":     {2, "recover-retry", goalLeft(false)},
	"DELETE":    {3, "recover-delete", always(goalDone)},
	"RECREATE":  {4, "recover-recreate", always(goalRecreated)},
	"DELETE_DB": {5, "recover-delete-db", always(goalDone)},
}

func always(g goal) func(place) goal { return func(place) goal { return g } }

// recoverSince is the first release that knows a number of one.vm.recover.
var recoverSince = []version{v(4, 0, 1), v(4, 0, 1), v(4, 14), v(5, 0), v(5, 0), v(5, 8)}

func recoverVM(a *act) (*backends.Operation, error) {
	row, ok := recoveries[a.a.Outcome]
	if !ok {
		return nil, backends.Invalid("/outcome", "expected FAILURE, SUCCESS, RETRY, DELETE, RECREATE or DELETE_DB")
	}
	if a.r.before(recoverSince[row.number]) {
		return nil, a.d.lacks("/outcome", fmt.Sprintf("OpenNebula %s cannot recover with %s.", a.r, a.a.Outcome))
	}
	if !allows(a.m.at, a.r, row.raw) {
		return nil, a.wrongState("one.vm.recover", fmt.Sprintf("There is nothing to recover with %s in this state.", a.a.Outcome))
	}
	if err := a.recover(row.number); err != nil {
		return nil, err
	}
	return a.begun(row.goal(a.m.at)), nil
}

func (a *act) recover(number int) error {
	var how any = number
	if !a.r.hasFeature(recoverNumber) {
		how = number == 1 // whether the pending operation shall count as a success
	}
	_, err := a.d.integer(a.ctx, a.s, a.vmRequest("one.vm.recover", a.id, how))
	return err
}

// recreate puts the VM back to where it was made: recover 4 since 5.0, an action before.
func recreate(a *act) (*backends.Operation, error) {
	if !slices.ContainsFunc(allowed(a.m.at, a.r), func(x backends.AllowedAction) bool { return x.Action == "recreate" }) {
		return nil, a.wrongState("one.vm.recover", "The VM is not in a state in which it can be recreated.")
	}
	var err error
	if _, old := a.r.word("recreate"); old {
		err = a.action("recreate")
	} else {
		err = a.recover(recoveries["RECREATE"].number)
	}
	if err != nil {
		return nil, err
	}
	return a.begun(goalRecreated), nil
}

// deleteVM ends the VM: terminate-hard, which its owner may, or by force recover 3, which needs
// ADMIN and asks no driver. Before 5.0 there was only the latter, as an action.
func deleteVM(a *act) (*backends.Operation, error) {
	var err error
	switch _, old := a.r.word("delete"); {
	case old:
		err = a.action("delete")
	case isTrue(a.a.Force):
		err = a.recover(recoveries["DELETE"].number)
	default:
		err = a.action("terminate-hard")
	}
	if err != nil {
		return nil, err
	}
	return a.begun(goalDone), nil
}

// resize changes CPU, vCPUs and memory. Asked for one or the other on purpose, the state is looked
// at first: oned takes what the state needs.
func resize(a *act) (*backends.Operation, error) {
	attrs, err := resizeAttributes(a.a)
	if err != nil {
		return nil, err
	}
	if a.a.Live != nil {
		return first(func(a *act) (*backends.Operation, error) {
			switch isRunning := a.m.at.is(stActive, lcmRunning); {
			case *a.a.Live && !a.r.hasFeature(liveResize):
				return nil, a.d.lacks("/live", fmt.Sprintf("OpenNebula %s cannot resize a running VM.", a.r))
			case *a.a.Live && !isRunning:
				return nil, a.wrongState("one.vm.resize", "Only a running VM can be resized live.")
			case !*a.a.Live && isRunning:
				return nil, a.wrongState("one.vm.resize", "The VM runs: shut it down first, or resize it live.")
			}
			return sendResize(a, attrs)
		})(a)
	}
	return sendResize(a, attrs)
}

func sendResize(a *act, attrs []attribute) (*backends.Operation, error) {
	enforce := a.a.Enforce == nil || *a.a.Enforce
	if err := a.d.resize(a.ctx, a.s, a.id, attrs, enforce); err != nil {
		return nil, err
	}
	return a.begun(goalSized(attrs)), nil
}

// resize calls one.vm.resize, which checks the host's capacity with enforce.
func (d *Driver) resize(ctx context.Context, s backends.Session, vm int, attrs []attribute, enforce bool) error {
	_, err := d.integer(ctx, s, request{
		method: "one.vm.resize", args: []any{vm, templateXML(attrs), enforce}, changes: true, subject: "virtual machine", asked: askedTemplate,
	})
	return err
}

// resizeAttributes are the attributes that one.vm.resize reads.
func resizeAttributes(a backends.Args) ([]attribute, error) {
	var attrs []attribute
	add := func(pointer, name string, value any) error {
		text, err := sizes[name](pointer, value)
		attrs = append(attrs, attribute{name: name, value: text})
		return err
	}
	var err error
	if a.VCPUs != nil {
		err = add("/vcpus", "VCPU", *a.VCPUs)
	}
	if err == nil && a.CPUShare != nil {
		err = add("/cpuShare", "CPU", *a.CPUShare)
	}
	if err == nil && a.Memory != nil {
		m := *a.Memory
		if m.DynamicMaxBytes == nil || m != (backends.Memory{DynamicMaxBytes: m.DynamicMaxBytes}) {
			return nil, backends.Invalid("/memory", "OpenNebula resizes dynamicMaxBytes only")
		}
		err = add("/memory/dynamicMaxBytes", "MEMORY", *m.DynamicMaxBytes)
	}
	if err == nil && len(attrs) == 0 {
		err = backends.Invalid("", "expected one of vcpus, cpuShare, memory")
	}
	return attrs, err
}

// saveDisk copies a disk into a new image, whose id it answers. Up to 4.12 oned took the call in any
// state, and where the VM did not run nothing ever came of it, so the state is looked at first.
func saveDisk(a *act) (*backends.Operation, error) {
	if a.r.hasFeature(saveDiskAs) {
		return sendSaveDisk(a)
	}
	return first(func(a *act) (*backends.Operation, error) {
		if !allows(a.m.at, a.r, "savedisk") {
			return nil, a.wrongState("one.vm.savedisk", "Only the disk of a running VM can be saved.")
		}
		return sendSaveDisk(a)
	})(a)
}

func sendSaveDisk(a *act) (*backends.Operation, error) {
	disk, ok := number(a.a.Disk)
	if !ok {
		return nil, &backends.Error{Code: backends.NotFound, Detail: "The VM has no disk with this id."}
	}
	if err := checkName("/imageName", a.a.ImageName); err != nil {
		return nil, err
	}
	if err := checkValue("/imageType", a.a.ImageType); err != nil {
		return nil, err
	}
	method, args := "one.vm.savedisk", []any{a.id, disk, a.a.ImageName, a.a.ImageType}
	if a.r.hasFeature(saveDiskAs) {
		snapshot, err := snapshotArg(a.a.Snapshot)
		if err != nil {
			return nil, err
		}
		method, args = "one.vm.disksaveas", append(args, snapshot)
	} else if a.a.Snapshot != nil {
		return nil, a.d.lacks("/snapshot", fmt.Sprintf("OpenNebula %s has no disk snapshots.", a.r))
	}
	r := a.vmRequest(method, args...)
	r.asked = askedDisk
	image, err := a.d.integer(a.ctx, a.s, r)
	if err != nil {
		return nil, err
	}
	return a.begun(goalImage(image)), nil
}

// snapshotArg is the disk snapshot to save, -1 for the disk as it is.
func snapshotArg(n *int64) (int, error) {
	if n == nil {
		return -1, nil
	}
	id, ok := number(strconv.FormatInt(*n, 10))
	if !ok {
		return 0, backends.Invalid("/snapshot", "expected the number of a disk snapshot")
	}
	return id, nil
}

// instantiate makes a VM from a template, which then is the path's object.
func instantiate(a *act) (*backends.Operation, error) {
	name := ""
	if a.a.DisplayName != nil {
		name = *a.a.DisplayName
		if err := checkName("/displayName", name); err != nil {
			return nil, err
		}
	}
	extra, err := a.extra()
	if err != nil {
		return nil, err
	}
	args := []any{a.id, name}
	switch {
	case a.r.hasFeature(extraTemplate):
		args = append(args, isTrue(a.a.Hold), extra)
	case extra != "" || isTrue(a.a.Hold):
		return nil, a.d.lacks("", fmt.Sprintf("OpenNebula %s makes VMs from a template as it is.", a.r))
	}
	if a.r.hasFeature(persistentTemplate) {
		args = append(args, false)
	}
	vm, err := a.d.integer(a.ctx, a.s, request{
		method: "one.template.instantiate", args: args, changes: true, subject: "virtual machine template", asked: askedTemplate,
	})
	if err != nil {
		return nil, err
	}
	return a.begun(goalMade(vm)), nil
}

// extra is the template that is merged into the one instantiated.
func (a *act) extra() (string, error) {
	var attrs []attribute
	if a.a.Description != nil {
		if err := checkValue("/description", *a.a.Description); err != nil {
			return "", err
		}
		attrs = append(attrs, attribute{name: "DESCRIPTION", value: *a.a.Description})
	}
	if a.a.ExtraTemplate == nil || strings.TrimSpace(*a.a.ExtraTemplate) == "" {
		if len(attrs) == 0 {
			return "", nil
		}
		return templateXML(attrs), nil
	}
	return mergeRaw("/extraTemplate", *a.a.ExtraTemplate, attrs)
}

// checkOperation says whether the VM's present state allows a verb, or an action under OpenNebula's
// name. It is the driver's table that answers: OpenNebula has no such call.
func (d *Driver) checkOperation(ctx context.Context, s backends.Session, id backends.ID, a backends.Args) (*backends.Check, error) {
	if err := d.checkArgs(a, []string{"/action"}); err != nil {
		return nil, err
	}
	if !knownAction(a.Action) {
		return nil, backends.Invalid("/action", "neither a verb of this API nor an action of OpenNebula")
	}
	if v := backends.Verb(a.Action); isVerb(v) && !d.Can(v) {
		return &backends.Check{Reason: fmt.Sprintf("OpenNebula has no way to do %q.", v)}, nil
	}
	m, r, err := d.machine(ctx, s, id)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(allowed(m.at, r), func(x backends.AllowedAction) bool {
		if isVerb(backends.Verb(a.Action)) { // "shutdown" is a verb that keeps the VM, and an old name of one that does not
			return string(x.Action) == a.Action
		}
		return x.Raw == a.Action
	}) {
		return &backends.Check{Allowed: true}, nil
	}
	return &backends.Check{Reason: fmt.Sprintf("OpenNebula %s does not allow it while the VM is in %s.", r, m.at.name(r))}, nil
}

func isVerb(v backends.Verb) bool {
	_, ok := backends.LookUp(v)
	return ok
}
