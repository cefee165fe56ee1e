package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"vmgateway/internal/backends"
)

// maxDepth bounds the nesting of a request's body.
const maxDepth = 32

// checkJSON refuses what readers of JSON disagree about (RFC 7493): bytes that are not UTF-8,
// members given twice, text behind the value; and nesting without end.
func checkJSON(text []byte) error {
	if !utf8.Valid(text) {
		return &backends.Error{Code: backends.InvalidArgument, Detail: "The body is not UTF-8."}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := checkValue(dec, nil); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &backends.Error{Code: backends.InvalidArgument, Detail: fmt.Sprintf("The body has something behind its JSON value, at byte %d.", dec.InputOffset())}
	}
	return nil
}

func checkValue(dec *json.Decoder, path []string) error {
	if len(path) > maxDepth {
		return backends.Invalid(pointerOf(path[:4])+"/…", fmt.Sprintf("is nested deeper than %d levels", maxDepth))
	}
	token, err := dec.Token()
	if err != nil {
		return syntaxError(dec, err)
	}
	switch token {
	case json.Delim('['):
		for i := 0; dec.More(); i++ {
			if err := checkValue(dec, append(path, fmt.Sprint(i))); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := make(map[string]bool)
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return syntaxError(dec, err)
			}
			key, _ := name.(string)
			if seen[key] {
				return backends.Invalid(pointerOf(append(path, key)), "given more than once")
			}
			seen[key] = true
			if err := checkValue(dec, append(path, key)); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return syntaxError(dec, err)
	}
	return nil
}

func syntaxError(dec *json.Decoder, err error) error {
	what := "the text ends too early"
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		what = s.Error()
	}
	return &backends.Error{Code: backends.InvalidArgument, Detail: fmt.Sprintf("The body is not JSON: %s, at byte %d.", what, dec.InputOffset())}
}

// pointerOf makes an RFC 6901 pointer of member names.
func pointerOf(path []string) string {
	var p strings.Builder
	for _, name := range path {
		p.WriteByte('/')
		p.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(clip(name)))
	}
	return p.String()
}
