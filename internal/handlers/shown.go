package handlers

import (
	"iter"

	"vmgateway/internal/backends"
)

// noted is the VMs that a source gives for a list, of each of which the login's feed is told: see
// [feed.Feed.Shown].
func (a *API) noted(v *vmPlan, src source, vms iter.Seq2[*backends.VM, error]) iter.Seq2[*backends.VM, error] {
	if src.mirror != nil {
		return vms // the feed has told of all that they are
	}
	listed := !v.ask.ShowDeleted && !v.ask.ShowTemplates
	return func(yield func(*backends.VM, error) bool) {
		f, running := a.feeds.Running(src.owner)
		for vm, err := range vms {
			if running && err == nil && vm != nil {
				f.Shown(vm, listed)
			}
			if !yield(vm, err) {
				return
			}
		}
	}
}

// note tells the feed of a login of a single VM that is shown. Whether it is one that lists have, its
// id does not say.
func (a *API) note(owner string, vm *backends.VM) {
	if f, running := a.feeds.Running(owner); running {
		f.Shown(vm, false)
	}
}
