package jobs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"gaff"
	"gaff/client"
	"gaff/internal/id"
)

// Types of inner events about jobs, beside "job.completed" and its like.
const (
	eventSubmit = "job.submit"
	eventPoll   = "job.ask"
)

// Durations of the ledger.
const (
	defaultReconcileAfter = 2 * time.Minute
	defaultSubmitPatience = 2 * time.Hour
	// maxPollWait is between two questions about one job.
	maxPollWait = 10 * time.Minute
	// pollFirst and pollMost are the waits where no webhook will come.
	pollFirst = 2 * time.Second
	pollMost  = time.Minute
	// stillSending is how long a submit may be under way; after it, its outcome is unknown.
	stillSending = 2 * time.Minute
	// tryToSubmit is how long a provider that cannot take work now is asked again.
	tryToSubmit = time.Hour
	// giveUpAfter is how long a job may go on without an end.
	giveUpAfter = 30 * 24 * time.Hour
	// lookAgain is how often a job that cannot be polled is checked.
	lookAgain = 24 * time.Hour
	// claimedFor is how long a node has to ask after a job before another does.
	claimedFor = 2 * time.Minute

	defaultRequestsPerSecond = 5
	pollsAtOnce              = 4
	submitWorkers            = 8
	fetchWorkers             = 4
)

// ServiceStore is what a ledger works on.
type ServiceStore interface {
	Store
	Reader
	Event(ctx context.Context, id string) (*gaff.EventDetail, error)
}

// ServiceOptions of a [Service]. Store, Router and Log are required.
type ServiceOptions struct {
	Store     ServiceStore
	Router    Router
	Log       *slog.Logger
	Providers []Provider
	// Address returns where a provider's webhooks come in, from outside; empty: nowhere.
	// Nil: nowhere.
	Address func(provider string) string
	// ReconcileAfter is how long nothing must have been heard of a job until its provider
	// is asked. Zero means 2 minutes.
	ReconcileAfter time.Duration
	// SubmitPatience is how long a job whose submit was not answered waits for its
	// webhook before it ends as failed. Zero means 2 hours.
	SubmitPatience time.Duration
	// RequestsPerSecond bounds what reconciliation asks of each provider, over all nodes.
	// Zero means 5.
	RequestsPerSecond float64
	// Users are the provider's users whose webhooks count, by provider. For a provider without
	// ids, the user of the first verified webhook is stored.
	Users map[string]Users
	// CallbackClient posts webhooks to the addresses that askers named, which it must judge.
	// Nil: none are passed on.
	CallbackClient *http.Client
	// CallbackSecrets sign what is posted to those addresses (whsec_…, Standard Webhooks),
	// each of them. None: one that is made at the first start and kept in the store.
	CallbackSecrets []string
	// Shared is set where other processes work on the same store.
	Shared bool
	// Settled is told of each job that came to its end, after the commit; may be nil.
	Settled func(provider, by string, status JobStatus)
}

// Users are users of a provider.
type Users struct {
	IDs []string
	// Setting is the name of the setting that has the ids, for errors.
	Setting string
}

// Service keeps the jobs: it submits them, asks after those of which nothing is heard, and
// cancels them. All of it is written down before it is done, so that a crash neither
// forgets a job nor pays for it twice.
type Service struct {
	o              ServiceOptions
	providers      map[string]Provider
	callbackTokens callbackTokens
	pokes          map[string]chan struct{}
	secrets        []string // that sign callbacks
	process        string   // names this process among those that share the store
	calls          sync.Map // the callers' contexts by Job.OwedBy, of calls of this process
	durations      durations
	unclaimed      unclaimed
}

const (
	handleKeySetting      = "webhook_handle_key"
	callbackSecretSetting = "callback_secret"
)

// NewService reads, or at the first start makes, the key of the webhook addresses and the
// secret of callbacks.
func NewService(ctx context.Context, o ServiceOptions) (*Service, error) {
	if o.ReconcileAfter <= 0 {
		o.ReconcileAfter = defaultReconcileAfter
	}
	if o.SubmitPatience <= 0 {
		o.SubmitPatience = defaultSubmitPatience
	}
	if o.RequestsPerSecond <= 0 {
		o.RequestsPerSecond = defaultRequestsPerSecond
	}
	if o.Address == nil {
		o.Address = func(string) string { return "" }
	}
	l := &Service{o: o, providers: map[string]Provider{}, pokes: map[string]chan struct{}{}, process: rand.Text()}
	for _, p := range o.Providers {
		l.providers[p.Name()] = p
		l.pokes[p.Name()] = make(chan struct{}, 1)
	}
	l.secrets = o.CallbackSecrets
	for _, secret := range l.secrets {
		if _, err := client.Key(secret); err != nil {
			return nil, fmt.Errorf("secret of callbacks: %w", err)
		}
	}
	if err := o.Store.Write(ctx, func(tx Tx) error { return l.readKeys(ctx, tx) }); err != nil {
		return nil, fmt.Errorf("keys of the ledger: %w", err)
	}
	return l, nil
}

