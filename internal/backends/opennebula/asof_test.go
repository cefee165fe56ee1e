package opennebula

import (
	"testing"
	"time"

	"vmgateway/internal/backends/opennebula/onesim"
)

// TestAPollIsAsOfWhenItWasSent: what has changed since may be missing.
func TestAPollIsAsOfWhenItWasSent(t *testing.T) {
	b := newBench(t, "6.10.0")
	b.put(stPoweroff, 0)
	w := b.watch(b.session)
	if got := w.batches[0]; !got.AsOf.Equal(b.clock.Now()) {
		t.Errorf("the first poll is as of %s, sent at %s", got.AsOf, b.clock.Now())
	}
	b.clock.Advance(time.Minute)
	got := w.poll()
	if len(got) != 1 || !got[0].AsOf.Equal(b.clock.Now()) {
		t.Errorf("the next poll: %+v, sent at %s", got, b.clock.Now())
	}
}

// TestAPollThatLeavesSomethingOut does not say how old it is: nobody could tell which VM is missing.
func TestAPollThatLeavesSomethingOut(t *testing.T) {
	b := newBench(t, "6.10.0")
	w := b.watch(b.session)
	b.sim.Inject(onesim.Fault{Method: "one.vmpool.info", Garbage: reply("<VM_POOL>" + vmText(1, "a") + "<VM><NAME>b</NAME></VM></VM_POOL>")})
	if got := w.poll(); len(got) != 1 || len(got[0].VMs) != 1 || !got[0].AsOf.IsZero() {
		t.Errorf("a VM has no id: %+v", got)
	}
	if got := w.poll(); len(got) != 1 || got[0].AsOf.IsZero() {
		t.Errorf("no VM is without an id: %+v", got)
	}
}

// TestWhatNobodyCanReadIsNamed gives a damaged VM, and one that no answer can have.
func TestWhatNobodyCanReadIsNamed(t *testing.T) {
	b := newBench(t, "6.10.0")
	w := b.watch(b.session)
	bad := b.poison()
	got := w.poll()
	if len(got) != 1 || len(got[0].Undecodable) != 1 || got[0].Undecodable[0].ID != b.driver.id(bad) || got[0].Undecodable[0].Err == nil {
		t.Fatalf("a VM that no answer can have: %+v", got)
	}
	first := b.clock.Now()
	for round := 2; round < 2*badAgainEvery-1; round++ {
		b.clock.Advance(time.Second)
		if got = w.poll(); len(got) != 1 || len(got[0].Undecodable) > 0 {
			t.Fatalf("it is told again: %+v", got)
		}
		want := first // when it was asked for, which is not in each poll
		if round >= badAgainEvery-1 {
			want = first.Add((badAgainEvery - 2) * time.Second)
		}
		if !got[0].AsOf.Equal(want) {
			t.Fatalf("poll %d is as of %s, want %s", round, got[0].AsOf, want)
		}
	}
	b.sim.Inject(onesim.Fault{Method: "one.vmpool.info", Times: 1, Garbage: reply("<VM_POOL><VM><ID>7</ID><NAME>b&nope;</NAME></VM></VM_POOL>")})
	got = w.poll()
	if len(got) != 1 || len(got[0].Undecodable) != 1 || got[0].Undecodable[0].ID != b.driver.id(7) || got[0].Undecodable[0].Err == nil {
		t.Errorf("a damaged VM: %+v", got)
	}
}
