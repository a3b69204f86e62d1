package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"gaff"
	"gaff/internal/sqlstore"
)

const (
	// watchEvery is the time between two checks of the files while no transaction is written.
	watchEvery = time.Second
	// freshWAL is the time between two attempts to empty a write-ahead log that failed.
	freshWAL = 250 * time.Millisecond
	// recentEvent is how long the newest event is stored at least: retention does not remove
	// it sooner.
	recentEvent = time.Minute
)

// guard decides, before each commit, whether the commit would survive a restart. It rejects it
// with gaff.ErrUnavailable if the files were moved or replaced, if the database is damaged, or if
// a write or sync of the write-ahead log failed and the log was not emptied since. See
// docs/decisions/0019-damaged-and-moved-files.md.
type guard struct {
	path string
	log  *slog.Logger
	// statements runs queries on the writing connection, between two others.
	statements *native
	files      []watchedFile
	lock       *lockFile
	// wall is this machine's time; jumped is called with the size of a jump.
	wall   func() time.Time
	jumped func(context.Context, time.Duration) error
	jumps  sqlstore.JumpWatch
	// between runs a function on the writing connection while no transaction is open.
	between func(func(*sql.Conn) error) error
	// verify checks the whole database; nil if it is sound.
	verify func(context.Context) error

	mu       sync.Mutex
	moved    error // a file was removed or replaced
	emptied  bool  // the log was copied into the moved file
	failed   error // why the write-ahead log may lack writes
	triedAt  time.Time
	damaged  error // why the database must not be used
	verified bool  // the damage is certain until a restart
	version  int64 // of the data; only other writers change it
	last     int64 // the newest event, and when it was seen first
	lastAt   time.Time

	check      chan struct{}
	quit       context.Context
	stop       context.CancelFunc
	background sync.WaitGroup
}

// watchedFile is a file that the database consists of, as it was opened.
type watchedFile struct {
	path string
	info os.FileInfo
}

// newGuard records which files are open. All of them must exist.
func newGuard(path string, lock *lockFile, statements *native, log *slog.Logger) (*guard, error) {
	g := &guard{path: path, log: log, lock: lock, statements: statements, wall: time.Now, check: make(chan struct{}, 1)}
	g.quit, g.stop = context.WithCancel(context.Background())
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			return nil, fmt.Errorf("read the open database: %w", err)
		}
		g.files = append(g.files, watchedFile{path + suffix, info})
	}
	g.verify = func(ctx context.Context) error {
		if err := g.filesMoved(); err != nil {
			return err // not the file that was opened
		}
		return Check(ctx, path, nil)
	}
	return g, nil
}

func (g *guard) start() {
	g.background.Go(g.watch)
	g.background.Go(g.verifyLoop)
}

func (g *guard) close() {
	g.stop()
	g.background.Wait()
}

// Begin is called on the writing connection before a transaction begins.
func (g *guard) Begin(conn *sql.Conn) error {
	g.mu.Lock()
	damaged, failed := g.damaged, g.failed
	tryNow := failed != nil && time.Since(g.triedAt) >= freshWAL
	if tryNow {
		g.triedAt = time.Now()
	}
	g.mu.Unlock()
	switch {
	case damaged != nil:
		return unavailable(damaged)
	case failed == nil:
		return nil
	case !tryNow:
		return unavailable(notFresh(failed))
	}
	return g.freshen(conn, failed)
}

func notFresh(cause error) error {
	return fmt.Errorf("the write-ahead log is not safe to write to after an error of the disk: %w", cause)
}

// Commit is called before a transaction commits; next is the number that the next event
// had when it began.
func (g *guard) Commit(conn *sql.Conn, next int64) error {
	if err := g.filesMoved(); err != nil {
		g.noteMoved(err)
		return unavailable(err)
	}
	g.noteMoved(nil)
	return g.sameData(conn, next)
}

