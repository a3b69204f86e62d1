package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
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
	wait  time.Duration // for the commit; 0 has no bound but the caller's context
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

// writer owns the writing connection.
type writer struct {
	store   *Store
	conn    *sql.Conn
	stmts   map[string]*sql.Stmt
	accepts chan *op
	effects chan *op
	notes   chan *op
	between chan *op

	stopping chan struct{}
	stopped  chan struct{}
	once     sync.Once

	// The rest belongs to the writer's goroutine.

	nextEvent int64
	// taken are the deliveries that this process is working on. On a database that one
	// process owns, a claim need not be written: after a crash nobody works on them.
	// The value is the claim that it was taken under.
	taken map[deliveryKey]int
	// projects are some that exist, so that not every job asks for its own.
	projects map[string]bool

	rejections, changes int64     // since the last pruning
	quarantined         int64     // bytes of the quarantine; -1 if not known yet
	forgot              time.Time // when old ones were last dropped
	// keyUses holds the minute in which a source's key was last written down.
	keyUses map[[2]string]int64
}

func newWriter(ctx context.Context, s *Store, conn *sql.Conn) (*writer, error) {
	w := &writer{
		store: s, conn: conn, stmts: map[string]*sql.Stmt{},
		accepts: make(chan *op, waitingAccepts), effects: make(chan *op, waitingEffects),
		notes: make(chan *op, waitingNotes), between: make(chan *op),
		stopping: make(chan struct{}), stopped: make(chan struct{}),
		taken: map[deliveryKey]int{}, projects: map[string]bool{}, quarantined: -1, keyUses: map[[2]string]int64{},
	}
	err := conn.QueryRowContext(ctx, `select coalesce(max(seq), 0) + 1 from event`).Scan(&w.nextEvent)
	if err != nil {
		return nil, fmt.Errorf("read the newest event: %w", err)
	}
	go w.loop()
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

func (w *writer) loop() {
	defer close(w.stopped)
	defer func() {
		for _, stmt := range w.stmts {
			stmt.Close()
		}
	}()
	batch := make([]*op, 0, maxAccepts+maxEffects+maxNotes)
	for {
		batch = batch[:0]
		select {
		case o := <-w.accepts:
			batch = append(batch, o)
		case o := <-w.effects:
			batch = append(batch, o)
		case o := <-w.notes:
			batch = append(batch, o)
		case o := <-w.between:
			o.answer(o.run(&tx{w: w}))
			continue
		case <-w.stopping:
			// Callers that came before the stop are still served.
			if batch = w.fill(batch); len(batch) == 0 {
				return
			}
			w.commit(batch)
			continue
		}
		w.commit(w.fill(batch))
	}
}

// fill adds what waits already, without lingering: under load a batch forms by itself
// while the former one is being synced.
func (w *writer) fill(batch []*op) []*op {
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
	for count[opAccept] < maxAccepts && bytes < maxAcceptBytes && w.drain(w.accepts, add) {
	}
	for count[opEffect] < maxEffects && w.drain(w.effects, add) {
	}
	for count[opNote] < maxNotes && w.drain(w.notes, add) {
	}
	return batch
}

// drain hands over one operation, if one waits.
func (w *writer) drain(lane chan *op, add func(*op)) bool {
	select {
	case o := <-lane:
		add(o)
		return true
	default:
		return false
	}
}

// commit writes the batch in one transaction. Where one operation fails after it wrote
// something, the whole is rolled back and each is tried in a transaction of its own, so
// that a bad one holds nobody up.
func (w *writer) commit(batch []*op) {
	errs, err := w.transact(batch)
	switch {
	case err == nil:
		for i, o := range batch {
			o.answer(errs[i])
		}
	case len(batch) == 1 || errors.Is(err, gaff.ErrUnavailable):
		for _, o := range batch {
			o.answer(err)
		}
	default:
		for _, o := range batch {
			errs, err := w.transact([]*op{o})
			if err == nil {
				err = errs[0]
			}
			o.answer(err)
		}
	}
}

// transact runs the operations between begin and commit. errs are their own errors, of
// those that failed before they wrote anything; err means that nothing was written.
func (w *writer) transact(batch []*op) (errs []error, err error) {
	tx := &tx{w: w, now: time.Now()}
	if err := w.plain(`begin immediate`); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		for _, key := range tx.took {
			delete(w.taken, key)
		}
		w.nextEvent -= tx.events
		// The rollback of a transaction that the database ended itself fails; there is
		// nothing to do about it then.
		_ = w.plain(`rollback`)
	}()
	errs = make([]error, len(batch))
	for i, o := range batch {
		tx.wrote = false
		if errs[i] = tx.run(o); errs[i] != nil && (tx.wrote || errors.Is(errs[i], gaff.ErrUnavailable)) {
			return nil, errs[i]
		}
	}
	if err := tx.finish(); err != nil {
		return nil, err
	}
	if err := w.plain(`commit`); err != nil {
		return nil, err
	}
	if committed := w.store.opt.Committed; committed != nil {
		committed()
	}
	for i, o := range batch {
		if errs[i] == nil && o.committed != nil {
			o.committed()
		}
	}
	if len(w.projects) > maxProjects {
		clear(w.projects)
	}
	for _, project := range tx.seen {
		w.projects[project] = true
	}
	for _, lane := range tx.wakes {
		w.store.signalWake(lane)
	}
	if len(tx.changes) > 0 {
		w.store.signalChanged()
	}
	return errs, nil
}

