package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"

	"vmgateway/internal/auth"
	"vmgateway/internal/backends"
)

func loadContract(text []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("the contract cannot be read: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the contract is not valid: %w", err)
	}
	return doc, nil
}

// operation is one operation of the contract, with what a request needs of it at hand.
type operation struct {
	route      *routers.Route
	query      map[string]*openapi3.Parameter
	headers    map[string]bool // names of the header parameters
	token      tokenNeed
	mediaTypes []string // of the request's body; empty when there is none
}

// tokenNeed is whether an operation wants a token.
type tokenNeed int

const (
	tokenRequired tokenNeed = iota
	tokenOptional
	tokenIgnored
)

func (a *API) newOperation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) *operation {
	o := &operation{
		route:   &routers.Route{Spec: a.doc, Path: path, PathItem: item, Method: method, Operation: op},
		query:   make(map[string]*openapi3.Parameter),
		headers: make(map[string]bool),
		token:   needOf(a.doc.Security, op.Security),
	}
	for _, p := range append(slices.Clone(item.Parameters), op.Parameters...) {
		switch p.Value.In {
		case openapi3.ParameterInQuery:
			o.query[p.Value.Name] = p.Value
		case openapi3.ParameterInHeader:
			o.headers[p.Value.Name] = true
		}
	}
	if op.RequestBody != nil {
		for mediaType := range op.RequestBody.Value.Content {
			o.mediaTypes = append(o.mediaTypes, mediaType)
		}
		sort.Strings(o.mediaTypes)
	}
	return o
}

// takes reports whether the operation has a header parameter.
func (o *operation) takes(header string) bool { return o.headers[header] }

// changes reports whether the operation may change something at a backend: not what only the
// gateway's own sessions are about.
func (o *operation) changes() bool {
	return o.route.Method != http.MethodGet && !strings.HasPrefix(o.route.Path, "/sessions")
}

func needOf(global openapi3.SecurityRequirements, own *openapi3.SecurityRequirements) tokenNeed {
	requirements := global
	if own != nil {
		requirements = *own
	}
	switch {
	case len(requirements) == 0:
		return tokenIgnored
	case slices.ContainsFunc(requirements, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 }):
		return tokenOptional
	}
	return tokenRequired
}

// serve takes a request through session and contract to its handler.
func (a *API) serve(o *operation, next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		noteRoute(r, o.route.Path)
		r.Body = http.MaxBytesReader(w, r.Body, a.cfg.MaxBody)
		r, err := a.authenticate(r, o.token)
		if err == nil {
			err = o.check(r)
		}
		var answer reply
		if err == nil {
			answer, err = next(r)
		}
		if err != nil {
			a.backendEnded(r, err)
			a.fail(w, r, err)
			return
		}
		answer.write(w, r)
	}
}

// backendEnded forgets a login that a backend has just said to be over.
func (a *API) backendEnded(r *http.Request, err error) {
	if e := backends.AsError(err); e.Code == backends.BackendSessionEnded && e.Fault != nil {
		a.forgetLogin(r, e.Fault.ID)
	}
}

// forgetLogin forgets the session's login at a backend that has ended it, so that the next one is a new one.
func (a *API) forgetLogin(r *http.Request, backend string) {
	session := auth.From(r.Context())
	if session == nil {
		return
	}
	if err := a.sessions.BackendEnded(r.Context(), session, backend); err != nil {
		a.logFor(r).Error("a login that its backend ended cannot be forgotten", errorField(err))
	}
}

// check holds a request against its operation: parameters, and the body.
func (o *operation) check(r *http.Request) error {
	query := r.URL.Query()
	if err := o.checkOnce(query, r.Header); err != nil {
		return err
	}
	if err := o.checkMediaType(r); err != nil {
		return err
	}
	if err := checkText(r); err != nil {
		return err
	}
	err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request:     r,
		PathParams:  pathParams(r),
		QueryParams: query,
		Route:       o.route,
		Options: &openapi3filter.Options{
			MultiError:                        true,
			SkipSettingDefaults:               true,
			RejectWhenRequestBodyNotSpecified: true,
			AuthenticationFunc:                openapi3filter.NoopAuthenticationFunc, // the session's room
		},
	})
	return contractError(err)
}

