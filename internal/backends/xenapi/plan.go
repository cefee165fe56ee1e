package xenapi

import (
	"context"
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

const assertOperation = "VM.assert_operation_valid"

var _ backends.Planner = (*Driver)(nil)

// A plan is made of the same steps as the change, which are told instead of sent, and of what the
// backend says to the operations that they are. It makes calls that read, and changes nothing.
//
// What is wrong with the request itself (what Do, Create and Patch refuse as INVALID_ARGUMENT,
// UNPROCESSABLE, UNSUPPORTED_BY_BACKEND or NOT_FOUND) is an error of the plan too. What the present
// state or the user's role does not allow is its answer. Steps behind one whose end is waited for are
// not asked about: they meet what that leaves.

// PlanDo says what Do would send.
func (d *Driver) PlanDo(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (*backends.Plan, error) {
	j, steps, err := d.job(ctx, s, v, id, a)
	if err != nil {
		return unwilling(err)
	}
	return j.tell(ctx, j.h, steps)
}

// PlanCreate says what Create would send. XenAPI has no state that could be against it.
func (d *Driver) PlanCreate(ctx context.Context, s backends.Session, members []backends.Change) (*backends.Plan, error) {
	l := d.link(s)
	create, err := l.create(ctx, members)
	if err != nil {
		return unwilling(err)
	}
	return l.tell(ctx, nil, []step{create})
}

// PlanPatch says what Patch would send.
func (d *Driver) PlanPatch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) (*backends.Plan, error) {
	l, h, steps, err := d.patch(ctx, s, id, changes)
	if err != nil {
		return unwilling(err)
	}
	return l.tell(ctx, h, steps)
}

// unwilling is the plan of a change that is refused before its first call.
func unwilling(err error) (*backends.Plan, error) {
	e := backends.AsError(err)
	switch e.Code {
	case backends.WrongState, backends.Conflict, backends.PermissionDenied:
		return &backends.Plan{Calls: []backends.PlannedCall{}, Reason: e.Detail, Fault: e.Fault}, nil
	}
	return nil, err
}

// tell makes a plan of the calls on h; nil is for those that have no object yet.
func (l *link) tell(ctx context.Context, h *handle, steps []step) (*backends.Plan, error) {
	calls := make([]backends.PlannedCall, len(steps))
	for i, s := range steps {
		calls[i] = l.d.planned(s, h)
	}
	err := l.permitted(ctx, steps)
	if err == nil && h != nil {
		err = l.valid(ctx, h, steps)
	}
	if err == nil || backends.CodeOf(err) != backends.PermissionDenied {
		c, err := check(err)
		if err != nil {
			return nil, err
		}
		return &backends.Plan{Calls: calls, Allowed: c.Allowed, Reason: c.Reason, Fault: c.Fault}, nil
	}
	e := backends.AsError(err)
	return &backends.Plan{Calls: calls, Reason: e.Detail, Fault: e.Fault}, nil
}

// planned is a step as it would go out, with references as ids. The null reference is "".
func (d *Driver) planned(s step, h *handle) backends.PlannedCall {
	c := backends.PlannedCall{Method: s.method, Arguments: []any{}}
	if s.async {
		c.Method = "Async." + s.method
	}
	if s.on != nil {
		h = s.on
	}
	switch {
	case h == nil:
	case h.uuid == "":
		c.Arguments = append(c.Arguments, "(the VM that was made)")
	default:
		c.Arguments = append(c.Arguments, d.id(h.uuid).String())
	}
	for _, arg := range s.args {
		c.Arguments = append(c.Arguments, d.plainly(arg))
	}
	return c
}

func (d *Driver) plainly(arg any) any {
	switch v := arg.(type) {
	case string:
		if v == nullRef {
			return ""
		}
		return d.clean(v, "")
	case []string:
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = d.clean(s, "")
		}
		return out
	case map[string]string:
		out := make(map[string]string, len(v))
		for key, s := range v {
			out[d.clean(key, "")] = d.clean(s, "")
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, v := range v {
			out[key] = d.plainly(v)
		}
		return out
	}
	return arg
}

// assertedAs are the operations by which XenAPI knows calls that are not named like them. Setters
// that are in neither table are allowed in any state.
var assertedAs = map[string]string{
	"VM.set_VCPUs_number_live":     "changing_VCPUs_live",
	"VM.add_to_VCPUs_params_live":  "changing_VCPUs_live",
	"VM.set_VCPUs_max":             "changing_VCPUs",
	"VM.set_VCPUs_at_startup":      "changing_VCPUs",
	"VM.set_memory_limits":         "changing_memory_limits",
	"VM.set_memory_dynamic_range":  "changing_dynamic_range",
	"VM.set_HVM_shadow_multiplier": "changing_shadow_memory",
}

// anyState are the calls that do not ask whether the operation of their name is valid: they work on
// templates too. That a power state cannot be reset while the VM's host is alive is only told when it
// comes to it.
var anyState = []string{"VM.power_state_reset", "VM.update_allowed_operations"}

// operation is what assert_operation_valid has to be asked for a step.
func (s step) operation() (string, bool) {
	if s.on != nil || s.asks {
		return "", false
	}
	if raw, ok := assertedAs[s.method]; ok {
		return raw, true
	}
	if s.method == "VM.set_is_a_template" {
		return "make_into_template", s.args[0] == true // back again is always allowed
	}
	raw := strings.TrimPrefix(s.method, "VM.")
	_, ok := operationByName[raw]
	return raw, ok && !slices.Contains(anyState, s.method)
}

// valid asks whether the VM's state allows the steps; at least that the VM is there.
func (l *link) valid(ctx context.Context, h *handle, steps []step) error {
	if _, err := l.onText(ctx, h, "VM.get_uuid"); err != nil {
		return err
	}
	var asked []string
	for _, s := range steps {
		raw, ok := s.operation()
		if !ok || slices.Contains(asked, raw) {
			continue
		}
		asked = append(asked, raw)
		if _, err := l.on(ctx, h, assertOperation, raw); err != nil {
			return err
		}
		if s.async {
			return nil
		}
	}
	return nil
}

type rightsRecord struct {
	superuser *bool
	rights    []string
}

var rightsFields = fields[rightsRecord]{
	"is_local_superuser": boolean(func(r *rightsRecord) **bool { return &r.superuser }),
	"rbac_permissions":   set(func(r *rightsRecord) *[]string { return &r.rights }),
}

// permitted asks whether the user's role has the steps' messages: assert_operation_valid is about the
// VM alone. A session that does not even list what every role has tells nothing.
func (l *link) permitted(ctx context.Context, steps []step) error {
	const method = "session.get_record"
	v, err := l.call(ctx, method, l.session)
	if err != nil {
		return err
	}
	r, err := record(rightsFields, v)
	if err != nil {
		return l.d.undecodable(method, err)
	}
	rights := make(map[string]bool, len(r.rights))
	for _, right := range r.rights {
		right, _, _ = strings.Cut(strings.ToLower(right), "/") // "vm.add_to_other_config/key:folder"
		rights[right] = true
	}
	if isTrue(r.superuser) || !rights["vm.get_record"] {
		return nil
	}
	for _, s := range steps {
		if name := strings.ToLower(s.method); !rights[name] && !rights["async."+name] {
			return l.d.refused(&failure{method: s.method, params: []string{"RBAC_PERMISSION_DENIED", s.method}})
		}
	}
	return nil
}
