package xensim

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// Disks, interfaces, networks, consoles and vTPMs.

func (s *Server) addDisk(name, sr string, size int64, extra record) *object {
	uuid := s.newUUID()
	vdi := s.db.add("VDI", s.newRef(), uuid, record{
		{"name_label", name}, {"SR", sr}, {"virtual_size", size}, {"physical_utilisation", size}, {"type", "user"}, {"location", uuid},
		{"managed", true}, {"on_boot", "persist"},
	})
	for _, m := range extra {
		s.db.set(vdi, m.Name, m.Value)
	}
	return vdi
}

func (s *Server) addVBD(vm *object, vdi, userdevice string, extra record) *object {
	vbd := s.db.add("VBD", s.newRef(), s.newUUID(), record{{"VM", vm.ref}, {"VDI", vdi}, {"userdevice", userdevice}, {"unpluggable", true}})
	for _, m := range extra {
		s.db.set(vbd, m.Name, m.Value)
	}
	return vbd
}

func (s *Server) addVIF(vm *object, network, device, mac string, extra record) *object {
	vif := s.db.add("VIF", s.newRef(), s.newUUID(), record{
		{"VM", vm.ref}, {"network", network}, {"device", device}, {"MAC", mac}, {"MTU", int64(1500)}, {"locking_mode", "network_default"},
	})
	for _, m := range extra {
		s.db.set(vif, m.Name, m.Value)
	}
	return vif
}

// newMAC makes a locally administered address.
func (s *Server) newMAC() string {
	n := s.random.Uint64()
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", byte(n)&0xfc|2, byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40))
}

// deviceName is what the guest calls a block device.
func deviceName(userdevice string) string {
	n, err := strconv.Atoi(userdevice)
	if err != nil || n < 0 {
		return userdevice
	}
	if n < 26 {
		return "xvd" + string(rune('a'+n))
	}
	return "xvd" + string(rune('a'+n/26-1)) + string(rune('a'+n%26))
}

// deviceOperations are the allowed_operations of a VBD or VIF.
func (s *Server) deviceOperations(o *object) []string {
	vm := s.db.find("VM", o.str("VM"))
	attached := o.flag("currently_attached")
	state := ""
	if vm != nil {
		state = vm.powerState()
	}
	hotplug := state == "Running" && s.hasAgent(vm)
	out := []string{"attach"}
	if o.isClass("VIF") {
		switch {
		case hotplug && attached:
			out = append(out, "unplug")
		case hotplug:
			out = append(out, "plug")
		}
		return out
	}
	if attached {
		out = append(out, "unpause")
	}
	switch {
	case o.str("type") != "CD" || state == "Suspended":
	case o.flag("empty"):
		out = append(out, "insert")
	default:
		out = append(out, "eject")
	}
	switch {
	case !hotplug || o.str("type") == "CD":
	case attached:
		out = append(out, "unplug", "unplug_force")
	default:
		out = append(out, "plug")
	}
	if attached {
		out = append(out, "pause")
	}
	return out
}

func (s *Server) diskOperations(o *object) []string {
	sr := s.db.find("SR", o.str("SR"))
	if sr != nil && sr.str("type") == "iso" {
		return []string{"update", "forget", "destroy", "copy"}
	}
	for _, ref := range o.strs("VBDs") {
		if vbd := s.db.find("VBD", ref); vbd.flag("currently_attached") {
			return []string{"snapshot", "resize_online", "clone"}
		}
	}
	return []string{"snapshot", "set_on_boot", "resize", "update", "generate_config", "forget", "destroy", "copy", "clone"}
}

func vdiCreate(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	s := c.s
	sr := s.db.find("SR", values.text("SR"))
	if sr == nil {
		return nil, fail("HANDLE_INVALID", "SR", values.text("SR"))
	}
	size, _ := values.get("virtual_size")
	bytes, _ := size.(int64)
	if bytes < 0 || bytes > sr.num("physical_size")-sr.num("physical_utilisation") {
		return nil, fail("SR_BACKEND_FAILURE_44", "", "There is insufficient space", "")
	}
	return s.addDisk(values.text("name_label"), sr.ref, bytes, values).ref, nil
}

func vdiDestroy(c *call) (any, *Failure) {
	vdi, f := c.self()
	if f != nil {
		return nil, f
	}
	s := c.s
	for _, ref := range vdi.strs("VBDs") {
		if s.db.find("VBD", ref).flag("currently_attached") {
			return nil, fail("VDI_IN_USE", vdi.ref, "destroy")
		}
	}
	for _, ref := range vdi.strs("VBDs") {
		vbd := s.db.find("VBD", ref)
		if vbd.str("type") == "CD" {
			s.db.set(vbd, "VDI", nullRef)
			s.db.set(vbd, "empty", true)
		} else {
			s.db.remove(vbd)
		}
	}
	s.db.remove(vdi)
	return nil, nil
}

