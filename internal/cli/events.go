package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
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

// differs names what an attempt differs in from the one before it.
func differs(t wire.Attempt) string {
	if t.Changes == nil {
		return ""
	}
	var fields []string
	for _, c := range t.Changes {
		fields = append(fields, cut(c.Field, 60))
	}
	if len(fields) == 0 {
		return "as before"
	}
	return "differs in " + strings.Join(fields, ", ")
}

// outcome is the status with what must be known beside it.
func outcome(e wire.Event) string {
	text := clean(e.Status)
	if e.Unhandled {
		text += " (unhandled)"
	}
	if e.Conflict {
		text += " (conflict)"
	}
	return text
}

func eventCells(e wire.Event) []string {
	return []string{
		clean(e.ID), clean(e.Source), cut(orDash(e.Type), 40), outcome(e), strconv.Itoa(e.RetryCount), stamp(e.ReceivedAt), cut(e.Error, 80),
	}
}

var eventHeads = []string{"ID", "SOURCE", "TYPE", "STATUS", "RETRIES", "RECEIVED", "ERROR"}

// eventFilter is the flags that choose events.
type eventFilter struct{ source, typ, status, query, since, until string }

func (f *eventFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "only of this source")
	flags.StringVar(&f.typ, "type", "", "only of this type")
	flags.StringVar(&f.status, "status", "", "only with this status: pending, success or error")
	flags.StringVar(&f.query, "q", "", "only with this text in ids, error or body")
	flags.StringVar(&f.since, "since", "", "only received since then: 2h (ago), 2026-01-31 or RFC 3339")
	flags.StringVar(&f.until, "until", "", "only received before then; written like --since")
}

// values returns the filter as the API's query.
func (f *eventFilter) values(now time.Time) (url.Values, error) {
	v := url.Values{}
	if f.status != "" && !slices.Contains([]string{"pending", "success", "error"}, f.status) {
		return nil, usagef("unknown --status %q: want pending, success or error", f.status)
	}
	for name, text := range map[string]string{"source": f.source, "type": f.typ, "status": f.status, "q": f.query} {
		if text != "" {
			v.Set(name, text)
		}
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

// parseWhen reads a time as people write it: how long ago, a day, or RFC 3339.
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
	return time.Time{}, errors.New("is no time; write 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z")
}

func (p *program) eventsCommand() *cobra.Command {
	return group("events", "The webhooks that came, and what became of them",
		p.eventsListCommand(), p.eventsShowCommand(), p.eventsTailCommand(),
		p.eventsAgainCommand(retryAgain), p.eventsAgainCommand(replayAgain), p.rescueCommand())
}

func (p *program) eventsListCommand() *cobra.Command {
	var filter eventFilter
	cmd := listCommand(p, listing[wire.Event]{
		use: "list", short: "List events, newest first", path: "/api/v1/events", heads: eventHeads,
		values: func() (url.Values, error) { return filter.values(p.now()) }, cells: eventCells,
	})
	filter.flags(cmd)
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
	t.pair("about", clean(e.CorrelationID))
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
	return p.showRequest(captured(e.Request))
}

func (p *program) showDelivery(d *wire.Delivery) error {
	fmt.Fprintf(p.Stdout, "delivery %s to %s: %s, %d of %d attempts", clean(d.ID), clean(d.Handler), clean(d.State), d.Attempts, d.MaxAttempts)
	if d.FinishedAt.IsZero() && !d.RunAt.IsZero() {
		when := "next at"
		if d.RunAt.Before(p.now()) {
			when = "due since" // a destination that is paused or fails holds it back
		}
		fmt.Fprintf(p.Stdout, ", %s %s", when, stamp(d.RunAt))
	}
	fmt.Fprintln(p.Stdout)
	attempts := newTable(p.Stdout)
	for _, a := range d.Tries {
		took := time.Duration(a.DurationMs * float64(time.Millisecond)).Round(time.Millisecond)
		attempts.row(fmt.Sprintf("  %d", a.Number), stamp(a.StartedAt), clean(a.Outcome), took.String(), differs(a), clean(a.Error))
	}
	return attempts.flush()
}

func (p *program) showRequest(r *capturedRequest) error {
	fmt.Fprintf(p.Stdout, "\n%s %s\n", clean(r.Method), clean(r.URL))
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		for _, value := range r.Headers[name] {
			fmt.Fprintf(p.Stdout, "%s: %s\n", clean(name), clean(value))
		}
	}
	body, err := r.body()
	if err != nil {
		return err
	}
	switch {
	case len(body) == 0:
	case utf8.Valid(body):
		fmt.Fprintf(p.Stdout, "\n%s\n", cleanLines(string(body)))
	default:
		fmt.Fprintf(p.Stdout, "\n%d bytes that are no text; --json has them\n", len(body))
	}
	return nil
}

