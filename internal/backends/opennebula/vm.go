package opennebula

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"vmgateway/internal/backends"
)

// machine is a VM document, with what everything else hangs on read out of it.
type machine struct {
	id int
	at place
	record
}

// newMachine reads what a VM has to have. One without an id, a name or a state is damaged.
func newMachine(rec record) (m *machine, err error) {
	m = &machine{record: rec}
	if m.id, err = rec.need("ID"); err != nil {
		return nil, err
	}
	if !rec.has("NAME") {
		return nil, errors.New("VM without NAME")
	}
	for _, field := range []struct {
		name string
		to   *int
	}{{"STATE", &m.at.state}, {"LCM_STATE", &m.at.lcm}} {
		n, err := strconv.Atoi(rec.text(field.name))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("VM without a usable %s", field.name)
		}
		*field.to = n
	}
	if !m.at.active() {
		m.at.lcm = 0 // without a meaning then
	}
	return m, nil
}

// placed reports whether the VM is on a host: the history keeps the last host for ever.
func (p place) placed() bool { return p.active() || p.state == stSuspended || p.state == stPoweroff }

// user is USER_TEMPLATE. Up to 3.8 there was none, and what users wrote stood beside the core's own
// attributes.
func (m *machine) user() record {
	if m.has("USER_TEMPLATE") {
		return m.get("USER_TEMPLATE")
	}
	user := record{Name: "USER_TEMPLATE"}
	for _, kid := range m.get("TEMPLATE").Kids {
		if !slices.Contains(coreKeys, kid.Name) {
			user.Kids = append(user.Kids, kid)
		}
	}
	return user
}

// history is the records in the order of SEQ. Lists of 5.8 and later give the last one only.
func (m *machine) history() []record {
	all := m.get("HISTORY_RECORDS").all("HISTORY")
	slices.SortStableFunc(all, func(a, b record) int { return sequence(a) - sequence(b) })
	return all
}

func sequence(h record) int { return sequenceOf(h.text("SEQ")) }

// sequenceOf is a history record's number; 0 where there is none.
func sequenceOf(text string) int {
	n, _ := number(text)
	return n
}

// last is the current history record; the zero record for a VM that was never placed.
func (m *machine) last() record {
	all := m.history()
	if len(all) == 0 {
		return record{}
	}
	return all[len(all)-1]
}

// ownerOf is what a document says of its object's owner.
func ownerOf(r record) ownerKey {
	return ownerKey{r.text("UID"), r.text("UNAME"), r.text("GID"), r.text("GNAME")}
}

func (d *Driver) owner(of ownerKey) *backends.Owner {
	o := &backends.Owner{User: d.ref(of.user, of.userName), Group: d.ref(of.group, of.groupName)}
	if o.User == nil && o.Group == nil {
		return nil
	}
	return o
}

func cpu(t record) *backends.CPU {
	c := backends.CPU{VCPUs: integer(t.text("VCPU")), MaxVCPUs: integer(t.text("VCPU_MAX")), Share: decimal(t.text("CPU"))}
	if c.VCPUs == nil && c.MaxVCPUs == nil && c.Share == nil {
		return nil
	}
	return &c
}

func memory(t record) *backends.Memory {
	m := backends.Memory{DynamicMaxBytes: scaled(t.text("MEMORY"), mib), StaticMaxBytes: scaled(t.text("MEMORY_MAX"), mib)}
	if m.DynamicMaxBytes == nil && m.StaticMaxBytes == nil {
		return nil
	}
	return &m
}

// annotations are the single attributes of USER_TEMPLATE that no other member shows. Vectors and
// repeated attributes have no place in a map: the NATIVE view has them.
func annotations(user record) map[string]string {
	m := map[string]string{}
	for _, kid := range user.Kids {
		if !kid.vector() && !reservedKeys[kid.Name] && len(user.all(kid.Name)) == 1 {
			m[kid.Name] = kid.Text
		}
	}
	return m
}

// usage is what a VM needs of a host, in the units of HOST_SHARE.
func (m *machine) usage() (cpu, memory int64, known bool) {
	t := m.get("TEMPLATE")
	share, mem := decimal(t.text("CPU")), integer(t.text("MEMORY"))
	if share == nil || mem == nil || *mem < 0 || *mem > math.MaxInt64/kib {
		return 0, 0, false
	}
	return int64(math.Ceil(*share * 100)), *mem * kib, true
}
