package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"gaff"
	"gaff/internal/redact"
)

// Run asks providers after jobs of which nothing is heard, until ctx ends. Every node of
// a gateway runs it; they share the jobs, and the bound on how much is asked.
func (l *Service) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range l.providers {
		all.Go(func() { l.reconcile(ctx, p) })
	}
	all.Go(func() { l.saveDurations(ctx) })
	all.Wait()
}

// lookEvery is the longest time between two looks for jobs to ask after: another node, or
// an older process, may have left some.
const lookEvery = 5 * time.Second

func (l *Service) reconcile(ctx context.Context, p Provider) {
	var asking sync.WaitGroup
	defer asking.Wait()
	free := make(chan struct{}, pollsAtOnce)
	for range pollsAtOnce {
		free <- struct{}{}
	}
	for {
		// One place is waited for; more are taken as they are.
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
			l.o.Log.Error("look for jobs to ask after", "provider", p.Name(), "error", err)
		}
		for range places - len(due) {
			free <- struct{}{}
		}
		for _, j := range due {
			asking.Go(func() {
				defer func() { free <- struct{}{} }()
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
		case <-l.pokes[p.Name()]:
			timer.Stop()
		}
	}
}

// pollSafely is one job's turn. A provider that panics costs this turn only.
func (l *Service) pollSafely(ctx context.Context, p Provider, j *Job) {
	defer func() {
		if r := recover(); r != nil {
			l.o.Log.Error("asking after a job panicked", "job", j.ID, "panic", redact.Panic(r))
		}
	}()
	if _, err := l.poll(ctx, p, j, SettledByReconciliation, nil); err != nil && ctx.Err() == nil {
		l.o.Log.Warn("polling the job failed", "job", j.ID, "provider", j.Provider, "error", redact.Error(err))
	}
}

func (l *Service) poke(provider string) {
	select {
	case l.pokes[provider] <- struct{}{}:
	default:
	}
}

func (l *Service) pokeAll() {
	for name := range l.pokes {
		l.poke(name)
	}
}

// due takes jobs to ask after, as many as there are places and as the pace allows, which
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
		us, _ := strconv.ParseInt(text, 10, 64) // nothing, or what was written below
		if free := time.UnixMicro(us); free.After(tx.Now()) && free.Before(tx.Now().Add(time.Minute)) {
			next = free
			return nil
		}
		if jobs, err = tx.DuePolls(ctx, provider, places, tx.Now().Add(claimedFor)); err != nil || len(jobs) == 0 {
			return err
		}
		// A job costs up to two requests, for its status and for its result.
		next = tx.Now().Add(time.Duration(float64(2*len(jobs)) / l.o.RequestsPerSecond * float64(time.Second)))
		return tx.SetSetting(ctx, name, strconv.FormatInt(next.UnixMicro(), 10))
	})
	return jobs, next, err
}

// Poll asks the provider after a job now, and returns the job as it is then. One that has
// ended is returned as it is. gaff.ErrConflict means that too little is known to ask.
func (l *Service) Poll(ctx context.Context, jobID string) (*Job, error) {
	j, err := l.o.Store.Job(ctx, jobID)
	if err != nil || j.Status.Settled() {
		return j, err
	}
	p := l.providers[j.Provider]
	switch {
	case p == nil:
		return nil, fmt.Errorf("job %s: %w: nothing is known of how to ask %s", jobID, gaff.ErrConflict, clipText(j.Provider))
	case j.Submit == SubmitWaiting:
		return nil, fmt.Errorf("job %s: %w: it was not submitted yet", jobID, gaff.ErrConflict)
	case j.RequestID == "" && j.Submit == SubmitSending:
		return nil, fmt.Errorf("job %s: %w: it is being submitted just now", jobID, gaff.ErrConflict)
	case (j.RequestID == "" || !p.CanPoll(j)) && j.Submit != SubmitUnknown:
		return nil, fmt.Errorf("job %s: %w: tell its requestId, and its model or statusUrl, first (PUT /api/v1/jobs/{id})", jobID, gaff.ErrConflict)
	}
	return l.poll(ctx, p, j, SettledByReconciliation, nil)
}

