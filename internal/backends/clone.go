package backends

import "strings"

// Clone is a VM that shares nothing with vm but what Native holds, which nobody writes. All its texts
// lie in one piece of memory of just their size, so that it does not keep alive what the texts of vm
// are parts of: often the whole reply of a backend.
func (vm *VM) Clone() *VM {
	clone := *vm
	var c cloner
	c.vm(&clone)
	c.room.Grow(c.size)
	c.moving = true
	c.vm(&clone)
	return &clone
}

// cloner visits everything in a VM twice. At first it puts copies in the place of all that is pointed
// to and adds up the texts; then it moves the texts.
type cloner struct {
	size   int
	moving bool
	room   strings.Builder
}

// text moves s.
func text[S ~string](c *cloner, s *S) {
	if !c.moving {
		c.size += len(*s)
		return
	}
	start := c.room.Len()
	c.room.WriteString(string(*s))
	*s = S(c.room.String()[start:])
}

// inside puts a copy in the place of what p points to, and goes into it.
func inside[T any](c *cloner, p **T, visit func(*cloner, *T)) {
	if *p == nil {
		return
	}
	if !c.moving {
		*p = new(**p)
	}
	visit(c, *p)
}

// value is inside for what holds no text.
func value[T any](c *cloner, p **T) {
	if *p != nil && !c.moving {
		*p = new(**p)
	}
}

// each is inside for the elements of a list. One that is empty stays so: it is not nil.
func each[T any](c *cloner, list *[]T, visit func(*cloner, *T)) {
	if *list == nil {
		return
	}
	if !c.moving {
		*list = append(make([]T, 0, len(*list)), *list...)
	}
	for i := range *list {
		visit(c, &(*list)[i])
	}
}

// dict is made anew where texts are moved, since a map keeps the key it was first given.
func (c *cloner) dict(m *map[string]string) {
	if *m == nil {
		return
	}
	if !c.moving {
		for key, value := range *m {
			c.size += len(key) + len(value)
		}
		return
	}
	clone := make(map[string]string, len(*m))
	for key, value := range *m {
		text(c, &key)
		text(c, &value)
		clone[key] = value
	}
	*m = clone
}

func (c *cloner) vm(vm *VM) {
	c.id(&vm.ID)
	text(c, &vm.Backend)
	text(c, &vm.Kind)
	text(c, &vm.UID)
	inside(c, &vm.DisplayName, text)
	inside(c, &vm.Description, text)
	text(c, &vm.State)
	text(c, &vm.BaseState)
	inside(c, &vm.RawState, (*cloner).rawState)
	each(c, &vm.AllowedActions, (*cloner).allowedAction)
	each(c, &vm.CurrentOperations, (*cloner).currentOperation)
	value(c, &vm.Template)
	value(c, &vm.Snapshot)
	value(c, &vm.ControlDomain)
	inside(c, &vm.Host, (*cloner).ref)
	inside(c, &vm.Owner, (*cloner).owner)
	inside(c, &vm.CPU, (*cloner).cpu)
	inside(c, &vm.Memory, (*cloner).memory)
	inside(c, &vm.Boot, (*cloner).boot)
	c.dict(&vm.Platform)
	inside(c, &vm.Placement, (*cloner).placement)
	inside(c, &vm.LifecyclePolicy, (*cloner).lifecyclePolicy)
	inside(c, &vm.Runtime, (*cloner).runtime)
	c.dict(&vm.Annotations)
	each(c, &vm.Disks, (*cloner).disk)
	each(c, &vm.NICs, (*cloner).nic)
	value(c, &vm.CreateTime)
	text(c, &vm.ETag)
	inside(c, &vm.OpenNebula, (*cloner).openNebula)
	inside(c, &vm.XenAPI, (*cloner).xenAPI)
}

func (c *cloner) id(id *ID) {
	text(c, &id.Backend)
	text(c, &id.Native)
}

func (c *cloner) ref(r *Ref) {
	c.id(&r.ID)
	text(c, &r.DisplayName)
}

func (c *cloner) rawState(s *RawState) {
	text(c, &s.PowerState)
	text(c, &s.State)
	value(c, &s.StateCode)
	text(c, &s.StateShort)
	text(c, &s.LCMState)
	value(c, &s.LCMStateCode)
	text(c, &s.LCMStateShort)
}

func (c *cloner) allowedAction(a *AllowedAction) {
	text(c, &a.Action)
	text(c, &a.Raw)
}

func (c *cloner) currentOperation(o *CurrentOperation) {
	inside(c, &o.Task, (*cloner).id)
	text(c, &o.Action)
	text(c, &o.Raw)
}

