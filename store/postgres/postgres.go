// Package postgres opens gaff's store on PostgreSQL 15 or later. Any number of processes may use
// one database: each receives and processes webhooks, and all are equal.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"gaff"
	"gaff/internal/migrate"
	"gaff/internal/sqlstore"
)

// Store is an open store; it is a gaff.Store, a jobs.Store and a jobs.Reader.
type Store = sqlstore.Store

// Options of a store. The zero value works.
type Options struct {
	// Log receives messages for operators, such as migrations. Nil discards them.
	Log *slog.Logger
	// MaxRejections is how many rejected requests are stored. Zero means 10,000.
	MaxRejections int
	// MaxQuarantine bounds the rejected requests that are stored whole, so that they can be
	// rescued, in bytes. Zero means 64 MiB.
	MaxQuarantine int64
	// QuarantineFor is how long they are stored. Zero means 7 days.
	QuarantineFor time.Duration
	// MaxQueuedBytes bounds the bodies that are queued to be written, or being written; more
	// are ErrUnavailable. Zero means 256 MiB.
	MaxQueuedBytes int64
	// Lease is the time after which other processes take over the deliveries of a process that
	// died. It is renewed while a handler runs. Zero means 30 seconds; the minimum is 2.
	Lease time.Duration
	// Readers is how many connections answer queries. Zero means 6. Five more write, and
	// one listens.
	Readers int
	// ReadAddress is that of a read replica, which answers lists and searches while it is at most
	// some seconds behind. Empty: the primary answers them.
	ReadAddress string
	// Exclusive refuses a database that another process with Exclusive has open: each has files
	// that the other does not see.
	Exclusive bool

	skew   time.Duration   // of the database's clock, for tests
	tracer pgx.QueryTracer // of all connections, for tests; may be nil
}

const (
	// connectTime bounds the time to connect.
	connectTime = 2 * time.Second
	// txTime bounds a transaction, including the time to connect, so that no sender waits
	// longer than five seconds.
	txTime = 4 * time.Second

	accepters = 2
	effecters = 2

	minVersion = 150000
)

// Open connects to the database at the address (postgres://…), and migrates its schema. It fails
// if the server is too old, cannot be reached, or the database is not in UTF-8.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	st, err := open(ctx, address, o)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	return st, nil
}

func open(ctx context.Context, address string, o Options) (_ *Store, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Lease <= 0 {
		o.Lease = 30 * time.Second
	}
	o.Lease = max(o.Lease, 2*time.Second)
	if o.Readers <= 0 {
		o.Readers = 6
	}
	cfg, err := parse(address)
	if err != nil {
		return nil, err
	}
	cfg.Tracer = o.tracer
	if err := checkPooler(ctx, cfg); err != nil {
		return nil, explain(err)
	}
	// If a later step fails, the opened pools are closed in reverse.
	var opened []func() error
	defer func() {
		if err != nil {
			for i := len(opened) - 1; i >= 0; i-- {
				_ = opened[i]()
			}
		}
	}()
	writeDB, readDB := pools(cfg, o.Readers)
	opened = append(opened, writeDB.Close, readDB.Close)
	rep, err := openReplica(o.ReadAddress, o.Readers, o.Log)
	if err != nil {
		return nil, fmt.Errorf("read replica: %w", err)
	}
	opened = append(opened, rep.close)
	c := newClock(o.Log)
	if err := prepare(ctx, writeDB, o.Log, c); err != nil {
		return nil, explain(err)
	}
	unlock := func() error { return nil }
	if o.Exclusive {
		lock, err := holdExclusive(ctx, cfg, o.Log)
		if err != nil {
			return nil, explain(err)
		}
		unlock = lock.close
		opened = append(opened, unlock)
	}
	n := newNotifier(cfg, o.Log)
	running, stopClock := context.WithCancel(context.Background())
	var clocks sync.WaitGroup
	st, err := sqlstore.New(ctx, sqlstore.Options{
		Dialect: dialect, Read: readDB, Lists: rep.lists, Log: o.Log, MaxRejections: o.MaxRejections,
		MaxQuarantine: o.MaxQuarantine, QuarantineFor: o.QuarantineFor, MaxQueuedBytes: o.MaxQueuedBytes,
		Database: &sqlstore.PostgreSQL{
			Connect: writeDB.Conn, Commit: commit, Pipeline: pipeline, Lost: lost, Notify: n.notify, NotifyWithin: notifyWithin, Now: func() time.Time { return c.now().Add(o.skew) },
			Accepters: accepters, Effecters: effecters, Lease: o.Lease, TxTime: txTime,
		},
		Compact: func(ctx context.Context, _ *sqlstore.Store, full bool) (sqlstore.Compacted, error) {
			return compact(ctx, readDB, full)
		},
		Close: func() error {
			stopClock()
			clocks.Wait()
			n.close()
			return errors.Join(rep.close(), readDB.Close(), writeDB.Close(), unlock())
		},
	})
	if err != nil {
		stopClock()
		return nil, err
	}
	clocks.Go(func() { c.run(running, readDB) })
	if rep != nil {
		clocks.Go(func() { rep.run(running, readDB) })
	}
	n.notified = st.Notified
	n.start()
	return st, nil
}

