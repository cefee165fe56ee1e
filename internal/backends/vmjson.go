package backends

// AppendJSON appends vm as JSON: byte for byte what an encoding/json Encoder writes that does not
// escape HTML (no reply of the gateway does), without reflection and, but for Native, without an
// allocation beyond the growth of b. What encoding/json refuses, a number that is not finite or a
// time after the year 9999, is absent.
//
// It is what the time of a long list would go into otherwise. A test holds it against encoding/json, so
// that a member that is added to VM and forgotten here is told.
func (vm *VM) AppendJSON(b []byte) []byte {
	b = vm.ID.appendJSON(append(b, `{"id":`...))
	b = appendWord(b, `,"backend":`, vm.Backend)
	b = appendWord(b, `,"kind":`, vm.Kind)
	b = appendWord(b, `,"uid":`, vm.UID)
	b = appendText(b, `,"displayName":`, vm.DisplayName)
	b = appendText(b, `,"description":`, vm.Description)
	b = vm.appendState(b)
	b = appendFlag(b, `,"template":`, vm.Template)
	b = appendFlag(b, `,"snapshot":`, vm.Snapshot)
	b = appendFlag(b, `,"controlDomain":`, vm.ControlDomain)
	b = appendRef(b, `,"host":`, vm.Host)
	b = vm.Owner.appendJSON(b, `,"owner":`)
	b = vm.CPU.appendJSON(b, `,"cpu":`)
	b = vm.Memory.appendJSON(b, `,"memory":`)
	b = vm.Boot.appendJSON(b, `,"boot":`)
	b = appendMap(b, `,"platform":`, vm.Platform)
	b = vm.Placement.appendJSON(b, `,"placement":`)
	b = vm.LifecyclePolicy.appendJSON(b, `,"lifecyclePolicy":`)
	b = vm.Runtime.appendJSON(b, `,"runtime":`)
	b = appendMap(b, `,"annotations":`, vm.Annotations)
	b = appendList(b, `,"disks":`, vm.Disks, (*Disk).appendJSON)
	b = appendList(b, `,"nics":`, vm.NICs, (*NIC).appendJSON)
	b = appendTime(b, `,"createTime":`, vm.CreateTime)
	b = appendWord(b, `,"etag":`, vm.ETag)
	b = vm.OpenNebula.appendJSON(b, `,"opennebula":`)
	b = vm.XenAPI.appendJSON(b, `,"xenapi":`)
	b = appendNative(b, `,"native":`, vm.Native)
	return append(b, '}')
}

func (vm *VM) appendState(b []byte) []byte {
	b = appendWord(b, `,"state":`, vm.State)
	b = appendWord(b, `,"baseState":`, vm.BaseState)
	b = vm.RawState.appendJSON(b, `,"rawState":`)
	b = appendList(b, `,"allowedActions":`, vm.AllowedActions, (*AllowedAction).appendJSON)
	return appendList(b, `,"currentOperations":`, vm.CurrentOperations, (*CurrentOperation).appendJSON)
}

func (s *RawState) appendJSON(b []byte, name string) []byte {
	if s == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendWord(b, `,"powerState":`, s.PowerState)
	b = appendWord(b, `,"state":`, s.State)
	b = appendInt(b, `,"stateCode":`, s.StateCode)
	b = appendWord(b, `,"stateShort":`, s.StateShort)
	b = appendWord(b, `,"lcmState":`, s.LCMState)
	b = appendInt(b, `,"lcmStateCode":`, s.LCMStateCode)
	b = appendWord(b, `,"lcmStateShort":`, s.LCMStateShort)
	return closeObject(b, start)
}

func (a *AllowedAction) appendJSON(b []byte) []byte {
	start := len(b)
	b = appendWord(b, `,"action":`, a.Action)
	b = appendQuoted(append(b, `,"raw":`...), a.Raw)
	return closeObject(b, start)
}

func (o *CurrentOperation) appendJSON(b []byte) []byte {
	start := len(b)
	b = appendID(b, `,"task":`, o.Task)
	b = appendWord(b, `,"action":`, o.Action)
	b = appendQuoted(append(b, `,"raw":`...), o.Raw)
	return closeObject(b, start)
}

