package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"gaff/internal/wire"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) rejectionsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Rejection]{
		use: "list", short: "List refused requests, newest first", path: "/api/v1/rejections",
		heads: []string{"ID", "ANSWER", "SOURCE", "RECEIVED", "FROM", "KEPT", "REASON"},
		query: &wire.RejectionQuery{},
		cells: func(r wire.Rejection) []string {
			return []string{
				clean(r.ID), strconv.Itoa(r.Status), cut(orDash(r.Source), 40), stamp(r.ReceivedAt), clean(r.RemoteAddr), stored(r), cut(r.Reason, 100),
			}
		},
	})
	show := showCommand(p, showing[wire.Rejection]{
		use: "show ID", short: "Show a refused request: why, and as it came", path: "/api/v1/rejections", others: "gaff rejections list",
		print: func(_ context.Context, _ *client, r *wire.Rejection) error {
			t := newTable(p.Stdout)
			t.row("id", clean(r.ID))
			t.row("answer", strconv.Itoa(r.Status))
			t.row("reason", clean(r.Reason))
			t.row("source", clean(orDash(r.Source)))
			t.row("received", stamp(r.ReceivedAt))
			t.row("from", clean(r.RemoteAddr))
			t.row("stored", stored(*r))
			if err := t.flush(); err != nil {
				return err
			}
			return p.showRequest(captured(&wire.Request{Method: r.Method, URL: r.URL, RemoteAddr: r.RemoteAddr, Headers: r.Headers, Body: r.Body}))
		},
	})
	return group("rejections", "The requests that were refused, and why (gaff events rescue)", list, show)
}

// kept says whether it can still be rescued.
func stored(r wire.Rejection) string {
	switch {
	case r.RescuedAs != "":
		return "rescued as " + clean(r.RescuedAs)
	case r.Rescuable:
		return "whole"
	}
	return "in part"
}

func (p *program) deliveriesCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Delivery]{
		use: "list", short: "List deliveries, newest event first", path: "/api/v1/deliveries",
		heads: []string{"ID", "HANDLER", "STATE", "ATTEMPTS", "NEXT", "ERROR"},
		query: &wire.DeliveryQuery{},
		cells: func(d wire.Delivery) []string {
			next := d.RunAt
			if !d.FinishedAt.IsZero() {
				next = wire.Time{}
			}
			return []string{clean(d.ID), cut(d.Handler, 40), clean(d.State), fmt.Sprintf("%d of %d", d.Attempts, d.MaxAttempts), stamp(next), cut(d.Error, 100)}
		},
	})
	const others = "gaff deliveries list"
	show := showCommand(p, showing[wire.Delivery]{
		use: "show ID", short: "Show a delivery with its attempts", path: "/api/v1/deliveries", others: others,
		print: func(_ context.Context, _ *client, d *wire.Delivery) error {
			return p.showDelivery(d)
		},
	})
	return group("deliveries", "What handlers and destinations are given: look, retry, cancel", list, show,
		p.actCommand(acting{
			use: "retry ID", short: "Retry a dead or canceled delivery", method: http.MethodPost, path: "/api/v1/deliveries/{id}/retry",
			done: "retried", others: others,
		}),
		p.actCommand(acting{
			use: "cancel ID", short: "Cancel a delivery that is not done", method: http.MethodPost, path: "/api/v1/deliveries/{id}/cancel",
			done: "canceled", others: others,
		}))
}

func (p *program) sessionsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Session]{
		use: "list", short: "List the browsers that are logged in to the console", path: "/api/v1/sessions",
		heads: []string{"ID", "NAME", "ROLE", "FROM", "SINCE", "LAST USED", "BROWSER"},
		cells: func(s wire.Session) []string {
			return []string{clean(s.ID), cut(s.Name, 40), clean(s.Role), clean(s.Address), stamp(s.CreatedAt), stamp(s.LastUsedAt), cut(s.Agent, 60)}
		},
	})
	return group("sessions", "The browsers that are logged in to the console", list, p.actCommand(acting{
		use: "end ID", short: "Log a browser out", method: http.MethodDelete, path: "/api/v1/sessions/{id}", done: "logged out", others: "gaff sessions list",
	}))
}

func (p *program) settingsCommand() *cobra.Command {
	return listCommand(p, listing[wire.Setting]{
		use: "settings", short: "List the settings in force of a running gateway; secrets are masked", path: "/api/v1/settings", whole: true,
		heads: []string{"NAME", "VALUE", "FROM"},
		cells: func(s wire.Setting) []string {
			return []string{clean(s.Name), cut(orDash(s.Value), 100), clean(s.Origin)}
		},
	})
}

// healthTime is how long a gateway may take to say how it is: it does so within two seconds.
const healthTime = 5 * time.Second

