package wire

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

// xapiRecords is a reply of VM.get_all_records with n records of the shape and size of a real one:
// 7.7 kB each.
func xapiRecords(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><methodResponse><params><param><value><struct>` +
		`<member><name>Status</name><value>Success</value></member><member><name>Value</name><value><struct>`)
	for i := range n {
		fmt.Fprintf(&b, `<member><name>OpaqueRef:%08d-cdb6-ff27-bb11-1041cf4b290e</name><value><struct>`, i)
		fmt.Fprintf(&b, `<member><name>uuid</name><value>%08d-0d2c-5d68-a2b1-6b1c9f3f3a11</value></member>`, i)
		for m := range 30 {
			fmt.Fprintf(&b, `<member><name>some_field_%d</name><value>a value &amp; %d</value></member>`, m, m)
			fmt.Fprintf(&b, `<member><name>flag_%d</name><value><boolean>1</boolean></value></member>`, m)
			fmt.Fprintf(&b, `<member><name>empty_%d</name><value></value></member>`, m)
		}
		b.WriteString(`<member><name>start_time</name><value><dateTime.iso8601>20261122T10:33:19Z</dateTime.iso8601></value></member>`)
		for m := range 12 {
			fmt.Fprintf(&b, `<member><name>VBDs_%d</name><value><array><data><value>OpaqueRef:1de4055d-cdb6-ff27-bb11-%012d</value></data></array></value></member>`, m, m)
			fmt.Fprintf(&b, `<member><name>other_config_%d</name><value><struct><member><name>auto_poweron</name><value>false</value></member></struct></value></member>`, m)
		}
		b.WriteString(`</struct></value></member>`)
	}
	b.WriteString(`</struct></value></member></struct></value></param></params></methodResponse>`)
	return b.Bytes()
}

// oneVM is a machine of the shape and size that one.vmpool.info gives: 2.9 kB.
func oneVM(i int) string {
	return fmt.Sprintf(`<VM><ID>%d</ID><UID>2</UID><GID>1</GID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>web-%d</NAME>`+
		`<LAST_POLL>0</LAST_POLL><STATE>3</STATE><LCM_STATE>3</LCM_STATE><RESCHED>0</RESCHED><STIME>1795343447</STIME>`+
		`<ETIME>0</ETIME><DEPLOY_ID><![CDATA[dummy-%d]]></DEPLOY_ID><MONITORING/><TEMPLATE><CPU><![CDATA[1]]></CPU>%s`+
		`</TEMPLATE><HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>node-1</HOSTNAME><HID>0</HID></HISTORY></HISTORY_RECORDS></VM>`,
		i, i, i, strings.Repeat(`<DISK><DATASTORE><![CDATA[default]]></DATASTORE><DISK_ID><![CDATA[0]]></DISK_ID><IMAGE><![CDATA[debian 12 & more]]></IMAGE>`+
			`<SIZE><![CDATA[2048]]></SIZE><SOURCE><![CDATA[/var/lib/one/datastores/1/0]]></SOURCE></DISK>`, 11))
}

func onePool(n int) []byte {
	var b bytes.Buffer
	b.WriteString("<VM_POOL>")
	for i := range n {
		b.WriteString(oneVM(i))
	}
	b.WriteString("</VM_POOL>")
	return b.Bytes()
}

// oneReply is a reply of oned that holds a document.
func oneReply(document []byte) []byte {
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<methodResponse>\r\n<params>\r\n<param><value><array><data>\r\n" +
		"<value><boolean>1</boolean></value>\r\n<value><string>")
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").WriteString(&b, string(document))
	b.WriteString("</string></value>\r\n<value><i4>0</i4></value>\r\n</data></array></value></param>\r\n</params>\r\n</methodResponse>\r\n")
	return b.Bytes()
}

func reply(body []byte) *Reply { return &Reply{method: "test", body: body} }

// walk visits every value.
func walk(v scan.Value) (n int, err error) {
	n = 1
	if v.Kind() != scan.Array && v.Kind() != scan.Struct {
		return n, nil
	}
	p := v.Parts(v.Kind())
	for p.Next() {
		m, err := walk(p.Value)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, p.Err()
}

// tokens reads b with encoding/xml, which the scanners are compared to.
func tokens(b *testing.B, text []byte) {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.RawToken(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	body := xapiRecords(5000)
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reply(body).Value(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("walk", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			v, err := reply(body).Value()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := walk(v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-xml", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			tokens(b, body)
		}
	})
}

func BenchmarkPool(b *testing.B) {
	pool := onePool(10000)
	body := oneReply(pool)
	for name, path := range map[string]string{"each": "ID", "walk": "**"} {
		table := scan.NewTable([]string{path})
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				v, err := reply(body).Value()
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for _, d := range documents(v, "VM_POOL/VM", table) {
					for _, err = d.Next(); err == nil; _, err = d.Next() {
						n++
					}
				}
				if n != 10000 || !errors.Is(err, io.EOF) {
					b.Fatal(n, err)
				}
			}
		})
	}
	b.Run("encoding-xml", func(b *testing.B) {
		b.SetBytes(int64(len(pool)))
		b.ReportAllocs()
		for b.Loop() {
			tokens(b, pool)
		}
	})
}
