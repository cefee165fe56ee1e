package scan_test

import (
	"errors"
	"fmt"
	"io"

	"vmgateway/internal/backends/wire/scan"
)

// One machine of three is damaged; the others are read as if it were not there.
func ExampleDocument() {
	text := escaped("<VM_POOL>" +
		"<VM><ID>1</ID><NAME><![CDATA[ web & db ]]></NAME></VM>" +
		"<VM><ID>2</ID><NAME>\x01</NAME></VM>" +
		"<VM><ID>3</ID><NAME>&lt;mail&gt;</NAME></VM>" +
		"</VM_POOL>")
	machines := scan.NewDocument(scan.Whole([]byte(text)), "VM_POOL/VM", scan.NewTable([]string{"ID", "NAME"}), true)
	for {
		vm, err := machines.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		for _, f := range vm.Found() {
			fmt.Printf("%s %q ", vm.Name(f), vm.Append(nil, f))
		}
		fmt.Println(err)
	}
	// Output:
	// ID "1" NAME " web & db " <nil>
	// ID "2" a character that cannot be in XML, at byte 159
	// ID "3" NAME "<mail>" <nil>
}
