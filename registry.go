package gaff

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// registry is the handlers, in the order in which they came, and the queues by name: the
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

// registered is a handler with its options.
type registered struct {
	name, source, eventType string
	handler                 Handler
	preparer                Preparer // the handler, if it is one
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

// Use adds middleware to the handlers that are registered by [Gateway.Handle] and
// [Gateway.HandleWith] from now on; the first is the outermost.
func (g *Gateway) Use(middleware ...Middleware) {
	g.mustBeNew("Use")
	g.middleware = append(g.middleware, middleware...)
}

// Handle registers h for the events of a source and type; "*" means any. A source of
// "*" leaves out gaff's own internal events, which are handled under the source "gaff".
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
	preparer := g.preparerOf(h)
	for _, wrap := range slices.Backward(g.middleware) {
		h = wrap(h)
	}
	r := &registered{
		name: o.Name, source: source, eventType: eventType, handler: h, preparer: preparer, queue: reg.queues[""], HandleOptions: o,
	}
	if o.Workers > 0 {
		r.queue = newQueue(o.Name, o.Workers, ownQueuePlaces(o.Workers), ownQueueBytes)
	}
	g.registry.Store(reg.with(r))
}

// maxAttached bounds the queues that a gateway may be given while it runs.
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

// Detach takes a handler away that was attached: no event is routed to it any more. Queued
// deliveries wait until a handler of the name is attached again or it is canceled.
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

// Route names the deliveries that an event leads to.
func (g *Gateway) Route(ev *Event) []Delivery {
	var ds []Delivery
	subject := &Subject{Event: ev}
	for _, h := range g.registry.Load().handlers {
		if !h.takes(subject) {
			continue
		}
		d := Delivery{Handler: h.name, Queue: h.queue.name, MaxAttempts: g.policy(h, ev.Source).MaxAttempts}
		if h.Delay > 0 {
			d.RunAt = received(ev).Add(h.Delay)
		}
		if d.Queue != "" {
			h.SetOrder(&d, subject)
		}
		ds = append(ds, d)
	}
	return ds
}

// SetOrder sets the order of a delivery of an event, and its key, if the options have an order.
func (o *HandleOptions) SetOrder(d *Delivery, s *Subject) {
	if o.Order == NoOrder || o.OrderKey == nil {
		return
	}
	if d.Key = orderKey(o.OrderKey(s)); d.Key != "" {
		d.Order = o.Order
	}
}

// received returns when an event came; now for one that is being emitted.
func received(ev *Event) time.Time {
	if ev.ReceivedAt.IsZero() {
		return time.Now()
	}
	return ev.ReceivedAt
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
