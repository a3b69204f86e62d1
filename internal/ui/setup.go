package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/stats"
	"gaff/jobs"
)

type overviewView struct {
	Now                                time.Time
	Counts                             gaff.Counts
	Received, Failing, Pending, Served int64 // in the last day; Failing and Pending in all, with internal events
	FailingWebhooks                    int64 // Failing without internal events
	JobsFailed, JobsOpen               int64
	Rejected                           int64
	Failed                             []gaff.Log
	Waiting                            []gaff.Log
	Sources, Disabled                  []gaff.SourceInfo // Disabled: those that reject everything
	Newest                             []gaff.Log
	Plots                              plotsView
	Silent                             []stats.Silence
	MayAct                             bool
}

// Sendable is a source that a sample can be signed for; empty if there is none.
func (v overviewView) Sendable() string {
	for _, s := range v.Sources {
		if s.DisabledReason == "" && s.About["secret set"] != "false" {
			return s.Name
		}
	}
	return ""
}

// None tells that nothing ever came.
func (v overviewView) None() bool {
	for _, s := range v.Counts.Sources {
		if s.Pending+s.Success+s.Error+s.Rejected > 0 {
			return false
		}
	}
	return true
}

func (c *console) overview(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Overview", "overview", "event,job"
	v := overviewView{Now: q.now, MayAct: q.may(access.Operator)}
	var err error
	if v.Counts, err = c.counts.get(q.Context(), c.o.Store, q.now); err != nil {
		return nil, err
	}
	day, err := c.o.Store.Counts(q.Context(), q.now.Add(-24*time.Hour))
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
	counts, err := c.o.Store.JobCounts(q.Context(), "")
	if err != nil {
		return nil, err
	}
	v.JobsFailed, v.JobsOpen = counts[jobs.JobFailed], counts[jobs.JobQueued]+counts[jobs.JobProcessing]
	failed, err := c.o.Store.Events(q.Context(), gaff.EventFilter{Status: new(gaff.StatusError), Internal: true, Cursor: gaff.Cursor{Limit: 6}})
	if err != nil {
		return nil, err
	}
	v.Failed = failed.Items
	pending, err := c.o.Store.Events(q.Context(), gaff.EventFilter{Status: new(gaff.StatusPending), Internal: true, Cursor: gaff.Cursor{Limit: 50}})
	if err != nil {
		return nil, err
	}
	for _, l := range pending.Items {
		if l.Error != "" && len(v.Waiting) < 5 {
			v.Waiting = append(v.Waiting, l)
		}
	}
	newest, err := c.o.Store.Events(q.Context(), gaff.EventFilter{Cursor: gaff.Cursor{Limit: 8}})
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
	return overviewPage(v), nil
}

type sourceRow struct {
	gaff.SourceInfo
	Address string
	Count   gaff.SourceCount
}

