package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/jobs"
)

// Job returns one job.
func (s *Store) Job(ctx context.Context, jobID string) (*jobs.Job, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	js, err := collect(ctx, s.read, scanJob, `select `+jobColumns+` from job j where j.id = $1`, jobID)
	if err == nil && len(js) == 0 {
		err = missing("job", jobID)
	}
	if err != nil {
		return nil, s.fault(ctx, "job", err)
	}
	return js[0].job(), nil
}

func scanJob(rows *sql.Rows) (*jobScan, error) {
	sc := &jobScan{}
	return sc, rows.Scan(sc.columns()...)
}

// listedJobColumns leave out long results: a page of results of megabytes would not fit into
// memory.
var listedJobColumns = strings.Replace(jobColumns, "j.result,",
	"case when length(j.result) <= "+strconv.Itoa(jobs.MaxListed)+" then j.result end,", 1) + `, coalesce(length(j.result), 0)`

func scanListedJob(rows *sql.Rows) (*jobScan, error) {
	sc := &jobScan{}
	return sc, rows.Scan(append(sc.columns(), &sc.j.ResultSize)...)
}

// requestedProviders selects the providers of all jobs with a request id, each by one step in the
// index of request ids.
const requestedProviders = `with recursive p(name) as (
	select (select min(provider) from job where request_id <> '')
	union all select (select min(provider) from job where request_id <> '' and provider > p.name) from p where p.name is not null)
	select name from p where name is not null`

