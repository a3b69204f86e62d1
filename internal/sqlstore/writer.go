package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"gaff"
)

// How much one commit takes. Receiving comes first, and few effects ride along, so that
// a sender's wait does not grow with the work that its predecessors left behind.
const (
	maxAccepts     = 512
	maxAcceptBytes = 4 << 20
	maxEffects     = 64
	maxLogEntries  = 32
	maxNoteBytes   = 256 << 10

	// maxProjects is how many are remembered.
	maxProjects = 10_000

	// Where several sessions serve a line, the next one joins those that are at it when so
	// many wait, or after so long: a larger batch costs less for each.
	joinAccepts = 16
	joinEffects = 32
	joinAfter   = 5 * time.Millisecond

	waitingAccepts = 4096
	waitingEffects = 4096
	waitingNotes   = 256
	// waitingNoteBytes bounds the requests that queued notes hold.
	waitingNoteBytes = 8 << 20
)

// writer holds what waits to be written, and the sessions that write it.
type writer struct {
	store   *Store
	shared  *Shared // nil where one connection writes
	accepts chan *op
	effects chan *op
	notes   chan *op
	between chan *op
	// The bytes of bodies that ops hold, queued ones and those being written.
	acceptBytes, noteBytes atomic.Int64
	// Nil where one session serves the line.
	acceptGate, effectGate *batchGate

	stopping chan struct{}
	stopped  chan struct{}
	once     sync.Once

	held leases

	nextEvent int64 // the number of the next event, where no other process gives any
}

const nextEventText = `select coalesce(max(seq), 0) + 1 from event`

func newWriter(ctx context.Context, s *Store) (*writer, error) {
	w := &writer{
		store: s, shared: s.opt.Shared,
		accepts: make(chan *op, waitingAccepts), effects: make(chan *op, waitingEffects),
		notes: make(chan *op, waitingNotes), between: make(chan *op),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
		held: leases{leases: map[deliveryKey]heldLease{}},
	}
	var sessions []*session
	if w.shared == nil {
		err := s.opt.Write.QueryRowContext(ctx, nextEventText).Scan(&w.nextEvent)
		if err != nil {
			return nil, fmt.Errorf("read the newest event: %w", err)
		}
		sessions = []*session{{
			w: w, conn: s.opt.Write, stmts: map[string]*sql.Stmt{},
			accepts: w.accepts, effects: w.effects, notes: w.notes, between: w.between,
		}}
	} else {
		keepers, workers := new(atomic.Int32), new(atomic.Int32)
		w.acceptGate, w.effectGate = newBatchGate(joinAccepts), newBatchGate(joinEffects)
		for range w.shared.Accepters {
			sessions = append(sessions, &session{w: w, accepts: w.accepts, gate: w.acceptGate, connected: keepers})
		}
		for range w.shared.Effecters {
			sessions = append(sessions, &session{w: w, effects: w.effects, notes: w.notes, gate: w.effectGate, connected: workers})
		}
	}
	var running sync.WaitGroup
	for _, x := range sessions {
		x.quarantined, x.keyUses, x.projects = -1, map[[2]string]int64{}, map[string]bool{}
		running.Go(x.loop)
	}
	go func() {
		running.Wait()
		close(w.stopped)
	}()
	return w, nil
}

func (w *writer) stop() {
	w.once.Do(func() { close(w.stopping) })
	<-w.stopped
}

// session is one connection that writes, and its goroutine.
type session struct {
	w *writer
	// The lines that it serves; nil for those that it does not.
	accepts, effects, notes, between chan *op
	gate                             *batchGate

	// conn is nil where it was lost, and is made anew.
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared ones; nil where the driver keeps them itself
	// shard tells its rows of the tally from those of others.
	shard    int64
	failure  error // why there is no connection
	failedAt time.Time
	used     time.Time // when the connection was last used
	// connected counts the sessions of the same lines that have a connection.
	connected *atomic.Int32

	rejections, changes int64     // since the last pruning
	quarantined         int64     // bytes of the quarantine, as far as it knows; -1 if it does not
	added               int64     // since it was summed up
	forgot              time.Time // when old ones were last dropped
	// keyUses holds the minute in which a source's key was last written down.
	keyUses map[[2]string]int64
	// projects are some that exist, so that not every job asks for its own.
	projects map[string]bool
}

