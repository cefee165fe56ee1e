package onesim

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what OpenNebula 4 hashes with
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxTokens = 10 // UserPool's limit of login tokens a user

// token is a login token. A zero expiry is for ever; egid -1 is unscoped.
type token struct {
	text   string
	expiry time.Time
	egid   int
}

type user struct {
	object
	password string
	driver   string
	enabled  bool
	groups   []int
	tokens   []token
	tmpl     template
	vmQuota  int // VMS of the VM quota; -1 is unlimited
}

func (u *user) in(gid int) bool { return slices.Contains(u.groups, gid) }

type group struct {
	object
	tmpl template
}

// User is an account of the simulator, for tests that log in.
type User struct {
	ID       int
	Name     string
	Password string
	Group    string
	Admin    bool // a member of the group oneadmin
}

// Users tells the accounts and their passwords.
func (s *Server) Users() []User {
	var out []User
	s.locked(func() {
		for _, u := range s.users {
			out = append(out, User{u.id, u.name, u.password, s.groupName(u.gid), u.gid == 0})
		}
	})
	return out
}

// OpenTokens counts the login tokens of a user that are still valid: 0 after a logout that worked. An empty name
// counts those of everybody.
func (s *Server) OpenTokens(name string) int {
	n := 0
	s.locked(func() {
		for _, u := range s.users {
			if name == "" || u.name == name {
				s.expire(u)
				n += len(u.tokens)
			}
		}
	})
	return n
}

// SetQuota limits how many VMs a user may have; -1 is no limit.
func (s *Server) SetQuota(name string, vms int) {
	s.locked(func() {
		for _, u := range s.users {
			if u.name == name {
				u.vmQuota = vms
			}
		}
	})
}

// SetEnabled enables or disables an account.
func (s *Server) SetEnabled(name string, on bool) {
	s.locked(func() {
		for _, u := range s.users {
			if u.name == name {
				u.enabled = on
			}
		}
	})
}

func (s *Server) expire(u *user) {
	now := s.now()
	u.tokens = slices.DeleteFunc(u.tokens, func(t token) bool { return !t.expiry.IsZero() && !now.Before(t.expiry) })
}

// authenticate finds the user of a session string, and the group it acts for. oned answers the same for all that
// is wrong with one.
func (s *Server) authenticate(session string) (*user, int) {
	name, secret, ok := strings.Cut(session, ":")
	i := slices.IndexFunc(s.users, func(u *user) bool { return u.name == name })
	if !ok || i < 0 || secret == "" || !s.users[i].enabled || s.users[i].driver != "core" {
		return nil, 0
	}
	u := s.users[i]
	if subtle.ConstantTimeCompare([]byte(secret), []byte(u.password)) == 1 {
		return u, u.gid
	}
	s.expire(u)
	for _, t := range u.tokens {
		if subtle.ConstantTimeCompare([]byte(secret), []byte(t.text)) == 1 {
			if t.egid >= 0 {
				return u, t.egid
			}
			return u, u.gid
		}
	}
	return nil, 0
}

