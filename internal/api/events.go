package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/wire"
)

type eventsInput struct {
	wire.Page
	wire.EventQuery
}

func (s *server) listEvents(ctx context.Context, in *eventsInput) (none wire.List[wire.Event], err error) {
	f, err := in.Filter(in.After())
	if err != nil {
		return none, err
	}
	page, err := s.store(ctx).Events(ctx, f)
	return wire.NewList(page, wire.NewEvent), err
}

func (s *server) getEvent(ctx context.Context, in *idInput) (none wire.EventDetail, err error) {
	d, err := s.store(ctx).Event(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewEventDetail(d.Masked(s.secrets(d.Source))), nil
}

// secrets names the places of a source's secret, for events of older versions, which did not store
// them with the event.
func (s *server) secrets(source string) []string {
	for _, info := range s.o.Gateway.Sources() {
		if info.Name == source {
			return info.Secrets
		}
	}
	return nil
}

func (s *server) retryEvent(ctx context.Context, in *idInput) (none wire.Started, err error) {
	if !strings.HasPrefix(in.ID, "evt_") { // the gateway accepts ids of deliveries too
		return none, fmt.Errorf("event %s: %w", in.ID, gaff.ErrNotFound)
	}
	if err := reachable(ctx, in.ID, s.store(ctx).Event); err != nil {
		return none, err
	}
	ids, err := s.o.Gateway.Retry(ctx, in.ID)
	return wire.NewStarted(ids), err
}

func (s *server) replayEvent(ctx context.Context, in *idInput) (none wire.Started, err error) {
	if err := reachable(ctx, in.ID, s.store(ctx).Event); err != nil {
		return none, err
	}
	ids, err := s.o.Gateway.Replay(ctx, in.ID)
	return wire.NewStarted(ids), err
}

func describeEventBody(_ huma.API, op *huma.Operation) {
	op.Parameters = idParam()
	op.Responses = map[string]*huma.Response{"200": response("The bytes", "application/octet-stream", &huma.Schema{Type: "string", Format: "binary"})}
}

// getEventBody answers with a webhook's exact bytes, as a download: bytes of untrusted senders are
// never shown as a page. For viewers the sender's secret in them is masked.
func (s *server) getEventBody(w http.ResponseWriter, r *http.Request) {
	d, err := s.store(r.Context()).Event(r.Context(), r.PathValue("id"))
	if err != nil {
		s.reject(w, r, err)
		return
	}
	if d.Damaged {
		rejectWith(w, r, http.StatusInternalServerError, "event "+d.ID+": "+gaff.ErrDamaged.Error())
		return
	}
	if isViewer(r.Context()) {
		d = d.Masked(s.secrets(d.Source))
	}
	body := []byte(d.Data)
	if d.Request != nil {
		body = d.Request.Body
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+d.ID+`.bin"`)
	_, _ = w.Write(body)
}
