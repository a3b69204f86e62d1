package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"strconv"
	"sync"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/redact"
)

// lookEvery is the longest time between two searches for due jobs: another node may have left
// some.
const lookEvery = 5 * time.Second

func (l *Service) reconcile(ctx context.Context, p Provider) {
	var asking sync.WaitGroup
	defer asking.Wait()
	free := make(chan struct{}, pollsAtOnce)
	for range pollsAtOnce {
		free <- struct{}{}
	}
	for {
		// Wait for one place, and take more if they are free.
		select {
		case <-ctx.Done():
			return
		case <-free:
		}
		places := 1
		for places < pollsAtOnce {
			select {
			case <-free:
				places++
				continue
			default:
			}
			break
		}
		due, next, err := l.due(ctx, p.Name(), places)
		if err != nil && ctx.Err() == nil {
			l.o.Log.Error("find jobs to poll", "provider", p.Name(), "error", err)
		}
		for range places - len(due) {
			free <- struct{}{}
		}
		for _, j := range due {
			asking.Go(func() {
				defer func() { free <- struct{}{} }()
				defer l.keepPoll(ctx, j)()
				l.pollSafely(ctx, p, j)
			})
		}
		if len(due) > 0 && time.Until(next) <= 0 {
			continue
		}
		wait := lookEvery
		if err == nil && !next.IsZero() {
			wait = min(max(time.Until(next), 10*time.Millisecond), lookEvery)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.pokeOf(p.Name()):
			timer.Stop()
		}
	}
}

// due claims jobs to poll, as many as there are places and as the rate allows, which
// all nodes share: it is stored when the next request may be made. next is when to look
// again; zero for no particular time.
func (l *Service) due(ctx context.Context, provider string, places int) (jobs []*Job, next time.Time, err error) {
	name := "pace:" + provider
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		jobs = nil
		if next, err = tx.NextPoll(ctx, provider); err != nil || next.IsZero() || next.After(tx.Now()) {
			return err
		}
		text, err := tx.Setting(ctx, name)
		if err != nil {
			return err
		}
		us, _ := strconv.ParseInt(text, 10, 64) // empty, or written below
		if free := time.UnixMicro(us); free.After(tx.Now()) && free.Before(tx.Now().Add(time.Minute)) {
			next = free
			return nil
		}
		if jobs, err = tx.DuePolls(ctx, provider, places, tx.Now().Add(l.o.PollLease)); err != nil || len(jobs) == 0 {
			return err
		}
		// A job costs up to two requests, for its status and for its result.
		next = tx.Now().Add(time.Duration(float64(2*len(jobs)) / l.rate(provider) * float64(time.Second)))
		return tx.SetSetting(ctx, name, strconv.FormatInt(next.UnixMicro(), 10))
	})
	return jobs, next, err
}

// keepPoll renews the lease of a job while it is being polled, until stop is called.
func (l *Service) keepPoll(ctx context.Context, j *Job) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	jobID, until := j.ID, j.NextPollAt
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for kept := true; kept; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(l.o.PollLease / 3):
			}
			var next time.Time
			err := l.o.Store.Write(context.WithoutCancel(ctx), func(tx Tx) (err error) {
				next = tx.Now().Add(l.o.PollLease)
				kept, err = tx.KeepPoll(ctx, jobID, until, next)
				return err
			})
			if err == nil {
				until = next
			} else if kept = true; ctx.Err() == nil {
				l.o.Log.Warn("the lease of a poll was not renewed; another node may poll the job, too", "job", jobID, "error", err)
			}
		}
	})
	return func() {
		cancel()
		renewing.Wait()
	}
}

// rate is how many requests a second polls of a provider may make.
func (l *Service) rate(provider string) float64 {
	if paced, ok := l.provider(provider).(Paced); ok {
		rate, _ := paced.Pace()
		return cmp.Or(rate, l.o.RequestsPerSecond)
	}
	return l.o.RequestsPerSecond
}

