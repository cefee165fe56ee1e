package opennebula

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// grace is how long a VM may still stand where it stood: oned answers before the state changes.
const grace = 10 * time.Second

// goal is where a verb leads, and what it takes to tell. It travels in the operation's id, as its
// name and arguments joined by dots, because OpenNebula keeps no tasks.
type goal struct {
	name string
	args []string
}

func (g goal) String() string { return strings.Join(append([]string{g.name}, g.args...), ".") }

// int is argument i as a number; -1 when there is none.
func (g goal) int(i int) int {
	if i >= len(g.args) {
		return -1
	}
	n, ok := number(g.args[i])
	if !ok {
		return -1
	}
	return n
}

// The goals.
var (
	goalNone       = goal{name: "none"} // done when the call returned, or without a visible end
	goalStarted    = goal{name: "started"}
	goalPoweroff   = inState(stPoweroff)
	goalSuspended  = inState(stSuspended)
	goalStopped    = inState(stStopped)
	goalUndeployed = inState(stUndeployed)
	goalDone       = inState(stDone)
	goalRecreated  = goal{name: "recreated"}
)

func inState(st int) goal { return goal{"state", []string{strconv.Itoa(st)}} }

func goalRunningOn(host int) goal { return goal{"on", []string{strconv.Itoa(host)}} }

// goalMoved is a host, and a system datastore if one was asked for. A VM that was to move live runs
// there.
func goalMoved(live bool, host, storage int) goal {
	g := goal{"moved", []string{strconv.Itoa(host)}}
	if live {
		g.name = "movedlive"
	}
	if storage >= 0 {
		g.args = append(g.args, strconv.Itoa(storage))
	}
	return g
}

// goalLeft is any place but the one before; a *_FAILURE state is one only when that was asked for.
func goalLeft(failureToo bool) func(place) goal {
	name := "left"
	if failureToo {
		name = "leftorfailed"
	}
	return func(before place) goal {
		return goal{name, []string{strconv.Itoa(before.state), strconv.Itoa(before.lcm)}}
	}
}

// goalSized is a template with these attributes; a point would be taken for a joint.
func goalSized(attrs []attribute) goal {
	g := goal{name: "sized"}
	for _, a := range attrs {
		g.args = append(g.args, a.name+"_"+strings.ReplaceAll(a.value, ".", "p"))
	}
	return g
}

func goalImage(image int) goal { return goal{"image", []string{strconv.Itoa(image)}} }

func goalMade(vm int) goal { return goal{"made", []string{strconv.Itoa(vm)}} }

// reached says of each goal how to tell that a VM is there.
var reached = map[string]func(t tracked, m *machine) bool{
	"none": func(tracked, *machine) bool { return true },
	"made": func(tracked, *machine) bool { return true },
	// A VM that was stored or held waits for the scheduler next, as long as it takes.
	"started":      func(_ tracked, m *machine) bool { return m.at.is(stActive, lcmRunning) || m.at.state == stPending },
	"state":        func(t tracked, m *machine) bool { return m.at.state == t.goal.int(0) },
	"on":           func(t tracked, m *machine) bool { return m.at.is(stActive, lcmRunning) && m.on(t.goal.int(0)) },
	"moved":        func(t tracked, m *machine) bool { return t.movedOn(m) && t.there(m) && m.resting() },
	"movedlive":    func(t tracked, m *machine) bool { return t.movedOn(m) && t.there(m) && m.at.is(stActive, lcmRunning) },
	"recreated":    func(t tracked, m *machine) bool { return waiting(m) || t.movedOn(m) },
	"left":         func(t tracked, m *machine) bool { return t.left(m) && !m.at.failed(t.r) },
	"leftorfailed": func(t tracked, m *machine) bool { return t.left(m) },
	"sized":        func(t tracked, m *machine) bool { return !m.at.is(stActive, lcmHotplugResize) && t.sized(m) },
}

// missed says of some goals how to tell at once that they will not be reached, and what to say.
var missed = map[string]struct {
	tell   func(t tracked, m *machine) bool
	detail string
}{
	// A failed live migration falls back to RUNNING where it was, with two records more.
	"moved": {func(t tracked, m *machine) bool { return t.movedOn(m) && !t.there(m) }, "is not on the host wanted: OpenNebula could not move it"},
	// Between our look and the call it may have stopped running, and then went cold.
	"movedlive": {func(t tracked, m *machine) bool { return t.movedOn(m) }, "did not run on to the host wanted: OpenNebula could not move it, or it had stopped running"},
	"on":        {func(t tracked, m *machine) bool { return m.at.is(stActive, lcmRunning) && !m.on(t.goal.int(0)) }, "is not on the host wanted"},
}

