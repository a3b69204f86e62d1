package gaff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
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
	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is believed.
	// Empty: the sender's address is the peer's.
	TrustedProxies []netip.Prefix
	// Hooks are told of each reply and attempt; any may be nil.
	Hooks Hooks
}

// Hooks observe a gateway, for metrics. They are called on hot paths and must not block.
type Hooks struct {
	// Replied is called after each reply to a sender. source is empty if it is unknown.
	Replied func(source string, status int, took time.Duration)
	// Attempted is called after each attempt. age is the time since the event came, or, of a
	// replay, a retry by a person or a scheduled event, since the delivery was due.
	Attempted func(source, handler, outcome string, took, age time.Duration)
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
	quarantine *clientLimits // bytes of rejected requests that are stored whole, by source and client

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

// registry is the handlers, in the order in which they came, and the lanes by name: the
// one without a name serves all handlers without one of their own.
type registry struct {
	handlers []*registered
	byName   map[string]*registered
	queues   map[string]*queue
}

// with returns a registry with r in the place of the handler of its name.
func (old *registry) with(r *registered) *registry {
	next := old.without(r.name)
	at := len(next.handlers)
	for i, h := range old.handlers {
		if h.name == r.name {
			at = i
		}
	}
	next.handlers = slices.Insert(next.handlers, at, r)
	next.byName[r.name] = r
	if r.queue.name != "" {
		next.queues[r.queue.name] = r.queue
	}
	return next
}

func (old *registry) without(name string) *registry {
	next := &registry{byName: maps.Clone(old.byName), queues: maps.Clone(old.queues)}
	for _, h := range old.handlers {
		if h.name != name {
			next.handlers = append(next.handlers, h)
		}
	}
	delete(next.byName, name)
	return next
}

// registered is a handler with what was said of it.
type registered struct {
	name, source, eventType string
	handler                 Handler
	queue                   *queue
	attached                bool
	HandleOptions
}

// takes reports whether the handler wants the event.
func (r *registered) takes(s *Subject) bool {
	ev := s.Event
	if r.source != "" && r.source != ev.Source && (r.source != "*" || ev.Source == InternalSource) {
		return false
	}
	if r.eventType != "" && r.eventType != ev.Type && r.eventType != "*" {
		return false
	}
	return r.Match == nil || r.Match(s)
}

const (
	defaultWorkers   = 64
	defaultInFlight  = 256 << 20
	defaultBodyLimit = 1 << 20
	// Of refused requests, so many bytes a second and at once are kept whole.
	quarantineRate  = 1 << 20
	quarantineBurst = 16 << 20
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
		quit: make(chan struct{}), unverified: make(places, largeUnverified), verified: make(places, largeVerified),
	}
	g.registry.Store(&registry{
		byName: map[string]*registered{},
		queues: map[string]*queue{"": newQueue("", o.Workers, queuePlaces, queueBytes)},
	})
	g.quarantine = newClientLimits(quarantineRate, quarantineBurst)
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
	case s.Name == "manage" || s.Name == InternalSource:
		panic(fmt.Sprintf("gaff: source name %q is taken by gaff itself", s.Name))
	case g.sources.get(s.Name) != nil:
		panic(fmt.Sprintf("gaff: source %q is added twice", s.Name))
	case s.Verifier == nil || s.Parser == nil:
		panic(fmt.Sprintf("gaff: source %q needs a Verifier and a Parser", s.Name))
	}
	g.ready(&s)
	g.sources.put(&s)
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
	// Match, if not nil, must agree for an event to be handled. It is called for every
	// event of the source and type, by many goroutines at once and within the store's
	// transactions, so it must be quick and must not block.
	Match func(*Subject) bool
	// Limiter, if not nil, says when deliveries of the lane may start; needs Workers.
	Limiter Limiter
	// Order says what is kept apart by OrderKey; needs Workers. Deliveries for which
	// OrderKey is nil or returns "" are in no order.
	Order    Order
	OrderKey func(*Subject) string
}

// Limiter holds back the deliveries of one lane: for a receiver that is down, paused, or must
// not be asked too often. What waits for it stays in the store, counts no attempt, and
// costs nothing, however much it is. Its methods are called by many goroutines at once.
type Limiter interface {
	// Ready tells how many deliveries may be started now; if none, after how long to ask
	// again at the latest ([Gateway.Wake] makes the lane ask at once).
	Ready(now time.Time) (n int, again time.Duration)
	// Enter is asked before each start; a false one goes back, or waits where again is
	// short.
	Enter(now time.Time) (ok bool, again time.Duration)
}

// Subject is an event while it is looked at for routing.
type Subject struct {
	Event *Event
	read  bool
	doc   any
}

