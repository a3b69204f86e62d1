package ui

import (
	"net/url"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/access"
	"gaff/jobs"
)

// What buttons warn of before they act: the pages and the search show the same texts.
const (
	warnCancelJob        = "gaff also asks the provider to stop. This cannot be undone, and you may still be charged for work already done."
	warnCancelRun        = "Its jobs are cancelled at the provider, too. This cannot be undone, and you may be charged for work already done."
	warnCancelDelivery   = "The delivery is not attempted until you retry it."
	warnReplay           = "All handlers and destinations of the event get it again, those too that have succeeded."
	warnRunStep          = "The step is run again, and every step after it. Its jobs are paid for again."
	warnRetryRun         = "The failed steps are run again. Their jobs are paid for again."
	warnReject           = "The run continues as if the step had failed. This cannot be undone."
	warnApproveJob       = "The job is submitted, and the provider charges for it."
	warnRejectJob        = "The job fails without being submitted. This cannot be undone."
	warnPauseSource      = "Senders are answered 503 until you resume. Most of them send again later, but not forever."
	warnPauseDestination = "Deliveries stay pending until you resume."
	warnEndSession       = "The user of this session has to log in again."
)

// shortcut is an entry of the search that does something: a page to open, or a form to post. With a
// warning it is confirmed first.
type shortcut struct {
	Name, About, Page     string
	Post, Button, Warning string
}

// maxCommands is how many commands a search shows.
const maxCommands = 12

// order is what a text asks for: the verb of a command, the kind of thing after it, and its id or
// name, each of them optional: "cancel job 7", "pause crm".
type order struct{ verb, kind, name string }

var (
	orderVerbs = []string{"go to", "open", "retry", "replay", "cancel", "poll", "run", "start", "approve", "reject", "pause", "resume", "test", "rescue"}
	orderKinds = []string{"event", "delivery", "rejection", "job", "run", "source", "destination", "workflow"}
)

func orderOf(text string) order {
	o := order{name: text}
	for _, verb := range orderVerbs {
		if rest, ok := cutWord(text, verb); ok {
			o.verb, o.name = verb, rest
			break
		}
	}
	for _, kind := range orderKinds {
		if rest, ok := cutWord(o.name, kind); ok && o.verb != "" {
			o.kind, o.name = kind, rest
			break
		}
	}
	return o
}

// commands are the commands of one search, for the user's role.
type commands struct {
	q *request
	order
	list []shortcut
}

// cutWord removes a word from the start of a text, in any case.
func cutWord(text, word string) (rest string, found bool) {
	if len(text) < len(word) || !strings.EqualFold(text[:len(word)], word) || len(text) > len(word) && text[len(word)] != ' ' {
		return text, false
	}
	return strings.TrimSpace(text[len(word):]), true
}

// add adds a command if the user has the role, and its name begins with the verb.
func (cs *commands) add(role access.Role, c shortcut) {
	if !cs.q.may(role) || len(cs.list) >= maxCommands || !strings.HasPrefix(strings.ToLower(c.Name), cs.verb) {
		return
	}
	if c.Button == "" {
		c.Button = c.Name
	}
	if !slices.Contains(cs.list, c) {
		cs.list = append(cs.list, c)
	}
}

// tasks are pages that do something, by the role that they need.
var tasks = []struct {
	role access.Role
	shortcut
	words string
}{
	{access.Operator, shortcut{Name: "Retry failed events", About: "choose which", Page: "/bulk?action=retry"}, "bulk"},
	{access.Operator, shortcut{Name: "Replay events", About: "to one destination or a URL", Page: "/replays"}, "resend"},
	{access.Operator, shortcut{Name: "Retry dead deliveries", Page: "/deliveries?state=dead"}, "dead letters"},
	{access.Viewer, shortcut{Name: "Failed events", Page: "/events?status=error&inner=true"}, "errors"},
	{access.Viewer, shortcut{Name: "Late jobs", Page: "/jobs?late=true"}, "overdue slow"},
	{access.Viewer, shortcut{Name: "Failed jobs", Page: "/jobs?status=failed"}, "errors"},
	{access.Viewer, shortcut{Name: "Runs that wait for approval", Page: "/runs?waiting=true"}, "approve decisions"},
	{access.Admin, shortcut{Name: "Add a source", Page: "/new-source"}, "create new sender preset"},
	{access.Admin, shortcut{Name: "Add a destination", Page: "/new-destination"}, "create new endpoint"},
	{access.Admin, shortcut{Name: "Create an API key", Page: "/keys"}, "new token"},
	{access.Viewer, shortcut{Name: "API reference", Page: "/api/reference"}, "documentation openapi"},
}

