package api

import (
	"context"

	"gaff"
	"gaff/destination"
	"gaff/internal/wire"
)

func (s *server) listSubscriptions(ctx context.Context, in *wire.Page) (none wire.List[wire.Subscription], err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	all, err := m.Subscriptions(ctx)
	return cutList(*in, all, err, func(d destination.Subscription) string { return d.Name }, wire.NewSubscription)
}

type subscribeInput struct{ Body wire.Subscribe }

func (s *server) subscribe(ctx context.Context, in *subscribeInput) (none wire.Subscribed, err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	sub, created, err := m.Subscribe(ctx, in.Body.Name, in.Body.Events, in.Body.Filter, in.Body.From)
	return wire.Subscribed{Subscription: wire.NewSubscription(sub), Created: created}, err
}

type subscriptionInput struct {
	Name string `path:"name" maxLength:"100"`
}

func (s *server) unsubscribe(ctx context.Context, in *subscriptionInput) error {
	m, err := s.destinations()
	if err != nil {
		return err
	}
	return m.Unsubscribe(ctx, in.Name)
}

type listenInput struct {
	Name   string `path:"name" maxLength:"100"`
	After  string `query:"after" doc:"The position to read from, the cursor of the answer before; empty for the acknowledged one."`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Wait   string `query:"wait" doc:"How long to wait for the first event, up to 60s."`
	Format string `query:"format" enum:"original,envelope" default:"original" doc:"original: the request as received, if there is one."`
}

func (s *server) listen(ctx context.Context, in *listenInput) (none wire.HeardList, err error) {
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	wait, err := wire.Duration("wait", in.Wait, 0)
	if err != nil {
		return none, err
	}
	lengthen(ctx, wait)
	h, err := m.Listen(ctx, in.Name, in.After, in.Limit, wait)
	if err != nil {
		return none, err
	}
	out := wire.HeardList{Events: []wire.Heard{}, Cursor: wire.Text(h.Cursor), Gone: h.Gone}
	for _, ev := range h.Events {
		doc, err := heard(ctx, m, ev, in.Format == "original")
		if err != nil {
			return none, err
		}
		out.Events = append(out.Events, doc)
	}
	return out, nil
}

// heard makes the document of an event, with its request if original, or else its envelope.
func heard(ctx context.Context, m *destination.Manager, ev *gaff.Event, original bool) (doc wire.Heard, err error) {
	doc = wire.Heard{ID: ev.ID, Source: ev.Source, Type: ev.Type, WebhookID: wire.Text(ev.WebhookID), ReceivedAt: wire.Time{Time: ev.ReceivedAt}}
	if original {
		doc.Request = wire.NewOriginalRequest(ev)
	}
	if doc.Request == nil {
		envelope, err := m.Envelope(ctx, ev)
		doc.Envelope = wire.Envelope(envelope)
		return doc, err
	}
	return doc, nil
}

type ackInput struct {
	Name string `path:"name" maxLength:"100"`
	Body wire.Acknowledgement
}

func (s *server) ackSubscription(ctx context.Context, in *ackInput) (none wire.Subscription, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	sub, err := m.Acknowledge(ctx, in.Name, in.Body.Cursor)
	return wire.NewSubscription(sub), err
}
