package auth

import (
	"bytes"
	"testing"
	"time"
)

func TestKey(t *testing.T) {
	seal := NewKey()
	sessions := func(seal []byte) *Sessions {
		s, err := New(Options{Idle: time.Hour, Absolute: time.Hour, SealKey: seal})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := sessions(seal)
	key := s.Key("one purpose")
	if len(key) != 32 || !bytes.Equal(key, sessions(seal).Key("one purpose")) {
		t.Error("the key of a purpose is not the same after a restart")
	}
	for name, other := range map[string][]byte{
		"the sealing key": seal, "of another purpose": s.Key("another"), "of another sealing key": sessions(NewKey()).Key("one purpose"),
		"of shared logins": s.userKey, "of all parts": s.partsKey,
	} {
		if bytes.Equal(key, other) {
			t.Errorf("it is the key %s", name)
		}
	}
}
