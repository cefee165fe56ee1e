package vmgateway_test

import (
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"vmgateway"
)

// TestCommandsAreInTheContract finds in the contract each call, member and parameter that
// testdata/commands.tsv leads people to who know the backends' command lines.
func TestCommandsAreInTheContract(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(vmgateway.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/commands.tsv")
	if err != nil {
		t.Fatal(err)
	}
	c := &seedContract{doc: doc}
	rows := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if len(f) != 3 {
			t.Errorf("%q has %d columns", line, len(f))
			continue
		}
		rows++
		names := quoted.FindAllStringSubmatch(f[2], -1)
		for i, name := range names {
			if name[1] == "null" || name[1] == "vm-param-remove" {
				continue
			}
			kind := "command"
			if i > 0 && strings.Contains(f[2], "` body `") {
				kind = "parameter" // it has to be in the body
			}
			ok, known := c.has(seedRow{kind: kind, member: f[1], rest: f[2]}, name[1])
			if !ok || !known {
				t.Errorf("%s: the contract lacks %q", f[1], name[1])
			}
		}
		if len(names) == 0 {
			t.Errorf("%s leads nowhere", f[1])
		}
	}
	if rows < 60 {
		t.Errorf("only %d commands", rows)
	}
}