// Doc returns the event's data decoded as encoding/json does, numbers as json.Number; nil
// if there is none. It is read once for all who ask.
func (s *Subject) Doc() any {
	if !s.read {
		s.read = true
		dec := json.NewDecoder(bytes.NewReader(s.Event.Data))
		dec.UseNumber()
		if dec.Decode(&s.doc) != nil {
			s.doc = nil
		}
	}
	return s.doc
}

// CallbackToken registers h for the events of a source and type; "*" stands for any. A source of
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
	reg := g.registry.Load()
	if reg.byName[o.Name] != nil {
		panic(fmt.Sprintf("gaff: two handlers are called %q; tell them apart with gaff.Named", o.Name))
	}
	r := &registered{name: o.Name, source: source, eventType: eventType, handler: h, queue: reg.queues[""], HandleOptions: o}
	if o.Workers > 0 {
		r.queue = newQueue(o.Name, o.Workers, ownQueuePlaces(o.Workers), ownQueueBytes)
	}
	g.registry.Store(reg.with(r))
}

// maxAttached bounds the lanes that a gateway may be given while it runs.
const maxAttached = 4096

// Attach is [Gateway.HandleWith] for handlers that come and go: it may be called at any
// time, and puts h in the place of the one that was attached under its name before, whose
// waiting deliveries it takes over. o.Name and o.Workers are needed. Besides "*", source
// and eventType may be empty for all there are, inner events included; o.Match then
// chooses.
func (g *Gateway) Attach(source, eventType string, h Handler, o HandleOptions) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	reg := g.registry.Load()
	known := reg.byName[o.Name]
	switch {
	case o.Name == "" || o.Workers <= 0 || h == nil:
		return fmt.Errorf("attach %q: a name, workers and a handler are needed: %w", o.Name, ErrInvalid)
	case known != nil && !known.attached:
		return fmt.Errorf("attach %q: a handler of the program has this name: %w", o.Name, ErrConflict)
	case g.state == stateStopped:
		return fmt.Errorf("attach %q: %w", o.Name, ErrStopped)
	case len(reg.queues) >= maxAttached && reg.queues[o.Name] == nil:
		return fmt.Errorf("attach %q: %d handlers have come and gone since the start; restart the gateway: %w", o.Name, maxAttached, ErrUnavailable)
	}
	r := &registered{name: o.Name, source: source, eventType: eventType, handler: h, attached: true, HandleOptions: o}
	l := reg.queues[o.Name]
	if l == nil {
		l = newQueue(o.Name, o.Workers, attachedPlaces(o.Workers), ownQueueBytes)
		if g.state == stateStarted {
			g.startDispatch(l)
		}
	}
	r.queue = l
	g.registry.Store(reg.with(r))
	l.gone.Store(false)
	l.resize(o.Workers, attachedPlaces(o.Workers))
	if g.state == stateStarted {
		g.startWorkers(l)
	}
	l.wake()
	return nil
}

// Detach takes a handler away that was attached: no event is routed to it any more. What
// waits for it waits on, until a handler of the name is attached again or it is canceled.
func (g *Gateway) Detach(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	reg := g.registry.Load()
	r := reg.byName[name]
	if r == nil || !r.attached {
		return
	}
	r.queue.gone.Store(true)
	r.queue.resize(1, attachedPlaces(1))
	g.registry.Store(reg.without(name))
}

// Wake makes a lane look for work, and ask its gate, now.
func (g *Gateway) Wake(name string) {
	if l := g.registry.Load().queues[name]; l != nil {
		l.backlog.Store(true)
		l.wake()
	}
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
	Path           string
	DisabledReason string
	About          map[string]string
	MaxBodyBytes   int64
	// Secrets are the source's; see [Source].
	Secrets  []string
	Handlers []HandlerInfo
}

