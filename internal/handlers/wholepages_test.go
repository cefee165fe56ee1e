package handlers_test

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/opennebula/onesim"
	"vmgateway/internal/backends/xenapi/xensim"
)

// TestWholePagesReadTheirVMsOnly reads pages with all of each VM: beside what it takes to choose them, only
// their own is read, and it is what reading each by itself gives.
func TestWholePagesReadTheirVMsOnly(t *testing.T) {
	w := newWorld(t, options{vms: 2000})
	token := w.login("one", "xen")
	for _, query := range []string{
		"backend=xen&view=FULL", "backend=xen&view=FULL&orderBy=displayName%20desc", "backend=one&view=FULL&orderBy=displayName",
		"view=FULL&orderBy=displayName", "backend=xen&view=FULL&fields=id,disks,nics", "view=NATIVE&orderBy=state,displayName",
		"backend=one,xen&view=FULL&orderBy=displayName&filter=" + url.QueryEscape(`state=RUNNING`),
	} {
		one, xen, sent := w.one.CallCounts(), w.xen.CallCounts(), w.one.Bytes("")+w.xen.Bytes("")
		list := w.one.Bytes("one.vmpool.info") + w.xen.Bytes("VM.get_all_records_where")
		r := w.do("GET", "/vms?pageSize=100&"+query, token, nil)
		vms := r.list("vms")
		if r.status != 200 || len(vms) != 100 || r.str("nextPageToken") == "" || len(r.list("unreachable")) > 0 {
			t.Fatalf("%s: %d, %d VMs: %.300s", query, r.status, len(vms), r.text)
		}
		sent = w.one.Bytes("") + w.xen.Bytes("") - sent
		list = w.one.Bytes("one.vmpool.info") + w.xen.Bytes("VM.get_all_records_where") - list
		if most := int64(200 * 16 << 10); sent-list > most {
			t.Errorf("%s: %d bytes beside the lists, want at most %d", query, sent-list, most)
		}
		if calls := w.one.CallCounts(); calls["one.vmpool.infoextended"] > one["one.vmpool.infoextended"] || calls["one.vmpool.info"]-one["one.vmpool.info"] > 1 {
			t.Errorf("%s: before %v, after %v", query, one, calls)
		}
		for method, n := range w.xen.CallCounts() {
			_, message, _ := strings.Cut(method, ".")
			if n -= xen[method]; n > 1 && message == "get_all_records" || n > 200 {
				t.Errorf("%s: %d calls of %s", query, n, method)
			}
		}
		if strings.Contains(query, "fields") {
			continue
		}
		_, view, _ := strings.Cut(query, "view=")
		view, _, _ = strings.Cut(view, "&")
		for _, vm := range vms[:20] {
			vm := vm.(map[string]any)
			alone := w.do("GET", "/vms/"+vm["id"].(string)+"?view="+view, token, nil)
			if !reflect.DeepEqual(alone.body, vm) {
				t.Errorf("%s:\n%v\nalone\n%v", query, vm, alone.body)
			}
		}
	}
}

// TestVMsChangeBeforeTheyAreReadWhole renames a VM that a page was chosen with, so that the filter no longer
// asks for it, and deletes another. Neither is shown, and the next page begins where it did.
func TestVMsChangeBeforeTheyAreReadWhole(t *testing.T) {
	for _, backend := range []string{"one", "xen"} {
		w := newWorld(t, options{})
		token := w.login(backend)
		var ids []string
		for i := range 40 {
			id := w.putVM(backend, backends.StateStopped)
			r := w.do("PATCH", "/vms/"+id, token, map[string]any{"displayName": fmt.Sprintf("web-%02d", i)})
			if r.status != 200 {
				t.Fatalf("%d %s", r.status, r.text)
			}
			ids = append(ids, id)
		}
		path := "/vms?view=FULL&pageSize=10&orderBy=displayName&filter=" + url.QueryEscape(`displayName:"web"`)
		release := make(chan struct{})
		list := func() int { return w.one.Calls("one.vmpool.info") + w.xen.Calls("VM.get_all_records_where") }
		before := list()
		w.one.Inject(onesim.Fault{Method: "one.vmpool.info", Hold: release, HoldAt: 1})
		w.xen.Inject(xensim.Fault{Method: "VM.get_all_records_where", Hold: release, HoldAt: 1})
		page := make(chan response)
		go func() { page <- w.do("GET", path, token, nil) }()
		w.eventually("the list is asked for", func() bool { return list() > before })
		left := []string{ids[3]}
		if r := w.do("PATCH", "/vms/"+ids[5], token, map[string]any{"displayName": "db"}); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.text)
		}
		if backend == "xen" { // the record that a VM was chosen by is the one that is shown
			if r := w.do("DELETE", "/vms/"+ids[3], token, nil); r.status != 202 {
				t.Fatalf("%d %s", r.status, r.text)
			}
		} else {
			left = append(left, ids[5])
			if err := w.one.SetState(numberOf(t, ids[3]), onesim.Done, 0); err != nil {
				t.Fatal(err)
			}
		}
		close(release)
		r := <-page
		var got []string
		for _, vm := range r.list("vms") {
			got = append(got, vm.(map[string]any)["id"].(string))
		}
		want := slices.DeleteFunc(slices.Clone(ids[:10]), func(id string) bool { return slices.Contains(left, id) })
		if !slices.Equal(got, want) || len(r.list("unreachable")) > 0 {
			t.Errorf("%s: %v, want %v: %.300s", backend, got, want, r.text)
		}
		r = w.do("GET", path+"&pageToken="+url.QueryEscape(r.str("nextPageToken")), token, nil)
		if r.str("vms.0.id") != ids[10] || len(r.list("vms")) != 10 {
			t.Errorf("%s: the next page begins with %s, want %s", backend, r.str("vms.0.id"), ids[10])
		}
	}
}

func numberOf(t *testing.T, id string) int {
	t.Helper()
	_, native, _ := strings.Cut(id, ".")
	n, err := strconv.Atoi(native)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWholePagesOfBackendsThatFail damages what one chosen VM has, and then lets the second read fail.
func TestWholePagesOfBackendsThatFail(t *testing.T) {
	w := newWorld(t, options{vms: 30})
	token := w.login("one", "xen")
	path := "/vms?view=FULL&pageSize=1000&orderBy=displayName"
	all := len(w.do("GET", path, token, nil).list("vms"))
	w.one.Inject(onesim.Fault{Method: "one.vmpool.infoset", List: &onesim.List{Damaged: map[int]string{4: "\x01"}}})
	r := w.do("GET", path, token, nil)
	if len(r.list("vms")) != all-1 || r.str("undecodable.0.id") != "one.4" || r.get("undecodableTotal") != 1.0 {
		t.Errorf("damaged: %d of %d: %v", len(r.list("vms")), all, r.list("undecodable"))
	}
	w.one.Inject(onesim.Fault{Method: "one.vmpool.infoset", CutNow: true, Times: -1})
	w.xen.Inject(xensim.Fault{Method: "VBD.get_all_records", Cut: true, Times: -1})
	r = w.do("GET", path, token, nil)
	if r.status != 200 || len(r.list("vms")) != 0 || len(r.list("unreachable")) != 2 {
		t.Errorf("cut: %d %.300s", r.status, r.text)
	}
}
