package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, h http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func console(t *testing.T) http.Handler {
	t.Helper()
	h, err := Console()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConsoleServesItsPlacesAndFiles(t *testing.T) {
	h := console(t)
	for _, place := range []string{"/ui/", "/ui/vms", "/ui/vms/one.42", "/ui/vms/xen.0b2f7c1e-5b7c-4d21-9c1e-2f6b8a90d3c7", "/ui/no/such.place"} {
		rec := get(t, h, place, nil)
		if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `id="root"`) {
			t.Errorf("%s: %d, and not the index", place, rec.Code)
		}
		if cache := rec.Header().Get("Cache-Control"); cache != "no-cache" {
			t.Errorf("%s: Cache-Control %q: the index must be asked for each time", place, cache)
		}
	}
	assets := regexp.MustCompile(`"(/ui/assets/[^"]+)"`).FindAllStringSubmatch(get(t, h, "/ui/", nil).Body.String(), -1)
	if len(assets) < 2 {
		t.Fatalf("the index names %d assets, want a script and a style sheet at least", len(assets))
	}
	for _, asset := range assets {
		rec := get(t, h, asset[1], nil)
		if rec.Code != http.StatusOK || !strings.Contains(rec.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, Cache-Control %q", asset[1], rec.Code, rec.Header().Get("Cache-Control"))
		}
	}
	if rec := get(t, h, "/ui/assets/index-0ld.js", nil); rec.Code != http.StatusNotFound {
		t.Errorf("an asset of another release: %d, want 404", rec.Code)
	}
}

func TestConsoleIsNotSentTwice(t *testing.T) {
	h := console(t)
	etag := get(t, h, "/ui/", nil).Header().Get("ETag")
	rec := get(t, h, "/ui/vms", http.Header{"If-None-Match": {etag}})
	if etag == "" || rec.Code != http.StatusNotModified || rec.Body.Len() > 0 {
		t.Errorf("the index again, with its ETag %q: %d and %d bytes", etag, rec.Code, rec.Body.Len())
	}
}

func TestConsoleIsCompressed(t *testing.T) {
	h := console(t)
	plain := get(t, h, "/ui/", nil)
	for accept, want := range map[string]string{
		"":                     "",
		"identity":             "",
		"br":                   "",
		"gzip;q=0":             "",
		"br, gzip; q=0.000":    "",
		"gzip":                 "gzip",
		"br;q=1, GZIP;q=0.5":   "gzip",
		"gzip, deflate, br":    "gzip",
		"deflate, gzip;q=1.0 ": "gzip",
	} {
		rec := get(t, h, "/ui/", http.Header{"Accept-Encoding": {accept}})
		if got := rec.Header().Get("Content-Encoding"); got != want || rec.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: sent as %q, Vary %q", accept, got, rec.Header().Get("Vary"))
		}
		if want == "" {
			continue
		}
		if rec.Header().Get("ETag") == plain.Header().Get("ETag") {
			t.Error("both encodings have one ETag")
		}
		z, err := gzip.NewReader(rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(z); err != nil || string(text) != plain.Body.String() {
			t.Errorf("Accept-Encoding %q: what comes is not the index (%v)", accept, err)
		}
	}
}

// TestConsoleFitsItsPolicy: what the policy forbids would not run, and nobody would notice here.
func TestConsoleFitsItsPolicy(t *testing.T) {
	rec := get(t, console(t), "/ui/", nil)
	policy := rec.Header().Get("Content-Security-Policy")
	for _, loose := range []string{"unsafe", "*", "data:", "http"} {
		if strings.Contains(policy, loose) {
			t.Errorf("the policy allows %s: %s", loose, policy)
		}
	}
	page := rec.Body.String()
	if m := regexp.MustCompile(`<script(?:[^>]*)>[^<]`).FindString(page); m != "" {
		t.Errorf("a script within the page: %s", m)
	}
	if m := regexp.MustCompile(`\s(?:on\w+|style)="`).FindString(page); m != "" {
		t.Errorf("a handler or style within the page: %s", m)
	}
	if m := regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^"]*"`).FindString(page); m != "" {
		t.Errorf("something is loaded from elsewhere: %s", m)
	}
}
