package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/jobs"
)

const recordColumns = `r.kind, r.name, r.value, r.revision, r.updated_at`

func scanRecord(rows *sql.Rows) (r gaff.Record, err error) {
	var at int64
	var value []byte
	err = rows.Scan(&r.Kind, &r.Name, &value, &r.Revision, &at)
	r.Value, r.UpdatedAt = json.RawMessage(value), fromMicros(at)
	return r, err
}

// Records returns all records of a kind, by name.
func (s *Store) Records(ctx context.Context, kind string) ([]gaff.Record, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	rs, err := collect(ctx, s.read, scanRecord, `select `+recordColumns+` from record r where r.kind = $1 order by r.name`, kind)
	return rs, s.fault(ctx, "records", err)
}

// Record returns one record.
func (s *Store) Record(ctx context.Context, kind, name string) (gaff.Record, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	rs, err := collect(ctx, s.read, scanRecord, `select `+recordColumns+` from record r where r.kind = $1 and r.name = $2`, kind, name)
	if err == nil && len(rs) == 0 {
		err = missing(kind, name)
	}
	if err != nil {
		return gaff.Record{}, s.fault(ctx, "record", err)
	}
	return rs[0], nil
}

// RecordsRevision is the number of the newest change to a kind.
func (s *Store) RecordsRevision(ctx context.Context, kind string) (int64, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	revs, err := collect(ctx, s.read, func(rows *sql.Rows) (n int64, err error) { err = rows.Scan(&n); return n, err },
		`select revision from record_revision where kind = $1`, kind)
	if err != nil || len(revs) == 0 {
		return 0, s.fault(ctx, "records", err)
	}
	return revs[0], nil
}

// PutRecord writes a record.
func (s *Store) PutRecord(ctx context.Context, r gaff.Record) (gaff.Record, error) {
	err := s.w.Do(ctx, &op{Run: func(tx *tx) error {
		revision, err := tx.nextRevision(r.Kind)
		if err != nil {
			return err
		}
		var n int64
		switch r.Revision {
		case gaff.NewRecord:
			n, err = tx.exec(`insert into record (kind, name, value, revision, updated_at) values ($1, $2, $3, $4, $5)
				on conflict (kind, name) do nothing`, r.Kind, r.Name, []byte(r.Value), revision, micros(tx.now))
		case gaff.AnyRevision:
			n, err = tx.exec(`insert into record (kind, name, value, revision, updated_at) values ($1, $2, $3, $4, $5)
				on conflict (kind, name) do update set value = excluded.value, revision = excluded.revision,
					updated_at = excluded.updated_at`, r.Kind, r.Name, []byte(r.Value), revision, micros(tx.now))
		default:
			n, err = tx.exec(`update record set value = $3, revision = $4, updated_at = $5
				where kind = $1 and name = $2 and revision = $6`, r.Kind, r.Name, []byte(r.Value), revision, micros(tx.now), r.Revision)
		}
		if err != nil {
			return fmt.Errorf("put %s: %w", r.Kind, err)
		}
		if n == 0 && r.Revision == gaff.NewRecord {
			return fmt.Errorf("%w: there is a %s %q already", gaff.ErrConflict, r.Kind, clip(r.Name, 60))
		}
		if n == 0 {
			return fmt.Errorf("%w: %s %q was changed or deleted meanwhile; read it again", gaff.ErrConflict, r.Kind, clip(r.Name, 60))
		}
		tx.change(r.Kind, r.Name, "saved", "")
		return nil
	}})
	if err != nil {
		return gaff.Record{}, err
	}
	return s.Record(ctx, r.Kind, r.Name)
}

// DeleteRecord removes a record.
func (s *Store) DeleteRecord(ctx context.Context, kind, name string) error {
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		n, err := tx.exec(`delete from record where kind = $1 and name = $2`, kind, name)
		if err != nil {
			return fmt.Errorf("delete %s: %w", kind, err)
		}
		if n == 0 {
			return missing(kind, name)
		}
		tx.change(kind, name, "deleted", "")
		_, err = tx.nextRevision(kind)
		return err
	}})
}

func (t *tx) nextRevision(kind string) (revision int64, err error) {
	err = t.returning([]any{&revision}, `insert into record_revision (kind, revision) values ($1, 1)
		on conflict (kind) do update set revision = record_revision.revision + 1 returning revision`, kind)
	if err != nil {
		return 0, fmt.Errorf("revision of %s: %w", kind, err)
	}
	return revision, nil
}

