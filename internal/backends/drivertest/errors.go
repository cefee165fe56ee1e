package drivertest

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
)

// use is one call of the Driver interface, as the tests of errors make it.
type use struct {
	name    string
	changes bool
	call    func(ctx context.Context, d backends.Driver, s backends.Session, id backends.ID) error
}

func (b *bench) uses() []use {
	uses := []use{
		{"VM", false, func(ctx context.Context, d backends.Driver, s backends.Session, id backends.ID) error {
			_, err := d.VM(ctx, s, id, backends.ViewFull)
			return err
		}},
		{"VMs", false, func(ctx context.Context, d backends.Driver, s backends.Session, _ backends.ID) error {
			for _, err := range d.VMs(ctx, s, backends.Query{View: backends.ViewBasic}) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"Read-hosts", false, func(ctx context.Context, d backends.Driver, s backends.Session, _ backends.ID) error {
			_, err := d.Read(ctx, s, backends.Hosts, backends.ID{})
			return err
		}},
		{"Read-disks", false, func(ctx context.Context, d backends.Driver, s backends.Session, id backends.ID) error {
			_, err := d.Read(ctx, s, backends.VMDisks, id)
			return err
		}},
		{"Patch", true, func(ctx context.Context, d backends.Driver, s backends.Session, id backends.ID) error {
			return d.Patch(ctx, s, id, []backends.Change{{Path: "displayName", Value: Prefix + "patched"}})
		}},
		{"Create", true, func(ctx context.Context, d backends.Driver, s backends.Session, _ backends.ID) error {
			_, err := d.Create(ctx, s, inOrder(append([]backends.Change{{Path: "displayName", Value: b.made}}, b.Claims.Create...)))
			return err
		}},
	}
	if c, ok := b.ready(); ok {
		uses = append(uses, use{"Do-" + c.name(), true, func(ctx context.Context, d backends.Driver, s backends.Session, id backends.ID) error {
			_, err := d.Do(ctx, s, c.Verb, id, b.args(c))
			return err
		}})
	}
	return uses
}

// ready is a verb that is accepted at home.
func (b *bench) ready() (VerbClaim, bool) {
	home := b.Claims.place(b.home())
	i := slices.IndexFunc(b.Claims.Verbs, func(c VerbClaim) bool {
		spec, _ := backends.LookUp(c.Verb)
		return spec.Answers == backends.AnswersOperation && c.move(home).Code == 0 && c.Verb != backends.VerbInstantiate
	})
	if i < 0 {
		return VerbClaim{}, false
	}
	return b.Claims.Verbs[i], true
}

// testIDs gives ids that are no object's: NotFound, and for those that cannot be one not even a
// call.
func testIDs(t *testing.T, b *bench) {
	for _, u := range b.uses() {
		if u.name == "VMs" || u.name == "Read-hosts" || u.name == "Create" {
			continue
		}
		t.Run(u.name, func(t *testing.T) {
			b.refused(t, u.call(t.Context(), b.driver, b.session, b.id(b.Claims.Missing)), backends.NotFound)
			for _, native := range b.Claims.Malformed {
				calls := b.relay.count()
				b.refused(t, u.call(t.Context(), b.driver, b.session, b.id(native)), backends.NotFound)
				if made := b.relay.since(calls); len(made) > 0 {
					t.Errorf("%q made calls: %v", native, made)
				}
				if b.driver.CheckID(native) {
					t.Errorf("CheckID(%q) = true", native)
				}
			}
			calls := b.relay.count()
			foreign := backends.ID{Backend: b.Name + "x", Native: b.Claims.Missing}
			b.refused(t, u.call(t.Context(), b.driver, b.session, foreign), backends.NotFound)
			if made := b.relay.since(calls); len(made) > 0 {
				t.Errorf("an id of another backend made calls: %v", made)
			}
		})
	}
	if b.driver.CheckID("OpaqueRef:" + b.Claims.Missing) {
		t.Error("CheckID takes a reference")
	}
	t.Run("Operation", func(t *testing.T) {
		for _, native := range append([]string{b.Claims.Missing, "x", "start-1", "start-" + b.Claims.Missing + "-" + b.Claims.Missing}, b.Claims.Malformed...) {
			_, err := b.driver.Operation(t.Context(), b.session, b.id(native))
			b.refused(t, err, backends.NotFound)
		}
	})
}

// trouble is a way in which a call brings no sound answer.
type trouble struct {
	name   string
	answer answerer
	codes  []backends.Code
	// unsent: the backend cannot have done anything.
	unsent bool
}

func (b *bench) troubles() []trouble {
	page := []byte("<!DOCTYPE html><html><head><title>Login</title></head><body>Welcome &copy;</body></html>")
	unavailable, fault := backends.BackendUnavailable, backends.BackendFault
	return []trouble{
		{"cut in the middle", cut, []backends.Code{unavailable}, false},
		{"no HTTP", noise, []backends.Code{unavailable, fault}, false},
		{"a page", answers(200, "text/html", page), []backends.Code{fault}, false},
		{"a page as XML", answers(200, "text/xml", page), []backends.Code{fault}, false},
		{"a page with 502", answers(502, "text/html", page), []backends.Code{unavailable}, false},
		{"a page with 503", answers(503, "text/html", page), []backends.Code{unavailable}, false},
		{"nothing", answers(200, "text/xml", nil), []backends.Code{fault, unavailable}, false},
		{"bytes", answers(200, "text/xml", []byte("\x00\x01\xff\xfe<<<")), []backends.Code{fault}, false},
		{"half a document", answers(200, "text/xml", []byte("<?xml version=\"1.0\"?><methodResponse><params><param><value>")), []backends.Code{unavailable, fault}, false},
		{"another value", answers(200, "text/xml", reply("<int>1</int>")), []backends.Code{fault}, false},
		{"an empty array", answers(200, "text/xml", reply("<array><data></data></array>")), []backends.Code{fault}, false},
		{"an empty struct", answers(200, "text/xml", reply("<struct></struct>")), []backends.Code{fault}, false},
		{"a fault", answers(200, "text/xml", []byte(`<?xml version="1.0"?><methodResponse><fault><value><struct>`+
			`<member><name>faultCode</name><value><int>-99999</int></value></member>`+
			`<member><name>faultString</name><value><string>this went wrong</string></value></member>`+
			`</struct></value></fault></methodResponse>`)), []backends.Code{fault}, true},
		{"a refusal with an unknown code", answers(200, "text/xml", b.Refusal("99999", "never heard of")), []backends.Code{fault}, true},
	}
}

func reply(value string) []byte {
	return []byte(`<?xml version="1.0"?><methodResponse><params><param><value>` + value + `</value></param></params></methodResponse>`)
}

// testTransport lets calls bring no sound answer, or none, or none in time.
func testTransport(t *testing.T, b *bench) {
	id := b.mustPut(t, b.home())
	for _, u := range b.uses() {
		when := func(method string) bool { return !u.changes || b.Claims.Changes(method) }
		for _, x := range b.troubles() {
			t.Run(u.name+"/"+subtest(x.name), func(t *testing.T) {
				id := b.mustPut(t, b.home())                                              // whatever was done to the last one
				b.relay.spoilNext(spoiler{when: when, once: u.changes, answer: x.answer}) // a read may be tried again
				err := u.call(t.Context(), b.driver, b.session, id)
				b.relay.heal()
				b.fails(t, err, x.codes, u.changes && !x.unsent)
			})
		}
		t.Run(u.name+"/silent", func(t *testing.T) {
			id := b.mustPut(t, b.home())
			b.relay.spoilNext(spoiler{when: when, answer: silent})
			err := u.call(t.Context(), b.impatient(t), b.session, id)
			b.relay.heal()
			b.fails(t, err, []backends.Code{backends.BackendTimeout}, u.changes)
		})
		t.Run(u.name+"/given up", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			id := b.mustPut(t, b.home())
			reached := make(chan struct{}, 1)
			b.relay.spoilNext(spoiler{when: when, once: true, reached: reached, answer: silent})
			go func() {
				<-reached
				cancel()
			}()
			err := u.call(ctx, b.driver, b.session, id)
			b.relay.heal()
			b.fails(t, err, []backends.Code{backends.BackendTimeout}, u.changes)
		})
		t.Run(u.name+"/given up before", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			b.fails(t, u.call(ctx, b.driver, b.session, id), []backends.Code{backends.BackendTimeout}, false)
		})
		t.Run(u.name+"/down", func(t *testing.T) {
			b.fails(t, u.call(t.Context(), b.unreachable(t), b.session, id), []backends.Code{backends.BackendUnavailable}, false)
		})
	}
	t.Run("Ping", func(t *testing.T) {
		if err := b.driver.Ping(t.Context()); err != nil {
			t.Errorf("a healthy backend: %v", err)
		}
		b.fails(t, b.unreachable(t).Ping(t.Context()), []backends.Code{backends.BackendUnavailable}, false)
		b.relay.spoilNext(spoiler{answer: silent})
		b.fails(t, b.impatient(t).Ping(t.Context()), []backends.Code{backends.BackendTimeout}, false)
		b.relay.heal()
	})
	t.Run("Login", func(t *testing.T) {
		for _, x := range b.troubles() {
			b.relay.spoilNext(spoiler{answer: x.answer})
			_, err := b.driver.Login(t.Context(), b.Admin.User, b.Admin.Password)
			b.relay.heal()
			if err == nil {
				t.Errorf("%s: logged in", x.name)
				continue
			}
			b.fails(t, err, x.codes, backends.AsError(err).MaybeDone)
		}
		_, err := b.unreachable(t).Login(t.Context(), b.Admin.User, b.Admin.Password)
		b.fails(t, err, []backends.Code{backends.BackendUnavailable}, false)
	})
	t.Run("recovers", func(t *testing.T) {
		if _, err := b.driver.VM(t.Context(), b.session, id, backends.ViewFull); err != nil {
			t.Errorf("after all this a sound answer is not read: %v", err)
		}
	})
}

