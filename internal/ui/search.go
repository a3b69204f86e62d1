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
	Text string
	Hits []hit
	// Commands are for the user's role; without a text they are suggestions.
	Commands []shortcut
	Pager    pagerView
	Now      time.Time
}

// search shows what a text names.
func (c *console) search(q *request) (templ.Component, error) {
	q.title, q.nav = "Search", "search"
	v := searchView{Text: strings.TrimSpace(q.query("q")), Now: q.now}
	o := orderOf(v.Text)
	if v.Text == "" {
		v.Commands = c.commandsFor(q, "", o, nil)
		return searchPage(v), nil
	}
	var list struct {
		Docs       []hit
		NextCursor *string
	}
	text := o.name
	if text == "" {
		text = v.Text
	}
	address := "/api/v1/search?limit=20&q=" + url.QueryEscape(text)
	if cursor := q.query("cursor"); cursor != "" {
		address += "&cursor=" + url.QueryEscape(cursor)
	}
	if err := c.ask(q, address, &list); err != nil {
		return nil, err
	}
	v.Hits = list.Docs
	if q.query("cursor") == "" {
		v.Commands = c.commandsFor(q, v.Text, o, v.Hits)
	}
	if list.NextCursor != nil {
		v.Pager = pagerOf(q, *list.NextCursor)
	}
	return searchPage(v), nil
}
