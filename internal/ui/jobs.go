package ui

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
)

// jobFilter are the filters of the list of jobs.
type jobFilter struct {
	Status, Provider, Model, Project, User, ErrorType, Since, Until, Query string
	// Late chooses unfinished jobs whose expected end has passed.
	Late bool
}

func readJobFilter(q *request) jobFilter {
	return jobFilter{
		Status: q.query("status"), Provider: q.query("provider"), Model: q.query("model"), Project: q.query("projectId"), User: q.query("userId"),
		ErrorType: q.query("errorType"), Since: q.query("since"), Until: q.query("until"), Query: q.query("q"), Late: q.query("late") == "true",
	}
}

func (f jobFilter) any() bool { return f != jobFilter{} }

// filter returns the filter as the store takes it.
func (f jobFilter) filter(now time.Time) (out jobs.JobFilter, err error) {
	out = jobs.JobFilter{Provider: f.Provider, Model: f.Model, ProjectID: f.Project, UserID: f.User, ErrorType: f.ErrorType, Query: f.Query, Unfinished: f.Late || f.Status == "unfinished"}
	if f.Status != "" && f.Status != "unfinished" {
		status, ok := jobs.ParseJobStatus(f.Status)
		if !ok {
			return out, &problem{http.StatusBadRequest, "Invalid request", "Unknown status " + visible(clip(f.Status, 40)) + ": want queued, processing, completed, failed, cancelled or unfinished."}
		}
		out.Status = &status
	}
	if out.Since, err = moment(f.Since, now); err == nil {
		out.Until, err = moment(f.Until, now)
	}
	return out, err
}

type jobsView struct {
	Filter            jobFilter
	Models, Providers []string // suggestions
	Sample            string   // a source whose sample makes a job
	Jobs              []jobRow
	Pager             pagerView
	Now               time.Time
	First, MayAct     bool
}

// Key makes that a form sent twice submits each job once.
func (jobsView) Key() string { return rand.Text() }

// jobRow is a job with what lists show besides.
type jobRow struct {
	jobs.Job
	Prompt string
	File   *jobs.Media // its first picture; nil without files
	// Due is when the job should finish; zero if unknown or settled.
	Due time.Time
}

// title names the job: by its prompt, its model, its kind, or its id.
func (r jobRow) title() string {
	return cmp.Or(strings.Join(strings.Fields(r.Prompt), " "), r.Model, r.Kind, r.ID)
}

// cost is what the job costs in money, else in the provider's units; empty if unknown.
func (r jobRow) cost() string {
	amount := r.Charge.Amount.String() + " " + r.Charge.Currency
	switch {
	case r.Charge.State == jobs.ChargeBilled:
		return amount
	case r.Charge.State != jobs.ChargeNone:
		return "≈ " + amount
	case r.Cost != "":
		return r.Cost + " units"
	}
	return ""
}

// jobRows adds to jobs their prompts, first files and expected ends.
func (c *console) jobRows(q *request, list ...jobs.Job) ([]jobRow, error) {
	rows := make([]jobRow, len(list))
	ids := make([]string, len(list))
	for i, j := range list {
		rows[i].Job, ids[i] = j, j.ID
		if c.o.Expected != nil {
			_, rows[i].Due = c.o.Expected(&j)
		}
	}
	cards, err := q.store.JobCards(q.Context(), ids)
	for i := range rows {
		card := cards[rows[i].ID]
		rows[i].Prompt, rows[i].File = card.Prompt, card.File
	}
	return rows, err
}

func (c *console) jobs(q *request) (templ.Component, error) {
	q.title, q.nav = "Jobs", "jobs"
	v := jobsView{Filter: readJobFilter(q), Now: q.now, Sample: c.o.Sample, First: q.query("cursor") == "", MayAct: q.may(access.Operator)}
	f, err := v.Filter.filter(q.now)
	if err != nil {
		return nil, err
	}
	if v.First {
		q.live = "job"
	}
	var list []jobs.Job
	if v.Filter.Late {
		if list, err = c.lateJobs(q, f); err != nil {
			return nil, err
		}
	} else {
		f.Cursor = q.cursor()
		page, err := q.store.Jobs(q.Context(), f)
		if err != nil {
			return nil, err
		}
		list, v.Pager = page.Items, pagerOf(q, page.Next)
	}
	if v.Jobs, err = c.jobRows(q, list...); err != nil {
		return nil, err
	}
	v.Models, v.Providers = c.knownModels(q)
	return jobsPage(v), nil
}

