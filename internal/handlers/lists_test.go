package handlers_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// pages follows a list from page to page, and gives the ids in the order they came.
func (w *world) pages(token, query string, size int) (ids []string) {
	w.t.Helper()
	for next := ""; ; {
		path := fmt.Sprintf("/vms?pageSize=%d&%s", size, query)
		if next != "" {
			path += "&pageToken=" + url.QueryEscape(next)
		}
		r := w.do("GET", path, token, nil)
		if r.status != 200 {
			w.t.Fatalf("%d %s", r.status, r.text)
		}
		for _, vm := range r.list("vms") {
			ids = append(ids, vm.(map[string]any)["id"].(string))
		}
		if next = r.str("nextPageToken"); next == "" {
			return ids
		}
	}
}

// TestUnrulyBackends lists what a backend sends twice, out of order, damaged, or not at all.
func TestUnrulyBackends(t *testing.T) {
	w := newWorld(t, options{vms: 12})
	token := w.login("one", "xen")
	want, _ := w.page(token, "")
	uuid := w.xen.VMs()[3]
	tests := []struct {
		name    string
		one     onesim.List
		xen     xensim.List
		missing []string
		twice   int
	}{
		{"twice", onesim.List{Twice: []int{2, 5}}, xensim.List{Twice: []string{uuid}}, nil, 3},
		{"reversed", onesim.List{Reversed: true}, xensim.List{Reversed: true}, nil, 0},
		{"swapped", onesim.List{Swapped: true}, xensim.List{Swapped: true}, nil, 0},
		{"damaged", onesim.List{Damaged: map[int]string{4: "\x01"}}, xensim.List{Damaged: map[string]string{uuid: "\x01"}}, []string{"one.4", "xen." + uuid}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.one.Inject(onesim.Fault{List: &tt.one, Times: -1})
			w.xen.Inject(xensim.Fault{List: &tt.xen, Times: -1})
			defer w.one.ClearFaults()
			defer w.xen.ClearFaults()
			there := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return slices.Contains(tt.missing, id) })
			for _, query := range []string{"", "filter=displayName:*", "orderBy=id"} {
				got, r := w.page(token, query)
				if !slices.Equal(got, there) {
					t.Errorf("%q: %d VMs, want %d, in order:\n%v\n%v", query, len(got), len(there), got, there)
				}
				if n := r.get("undecodableTotal"); n != float64(len(tt.missing)) || len(r.list("undecodable")) != len(tt.missing) {
					t.Errorf("%q: %v are undecodable: %v", query, n, r.list("undecodable"))
				}
				if got := w.pages(token, query, 5); !slices.Equal(got, there) {
					t.Errorf("%q: pages of 5 have %v", query, got)
				}
			}
			ids, summary := w.stream(token, "").rest()
			if len(ids) != len(there)+tt.twice {
				t.Errorf("the stream has %d VMs, want %d and %d twice", len(ids), len(there), tt.twice)
			}
			if ids = slices.Compact(ids); !slices.Equal(ids, slices.Sorted(slices.Values(there))) {
				t.Errorf("the stream has %v", ids)
			}
			if summary.get("undecodableTotal") != float64(len(tt.missing)) {
				t.Errorf("the summary: %v", summary.body)
			}
		})
	}
}

func TestEmptyBackends(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one", "xen")
	w.one.Inject(onesim.Fault{List: &onesim.List{Empty: true}, Times: -1})
	w.xen.Inject(xensim.Fault{List: &xensim.List{Empty: true}, Times: -1})
	r := w.do("GET", "/vms", token, nil)
	if r.status != 200 || len(r.list("vms")) != 0 || len(r.list("unreachable")) != 0 || r.get("nextPageToken") != nil {
		t.Errorf("%d %s", r.status, r.text)
	}
	if ids, summary := w.stream(token, "").rest(); len(ids) != 0 || summary.get("complete") != true {
		t.Errorf("%v %v", ids, summary.body)
	}
}

// TestCutLists cuts the replies of both backends in the middle: what was read is there, and both are
// named.
func TestCutLists(t *testing.T) {
	w := newWorld(t, options{vms: 60})
	token := w.login("one", "xen")
	w.one.Inject(onesim.Fault{Cut: 100_000, Times: -1})
	w.xen.Inject(xensim.Fault{Method: "VM.get_all_records_where", Cut: true, CutAfter: 100_000, Times: -1})
	page := w.do("GET", "/vms?pageSize=1000&orderBy=displayName", token, nil)
	byID := w.do("GET", "/vms?pageSize=1000", token, nil) // reads ranges of ids, and leaves out one that was cut
	ids, summary := w.stream(token, "").rest()
	for name, r := range map[string]response{"the page": page, "the page by id": byID, "the stream": summary} {
		if len(r.list("unreachable")) != 2 || r.str("unreachable.0.problem.code") != "BACKEND_UNAVAILABLE" {
			t.Errorf("%s: %v", name, r.list("unreachable"))
		}
	}
	if page.status != 200 || summary.get("complete") != false {
		t.Errorf("a page: %d, a stream: %v", page.status, summary.body)
	}
	for _, backend := range []string{"one.", "xen."} {
		has := func(id string) bool { return strings.HasPrefix(id, backend) }
		if !slices.ContainsFunc(ids, has) || !strings.Contains(string(page.text), `{"id":"`+backend) {
			t.Errorf("what %s sent before is not there: %d VMs", backend, len(ids))
		}
	}
}

