package xenapi

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"vmgateway/internal/backends"
)

// member is a writable member's row: where its value stands in a record of the class VM, and how it
// is said. Its setter is VM.set_<field>, where the row has no other way.
type member struct {
	field string
	since api
	// say turns a value into XenAPI's, or refuses it; null comes as the row's none.
	say func(ctx context.Context, l *link, pointer string, value any) (any, error)
	// none is what XenAPI says for "not set"; nil where the member cannot be removed.
	none any
	// keys is set for maps, of which single keys are changed.
	keys bool
	// late puts the call behind all others.
	late bool
}

// writable is every member that XenAPI lets clients write. vCPUs and memory are set together (see
// plan), all others one by one in the order of backends.Members. Source: xen-api
// ocaml/idl/datamodel_vm.ml.
var writable = map[string]member{
	"displayName":                 {field: "name_label", say: sayText},
	"description":                 {field: "name_description", say: sayText, none: ""},
	"template":                    {field: "is_a_template", say: sayBool},
	"cpu.vcpus":                   {field: "VCPUs_at_startup", say: sayCount(1)},
	"cpu.maxVcpus":                {field: "VCPUs_max", say: sayCount(1)},
	"cpu.params":                  {field: "VCPUs_params", say: sayMap, keys: true},
	"memory.staticMaxBytes":       {field: "memory_static_max", say: sayCount(1)},
	"memory.dynamicMaxBytes":      {field: "memory_dynamic_max", say: sayCount(1)},
	"memory.dynamicMinBytes":      {field: "memory_dynamic_min", say: sayCount(1)},
	"memory.staticMinBytes":       {field: "memory_static_min", say: sayCount(1)},
	"boot.domainType":             {field: "domain_type", since: kolkata, say: sayOneOf("hvm", "pv", "pv_in_pvh", "pvh", "unspecified"), late: true},
	"boot.pv.bootloader":          {field: "PV_bootloader", say: sayText, none: ""},
	"boot.pv.kernel":              {field: "PV_kernel", say: sayText, none: ""},
	"boot.pv.ramdisk":             {field: "PV_ramdisk", say: sayText, none: ""},
	"boot.pv.args":                {field: "PV_args", say: sayText, none: ""},
	"boot.pv.bootloaderArgs":      {field: "PV_bootloader_args", say: sayText, none: ""},
	"boot.pv.legacyArgs":          {field: "PV_legacy_args", say: sayText, none: ""},
	"boot.hvm.policy":             {field: "HVM_boot_policy", say: sayText, none: ""},
	"boot.hvm.params":             {field: "HVM_boot_params", say: sayMap, keys: true},
	"platform":                    {field: "platform", say: sayMap, keys: true},
	"placement.preferredHost":     {field: "affinity", say: sayRef("host"), none: nullRef},
	"lifecyclePolicy.onShutdown":  {field: "actions_after_shutdown", say: sayOneOf("destroy", "restart")},
	"lifecyclePolicy.onReboot":    {field: "actions_after_reboot", say: sayOneOf("destroy", "restart")},
	"lifecyclePolicy.onCrash":     {field: "actions_after_crash", say: sayOneOf("destroy", "coredump_and_destroy", "restart", "coredump_and_restart", "preserve", "rename_restart")},
	"annotations":                 {field: "other_config", say: sayMap, keys: true},
	"xenapi.userVersion":          {field: "user_version", say: sayCount(math.MinInt64)},
	"xenapi.suspendDisk":          {field: "suspend_VDI", since: boston, say: sayRef("VDI"), none: nullRef},
	"xenapi.pciBus":               {field: "PCI_bus", say: sayText, none: ""},
	"xenapi.recommendations":      {field: "recommendations", say: sayText, none: ""},
	"xenapi.tags":                 {field: "tags", say: sayTexts},
	"xenapi.blockedOperations":    {field: "blocked_operations", say: sayBlocked, keys: true},
	"xenapi.haAlwaysRun":          {field: "ha_always_run", say: sayBool},
	"xenapi.haRestartPriority":    {field: "ha_restart_priority", say: sayText, none: ""},
	"xenapi.startOrder":           {field: "order", since: boston, say: sayCount(0)},
	"xenapi.startDelaySeconds":    {field: "start_delay", since: boston, say: sayCount(0)},
	"xenapi.shutdownDelaySeconds": {field: "shutdown_delay", since: boston, say: sayCount(0)},
	"xenapi.shadowMultiplier":     {field: "HVM_shadow_multiplier", since: miami, say: sayMultiplier},
	"xenapi.xenstoreData":         {field: "xenstore_data", since: miami, say: sayMap, keys: true},
}