// fails checks an error's code, and whether it says that a change may have happened.
func (b *bench) fails(t *testing.T, err error, codes []backends.Code, maybe bool) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one of %v", codes)
		return
	}
	e := backends.AsError(err)
	if !slices.Contains(codes, e.Code) {
		t.Errorf("fails with %v, want one of %v", e, codes)
	}
	if e.MaybeDone != maybe {
		t.Errorf("%v says %t of whether the change may have happened, want %t", e, e.MaybeDone, maybe)
	}
}

// impatient is a driver that waits for an answer hardly at all.
func (b *bench) impatient(t *testing.T) backends.Driver {
	t.Helper()
	return b.newDriver(t, Options{Timeout: 400 * time.Millisecond}) // more than a sound answer takes on a busy machine
}

// unreachable is a driver whose backend is down. The port is one that no test is given by chance, as
// one that was free a moment ago may be.
func (b *bench) unreachable(t *testing.T) backends.Driver {
	t.Helper()
	const address = "127.0.0.1:1" // tcpmux, which nothing serves any more
	return b.newDriver(t, Options{Endpoint: &url.URL{Scheme: "http", Host: address, Path: b.Endpoint.Path}})
}

// testRefusals lets the backend refuse with a code that nobody knows, and with words that hold
// secrets: the code and the words come through, the secrets do not (the watch sees to that).
func testRefusals(t *testing.T, b *bench) {
	id := b.mustPut(t, b.home())
	secret := "it broke: " + b.session.Reveal() + " OpaqueRef:0b2f7c1e-1111-2222-3333-444444444444"
	for _, text := range []string{"it broke", secret} {
		for _, u := range b.uses() {
			b.relay.spoilNext(spoiler{answer: answers(200, "text/xml", b.Refusal("99999", text))})
			err := u.call(t.Context(), b.driver, b.session, id)
			b.relay.heal()
			e := b.refused(t, err, backends.BackendFault)
			if e == nil {
				continue
			}
			switch f := e.Fault; {
			case f == nil:
				t.Errorf("%s: the backend's refusal is not told", u.name)
			case f.Code != "99999" || f.ID != b.Name || f.Kind != b.driver.Kind() || f.Method == "":
				t.Errorf("%s: the refusal is told as %s", u.name, dump(f))
			case text != secret && !strings.Contains(dump(f), text):
				t.Errorf("%s: the backend's words are lost: %s", u.name, dump(f))
			}
		}
	}
}

