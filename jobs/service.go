package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/sharedkey"
)

// Types of internal events about jobs, beside "job.completed" and its like.
const (
	eventSubmit = "job.submit"
	eventPoll   = "job.ask"
)

// Delays of the service.
const (
	defaultReconcileAfter = 2 * time.Minute
	defaultSubmitPatience = 2 * time.Hour
	defaultPollLease      = 30 * time.Second
	// maxPollWait is the longest time between two polls of a job.
	maxPollWait = 10 * time.Minute
	// pollFirst and pollMost are the delays for jobs without a webhook.
	pollFirst = 2 * time.Second
	pollMost  = time.Minute
	// stillSending is how long a submit may be under way; after it, its outcome is unknown.
	stillSending = 2 * time.Minute
	// tryToSubmit is how long submits are repeated that the provider cannot accept now.
	tryToSubmit = time.Hour
	// giveUpAfter is how long a job may go on without an end.
	giveUpAfter = 30 * 24 * time.Hour
	// lookAgain is how often a job that cannot be polled is checked.
	lookAgain = 24 * time.Hour

	defaultRequestsPerSecond = 5
	pollsAtOnce              = 4
	submitWorkers            = 8
	fetchWorkers             = 4
)

// ServiceStore has the operations of a store that a [Service] uses.
type ServiceStore interface {
	Store
	Reader
	Event(ctx context.Context, id string) (*gaff.EventDetail, error)
	// QueuedProviders returns the providers of which jobs wait in the queue, and whether it has rows at
	// all.
	// LimitUse returns, for the providers, models, projects and users of the queue, how many jobs are under way
	// and wait, and when the rates of those that have one allow the next submit.
	LimitUse(ctx context.Context) ([]LimitUse, error)
	QueuedProviders(ctx context.Context) (names []string, rows bool, err error)
}

// ServiceOptions of a [Service]. Store, Router and Log are required.
type ServiceOptions struct {
	Store     ServiceStore
	Router    Router
	Log       *slog.Logger
	Providers []Provider
	// Address returns the public URL for a provider's webhooks; empty without one. Nil: none.
	Address func(provider string) string
	// ReconcileAfter is how long a job must be without news before its provider is polled. Zero
	// means 2 minutes.
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
	// CallbackClient posts webhooks to callback URLs, and must reject private addresses. Nil: no
	// callbacks.
	CallbackClient *http.Client
	// CallbackSecrets sign the requests to those URLs (whsec_…, Standard Webhooks); each of them
	// signs. None: a secret that is made at the first start and stored.
	CallbackSecrets []string
	// PollLease is after what time a job is polled again whose poll a killed process had begun. Zero means 30 seconds.
	PollLease time.Duration
	// Shared is set where other processes work on the same store.
	Shared bool
	// Price returns what jobs of a model cost; nil: unknown.
	Price func(provider, model string) Price
	// Limit returns the limit of a provider, model, project or user, by its scope and name; nil: none.
	Limit func(scope, name string) Limit
	// Limited are names that have a limit of their own, which are listed also without jobs.
	Limited []LimitKey
	// Reuse returns whether, and how, results of jobs answer equal submits; nil: never.
	Reuse func(provider, model, project string) (rule ReuseRule, ok bool)
	// Alias returns the candidates of an alias. If it is nil, aliases are unknown.
	Alias func(name string) []Candidate
	// Mapping evaluates the expressions of candidates, with one variable. If it is nil, candidates must have no expressions.
	Mapping func(expression, variable string, value json.RawMessage) (json.RawMessage, error)
	// Settled is called for each settled job, after the commit; may be nil.
	Settled func(provider, by string, status JobStatus)
}

// Users are users of a provider.
type Users struct {
	IDs []string
	// Setting is the name of the setting that has the ids, for errors.
	Setting string
}

