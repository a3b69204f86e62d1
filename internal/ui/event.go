package ui

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/diff"
	"gaff/internal/shell"
	"gaff/jobs"
)

type delivery struct {
	gaff.Delivery
	Attempts []attempt
}

// attempt is an attempt with its differences from the previous one.
type attempt struct {
	gaff.Attempt
	// Before is the number of the previous attempt; 0 for the first.
	Before  int
	Changes []change
}

type change struct {
	diff.Change
	// Lines compare texts of several lines. If empty, both values are shown.
	Lines []diff.Line
	// Former is true if To is shown elsewhere.
	Former bool
}

// attemptsOf selects the attempts of a delivery.
func attemptsOf(d gaff.Delivery, all []gaff.Attempt) delivery {
	t := delivery{Delivery: d}
	for _, a := range all {
		if a.DeliveryID != d.ID {
			continue
		}
		next := attempt{Attempt: a}
		if n := len(t.Attempts); n > 0 {
			before := t.Attempts[n-1].Attempt
			next.Before = before.Number
			for _, ch := range diff.Attempts(before, a) {
				c := change{Change: ch}
				c.From, c.To = strings.TrimSpace(ch.From), strings.TrimSpace(ch.To)
				if c.Former = c.Field == "error" && c.To != ""; c.Former {
					c.Field = "previous error"
				}
				if strings.Contains(c.From, "\n") && strings.Contains(c.To, "\n") {
					c.Lines, _ = diff.Lines(c.From, c.To)
				}
				next.Changes = append(next.Changes, c)
			}
		}
		t.Attempts = append(t.Attempts, next)
	}
	return t
}

type child struct {
	ID, Type string
	Status   gaff.Log
}

type eventView struct {
	gaff.EventDetail
	Now        time.Time
	MayAct     bool
	MayErase   bool
	Raw        bool
	URL        string
	Header     map[string][]string
	Body       shown
	Curl, Send string
	Timeline   []delivery
	Children   []child
	Jobs       []jobs.Job
	Media      []jobs.Media
	// Held has the destinations, by handler, that hold deliveries of this event.
	Held map[string]destination
	// Replay is the form that sends the event to one destination; nil if the caller may not.
	Replay *replayForm
	// Attempts are the bars of all attempts. Replays has the deliveries that replays added, with
	// who began them if known. Newer and Older are the neighbours in the log.
	Attempts     waterfallView
	Replays      map[string]string
	Newer, Older string
	// MayRetry is true if a delivery is dead or canceled.
	MayRetry bool
}

// maxRelated bounds the jobs, files and emitted events on an event's page.
const maxRelated = 20

// shownEvent returns an event with its secrets masked.
func (c *console) shownEvent(q *request, id string) (*gaff.EventDetail, error) {
	d, err := q.store.Event(q.Context(), id)
	if err != nil {
		return nil, err
	}
	for _, info := range c.o.Sources() {
		if info.Name == d.Source {
			return d.Masked(info.Secrets), nil
		}
	}
	return d.Masked(nil), nil
}

