package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

const (
	listReplays = "gaff replay list"
	// replayPoll is how often a replay is read while it is watched.
	replayPoll = time.Second
)

func (p *program) replayCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Replay]{
		use: "list", short: "List replays, the newest first", path: "/api/v1/replays",
		heads: []string{"ID", "STATE", "TO", "MATCHES", "QUEUED", "PROGRESS", "STARTED"},
		cells: func(d wire.Replay) []string {
			return []string{clean(d.ID), clean(d.State), cut(replayTarget(&d), 40), strconv.Itoa(d.Matches), strconv.Itoa(d.Queued), percent(d.Progress), stamp(d.StartedAt)}
		},
	})
	show := showCommand(p, showing[wire.Replay]{
		use: "show ID", short: "Show the progress of a replay", path: "/api/v1/replays", others: listReplays, print: p.printReplay,
	})
	cancel := callCommand(p, calling[wire.Replay]{
		use: "cancel ID", short: "Cancel a replay; deliveries that are queued for a destination stay", args: arguments(1, 1, "one ID"), print: p.printReplay,
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodDelete, path: "/api/v1/replays/" + url.PathEscape(args[0]), others: listReplays}, nil
		},
	})
	return group("replay", "Send stored events again: to one destination, a new one, or a URL", p.replayStartCommand(), list, show, cancel)
}

func replayTarget(d *wire.Replay) string {
	if d.URL != "" {
		return string(d.URL)
	}
	return string(d.Destination)
}

func percent(part float64) string { return strconv.Itoa(int(part*100)) + " %" }

func (p *program) printReplay(_ context.Context, _ *client, d *wire.Replay) error {
	if d.State == "counted" {
		more := ""
		if d.More {
			more = "more than "
		}
		_, err := fmt.Fprintf(p.Stdout, "%s%s would be sent\n", more, counted(d.Matches, "event"))
		return err
	}
	text := fmt.Sprintf("%s: %s, %s to %s, %d queued", clean(d.ID), clean(d.State), percent(d.Progress), clean(replayTarget(d)), d.Queued)
	if d.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", d.Skipped)
	}
	if d.EditedEventID != "" {
		text += ", edited as " + clean(string(d.EditedEventID))
	}
	if d.Error != "" {
		text += ": " + cut(d.Error, 300)
	}
	_, err := fmt.Fprintln(p.Stdout, text)
	return err
}

// replayOptions are the flags of "gaff replay start".
type replayOptions struct {
	ask          wire.ReplayRequest
	body         string
	wait, asJSON bool
}

func (p *program) replayStartCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use: "start", Short: "Send stored events again, or count them with --dry-run",
		Long: `Send stored events again to one destination, or to a URL. Handlers and other destinations get
nothing. The gateway queues the events at a rate, continues after a restart, and queues each
event once. For a new destination, --since chooses the events of the past, and --missing leaves
out those that it has received. With --event and --body, an edited copy of one event is sent: it
is stored as a new event, marked as edited, and signed by the destination's secrets.`,
		Example: `  gaff replay start --destination crm --since 30d --missing --dry-run
  gaff replay start --destination crm --since 30d --missing --rate 200 --wait
  gaff replay start --destination app --event evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD --body edited.json
  gaff replay start --to-url https://debug.example.com/hook --source stripe --since 1h`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error { return p.startReplay(ctx, o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.ask.Destination, "destination", "", "send to this destination")
	flags.StringVar(&o.ask.URL, "to-url", "", "send to this URL, for this replay alone")
	flags.StringVar(&o.ask.Secret, "secret", "", "sign requests to --to-url (whsec_…)")
	flags.StringVar(&o.ask.Format, "format", "", "format of requests to --to-url: envelope, original, cloudevents, cloudevents-binary or spec")
	flags.StringVar(&o.ask.EventID, "event", "", "send this event alone")
	flags.StringVar(&o.ask.Source, "source", "", "only events of this source")
	flags.StringVar(&o.ask.Type, "type", "", "only events of this type")
	flags.StringVar(&o.ask.Status, "status", "", "only events with this status: pending, success or error")
	flags.StringVar(&o.ask.Since, "since", "", "only events received since: a time, or a duration ago such as 24h or 7d")
	flags.StringVar(&o.ask.Until, "until", "", "only events received before: a time, or a duration ago")
	flags.BoolVar(&o.ask.Missing, "missing", false, "only events that the destination has not received")
	flags.BoolVar(&o.ask.IgnoreFilter, "ignore-filter", false, "also events that the destination's events and filter do not choose")
	flags.Float64Var(&o.ask.Rate, "rate", 0, "events a second at most; 100 by default")
	flags.StringVar(&o.body, "body", "", "with --event: a file with the edited body, or - for the standard input")
	flags.BoolVar(&o.ask.DryRun, "dry-run", false, "only count the events")
	flags.BoolVar(&o.wait, "wait", false, "wait until all events are queued, and show the progress")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) startReplay(ctx context.Context, o replayOptions) error {
	if o.body != "" {
		text, err := p.readInput(o.body)
		if err != nil {
			return err
		}
		body := string(text)
		o.ask.Body = &body
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	d, raw, err := decodeCall[wire.Replay](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/replays", body: o.ask, others: "gaff destinations list"})
	if err != nil {
		return err
	}
	for o.wait && d.State == "running" {
		if !o.asJSON {
			fmt.Fprintf(p.Stderr, "%s: %s, %d queued\n", clean(d.ID), percent(d.Progress), d.Queued)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(replayPoll):
		}
		if d, raw, err = decodeCall[wire.Replay](ctx, c, apiCall{method: http.MethodGet, path: "/api/v1/replays/" + url.PathEscape(d.ID)}); err != nil {
			return err
		}
	}
	if o.asJSON {
		err = writeRawJSON(p.Stdout, raw)
	} else {
		err = p.printReplay(ctx, c, d)
	}
	if err == nil && d.State == "failed" {
		return errReported
	}
	return err
}
