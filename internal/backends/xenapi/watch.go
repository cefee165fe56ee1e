package xenapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

const (
	eventFrom = "event.from"
	// longestWait is how long xapi holds a call back while nothing happens. Only its answer tells
	// that nothing has: a mirror that is kept by a watch is as old as that.
	longestWait = 5 * time.Second
	// lastLook is within which time of a call's end xapi has looked for events, when it gives none.
	lastLook = time.Second
	// answerTime is what an answer may take at least, within a call's own limit.
	answerTime = 15 * time.Second
	// fewVMs is up to how many VMs of a batch what they refer to is read one by one.
	fewVMs = 32
)

var _ backends.Watcher = (*Driver)(nil)

// Watch asks event.from again and again for the events of VMs and tasks, each call from the token of
// the one before. xapi gives each object once, as it is; what it deleted has no record, so that a
// watch remembers which reference was which VM. Templates, snapshots and control domains are left
// out: a VM that becomes one is Gone. A VM that nobody can read is handed over as UNKNOWN, since it is
// there. The hosts' names are those of when a host was first met.
//
// xapi gives no error for a token that it does not know any more, and forgets which objects it
// deleted: when it restarts, and beyond a number. What a batch's token is worth is therefore told by
// more: by which xapi it was given, and how many VM objects there were. Whenever that does not add up
// the next batch is Complete.
func (d *Driver) Watch(ctx context.Context, s backends.Session, token string, emit func(backends.Batch) error) error {
	l := d.link(s)
	instance, err := l.instance(ctx)
	if err != nil {
		return err
	}
	w := &watcher{
		names: l.names(false), at: parsePoint(token, instance),
		vms: map[string]sighting{}, tasks: map[string]taskSighting{},
	}
	// The first call does not wait: its batch tells that the watch goes on.
	for wait := time.Duration(0); ; wait = d.longestWait() {
		began := time.Now()
		b, err := w.next(ctx, wait)
		if err != nil {
			return err
		}
		if err := emit(*b); err != nil {
			return err
		}
		if wait > 0 && b.Empty() && time.Since(began) < time.Second { // something answers at once that has nothing to say
			pause(ctx, time.Second)
		}
	}
}

// longestWait is for how long event.from may wait: far less than a call may take.
func (d *Driver) longestWait() time.Duration { return min(longestWait, d.cfg.Timeout/4) }

// instance names the xapi that answers, as long as it runs, without giving anything away: by the
// reference of the coordinator and when its xapi started. It is "" when that is not told.
func (l *link) instance(ctx context.Context) (string, error) {
	host, err := l.callText(ctx, "session.get_this_host", l.session)
	if err != nil {
		return "", err
	}
	const method = "host.get_other_config"
	v, err := l.call(ctx, method, host)
	if err != nil {
		return "", err
	}
	config, err := stringMap(v)
	if err != nil {
		return "", l.d.undecodable(method, err)
	}
	started := config["agent_start_time"]
	if started == "" {
		return "", nil
	}
	sum := sha256.Sum256([]byte(host + "/" + started))
	return hex.EncodeToString(sum[:8]), nil
}

// point is what a batch's token says: "{instance}/{objects}/{token}".
type point struct {
	instance string
	objects  int64  // of the class VM, templates and all
	token    string // xapi's; "" asks for all there is
}

func (p point) String() string {
	if p.instance == "" {
		return "" // nobody could tell later whether it still holds
	}
	return p.instance + "/" + decimal(p.objects) + "/" + p.token
}

// parsePoint is the point of a token that this instance of xapi gave, or else that before all.
func parsePoint(token, instance string) point {
	from, rest, _ := strings.Cut(token, "/")
	objects, at, ok := strings.Cut(rest, "/")
	n, err := strconv.ParseInt(objects, 10, 64)
	if !ok || err != nil || instance == "" || from != instance {
		return point{instance: instance}
	}
	return point{instance, n, at}
}

// watcher is one watch under way.
type watcher struct {
	*names
	at    point
	vms   map[string]sighting // by reference
	tasks map[string]taskSighting
	quiet bool // the last answer had no events

	vmReader *vmReader
}

// sighting is an object of the class VM as it was last seen.
type sighting struct {
	uuid  string // "" while it could not be read
	shown bool   // handed over, and not Gone since
}

