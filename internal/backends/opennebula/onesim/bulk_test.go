package onesim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// readPool reads a reply and throws it away.
func readPool(s *Server, method string) (int64, error) {
	res, err := http.Post(s.URL(), "text/xml", strings.NewReader(body("oneadmin:opennebula", method, -2, -1, -1, -2)))
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, res.Body)
	return n, errors.Join(err, res.Body.Close())
}

// BenchmarkPool is a whole pool read by a plain client: first its making, then what each further one costs. The heap is what
// the simulator holds afterwards.
func BenchmarkPool(b *testing.B) {
	for _, vms := range []int{10_000, 100_000} {
		for _, method := range []string{"one.vmpool.info", "one.vmpool.infoextended"} {
			b.Run(fmt.Sprintf("%s/%d", method, vms), func(b *testing.B) {
				began := time.Now()
				s, err := Start(Config{VMs: vms, Hosts: 50})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				started := time.Now()
				n, err := readPool(s, method)
				if err != nil {
					b.Fatal(err)
				}
				rendered := time.Since(started)
				for b.Loop() {
					if _, err := readPool(s, method); err != nil {
						b.Fatal(err)
					}
				}
				b.SetBytes(n)
				b.ReportMetric(started.Sub(began).Seconds(), "start-s")
				b.ReportMetric(rendered.Seconds(), "first-s")
				b.ReportMetric(float64(n)/float64(vms), "B/VM")
				b.ReportMetric(heap(), "heap-MB")
			})
		}
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// Bytes a VM in a pool of a real oned 6.10.0: 10,000 VMs of two disks, two NICs and a context. As the recorded parts tell,
// no VM had a sample of the monitor yet, which is 0.6 kB.
const (
	measuredShort = 2_900
	measuredWhole = 11_300
)

// TestDemoVMsHaveTheRealSize compares whole records with what was measured, and their parts with the recorded ones.
func TestDemoVMsHaveTheRealSize(t *testing.T) {
	s, c := started(t, Config{VMs: 320, Hosts: 5})
	for method, want := range map[string]int{"one.vmpool.info": measuredShort, "one.vmpool.infoextended": measuredWhole} {
		n, err := readPool(s, method)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(n) / 320; off(got, want) {
			t.Errorf("%s: %d bytes a VM, want about %d", method, got, want)
		}
	}
	recorded := ""
	for _, x := range readSubset(t, "oned-6.10.0.jsonl") {
		if x.Method == "one.vm.info" {
			recorded += x.Response
		}
	}
	s.Advance(time.Minute)
	_, b, err := c.post(body(c.session, "one.vmpool.infoextended", -2, -1, -1, -2))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"PERMISSIONS", "MONITORING", "SECURITY_GROUP_RULE", "NIC", "HISTORY", "BACKUPS"} {
		if got, want := meanSize(string(b), name), meanSize(recorded, name); off(got, want) {
			t.Errorf("%s: %d bytes, recorded were %d", name, got, want)
		}
	}
}

func off(got, want int) bool { return got < want-want/10 || got > want+want/10 }

// meanSize is that of the elements of a name that are not empty.
func meanSize(replies, name string) int {
	total, n := 0, 0
	for rest := replies; ; n++ {
		i := strings.Index(rest, "&lt;"+name+"&gt;&lt;")
		if i < 0 {
			return total / max(n, 1)
		}
		rest = rest[i:]
		size := strings.Index(rest, "&lt;/"+name+"&gt;")
		if size == len("&lt;"+name+"&gt;") { // empty
			n--
		} else {
			total += size
		}
		rest = rest[size:]
	}
}

// raw is a reply's body.
func (c *client) raw(method string, args ...any) string {
	c.Helper()
	_, b, err := c.post(body(c.session, method, args...))
	if err != nil {
		c.Fatal(err)
	}
	return string(b)
}

// TestVMsOfAMouldAreLikeThoseAllocated makes the same demo once with every VM allocated as one.vm.allocate would.
func TestVMsOfAMouldAreLikeThoseAllocated(t *testing.T) {
	for _, rel := range []string{"6.10.0", "5.12.0", "4.14.2", "3.8.5"} {
		const vms = 50
		moulded, c := started(t, Config{Release: rel, VMs: vms})
		allocated, d := started(t, Config{Release: rel})
		for i := range vms {
			allocated.locked(func() {
				if _, err := allocated.allocateDemo(i); err != nil {
					t.Fatal(err)
				}
			})
		}
		moulded.Advance(time.Minute)
		allocated.Advance(time.Minute)
		for _, method := range []string{"one.vmpool.info", "one.hostpool.info", "one.imagepool.info", "one.vnpool.info", "one.vmpool.accounting"} {
			args := map[string][]any{"one.vmpool.info": {-2, -1, -1, -2}, "one.imagepool.info": {-2, -1, -1}, "one.vnpool.info": {-2, -1, -1},
				"one.vmpool.accounting": {-2, -1, -1}}[method]
			if got, want := c.raw(method, args...), d.raw(method, args...); got != want {
				t.Errorf("%s, %s differs:\n%s\n%s", rel, method, got, want)
			}
		}
		for id := range vms {
			if got, want := c.raw("one.vm.info", id), d.raw("one.vm.info", id); got != want {
				t.Errorf("%s, VM %d differs:\n%s\n%s", rel, id, got, want)
			}
		}
		if got, want := c.raw("one.user.info", 0), d.raw("one.user.info", 0); got != want {
			t.Errorf("%s, quotas differ", rel)
		}
	}
}

// TestKeptDocumentsFollowEveryChange asks two daemons that have lived through the same, one of which forgets its documents
// before each answer.
func TestKeptDocumentsFollowEveryChange(t *testing.T) {
	keeps, c := started(t, Config{VMs: 32, Scheduler: true})
	forgets, d := started(t, Config{VMs: 32, Scheduler: true})
	for i, call := range [][]any{
		{"one.vm.rename", 0, "renamed"}, {"one.vm.update", 1, `LABELS="new" NOTE="a & b"`, 1}, {"one.vm.chown", 2, 2, -1}, {"one.vm.chmod", 2, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		{"one.vm.action", "poweroff", 4}, {"one.vm.lock", 6, 4, false}, {"one.vm.unlock", 6}, {"one.vm.action", "resched", 8}, {"one.vm.migrate", 10, 0, true},
		{"one.vm.attach", 12, `DISK=[IMAGE_ID="1"]`}, {"one.vm.attachnic", 14, `NIC=[NETWORK_ID="0"]`}, {"one.vm.snapshotcreate", 16, "before"},
		{"one.vm.schedadd", 18, `SCHED_ACTION=[ACTION="poweroff",TIME="+30"]`}, {"one.vm.resize", 3, `MEMORY="128"`, false}, {"one.vm.recover", 20, 3},
		{"one.vm.updateconf", 3, `GRAPHICS=[TYPE="VNC",LISTEN="0.0.0.0"]`}, {"one.user.delete", 3}, {"one.user.allocate", "carol", "carol-pw", ""},
		{"one.vm.action", "resume", 3}, {"one.vm.disksnapshotcreate", 5, 0, "s"}, {"one.vm.action", "terminate", 24}, {"one.vm.recover", 15, 2},
		{"one.vm.allocate", `NAME="x" CPU="1" MEMORY="1"`, false}, {"one.vm.deploy", 7, 1},
	} {
		for range 4 {
			for _, method := range []string{"one.vmpool.info", "one.vmpool.infoextended"} {
				forgets.locked(forgets.forgetDocuments)
				if got, want := c.raw(method, -2, -1, -1, -2), d.raw(method, -2, -1, -1, -2); got != want {
					t.Fatalf("%s after step %d:\n%s\n%s", method, i, got, want)
				}
			}
			keeps.Advance(time.Second)
			forgets.Advance(time.Second)
		}
		method, _ := call[0].(string)
		if got, want := c.raw(method, call[1:]...), d.raw(method, call[1:]...); got != want {
			t.Fatalf("%s: %s and %s", method, got, want)
		}
	}
}

func TestPackedRecordsComeOutAsTheyWentIn(t *testing.T) {
	p := packer{bases: map[baseKey]*base{}}
	for _, text := range []string{"<A>one</A><B>two</B>", "<A>one</A><B>two</B>", "<A></A><B>2</B>", "<A>one", "", "<A>one</A><B>two</B><C>more</C>",
		"<A>x & y</A>", "<B>two</B><A>one</A>", strings.Repeat("<A>one</A>", 50), "<A>one</A><B>tw</B>", "<A>onetwo</A><B>two</B>"} {
		section := func(b []byte) []byte { return append(b, text...) }
		r := p.pack(baseKey{}, [sections]func([]byte) []byte{section, section, section})
		x := &row{r, [2][]byte{literal("1"), literal("2")}}
		escaped := string(appendEscaped(nil, text))
		if got, want := string(x.bytes()), escaped+"1"+escaped+"2"+escaped; got != want || x.size() != len(want) {
			t.Errorf("%q of %d bytes, want %q", got, x.size(), want)
		}
	}
}

func TestLists(t *testing.T) {
	for _, tt := range []struct {
		name string
		list List
		ids  string
		has  string
	}{
		{"as it is", List{}, "3 2 1 0 ", ""},
		{"empty", List{Empty: true}, "", ""},
		{"reversed", List{Reversed: true}, "0 1 2 3 ", ""},
		{"swapped", List{Swapped: true}, "2 3 0 1 ", ""},
		{"twice", List{Twice: []int{2, 99}}, "3 2 1 0 2 ", ""},
		{"damaged", List{Damaged: map[int]string{1: "\xff\x01"}}, "3 2 1 0 ", "<NAME>db-1\xff\x01</NAME>"},
		{"padded", List{Padded: map[int]int{1: 100_000}}, "3 2 1 0 ", "<PADDING><![CDATA[" + strings.Repeat("x", 100_000) + "]]></PADDING></USER_TEMPLATE>"},
		{"damaged and padded", List{Damaged: map[int]string{1: "\x02"}, Padded: map[int]int{1: 3}}, "3 2 1 0 ", "<PADDING><![CDATA[xxx]]>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := started(t, Config{VMs: 4})
			for _, method := range []string{"one.vmpool.info", "one.vmpool.infoextended"} {
				s.Inject(Fault{Method: method, List: &tt.list})
				res, b, err := c.post(body(c.session, method, -2, -1, -1, -2))
				if err != nil || res.ContentLength != int64(len(b)) {
					t.Fatalf("%d bytes of %d, %v", len(b), res.ContentLength, err)
				}
				doc := unescape(string(b))
				if got := takeApart(200, string(b)); got.ids != tt.ids && !strings.Contains(tt.name, "damaged") {
					t.Errorf("%s: %q, want %q", method, got.ids, tt.ids)
				}
				if !strings.Contains(doc, tt.has) {
					t.Errorf("%s lacks %.100q", method, tt.has)
				}
			}
			if got, _ := c.call("one.vmpool.info", -2, -1, -1, -2); got.ids != "3 2 1 0 " {
				t.Errorf("afterwards %q", got.ids)
			}
		})
	}
}

func TestDamageIsInSingleReadsToo(t *testing.T) {
	s, c := started(t, Config{VMs: 2})
	s.Inject(Fault{Times: -1, List: &List{Damaged: map[int]string{1: "\x01"}}})
	for id, want := range map[int]int{0: 0, 1: 1} {
		if _, b, err := c.post(body(c.session, "one.vm.info", id)); err != nil || strings.Count(string(b), "\x01") != want {
			t.Errorf("VM %d: %v, %.300q", id, err, b)
		}
	}
}

// TestHugeRecordIsStreamed reads a record of 1 GB; the heap of both ends must not have grown with it.
func TestHugeRecordIsStreamed(t *testing.T) {
	const size = 1 << 30
	s, _ := started(t, Config{VMs: 3})
	s.Inject(Fault{List: &List{Padded: map[int]int{1: size}}})
	before := heap()
	n, err := readPool(s, "one.vmpool.info")
	if err != nil || n < size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if grown := heap() - before; grown > 50 {
		t.Errorf("%.0f MB more on the heap", grown)
	}
	if sent := s.Bytes("one.vmpool.info"); sent < n || sent > n+1000 || s.Bytes("") < sent {
		t.Errorf("counted %d bytes of %d", sent, n)
	}
}

func TestHeldReplies(t *testing.T) {
	for _, at := range []int{0, 5000} {
		s, c := started(t, Config{VMs: 8})
		release := make(chan struct{})
		s.Inject(Fault{Method: "one.vmpool.info", Hold: release, HoldAt: at})
		whole := make(chan int)
		go func() {
			_, b, err := c.post(body(c.session, "one.vmpool.info", -2, -1, -1, -2))
			if err != nil {
				t.Error(err)
			}
			whole <- len(b)
		}()
		for s.Calls("one.vmpool.info") == 0 || s.Bytes("one.vmpool.info") < int64(at) {
			runtime.Gosched()
		}
		if sent := s.Bytes("one.vmpool.info"); sent != int64(at) {
			t.Errorf("%d bytes were sent, want %d", sent, at)
		}
		c.must("one.system.version") // holds up nobody else
		close(release)
		if n := <-whole; n < 8*2500 {
			t.Errorf("%d bytes after the release", n)
		}
	}
}

func TestHeldReplyEndsWithTheServer(t *testing.T) {
	s, c := started(t, Config{VMs: 8})
	s.Inject(Fault{Method: "one.vmpool.info", Hold: make(chan struct{}), HoldAt: 5000})
	over := make(chan error)
	go func() {
		_, _, err := c.post(body(c.session, "one.vmpool.info", -2, -1, -1, -2))
		over <- err
	}()
	for s.Bytes("one.vmpool.info") < 5000 {
		runtime.Gosched()
	}
	s.Close()
	if err := <-over; err == nil {
		t.Error("a whole answer from a closed server")
	}
}

// TestManyNetworks is for more VMs than one network has addresses.
func TestManyNetworks(t *testing.T) {
	s, c := started(t, Config{VMs: vmsPerNet + 20})
	for id, want := range map[int]string{vmsPerNet - 1: "<IP><![CDATA[10.0.", vmsPerNet: "<IP><![CDATA[10.1.0.10]", vmsPerNet + 17: "<IP><![CDATA[10.1.0.44]"} {
		if doc := c.must("one.vm.info", id); !strings.Contains(doc, want) {
			t.Errorf("VM %d has no %s in %s", id, want, doc)
		}
	}
	if n := len(s.nets); n != 2 {
		t.Errorf("%d networks", n)
	}
}
