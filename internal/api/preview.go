package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gaff"
	"gaff/destination"
	"gaff/internal/wire"
)

// Bounds of a preview.
const (
	maxPreviewBody = 256 << 10
	// previewWindow is how many of the newest events a preview looks at for those that match.
	previewWindow = 500
	previewEvents = 5
	previewTime   = 20 * time.Second
)

// previewRoutes are for administrators without a limit: they run code, over events of all sources.
func (s *server) previewRoutes() []route {
	return []route{
		post("/api/v1/destinations/preview", "preview-destination", Admin, "Show what a filter and a transformation make of stored events; nothing is sent", s.previewDestination, accepts(maxPreviewBody), fails(http.StatusBadRequest), fails(http.StatusNotFound)),
	}
}

type previewInput struct{ Body wire.PreviewRequest }

func (s *server) previewDestination(ctx context.Context, in *previewInput) (none wire.Previews, err error) {
	unaudited(ctx)
	m, err := s.destinations()
	if err != nil {
		return none, err
	}
	var of destination.Spec
	if name := in.Body.Destination; name != "" {
		known, err := m.Get(ctx, name)
		if err != nil {
			return none, err
		}
		of = known.Spec
	}
	d, err := m.AdHoc(in.Body.Spec(of))
	if err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	ids, err := s.previewed(ctx, d, &in.Body)
	if err != nil {
		return none, err
	}
	doc := wire.Previews{Events: []wire.Preview{}}
	for _, id := range ids {
		one, err := s.preview(ctx, d, id)
		switch {
		case errors.Is(err, gaff.ErrNotFound) && in.Body.IDs == nil:
			continue // removed meanwhile
		case errors.Is(err, context.DeadlineExceeded) && len(doc.Events) > 0:
			return doc, nil // those that were previewed in time
		case err != nil:
			return none, err
		}
		if one.Error != "" {
			doc.Failed++
		}
		doc.Events = append(doc.Events, one)
	}
	return doc, nil
}

func (s *server) preview(ctx context.Context, d *destination.Destination, id string) (none wire.Preview, err error) {
	detail, err := s.store(ctx).Event(ctx, id)
	if err == nil && detail.Damaged {
		err = gaff.ErrDamaged
	}
	if err != nil {
		return none, err
	}
	p, err := d.Preview(ctx, &detail.Event)
	if err != nil {
		return none, err
	}
	return wire.NewPreview(&detail.Event, p), nil
}

// previewed returns the ids of the events to preview: those of the request, else the newest ones that
// the destination's events choose.
func (s *server) previewed(ctx context.Context, d *destination.Destination, in *wire.PreviewRequest) (ids []string, err error) {
	if in.IDs != nil {
		return in.IDs, nil
	}
	limit := in.Limit
	if limit == 0 {
		limit = previewEvents
	}
	page, err := s.store(ctx).Events(ctx, gaff.EventFilter{Source: in.Source, Type: in.Type, Internal: true, Cursor: gaff.Cursor{Limit: previewWindow}})
	if err != nil {
		return nil, err
	}
	for _, l := range page.Items {
		if len(ids) < limit && d.Chooses(&gaff.Event{Source: l.Source, Type: l.Type}) {
			ids = append(ids, l.ID)
		}
	}
	return ids, nil
}