// fromFailure are the goals that a VM in a *_FAILURE state can be on its way to, so that the state
// says nothing until grace has passed.
var fromFailure = []string{goalDone.String(), goalRecreated.String(), "left", "leftorfailed"}

func waiting(m *machine) bool {
	return slices.Contains([]int{stInit, stPending, stHold, stCloning}, m.at.state)
}

func (m *machine) on(host int) bool { return m.last().text("HID") == strconv.Itoa(host) }

// resting reports whether the VM is on a host, and on none of the ways that lead there.
func (m *machine) resting() bool {
	return m.at.is(stActive, lcmRunning) || m.at.state == stPoweroff || m.at.state == stSuspended
}

// tracked is an operation as its id tells it.
type tracked struct {
	verb backends.Verb
	id   int // of the VM; of the template for instantiate
	seq  int // of the last history record before; -1 when it was not read
	at   time.Time
	goal goal
	r    version
}

func (t tracked) movedOn(m *machine) bool { return sequence(m.last()) > t.seq }

func (t tracked) there(m *machine) bool {
	storage := t.goal.int(1)
	return m.on(t.goal.int(0)) && (storage < 0 || m.last().text("DS_ID") == strconv.Itoa(storage))
}

func (t tracked) left(m *machine) bool {
	return !m.at.moving(t.r) && m.at != place{t.goal.int(0), t.goal.int(1)}
}

func (t tracked) sized(m *machine) bool {
	for _, arg := range t.goal.args {
		name, text, _ := strings.Cut(arg, "_")
		want, got := decimal(strings.ReplaceAll(text, "p", ".")), decimal(m.get("TEMPLATE").text(name))
		if want == nil || got == nil || *want != *got {
			return false
		}
	}
	return true
}

// native is the operation's id: verb, object, last history record before, time, goal.
func (t tracked) native() string {
	seq := "x"
	if t.seq >= 0 {
		seq = strconv.Itoa(t.seq)
	}
	return fmt.Sprintf("%s-%d-%s-%d-%s", t.verb, t.id, seq, t.at.Unix(), t.goal)
}

var operationID = regexp.MustCompile(`^([a-zA-Z]{1,32})-([0-9]{1,10})-(x|[0-9]{1,10})-([0-9]{1,12})-([A-Za-z0-9_.]{1,200})$`)

// parseOperation reads an operation's id back; false for one that was never given out.
func parseOperation(native string) (t tracked, ok bool) {
	match := operationID.FindStringSubmatch(native)
	if match == nil {
		return t, false
	}
	t.verb, t.seq = backends.Verb(match[1]), -1
	if _, ok := calls[t.verb]; !ok {
		return t, false
	}
	if t.id, ok = number(match[2]); !ok {
		return t, false
	}
	if match[3] != "x" {
		if t.seq, ok = number(match[3]); !ok {
			return t, false
		}
	}
	seconds, err := strconv.ParseInt(match[4], 10, 64)
	if err != nil {
		return t, false
	}
	t.at = time.Unix(seconds, 0).UTC()
	parts := strings.Split(match[5], ".")
	t.goal = goal{parts[0], parts[1:]}
	_, known := reached[t.goal.name]
	return t, known || t.goal.name == "image" && t.goal.int(0) >= 0
}

// begun is the operation right after its call was accepted.
func (a *act) begun(g goal) *backends.Operation {
	t := tracked{verb: a.verb, id: a.id, seq: -1, at: a.d.cfg.Now().UTC().Truncate(time.Second), goal: g}
	if a.m != nil && a.m.last().has("SEQ") {
		t.seq = sequence(a.m.last())
	}
	o := a.d.operation(t)
	if g.name == "none" || g.name == "made" {
		a.d.end(o, backends.OperationSucceeded, nil)
	}
	return o
}

func (d *Driver) operation(t tracked) *backends.Operation {
	o := &backends.Operation{
		ID: backends.ID{Backend: d.cfg.Name, Native: t.native()}, Backend: d.cfg.Name,
		Verb: t.verb, State: backends.OperationRunning, CreateTime: t.at,
	}
	switch {
	case t.goal.name == "made":
		o.Result = &backends.OperationResult{VM: new(d.id(t.goal.int(0)))}
	case t.goal.name == "image":
		o.VM, o.Result = new(d.id(t.id)), &backends.OperationResult{Image: new(d.id(t.goal.int(0)))}
	default:
		o.VM = new(d.id(t.id))
	}
	return o
}