// checkOnce settles what kin-openapi lets pass: parameters that there are not, that are given more
// than once, and booleans in another spelling than the one that handlers compare with.
func (o *operation) checkOnce(query url.Values, header http.Header) error {
	var wrong []backends.FieldError
	for name, values := range query {
		p, known := o.query[name]
		switch {
		case !known:
			wrong = append(wrong, backends.FieldError{Parameter: clip(name), Detail: "there is no such parameter here"})
		case len(values) > 1:
			wrong = append(wrong, backends.FieldError{Parameter: name, Detail: "given more than once"})
		case p.Schema.Value.Type.Is("boolean") && values[0] != "true" && values[0] != "false":
			wrong = append(wrong, backends.FieldError{Parameter: name, Detail: "expected true or false"})
		}
	}
	for name := range o.headers {
		if !listHeaders[name] && len(header.Values(name)) > 1 {
			wrong = append(wrong, backends.FieldError{Parameter: name, Detail: "given more than once"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	sort.Slice(wrong, func(i, j int) bool { return wrong[i].Parameter < wrong[j].Parameter })
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: "The parameter " + wrong[0].Parameter + " is not valid: " + wrong[0].Detail + ".",
		Fields: wrong,
	}
}

// listHeaders are those parameters that may be given in several lines.
var listHeaders = map[string]bool{"Prefer": true, "If-Match": true, "If-None-Match": true, "Cache-Control": true}

func pathParams(r *http.Request) map[string]string {
	params := chi.RouteContext(r.Context()).URLParams
	m := make(map[string]string, len(params.Keys))
	for i, key := range params.Keys {
		m[key] = params.Values[i]
	}
	return m
}

func (o *operation) checkMediaType(r *http.Request) error {
	if len(o.mediaTypes) == 0 || r.ContentLength == 0 {
		return nil
	}
	given := r.Header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(given)
	if err == nil && slices.Contains(o.mediaTypes, mediaType) {
		return nil
	}
	return &backends.Error{
		Code:   backends.UnsupportedMediaType,
		Detail: fmt.Sprintf("The body has the type %q: send Content-Type: %s.", clip(given), o.mediaTypes[0]),
	}
}

// checkText reads the body once, whole and bounded, and settles what kin-openapi's decoder lets
// pass: text behind the value, members given twice, and bytes that are not UTF-8.
func checkText(r *http.Request) error {
	if r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &backends.Error{Code: backends.PayloadTooLarge, Detail: fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit)}
		}
		return &backends.Error{Code: backends.InvalidArgument, Detail: "The body could not be read to its end.", Err: err}
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	r.ContentLength = int64(len(text))
	if len(text) == 0 {
		return nil
	}
	return checkJSON(text)
}

// contractError words what kin-openapi found.
func contractError(err error) error {
	if err == nil {
		return nil
	}
	if inPath(err) {
		return &backends.Error{Code: backends.NotFound, Detail: "There is no such object: the id in the path is of no form that an id has."}
	}
	var fields []backends.FieldError
	collect(err, &fields)
	if len(fields) == 0 {
		fields = []backends.FieldError{{Detail: "does not match the contract"}}
	}
	first := fields[0]
	where := first.Pointer
	if first.Parameter != "" {
		where = "parameter " + first.Parameter
	}
	if where == "" {
		where = "body"
	}
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: fmt.Sprintf("The request is not valid: %s: %s.", where, first.Detail),
		Fields: fields,
		Err:    errors.New("refused by the contract"), // kin-openapi's text quotes the body, and so passwords
	}
}

// inPath reports whether a path parameter is wrong: then there is nothing at that path.
func inPath(err error) bool {
	if many, ok := err.(openapi3.MultiError); ok {
		return slices.ContainsFunc(many, inPath)
	}
	request, ok := err.(*openapi3filter.RequestError)
	return ok && request.Parameter != nil && request.Parameter.In == openapi3.ParameterInPath
}

