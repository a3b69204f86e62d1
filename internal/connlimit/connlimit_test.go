package connlimit_test

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"

	"gaff/internal/connlimit"
)

// wire is a listener whose connections come from addresses of the test's choice.
type wire struct {
	conns chan net.Conn
	done  chan struct{}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { close(w.done); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{} }

// end is one connection: closed says that somebody closed it.
type end struct {
	net.Conn
	from   *net.TCPAddr // its port is its own
	closed bool
}

func (e *end) RemoteAddr() net.Addr { return e.from }
func (e *end) Close() error         { e.closed = true; return nil }

// world is a listener and what a server has accepted from it.
type world struct {
	*wire
	l        *connlimit.Listener
	accepted map[int]net.Conn // by port
	came     chan net.Conn
	ports    int
}

// run calls story within a bubble, with a listener of most connections.
func run(t *testing.T, most int, story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{wire: &wire{make(chan net.Conn), make(chan struct{})}, accepted: map[int]net.Conn{}, came: make(chan net.Conn, 1000)}
		w.l = connlimit.New(w.wire, connlimit.Options{Max: most, Shared: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.9") }})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := w.l.Accept()
				if err != nil {
					return
				}
				w.came <- c
			}
		}()
		story(w)
		if err := w.l.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// connect opens n connections from an address, and returns them.
func (w *world) connect(n int, from string) (ends []*end) {
	for range n {
		w.ports++
		e := &end{from: &net.TCPAddr{IP: net.ParseIP(from), Port: w.ports}}
		ends = append(ends, e)
		w.conns <- e
	}
	w.settle()
	return ends
}

// settle records the accepted connections.
func (w *world) settle() {
	synctest.Wait()
	for len(w.came) > 0 {
		c := <-w.came
		w.accepted[c.RemoteAddr().(*net.TCPAddr).Port] = c
	}
}

// in counts those that were let in and are open.
func (w *world) in(ends []*end) (n int) {
	for _, e := range ends {
		if w.accepted[e.from.Port] != nil && !e.closed {
			n++
		}
	}
	return n
}

func (w *world) idle(ends []*end) {
	for _, e := range ends {
		w.l.ConnState(w.accepted[e.from.Port], http.StateActive)
		w.l.ConnState(w.accepted[e.from.Port], http.StateIdle)
	}
	w.settle()
}

func (w *world) close(e *end) {
	_ = w.accepted[e.from.Port].Close()
	w.settle()
}

func TestOneAddressHasAQuarter(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		first := w.connect(15, "192.0.2.1")
		if got := w.in(first); got != 10 {
			t.Errorf("%d of 15 are in, want 10", got)
		}
		if got := w.in(w.connect(10, "192.0.2.2")); got != 10 {
			t.Errorf("another address: %d of 10 are in", got)
		}
		w.close(first[0])
		if got := w.in(first); got != 10 {
			t.Errorf("after one went, %d are in, want 10", got)
		}
	})
}

func TestOneNetworkOfIPv6IsOneAddress(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		all := append(w.connect(8, "2001:db8::1"), w.connect(8, "2001:db8::2")...)
		if got := w.in(all); got != 10 {
			t.Errorf("%d are in, want 10", got)
		}
		if got := w.in(w.connect(1, "2001:db8:0:1::1")); got != 1 {
			t.Error("the next network is kept out")
		}
	})
}

func TestSharedAddressesHaveNoShare(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.9"} {
		run(t, 40, func(w *world) {
			if got := w.in(w.connect(45, from)); got != 40 {
				t.Errorf("%s: %d are in, want 40", from, got)
			}
		})
	}
}

func TestSomePlacesAreForThisMachine(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		var strangers []*end
		for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"} {
			strangers = append(strangers, w.connect(10, from)...)
		}
		if got := w.in(strangers); got != 38 {
			t.Errorf("%d unreserved connections are in, want 38", got)
		}
		if got := w.in(w.connect(2, "127.0.0.1")); got != 2 {
			t.Errorf("%d of this machine are in, want 2", got)
		}
	})
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		few, many := w.connect(10, "192.0.2.1"), w.connect(30, "127.0.0.1")
		w.idle(few)
		w.idle(many)
		if got := w.in(w.connect(1, "127.0.0.1")); got != 1 || !many[0].closed {
			t.Errorf("let in: %d, the longest idle of the heaviest address closed: %v", got, many[0].closed)
		}
		if got := w.in(few); got != 10 {
			t.Errorf("%d of the others are open, want 10", got)
		}
	})
}

func TestIdleConnectionsOfAnotherAddressMakeNoRoomInAShare(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		other, mine := w.connect(1, "192.0.2.2"), w.connect(10, "192.0.2.1")
		w.idle(other)
		if more := w.connect(1, "192.0.2.1"); w.in(more) != 0 || other[0].closed {
			t.Error("a connection beyond its address's share took another's place")
		}
		w.idle(mine[3:4])
		if !mine[3].closed {
			t.Error("a connection that became idle keeps its place from one that waits")
		}
		if got := w.in(other); got != 1 {
			t.Error("the other address lost its connection")
		}
	})
}

func TestActiveConnectionsAreNotClosed(t *testing.T) {
	t.Parallel()
	run(t, 8, func(w *world) {
		all := w.connect(8, "127.0.0.1")
		w.idle(all)
		w.l.ConnState(w.accepted[all[0].from.Port], http.StateActive)
		if w.connect(1, "127.0.0.1"); all[0].closed || !all[1].closed {
			t.Errorf("active closed: %v, idle closed: %v", all[0].closed, all[1].closed)
		}
	})
}

func TestWaitingConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	run(t, 40, func(w *world) {
		heavy := w.connect(100, "192.0.2.1")
		closed := 0
		for _, e := range heavy {
			if e.closed {
				closed++
			}
		}
		if want := 100 - 10 - (40/4 + 16); closed != want {
			t.Errorf("%d were turned away, want %d", closed, want)
		}
		if got := w.in(w.connect(5, "192.0.2.2")); got != 5 {
			t.Errorf("another address: %d of 5 are in", got)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	t.Parallel()
	var all []*end
	run(t, 4, func(w *world) { all = w.connect(6, "127.0.0.1") })
	if all[0].closed || !all[5].closed {
		t.Errorf("accepted closed: %v, waiting closed: %v", all[0].closed, all[5].closed)
	}
}
