package ui

import (
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/stats"
)

type overviewView struct {
	Now                                time.Time
	Counts                             gaff.Counts
	Received, Failing, Pending, Served int64 // in the last 24 hours; Failing and Pending in total, with internal events
	FailingWebhooks                    int64 // Failing without internal events
	Rejected                           int64
	Failed                             []gaff.Log
	Waiting                            []gaff.Log
	Sources, Disabled                  []gaff.SourceInfo // Disabled: those that reject everything
	Newest                             []gaff.Log
	Plots                              plotsView
	Silent                             []stats.Silence
	MayAct                             bool
	Gen                                generations
	// Checklist has the steps of setting up; empty once the gateway is set up.
	Checklist []step
}

// Sendable returns a source that samples can be signed for; empty if no source can.
func (v overviewView) Sendable() string {
	for _, s := range v.Sources {
		if s.DisabledReason == "" && s.About["secret set"] != "false" {
			return s.Name
		}
	}
	return ""
}

// None reports whether no webhook has ever arrived.
func (v overviewView) None() bool {
	for _, s := range v.Counts.Sources {
		if s.Pending+s.Success+s.Error+s.Rejected > 0 {
			return false
		}
	}
	return true
}

func (c *console) overview(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Overview", "overview", "event,job,run"
	v := overviewView{Now: q.now, MayAct: q.may(access.Operator)}
	var err error
	if v.Counts, err = c.counts.get(q.Context(), c.o.Store, q.now); err != nil {
		return nil, err
	}
	day, err := q.store.Counts(q.Context(), q.now.Add(-24*time.Hour))
	if err != nil {
		return nil, err
	}
	for _, s := range day.Sources {
		v.Rejected += s.Rejected
		if s.Source != gaff.InternalSource {
			v.Received += max(s.Pending+s.Success+s.Error, 0)
		}
	}
	for _, s := range v.Counts.Sources {
		v.Failing += s.Error
		if s.Source != gaff.InternalSource {
			v.FailingWebhooks += s.Error
		}
		v.Pending += s.Pending
	}
	if v.Gen, err = c.generations(q); err != nil {
		return nil, err
	}
	failed, err := q.store.Events(q.Context(), gaff.EventFilter{Status: new(gaff.StatusError), Internal: true, Cursor: gaff.Cursor{Limit: 6}})
	if err != nil {
		return nil, err
	}
	v.Failed = failed.Items
	pending, err := q.store.Events(q.Context(), gaff.EventFilter{Status: new(gaff.StatusPending), Internal: true, Cursor: gaff.Cursor{Limit: 50}})
	if err != nil {
		return nil, err
	}
	for _, l := range pending.Items {
		if l.Error != "" && len(v.Waiting) < 5 {
			v.Waiting = append(v.Waiting, l)
		}
	}
	newest, err := q.store.Events(q.Context(), gaff.EventFilter{Cursor: gaff.Cursor{Limit: 8}})
	if err != nil {
		return nil, err
	}
	v.Newest = newest.Items
	v.Sources = c.o.Sources()
	for _, s := range v.Sources {
		if s.DisabledReason != "" {
			v.Disabled = append(v.Disabled, s)
		}
	}
	if v.Plots, err = c.plots(q, ""); err != nil {
		return nil, err
	}
	if v.Silent, err = c.silent(q); err != nil {
		return nil, err
	}
	if v.Checklist, err = c.checklist(q, &v); err != nil {
		return nil, err
	}
	return overviewPage(v), nil
}