// pools returns the connections of the writer and of the readers.
func pools(cfg *pgx.ConnConfig, readers int) (write, read *sql.DB) {
	write = stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(setUp(writerSettings)), stdlib.OptionResetSession(asItIs))
	write.SetMaxIdleConns(0) // a session that connects again needs a new connection
	read = stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(setUp(readerSettings)))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	read.SetConnMaxIdleTime(5 * time.Minute)
	return write, read
}

// Reader opens the database at the address for reading.
func Reader(ctx context.Context, address string) (*sqlstore.Reader, error) {
	cfg, err := parse(address)
	if err != nil {
		return nil, err
	}
	if err := checkPooler(ctx, cfg); err != nil {
		return nil, explain(err)
	}
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(setUp(readerSettings)))
	db.SetMaxOpenConns(2)
	return sqlstore.NewReader(db), nil
}

// writerSettings pin the plans of statements that touch a few rows by their keys: a plan
// that was made while a table was small is reused, and must be good for a large one. A process
// that hangs in a transaction must not lock its rows for long.
const writerSettings = `set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;
	set plan_cache_mode = force_generic_plan; set idle_in_transaction_session_timeout = '10s'; set statement_timeout = '8s';
	select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`

// readerSettings: lists read the ends of indexes, which are in memory. Each query is planned for
// its own values: the best plan for a page differs from that for a day.
const readerSettings = `set jit = off; set plan_cache_mode = force_custom_plan; set work_mem = '32MB'; set random_page_cost = 1.1; set statement_timeout = '15s'; set default_transaction_read_only = on`

func setUp(settings string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		registerTypes(c.TypeMap())
		_, err := c.Exec(ctx, settings)
		return err
	}
}

func asItIs(context.Context, *pgx.Conn) error { return nil }

// prepare checks the server and migrates.
func prepare(ctx context.Context, db *sql.DB, log *slog.Logger, c *clock) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var number int
	var version, encoding, fsync string
	if err := conn.QueryRowContext(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), coalesce(current_setting('fsync', true), 'on')`).Scan(&number, &version, &encoding, &fsync); err != nil {
		return err
	}
	switch {
	case number < minVersion:
		return fmt.Errorf("the server is version %s; 15 or later is needed", version)
	case encoding != "UTF8":
		return fmt.Errorf("the database is in %s; make one with create database gaff encoding 'UTF8' template template0", encoding)
	case fsync != "on":
		log.Warn("the server has fsync = off: acknowledged webhooks are lost if its machine stops")
	}
	if err := c.read(ctx, conn); err != nil {
		return err
	}
	c.compare()
	// A migration may take longer than other writes.
	if _, err := conn.ExecContext(ctx, `set statement_timeout = 0`); err != nil {
		return err
	}
	applied, err := migrate.Run(ctx, conn, "postgres", sqlstore.LogMigrating(log))
	if err != nil {
		return err
	}
	if err := unfinished(ctx, conn); err != nil {
		return err
	}
	sqlstore.LogMigrations(log, applied)
	// After a restore from another server the change log has higher transaction numbers than
	// this server's, which would hide new changes. They are removed; the stream cannot return
	// them any more.
	if _, err := conn.ExecContext(ctx, `delete from change where seq >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint`); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, `set statement_timeout = '8s'`)
	return err
}

// commit commits the transaction. It succeeds only if the server confirms that.
func commit(ctx context.Context, conn *sql.Conn) error {
	return conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		if status := c.PgConn().TxStatus(); status != 'T' {
			return fmt.Errorf("no open transaction to commit (status %c)", status)
		}
		delete(c.PgConn().CustomData(), unreplicated)
		tag, err := c.Exec(ctx, `commit`)
		if err == nil && tag.String() != "COMMIT" {
			err = fmt.Errorf("the server answered %s to a commit", tag)
		}
		if err == nil {
			err = replicated(c.PgConn())
		}
		return err
	})
}

func pipeline(ctx context.Context, conn *sql.Conn, statements []sqlstore.Statement) (changed []int64, err error) {
	err = conn.Raw(func(raw any) error {
		batch := &pgx.Batch{}
		for _, s := range statements {
			batch.Queue(s.Text, s.Args...)
		}
		results := raw.(*stdlib.Conn).Conn().SendBatch(ctx, batch)
		for _, s := range statements {
			n, err := answer(results, s.Scan)
			if err != nil {
				_ = results.Close() // returns the same error
				if _, ok := errors.AsType[*pgconn.PgError](err); ok {
					err = fmt.Errorf("%.40s: %w", s.Text, err)
				}
				return err
			}
			changed = append(changed, n)
		}
		return results.Close()
	})
	return changed, err
}

// answer reads the result of one statement.
func answer(results pgx.BatchResults, scan func(sqlstore.Row) error) (int64, error) {
	if scan == nil {
		tag, err := results.Exec()
		return tag.RowsAffected(), err
	}
	rows, err := results.Query()
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return 0, err
		}
	}
	return rows.CommandTag().RowsAffected(), rows.Err()
}

var dialect = sqlstore.Dialect{
	Name: "postgres", Fault: fault, Snapshot: sql.LevelRepeatableRead,
	// Bodies may be invalid as text; escaped ones are valid.
	Body:    func(column string) string { return `encode(` + column + `, 'escape') collate "C" ilike ? escape '\'` },
	Pattern: func(text string) string { return sqlstore.Like(escape(text)) },
}

