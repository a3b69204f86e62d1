package sqlstore

import (
	"context"
	"database/sql"
	"log/slog"

	"gaff"
	"gaff/jobs"
)

// Reader reads a database that a gateway may be writing to.
type Reader struct{ s *Store }

// NewReader returns a reader over an open database, which Close closes.
func NewReader(db *sql.DB) *Reader {
	o := Options{Dialect: Dialect{Fault: func(err error) error { return err }}, Log: slog.New(slog.DiscardHandler)}
	return &Reader{&Store{read: db, opt: o}}
}

// CheckBodies is the function of that name.
func (r *Reader) CheckBodies(ctx context.Context, progress func(BodyReport) error) (BodyReport, error) {
	return CheckBodies(ctx, r.s.read, progress)
}

// Media returns a page of media rows, newest first.
func (r *Reader) Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error) {
	return r.s.Media(ctx, f)
}

// Close closes the database.
func (r *Reader) Close() error { return r.s.read.Close() }