func collect(err error, fields *[]backends.FieldError) {
	const most = 20
	if len(*fields) >= most {
		return
	}
	if many, ok := err.(openapi3.MultiError); ok {
		for _, one := range many {
			collect(one, fields)
		}
		return
	}
	request, ok := err.(*openapi3filter.RequestError)
	if !ok {
		if schema, ok := errors.AsType[*openapi3.SchemaError](err); ok {
			*fields = append(*fields, schemaField("", schema))
			return
		}
		*fields = append(*fields, backends.FieldError{Detail: "does not match the contract"})
		return
	}
	parameter := ""
	if request.Parameter != nil {
		parameter = request.Parameter.Name
	}
	before := len(*fields)
	collectSchema(request.Err, parameter, fields)
	if len(*fields) > before {
		return
	}
	f := backends.FieldError{Parameter: parameter, Detail: "is not valid"}
	switch {
	case errors.Is(request.Err, openapi3filter.ErrInvalidRequired):
		f.Detail = "is required"
	case errors.Is(request.Err, openapi3filter.ErrInvalidEmptyValue):
		f.Detail = "must not be empty"
	case request.RequestBody == nil && parameter == "":
		f.Detail = "this call takes no body"
	default:
		if parse, ok := errors.AsType[*openapi3filter.ParseError](request.Err); ok && parse.Reason != "" && parameter != "" {
			f.Detail = parse.Reason
		}
	}
	*fields = append(*fields, f)
}

func collectSchema(err error, parameter string, fields *[]backends.FieldError) {
	switch e := err.(type) {
	case openapi3.MultiError:
		for _, one := range e {
			collectSchema(one, parameter, fields)
		}
	case *openapi3.SchemaError:
		*fields = append(*fields, schemaField(parameter, e))
	}
}

func schemaField(parameter string, e *openapi3.SchemaError) backends.FieldError {
	f := backends.FieldError{Parameter: parameter, Detail: schemaDetail(e)}
	if parameter == "" {
		path := e.JSONPointer()
		if m := unknownMember.FindStringSubmatch(e.Reason); m != nil {
			if name, err := strconv.Unquote(m[1]); err == nil {
				path = append(slices.Clone(path), name)
			}
		}
		f.Pointer = pointerOf(path)
	}
	return f
}

// unknownMember finds the name in kin-openapi's words, which point at the object around it.
var unknownMember = regexp.MustCompile(`^property (".*") is unsupported$`)

// schemaDetail says what was expected, without repeating the value: it may be a password.
func schemaDetail(e *openapi3.SchemaError) string {
	s := e.Schema
	switch e.SchemaField {
	case "enum":
		var values []string
		for _, v := range s.Enum {
			values = append(values, fmt.Sprint(v))
		}
		return "expected one of " + strings.Join(values, ", ")
	case "type":
		if s.Type != nil {
			return "expected " + strings.Join(s.Type.Slice(), " or ")
		}
	case "pattern":
		return "does not match the pattern " + s.Pattern
	case "format":
		return "is not of the format " + s.Format
	case "minLength":
		return fmt.Sprintf("must have at least %d characters", s.MinLength)
	case "maxLength":
		if s.MaxLength != nil {
			return fmt.Sprintf("must have at most %d characters", *s.MaxLength)
		}
	case "minimum":
		if s.Min != nil {
			return fmt.Sprintf("must be at least %v", *s.Min)
		}
	case "maximum":
		if s.Max != nil {
			return fmt.Sprintf("must be at most %v", *s.Max)
		}
	case "required":
		return "is required"
	case "properties", "additionalProperties":
		return "there is no such member here"
	case "nullable":
		return "must not be null"
	}
	return "does not match the contract (" + e.SchemaField + ")"
}

// decode reads a body that the contract has accepted; an absent body leaves v as it is.
func decode(r *http.Request, v any) error {
	text, err := io.ReadAll(r.Body)
	if err != nil || len(text) == 0 {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		// The contract lets a few things pass that Go's types do not hold, such as 1e400.
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return backends.Invalid(backends.Pointer(t.Field), "does not fit the type "+t.Type.String())
		}
		return &backends.Error{Code: backends.InvalidArgument, Detail: "The body is not valid: " + err.Error() + "."}
	}
	return nil
}
