//go:build !slim

package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gaff/internal/excerpt"
	"gaff/internal/wire"
)

// explanation says what failed, why, and what to do.
type explanation struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Status   string    `json:"status"`
	Summary  string    `json:"summary"`
	Failures []failure `json:"failures,omitempty"`
	// Destinations are those that the failures were sent to.
	Destinations []destinationState `json:"destinations,omitempty"`
	Details      any                `json:"details,omitempty"`
	WhatToDo     []string           `json:"whatToDo"`
}

// failure is a delivery that has not succeeded.
type failure struct {
	Delivery    string    `json:"delivery"`
	Handler     string    `json:"handler"`
	State       string    `json:"state"`
	Attempts    int       `json:"attempts"`
	MaxAttempts int       `json:"maxAttempts"`
	NextAttempt wire.Time `json:"nextAttemptAt"`
	Held        bool      `json:"waitsForAnEarlierOneOfItsKey,omitempty"`
	LastError   string    `json:"lastError"`
	Outcome     string    `json:"lastOutcome,omitempty"`
	// Status is what the receiver answered, 0 without an answer. Answer is the beginning of it.
	Status  int      `json:"receiverStatus,omitempty"`
	Answer  string   `json:"receiverAnswer,omitempty"`
	Changes []string `json:"differsFromTheAttemptBefore,omitempty"`
}

// advice adds something to do, once.
func (e *explanation) advice(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, known := range e.WhatToDo {
		if known == text {
			return
		}
	}
	e.WhatToDo = append(e.WhatToDo, text)
}

func explain(ctx context.Context, a *api, id string) (any, error) {
	switch prefix, _, _ := strings.Cut(id, "_"); prefix {
	case "evt":
		return explainEvent(ctx, a, id)
	case "dlv":
		var d wire.Delivery
		if err := a.get(ctx, of("/api/v1/deliveries", id), nil, &d); err != nil {
			return nil, err
		}
		e := &explanation{ID: id, Kind: "delivery", Status: d.State}
		e.addDeliveries(ctx, a, []wire.Delivery{d})
		return e.finish(), nil
	case "rej":
		return explainRejection(ctx, a, id)
	case "run":
		return explainRun(ctx, a, id)
	}
	e, err := explainJob(ctx, a, id)
	if missing, ok := errors.AsType[*problem](err); ok && (missing.Status == http.StatusNotFound || missing.Status == http.StatusForbidden) {
		if e, second := explainDestination(ctx, a, id); second == nil {
			return e, nil
		}
	}
	return e, err
}

func explainEvent(ctx context.Context, a *api, id string) (any, error) {
	var ev wire.EventDetail
	if err := a.get(ctx, of("/api/v1/events", id), nil, &ev); err != nil {
		return nil, err
	}
	e := &explanation{ID: id, Kind: "event", Status: ev.Status}
	if ev.Unhandled {
		e.Summary = fmt.Sprintf("The event %s:%s was stored, but no handler or destination takes it.", ev.Source, ev.Type)
		e.advice("Create a destination whose events match %s:%s, then use replay.", ev.Source, ev.Type)
		return e.finish(), nil
	}
	e.addDeliveries(ctx, a, ev.Deliveries)
	return e.finish(), nil
}

// addDeliveries adds the deliveries that have not succeeded, and their destinations.
func (e *explanation) addDeliveries(ctx context.Context, a *api, all []wire.Delivery) {
	seen := map[string]bool{}
	for i := range all {
		d := &all[i]
		if d.State == "succeeded" || d.State == "pending" && d.Attempts == 0 && !d.Held && d.Error == "" {
			continue
		}
		f := failureOf(d)
		e.Failures = append(e.Failures, f)
		if !seen[d.Handler] && !strings.Contains(d.Handler, "/") {
			seen[d.Handler] = true
			var to wire.Destination
			if a.get(ctx, of("/api/v1/destinations", d.Handler), nil, &to) == nil {
				e.Destinations = append(e.Destinations, stateOf(&to))
				e.adviseDestination(&to)
			}
		}
		e.adviseDelivery(d, &f)
	}
	switch {
	case len(e.Failures) == 0:
		e.Summary = "Nothing failed: every delivery has succeeded, or was not attempted yet."
	case e.Summary == "":
		f := e.Failures[0]
		e.Summary = fmt.Sprintf("The delivery to %s is %s after %d of %d attempts: %s", f.Handler, f.State, f.Attempts, f.MaxAttempts, f.LastError)
	}
}

