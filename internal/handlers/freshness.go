package handlers

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/feed"
)

// maxAge is how old the answer may be that a request asks for: the max-age of its Cache-Control (RFC
// 9111, 5.2.1). Without one, with one that is not a number, and with no-cache it is zero: the backend
// is asked. Of several the smallest counts.
func maxAge(header http.Header) time.Duration {
	const most = math.MaxInt32 // what RFC 9111, 1.2.2, takes larger numbers for
	seconds, given := uint64(most), false
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-cache":
			return 0
		case "max-age":
			n, err := strconv.ParseUint(unquoted(value), 10, 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return 0
			}
			seconds, given = min(seconds, n), true
		}
	}
	if !given {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// unquoted is the value of a directive, which may be a token or stand in quotes.
func unquoted(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

// mirror is what the watcher of a login knows of its VMs.
type mirror struct {
	feed.Snapshot
	at feed.Position // from where its changes are to be followed
}

// mirrorOf is the mirror of a login, if there is one that is fresh enough.
func (a *API) mirrorOf(owner string, within time.Duration) *mirror {
	if within <= 0 {
		return nil
	}
	at := a.positionOf(owner) // before the snapshot, so that nothing is missed in between
	snapshot, ok := a.feeds.Snapshot(owner, within)
	if !ok {
		return nil
	}
	return &mirror{snapshot, at}
}

// mirrorFor is the mirror for a list. Lists that accept one keep the watcher going for a while, so
// that the next finds one.
func (a *API) mirrorFor(src source, within time.Duration) *mirror {
	if within <= 0 {
		return nil
	}
	defer a.feeds.Acquire(src.backend, src.owner, src.session).Release()
	return a.mirrorOf(src.owner, within)
}

// mirrored reports whether a mirror has what the query asks for.
func mirrored(q backends.Query) bool {
	return (q.View == backends.ViewID || q.View == backends.ViewBasic) &&
		(q.Owner == "" || q.Owner == "all") && !q.ShowDeleted && !q.ShowTemplates
}

// noteAge tells how old the answer is, if it comes from mirrors: as the oldest of them, in full
// seconds and never less than it is.
func (a *API) noteAge(header http.Header, mirrors ...*mirror) {
	oldest := time.Duration(-1)
	for _, m := range mirrors {
		if m != nil {
			oldest = max(oldest, m.Age(a.now()), 0)
		}
	}
	if oldest >= 0 {
		header.Set("Age", strconv.Itoa(int(math.Ceil(oldest.Seconds()))))
	}
}
