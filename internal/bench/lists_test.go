package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// list is a call whose reply is a whole fleet, how it is made directly, and what is asked of the gateway.
type list struct {
	backend string
	fleet   func(n int) fleets
	method  string
	args    []any
	path    string
}

var (
	oneList = list{"one", func(n int) fleets { return fleets{One: n} }, "one.vmpool.info", []any{-2, -1, -1, -1}, "/vms"}
	oneFull = list{"one", oneList.fleet, "one.vmpool.infoextended", oneList.args, "/vms?view=FULL"}
	xenList = list{"xen", func(n int) fleets { return fleets{Xen: n} }, "VM.get_all_records_where", []any{
		`field "is_a_template" = "false" and field "is_a_snapshot" = "false" and field "is_control_domain" = "false"`,
	}, "/vms"}
)

// BenchmarkStream is GET /vms as NDJSON beside reading the backend's own reply and throwing it away, in
// turns. At its end it says how the time grows with the fleet (the slope of a straight line through the
// logarithms: 1 is linear), and by how much the gateway's memory did at its most.
func BenchmarkStream(b *testing.B) {
	sizes := []int{1_000, 10_000, 100_000}
	for _, l := range []list{oneList, xenList} {
		var took []time.Duration
		var most []float64
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s-%d", l.backend, n), func(b *testing.B) {
				t, peak := l.stream(newWorldOf(b, l.fleet(n)), n)
				took, most = append(took, t), append(most, peak)
			})
		}
		if len(took) < len(sizes) {
			continue // only some were asked for
		}
		b.Run(l.backend+"-growth", func(b *testing.B) {
			for b.Loop() {
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(slope(sizes, took), "slope")
			b.ReportMetric((most[len(most)-1]-most[0])/(1<<20), "RSS-growth-MiB")
		})
	}
}

// BenchmarkStreamOfDaemons is the same beside simulators that think for as long as the daemons do before
// they send their first byte: of lists as large as those that were recorded, oned 6.10 took 1,095 ms and
// xapi 24.16 took 1,001 ms.
func BenchmarkStreamOfDaemons(b *testing.B) {
	for _, c := range []struct {
		list
		fleets
		vms int
	}{
		{oneFull, fleets{One: 10_000, OneTakes: 1_095 * time.Millisecond}, 10_000},
		{xenList, fleets{Xen: 5_019, XenTakes: 1_001 * time.Millisecond}, 5_019},
	} {
		b.Run(c.backend, func(b *testing.B) { c.stream(newWorldOf(b, c.fleets), c.vms) })
	}
}

// stream measures one size. It gives the median time of the list, and the gateway's peak memory.
func (l list) stream(w *world, n int) (time.Duration, float64) {
	b, token, direct := w.b, w.login(l.backend), w.directly(l.backend)
	var bytes int64
	var whole, through, first, line []time.Duration
	for range 2 { // neither the simulator nor the gateway is cold afterwards
		_, _, bytes = l.direct(b, direct)
		w.streamed(token, l.path, n)
	}
	for b.Loop() {
		f, d, _ := l.direct(b, direct)
		t, g := w.streamed(token, l.path, n)
		whole, through, first, line = append(whole, d), append(through, g), append(first, f), append(line, t)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(through))/float64(median(whole)), "gateway/direct")
	b.ReportMetric(median(whole).Seconds()*1e3, "direct-ms")
	b.ReportMetric(median(through).Seconds()*1e3, "gateway-ms")
	b.ReportMetric(float64(bytes)/1e6/median(through).Seconds(), "backend-MB/s")
	b.ReportMetric((median(line)-median(first)).Seconds()*1e3, "first-line-after-first-byte-ms")
	peak := w.peak()
	b.ReportMetric(peak/(1<<20), "peak-RSS-MiB")
	return median(through), peak
}

// directly gives what calls a backend without the gateway.
func (w *world) directly(backend string) *caller {
	if backend == "one" {
		return w.newOne()
	}
	return w.newXen()
}

// direct reads the backend's reply and throws it away: the time until its first byte, and its last.
func (l list) direct(b *testing.B, c *caller) (first, whole time.Duration, size int64) {
	begin := time.Now()
	s, err := c.client.Open(b.Context(), l.method, append([]any{c.session}, l.args...)...)
	check(b, err)
	defer s.Close()
	buffer := make([]byte, 256<<10)
	for {
		n, err := s.Read(buffer)
		if size == 0 {
			first = time.Since(begin)
		}
		size += int64(n)
		if err == io.EOF {
			return first, time.Since(begin), size
		}
		check(b, err)
	}
}

