package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// eventData reads the data of an event: JSON of --data, a file, or the standard input.
func (p *program) eventData(flag, name string) (wire.JSON, error) {
	if name == "" {
		return nil, nil
	}
	text, err := p.jobInput(flag, name)
	if err == nil {
		return wire.JSON(text), nil
	}
	if name[0] == '@' || name == "-" {
		return nil, err
	}
	// --data FILE, as of "gaff send".
	text, ferr := p.jobInput(flag, "@"+name)
	if ferr != nil {
		return nil, fmt.Errorf("%w; nor is it a file: %w", err, ferr)
	}
	return wire.JSON(text), nil
}

func (p *program) publishCommand() *cobra.Command {
	var e wire.PublishEvent
	var data string
	cmd := callCommand(p, calling[wire.Published]{
		use: "publish TYPE", short: "Publish an event of your application, now or at a later time",
		long: `Publish an event of your application. It is stored, and leads to handlers, destinations and
workflows as webhooks do, with the source "published": a destination takes it by
--events "published:order.*". With --delay or --at the event is scheduled; "gaff scheduled"
lists, changes and cancels scheduled events. With --key, the command can be repeated
without a second event. The id is printed.`,
		example: `  gaff publish order.paid --data order.json
  gaff publish reminder.due --data '{"user":"anna"}' --delay 10m
  gaff publish report.daily --at 2026-12-24T18:00:00Z --key report-2026-12-24`,
		args: arguments(1, 1, "one TYPE"),
		call: func(args []string) (call apiCall, err error) {
			e.Type = args[0]
			if e.Data, err = p.eventData("data", data); err != nil {
				return call, err
			}
			return apiCall{method: http.MethodPost, path: "/api/v1/events", body: e}, nil
		},
		print: func(_ context.Context, _ *client, d *wire.Published) error {
			if d.Duplicate {
				fmt.Fprintf(p.Stderr, "the key was used before; this is the first event with it (%s)\n", clean(d.Status))
			}
			_, err := fmt.Fprintln(p.Stdout, clean(d.ID))
			return err
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&data, "data", "", "the event's data: a JSON file, JSON itself, or - for the standard input")
	flags.StringVar(&e.ProjectID, "project", "", "the project that the event belongs to")
	flags.StringVar(&e.IdempotencyKey, "key", "", "idempotency key: a second event with it is the first one")
	flags.StringVar(&e.Delay, "delay", "", "how long from now to publish it, such as 90s, 10m or 7d")
	flags.StringVar(&e.RunAt, "at", "", "when to publish it, such as 2026-01-31T12:00:00Z")
	return cmd
}

const listScheduled = "gaff scheduled list"

func (p *program) scheduledCommand() *cobra.Command {
	list := listCommand(p, listing[wire.ScheduledEvent]{
		use: "list", short: "List scheduled events, the newest first", path: "/api/v1/scheduled-events", query: &wire.ScheduleQuery{},
		heads: []string{"ID", "STATUS", "TYPE", "RUN AT", "PROJECT", "EVENT"},
		cells: func(d wire.ScheduledEvent) []string {
			return []string{clean(d.ID), clean(d.Status), cut(d.Type, 40), stamp(d.RunAt), cut(orDash(string(d.ProjectID)), 30), orDash(clean(d.EventID))}
		},
	})
	show := showCommand(p, showing[wire.ScheduledEvent]{
		use: "show ID", short: "Show a scheduled event with its data", path: "/api/v1/scheduled-events", others: listScheduled,
		print: func(_ context.Context, _ *client, d *wire.ScheduledEvent) error { return p.showScheduled(d) },
	})
	cancel := callCommand(p, calling[wire.ScheduledEvent]{
		use: "cancel ID", short: "Cancel a scheduled event", args: arguments(1, 1, "one ID"),
		call:  func(args []string) (apiCall, error) { return scheduledCall(http.MethodDelete, args[0], nil), nil },
		print: p.printScheduled,
	})
	return group("scheduled", "Events that are published at a later time: list, change, cancel", list, show, p.scheduledChangeCommand(), cancel)
}

func scheduledCall(method, id string, body any) apiCall {
	return apiCall{method: method, path: "/api/v1/scheduled-events/" + url.PathEscape(id), body: body, others: listScheduled}
}

func (p *program) printScheduled(_ context.Context, _ *client, d *wire.ScheduledEvent) error {
	_, err := fmt.Fprintf(p.Stdout, "%s  %s  %s\n", clean(d.ID), clean(d.Status), stamp(d.RunAt))
	return err
}

func (p *program) showScheduled(d *wire.ScheduledEvent) error {
	t := newTable(p.Stdout)
	t.row("id", clean(d.ID))
	t.row("status", clean(d.Status))
	t.row("type", clean(d.Type))
	t.row("run at", stamp(d.RunAt))
	t.pair("event", clean(d.EventID))
	t.pair("error", clean(d.Error))
	t.pair("project", clean(d.ProjectID))
	t.pair("idempotency key", clean(d.IdempotencyKey))
	t.pair("by", clean(d.By))
	if err := t.flush(); err != nil || len(d.Data) == 0 {
		return err
	}
	_, err := fmt.Fprintf(p.Stdout, "\n%s\n", cleanLines(string(d.Data)))
	return err
}

func (p *program) scheduledChangeCommand() *cobra.Command {
	var change wire.ScheduleChange
	var data string
	cmd := callCommand(p, calling[wire.ScheduledEvent]{
		use: "change ID", short: "Change the time, type or data of a scheduled event", args: arguments(1, 1, "one ID"),
		call: func(args []string) (call apiCall, err error) {
			if change.Data, err = p.eventData("data", data); err != nil {
				return call, err
			}
			if change.Type+change.RunAt+change.Delay == "" && change.Data == nil {
				return call, usagef("nothing to change: give --delay, --at, --type or --data")
			}
			return scheduledCall(http.MethodPatch, args[0], change), nil
		},
		print: p.printScheduled,
	})
	flags := cmd.Flags()
	flags.StringVar(&change.Type, "type", "", "the new type")
	flags.StringVar(&data, "data", "", "the new data: a JSON file, JSON itself, or - for the standard input")
	flags.StringVar(&change.Delay, "delay", "", "how long from now to publish it, such as 10m")
	flags.StringVar(&change.RunAt, "at", "", "when to publish it, such as 2026-01-31T12:00:00Z")
	return cmd
}
