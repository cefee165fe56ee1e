package backends

import "slices"

// ValueType is the shape of a writable member's value in a [Change].
type ValueType int

// The value types, with the Go type that a Change carries.
const (
	TypeString      ValueType = iota // string
	TypeBool                         // bool
	TypeInt                          // int64
	TypeFloat                        // float64
	TypeID                           // ID
	TypeStringMap                    // map[string]*string: a nil value removes the key
	TypeStrings                      // []string
	TypePermissions                  // PermissionsPatch
	TypeOwner                        // OwnerPatch
)

// Member is one member of a VM that a client may write. Path is its JSON path from the VM.
type Member struct {
	Path     string
	Type     ValueType
	Create   bool // accepted by POST /vms
	Patch    bool // accepted by PATCH /vms/{vm}
	Nullable bool // null removes it (RFC 7396); for a map: all of its keys
}

// Members is every writable member. What a backend does with one stands in its driver's table; a
// member that the table lacks is refused with UNSUPPORTED_BY_BACKEND.
var Members = []Member{
	{Path: "displayName", Type: TypeString, Create: true, Patch: true},
	{Path: "description", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "template", Type: TypeBool, Create: true, Patch: true},
	{Path: "hold", Type: TypeBool, Create: true},
	{Path: "owner", Type: TypeOwner, Patch: true},
	{Path: "cpu.vcpus", Type: TypeInt, Create: true, Patch: true},
	{Path: "cpu.maxVcpus", Type: TypeInt, Create: true, Patch: true},
	{Path: "cpu.share", Type: TypeFloat, Create: true, Patch: true},
	{Path: "cpu.params", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
	{Path: "memory.staticMaxBytes", Type: TypeInt, Create: true, Patch: true},
	{Path: "memory.dynamicMaxBytes", Type: TypeInt, Create: true, Patch: true},
	{Path: "memory.dynamicMinBytes", Type: TypeInt, Create: true, Patch: true},
	{Path: "memory.staticMinBytes", Type: TypeInt, Create: true, Patch: true},
	{Path: "boot.domainType", Type: TypeString, Create: true, Patch: true},
	{Path: "boot.pv.bootloader", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.pv.kernel", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.pv.ramdisk", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.pv.args", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.pv.bootloaderArgs", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.pv.legacyArgs", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.hvm.policy", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "boot.hvm.params", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
	{Path: "platform", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
	{Path: "placement.preferredHost", Type: TypeID, Create: true, Patch: true, Nullable: true},
	{Path: "placement.requirements", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "placement.rank", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "lifecyclePolicy.onShutdown", Type: TypeString, Create: true, Patch: true},
	{Path: "lifecyclePolicy.onReboot", Type: TypeString, Create: true, Patch: true},
	{Path: "lifecyclePolicy.onCrash", Type: TypeString, Create: true, Patch: true},
	{Path: "annotations", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
	{Path: "opennebula.template", Type: TypeString, Create: true},
	{Path: "opennebula.permissions", Type: TypePermissions, Patch: true},
	{Path: "xenapi.userVersion", Type: TypeInt, Create: true, Patch: true},
	{Path: "xenapi.suspendDisk", Type: TypeID, Patch: true, Nullable: true},
	{Path: "xenapi.pciBus", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "xenapi.recommendations", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "xenapi.tags", Type: TypeStrings, Create: true, Patch: true},
	{Path: "xenapi.blockedOperations", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
	{Path: "xenapi.haAlwaysRun", Type: TypeBool, Patch: true},
	{Path: "xenapi.haRestartPriority", Type: TypeString, Create: true, Patch: true, Nullable: true},
	{Path: "xenapi.startOrder", Type: TypeInt, Create: true, Patch: true},
	{Path: "xenapi.startDelaySeconds", Type: TypeInt, Create: true, Patch: true},
	{Path: "xenapi.shutdownDelaySeconds", Type: TypeInt, Create: true, Patch: true},
	{Path: "xenapi.shadowMultiplier", Type: TypeFloat, Create: true, Patch: true},
	{Path: "xenapi.xenstoreData", Type: TypeStringMap, Create: true, Patch: true, Nullable: true},
}

// Change is one member's new value. A nil Value removes the member. Changes come in the order of
// [Members], so that two requests which say the same make the same calls.
type Change struct {
	Path  string
	Value any
}

// OwnerPatch changes who a VM belongs to; a nil member stays.
type OwnerPatch struct{ User, Group *ID }

// PermissionsPatch changes single permission bits; a nil bit stays.
type PermissionsPatch struct{ Owner, Group, Other PermissionBitsPatch }

// PermissionBitsPatch is one circle's part of a PermissionsPatch.
type PermissionBitsPatch struct{ Use, Manage, Admin *bool }

// Lookup gives the value of path, and whether it is among the changes.
func Lookup(changes []Change, path string) (any, bool) {
	i := slices.IndexFunc(changes, func(c Change) bool { return c.Path == path })
	if i < 0 {
		return nil, false
	}
	return changes[i].Value, true
}
