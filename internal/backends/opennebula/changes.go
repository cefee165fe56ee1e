package opennebula

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"vmgateway/internal/backends"
)

// Create makes a VM: from a template in OpenNebula's own language, from typed members, or from a
// template with members added that it does not say itself.
func (d *Driver) Create(ctx context.Context, s backends.Session, changes []backends.Change) (backends.ID, error) {
	r, err := d.allocation(ctx, s, changes)
	if err != nil {
		return backends.ID{}, err
	}
	vm, err := d.integer(ctx, s, r)
	if err != nil {
		return backends.ID{}, err
	}
	return d.id(vm), nil
}

// allocation is the call that makes a VM.
func (d *Driver) allocation(ctx context.Context, s backends.Session, changes []backends.Change) (request, error) {
	i, err := d.gather(changes)
	if err != nil {
		return request{}, err
	}
	template, err := i.template()
	if err != nil {
		return request{}, err
	}
	r, err := d.detect(ctx, s)
	if err != nil {
		return request{}, err
	}
	args := []any{template}
	switch {
	case r.hasFeature(holdArgument):
		args = append(args, i.hold)
	case i.hold:
		return request{}, d.lacks("/hold", fmt.Sprintf("OpenNebula %s cannot hold a VM from its start.", r))
	}
	return request{method: "one.vm.allocate", args: args, changes: true, asked: askedTemplate}, d.checkHost(ctx, s, i)
}

// template is the intent as a template for a new VM.
func (i *intent) template() (string, error) {
	attrs := i.attributes()
	if i.raw != nil {
		return mergeRaw("/opennebula/template", *i.raw, attrs)
	}
	attrs, err := withCapacity(attrs)
	if err != nil {
		return "", err
	}
	return templateXML(attrs), nil
}

// mergeRaw adds attributes to a template that a client wrote.
func mergeRaw(pointer, text string, attrs []attribute) (string, error) {
	if err := checkRaw(pointer, text); err != nil {
		return "", err
	}
	raw, err := parseRaw(text)
	if err != nil {
		return "", backends.Invalid(pointer, "OpenNebula could not read the template: "+err.Error())
	}
	merged, err := raw.with(attrs)
	if err != nil {
		return "", backends.Invalid(pointer, err.Error())
	}
	return merged, nil
}

// attributes are the typed members.
func (i *intent) attributes() []attribute {
	var attrs []attribute
	if i.name != nil {
		attrs = append(attrs, attribute{name: "NAME", value: *i.name})
	}
	attrs = append(append(attrs, i.capacity...), i.created...)
	for _, section := range slices.Sorted(maps.Keys(i.sections)) {
		if parts := i.sections[section].list(); len(parts) > 0 {
			attrs = append(attrs, attribute{name: section, parts: parts})
		}
	}
	return append(attrs, i.user.list()...)
}

// list are the edits that set something, by name.
func (e edits) list() []attribute {
	var attrs []attribute
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if value := e[name]; value != nil {
			attrs = append(attrs, attribute{name: name, value: *value})
		}
	}
	return attrs
}

// withCapacity fills in what OpenNebula cannot do without: CPU is as many physical ones as there
// are vCPUs, and MEMORY is MEMORY_MAX, unless they are said.
func withCapacity(attrs []attribute) ([]attribute, error) {
	value := func(name string) (string, bool) {
		i := slices.IndexFunc(attrs, func(a attribute) bool { return a.name == name })
		if i < 0 {
			return "", false
		}
		return attrs[i].value, true
	}
	if _, ok := value("CPU"); !ok {
		vcpus, ok := value("VCPU")
		if !ok {
			vcpus = "1"
		}
		attrs = append(attrs, attribute{name: "CPU", value: vcpus})
	}
	most, bounded := value("MEMORY_MAX")
	now, said := value("MEMORY")
	switch {
	case !said && !bounded:
		return nil, backends.Invalid("/memory/dynamicMaxBytes", "a VM needs memory")
	case !said:
		attrs = slices.DeleteFunc(attrs, func(a attribute) bool { return a.name == "MEMORY_MAX" })
		attrs = append(attrs, attribute{name: "MEMORY", value: most})
	case bounded:
		if err := inOrder(now, most, "/memory/staticMaxBytes", "less than dynamicMaxBytes"); err != nil {
			return nil, err
		}
	}
	vcpus, said := value("VCPU")
	if highest, ok := value("VCPU_MAX"); ok && said {
		if err := inOrder(vcpus, highest, "/cpu/maxVcpus", "less than vcpus"); err != nil {
			return nil, err
		}
	}
	return attrs, nil
}