type taskSighting struct {
	uuid  string
	ended bool
}

// event is one of event.from's: what became of an object since the token.
type event struct {
	class, operation, ref string

	there  bool // it has a record
	task   *taskRecord
	hidden bool // a VM that lists do not show
	vm     *backends.VM
	err    error      // why there is no vm
	later  scan.Value // the record of a VM that is to be read when all events are known
}

// The members of an event.
const (
	slotClass = iota
	slotOperation
	slotRef
	slotRecord
)

var eventMembers = scan.NewMembers("class", "operation", "ref", "snapshot")

// told is what an answer of event.from says.
type told struct {
	events []*event
	at     map[string]int // where in events a reference is
	token  string
	counts map[string]int64
}

// next waits for the next batch. When xapi has lost track, or may have, it is Complete.
func (w *watcher) next(ctx context.Context, wait time.Duration) (*backends.Batch, error) {
	for {
		asked := w.d.cfg.Now()
		all, err := w.ask(ctx, wait)
		if w.at.token != "" && lostTrack(err) {
			w.restart()
			continue
		}
		if err != nil {
			return nil, err
		}
		b, err := w.batch(ctx, all)
		if errors.Is(err, errLost) {
			w.restart()
			continue
		}
		if err != nil {
			return nil, w.d.undecodable(eventFrom, err)
		}
		if w.allNamed() {
			b.AsOf = w.asOf(asked, wait)
		}
		return b, nil
	}
}

// asOf is until when a call's answer has all that happened: until it was made, at least. xapi looks
// until there is something to tell or the time is over, so that an answer without events is as of
// the end of the wait.
// Source: xen-api ocaml/xapi/xapi_event.ml, from and from_inner.
func (w *watcher) asOf(asked time.Time, wait time.Duration) time.Time {
	if !w.quiet || wait < lastLook || w.d.cfg.Now().Sub(asked) < wait {
		return asked
	}
	return asked.Add(wait - lastLook)
}

// allNamed reports whether every VM that there is could be told, if only by its id.
func (w *watcher) allNamed() bool {
	for _, seen := range w.vms {
		if seen.uuid == "" {
			return false
		}
	}
	return true
}

// ask makes the call, and reads its answer while it arrives. It may take longer than it may wait, since
// xapi adds half a second and the answer can be large, but not as long as a snapshot: a backend that has
// vanished is to be noticed.
func (w *watcher) ask(ctx context.Context, wait time.Duration) (*told, error) {
	if w.at.token != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+max(w.d.cfg.Timeout/4, answerTime))
		defer cancel()
	}
	a, err := w.stream(ctx, ofEvents, eventFrom, []string{"vm", "task"}, w.at.token, wait.Seconds())
	if err != nil {
		return nil, err
	}
	defer a.close()
	all, err := w.read(ctx, a)
	if err != nil {
		return nil, a.fail(err)
	}
	return all, nil
}

// errLost says that events were lost; lostTrack that xapi says so.
var errLost = errors.New("events were lost")

func lostTrack(err error) bool {
	f, ok := asFailure(err)
	return ok && strings.HasPrefix(f.code(), "EVENT")
}

// restart makes the next batch Complete.
func (w *watcher) restart() {
	w.at = point{instance: w.at.instance}
	clear(w.vms)
	clear(w.tasks)
	clear(w.known)
	w.vmReader = nil
}

// read reads an answer. Its VMs are made on the way, so that it need not be held.
func (w *watcher) read(ctx context.Context, a *answer) (*told, error) {
	if w.vmReader == nil {
		w.vmReader = w.reader(backends.Query{View: backends.ViewBasic})
	}
	w.bulk = w.at.token == ""
	clear(w.loaded)
	all := &told{at: map[string]int{}}
	if _, err := a.Enter(); err != nil {
		return nil, err
	}
	for {
		name, ok, err := a.Member()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return all, a.finish()
		case name == "events":
			err = w.readEvents(ctx, a, all)
		default:
			err = all.member(name, a)
		}
		if err != nil {
			return nil, err
		}
	}
}

