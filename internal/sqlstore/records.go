package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"gaff"
	"gaff/internal/excerpt"
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
	for i := range rs {
		if err == nil {
			err = s.openRecord(&rs[i])
		}
	}
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
	if err == nil {
		err = s.openRecord(&rs[0])
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
	value, err := s.seal(isSecretKind(r.Kind), string(r.Value))
	if err != nil {
		return gaff.Record{}, err
	}
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		revision, err := tx.nextRevision(r.Kind)
		if err != nil {
			return err
		}
		var n int64
		switch r.Revision {
		case gaff.NewRecord:
			n, err = tx.exec(`insert into record (kind, name, value, revision, updated_at) values ($1, $2, $3, $4, $5)
				on conflict (kind, name) do nothing`, r.Kind, r.Name, []byte(value), revision, micros(tx.now))
		case gaff.AnyRevision:
			n, err = tx.exec(`insert into record (kind, name, value, revision, updated_at) values ($1, $2, $3, $4, $5)
				on conflict (kind, name) do update set value = excluded.value, revision = excluded.revision,
					updated_at = excluded.updated_at`, r.Kind, r.Name, []byte(value), revision, micros(tx.now))
		default:
			n, err = tx.exec(`update record set value = $3, revision = $4, updated_at = $5
				where kind = $1 and name = $2 and revision = $6`, r.Kind, r.Name, []byte(value), revision, micros(tx.now), r.Revision)
		}
		if err != nil {
			return fmt.Errorf("put %s: %w", r.Kind, err)
		}
		if n == 0 && r.Revision == gaff.NewRecord {
			return fmt.Errorf("%w: a %s %q exists already", gaff.ErrConflict, r.Kind, excerpt.Text(r.Name, 60))
		}
		if n == 0 {
			return fmt.Errorf("%w: %s %q was changed or deleted meanwhile; read it again", gaff.ErrConflict, r.Kind, excerpt.Text(r.Name, 60))
		}
		tx.change(r.Kind, r.Name, "saved", "")
		return tx.addHistory(r, value, revision)
	}})
	if err != nil {
		return gaff.Record{}, err
	}
	return s.Record(ctx, r.Kind, r.Name)
}

// addHistory adds a record's value to its history, and removes the oldest ones over r.History.
func (t *tx) addHistory(r gaff.Record, value string, revision int64) error {
	if r.History < 1 {
		return nil
	}
	if _, err := t.exec(`insert into record_history (kind, name, revision, value, updated_at) values ($1, $2, $3, $4, $5)`,
		r.Kind, r.Name, revision, []byte(value), micros(t.now)); err != nil {
		return fmt.Errorf("history of %s: %w", r.Kind, err)
	}
	_, err := t.exec(`delete from record_history where kind = $1 and name = $2 and revision not in (
		select revision from record_history where kind = $1 and name = $2 order by revision desc limit $3)`, r.Kind, r.Name, r.History)
	if err != nil {
		return fmt.Errorf("history of %s: %w", r.Kind, err)
	}
	return nil
}

// RecordHistory returns the values that a record had, newest first.
func (s *Store) RecordHistory(ctx context.Context, kind, name string) ([]gaff.Record, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	rs, err := collect(ctx, s.read, scanRecord, `select `+recordColumns+` from record_history r where r.kind = $1 and r.name = $2 order by r.revision desc`, kind, name)
	for i := range rs {
		if err == nil {
			err = s.openRecord(&rs[i])
		}
	}
	return rs, s.fault(ctx, "history of records", err)
}

// DeleteRecord removes a record and its history.
func (s *Store) DeleteRecord(ctx context.Context, kind, name string) error {
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		n, err := tx.exec(`delete from record where kind = $1 and name = $2`, kind, name)
		if err != nil {
			return fmt.Errorf("delete %s: %w", kind, err)
		}
		if n == 0 {
			return missing(kind, name)
		}
		if _, err := tx.exec(`delete from record_history where kind = $1 and name = $2`, kind, name); err != nil {
			return fmt.Errorf("history of %s: %w", kind, err)
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