// vdiTwin serves clone, copy and snapshot of a disk.
func vdiTwin(c *call) (any, *Failure) {
	vdi, f := c.object("VDI", 0)
	if f != nil {
		return nil, f
	}
	s := c.s
	sr := vdi.str("SR")
	extra := record{{"name_description", vdi.str("name_description")}, {"type", vdi.str("type")}, {"sharable", vdi.flag("sharable")}}
	switch c.msg.name {
	case "snapshot":
		extra = append(extra, member{"is_a_snapshot", true}, member{"snapshot_of", vdi.ref}, member{"snapshot_time", s.clock.Now()})
	case "copy":
		if target := c.str(1); target != nullRef && target != "" {
			if s.db.find("SR", target) == nil {
				return nil, fail("HANDLE_INVALID", "SR", target)
			}
			sr = target
		}
		if f := c.pass(s.durations.Copy); f != nil {
			return nil, f
		}
	}
	return s.addDisk(vdi.str("name_label"), sr, vdi.num("virtual_size"), extra).ref, nil
}

func vdiResize(c *call) (any, *Failure) {
	vdi, f := c.object("VDI", 0)
	if f != nil {
		return nil, f
	}
	if c.num(1) < vdi.num("virtual_size") {
		return nil, fail("SR_BACKEND_FAILURE_79", "", "VDI Invalid size", "shrinking not allowed")
	}
	c.s.db.set(vdi, "virtual_size", c.num(1))
	return nil, nil
}

func vbdCreate(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	s := c.s
	vm := s.db.find("VM", values.text("VM"))
	if vm == nil {
		return nil, fail("HANDLE_INVALID", "VM", values.text("VM"))
	}
	empty, _ := values.get("empty")
	if s.db.find("VDI", values.text("VDI")) == nil && empty != true {
		return nil, fail("HANDLE_INVALID", "VDI", values.text("VDI"))
	}
	device := values.text("userdevice")
	free := s.freeNumbers(vm, "VBDs", "VBD", "userdevice", 255)
	if device == "autodetect" {
		device = free[0]
	} else if s.deviceTaken(vm, "VBDs", "VBD", "userdevice", device) {
		return nil, fail("DEVICE_ALREADY_EXISTS", device)
	}
	metrics := s.db.add("VBD_metrics", s.newRef(), s.newUUID(), nil)
	values = values.with("userdevice", device).with("currently_attached", false).with("device", "").with("metrics", metrics.ref)
	return s.addVBD(vm, values.text("VDI"), device, values).ref, nil
}

func (s *Server) deviceTaken(vm *object, list, class, field, number string) bool {
	return slices.ContainsFunc(vm.strs(list), func(ref string) bool { return s.db.find(class, ref).str(field) == number })
}

var macPattern = regexp.MustCompile(`^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$`)

func vifCreate(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	s := c.s
	vm := s.db.find("VM", values.text("VM"))
	if vm == nil {
		return nil, fail("HANDLE_INVALID", "VM", values.text("VM"))
	}
	if s.db.find("network", values.text("network")) == nil {
		return nil, fail("HANDLE_INVALID", "network", values.text("network"))
	}
	device, mac := values.text("device"), values.text("MAC")
	if s.deviceTaken(vm, "VIFs", "VIF", "device", device) {
		return nil, fail("DEVICE_ALREADY_EXISTS", device)
	}
	if mac != "" && !macPattern.MatchString(mac) {
		return nil, fail("MAC_INVALID", mac)
	}
	values = values.with("MAC_autogenerated", mac == "").with("currently_attached", false)
	if mac == "" {
		mac = s.newMAC()
	}
	metrics := s.db.add("VIF_metrics", s.newRef(), s.newUUID(), nil)
	values = values.with("metrics", metrics.ref).with("MAC", mac)
	return s.addVIF(vm, values.text("network"), device, mac, values).ref, nil
}

// deviceDestroy removes a VBD or VIF that is not attached.
func deviceDestroy(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	if o.flag("currently_attached") {
		return nil, fail("OPERATION_NOT_ALLOWED", fmt.Sprintf("%s '%s' still attached to '%s'", o.class.name, o.uuid(), c.s.labelOf(o.str("VM"))))
	}
	c.s.db.remove(o)
	return nil, nil
}

func (s *Server) labelOf(vm string) string {
	if o := s.db.find("VM", vm); o != nil {
		return o.uuid()
	}
	return ""
}

