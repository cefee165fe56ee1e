package opennebula

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// version is a release number, compared part by part; missing parts are 0. The zero version, as
// the end of a range, is no end.
type version [4]int

// v makes a version for a table.
func v(parts ...int) version {
	var r version
	copy(r[:], parts)
	return r
}

// parseVersion reads what one.system.version answers: "6.10.0", "5.12.0.4".
func parseVersion(text string) (version, error) {
	var r version
	parts := strings.Split(text, ".")
	if len(parts) < 2 || len(parts) > len(r) {
		return r, fmt.Errorf("a version of %d parts", len(parts))
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 {
			return r, fmt.Errorf("part %d of the version is not a number", i+1)
		}
		r[i] = n
	}
	return r, nil
}

func (r version) String() string {
	s := fmt.Sprintf("%d.%d.%d", r[0], r[1], r[2])
	if r[3] != 0 {
		s += "." + strconv.Itoa(r[3])
	}
	return s
}

func (r version) before(o version) bool { return slices.Compare(r[:], o[:]) < 0 }

// span is a range of releases. Since is the first; until is the first that no longer is in it, and
// the zero version when there is none yet.
type span struct{ since, until version }

func since(parts ...int) span { return span{since: v(parts...)} }

// upTo is every release before the one given.
func upTo(parts ...int) span { return span{until: v(parts...)} }

func between(since, until version) span { return span{since, until} }

func (s span) has(r version) bool {
	return !r.before(s.since) && (s.until == version{} || r.before(s.until))
}

// oldest is the first release that the gateway speaks to.
var oldest = v(3, 8)

// String says which releases are meant, and nothing where all are.
func (s span) String() string {
	short := func(r version) string { return strings.TrimSuffix(r.String(), ".0") }
	var parts []string
	if oldest.before(s.since) {
		parts = append(parts, "since "+short(s.since))
	}
	if s.until != (version{}) {
		parts = append(parts, "until "+short(s.until))
	}
	return strings.Join(parts, ", ")
}

// newest stands in before the first login has told the release: it is the newest that the tables
// know.
var newest = v(7, 4)

// feature is something that not every release has, or not in the same way.
type feature int

const (
	loginTokens        feature = iota // one.user.login; before, a session is user:password
	scopedTokens                      // the effective group as its fourth argument
	primaryGroup                      // filter flag -4
	abridgedPools                     // vmpool.info leaves parts of a VM out
	extendedPool                      // one.vmpool.infoextended
	vmSet                             // one.vmpool.infoset
	renameMethod                      // one.vm.rename
	updateMethod                      // one.vm.update
	updateAppend                      // its third argument
	updateconfMethod                  // one.vm.updateconf
	updateconfAppend                  // its third argument
	resizeMethod                      // one.vm.resize
	liveResize                        // … of a running VM
	holdArgument                      // of allocate and instantiate
	extraTemplate                     // fourth argument of instantiate
	persistentTemplate                // fifth
	enforceArgument                   // of deploy and migrate
	deployDatastore                   // fourth argument of deploy
	deployExtra                       // fifth
	migrateDatastore                  // fifth argument of migrate
	migrateKind                       // sixth: POWEROFF and POWEROFF_HARD
	saveDiskAs                        // one.vm.disksaveas; before, one.vm.savedisk
	recoverNumber                     // recover takes a number; before, a boolean
	tpmSection                        // TEMPLATE/TPM
	userTemplate                      // USER_TEMPLATE; before, users' attributes stood in TEMPLATE
)

// features is which releases have what. Source: the registrations and signatures in OpenNebula's
// src/rm, compared over all tags from 3.8 to 7.4.
var features = [...]span{
	loginTokens:        since(4, 10),
	scopedTokens:       since(5, 2),
	primaryGroup:       since(5, 2),
	abridgedPools:      since(5, 8),
	extendedPool:       since(5, 8, 1),
	vmSet:              since(5, 12, 0, 4),
	renameMethod:       since(4, 0),
	updateMethod:       since(4, 0),
	updateAppend:       since(4, 2),
	updateconfMethod:   since(5, 0),
	updateconfAppend:   since(6, 2),
	resizeMethod:       since(4, 0),
	liveResize:         since(6, 0),
	holdArgument:       since(4, 0),
	extraTemplate:      since(4, 0),
	persistentTemplate: since(5, 0),
	enforceArgument:    since(4, 0),
	deployDatastore:    since(4, 4),
	deployExtra:        since(5, 8),
	migrateDatastore:   since(4, 14),
	migrateKind:        since(5, 8),
	saveDiskAs:         since(4, 14),
	recoverNumber:      since(4, 14),
	tpmSection:         since(7, 0),
	userTemplate:       since(4, 0),
}

func (r version) hasFeature(f feature) bool { return features[f].has(r) }

// word is what one.vm.action calls something in a range of releases. Names change their meaning
// too: "shutdown" destroyed the VM up to 4.14, and "delete" became terminate-hard in 5.0.
type word struct {
	in   span
	name string
}

// words are the actions that were renamed, newest first; one that is not listed has kept its name.
// Source: RequestManagerVirtualMachine.cc of each release.
var words = map[string][]word{
	"terminate":      {{since(5, 0), "terminate"}, {upTo(5, 0), "shutdown"}},
	"terminate-hard": {{since(5, 0), "terminate-hard"}, {between(v(4, 0), v(5, 0)), "shutdown-hard"}, {upTo(4, 0), "cancel"}},
	"poweroff-hard":  {{since(4, 0), "poweroff-hard"}},
	"undeploy":       {{since(4, 0), "undeploy"}},
	"undeploy-hard":  {{since(4, 0), "undeploy-hard"}},
	"reboot-hard":    {{since(4, 0), "reboot-hard"}, {upTo(4, 0), "reset"}},
	"delete":         {{between(v(4, 0), v(5, 0)), "delete"}, {upTo(4, 0), "finalize"}},
	"recreate":       {{between(v(4, 0), v(5, 0)), "delete-recreate"}, {upTo(4, 0), "resubmit"}},
	"boot":           {{between(v(4, 0), v(4, 14)), "boot"}, {upTo(4, 0), "restart"}},
}

// word gives the name of an action in a release; false when the release has none.
func (r version) word(action string) (string, bool) {
	renamed, ok := words[action]
	if !ok {
		return action, true
	}
	i := slices.IndexFunc(renamed, func(w word) bool { return w.in.has(r) })
	if i < 0 {
		return "", false
	}
	return renamed[i].name, true
}
