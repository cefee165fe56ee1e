package wire_test

import (
	"fmt"

	"vmgateway/internal/backends/wire"
)

// One machine of three is damaged; the others are read as if it were not there.
func ExampleElement_Each() {
	pool, err := wire.ParseDocument([]byte("<VM_POOL>" +
		"<VM><ID>1</ID><NAME><![CDATA[ web & db ]]></NAME></VM>" +
		"<VM><ID>2</ID><NAME>\x01</NAME></VM>" +
		"<VM><ID>3</ID><NAME>&lt;mail&gt;</NAME></VM>" +
		"</VM_POOL>"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for vm, err := range pool.Each("VM") {
		if err != nil {
			id, _ := vm.Child("ID")
			text, _ := id.Text()
			fmt.Println("VM", text, "is damaged")
			continue
		}
		name, _ := vm.Child("NAME")
		text, err := name.Text()
		fmt.Printf("%q %v\n", text, err)
	}
	// Output:
	// " web & db " <nil>
	// VM 2 is damaged
	// "<mail>" <nil>
}