func (p *program) healthCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Tell how a running gateway is; exit code 1 if it cannot keep webhooks",
		Args:  arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(ctx, healthTime, fmt.Errorf("no answer within %s", healthTime))
			defer cancel()
			raw, err := c.call(ctx, http.MethodGet, "/api/v1/health", nil, nil)
			if err != nil {
				return err
			}
			var h wire.Health
			if err := json.Unmarshal(raw, &h); err != nil {
				return fmt.Errorf("read the health: %w", err)
			}
			if asJSON {
				err = writeRawJSON(p.Stdout, raw)
			} else {
				t := newTable(p.Stdout)
				t.row("ready", strconv.FormatBool(h.Ready))
				t.pair("reason", clean(h.Reason))
				for _, name := range slices.Sorted(maps.Keys(h.QuietSources)) {
					t.row("quiet", clean(name)+": "+clean(h.QuietSources[name]))
				}
				t.row("version", clean(h.Version))
				t.row("up", (time.Duration(h.UptimeSeconds) * time.Second).String())
				t.row("memory", fmt.Sprintf("%.1f MB", float64(h.MemoryBytes)/1e6))
				t.row("goroutines", strconv.Itoa(h.Goroutines))
				t.row("go", clean(h.Go))
				err = t.flush()
			}
			if err == nil && !h.Ready {
				return errReported
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) statsCommand() *cobra.Command {
	var span, source string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Tell what came, what failed and how long it took, and what waits",
		Long: `Tell what came, what failed and how long it took in the time that --range names, in numbers
and drawn over time; what waits now; and which sources have been silent for longer than usual.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw := map[string]json.RawMessage{}
			for _, ask := range [...]struct {
				name, path string
				query      url.Values
			}{
				{"series", "/api/v1/stats/series", given("range", span, "source", source)}, {"now", "/api/v1/stats", nil}, {"silent", "/api/v1/stats/silence", nil},
			} {
				if raw[ask.name], err = c.call(ctx, http.MethodGet, ask.path, ask.query, nil); err != nil {
					return err
				}
			}
			if asJSON {
				return writeJSON(p.Stdout, raw)
			}
			return p.showStats(span, raw["series"], raw["now"], raw["silent"])
		}),
	}
	cmd.Flags().StringVar(&span, "range", "24h", "how long until now: 1h, 6h, 24h, 7d or 30d")
	cmd.Flags().StringVar(&source, "source", "", "only of this source")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {series, now, silent}, as the API has them")
	p.clientFlags(cmd)
	return cmd
}

// duration writes milliseconds in the unit that suits them, never as a power of ten.
func duration(ms float64) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', max(3-len(strconv.Itoa(int(v))), 0), 64) }
	switch {
	case ms < 1000:
		return number(ms) + " ms"
	case ms < 60_000:
		return number(ms/1000) + " s"
	}
	return (time.Duration(ms/1000) * time.Second).String()
}

func (p *program) showStats(span string, series, now, silent json.RawMessage) error {
	var s wire.Series
	var n wire.Stats
	var quiet wire.List[wire.Silence]
	if err := errors.Join(json.Unmarshal(series, &s), json.Unmarshal(now, &n), json.Unmarshal(silent, &quiet)); err != nil {
		return fmt.Errorf("read the statistics: %w", err)
	}
	group := max((len(s.Points)+drawnSigns-1)/drawnSigns, 1)
	each := time.Duration(group*s.StepSeconds) * time.Second
	t := newTable(p.Stdout, "LAST "+strings.ToUpper(span), "", "A SIGN FOR EACH "+strings.TrimSuffix(each.String(), "0s"))
	count := func(name string, total int64, of func(wire.Totals) int64) {
		var heights []int64
		for points := range slices.Chunk(s.Points, group) {
			var sum int64
			for _, point := range points {
				sum += of(point.Totals)
			}
			heights = append(heights, sum)
		}
		t.row(clean(name), strconv.FormatInt(total, 10), drawn(heights))
	}
	for _, source := range s.Sources {
		count("received from "+source, s.Total.Received[source], func(m wire.Totals) int64 { return m.Received[source] })
	}
	count("rejected", s.Total.Rejected, func(m wire.Totals) int64 { return m.Rejected })
	count("attempts that succeeded", s.Total.Succeeded, func(m wire.Totals) int64 { return m.Succeeded })
	count("attempts that failed", s.Total.Failed, func(m wire.Totals) int64 { return m.Failed })
	for _, times := range []struct {
		name string
		of   *wire.Percentiles
	}{{"response time", s.Total.Reply}, {"processing latency", s.Total.Done}} {
		if times.of != nil {
			t.row(times.name, fmt.Sprintf("p50 %s, p95 %s, p99 %s", duration(times.of.P50Ms), duration(times.of.P95Ms), duration(times.of.P99Ms)))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	// What is due later is no backlog: a retry's wait, or a timer of a workflow.
	fmt.Fprintf(p.Stdout, "\nNow: %d deliveries due, %d scheduled for later, %d dead", n.Deliveries.Due, n.Deliveries.Waiting-n.Deliveries.Due, n.Deliveries.Dead)
	if !n.Deliveries.OldestDue.IsZero() {
		fmt.Fprintf(p.Stdout, "; the oldest has been due since %s", stamp(n.Deliveries.OldestDue))
	}
	fmt.Fprintln(p.Stdout, ".")
	t = newTable(p.Stdout, "SOURCE", "PENDING", "ERROR", "LAST RECEIVED")
	for _, one := range n.Sources {
		t.row(clean(orDash(one.Source)), strconv.FormatInt(one.Pending, 10), strconv.FormatInt(one.Error, 10), stamp(one.LastReceivedAt))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, q := range quiet.Docs {
		fmt.Fprintf(p.Stdout, "%s has sent nothing for %s; its longest pause was %s.\n",
			clean(q.Source), time.Duration(q.ForSeconds)*time.Second, time.Duration(q.UsualSeconds)*time.Second)
	}
	return nil
}

// drawnSigns is how many signs of a drawing stand in a line.
const drawnSigns = 48

// drawn writes numbers as bars of one sign each; a point is nothing.
func drawn(heights []int64) string {
	const bars = "▁▂▃▄▅▆▇█"
	signs := []rune(bars)
	var b strings.Builder
	for most, i := slices.Max(append(heights, 1)), 0; i < len(heights); i++ {
		if h := heights[i]; h > 0 {
			b.WriteRune(signs[(h*int64(len(signs))-1)/most])
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}