func (o *Owner) appendJSON(b []byte, name string) []byte {
	if o == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendRef(b, `,"user":`, o.User)
	b = appendRef(b, `,"group":`, o.Group)
	return closeObject(b, start)
}

func (c *CPU) appendJSON(b []byte, name string) []byte {
	if c == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendInt(b, `,"vcpus":`, c.VCPUs)
	b = appendInt(b, `,"maxVcpus":`, c.MaxVCPUs)
	b = appendFloat(b, `,"share":`, c.Share)
	b = appendMap(b, `,"params":`, c.Params)
	return closeObject(b, start)
}

func (m *Memory) appendJSON(b []byte, name string) []byte {
	if m == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendInt(b, `,"staticMaxBytes":`, m.StaticMaxBytes)
	b = appendInt(b, `,"dynamicMaxBytes":`, m.DynamicMaxBytes)
	b = appendInt(b, `,"dynamicMinBytes":`, m.DynamicMinBytes)
	b = appendInt(b, `,"staticMinBytes":`, m.StaticMinBytes)
	b = appendInt(b, `,"targetBytes":`, m.TargetBytes)
	b = appendInt(b, `,"overheadBytes":`, m.OverheadBytes)
	return closeObject(b, start)
}

func (o *Boot) appendJSON(b []byte, name string) []byte {
	if o == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendWord(b, `,"domainType":`, o.DomainType)
	b = o.PV.appendJSON(b, `,"pv":`)
	b = o.HVM.appendJSON(b, `,"hvm":`)
	return closeObject(b, start)
}

func (p *BootPV) appendJSON(b []byte, name string) []byte {
	if p == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendText(b, `,"bootloader":`, p.Bootloader)
	b = appendText(b, `,"kernel":`, p.Kernel)
	b = appendText(b, `,"ramdisk":`, p.Ramdisk)
	b = appendText(b, `,"args":`, p.Args)
	b = appendText(b, `,"bootloaderArgs":`, p.BootloaderArgs)
	b = appendText(b, `,"legacyArgs":`, p.LegacyArgs)
	return closeObject(b, start)
}

func (h *BootHVM) appendJSON(b []byte, name string) []byte {
	if h == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendText(b, `,"policy":`, h.Policy)
	b = appendMap(b, `,"params":`, h.Params)
	return closeObject(b, start)
}

func (p *Placement) appendJSON(b []byte, name string) []byte {
	if p == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendRef(b, `,"preferredHost":`, p.PreferredHost)
	b = appendText(b, `,"requirements":`, p.Requirements)
	b = appendText(b, `,"rank":`, p.Rank)
	return closeObject(b, start)
}

func (p *LifecyclePolicy) appendJSON(b []byte, name string) []byte {
	if p == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendWord(b, `,"onShutdown":`, p.OnShutdown)
	b = appendWord(b, `,"onReboot":`, p.OnReboot)
	b = appendWord(b, `,"onCrash":`, p.OnCrash)
	return closeObject(b, start)
}

func (r *Runtime) appendJSON(b []byte, name string) []byte {
	if r == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendWord(b, `,"domainId":`, r.DomainID)
	b = appendWord(b, `,"architecture":`, r.Architecture)
	b = appendMap(b, `,"lastBootCpuFlags":`, r.LastBootCPUFlags)
	return closeObject(b, start)
}

func (d *Disk) appendJSON(b []byte) []byte {
	b = d.ID.appendJSON(append(b, `{"id":`...))
	b = appendWord(b, `,"device":`, d.Device)
	b = appendWord(b, `,"position":`, d.Position)
	b = appendWord(b, `,"type":`, d.Type)
	b = appendWord(b, `,"mode":`, d.Mode)
	b = appendFlag(b, `,"bootable":`, d.Bootable)
	b = appendFlag(b, `,"attached":`, d.Attached)
	b = appendFlag(b, `,"empty":`, d.Empty)
	b = appendInt(b, `,"sizeBytes":`, d.SizeBytes)
	b = appendInt(b, `,"usedBytes":`, d.UsedBytes)
	b = appendRef(b, `,"image":`, d.Image)
	b = appendRef(b, `,"storage":`, d.Storage)
	b = appendFlag(b, `,"persistent":`, d.Persistent)
	b = appendNative(b, `,"native":`, d.Native)
	return append(b, '}')
}

