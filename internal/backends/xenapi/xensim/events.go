package xensim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// subscription is one of the classes that event.from is asked for: "*", "vm" or "vm/OpaqueRef:...".
type subscription struct{ class, ref string }

func (sub subscription) covers(class, ref string) bool {
	return sub.class == "*" || sub.class == class && (sub.ref == "" || sub.ref == ref)
}

type subscriptions []subscription

func (subs subscriptions) cover(class, ref string) bool {
	return slices.ContainsFunc(subs, func(s subscription) bool { return s.covers(class, ref) })
}

func parseSubscriptions(classes []string) subscriptions {
	out := subscriptions{}
	for _, text := range classes {
		class, ref, _ := strings.Cut(text, "/")
		out = append(out, subscription{strings.ToLower(class), ref})
	}
	return out
}

func parseToken(token string) (int64, bool) {
	if token == "" {
		return -1, true
	}
	generation, messages, ok := strings.Cut(token, ",")
	n, err := strconv.ParseInt(generation, 10, 64)
	_, err2 := strconv.ParseInt(messages, 10, 64)
	return n, ok && err == nil && err2 == nil
}

// silentClasses have no events: their objects are no rows of the real database, or private.
var silentClasses = map[string]bool{"session": true, "message": true, "role": true}

type event struct {
	id        int64
	class     string
	operation string
	ref       string
	object    *object // nil once it is deleted
}

// eventsSince collects what changed after generation since: one event an object, the newest that is true
// of it. An object made and deleted in between is not mentioned.
func (s *Server) eventsSince(subs subscriptions, since int64) []event {
	var out []event
	for name, t := range s.db.tables {
		class := strings.ToLower(name)
		if silentClasses[class] || t.latest <= since {
			continue
		}
		for _, o := range t.byRef {
			if o.modified <= since || !subs.cover(class, o.ref) {
				continue
			}
			if o.created > since {
				out = append(out, event{o.created, class, "add", o.ref, o})
			} else {
				out = append(out, event{o.modified, class, "mod", o.ref, o})
			}
		}
	}
	for _, d := range s.db.deleted {
		if d.generation > since && d.created <= since && subs.cover(d.class, d.ref) {
			out = append(out, event{d.generation, d.class, "del", d.ref, nil})
		}
	}
	slices.SortFunc(out, func(a, b event) int {
		if a.id != b.id {
			return int(a.id - b.id)
		}
		return strings.Compare(b.ref, a.ref)
	})
	return out
}

func (s *Server) eventRecord(e event, timestamp string) record {
	r := record{{"id", strconv.FormatInt(e.id, 10)}, {"timestamp", timestamp}, {"class", e.class}, {"operation", e.operation}, {"ref", e.ref}}
	if e.object != nil {
		r = append(r, member{"snapshot", s.rowOf(e.object)})
	}
	return r
}

func eventFrom(c *call) (any, *Failure) {
	s := c.s
	classes, _ := c.arg(0).([]string)
	since, ok := parseToken(c.str(1))
	if !ok {
		return nil, fail("EVENT_FROM_TOKEN_PARSE_FAILURE", c.str(1))
	}
	subs := parseSubscriptions(classes)
	timeout, stop := s.clock.Timer(time.Duration(c.float(2) * float64(time.Second)))
	defer stop()
	for {
		events := s.eventsSince(subs, since)
		if len(events) > 0 {
			return s.eventBatch(events), nil
		}
		if over, f := c.awaitChange(timeout); f != nil {
			return nil, f
		} else if over {
			return s.eventBatch(s.eventsSince(subs, since)), nil
		}
	}
}

// awaitChange waits for a change of the database, or for the timeout, which it reports.
func (c *call) awaitChange(timeout <-chan time.Time) (over bool, f *Failure) {
	s, changed, done := c.s, c.s.db.changes(), c.s.done
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		if f == nil && s.db.find("session", c.session.ref) == nil {
			f = fail("SESSION_INVALID", c.session.ref)
		}
	}()
	select {
	case <-changed:
		return false, nil
	case <-timeout:
		return true, nil
	case <-done:
		return false, errStopped()
	}
}