func inOrder(low, high, pointer, detail string) error {
	if a, b := integer(low), integer(high); a != nil && b != nil && *a > *b {
		return backends.Invalid(pointer, detail)
	}
	return nil
}

// patch is a patch under way.
type patch struct {
	d           *Driver
	s           backends.Session
	vm          int
	i           *intent
	r           version
	m           *machine // read when something has to be kept
	user, group int      // the new owner; -1 for what stays
}

// steps is how each step is said, in their order; false when there is nothing to say.
var steps = []func(*patch) (request, bool){
	stepRename: (*patch).rename,
	stepResize: (*patch).resize,
	stepUpdate: (*patch).update,
	stepConf:   (*patch).conf,
	stepChmod:  (*patch).chmod,
	stepChown:  (*patch).chown,
}

// Patch changes a VM by up to six calls. Everything that can be checked is checked before the
// first; when a later one fails, the error lists what was applied.
func (d *Driver) Patch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) error {
	p, err := d.patch(ctx, s, id, changes)
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// patch checks all changes.
func (d *Driver) patch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) (*patch, error) {
	vm, err := d.pathID(id)
	if err != nil {
		return nil, err
	}
	i, err := d.gather(changes)
	if err != nil {
		return nil, err
	}
	r, err := d.detect(ctx, s)
	if err != nil {
		return nil, err
	}
	p := &patch{d: d, s: s, vm: vm, i: i, r: r, user: -1, group: -1}
	return p, p.check(ctx)
}

// check refuses what no later call could do.
func (p *patch) check(ctx context.Context) error {
	if paths := p.i.paths[stepCreate]; len(paths) > 0 {
		return p.unsupported(paths, "OpenNebula takes some of the members only when a VM is made.")
	}
	for step := stepRename; step <= stepChown; step++ {
		if paths, info := p.i.paths[step], stepSince[step]; len(paths) > 0 && !info.in.has(p.r) {
			return p.unsupported(paths, fmt.Sprintf("OpenNebula %s has no %s, which some of the members need.", p.r, info.method))
		}
	}
	if p.needsVM() {
		if err := p.read(ctx); err != nil {
			return err
		}
	}
	if _, pinned := hostOf(p.requirements()); p.i.unpin && pinned {
		p.i.user[attrRequirements] = nil
	}
	if err := p.d.checkHost(ctx, p.s, p.i); err != nil {
		return err
	}
	return p.checkOwner(ctx)
}

func (p *patch) read(ctx context.Context) error {
	if p.m != nil {
		return nil
	}
	m, _, err := p.d.machine(ctx, p.s, p.d.id(p.vm))
	p.m = m
	return err
}

// requirements is what the VM says now, if it was read.
func (p *patch) requirements() string {
	if p.m == nil {
		return ""
	}
	return p.m.user().text(attrRequirements)
}

// checkHost looks whether the host exists that a VM shall prefer: OpenNebula would take any number,
// and the VM would wait for ever. A user who may not see hosts is believed.
func (d *Driver) checkHost(ctx context.Context, s backends.Session, i *intent) error {
	if i.host == nil {
		return nil
	}
	_, err := d.call(ctx, s, request{method: "one.host.info", args: []any{*i.host}, subject: "virtual machine"})
	e := backends.AsError(err)
	switch {
	case err == nil || e.Code == backends.PermissionDenied:
		return nil
	case e.Code == backends.Unprocessable:
		e.Fields = []backends.FieldError{{Pointer: pointerHost, Detail: e.Detail}}
	}
	return e
}