// Sources describes the sources, by name.
func (g *Gateway) Sources() []SourceInfo {
	var infos []SourceInfo
	for _, s := range g.sources.all() {
		info := SourceInfo{
			Name: s.Name, Path: PathPrefix + s.Name, DisabledReason: s.DisabledReason, About: s.About, MaxBodyBytes: s.MaxBodyBytes,
			Secrets: s.Secrets,
		}
		for _, h := range g.registry.Load().handlers {
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
	subject := &Subject{Event: ev}
	for _, h := range g.registry.Load().handlers {
		if !h.takes(subject) {
			continue
		}
		d := Delivery{Handler: h.name, Queue: h.queue.name, MaxAttempts: g.policy(h, ev.Source).MaxAttempts}
		if h.Order != NoOrder && h.OrderKey != nil && d.Queue != "" {
			if d.Key = orderKey(h.OrderKey(subject)); d.Key != "" {
				d.Order = h.Order
			}
		}
		ds = append(ds, d)
	}
	return ds
}

// maxOrderKey bounds an order key, in bytes; longer ones are hashed.
const maxOrderKey = 256

func orderKey(key string) string {
	if len(key) <= maxOrderKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// policy is the handler's over the source's over the gateway's; h may be nil.
func (g *Gateway) policy(h *registered, source string) RetryPolicy {
	policy := g.opt.Retry
	if s := g.sources.get(source); s != nil && s.Retry != nil {
		policy = s.Retry.over(policy)
	}
	if h != nil && h.Retry != nil {
		policy = h.Retry.over(policy)
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
		ev.Source = InternalSource
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
	if !json.Valid(ev.Data) || tooDeep(ev.Data) {
		return "", fmt.Errorf("emit %s:%s: Data is no JSON of at most %d levels: %w", ev.Source, ev.Type, maxDepth, ErrInvalid)
	}
	ds := g.Route(&ev)
	for i := range ds {
		ds[i].RunAt = runAt
	}
	rc, err := g.accept(ctx, &ev, ds, nil)
	if err != nil {
		return "", fmt.Errorf("emit %s:%s: %w", ev.Source, ev.Type, err)
	}
	return rc.ID, nil
}

// accept keeps an event and starts on its deliveries at once, where there is room.
func (g *Gateway) accept(ctx context.Context, ev *Event, ds []Delivery, booked *booking) (Receipt, error) {
	reg := g.registry.Load()
	take := g.reserve(reg, ev, ds)
	rc, err := g.store.Accept(ctx, AcceptParams{Event: ev, Deliveries: ds, Take: take, Dropped: booked.share()})
	g.hand(reg, ev, ds, take, rc, err)
	return rc, err
}

// acceptAll is accept for the events of one request, in one commit.
func (g *Gateway) acceptAll(ctx context.Context, evs []*Event, routes [][]Delivery, booked *booking) ([]Receipt, error) {
	if len(evs) == 1 {
		rc, err := g.accept(ctx, evs[0], routes[0], booked)
		return []Receipt{rc}, err
	}
	reg := g.registry.Load()
	ps := make([]AcceptParams, len(evs))
	for i, ev := range evs {
		ps[i] = AcceptParams{Event: ev, Deliveries: routes[i], Take: g.reserve(reg, ev, routes[i])}
	}
	ps[0].Dropped = booked.share() // all are dropped together
	rcs, err := g.store.AcceptAll(ctx, ps)
	for i, p := range ps {
		var rc Receipt
		if err == nil {
			rc = rcs[i]
		}
		g.hand(reg, p.Event, p.Deliveries, p.Take, rc, err)
	}
	return rcs, err
}

// reserve asks the lanes for places.
func (g *Gateway) reserve(reg *registry, ev *Event, ds []Delivery) []bool {
	take := make([]bool, len(ds))
	for i, d := range ds {
		if l := reg.queues[d.Queue]; l != nil && g.limiterReady(reg, l, ev.ReceivedAt) {
			take[i] = l.reserve(1, int64(len(ev.Data)))
		}
	}
	return take
}

// hand gives the lanes what was kept for them, and takes back the places that were not
// needed.
func (g *Gateway) hand(reg *registry, ev *Event, ds []Delivery, take []bool, rc Receipt, err error) {
	size := int64(len(ev.Data))
	handed := 0 // rc.Work is in the order of ds, and holds some of those that were asked for
	for i, d := range ds {
		l := reg.queues[d.Queue]
		switch {
		case handed < len(rc.Work) && rc.Work[handed].Lease.Delivery == i+1:
			l.queue.push(rc.Work[handed])
			handed++
		case take[i]:
			l.unreserve(1, size)
			if err == nil && !rc.Duplicate {
				l.wake() // due later: the dispatcher must know when
			}
		case err == nil && l != nil:
			l.backlog.Store(true)
			l.wake()
		}
	}
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
			// Its handler is gone, or shares the others' lane now.
			next.queues[name] = newQueue(name, 1, attachedPlaces(1), ownQueueBytes)
		}
	}
	g.registry.Store(next)
	g.state = stateStarted
	for _, l := range next.queues {
		g.startWorkers(l)
		g.startDispatch(l)
	}
	return nil
}

func (g *Gateway) startDispatch(l *queue) { g.workers.Go(func() { g.dispatch(l) }) }

// startWorkers adds the workers that a lane lacks; g.mu is held. One that has too many
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
// ignores that or the disk hangs. What was interrupted or not begun is processed at the next
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
