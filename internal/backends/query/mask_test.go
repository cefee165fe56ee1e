package query_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/query"
)

// tree contains itself, and texts that JSON writes with escapes.
type tree struct {
	ID    string            `json:"id"`
	Next  *tree             `json:"next,omitempty"`
	Kids  []tree            `json:"kids,omitempty"`
	Texts []string          `json:"<texts>,omitempty"`
	Map   map[string]string `json:"map,omitempty"`
	Float float64           `json:"float,omitempty"`
	Small int8              `json:"small,omitempty"`
	Large uint64            `json:"large,omitempty"`
	At    time.Time         `json:"at,omitzero"`
	Of    backends.ID       `json:"of,omitzero"`
}

func aTree() *tree {
	leaf := tree{ID: "leaf", Texts: []string{"", "<&>", "\"\\", "\x00\n\x7f", "ä\u2028\xff"}, Map: map[string]string{"<": ">", "\xff": "\xfe", "a": "b"}}
	return &tree{
		ID: "root", Next: &leaf, Kids: []tree{leaf, {ID: "twig", Next: &tree{ID: "end", Small: -128}}}, Texts: leaf.Texts, Map: leaf.Map,
		Float: -1.5e-7, Small: -7, Large: math.MaxUint64, At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), Of: backends.ID{Backend: "a\"", Native: "é"},
	}
}

func encoded(t *testing.T, x any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(x); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestMaskWritesAsEncodingJSON(t *testing.T) {
	for fields, want := range map[string]any{
		"*":                        aTree(),
		"next.*, kids":             &tree{ID: "root", Next: aTree().Next, Kids: aTree().Kids},
		"kids.next.next":           &tree{ID: "root", Kids: []tree{{ID: "leaf"}, {ID: "twig", Next: &tree{ID: "end"}}}},
		"at,of,large":              &tree{ID: "root", At: aTree().At, Of: aTree().Of, Large: math.MaxUint64},
		"float,small":              &tree{ID: "root", Float: aTree().Float, Small: -7},
		`"<texts>",map.a, map."<"`: &tree{ID: "root", Texts: aTree().Texts, Map: map[string]string{"<": ">", "a": "b"}},
	} {
		m, err := query.ParseFields(fields, reflect.TypeFor[tree]())
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		if got, err := m.Apply(aTree()); err != nil || string(got) != encoded(t, want) {
			t.Errorf("%s: %v\n got %s\nwant %s", fields, err, got, encoded(t, want))
		}
	}
}

func TestMaskOfVMsWritesAsEncodingJSON(t *testing.T) {
	m, err := query.ParseFields("*", vmOfBackends)
	if err != nil {
		t.Fatal(err)
	}
	for _, vm := range append(fleet(10), &backends.VM{}) {
		if got, err := m.Apply(vm); err != nil || string(got) != encoded(t, vm) {
			t.Errorf("%v\n got %s\nwant %s", err, got, encoded(t, vm))
		}
	}
}

func TestMaskFailsAsEncodingJSON(t *testing.T) {
	m, err := query.ParseFields("float,at", reflect.TypeFor[tree]())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]*tree{"NaN": {Float: math.NaN()}, "year 10000": {At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		if got, err := m.Append([]byte("before"), bad); err == nil || string(got) != "before" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
