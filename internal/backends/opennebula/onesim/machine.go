package onesim

import (
	"cmp"
	"slices"
	"time"
)

// Numbers of history actions. Source: OpenNebula include/VMActions.h.
const (
	actMigrate         = 1
	actLiveMigrate     = 2
	actShutdown        = 3
	actShutdownHard    = 4
	actUndeploy        = 5
	actUndeployHard    = 6
	actStop            = 9
	actSuspend         = 10
	actResume          = 11
	actDelete          = 13
	actDeleteRecreate  = 14
	actPoweroff        = 19
	actPoweroffHard    = 20
	actDiskAttach      = 21
	actDiskDetach      = 22
	actNICAttach       = 23
	actNICDetach       = 24
	actDiskSnapCreate  = 25
	actDiskSnapDelete  = 26
	actTerminate       = 27
	actTerminateHard   = 28
	actDiskResize      = 29
	actDiskSnapRevert  = 41
	actMonitor         = 44
	actAliasAttach     = 46
	actAliasDetach     = 47
	actPoffMigrate     = 48
	actPoffHardMigrate = 49
	actNICUpdate       = 51
)

func active(l LCM) status { return status{Active, l} }

func is(s State) status { return status{s, LCMInit} }

// phase is a transient state: which step it waits for, and where it leads when that succeeds or fails.
type phase struct {
	step       Step
	next, fail status
	message    string // what the driver says when it fails: goes to USER_TEMPLATE/ERROR; "" is nothing
}

const (
	tmFailure   = "Error executing image transfer script: ERROR MESSAGE --8<------ dummy tm failure ERROR MESSAGE... see more details in VM log"
	bootFailure = "DEPLOY: "
)

