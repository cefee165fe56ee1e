package xenapi

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends/wire/scan"
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

// record is a whole record of the class VM under XenAPI's names, in JSON's types: integers as int64,
// references as ids, the null reference and what is not a number as null.
func (n *names) record(ctx context.Context, v scan.Value) (map[string]any, error) {
	out := map[string]any{}
	p := v.Parts(scan.Struct)
	for p.Next() {
		name := string(p.Name)
		value, err := n.nativeMember(ctx, name, p.Value)
		if err != nil {
			return nil, blame(n.d.clean(name, ""), err)
		}
		out[n.d.clean(name, "")] = value
	}
	if p.Err() != nil {
		return nil, damage{p.Err()}
	}
	return out, nil
}

func (n *names) nativeMember(ctx context.Context, name string, v scan.Value) (any, error) {
	if vmInts[name] {
		return v.Int()
	}
	return n.json(ctx, vmRefs[name], v)
}

// json is a value in JSON's types. class is that of the references in it; "" for none.
func (n *names) json(ctx context.Context, class string, v scan.Value) (any, error) {
	switch v.Kind() {
	case scan.Array:
		return n.jsonArray(ctx, class, v)
	case scan.Struct:
		return n.jsonObject(ctx, class, v)
	case scan.Int:
		return v.Int()
	case scan.Bool:
		return v.Bool()
	case scan.Double:
		return jsonNumber(v)
	case scan.DateTime:
		t, err := v.Time()
		return t.Format(time.RFC3339), err
	case scan.Nil:
		return nil, nil
	}
	b, err := v.Text()
	if err != nil {
		return nil, err
	}
	return n.jsonText(ctx, class, string(b))
}

func jsonNumber(v scan.Value) (any, error) {
	f, err := v.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, err
	}
	return f, err
}

func (n *names) jsonText(ctx context.Context, class, s string) (any, error) {
	if class == "" || !strings.HasPrefix(s, refPrefix) {
		return n.d.clean(s, ""), nil
	}
	id, err := n.id(ctx, class, s)
	if id == nil || err != nil {
		return nil, err
	}
	return id.String(), nil
}

func (n *names) jsonArray(ctx context.Context, class string, v scan.Value) (any, error) {
	out := []any{}
	p := v.Parts(scan.Array)
	for p.Next() {
		value, err := n.json(ctx, class, p.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, p.Err()
}

func (n *names) jsonKey(ctx context.Context, class, name string) (string, error) {
	if class != "" && strings.HasPrefix(name, refPrefix) {
		id, err := n.id(ctx, class, name)
		if err != nil {
			return "", err
		}
		if id != nil {
			return id.String(), nil
		}
	}
	return n.d.clean(name, class), nil
}

// jsonObject keeps every entry of a map: a key whose reference nobody knows any more becomes the
// name of its class, with a number behind it where there are more.
func (n *names) jsonObject(ctx context.Context, class string, v scan.Value) (any, error) {
	out := map[string]any{}
	p := v.Parts(scan.Struct)
	for p.Next() {
		name := string(p.Name)
		value, err := n.json(ctx, class, p.Value)
		if err != nil {
			return nil, err
		}
		key, err := n.jsonKey(ctx, class, name)
		if err != nil {
			return nil, err
		}
		for i, base := 2, key; ; i++ {
			if _, taken := out[key]; !taken {
				break
			}
			key = base + "-" + strconv.Itoa(i)
		}
		out[key] = value
	}
	return out, p.Err()
}
