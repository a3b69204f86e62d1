package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gaff/internal/config"
	"gaff/internal/wire"
)

// outcome returns the status of an event, with the marks unhandled, conflict and violation.
func outcome(e wire.Event) string {
	text := clean(e.Status)
	if e.Unhandled {
		text += " (unhandled)"
	}
	if e.Conflict {
		text += " (conflict)"
	}
	if e.Violations > 0 {
		text += " (violation)"
	}
	return text
}

func eventCells(e wire.Event) []string {
	return []string{
		clean(e.ID), clean(e.Source), cut(orDash(e.Type), 40), outcome(e), strconv.Itoa(e.RetryCount), stamp(e.ReceivedAt), cut(e.Error, 80),
	}
}

var eventHeads = []string{"ID", "SOURCE", "TYPE", "STATUS", "RETRIES", "RECEIVED", "ERROR"}

var eventStatuses = []string{"pending", "success", "error"}

// eventFilter has the flags that choose events.
type eventFilter struct {
	source, typ, status, query, since, until string
}

func (f *eventFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "only of this source")
	flags.StringVar(&f.typ, "type", "", "only of this type")
	flags.StringVar(&f.status, "status", "", "only with this status: pending, success or error")
	annotateEnum(flags, "status", eventStatuses...)
	flags.StringVar(&f.query, "q", "", "only with this text in ids, error or body")
	flags.StringVar(&f.since, "since", "", "only received at or after: 2h (ago), 2026-01-31 or RFC 3339")
	flags.StringVar(&f.until, "until", "", "only received before; written like --since")
}

// values returns the filter as the API's query.
func (f *eventFilter) values(now time.Time) (url.Values, error) {
	v := url.Values{}
	if f.status != "" && !slices.Contains(eventStatuses, f.status) {
		return nil, usagef("unknown --status %q: want pending, success or error", f.status)
	}
	for name, text := range map[string]string{"source": f.source, "type": f.typ, "status": f.status, "q": f.query, "since": f.since, "until": f.until} {
		if text != "" {
			v.Set(name, text)
		}
	}
	return v, localTimes(v, now)
}

// parseWhen reads a time: a duration before now, a date, or RFC 3339.
func parseWhen(text string, now time.Time) (time.Time, error) {
	if ago, err := config.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("is not a time; write 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z")
}

func (p *program) eventsCommand() *cobra.Command {
	return group("events", "Received webhooks, their deliveries and attempts",
		p.eventsListCommand(), p.eventsShowCommand(), p.eventsTestCommand(), p.eventsTailCommand(),
		p.eventsAgainCommand(retryAgain), p.eventsAgainCommand(replayAgain), p.rescueCommand())
}

func (p *program) eventsListCommand() *cobra.Command {
	return listCommand(p, listing[wire.Event]{
		use: "list", short: "List events, newest first", path: "/api/v1/events", heads: eventHeads, query: &wire.EventQuery{}, cells: eventCells,
	})
}

