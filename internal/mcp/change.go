//go:build !slim

package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"gaff/internal/wire"
)

// Every change is made in two steps: a tool first describes it and returns a value, and makes it when
// it is called again with that value. The value is a hash of that description, so it confirms this
// change alone: if the number of affected rows changes meanwhile, the tool describes the change again.

// confirmation is what a tool answers to the first call.
type confirmation struct {
	Would   string `json:"would"`
	Affects int    `json:"affects"`
	Details any    `json:"details,omitempty"`
	Confirm string `json:"confirm"`
	Next    string `json:"next"`
}

// confirm returns the value that confirms a change.
func confirm(tool string, in any, affects int) string {
	text, _ := json.Marshal(in) // a struct of texts and numbers: never fails
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", tool, text, affects))
	return hex.EncodeToString(sum[:6])
}

// twoSteps describes a change, or makes it if given is the value that confirms it.
func twoSteps(tool string, in any, given, would string, affects int, details any, change func() (any, error)) (any, error) {
	want := confirm(tool, in, affects)
	if given == want {
		return change()
	}
	next := "Nothing was changed. To do it, call " + tool + " again with the same arguments and this confirm value."
	if given != "" {
		next = "Nothing was changed: the confirm value is of another change, or the number of affected rows differs now. " + next
	}
	return confirmation{would, affects, details, want, next}, nil
}

type retryInput struct {
	ID      string `json:"id" jsonschema:"an event (evt_…), a delivery (dlv_…) or an issue (iss_…)"`
	Confirm string `json:"confirm,omitempty" jsonschema:"the value of the first call; leave it out to see what would be done"`
}

type replayInput struct {
	ID      string `json:"id,omitempty" jsonschema:"an event (evt_…); leave it out to choose by the other fields"`
	Source  string `json:"source,omitempty" jsonschema:"events of this source"`
	Type    string `json:"type,omitempty" jsonschema:"events of this type"`
	Status  string `json:"status,omitempty" jsonschema:"pending, success or error"`
	Since   string `json:"since,omitempty" jsonschema:"received at or after: a time (RFC 3339) or an age such as 24h"`
	Until   string `json:"until,omitempty" jsonschema:"received before"`
	Confirm string `json:"confirm,omitempty" jsonschema:"the value of the first call; leave it out to see what would be done"`
}

type submitJobInput struct {
	Provider       string         `json:"provider" jsonschema:"its name, as GET /api/v1/jobs has it"`
	Model          string         `json:"model" jsonschema:"the model, by the provider's name"`
	Input          map[string]any `json:"input" jsonschema:"the input as the model takes it"`
	ProjectID      string         `json:"projectId,omitempty" jsonschema:"the project it belongs to"`
	UserID         string         `json:"userId,omitempty" jsonschema:"the user it is for"`
	IdempotencyKey string         `json:"idempotencyKey,omitempty" jsonschema:"a repeated call with the same key returns the same job"`
	Confirm        string         `json:"confirm,omitempty" jsonschema:"the value of the first call; leave it out to see what would be done"`
}

type destinationInput struct {
	Name    string `json:"name" jsonschema:"the destination"`
	Reason  string `json:"reason,omitempty" jsonschema:"why, shown to people"`
	Confirm string `json:"confirm,omitempty" jsonschema:"the value of the first call; leave it out to see what would be done"`
}

// addChanging adds the tools that change something.
func addChanging(s *mcp.Server, call Caller) {
	add(s, call, false, "retry", "Retry the dead deliveries of an event or of an issue, or one delivery, after the cause of their failure was removed. Two steps: see confirm.", retry)
	add(s, call, false, "replay", "Process an event, or all events that match, again by all their handlers, also if they succeeded. Two steps: see confirm.", replay)
	add(s, call, false, "rescue", "Verify a rejected request (rej_…) again by its source as it is now, and store it if it is authentic. Two steps: see confirm.", rescue)
	add(s, call, false, "submit_job", "Submit a job to a provider. It costs money. Two steps: see confirm.", submitJob)
	add(s, call, false, "poll_job", "Ask the provider now how a job is; changes the job only if it has ended.", func(ctx context.Context, a *api, in idInput) (any, error) {
		var j json.RawMessage
		err := a.do(ctx, http.MethodPost, of("/api/v1/jobs", in.ID, "ask"), nil, nil, &j)
		return j, err
	})
	for _, action := range []struct{ name, does string }{
		{"pause", "Stop sending to a destination; its deliveries wait."},
		{"resume", "Send to a paused or disabled destination again, and close an open circuit."},
	} {
		tool := action.name + "_destination"
		add(s, call, false, tool, action.does+" Two steps: see confirm.", func(ctx context.Context, a *api, in destinationInput) (any, error) {
			return setDestination(ctx, a, tool, action.name, in)
		})
	}
	add(s, call, false, "test_destination", "Send a gaff:test event to a destination now, and return its response.", func(ctx context.Context, a *api, in destinationInput) (any, error) {
		var x json.RawMessage
		err := a.do(ctx, http.MethodPost, of("/api/v1/destinations", in.Name, "test"), nil, nil, &x)
		return x, err
	})
}

