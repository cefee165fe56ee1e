package opennebula

import (
	"slices"
	"strconv"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire"
)

// TestRefusals gives texts recorded from oned 6.10.0 and 4.14.2 with what they become.
func TestRefusals(t *testing.T) {
	d := recordedDriver(t)
	s := backends.NewSession("alice:0123456789")
	for _, c := range []struct {
		code    int
		text    string
		r       request
		want    backends.Code
		pointer string
	}{
		{256, "[one.vm.info] User couldn't be authenticated, aborting call.", request{}, backends.BackendSessionEnded, ""},
		{256, "[SystemVersion] User couldn't be authenticated, aborting call.", request{login: true}, backends.Unauthenticated, ""},
		{512, "[one.vm.info] User [2] : Not authorized to perform USE VM [1].", request{}, backends.PermissionDenied, ""},
		{512, "[one.vm.allocate] User [2] : user [2] limit of 1 reached for VMS quota in VM.", request{}, backends.PermissionDenied, ""},
		{512, "[one.vm.allocate] User [2] : VM Template includes a restricted attribute MAC.", request{}, backends.PermissionDenied, "/opennebula/template"},
		{512, "[one.vm.rename] User [0] : VM is locked. [5].", request{}, backends.Conflict, ""},
		{1024, "[one.vm.migrate] Error getting virtual machine [9999].", request{subject: "virtual machine"}, backends.NotFound, ""},
		{1024, "[one.vm.migrate] Error getting host [99].", request{subject: "virtual machine"}, backends.Unprocessable, "/host"},
		{1024, "[VirtualMachineDeploy] Error getting datastore [99].", request{subject: "virtual machine"}, backends.Unprocessable, "/datastore"},
		{1024, "[one.vm.chown] Error getting user [99].", request{subject: "virtual machine"}, backends.Unprocessable, "/owner/user/id"},
		{1024, "[one.template.instantiate] Error getting virtual machine template [99].", request{subject: "virtual machine template"}, backends.NotFound, ""},
		{1024, "[one.host.info] Error getting host [99].", request{subject: "host"}, backends.NotFound, ""},
		{2048, `[one.vm.action] Error performing action "hold": This action is not available for state HOLD`, request{}, backends.WrongState, ""},
		{2048, `[one.vm.action] Action "frobnicate" is not supported`, request{}, backends.UnsupportedByBackend, ""},
		{2048, "[one.vm.migrate] VM is already running on host [2]", request{}, backends.Conflict, "/host"},
		{2048, "[one.vm.migrate] A migration to a different system datastore cannot be performed live.", request{}, backends.Unprocessable, "/datastore"},
		{2048, "[one.vm.deploy] virtual machine [15] does not fit in host [0]. Not enough CPU: 400000/800", request{}, backends.Conflict, "/host"},
		{2048, "[one.vm.rename] Invalid NAME, max length is 128 chars", request{asked: askedName}, backends.InvalidArgument, "/displayName"},
		{2048, "[one.vm.recover] Wrong recovery operation code", request{}, backends.UnsupportedByBackend, "/outcome"},
		{4096, "[one.user.login] Max number of tokens limit reached.", request{asked: askedLogin}, backends.Conflict, ""},
		{4096, "[one.user.login] Could not find token: x", request{asked: askedLogout}, backends.NotFound, ""},
		{4096, "[one.vmpool.info] Incorrect filter_flag", request{}, backends.InvalidArgument, ""},
		{8192, "[one.vm.allocate] Parse error: XML Template malformed.", request{asked: askedTemplate}, backends.InvalidArgument, "/opennebula/template"},
		{8192, "[one.vm.allocate] MEMORY attribute must be a positive integer value.", request{asked: askedTemplate}, backends.InvalidArgument, "/memory/dynamicMaxBytes"},
		{8192, "[one.vm.allocate] DISK 0: Image with ID: 99 does not exist", request{asked: askedTemplate}, backends.Unprocessable, "/opennebula/template"},
		{8192, "[one.vm.disksaveas] Cannot use DISK. DISK does not exist.", request{asked: askedDisk}, backends.NotFound, ""},
		{8192, "[one.vm.disksaveas] VM has to be RUNNING, POWEROFF or SUSPENDED to save disks.", request{asked: askedDisk}, backends.WrongState, ""},
		{8192, "[one.vm.deploy] Trying to use datastore [100] to deploy the VM, but it is not of type system datastore.", request{}, backends.Unprocessable, "/datastore"},
		{8192, "[one.vm.backupcancel] Could not cancel backup", request{}, backends.BackendFault, ""},
		{16384, "[one.vm.disksaveas] Error allocating a new image. NAME is already taken by IMAGE 6.", request{}, backends.Conflict, "/imageName"},
		{16384, "[one.vm.disksaveas] Error allocating a new image. Unknown type ", request{}, backends.InvalidArgument, "/imageType"},
		{32768, "locked", request{}, backends.Conflict, ""},
		{65536, "not the leader", request{}, backends.BackendUnavailable, ""},
		{77, "a code that nobody knows", request{}, backends.BackendFault, ""},
	} {
		e := d.refused(s, c.r, &refusal{text: c.text, code: c.code, object: -1})
		pointer := ""
		if len(e.Fields) > 0 {
			pointer = e.Fields[0].Pointer
		}
		if e.Code != c.want || pointer != c.pointer || e.Detail == "" {
			t.Errorf("%d %q: %s at %q (%s), want %s at %q", c.code, c.text, e.Code, pointer, e.Detail, c.want, c.pointer)
		}
		if e.Fault.Code != strconv.Itoa(c.code) || e.Fault.Message != c.text {
			t.Errorf("%d: told as %+v", c.code, e.Fault)
		}
	}
}

func TestFaults(t *testing.T) {
	d := recordedDriver(t)
	for code, want := range map[int]backends.Code{
		-500: backends.BackendFault, -501: backends.Internal, -503: backends.InvalidArgument, -506: backends.UnsupportedByBackend, -999: backends.BackendFault,
	} {
		e := d.fault(request{method: "one.x", changes: true}, &wire.Fault{Method: "one.x", Code: code, Text: "secret"})
		if e.Code != want || e.Fault.Message != "" || e.MaybeDone != (code == -500) {
			t.Errorf("%d: %s, %+v, maybe done %t; want %s", code, e.Code, e.Fault, e.MaybeDone, want)
		}
	}
}

// TestErrorRows checks that every code ends in a row that takes any text, after which there is none.
func TestErrorRows(t *testing.T) {
	rows := ErrorRows()
	if len(rows) != len(errorRows)+len(faultRows) {
		t.Errorf("%d rows", len(rows))
	}
	for code := range codeNames {
		i := slices.IndexFunc(errorRows, func(r errorRow) bool { return r.code == code && r.asked == askedOther && r.has == "" })
		if i < 0 {
			t.Errorf("%d has no row for any text", code)
			continue
		}
		if slices.ContainsFunc(errorRows[i+1:], func(r errorRow) bool { return r.code == code }) {
			t.Errorf("%d has rows that are never reached", code)
		}
	}
}
