package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"

	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// simulatorsEnv makes this binary the simulators instead of the benchmarks: its value is how many VMs
// each has.
const simulatorsEnv = "VMGATEWAY_BENCH_SIMULATORS"

func TestMain(m *testing.M) {
	if vms := os.Getenv(simulatorsEnv); vms != "" {
		if err := simulate(vms, os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "simulators:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
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

// simulate runs both simulators until its input ends, as it does with the process that benchmarks.
func simulate(vms string, out io.Writer, in io.Reader) error {
	n, err := strconv.Atoi(vms)
	if err != nil {
		return err
	}
	one, err := onesim.Start(onesim.Config{VMs: n})
	if err != nil {
		return err
	}
	defer one.Close()
	xen, err := xensim.Start(xensim.Config{VMs: n, Durations: &xensim.Durations{}})
	if err != nil {
		return err
	}
	defer xen.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(counts{one.CallCounts(), xen.CallCounts()})
	})
	mux.HandleFunc("GET /nothing", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Handler: mux}
	defer server.Close()
	go server.Serve(listener)

	s := simulators{Control: "http://" + listener.Addr().String()}
	admin, root := one.Users()[0], xen.Users()[0]
	s.One = account{one.URL(), admin.Name, admin.Password}
	s.Xen = account{xen.URL(), root.Name, root.Password}
	if err := json.NewEncoder(out).Encode(s); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