// phases are the transient states of ACTIVE, and what OpenNebula's life-cycle manager makes of a driver's answer.
// Source: OpenNebula src/lcm/LifeCycleStates.cc, and recordings of each.
var phases = map[LCM]phase{
	Prolog:                {StepProlog, active(Boot), active(PrologFailure), tmFailure},
	PrologMigrate:         {StepProlog, active(BootMigrate), active(PrologMigrateFailure), tmFailure},
	PrologMigratePoweroff: {StepProlog, is(Poweroff), active(PrologMigratePoweroffFailure), tmFailure},
	PrologMigrateSuspend:  {StepProlog, is(Suspended), active(PrologMigrateSuspendFailure), tmFailure},
	PrologMigrateUnknown:  {StepProlog, active(Boot), active(PrologMigrateUnknownFailure), tmFailure},
	PrologResume:          {StepProlog, active(BootStopped), active(PrologResumeFailure), tmFailure},
	PrologUndeploy:        {StepProlog, active(BootUndeploy), active(PrologUndeployFailure), tmFailure},

	Boot:          {StepBoot, active(Running), active(BootFailure), bootFailure},
	BootMigrate:   {StepBoot, active(Running), active(BootMigrateFailure), ""},
	BootStopped:   {StepBoot, active(Running), active(BootStoppedFailure), ""},
	BootUndeploy:  {StepBoot, active(Running), active(BootUndeployFailure), bootFailure},
	BootPoweroff:  {StepBoot, active(Running), is(Poweroff), ""},
	BootSuspended: {StepBoot, active(Running), is(Suspended), ""},
	BootUnknown:   {StepBoot, active(Running), active(Unknown), ""},

	Migrate:          {StepMigrate, active(Running), active(Running), ""},
	SaveStop:         {StepSave, active(EpilogStop), active(Running), ""},
	SaveSuspend:      {StepSave, is(Suspended), active(Running), ""},
	SaveMigrate:      {StepSave, active(PrologMigrate), active(Running), ""},
	Shutdown:         {StepShutdown, active(Epilog), active(Running), ""},
	ShutdownPoweroff: {StepShutdown, is(Poweroff), active(Running), ""},
	ShutdownUndeploy: {StepShutdown, active(EpilogUndeploy), active(Running), ""},

	Epilog:          {StepEpilog, is(Done), active(EpilogFailure), tmFailure},
	EpilogStop:      {StepEpilog, is(Stopped), active(EpilogStopFailure), tmFailure},
	EpilogUndeploy:  {StepEpilog, is(Undeployed), active(EpilogUndeployFailure), tmFailure},
	CleanupDelete:   {StepCleanup, is(Done), is(Done), ""},
	CleanupResubmit: {StepCleanup, is(Pending), is(Pending), ""},

	Hotplug:                     {StepAttach, active(Running), active(Running), ""},
	HotplugPrologPoweroff:       {StepAttach, is(Poweroff), is(Poweroff), ""},
	HotplugEpilogPoweroff:       {StepDetach, is(Poweroff), is(Poweroff), ""},
	HotplugNIC:                  {StepNIC, active(Running), active(Running), ""},
	HotplugNICPoweroff:          {StepNIC, is(Poweroff), is(Poweroff), ""},
	HotplugSnapshot:             {StepSnapshot, active(Running), active(Running), ""},
	HotplugSaveas:               {StepSaveAs, active(Running), active(Running), ""},
	HotplugSaveasPoweroff:       {StepSaveAs, is(Poweroff), is(Poweroff), ""},
	HotplugSaveasSuspended:      {StepSaveAs, is(Suspended), is(Suspended), ""},
	HotplugSaveasUndeployed:     {StepSaveAs, is(Undeployed), is(Undeployed), ""},
	HotplugSaveasStopped:        {StepSaveAs, is(Stopped), is(Stopped), ""},
	HotplugResize:               {StepResize, active(Running), active(Running), ""},
	DiskResize:                  {StepResize, active(Running), active(Running), ""},
	DiskResizePoweroff:          {StepResize, is(Poweroff), is(Poweroff), ""},
	DiskResizeUndeployed:        {StepResize, is(Undeployed), is(Undeployed), ""},
	DiskSnapshot:                {StepSnapshot, active(Running), active(Running), ""},
	DiskSnapshotPoweroff:        {StepSnapshot, is(Poweroff), is(Poweroff), ""},
	DiskSnapshotSuspended:       {StepSnapshot, is(Suspended), is(Suspended), ""},
	DiskSnapshotRevert:          {StepSnapshot, active(Running), active(Running), ""},
	DiskSnapshotRevertPoweroff:  {StepSnapshot, is(Poweroff), is(Poweroff), ""},
	DiskSnapshotRevertSuspended: {StepSnapshot, is(Suspended), is(Suspended), ""},
	DiskSnapshotDelete:          {StepSnapshot, active(Running), active(Running), ""},
	DiskSnapshotDeletePoweroff:  {StepSnapshot, is(Poweroff), is(Poweroff), ""},
	DiskSnapshotDeleteSuspended: {StepSnapshot, is(Suspended), is(Suspended), ""},
	Backup:                      {StepBackup, active(Running), active(Running), ""},
	BackupPoweroff:              {StepBackup, is(Poweroff), is(Poweroff), ""},
	Restore:                     {StepBackup, is(Poweroff), is(Poweroff), ""},
}

// origins are the states whose failure each *_FAILURE state is: recover 1 takes their success, recover 2 enters
// them again.
var origins = map[LCM]LCM{
	PrologFailure: Prolog, PrologMigrateFailure: PrologMigrate, PrologMigratePoweroffFailure: PrologMigratePoweroff,
	PrologMigrateSuspendFailure: PrologMigrateSuspend, PrologMigrateUnknownFailure: PrologMigrateUnknown,
	PrologResumeFailure: PrologResume, PrologUndeployFailure: PrologUndeploy, BootFailure: Boot,
	BootMigrateFailure: BootMigrate, BootStoppedFailure: BootStopped, BootUndeployFailure: BootUndeploy,
	EpilogFailure: Epilog, EpilogStopFailure: EpilogStop, EpilogUndeployFailure: EpilogUndeploy,
}

// stage is the part of a history record that a status belongs to.
type stage int

const (
	outside stage = iota
	prologue
	running
	epilogue
	standing // on a host, but not running: powered off, suspended, a boot that failed
)

func (s status) stage() stage {
	if s.state == Poweroff || s.state == Suspended {
		return standing
	}
	if s.state != Active || s.lcm == LCMInit {
		return outside
	}
	switch s.lcm {
	case BootFailure, BootMigrateFailure, BootStoppedFailure, BootUndeployFailure, CleanupDelete, CleanupResubmit:
		return standing
	}
	l := s.lcm
	if o, failed := origins[l]; failed {
		l = o
	}
	switch phases[l].step {
	case StepProlog:
		return prologue
	case StepEpilog:
		return epilogue
	}
	if phases[l].next.state == Active || phases[l].fail.state == Active || l == Running || l == Unknown || phases[l].step == StepBoot {
		return running
	}
	return standing
}

