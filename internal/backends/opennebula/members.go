package opennebula

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"vmgateway/internal/backends"
)

const (
	attrDescription  = "DESCRIPTION"
	attrRequirements = "SCHED_REQUIREMENTS"
	attrRank         = "SCHED_RANK"
)

// reservedKeys are the attributes of USER_TEMPLATE that another member shows and writes, and ERROR,
// which is OpenNebula's own.
var reservedKeys = map[string]bool{attrDescription: true, attrRequirements: true, attrRank: true, "ERROR": true}

// coreKeys are the attributes that OpenNebula takes for itself when a VM is made, so that they
// cannot be annotations. Source: VirtualMachine::set_template… and share/doc/xsd/vm.xsd.
var coreKeys = []string{
	"AUTOMATIC_DS_REQUIREMENTS", "AUTOMATIC_NIC_REQUIREMENTS", "AUTOMATIC_REQUIREMENTS", "CLONING_TEMPLATE_ID", "CONTEXT", "CPU",
	"CPU_COST", "CPU_MODEL", "DISK", "DISK_COST", "EMULATOR", "FEATURES", "GRAPHICS", "HYPERV_OPTIONS", "IMPORTED", "INPUT",
	"MEMORY", "MEMORY_COST", "MEMORY_ENCRYPTION", "MEMORY_MAX", "MEMORY_RESIZE_MODE", "MEMORY_SLOTS", "NAME", "NIC", "NIC_ALIAS",
	"NIC_DEFAULT", "NUMA_NODE", "OS", "PCI", "PERMISSIONS", "QEMU_GA_EXEC", "RAW", "SCHED_ACTION", "SECURITY_GROUP_RULE", "SNAPSHOT",
	"SPICE_OPTIONS", "SUBMIT_ON_HOLD", "TEMPLATE_ID", "TM_MAD_SYSTEM", "TOPOLOGY", "TPM", "USER_PRIORITY", "VCPU", "VCPU_MAX", "VIDEO",
	"VMGROUP", "VMID", "VROUTER_ID", "VROUTER_KEEPALIVED_ID", "VROUTER_KEEPALIVED_PASSWORD", "BACKUP_CONFIG",
}

// intent is what a create or a patch asks for, sorted by what says it.
type intent struct {
	name        *string
	hold        bool
	raw         *string
	user        edits            // USER_TEMPLATE
	host        *int             // the preferred one, which is also in user
	unpin       bool             // no host is preferred any more
	annotations bool             // all annotations go, but for those in user
	capacity    []attribute      // of one.vm.resize
	created     []attribute      // can be said when a VM is made only
	sections    map[string]edits // OS and FEATURES, by key; of one.vm.updateconf
	emptied     []string         // keys of sections that go, but for those in sections
	permissions *backends.PermissionsPatch
	owner       *backends.OwnerPatch
	paths       map[step][]string // the members that each step of a patch says
}

// edits are attributes' new values by name; nil removes one.
type edits map[string]*string

// step is one call of a patch.
type step int

// The steps, in the order in which they are made. Those that can take the caller's own rights away
// come last.
const (
	stepRename step = iota
	stepResize
	stepUpdate
	stepConf
	stepChmod
	stepChown
	stepCreate // no call of a patch
)

// stepSince is when a step's call appeared, and its name.
var stepSince = map[step]struct {
	in     span
	method string
}{
	stepRename: {features[renameMethod], "one.vm.rename"},
	stepResize: {features[resizeMethod], "one.vm.resize"},
	stepUpdate: {features[updateMethod], "one.vm.update"},
	stepConf:   {features[updateconfMethod], "one.vm.updateconf"},
	stepChmod:  {since(3, 2), "one.vm.chmod"},
	stepChown:  {since(3, 0), "one.vm.chown"},
}

// member is a row: which step says it, and how its value gets into the intent.
type member struct {
	step step
	add  func(i *intent, pointer string, value any) error
}

// members is every member that OpenNebula can write; one that has no row, it does not have.
var members = map[string]member{
	"displayName":             {stepRename, setName},
	"description":             {stepUpdate, userAttribute(attrDescription)},
	"hold":                    {stepCreate, setHold},
	"owner":                   {stepChown, setOwner},
	"cpu.vcpus":               {stepResize, size("VCPU")},
	"cpu.maxVcpus":            {stepCreate, createdSize("VCPU_MAX")},
	"cpu.share":               {stepResize, size("CPU")},
	"memory.dynamicMaxBytes":  {stepResize, size("MEMORY")},
	"memory.staticMaxBytes":   {stepCreate, createdSize("MEMORY_MAX")},
	"boot.pv.bootloader":      {stepConf, osKey("BOOTLOADER")},
	"boot.pv.kernel":          {stepConf, osKey("KERNEL")},
	"boot.pv.ramdisk":         {stepConf, osKey("INITRD")},
	"boot.pv.args":            {stepConf, osKey("KERNEL_CMD")},
	"boot.hvm.params":         {stepConf, setBootParams},
	"platform":                {stepConf, setPlatform},
	"placement.preferredHost": {stepUpdate, setPreferredHost},
	"placement.requirements":  {stepUpdate, userAttribute(attrRequirements)},
	"placement.rank":          {stepUpdate, userAttribute(attrRank)},
	"annotations":             {stepUpdate, setAnnotations},
	"opennebula.template":     {stepCreate, setRaw},
	"opennebula.permissions":  {stepChmod, setPermissions},
}

