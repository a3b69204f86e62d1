//go:build !slim

package mcp

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"gaff/internal/excerpt"
	"gaff/internal/wire"
)

const (
	defaultRows = 20
	maxRows     = 50
	// maxBody bounds the body of one event or job in an answer.
	maxBody = 8 << 10
)

// rows returns the limit of a list, as the API takes it.
func rows(limit int) string {
	if limit <= 0 {
		limit = defaultRows
	}
	return strconv.Itoa(min(limit, maxRows))
}

type searchInput struct {
	Text string `json:"text" jsonschema:"an id of any kind, a name, or words of a prompt"`
}

type listEventsInput struct {
	Source string `json:"source,omitempty" jsonschema:"only of this source"`
	Type   string `json:"type,omitempty" jsonschema:"only of this type"`
	Status string `json:"status,omitempty" jsonschema:"pending, success or error"`
	Query  string `json:"q,omitempty" jsonschema:"text in ids, errors or bodies"`
	Since  string `json:"since,omitempty" jsonschema:"received at or after: a time (RFC 3339) or an age such as 24h"`
	Limit  int    `json:"limit,omitempty" jsonschema:"rows, at most 50; default 20"`
	Cursor string `json:"cursor,omitempty" jsonschema:"nextCursor of the former page"`
}

type idInput struct {
	ID string `json:"id" jsonschema:"its id"`
}

type listJobsInput struct {
	Provider  string `json:"provider,omitempty" jsonschema:"only of this provider"`
	Status    string `json:"status,omitempty" jsonschema:"queued, processing, completed, failed or cancelled"`
	ProjectID string `json:"projectId,omitempty" jsonschema:"only of this project"`
	UserID    string `json:"userId,omitempty" jsonschema:"only of this user"`
	Query     string `json:"q,omitempty" jsonschema:"words of the model or prompt"`
	Since     string `json:"since,omitempty" jsonschema:"created at or after: a time (RFC 3339) or an age such as 24h"`
	Limit     int    `json:"limit,omitempty" jsonschema:"rows, at most 50; default 20"`
	Cursor    string `json:"cursor,omitempty" jsonschema:"nextCursor of the former page"`
}

type costsInput struct {
	By        string `json:"by,omitempty" jsonschema:"project, user, model, provider, day, run or caller; empty for one sum"`
	Since     string `json:"since,omitempty" jsonschema:"jobs made from this day or time, such as 2026-11-01"`
	Until     string `json:"until,omitempty" jsonschema:"jobs made before this day or time"`
	Provider  string `json:"provider,omitempty" jsonschema:"only of this provider"`
	ProjectID string `json:"projectId,omitempty" jsonschema:"only of this project"`
}

type listIssuesInput struct {
	State string `json:"state,omitempty" jsonschema:"open, acknowledged, resolved or ignored; default open"`
	Limit int    `json:"limit,omitempty" jsonschema:"rows, at most 50; default 20"`
}

type noInput struct{}

