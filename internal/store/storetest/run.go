package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vmgateway/internal/store"
)

// World is a store of its own for one test. Each call gives a way to the same entries, as another
// gateway has it; now is its clock.
type World func(t *testing.T, now func() time.Time) (open func() store.Store)

// Run holds a store against what store.Store promises.
func Run(t *testing.T, world World) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"an entry is what the last update made of it", updates},
		{"a refused update changes nothing", refusals},
		{"an entry without a value is there", emptyValues},
		{"values are bytes", binaryValues},
		{"what has lapsed is only to be taken", lapses},
		{"a later lapse time counts, and so does none", renewals},
		{"a list has what has not lapsed, by prefix", lists},
		{"the zero time takes all", takesAll},
		{"many change one entry at once", contention},
		{"a lapsed entry is given to one taker", takers},
		{"thousands of entries", thousands},
		{"a context that has ended", contexts},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{T: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
			b.open = world(t, b.clock)
			b.Store = b.open()
			c.test(b)
		})
	}
}

type bench struct {
	*testing.T
	store.Store
	open func() store.Store

	mu  sync.Mutex
	now time.Time
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) put(key, value string, life time.Duration) {
	b.Helper()
	var expire time.Time
	if life > 0 {
		expire = b.clock().Add(life)
	}
	err := b.Update(b.Context(), key, func([]byte) ([]byte, time.Time, error) { return []byte(value), expire, nil })
	if err != nil {
		b.Fatalf("put %s: %v", key, err)
	}
}

func (b *bench) want(key, value string) {
	b.Helper()
	if got, err := b.Load(b.Context(), key); err != nil || string(got) != value {
		b.Errorf("%s is %q (%v), want %q", key, got, err, value)
	}
}

func (b *bench) wantNone(key string) {
	b.Helper()
	if got, err := b.Load(b.Context(), key); !errors.Is(err, store.ErrNoEntry) {
		b.Errorf("%s is %q (%v), want none", key, got, err)
	}
}

func (b *bench) wantAll(what string, got map[string][]byte, err error, want ...string) {
	b.Helper()
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(got)) {
		pairs = append(pairs, key+"="+string(got[key]))
	}
	if err != nil || !slices.Equal(pairs, want) {
		b.Errorf("%s: %q (%v), want %q", what, pairs, err, want)
	}
}

