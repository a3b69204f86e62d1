package ui

import (
	"net/http"
	"net/url"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
)

type jobsView struct {
	Status, Provider, Project, User string
	Query                           string
	Sample                          string // a source whose sample makes a job
	Jobs                            []jobRow
	Pager                           pagerView
	Now                             time.Time
}

// jobRow is a job, and when it should finish; zero if unknown or settled.
type jobRow struct {
	jobs.Job
	Due time.Time
}

func (c *console) jobRows(list ...jobs.Job) []jobRow {
	rows := make([]jobRow, len(list))
	for i, j := range list {
		rows[i].Job = j
		if c.o.Expected != nil {
			_, rows[i].Due = c.o.Expected(&j)
		}
	}
	return rows
}

func (v jobsView) filtered() bool { return v.Status+v.Provider+v.Project+v.User+v.Query != "" }

func (c *console) jobs(q *request) (templ.Component, error) {
	q.title, q.nav = "Jobs", "jobs"
	v := jobsView{Status: q.query("status"), Provider: q.query("provider"), Project: q.query("projectId"), User: q.query("userId"), Query: q.query("q"), Now: q.now, Sample: c.o.Sample}
	f := jobs.JobFilter{Provider: v.Provider, ProjectID: v.Project, UserID: v.User, Query: v.Query, Cursor: q.cursor()}
	if v.Status != "" {
		status, ok := jobs.ParseJobStatus(v.Status)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown status " + visible(clip(v.Status, 40)) + ": want queued, processing, completed, failed or cancelled."}
		}
		f.Status = &status
	}
	page, err := q.store.Jobs(q.Context(), f)
	if err != nil {
		return nil, err
	}
	if v.Jobs, v.Pager = c.jobRows(page.Items...), pagerOf(q, page.Next); q.query("cursor") == "" {
		q.live = "job"
	}
	return jobsPage(v), nil
}

type jobView struct {
	jobRow
	Now              time.Time
	Result, Metadata shown
	Media            []jobs.Media
	Events           []gaff.Log
	MayAct, MayErase bool
}

// pathOf escapes an id for a path.
func pathOf(id string) string { return url.PathEscape(id) }

func (c *console) job(q *request) (templ.Component, error) {
	j, err := q.store.Job(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = "Job "+j.ID, "jobs", "job,media"
	v := jobView{jobRow: c.jobRows(*j)[0], Now: q.now, MayAct: q.may(access.Operator), MayErase: q.may(access.Admin), Result: show(j.Result, false), Metadata: show(j.Metadata, false)}
	media, err := q.store.Media(q.Context(), jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: 100}})
	if err != nil {
		return nil, err
	}
	v.Media = media.Items
	if j.RequestID != "" {
		page, err := q.store.Events(q.Context(), gaff.EventFilter{Source: j.Provider, WebhookID: j.RequestID, Cursor: gaff.Cursor{Limit: 20}})
		if err != nil {
			return nil, err
		}
		v.Events = page.Items
	}
	return jobPage(v), nil
}

// age returns how long a job took, or has taken so far.
func age(j jobs.Job, now time.Time) string {
	if j.SubmittedAt.IsZero() && !j.SettledAt.IsZero() && j.SettledAt.Sub(j.CreatedAt) < time.Second {
		return "–" // gaff learned of the job from its final webhook
	}
	from := j.CreatedAt
	if !j.SubmittedAt.IsZero() {
		from = j.SubmittedAt
	}
	if !j.SettledAt.IsZero() {
		return span(max(j.SettledAt.Sub(from), 0))
	}
	return span(max(now.Sub(from), 0)) + " so far"
}
