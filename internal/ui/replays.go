package ui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
)

// replayRow is a replay as the API describes it.
type replayRow struct {
	ID, State, Destination, URL, EventID, EditedEventID, Source, Type, Status, Error, By string
	Since, Until, StartedAt, EndedAt                                                     time.Time
	Missing, IgnoreFilter, More                                                          bool
	Rate, Progress                                                                       float64
	Matches, Queued, Skipped                                                             int
}

func (r replayRow) target() string {
	if r.URL != "" {
		return r.URL
	}
	return r.Destination
}

// chip returns a replay's state as a class and a word.
func (r replayRow) chip() (kind, text string) {
	switch r.State {
	case "done":
		return "ok", r.State
	case "failed":
		return "bad", r.State
	case "running":
		return "wait", r.State
	}
	return "none", r.State
}

type replaysView struct {
	Rows []replayRow
	Now  time.Time
}

func (c *console) replays(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Replays", "replays", "event"
	var list struct{ Docs []replayRow }
	if err := c.ask(q, "/api/v1/replays", &list); err != nil {
		return nil, err
	}
	return replaysPage(replaysView{list.Docs, q.now}), nil
}

type replayView struct {
	replayRow
	MayAct bool
	Now    time.Time
}

func (c *console) replay(q *request) (templ.Component, error) {
	v := replayView{MayAct: q.may(access.Operator), Now: q.now}
	if err := c.ask(q, "/api/v1/replays/"+url.PathEscape(q.PathValue("id")), &v.replayRow); err != nil {
		return nil, err
	}
	q.title, q.nav = "Replay to "+v.target(), "replays"
	if v.State == "running" {
		q.live = "event"
	}
	return replayPage(v), nil
}

// replayForm is the form that sends one event, or those of a time, again.
type replayForm struct {
	// EventID is set on the page of an event, Destination on that of a destination.
	EventID, Destination string
	Destinations         []string
	// Body is the text to edit; empty if it cannot be edited here.
	Body string
	// MayURL is true for callers who may send to any URL.
	MayURL bool
}

// maxEdited is the longest body that a form shows for editing, in bytes.
const maxEdited = 64 << 10

// replayFormOf returns the form for an event; nil if the caller may not replay it.
func (c *console) replayFormOf(q *request, id string, body []byte) (*replayForm, error) {
	if !q.may(access.Operator) || q.who.Scope.Limited() {
		return nil, nil
	}
	f := &replayForm{EventID: id, MayURL: q.may(access.Admin)}
	if len(body) <= maxEdited {
		f.Body, _ = editable(body)
	}
	var list struct{ Docs []destination }
	res, err := c.call(q.Request, http.MethodGet, "/api/v1/destinations", nil)
	if err == nil && res.Status == http.StatusOK {
		err = readJSON(res.Body, &list)
	}
	for _, d := range list.Docs {
		f.Destinations = append(f.Destinations, d.Name)
	}
	if len(f.Destinations) == 0 && !f.MayURL {
		return nil, err
	}
	return f, err
}

// startReplay starts a replay, or counts its events.
func (c *console) startReplay(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4*maxEdited)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "invalid form", http.StatusBadRequest)
		return
	}
	ask := map[string]any{}
	for _, name := range []string{"destination", "url", "eventId", "source", "type", "since", "until"} {
		if value := strings.TrimSpace(r.PostFormValue(name)); value != "" {
			ask[name] = value
		}
	}
	if ask["url"] != nil {
		delete(ask, "destination")
	}
	if rate, err := strconv.ParseFloat(r.PostFormValue("rate"), 64); err == nil {
		ask["rate"] = rate
	}
	if r.PostFormValue("missing") != "" {
		ask["missing"] = true
	}
	if r.PostFormValue("edited") != "" {
		// A form sends line ends as CRLF.
		ask["body"] = strings.ReplaceAll(r.PostFormValue("body"), "\r\n", "\n")
	}
	count := r.PostFormValue("do") == "count"
	if count {
		ask["dryRun"] = true
	}
	text, _ := json.Marshal(ask)
	res, err := c.call(r, http.MethodPost, "/api/v1/replays", text)
	var made replayRow
	done, back := "", backTo(r)
	if err == nil && res.Status/100 == 2 {
		_ = readJSON(res.Body, &made)
		if count {
			done = plural(int64(made.Matches), "event", "events") + " would be sent."
			if made.More {
				done = "More than " + done
			}
		} else {
			http.Redirect(w, r, "/replays/"+url.PathEscape(made.ID), http.StatusSeeOther)
			return
		}
	}
	c.done(w, r, res, err, done, back)
}
