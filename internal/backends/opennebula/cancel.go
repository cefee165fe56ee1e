package opennebula

import (
	"context"

	"vmgateway/internal/backends"
)

// giveUp is the number of one.vm.recover that takes the work of a driver as failed.
const giveUp = 0

var _ backends.Canceller = (*Driver)(nil)

// Cancel has OpenNebula take the step under way as failed. That takes the right ADMIN. The VM is read
// first, since recover succeeds and does nothing on a VM that is well, and gives up somebody else's
// work when that is what the VM is at. Nothing tells afterwards that it was a cancel: the operation
// reads FAILED with GaveUp.
func (d *Driver) Cancel(ctx context.Context, s backends.Session, id backends.ID) error {
	o, err := d.Operation(ctx, s, id)
	if err != nil {
		return err
	}
	switch {
	case o.Done():
		return &backends.Error{Code: backends.WrongState, Op: op("one.vm.recover"), Detail: "The operation has ended."}
	case !o.Cancellable:
		return d.lacks("", "OpenNebula cannot give up what this operation is waiting for at the moment.")
	}
	vm, err := d.pathID(*o.VM)
	if err != nil {
		return err
	}
	r, err := d.detect(ctx, s)
	if err != nil {
		return err
	}
	_, err = d.integer(ctx, s, request{
		method: "one.vm.recover", args: []any{vm, r.outcome(giveUp)}, changes: true, subject: "virtual machine",
	})
	return err
}
