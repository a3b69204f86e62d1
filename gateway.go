package gaff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff/internal/sorting"
)

// Options of a [Gateway]. Only Store is required.
type Options struct {
	Store Store
	// Logger gets the messages for operators. Nil means slog.Default().
	Logger *slog.Logger
	// BaseURL is the public base of this gateway, such as "https://hooks.example.com".
	// Empty: taken from each request, which a sender that signs the address may not
	// agree with.
	BaseURL string
	// Retry is the policy for all deliveries; zero fields are DefaultRetryPolicy's.
	Retry RetryPolicy
	// Workers is how many handlers run at once. Zero means 64.
	Workers int
	// InFlightBytes bounds the bodies that are being received at once, in bytes; beyond
	// it senders get 503. Zero means 256 MiB.
	InFlightBytes int64
	// QueueLen and QueueBytes bound the deliveries that wait in memory for one of Workers, in
	// number and in the memory of their events; more wait in the store. Zero means 16,384 and
	// 24 MiB.
	QueueLen   int
	QueueBytes int64
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is believed.
	// Empty: the sender's address is the peer's.
	TrustedProxies []netip.Prefix
	// Hooks are called for each reply and attempt; any may be nil.
	Hooks Hooks
	// Tracer records what happens to events; nil traces nothing.
	Tracer Tracer
}

// Hooks observe a gateway, for metrics. They are called on hot paths and must not block.
type Hooks struct {
	// Replied is called after each reply to a sender. source is empty if it is unknown.
	Replied func(source string, status int, took time.Duration)
	// Attempted is called after each attempt. age is the time since the event came, or, of a
	// replay, a retry by a person or a scheduled event, since the delivery was due.
	Attempted func(source, handler, outcome string, took, age time.Duration)
	// Violated is called for each event that violates a schema, which refused says whether it was
	// refused for. schema is the event type that the schema is for, or "*".
	Violated func(source, schema string, refused bool)
}

// Gateway receives webhooks, keeps them, and works them. Create it with [New], add
// sources and handlers, then Start it.
type Gateway struct {
	opt     Options
	log     *slog.Logger
	store   Store
	sources sourceSet
	// registry is what events are routed by. It is never changed but replaced as a whole,
	// under mu, so that routing takes no lock while handlers come and go.
	registry atomic.Pointer[registry]

	inFlight   atomic.Int64 // bytes of bodies being received
	unverified places       // of large bodies that are being verified
	verified   places       // of large bodies that are being parsed
	slowNotes  atomic.Int64 // until when answers do not wait for their notes, in Unix nanoseconds
	disabled   logLimiter
	pace       pace          // of replays
	answering  chan struct{} // a place for each request that waits for a handler
	quarantine *clientLimits // bytes of rejected requests that are stored whole, by source and client

	middleware []Middleware // of handlers that are registered from now on

	mu      sync.Mutex
	state   runState
	accepts sync.WaitGroup // requests between being let in and answered
	workers sync.WaitGroup
	quit    chan struct{}           // closed: take no more work
	work    context.Context         // of handlers
	cancel  context.CancelCauseFunc // ends work
}

type runState int

const (
	stateNew runState = iota
	stateStarted
	stateStopped
)

const (
	defaultWorkers   = 64
	defaultInFlight  = 256 << 20
	defaultBodyLimit = 1 << 20
)

