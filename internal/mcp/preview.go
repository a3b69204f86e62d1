//go:build !slim

package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"gaff/internal/excerpt"
	"gaff/internal/wire"
)

type previewInput struct {
	Destination string   `json:"destination,omitempty" jsonschema:"a destination, whose settings the other fields replace"`
	IDs         []string `json:"ids,omitempty" jsonschema:"stored events (evt_…), at most 20; without, the newest ones that match"`
	Events      []string `json:"events,omitempty" jsonschema:"which events: source:type with *"`
	Filter      *string  `json:"filter,omitempty" jsonschema:"a CEL condition, such as data.amount > 100"`
	Format      *string  `json:"format,omitempty" jsonschema:"envelope, original, cloudevents, cloudevents-binary or spec"`
	Transform   *string  `json:"transform,omitempty" jsonschema:"a CEL expression that makes the body"`
	TransformJS *string  `json:"transformJs,omitempty" jsonschema:"JavaScript: export default (event) => ({body: …})"`
	Source      string   `json:"source,omitempty" jsonschema:"only events of this source"`
	Type        string   `json:"type,omitempty" jsonschema:"only events of this type"`
	Limit       int      `json:"limit,omitempty" jsonschema:"events, at most 20; default 5"`
}

type listScheduledInput struct {
	Status    string `json:"status,omitempty" jsonschema:"scheduled, published or canceled; default scheduled"`
	Type      string `json:"type,omitempty" jsonschema:"only of this type"`
	ProjectID string `json:"projectId,omitempty" jsonschema:"only of this project"`
	Limit     int    `json:"limit,omitempty" jsonschema:"rows, at most 50; default 20"`
	Cursor    string `json:"cursor,omitempty" jsonschema:"nextCursor of the former page"`
}

type cancelScheduledInput struct {
	ID      string `json:"id" jsonschema:"a scheduled event (sch_…)"`
	Confirm string `json:"confirm,omitempty" jsonschema:"the value of the first call; leave it out to see what would be done"`
}

// addPreview adds the tools for previews and for scheduled events.
func addPreview(s *mcp.Server, call Caller) {
	add(s, call, true, "preview_destination", "Show what a filter and a transformation make of stored events, before you set them: which events pass, the body before and after, errors. Nothing is sent. Needs the role admin.", preview)
	add(s, call, true, "list_scheduled_events", "List the events that are published later, newest first, with their data.",
		func(ctx context.Context, a *api, in listScheduledInput) (any, error) {
			if in.Status == "" {
				in.Status = "scheduled"
			}
			var page json.RawMessage
			err := a.get(ctx, "/api/v1/scheduled-events", url.Values{
				"status": {in.Status}, "type": {in.Type}, "projectId": {in.ProjectID}, "limit": {rows(in.Limit)}, "cursor": {in.Cursor},
			}, &page)
			return page, err
		})
	add(s, call, false, "cancel_scheduled_event", "Cancel an event that is published later. Two steps: see confirm.", cancelScheduled)
}

// preview asks the API for a preview, and shortens the bodies.
func preview(ctx context.Context, a *api, in previewInput) (any, error) {
	var out wire.Previews
	if err := a.do(ctx, http.MethodPost, "/api/v1/destinations/preview", nil, wire.PreviewRequest{
		Destination: in.Destination, Events: in.Events, Filter: in.Filter, Format: in.Format, Transform: in.Transform, TransformJS: in.TransformJS,
		IDs: in.IDs, Source: in.Source, Type: in.Type, Limit: in.Limit,
	}, &out); err != nil {
		return nil, err
	}
	most := maxBody / max(len(out.Events), 1)
	for i := range out.Events {
		e := &out.Events[i]
		for _, text := range []*string{&e.Before, (*string)(&e.After)} {
			if len(*text) > most {
				*text, e.Truncated = excerpt.Text(*text, most), true
			}
		}
	}
	return out, nil
}

func cancelScheduled(ctx context.Context, a *api, in cancelScheduledInput) (any, error) {
	if in.ID == "" {
		return nil, errors.New("id: give the id of a scheduled event; list_scheduled_events has them")
	}
	var ev wire.ScheduledEvent
	if err := a.get(ctx, of("/api/v1/scheduled-events", in.ID), nil, &ev); err != nil {
		return nil, err
	}
	given := in.Confirm
	in.Confirm = ""
	return twoSteps("cancel_scheduled_event", in, given, "cancel the event "+ev.Type+" that is to be published at "+ev.RunAt.String(), 1, ev, func() (any, error) {
		var done json.RawMessage
		err := a.do(ctx, http.MethodDelete, of("/api/v1/scheduled-events", in.ID), nil, nil, &done)
		return done, err
	})
}