// bootParams are the keys of boot.hvm.params, and what OS calls them.
var bootParams = map[string]string{"order": "BOOT", "firmware": "FIRMWARE"}

// Writes reports whether there is a row for a member. Releases before 5.0 take some of them only
// when a VM is made, and say so when they are patched.
func (d *Driver) Writes(path string) bool {
	_, ok := members[path]
	return ok
}

// gather sorts changes into an intent.
func (d *Driver) gather(changes []backends.Change) (*intent, error) {
	i := &intent{user: edits{}, sections: map[string]edits{}, paths: map[step][]string{}}
	for _, c := range changes {
		if id, ok := c.Value.(backends.ID); ok {
			if _, err := d.bodyID(backends.Pointer(c.Path), id); err != nil {
				return nil, err
			}
		}
		row, ok := members[c.Path]
		if !ok {
			return nil, d.lacks(backends.Pointer(c.Path), fmt.Sprintf("OpenNebula has no member %q to write.", c.Path))
		}
		if err := row.add(i, backends.Pointer(c.Path), c.Value); err != nil {
			return nil, err
		}
		i.paths[row.step] = append(i.paths[row.step], c.Path)
	}
	_, host := backends.Lookup(changes, "placement.preferredHost")
	if _, requirements := backends.Lookup(changes, "placement.requirements"); host && requirements {
		return nil, backends.Invalid(pointerHost, "OpenNebula says the preferred host in the requirements: send one or the other")
	}
	return i, nil
}

// wrongType is a value of another Go type than the member's: a defect of ours.
func wrongType(pointer string, value any) error {
	return &backends.Error{Code: backends.Internal, Err: fmt.Errorf("%s holds a %T", pointer, value)}
}

func setName(i *intent, pointer string, value any) error {
	name, ok := value.(string)
	if !ok {
		return wrongType(pointer, value)
	}
	i.name = &name
	return checkName(pointer, name)
}

func setHold(i *intent, pointer string, value any) error {
	hold, ok := value.(bool)
	if !ok {
		return wrongType(pointer, value)
	}
	i.hold = hold
	return nil
}

func setRaw(i *intent, pointer string, value any) error {
	text, ok := value.(string)
	if !ok {
		return wrongType(pointer, value)
	}
	i.raw = &text
	return checkRaw(pointer, text)
}

// checkRaw is checkValue for a whole template, in which CDATA sections may end.
func checkRaw(pointer, text string) error {
	if strings.TrimSpace(text) == "" {
		return backends.Invalid(pointer, "the template is empty")
	}
	return checkValue(pointer, strings.ReplaceAll(text, "]]>", ""))
}

func setOwner(i *intent, pointer string, value any) error {
	owner, ok := value.(backends.OwnerPatch)
	if !ok {
		return wrongType(pointer, value)
	}
	i.owner = &owner
	return nil
}

func setPermissions(i *intent, pointer string, value any) error {
	p, ok := value.(backends.PermissionsPatch)
	if !ok {
		return wrongType(pointer, value)
	}
	i.permissions = &p
	return nil
}

// optional is the value of a member that null removes.
func optional(pointer string, value any) (*string, error) {
	if value == nil {
		return nil, nil
	}
	text, ok := value.(string)
	if !ok {
		return nil, wrongType(pointer, value)
	}
	return &text, checkValue(pointer, text)
}

func userAttribute(name string) func(*intent, string, any) error {
	return func(i *intent, pointer string, value any) error {
		text, err := optional(pointer, value)
		i.user[name] = text
		return err
	}
}

const pointerHost = "/placement/preferredHost"

// setPreferredHost says the host as OpenNebula's own tools do, in a requirement.
func setPreferredHost(i *intent, pointer string, value any) error {
	if value == nil {
		i.unpin = true
		return nil
	}
	id, ok := value.(backends.ID)
	n, isNumber := number(id.Native)
	if !ok || !isNumber {
		return wrongType(pointer, value)
	}
	i.host, i.user[attrRequirements] = &n, new(fmt.Sprintf("ID = %q", id.Native))
	return nil
}

var hostRequirement = regexp.MustCompile(`^\s*ID\s*=\s*(?:"([0-9]{1,10})"|([0-9]{1,10}))\s*$`)

// hostOf is the host that a requirement names, when it says that and nothing else.
func hostOf(requirement string) (native string, ok bool) {
	match := hostRequirement.FindStringSubmatch(requirement)
	if match == nil {
		return "", false
	}
	native = match[1] + match[2]
	_, ok = number(native)
	return native, ok
}

