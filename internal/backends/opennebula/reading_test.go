package opennebula

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/drivertest"
	"vmgateway/internal/backends/opennebula/onesim"
)

// served is a driver at a server that answers every call but the one for the release so.
func served(t *testing.T, answer func(w http.ResponseWriter, request string)) *bench {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/xml")
		if strings.Contains(string(request), "one.system.version") {
			_, _ = w.Write(reply("6.10.0"))
			return
		}
		answer(w, string(request))
	}))
	t.Cleanup(server.Close)
	driver, err := New(Config{Name: "one", Endpoints: []*url.URL{drivertest.ParseURL(t, server.URL)}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, driver: driver, session: backends.NewSession("a:b")}
}

const (
	answerStart = `<?xml version="1.0"?><methodResponse><params><param><value><array><data><value><boolean>1</boolean></value><value><string>`
	answerEnd   = `</string></value><value><i4>0</i4></value></data></array></value></param></params></methodResponse>`
)

// TestAnswersThatEndBadly gives the good VMs and then says what is wrong, never nothing.
func TestAnswersThatEndBadly(t *testing.T) {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	vms := escape("<VM_POOL>" + vmText(1, "a") + vmText(2, "b"))
	end := escape("</VM_POOL>")
	good := answerStart + vms + end + answerEnd
	const malformed, cut = backends.BackendFault, backends.BackendUnavailable
	for name, row := range map[string]struct {
		text string
		want backends.Code
	}{
		"cut in a VM":              {good[:len(answerStart)+len(vms)-20], cut},
		"cut behind a VM":          {good[:len(answerStart)+len(vms)], cut},
		"cut in the end":           {good[:len(good)-20], cut},
		"document cut":             {answerStart + vms + answerEnd, malformed},
		"something behind":         {answerStart + vms + end + "x" + answerEnd, malformed},
		"another end":              {answerStart + vms + end + "</string></value></data></array>", cut},
		"something after the end":  {good + "<a/>", malformed},
		"another error than a VM":  {answerStart + vms + end + `</string></value><value><i4>x</i4></value>`, cut},
		"no document":              {answerStart + answerEnd, malformed},
		"another document":         {answerStart + escape("<HOST_POOL/>") + answerEnd, malformed},
		"an answer of one element": {strings.Replace(good, "<value><string>"+vms+end+"</string></value><value><i4>0</i4></value>", "", 1), malformed},
	} {
		b := served(t, func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, row.text) })
		var last error
		n := 0
		for vm, err := range b.driver.VMs(t.Context(), b.session, backends.Query{View: backends.ViewBasic, Reuse: true}) {
			if last = err; err == nil && vm != nil {
				n++
			}
		}
		if backends.CodeOf(last) != row.want {
			t.Errorf("%s: after %d VMs %v, want %s", name, n, last, row.want)
		}
		if wanted := strings.Count(row.text, "&lt;/VM&gt;"); n != wanted {
			t.Errorf("%s: %d VMs, want %d", name, n, wanted)
		}
	}
}

// TestRefusalsOfAStream are told as those of other calls.
func TestRefusalsOfAStream(t *testing.T) {
	b := newBench(t, "6.10.0")
	if err := b.driver.Logout(t.Context(), b.session); err != nil {
		t.Fatal(err)
	}
	var observed backends.Call
	ctx := backends.WithObserver(t.Context(), func(c backends.Call) { observed = c })
	for _, err := range b.driver.VMs(ctx, b.session, backends.Query{View: backends.ViewBasic}) {
		if backends.CodeOf(err) != backends.BackendSessionEnded {
			t.Errorf("%v, want %s", err, backends.BackendSessionEnded)
		}
	}
	if observed.Method != "one.vmpool.info" || observed.Bytes == 0 || observed.Err == nil {
		t.Errorf("observed %+v", observed)
	}
}

// TestAStreamIsObservedOnce, with the bytes that were read.
func TestAStreamIsObservedOnce(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 3 {
		b.put(stPoweroff, 0)
	}
	for _, most := range []int{1, 100} {
		var calls []backends.Call
		ctx := backends.WithObserver(t.Context(), func(c backends.Call) { calls = append(calls, c) })
		n := 0
		for _, err := range b.driver.VMs(ctx, b.session, backends.Query{View: backends.ViewBasic}) {
			if n++; err != nil || n == most {
				break
			}
		}
		if len(calls) != 1 || calls[0].Bytes < 1000 || calls[0].Err != nil {
			t.Errorf("observed %+v", calls)
		}
	}
}

