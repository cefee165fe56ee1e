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

	"vmgateway/internal/backends/wire"
)

var gatewayBinary = flag.String("gateway", "", "the gateway's `binary`; without it, one is built")

// fleet is how many VMs each simulator has.
const fleet = 10_000

// world is the gateway over both simulators, each a process of its own.
type world struct {
	b      *testing.B
	sim    simulators
	url    string // of the gateway
	client *http.Client
}

// newWorld starts everything; env is further environment of the gateway's.
func newWorld(b *testing.B, env ...string) *world {
	b.Helper()
	w := &world{b: b, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	b.Cleanup(w.client.CloseIdleConnections)
	w.startSimulators()
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

// startSimulators runs this binary once more; it ends when its input does.
func (w *world) startSimulators() {
	self, err := os.Executable()
	check(w.b, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), simulatorsEnv+"="+strconv.Itoa(fleet))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(w.b, err)
	out, err := cmd.StdoutPipe()
	check(w.b, err)
	check(w.b, cmd.Start())
	w.b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			w.b.Error("the simulators: ", err)
		}
	})
	check(w.b, json.NewDecoder(out).Decode(&w.sim))
}

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
func (w *world) get(path string) []byte {
	req, err := http.NewRequestWithContext(w.b.Context(), http.MethodGet, w.sim.Control+path, nil)
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

// caller calls a backend directly, by the client and in the way of the backend's driver.
type caller struct {
	b       *testing.B
	client  *wire.Client
	session string
}

// newOne logs in with a token, as the driver does.
func (w *world) newOne() *caller {
	a := w.sim.One
	c := &caller{b: w.b, session: a.Username + ":" + a.Password, client: w.wire(wire.Options{
		MaxConns: 12, MaxHeader: 4095, Timeout: time.Minute, MaxReply: 2 << 30,
	}, a.URL)}
	token, err := c.one("one.user.login", a.Username, "", 3600, -1).Str()
	check(w.b, err)
	c.session = a.Username + ":" + token
	return c
}

// newXen logs in as the driver does.
func (w *world) newXen() *caller {
	a := w.sim.Xen
	c := &caller{b: w.b, client: w.wire(wire.Options{
		MaxConns: 32, KeepAlive: true, MaxHeader: 1000, MaxRequest: 300 << 10, Timeout: time.Minute, MaxReply: 2 << 30,
	}, a.URL)}
	reply, err := c.client.Call(w.b.Context(), "session.login_with_password", a.Username, a.Password, "1.3", "bench")
	check(w.b, err)
	c.session = c.str(c.success(reply))
	return c
}

func (w *world) wire(o wire.Options, endpoint string) *wire.Client {
	var err error
	o.URL, err = url.Parse(endpoint)
	check(w.b, err)
	client := wire.New(o)
	w.b.Cleanup(client.Close)
	return client
}

// one makes one call and gives the second of the elements that oned answers with, of which the first
// says that it is the result.
func (c *caller) one(method string, args ...any) wire.Value {
	reply, err := c.client.Call(c.b.Context(), method, append([]any{c.session}, args...)...)
	check(c.b, err)
	top, err := reply.Value()
	check(c.b, err)
	var parts []wire.Value
	for v, err := range top.Items() {
		check(c.b, err)
		parts = append(parts, v)
	}
	if len(parts) < 2 {
		c.b.Fatalf("%s: an answer of %d elements", method, len(parts))
	}
	done, err := parts[0].Bool()
	check(c.b, err)
	if !done {
		c.b.Fatalf("%s: refused: %s", method, parts[1].Raw())
	}
	return parts[1]
}

// xen makes one call and gives its value.
func (c *caller) xen(method string, args ...any) wire.Value {
	reply, err := c.client.Call(c.b.Context(), method, append([]any{c.session}, args...)...)
	check(c.b, err)
	return c.success(reply)
}

func (c *caller) success(reply *wire.Reply) wire.Value {
	top, err := reply.Value()
	check(c.b, err)
	if status := c.str(c.member(top, "Status")); status != "Success" {
		c.b.Fatalf("%s: %s", status, c.member(top, "ErrorDescription").Raw())
	}
	return c.member(top, "Value")
}

func (c *caller) member(v wire.Value, name string) wire.Value {
	m, ok, err := v.Member(name)
	check(c.b, err)
	if !ok {
		c.b.Fatalf("there is no member %s", name)
	}
	return m
}

func (c *caller) str(v wire.Value) string {
	text, err := v.Str()
	check(c.b, err)
	return text
}
