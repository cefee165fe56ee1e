package bench

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"time"

	"vmgateway/internal/backends/wire"
	"vmgateway/internal/backends/wire/scan"
)

// caller calls a backend directly, by the client and in the way of the backend's driver: from the
// benchmarks, and in the relay.
type caller struct {
	ctx     context.Context
	fail    func(error) // does not return
	client  *wire.Client
	session string
}

// newOne logs in with a token, as the driver does.
func newOne(ctx context.Context, a account, fail func(error)) *caller {
	c := &caller{ctx: ctx, fail: fail, session: a.Username + ":" + a.Password}
	c.connect(a.URL, wire.Options{MaxConns: 12, MaxHeader: 4095, Timeout: time.Minute, MaxReply: 2 << 30})
	c.session = a.Username + ":" + c.str(c.one("one.user.login", a.Username, "", 3600, -1))
	return c
}

// newXen logs in as the driver does.
func newXen(ctx context.Context, a account, fail func(error)) *caller {
	c := &caller{ctx: ctx, fail: fail}
	c.connect(a.URL, wire.Options{
		MaxConns: 32, KeepAlive: true, MaxHeader: 1000, MaxRequest: 300 << 10, Timeout: time.Minute, MaxReply: 2 << 30,
	})
	c.session = c.str(c.success("session.login_with_password", a.Username, a.Password, "1.3", "bench"))
	return c
}

func (c *caller) connect(endpoint string, o wire.Options) {
	var err error
	o.URL, err = url.Parse(endpoint)
	c.check(err)
	c.client = wire.New(o)
}

// with is c for calls that end with ctx.
func (c *caller) with(ctx context.Context) *caller {
	other := *c
	other.ctx = ctx
	return &other
}

func (c *caller) check(err error) {
	if err != nil {
		c.fail(err)
	}
}

func (c *caller) call(method string, args []any) scan.Value {
	reply, err := c.client.Call(c.ctx, method, args...)
	c.check(err)
	top, err := reply.Value()
	c.check(err)
	return top
}

// one makes one call and gives the second of the elements that oned answers with, of which the first
// says that it is the result.
func (c *caller) one(method string, args ...any) scan.Value {
	var parts []scan.Value
	p := c.call(method, append([]any{c.session}, args...)).Parts(scan.Array)
	for p.Next() {
		parts = append(parts, p.Value)
	}
	c.check(p.Err())
	if len(parts) < 2 {
		c.fail(fmt.Errorf("%s: an answer of %d elements", method, len(parts)))
	}
	done, err := parts[0].Bool()
	c.check(err)
	if !done {
		c.fail(fmt.Errorf("%s: refused: %s", method, parts[1].Body()))
	}
	return parts[1]
}

// xen makes one call and gives its value.
func (c *caller) xen(method string, args ...any) scan.Value {
	return c.success(method, append([]any{c.session}, args...)...)
}

// success makes one call that needs no session.
func (c *caller) success(method string, args ...any) scan.Value {
	top := c.call(method, args)
	if status := c.str(c.member(top, "Status")); status != "Success" {
		c.fail(fmt.Errorf("%s: %s: %s", method, status, c.member(top, "ErrorDescription").Body()))
	}
	return c.member(top, "Value")
}

func (c *caller) member(v scan.Value, name string) scan.Value {
	m, ok, err := v.Member(name)
	c.check(err)
	if !ok {
		c.fail(fmt.Errorf("there is no member %s", name))
	}
	return m
}

func (c *caller) str(v scan.Value) string {
	text, err := v.Text()
	c.check(err)
	return string(text)
}

func (c *caller) refs(v scan.Value, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		p := c.member(v, name).Parts(scan.Array)
		for p.Next() {
			if !yield(c.str(p.Value)) {
				return
			}
		}
		c.check(p.Err())
	}
}

// ref is the reference of an object, by the gateway's id.
func (c *caller) ref(class, id string) string { return c.str(c.xen(class+".get_by_uuid", native(id))) }

// look asks whether a task has ended.
const look = "task.get_record"

// async does as a task what ends at once, reads how it ended, and destroys the task.
func (c *caller) async(method string, args ...any) {
	task := c.str(c.xen("Async."+method, args...))
	for {
		status := c.str(c.member(c.xen(look, task), "status"))
		if status == "success" {
			break
		}
		if status != "pending" {
			c.fail(fmt.Errorf("%s: %s", method, status))
		}
		time.Sleep(5 * time.Millisecond) // as the driver does
	}
	c.xen("task.destroy", task)
}

const noRef = "OpaqueRef:NULL"

// vm reads a VM with its devices and the names of what it is connected to.
func (c *caller) vm(ref string) {
	vm := c.xen("VM.get_record", ref)
	c.xen("host.get_name_label", c.str(c.member(vm, "resident_on")))
	for vbd := range c.refs(vm, "VBDs") {
		if vdi := c.str(c.member(c.xen("VBD.get_record", vbd), "VDI")); vdi != noRef {
			c.xen("SR.get_name_label", c.str(c.member(c.xen("VDI.get_record", vdi), "SR")))
		}
	}
	for vif := range c.refs(vm, "VIFs") {
		c.xen("network.get_name_label", c.str(c.member(c.xen("VIF.get_record", vif), "network")))
	}
	c.xen("VM_guest_metrics.get_record", c.str(c.member(vm, "guest_metrics")))
}
