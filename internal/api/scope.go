package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/excerpt"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// A credential that is limited to a part of the gateway (access.Scope) can call only the
// operations that are open to that part. Those read through [server.store], which hides every
// other row, so that a handler cannot forget it.

// reachKey is the key of an operation's metadata for the parts that it is open to.
const reachKey = "reach"

// Operations on jobs and files, on runs, and on events.
const (
	reachJobs   = access.ReachProject | access.ReachJob
	reachRuns   = access.ReachProject | access.ReachRun
	reachEvents = access.ReachSource
	reachAll    = access.ReachProject | access.ReachJob | access.ReachRun | access.ReachSource
)

// open lets credentials that are limited to a part call the operations, and documents it.
func open(reach access.Reach, routes ...route) []route {
	for _, r := range routes {
		r.op.Metadata[reachKey] = reach
	}
	return routes
}

// reachOf returns the parts that an operation is open to.
func reachOf(op *huma.Operation) access.Reach {
	reach, _ := op.Metadata[reachKey].(access.Reach)
	return reach
}

func scopeOf(ctx context.Context) access.Scope {
	if n := noteOf(ctx); n != nil {
		return n.who.Scope
	}
	return access.Scope{}
}

// store returns the store as the caller may see it.
func (s *server) store(ctx context.Context) Store {
	if scope := scopeOf(ctx); scope.Limited() {
		return limitedStore{s.o.Store, scope}
	}
	return s.o.Store
}

// reachable returns the error of reading a row with get if the caller is limited: what it cannot
// see it cannot change.
func reachable[T any](ctx context.Context, id string, get func(context.Context, string) (T, error)) error {
	if !scopeOf(ctx).Limited() {
		return nil
	}
	_, err := get(ctx, id)
	return err
}

// ownProject returns the project that a caller submits for: its own if it is limited to one.
func ownProject(ctx context.Context, project string) (string, error) {
	own := scopeOf(ctx).Project
	if own == "" || project == own {
		return project, nil
	}
	if project == "" {
		return own, nil
	}
	return "", huma.Error403Forbidden(fmt.Sprintf("projectId is %.60q: this credential is limited to the project %s", project, own))
}

// limitedStore shows only the rows that a scope reaches. Its other methods are those of the whole
// store: no operation that is open to limited credentials calls them.
type limitedStore struct {
	Store
	scope access.Scope
}

// hidden is the error for a row that the caller cannot see: that of a missing one.
func hidden(kind, id string) error {
	return fmt.Errorf("%s %s: %w", kind, excerpt.Text(id, 60), gaff.ErrNotFound)
}

func (l limitedStore) Job(ctx context.Context, id string) (*jobs.Job, error) {
	j, err := l.Store.Job(ctx, id)
	if err == nil && !l.scope.HasJob(j.ID, j.ProjectID) {
		return nil, hidden("job", id)
	}
	return j, err
}

func (l limitedStore) Jobs(ctx context.Context, f jobs.JobFilter) (gaff.Page[jobs.Job], error) {
	if !narrow(&f.ProjectID, l.scope.Project) {
		return gaff.Page[jobs.Job]{}, nil
	}
	return l.Store.Jobs(ctx, f)
}

func (l limitedStore) MediaByID(ctx context.Context, id string) (*jobs.Media, error) {
	m, err := l.Store.MediaByID(ctx, id)
	if err == nil && !l.scope.HasJob(m.JobID, m.ProjectID) {
		return nil, hidden("media", id)
	}
	return m, err
}

func (l limitedStore) Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error) {
	ok := l.scope.Project != "" && narrow(&f.ProjectID, l.scope.Project)
	if !ok && (l.scope.Job == "" || !narrow(&f.JobID, l.scope.Job)) {
		return gaff.Page[jobs.Media]{}, nil
	}
	return l.Store.Media(ctx, f)
}

func (l limitedStore) Run(ctx context.Context, id string) (*runs.Run, error) {
	r, err := l.Store.Run(ctx, id)
	if err == nil && !l.scope.HasRun(r.ID, r.ProjectID) {
		return nil, hidden("run", id)
	}
	return r, err
}

func (l limitedStore) Runs(ctx context.Context, f runs.Filter) (gaff.Page[runs.Run], error) {
	if !narrow(&f.ProjectID, l.scope.Project) {
		return gaff.Page[runs.Run]{}, nil
	}
	return l.Store.Runs(ctx, f)
}