func (c *console) sourceRows(q *request) ([]sourceRow, error) {
	counts, err := c.counts.get(q.Context(), c.o.Store, q.now)
	if err != nil {
		return nil, err
	}
	var rows []sourceRow
	for _, info := range c.o.Sources() {
		row := sourceRow{SourceInfo: info, Address: c.o.Address(info.Name)}
		for _, count := range counts.Sources {
			if count.Source == info.Name {
				row.Count = count
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

type sourcesView struct {
	Rows []sourceRow
	Now  time.Time
}

func (c *console) sources(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Sources", "sources", "event"
	rows, err := c.sourceRows(q)
	if err != nil {
		return nil, err
	}
	return sourcesPage(sourcesView{rows, q.now}), nil
}

type sourceView struct {
	sourceRow
	Now    time.Time
	Types  []string
	MayAct bool
	Newest []gaff.Log
	Plots  plotsView
}

// Paste is what fal takes at submit; empty for other sources.
func (v sourceView) Paste() string {
	if v.Name != "fal" {
		return ""
	}
	return "https://queue.fal.run/MODEL?fal_webhook=" + url.QueryEscape(v.Address)
}

func (c *console) source(q *request) (templ.Component, error) {
	rows, err := c.sourceRows(q)
	if err != nil {
		return nil, err
	}
	name := q.PathValue("name")
	i := slices.IndexFunc(rows, func(r sourceRow) bool { return r.Name == name })
	if i < 0 {
		return nil, notThere("source", name)
	}
	q.title, q.nav, q.live = "Source "+name, "sources", "event"
	v := sourceView{sourceRow: rows[i], Now: q.now, MayAct: q.may(access.Operator)}
	if c.o.SampleTypes != nil {
		v.Types = c.o.SampleTypes(name)
	}
	page, err := c.o.Store.Events(q.Context(), gaff.EventFilter{Source: name, Cursor: gaff.Cursor{Limit: 10}})
	if err != nil {
		return nil, err
	}
	v.Newest = page.Items
	if v.Plots, err = c.plots(q, name); err != nil {
		return nil, err
	}
	return sourcePage(v), nil
}

type keysView struct {
	Keys     []access.Key
	Made     map[string]int // how many working keys were made with a key, by its id
	Sessions []access.Session
	Mine     string
	Now      time.Time
}

func (c *console) keys(q *request) (templ.Component, error) {
	q.title, q.nav = "Keys and logins", "keys"
	keys, err := c.o.Guard.Keys(q.Context())
	if err != nil {
		return nil, err
	}
	sessions, err := c.o.Guard.Sessions(q.Context())
	if err != nil {
		return nil, err
	}
	made := map[string]int{}
	for _, k := range keys {
		if k.MadeBy != "" && k.State(q.now) == "active" {
			made[k.MadeBy]++
		}
	}
	return keysPage(keysView{keys, made, sessions, q.who.ID, q.now}), nil
}

type auditView struct {
	Actor, Action, Target string
	Entries               []access.Entry
	Pager                 pagerView
	Now                   time.Time
}

func (c *console) audit(q *request) (templ.Component, error) {
	q.title, q.nav = "Audit log", "audit"
	v := auditView{Actor: q.query("actor"), Action: q.query("action"), Target: q.query("target"), Now: q.now}
	page, err := c.o.Guard.Audit(q.Context(), access.AuditFilter{Actor: v.Actor, Action: v.Action, Target: v.Target, Cursor: q.cursor()})
	if err != nil {
		return nil, err
	}
	v.Entries, v.Pager = page.Items, pagerOf(q, page.Next)
	return auditPage(v), nil
}

// targetLink is the page of what an audit entry is about; empty if it has none.
func targetLink(target string) templ.SafeURL {
	for _, kind := range [...]struct{ prefix, folder string }{
		{"evt_", "events"}, {"job_", "jobs"}, {"med_", "media"}, {"rej_", "rejections"},
	} {
		if len(target) > len(kind.prefix) && strings.HasPrefix(target, kind.prefix) {
			return link(kind.folder, target)
		}
	}
	return ""
}

func (c *console) settings(q *request) (templ.Component, error) {
	q.title, q.nav = "Settings", "settings"
	var list struct{ Docs []setting }
	err := c.ask(q, "/api/v1/settings", &list)
	return settingsPage(list.Docs), err
}

// setting is what the API says about a setting.
type setting struct{ Name, Value, Origin, Help string }

// healthView is what the API says about the node, and what waits.
type healthView struct {
	Ready                                  bool
	Reason, Version, Go                    string
	UptimeSeconds, MemoryBytes, Goroutines int64
	DisabledSources                        map[string]string

	Counts gaff.Counts
	Now    time.Time
}

func (c *console) health(q *request) (templ.Component, error) {
	q.title, q.nav = "Health", "health"
	v := healthView{Now: q.now}
	if err := c.ask(q, "/api/v1/health", &v); err != nil {
		return nil, err
	}
	var err error
	if v.Counts, err = c.counts.get(q.Context(), c.o.Store, q.now); err != nil && v.Ready {
		return nil, err
	}
	return healthPage(v), nil
}

// bulkFields are what a bulk action takes: what to do, and the filters of the list.
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

// bulkActions are what can be done to many at once.
var bulkActions = map[string]struct{ verb, doing, done, about string }{
	"retry":  {"Retry", "Retrying", "Retried", "Deliveries that failed for good get a full set of tries again."},
	"replay": {"Replay", "Replaying", "Replayed", "Every handler works each of them anew, whatever became of it before."},
	"rescue": {"Rescue", "Rescuing", "Rescued", "Each is verified again by the source as it is now and as of the time it came, and worked if it is authentic."},
}

func (v bulkView) verb() string { return bulkActions[v.Action].verb }

// list is the page that one came from.
func (v bulkView) list() templ.SafeURL {
	path := "/events"
	if v.Action == "rescue" {
		path = "/rejections"
	}
	return templ.SafeURL(address(path, v.Filter.values()))
}

func (v bulkView) count() string {
	if v.Action == "rescue" {
		return plural(int64(v.Matches), "refused request", "refused requests")
	}
	return plural(int64(v.Matches), "event", "events")
}

// bulk counts what a bulk action would do, before it is done.
func (c *console) bulk(q *request) (templ.Component, error) {
	v := bulkView{Action: q.query("action"), Filter: readEventFilter(q), Fields: map[string]string{}, Now: q.now}
	if bulkActions[v.Action].verb == "" {
		return nil, &problem{http.StatusBadRequest, "This cannot be shown", "Choose events on the page Events, and press Retry these or Replay these there."}
	}
	if v.Filter.Conflict || v.Filter.Internal {
		return nil, &problem{http.StatusBadRequest, "Not in bulk", "Retry internal events and events with conflicting bodies one by one."}
	}
	if v.Action == "retry" {
		v.Filter.Status = "error" // there is nothing to retry in others
	}
	q.title, q.nav = v.verb()+" many", "events"
	if v.Action == "rescue" {
		q.nav = "rejections"
	} else {
		f, err := v.Filter.filter(q.now)
		if err != nil {
			return nil, err
		}
		f.Cursor = gaff.Cursor{Limit: 5}
		page, err := c.o.Store.Events(q.Context(), f)
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
		return nil, &problem{res.Status, "This cannot be counted", res.problem()}
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
		return nil, &problem{res.Status, "Not found", "This bulk action is not known any more: they are forgotten when the gateway is restarted."}
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
