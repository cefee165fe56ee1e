package vmgateway_test

import (
	"fmt"
	"maps"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"vmgateway"
	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestContractIsValid(t *testing.T) {
	err := load(t).Validate(t.Context(),
		openapi3.EnableExamplesValidation(),
		openapi3.EnableSchemaFormatValidation(),
		openapi3.EnableSchemaPatternValidation(),
		openapi3.EnableSchemaDefaultsValidation())
	if err != nil {
		t.Fatal(err)
	}
}

// operation is one operation of the contract, and where it stands.
type operation struct {
	*openapi3.Operation
	path, method string
}

func (o operation) String() string { return o.method + " " + o.path }

func operations(doc *openapi3.T) []operation {
	var all []operation
	for _, p := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Value(p)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			all = append(all, operation{item.Operations()[method], p, method})
		}
	}
	return all
}

func TestEveryOperationIsDescribed(t *testing.T) {
	doc := load(t)
	tags := make(map[string]bool)
	for _, tag := range doc.Tags {
		tags[tag.Name] = false
		if tag.Description == "" {
			t.Errorf("the tag %s has no description", tag.Name)
		}
	}
	seen := make(map[string]string)
	for _, op := range operations(doc) {
		if other, twice := seen[op.OperationID]; twice || op.OperationID == "" {
			t.Errorf("%s: the operationId %q is missing, or that of %s", op, op.OperationID, other)
		}
		seen[op.OperationID] = op.String()
		if op.Summary == "" || op.Description == "" {
			t.Errorf("%s lacks a summary or a description", op)
		}
		if len(op.Tags) != 1 {
			t.Errorf("%s has the tags %v, want one", op, op.Tags)
			continue
		}
		if _, ok := tags[op.Tags[0]]; !ok {
			t.Errorf("%s has the tag %q, which is not declared", op, op.Tags[0])
		}
		tags[op.Tags[0]] = true
	}
	for tag, used := range tags {
		if !used {
			t.Errorf("no operation has the tag %s", tag)
		}
	}
}

func TestEveryAnswerIsDescribed(t *testing.T) {
	doc := load(t)
	for _, op := range operations(doc) {
		for status, ref := range op.Responses.Map() {
			where := fmt.Sprintf("%s, %s", op, status)
			code, err := strconv.Atoi(status)
			if err != nil {
				t.Errorf("%s: want a status", where)
				continue
			}
			if ref.Value.Headers["X-Request-Id"] == nil {
				t.Errorf("%s lacks the header X-Request-Id", where)
			}
			if (len(ref.Value.Content) == 0) != (code == http.StatusNoContent || code == http.StatusNotModified) {
				t.Errorf("%s: want a body, except with 204 and 304", where)
			}
			for mediaType, content := range ref.Value.Content {
				if len(examplesOf(content)) == 0 {
					t.Errorf("%s: %s has no example", where, mediaType)
				}
			}
			unready := op.OperationID == "getReadiness" && code == http.StatusServiceUnavailable
			if code >= 400 && !unready {
				checkProblem(t, where, code, ref.Value)
			}
		}
	}
}

// checkProblem holds an error response against what every error is.
func checkProblem(t *testing.T, where string, status int, r *openapi3.Response) {
	t.Helper()
	content := r.Content["application/problem+json"]
	if content == nil || len(r.Content) != 1 || nameOf(content.Schema) != "Problem" {
		t.Errorf("%s: want application/problem+json with a Problem, and nothing else", where)
		return
	}
	for _, example := range examplesOf(content) {
		problem, _ := example.(map[string]any)
		if got := fmt.Sprint(problem["status"]); got != strconv.Itoa(status) {
			t.Errorf("%s: an example has the status %s", where, got)
		}
	}
}

func examplesOf(m *openapi3.MediaType) []any {
	var all []any
	if m.Example != nil {
		all = append(all, m.Example)
	}
	for _, example := range m.Examples {
		all = append(all, example.Value.Value)
	}
	return all
}