func (n *NIC) appendJSON(b []byte) []byte {
	b = n.ID.appendJSON(append(b, `{"id":`...))
	b = appendWord(b, `,"device":`, n.Device)
	b = appendWord(b, `,"mac":`, n.MAC)
	b = appendInt(b, `,"mtu":`, n.MTU)
	b = appendRef(b, `,"network":`, n.Network)
	b = appendTexts(b, `,"addresses":`, n.Addresses)
	b = appendFlag(b, `,"attached":`, n.Attached)
	b = appendFlag(b, `,"alias":`, n.Alias)
	b = appendID(b, `,"parent":`, n.Parent)
	b = appendNative(b, `,"native":`, n.Native)
	return append(b, '}')
}

func (o *OpenNebulaVM) appendJSON(b []byte, name string) []byte {
	if o == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = o.Permissions.appendJSON(b, `,"permissions":`)
	b = appendText(b, `,"template":`, o.Template)
	b = appendID(b, `,"templateId":`, o.TemplateID)
	b = appendFlag(b, `,"rescheduled":`, o.Rescheduled)
	b = appendWord(b, `,"lock":`, o.Lock)
	b = appendTime(b, `,"lastPollTime":`, o.LastPoll)
	b = appendTime(b, `,"endTime":`, o.EndTime)
	b = appendWord(b, `,"error":`, o.Error)
	b = appendList(b, `,"history":`, o.History, (*HistoryRecord).appendJSON)
	return closeObject(b, start)
}

func (p *Permissions) appendJSON(b []byte, name string) []byte {
	if p == nil {
		return b
	}
	b = p.Owner.appendJSON(append(append(b, name...), `{"owner":`...))
	b = p.Group.appendJSON(append(b, `,"group":`...))
	b = p.Other.appendJSON(append(b, `,"other":`...))
	return append(b, '}')
}

func (p *PermissionBits) appendJSON(b []byte) []byte {
	b = appendFlag(b, `{"use":`, &p.Use)
	b = appendFlag(b, `,"manage":`, &p.Manage)
	b = appendFlag(b, `,"admin":`, &p.Admin)
	return append(b, '}')
}

func (r *HistoryRecord) appendJSON(b []byte) []byte {
	b = appendInt(b, `{"sequence":`, &r.Sequence)
	b = appendRef(b, `,"host":`, &r.Host)
	b = appendRef(b, `,"storage":`, r.Storage)
	b = appendWord(b, `,"action":`, r.Action)
	b = appendInt(b, `,"actionCode":`, r.ActionCode)
	b = appendTime(b, `,"startTime":`, r.StartTime)
	b = appendTime(b, `,"endTime":`, r.EndTime)
	return append(b, '}')
}

func (x *XenAPIVM) appendJSON(b []byte, name string) []byte {
	if x == nil {
		return b
	}
	b = append(b, name...)
	start := len(b)
	b = appendInt(b, `,"userVersion":`, x.UserVersion)
	b = appendID(b, `,"suspendDisk":`, x.SuspendDisk)
	b = appendText(b, `,"pciBus":`, x.PCIBus)
	b = appendText(b, `,"recommendations":`, x.Recommendations)
	b = appendTexts(b, `,"tags":`, x.Tags)
	b = appendMap(b, `,"blockedOperations":`, x.BlockedOperations)
	b = appendFlag(b, `,"haAlwaysRun":`, x.HAAlwaysRun)
	b = appendText(b, `,"haRestartPriority":`, x.HARestartPriority)
	b = appendInt(b, `,"startOrder":`, x.StartOrder)
	b = appendInt(b, `,"startDelaySeconds":`, x.StartDelay)
	b = appendInt(b, `,"shutdownDelaySeconds":`, x.ShutdownDelay)
	b = appendFloat(b, `,"shadowMultiplier":`, x.ShadowMultiplier)
	b = appendMap(b, `,"xenstoreData":`, x.XenstoreData)
	b = appendFlag(b, `,"requiresReboot":`, x.RequiresReboot)
	b = appendInt(b, `,"hardwarePlatformVersion":`, x.HardwareVersion)
	b = appendID(b, `,"snapshotOf":`, x.SnapshotOf)
	b = appendTime(b, `,"snapshotTime":`, x.SnapshotTime)
	return closeObject(b, start)
}