// TestPagesReadLittle reads pages of a long list: what is not on them is not asked for.
func TestPagesReadLittle(t *testing.T) {
	w := newWorld(t, options{vms: 2000})
	token := w.login("one", "xen")
	before := w.one.Bytes("")
	w.stream(token, "?backend=one").rest()
	whole := w.one.Bytes("") - before
	next, xenCalls := "", w.xen.Calls("VM.get_all_records_where")
	for range 5 {
		before := w.one.Bytes("")
		r := w.do("GET", "/vms?pageSize=20"+next, token, nil)
		if read := w.one.Bytes("") - before; r.status != 200 || len(r.list("vms")) != 20 || read*10 > whole {
			t.Errorf("%d with %d VMs: %d of %d bytes were read", r.status, len(r.list("vms")), read, whole)
		}
		next = "&pageToken=" + url.QueryEscape(r.str("nextPageToken"))
	}
	if n := w.xen.Calls("VM.get_all_records_where") - xenCalls; n != 0 {
		t.Errorf("the other backend, whose VMs come behind, was asked %d times", n)
	}
	w.one.Close()
	r := w.do("GET", "/vms?pageSize=20&backend=one,xen", token, nil)
	if r.str("unreachable.0.backend") != "one" || len(r.list("vms")) != 20 || !strings.HasPrefix(r.str("vms.0.id"), "xen.") {
		t.Errorf("with the first backend down: %.300s", r.text)
	}
	if r := w.do("GET", "/vms?pageSize=20&pageToken="+url.QueryEscape(r.str("nextPageToken"))+"&backend=one,xen", token, nil); len(r.list("unreachable")) != 0 || len(r.list("vms")) != 20 {
		t.Errorf("behind it: %.300s", r.text)
	}
}

// TestBadLists sends what no list can be asked for.
func TestBadLists(t *testing.T) {
	w := newWorld(t, options{vms: 3})
	token := w.login("one", "xen")
	before := w.backendCalls()
	deep := strings.Repeat("(", 10_000) + "state=RUNNING" + strings.Repeat(")", 10_000)
	tests := []struct{ parameter, value, says string }{
		{"pageSize", "0", "at least 1"}, {"pageSize", "-1", "at least 1"}, {"pageSize", "1000000000", "at most 1000"},
		{"pageSize", "ten", ""}, {"pageSize", "1e2", ""}, {"pageSize", "99999999999999999999", ""},
		{"fields", "nothing", "unknown member"}, {"fields", "displayName,,", "character 13"}, {"fields", "displayName.x", "has no members"},
		{"orderBy", "disks", "no order"}, {"orderBy", "displayName up", "character 13"}, {"orderBy", "displayname", "did you mean displayName?"},
		{"filter", `state="RUNNING" AND`, "character"}, {"filter", "(", "character 2"}, {"filter", `state="WALKING"`, "character 7"},
		{"filter", "memory>1", "character"}, {"filter", "a=1", "unknown member"}, {"filter", "\xff", ""}, {"filter", "state=RUNNING and x", ""},
		{"filter", strings.Repeat("(", 40) + "x", "character"}, {"filter", deep[:4096], ""}, {"filter", deep, "4096"},
		{"filter", strings.Repeat("x", 500_000), "4096"},
		{"pageToken", "x", ""}, {"pageToken", strings.Repeat("x", 5000), "4096"},
		{"backend", "two", "no backend"}, {"backend", "one,one", ""}, {"view", "ALL", "expected one of"}, {"owner", "you", ""},
		{"showDeleted", "yes", "true or false"}, {"nothing", "1", "no such parameter"},
	}
	for _, tt := range tests {
		for _, accept := range []string{"application/json", "application/x-ndjson"} {
			r := w.do("GET", "/vms?"+tt.parameter+"="+url.QueryEscape(tt.value), token, nil, "Accept", accept)
			w.want(r, 400, "INVALID_ARGUMENT")
			if r.str("errors.0.parameter") != tt.parameter || accept == "application/json" && !strings.Contains(r.str("detail"), tt.says) {
				t.Errorf("%s=%.60s: points at %q: %.300s", tt.parameter, tt.value, r.str("errors.0.parameter"), r.str("detail"))
			}
			if len(r.text) > 4000 {
				t.Errorf("%s=%.60s: the answer has %d bytes", tt.parameter, tt.value, len(r.text))
			}
		}
	}
	if n := w.backendCalls() - before; n != 0 {
		t.Errorf("%d calls went out", n)
	}
}
