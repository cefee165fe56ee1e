package onesim

import (
	"fmt"
	"strconv"
)

// kind is a class of objects, with the names that oned has for it.
type kind struct {
	label string // in refusals: "Not authorized to perform USE VM [1]"
	noun  string // in "Error getting virtual machine [1]."
	elem  string // in documents; the pool's element is this with _POOL
}

var (
	kindVM        = kind{"VM", "virtual machine", "VM"}
	kindHost      = kind{"HOST", "host", "HOST"}
	kindImage     = kind{"IMAGE", "image", "IMAGE"}
	kindTemplate  = kind{"TEMPLATE", "virtual machine template", "VMTEMPLATE"}
	kindNet       = kind{"NET", "virtual network", "VNET"}
	kindDatastore = kind{"DATASTORE", "datastore", "DATASTORE"}
	kindCluster   = kind{"CLUSTER", "cluster", "CLUSTER"}
	kindUser      = kind{"USER", "user", "USER"}
	kindGroup     = kind{"GROUP", "group", "GROUP"}
	kindZone      = kind{"ZONE", "zone", "ZONE"}
	kindSecGroup  = kind{"SECGROUP", "security group", "SECURITY_GROUP"}
	kindVDC       = kind{"VDC", "vdc", "VDC"}
)

// right is what an operation needs.
type right int

const (
	use right = iota
	manage
	admin
)

func (r right) String() string { return [...]string{"USE", "MANAGE", "ADMIN"}[r] }

// perms are the nine bits: owner, group, other × use, manage, admin.
type perms [9]bool

var permNames = [9]string{"OWNER_U", "OWNER_M", "OWNER_A", "GROUP_U", "GROUP_M", "GROUP_A", "OTHER_U", "OTHER_M", "OTHER_A"}

// private is what a new object gets: DEFAULT_UMASK 177.
var private = perms{0: true, 1: true}

func (p perms) append(b []byte) []byte {
	b = append(b, "<PERMISSIONS>"...)
	for i, name := range permNames {
		bit := "0"
		if p[i] {
			bit = "1"
		}
		b = element(b, name, bit)
	}
	return append(b, "</PERMISSIONS>"...)
}

// object is what all objects have. uid -1 is nobody: hosts, clusters and zones have no owner.
type object struct {
	kind     kind
	id       int
	uid, gid int
	name     string
	perms    perms
	lock     *lock
}

func (o *object) header() *object { return o }

type lock struct {
	level, owner int
	time         int64
	request      int
}

func (l *lock) append(b []byte) []byte {
	if l == nil {
		return b
	}
	return fmt.Appendf(b, "<LOCK><LOCKED>%d</LOCKED><OWNER>%d</OWNER><TIME>%d</TIME><REQ_ID>%d</REQ_ID></LOCK>",
		l.level, l.owner, l.time, l.request)
}

// stops tells whether the lock forbids what needs r: level 1 and 4 everything, 2 from MANAGE, 3 ADMIN.
func (l *lock) stops(r right) bool {
	if l == nil {
		return false
	}
	return l.level == 4 || int(r) >= l.level-1
}

// aclRules are the rules that oned creates for the group users. Source: recorded one.acl.info.
func aclAllows(k kind, r right) bool {
	switch k {
	case kindNet, kindDatastore, kindZone:
		return r == use
	case kindHost:
		return r == manage
	}
	return false
}

func (c *call) admin() bool { return c.user.id == 0 || c.gid == 0 }

// may checks the bits and the rules, not the locks.
func (c *call) may(r right, o *object) bool {
	if c.admin() {
		return true
	}
	switch o.kind {
	case kindUser:
		return o.id == c.user.id && r < admin
	case kindGroup:
		return r == use && c.user.in(o.id)
	}
	if aclAllows(o.kind, r) {
		return true
	}
	return o.uid == c.user.id && o.perms[r] || c.user.in(o.gid) && o.perms[3+r] || o.perms[6+r]
}

// authorize is may, with the locks and oned's words.
func (c *call) authorize(r right, o *object) *refusal {
	if o.lock.stops(r) {
		if c.admin() {
			return refuse(codeAuthorization, "User [%d] : %s is locked. [%d].", c.user.id, o.kind.label, o.id)
		}
		return c.unauthorized(r, o.kind, o.id)
	}
	return c.authorizeUnlocked(r, o)
}

// authorizeUnlocked is for what a lock does not stop: reading, locking, unlocking.
func (c *call) authorizeUnlocked(r right, o *object) *refusal {
	if c.may(r, o) {
		return nil
	}
	return c.unauthorized(r, o.kind, o.id)
}

func (c *call) unauthorized(r right, k kind, id int) *refusal {
	return refuse(codeAuthorization, "User [%d] : Not authorized to perform %s %s [%d].", c.user.id, r, k.label, id)
}

// missing is the answer for an object that is not there.
func missing(k kind, id int) *refusal {
	if id < 0 {
		return &refusal{codeNoExists, "Error getting " + k.noun + " Pool.", -1}
	}
	return &refusal{codeNoExists, "Error getting " + k.noun + " [" + strconv.Itoa(id) + "].", id}
}
