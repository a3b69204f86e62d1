package jobs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
	"gaff/internal/redact"
)

// Submission is work to ask a provider for.
type Submission struct {
	// ID is the job's; empty: a fresh one. It must not be taken.
	ID string
	// Provider is the name of a provider of the service; empty: Model is an alias.
	Provider string
	// Model is the provider's name for the work: a model, a service.
	Model                   string
	Kind, ProjectID, UserID string
	// Fallback are the candidates after Provider and Model, or after those of the alias.
	Fallback []Candidate
	// Input is what the model gets, a JSON object. Metadata is the caller's own, a JSON
	// object or nil.
	Input, Metadata json.RawMessage
	// Caller names who submits it: a credential, not a person. Empty: gaff itself.
	Caller string
	// IdempotencyKey makes a repetition harmless: the caller's first job is returned. Empty:
	// none.
	IdempotencyKey string
	// Callback is an address to which the provider's webhook is passed on; may be empty.
	Callback string
	// RunID and StepID link the job to a workflow's step; may be empty.
	RunID, StepID string

	// Priority is from MinPriority to MaxPriority.
	Priority int
	// NoReuse has the provider do the work even if an earlier job has the result.
	NoReuse bool

	prepared *prepared
}

// Submit writes a job down and has it submitted. See [Service.Enqueue].
func (l *Service) Submit(ctx context.Context, s Submission) (j *Job, created bool, err error) {
	l.prepare(&s)
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		j, created, err = l.Enqueue(ctx, tx, s)
		return err
	})
	if err != nil {
		l.reached(ctx, err)
		return nil, false, err
	}
	l.wakeQueue(false)
	return j, created, nil
}

// Enqueue writes a job as queued, and the internal event gaff:job.submit on which it is
// submitted, inside tx. A known IdempotencyKey returns the first job, and created is
// false. The error is an [InvalidError] where the submission makes no sense, and
// gaff.ErrConflict where its ID is taken.
func (l *Service) Enqueue(ctx context.Context, tx Tx, s Submission) (j *Job, created bool, err error) {
	if j, err := l.first(ctx, tx, s); j != nil || err != nil {
		return j, false, err
	}
	j, plan, err := l.newJob(tx, &s)
	if err != nil {
		return nil, false, err
	}
	if reused, created, err := l.reuse(ctx, tx, j, plan, s); reused != nil || err != nil {
		return reused, created, err
	}
	j.Submit = SubmitWaiting
	held, err := l.admit(ctx, tx, j)
	if err != nil {
		return nil, false, err
	}
	return l.queue(ctx, tx, j, plan, held, s)
}

// queue adds a new job that is submitted in the background, or is held.
func (l *Service) queue(ctx context.Context, tx Tx, j *Job, plan *Plan, held *BudgetError, s Submission) (_ *Job, created bool, err error) {
	if j, created, err = l.add(ctx, tx, j, plan, s); err != nil || !created {
		return j, false, err
	}
	if held != nil {
		return j, true, l.hold(ctx, tx, j, held)
	}
	return j, true, l.dispatch(ctx, tx, j, false)
}

// add adds a new job with its plan, which may be nil.
func (l *Service) add(ctx context.Context, tx Tx, j *Job, plan *Plan, s Submission) (_ *Job, created bool, err error) {
	if j, created, err = l.insert(ctx, tx, j, s); err != nil || !created || plan == nil {
		return j, created, err
	}
	if err := tx.SavePlan(ctx, j.ID, plan); err != nil {
		return nil, false, err
	}
	return j, true, nil
}

// newJob checks a submission and makes its job. The plan is nil without a fallback.
func (l *Service) newJob(tx Tx, s *Submission) (*Job, *Plan, error) {
	l.prepare(s)
	plan, err := s.prepared.plan, s.prepared.err
	if err != nil {
		return nil, nil, err
	}
	p := l.provider(s.Provider)
	if p == nil {
		return nil, nil, l.unknownProvider("provider", s.Provider)
	}
	if err := checkFields(map[string]string{
		"id": s.ID, "model": s.Model, "kind": s.Kind, "projectId": s.ProjectID, "userId": s.UserID, "idempotencyKey": s.IdempotencyKey,
	}, s.Metadata, s.Callback); err != nil {
		return nil, nil, err
	}
	if s.Priority < MinPriority || s.Priority > MaxPriority {
		return nil, nil, &InvalidError{"priority", fmt.Sprintf("%d: want %d to %d", s.Priority, MinPriority, MaxPriority)}
	}
	if s.Callback != "" && l.o.CallbackClient == nil {
		return nil, nil, &InvalidError{"callbackUrl", "this gateway passes nothing on"}
	}
	if plan == nil {
		if err := p.Check(s); err != nil {
			return nil, nil, err
		}
	}
	j := &Job{
		ID: s.ID, Provider: s.Provider, Model: s.Model, Kind: s.Kind, ProjectID: s.ProjectID, UserID: s.UserID, Status: JobQueued,
		Metadata: s.Metadata, CreatedAt: tx.Now(), Account: p.Account(), Caller: s.Caller, IdempotencyKey: s.IdempotencyKey,
		RunID: s.RunID, StepID: s.StepID, Callback: s.Callback, Priority: s.Priority,
	}
	if j.ID == "" {
		j.ID = id.New(id.Job, j.CreatedAt)
	}
	if plan != nil {
		j.Attempt = 1
	}
	j.WebhookURL = l.WebhookURL(j.Provider, j.ID)
	return j, plan, nil
}