// Service submits jobs, polls those without news, and cancels them. It stores each step before it
// takes it, so that a crash neither loses a job nor pays for it twice.
type Service struct {
	o              ServiceOptions
	mu             sync.RWMutex
	providers      map[string]Provider
	pokes          map[string]chan struct{}
	added          chan Provider // after the start
	callbackTokens callbackTokens
	callbackKeys   *sharedkey.Keys // that sign callbacks; nil if the settings have them
	secrets        []string        // that sign callbacks, from the settings
	process        string          // names this process among those that share the store
	calls          sync.Map        // the callers' contexts by Job.OwedBy, of calls of this process
	durations      durations
	unclaimed      unclaimed
	queueUntil     atomic.Int64     // until when jobs may wait in the queue, as far as was seen
	queuePoke      chan struct{}    // has the queue checked
	queueCleaned   time.Time        // of runQueue
	sweeps         map[string]sweep // of runQueue, by provider
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
	if o.PollLease <= 0 {
		o.PollLease = defaultPollLease
	}
	if o.Address == nil {
		o.Address = func(string) string { return "" }
	}
	l := &Service{o: o, providers: map[string]Provider{}, pokes: map[string]chan struct{}{}, added: make(chan Provider, maxAdded), process: rand.Text(), queuePoke: make(chan struct{}, 1), sweeps: map[string]sweep{}}
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
	if err := l.openKeys(ctx); err != nil {
		return nil, fmt.Errorf("read the keys of job webhooks and callbacks: %w", err)
	}
	return l, nil
}

// openKeys reads the keys that all nodes share.
func (l *Service) openKeys(ctx context.Context) (err error) {
	fresh := func() string {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails, by its contract
		return hex.EncodeToString(key)
	}
	if l.callbackTokens.keys, err = OpenKeys(ctx, l.o.Store, sharedkey.Options{Name: handleKeySetting, Fresh: fresh, Check: checkHex, Announce: l.announce()}); err != nil || len(l.o.CallbackSecrets) > 0 {
		return err
	}
	l.callbackKeys, err = OpenKeys(ctx, l.o.Store, sharedkey.Options{
		Name: callbackSecretSetting, Fresh: client.NewSecret, Announce: l.announce(),
		Check: func(text string) error {
			_, err := client.Key(text)
			return err
		},
	})
	return err
}

// checkHex returns an error for a key that is not 16 bytes or more in hexadecimal digits.
func checkHex(text string) error {
	if raw, err := hex.DecodeString(text); err != nil || len(raw) < 16 {
		return errors.New("want 16 bytes or more in hexadecimal digits")
	}
	return nil
}

// AnnounceKeys is how long other nodes have to read a new key before it signs.
const AnnounceKeys = 30 * time.Second

func (l *Service) announce() time.Duration {
	if l.o.Shared {
		return AnnounceKeys
	}
	return 0
}

// WebhookKeys sign the callback tokens of jobs' webhook URLs.
func (l *Service) WebhookKeys() *sharedkey.Keys { return l.callbackTokens.keys }

// CallbackKeys sign requests to callback URLs; nil if the settings have their secrets.
func (l *Service) CallbackKeys() *sharedkey.Keys { return l.callbackKeys }

// OpenKeys opens keys that are a setting of a store.
func OpenKeys(ctx context.Context, store Store, o sharedkey.Options) (*sharedkey.Keys, error) {
	o.Write = func(ctx context.Context, fn func(sharedkey.Tx) error) error {
		return store.Write(ctx, func(tx Tx) error { return fn(tx) })
	}
	return sharedkey.Open(ctx, o)
}

// StoredSetting returns a setting, and first sets it to value if it is unset.
func StoredSetting(ctx context.Context, tx Tx, name, value string) (string, error) {
	if text, err := tx.Setting(ctx, name); err != nil || text != "" {
		return text, err
	}
	return value, tx.SetSetting(ctx, name, value)
}

func (l *Service) names() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.providers))
}

// provider returns a provider; nil if it is unknown.
func (l *Service) provider(name string) Provider {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.providers[name]
}

// pokeOf returns the channel that wakes the polling of a provider; nil if it is unknown.
func (l *Service) pokeOf(name string) chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.pokes[name]
}

// maxAdded is how many providers can be added at once.
const maxAdded = 1024

