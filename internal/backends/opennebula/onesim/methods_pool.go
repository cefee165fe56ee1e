package onesim

import (
	"slices"
	"strconv"
	"strings"
)

func vmPoolMethods() []method {
	return []method{
		{name: "one.vmpool.info", params: "i i i i s?", help: "Returns the virtual machine instances pool", do: vmPoolInfo(false)},
		{name: "one.vmpool.infoextended", params: "i i i i s?", help: "Returns the virtual machine instances pool", span: span{since: "5.8.1"}, do: vmPoolInfo(true)},
		{name: "one.vmpool.infoset", params: "s b", help: "Returns the virtual machine instances pool", span: span{since: "5.12.0.4"}, do: vmPoolSet},
		{name: "one.vmpool.monitoring", params: "i i?-1", help: "Returns the virtual machine monitoring records", do: vmPoolMonitoring},
		{name: "one.vmpool.accounting", params: "i i i", help: "Returns the virtual machine history records", do: vmPoolAccounting},
		{name: "one.vmpool.showback", params: "i i i i i", help: "Returns the virtual machine showback records", span: span{since: "4.12"}, do: vmPoolShowback},
		{name: "one.vmpool.calculateshowback", params: "i i i i", help: "Processes the history records, and stores the monthly cost for each VM", span: span{since: "4.12"}, do: vmPoolCalculate},
	}
}

// filter is which objects a pool call asks for, by owner: flag -4 the primary group, -3 own, -2 all visible, -1 own and
// groups, 0 and more that user.
func (c *call) filter(flag int) (func(*object) bool, *refusal) {
	lowest := -4
	if !c.release.since("5.2") {
		lowest = -3
	}
	if flag < lowest {
		return nil, refuse(codeAPI, "Incorrect filter_flag")
	}
	return func(o *object) bool {
		switch flag {
		case -4:
			return o.gid == c.gid && c.may(use, o)
		case -3:
			return o.uid == c.user.id
		case -2:
			return c.may(use, o)
		case -1:
			return o.uid == c.user.id || c.user.in(o.gid) && c.may(use, o)
		}
		return o.uid == flag && c.may(use, o)
	}, nil
}

// window cuts the range out of a filtered list: ids from start to end, or, when end is below -1, -end objects from the
// offset start on. A negative start takes no notice of end's id. Source: PoolSQL::oid_filter, and recordings.
func window[T any](list []T, id func(T) int, start, end int) []T {
	if end < -1 {
		from := min(max(start, 0), len(list))
		return list[from:min(from-end, len(list))]
	}
	if start < 0 {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(x T) bool { return id(x) < start || end >= 0 && id(x) > end })
}

// selectVMs applies filter, state and range, in the pool's order.
func (c *call) selectVMs(flag, start, end, state int) ([]*vm, *refusal) {
	mine, r := c.filter(flag)
	if r != nil {
		return nil, r
	}
	last := CloningFailure
	if !c.release.since("5.0") {
		last = Undeployed
	}
	if state < -2 || state > int(last) {
		return nil, refuse(codeAPI, "Incorrect filter_flag, state")
	}
	list := make([]*vm, 0, len(c.vms))
	for _, v := range c.vms {
		if (state == -2 || state == -1 && v.state != Done || int(v.state) == state) && mine(&v.object) {
			list = append(list, v)
		}
	}
	if !c.release.oldest {
		slices.Reverse(list)
	}
	return window(list, func(v *vm) int { return v.id }, start, end), nil
}

func vmPoolInfo(extended bool) func(*call) (any, *refusal) {
	return func(c *call) (any, *refusal) {
		if c.s(4) != "" && c.release.since("5.8") {
			return nil, refuse(codeInternal, "JSON query search is not supported by the SQL backend")
		}
		list, r := c.selectVMs(c.i(0), c.i(1), c.i(2), c.i(3))
		if r != nil {
			return nil, r
		}
		return c.pool(list, extended || !c.release.since("5.8")), nil
	}
}

func (c *call) pool(list []*vm, whole bool) *document {
	f := shortForm
	if whole {
		f = c.whole()
	}
	d := &document{open: "<VM_POOL>", close: "</VM_POOL>", entries: make([]entry, 0, len(list))}
	d.raw = len(d.open) + len(d.close)
	for _, v := range list {
		d.add(v.id, c.row(v, f))
	}
	return d
}

// vmPoolSet skips silently what is no id, does not exist, or may not be seen.
func vmPoolSet(c *call) (any, *refusal) {
	var list []*vm
	for _, f := range strings.Split(c.s(0), ",") {
		id, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil {
			continue
		}
		if v, r := c.look(id); r == nil && c.may(use, &v.object) {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *vm) int { return b.id - a.id })
	return c.pool(slices.Compact(list), c.b(1)), nil
}

func vmPoolMonitoring(c *call) (any, *refusal) {
	mine, r := c.filter(c.i(0))
	if r != nil {
		return nil, r
	}
	b := []byte("<MONITORING_DATA>")
	for _, v := range c.vms {
		if v.state != Done && mine(&v.object) {
			c.poll(v)
			b = c.appendSamples(b, v, c.i(1))
		}
	}
	return append(b, "</MONITORING_DATA>"...), nil
}

// vmPoolAccounting returns the records that touch the time from start to end; -1 is open.
func vmPoolAccounting(c *call) (any, *refusal) {
	mine, r := c.filter(c.i(0))
	if r != nil {
		return nil, r
	}
	start, end := int64(c.i(1)), int64(c.i(2))
	b := []byte("<HISTORY_RECORDS>")
	for _, v := range c.vms {
		if !mine(&v.object) {
			continue
		}
		v = v.grown(c.Server)
		for i := range v.hist {
			h := &v.hist[i]
			if (start < 0 || h.etime == 0 || h.etime >= start) && (end < 0 || h.stime <= end) {
				b = append(c.appendAccounted(b, v, h), "</HISTORY>"...)
			}
		}
	}
	return append(b, "</HISTORY_RECORDS>"...), nil
}

// appendAccounted puts the VM, without its history, into the record.
func (c *call) appendAccounted(b []byte, v *vm, h *history) []byte {
	b = c.appendRecord(b, v, h)
	b = appendStates(number(c.owned(b, &v.object), "LAST_POLL", v.lastPoll), v, true)
	empty := "<MONITORING/>"
	if c.release.old {
		empty = "<MONITORING></MONITORING>"
	}
	b = append(b, empty...)
	if c.release.since("6.2") {
		b = append(b, "<SCHED_ACTIONS/>"...)
	}
	b = v.tmpl.document(b)
	b = append(v.user.append(append(b, "<USER_TEMPLATE>"...)), "</USER_TEMPLATE><HISTORY_RECORDS/>"...)
	for _, d := range v.snaps {
		b = d.append(b, c.release.old)
	}
	if c.release.since("6.6") {
		b = append(b, "<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS/></BACKUPS>"...)
	}
	return append(b, "</VM>"...)
}

func vmPoolShowback(c *call) (any, *refusal) {
	if _, r := c.filter(c.i(0)); r != nil {
		return nil, r
	}
	return "<SHOWBACK_RECORDS></SHOWBACK_RECORDS>", nil
}

func vmPoolCalculate(c *call) (any, *refusal) {
	if !c.admin() {
		return nil, refuse(codeAuthorization, "User [%d] : Showback is only available to oneadmin", c.user.id)
	}
	return "", nil
}
