package storetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Redis starts a redis-server of the test's own on a loopback port and gives its URL. It keeps
// nothing on disk and ends with the test.
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t, "").URL()
}

// Server is a running redis-server.
type Server struct {
	t        testing.TB
	port     int
	password string
	stop     func()
}

// StartRedis starts a redis-server; a password that is not "" is asked for.
func StartRedis(t testing.TB, password string) *Server {
	t.Helper()
	s := &Server{t: t, password: password}
	const attempts = 5 // somebody else may take a free port before the server does
	var err error
	for range attempts {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.start(); err == nil {
			t.Cleanup(func() { s.stop() })
			return s
		}
	}
	t.Fatalf("no redis-server: %v", err)
	return nil
}

// URL is where it listens, with its password.
func (s *Server) URL() string {
	user := ""
	if s.password != "" {
		user = ":" + s.password + "@"
	}
	return fmt.Sprintf("redis://%s127.0.0.1:%d/0", user, s.port)
}

// Stop ends the server, and all that it holds; again, it does nothing.
func (s *Server) Stop() { s.stop() }

// Restart starts a stopped server on the same port, empty.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) start() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is not installed, and the Redis store is not tested without one: " +
			"apt-get install redis-server (Debian, Ubuntu), dnf install redis (Fedora), brew install redis (macOS)")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--bind", "127.0.0.1", "--port", fmt.Sprint(s.port),
		"--dir", s.t.TempDir(), "--save", "", "--appendonly", "no", "--logfile", "", "--daemonize", "no")
	if s.password != "" {
		cmd.Args = append(cmd.Args, "--requirepass", s.password)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return err
	}
	lines := bufio.NewReader(out)
	log, ready := awaitReady(lines)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, lines) // a full pipe would stop the server
		_ = cmd.Wait()                    // how a server ends that was killed says nothing
	}()
	s.stop = func() {
		cancel()
		<-done
	}
	if !ready {
		s.stop()
		return fmt.Errorf("redis-server on port %d did not become ready:\n%s", s.port, log)
	}
	return nil
}

// awaitReady reads the server's log until it says that it serves.
func awaitReady(lines *bufio.Reader) (log string, ready bool) {
	for {
		line, err := lines.ReadString('\n')
		log += line
		if strings.Contains(line, "Ready to accept connections") {
			return log, true
		}
		if err != nil {
			return log, false
		}
	}
}
