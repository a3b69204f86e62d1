package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

// again describes a command that processes events again: retry or replay.
type again struct {
	verb, done, short, long string
	// status is the filter if --status is not given.
	status string
}

var (
	retryAgain = again{
		verb: "retry", done: "retried", status: "error",
		short: "Retry failed events",
		long: `Retry the failed deliveries of events: of the named events, or of all that match the flags
(with the status error, if no other is given). The deliveries become due at once, and the
command does not wait for them. With --now, each is attempted at once, and its outcome
decides the exit code.`,
	}
	replayAgain = again{
		verb: "replay", done: "replayed",
		short: "Process events again, in any status",
		long: `Process events again by all their handlers, in any status: the named events, or all
that match the flags. Effects that happened once do not happen twice.`,
	}
)

// againOptions are the flags of such a command.
type againOptions struct {
	filter           eventFilter
	yes, now, asJSON bool
}

func (p *program) eventsAgainCommand(a again) *cobra.Command {
	var o againOptions
	cmd := &cobra.Command{
		Use:   a.verb + " [ID...]",
		Short: a.short,
		Long:  a.long,
		Example: fmt.Sprintf("  gaff events %[1]s evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD\n"+
			"  gaff events %[1]s --source stripe --status error --since 1d", a.verb),
		RunE: work(func(ctx context.Context, ids []string) error {
			chosen, err := o.filter.values(p.now())
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
				if ids, err = p.matching(ctx, c, a, chosen, o.yes); err != nil || len(ids) == 0 {
					return err
				}
			}
			return p.again(ctx, c, a, ids, o)
		}),
	}
	o.filter.flags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON document a line: {id, ok, deliveries, error}")
	if a.verb == "retry" {
		flags.BoolVar(&o.now, "now", false, "attempt each at once and wait for its outcome")
	}
	p.clientFlags(cmd)
	return cmd
}

// matching returns the ids of the events that a filter chooses, after asking unless yes.
func (p *program) matching(ctx context.Context, c *client, a again, chosen url.Values, yes bool) (ids []string, err error) {
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
		return nil, err
	}
	if len(ids) == 0 {
		fmt.Fprintln(p.Stderr, "no event matches")
		return nil, nil
	}
	matches := counted(len(ids), "event") + " match"
	if len(ids) == 1 {
		matches += "es"
	}
	switch {
	case yes:
	case !p.terminal(p.Stdin):
		return nil, usagef("%s; add --yes to %s without a question", matches, a.verb)
	case !confirm(p.Stdin, p.Stderr, matches+"; go on?"):
		fmt.Fprintln(p.Stderr, "nothing was done")
		return nil, errReported
	}
	return ids, nil
}

// shownSingly is the number of events up to which each has a line. Of more, only failures have one.
const shownSingly = 20

// againResult is the outcome for one event.
type againResult struct {
	ID         string   `json:"id"`
	OK         bool     `json:"ok"`
	Deliveries []string `json:"deliveries,omitempty"`
	Error      string   `json:"error,omitempty"`
}

func (p *program) again(ctx context.Context, c *client, a again, ids []string, o againOptions) error {
	g := p.progress(len(ids))
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		res := againResult{ID: id}
		var err error
		if o.now {
			_, err = c.call(ctx, http.MethodPost, "/api/v1/webhooks/manage", nil, wire.WebhookLogRetry{WebhookLogID: id})
		} else if started, _, e := decodeCall[wire.Started](ctx, c, apiCall{
			method: http.MethodPost, path: "/api/v1/events/" + url.PathEscape(id) + "/" + a.verb, body: struct{}{},
		}); e != nil {
			err = e
		} else {
			res.Deliveries = started.Deliveries
		}
		if err != nil && ctx.Err() != nil {
			break
		}
		if api, ok := errors.AsType[*apiError](err); err != nil && (!ok || api.status == http.StatusUnauthorized || api.status == http.StatusForbidden) {
			// This failure would stop all others, too.
			g.end()
			return fmt.Errorf("%s %s (%d of %d done before): %w", a.verb, id, g.done, g.total, err)
		}
		if res.OK = err == nil; err != nil {
			res.Error = err.Error()
		}
		if err := p.printAgain(&g, a, res, o); err != nil {
			return err
		}
		g.step(res.OK)
	}
	g.end()
	return p.sumUp(ctx, a, &g, o.asJSON)
}

// printAgain prints the outcome for one event.
func (p *program) printAgain(g *progress, a again, res againResult, o againOptions) (err error) {
	switch {
	case o.asJSON:
		err = writeJSON(p.Stdout, res)
	case !res.OK:
		g.say("%s: %s", clean(res.ID), clean(res.Error))
	case g.total > shownSingly:
	case o.now:
		_, err = fmt.Fprintf(p.Stdout, "%s: success\n", clean(res.ID))
	default:
		_, err = fmt.Fprintf(p.Stdout, "%s: %s, %s\n", clean(res.ID), a.done, counted(len(res.Deliveries), "delivery"))
	}
	return err
}

// sumUp prints the totals and returns the error for the exit code.
func (p *program) sumUp(ctx context.Context, a again, g *progress, asJSON bool) error {
	left := g.total - g.done
	if !asJSON && (g.total > 1 || left > 0) {
		fmt.Fprintf(p.Stdout, "%s: %d %s, %d failed", counted(g.total, "event"), g.done-g.failed, a.done, g.failed)
		if left > 0 {
			fmt.Fprintf(p.Stdout, ", %d not reached", left)
		}
		fmt.Fprintln(p.Stdout)
	}
	switch {
	case left > 0:
		return ctx.Err()
	case g.failed > 0:
		return errReported
	}
	return nil
}

// counted writes a number with its noun, in the singular or plural.
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
