package handlers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"vmgateway/internal/backends"
)

// call is one that a test holds up.
type call struct {
	ctx     context.Context
	release chan string
}

// caller joins reads that wait until the test lets them go on.
type caller struct {
	reads sharedReads
	calls chan call
}

func newCaller() *caller { return &caller{calls: make(chan call, 10)} }

func (c *caller) join(ctx context.Context, key readKey) (string, error) {
	return joinRead(ctx, &c.reads, key, func(ctx context.Context) (string, error) {
		one := call{ctx, make(chan string)}
		c.calls <- one
		select {
		case answer := <-one.release:
			return answer, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
}

// waiting is how many wait for the read of key.
func (c *caller) waiting(key readKey) int {
	c.reads.mu.Lock()
	defer c.reads.mu.Unlock()
	if one := c.reads.calls[key]; one != nil {
		return one.users
	}
	return 0
}

// await lets goroutines run until n wait for key.
func (c *caller) await(t *testing.T, key readKey, n int) {
	t.Helper()
	for c.waiting(key) != n {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		yield()
	}
}

func yield() { runtime.Gosched() }

var aliceReads = readKey{owner: "alice", session: backends.NewSession("alice:1"), what: "vms"}

func TestSharedReadIsOneCall(t *testing.T) {
	c := newCaller()
	var wg sync.WaitGroup
	var same atomic.Int64
	for range 50 {
		wg.Go(func() {
			if answer, err := c.join(t.Context(), aliceReads); answer == "the answer" && err == nil {
				same.Add(1)
			}
		})
	}
	c.await(t, aliceReads, 50)
	(<-c.calls).release <- "the answer"
	wg.Wait()
	if same.Load() != 50 || len(c.calls) != 0 {
		t.Errorf("%d of 50 got the answer, and there are %d more calls", same.Load(), len(c.calls))
	}
	if c.waiting(aliceReads) != 0 || len(c.reads.calls) != 0 {
		t.Error("a call that has ended can still be joined")
	}
}

// Whoever differs in anything reads by himself.
func TestSharedReadIsOfOneLogin(t *testing.T) {
	c := newCaller()
	keys := []readKey{aliceReads, aliceReads, aliceReads, aliceReads}
	keys[1].owner = "bob"
	keys[2].session = backends.NewSession("alice:2")
	keys[3].what = "hosts"
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			if answer, err := c.join(t.Context(), key); answer != fmt.Sprint(i) || err != nil {
				t.Errorf("%v got %q %v", key, answer, err)
			}
		})
		(<-c.calls).release <- fmt.Sprint(i)
		wg.Wait()
	}
	for i, key := range keys {
		wg.Go(func() { c.join(t.Context(), key) })
		c.await(t, key, 1)
		defer func() { (<-c.calls).release <- fmt.Sprint(i) }()
	}
	if len(c.reads.calls) != len(keys) {
		t.Errorf("%d calls for %d keys", len(c.reads.calls), len(keys))
	}
}

// Who leaves does not end the call for the others; the last one does.
func TestSharedReadIsLeft(t *testing.T) {
	c := newCaller()
	first, leaveFirst := context.WithCancel(t.Context())
	second, leaveSecond := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, ctx := range []context.Context{first, second} {
		wg.Go(func() {
			if _, err := c.join(ctx, aliceReads); !errors.Is(err, context.Canceled) {
				t.Errorf("left with %v", err)
			}
		})
	}
	c.await(t, aliceReads, 2)
	one := <-c.calls
	leaveFirst()
	c.await(t, aliceReads, 1)
	if one.ctx.Err() != nil {
		t.Error("the first to leave ended the call")
	}
	leaveSecond()
	<-one.ctx.Done()
	wg.Wait()
	go func() { (<-c.calls).release <- "anew" }()
	if answer, err := c.join(t.Context(), aliceReads); answer != "anew" || err != nil {
		t.Errorf("joined a call that was given up: %q %v", answer, err)
	}
}

// After a write nobody joins what began before it; those who wait already get their answer.
func TestSharedReadBeforeAWrite(t *testing.T) {
	c := newCaller()
	bob := aliceReads
	bob.owner = "bob"
	answers := make(chan string, 3)
	ask := func(key readKey) {
		go func() {
			answer, _ := c.join(t.Context(), key)
			answers <- answer
		}()
		c.await(t, key, 1)
	}
	ask(aliceReads)
	before := <-c.calls
	ask(bob)
	other := <-c.calls
	c.reads.forget("alice")
	ask(aliceReads)
	after := <-c.calls
	if c.waiting(bob) != 1 {
		t.Error("another user's read was forgotten too")
	}
	for name, one := range map[string]call{"before": before, "after": after, "other": other} {
		one.release <- name
		if got := <-answers; got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	if len(c.reads.calls) != 0 {
		t.Errorf("%d calls are left", len(c.reads.calls))
	}
}

// A mistake of ours in a shared read is one in each request, and ends no process.
func TestSharedReadPanics(t *testing.T) {
	var reads sharedReads
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "a mistake of ours") || !strings.Contains(p, "shared_test.go") {
			t.Errorf("recovered %s", p)
		}
	}()
	joinRead(t.Context(), &reads, aliceReads, func(context.Context) (string, error) { panic("a mistake of ours") })
	t.Error("went on")
}