func (l limitedStore) Steps(ctx context.Context, run string) ([]runs.Step, error) {
	if _, err := l.Run(ctx, run); err != nil {
		return nil, err
	}
	return l.Store.Steps(ctx, run)
}

func (l limitedStore) StepValues(ctx context.Context, run, step string) ([]runs.Step, error) {
	if _, err := l.Run(ctx, run); err != nil {
		return nil, err
	}
	return l.Store.StepValues(ctx, run, step)
}

func (l limitedStore) Project(ctx context.Context, id string) (*jobs.Project, error) {
	if id != l.scope.Project {
		return nil, hidden("project", id)
	}
	return l.Store.Project(ctx, id)
}

func (l limitedStore) Event(ctx context.Context, id string) (*gaff.EventDetail, error) {
	d, err := l.Store.Event(ctx, id)
	if err == nil && !l.scope.HasSource(d.Source) {
		return nil, hidden("event", id)
	}
	return d, err
}

func (l limitedStore) Events(ctx context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error) {
	if !narrow(&f.Source, l.scope.Source) {
		return gaff.Page[gaff.Log]{}, nil
	}
	return l.Store.Events(ctx, f)
}

func (l limitedStore) Logs(ctx context.Context, q gaff.LogQuery) ([]gaff.Log, int, error) {
	if !narrow(&q.Source, l.scope.Source) {
		return nil, 0, nil
	}
	return l.Store.Logs(ctx, q)
}

func (l limitedStore) SearchLogs(ctx context.Context, q gaff.LogSearch) (gaff.LogResult, error) {
	own := gaff.LogCondition{Field: gaff.LogSource, Operator: gaff.OpEquals, Values: []any{l.scope.Source}}
	q.Where = gaff.LogCondition{And: []gaff.LogCondition{own, q.Where}}
	return l.Store.SearchLogs(ctx, q)
}

func (l limitedStore) Delivery(ctx context.Context, id string) (*gaff.Delivery, []gaff.Attempt, error) {
	d, attempts, err := l.Store.Delivery(ctx, id)
	if err == nil && !l.scope.HasSource(d.Source) {
		return nil, nil, hidden("delivery", id)
	}
	return d, attempts, err
}

func (l limitedStore) Deliveries(ctx context.Context, f gaff.DeliveryFilter) (gaff.Page[gaff.Delivery], error) {
	if !narrow(&f.Source, l.scope.Source) {
		return gaff.Page[gaff.Delivery]{}, nil
	}
	return l.Store.Deliveries(ctx, f)
}

func (l limitedStore) Rejection(ctx context.Context, id string) (*gaff.Rejection, error) {
	r, err := l.Store.Rejection(ctx, id)
	if err == nil && !l.scope.HasSource(r.Source) {
		return nil, hidden("rejection", id)
	}
	return r, err
}

func (l limitedStore) Rejections(ctx context.Context, f gaff.RejectionFilter) (gaff.Page[gaff.Rejection], error) {
	if !narrow(&f.Source, l.scope.Source) {
		return gaff.Page[gaff.Rejection]{}, nil
	}
	return l.Store.Rejections(ctx, f)
}

// narrow sets a filter's member to the only value that the caller may see. It returns false if
// nothing can match: the filter asks for another value, or the scope has none.
func narrow(member *string, only string) bool {
	if only == "" || *member != "" && *member != only {
		return false
	}
	*member = only
	return true
}

// sees reports whether the stream shows a change of a kind to a caller, before the resource is read.
func sees(scope access.Scope, kind string) bool {
	switch {
	case !scope.Limited():
		return true
	case kind == "job" || kind == "media":
		return scope.Reach()&reachJobs != 0
	case kind == "run":
		return scope.Reach()&reachRuns != 0
	case kind == "event":
		return scope.Reach()&reachEvents != 0
	}
	return false
}

// describeReach adds to the description which limited credentials can call the operation.
func describeReach(op *huma.Operation) {
	var names []string
	reach := reachOf(op)
	for _, p := range [...]struct {
		part access.Reach
		name string
	}{{access.ReachProject, "a project"}, {access.ReachJob, "a job"}, {access.ReachRun, "a run"}, {access.ReachSource, "a source"}} {
		if reach&p.part != 0 {
			names = append(names, p.name)
		}
	}
	if len(names) > 0 {
		op.Description += " Open to credentials limited to " + strings.Join(names, ", ") + "."
	}
}
