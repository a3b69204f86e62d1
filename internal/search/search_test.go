package search_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/search"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// oneJob has one job, and counts the searches of prompts.
type oneJob struct {
	search.Store
	id      string
	prompts *int
}

func (s oneJob) Event(context.Context, string) (*gaff.EventDetail, error) {
	return nil, gaff.ErrNotFound
}

func (s oneJob) Events(context.Context, gaff.EventFilter) (page gaff.Page[gaff.Log], err error) {
	return page, nil
}

func (s oneJob) Job(_ context.Context, jobID string) (*jobs.Job, error) {
	if jobID != s.id {
		return nil, gaff.ErrNotFound
	}
	return &jobs.Job{ID: jobID, Model: "fal-ai/flux/dev"}, nil
}

func (s oneJob) Jobs(_ context.Context, f jobs.JobFilter) (page gaff.Page[jobs.Job], err error) {
	if f.Query != "" {
		*s.prompts++
	}
	return page, nil
}

func (s oneJob) JobInput(context.Context, string) (json.RawMessage, error) {
	return nil, gaff.ErrNotFound
}

func (s oneJob) Project(context.Context, string) (*jobs.Project, error) {
	return nil, gaff.ErrNotFound
}

func (s oneJob) Projects(context.Context, gaff.Cursor) (page gaff.Page[jobs.Project], err error) {
	return page, nil
}

func (s oneJob) Runs(context.Context, runs.Filter) (page gaff.Page[runs.Run], err error) {
	return page, nil
}

// Prompts are read for words, for ids that callers chose, and for ids that nothing has; not for the
// id of a job, as gaff makes them.
func TestIDsAreFoundWithoutReadingPrompts(t *testing.T) {
	t.Parallel()
	made := id.New(id.Job, time.Unix(1, 0))
	for text, c := range map[string]struct {
		jobID         string
		hits, prompts int
	}{
		made:                                {made, 1, 0},
		id.New(id.Job, time.Unix(2, 0)):     {made, 0, 1},
		"shot-7":                            {"shot-7", 1, 1},
		"a harbour at dawn":                 {made, 0, 1},
		"job_" + "abcdefghijklmnopqrstuvwx": {"job_abcdefghijklmnopqrstuvwx", 1, 1},
	} {
		prompts := 0
		got, err := search.Find(t.Context(), oneJob{id: c.jobID, prompts: &prompts}, nil, text, "", 20)
		if err != nil || len(got.Hits) != c.hits || prompts != c.prompts {
			t.Errorf("%s: %d hits, prompts were searched %d times, %v; want %+v", text, len(got.Hits), prompts, err, c)
		}
	}
}
