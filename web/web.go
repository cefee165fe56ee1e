package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/swaggest/swgui"
	swaggerui "github.com/swaggest/swgui/v5emb"
)

//go:embed errors.html
var pages embed.FS

// Docs serves the API reference at /docs, of the contract at contractURL, and below it
// /docs/errors, where the type of every problem leads. errors is a slice of rows with the fields
// Code, Status, Title, Retryable, Advice and the method Anchor.
func Docs(contractURL string, errors any) (http.Handler, error) {
	page, err := render("errors.html", errors)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	reference := swaggerui.NewWithConfig(swgui.Config{})("VM gateway", contractURL, "/docs/")
	mux.Handle("/docs", reference)
	mux.Handle("/docs/", reference)
	mux.HandleFunc("/docs/errors", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Write(page) // a client that has hung up is nobody's error
	})
	return mux, nil
}

func render(name string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"code": markCode}).ParseFS(pages, name)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = t.Execute(&page, data)
	return page.Bytes(), err
}

// markCode turns `text` into code elements.
func markCode(text string) template.HTML {
	var out strings.Builder
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			part = "<code>" + template.HTMLEscapeString(part) + "</code>"
		} else {
			part = template.HTMLEscapeString(part)
		}
		out.WriteString(part)
	}
	return template.HTML(out.String()) //nolint:gosec // escaped above
}