// Writes reports whether the release last seen has a member to write.
func (d *Driver) Writes(path string) bool {
	m, ok := writable[path]
	return ok && d.has(m.since)
}

// The ways to say a value.

func sayText(_ context.Context, _ *link, pointer string, v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, backends.Invalid(pointer, "expected a string")
	}
	return s, checkText(pointer, s)
}

func sayBool(_ context.Context, _ *link, pointer string, v any) (any, error) {
	b, ok := v.(bool)
	if !ok {
		return nil, backends.Invalid(pointer, "expected a boolean")
	}
	return b, nil
}

// sayCount says an integer in decimal, as text: XML-RPC's own has 32 bits.
func sayCount(least int64) func(context.Context, *link, string, any) (any, error) {
	return func(_ context.Context, _ *link, pointer string, v any) (any, error) {
		n, ok := v.(int64)
		if !ok {
			return nil, backends.Invalid(pointer, "expected an integer")
		}
		if n < least {
			return nil, backends.Invalid(pointer, "must not be less than "+decimal(least))
		}
		return decimal(n), nil
	}
}

func sayMultiplier(_ context.Context, _ *link, pointer string, v any) (any, error) {
	f, ok := v.(float64)
	if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, backends.Invalid(pointer, "expected a number")
	}
	if f < 1 {
		return nil, backends.Invalid(pointer, "must not be less than 1")
	}
	return f, nil
}

// sayOneOf keeps to XenAPI's enumerations: any other value would be an INTERNAL_ERROR there.
func sayOneOf(values ...string) func(context.Context, *link, string, any) (any, error) {
	return func(_ context.Context, _ *link, pointer string, v any) (any, error) {
		s, ok := v.(string)
		if !ok || !slices.Contains(values, s) {
			return nil, backends.Invalid(pointer, "expected one of "+strings.Join(values, ", "))
		}
		return s, nil
	}
}

func sayRef(class string) func(context.Context, *link, string, any) (any, error) {
	return func(ctx context.Context, l *link, pointer string, v any) (any, error) {
		id, ok := v.(backends.ID)
		if !ok {
			return nil, backends.Invalid(pointer, "expected an id")
		}
		return l.find(ctx, pointer, class, id)
	}
}

func sayTexts(_ context.Context, _ *link, pointer string, v any) (any, error) {
	all, ok := v.([]string)
	if !ok {
		return nil, backends.Invalid(pointer, "expected an array of strings")
	}
	for i, s := range all {
		if err := checkText(fmt.Sprintf("%s/%d", pointer, i), s); err != nil {
			return nil, err
		}
	}
	return slices.Clip(append([]string{}, all...)), nil
}

// sayMap gives the map itself: what is done with a null depends on whether the VM exists.
func sayMap(_ context.Context, _ *link, pointer string, v any) (any, error) {
	m, ok := v.(map[string]*string)
	if !ok {
		return nil, backends.Invalid(pointer, "expected an object of strings")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := pointer + "/" + escapePointer(key)
		if err := checkText(at, key); err != nil {
			return nil, err
		}
		if m[key] == nil {
			continue
		}
		if err := checkText(at, *m[key]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func sayBlocked(ctx context.Context, l *link, pointer string, v any) (any, error) {
	said, err := sayMap(ctx, l, pointer, v)
	if err != nil {
		return nil, err
	}
	for key := range said.(map[string]*string) {
		if _, ok := operationByName[key]; !ok {
			return nil, backends.Invalid(pointer+"/"+escapePointer(key), "not one of XenAPI's operations")
		}
	}
	return said, nil
}

func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// checkText refuses what xapi answers with HTTP 500: control characters but tab and line ends,
// surrogates, U+FFFE and U+FFFF.
func checkText(pointer, s string) error {
	if !utf8.ValidString(s) {
		return backends.Invalid(pointer, "not valid UTF-8")
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return backends.Invalid(pointer, fmt.Sprintf("the character U+%04X cannot be sent to XenAPI", r))
		}
	}
	return nil
}

// said is a change in XenAPI's words.
type said struct {
	member
	path  string
	value any
}

// say checks all changes and says them, before any call that changes something.
func (l *link) say(ctx context.Context, changes []backends.Change) ([]said, error) {
	all := make([]said, 0, len(changes))
	for _, c := range changes {
		m, ok := writable[c.Path]
		pointer := backends.Pointer(c.Path)
		if !ok || !l.d.has(m.since) {
			e := l.d.unsupported("XenAPI has no member " + c.Path + " to write in this release.")
			e.Fields = []backends.FieldError{{Pointer: pointer, Detail: "this backend does not have it"}}
			return nil, e
		}
		s := said{member: m, path: c.Path}
		switch {
		case c.Value == nil && m.keys:
			s.value = nil
		case c.Value == nil && m.none == nil:
			return nil, backends.Invalid(pointer, "cannot be removed")
		case c.Value == nil:
			s.value = m.none
		default:
			value, err := m.say(ctx, l, pointer, c.Value)
			if err != nil {
				return nil, err
			}
			s.value = value
		}
		all = append(all, s)
	}
	return all, nil
}

// Patch changes a VM. Nothing is sent before everything that can be checked has been.
func (d *Driver) Patch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) error {
	l, h, steps, err := d.patch(ctx, s, id, changes)
	if err != nil {
		return err
	}
	for i, s := range steps {
		l.pointer = backends.Pointer(s.members[0])
		if err := l.take(ctx, h, s); err != nil {
			return halfWay(err, steps, i)
		}
	}
	return nil
}

// patch is a change that can be begun: its VM, and its calls.
func (d *Driver) patch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) (*link, *handle, []step, error) {
	l := d.link(s)
	l.doing = "changed like this"
	h, err := l.open(ctx, "VM", id)
	if err != nil {
		return nil, nil, nil, err
	}
	all, err := l.say(ctx, changes)
	if err != nil {
		return nil, nil, nil, err
	}
	steps, err := l.plan(ctx, h, all, changes)
	return l, h, steps, err
}

