package drivertest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"

	"vmgateway/internal/backends"
)

// watch looks for secrets, and for errors that are not ours, in everything that a driver gives.
type watch struct {
	t       testing.TB
	mu      sync.Mutex
	secrets []string
}

func newWatch(t testing.TB, passwords ...string) *watch {
	w := &watch{t: t}
	for _, p := range passwords {
		w.keep(p)
	}
	return w
}

// keep adds something that nobody may see.
func (w *watch) keep(secret string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if secret != "" {
		w.secrets = append(w.secrets, secret)
	}
}

// keepSession adds a session's credential, and of user:token the token alone.
func (w *watch) keepSession(s backends.Session) {
	credential := s.Reveal()
	w.keep(credential)
	if _, token, ok := strings.Cut(credential, ":"); ok {
		w.keep(token)
	}
}

func (w *watch) text(what, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(text, "OpaqueRef:") {
		w.t.Errorf("%s holds a reference: %s", what, text)
	}
	for _, s := range w.secrets {
		if strings.Contains(text, s) {
			w.t.Errorf("%s holds a secret: %s", what, strings.ReplaceAll(text, s, "[secret]"))
		}
	}
}

// value looks at what a client would see of v.
func (w *watch) value(what string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		w.t.Errorf("%s gives what JSON has not: %v", what, err)
		return
	}
	w.text(what, string(text))
}

// err looks at what a log and a client would see of an error.
func (w *watch) err(what string, err error) {
	if err == nil {
		return
	}
	w.text("the error of "+what, err.Error())
	var e *backends.Error
	if !errors.As(err, &e) {
		w.t.Errorf("%s fails with a %T, not an *Error: %v", what, err, err)
		return
	}
	w.problem(what, e)
}

func (w *watch) problem(what string, e *backends.Error) {
	if e == nil {
		return
	}
	w.value("the problem of "+what, struct {
		Detail              string
		Fields              []backends.FieldError
		Fault               *backends.Fault
		State               *backends.StateConflict
		Applied, NotApplied []string
	}{e.Detail, e.Fields, e.Fault, e.State, e.Applied, e.NotApplied})
	if e.Detail == "" && e.Code != backends.Internal {
		w.t.Errorf("%s: the error has no detail: %v", what, e)
	}
	if e.Code == backends.Internal {
		w.t.Errorf("%s: an error that nobody has classified: %v", what, e)
	}
}

func (w *watch) result(what string, v any, err error) {
	w.err(what, err)
	if err != nil {
		return
	}
	w.value(what, v)
	if op, ok := v.(*backends.Operation); ok && op != nil {
		w.problem("the operation of "+what, op.Err)
	}
}

// watched is a driver whose every answer is looked at.
type watched struct {
	backends.Driver
	watch *watch
}

func (d *watched) Ping(ctx context.Context) error {
	err := d.Driver.Ping(ctx)
	d.watch.err("Ping", err)
	return err
}

func (d *watched) Login(ctx context.Context, user, password string) (backends.Login, error) {
	d.watch.keep(password)
	l, err := d.Driver.Login(ctx, user, password)
	d.watch.keepSession(l.Session)
	d.watch.result("Login", l, err)
	return l, err
}

func (d *watched) Verify(ctx context.Context, user, password string) error {
	d.watch.keep(password)
	err := d.Driver.Verify(ctx, user, password)
	d.watch.err("Verify", err)
	return err
}

func (d *watched) Logout(ctx context.Context, s backends.Session) error {
	err := d.Driver.Logout(ctx, s)
	d.watch.err("Logout", err)
	return err
}

func (d *watched) VM(ctx context.Context, s backends.Session, id backends.ID, view backends.View) (*backends.VM, error) {
	vm, err := d.Driver.VM(ctx, s, id, view)
	d.watch.result("VM", vm, err)
	return vm, err
}

func (d *watched) VMs(ctx context.Context, s backends.Session, q backends.Query) iter.Seq2[*backends.VM, error] {
	return func(yield func(*backends.VM, error) bool) {
		for vm, err := range d.Driver.VMs(ctx, s, q) {
			var u *backends.Undecodable
			if errors.As(err, &u) {
				d.watch.text("an undecodable VM", u.Error())
			} else {
				d.watch.result("VMs", vm, err)
			}
			if !yield(vm, err) {
				return
			}
		}
	}
}

func (d *watched) Read(ctx context.Context, s backends.Session, r backends.Resource, id backends.ID) (any, error) {
	v, err := d.Driver.Read(ctx, s, r, id)
	d.watch.result("Read "+string(r), v, err)
	return v, err
}

func (d *watched) Create(ctx context.Context, s backends.Session, members []backends.Change) (backends.ID, error) {
	id, err := d.Driver.Create(ctx, s, members)
	d.watch.result("Create", id, err)
	return id, err
}

func (d *watched) Patch(ctx context.Context, s backends.Session, id backends.ID, changes []backends.Change) error {
	err := d.Driver.Patch(ctx, s, id, changes)
	d.watch.err("Patch", err)
	return err
}

func (d *watched) Do(ctx context.Context, s backends.Session, v backends.Verb, id backends.ID, a backends.Args) (any, error) {
	result, err := d.Driver.Do(ctx, s, v, id, a)
	d.watch.result("Do "+string(v), result, err)
	return result, err
}

func (d *watched) Operation(ctx context.Context, s backends.Session, id backends.ID) (*backends.Operation, error) {
	op, err := d.Driver.Operation(ctx, s, id)
	d.watch.result("Operation", op, err)
	return op, err
}
