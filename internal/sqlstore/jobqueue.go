package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/jobs"
)

// queueColumns are the columns of job_queue by which limits count jobs.
var queueColumns = map[string]string{"provider": "provider", "model": "model", "project": "project_id", "user": "user_id"}

// LockQueue takes the lock of budgets: with one lock, transactions cannot wait for each other.
func (e *effects) LockQueue(ctx context.Context) error { return e.LockBudgets(ctx) }

func (e *effects) QueueState(_ context.Context, provider string, limit int) (waiting int, queued bool, err error) {
	e.independent = true // jobs that this transaction adds need not be counted
	defer func() { e.independent = false }()
	err = e.row([]any{&waiting, &queued}, `select (select count(*) from (select 1 from job where provider = $1 and submit = 1 and status < 2 limit $2) q),
		exists (select 1 from job_queue where provider = $1 and released_at is null)`, provider, int64(limit))
	if err != nil {
		return 0, false, fmt.Errorf("queue of %s: %w", provider, err)
	}
	return waiting, queued, nil
}

func (e *effects) JoinQueue(_ context.Context, q *jobs.QueuedJob) error {
	var released any
	t := turns{}
	if q.Released {
		released = micros(e.now)
	} else {
		var err error
		if t, err = e.turns(q); err != nil {
			return fmt.Errorf("turn of job %s: %w", q.JobID, err)
		}
	}
	held := int64(0)
	if q.Released && q.Held {
		held = 1
	}
	_, err := e.exec(`insert into job_queue (job_id, provider, model, project_id, user_id, rank, project_turn, user_turn, turn, late, since, released_at, held)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, q.JobID, q.Provider, q.Model, q.ProjectID, q.UserID, int64(-q.Priority),
		t.project, t.user, max(min(t.project, t.user), t.earliest), max(t.project, t.user), micros(e.now), released, held)
	if err != nil {
		return fmt.Errorf("queue job %s: %w", q.JobID, err)
	}
	return nil
}

// turns are the places of a waiting job among those of its project and of its user, and the earliest turn
// that it may have.
type turns struct{ project, user, earliest int64 }

// turnsOfUsers is how many jobs of one project can have the same turn, because they are of different
// users. Anyone who submits for a project can make up users.
const turnsOfUsers = 16

// turns returns the turns of a job that begins to wait. The first job of a project, or of a user without
// one, gets that of the job which is next, so that it comes right after that one, however many wait.
func (e *effects) turns(q *jobs.QueuedJob) (t turns, err error) {
	rank := int64(-q.Priority)
	last := func(column, condition string, args ...any) (n int64, err error) {
		err = e.row([]any{&n}, `select coalesce(`+column+`, 0) from job_queue where provider = $1 and rank = $2 and released_at is null`+condition,
			append([]any{q.Provider, rank}, args...)...)
		return n, err
	}
	next, err := last("min(turn)", "")
	if err != nil {
		return t, err
	}
	before := next - 1
	if q.First {
		return turns{project: before, user: before, earliest: before}, nil
	}
	if next == 0 {
		before = 0
	}
	switch {
	case q.ProjectID == "" && q.UserID == "":
		t.project, err = last("max(project_turn)", " and project_id = '' and user_id = ''")
	case q.ProjectID != "":
		t.project, err = last("max(project_turn)", " and project_id = $3", q.ProjectID)
	}
	if err == nil && q.UserID != "" {
		t.user, err = last("max(user_turn)", " and user_id = $3", q.UserID)
	}
	t.project, t.user = max(t.project, before)+1, max(t.user, before)+1
	if q.UserID == "" {
		t.user = t.project
	} else if q.ProjectID == "" {
		t.project = t.user
	}
	t.earliest = before + 1 + (t.project-before-1)/turnsOfUsers
	return t, err
}

func (e *effects) LeaveQueue(ctx context.Context, jobID string) error {
	if err := e.LockQueue(ctx); err != nil {
		return err
	}
	if _, err := e.exec(`delete from job_queue where job_id = $1`, jobID); err != nil {
		return fmt.Errorf("remove job %s from the queue: %w", jobID, err)
	}
	return nil
}

func (e *effects) NextQueued(_ context.Context, provider string, query jobs.QueueQuery) (list []jobs.QueuedJob, err error) {
	text, args := `select q.job_id, q.provider, q.model, q.project_id, q.user_id, q.rank, q.turn, q.late, q.since, j.attempt from job_queue q
		join job j on j.id = q.job_id where q.provider = $1 and q.released_at is null and j.submit = 1 and j.status < 2`, []any{provider}
	if query.Planned {
		text += ` and j.attempt > 0`
	}
	if at := query.After; at.JobID != "" {
		args = append(args, at.Rank, at.Turn, at.Late, at.Since, at.JobID)
		text += ` and (q.rank, q.turn, q.late, q.since, q.job_id) > ($2, $3, $4, $5, $6)`
	}
	names := map[string][]string{}
	for key := range query.Full {
		names[key.Scope] = append(names[key.Scope], key.Name)
	}
	for _, scope := range slices.Sorted(maps.Keys(names)) {
		text += ` and q.` + queueColumns[scope] + ` not in ` + marks(&args, names[scope])
	}
	err = e.each(func(r Row) error {
		var q jobs.QueuedJob
		at := &q.Place
		if err := r.Scan(&q.JobID, &q.Provider, &q.Model, &q.ProjectID, &q.UserID, &at.Rank, &at.Turn, &at.Late, &at.Since, &q.Attempt); err != nil {
			return err
		}
		at.JobID, q.Priority = q.JobID, int(-at.Rank)
		list = append(list, q)
		return nil
	}, text+` order by q.rank, q.turn, q.late, q.since, q.job_id limit `+strconv.Itoa(query.Limit), args...)
	if err != nil {
		return nil, fmt.Errorf("next jobs of %s: %w", provider, err)
	}
	return list, nil
}

// marks adds names to the arguments of a statement, and returns the list of their places, such as ($2, $3).
func marks(args *[]any, names []string) string {
	var list []string
	for _, name := range padded(names) {
		*args = append(*args, name)
		list = append(list, "$"+strconv.Itoa(len(*args)))
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// padded repeats the last name, so that lists of all lengths have few different statements: the connection
// keeps each prepared.
func padded(names []string) []string {
	size := 1
	for size < len(names) {
		size *= 2
	}
	for len(names) < size {
		names = append(names, names[len(names)-1])
	}
	return names
}

func (e *effects) ReleaseJob(_ context.Context, jobID string, held bool) error {
	n := int64(0)
	if held {
		n = 1
	}
	if _, err := e.exec(`update job_queue set released_at = $2, held = $3 where job_id = $1`, jobID, micros(e.now), n); err != nil {
		return fmt.Errorf("release job %s: %w", jobID, err)
	}
	return nil
}

// maxUnsent bounds the jobs without a row in the queue that are examined.
const maxUnsent = 200

func (e *effects) UnsentJobs(_ context.Context, provider string, since time.Time) (n int, err error) {
	// Jobs without a row were submitted while none was in the queue, so they are older than those in it.
	err = e.row([]any{&n}, `select (select count(*) from job_queue q join job j on j.id = q.job_id
			where q.provider = $1 and q.released_at is not null and q.released_at >= $2 and j.submit = 1 and j.status < 2)
		+ (select count(*) from (select id, updated_at from job where provider = $1 and submit = 1 and status < 2 order by seq limit $3) w
			where w.updated_at >= $2 and not exists (select 1 from job_queue q where q.job_id = w.id))`, provider, micros(since), int64(maxUnsent))
	if err != nil {
		return 0, fmt.Errorf("unsent jobs of %s: %w", provider, err)
	}
	return n, nil
}

func (e *effects) UnderWay(_ context.Context, scope string, names []string) (map[string]int, error) {
	used, column, args := map[string]int{}, "q."+queueColumns[scope], []any(nil)
	in := marks(&args, names)
	err := e.each(func(r Row) error {
		var name string
		var n int
		err := r.Scan(&name, &n)
		used[name] = n
		return err
	}, `select `+column+`, count(*) from job_queue q join job j on j.id = q.job_id
		where `+column+` in `+in+` and q.held = 1 and q.released_at is not null and j.status < 2 group by `+column, args...)
	if err != nil {
		return nil, fmt.Errorf("jobs under way by %s: %w", scope, err)
	}
	return used, nil
}

func (e *effects) Paces(_ context.Context, scope string, names []string) (map[string]time.Time, error) {
	paces, args := map[string]time.Time{}, []any{scope}
	in := marks(&args, names)
	err := e.each(func(r Row) error {
		var name string
		var at int64
		err := r.Scan(&name, &at)
		paces[name] = e.localTime(fromMicros(at))
		return err
	}, `select name, at from job_pace where scope = $1 and name in `+in, args...)
	if err != nil {
		return nil, fmt.Errorf("paces by %s: %w", scope, err)
	}
	return paces, nil
}

func (e *effects) SetPace(_ context.Context, key jobs.LimitKey, at time.Time) error {
	// at is by the clock of this process, and stored by that of the database.
	_, err := e.exec(`insert into job_pace (scope, name, at) values ($1, $2, $3) on conflict (scope, name) do update set at = excluded.at`,
		key.Scope, key.Name, micros(e.now.Add(at.Sub(e.Now()))))
	if err != nil {
		return fmt.Errorf("pace of %s %s: %w", key.Scope, key.Name, err)
	}
	return nil
}

// maxCleaned bounds the rows of the queue that one transaction removes.
const maxCleaned = 500

func (e *effects) CleanQueue(_ context.Context, before time.Time) error {
	at := micros(before)
	_, err := e.exec(`delete from job_queue where job_id in (select q.job_id from job_queue q left join job j on j.id = q.job_id
		where j.id is null or j.status >= 2 or q.released_at is null and j.submit <> 1 or q.held = 0 and q.released_at < $1 limit $2)`, at, int64(maxCleaned))
	if err == nil {
		_, err = e.exec(`delete from job_pace where at < $1`, at)
	}
	if err != nil {
		return fmt.Errorf("clean the queue of jobs: %w", err)
	}
	return nil
}

// QueuedProviders returns the providers of which jobs wait in the queue, and whether it has rows at all.
func (s *Store) QueuedProviders(ctx context.Context) (names []string, rows bool, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	if err = s.read.QueryRowContext(ctx, `select exists (select 1 from job_queue)`).Scan(&rows); err == nil && rows {
		names, err = column[string](ctx, s.read, `select distinct provider from job_queue where released_at is null order by provider`)
	}
	return names, rows, s.fault(ctx, "queue of jobs", err)
}

// JobPosition returns the place of a job among those of its provider that wait to be submitted. Those
// that were given to the workers are before those in the queue.
func (s *Store) JobPosition(ctx context.Context, jobID string) (int64, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var n int64
	const inQueue = `exists (select 1 from job_queue q where q.job_id = w.id and q.released_at is null)`
	err := s.read.QueryRowContext(ctx, `select count(*) from (select 1 from job j, job w where j.id = $1 and j.submit = 1 and j.status < 2
			and w.provider = j.provider and w.submit = 1 and w.status < 2 and not `+inQueue+`
			and (w.seq <= j.seq or exists (select 1 from job_queue q where q.job_id = j.id and q.released_at is null)) limit $2) q`,
		jobID, gaff.MaxLogCount+1).Scan(&n)
	if err != nil {
		return 0, s.fault(ctx, "job's position", err)
	}
	var before int64
	err = s.read.QueryRowContext(ctx, `select count(*) from (select 1 from job_queue m join job j on j.id = m.job_id, job_queue q
		where m.job_id = $1 and m.released_at is null and j.status < 2 and q.provider = m.provider and q.released_at is null
			and (q.rank, q.turn, q.late, q.since, q.job_id) <= (m.rank, m.turn, m.late, m.since, m.job_id) limit $2) q`, jobID, gaff.MaxLogCount+1).Scan(&before)
	return min(n+before, gaff.MaxLogCount+1), s.fault(ctx, "job's position", err)
}
