package scan_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"vmgateway/internal/backends/wire/scan"
)

// machine is a VM of the shape and size that one.vmpool.info gives: 2.9 kB where it is escaped.
func machine(i int) string {
	return fmt.Sprintf(`<VM><ID>%d</ID><UID>2</UID><GID>1</GID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>web-%d</NAME>`+
		`<LAST_POLL>0</LAST_POLL><STATE>3</STATE><LCM_STATE>3</LCM_STATE><RESCHED>0</RESCHED><STIME>1795343447</STIME>`+
		`<ETIME>0</ETIME><DEPLOY_ID><![CDATA[dummy-%d]]></DEPLOY_ID><MONITORING/><TEMPLATE><CPU><![CDATA[1]]></CPU>%s`+
		`</TEMPLATE><HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>node-1</HOSTNAME><HID>0</HID></HISTORY></HISTORY_RECORDS></VM>`,
		i, i, i, strings.Repeat(`<DISK><DATASTORE><![CDATA[default]]></DATASTORE><DISK_ID><![CDATA[0]]></DISK_ID><IMAGE><![CDATA[debian 12 & more]]></IMAGE>`+
			`<SIZE><![CDATA[2048]]></SIZE></DISK>`, 6))
}

// BenchmarkDocument walks a pool of 10,000 VMs, and finds some of each.
func BenchmarkDocument(b *testing.B) {
	const n = 10_000
	var plain strings.Builder
	plain.WriteString("<VM_POOL>")
	for i := range n {
		plain.WriteString(machine(i))
	}
	plain.WriteString("</VM_POOL>")
	text := []byte(escaped(plain.String()) + stringEnd)
	for name, table := range map[string][]string{"bare": nil, "finding": {"ID", "NAME", "TEMPLATE/CPU", "TEMPLATE/DISK/", "TEMPLATE/DISK/SIZE", "HISTORY_RECORDS/HISTORY/HID"}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				d := scan.NewDocument(scan.NewWindow(bytes.NewReader(text), 256<<10, 16<<20), "VM_POOL/VM", scan.NewTable(table), false)
				seen := 0
				for {
					if _, err := d.Next(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						b.Fatal(err)
					}
					seen++
				}
				if seen != n {
					b.Fatal(seen)
				}
			}
		})
	}
	b.Run("encoding-xml", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			d := xml.NewDecoder(strings.NewReader(plain.String()))
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
