package xensim

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Config says what pool to simulate. Its zero value is two hosts with templates and no ordinary VM.
type Config struct {
	// Addr is where the coordinator listens; default 127.0.0.1:0.
	Addr string
	// SlaveAddr, if set, is where a second host listens, which sends everybody to the coordinator with
	// HOST_IS_SLAVE. That error names an address without a port, so both have to listen on the same port:
	// with port 0 (as in "127.0.0.2:0") the slave takes the coordinator's.
	SlaveAddr string
	// CoordinatorAddress is what HOST_IS_SLAVE names; default: the IP address of Addr.
	CoordinatorAddress string
	// Release is the toolstack to answer as: ReleaseOld, ReleaseMiddle (the default) or ReleaseNew.
	Release string
	// VMs is how many ordinary VMs there are at the start, beside templates, snapshots and control domains.
	VMs int
	// Hosts of the pool; default 2.
	Hosts int
	// Clock is the time; default: the wall clock.
	Clock Clock
	// Durations of operations; default DefaultDurations, whatever the clock is. With &Durations{} all end
	// at once; with a ManualClock the others block until it is advanced.
	Durations *Durations
	// Users who may log in; default DefaultUsers.
	Users []User
}

// Durations is how long operations take.
type Durations struct {
	Start, Shutdown, Reboot, Pause, Suspend, Resume, Migrate, Clone, Copy, Snapshot time.Duration
	Cancel                                                                          time.Duration // until a cancelled task notices
	BadLogin                                                                        time.Duration // before a wrong password is answered
}

// DefaultDurations are short enough for a demo and long enough to be seen.
func DefaultDurations() Durations {
	return Durations{
		Start: 1500 * time.Millisecond, Shutdown: time.Second, Reboot: 2 * time.Second, Pause: 200 * time.Millisecond,
		Suspend: 1500 * time.Millisecond, Resume: 1500 * time.Millisecond, Migrate: 3 * time.Second,
		Clone: 300 * time.Millisecond, Copy: 3 * time.Second, Snapshot: 500 * time.Millisecond,
		Cancel: 100 * time.Millisecond, BadLogin: time.Second,
	}
}

// DefaultUsers are the local superuser, an operator who may start and stop, and a viewer who may only read.
func DefaultUsers() []User {
	return []User{
		{Name: "root", Password: "xenroot", Role: "pool-admin", Root: true},
		{Name: "operator", Password: "operator-demo", Role: "vm-operator"},
		{Name: "viewer", Password: "viewer-demo", Role: "read-only"},
	}
}

// Server is a running pool. All its methods are safe for concurrent use.
type Server struct {
	clock              Clock
	durations          Durations
	release            release
	rules              *operationRules
	guest              guest
	listeners          []*listener
	coordinatorAddress string

	mu             sync.Mutex // guards everything below
	schema         *schema
	db             *database
	users          []User
	coordinator    string // the reference of the coordinator's host
	defaultSR      string
	random         *rand.Rand
	domains        int64
	bridges        int
	uses           int64
	coldMigrations int
	used           map[string]int64  // session → its last use
	roleOf         map[string]string // session → role
	localSession   map[string]bool
	registrations  map[string]*registration
	running        map[string]*runningTask
	faults         []*Fault
	failures       []failure
	calls          map[string]int
	packer         packer
	done           chan struct{} // closed when the toolstack stops
	connections    map[net.Conn]struct{}
	closed         bool

	work sync.WaitGroup // connections and tasks

	traffic struct {
		sync.Mutex
		sent map[string]int64 // bytes, by method
	}
}

