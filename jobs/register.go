package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gaff"
	"gaff/internal/excerpt"
)

// Registration describes work that an application submits itself. Empty fields change nothing.
type Registration struct {
	Provider, Model, Kind, ProjectID, UserID string
	// RequestID is the provider's name for the work; it can be set once.
	RequestID                         string
	StatusURL, ResponseURL, CancelURL string
	Metadata                          json.RawMessage
	Callback                          string
}

// Register stores what an application knows about a job, under an id of its own: before it submits
// the job (to get its WebhookURL), or after (to set the provider's RequestID). created reports
// whether the job is new. A job that has another RequestID is gaff.ErrConflict.
func (l *Service) Register(ctx context.Context, jobID string, r Registration) (j *Job, created bool, err error) {
	if jobID == "" {
		return nil, false, &InvalidError{"id", "is missing"}
	}
	if err := checkFields(map[string]string{
		"id": jobID, "provider": r.Provider, "model": r.Model, "kind": r.Kind, "projectId": r.ProjectID, "userId": r.UserID,
		"requestId": r.RequestID,
	}, r.Metadata, r.Callback); err != nil {
		return nil, false, err
	}
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		j, created, err = l.register(ctx, tx, jobID, r)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	l.poke(j.Provider)
	return j, created, nil
}

func (l *Service) register(ctx context.Context, tx Tx, jobID string, r Registration) (j *Job, created bool, err error) {
	j, err = tx.Job(ctx, jobID)
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		created = true
		if r.Provider == "" {
			return nil, false, &InvalidError{"provider", "is missing: the job is not known yet"}
		}
		j = &Job{ID: jobID, Provider: r.Provider, Status: JobQueued, CreatedAt: tx.Now()}
		j.WebhookURL = l.WebhookURL(j.Provider, j.ID)
	case err != nil:
		return nil, false, err
	case r.Provider != "" && r.Provider != j.Provider:
		return nil, false, fmt.Errorf("job %s: %w: it is one of %s", jobID, gaff.ErrConflict, j.Provider)
	}
	p := l.provider(j.Provider)
	if p == nil {
		return nil, false, &InvalidError{"provider", fmt.Sprintf("%.40q is not known; there are %s", j.Provider, strings.Join(l.names(), ", "))}
	}
	if checker, ok := p.(AddressChecker); ok {
		for _, field := range [...]struct{ name, address string }{
			{"statusUrl", r.StatusURL}, {"responseUrl", r.ResponseURL}, {"cancelUrl", r.CancelURL},
		} {
			if field.address == "" {
				continue
			}
			if err := checker.CheckAddress(field.address); err != nil {
				return nil, false, &InvalidError{field.name, err.Error()}
			}
		}
	}
	couldAsk := p.CanPoll(j)
	if r.RequestID != "" && r.RequestID != j.RequestID {
		if j.RequestID != "" {
			return nil, false, fmt.Errorf("job %s: %w: its request is %s", jobID, gaff.ErrConflict, excerpt.Text(j.RequestID, 80))
		}
		switch other, err := tx.JobByRequest(ctx, j.Provider, r.RequestID); {
		case err == nil:
			return nil, false, fmt.Errorf("job %s: %w: request %s is that of job %s", jobID, gaff.ErrConflict, excerpt.Text(r.RequestID, 80), other.ID)
		case !errors.Is(err, gaff.ErrNotFound):
			return nil, false, err
		}
		j.RequestID = r.RequestID
		if j.SubmittedAt.IsZero() {
			j.SubmittedAt = tx.Now()
		}
	}
	for _, field := range []struct {
		to   *string
		from string
	}{
		{&j.Model, r.Model}, {&j.Kind, r.Kind}, {&j.ProjectID, r.ProjectID}, {&j.UserID, r.UserID}, {&j.StatusURL, r.StatusURL},
		{&j.ResponseURL, r.ResponseURL}, {&j.CancelURL, r.CancelURL}, {&j.Callback, r.Callback},
	} {
		if field.from != "" {
			*field.to = field.from
		}
	}
	if len(r.Metadata) > 0 {
		j.Metadata = r.Metadata
	}
	if !j.Status.Settled() && (j.NextPollAt.IsZero() || !couldAsk && p.CanPoll(j)) {
		l.schedule(tx.Now(), j)
	}
	if created {
		if err := tx.InsertJob(ctx, j); err != nil {
			return nil, false, err
		}
		return j, true, tx.AddLogEntry(ctx, j.ID, "register", "told of by an application")
	}
	return j, false, tx.SaveJob(ctx, j)
}
