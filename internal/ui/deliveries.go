package ui

import (
	"net/http"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
)

type deliveriesView struct {
	State, Handler string
	Handlers       []string // suggestions: the destinations
	Rows           []gaff.Delivery
	Pager          pagerView
	Now            time.Time
	MayAct, First  bool
}

func (v deliveriesView) filtered() bool { return v.State+v.Handler != "" }

// deliveryStates are the states of deliveries, in the order of their life.
var deliveryStates = []gaff.State{gaff.StatePending, gaff.StateRunning, gaff.StateRetrying, gaff.StateSucceeded, gaff.StateDead, gaff.StateCanceled}

func (c *console) deliveries(q *request) (templ.Component, error) {
	q.title, q.nav = "Deliveries", "deliveries"
	v := deliveriesView{State: q.query("state"), Handler: q.query("handler"), Now: q.now, MayAct: q.may(access.Operator), First: q.query("cursor") == ""}
	f := gaff.DeliveryFilter{Handler: v.Handler, Cursor: q.cursor()}
	for _, s := range deliveryStates {
		if s.String() == v.State {
			f.State = &s
		}
	}
	if v.State != "" && f.State == nil {
		return nil, &problem{http.StatusBadRequest, "Invalid request", "Unknown state " + visible(clip(v.State, 40)) + ": want pending, running, retrying, succeeded, dead or canceled."}
	}
	page, err := q.store.Deliveries(q.Context(), f)
	if err != nil {
		return nil, err
	}
	if v.Rows, v.Pager = page.Items, pagerOf(q, page.Next); v.First {
		q.live = "event"
	}
	if !q.who.Scope.Limited() {
		var list struct{ Docs []destination }
		if c.ask(q, "/api/v1/destinations", &list) == nil { // suggestions only
			for _, d := range list.Docs {
				v.Handlers = append(v.Handlers, d.Name)
			}
		}
	}
	return deliveriesPage(v), nil
}

// deliveriesSelected retries or cancels the chosen deliveries.
func (c *console) deliveriesSelected(w http.ResponseWriter, r *http.Request) {
	operation, done := "/retry", "Retried"
	if r.PostFormValue("action") == "cancel" {
		operation, done = "/cancel", "Canceled"
	}
	c.eachSelected(w, r, backTo(r), done, func(id string) (answer, error) {
		return c.call(r, http.MethodPost, "/api/v1/deliveries/"+pathOf(id)+operation, nil)
	})
}