// maxLate bounds the unfinished jobs of which the late ones are chosen.
const maxLate = 500

// lateJobs returns the unfinished jobs whose expected end has passed.
func (c *console) lateJobs(q *request, f jobs.JobFilter) ([]jobs.Job, error) {
	if c.o.Expected == nil {
		return nil, nil
	}
	f.Unfinished, f.Cursor = true, gaff.Cursor{Limit: maxLate}
	page, err := q.store.Jobs(q.Context(), f)
	return slices.DeleteFunc(page.Items, func(j jobs.Job) bool {
		_, due := c.o.Expected(&j)
		return due.IsZero() || !due.Before(q.now)
	}), err
}

// maxSuggested bounds the suggestions of a filter.
const maxSuggested = 100

// knownModels returns models and providers to suggest; none to limited users.
func (c *console) knownModels(q *request) (models, providers []string) {
	if q.who.Scope.Limited() {
		return nil, nil
	}
	known, err := q.store.Durations(q.Context())
	if err != nil {
		return nil, nil // suggestions only
	}
	for _, d := range known {
		models, providers = append(models, d.Model), append(providers, d.Provider)
	}
	slices.Sort(models)
	slices.Sort(providers)
	models = slices.Compact(slices.DeleteFunc(models, func(m string) bool { return m == "" }))
	return models[:min(len(models), maxSuggested)], slices.Compact(providers)
}

// pathOf escapes an id for a path.
func pathOf(id string) string { return url.PathEscape(id) }

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

// maxSelected bounds the rows that one form acts on.
const maxSelected = 100

// selectedIDs returns the ids of the chosen rows of a posted form, or a message why not.
func selectedIDs(r *http.Request) (ids []string, problem string) {
	if err := r.ParseForm(); err != nil {
		return nil, "the form cannot be read"
	}
	ids = r.PostForm["id"]
	slices.Sort(ids)
	ids = slices.Compact(ids)
	switch {
	case len(ids) == 0:
		return nil, "choose rows first"
	case len(ids) > maxSelected:
		return nil, "more than " + number(maxSelected) + " rows are chosen"
	}
	return ids, ""
}

// eachSelected calls an operation for each chosen row, and redirects back with the counts.
func (c *console) eachSelected(w http.ResponseWriter, r *http.Request, back, done string, call func(id string) (answer, error)) {
	ids, why := selectedIDs(r)
	if why != "" {
		setFlash(w, "bad", "Not done: "+why+".")
		http.Redirect(w, r, back, http.StatusSeeOther)
		return
	}
	good, failed, first := 0, 0, ""
	for _, id := range ids {
		res, err := call(id)
		switch {
		case err != nil:
			failed, first = failed+1, cmp.Or(first, "internal error; see the gateway's log")
			c.o.Log.Error("console action", "path", r.URL.Path, "error", err)
		case res.Status/100 != 2:
			failed, first = failed+1, cmp.Or(first, res.problem())
		default:
			good++
		}
	}
	if failed > 0 {
		setFlash(w, "bad", done+": "+number(good)+" done, "+number(failed)+" not: "+visible(clip(first, 300)))
	} else {
		setFlash(w, "ok", done+": "+number(good)+" done.")
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// jobsSelected polls, cancels or repeats the chosen jobs.
func (c *console) jobsSelected(w http.ResponseWriter, r *http.Request) {
	back := backTo(r)
	post := func(suffix string) func(id string) (answer, error) {
		return func(id string) (answer, error) {
			return c.call(r, http.MethodPost, "/api/v1/jobs/"+pathOf(id)+suffix, nil)
		}
	}
	switch action := r.PostFormValue("action"); action {
	case "poll":
		c.eachSelected(w, r, back, "Polled", post("/ask"))
	case "cancel":
		c.eachSelected(w, r, back, "Cancelled", post("/cancel"))
	case "again":
		key := r.PostFormValue("key")
		c.eachSelected(w, r, back, "Submitted again", func(id string) (answer, error) { return c.submitAgain(r, id, nil, key) })
	default:
		setFlash(w, "bad", "Unknown action: "+visible(clip(action, 40)))
		http.Redirect(w, r, back, http.StatusSeeOther)
	}
}
