package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vmgateway/internal/backends/wire/scan"
)

// recording is one exchange with a real daemon.
type recording struct {
	file        string
	cut         bool   // the recorder shortened the reply
	Origin      string `json:"origin"`
	Method      string `json:"method"`
	HTTPMethod  string `json:"http_method"`
	Request     string `json:"request"`
	Status      int    `json:"status"`
	ContentType string `json:"content_type"`
	Response    string `json:"response"`
	Headers     any    `json:"headers"` // in the full set only: an object, or an array of pairs
}

// recorderNote stands where the recorder shortened a long reply.
const recorderNote = "\n...[truncated by the recorder"

func load(t testing.TB, pattern string) (all []recording) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := recording{file: filepath.Base(file)}
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if r.ContentType == "" {
			r.ContentType = header(r.Headers, "content-type")
		}
		var shortened bool
		r.Response, _, shortened = strings.Cut(r.Response, recorderNote)
		r.cut = shortened
		all = append(all, r)
	}
	return all
}

func header(headers any, name string) string {
	switch h := headers.(type) {
	case map[string]any:
		for k, v := range h {
			if strings.EqualFold(k, name) {
				s, _ := v.(string)
				return s
			}
		}
	case []any:
		for _, pair := range h {
			p, _ := pair.([]any)
			if len(p) == 2 && strings.EqualFold(p[0].(string), name) {
				return p[1].(string)
			}
		}
	}
	return ""
}

// recorded are the recordings that always run, and those of the full set where it is there.
func recorded(t testing.TB) []recording {
	t.Helper()
	all := load(t, "testdata/*.json")
	if len(all) < 40 {
		t.Fatalf("testdata has %d recordings", len(all))
	}
	for _, r := range all {
		if r.Origin == "" {
			t.Errorf("%s does not name its origin", r.file)
		}
	}
	return append(all, load(t, "../../../../shared/wire/*/*.json")...)
}

// TestRecordings serves every recorded reply by a real server, and reads it.
func TestRecordings(t *testing.T) {
	var now recording
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", now.ContentType)
		w.WriteHeader(now.Status)
		if _, err := w.Write([]byte(now.Response)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	c := New(Options{URL: parse(t, server.URL), KeepAlive: true})
	defer c.Close()
	outcomes := map[string]int{}
	for _, now = range recorded(t) {
		if now.Status == 0 {
			continue // the daemon answered nothing
		}
		got := outcome(t, now, c)
		outcomes[got]++
		if want := expected(now); got != want {
			t.Errorf("%s: %s, want %s", now.file, got, want)
		}
	}
	t.Log(outcomes)
}

// expected is the outcome that a recording must have.
func expected(r recording) string {
	switch {
	case r.Status != http.StatusOK:
		return "status"
	case r.Response == "", r.cut:
		return "cut"
	case strings.Contains(r.Response, "HTTP/1.1 200 OK"):
		return "malformed" // two pipelined replies, recorded as one
	case strings.HasPrefix(r.Response, "{"):
		return "content-type"
	case strings.Contains(r.Response, "<fault>"):
		return "fault"
	}
	return "value"
}

// outcome calls, and reads all that comes back.
func outcome(t *testing.T, r recording, c *Client) string {
	t.Helper()
	reply, err := c.Call(t.Context(), "recorded.call")
	var v scan.Value
	if err == nil {
		v, err = reply.Value()
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		if f.Code == 0 || f.Text == "" {
			t.Errorf("%s: fault %d %q", r.file, f.Code, f.Text)
		}
		return "fault"
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Failure()
	}
	if err != nil {
		return err.Error()
	}
	if _, err := anyOf(v); err != nil {
		return err.Error()
	}
	for _, d := range documents(v, "", scan.NewTable([]string{"**"})) {
		_, first := d.Next()
		if _, last := d.Next(); first != nil || !errors.Is(last, io.EOF) {
			t.Errorf("%s: a document: %v, and then %v", r.file, first, last)
		}
	}
	return "value"
}

// documents are those in the strings of a reply of OpenNebula.
func documents(v scan.Value, path string, table *scan.Table) (all []*scan.Document) {
	p := v.Parts(scan.Array)
	for p.Next() {
		if p.Value.Kind() == scan.String && bytes.HasPrefix(p.Value.Body(), []byte("&lt;")) {
			all = append(all, scan.NewDocument(scan.Whole(p.Value.Body()), path, table, true))
		}
	}
	return all
}

// TestRecordedRequests writes the recorded requests that the daemons took anew, and compares what
// they say: the types and texts of all parameters.
func TestRecordedRequests(t *testing.T) {
	var same, other int
	for _, r := range recorded(t) {
		if r.Status != http.StatusOK || strings.Contains(r.Response, "<fault>") {
			continue
		}
		want, ok := parameters(r.Request)
		if !ok {
			other++ // a raw HTTP exchange, or a form that only the recorder sends
			continue
		}
		args := make([]any, len(want))
		usable := true
		for i, v := range want {
			var err error
			args[i], err = anyOf(v)
			usable = usable && err == nil
		}
		body, err := encodeCall(r.Method, args)
		if !usable || err != nil {
			other++
			continue
		}
		got, ok := parameters(string(body))
		if !ok || len(got) != len(want) {
			t.Errorf("%s: wrote %s", r.file, body)
			continue
		}
		for i := range want {
			if g, w := describe(t, got[i]), describe(t, want[i]); g != w {
				t.Errorf("%s: parameter %d is %s, recorded %s", r.file, i+1, g, w)
			}
		}
		same++
	}
	t.Logf("%d requests are as recorded, %d are not calls that this package writes", same, other)
	if same < 30 || other > same/10 {
		t.Errorf("only %d requests were compared, %d were not", same, other)
	}
}

// parameters reads a request by way of the reply scanner.
func parameters(request string) (values []scan.Value, ok bool) {
	_, rest, ok := strings.Cut(request, "<params>")
	if !ok || !strings.HasPrefix(strings.TrimLeft(request, "\r\n "), "<") {
		return nil, false
	}
	list, _, ok := strings.Cut(rest, "</params>")
	for ok && strings.TrimSpace(list) != "" {
		var one string
		if one, list, ok = strings.Cut(list, "</param>"); !ok {
			return nil, false
		}
		v, err := reply([]byte("<methodResponse><params>" + one + "</param></params></methodResponse>")).Value()
		if err != nil {
			return nil, false
		}
		values = append(values, v)
	}
	return values, ok
}

// describe is a value's type and content, all the way down; members in the order of their names.
func describe(t *testing.T, v scan.Value) string {
	t.Helper()
	a, err := anyOf(v)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return v.Kind().String() + " " + string(b)
}
