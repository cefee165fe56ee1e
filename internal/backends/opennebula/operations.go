package opennebula

import (
	"context"
	"fmt"
	"hash/crc32"
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

// fromFailure are the goals that a VM in a *_FAILURE state can be on its way to, so that the state
// says nothing until grace has passed.
var fromFailure = []string{goalDone.String(), goalRecreated.String(), "left", "leftorfailed"}

func waiting(m *machine) bool {
	return slices.Contains([]int{stInit, stPending, stHold, stCloning}, m.at.state)
}

func (m *machine) on(host int) bool { return m.last().text("HID") == strconv.Itoa(host) }

// resting reports whether the VM is on a host, and on none of the ways that lead there.
func (m *machine) resting() bool {
	return m.at.doing(lcmRunning) || m.at.state == stPoweroff || m.at.state == stSuspended
}

// tracked is an operation as its id tells it.
type tracked struct {
	verb backends.Verb
	id   int // of the VM; of the template for instantiate
	seq  int // of the last history record before; -1 when it was not read, or had none
	// reason is a checksum of USER_TEMPLATE/ERROR before, which outlives what it was about; "" when it
	// was not read, or empty.
	reason string
	at     time.Time
	goal   goal
	r      version
}

func (t tracked) movedOn(m *machine) bool { return sequence(m.last()) > t.seq }

// newStay reports whether the VM has a history record that it had not before the call. Where it was
// not read before, the clocks tell.
func (t tracked) newStay(m *machine) bool {
	if t.seq >= 0 {
		return t.movedOn(m)
	}
	began := moment(m.last().text("STIME"))
	return began != nil && began.After(t.at)
}

func (t tracked) there(m *machine) bool {
	storage := t.goal.int(1)
	return m.on(t.goal.int(0)) && (storage < 0 || m.last().text("DS_ID") == strconv.Itoa(storage))
}

func (t tracked) hosted(h record) bool { return h.text("HID") == strconv.Itoa(t.goal.int(0)) }

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

// native is the operation's id: verb, object, last history record and reason before, time, goal. The
// time is in milliseconds, so that two operations of one verb on one object are told apart.
func (t tracked) native() string {
	seq := "x"
	if t.seq >= 0 {
		seq = strconv.Itoa(t.seq)
	}
	if t.reason != "" {
		seq += "e" + t.reason
	}
	return fmt.Sprintf("%s-%d-%s-%d-%s", t.verb, t.id, seq, t.at.UnixMilli(), t.goal)
}

var operationID = regexp.MustCompile(`^([a-zA-Z]{1,32})-([0-9]{1,10})-(x|[0-9]{1,10})(?:e([0-9a-f]{8}))?-([0-9]{1,15})-([A-Za-z0-9_.]{1,200})$`)

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
	t.reason = match[4]
	millis, err := strconv.ParseInt(match[5], 10, 64)
	if err != nil {
		return t, false
	}
	t.at = time.UnixMilli(millis).UTC()
	parts := strings.Split(match[6], ".")
	t.goal = goal{parts[0], parts[1:]}
	known := slices.ContainsFunc(courses, func(c course) bool { return c.is(t.goal) })
	return t, known || t.goal.name == "image" && t.goal.int(0) >= 0
}

// begun is the operation right after its call was accepted.
func (a *act) begun(g goal) *backends.Operation {
	t := tracked{verb: a.verb, id: a.id, seq: -1, at: a.d.cfg.Now().UTC().Truncate(time.Millisecond), goal: g}
	if a.m != nil {
		t.reason = checksum(a.m.user().text("ERROR"))
		if a.m.last().has("SEQ") {
			t.seq = sequence(a.m.last())
		}
	}
	o := a.d.operation(t)
	o.Cancellable = courseOf(g, a.r).fromDriver && !a.r.before(recoverSince[giveUp])
	if g.name == "none" || g.name == "made" {
		a.d.end(o, backends.OperationSucceeded, nil)
	}
	return o
}

// checksum tells one reason from another; "" for none.
func checksum(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(reason)))
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
	o.State, o.EndTime, o.Err, o.Cancellable = state, new(d.cfg.Now().UTC()), why, false
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

// judge ends an operation that has ended, by its row.
func (d *Driver) judge(o *backends.Operation, t tracked, m *machine) {
	row := courseOf(t.goal, t.r)
	early := d.cfg.Now().Sub(t.at) < grace
	holds := func(when func(tracked, *machine) bool) bool { return when != nil && when(t, m) }
	fail := func(code backends.Code, what string) {
		d.end(o, backends.OperationFailed, d.ended(t, m, code, what))
	}
	giveUp := func(end string) {
		fail(backends.BackendFault, "OpenNebula "+row.detail+end)
		o.GaveUp = true
	}
	switch foreign := t.foreign(m); {
	case row.reached(t, m) || holds(row.proved):
		d.end(o, backends.OperationSucceeded, nil)
	case m.at.moving(t.r):
		o.Cancellable = row.onTheWay(m.at, t.r) && allows(m.at, t.r, "recover-failure")
	case m.at.state == stDone:
		fail(backends.WrongState, "The VM was deleted meanwhile.")
	case row.gaveUpAt(m.at, t.r) && (!early || !t.mayStartFailed()):
		giveUp(", and gave up.")
	case holds(row.instead):
		fail(backends.WrongState, row.insteadSays)
	case holds(row.missed):
		giveUp(".")
	case early:
	case row.back.has(m.at, t.r) && foreign == "" && !(row.sameStay && t.newStay(m)):
		giveUp(".")
	default:
		what := "The VM is not where it was to go: somebody else moved it meanwhile, and nobody can tell how far it came."
		if foreign != "" {
			what += " The last thing that its history tells is \"" + foreign + "\"" + d.doer(m) + "."
		}
		d.end(o, backends.OperationUnknown, d.ended(t, m, backends.WrongState, what))
	}
}

// doer is who did what the last history record tells, as far as it says.
func (d *Driver) doer(m *machine) string {
	last := m.last()
	if user := d.ref(last.text("UID"), ""); user != nil {
		return ", by the user " + user.ID.String()
	}
	if last.text("ACTION") == actionMonitor {
		return ", which OpenNebula saw on the host"
	}
	return ""
}

func (t tracked) mayStartFailed() bool {
	return slices.Contains(fromFailure, t.goal.name) || slices.Contains(fromFailure, t.goal.String())
}

// ended is why an operation did not succeed.
func (d *Driver) ended(t tracked, m *machine, code backends.Code, what string) *backends.Error {
	state, _ := m.at.unified(t.r)
	return &backends.Error{
		Code: code, Op: "opennebula " + string(t.verb),
		Detail: what + " It is in " + m.at.name(t.r) + " now.",
		Fault:  &backends.Fault{ID: d.cfg.Name, Kind: backends.OpenNebula, Message: t.newReason(m)},
		State:  &backends.StateConflict{State: state, RawState: m.at.raw(t.r), AllowedActions: allowed(m.at, t.r)},
	}
}

// newReason is OpenNebula's own reason, unless it may be about something earlier: it stays until the
// next. Where the VM was not read before, it counts in a *_FAILURE state only.
func (t tracked) newReason(m *machine) string {
	text := m.user().text("ERROR")
	readBefore := t.seq >= 0 || t.reason != ""
	if readBefore && checksum(text) == t.reason || !readBefore && !m.at.failed(t.r) {
		return ""
	}
	return text
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
