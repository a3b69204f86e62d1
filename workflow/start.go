package workflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// StartParams are the parameters of a new run.
type StartParams struct {
	Workflow          string
	ProjectID, UserID string
	Input             json.RawMessage // an object; nil means {}
	// Key is an idempotency key: unless empty, a second start returns the first run.
	Key string
	// FormerKey is the key that an older version stored for the same start; may be empty.
	FormerKey string

	eventID string
	hop     int
}

// Run starts a run of the current version of a workflow and returns it. created is false if
// the key was used before. Errors of the input wrap gaff.ErrInvalid.
func (e *Engine) Run(ctx context.Context, p StartParams) (run *runs.Run, created bool, err error) {
	c, err := e.Workflow(p.Workflow)
	if err != nil {
		return nil, false, err
	}
	if len(p.ProjectID) > 256 || len(p.UserID) > 256 || len(p.Key) > 512 {
		return nil, false, fmt.Errorf("%w: the maximum length is 256 bytes for project and user ids, 512 for a key", gaff.ErrInvalid)
	}
	input, err := c.CheckInput(p.Input)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	now := time.Now()
	run = &runs.Run{
		ID: id.New(id.Run, now), Workflow: c.Name, Version: c.Hash, ProjectID: p.ProjectID, UserID: p.UserID, Input: input,
		EventID: p.eventID, Hop: p.hop, Key: p.Key, FormerKey: p.FormerKey, CreatedAt: now,
	}
	if c.Timeout > 0 {
		run.DueAt = now.Add(time.Duration(c.Timeout))
	}
	project, err := e.project(ctx, run)
	if err != nil {
		return nil, false, err
	}
	fresh := *run
	st := newState(c, *run, *project, nil)
	a := e.advanceOf(ctx, c, st, now)
	a.next()
	if a.err != nil {
		return nil, false, a.err
	}
	err = e.commit(ctx, a, e.o.Store.WriteRuns, func(tx runs.Tx) error {
		r := fresh
		if err := tx.SeeProject(ctx, r.ProjectID); err != nil {
			return err
		}
		if err := tx.SaveWorkflow(ctx, &runs.WorkflowVersion{Hash: c.Hash, Name: c.Name, Definition: c.Definition}); err != nil {
			return err
		}
		var err error
		if created, err = tx.InsertRun(ctx, &r); err != nil || !created {
			*run = r
			return err
		}
		if !r.DueAt.IsZero() {
			if err := e.emitIn(ctx, tx, eventAdvance, message{RunID: r.ID}, r.DueAt, r.Hop); err != nil {
				return err
			}
		}
		return e.write(ctx, tx, a, run)
	})
	if err != nil {
		return nil, false, err
	}
	if !created {
		run, err = e.o.Store.Run(ctx, run.ID)
	}
	return run, created, err
}

func (e *Engine) project(ctx context.Context, run *runs.Run) (*jobs.Project, error) {
	if run.ProjectID == "" {
		return &jobs.Project{}, nil
	}
	p, err := e.o.Store.Project(ctx, run.ProjectID)
	if errors.Is(err, gaff.ErrNotFound) {
		return &jobs.Project{ID: run.ProjectID}, nil
	}
	return p, err
}

// startForEvent starts one run for an event that matches a trigger.
func (e *Engine) startForEvent(ctx context.Context, c *Compiled, n int, t *trigger, ev *gaff.Event, value map[string]any) error {
	vars := map[string]any{"event": value}
	if t.filter != nil {
		met, err := t.filter.Bool(vars)
		if err != nil {
			// The filter reads a field that the event does not have.
			e.log.Debug("a workflow filter failed for an event", "workflow", c.Name, "event", ev.ID)
			return nil
		}
		if !met {
			return nil
		}
	}
	project, hop, err := e.origin(ctx, ev)
	if err != nil {
		return err
	}
	if hop >= gaff.MaxHops {
		return fmt.Errorf("%w: more than %d runs and events caused one another; is there a loop?", gaff.ErrInvalid, gaff.MaxHops)
	}
	key := fmt.Sprintf("event:%s:%d", ev.ID, n)
	if t.key != nil {
		own, err := evalText(t.key, vars)
		if err != nil {
			return fmt.Errorf("%w: key: %w", gaff.ErrInvalid, err)
		}
		key = excerpt.Text("key:"+own, 500)
	}
	own, input, err := evalStart(t.project, t.input, vars)
	if err != nil {
		return fmt.Errorf("%w: %w", gaff.ErrInvalid, err)
	}
	if t.project != nil {
		project = own
	}
	_, _, err = e.Run(ctx, StartParams{Workflow: c.Name, ProjectID: project, Input: input, Key: key, eventID: ev.ID, hop: hop})
	return err
}

// evalStart evaluates the project and input of a trigger or schedule. A missing project is empty.
func evalStart(project, input value, vars map[string]any) (string, json.RawMessage, error) {
	id, err := evalText(project, vars)
	if err != nil {
		return "", nil, fmt.Errorf("project: %w", err)
	}
	raw, err := evalJSON(input, vars)
	if err != nil {
		return "", nil, fmt.Errorf("input: %w", err)
	}
	return id, raw, nil
}

// origin returns the project of an event and its hop. The event of a job that a run submitted
// has the hop of the run plus one, no matter who sent the event.
func (e *Engine) origin(ctx context.Context, ev *gaff.Event) (project string, hop int, err error) {
	hop = ev.Hop + 1
	jobID := ""
	if ev.Source == gaff.InternalSource {
		var about struct{ JobID, ProjectID string }
		_ = json.Unmarshal(ev.Data, &about)
		project, jobID = about.ProjectID, about.JobID
	} else if in := e.o.Interpreters[ev.Source]; in != nil {
		u, err := in.Interpret(ev)
		if err != nil {
			return "", hop, nil // not about a job
		}
		project, jobID = u.ProjectID, u.JobID
		if jobID == "" && u.RequestID != "" {
			err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error {
				j, err := tx.JobByRequest(ctx, u.Provider, u.RequestID)
				if err == nil {
					jobID, project = j.ID, cmp.Or(project, j.ProjectID)
				}
				if errors.Is(err, gaff.ErrNotFound) {
					return nil
				}
				return err
			})
			if err != nil {
				return "", hop, err
			}
		}
	}
	if jobID == "" {
		return project, hop, nil
	}
	if project == "" {
		if j, err := e.o.Store.Job(ctx, jobID); err == nil {
			project = j.ProjectID
		}
	}
	ref, err := e.o.Store.StepOfJob(ctx, jobID)
	if err == nil {
		run, err := e.o.Store.Run(ctx, ref.RunID)
		if err == nil {
			hop = max(hop, run.Hop+1)
		}
	}
	return project, hop, nil
}
