package feed_test

import (
	"fmt"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

// later is a batch that the backend was asked for after all that has happened so far in the test.
func (w *world) later(b backends.Batch) {
	w.t.Helper()
	w.clock.advance(time.Second)
	w.take(w.at(b))
}

func raw(native, state, lcm string) *backends.VM {
	v := vm(native, running)
	v.RawState = &backends.RawState{State: state, LCMState: lcm}
	return v
}

// TestWhatAReaderSawIsPutRight shows VMs as the watcher never sees them.
func TestWhatAReaderSawIsPutRight(t *testing.T) {
	bare := &backends.VM{ID: id("1"), Backend: "one"}
	for _, c := range []struct {
		name  string
		known *backends.VM
		shown *backends.VM
		batch backends.Batch
		want  []string
	}{
		{"as it is known", vm("1", running), vm("1", running), backends.Batch{}, nil},
		{"its id alone", vm("1", running), bare, backends.Batch{}, nil},
		{"a state that went again", vm("1", running), vm("1", stopped), backends.Batch{}, []string{data(feed.VMChanged, vm("1", running), "state")}},
		{
			"a raw state that went again", raw("1", "ACTIVE", "RUNNING"), raw("1", "ACTIVE", "HOTPLUG"), backends.Batch{},
			[]string{data(feed.VMChanged, raw("1", "ACTIVE", "RUNNING"), "rawState")},
		},
		{"no raw state, since it was not asked for", raw("1", "ACTIVE", "RUNNING"), vm("1", running), backends.Batch{}, nil},
		{"what the next batch has", vm("1", running), vm("1", stopped), backends.Batch{VMs: []*backends.VM{vm("1", stopped)}}, []string{data(feed.VMChanged, vm("1", stopped), "state")}},
		{"what the next batch has otherwise", vm("1", running), vm("1", stopped), backends.Batch{Gone: []backends.ID{id("1")}}, []string{deleted("1")}},
		{"a VM that went again", vm("1", running), vm("2", running), backends.Batch{}, []string{deleted("2")}},
		{"the id of a VM that went again", vm("2", running), bare, backends.Batch{}, []string{deleted("1")}},
		{"a VM that the next batch has", vm("1", running), vm("2", running), backends.Batch{VMs: []*backends.VM{vm("2", running)}}, []string{data(feed.VMCreated, vm("2", running))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, feed.Config{})
			lease, l := w.ready(c.known)
			lease.Feed().Shown(c.shown, true)
			w.later(c.batch)
			w.later(backends.Batch{VMs: []*backends.VM{vm("end", running)}})
			l.want(append(c.want, data(feed.VMCreated, vm("end", running)))...)
			l.none()
		})
	}
}

func TestABatchFromBeforePutsNothingRight(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running))
	asked := w.at(backends.Batch{})
	w.clock.advance(time.Second)
	lease.Feed().Shown(vm("2", running), true)
	lease.Feed().Shown(vm("1", stopped), true)
	w.take(asked)
	w.take(backends.Batch{}) // of which nobody knows when it was asked for
	l.none()
	w.later(backends.Batch{})
	l.want(deleted("2"), data(feed.VMChanged, vm("1", running), "state"))
}

// TestAVMThatNoListNeedHaveIsNotToldGone: a template, say, that was read by its id.
func TestAVMThatNoListNeedHaveIsNotToldGone(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running))
	lease.Feed().Shown(vm("2", stopped), false)
	lease.Feed().Shown(vm("1", stopped), false)
	w.later(backends.Batch{})
	l.want(data(feed.VMChanged, vm("1", running), "state"))
	l.none()
}

func TestWhatWasShownWhileTheBackendWasDownIsPutRight(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running))
	w.step(unreachable)
	l.want(down)
	lease.Feed().Shown(vm("2", running), true)
	w.timer().fire()
	w.began()
	w.later(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}})
	l.want(deleted("2"), up)
}

// TestAnHeirPutsRight: the feed ends with its session, and the next one goes on.
func TestAnHeirPutsRight(t *testing.T) {
	w := newWorld(t, feed.Config{})
	lease, l := w.ready(vm("1", running))
	lease.Feed().Shown(vm("2", running), true)
	w.step(sessionEnded)
	receive(w.ctx, t, lease.Feed().Ended())
	heir := w.acquire("s2").Feed()
	l.feed = heir
	w.began()
	heir.Shown(vm("3", running), true)
	w.later(backends.Batch{Complete: true, VMs: []*backends.VM{vm("1", running)}})
	l.want(deleted("2"), deleted("3"))
	l.none()
}

// TestTooMuchToPutRightIsReadAnew shows more VMs than a feed keeps events.
func TestTooMuchToPutRightIsReadAnew(t *testing.T) {
	w := newWorld(t, feed.Config{Log: 100})
	lease, _ := w.ready()
	f := lease.Feed()
	before := f.Position()
	for n := range 101 {
		f.Shown(vm(fmt.Sprint(n), running), true)
	}
	if _, _, ok := f.After(before, 0); !ok {
		t.Error("the position is too old before anybody knows more")
	}
	w.later(backends.Batch{})
	if _, _, ok := f.After(before, 0); ok {
		t.Error("the position is still good")
	}
	l := listen(w.ctx, t, f)
	f.Shown(vm("7", running), true)
	w.later(backends.Batch{})
	l.want(deleted("7"))
}
