package jobs

import (
	"cmp"
	"context"
	"fmt"

	"gaff"
)

// Approve has a job submitted that a budget holds. Its estimate is reserved beyond the limit. by names
// the person, comment may be empty. gaff.ErrConflict means that the job is not held.
func (l *Service) Approve(ctx context.Context, jobID, by, comment string) (*Job, error) {
	return l.decide(ctx, jobID, func(tx Tx, j *Job) error {
		if err := tx.AddLogEntry(ctx, j.ID, "hold", "approved"+signed(by, comment)); err != nil {
			return err
		}
		l.reserve(j)
		j.Submit = SubmitWaiting
		if err := tx.SaveJob(ctx, j); err != nil {
			return err
		}
		return l.dispatch(ctx, tx, j, false)
	})
}

// Reject ends a job as failed that a budget holds. No other candidate follows.
func (l *Service) Reject(ctx context.Context, jobID, by, comment string) (*Job, error) {
	j, err := l.decide(ctx, jobID, func(tx Tx, j *Job) error {
		if err := tx.AddLogEntry(ctx, j.ID, "hold", "rejected"+signed(by, comment)); err != nil {
			return err
		}
		j.Submit = SubmitRejected
		return l.end(ctx, tx, j, Update{
			Status: JobFailed, Uncertain: true, ErrorType: "budget_rejected", Error: "the job was held by a budget, and rejected" + signed(by, comment),
		}, "")
	})
	if err == nil {
		l.report(j)
	}
	return j, err
}

// signed says who decided, and why.
func signed(by, comment string) string {
	text := " by " + cmp.Or(by, "an unknown caller")
	if comment != "" {
		text += ": " + comment
	}
	return text
}

// decide changes a job that is held.
func (l *Service) decide(ctx context.Context, jobID string, change func(tx Tx, j *Job) error) (j *Job, err error) {
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		if j, err = tx.Job(ctx, jobID); err != nil {
			return err
		}
		if j.Submit != SubmitHeld || j.Status.Settled() {
			return fmt.Errorf("job %s: %w: it waits for no approval", jobID, gaff.ErrConflict)
		}
		return change(tx, j)
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}