func (s *Server) hash(text string) string {
	if s.release.sha1 {
		h := sha1.Sum([]byte(text)) //nolint:gosec // as above
		return hex.EncodeToString(h[:])
	}
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func (s *Server) groupName(gid int) string {
	for _, g := range s.groups {
		if g.id == gid {
			return g.name
		}
	}
	return ""
}

func (s *Server) userName(uid int) string {
	for _, u := range s.users {
		if u.id == uid {
			return u.name
		}
	}
	return ""
}

func userMethods() []method {
	return []method{
		{name: "one.user.login", params: "s s i i?-1", help: "Generates or sets a login token", span: span{since: "4.10"}, do: userLogin},
		{name: "one.user.info", params: "i b?0", help: "Returns user information", do: userInfo},
		{name: "one.user.passwd", params: "i s", help: "Changes password for a given user", do: userPasswd},
		{name: "one.user.enable", params: "i b", help: "Enable or disable user", span: span{since: "6.0"}, do: userEnable},
		{name: "one.user.update", params: "i s i?0", help: "Updates a user template", do: userUpdate},
		{name: "one.user.quota", params: "i s", help: "Sets user quota limits", do: userQuota},
		{name: "one.user.allocate", params: "s s s?", help: "Allocates a new user", do: userAllocate},
		{name: "one.user.delete", params: "i", help: "Deletes a user", do: userDelete},
		{name: "one.userpool.info", help: "Returns the user pool", do: userPool},
	}
}

// findUser takes -1 for the caller, as one.user.info does.
func (c *call) findUser(id int) (*user, *refusal) {
	if id == -1 {
		return c.user, nil
	}
	for _, u := range c.users {
		if u.id == id {
			return u, nil
		}
	}
	return nil, missing(kindUser, id)
}

func userInfo(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	if r != nil {
		return nil, r
	}
	if r := c.authorize(use, &u.object); r != nil {
		return nil, r
	}
	return c.appendUser(nil, u, true), nil
}

func userPool(c *call) (any, *refusal) {
	b := []byte("<USER_POOL>")
	for _, u := range ordered(c, c.users) {
		if c.may(use, &u.object) {
			b = c.appendUser(b, u, false)
			b = append(b, "<QUOTAS>"...)
			b = element(b, "ID", strconv.Itoa(u.id))
			b = c.appendQuotas(b, u)
			b = append(b, "</QUOTAS>"...)
		}
	}
	return append(appendDefaultQuotas(b, "USER"), "</USER_POOL>"...), nil
}

const noQuotas = "<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA><VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>"

func appendDefaultQuotas(b []byte, of string) []byte {
	return fmt.Appendf(b, "<DEFAULT_%s_QUOTAS>%s</DEFAULT_%s_QUOTAS>", of, noQuotas, of)
}

// appendQuotas shows the VM quota of a user who has a limit or VMs; oneadmin has none.
func (s *Server) appendQuotas(b []byte, u *user) []byte {
	used := s.usage(u.id)
	if u.gid == 0 || used.vms == 0 && u.vmQuota < 0 {
		return append(b, noQuotas...)
	}
	q := vector("VM", "CPU", "-1", "CPU_USED", strconv.FormatFloat(used.cpu, 'f', 2, 64), "MEMORY", "-1",
		"MEMORY_USED", strconv.Itoa(used.memory), "SYSTEM_DISK_SIZE", "-1", "SYSTEM_DISK_SIZE_USED", strconv.Itoa(used.disk),
		"VMS", strconv.Itoa(u.vmQuota), "VMS_USED", strconv.Itoa(used.vms))
	if s.release.since("5.4") {
		for _, k := range []string{"RUNNING_CPU", "RUNNING_MEMORY", "RUNNING_VMS"} {
			q.set(k, "-1")
		}
		q.set("RUNNING_CPU_USED", strconv.FormatFloat(used.runningCPU, 'f', 2, 64))
		q.set("RUNNING_MEMORY_USED", strconv.Itoa(used.runningMemory))
		q.set("RUNNING_VMS_USED", strconv.Itoa(used.running))
	}
	b = append(b, "<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA>"...)
	b = appendUsed(b, used.leases, "NETWORK", "LEASES")
	b = q.append(append(b, "</NETWORK_QUOTA><VM_QUOTA>"...))
	b = appendUsed(append(b, "</VM_QUOTA><IMAGE_QUOTA>"...), used.images, "IMAGE", "RVMS")
	return append(b, "</IMAGE_QUOTA>"...)
}

// appendUsed lists how much of each network or image is used; there are no limits on them here.
func appendUsed(b []byte, used map[int]int, name, what string) []byte {
	for _, id := range slices.Sorted(maps.Keys(used)) {
		q := vector(name, "ID", strconv.Itoa(id), what, "-1", what+"_USED", strconv.Itoa(used[id]))
		b = q.append(b)
	}
	return b
}

func (s *Server) appendUser(b []byte, u *user, quotas bool) []byte {
	b = fmt.Appendf(b, "<USER><ID>%d</ID><GID>%d</GID><GROUPS>", u.id, u.gid)
	for _, g := range u.groups {
		b = element(b, "ID", strconv.Itoa(g))
	}
	b = append(b, "</GROUPS>"...)
	b = element(b, "GNAME", s.groupName(u.gid))
	b = element(b, "NAME", u.name)
	write := cdata
	if s.release.old {
		write = element
	}
	b = write(b, "PASSWORD", s.hash(u.password))
	b = write(b, "AUTH_DRIVER", u.driver)
	b = append(b, "<ENABLED>"...)
	if u.enabled {
		b = append(b, "1</ENABLED>"...)
	} else {
		b = append(b, "0</ENABLED>"...)
	}
	b = s.appendTokens(b, u)
	b = append(u.tmpl.append(append(b, "<TEMPLATE>"...)), "</TEMPLATE>"...)
	if quotas {
		b = appendDefaultQuotas(s.appendQuotas(b, u), "USER")
	}
	return append(b, "</USER>"...)
}

func (s *Server) appendTokens(b []byte, u *user) []byte {
	s.expire(u)
	if s.release.sha1 && len(u.tokens) == 0 {
		return append(b, "<LOGIN_TOKEN/>"...)
	}
	for _, t := range u.tokens {
		expiry := int64(-1)
		if !t.expiry.IsZero() {
			expiry = t.expiry.Unix()
		}
		b = fmt.Appendf(b, "<LOGIN_TOKEN><TOKEN>%s</TOKEN><EXPIRATION_TIME>%d</EXPIRATION_TIME>", xmlText(t.text), expiry)
		if !s.release.sha1 {
			b = fmt.Appendf(b, "<EGID>%d</EGID>", t.egid)
		}
		b = append(b, "</LOGIN_TOKEN>"...)
	}
	return b
}

// userLogin makes, renews or deletes a token: (user, token or "", seconds or -1 for ever or 0 to delete, group).
func userLogin(c *call) (any, *refusal) {
	i := slices.IndexFunc(c.users, func(u *user) bool { return u.name == c.s(0) })
	if i < 0 {
		return nil, missing(kindUser, -1)
	}
	u, text, period, egid := c.users[i], c.s(1), c.i(2), c.i(3)
	if r := c.authorize(manage, &u.object); r != nil {
		return nil, r
	}
	c.expire(u)
	at := slices.IndexFunc(u.tokens, func(t token) bool { return t.text == text })
	if period == 0 {
		return c.dropToken(u, text, at)
	}
	switch {
	case period < -1:
		return nil, refuse(codeAPI, "Wrong valid period for token")
	case c.release.sha1:
		return c.renewOnly(u, period), nil
	case egid >= 0 && !u.in(egid):
		return nil, refuse(codeAPI, "EGID is not in user group list")
	case egid < 0 && c.user != u:
		return nil, refuse(codeAPI, "Cannot create a full token with a specific group token")
	}
	t := token{text: text, egid: egid, expiry: c.expiry(period)}
	if at >= 0 {
		u.tokens[at].expiry = t.expiry
		return text, nil
	}
	if len(u.tokens) >= maxTokens {
		return nil, refuse(codeAPI, "Max number of tokens limit reached.")
	}
	if t.text == "" {
		t.text = c.newToken()
	}
	u.tokens = append(u.tokens, t)
	return t.text, nil
}

func (s *Server) expiry(period int) time.Time {
	if period < 0 {
		return time.Time{}
	}
	return s.now().Add(time.Duration(period) * time.Second)
}

func (s *Server) newToken() string { return s.hash(rand.Text()) }

func (c *call) dropToken(u *user, text string, at int) (any, *refusal) {
	switch {
	case text == "" || c.release.sha1:
		u.tokens = nil
		return "", nil
	case at < 0:
		return nil, refuse(codeAPI, "Could not find token: %s", text)
	}
	u.tokens = slices.Delete(u.tokens, at, at+1)
	return text, nil
}

// renewOnly is 4.x: one token a user, which every login renews.
func (c *call) renewOnly(u *user, period int) string {
	if len(u.tokens) == 0 {
		u.tokens = []token{{text: c.newToken(), egid: -1}}
	}
	u.tokens[0].expiry = c.expiry(period)
	return u.tokens[0].text
}

func userPasswd(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	if r != nil {
		return nil, r
	}
	if r := c.authorize(manage, &u.object); r != nil {
		return nil, r
	}
	if c.s(1) == "" {
		return nil, refuse(codeInternal, "Invalid password, it cannot be empty")
	}
	u.password, u.tokens = c.s(1), nil
	return u.id, nil
}

func userEnable(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	if r != nil {
		return nil, r
	}
	if !c.admin() {
		return nil, c.unauthorized(admin, kindUser, u.id)
	}
	u.enabled = c.b(1)
	return u.id, nil
}

func userUpdate(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	if r != nil {
		return nil, r
	}
	if r := c.authorize(manage, &u.object); r != nil {
		return nil, r
	}
	if r := c.update(&u.tmpl, c.s(1), c.i(2)); r != nil {
		return nil, r
	}
	return u.id, nil
}

func userQuota(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	if r != nil {
		return nil, r
	}
	if !c.admin() {
		return nil, c.unauthorized(admin, kindUser, u.id)
	}
	t, err := parseTemplate(c.s(1))
	if err != nil {
		return nil, refuse(codeInternal, "%v", err)
	}
	for _, q := range t.all("VM") {
		if q.has("VMS") {
			u.vmQuota = q.id("VMS")
		}
	}
	return u.id, nil
}

func userAllocate(c *call) (any, *refusal) {
	if !c.admin() {
		return nil, refuse(codeAuthorization, "User [%d] : Not authorized to perform CREATE USER.", c.user.id)
	}
	name := c.s(0)
	if i := strings.IndexAny(name, invalidInUserNames); i >= 0 {
		return nil, refuse(codeInternal, "Invalid NAME, char '%c' is not allowed.", name[i])
	}
	if name == "" {
		return nil, refuse(codeInternal, "Invalid NAME, it cannot be empty")
	}
	for _, u := range c.users {
		if u.name == name {
			return nil, refuse(codeInternal, "NAME is already taken by USER %d.", u.id)
		}
	}
	c.forgetDocuments()
	return c.addUser(name, c.s(1), 1).id, nil
}

// forgetDocuments is for changes of users: VMs name their owners, and an id may come back.
func (s *Server) forgetDocuments() {
	for _, v := range s.vms {
		v.kept = [formCount]*record{}
	}
}

const invalidInUserNames = "&|:\\\";/'#{}$<>"

func (w *world) addUser(name, password string, gid int) *user {
	id := 0
	if n := len(w.users); n > 0 {
		id = w.users[n-1].id + 1
	}
	u := &user{object: object{kind: kindUser, id: id, uid: -1, gid: gid, name: name}, password: password, driver: "core",
		enabled: true, groups: []int{gid}, vmQuota: -1}
	w.users = append(w.users, u)
	return u
}

func userDelete(c *call) (any, *refusal) {
	u, r := c.findUser(c.i(0))
	switch {
	case r != nil:
		return nil, r
	case !c.admin():
		return nil, c.unauthorized(admin, kindUser, u.id)
	case u.id == 0:
		return nil, refuse(codeAction, "Cannot delete user. oneadmin cannot be deleted.")
	}
	c.users = slices.DeleteFunc(c.users, func(x *user) bool { return x == u })
	c.forgetDocuments()
	return u.id, nil
}
