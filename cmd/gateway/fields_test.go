package main

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/getkin/kin-openapi/openapi3"

	"vmgateway"
	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/xenapi"
)

var fieldsDoc = template.Must(template.New("fields").Funcs(template.FuncMap{
	"source": func(f backends.Field) string {
		if f.Source == "" || madeHere(f.Member) {
			return "–"
		}
		text := "`" + strings.Join(folded(strings.Fields(f.Source)), "`, `") + "`"
		if f.Unit != "" {
			text += " (" + f.Unit + ")"
		}
		return text
	},
}).Parse(`# Members of a VM

What ` + "`GET /vms`" + ` and ` + "`GET /vms/{vm}`" + ` tell, and what of the backend's own record each member is made of. The names
are those of ` + "`filter`, `orderBy` and `fields`" + `; a list's elements stand behind ` + "`[]`" + ` here and without it there. A member that
a backend does not have is absent, never zero. ` + "`view=NATIVE`" + ` adds the whole record under the backend's names.

*Made from the tables that the drivers decode by, with ` + "`go test ./cmd/gateway -run TestFieldsDoc -update`" + `.*

| member | type | view | OpenNebula | XenAPI |
|---|---|---|---|---|
{{range .}}| ` + "`{{.Member}}`" + ` | {{.Type}} | {{.View}} | {{source .One}} | {{source .Xen}} |
{{end}}`))

// folded says paths that have their beginning in common once: A/{B,C} for A/B and A/C.
func folded(paths []string) []string {
	var all []string
	names := make(map[string][]string)
	for _, p := range paths {
		parent, name := "", p
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			parent, name = p[:i+1], p[i+1:]
		}
		if parent == "" || names[parent] == nil {
			all = append(all, parent+name)
		}
		names[parent] = append(names[parent], name)
	}
	for i, p := range all {
		parent := p[:strings.LastIndexByte(p, '/')+1]
		if list := names[parent]; parent != "" && len(list) > 1 {
			all[i] = parent + "{" + strings.Join(list, ",") + "}"
		}
	}
	return all
}

// fieldRow is one member in docs/fields.md.
type fieldRow struct {
	Member, Type string
	One, Xen     backends.Field
}

// View is the smallest view that has the member at either backend.
func (r fieldRow) View() string {
	one, xen := string(r.One.View), string(r.Xen.View)
	switch {
	case one == "" || one == xen:
		return xen
	case xen == "":
		return one
	}
	return "OpenNebula " + one + ", XenAPI " + xen
}

// TestFieldsDoc keeps the drivers' tables, the contract's VM and docs/fields.md the same.
func TestFieldsDoc(t *testing.T) {
	contract := leavesOf(t)
	tables := [2]map[string]backends.Field{
		tabulate(t, "opennebula", opennebula.VMFields(), contract),
		tabulate(t, "xenapi", xenapi.VMFields(), contract),
	}
	var rows []fieldRow
	for _, member := range slices.Sorted(maps.Keys(contract)) {
		if neverMade(member, tables[:]) {
			continue
		}
		row := fieldRow{Member: member, Type: contract[member], One: covering(tables[0], member), Xen: covering(tables[1], member)}
		if row.One.Member == "" && row.Xen.Member == "" && !madeHere(member) {
			t.Errorf("the contract has the member %s of a VM, and no driver's table does", member)
		}
		rows = append(rows, row)
	}
	var doc bytes.Buffer
	if err := fieldsDoc.Execute(&doc, rows); err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/fields.md"
	if *update {
		if err := os.WriteFile(path, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, doc.Bytes()) {
		t.Errorf("%s does not match the tables: go test ./cmd/gateway -run TestFieldsDoc -update", path)
	}
}

// madeHere reports whether a member is the gateway's own work.
func madeHere(member string) bool {
	return slices.Contains([]string{"backend", "kind", "etag", "native"}, member)
}

// neverMade reports whether a member is only ever written, only told beside the VM, or the name of
// something that no driver can name. The contract has it because it has one schema for all references.
func neverMade(member string, tables []map[string]backends.Field) bool {
	if member == "opennebula.template" || strings.HasSuffix(member, "[].native") {
		return true
	}
	object, isName := strings.CutSuffix(member, ".displayName")
	return isName && !slices.ContainsFunc(tables, func(table map[string]backends.Field) bool {
		return covering(table, member).Member != ""
	}) && slices.ContainsFunc(tables, func(table map[string]backends.Field) bool {
		return covering(table, object+".id").Member != ""
	})
}

// tabulate checks one driver's table against the contract's members.
func tabulate(t *testing.T, driver string, fields []backends.Field, contract map[string]string) map[string]backends.Field {
	t.Helper()
	table := make(map[string]backends.Field)
	for _, f := range fields {
		if _, twice := table[f.Member]; twice {
			t.Errorf("%s has the member %s twice", driver, f.Member)
		}
		if f.View == "" || f.Source == "" && !madeHere(f.Member) {
			t.Errorf("%s does not say of %s where it comes from, or which view has it", driver, f.Member)
		}
		known := false
		for member := range contract {
			known = known || within(member, f.Member)
		}
		if !known {
			t.Errorf("%s has the member %s, which the contract's VM has not", driver, f.Member)
		}
		table[f.Member] = f
	}
	return table
}

// covering is the row for a member: its own, or that of what it is a part of.
func covering(table map[string]backends.Field, member string) backends.Field {
	var best backends.Field
	for _, f := range table {
		if within(member, f.Member) && len(f.Member) > len(best.Member) {
			best = f
		}
	}
	return best
}

func within(member, whole string) bool {
	rest, ok := strings.CutPrefix(member, whole)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// leavesOf is the members of the contract's VM that are not objects, with their types.
func leavesOf(t *testing.T) map[string]string {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	leaves := make(map[string]string)
	collectLeaves(doc.Components.Schemas["VM"].Value, "", leaves)
	return leaves
}

func collectLeaves(s *openapi3.Schema, at string, leaves map[string]string) {
	for _, part := range s.AllOf {
		collectLeaves(part.Value, at, leaves)
	}
	switch {
	case s.Type.Is("array") && len(membersOf(s.Items.Value)) > 0:
		collectLeaves(s.Items.Value, at+"[]", leaves)
	case s.Type.Is("array"):
		leaves[at] = "list of " + kindOf(s.Items.Value)
	case len(membersOf(s)) > 0:
		for name, member := range s.Properties {
			collectLeaves(member.Value, strings.TrimPrefix(at+"."+name, "."), leaves)
		}
	case len(s.AllOf) == 0:
		leaves[at] = kindOf(s)
	}
}

func membersOf(s *openapi3.Schema) openapi3.Schemas {
	for _, part := range s.AllOf {
		if members := membersOf(part.Value); len(members) > 0 {
			return members
		}
	}
	return s.Properties
}

func kindOf(s *openapi3.Schema) string {
	for _, part := range s.AllOf {
		if kind := kindOf(part.Value); kind != "" {
			return kind
		}
	}
	switch {
	case s.Format == "date-time":
		return "time"
	case s.Type.Is("object"):
		return "map"
	case s.Type == nil:
		return ""
	}
	return strings.Join(s.Type.Slice(), " ")
}