// commandsFor returns the commands that a text names, by way of the things that it found. Without a
// text they are suggestions.
func (c *console) commandsFor(q *request, text string, o order, hits []hit) []shortcut {
	cs := &commands{q: q, order: o}
	few := o.verb != "" || len(hits) <= 3
	for i, h := range hits {
		if i < 5 && (few || strings.EqualFold(h.ID, o.name)) && (o.kind == "" || o.kind == h.Kind) {
			c.commandsOf(cs, h)
		}
	}
	c.commandsByName(cs)
	cs.verb = "" // the rest is matched by its words
	for _, t := range tasks {
		if text == "" || matches(t.Name+" "+t.words, text) || o.verb == "open" && matches(t.Name, o.name) {
			cs.add(t.role, t.shortcut)
		}
	}
	if o.verb == "" || o.verb == "go to" || o.verb == "open" {
		for _, g := range c.navigationOf(q.who) {
			for _, e := range g.Entries {
				if matches(e.Name, strings.TrimSpace(o.kind+" "+o.name)) {
					cs.add(access.Viewer, shortcut{Name: "Go to " + e.Name, Page: e.Path})
				}
			}
		}
	}
	return cs.list
}

// matches reports whether a text has the beginnings of all words.
func matches(text, words string) bool {
	in := strings.Fields(strings.ToLower(text))
	for word := range strings.FieldsSeq(strings.ToLower(words)) {
		if !slices.ContainsFunc(in, func(w string) bool { return strings.HasPrefix(w, word) }) {
			return false
		}
	}
	return words != ""
}

// commandsByName adds the commands for sources, destinations and workflows with a name like that of
// the order. They are few, so a part of the name is enough, or none of it.
func (c *console) commandsByName(cs *commands) {
	like := func(kind, name string) bool {
		return (cs.kind == "" || cs.kind == kind) && (cs.name == "" || strings.Contains(strings.ToLower(kind+" "+name), strings.ToLower(cs.name)))
	}
	switch cs.verb {
	case "pause", "resume", "test":
		for _, s := range c.o.Sources() {
			if like("source", s.Name) {
				c.commandsOf(cs, hit{Kind: "source", ID: s.Name})
			}
		}
		var list struct{ Docs []destination }
		if err := c.ask(cs.q, "/api/v1/destinations", &list); err != nil {
			return // the destinations are missing from the list; their page says why
		}
		for _, d := range list.Docs {
			if like("destination", d.Name) {
				cs.ofDestination(d)
			}
		}
	case "start", "run":
		if c.o.Workflows == nil {
			return
		}
		for _, w := range c.o.Workflows.Workflows() {
			if like("workflow", w.Name) {
				c.commandsOf(cs, hit{Kind: "workflow", ID: w.Name})
			}
		}
	}
}