func (x *session) loop() {
	defer func() {
		for _, stmt := range x.stmts {
			stmt.Close()
		}
		if x.w.shared != nil && x.conn != nil {
			_ = x.conn.Close()
		}
	}()
	batch := make([]*op, 0, maxAccepts+maxEffects+maxLogEntries)
	for {
		batch = batch[:0]
		if x.ensureConn() {
			continue
		}
		x.gate.take()
		var first *op
		select {
		case first = <-x.accepts:
		case first = <-x.effects:
		case first = <-x.notes:
		case o := <-x.between:
			x.gate.pass()
			if o.begin() {
				t := &tx{w: x.w, x: x, ctx: context.Background()}
				o.answer(t.guarded(func() error { return o.run(t) }))
			}
			continue
		case <-x.w.stopping:
			// Callers that came before the stop are still served.
			batch = x.fill(batch)
			x.gate.pass()
			if len(batch) == 0 {
				return
			}
			x.commit(batch)
			continue
		}
		if first.begin() {
			batch = append(batch, first)
			x.gate.join(len(x.accepts) + len(x.effects))
		}
		if batch = x.fill(batch); len(batch) == 0 {
			x.gate.pass()
			continue
		}
		x.gate.begin()
		x.commit(batch)
		x.gate.end()
	}
}

// fill adds what is queued already, without lingering: under load a batch forms by itself
// while the former one is being synced. Ops that their callers have left are passed over.
func (x *session) fill(batch []*op) []*op {
	var count, bytes [opBetween]int
	for _, o := range batch {
		count[o.kind]++
		bytes[o.kind] += o.bytes
	}
	take := func(queue chan *op) bool {
		select {
		case o := <-queue:
			if o.begin() {
				batch = append(batch, o)
				count[o.kind]++
				bytes[o.kind] += o.bytes
			}
			return true
		default:
			return false
		}
	}
	for count[opAccept] < maxAccepts && bytes[opAccept] < maxAcceptBytes && take(x.accepts) {
	}
	for count[opEffect] < maxEffects && take(x.effects) {
	}
	for count[opDetail] < maxLogEntries && bytes[opDetail] < maxNoteBytes && take(x.notes) {
	}
	return batch
}

// maxTries is how often an operation is tried that other processes' writing got in the
// way of.
const maxTries = 5

// brokenError is an error of the transaction itself, rather than of one operation in it: the
// database cannot work just now, or undid it because of another one.
type brokenError struct {
	err error
	// sent is set if the commit was sent, so that its outcome is not known.
	sent bool
}

func (b *brokenError) Error() string { return b.err.Error() }
func (b *brokenError) Unwrap() error { return b.err }

// broke returns err's brokenError, or nil if it is the operation's own.
func broke(err error) *brokenError {
	b, _ := errors.AsType[*brokenError](err)
	return b
}

// commit writes the batch in one transaction. If one operation fails after it wrote
// something, the whole is rolled back and each is run in a transaction of its own, so
// that a bad one holds nobody up.
func (x *session) commit(batch []*op) {
	errs, err := x.transact(batch)
	b := broke(err)
	switch {
	case err == nil:
		for i, o := range batch {
			o.answer(errs[i])
		}
	case b != nil && errors.Is(err, gaff.ErrUnavailable):
		for _, o := range batch {
			o.answer(b.err)
		}
	case len(batch) == 1 && !errors.Is(err, ErrCollision):
		batch[0].answer(err)
	default:
		for _, o := range batch {
			o.answer(x.commitAlone(o))
		}
	}
}