func (c *console) event(q *request) (templ.Component, error) {
	id := q.PathValue("id")
	d, err := c.shownEvent(q, id)
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = d.Type+" "+webhookID(d.Log), "events", "event,job,media"
	v := eventView{EventDetail: *d, Now: q.now, MayAct: q.may(access.Operator), MayErase: q.may(access.Admin), Raw: q.query("body") == "raw"}
	data := []byte(d.Data)
	if r := d.Request; r != nil {
		v.URL, v.Header = r.URL, r.Header
		v.Curl = shell.Curl(shell.Request{Method: r.Method, URL: c.sendTo(d.Source, v.URL), Header: v.Header, Body: r.Body, File: d.ID + ".bin"})
		if v.Raw {
			data = r.Body
		}
	}
	v.Body = show(data, v.Raw)
	v.Send = shell.Words("gaff", "events", "show", d.ID, "--json") + " | jq -c .data | " + shell.Words("gaff", "send", d.Source, "--type", d.Type, "--data", "-")
	for _, row := range d.Deliveries {
		v.MayRetry = v.MayRetry || row.State == gaff.StateDead || row.State == gaff.StateCanceled
		v.Timeline = append(v.Timeline, attemptsOf(row, d.Attempts))
	}
	v.Attempts, v.Replays = attemptBars(v), c.replayed(q, d)
	if v.Newer, v.Older, err = c.neighbours(q, d.Log); err != nil {
		return nil, err
	}
	if v.Held, err = c.holding(q, d.Deliveries); err != nil {
		return nil, err
	}
	var edit []byte
	if d.Request != nil && !d.Damaged {
		edit = d.Request.Body
	}
	if v.Replay, err = c.replayFormOf(q, id, edit); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	addJob := func(id string) {
		if id == "" || seen[id] || len(v.Jobs) >= maxRelated {
			return
		}
		seen[id] = true
		if j, err := q.store.Job(q.Context(), id); err == nil {
			v.Jobs = append(v.Jobs, *j)
		}
	}
	for i, childID := range d.Children {
		if i == maxRelated {
			break
		}
		ch, err := q.store.Event(q.Context(), childID)
		if err != nil {
			continue
		}
		v.Children = append(v.Children, child{ch.ID, ch.Type, ch.Log})
		if strings.HasPrefix(ch.Type, "job.") {
			addJob(ch.CorrelationID)
		}
	}
	addJob(d.CorrelationID)
	if d.CorrelationID != "" && len(v.Jobs) == 0 {
		page, err := q.store.Jobs(q.Context(), jobs.JobFilter{Provider: d.Source, RequestID: d.CorrelationID, Cursor: gaff.Cursor{Limit: 5}})
		if err == nil {
			v.Jobs = append(v.Jobs, page.Items...)
		}
	}
	for _, j := range v.Jobs {
		page, err := q.store.Media(q.Context(), jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: maxRelated}})
		if err == nil {
			v.Media = append(v.Media, page.Items...)
		}
	}
	return eventPage(v), nil
}

// holding returns the destinations, by handler, that have pending deliveries among ds and send
// nothing: they are paused, disabled, or their circuit is open.
func (c *console) holding(q *request, ds []gaff.Delivery) (map[string]destination, error) {
	if q.who.Scope.Limited() || !slices.ContainsFunc(ds, func(d gaff.Delivery) bool { return !d.State.Done() }) {
		return nil, nil
	}
	var list struct{ Docs []destination }
	if err := c.ask(q, "/api/v1/destinations", &list); err != nil {
		return nil, err
	}
	held := map[string]destination{}
	for _, to := range list.Docs {
		if to.Health.State != "active" || to.Health.Circuit == "open" {
			held[to.Name] = to
		}
	}
	return held, nil
}

type diffView struct {
	Event gaff.Log
	Copy  gaff.Copy
	N     int
	Lines []diff.Line
	// TooLong is true if the bodies are shown one after the other, not as a diff.
	TooLong      bool
	First, Later shown
}

func (c *console) eventDiff(q *request) (templ.Component, error) {
	d, err := c.shownEvent(q, q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(q.PathValue("n"))
	if err != nil || n < 1 || n > len(d.Copies) || d.Request == nil {
		return nil, notThere("conflicting body", q.PathValue("n"))
	}
	q.title, q.nav = "Conflict of "+webhookID(d.Log), "events"
	v := diffView{Event: d.Log, Copy: d.Copies[n-1], N: n}
	first, _ := pretty(d.Request.Body)
	later, _ := pretty(v.Copy.Body)
	var ok bool
	if len(first) <= 4*maxShown && len(later) <= 4*maxShown {
		v.Lines, ok = diff.Lines(string(first), string(later))
	}
	if !ok {
		v.TooLong, v.First, v.Later = true, show(d.Request.Body, false), show(v.Copy.Body, false)
	}
	return diffPage(v), nil
}
