package vmgateway_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// dockerfile is the Dockerfile's instructions, with continued lines joined.
func dockerfile(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var instructions []string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			instructions = append(instructions, line)
		}
	}
	return instructions
}

func TestDockerfileCopiesWhatIsThere(t *testing.T) {
	var copied int
	for _, line := range dockerfile(t) {
		words := strings.Fields(line)
		if words[0] != "COPY" || strings.HasPrefix(words[1], "--from=") {
			continue
		}
		for _, path := range words[1 : len(words)-1] {
			copied++
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	if copied == 0 {
		t.Error("nothing of the repository is copied")
	}
}

// The image has no loader and no shell, so the binary must be static, and every command an argument
// list; and it shall not run as root.
func TestDockerfileFitsAnEmptyImage(t *testing.T) {
	instructions := dockerfile(t)
	last := instructions
	for i, line := range instructions {
		if strings.HasPrefix(line, "FROM ") {
			last = instructions[i:]
		}
	}
	if last[0] != "FROM scratch" {
		t.Errorf("the last stage is %q", last[0])
	}
	all, end := strings.Join(instructions, "\n"), strings.Join(last, "\n")
	for what, c := range map[string]struct{ text, want string }{
		"the binary is static":     {all, `(?m)^RUN CGO_ENABLED=0 go build .*-trimpath.* \./cmd/gateway$`},
		"a user who is not root":   {end, `(?m)^USER [1-9][0-9]*:[1-9][0-9]*$`},
		"the authorities for TLS":  {end, `(?m)^COPY --from=build \S+ /etc/ssl/certs/ca-certificates\.crt$`},
		"a health check as a list": {end, `(?m)^HEALTHCHECK .*CMD \["/gateway", "-health-check"`},
		"an entry point as a list": {end, `(?m)^ENTRYPOINT \["/gateway"\]$`},
	} {
		if !regexp.MustCompile(c.want).MatchString(c.text) {
			t.Errorf("the Dockerfile lacks %s: nothing matches %s", what, c.want)
		}
	}
}