// insert adds a new job with its input. If another node was faster with the same
// idempotency key, it returns that node's job instead.
func (l *Service) insert(ctx context.Context, tx Tx, j *Job, s Submission) (first *Job, created bool, err error) {
	err = tx.InsertJob(ctx, j)
	if errors.Is(err, gaff.ErrConflict) {
		if first, ferr := l.first(ctx, tx, s); first != nil || ferr != nil {
			return first, false, ferr
		}
		return nil, false, fmt.Errorf("job %s: %w: there is one of this id", j.ID, gaff.ErrConflict)
	}
	if err != nil {
		return nil, false, err
	}
	return j, true, tx.SaveInput(ctx, j.ID, s.Input)
}

// first finds the job of an earlier submission of the same caller and idempotency key. Keys
// that older versions stored are anybody's who has a token: their caller is not known.
func (l *Service) first(ctx context.Context, tx Tx, s Submission) (*Job, error) {
	if s.IdempotencyKey == "" {
		return nil, nil
	}
	j, err := tx.JobByKey(ctx, s.Caller, s.IdempotencyKey, !strings.HasPrefix(s.Caller, WithoutToken))
	if errors.Is(err, gaff.ErrNotFound) {
		return nil, nil
	}
	return j, err
}

const maxField = 256

// checkFields checks the fields of a submission or registration.
func checkFields(fields map[string]string, metadata json.RawMessage, callback string) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		limit := maxField
		if name == "id" {
			limit = maxJobID
		}
		if len(value) > limit {
			return &InvalidError{name, fmt.Sprintf("must not be longer than %d bytes", limit)}
		}
		if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
			return &InvalidError{name, "must not hold control characters"}
		}
	}
	if len(metadata) > 0 && !bytes.Equal(bytes.TrimSpace(metadata), []byte("null")) && !isObject(metadata) {
		return &InvalidError{"metadata", "must be a JSON object"}
	}
	if len(metadata) > MaxMetadata {
		return &InvalidError{"metadata", "must not be longer than 64 KiB"}
	}
	if u, err := url.Parse(callback); callback != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil) {
		return &InvalidError{"callbackUrl", "must be a whole URL, such as https://app.example.com/hooks"}
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 1 && raw[0] == '{' && json.Valid(raw)
}

// submit processes gaff:job.submit.
func (l *Service) submit(ctx context.Context, p Provider, t ticket) error {
	if t.Provider != p.Name() {
		return nil // a replay, which goes to all
	}
	j, input, c, err := l.begin(ctx, p, t)
	if err != nil || j == nil {
		return err
	}
	var answer Accepted
	if input, err = l.mapped(c, input); err != nil {
		err = &Rejected{Text: "the input cannot be built: " + err.Error(), Type: "invalid_input"}
	} else {
		answer, err = p.Submit(ctx, j, input, j.WebhookURL)
	}
	return l.answeredAt(ctx, j.ID, j.Attempt, t.begun, answer, err)
}

