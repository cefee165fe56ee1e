package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// reply is one value on its way out; a nil body sends none.
type reply struct {
	status int
	body   any // a rawBody, a stream, a *Problem, or another value that becomes JSON
	header http.Header
	tag    string // what its ETag is, when that is not the hash of its body; see [API.conditional]
}

// rawBody is a body that is encoded already.
type rawBody struct {
	contentType string
	text        []byte
}

// stream is a body that is written while it comes into being.
type stream func(w http.ResponseWriter, r *http.Request)

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// encoded is the body of a reply that is no stream.
func (rep reply) encoded() (rawBody, error) {
	contentType := jsonType
	switch body := rep.body.(type) {
	case rawBody:
		return body, nil
	case *Problem:
		contentType = problemType
	}
	text, err := encodeJSON(rep.body)
	return rawBody{contentType, text}, err
}

// write sends the reply. It encodes before it writes the status, so that a value which cannot be
// encoded is an error and not half a reply.
func (rep reply) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range rep.header {
		h[name] = append(h[name], values...)
	}
	goesOn, isStream := rep.body.(stream)
	switch {
	case rep.body == nil, isStream && r.Method == http.MethodHead:
		w.WriteHeader(rep.status)
		return
	case isStream:
		goesOn(w, r)
		return
	}
	body, err := rep.encoded()
	if err != nil {
		rep.status, body = http.StatusInternalServerError, rawBody{problemType, []byte(unencodable)}
	}
	if wantsPretty(r) {
		body = body.pretty()
	}
	h.Set("Content-Type", body.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body.text)))
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(rep.status)
	w.Write(body.text) // a client that has hung up is nobody's error
}

// wantsPretty reports whether a request asks for JSON that people can read.
func wantsPretty(r *http.Request) bool {
	return r.URL.RawQuery != "" && r.URL.Query().Get("pretty") == "true"
}

// pretty breaks JSON into lines; what is no JSON stays as it is.
func (b rawBody) pretty() rawBody {
	var text bytes.Buffer
	if json.Indent(&text, b.text, "", "  ") != nil {
		return b
	}
	return rawBody{b.contentType, text.Bytes()}
}

// unencodable is the problem of a value that JSON cannot hold.
const unencodable = `{"type":"about:blank","title":"Fault of the gateway","status":500,"code":"INTERNAL","retryable":false,"requestId":""}`

func encodeJSON(value any) ([]byte, error) {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return []byte(buf.String()), nil
}
