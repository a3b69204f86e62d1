package ui

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
)

type scheduledView struct {
	Rows         []gaff.Publication
	Status, Type string
	Pager        pagerView
	Now          time.Time
}

func (c *console) scheduled(q *request) (templ.Component, error) {
	q.title, q.nav = "Scheduled events", "scheduled"
	v := scheduledView{Status: q.query("status"), Type: q.query("type"), Now: q.now}
	f := gaff.ScheduleFilter{Type: v.Type, Cursor: q.cursor()}
	if v.Status != "" {
		state, ok := gaff.ParsePublicationState(v.Status)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown status " + visible(clip(v.Status, 40)) + ": want scheduled, published or canceled."}
		}
		f.State = &state
	}
	page, err := q.store.ScheduledEvents(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Rows, v.Pager = page.Items, pagerOf(q, page.Next)
	return scheduledPage(v), nil
}

// publicationChip returns the class of a state.
func publicationChip(s gaff.PublicationState) string {
	switch s {
	case gaff.Scheduled:
		return "wait"
	case gaff.Published:
		return "ok"
	case gaff.ScheduleCanceled:
	}
	return "none"
}

type scheduledEventView struct {
	*gaff.Publication
	Data   shown
	MayAct bool
	Now    time.Time
	// Text is the data to edit; Editable is false if a form cannot hold it.
	Text     string
	Editable bool
}

func (c *console) scheduledEvent(q *request) (templ.Component, error) {
	p, err := q.store.ScheduledEvent(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "Scheduled event "+p.Type, "scheduled"
	v := scheduledEventView{Publication: p, Data: show(p.Data, false), MayAct: q.may(access.Operator) && p.State == gaff.Scheduled, Now: q.now}
	var indented bytes.Buffer
	if len(p.Data) <= maxEdited && json.Indent(&indented, p.Data, "", "  ") == nil {
		v.Text, v.Editable = editable(indented.Bytes())
	}
	return scheduledEventPage(v), nil
}

// cancelScheduled cancels a scheduled event. Its data is removed then, so the console holds it for a
// while, to schedule it again.
func (c *console) cancelScheduled(w http.ResponseWriter, r *http.Request) {
	id := url.PathEscape(r.PathValue("id"))
	api, back := "/api/v1/scheduled-events/"+id, "/scheduled/"+id
	before, err := c.call(r, http.MethodGet, api, nil)
	if err != nil || before.Status != http.StatusOK {
		c.done(w, r, before, err, "", back)
		return
	}
	res, err := c.call(r, http.MethodDelete, api, nil)
	message := flash{Text: "Canceled: it is not published."}
	if err == nil && res.Status/100 == 2 {
		message.Undo = c.canceled.hold(c.owner(r), before.Body, c.o.Now())
	}
	c.finish(w, r, res, err, message, back)
}

// restorePath is the path of the button that schedules a canceled event again.
const restorePath = "/scheduled/{token}/restore"

// restoreScheduled publishes a canceled event again, at its time. It has a new id.
func (c *console) restoreScheduled(w http.ResponseWriter, r *http.Request) {
	body, ok := c.canceled.take(c.owner(r), r.PathValue("token"), c.o.Now())
	if !ok {
		setFlash(w, "bad", "Not done: the event was canceled too long ago, or was restored already. Publish it again.")
		http.Redirect(w, r, "/scheduled", http.StatusSeeOther)
		return
	}
	var was struct {
		Type      string          `json:"type"`
		Data      json.RawMessage `json:"data,omitempty"`
		ProjectID string          `json:"projectId,omitempty"`
		RunAt     time.Time       `json:"runAt"`
	}
	err := json.Unmarshal(body, &was)
	if err == nil {
		body, err = json.Marshal(was)
	}
	if err != nil {
		c.done(w, r, answer{}, err, "", "/scheduled")
		return
	}
	res, err := c.call(r, http.MethodPost, "/api/v1/events", body)
	back := "/scheduled"
	var made struct{ ID string }
	if err == nil && res.Status/100 == 2 && readJSON(res.Body, &made) == nil {
		back = "/events/" + url.PathEscape(made.ID) // its time may have come meanwhile
		if strings.HasPrefix(made.ID, "sch_") {
			back = "/scheduled/" + url.PathEscape(made.ID)
		}
	}
	c.done(w, r, res, err, "Scheduled again, with a new id.", back)
}

// timeOfForm is the form of a time in a field, UTC.
const timeOfForm = "2006-01-02T15:04:05"

// changeScheduled changes the time and the data of a scheduled event. Fields that were not edited stay.
func (c *console) changeScheduled(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4*maxEdited)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "invalid form", http.StatusBadRequest)
		return
	}
	path := "/scheduled/" + url.PathEscape(r.PathValue("id"))
	change := map[string]any{}
	if at := r.PostFormValue("runAt"); at != r.PostFormValue("runAtWas") {
		form := timeOfForm
		if len(at) == len("2006-01-02T15:04") {
			form = "2006-01-02T15:04" // browsers leave out seconds that are zero
		}
		t, err := time.Parse(form, at)
		if err != nil {
			setFlash(w, "bad", "Not done: the time is not one such as 2026-01-31T12:00:00.")
			http.Redirect(w, r, path, http.StatusSeeOther)
			return
		}
		change["runAt"] = t.UTC().Format(time.RFC3339)
	}
	data := strings.ReplaceAll(r.PostFormValue("data"), "\r\n", "\n")
	if r.PostForm.Has("data") && data != strings.ReplaceAll(r.PostFormValue("dataWas"), "\r\n", "\n") {
		if !json.Valid([]byte(data)) {
			setFlash(w, "bad", "Not done: the data is not JSON.")
			http.Redirect(w, r, path, http.StatusSeeOther)
			return
		}
		change["data"] = json.RawMessage(data)
	}
	if len(change) == 0 {
		setFlash(w, "ok", "Nothing was changed.")
		http.Redirect(w, r, path, http.StatusSeeOther)
		return
	}
	body, _ := json.Marshal(change)
	res, err := c.call(r, http.MethodPatch, "/api/v1/scheduled-events/"+url.PathEscape(r.PathValue("id")), body)
	c.done(w, r, res, err, "Changed.", path)
}