// sameData detects missing commits. The version of the data, as this connection sees it, changes
// if another process wrote, which it may. It also changes if the index of the write-ahead log (the
// file -shm) lost pages, so that the newest commits are invisible; a commit now would overwrite
// them.
func (g *guard) sameData(conn *sql.Conn, next int64) error {
	var version int64
	scan := func(r sqlstore.Row) error { return r.Scan(&version) }
	if err := g.statements.Each(scan, `pragma data_version`, nil); err != nil {
		return g.fault(err)
	}
	if g.version == 0 {
		g.version = version
	}
	changed := version != g.version
	if next != g.last {
		g.last, g.lastAt = next, time.Now()
	}
	if !changed {
		return nil
	}
	if next > 1 && time.Since(g.lastAt) < recentEvent {
		var there bool
		err := conn.QueryRowContext(context.Background(), `select exists (select 1 from event where seq = $1)`, next-1).Scan(&there)
		if err != nil {
			return g.fault(err)
		}
		if !there {
			err := fmt.Errorf("event number %d was committed and is invisible: the index of the write-ahead log (%s-shm) is damaged; "+
				"restart gaff, which makes it again", next-1, g.path)
			g.block("commits are missing from the database", err, true)
			return unavailable(err)
		}
	}
	g.version = version
	return nil
}

func unavailable(err error) error {
	if errors.Is(err, gaff.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", gaff.ErrUnavailable, err)
}

// filesMoved returns an error if an open file was removed or replaced.
func (g *guard) filesMoved() error {
	for _, f := range g.files {
		info, err := os.Stat(f.path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("%s was removed while gaff has it open: put the data folder back and restart gaff", f.path)
		case err != nil:
			return fmt.Errorf("the open database cannot be found: %w", err)
		case !os.SameFile(info, f.info):
			return fmt.Errorf("%s was replaced by another file while gaff has it open: restart gaff to use the new one", f.path)
		}
	}
	return nil
}

func (g *guard) noteMoved(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err != nil && g.moved == nil:
		g.log.Error("the database file was removed or replaced: webhooks are answered 503 until gaff is restarted", "error", err)
	case err == nil && g.moved != nil:
		g.log.Warn("the database file is back: webhooks are accepted again", "path", g.path)
		g.emptied = false
	}
	g.moved = err
}

// watch checks the files while no transaction is written, and makes the log usable again.
func (g *guard) watch() {
	began := time.Now()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.quit.Done():
			return
		case <-tick.C:
		}
		g.watchClock(began)
		moved := g.filesMoved()
		g.noteMoved(moved)
		if moved == nil {
			if err := g.lock.hold(g.log); errors.Is(err, errInUse) {
				g.block("another process took the lock of the database", err, true)
			}
		}
		g.mu.Lock()
		empty, failed := moved != nil && !g.emptied, g.failed
		g.mu.Unlock()
		if !empty && failed == nil {
			continue
		}
		// After a replacement the log would be applied to the new file at the next start.
		err := g.between(func(conn *sql.Conn) error {
			if empty {
				return emptyLog(conn)
			}
			return g.Begin(conn)
		})
		if empty && err == nil {
			g.mu.Lock()
			g.emptied = true
			g.mu.Unlock()
		}
	}
}

// watchClock detects jumps of the machine's clock, by which due times go.
func (g *guard) watchClock(began time.Time) {
	by := g.jumps.Jump(g.wall(), time.Since(began))
	if by == 0 {
		return
	}
	g.log.Warn("this machine's clock jumped, or the machine was suspended; deliveries wait no longer than before", "by", by.Round(time.Millisecond).String())
	if err := g.jumped(g.quit, by); err != nil && !errors.Is(err, gaff.ErrStopped) && g.quit.Err() == nil {
		g.log.Warn("due times could not be moved", "error", err)
	}
}

