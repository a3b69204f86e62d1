package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
)

// eventFilter has the filters of the page's URL.
type eventFilter struct {
	Source, Type, Status, Query, Since, Until string
	Job, Project                              string
	Internal, Conflict, Violation             bool
}

func (f eventFilter) any() bool { return f != eventFilter{} }

// values returns the filters as parameters, for links.
func (f eventFilter) values() url.Values {
	v := url.Values{"jobId": {f.Job}, "projectId": {f.Project}, "source": {f.Source}, "type": {f.Type}, "status": {f.Status}, "q": {f.Query}, "since": {f.Since}, "until": {f.Until}}
	if f.Internal {
		v.Set("inner", "true")
	}
	if f.Conflict {
		v.Set("conflict", "true")
	}
	if f.Violation {
		v.Set("violation", "true")
	}
	return v
}

func readEventFilter(q *request) eventFilter {
	return eventFilter{
		Job: q.query("jobId"), Project: q.query("projectId"), Source: q.query("source"), Type: q.query("type"), Status: q.query("status"), Query: q.query("q"),
		Since: q.query("since"), Until: q.query("until"), Internal: q.query("inner") == "true", Conflict: q.query("conflict") == "true",
		Violation: q.query("violation") == "true",
	}
}

// filter converts the filters to the store's.
func (f eventFilter) filter(now time.Time) (gaff.EventFilter, error) {
	out := gaff.EventFilter{JobID: f.Job, ProjectID: f.Project, Source: f.Source, Type: f.Type, Query: f.Query, Internal: f.Internal, Conflict: f.Conflict, Violation: f.Violation}
	if f.Status != "" {
		status, ok := gaff.ParseStatus(f.Status)
		if !ok {
			return out, &problem{http.StatusBadRequest, "Invalid request", "Unknown status " + visible(clip(f.Status, 40)) + ": want pending, success or error."}
		}
		out.Status = &status
	}
	var err error
	if out.Since, err = moment(f.Since, now); err != nil {
		return out, err
	}
	out.Until, err = moment(f.Until, now)
	return out, err
}

// moment parses a time, or a duration before now, as the API does.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, perr := strconv.ParseUint(days, 10, 14)
		d, err = time.Duration(n)*24*time.Hour, perr
	}
	if err != nil || d < 0 {
		return time.Time{}, &problem{http.StatusBadRequest, "Invalid request", "Invalid time " + visible(clip(text, 40)) + ": want a duration such as 24h or 7d, or a time such as 2026-01-31T12:00:00Z."}
	}
	return now.Add(-d), nil
}

type eventsView struct {
	// Label names the table on a page with several; empty means "Events".
	Label   string
	Sample  string // a source with samples
	Filter  eventFilter
	Sources []string
	Logs    []gaff.Log
	Pager   pagerView
	Now     time.Time
	// First is true on the newest page, which is live. MayAct shows the bulk buttons.
	First, MayAct bool
	// None is true if no event was ever stored.
	None bool
}

func (c *console) events(q *request) (templ.Component, error) {
	q.title, q.nav = "Events", "events"
	v := eventsView{Filter: readEventFilter(q), Now: q.now, First: q.query("cursor") == "", Sample: c.o.Sample, MayAct: q.may(access.Operator)}
	f, err := v.Filter.filter(q.now)
	if err != nil {
		return nil, err
	}
	f.Cursor = q.cursor()
	page, err := q.store.Events(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Logs, v.Pager = page.Items, pagerOf(q, page.Next)
	v.Sources = c.sourceNames(q)
	if v.First {
		q.live = "event"
	}
	v.None = len(v.Logs) == 0 && !v.Filter.any() && v.First
	return eventsPage(v), nil
}

// webhookID returns the sender's id of the event, or gaff's if the sender set none.
func webhookID(l gaff.Log) string {
	if l.WebhookID != "" {
		return l.WebhookID
	}
	return l.ID
}

// processed returns when an event was processed; zero if it was not.
func processed(l gaff.Log) time.Time {
	if !l.ProcessedAt.IsZero() {
		return l.ProcessedAt
	}
	return time.Time{}
}
