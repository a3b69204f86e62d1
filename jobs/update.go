package jobs

import (
	"context"
	"errors"
	"time"

	"gaff"
)

// Job returns one job, or gaff.ErrNotFound.
func (l *Service) Job(ctx context.Context, jobID string) (*Job, error) {
	return l.o.Store.Job(ctx, jobID)
}

// byRequest finds a job by its provider's name for it; nil if there is none.
func (l *Service) byRequest(ctx context.Context, provider, requestID string) (*Job, error) {
	page, err := l.o.Store.Jobs(ctx, JobFilter{Provider: provider, RequestID: requestID, Cursor: gaff.Cursor{Limit: 1}})
	if err != nil || len(page.Items) == 0 {
		return nil, err
	}
	return &page.Items[0], nil
}

// CallerOf names who asked for the job of a provider's request; ok is false if no job has
// the request.
func (l *Service) CallerOf(ctx context.Context, provider, requestID string) (caller string, ok bool) {
	j, err := l.byRequest(ctx, provider, requestID)
	if err != nil || j == nil {
		return "", false
	}
	return j.Caller, true
}

// RecordUpdate takes note of what a provider told someone else about a request, such as the
// caller of a proxy. A request of no job, or of one that has ended, is passed over.
func (l *Service) RecordUpdate(ctx context.Context, provider, requestID string, u Update) error {
	j, err := l.byRequest(ctx, provider, requestID)
	if err != nil || j == nil || j.Status.Settled() {
		return err
	}
	soon := time.Now().Add(l.o.ReconcileAfter / 2)
	if !u.Fetch && !u.Status.Settled() && u.Status <= j.Status && j.NextPollAt.After(soon) {
		return nil // nothing new, and clients ask twice a second
	}
	u.shorten()
	var settled *Job
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		settled = nil
		j, err := tx.JobByRequest(ctx, provider, requestID)
		if err != nil || j.Status.Settled() {
			return err
		}
		if u.Status.Settled() && !u.Fetch {
			if err := tx.AddLogEntry(ctx, j.ID, "ask", u.Status.String()+", told to a caller of the proxy"); err != nil {
				return err
			}
			ended, err := change(ctx, tx, l.o.Router, j, true, u, updateFrom(u), nil)
			if ended {
				settled = j
			}
			return err
		}
		j.Polls = 0
		l.schedule(tx.Now(), j)
		if u.Fetch {
			// The caller is about to fetch the result itself, most likely.
			j.NextPollAt = tx.Now().Add(jitter(min(l.o.ReconcileAfter, 5*time.Second)))
		}
		_, err = change(ctx, tx, l.o.Router, j, true, Update{Status: max(j.Status, u.Status)}, "", nil)
		return err
	})
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err == nil {
		l.report(settled)
		l.poke(provider)
	}
	return err
}

// updateFrom is who settles a job that another client polled.
func updateFrom(u Update) string {
	if u.Status == JobCancelled {
		return ""
	}
	return SettledByReconciliation
}