// begin stores that the provider is about to be called. It returns no job where that is
// not to be done: it was cancelled, or an earlier attempt may have reached the provider.
func (l *Service) begin(ctx context.Context, p Provider, t ticket) (j *Job, input json.RawMessage, c Candidate, err error) {
	var send bool
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		send = false
		if j, err = tx.Job(ctx, t.JobID); err != nil {
			return err
		}
		if j.Status.Settled() || j.Provider != p.Name() || !sameAttempt(j, t.Attempt) {
			return nil
		}
		if j.Submit == SubmitWaiting {
			attempt := j.Attempt
			if err := l.resting(ctx, tx, j, t.begun); err != nil || j.Attempt != attempt || j.Status.Settled() {
				return err
			}
		}
		again, _ := p.(Repeater)
		switch {
		case j.Submit == SubmitWaiting, j.Submit == SubmitSending && again != nil && again.Repeatable():
			if input, err = tx.Input(ctx, j.ID); err != nil {
				return err
			}
			if c, err = candidate(ctx, tx, j); err != nil {
				return err
			}
			send = true
			return l.sending(ctx, tx, j)
		case j.Submit == SubmitSending:
			// The last attempt was interrupted at an unknown point.
			return l.unknown(ctx, tx, j, errors.New("the gateway ended while it was submitting"))
		}
		return nil
	})
	if errors.Is(err, gaff.ErrNotFound) {
		return nil, nil, c, gaff.Discard(err)
	}
	if left, ok := asResting(err); ok {
		return nil, nil, c, gaff.Snooze(left)
	}
	l.wakeQueue(false) // a worker has room
	if err != nil || !send {
		l.poke(p.Name())
		return nil, nil, c, err
	}
	if j.WebhookURL == "" && !polled(p) {
		l.o.Log.Warn("job is submitted without a webhook, and will be polled instead: WEBHOOK_BASE_URL is not set",
			"job", j.ID, "provider", j.Provider)
	}
	return j, input, c, nil
}

// polled reports whether a provider sends no webhooks.
func polled(p Provider) bool {
	only, ok := p.(PolledOnly)
	return ok && only.Polled()
}

func (l *Service) sending(ctx context.Context, tx Tx, j *Job) error {
	j.Submit, j.SentAt = SubmitSending, tx.Now()
	j.NextPollAt = tx.Now().Add(stillSending)
	if j.WebhookURL == "" && !polled(l.provider(j.Provider)) {
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

// answerPatience is how long after the end of its context Answered goes on storing the provider's
// answer.
const answerPatience = 10 * time.Second

// Answered stores how a submit ended; err as [Provider.Submit] returns it. While the database
// cannot be written it tries again, until a while after ctx ended: what the provider said must
// not be lost.
func (l *Service) Answered(ctx context.Context, jobID string, answer Accepted, submitErr error) error {
	return l.answeredAt(ctx, jobID, 0, time.Time{}, answer, submitErr)
}

// answeredAt is Answered for an attempt of a job, which was given to the workers at begun.
func (l *Service) answeredAt(ctx context.Context, jobID string, attempt int, begun time.Time, answer Accepted, submitErr error) error {
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
			if !sameAttempt(j, attempt) {
				// A webhook was faster, and the job has moved on.
				return tx.AddLogEntry(ctx, j.ID, "submit", fmt.Sprintf("the answer of attempt %d came late, and changes nothing", attempt))
			}
			open := !j.Status.Settled()
			again, err = l.answered(ctx, tx, j, begun, answer, submitErr)
			if open && j.Status.Settled() {
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
func (l *Service) answered(ctx context.Context, tx Tx, j *Job, begun time.Time, answer Accepted, submitErr error) (again bool, err error) {
	var refused *Rejected
	var later *NotNow
	if errors.As(submitErr, &later) {
		if err := rest(ctx, tx, j.Provider, later.After); err != nil {
			return false, err
		}
	}
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
	case errors.As(submitErr, &later) && j.CallKey != "" && j.Attempt == 0:
		return false, l.notTaken(ctx, tx, j, submitErr)
	case errors.As(submitErr, &later):
		if err := tx.AddLogEntry(ctx, j.ID, "submit", "not taken: "+submitErr.Error()); err != nil {
			return false, err
		}
		next, err := l.impatient(ctx, tx, j, begun, later.After)
		if err != nil {
			return false, err
		}
		if next || tx.Now().Sub(laterOf(j.CreatedAt, begun)) >= tryToSubmit {
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
		text += ", but request " + excerpt.Text(j.RequestID, 80) + " came to its webhook address before"
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
	if u := answer.Update; u != nil && !j.Status.Settled() {
		u.shorten()
		_, err := change{job: j, stored: true, update: *u, by: SettledBySubmit, service: l}.apply(ctx, tx, l.o.Router)
		return err
	}
	return tx.SaveJob(ctx, j)
}

// notTaken removes a job that its provider did not accept: the caller gets that answer and may
// repeat the call, and an attempt is not a failed job.
func (l *Service) notTaken(ctx context.Context, tx Tx, j *Job, cause error) error {
	l.o.Log.Warn("a provider did not take a proxied submit", "provider", j.Provider, "model", j.Model, "caller", cmp.Or(j.Caller, "unknown"), "error", cause)
	return tx.RemoveJob(ctx, j.ID)
}
