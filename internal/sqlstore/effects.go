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
	"gaff/workflow/runs"
)

// Write runs fn in one transaction.
func (s *Store) Write(ctx context.Context, fn func(jobs.Tx) error) error {
	return s.writeEffects(ctx, func(e *effects) error { return fn(e) })
}

// WriteRuns is Write for workflows.
func (s *Store) WriteRuns(ctx context.Context, fn func(runs.Tx) error) error {
	return s.writeEffects(ctx, func(e *effects) error { return fn(e) })
}

func (s *Store) writeEffects(ctx context.Context, fn func(*effects) error) error {
	return s.w.Do(ctx, &op{Run: func(t *tx) error { return fn(&effects{t}) }})
}

// Apply runs fn and finishes the delivery as succeeded, in one transaction.
func (s *Store) Apply(ctx context.Context, l gaff.Lease, fn func(jobs.Tx) error) error {
	return s.applyEffects(ctx, l, func(e *effects) error { return fn(e) })
}

// ApplyRuns is Apply for workflows.
func (s *Store) ApplyRuns(ctx context.Context, l gaff.Lease, fn func(runs.Tx) error) error {
	return s.applyEffects(ctx, l, func(e *effects) error { return fn(e) })
}

func (s *Store) applyEffects(ctx context.Context, l gaff.Lease, fn func(*effects) error) error {
	err := s.w.Do(ctx, &op{
		Reads: reads(ctx),
		Run: func(t *tx) error {
			if err := fn(&effects{t}); err != nil {
				return err
			}
			t.finish(l, gaff.Outcome{
				State: gaff.StateSucceeded,
				Attempt: gaff.Attempt{
					Outcome: gaff.AttemptSucceeded, StartedAt: l.StartedAt, Duration: t.now.Sub(l.StartedAt),
				},
			})
			return nil
		},
		Committed: func() { s.leases.end(l) },
	})
	if errors.Is(err, gaff.ErrLeaseLost) {
		_ = s.Release(ctx, []gaff.Lease{l})
	}
	return err
}

// effects is a runs.Tx, and so a jobs.Tx.
type effects struct{ *tx }

func (e *effects) Now() time.Time { return e.localTime(e.now) }

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
	e.accept(newEventRow(ev), ds, nil, new(gaff.Receipt))
	return nil
}

const jobColumns = `j.seq, j.id, j.provider, j.model, j.kind, j.project_id, j.user_id, j.request_id, j.status, j.result,
	j.error, j.error_type, j.settled_by, j.metadata, j.created_at, j.submitted_at, j.settled_at, j.updated_at,
	j.submit, j.sent_at, j.account, j.idempotency_key, j.run_id, j.step_id, j.status_url, j.response_url, j.cancel_url,
	j.webhook_url, j.callback, j.cost, j.next_ask_at, j.asks, j.misses, j.owed_by, j.call_key, j.caller`

type jobScan struct {
	seq                  int64
	j                    jobs.Job
	result, metadata     []byte
	created, updated     int64
	submitted, settledAt sql.NullInt64
	sent, nextAsk        sql.NullInt64
}

func (sc *jobScan) columns() []any {
	return []any{
		&sc.seq, &sc.j.ID, &sc.j.Provider, &sc.j.Model, &sc.j.Kind, &sc.j.ProjectID, &sc.j.UserID, &sc.j.RequestID,
		&sc.j.Status, &sc.result, &sc.j.Error, &sc.j.ErrorType, &sc.j.SettledBy, &sc.metadata,
		&sc.created, &sc.submitted, &sc.settledAt, &sc.updated,
		&sc.j.Submit, &sc.sent, &sc.j.Account, &sc.j.IdempotencyKey, &sc.j.RunID, &sc.j.StepID, &sc.j.StatusURL,
		&sc.j.ResponseURL, &sc.j.CancelURL, &sc.j.WebhookURL, &sc.j.Callback, &sc.j.Cost, &sc.nextAsk, &sc.j.Polls,
		&sc.j.Misses, &sc.j.OwedBy, &sc.j.CallKey, &sc.j.Caller,
	}
}

