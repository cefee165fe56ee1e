package main

import (
	"bytes"
	"net/url"
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/getkin/kin-openapi/openapi3"

	"vmgateway"
	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/xenapi"
)

// namesDoc says what became of the names that somebody knows who comes from a backend's own API.
type namesDoc struct {
	Title, Intro string
	// Tool and Library are how the command line and the library are called.
	Tool, Library string
	Commands      []nameRow
	Calls         []nameRow
	Verbs         []verbRow
	Lacks         []string // verbs that the backend does not have
	Fields        []nameRow
	States        []backends.StateRow
}

// nameRow is one command, or one call of a library with its parameters.
type nameRow struct {
	Name, Call string
	Parameters []nameRow
}

// verbRow is what the contract says of a verb in this backend's column.
type verbRow struct {
	Verb  string // "" below the first
	About string
	Text  string
}

var namesTemplate = template.Must(template.New("names").Funcs(template.FuncMap{
	"code": func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" },
	"cell": func(text string) string { return strings.ReplaceAll(text, "|", `\|`) },
}).Parse(`# {{.Title}}

{{.Intro}}
*Made from the tables in the code, the contract and testdata by ` + "`go test ./cmd/gateway -run TestNamesDocs -update`" + `.*

## From {{.Tool}}

| command | call |
|---|---|
{{range .Commands}}| ` + "`{{cell .Name}}`" + ` | {{cell .Call}} |
{{end}}
## From {{.Library}}

| method | call | its parameters |
|---|---|---|
{{range .Calls}}| ` + "`{{.Name}}`" + ` | {{cell .Call}} | {{range $i, $p := .Parameters}}{{if $i}}; {{end}}` + "`{{$p.Name}}`" + `: {{cell $p.Call}}{{end}} |
{{end}}
## What a verb sends

| verb | | |
|---|---|---|
{{range .Verbs}}| {{with .Verb}}` + "`{{.}}`" + `{{end}} | {{cell .About}} | {{cell .Text}} |
{{end}}
There is no {{code .Lacks}} here: these are answered with 501.

## Members of the record

[fields.md](fields.md) has every member of a VM, and what of the record it is made of. ` + "`view=NATIVE`" + ` has the whole
record, as it is.
{{with .Fields}}
| field | member |
|---|---|
{{range .}}| ` + "`{{.Name}}`" + ` | {{cell .Call}} |
{{end}}{{end}}
## States

` + "`rawState`" + ` always has the backend's own. A number or name that is not listed is ` + "`UNKNOWN`" + `, or ` + "`UPDATING`" + ` while it is an
operation under way.

| | | ` + "`state`" + ` | releases |
|---|---|---|---|
{{range .States}}| ` + "`{{.Of}}`" + ` | ` + "`{{.Raw}}`" + `{{with .Short}} ({{.}}){{end}} | {{with .Becomes}}` + "`{{.}}`" + `{{else}}–{{end}}{{with .Base}}, ` + "`baseState`" + ` ` + "`{{.}}`" + `{{end}} | {{.Releases}} |
{{end}}`))

const fromOpenNebula = `For those who know ` + "`onevm`, `oca`" + ` or the XML-RPC of oned.

- **Users and passwords are OpenNebula's.** A login is exchanged for a login token of oned; the password is kept nowhere.
- **Ids are OpenNebula's**, with the name of the backend before them: VM 42 is ` + "`one.42`" + `.
- **` + "`shutdown`" + ` keeps the VM.** It is ` + "`poweroff`" + `. What ended the VM in oca, ` + "`shutdown`" + ` and ` + "`cancel`" + `, is ` + "`terminate`" + `.
- **STOPPED is POWEROFF.** OpenNebula's own STOPPED, saved and off its host, is ` + "`STORED`" + `.
- **A live migration is live**, or it is refused with 409: oned would move a VM that does not run cold, and say nothing.
- **Accepted is not done.** oned answers before anything has happened, and never tells how it ended. Here a verb gives an
  operation, which is followed by the VM's states and history, to its true end.
- **Any release from 3.8 to 7.4**: the gateway asks for the release, and says each verb in its words.
- **Lists are whole and typed.** One VM with a bad byte takes itself out of a list, not all others.
`

const fromXenAPI = `For those who know ` + "`xe`, `XenAPI.py`" + ` or the XML-RPC of xapi.

- **Users and passwords are the pool's.** Sessions of xapi are opened, shared by the logins of one user, and logged out.
- **Ids are uuids**, with the name of the backend before them: ` + "`xen.0b2f7c1e-…`" + `. References never leave the gateway.
- **Every long call goes out as ` + "`Async.`" + `**; the operation is its task, and the task is destroyed after use.
- **A VM, not a template**: lists leave templates, snapshots and control domains out (` + "`showTemplates=true`" + `, ` + "`/templates`" + `).
- **Halted is STOPPED.** During a start xapi keeps saying Halted; here the operations under way decide the state.
- **HOST_IS_SLAVE is followed**: name any members of the pool.
- **` + "`destroy`" + ` leaves the disks**, as it does in xapi; ` + "`?deleteDisks=true`" + ` takes them along, as ` + "`xe vm-uninstall`" + ` does.
- **` + "`send_sysrq`, `send_trigger`" + ` and ` + "`add_to_VCPUs_params_live`" + `** are there, and answered with 501 by every xapi of today.
`

