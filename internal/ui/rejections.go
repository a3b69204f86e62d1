package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/redact"
	"gaff/internal/shell"
)

type rejectionsView struct {
	Source, Since, Reason string
	Sources               []string
	Rows                  []gaff.Rejection
	Pager                 pagerView
	Now                   time.Time
	// Groups are the open issues of rejected requests; empty with a filter.
	Groups []rejectionGroup
	// MayRescue is true if the user may rescue some of the rows.
	MayRescue bool
}

func (c *console) rejections(q *request) (templ.Component, error) {
	q.title, q.nav = "Rejections", "rejections"
	v := rejectionsView{Source: q.query("source"), Since: q.query("since"), Reason: q.query("q"), Now: q.now}
	since, err := moment(v.Since, q.now)
	if err != nil {
		return nil, err
	}
	page, err := q.store.Rejections(q.Context(), gaff.RejectionFilter{Source: v.Source, Reason: v.Reason, Since: since, Cursor: q.cursor()})
	if err != nil {
		return nil, err
	}
	if v.Source+v.Since+v.Reason+q.query("cursor") == "" && !q.who.Scope.Limited() {
		var list struct{ Docs []rejectionGroup }
		if err := c.ask(q, "/api/v1/issues?kind=rejection&state=open&limit=10", &list); err == nil { // without alerts there are no issues
			v.Groups = list.Docs
		}
	}
	v.Sources = c.sourceNames(q)
	v.Rows, v.Pager = page.Items, pagerOf(q, page.Next)
	v.MayRescue = q.may(access.Operator) && slices.ContainsFunc(v.Rows, func(r gaff.Rejection) bool { return r.Rescuable && r.RescuedAs == "" })
	return rejectionsPage(v), nil
}

// rejectionGroup is an issue of rejected requests.
type rejectionGroup struct {
	ID, Title, Source string
	Count             int64
	FirstAt, LastAt   time.Time
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
	r, err := q.store.Rejection(q.Context(), q.PathValue("id"))
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

// sendTo returns the configured URL of a source with the callback token and the query of a
// request. The request's own URL cannot be used: its sender chose the Host.
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

// advice says what to check after a rejection.
func advice(r *gaff.Rejection) string {
	switch r.Status {
	case http.StatusUnauthorized:
		return "Compare the secret here with the sender's, and both clocks if the sender signs a timestamp. While a sender rotates its secret, configure both, separated by a comma."
	case http.StatusNotFound:
		return "No source has this name. Correct the URL at the sender, or add the source to gaff.yaml."
	case http.StatusRequestEntityTooLarge:
		return "Raise max_body of the source in gaff.yaml if its webhooks are this large."
	case http.StatusBadRequest:
		return "The sender was verified, but its body does not have the format of this source."
	case http.StatusServiceUnavailable:
		return "The gateway could not store or verify the request at that moment. Most senders retry by themselves."
	}
	return ""
}