// Jobs returns a page of jobs, newest first. Long results are left out.
func (s *Store) Jobs(ctx context.Context, f jobs.JobFilter) (page gaff.Page[jobs.Job], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("j.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "jobs", err)
	}
	for _, eq := range []struct{ column, value string }{
		{"j.provider", f.Provider}, {"j.project_id", f.ProjectID}, {"j.user_id", f.UserID}, {"j.request_id", f.RequestID}, {"j.model", f.Model},
	} {
		if eq.value != "" {
			w.add(eq.column+" = ?", eq.value)
			if eq.column == "j.project_id" || eq.column == "j.request_id" {
				w.add(eq.column + " <> ''") // names the partial index
			}
		}
	}
	order := "j.seq"
	if f.RequestID != "" && f.Provider == "" {
		// The index begins with the provider. The plus keeps SQLite from scanning all jobs in their
		// order.
		w.add("j.provider in (" + requestedProviders + ")")
		order = "+j.seq"
	}
	if f.Held {
		w.add("j.submit = " + strconv.Itoa(int(jobs.SubmitHeld))) // names the partial index
	}
	if f.Status != nil {
		w.add("j.status = ?", int64(*f.Status))
	}
	if f.Unfinished {
		w.add("j.status < ?", int64(jobs.JobCompleted))
	}
	if f.ErrorType == jobs.NoErrorType {
		w.add("j.error_type = '' and j.status = ?", int64(jobs.JobFailed))
	} else if f.ErrorType != "" {
		w.add("j.error_type = ?", f.ErrorType)
	}
	w.between("j.created_at", f.Since, f.Until)
	rest, err := s.searchJobs(ctx, &w, f)
	if err != nil {
		return page, s.fault(ctx, "jobs", err)
	}
	js, err := collect(ctx, s.lists(ctx), scanListedJob, `select `+listedJobColumns+` from job j`+w.String()+
		` order by `+order+` desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "jobs", err)
	}
	js, page.Next = next(js, limit, func(sc *jobScan) int64 { return sc.seq })
	if page.Next == "" && rest > 0 {
		page.Next = writeCursor(rest)
	}
	for _, sc := range js {
		page.Items = append(page.Items, *sc.job())
	}
	return page, nil
}

// searchJobs restricts a page to jobs with a text, among the newest gaff.SearchWindow. rest is the
// number before which no job is examined, zero if all are.
func (s *Store) searchJobs(ctx context.Context, w *where, f jobs.JobFilter) (rest int64, err error) {
	if f.Query == "" {
		return 0, nil
	}
	before := int64(1) << 62
	if f.After != "" {
		if before, err = readCursor(f.After); err != nil {
			return 0, err
		}
	}
	var first, last sql.NullInt64
	err = s.lists(ctx).QueryRowContext(ctx, `select (select seq from job order by seq limit 1), (select seq from job where seq < $1 order by seq desc limit 1)`, before).
		Scan(&first, &last)
	if err != nil {
		return 0, err
	}
	from := last.Int64 - gaff.SearchWindow + 1
	text := contains(plain(f.Query))
	w.add("j.seq >= ?", from)
	w.add(`(lower(j.model) like lower(?) escape '\' or exists (select 1 from job_input i where i.job_id = j.id and `+s.opt.Dialect.Body("i.input")+`))`, text, s.opt.Dialect.Pattern(f.Query))
	if from <= first.Int64 {
		return 0, nil
	}
	return from, nil
}

const jobColumns = `j.seq, j.id, j.provider, j.model, j.kind, j.project_id, j.user_id, j.request_id, j.status, j.result,
	j.error, j.error_type, j.settled_by, j.metadata, j.created_at, j.submitted_at, j.settled_at, j.updated_at,
	j.submit, j.sent_at, j.account, j.idempotency_key, j.run_id, j.step_id, j.status_url, j.response_url, j.cancel_url,
	j.webhook_url, j.callback, j.cost, j.next_ask_at, j.asks, j.misses, j.owed_by, j.call_key, j.caller, j.charge, j.currency, j.charge_state, j.attempt, j.reused_from, j.saved, j.priority`

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
		&sc.j.Misses, &sc.j.OwedBy, &sc.j.CallKey, &sc.j.Caller, &sc.j.Charge.Amount, &sc.j.Charge.Currency, &sc.j.Charge.State, &sc.j.Attempt, &sc.j.ReusedFrom, &sc.j.Saved, &sc.j.Priority,
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

// jobAt is job, by a name under which the transaction may have read it already.
func (e *effects) jobAt(ref jobs.JobRef, text string, args ...any) (j *jobs.Job, err error) {
	if sc, ok := e.known.read[ref]; ok {
		delete(e.known.read, ref)
		if sc == nil {
			return nil, fmt.Errorf("job: %w", gaff.ErrNotFound)
		}
		j = sc.job()
	} else {
		// Deferred rows are of other jobs, as a rule; then they need not be written now.
		e.independent = !e.known.deferred[ref]
		defer func() { e.independent = false }()
		if j, err = e.job(text, args...); err != nil {
			return nil, err
		}
	}
	e.known.seen(j, j.Status.Settled())
	e.charges.read(j)
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
	j := sc.job()
	e.charges.read(j)
	return j, nil
}

// jobChanging are the columns that change; the others stay as they were inserted.
const jobChanging = `model text, kind text, project_id text, user_id text, request_id text, status bigint, result bytea, error text,
	error_type text, settled_by text, metadata bytea, submitted_at bigint, settled_at bigint, updated_at bigint, submit bigint,
	sent_at bigint, account text, run_id text, step_id text, status_url text, response_url text, cancel_url text, webhook_url text,
	callback text, cost text, next_ask_at bigint, asks bigint, misses bigint, owed_by text, charge bigint, currency text, charge_state bigint`

var (
	insertJob = insertNewRows("job", `id text, `+jobChanging+`, provider text, created_at bigint, idempotency_key text, call_key text, caller text, attempt bigint, reuse_key text, reused_from text, saved bigint, priority bigint`, `on conflict do nothing`)
	// A status moves only forward, and a settled job stays settled.
	updateJob = updateRows(`id text, `+jobChanging, `update job set `+setNew(jobChanging)+`
		from new where job.id = new.id and (job.status = new.status or job.status < new.status and job.status < 2)`)
)

func changing(j *jobs.Job) []any {
	return []any{
		j.ID, j.Model, j.Kind, j.ProjectID, j.UserID, j.RequestID, int64(j.Status), nilIfEmpty(j.Result), j.Error,
		j.ErrorType, j.SettledBy, nilIfEmpty(j.Metadata), nullMicros(j.SubmittedAt), nullMicros(j.SettledAt),
		micros(j.UpdatedAt), int64(j.Submit), nullMicros(j.SentAt), j.Account, j.RunID, j.StepID, j.StatusURL,
		j.ResponseURL, j.CancelURL, j.WebhookURL, j.Callback, j.Cost, nullMicros(j.NextPollAt), int64(j.Polls),
		int64(j.Misses), j.OwedBy, int64(j.Charge.Amount), j.Charge.Currency, int64(j.Charge.State),
	}
}

func (e *effects) InsertJob(_ context.Context, j *jobs.Job) error {
	if j.CreatedAt.IsZero() {
		j.CreatedAt = e.now
	}
	j.UpdatedAt = e.now
	e.known.wrote(j)
	args := append(changing(j), j.Provider, micros(j.CreatedAt), j.IdempotencyKey, j.CallKey, j.Caller, int64(j.Attempt), j.ReuseKey, j.ReusedFrom, int64(j.Saved), int64(j.Priority))
	if e.db.deferWrite(e.tx, &insertJob, args) {
		e.known.defers(j)
		e.known.seen(j, false) // a new job has no media
		e.charges.changed(chargedJob{}, j)
		e.change("job", j.ID, j.Status.String(), j.Provider)
		return e.deferProject(j.ProjectID)
	}
	written, err := e.db.writeOne(e.tx, &insertJob, args)
	if err != nil {
		return fmt.Errorf("insert job %s: %w", j.ID, err)
	}
	if !written {
		return fmt.Errorf("insert job %s: %w: another job has its id, its idempotency key or its request %s", j.ID,
			gaff.ErrConflict, excerpt.Text(j.RequestID, 60))
	}
	e.charges.changed(chargedJob{}, j)
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
		// A statement cannot change a row twice.
		if err := e.db.flush(e.tx); err != nil {
			return fmt.Errorf("save job %s: %w", j.ID, err)
		}
	}
	before, err := e.storedCharge(j.ID)
	if err != nil {
		return err
	}
	args := changing(j)
	if e.db.deferWrite(e.tx, &updateJob, args) {
		e.charges.changed(before, j)
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
	e.charges.changed(before, j)
	e.change("job", j.ID, j.Status.String(), j.Provider)
	return e.seeProject(j.ProjectID)
}

func (e *effects) JobByKey(_ context.Context, caller, key string, orNone bool) (*jobs.Job, error) {
	text := `select ` + jobColumns + ` from job j where j.idempotency_key = $1 and j.idempotency_key <> '' and `
	if orNone {
		return e.job(text+`j.caller in ($2, '') order by j.caller desc limit 1`, key, caller)
	}
	return e.job(text+`j.caller = $2`, key, caller)
}

// maxReusable bounds the jobs of a reuse key that are examined.
const maxReusable = 5

func (e *effects) ReusableJobs(_ context.Context, key string, since time.Time) ([]*jobs.Job, error) {
	found, err := e.jobs(`select `+jobColumns+` from job j where j.reuse_key = $1 and j.reuse_key <> '' and j.status = 2 and j.settled_at >= $2
		order by j.seq desc limit `+strconv.Itoa(maxReusable)+e.db.lock(), key, micros(since))
	if err != nil {
		return nil, fmt.Errorf("jobs of a reuse key: %w", err)
	}
	return found, nil
}

func (e *effects) RemoveJob(_ context.Context, jobID string) error {
	e.known.wrote(&jobs.Job{ID: jobID})
	stored, err := e.storedCharge(jobID)
	if err != nil {
		return err
	}
	if err := e.deleteJob(jobID); err != nil {
		return fmt.Errorf("remove job %s: %w", jobID, err)
	}
	e.charges.change(stored, chargedJob{})
	delete(e.charges.stored, jobID)
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
		j := sc.job()
		e.charges.read(j)
		found = append(found, j)
	}
	return found, rows.Err()
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