// AddProvider makes a provider known that is [WebhookOnly], at any time: jobs can be registered for it.
func (l *Service) AddProvider(p Provider) error {
	if _, only := p.(WebhookOnly); !only {
		return fmt.Errorf("%w: provider %s submits jobs; it is set up at the start", gaff.ErrInvalid, p.Name())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.providers[p.Name()] != nil {
		return nil
	}
	l.providers[p.Name()] = p
	if l.pokes[p.Name()] == nil { // else its jobs are watched already
		l.pokes[p.Name()] = make(chan struct{}, 1)
		select {
		case l.added <- p:
		default:
			return fmt.Errorf("%w: more than %d providers were added", gaff.ErrUnavailable, maxAdded)
		}
	}
	return nil
}

// RemoveProvider ends the registration of jobs for a provider that was added.
func (l *Service) RemoveProvider(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, only := l.providers[name].(WebhookOnly); only {
		delete(l.providers, name)
	}
}

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
		timeout := time.Minute
		if slow, ok := p.(Slow); ok {
			timeout = max(timeout, slow.SubmitTimeout()+5*time.Second)
		}
		g.HandleWith(gaff.InternalSource, eventSubmit, gaff.JSON(func(ctx context.Context, ev *gaff.Event, t ticket) error {
			t.begun = ev.ReceivedAt
			return l.submit(ctx, p, t)
		}), gaff.HandleOptions{Name: "submit/" + name, Workers: l.workers(p), Retry: &gaff.RetryPolicy{
			// The handler itself knows when to give up.
			MaxAttempts: 1000, First: 2 * time.Second, Factor: 2, Max: 2 * time.Minute, Timeout: timeout,
		}})
		g.HandleWith(gaff.InternalSource, eventPoll, gaff.JSON(func(ctx context.Context, ev *gaff.Event, t ticket) error {
			return l.fetch(ctx, ev, p, t)
		}), gaff.HandleOptions{Name: "ask/" + name, Workers: fetchWorkers, Retry: &gaff.RetryPolicy{
			MaxAttempts: 8, First: time.Second, Factor: 3, Max: 10 * time.Minute, Timeout: 2 * time.Minute,
		}})
	}
}

// Run polls jobs without news until ctx ends. Every node runs it; the nodes share the jobs and the
// rate.
func (l *Service) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range l.o.Providers {
		all.Go(func() { l.reconcile(ctx, p) })
	}
	all.Go(func() { l.saveDurations(ctx) })
	all.Go(func() { l.runQueue(ctx) })
	for {
		select {
		case p := <-l.added:
			all.Go(func() { l.reconcile(ctx, p) })
		case <-ctx.Done():
			all.Wait()
			return
		}
	}
}

// ticket is the data of the internal events on which a job is submitted or polled.
type ticket struct {
	JobID    string `json:"jobId"`
	Provider string `json:"provider"`
	// Attempt is that of the job; 0 without a plan.
	Attempt int `json:"attempt,omitempty"`

	begun time.Time // when the job was given to the workers
}

// emitSubmit adds the event on which a job is submitted.
func (l *Service) emitSubmit(ctx context.Context, tx Tx, j *Job) error {
	key := "submit:" + j.ID
	if j.Attempt > 1 {
		key += ":" + strconv.Itoa(j.Attempt)
	}
	return l.emit(ctx, tx, eventSubmit, key, j, nil)
}

// emit adds an internal event for one provider's handler.
func (l *Service) emit(ctx context.Context, tx Tx, eventType, dedupe string, j *Job, cause *gaff.Event) error {
	data, err := json.Marshal(ticket{JobID: j.ID, Provider: j.Provider, Attempt: j.Attempt})
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

func (l *Service) poke(provider string) {
	select {
	case l.pokeOf(provider) <- struct{}{}:
	default:
	}
}

func (l *Service) pokeAll() {
	l.mu.RLock()
	names := slices.Collect(maps.Keys(l.pokes))
	l.mu.RUnlock()
	for _, name := range names {
		l.poke(name)
	}
}

// Job returns one job, or gaff.ErrNotFound.
func (l *Service) Job(ctx context.Context, jobID string) (*Job, error) {
	return l.o.Store.Job(ctx, jobID)
}

// byRequest finds a job by its provider's request id; nil if unknown.
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
