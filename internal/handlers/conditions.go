package handlers

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vmgateway/internal/backends"
)

// entityTag is one member of an If-Match list (RFC 9110, 8.8.3).
var entityTag = regexp.MustCompile(`^(W/)?"([\x21\x23-\x7e\x80-\xff]*)"$`)

// matching holds a request with If-Match against the VM as it is before it is carried out.
func (a *API) matching(next handler) handler {
	return func(r *http.Request) (reply, error) {
		values := r.Header.Values("If-Match")
		if len(values) == 0 {
			return next(r)
		}
		tags, anything, err := parseMatch(strings.Join(values, ","))
		if err != nil {
			return reply{}, err
		}
		t, err := a.target(r, "vm")
		if err != nil {
			return reply{}, err
		}
		view := backends.ViewFull
		if anything {
			view = backends.ViewBasic
		}
		vm, err := t.backend.VM(r.Context(), t.session, t.id, view)
		if err != nil {
			return reply{}, err
		}
		if !anything && !slices.Contains(tags, vm.ETag) {
			return reply{}, &backends.Error{Code: backends.ETagMismatch, Detail: "The VM is no longer what If-Match names: read it again."}
		}
		return next(r)
	}
}

// parseMatch reads If-Match: the strong tags it names, or that any will do. Weak ones match nothing.
func parseMatch(text string) (tags []string, anything bool, err error) {
	if strings.TrimSpace(text) == "*" {
		return nil, true, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		m := entityTag.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, false, headerError("If-Match", `expected *, or etags in quotes, such as "7b2c"`)
		}
		if m[1] == "" && m[2] != "" {
			tags = append(tags, m[2])
		}
	}
	return tags, false, nil
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
