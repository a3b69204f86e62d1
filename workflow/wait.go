package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// handleEvent processes an event that can start a run or end a wait.
func (e *Engine) handleEvent(ctx context.Context, ev *gaff.Event) error {
	value := eventValue(ev)
	var failures []error
	refs, err := e.o.Store.WaitingFor(ctx, ev.Source, ev.Type, ev.CorrelationID)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		_, err := e.offer(ctx, ref, []*gaff.Event{ev}, e.o.Store.WriteRuns)
		if err != nil && !errors.Is(err, gaff.ErrNotFound) {
			failures = append(failures, fmt.Errorf("run %s: %w", ref.RunID, err))
		}
	}
	for _, c := range e.Workflows() {
		for i, t := range c.triggers {
			if t.source != ev.Source || t.eventType != "*" && t.eventType != ev.Type {
				continue
			}
			if err := e.startForEvent(ctx, c, i, t, ev, value); err != nil {
				failures = append(failures, fmt.Errorf("start workflow %s: %w", c.Name, err))
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	err = errors.Join(failures...)
	for _, f := range failures {
		if !errors.Is(f, gaff.ErrInvalid) {
			return err
		}
	}
	return gaff.Discard(err) // another attempt would fail too
}

// offer completes a waiting step with the first event that matches it.
func (e *Engine) offer(ctx context.Context, ref runs.StepRef, evs []*gaff.Event, apply applyFunc) (fit bool, err error) {
	_, err = e.move(ctx, ref.RunID, apply, func(a *advance) (bool, error) {
		fit = false
		s, u := a.st.find(ref.Step, ref.Item)
		if u == nil || u.Status != runs.StepWaiting || u.WaitSource == "" {
			return false, nil
		}
		for _, ev := range evs {
			if ev.Source != u.WaitSource || u.WaitType != "*" && ev.Type != u.WaitType ||
				u.WaitKey != "" && ev.CorrelationID != u.WaitKey || a.st.used(ev.ID) {
				continue
			}
			ok, err := a.matches(s, u, ev)
			if err != nil {
				return false, err
			}
			if !ok {
				continue
			}
			u.EventID = ev.ID
			a.complete(s, u, eventValue(ev))
			fit = true
			return true, nil
		}
		return false, nil
	})
	return fit, err
}

// matches reports whether an event fulfills the condition of a waiting step. A condition that
// fails, because it reads a field that the event does not have, is not fulfilled.
func (a *advance) matches(s *stepState, u *runs.Step, ev *gaff.Event) (bool, error) {
	if s.def.condition == nil {
		return true, nil
	}
	vars, err := a.unitVariables(s.def.judgeRefs, u)
	if err != nil {
		return false, err
	}
	vars["event"] = eventValue(ev)
	met, err := s.def.condition.Bool(vars)
	if err != nil {
		a.log.Debug("a condition failed for an event", "run", u.RunID, "step", u.Name, "event", ev.ID)
		return false, nil
	}
	return met, nil
}

// eventValue returns the value of an event in expressions.
func eventValue(ev *gaff.Event) map[string]any {
	return map[string]any{
		"id": ev.ID, "source": ev.Source, "type": ev.Type, "webhookId": ev.WebhookID, "correlationId": ev.CorrelationID,
		"receivedAt": ev.ReceivedAt, "data": decode(ev.Data),
	}
}

// searchEarlier offers a waiting step the events that arrived before the wait. It handles an
// event of its own, so it runs after the wait is committed: earlier events are found here, and
// later ones find the wait.
func (e *Engine) searchEarlier(ctx context.Context, m message) error {
	a, err := e.load(ctx, m.RunID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s, u := a.st.find(m.Step, m.Item)
	if u == nil || u.Status != runs.StepWaiting || u.WaitSource == "" {
		return nil
	}
	window := searchWindow
	if w := time.Duration(s.def.WaitFor.Window); w > 0 {
		window = w
	}
	since := u.StartedAt.Add(-window)
	if since.Before(a.st.run.CreatedAt) {
		since = a.st.run.CreatedAt
	}
	var found []*gaff.Event
	f := gaff.EventFilter{Source: u.WaitSource, Since: since, Cursor: gaff.Cursor{Limit: 500}}
	if u.WaitType != "*" {
		f.Type = u.WaitType
	}
	for len(found) < maxSearched {
		page, err := e.o.Store.Events(ctx, f)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if u.WaitKey == "" || page.Items[i].CorrelationID == u.WaitKey {
				found = append(found, &page.Items[i].Event)
			}
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	slices.Reverse(found) // the oldest first
	for _, ev := range found {
		if len(ev.Data) == 0 {
			full, err := e.o.Store.Event(ctx, ev.ID)
			if errors.Is(err, gaff.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			ev = &full.Event
		}
		fit, err := e.offer(ctx, runs.StepRef{RunID: m.RunID, Step: m.Step, Item: m.Item}, []*gaff.Event{ev}, e.o.Store.WriteRuns)
		if err != nil || fit {
			return err
		}
	}
	return nil
}
