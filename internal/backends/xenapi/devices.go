package xenapi

import (
	"context"
	"slices"
	"strings"

	"vmgateway/internal/backends"
)

// devices gives the records of what belongs to VMs: read one by one for a single VM, or all at once
// for a list, so that a list of 10,000 VMs costs as many calls as one of ten.
type devices struct {
	*names
	vbds   map[string]*vbdRecord
	vdis   map[string]*vdiRecord
	vifs   map[string]*vifRecord
	guests map[string]*guestRecord
	gone   bool // a disk or interface was wanted that is not there any more
}

// loadDisks reads the disks of all VMs when the first VM of a list needs them.
func (d *devices) loadDisks(ctx context.Context) (err error) {
	if !d.bulk || d.vbds != nil {
		return nil
	}
	if d.vbds, err = readAll(ctx, d.names, "VBD", vbdFields); err != nil {
		return err
	}
	d.vdis, err = readAll(ctx, d.names, "VDI", vdiFields)
	return err
}

// loadNICs is loadDisks for interfaces.
func (d *devices) loadNICs(ctx context.Context) (err error) {
	if !d.bulk || d.vifs != nil {
		return nil
	}
	if d.vifs, err = readAll(ctx, d.names, "VIF", vifFields); err != nil {
		return err
	}
	d.guests, err = readAll(ctx, d.names, "VM_guest_metrics", guestFields)
	return err
}

// get is the record behind a reference: nil for the null reference, and for what has gone. In bulk
// it comes out of all, and a record that could not be read is the damage of the VM that has it.
func get[T any](ctx context.Context, n *names, class, ref string, table fields[T], all map[string]*T) (*T, error) {
	if ref == "" || ref == nullRef {
		return nil, nil
	}
	if n.bulk {
		if err := n.damaged[ref]; err != nil {
			return nil, damage{err}
		}
		return all[ref], nil
	}
	method := class + ".get_record"
	v, err := n.call(ctx, method, ref)
	if err != nil {
		return nil, passOver(err)
	}
	r, err := noted(n, class, table, ref, v)
	if err != nil {
		return nil, n.d.undecodable(method, err)
	}
	return r, nil
}

var diskTypes = map[string]string{"Disk": "DISK", "CD": "CDROM", "Floppy": "FLOPPY"}

// disks are the VM's drives in the order of their positions.
func (d *devices) disks(ctx context.Context, refs []string) ([]backends.Disk, error) {
	if err := d.loadDisks(ctx); err != nil {
		return nil, err
	}
	disks := make([]backends.Disk, 0, len(refs))
	for _, ref := range refs {
		r, err := get(ctx, d.names, "VBD", ref, vbdFields, d.vbds)
		if err != nil {
			return nil, err
		}
		if r == nil {
			d.gone = true
			continue
		}
		disk, err := d.disk(ctx, r)
		if err != nil {
			return nil, err
		}
		disks = append(disks, disk)
	}
	slices.SortStableFunc(disks, func(a, b backends.Disk) int { return byNumber(a.Position, b.Position) })
	return disks, nil
}

func (d *devices) disk(ctx context.Context, r *vbdRecord) (backends.Disk, error) {
	disk := backends.Disk{
		ID: d.d.id(r.uuid), Device: r.device, Position: r.position, Type: diskTypes[r.kind], Mode: r.mode,
		Bootable: r.bootable, Attached: r.attached, Empty: r.empty,
	}
	if disk.Type == "" {
		disk.Type = "UNKNOWN"
	}
	vdi, err := get(ctx, d.names, "VDI", r.vdi, vdiFields, d.vdis)
	if vdi == nil || err != nil {
		return disk, err
	}
	disk.SizeBytes, disk.UsedBytes = vdi.size, vdi.used
	disk.Image = &backends.Ref{ID: d.d.id(vdi.uuid), DisplayName: d.d.clean(vdi.label, "")}
	disk.Persistent = persistent(vdi)
	disk.Storage, err = d.ref(ctx, "SR", vdi.sr)
	return disk, err
}

// persistent is VDI.on_boot, which began with XenServer 5.6 FP1.
func persistent(r *vdiRecord) *bool {
	if r.onBoot == "" {
		return nil
	}
	keeps := r.onBoot == "persist"
	return &keeps
}

// nics are the VM's interfaces in the order of their devices.
func (d *devices) nics(ctx context.Context, refs []string, guestRef string) ([]backends.NIC, error) {
	nics := make([]backends.NIC, 0, len(refs))
	if len(refs) == 0 {
		return nics, nil
	}
	if err := d.loadNICs(ctx); err != nil {
		return nil, err
	}
	guest, err := get(ctx, d.names, "VM_guest_metrics", guestRef, guestFields, d.guests)
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		r, err := get(ctx, d.names, "VIF", ref, vifFields, d.vifs)
		if err != nil {
			return nil, err
		}
		if r == nil {
			d.gone = true
			continue
		}
		nic := backends.NIC{ID: d.d.id(r.uuid), Device: r.device, MAC: r.mac, Attached: r.attached}
		if r.mtu != nil && *r.mtu > 0 {
			nic.MTU = r.mtu
		}
		if guest != nil {
			nic.Addresses = addresses(guest.networks, r.device+"/")
		}
		if nic.Network, err = d.ref(ctx, "network", r.network); err != nil {
			return nil, err
		}
		nics = append(nics, nic)
	}
	slices.SortStableFunc(nics, func(a, b backends.NIC) int { return byNumber(a.Device, b.Device) })
	return nics, nil
}

// addresses are the distinct values in VM_guest_metrics.networks whose key has the prefix, in the
// order of the keys: "0/ip", "0/ipv4/0", "0/ipv6/0".
func addresses(networks map[string]string, prefix string) []string {
	var keys []string
	for key := range networks {
		if strings.HasPrefix(key, prefix) && strings.Contains(key, "/ip") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var all []string
	for _, key := range keys {
		if a := networks[key]; a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

// byNumber orders decimal texts by their value, and anything else by its length and letters.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