// pollSafely polls one job. A panic of the provider costs this poll only.
func (l *Service) pollSafely(ctx context.Context, p Provider, j *Job) {
	defer func() {
		if r := recover(); r != nil {
			l.o.Log.Error("polling a job panicked", "job", j.ID, "panic", redact.Panic(r))
		}
	}()
	if _, err := l.poll(ctx, p, j, SettledByReconciliation, nil); err != nil && ctx.Err() == nil {
		l.o.Log.Warn("polling the job failed", "job", j.ID, "provider", j.Provider, "error", redact.Error(err))
	}
}

// Poll polls the provider about a job now, and returns the job as it is then. A settled job is
// returned unchanged. gaff.ErrConflict means that too little is known to poll.
func (l *Service) Poll(ctx context.Context, jobID string) (*Job, error) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil || j.Status.Settled() {
		return j, err
	}
	p := l.provider(j.Provider)
	switch {
	case p == nil:
		return nil, fmt.Errorf("job %s: %w: nothing is known of how to ask %s", jobID, gaff.ErrConflict, excerpt.Text(j.Provider, 80))
	case j.Submit == SubmitHeld:
		return nil, fmt.Errorf("job %s: %w: it waits for an approval", jobID, gaff.ErrConflict)
	case j.Submit == SubmitWaiting:
		return nil, fmt.Errorf("job %s: %w: it was not submitted yet", jobID, gaff.ErrConflict)
	case j.RequestID == "" && j.Submit == SubmitSending:
		return nil, fmt.Errorf("job %s: %w: it is being submitted just now", jobID, gaff.ErrConflict)
	case (j.RequestID == "" || !p.CanPoll(j)) && j.Submit != SubmitUnknown:
		return nil, fmt.Errorf("job %s: %w: tell its requestId, and its model or statusUrl, first (PUT /api/v1/jobs/{id})", jobID, gaff.ErrConflict)
	}
	return l.poll(ctx, p, j, SettledByReconciliation, nil)
}

// fetch processes gaff:job.ask: a webhook said that the work is done, without its result.
func (l *Service) fetch(ctx context.Context, ev *gaff.Event, p Provider, t ticket) error {
	if t.Provider != p.Name() {
		return nil
	}
	j, err := l.o.Store.Job(ctx, t.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return gaff.Discard(err)
	}
	if err != nil || j.Status.Settled() || j.Provider != p.Name() || !sameAttempt(j, t.Attempt) {
		return err
	}
	if j, err = l.poll(ctx, p, j, SettledByWebhook, ev); err != nil {
		return err
	}
	if !j.Status.Settled() && sameAttempt(j, t.Attempt) {
		return redact.Errorf("%s has told that job %s is done, and does not give its result yet", redact.Own(j.Provider), redact.Own(j.ID))
	}
	return nil
}

var errTooLittle error = redact.Const("too little is known to ask: tell its requestId, and its model or statusUrl (PUT /api/v1/jobs/{id})")

// poll polls the provider and stores the answer. The error is the provider's or the store's.
func (l *Service) poll(ctx context.Context, p Provider, j *Job, by string, cause *gaff.Event) (*Job, error) {
	if j.Submit == SubmitSending || j.Submit == SubmitUnknown {
		if found, err := l.lookFor(ctx, p, j); err != nil || !found {
			if err == nil {
				j, err = l.o.Store.Job(ctx, j.ID)
			}
			return j, err
		}
		var err error
		if j, err = l.o.Store.Job(ctx, j.ID); err != nil || j.Status.Settled() || j.RequestID == "" {
			return j, err
		}
	}
	u, askErr := Update{}, errTooLittle
	if j.Submit != SubmitNone || p.CanPoll(j) {
		u, askErr = p.Poll(ctx, j)
	}
	u.shorten()
	if askErr != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var now *Job
	settled := false
	err := l.o.Store.Write(context.WithoutCancel(ctx), func(tx Tx) (err error) {
		settled = false
		if now, err = tx.Job(ctx, j.ID); err != nil || now.Status.Settled() || now.Attempt != j.Attempt {
			return err
		}
		settled, err = l.recordAnswer(ctx, tx, now, u, askErr, by, cause)
		return err
	})
	if err != nil {
		return nil, err
	}
	if settled {
		l.report(now)
	} else {
		l.poke(p.Name())
	}
	if askErr != nil && !errors.Is(askErr, ErrNoSuchWork) {
		return now, redact.Errorf("ask %s after job %s: %w", redact.Own(p.Name()), redact.Own(j.ID), askErr)
	}
	return now, nil
}

