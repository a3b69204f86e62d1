package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

func (p *program) rejectionsCommand() *cobra.Command {
	list := listCommand(p, listing[wire.Rejection]{
		use: "list", short: "List rejected requests, newest first", path: "/api/v1/rejections",
		heads: []string{"ID", "ANSWER", "SOURCE", "RECEIVED", "FROM", "STORED", "REASON"},
		query: &wire.RejectionQuery{},
		cells: func(r wire.Rejection) []string {
			return []string{
				clean(r.ID), strconv.Itoa(r.Status), cut(orDash(r.Source), 40), stamp(r.ReceivedAt), clean(r.RemoteAddr), stored(r), cut(r.Reason, 100),
			}
		},
	})
	show := showCommand(p, showing[wire.Rejection]{
		use: "show ID", short: "Show a rejected request and the reason", path: "/api/v1/rejections", others: "gaff rejections list",
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
			return p.showRequest(&wire.Request{Method: r.Method, URL: r.URL, RemoteAddr: r.RemoteAddr, Headers: r.Headers, Body: r.Body})
		},
	})
	return group("rejections", "Rejected requests and the reasons; gaff events rescue verifies them again", list, show)
}

// stored says how much of a rejected request is stored: only a whole one can be rescued.
func stored(r wire.Rejection) string {
	switch {
	case r.RescuedAs != "":
		return "rescued as " + clean(r.RescuedAs)
	case r.Rescuable:
		return "whole"
	}
	return "in part"
}

func (p *program) rescueCommand() *cobra.Command {
	var asJSON bool
	var source string
	cmd := &cobra.Command{
		Use:   "rescue REJECTION…",
		Short: "Verify rejected webhooks again, and store those that are authentic now",
		Long: `Verify rejected webhooks again after a correction of the configuration: by the source as it
is now, at the time when each was received. Authentic webhooks are stored. A webhook that
was rescued before, or that its sender sent again, is not stored twice.

Rejected webhooks are stored whole up to a size and for a time (limits.quarantine,
limits.quarantine_for).`,
		Example: `  gaff events rescue rej_01KAVJ0Z6M3Q8R5T7W9XYZABCD
  gaff events rescue --source stripe`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (source == "") {
				return usagef("name the rejections, or give --source NAME for all of a source that are stored whole")
			}
			return nil
		},
		RunE: work(func(ctx context.Context, args []string) error { return p.rescue(ctx, args, source, asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line: {eventId, events, duplicate}")
	cmd.Flags().StringVar(&source, "source", "", "all rejected webhooks of this source that are stored whole, oldest first")
	p.clientFlags(cmd)
	return cmd
}

// rescue verifies rejections again: those named, or those of a source.
func (p *program) rescue(ctx context.Context, ids []string, source string, asJSON bool) error {
	c, err := p.dial()
	if err != nil {
		return err
	}
	if source != "" {
		if ids, err = p.rescuable(ctx, c, source); err != nil {
			return err
		}
		if len(ids) == 0 {
			fmt.Fprintln(p.Stderr, "no request of this source is stored whole")
		}
	}
	failed := 0
	for _, id := range ids {
		doc, raw, err := decodeCall[wire.Rescued](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/rejections/" + url.PathEscape(id) + "/rescue"})
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			failed++
			fmt.Fprintf(p.Stderr, "%s: %v\n", clean(id), err)
		case asJSON:
			if err := writeRawJSON(p.Stdout, raw); err != nil {
				return err
			}
		default:
			fmt.Fprintf(p.Stdout, "%s %s\n", clean(id), clean(rescued(doc)))
		}
	}
	if failed > 0 {
		return errReported
	}
	return nil
}

// rescued describes the result of a rescue.
func rescued(doc *wire.Rescued) string {
	switch {
	case doc.Events == 0:
		return "authentic, and holds no event"
	case doc.Duplicate:
		return "was stored already: " + doc.EventID
	case doc.Events > 1:
		return fmt.Sprintf("stored as %s and %d more", doc.EventID, doc.Events-1)
	}
	return "stored as " + doc.EventID
}

const maxRescue = 10_000

// rescuable lists the rejected requests of a source that are stored whole, oldest first.
func (p *program) rescuable(ctx context.Context, c *client, source string) (ids []string, err error) {
	_, err = c.list(ctx, "/api/v1/rejections", given("source", source), 0, func(doc json.RawMessage) error {
		var r wire.Rejection
		if err := json.Unmarshal(doc, &r); err != nil {
			return fmt.Errorf("read the rejections: %w", err)
		}
		if r.Rescuable {
			ids = append(ids, r.ID)
		}
		if len(ids) > maxRescue {
			return errors.New("more than 10,000 are stored whole; name those to rescue, or use gaff bulk start rescue")
		}
		return nil
	})
	slices.Reverse(ids)
	return ids, err
}
