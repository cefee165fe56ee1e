package handlers

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"

	"vmgateway/internal/backends"
)

// ErrorRow documents one code: docs/errors.md and the page that a problem's type leads to are made
// of these rows.
type ErrorRow struct {
	Code      string
	Status    int
	Title     string
	Retryable bool
	Advice    string
}

// Anchor is the code's place in the page, as in Problem.type.
func (r ErrorRow) Anchor() string { return strings.ToLower(strings.ReplaceAll(r.Code, "_", "-")) }

// ErrorRows is every code that a reply can have, in the order of the contract's enum.
func ErrorRows() []ErrorRow {
	var rows []ErrorRow
	for _, c := range backends.Codes() {
		p := problems[c]
		rows = append(rows, ErrorRow{c.String(), p.status, p.title, p.retryable, p.advice})
	}
	return rows
}

var errorsPage = template.Must(template.New("errors").Funcs(template.FuncMap{"code": markCode}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Errors</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; background: #fff }
h2 { margin: 2rem 0 0; font-size: 1.05rem } code { background: #eef1f5; padding: .1em .3em; border-radius: 3px }
p { margin: .3rem 0 } :target { background: #fff3c4 }
@media (prefers-color-scheme: dark) { body { color: #e4e8ee; background: #14181f } code { background: #262d38 } :target { background: #4a3f10 } }
</style></head><body>
<h1>Errors</h1>
<p>Every error is <code>application/problem+json</code> (RFC 9457). Act on <code>code</code>: it is stable. <a href="/docs">API reference</a></p>
{{range .}}<h2 id="{{.Anchor}}">{{.Code}}</h2>
<p>{{.Status}} · {{.Title}}{{if .Retryable}} · the same request may succeed later{{end}}</p>
<p>{{code .Advice}}</p>
{{end}}</body></html>
`))

// markCode turns `text` into code elements.
func markCode(text string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			out.WriteString("<code>" + template.HTMLEscapeString(part) + "</code>")
		} else {
			out.WriteString(template.HTMLEscapeString(part))
		}
	}
	return template.HTML(out.String())
}

// serveErrors serves GET /docs/errors, where the type of every problem leads.
func serveErrors(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	if err := errorsPage.Execute(&page, ErrorRows()); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	rawBody{"text/html; charset=utf-8", page.Bytes()}.write(w, http.StatusOK)
}
