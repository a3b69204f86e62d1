package sqlstore

import (
	"context"
	"time"

	"gaff"
	"gaff/internal/writer"
)

// Database is SQLite or PostgreSQL: everything that the two do differently. All other files
// hold rules that are the same for both.
type Database interface {
	batches
	claims
	transactions

	// connections returns the writer's connections.
	connections(ctx context.Context, s *Store) (writer.Options[*tx], error)
	// start begins the work beside the writer's; stop ends it before the writer is stopped.
	start(s *Store)
	stop(s *Store)
	// concurrent reports whether other connections and other processes write too.
	concurrent() bool
	// txTime is the longest time of a transaction; 0 if it has no bound.
	txTime() time.Duration
	// notify passes a commit on to other processes.
	notify(queues []string, changed bool)
	// horizon returns a number above all rows of the change log that can be read without
	// missing one.
	horizon(ctx context.Context, s *Store) (int64, error)
	// probe returns an operation that waits for a sync of the disk.
	probe(s *Store) *op
	// foldCounters joins the counters that several connections wrote.
	foldCounters(ctx context.Context, s *Store) error
}

// batches write the rows of all operations of a transaction. Another way to write a batch is a
// change of one implementation.
type batches interface {
	// insertEvents inserts rows of insertEvent, unless an event of the same source and key is
	// stored. It returns the number of each row's event, 0 if that was not inserted. The rows
	// come in the order of locks; their first column is their place, from 1 to total, in the
	// order of numbers.
	insertEvents(t *tx, rows [][]any, total int) (seqs []int64, err error)
	// keyed returns the condition that e is the event of a source and key, and its arguments.
	keyed(t *tx, source, dedupe string) (condition string, args []any, err error)
	// forgetKey is called before an event is deleted.
	forgetKey(t *tx, seq int64) error
	// write writes rows. An error may be reported by a later call, at the latest by flush.
	write(t *tx, s *rowSQL, rows [][]any) error
	// writeReturning writes rows now, and calls scan for each row that was written.
	writeReturning(t *tx, s *rowSQL, rows [][]any, scan func(placedRow) error) error
	// writeOne writes a row now, and reports whether it was written.
	writeOne(t *tx, s *rowSQL, row []any) (bool, error)
	// deferWrite keeps a row for one statement with others, to be sent before the next query
	// that may read it. It reports false if the row must be written now. A deferred row is
	// expected to be written; if it is not, the transaction fails.
	deferWrite(t *tx, s *rowSQL, row []any) bool
	// writeChange appends an entry to the change log.
	writeChange(t *tx, items []byte) error
	// flush writes deferred rows, and reports errors of earlier calls of write.
	flush(t *tx) error
	// readJobs reads and locks the jobs that operations are known to read.
	readJobs(t *tx, refs []any) error
}

// claims are the leases of deliveries.
type claims interface {
	// lease is how long a claim is valid without being renewed; 0 if claims are not stored.
	lease() time.Duration
	// nextDue returns when the next unclaimed delivery of a queue is due; 0 without one.
	nextDue(t *tx, queue string) (int64, error)
	// claimAtOnce is how many deliveries one operation claims at most.
	claimAtOnce() int
	// claimDue claims deliveries of a queue that are due, oldest first.
	claimDue(t *tx, p gaff.ClaimParams) ([]deliveryScan, error)
	// loadEvents reads the events of deliveries, by number.
	loadEvents(t *tx, found []deliveryScan) (map[int64]*gaff.Event, error)
	// release ends leases, so that others can claim the deliveries.
	release(t *tx, ls []gaff.Lease) error
	// claimed is the SQL condition that delivery d is claimed, and its argument; isClaimed is
	// the same for a row.
	claimed(s *Store) (condition string, arg any)
	isClaimed(s *Store, sc *deliveryScan) bool
}

// transactions begin, run statements and end.
type transactions interface {
	begin(t *tx) error
	commit(t *tx) (sent bool, err error)
	rollback(t *tx)
	// exec runs a statement, and returns the number of rows that it changed.
	exec(t *tx, text string, args []any) (int64, error)
	// each calls scan for each row of a query, until it returns an error, which each returns.
	each(t *tx, scan func(Row) error, text string, args []any) error
	// prepare makes the transaction ready for a query whose rows are read one by one.
	prepare(t *tx, text string) (statement, error)
	// fault classifies an error of a statement, and reports whether it ends the transaction.
	fault(t *tx, err error) (classified error, ends bool)
	// lock ends a query whose rows are about to be written: concurrent transactions wait.
	// lockFree does the same, and leaves out rows that others have locked.
	lock() string
	lockFree() string
	// lockText locks a text until the transaction ends. tryLock reports false if a concurrent
	// transaction has locked it.
	lockText(t *tx, text string) error
	// shareText locks a text for transactions that call lockText, not for others that call shareText.
	shareText(t *tx, text string) error
	tryLock(t *tx, text string) (bool, error)
}
