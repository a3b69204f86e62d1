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
