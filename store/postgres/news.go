package postgres

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// news tells the other processes what waits and that something changed, and hears it from
// them. It is for speed alone: all that it says is found by polling too.
//
// It is sent after the commit that it is about, by a connection of its own. A NOTIFY within
// the transaction would make all commits of the database wait for each other.
type news struct {
	cfg   *pgx.ConnConfig
	log   *slog.Logger
	heard func(lanes []string, changed bool)

	mu      sync.Mutex
	lanes   map[string]bool // to be told
	changed bool
	poke    chan struct{}

	self atomic.Uint32 // the server's process that tells for us

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

const (
	channel = "gaff"
	// notifyEvery bounds how often a process tells; what comes together is told together.
	notifyEvery = 20 * time.Millisecond
	// pollEvery is how often changes are looked for while nothing is heard.
	pollEvery = time.Second
	// aliveEvery is how often a silent connection is tried: a network that hangs says nothing.
	aliveEvery = 10 * time.Second
	// longest is what a notification can carry, a little less than 8,000 bytes.
	longest = 7000
)

func newNews(cfg *pgx.ConnConfig, log *slog.Logger) *news {
	n := &news{cfg: cfg, log: log, lanes: map[string]bool{}, poke: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

func (n *news) start() {
	n.wait.Go(n.listen)
	n.wait.Go(n.send)
}

func (n *news) close() {
	n.cancel()
	n.wait.Wait()
}

// notify notes what the others should know.
func (n *news) notify(lanes []string, changed bool) {
	n.mu.Lock()
	for _, lane := range lanes {
		n.lanes[lane] = true
	}
	n.changed = n.changed || changed
	n.mu.Unlock()
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// message is the payload of a notification. Without lanes of a name, all are meant.
type message struct {
	Lanes   []string `json:"l,omitempty"`
	All     bool     `json:"a,omitempty"`
	Changed bool     `json:"c,omitempty"`
}

func (n *news) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := message{Changed: n.changed}
	for lane := range n.lanes {
		m.Lanes = append(m.Lanes, lane)
	}
	clear(n.lanes)
	n.changed = false
	text, err := json.Marshal(m)
	if err != nil || len(text) > longest {
		return `{"a":true,"c":true}`
	}
	return string(text)
}

// connected runs fn on a connection, and again on a new one when it fails, until the end.
func (n *news) connected(fn func(context.Context, *pgx.Conn) error) {
	for wait := 100 * time.Millisecond; n.ctx.Err() == nil; {
		began := time.Now()
		c, err := pgx.ConnectConfig(n.ctx, n.cfg.Copy())
		if err == nil {
			err = fn(n.ctx, c)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), time.Second)
			_ = c.Close(ctx)
			cancel()
		}
		if n.ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		n.log.Debug("connection for news lost", "error", err)
		select {
		case <-n.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, 2*time.Second)
	}
}

func (n *news) send() {
	n.connected(func(ctx context.Context, c *pgx.Conn) error {
		// What is told need not survive a crash.
		if _, err := c.Exec(ctx, `set synchronous_commit = off`); err != nil {
			return err
		}
		n.self.Store(c.PgConn().PID())
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-n.poke:
			}
			once, cancel := context.WithTimeout(ctx, txTime)
			_, err := c.Exec(once, `select pg_notify($1, $2)`, channel, n.take())
			cancel()
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(notifyEvery):
			}
		}
	})
}

func (n *news) listen() {
	// While nothing is heard, whoever waits for changes looks for himself.
	var deaf sync.Mutex
	hears := false
	n.wait.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-n.ctx.Done():
				return
			case <-tick.C:
			}
			deaf.Lock()
			if !hears {
				n.heard(nil, true)
			}
			deaf.Unlock()
		}
	})
	set := func(to bool) {
		deaf.Lock()
		hears = to
		deaf.Unlock()
	}
	again := false
	n.connected(func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, `listen `+channel); err != nil {
			return err
		}
		set(true)
		defer set(false)
		if again {
			n.receive(message{All: true, Changed: true}) // what was said meanwhile is not repeated
		}
		again = true
		for {
			once, cancel := context.WithTimeout(ctx, aliveEvery)
			note, err := c.WaitForNotification(once)
			late := once.Err() != nil && ctx.Err() == nil
			cancel()
			if err != nil && !late {
				return err
			}
			if err != nil {
				once, cancel := context.WithTimeout(ctx, txTime)
				err := c.Ping(once)
				cancel()
				if err != nil {
					return err
				}
				continue
			}
			if note.PID == n.self.Load() {
				continue
			}
			var m message
			if json.Unmarshal([]byte(note.Payload), &m) != nil {
				m = message{All: true, Changed: true}
			}
			n.receive(m)
		}
	})
}

func (n *news) receive(m message) {
	if m.All {
		n.heard([]string{}, true)
		return
	}
	if len(m.Lanes) > 0 {
		n.heard(m.Lanes, m.Changed)
	} else if m.Changed {
		n.heard(nil, true)
	}
}