// testPermissions asks for everything as somebody who may only look.
func testPermissions(t *testing.T, b *bench) {
	if b.Ordinary == (Account{}) {
		b.cannot++
		return
	}
	session := b.login(t, b.Ordinary)
	share := func(place string) backends.ID {
		id := b.mustPut(t, place)
		if b.Share != nil {
			b.Share(t, id.Native)
		}
		return id
	}
	t.Run("look", func(t *testing.T) {
		if _, err := b.backend.VM(t.Context(), session, share(b.home()), backends.ViewFull); err != nil {
			t.Errorf("a VM that everybody may see: %v", err)
		}
	})
	for _, c := range b.Claims.Verbs {
		spec, _ := backends.LookUp(c.Verb)
		places := c.accepted(b.Claims.settled())
		if spec.Answers != backends.AnswersOperation || len(places) == 0 || c.Verb == backends.VerbInstantiate {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			id := share(places[0].Name)
			before := b.Look(t, id.Native)
			_, err := b.backend.Do(t.Context(), session, c.Verb, id, b.args(c))
			b.refused(t, err, backends.PermissionDenied)
			b.unchanged(t, id, before)
			b.remove(t, id)
		})
	}
	for _, c := range b.Claims.Members {
		i := slices.IndexFunc(backends.Members, func(m backends.Member) bool { return m.Path == c.Path })
		if c.NoPatch || c.At != "" || i < 0 || !backends.Members[i].Patch {
			continue
		}
		t.Run("patch/"+c.Path, func(t *testing.T) {
			id := share(b.home())
			before := b.Look(t, id.Native)
			_, err := b.backend.Patch(t.Context(), session, id, inOrder(append(slices.Clone(c.WithPatch), backends.Change{Path: c.Path, Value: c.Value})))
			b.refused(t, err, backends.PermissionDenied)
			b.unchanged(t, id, before)
			b.remove(t, id)
		})
	}
}
