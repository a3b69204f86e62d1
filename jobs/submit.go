package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gaff"
	"gaff/internal/redact"
)

// submit works gaff:job.submit.
func (l *Service) submit(ctx context.Context, p Provider, t ticket) error {
	if t.Provider != p.Name() {
		return nil // a replay, which goes to all
	}
	j, input, err := l.begin(ctx, p, t.JobID)
	if err != nil || j == nil {
		return err
	}
	answer, err := p.Submit(ctx, j, input, j.WebhookURL)
	return l.Answered(ctx, j.ID, answer, err)
}

// begin stores that the provider is about to be called. It returns no job where that is
// not to be done: it was cancelled, or an earlier try may have reached the provider.
func (l *Service) begin(ctx context.Context, p Provider, jobID string) (j *Job, input json.RawMessage, err error) {
	var send bool
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		send = false
		if j, err = tx.Job(ctx, jobID); err != nil {
			return err
		}
		if j.Status.Settled() {
			return nil
		}
		again, _ := p.(Repeater)
		switch {
		case j.Submit == SubmitWaiting, j.Submit == SubmitSending && again != nil && again.Repeatable():
			if input, err = tx.Input(ctx, jobID); err != nil {
				return err
			}
			send = true
			return l.sending(ctx, tx, j)
		case j.Submit == SubmitSending:
			// The last try was cut off, and nobody can say how far it came.
			return l.unknown(ctx, tx, j, errors.New("the gateway ended while it was submitting"))
		}
		return nil
	})
	if errors.Is(err, gaff.ErrNotFound) {
		return nil, nil, gaff.Discard(err)
	}
	if err != nil || !send {
		l.poke(p.Name())
		return nil, nil, err
	}
	if j.WebhookURL == "" {
		l.o.Log.Warn("job is submitted without a webhook, and will be polled instead: WEBHOOK_BASE_URL is not set",
			"job", j.ID, "provider", j.Provider)
	}
	return j, input, nil
}

func (l *Service) sending(ctx context.Context, tx Tx, j *Job) error {
	j.Submit, j.SentAt = SubmitSending, tx.Now()
	j.NextPollAt = tx.Now().Add(stillSending)
	if j.WebhookURL == "" {
		if err := tx.AddLogEntry(ctx, j.ID, "submit", "without a webhook: this gateway has no address that the provider could reach"); err != nil {
			return err
		}
	}
	return tx.SaveJob(ctx, j)
}

// unknown stores that the provider may or may not have the job.
func (l *Service) unknown(ctx context.Context, tx Tx, j *Job, cause error) error {
	j.Submit = SubmitUnknown
	j.NextPollAt = tx.Now().Add(jitter(min(l.o.ReconcileAfter, l.o.SubmitPatience)))
	if err := tx.AddLogEntry(ctx, j.ID, "submit", "outcome unknown, so it is not sent again: "+cause.Error()); err != nil {
		return err
	}
	l.o.Log.Warn("outcome of a submit is unknown; the job waits for its webhook", "job", j.ID, "provider", j.Provider, "error", redact.Error(cause))
	return tx.SaveJob(ctx, j)
}

// answerPatience is how long after the end of its context Answered tries to store what the
// provider said.
const answerPatience = 10 * time.Second

// Answered stores how a submit ended; err as [Provider.Submit] returns it. While the database
// cannot be written it tries again, until a while after ctx ended: what the provider said must
// not be lost.
func (l *Service) Answered(ctx context.Context, jobID string, answer Accepted, submitErr error) error {
	var again, cancel bool
	var settled *Job
	ended, ctx := ctx.Done(), context.WithoutCancel(ctx)
	var giveUp <-chan time.Time
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := l.o.Store.Write(ctx, func(tx Tx) error {
			again, cancel, settled = false, false, nil
			j, err := tx.Job(ctx, jobID)
			if err != nil {
				return err
			}
			again, err = l.answered(ctx, tx, j, answer, submitErr)
			if j.Status == JobFailed && j.Submit == SubmitRejected {
				settled = j
			}
			cancel = submitErr == nil && j.Status == JobCancelled
			return err
		})
		if !errors.Is(err, gaff.ErrUnavailable) {
			if err != nil {
				return err
			}
			break
		}
		l.o.Log.Error("the outcome of a submit cannot be stored; trying again", "job", jobID, "request", answer.RequestID, "error", err)
		select {
		case <-time.After(wait):
		case <-ended:
			ended, giveUp = nil, time.After(answerPatience)
		case <-giveUp:
			return fmt.Errorf("the outcome of the submit of job %s is not stored: %w", jobID, err)
		}
	}
	l.report(settled)
	if cancel {
		// It was cancelled while it was being submitted.
		l.cancelLate(ctx, jobID)
	}
	var later *NotNow
	if again && errors.As(submitErr, &later) {
		if later.After > 0 {
			return gaff.RetryAfter(later.After, submitErr)
		}
		return submitErr
	}
	l.pokeAll()
	return nil
}

