package gaff

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gaff/internal/id"
	"gaff/internal/redact"
)

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
		return "", fmt.Errorf("emit %s:%s: Data is not JSON of at most %d levels: %w", ev.Source, ev.Type, maxDepth, ErrInvalid)
	}
	ds := g.Route(&ev)
	for i := range ds {
		if runAt.After(ds[i].RunAt) {
			ds[i].RunAt = runAt
		}
	}
	rc, err := g.accept(ctx, &ev, ds, nil)
	if err != nil {
		return "", fmt.Errorf("emit %s:%s: %w", ev.Source, ev.Type, err)
	}
	return rc.ID, nil
}

// accept keeps an event and starts on its deliveries at once, where there is room.
func (g *Gateway) accept(ctx context.Context, ev *Event, ds []Delivery, booked *booking) (Receipt, error) {
	g.pace.webhook(time.Now())
	reg := g.registry.Load()
	p := AcceptParams{Event: ev, Deliveries: ds, Dropped: booked.share()}
	var size int64
	p.Take, size = g.reserve(reg, ev, ds)
	g.prepare(reg, &p)
	rc, err := g.store.Accept(ctx, p)
	g.hand(reg, &p, size, rc, err)
	if rc.EffectsFailure != nil {
		if more, ok := g.disabled.allow("effects", ev.Source, ev.ReceivedAt); ok {
			g.log.Warn("effects could not be stored with their webhooks; deliveries try them again", "event", rc.ID, "source", ev.Source,
				"error", redact.Error(rc.EffectsFailure), "alsoSince", more)
		}
	}
	return rc, err
}

// acceptAll is accept for the events of one request, in one commit.
func (g *Gateway) acceptAll(ctx context.Context, evs []*Event, routes [][]Delivery, booked *booking) ([]Receipt, error) {
	if len(evs) == 1 {
		rc, err := g.accept(ctx, evs[0], routes[0], booked)
		return []Receipt{rc}, err
	}
	g.pace.webhook(time.Now())
	reg := g.registry.Load()
	ps, sizes := make([]AcceptParams, len(evs)), make([]int64, len(evs))
	for i, ev := range evs {
		ps[i] = AcceptParams{Event: ev, Deliveries: routes[i]}
		ps[i].Take, sizes[i] = g.reserve(reg, ev, routes[i])
	}
	ps[0].Dropped = booked.share() // all are dropped together
	rcs, err := g.store.AcceptAll(ctx, ps)
	for i := range ps {
		var rc Receipt
		if err == nil {
			rc = rcs[i]
		}
		g.hand(reg, &ps[i], sizes[i], rc, err)
	}
	return rcs, err
}

// reserve reports which deliveries of an event have a place in their queues, and the memory that each
// place has; zero without deliveries.
func (g *Gateway) reserve(reg *registry, ev *Event, ds []Delivery) (take []bool, size int64) {
	if len(ds) == 0 {
		return nil, 0
	}
	take, size = make([]bool, len(ds)), memoryOf(ev)
	for i, d := range ds {
		if l := reg.queues[d.Queue]; l != nil && g.limiterReady(reg, l, ev.ReceivedAt) {
			take[i] = l.reserve(1, size)
		}
	}
	return take, size
}

// hand queues the deliveries of a stored event that have a place, and releases the places that
// were not needed.
func (g *Gateway) hand(reg *registry, p *AcceptParams, size int64, rc Receipt, err error) {
	handed := 0 // rc.Work is in the order of the deliveries, and holds some of those that were asked for
	for i, d := range p.Deliveries {
		l := reg.queues[d.Queue]
		switch {
		case rc.EffectsStored && i == p.EffectsOf:
			if p.Take[i] {
				l.freePlace(size)
			}
		case handed < len(rc.Work) && rc.Work[handed].Lease.Delivery == i+1:
			l.queue.push(queued{rc.Work[handed], size})
			handed++
		case p.Take[i]:
			l.freePlace(size)
			if err == nil && !rc.Duplicate {
				l.wake() // due later: the dispatcher must know when
			}
		case err == nil && l != nil:
			l.backlog.Store(true)
			l.wake()
		}
	}
}