// TestNamesDocs keeps docs/opennebula.md and docs/xenapi.md, the tables in the code, the contract and
// testdata the same.
func TestNamesDocs(t *testing.T) {
	for path, doc := range map[string]namesDoc{
		"../../docs/opennebula.md": {
			Title: "From OpenNebula", Intro: fromOpenNebula, Tool: "onevm", Library: "oca",
			Commands: commands(t, "onevm"), Calls: seedCalls(t, "O", "VirtualMachine."),
			States: opennebula.StateRows(),
		},
		"../../docs/xenapi.md": {
			Title: "From XenAPI", Intro: fromXenAPI, Tool: "xe", Library: "the class VM",
			Commands: commands(t, "xe"), Calls: seedCalls(t, "X", ""),
			Fields: seedFields(t), States: xenapi.StateRows(),
		},
	} {
		kind := map[bool]string{true: "opennebula", false: "xenapi"}[doc.Tool == "onevm"]
		doc.Verbs, doc.Lacks = verbsOf(t, kind)
		var text bytes.Buffer
		if err := namesTemplate.Execute(&text, doc); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, text.Bytes()) {
			t.Errorf("%s does not match the tables: go test ./cmd/gateway -run TestNamesDocs -update", path)
		}
	}
}

// table reads a table of testdata, without its comments.
func table(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			rows = append(rows, strings.Split(strings.TrimSpace(line), "\t"))
		}
	}
	return rows
}

func commands(t *testing.T, tool string) []nameRow {
	t.Helper()
	var rows []nameRow
	for _, f := range table(t, "commands.tsv") {
		if f[0] == tool {
			rows = append(rows, nameRow{Name: f[1], Call: withVM(f[2])})
		}
	}
	return rows
}

// seedCalls are the methods of a library, each with the parameters whose rows follow its own. What
// every call has, the session and the VM itself, is left out.
func seedCalls(t *testing.T, prefix, class string) []nameRow {
	t.Helper()
	var rows []nameRow
	for _, f := range table(t, "seed-coverage.tsv") {
		id, kind, member, call := f[0], f[1], f[2], withVM(f[3])
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		switch name := strings.TrimPrefix(member, class); {
		case kind == "method":
			rows = append(rows, nameRow{Name: name, Call: call})
		case kind == "parameter" && len(rows) > 0 && !strings.HasPrefix(call, "credentials") && !strings.HasPrefix(call, "path"):
			last := &rows[len(rows)-1]
			name, _, _ = strings.Cut(name[strings.LastIndexAny(name, ".(")+1:], " : ")
			name, _, _ = strings.Cut(name, "=") // without its default
			last.Parameters = append(last.Parameters, nameRow{Name: name, Call: strings.TrimPrefix(call, "body ")})
		}
	}
	return rows
}

// seedFields are the fields of XenAPI's class VM.
func seedFields(t *testing.T) []nameRow {
	t.Helper()
	var rows []nameRow
	for _, f := range table(t, "seed-coverage.tsv") {
		if name, _, _ := strings.Cut(f[2], " : "); f[1] == "field" {
			rows = append(rows, nameRow{Name: name, Call: withVM(f[3])})
		}
	}
	return rows
}

func withVM(call string) string {
	return strings.NewReplacer("/templates/{id}", "/templates/{template}", "{id}", "{vm}").Replace(call)
}

// verbsOf are the rows of a backend's column in the contract's tables of verbs, and the verbs where
// that column is empty. The driver has to agree which these are.
func verbsOf(t *testing.T, kind string) (rows []verbRow, lacks []string) {
	t.Helper()
	column := map[string]int{"opennebula": 2, "xenapi": 3}[kind]
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := drivers[kind](backendConfig{ID: "x", Kind: kind}, []*url.URL{{Scheme: "http", Host: "127.0.0.1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range backends.Verbs {
		name := string(spec.Verb)
		item := doc.Paths.Value("/vms/{vm}:" + name)
		if item == nil {
			t.Fatalf("the contract lacks the verb %s", name)
		}
		has := false
		first := name
		for line := range strings.Lines(item.Post.Description) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) != 5 || strings.HasPrefix(cells[1], "---") {
				continue
			}
			about, text := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[column])
			if about == "" || text == "-" {
				continue
			}
			has = true
			rows = append(rows, verbRow{first, about, text})
			first = ""
		}
		if !has {
			lacks = append(lacks, name)
		}
		if has != driver.Can(spec.Verb) {
			t.Errorf("%s: the contract says %t of %s, its driver %t", name, has, kind, driver.Can(spec.Verb))
		}
	}
	return rows, lacks
}
