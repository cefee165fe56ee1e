package handlers_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// vmStream reads a list as lines, each held against the contract.
type vmStream struct {
	t      *testing.T
	header http.Header
	body   io.Closer
	lines  *bufio.Scanner
	leave  func()
	ids    []string // of the VMs read
}

func (w *world) stream(token, query string, headers ...string) *vmStream {
	w.t.Helper()
	return w.streamOver(http.DefaultTransport, token, query, headers...)
}

func (w *world) streamOver(transport http.RoundTripper, token, query string, headers ...string) *vmStream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+"/vms"+query, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/x-ndjson")
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		w.t.Fatalf("a stream: %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	var body io.Reader = resp.Body
	switch resp.Header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(resp.Body)
	case "zstd":
		body, err = zstd.NewReader(resp.Body)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	s := &vmStream{t: w.t, header: resp.Header, body: resp.Body, lines: bufio.NewScanner(body), leave: cancel}
	s.lines.Buffer(nil, 1<<20)
	return s
}

// next is the next line; nil is the end.
func (s *vmStream) next() map[string]any {
	s.t.Helper()
	if !s.lines.Scan() {
		return nil
	}
	doc, err := strictContract()
	if err != nil {
		s.t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(s.lines.Bytes(), &line); err != nil {
		s.t.Fatalf("a line that is not JSON: %v: %.300s", err, s.lines.Text())
	}
	if err := doc.Components.Schemas["VMLine"].Value.VisitJSON(line); err != nil {
		s.t.Errorf("a line breaks the contract: %.600s\n%.600s", err, s.lines.Text())
	}
	if strings.Contains(s.lines.Text(), "OpaqueRef:") {
		s.t.Errorf("a line holds a reference: %s", s.lines.Text())
	}
	if id, ok := line["id"].(string); ok {
		s.ids = append(s.ids, id)
	}
	return line
}

// rest reads to the end, and gives the ids of all VMs and the summary, which must be the last line and
// fit.
func (s *vmStream) rest() (ids []string, summary response) {
	s.t.Helper()
	for line := s.next(); line != nil; line = s.next() {
		if summary.body != nil {
			s.t.Fatalf("a line behind the summary: %v", line)
		}
		summary.body = line["summary"]
	}
	s.body.Close()
	if err := s.lines.Err(); err != nil || summary.body == nil {
		s.t.Fatalf("the stream was cut after %d VMs: %v", len(s.ids), err)
	}
	if summary.get("count") != float64(len(s.ids)) {
		s.t.Errorf("the summary counts %v of %d", summary.get("count"), len(s.ids))
	}
	complete := len(summary.list("unreachable")) == 0 && summary.get("undecodableTotal") == 0.0
	if summary.get("complete") != complete {
		s.t.Errorf("the summary does not fit: %v", summary.body)
	}
	return slices.Sorted(slices.Values(s.ids)), summary
}

// page gives the ids of a list that is one page, in their order.
func (w *world) page(token, query string) ([]string, response) {
	w.t.Helper()
	r := w.do("GET", "/vms?pageSize=1000&"+query, token, nil)
	ids := []string{}
	for _, vm := range r.list("vms") {
		ids = append(ids, vm.(map[string]any)["id"].(string))
	}
	return ids, r
}

// TestStreamIsTheList holds streams against pages of the same query.
func TestStreamIsTheList(t *testing.T) {
	w := newWorld(t, options{vms: 40})
	if _, err := w.one.PutVM(onesim.VMSpec{State: onesim.Done}); err != nil {
		t.Fatal(err)
	}
	token := w.login("one", "xen")
	queries := []string{
		"", "backend=one", "backend=xen", "view=ID", "view=FULL", "view=NATIVE", "owner=all", "showDeleted=true", "showTemplates=true",
		"fields=displayName,cpu.vcpus", "view=FULL&fields=disks.id",
		"filter=" + url.QueryEscape(`state="RUNNING" AND memory.dynamicMaxBytes>1`),
		"view=ID&filter=" + url.QueryEscape(`displayName:"1"`),
		"view=FULL&fields=displayName&filter=" + url.QueryEscape(`disks:*`),
		"filter=" + url.QueryEscape(`displayName="no such name"`),
	}
	for _, query := range queries {
		t.Run(query, func(t *testing.T) {
			want, page := w.page(token, query)
			slices.Sort(want)
			for _, coding := range []string{"identity", "gzip", "zstd"} {
				s := w.stream(token, "?"+query, "Accept-Encoding", coding)
				if got := s.header.Get("Content-Encoding"); got != strings.Replace(coding, "identity", "", 1) && len(want) > 3 {
					t.Errorf("asked for %s, is %q", coding, got)
				}
				if ids, _ := s.rest(); !slices.Equal(ids, want) {
					t.Errorf("%s: the stream has %d VMs, the page %d", coding, len(ids), len(want))
				}
			}
			shown := map[any]map[string]any{}
			s := w.stream(token, "?"+query)
			for line := s.next(); line != nil; line = s.next() {
				shown[line["id"]] = line
			}
			for _, vm := range page.list("vms") {
				if line := shown[vm.(map[string]any)["id"]]; !reflect.DeepEqual(line, vm) {
					t.Fatalf("the line is %v, the page has %v", line, vm)
				}
			}
		})
	}
	ids, summary := w.stream(token, "?owner=me").rest()
	if len(ids) == 0 || summary.str("unreachable.0.problem.code") != "UNSUPPORTED_BY_BACKEND" {
		t.Errorf("of one's own there are %d: %v", len(ids), summary.body)
	}
	if r := w.do("HEAD", "/vms", token, nil, "Accept", "application/x-ndjson"); r.status != 200 || r.header.Get("Content-Type") != "application/x-ndjson" || len(r.text) > 0 {
		t.Errorf("HEAD: %d %v", r.status, r.header)
	}
}

func TestStreamIsAskedFor(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one")
	for accept, lines := range map[string]bool{
		"application/x-ndjson": true, "Application/X-NDJSON; charset=utf-8": true, "application/x-ndjson, */*": true,
		"application/x-ndjson, application/json;q=0.9": true, "text/html, application/x-ndjson;q=0.5": true,
		"": false, "*/*": false, "application/*": false, "application/json": false, "application/x-ndjson;q=0": false,
		"application/json, application/x-ndjson": false, "application/x-ndjson;q=0.1, */*": false, "application/x-ndjson;q=x": false,
		"application/ndjson": false, ",;=,,": false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/vms", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Content-Type") == "application/x-ndjson"; got != lines {
			t.Errorf("Accept %q gives %s", accept, resp.Header.Get("Content-Type"))
		}
		if !slices.Contains(resp.Header.Values("Vary"), "Accept") {
			t.Errorf("Vary is %v", resp.Header.Values("Vary"))
		}
	}
	for _, query := range []string{"orderBy=id", "pageSize=5", "pageToken=x", "filter=%28", "fields=nothing", "backend=nowhere", "pageSize=0"} {
		r := w.do("GET", "/vms?"+query, token, nil, "Accept", "application/x-ndjson")
		w.want(r, 400, "INVALID_ARGUMENT")
		if name, _, _ := strings.Cut(query, "="); r.str("errors.0.parameter") != name {
			t.Errorf("%s: points at %q", query, r.str("errors.0.parameter"))
		}
	}
}

