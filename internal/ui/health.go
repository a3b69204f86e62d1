package ui

import (
	"time"

	"github.com/a-h/templ"

	"gaff"
)

// healthView is the health of the node as the API describes it, and the queue's counters.
type healthView struct {
	Ready                                  bool
	Reason, Version, Go                    string
	UptimeSeconds, MemoryBytes, Goroutines int64
	DisabledSources                        map[string]string

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
	return healthPage(v), nil
}