func (d *Driver) end(o *backends.Operation, state backends.OperationState, why *backends.Error) {
	o.State, o.EndTime, o.Err = state, new(d.cfg.Now().UTC()), why
	if state != backends.OperationSucceeded {
		o.Result = nil
	}
}

// Operation tells how far an operation is by reading the VM, or the image that it makes.
func (d *Driver) Operation(ctx context.Context, s backends.Session, id backends.ID) (*backends.Operation, error) {
	t, ok := parseOperation(id.Native)
	if !ok || id.Backend != d.cfg.Name {
		return nil, &backends.Error{Code: backends.NotFound, Detail: "There is no operation with this id."}
	}
	if t.goal.name == "image" {
		return d.imageOperation(ctx, s, t)
	}
	vm := t.id
	if t.goal.name == "made" {
		vm = t.goal.int(0)
	}
	m, r, err := d.machine(ctx, s, d.id(vm))
	if err != nil {
		return nil, err
	}
	t.r = r
	o := d.operation(t)
	d.judge(o, t, m)
	return o, nil
}

// judge ends an operation that has ended.
func (d *Driver) judge(o *backends.Operation, t tracked, m *machine) {
	early := d.cfg.Now().Sub(t.at) < grace
	miss, canMiss := missed[t.goal.name]
	switch {
	case reached[t.goal.name](t, m):
		d.end(o, backends.OperationSucceeded, nil)
	case m.at.moving(t.r):
	case m.at.state == stDone:
		d.end(o, backends.OperationFailed, d.ended(t, m, backends.WrongState, "was deleted meanwhile"))
	case m.at.failed(t.r) && (!early || !t.mayStartFailed()):
		d.end(o, backends.OperationFailed, d.ended(t, m, backends.BackendFault, "could not be brought where it was to go"))
	case canMiss && miss.tell(t, m):
		d.end(o, backends.OperationFailed, d.ended(t, m, backends.WrongState, miss.detail))
	case !early:
		d.end(o, backends.OperationUnknown, d.ended(t, m, backends.WrongState, "is not where it was to go: OpenNebula gave up without a trace, or somebody else interfered"))
	}
}

func (t tracked) mayStartFailed() bool {
	return slices.Contains(fromFailure, t.goal.name) || slices.Contains(fromFailure, t.goal.String())
}

// ended is why an operation did not succeed. A *_FAILURE state often has OpenNebula's own reason
// beside it, which outlives a recovery and so is not told otherwise.
func (d *Driver) ended(t tracked, m *machine, code backends.Code, what string) *backends.Error {
	state, _ := m.at.unified(t.r)
	e := &backends.Error{
		Code: code, Op: "opennebula " + string(t.verb),
		Detail: fmt.Sprintf("The VM %s. It is in %s now.", what, m.at.name(t.r)),
		Fault:  &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula},
		State:  &backends.StateConflict{State: state, RawState: m.at.raw(t.r), AllowedActions: allowed(m.at, t.r)},
	}
	if m.at.failed(t.r) {
		e.Fault.Message = m.user().text("ERROR")
	}
	return e
}

// imageOperation tells how far the image is that saveDisk makes.
func (d *Driver) imageOperation(ctx context.Context, s backends.Session, t tracked) (*backends.Operation, error) {
	value, err := d.Read(ctx, s, backends.ImageByID, d.id(t.goal.int(0)))
	if err != nil {
		return nil, err
	}
	image, ok := value.(backends.Image)
	if !ok {
		return nil, &backends.Error{Code: backends.Internal, Err: fmt.Errorf("an image that is a %T", value)}
	}
	o := d.operation(t)
	switch image.State {
	case "INIT", "LOCKED", "CLONE", "LOCKED_USED", "LOCKED_USED_PERS":
	case "ERROR", "DELETE":
		d.end(o, backends.OperationFailed, &backends.Error{
			Code: backends.BackendFault, Op: "opennebula saveDisk", Detail: "OpenNebula could not save the disk: the image is in " + image.State + ".",
			Fault: &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula},
		})
	default:
		d.end(o, backends.OperationSucceeded, nil)
	}
	return o, nil
}