// answered stores the outcome in a job; again is set where the submit is to be repeated.
func (l *Service) answered(ctx context.Context, tx Tx, j *Job, answer Accepted, submitErr error) (again bool, err error) {
	var refused *Rejected
	var later *NotNow
	switch {
	case submitErr == nil:
		return false, l.accepted(ctx, tx, j, answer)
	case j.Status.Settled() || j.Submit != SubmitSending:
		// A webhook was faster, or it was cancelled.
		return false, tx.AddLogEntry(ctx, j.ID, "submit", submitErr.Error())
	case errors.As(submitErr, &refused):
		j.Submit = SubmitRejected
		if err := tx.AddLogEntry(ctx, j.ID, "submit", "refused: "+refused.Text); err != nil {
			return false, err
		}
		return false, l.fail(ctx, tx, j, refused.Text, refused.Type, "")
	case errors.As(submitErr, &later) && j.CallKey != "":
		return false, l.notTaken(ctx, tx, j, submitErr)
	case errors.As(submitErr, &later):
		if err := tx.AddLogEntry(ctx, j.ID, "submit", "not taken: "+submitErr.Error()); err != nil {
			return false, err
		}
		if tx.Now().Sub(j.CreatedAt) >= tryToSubmit {
			j.Submit = SubmitRejected
			text := fmt.Sprintf("%s did not take it: %v", j.Provider, submitErr)
			return false, l.fail(ctx, tx, j, text, "not_accepted", "")
		}
		j.Submit, j.SentAt, j.NextPollAt = SubmitWaiting, time.Time{}, time.Time{}
		return true, tx.SaveJob(ctx, j)
	}
	return false, l.unknown(ctx, tx, j, submitErr)
}

// accepted stores what the provider answered to a submit.
func (l *Service) accepted(ctx context.Context, tx Tx, j *Job, answer Accepted) error {
	text := "accepted as request " + answer.RequestID
	switch {
	case j.RequestID == answer.RequestID:
	case j.RequestID == "":
		switch other, err := tx.JobByRequest(ctx, j.Provider, answer.RequestID); {
		case err == nil:
			text += ", which is that of job " + other.ID + " already"
		case errors.Is(err, gaff.ErrNotFound):
			j.RequestID = answer.RequestID
		default:
			return err
		}
	default:
		text += ", but request " + clipText(j.RequestID) + " came to its webhook address before"
	}
	if j.RequestID == answer.RequestID {
		j.StatusURL, j.ResponseURL, j.CancelURL = answer.StatusURL, answer.ResponseURL, answer.CancelURL
	}
	j.Submit = SubmitAccepted
	if j.SubmittedAt.IsZero() {
		j.SubmittedAt = tx.Now()
	}
	if !j.Status.Settled() {
		l.schedule(tx.Now(), j)
	}
	if err := tx.AddLogEntry(ctx, j.ID, "submit", text); err != nil {
		return err
	}
	return tx.SaveJob(ctx, j)
}

// fail ends a job as failed by what gaff knows itself.
func (l *Service) fail(ctx context.Context, tx Tx, j *Job, text, code, by string) error {
	_, err := change(ctx, tx, l.o.Router, j, true, Update{Status: JobFailed, Error: text, ErrorType: code}, by, nil)
	return err
}

// Cancel ends a job that is not done, at the provider too. gaff.ErrConflict means that it
// had ended; any other error but gaff.ErrNotFound that the provider could not be asked,
// and nothing was changed. What a provider still makes of a cancelled job does not count.
func (l *Service) Cancel(ctx context.Context, jobID string) (*Job, error) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	text := "cancelled before it was submitted"
	switch p := l.providers[j.Provider]; {
	case j.Status == JobCancelled:
		return j, nil
	case j.Status.Settled():
		return nil, fmt.Errorf("job %s: %w: it is %s", j.ID, gaff.ErrConflict, j.Status)
	case j.RequestID != "" && p != nil && p.CanPoll(j):
		err := p.Cancel(ctx, j)
		switch {
		case errors.Is(err, ErrEnded), errors.Is(err, ErrNoSuchWork):
			// Its end is worth more than the wish.
			if j, err := l.Poll(ctx, jobID); err == nil && j.Status.Settled() {
				return nil, fmt.Errorf("job %s: %w: it had ended at %s as %s", jobID, gaff.ErrConflict, j.Provider, j.Status)
			}
			return nil, fmt.Errorf("job %s: %w: %s says that %w", jobID, gaff.ErrConflict, j.Provider, err)
		case err != nil:
			return nil, fmt.Errorf("cancel job %s at %s: %w", jobID, j.Provider, err)
		}
		text = "cancelled, and the provider was asked to stop; it may bill what it did"
	case j.Submit == SubmitSending || j.Submit == SubmitUnknown:
		text = "cancelled here; whether the provider works on it is not known"
	case j.Submit != SubmitWaiting:
		text = "cancelled here; the provider could not be told, since too little is known of the request"
	}
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		if j, err = tx.Job(ctx, jobID); err != nil || j.Status == JobCancelled {
			return err
		}
		if j.Status.Settled() {
			return fmt.Errorf("job %s: %w: it is %s", jobID, gaff.ErrConflict, j.Status)
		}
		if err := tx.AddLogEntry(ctx, jobID, "cancel", text); err != nil {
			return err
		}
		_, err := change(ctx, tx, l.o.Router, j, true, Update{Status: JobCancelled}, "", nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.report(j)
	return j, nil
}

// cancelLate cancels at the provider what was cancelled while it was being submitted.
func (l *Service) cancelLate(ctx context.Context, jobID string) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil {
		return
	}
	p := l.providers[j.Provider]
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	text := "the provider was asked to stop what was cancelled while it was submitted"
	if err := p.Cancel(ctx, j); err != nil {
		text = "cancelled while it was submitted, and the provider does not stop: " + err.Error()
		l.o.Log.Warn("a cancelled job goes on at its provider", "job", jobID, "error", redact.Error(err))
	}
	_ = l.o.Store.Write(ctx, func(tx Tx) error { return tx.AddLogEntry(ctx, jobID, "cancel", text) })
}
