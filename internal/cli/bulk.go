package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/shell"
	"gaff/internal/wire"
)

func bulkSummary(b *wire.Bulk) string {
	text := fmt.Sprintf("%s: %s %s, %d of %d done", clean(b.ID), clean(b.Action), clean(b.State), b.Done, b.Total)
	if b.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", b.Skipped)
	}
	if b.Failed > 0 {
		text += fmt.Sprintf(", %d failed, the last with: %s", b.Failed, cut(b.LastError, 300))
	}
	return text
}

func (p *program) bulkCommand() *cobra.Command {
	const others = "gaff audit list --action start-bulk"
	show := showCommand(p, showing[wire.Bulk]{
		use: "show ID", short: "Show how far a bulk action is", path: "/api/v1/bulk", others: others,
		print: func(_ context.Context, _ *client, b *wire.Bulk) error {
			_, err := fmt.Fprintln(p.Stdout, bulkSummary(b))
			return err
		},
	})
	return group("bulk", "Retry, replay or rescue many at once, in the gateway", p.bulkStartCommand(), show, p.actCommand(acting{
		use: "stop ID", short: "Stop a bulk action; what is done stays done", method: http.MethodDelete, path: "/api/v1/bulk/{id}",
		done: "stopped", others: others,
	}))
}

func (p *program) bulkStartCommand() *cobra.Command {
	var filter eventFilter
	var count, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "start retry|replay|rescue",
		Short: "Retry or replay all events, or rescue all refused requests, that match",
		Long: `Retry or replay all events that the flags choose, or rescue all refused requests of a source
that are kept whole. They are counted first, and nothing is done before you say yes. The
gateway does it by itself: interrupting this command ends only the watching ("gaff bulk
stop" ends the action).`,
		Example: `  gaff bulk start retry --source fal --since 1d
  gaff bulk start replay --type order.paid --count
  gaff bulk start rescue --source stripe --yes`,
		Args: arguments(1, 1, "one of retry, replay and rescue"),
		RunE: work(func(ctx context.Context, args []string) error {
			if !slices.Contains([]string{"retry", "replay", "rescue"}, args[0]) {
				return usagef("%q is no bulk action; write retry, replay or rescue", args[0])
			}
			chosen, err := filter.values(p.now())
			if err != nil {
				return err
			}
			body := map[string]any{"action": args[0], "dryRun": true}
			for name := range chosen {
				body[name] = chosen.Get(name)
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			var b wire.Bulk
			ask := func() error {
				raw, err := c.call(ctx, http.MethodPost, "/api/v1/bulk", nil, body)
				if err != nil {
					return err
				}
				if err := json.Unmarshal(raw, &b); err != nil {
					return fmt.Errorf("read the bulk action: %w", err)
				}
				if asJSON {
					return writeRawJSON(p.Stdout, raw)
				}
				return nil
			}
			if count || !yes {
				if err := ask(); err != nil {
					return err
				}
				matches := fmt.Sprintf("%d to %s", b.Matches, args[0])
				if b.More {
					matches += ", and more than one action takes"
				}
				switch {
				case count && asJSON:
					return nil
				case count:
					_, err := fmt.Fprintln(p.Stdout, matches)
					return err
				case b.Matches == 0:
					fmt.Fprintln(p.Stderr, "nothing matches")
					return nil
				case !p.terminal(p.Stdin):
					return usagef("%s; say --yes to do it without being asked", matches)
				case !confirm(p.Stdin, p.Stderr, matches+"; go on?"):
					fmt.Fprintln(p.Stderr, "nothing was done")
					return errReported
				}
			}
			delete(body, "dryRun")
			if err := ask(); err != nil {
				return err
			}
			return p.watchBulk(ctx, c, &b, asJSON)
		}),
	}
	filter.flags(cmd)
	cmd.Flags().BoolVar(&count, "count", false, "only count")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: the action when it begins, and when it has ended")
	p.clientFlags(cmd)
	return cmd
}

// bulkEvery is how often a bulk action is looked after.
const bulkEvery = 500 * time.Millisecond

// watchBulk tells how far a bulk action is, until it ends.
func (p *program) watchBulk(ctx context.Context, c *client, b *wire.Bulk, asJSON bool) error {
	terminal := p.terminal(p.Stderr)
	for b.State == "running" {
		if terminal {
			fmt.Fprintf(p.Stderr, "\r%d/%d, %d failed", b.Done+b.Skipped+b.Failed, b.Total, b.Failed)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(p.Stderr, "\nit goes on in the gateway: %s\n", shell.Words("gaff", "bulk", "show", b.ID))
			return ctx.Err()
		case <-time.After(bulkEvery):
		}
		raw, err := c.one(ctx, "/api/v1/bulk", url.PathEscape(b.ID), b)
		if err != nil {
			return err
		}
		if asJSON && b.State != "running" {
			if err := writeRawJSON(p.Stdout, raw); err != nil {
				return err
			}
		}
	}
	if terminal {
		fmt.Fprintln(p.Stderr)
	}
	if !asJSON {
		fmt.Fprintln(p.Stdout, bulkSummary(b))
	}
	if b.Failed > 0 {
		return errReported
	}
	return nil
}
