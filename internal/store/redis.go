package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisConfig says where a Redis is. URL is required.
type RedisConfig struct {
	// URL is redis://[user:password@]host[:port][/database], or rediss:// for TLS. The options of
	// go-redis can follow as a query. The Redis must not evict keys (maxmemory-policy noeviction).
	URL string
	// Prefix stands before every key, so that others can use the same database; "" = "vmgateway:".
	Prefix string
	// TLS replaces what rediss:// does by default: the system's authorities, the URL's host.
	TLS *tls.Config
	// Now is the clock; nil = time.Now. The clocks of gateways that share a Redis should agree.
	Now func() time.Time
	// Untaken is how long a lapsed entry waits for Take before Redis drops it; 0 = seven days.
	Untaken time.Duration
}

// Redis is a Store in a Redis server (5 or later), shared by all gateways that are given the same
// database and prefix. It is one server, or one that others stand in for: not a cluster.
//
// With the prefix before each, its keys are
//
//	entry/{key}     a string: the lapse time, a stamp of the write, the value
//	index           a sorted set of all keys, in the order of their bytes
//	lapses          a sorted set of the keys that lapse, by their time in microseconds
//	taken/{ticket}  for a minute, what a Take took, in case its answer is lost
//
// Redis' own expiry only bounds how long an entry waits for Take: what it drops, nobody is given.
type Redis struct {
	client  *redis.Client
	prefix  string
	now     func() time.Time
	untaken time.Duration
}

const (
	headerSize = 16 // lapse time in microseconds (0 = never) and stamp, 8 bytes each
	pageSize   = 200
	tries      = 3
)

// NewRedis makes a Store. It connects to nothing; errors name no part of the URL, which can hold a
// password.
func NewRedis(c RedisConfig) (*Redis, error) {
	o, err := redisOptions(c)
	if err != nil {
		return nil, err
	}
	logging.Disable() // go-redis writes to standard error what it also returns
	r := &Redis{client: redis.NewClient(o), prefix: c.Prefix, now: c.Now, untaken: c.Untaken}
	if r.prefix == "" {
		r.prefix = "vmgateway:"
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.untaken <= 0 {
		r.untaken = 7 * 24 * time.Hour
	}
	return r, nil
}

func redisOptions(c RedisConfig) (*redis.Options, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
		return nil, errors.New("the URL of the Redis store is not of the form redis://host:port/database or rediss://…")
	}
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, errors.New("the URL of the Redis store has a wrong port, database or option")
	}
	if c.TLS != nil && o.TLSConfig == nil {
		return nil, errors.New("TLS is configured for the Redis store, but its URL is not rediss://")
	}
	if c.TLS != nil {
		own := c.TLS.Clone()
		if own.ServerName == "" {
			own.ServerName = o.TLSConfig.ServerName
		}
		o.TLSConfig = own
	}
	o.MaxRetries = -1 // what changes something is not simply sent again
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// Ping asks whether the Redis answers, and takes the password.
func (r *Redis) Ping(ctx context.Context) error {
	return r.again(ctx, func() error { return r.client.Ping(ctx).Err() })
}

// Close ends the connections. The entries stay.
func (r *Redis) Close() error { return r.client.Close() }

// Ephemeral implements Store.
func (r *Redis) Ephemeral() bool { return false }

func (r *Redis) entryName(key string) string { return r.prefix + "entry/" + key }
func (r *Redis) indexName() string           { return r.prefix + "index" }
func (r *Redis) lapsesName() string          { return r.prefix + "lapses" }

// record is an entry as it lies in Redis.
type record []byte

func newRecord(value []byte, expire time.Time) record {
	rec := make(record, headerSize, headerSize+len(value))
	if !expire.IsZero() {
		binary.BigEndian.PutUint64(rec, uint64(expire.UnixMicro()))
	}
	rand.Read(rec[8:headerSize]) // never fails since Go 1.24
	return append(rec, value...)
}

// header tells one write of an entry from all others.
func (rec record) header() []byte { return rec[:min(len(rec), headerSize)] }

func (rec record) value() []byte { return rec[headerSize:] }

func (rec record) lapsed(now time.Time) bool {
	at := int64(binary.BigEndian.Uint64(rec))
	return at != 0 && now.UnixMicro() >= at
}

func parseRecord(text string) (record, error) {
	if len(text) < headerSize {
		return nil, errors.New("redis: an entry is damaged, or not of this gateway: is the prefix used by others?")
	}
	return record(text), nil
}