func failureOf(d *wire.Delivery) failure {
	f := failure{
		Delivery: d.ID, Handler: d.Handler, State: d.State, Attempts: d.Attempts, MaxAttempts: d.MaxAttempts, NextAttempt: d.RunAt, Held: d.Held,
		LastError: excerpt.Text(string(d.Error), 600),
	}
	if len(d.Tries) == 0 {
		return f
	}
	last := d.Tries[len(d.Tries)-1]
	f.Outcome = last.Outcome
	if f.LastError == "" {
		f.LastError = excerpt.Text(string(last.Error), 600)
	}
	var exchange struct {
		Response *struct {
			Status int
			Body   string
		}
	}
	if json.Unmarshal([]byte(last.Detail), &exchange) == nil && exchange.Response != nil {
		f.Status, f.Answer = exchange.Response.Status, excerpt.Text(exchange.Response.Body, 600)
	} else if last.Detail != "" {
		f.Answer = excerpt.Text(string(last.Detail), 600)
	}
	for _, c := range last.Changes {
		f.Changes = append(f.Changes, excerpt.Text(fmt.Sprintf("%s: %s, was %s", c.Field, c.To, c.From), 200))
	}
	return f
}

func (e *explanation) adviseDelivery(d *wire.Delivery, f *failure) {
	switch {
	case d.Held:
		e.advice("It waits for an earlier delivery of the key %q: explain or retry that one (list_events shows them).", d.Key)
	case f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden:
		e.advice("The receiver does not accept gaff's signature or token: compare the secret that it uses with the destination's (gaff destinations rotate makes a new one).")
	case f.Status == http.StatusNotFound || f.Status == http.StatusMethodNotAllowed:
		e.advice("The receiver has no such route: check the destination's URL, and that the receiver's newest version runs.")
	case f.Status == http.StatusBadRequest || f.Status == http.StatusUnprocessableEntity:
		e.advice("The receiver rejects this event: read its answer and the event (get_event), and correct the receiver or the destination's format.")
	case f.Status >= 500:
		e.advice("The receiver failed while it processed the event: read its answer and its log at the time of the attempt, and correct it.")
	case f.Outcome == "timed_out" || strings.Contains(f.LastError, "no answer within"):
		e.advice("The receiver is too slow: make it answer before it works, or raise the destination's timeout.")
	case strings.Contains(f.LastError, "not a public address"):
		e.advice("The destination is in a private network: add the network to GAFF_ALLOW_ADDRESSES, and restart gaff.")
	case strings.Contains(f.LastError, "connect") || strings.Contains(f.LastError, "no such host"):
		e.advice("The receiver cannot be reached: check that it runs, and the host and port of the destination's URL.")
	case f.Outcome == "panicked":
		e.advice("The handler has a bug: it panicked; receiverAnswer has the stack.")
	}
	if d.State == "dead" || d.State == "canceled" {
		e.advice("When the cause is removed, call retry with the id %s.", d.ID)
	} else if d.State == "retrying" {
		e.advice("gaff attempts it again by itself; nothing is lost. Remove the cause before the attempts are used up.")
	}
}

func (e *explanation) adviseDestination(d *wire.Destination) {
	switch {
	case d.Health.State != "active":
		e.advice("The destination %s is %s (%s): call resume_destination when its receiver is ready.", d.Name, d.Health.State, d.Health.Reason)
	case d.Health.Circuit != "closed":
		e.advice("The circuit of %s is %s, so nothing is sent until the receiver answers again; resume_destination closes it at once.", d.Name, d.Health.Circuit)
	}
}

func (e *explanation) finish() *explanation {
	if e.WhatToDo == nil {
		e.WhatToDo = []string{}
	}
	return e
}

