package ui

import (
	"strconv"
	"sync"
	"time"

	"gaff/internal/sorting"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// generations is what the overview shows of jobs. All but Late and Unfinished is of the jobs that
// were created in the last 24 hours.
type generations struct {
	jobs.Summary
	// Open counts all unfinished jobs, Late those whose expected end has passed, of the newest
	// maxLate unfinished ones.
	Open, Late int64
	Today      []jobs.CostSum
	Month      []jobs.CostSum
	Budgets    []budgetRow
	Approvals  []approval
	// Waiting counts the runs that wait for an approval.
	Waiting int
	Now     time.Time
}

// generationsSpan is the period of the figures, as the filter "since" has it.
const generationsSpan = "24h"

func (g generations) any() bool { return g.Jobs+g.Open > 0 || len(g.Budgets)+len(g.Month) > 0 }

// rate returns a success rate in percent, or "–".
func rate(t jobs.Tally) string {
	part, ok := t.Success()
	if !ok {
		return "–"
	}
	if part == 1 {
		return "100 %"
	}
	return strconv.FormatFloat(min(part*100, 99.9), 'f', 1, 64) + " %"
}

// times returns p50 and p95 of the time to result.
func times(t jobs.Tally) (half, most string) {
	if t.Timed == 0 {
		return "–", "–"
	}
	return span(t.P50), span(t.P95)
}

// approval is a step of a run that waits for a person.
type approval struct {
	Run runs.Run
	wanted
}

// shownApprovals bounds the approvals on the overview, and maxApprovalRuns the runs that are read
// for them.
const shownApprovals, maxApprovalRuns = 6, 4

// generationsCache caches the figures about jobs for some seconds: a live page redraws them at every
// change.
type generationsCache struct {
	mu    sync.Mutex
	at    time.Time
	known generations
}

const generationsFor = 3 * time.Second

// mostModels bounds the rows by model and by error.
const mostModels = 8

// generations reads what the overview shows of jobs.
func (c *console) generations(q *request) (generations, error) {
	g, err := c.recentJobs(q)
	if err != nil {
		return g, err
	}
	g.Now = q.now
	g.Approvals, g.Waiting, err = c.approvals(q)
	return g, err
}

func (c *console) recentJobs(q *request) (g generations, err error) {
	c.recent.mu.Lock()
	defer c.recent.mu.Unlock()
	if age := q.now.Sub(c.recent.at); age >= 0 && age < generationsFor {
		return c.recent.known, nil
	}
	since, err := moment(generationsSpan, q.now)
	if err != nil {
		return g, err
	}
	outcomes, err := c.o.Store.Outcomes(q.Context(), since)
	if err != nil {
		return g, err
	}
	g.Summary = jobs.Summarize(outcomes, mostModels)
	counts, err := c.o.Store.JobCounts(q.Context(), "")
	if err != nil {
		return g, err
	}
	if g.Open = counts[jobs.JobQueued] + counts[jobs.JobProcessing]; g.Open > 0 {
		late, err := c.lateJobs(q, jobs.JobFilter{})
		if err != nil {
			return g, err
		}
		g.Late = int64(len(late))
	}
	for _, sums := range []struct {
		period string
		to     *[]jobs.CostSum
	}{{"day", &g.Today}, {"month", &g.Month}} {
		b := jobs.Budget{Period: sums.period}
		found, err := c.o.Store.Costs(q.Context(), jobs.CostFilter{Since: b.Since(q.now)})
		if err != nil {
			return g, err
		}
		*sums.to = found.Sums
	}
	if g.Budgets, err = c.budgets(q); err != nil {
		return g, err
	}
	sorting.By(g.Budgets, func(a, b budgetRow) int { return int(b.share() - a.share()) })
	c.recent.at, c.recent.known = q.now, g
	return g, nil
}

// approvals returns the approvals that have waited longest, and how many runs wait.
func (c *console) approvals(q *request) (all []approval, waiting int, err error) {
	ids, err := c.waitingRuns(q)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids[:min(len(ids), maxApprovalRuns)] {
		r, err := q.store.Run(q.Context(), id)
		if err != nil {
			return nil, 0, err
		}
		steps, err := c.runSteps(q, r)
		if err != nil {
			return nil, 0, err
		}
		media, err := c.stepFiles(q, r, steps)
		if err != nil {
			return nil, 0, err
		}
		wanted, err := c.wantedOf(q, r, steps, media)
		if err != nil {
			return nil, 0, err
		}
		for _, w := range wanted {
			if len(all) < shownApprovals {
				w.Media = w.Media[:min(len(w.Media), shownApprovals)]
				all = append(all, approval{*r, w})
			}
		}
	}
	return all, len(ids), nil
}

// spent describes sums of several currencies.
func spent(sums []jobs.CostSum) string {
	text := ""
	for _, s := range sums {
		if text != "" {
			text += " + "
		}
		text += s.Charged.String() + " " + visible(clip(s.Currency, 12))
	}
	if text == "" {
		return "–"
	}
	return text
}

// errorLink has the filters of the failed jobs of an error type in the period of the overview.
func errorLink(e jobs.ErrorSummary) []string {
	return []string{"status", "failed", "errorType", e.Type, "since", generationsSpan}
}
