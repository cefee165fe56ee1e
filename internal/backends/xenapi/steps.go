package xenapi

import (
	"context"
	"slices"

	"vmgateway/internal/backends"
)

// step is one call of a change. The rows of calls and of members say changes as steps; here they are
// sent, and in plan.go told.
type step struct {
	on      *handle  // the object it is about; nil is the VM of the URL
	members []string // that it applies: paths of backends.Members, or members of a verb's body
	method  string
	args    []any // behind the session and the object
	async   bool  // goes out as a task, for whose end the next step waits
	asks    bool  // changes nothing: whether it is refused is the answer
	// makes is the object that the step makes, to be filled in when it has: later steps are about it.
	makes *handle
	// forgive reports that a refusal is no error: what the step was to bring about is so.
	forgive func(error) bool
	// removed is what to add when the release does not carry the call out any more.
	removed string
	// older is what does the same in releases that do not know the method.
	older []step
}

// task is a change of one call, about the VM of the URL, that runs as a task.
func task(method string, args ...any) []step {
	return []step{{method: method, args: args, async: true}}
}

// send makes a verb's calls in turn: the answer is the operation of the last one, that of work which
// has ended when that is no task, nil for a verb that answers with the VM, or a check.
func (j *job) send(ctx context.Context, steps []step) (any, error) {
	j.steps = steps
	if steps[0].asks {
		return j.ask(ctx, steps)
	}
	last := len(steps) - 1
	for i, s := range steps[:last] {
		if err := j.finish(ctx, s); err != nil {
			return nil, j.stopped(ctx, err, i)
		}
	}
	answer, err := j.conclude(ctx, steps[last])
	if err != nil {
		return nil, j.stopped(ctx, err, last)
	}
	return answer, nil
}

// conclude makes the last call. One that the release does not know as a task is made in the older way.
func (j *job) conclude(ctx context.Context, s step) (any, error) {
	h := j.target(s)
	if s.async {
		o, err := j.run(ctx, h, s.method, s.args...)
		if err == nil {
			return o, nil
		}
		if !unknownMethod(err) || s.older == nil {
			return nil, err
		}
	}
	if err := j.take(ctx, h, s); err != nil {
		return nil, err
	}
	if spec, _ := backends.LookUp(j.verb); spec.Answers == backends.AnswersVM {
		return nil, nil
	}
	return j.done(), nil
}

func (j *job) target(s step) *handle {
	if s.on != nil {
		return s.on
	}
	return j.h
}

// finish makes a call and waits until it has done its work.
func (j *job) finish(ctx context.Context, s step) error {
	if !s.async {
		return j.take(ctx, j.target(s), s)
	}
	r, err := j.complete(ctx, j.target(s), s.method, s.args...)
	switch {
	case err != nil && s.forgive != nil && s.forgive(err):
		return nil
	case err != nil || s.makes == nil:
		return err
	}
	return j.adopt(ctx, s.makes, r)
}

// stopped tells how far the job got when its call number i failed.
func (j *job) stopped(ctx context.Context, err error, i int) error {
	err = halfWay(err, j.steps, i)
	if j.row.failed != nil {
		err = j.row.failed(ctx, j, err, i)
	}
	return err
}

// take makes a call, or those that stand for it in a release that does not know it.
func (l *link) take(ctx context.Context, h *handle, s step) error {
	_, err := l.on(ctx, h, s.method, s.args...)
	switch {
	case err != nil && s.removed != "" && refusedBy(err, "NOT_IMPLEMENTED"):
		e := *backends.AsError(err)
		e.Detail += " " + s.removed
		return &e
	case !unknownMethod(err) || s.older == nil:
		return err
	}
	for _, older := range s.older {
		if _, err := l.on(ctx, h, older.method, older.args...); err != nil {
			return err
		}
	}
	return nil
}

func unknownMethod(err error) bool { return refusedBy(err, "MESSAGE_METHOD_UNKNOWN") }

// ask makes calls that change nothing until one is not refused. The reason why not is that of the
// first.
func (j *job) ask(ctx context.Context, steps []step) (*backends.Check, error) {
	var first *backends.Check
	for _, s := range steps {
		_, err := j.on(ctx, j.target(s), s.method, s.args...)
		c, err := check(err)
		if err != nil {
			return nil, err
		}
		if c.Allowed {
			return c, nil
		}
		if first == nil {
			first = c
		}
	}
	return first, nil
}

// halfWay says which members were applied before the step that failed, and which were not.
func halfWay(err error, steps []step, failed int) error {
	if err == nil || failed == 0 {
		return err
	}
	not := pathsOf(steps[failed:])
	applied := pathsOf(steps[:failed])
	e := *backends.AsError(err)
	e.Applied = nil
	for _, path := range applied {
		if !slices.Contains(not, path) {
			e.Applied = append(e.Applied, path)
		}
	}
	e.NotApplied = not
	return &e
}

func pathsOf(steps []step) []string {
	var all []string
	for _, s := range steps {
		for _, path := range s.members {
			if !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
	}
	return all
}