// addReading adds the tools that change nothing.
func addReading(s *mcp.Server, call Caller) {
	list := func(ctx context.Context, a *api, path string, query url.Values) (any, error) {
		var page json.RawMessage
		err := a.get(ctx, path, query, &page)
		return page, err
	}
	add(s, call, true, "search", "Find anything by id, name or words of a prompt: events, deliveries, jobs, files, runs, projects, sources, destinations.",
		func(ctx context.Context, a *api, in searchInput) (any, error) {
			return list(ctx, a, "/api/v1/search", url.Values{"q": {in.Text}})
		})
	add(s, call, true, "list_events", "List webhooks and published events, newest first, without their bodies.",
		func(ctx context.Context, a *api, in listEventsInput) (any, error) {
			return list(ctx, a, "/api/v1/events", url.Values{
				"source": {in.Source}, "type": {in.Type}, "status": {in.Status}, "q": {in.Query}, "since": {in.Since}, "limit": {rows(in.Limit)}, "cursor": {in.Cursor},
			})
		})
	add(s, call, true, "get_event", "Get an event with its body (shortened), how its sender was verified, and its deliveries.",
		func(ctx context.Context, a *api, in idInput) (any, error) { return getEvent(ctx, a, in.ID) })
	add(s, call, true, "explain_failure", "Explain why something failed, and what to do about it. Takes the id of an event (evt_…), a delivery (dlv_…), a rejected request (rej_…), a run (run_…) or a job, or the name of a destination.",
		func(ctx context.Context, a *api, in idInput) (any, error) { return explain(ctx, a, in.ID) })
	add(s, call, true, "list_issues", "List failures grouped by source, destination and error: begin here.",
		func(ctx context.Context, a *api, in listIssuesInput) (any, error) {
			if in.State == "" {
				in.State = "open"
			}
			return list(ctx, a, "/api/v1/issues", url.Values{"state": {in.State}, "limit": {rows(in.Limit)}})
		})
	add(s, call, true, "list_jobs", "List jobs at providers (generated images, videos, audio), newest first.",
		func(ctx context.Context, a *api, in listJobsInput) (any, error) {
			return list(ctx, a, "/api/v1/jobs", url.Values{
				"provider": {in.Provider}, "status": {in.Status}, "projectId": {in.ProjectID}, "userId": {in.UserID}, "q": {in.Query}, "since": {in.Since},
				"limit": {rows(in.Limit)}, "cursor": {in.Cursor},
			})
		})
	add(s, call, true, "get_job", "Get a job with its result, input, error and log.",
		func(ctx context.Context, a *api, in idInput) (any, error) {
			return list(ctx, a, of("/api/v1/jobs", in.ID), nil)
		})
	add(s, call, true, "costs", "Sum what jobs cost, by project, user, model, provider, day, run or caller.",
		func(ctx context.Context, a *api, in costsInput) (any, error) {
			return list(ctx, a, "/api/v1/costs", url.Values{"by": {in.By}, "since": {in.Since}, "until": {in.Until}, "provider": {in.Provider}, "projectId": {in.ProjectID}})
		})
	add(s, call, true, "list_destinations", "List the destinations that events are forwarded to, with state, circuit, backlog and last error.",
		func(ctx context.Context, a *api, _ noInput) (any, error) {
			var page wire.List[wire.Destination]
			if err := a.get(ctx, "/api/v1/destinations", nil, &page); err != nil {
				return nil, err
			}
			states := []destinationState{}
			for i := range page.Docs {
				states = append(states, stateOf(&page.Docs[i]))
			}
			return states, nil
		})
}

// destinationState is what an agent needs to know of a destination.
type destinationState struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`
	URL       wire.Text `json:"url"`
	Events    []string  `json:"events"`
	State     string    `json:"state"`
	Reason    wire.Text `json:"reason"`
	Circuit   string    `json:"circuit"`
	RetryAt   wire.Time `json:"retryAt"`
	Failures  int       `json:"failuresSinceSuccess"`
	LastError wire.Text `json:"lastError"`
	Waiting   int64     `json:"waiting"`
	Dead      int64     `json:"dead"`
}

func stateOf(d *wire.Destination) destinationState {
	return destinationState{
		d.Name, d.Kind, d.URL, d.Events, d.Health.State, d.Health.Reason, d.Health.Circuit, d.Health.RetryAt, d.Health.Failures,
		wire.Text(excerpt.Text(string(d.Health.LastError), 500)), d.Backlog.Waiting, d.Backlog.Dead,
	}
}

// shownEvent is an event with its body, shortened.
type shownEvent struct {
	wire.Event
	Data       any                `json:"data"`
	Proof      *wire.Verification `json:"verifiedBy"`
	Deliveries []shownDelivery    `json:"deliveries"`
}

type shownDelivery struct {
	ID       string    `json:"id"`
	Handler  string    `json:"handler"`
	State    string    `json:"state"`
	Attempts int       `json:"attempts"`
	RunAt    wire.Time `json:"runAt"`
	Error    wire.Text `json:"error"`
}

func getEvent(ctx context.Context, a *api, id string) (any, error) {
	var ev wire.EventDetail
	if err := a.get(ctx, of("/api/v1/events", id), nil, &ev); err != nil {
		return nil, err
	}
	out := shownEvent{Event: ev.Event, Data: json.RawMessage(ev.Data), Proof: ev.Proof, Deliveries: []shownDelivery{}}
	switch {
	case len(ev.Data) == 0:
		out.Data = nil
	case len(ev.Data) > maxBody:
		out.Data = string(excerpt.Prefix([]byte(ev.Data), maxBody)) + "… cut"
	}
	for _, d := range ev.Deliveries {
		out.Deliveries = append(out.Deliveries, shownDelivery{d.ID, d.Handler, d.State, d.Attempts, d.RunAt, wire.Text(excerpt.Text(string(d.Error), 500))})
	}
	return out, nil
}
