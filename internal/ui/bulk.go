package ui

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/a-h/templ"

	"gaff"
)

// bulkFields are the fields of a bulk action: the action, and the filters of the list.
var bulkFields = []string{"action", "source", "type", "status", "q", "since", "until"}

type bulkView struct {
	Action  string
	Filter  eventFilter
	Fields  map[string]string
	Matches int
	More    bool
	Sample  []gaff.Log // the newest, of events
	Now     time.Time
}

// bulkActions are the actions on many events or requests.
var bulkActions = map[string]struct{ verb, doing, done, about string }{
	"retry":  {"Retry", "Retrying", "Retried", "Dead deliveries get a full set of attempts."},
	"replay": {"Replay", "Replaying", "Replayed", "Every handler processes each event again, also if it succeeded before."},
	"rescue": {"Rescue", "Rescuing", "Rescued", "Each request is verified with the source's current configuration, as of the time it was received, and processed if it is authentic."},
}

func (v bulkView) verb() string { return bulkActions[v.Action].verb }

// list returns the page with the filters of the action.
func (v bulkView) list() templ.SafeURL {
	path := "/events"
	if v.Action == "rescue" {
		path = "/rejections"
	}
	return templ.SafeURL(address(path, v.Filter.values()))
}

func (v bulkView) count() string {
	if v.Action == "rescue" {
		return plural(int64(v.Matches), "rejected request", "rejected requests")
	}
	return plural(int64(v.Matches), "event", "events")
}

// bulk counts the matches of a bulk action and asks for confirmation.
func (c *console) bulk(q *request) (templ.Component, error) {
	v := bulkView{Action: cmp.Or(q.query("action"), "retry"), Filter: readEventFilter(q), Fields: map[string]string{}, Now: q.now}
	if bulkActions[v.Action].verb == "" {
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown action. Filter the page Events, then press Retry these or Replay these."}
	}
	if v.Filter.Conflict || v.Filter.Violation || v.Filter.Internal {
		return nil, &problem{http.StatusBadRequest, "Not in bulk", "Retry internal events, and events with conflicting bodies or schema violations, one by one."}
	}
	if v.Action == "retry" {
		v.Filter.Status = "error" // only these have dead deliveries
	}
	q.title, q.nav = v.verb()+" in bulk", "events"
	if v.Action == "rescue" {
		q.nav = "rejections"
	} else {
		f, err := v.Filter.filter(q.now)
		if err != nil {
			return nil, err
		}
		f.Cursor = gaff.Cursor{Limit: 5}
		page, err := q.store.Events(q.Context(), f)
		if err != nil {
			return nil, err
		}
		v.Sample = page.Items
	}
	body := map[string]any{"action": v.Action, "dryRun": true}
	for name, values := range v.Filter.values() {
		if values[0] != "" {
			body[name], v.Fields[name] = values[0], values[0]
		}
	}
	v.Fields["action"] = v.Action
	text, _ := json.Marshal(body)
	res, err := c.call(q.Request, http.MethodPost, "/api/v1/bulk", text)
	if err != nil {
		return nil, err
	}
	if res.Status/100 != 2 {
		return nil, &problem{res.Status, "Cannot count the matches", res.problem()}
	}
	var count struct {
		Matches int
		More    bool
	}
	if err := readJSON(res.Body, &count); err != nil {
		return nil, err
	}
	v.Matches, v.More = count.Matches, count.More
	return bulkPage(v), nil
}

type bulkRunView struct {
	ID, Action, State, By        string
	Total, Done, Skipped, Failed int
	LastError                    string
	StartedAt, EndedAt           time.Time
	Now                          time.Time
	Filter                       map[string]string
	Refresh                      string
}

func (v bulkRunView) seen() int { return v.Done + v.Skipped + v.Failed }

func (c *console) bulkRun(q *request) (templ.Component, error) {
	q.title, q.nav = "Bulk action", "events"
	res, err := c.call(q.Request, http.MethodGet, "/api/v1/bulk/"+url.PathEscape(q.PathValue("id")), nil)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, &problem{res.Status, "Not found", "Unknown bulk action: gaff forgets bulk actions when it restarts."}
	}
	v := bulkRunView{Now: q.now, Refresh: q.URL.Path}
	if err := readJSON(res.Body, &v); err != nil {
		return nil, err
	}
	if v.State == "running" {
		q.live = "event"
	}
	return bulkRunPage(v), nil
}

// bulkLink returns the page that counts the matches of a bulk action before it runs.
func bulkLink(action string, f eventFilter) templ.SafeURL {
	v := f.values()
	v.Set("action", action)
	return templ.SafeURL(address("/bulk", v))
}

func (c *console) startBulk(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "invalid form", http.StatusBadRequest)
		return
	}
	body := map[string]any{}
	for _, name := range bulkFields {
		if value := r.PostFormValue(name); value != "" {
			body[name] = value
		}
	}
	text, _ := json.Marshal(body)
	res, err := c.call(r, http.MethodPost, "/api/v1/bulk", text)
	back := backTo(r)
	if err == nil && res.Status/100 == 2 {
		var run struct{ ID string }
		_ = readJSON(res.Body, &run)
		http.Redirect(w, r, "/bulk/"+url.PathEscape(run.ID), http.StatusSeeOther)
		return
	}
	c.done(w, r, res, err, "", back)
}
