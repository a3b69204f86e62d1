package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gaff/jobs"
)

func (e *effects) DuePolls(_ context.Context, provider string, limit int, until time.Time) ([]*jobs.Job, error) {
	found, err := e.jobs(`select `+jobColumns+` from job j where j.provider = $1 and j.next_ask_at <= $2
		order by j.next_ask_at limit $3`+e.db.lockFree(), provider, micros(e.now), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("due jobs: %w", err)
	}
	var due []*jobs.Job
	for _, j := range found {
		e.known.wrote(j)
		// The condition gives the job to one node if several read it at the same moment.
		n, err := e.exec(`update job set next_ask_at = $2 where id = $1 and next_ask_at = $3`,
			j.ID, micros(until), micros(j.NextPollAt))
		if err != nil {
			return nil, fmt.Errorf("due jobs: %w", err)
		}
		if n == 1 {
			j.NextPollAt = until
			due = append(due, j)
		}
	}
	return due, nil
}

func (e *effects) KeepPoll(_ context.Context, jobID string, from, to time.Time) (bool, error) {
	n, err := e.exec(`update job set next_ask_at = $3 where id = $1 and next_ask_at = $2`, jobID, micros(from), micros(to))
	if err != nil {
		return false, fmt.Errorf("keep the poll of job %s: %w", jobID, err)
	}
	return n == 1, nil
}

func (e *effects) NextPoll(_ context.Context, provider string) (time.Time, error) {
	var next sql.NullInt64
	err := e.row([]any{&next}, `select min(next_ask_at) from job where provider = $1 and next_ask_at is not null`, provider)
	if err != nil {
		return time.Time{}, fmt.Errorf("next poll: %w", err)
	}
	return fromNull(next), nil
}

func (e *effects) Durations(_ context.Context, provider, model string) (jobs.Durations, error) {
	w := jobs.Durations{Provider: provider, Model: model}
	err := e.row([]any{&w.N, &w.Mean, &w.Deviation},
		`select n, mean, deviation from job_wait where provider = $1 and model = $2`+e.db.lock(), provider, model)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return w, fmt.Errorf("durations of jobs: %w", err)
	}
	return w, nil
}

func (e *effects) SaveDurations(_ context.Context, w jobs.Durations) error {
	_, err := e.exec(`insert into job_wait (provider, model, n, mean, deviation, updated_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (provider, model) do update set n = excluded.n, mean = excluded.mean, deviation = excluded.deviation,
			updated_at = excluded.updated_at`, w.Provider, w.Model, w.N, w.Mean, w.Deviation, micros(e.now))
	if err != nil {
		return fmt.Errorf("durations of jobs: %w", err)
	}
	return nil
}

// Durations returns how long jobs take, by model, of the thousand models updated last.
func (s *Store) Durations(ctx context.Context) ([]jobs.Durations, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ws, err := collect(ctx, s.read, func(rows *sql.Rows) (w jobs.Durations, err error) {
		err = rows.Scan(&w.Provider, &w.Model, &w.N, &w.Mean, &w.Deviation)
		return w, err
	}, `select provider, model, n, mean, deviation from job_wait order by updated_at desc limit 1000`)
	return ws, s.fault(ctx, "durations of jobs", err)
}
