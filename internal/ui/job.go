package ui

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
	"gaff/workflow/runs"
)

type jobView struct {
	jobRow
	Now                     time.Time
	Input, Result, Metadata shown
	Media                   []jobs.Media
	Events                  []gaff.Log
	Log                     []jobs.LogEntry
	Waterfall               waterfallView
	Step                    runs.StepRef // of the workflow that submitted it; zero if none did
	MayAct, MayErase        bool
	// Alias and Attempts are of a job with a fallback.
	Alias string
	// Position is the place among the jobs that wait to be submitted; 0 if it does not wait.
	Position int64
	Attempts []jobs.Attempt
	// Key makes that a form sent twice submits one job.
	Key string
}

// repeatable reports whether the job can be submitted again as it was.
func (v jobView) repeatable() bool { return v.MayAct && v.Input.Size > 0 && v.Provider != "" }

// maxJobTitle is how much of a prompt is a title, in characters.
const maxJobTitle = 120

// maxJobEvents bounds the events on a job's page.
const maxJobEvents = 20

func (c *console) job(q *request) (templ.Component, error) {
	j, err := q.store.Job(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	rows, err := c.jobRows(q, *j)
	if err != nil {
		return nil, err
	}
	input, err := q.store.JobInput(q.Context(), j.ID)
	if err != nil {
		return nil, err
	}
	v := jobView{
		jobRow: rows[0], Now: q.now, MayAct: q.may(access.Operator), MayErase: q.may(access.Admin),
		Input: show(input, false), Result: show(j.Result, false), Metadata: show(j.Metadata, false), Key: rand.Text(),
	}
	q.title, q.nav, q.live = clip(v.title(), maxJobTitle), "jobs", "job,media,event"
	if v.Log, err = q.store.JobLog(q.Context(), j.ID); err != nil {
		return nil, err
	}
	media, err := q.store.Media(q.Context(), jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: 100}})
	if err != nil {
		return nil, err
	}
	v.Media = media.Items
	if j.Submit == jobs.SubmitWaiting && !j.Status.Settled() {
		if v.Position, err = q.store.JobPosition(q.Context(), j.ID); err != nil {
			return nil, err
		}
	}
	if j.Attempt > 0 {
		plan, past, err := q.store.JobPlan(q.Context(), j.ID)
		if err != nil {
			return nil, err
		}
		if v.Attempts = past; plan != nil {
			v.Alias = plan.Alias
		}
	}
	if v.Step, err = q.store.StepOfJob(q.Context(), j.ID); err != nil && !errors.Is(err, gaff.ErrNotFound) {
		return nil, err
	}
	v.Step.RunID, v.Step.Step = cmp.Or(v.Step.RunID, v.RunID), cmp.Or(v.Step.Step, v.StepID)
	sent, err := c.jobEvents(q, &v)
	if err != nil {
		return nil, err
	}
	v.Waterfall = waterfall(v, sent, c.stepTimes(q, v.Step))
	return jobPage(v), nil
}

// forwarded is an event of the job at a destination.
type forwarded struct {
	gaff.Delivery
	Event gaff.Log
}

// jobEvents reads the webhooks of a job, the events that gaff emitted about it, and their deliveries
// to destinations. Limited users see no events.
func (c *console) jobEvents(q *request, v *jobView) (sent []forwarded, err error) {
	if q.who.Scope.Limited() {
		return nil, nil
	}
	if v.RequestID != "" {
		page, err := q.store.Events(q.Context(), gaff.EventFilter{Source: v.Provider, WebhookID: v.RequestID, Cursor: gaff.Cursor{Limit: maxJobEvents}})
		if err != nil {
			return nil, err
		}
		v.Events = page.Items
	}
	for _, l := range v.Events {
		d, err := q.store.Event(q.Context(), l.ID)
		if err != nil {
			continue // it was removed meanwhile
		}
		for _, child := range d.Children {
			if e, err := q.store.Event(q.Context(), child); err == nil && len(v.Events) < 2*maxJobEvents {
				v.Events = append(v.Events, e.Log)
			}
		}
	}
	var list struct{ Docs []destination }
	if err := c.ask(q, "/api/v1/destinations", &list); err != nil || len(list.Docs) == 0 {
		return nil, nil // without forwarding
	}
	names := map[string]bool{}
	for _, d := range list.Docs {
		names[d.Name] = true
	}
	for _, l := range v.Events {
		ds, err := q.store.Deliveries(q.Context(), gaff.DeliveryFilter{EventID: l.ID, Cursor: gaff.Cursor{Limit: maxJobEvents}})
		if err != nil {
			return nil, err
		}
		for _, d := range ds.Items {
			if names[d.Handler] {
				sent = append(sent, forwarded{d, l})
			}
		}
	}
	return sent, nil
}

// stepTimes returns the row of the step that submitted a job; zero if unknown.
func (c *console) stepTimes(q *request, ref runs.StepRef) runs.Step {
	if ref.RunID == "" {
		return runs.Step{}
	}
	rows, err := q.store.Steps(q.Context(), ref.RunID)
	if err != nil {
		return runs.Step{}
	}
	for _, row := range rows {
		if row.Name == ref.Step && row.Item == ref.Item {
			return row
		}
	}
	return runs.Step{}
}

type againView struct {
	Job   jobRow
	Input string
	// TooLong is true if the input does not fit into a form.
	TooLong bool
	Key     string
	Problem string
}