// member reads what an answer has beside the events.
func (t *told) member(name string, a *answer) error {
	v, err := a.Value()
	if err != nil {
		return err
	}
	switch name {
	case "token":
		t.token, err = str(v)
	case "valid_ref_counts":
		t.counts = map[string]int64{}
		p := v.Parts(scan.Struct)
		for p.Next() {
			if n, err := p.Value.Int(); err == nil {
				t.counts[string(p.Name)] = n
			}
		}
		err = p.Err()
	}
	return err
}

func (w *watcher) readEvents(ctx context.Context, a *answer, all *told) error {
	if kind, err := a.Enter(); kind != scan.Array || err != nil {
		return cmp.Or(err, errors.New("the events are no array"))
	}
	vms := 0
	for rec := scan.NewRecord(eventMembers); ; {
		ok, err := a.Next(rec)
		if !ok || err != nil {
			return err
		}
		e, err := w.event(ctx, rec)
		if err != nil {
			return err
		}
		all.add(e)
		if e.class == "vm" && e.there {
			if vms++; vms > fewVMs {
				w.bulk = true
			}
		}
	}
}

// add puts in one event for each object: that it was deleted, or the last.
func (t *told) add(e *event) {
	i, twice := t.at[e.ref]
	switch {
	case !twice:
		t.at[e.ref] = len(t.events)
		t.events = append(t.events, e)
	case t.events[i].operation == "add" && e.operation == "mod":
		e.operation = "add"
		t.events[i] = e
	case t.events[i].operation != "del":
		t.events[i] = e
	}
}

// event reads one event, and learns which object it is about.
func (w *watcher) event(ctx context.Context, rec *scan.Record) (*event, error) {
	var said [slotRef + 1]string
	for slot := range said {
		v := rec.Value(slot)
		if v.Kind() == scan.Invalid {
			continue
		}
		s, err := str(v)
		if err != nil {
			return nil, err
		}
		said[slot] = s
	}
	e := &event{class: strings.ToLower(said[slotClass]), operation: said[slotOperation], ref: said[slotRef]}
	snapshot := rec.Value(slotRecord)
	if e.there = snapshot.Kind() != scan.Invalid; !e.there {
		return e, nil
	}
	switch e.class {
	case "task":
		if r, err := record(taskFields, snapshot); err == nil && isUUID(r.uuid) { // others cannot be told
			e.task = r
			w.d.refs.learn(object{"task", r.uuid}, e.ref)
		}
		return e, nil
	case "vm":
		return e, w.snapshot(ctx, e, snapshot)
	}
	return e, nil
}

// snapshot reads the record of a VM. What is under way on one is told in the same answer, and not always
// before it: such a VM is read later.
func (w *watcher) snapshot(ctx context.Context, e *event, v scan.Value) error {
	r := w.vmReader
	err := r.parse(v)
	if uuid, err := r.uuid(); err == nil {
		w.d.refs.learn(object{"VM", string(uuid)}, e.ref)
	}
	switch e.hidden = r.hidden(); {
	case e.hidden:
		return nil
	case err == nil && len(r.rec.Value(slotOperations).Body()) > 0:
		e.later = v.Clone()
		return nil
	}
	return w.make(ctx, e, err)
}

// make makes the VM of an event of the record that was walked last, with that error.
func (w *watcher) make(ctx context.Context, e *event, err error) error {
	if err == nil {
		e.vm, err = w.vmReader.read(ctx)
	}
	if damaged, ok := errors.AsType[damage](err); ok {
		e.err, err = damaged, nil
	}
	return err
}

// batch makes a batch of an answer, and moves on to its token.
func (w *watcher) batch(ctx context.Context, all *told) (*backends.Batch, error) {
	next, err := w.behind(all)
	if err != nil {
		return nil, err
	}
	w.quiet = len(all.events) == 0
	b := &backends.Batch{Complete: w.at.token == "", Token: next.String()}
	for _, e := range all.events {
		switch e.class {
		case "task":
			w.task(b, e)
		case "vm":
			if err := w.vm(ctx, b, e); err != nil {
				return nil, err
			}
		}
	}
	w.onlyOnce(b)
	w.at = next
	return b, nil
}