// plug serves plug and unplug of VBDs and VIFs.
func plug(attach bool) handler {
	return func(c *call) (any, *Failure) {
		o, f := c.self()
		if f != nil {
			return nil, f
		}
		vm := c.s.db.find("VM", o.str("VM"))
		if vm == nil {
			return nil, fail("HANDLE_INVALID", "VM", o.str("VM"))
		}
		if f := needState(vm, []string{"Running"}); f != nil {
			return nil, f
		}
		if o.flag("currently_attached") == attach {
			if attach {
				return nil, fail("DEVICE_ALREADY_ATTACHED", o.ref)
			}
			return nil, fail("DEVICE_ALREADY_DETACHED", o.ref)
		}
		c.s.db.set(o, "currently_attached", attach)
		if attach && o.isClass("VBD") {
			c.s.db.set(o, "device", deviceName(o.str("userdevice")))
		}
		return nil, nil
	}
}

func vbdInsert(c *call) (any, *Failure) {
	vbd, f := c.object("VBD", 0)
	if f != nil {
		return nil, f
	}
	vdi, f := c.object("VDI", 1)
	if f != nil {
		return nil, f
	}
	switch {
	case vbd.str("type") != "CD":
		return nil, fail("VBD_NOT_REMOVABLE_MEDIA", vbd.ref)
	case !vbd.flag("empty"):
		return nil, fail("VBD_NOT_EMPTY", vbd.ref)
	}
	c.s.db.set(vbd, "VDI", vdi.ref)
	c.s.db.set(vbd, "empty", false)
	return nil, nil
}

func vbdEject(c *call) (any, *Failure) {
	vbd, f := c.object("VBD", 0)
	if f != nil {
		return nil, f
	}
	switch {
	case vbd.str("type") != "CD":
		return nil, fail("VBD_NOT_REMOVABLE_MEDIA", vbd.ref)
	case vbd.flag("empty"):
		return nil, fail("VBD_IS_EMPTY", vbd.ref)
	}
	c.s.db.set(vbd, "VDI", nullRef)
	c.s.db.set(vbd, "empty", true)
	return nil, nil
}

func vifMove(c *call) (any, *Failure) {
	vif, f := c.self()
	if f != nil {
		return nil, f
	}
	network, f := c.object("network", 1)
	if f != nil {
		return nil, f
	}
	c.s.db.set(vif, "network", network.ref)
	return nil, nil
}

// create serves the constructors that only store their struct.
func create(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	return c.s.db.add(c.msg.class.name, c.s.newRef(), c.s.newUUID(), values).ref, nil
}

func networkCreate(c *call) (any, *Failure) {
	values, f := c.construct(c.dict(0))
	if f != nil {
		return nil, f
	}
	if values.text("bridge") == "" {
		c.s.bridges++
		values = values.with("bridge", fmt.Sprintf("xapi%d", c.s.bridges))
	}
	return c.s.db.add("network", c.s.newRef(), c.s.newUUID(), values.with("managed", true).with("default_locking_mode", "unlocked")).ref, nil
}

func networkDestroy(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	if vifs := o.strs("VIFs"); len(vifs) > 0 {
		return nil, fail("NETWORK_CONTAINS_VIF", vifs...)
	}
	if pifs := o.strs("PIFs"); len(pifs) > 0 {
		return nil, fail("NETWORK_CONTAINS_PIF", pifs...)
	}
	c.s.db.remove(o)
	return nil, nil
}

func destroy(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	c.s.db.remove(o)
	return nil, nil
}

// setter writes one field of the object with the last argument; for explicit setters without further checks.
func setter(name string) handler {
	return func(c *call) (any, *Failure) {
		o, f := c.self()
		if f != nil {
			return nil, f
		}
		c.s.db.set(o, name, c.args[len(c.args)-1])
		return nil, nil
	}
}

func vtpmCreate(c *call) (any, *Failure) {
	vm, f := c.object("VM", 0)
	if f != nil {
		return nil, f
	}
	if len(vm.strs("VTPMs")) > 0 {
		return nil, fail("VTPM_MAX_AMOUNT_REACHED", "1")
	}
	return c.operate(vm, "create_vtpm", 0, func() (any, *Failure) {
		return c.s.db.add("VTPM", c.s.newRef(), c.s.newUUID(), record{
			{"VM", vm.ref}, {"backend", nullRef}, {"persistence_backend", "xapi"}, {"is_unique", c.flag(1)},
		}).ref, nil
	})
}

func vtpmDestroy(c *call) (any, *Failure) {
	o, f := c.self()
	if f != nil {
		return nil, f
	}
	if vm := c.s.db.find("VM", o.str("VM")); vm != nil {
		if f := needState(vm, []string{"Halted"}); f != nil {
			return nil, f
		}
	}
	c.s.db.remove(o)
	return nil, nil
}