func (p *patch) unsupported(paths []string, detail string) error {
	e := p.d.lacks("", detail)
	for _, path := range paths {
		e.Fields = append(e.Fields, backends.FieldError{Pointer: backends.Pointer(path), Detail: "cannot be changed in this release"})
	}
	return e
}

// needsVM reports whether something has to be read so that it is kept: updateconf replaces whole
// sections, and update can only take attributes away by replacing them all.
func (p *patch) needsVM() bool {
	return p.i.unpin || len(p.i.sections) > 0 || len(p.i.paths[stepUpdate]) > 0 && !p.merges()
}

// merges reports whether one.vm.update can add to what is there.
func (p *patch) merges() bool {
	if p.i.annotations || !p.r.hasFeature(updateAppend) {
		return false
	}
	for _, value := range p.i.user {
		if value == nil {
			return false
		}
	}
	return true
}

// checkOwner looks whether the new owner exists, when other calls would be made before. A user who
// may not see the owner learns it from the call itself.
func (p *patch) checkOwner(ctx context.Context) error {
	if p.i.owner == nil {
		return nil
	}
	var err error
	p.user, p.group, err = p.owner()
	if err != nil || len(p.i.paths) == 1 {
		return err
	}
	for _, of := range []struct {
		id     int
		method string
	}{{p.user, "one.user.info"}, {p.group, "one.group.info"}} {
		if of.id < 0 {
			continue
		}
		_, err := p.d.call(ctx, p.s, request{method: of.method, args: []any{of.id}, subject: "virtual machine"})
		if err != nil && backends.CodeOf(err) != backends.PermissionDenied {
			return err
		}
	}
	return nil
}

// owner is the new owner's numbers; -1 for what stays.
func (p *patch) owner() (user, group int, err error) {
	user, group = -1, -1
	if id := p.i.owner.User; id != nil {
		if user, err = p.d.bodyID("/owner/user/id", *id); err != nil {
			return user, group, err
		}
	}
	if id := p.i.owner.Group; id != nil {
		group, err = p.d.bodyID("/owner/group/id", *id)
	}
	return user, group, err
}

// run makes the calls.
func (p *patch) run(ctx context.Context) error {
	var applied []string
	for at := range steps {
		r, some := p.say(step(at))
		if some {
			if _, err := p.d.integer(ctx, p.s, r); err != nil {
				e := *backends.AsError(err)
				e.Applied, e.NotApplied = applied, p.pathsFrom(step(at))
				return &e
			}
		}
		applied = append(applied, p.i.paths[step(at)]...)
	}
	return nil
}

// say is one step's call; false when the step has nothing to say.
func (p *patch) say(at step) (request, bool) {
	if len(p.i.paths[at]) == 0 {
		return request{}, false
	}
	return steps[at](p)
}

func (p *patch) pathsFrom(first step) []string {
	var paths []string
	for s := first; s <= stepChown; s++ {
		paths = append(paths, p.i.paths[s]...)
	}
	return paths
}

// about is a call of a patch; all of them answer the VM's id.
func (p *patch) about(what asked, method string, args ...any) (request, bool) {
	return request{
		method: method, args: append([]any{p.vm}, args...), changes: true, subject: "virtual machine", asked: what,
	}, true
}

func (p *patch) rename() (request, bool) { return p.about(askedName, "one.vm.rename", *p.i.name) }

func (p *patch) resize() (request, bool) { return resizeRequest(p.vm, p.i.capacity, true), true }

const (
	replaceAll = 0
	mergeInto  = 1
)