// move changes a VM's status, stamps its history record, and sets the time of what comes next.
func (s *Server) move(v *vm, to status, at time.Time) {
	from := v.stage()
	v.status = to
	v.due = time.Time{}
	s.stamp(v, from, to.stage(), at.Unix())
	switch to.state {
	case Done:
		v.etime = at.Unix()
		s.close(v, at)
		s.fillSaved(v)
		for _, n := range s.nets {
			n.release(v.id, "")
		}
	case Stopped, Undeployed:
		s.close(v, at)
	case Pending:
		s.close(v, at)
		if s.scheduler {
			s.after(v, StepSchedule, at)
		}
	case Cloning:
		s.after(v, StepClone, at)
	case Active:
		if to.lcm == LCMInit {
			s.after(v, StepQueue, at)
		} else if p, transient := phases[to.lcm]; transient {
			step := p.step
			if v.work != nil {
				step = v.work.step
			}
			if step == StepBoot && !s.release.old {
				s.fillContext(v)
			}
			s.after(v, step, at)
		}
	}
}

func (s *Server) after(v *vm, step Step, at time.Time) {
	v.due = at.Add(s.delays[step])
	s.busy[v.id] = v
}

// stamp sets the times that a change of stage means.
func (s *Server) stamp(v *vm, from, to stage, at int64) {
	h := v.last()
	if h == nil {
		return
	}
	set := func(t *int64, when bool) {
		if when && *t == 0 {
			*t = at
		}
	}
	set(&h.stime, to != outside)
	set(&h.petime, from == prologue && to != prologue)
	set(&h.retime, from == running && to != running)
	set(&h.eetime, from == epilogue && to != epilogue)
	set(&h.pstime, to == prologue)
	set(&h.rstime, to == running)
	set(&h.estime, to == epilogue)
}

// close ends the last record.
func (s *Server) close(v *vm, at time.Time) {
	if h := v.last(); h != nil {
		if h.etime == 0 {
			h.etime = at.Unix()
		}
		if h.rstime != 0 && h.retime == 0 {
			h.retime = at.Unix()
		}
	}
}

// record begins a new history record.
func (s *Server) record(v *vm, host, store int, at time.Time) *history {
	s.close(v, at)
	v.hist = append(v.hist, history{seq: len(v.hist), host: host, store: store, uid: -1, gid: -1, request: -1, stime: at.Unix()})
	return v.last()
}

// by notes who did what.
func (c *call) by(h *history, action int) {
	if h != nil {
		h.action, h.uid, h.gid, h.request = action, c.user.id, c.gid, c.seq
	}
}

// again is a hotplug's new record: the old one ends with the action, the new one goes on as before.
func (c *call) again(v *vm, action int) {
	h := v.last()
	if h == nil {
		return
	}
	at := c.now()
	c.by(h, action)
	old := *h
	n := c.record(v, h.host, h.store, at)
	n.rstime = at.Unix()
	if v.state != Active {
		n.retime, n.action = n.rstime, actPoweroff
		if v.state == Suspended {
			n.action = actSuspend
		}
	}
	n.reason = old.reason
}

// settle lets happen what is due, in the order of time.
func (s *Server) settle() {
	now := s.now()
	if s.scheduler {
		s.runSchedule(now)
	}
	for {
		var due []*vm
		for _, v := range s.busy {
			switch {
			case v.due.IsZero():
				delete(s.busy, v.id)
			case !v.due.After(now):
				due = append(due, v)
			}
		}
		if len(due) == 0 {
			return
		}
		slices.SortFunc(due, func(a, b *vm) int { return cmp.Or(a.due.Compare(b.due), a.id-b.id) })
		for _, v := range due {
			s.step(v, v.due)
		}
	}
}

