package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/writer"
)

// PostgreSQL is a database that several connections of several processes write to. Every
// statement costs a round trip, so a transaction sends as few batches of them as it can.
type PostgreSQL struct {
	// Connect opens a connection for writing, within the context's time.
	Connect func(context.Context) (*sql.Conn, error)
	// Commit ends the open transaction. Nil means that the server confirmed the commit.
	Commit func(context.Context, *sql.Conn) error
	// Pipeline sends statements in one batch, and returns how many rows each changed or
	// returned.
	Pipeline func(context.Context, *sql.Conn, []Statement) ([]int64, error)
	// Lost reports whether an error means that the connection was lost, rather than that the
	// server rejected something: on a new connection the same may work.
	Lost func(error) bool
	// Notify notifies other processes of the queues in which deliveries are due, and of
	// whether anything changed. It must not block.
	Notify func(queues []string, changed bool)
	// NotifyWithin has a transaction notify all processes, this one too, when it is committed.
	NotifyWithin func(queues []string, exec func(text string, args ...any) error) error
	// Accepters and Effecters are the numbers of connections that store webhooks, and that
	// write everything else.
	Accepters, Effecters int
	// Lease is how long a claim is valid without being renewed.
	Lease time.Duration
	// Now is the database's time, as far as this process knows it.
	Now func() time.Time
	// TxTime is the longest time of a transaction.
	TxTime time.Duration
}

var _ Database = (*PostgreSQL)(nil)

// Statement is a statement with its arguments.
type Statement struct {
	Text string
	Args []any
	// Scan, if not nil, is called for each row of the result.
	Scan func(Row) error
}

// postgresConn is a connection of the writer, which connects again if it is lost.
type postgresConn struct {
	*conn
	d *PostgreSQL
}

func (c postgresConn) Connect(ctx context.Context) error {
	db, err := c.d.Connect(ctx)
	if err == nil && c.shard == 0 {
		if err = db.QueryRowContext(ctx, `select nextval('shard_seq')`).Scan(&c.shard); err != nil {
			discard(db)
		}
	}
	if err != nil {
		return c.s.opt.Dialect.Fault(err)
	}
	c.db = db
	return nil
}

func (c postgresConn) Connected() bool     { return c.db != nil }
func (c postgresConn) Lost(err error) bool { return c.d.Lost(err) }

func (c postgresConn) Ping(ctx context.Context) {
	if err := c.db.PingContext(ctx); err != nil {
		c.drop(err)
	}
}

func (c postgresConn) Close() {
	if c.db != nil {
		_ = c.db.Close()
	}
}

func (d *PostgreSQL) connections(_ context.Context, s *Store) (o writer.Options[*tx], err error) {
	o.TxTime = d.TxTime
	for range d.Accepters {
		o.Accepters = append(o.Accepters, postgresConn{newConn(s), d})
	}
	for range d.Effecters {
		o.Effecters = append(o.Effecters, postgresConn{newConn(s), d})
	}
	return o, nil
}

func (*PostgreSQL) concurrent() bool                       { return true }
func (d *PostgreSQL) txTime() time.Duration                { return d.TxTime }
func (d *PostgreSQL) notify(queues []string, changed bool) { d.Notify(queues, changed) }

// horizon: a row may be committed after one with a higher number. A row's number is its
// transaction's, so all rows below the lowest open transaction can be read.
func (d *PostgreSQL) horizon(ctx context.Context, s *Store) (horizon int64, err error) {
	if err := s.read.QueryRowContext(ctx, `select pg_snapshot_xmin(pg_current_snapshot())::text::bigint`).Scan(&horizon); err != nil {
		return 0, err
	}
	// Transactions of gaff take no longer than this: an older one that is still open is another
	// program's, and must not stop the stream.
	old := micros(d.Now().Add(-3 * d.TxTime))
	var passed, newest sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `select (select max(seq) from change where seq >= $1 and at < $2),
		(select max(seq) from change where seq >= $1)`, horizon, old).Scan(&passed, &newest); err != nil {
		return 0, err
	}
	horizon = max(horizon, passed.Int64+1)
	if newest.Int64 >= horizon && s.rereading.CompareAndSwap(false, true) {
		// It will be readable in a moment, and no other commit may follow to notify readers.
		time.AfterFunc(rereadAfter, func() {
			s.rereading.Store(false)
			s.signalChanged()
		})
	}
	return horizon, nil
}

// rereadAfter is when readers are notified of a change that was committed and could not be
// read yet.
const rereadAfter = 20 * time.Millisecond

// probe: a transaction that has a number is synced, even if it writes nothing. So processes do
// not wait for a lock of each other.
func (*PostgreSQL) probe(s *Store) *op {
	return &op{Kind: writer.Accept, Wait: s.opt.AcceptWait, Run: func(t *tx) error {
		var number int64
		return t.row([]any{&number}, `select pg_current_xact_id()::text::bigint`)
	}}
}

