package opennebula

import (
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

// course is a row of what becomes of an operation with a goal, in a range of releases. A VM that is
// on none of a row's places when it has settled was moved by somebody else.
type course struct {
	goal    string // its name, or name and arguments
	in      span
	through []string // LCM states on the way there
	// fromDriver says that the first of through is entered before the call is answered.
	fromDriver bool
	reached    func(t tracked, m *machine) bool
	// proved reports whether the history shows that the goal was reached, wherever the VM is now.
	proved func(t tracked, m *machine) bool
	// missed reports whether the history shows at once that OpenNebula fell back.
	missed func(t tracked, m *machine) bool
	// instead reports whether something else was done than what was asked, and what.
	instead     func(t tracked, m *machine) bool
	insteadSays string
	// back is where OpenNebula puts the VM when a driver fails, or where it just stays. After grace it
	// ends the operation, unless the history tells of somebody else.
	back     where
	sameStay bool     // … without a new history record
	failures []string // where OpenNebula gives up: these, and before 4.14 FAILED
	detail   string   // of a fallback: what OpenNebula could not do
}

var (
	failedOnce = []string{"FAILED", "FAILURE"}
	stillOn    = where{lcm: []int{lcmRunning, lcmUnknown}}
	offHost    = where{states: []int{stPending, stHold, stStopped, stUndeployed}}
	notStarted = where{states: []int{stPoweroff, stSuspended}, lcm: []int{lcmUnknown}}
	anyHosted  = where{states: []int{stPoweroff, stSuspended}, lcm: []int{lcmRunning, lcmUnknown}}
	anySettled = where{states: []int{stPending, stHold, stStopped, stSuspended, stPoweroff, stUndeployed}, lcm: []int{lcmRunning, lcmUnknown}}

	bootSteps    = []string{"BOOT", "BOOT_UNKNOWN", "BOOT_POWEROFF", "BOOT_SUSPENDED", "BOOT_STOPPED", "BOOT_UNDEPLOY", "PROLOG", "PROLOG_RESUME", "PROLOG_UNDEPLOY"}
	bootFailures = []string{"BOOT_FAILURE", "BOOT_STOPPED_FAILURE", "BOOT_UNDEPLOY_FAILURE", "PROLOG_FAILURE", "PROLOG_RESUME_FAILURE", "PROLOG_UNDEPLOY_FAILURE"}
	moveSteps    = []string{"SAVE_MIGRATE", "PROLOG_MIGRATE", "PROLOG_MIGRATE_POWEROFF", "PROLOG_MIGRATE_SUSPEND", "PROLOG_MIGRATE_UNKNOWN", "BOOT_MIGRATE", "BOOT"}
	moveFailures = []string{"PROLOG_MIGRATE_FAILURE", "PROLOG_MIGRATE_POWEROFF_FAILURE", "PROLOG_MIGRATE_SUSPEND_FAILURE", "PROLOG_MIGRATE_UNKNOWN_FAILURE", "BOOT_MIGRATE_FAILURE", "BOOT_FAILURE"}
)

// courses is every goal. Source: src/lcm/LifeCycleStates.cc and LifeCycleActions.cc of 3.8.5, 4.14.2,
// 5.12.0, 6.10.0 and 7.4.0, and recordings of what failed drivers leave in oned 6.10.0.
var courses = []course{
	{goal: "none", reached: atOnce},
	{goal: "made", reached: atOnce},

	{goal: goalPoweroff.String(), through: []string{"SHUTDOWN_POWEROFF"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, detail: "could not shut it down"},
	{goal: goalSuspended.String(), through: []string{"SAVE_SUSPEND"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, detail: "could not suspend it"},

	{goal: goalStopped.String(), in: since(4, 14), through: []string{"SAVE_STOP", "EPILOG_STOP"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, failures: []string{"EPILOG_STOP_FAILURE"}, detail: "could not store it"},
	{goal: goalStopped.String(), in: upTo(4, 14), through: []string{"SAVE_STOP", "EPILOG_STOP"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, failures: failedOnce, detail: "could not store it"},
	{goal: goalUndeployed.String(), in: since(4, 14), through: []string{"SHUTDOWN_UNDEPLOY", "EPILOG_UNDEPLOY"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, failures: []string{"EPILOG_UNDEPLOY_FAILURE"}, detail: "could not undeploy it"},
	{goal: goalUndeployed.String(), in: upTo(4, 14), through: []string{"SHUTDOWN_UNDEPLOY", "EPILOG_UNDEPLOY"}, fromDriver: true, reached: inGoalState, back: stillOn, sameStay: true, failures: failedOnce, detail: "could not undeploy it"},
	{goal: goalDone.String(), in: since(4, 14), through: []string{"SHUTDOWN", "EPILOG"}, reached: inGoalState, back: stillOn, sameStay: true, failures: []string{"EPILOG_FAILURE"}, detail: "could not shut it down"},
	{goal: goalDone.String(), in: upTo(4, 14), through: []string{"SHUTDOWN", "EPILOG"}, reached: inGoalState, back: stillOn, sameStay: true, failures: failedOnce, detail: "could not shut it down"},

	// A VM that was stored or held waits for the scheduler next, as long as it takes.
	{goal: "started", in: since(4, 14), through: bootSteps, reached: startedOrWaiting, back: notStarted, failures: bootFailures, detail: "could not start it"},
	{goal: "started", in: upTo(4, 14), through: bootSteps, reached: startedOrWaiting, back: notStarted, failures: failedOnce, detail: "could not start it"},
	{goal: "on", in: since(4, 14), through: bootSteps, reached: runsThere, instead: runsElsewhere, insteadSays: "It runs, but not on the host wanted.", back: offHost, failures: bootFailures, detail: "could not deploy it on the host wanted"},
	{goal: "on", in: upTo(4, 14), through: bootSteps, reached: runsThere, instead: runsElsewhere, insteadSays: "It runs, but not on the host wanted.", back: offHost, failures: failedOnce, detail: "could not deploy it on the host wanted"},

	// A failed migration falls back to where the VM was, with two history records more, of which the
	// first, on the host wanted, never ran.
	{goal: "moved", in: since(4, 14), through: moveSteps, fromDriver: true, reached: restsThere, missed: cameBack, back: anyHosted, sameStay: true, failures: moveFailures, detail: "could not move it to the host wanted"},
	{goal: "moved", in: upTo(4, 14), through: moveSteps, fromDriver: true, reached: restsThere, missed: cameBack, back: anyHosted, sameStay: true, failures: failedOnce, detail: "could not move it to the host wanted"},
	{goal: "movedlive", through: []string{"MIGRATE"}, fromDriver: true, reached: ranThere, proved: wentLive, missed: cameBack, back: anyHosted, sameStay: true, detail: "could not move it to the host wanted",
		instead: wentCold, insteadSays: "It had stopped running before it could be moved live, and OpenNebula moved it as it was."},

	{goal: "recreated", reached: waitsAnew, back: anyHosted, detail: "could not recreate it"},
	{goal: "left", reached: leftWell, back: anySettled, failures: []string{"*"}, detail: "could not be recovered"},
	{goal: "leftorfailed", reached: tracked.left, detail: "could not be recovered"},
	{goal: "sized", through: []string{"HOTPLUG_RESIZE"}, reached: hasSize, back: anySettled, detail: "could not resize it, or somebody has resized it again"},
}

// is reports whether the row is one of this goal.
func (c *course) is(g goal) bool { return c.goal == g.name || c.goal == g.String() }

// courseOf is the row of a goal. Every goal that is known has one in every release.
func courseOf(g goal, r version) *course {
	i := slices.IndexFunc(courses, func(c course) bool { return c.is(g) && c.in.has(r) })
	if i < 0 {
		return &course{reached: func(tracked, *machine) bool { return false }}
	}
	return &courses[i]
}

func atOnce(tracked, *machine) bool { return true }

func inGoalState(t tracked, m *machine) bool { return m.at.state == t.goal.int(0) }

func startedOrWaiting(_ tracked, m *machine) bool {
	return m.at.doing(lcmRunning) || m.at.state == stPending
}

func runsThere(t tracked, m *machine) bool {
	return m.at.doing(lcmRunning) && m.on(t.goal.int(0))
}

func runsElsewhere(t tracked, m *machine) bool {
	return m.at.doing(lcmRunning) && !m.on(t.goal.int(0))
}

func restsThere(t tracked, m *machine) bool { return t.movedOn(m) && t.there(m) && m.resting() }

// cameBack reports whether the VM is elsewhere without ever having run where it was to go.
func cameBack(t tracked, m *machine) bool {
	return t.movedOn(m) && !t.there(m) && !slices.ContainsFunc(m.history(), func(h record) bool {
		return sequence(h) > t.seq && t.hosted(h) && moment(h.text("RSTIME")) != nil
	})
}

func ranThere(t tracked, m *machine) bool {
	return t.movedOn(m) && t.there(m) && m.at.doing(lcmRunning)
}

// wentLive reports whether the stay before ended with a live migration, and the next one, on the
// host wanted, has a time from which the VM ran. Releases before 4.14 do not tell.
func wentLive(t tracked, m *machine) bool {
	var left, ran bool
	for _, h := range m.history() {
		switch sequence(h) {
		case t.seq:
			left = h.text("ACTION") == actionLiveMigrate
		case t.seq + 1:
			ran = t.hosted(h) && moment(h.text("RSTIME")) != nil
		}
	}
	return left && ran
}

// wentCold reports whether the VM was moved while it did not run. Where the history has no actions,
// nobody can tell whether it was shut down before or after.
func wentCold(t tracked, m *machine) bool {
	return t.movedOn(m) && t.there(m) && !m.at.doing(lcmRunning) && m.last().has("ACTION") && !wentLive(t, m)
}

func waitsAnew(t tracked, m *machine) bool { return waiting(m) || t.movedOn(m) }

// endings are the LCM states that DONE is the way out of.
var endings = []int{lcmEpilog, lcmShutdown, lcmCancel, lcmCleanupDelete, lcmEpilogFailure}

// leftWell reports whether the VM has left the place that it was recovered from, for where that
// leads: only the end of a VM leads to DONE.
func leftWell(t tracked, m *machine) bool {
	if m.at.state == stDone && !slices.Contains(endings, t.goal.int(1)) {
		return false
	}
	return t.left(m) && !m.at.failed(t.r)
}

func hasSize(t tracked, m *machine) bool {
	return m.at.state != stDone && !m.at.doing(lcmHotplugResize) && t.sized(m)
}

// gaveUpAt reports whether the place is one where OpenNebula gives this goal up.
func (c *course) gaveUpAt(p place, r version) bool {
	if !p.failed(r) {
		return false
	}
	return slices.Contains(c.failures, "*") || slices.Contains(c.failures, p.name(r))
}

// onTheWay reports whether the place is a step towards the goal.
func (c *course) onTheWay(p place, r version) bool {
	_, lcm := p.rows(r)
	return lcm != nil && slices.Contains(c.through, lcm.name)
}

// actionLiveMigrate and actionMonitor are numbers of HISTORY/ACTION.
const (
	actionLiveMigrate = "2"
	actionMonitor     = "44"
)

// ownActions are the history's names of what a verb does itself: any other action that the last
// record ends with is somebody else's. The first word of a name is enough.
var ownActions = map[backends.Verb][]string{
	"start":             {"resume", "boot", "release"},
	"resume":            {"resume", "boot", "deploy"},
	"shutdown":          {"poweroff"},
	"suspend":           {"suspend"},
	"stop":              {"stop"},
	"undeploy":          {"undeploy"},
	"terminate":         {"terminate", "shutdown"},
	backends.VerbDelete: {"terminate", "shutdown", "delete", "recover"},
	"migrate":           {"migrate", "live-migrate", "poff"},
	"resize":            {"resize"},
	"recover":           {"recover", "retry", "delete"},
	"recreate":          {"delete-recreate", "recover"},
}

// foreign is what the history's last record says that somebody else did; "" when it tells nothing.
func (t tracked) foreign(m *machine) string {
	last := m.last()
	code, ok := number(last.text("ACTION"))
	if !ok || code == 0 || code >= len(historyActions) {
		return ""
	}
	name := historyActions[code]
	if slices.ContainsFunc(ownActions[t.verb], func(own string) bool { return strings.HasPrefix(name, own) }) {
		return ""
	}
	return name
}
