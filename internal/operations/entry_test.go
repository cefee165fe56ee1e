package operations

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// Whatever a problem is made of comes back from the store; the cause, which is for the log, does not.
func TestFailuresSurviveTheStore(t *testing.T) {
	state := backends.StateRunning
	full := backends.Error{
		Code: backends.WrongState, Op: "opennebula migrate", Detail: "The VM is elsewhere.",
		Fields: []backends.FieldError{{Pointer: "/host", Detail: "unknown"}},
		Fault:  &backends.Fault{ID: "one", Kind: backends.OpenNebula, Method: "one.vm.migrate", Code: "2048", Params: []string{"a"}, Message: "no"},
		Wait:   1500 * time.Millisecond, MaybeDone: true, SupportedBy: []string{"xen"},
		State: &backends.StateConflict{
			State: state, RawState: &backends.RawState{}, AllowedActions: []backends.AllowedAction{{}},
		},
		Applied: []string{"a"}, NotApplied: []string{"b"}, Allow: []string{"GET"},
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Err" {
			t.Fatalf("this test says nothing of the member %s", name)
		}
	}
	withCause := full
	withCause.Err = errors.New("the cause")
	end := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	op := &backends.Operation{
		ID: backends.ID{Backend: "one", Native: "x"}, Backend: "one", Verb: "migrate", VM: &backends.ID{Backend: "one", Native: "1"},
		State: backends.OperationFailed, Progress: new(0.5), CreateTime: end.Add(-time.Minute), EndTime: &end, Err: &withCause,
	}
	text, err := entry{Owner: "o", Claimed: true, Cancelled: true, Operation: op}.encode()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "the cause") {
		t.Errorf("the cause is stored: %s", text)
	}
	got, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	want := *op
	want.Err = &full
	if !reflect.DeepEqual(got.Operation, &want) || got.Owner != "o" || !got.Claimed || !got.Cancelled {
		t.Errorf("%s\nbecame %+v (%+v)", text, got.Operation, got.Operation.Err)
	}
	for _, c := range backends.Codes() {
		if e := failureOf(&backends.Error{Code: c}).error(); e.Code != c {
			t.Errorf("%s becomes %s", c, e.Code)
		}
	}
	for _, damaged := range []string{"", "{}", "[]", `{"operation":{"id":"nonsense"}}`} {
		if e, err := decode([]byte(damaged)); err == nil {
			t.Errorf("%q is the operation %+v", damaged, e.Operation)
		}
	}
}

func TestMergeNeverGoesBack(t *testing.T) {
	run := func(progress *float64) *backends.Operation {
		return &backends.Operation{State: backends.OperationRunning, Progress: progress}
	}
	done := &backends.Operation{State: backends.OperationSucceeded}
	for _, tt := range []struct {
		name     string
		was, is  *backends.Operation
		state    backends.OperationState
		progress *float64
	}{
		{"from nothing", nil, run(new(0.2)), backends.OperationRunning, new(0.2)},
		{"on", run(new(0.2)), run(new(0.3)), backends.OperationRunning, new(0.3)},
		{"back", run(new(0.3)), run(new(0.2)), backends.OperationRunning, new(0.3)},
		{"to unknown progress", run(new(0.3)), run(nil), backends.OperationRunning, new(0.3)},
		{"to the end", run(new(0.3)), done, backends.OperationSucceeded, nil},
		{"after the end", done, run(new(0.9)), backends.OperationSucceeded, nil},
		{"to another end", done, &backends.Operation{State: backends.OperationFailed}, backends.OperationSucceeded, nil},
	} {
		got := merge(tt.was, tt.is)
		if got.State != tt.state || !reflect.DeepEqual(got.Progress, tt.progress) {
			t.Errorf("%s: %s, %v", tt.name, got.State, got.Progress)
		}
	}
}

func TestTaskOfAnOperation(t *testing.T) {
	const vm, task = "0b2f7c1e-0000-4000-8000-000000000001", "0b2f7c1e-0000-4000-8000-000000000002"
	tasks := map[string]backends.TaskChange{task: {Name: task}, "whole": {Name: "whole"}}
	for native, want := range map[string]string{
		"migrate-" + vm + "-" + task: task,
		"migrate-" + task + "-" + vm: "",
		"whole":                      "whole",
		"":                           "",
		"-":                          "",
		"awhole":                     "",
	} {
		if got, ok := taskOf(native, tasks); got.Name != want || ok != (want != "") {
			t.Errorf("the task of %q is %q, want %q", native, got.Name, want)
		}
	}
}
