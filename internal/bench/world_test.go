package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var gatewayBinary = flag.String("gateway", "", "the gateway's `binary`; without it, one is built")

// fleet is how many VMs each simulator has.
const fleet = 10_000

// world is the gateway over both simulators, each a process of its own.
type world struct {
	b      *testing.B
	sim    simulators
	url    string // of the gateway
	pid    int    // its own
	relay  string // its URL; "" until startRelay
	client *http.Client
}

// newWorld starts everything; env is further environment of the gateway's.
func newWorld(b *testing.B, env ...string) *world {
	b.Helper()
	return newWorldOf(b, fleets{One: fleet, Xen: fleet}, env...)
}

func newWorldOf(b *testing.B, n fleets, env ...string) *world {
	b.Helper()
	w := &world{b: b, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	b.Cleanup(w.client.CloseIdleConnections)
	w.start("simulators", n, &w.sim)
	w.startGateway(env)
	return w
}

// in is w for a part of the benchmark, which failures are told to.
func (w *world) in(b *testing.B) *world {
	part := *w
	part.b = b
	return &part
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// start runs this binary once more, as something else: what that is told, and what it says of itself
// when it is ready, is JSON. It ends when its input does.
func (w *world) start(role string, config, ready any) {
	w.b.Helper()
	self, err := os.Executable()
	check(w.b, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(w.b, err)
	out, err := cmd.StdoutPipe()
	check(w.b, err)
	check(w.b, cmd.Start())
	w.b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			w.b.Errorf("the %s: %v", role, err)
		}
	})
	check(w.b, json.NewEncoder(in).Encode(config))
	check(w.b, json.NewDecoder(out).Decode(ready))
}

func (w *world) startRelay() { w.start("relay", w.sim, &w.relay) }

// startGateway runs the gateway as for real backends; its log goes to a file, as with a supervisor.
func (w *world) startGateway(env []string) {
	dir := w.b.TempDir()
	binary := *gatewayBinary
	if binary == "" {
		binary = filepath.Join(dir, "gateway")
		out, err := exec.Command("go", "build", "-o", binary, "vmgateway/cmd/gateway").CombinedOutput()
		if err != nil {
			w.b.Fatalf("build the gateway: %v\n%s", err, out)
		}
	}
	config := filepath.Join(dir, "gateway.yaml")
	check(w.b, os.WriteFile(config, fmt.Appendf(nil, `listen: 127.0.0.1:0
backends:
  - {id: one, kind: opennebula, endpoints: [%q]}
  - {id: xen, kind: xenapi, endpoints: [%q]}
`, w.sim.One.URL, w.sim.Xen.URL), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	check(w.b, err)
	cmd := exec.Command(binary, "-config", config)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = log
	check(w.b, cmd.Start())
	w.pid = cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.b.Cleanup(func() {
		defer log.Close()
		check(w.b, cmd.Process.Signal(os.Interrupt))
		if err := <-ended; err != nil {
			w.b.Error("the gateway: ", err)
		}
	})
	late := time.After(30 * time.Second)
	for w.url == "" {
		select {
		case <-late:
			w.b.Fatal("the gateway does not say where it listens")
		case err := <-ended:
			text, _ := os.ReadFile(log.Name())
			w.b.Fatalf("the gateway ended: %v\n%s", err, text)
		case <-time.After(20 * time.Millisecond):
		}
		w.url = listeningURL(w.b, log.Name())
	}
}

// listeningURL is what the log says the gateway listens on; "" when it does not say so yet.
func listeningURL(b *testing.B, log string) string {
	text, err := os.ReadFile(log)
	check(b, err)
	for line := range bytes.Lines(text) {
		var entry struct{ Msg, URL string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "listening" {
			return entry.URL
		}
	}
	return ""
}

// do sends one request and reads its reply to the end. Every status but the one wanted is fatal.
func (w *world) do(want int, method, path, token, body string) []byte {
	req, err := http.NewRequestWithContext(w.b.Context(), method, w.url+path, strings.NewReader(body))
	check(w.b, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return w.send(want, req)
}

func (w *world) send(want int, req *http.Request) []byte {
	resp, err := w.client.Do(req)
	check(w.b, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(w.b, err)
	if resp.StatusCode != want {
		w.b.Fatalf("%s %s: %d %s", req.Method, req.URL.Path, resp.StatusCode, text)
	}
	return text
}

// get asks the simulators' own process.
func (w *world) get(path string) []byte { return w.ask(http.MethodGet, w.sim.Control+path) }

// ask is a request without a token or a body.
func (w *world) ask(method, url string) []byte {
	req, err := http.NewRequestWithContext(w.b.Context(), method, url, nil)
	check(w.b, err)
	return w.send(http.StatusOK, req)
}

// calls is how often each method was called at a backend so far.
func (w *world) calls(backend string) map[string]int {
	var c counts
	check(w.b, json.Unmarshal(w.get("/calls"), &c))
	return map[string]map[string]int{"one": c.One, "xen": c.Xen}[backend]
}

// login gives the token of a session at one backend.
func (w *world) login(backend string) string {
	a := map[string]account{"one": w.sim.One, "xen": w.sim.Xen}[backend]
	body, err := json.Marshal(map[string]string{"backend": backend, "username": a.Username, "password": a.Password})
	check(w.b, err)
	var session struct{ Token string }
	check(w.b, json.Unmarshal(w.do(http.StatusCreated, "POST", "/sessions", "", string(body)), &session))
	return session.Token
}

// find gives the first n VMs of a backend in a state.
func (w *world) find(token, backend, state string, n int) []string {
	q := url.Values{"backend": {backend}, "filter": {`state="` + state + `"`}, "pageSize": {strconv.Itoa(n)}, "fields": {"id"}}
	var list struct{ VMs []struct{ ID string } }
	check(w.b, json.Unmarshal(w.do(http.StatusOK, "GET", "/vms?"+q.Encode(), token, ""), &list))
	if len(list.VMs) != n {
		w.b.Fatalf("%d VMs of %s are %s, want %d", len(list.VMs), backend, state, n)
	}
	ids := make([]string, n)
	for i, vm := range list.VMs {
		ids[i] = vm.ID
	}
	return ids
}

// native is the backend's own part of an id.
func native(id string) string { return id[strings.IndexByte(id, '.')+1:] }

// metric reads one of the gateway's own metrics, which has no labels.
func (w *world) metric(name string) float64 {
	lines := bufio.NewScanner(bytes.NewReader(w.do(http.StatusOK, "GET", "/metrics", "", "")))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			check(w.b, err)
			return value
		}
	}
	w.b.Fatalf("there is no metric %s", name)
	return 0
}

// newOne and newXen are a caller of this process, logged in at a simulator.
func (w *world) newOne() *caller { return w.leave(newOne(w.b.Context(), w.sim.One, w.fail)) }
func (w *world) newXen() *caller { return w.leave(newXen(w.b.Context(), w.sim.Xen, w.fail)) }

func (w *world) leave(c *caller) *caller {
	w.b.Cleanup(c.client.Close)
	return c
}

func (w *world) fail(err error) {
	w.b.Helper()
	w.b.Fatal(err)
}
