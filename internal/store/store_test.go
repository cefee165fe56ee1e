package store

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
	if listed, err := m.List(t.Context(), ""); len(listed) != 1 || string(listed["b"]) != "3" || err != nil {
		t.Errorf("listed: %q, %v", listed, err)
	}
	if taken, err := m.Take(t.Context(), "b", now); len(taken) != 0 || err != nil {
		t.Errorf("taken of another prefix: %q, %v", taken, err)
	}
	if taken, err := m.Take(t.Context(), "a", now); len(taken) != 1 || string(taken["a"]) != "12" || err != nil {
		t.Errorf("taken: %q, %v", taken, err)
	}
	if taken, _ := m.Take(t.Context(), "a", now); len(taken) != 0 {
		t.Errorf("taken twice: %q", taken)
	}
	if taken, _ := m.Take(t.Context(), "", time.Time{}); string(taken["b"]) != "3" {
		t.Errorf("the rest: %q", taken)
	}
}