// freshen copies all commits into the database file, syncs it, and begins a new write-ahead log.
// cause is why the old log must not be used: after a failed sync the kernel may have dropped
// pages of it, which a later sync would not report.
func (g *guard) freshen(conn *sql.Conn, cause error) error {
	if err := emptyLog(conn); err != nil {
		return unavailable(fmt.Errorf("%w; copy it into the database: %w", notFresh(cause), explain(err)))
	}
	g.mu.Lock()
	g.failed = nil
	g.mu.Unlock()
	g.log.Warn("the disk works again: the write-ahead log was copied into the database and begun again", "after", cause)
	return nil
}

// emptyLog checkpoints the whole write-ahead log and truncates it. It waits for readers, but
// shortly, since senders wait meanwhile.
func emptyLog(conn *sql.Conn) error {
	ctx := context.Background()
	if _, err := conn.ExecContext(ctx, `pragma busy_timeout(200)`); err != nil {
		return err
	}
	defer func() { _, _ = conn.ExecContext(ctx, `pragma busy_timeout(5000)`) }()
	var busy, pages, copied int
	if err := conn.QueryRowContext(ctx, `pragma wal_checkpoint(truncate)`).Scan(&busy, &pages, &copied); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("a reader still needs the write-ahead log (a backup or a replication program)")
	}
	return nil
}

// fault classifies errors of the database, and stops writing after those that make it unsafe.
func (g *guard) fault(err error) error {
	se, ok := errors.AsType[coded](err)
	if !ok {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		g.block("the database is damaged", explain(err), false)
	case sqlite3.SQLITE_IOERR:
		if mayLoseWrites(se.Code()) {
			g.setFailed(err)
		}
	}
	return fault(err)
}

// mayLoseWrites reports whether it is unknown, after an I/O error, which writes are in the file.
func mayLoseWrites(code int) bool {
	switch code {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC,
		sqlite3.SQLITE_IOERR_TRUNCATE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE,
		sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_IOERR_COMMIT_ATOMIC:
		return true
	}
	return false
}

func (g *guard) setFailed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed == nil {
		g.log.Error("the disk failed a write or a sync: webhooks are answered 503 until the write-ahead log is safe again", "error", err)
	}
	g.failed = err
}

// block stops writing. Unless it is final, the database is verified, and written to again if it
// is sound: a failed read of the disk can look like damage.
func (g *guard) block(what string, err error, final bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.damaged != nil && (g.verified || !final) {
		return
	}
	g.log.Error("webhooks are answered 503", "reason", what, "error", err, "verifying", !final)
	g.damaged, g.verified = err, final
	if !final {
		select {
		case g.check <- struct{}{}:
		default:
		}
	}
}

// verifyEvery is the time between two checks of a database without errors.
const verifyEvery = 24 * time.Hour

// verifyAgain is the delay of the next attempt if the database could not be read to its end.
const verifyAgain = 5 * time.Second

// verifyLoop verifies the database at the start, while it is served, after each error that
// looks like damage, and once a day.
func (g *guard) verifyLoop() {
	for {
		err := g.verifiedOnce()
		if g.quit.Err() != nil {
			return
		}
		g.mu.Lock()
		switch {
		case err != nil:
			g.damaged, g.verified = err, true
			g.log.Error(`the database is damaged: webhooks are answered 503; restore a backup, see "Damage" in docs/operations.md`, "error", err)
		case g.damaged != nil && !g.verified:
			g.damaged = nil
			g.log.Warn("the database was verified and is sound: webhooks are accepted again", "path", g.path)
		}
		g.mu.Unlock()
		select {
		case <-g.quit.Done():
			return
		case <-g.check:
		case <-time.After(verifyEvery):
		}
	}
}

// verifiedOnce returns the damage of the database, nil if it is sound. If the database cannot be
// read to its end, it tries again.
func (g *guard) verifiedOnce() error {
	for {
		err := g.verify(g.quit)
		if _, found := errors.AsType[*DamageError](err); err == nil || found {
			return err
		}
		select {
		case <-g.quit.Done():
			return err
		case <-time.After(verifyAgain):
		}
	}
}