// fetch works gaff:job.ask: a webhook told that the work is done, and not its result.
func (l *Service) fetch(ctx context.Context, ev *gaff.Event, p Provider, t ticket) error {
	if t.Provider != p.Name() {
		return nil
	}
	j, err := l.o.Store.Job(ctx, t.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return gaff.Discard(err)
	}
	if err != nil || j.Status.Settled() {
		return err
	}
	if j, err = l.poll(ctx, p, j, SettledByWebhook, ev); err != nil {
		return err
	}
	if !j.Status.Settled() {
		return fmt.Errorf("%s has told that job %s is done, and does not give its result yet", j.Provider, j.ID)
	}
	return nil
}

var errTooLittle = errors.New("too little is known to ask: tell its requestId, and its model or statusUrl (PUT /api/v1/jobs/{id})")

// poll asks the provider and stores what it says. The error is the provider's, or the
// store's.
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
		if now, err = tx.Job(ctx, j.ID); err != nil || now.Status.Settled() {
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
		return now, fmt.Errorf("ask %s after job %s: %w", p.Name(), j.ID, askErr)
	}
	return now, nil
}

// recordAnswer stores a provider's answer about a job that has not ended.
func (l *Service) recordAnswer(ctx context.Context, tx Tx, j *Job, u Update, askErr error, by string, cause *gaff.Event) (settled bool, err error) {
	j.Polls++
	if askErr != nil {
		u = Update{} // half an answer is none
	}
	text := u.Status.String()
	switch {
	case errors.Is(askErr, ErrNoSuchWork):
		j.Misses++
		text = askErr.Error()
		if j.Misses >= 2 {
			u = Update{
				Status: JobFailed, ErrorType: "not_found",
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
		j.Misses = 0
		l.schedule(tx.Now(), j)
	}
	if tx.Now().Sub(j.CreatedAt) > giveUpAfter && !u.Status.Settled() {
		u = Update{Status: JobFailed, ErrorType: "given_up", Error: fmt.Sprintf("%s told of no end within %d days", j.Provider, int(giveUpAfter.Hours())/24)}
	}
	if err := tx.AddLogEntry(ctx, j.ID, "ask", text); err != nil {
		return false, err
	}
	if askErr == nil || u.Status.Settled() {
		return change(ctx, tx, l.o.Router, j, true, u, by, cause)
	}
	return false, tx.SaveJob(ctx, j)
}

// lookFor turns to a job whose submit was not answered: the provider may be able to find
// it, its webhook may still come, and in the end it has failed.
func (l *Service) lookFor(ctx context.Context, p Provider, j *Job) (found bool, err error) {
	var answer Accepted
	findErr := ErrNoSuchWork
	if finder, ok := p.(Finder); ok {
		input, err := l.o.Store.JobInput(ctx, j.ID)
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
		if err != nil || now.Status.Settled() {
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
			return l.unknown(ctx, tx, now, errors.New("the gateway ended while it was submitting"))
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
		return l.fail(ctx, tx, now, fmt.Sprintf("the answer to the submit was lost, and no webhook came within %s: %s may or may not have worked on it; look there before submitting it again",
			l.o.SubmitPatience, now.Provider), "submit_outcome_unknown", SettledByReconciliation)
	})
	if err == nil {
		l.report(ended)
	}
	return found, err
}

// report tells of a job that has come to its end; nil: of none.
func (l *Service) report(j *Job) {
	if j == nil || !j.Status.Settled() {
		return
	}
	l.durations.measure(j)
	if l.o.Settled != nil {
		l.o.Settled(j.Provider, j.SettledBy, j.Status)
	}
}

// change applies what is heard of a job, and reports whether that ended it: then its
// internal event is emitted too. What comes after a job's end changes nothing, except that
// files of a completed job are added where they were missing.
func change(ctx context.Context, tx Tx, router Router, j *Job, found bool, u Update, by string, cause *gaff.Event) (settled bool, err error) {
	before := j.Status
	settled = (!found || !before.Settled()) && u.Status.Settled()
	if !found || !before.Settled() && u.Status >= before {
		j.learn(u)
		if settled {
			j.SettledBy, j.SettledAt = by, tx.Now()
		}
		if found {
			err = tx.SaveJob(ctx, j)
		} else if err = tx.InsertJob(ctx, j); errors.Is(err, gaff.ErrConflict) {
			// One request, one job: a second one that claims it goes without.
			j.RequestID = ""
			err = tx.InsertJob(ctx, j)
		}
		if err != nil {
			return false, err
		}
	} else if found && !before.Settled() {
		// Nothing new, but when to ask next.
		if err := tx.SaveJob(ctx, j); err != nil {
			return false, err
		}
	}
	// Files of a job that had failed or been cancelled before are not its result.
	if u.Status == JobCompleted && j.Status == JobCompleted {
		for _, file := range u.Files {
			file.JobID, file.ProjectID = j.ID, j.ProjectID
			if err := addFile(ctx, tx, router, cause, &file); err != nil {
				return false, err
			}
		}
	}
	if !settled {
		return false, nil
	}
	if err := noteLeftOut(ctx, tx, j, u); err != nil {
		return false, err
	}
	if err := emitCallback(ctx, tx, router, cause, j); err != nil {
		return false, err
	}
	return true, emitSettled(ctx, tx, router, cause, j)
}

// noteLeftOut adds to the log of a job that only the first of its files are stored.
func noteLeftOut(ctx context.Context, tx Tx, j *Job, u Update) error {
	if u.Status != JobCompleted || u.FilesTotal <= len(u.Files) {
		return nil
	}
	what := "ask"
	if j.SettledBy == SettledByWebhook {
		what = "webhook"
	}
	return tx.AddLogEntry(ctx, j.ID, what, fmt.Sprintf("%s of %s files stored: a job has at most %s; the links of all are in its result",
		thousands(len(u.Files)), thousands(u.FilesTotal), thousands(maxFiles)))
}

// thousands writes a number as 20,000.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// KeepFiles is the handler of the inner event "media.created" that makes copies of files.
// Where it is registered, files are marked as to be copied.
const KeepFiles = "media/keep"

// addFile adds a file's row and tells of it, where someone listens.
func addFile(ctx context.Context, tx Tx, router Router, cause *gaff.Event, file *Media) error {
	probe, err := file.Event(MediaCreated, "", tx.Now())
	if err != nil {
		return err
	}
	if slices.ContainsFunc(router.Route(probe), func(d gaff.Delivery) bool { return d.Handler == KeepFiles }) {
		file.Storage = StoragePending
	}
	added, err := tx.AddMedia(ctx, file)
	if err != nil || !added {
		return err
	}
	ev, err := file.Event(MediaCreated, "created", tx.Now())
	if err != nil {
		return err
	}
	ds := router.Route(ev)
	if len(ds) == 0 {
		return nil
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	return tx.Emit(ctx, ev, ds)
}

func emitSettled(ctx context.Context, tx Tx, router Router, cause *gaff.Event, j *Job) error {
	data, err := json.Marshal(JobSettled{
		JobID: j.ID, Provider: j.Provider, ProjectID: j.ProjectID, UserID: j.UserID, Kind: j.Kind,
		Status: j.Status.String(), SettledBy: j.SettledBy, RunID: j.RunID, StepID: j.StepID,
	})
	if err != nil {
		return fmt.Errorf("describe job %s: %w", j.ID, err)
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: "job." + j.Status.String(), DedupeKey: "job:" + j.ID + ":" + j.Status.String(),
		CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data,
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	return tx.Emit(ctx, ev, router.Route(ev))
}