// step ends a VM's present step.
func (s *Server) step(v *vm, at time.Time) {
	s.touch(v)
	v.due = time.Time{}
	switch {
	case v.state == Pending:
		s.schedule(v, at)
	case v.state == Cloning:
		if s.fails(StepClone) {
			s.spoil(v, at)
			s.move(v, is(CloningFailure), at)
		} else {
			s.cloned(v)
			s.move(v, v.backTo, at)
		}
	case v.state == Active && v.lcm == LCMInit:
		s.move(v, active(s.prologOf(v)), at)
	case v.state == Active:
		p, transient := phases[v.lcm]
		if !transient {
			return
		}
		step := p.step
		if v.work != nil {
			step = v.work.step
		}
		if s.fails(step) {
			s.failed(v, v.lcm, at)
		} else {
			s.succeeded(v, v.lcm, at)
		}
	}
}

// succeeded takes the outcome that l leads to. v may be in l, or in the failure state of l (recover 1).
func (s *Server) succeeded(v *vm, l LCM, at time.Time) {
	p := phases[l]
	if w := v.work; w != nil {
		v.work = nil
		w.ok()
	}
	next := p.next
	switch l {
	case SaveMigrate, Migrate:
		s.leaveOldHost(v, at)
	case PrologMigrate:
		if v.migration != 0 {
			next = active(Boot)
		}
	case PrologMigratePoweroff, PrologMigrateSuspend:
		v.last().retime = at.Unix()
		v.last().petime = at.Unix()
	case ShutdownPoweroff:
		v.forget()
	case CleanupResubmit:
		s.recreate(v)
		next = is(Pending)
	}
	if p.step == StepBoot && (v.deployID == "" || l == Boot || l == BootUndeploy || l == BootUnknown) {
		v.deployID = s.hostName(v.last().host) + ":" + v.name + ":dummy"
	}
	s.move(v, next, at)
	if l == PrologMigratePoweroff || l == PrologMigrateSuspend {
		s.settled(v, l, at)
	}
}

// settled is the record of a VM that has been migrated while it did not run: a new one, on the same host.
func (s *Server) settled(v *vm, l LCM, at time.Time) {
	h := v.last()
	n := s.record(v, h.host, h.store, at)
	n.rstime, n.retime, n.action = at.Unix(), at.Unix(), actPoweroff
	if l == PrologMigrateSuspend {
		n.action = actSuspend
	}
}

// leaveOldHost ends the record of the host that a migrating VM leaves.
func (s *Server) leaveOldHost(v *vm, at time.Time) {
	if n := len(v.hist); n > 1 {
		h := &v.hist[n-2]
		if h.retime == 0 {
			h.retime = at.Unix()
		}
		h.etime = at.Unix()
	}
}

// forget drops what does not outlive a shutdown: system snapshots.
func (v *vm) forget() { v.tmpl.drop("SNAPSHOT") }

// failed takes the outcome of a driver that could not, or of recover 0.
func (s *Server) failed(v *vm, l LCM, at time.Time) {
	p := phases[l]
	if w := v.work; w != nil {
		v.work = nil
		w.fail()
	}
	switch p.message {
	case "":
	case bootFailure:
		v.failed(at, bootFailure+s.hostName(v.last().host)+":"+v.name+":dummy")
	default:
		v.failed(at, p.message)
	}
	switch l {
	case Migrate, SaveMigrate:
		s.stay(v, at)
	case SaveStop, SaveSuspend, Shutdown, ShutdownPoweroff, ShutdownUndeploy:
		if h := v.last(); h != nil {
			h.action, h.uid, h.gid, h.request = 0, -1, -1, -1
		}
	case CleanupResubmit:
		s.recreate(v)
	}
	s.move(v, p.fail, at)
}

// stay is a migration that failed: two records more, the last on the old host again.
func (s *Server) stay(v *vm, at time.Time) {
	n := len(v.hist)
	if n < 2 {
		return
	}
	old := v.hist[n-2]
	s.leaveOldHost(v, at)
	v.last().retime = at.Unix()
	s.record(v, old.host, old.store, at).rstime = at.Unix()
	v.status = active(Running)
}

// prologOf tells which prolog a deploy begins with: what the last record ended with decides.
func (s *Server) prologOf(v *vm) LCM {
	if n := len(v.hist); n > 1 {
		switch v.hist[n-2].action {
		case actStop:
			return PrologResume
		case actUndeploy, actUndeployHard:
			return PrologUndeploy
		}
	}
	return Prolog
}

// recreate is delete-recreate: the VM as it was allocated, under the same id.
func (s *Server) recreate(v *vm) {
	v.deployID, v.resched = "", false
	v.dropSnapshots()
}

