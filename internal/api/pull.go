package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gaff/destination"
	"gaff/internal/access"
	"gaff/internal/wire"
)

type pullInput struct{ Body wire.Pull }

// defaultPull is how many deliveries a pull without max returns.
const defaultPull = 10

func (s *server) pull(ctx context.Context, in *pullInput) (none wire.PulledList, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	wait, err := wire.Duration("wait", in.Body.Wait, 0)
	if err != nil {
		return none, err
	}
	lease, err := wire.Duration("lease", in.Body.Lease, 0)
	if err != nil {
		return none, err
	}
	lengthen(ctx, wait)
	limit := in.Body.Max
	if limit == 0 {
		limit = defaultPull
	}
	if err := ownDestination(ctx, in.Body.Destination); err != nil {
		return none, err
	}
	pulled, err := m.Pull(ctx, in.Body.Destination, limit, wait, lease)
	return wire.NewPulledList(pulled), err
}

type leasesInput struct{ Body wire.Leases }

func (s *server) ackPulled(ctx context.Context, in *leasesInput) (none wire.EndedLeases, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	if err := ownLeases(ctx, m, in.Body.Leases); err != nil {
		return none, err
	}
	return wire.NewEndedLeases(m.Ack(ctx, in.Body.Leases)), nil
}

func (s *server) releasePulled(ctx context.Context, in *leasesInput) (none wire.EndedLeases, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	if err := ownLeases(ctx, m, in.Body.Leases); err != nil {
		return none, err
	}
	return wire.NewEndedLeases(m.Release(ctx, in.Body.Leases)), nil
}

type failInput struct{ Body wire.Failure }

func (s *server) failPulled(ctx context.Context, in *failInput) (none wire.EndedLeases, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	delay, err := wire.Duration("delay", in.Body.Delay, -1)
	if err != nil {
		return none, err
	}
	if err := ownLeases(ctx, m, in.Body.Leases.Leases); err != nil {
		return none, err
	}
	ended, err := m.Fail(ctx, in.Body.Leases.Leases, in.Body.Error, delay, in.Body.Dead)
	return wire.NewEndedLeases(ended), err
}

type extendInput struct{ Body wire.Extension }

func (s *server) extendPulled(ctx context.Context, in *extendInput) (none wire.EndedLeases, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	lease, err := wire.Duration("lease", in.Body.Lease, 0)
	if err != nil {
		return none, err
	}
	if err := ownLeases(ctx, m, in.Body.Leases.Leases); err != nil {
		return none, err
	}
	ended, until, err := m.Extend(in.Body.Leases.Leases, lease)
	out := wire.NewEndedLeases(ended)
	out.Until = wire.Time{Time: until}
	return out, err
}

// streamMost is how many unacknowledged deliveries a stream hands out.
const streamMost = 10

func describePullStream(api huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: "string"}
	op.Description += " Acknowledge each as those of pull. A delivery that is not acknowledged is sent again when its lease expires. The data of each event is a Pulled document."
	op.Parameters = []*huma.Param{
		{Name: "destination", In: "query", Required: true, Description: "A destination of kind pull.", Schema: text},
		queryParam("lease", "How long the caller holds each; empty for the destination's own lease.", text),
		queryParam("max", "How many are handed out at once, 1 to 100; 10 if empty.", &huma.Schema{Type: "integer"}),
	}
	op.Responses = map[string]*huma.Response{"200": response("Deliveries, until either side ends it", "text/event-stream", text)}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusNotFound)
}

// pullWish is what a client asks of a stream of deliveries.
type pullWish struct {
	destination string
	most        int
	lease       time.Duration
}

func parsePullWish(q url.Values) (p pullWish, err error) {
	p = pullWish{destination: q.Get("destination"), most: streamMost}
	for name := range q {
		if name != "destination" && name != "lease" && name != "max" {
			return p, wire.Invalid(fmt.Sprintf("unknown parameter %.60q: want destination, lease or max", name))
		}
	}
	if text := q.Get("max"); text != "" {
		if p.most, err = strconv.Atoi(text); err != nil || p.most < 1 || p.most > destination.MaxPull {
			return p, wire.Invalid(fmt.Sprintf("max is %.20q: want 1 to %d", text, destination.MaxPull))
		}
	}
	p.lease, err = wire.Duration("lease", q.Get("lease"), 0)
	return p, err
}

func (s *server) pullStream(w http.ResponseWriter, r *http.Request) {
	if !tokenOnly(w, r) {
		return
	}
	m, err := s.destinations()
	if err != nil {
		s.reject(w, r, err)
		return
	}
	wish, err := parsePullWish(r.URL.Query())
	if err != nil {
		s.reject(w, r, err)
		return
	}
	if err := ownDestination(r.Context(), wish.destination); err != nil {
		s.reject(w, r, err)
		return
	}
	release, ok := s.openStream(w, r)
	if !ok {
		return
	}
	defer release()
	// Errors of the request are answered before the stream begins.
	pulled, err := m.Pull(r.Context(), wish.destination, wish.most, 0, wish.lease)
	if err != nil {
		s.reject(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sse{w: w, rc: http.NewResponseController(w)}
	_ = out.rc.SetReadDeadline(time.Time{}) // a recorder in a test has none
	if r.Method == http.MethodHead || out.write(": alive\n\n") != nil {
		m.GiveBack(pulled)
		return
	}
	s.streamPulled(r, out, m, wish, pulled)
}

// streamPulled sends deliveries until the client leaves, never more at once than it asked for.
func (s *server) streamPulled(r *http.Request, out *sse, m *destination.Manager, wish pullWish, pulled []destination.Pulled) {
	held := map[string]bool{}
	for {
		for i, p := range pulled {
			held[p.Lease] = true
			if out.document(p.Delivery.ID, "delivery", wire.NewPulled(p)) != nil {
				m.GiveBack(pulled[i:])
				return
			}
		}
		for token := range held {
			if !m.Holds(token) {
				delete(held, token)
			}
		}
		if status, _ := s.denial(r, "stream-pulled", Operator, access.ReachDestination); status != 0 {
			return
		}
		if len(held) >= wish.most {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(streamPace):
			}
			pulled = nil
			continue
		}
		var err error
		if pulled, err = m.Pull(r.Context(), wish.destination, wish.most-len(held), heartbeat, wish.lease); err != nil {
			return
		}
		if len(pulled) == 0 && out.write(": alive\n\n") != nil {
			return
		}
	}
}