func osKey(key string) func(*intent, string, any) error {
	return func(i *intent, pointer string, value any) error {
		text, err := optional(pointer, value)
		if err == nil && text != nil && *text == "" {
			err = backends.Invalid(pointer, "OpenNebula has no empty value here: null removes it")
		}
		i.edit("OS", key, text)
		return err
	}
}

func (i *intent) edit(section, key string, value *string) {
	if i.sections[section] == nil {
		i.sections[section] = edits{}
	}
	i.sections[section][key] = value
}

// stringMap is a map member's value; nil for null.
func stringMap(pointer string, value any) (map[string]*string, error) {
	if value == nil {
		return nil, nil
	}
	m, ok := value.(map[string]*string)
	if !ok {
		return nil, wrongType(pointer, value)
	}
	return m, nil
}

func setBootParams(i *intent, pointer string, value any) error {
	m, err := stringMap(pointer, value)
	if err != nil {
		return err
	}
	if value == nil {
		for _, key := range bootParams {
			i.edit("OS", key, nil)
		}
	}
	for param, text := range m {
		key, ok := bootParams[param]
		at := pointer + "/" + escapePointer(param)
		if !ok {
			return backends.Invalid(at, "OpenNebula has the params order and firmware")
		}
		if err := i.checked("OS", key, at, text); err != nil {
			return err
		}
	}
	return nil
}

func setPlatform(i *intent, pointer string, value any) error {
	m, err := stringMap(pointer, value)
	if err != nil {
		return err
	}
	if value == nil {
		i.emptied = append(i.emptied, "FEATURES")
		i.edit("FEATURES", "", nil)
	}
	for key, text := range m {
		at := pointer + "/" + escapePointer(key)
		if err := checkKey(at, key); err != nil {
			return err
		}
		if err := i.checked("FEATURES", key, at, text); err != nil {
			return err
		}
	}
	return nil
}

// checked is edit with the value looked at.
func (i *intent) checked(section, key, pointer string, text *string) error {
	if text != nil {
		if *text == "" {
			return backends.Invalid(pointer, "OpenNebula has no empty value here: null removes it")
		}
		if err := checkValue(pointer, *text); err != nil {
			return err
		}
	}
	i.edit(section, key, text)
	return nil
}

func setAnnotations(i *intent, pointer string, value any) error {
	m, err := stringMap(pointer, value)
	if err != nil {
		return err
	}
	i.annotations = value == nil
	for key, text := range m {
		at := pointer + "/" + escapePointer(key)
		if err := checkKey(at, key); err != nil {
			return err
		}
		if reservedKeys[key] || slices.Contains(coreKeys, key) {
			return backends.Invalid(at, "OpenNebula uses this name itself: write it through its own member")
		}
		if text != nil {
			if err := checkValue(at, *text); err != nil {
				return err
			}
		}
		i.user[key] = text
	}
	return nil
}

// escapePointer writes a key as a part of an RFC 6901 pointer.
func escapePointer(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// sizes check a number and write it as the attribute has it.
var sizes = map[string]func(pointer string, value any) (string, error){
	"VCPU":       count,
	"VCPU_MAX":   count,
	"CPU":        share,
	"MEMORY":     mebibytes,
	"MEMORY_MAX": mebibytes,
}

func size(name string) func(*intent, string, any) error {
	return func(i *intent, pointer string, value any) error {
		text, err := sizes[name](pointer, value)
		i.capacity = append(i.capacity, attribute{name: name, value: text})
		return err
	}
}

func createdSize(name string) func(*intent, string, any) error {
	return func(i *intent, pointer string, value any) error {
		text, err := sizes[name](pointer, value)
		i.created = append(i.created, attribute{name: name, value: text})
		return err
	}
}

func count(pointer string, value any) (string, error) {
	n, ok := value.(int64)
	if !ok {
		return "", wrongType(pointer, value)
	}
	if n < 1 || n > math.MaxInt32 {
		return "", backends.Invalid(pointer, "expected a positive number of vCPUs")
	}
	return strconv.FormatInt(n, 10), nil
}

// share is the part of a physical CPU. OpenNebula counts in hundredths.
func share(pointer string, value any) (string, error) {
	f, ok := value.(float64)
	if !ok {
		return "", wrongType(pointer, value)
	}
	if math.IsNaN(f) || f < 0.01 || f > math.MaxInt32 {
		return "", backends.Invalid(pointer, "expected a number of CPUs from 0.01")
	}
	return strconv.FormatFloat(f, 'f', -1, 64), nil
}

// mebibytes are bytes as OpenNebula counts them: a size it would round is refused.
func mebibytes(pointer string, value any) (string, error) {
	n, ok := value.(int64)
	if !ok {
		return "", wrongType(pointer, value)
	}
	if n <= 0 || n%mib != 0 {
		return "", backends.Invalid(pointer, "expected a positive multiple of 1048576: OpenNebula counts memory in MiB")
	}
	return strconv.FormatInt(n/mib, 10), nil
}