// dropSnapshots forgets all snapshots; the disks that had some lose their total, as in oned.
func (v *vm) dropSnapshots() {
	v.tmpl.drop("SNAPSHOT")
	for _, s := range v.snaps {
		if d := v.disk(s.disk); d != nil {
			d.unset("DISK_SNAPSHOT_TOTAL_SIZE", "DISK_SNAPSHOT_ACTIVE", "DISK_SNAPSHOT_ID")
		}
	}
	v.snaps = nil
}

// schedule deploys a VM on the host with most room, as the scheduler would.
func (s *Server) schedule(v *vm, at time.Time) {
	best, room := -1, 0.0
	for _, h := range s.hosts {
		u := s.hostUsage(h.id)
		free := float64(hostCPU)/100 - u.cpu
		if h.state == hostMonitored && free >= v.cpu() && hostMemory>>10-u.memory >= v.memory() && (best < 0 || free > room) {
			best, room = h.id, free
		}
	}
	if best < 0 {
		s.after(v, StepSchedule, at.Add(time.Second))
		return
	}
	s.record(v, best, 0, at)
	s.deploy(v, at)
}

// deploy enters ACTIVE; the record is there.
func (s *Server) deploy(v *vm, at time.Time) {
	s.placeOn(v)
	s.move(v, active(LCMInit), at)
	v.last().stime = 0
}

// placeOn notes the driver of the system datastore, as 5.x and later do.
func (s *Server) placeOn(v *vm) {
	if !s.release.old {
		v.tmpl.set("TM_MAD_SYSTEM", "dummy")
	}
}

// cloned makes the images of an instantiate with persistent=true usable.
func (s *Server) cloned(v *vm) {
	for _, d := range v.tmpl.all("DISK") {
		if d.get("CLONING") == "" {
			continue
		}
		d.unset("CLONING")
		d.set("SOURCE", "dummy_path")
		d.set("IMAGE_STATE", "8")
		if m, ok := find(s.images, d.id("IMAGE_ID")); ok {
			m.state, m.source = imageReady, "dummy_path"
		}
	}
	v.tmpl.drop("CLONING_TEMPLATE_ID")
}

// spoil marks the images that could not be cloned.
func (s *Server) spoil(v *vm, at time.Time) {
	for _, d := range v.tmpl.all("DISK") {
		if m, ok := find(s.images, d.id("IMAGE_ID")); ok && d.get("CLONING") != "" {
			m.state = imageError
			m.tmpl.set("ERROR", at.UTC().Format("Mon Jan _2 15:04:05 2006")+" : Error cloning from Image: dummy datastore failure in clone")
		}
	}
}

// fails tells whether a failure was ordered for the step.
func (s *Server) fails(step Step) bool {
	if s.failures[step] == 0 {
		return false
	}
	s.failures[step]--
	return true
}

// action is a row of one.vm.action: in which releases, from which statuses, who may, what it does.
type action struct {
	name string
	span
	legal string // statuses by name; "*FAILURE" is every failure state
	right right
	do    func(*call, *vm)
}

const ended = "INIT PENDING HOLD CLONING CLONING_FAILURE DONE "

