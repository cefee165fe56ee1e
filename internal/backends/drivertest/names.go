package drivertest

import (
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends"
)

// hardTexts are texts that something on the way could damage.
var hardTexts = []struct{ name, text string }{
	{"plain", "web server 1"},
	{"double quotes", `a "quoted" name`},
	{"single quotes", `it's`},
	{"backslashes", `C:\new\table`},
	{"trailing backslash", `C:\`},
	{"newline", "two\nlines"},
	{"carriage return", "two\r\nlines"},
	{"tab", "a\tb"},
	{"end of CDATA", "a]]>b"},
	{"brackets", "a[b]c ] d"},
	{"equals and commas", "A = B, C = [ D = \"E\" ]"},
	{"comment sign", "issue #42"},
	{"markup", `<b>&amp;</b>`},
	{"reference", "&#x1F600; &lt;"},
	{"dollar", "$NAME $(id) {x}"},
	{"emoji", "web 😀"},
	{"other scripts", "Größe サーバー عربي"},
	{"combining", "e\u0301"},
	{"control character", "a\x01b"},
	{"nul", "a\x00b"},
	{"escape", "a\x1b[31mb"},
	{"not a character", "a\uFFFEb"},
	{"delete", "a\x7fb"},
	{"blanks at both ends", "  name  "},
	{"blank only", " "},
	{"line separator", "a\u2028b"},
	{"byte order mark", "\uFEFFa"},
	{"right to left", "a\u202Eb"},
	{"10 KB", strings.Repeat("0123456789", 1024)},
	{"injection", "x\"\nCPU = \"64"},
	{"dots and slashes", "../../etc/passwd"},
	{"percent", "100%s %n %2e"},
	{"not UTF-8", "a\xff\xfeb"},
}

// textMembers are the members that take a text of the client's choice.
var textMembers = []struct {
	path  string
	value func(text string) any
	reads string // path from the VM
}{
	{"displayName", func(s string) any { return s }, "displayName"},
	{"description", func(s string) any { return s }, "description"},
	{"annotations", func(s string) any { return map[string]*string{"NOTE": &s} }, "annotations.NOTE"},
}

// testNames writes hard texts: each is stored exactly, or refused with the member and nothing
// changed.
func testNames(t *testing.T, b *bench) {
	id := b.mustPut(t, b.home())
	for _, m := range textMembers {
		if !b.driver.Writes(m.path) {
			continue
		}
		for _, h := range hardTexts {
			change := backends.Change{Path: m.path, Value: m.value(h.text)}
			t.Run("patch/"+m.path+"/"+subtest(h.name), func(t *testing.T) {
				before := b.Look(t, id.Native)
				_, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{change})
				if err != nil {
					b.points(t, err, backends.InvalidArgument, "/"+m.path)
					b.unchanged(t, id, before)
					return
				}
				b.exactly(t, id, m.reads, h.text)
			})
			t.Run("create/"+m.path+"/"+subtest(h.name), func(t *testing.T) {
				made, err := b.create(t, []backends.Change{change})
				if err != nil {
					b.points(t, err, backends.InvalidArgument, "/"+m.path)
					return
				}
				b.exactly(t, made, m.reads, h.text)
				b.remove(t, made)
			})
		}
	}
	t.Run("keys", func(t *testing.T) { b.hardKeys(t, id) })
	b.listsStill(t, id)
}

// exactly checks that a text is read back as it was written, byte for byte, one VM or many.
func (b *bench) exactly(t *testing.T, id backends.ID, path, want string) {
	t.Helper()
	vm := b.read(t, id)
	if got := lookUp(t, vm, path); got != want {
		t.Errorf("%s reads %q, want %q", path, got, want)
	}
	if size := lookUp(t, vm, "cpu.vcpus"); size != nil && size != lookUp(t, b.read(t, id), "cpu.vcpus") {
		t.Errorf("the text has changed something else: %v vCPUs", size)
	}
}

// hardKeys writes hard texts as the name of an annotation.
func (b *bench) hardKeys(t *testing.T, id backends.ID) {
	value := "v"
	for _, h := range hardTexts {
		before := b.Look(t, id.Native)
		vm, err := b.backend.Patch(t.Context(), b.session, id, []backends.Change{{Path: "annotations", Value: map[string]*string{h.text: &value}}})
		if err != nil {
			b.points(t, err, backends.InvalidArgument, "/annotations")
			b.unchanged(t, id, before)
			continue
		}
		if vm.Annotations[h.text] != value {
			t.Errorf("%s: the annotation is not there: %s", h.name, dump(vm.Annotations))
		}
	}
}

// listsStill checks that all of this has not made the VM, or others, unreadable in a list.
func (b *bench) listsStill(t *testing.T, id backends.ID) {
	t.Helper()
	vms, bad, err := b.list(t, backends.Query{View: backends.ViewFull})
	if err != nil || len(bad) > 0 {
		t.Errorf("after hard texts a list has %v and fails with %v", bad, err)
	}
	if !slices.ContainsFunc(vms, func(vm *backends.VM) bool { return vm.ID == id }) {
		t.Errorf("after hard texts a list lacks %s", id)
	}
}
