package onesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func systemMethods() []method {
	return []method{
		{name: "one.system.version", help: "Returns the OpenNebula core version", span: span{since: "3.8"}, do: func(c *call) (any, *refusal) {
			return c.release.name, nil
		}},
		{name: "one.system.config", help: "Returns the OpenNebula core configuration", span: span{since: "4.0"}, do: func(c *call) (any, *refusal) {
			return systemConfig, nil
		}},
	}
}

// objectMethods are info and pool of everything but VMs and users, and the few calls that change such things.
func objectMethods() []method {
	rows := []method{
		{name: "one.acl.info", help: "Returns the ACL rule set", do: aclInfo},
		{name: "one.host.monitoring", params: "i", help: "Returns the host monitoring records", do: hostMonitoring},
		{name: "one.hostpool.monitoring", params: "i?-1", help: "Returns the host monitoring records", do: hostPoolMonitoring},
		{name: "one.host.status", params: "i i", help: "Sets the status of the host", span: span{since: "5.0"}, do: hostStatus},
		{name: "one.host.enable", params: "i b", help: "Enables or disables a host", span: span{until: "4.99"}, do: hostEnable},
		{name: "one.template.instantiate", params: "i s b?0 s? b?0", help: "Instantiates a new virtual machine using a template", do: templateInstantiate},
	}
	rows = append(rows, kindMethods("host", kindHost, func(s *Server) []*host { return s.hosts }, false)...)
	rows = append(rows, kindMethods("cluster", kindCluster, func(s *Server) []*plain { return s.clusters }, false)...)
	rows = append(rows, kindMethods("group", kindGroup, func(s *Server) []*group { return s.groups }, false)...)
	rows = append(rows, kindMethods("zone", kindZone, func(s *Server) []*plain { return s.zones }, false)...)
	rows = append(rows, kindMethods("vdc", kindVDC, func(s *Server) []*plain { return s.vdcs }, false)...)
	rows = append(rows, kindMethods("datastore", kindDatastore, func(s *Server) []*datastore { return s.stores }, false)...)
	rows = append(rows, kindMethods("image", kindImage, func(s *Server) []*image { return s.images }, true)...)
	rows = append(rows, kindMethods("template", kindTemplate, func(s *Server) []*vmTemplate { return s.templates }, true)...)
	rows = append(rows, kindMethods("vn", kindNet, func(s *Server) []*vnet { return s.nets }, true)...)
	return append(rows, kindMethods("secgroup", kindSecGroup, func(s *Server) []*plain { return s.secgroups }, true)...)
}

// kindMethods are one.X.info and one.Xpool.info. The pools of owned things take a filter and a range, the others nothing.
func kindMethods[T thing](name string, k kind, list func(*Server) []T, filtered bool) []method {
	params := ""
	if filtered {
		params = "i i i"
	}
	help := "Returns " + k.noun + " information"
	return []method{
		{name: "one." + name + ".info", params: "i b?0", help: help, do: func(c *call) (any, *refusal) {
			x, ok := find(list(c.Server), c.i(0))
			if !ok {
				return nil, missing(k, c.i(0))
			}
			if r := c.authorizeUnlocked(use, x.header()); r != nil {
				return nil, r
			}
			if t, isTemplate := thing(x).(*vmTemplate); isTemplate && c.b(1) {
				return c.document(nil, c.extended(t), false), nil
			}
			return c.document(nil, x, false), nil
		}},
		{name: "one." + name + "pool.info", params: params, help: help, do: func(c *call) (any, *refusal) {
			return poolOf(c, k, list(c.Server), filtered)
		}},
	}
}

