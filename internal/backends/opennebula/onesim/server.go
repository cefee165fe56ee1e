package onesim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Clock tells the time. If it also has Advance(time.Duration), Server.Advance moves it.
type Clock interface{ Now() time.Time }

// ManualClock stands still until it is moved. Safe for concurrent use.
type ManualClock struct {
	mu sync.Mutex
	t  time.Time
}

// NewClock returns a clock that shows start.
func NewClock(start time.Time) *ManualClock { return &ManualClock{t: start} }

// Now returns the time that the clock shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// Advance moves the clock forward.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

// Config says which daemon to be. The zero value is a 6.10.0 on a free loopback port with the wall clock, three
// hosts, no VM, and a scheduler that is off, as in the recordings.
type Config struct {
	Addr    string // host:port; "" is 127.0.0.1:0
	Release string // "6.10.0" (default), "7.4.0", "5.12.0", "4.14.2" or "3.8.5"
	VMs     int    // demo VMs, spread over owners, hosts and states
	Hosts   int    // 0 is 3
	Clock   Clock  // nil is the wall clock

	// Delays is how long each step takes; missing ones are those of DefaultDelays.
	Delays map[Step]time.Duration
	// Scheduler deploys PENDING VMs after Delays[StepSchedule]. Demo switches it on.
	Scheduler bool
	// Passwords by user name: oneadmin, serveradmin, alice, bob. Missing ones are the defaults of Users.
	Passwords map[string]string
	// Monitoring is the period between two samples of a running VM; 0 is 10 s, as with the recordings.
	Monitoring time.Duration
	// MessageSize limits a request's body in bytes (oned.conf MESSAGE_SIZE); 0 is 1 GiB.
	MessageSize int
	// BodyTimeout is how long, in real time, a sender may take for its body; 0 is 15 s.
	BodyTimeout time.Duration
	// MaxConn is how many connections are served at once, idle ones included; the others wait (oned.conf MAX_CONN is
	// 15). 0 is no limit.
	MaxConn int
}

// Demo is the configuration of a cloud to try things on: 24 VMs, a scheduler, the wall clock.
func Demo() Config { return Config{VMs: 24, Scheduler: true} }

// Step names a thing that takes time and can fail: a driver's job, or one of the core's.
type Step string

// The steps. FailNext and Config.Delays take them.
const (
	StepQueue    Step = "queue"    // between the answer to a deploy and PROLOG
	StepSchedule Step = "schedule" // PENDING until deployed
	StepProlog   Step = "prolog"   // every PROLOG*: disks to the host
	StepBoot     Step = "boot"     // every BOOT*
	StepShutdown Step = "shutdown" // SHUTDOWN*
	StepSave     Step = "save"     // SAVE_*
	StepMigrate  Step = "migrate"  // MIGRATE, that is live
	StepEpilog   Step = "epilog"   // EPILOG*: disks back
	StepCleanup  Step = "cleanup"  // CLEANUP_*
	StepAttach   Step = "attach"   // HOTPLUG, HOTPLUG_PROLOG_POWEROFF
	StepDetach   Step = "detach"   // HOTPLUG, HOTPLUG_EPILOG_POWEROFF
	StepNIC      Step = "nic"      // HOTPLUG_NIC*
	StepSnapshot Step = "snapshot" // HOTPLUG_SNAPSHOT, DISK_SNAPSHOT*
	StepSaveAs   Step = "saveas"   // HOTPLUG_SAVEAS*
	StepResize   Step = "resize"   // HOTPLUG_RESIZE, DISK_RESIZE*
	StepConf     Step = "conf"     // HOTPLUG during updateconf
	StepClone    Step = "clone"    // CLONING
	StepBackup   Step = "backup"   // BACKUP*, RESTORE
)

// DefaultDelays returns how long each step takes unless Config.Delays says otherwise.
func DefaultDelays() map[Step]time.Duration {
	return map[Step]time.Duration{
		StepQueue: 0, StepSchedule: time.Second, StepProlog: 300 * time.Millisecond, StepBoot: 700 * time.Millisecond,
		StepShutdown: 500 * time.Millisecond, StepSave: 500 * time.Millisecond, StepMigrate: 700 * time.Millisecond,
		StepEpilog: 300 * time.Millisecond, StepCleanup: 300 * time.Millisecond, StepAttach: 300 * time.Millisecond,
		StepDetach: 300 * time.Millisecond, StepNIC: 300 * time.Millisecond, StepSnapshot: 300 * time.Millisecond,
		StepSaveAs: 500 * time.Millisecond, StepResize: 300 * time.Millisecond, StepConf: 300 * time.Millisecond,
		StepClone: 500 * time.Millisecond, StepBackup: time.Second,
	}
}

