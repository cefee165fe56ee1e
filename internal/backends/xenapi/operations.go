package xenapi

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// Work that takes its time runs as a task of xapi's. An operation's id is
// "{verb}-{uuid of the VM}-{uuid of the task}", so that whoever has it finds the task again. The
// task is destroyed as soon as its end was seen; xapi itself drops finished tasks after 65 minutes.

// pollSteps are the pauses between looks at a task; the last one is kept.
var pollSteps = []time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
}

// follow looks at a task until it has ended, ctx has, or limit is over (0 = no limit). It fails only
// when not even one look succeeded, or the task vanished.
func (l *link) follow(ctx context.Context, ref string, limit time.Duration) (*taskRecord, error) {
	var last *taskRecord
	patience := ctx // for the pauses only: a look that was begun is waited for
	if limit > 0 {
		var cancel context.CancelFunc
		patience, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for i := 0; ; i++ {
		r, err := l.task(ctx, ref)
		switch {
		case err == nil:
			last = r
		case last == nil || gone(err, ref):
			return nil, err
		}
		if last.ended() || !pause(patience, pollSteps[min(i, len(pollSteps)-1)]) {
			return last, nil
		}
	}
}

// pause waits, and reports whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func gone(err error, ref string) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.gone(ref)
}

func (l *link) task(ctx context.Context, ref string) (*taskRecord, error) {
	const method = "task.get_record"
	v, err := l.call(ctx, method, ref)
	if err != nil {
		return nil, err
	}
	r, err := record(taskFields, v)
	if err == nil && (!isUUID(r.uuid) || r.status == "") {
		err = errors.New("a task without a uuid or a status")
	}
	if err != nil {
		return nil, l.d.undecodable(method, err)
	}
	return r, nil
}

func (r *taskRecord) ended() bool {
	switch r.status {
	case "success", "failure", "cancelled":
		return true
	}
	return false
}

// refusal is the error of a task that failed: the same as the message's own.
func (l *link) refusal(method string, r *taskRecord) error {
	if r.status != "failure" {
		return nil
	}
	info := r.errorInfo
	if len(info) == 0 {
		info = []string{"INTERNAL_ERROR"}
	}
	return l.refine(l.d.refused(&failure{method: method, params: info}))
}

// drop destroys a task whose end was seen. A task that cannot be destroyed is left to xapi, which
// drops it in time; what it did is known, and that answer stands.
func (l *link) drop(ctx context.Context, ref string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	_, _ = l.call(ctx, "task.destroy", ref)
}

// begin starts a message on h as a task and looks at it for as long as limit. A remembered reference
// that turns out to be stale is asked for again: the task then did nothing.
func (l *link) begin(ctx context.Context, h *handle, limit time.Duration, method string, args ...any) (string, *taskRecord, error) {
	for {
		v, err := l.call(ctx, "Async."+method, append([]any{h.ref}, args...)...)
		if err != nil && !h.stale(err) {
			return "", nil, err
		}
		if err == nil {
			ref, err := str(v)
			if err != nil {
				return "", nil, lost(l.d.undecodable("Async."+method, err))
			}
			r, err := l.follow(ctx, ref, limit)
			if err != nil {
				if ctx.Err() != nil {
					l.drop(ctx, ref) // nobody will know of the task
				}
				return "", nil, lost(err)
			}
			if !h.stale(l.refusal(method, r)) {
				return ref, r, nil
			}
			l.drop(ctx, ref)
		}
		if err := l.renew(ctx, h); err != nil {
			return "", nil, err
		}
	}
}

// lost is an error after which a change may be under way.
func lost(err error) error {
	e := *backends.AsError(err)
	e.MaybeDone = true
	e.Detail = strings.TrimSpace(e.Detail + " The change was started, and may be under way: read the VM before trying again.")
	return &e
}

