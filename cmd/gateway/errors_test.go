package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"text/template"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula"
	"vmgateway/internal/backends/xenapi"
	"vmgateway/internal/handlers"
)

var update = flag.Bool("update", false, "write the documents that are made of tables anew")

var errorsDoc = template.Must(template.New("errors").Funcs(template.FuncMap{
	"cell": func(text string) string { return strings.ReplaceAll(text, "|", `\|`) },
}).Parse(`# Errors

Every error is ` + "`application/problem+json`" + ` (RFC 9457). Act on ` + "`code`" + `: it is stable, and this is the whole
list. ` + "`retryable`" + ` says whether the same request may succeed later without anything being changed.

*Made from the tables in the code by ` + "`go test ./cmd/gateway -run TestErrorsDoc -update`" + `.*

| code | status | title | retryable | what to do |
|---|---|---|---|---|
{{range .Codes}}| <a id="{{.Anchor}}"></a>` + "`{{.Code}}`" + ` | {{.Status}} | {{.Title}} | {{if .Retryable}}yes{{else}}no{{end}} | {{cell .Advice}} |
{{end}}
{{range .Backends}}
## {{.Title}}

{{len .Rows}} codes of the backend, and what each becomes; ` + "`backend.code`" + ` of a problem holds the backend's own. A code
that is not listed becomes ` + "`BACKEND_FAULT`" + `.

| backend's code | becomes | note |
|---|---|---|
{{range .Rows}}| ` + "`{{.Code}}`" + `{{with .Name}} {{.}}{{end}} | ` + "`{{.Becomes}}`" + ` | {{cell .Note}} |
{{end}}{{end}}`))

// TestErrorsDoc keeps docs/errors.md and the tables in the code the same.
func TestErrorsDoc(t *testing.T) {
	type section struct {
		Title string
		Rows  []backends.ErrorRow
	}
	var doc bytes.Buffer
	err := errorsDoc.Execute(&doc, map[string]any{
		"Codes": handlers.ErrorRows(),
		"Backends": []section{
			{"OpenNebula", opennebula.ErrorRows()},
			{"XenAPI", xenapi.ErrorRows()},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	const path = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, doc.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	on, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(on, doc.Bytes()) {
		t.Errorf("%s is not what the tables say: run go test ./cmd/gateway -run TestErrorsDoc -update", path)
	}
	if n := len(xenapi.ErrorRows()); n < 600 {
		t.Errorf("only %d XenAPI codes have a row", n)
	}
}
