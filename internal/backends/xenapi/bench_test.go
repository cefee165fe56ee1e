package xenapi

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

// fleet is VM.get_all_records of n VMs as xapi 24.16 writes them: recorded ones, each with a uuid and a
// reference of its own.
func fleet(tb testing.TB, n int) []byte {
	tb.Helper()
	var kinds [][2]string // around the uuid
	for _, file := range []string{"vm-running", "vm-halted", "vm-paused", "vm-suspended"} {
		body := load(tb, filepath.Join("testdata", file+".json")).Response
		_, body, _ = strings.Cut(body, "<name>Value</name><value>")
		body, _, ok := strings.Cut(body, "</value></member></struct></value></param></params></methodResponse>")
		const mark = "<member><name>uuid</name><value>"
		before, after, found := strings.Cut(body, mark)
		if !ok || !found {
			tb.Fatalf("%s is no record of a VM", file)
		}
		kinds = append(kinds, [2]string{before + mark, after[36:]})
	}
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member><member><name>Value</name><value><struct>`)
	for i := range n {
		kind := kinds[i%len(kinds)]
		fmt.Fprintf(&b, "<member><name>OpaqueRef:%08x-0000-4000-8000-%012x</name><value>%s%08x-0000-4000-9000-%012x%s</value></member>", i, i, kind[0], i, i, kind[1])
	}
	b.WriteString(`</struct></value></member></struct></value></param></params></methodResponse>`)
	return b.Bytes()
}

// BenchmarkList is what decoding a list costs, without the backend and the network: 5,000 VMs, as often
// as they are read; the ratios are to what encoding/xml needs for the same bytes' tokens alone.
func BenchmarkList(b *testing.B) {
	body := fleet(b, 5000)
	b.Run("encoding-xml-tokens", func(b *testing.B) { measure(b, body, tokens) })
	rec := scan.NewRecord(vmMembers)
	b.Run("walk", func(b *testing.B) {
		measure(b, body, func(body []byte) (int, error) { return eachRecord(body, rec, func() error { return nil }) })
	})
	for _, c := range []struct {
		name    string
		members []string
	}{
		{"id-name-state", []string{"id", "displayName", "state"}},
		{"BASIC", nil},
	} {
		var vm *backends.VM
		r := benchReader(b, c.members)
		decode := func() (err error) {
			vm, err = r.next(context.Background(), nil)
			return err
		}
		b.Run(c.name, func(b *testing.B) {
			measure(b, body, func(body []byte) (int, error) { return eachRecord(body, r.rec, decode) })
		})
		b.Run(c.name+"-to-JSON", func(b *testing.B) {
			var out []byte
			write := func() error {
				err := decode()
				out = vm.AppendJSON(out[:0])
				return err
			}
			measure(b, body, func(body []byte) (int, error) { return eachRecord(body, r.rec, write) })
			b.ReportMetric(float64(len(out)), "JSON-B/VM")
		})
	}
}

// BenchmarkListAgainstXML reads the same list in turns: as VMs that are written as JSON, and as
// encoding/xml's tokens. The metric is how many times as fast the first is.
func BenchmarkListAgainstXML(b *testing.B) {
	body := fleet(b, 500)
	r := benchReader(b, nil)
	var out []byte
	var ours, theirs time.Duration
	for b.Loop() {
		start := time.Now()
		n, err := eachRecord(body, r.rec, func() error {
			vm, err := r.next(context.Background(), nil)
			if err == nil {
				out = vm.AppendJSON(out[:0])
			}
			return err
		})
		between := time.Now()
		if err != nil || n != 500 {
			b.Fatal(n, err)
		}
		if _, err := tokens(body); err != nil {
			b.Fatal(err)
		}
		ours, theirs = ours+between.Sub(start), theirs+time.Since(between)
	}
	b.ReportMetric(float64(theirs)/float64(ours), "x")
}

// benchReader is a reader that knows the hosts.
func benchReader(b *testing.B, members []string) *vmReader {
	n := newDriver(b, "http://127.0.0.1:1").link(backends.NewSession("s")).names(true)
	for _, ref := range []string{"OpaqueRef:719f229c-8e7f-f6cc-c70c-23f46d5f0ea9", "OpaqueRef:00000000-0000-0000-0000-000000000001"} {
		n.d.refs.learn(object{"host", ref[len(refPrefix):]}, ref)
		n.known[ref] = named{ref[len(refPrefix):], "host-" + ref[len(refPrefix):][:3]}
	}
	for _, class := range []string{"host", "VDI", "task"} {
		n.loaded[class] = true
	}
	return n.reader(backends.Query{View: backends.ViewBasic, Members: members, Reuse: true})
}

// eachRecord goes through the records of a reply as a list does, and counts them.
func eachRecord(body []byte, rec *scan.Record, do func() error) (n int, err error) {
	a := &answer{Reader: scan.NewReader(scan.NewWindow(bytes.NewReader(body), window, maxRecord), refPrefix)}
	if err := a.begin(); err != nil {
		return 0, err
	}
	if _, err := a.Enter(); err != nil {
		return 0, err
	}
	for ; ; n++ {
		ok, err := a.Next(rec)
		if err == nil && ok {
			err = do()
		}
		if !ok || err != nil {
			return n, err
		}
	}
}

func tokens(body []byte) (int, error) {
	n := 0
	for d := xml.NewDecoder(bytes.NewReader(body)); ; n++ {
		if _, err := d.RawToken(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

func measure(b *testing.B, body []byte, read func([]byte) (int, error)) {
	b.Helper()
	if _, err := read(body); err != nil { // the first time, references are learnt
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := read(body); err != nil || n < 5000 {
			b.Fatal(n, err)
		}
	}
}
