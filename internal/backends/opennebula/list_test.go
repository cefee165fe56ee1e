package opennebula

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// list gives the ids of a list, and those that could not be read.
func (b *bench) list(ctx context.Context, s backends.Session, q backends.Query) (ids, damaged []string) {
	b.Helper()
	for vm, err := range b.driver.VMs(ctx, s, q) {
		if u, ok := errors.AsType[*backends.Undecodable](err); ok {
			damaged = append(damaged, u.ID.Native)
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, vm.UID)
	}
	return ids, damaged
}

func TestListsAreNarrowedDown(t *testing.T) {
	b := newBench(t, "6.10.0")
	alice, _ := b.as("alice")
	for _, p := range []place{{3, 3}, {8, 0}, {4, 0}, {9, 0}, {6, 0}, {3, 36}} {
		b.put(p.state, p.lcm)
	}
	if _, err := b.sim.PutVM(onesim.VMSpec{Owner: "alice", State: onesim.Hold}); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		session backends.Session
		q       backends.Query
		want    []string
	}{
		{"all", b.session, backends.Query{}, []string{"6", "5", "3", "2", "1", "0"}},
		{"ids", b.session, backends.Query{View: backends.ViewID}, []string{"6", "5", "3", "2", "1", "0"}},
		{"whole", b.session, backends.Query{View: backends.ViewFull}, []string{"6", "5", "3", "2", "1", "0"}},
		{"deleted too", b.session, backends.Query{ShowDeleted: true}, []string{"6", "5", "4", "3", "2", "1", "0"}},
		{"deleted only", b.session, backends.Query{ShowDeleted: true, States: []string{"DELETED"}}, []string{"4"}},
		{"deleted, and not shown", b.session, backends.Query{States: []string{"DELETED"}}, nil},
		{"one state", b.session, backends.Query{States: []string{"STOPPED"}}, []string{"1"}},
		{"two numbers for one state", b.session, backends.Query{States: []string{"STORED"}}, []string{"6", "5", "3", "2", "1", "0"}},
		{"a raw state", b.session, backends.Query{RawStates: []string{"UNDEPLOYED"}}, []string{"3"}},
		{"a raw state that nobody knows", b.session, backends.Query{RawStates: []string{"X"}}, nil},
		{"a state of the other backend", b.session, backends.Query{States: []string{"PAUSED"}}, nil},
		{"mine", alice, backends.Query{Owner: "me"}, []string{"6"}},
		{"my group's", b.session, backends.Query{Owner: "group"}, []string{"5", "3", "2", "1", "0"}},
		{"a user's", b.session, backends.Query{Owner: "user:2"}, []string{"6"}},
		{"everybody's", b.session, backends.Query{Owner: "all"}, []string{"6", "5", "3", "2", "1", "0"}},
	} {
		if got, _ := b.list(t.Context(), row.session, row.q); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
	for _, owner := range []string{"user:", "user:x", "user:-1", "nobody"} {
		for _, err := range b.driver.VMs(t.Context(), b.session, backends.Query{Owner: owner}) {
			if backends.CodeOf(err) != backends.InvalidArgument {
				t.Errorf("%q: %v", owner, err)
			}
		}
	}
}

// TestWholeVMsComeInRanges lists more than one range holds, and makes no call for a single VM.
func TestWholeVMsComeInRanges(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "6.10.0"} {
		const n = 2*extendedChunk + 7
		b := newBenchOf(t, onesim.Config{Release: release, VMs: n})
		var ids []string
		methods := b.calls(func(ctx context.Context) { ids, _ = b.list(ctx, b.session, backends.Query{View: backends.ViewFull}) })
		want := []string{"one.vmpool.info"}
		if b.driver.known().hasFeature(extendedPool) {
			want = append(want, slices.Repeat([]string{"one.vmpool.infoextended"}, 3)...)
		}
		if len(ids) != n || !slices.Equal(methods, want) {
			t.Errorf("%s: %d VMs of %d by %v", release, len(ids), n, methods)
		}
		if slices.Sort(ids); len(slices.Compact(ids)) != n {
			t.Errorf("%s: some came twice", release)
		}
	}
}

// TestRangesAreAskedForAhead looks, in the middle of the second of three ranges, at what has been asked for.
func TestRangesAreAskedForAhead(t *testing.T) {
	const n = 3 * extendedChunk
	for _, c := range []struct {
		caller string
		pause  time.Duration // at the first VM of each range
		asked  int
	}{{"quick", 0, 3}, {"slow", quickRange, 2}} {
		t.Run(c.caller, func(t *testing.T) {
			b := newBenchOf(t, onesim.Config{VMs: n})
			got := 0
			for _, err := range b.driver.VMs(t.Context(), b.session, backends.Query{View: backends.ViewFull}) {
				if err != nil {
					t.Fatal(err)
				}
				if got%extendedChunk == 0 {
					b.clock.Advance(c.pause)
				}
				if got++; got != extendedChunk+extendedChunk/2 {
					continue
				}
				for ctx := t.Context(); b.sim.Calls(extendedList) < c.asked; {
					select {
					case <-time.After(time.Millisecond):
					case <-ctx.Done():
						t.Fatal("the range behind is not asked for")
					}
				}
				if asked := b.sim.Calls(extendedList); asked != c.asked {
					t.Errorf("%d ranges are asked for, want %d", asked, c.asked)
				}
			}
			if got != n || b.sim.Calls(extendedList) != 3 {
				t.Errorf("%d VMs of %d, by %d calls", got, n, b.sim.Calls(extendedList))
			}
		})
	}
}

