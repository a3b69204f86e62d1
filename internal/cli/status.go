package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// statusParts are the lists of the API of which "gaff status" is made.
var statusParts = []struct {
	name, path string
	query      url.Values
}{
	{"health", "/api/v1/health", nil},
	{"stats", "/api/v1/stats", url.Values{"since": {"24h"}}},
	{"jobs", "/api/v1/stats/jobs", nil},
	{"silence", "/api/v1/stats/silence", nil},
	{"issues", "/api/v1/issues", url.Values{"state": {"open"}, "limit": {"5"}}},
	{"destinations", "/api/v1/destinations", nil},
}

func (p *program) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show on one screen whether all is well: queue, failures, silent sources, destinations",
		Long: `Show whether the gateway is ready, the queue of deliveries, the open issues, the sources that are
silent or reject everything, and the destinations that do not get their events. The exit code is 1
if the gateway cannot store webhooks.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, healthTime)
			defer cancel()
			raw := map[string]json.RawMessage{}
			for _, part := range statusParts {
				if raw[part.name], err = c.call(ctx, http.MethodGet, part.path, part.query, nil); err != nil {
					return err
				}
			}
			s, err := readStatus(raw)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(p.Stdout, raw)
			} else {
				err = p.printStatus(c, s)
			}
			if err == nil && !s.health.Ready {
				err = errReported
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {health, stats, jobs, silence, issues, destinations}, the documents of the API")
	p.clientFlags(cmd)
	return cmd
}

// gatewayStatus has the documents of statusParts.
type gatewayStatus struct {
	health       wire.Health
	stats        wire.Stats
	jobs         wire.JobStats
	silence      wire.List[wire.Silence]
	issues       wire.List[wire.Issue]
	destinations wire.List[wire.NewSecretDestination]
}

func readStatus(raw map[string]json.RawMessage) (*gatewayStatus, error) {
	var s gatewayStatus
	var errs []error
	for name, to := range map[string]any{
		"health": &s.health, "stats": &s.stats, "jobs": &s.jobs, "silence": &s.silence, "issues": &s.issues, "destinations": &s.destinations,
	} {
		errs = append(errs, json.Unmarshal(raw[name], to))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	return &s, nil
}

func (p *program) printStatus(c *client, s *gatewayStatus) error {
	t := newTable(p.Stdout)
	ready := "ready"
	if !s.health.Ready {
		ready = "NOT READY: " + clean(s.health.Reason)
	}
	t.row("gateway", fmt.Sprintf("%s at %s, up %s, version %s", ready, clean(c.base), time.Duration(s.health.UptimeSeconds)*time.Second, clean(s.health.Version)))
	q := s.stats.Deliveries
	queue := fmt.Sprintf("%s due, %d scheduled for later", counted(int(q.Due), "delivery"), q.Waiting-q.Due)
	if !q.OldestDue.IsZero() {
		queue += ", the oldest " + ago(p.now(), q.OldestDue.Time)
	}
	t.row("queue", queue)
	if q.Dead > 0 {
		t.row("dead", counted(int(q.Dead), "delivery")+`; "gaff deliveries list --state dead"`)
	}
	var pending, failed int64
	for _, one := range s.stats.Sources {
		pending, failed = pending+one.Pending, failed+one.Error
	}
	t.row("last 24 h", fmt.Sprintf("%d events pending, %d in error", pending, failed))
	if s.jobs.Jobs > 0 {
		t.row("jobs, 24 h", jobTally(s.jobs.JobTally))
	}
	for i, issue := range s.issues.Docs {
		name := ""
		if i == 0 {
			name = "issues"
		}
		t.row(name, fmt.Sprintf("%s, %s, %s", cut(issue.Title, 80), strconv.FormatInt(issue.Count, 10)+"×", ago(p.now(), issue.LastAt.Time)))
	}
	if s.issues.NextCursor != "" {
		t.row("", `more: "gaff issues list --state open"`)
	}
	for _, one := range s.silence.Docs {
		t.row("silent", fmt.Sprintf("%s has sent nothing for %s", clean(one.Source), time.Duration(one.ForSeconds)*time.Second))
	}
	for _, name := range slices.Sorted(maps.Keys(s.health.QuietSources)) {
		t.row("quiet", clean(name)+" rejects every request: "+clean(s.health.QuietSources[name]))
	}
	for _, d := range s.destinations.Docs {
		if state := destinationState(&d); state != "active" || d.Backlog.Dead > 0 {
			t.row("destination", fmt.Sprintf("%s is %s, %d waiting, %d dead", clean(d.Name), state, d.Backlog.Waiting, d.Backlog.Dead))
		}
	}
	return t.flush()
}

// jobTally describes counts of jobs in one line.
func jobTally(j wire.JobTally) string {
	text := fmt.Sprintf("%d submitted, %d completed, %d failed, %d unfinished", j.Jobs, j.ByStatus["completed"], j.ByStatus["failed"], j.ByStatus["queued"]+j.ByStatus["processing"])
	if j.P50Millis != nil && j.P95Millis != nil {
		text += "; time to result p50 " + duration(float64(*j.P50Millis)) + ", p95 " + duration(float64(*j.P95Millis))
	}
	return text
}
