package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"gaff"
	"gaff/internal/id"
	"gaff/workflow/runs"
)

var (
	_ runs.Store  = (*Store)(nil)
	_ runs.Reader = (*Store)(nil)
)

func (e *effects) SaveWorkflow(_ context.Context, v *runs.WorkflowVersion) error {
	_, err := e.exec(`insert into workflow (hash, name, definition, created_at) values ($1, $2, $3, $4)
		on conflict (hash) do nothing`, v.Hash, v.Name, []byte(v.Definition), micros(e.now))
	if err != nil {
		return fmt.Errorf("store workflow %s: %w", v.Name, err)
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
	rs, err := collect(ctx, s.lists(ctx), scanRun, `select `+runColumns+` from run r`+w.String()+
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

// WorkflowVersion returns a stored definition.
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

// OpenVersions returns the versions that have open runs.
func (s *Store) OpenVersions(ctx context.Context) ([]string, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	hashes, err := column[string](ctx, s.read, `select distinct version from run where status = 0`)
	return hashes, s.fault(ctx, "open versions", err)
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
