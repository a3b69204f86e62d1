package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gaff"
	"gaff/workflow/runs"
)

// schedule adds the next event of every schedule. The event's dedupe key contains its time, so
// several nodes add it once.
func (e *Engine) schedule(ctx context.Context, now time.Time) error {
	for _, c := range e.Workflows() {
		for _, s := range c.schedules {
			if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.scheduleNext(ctx, tx, c, s, now) }); err != nil {
				return fmt.Errorf("schedule of %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

func (e *Engine) scheduleNext(ctx context.Context, tx runs.Tx, c *Compiled, s *schedule, after time.Time) error {
	at := s.cron.Next(after.In(s.zone))
	if at.IsZero() {
		return nil
	}
	data, err := json.Marshal(message{Workflow: c.Name, Cron: s.spec(), At: at.UTC()})
	if err != nil {
		return err
	}
	return e.accept(ctx, tx, &gaff.Event{
		Source: gaff.InternalSource, Type: eventSchedule, Data: data,
		DedupeKey: fmt.Sprintf("schedule:%s:%s:%d", c.Name, s.spec(), at.Unix()),
	}, at)
}

func (s *schedule) spec() string { return s.Cron + " " + s.zone.String() }

// handleSchedule starts the run of a scheduled time, and schedules the next.
func (e *Engine) handleSchedule(ctx context.Context, m message) error {
	c := (*e.current.Load())[m.Workflow]
	if c == nil {
		return nil // removed meanwhile
	}
	i := slices.IndexFunc(c.schedules, func(s *schedule) bool { return s.spec() == m.Cron })
	if i < 0 {
		return nil // changed; loading the new one scheduled it
	}
	s := c.schedules[i]
	if err := e.o.Store.WriteRuns(ctx, func(tx runs.Tx) error { return e.scheduleNext(ctx, tx, c, s, time.Now()) }); err != nil {
		return err
	}
	project, input, err := evalStart(s.project, s.input, map[string]any{"scheduled": m.At})
	if err != nil {
		return gaff.Discard(err)
	}
	_, _, err = e.Run(ctx, StartParams{
		Workflow: c.Name, ProjectID: project, Input: input, Key: fmt.Sprintf("schedule:%s:%d", m.Cron, m.At.Unix()),
	})
	if errors.Is(err, gaff.ErrInvalid) {
		return gaff.Discard(err)
	}
	return err
}