// actions of all releases; more than one row of a name is more than one meaning of it.
// Source: OpenNebula src/rm/RequestManagerVirtualMachine.cc, src/dm/DispatchManagerActions.cc per release.
func actions() []action {
	term := "SUSPENDED POWEROFF STOPPED UNDEPLOYED RUNNING UNKNOWN *_FAILURE"
	rows := []action{
		{"terminate", span{since: "5.0"}, ended + term, manage, terminate(actTerminate)},
		{"terminate-hard", span{since: "5.0", until: "5.99"}, ended + term, manage, terminate(actTerminateHard)},
		{"terminate-hard", span{since: "6.0"}, ended + term + " SHUTDOWN", manage, terminate(actTerminateHard)},
		{"undeploy", span{since: "4.0", until: "4.13"}, "RUNNING UNKNOWN", manage, undeploy(actUndeploy)},
		{"undeploy", span{since: "4.14"}, "RUNNING UNKNOWN POWEROFF", manage, undeploy(actUndeploy)},
		{"undeploy-hard", span{since: "4.0", until: "5.99"}, "RUNNING UNKNOWN POWEROFF", manage, undeploy(actUndeployHard)},
		{"undeploy-hard", span{since: "6.0"}, "RUNNING UNKNOWN POWEROFF SHUTDOWN_UNDEPLOY", manage, undeploy(actUndeployHard)},
		{"poweroff", span{since: "3.8", until: "4.3"}, "RUNNING", manage, enter(ShutdownPoweroff, actPoweroff)},
		{"poweroff", span{since: "4.4"}, "RUNNING UNKNOWN", manage, enter(ShutdownPoweroff, actPoweroff)},
		{"poweroff-hard", span{since: "4.0", until: "5.99"}, "RUNNING UNKNOWN", manage, enter(ShutdownPoweroff, actPoweroffHard)},
		{"poweroff-hard", span{since: "6.0"}, "RUNNING UNKNOWN SHUTDOWN_POWEROFF", manage, enter(ShutdownPoweroff, actPoweroffHard)},
		{"reboot", span{since: "3.2"}, "RUNNING", manage, func(*call, *vm) {}},
		{"reboot-hard", span{since: "4.0"}, "RUNNING", manage, func(*call, *vm) {}},
		{"hold", span{}, "PENDING", manage, func(c *call, v *vm) { c.move(v, is(Hold), c.now()) }},
		{"release", span{}, "HOLD", manage, func(c *call, v *vm) { c.move(v, is(Pending), c.now()) }},
		{"stop", span{until: "4.13"}, "RUNNING", manage, stop},
		{"stop", span{since: "4.14"}, "RUNNING SUSPENDED", manage, stop},
		{"suspend", span{}, "RUNNING", manage, enter(SaveSuspend, actSuspend)},
		{"resume", span{until: "3.9"}, "STOPPED SUSPENDED", manage, resume},
		{"resume", span{since: "4.0", until: "4.13"}, "STOPPED SUSPENDED POWEROFF UNDEPLOYED", manage, resume},
		{"resume", span{since: "4.14"}, "STOPPED UNDEPLOYED SUSPENDED POWEROFF UNKNOWN", manage, resume},
		{"resched", span{since: "3.6", until: "4.9"}, "RUNNING", admin, resched(true)},
		{"resched", span{since: "4.10", until: "5.9"}, "RUNNING UNKNOWN", admin, resched(true)},
		{"resched", span{since: "5.10"}, "RUNNING UNKNOWN POWEROFF", admin, resched(true)},
		{"unresched", span{since: "3.6", until: "4.9"}, "RUNNING", admin, resched(false)},
		{"unresched", span{since: "4.10", until: "5.9"}, "RUNNING UNKNOWN", admin, resched(false)},
		{"unresched", span{since: "5.10"}, "RUNNING UNKNOWN POWEROFF", admin, resched(false)},
	}
	return append(rows, legacyActions()...)
}

// legacyActions are the names of old: native ones, and aliases while they lasted.
func legacyActions() []action {
	alive := "RUNNING UNKNOWN POWEROFF SUSPENDED"
	boots := "POWEROFF UNKNOWN BOOT BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED BOOT_STOPPED"
	resubmittable := "INIT PENDING HOLD STOPPED FAILED UNDEPLOYED"
	return []action{
		{"shutdown", span{until: "3.9"}, "RUNNING", manage, terminate(actShutdown)},
		{"shutdown", span{since: "4.0", until: "4.99"}, alive, manage, terminate(actShutdown)},
		{"shutdown", span{since: "5.0", until: "5.99"}, ended + alive, manage, terminate(actTerminate)},
		{"shutdown-hard", span{since: "4.0", until: "4.99"}, alive, manage, terminate(actShutdownHard)},
		{"shutdown-hard", span{since: "5.0", until: "5.99"}, ended + alive, manage, terminate(actTerminateHard)},
		{"cancel", span{until: "3.9"}, "RUNNING", manage, terminate(actShutdownHard)},
		{"cancel", span{since: "4.0", until: "4.99"}, alive, manage, terminate(actShutdownHard)},
		{"finalize", span{until: "4.99"}, "*", manage, remove},
		{"delete", span{since: "4.0", until: "4.99"}, "*", manage, remove},
		{"delete", span{since: "5.0", until: "5.99"}, ended + alive, manage, terminate(actTerminateHard)},
		{"restart", span{until: "4.13"}, boots, manage, resume},
		{"boot", span{since: "4.0", until: "4.13"}, boots, manage, resume},
		{"resubmit", span{until: "4.99"}, resubmittable + activeStates, manage, recreate},
		{"delete-recreate", span{since: "4.0", until: "4.99"}, resubmittable + activeStates, manage, recreate},
		{"reset", span{since: "3.6", until: "4.99"}, "RUNNING", manage, func(*call, *vm) {}},
	}
}

