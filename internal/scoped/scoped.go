// Package scoped shows of a store only the rows that a credential's scope reaches. The API and the
// console read through it, so that no operation and no page can forget it.
package scoped

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/excerpt"
	"gaff/internal/issue"
	"gaff/internal/stats"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Store is the reading part of a store.
type Store interface {
	gaff.Reader
	jobs.Reader
	stats.Store
	runs.Reader
	issue.Store
	gaff.ScheduleReader
}

// Limit returns the store as a credential with the scope may see it.
func Limit(all Store, scope access.Scope) Store {
	if !scope.Limited() {
		return all
	}
	return limited{all, scope}
}

// limited shows only the rows that a scope reaches. What cannot be limited is an error.
type limited struct {
	all   Store
	scope access.Scope
}

// Hidden returns the error for a row that the caller cannot see: that of a missing one.
func Hidden(kind, id string) error {
	return fmt.Errorf("%s %s: %w", kind, excerpt.Text(id, 60), gaff.ErrNotFound)
}

func (l limited) Job(ctx context.Context, id string) (*jobs.Job, error) {
	j, err := l.all.Job(ctx, id)
	if err == nil && !l.scope.HasJob(j.ID, j.ProjectID) {
		return nil, Hidden("job", id)
	}
	return j, err
}

func (l limited) Jobs(ctx context.Context, f jobs.JobFilter) (gaff.Page[jobs.Job], error) {
	if !narrow(&f.ProjectID, l.scope.Project) {
		return gaff.Page[jobs.Job]{}, nil
	}
	return l.all.Jobs(ctx, f)
}

func (l limited) MediaByID(ctx context.Context, id string) (*jobs.Media, error) {
	m, err := l.all.MediaByID(ctx, id)
	if err == nil && !l.scope.HasJob(m.JobID, m.ProjectID) {
		return nil, Hidden("media", id)
	}
	return m, err
}

func (l limited) Media(ctx context.Context, f jobs.MediaFilter) (gaff.Page[jobs.Media], error) {
	ok := l.scope.Project != "" && narrow(&f.ProjectID, l.scope.Project)
	if !ok && (l.scope.Job == "" || !narrow(&f.JobID, l.scope.Job)) {
		return gaff.Page[jobs.Media]{}, nil
	}
	return l.all.Media(ctx, f)
}

func (l limited) Run(ctx context.Context, id string) (*runs.Run, error) {
	r, err := l.all.Run(ctx, id)
	if err == nil && !l.scope.HasRun(r.ID, r.ProjectID) {
		return nil, Hidden("run", id)
	}
	return r, err
}

func (l limited) Runs(ctx context.Context, f runs.Filter) (gaff.Page[runs.Run], error) {
	if !narrow(&f.ProjectID, l.scope.Project) {
		return gaff.Page[runs.Run]{}, nil
	}
	return l.all.Runs(ctx, f)
}

func (l limited) Steps(ctx context.Context, run string) ([]runs.Step, error) {
	if _, err := l.Run(ctx, run); err != nil {
		return nil, err
	}
	return l.all.Steps(ctx, run)
}

func (l limited) StepValues(ctx context.Context, run, step string) ([]runs.Step, error) {
	if _, err := l.Run(ctx, run); err != nil {
		return nil, err
	}
	return l.all.StepValues(ctx, run, step)
}

func (l limited) Project(ctx context.Context, id string) (*jobs.Project, error) {
	if id != l.scope.Project {
		return nil, Hidden("project", id)
	}
	return l.all.Project(ctx, id)
}

// hasPublished reports whether a published event of a project can be reached.
func (l limited) hasPublished(project string) bool {
	return l.scope.HasSource(gaff.PublishedSource) || l.scope.Project != "" && l.scope.Project == project
}

func (l limited) ScheduledEvent(ctx context.Context, id string) (*gaff.Publication, error) {
	p, err := l.all.ScheduledEvent(ctx, id)
	if err == nil && !l.hasPublished(p.ProjectID) {
		return nil, Hidden("scheduled event", id)
	}
	return p, err
}

func (l limited) ScheduledEvents(ctx context.Context, f gaff.ScheduleFilter) (gaff.Page[gaff.Publication], error) {
	if !l.scope.HasSource(gaff.PublishedSource) && !narrow(&f.ProjectID, l.scope.Project) {
		return gaff.Page[gaff.Publication]{}, nil
	}
	return l.all.ScheduledEvents(ctx, f)
}

func (l limited) Event(ctx context.Context, id string) (*gaff.EventDetail, error) {
	d, err := l.all.Event(ctx, id)
	if err == nil && !l.scope.HasSource(d.Source) {
		return nil, Hidden("event", id)
	}
	return d, err
}

func (l limited) Events(ctx context.Context, f gaff.EventFilter) (gaff.Page[gaff.Log], error) {
	if !narrow(&f.Source, l.scope.Source) || f.JobID != "" || f.ProjectID != "" { // it reaches no jobs
		return gaff.Page[gaff.Log]{}, nil
	}
	return l.all.Events(ctx, f)
}