func TestEveryRequestIsClosed(t *testing.T) {
	doc := load(t)
	for _, op := range operations(doc) {
		parameters := append(slices.Clone(doc.Paths.Value(op.path).Parameters), op.Parameters...)
		for _, p := range parameters {
			where := fmt.Sprintf("%s, parameter %s", op, p.Value.Name)
			if p.Value.Description == "" {
				t.Errorf("%s has no description", where)
			}
			// What is not an id is not found, and that is the handler's to say.
			if p.Value.In == openapi3.ParameterInPath && (p.Value.Schema.Value.Pattern != "" || p.Value.Schema.Value.MaxLength == nil) {
				t.Errorf("%s: want a length and no pattern", where)
			}
		}
		if op.RequestBody == nil {
			continue
		}
		for mediaType, content := range op.RequestBody.Value.Content {
			if len(examplesOf(content)) == 0 {
				t.Errorf("%s: the body as %s has no example", op, mediaType)
			}
			walk(content.Schema, op.String(), func(where string, s *openapi3.SchemaRef) {
				extra := s.Value.AdditionalProperties
				if s.Value.Type.Is("object") && extra.Schema == nil && (extra.Has == nil || *extra.Has) {
					t.Errorf("%s lets unknown members pass", where)
				}
			})
			required := len(content.Schema.Value.Required) > 0 || op.method != http.MethodPost
			if op.RequestBody.Value.Required != required {
				t.Errorf("%s: the body is required: %t, want %t", op, op.RequestBody.Value.Required, required)
			}
		}
	}
}

// walk visits a schema and all that is below it.
func walk(s *openapi3.SchemaRef, where string, visit func(where string, s *openapi3.SchemaRef)) {
	if s == nil {
		return
	}
	visit(where, s)
	for name, property := range s.Value.Properties {
		walk(property, where+"."+name, visit)
	}
	walk(s.Value.Items, where+"[]", visit)
	walk(s.Value.AdditionalProperties.Schema, where+"{}", visit)
}

func TestSchemasSuitGenerators(t *testing.T) {
	for name, schema := range load(t).Components.Schemas {
		if schema.Value.Description == "" {
			t.Errorf("%s has no description", name)
		}
		walk(schema, name, func(where string, s *openapi3.SchemaRef) {
			v := s.Value
			switch {
			case where == "VMLine": // two kinds of lines in one stream
			case len(v.OneOf)+len(v.AnyOf)+len(v.AllOf) > 0 || v.Not != nil:
				t.Errorf("%s: a plain schema would do", where)
			case v.Type == nil && where != "Argument" && nameOf(s) != "Argument": // that is any value
				t.Errorf("%s has no type", where)
			case v.Nullable && !strings.HasPrefix(name, "Update"):
				t.Errorf("%s is nullable: only a patch removes", where)
			case len(v.Enum) > 0 && s.Ref == "" && where != name:
				t.Errorf("%s is an enum without a name", where)
			case v.Description == "" && strings.Contains(where, ".") && !strings.HasSuffix(where, "]") && !strings.HasSuffix(where, "}"):
				t.Errorf("%s has no description", where)
			}
		})
	}
}

func TestEnums(t *testing.T) {
	text := func(list any) []string {
		var all []string
		for _, v := range reflect.ValueOf(list).Seq2() {
			all = append(all, fmt.Sprint(v.Interface()))
		}
		return all
	}
	var verbs []backends.Verb
	for _, spec := range backends.Verbs {
		verbs = append(verbs, spec.Verb)
	}
	verbs = append(verbs, backends.VerbDelete, backends.VerbSaveDisk, backends.VerbInstantiate)

	doc := load(t)
	for name, want := range map[string][]string{
		"Code":      text(backends.Codes()),
		"State":     text(backends.States),
		"Verb":      text(verbs),
		"View":      text([]backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull, backends.ViewNative}),
		"Kind":      text([]backends.Kind{backends.OpenNebula, backends.XenAPI}),
		"EventType": append(text(feed.Types()), "resync"),
		"OperationState": text([]backends.OperationState{
			backends.OperationRunning, backends.OperationSucceeded, backends.OperationFailed,
			backends.OperationCancelled, backends.OperationUnknown,
		}),
	} {
		if got := text(doc.Components.Schemas[name].Value.Enum); !slices.Equal(got, want) {
			t.Errorf("%s is\n%q, want\n%q", name, got, want)
		}
	}
	for name, table := range map[string]string{
		"Code":      doc.Components.Schemas["Code"].Value.Description,
		"State":     doc.Components.Schemas["State"].Value.Description,
		"EventType": doc.Paths.Value("/events").Get.Description,
	} {
		for _, value := range text(doc.Components.Schemas[name].Value.Enum) {
			if !strings.Contains(table, "| "+value+" |") {
				t.Errorf("the table of %s lacks %s", name, value)
			}
		}
	}
}

