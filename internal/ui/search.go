package ui

import (
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"
)

type hit struct {
	Kind, ID, Title, About string
	At                     time.Time
}

// page returns the address of the page of a hit.
func (h hit) page() templ.SafeURL {
	switch h.Kind {
	case "delivery":
		return link("events", h.About)
	case "media":
		return link("media", h.ID)
	}
	return link(h.Kind+"s", h.ID)
}

type searchView struct {
	Text  string
	Hits  []hit
	Pager pagerView
	Now   time.Time
}

// search shows what a text names.
func (c *console) search(q *request) (templ.Component, error) {
	q.title, q.nav = "Search", "search"
	v := searchView{Text: strings.TrimSpace(q.query("q")), Now: q.now}
	if v.Text == "" {
		return searchPage(v), nil
	}
	var list struct {
		Docs       []hit
		NextCursor *string
	}
	address := "/api/v1/search?limit=20&q=" + url.QueryEscape(v.Text)
	if cursor := q.query("cursor"); cursor != "" {
		address += "&cursor=" + url.QueryEscape(cursor)
	}
	if err := c.ask(q, address, &list); err != nil {
		return nil, err
	}
	v.Hits = list.Docs
	if list.NextCursor != nil {
		v.Pager = pagerOf(q, *list.NextCursor)
	}
	return searchPage(v), nil
}
