package opennebula

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/kolo/xmlrpc"

	"vmgateway/internal/backends"
	"vmgateway/internal/backends/wire/scan"
)

var recordedVM = regexp.MustCompile(`(?s)&lt;VM&gt;&lt;ID&gt;[0-9]+&lt;/ID&gt;(.*?&lt;/VM&gt;)`)

// recordedPool is a reply of n VMs, made of those that a real oned answered, each under many ids.
func recordedPool(b *testing.B, name string, n int) []byte {
	b.Helper()
	for _, rec := range recordings(b) {
		if !strings.HasPrefix(rec.Name, name) {
			continue
		}
		vms := recordedVM.FindAllStringSubmatch(rec.Response, -1)
		head, _, _ := strings.Cut(rec.Response, "&lt;VM&gt;")
		_, tail, _ := strings.Cut(rec.Response, "&lt;/VM_POOL&gt;")
		var text bytes.Buffer
		text.WriteString(head)
		for i := range n {
			fmt.Fprintf(&text, "&lt;VM&gt;&lt;ID&gt;%d&lt;/ID&gt;%s", i, vms[i%len(vms)][1])
		}
		text.WriteString("&lt;/VM_POOL&gt;" + tail)
		return text.Bytes()
	}
	b.Fatalf("no recording %s", name)
	return nil
}

// looseVM is what a client that uses encoding/xml makes of a VM: the members of BASIC.
type looseVM struct {
	ID       int    `xml:"ID"`
	UID      int    `xml:"UID"`
	GID      int    `xml:"GID"`
	UName    string `xml:"UNAME"`
	GName    string `xml:"GNAME"`
	Name     string `xml:"NAME"`
	LastPoll int64  `xml:"LAST_POLL"`
	State    int    `xml:"STATE"`
	LCMState int    `xml:"LCM_STATE"`
	Resched  int    `xml:"RESCHED"`
	STime    int64  `xml:"STIME"`
	ETime    int64  `xml:"ETIME"`
	DeployID string `xml:"DEPLOY_ID"`
	Template struct {
		CPU    string `xml:"CPU"`
		VCPU   string `xml:"VCPU"`
		Memory string `xml:"MEMORY"`
	} `xml:"TEMPLATE"`
	History []struct {
		Seq      int    `xml:"SEQ"`
		HID      int    `xml:"HID"`
		Hostname string `xml:"HOSTNAME"`
	} `xml:"HISTORY_RECORDS>HISTORY"`
}

// loosely decodes a pool as most clients do.
func loosely(body []byte) (n int, err error) {
	var parts []any
	if err := xmlrpc.Response(body).Unmarshal(&parts); err != nil {
		return 0, err
	}
	var pool struct {
		VMs []looseVM `xml:"VM"`
	}
	if err := xml.Unmarshal([]byte(parts[1].(string)), &pool); err != nil {
		return 0, err
	}
	_, err = json.Marshal(pool)
	return len(pool.VMs), err
}

// BenchmarkPool decodes the reply to a list into the JSON of our VMs, and compares.
func BenchmarkPool(b *testing.B) {
	for _, pool := range []struct {
		method, recording string
		view              backends.View
		n                 int
	}{
		{"info", "525-one.vmpool.info-flag-group", backends.ViewBasic, 5000},
		{"infoextended", "576-one.vmpool.infoextended-range", backends.ViewFull, 1500},
	} {
		body := recordedPool(b, pool.recording, pool.n)
		b.Logf("%s: %d bytes a VM", pool.method, len(body)/pool.n)
		for _, view := range []backends.View{backends.ViewID, backends.ViewBasic, backends.ViewFull} {
			if viewRank(view) > viewRank(pool.view) {
				continue
			}
			b.Run(pool.method+"/"+string(view), func(b *testing.B) { benchmarkDecode(b, body, view, pool.n) })
		}
		b.Run(pool.method+"/bare walk", func(b *testing.B) {
			benchmarkItems(b, body, scan.NewTable(nil), pool.n, func(*scan.Item) {})
		})
		b.Run(pool.method+"/kolo and encoding-xml", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := loosely(body); err != nil || n != pool.n {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func benchmarkDecode(b *testing.B, body []byte, view backends.View, n int) {
	d := recordedDriver(b)
	dec := d.decoder(d.plan(view, nil, v(6, 10, 0)), v(6, 10, 0))
	var line []byte
	benchmarkItems(b, body, dec.plan.table, n, func(item *scan.Item) {
		vm, err := dec.decode(item)
		if err != nil {
			b.Fatal(err)
		}
		line = vm.AppendJSON(line[:0])
	})
}

func benchmarkItems(b *testing.B, body []byte, table *scan.Table, n int, each func(*scan.Item)) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		w := scan.NewWindow(bytes.NewReader(body), readAhead, maxRecord)
		if err := w.More(); err != nil {
			b.Fatal(err)
		}
		head, err := answerHead(w.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		w.Advance(head)
		doc := scan.NewDocument(w, "VM_POOL/VM", table, false)
		seen := 0
		for item, err := doc.Next(); !errors.Is(err, io.EOF); item, err = doc.Next() {
			if err != nil {
				b.Fatal(err)
			}
			each(item)
			seen++
		}
		if seen != n {
			b.Fatal(seen)
		}
	}
}