func poolOf[T thing](c *call, k kind, all []T, filtered bool) (any, *refusal) {
	wanted := func(o *object) bool { return c.may(use, o) }
	if filtered {
		f, r := c.filter(c.i(0))
		if r != nil {
			return nil, r
		}
		wanted = f
	}
	list := slices.DeleteFunc(ordered(c, all), func(x T) bool { return !wanted(x.header()) })
	if filtered {
		list = window(list, func(x T) int { return x.header().id }, c.i(1), c.i(2))
	}
	pool := k.elem + "_POOL"
	b := append(append(append([]byte{'<'}, pool...), '>'), ""...)
	for _, x := range list {
		b = c.document(b, x, true)
	}
	if k == kindGroup {
		b = appendDefaultQuotas(b, "GROUP")
	}
	return append(append(append(b, "</"...), pool...), '>'), nil
}

// extended is a template with its disks completed from their images.
func (c *call) extended(t *vmTemplate) *vmTemplate {
	x := *t
	x.tmpl = t.tmpl.clone()
	v := &vm{tmpl: x.tmpl}
	for i, d := range x.tmpl.all("DISK") {
		given := d.has("TARGET")
		if why := c.fillDisk(v, d, i); why != "" {
			continue // an image that has gone: oned leaves such a disk as it is
		}
		d.set("IMAGE_STATE", "1")
		if !given {
			d.unset("TARGET")
		}
	}
	return &x
}

func aclInfo(c *call) (any, *refusal) {
	if !c.admin() {
		return nil, refuse(codeAuthorization, "User [%d] : Not authorized to perform MANAGE ACL.", c.user.id)
	}
	b := []byte("<ACL_POOL>")
	for _, r := range [][6]string{
		{"0", "200000001", "121429400000000", "8", "400000000", "@1 VM+IMAGE+TEMPLATE+DOCUMENT+SECGROUP+VMGROUP+BACKUPJOB/* CREATE *"},
		{"3", "200000001", "2400000000", "2", "100000000", "@1 HOST/* MANAGE #0"},
		{"4", "200000001", "4400000000", "1", "100000000", "@1 NET/* USE #0"},
		{"5", "200000001", "100400000000", "1", "100000000", "@1 DATASTORE/* USE #0"},
		{"1", "400000000", "800400000000", "1", "400000000", "* ZONE/* USE *"},
		{"2", "400000000", "18000400000000", "1", "400000000", "* MARKETPLACE+MARKETPLACEAPP/* USE *"},
	} {
		b = element(element(element(append(b, "<ACL>"...), "ID", r[0]), "USER", r[1]), "RESOURCE", r[2])
		b = append(element(element(element(b, "RIGHTS", r[3]), "ZONE", r[4]), "STRING", r[5]), "</ACL>"...)
	}
	return append(b, "</ACL_POOL>"...), nil
}

func hostMonitoring(c *call) (any, *refusal) {
	h, r := c.host(c.i(0))
	if r == nil {
		r = c.authorize(use, &h.object)
	}
	if r != nil {
		return nil, r
	}
	return append(c.appendHostSample([]byte("<MONITORING_DATA>"), h), "</MONITORING_DATA>"...), nil
}

func hostPoolMonitoring(c *call) (any, *refusal) {
	b := []byte("<MONITORING_DATA>")
	for _, h := range c.hosts {
		if c.may(use, &h.object) {
			b = c.appendHostSample(b, h)
		}
	}
	return append(b, "</MONITORING_DATA>"...), nil
}

func hostStatus(c *call) (any, *refusal) {
	h, r := c.host(c.i(0))
	if r == nil {
		r = c.authorize(admin, &h.object)
	}
	if r != nil {
		return nil, r
	}
	states := []int{hostMonitored, hostDisabled, hostOffline}
	if c.i(1) < 0 || c.i(1) >= len(states) {
		return nil, refuse(codeInternal, "Wrong status code")
	}
	h.state = states[c.i(1)]
	return h.id, nil
}

func hostEnable(c *call) (any, *refusal) {
	h, r := c.host(c.i(0))
	if r == nil {
		r = c.authorize(admin, &h.object)
	}
	if r != nil {
		return nil, r
	}
	h.state = hostDisabled
	if c.b(1) {
		h.state = hostMonitored
	}
	return h.id, nil
}

