package xenapi

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"

	"vmgateway/internal/backends/wire"
)

// pool is the pool members that are known: the configured ones, and coordinators that others
// named. Only the coordinator answers; all others name it (HOST_IS_SLAVE).
type pool struct {
	cfg        Config
	configured int

	mu      sync.Mutex
	all     []*node // the configured ones first
	current *node   // the one that answered last
}

// maxLearned bounds how many coordinators are remembered that nobody configured. A pool has at most
// 64 hosts.
const maxLearned = 64

type node struct {
	url     *url.URL
	client  *wire.Client
	watches *wire.Client // for the calls that wait for something to happen
	streams *wire.Client // for the answers that are read as fast as somebody takes them
}

// through is the client for a call. Those that wait and lists have connections of their own: they would
// take all places, and all others would stand still. What a list goes on to ask while it arrives
// therefore never waits for another list.
func (n *node) through(method string) *wire.Client {
	if method == eventFrom {
		return n.watches
	}
	return n.client
}

func (n *node) close() {
	n.client.Close()
	n.watches.Close()
	n.streams.Close()
}

func newPool(c Config) *pool {
	p := &pool{cfg: c, configured: len(c.Endpoints)}
	for _, u := range c.Endpoints {
		p.all = append(p.all, p.open(u))
	}
	p.current = p.all[0]
	return p
}

func (p *pool) open(u *url.URL) *node {
	at := *u
	if at.Path == "" {
		at.Path = "/"
	}
	client := func(conns int) *wire.Client {
		return wire.New(wire.Options{
			URL: &at, MaxConns: conns, KeepAlive: true, MaxHeader: maxHeader, MaxRequest: maxRequest,
			MaxReply: p.cfg.MaxReply, Timeout: p.cfg.Timeout, TLS: p.cfg.TLS, UserAgent: p.cfg.UserAgent,
		})
	}
	return &node{url: &at, client: client(p.cfg.MaxConns), watches: client(maxWatches), streams: client(maxStreams)}
}

func (p *pool) first() *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// prefer remembers the member that answered.
func (p *pool) prefer(at *node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = at
}

// after is the member to try when at cannot be reached and hops others were tried: each of the known
// ones once, then none.
func (p *pool) after(at *node, hops int) *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	if hops >= len(p.all)-1 {
		return nil
	}
	i := slices.Index(p.all, at)
	return p.all[(i+1)%len(p.all)]
}

// coordinator is the member with the address that at named, reached as at is: by the same scheme,
// port and path. It is nil when the address is no address, or at's own.
func (p *pool) coordinator(at *node, address string) *node {
	host := strings.Trim(address, "[]")
	if !validHost(host) {
		return nil
	}
	u := *at.url
	u.Host = host
	if strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	if port := at.url.Port(); port != "" {
		u.Host = net.JoinHostPort(host, port)
	}
	if u.Host == at.url.Host {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.all, func(known *node) bool { return *known.url == u }); i >= 0 {
		return p.all[i]
	}
	if len(p.all) >= p.configured+maxLearned {
		p.all[p.configured].close()
		p.all = slices.Delete(p.all, p.configured, p.configured+1)
	}
	learned := p.open(&u)
	p.all = append(p.all, learned)
	return learned
}

// validHost reports whether host is an IP address or can be a name: what a pool member says ends up
// in a URL.
func validHost(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	if host == "" || len(host) > 253 {
		return false
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.all {
		at.close()
	}
}