func TestVerbs(t *testing.T) {
	doc := load(t)
	answers := map[backends.Answer]struct {
		statuses []string
		schema   string
	}{
		backends.AnswersOperation: {[]string{"200", "202"}, "Operation"},
		backends.AnswersVM:        {[]string{"200"}, "VM"},
		backends.AnswersCheck:     {[]string{"200"}, "Check"},
	}
	custom := map[string]bool{ // calls with a colon that are no verbs of VMs
		"/vms/{vm}/disks:allowedDevices":    true,
		"/vms/{vm}/nics:allowedDevices":     true,
		"/vms/{vm}/disks/{disk}:save":       true,
		"/templates/{template}:instantiate": true,
		"/operations/{operation}:cancel":    true,
	}
	for _, spec := range backends.Verbs {
		verb := string(spec.Verb)
		p := "/vms/{vm}:" + verb
		custom[p] = true
		item := doc.Paths.Value(p)
		if item == nil || item.Post == nil || len(item.Operations()) != 1 {
			t.Errorf("%s: want a POST, and nothing else", p)
			continue
		}
		if want := "vm" + strings.ToUpper(verb[:1]) + verb[1:]; item.Post.OperationID != want {
			t.Errorf("%s has the operationId %s, want %s", p, item.Post.OperationID, want)
		}
		if item.Post.RequestBody == nil {
			t.Errorf("%s has no body", p)
		}
		want := answers[spec.Answers]
		var statuses []string
		for status, r := range item.Post.Responses.Map() {
			if !strings.HasPrefix(status, "2") {
				continue
			}
			statuses = append(statuses, status)
			if got := nameOf(r.Value.Content["application/json"].Schema); got != want.schema {
				t.Errorf("%s answers %s with %s, want %s", p, status, got, want.schema)
			}
			if want.schema == "Operation" && r.Value.Headers["Location"] == nil {
				t.Errorf("%s does not say with %s where the operation is", p, status)
			}
		}
		if slices.Sort(statuses); !slices.Equal(statuses, want.statuses) {
			t.Errorf("%s answers %v, want %v", p, statuses, want.statuses)
		}
	}
	for p := range doc.Paths.Map() {
		if strings.Contains(p, ":") && !custom[p] {
			t.Errorf("%s is no row of backends.Verbs", p)
		}
	}
}