// maxFormInput is the longest input that a form of the console can change, in bytes.
const maxFormInput = 40 << 10

// again shows the form that submits a job again, with changes.
func (c *console) again(q *request) (templ.Component, error) {
	j, err := q.store.Job(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	rows, err := c.jobRows(q, *j)
	if err != nil {
		return nil, err
	}
	input, err := q.store.JobInput(q.Context(), j.ID)
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "Run again", "jobs"
	text, _ := pretty(input)
	shown, _ := editable(text) // a job's input is JSON
	v := againView{Job: rows[0], Input: shown, TooLong: len(text) > maxFormInput, Key: rand.Text()}
	if from := q.query("use"); from != "" {
		v.Input = withInput(text, from)
	}
	return againPage(v), nil
}

// withInput sets the member of an input that names a file to a URL: the first member whose name ends
// with "url", else image_url.
func withInput(input []byte, file string) string {
	members := map[string]json.RawMessage{}
	if readJSON(input, &members) != nil {
		return string(input)
	}
	name := "image_url"
	for _, member := range sortedKeys(members) {
		if strings.HasSuffix(member, "_url") {
			name = member
			break
		}
	}
	members[name], _ = json.Marshal(file)
	text, _ := json.MarshalIndent(members, "", "  ")
	return string(text)
}

// runAgain submits a job again, with the input of the form if it has one.
func (c *console) runAgain(w http.ResponseWriter, r *http.Request) {
	jobID := r.PathValue("id")
	back := "/jobs/" + pathOf(jobID)
	var changed *submission
	if r.PostFormValue("input") != "" {
		back += "/again"
		if r.PostFormValue("sure") != "yes" {
			setFlash(w, "bad", "Not done: confirm that the job may cost money.")
			http.Redirect(w, r, back, http.StatusSeeOther)
			return
		}
		changed = &submission{
			Input: json.RawMessage(r.PostFormValue("input")), Model: strings.TrimSpace(r.PostFormValue("model")),
			ProjectID: strings.TrimSpace(r.PostFormValue("projectId")), UserID: strings.TrimSpace(r.PostFormValue("userId")),
		}
		if !json.Valid([]byte(changed.Input)) {
			setFlash(w, "bad", "Not done: the input is not JSON.")
			http.Redirect(w, r, back, http.StatusSeeOther)
			return
		}
	}
	res, err := c.submitAgain(r, jobID, changed, r.PostFormValue("key"))
	var made struct{ ID string }
	if err == nil && res.Status/100 == 2 && readJSON(res.Body, &made) == nil && made.ID != "" {
		back = "/jobs/" + pathOf(made.ID)
	}
	c.done(w, r, res, err, "Submitted. This is the new job.", back)
}

// jobDocument is a job as the API describes it, as far as it is submitted again.
type jobDocument struct {
	ID, Provider, Model, Kind, ProjectID, UserID string
	Input, Metadata                              json.RawMessage
}

// submission is a job to submit, as the API takes it.
type submission struct {
	Provider       string          `json:"provider"`
	Model          string          `json:"model,omitempty"`
	Kind           string          `json:"kind,omitempty"`
	ProjectID      string          `json:"projectId,omitempty"`
	UserID         string          `json:"userId,omitempty"`
	Input          json.RawMessage `json:"input,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
	// Reuse is false: the user wants a new result.
	Reuse bool `json:"reuse"`
}

// submitAgain submits a job with the members of another one. changed replaces input, model, project
// and user; nil changes nothing. One key submits each job once.
func (c *console) submitAgain(r *http.Request, jobID string, changed *submission, key string) (answer, error) {
	res, err := c.call(r, http.MethodGet, "/api/v1/jobs/"+pathOf(jobID), nil)
	if err != nil || res.Status != http.StatusOK {
		return res, err
	}
	var j jobDocument
	if err := readJSON(res.Body, &j); err != nil {
		return answer{}, err
	}
	s := submission{
		Provider: j.Provider, Model: j.Model, Kind: j.Kind, ProjectID: j.ProjectID, UserID: j.UserID, Input: j.Input,
	}
	if string(j.Metadata) != "null" {
		s.Metadata = j.Metadata
	}
	if changed != nil {
		s.Input, s.Model, s.ProjectID, s.UserID = changed.Input, changed.Model, changed.ProjectID, changed.UserID
	}
	if len(s.Input) == 0 || string(s.Input) == "null" {
		return problemAnswer(http.StatusConflict, "the input of job "+clip(j.ID, 60)+" is not stored"), nil
	}
	if key != "" {
		s.IdempotencyKey = clip("console:"+key+":"+jobID, 200)
	}
	body, err := json.Marshal(s)
	if err != nil {
		return answer{}, err
	}
	return c.call(r, http.MethodPost, "/api/v1/jobs", body)
}

// useAsInput returns the form of a file's job with the file as input; empty without a link to it.
func useAsInput(m jobs.Media) templ.SafeURL {
	file := cmp.Or(m.Links.LinkURL, absolute(m.Links.StoredURL), outside(m))
	if file == "" || m.JobID == "" {
		return ""
	}
	return templ.SafeURL("/jobs/" + pathOf(m.JobID) + "/again?" + url.Values{"use": {file}}.Encode())
}

// absolute returns a link with a host, or "": a provider cannot fetch a path.
func absolute(link string) string {
	if strings.HasPrefix(link, "http://") || strings.HasPrefix(link, "https://") {
		return link
	}
	return ""
}
