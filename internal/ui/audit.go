package ui

import (
	"strings"
	"time"

	"github.com/a-h/templ"

	"gaff/internal/access"
)

type auditView struct {
	Actor, Action, Target string
	Entries               []access.Entry
	Pager                 pagerView
	Now                   time.Time
}

func (c *console) audit(q *request) (templ.Component, error) {
	q.title, q.nav = "Audit log", "audit"
	v := auditView{Actor: q.query("actor"), Action: q.query("action"), Target: q.query("target"), Now: q.now}
	page, err := c.o.Guard.Audit(q.Context(), access.AuditFilter{Actor: v.Actor, Action: v.Action, Target: v.Target, Cursor: q.cursor()})
	if err != nil {
		return nil, err
	}
	v.Entries, v.Pager = page.Items, pagerOf(q, page.Next)
	return auditPage(v), nil
}

// targetLink returns the page of an audit entry's target; empty if it has none.
func targetLink(target string) templ.SafeURL {
	for _, kind := range [...]struct{ prefix, folder string }{
		{"evt_", "events"}, {"job_", "jobs"}, {"med_", "media"}, {"rej_", "rejections"}, {"run_", "runs"}, {"rpl_", "replays"},
	} {
		if len(target) > len(kind.prefix) && strings.HasPrefix(target, kind.prefix) {
			return link(kind.folder, target)
		}
	}
	return ""
}
