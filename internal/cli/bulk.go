package cli

import (
	"context"
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
		use: "show ID", short: "Show the progress of a bulk action", path: "/api/v1/bulk", others: others,
		print: func(_ context.Context, _ *client, b *wire.Bulk) error {
			_, err := fmt.Fprintln(p.Stdout, bulkSummary(b))
			return err
		},
	})
	return group("bulk", "Retry, replay or rescue many at once, in the gateway", p.bulkStartCommand(), show, p.actCommand(acting{
		use: "stop ID", short: "Stop a bulk action; finished items stay finished", method: http.MethodDelete, path: "/api/v1/bulk/{id}",
		done: "stopped", others: others,
	}))
}

// bulkOptions are the flags of "gaff bulk start".
type bulkOptions struct {
	filter             eventFilter
	count, yes, asJSON bool
}

func (p *program) bulkStartCommand() *cobra.Command {
	var o bulkOptions
	cmd := &cobra.Command{
		Use:   "start retry|replay|rescue",
		Short: "Retry or replay all matching events, or rescue all matching rejected requests",
		Long: `Retry or replay all events that match the flags, or rescue all rejected requests of a source
that are stored whole. The command counts them first, and asks before it starts. The gateway
runs the action: interrupting this command only ends the watching ("gaff bulk stop" ends the
action).`,
		Example: `  gaff bulk start retry --source stripe --since 1d
  gaff bulk start replay --type order.paid --count
  gaff bulk start rescue --source stripe --yes`,
		Args: arguments(1, 1, "one of retry, replay and rescue"),
		RunE: work(func(ctx context.Context, args []string) error { return p.startBulk(ctx, args[0], o) }),
	}
	o.filter.flags(cmd)
	cmd.Flags().BoolVar(&o.count, "count", false, "only count")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON: the action at its start, and at its end")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) startBulk(ctx context.Context, action string, o bulkOptions) error {
	if !slices.Contains([]string{"retry", "replay", "rescue"}, action) {
		return usagef("unknown bulk action %q: want retry, replay or rescue", action)
	}
	chosen, err := o.filter.values(p.now())
	if err != nil {
		return err
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	request := func(dryRun bool) (*wire.Bulk, error) {
		b, raw, err := decodeCall[wire.Bulk](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/bulk", body: wire.BulkRequest{
			Action: action, Source: chosen.Get("source"), Type: chosen.Get("type"), Status: chosen.Get("status"), Query: chosen.Get("q"),
			Since: chosen.Get("since"), Until: chosen.Get("until"), DryRun: dryRun,
		}})
		if err == nil && o.asJSON {
			err = writeRawJSON(p.Stdout, raw)
		}
		return b, err
	}
	if o.count || !o.yes {
		b, err := request(true)
		if err != nil {
			return err
		}
		if start, err := p.confirmBulk(b, action, o); err != nil || !start {
			return err
		}
	}
	b, err := request(false)
	if err != nil {
		return err
	}
	return p.watchBulk(ctx, c, b, o.asJSON)
}

// confirmBulk prints or asks about the counted matches. It reports whether the action is to start.
func (p *program) confirmBulk(b *wire.Bulk, action string, o bulkOptions) (start bool, err error) {
	matches := fmt.Sprintf("%d to %s", b.Matches, action)
	if b.More {
		matches += ", and more than one action takes"
	}
	switch {
	case o.count && o.asJSON:
		return false, nil
	case o.count:
		_, err := fmt.Fprintln(p.Stdout, matches)
		return false, err
	case b.Matches == 0:
		fmt.Fprintln(p.Stderr, "nothing matches")
		return false, nil
	case !p.terminal(p.Stdin):
		return false, usagef("%s; add --yes to start without a question", matches)
	case !confirm(p.Stdin, p.Stderr, matches+"; go on?"):
		fmt.Fprintln(p.Stderr, "nothing was done")
		return false, errReported
	}
	return true, nil
}

// bulkEvery is the interval at which the progress of a bulk action is read.
const bulkEvery = 500 * time.Millisecond

// watchBulk prints the progress of a bulk action until it ends.
func (p *program) watchBulk(ctx context.Context, c *client, b *wire.Bulk, asJSON bool) error {
	g := p.progress(b.Total)
	for b.State == "running" {
		if g.done, g.failed = b.Done+b.Skipped+b.Failed, b.Failed; g.terminal {
			fmt.Fprintf(p.Stderr, "\r\x1b[K%s", &g)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(p.Stderr, "\nthe gateway continues the action: %s\n", shell.Words("gaff", "bulk", "show", b.ID))
			return ctx.Err()
		case <-time.After(bulkEvery):
		}
		next, raw, err := decodeCall[wire.Bulk](ctx, c, apiCall{method: http.MethodGet, path: "/api/v1/bulk/" + url.PathEscape(b.ID)})
		if err != nil {
			return err
		}
		b = next
		if asJSON && b.State != "running" {
			if err := writeRawJSON(p.Stdout, raw); err != nil {
				return err
			}
		}
	}
	if g.terminal {
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