// streamed reads the list as NDJSON: the time until its first line, and its last. Anything but n VMs
// and a summary is fatal.
func (w *world) streamed(token, path string, n int) (first, whole time.Duration) {
	begin := time.Now()
	req, err := http.NewRequestWithContext(w.b.Context(), http.MethodGet, w.url+path, nil)
	check(w.b, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := w.client.Do(req)
	check(w.b, err)
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 256<<10)
	lines := 0
	var last []byte
	for {
		line, err := r.ReadSlice('\n')
		if err == io.EOF {
			break
		}
		check(w.b, err)
		if lines++; lines == 1 {
			first = time.Since(begin)
		}
		if lines > n {
			last = append(last, line...)
		}
	}
	whole = time.Since(begin)
	var end struct {
		Summary *struct{ Count int }
	}
	if err := json.Unmarshal(last, &end); err != nil || end.Summary == nil || lines != n+1 {
		w.b.Fatalf("%d lines for %d VMs, at last %.200s", lines, n, last)
	}
	return first, whole
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that the gateway has had, in bytes.
func (w *world) peak() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.pid))
	check(w.b, err)
	match := peakLine.FindSubmatch(text)
	if match == nil {
		w.b.Fatal("the system does not tell how much memory a process had")
	}
	kb, err := strconv.ParseFloat(string(match[1]), 64)
	check(w.b, err)
	return kb * 1024
}

