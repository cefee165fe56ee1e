package xensim

import (
	"slices"
	"strings"
	"time"
)

// runningTask is the work behind a task object while it goes on.
type runningTask struct {
	cancel    chan struct{}
	cancelled bool
	started   time.Time
	length    time.Duration
}

func (t *runningTask) begin(now time.Time, d time.Duration) { t.started, t.length = now, d }

// How long xapi keeps finished tasks that nobody destroys.
const (
	taskLifetime = 65 * time.Minute
	maxTasks     = 200
)

func (s *Server) newTask(label, description string, host string) *object {
	s.dropOldTasks()
	return s.db.add("task", s.newRef(), s.newUUID(), record{
		{"name_label", label}, {"name_description", description}, {"created", s.clock.Now()}, {"status", "pending"},
		{"resident_on", host}, {"type", "<none/>"},
	})
}

// startTask runs the call in the background and answers with its task.
func (s *Server) startTask(c *call) string {
	o := s.newTask("Async."+c.msg.full(), "", s.coordinator)
	s.db.set(o, "allowed_operations", []string{"cancel"})
	c.task, c.opID = &runningTask{cancel: make(chan struct{})}, o.ref
	s.running[o.ref] = c.task
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		v, f := c.run()
		s.finishTask(o, c.task, v, f)
	}()
	return o.ref
}

func (s *Server) finishTask(o *object, t *runningTask, v any, f *Failure) {
	delete(s.running, o.ref)
	if s.db.find("task", o.ref) != o {
		return // destroyed while it ran; the work is done all the same
	}
	s.db.set(o, "allowed_operations", []string{})
	s.db.set(o, "finished", s.clock.Now())
	s.db.set(o, "progress", 1.0)
	switch {
	case f != nil && f.Code == "TASK_CANCELLED" && t.cancelled:
		s.db.set(o, "status", "cancelled")
	case f != nil:
		s.db.set(o, "error_info", append([]string{f.Code}, f.Params...))
		s.db.set(o, "status", "failure")
	default:
		s.db.set(o, "result", resultText(v))
		s.db.set(o, "status", "success")
	}
}

// resultText is a result as a task holds it.
func resultText(v any) string {
	var e encoder
	e.value(v)
	return string(bytesOf(e.whole()))
}

// dropOldTasks forgets finished tasks that are too old or too many.
func (s *Server) dropOldTasks() {
	var finished []*object
	for _, o := range s.db.tables["task"].byRef {
		if s.running[o.ref] == nil && o.str("status") != "pending" {
			finished = append(finished, o)
		}
	}
	slices.SortFunc(finished, func(a, b *object) int { return a.date("finished").Compare(b.date("finished")) })
	surplus := len(finished) - maxTasks
	for i, o := range finished {
		if i < surplus || s.clock.Now().Sub(o.date("finished")) > taskLifetime {
			s.db.remove(o)
		}
	}
}

// progressOf is what part of the task's time has passed.
func (s *Server) progressOf(o *object) float64 {
	if t := s.running[o.ref]; t != nil && t.length > 0 {
		return max(0, min(float64(s.clock.Now().Sub(t.started))/float64(t.length), 0.99))
	}
	v, _ := o.get("progress").(float64)
	return v
}

func taskCreate(c *call) (any, *Failure) {
	return c.s.newTask(c.str(0), c.str(1), c.s.coordinator).ref, nil
}

func taskDestroy(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	c.s.db.remove(o)
	return nil, nil
}

func taskCancel(c *call) (any, *Failure) {
	o, f := c.object("task", 0)
	if f != nil {
		return nil, f
	}
	s := c.s
	t := s.running[o.ref]
	if t == nil {
		return nil, nil // finished already: xapi says nothing
	}
	s.db.set(o, "current_operations", o.fields("current_operations").with(c.opID, "cancel"))
	if !t.cancelled {
		t.cancelled = true
		go cancelAfter(t, s.clock, s.durations.Cancel, s.done)
	}
	return nil, nil
}

// cancelAfter ends the task's work when it next looks whether it is still wanted.
func cancelAfter(t *runningTask, clock Clock, d time.Duration, done <-chan struct{}) {
	noticed, stop := clock.Timer(d)
	defer stop()
	select {
	case <-noticed:
		close(t.cancel)
	case <-done:
	}
}

// setTask is for tasks that clients make for themselves.
func setTask(name string) handler {
	return func(c *call) (any, *Failure) {
		o, f := c.self()
		if f != nil {
			return nil, f
		}
		v := c.arg(1)
		if text, isText := v.(string); isText && name == "status" {
			v = strings.ToLower(text)
		}
		c.s.db.set(o, name, v)
		return nil, nil
	}
}