func updates(b *bench) {
	b.wantNone("a")
	appendTo := func(key, value string) {
		err := b.Update(b.Context(), key, func(old []byte) ([]byte, time.Time, error) {
			if first := len(old) == 0; first != (old == nil) {
				b.Errorf("an entry that is there is %v", old)
			}
			return append(slices.Clone(old), value...), time.Time{}, nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	appendTo("a", "1")
	appendTo("a", "2")
	appendTo("b", "3")
	b.want("a", "12")
	b.want("b", "3")
	remove := func([]byte) ([]byte, time.Time, error) { return nil, time.Time{}, nil }
	for range 2 { // once more, though there is none
		if err := b.Update(b.Context(), "a", remove); err != nil {
			b.Fatal(err)
		}
		b.wantNone("a")
	}
	listed, err := b.List(b.Context(), "")
	b.wantAll("left", listed, err, "b=3")
}

func refusals(b *bench) {
	b.put("a", "1", 0)
	refused := errors.New("refused")
	for _, key := range []string{"a", "new"} {
		err := b.Update(b.Context(), key, func([]byte) ([]byte, time.Time, error) { return []byte("x"), time.Time{}, refused })
		if !errors.Is(err, refused) {
			b.Errorf("%s: %v, want its own error back", key, err)
		}
	}
	b.want("a", "1")
	b.wantNone("new")
}

func emptyValues(b *bench) {
	b.put("a", "", time.Minute)
	b.want("a", "")
	err := b.Update(b.Context(), "a", func(old []byte) ([]byte, time.Time, error) {
		if old == nil {
			b.Error("an empty entry is given as none")
		}
		return nil, time.Time{}, nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.wantNone("a")
}

func binaryValues(b *bench) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	b.put("a/ä\x00 *?[", string(all), time.Minute)
	b.want("a/ä\x00 *?[", string(all))
	b.advance(time.Hour)
	taken, err := b.Take(b.Context(), "a/ä\x00 *", b.clock())
	b.wantAll("taken", taken, err, "a/ä\x00 *?[="+string(all))
}

func lapses(b *bench) {
	b.put("s/a", "1", time.Minute)
	b.put("s/b", "2", 2*time.Minute)
	b.put("s/c", "3", 0)
	b.put("t/a", "4", time.Minute)
	b.advance(time.Minute - time.Microsecond)
	b.want("s/a", "1")
	taken, err := b.Take(b.Context(), "s/", b.clock())
	b.wantAll("taken too early", taken, err)
	b.advance(time.Microsecond)
	b.wantNone("s/a")
	err = b.Update(b.Context(), "s/a", func([]byte) ([]byte, time.Time, error) {
		b.Error("a lapsed entry is handed to an update")
		return []byte("x"), time.Time{}, nil
	})
	if !errors.Is(err, store.ErrNoEntry) {
		b.Errorf("a lapsed entry was updated: %v", err)
	}
	taken, err = b.Take(b.Context(), "s/", b.clock())
	b.wantAll("taken", taken, err, "s/a=1")
	taken, err = b.Take(b.Context(), "s/", b.clock())
	b.wantAll("taken twice", taken, err)
	b.put("s/a", "5", time.Minute) // its key is free again
	b.want("s/a", "5")
	b.want("s/b", "2")
	taken, err = b.Take(b.Context(), "", b.clock())
	b.wantAll("of any prefix", taken, err, "t/a=4")
	b.advance(1000 * time.Hour)
	b.want("s/c", "3")
}

func renewals(b *bench) {
	b.put("a", "1", time.Minute)
	b.put("b", "1", time.Minute)
	b.put("a", "2", time.Hour)
	b.put("b", "2", 0)
	b.advance(2 * time.Minute)
	b.want("a", "2")
	b.want("b", "2")
	taken, err := b.Take(b.Context(), "", b.clock())
	b.wantAll("taken though renewed", taken, err)
	b.advance(time.Hour)
	taken, err = b.Take(b.Context(), "", b.clock())
	b.wantAll("taken", taken, err, "a=2")
	b.want("b", "2")
}

func lists(b *bench) {
	for _, key := range []string{"a/1", "a/2", "a", "a0", "b/1", "a/\xff", "\xff\xff1"} {
		b.put(key, strings.ToUpper(key), time.Hour)
	}
	b.put("a/lapsed", "x", time.Minute)
	b.advance(time.Minute)
	for prefix, want := range map[string][]string{
		"a/":       {"a/1=A/1", "a/2=A/2", "a/\xff=" + strings.ToUpper("a/\xff")},
		"b":        {"b/1=B/1"},
		"c":        nil,
		"\xff\xff": {"\xff\xff1=" + strings.ToUpper("\xff\xff1")},
	} {
		listed, err := b.List(b.Context(), prefix)
		b.wantAll(fmt.Sprintf("the list of %q", prefix), listed, err, want...)
	}
	if listed, err := b.List(b.Context(), ""); len(listed) != 7 || err != nil {
		b.Errorf("all: %d (%v), want 7", len(listed), err)
	}
}

func takesAll(b *bench) {
	b.put("a/1", "1", time.Minute)
	b.put("a/2", "2", time.Hour)
	b.put("a/3", "3", 0)
	b.put("b", "4", 0)
	b.advance(2 * time.Minute)
	taken, err := b.Take(b.Context(), "a/", time.Time{})
	b.wantAll("taken", taken, err, "a/1=1", "a/2=2", "a/3=3")
	listed, err := b.List(b.Context(), "")
	b.wantAll("left", listed, err, "b=4")
}

func contention(b *bench) {
	const writers, times = 20, 10
	var work sync.WaitGroup
	for range writers {
		s := b.open()
		work.Go(func() {
			for range times {
				err := s.Update(b.Context(), "n", func(old []byte) ([]byte, time.Time, error) {
					n, _ := strconv.Atoi(string(old)) // none is 0
					return strconv.AppendInt(nil, int64(n+1), 10), b.clock().Add(time.Hour), nil
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	work.Wait()
	b.want("n", strconv.Itoa(writers*times))
}

func takers(b *bench) {
	const entries = 500
	for i := range entries {
		b.put(fmt.Sprintf("s/%d", i), strconv.Itoa(i), time.Minute)
	}
	b.advance(time.Hour)
	var mu sync.Mutex
	var work sync.WaitGroup
	given := make(map[string]int)
	for range 4 {
		s := b.open()
		work.Go(func() {
			taken, err := s.Take(b.Context(), "s/", b.clock())
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for key, value := range taken {
				if "s/"+string(value) != key {
					b.Errorf("%s was taken as %q", key, value)
				}
				given[key]++
			}
		})
	}
	work.Wait()
	for key, n := range given {
		if n != 1 {
			b.Errorf("%s was given to %d takers", key, n)
		}
	}
	if len(given) != entries {
		b.Errorf("%d entries were given out of %d", len(given), entries)
	}
}

func thousands(b *bench) {
	const entries = 2500
	for i := range entries {
		b.put(fmt.Sprintf("s/%d", i), strconv.Itoa(i), time.Duration(1+i%2)*time.Hour)
	}
	listed, err := b.List(b.Context(), "s/")
	if len(listed) != entries || err != nil || string(listed["s/1234"]) != "1234" {
		b.Errorf("listed: %d (%v)", len(listed), err)
	}
	b.advance(time.Hour)
	taken, err := b.Take(b.Context(), "s/", b.clock())
	if len(taken) != entries/2 || err != nil || string(taken["s/1234"]) != "1234" {
		b.Errorf("taken: %d (%v)", len(taken), err)
	}
	if listed, err = b.List(b.Context(), "s/"); len(listed) != entries/2 || err != nil {
		b.Errorf("left: %d (%v)", len(listed), err)
	}
}

// contexts asks of a store outside of the process only that it stops with an error; one within may
// finish at once.
func contexts(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if b.Ephemeral() {
		return
	}
	if _, err := b.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
		b.Errorf("load: %v", err)
	}
	if _, err := b.List(ctx, "a"); !errors.Is(err, context.Canceled) {
		b.Errorf("list: %v", err)
	}
	if _, err := b.Take(ctx, "a", b.clock()); !errors.Is(err, context.Canceled) {
		b.Errorf("take: %v", err)
	}
	err := b.Update(ctx, "a", func([]byte) ([]byte, time.Time, error) { return []byte("x"), time.Time{}, nil })
	if !errors.Is(err, context.Canceled) {
		b.Errorf("update: %v", err)
	}
	b.wantNone("a")
}