func (sc *jobScan) job() *jobs.Job {
	j := sc.j
	j.Result, j.Metadata = json.RawMessage(sc.result), json.RawMessage(sc.metadata)
	j.ResultSize = max(j.ResultSize, int64(len(sc.result)))
	j.CreatedAt, j.UpdatedAt = fromMicros(sc.created), fromMicros(sc.updated)
	j.SubmittedAt, j.SettledAt = fromNull(sc.submitted), fromNull(sc.settledAt)
	j.SentAt, j.NextPollAt = fromNull(sc.sent), fromNull(sc.nextAsk)
	return &j
}

func (e *effects) Job(_ context.Context, jobID string) (*jobs.Job, error) {
	return e.jobAt(jobs.JobRef{ID: jobID}, `select `+jobColumns+` from job j where j.id = $1`, jobID)
}

func (e *effects) JobByRequest(_ context.Context, provider, requestID string) (*jobs.Job, error) {
	return e.jobAt(jobs.JobRef{Provider: provider, RequestID: requestID},
		`select `+jobColumns+` from job j where j.provider = $1 and j.request_id = $2 and j.request_id <> ''`, provider, requestID)
}

// jobAt is job, by a name under which it may have been read already.
func (e *effects) jobAt(ref jobs.JobRef, text string, args ...any) (j *jobs.Job, err error) {
	if sc, ok := e.known.read[ref]; ok {
		delete(e.known.read, ref)
		if sc == nil {
			return nil, fmt.Errorf("job: %w", gaff.ErrNotFound)
		}
		j = sc.job()
	} else {
		// What is put off is of other jobs, as a rule, and can stay so.
		e.independent = !e.known.deferred[ref]
		defer func() { e.independent = false }()
		if j, err = e.job(text, args...); err != nil {
			return nil, err
		}
	}
	e.known.seen(j, j.Status.Settled())
	return j, nil
}