// Start makes the pool and begins to listen.
func Start(cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.listen(cfg); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newServer(cfg Config) (*Server, error) {
	if cfg.Release == "" {
		cfg.Release = ReleaseMiddle
	}
	rel, err := findRelease(cfg.Release)
	if err != nil {
		return nil, err
	}
	sc, err := loadSchema(rel)
	if err != nil {
		return nil, fmt.Errorf("xensim: %w", err)
	}
	s := &Server{
		clock: cfg.Clock, durations: DefaultDurations(), release: rel, rules: newOperationRules(rel.old), guest: newGuest(),
		schema: sc, db: newDatabase(sc), users: slices.Clone(cfg.Users), random: rand.New(rand.NewPCG(1, 2)),
		used: map[string]int64{}, roleOf: map[string]string{}, localSession: map[string]bool{},
		registrations: map[string]*registration{}, running: map[string]*runningTask{}, calls: map[string]int{},
		packer: packer{bases: map[baseKey][]byte{}},
		done:   make(chan struct{}), connections: map[net.Conn]struct{}{},
	}
	s.traffic.sent = map[string]int64{}
	if s.clock == nil {
		s.clock = wallClock{}
	}
	if cfg.Durations != nil {
		s.durations = *cfg.Durations
	}
	if len(s.users) == 0 {
		s.users = DefaultUsers()
	}
	for _, u := range s.users {
		if !slices.Contains(roles(), u.Role) {
			return nil, fmt.Errorf("xensim: user %q has no known role: %q", u.Name, u.Role)
		}
	}
	if cfg.Hosts < 0 || cfg.VMs < 0 {
		return nil, errors.New("xensim: the numbers of hosts and VMs cannot be negative")
	}
	s.db.fill(cfg.VMs, func() { s.buildPool(cfg) })
	return s, nil
}

// listenAttempts is how often a free port is sought that both hosts can have.
const listenAttempts = 20

func (s *Server) listen(cfg Config) error {
	addr := cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	for attempt := 1; ; attempt++ {
		coordinator, err := s.open(addr, false)
		if err != nil {
			return err
		}
		s.listeners = []*listener{coordinator}
		if cfg.SlaveAddr == "" {
			break
		}
		slaveAddr, fixed, err := slaveAddress(cfg.SlaveAddr, coordinator.Addr())
		if err != nil {
			return err
		}
		slave, err := s.open(slaveAddr, true)
		if err == nil {
			s.listeners = append(s.listeners, slave)
			break
		}
		if fixed || attempt == listenAttempts {
			return err
		}
		coordinator.Close()
	}
	s.coordinatorAddress = cfg.CoordinatorAddress
	if s.coordinatorAddress == "" {
		s.coordinatorAddress = s.listeners[0].Addr().(*net.TCPAddr).IP.String()
	}
	for _, l := range s.listeners {
		s.work.Go(func() { s.accept(l) })
	}
	return nil
}

func (s *Server) open(addr string, slave bool) (*listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("xensim: %w", err)
	}
	return &listener{Listener: l, slave: slave}, nil
}

// slaveAddress fills in the coordinator's port; fixed means that there was one already.
func slaveAddress(addr string, coordinator net.Addr) (full string, fixed bool, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", false, fmt.Errorf("xensim: slave address: %w", err)
	}
	if port != "0" {
		return addr, true, nil
	}
	return net.JoinHostPort(host, strconv.Itoa(coordinator.(*net.TCPAddr).Port)), false, nil
}

// URL is where the coordinator answers, "http://127.0.0.1:port/".
func (s *Server) URL() string { return "http://" + s.listeners[0].Addr().String() + "/" }

// SlaveURL is where the other host answers; "" without one.
func (s *Server) SlaveURL() string {
	if len(s.listeners) < 2 {
		return ""
	}
	return "http://" + s.listeners[1].Addr().String() + "/"
}

// Users lists who may log in.
func (s *Server) Users() []User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.users)
}

// Release is the toolstack's version.
func (s *Server) Release() string { return s.release.name }

// Close stops the pool: it ends all connections and waits until nothing runs any more.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.dropConnections()
	s.mu.Unlock()
	s.work.Wait()
}

func (s *Server) dropConnections() {
	for c := range s.connections {
		c.Close()
	}
}

// Restart is a restart of the toolstack: connections break, sessions and tasks are gone, operations that
// ran are cut off, and every object has a new reference. UUIDs stay.
func (s *Server) Restart() {
	s.mu.Lock()
	close(s.done)
	s.dropConnections()
	for len(s.running) > 0 {
		changed := s.db.changes()
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if !s.closed {
		s.done = make(chan struct{})
	}
	for _, class := range []string{"session", "task"} {
		for _, o := range s.db.tables[class].sorted() {
			s.db.remove(o)
		}
	}
	for _, vm := range s.db.tables["VM"].byRef {
		if len(vm.operations()) > 0 {
			s.db.set(vm, "current_operations", record{})
		}
	}
	clear(s.used)
	clear(s.roleOf)
	clear(s.localSession)
	clear(s.registrations)
	for _, host := range s.db.tables["host"].byRef {
		s.noteStart(host)
	}
	s.renewReferences()
}

func (s *Server) newUUID() string {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], s.random.Uint64())
	binary.BigEndian.PutUint64(raw[8:], s.random.Uint64())
	b := make([]byte, 0, 36)
	for i, group := range [...][]byte{raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, group)
	}
	return string(b)
}

func (s *Server) newRef() string { return "OpaqueRef:" + s.newUUID() }
