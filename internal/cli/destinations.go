package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"gaff/internal/wire"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func destinationTarget(d *wire.NewSecretDestination) string {
	switch d.Kind {
	case "pull":
		return "(fetched)"
	case "queue":
		return cut(d.URL+" "+d.Topic, 60)
	}
	return cut(d.URL, 60)
}

// state is what people must know first.
func destinationState(d *wire.NewSecretDestination) string {
	switch {
	case d.Health.State != "active":
		return clean(d.Health.State)
	case d.Health.Circuit != "closed":
		return "circuit " + clean(d.Health.Circuit)
	}
	return "active"
}

func (p *program) destinationsCommand() *cobra.Command {
	return group("destinations", "Where events are forwarded to: look, pause, resume, change",
		p.destinationsListCommand(), p.destinationsShowCommand(), p.destinationsAddCommand(),
		p.destinationActCommand("pause", "Hold back what is for a destination; nothing is lost", true),
		p.destinationActCommand("resume", "Send again what is for a destination, and close its circuit", false),
		p.destinationsTestCommand(), p.destinationsRotateCommand(), p.destinationsDeleteCommand())
}

func (p *program) destinationsListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List destinations with their state and backlog", Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodGet, "/api/v1/destinations", nil, nil)
			if err != nil {
				return err
			}
			var page struct{ Docs []json.RawMessage }
			if err := json.Unmarshal(raw, &page); err != nil {
				return fmt.Errorf("read the destinations: %w", err)
			}
			if len(page.Docs) == 0 && !asJSON {
				fmt.Fprintln(p.Stderr, `none found; "gaff destinations add" makes one`)
				return nil
			}
			t := newTable(p.Stdout, "NAME", "STATE", "WAITING", "DEAD", "EVENTS", "TO", "LAST ERROR")
			for _, doc := range page.Docs {
				if asJSON {
					if err := writeRawJSON(p.Stdout, doc); err != nil {
						return err
					}
					continue
				}
				var d wire.NewSecretDestination
				if err := json.Unmarshal(doc, &d); err != nil {
					return fmt.Errorf("read a destination: %w", err)
				}
				last := ""
				if at, ok := d.Health.LastFailure, d.Health.LastSuccess; !at.IsZero() && at.After(ok.Time) {
					last = string(d.Health.LastError)
				}
				t.row(clean(d.Name), destinationState(&d), fmt.Sprint(d.Backlog.Waiting), fmt.Sprint(d.Backlog.Dead), cut(strings.Join(d.Events, " "), 40), destinationTarget(&d), cut(last, 60))
			}
			if asJSON {
				return nil
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(cmd)
	return cmd
}

// hinted names the command that lists destinations where one is not there.
func hinted(err error) error {
	if e, ok := errors.AsType[*apiError](err); ok && e.status == http.StatusNotFound {
		e.next = `"gaff destinations list" names those there are`
	}
	return err
}

func destinationPath(name, act string) string {
	path := "/api/v1/destinations/" + url.PathEscape(name)
	if act != "" {
		path += "/" + act
	}
	return path
}

func (p *program) destinationsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show NAME", Short: "Show one destination: how it is set up, and how it does", Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodGet, destinationPath(args[0], ""), nil, nil)
			if err != nil {
				return hinted(err)
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			var d wire.NewSecretDestination
			if err := json.Unmarshal(raw, &d); err != nil {
				return fmt.Errorf("read the destination: %w", err)
			}
			return p.showDestination(&d)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) showDestination(d *wire.NewSecretDestination) error {
	t := newTable(p.Stdout)
	t.row("name", clean(d.Name))
	t.row("state", strings.TrimSpace(destinationState(d)+" "+cut(d.Health.Reason, 200)))
	t.pair("tried again at", when(d.Health.RetryAt))
	t.pair("last success", when(d.Health.LastSuccess))
	t.pair("last failure", when(d.Health.LastFailure))
	t.pair("last error", cut(d.Health.LastError, 200))
	t.row("waiting", fmt.Sprintf("%d (%d behind an earlier one of their key)", d.Backlog.Waiting, d.Backlog.Held))
	t.row("dead", fmt.Sprint(d.Backlog.Dead))
	t.row("to", destinationTarget(d))
	t.row("events", clean(strings.Join(d.Events, " ")))
	t.pair("filter", clean(d.Filter))
	t.row("format", clean(d.Format))
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		t.row("header "+clean(name), cut(d.Headers[name], 80))
	}
	if len(d.Secrets) > 0 {
		t.row("signed with", clean(strings.Join(d.Secrets, " ")))
	}
	t.row("tries", fmt.Sprintf("%d, after %s up to %s, %s each", d.MaxAttempts, clean(d.FirstWait), clean(d.LongestWait), clean(d.Timeout)))
	t.row("at once", strconv.Itoa(d.Concurrency))
	if d.Rate > 0 {
		t.row("a second", fmt.Sprintf("%g, %d together", d.Rate, d.Burst))
	}
	if d.Order != "" {
		t.row("order", clean(d.Order+" by "+d.OrderBy))
	}
	t.row("origin", clean(d.Origin))
	return t.flush()
}