// complete starts a message on h and waits until it has ended.
func (l *link) complete(ctx context.Context, h *handle, method string, args ...any) (*taskRecord, error) {
	ref, r, err := l.begin(ctx, h, 0, method, args...)
	if err != nil {
		return nil, err
	}
	if !r.ended() {
		l.drop(ctx, ref) // the work goes on, and nobody could ask for the task again
		return nil, lost(&backends.Error{Code: backends.BackendTimeout, Op: l.d.op(method), Detail: "The backend did not finish in time.", Err: ctx.Err()})
	}
	l.drop(ctx, ref)
	if r.status == "cancelled" {
		return nil, &backends.Error{Code: backends.Conflict, Op: l.d.op(method), Detail: "Somebody cancelled this at the backend."}
	}
	return r, l.refusal(method, r)
}

// run starts a message on h as the operation of the job's verb. A refusal within the grace time is
// an error, as if the message had been synchronous.
func (j *job) run(ctx context.Context, h *handle, method string, args ...any) (*backends.Operation, error) {
	ref, r, err := j.begin(ctx, h, j.d.cfg.Grace, method, args...)
	if err != nil {
		return nil, err
	}
	if err := j.refusal(method, r); err != nil {
		j.drop(ctx, ref)
		return nil, err
	}
	o, err := j.operation(ctx, ref, r)
	if err != nil {
		// It succeeded, and what it made could not be asked for. The task is still there: whoever asks
		// for the operation next is told.
		o = j.blank(r.uuid)
		o.State = backends.OperationRunning
	}
	return o, nil
}

// operation is how a task stands, with the task destroyed if that is its end.
func (j *job) operation(ctx context.Context, ref string, r *taskRecord) (*backends.Operation, error) {
	o := j.blank(r.uuid)
	if r.created != nil {
		o.CreateTime = *r.created
	}
	switch r.status {
	case "success":
		o.State = backends.OperationSucceeded
		result, err := j.result(ctx, r)
		if err != nil {
			return nil, err
		}
		o.Result = result
	case "cancelled":
		o.State = backends.OperationCancelled
		o.Result = j.left()
	case "failure":
		o.State = backends.OperationFailed
		method := strings.TrimPrefix(r.label, "Async.")
		err := j.refusal(method, r)
		if j.row.late != nil {
			err = j.row.late(j, method, err)
		}
		o.Err = backends.AsError(err)
		o.Result = j.left()
	default:
		o.State = backends.OperationRunning
		o.Progress = progress(r)
		o.Cancellable = r.cancellable()
		return o, nil
	}
	end := j.d.cfg.Now().UTC()
	if r.finished != nil {
		end = *r.finished
	}
	o.EndTime = &end
	j.drop(ctx, ref)
	return o, nil
}

// progress is told while a task runs: xapi says 1 after a failure too.
func progress(r *taskRecord) *float64 {
	if r.progress == nil || *r.progress < 0 || *r.progress > 1 {
		return nil
	}
	return r.progress
}

// result is what the task made: its result is a piece of XML with the reference of a VM.
func (j *job) result(ctx context.Context, r *taskRecord) (*backends.OperationResult, error) {
	if made := j.left(); made != nil {
		return made, nil
	}
	ref := refPattern.FindString(r.result)
	if ref == "" || ref == nullRef {
		return nil, nil
	}
	id, err := j.names(false).id(ctx, "VM", ref)
	if id == nil || err != nil {
		return nil, err
	}
	return &backends.OperationResult{VM: id}, nil
}

// left is what there is however the operation ends: the VM of an instantiation was made before.
func (j *job) left() *backends.OperationResult {
	if j.verb != backends.VerbInstantiate {
		return nil
	}
	return &backends.OperationResult{VM: &j.id}
}

// blank is the job's operation with the last part of its id.
func (j *job) blank(task string) *backends.Operation {
	o := &backends.Operation{
		ID:      j.d.id(string(j.verb) + "-" + j.id.Native + "-" + task),
		Backend: j.d.cfg.Name, Verb: j.verb, CreateTime: j.d.cfg.Now().UTC(),
	}
	// The VM of an instantiation is its result: it is not what the call was about.
	if j.verb != backends.VerbInstantiate {
		o.VM = &j.id
	}
	return o
}