func retry(ctx context.Context, a *api, in retryInput) (any, error) {
	given := in.Confirm
	in.Confirm = ""
	prefix, _, _ := strings.Cut(in.ID, "_")
	switch prefix {
	case "evt", "dlv":
		var dead []string
		var ev wire.EventDetail
		path := of("/api/v1/events", in.ID)
		if prefix == "dlv" {
			path = of("/api/v1/deliveries", in.ID)
			var d wire.Delivery
			if err := a.get(ctx, path, nil, &d); err != nil {
				return nil, err
			}
			ev.Deliveries = []wire.Delivery{d}
		} else if err := a.get(ctx, path, nil, &ev); err != nil {
			return nil, err
		}
		for _, d := range ev.Deliveries {
			if d.State == "dead" || d.State == "canceled" {
				dead = append(dead, d.ID+" to "+d.Handler)
			}
		}
		if len(dead) == 0 {
			return nil, errors.New("nothing to retry: no delivery of " + in.ID + " is dead or canceled; explain_failure says how they are")
		}
		return twoSteps("retry", in, given, "attempt these dead deliveries again", len(dead), dead, func() (any, error) {
			var out json.RawMessage
			err := a.do(ctx, http.MethodPost, path+"/retry", nil, nil, &out)
			return out, err
		})
	case "iss":
		return bulk(ctx, a, "retry", in, given, wire.BulkRequest{Action: "retry", Issue: in.ID})
	}
	return nil, fmt.Errorf("id %q: want an event (evt_…), a delivery (dlv_…) or an issue (iss_…)", in.ID)
}

func replay(ctx context.Context, a *api, in replayInput) (any, error) {
	given := in.Confirm
	in.Confirm = ""
	if in.ID != "" {
		var ev wire.EventDetail
		if err := a.get(ctx, of("/api/v1/events", in.ID), nil, &ev); err != nil {
			return nil, err
		}
		would := fmt.Sprintf("process the event %s:%s again by all its handlers", ev.Source, ev.Type)
		return twoSteps("replay", in, given, would, 1, nil, func() (any, error) {
			var out json.RawMessage
			err := a.do(ctx, http.MethodPost, of("/api/v1/events", in.ID, "replay"), nil, nil, &out)
			return out, err
		})
	}
	if in.Source == "" && in.Type == "" && in.Since == "" {
		return nil, errors.New("name an id, or at least a source, a type or a time (since): a replay of everything is not for agents")
	}
	return bulk(ctx, a, "replay", in, given, wire.BulkRequest{Action: "replay", Source: in.Source, Type: in.Type, Status: in.Status, Since: in.Since, Until: in.Until})
}

// bulk counts what a bulk action would change, and starts it when it is confirmed.
func bulk(ctx context.Context, a *api, tool string, in any, given string, request wire.BulkRequest) (any, error) {
	var counted wire.Bulk
	request.DryRun = true
	if err := a.do(ctx, http.MethodPost, "/api/v1/bulk", nil, request, &counted); err != nil {
		return nil, err
	}
	would := fmt.Sprintf("%s %d events", request.Action, counted.Matches)
	if counted.More {
		would += "; more match than one call takes"
	}
	return twoSteps(tool, in, given, would, counted.Matches, nil, func() (any, error) {
		var out json.RawMessage
		request.DryRun = false
		err := a.do(ctx, http.MethodPost, "/api/v1/bulk", nil, request, &out)
		return out, err
	})
}

func rescue(ctx context.Context, a *api, in retryInput) (any, error) {
	given := in.Confirm
	in.Confirm = ""
	var r wire.Rejection
	if err := a.get(ctx, of("/api/v1/rejections", in.ID), nil, &r); err != nil {
		return nil, err
	}
	return twoSteps("rescue", in, given, fmt.Sprintf("verify the request to %s again, and store it if it is authentic", r.Source), 1, nil, func() (any, error) {
		var out json.RawMessage
		err := a.do(ctx, http.MethodPost, of("/api/v1/rejections", in.ID, "rescue"), nil, nil, &out)
		return out, err
	})
}

func submitJob(ctx context.Context, a *api, in submitJobInput) (any, error) {
	given := in.Confirm
	in.Confirm = ""
	would := fmt.Sprintf("submit a job of %s to %s, which may cost money", in.Model, in.Provider)
	return twoSteps("submit_job", in, given, would, 1, in.Input, func() (any, error) {
		var out json.RawMessage
		err := a.do(ctx, http.MethodPost, "/api/v1/jobs", nil, in, &out)
		return out, err
	})
}

func setDestination(ctx context.Context, a *api, tool, action string, in destinationInput) (any, error) {
	given := in.Confirm
	in.Confirm = ""
	var d wire.Destination
	if err := a.get(ctx, of("/api/v1/destinations", in.Name), nil, &d); err != nil {
		return nil, err
	}
	would := fmt.Sprintf("%s the destination %s, which is %s with %d deliveries waiting", action, d.Name, d.Health.State, d.Backlog.Waiting)
	return twoSteps(tool, in, given, would, 1, nil, func() (any, error) {
		var body any
		if action == "pause" && in.Reason != "" {
			body = wire.Pause{Reason: in.Reason}
		}
		var out wire.Destination
		err := a.do(ctx, http.MethodPost, of("/api/v1/destinations", in.Name, action), nil, body, &out)
		return stateOf(&out), err
	})
}