// TestStreamOfASlowBackend stalls one backend: the lines of the other arrive all the same, and the
// first lines of the slow one as soon as it sends them.
func TestStreamOfASlowBackend(t *testing.T) {
	w := newWorld(t, options{vms: 30})
	token := w.login("one", "xen")
	release := make(chan struct{})
	w.xen.Inject(xensim.Fault{Method: "VM.get_all_records_where", Hold: release, HoldAt: 20})
	s := w.stream(token, "")
	all, _ := w.page(token, "backend=one")
	for range all {
		if line := s.next(); line == nil || !strings.HasPrefix(line["id"].(string), "one.") {
			t.Fatalf("while the other one is stalled: %v", line)
		}
	}
	close(release)
	if ids, _ := s.rest(); len(ids) <= len(all) {
		t.Errorf("the other one gave nothing in the end: %d VMs", len(ids))
	}
}

// TestStreamFlows holds both backends up in the middle of their replies: what they have sent is there.
func TestStreamFlows(t *testing.T) {
	w := newWorld(t, options{vms: 60})
	token := w.login("one", "xen")
	for _, coding := range []string{"identity", "gzip", "zstd"} {
		release := make(chan struct{})
		w.one.Inject(onesim.Fault{Hold: release, HoldAt: 100_000})
		w.xen.Inject(xensim.Fault{Method: "VM.get_all_records_where", Hold: release, HoldAt: 200_000})
		s := w.stream(token, "", "Accept-Encoding", coding)
		for range 20 {
			if line := s.next(); line == nil || line["id"] == nil {
				t.Fatalf("%s: the backends are held up, and %d VMs were sent: %v", coding, len(s.ids), line)
			}
		}
		close(release)
		if ids, summary := s.rest(); len(ids) < 100 || summary.get("complete") != true {
			t.Errorf("%s: %d VMs in the end: %v", coding, len(ids), summary.body)
		}
	}
}

// TestStreamWaitsForItsClient reads a stream whose client takes a line and then nothing: its backend
// is not read on, and nothing of it is held, until the client goes on.
func TestStreamWaitsForItsClient(t *testing.T) {
	w := newWorld(t, options{vms: 4000})
	token := w.login("one")
	before := w.one.Bytes("")
	all, _ := w.stream(token, "?view=FULL").rest()
	whole := w.one.Bytes("") - before

	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 64<<10) })
	}}
	slow := &http.Transport{DialContext: dialer.DialContext}
	defer slow.CloseIdleConnections()
	before = w.one.Bytes("")
	s := w.streamOver(slow, token, "?view=FULL")
	s.next()
	read := int64(-1)
	w.eventually("the backend is not read on", func() bool {
		time.Sleep(200 * time.Millisecond)
		last := read
		read = w.one.Bytes("") - before
		return read == last
	})
	if read*10 > whole*8 {
		t.Errorf("the client takes nothing, and %d of %d bytes were read of the backend", read, whole)
	}
	if ids, _ := s.rest(); !slices.Equal(ids, all) {
		t.Errorf("%d VMs in the end, want %d", len(ids), len(all))
	}
}

// TestStreamLeaves leaves a stream whose backends have not answered: their calls end at once.
func TestStreamLeaves(t *testing.T) {
	w := newWorld(t, options{vms: 30})
	token := w.login("one", "xen")
	release := make(chan struct{})
	defer close(release)
	w.one.Inject(onesim.Fault{Hold: release, HoldAt: 20, Times: -1})
	w.xen.Inject(xensim.Fault{Hold: release, HoldAt: 20, Times: -1})
	before := w.backendCalls()
	s := w.stream(token, "")
	w.eventually("the backends are asked", func() bool { return w.backendCalls() >= before+2 })
	s.leave()
	w.eventually("the request ends", func() bool { return w.requestsLogged("/vms") == 1 })
}
