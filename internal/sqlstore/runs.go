package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"gaff"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

var (
	_ runs.Store  = (*Store)(nil)
	_ runs.Reader = (*Store)(nil)
)

func (e *effects) SeeProject(_ context.Context, projectID string) error {
	return e.seeProject(projectID)
}

// deferProject is seeProject, and lets what was put off stay so where the project is
// known.
func (t *tx) deferProject(projectID string) error {
	if projectID == "" || t.x.projects[projectID] || slices.Contains(t.projects, projectID) {
		return nil
	}
	t.independent = true // a project is not among the later ones
	defer func() { t.independent = false }()
	return t.seeProject(projectID)
}

func (t *tx) seeProject(projectID string) error {
	if projectID == "" || t.x.projects[projectID] {
		return nil
	}
	n, err := t.exec(`insert into project (id, name, owner, metadata, created_at, updated_at)
		values ($1, '', '', null, $2, $2) on conflict (id) do nothing`, projectID, micros(t.now))
	if err != nil {
		return fmt.Errorf("insert project: %w", err)
	}
	t.projects = append(t.projects, projectID)
	if n > 0 {
		t.change("project", projectID, "", "")
	}
	return nil
}

func (e *effects) SaveProject(_ context.Context, p *jobs.Project) error {
	if p.CreatedAt.IsZero() {
		p.CreatedAt = e.now
	}
	p.UpdatedAt = e.now
	_, err := e.exec(`insert into project (id, name, owner, metadata, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6)
		on conflict (id) do update set name = excluded.name, owner = excluded.owner, metadata = excluded.metadata,
			updated_at = excluded.updated_at`,
		p.ID, p.Name, p.Owner, nilIfEmpty(p.Metadata), micros(p.CreatedAt), micros(p.UpdatedAt))
	if err != nil {
		return fmt.Errorf("save project: %w", err)
	}
	e.change("project", p.ID, "", "")
	return nil
}

func (e *effects) SaveWorkflow(_ context.Context, v *runs.WorkflowVersion) error {
	_, err := e.exec(`insert into workflow (hash, name, definition, created_at) values ($1, $2, $3, $4)
		on conflict (hash) do nothing`, v.Hash, v.Name, []byte(v.Definition), micros(e.now))
	if err != nil {
		return fmt.Errorf("keep workflow %s: %w", v.Name, err)
	}
	return nil
}

func (e *effects) InsertRun(_ context.Context, r *runs.Run) (bool, error) {
	if r.CreatedAt.IsZero() {
		r.CreatedAt = e.now
	}
	r.UpdatedAt = e.now
	if r.ID == "" {
		r.ID = id.New(id.Run, r.CreatedAt)
	}
	if r.FormerKey != "" {
		err := e.row([]any{&r.ID}, `select id from run where workflow = $1 and key = $2`, r.Workflow, r.FormerKey)
		if !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
	}
	n, err := e.exec(`insert into run (id, workflow, version, project_id, user_id, status, input, error, waiting, cost,
			revision, event_id, hop, key, due_at, created_at, updated_at, settled_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		on conflict (workflow, key) where key <> '' do nothing`,
		r.ID, r.Workflow, r.Version, r.ProjectID, r.UserID, int64(r.Status), orEmpty(r.Input), r.Error, r.Waiting, r.Cost,
		r.Revision, r.EventID, int64(r.Hop), r.Key, nullMicros(r.DueAt), micros(r.CreatedAt), micros(r.UpdatedAt),
		nullMicros(r.SettledAt))
	if err != nil {
		return false, fmt.Errorf("insert run: %w", err)
	}
	if n == 0 {
		if err := e.row([]any{&r.ID}, `select id from run where workflow = $1 and key = $2`, r.Workflow, r.Key); err != nil {
			return false, fmt.Errorf("find the run of this key: %w", err)
		}
		return false, nil
	}
	e.change("run", r.ID, r.Status.String(), r.Workflow)
	return true, nil
}