// capturedRequest is a request as the API shows it.
type capturedRequest struct {
	Method     string     `json:"method"`
	URL        string     `json:"url"`
	RemoteAddr string     `json:"remoteAddr"`
	Headers    headerJSON `json:"headers"`
	Body       string     `json:"body"`
	BodyBase64 string     `json:"bodyBase64"`
}

// captured is the request of an event.
func captured(r *wire.Request) *capturedRequest {
	c := &capturedRequest{Method: r.Method, URL: r.URL, RemoteAddr: r.RemoteAddr, Headers: r.Headers, BodyBase64: string(r.BodyBase64)}
	if r.Body.Body != nil {
		c.Body = *r.Body.Body
	}
	return c
}

// body returns the exact bytes: of bodyBase64 where it is set.
func (r *capturedRequest) body() ([]byte, error) {
	if r.BodyBase64 == "" {
		return []byte(r.Body), nil
	}
	body, err := base64.StdEncoding.DecodeString(r.BodyBase64)
	if err != nil {
		return nil, fmt.Errorf("read bodyBase64: %w", err)
	}
	return body, nil
}

// headerJSON is a request's headers: lists of values by name, or one value by name.
type headerJSON http.Header

func (h *headerJSON) UnmarshalJSON(text []byte) error {
	var several map[string][]string
	if err := json.Unmarshal(text, &several); err != nil {
		var one map[string]string
		if json.Unmarshal(text, &one) != nil {
			return err
		}
		several = make(map[string][]string, len(one))
		for name, value := range one {
			several[name] = []string{value}
		}
	}
	*h = make(headerJSON, len(several))
	for name, values := range several {
		name = http.CanonicalHeaderKey(name)
		(*h)[name] = append((*h)[name], values...)
	}
	return nil
}

func (p *program) eventsTailCommand() *cobra.Command {
	var asJSON bool
	var source, typ, status string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they change, until interrupted",
		Long: `Print a line for each change of an event: when it came, and when its status changed.
A connection that breaks is made again, from where it broke.`,
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

// unlessInterrupted drops the error by which a command ends that runs until it is
// interrupted.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// again is what retry and replay have in common.
type again struct {
	verb, done, short, long string
	// status is what is chosen if --status is not given.
	status string
}

var (
	retryAgain = again{
		verb: "retry", done: "retried", status: "error",
		short: "Retry failed events",
		long: `Retry the failed deliveries of events: of those named, or of all that the flags
choose (with the status error, if no other is given). They are made due at once and the
command does not wait, but with --now, by which each is tried right away and its outcome
decides the exit code.`,
	}
	replayAgain = again{
		verb: "replay", done: "replayed",
		short: "Process events again, whatever their status",
		long: `Process events again by all their handlers, whatever their status: those named, or all
that the flags choose. Effects that happened once do not happen twice.`,
	}
)

func (p *program) eventsAgainCommand(a again) *cobra.Command {
	var filter eventFilter
	var asJSON, yes, now bool
	cmd := &cobra.Command{
		Use:   a.verb + " [ID...]",
		Short: a.short,
		Long:  a.long,
		Example: fmt.Sprintf("  gaff events %[1]s evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD\n"+
			"  gaff events %[1]s --source fal --status error --since 1d", a.verb),
		RunE: work(func(ctx context.Context, ids []string) error {
			chosen, err := filter.values(p.now())
			if err != nil {
				return err
			}
			switch {
			case len(ids) > 0 && len(chosen) > 0:
				return usagef("name events or choose them by flags, not both")
			case len(ids) == 0 && len(chosen) == 0:
				return usagef("name events, or choose them by --source, --type, --status, --q, --since or --until")
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				if chosen.Get("status") == "" && a.status != "" {
					chosen.Set("status", a.status)
				}
				if _, err := c.list(ctx, "/api/v1/events", chosen, 0, func(doc json.RawMessage) error {
					var e wire.Event
					if err := json.Unmarshal(doc, &e); err != nil {
						return fmt.Errorf("read the events: %w", err)
					}
					ids = append(ids, e.ID)
					return nil
				}); err != nil {
					return err
				}
				if len(ids) == 0 {
					fmt.Fprintln(p.Stderr, "no event matches")
					return nil
				}
				if !yes {
					matches := counted(len(ids), "event") + " match"
					if len(ids) == 1 {
						matches += "es"
					}
					if !p.terminal(p.Stdin) {
						return usagef("%s; say --yes to %s without being asked", matches, a.verb)
					}
					if !confirm(p.Stdin, p.Stderr, matches+"; go on?") {
						fmt.Fprintln(p.Stderr, "nothing was done")
						return errReported
					}
				}
			}
			return p.again(ctx, c, a, ids, now, asJSON)
		}),
	}
	filter.flags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&yes, "yes", false, "do not ask")
	flags.BoolVar(&asJSON, "json", false, "print one JSON document a line: {id, ok, deliveries, error}")
	if a.verb == "retry" {
		flags.BoolVar(&now, "now", false, "try each right away and wait for its outcome")
	}
	p.clientFlags(cmd)
	return cmd
}