func (p *patch) update() (request, bool) {
	if len(p.i.user) == 0 && !p.i.annotations {
		return request{}, false // an empty map of annotations, or nothing to unpin
	}
	if p.merges() {
		return p.about(askedTemplate, "one.vm.update", templateXML(p.i.user.list()), mergeInto)
	}
	args := []any{templateXML(p.userTemplate())}
	if p.r.hasFeature(updateAppend) {
		args = append(args, replaceAll)
	}
	return p.about(askedTemplate, "one.vm.update", args...)
}

// userTemplate is the whole USER_TEMPLATE as it shall be.
func (p *patch) userTemplate() []attribute {
	user := p.m.get("USER_TEMPLATE")
	shown := annotations(user)
	var attrs []attribute
	for _, kid := range user.Kids {
		_, edited := p.i.user[kid.Name]
		_, annotation := shown[kid.Name]
		if !edited && !(annotation && p.i.annotations) {
			attrs = append(attrs, asAttribute(kid))
		}
	}
	return append(attrs, p.i.user.list()...)
}

// confSections are the sections that one.vm.updateconf writes, without CONTEXT and BACKUP_CONFIG,
// which it leaves alone when they are not sent.
var confSections = []string{"OS", "CPU_MODEL", "FEATURES", "INPUT", "GRAPHICS", "VIDEO", "RAW", "TPM", "HYPERV_OPTIONS", "SPICE_OPTIONS"}

// conf sends whole sections. Merging, which oned can since 6.2, only adds; without it the call
// erases what is left out, so that all sections are sent as they shall be.
func (p *patch) conf() (request, bool) {
	merge := p.r.hasFeature(updateconfAppend) && !p.removesConf()
	var attrs []attribute
	for _, name := range confSections {
		if _, edited := p.i.sections[name]; edited {
			if section := p.section(name); len(section.parts) > 0 {
				attrs = append(attrs, section)
			}
			continue
		}
		if !merge {
			for _, rec := range p.m.get("TEMPLATE").all(name) {
				attrs = append(attrs, asAttribute(rec))
			}
		}
	}
	if merge && len(attrs) == 0 {
		return request{}, false // an empty map of params
	}
	args := []any{templateXML(attrs)}
	if p.r.hasFeature(updateconfAppend) {
		args = append(args, updateType(merge))
	}
	return p.about(askedTemplate, "one.vm.updateconf", args...)
}

func updateType(merge bool) int {
	if merge {
		return mergeInto
	}
	return replaceAll
}

// removesConf reports whether the edits take something away.
func (p *patch) removesConf() bool {
	for _, edited := range p.i.sections {
		for _, value := range edited {
			if value == nil {
				return true
			}
		}
	}
	return false
}

// section is a section as it shall be: what is there, with the edits.
func (p *patch) section(name string) attribute {
	edited := p.i.sections[name]
	a := attribute{name: name}
	if !slices.Contains(p.i.emptied, name) {
		for _, part := range asAttribute(p.m.get("TEMPLATE").get(name)).parts {
			if _, ok := edited[part.name]; !ok {
				a.parts = append(a.parts, part)
			}
		}
	}
	a.parts = append(a.parts, edited.list()...)
	return a
}

func (p *patch) chmod() (request, bool) {
	perms := p.i.permissions
	args := make([]any, 0, 9)
	for _, circle := range []backends.PermissionBitsPatch{perms.Owner, perms.Group, perms.Other} {
		for _, bit := range []*bool{circle.Use, circle.Manage, circle.Admin} {
			args = append(args, permissionBit(bit))
		}
	}
	return p.about(askedOther, "one.vm.chmod", args...)
}

// permissionBit is 1, 0, or -1 for one that stays.
func permissionBit(bit *bool) int {
	switch {
	case bit == nil:
		return -1
	case *bit:
		return 1
	}
	return 0
}

func (p *patch) chown() (request, bool) {
	return p.about(askedOther, "one.vm.chown", p.user, p.group)
}
