package ui

import (
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
)

type auditView struct {
	Actor, Action, Target string
	// Since and Until are days in UTC, as a field of a form has them; empty if unbounded.
	Since, Until string
	Entries      []access.Entry
	Pager        pagerView
	Now          time.Time
}

// filtered reports whether the list has only a part of the log.
func (v auditView) filtered() bool { return v.Actor+v.Action+v.Target+v.Since+v.Until != "" }

func (c *console) audit(q *request) (templ.Component, error) {
	q.title, q.nav = "Audit log", "audit"
	v := auditView{Actor: q.query("actor"), Action: q.query("action"), Target: q.query("target"), Now: q.now}
	f := access.AuditFilter{Actor: v.Actor, Action: v.Action, Target: v.Target, Cursor: q.cursor()}
	var err error
	if f.Since, err = moment(q.query("since"), q.now); err != nil {
		return nil, err
	}
	if f.Until, err = moment(q.query("until"), q.now); err != nil {
		return nil, err
	}
	v.Since, v.Until = day(f.Since), day(f.Until)
	page, err := c.o.Guard.Audit(q.Context(), f)
	if err != nil {
		return nil, err
	}
	v.Entries, v.Pager = page.Items, pagerOf(q, page.Next)
	return auditPage(v), nil
}

// day returns the day of a time in UTC; empty for the zero time.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// targetLink returns the page of an audit entry's target; empty if it has none.
func targetLink(e *access.Entry) templ.SafeURL {
	if e.Target == "" {
		return ""
	}
	for _, kind := range [...]struct{ prefix, folder string }{
		{"evt_", "events"}, {"job_", "jobs"}, {"med_", "media"}, {"rej_", "rejections"}, {"run_", "runs"}, {"rpl_", "replays"}, {"sch_", "scheduled"}, {"blk_", "bulk"},
	} {
		if len(e.Target) > len(kind.prefix) && strings.HasPrefix(e.Target, kind.prefix) {
			return link(kind.folder, e.Target)
		}
	}
	switch {
	case strings.HasPrefix(e.Target, "dlv_"):
		return link("events", eventOf(e.Target))
	case strings.HasPrefix(e.Target, "apk_"), strings.HasPrefix(e.Target, "ses_"):
		return "/keys"
	case strings.HasPrefix(e.Action, "delete-"):
		return ""
	}
	for _, kind := range [...]struct{ word, folder string }{
		{"-destination", "destinations"}, {"-source", "sources"}, {"-workflow", "workflows"}, {"-issue", "issues"}, {"-project", "projects"},
	} {
		if strings.Contains(e.Action, kind.word) {
			return link(kind.folder, e.Target)
		}
	}
	return ""
}