func (d *PostgreSQL) foldCounters(ctx context.Context, s *Store) error {
	for {
		var folded int64
		err := s.w.Do(ctx, &op{Run: func(t *tx) (err error) {
			folded, err = d.foldSome(t)
			return err
		}})
		if err != nil {
			return fmt.Errorf("fold counters: %w", err)
		}
		if folded == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(prunePause):
		}
	}
}

// foldSome makes one row of the counters of several connections, minute by minute: no
// connection of a process that has ended would do it.
func (d *PostgreSQL) foldSome(t *tx) (folded int64, err error) {
	if locked, err := d.tryLock(t, pruneLock); err != nil || !locked {
		return 0, err
	}
	var minutes []int64
	if err := t.each(func(rows Row) error {
		var minute int64
		err := rows.Scan(&minute)
		minutes = append(minutes, minute)
		return err
	}, `select distinct minute from tally where shard <> 0 and minute < $1 limit $2`,
		t.now.Add(-foldAfter).Unix()/60, pruneBatch); err != nil || len(minutes) == 0 {
		return 0, err
	}
	return t.exec(`with gone as (delete from tally where minute = any($1::bigint[]) and shard <> 0 returning *)
		insert into tally (source, minute, shard, received, pending, success, error, rejected, first_seq, last_seq)
		select source, minute, 0, sum(received), sum(pending), sum(success), sum(error), sum(rejected), min(first_seq), max(last_seq)
		from gone group by source, minute
		on conflict (source, minute, shard) do update set
			received = tally.received + excluded.received, pending = tally.pending + excluded.pending,
			success = tally.success + excluded.success, error = tally.error + excluded.error,
			rejected = tally.rejected + excluded.rejected,
			first_seq = least(tally.first_seq, excluded.first_seq), last_seq = greatest(tally.last_seq, excluded.last_seq)`, minutes)
}

// foldAfter is the age from which the counters of several connections become one row.
const foldAfter = 48 * time.Hour

// Transactions.

// begin only sets the clock: the first batch of statements opens the transaction.
func (d *PostgreSQL) begin(t *tx) error {
	t.startClock(d.Now())
	return nil
}

func (d *PostgreSQL) commit(t *tx) (sent bool, err error) {
	if !t.begun { // nothing was written
		return false, nil
	}
	return true, t.fault(d.Commit(t.ctx, t.x.db))
}

func (*PostgreSQL) rollback(t *tx) {
	if !t.begun {
		return
	}
	if errors.Is(t.broken, gaff.ErrUnavailable) {
		t.x.drop(t.broken) // its state is unknown
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := t.x.db.ExecContext(ctx, `rollback`); err != nil {
		t.x.drop(err)
	}
}

// unprepared is a statement that the driver prepares.
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

// prepare sends the deferred rows first, unless the statement concerns none of them.
func (d *PostgreSQL) prepare(t *tx, text string) (statement, error) {
	if t.broken != nil {
		return nil, t.broken
	}
	if !t.independent {
		if err := d.flush(t); err != nil {
			return nil, err
		}
	}
	if !t.begun {
		if _, err := d.send(t); err != nil {
			return nil, err
		}
	}
	return unprepared{t.x.db, text}, nil
}

func (*PostgreSQL) exec(t *tx, text string, args []any) (int64, error) {
	return execPrepared(t, text, args)
}

func (*PostgreSQL) each(t *tx, scan func(Row) error, text string, args []any) error {
	return eachPrepared(t, scan, text, args)
}

func (d *PostgreSQL) fault(t *tx, err error) (classified error, ends bool) {
	if t.ctx.Err() != nil {
		err = fmt.Errorf("%w: the database did not respond within %s: %w", gaff.ErrUnavailable, d.TxTime, err)
	}
	classified = t.s.opt.Dialect.Fault(err)
	if t.impatient && errors.Is(classified, ErrLocked) {
		return fmt.Errorf("%w: %w", ErrCollision, err), true // the connection is sound
	}
	return classified, true
}

func (*PostgreSQL) lock() string     { return " for update" }
func (*PostgreSQL) lockFree() string { return " for update skip locked" }

func (*PostgreSQL) lockText(t *tx, text string) error {
	_, err := t.exec(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, text)
	return err
}

func (*PostgreSQL) shareText(t *tx, text string) error {
	_, err := t.exec(`select pg_advisory_xact_lock_shared(hashtextextended($1, 0))`, text)
	return err
}

func (*PostgreSQL) tryLock(t *tx, text string) (locked bool, err error) {
	err = t.row([]any{&locked}, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`, text)
	return locked, err
}