// read gives nil when there is no entry.
func (r *Redis) read(ctx context.Context, key string) (record, error) {
	var text string
	err := r.again(ctx, func() (err error) {
		text, err = r.client.Get(ctx, r.entryName(key)).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRecord(text)
}

// Load implements Store.
func (r *Redis) Load(ctx context.Context, key string) ([]byte, error) {
	rec, err := r.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if rec == nil || rec.lapsed(r.now()) {
		return nil, ErrNoEntry
	}
	return rec.value(), nil
}

// replaceScript writes an entry if it is still what was read: KEYS entry, index, lapses; ARGV key, header
// that was read, new record ("" = none), lapse time ("" = never), milliseconds to live ("" = for ever).
var replaceScript = redis.NewScript(`
local now = redis.call('GET', KEYS[1]) or ''
if string.sub(now, 1, #ARGV[2]) ~= ARGV[2] or (ARGV[2] == '' and now ~= '') then return 0 end
if ARGV[3] == '' then
	redis.call('DEL', KEYS[1])
	redis.call('ZREM', KEYS[2], ARGV[1])
	redis.call('ZREM', KEYS[3], ARGV[1])
	return 1
end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[4] == '' then
	redis.call('SET', KEYS[1], ARGV[3])
	redis.call('ZREM', KEYS[3], ARGV[1])
else
	redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
	redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
end
return 1`)

// Update implements Store. Others who change the same entry at the same time make change run again;
// somebody gets on with each attempt.
func (r *Redis) Update(ctx context.Context, key string, change func(old []byte) ([]byte, time.Time, error)) error {
	for attempt := 0; ; attempt++ {
		was, err := r.read(ctx, key)
		if err != nil {
			return err
		}
		if was != nil && was.lapsed(r.now()) {
			return ErrNoEntry
		}
		var old []byte
		if was != nil {
			old = was.value()
		}
		value, expire, err := change(old)
		if err != nil || value == nil && was == nil {
			return err
		}
		var next record
		if value != nil {
			next = newRecord(value, expire)
		}
		done, err := r.swap(ctx, key, was, next, expire)
		if done || err != nil {
			return err
		}
		if err := backOff(ctx, attempt); err != nil {
			return err
		}
	}
}

// swap replaces was by next, or reports that somebody else has changed the entry. When the answer is
// lost, the entry tells by its stamp whether the write was made.
func (r *Redis) swap(ctx context.Context, key string, was, next record, expire time.Time) (done bool, err error) {
	var lapse, ttl string
	if !expire.IsZero() {
		lapse = strconv.FormatInt(expire.UnixMicro(), 10)
		ttl = strconv.FormatInt(max(expire.Sub(r.now()), 0).Milliseconds()+r.untaken.Milliseconds(), 10)
	}
	names := []string{r.entryName(key), r.indexName(), r.lapsesName()}
	for attempt := 1; ; attempt++ {
		n, err := replaceScript.Run(ctx, r.client, names, key, was.header(), []byte(next), lapse, ttl).Int()
		if err == nil {
			return n == 1, nil
		}
		if !isLost(err) || attempt == tries {
			return false, fmt.Errorf("redis: %w", err)
		}
		now, readErr := r.read(ctx, key)
		switch {
		case readErr != nil:
			return false, fmt.Errorf("redis: whether an entry was written is unknown: %w", err)
		case bytes.Equal(now.header(), next.header()):
			return true, nil
		case !bytes.Equal(now.header(), was.header()):
			return false, fmt.Errorf("redis: whether an entry was written before another writer did is unknown: %w", err)
		}
	}
}

// backOff makes room for the others who change the same entry.
func backOff(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return ctx.Err()
	}
	most := time.Millisecond << min(attempt, 5)
	t := time.NewTimer(mathrand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeScript removes entries and gives them: KEYS ticket, index, lapses, then the entries; ARGV the time
// before which they lapsed ("" = any), then the keys. A ticket that was used gives the same again.
var takeScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('HGETALL', KEYS[1]) end
local taken = {}
for i = 4, #KEYS do
	local key = ARGV[i - 2]
	local lapse = redis.call('ZSCORE', KEYS[3], key)
	if ARGV[1] == '' or (lapse and tonumber(lapse) <= tonumber(ARGV[1])) then
		local entry = redis.call('GET', KEYS[i])
		redis.call('DEL', KEYS[i])
		redis.call('ZREM', KEYS[2], key)
		redis.call('ZREM', KEYS[3], key)
		if entry then
			taken[#taken + 1] = key
			taken[#taken + 1] = entry
			redis.call('HSET', KEYS[1], key, entry)
		end
	end
end
redis.call('PEXPIRE', KEYS[1], 60000)
return taken`)

// Take implements Store.
func (r *Redis) Take(ctx context.Context, prefix string, now time.Time) (map[string][]byte, error) {
	keys, err := r.keysToTake(ctx, prefix, now)
	if err != nil {
		return nil, err
	}
	taken := make(map[string][]byte)
	for page := range slices.Chunk(keys, pageSize) {
		if err := r.takePage(ctx, page, now, taken); err != nil {
			// What was taken before is gone from the store: it is handed out all the same, and the rest
			// lies there for the next time.
			if len(taken) > 0 {
				return taken, nil
			}
			return nil, err
		}
	}
	return taken, nil
}

func (r *Redis) takePage(ctx context.Context, keys []string, now time.Time, taken map[string][]byte) error {
	ticket := r.prefix + "taken/" + rand.Text()
	names := []string{ticket, r.indexName(), r.lapsesName()}
	args := []any{""}
	if !now.IsZero() {
		args[0] = strconv.FormatInt(now.UnixMicro(), 10)
	}
	for _, key := range keys {
		names, args = append(names, r.entryName(key)), append(args, key)
	}
	var pairs []string
	err := r.again(ctx, func() (err error) {
		pairs, err = takeScript.Run(ctx, r.client, names, args...).StringSlice()
		return err
	})
	if err != nil {
		return err
	}
	for pair := range slices.Chunk(pairs, 2) {
		if len(pair) < 2 {
			break
		}
		if rec, err := parseRecord(pair[1]); err == nil { // a damaged one is nothing to anybody
			taken[pair[0]] = rec.value()
		}
	}
	return nil
}

// keysToTake lists what Take may find.
func (r *Redis) keysToTake(ctx context.Context, prefix string, now time.Time) ([]string, error) {
	if now.IsZero() {
		return r.keys(ctx, prefix)
	}
	lapsed, err := r.lapsedBefore(ctx, now)
	if err != nil {
		return nil, err
	}
	if err := r.reap(ctx, now.Add(-r.untaken)); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(lapsed, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

// reapScript takes keys off the sets whose entries Redis has dropped: KEYS index, lapses, then the entries;
// ARGV the keys.
var reapScript = redis.NewScript(`
for i = 3, #KEYS do
	if redis.call('EXISTS', KEYS[i]) == 0 then
		redis.call('ZREM', KEYS[1], ARGV[i - 2])
		redis.call('ZREM', KEYS[2], ARGV[i - 2])
	end
end
return 1`)

func (r *Redis) reap(ctx context.Context, before time.Time) error {
	dropped, err := r.lapsedBefore(ctx, before)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(dropped, pageSize) {
		names, args := []string{r.indexName(), r.lapsesName()}, []any{}
		for _, key := range page {
			names, args = append(names, r.entryName(key)), append(args, key)
		}
		if err := r.again(ctx, func() error { return reapScript.Run(ctx, r.client, names, args...).Err() }); err != nil {
			return err
		}
	}
	return nil
}

func (r *Redis) lapsedBefore(ctx context.Context, now time.Time) (keys []string, err error) {
	err = r.again(ctx, func() (err error) {
		keys, err = r.client.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: r.lapsesName(), ByScore: true, Start: "-inf", Stop: strconv.FormatInt(now.UnixMicro(), 10),
		}).Result()
		return err
	})
	return keys, err
}

// List implements Store.
func (r *Redis) List(ctx context.Context, prefix string) (map[string][]byte, error) {
	keys, err := r.keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	now, listed := r.now(), make(map[string][]byte, len(keys))
	for page := range slices.Chunk(keys, pageSize) {
		names := make([]string, len(page))
		for i, key := range page {
			names[i] = r.entryName(key)
		}
		var texts []any
		err := r.again(ctx, func() (err error) {
			texts, err = r.client.MGet(ctx, names...).Result()
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, text := range texts {
			text, ok := text.(string)
			if !ok {
				continue // gone since its key was read
			}
			rec, err := parseRecord(text)
			if err != nil {
				return nil, err
			}
			if !rec.lapsed(now) {
				listed[page[i]] = rec.value()
			}
		}
	}
	return listed, nil
}

// keys are the keys with the prefix, by the index: KEYS and SCAN would go through all that the
// database holds.
func (r *Redis) keys(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	err := r.again(ctx, func() (err error) {
		keys, err = r.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: r.indexName(), ByLex: true, Start: "[" + prefix, Stop: behind(prefix)}).Result()
		return err
	})
	return keys, err
}

// behind is the bound behind all texts with the prefix.
func behind(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return "(" + prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return "+"
}

// again makes a call that may be repeated until it is answered, a few times.
func (r *Redis) again(ctx context.Context, call func() error) error {
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || errors.Is(err, redis.Nil) {
			return err
		}
		if !isLost(err) || attempt == tries || backOff(ctx, attempt) != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
}

// isLost reports whether no answer came, though time was left for one.
func isLost(err error) bool {
	_, refused := errors.AsType[redis.Error](err)
	return !refused && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, redis.ErrClosed)
}
