package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
)

// Options of a handler. Store, Router and Interpreter are required.
type Options struct {
	Store       Store
	Router      Router
	Interpreter Interpreter
	// Service submits jobs and polls them; nil: jobs come from webhooks only.
	Service *Service
	// Patience is how long an event for a job that is not known waits for it: the
	// webhook may overtake the answer to the submit. Zero means 2 minutes.
	Patience time.Duration
}

// NewHandler returns the handler that turns a provider's events into job status, media
// and an internal event, "job.completed", "job.failed" or "job.cancelled" of the source
// "gaff", whose data is a [JobSettled].
func NewHandler(o Options) gaff.Handler {
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	return &handler{o}
}

type handler struct{ o Options }

func (h *handler) Handle(ctx context.Context, ev *gaff.Event) error {
	lease, ok := gaff.LeaseFrom(ctx)
	if !ok {
		return gaff.Discard(errors.New("job handler called outside a delivery"))
	}
	u, err := h.o.Interpreter.Interpret(ev)
	if errors.Is(err, ErrNoChange) {
		return nil
	}
	if err != nil {
		return err
	}
	u.shorten()
	var settled *Job
	erased := false
	err = h.o.Store.Apply(ReadsJob(ctx, h.reads(ev, u)), lease, func(tx Tx) error {
		settled, err = h.apply(ctx, tx, ev, u)
		if erased = errors.Is(err, errErasedJob); erased {
			return tx.DropBody(ctx, ev.ID)
		}
		if old, ok := errors.AsType[*formerError](err); ok {
			return tx.AddLogEntry(ctx, old.jobID, "webhook", fmt.Sprintf("%s came for a former attempt at %s, and changes nothing: event %s", u.Status, u.Provider, ev.ID))
		}
		return err
	})
	if errors.Is(err, errUnknownJob) {
		return h.wait(ev, err)
	}
	if err != nil {
		return err
	}
	if h.o.Service != nil {
		if erased {
			h.o.Service.o.Log.WarnContext(ctx, "a webhook came for a job that was erased: it changes nothing, and its body was removed", "event", ev.ID, "source", ev.Source)
		}
		h.o.Service.report(settled)
	}
	return gaff.Finished
}

// maxFilesWithEvent bounds the files that are stored with an event: each is some rows, which all senders wait
// for, and memory while the event waits for the store.
const maxFilesWithEvent = 16

// Prepare returns the effects of an event that reports on a job. Handle works all others, and those whose
// effects fail.
func (h *handler) Prepare(ev *gaff.Event) gaff.Effects {
	u, err := h.o.Interpreter.Interpret(ev)
	if err != nil {
		return nil
	}
	if len(u.Files) > maxFilesWithEvent {
		return nil
	}
	u.shorten()
	return &webhookEffects{handler: h, update: u, reads: h.reads(ev, u)}
}

// webhookEffects change a job in the transaction that stores their event.
type webhookEffects struct {
	handler *handler
	update  Update
	reads   JobRef
	settled *Job // by the last Write
}

func (e *webhookEffects) Reads() any { return e.reads }

func (e *webhookEffects) Write(ctx context.Context, tx any, ev *gaff.Event) (err error) {
	t := e.handler.o.Store.EventTx(tx)
	if t == nil {
		return errOtherStore
	}
	e.settled, err = e.handler.apply(ctx, t, ev, e.update)
	return err
}

func (e *webhookEffects) Stored() {
	if service := e.handler.o.Service; service != nil {
		service.report(e.settled)
	}
}

// ErrNoChange is what an [Interpreter] returns for an event that says nothing of a job.
var ErrNoChange = errors.New("no change to a job")

var (
	errUnknownJob = errors.New("unknown request")
	errOtherStore = errors.New("the gateway has another store than the handler")
	// errErasedJob: the job was erased, and must not be made again of its webhook.
	errErasedJob = errors.New("the job was erased")
)

// wait puts an event off whose job is not known: one second at first, then as long again
// as the event is old.
func (h *handler) wait(ev *gaff.Event, err error) error {
	age := time.Since(ev.ReceivedAt)
	if age >= h.o.Patience {
		return gaff.Discard(err)
	}
	return gaff.Snooze(min(max(age, time.Second), h.o.Patience-age+time.Second))
}

// reads is what job looks for first.
func (h *handler) reads(ev *gaff.Event, u Update) JobRef {
	if l := h.o.Service; l != nil && ev.CallbackToken != "" {
		if jobID, ok := l.callbackTokens.job(ev.CallbackToken); ok {
			return JobRef{ID: jobID}
		}
	}
	if u.JobID != "" {
		return JobRef{ID: u.JobID}
	}
	return JobRef{Provider: u.Provider, RequestID: u.RequestID}
}

