package main

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// TestSlowSenders: whoever sends a header or a body drop by drop is cut off, and does not hold a
// place for ever.
func TestSlowSenders(t *testing.T) {
	cfg := defaults()
	cfg.Listen = "127.0.0.1:0"
	cfg.Timeouts.ReadHeader, cfg.Timeouts.Read = 100*time.Millisecond, 200*time.Millisecond
	s, err := newServer(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- s.serve(ctx, func(url string) error { address <- strings.TrimPrefix(url, "http://"); return nil })
	}()
	at := <-address
	for name, text := range map[string]string{
		"half a header": "GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"half a body":   "POST /sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		"nothing":       "",
	} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(conn) // ends when the gateway closes the connection
		if err != nil {
			t.Errorf("%s: the connection stays: %v", name, err)
		}
		if strings.HasPrefix(string(reply), "HTTP/1.1 2") {
			t.Errorf("%s: answered %.40s", name, reply)
		}
		conn.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
