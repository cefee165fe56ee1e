package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"vmgateway/internal/store"
	"vmgateway/internal/store/storetest"
)

func openRedis(t *testing.T, c store.RedisConfig) *store.Redis {
	t.Helper()
	r, err := store.NewRedis(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestRedis(t *testing.T) {
	url := storetest.Redis(t)
	n := 0
	storetest.Run(t, func(t *testing.T, now func() time.Time) func() store.Store {
		n++
		prefix := fmt.Sprintf("test-%d:", n)
		return func() store.Store { return openRedis(t, store.RedisConfig{URL: url, Prefix: prefix, Now: now}) }
	})
}

func put(value string, expire time.Time) func([]byte) ([]byte, time.Time, error) {
	return func([]byte) ([]byte, time.Time, error) { return []byte(value), expire, nil }
}

func TestRedisKeepsToItsPrefix(t *testing.T) {
	url := storetest.Redis(t)
	a := openRedis(t, store.RedisConfig{URL: url, Prefix: "a:"})
	b := openRedis(t, store.RedisConfig{URL: url, Prefix: "b:"})
	for _, r := range []*store.Redis{a, b} {
		if err := r.Update(t.Context(), "k", put("v", time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if taken, err := a.Take(t.Context(), "", time.Time{}); len(taken) != 1 || err != nil {
		t.Errorf("taken: %q, %v", taken, err)
	}
	if _, err := b.Load(t.Context(), "k"); err != nil {
		t.Errorf("the other's entry: %v", err)
	}
	for _, key := range keysIn(t, url) {
		if !strings.HasPrefix(key, "a:") && !strings.HasPrefix(key, "b:") {
			t.Errorf("a key without a prefix: %q", key)
		}
	}
}

func client(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

func keysIn(t *testing.T, url string) []string {
	t.Helper()
	keys, err := client(t, url).Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// What Redis itself drops, because nobody took it, leaves nothing behind.
func TestRedisBoundsWhatIsNotTaken(t *testing.T) {
	url := storetest.Redis(t)
	now := time.Now()
	r := openRedis(t, store.RedisConfig{URL: url, Now: func() time.Time { return now }, Untaken: time.Hour})
	if err := r.Update(t.Context(), "a/lapses", put("v", now.Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	if err := r.Update(t.Context(), "b/stays", put("v", time.Time{})); err != nil {
		t.Fatal(err)
	}
	direct := client(t, url)
	ttl, err := direct.PTTL(t.Context(), "vmgateway:entry/a/lapses").Result()
	if err != nil || ttl <= time.Hour || ttl > time.Hour+time.Minute {
		t.Errorf("an entry that lapses in a minute and may be taken for an hour lives for %s (%v)", ttl, err)
	}
	if ttl, err := direct.PTTL(t.Context(), "vmgateway:entry/b/stays").Result(); err != nil || ttl >= 0 {
		t.Errorf("an entry that never lapses lives for %s (%v)", ttl, err)
	}
	if err := direct.PExpire(t.Context(), "vmgateway:entry/a/lapses", -time.Second).Err(); err != nil { // as in an hour
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if taken, err := r.Take(t.Context(), "other/", now); len(taken) != 0 || err != nil {
		t.Errorf("taken: %q, %v", taken, err)
	}
	for _, set := range []string{"index", "lapses"} {
		if members, err := direct.ZRange(t.Context(), "vmgateway:"+set, 0, -1).Result(); err != nil || strings.Contains(strings.Join(members, " "), "a/lapses") {
			t.Errorf("%s still has %q (%v)", set, members, err)
		}
	}
}

func TestRedisURL(t *testing.T) {
	const secret = "s3cr3t-of-redis"
	for _, url := range []string{
		"", "redis://", "http://127.0.0.1:6379", "redis:6379", "127.0.0.1:6379",
		"redis://:" + secret + "@127.0.0.1:port", "redis://:" + secret + "@127.0.0.1:6379/database",
		"redis://:" + secret + "@127.0.0.1:6379/0?no_such_option=" + secret, "redis://:" + secret + "%zz@127.0.0.1",
		"rediss://:" + secret + "\x7f@127.0.0.1",
	} {
		r, err := store.NewRedis(store.RedisConfig{URL: url})
		if err == nil {
			r.Close()
			t.Errorf("%q was taken", url)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

func TestRedisPassword(t *testing.T) {
	const secret = "s3cr3t-of-redis"
	server := storetest.StartRedis(t, secret)
	if err := openRedis(t, store.RedisConfig{URL: server.URL()}).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ name, url string }{
		{"a wrong one", strings.Replace(server.URL(), secret, "wrong-"+secret, 1)},
		{"none", strings.Replace(server.URL(), ":"+secret+"@", "", 1)},
	} {
		r := openRedis(t, store.RedisConfig{URL: c.url})
		if err := r.Ping(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := r.Load(t.Context(), "k"); err == nil || errors.Is(err, store.ErrNoEntry) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: load: %v", c.name, err)
		}
	}
}

func TestRedisComesBack(t *testing.T) {
	server := storetest.StartRedis(t, "")
	r := openRedis(t, store.RedisConfig{URL: server.URL()})
	if err := r.Update(t.Context(), "k", put("1", time.Time{})); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := r.Load(t.Context(), "k"); err == nil || errors.Is(err, store.ErrNoEntry) {
		t.Errorf("while it is away: %v", err)
	}
	if err := r.Update(t.Context(), "k", put("2", time.Time{})); err == nil {
		t.Error("an update without a Redis was no error")
	}
	server.Restart()
	if err := r.Update(t.Context(), "k", put("3", time.Time{})); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	if v, err := r.Load(t.Context(), "k"); string(v) != "3" || err != nil {
		t.Errorf("after it came back: %q, %v", v, err)
	}
}

// A server that accepts and never answers holds nobody up for longer than the context.
func TestRedisThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := openRedis(t, store.RedisConfig{URL: "redis://" + l.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Update(ctx, "k", put("v", time.Time{})); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("%v", err)
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