// commitAlone runs one operation in a transaction of its own, again if other processes' writing
// got in its way.
func (x *session) commitAlone(o *op) error {
	var errs []error
	err := ErrCollision
	for try := 0; try < maxTries && errors.Is(err, ErrCollision); try++ {
		errs, err = x.transact([]*op{o})
	}
	switch {
	case err == nil:
		return errs[0]
	case errors.Is(err, ErrCollision):
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
	}
	return err
}

// transact runs the operations between begin and commit. errs are their own errors, of
// those that failed before they wrote anything; err means that nothing was written, or,
// if it is a brokenError that is ErrUnavailable, that it is not known whether it was.
//
// A connection that was lost before the commit was sent is replaced once, within the same
// time: a server or a firewall that drops idle connections costs nobody an answer.
func (x *session) transact(batch []*op) (errs []error, err error) {
	if x.w.shared == nil {
		return x.attempt(context.Background(), batch)
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.w.shared.TxTime)
	defer cancel()
	had := x.conn != nil
	if had {
		x.checkIdle(ctx)
	}
	if err := x.connect(ctx); err != nil {
		return nil, &brokenError{err: err}
	}
	errs, err = x.attempt(ctx, batch)
	x.used = time.Now()
	if b := broke(err); b != nil && !b.sent && had && x.conn == nil && ctx.Err() == nil && x.w.shared.Lost(b.err) {
		if err := x.connect(ctx); err != nil {
			return nil, &brokenError{err: err}
		}
		errs, err = x.attempt(ctx, batch)
		x.used = time.Now()
	}
	return errs, err
}

// attempt runs the operations between begin and commit, once.
func (x *session) attempt(ctx context.Context, batch []*op) (errs []error, err error) {
	t := &tx{w: x.w, x: x, ctx: ctx, many: len(batch) > 1}
	guard := x.w.store.opt.Guard
	if guard != nil {
		if err := guard.Begin(x.conn); err != nil {
			return nil, &brokenError{err: err}
		}
	}
	t.startClock()
	if err := t.begin(); err != nil {
		x.dropConn(err)
		return nil, &brokenError{err: err}
	}
	if x.w.shared == nil && x.w.nextEvent == 0 {
		if err := t.row([]any{&x.w.nextEvent}, nextEventText); err != nil {
			x.rollback(err)
			return nil, &brokenError{err: err}
		}
	}
	nextEvent := x.w.nextEvent
	defer func() {
		if err == nil {
			return
		}
		if errors.Is(err, ErrCollision) {
			nextEvent = 0 // another program wrote events
		}
		for _, key := range t.took {
			x.w.held.drop(key)
		}
		x.w.nextEvent = nextEvent
		if t.begun {
			x.rollback(err)
		}
	}()
	if errs, err = t.runAll(batch); err != nil {
		if t.broken != nil {
			err = &brokenError{err: t.broken}
		}
		return nil, err
	}
	if guard != nil {
		if err := guard.Commit(x.conn, nextEvent); err != nil {
			return nil, &brokenError{err: err}
		}
	}
	if err := t.commit(); err != nil {
		return nil, &brokenError{err: err, sent: true}
	}
	x.committed(t, batch, errs)
	return errs, nil
}

// runAll runs the operations, and writes what they share. An error means that the transaction
// is to be undone: t.broken says if that is the database's doing.
func (t *tx) runAll(batch []*op) (errs []error, err error) {
	if err := t.guarded(func() error { return t.readJobs(batch) }); err != nil {
		return nil, err
	}
	errs = make([]error, len(batch))
	for i, o := range batch {
		t.wrote = false
		errs[i] = t.guarded(func() error { return o.run(t) })
		if t.broken != nil { // perhaps by rows that others deferred
			return nil, t.broken
		}
		if errs[i] != nil && t.wrote {
			return nil, errs[i]
		}
	}
	return errs, t.guarded(t.finish)
}