// behind is the point behind an answer, or errLost when the answer does not follow on the last one.
func (w *watcher) behind(all *told) (point, error) {
	next := point{instance: w.at.instance, objects: w.at.objects, token: all.token}
	switch {
	case next.token == "":
		return point{}, errors.New("no token")
	case all.counts == nil:
		return point{}, errors.New("no valid_ref_counts")
	}
	for _, e := range all.events {
		_, known := w.vms[e.ref]
		switch {
		case e.class != "vm":
		case e.operation == "add" && !known:
			next.objects++
		case e.operation == "del":
			next.objects--
		}
	}
	// How many objects of the class VM xapi says there are.
	counted, ok := all.counts["vm"]
	if ok && w.at.token == "" {
		next.objects = counted
	}
	if w.at.token != "" && (ok && counted != next.objects || generation(next.token) < generation(w.at.token)) {
		return point{}, errLost
	}
	return next, nil
}

// generation is the first number of xapi's token, which grows with each change: 0 when it has none.
func generation(token string) int64 {
	first, _, _ := strings.Cut(token, ",")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// forget is the uuid that a deleted object had; "" when it was never seen.
func (w *watcher) forget(ref, uuid string) string {
	if uuid == "" {
		if o, ok := w.d.refs.object(ref); ok {
			uuid = o.uuid
		}
	}
	w.d.refs.forget(ref)
	return uuid
}

// task is how far a task is. One that nobody can read, or that nobody saw before it went, is not told.
func (w *watcher) task(b *backends.Batch, e *event) {
	seen := w.tasks[e.ref]
	if e.operation == "del" {
		delete(w.tasks, e.ref)
		if uuid := w.forget(e.ref, seen.uuid); uuid != "" && !seen.ended {
			b.Tasks = append(b.Tasks, backends.TaskChange{Name: uuid, Ended: true})
		}
		return
	}
	r := e.task
	if r == nil {
		return
	}
	w.tasks[e.ref] = taskSighting{r.uuid, r.ended()}
	change := backends.TaskChange{Name: r.uuid, Ended: r.ended()}
	if !change.Ended {
		change.Progress = progress(r)
	}
	b.Tasks = append(b.Tasks, change)
}

// vm hands over one VM, or that it is gone.
func (w *watcher) vm(ctx context.Context, b *backends.Batch, e *event) error {
	seen, known := w.vms[e.ref]
	if e.operation == "del" {
		delete(w.vms, e.ref)
		uuid := w.forget(e.ref, seen.uuid)
		switch {
		case known && !seen.shown:
		case uuid == "":
			return errLost
		default:
			b.Gone = append(b.Gone, w.d.id(uuid))
		}
		return nil
	}
	if !e.there { // it has gone since: the next answer says so
		w.vms[e.ref] = seen
		return nil
	}
	if o, ok := w.d.refs.object(e.ref); ok {
		seen.uuid = o.uuid
	}
	if e.hidden {
		if seen.shown || !known && e.operation != "add" && seen.uuid != "" {
			b.Gone = append(b.Gone, w.d.id(seen.uuid))
		}
		seen.shown = false
		w.vms[e.ref] = seen
		return nil
	}
	if e.later.Kind() != scan.Invalid {
		if err := w.make(ctx, e, w.vmReader.parse(e.later)); err != nil {
			return err
		}
	}
	vm, err := e.vm, e.err
	if _, damaged := errors.AsType[damage](err); damaged && seen.uuid != "" {
		id := w.d.id(seen.uuid)
		b.Undecodable = append(b.Undecodable, &backends.Undecodable{ID: id, Err: err})
		vm, err = &backends.VM{ID: id, Backend: id.Backend, Kind: backends.XenAPI, UID: seen.uuid, State: backends.StateUnknown}, nil
	}
	if _, nameless := errors.AsType[damage](err); nameless {
		w.vms[e.ref] = seen
		return nil
	}
	if err != nil {
		return err
	}
	seen.shown = true
	w.vms[e.ref] = seen
	b.VMs = append(b.VMs, vm)
	return nil
}

// onlyOnce takes out of Gone what is there again under a new reference.
func (w *watcher) onlyOnce(b *backends.Batch) {
	if len(b.Gone) == 0 || len(b.VMs) == 0 {
		return
	}
	there := make(map[backends.ID]bool, len(b.VMs))
	for _, vm := range b.VMs {
		there[vm.ID] = true
	}
	b.Gone = slices.DeleteFunc(b.Gone, func(id backends.ID) bool { return there[id] })
}
