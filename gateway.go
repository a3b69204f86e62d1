package gaff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gaff/internal/id"
)

// Options of a [Gateway]. Only Store is required.
type Options struct {
	Store Store
	// Logger is told of what people should know. Nil means slog.Default().
	Logger *slog.Logger
	// BaseURL is the public base of this gateway, such as "https://hooks.example.com".
	// Empty: taken from each request, which a sender that signs the address may not
	// agree with.
	BaseURL string
	// Retry is the policy for all deliveries; zero fields are DefaultRetryPolicy's.
	Retry RetryPolicy
	// Workers is how many handlers run at once. Zero means 64.
	Workers int
	// InFlightBytes bounds the bodies that are being received at once, in bytes; more
	// are told to come again. Zero means 256 MiB.
	InFlightBytes int64
	// Hooks are told of each reply and attempt; any may be nil.
	Hooks Hooks
}

// Hooks observe a gateway, for metrics. They are called on hot paths and must not block.
type Hooks struct {
	// Replied is called after each reply to a sender. source is empty if it is unknown.
	Replied func(source string, status int, took time.Duration)
	// Attempted is called after each attempt; age is the time since the event came.
	Attempted func(source, handler, outcome string, took, age time.Duration)
}

// Gateway receives webhooks, keeps them, and works them. Create it with [New], add
// sources and handlers, then Start it.
type Gateway struct {
	opt      Options
	log      *slog.Logger
	store    Store
	sources  map[string]*Source
	handlers []*registered
	byName   map[string]*registered
	// lanes by name; the one without a name serves all handlers without one of their own.
	lanes map[string]*lane

	inFlight atomic.Int64 // bytes of bodies being received
	quiet    sometimes

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

// registered is a handler with what was said of it.
type registered struct {
	name, source, eventType string
	handler                 Handler
	lane                    *lane
	retry                   *RetryPolicy
}

const (
	defaultWorkers   = 64
	defaultInFlight  = 256 << 20
	defaultBodyLimit = 1 << 20
)

var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

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
	o.Retry = o.Retry.over(DefaultRetryPolicy)
	o.BaseURL = strings.TrimRight(o.BaseURL, "/")
	g := &Gateway{
		opt: o, log: o.Logger, store: o.Store,
		sources: map[string]*Source{}, byName: map[string]*registered{}, lanes: map[string]*lane{},
		quit: make(chan struct{}),
	}
	g.lanes[""] = newLane("", o.Workers, queuePlaces, queueBytes)
	g.work, g.cancel = context.WithCancelCause(context.Background())
	return g, nil
}

// AddSource registers a sender. It panics on a name that is taken, reserved or no good,
// and on a source without verifier or parser: those are mistakes in the program.
func (g *Gateway) AddSource(s Source) {
	g.mustBeNew("AddSource")
	switch {
	case !sourceName.MatchString(s.Name):
		panic(fmt.Sprintf("gaff: source name %q: want lower case letters, digits, - and _, at most 64", s.Name))
	case s.Name == "manage" || s.Name == InnerSource:
		panic(fmt.Sprintf("gaff: source name %q is taken by gaff itself", s.Name))
	case g.sources[s.Name] != nil:
		panic(fmt.Sprintf("gaff: source %q is added twice", s.Name))
	case s.Verifier == nil || s.Parser == nil:
		panic(fmt.Sprintf("gaff: source %q needs a Verifier and a Parser", s.Name))
	}
	if s.MaxBodyBytes <= 0 {
		s.MaxBodyBytes = defaultBodyLimit
	}
	g.sources[s.Name] = &s
}

// HandleOptions say how a handler is run. The zero value is how most are.
type HandleOptions struct {
	// Name is the one under which the handler's deliveries are stored; it must stay the
	// same between runs. Empty means "source:type".
	Name string
	// Workers, if not zero, gives the handler a lane of its own in which so many of its
	// deliveries run at once: for one that is slow, or waits for others, so that it holds
	// up nobody. Zero: it shares Options.Workers with all that have no lane.
	Workers int
	// Retry overrides the source's and the gateway's policy; zero fields keep theirs.
	Retry *RetryPolicy
}

// Handle registers h for the events of a source and type; "*" stands for any. A source of
// "*" leaves out gaff's own inner events, which are handled under the source "gaff".
//
// Deliveries are stored under the handler's name: the one given by [Named], else
// "source:type". Handle panics when a name is taken.
func (g *Gateway) Handle(source, eventType string, h Handler) {
	g.HandleWith(source, eventType, h, HandleOptions{})
}