// guarded turns a panic in fn into its error: the writer must outlive whatever it is handed.
func (t *tx) guarded(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.wrote = true
			err = fmt.Errorf("panic while writing: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

// committed passes on what a transaction has changed.
func (x *session) committed(t *tx, batch []*op, errs []error) {
	if committed := x.w.store.opt.Committed; committed != nil {
		committed()
	}
	for i, o := range batch {
		if errs[i] == nil && o.committed != nil {
			o.committed()
		}
	}
	if len(x.projects) > maxProjects {
		clear(x.projects)
	}
	for _, project := range t.seen {
		x.projects[project] = true
	}
	for _, lane := range t.wakes {
		x.w.store.signalWake(lane)
	}
	if len(t.changes) > 0 {
		x.w.store.signalChanged()
	}
	if x.w.shared != nil && (len(t.wakes) > 0 || len(t.changes) > 0) {
		x.w.shared.Notify(t.wakes, len(t.changes) > 0)
	}
}

// ensureConn makes the connection, where there is none, before any work is taken. While this
// session alone cannot have one, it lets the others have what waits. What waits for no one is
// taken all the same, and told that it cannot be written.
func (x *session) ensureConn() bool {
	if x.w.shared == nil || x.conn != nil || x.failure != nil && x.connected.Load() == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), x.w.shared.TxTime)
	defer cancel()
	if x.connect(ctx) == nil || x.connected.Load() == 0 {
		return false
	}
	select {
	case <-x.w.stopping:
		return false
	case <-time.After(reconnectEvery):
		return true
	}
}

// reconnectEvery is how often a lost database is tried at most, by each session.
const reconnectEvery = 100 * time.Millisecond

func (x *session) connect(ctx context.Context) (err error) {
	if x.conn != nil {
		return nil
	}
	if pause := reconnectEvery - time.Since(x.failedAt); pause > 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", gaff.ErrUnavailable, context.Cause(ctx))
		}
	}
	conn, err := x.w.shared.Connect(ctx)
	if err == nil && x.shard == 0 {
		err = conn.QueryRowContext(ctx, `select nextval('shard_seq')`).Scan(&x.shard)
		if err != nil {
			discard(conn)
		}
	}
	if err != nil {
		err = x.w.store.opt.Dialect.Fault(err)
		if !errors.Is(err, gaff.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
		}
		x.failure, x.failedAt = err, time.Now()
		return err
	}
	x.conn, x.failure, x.used = conn, nil, time.Now()
	x.connected.Add(1)
	return nil
}

const (
	// checkAfter is how long a connection is idle until it is checked before it is used.
	checkAfter = time.Second
	// checkTime is how long the check may take. A firewall that forgot the connection answers
	// nothing at all, and time must be left to connect again.
	checkTime = 1500 * time.Millisecond
)

// checkIdle gives up a connection that was dropped while it was idle.
func (x *session) checkIdle(ctx context.Context) {
	if time.Since(x.used) < checkAfter {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if err := x.conn.PingContext(ctx); err != nil {
		x.dropConn(err)
	}
}

// dropConn gives the connection up.
func (x *session) dropConn(err error) {
	if x.w.shared == nil {
		return
	}
	discard(x.conn)
	x.conn = nil
	x.connected.Add(-1)
	x.w.store.opt.Log.Warn("connection to the database lost", "error", err)
}

// discard closes a connection for good, rather than giving it back to its pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// rollback ends the transaction that cause broke.
func (x *session) rollback(cause error) {
	ctx, cancel := context.Background(), func() {}
	if x.w.shared != nil {
		if b := broke(cause); b != nil && errors.Is(b.err, gaff.ErrUnavailable) {
			x.dropConn(b.err) // whatever became of it
			return
		}
		ctx, cancel = context.WithTimeout(ctx, time.Second)
	}
	defer cancel()
	_, err := x.conn.ExecContext(ctx, `rollback`)
	// On SQLite the rollback of a transaction that the database ended itself fails; there
	// is nothing to do about it then.
	if err != nil {
		x.dropConn(err)
	}
}

// begin begins the transaction; on a shared database that travels with its first statement.
func (t *tx) begin() error {
	if t.w.shared != nil {
		return nil
	}
	t.begun = true
	return t.plain(`begin immediate`)
}

func (t *tx) commit() error {
	if !t.begun {
		return nil
	}
	if t.w.shared != nil {
		return t.fault(t.w.shared.Commit(t.ctx, t.x.conn))
	}
	return t.plain(`commit`)
}

func (t *tx) plain(text string) error {
	stmt, err := t.prepare(text)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(t.ctx)
	return t.fault(err)
}

// statement is a prepared statement, or the connection where the driver prepares.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
}

