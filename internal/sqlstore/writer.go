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
	"gaff/pipeline"
)

// How much one commit takes. Receiving comes first, and few effects ride along, so that
// a sender's wait does not grow with the work that its predecessors left behind.
const (
	maxAccepts     = 512
	maxAcceptBytes = 4 << 20
	maxEffects     = 64
	maxNotes       = 32

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
)

type opKind int

const (
	opAccept opKind = iota
	opEffect
	// opNote is a note about a refused request. Strangers cause them, so they wait in a
	// short line of their own, and are dropped when it is full.
	opNote
	// opBetween is no part of a transaction, but runs between two.
	opBetween
)

// op is one piece of writing. Its run may be called again after a rollback, so it must
// set all that it reports anew each time.
type op struct {
	kind  opKind
	bytes int
	wait  time.Duration   // for the commit; 0 has no bound but the caller's context
	reads pipeline.JobRef // the job that run reads first; zero if that is not known
	run   func(*tx) error
	// committed, if not nil, runs in the writer's goroutine right after the commit.
	committed func()
	// abandoned, if not nil, runs there when it was committed and its caller had left.
	abandoned func()
	done      chan error
	settled   atomic.Bool // answered, or left by its caller
}

// answer tells the caller how it ended, if he still waits.
func (o *op) answer(err error) {
	if o.settled.CompareAndSwap(false, true) {
		o.done <- err
	} else if err == nil && o.abandoned != nil {
		o.abandoned()
	}
}

type deliveryKey struct {
	seq int64
	n   int
}

// writer holds what waits to be written, and the sessions that write it.
type writer struct {
	store   *Store
	shared  *Shared // nil where one connection writes
	accepts chan *op
	effects chan *op
	notes   chan *op
	between chan *op
	// Nil where one session serves the line.
	acceptTurns, effectTurns *turns

	stopping chan struct{}
	stopped  chan struct{}
	once     sync.Once

	held held

	nextEvent int64 // the number of the next event, where no other process gives any
}

// held are the deliveries that this process is working on. Where one process owns the
// database they are all that is known of a claim: after a crash nobody works on them.
// Else they are those whose leases are to be renewed.
type held struct {
	mu     sync.Mutex
	leases map[deliveryKey]heldLease
}

type heldLease struct {
	claim int
	until time.Time // zero where claims are not stored
}

func (h *held) take(key deliveryKey, l heldLease) {
	h.mu.Lock()
	h.leases[key] = l
	h.mu.Unlock()
}

func (h *held) drop(key deliveryKey) {
	h.mu.Lock()
	delete(h.leases, key)
	h.mu.Unlock()
}

// give forgets what was taken under the lease, unless someone took it anew since.
func (h *held) give(l gaff.Lease) {
	key := deliveryKey{l.Event, l.Delivery}
	h.mu.Lock()
	if had, ok := h.leases[key]; ok && had.claim == l.Claim {
		delete(h.leases, key)
	}
	h.mu.Unlock()
}

func (h *held) has(key deliveryKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.leases[key]
	return ok
}

func (h *held) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.leases)
}

const nextEventText = `select coalesce(max(seq), 0) + 1 from event`

