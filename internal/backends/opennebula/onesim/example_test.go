package onesim_test

import (
	"fmt"
	"time"

	"vmgateway/internal/backends/opennebula/onesim"
)

// A test starts its own daemon, puts a VM into the state that it needs, and moves the clock instead of waiting.
func Example() {
	clock := onesim.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s, err := onesim.Start(onesim.Config{Clock: clock})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	id, err := s.PutVM(onesim.VMSpec{Owner: "alice", State: onesim.Active, LCM: onesim.Boot})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.FailNext(onesim.StepBoot)
	s.Advance(time.Minute)
	vm, _ := s.VM(id)
	fmt.Println(vm.State, vm.LCM)
	// Output: ACTIVE BOOT_FAILURE
}
