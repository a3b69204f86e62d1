package jobs

import (
	"context"
	"time"

	"gaff/internal/id"
)

// Record stores work that a provider has done already, as a settled job: a call whose response is the
// result, such as one that a proxy passed on. s.ID may name the job. startedAt is when the call was made.
func (l *Service) Record(ctx context.Context, s Submission, u Update, startedAt time.Time) (*Job, error) {
	u.shorten()
	var j *Job
	err := l.o.Store.Write(ctx, func(tx Tx) (err error) {
		if j, _, err = l.newJob(tx, &s); err != nil {
			return err
		}
		j.Submit, j.RequestID, j.WebhookURL = SubmitAccepted, u.RequestID, ""
		j.CreatedAt, j.SentAt, j.SubmittedAt = startedAt, startedAt, startedAt
		if _, err = (change{job: j, update: u, by: SettledBySubmit, service: l}).apply(ctx, tx, l.o.Router); err != nil {
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
