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

// notifier notifies the other processes of due queues and of changes, and receives their
// notifications. It is only for speed: polling finds the same.
//
// A connection of its own sends a notification after the commit. A NOTIFY in the transaction
// would make all commits of the database wait for each other.
type notifier struct {
	cfg      *pgx.ConnConfig
	log      *slog.Logger
	notified func(queues []string, changed bool)

	mu      sync.Mutex
	queues  map[string]bool // not notified yet
	changed bool
	poke    chan struct{}

	self atomic.Uint32 // the server's process that sends for this one

	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

const (
	channel = "gaff"
	// notifyEvery is the time between two notifications of a process; it collects them
	// meanwhile.
	notifyEvery = 20 * time.Millisecond
	// pollEvery is how often readers look for changes while the listener is not connected.
	pollEvery = time.Second
	// aliveEvery is how often an idle connection is checked: a hanging network reports no
	// error.
	aliveEvery = 10 * time.Second
	// longest is the longest payload, a little less than PostgreSQL's 8,000 bytes.
	longest = 7000
)

func newNotifier(cfg *pgx.ConnConfig, log *slog.Logger) *notifier {
	n := &notifier{cfg: cfg, log: log, queues: map[string]bool{}, poke: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

func (n *notifier) start() {
	n.wait.Go(n.listen)
	n.wait.Go(n.send)
}

func (n *notifier) close() {
	n.cancel()
	n.wait.Wait()
}

// notify queues a notification.
func (n *notifier) notify(queues []string, changed bool) {
	n.mu.Lock()
	for _, queue := range queues {
		n.queues[queue] = true
	}
	n.changed = n.changed || changed
	n.mu.Unlock()
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// message is the payload of a notification. All means all queues.
type message struct {
	Queues  []string `json:"l,omitempty"`
	All     bool     `json:"a,omitempty"`
	Changed bool     `json:"c,omitempty"`
}

// notifyWithin sends the notification of a transaction that the program commits itself.
func notifyWithin(queues []string, exec func(text string, args ...any) error) error {
	text, err := json.Marshal(message{Queues: queues, Changed: true})
	if err != nil || len(text) > longest {
		text = []byte(`{"a":true,"c":true}`)
	}
	return exec(`select pg_notify($1, $2)`, channel, string(text))
}

func (n *notifier) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := message{Changed: n.changed}
	for queue := range n.queues {
		m.Queues = append(m.Queues, queue)
	}
	clear(n.queues)
	n.changed = false
	text, err := json.Marshal(m)
	if err != nil || len(text) > longest {
		return `{"a":true,"c":true}`
	}
	return string(text)
}

// connected runs fn on a connection, and again on a new one if it fails, until the end.
func (n *notifier) connected(fn func(context.Context, *pgx.Conn) error) {
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
		n.log.Debug("connection for notifications lost", "error", err)
		select {
		case <-n.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, 2*time.Second)
	}
}

func (n *notifier) send() {
	n.connected(func(ctx context.Context, c *pgx.Conn) error {
		// Notifications need not survive a crash.
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

func (n *notifier) listen() {
	// While the listener is not connected, readers look for changes themselves.
	var silence sync.Mutex
	listening := false
	n.wait.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-n.ctx.Done():
				return
			case <-tick.C:
			}
			silence.Lock()
			if !listening {
				n.notified(nil, true)
			}
			silence.Unlock()
		}
	})
	set := func(to bool) {
		silence.Lock()
		listening = to
		silence.Unlock()
	}
	again := false
	n.connected(func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, `listen `+channel); err != nil {
			return err
		}
		set(true)
		defer set(false)
		if again {
			n.receive(message{All: true, Changed: true}) // notifications meanwhile are not repeated
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

func (n *notifier) receive(m message) {
	if m.All {
		n.notified([]string{}, true)
		return
	}
	if len(m.Queues) > 0 {
		n.notified(m.Queues, m.Changed)
	} else if m.Changed {
		n.notified(nil, true)
	}
}
