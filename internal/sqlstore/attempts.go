package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"gaff"
	"gaff/jobs"
)

func (e *effects) SavePlan(_ context.Context, jobID string, p *jobs.Plan) error {
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the plan of job %s: %w", jobID, err)
	}
	if _, err := e.exec(`insert into job_plan (job_id, plan, since) values ($1, $2, $3)`, jobID, text, micros(e.now)); err != nil {
		return fmt.Errorf("save the plan of job %s: %w", jobID, err)
	}
	return nil
}

func (e *effects) Plan(_ context.Context, jobID string) (*jobs.Plan, error) {
	p, err := scanPlan(func(dest ...any) error {
		return e.row(dest, `select plan, since from job_plan where job_id = $1`, jobID)
	})
	if err != nil {
		return nil, fmt.Errorf("load the plan of job %s: %w", jobID, err)
	}
	return p, nil
}

// scanPlan reads a row of job_plan; nil without one.
func scanPlan(scan func(dest ...any) error) (*jobs.Plan, error) {
	var text []byte
	var since int64
	if err := scan(&text, &since); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		return nil, err
	}
	p := &jobs.Plan{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	p.Since = fromMicros(since)
	return p, nil
}

const attemptColumns = `attempt, provider, model, request_id, error, error_type, cost, charge, currency, charge_state, sent_at, ended_at`

func (e *effects) NextAttempt(ctx context.Context, j *jobs.Job, past jobs.Attempt) error {
	// SaveJob does not write the provider, and a request belongs to one provider.
	e.known.wrote(&jobs.Job{ID: j.ID, Provider: past.Provider, RequestID: past.RequestID})
	for _, write := range []struct {
		text string
		args []any
	}{
		{`insert into job_attempt (job_id, ` + attemptColumns + `) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, []any{
			j.ID, int64(past.N), past.Provider, past.Model, past.RequestID, past.Error, past.ErrorType, past.Cost,
			int64(past.Charge.Amount), past.Charge.Currency, int64(past.Charge.State), nullMicros(past.SentAt), micros(past.EndedAt),
		}},
		{`update job set provider = $2, request_id = '', attempt = $3, reuse_key = '' where id = $1`, []any{j.ID, j.Provider, int64(j.Attempt)}},
		{`update job_plan set since = $2 where job_id = $1`, []any{j.ID, micros(e.now)}},
	} {
		if _, err := e.exec(write.text, write.args...); err != nil {
			return fmt.Errorf("next attempt of job %s: %w", j.ID, err)
		}
	}
	e.charges.change(chargedJob{}, chargeOf(&jobs.Job{
		ProjectID: j.ProjectID, UserID: j.UserID, Caller: j.Caller, Provider: past.Provider, Model: past.Model, CreatedAt: j.CreatedAt, Charge: past.Charge,
	}))
	return e.SaveJob(ctx, j)
}

func (e *effects) JobOfAttempt(_ context.Context, provider, requestID string) (jobID string, err error) {
	err = e.row([]any{&jobID}, `select job_id from job_attempt where provider = $1 and request_id = $2 and request_id <> ''
		order by job_id limit 1`, provider, requestID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("attempt: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("find an attempt: %w", err)
	}
	return jobID, nil
}

// JobPlan returns a job's candidates, nil if it has none, and its former attempts, the oldest first.
func (s *Store) JobPlan(ctx context.Context, jobID string) (*jobs.Plan, []jobs.Attempt, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	p, err := scanPlan(func(dest ...any) error {
		return s.read.QueryRowContext(ctx, `select plan, since from job_plan where job_id = $1`, jobID).Scan(dest...)
	})
	if err != nil || p == nil {
		return nil, nil, s.fault(ctx, "job's plan", err)
	}
	past, err := collect(ctx, s.read, scanAttempt, `select `+attemptColumns+` from job_attempt where job_id = $1 order by attempt`, jobID)
	return p, past, s.fault(ctx, "job's attempts", err)
}

func scanAttempt(rows *sql.Rows) (a jobs.Attempt, err error) {
	var sent sql.NullInt64
	var ended int64
	err = rows.Scan(&a.N, &a.Provider, &a.Model, &a.RequestID, &a.Error, &a.ErrorType, &a.Cost, &a.Charge.Amount, &a.Charge.Currency,
		&a.Charge.State, &sent, &ended)
	a.SentAt, a.EndedAt = fromNull(sent), fromMicros(ended)
	return a, err
}