func (e *effects) SaveRun(_ context.Context, r *runs.Run) error {
	r.UpdatedAt = e.now
	n, err := e.exec(`update run set status = $3, error = $4, waiting = $5, cost = $6, due_at = $7, updated_at = $8,
			settled_at = $9, revision = revision + 1
		where id = $1 and revision = $2`,
		r.ID, r.Revision, int64(r.Status), r.Error, r.Waiting, r.Cost, nullMicros(r.DueAt), micros(r.UpdatedAt),
		nullMicros(r.SettledAt))
	if err != nil {
		return fmt.Errorf("save run %s: %w", r.ID, err)
	}
	if n == 0 {
		return fmt.Errorf("save run %s: %w: it was changed meanwhile", r.ID, gaff.ErrConflict)
	}
	r.Revision++
	e.change("run", r.ID, r.Status.String(), r.Workflow)
	return nil
}

func (e *effects) SaveSteps(_ context.Context, runID string, steps []runs.Step) error {
	var run int64
	if err := e.row([]any{&run}, `select seq from run where id = $1`, runID); err != nil {
		return fmt.Errorf("save steps of %s: %w", runID, err)
	}
	for i := range steps {
		st := &steps[i]
		st.UpdatedAt = e.now
		_, err := e.exec(`insert into run_step (run, name, item, status, attempt, tries, job_id, input, result, error,
				wait_source, wait_type, wait_key, event_id, slot_a, slot_b, decider, due_at, cost, started_at,
				settled_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
			on conflict (run, name, item) do update set status = excluded.status, attempt = excluded.attempt,
				tries = excluded.tries, job_id = excluded.job_id, input = coalesce(excluded.input, run_step.input),
				result = case when excluded.status = 5 then coalesce(excluded.result, run_step.result) end,
				error = excluded.error, wait_source = excluded.wait_source, wait_type = excluded.wait_type,
				wait_key = excluded.wait_key, event_id = excluded.event_id, slot_a = excluded.slot_a,
				slot_b = excluded.slot_b, decider = excluded.decider, due_at = excluded.due_at, cost = excluded.cost,
				started_at = excluded.started_at, settled_at = excluded.settled_at, updated_at = excluded.updated_at`,
			run, st.Name, int64(st.Item), int64(st.Status), int64(st.Attempt), int64(st.AttemptsSinceReset), st.JobID, nilIfEmpty(st.Input),
			nilIfEmpty(st.Result), st.Error, st.WaitSource, st.WaitType, st.WaitKey, st.EventID, st.Slots[0], st.Slots[1],
			st.Decider, nullMicros(st.DueAt), st.Cost, nullMicros(st.StartedAt), nullMicros(st.SettledAt), micros(st.UpdatedAt))
		if err != nil {
			return fmt.Errorf("save step %s of %s: %w", st.Name, runID, err)
		}
	}
	return nil
}

func (e *effects) DropItems(_ context.Context, runID, step string) error {
	_, err := e.exec(`delete from run_step where run = (select seq from run where id = $1) and name = $2 and item >= 0`,
		runID, step)
	return err
}

func (e *effects) TakeSlot(_ context.Context, slot string, limit int) (bool, error) {
	var granted int
	// Written also where none is free: on a database with several writers, the row's lock
	// then puts this one and whoever gives a place back in an order, and either sees the other.
	err := e.returning([]any{&granted}, `insert into slot (name, used, granted) values ($1, 1, 1)
		on conflict (name) do update set
			granted = case when slot.used < $2 or $2 < 1 then 1 else 0 end,
			used = case when slot.used < $2 or $2 < 1 then slot.used + 1 else slot.used end
		returning granted`, slot, int64(limit))
	if err != nil {
		return false, fmt.Errorf("take a place under %s: %w", slot, err)
	}
	return granted == 1, nil
}

func (e *effects) FreeSlot(_ context.Context, slot string) (int, error) {
	var used int
	err := e.returning([]any{&used}, `update slot set used = used - 1 where name = $1 and used > 0 returning used`, slot)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("give back a place under %s: %w", slot, err)
	}
	return used, nil
}

