package ui

import (
	"net/http"
	"net/url"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
	"gaff/internal/stats"
)

// destination is a destination as the API describes it. The console does not import the package
// destination.
type destination struct {
	Name, Kind, URL, Topic, Filter, Format, Transform, TransformJS, SignatureHeader, Delay, Timeout, FirstWait, LongestWait, Order, OrderBy, Origin string
	Events, Secrets                                                                                                                                 []string
	MaxAttempts, Concurrency                                                                                                                        int
	Rate                                                                                                                                            float64
	Health                                                                                                                                          struct {
		State, Reason, Circuit, LastError string
		RetryAt, LastSuccess, LastFailure time.Time
		Failures                          int
		Sent, Failed                      int64
	}
	Backlog struct {
		Waiting, Held, Dead int64
		NextDue             time.Time
	}
}

// chip returns a destination's state as a class and a word.
func (d destination) chip() (kind, text string) {
	switch {
	case d.Health.State != "active":
		return "warn", d.Health.State
	case d.Health.Circuit == "open":
		return "bad", "circuit open"
	case d.Health.Circuit == "half-open":
		return "warn", "probing"
	}
	return "ok", "active"
}

// target returns the URL or topic of the destination.
func (d destination) target() string {
	switch {
	case d.URL != "":
		return d.URL
	case d.Topic != "":
		return d.Topic
	}
	return "pulled by the application"
}

// ask reads a resource of the API into to.
func (c *console) ask(q *request, path string, to any) error {
	res, err := c.call(q.Request, http.MethodGet, path, nil)
	switch {
	case err != nil:
		return err
	case res.Status == http.StatusNotFound:
		return &problem{http.StatusNotFound, "Not found", visible(res.problem())}
	case res.Status != http.StatusOK:
		return &problem{res.Status, "Request failed", visible(res.problem())}
	}
	return readJSON(res.Body, to)
}

type destinationsView struct {
	Rows      []destination
	Now       time.Time
	MayCreate bool
}

func (c *console) destinations(q *request) (templ.Component, error) {
	q.title, q.nav, q.live = "Destinations", "destinations", "event"
	var list struct{ Docs []destination }
	if err := c.ask(q, "/api/v1/destinations", &list); err != nil {
		return nil, err
	}
	return destinationsPage(destinationsView{list.Docs, q.now, q.may(access.Admin)}), nil
}

// kind returns the class of a delivery's chip.
func (l letter) kind() string {
	return map[string]string{"succeeded": "ok", "dead": "bad", "retrying": "warn", "canceled": "none"}[l.State]
}

type letter struct {
	ID, EventID, Type, WebhookID, State, Error, OrderKey string
	Attempts, MaxAttempts                                int
	UpdatedAt, RunAt                                     time.Time
}

type destinationView struct {
	// MayChange is for destinations that the configuration does not have.
	MayChange bool
	destination
	MayAct bool
	// MayReplay is for operators of all sources.
	MayReplay bool
	Dead      []letter
	// Latest are deliveries in any state, newest event first.
	Latest []letter
	// Plots are of its attempts, on all nodes; Total has the sums of their range.
	Plots plotsView
	Total stats.Point
	Now   time.Time
}

func (c *console) destination(q *request) (templ.Component, error) {
	name := q.PathValue("name")
	v := destinationView{MayAct: q.may(access.Operator), MayReplay: q.may(access.Operator) && !q.who.Scope.Limited(), Now: q.now}
	if err := c.ask(q, "/api/v1/destinations/"+url.PathEscape(name), &v.destination); err != nil {
		return nil, err
	}
	v.MayChange = v.Origin == "api" && q.may(access.Admin) && !q.who.Scope.Limited()
	q.title, q.nav, q.live = "Destination "+v.Name, "destinations", "event"
	var latest struct{ Docs []letter }
	if err := c.ask(q, "/api/v1/deliveries?limit=20&handler="+url.QueryEscape(v.Name), &latest); err != nil {
		return nil, err
	}
	v.Latest = latest.Docs
	var err error
	if v.Plots, v.Total, err = c.handlerPlots(q, v.Name); err != nil {
		return nil, err
	}
	if v.Backlog.Dead > 0 {
		var list struct{ Docs []letter }
		if err := c.ask(q, "/api/v1/deliveries?state=dead&limit=20&handler="+url.QueryEscape(v.Name), &list); err != nil {
			return nil, err
		}
		v.Dead = list.Docs
	}
	return destinationPage(v), nil
}
