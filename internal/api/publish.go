package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/internal/jsonscan"
	"gaff/internal/wire"
)

// maxPublishBody bounds the body of a call that publishes events, in bytes.
const maxPublishBody = 8 << 20

// publishBody is an event, or a list of events. It is read strictly, after the caller is known.
type publishBody json.RawMessage

func (b *publishBody) UnmarshalJSON(text []byte) error {
	*b = bytes.Clone(text)
	return nil
}

// Schema describes the body in the OpenAPI document.
func (publishBody) Schema(r huma.Registry) *huma.Schema {
	one := r.Schema(typeOf[wire.PublishEvent](), true, "")
	return &huma.Schema{AnyOf: []*huma.Schema{one, {Type: "array", Items: one}}}
}

// published answers with the form of the request: one event, or a list.
type published struct {
	one  *wire.Published
	many *wire.PublishedList
}

func (p published) MarshalJSON() ([]byte, error) {
	if p.one != nil {
		return json.Marshal(p.one)
	}
	return json.Marshal(p.many)
}

// Schema describes the answer in the OpenAPI document.
func (published) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{AnyOf: []*huma.Schema{r.Schema(typeOf[wire.Published](), true, ""), r.Schema(typeOf[wire.PublishedList](), true, "")}}
}

type publishInput struct{ Body publishBody }

type publishOutput struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed" doc:"true if all keys were known and nothing was added."`
	Body     published
}

// unchecked leaves the validation of the body to the handler.
func unchecked(op *huma.Operation) { op.SkipValidateBody = true }

// readEvents reads an event, or a list of events.
func readEvents(body []byte) (events []wire.PublishEvent, list bool, err error) {
	body = bytes.TrimSpace(body)
	list = len(body) > 0 && body[0] == '['
	if !list {
		events = make([]wire.PublishEvent, 1)
		return events, false, decodeBody(body, &events[0])
	}
	return events, true, decodeBody(body, &events)
}

func decodeBody(body []byte, doc any) error {
	if err := jsonscan.Strict(body, doc); err != nil {
		return huma.Error400BadRequest("the body: " + err.Error())
	}
	return nil
}

// publishProject returns the project for which a caller publishes.
func publishProject(ctx context.Context, project string) (string, error) {
	scope := scopeOf(ctx)
	switch {
	case !scope.Limited(), scope.Source == gaff.PublishedSource:
		return project, nil
	case scope.Project != "":
		return ownProject(ctx, project)
	}
	return "", huma.Error403Forbidden(fmt.Sprintf("this credential is limited to %s: events are published in the source %s", scope, gaff.PublishedSource))
}

func (s *server) publishEvents(ctx context.Context, in *publishInput) (*publishOutput, error) {
	events, list, err := readEvents(in.Body)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 || len(events) > gaff.MaxPublished {
		return nil, huma.Error400BadRequest(fmt.Sprintf("%d events; one call takes 1 to %d", len(events), gaff.MaxPublished))
	}
	ps := make([]gaff.Publication, len(events))
	for i, e := range events {
		if ps[i], err = e.Publication(); err != nil {
			if list {
				err = wire.Invalid(fmt.Sprintf("event %d: %v", i+1, err))
			}
			return nil, err
		}
		if ps[i].ProjectID, err = publishProject(ctx, e.ProjectID); err != nil {
			return nil, err
		}
		ps[i].Caller, ps[i].By = callerOf(ctx), noteOf(ctx).who.Name
	}
	done, err := s.o.Gateway.Publish(ctx, ps)
	if err != nil {
		return nil, err
	}
	out := &publishOutput{Status: http.StatusOK, Replayed: "true"}
	docs := wire.PublishedList{Events: make([]wire.Published, 0, len(done))}
	for _, p := range done {
		docs.Events = append(docs.Events, wire.NewPublished(p))
		if !p.Duplicate {
			out.Status, out.Replayed = http.StatusCreated, ""
		}
	}
	remark(ctx, docs.Events[0].ID, map[string]any{"events": len(done), "type": done[0].Type})
	if list {
		out.Body.many = &docs
		return out, nil
	}
	if docs.Events[0].Conflict {
		return nil, huma.Error409Conflict(fmt.Sprintf("idempotencyKey: it was used for %s, with another type or other data; use a new key", docs.Events[0].ID))
	}
	out.Body.one = &docs.Events[0]
	return out, nil
}

type scheduleInput struct {
	wire.Page
	wire.ScheduleQuery
}

func (s *server) listScheduled(ctx context.Context, in *scheduleInput) (wire.List[wire.ScheduledEvent], error) {
	page, err := s.store(ctx).ScheduledEvents(ctx, in.Filter(in.After()))
	return wire.NewList(page, wire.NewScheduledEvent), err
}

func (s *server) getScheduled(ctx context.Context, in *idInput) (none wire.ScheduledEvent, err error) {
	p, err := s.store(ctx).ScheduledEvent(ctx, in.ID)
	if err != nil {
		return none, err
	}
	return wire.NewScheduledEvent(*p), nil
}

type scheduleChangeInput struct {
	ID   string `path:"id" maxLength:"128"`
	Body wire.ScheduleChange
}

func (s *server) changeScheduled(ctx context.Context, in *scheduleChangeInput) (wire.ScheduledEvent, error) {
	return s.withScheduled(ctx, in.ID, in.Body.Apply)
}

func (s *server) cancelScheduled(ctx context.Context, in *idInput) (wire.ScheduledEvent, error) {
	return s.withScheduled(ctx, in.ID, func(p *gaff.Publication) error {
		p.State = gaff.ScheduleCanceled
		return nil
	})
}

func (s *server) withScheduled(ctx context.Context, id string, change func(*gaff.Publication) error) (none wire.ScheduledEvent, err error) {
	if err := reachable(ctx, id, s.store(ctx).ScheduledEvent); err != nil {
		return none, err
	}
	p, err := s.o.Gateway.ChangeScheduled(ctx, id, change)
	if err != nil {
		return none, err
	}
	return wire.NewScheduledEvent(*p), nil
}
