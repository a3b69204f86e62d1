package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// API calls a gateway to publish events of the application, now or at a later time:
//
//	api := &client.API{URL: "http://127.0.0.1:3000", Token: token}
//	p, err := api.Publish(ctx, client.NewEvent{Type: "order.paid", Data: order, IdempotencyKey: order.ID})
type API struct {
	// URL is the gateway's, Token an API key with the role operator.
	URL, Token string
	// HTTP makes the calls; nil means http.DefaultClient.
	HTTP *http.Client
}

// NewEvent is an event to publish.
type NewEvent struct {
	// Type is such as "order.paid".
	Type string
	// Data is written as JSON.
	Data      any
	ProjectID string
	// IdempotencyKey makes a repeated call harmless: it returns the first event. Without one, a call
	// whose answer was lost must not be repeated.
	IdempotencyKey string
	// RunAt is when the event is published; zero means now.
	RunAt time.Time
}

// MarshalJSON writes the event as the API takes it.
func (e NewEvent) MarshalJSON() ([]byte, error) {
	doc := map[string]any{"type": e.Type, "data": e.Data}
	if e.ProjectID != "" {
		doc["projectId"] = e.ProjectID
	}
	if e.IdempotencyKey != "" {
		doc["idempotencyKey"] = e.IdempotencyKey
	}
	if !e.RunAt.IsZero() {
		doc["runAt"] = e.RunAt.UTC().Format(time.RFC3339Nano)
	}
	return json.Marshal(doc)
}

// Published is an event that was published or scheduled.
type Published struct {
	// ID is evt_… of a published event, sch_… of a scheduled one.
	ID string `json:"id"`
	// Status is published, scheduled or canceled.
	Status    string    `json:"status"`
	EventID   string    `json:"eventId"`
	Type      string    `json:"type"`
	ProjectID string    `json:"projectId"`
	RunAt     time.Time `json:"runAt"`
	// Duplicate is set if the idempotency key was known, Conflict if it was known with another
	// type or other data.
	Duplicate bool `json:"duplicate"`
	Conflict  bool `json:"conflict"`
}

// ScheduledEvent is an event with a time of its own. Data is nil once it is published or canceled.
type ScheduledEvent struct {
	ID             string          `json:"id"`
	Status         string          `json:"status"`
	Type           string          `json:"type"`
	Data           json.RawMessage `json:"data"`
	ProjectID      string          `json:"projectId"`
	IdempotencyKey string          `json:"idempotencyKey"`
	RunAt          time.Time       `json:"runAt"`
	EventID        string          `json:"eventId"`
	Error          string          `json:"error"`
	By             string          `json:"by"`
	CreatedAt      time.Time       `json:"createdAt"`
	UpdatedAt      time.Time       `json:"updatedAt"`
}

// APIError is an answer other than 2xx.
type APIError struct {
	Status int
	Detail string
}

func (e *APIError) Error() string {
	return fmt.Sprintf("gaff answered %d %s: %s", e.Status, http.StatusText(e.Status), e.Detail)
}

// Publish publishes or schedules an event.
func (a *API) Publish(ctx context.Context, e NewEvent) (Published, error) {
	var p Published
	err := a.call(ctx, http.MethodPost, "/api/v1/events", e, &p)
	return p, err
}

// PublishAll publishes or schedules up to 1,000 events, all or none. The answers are in their order.
func (a *API) PublishAll(ctx context.Context, events []NewEvent) ([]Published, error) {
	var list struct{ Events []Published }
	err := a.call(ctx, http.MethodPost, "/api/v1/events", events, &list)
	return list.Events, err
}

// Scheduled lists the events that wait for their time, the newest first. cursor is empty for the
// first page, next for the one after; next is empty on the last page.
func (a *API) Scheduled(ctx context.Context, cursor string) (events []ScheduledEvent, next string, err error) {
	query := url.Values{"status": {"scheduled"}, "limit": {"500"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	var list struct {
		Docs       []ScheduledEvent
		NextCursor string
	}
	err = a.call(ctx, http.MethodGet, "/api/v1/scheduled-events?"+query.Encode(), nil, &list)
	return list.Docs, list.NextCursor, err
}

// Reschedule changes the time of a scheduled event.
func (a *API) Reschedule(ctx context.Context, id string, runAt time.Time) (ScheduledEvent, error) {
	var e ScheduledEvent
	change := map[string]string{"runAt": runAt.UTC().Format(time.RFC3339Nano)}
	err := a.call(ctx, http.MethodPatch, "/api/v1/scheduled-events/"+url.PathEscape(id), change, &e)
	return e, err
}

// CancelScheduled cancels a scheduled event.
func (a *API) CancelScheduled(ctx context.Context, id string) (ScheduledEvent, error) {
	var e ScheduledEvent
	err := a.call(ctx, http.MethodDelete, "/api/v1/scheduled-events/"+url.PathEscape(id), nil, &e)
	return e, err
}

// maxAnswer is the longest answer that is read, in bytes.
const maxAnswer = 64 << 20

func (a *API) call(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(a.URL, "/")+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := a.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		var problem struct{ Detail string }
		if json.Unmarshal(answer, &problem) != nil || problem.Detail == "" {
			problem.Detail = string(answer[:min(len(answer), 200)])
		}
		return &APIError{res.StatusCode, problem.Detail}
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
