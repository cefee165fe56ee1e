package vmgateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "vmgateway"

// room is what one package may import beside the standard library: packages of this module, and
// modules of others. docs/architecture.md draws the same.
type room struct {
	ours   []string
	theirs []string
}

// rooms has a row for every package. No row lets a package import one that is nearer the door.
var rooms = map[string]room{
	"": {},
	"cmd/gateway": {
		ours: []string{
			"", "internal/auth", "internal/backends", "internal/backends/opennebula",
			"internal/backends/opennebula/onesim", "internal/backends/xenapi",
			"internal/backends/xenapi/xensim", "internal/feed", "internal/handlers",
			"internal/operations", "internal/store", "web",
		},
		theirs: []string{
			"github.com/go-viper/mapstructure/v2", "github.com/knadh/koanf",
			"github.com/prometheus/client_golang", "go.uber.org/zap",
		},
	},
	"web": {theirs: []string{"github.com/swaggest/swgui"}},
	"internal/handlers": {
		ours: []string{
			"internal/auth", "internal/backends", "internal/backends/query", "internal/feed",
			"internal/operations", "internal/store",
		},
		theirs: []string{
			"github.com/getkin/kin-openapi", "github.com/go-chi/chi/v5", "github.com/go-chi/cors",
			"github.com/go-chi/httprate", "github.com/klauspost/compress", "github.com/prometheus/client_golang",
			"go.uber.org/zap",
		},
	},
	"internal/auth": {
		ours:   []string{"internal/backends", "internal/store"},
		theirs: []string{"golang.org/x/sync"},
	},
	"internal/feed": {
		ours: []string{"internal/backends"},
	},
	"internal/operations": {
		ours: []string{"internal/backends", "internal/feed", "internal/store"},
	},
	"internal/store":           {theirs: []string{"github.com/redis/go-redis/v9"}},
	"internal/store/storetest": {ours: []string{"internal/store"}},
	"internal/backends":        {},
	"internal/backends/query":  {},
	"internal/backends/wire": {
		ours:   []string{"internal/backends/wire/scan"},
		theirs: []string{"github.com/kolo/xmlrpc"},
	},
	"internal/backends/wire/scan": {},
	"internal/backends/opennebula": {
		ours:   []string{"internal/backends", "internal/backends/wire", "internal/backends/wire/scan"},
		theirs: []string{"golang.org/x/sync"},
	},
	"internal/backends/xenapi": {
		ours:   []string{"internal/backends", "internal/backends/wire", "internal/backends/wire/scan"},
		theirs: []string{"golang.org/x/sync"},
	},
	// A simulator shares no code with its driver, so that neither repeats a misreading of the other.
	"internal/backends/opennebula/onesim": {},
	"internal/backends/xenapi/xensim":     {},
	"internal/backends/drivertest":        {ours: []string{"internal/backends"}},
	// Benchmarks only: its tests put the whole gateway together, the package itself is a doc comment.
	"internal/bench": {},
}

func TestEveryPackageImportsOnlyWhatItsRowAllows(t *testing.T) {
	packages := listPackages(t)
	if len(packages) == 0 {
		t.Fatal("go list found no package")
	}
	for _, p := range packages {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		r, ok := rooms[name]
		if !ok {
			t.Errorf("%s has no row in the table of rooms: say what it may import", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			if !r.allows(path) {
				t.Errorf("%s must not import %s", p.ImportPath, path)
			}
		}
	}
}

// allows reports whether a package in r may import path.
func (r room) allows(path string) bool {
	if own, ok := strings.CutPrefix(path+"/", module+"/"); ok {
		return slices.Contains(r.ours, strings.TrimSuffix(own, "/"))
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return true // the standard library: its paths do not begin with a host
	}
	return slices.ContainsFunc(r.theirs, func(m string) bool { return strings.HasPrefix(path+"/", m+"/") })
}

type listed struct {
	ImportPath string
	Imports    []string // of the package itself; its tests may look further
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestTheTableOfRoomsRefuses(t *testing.T) {
	for _, c := range []struct {
		from, path string
		allowed    bool
	}{
		{"internal/backends", "net/http", true},
		{"internal/backends", "vmgateway/internal/backends/wire", false},
		{"internal/backends", "vmgateway", false},
		{"internal/backends", "go.uber.org/zap", false},
		{"internal/handlers", "github.com/go-chi/chi/v5/middleware", true},
		{"internal/handlers", "github.com/go-chi/chi/v50", false},
		{"internal/handlers", "vmgateway/internal/backends/xenapi", false},
		{"internal/backends/xenapi", "vmgateway/internal/backends/opennebula", false},
		{"internal/backends/xenapi", "github.com/kolo/xmlrpc", false},
		{"internal/backends/opennebula/onesim", "vmgateway/internal/backends/wire", false},
		{"cmd/gateway", "vmgateway", true},
	} {
		if got := rooms[c.from].allows(c.path); got != c.allowed {
			t.Errorf("%s importing %s: allowed is %t, want %t", c.from, c.path, got, c.allowed)
		}
	}
}
