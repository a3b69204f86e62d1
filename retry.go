package gaff

import (
	"context"
	"strings"
	"time"

	"gaff/internal/id"
)

// Retry makes the dead deliveries of an event ("evt_…"), or one dead delivery ("dlv_…"),
// due again with all their attempts, and returns their ids.
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
	var r runner
	defer r.leave()
	for _, w := range work {
		out, err := g.attempt(&r, w)
		if out != nil {
			g.finish(w, *out)
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	if failures == nil {
		return nil
	}
	return &AttemptError{failures}
}

// Replay processes an event again by all handlers that it has now, with any earlier
// outcome, and returns the ids of the new deliveries.
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
