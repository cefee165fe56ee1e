package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// roleEnv makes this binary one of the processes around the gateway instead of the benchmarks.
const roleEnv = "VMGATEWAY_BENCH_ROLE"

// roles is what it can be. Each reads what it is told, says what it is when it is ready, and ends with
// its input, as that does with the process that benchmarks.
var roles = map[string]func(in io.Reader, out io.Writer) error{
	"simulators": simulate,
	"relay":      relay,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	serve, ok := roles[role]
	if !ok {
		os.Exit(m.Run())
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
}

// simulators is where the other process can be reached.
type simulators struct {
	One, Xen account
	Control  string // GET /calls, GET /nothing
}

// account is one simulator's endpoint, and its administrator.
type account struct{ URL, Username, Password string }

// counts is how often each method was called.
type counts struct{ One, Xen map[string]int }

// fleets is how many VMs each simulator has, and how long it thinks before the first byte of their list:
// for all of them together.
type fleets struct {
	One, Xen           int
	OneTakes, XenTakes time.Duration
}

// simulate runs both simulators, with the fleets that it is told.
func simulate(in io.Reader, out io.Writer) error {
	var n fleets
	if err := json.NewDecoder(in).Decode(&n); err != nil {
		return err
	}
	one, err := onesim.Start(onesim.Config{VMs: n.One})
	if err != nil {
		return err
	}
	defer one.Close()
	xen, err := xensim.Start(xensim.Config{VMs: n.Xen, Durations: &xensim.Durations{}})
	if err != nil {
		return err
	}
	defer xen.Close()
	if n.OneTakes > 0 {
		one.Inject(onesim.Fault{Method: oneFull.method, Each: n.OneTakes / time.Duration(n.One), Times: -1})
	}
	if n.XenTakes > 0 {
		xen.Inject(xensim.Fault{Method: xenList.method, Delay: n.XenTakes, Times: -1})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(counts{one.CallCounts(), xen.CallCounts()})
	})
	mux.HandleFunc("GET /nothing", func(http.ResponseWriter, *http.Request) {})
	control := httptest.NewServer(mux)
	defer control.Close()

	s := simulators{Control: control.URL}
	admin, root := one.Users()[0], xen.Users()[0]
	s.One = account{one.URL(), admin.Name, admin.Password}
	s.Xen = account{xen.URL(), root.Name, root.Password}
	if err := json.NewEncoder(out).Encode(s); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
