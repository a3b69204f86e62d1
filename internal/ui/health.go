package ui

import (
	"time"

	"github.com/a-h/templ"

	"gaff"
)

// healthView is the health of the node as the API describes it, and the queue's counters.
type healthView struct {
	Ready                                  bool
	Reason, Version, Commit, Go            string
	DatabaseBytes                          int64
	Disk                                   *struct{ FreeBytes, TotalBytes int64 }
	Failing                                []destination
	UptimeSeconds, MemoryBytes, Goroutines int64
	DisabledSources                        map[string]string `json:"quietSources"`

	Counts gaff.Counts
	Now    time.Time
}

func (c *console) health(q *request) (templ.Component, error) {
	q.title, q.nav = "Health", "health"
	v := healthView{Now: q.now}
	if err := c.ask(q, "/api/v1/health", &v); err != nil {
		return nil, err
	}
	var err error
	if v.Counts, err = c.counts.get(q.Context(), c.o.Store, q.now); err != nil && v.Ready {
		return nil, err
	}
	var list struct{ Docs []destination }
	if err := c.ask(q, "/api/v1/destinations", &list); err == nil { // without it the page is still useful
		for _, d := range list.Docs {
			if kind, _ := d.chip(); kind != "ok" || d.Health.Failures > 0 {
				v.Failing = append(v.Failing, d)
			}
		}
	}
	return healthPage(v), nil
}
