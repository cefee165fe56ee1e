package store_test

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vmgateway/internal/store"
	"vmgateway/internal/store/storetest"
)

// relay stands before a Redis and can lose the answers to scripts, which have run by then.
type relay struct {
	listener net.Listener
	target   string
	lose     atomic.Int32 // answers still to be lost
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: u.Host}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
	return r
}

func (r *relay) url() string { return "redis://" + r.listener.Addr().String() }

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	var losing atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil || losing.Load() {
				return // what was read is the answer that is lost
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		if bytes.Contains(bytes.ToLower(buf[:n]), []byte("evalsha")) && r.lose.Add(-1) >= 0 {
			losing.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	if !losing.Load() {
		server.Close()
	}
	<-done
}

func TestRedisLosesNoWriteWithItsAnswer(t *testing.T) {
	target := storetest.Redis(t)
	relay := newRelay(t, target)
	direct := openRedis(t, store.RedisConfig{URL: target})
	r := openRedis(t, store.RedisConfig{URL: relay.url()})
	count := func(old []byte) ([]byte, time.Time, error) {
		n, _ := strconv.Atoi(string(old)) // none is 0
		return strconv.AppendInt(nil, int64(n+1), 10), time.Now().Add(time.Hour), nil
	}
	const updates = 20
	for i := range updates {
		relay.lose.Store(int32(i % 2)) // the scripts are loaded by the first
		if err := r.Update(t.Context(), "n", count); err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		if left := relay.lose.Load(); left > 0 {
			t.Fatalf("update %d: no answer was lost", i)
		}
	}
	if v, err := direct.Load(t.Context(), "n"); string(v) != strconv.Itoa(updates) || err != nil {
		t.Errorf("after %d updates: %q, %v", updates, v, err)
	}
	relay.lose.Store(1)
	err := r.Update(t.Context(), "n", func([]byte) ([]byte, time.Time, error) { return nil, time.Time{}, nil })
	if err != nil {
		t.Errorf("remove: %v", err)
	}
	if listed, err := direct.List(t.Context(), ""); len(listed) != 0 || err != nil {
		t.Errorf("left: %q, %v", listed, err)
	}
}

func TestRedisLosesNothingTakenWithItsAnswer(t *testing.T) {
	target := storetest.Redis(t)
	relay := newRelay(t, target)
	r := openRedis(t, store.RedisConfig{URL: relay.url()})
	take := func(round, lose int) {
		t.Helper()
		const entries = 3
		for i := range entries {
			if err := r.Update(t.Context(), fmt.Sprintf("s/%d", i), put("v", time.Now().Add(time.Hour))); err != nil {
				t.Fatal(err)
			}
		}
		relay.lose.Store(int32(lose))
		taken, err := r.Take(t.Context(), "s/", time.Now().Add(2*time.Hour))
		if len(taken) != entries || err != nil {
			t.Errorf("round %d: taken %q, %v", round, taken, err)
		}
		if left := relay.lose.Load(); left > 0 {
			t.Errorf("round %d: no answer was lost", round)
		}
	}
	for round, lose := range []int{0, 1, 2} {
		take(round, lose)
	}
}