// What makes a call wait, conditional, repeatable or dry stands on the operations that heed it, with
// the answers that only such a call gets, and on no other: an unknown parameter is refused.
func TestParametersStandWhereTheyBelong(t *testing.T) {
	changes := func(op operation) bool {
		return op.method != http.MethodGet && !strings.HasPrefix(op.path, "/sessions")
	}
	cancels := func(op operation) bool { return op.OperationID == "cancelOperation" }
	asks := func(op operation) bool { return strings.Contains(op.path, "{vm}:check") }
	events := func(op operation) bool { return op.OperationID == "streamEvents" }
	reads := func(op operation) bool {
		return op.method == http.MethodGet && slices.Contains([]string{"vms", "devices", "infrastructure"}, op.Tags[0])
	}

	doc := load(t)
	for _, row := range []struct {
		parameter, component string // the component is "" for one that stands in its place
		belongs              func(operation) bool
		answers              func(operation) bool // what an operation must answer that has it
		shared               bool                 // others may answer so too
	}{
		{"Prefer", "PreferHeader", func(op operation) bool {
			return op.Responses.Value("202") != nil && !cancels(op)
		}, func(op operation) bool {
			return op.Responses.Value("200") != nil && op.Responses.Value("202") != nil && answersWith(op, "Preference-Applied")
		}, false},
		{"Idempotency-Key", "IdempotencyKeyHeader", func(op operation) bool {
			return changes(op) && op.method == http.MethodPost
		}, func(op operation) bool {
			conflict := op.Responses.Value("409")
			return conflict != nil && conflict.Value.Headers["Retry-After"] != nil && op.Responses.Value("422") != nil &&
				answersWith(op, "Idempotency-Replayed")
		}, true},
		{"If-Match", "IfMatchHeader", func(op operation) bool {
			return changes(op) && strings.HasPrefix(op.path, "/vms/{vm}")
		}, func(op operation) bool { return op.Responses.Value("412") != nil }, false},
		{"If-None-Match", "IfNoneMatchHeader", reads, func(op operation) bool {
			return op.Responses.Value("304") != nil && answersWith(op, "ETag") && answersWith(op, "Vary")
		}, false},
		{"Cache-Control", "CacheControlHeader", func(op operation) bool {
			return op.OperationID == "listVms" || op.OperationID == "getVm"
		}, func(op operation) bool {
			ok := op.Responses.Value("200")
			return ok != nil && ok.Value.Headers["Age"] != nil
		}, false},
		{"validateOnly", "ValidateOnlyQuery", func(op operation) bool {
			return changes(op) && !cancels(op) && !asks(op)
		}, plans, false},
		{"waitSeconds", "", func(op operation) bool { return op.OperationID == "getOperation" }, nil, false},
		{"type", "", events, nil, false},
		{"cursor", "", events, nil, false},
		{"Last-Event-ID", "", events, nil, false},
	} {
		for _, op := range operations(doc) {
			i := slices.IndexFunc(op.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == row.parameter })
			want := row.belongs(op)
			switch {
			case (i >= 0) != want:
				t.Errorf("%s has %s: %t, want %t", op, row.parameter, i >= 0, want)
			case row.answers != nil && row.answers(op) != want && (want || !row.shared):
				t.Errorf("%s has %s: %t, and its answers say %t", op, row.parameter, want, !want)
			case want && (op.Parameters[i].Value.Required || row.component != "" && path.Base(op.Parameters[i].Ref) != row.component):
				t.Errorf("%s: want %s as the optional component %q", op, row.parameter, row.component)
			}
		}
	}
}

// answersWith reports whether every success that tells what was done has the header.
func answersWith(op operation, header string) bool {
	for status, r := range op.Responses.Map() {
		if strings.HasPrefix(status, "2") && r.Value.Content["application/json"] != nil && r.Value.Headers[header] == nil {
			return false
		}
	}
	return true
}

// plans reports whether op can answer a Plan, with 200 and in its own media type.
func plans(op operation) bool {
	for status, r := range op.Responses.Map() {
		if content := r.Value.Content["application/vnd.vmgateway.plan+json"]; content != nil {
			return status == "200" && nameOf(content.Schema) == "Plan"
		}
	}
	return false
}

// The table at GET /events says which members come with each type: all that Event has, and no other.
func TestEventTable(t *testing.T) {
	doc := load(t)
	event := doc.Components.Schemas["Event"].Value
	left := maps.Clone(event.Properties)
	delete(left, "type")
	delete(left, "time")
	rows := regexp.MustCompile(`(?m)^\| ([a-z.]+) \|.*\|(.*)\|$`).FindAllStringSubmatch(doc.Paths.Value("/events").Get.Description, -1)
	for _, row := range rows {
		for _, member := range regexp.MustCompile("`([a-zA-Z]+)`").FindAllStringSubmatch(row[2], -1) {
			if event.Properties[member[1]] == nil {
				t.Errorf("%s comes with %s, which Event does not have", row[1], member[1])
			}
			delete(left, member[1])
		}
	}
	for member := range left {
		t.Errorf("no type comes with %s", member)
	}
}