func explainRejection(ctx context.Context, a *api, id string) (any, error) {
	var r wire.Rejection
	if err := a.get(ctx, of("/api/v1/rejections", id), nil, &r); err != nil {
		return nil, err
	}
	e := &explanation{ID: id, Kind: "rejection", Status: fmt.Sprint(r.Status)}
	e.Summary = fmt.Sprintf("A request to the source %s was answered %d: %s", r.Source, r.Status, r.Reason)
	switch r.Status {
	case http.StatusUnauthorized:
		e.advice("If the sender is genuine, its secret differs from the source's: correct the source's secret (gaff sources show %s), then call rescue with this id.", r.Source)
	case http.StatusNotFound:
		e.advice("No source has this name: correct the URL at the sender, or create the source.")
	default:
		e.advice("Correct the cause in the reason; gaff rescue stores the request if it verifies then.")
	}
	return e, nil
}

func explainRun(ctx context.Context, a *api, id string) (any, error) {
	var run struct {
		Status string
		Error  string
		Steps  []struct {
			Name, Status, Error string
			JobID               string `json:"jobId"`
		}
	}
	if err := a.get(ctx, of("/api/v1/runs", id), nil, &run); err != nil {
		return nil, err
	}
	e := &explanation{ID: id, Kind: "run", Status: run.Status, Summary: fmt.Sprintf("The run is %s. %s", run.Status, excerpt.Text(run.Error, 600))}
	type step struct {
		Name  string `json:"name"`
		State string `json:"status"`
		Error string `json:"error"`
		JobID string `json:"jobId,omitempty"`
	}
	var failed []step
	for _, s := range run.Steps {
		if s.Status == "failed" || s.Error != "" {
			failed = append(failed, step{s.Name, s.Status, excerpt.Text(s.Error, 600), s.JobID})
			if s.JobID != "" {
				e.advice("Step %s failed with its job: call explain_failure with %s.", s.Name, s.JobID)
			}
		}
	}
	if failed != nil {
		e.Details = failed
		e.advice("When the cause is removed, retry the run from its failed step: gaff runs retry %s.", id)
	}
	return e.finish(), nil
}

func explainJob(ctx context.Context, a *api, id string) (any, error) {
	var j struct {
		Status, Provider, Model, Error string
		ErrorType                      string `json:"errorType"`
		RequestID                      string `json:"requestId"`
		SettledBy                      string `json:"settledBy"`
		Log                            json.RawMessage
	}
	if err := a.get(ctx, of("/api/v1/jobs", id), nil, &j); err != nil {
		return nil, err
	}
	e := &explanation{ID: id, Kind: "job", Status: j.Status, Summary: fmt.Sprintf("The job of %s at %s is %s. %s %s", j.Model, j.Provider, j.Status, j.ErrorType, excerpt.Text(j.Error, 800))}
	if len(j.Log) > 0 && len(j.Log) <= maxBody {
		e.Details = j.Log
	}
	switch {
	case j.Status == "failed" && j.ErrorType == "content_policy_violation":
		e.advice("The provider refused the content: change the prompt or the inputs, and submit a new job.")
	case j.Status == "failed":
		e.advice("Read the error and the input (get_job), correct it, and submit a new job with submit_job.")
	case j.Status == "queued" || j.Status == "processing":
		e.advice("It has not ended: gaff polls the provider if its webhook does not come. poll_job polls it now.")
	}
	return e.finish(), nil
}

func explainDestination(ctx context.Context, a *api, name string) (any, error) {
	var d wire.Destination
	if err := a.get(ctx, of("/api/v1/destinations", name), nil, &d); err != nil {
		return nil, err
	}
	e := &explanation{ID: name, Kind: "destination", Status: d.Health.State, Destinations: []destinationState{stateOf(&d)}}
	e.Summary = fmt.Sprintf("%s is %s, its circuit %s; %d deliveries wait, %d are dead. Last error: %s", name, d.Health.State, d.Health.Circuit, d.Backlog.Waiting, d.Backlog.Dead,
		excerpt.Text(string(d.Health.LastError), 600))
	e.adviseDestination(&d)
	if d.Backlog.Dead > 0 {
		e.advice("Find the dead deliveries with list_issues, and retry them by the issue's id when the cause is removed.")
	}
	return e.finish(), nil
}
