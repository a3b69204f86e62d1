package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"gaff"
)

// PublishEvent is an event that an application publishes.
type PublishEvent struct {
	Type           string `json:"type" example:"order.paid" doc:"Up to 200 letters, digits, and . _ / -."`
	Data           JSON   `json:"data,omitempty" doc:"Any JSON, up to 1 MiB."`
	ProjectID      string `json:"projectId,omitempty" doc:"The project that the event belongs to."`
	IdempotencyKey string `json:"idempotencyKey,omitempty" doc:"A second event with the same key and token returns the first one."`
	RunAt          string `json:"runAt,omitempty" format:"date-time" doc:"When to publish the event; a time that has passed is now."`
	Delay          string `json:"delay,omitempty" example:"10m" doc:"How long from now to publish the event, such as 90s, 10m or 7d; in place of runAt."`
}

// Publication returns the event as the gateway takes it.
func (e PublishEvent) Publication() (p gaff.Publication, err error) {
	p = gaff.Publication{Type: e.Type, Data: json.RawMessage(e.Data), ProjectID: e.ProjectID, IdempotencyKey: e.IdempotencyKey}
	p.RunAt, err = publishAt(e.RunAt, e.Delay)
	return p, err
}

// publishAt reads the time of an event; zero if neither is set.
func publishAt(runAt, delay string) (time.Time, error) {
	switch {
	case runAt != "" && delay != "":
		return time.Time{}, Invalid("delay: runAt is set too; give one of them")
	case runAt != "":
		t, err := time.Parse(time.RFC3339Nano, runAt)
		if err != nil {
			return t, Invalid("runAt: " + quoted(runAt) + " is not a time; write one such as 2026-01-31T12:00:00Z")
		}
		return t, nil
	case delay != "":
		if _, err := time.Parse(time.RFC3339Nano, delay); err == nil {
			return time.Time{}, Invalid("delay: " + quoted(delay) + " is a time; use runAt for it")
		}
		t, err := Until("delay", delay)
		if err != nil {
			return t, Invalid("delay: " + quoted(delay) + " is not a duration; write one such as 90s, 10m or 7d")
		}
		return t, nil
	}
	return time.Time{}, nil
}

func quoted(text string) string {
	const most = 40
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	doc, _ := marshal(text)
	return string(doc)
}

// Published is an event that was published or scheduled.
type Published struct {
	ID        string `json:"id" doc:"evt_… of a published event, sch_… of a scheduled one."`
	Status    string `json:"status" enum:"published,scheduled,canceled"`
	EventID   Text   `json:"eventId" doc:"The published event; null until it is published."`
	Type      string `json:"type"`
	ProjectID Text   `json:"projectId"`
	RunAt     Time   `json:"runAt"`
	Duplicate bool   `json:"duplicate" doc:"The idempotencyKey was known: this is the first event with it."`
	Conflict  bool   `json:"conflict" doc:"The idempotencyKey was known, with another type or other data."`
}

// NewPublished makes the document of a publication.
func NewPublished(p gaff.Publication) Published {
	return Published{p.ID, p.State.String(), Text(p.EventID), p.Type, Text(p.ProjectID), Time{p.RunAt}, p.Duplicate, p.Conflict}
}

// PublishedList is the answer to a list of events, in their order.
type PublishedList struct {
	Events []Published `json:"events" nullable:"false"`
}

// ScheduledEvent is an event with a time of its own.
type ScheduledEvent struct {
	ID             string `json:"id"`
	Status         string `json:"status" enum:"scheduled,published,canceled"`
	Type           string `json:"type"`
	Data           JSON   `json:"data" doc:"Null once the event is published or canceled."`
	ProjectID      Text   `json:"projectId"`
	IdempotencyKey Text   `json:"idempotencyKey"`
	RunAt          Time   `json:"runAt" doc:"When it is published."`
	EventID        Text   `json:"eventId" doc:"The event that it became."`
	Error          Text   `json:"error" doc:"Why gaff canceled it."`
	By             Text   `json:"by" doc:"Who published it."`
	CreatedAt      Time   `json:"createdAt"`
	UpdatedAt      Time   `json:"updatedAt"`
}

// NewScheduledEvent makes the document of a scheduled event.
func NewScheduledEvent(p gaff.Publication) ScheduledEvent {
	return ScheduledEvent{
		ID: p.ID, Status: p.State.String(), Type: p.Type, Data: JSON(p.Data), ProjectID: Text(p.ProjectID), IdempotencyKey: Text(p.IdempotencyKey),
		RunAt: Time{p.RunAt}, EventID: Text(p.EventID), Error: Text(p.Error), By: Text(p.By), CreatedAt: Time{p.CreatedAt}, UpdatedAt: Time{p.UpdatedAt},
	}
}

// ScheduleQuery chooses scheduled events.
type ScheduleQuery struct {
	Status    string `query:"status" flag:"status" enum:"scheduled,published,canceled" doc:"Only with this status: scheduled, published or canceled."`
	Type      string `query:"type" flag:"type" doc:"Only of this type."`
	ProjectID string `query:"projectId" flag:"project" doc:"Only of this project."`
}

// Filter returns the query as stores take it.
func (q ScheduleQuery) Filter(c gaff.Cursor) gaff.ScheduleFilter {
	f := gaff.ScheduleFilter{Type: q.Type, ProjectID: q.ProjectID, Cursor: c}
	if state, ok := gaff.ParsePublicationState(q.Status); ok {
		f.State = &state
	}
	return f
}

// ScheduleChange changes a scheduled event. Members that are left out stay.
type ScheduleChange struct {
	Type  string `json:"type,omitempty" minLength:"1"`
	Data  JSON   `json:"data,omitempty"`
	RunAt string `json:"runAt,omitempty" minLength:"1" format:"date-time"`
	Delay string `json:"delay,omitempty" minLength:"1" doc:"How long from now, in place of runAt."`
}

// Apply changes a publication.
func (c ScheduleChange) Apply(p *gaff.Publication) error {
	at, err := publishAt(c.RunAt, c.Delay)
	if err != nil {
		return err
	}
	if !at.IsZero() {
		p.RunAt = at
	}
	if c.Type != "" {
		p.Type = c.Type
	}
	if len(c.Data) > 0 {
		p.Data = json.RawMessage(bytes.Clone(c.Data))
	}
	return nil
}