// nameOf is the name of the component that a schema refers to; "" for one that stands in its place.
func nameOf(s *openapi3.SchemaRef) string {
	if s == nil || s.Ref == "" {
		return ""
	}
	return path.Base(s.Ref)
}

// answered is every type that goes out. What they hold is found by itself.
var answered = []any{
	backends.VM{}, backends.Operation{}, backends.Check{}, backends.Plan{}, backends.Fault{}, backends.FieldError{}, backends.Release{},
	backends.Host{}, backends.Template{}, backends.Image{}, backends.Storage{}, backends.Network{},
	backends.Disk{}, backends.NIC{}, backends.Console{}, backends.Metrics{}, backends.GuestMetrics{},
	backends.CrashDump{}, backends.TPM{},
}

// addedAtTheEdge is the members that an answer has beyond its Go type.
var addedAtTheEdge = map[string]map[string]string{"Operation": {"error": "Problem"}}

func TestSchemasAreTheGoTypes(t *testing.T) {
	doc := load(t)
	done := make(map[reflect.Type]bool)
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		if done[typ] {
			return
		}
		done[typ] = true
		name := typ.Name()
		ref := doc.Components.Schemas[name]
		if ref == nil {
			t.Errorf("there is no schema %s", name)
			return
		}
		members := membersOf(typ)
		for member, f := range members {
			property := ref.Value.Properties[member]
			if property == nil {
				t.Errorf("%s lacks %s", name, member)
				continue
			}
			if err := fits(f.typ, property); err != nil {
				t.Errorf("%s.%s: %v", name, member, err)
			}
			if required := slices.Contains(ref.Value.Required, member); required != f.always {
				t.Errorf("%s.%s is required: %t, want %t", name, member, required, f.always)
			}
			if inner := innermost(f.typ); isModel(inner) {
				check(inner)
			}
		}
		for member, property := range ref.Value.Properties {
			if want, ok := addedAtTheEdge[name][member]; ok {
				if nameOf(property) != want {
					t.Errorf("%s.%s is a %q, want %s", name, member, nameOf(property), want)
				}
			} else if _, ok := members[member]; !ok {
				t.Errorf("%s has %s, and the Go type has not", name, member)
			}
		}
	}
	for _, v := range answered {
		check(reflect.TypeOf(v))
	}
}

type goMember struct {
	typ    reflect.Type
	always bool // in every JSON of its struct
}

// membersOf is the JSON members of a struct.
func membersOf(t reflect.Type) map[string]goMember {
	members := make(map[string]goMember)
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "-" {
			members[name] = goMember{f.Type, !strings.Contains(options, "omit")}
		}
	}
	return members
}

func innermost(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// isModel reports whether t is a struct of our own with members, so no ID and no time.
func isModel(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[backends.ID]() && t != reflect.TypeFor[time.Time]()
}

// fits compares a Go type with the schema that promises its JSON.
func fits(t reflect.Type, s *openapi3.SchemaRef) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	want := func(typ, format, name string) error {
		got := s.Value
		if !got.Type.Is(typ) || format != "" && got.Format != format || name != "" && nameOf(s) != name {
			return fmt.Errorf("is %v %s %s, want %s %s %s", got.Type.Slice(), got.Format, nameOf(s), typ, format, name)
		}
		return nil
	}
	switch {
	case t == reflect.TypeFor[backends.ID]():
		return want("string", "", "ID")
	case t == reflect.TypeFor[time.Time]():
		return want("string", "date-time", "")
	case t.Kind() == reflect.String && t.Name() != "string":
		return want("string", "", t.Name())
	}
	switch t.Kind() {
	case reflect.String:
		return want("string", "", "")
	case reflect.Bool:
		return want("boolean", "", "")
	case reflect.Int:
		return want("integer", "int32", "")
	case reflect.Int64:
		return want("integer", "int64", "")
	case reflect.Float64:
		return want("number", "double", "")
	case reflect.Interface:
		if nameOf(s) == "Argument" {
			return nil
		}
		return want("object", "", "Native")
	case reflect.Struct:
		return want("object", "", t.Name())
	case reflect.Slice:
		if s.Value.Items == nil {
			return fmt.Errorf("is no list of %s", t.Elem())
		}
		return fits(t.Elem(), s.Value.Items)
	case reflect.Map:
		if s.Value.AdditionalProperties.Schema == nil {
			return fmt.Errorf("is no map of %s", t.Elem())
		}
		return fits(t.Elem(), s.Value.AdditionalProperties.Schema)
	}
	return fmt.Errorf("nothing is known of %s", t)
}

