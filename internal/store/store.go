package store

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// ErrNoEntry is what a [Store] gives for a key that it does not hold, or that has lapsed.
var ErrNoEntry = errors.New("no such entry")

// Store keeps small opaque values that lapse. One that several gateways share makes Update and Take
// atomic across all of them.
type Store interface {
	// Load gives the value of key, or ErrNoEntry when there is none or it has lapsed.
	Load(ctx context.Context, key string) ([]byte, error)

	// Update replaces the value of key by what change makes of it; old is nil when there is none,
	// and a nil value removes the entry. The zero time never lapses. change may run more than once
	// and must have no effects of its own; its error is handed back, and nothing is changed.
	Update(ctx context.Context, key string, change func(old []byte) (value []byte, expire time.Time, err error)) error

	// Take removes and gives the entries whose key has the prefix and that lapsed before now; the zero
	// time takes them all. An entry is given to one taker only.
	Take(ctx context.Context, prefix string, now time.Time) (map[string][]byte, error)

	// List gives the entries whose key has the prefix and that have not lapsed.
	List(ctx context.Context, prefix string) (map[string][]byte, error)

	// Ephemeral reports whether the entries end with the process.
	Ephemeral() bool
}

// Memory is a Store within the process.
type Memory struct {
	now     func() time.Time
	mu      sync.Mutex
	entries map[string]entry
}

type entry struct {
	value  []byte
	expire time.Time
}

func (e entry) lapsed(now time.Time) bool { return !e.expire.IsZero() && !now.Before(e.expire) }

// NewMemory makes an empty store; now is the clock.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, entries: make(map[string]entry)}
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok || e.lapsed(m.now()) {
		return nil, ErrNoEntry
	}
	return e.value, nil
}

// Update implements Store. An entry that has lapsed stays for Take, so that what it holds can be
// ended at the backend: it cannot be updated.
func (m *Memory) Update(_ context.Context, key string, change func(old []byte) ([]byte, time.Time, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if ok && e.lapsed(m.now()) {
		return ErrNoEntry
	}
	value, expire, err := change(e.value)
	if err != nil {
		return err
	}
	if value == nil {
		delete(m.entries, key)
		return nil
	}
	m.entries[key] = entry{value, expire}
	return nil
}

// Take implements Store.
func (m *Memory) Take(_ context.Context, prefix string, now time.Time) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := make(map[string][]byte)
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) && (now.IsZero() || e.lapsed(now)) {
			taken[key] = e.value
			delete(m.entries, key)
		}
	}
	return taken, nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, prefix string) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, listed := m.now(), make(map[string][]byte)
	for key, e := range m.entries {
		if strings.HasPrefix(key, prefix) && !e.lapsed(now) {
			listed[key] = e.value
		}
	}
	return listed, nil
}

// Ephemeral implements Store.
func (m *Memory) Ephemeral() bool { return true }
