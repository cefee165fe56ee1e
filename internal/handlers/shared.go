package handlers

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"

	"vmgateway/internal/backends"
)

// readKey names a read of one login. The session is part of it: a login that the backend ended
// shares nothing with the next one of the same user.
type readKey struct {
	owner   string
	session backends.Session
	what    string // all that the answer depends on
}

// sharedReads carries identical reads out once: whoever asks for what is being read already waits
// for the same answer. What it gives is shared, and never written to.
//
// singleflight of x/sync does not count who waits, so a call could not end with the last of them.
type sharedReads struct {
	mu    sync.Mutex
	calls map[readKey]*sharedRead
}

// sharedRead is one read that is under way.
type sharedRead struct {
	users  int // guarded by sharedReads.mu
	cancel context.CancelFunc

	done  chan struct{} // closed when the rest is set
	value any
	err   error
	panic any
}

// joinRead gives what read gives for key. The first caller's context lends its values to the call, and
// the last one to leave ends it.
func joinRead[T any](ctx context.Context, s *sharedReads, key readKey, read func(context.Context) (T, error)) (T, error) {
	value, err := s.join(ctx, key, func(ctx context.Context) (any, error) { return read(ctx) })
	typed, _ := value.(T)
	return typed, err
}

func (s *sharedReads) join(ctx context.Context, key readKey, read func(context.Context) (any, error)) (any, error) {
	s.mu.Lock()
	c, ok := s.calls[key]
	if !ok {
		c = s.begin(ctx, key, read)
	}
	c.users++
	s.mu.Unlock()
	defer s.leave(key, c)
	select {
	case <-c.done:
	case <-ctx.Done():
		return nil, &backends.Error{Code: backends.BackendTimeout, Detail: "The request was given up before the backend answered.", Err: ctx.Err()}
	}
	if c.panic != nil {
		panic(c.panic) // in each request, as if it had read by itself
	}
	return c.value, c.err
}

// begin starts a call. s is locked.
func (s *sharedReads) begin(ctx context.Context, key readKey, read func(context.Context) (any, error)) *sharedRead {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &sharedRead{cancel: cancel, done: make(chan struct{})}
	if s.calls == nil {
		s.calls = make(map[readKey]*sharedRead)
	}
	s.calls[key] = c
	go func() {
		defer func() {
			if p := recover(); p != nil {
				c.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			s.mu.Lock()
			s.drop(key, c)
			s.mu.Unlock()
			close(c.done)
		}()
		c.value, c.err = read(ctx)
	}()
	return c
}

// leave counts a caller out; the last one ends the call.
func (s *sharedReads) leave(key readKey, c *sharedRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users == 0 {
		s.drop(key, c)
		c.cancel()
	}
}

// drop lets nobody join c any more. s is locked.
func (s *sharedReads) drop(key readKey, c *sharedRead) {
	if s.calls[key] == c {
		delete(s.calls, key)
	}
}

// forget lets nobody join what owner's logins are reading now: it may be older than what owner has
// just written.
func (s *sharedReads) forget(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.calls, func(key readKey, _ *sharedRead) bool { return key.owner == owner })
}
