// Package connlimit limits the open connections of an HTTP server, so that no client can occupy
// all of them: each address has a share, a few slots are reserved for this machine, and idle
// connections are closed when slots run short.
package connlimit

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"gaff/internal/httpx"
)

// Options of a [Listener].
type Options struct {
	// Max is the maximum number of open connections.
	Max int
	// Shared reports whether an address is shared by many clients, such as a proxy's. Shared
	// addresses and loopback have no share limit. Nil means no other address is shared.
	Shared func(netip.Addr) bool
}

// Listener accepts connections within the limits. Further connections wait, without memory for a
// request, until a slot is free. The server must call [Listener.ConnState].
type Listener struct {
	net.Listener
	o        Options
	each     int // maximum slots of one address
	reserved int // slots for loopback and shared addresses

	ready chan *conn // admitted, not accepted yet; has capacity for all slots
	errs  chan error
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	open    int
	strange int // open connections that cannot use the reserve
	by      map[string]int
	idle    []*conn // in order of becoming idle
	waiting []*conn // in order of arrival
}

// New limits the connections of ln and starts to accept them.
func New(ln net.Listener, o Options) *Listener {
	l := &Listener{
		Listener: ln, o: o, each: max(o.Max/4, 1), reserved: o.Max / 16,
		ready: make(chan *conn, o.Max), errs: make(chan error), done: make(chan struct{}), by: map[string]int{},
	}
	if l.reserved == 0 && o.Max >= 8 {
		l.reserved = 1
	}
	go l.pump()
	return l
}

// pump accepts continuously: a waiting connection must not block those that have a slot.
func (l *Listener) pump() {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.arrive(l.wrap(c))
			continue
		}
		select {
		case l.errs <- err:
		case <-l.done:
			return
		}
		if temporary, ok := err.(interface{ Temporary() bool }); !ok || !temporary.Temporary() {
			return
		}
	}
}

// Accept returns the next connection that has a slot.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close stops accepting, and closes waiting connections.
func (l *Listener) Close() error {
	l.mu.Lock()
	var dropped []*conn
	if !l.closed {
		l.closed = true
		close(l.done)
		dropped, l.waiting = l.waiting, nil
	}
	for len(l.ready) > 0 {
		dropped = append(dropped, <-l.ready)
	}
	l.mu.Unlock()
	for _, c := range dropped {
		_ = c.Close()
	}
	return l.Listener.Close()
}

// conn is a connection, with a slot or waiting for one.
type conn struct {
	net.Conn
	l      *Listener
	owner  string // whose share it counts against; empty if exempt
	placed bool   // guarded by l.mu, as is gone
	gone   bool
}

func (l *Listener) wrap(c net.Conn) *conn {
	w := &conn{Conn: c, l: l}
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return w
	}
	addr := tcp.AddrPort().Addr().Unmap()
	if addr.IsLoopback() || l.o.Shared != nil && l.o.Shared(addr) {
		return w
	}
	w.owner = httpx.Client(addr)
	return w
}

// fits reports whether c may be admitted after without is closed (nil: none). l.mu is held.
func (l *Listener) fits(c, without *conn) bool {
	open, strange, mine := l.open, l.strange, l.by[c.owner]
	if without != nil {
		open--
		if without.owner != "" {
			strange--
		}
		if without.owner == c.owner {
			mine--
		}
	}
	if c.owner == "" {
		return open < l.o.Max
	}
	return open < l.o.Max && strange < l.o.Max-l.reserved && mine < l.each
}

// arrive admits c, closes an idle connection for it if needed, or queues it.
func (l *Listener) arrive(c *conn) {
	l.mu.Lock()
	var victim *conn
	switch {
	case l.closed:
		victim = c
	case l.fits(c, nil):
		l.admit(c)
	default:
		if i := l.idleFor(c); i >= 0 {
			victim = l.idle[i]
			l.remove(victim)
			l.admit(c)
			break
		}
		l.waiting = append(l.waiting, c)
		if len(l.waiting) > l.o.Max/4+16 {
			victim = l.overflow()
		}
	}
	l.mu.Unlock()
	if victim != nil {
		_ = victim.Close()
	}
}

// idleFor returns the index of the idle connection to close for c, or -1: among those whose end
// frees a slot for c, the longest idle one of the address with the most connections. l.mu is held.
func (l *Listener) idleFor(c *conn) int {
	best := -1
	for i, candidate := range l.idle {
		if l.fits(c, candidate) && (best < 0 || l.by[candidate.owner] > l.by[l.idle[best].owner]) {
			best = i
		}
	}
	return best
}

// overflow removes the newest waiting connection of the address that has most of them. l.mu is
// held.
func (l *Listener) overflow() *conn {
	count := map[string]int{}
	most := ""
	for _, c := range l.waiting {
		if count[c.owner]++; count[c.owner] > count[most] {
			most = c.owner
		}
	}
	for i, c := range slices.Backward(l.waiting) {
		if c.owner == most {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			return c
		}
	}
	return nil
}

// admit gives c a slot. l.mu is held.
func (l *Listener) admit(c *conn) {
	c.placed = true
	l.open++
	if l.by[c.owner]++; c.owner != "" {
		l.strange++
	}
	l.ready <- c // never blocks: capacity for every slot
}

// remove frees c's slot. l.mu is held.
func (l *Listener) remove(c *conn) {
	c.gone = true
	l.idle = without(l.idle, c)
	l.waiting = without(l.waiting, c)
	if !c.placed {
		return
	}
	c.placed = false
	l.open--
	if l.by[c.owner]--; l.by[c.owner] == 0 {
		delete(l.by, c.owner)
	}
	if c.owner != "" {
		l.strange--
	}
}

func without(list []*conn, c *conn) []*conn {
	if i := slices.Index(list, c); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// next admits the first waiting connection that fits. l.mu is held.
func (l *Listener) next() {
	for i, c := range l.waiting {
		if l.fits(c, nil) {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			l.admit(c)
			return
		}
	}
}

// Close frees the slot.
func (c *conn) Close() error {
	c.l.mu.Lock()
	if !c.gone {
		c.l.remove(c)
		if !c.l.closed {
			c.l.next()
		}
	}
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// ConnState is the server's hook. It closes a connection that becomes idle while another waits
// for its slot.
func (l *Listener) ConnState(nc net.Conn, state http.ConnState) {
	if tls, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = tls.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	l.mu.Lock()
	end := false
	if l.idle = without(l.idle, c); state == http.StateIdle && !c.gone {
		l.idle = append(l.idle, c)
		end = slices.ContainsFunc(l.waiting, func(w *conn) bool { return l.fits(w, c) })
	}
	l.mu.Unlock()
	if end {
		_ = c.Close()
	}
}
