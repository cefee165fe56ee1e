package handlers

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// entityTag is the first member of a list of entity tags, and what stands between it and the next one
// (RFC 9110, 8.8.3). Lists may have empty members.
var entityTag = regexp.MustCompile(`^[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,[ \t,]*|$)`)

// tags is the value of If-Match or If-None-Match.
type tags struct {
	strong, weak []string
	anything     bool // *: whatever there is
}

func parseTags(name string, values []string) (t tags, err error) {
	text := strings.Join(values, ",")
	if strings.TrimSpace(text) == "*" {
		return tags{anything: true}, nil
	}
	for text != "" {
		m := entityTag.FindStringSubmatch(text)
		switch {
		case m == nil:
			return t, headerError(name, `expected *, or etags in quotes, such as "7b2c"`)
		case m[1] == "":
			t.strong = append(t.strong, m[2])
		default:
			t.weak = append(t.weak, m[2])
		}
		text = text[len(m[0]):]
	}
	return t, nil
}

// matching holds a request with If-Match against the VM as it is before it is carried out.
func (a *API) matching(next handler) handler {
	return func(r *http.Request) (reply, error) {
		values := r.Header.Values("If-Match")
		if len(values) == 0 {
			return next(r)
		}
		given, err := parseTags("If-Match", values)
		if err != nil {
			return reply{}, err
		}
		t, err := a.target(r, "vm")
		if err != nil {
			return reply{}, err
		}
		view := backends.ViewFull
		if given.anything {
			view = backends.ViewBasic
		}
		vm, err := t.backend.VM(r.Context(), t.session, t.id, view)
		if err != nil {
			return reply{}, err
		}
		if !given.anything && !slices.ContainsFunc(given.strong, func(tag string) bool { return isVersion(tag, vm.ETag) }) {
			return reply{}, &backends.Error{Code: backends.ETagMismatch, Detail: "The VM is no longer what If-Match names: read it again."}
		}
		return next(r)
	}
}

// The ETag of a reply is the hash of what it shows. In front of that of a single VM stands the version
// of the VM, its member etag: of two reads with the same version, the samples may differ. A change
// with If-Match looks at the version only. Behind it stands the coding of a compressed reply, which is
// another representation.

// tagOf is the hash of a representation, made of all its parts.
func tagOf(parts ...[]byte) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// isVersion reports whether a tag that was given out with a VM is of this version of it.
func isVersion(tag, version string) bool {
	tag, _, _ = strings.Cut(tag, ".")
	return sameTag(tag, version)
}

// sameTag reports whether a tag that was given out is want, in whichever coding.
func sameTag(tag, want string) bool {
	if rest, ok := strings.CutPrefix(tag, want); ok {
		return rest == "" || slices.Contains(tagSuffixes, rest)
	}
	return false
}

// prettySuffix makes the ETag of what is broken into lines another than that of what is not.
const prettySuffix = "-pretty"

// conditional gives replies an ETag, and answers 304 when the client has the same already (RFC 9110,
// 13.1.2).
func (a *API) conditional(next handler) handler {
	return func(r *http.Request) (reply, error) {
		given, err := parseTags("If-None-Match", r.Header.Values("If-None-Match"))
		if err != nil {
			return reply{}, err
		}
		answer, err := next(r)
		if err != nil || answer.status != http.StatusOK {
			return answer, err
		}
		if _, ok := answer.body.(stream); ok {
			return answer, nil
		}
		body, err := answer.encoded()
		if err != nil {
			return reply{}, err
		}
		tag := answer.tag
		if tag == "" {
			tag = tagOf(body.text)
		}
		if wantsPretty(r) {
			tag += prettySuffix
		}
		answer.body = body
		if answer.header == nil {
			answer.header = http.Header{}
		}
		answer.header.Set("Cache-Control", "private, no-cache") // may be kept, and is asked for again
		for _, has := range slices.Concat(given.strong, given.weak) {
			if sameTag(has, tag) {
				tag, given.anything = has, true // the very one that the client has, coding and all
			}
		}
		answer.header.Set("ETag", `"`+tag+`"`)
		if given.anything {
			answer.status, answer.body = http.StatusNotModified, nil
		}
		return answer, nil
	}
}

func headerError(name, detail string) error {
	return &backends.Error{
		Code:   backends.InvalidArgument,
		Detail: "The header " + name + " is not valid: " + detail + ".",
		Fields: []backends.FieldError{{Parameter: name, Detail: detail}},
	}
}

// maxWait is how long a request waits for an operation at the most.
const maxWait = 300 * time.Second

// preferredWait reads Prefer: wait=N (RFC 7240): how long to wait for the end of an operation, and
// whether that was asked for. More than maxWait is taken as maxWait.
func preferredWait(r *http.Request) (time.Duration, bool, error) {
	for _, value := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, seconds, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(seconds), `"`), 64)
			if err != nil || !(n >= 0) {
				return 0, false, headerError("Prefer", "expected wait=N, with a number of seconds that is not negative")
			}
			return time.Duration(min(n, maxWait.Seconds()) * float64(time.Second)), true, nil
		}
	}
	return 0, false, nil
}

// appliedWait is the value of Preference-Applied.
func appliedWait(d time.Duration) string {
	return "wait=" + strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}

// dryRun reports whether the request asks what it would do, and not to do it.
func dryRun(r *http.Request) bool { return r.URL.Query().Get("validateOnly") == "true" }

const planType = "application/vnd.vmgateway.plan+json"

// planned is the answer to ?validateOnly=true.
func planned(plan *backends.Plan, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	if plan.Calls == nil {
		plan.Calls = []backends.PlannedCall{}
	}
	text, err := encodeJSON(plan)
	return reply{status: http.StatusOK, body: rawBody{planType, text}}, err
}
