package auth

import "testing"

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
