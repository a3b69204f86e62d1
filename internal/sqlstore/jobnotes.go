package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gaff/internal/excerpt"
	"gaff/jobs"
)

// maxNotesOfJob bounds the entries of a job's log.
const maxNotesOfJob = 100

func (e *effects) AddLogEntry(_ context.Context, jobID, what, text string) error {
	var n int64
	err := e.returning([]any{&n}, `insert into job_note (job_id, n, at, what, text)
		select $1, coalesce(max(n), 0) + 1, $2, $3, $4 from job_note where job_id = $5 returning n`,
		jobID, micros(e.now), what, excerpt.Text(text, maxErrorText), jobID)
	if err == nil && n > maxNotesOfJob {
		_, err = e.exec(`delete from job_note where job_id = $1 and n <= $2`, jobID, n-maxNotesOfJob)
	}
	if err != nil {
		return fmt.Errorf("note on job %s: %w", jobID, err)
	}
	return nil
}

// JobLog returns a job's log, oldest first.
func (s *Store) JobLog(ctx context.Context, jobID string) ([]jobs.LogEntry, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	notes, err := collect(ctx, s.read, func(rows *sql.Rows) (n jobs.LogEntry, err error) {
		var at int64
		err = rows.Scan(&at, &n.What, &n.Text)
		n.At = fromMicros(at)
		return n, err
	}, `select at, what, text from job_note where job_id = $1 order by n`, jobID)
	return notes, s.fault(ctx, "job's log", err)
}

func (e *effects) Input(_ context.Context, jobID string) (json.RawMessage, error) {
	var input []byte
	err := e.row([]any{&input}, `select input from job_input where job_id = $1`, jobID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load input: %w", err)
	}
	return input, nil
}

func (e *effects) SaveInput(_ context.Context, jobID string, input json.RawMessage) error {
	_, err := e.exec(`insert into job_input (job_id, input) values ($1, $2)
		on conflict (job_id) do update set input = excluded.input`, jobID, []byte(input))
	if err != nil {
		return fmt.Errorf("save input: %w", err)
	}
	return nil
}

// JobInput returns the input that a job was submitted with; nil if it is not stored.
func (s *Store) JobInput(ctx context.Context, jobID string) (json.RawMessage, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	inputs, err := collect(ctx, s.read, func(rows *sql.Rows) (input []byte, err error) {
		return input, rows.Scan(&input)
	}, `select input from job_input where job_id = $1`, jobID)
	if err != nil || len(inputs) == 0 {
		return nil, s.fault(ctx, "job's input", err)
	}
	return inputs[0], nil
}
