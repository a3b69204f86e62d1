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
	violation                                bool // of "gaff events list" alone
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
	for name, text := range map[string]string{"source": f.source, "type": f.typ, "status": f.status, "q": f.query} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if f.violation {
		v.Set("violation", "true")
	}
	for _, end := range [...]struct{ name, text string }{{"since", f.since}, {"until", f.until}} {
		if end.text == "" {
			continue
		}
		t, err := parseWhen(end.text, now)
		if err != nil {
			return nil, usagef("--%s %q %w", end.name, end.text, err)
		}
		v.Set(end.name, t.UTC().Format(time.RFC3339Nano))
	}
	return v, nil
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
	var filter eventFilter
	cmd := listCommand(p, listing[wire.Event]{
		use: "list", short: "List events, newest first", path: "/api/v1/events", heads: eventHeads,
		values: func() (url.Values, error) { return filter.values(p.now()) }, cells: eventCells,
	})
	filter.flags(cmd)
	cmd.Flags().BoolVar(&filter.violation, "violation", false, "only those that violate the JSON Schema of their source and type")
	return cmd
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
	var asJSON bool
	var source, typ, status string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they change, until interrupted",
		Long: `Print a line for each change of an event: when it was received, and when its status changed.
After a broken connection the command reconnects and continues after the last change.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			err = c.stream(ctx, nil, func(m message) error {
				var e wire.Event
				if m.event != "event" {
					return nil
				}
				if err := json.Unmarshal(m.data, &e); err != nil {
					return fmt.Errorf("read the stream: %w", err)
				}
				if source != "" && e.Source != source || typ != "" && e.Type != typ || status != "" && e.Status != status {
					return nil
				}
				if asJSON {
					return writeRawJSON(p.Stdout, m.data)
				}
				_, err := fmt.Fprintf(p.Stdout, "%s  %s  %-12s %-26s %s\n",
					stamp(e.ReceivedAt), clean(e.ID), clean(e.Source), cut(orDash(e.Type), 40),
					strings.TrimSpace(outcome(e)+"  "+cut(e.Error, 80)))
				return err
			})
			return unlessInterrupted(ctx, err)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print one JSON document a line")
	flags.StringVar(&source, "source", "", "only of this source")
	flags.StringVar(&typ, "type", "", "only of this type")
	flags.StringVar(&status, "status", "", "only with this status")
	p.clientFlags(cmd)
	return cmd
}

// unlessInterrupted drops the error of the interruption, for commands that run until they are
// interrupted.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