func (w *writer) plain(text string) error {
	stmt, err := w.prepare(text)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(context.Background())
	return w.fault(err)
}

func (w *writer) prepare(text string) (*sql.Stmt, error) {
	if stmt := w.stmts[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, w.fault(err)
	}
	w.stmts[text] = stmt
	return stmt, nil
}

func (w *writer) fault(err error) error {
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return w.store.opt.Dialect.Fault(err)
}

// tx is one transaction of the writer.
type tx struct {
	w       *writer
	now     time.Time
	wrote   bool // by the current operation
	took    []deliveryKey
	events  int64
	seen    []string // projects that exist once this is committed
	tallies []tally
	changes []change
	wakes   []string // lanes in which something waits now
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
	stmt, err := t.w.prepare(text)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, t.w.fault(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		t.wrote = true
	}
	return n, err
}

// row scans the only row of a query, or returns sql.ErrNoRows.
func (t *tx) row(dest []any, text string, args ...any) error {
	stmt, err := t.w.prepare(text)
	if err != nil {
		return err
	}
	return t.w.fault(stmt.QueryRowContext(context.Background(), args...).Scan(dest...))
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
	stmt, err := t.w.prepare(text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(context.Background(), args...)
	return rows, t.w.fault(err)
}

func (t *tx) take(key deliveryKey, claim int) {
	t.w.taken[key] = claim
	t.took = append(t.took, key)
}

// wake tells the lane's dispatchers, after the commit, that there is something to claim.
func (t *tx) wake(lane string) {
	if !slices.Contains(t.wakes, lane) {
		t.wakes = append(t.wakes, lane)
	}
}

func (t *tx) tally(source string) *tally {
	minute := t.now.Unix() / 60
	for i := range t.tallies {
		if t.tallies[i].source == source {
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
	for _, tl := range t.tallies {
		if _, err := t.exec(`insert into tally (source, minute, received, pending, success, error, rejected, first_seq, last_seq)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			on conflict (source, minute, shard) do update set
				received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
				success = tally.success + excluded.success, error = tally.error + excluded.error,
				rejected = tally.rejected + excluded.rejected,
				first_seq = coalesce(tally.first_seq, excluded.first_seq), last_seq = coalesce(excluded.last_seq, tally.last_seq)`,
			tl.source, tl.minute, tl.received, tl.status[0], tl.status[1], tl.status[2], tl.rejected,
			nullZero(tl.first), nullZero(tl.last)); err != nil {
			return fmt.Errorf("tally: %w", err)
		}
	}
	if len(t.changes) == 0 {
		return nil
	}
	items, err := json.Marshal(t.changes)
	if err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if _, err := t.exec(`insert into change (at, items) values ($1, $2)`, micros(t.now), items); err != nil {
		return fmt.Errorf("change log: %w", err)
	}
	if t.w.changes++; t.w.changes >= int64(t.w.store.opt.MaxChanges)/20 {
		t.w.changes = 0
		if _, err := t.exec(`delete from change where seq <= (select max(seq) from change) - $1`,
			t.w.store.opt.MaxChanges); err != nil {
			return fmt.Errorf("change log: %w", err)
		}
	}
	return nil
}
