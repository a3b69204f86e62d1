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
	"gaff/pipeline"
)

// Write runs fn in one transaction.
func (s *Store) Write(ctx context.Context, fn func(pipeline.Tx) error) error {
	return s.w.do(ctx, &op{kind: opEffect, run: func(tx *tx) error { return fn(&effects{tx}) }})
}

// Apply runs fn and finishes the delivery as succeeded, in one transaction.
func (s *Store) Apply(ctx context.Context, l gaff.Lease, fn func(pipeline.Tx) error) error {
	err := s.w.do(ctx, &op{
		kind: opEffect,
		run: func(tx *tx) error {
			if err := fn(&effects{tx}); err != nil {
				return err
			}
			return tx.finishDelivery(l, gaff.Outcome{
				State: gaff.StateSucceeded,
				Attempt: gaff.Attempt{
					Outcome: gaff.AttemptSucceeded, StartedAt: l.StartedAt, Duration: tx.now.Sub(l.StartedAt),
				},
			})
		},
		committed: func() { s.w.give(l) },
	})
	if errors.Is(err, gaff.ErrLeaseLost) {
		_ = s.Release(ctx, []gaff.Lease{l})
	}
	return err
}

// effects is a pipeline.Tx.
type effects struct{ *tx }

func (e *effects) Now() time.Time { return e.now }

func (e *effects) Emit(_ context.Context, ev *gaff.Event, ds []gaff.Delivery) error {
	if ev.Hop > gaff.MaxHops {
		return gaff.Discard(fmt.Errorf("emit %s:%s: more than %d events caused one another; is there a loop?",
			ev.Source, ev.Type, gaff.MaxHops))
	}
	if ev.ReceivedAt.IsZero() {
		ev.ReceivedAt = e.now
	}
	if ev.DedupeKey == "" {
		ev.DedupeKey = id.New(id.Key, e.now)
	}
	_, err := e.accept(newEventRow(ev), ds, nil)
	return err
}

const jobColumns = `j.seq, j.id, j.provider, j.model, j.kind, j.project_id, j.user_id, j.request_id, j.status, j.result,
	j.error, j.error_type, j.settled_by, j.metadata, j.created_at, j.submitted_at, j.settled_at, j.updated_at`

type jobScan struct {
	seq                  int64
	j                    pipeline.Job
	result, metadata     []byte
	created, updated     int64
	submitted, settledAt sql.NullInt64
}

func (sc *jobScan) columns() []any {
	return []any{
		&sc.seq, &sc.j.ID, &sc.j.Provider, &sc.j.Model, &sc.j.Kind, &sc.j.ProjectID, &sc.j.UserID, &sc.j.RequestID,
		&sc.j.Status, &sc.result, &sc.j.Error, &sc.j.ErrorType, &sc.j.SettledBy, &sc.metadata,
		&sc.created, &sc.submitted, &sc.settledAt, &sc.updated,
	}
}

func (sc *jobScan) job() *pipeline.Job {
	j := sc.j
	j.Result, j.Metadata = json.RawMessage(sc.result), json.RawMessage(sc.metadata)
	j.CreatedAt, j.UpdatedAt = fromMicros(sc.created), fromMicros(sc.updated)
	j.SubmittedAt, j.SettledAt = fromNull(sc.submitted), fromNull(sc.settledAt)
	return &j
}

func (e *effects) Job(_ context.Context, jobID string) (*pipeline.Job, error) {
	return e.job(`select `+jobColumns+` from job j where j.id = $1`, jobID)
}

func (e *effects) JobByRequest(_ context.Context, provider, requestID string) (*pipeline.Job, error) {
	return e.job(`select `+jobColumns+` from job j where j.provider = $1 and j.request_id = $2 and j.request_id <> ''`,
		provider, requestID)
}

func (e *effects) job(text string, args ...any) (*pipeline.Job, error) {
	var sc jobScan
	err := e.row(sc.columns(), text, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("job: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("load job: %w", err)
	}
	return sc.job(), nil
}

func (e *effects) InsertJob(_ context.Context, j *pipeline.Job) error {
	if j.CreatedAt.IsZero() {
		j.CreatedAt = e.now
	}
	j.UpdatedAt = e.now
	n, err := e.exec(`insert into job (id, provider, model, kind, project_id, user_id, request_id, status, result,
			error, error_type, settled_by, metadata, created_at, submitted_at, settled_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		on conflict (provider, request_id) where request_id <> '' do nothing`,
		j.ID, j.Provider, j.Model, j.Kind, j.ProjectID, j.UserID, j.RequestID, int64(j.Status), nilIfEmpty(j.Result),
		j.Error, j.ErrorType, j.SettledBy, nilIfEmpty(j.Metadata), micros(j.CreatedAt), nullMicros(j.SubmittedAt),
		nullMicros(j.SettledAt), micros(j.UpdatedAt))
	if err != nil {
		return fmt.Errorf("insert job %s: %w", j.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("insert job %s: %w: another job has request %s", j.ID, gaff.ErrConflict, clip(j.RequestID, 60))
	}
	e.change("job", j.ID, j.Status.String(), j.Provider)
	return e.seeProject(j.ProjectID)
}

func (e *effects) SaveJob(_ context.Context, j *pipeline.Job) error {
	j.UpdatedAt = e.now
	n, err := e.exec(`update job set model = $2, kind = $3, project_id = $4, user_id = $5, request_id = $6, status = $7,
			result = $8, error = $9, error_type = $10, settled_by = $11, metadata = $12, submitted_at = $13,
			settled_at = $14, updated_at = $15
		where id = $1 and (status = $7 or status < $7 and status < 2)`,
		j.ID, j.Model, j.Kind, j.ProjectID, j.UserID, j.RequestID, int64(j.Status), nilIfEmpty(j.Result), j.Error,
		j.ErrorType, j.SettledBy, nilIfEmpty(j.Metadata), nullMicros(j.SubmittedAt), nullMicros(j.SettledAt),
		micros(j.UpdatedAt))
	if err != nil {
		return fmt.Errorf("save job %s: %w", j.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("%w: job %s cannot go back to %s", gaff.ErrConflict, j.ID, j.Status)
	}
	e.change("job", j.ID, j.Status.String(), j.Provider)
	return e.seeProject(j.ProjectID)
}

func (e *effects) AddMedia(_ context.Context, m *pipeline.Media) (bool, error) {
	if m.ID == "" {
		m.ID = id.New(id.Media, e.now)
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = e.now
	}
	n, err := e.exec(`insert into media (id, job_id, position, project_id, url, stored_url, media_type, content_type,
			size, sha256, metadata, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (job_id, position) do nothing`,
		m.ID, m.JobID, m.Position, m.ProjectID, m.URL, m.StoredURL, m.MediaType, m.ContentType,
		m.Size, m.SHA256, nilIfEmpty(m.Metadata), micros(m.CreatedAt))
	if err != nil {
		return false, fmt.Errorf("insert media: %w", err)
	}
	if n > 0 {
		e.change("media", m.ID, m.MediaType, "")
	}
	return n > 0, nil
}
