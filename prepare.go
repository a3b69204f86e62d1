package gaff

import (
	"runtime/debug"
	"time"

	"gaff/internal/id"
	"gaff/internal/redact"
)

// preparerOf returns a handler as a Preparer; nil if it is not one, or if a middleware must see each attempt.
func (g *Gateway) preparerOf(h Handler) Preparer {
	if n, ok := h.(*named); ok {
		h = n.Handler
	}
	if len(g.middleware) > 0 {
		return nil
	}
	p, _ := h.(Preparer)
	return p
}

// prepare adds the effects that can be stored with an event.
func (g *Gateway) prepare(reg *registry, p *AcceptParams) {
	ev := p.Event
	switch {
	case len(ev.Data) > maxParsed: // it takes long to read, and the sender waits
		return
	case ev.Redaction != nil: // it is done when all deliveries have ended
		return
	case ev.Reply != nil: // the handler writes it
		return
	}
	for i, d := range p.Deliveries {
		h := reg.byName[d.Handler]
		// A queue of its own may have a limiter.
		if h == nil || h.preparer == nil || d.Queue != "" || d.Key != "" || d.RunAt.After(ev.ReceivedAt) {
			continue
		}
		if !g.started() { // handlers run between Start and Stop
			return
		}
		started := time.Now()
		if effects := g.effectsOf(h, ev); effects != nil {
			p.EffectsOf = i
			p.Effects = &prepared{Effects: effects, g: g, handler: h, event: ev, delivery: i, started: started}
		}
		return
	}
}

// effectsOf calls Prepare. A panic is left to Handle, which records it.
func (g *Gateway) effectsOf(h *registered, ev *Event) (effects Effects) {
	defer func() {
		if recover() != nil {
			effects = nil
		}
	}()
	return h.preparer.Prepare(ev)
}

// prepared are effects whose attempt is reported after the commit.
type prepared struct {
	Effects
	g        *Gateway
	handler  *registered
	event    *Event
	delivery int // place
	started  time.Time
}

// Stored is called in the writer's goroutine if the sender has left, so nothing may panic.
func (p *prepared) Stored() {
	g, ev := p.g, p.event
	defer func() {
		if failed := recover(); failed != nil {
			g.log.Error("a handler panicked after the commit", "handler", p.handler.name, "event", ev.ID,
				"panic", redact.Panic(failed), "stack", string(debug.Stack()))
		}
	}()
	p.Effects.Stored()
	if g.opt.Tracer != nil {
		p.trace()
	}
	if g.opt.Hooks.Attempted != nil {
		g.opt.Hooks.Attempted(ev.Source, p.handler.name, AttemptSucceeded, time.Since(p.started), time.Since(ev.ReceivedAt))
	}
}

func (p *prepared) trace() {
	ev, policy := p.event, p.g.policy(p.handler, p.event.Source)
	_, end := p.g.traceAttempt(Work{
		Lease: Lease{Delivery: p.delivery + 1, Attempt: 1, EventID: ev.ID, Source: ev.Source, StartedAt: p.started},
		Delivery: Delivery{
			ID: id.OfDelivery(ev.ID, p.delivery+1), EventID: ev.ID, Handler: p.handler.name, MaxAttempts: policy.MaxAttempts,
			RunAt: ev.ReceivedAt, CreatedAt: ev.ReceivedAt, Source: ev.Source, Type: ev.Type, WebhookID: ev.WebhookID,
		},
		Event: ev,
	}, policy)
	end(AttemptSucceeded, nil)
}
