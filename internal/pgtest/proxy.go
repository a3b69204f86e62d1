package pgtest

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Proxy sits between a test and its database, and simulates a failing network.
type Proxy struct {
	ln     net.Listener
	target string

	mu      sync.Mutex
	mode    Mode
	conns   map[net.Conn]bool
	silent  map[net.Conn]bool // nothing comes out of them any more
	changed chan struct{}
	marker  []byte
	cuts    int
}

// Mode is what a proxy does to what passes.
type Mode int

const (
	// Pass lets everything through.
	Pass Mode = iota
	// Hang holds everything back, and cuts nothing: as a firewall that forgot.
	Hang
	// Refuse cuts every connection.
	Refuse
	// CutBeforeCommit cuts a connection instead of passing a commit on; CutAfterCommit
	// passes it on and cuts instead of the answer. Both are for one commit: see Cut.
	CutBeforeCommit
	CutAfterCommit
)

// NewProxy returns a proxy before the database at the address, and its own address.
func NewProxy(t testing.TB, address string) (*Proxy, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, target: u.Host, conns: map[net.Conn]bool{}, silent: map[net.Conn]bool{}, changed: make(chan struct{})}
	go p.accept()
	t.Cleanup(func() {
		p.Set(Refuse)
		ln.Close()
	})
	u.Host = ln.Addr().String()
	return p, u.String()
}

// Set changes what the proxy does.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	if m == Refuse {
		for c := range p.conns {
			c.Close()
		}
	}
}

// Cut has the proxy cut the next commit of a transaction that contains the marker, and pass
// everything else: a store also commits on its own at any time.
func (p *Proxy) Cut(m Mode, marker string) {
	p.mu.Lock()
	p.marker = []byte(marker)
	p.mu.Unlock()
	p.Set(m)
}

// Forget drops all traffic of the connections that are open now without closing them, like a
// firewall that expired them while they were idle. New ones pass.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.silent[c] = true
	}
}

func (p *Proxy) forgot(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent[c]
}

// Cuts is how many commits were cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *Proxy) now() (Mode, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.changed
}

func (p *Proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) keep(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
		delete(p.silent, c)
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.keep(client, true)
	defer p.keep(client, false)
	defer client.Close()
	if mode, _ := p.now(); mode == Refuse {
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	p.keep(server, true)
	defer p.keep(server, false)
	defer server.Close()
	done := make(chan struct{}, 2)
	cut := func() { done <- struct{}{} }
	go func() {
		defer cut()
		p.pipe(server, client, true)
	}()
	go func() {
		defer cut()
		p.pipe(client, server, false)
	}()
	<-done
}

// commit is the message by which the store commits.
var commit = append([]byte{'Q', 0, 0, 0, 11}, "commit\x00"...)

func (p *Proxy) pipe(to, from net.Conn, outward bool) {
	buf := make([]byte, 64<<10)
	marked := false
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.forgot(from) {
			for {
				mode, changed := p.now()
				if mode != Hang {
					break
				}
				<-changed
			}
			if outward {
				marked = marked || p.marks(buf[:n])
				if bytes.Contains(buf[:n], commit) {
					if marked && p.cutting(to, from, buf[:n]) {
						return
					}
					marked = false
				}
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// marks reports whether a message belongs to the transaction whose commit is to be cut.
func (p *Proxy) marks(message []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.marker) > 0 && bytes.Contains(message, p.marker)
}

// cutting cuts a connection at a commit, where that is wanted.
func (p *Proxy) cutting(server, client net.Conn, message []byte) bool {
	p.mu.Lock()
	mode := p.mode
	if mode == CutBeforeCommit || mode == CutAfterCommit {
		p.mode = Pass
		p.cuts++
	}
	p.mu.Unlock()
	switch mode {
	case CutBeforeCommit:
		return true
	case CutAfterCommit:
		client.Close()
		_, _ = server.Write(message)
		_, _ = io.CopyN(io.Discard, server, 1) // it has answered
		return true
	}
	return false
}