// lookFor turns to a job whose submit was not answered: the provider may be able to find
// it, its webhook may still come, and in the end it has failed.
func (l *Service) lookFor(ctx context.Context, p Provider, j *Job) (found bool, err error) {
	var answer Accepted
	findErr := ErrNoSuchWork
	if finder, ok := p.(Finder); ok {
		input, err := l.sentInput(ctx, j)
		if err != nil {
			return false, err
		}
		answer, findErr = finder.Find(ctx, j, input, func(requestID string) bool {
			page, err := l.o.Store.Jobs(ctx, JobFilter{Provider: j.Provider, RequestID: requestID, Cursor: gaff.Cursor{Limit: 1}})
			return err != nil || len(page.Items) > 0
		})
	}
	var ended *Job
	err = l.o.Store.Write(context.WithoutCancel(ctx), func(tx Tx) error {
		found, ended = false, nil
		now, err := tx.Job(ctx, j.ID)
		if err != nil || now.Status.Settled() || now.Attempt != j.Attempt {
			return err
		}
		switch {
		case now.Submit == SubmitAccepted:
			found = now.RequestID != ""
			return nil
		case now.Submit == SubmitSending && tx.Now().Sub(now.SentAt) < stillSending:
			now.NextPollAt = now.SentAt.Add(stillSending)
			return tx.SaveJob(ctx, now)
		case findErr == nil:
			if err := tx.AddLogEntry(ctx, now.ID, "ask", "found among the provider's requests"); err != nil {
				return err
			}
			found = true
			return l.accepted(ctx, tx, now, answer)
		case now.Submit == SubmitSending:
			return l.unknown(ctx, tx, now, redact.Const("the gateway ended while it was submitting"))
		}
		deadline := now.SentAt.Add(l.o.SubmitPatience)
		if tx.Now().Before(deadline) {
			now.Polls++
			l.schedule(tx.Now(), now)
			if now.NextPollAt.After(deadline) {
				now.NextPollAt = deadline
			}
			return tx.SaveJob(ctx, now)
		}
		ended = now
		return l.end(ctx, tx, now, Update{Status: JobFailed, Uncertain: true, ErrorType: "submit_outcome_unknown", Error: fmt.Sprintf(
			"the answer to the submit was lost, and no webhook came within %s: %s may or may not have run it; look there before submitting it again",
			l.o.SubmitPatience, now.Provider)}, SettledByReconciliation)
	})
	if err == nil {
		l.report(ended)
	}
	return found, err
}

// sentInput returns the input that the job's provider was sent; nil if it is not stored.
func (l *Service) sentInput(ctx context.Context, j *Job) (input json.RawMessage, err error) {
	if input, err = l.o.Store.JobInput(ctx, j.ID); err != nil || j.Attempt == 0 {
		return input, err
	}
	p, _, err := l.o.Store.JobPlan(ctx, j.ID)
	if err != nil || p == nil || j.Attempt > len(p.Candidates) {
		return input, err
	}
	return l.mapped(p.Candidates[j.Attempt-1], input)
}