func (l limited) Logs(ctx context.Context, q gaff.LogQuery) ([]gaff.Log, int, error) {
	if !narrow(&q.Source, l.scope.Source) {
		return nil, 0, nil
	}
	return l.all.Logs(ctx, q)
}

func (l limited) SearchLogs(ctx context.Context, q gaff.LogSearch) (gaff.LogResult, error) {
	own := gaff.LogCondition{Field: gaff.LogSource, Operator: gaff.OpEquals, Values: []any{l.scope.Source}}
	q.Where = gaff.LogCondition{And: []gaff.LogCondition{own, q.Where}}
	return l.all.SearchLogs(ctx, q)
}

func (l limited) Delivery(ctx context.Context, id string) (*gaff.Delivery, []gaff.Attempt, error) {
	d, attempts, err := l.all.Delivery(ctx, id)
	if err == nil && !l.scope.HasSource(d.Source) {
		return nil, nil, Hidden("delivery", id)
	}
	return d, attempts, err
}

func (l limited) Deliveries(ctx context.Context, f gaff.DeliveryFilter) (gaff.Page[gaff.Delivery], error) {
	if !narrow(&f.Source, l.scope.Source) {
		return gaff.Page[gaff.Delivery]{}, nil
	}
	return l.all.Deliveries(ctx, f)
}

func (l limited) Rejection(ctx context.Context, id string) (*gaff.Rejection, error) {
	r, err := l.all.Rejection(ctx, id)
	if err == nil && !l.scope.HasSource(r.Source) {
		return nil, Hidden("rejection", id)
	}
	return r, err
}

