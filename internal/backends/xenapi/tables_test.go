package xenapi

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

func TestStateOf(t *testing.T) {
	tests := []struct {
		name, power string
		current     []string
		state, base backends.State
	}{
		{"halted", "Halted", nil, backends.StateStopped, ""},
		{"paused", "Paused", nil, backends.StatePaused, ""},
		{"running", "Running", nil, backends.StateRunning, ""},
		{"suspended", "Suspended", nil, backends.StateSuspended, ""},
		{"a power state of a later release", "Hibernated", nil, backends.StateUnknown, ""},
		{"starting", "Halted", []string{"start"}, backends.StateStarting, ""},
		{"starting on a host", "Halted", []string{"start_on"}, backends.StateStarting, ""},
		{"resuming", "Suspended", []string{"resume_on"}, backends.StateStarting, ""},
		{"suspending", "Running", []string{"suspend"}, backends.StateSuspending, ""},
		{"checkpoint", "Running", []string{"checkpoint"}, backends.StateSuspending, ""},
		{"shutting down", "Running", []string{"clean_shutdown"}, backends.StateStopping, ""},
		{"rebooting", "Running", []string{"hard_reboot"}, backends.StateRebooting, ""},
		{"migrating", "Running", []string{"pool_migrate"}, backends.StateMigrating, ""},
		{"provisioning", "Halted", []string{"provision"}, backends.StateCreating, ""},
		{"deleting", "Halted", []string{"destroy"}, backends.StateDeleting, ""},
		{"cloning", "Halted", []string{"clone"}, backends.StateUpdating, backends.StateStopped},
		{"snapshot", "Running", []string{"snapshot"}, backends.StateUpdating, backends.StateRunning},
		{"an operation of a later release", "Suspended", []string{"teleport"}, backends.StateUpdating, backends.StateSuspended},
		{"only looking", "Running", []string{"data_source_op", "get_boot_record"}, backends.StateRunning, ""},
		{"a shutdown cuts off a migration", "Running", []string{"pool_migrate", "hard_shutdown"}, backends.StateStopping, ""},
		{"a snapshot of an unknown state", "Hibernated", []string{"snapshot"}, backends.StateUpdating, backends.StateUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			current := map[string]string{}
			for i, op := range tt.current {
				current[strings.Repeat("x", i+1)] = op
			}
			if state, base := stateOf(tt.power, current); state != tt.state || base != tt.base {
				t.Errorf("got %s (%s), want %s (%s)", state, base, tt.state, tt.base)
			}
		})
	}
}

