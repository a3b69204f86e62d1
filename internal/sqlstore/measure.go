package sqlstore

import (
	"context"
	"database/sql"
	"time"

	"gaff"
)

// ObserveCommits has fn called after each commit with the time that it took, its sync included.
// It is called by the writer and must not block.
func (s *Store) ObserveCommits(fn func(took time.Duration)) { s.committing.Store(&fn) }

// commit commits the transaction and reports how long that took.
func (t *tx) commit() (sent bool, err error) {
	fn := t.s.committing.Load()
	if fn == nil {
		return t.db.commit(t)
	}
	began := time.Now()
	if sent, err = t.db.commit(t); sent && err == nil {
		(*fn)(time.Since(began))
	}
	return sent, err
}

// HeldLeases is how many deliveries this process has claimed and not finished.
func (s *Store) HeldLeases() int { return s.leases.len() }

// DatabaseSize is the size of the database in bytes, without the log of SQLite.
func (s *Store) DatabaseSize(ctx context.Context) (bytes int64, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	text := `select c.page_count * s.page_size from pragma_page_count() c, pragma_page_size() s`
	if s.opt.Dialect.Name == "postgres" {
		text = `select pg_database_size(current_database())`
	}
	err = s.read.QueryRowContext(ctx, text).Scan(&bytes)
	return bytes, s.fault(ctx, "size of the database", err)
}

// QueueDepth is the backlog of a queue.
type QueueDepth struct {
	// Queue is empty for the one that all handlers without their own share.
	Queue   string
	Waiting int64
	// Due is the earliest time at which one of them is due.
	Due time.Time
}

// QueueDepths returns the queues with deliveries that are not done. It counts at most
// gaff.MaxLogCount deliveries in all.
func (s *Store) QueueDepths(ctx context.Context) ([]QueueDepth, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := collect(ctx, s.read, func(rows *sql.Rows) (d QueueDepth, err error) {
		var due int64
		err = rows.Scan(&d.Queue, &d.Waiting, &due)
		d.Due = fromMicros(due)
		return d, err
	}, `select q.lane, count(*), min(q.run_at) from (select lane, run_at from delivery where state < 3 limit $1) q
		group by q.lane order by q.lane`, gaff.MaxLogCount)
	return all, s.fault(ctx, "queues", err)
}

// HandlerQueue is the backlog of a handler.
type HandlerQueue struct {
	Handler string
	// Pending are its deliveries that are not done, Due those of them whose time has come.
	Pending, Due int64
	// OldestDue is when the first of them became due; zero if none is due.
	OldestDue time.Time
}

// HandlerQueues returns the handlers with deliveries that are not done, the most due first. It counts at
// most gaff.MaxLogCount deliveries in all.
func (s *Store) HandlerQueues(ctx context.Context, now time.Time) ([]HandlerQueue, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	all, err := collect(ctx, s.read, func(rows *sql.Rows) (q HandlerQueue, err error) {
		var due int64
		err = rows.Scan(&q.Handler, &q.Pending, &q.Due, &due)
		if q.Due > 0 {
			q.OldestDue = fromMicros(due)
		}
		return q, err
	}, `select q.handler, count(*), sum(case when q.run_at <= $2 then 1 else 0 end) as due, min(q.run_at)
		from (select handler, run_at from delivery where state < 3 limit $1) q
		group by q.handler order by due desc, q.handler`, gaff.MaxLogCount, micros(now))
	return all, s.fault(ctx, "queues", err)
}
