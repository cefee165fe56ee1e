package opennebula

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
)

// inOrder gives up to n VMs of a list in the order of ids, and those that could not be read.
func (b *bench) inOrder(ctx context.Context, q backends.Query, after string, n int) (ids, damaged []string) {
	b.Helper()
	for vm, err := range b.driver.VMsAfter(ctx, b.session, q, after) {
		if u, ok := errors.AsType[*backends.Undecodable](err); ok {
			damaged = append(damaged, u.ID.Native)
			continue
		}
		if err != nil {
			b.Fatal(err)
		}
		if ids = append(ids, strings.Clone(vm.UID)); len(ids) == n {
			break
		}
	}
	return ids, damaged
}

// TestListsInTheOrderOfIDs pages through a pool, in every view and with every kind of list.
func TestListsInTheOrderOfIDs(t *testing.T) {
	for _, release := range []string{"3.8.5", "4.14.2", "5.12.0", "6.10.0", "7.4.0"} {
		b := newBench(t, release)
		const n = 300
		var want []string
		for i := range n {
			state := onesim.Poweroff
			if i%7 == 3 {
				state = onesim.Done
			} else {
				want = append(want, strconv.Itoa(i))
			}
			if _, err := b.sim.PutVM(onesim.VMSpec{State: state, NICs: -1}); err != nil {
				t.Fatal(err)
			}
		}
		for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull} {
			for _, reuse := range []bool{false, true} {
				var got []string
				for after := ""; ; {
					page, _ := b.inOrder(t.Context(), backends.Query{View: view, Reuse: reuse}, after, 100)
					got = append(got, page...)
					if len(page) < 100 {
						break
					}
					after = page[99]
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, %s: %d VMs, want %d: %v", release, view, len(got), len(want), got)
				}
			}
		}
	}
}

// TestAPageCostsFewCalls counts the calls of a page in the middle and of the last one.
func TestAPageCostsFewCalls(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 150 {
		b.put(stPoweroff, 0)
	}
	for _, row := range []struct {
		view  backends.View
		after string
		want  []string
	}{
		{backends.ViewBasic, "", []string{"one.vmpool.info"}},
		{backends.ViewFull, "", []string{"one.vmpool.infoextended"}},
		{backends.ViewFull, "20", []string{"one.vmpool.infoextended"}},
		{backends.ViewFull, "60", []string{"one.vmpool.infoextended", "one.vmpool.info"}},
		{backends.ViewFull, "149", []string{"one.vmpool.infoextended", "one.vmpool.info"}},
		{backends.ViewFull, "2147483647", nil},
	} {
		if got := b.calls(func(ctx context.Context) { b.inOrder(ctx, backends.Query{View: row.view}, row.after, 100) }); !slices.Equal(got, row.want) {
			t.Errorf("%s after %q: %v, want %v", row.view, row.after, got, row.want)
		}
	}
}

func TestBadVMsKeepTheirPlaceInTheOrder(t *testing.T) {
	b := newBench(t, "6.10.0")
	for range 10 {
		b.put(stPoweroff, 0)
	}
	bad := strconv.Itoa(b.poison())
	for range 10 {
		b.put(stPoweroff, 0)
	}
	ids, damaged := b.inOrder(t.Context(), backends.Query{View: backends.ViewFull}, "3", 100)
	if len(ids) != 16 || !slices.Equal(damaged, []string{bad}) || !slices.IsSortedFunc(ids, func(a, b string) int { x, _ := number(a); y, _ := number(b); return x - y }) {
		t.Errorf("%v, damaged %v", ids, damaged)
	}
	for _, after := range []string{"x", "-1", "2147483648"} {
		for _, err := range b.driver.VMsAfter(t.Context(), b.session, backends.Query{}, after) {
			if backends.CodeOf(err) != backends.NotFound {
				t.Errorf("after %q: %v", after, err)
			}
		}
	}
}

var intArgument = regexp.MustCompile(`<(?:int|i4)>(-?[0-9]+)</`)

// sparsePool is a server with a pool of these ids, in this order.
func sparsePool(t *testing.T, ids []int) *bench {
	t.Helper()
	return served(t, func(w http.ResponseWriter, request string) {
		var args []int
		for _, m := range intArgument.FindAllStringSubmatch(request, -1) {
			n, _ := strconv.Atoi(m[1])
			args = append(args, n)
		}
		from, to := args[1], args[2]
		var text strings.Builder
		for at, id := range ids {
			if to < -1 && at >= from && at < from-to || to >= -1 && id >= from && id <= to {
				fmt.Fprint(&text, vmText(id, "x"))
			}
		}
		_, _ = w.Write(reply("<VM_POOL>" + text.String() + "</VM_POOL>"))
	})
}

// TestSparsePoolsAreReadInFewCalls has ids with gaps up to the last there can be.
func TestSparsePoolsAreReadInFewCalls(t *testing.T) {
	span := func(from, to, step int) (ids []int) {
		for id := from; id < to; id += step {
			ids = append(ids, id)
		}
		return ids
	}
	for name, row := range map[string]struct {
		ids  []int
		most int
	}{
		"none":                {nil, 2},
		"one":                 {[]int{0}, 2},
		"the last there is":   {[]int{everyID.to}, 6},
		"both ends":           {[]int{0, everyID.to}, 6},
		"dense":               {span(0, 5000, 1), 14},
		"every tenth":         {span(0, 50_000, 10), 14},
		"every thousandth":    {span(500, 2_000_000, 1000), 10},
		"far away, and dense": {span(1_000_000_000, 1_000_005_000, 1), 40},
		"two crowds":          {append(span(0, 3000, 1), span(2_000_000_000, 2_000_003_000, 1)...), 50},
	} {
		for _, newestFirst := range []bool{true, false} {
			ids := slices.Clone(row.ids)
			if newestFirst {
				slices.Reverse(ids)
			}
			b := sparsePool(t, ids)
			var got []string
			calls := b.calls(func(ctx context.Context) {
				got, _ = b.inOrder(ctx, backends.Query{View: backends.ViewBasic, Reuse: true}, "", -1)
			})
			var want []string
			for _, id := range row.ids {
				want = append(want, strconv.Itoa(id))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d VMs, want %d in order", name, len(got), len(want))
			}
			// The first call asks for the release. Where the oldest come first, nothing tells where the end is.
			if most := row.most + 1; len(calls) > most && newestFirst || len(calls) > most+6 {
				t.Errorf("%s, newest first %t: %d calls, want at most %d", name, newestFirst, len(calls), most)
			}
		}
	}
}