// done is the operation of work that ended before it could be asked for. Nothing remembers it.
func (j *job) done() *backends.Operation {
	now := j.d.cfg.Now().UTC()
	o := j.blank(strconv.FormatInt(now.UnixNano(), 10))
	o.State, o.CreateTime, o.EndTime = backends.OperationSucceeded, now, &now
	return o
}

// Operation reads how far an operation is. One whose task has gone, because its end was seen or
// because xapi dropped it, is NotFound.
func (d *Driver) Operation(ctx context.Context, s backends.Session, id backends.ID) (*backends.Operation, error) {
	j, h, r, err := d.taskOf(ctx, s, id)
	if err != nil {
		return nil, err
	}
	o, err := j.operation(ctx, h.ref, r)
	if err == nil && o.Done() {
		d.refs.forget(h.ref)
	}
	return o, err
}

var _ backends.Canceller = (*Driver)(nil)

// Cancel asks xapi to give a task up. Whether it can be is xapi's to say, and changes while the task
// runs: near its end most cannot.
func (d *Driver) Cancel(ctx context.Context, s backends.Session, id backends.ID) error {
	j, h, r, err := d.taskOf(ctx, s, id)
	if err != nil {
		return err
	}
	const method = "task.cancel"
	switch {
	case r.ended():
		return &backends.Error{Code: backends.WrongState, Op: d.op(method), Detail: "The operation has ended already."}
	case !r.cancellable():
		return d.unsupported("XenAPI cannot give this operation up, or not any more.")
	}
	_, err = j.call(ctx, method, h.ref)
	if refusedBy(err, "OPERATION_NOT_ALLOWED") {
		e := d.unsupported("XenAPI cannot give this operation up, or not any more.")
		e.Op, e.Fault, e.Err = d.op(method), backends.AsError(err).Fault, err
		return e
	}
	return err
}

func (r *taskRecord) cancellable() bool { return !r.ended() && slices.Contains(r.allowed, "cancel") }

// taskOf is the task of an operation, and the job that it is of.
func (d *Driver) taskOf(ctx context.Context, s backends.Session, id backends.ID) (*job, *handle, *taskRecord, error) {
	verb, vm, task, ok := parseOperation(id.Native)
	row, known := calls[verb]
	if id.Backend != d.cfg.Name || !ok || !known {
		return nil, nil, nil, d.notFound(id)
	}
	l := d.link(s)
	l.doing = row.doing
	h, err := l.open(ctx, "task", d.id(task))
	if err != nil {
		return nil, nil, nil, err
	}
	const method = "task.get_record"
	v, err := l.on(ctx, h, method)
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := record(taskFields, v)
	if err != nil {
		return nil, nil, nil, d.undecodable(method, err)
	}
	// The id came from outside: it must not lead to any other task, which would be destroyed.
	if !slices.Contains(row.methods, strings.TrimPrefix(r.label, "Async.")) {
		return nil, nil, nil, d.notFound(id)
	}
	l.subject, l.subRef = object{"VM", vm}, ""
	if ref, ok := d.refs.ref(l.subject); ok {
		l.subRef = ref
	}
	r.uuid = task
	return &job{link: l, verb: verb, id: d.id(vm), row: row}, h, r, nil
}

// parseOperation takes an operation's native id apart.
func parseOperation(native string) (verb backends.Verb, vm, task string, ok bool) {
	const uuid = 36
	if len(native) < 2*uuid+3 {
		return "", "", "", false
	}
	task = native[len(native)-uuid:]
	vm = native[len(native)-2*uuid-1 : len(native)-uuid-1]
	head := native[:len(native)-2*uuid-2]
	if !isUUID(vm) || !isUUID(task) || native[len(native)-uuid-1] != '-' || native[len(native)-2*uuid-2] != '-' {
		return "", "", "", false
	}
	return backends.Verb(head), vm, task, true
}