// apply changes the event's job, and returns it if that ended it.
func (h *handler) apply(ctx context.Context, tx Tx, ev *gaff.Event, u Update) (settled *Job, err error) {
	j, found, err := h.job(ctx, tx, ev, u)
	if err != nil {
		return nil, err
	}
	l := h.o.Service
	if l == nil {
		if u.Fetch {
			return nil, gaff.Discard(fmt.Errorf("the result of job %s must be fetched, and no job service is set up", j.ID))
		}
		_, err := change{j, found, u, SettledByWebhook, ev, nil}.apply(ctx, tx, h.o.Router)
		return nil, err
	}
	if found && j.Status.Settled() && j.Submit != SubmitNone && u.Status.Settled() && u.Status != j.Status {
		return nil, tx.AddLogEntry(ctx, j.ID, "webhook", fmt.Sprintf("%s came after the job was %s, and changes nothing: event %s", u.Status, j.Status, ev.ID))
	}
	if u.Fetch && !j.Status.Settled() {
		return l.fetchLater(ctx, tx, ev, j, found)
	}
	if found && !j.Status.Settled() && !u.Status.Settled() && !j.NextPollAt.IsZero() {
		j.Polls = 0
		l.schedule(tx.Now(), j)
	}
	ended, err := change{j, found, u, SettledByWebhook, ev, l}.apply(ctx, tx, h.o.Router)
	if err != nil || !ended {
		return nil, err
	}
	return j, nil
}

// job finds the job that an update is about, or makes it if that is allowed.
func (h *handler) job(ctx context.Context, tx Tx, ev *gaff.Event, u Update) (j *Job, found bool, err error) {
	if j, found, err = h.current(ctx, tx, ev, u); err != nil && !errors.Is(err, gaff.ErrUnavailable) {
		if old := former(ctx, tx, u); old != nil {
			return nil, false, old
		}
	}
	return j, found, err
}

// current is job, for the attempts that jobs are at.
func (h *handler) current(ctx context.Context, tx Tx, ev *gaff.Event, u Update) (j *Job, found bool, err error) {
	if l := h.o.Service; l != nil && ev.CallbackToken != "" {
		j, err := l.jobOfCallbackToken(ctx, tx, ev, u)
		if err == nil {
			return j, true, nil
		}
		if !errors.Is(err, gaff.ErrNotFound) {
			return nil, false, err
		}
	}
	if u.JobID != "" {
		j, err = tx.Job(ctx, u.JobID)
		if err == nil && j.Provider != u.Provider && u.OwnJobID != "" {
			u.JobID = u.OwnJobID
			j, err = tx.Job(ctx, u.JobID)
		}
		if errors.Is(err, gaff.ErrNotFound) && !u.Create && u.RequestID != "" {
			// The sender may echo an id that is not gaff's.
			j, err = tx.JobByRequest(ctx, u.Provider, u.RequestID)
		}
	} else {
		j, err = tx.JobByRequest(ctx, u.Provider, u.RequestID)
	}
	if err == nil && j.Provider != u.Provider {
		return nil, false, gaff.Discard(fmt.Errorf("job %s is one of %s: a webhook of %s cannot change it",
			excerpt.Text(j.ID, 80), j.Provider, u.Provider))
	}
	if err == nil {
		if l := h.o.Service; l != nil {
			err = l.trust(ctx, tx, j, u, j.RequestID == u.RequestID)
		}
		return j, true, err
	}
	if !errors.Is(err, gaff.ErrNotFound) {
		return nil, false, err
	}
	if erased, err := h.erased(ctx, tx, ev, u); err != nil || erased {
		return nil, false, cmp.Or(err, errErasedJob)
	}
	if !u.Create || u.JobID == "" {
		return nil, false, fmt.Errorf("%w %q: no job of this gateway was submitted under it", errUnknownJob, u.RequestID)
	}
	j = &Job{
		ID: u.JobID, Provider: u.Provider, RequestID: u.RequestID, Kind: u.Kind, ProjectID: u.ProjectID, UserID: u.UserID,
		CreatedAt: tx.Now(),
	}
	return j, false, nil
}

// erased reports whether the job that an update names was erased.
func (h *handler) erased(ctx context.Context, tx Tx, ev *gaff.Event, u Update) (bool, error) {
	refs := []JobRef{{ID: u.JobID}, {ID: u.OwnJobID}, {Provider: u.Provider, RequestID: u.RequestID}}
	if l := h.o.Service; l != nil && ev.CallbackToken != "" {
		jobID, _ := l.callbackTokens.job(ev.CallbackToken)
		refs = append(refs, JobRef{ID: jobID})
	}
	return tx.JobErased(ctx, refs...)
}

