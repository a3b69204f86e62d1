package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) issuesCommand() *cobra.Command {
	const path, others = "/api/v1/issues", "gaff issues list"
	list := listCommand(p, listing[wire.Issue]{
		use: "list", short: "List issues, the one that failed last first", path: path,
		heads: []string{"ID", "STATE", "COUNT", "LAST", "TITLE"},
		query: &wire.IssueQuery{},
		cells: func(i wire.Issue) []string {
			return []string{clean(i.ID), clean(i.State), strconv.FormatInt(i.Count, 10), stamp(i.LastAt), cut(i.Title, 120)}
		},
	})
	show := showCommand(p, showing[wire.Issue]{
		use: "show ID", short: "Show an issue", path: path, others: others,
		print: func(_ context.Context, _ *client, i *wire.Issue) error {
			t := newTable(p.Stdout)
			t.row("id", clean(i.ID))
			t.row("title", clean(i.Title))
			t.row("state", clean(i.State))
			t.row("kind", clean(i.Kind))
			t.row("source", clean(orDash(i.Source)))
			t.pair("destination", clean(i.Destination))
			t.row("count", strconv.FormatInt(i.Count, 10))
			t.row("first", stamp(i.FirstAt))
			t.row("last", stamp(i.LastAt))
			t.row("newest", clean(i.LastRef))
			t.pair("changed by", clean(i.ChangedBy))
			return t.flush()
		},
	})
	act := func(use, short, operation, done string) *cobra.Command {
		return p.actCommand(acting{
			use: use + " ID", short: short, method: http.MethodPost, path: path + "/{id}/" + operation, done: done, others: others,
		})
	}
	return group("issues", "Failures in groups: acknowledge, resolve, ignore, retry", list, show,
		act("ack", "Acknowledge an issue: its alert is not repeated", "acknowledge", "acknowledged"),
		act("resolve", "Resolve an issue; the next failure opens it again", "resolve", "resolved"),
		act("ignore", "Ignore an issue, also if it fails again", "ignore", "ignored"),
		act("reopen", "Open an issue again", "reopen", "open"),
		p.retryIssueCommand(others))
}

func (p *program) retryIssueCommand(others string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "retry ID",
		Short: "Retry all dead deliveries of an issue, or rescue its rejected requests",
		Args:  arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/issues/"+url.PathEscape(args[0])+"/retry", nil, nil)
			if err != nil {
				return pointingTo(others, err)
			}
			var b wire.Bulk
			if err := json.Unmarshal(raw, &b); err != nil {
				return fmt.Errorf("read the bulk action: %w", err)
			}
			if asJSON {
				if err := writeRawJSON(p.Stdout, raw); err != nil {
					return err
				}
			}
			return p.watchBulk(ctx, c, &b, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: the bulk action when it begins, and when it has ended")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) alertsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Alert]{
		use: "list", short: "List alerts, the active ones first", path: "/api/v1/alerts", query: &wire.AlertQuery{},
		heads: []string{"KIND", "STATE", "SINCE", "COUNT", "TITLE"},
		cells: func(a wire.Alert) []string {
			state := "ended"
			if a.Active {
				state = "active"
			}
			return []string{clean(a.Kind), state, stamp(a.Since), strconv.FormatInt(a.Count, 10), cut(a.Title, 120)}
		},
	})
	channels := listCommand(p, listing[wire.AlertChannel]{
		use: "channels", short: "List the channels of alerts", path: "/api/v1/alert-channels", whole: true,
		heads: []string{"NAME", "CHANNEL"},
		cells: func(c wire.AlertChannel) []string { return []string{clean(c.Name), cut(c.About, 120)} },
	})
	return group("alerts", "Messages to operators: the present problems, the channels, a test", list, channels, p.testAlertsCommand())
}

func (p *program) testAlertsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test [CHANNEL]",
		Short: "Send a test message by all channels, or by one; exit code 1 if one fails",
		Args:  arguments(0, 1, "one channel"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			body := wire.AlertTest{}
			if len(args) == 1 {
				body.Channel = args[0]
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/alerts/test", nil, body)
			if err != nil {
				return pointingTo("gaff alerts channels", err)
			}
			var tests wire.AlertTests
			if err := json.Unmarshal(raw, &tests); err != nil {
				return fmt.Errorf("read the results: %w", err)
			}
			if asJSON {
				err = writeRawJSON(p.Stdout, raw)
			} else {
				t := newTable(p.Stdout)
				for _, r := range tests.Results {
					result := "sent"
					if !r.OK {
						result = "failed: " + cut(r.Error, 300)
					}
					t.row(clean(r.Channel), result)
				}
				err = t.flush()
			}
			if err == nil && !tests.OK {
				return errReported
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}