// New makes a gateway over a store.
func New(o Options) (*Gateway, error) {
	if o.Store == nil {
		return nil, errors.New("gaff: Options.Store is missing; open one with store/sqlite")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Workers <= 0 {
		o.Workers = defaultWorkers
	}
	if o.InFlightBytes <= 0 {
		o.InFlightBytes = defaultInFlight
	}
	if o.QueueLen <= 0 {
		o.QueueLen = defaultQueueLen
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	o.Retry = o.Retry.over(DefaultRetryPolicy)
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	g := &Gateway{
		opt: o, log: o.Logger, store: o.Store,
		quit: make(chan struct{}), unverified: make(places, largeUnverified), verified: make(places, largeVerified), answering: make(chan struct{}, maxAnswering),
	}
	g.registry.Store(&registry{
		byName: map[string]*registered{},
		queues: map[string]*queue{"": newQueue("", o.Workers, int64(min(o.QueueLen, maxPlaces)), o.QueueBytes)},
	})
	g.quarantine = newClientLimits(quarantineRate, quarantineBurst)
	g.work, g.cancel = context.WithCancelCause(context.Background())
	return g, nil
}

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// CheckSourceName returns an error if a source cannot have the name; it names the rule.
func CheckSourceName(name string) error {
	switch {
	case name == "manage" || name == InternalSource || name == PublishedSource:
		return errors.New("this name is gaff's own; choose another")
	case !sourceName.MatchString(name):
		return errors.New("is not a name of a source: it begins with a lower case letter or a digit and has up to 64 of those, - and _")
	}
	return nil
}

// AddSource registers a sender. It panics on a name that is taken, reserved or no good,
// and on a source without verifier or parser: those are mistakes in the program.
func (g *Gateway) AddSource(s Source) {
	g.mustBeNew("AddSource")
	switch {
	case CheckSourceName(s.Name) != nil:
		panic(fmt.Sprintf("gaff: source %q: %v", s.Name, CheckSourceName(s.Name)))
	case g.sources.get(s.Name) != nil:
		panic(fmt.Sprintf("gaff: source %q is added twice", s.Name))
	case s.Verifier == nil || s.Parser == nil:
		panic(fmt.Sprintf("gaff: source %q needs a Verifier and a Parser", s.Name))
	}
	g.ready(&s)
	g.sources.put(&s)
}

// UpdateSource replaces the source of the same name for new requests; requests in progress
// finish with the old one. It is for new secrets of a running gateway, and may be called at
// any time.
func (g *Gateway) UpdateSource(s Source) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sources.get(s.Name) == nil {
		return fmt.Errorf("source %q: %w; PutSource adds one", s.Name, ErrNotFound)
	}
	return g.setSource(s)
}

// setSource adds or replaces a source; g.mu is held.
func (g *Gateway) setSource(s Source) error {
	if s.Verifier == nil || s.Parser == nil {
		return fmt.Errorf("source %q: %w: it needs a Verifier and a Parser", s.Name, ErrInvalid)
	}
	g.ready(&s)
	old := g.sources.get(s.Name)
	if old == nil {
		g.sources.put(&s)
		return nil
	}
	if old.Guard.Rate == s.Guard.Rate && old.Guard.Burst == s.Guard.Burst {
		s.verified, s.unverified = old.verified, old.unverified // a reload must not reset the limit
	}
	if (old.DisabledReason == "") != (s.DisabledReason == "") {
		g.log.Info("source changed", "source", s.Name, "quiet", s.DisabledReason)
	}
	g.sources.put(&s)
	return nil
}

// PutSource adds a source, or replaces that of its name, at any time. Its handlers are attached
// apart ([Gateway.Attach]).
func (g *Gateway) PutSource(s Source) error {
	if err := CheckSourceName(s.Name); err != nil {
		return fmt.Errorf("source %.80q: %w: %w", s.Name, ErrInvalid, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.setSource(s)
}

// RemoveSource removes a source: requests to it are answered 404 from now on. Its events stay.
func (g *Gateway) RemoveSource(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sources.remove(name)
}

// ready sets defaults and the rate limits of a source.
func (g *Gateway) ready(s *Source) {
	if s.MaxBodyBytes <= 0 {
		s.MaxBodyBytes = defaultBodyLimit
	}
	s.unverified = newClientLimits(unverifiedRate, unverifiedBurst)
	if s.Guard.Rate > 0 {
		s.verified, s.unverified = newRateLimit(s.Guard.Rate, s.Guard.Burst), newClientLimits(s.Guard.Rate, s.Guard.Burst)
	}
}

// sourceSet is read by every request and replaced as a whole.
type sourceSet struct {
	p atomic.Pointer[map[string]*Source]
}

func (s *sourceSet) all() map[string]*Source {
	if m := s.p.Load(); m != nil {
		return *m
	}
	return nil
}

func (s *sourceSet) get(name string) *Source { return s.all()[name] }

func (s *sourceSet) put(src *Source) {
	next := maps.Clone(s.all())
	if next == nil {
		next = map[string]*Source{}
	}
	next[src.Name] = src
	s.p.Store(&next)
}

func (s *sourceSet) remove(name string) {
	next := maps.Clone(s.all())
	delete(next, name)
	s.p.Store(&next)
}

// SourceInfo describes a source to people.
type SourceInfo struct {
	Name string
	// Path is the address without the base, such as "/api/v1/webhooks/shop".
	Path           string
	DisabledReason string
	Paused         string
	About          map[string]string
	MaxBodyBytes   int64
	// Secrets are the source's; see [Source].
	Secrets  []string
	Handlers []HandlerInfo
}

// HandlerInfo describes a registered handler.
type HandlerInfo struct{ Name, Source, Type string }

// Sources describes the sources, by name.
func (g *Gateway) Sources() []SourceInfo {
	var infos []SourceInfo
	for _, s := range g.sources.all() {
		info := SourceInfo{
			Name: s.Name, Path: PathPrefix + s.Name, DisabledReason: s.DisabledReason, Paused: s.Paused, About: s.About, MaxBodyBytes: s.MaxBodyBytes,
			Secrets: s.Secrets,
		}
		for _, h := range g.registry.Load().handlers {
			if h.source == s.Name || h.source == "*" {
				info.Handlers = append(info.Handlers, HandlerInfo{h.name, h.source, h.eventType})
			}
		}
		infos = append(infos, info)
	}
	sorting.By(infos, func(a, b SourceInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// Start begins to work deliveries, those left by an earlier run included. Starting twice
// is an error.
func (g *Gateway) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != stateNew {
		return errors.New("gaff: the gateway was started before; make a new one")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range g.sources.all() {
		if s.DisabledReason != "" {
			g.log.Warn("source refuses everything", "source", s.Name, "reason", s.DisabledReason)
		}
	}
	left, err := g.store.Queues(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	reg := g.registry.Load()
	next := &registry{handlers: reg.handlers, byName: reg.byName, queues: maps.Clone(reg.queues)}
	for _, name := range left {
		if next.queues[name] == nil {
			// Its handler is gone, or shares the others' queue now.
			next.queues[name] = newQueue(name, 1, attachedPlaces(1), ownQueueBytes)
		}
	}
	g.registry.Store(next)
	g.state = stateStarted
	for _, l := range next.queues {
		g.startWorkers(l)
		g.startDispatch(l)
	}
	g.workers.Go(g.publishDue)
	return nil
}

func (g *Gateway) startDispatch(l *queue) { g.workers.Go(func() { g.dispatch(l) }) }

// startWorkers adds the workers that a queue lacks; g.mu is held. One that has too many
// loses them as they finish.
func (g *Gateway) startWorkers(l *queue) {
	for l.hire() {
		g.workers.Go(func() { g.worker(l) })
	}
}

// interruptTime is how long Stop waits for interrupted handlers, and for what it gives back.
const interruptTime = time.Second

// Stop lets no more webhooks in, waits for requests and running handlers until ctx ends, then
// interrupts the handlers. It returns at most two seconds after ctx ended, even if a handler
// ignores that or the disk hangs. Interrupted and queued deliveries are processed at the next
// start and costs no attempt. The store stays open. Stopping twice, or before Start, is harmless.
func (g *Gateway) Stop(ctx context.Context) error {
	g.mu.Lock()
	first := g.state != stateStopped
	started := g.state == stateStarted
	g.state = stateStopped
	g.mu.Unlock()
	if !first {
		return nil
	}
	if !within(ctx, g.accepts.Wait) {
		g.log.Warn("stopping although requests are still being received")
	}
	close(g.quit)
	if !started {
		g.cancel(ErrStopped)
		return nil
	}
	if !within(ctx, g.workers.Wait) {
		g.cancel(ErrStopped)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptTime)
		defer cancel()
		if !within(patience, g.workers.Wait) {
			g.log.Warn("stopping although handlers do not return")
		}
	}
	g.cancel(ErrStopped)
	var left []Lease
	for _, l := range g.registry.Load().queues {
		left = append(left, l.drain()...)
	}
	if len(left) == 0 {
		return nil
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptTime)
	defer cancel()
	var err error
	if !within(release, func() { err = g.store.Release(release, left) }) {
		return fmt.Errorf("give back %d deliveries: %w", len(left), context.Cause(release))
	}
	return err
}

// within runs fn and reports whether it returned before ctx ended. Else fn goes on by itself.
func within(ctx context.Context, fn func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// enter lets a request in while the gateway runs.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == stateStopped {
		return false
	}
	g.accepts.Add(1)
	return true
}

// started reports whether handlers run.
func (g *Gateway) started() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == stateStarted
}

func (g *Gateway) mustBeNew(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != stateNew {
		panic("gaff: " + what + " after Start")
	}
}