// HandleWith is [Gateway.Handle] with options.
func (g *Gateway) HandleWith(source, eventType string, h Handler, o HandleOptions) {
	g.mustBeNew("Handle")
	if n, ok := h.(*named); ok && o.Name == "" {
		o.Name = n.name
	}
	if o.Name == "" {
		o.Name = source + ":" + eventType
	}
	if g.byName[o.Name] != nil {
		panic(fmt.Sprintf("gaff: two handlers are called %q; tell them apart with gaff.Named", o.Name))
	}
	r := &registered{name: o.Name, source: source, eventType: eventType, handler: h, lane: g.lanes[""], retry: o.Retry}
	if o.Workers > 0 {
		r.lane = newLane(o.Name, o.Workers, ownLanePlaces(o.Workers), ownLaneBytes)
		g.lanes[o.Name] = r.lane
	}
	g.byName[o.Name] = r
	g.handlers = append(g.handlers, r)
}

func (g *Gateway) mustBeNew(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != stateNew {
		panic("gaff: " + what + " after Start")
	}
}

type named struct {
	Handler
	name string
}

// Named gives a handler the name under which its deliveries are stored.
func Named(name string, h Handler) Handler { return &named{h, name} }

// HandlerInfo describes a registered handler.
type HandlerInfo struct{ Name, Source, Type string }

// SourceInfo describes a source to people.
type SourceInfo struct {
	Name string
	// Path is the address without the base, such as "/api/v1/webhooks/fal".
	Path         string
	Quiet        string
	About        map[string]string
	MaxBodyBytes int64
	Handlers     []HandlerInfo
}