// jobOfCallbackToken finds the job to whose own address a webhook came. Where its request is not
// known yet, because the webhook was faster than the answer to the submit, or that answer
// was lost, it is learned here.
func (l *Service) jobOfCallbackToken(ctx context.Context, tx Tx, ev *gaff.Event, u Update) (*Job, error) {
	jobID, ok := l.callbackTokens.job(ev.CallbackToken)
	if !ok {
		// A source with such URLs would have rejected it at ingest.
		return nil, gaff.ErrNotFound
	}
	j, err := tx.Job(ctx, jobID)
	if err != nil {
		return nil, err
	}
	if j.Attempt > 1 && j.RequestID != u.RequestID {
		if old := former(ctx, tx, u); old != nil {
			return nil, old
		}
	}
	switch {
	case j.Provider != u.Provider:
		return nil, gaff.Discard(fmt.Errorf("the address is that of job %s, which is one of %s", j.ID, j.Provider))
	case u.JobID != "" && u.JobID != j.ID && u.Create && u.JobID != u.RequestID:
		return nil, gaff.Discard(fmt.Errorf("the address is that of job %s, the body names job %s", j.ID, excerpt.Text(u.JobID, 80)))
	case j.RequestID == u.RequestID:
		return j, l.trust(ctx, tx, j, u, true)
	case j.RequestID != "":
		return nil, gaff.Discard(fmt.Errorf("the address is that of job %s, whose request is %s, not %s", j.ID, excerpt.Text(j.RequestID, 80), excerpt.Text(u.RequestID, 80)))
	case j.Submit == SubmitWaiting:
		return nil, gaff.Discard(fmt.Errorf("the address is that of job %s, which was not submitted yet", j.ID))
	}
	if err := l.trust(ctx, tx, j, u, false); err != nil {
		return nil, err
	}
	switch other, err := tx.JobByRequest(ctx, j.Provider, u.RequestID); {
	case err == nil:
		return nil, gaff.Discard(fmt.Errorf("the address is that of job %s, the request that of job %s", j.ID, other.ID))
	case !errors.Is(err, gaff.ErrNotFound):
		return nil, err
	}
	j.RequestID = u.RequestID
	if j.Submit == SubmitSending || j.Submit == SubmitUnknown {
		j.Submit = SubmitAccepted
	}
	if j.SubmittedAt.IsZero() {
		if j.SubmittedAt = j.SentAt; j.SubmittedAt.IsZero() {
			j.SubmittedAt = tx.Now()
		}
	}
	text := "request " + excerpt.Text(u.RequestID, 80) + " is known from the webhook, before the submit was answered: event " + ev.ID
	return j, tx.AddLogEntry(ctx, j.ID, "webhook", text)
}

// trust compares a provider's customer with the one whose webhooks count. If none is known yet, it
// stores the first verified one: of a request that gaff knew from another place than the webhook.
func (l *Service) trust(ctx context.Context, tx Tx, j *Job, u Update, verified bool) error {
	if u.Subject == "" {
		return nil
	}
	users := l.o.Users[j.Provider].IDs
	if len(users) == 0 {
		name := "user:" + j.Provider + ":" + j.Account
		kept, err := tx.Setting(ctx, name)
		if err != nil {
			return err
		}
		if kept == "" {
			if !verified {
				return nil
			}
			return tx.SetSetting(ctx, name, u.Subject)
		}
		users = []string{kept}
	}
	for _, user := range users {
		if user == u.Subject {
			l.unclaimed.believed.Store([2]string{j.Provider, u.Subject}, true)
			return nil
		}
	}
	return gaff.Discard(fmt.Errorf("the webhook is in the name of user %s of %s; only webhooks of %s count, the users of %s or, without it, of the first verified webhook",
		excerpt.Text(u.Subject, 80), j.Provider, excerpt.Text(strings.Join(users, ", "), 80), l.o.Users[j.Provider].Setting))
}

// fetchLater takes note that a job is done, and has its result fetched by a delivery of
// its own; should that fail for long, reconciliation goes on.
func (l *Service) fetchLater(ctx context.Context, tx Tx, ev *gaff.Event, j *Job, found bool) (settled *Job, err error) {
	p := l.provider(j.Provider)
	if !found || p == nil || !p.CanPoll(j) {
		u := Update{
			Status: JobFailed, Uncertain: true, ErrorType: "result_out_of_reach",
			Error: "completed, but the webhook came without the result, and too little is known of the request to fetch it",
		}
		ended, err := change{j, found, u, SettledByWebhook, ev, l}.apply(ctx, tx, l.o.Router)
		if err != nil || !ended {
			return nil, err
		}
		return j, nil
	}
	j.Status = JobProcessing
	l.schedule(tx.Now(), j)
	if err := tx.AddLogEntry(ctx, j.ID, "webhook", "completed, without the result; it is fetched: event "+ev.ID); err != nil {
		return nil, err
	}
	if err := tx.SaveJob(ctx, j); err != nil {
		return nil, err
	}
	if err := emitCallback(ctx, tx, l.o.Router, ev, j); err != nil {
		return nil, err
	}
	return nil, l.emit(ctx, tx, eventPoll, "ask:"+ev.ID, j, ev)
}