// TestALongListTakesNoMemory reads 150 MB of VMs, and one that is longer than any may be.
func TestALongListTakesNoMemory(t *testing.T) {
	const n = 1500
	vm := strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(
		`<VM><ID>%d</ID><NAME>x</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><USER_TEMPLATE><NOTE>` + strings.Repeat("x", 100<<10) + `</NOTE></USER_TEMPLATE></VM>`)
	b := served(t, func(w http.ResponseWriter, _ string) {
		_, _ = io.WriteString(w, answerStart+"&lt;VM_POOL&gt;")
		for i := range n {
			if i == n/2 {
				_, _ = io.WriteString(w, "&lt;VM&gt;&lt;ID&gt;999999&lt;/ID&gt;&lt;NAME&gt;")
				for range 40 {
					_, _ = io.WriteString(w, strings.Repeat("y", 1<<20))
				}
				_, _ = io.WriteString(w, "&lt;/NAME&gt;&lt;/VM&gt;")
			}
			fmt.Fprintf(w, vm, i)
		}
		_, _ = io.WriteString(w, "&lt;/VM_POOL&gt;"+answerEnd)
	})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	seen, long := 0, ""
	for vm, err := range b.driver.VMs(t.Context(), b.session, backends.Query{View: backends.ViewBasic, Reuse: true}) {
		if bad, ok := errors.AsType[*backends.Undecodable](err); ok {
			long = bad.ID.Native
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen%250 == 0 {
			most = max(most, heap())
		}
		_ = vm
	}
	if seen != n || long != "999999" {
		t.Errorf("%d VMs, and %q is too long", seen, long)
	}
	if most > before+3*maxRecord {
		t.Errorf("%d bytes are held, %d before", most, before)
	}
}

// TestOnlyWhatIsAskedForIsRead reads each member alone: it is as in the whole VM, and with nearly
// nothing else.
func TestOnlyWhatIsAskedForIsRead(t *testing.T) {
	b := newBench(t, "6.10.0")
	if _, err := b.sim.PutVM(onesim.VMSpec{State: onesim.Active, LCM: onesim.Running, Disks: 2, User: map[string]string{
		"DESCRIPTION": "d", "SCHED_RANK": "FREE_CPU", "SCHED_REQUIREMENTS": "ID = 1", "ERROR": "e", "TEAM": "web"}}); err != nil {
		t.Fatal(err)
	}
	whole := told(t, b.vm(b.driver.id(0)))
	looked := 0
	for _, f := range VMFields() {
		if f.View == backends.ViewNative || f.Member == "etag" {
			continue
		}
		asked, _, _ := strings.Cut(f.Member, "[]")
		var one *backends.VM
		for vm, err := range b.driver.VMs(t.Context(), b.session, backends.Query{View: backends.ViewFull, Members: []string{asked}}) {
			if err != nil {
				t.Fatal(err)
			}
			one = vm
		}
		got := told(t, one)
		for name, value := range got {
			if whole[name] != value {
				t.Errorf("asked for %s, %s is %s, want %s", asked, name, value, whole[name])
			}
			if !under(name, asked) && !slices.Contains([]string{"id", "uid", "backend", "kind"}, name) && len(got) > 25 {
				t.Errorf("asked for %s, it has %d members", asked, len(got))
			}
		}
		for name := range whole {
			if under(name, asked) {
				looked++
				if got[name] == "" {
					t.Errorf("asked for %s, %s is missing", asked, name)
				}
			}
		}
	}
	if looked < 60 {
		t.Errorf("%d members were looked at only", looked)
	}
}

// TestTheTableHasEveryMember: what a VM has, the table tells of, in its view.
func TestTheTableHasEveryMember(t *testing.T) {
	b := newBench(t, "6.10.0")
	b.running()
	views := map[string]backends.View{}
	for _, f := range VMFields() {
		if _, twice := views[f.Member]; twice {
			t.Errorf("%s has two rows", f.Member)
		}
		views[f.Member] = f.View
	}
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull} {
		vm, err := b.driver.VM(t.Context(), b.session, b.driver.id(0), view)
		if err != nil {
			t.Fatal(err)
		}
		for name := range told(t, vm) {
			for above := name; ; {
				if smallest, ok := views[above]; ok {
					if viewRank(smallest) > viewRank(view) {
						t.Errorf("%s is in %s, and the table says %s", name, view, smallest)
					}
					break
				}
				i := strings.LastIndexByte(above, '.')
				if i < 0 {
					t.Errorf("%s has no row", name)
					break
				}
				above = above[:i]
			}
		}
	}
}

// TestReusedVMsAreLikeOthers lists VMs that differ in what they have, with and without reuse.
func TestReusedVMsAreLikeOthers(t *testing.T) {
	b := newBench(t, "6.10.0")
	for i := range 30 {
		spec := onesim.VMSpec{State: onesim.Poweroff, Disks: i%4 - 1, NICs: i%3 - 1, NoContext: i%5 == 0}
		if i%2 == 0 {
			spec = onesim.VMSpec{State: onesim.Active, LCM: onesim.Running, User: map[string]string{"DESCRIPTION": "d", fmt.Sprint("K", i): "v", "SCHED_REQUIREMENTS": "ID = 1"}}
		}
		if _, err := b.sim.PutVM(spec); err != nil {
			t.Fatal(err)
		}
	}
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull, backends.ViewNative} {
		lines := func(ctx context.Context, reuse bool) (all []string) {
			for vm, err := range b.driver.VMs(ctx, b.session, backends.Query{View: view, Reuse: reuse}) {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, string(vm.AppendJSON(nil)))
			}
			return all
		}
		fresh := lines(t.Context(), false)
		if got := lines(t.Context(), true); !slices.Equal(got, fresh) {
			t.Errorf("%s: %q, want %q", view, got, fresh)
		}
		for i, line := range fresh {
			vm, err := b.driver.VM(t.Context(), b.session, b.driver.id(len(fresh)-1-i), view)
			if err != nil {
				t.Fatal(err)
			}
			if one := string(vm.AppendJSON(nil)); one != line && view != backends.ViewBasic {
				t.Errorf("alone %s, in a list %s", one, line)
			}
		}
	}
}

// told are the members of a VM that have a value, by their dotted names, as JSON; of lists, all
// elements' together.
func told(t *testing.T, vm *backends.VM) map[string]string {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(vm.AppendJSON(nil), &tree); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				walk(strings.TrimPrefix(name+"."+key, "."), value)
			}
		case []any:
			for _, value := range v {
				if _, ok := value.(map[string]any); ok {
					walk(name+"[]", value)
				} else {
					all[name] += fmt.Sprint(value, ";")
				}
			}
		default:
			all[name] += fmt.Sprint(v, ";")
		}
	}
	walk("", tree)
	return all
}
