package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// demo runs `gateway -demo` until the test ends.
type demo struct {
	info   demoInfo
	stdout *syncBuffer
	stderr *syncBuffer
	stop   func() error
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	path := filepath.Join(t.TempDir(), "info.json")
	ctx, cancel := context.WithCancel(context.Background())
	d := &demo{stdout: &syncBuffer{}, stderr: &syncBuffer{}}
	ended := make(chan error, 1)
	args = append([]string{"-demo", "-listen", "127.0.0.1:0", "-demo-info", path, "-demo-vms", "8"}, args...)
	go func() { ended <- run(ctx, args, func() []string { return nil }, d.stdout, d.stderr) }()
	d.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { d.stop() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("ended at once: %v", err)
		default:
		}
		if text, err := os.ReadFile(path); err == nil {
			if err := json.Unmarshal(text, &d.info); err != nil {
				t.Fatalf("the demo's info is written half: %v", err)
			}
			return d
		}
		if time.Now().After(deadline) {
			t.Fatal("the demo does not get ready")
		}
	}
}

func (d *demo) post(t *testing.T, path, token string, body any) (int, map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.info.URL+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var reply map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, reply
}

// TestDemo starts the whole program, logs every user in, and stops it.
func TestDemo(t *testing.T) {
	d := startDemo(t)
	if len(d.info.Backends) != 2 || d.info.Backends[0].ID != "one" || d.info.Backends[1].ID != "xen" {
		t.Fatalf("info: %+v", d.info)
	}
	var secrets []string
	for _, b := range d.info.Backends {
		if len(b.Users) < 3 {
			t.Errorf("%s has %d users", b.ID, len(b.Users))
		}
		for _, u := range b.Users {
			status, reply := d.post(t, "/sessions", "", map[string]string{"backend": b.ID, "username": u.Username, "password": u.Password})
			if status != http.StatusCreated {
				t.Errorf("%s at %s: %d %v", u.Username, b.ID, status, reply)
				continue
			}
			secrets = append(secrets, reply["token"].(string))
		}
	}
	resp, err := http.Get(d.info.URL + "/docs")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(page), "/docs/swagger-ui-bundle.js") || strings.Contains(string(page), "https://unpkg") {
		t.Errorf("the reference page: %v %.300s", err, page)
	}
	if asset, err := http.Get(d.info.URL + "/docs/swagger-ui-bundle.js"); err != nil || asset.StatusCode != http.StatusOK {
		t.Errorf("its script: %v %v", asset, err)
	} else {
		asset.Body.Close()
	}
	if err := d.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if !strings.Contains(d.stdout.String(), d.info.URL+"\n") {
		t.Errorf("the welcome lacks the address:\n%s", d.stdout.String())
	}
	for _, secret := range secrets {
		if strings.Contains(d.stderr.String(), secret) {
			t.Error("the log holds a token")
		}
	}
}

// TestHealthCheck is what the container's health check runs.
func TestHealthCheck(t *testing.T) {
	d := startDemo(t)
	address := strings.TrimPrefix(d.info.URL, "http://")
	check := func() error {
		return run(t.Context(), []string{"-health-check", "-listen", address}, func() []string { return nil }, io.Discard, io.Discard)
	}
	if err := check(); err != nil {
		t.Errorf("alive: %v", err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil {
		t.Error("healthy, though nothing runs")
	}
}

// TestListenTaken: a port that is taken is told, and nothing is left running.
func TestListenTaken(t *testing.T) {
	d := startDemo(t)
	address := strings.TrimPrefix(d.info.URL, "http://")
	err := run(t.Context(), []string{"-demo", "-listen", address}, func() []string { return nil }, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-version"}, func() []string { return nil }, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "gateway ") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