// plan is the calls of a patch in their order: those that depend on each other first, and domain_type
// behind HVM_boot_policy, whose setter writes both.
func (l *link) plan(ctx context.Context, h *handle, all []said, changes []backends.Change) ([]step, error) {
	together, err := l.together(ctx, h, changes)
	if err != nil {
		return nil, err
	}
	var steps, late []step
	for _, s := range all {
		switch {
		case strings.HasPrefix(s.path, "memory.") || s.path == "cpu.vcpus" || s.path == "cpu.maxVcpus":
			steps = append(steps, together...)
			together = nil
		case s.late:
			late = append(late, s.steps()...)
		default:
			steps = append(steps, s.steps()...)
		}
	}
	return append(steps, late...), nil
}

// steps are the calls for one member. XenAPI has no call that changes a key: it is removed, which is
// no error when it is not there, and added.
func (s said) steps() []step {
	members := []string{s.path}
	if !s.keys {
		return []step{{members: members, method: "VM.set_" + s.field, args: []any{s.value}}}
	}
	keys, ok := s.value.(map[string]*string)
	if !ok {
		return []step{{members: members, method: "VM.set_" + s.field, args: []any{map[string]string{}}}}
	}
	var steps []step
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		steps = append(steps, step{members: members, method: "VM.remove_from_" + s.field, args: []any{key}})
		if value := keys[key]; value != nil {
			steps = append(steps, step{members: members, method: "VM.add_to_" + s.field, args: []any{key, *value}})
		}
	}
	return steps
}

// together are the calls for vCPUs and memory, whose limits must fit what the VM has.
func (l *link) together(ctx context.Context, h *handle, changes []backends.Change) ([]step, error) {
	asked, paths := changedLimits(changes)
	vcpus, most := changed(changes, "cpu.vcpus"), changed(changes, "cpu.maxVcpus")
	if !asked.any() && vcpus == nil && most == nil {
		return nil, nil
	}
	vm, err := l.vm(ctx, h, "rawState", "cpu", "memory")
	if err != nil {
		return nil, err
	}
	now := cpuOf(vm)
	var steps []step
	if vcpus != nil || most != nil {
		if err := checkVCPUs(valueOr(vcpus, now.VCPUs), valueOr(most, now.MaxVCPUs), vcpuPointer(vcpus)); err != nil {
			return nil, err
		}
		steps = vcpuSteps(now, vcpus, most)
	}
	if !asked.any() {
		return steps, nil
	}
	limits := limitsOf(vm.Memory).with(asked)
	if err := limits.check(asked); err != nil {
		return nil, err
	}
	return append(steps, memorySteps(limits, asked.static(), vm.RawState.PowerState == running, paths)...), nil
}

func vcpuPointer(vcpus *int64) string {
	if vcpus == nil {
		return "/cpu/maxVcpus"
	}
	return "/cpu/vcpus"
}

func valueOr(n, def *int64) int64 {
	if n != nil {
		return *n
	}
	return value(def)
}

func changed(changes []backends.Change, path string) *int64 {
	if v, ok := backends.Lookup(changes, path); ok {
		if n, ok := v.(int64); ok {
			return &n
		}
	}
	return nil
}