func (s *Server) eventBatch(events []event) record {
	list := make([]any, len(events))
	for i, e := range events {
		list[i] = s.eventRecord(e, "0.0")
	}
	counts := record{}
	for _, class := range countedClasses() {
		counts = append(counts, member{class, counter(s.countOf(class))})
	}
	return record{{"events", list}, {"valid_ref_counts", counts}, {"token", eventToken(s.db.generation)}}
}

func eventToken(generation int64) string { return fmt.Sprintf("%020d,%020d", generation, 0) }

func (s *Server) countOf(class string) int {
	for name, t := range s.db.tables {
		if strings.ToLower(name) == class {
			return len(t.byRef)
		}
	}
	return 0
}

// countedClasses are the members of valid_ref_counts, in the order of xapi 24.16.
func countedClasses() []string {
	return strings.Fields(`vdi_nbd_server_info user tunnel task subject sr_stat session secret role probe_result pool_update
		pool_patch pool network_sriov network message host_patch host_metrics host_crashdump host_cpu host event data_source
		crashdump console blob auth vusb vtpm vm_metrics vm_guest_metrics vm_appliance vmss vmpp vm vlan vif_metrics vif
		vgpu_type vgpu vdi vbd_metrics vbd usb_group sr sm sdn_controller repository pvs_site pvs_server pvs_proxy
		pvs_cache_storage pusb pif_metrics pif pgpu pci pbd observer lvhd gpu_group feature diagnostics dr_task cluster_host
		cluster certificate bond`)
}

// registration is the older interface: one per session, with the generation it has told up to.
type registration struct {
	subs  subscriptions
	since int64
}

func eventRegister(c *call) (any, *Failure) {
	classes, _ := c.arg(0).([]string)
	r := c.s.registrations[c.session.ref]
	if r == nil {
		r = &registration{since: c.s.db.generation}
		c.s.registrations[c.session.ref] = r
	}
	r.subs = append(r.subs, parseSubscriptions(classes)...)
	return nil, nil
}

func eventUnregister(c *call) (any, *Failure) {
	classes, _ := c.arg(0).([]string)
	gone := parseSubscriptions(classes)
	if r := c.s.registrations[c.session.ref]; r != nil {
		r.subs = slices.DeleteFunc(r.subs, func(sub subscription) bool { return slices.Contains(gone, sub) })
		if len(r.subs) == 0 {
			delete(c.s.registrations, c.session.ref)
		}
	}
	return nil, nil
}

func eventNext(c *call) (any, *Failure) {
	s := c.s
	for {
		r := s.registrations[c.session.ref]
		if r == nil {
			return nil, fail("SESSION_NOT_REGISTERED", "trackid="+strings.ReplaceAll(c.session.uuid(), "-", ""))
		}
		if events := s.eventsSince(r.subs, r.since); len(events) > 0 {
			r.since = s.db.generation
			list := make([]any, len(events))
			for i, e := range events {
				e.id = 0
				list[i] = s.eventRecord(e, fmt.Sprintf("%d.", s.clock.Now().Unix()))
			}
			return list, nil
		}
		if _, f := c.awaitChange(nil); f != nil {
			return nil, f
		}
	}
}

func eventCurrentID(*call) (any, *Failure) { return int64(0), nil }

// eventInject makes an event of an object that did not change.
func eventInject(c *call) (any, *Failure) {
	s := c.s
	for name, t := range s.db.tables {
		if strings.EqualFold(name, c.str(0)) {
			if o := t.byRef[c.str(1)]; o != nil {
				s.db.mark(o)
				return eventToken(s.db.generation), nil
			}
		}
	}
	return nil, fail("HANDLE_INVALID", c.str(0), c.str(1))
}