// slope is that of the straight line nearest to the logarithms.
func slope(sizes []int, took []time.Duration) float64 {
	var x, y, xx, xy float64
	n := float64(len(sizes))
	for i := range sizes {
		u, v := math.Log(float64(sizes[i])), math.Log(took[i].Seconds())
		x, y, xx, xy = x+u, y+v, xx+u*u, xy+u*v
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

// BenchmarkWarmList is a list that the mirror answers (Cache-Control: max-age) beside the same one that
// the backend is asked for.
func BenchmarkWarmList(b *testing.B) {
	w := newWorld(b)
	for _, l := range []list{oneList, xenList} {
		for _, c := range []struct{ name, path, accept string }{
			{"page-100", "/vms?pageSize=100", "application/json"},
			{"all-10000", "/vms", "application/x-ndjson"},
		} {
			b.Run(l.backend+"-"+c.name, func(b *testing.B) {
				w := w.in(b)
				w.warmList(w.login(l.backend), c.path, c.accept)
			})
		}
	}
}

const maxAge = 300 // seconds: the mirror is to answer whenever it can

func (w *world) warmList(token, path, accept string) {
	b := w.b
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for { // the first one starts the watcher
		if _, age := w.list(token, path, accept, maxAge); age {
			break
		}
		check(b, ctx.Err())
		time.Sleep(100 * time.Millisecond)
	}
	var warm, cold []time.Duration
	for b.Loop() {
		t, age := w.list(token, path, accept, maxAge)
		if !age {
			b.Fatal("the mirror did not answer")
		}
		warm = append(warm, t)
		if len(cold) < 5 {
			t, _ := w.list(token, path, accept, 0)
			cold = append(cold, t)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(warm).Seconds()*1e3, "warm-ms")
	b.ReportMetric(median(cold).Seconds()*1e3, "cold-ms")
	b.ReportMetric(float64(median(warm))/float64(median(cold)), "warm/cold")
}

// list reads a list to its end, and reports whether the mirror answered.
func (w *world) list(token, path, accept string, maxAge int) (took time.Duration, mirrored bool) {
	begin := time.Now()
	req, err := http.NewRequestWithContext(w.b.Context(), http.MethodGet, w.url+path, nil)
	check(w.b, err)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", accept)
	if maxAge > 0 {
		req.Header.Set("Cache-Control", "max-age="+strconv.Itoa(maxAge))
	}
	resp, err := w.client.Do(req)
	check(w.b, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	check(w.b, err)
	if resp.StatusCode != http.StatusOK {
		w.b.Fatalf("%s: %s", path, resp.Status)
	}
	return time.Since(begin), resp.Header.Get("Age") != ""
}

// BenchmarkNotModified is a page that the client has already, and a single VM that it has.
func BenchmarkNotModified(b *testing.B) {
	w := newWorldOf(b, fleets{One: 1_000, Xen: 10})
	token := w.login("one")
	vm := w.find(token, "one", "RUNNING", 1)[0]
	for _, c := range []struct{ name, path string }{
		{"page-100", "/vms?pageSize=100"}, {"vm", "/vms/" + vm},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := w.in(b)
			var tag string
			var known, anew []time.Duration
			for b.Loop() {
				anew = append(anew, timed(func(int) { _, tag = w.conditional(token, c.path, "") }, 0))
				var status int
				took := timed(func(int) { status, _ = w.conditional(token, c.path, tag) }, 0)
				if status == http.StatusNotModified { // not when a VM was polled in between
					known = append(known, took)
				}
			}
			if len(known) < len(anew)/2 {
				b.Fatalf("%d of %d were known already", len(known), len(anew))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(micros(median(known)), "304-µs")
			b.ReportMetric(micros(median(anew)), "200-µs")
			b.ReportMetric(1e6/micros(median(known)), "304/s")
			b.ReportMetric(1e6/micros(median(anew)), "200/s")
		})
	}
}

// conditional reads what the client may have, and gives the status and the ETag.
func (w *world) conditional(token, path, tag string) (status int, current string) {
	req, err := http.NewRequestWithContext(w.b.Context(), http.MethodGet, w.url+path, nil)
	check(w.b, err)
	req.Header.Set("Authorization", "Bearer "+token)
	if tag != "" {
		req.Header.Set("If-None-Match", tag)
	}
	resp, err := w.client.Do(req)
	check(w.b, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(w.b, err)
	if len(text) == 0 != (resp.StatusCode == http.StatusNotModified) {
		w.b.Fatalf("%s: %s %.200s", path, resp.Status, text)
	}
	return resp.StatusCode, resp.Header.Get("ETag")
}

// BenchmarkListParts is a page of 1,000 from the mirror, in one process and without a socket towards the
// client, plain and then with each of what can be asked for: what that costs by itself.
func BenchmarkListParts(b *testing.B) {
	w := newWorldOf(b, fleets{One: 2_000, Xen: 10})
	i := w.inside("one")
	const page = "/vms?pageSize=1000"
	mirrored := http.Header{"Cache-Control": {"max-age=" + strconv.Itoa(maxAge)}}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for i.get(http.StatusOK, page, mirrored).Header().Get("Age") == "" {
		check(b, ctx.Err())
		time.Sleep(50 * time.Millisecond)
	}
	for _, c := range []struct{ name, query, coding string }{
		{"plain", "", ""},
		{"filter", "&filter=" + url.QueryEscape(`state!="DELETED" AND memory.dynamicMaxBytes>=0 AND NOT displayName:"none"`), ""},
		{"order", "&orderBy=displayName", ""},
		{"fields", "&fields=displayName,state,host", ""},
		{"gzip", "", "gzip"},
		{"zstd", "", "zstd"},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := mirrored.Clone()
			if c.coding != "" {
				h.Set("Accept-Encoding", c.coding)
			}
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = i.get(http.StatusOK, page+c.query, h).Body.Len()
			}
			b.ReportMetric(float64(size)/1000, "B/VM")
		})
	}
	b.Run("304", func(b *testing.B) {
		h := mirrored.Clone()
		b.ReportAllocs()
		anew := 0
		for b.Loop() {
			w := i.ask(page, h)
			if w.Code == http.StatusOK { // the first, and when VMs have been polled
				anew++
				h.Set("If-None-Match", w.Header().Get("ETag"))
			}
		}
		if anew > b.N/4+1 {
			b.Fatalf("%d of %d were not known already", anew, b.N)
		}
	})
}

// ask asks for what the mirror can answer.
func (i *inside) ask(path string, header http.Header) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(i.b.Context(), http.MethodGet, path, nil)
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+i.token)
	w := httptest.NewRecorder()
	i.api.ServeHTTP(w, req)
	return w
}

func (i *inside) get(want int, path string, header http.Header) *httptest.ResponseRecorder {
	w := i.ask(path, header)
	if w.Code != want {
		i.b.Fatalf("%s: %d %.200s", path, w.Code, w.Body)
	}
	return w
}
