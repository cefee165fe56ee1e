package xenapi

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends/wire"
)

// vmRefs are the members of the class VM that hold references, with the class these are of: one, a
// set, or a map with references for its keys (current_operations) or values (blobs).
var vmRefs = map[string]string{
	"suspend_VDI": "VDI", "resident_on": "host", "scheduled_to_be_resident_on": "host", "affinity": "host",
	"consoles": "console", "VIFs": "VIF", "VBDs": "VBD", "VUSBs": "VUSB", "crash_dumps": "crashdump",
	"VTPMs": "VTPM", "metrics": "VM_metrics", "guest_metrics": "VM_guest_metrics", "snapshot_of": "VM",
	"snapshots": "VM", "blobs": "blob", "parent": "VM", "children": "VM", "protection_policy": "VMPP",
	"snapshot_schedule": "VMSS", "appliance": "VM_appliance", "VGPUs": "VGPU", "attached_PCIs": "PCI",
	"suspend_SR": "SR", "groups": "VM_group", "current_operations": "task",
}

// vmInts are the members that are integers, which XenAPI writes like texts.
var vmInts = map[string]bool{
	"user_version": true, "memory_overhead": true, "memory_target": true, "memory_static_max": true,
	"memory_dynamic_max": true, "memory_dynamic_min": true, "memory_static_min": true, "VCPUs_max": true,
	"VCPUs_at_startup": true, "domid": true, "start_delay": true, "shutdown_delay": true, "order": true,
	"version": true, "hardware_platform_version": true,
}

// native is a whole record of the class VM under XenAPI's names, in JSON's types: integers as int64,
// references as ids, the null reference and what is not a number as null.
func (n *names) native(ctx context.Context, v wire.Value) (map[string]any, error) {
	out := map[string]any{}
	for m, err := range v.Members() {
		if err != nil {
			return nil, damage{err}
		}
		if vmInts[m.Name] {
			i, err := m.Value.Int()
			if err != nil {
				return nil, damage{fmt.Errorf("member %s: %w", m.Name, err)}
			}
			out[n.d.clean(m.Name, "")] = i
			continue
		}
		value, err := n.json(ctx, vmRefs[m.Name], m.Value)
		if err != nil {
			return nil, err
		}
		out[n.d.clean(m.Name, "")] = value
	}
	return out, nil
}

// json is a value in JSON's types. class is that of the references in it; "" for none.
func (n *names) json(ctx context.Context, class string, v wire.Value) (any, error) {
	switch v.Kind() {
	case wire.Array:
		return n.jsonArray(ctx, class, v)
	case wire.Struct:
		return n.jsonObject(ctx, class, v)
	case wire.String:
		s, err := v.Str()
		if err != nil {
			return nil, damage{err}
		}
		return n.jsonText(ctx, class, s)
	}
	scalar, err := v.Any()
	if err != nil {
		return nil, damage{err}
	}
	switch t := scalar.(type) {
	case time.Time:
		return t.UTC().Format(time.RFC3339), nil
	case float64:
		if math.IsNaN(t) || math.IsInf(t, 0) {
			return nil, nil
		}
	}
	return scalar, nil
}

func (n *names) jsonText(ctx context.Context, class, s string) (any, error) {
	if class == "" || !strings.HasPrefix(s, "OpaqueRef:") {
		return n.d.clean(s, ""), nil
	}
	id, err := n.id(ctx, class, s)
	if id == nil || err != nil {
		return nil, err
	}
	return id.String(), nil
}

func (n *names) jsonArray(ctx context.Context, class string, v wire.Value) (any, error) {
	out := []any{}
	for item, err := range v.Items() {
		if err != nil {
			return nil, damage{err}
		}
		value, err := n.json(ctx, class, item)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// jsonObject keeps every entry of a map: a key whose reference nobody knows any more becomes the
// name of its class, with a number behind it where there are more.
func (n *names) jsonObject(ctx context.Context, class string, v wire.Value) (any, error) {
	out := map[string]any{}
	for m, err := range v.Members() {
		if err != nil {
			return nil, damage{err}
		}
		value, err := n.json(ctx, class, m.Value)
		if err != nil {
			return nil, err
		}
		if class != "" && strings.HasPrefix(m.Name, "OpaqueRef:") {
			if _, err := n.id(ctx, class, m.Name); err != nil { // clean finds it in memory
				return nil, err
			}
		}
		key := n.d.clean(m.Name, class)
		for i, base := 2, key; ; i++ {
			if _, taken := out[key]; !taken {
				break
			}
			key = base + "-" + strconv.Itoa(i)
		}
		out[key] = value
	}
	return out, nil
}
