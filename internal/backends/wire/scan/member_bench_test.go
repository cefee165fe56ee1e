package scan_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"vmgateway/internal/backends/wire/scan"
)

// fleet is a list of n VMs as xapi writes them, from a recorded one.
func fleet(b *testing.B, n int) []byte {
	b.Helper()
	body := recordings(b, "xapi-217-*.json")["xapi-217-VM.get_record-running.json"]
	_, vm, ok := bytes.Cut(body, []byte("<name>Value</name><value>"))
	vm, _, end := bytes.Cut(vm, []byte("</value></member></struct></value></param>"))
	if !ok || !end {
		b.Fatal("the recording is no VM")
	}
	return list(string(bytes.Repeat([]byte("<member><name>Ref:1</name><value>"+string(vm)+"</value></member>"), n)))
}

// BenchmarkRecords walks 1,000 records that arrive, and the same bytes by encoding/xml's tokens.
func BenchmarkRecords(b *testing.B) {
	body := fleet(b, 1000)
	b.Run("walk", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			err := records(bytes.NewReader(body), 16<<20, func(*scan.Record, error) { n++ })
			if err != nil || n != 1000 {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("encoding/xml tokens", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			d := xml.NewDecoder(bytes.NewReader(body))
			for {
				if _, err := d.RawToken(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
