package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/redact"
)

// Cancel ends a job that is not done, at the provider too. gaff.ErrConflict means that it
// had ended; any other error but gaff.ErrNotFound that the provider could not be asked,
// and nothing was changed. What a provider still makes of a cancelled job does not count.
func (l *Service) Cancel(ctx context.Context, jobID string) (*Job, error) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	text, attempt := "cancelled before it was submitted", j.Attempt
	switch p := l.provider(j.Provider); {
	case j.Status == JobCancelled:
		return j, nil
	case j.Status.Settled():
		return nil, fmt.Errorf("job %s: %w: it is %s", j.ID, gaff.ErrConflict, j.Status)
	case j.RequestID != "" && p != nil && p.CanPoll(j):
		err := p.Cancel(ctx, j)
		switch {
		case errors.Is(err, ErrEnded), errors.Is(err, ErrNoSuchWork):
			// A result is worth more than the cancellation.
			if j, err := l.Poll(ctx, jobID); err == nil && j.Status.Settled() {
				return nil, fmt.Errorf("job %s: %w: it had ended at %s as %s", jobID, gaff.ErrConflict, j.Provider, j.Status)
			}
			return nil, fmt.Errorf("job %s: %w: %s says that %w", jobID, gaff.ErrConflict, j.Provider, err)
		case errors.Is(err, ErrNoCancel):
			text = "cancelled here; " + j.Provider + " has no way to stop it, and may bill it"
		case err != nil:
			return nil, fmt.Errorf("cancel job %s at %s: %w", jobID, j.Provider, err)
		default:
			text = "cancelled, and the provider was asked to stop; it may bill what it did"
		}
	case j.Submit == SubmitSending || j.Submit == SubmitUnknown:
		text = "cancelled here; whether the provider works on it is not known"
	case j.Submit != SubmitWaiting && j.Submit != SubmitHeld:
		text = "cancelled here; the provider could not be asked to stop, since too little is known of the request"
	}
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		if j, err = tx.Job(ctx, jobID); err != nil || j.Status == JobCancelled {
			return err
		}
		if j.Status.Settled() {
			return fmt.Errorf("job %s: %w: it is %s", jobID, gaff.ErrConflict, j.Status)
		}
		if j.Attempt != attempt {
			return fmt.Errorf("job %s: %w: it moved to %s meanwhile; cancel it again", jobID, gaff.ErrConflict, j.Provider)
		}
		if err := tx.AddLogEntry(ctx, jobID, "cancel", text); err != nil {
			return err
		}
		if j.Submit == SubmitWaiting {
			if err := tx.LeaveQueue(ctx, jobID); err != nil {
				return err
			}
		}
		_, err := change{job: j, stored: true, update: Update{Status: JobCancelled}, service: l}.apply(ctx, tx, l.o.Router)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.report(j)
	return j, nil
}

// cancelLate cancels a job at the provider that was cancelled during its submit.
func (l *Service) cancelLate(ctx context.Context, jobID string) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil {
		return
	}
	p := l.provider(j.Provider)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	text := "the provider was asked to stop the job, which was cancelled while it was submitted"
	if err := p.Cancel(ctx, j); err != nil {
		text = "cancelled while it was submitted, and the provider does not stop: " + err.Error()
		l.o.Log.Warn("a cancelled job goes on at its provider", "job", jobID, "error", redact.Error(err))
	}
	_ = l.o.Store.Write(ctx, func(tx Tx) error { return tx.AddLogEntry(ctx, jobID, "cancel", text) })
}