func (c *cloner) owner(o *Owner) {
	inside(c, &o.User, (*cloner).ref)
	inside(c, &o.Group, (*cloner).ref)
}

func (c *cloner) cpu(p *CPU) {
	value(c, &p.VCPUs)
	value(c, &p.MaxVCPUs)
	value(c, &p.Share)
	c.dict(&p.Params)
}

func (c *cloner) memory(m *Memory) {
	value(c, &m.StaticMaxBytes)
	value(c, &m.DynamicMaxBytes)
	value(c, &m.DynamicMinBytes)
	value(c, &m.StaticMinBytes)
	value(c, &m.TargetBytes)
	value(c, &m.OverheadBytes)
}

func (c *cloner) boot(b *Boot) {
	text(c, &b.DomainType)
	inside(c, &b.PV, (*cloner).bootPV)
	inside(c, &b.HVM, (*cloner).bootHVM)
}

func (c *cloner) bootPV(p *BootPV) {
	inside(c, &p.Bootloader, text)
	inside(c, &p.Kernel, text)
	inside(c, &p.Ramdisk, text)
	inside(c, &p.Args, text)
	inside(c, &p.BootloaderArgs, text)
	inside(c, &p.LegacyArgs, text)
}

func (c *cloner) bootHVM(h *BootHVM) {
	inside(c, &h.Policy, text)
	c.dict(&h.Params)
}

func (c *cloner) placement(p *Placement) {
	inside(c, &p.PreferredHost, (*cloner).ref)
	inside(c, &p.Requirements, text)
	inside(c, &p.Rank, text)
}

func (c *cloner) lifecyclePolicy(p *LifecyclePolicy) {
	text(c, &p.OnShutdown)
	text(c, &p.OnReboot)
	text(c, &p.OnCrash)
}

func (c *cloner) runtime(r *Runtime) {
	text(c, &r.DomainID)
	text(c, &r.Architecture)
	c.dict(&r.LastBootCPUFlags)
}

func (c *cloner) disk(d *Disk) {
	c.id(&d.ID)
	text(c, &d.Device)
	text(c, &d.Position)
	text(c, &d.Type)
	text(c, &d.Mode)
	value(c, &d.Bootable)
	value(c, &d.Attached)
	value(c, &d.Empty)
	value(c, &d.SizeBytes)
	value(c, &d.UsedBytes)
	inside(c, &d.Image, (*cloner).ref)
	inside(c, &d.Storage, (*cloner).ref)
	value(c, &d.Persistent)
}

func (c *cloner) nic(n *NIC) {
	c.id(&n.ID)
	text(c, &n.Device)
	text(c, &n.MAC)
	value(c, &n.MTU)
	inside(c, &n.Network, (*cloner).ref)
	each(c, &n.Addresses, text)
	value(c, &n.Attached)
	value(c, &n.Alias)
	inside(c, &n.Parent, (*cloner).id)
}

func (c *cloner) openNebula(o *OpenNebulaVM) {
	value(c, &o.Permissions)
	inside(c, &o.Template, text)
	inside(c, &o.TemplateID, (*cloner).id)
	value(c, &o.Rescheduled)
	text(c, &o.Lock)
	value(c, &o.LastPoll)
	value(c, &o.EndTime)
	text(c, &o.Error)
	each(c, &o.History, (*cloner).historyRecord)
}

func (c *cloner) historyRecord(r *HistoryRecord) {
	c.ref(&r.Host)
	inside(c, &r.Storage, (*cloner).ref)
	text(c, &r.Action)
	value(c, &r.ActionCode)
	value(c, &r.StartTime)
	value(c, &r.EndTime)
}

func (c *cloner) xenAPI(x *XenAPIVM) {
	value(c, &x.UserVersion)
	inside(c, &x.SuspendDisk, (*cloner).id)
	inside(c, &x.PCIBus, text)
	inside(c, &x.Recommendations, text)
	each(c, &x.Tags, text)
	c.dict(&x.BlockedOperations)
	value(c, &x.HAAlwaysRun)
	inside(c, &x.HARestartPriority, text)
	value(c, &x.StartOrder)
	value(c, &x.StartDelay)
	value(c, &x.ShutdownDelay)
	value(c, &x.ShadowMultiplier)
	c.dict(&x.XenstoreData)
	value(c, &x.RequiresReboot)
	value(c, &x.HardwareVersion)
	inside(c, &x.SnapshotOf, (*cloner).id)
	value(c, &x.SnapshotTime)
}
