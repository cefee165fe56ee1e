package handlers

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

const (
	heartbeat = 15 * time.Second
	// writeWithin is how long a listener may take to make room; then it is cut off, and resumes.
	writeWithin = 10 * time.Second
	// eventsAtOnce bounds what is written between two looks at the other feeds.
	eventsAtOnce = 256
	resyncType   = "resync"
)

// cursor is a place in each of a session's feeds: {backend}.{position}, joined by ~.
type cursor map[string]feed.Position

// nowhere is the position of a feed that did not run: no feed knows it, so whoever goes on from
// there is told to read everything anew.
var nowhere = feed.Position{Epoch: "none"}

func (c cursor) String() string {
	parts := make([]string, 0, len(c))
	for backend, p := range c {
		parts = append(parts, backend+"."+p.String())
	}
	slices.Sort(parts)
	return strings.Join(parts, "~")
}

func parseCursor(text string) (cursor, bool) {
	c := make(cursor)
	if text == "" {
		return c, true
	}
	for part := range strings.SplitSeq(text, "~") {
		backend, position, ok := strings.Cut(part, ".")
		p, err := feed.ParsePosition(position)
		if !ok || err != nil || !backends.ValidName(backend) {
			return nil, false
		}
		c[backend] = p
	}
	return c, true
}

// wanted is which events a listener asks for; a nil list is all.
type wanted struct {
	types []string
	vms   []backends.ID
}

func (w wanted) has(e feed.Event) bool {
	return (w.types == nil || slices.Contains(w.types, e.Type)) &&
		(w.vms == nil || e.VM == backends.ID{} || slices.Contains(w.vms, e.VM))
}

// streamEvents serves GET /events.
func (a *API) streamEvents(r *http.Request) (reply, error) {
	q := r.URL.Query()
	from, err := a.sources(r, q.Get("backend"))
	if err != nil {
		return reply{}, err
	}
	name, text := "cursor", q.Get("cursor")
	if last := r.Header.Get("Last-Event-ID"); last != "" { // the newer one, on a reconnect
		name, text = "Last-Event-ID", last
	}
	at, ok := parseCursor(text)
	if !ok {
		return reply{}, parameterError(name, "is not a cursor that was given out here")
	}
	var want wanted
	if types := q.Get("type"); types != "" {
		want.types = strings.Split(types, ",")
	}
	if vms := q.Get("vm"); vms != "" {
		for text := range strings.SplitSeq(vms, ",") {
			id, err := backends.ParseID(text)
			if err != nil {
				return reply{}, parameterError("vm", "expected ids, such as one.42,xen.…")
			}
			want.vms = append(want.vms, id)
		}
	}
	var usable []source
	for _, src := range from {
		if src.err == nil {
			usable = append(usable, src)
		} else if len(from) == 1 {
			return reply{}, src.err
		}
	}
	if len(usable) == 0 {
		return reply{}, &backends.Error{Code: backends.BackendSessionEnded, Detail: "No backend of this session can be followed: log in again with POST /sessions/current/logins."}
	}
	return reply{status: http.StatusOK, body: stream(func(w http.ResponseWriter, r *http.Request) {
		a.follow(w, r, usable, at, want)
	})}, nil
}

