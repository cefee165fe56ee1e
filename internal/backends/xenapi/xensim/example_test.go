package xensim_test

import (
	"fmt"
	"time"

	"vmgateway/internal/backends/xenapi/xensim"
)

// A test puts a VM into the state it needs, decides when operations end, and lets calls fail.
func Example() {
	clock := xensim.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s, err := xensim.Start(xensim.Config{Clock: clock, Durations: &xensim.Durations{Start: 10 * time.Second}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	uuid := s.PutVM(xensim.VMSpec{Name: "web-01", PowerState: "Suspended"})
	s.FailNext("VM.resume", "SR_BACKEND_FAILURE_46", "", "the disk is gone", "")
	vm, _ := s.VM(uuid)
	fmt.Println(vm.Name, vm.PowerState, s.Users()[0].Name)
	// Output: web-01 Suspended root
}
