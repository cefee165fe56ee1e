package opennebula

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"vmgateway/internal/backends"
)

var _ backends.Planner = (*Driver)(nil)

// PlanDo says what Do would send, as things stand, by the same rows; it sends reads only.
//
// What Do would refuse itself for the VM's state has no calls. Beyond that the table of actions and
// the VM's lock are asked. Permissions are not: which right an action takes is a setting of oned, and
// what the bits lack, an ACL rule or the group oneadmin may give.
func (d *Driver) PlanDo(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (*backends.Plan, error) {
	if v == verbCheckOperation {
		_, err := d.checkOperation(ctx, s, id, a)
		return planOf(), err
	}
	act, row, err := d.begin(ctx, s, v, id, a)
	if err != nil {
		return nil, err
	}
	if err := act.readSubject(); err != nil {
		return nil, err
	}
	deed, err := row.say(act)
	if e := backends.AsError(err); err != nil && e.Code == backends.WrongState {
		return &backends.Plan{Calls: []backends.PlannedCall{}, Reason: e.Detail, Fault: e.Fault}, nil
	}
	if err != nil {
		return nil, err
	}
	plan := planOf(deed.request)
	if deed.raw != "" {
		d.forbid(plan, act.m, act.r, deed.raw)
	}
	return plan, nil
}

// PlanCreate says what Create would send. Quotas and what a template names are for OpenNebula to
// say.
func (d *Driver) PlanCreate(ctx context.Context, s backends.Session, changes []backends.Change) (*backends.Plan, error) {
	r, err := d.allocation(ctx, s, changes)
	if err != nil {
		return nil, err
	}
	return planOf(r), nil
}

// PlanPatch says what Patch would send.
func (d *Driver) PlanPatch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) (*backends.Plan, error) {
	p, err := d.patch(ctx, s, id, changes)
	if err != nil {
		return nil, err
	}
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	var requests []request
	for at := range steps {
		if r, some := p.say(step(at)); some {
			requests = append(requests, r)
		}
	}
	plan := planOf(requests...)
	if len(requests) > 0 {
		raw := ""
		if len(p.i.capacity) > 0 {
			raw = "resize" // the only one of the calls that the table of actions has
		}
		d.forbid(plan, p.m, p.r, raw)
	}
	return plan, nil
}

// readSubject reads what the path names: the VM, or the template of instantiate.
func (a *act) readSubject() error {
	if a.verb != backends.VerbInstantiate {
		return a.read()
	}
	_, err := a.d.call(a.ctx, a.s, request{method: "one.template.info", args: []any{a.id}, subject: subjectTemplate})
	return err
}

// stopsAll are the locks that stop all that changes a VM, for its owner and for administrators.
// Source: include/PoolObjectSQL.h, enum LockStates; recorded from oned 6.10.0.
var stopsAll = []string{"1", "4"}

// forbid notes in a plan what stands against it.
func (d *Driver) forbid(plan *backends.Plan, m *machine, r version, raw string) {
	switch {
	case raw != "" && !allows(m.at, r, raw):
		plan.Reason = fmt.Sprintf("OpenNebula %s does not allow it while the VM is in %s.", r, m.at.name(r))
	case slices.Contains(stopsAll, m.get("LOCK").text("LOCKED")):
		plan.Reason = "The VM is locked: unlock it first."
	}
	plan.Allowed = plan.Reason == ""
}

// planOf is an allowed plan of calls.
func planOf(requests ...request) *backends.Plan {
	plan := &backends.Plan{Calls: []backends.PlannedCall{}, Allowed: true}
	for _, r := range requests {
		args := make([]any, len(r.args))
		for i, arg := range r.args {
			args[i] = arg
			if text, ok := arg.(string); ok {
				args[i] = masked(text)
			}
		}
		plan.Calls = append(plan.Calls, backends.PlannedCall{Method: r.method, Arguments: args})
	}
	return plan
}

// The values of attributes whose names promise a secret, in both forms of a template.
var (
	secretElement = regexp.MustCompile(`(?is)(<[a-z0-9_]*(?:` + secretNames + `)[a-z0-9_]*>)(?:<!\[CDATA\[.*?\]\]>|[^<])+`)
	secretValue   = regexp.MustCompile(`(?is)\b([a-z0-9_]*(?:` + secretNames + `)[a-z0-9_]*\s*=\s*)("(?:\\.|[^"\\])*"?|'[^']*'?|[^\s"',\]<]+)`)
)

const (
	secretNames = `passw|token|secret|private_key|credential`
	mask        = "***"
)

// masked is a template without its secrets.
func masked(text string) string {
	return secretValue.ReplaceAllString(secretElement.ReplaceAllString(text, "${1}"+mask), "${1}"+mask)
}
