package writer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"gaff"
)

// commitTime is how long the fake database takes for a commit.
const commitTime = 10 * time.Millisecond

// fakeDB is a database that records its transactions.
type fakeDB struct {
	mu           sync.Mutex
	committed    [][]string // the operations of each commit
	transactions int
	open         int // transactions
	mostOpen     int
	connects     int

	// The errors of the n-th transaction, from 1; nil for success. commitErr is called after the
	// time of a commit.
	beginErr, commitErr func(n int) error
	connectErr          func(n int) error
}

func (d *fakeDB) commits() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.committed)
}

// sizes returns the number of operations of each commit.
func (d *fakeDB) sizes() (sizes []int) {
	for _, names := range d.commits() {
		sizes = append(sizes, len(names))
	}
	return sizes
}

// errLost is the error of a lost connection.
var errLost = fmt.Errorf("%w: connection reset", gaff.ErrUnavailable)

type fakeConn struct {
	db        *fakeDB
	connected bool
	closed    bool
}

func (c *fakeConn) Connect(context.Context) error {
	c.db.mu.Lock()
	c.db.connects++
	n := c.db.connects
	c.db.mu.Unlock()
	if c.db.connectErr != nil {
		if err := c.db.connectErr(n); err != nil {
			return err
		}
	}
	c.connected = true
	return nil
}

func (c *fakeConn) Connected() bool      { return c.connected }
func (c *fakeConn) Ping(context.Context) {}
func (c *fakeConn) Lost(err error) bool  { return errors.Is(err, errLost) }
func (c *fakeConn) Close()               { c.closed = true }

func (c *fakeConn) NewTx(context.Context, bool) *fakeTx { return &fakeTx{conn: c, db: c.db} }

// fakeTx is a transaction that records which operations wrote.
type fakeTx struct {
	conn   *fakeConn
	db     *fakeDB
	n      int // of the transaction
	names  []string
	wrote  bool
	broken error
}

func (t *fakeTx) write(name string) {
	t.names = append(t.names, name)
	t.wrote = true
}

func (t *fakeTx) Begin() error {
	t.db.mu.Lock()
	t.db.transactions++
	t.n = t.db.transactions
	t.db.open++
	t.db.mostOpen = max(t.db.mostOpen, t.db.open)
	t.db.mu.Unlock()
	if t.db.beginErr != nil {
		t.broken = t.db.beginErr(t.n)
	}
	return t.broken
}

func (t *fakeTx) Read([]any) error { return nil }
func (t *fakeTx) Next()            { t.wrote = false }
func (t *fakeTx) Wrote() bool      { return t.wrote }
func (t *fakeTx) Broken() error    { return t.broken }
func (t *fakeTx) Finish() error    { return nil }
func (t *fakeTx) Committed()       {}

func (t *fakeTx) Commit() (sent bool, err error) {
	time.Sleep(commitTime)
	if t.db.commitErr != nil {
		if t.broken = t.db.commitErr(t.n); t.broken != nil {
			return true, t.broken
		}
	}
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.db.open--
	t.db.committed = append(t.db.committed, t.names)
	return true, nil
}

func (t *fakeTx) Rollback(error) {
	t.db.mu.Lock()
	t.db.open--
	t.db.mu.Unlock()
	if errors.Is(t.broken, errLost) {
		t.conn.connected = false
	}
}

// newOwn returns a writer with one connection, as for SQLite.
func newOwn(db *fakeDB) *Writer[*fakeTx] {
	return New(Options[*fakeTx]{Only: &fakeConn{db: db, connected: true}, MaxQueuedBytes: 1 << 20})
}

// newShared returns a writer with n connections for each queue, as for PostgreSQL.
func newShared(db *fakeDB, n int) *Writer[*fakeTx] {
	o := Options[*fakeTx]{TxTime: 4 * time.Second, MaxQueuedBytes: 1 << 20}
	for range n {
		o.Accepters = append(o.Accepters, &fakeConn{db: db})
		o.Effecters = append(o.Effecters, &fakeConn{db: db})
	}
	return New(o)
}

func writes(kind Kind, name string) *Op[*fakeTx] {
	return &Op[*fakeTx]{Kind: kind, Run: func(t *fakeTx) error {
		t.write(name)
		return nil
	}}
}

// outcome is the answer to an operation, and when it came.
type outcome struct {
	err  error
	took time.Duration
}

// queue queues operations one after the other, without waiting for them; wait returns their
// outcomes.
func queue(w *Writer[*fakeTx], ops ...*Op[*fakeTx]) (wait func() []outcome) {
	outcomes := make([]outcome, len(ops))
	var running sync.WaitGroup
	for i, o := range ops {
		began := time.Now()
		running.Go(func() { outcomes[i] = outcome{w.Do(context.Background(), o), time.Since(began)} })
		synctest.Wait()
	}
	return func() []outcome {
		running.Wait()
		return outcomes
	}
}

// queueBehind is queue while a commit runs, so that all operations form one batch, or several
// full ones.
func queueBehind(w *Writer[*fakeTx], ops ...*Op[*fakeTx]) []outcome {
	first := queue(w, writes(ops[0].Kind, "first"))
	rest := queue(w, ops...)
	first()
	return rest()
}