// Sources describes the sources, by name.
func (g *Gateway) Sources() []SourceInfo {
	var infos []SourceInfo
	for _, s := range g.sources {
		info := SourceInfo{
			Name: s.Name, Path: PathPrefix + s.Name, Quiet: s.Quiet, About: s.About, MaxBodyBytes: s.MaxBodyBytes,
		}
		for _, h := range g.handlers {
			if h.source == s.Name || h.source == "*" {
				info.Handlers = append(info.Handlers, HandlerInfo{h.name, h.source, h.eventType})
			}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b SourceInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

// Route names the deliveries that an event leads to.
func (g *Gateway) Route(ev *Event) []Delivery {
	var ds []Delivery
	for _, h := range g.handlers {
		if h.source != ev.Source && (h.source != "*" || ev.Source == InnerSource) {
			continue
		}
		if h.eventType == ev.Type || h.eventType == "*" {
			ds = append(ds, Delivery{Handler: h.name, Lane: h.lane.name, MaxAttempts: g.policy(h, ev.Source).MaxAttempts})
		}
	}
	return ds
}

// policy is the handler's over the source's over the gateway's; h may be nil.
func (g *Gateway) policy(h *registered, source string) RetryPolicy {
	policy := g.opt.Retry
	if s := g.sources[source]; s != nil && s.Retry != nil {
		policy = s.Retry.over(policy)
	}
	if h != nil && h.retry != nil {
		policy = h.retry.over(policy)
	}
	return policy
}

// Emit keeps an event of our own making and works it like any other. Source defaults to
// "gaff", ReceivedAt and DedupeKey to fresh ones; ID is the store's to give; Data must be JSON. RunAt, if not
// zero, is when its handlers are due. It returns the id, of the first one where the
// DedupeKey is known.
func (g *Gateway) Emit(ctx context.Context, ev Event, runAt time.Time) (string, error) {
	now := time.Now()
	if ev.Source == "" {
		ev.Source = InnerSource
	}
	if ev.ReceivedAt.IsZero() {
		ev.ReceivedAt = now
	}
	if ev.DedupeKey == "" {
		ev.DedupeKey = id.New(id.Key, now)
	}
	if ev.Hop > MaxHops {
		return "", fmt.Errorf("emit %s:%s: more than %d events caused one another: %w", ev.Source, ev.Type, MaxHops, ErrInvalid)
	}
	ds := g.Route(&ev)
	for i := range ds {
		ds[i].RunAt = runAt
	}
	rc, err := g.accept(ctx, &ev, ds)
	if err != nil {
		return "", fmt.Errorf("emit %s:%s: %w", ev.Source, ev.Type, err)
	}
	return rc.ID, nil
}

// accept keeps an event and starts on its deliveries at once, where there is room.
func (g *Gateway) accept(ctx context.Context, ev *Event, ds []Delivery) (Receipt, error) {
	size := int64(len(ev.Data))
	take := make([]bool, len(ds))
	for i, d := range ds {
		if l := g.lanes[d.Lane]; l != nil {
			take[i] = l.reserve(1, size)
		}
	}
	rc, err := g.store.Accept(ctx, AcceptParams{Event: ev, Deliveries: ds, Take: take})
	handed := 0 // rc.Work is in the order of ds, and holds some of those that were asked for
	for i, d := range ds {
		l := g.lanes[d.Lane]
		switch {
		case handed < len(rc.Work) && rc.Work[handed].Lease.Delivery == i+1:
			l.queue <- rc.Work[handed]
			handed++
		case take[i]:
			l.unreserve(1, size)
			if err == nil && !rc.Duplicate {
				l.look() // due later: the dispatcher must know when
			}
		case err == nil && l != nil:
			l.backlog.Store(true)
			l.look()
		}
	}
	return rc, err
}

// Retry makes the dead deliveries of an event ("evt_…"), or one dead delivery ("dlv_…"),
// due again with a full set of tries, and returns their ids.
func (g *Gateway) Retry(ctx context.Context, eventOrDelivery string) ([]string, error) {
	p := RetryParams{EventID: eventOrDelivery, Tries: g.opt.Retry.MaxAttempts, Now: time.Now()}
	if strings.HasPrefix(eventOrDelivery, id.Delivery) {
		p.EventID, p.DeliveryID = "", eventOrDelivery
	}
	ids, _, err := g.store.Retry(ctx, p)
	return ids, err
}

// RetryNow tries the dead deliveries of an event once, waits, and returns how it ended:
// nil, ErrNotFound, ErrConflict when none is dead, or an *AttemptError with the handlers'
// failures.
func (g *Gateway) RetryNow(ctx context.Context, eventID string) error {
	_, work, err := g.store.Retry(ctx, RetryParams{EventID: eventID, Tries: 1, Now: time.Now(), Take: true})
	if err != nil {
		return err
	}
	var failures []error
	for _, w := range work {
		if err := g.attempt(w); err != nil {
			failures = append(failures, err)
		}
	}
	if failures == nil {
		return nil
	}
	return &AttemptError{failures}
}

// Replay works an event anew by all handlers that it has now, whatever became of it
// before, and returns the ids of the new deliveries.
func (g *Gateway) Replay(ctx context.Context, eventID string) ([]string, error) {
	d, err := g.store.Event(ctx, eventID)
	if err != nil {
		return nil, err
	}
	return g.store.Replay(ctx, eventID, g.Route(&d.Log.Event))
}

// Cancel ends a delivery that is not done.
func (g *Gateway) Cancel(ctx context.Context, deliveryID string) error {
	return g.store.Cancel(ctx, deliveryID)
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
	for _, s := range g.sources {
		if s.Quiet != "" {
			g.log.Warn("source refuses everything", "source", s.Name, "reason", s.Quiet)
		}
	}
	left, err := g.store.Lanes(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	for _, name := range left {
		if g.lanes[name] == nil {
			// Its handler is gone, or shares the others' lane now.
			g.lanes[name] = newLane(name, 1, ownLanePlaces(1), ownLaneBytes)
		}
	}
	g.state = stateStarted
	for _, l := range g.lanes {
		for range l.workers {
			g.workers.Go(func() { g.worker(l) })
		}
		g.workers.Go(func() { g.dispatch(l) })
	}
	return nil
}

// Stop lets no more webhooks in, waits for running handlers until ctx ends, then
// interrupts them. What was interrupted or not begun is worked at the next start and
// costs no attempt. The store stays open. Stopping twice, or before Start, is harmless.
func (g *Gateway) Stop(ctx context.Context) error {
	g.mu.Lock()
	first := g.state != stateStopped
	started := g.state == stateStarted
	g.state = stateStopped
	g.mu.Unlock()
	if !first {
		return nil
	}
	g.accepts.Wait()
	close(g.quit)
	if !started {
		g.cancel(ErrStopped)
		return nil
	}
	done := make(chan struct{})
	go func() {
		g.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		g.cancel(ErrStopped)
		<-done
	}
	g.cancel(ErrStopped)
	var left []Lease
	for _, l := range g.lanes {
		left = append(left, l.drain()...)
	}
	if len(left) == 0 {
		return nil
	}
	return g.store.Release(context.WithoutCancel(ctx), left)
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
