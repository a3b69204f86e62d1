package ui

import (
	"strconv"
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
	Handlers                               []handlerHealth
	UptimeSeconds, MemoryBytes, Goroutines int64
	DisabledSources                        map[string]string `json:"quietSources"`

	Limits []limitUse
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
			for i := range v.Handlers {
				if h := &v.Handlers[i]; h.Handler == d.Name {
					h.destination = true
					h.timeout, _ = time.ParseDuration(d.Timeout)
				}
			}
			if kind, _ := d.chip(); kind != "ok" || d.Health.Failures > 0 {
				v.Failing = append(v.Failing, d)
			}
		}
	}
	var limits struct{ Docs []limitUse }
	if err := c.ask(q, "/api/v1/limits", &limits); err == nil {
		v.Limits = limits.Docs[:min(len(limits.Docs), maxLimits)]
	}
	return healthPage(v), nil
}

// maxLimits is how many limits the page has; the fullest of each scope come first.
const maxLimits = 100

// limitUse is the use of a limit, as the API describes it.
type limitUse struct {
	Scope, Name                    string
	Concurrency, UnderWay, Waiting int
	Rate                           float64
	Full                           bool
}

// jobs returns the URL of its unfinished jobs.
func (l limitUse) jobs() templ.SafeURL {
	parameter := map[string]string{"provider": "provider", "model": "model", "project": "projectId", "user": "userId"}[l.Scope]
	return filtered("/jobs", "status", "unfinished", parameter, l.Name)
}

func (l limitUse) concurrency() string {
	if l.Concurrency == 0 {
		return "–"
	}
	return number(l.Concurrency)
}

func (l limitUse) rate() string {
	if l.Rate == 0 {
		return "–"
	}
	return strconv.FormatFloat(l.Rate, 'g', -1, 64)
}

// handlerHealth is the queue and the last hour of a handler, as the API describes it.
type handlerHealth struct {
	Handler                         string
	Pending, Due, Succeeded, Failed int64
	OldestDue                       time.Time
	Took                            *struct{ P50Ms, P95Ms float64 }

	// destination is set if it is one; timeout is then its timeout.
	destination bool
	timeout     time.Duration
}

// slow reports whether a destination needs more than half of its timeout for one in twenty attempts.
func (h handlerHealth) slow() bool {
	return h.Took != nil && h.timeout > 0 && milliseconds(h.Took.P95Ms) > h.timeout/2
}

// rate returns its success rate in the last hour.
func (h handlerHealth) rate() string {
	if h.Succeeded+h.Failed == 0 {
		return "–"
	}
	return percent(float64(h.Succeeded) / float64(h.Succeeded+h.Failed))
}

// p95 returns the run time that one in twenty of its attempts exceeded.
func (h handlerHealth) p95() string {
	if h.Took == nil {
		return "–"
	}
	return span(milliseconds(h.Took.P95Ms))
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