// commandsOf adds the commands for one thing, by its state.
func (c *console) commandsOf(cs *commands, h hit) {
	id, ctx := url.PathEscape(h.ID), cs.q.Context()
	switch h.Kind {
	case "event":
		if d, err := cs.q.store.Event(ctx, h.ID); err == nil && d.Status == gaff.StatusError {
			cs.add(access.Operator, shortcut{Name: "Retry event " + h.ID, About: "its failed deliveries", Post: "/events/" + id + "/retry", Button: "Retry"})
		}
		cs.add(access.Operator, shortcut{Name: "Replay event " + h.ID, Post: "/events/" + id + "/replay", Button: "Replay", Warning: warnReplay})
	case "delivery":
		if d, _, err := cs.q.store.Delivery(ctx, h.ID); err == nil && d.State == gaff.StateDead {
			cs.add(access.Operator, shortcut{Name: "Retry delivery " + h.ID, Post: "/deliveries/" + id + "/retry", Button: "Retry"})
		} else if err == nil && !d.State.Done() {
			cs.add(access.Operator, shortcut{Name: "Cancel delivery " + h.ID, Post: "/deliveries/" + id + "/cancel", Button: "Cancel delivery", Warning: warnCancelDelivery})
		}
	case "rejection":
		cs.add(access.Operator, shortcut{Name: "Rescue " + h.ID, About: "verify it again", Post: "/rejections/" + id + "/rescue", Button: "Rescue"})
	case "job":
		cs.ofJob(h)
	case "run":
		if r, err := cs.q.store.Run(ctx, h.ID); err == nil && !r.Status.Settled() {
			cs.add(access.Operator, shortcut{Name: "Approve a step of run " + h.ID, About: "look at it first", Page: "/runs/" + id})
			cs.add(access.Operator, shortcut{Name: "Cancel run " + h.ID, About: r.Workflow, Post: "/runs/" + id + "/cancel", Button: "Cancel run", Warning: warnCancelRun})
		}
	case "source":
		for _, s := range c.o.Sources() {
			if s.Name == h.ID && s.Paused == "" {
				cs.add(access.Operator, shortcut{Name: "Pause source " + h.ID, Post: "/sources/" + id + "/pause", Button: "Pause", Warning: warnPauseSource})
			} else if s.Name == h.ID {
				cs.add(access.Operator, shortcut{Name: "Resume source " + h.ID, About: s.Paused, Post: "/sources/" + id + "/resume", Button: "Resume"})
			}
		}
		cs.add(access.Operator, shortcut{Name: "Test source " + h.ID, About: "choose a sample", Page: "/sources/" + id})
	case "destination":
		var d destination
		if err := c.ask(cs.q, "/api/v1/destinations/"+id, &d); err == nil {
			cs.ofDestination(d)
		}
	case "workflow":
		cs.add(access.Operator, shortcut{Name: "Start workflow " + h.ID, About: "enter its inputs", Page: "/workflows/" + id})
		cs.add(access.Operator, shortcut{Name: "Run workflow " + h.ID, About: "enter its inputs", Page: "/workflows/" + id})
	}
}

func (cs *commands) ofDestination(d destination) {
	path := "/destinations/" + url.PathEscape(d.Name)
	if d.Health.State == "active" {
		cs.add(access.Operator, shortcut{Name: "Pause destination " + d.Name, Post: path + "/pause", Button: "Pause", Warning: warnPauseDestination})
	}
	if d.Health.State != "active" || d.Health.Circuit != "closed" {
		cs.add(access.Operator, shortcut{Name: "Resume destination " + d.Name, About: d.Health.Reason, Post: path + "/resume", Button: "Resume"})
	}
	if d.Kind != "pull" && d.Kind != "archive" {
		cs.add(access.Operator, shortcut{Name: "Test destination " + d.Name, About: "send a test event", Post: path + "/test", Button: "Test"})
	}
}

func (cs *commands) ofJob(h hit) {
	j, err := cs.q.store.Job(cs.q.Context(), h.ID)
	if err != nil {
		return
	}
	path := "/jobs/" + pathOf(h.ID)
	switch {
	case j.Submit == jobs.SubmitHeld && !j.Status.Settled():
		cs.add(access.Admin, shortcut{Name: "Approve job " + h.ID, About: j.Model, Post: path + "/approve", Button: "Approve", Warning: warnApproveJob})
		cs.add(access.Admin, shortcut{Name: "Reject job " + h.ID, About: j.Model, Post: path + "/reject", Button: "Reject", Warning: warnRejectJob})
	case j.Status.Settled():
		cs.add(access.Operator, shortcut{Name: "Run job " + h.ID + " again", About: "it is paid for again", Page: path + "/again"})
		cs.add(access.Operator, shortcut{Name: "Retry job " + h.ID, About: "it is paid for again", Page: path + "/again"})
	default:
		cs.add(access.Operator, shortcut{Name: "Poll job " + h.ID, About: j.Model, Post: path + "/ask", Button: "Poll provider now"})
		cs.add(access.Operator, shortcut{Name: "Cancel job " + h.ID, About: j.Model, Post: path + "/cancel", Button: "Cancel job", Warning: warnCancelJob})
	}
}