// follow writes events until the listener leaves, its session ends or the gateway stops.
func (a *API) follow(w http.ResponseWriter, r *http.Request, from []source, at cursor, want wanted) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stopped := context.AfterFunc(a.stopping, cancel)
	defer stopped()
	a.metrics.listeners.Inc()
	defer a.metrics.listeners.Dec()

	l := &listener{
		w: w, control: http.NewResponseController(w), reads: &a.reads, at: at, want: want,
		forget: func(backend string) { a.forgetLogin(r, backend) },
		feeds:  map[string]*feed.Feed{}, owners: map[string]string{},
	}
	for _, src := range from {
		login, err := auth.From(ctx).LoginAt(src.backend.Name)
		if err != nil {
			continue
		}
		lease := a.feeds.Acquire(src.backend, login.Owner(), src.session)
		defer lease.Release()
		l.feeds[src.backend.Name], l.owners[src.backend.Name] = lease.Feed(), login.Owner()
		a.operations.Resume(src.backend, login.Owner(), src.session) // their ends are told here, also after a restart
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if l.flush() != nil {
		return
	}
	l.start(ctx)
	if l.comment("following") != nil { // from the place in its id on
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for ctx.Err() == nil && len(l.feeds) > 0 {
		wait := l.waiting(ctx, beat.C)
		wrote, err := l.catchUp()
		if err != nil {
			return
		}
		if wrote {
			continue
		}
		if wait() {
			if a.sessionEnded(r) || l.comment("alive") != nil {
				return
			}
		}
	}
}

// sessionEnded asks whether the listener's token still counts; following counts as a use.
func (a *API) sessionEnded(r *http.Request) bool {
	token, _, err := tokenOf(r)
	if err != nil {
		return true
	}
	_, err = a.sessions.Get(r.Context(), token)
	return err != nil
}

// listener is one reader of a session's feeds.
type listener struct {
	w       io.Writer
	control *http.ResponseController
	reads   *sharedReads
	feeds   map[string]*feed.Feed
	owners  map[string]string    // of the feeds
	forget  func(backend string) // that its login there has ended
	at      cursor
	want    wanted
}

// start gives each feed that the cursor does not name its present end, once the feed knows it.
func (l *listener) start(ctx context.Context) {
	for name, f := range l.feeds {
		if _, given := l.at[name]; given {
			continue
		}
		select {
		case <-f.Ready():
		case <-f.Ended():
		case <-ctx.Done():
		case <-time.After(heartbeat): // a backend that is down: its coming up is told
		}
		l.at[name] = f.Position()
	}
	for name := range l.at {
		if l.feeds[name] == nil {
			delete(l.at, name)
		}
	}
}

// catchUp writes what each feed has behind the listener's position.
func (l *listener) catchUp() (wrote bool, err error) {
	for name, f := range l.feeds {
		select {
		case <-f.Ready():
		case <-f.Ended():
		default:
			if f.Down() == nil {
				continue // nothing can be told before the first read
			}
		}
		events, next, ok := f.After(l.at[name], eventsAtOnce)
		if !ok {
			l.at[name] = next
			if err := l.write(resyncType, time.Now(), []byte(fmt.Sprintf(`{"backend":%q}`, name))); err != nil {
				return wrote, err
			}
			wrote = true
			continue
		}
		if len(events) > 0 {
			l.reads.forget(l.owners[name]) // who is told of a change reads nothing from before it
		}
		for _, e := range events {
			l.at[name] = feed.Position{Epoch: next.Epoch, Seq: e.Seq}
			if !l.want.has(e) {
				continue
			}
			if err := l.write(e.Type, e.Time, e.Data); err != nil {
				return wrote, err
			}
		}
		l.at[name] = next
		wrote = wrote || len(events) > 0
		if ended := f.Err(); ended != nil && len(events) == 0 {
			delete(l.feeds, name)
			e := backends.AsError(ended)
			if e.Code == backends.BackendSessionEnded {
				l.forget(name) // before it is told, since who hears of it logs in again
			}
			err := l.write(feed.BackendDown, time.Now(), []byte(fmt.Sprintf(`{"backend":%q,"code":%q,"detail":%q}`, name, e.Code.String(), e.Detail)))
			if err != nil {
				return wrote, err
			}
			wrote = true
		}
	}
	if wrote {
		err = l.flush()
	}
	return wrote, err
}

// write puts one event on the line. Its data begins with what every event has.
func (l *listener) write(kind string, at time.Time, data []byte) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(l.w, "id: %s\nevent: %s\ndata: {\"type\":%q,\"time\":%q,%s\n\n",
		l.at, kind, kind, at.UTC().Format(time.RFC3339Nano), data[1:])
	return err
}

// comment keeps the line alive. The id tells how far the listener has come, also past events that it
// did not ask for.
func (l *listener) comment(text string) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(l.w, ": %s\nid: %s\n\n", text, l.at); err != nil {
		return err
	}
	return l.flush()
}

func (l *listener) flush() error { return l.control.Flush() }

// waiting prepares to sleep until a feed has something new, which may be from now on: what comes
// while the listener catches up wakes it at once. The function it gives sleeps, and reports whether
// the heartbeat ended that.
func (l *listener) waiting(ctx context.Context, beat <-chan time.Time) func() bool {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(beat)},
	}
	for _, f := range l.feeds {
		cases = append(cases,
			reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(f.Changed())},
			reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(f.Ended())})
		select {
		case <-f.Ready():
		default:
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(f.Ready())})
		}
	}
	return func() bool {
		chosen, _, _ := reflect.Select(cases)
		return chosen == 1
	}
}
