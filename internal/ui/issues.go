package ui

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/internal/alert"
	"gaff/internal/issue"
)

// alertRow is an alert as the API describes it.
type alertRow struct {
	Kind, Cause, Title string
	Active             bool
	Count              int64
	Since, EndedAt     time.Time
}

// page returns the console's page about the alert.
func (a alertRow) page() templ.SafeURL {
	return templ.SafeURL(alert.Page(alert.Key{Kind: a.Kind, Cause: a.Cause}))
}

type channelRow struct{ Name, About string }

type issuesView struct {
	State    string
	Rows     []issue.Issue
	Pager    pagerView
	Alerts   []alertRow
	Channels []channelRow
	MayAct   bool
	Now      time.Time
}

func (c *console) issues(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Issues", "issues", "event"
	v := issuesView{State: q.query("state"), MayAct: q.may(access.Operator), Now: q.now}
	f := issue.Filter{Cursor: q.cursor()}
	if v.State != "" {
		state, ok := issue.ParseState(v.State)
		if !ok {
			return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown state of issues: " + visible(clip(v.State, 40)) + "."}
		}
		f.State = &state
	}
	page, err := q.store.Issues(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Rows, v.Pager = page.Items, pagerOf(q, page.Next)
	var alerts struct{ Docs []alertRow }
	var channels struct{ Docs []channelRow }
	for _, part := range []struct {
		path string
		to   any
	}{{"/api/v1/alerts?active=true&limit=50", &alerts}, {"/api/v1/alert-channels", &channels}} {
		err := c.ask(q, part.path, part.to)
		if p, ok := errors.AsType[*problem](err); ok && p.status == http.StatusNotFound {
			continue // this gateway raises no alerts
		}
		if err != nil {
			return nil, err
		}
	}
	v.Alerts, v.Channels = alerts.Docs, channels.Docs
	return issuesPage(v), nil
}

// issueKinds are the words for the failures of an issue.
var issueKinds = map[issue.Kind][2]string{issue.Delivery: {"dead delivery", "dead deliveries"}, issue.Rejection: {"rejected request", "rejected requests"}}

func issueCount(i issue.Issue) string {
	words := issueKinds[i.Kind]
	return plural(i.Count, words[0], words[1])
}

// issueChip returns the class of an issue's state.
func issueChip(s issue.State) string {
	switch s {
	case issue.Open:
		return "bad"
	case issue.Acknowledged:
		return "warn"
	case issue.Resolved:
		return "ok"
	case issue.Ignored:
	}
	return ""
}

type issueView struct {
	issue.Issue
	MayAct bool
	// Dead are some of the dead deliveries, by their events.
	Dead []issueDelivery
	Now  time.Time
}

type issueDelivery struct{ ID, EventID string }

// eventOf returns the id of a delivery's event: it is the delivery's without its number.
func eventOf(deliveryID string) string {
	rest, _, _ := strings.Cut(strings.TrimPrefix(deliveryID, "dlv_"), "-")
	return "evt_" + rest
}

// shownDeliveries is how many dead deliveries an issue's page lists.
const shownDeliveries = 50

func (c *console) issue(q *request) (templ.Component, error) {
	i, err := q.store.Issue(q.Context(), q.PathValue("id"))
	if err != nil {
		return nil, err
	}
	q.title, q.nav, q.live = "Issue", "issues", "event"
	v := issueView{Issue: *i, MayAct: q.may(access.Operator), Now: q.now}
	if i.Kind == issue.Delivery {
		ids, err := q.store.IssueDeliveries(q.Context(), i.ID, shownDeliveries)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			v.Dead = append(v.Dead, issueDelivery{id, eventOf(id)})
		}
	}
	return issuePage(v), nil
}

// testedFailed returns why a test message was not sent by some channel, or "".
func testedFailed(res answer) string {
	var tests struct {
		Results []struct {
			Channel, Error string
			OK             bool
		}
	}
	if err := readJSON(res.Body, &tests); err != nil {
		return ""
	}
	for _, r := range tests.Results {
		if !r.OK {
			return r.Channel + ": " + r.Error
		}
	}
	return ""
}
