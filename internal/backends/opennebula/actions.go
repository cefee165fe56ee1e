package opennebula

import (
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

// where is a set of places: states, and LCM states of ACTIVE.
type where struct {
	states []int
	lcm    []int
	// transient and failures add the ACTIVE places in which OpenNebula is at work, or has given up.
	transient, failures bool
	// steps adds the LCM states whose names begin so.
	steps []string
}

func (w where) has(p place, r version) bool {
	if !p.active() {
		return slices.Contains(w.states, p.state)
	}
	state, _ := p.unified(r)
	return slices.Contains(w.lcm, p.lcm) || w.transient && !state.Settled() || w.failures && state == backends.StateFailed || w.hasStep(p, r)
}

func (w where) hasStep(p place, r version) bool {
	_, lcm := p.rows(r)
	return lcm != nil && slices.ContainsFunc(w.steps, func(step string) bool { return strings.HasPrefix(lcm.name, step) })
}

// action is a row of what may be done where. Several rows of one verb add up.
type action struct {
	verb backends.Verb // as clients call it; "" where this API has no verb for it
	raw  string        // as OpenNebula calls it
	in   span
	at   where
}

var (
	running      = where{lcm: []int{lcmRunning}}
	unknown      = where{lcm: []int{lcmUnknown}}
	notPlaced    = where{states: []int{stStopped, stUndeployed}}
	placedOff    = where{states: []int{stPoweroff, stSuspended}}
	neverStarted = where{states: []int{stInit, stPending, stHold, stCloning, stCloningFailure}}
	atRest       = where{states: []int{stSuspended, stPoweroff, stStopped, stUndeployed}}
	anyButDone   = where{states: []int{stInit, stPending, stHold, stStopped, stSuspended, stFailed, stPoweroff, stUndeployed, stCloning, stCloningFailure}, lcm: []int{lcmInit, lcmRunning, lcmUnknown}, transient: true, failures: true}
	oldRecreate  = where{states: []int{stInit, stPending, stHold, stStopped, stUndeployed, stFailed, stCloning, stCloningFailure}, lcm: []int{lcmInit, lcmRunning, lcmUnknown}, transient: true, failures: true}
	bootUnderWay = where{states: []int{stPoweroff}, lcm: []int{lcmUnknown, lcmBoot, 19, 20, 21, 22}}
	underWay     = where{transient: true}
	gaveUp       = where{failures: true}
	driverSteps  = where{steps: []string{"PROLOG", "BOOT", "MIGRATE", "SAVE_", "EPILOG", "SHUTDOWN"}}
)

// actions is what OpenNebula allows where, by release. It is advice: permissions, quotas, locks and
// drivers can still refuse. What would succeed without doing anything (terminate and delete on
// DONE, recover on a VM that is well or where no driver was asked) is not in it.
//
// Source: the state checks in src/dm/DispatchManagerActions.cc, src/lcm/LifeCycleActions.cc and
// src/rm/RequestManagerVirtualMachine.cc of 3.8.5, 4.14.2, 5.12.0, 6.10.0 and 7.4.0.
var actions = []action{
	{"start", "release", span{}, where{states: []int{stHold}}},
	{"start", "resume", since(4, 0), where{states: []int{stStopped, stUndeployed, stPoweroff}}},
	{"start", "resume", upTo(4, 0), where{states: []int{stStopped}}},
	{"start", "resume", since(4, 14), unknown},
	{"start", "boot", between(v(4, 0), v(4, 14)), unknown},
	{"start", "restart", upTo(4, 0), where{states: []int{stPoweroff}, lcm: []int{lcmUnknown}}},
	{"", "boot", between(v(4, 0), v(4, 14)), bootUnderWay},
	{"", "restart", upTo(4, 0), bootUnderWay},

	{"shutdown", "poweroff", span{}, running},
	{"shutdown", "poweroff", since(4, 4), unknown},
	{"shutdown", "poweroff-hard", since(4, 0), running},
	{"shutdown", "poweroff-hard", since(4, 4), unknown},
	{"shutdown", "poweroff-hard", since(6, 0), where{lcm: []int{lcmShutdownPoweroff}}},
	{"reboot", "reboot", span{}, running},
	{"reboot", "reboot-hard", since(4, 0), running},
	{"reboot", "reset", upTo(4, 0), running},
	{"suspend", "suspend", span{}, running},

	{"resume", "resume", span{}, where{states: []int{stSuspended, stStopped}}},
	{"resume", "resume", since(4, 0), where{states: []int{stUndeployed, stPoweroff}}},
	{"resume", "resume", since(4, 14), unknown},

	{"stop", "stop", span{}, running},
	{"stop", "stop", since(4, 14), where{states: []int{stSuspended}}},
	{"undeploy", "undeploy", since(4, 0), running},
	{"undeploy", "undeploy", since(4, 4), unknown},
	{"undeploy", "undeploy", since(4, 14), where{states: []int{stPoweroff}}},
	{"undeploy", "undeploy-hard", since(4, 0), running},
	{"undeploy", "undeploy-hard", since(4, 4), unknown},
	{"undeploy", "undeploy-hard", since(4, 14), where{states: []int{stPoweroff}}},
	{"undeploy", "undeploy-hard", since(6, 0), where{lcm: []int{lcmShutdownUndeploy}}},
	{"hold", "hold", span{}, where{states: []int{stPending}}},
	{"release", "release", span{}, where{states: []int{stHold}}},
	{"deploy", "deploy", span{}, where{states: []int{stPending}}},
	{"deploy", "deploy", since(4, 0), where{states: []int{stHold}}},
	{"deploy", "deploy", since(4, 14), notPlaced},

	{"terminate", "terminate", since(5, 0), neverStarted},
	{"terminate", "terminate", since(5, 0), atRest},
	{"terminate", "terminate", since(5, 0), where{lcm: []int{lcmRunning, lcmUnknown}, failures: true}},
	{"terminate", "terminate-hard", since(5, 0), neverStarted},
	{"terminate", "terminate-hard", since(5, 0), atRest},
	{"terminate", "terminate-hard", since(5, 0), where{lcm: []int{lcmRunning, lcmUnknown}, failures: true}},
	{"terminate", "terminate-hard", since(6, 0), where{lcm: []int{lcmShutdown}}},
	{"terminate", "shutdown", upTo(5, 0), running},
	{"terminate", "shutdown", between(v(4, 4), v(5, 0)), unknown},
	{"terminate", "shutdown", between(v(4, 14), v(5, 0)), placedOff},
	{"terminate", "shutdown-hard", between(v(4, 0), v(5, 0)), running},
	{"terminate", "shutdown-hard", between(v(4, 4), v(5, 0)), unknown},
	{"terminate", "shutdown-hard", between(v(4, 14), v(5, 0)), placedOff},
	{"terminate", "cancel", upTo(4, 0), running},
	{"delete", "terminate-hard", since(5, 0), neverStarted},
	{"delete", "terminate-hard", since(5, 0), atRest},
	{"delete", "terminate-hard", since(5, 0), where{lcm: []int{lcmRunning, lcmUnknown}, failures: true}},
	{"delete", "terminate-hard", since(6, 0), where{lcm: []int{lcmShutdown}}},
	{"delete", "recover-delete", since(5, 0), anyButDone},
	{"delete", "delete", between(v(4, 0), v(5, 0)), anyButDone},
	{"delete", "finalize", upTo(4, 0), anyButDone},

	{"recreate", "recover-recreate", since(6, 10), anyButDone},
	{"recreate", "recover-recreate", between(v(5, 0), v(6, 10)), oldRecreate},
	{"recreate", "delete-recreate", between(v(4, 0), v(5, 0)), oldRecreate},
	{"recreate", "resubmit", upTo(4, 0), oldRecreate},
	{"recover", "recover-failure", since(4, 0, 1), underWay},
	{"recover", "recover-success", since(4, 0, 1), underWay},
	{"recover", "recover-success", since(4, 0, 1), gaveUp},
	{"recover", "recover-success", since(4, 0, 1), unknown},
	{"recover", "recover-success", since(5, 0), where{states: []int{stCloningFailure}}},
	{"recover", "recover-retry", since(4, 14), driverSteps},
	{"recover", "recover-delete", since(5, 0), anyButDone},
	{"recover", "recover-recreate", since(6, 10), anyButDone},
	{"recover", "recover-recreate", between(v(5, 0), v(6, 10)), oldRecreate},
	{"recover", "recover-delete-db", since(5, 8), anyButDone},

	{"migrate", "live-migrate", span{}, running},
	{"migrate", "migrate", span{}, running},
	{"migrate", "migrate", since(4, 10), unknown},
	{"migrate", "migrate", since(4, 14), placedOff},
	{"resize", "resize", since(4, 0), where{states: []int{stInit, stPending, stHold, stPoweroff, stUndeployed, stCloning, stCloningFailure}}},
	{"resize", "resize", since(6, 0), running},
	{"saveDisk", "disk-saveas", since(4, 14), where{states: []int{stPoweroff, stSuspended}, lcm: []int{lcmRunning}}},
	{"saveDisk", "disk-saveas", since(6, 0), notPlaced},
	{"saveDisk", "savedisk", upTo(4, 14), running},

	{"", "resched", span{}, running},
	{"", "resched", since(4, 10), unknown},
	{"", "resched", since(5, 10), where{states: []int{stPoweroff}}},
	{"", "unresched", span{}, running},
	{"", "unresched", since(4, 10), unknown},
	{"", "unresched", since(5, 10), where{states: []int{stPoweroff}}},
}

// allowed is what a place allows, each pair of verb and action once.
func allowed(p place, r version) []backends.AllowedAction {
	found := []backends.AllowedAction{}
	for _, a := range actions {
		one := backends.AllowedAction{Action: a.verb, Raw: a.raw}
		if a.in.has(r) && a.at.has(p, r) && !slices.Contains(found, one) {
			found = append(found, one)
		}
	}
	return found
}

// allows reports whether a place allows an action under OpenNebula's name of it.
func allows(p place, r version, raw string) bool {
	return slices.ContainsFunc(allowed(p, r), func(a backends.AllowedAction) bool { return a.Raw == raw })
}

// knownAction reports whether name is a verb, or any release's name of an action.
func knownAction(name string) bool {
	return isVerb(backends.Verb(name)) || slices.ContainsFunc(actions, func(a action) bool { return a.raw == name })
}