type unprepared struct {
	conn *sql.Conn
	text string
}

func (u unprepared) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return u.conn.ExecContext(ctx, u.text, args...)
}

func (u unprepared) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	return u.conn.QueryContext(ctx, u.text, args...)
}

func (t *tx) prepare(text string) (statement, error) {
	x := t.x
	if x.stmts == nil {
		if t.broken != nil {
			return nil, t.broken
		}
		if !t.asking {
			if err := t.flushDeferred(); err != nil {
				return nil, err
			}
		}
		if !t.begun {
			if _, err := t.travel(); err != nil {
				return nil, err
			}
		}
		return unprepared{x.conn, text}, nil
	}
	if stmt := x.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := x.conn.PrepareContext(t.ctx, text)
	if err != nil {
		return nil, t.fault(err)
	}
	x.stmts[text] = stmt
	return stmt, nil
}

// fault marks an error of the database. If that cannot work just now, the transaction is over,
// whatever the operation makes of it; a shared one ends it at any error.
func (t *tx) fault(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.ctx.Err() != nil {
		err = fmt.Errorf("%w: the database did not answer within %s: %w", gaff.ErrUnavailable, t.w.shared.TxTime, err)
	}
	err = t.w.store.opt.Dialect.Fault(err)
	if t.w.shared != nil || errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, ErrCollision) {
		t.wrote, t.broken = true, err
	}
	return err
}

// tx is one transaction of the writer.
type tx struct {
	w       *writer
	x       *session
	ctx     context.Context // bounds the whole transaction
	now     time.Time
	skew    time.Duration // of now against the clock of this process
	begun   bool
	wrote   bool // by the current operation; or the transaction is broken
	took    []deliveryKey
	seen    []string // projects that exist once this is committed
	tallies []counters
	// What is written at the end, for all operations at once; see bulk.go.
	accepting []acceptance
	finishing []finishing
	many      bool                  // there are several operations
	deferred  [len(putOffs)][][]any // what was put off, for each kind
	delayed   bool                  // there are some later ones
	unsent    []Statement           // what travels with the next that is asked
	broken    error                 // what ended it too early
	known     knownJobs
	asking    bool // a query is about what is neither among the later nor the unsent ones
	changes   []change
	wakes     []string // lanes in which something waits now
}

type counters struct {
	source   string
	minute   int64
	received int
	status   [3]int // by how much each grew
	rejected int
	// first and last are the numbers of the events that came; 0 if none did.
	first, last int64
}

// change is one item of the change log, in its stored form.
type change struct {
	Kind   string `json:"k"`
	Ref    string `json:"r"`
	Status string `json:"s"`
	Source string `json:"o,omitempty"`
}

// exec returns the number of rows that changed.
func (t *tx) exec(text string, args ...any) (int64, error) {
	stmt, err := t.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(t.ctx, plainText(args)...)
	if err != nil {
		return 0, t.fault(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		t.wrote = true
	}
	return n, err
}

// row scans the only row of a query, or returns sql.ErrNoRows.
func (t *tx) row(dest []any, text string, args ...any) error {
	rows, err := t.query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return t.fault(err)
		}
		return sql.ErrNoRows
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	return t.fault(rows.Close())
}

// returning is row for a statement that writes.
func (t *tx) returning(dest []any, text string, args ...any) error {
	err := t.row(dest, text, args...)
	if err == nil {
		t.wrote = true
	}
	return err
}