// shownSingly is up to how many events each has its line; of more, only failures.
const shownSingly = 20

func (p *program) again(ctx context.Context, c *client, a again, ids []string, now, asJSON bool) error {
	type result struct {
		ID         string   `json:"id"`
		OK         bool     `json:"ok"`
		Deliveries []string `json:"deliveries,omitempty"`
		Error      string   `json:"error,omitempty"`
	}
	g := progress{w: p.Stderr, terminal: p.terminal(p.Stderr), total: len(ids)}
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		res := result{ID: id}
		var answer json.RawMessage
		var err error
		if now {
			_, err = c.call(ctx, http.MethodPost, "/api/v1/webhooks/manage", nil, map[string]string{"webhookLogId": id})
		} else {
			answer, err = c.call(ctx, http.MethodPost, "/api/v1/events/"+url.PathEscape(id)+"/"+a.verb, nil, struct{}{})
			if err == nil {
				err = json.Unmarshal(answer, &res)
			}
		}
		if err != nil && ctx.Err() != nil {
			break
		}
		if api, ok := errors.AsType[*apiError](err); err != nil && (!ok || api.status == http.StatusUnauthorized || api.status == http.StatusForbidden) {
			// What stops this one stops all that follow.
			g.end()
			return fmt.Errorf("%s %s (%d of %d done before): %w", a.verb, id, g.done, g.total, err)
		}
		if res.ID, res.OK = id, err == nil; err != nil {
			res.Error = err.Error()
		}
		switch {
		case asJSON:
			if err := writeJSON(p.Stdout, res); err != nil {
				return err
			}
		case !res.OK:
			g.say("%s: %s", clean(id), clean(res.Error))
		case now && len(ids) <= shownSingly:
			fmt.Fprintf(p.Stdout, "%s: success\n", clean(id))
		case len(ids) <= shownSingly:
			fmt.Fprintf(p.Stdout, "%s: %s, %s\n", clean(id), a.done, counted(len(res.Deliveries), "delivery"))
		}
		g.step(res.OK)
	}
	g.end()
	left := g.total - g.done
	if !asJSON && (g.total > 1 || left > 0) {
		fmt.Fprintf(p.Stdout, "%s: %d %s, %d failed", counted(g.total, "event"), g.done-g.failed, a.done, g.failed)
		if left > 0 {
			fmt.Fprintf(p.Stdout, ", %d not reached", left)
		}
		fmt.Fprintln(p.Stdout)
	}
	if left > 0 {
		return ctx.Err()
	}
	if g.failed > 0 {
		return errReported
	}
	return nil
}

// counted writes a number with its noun.
func counted(n int, noun string) string {
	if n != 1 {
		if stem, ok := strings.CutSuffix(noun, "y"); ok {
			noun = stem + "ies"
		} else {
			noun += "s"
		}
	}
	return strconv.Itoa(n) + " " + noun
}