func (e *effects) QueuedRuns(_ context.Context, slot string, limit int) (ids []string, err error) {
	rows, err := e.query(`select r.id from (
			select run, updated_at from run_step where status = 1 and slot_a <> '' and slot_a = $1
			union all
			select run, updated_at from run_step where status = 1 and slot_b <> '' and slot_b = $1) s
		join run r on r.seq = s.run group by r.id order by min(s.updated_at), r.id limit $2`, slot, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("who waits under %s: %w", slot, err)
	}
	defer rows.Close()
	for rows.Next() {
		var runID string
		if err := rows.Scan(&runID); err != nil {
			return nil, err
		}
		ids = append(ids, runID)
	}
	return ids, rows.Err()
}

const projectColumns = `p.seq, p.id, p.name, p.owner, p.metadata, p.created_at, p.updated_at`

type storedProject struct {
	seq int64
	p   jobs.Project
}

func scanProject(rows *sql.Rows) (sp storedProject, err error) {
	var metadata []byte
	var created, updated int64
	err = rows.Scan(&sp.seq, &sp.p.ID, &sp.p.Name, &sp.p.Owner, &metadata, &created, &updated)
	sp.p.Metadata, sp.p.CreatedAt, sp.p.UpdatedAt = metadata, fromMicros(created), fromMicros(updated)
	return sp, err
}

// Project returns one project.
func (s *Store) Project(ctx context.Context, projectID string) (*jobs.Project, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ps, err := collect(ctx, s.read, scanProject, `select `+projectColumns+` from project p where p.id = $1`, projectID)
	if err == nil && len(ps) == 0 {
		err = missing("project", projectID)
	}
	if err != nil {
		return nil, s.fault(ctx, "project", err)
	}
	return &ps[0].p, nil
}

// Projects returns a page of projects, newest first.
func (s *Store) Projects(ctx context.Context, c gaff.Cursor) (page gaff.Page[jobs.Project], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("p.seq", c)
	if err != nil {
		return page, s.fault(ctx, "projects", err)
	}
	ps, err := collect(ctx, s.read, scanProject, `select `+projectColumns+` from project p`+w.String()+
		` order by p.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "projects", err)
	}
	ps, page.Next = next(ps, limit, func(sp storedProject) int64 { return sp.seq })
	for _, sp := range ps {
		page.Items = append(page.Items, sp.p)
	}
	return page, nil
}

const runColumns = `r.seq, r.id, r.workflow, r.version, r.project_id, r.user_id, r.status, r.input, r.error, r.waiting,
	r.cost, r.revision, r.event_id, r.hop, r.key, r.due_at, r.created_at, r.updated_at, r.settled_at`

type storedRun struct {
	seq int64
	r   runs.Run
}

func scanRun(rows *sql.Rows) (sr storedRun, err error) {
	var input []byte
	var created, updated int64
	var due, settled sql.NullInt64
	r := &sr.r
	err = rows.Scan(&sr.seq, &r.ID, &r.Workflow, &r.Version, &r.ProjectID, &r.UserID, &r.Status, &input, &r.Error, &r.Waiting,
		&r.Cost, &r.Revision, &r.EventID, &r.Hop, &r.Key, &due, &created, &updated, &settled)
	r.Input, r.DueAt, r.SettledAt = input, fromNull(due), fromNull(settled)
	r.CreatedAt, r.UpdatedAt = fromMicros(created), fromMicros(updated)
	return sr, err
}

// Run returns one run.
func (s *Store) Run(ctx context.Context, runID string) (*runs.Run, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	rs, err := collect(ctx, s.read, scanRun, `select `+runColumns+` from run r where r.id = $1`, runID)
	if err == nil && len(rs) == 0 {
		err = missing("run", runID)
	}
	if err != nil {
		return nil, s.fault(ctx, "run", err)
	}
	return &rs[0].r, nil
}

// Runs returns a page of runs, newest first.
func (s *Store) Runs(ctx context.Context, f runs.Filter) (page gaff.Page[runs.Run], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("r.seq", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "runs", err)
	}
	if f.Workflow != "" {
		w.add("r.workflow = ?", f.Workflow)
	}
	if f.ProjectID != "" {
		w.add("r.project_id = ?", f.ProjectID)
		w.add("r.project_id <> ''") // names the partial index
	}
	if f.Status != nil {
		w.add("r.status = ?", int64(*f.Status))
	}
	rs, err := collect(ctx, s.read, scanRun, `select `+runColumns+` from run r`+w.String()+
		` order by r.seq desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "runs", err)
	}
	rs, page.Next = next(rs, limit, func(sr storedRun) int64 { return sr.seq })
	for _, sr := range rs {
		page.Items = append(page.Items, sr.r)
	}
	return page, nil
}