// recordAnswer stores a provider's answer about a job that has not ended.
func (l *Service) recordAnswer(ctx context.Context, tx Tx, j *Job, u Update, askErr error, by string, cause *gaff.Event) (settled bool, err error) {
	j.Polls++
	if askErr != nil {
		u = Update{} // part of an answer must not count
	}
	text := u.Status.String()
	switch {
	case errors.Is(askErr, ErrNoSuchWork):
		j.Misses++
		text = askErr.Error()
		if j.Misses >= 2 {
			u = Update{
				Status: JobFailed, Uncertain: true, ErrorType: "not_found",
				Error: j.Provider + " does not know the request (any more), so its result cannot be had",
			}
			by = SettledByReconciliation
			break
		}
		// Once may be a mistake of a moment.
		j.NextPollAt = tx.Now().Add(jitter(min(l.o.ReconcileAfter, 10*time.Second)))
	case askErr != nil:
		text = askErr.Error()
		l.schedule(tx.Now(), j)
	default:
		if u.Progress != "" && !u.Status.Settled() {
			text += ", progress " + excerpt.Text(u.Progress, 80)
		}
		j.Misses = 0
		l.schedule(tx.Now(), j)
	}
	if tx.Now().Sub(j.CreatedAt) > giveUpAfter && !u.Status.Settled() {
		u = Update{Status: JobFailed, Uncertain: true, ErrorType: "given_up", Error: fmt.Sprintf("%s told of no end within %d days", j.Provider, int(giveUpAfter.Hours())/24)}
	}
	if err := tx.AddLogEntry(ctx, j.ID, "ask", text); err != nil {
		return false, err
	}
	if askErr == nil || u.Status.Settled() {
		return change{job: j, stored: true, update: u, by: by, cause: cause, service: l}.apply(ctx, tx, l.o.Router)
	}
	return false, tx.SaveJob(ctx, j)
}

// RecordUpdate applies a status that the provider returned to another client, such as a caller of
// a proxy. It ignores requests of no job, and of a settled one.
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
			ended, err := change{job: j, stored: true, update: u, by: updateFrom(u), service: l}.apply(ctx, tx, l.o.Router)
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
		_, err = change{job: j, stored: true, update: Update{Status: max(j.Status, u.Status)}, service: l}.apply(ctx, tx, l.o.Router)
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

// schedule sets when the job is polled next: later each time.
//
// Where it is known how long jobs of the model take, the first question comes when few are
// still under way, yet never later than ReconcileAfter and never before a quarter of it;
// and having heard that the job is under way, nobody asks again before that time.
// Without a webhook, the first question comes at half the usual time.
//
// A job of which an application told too little to ask is looked at once a day: more may be
// known then, and if nothing is for long, it has to end some day.
func (l *Service) schedule(now time.Time, j *Job) {
	if p := l.provider(j.Provider); j.Submit == SubmitNone && p != nil && !p.CanPoll(j) {
		j.NextPollAt = now.Add(jitter(lookAgain))
		return
	}
	first, most, step := l.o.ReconcileAfter, max(maxPollWait, l.o.ReconcileAfter), l.o.ReconcileAfter
	usual := l.durations.of(j)
	left := usual.overdue() - now.Sub(j.begun())
	if j.WebhookURL == "" {
		step, most = min(pollFirst, l.o.ReconcileAfter), pollMost
		typical := usual.typical()
		if paced, ok := l.provider(j.Provider).(Paced); ok && typical == 0 {
			typical = paced.Usual()
		}
		first = min(max(typical/2, step), most)
		left = 0
	} else if usual.N >= waitLeast {
		first = min(max(left, l.o.ReconcileAfter/4), l.o.ReconcileAfter)
	}
	wait := first
	if j.Polls > 0 {
		later := float64(step)
		for range min(j.Polls, 40) {
			later = min(later*1.6, float64(most))
		}
		wait = max(time.Duration(later), min(left, most))
	}
	j.NextPollAt = now.Add(jitter(wait))
}

// jitter makes a wait up to a fifth longer or shorter, so that a crowd spreads out.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*mrand.Float64()))
}