// The bodies of verbs are decoded into one backends.Args: each member must be there, and each of
// its members must be in some body.
func TestBodiesAreTheArgs(t *testing.T) {
	doc := load(t)
	args := membersOf(reflect.TypeFor[backends.Args]())
	used := make(map[string]bool)
	for _, op := range operations(doc) {
		if op.RequestBody == nil || op.method != http.MethodPost || !strings.Contains(op.path, ":") {
			continue
		}
		for member, property := range op.RequestBody.Value.Content["application/json"].Schema.Value.Properties {
			f, ok := args[member]
			if !ok {
				t.Errorf("%s: backends.Args has no %s", op, member)
				continue
			}
			used[member] = true
			if isModel(innermost(f.typ)) {
				checkSubset(t, fmt.Sprintf("%s, %s", op, member), innermost(f.typ), property)
			} else if err := fits(f.typ, property); err != nil {
				t.Errorf("%s, %s: %v", op, member, err)
			}
		}
	}
	for member := range args {
		if !used[member] {
			t.Errorf("no body has %s", member)
		}
	}
}

// checkSubset checks an object that may have less than its Go type, but nothing else.
func checkSubset(t *testing.T, where string, typ reflect.Type, s *openapi3.SchemaRef) {
	t.Helper()
	members := membersOf(typ)
	for member, property := range s.Value.Properties {
		if f, ok := members[member]; !ok {
			t.Errorf("%s: %s has no %s", where, typ, member)
		} else if err := fits(f.typ, property); err != nil {
			t.Errorf("%s.%s: %v", where, member, err)
		}
	}
}

func TestWritableMembers(t *testing.T) {
	for _, body := range []struct {
		schema string
		patch  bool
	}{{"CreateVM", false}, {"UpdateVM", true}} {
		t.Run(body.schema, func(t *testing.T) {
			rows := make(map[string]backends.Member)
			for _, m := range backends.Members {
				if body.patch && m.Patch || !body.patch && m.Create {
					rows[m.Path] = m
				}
			}
			root := load(t).Components.Schemas[body.schema]
			delete(root.Value.Properties, "backend") // where to make it, not what
			checkWritable(t, "", root, rows, body.patch)
			for missing := range rows {
				t.Errorf("%s lacks %s", body.schema, missing)
			}
		})
	}
}

// checkWritable takes from rows what it finds below s, and complains about what has no row.
func checkWritable(t *testing.T, at string, s *openapi3.SchemaRef, rows map[string]backends.Member, patch bool) {
	t.Helper()
	for name, property := range s.Value.Properties {
		where := strings.TrimPrefix(at+"."+name, ".")
		m, ok := rows[where]
		if !ok {
			if len(property.Value.Properties) == 0 || property.Value.Nullable {
				t.Errorf("%s is no row of backends.Members", where)
			}
			checkWritable(t, where, property, rows, patch)
			continue
		}
		delete(rows, where)
		if !writes[m.Type](property, patch) {
			t.Errorf("%s is not what value type %d carries", where, m.Type)
		}
		if want := patch && m.Nullable; property.Value.Nullable != want {
			t.Errorf("%s is nullable: %t, want %t", where, property.Value.Nullable, want)
		}
	}
}