// localTimes rewrites the ends of a period in a query: durations count from now, days begin here.
func localTimes(query url.Values, now time.Time) error {
	for _, name := range [...]string{"since", "until"} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		t, err := parseWhen(text, now)
		if err != nil {
			return usagef("--%s %q %w", name, text, err)
		}
		query.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func (p *program) eventsShowCommand() *cobra.Command {
	cmd := showCommand(p, showing[wire.EventDetail]{
		use: "show ID", short: "Show an event with its request and attempts", path: "/api/v1/events", others: "gaff events list",
		print: func(_ context.Context, _ *client, e *wire.EventDetail) error { return p.showEvent(e) },
	})
	cmd.Flags().Lookup("json").Usage += `; "gaff verify --request" reads it`
	return cmd
}

func (p *program) showEvent(e *wire.EventDetail) error {
	t := newTable(p.Stdout)
	t.row("id", clean(e.ID))
	t.row("source", clean(e.Source))
	t.row("type", clean(orDash(e.Type)))
	t.row("status", outcome(e.Event))
	t.pair("error", clean(e.Error))
	t.pair("webhook id", clean(e.WebhookID))
	t.pair("correlation id", clean(e.CorrelationID))
	t.row("received", stamp(e.ReceivedAt))
	t.row("processed", stamp(e.ProcessedAt))
	t.row("retries", strconv.Itoa(e.RetryCount))
	if e.Duplicates > 0 {
		t.row("duplicates", strconv.Itoa(e.Duplicates))
	}
	if e.Proof != nil {
		t.pair("proof dialect", clean(e.Proof.Dialect))
		t.pair("proof keyId", clean(e.Proof.KeyID))
		t.pair("proof scheme", clean(e.Proof.Scheme))
		t.pair("proof subject", clean(e.Proof.Subject))
	}
	if v := e.Violation; v != nil {
		t.row("schema", clean(v.Schema)+", violated")
		for _, problem := range v.Problems {
			t.row("violation", clean(cmp.Or(problem.Path, "the body"))+" "+clean(problem.Message))
		}
		if v.More > 0 {
			t.row("violation", strconv.Itoa(v.More)+" more")
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	for i := range e.Deliveries {
		fmt.Fprintln(p.Stdout)
		if err := p.showDelivery(&e.Deliveries[i]); err != nil {
			return err
		}
	}
	if e.Request == nil {
		if len(e.Data) > 0 {
			fmt.Fprintf(p.Stdout, "\n%s\n", cleanLines(string(e.Data)))
		}
		return nil
	}
	return p.showRequest(e.Request)
}

func (p *program) showRequest(r *wire.Request) error {
	fmt.Fprintf(p.Stdout, "\n%s %s\n", clean(r.Method), clean(r.URL))
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		for _, value := range r.Headers[name] {
			fmt.Fprintf(p.Stdout, "%s: %s\n", clean(name), clean(value))
		}
	}
	body, err := r.Bytes()
	if err != nil {
		return fmt.Errorf("read bodyBase64: %w", err)
	}
	switch {
	case len(body) == 0:
	case utf8.Valid(body):
		fmt.Fprintf(p.Stdout, "\n%s\n", cleanLines(string(body)))
	default:
		fmt.Fprintf(p.Stdout, "\n%d bytes that are not text; --json has them\n", len(body))
	}
	return nil
}

func (p *program) eventsTailCommand() *cobra.Command {
	var asJSON, body bool
	var query wire.EventQuery
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they change, until interrupted",
		Long: `Print a line for each change of an event: when it was received, and when its status changed.
After a broken connection the command reconnects and continues after the last change.`,
		Example: `  gaff events tail --source shop --body
  gaff events tail --project harbour-film`,
		Args: arguments(0, 0, ""),
	}
	flags := cmd.Flags()
	values := queryFlags(flags, &query)
	for _, name := range [...]string{"since", "until"} {
		_ = flags.MarkHidden(name) // the flags exist; the stream begins now
	}
	cmd.RunE = work(func(ctx context.Context, _ []string) error {
		if query.Since != "" || query.Until != "" {
			return usagef("--since and --until are for gaff events list: the stream begins now")
		}
		chosen, err := values()
		if err != nil {
			return err
		}
		c, err := p.dial()
		if err != nil {
			return err
		}
		of := url.Values{"kinds": {"event"}, "inner": {strconv.FormatBool(query.Internal)}}
		err = c.stream(ctx, of, nil, func(m message) error {
			var e wire.Event
			if m.event != "event" {
				return nil
			}
			if err := json.Unmarshal(m.data, &e); err != nil {
				return fmt.Errorf("read the stream: %w", err)
			}
			if !passes(&query, e) {
				return nil
			}
			if listed, err := c.lists(ctx, &query, chosen, e); err != nil || !listed {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, m.data)
			}
			fmt.Fprintf(p.Stdout, "%s  %s  %-12s %-26s %s\n", stamp(e.ReceivedAt), clean(e.ID), clean(e.Source), cut(orDash(e.Type), 40),
				strings.TrimSpace(outcome(e)+"  "+cut(e.Error, 80)))
			if body {
				return p.tailBody(ctx, c, e.ID)
			}
			return nil
		})
		return unlessInterrupted(ctx, err)
	})
	flags.BoolVar(&asJSON, "json", false, "print one JSON document a line")
	flags.BoolVar(&body, "body", false, "print the body below the line, shortened")
	p.clientFlags(cmd)
	return cmd
}

// passes reports whether the members of an event that the stream has match a query.
func passes(q *wire.EventQuery, e wire.Event) bool {
	for _, pair := range [...][2]string{{q.Source, e.Source}, {q.Type, e.Type}, {q.Status, e.Status}, {q.WebhookID, e.WebhookID}} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return (!q.Conflict || e.Conflict) && (!q.Violation || e.Violations > 0)
}

// lists asks the gateway whether its list has an event, for the parts of a query that an event of the
// stream does not show.
func (c *client) lists(ctx context.Context, q *wire.EventQuery, chosen url.Values, e wire.Event) (found bool, err error) {
	if q.JobID == "" && q.ProjectID == "" && q.Query == "" {
		return true, nil
	}
	one := maps.Clone(chosen)
	one.Set("source", e.Source)
	one.Set("webhookId", e.WebhookID)
	_, err = c.list(ctx, "/api/v1/events", one, 0, func(doc json.RawMessage) error {
		var listed wire.Event
		err := json.Unmarshal(doc, &listed)
		found = found || listed.ID == e.ID
		return err
	})
	return found, err
}

// tailBody prints a body on one line.
func (p *program) tailBody(ctx context.Context, c *client, id string) error {
	var d wire.EventDetail
	if err := c.one(ctx, "/api/v1/events", id, &d); err != nil {
		return err
	}
	text := d.Data
	if d.Request != nil {
		raw, err := d.Request.Bytes()
		if err != nil {
			return fmt.Errorf("read bodyBase64: %w", err)
		}
		text = raw
	}
	_, err := fmt.Fprintf(p.Stdout, "    %s\n", cut(strings.Join(strings.Fields(string(text)), " "), 400))
	return err
}

// unlessInterrupted drops the error of the interruption, for commands that run until they are
// interrupted.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
