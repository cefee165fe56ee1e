package auth

import (
	"bytes"
	"sync"
)

// remembered is how many entries of each kind a memo holds. Beyond it, one makes room for the next.
const remembered = 4096

// memo remembers what sealed entries were opened to, so that a request does not decrypt and decode
// again what nobody has changed since the one before. It is always asked with the bytes that the
// store holds now: what another gateway changes shows at once, and what has ended is not asked for.
//
// What it gives is shared: nobody may write to what its slices and pointers lead to.
type memo[E any] struct {
	mu     sync.RWMutex
	opened map[string]opened[E] // by the entry's key, which its seal is bound to
}

type opened[E any] struct {
	sealed []byte
	entry  E
}

// get gives what sealed was opened to, if key had the same bytes then.
func (m *memo[E]) get(key string, sealed []byte) (E, bool) {
	m.mu.RLock()
	o, ok := m.opened[key]
	m.mu.RUnlock()
	if !ok || !bytes.Equal(o.sealed, sealed) {
		var none E
		return none, false
	}
	return o.entry, true
}

func (m *memo[E]) put(key string, sealed []byte, e E) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.opened == nil {
		m.opened = make(map[string]opened[E])
	}
	if _, ok := m.opened[key]; !ok && len(m.opened) >= remembered {
		for other := range m.opened { // a map gives them in no order, so this wears on nobody in particular
			delete(m.opened, other)
			break
		}
	}
	m.opened[key] = opened[E]{sealed, e}
}

// forget lets go of an entry that was changed or has ended: a credential stays no longer than it must.
func (m *memo[E]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.opened, key)
}