// QueueCounts counts what waits, and what is dead, in a lane. Each number is at most
// gaff.MaxLogCount+1.
func (s *Store) QueueCounts(ctx context.Context, lane string) (c gaff.QueueCounts, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	count := func(text string, args ...any) (n int64) {
		if err == nil {
			err = s.read.QueryRowContext(ctx, text, args...).Scan(&n)
		}
		return n
	}
	c.Waiting = count(`select count(*) from (select 1 from delivery where state < 3 and lane = $1 limit $2) q`, lane, gaff.MaxLogCount+1)
	c.Held = count(`select count(*) from (select 1 from delivery where state < 3 and lane = $1 and run_at = $2 limit $3) q`,
		lane, int64(never), gaff.MaxLogCount+1)
	c.Dead = count(`select count(*) from (select 1 from delivery where state = 4 and lane = $1 and lane <> '' limit $2) q`,
		lane, gaff.MaxLogCount+1)
	if err == nil {
		var at int64
		err = s.read.QueryRowContext(ctx, `select run_at from delivery where state < 3 and lane = $1 order by run_at limit 1`, lane).Scan(&at)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		} else if at < never {
			c.NextDue = fromMicros(at)
		}
	}
	return c, s.fault(ctx, "lane counts", err)
}

// EventsAfter returns the events that came after one, oldest first, with their payloads.
func (s *Store) EventsAfter(ctx context.Context, after string, limit int) (evs []*gaff.Event, gone bool, err error) {
	seq := int64(0)
	if after != "" {
		var ok bool
		if seq, ok = id.ParseEvent(after); !ok {
			return nil, false, fmt.Errorf("%w: %q is no event's id", gaff.ErrInvalid, clip(after, 60))
		}
	}
	ctx, cancel := s.reading(ctx)
	defer cancel()
	evs, err = collect(ctx, s.read, func(rows *sql.Rows) (*gaff.Event, error) {
		var sc eventScan
		err := rows.Scan(append(sc.columns(), sc.payload()...)...)
		return s.eventOf(&sc), err
	}, `select `+eventColumns+`, `+payloadColumns+` from event e left join payload p on p.seq = e.seq
		where e.seq > $1 order by e.seq limit $2`, seq, limit)
	if err != nil {
		return nil, false, s.fault(ctx, "events after", err)
	}
	if s.db.concurrent() {
		evs = settled(evs, seq, time.Now().Add(-3*s.db.txTime()))
	}
	if seq > 0 && len(evs) > 0 {
		if first, _ := id.ParseEvent(evs[0].ID); first > seq+1 {
			// Numbers are given without gaps by a database that one process owns; elsewhere a
			// gap alone does not tell that something was removed.
			var kept int64
			err = s.read.QueryRowContext(ctx, `select min(seq) from event`).Scan(&kept)
			gone = kept == first
		}
	}
	return evs, gone, s.fault(ctx, "events after", err)
}

// settled cuts a list of events off before a gap in their numbers that may still be filled:
// where several connections write, a later number may be committed first. What came
// before the time is too old for that.
func settled(evs []*gaff.Event, after int64, before time.Time) []*gaff.Event {
	for i, ev := range evs {
		seq, _ := id.ParseEvent(ev.ID)
		if seq > after+1 && after > 0 && ev.ReceivedAt.After(before) {
			return evs[:i]
		}
		after = seq
	}
	return evs
}

// NewestEvent returns the id of the newest event; empty if there is none.
func (s *Store) NewestEvent(ctx context.Context) (string, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var seq, at int64
	err := s.read.QueryRowContext(ctx, `select seq, received_at from event order by seq desc limit 1`).Scan(&seq, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", s.fault(ctx, "newest event", err)
	}
	return id.OfEvent(fromMicros(at), seq), nil
}

// JobCounts counts the jobs of a project by their status; of all jobs if project is empty.
func (s *Store) JobCounts(ctx context.Context, project string) (map[jobs.JobStatus]int64, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	counts := map[jobs.JobStatus]int64{}
	for status := jobs.JobQueued; status <= jobs.JobCancelled; status++ {
		text, args := `select count(*) from (select 1 from job where status = $1 limit $2) q`, []any{int64(status), gaff.MaxLogCount + 1}
		if project != "" {
			text = `select count(*) from (select 1 from job where status = $1 and project_id = $3 and project_id <> '' limit $2) q`
			args = append(args, plain(project))
		}
		var n int64
		if err := s.read.QueryRowContext(ctx, text, args...).Scan(&n); err != nil {
			return nil, s.fault(ctx, "job counts", err)
		}
		counts[status] = n
	}
	return counts, nil
}

// MediaCount counts the files of a project, up to gaff.MaxLogCount+1.
func (s *Store) MediaCount(ctx context.Context, project string) (n int64, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	err = s.read.QueryRowContext(ctx, `select count(*) from (select 1 from media where project_id = $1 and project_id <> '' limit $2) q`,
		plain(project), gaff.MaxLogCount+1).Scan(&n)
	return n, s.fault(ctx, "media count", err)
}