// when is stamp, but empty for no time.
func when(t wire.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

func (p *program) destinationsAddCommand() *cobra.Command {
	var events, headers []string
	var kind, topic, filter, format, order, orderBy, file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add NAME [URL]",
		Short: "Forward events to an address, and print the secret that they are signed with",
		Long: `Forward events to an address. The signing secret is made by the gateway and printed once.
--file gives what has no flag, as JSON in the fields of POST /api/v1/destinations; flags win.`,
		Args: arguments(1, 2, "a NAME and, unless --kind is pull, a URL"),
		RunE: work(func(ctx context.Context, args []string) error {
			body := map[string]any{}
			if file != "" {
				text, err := os.ReadFile(p.path(file))
				if err != nil {
					return err
				}
				if err := json.Unmarshal(text, &body); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			body["name"] = args[0]
			if len(args) > 1 {
				body["url"] = args[1]
			}
			for name, text := range map[string]string{"kind": kind, "topic": topic, "filter": filter, "format": format, "order": order, "orderBy": orderBy} {
				if text != "" {
					body[name] = text
				}
			}
			if len(events) > 0 {
				body["events"] = events
			}
			if len(headers) > 0 {
				all := map[string]string{}
				for _, line := range headers {
					name, value, ok := strings.Cut(line, ":")
					if !ok {
						return usagef("--header %q is none; write 'Name: value'", line)
					}
					all[strings.TrimSpace(name)] = strings.TrimSpace(value)
				}
				body["headers"] = all
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/destinations", nil, body)
			if err != nil {
				return err
			}
			return p.printSecret(raw, asJSON)
		}),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&events, "events", nil, `which events: source:type with *, by commas (default "*:*", all webhooks)`)
	flags.StringVar(&filter, "filter", "", "a CEL condition over source, type, data, webhookId and correlationId")
	flags.StringVar(&format, "format", "", "envelope (default), original, cloudevents or cloudevents-binary")
	flags.StringVar(&kind, "kind", "", "http (default), pull or queue")
	flags.StringVar(&topic, "topic", "", "a queue's subject, topic or stream")
	flags.StringVar(&orderBy, "order-by", "", "a JSON pointer into the data by which order is kept")
	flags.StringVar(&order, "order", "", "skip-dead (default), hold-dead or latest")
	flags.StringArrayVar(&headers, "header", nil, "a header to send, 'Name: value'; may be repeated")
	flags.StringVar(&file, "file", "", "a JSON file with more fields")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// printSecret prints the secret that an answer holds.
func (p *program) printSecret(raw json.RawMessage, asJSON bool) error {
	if asJSON {
		return writeRawJSON(p.Stdout, raw)
	}
	var d wire.NewSecretDestination
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("read the destination: %w", err)
	}
	if d.Secret == "" {
		fmt.Fprintf(p.Stderr, "%s receives %s\n", clean(d.Name), clean(strings.Join(d.Events, " ")))
		return nil
	}
	fmt.Fprintln(p.Stdout, clean(d.Secret))
	fmt.Fprintf(p.Stderr, "What %s receives is signed with the secret above, which is not shown again.\n", clean(d.Name))
	return nil
}

func (p *program) destinationActCommand(act, short string, withReason bool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: act + " NAME", Short: short, Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var body any
			if withReason && reason != "" {
				body = map[string]string{"reason": reason}
			}
			raw, err := c.call(ctx, http.MethodPost, destinationPath(args[0], act), nil, body)
			if err != nil {
				return hinted(err)
			}
			var d wire.NewSecretDestination
			if err := json.Unmarshal(raw, &d); err != nil {
				return fmt.Errorf("read the destination: %w", err)
			}
			fmt.Fprintf(p.Stdout, "%s is %s; %d wait\n", clean(d.Name), destinationState(&d), d.Backlog.Waiting)
			return nil
		}),
	}
	if withReason {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look")
	}
	p.clientFlags(cmd)
	return cmd
}

func (p *program) destinationsTestCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "test NAME", Short: `Send a "gaff:test" event to a destination, and print what it answers`, Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, destinationPath(args[0], "test"), nil, nil)
			if err != nil {
				return hinted(err)
			}
			var x struct {
				OK         bool
				Error      string
				DurationMs float64
				Response   *struct {
					Status int
					Body   string
				}
			}
			if err := json.Unmarshal(raw, &x); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if asJSON {
				err = writeRawJSON(p.Stdout, raw)
			} else {
				t := newTable(p.Stdout)
				if x.Response != nil {
					t.row("status", strconv.Itoa(x.Response.Status))
					t.pair("response", cut(x.Response.Body, 500))
				}
				t.pair("error", cut(x.Error, 500))
				t.row("took", fmt.Sprintf("%.0f ms", x.DurationMs))
				err = t.flush()
			}
			if err == nil && !x.OK {
				err = errReported
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) destinationsRotateCommand() *cobra.Command {
	var asJSON, drop bool
	cmd := &cobra.Command{
		Use: "rotate NAME", Short: "Sign with a new secret, and for now with the former one as well",
		Long: `Make a new signing secret for a destination and print it, once. What is sent from now on is
signed with both, the new one and the former one, so the receiver can be changed at leisure;
then "gaff destinations rotate --drop" makes another and leaves the former ones.`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, destinationPath(args[0], "rotate"), nil, map[string]bool{"drop": drop})
			if err != nil {
				return hinted(err)
			}
			return p.printSecret(raw, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&drop, "drop", false, "sign with the new secret alone")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) destinationsDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Delete a destination and cancel what waits for it", Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			res, err := c.send(ctx, http.MethodDelete, destinationPath(args[0], ""), nil, nil, nil)
			if err != nil {
				return hinted(err)
			}
			return res.Body.Close()
		}),
	}
	p.clientFlags(cmd)
	return cmd
}