// activeStates is every LCM state, for what is legal in all of ACTIVE.
const activeStates = " PROLOG* BOOT* RUNNING MIGRATE SAVE_* EPILOG* SHUTDOWN* CANCEL FAILURE CLEANUP_* UNKNOWN HOTPLUG* DISK_* LCM_INIT " +
	"BACKUP* RESTORE"

// adminNames are the words whose rights are checked before oned looks whether it is an action at all: the operations
// of VM_ADMIN_OPERATIONS.
var adminNames = []string{"migrate", "delete", "recover", "retry", "deploy", "resched", "unresched", "backup", "restore", "delete-recreate"}

// actionFor finds the row of this release. known is whether the release has the name at all.
func (r release) actionFor(name string, s status) (a action, known, legal bool) {
	for _, x := range actions() {
		if x.name == name && x.holds(r.version) {
			return x, true, s.in(x.legal)
		}
	}
	return action{name: name, right: r.rightFor(name)}, false, false
}

func (r release) rightFor(name string) right {
	if r.since("5.4") && slices.Contains(adminNames, name) {
		return admin
	}
	return manage
}

// enter is an action of a running VM: note it in the record, go.
func enter(l LCM, act int) func(*call, *vm) {
	return func(c *call, v *vm) {
		c.by(v.last(), act)
		c.move(v, active(l), c.now())
	}
}

func terminate(act int) func(*call, *vm) {
	return func(c *call, v *vm) {
		at := c.now()
		switch {
		case v.state == Done:
			return
		case v.in(ended):
			c.move(v, is(Done), at)
			return
		case v.in("*_FAILURE"):
			c.by(v.last(), act)
			if v.lcm == EpilogFailure || v.in("EPILOG*") {
				c.move(v, active(Epilog), at)
				return
			}
			c.move(v, active(CleanupDelete), at)
			return
		}
		c.by(v.last(), act)
		if v.state == Active {
			c.move(v, active(Shutdown), at)
		} else {
			c.move(v, active(Epilog), at)
		}
	}
}

func undeploy(act int) func(*call, *vm) {
	return func(c *call, v *vm) {
		c.by(v.last(), act)
		if v.state == Poweroff {
			c.move(v, active(EpilogUndeploy), c.now())
		} else {
			c.move(v, active(ShutdownUndeploy), c.now())
		}
	}
}

func stop(c *call, v *vm) {
	c.by(v.last(), actStop)
	if v.state == Suspended {
		c.move(v, active(EpilogStop), c.now())
	} else {
		c.move(v, active(SaveStop), c.now())
	}
}

func resume(c *call, v *vm) {
	at := c.now()
	switch v.state {
	case Stopped, Undeployed:
		c.move(v, is(Pending), at)
	case Suspended, Poweroff:
		h := v.last()
		if h == nil {
			return
		}
		c.by(c.record(v, h.host, h.store, at), actResume)
		c.move(v, active(map[State]LCM{Suspended: BootSuspended, Poweroff: BootPoweroff}[v.state]), at)
	case Active:
		c.move(v, active(BootUnknown), at)
	}
}

func resched(on bool) func(*call, *vm) {
	return func(_ *call, v *vm) { v.resched = on }
}

// remove is recover 3, and the old delete: DONE, whatever the VM is doing.
func remove(c *call, v *vm) {
	if v.state == Done {
		return
	}
	v.work = nil
	if v.onAHost() {
		c.by(v.last(), actDelete)
	}
	c.move(v, is(Done), c.now())
}

// recreate is recover 4, and the old delete-recreate.
func recreate(c *call, v *vm) {
	v.work = nil
	if !v.onAHost() {
		c.Server.recreate(v)
		c.move(v, is(Pending), c.now())
		return
	}
	c.by(v.last(), actDeleteRecreate)
	v.dropSnapshots()
	c.move(v, active(CleanupResubmit), c.now())
}
