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
// here, and how it is said.
type call struct {
	in    span
	takes []string // pointers
	say   func(*act) (deed, error)
}

// deed is what a row makes of a request: the one call that changes something. Do sends it, PlanDo
// shows it.
type deed struct {
	request request
	raw     string                // what the table of actions calls it; "" when it is not about a VM
	goal    func(result int) goal // where the result leads
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
	if v == verbCheckOperation {
		return d.checkOperation(ctx, s, id, a)
	}
	act, row, err := d.begin(ctx, s, v, id, a)
	if err != nil {
		return nil, err
	}
	deed, err := row.say(act)
	if err != nil {
		return nil, err
	}
	result, err := d.integer(ctx, s, deed.request)
	if err != nil {
		return nil, err
	}
	return act.begun(deed.goal(result)), nil
}

// begin checks a request as far as that takes no VM.
func (d *Driver) begin(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (*act, call, error) {
	n, err := d.pathID(id)
	if err != nil {
		return nil, call{}, err
	}
	row, ok := calls[v]
	if !ok {
		return nil, row, d.lacks("", fmt.Sprintf("OpenNebula has no way to do %q.", v))
	}
	if err := d.checkArgs(a, row.takes); err != nil {
		return nil, row, err
	}
	r, err := d.detect(ctx, s)
	if err != nil {
		return nil, row, err
	}
	if !row.in.has(r) {
		return nil, row, d.lacks("", fmt.Sprintf("OpenNebula %s has no way to do %q.", r, v))
	}
	return &act{d: d, ctx: ctx, s: s, verb: v, id: n, a: a, r: r}, row, nil
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

// about is a call about the VM.
func (a *act) about(raw string, g goal, method string, args ...any) deed {
	r := request{method: method, args: args, changes: true, subject: "virtual machine"}
	return deed{r, raw, func(int) goal { return g }}
}

// action is one.vm.action, in which the name stands before the id, under the release's name.
func (a *act) action(name string, g goal) (deed, error) {
	word, ok := a.r.word(name)
	if !ok {
		return deed{}, a.d.lacks("/mode", fmt.Sprintf("OpenNebula %s has no action %q.", a.r, name))
	}
	return a.about(word, g, "one.vm.action", word, a.id), nil
}

// simple is a verb that is one action.
func simple(name string, g goal) func(*act) (deed, error) {
	return func(a *act) (deed, error) { return a.action(name, g) }
}

// byMode is a verb whose mode chooses the action. AUTO is GRACEFUL: nothing at OpenNebula waits for
// a guest and then forces it.
func byMode(graceful, force string, g goal) func(*act) (deed, error) {
	names := map[string]string{"": graceful, "AUTO": graceful, "GRACEFUL": graceful, "FORCE": force}
	return func(a *act) (deed, error) {
		name, ok := names[a.a.Mode]
		if !ok {
			return deed{}, backends.Invalid("/mode", "expected AUTO, GRACEFUL or FORCE")
		}
		return a.action(name, g)
	}
}

// first reads the VM before the verb is said, if nobody has.
func first(say func(*act) (deed, error)) func(*act) (deed, error) {
	return func(a *act) (deed, error) {
		if err := a.read(); err != nil {
			return deed{}, err
		}
		return say(a)
	}
}

func (a *act) read() error {
	if a.m != nil {
		return nil
	}
	m, _, err := a.d.machine(a.ctx, a.s, a.d.id(a.id))
	a.m = m
	return err
}

// notDone refuses a VM that is deleted already: oned would answer success and do nothing.
func notDone(say func(*act) (deed, error)) func(*act) (deed, error) {
	return func(a *act) (deed, error) {
		if a.m.at.state == stDone {
			return deed{}, a.wrongState("one.vm.action", "The VM is deleted already.")
		}
		return say(a)
	}
}

func (a *act) wrongState(method, detail string) error {
	return a.d.wrongState(method, a.m, a.r, detail)
}

// start says what the state needs: the VM is resumed, released, or deployed on the host given.
func start(a *act) (deed, error) {
	if a.a.Host != nil {
		if !allows(a.m.at, a.r, "deploy") {
			return deed{}, a.wrongState("one.vm.deploy", "A host can only be chosen for a VM that is not on one: one that is pending, held, stopped or undeployed.")
		}
		return deploy(a)
	}
	for _, row := range allowed(a.m.at, a.r) {
		if row.Action != a.verb {
			continue
		}
		if err := a.deploymentOnly(); err != nil {
			return deed{}, err
		}
		return a.about(row.Raw, goalStarted, "one.vm.action", row.Raw, a.id), nil
	}
	return deed{}, a.wrongState("one.vm.action", "The VM is not in a state in which it can be started.")
}

// resume is an action, or, with a host, a deployment of a VM that has none.
func resume(a *act) (deed, error) {
	if a.a.Host == nil {
		if err := a.deploymentOnly(); err != nil {
			return deed{}, err
		}
		return a.action("resume", goalStarted)
	}
	return first(func(a *act) (deed, error) {
		// one.vm.deploy would take a VM that never ran too, which is not resuming.
		if a.m.at.state != stStopped && a.m.at.state != stUndeployed {
			return deed{}, a.wrongState("one.vm.deploy", "A host can only be chosen when a stopped or undeployed VM is resumed.")
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

func deploy(a *act) (deed, error) {
	host, storage, err := a.target()
	if err != nil {
		return deed{}, err
	}
	if storage >= 0 && !a.r.hasFeature(deployDatastore) {
		return deed{}, a.d.lacks("/datastore", fmt.Sprintf("OpenNebula %s cannot choose a datastore.", a.r))
	}
	args := []any{a.id, host}
	if args, err = a.withEnforce(args); err != nil {
		return deed{}, err
	}
	if a.r.hasFeature(deployDatastore) {
		args = append(args, storage)
	}
	if a.r.hasFeature(deployExtra) {
		args = append(args, "")
	}
	return a.about("deploy", goalRunningOn(host), "one.vm.deploy", args...), nil
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
func migrate(a *act) (deed, error) {
	host, storage, err := a.target()
	if err != nil {
		return deed{}, err
	}
	live := a.a.Live == nil || *a.a.Live
	kind, known := coldModes[a.a.ColdMode]
	switch {
	case !known:
		return deed{}, backends.Invalid("/coldMode", "expected SAVE, POWEROFF or POWEROFF_HARD")
	case live && a.a.ColdMode != "":
		return deed{}, backends.Invalid("/coldMode", "a live migration has no cold mode: say live false")
	case kind > 0 && !a.r.hasFeature(migrateKind):
		return deed{}, a.d.lacks("/coldMode", fmt.Sprintf("OpenNebula %s migrates cold by saving the VM only.", a.r))
	case storage >= 0 && !a.r.hasFeature(migrateDatastore):
		return deed{}, a.d.lacks("/datastore", fmt.Sprintf("OpenNebula %s cannot choose a datastore.", a.r))
	case live && !allows(a.m.at, a.r, "live-migrate"):
		return deed{}, a.wrongState("one.vm.migrate", "Only a running VM can be migrated live. To move it as it is, say live false.")
	}
	args := []any{a.id, host, live}
	if args, err = a.withEnforce(args); err != nil {
		return deed{}, err
	}
	if a.r.hasFeature(migrateDatastore) {
		args = append(args, storage)
	}
	if a.r.hasFeature(migrateKind) {
		args = append(args, kind)
	}
	raw := map[bool]string{true: "live-migrate", false: "migrate"}[live]
	return a.about(raw, goalMoved(live, host, storage), "one.vm.migrate", args...), nil
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

func recoverVM(a *act) (deed, error) {
	row, ok := recoveries[a.a.Outcome]
	if !ok {
		return deed{}, backends.Invalid("/outcome", "expected FAILURE, SUCCESS, RETRY, DELETE, RECREATE or DELETE_DB")
	}
	if a.r.before(recoverSince[row.number]) {
		return deed{}, a.d.lacks("/outcome", fmt.Sprintf("OpenNebula %s cannot recover with %s.", a.r, a.a.Outcome))
	}
	if !allows(a.m.at, a.r, row.raw) {
		return deed{}, a.wrongState("one.vm.recover", fmt.Sprintf("There is nothing to recover with %s in this state.", a.a.Outcome))
	}
	return a.recover(row, row.goal(a.m.at)), nil
}

func (a *act) recover(row recovery, g goal) deed {
	return a.about(row.raw, g, "one.vm.recover", a.id, a.r.outcome(row.number))
}

// outcome is the second argument of one.vm.recover.
func (r version) outcome(number int) any {
	if r.hasFeature(recoverNumber) {
		return number
	}
	return number == 1 // whether the pending operation shall count as a success
}

// recreate puts the VM back to where it was made: recover 4 since 5.0, an action before.
func recreate(a *act) (deed, error) {
	if !slices.ContainsFunc(allowed(a.m.at, a.r), func(x backends.AllowedAction) bool { return x.Action == "recreate" }) {
		return deed{}, a.wrongState("one.vm.recover", "The VM is not in a state in which it can be recreated.")
	}
	if _, old := a.r.word("recreate"); old {
		return a.action("recreate", goalRecreated)
	}
	return a.recover(recoveries["RECREATE"], goalRecreated), nil
}

// deleteVM ends the VM: terminate-hard, which its owner may, or by force recover 3, which needs
// ADMIN and asks no driver. Before 5.0 there was only the latter, as an action.
func deleteVM(a *act) (deed, error) {
	switch _, old := a.r.word("delete"); {
	case old:
		return a.action("delete", goalDone)
	case isTrue(a.a.Force):
		return a.recover(recoveries["DELETE"], goalDone), nil
	}
	return a.action("terminate-hard", goalDone)
}

// resize changes CPU, vCPUs and memory. Asked for one or the other on purpose, the state is looked
// at first: oned takes what the state needs.
func resize(a *act) (deed, error) {
	attrs, err := resizeAttributes(a.a)
	if err != nil {
		return deed{}, err
	}
	if a.a.Live != nil {
		return first(func(a *act) (deed, error) {
			switch isRunning := a.m.at.doing(lcmRunning); {
			case *a.a.Live && !a.r.hasFeature(liveResize):
				return deed{}, a.d.lacks("/live", fmt.Sprintf("OpenNebula %s cannot resize a running VM.", a.r))
			case *a.a.Live && !isRunning:
				return deed{}, a.wrongState("one.vm.resize", "Only a running VM can be resized live.")
			case !*a.a.Live && isRunning:
				return deed{}, a.wrongState("one.vm.resize", "The VM runs: shut it down first, or resize it live.")
			}
			return sayResize(a, attrs), nil
		})(a)
	}
	return sayResize(a, attrs), nil
}

func sayResize(a *act, attrs []attribute) deed {
	enforce := a.a.Enforce == nil || *a.a.Enforce
	return deed{resizeRequest(a.id, attrs, enforce), "resize", func(int) goal { return goalSized(attrs) }}
}

// resizeRequest is one.vm.resize, which checks the host's capacity with enforce.
func resizeRequest(vm int, attrs []attribute, enforce bool) request {
	return request{
		method: "one.vm.resize", args: []any{vm, templateXML(attrs), enforce}, changes: true, subject: "virtual machine", asked: askedTemplate,
	}
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
func saveDisk(a *act) (deed, error) {
	if a.r.hasFeature(saveDiskAs) {
		return saySaveDisk(a)
	}
	return first(func(a *act) (deed, error) {
		if !allows(a.m.at, a.r, "savedisk") {
			return deed{}, a.wrongState("one.vm.savedisk", "Only the disk of a running VM can be saved.")
		}
		return saySaveDisk(a)
	})(a)
}

func saySaveDisk(a *act) (deed, error) {
	disk, ok := number(a.a.Disk)
	if !ok {
		return deed{}, &backends.Error{Code: backends.NotFound, Detail: "The VM has no disk with this id."}
	}
	if err := checkName("/imageName", a.a.ImageName); err != nil {
		return deed{}, err
	}
	if err := checkValue("/imageType", a.a.ImageType); err != nil {
		return deed{}, err
	}
	raw, args := "savedisk", []any{a.id, disk, a.a.ImageName, a.a.ImageType}
	if a.r.hasFeature(saveDiskAs) {
		snapshot, err := snapshotArg(a.a.Snapshot)
		if err != nil {
			return deed{}, err
		}
		raw, args = "disk-saveas", append(args, snapshot)
	} else if a.a.Snapshot != nil {
		return deed{}, a.d.lacks("/snapshot", fmt.Sprintf("OpenNebula %s has no disk snapshots.", a.r))
	}
	said := a.about(raw, goalNone, "one.vm."+strings.ReplaceAll(raw, "-", ""), args...)
	said.request.asked, said.goal = askedDisk, goalImage
	return said, nil
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
func instantiate(a *act) (deed, error) {
	name := ""
	if a.a.DisplayName != nil {
		name = *a.a.DisplayName
		if err := checkName("/displayName", name); err != nil {
			return deed{}, err
		}
	}
	extra, err := a.extra()
	if err != nil {
		return deed{}, err
	}
	args := []any{a.id, name}
	switch {
	case a.r.hasFeature(extraTemplate):
		args = append(args, isTrue(a.a.Hold), extra)
	case extra != "" || isTrue(a.a.Hold):
		return deed{}, a.d.lacks("", fmt.Sprintf("OpenNebula %s makes VMs from a template as it is.", a.r))
	}
	if a.r.hasFeature(persistentTemplate) {
		args = append(args, false)
	}
	return deed{goal: goalMade, request: request{
		method: "one.template.instantiate", args: args, changes: true, subject: subjectTemplate, asked: askedTemplate,
	}}, nil
}

// subjectTemplate is OpenNebula's noun of a template.
const subjectTemplate = "virtual machine template"

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