// readKeys reads the keys that all nodes share.
func (l *Service) readKeys(ctx context.Context, tx Tx) error {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails, by its contract
	text, err := storedSetting(ctx, tx, handleKeySetting, hex.EncodeToString(fresh))
	if err != nil {
		return err
	}
	if l.callbackTokens.key, err = hex.DecodeString(text); err != nil || len(l.o.CallbackSecrets) > 0 {
		return err
	}
	secret, err := storedSetting(ctx, tx, callbackSecretSetting, client.NewSecret())
	l.secrets = []string{secret}
	return err
}

// storedSetting returns a setting, which is set to the given value if it has none.
func storedSetting(ctx context.Context, tx Tx, name, value string) (string, error) {
	if text, err := tx.Setting(ctx, name); err != nil || text != "" {
		return text, err
	}
	return value, tx.SetSetting(ctx, name, value)
}

// CallbackSecrets are those that sign what is posted to the addresses that askers named.
func (l *Service) CallbackSecrets() []string { return slices.Clone(l.secrets) }

// Attach registers the handlers that submit jobs and fetch results, each provider's in
// lanes of their own.
func (l *Service) Attach(g *gaff.Gateway) {
	if l.o.CallbackClient != nil {
		g.HandleWith(gaff.InternalSource, eventCallback, gaff.JSON(l.callBack), gaff.HandleOptions{Name: "callback", Workers: callbackWorkers})
	}
	for name, p := range l.providers {
		if _, only := p.(WebhookOnly); only {
			continue
		}
		g.HandleWith(gaff.InternalSource, eventSubmit, gaff.JSON(func(ctx context.Context, ev *gaff.Event, t ticket) error {
			return l.submit(ctx, p, t)
		}), gaff.HandleOptions{Name: "submit/" + name, Workers: submitWorkers, Retry: &gaff.RetryPolicy{
			// The handler itself knows when to give up.
			MaxAttempts: 1000, First: 2 * time.Second, Factor: 2, Max: 2 * time.Minute, Timeout: time.Minute,
		}})
		g.HandleWith(gaff.InternalSource, eventPoll, gaff.JSON(func(ctx context.Context, ev *gaff.Event, t ticket) error {
			return l.fetch(ctx, ev, p, t)
		}), gaff.HandleOptions{Name: "ask/" + name, Workers: fetchWorkers, Retry: &gaff.RetryPolicy{
			MaxAttempts: 8, First: time.Second, Factor: 3, Max: 10 * time.Minute, Timeout: 2 * time.Minute,
		}})
	}
}

// ticket is the data of the inner events that ask for work on a job.
type ticket struct {
	JobID    string `json:"jobId"`
	Provider string `json:"provider"`
}