func newWriter(ctx context.Context, s *Store) (*writer, error) {
	w := &writer{
		store: s, shared: s.opt.Shared,
		accepts: make(chan *op, waitingAccepts), effects: make(chan *op, waitingEffects),
		notes: make(chan *op, waitingNotes), between: make(chan *op),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
		held: held{leases: map[deliveryKey]heldLease{}},
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
		w.acceptTurns, w.effectTurns = newTurns(joinAccepts), newTurns(joinEffects)
		for range w.shared.Accepters {
			sessions = append(sessions, &session{w: w, accepts: w.accepts, turns: w.acceptTurns, connected: keepers})
		}
		for range w.shared.Effecters {
			sessions = append(sessions, &session{w: w, effects: w.effects, notes: w.notes, turns: w.effectTurns, connected: workers})
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

// do hands o to the writer and waits for its commit. The context bounds the hand-over;
// from then on the outcome is waited for, so that nobody acts on a guess, unless o.wait
// bounds that too.
func (w *writer) do(ctx context.Context, o *op) error {
	o.done = make(chan error, 1)
	if o.kind == opEffect || o.kind == opBetween {
		lane := w.effects
		if o.kind == opBetween {
			lane = w.between
		}
		select {
		case lane <- o:
			w.effectTurns.waiting(len(lane))
		case <-w.stopping:
			return gaff.ErrStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	} else {
		lane := w.accepts
		if o.kind == opNote {
			lane = w.notes
		}
		select {
		case <-w.stopping:
			return gaff.ErrStopped
		case lane <- o:
			if o.kind == opAccept {
				w.acceptTurns.waiting(len(lane))
			}
		default:
			return fmt.Errorf("%w: %d wait to be kept already", gaff.ErrUnavailable, cap(lane))
		}
	}
	var late <-chan time.Time
	if o.wait > 0 {
		// Not a context: this is done for every webhook, and a timer costs a third of one.
		timer := time.NewTimer(o.wait)
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err := <-o.done:
		return err
	case <-late:
		err = fmt.Errorf("%w: no commit within %s: the disk is too slow for what comes", gaff.ErrUnavailable, o.wait)
	case <-w.stopped:
		err = gaff.ErrStopped
	}
	if o.settled.CompareAndSwap(false, true) {
		return err
	}
	return <-o.done // answered in the same moment
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
	turns                            *turns

	// conn is nil where it was lost, and is made anew.
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared ones; nil where the driver keeps them itself
	// shard tells its rows of the tally from those of others.
	shard    int64
	failure  error // why there is no connection
	failedAt time.Time
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
	batch := make([]*op, 0, maxAccepts+maxEffects+maxNotes)
	for {
		batch = batch[:0]
		if x.leave() {
			continue
		}
		x.turns.take()
		select {
		case o := <-x.accepts:
			batch = append(batch, o)
		case o := <-x.effects:
			batch = append(batch, o)
		case o := <-x.notes:
			batch = append(batch, o)
		case o := <-x.between:
			x.turns.pass()
			o.answer(o.run(&tx{w: x.w, x: x, ctx: context.Background()}))
			continue
		case <-x.w.stopping:
			// Callers that came before the stop are still served.
			batch = x.fill(batch)
			x.turns.pass()
			if len(batch) == 0 {
				return
			}
			x.commit(batch)
			continue
		}
		x.turns.join(len(x.accepts) + len(x.effects))
		batch = x.fill(batch)
		x.turns.begin()
		x.commit(batch)
		x.turns.end()
	}
}

// turns are those of the sessions that serve one line. One at a time gathers a batch; it
// goes on gathering while others are at theirs, until one of them has done, enough wait,
// or it took long. A nil *turns is of one session, which never waits.
type turns struct {
	enough int
	turn   chan struct{} // held by the one that gathers
	busy   atomic.Int32
	done   chan struct{} // one has ended its batch
	many   chan struct{} // enough wait
}

func newTurns(enough int) *turns {
	return &turns{enough: enough, turn: make(chan struct{}, 1), done: make(chan struct{}, 1), many: make(chan struct{}, 1)}
}

func (t *turns) take() {
	if t != nil {
		t.turn <- struct{}{}
	}
}

func (t *turns) pass() {
	if t != nil {
		<-t.turn
	}
}

// waiting is told how many wait.
func (t *turns) waiting(n int) {
	if t != nil && n >= t.enough {
		signal(t.many)
	}
}

// join waits until a batch is worth it.
func (t *turns) join(waiting int) {
	if t == nil || waiting >= t.enough {
		return
	}
	for _, old := range []chan struct{}{t.done, t.many} {
		select {
		case <-old:
		default:
		}
	}
	if t.busy.Load() == 0 {
		return
	}
	timer := time.NewTimer(joinAfter)
	defer timer.Stop()
	select {
	case <-t.done:
	case <-t.many:
	case <-timer.C:
	}
}

func (t *turns) begin() {
	if t != nil {
		t.busy.Add(1)
		<-t.turn
	}
}

func (t *turns) end() {
	if t != nil {
		t.busy.Add(-1)
		signal(t.done)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fill adds what waits already, without lingering: under load a batch forms by itself
// while the former one is being synced.
func (x *session) fill(batch []*op) []*op {
	var count [opBetween]int
	bytes := 0
	add := func(o *op) {
		batch = append(batch, o)
		count[o.kind]++
		bytes += o.bytes
	}
	for _, o := range batch {
		count[o.kind]++
		bytes += o.bytes
	}
	for count[opAccept] < maxAccepts && bytes < maxAcceptBytes && drain(x.accepts, add) {
	}
	for count[opEffect] < maxEffects && drain(x.effects, add) {
	}
	for count[opNote] < maxNotes && drain(x.notes, add) {
	}
	return batch
}

// drain hands over one operation, if one waits.
func drain(line chan *op, add func(*op)) bool {
	select {
	case o := <-line:
		add(o)
		return true
	default:
		return false
	}
}

// maxTries is how often an operation is tried that other processes' writing got in the
// way of.
const maxTries = 5

// commit writes the batch in one transaction. Where one operation fails after it wrote
// something, the whole is rolled back and each is tried in a transaction of its own, so
// that a bad one holds nobody up.
func (x *session) commit(batch []*op) {
	errs, err := x.transact(batch)
	switch {
	case err == nil:
		for i, o := range batch {
			o.answer(errs[i])
		}
	case errors.Is(err, gaff.ErrUnavailable) || len(batch) == 1 && !errors.Is(err, ErrCollision):
		for _, o := range batch {
			o.answer(err)
		}
	default:
		for _, o := range batch {
			var errs []error
			err := ErrCollision
			for try := 0; try < maxTries && errors.Is(err, ErrCollision); try++ {
				errs, err = x.transact([]*op{o})
			}
			if err == nil {
				err = errs[0]
			} else if errors.Is(err, ErrCollision) {
				err = fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
			}
			o.answer(err)
		}
	}
}

// transact runs the operations between begin and commit. errs are their own errors, of
// those that failed before they wrote anything; err means that nothing was written, or,
// if it is ErrUnavailable, that it is not known whether it was.
func (x *session) transact(batch []*op) (errs []error, err error) {
	t := &tx{w: x.w, x: x, ctx: context.Background(), many: len(batch) > 1}
	if x.w.shared != nil {
		var cancel context.CancelFunc
		t.ctx, cancel = context.WithTimeout(t.ctx, x.w.shared.TxTime)
		defer cancel()
		if err := x.connect(t.ctx); err != nil {
			return nil, err
		}
	}
	guard := x.w.store.opt.Guard
	if guard != nil {
		if err := guard.Begin(x.conn); err != nil {
			return nil, err
		}
	}
	t.now = time.Now()
	if err := t.begin(); err != nil {
		x.lose(err)
		return nil, err
	}
	if x.w.shared == nil && x.w.nextEvent == 0 {
		if err := t.row([]any{&x.w.nextEvent}, nextEventText); err != nil {
			x.rollback(err)
			return nil, err
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
	if err := t.readJobs(batch); err != nil {
		return nil, err
	}
	errs = make([]error, len(batch))
	for i, o := range batch {
		t.wrote = false
		errs[i] = t.run(o)
		if t.broken != nil { // perhaps by what others put off
			return nil, t.broken
		}
		if errs[i] != nil && (t.wrote || errors.Is(errs[i], gaff.ErrUnavailable) || errors.Is(errs[i], ErrCollision)) {
			return nil, errs[i]
		}
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	if guard != nil {
		if err := guard.Commit(x.conn, nextEvent); err != nil {
			return nil, err
		}
	}
	if err := t.commit(); err != nil {
		return nil, err
	}
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
		x.w.shared.Tell(t.wakes, len(t.changes) > 0)
	}
	return errs, nil
}

// leave makes the connection, where there is none, before any work is taken. While this
// session alone cannot have one, it lets the others have what waits. What waits for no one is
// taken all the same, and told that it cannot be written.
func (x *session) leave() bool {
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
	if time.Since(x.failedAt) < reconnectEvery {
		return x.failure
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
	x.conn, x.failure = conn, nil
	x.connected.Add(1)
	return nil
}

// lose gives the connection up.
func (x *session) lose(err error) {
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
		if errors.Is(cause, gaff.ErrUnavailable) {
			x.lose(cause) // whatever became of it
			return
		}
		ctx, cancel = context.WithTimeout(ctx, time.Second)
	}
	defer cancel()
	_, err := x.conn.ExecContext(ctx, `rollback`)
	// On SQLite the rollback of a transaction that the database ended itself fails; there
	// is nothing to do about it then.
	if err != nil {
		x.lose(err)
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
			if err := t.runLater(); err != nil {
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

// fault marks an error of the database. On a shared one it has ended the transaction,
// whatever the operation makes of it.
func (t *tx) fault(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if t.ctx.Err() != nil {
		err = fmt.Errorf("%w: the database did not answer within %s: %w", gaff.ErrUnavailable, t.w.shared.TxTime, err)
	}
	err = t.w.store.opt.Dialect.Fault(err)
	if t.w.shared != nil {
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
	begun   bool
	wrote   bool // by the current operation; or the transaction is broken
	took    []deliveryKey
	seen    []string // projects that exist once this is committed
	tallies []tally
	// What is written at the end, for all operations at once; see bulk.go.
	accepting []acceptance
	finishing []finishing
	many      bool                  // there are several operations
	later     [len(putOffs)][][]any // what was put off, for each kind
	delayed   bool                  // there are some later ones
	unsent    []Statement           // what travels with the next that is asked
	broken    error                 // what ended it too early
	known     knownJobs
	asking    bool // a query is about what is neither among the later nor the unsent ones
	changes   []change
	wakes     []string // lanes in which something waits now
}

type tally struct {
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

// run calls o, and turns a panic of a caller's function into its error: the writer must
// outlive whatever it is handed.
func (t *tx) run(o *op) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.wrote = true
			err = fmt.Errorf("panic while writing: %v\n%s", p, debug.Stack())
		}
	}()
	return o.run(t)
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

func (t *tx) tally(source string) *tally { return t.tallyOf(source, t.now.Unix()/60) }

func (t *tx) tallyOf(source string, minute int64) *tally {
	for i := range t.tallies {
		if t.tallies[i].source == source && t.tallies[i].minute == minute {
			return &t.tallies[i]
		}
	}
	t.tallies = append(t.tallies, tally{source: source, minute: minute})
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
		tl := t.tally(source)
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
		return t.runLater()
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
	return t.runLater()
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
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}
