// Package erase deletes an event, a job, a project, or all data of a user, and the files in storage
// that belong to them.
package erase

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// Kind is what a target is.
type Kind string

// The kinds of targets.
const (
	Event   Kind = "event"
	Job     Kind = "job"
	Project Kind = "project"
	User    Kind = "user"
	Media   Kind = "media"
)

// Target is what to erase.
type Target struct {
	Kind Kind
	ID   string
}

// maxID bounds the id of a target, in bytes: longer ids are stored nowhere.
const maxID = 1024

// Check returns an error for a target without a valid id.
func (t Target) Check() error {
	if t.ID == "" || len(t.ID) > maxID {
		return fmt.Errorf("%w: the id of the %s is %d bytes long: want 1 to %d", gaff.ErrInvalid, t.Kind, len(t.ID), maxID)
	}
	return nil
}

// Counts are the rows that belong to a target.
type Counts struct {
	Events, Jobs, Media, Runs, Projects, Rejections int64
	// Records are rows that stay, such as lines of the audit log, in which the id is replaced by
	// the pseudonym, and jobs with the result of an erased one, whose id is removed.
	Records int64
}

// Found is what belongs to a target.
type Found struct {
	Counts
	// Pseudonym replaces the id of a user or a project in rows that stay; it is the same each time.
	Pseudonym string
	// Jobs and Runs that are not settled: the provider still works for them.
	OpenJobs, OpenRuns []string
}

// Store has the rows.
type Store interface {
	// FindErasable finds what belongs to a target. ErrNotFound if an event or a job is missing.
	FindErasable(ctx context.Context, t Target) (*Found, error)
	// Erase deletes it in small batches, and returns what it deleted. It can be repeated after an
	// interruption. Keys of files that no row names any more are added to the list of ErasedFiles.
	Erase(ctx context.Context, t Target) (*Found, error)
}

// Options of a Service. Store and Log are required.
type Options struct {
	Store Store
	// Cancel and CancelRun end unsettled jobs and runs, at the provider too. Nil: not possible.
	Cancel    func(ctx context.Context, jobID string) (*jobs.Job, error)
	CancelRun func(ctx context.Context, runID, by string) (*runs.Run, error)
	// RemoveFiles deletes the files of ErasedFiles from storage now. Nil: without storage.
	RemoveFiles func(ctx context.Context) error
	Log         *slog.Logger
}

// Service erases. It runs one erasure at a time.
type Service struct {
	o  Options
	mu sync.Mutex
}

// New returns a Service.
func New(o Options) *Service { return &Service{o: o} }

// Find returns what an erasure would delete.
func (s *Service) Find(ctx context.Context, t Target) (*Found, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	return s.o.Store.FindErasable(ctx, t)
}

// Erased is the outcome of an erasure.
type Erased struct {
	Found
	// FilesPending is why files are still in storage; they are deleted later. Nil: none is.
	FilesPending error
	At           time.Time
}

// Erase deletes what belongs to a target. With cancel it first cancels unsettled jobs and runs;
// without it they are ErrConflict, and nothing is deleted. by names the caller.
func (s *Service) Erase(ctx context.Context, t Target, cancel bool, by string) (*Erased, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if !s.mu.TryLock() {
		return nil, fmt.Errorf("%w: another erasure is running; repeat this one when it has ended", gaff.ErrConflict)
	}
	defer s.mu.Unlock()
	found, err := s.o.Store.FindErasable(ctx, t)
	if err != nil {
		return nil, err
	}
	if len(found.OpenJobs)+len(found.OpenRuns) > 0 {
		if !cancel {
			return nil, unfinished(found)
		}
		if err := s.cancel(ctx, found, by); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	deleted, err := s.o.Store.Erase(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("erase: %w; rows deleted so far stay deleted: repeat the erasure", err)
	}
	e := &Erased{Found: *deleted, At: time.Now()}
	if s.o.RemoveFiles != nil {
		e.FilesPending = s.o.RemoveFiles(ctx)
	}
	// The log has no id of the erased: it would outlive them.
	s.o.Log.InfoContext(ctx, "erased", "kind", string(t.Kind), "pseudonym", e.Pseudonym, "events", e.Events, "jobs", e.Jobs, "media", e.Media, "runs", e.Runs,
		"rejections", e.Rejections, "took", time.Since(began).Round(time.Millisecond).String())
	return e, nil
}

func unfinished(f *Found) error {
	kind, open := "job", f.OpenJobs
	if len(open) == 0 {
		kind, open = "run", f.OpenRuns
	}
	return fmt.Errorf("%w: %d %ss are not finished, such as %s: cancel them, or erase with cancel, which cancels them at the provider first",
		gaff.ErrConflict, len(open), kind, excerpt.Text(open[0], 80))
}

// cancel ends the unsettled runs, then the unsettled jobs.
func (s *Service) cancel(ctx context.Context, f *Found, by string) error {
	for _, id := range f.OpenRuns {
		if s.o.CancelRun == nil {
			return fmt.Errorf("%w: run %s is not finished, and this gateway runs no workflows", gaff.ErrConflict, id)
		}
		if _, err := s.o.CancelRun(ctx, id, by); err != nil && !over(err) {
			return fmt.Errorf("nothing was erased: cancel run %s: %w", id, err)
		}
	}
	for _, id := range f.OpenJobs {
		if s.o.Cancel == nil {
			return fmt.Errorf("%w: job %s is not finished, and this gateway cancels no jobs", gaff.ErrConflict, id)
		}
		if _, err := s.o.Cancel(ctx, id); err != nil && !over(err) {
			return fmt.Errorf("nothing was erased: cancel job %s: %w", id, err)
		}
	}
	return nil
}

// over reports that there is nothing to cancel any more. If the row is unsettled nevertheless, the
// store refuses to erase it.
func over(err error) bool {
	return errors.Is(err, gaff.ErrConflict) || errors.Is(err, gaff.ErrNotFound)
}
