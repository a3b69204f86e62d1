package ui

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/diff"
	"gaff/internal/redact"
	"gaff/internal/shell"
	"gaff/jobs"
)

// eventFilter is the filters as they stand in the address.
type eventFilter struct {
	Source, Type, Status, Query, Since, Until string
	Internal, Conflict                        bool
}

func (f eventFilter) any() bool { return f != eventFilter{} }

// values returns the filters as parameters, for links.
func (f eventFilter) values() url.Values {
	v := url.Values{"source": {f.Source}, "type": {f.Type}, "status": {f.Status}, "q": {f.Query}, "since": {f.Since}, "until": {f.Until}}
	if f.Internal {
		v.Set("inner", "true")
	}
	if f.Conflict {
		v.Set("conflict", "true")
	}
	return v
}

func readEventFilter(q *request) eventFilter {
	return eventFilter{
		Source: q.query("source"), Type: q.query("type"), Status: q.query("status"), Query: q.query("q"),
		Since: q.query("since"), Until: q.query("until"), Internal: q.query("inner") == "true", Conflict: q.query("conflict") == "true",
	}
}

// filter turns what stands in the address into what the store understands.
func (f eventFilter) filter(now time.Time) (gaff.EventFilter, error) {
	out := gaff.EventFilter{Source: f.Source, Type: f.Type, Query: f.Query, Internal: f.Internal, Conflict: f.Conflict}
	if f.Status != "" {
		status, ok := gaff.ParseStatus(f.Status)
		if !ok {
			return out, &problem{http.StatusBadRequest, "This cannot be shown", "The status " + visible(clip(f.Status, 40)) + " is none: pending, success and error are."}
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

// moment reads a time, or a duration as that long ago, as the API does.
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
		return time.Time{}, &problem{http.StatusBadRequest, "This cannot be shown", visible(clip(text, 40)) + " is no time: write 24h or 7d for that long ago, or 2026-01-31T12:00:00Z."}
	}
	return now.Add(-d), nil
}

type eventsView struct {
	Filter  eventFilter
	Sources []string
	Logs    []gaff.Log
	Pager   pagerView
	Now     time.Time
	// First tells that this is the newest page, which is live; MayAct that the bulk buttons
	// are of use.
	First, MayAct bool
	// None tells that nothing ever came.
	None bool
}

func (c *console) events(q *request) (templ.Component, error) {
	q.title, q.nav = "Events", "events"
	v := eventsView{Filter: readEventFilter(q), Now: q.now, First: q.query("cursor") == "", MayAct: q.may(access.Operator)}
	f, err := v.Filter.filter(q.now)
	if err != nil {
		return nil, err
	}
	f.Cursor = q.cursor()
	page, err := c.o.Store.Events(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Logs, v.Pager = page.Items, pagerOf(q, page.Next)
	for _, s := range c.o.Sources() {
		v.Sources = append(v.Sources, s.Name)
	}
	if v.First {
		q.live = "event"
	}
	v.None = len(v.Logs) == 0 && !v.Filter.any() && v.First
	return eventsPage(v), nil
}

// bulkLink is the page that counts what a bulk action would do.
func bulkLink(action string, f eventFilter) templ.SafeURL {
	v := f.values()
	v.Set("action", action)
	return templ.SafeURL(address("/bulk", v))
}

// webhookID is the sender's own id, or ours where it has none.
func webhookID(l gaff.Log) string {
	if l.WebhookID != "" {
		return l.WebhookID
	}
	return l.ID
}

// processed is when an event was worked, or came if it never was.
func processed(l gaff.Log) time.Time {
	if !l.ProcessedAt.IsZero() {
		return l.ProcessedAt
	}
	return time.Time{}
}

type tries struct {
	gaff.Delivery
	Attempts []try
}

// try is an attempt, and what differs from the one before it.
type try struct {
	gaff.Attempt
	// Before is the number of the one before it, 0 for the first one.
	Before  int
	Changes []change
}

type change struct {
	diff.Change
	// Lines compare texts of several lines; none: both stand side by side.
	Lines []diff.Line
	// Former tells that To stands elsewhere.
	Former bool
}

// triesOf picks the delivery's own among the attempts.
func triesOf(d gaff.Delivery, all []gaff.Attempt) tries {
	t := tries{Delivery: d}
	for _, a := range all {
		if a.DeliveryID != d.ID {
			continue
		}
		next := try{Attempt: a}
		if n := len(t.Attempts); n > 0 {
			before := t.Attempts[n-1].Attempt
			next.Before = before.Number
			for _, ch := range diff.Attempts(before, a) {
				c := change{Change: ch}
				c.From, c.To = strings.TrimSpace(ch.From), strings.TrimSpace(ch.To)
				if c.Former = c.Field == "error" && c.To != ""; c.Former {
					c.Field = "error before"
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
	Raw        bool
	URL        string
	Header     map[string][]string
	Body       shown
	Curl, Send string
	Tries      []tries
	Children   []child
	Jobs       []jobs.Job
	Media      []jobs.Media
	// Held are the destinations, by handler, that hold back deliveries of this event.
	Held map[string]destination
	// MayRetry tells that a delivery has failed for good.
	MayRetry bool
}

// maxRelated bounds what an event's page tells of what it led to.
const maxRelated = 20

// shownEvent reads an event with its secrets masked.
func (c *console) shownEvent(ctx context.Context, id string) (*gaff.EventDetail, error) {
	d, err := c.o.Store.Event(ctx, id)
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
	d, err := c.shownEvent(q.Context(), id)
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = d.Type+" "+webhookID(d.Log), "events", "event,job,media"
	v := eventView{EventDetail: *d, Now: q.now, MayAct: q.may(access.Operator), Raw: q.query("body") == "raw"}
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
	for _, delivery := range d.Deliveries {
		v.MayRetry = v.MayRetry || delivery.State == gaff.StateDead || delivery.State == gaff.StateCanceled
		v.Tries = append(v.Tries, triesOf(delivery, d.Attempts))
	}
	if v.Held, err = c.holding(q, d.Deliveries); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	addJob := func(id string) {
		if id == "" || seen[id] || len(v.Jobs) >= maxRelated {
			return
		}
		seen[id] = true
		if j, err := c.o.Store.Job(q.Context(), id); err == nil {
			v.Jobs = append(v.Jobs, *j)
		}
	}
	for i, childID := range d.Children {
		if i == maxRelated {
			break
		}
		ch, err := c.o.Store.Event(q.Context(), childID)
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
		page, err := c.o.Store.Jobs(q.Context(), jobs.JobFilter{Provider: d.Source, RequestID: d.CorrelationID, Cursor: gaff.Cursor{Limit: 5}})
		if err == nil {
			v.Jobs = append(v.Jobs, page.Items...)
		}
	}
	for _, j := range v.Jobs {
		page, err := c.o.Store.Media(q.Context(), jobs.MediaFilter{JobID: j.ID, Cursor: gaff.Cursor{Limit: maxRelated}})
		if err == nil {
			v.Media = append(v.Media, page.Items...)
		}
	}
	return eventPage(v), nil
}

// holding returns the destinations, by handler, that send nothing just now although deliveries
// wait for them: they are paused, or their circuit is open.
func (c *console) holding(q *request, ds []gaff.Delivery) (map[string]destination, error) {
	if !slices.ContainsFunc(ds, func(d gaff.Delivery) bool { return !d.State.Done() }) {
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
	// TooLong tells that the two are shown one after the other.
	TooLong      bool
	First, Later shown
}

func (c *console) eventDiff(q *request) (templ.Component, error) {
	d, err := c.shownEvent(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(q.PathValue("n"))
	if err != nil || n < 1 || n > len(d.Copies) || d.Request == nil {
		return nil, notThere("later arrival", q.PathValue("n"))
	}
	q.title, q.nav = "Two bodies of "+webhookID(d.Log), "events"
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

type rejectionsView struct {
	Source  string
	Sources []string
	Rows    []gaff.Rejection
	Pager   pagerView
	Now     time.Time
	// MayRescue tells that some of them can be rescued, and by whoever asks.
	MayRescue bool
}

func (c *console) rejections(q *request) (templ.Component, error) {
	q.title, q.nav = "Rejections", "rejections"
	v := rejectionsView{Source: q.query("source"), Now: q.now}
	page, err := c.o.Store.Rejections(q.Context(), gaff.RejectionFilter{Source: v.Source, Cursor: q.cursor()})
	if err != nil {
		return nil, err
	}
	for _, s := range c.o.Sources() {
		v.Sources = append(v.Sources, s.Name)
	}
	v.Rows, v.Pager = page.Items, pagerOf(q, page.Next)
	v.MayRescue = q.may(access.Operator) && slices.ContainsFunc(v.Rows, func(r gaff.Rejection) bool { return r.Rescuable && r.RescuedAs == "" })
	return rejectionsPage(v), nil
}

type rejectionView struct {
	gaff.Rejection
	Address string
	Headers map[string][]string
	Body    shown
	Curl    string
	Now     time.Time
	Advice  string
	MayAct  bool
}

func (c *console) rejection(q *request) (templ.Component, error) {
	r, err := c.o.Store.Rejection(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav = "Rejection", "rejections"
	v := rejectionView{
		Rejection: *r, Address: redact.URL(r.URL, nil), Headers: redact.Header(r.Header, nil), Body: show(r.Body, false), Now: q.now, Advice: advice(r), MayAct: q.may(access.Operator),
	}
	v.Curl = shell.Curl(shell.Request{Method: r.Method, URL: c.sendTo(r.Source, v.Address), Header: v.Headers, Body: r.Body, File: "body.bin"})
	return rejectionPage(v), nil
}

// sendTo is the configured address of a source with the callback token and the query of a
// request. The request's own address begins with the Host that its sender chose.
func (c *console) sendTo(source, received string) string {
	to := c.o.Address(url.PathEscape(source))
	if _, rest, ok := strings.Cut(received, "://"); ok {
		received = rest
	}
	path, query, hasQuery := strings.Cut(received, "?")
	_, path, _ = strings.Cut(path, "/")
	if below, ok := strings.CutPrefix("/"+path, gaff.PathPrefix); ok {
		if _, token, ok := strings.Cut(below, "/"); ok {
			to += "/" + token
		}
	}
	if hasQuery {
		to += "?" + query
	}
	return to
}

// advice says what to look at when a request was refused.
func advice(r *gaff.Rejection) string {
	switch r.Status {
	case http.StatusUnauthorized:
		return "Compare the secret here with the one at the sender, and the clocks of both if a timestamp is signed. A sender that rotates its secret needs both for a while: several are separated by commas."
	case http.StatusNotFound:
		return "No source has this name. Correct the address at the sender, or add the source to gaff.yaml."
	case http.StatusRequestEntityTooLarge:
		return "Raise max_body of the source in gaff.yaml if its webhooks are this large."
	case http.StatusBadRequest:
		return "The sender was proven, but its message could not be read as what this source sends."
	case http.StatusServiceUnavailable:
		return "The gateway could not keep or check it at that moment. A good sender comes again by itself."
	}
	return ""
}
