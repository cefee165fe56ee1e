package handlers

import (
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzhttp"
)

// Codings of replies. A reply in one of them has an ETag of its own, with the suffix.
const (
	codingGzip     = "gzip"
	codingZstd     = "zstd"
	codingIdentity = "identity"
)

var tagSuffixes = []string{"-" + codingGzip, "-" + codingZstd}

// uncompressed is the operations whose replies are sent as they are. Those of a login and of consoles
// hold a secret: beside texts that somebody else can choose, its length under compression would tell
// it letter by letter (BREACH). Events come one at a time, and a compressor for each listener would
// take more memory than all else. Metrics are for the machine next door.
var uncompressed = map[string]bool{
	"createSession": true, "listVmConsoles": true, "streamEvents": true, "getPrometheusMetrics": true,
}

// newCompressor makes what compresses replies of more than a packet.
func newCompressor() (func(http.Handler) http.HandlerFunc, error) {
	return gzhttp.NewWrapper(gzhttp.SuffixETag("-" + codingGzip)) // it makes -zstd of it where that is meant
}

// compressed sends replies in the coding that the client likes best. gzhttp knows neither * nor that
// the client can like identity best, so it is told what to choose.
func (a *API) compressed(next http.Handler) http.Handler {
	next = a.compress(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			r.Header.Set("Accept-Encoding", coding(r.Header))
		}
		next.ServeHTTP(w, r)
	})
}

// coding is the one that Accept-Encoding likes best (RFC 9110, 12.5.3): of equal ones the smallest
// reply, but zstd only where it is named: who takes anything may be older than it. When
// nothing will do it is identity all the same, which is better than nothing.
func coding(header http.Header) string {
	best, most := codingIdentity, 0.0
	for _, name := range []string{codingZstd, codingGzip, codingIdentity} {
		weight, as := weightOf(header["Accept-Encoding"], name, "*")
		switch {
		case name == codingZstd && as != codingZstd:
			continue
		case as == "" && name == codingIdentity:
			weight = 0.0001 // not excluded, but less than what is named
		}
		if weight > most {
			best, most = name, weight
		}
	}
	return best
}

// linesType is the media type of a list that is streamed: one JSON value a line.
const linesType = "application/x-ndjson"

// wantsLines reports whether Accept likes lines better than one JSON document. They have to be named;
// then they are as good as a document that is only meant by a wildcard.
func wantsLines(header http.Header) bool {
	lines, named := weightOf(header["Accept"], linesType)
	document, as := weightOf(header["Accept"], jsonType, "application/*", "*/*")
	return named != "" && lines > 0 && (lines > document || lines == document && as != jsonType)
}

// weightOf is the weight that a list such as that of Accept gives to the first of the names that is on
// it, and which one that is; "" is none.
func weightOf(values []string, names ...string) (weight float64, name string) {
	for _, name := range names {
		for has, weight := range weights(values) {
			if has == name {
				return weight, name
			}
		}
	}
	return 0, ""
}

// weights is the members of a list with their weights (RFC 9110, 12.4.2), in lower case and without
// other parameters. A weight that is none is 0.
func weights(values []string) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for member := range strings.SplitSeq(strings.ToLower(strings.Join(values, ",")), ",") {
			name, parameters, _ := strings.Cut(member, ";")
			weight := 1.0
			for parameter := range strings.SplitSeq(parameters, ";") {
				if key, value, ok := strings.Cut(strings.TrimSpace(parameter), "="); ok && key == "q" {
					q, err := strconv.ParseFloat(value, 64)
					if weight = q; err != nil || !(q >= 0 && q <= 1) {
						weight = 0
					}
				}
			}
			if !yield(strings.TrimSpace(name), weight) {
				return
			}
		}
	}
}
