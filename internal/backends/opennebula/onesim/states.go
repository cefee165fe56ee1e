package onesim

import "strings"

// State is STATE of a VM document. Source: OpenNebula include/VirtualMachine.h, VmState.
type State int

// LCM is LCM_STATE of a VM document; it means something only while STATE is Active.
type LCM int

// The states, by their numbers.
const (
	Init State = iota
	Pending
	Hold
	Active
	Stopped
	Suspended
	Done
	Failed // until 4.12
	Poweroff
	Undeployed
	Cloning        // 5.0 on
	CloningFailure // 5.0 on
)

// The life-cycle states that code names; lcmNames has all of them.
const (
	LCMInit LCM = iota
	Prolog
	Boot
	Running
	Migrate
	SaveStop
	SaveSuspend
	SaveMigrate
	PrologMigrate
	PrologResume
	EpilogStop
	Epilog
	Shutdown
	lcm13 // CANCEL, until 4.12
	lcm14 // FAILURE, until 4.12
	CleanupResubmit
	Unknown
	Hotplug
	ShutdownPoweroff
	BootUnknown
	BootPoweroff
	BootSuspended
	BootStopped
	CleanupDelete
	HotplugSnapshot
	HotplugNIC
	HotplugSaveas
	HotplugSaveasPoweroff
	HotplugSaveasSuspended
	ShutdownUndeploy
	EpilogUndeploy
	PrologUndeploy
	BootUndeploy
	HotplugPrologPoweroff
	HotplugEpilogPoweroff
	BootMigrate
	BootFailure
	BootMigrateFailure
	PrologMigrateFailure
	PrologFailure
	EpilogFailure
	EpilogStopFailure
	EpilogUndeployFailure
	PrologMigratePoweroff
	PrologMigratePoweroffFailure
	PrologMigrateSuspend
	PrologMigrateSuspendFailure
	BootUndeployFailure
	BootStoppedFailure
	PrologResumeFailure
	PrologUndeployFailure
	DiskSnapshotPoweroff
	DiskSnapshotRevertPoweroff
	DiskSnapshotDeletePoweroff
	DiskSnapshotSuspended
	DiskSnapshotRevertSuspended
	DiskSnapshotDeleteSuspended
	DiskSnapshot
	DiskSnapshotRevert
	DiskSnapshotDelete
	PrologMigrateUnknown
	PrologMigrateUnknownFailure
	DiskResize
	DiskResizePoweroff
	DiskResizeUndeployed
	HotplugNICPoweroff
	HotplugResize
	HotplugSaveasUndeployed
	HotplugSaveasStopped
	Backup
	BackupPoweroff
	Restore
)

var stateNames = strings.Fields(`INIT PENDING HOLD ACTIVE STOPPED SUSPENDED DONE FAILED POWEROFF UNDEPLOYED CLONING
	CLONING_FAILURE`)

var lcmNames = strings.Fields(`LCM_INIT PROLOG BOOT RUNNING MIGRATE SAVE_STOP SAVE_SUSPEND SAVE_MIGRATE PROLOG_MIGRATE
	PROLOG_RESUME EPILOG_STOP EPILOG SHUTDOWN CANCEL FAILURE CLEANUP_RESUBMIT UNKNOWN HOTPLUG SHUTDOWN_POWEROFF
	BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED BOOT_STOPPED CLEANUP_DELETE HOTPLUG_SNAPSHOT HOTPLUG_NIC HOTPLUG_SAVEAS
	HOTPLUG_SAVEAS_POWEROFF HOTPLUG_SAVEAS_SUSPENDED SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY PROLOG_UNDEPLOY BOOT_UNDEPLOY
	HOTPLUG_PROLOG_POWEROFF HOTPLUG_EPILOG_POWEROFF BOOT_MIGRATE BOOT_FAILURE BOOT_MIGRATE_FAILURE
	PROLOG_MIGRATE_FAILURE PROLOG_FAILURE EPILOG_FAILURE EPILOG_STOP_FAILURE EPILOG_UNDEPLOY_FAILURE
	PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_POWEROFF_FAILURE PROLOG_MIGRATE_SUSPEND PROLOG_MIGRATE_SUSPEND_FAILURE
	BOOT_UNDEPLOY_FAILURE BOOT_STOPPED_FAILURE PROLOG_RESUME_FAILURE PROLOG_UNDEPLOY_FAILURE DISK_SNAPSHOT_POWEROFF
	DISK_SNAPSHOT_REVERT_POWEROFF DISK_SNAPSHOT_DELETE_POWEROFF DISK_SNAPSHOT_SUSPENDED DISK_SNAPSHOT_REVERT_SUSPENDED
	DISK_SNAPSHOT_DELETE_SUSPENDED DISK_SNAPSHOT DISK_SNAPSHOT_REVERT DISK_SNAPSHOT_DELETE PROLOG_MIGRATE_UNKNOWN
	PROLOG_MIGRATE_UNKNOWN_FAILURE DISK_RESIZE DISK_RESIZE_POWEROFF DISK_RESIZE_UNDEPLOYED HOTPLUG_NIC_POWEROFF
	HOTPLUG_RESIZE HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED BACKUP BACKUP_POWEROFF RESTORE`)

func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "UNKNOWN STATE"
	}
	return stateNames[s]
}

func (l LCM) String() string {
	if l < 0 || int(l) >= len(lcmNames) {
		return "UNKNOWN LCM STATE"
	}
	return lcmNames[l]
}

// status is the pair as oned's messages name it: the LCM state while ACTIVE, else the state.
type status struct {
	state State
	lcm   LCM
}

func (s status) String() string {
	if s.state == Active {
		return s.lcm.String()
	}
	return s.state.String()
}

// one of the statuses whose names stand in list, separated by blanks; "*" is any.
func (s status) in(list string) bool {
	if list == "*" {
		return true
	}
	name := s.String()
	for list != "" {
		var one string
		one, list, _ = strings.Cut(list, " ")
		if one == name || strings.HasSuffix(one, "*") && strings.HasPrefix(name, one[:len(one)-1]) ||
			strings.HasPrefix(one, "*") && strings.HasSuffix(name, one[1:]) && s.state == Active {
			return true
		}
	}
	return false
}
