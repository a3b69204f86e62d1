package gaff

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gaff/internal/redact"
)

// Rescued is the result of [Gateway.Rescue].
type Rescued struct {
	// EventID is the event's; of the first one where the request brought several.
	EventID string
	// Events is how many events it brought, Duplicate whether all were known.
	Events    int
	Duplicate bool
}

// Rescue verifies a rejected request again, with the current source but at the time of its
// receipt, and stores it as an event if it is authentic. A second call, or a call after the
// sender sent the request again, returns the stored event.
//
// The error is ErrNotFound if there is no such rejection or its source is unknown,
// ErrConflict if the request was not stored whole or is rejected again, and ErrUnverifiable
// if the keys are unavailable.
func (g *Gateway) Rescue(ctx context.Context, rejectionID string) (Rescued, error) {
	if !g.enter() {
		return Rescued{}, ErrStopped
	}
	defer g.accepts.Done()
	rj, err := g.store.Rejection(ctx, rejectionID)
	if err != nil {
		return Rescued{}, err
	}
	if rj.RescuedAs != "" {
		return Rescued{EventID: rj.RescuedAs, Events: 1, Duplicate: true}, nil
	}
	req, err := g.store.Quarantined(ctx, rejectionID)
	if errors.Is(err, ErrNotFound) {
		return Rescued{}, fmt.Errorf("%s was not kept whole, or not for so long: %w", rejectionID, ErrConflict)
	}
	if err != nil {
		return Rescued{}, err
	}
	src := g.sources.get(rj.Source)
	if src == nil {
		return Rescued{}, fmt.Errorf("source %q: %w", rj.Source, ErrNotFound)
	}
	out, rp := g.rescue(ctx, src, req)
	switch {
	case rp.status == http.StatusServiceUnavailable:
		return Rescued{}, fmt.Errorf("%s: %w: %s", rejectionID, ErrUnverifiable, rp.reason)
	case rp.status >= 400:
		return Rescued{}, fmt.Errorf("%s is refused still: %s: %w", rejectionID, rp.reason, ErrConflict)
	}
	g.log.Info("refused webhook rescued", "rejection", rejectionID, "source", src.Name, "event", out.EventID, "duplicate", out.Duplicate)
	if err := g.store.Rescued(ctx, rejectionID, out.EventID); err != nil {
		return out, fmt.Errorf("%s is kept as %s, but not marked as rescued: %w", rejectionID, out.EventID, err)
	}
	return out, nil
}

// rescue verifies and stores a request that was received earlier.
func (g *Gateway) rescue(ctx context.Context, src *Source, req *Request) (out Rescued, rp reply) {
	defer func() {
		if p := recover(); p != nil {
			g.log.Error("rescuing a webhook panicked", "source", src.Name, "panic", redact.Panic(p))
			rp = badPayload.because("panic: %v", p)
		}
	}()
	booked := g.book(0)
	defer booked.release()
	x, rp := g.examine(ctx, src, req, booked)
	if rp.status != 0 {
		return out, rp
	}
	unpacked, verification, err := x.unpacked, x.proof, x.err
	switch {
	case errors.Is(err, ErrUnverifiable):
		return out, tryAgain.because("%v", err)
	case err != nil:
		return out, badSignature.because("%v", err)
	case unpacked.status != 0:
		return out, unpacked
	}
	token := ""
	if i := strings.Index(req.URL, PathPrefix); i >= 0 {
		path, _, _ := strings.Cut(req.URL[i:], "?")
		_, token, _ = splitPath(path)
	}
	rcs, rp := g.storeRequest(ctx, src, req, verification, token, booked)
	if rp.status != 0 {
		return out, rp
	}
	out.Events = len(rcs)
	for i, rc := range rcs {
		if i == 0 {
			out.EventID, out.Duplicate = rc.ID, true
		}
		out.Duplicate = out.Duplicate && rc.Duplicate
	}
	return out, reply{}
}