// escape returns encode(text, 'escape') of PostgreSQL.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c == 0 || c >= 0x80:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fault classifies errors: ErrCollision and ErrUnavailable may not occur at another attempt, and
// other errors belong to the statement.
func fault(err error) error {
	if err == nil || errors.Is(err, gaff.ErrUnavailable) || errors.Is(err, sqlstore.ErrCollision) || errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, ok := errors.AsType[pgx.ScanArgError](err); ok {
		return err
	}
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		// Without a response of the server the connection failed.
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, explain(err))
	}
	switch pe.Code {
	case "40001", "40P01":
		return fmt.Errorf("%w: %w", sqlstore.ErrCollision, err)
	case "55P03":
		return fmt.Errorf("%w: %w: %w", gaff.ErrUnavailable, sqlstore.ErrLocked, err)
	case "25006", "26000", "42P05", "57014", "XX000":
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, explain(err))
	}
	switch pe.Code[:2] {
	case "08", "28", "3D", "53", "57", "58", "25":
		return fmt.Errorf("%w: %w", gaff.ErrUnavailable, explain(err))
	}
	return err
}

// lost reports whether an error means that the connection was lost: the server did not respond,
// or responded that it closes the connection.
func lost(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return true
	}
	switch pe.Code {
	case "57P01", "57P02", "57P05", "25P03": // shut down, crashed, or idle for longer than allowed
		return true
	}
	return strings.HasPrefix(pe.Code, "08")
}

// explain adds the remedy to errors that have one.
func explain(err error) error {
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	hint := ""
	switch {
	case errors.As(err, &pe):
		switch pe.Code {
		case "53100":
			hint = "the database's disk is full: free some space"
		case "53300":
			hint = "the server has no connection left: raise max_connections, or run fewer nodes (" +
				strconv.Itoa(accepters+effecters+7) + " each)"
		case "25006":
			hint = "the database is read-only: is the address that of a standby?"
		case "26000", "42P05":
			hint = "a prepared statement is missing, or another client's: is a connection pooler in transaction mode in between? gaff needs session mode"
		case "28000", "28P01":
			hint = "the server refuses the user or the password of GAFF_DATABASE_URL"
		case "3D000":
			hint = "the database does not exist: create database NAME encoding 'UTF8' template template0"
		case "42501":
			hint = "the user may not do this: let it own the database"
		}
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		hint = "no host of GAFF_DATABASE_URL accepts writes: is one of them a primary?"
	case errors.As(err, &ce):
		hint = "the server cannot be reached: check GAFF_DATABASE_URL, and that it runs"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%s: %w", hint, err)
}
