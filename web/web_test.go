package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

type row struct {
	Code, Title, Advice string
	Status              int
	Retryable           bool
}

func (r row) Anchor() string { return strings.ToLower(r.Code) }

func TestDocs(t *testing.T) {
	docs, err := Docs("/openapi.json", []row{{Code: "ODD", Title: "An <odd> one", Advice: "Send `a<b>`, and wait.", Status: 499, Retryable: true}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/docs":                      {"/openapi.json", "/docs/swagger-ui-bundle.js"},
		"/docs/":                     {"/openapi.json"},
		"/docs/swagger-ui-bundle.js": {"SwaggerUIBundle"},
		"/docs/errors":               {`id="odd"`, "499", "An &lt;odd&gt; one", "<code>a&lt;b&gt;</code>", "may succeed later"},
	} {
		rec := httptest.NewRecorder()
		docs.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		for _, text := range want {
			if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), text) {
				t.Errorf("%s: %d, lacks %q", path, rec.Code, text)
			}
		}
		for _, elsewhere := range []string{"unpkg.com", "jsdelivr", "cdnjs", "fonts.googleapis"} {
			if path != "/docs/swagger-ui-bundle.js" && strings.Contains(rec.Body.String(), elsewhere) {
				t.Errorf("%s loads something from %s", path, elsewhere)
			}
		}
	}
	if _, err := Docs("/openapi.json", []string{"no row"}); err == nil {
		t.Error("rows without fields were taken")
	}
}