func (l limited) Rejections(ctx context.Context, f gaff.RejectionFilter) (gaff.Page[gaff.Rejection], error) {
	if !narrow(&f.Source, l.scope.Source) {
		return gaff.Page[gaff.Rejection]{}, nil
	}
	return l.all.Rejections(ctx, f)
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

// jobs and files

func (l limited) JobLog(ctx context.Context, id string) ([]jobs.LogEntry, error) {
	if _, err := l.Job(ctx, id); err != nil {
		return nil, err
	}
	return l.all.JobLog(ctx, id)
}

// JobCards leaves out the jobs that the scope does not reach.
func (l limited) JobCards(ctx context.Context, ids []string) (map[string]jobs.Card, error) {
	var own []string
	for _, id := range ids {
		if _, err := l.Job(ctx, id); err == nil {
			own = append(own, id)
		} else if !errors.Is(err, gaff.ErrNotFound) {
			return nil, err
		}
	}
	return l.all.JobCards(ctx, own)
}

func (l limited) Outcomes(context.Context, time.Time) ([]jobs.Outcome, error) {
	return nil, l.refused("the outcomes of all jobs")
}

func (l limited) JobInput(ctx context.Context, id string) (json.RawMessage, error) {
	if _, err := l.Job(ctx, id); err != nil {
		return nil, err
	}
	return l.all.JobInput(ctx, id)
}

func (l limited) JobPosition(ctx context.Context, id string) (int64, error) {
	if _, err := l.Job(ctx, id); err != nil {
		return 0, err
	}
	return l.all.JobPosition(ctx, id)
}

func (l limited) JobPlan(ctx context.Context, id string) (*jobs.Plan, []jobs.Attempt, error) {
	if _, err := l.Job(ctx, id); err != nil {
		return nil, nil, err
	}
	return l.all.JobPlan(ctx, id)
}

func (l limited) JobCounts(ctx context.Context, project string) (map[jobs.JobStatus]int64, error) {
	if !narrow(&project, l.scope.Project) {
		return nil, nil
	}
	return l.all.JobCounts(ctx, project)
}

func (l limited) MediaCount(ctx context.Context, project string) (int64, error) {
	if !narrow(&project, l.scope.Project) {
		return 0, nil
	}
	return l.all.MediaCount(ctx, project)
}

func (l limited) MediaByLink(ctx context.Context, token string) (*jobs.Media, error) {
	m, err := l.all.MediaByLink(ctx, token)
	if err == nil && !l.scope.HasJob(m.JobID, m.ProjectID) {
		return nil, Hidden("link", "")
	}
	return m, err
}

// Projects returns the only project, on one page.
func (l limited) Projects(ctx context.Context, c gaff.Cursor) (page gaff.Page[jobs.Project], err error) {
	if l.scope.Project == "" || c.After != "" {
		return page, nil
	}
	p, err := l.Project(ctx, l.scope.Project)
	if err != nil {
		return page, ignoreMissing(err)
	}
	page.Items = []jobs.Project{*p}
	return page, nil
}

// runs

func (l limited) StepMedia(ctx context.Context, run, step string) (map[int][]jobs.Media, error) {
	if _, err := l.Run(ctx, run); err != nil {
		return nil, err
	}
	return l.all.StepMedia(ctx, run, step)
}

func (l limited) StepOfJob(ctx context.Context, jobID string) (runs.StepRef, error) {
	if _, err := l.Job(ctx, jobID); err != nil {
		return runs.StepRef{}, err
	}
	return l.all.StepOfJob(ctx, jobID)
}

// events

func (l limited) KeyUses(ctx context.Context, source string) ([]gaff.KeyUse, error) {
	if !l.scope.HasSource(source) {
		return nil, Hidden("source", source)
	}
	return l.all.KeyUses(ctx, source)
}

// Counts returns the counts of the only source.
func (l limited) Counts(ctx context.Context, since time.Time) (gaff.Counts, error) {
	counts, err := l.all.Counts(ctx, since)
	own := gaff.Counts{}
	for _, c := range counts.Sources {
		if l.scope.HasSource(c.Source) {
			own.Sources = append(own.Sources, c)
		}
	}
	return own, err
}

func (l limited) Counted(ctx context.Context, s stats.Span) ([]stats.Count, error) {
	if !narrow(&s.Source, l.scope.Source) {
		return nil, nil
	}
	return l.all.Counted(ctx, s)
}

func (l limited) Sampled(ctx context.Context, s stats.Span) ([]stats.Sample, error) {
	if s.Handler != "" {
		if !l.scope.HasDestination(s.Handler) {
			return nil, nil
		}
		return l.all.Sampled(ctx, s)
	}
	if !narrow(&s.Source, l.scope.Source) {
		return nil, nil
	}
	return l.all.Sampled(ctx, s)
}

func (l limited) HandlersSampled(context.Context, time.Time) ([]stats.HandlerSample, error) {
	return nil, l.refused("the attempts of all handlers")
}

// The change log has ids only; its readers check each resource.

func (l limited) Changes(ctx context.Context, after string, limit int) ([]gaff.Change, string, bool, error) {
	return l.all.Changes(ctx, after, limit)
}

func (l limited) Changed() <-chan struct{} { return l.all.Changed() }

// refused is the error of queries about the whole gateway.
func (l limited) refused(what string) error {
	return fmt.Errorf("%w: a credential limited to %s cannot read %s", gaff.ErrInvalid, l.scope, what)
}

func (l limited) Durations(context.Context) ([]jobs.Durations, error) {
	return nil, l.refused("durations of all jobs")
}

func (l limited) Activity(context.Context, time.Time) ([]stats.Activity, error) {
	return nil, l.refused("the activity of all sources")
}

func (l limited) AddLatencies(context.Context, []stats.Latency) error {
	return l.refused("statistics")
}

func (l limited) RollUp(context.Context, time.Time) error { return l.refused("statistics") }

func (l limited) WaitingFor(context.Context, string, string, string) ([]runs.StepRef, error) {
	return nil, l.refused("the steps of all runs")
}

func (l limited) WaitingApprovals(context.Context, int) ([]runs.StepRef, error) {
	return nil, l.refused("the approvals of all runs")
}

func (l limited) WaitingOf(context.Context, string) ([]runs.StepRef, error) {
	return nil, l.refused("the steps of all runs")
}

func (l limited) WorkflowVersion(context.Context, string) (*runs.WorkflowVersion, error) {
	return nil, l.refused("workflows")
}

func (l limited) OpenVersions(context.Context) ([]string, error) {
	return nil, l.refused("workflows")
}

func (l limited) Slots(context.Context) ([]runs.SlotUse, error) { return nil, l.refused("limits") }

func (l limited) RunCounts(context.Context) (map[string]map[string]int, error) {
	return nil, l.refused("the counts of all runs")
}

func (l limited) Issues(context.Context, issue.Filter) (gaff.Page[issue.Issue], error) {
	return gaff.Page[issue.Issue]{}, l.refused("issues")
}

func (l limited) Issue(context.Context, string) (*issue.Issue, error) {
	return nil, l.refused("issues")
}

func (l limited) SetIssueState(context.Context, string, issue.State, string) (*issue.Issue, error) {
	return nil, l.refused("issues")
}

func (l limited) IssueDeliveries(context.Context, string, int) ([]string, error) {
	return nil, l.refused("issues")
}

func (l limited) ResolveIssues(context.Context, time.Time) (int, error) {
	return 0, l.refused("issues")
}

func (l limited) IssueCounts(context.Context) (map[issue.State]int, error) {
	return nil, l.refused("issues")
}

func ignoreMissing(err error) error {
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	return err
}

func (l limited) Costs(ctx context.Context, f jobs.CostFilter) (none jobs.CostSums, err error) {
	if !narrow(&f.ProjectID, l.scope.Project) {
		return none, nil
	}
	return l.all.Costs(ctx, f)
}

func (l limited) Budgets(context.Context) ([]jobs.Budget, error) {
	return nil, l.refused("budgets")
}

func (l limited) Spent(context.Context, jobs.Budget, time.Time) (jobs.Micros, error) {
	return 0, l.refused("the costs of budgets")
}
