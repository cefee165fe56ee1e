package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// The console as it was built from ui/: `make test` proves that these files are what the sources
// give, so that nobody needs Node to build the gateway.
//
//go:embed ui/dist
var built embed.FS

const (
	consolePrefix = "/ui/"
	consoleAssets = "assets/" // their names hold a hash of what they contain
	consoleIndex  = "index.html"
)

// consolePolicy lets the console load and call nothing but this gateway, and run no script that is
// not a file of its own.
const consolePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// page is one file of the console, ready to be sent.
type page struct {
	plain, zipped variant
	kind          string
	cache         string
}

// variant is a file in one encoding, each with an ETag of its own (RFC 9110, 8.8.3.3).
type variant struct {
	content []byte
	etag    string
}

// Console serves the web console below /ui/. A path there that is no file is a place inside of the
// console, whose own code knows what to show: it gets the index, except where a file was meant.
func Console() (http.Handler, error) {
	pages, err := consolePages()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, consolePrefix)
		p, ok := pages[name]
		if !ok && strings.HasPrefix(name, consoleAssets) {
			http.NotFound(w, r) // of another release: an index would be taken for the script
			return
		}
		if !ok {
			p = pages[consoleIndex]
		}
		h, v := w.Header(), p.plain
		if takesGzip(r.Header.Get("Accept-Encoding")) {
			v = p.zipped
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Vary", "Accept-Encoding")
		h.Set("Content-Type", p.kind)
		h.Set("Cache-Control", p.cache)
		h.Set("ETag", v.etag)
		h.Set("Content-Security-Policy", consolePolicy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(v.content))
	}), nil
}

// takesGzip reads Accept-Encoding (RFC 9110, 12.5.3), as far as browsers use it.
func takesGzip(accept string) bool {
	for coding := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") {
			return strings.Trim(strings.TrimPrefix(strings.ToLower(weight), "q="), "0.") != "" || weight == ""
		}
	}
	return false
}

// consolePages reads the files that were built, by their path below /ui/.
func consolePages() (map[string]page, error) {
	files, err := fs.Sub(built, "ui/dist")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]page)
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		zipped, err := zip(content)
		if err != nil {
			return err
		}
		p := page{plain: newVariant(content), zipped: newVariant(zipped), kind: mime.TypeByExtension(path.Ext(name)), cache: "no-cache"}
		if strings.HasPrefix(name, consoleAssets) {
			p.cache = "public, max-age=31536000, immutable"
		}
		pages[name] = p
		return nil
	})
	return pages, err
}

func newVariant(content []byte) variant {
	sum := sha256.Sum256(content)
	return variant{content: content, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

func zip(content []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