// emit adds an inner event for one provider's handler.
func (l *Service) emit(ctx context.Context, tx Tx, eventType, dedupe string, j *Job, cause *gaff.Event) error {
	data, err := json.Marshal(ticket{j.ID, j.Provider})
	if err != nil {
		return err
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: eventType, DedupeKey: dedupe, CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data,
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	ds := slices.DeleteFunc(l.o.Router.Route(ev), func(d gaff.Delivery) bool {
		kind, provider, ok := strings.Cut(d.Handler, "/")
		return ok && (kind == "submit" || kind == "ask") && provider != j.Provider
	})
	return tx.Emit(ctx, ev, ds)
}

// Submit writes a job down and has it submitted. See [Service.Enqueue].
func (l *Service) Submit(ctx context.Context, s Submission) (j *Job, created bool, err error) {
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		j, created, err = l.Enqueue(ctx, tx, s)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return j, created, nil
}

// Enqueue writes a job as queued, and the inner event gaff:job.submit on which it is
// submitted, inside tx. A known IdempotencyKey returns the first job, and created is
// false. The error is an [InvalidError] where the submission makes no sense, and
// gaff.ErrConflict where its ID is taken.
func (l *Service) Enqueue(ctx context.Context, tx Tx, s Submission) (j *Job, created bool, err error) {
	if j, err := l.first(ctx, tx, s); j != nil || err != nil {
		return j, false, err
	}
	if j, err = l.newJob(tx, &s); err != nil {
		return nil, false, err
	}
	j.Submit = SubmitWaiting
	if j, created, err = l.insert(ctx, tx, j, s); err != nil || !created {
		return j, false, err
	}
	return j, true, l.emit(ctx, tx, eventSubmit, "submit:"+j.ID, j, nil)
}

// newJob checks a submission and makes its job.
func (l *Service) newJob(tx Tx, s *Submission) (*Job, error) {
	p := l.providers[s.Provider]
	if p == nil {
		return nil, &InvalidError{"provider", fmt.Sprintf("%.40q is not one that work can be submitted to; there are %s",
			s.Provider, strings.Join(l.names(), ", "))}
	}
	if len(s.Input) == 0 {
		s.Input = json.RawMessage("{}")
	}
	if !isObject(s.Input) {
		return nil, &InvalidError{"input", "must be a JSON object: what the model gets"}
	}
	if err := checkFields(map[string]string{
		"id": s.ID, "model": s.Model, "kind": s.Kind, "projectId": s.ProjectID, "userId": s.UserID, "idempotencyKey": s.IdempotencyKey,
	}, s.Metadata, s.Callback); err != nil {
		return nil, err
	}
	if s.Callback != "" && l.o.CallbackClient == nil {
		return nil, &InvalidError{"callbackUrl", "this gateway passes nothing on"}
	}
	if err := p.Check(s); err != nil {
		return nil, err
	}
	j := &Job{
		ID: s.ID, Provider: s.Provider, Model: s.Model, Kind: s.Kind, ProjectID: s.ProjectID, UserID: s.UserID, Status: JobQueued,
		Metadata: s.Metadata, CreatedAt: tx.Now(), Account: p.Account(), Caller: s.Caller, IdempotencyKey: s.IdempotencyKey,
		RunID: s.RunID, StepID: s.StepID, Callback: s.Callback,
	}
	if j.ID == "" {
		j.ID = id.New(id.Job, j.CreatedAt)
	}
	j.WebhookURL = l.WebhookURL(j.Provider, j.ID)
	return j, nil
}

func (l *Service) names() []string {
	return slices.Sorted(maps.Keys(l.providers))
}

// WebhookURL is the address for the webhooks of one job; empty where the gateway has none
// that a provider can reach.
func (l *Service) WebhookURL(provider, jobID string) string {
	base := l.o.Address(provider)
	if base == "" {
		return ""
	}
	path, query, _ := strings.Cut(base, "?")
	path = strings.TrimRight(path, "/") + "/" + l.callbackTokens.make(jobID)
	if query != "" {
		path += "?" + query
	}
	return path
}

// CheckCallbackToken returns an error for the last part of a webhook address that gaff did not
// give out.
func (l *Service) CheckCallbackToken(handle string) error {
	if _, ok := l.callbackTokens.job(handle); !ok {
		return errors.New("the last part of the address is none that this gateway gave out")
	}
	return nil
}

const maxField = 256

// checkFields bounds what askers name.
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

// Registration tells of work that an application submits by itself. Empty fields leave
// what is known.
type Registration struct {
	Provider, Model, Kind, ProjectID, UserID string
	// RequestID is the provider's name for the work; it can be set once.
	RequestID                         string
	StatusURL, ResponseURL, CancelURL string
	Metadata                          json.RawMessage
	Callback                          string
}

// AddressChecker is a Provider that judges addresses before a key is sent to them.
type AddressChecker interface {
	CheckAddress(address string) error
}

// Register adds what an application tells about a job, which it names itself: before it
// submits it (to get its WebhookURL), or after (to tell the provider's RequestID). created
// reports whether the job is new. A job that has another RequestID is gaff.ErrConflict.
func (l *Service) Register(ctx context.Context, jobID string, r Registration) (j *Job, created bool, err error) {
	if jobID == "" {
		return nil, false, &InvalidError{"id", "is missing"}
	}
	if err := checkFields(map[string]string{
		"id": jobID, "provider": r.Provider, "model": r.Model, "kind": r.Kind, "projectId": r.ProjectID, "userId": r.UserID,
		"requestId": r.RequestID,
	}, r.Metadata, r.Callback); err != nil {
		return nil, false, err
	}
	err = l.o.Store.Write(ctx, func(tx Tx) error {
		j, created, err = l.register(ctx, tx, jobID, r)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	l.poke(j.Provider)
	return j, created, nil
}

func (l *Service) register(ctx context.Context, tx Tx, jobID string, r Registration) (j *Job, created bool, err error) {
	j, err = tx.Job(ctx, jobID)
	switch {
	case errors.Is(err, gaff.ErrNotFound):
		created = true
		if r.Provider == "" {
			return nil, false, &InvalidError{"provider", "is missing: the job is not known yet"}
		}
		j = &Job{ID: jobID, Provider: r.Provider, Status: JobQueued, CreatedAt: tx.Now()}
		j.WebhookURL = l.WebhookURL(j.Provider, j.ID)
	case err != nil:
		return nil, false, err
	case r.Provider != "" && r.Provider != j.Provider:
		return nil, false, fmt.Errorf("job %s: %w: it is one of %s", jobID, gaff.ErrConflict, j.Provider)
	}
	p := l.providers[j.Provider]
	if p == nil {
		return nil, false, &InvalidError{"provider", fmt.Sprintf("%.40q is not known; there are %s", j.Provider, strings.Join(l.names(), ", "))}
	}
	if checker, ok := p.(AddressChecker); ok {
		for _, field := range [...]struct{ name, address string }{
			{"statusUrl", r.StatusURL}, {"responseUrl", r.ResponseURL}, {"cancelUrl", r.CancelURL},
		} {
			if field.address == "" {
				continue
			}
			if err := checker.CheckAddress(field.address); err != nil {
				return nil, false, &InvalidError{field.name, err.Error()}
			}
		}
	}
	couldAsk := p.CanPoll(j)
	if r.RequestID != "" && r.RequestID != j.RequestID {
		if j.RequestID != "" {
			return nil, false, fmt.Errorf("job %s: %w: its request is %s", jobID, gaff.ErrConflict, clipText(j.RequestID))
		}
		switch other, err := tx.JobByRequest(ctx, j.Provider, r.RequestID); {
		case err == nil:
			return nil, false, fmt.Errorf("job %s: %w: request %s is that of job %s", jobID, gaff.ErrConflict, clipText(r.RequestID), other.ID)
		case !errors.Is(err, gaff.ErrNotFound):
			return nil, false, err
		}
		j.RequestID = r.RequestID
		if j.SubmittedAt.IsZero() {
			j.SubmittedAt = tx.Now()
		}
	}
	for _, field := range []struct {
		to   *string
		from string
	}{
		{&j.Model, r.Model}, {&j.Kind, r.Kind}, {&j.ProjectID, r.ProjectID}, {&j.UserID, r.UserID}, {&j.StatusURL, r.StatusURL},
		{&j.ResponseURL, r.ResponseURL}, {&j.CancelURL, r.CancelURL}, {&j.Callback, r.Callback},
	} {
		if field.from != "" {
			*field.to = field.from
		}
	}
	if len(r.Metadata) > 0 {
		j.Metadata = r.Metadata
	}
	if !j.Status.Settled() && (j.NextPollAt.IsZero() || !couldAsk && p.CanPoll(j)) {
		l.schedule(tx.Now(), j)
	}
	if created {
		if err := tx.InsertJob(ctx, j); err != nil {
			return nil, false, err
		}
		return j, true, tx.AddLogEntry(ctx, j.ID, "register", "told of by an application")
	}
	return j, false, tx.SaveJob(ctx, j)
}

func clipText(text string) string {
	if len(text) > 80 {
		return strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
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
	if p := l.providers[j.Provider]; j.Submit == SubmitNone && p != nil && !p.CanPoll(j) {
		j.NextPollAt = now.Add(jitter(lookAgain))
		return
	}
	first, most, step := l.o.ReconcileAfter, max(maxPollWait, l.o.ReconcileAfter), l.o.ReconcileAfter
	usual := l.durations.of(j)
	left := usual.overdue() - now.Sub(j.begun())
	if j.WebhookURL == "" {
		step, most = min(pollFirst, l.o.ReconcileAfter), pollMost
		first = min(max(usual.typical()/2, step), most)
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