// Server is a running simulator. Its methods are safe for concurrent use.
type Server struct {
	release     release
	clock       Clock
	offset      time.Duration // what Advance added to a clock that cannot be moved
	delays      map[Step]time.Duration
	scheduler   bool
	monitoring  time.Duration
	messageSize int
	bodyTimeout time.Duration
	maxConn     int
	addr        string

	mu sync.Mutex // guards everything below, one request at a time as far as data goes
	world
	faults   []*Fault
	failures map[Step]int
	calls    map[string]int
	methods  map[string]*method
	packer   packer

	net struct {
		sync.Mutex
		listener net.Listener
		conns    map[net.Conn]bool
		sent     map[string]int64 // bytes, by method
		closed   bool
		done     sync.WaitGroup
		cancel   context.CancelFunc
		ctx      context.Context //nolint:containedctx // the server's own life
	}
}

// Start opens the port and serves until Close. Errors: an unknown release, or what net.Listen says.
func Start(c Config) (*Server, error) {
	rel, ok := releases[orDefault(c.Release, "6.10.0")]
	if !ok {
		return nil, fmt.Errorf("onesim: no such release: %q", c.Release)
	}
	s := &Server{
		release: rel, clock: c.Clock, delays: DefaultDelays(), scheduler: c.Scheduler,
		monitoring: orDefault(c.Monitoring, 10*time.Second), messageSize: orDefault(c.MessageSize, maxBody),
		bodyTimeout: orDefault(c.BodyTimeout, bodyTimeout), maxConn: c.MaxConn,
		failures: map[Step]int{}, calls: map[string]int{}, packer: packer{bases: map[baseKey]*base{}},
	}
	if s.clock == nil {
		s.clock = wallClock{}
	}
	for step, d := range c.Delays {
		s.delays[step] = d
	}
	s.net.sent = map[string]int64{}
	s.methods = s.release.methods()
	s.world = newWorld(s.now(), orDefault(c.Hosts, 3), c.Passwords, rel)
	if err := s.fill(c.VMs); err != nil {
		return nil, err
	}
	return s, s.listen(orDefault(c.Addr, "127.0.0.1:0"))
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (s *Server) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("onesim: %w", err)
	}
	s.net.Lock()
	defer s.net.Unlock()
	s.addr = l.Addr().String()
	s.net.listener, s.net.closed, s.net.conns = l, false, map[net.Conn]bool{}
	s.net.ctx, s.net.cancel = context.WithCancel(context.Background())
	s.net.done.Add(1)
	go s.accept(l)
	return nil
}

func (s *Server) accept(l net.Listener) {
	defer s.net.done.Done()
	var slots chan struct{}
	if s.maxConn > 0 {
		slots = make(chan struct{}, s.maxConn)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // a connection that broke early, or no file descriptor left: not for ever
			continue
		}
		if slots != nil {
			slots <- struct{}{}
		}
		if !s.track(c) {
			c.Close()
			return
		}
		go func() {
			defer s.net.done.Done()
			s.serve(c)
			s.net.Lock()
			delete(s.net.conns, c)
			s.net.Unlock()
			if slots != nil {
				<-slots
			}
		}()
	}
}

func (s *Server) track(c net.Conn) bool {
	s.net.Lock()
	defer s.net.Unlock()
	if s.net.closed {
		return false
	}
	s.net.conns[c] = true
	s.net.done.Add(1)
	return true
}

// URL is the endpoint: http://127.0.0.1:PORT/RPC2.
func (s *Server) URL() string { return "http://" + s.addr + "/RPC2" }

// Release is the version that one.system.version answers.
func (s *Server) Release() string { return s.release.name }

// Close stops listening, cuts open connections, and returns when nothing of the server runs any more.
func (s *Server) Close() {
	s.net.Lock()
	if !s.net.closed {
		s.net.closed = true
		s.net.listener.Close()
		for c := range s.net.conns {
			c.Close()
		}
		s.net.cancel() // last: a call that is held up must not answer now
	}
	s.net.Unlock()
	s.net.done.Wait()
}

// Restart stops and starts the daemon on the same port. Users, tokens and VMs survive, as with oned, which keeps
// them in its database; injected faults and counters survive too.
func (s *Server) Restart() error {
	s.Close()
	return s.listen(s.addr)
}

// Advance moves time forward by d and lets happen what is due. On a clock that cannot be moved it adds an offset.
func (s *Server) Advance(d time.Duration) {
	if m, ok := s.clock.(interface{ Advance(time.Duration) }); ok {
		m.Advance(d)
		s.locked(func() {})
		return
	}
	s.locked(func() { s.offset += d })
	s.locked(func() {})
}

// now is the simulated time. Callers hold mu, or run before the port is open.
func (s *Server) now() time.Time { return s.clock.Now().Add(s.offset) }

// limit is the largest body that is taken.
func (s *Server) limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messageSize
}

// today is now for those who do not hold mu.
func (s *Server) today() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// locked runs f with all data to itself, after everything due has happened.
func (s *Server) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	f()
	s.settle()
}

func (s *Server) life() context.Context {
	s.net.Lock()
	defer s.net.Unlock()
	return s.net.ctx
}
