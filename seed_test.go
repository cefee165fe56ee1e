package vmgateway_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"vmgateway"
)

// seedRow is one member of a seed document, and where the API has it.
type seedRow struct{ id, kind, member, rest string }

func seedRows(t *testing.T) []seedRow {
	t.Helper()
	text, err := os.ReadFile("testdata/seed-coverage.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var rows []seedRow
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 4 {
			rows = append(rows, seedRow{f[0], f[1], f[2], f[3]})
		}
	}
	return rows
}

var (
	quoted     = regexp.MustCompile("`([^`]+)`")
	seedCall   = regexp.MustCompile(`^(GET|POST|PATCH|DELETE) (/[^?]*)(?:\?([A-Za-z]+)=.*)?$`)
	seedVerb   = regexp.MustCompile(`^:([A-Za-z]+)$`)
	seedState  = regexp.MustCompile(`^state: ([A-Z]+)$`)
	seedMember = regexp.MustCompile(`^(?:body )?\.?([A-Za-z][A-Za-z]*(?:\.[A-Za-z]+)*)(?:\[\])?(?:\.([A-Za-z]+))?(?:: .+| \{.*\})?$`)
	seedQuery  = regexp.MustCompile(`^(filter|owner|showDeleted|pageToken|pageSize|view)(?:=.*)?$`)
)

// seedContract answers whether the contract has what a row names.
type seedContract struct {
	doc  *openapi3.T
	last *openapi3.Operation // of the row before: rows of parameters follow their method's
	// parent of the member named last, for names that begin with a dot.
	parent string
}

// TestSeedCoverage walks the 309 members of both seed documents, and finds in the contract each
// call, body member, query parameter, field and state that they are reachable by.
func TestSeedCoverage(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	rows := seedRows(t)
	if len(rows) != 309 {
		t.Fatalf("%d rows, want 309", len(rows))
	}
	c := &seedContract{doc: doc}
	for _, row := range rows {
		names := quoted.FindAllStringSubmatch(row.rest, -1)
		found := 0
		for _, name := range names {
			ok, known := c.has(row, name[1])
			switch {
			case known && !ok:
				t.Errorf("%s %s: the contract lacks %q (%s)", row.id, row.member, name[1], row.rest)
			case ok:
				found++
			}
		}
		if plain := strings.HasPrefix(row.rest, "credentials") || strings.HasPrefix(row.rest, "request credentials") || row.rest == "no filter"; found == 0 && !plain {
			t.Errorf("%s %s: nothing in %q was found in the contract", row.id, row.member, row.rest)
		}
	}
}

// has reports whether the contract has name, and whether name is of a form that can be checked.
func (c *seedContract) has(row seedRow, name string) (ok, known bool) {
	if m := seedCall.FindStringSubmatch(name); m != nil {
		op := c.operation(m[1], m[2])
		if op == nil {
			return false, true
		}
		c.last = op
		// An allocation by template is said with :instantiate instead of a parameter.
		return m[3] == "" || m[3] == "template" || op.Parameters.GetByInAndName("query", m[3]) != nil, true
	}
	if m := seedVerb.FindStringSubmatch(name); m != nil {
		op := c.operation("POST", "/vms/{id}:"+m[1])
		if op != nil {
			c.last = op
		}
		return op != nil, true
	}
	if m := seedState.FindStringSubmatch(name); m != nil {
		return slices.Contains(c.doc.Components.Schemas["State"].Value.Enum, any(m[1])), true
	}
	vm := c.doc.Components.Schemas["VM"].Value
	switch name {
	case "Authorization":
		return c.doc.Components.SecuritySchemes["bearerAuth"] != nil, true
	case "{id}", "vm", "/vms", "/vms/{id}", "{disk}":
		return true, true
	}
	if m := seedQuery.FindStringSubmatch(name); m != nil {
		op := c.operation("GET", "/vms")
		return op.Parameters.GetByInAndName("query", m[1]) != nil, true
	}
	m := seedMember.FindStringSubmatch(name)
	if m == nil {
		return false, false
	}
	path := m[1]
	if m[2] != "" {
		path += "." + m[2]
	}
	if strings.HasPrefix(name, ".") { // beside the member named before
		path = c.parent + path
	}
	c.parent = path[:strings.LastIndexByte(path, '.')+1]
	inBody := c.last != nil && c.last.RequestBody != nil && c.body(path)
	if row.kind == "parameter" {
		return inBody, true
	}
	return inBody || property(vm, strings.Split(path, ".")), true
}

func (c *seedContract) operation(method, path string) *openapi3.Operation {
	head, tail, _ := strings.Cut(path, "{id}")
	names := map[string]string{"/vms/": "{vm}", "/templates/": "{template}"}
	item := c.doc.Paths.Value(head + names[head] + tail)
	if item == nil {
		return nil
	}
	return item.GetOperation(method)
}

func (c *seedContract) body(path string) bool {
	for _, media := range c.last.RequestBody.Value.Content {
		if property(media.Schema.Value, strings.Split(path, ".")) {
			return true
		}
	}
	return false
}

// property follows path through objects, lists and references.
func property(s *openapi3.Schema, path []string) bool {
	if len(path) == 0 {
		return true
	}
	if s.Items != nil {
		return property(s.Items.Value, path)
	}
	for _, part := range s.AllOf {
		if property(part.Value, path) {
			return true
		}
	}
	ref, ok := s.Properties[path[0]]
	return ok && property(ref.Value, path[1:])
}