// writes says for each value type whether a schema has its shape.
var writes = map[backends.ValueType]func(s *openapi3.SchemaRef, patch bool) bool{
	backends.TypeString: func(s *openapi3.SchemaRef, _ bool) bool { return s.Value.Type.Is("string") && s.Value.Pattern == "" },
	backends.TypeBool:   func(s *openapi3.SchemaRef, _ bool) bool { return s.Value.Type.Is("boolean") },
	backends.TypeInt: func(s *openapi3.SchemaRef, _ bool) bool {
		return s.Value.Type.Is("integer") && s.Value.Format == "int64"
	},
	backends.TypeFloat: func(s *openapi3.SchemaRef, _ bool) bool { return s.Value.Type.Is("number") },
	backends.TypeID: func(s *openapi3.SchemaRef, _ bool) bool {
		return s.Value.Type.Is("string") && s.Value.Pattern != "" || isRef(s)
	},
	backends.TypeStringMap: func(s *openapi3.SchemaRef, patch bool) bool {
		value := s.Value.AdditionalProperties.Schema
		return s.Value.Type.Is("object") && value != nil && value.Value.Type.Is("string") && value.Value.Nullable == patch
	},
	backends.TypeStrings: func(s *openapi3.SchemaRef, _ bool) bool {
		return s.Value.Type.Is("array") && s.Value.Items.Value.Type.Is("string")
	},
	backends.TypeOwner: func(s *openapi3.SchemaRef, _ bool) bool {
		return only(s, isRef, "user", "group")
	},
	backends.TypePermissions: func(s *openapi3.SchemaRef, _ bool) bool {
		flag := func(s *openapi3.SchemaRef) bool { return s.Value.Type.Is("boolean") }
		bits := func(s *openapi3.SchemaRef) bool { return only(s, flag, "use", "manage", "admin") }
		return only(s, bits, "owner", "group", "other")
	},
}

// isRef reports whether s is shaped like the reference that is read: an object with an id.
func isRef(s *openapi3.SchemaRef) bool {
	return only(s, func(id *openapi3.SchemaRef) bool { return nameOf(id) == "ID" }, "id") && slices.Equal(s.Value.Required, []string{"id"})
}

// only reports whether s is an object with these members and no other, each of which is as it should.
func only(s *openapi3.SchemaRef, each func(*openapi3.SchemaRef) bool, names ...string) bool {
	if !s.Value.Type.Is("object") || len(s.Value.Properties) != len(names) {
		return false
	}
	for _, name := range names {
		if property := s.Value.Properties[name]; property == nil || !each(property) {
			return false
		}
	}
	return true
}

// One pattern says what an id is in requests. It takes what a driver gives out, and nothing that
// backends.ParseID refuses.
func TestIDPattern(t *testing.T) {
	doc := load(t)
	id := doc.Components.Schemas["ID"].Value
	if got := doc.Components.Schemas["UpdateXenAPIVM"].Value.Properties["suspendDisk"].Value.Pattern; got != id.Pattern {
		t.Errorf("suspendDisk has the pattern %s, want that of ID", got)
	}
	for text, want := range map[string]bool{
		"one.42": true,
		"xen.1de4a3f0-5b7c-4d21-9c1e-2f6b8a90d3c7":                                            true,
		"xen.start-1de4a3f0-5b7c-4d21-9c1e-2f6b8a90d3c7-9c7b2e50-3fd6-41a8-b6e9-84d0f1a5c723": true,
		"42": false, "one.": false, ".42": false, "One.42": false, "one.-1": false, "one.4 2": false, "one.42\n": false,
		"one.42:start": false, "OpaqueRef:1": false, "one." + strings.Repeat("1", 300): false,
	} {
		if got := id.VisitJSONString(text) == nil; got != want {
			t.Errorf("%q fits: %t, want %t", text, got, want)
		}
		if _, err := backends.ParseID(text); want && err != nil {
			t.Errorf("%q fits, and backends.ParseID says %v", text, err)
		}
	}
}