// TestARangeAskedForAheadIsDropped leaves while it is on its way.
func TestARangeAskedForAheadIsDropped(t *testing.T) {
	b := newBenchOf(t, onesim.Config{VMs: 3 * extendedChunk})
	b.sim.Inject(onesim.Fault{Method: extendedList, Times: 2})
	b.sim.Inject(onesim.Fault{Method: extendedList, Delay: time.Hour})
	got := 0
	methods := b.calls(func(ctx context.Context) {
		for range b.driver.VMs(ctx, b.session, backends.Query{View: backends.ViewFull}) {
			if got++; got > extendedChunk {
				break
			}
		}
	})
	if want := append([]string{"one.vmpool.info"}, slices.Repeat([]string{extendedList}, 3)...); got != extendedChunk+1 || !slices.Equal(methods, want) {
		t.Errorf("%d VMs, and the calls that ended are %q", got, methods)
	}
}

// TestOneBadVMSpoilsNoList puts a character into two VMs that makes oned fail to answer any list
// they are in.
func TestOneBadVMSpoilsNoList(t *testing.T) {
	b := newBench(t, "6.10.0")
	var bad []string
	for i := range 40 {
		if i%17 != 5 {
			b.put(stPoweroff, 0)
			continue
		}
		n, err := b.driver.integer(t.Context(), b.session, request{method: "one.vm.allocate",
			args: []any{"<TEMPLATE><NAME>&#x1F600;</NAME><CPU>1</CPU><MEMORY>64</MEMORY></TEMPLATE>", false}})
		if err != nil {
			t.Fatal(err)
		}
		bad = append(bad, strconv.Itoa(n))
	}
	slices.Reverse(bad)
	if _, err := b.driver.VM(t.Context(), b.session, b.driver.id(5), backends.ViewFull); backends.CodeOf(err) != backends.BackendFault {
		t.Errorf("reading one: %v", err)
	}
	for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull} {
		ids, damaged := b.list(t.Context(), b.session, backends.Query{View: view})
		if len(ids) != 40-len(bad) || !slices.Equal(damaged, bad) {
			t.Errorf("%s: %d VMs, and %v cannot be read; want %d and %v", view, len(ids), damaged, 40-len(bad), bad)
		}
		if !slices.IsSortedFunc(ids, func(a, b string) int { x, _ := number(a); y, _ := number(b); return y - x }) {
			t.Errorf("%s: not the newest first", view)
		}
	}
}

// TestDamageStaysInItsVM gives a list in which some VMs are broken in ways that cost them more and
// more.
func TestDamageStaysInItsVM(t *testing.T) {
	b := newBench(t, "6.10.0")
	pool := `<VM_POOL>` + vmText(1, "good") + `<VM><ID>2</ID><NAME>x</NAME></VM>` + `<VM><ID>3</ID><NAME>a&nope;b</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>` +
		`<VM><NAME>x</NAME></VM>` + `<VM><ID>99999999999</ID><NAME>x</NAME></VM>` + vmText(6, "good too") + `</VM_POOL>`
	b.sim.Inject(onesim.Fault{Method: "one.vmpool.info", Garbage: reply(pool)})
	ids, damaged := b.list(t.Context(), b.session, backends.Query{})
	if !slices.Equal(ids, []string{"1", "6"}) || !slices.Equal(damaged, []string{"2", "3", "", ""}) {
		t.Errorf("read %v, and not %q", ids, damaged)
	}
}

// reply is a successful reply that holds a document.
func reply(document string) []byte {
	return []byte(`<?xml version="1.0"?><methodResponse><params><param><value><array><data>` +
		`<value><boolean>1</boolean></value><value><string><![CDATA[` + document + `]]></string></value><value><i4>0</i4></value>` +
		`</data></array></value></param></params></methodResponse>`)
}

func vmText(id int, name string) string {
	return fmt.Sprintf("<VM><ID>%d</ID><NAME>%s</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>", id, name)
}

func TestAListEndsWhenNobodyListens(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 3 {
		b.running()
	}
	for _, view := range []backends.View{backends.ViewBasic, backends.ViewFull} {
		n := 0
		for range b.driver.VMs(t.Context(), b.session, backends.Query{View: view}) {
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s: %d VMs", view, n)
		}
	}
}
