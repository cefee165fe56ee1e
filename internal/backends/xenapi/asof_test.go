package xenapi

import (
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/xenapi/xensim"
)

// TestAnAnswerIsAsOf: one with events may have been made as soon as it was asked for, one without is
// only given when the time is over.
func TestAnAnswerIsAsOf(t *testing.T) {
	asked := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name       string
		quiet      bool
		wait, took time.Duration
		want       time.Duration
	}{
		{"with events", false, 5 * time.Second, 5500 * time.Millisecond, 0},
		{"without events", true, 5 * time.Second, 5500 * time.Millisecond, 4 * time.Second},
		{"without events, late", true, 5 * time.Second, time.Minute, 4 * time.Second},
		{"without events, but too early", true, 5 * time.Second, 4 * time.Second, 0},
		{"at once", true, 0, 20 * time.Millisecond, 0},
		{"after a short wait", true, 500 * time.Millisecond, time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDriver(t, "http://127.0.0.1:1")
			d.cfg.Now = func() time.Time { return asked.Add(c.took) }
			w := &watcher{names: d.link(backends.NewSession("s")).names(false), quiet: c.quiet}
			if got := w.asOf(asked, c.wait).Sub(asked); got != c.want {
				t.Errorf("as of %s after it was asked for, want %s", got, c.want)
			}
		})
	}
}

func TestWatchSaysHowOldItsBatchesAre(t *testing.T) {
	w := newWorld(t, xensim.Config{VMs: 3})
	before := time.Now()
	f := w.watch("")
	first := f.next()
	if first.AsOf.Before(before) || first.AsOf.After(time.Now()) {
		t.Errorf("the first batch is as of %s, asked for after %s", first.AsOf, before)
	}
	id := w.put(xensim.VMSpec{})
	b := f.until(shows(id, backends.StateStopped))
	if !b.AsOf.After(first.AsOf) || b.AsOf.After(time.Now()) {
		t.Errorf("a batch as of %s follows one as of %s", b.AsOf, first.AsOf)
	}
}

// TestWatchKeepsQuietAboutItsAgeWhenAVMHasNoName: nobody could tell which one is missing.
func TestWatchKeepsQuietAboutItsAgeWhenAVMHasNoName(t *testing.T) {
	const broken = `<member><name>VCPUs_max</name><value>many</value></member>`
	nameless := strings.Replace(vmEvent("add", 2, "Halted", ""), uuidNumber(2), "?", 1)
	f := answers(t,
		batchOf(1, 3, vmEvent("add", 1, "Halted", broken), nameless),
		batchOf(2, 3, vmEvent("mod", 1, "Running", "")),
		batchOf(3, 3, vmEvent("mod", 2, "Halted", "")),
	).watch("")
	b := f.next()
	if !b.AsOf.IsZero() || len(b.Undecodable) != 1 || b.Undecodable[0].ID != numbered(1) || b.Undecodable[0].Err == nil {
		t.Errorf("batch %+v", b)
	}
	if b := f.next(); !b.AsOf.IsZero() || len(b.Undecodable) > 0 {
		t.Errorf("while it is there: %+v", b)
	}
	if b := f.next(); b.AsOf.IsZero() || !shows(numbered(2), backends.StateStopped)(b) {
		t.Errorf("when it can be read: %+v", b)
	}
}
