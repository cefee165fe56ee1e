package vmgateway_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what documents quote anew")

// quote is a block in a document that quotes a file, or a region of it:
//
//	<!-- examples/go/main.go#login -->
//	```go
//	…
//	```
var quote = regexp.MustCompile("(?ms)^<!-- ([\\w./-]+)(?:#(\\w+))? -->\n```(\\w+)\n(.*?)^```$")

// TestDocumentsQuoteTheExamples keeps what the documents quote and the files the same.
func TestDocumentsQuoteTheExamples(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	quotes := 0
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := quote.ReplaceAllFunc(text, func(block []byte) []byte {
			quotes++
			m := quote.FindSubmatch(block)
			file, name := string(m[1]), string(m[2])
			body := region(t, file, name)
			head, _, _ := bytes.Cut(block, []byte("\n"))
			return []byte(string(head) + "\n```" + string(m[3]) + "\n" + body + "```")
		})
		if bytes.Equal(text, want) {
			continue
		}
		if !*update {
			t.Errorf("%s does not quote what the files have: run go test . -run TestDocumentsQuoteTheExamples -update", path)
			continue
		}
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if quotes < 9 {
		t.Errorf("only %d quotes were found", quotes)
	}
}

// region is what stands between "region NAME" and "endregion" in a file's comments, without its
// indentation; the whole file where there is no name.
func region(t *testing.T, path, name string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		return string(text)
	}
	var lines []string
	inside, found := false, false
	for line := range strings.Lines(string(text)) {
		switch words := strings.Fields(line); {
		case len(words) == 3 && words[1] == "region" && words[2] == name:
			inside, found = true, true
		case len(words) == 2 && words[1] == "endregion":
			inside = false
		case inside:
			lines = append(lines, line)
		}
	}
	if !found {
		t.Fatalf("%s has no region %q", path, name)
	}
	return strings.Trim(dedented(lines), "\n") + "\n"
}

// dedented takes from each line the blanks that all of them begin with.
func dedented(lines []string) string {
	indent := -1
	for _, line := range lines {
		if text := strings.TrimLeft(line, " \t"); text != "\n" && (indent < 0 || len(line)-len(text) < indent) {
			indent = len(line) - len(text)
		}
	}
	var all strings.Builder
	for _, line := range lines {
		all.WriteString(line[min(max(indent, 0), len(line)-1):])
	}
	return all.String()
}