func changedLimits(changes []backends.Change) (a askedLimits, paths []string) {
	for path, into := range map[string]**int64{
		"memory.staticMinBytes": &a.staticMin, "memory.dynamicMinBytes": &a.dynamicMin,
		"memory.dynamicMaxBytes": &a.dynamicMax, "memory.staticMaxBytes": &a.staticMax,
	} {
		if *into = changed(changes, path); *into != nil {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return a, paths
}

// Create makes a VM: a record without disks and interfaces. xapi wants 25 members and checks nothing,
// so all is checked here, and what was not said gets the defaults of defaultRecord.
func (d *Driver) Create(ctx context.Context, s backends.Session, changes []backends.Change) (backends.ID, error) {
	l := d.link(s)
	create, err := l.create(ctx, changes)
	if err != nil {
		return backends.ID{}, err
	}
	v, err := l.call(ctx, create.method, create.args...)
	if err != nil {
		return backends.ID{}, err
	}
	ref, err := str(v)
	if err != nil {
		return backends.ID{}, lost(d.undecodable(create.method, err))
	}
	uuid, err := l.callText(ctx, "VM.get_uuid", ref)
	if err != nil {
		return backends.ID{}, lost(err)
	}
	d.refs.learn(object{"VM", uuid}, ref)
	return d.id(uuid), nil
}

// create is the call that makes a VM of members; it has no object yet.
func (l *link) create(ctx context.Context, changes []backends.Change) (step, error) {
	all, err := l.say(ctx, changes)
	if err != nil {
		return step{}, err
	}
	vm := defaultRecord()
	for _, s := range all {
		vm[s.field] = s.forCreate()
	}
	if err := completeRecord(vm, changes); err != nil {
		return step{}, err
	}
	return step{method: "VM.create", args: []any{vm}}, nil
}

// forCreate is the value for a VM that has none yet: a null key is one that is not there.
func (s said) forCreate() any {
	if !s.keys {
		return s.value
	}
	out := map[string]string{}
	keys, _ := s.value.(map[string]*string)
	for key, value := range keys {
		if value != nil {
			out[key] = *value
		}
	}
	return out
}

// defaultRecord is what VM.create requires, with the defaults of the gateway, but for what
// completeRecord settles.
func defaultRecord() map[string]any {
	vm := map[string]any{
		"name_label": "", "name_description": "", "user_version": "1", "is_a_template": false, "affinity": nullRef,
		"actions_after_shutdown": "destroy", "actions_after_reboot": "restart", "actions_after_crash": "restart",
	}
	for _, field := range []string{
		"PV_bootloader", "PV_kernel", "PV_ramdisk", "PV_args", "PV_bootloader_args", "PV_legacy_args", "PCI_bus", "recommendations",
	} {
		vm[field] = ""
	}
	for _, field := range []string{"VCPUs_params", "HVM_boot_params", "platform", "other_config"} {
		vm[field] = map[string]string{}
	}
	return vm
}

// completeRecord settles what depends on other members: memory, vCPUs and how the VM boots.
func completeRecord(vm map[string]any, changes []backends.Change) error {
	asked, _ := changedLimits(changes)
	if asked.staticMax == nil {
		return backends.Invalid("/memory/staticMaxBytes", "XenAPI requires it")
	}
	var l limits
	l.staticMax = *asked.staticMax
	l.dynamicMax = valueOr(asked.dynamicMax, &l.staticMax)
	l.dynamicMin = valueOr(asked.dynamicMin, &l.dynamicMax)
	l.staticMin = valueOr(asked.staticMin, &l.dynamicMin)
	if err := l.check(asked); err != nil {
		return err
	}
	vm["memory_static_max"], vm["memory_dynamic_max"] = decimal(l.staticMax), decimal(l.dynamicMax)
	vm["memory_dynamic_min"], vm["memory_static_min"] = decimal(l.dynamicMin), decimal(l.staticMin)

	one := int64(1)
	most := changed(changes, "cpu.maxVcpus")
	vcpus := valueOr(changed(changes, "cpu.vcpus"), &one)
	if err := checkVCPUs(vcpus, valueOr(most, &vcpus), "/cpu/vcpus"); err != nil {
		return err
	}
	vm["VCPUs_at_startup"], vm["VCPUs_max"] = decimal(vcpus), decimal(valueOr(most, &vcpus))

	if _, ok := vm["HVM_boot_policy"]; !ok {
		vm["HVM_boot_policy"] = bootPolicy(vm)
	}
	return nil
}

// bootPolicy is HVM_boot_policy where it was not said: by it releases without domain_type, and later
// ones where that is not said either, tell firmware boot ("BIOS order") from direct kernel boot ("").
func bootPolicy(vm map[string]any) string {
	const firmware = "BIOS order"
	switch vm["domain_type"] {
	case "hvm":
		return firmware
	case nil, "unspecified":
		if vm["PV_kernel"] == "" && vm["PV_bootloader"] == "" {
			return firmware
		}
	}
	return ""
}
