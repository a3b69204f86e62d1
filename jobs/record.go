package jobs

import (
	"context"
	"errors"
	"time"

	"gaff"
	"gaff/internal/id"
)

// runTime bounds how long a call may take whose answer is the result.
const runTime = 12 * time.Minute

// Reserve makes room in the budgets and limits for a call whose answer is the result, and is about to be made. If
// its estimate is known, it stores the job, which [Service.Record] or [Service.Release] ends. The error
// is a [BudgetError] or a [LimitError] without room: such a call cannot wait. s.ID names the job.
func (l *Service) Reserve(ctx context.Context, s Submission) error {
	err := l.o.Store.Write(ctx, func(tx Tx) error {
		j, _, err := l.newJob(tx, &s)
		if err != nil {
			return err
		}
		j.Submit, j.WebhookURL, j.Status = SubmitSending, "", JobProcessing
		j.SentAt, j.NextPollAt = tx.Now(), tx.Now().Add(runTime)
		if _, err := l.admit(ctx, tx, j); err != nil {
			return err
		}
		counts, err := l.reserveTurn(ctx, tx, j)
		if err != nil || j.Charge.State == ChargeNone && !counts {
			return err
		}
		_, _, err = l.insert(ctx, tx, j, s)
		return err
	})
	l.reached(ctx, err)
	return err
}

// Release removes the job of a call that [Service.Reserve] stored, if the provider did not do the work.
func (l *Service) Release(ctx context.Context, jobID string) error {
	return l.o.Store.Write(ctx, func(tx Tx) error {
		j, err := tx.Job(ctx, jobID)
		if errors.Is(err, gaff.ErrNotFound) {
			return nil
		}
		if err != nil || j.Status.Settled() {
			return err
		}
		return tx.RemoveJob(ctx, jobID)
	})
}

// Record stores work that a provider has done already, as a settled job: a call whose response is the
// result, such as one that a proxy passed on. s.ID may name the job. startedAt is when the call was made.
func (l *Service) Record(ctx context.Context, s Submission, u Update, startedAt time.Time) (*Job, error) {
	u.shorten()
	var j *Job
	err := l.o.Store.Write(ctx, func(tx Tx) (err error) {
		if j, _, err = l.newJob(tx, &s); err != nil {
			return err
		}
		stored := false
		if reserved, err := tx.Job(ctx, j.ID); err == nil {
			j, stored = reserved, true
		} else if !errors.Is(err, gaff.ErrNotFound) {
			return err
		}
		j.Submit, j.RequestID, j.WebhookURL = SubmitAccepted, u.RequestID, ""
		if !stored {
			j.CreatedAt = startedAt
		}
		j.SentAt, j.SubmittedAt = startedAt, startedAt
		if _, err = (change{job: j, stored: stored, update: u, by: SettledBySubmit, service: l}).apply(ctx, tx, l.o.Router); err != nil {
			return err
		}
		if err := tx.SaveInput(ctx, j.ID, s.Input); err != nil {
			return err
		}
		return tx.AddLogEntry(ctx, j.ID, "submit", "answered "+j.Status.String()+" in one call; there is no webhook")
	})
	if err != nil {
		return nil, err
	}
	l.report(j)
	return j, nil
}

// NewID returns a new id for a job.
func NewID(now time.Time) string { return id.New(id.Job, now) }