// fact reads one of the files of facts, when they are here.
func fact(t *testing.T, name string, into any) bool {
	t.Helper()
	text, err := os.ReadFile("../../../../shared/facts/" + name)
	if os.IsNotExist(err) {
		t.Log("the facts are not here: only the table's own truths are checked")
		return false
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

func TestOperationsAreComplete(t *testing.T) {
	var facts struct {
		Enums map[string]struct {
			Values []string
			Old    []string `json:"in_oldest_tag"`
		}
	}
	for raw, i := range operationByName {
		if operations[i].raw != raw {
			t.Errorf("%s stands twice", raw)
		}
	}
	if !fact(t, "xenapi-vm.json", &facts) {
		return
	}
	enum := facts.Enums["vm_operations"]
	for _, raw := range append(enum.Values, enum.Old...) {
		if _, ok := operationByName[raw]; !ok {
			t.Errorf("no row for %s", raw)
		}
	}
}

func TestOperationsFor(t *testing.T) {
	for action, want := range map[string][]string{
		"start": {"start", "start_on"}, "shutdown": {"clean_shutdown", "shutdown", "hard_shutdown"}, "migrate": {"pool_migrate"},
		"hard_shutdown": {"hard_shutdown"}, "delete": {"destroy"}, "resetPowerState": {"power_state_reset"},
		"resume": {"resume", "resume_on", "unpause"}, "changing_VCPUs_live": {"changing_VCPUs_live"}, "setVcpuParam": {"changing_VCPUs_live"},
		"": nil, "fly": nil, "START": nil,
	} {
		if got := operationsFor(action); !slices.Equal(got, want) {
			t.Errorf("%q is %q, want %q", action, got, want)
		}
	}
}

func TestErrorTable(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range codeTable {
		for code := range strings.FieldsSeq(row.codes) {
			if seen[code] {
				t.Errorf("%s stands twice", code)
			}
			seen[code] = true
		}
	}
	for code := range details {
		if !seen[code] {
			t.Errorf("a detail for %s, which has no row", code)
		}
	}
	for code := range notes {
		if !seen[code] {
			t.Errorf("a note for %s, which has no row", code)
		}
	}
	rows := ErrorRows()
	if len(rows) != len(seen)+2 || !slices.IsSortedFunc(rows, func(a, b backends.ErrorRow) int { return strings.Compare(a.Code, b.Code) }) {
		t.Errorf("%d rows of %d codes, or out of order", len(rows), len(seen))
	}
	for code, want := range map[string]backends.Code{
		"SR_BACKEND_FAILURE_44": backends.Conflict, "SR_BACKEND_FAILURE_181": backends.BackendFault,
		"NO_HOSTS_AVAILABLE": backends.BackendUnavailable, "OF_A_LATER_RELEASE": backends.BackendFault,
		"INTERNAL_ERROR": backends.BackendFault, "OTHER_OPERATION_IN_PROGRESS": backends.WrongState,
	} {
		if got := codeOf(code); got != want {
			t.Errorf("%s becomes %s, want %s", code, got, want)
		}
	}
	var facts struct {
		Groups []struct {
			Errors []struct {
				Code   string
				Status int `json:"http_status"`
			}
		}
	}
	if !fact(t, "xenapi-errors.json", &facts) {
		return
	}
	allowed := map[int][]backends.Code{
		400: {backends.InvalidArgument}, 401: {backends.Unauthenticated, backends.BackendSessionEnded},
		403: {backends.PermissionDenied}, 404: {backends.NotFound, backends.Unprocessable},
		409: {backends.WrongState, backends.Conflict}, 422: {backends.Unprocessable}, 429: {backends.RateLimited},
		500: {backends.BackendFault}, 501: {backends.UnsupportedByBackend}, 502: {backends.BackendFault},
		503: {backends.BackendUnavailable}, 504: {backends.BackendTimeout},
	}
	for _, group := range facts.Groups {
		for _, e := range group.Errors {
			if got, ok := becomes[e.Code]; !ok || !slices.Contains(allowed[e.Status], got) {
				t.Errorf("%s (HTTP %d) becomes %s", e.Code, e.Status, got)
			}
		}
	}
}

func TestWritableMembers(t *testing.T) {
	var facts struct {
		Fields []struct {
			Name     string
			Required bool `json:"required_in_create"`
		}
	}
	known := map[string]bool{}
	for _, m := range backends.Members {
		known[m.Path] = true
	}
	for path := range writable {
		if !known[path] {
			t.Errorf("%s is not in the vocabulary", path)
		}
	}
	if !fact(t, "xenapi-vm.json", &facts) {
		return
	}
	record := defaultRecord()
	four := int64(4 << 30)
	if err := completeRecord(record, []backends.Change{{Path: "memory.staticMaxBytes", Value: four}}); err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, f := range facts.Fields {
		fields[f.Name] = true
		if _, ok := record[f.Name]; f.Required && !ok {
			t.Errorf("VM.create requires %s, which has no default", f.Name)
		}
	}
	for path, m := range writable {
		if !fields[m.field] {
			t.Errorf("%s is said as %s, which XenAPI has not", path, m.field)
		}
	}
	for _, field := range vmNames {
		if !fields[field] {
			t.Errorf("%s is read, which XenAPI has not", field)
		}
	}
}

func TestNativeTypes(t *testing.T) {
	var facts struct {
		Fields []struct{ Name, Type string }
	}
	if !fact(t, "xenapi-vm.json", &facts) {
		return
	}
	for _, f := range facts.Fields {
		if (f.Type == "int") != vmInts[f.Name] {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
		_, class, isRef := strings.Cut(f.Type, "ref ")
		class = strings.TrimSuffix(class, ")")
		if f.Name == "current_operations" {
			isRef, class = true, "task" // its keys
		}
		if got, ok := vmRefs[f.Name]; ok != isRef || got != class {
			t.Errorf("%s is a %s, and not of %q", f.Name, f.Type, got)
		}
	}
}

func TestCheckID(t *testing.T) {
	d := newDriver(t, "http://127.0.0.1:1")
	const good = "0b2f7c1e-6c62-3e5c-8a1d-3f1f0e5a9b77"
	if !d.CheckID(good) {
		t.Errorf("%s is refused", good)
	}
	for _, bad := range []string{
		"", "42", strings.ToUpper(good), good + " ", good[:35], good + "0", "OpaqueRef:" + good, "0b2f7c1e-6c62-3e5c-8a1d-3f1f0e5a9b7g",
		strings.ReplaceAll(good, "-", "_"), "{" + good[1:35] + "}",
	} {
		if d.CheckID(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestExpression(t *testing.T) {
	const visible = `field "is_a_template" = "false" and field "is_a_snapshot" = "false" and field "is_control_domain" = "false"`
	tests := []struct {
		name string
		q    backends.Query
		want string
	}{
		{"all", backends.Query{ShowTemplates: true}, "true"},
		{"no templates", backends.Query{}, visible},
		{"by name", backends.Query{ShowTemplates: true, DisplayNames: []string{"a b", "c"}}, `(field "name__label" = "a b" or field "name__label" = "c")`},
		{"a name with a quote", backends.Query{ShowTemplates: true, DisplayNames: []string{`a" or true`}}, "true"},
		{"a name with a backslash", backends.Query{ShowTemplates: true, DisplayNames: []string{`a\`}}, "true"},
		{"running", backends.Query{States: []string{"RUNNING"}}, visible + ` and (field "power_state" = "Running")`},
		{"a state under way", backends.Query{States: []string{"RUNNING", "STARTING"}}, visible},
		{"a state XenAPI has not", backends.Query{ShowTemplates: true, States: []string{"HELD"}}, "false"},
		{"nothing can match", backends.Query{ShowTemplates: true, RawStates: []string{}}, "false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := expression(tt.q); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	const g = int64(1 << 30)
	p := func(n int64) *int64 { return &n }
	is := limits{g, 4 * g, 4 * g, 4 * g}
	tests := []struct {
		name   string
		asked  askedLimits
		static bool
		want   limits
		ok     bool
	}{
		{"more, halted", askedLimits{dynamicMax: p(8 * g)}, true, limits{g, 4 * g, 8 * g, 8 * g}, true},
		{"less, halted", askedLimits{dynamicMax: p(2 * g)}, true, limits{g, 2 * g, 2 * g, 4 * g}, true},
		{"less than ever", askedLimits{staticMax: p(g / 2)}, true, limits{g / 2, g / 2, g / 2, g / 2}, true},
		{"a higher floor", askedLimits{dynamicMin: p(6 * g)}, true, limits{g, 6 * g, 6 * g, 6 * g}, true},
		{"less, running", askedLimits{dynamicMax: p(2 * g)}, false, limits{g, 2 * g, 2 * g, 4 * g}, true},
		{"more than possible, running", askedLimits{dynamicMax: p(8 * g)}, false, limits{g, 4 * g, 8 * g, 4 * g}, false},
		{"less than possible, running", askedLimits{dynamicMax: p(g / 2)}, false, limits{g, g / 2, g / 2, 4 * g}, false},
		{"a contradiction", askedLimits{dynamicMin: p(3 * g), dynamicMax: p(2 * g)}, true, limits{}, false},
		{"nothing left", askedLimits{staticMax: p(0)}, true, limits{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := is.with(tt.asked).fit(tt.asked, tt.static)
			if tt.want != (limits{}) && got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if err := got.check(tt.asked); (err == nil) != tt.ok {
				t.Errorf("check: %v", err)
			}
		})
	}
}

func TestParseOperation(t *testing.T) {
	const vm, task = "0b2f7c1e-6c62-3e5c-8a1d-3f1f0e5a9b77", "1b2f7c1e-6c62-3e5c-8a1d-3f1f0e5a9b77"
	verb, gotVM, gotTask, ok := parseOperation("resetPowerState-" + vm + "-" + task)
	if !ok || verb != "resetPowerState" || gotVM != vm || gotTask != task {
		t.Errorf("got %s, %s, %s, %v", verb, gotVM, gotTask, ok)
	}
	for _, bad := range []string{"", "start", "start-" + vm, "start-" + vm + "-1795343646", "start" + vm + "-" + task, "start-" + vm + "." + task} {
		if _, _, _, ok := parseOperation(bad); ok {
			t.Errorf("%q is taken for an operation", bad)
		}
	}
}