func (e *effects) job(text string, args ...any) (*jobs.Job, error) {
	var sc jobScan
	err := e.row(sc.columns(), text+e.db.lock(), args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("job: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("load job: %w", err)
	}
	return sc.job(), nil
}

// What is written of a job again and again; the rest of it stays as it was inserted.
const jobChanging = `model text, kind text, project_id text, user_id text, request_id text, status bigint, result bytea, error text,
	error_type text, settled_by text, metadata bytea, submitted_at bigint, settled_at bigint, updated_at bigint, submit bigint,
	sent_at bigint, account text, run_id text, step_id text, status_url text, response_url text, cancel_url text, webhook_url text,
	callback text, cost text, next_ask_at bigint, asks bigint, misses bigint, owed_by text`

var (
	insertJob = insertNewRows("job", `id text, `+jobChanging+`, provider text, created_at bigint, idempotency_key text, call_key text, caller text`, `on conflict do nothing`)
	// A status goes forward only, and an end is final.
	updateJob = updateRows(`id text, `+jobChanging, `update job set `+setNew(jobChanging)+`
		from new where job.id = new.id and (job.status = new.status or job.status < new.status and job.status < 2)`)
)

func changing(j *jobs.Job) []any {
	return []any{
		j.ID, j.Model, j.Kind, j.ProjectID, j.UserID, j.RequestID, int64(j.Status), nilIfEmpty(j.Result), j.Error,
		j.ErrorType, j.SettledBy, nilIfEmpty(j.Metadata), nullMicros(j.SubmittedAt), nullMicros(j.SettledAt),
		micros(j.UpdatedAt), int64(j.Submit), nullMicros(j.SentAt), j.Account, j.RunID, j.StepID, j.StatusURL,
		j.ResponseURL, j.CancelURL, j.WebhookURL, j.Callback, j.Cost, nullMicros(j.NextPollAt), int64(j.Polls),
		int64(j.Misses), j.OwedBy,
	}
}

func (e *effects) InsertJob(_ context.Context, j *jobs.Job) error {
	if j.CreatedAt.IsZero() {
		j.CreatedAt = e.now
	}
	j.UpdatedAt = e.now
	e.known.wrote(j)
	args := append(changing(j), j.Provider, micros(j.CreatedAt), j.IdempotencyKey, j.CallKey, j.Caller)
	if e.db.deferWrite(e.tx, &insertJob, args) {
		e.known.defers(j)
		e.known.seen(j, false) // what is new has no media
		e.change("job", j.ID, j.Status.String(), j.Provider)
		return e.deferProject(j.ProjectID)
	}
	written, err := e.db.writeOne(e.tx, &insertJob, args)
	if err != nil {
		return fmt.Errorf("insert job %s: %w", j.ID, err)
	}
	if !written {
		return fmt.Errorf("insert job %s: %w: another job has its id, its idempotency key or its request %s", j.ID,
			gaff.ErrConflict, clip(j.RequestID, 60))
	}
	e.change("job", j.ID, j.Status.String(), j.Provider)
	return e.seeProject(j.ProjectID)
}

func (e *effects) SaveJob(_ context.Context, j *jobs.Job) error {
	j.UpdatedAt = e.now
	if j.Status.Settled() {
		j.NextPollAt = time.Time{}
	}
	e.known.wrote(j)
	if e.known.deferred[jobs.JobRef{ID: j.ID}] {
		// One statement changes a row once.
		if err := e.db.flush(e.tx); err != nil {
			return fmt.Errorf("save job %s: %w", j.ID, err)
		}
	}
	args := changing(j)
	if e.db.deferWrite(e.tx, &updateJob, args) {
		e.known.defers(j)
		e.change("job", j.ID, j.Status.String(), j.Provider)
		return e.deferProject(j.ProjectID)
	}
	written, err := e.db.writeOne(e.tx, &updateJob, args)
	if err != nil {
		return fmt.Errorf("save job %s: %w", j.ID, err)
	}
	if !written {
		return fmt.Errorf("%w: job %s cannot go back to %s", gaff.ErrConflict, j.ID, j.Status)
	}
	e.change("job", j.ID, j.Status.String(), j.Provider)
	return e.seeProject(j.ProjectID)
}

var insertMedia = insertNewRows("media", `id text, job_id text, position text, project_id text, url text, stored_url text, media_type text,
	content_type text, size bigint, sha256 text, metadata bytea, created_at bigint, storage bigint, storage_error text, thumbnail text,
	stored_at bigint`, `on conflict (job_id, position) do nothing`)

func (e *effects) AddMedia(_ context.Context, m *jobs.Media) (bool, error) {
	if m.ID == "" {
		m.ID = id.New(id.Media, e.now)
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = e.now
	}
	args := []any{
		m.ID, m.JobID, m.Position, m.ProjectID, m.URL, m.StoredKey, m.MediaType, m.ContentType,
		m.Size, m.SHA256, nilIfEmpty(m.Metadata), micros(m.CreatedAt), int64(m.Storage), m.StorageError,
		m.ThumbnailKey, nullMicros(m.StoredAt),
	}
	if e.known.likelyEmpty(m) && e.db.deferWrite(e.tx, &insertMedia, args) {
		e.known.place(m)
		e.change("media", m.ID, m.MediaType, "")
		return true, nil
	}
	written, err := e.db.writeOne(e.tx, &insertMedia, args)
	if err != nil {
		return false, fmt.Errorf("insert media: %w", err)
	}
	if written {
		e.change("media", m.ID, m.MediaType, "")
	}
	return written, nil
}

func (e *effects) JobByKey(_ context.Context, caller, key string, orNone bool) (*jobs.Job, error) {
	text := `select ` + jobColumns + ` from job j where j.idempotency_key = $1 and j.idempotency_key <> '' and `
	if orNone {
		return e.job(text+`j.caller in ($2, '') order by j.caller desc limit 1`, key, caller)
	}
	return e.job(text+`j.caller = $2`, key, caller)
}

func (e *effects) RemoveJob(_ context.Context, jobID string) error {
	e.known.wrote(&jobs.Job{ID: jobID})
	for _, text := range []string{
		`delete from job_input where job_id = $1`, `delete from job_note where job_id = $1`, `delete from job where id = $1`,
	} {
		if _, err := e.exec(text, jobID); err != nil {
			return fmt.Errorf("remove job %s: %w", jobID, err)
		}
	}
	e.change("job", jobID, "removed", "")
	return nil
}

func (e *effects) JobsByCall(_ context.Context, key string, since time.Time) ([]*jobs.Job, error) {
	found, err := e.jobs(`select `+jobColumns+` from job j where j.call_key = $1 and j.owed_by <> '' and j.created_at >= $2
		order by j.seq limit 100`+e.db.lock(), key, micros(since))
	if err != nil {
		return nil, fmt.Errorf("jobs of a call: %w", err)
	}
	return found, nil
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

// maxNotesOfJob is how long a job's log grows.
const maxNotesOfJob = 100

func (e *effects) AddLogEntry(_ context.Context, jobID, what, text string) error {
	var n int64
	err := e.returning([]any{&n}, `insert into job_note (job_id, n, at, what, text)
		select $1, coalesce(max(n), 0) + 1, $2, $3, $4 from job_note where job_id = $5 returning n`,
		jobID, micros(e.now), what, clip(text, maxErrorText), jobID)
	if err == nil && n > maxNotesOfJob {
		_, err = e.exec(`delete from job_note where job_id = $1 and n <= $2`, jobID, n-maxNotesOfJob)
	}
	if err != nil {
		return fmt.Errorf("note on job %s: %w", jobID, err)
	}
	return nil
}

func (e *effects) DuePolls(_ context.Context, provider string, limit int, until time.Time) ([]*jobs.Job, error) {
	found, err := e.jobs(`select `+jobColumns+` from job j where j.provider = $1 and j.next_ask_at <= $2
		order by j.next_ask_at limit $3`+e.db.lockFree(), provider, micros(e.now), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("due jobs: %w", err)
	}
	var due []*jobs.Job
	for _, j := range found {
		e.known.wrote(j)
		// The condition lets one node have it where several look at the same moment.
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

func (e *effects) jobs(text string, args ...any) (found []*jobs.Job, err error) {
	rows, err := e.query(text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		sc, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, sc.job())
	}
	return found, rows.Err()
}

func (e *effects) NextPoll(_ context.Context, provider string) (time.Time, error) {
	var next sql.NullInt64
	err := e.row([]any{&next}, `select min(next_ask_at) from job where provider = $1 and next_ask_at is not null`, provider)
	if err != nil {
		return time.Time{}, fmt.Errorf("next job to ask after: %w", err)
	}
	return fromNull(next), nil
}

func (e *effects) Durations(_ context.Context, provider, model string) (jobs.Durations, error) {
	w := jobs.Durations{Provider: provider, Model: model}
	err := e.row([]any{&w.N, &w.Mean, &w.Deviation},
		`select n, mean, deviation from job_wait where provider = $1 and model = $2`+e.db.lock(), provider, model)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return w, fmt.Errorf("how long jobs take: %w", err)
	}
	return w, nil
}

func (e *effects) SaveDurations(_ context.Context, w jobs.Durations) error {
	_, err := e.exec(`insert into job_wait (provider, model, n, mean, deviation, updated_at) values ($1, $2, $3, $4, $5, $6)
		on conflict (provider, model) do update set n = excluded.n, mean = excluded.mean, deviation = excluded.deviation,
			updated_at = excluded.updated_at`, w.Provider, w.Model, w.N, w.Mean, w.Deviation, micros(e.now))
	if err != nil {
		return fmt.Errorf("how long jobs take: %w", err)
	}
	return nil
}

func (e *effects) Media(_ context.Context, mediaID string) (*jobs.Media, error) {
	var sc mediaScan
	err := e.row(sc.columns(), `select `+mediaColumns+` from media m where m.id = $1`, mediaID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("media: %w", gaff.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("load media: %w", err)
	}
	return sc.media(), nil
}

func (e *effects) SaveMedia(_ context.Context, m *jobs.Media) error {
	n, err := e.exec(`update media set media_type = $2, content_type = $3, size = $4, sha256 = $5, metadata = $6, stored_url = $7,
			storage = $8, storage_error = $9, thumbnail = $10, stored_at = $11
		where id = $1`,
		m.ID, m.MediaType, m.ContentType, m.Size, m.SHA256, nilIfEmpty(m.Metadata), m.StoredKey, int64(m.Storage), m.StorageError,
		m.ThumbnailKey, nullMicros(m.StoredAt))
	if err != nil {
		return fmt.Errorf("save media %s: %w", m.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("media %s: %w", m.ID, gaff.ErrNotFound)
	}
	e.change("media", m.ID, m.MediaType, "")
	return nil
}

func (e *effects) Setting(_ context.Context, name string) (string, error) {
	var value string
	e.independent = true // none is put off
	defer func() { e.independent = false }()
	err := e.row([]any{&value}, `select value from setting where name = $1`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("setting %s: %w", name, err)
	}
	return value, nil
}

func (e *effects) SetSetting(_ context.Context, name, value string) error {
	_, err := e.exec(`insert into setting (name, value) values ($1, $2)
		on conflict (name) do update set value = excluded.value`, name, value)
	if err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	return nil
}