func (t *tx) query(text string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepare(text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(t.ctx, plainText(args)...)
	return rows, t.fault(err)
}

// each calls scan for every row of a query.
func (t *tx) each(scan func(*sql.Rows) error, text string, args ...any) error {
	rows, err := t.query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return t.fault(rows.Err())
}

// lock is the end of a query whose rows are about to be written: where others write too,
// they wait until this transaction has ended.
func (t *tx) lock() string {
	if t.w.shared == nil {
		return ""
	}
	return " for update"
}

// lockFree is lock for rows of which any will do: those that others hold are left out.
func (t *tx) lockFree() string {
	if t.w.shared == nil {
		return ""
	}
	return " for update skip locked"
}

func (t *tx) take(key deliveryKey, l heldLease) {
	t.w.held.take(key, l)
	t.took = append(t.took, key)
}

// wake tells the lane's dispatchers, after the commit, that there is something to claim.
func (t *tx) wake(lane string) {
	if !slices.Contains(t.wakes, lane) {
		t.wakes = append(t.wakes, lane)
	}
}

func (t *tx) counters(source string) *counters { return t.countersOf(source, t.now.Unix()/60) }

func (t *tx) countersOf(source string, minute int64) *counters {
	for i := range t.tallies {
		if t.tallies[i].source == source && t.tallies[i].minute == minute {
			return &t.tallies[i]
		}
	}
	t.tallies = append(t.tallies, counters{source: source, minute: minute})
	return &t.tallies[len(t.tallies)-1]
}

func nullZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func (t *tx) moved(source string, from, to gaff.Status) {
	if from != to {
		tl := t.counters(source)
		tl.status[from]--
		tl.status[to]++
	}
}

func (t *tx) change(kind, ref, status, source string) {
	t.changes = append(t.changes, change{kind, ref, status, source})
}

// finish writes what all operations of the commit share.
func (t *tx) finish() error {
	if err := t.flush(); err != nil {
		return err
	}
	for _, tl := range t.tallies {
		if err := t.send(`insert into tally (source, minute, shard, received, pending, success, error, rejected, first_seq, last_seq)
			values ($1, $2, $10, $3, $4, $5, $6, $7, $8, $9)
			on conflict (source, minute, shard) do update set
				received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
				success = tally.success + excluded.success, error = tally.error + excluded.error,
				rejected = tally.rejected + excluded.rejected,
				first_seq = coalesce(tally.first_seq, excluded.first_seq), last_seq = coalesce(excluded.last_seq, tally.last_seq)`,
			tl.source, tl.minute, tl.received, tl.status[0], tl.status[1], tl.status[2], tl.rejected,
			nullZero(tl.first), nullZero(tl.last), t.x.shard); err != nil {
			return fmt.Errorf("tally: %w", err)
		}
	}
	if len(t.changes) == 0 {
		return t.flushDeferred()
	}
	items, err := json.Marshal(t.changes)
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if t.w.shared != nil {
		// Its number is the transaction's: see changes.
		err = t.send(`insert into change (seq, at, items) values (pg_current_xact_id()::text::bigint, $1, $2)`, micros(t.now), items)
	} else {
		err = t.send(`insert into change (at, items) values ($1, $2)`, micros(t.now), items)
	}
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if t.x.changes++; t.x.changes >= int64(t.w.store.opt.MaxChanges)/20 {
		t.x.changes = 0
		if _, err := t.exec(`delete from change where seq in (select seq from change
				where seq < (select min(seq) from (select seq from change order by seq desc limit $1) newest)`+t.lockFree()+`)`,
			t.w.store.opt.MaxChanges); err != nil {
			return fmt.Errorf("change log: %w", err)
		}
	}
	return t.flushDeferred()
}

// plainText replaces what PostgreSQL keeps in no text: bytes that are not UTF-8, and zero.
// It is done for every database, so that a text is found again under what it was kept as.
func plainText(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok && !isPlain(text) {
			args[i] = plain(text)
		}
	}
	return args
}

func isPlain(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

func plain(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
