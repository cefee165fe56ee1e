package auth

import (
	"errors"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	m := NewMemory(func() time.Time { return now })
	put := func(key, value string, expire time.Time) {
		t.Helper()
		err := m.Update(t.Context(), key, func(old []byte) ([]byte, time.Time, error) {
			return append(old, value...), expire, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("a", "1", now.Add(time.Minute))
	put("a", "2", now.Add(time.Minute))
	put("b", "3", time.Time{})
	if v, err := m.Load(t.Context(), "a"); string(v) != "12" || err != nil {
		t.Errorf("load: %q, %v", v, err)
	}
	refused := errors.New("refused")
	err := m.Update(t.Context(), "a", func([]byte) ([]byte, time.Time, error) { return nil, time.Time{}, refused })
	if v, _ := m.Load(t.Context(), "a"); !errors.Is(err, refused) || string(v) != "12" {
		t.Errorf("a refused update: %v, and left %q", err, v)
	}

	now = now.Add(time.Minute)
	if _, err := m.Load(t.Context(), "a"); !errors.Is(err, ErrNoEntry) {
		t.Errorf("a lapsed entry: %v", err)
	}
	err = m.Update(t.Context(), "a", func([]byte) ([]byte, time.Time, error) { return []byte("x"), time.Time{}, nil })
	if !errors.Is(err, ErrNoEntry) {
		t.Errorf("a lapsed entry was updated: %v", err)
	}
	if taken, err := m.Take(t.Context(), now); len(taken) != 1 || string(taken["a"]) != "12" || err != nil {
		t.Errorf("taken: %q, %v", taken, err)
	}
	if taken, _ := m.Take(t.Context(), now); len(taken) != 0 {
		t.Errorf("taken twice: %q", taken)
	}
	if taken, _ := m.Take(t.Context(), time.Time{}); string(taken["b"]) != "3" {
		t.Errorf("the rest: %q", taken)
	}
}

func TestSealer(t *testing.T) {
	s, err := newSealer(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	sealed := s.seal([]byte("credential"), "login/a")
	if text, err := s.open(sealed, "login/a"); string(text) != "credential" || err != nil {
		t.Errorf("opened: %q, %v", text, err)
	}
	if _, err := s.open(sealed, "login/b"); err == nil {
		t.Error("opened under another entry's key")
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, err := s.open(sealed, "login/a"); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		sealed[i] ^= 1
	}
	other, err := newSealer(NewKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.open(sealed, "login/a"); err == nil {
		t.Error("opened with another key")
	}
	if _, err := newSealer(make([]byte, 16)); err == nil {
		t.Error("a short key was taken")
	}
}

func TestKeyedMutex(t *testing.T) {
	var k keyedMutex
	unlock := k.lock("a")
	k.lock("b")() // another key does not wait
	got := make(chan struct{})
	go func() { k.lock("a")(); close(got) }()
	select {
	case <-got:
		t.Fatal("locked twice")
	default:
	}
	unlock()
	<-got
	if len(k.held) != 0 {
		t.Errorf("%d keys are held after the last use", len(k.held))
	}
}
