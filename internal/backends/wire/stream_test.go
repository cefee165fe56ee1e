package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func open(ctx context.Context, t *testing.T, o Options) *Stream {
	t.Helper()
	c := New(o)
	t.Cleanup(c.Close)
	s, err := c.Open(ctx, "one.vm.action", secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestAStreamComesWhileItArrives reads each piece before the next is sent.
func TestAStreamComesWhileItArrives(t *testing.T) {
	next := make(chan string)
	u := raw(t, func(_ string, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
		for piece := range next {
			io.WriteString(conn, piece)
		}
	})
	s := open(t.Context(), t, Options{URL: u})
	var want int64
	for _, piece := range []string{"<methodResponse>", "<params>", "x"} {
		next <- piece
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(s, got); err != nil || string(got) != piece {
			t.Fatalf("%q %v, want %q", got, err, piece)
		}
		if want += int64(len(piece)); s.Size() != want {
			t.Errorf("size %d, want %d", s.Size(), want)
		}
	}
	close(next)
	for range 2 {
		if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%d, %v at the end", n, err)
		}
	}
}

// TestAStreamIsNotBounded reads more than a reply may have.
func TestAStreamIsNotBounded(t *testing.T) {
	const size = 3 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/xml")
		io.CopyN(w, strings.NewReader(strings.Repeat("x", size)), size)
	}))
	defer server.Close()
	s := open(t.Context(), t, Options{URL: parse(t, server.URL), MaxReply: 1000})
	if n, err := io.Copy(io.Discard, s); n != size || err != nil {
		t.Errorf("%d bytes, %v; want %d", n, err, size)
	}
}

// TestOnlyTheBackendsTimeCounts waits longer between two reads than the backend may take for one, and
// then lets the backend take too long.
func TestOnlyTheBackendsTimeCounts(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	u := raw(t, func(_ string, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
		<-release
	})
	const limit = 100 * time.Millisecond
	s := open(t.Context(), t, Options{URL: u, Timeout: limit})
	b := make([]byte, 1)
	for range 3 {
		time.Sleep(limit) // the reader's own time
		if _, err := s.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Read(b)
	want(t, err, Timeout, true)
}

func TestAStreamHoldsItsPlace(t *testing.T) {
	u := raw(t, func(_ string, conn net.Conn) {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(okBody), okBody)
	})
	c := New(Options{URL: u, MaxConns: 1})
	first, err := c.Open(t.Context(), "one.vm.action")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Open(ctx, "one.vm.action")
	want(t, err, Timeout, false)
	for range 2 {
		first.Close()
	}
	_, err = first.Read(make([]byte, 1))
	want(t, err, Canceled, true)
	for range 3 {
		second, err := c.Open(t.Context(), "one.vm.action")
		if err != nil {
			t.Fatal(err)
		}
		second.Close()
	}
}

// TestAClosedStreamIsGivenUp closes one whose backend has more to send: the backend is told.
func TestAClosedStreamIsGivenUp(t *testing.T) {
	hungUp := make(chan error, 1)
	u := raw(t, func(_ string, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n")
		var err error
		for err == nil {
			_, err = conn.Write(make([]byte, 1<<16))
		}
		hungUp <- err
	})
	s := open(t.Context(), t, Options{URL: u, KeepAlive: true})
	if _, err := s.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	<-hungUp
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	u := raw(t, func(_ string, conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
		<-release
	})
	ctx, cancel := context.WithCancel(t.Context())
	s := open(ctx, t, Options{URL: u})
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := io.ReadAll(s)
	if e := want(t, err, Canceled, true); !errors.Is(e, context.Canceled) {
		t.Errorf("%v is no cancellation", e)
	}
}