const stepColumns = `s.name, s.item, s.status, s.attempt, s.tries, s.job_id, s.error, s.wait_source, s.wait_type, s.wait_key,
	s.event_id, s.slot_a, s.slot_b, s.decider, s.due_at, s.cost, s.started_at, s.settled_at, s.updated_at`

func scanStep(runID string, values bool) func(*sql.Rows) (runs.Step, error) {
	return func(rows *sql.Rows) (st runs.Step, err error) {
		var due, started, settled sql.NullInt64
		var updated int64
		var input, result []byte
		to := []any{&st.Name, &st.Item, &st.Status, &st.Attempt, &st.AttemptsSinceReset, &st.JobID, &st.Error, &st.WaitSource, &st.WaitType,
			&st.WaitKey, &st.EventID, &st.Slots[0], &st.Slots[1], &st.Decider, &due, &st.Cost, &started, &settled, &updated}
		if values {
			to = append(to, &input, &result)
		}
		err = rows.Scan(to...)
		st.RunID, st.DueAt, st.StartedAt, st.SettledAt, st.UpdatedAt =
			runID, fromNull(due), fromNull(started), fromNull(settled), fromMicros(updated)
		st.Input, st.Result = input, result
		return st, err
	}
}

// Steps returns all rows of a run, without values.
func (s *Store) Steps(ctx context.Context, runID string) ([]runs.Step, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	steps, err := collect(ctx, s.read, scanStep(runID, false), `select `+stepColumns+` from run_step s
		join run r on r.seq = s.run where r.id = $1 order by s.name, s.item`, runID)
	return steps, s.fault(ctx, "steps", err)
}

// StepValues returns a step's rows with what it was given and what came of it.
func (s *Store) StepValues(ctx context.Context, runID, step string) ([]runs.Step, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	steps, err := collect(ctx, s.read, scanStep(runID, true), `select `+stepColumns+`, s.input, s.result from run_step s
		join run r on r.seq = s.run where r.id = $1 and s.name = $2 order by s.item`, runID, step)
	return steps, s.fault(ctx, "step", err)
}

// StepMedia returns the files of a step's jobs.
func (s *Store) StepMedia(ctx context.Context, runID, step string) (map[int][]jobs.Media, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	type itemMedia struct {
		item int
		m    jobs.Media
	}
	found, err := collect(ctx, s.read, func(rows *sql.Rows) (im itemMedia, err error) {
		var sc mediaScan
		err = rows.Scan(append([]any{&im.item}, sc.columns()...)...)
		im.m = *s.linked(sc.media())
		return im, err
	}, `select s.item, `+mediaColumns+` from run_step s join run r on r.seq = s.run join media m on m.job_id = s.job_id
		where r.id = $1 and s.name = $2 and s.job_id <> '' order by s.item, m.seq`, runID, step)
	if err != nil {
		return nil, s.fault(ctx, "media of a step", err)
	}
	byItem := map[int][]jobs.Media{}
	for _, im := range found {
		byItem[im.item] = append(byItem[im.item], im.m)
	}
	return byItem, nil
}

func scanRef(rows *sql.Rows) (ref runs.StepRef, err error) {
	err = rows.Scan(&ref.RunID, &ref.Step, &ref.Item)
	return ref, err
}