// templateInstantiate takes (template, name, hold, extra template, persistent).
func templateInstantiate(c *call) (any, *refusal) {
	t, ok := find(c.templates, c.i(0))
	if !ok {
		return nil, missing(kindTemplate, c.i(0))
	}
	if r := c.authorize(use, &t.object); r != nil {
		return nil, r
	}
	extra, r := parseArg(c.s(3), codeInternal)
	if r == nil {
		r = c.restrictedIn(extra)
	}
	if r != nil {
		return nil, r
	}
	persistent := c.b(4) && c.release.since("5.0")
	source := t
	if persistent {
		if source, r = c.cloneTemplate(t); r != nil {
			return nil, r
		}
	}
	v, r := c.instantiate(source, extra)
	if r != nil {
		return nil, r
	}
	if persistent {
		v.backTo = v.status
		v.tmpl.set("CLONING_TEMPLATE_ID", strconv.Itoa(t.id))
		c.move(v, is(Cloning), c.now())
	}
	return v.id, nil
}

func (c *call) instantiate(t *vmTemplate, extra template) (*vm, *refusal) {
	full := t.tmpl.clone()
	full.merge(extra)
	full.drop("NAME")
	name := c.s(1)
	if name == "" {
		name = fmt.Sprintf("%s-%d", t.name, len(c.vms))
	}
	full.add(attr{name: "NAME", value: name})
	for _, ctx := range full.all("CONTEXT") {
		for i := range ctx.kids {
			ctx.kids[i].value = c.substitute(ctx.kids[i].value, name)
		}
	}
	full.set("TEMPLATE_ID", strconv.Itoa(t.id))
	hold := c.b(2)
	// Restricted attributes of the template itself are its owner's business.
	if r := c.restrictedIn(extra); r != nil {
		return nil, r
	}
	v, r := c.allocate(full, hold)
	if r != nil {
		return nil, r
	}
	for _, d := range v.tmpl.all("DISK") {
		if m, ok := find(c.images, d.id("IMAGE_ID")); ok && m.state == imageLocked {
			d.set("CLONING", "YES")
			d.set("SOURCE", "")
			d.set("IMAGE_STATE", "10")
		}
	}
	return v, nil
}

// substitute replaces the variables of a context: $NAME and $USER[X].
func (c *call) substitute(text, name string) string {
	text = strings.ReplaceAll(text, "$NAME", name)
	for {
		at := strings.Index(text, "$USER[")
		if at < 0 {
			return text
		}
		key, rest, ok := strings.Cut(text[at+len("$USER["):], "]")
		if !ok {
			return text
		}
		text = text[:at] + c.user.tmpl.get(key) + rest
	}
}

// cloneTemplate is instantiate to persistent: a copy of the template whose disks are copies of the images.
func (c *call) cloneTemplate(t *vmTemplate) (*vmTemplate, *refusal) {
	name := c.s(1)
	if why := checkName(name); why != "" {
		return nil, refuse(codeAllocate, "%s", why)
	}
	n := &vmTemplate{object: object{kind: kindTemplate, id: max(nextID(c.templates), 3), uid: c.user.id, gid: c.gid, name: name, perms: private},
		regtime: c.now().Unix(), tmpl: t.tmpl.clone()}
	for i, d := range n.tmpl.all("DISK") {
		origin, ok := find(c.images, d.id("IMAGE_ID"))
		if !ok {
			continue
		}
		m := *origin
		m.id, m.name, m.perms, m.uid, m.gid = nextID(c.images), fmt.Sprintf("%s-disk-%d", name, i), private, c.user.id, c.gid
		m.persistent, m.state, m.source, m.path, m.tmpl = true, imageLocked, "", origin.source, origin.tmpl.clone()
		c.images = append(c.images, &m)
		d.set("IMAGE_ID", strconv.Itoa(m.id))
	}
	c.templates = append(c.templates, n)
	return n, nil
}
