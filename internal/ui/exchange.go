package ui

import (
	"cmp"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/sorting"
)

// exchange is an attempt's request and response, as destinations store it.
type exchange struct {
	Request struct {
		Method, URL string
		Headers     map[string]string
		Body        string
		Bytes       int
	}
	Response *struct {
		Status    int
		Headers   map[string]string
		Body      string
		Truncated bool
	}
	DurationMs float64
}

// exchangeOf reads the detail of an attempt; nil if it is not an exchange.
func exchangeOf(detail string) *exchange {
	var ex exchange
	if readJSON([]byte(detail), &ex) != nil || ex.Request.Method == "" {
		return nil
	}
	return &ex
}

// listed are headers as the table of headers takes them.
func listed(headers map[string]string) map[string][]string {
	all := map[string][]string{}
	for name, value := range headers {
		all[name] = []string{value}
	}
	return all
}

// attemptBars shows the attempts of all deliveries of an event on one time axis.
func attemptBars(v eventView) waterfallView {
	var bars []waterfallBar
	for _, d := range v.Timeline {
		for _, a := range d.Attempts {
			class := map[string]string{"ok": "ok", "bad": "bad"}[outcomeKind(a.Outcome)]
			bars = append(bars, waterfallBar{
				Label: d.Handler, Note: "attempt " + number(a.Number) + ", " + outcomeName(a.Outcome), Class: cmp.Or(class, "q"),
				From: a.StartedAt, To: a.StartedAt.Add(a.Duration),
			})
		}
	}
	sorting.By(bars, func(a, b waterfallBar) int { return a.From.Compare(b.From) })
	if len(bars) == 0 {
		return waterfallView{}
	}
	received := waterfallBar{Label: "Received", Class: "a", From: v.ReceivedAt, To: v.ReceivedAt}
	return scaled(append([]waterfallBar{received}, bars[:min(len(bars), maxAttemptBars)]...))
}

// maxAttemptBars bounds the bars of an event.
const maxAttemptBars = 60

// beganBy is how much later than a person's replay or retry its delivery may be created.
const beganBy = 5 * time.Second

// replayed returns the deliveries that a replay added, with who began it if the audit log says so.
func (c *console) replayed(q *request, d *gaff.EventDetail) map[string]string {
	found := map[string]string{}
	first := map[string]bool{}
	var entries []access.Entry
	for _, row := range d.Deliveries {
		if !first[row.Handler] && row.CreatedAt.Sub(d.ReceivedAt) < beganBy {
			first[row.Handler] = true
			continue
		}
		if entries == nil && !q.who.Scope.Limited() {
			if page, err := c.o.Guard.Audit(q.Context(), access.AuditFilter{Target: d.ID, Cursor: gaff.Cursor{Limit: pageSize}}); err == nil {
				entries = page.Items
			}
		}
		found[row.ID] = ""
		for _, e := range entries {
			late := row.CreatedAt.Sub(e.At).Abs()
			if e.Action == "replay-event" && e.Status/100 == 2 && late < beganBy {
				found[row.ID] = access.Identity{Name: e.Actor, As: e.As}.String()
				break
			}
		}
	}
	return found
}

// neighbours returns the ids of the events before and after one, of the same kind (internal or
// not); empty at an end of the log.
func (c *console) neighbours(q *request, l gaff.Log) (newer, older string, err error) {
	internal := l.Source == gaff.InternalSource
	page, err := q.store.Events(q.Context(), gaff.EventFilter{Until: l.ReceivedAt, Internal: internal, Cursor: gaff.Cursor{Limit: 1}})
	if err != nil {
		return "", "", err
	}
	for _, o := range page.Items {
		older = o.ID
	}
	// The list is read from its newest end: the spans are short where events are many.
	for _, span := range []time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		from := l.ReceivedAt.Add(time.Microsecond)
		page, err := q.store.Events(q.Context(), gaff.EventFilter{Since: from, Until: from.Add(span), Internal: internal, Cursor: gaff.Cursor{Limit: 200}})
		if err != nil {
			return "", "", err
		}
		if n := len(page.Items); n > 0 {
			return page.Items[n-1].ID, older, nil
		}
	}
	return "", older, nil
}