const refColumns = `r.id, s.name, s.item`

// StepOfJob finds the step that a job works for.
func (s *Store) StepOfJob(ctx context.Context, jobID string) (runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run_step s join run r on r.seq = s.run
		where s.job_id = $1 and s.job_id <> ''`, jobID)
	if err == nil && len(refs) == 0 {
		err = missing("step of job", jobID)
	}
	if err != nil {
		return runs.StepRef{}, s.fault(ctx, "step of a job", err)
	}
	return refs[0], nil
}

// WaitingFor returns the steps that wait for such an event.
func (s *Store) WaitingFor(ctx context.Context, source, eventType, key string) ([]runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run_step s join run r on r.seq = s.run
		where s.status = 3 and s.wait_source <> '' and s.wait_source = $1 and s.wait_type in ($2, '*')
			and s.wait_key in ('', $3) order by s.run, s.name, s.item`, source, eventType, key)
	return refs, s.fault(ctx, "waiting steps", err)
}

// WaitingOf returns the steps of a version's runs that wait for an event.
func (s *Store) WaitingOf(ctx context.Context, hash string) ([]runs.StepRef, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	refs, err := collect(ctx, s.read, scanRef, `select `+refColumns+` from run r join run_step s on s.run = r.seq
		where r.version = $1 and r.status = 0 and s.status = 3 and s.wait_source <> '' order by s.run, s.name, s.item`, hash)
	return refs, s.fault(ctx, "waiting steps", err)
}

// WorkflowVersion returns a definition that was kept.
func (s *Store) WorkflowVersion(ctx context.Context, hash string) (*runs.WorkflowVersion, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	vs, err := collect(ctx, s.read, func(rows *sql.Rows) (v runs.WorkflowVersion, err error) {
		var created int64
		var definition []byte
		err = rows.Scan(&v.Hash, &v.Name, &definition, &created)
		v.Definition, v.CreatedAt = json.RawMessage(definition), fromMicros(created)
		return v, err
	}, `select hash, name, definition, created_at from workflow where hash = $1`, hash)
	if err == nil && len(vs) == 0 {
		err = missing("workflow version", hash)
	}
	if err != nil {
		return nil, s.fault(ctx, "workflow", err)
	}
	return &vs[0], nil
}

// OpenVersions returns the versions of which runs are not settled.
func (s *Store) OpenVersions(ctx context.Context) ([]string, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	hashes, err := column[string](ctx, s.read, `select distinct version from run where status = 0`)
	return hashes, s.fault(ctx, "open versions", err)
}

// Slots returns the limits under which someone waits.
func (s *Store) Slots(ctx context.Context) ([]runs.SlotUse, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	slots, err := collect(ctx, s.read, func(rows *sql.Rows) (u runs.SlotUse, err error) {
		err = rows.Scan(&u.Slot, &u.Queued, &u.Used)
		return u, err
	}, `select w.name, count(*), coalesce(max(l.used), 0) from (
			select slot_a as name from run_step where status = 1 and slot_a <> ''
			union all
			select slot_b as name from run_step where status = 1 and slot_b <> '') w
		left join slot l on l.name = w.name group by w.name`)
	return slots, s.fault(ctx, "limits", err)
}

// RunCounts counts the runs of each workflow by status.
func (s *Store) RunCounts(ctx context.Context) (map[string]map[string]int, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	type group struct {
		workflow string
		status   runs.Status
		n        int
	}
	groups, err := collect(ctx, s.read, func(rows *sql.Rows) (g group, err error) {
		err = rows.Scan(&g.workflow, &g.status, &g.n)
		return g, err
	}, `select workflow, status, count(*) from run group by workflow, status`)
	if err != nil {
		return nil, s.fault(ctx, "count runs", err)
	}
	counts := map[string]map[string]int{}
	for _, g := range groups {
		if counts[g.workflow] == nil {
			counts[g.workflow] = map[string]int{}
		}
		counts[g.workflow][g.status.String()] = g.n
	}
	return counts, nil
}
