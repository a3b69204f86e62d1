package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

const listDestinations = "gaff destinations list"

func destinationTarget(d *wire.NewSecretDestination) string {
	switch d.Kind {
	case "pull":
		return "(fetched)"
	case "archive":
		return cut(d.URL, 60)
	case "queue":
		return cut(d.URL+" "+d.Topic, 60)
	}
	return cut(d.URL, 60)
}

// destinationState returns the state of a destination, or of its circuit if that is not closed.
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
	list := listCommand(p, listing[wire.NewSecretDestination]{
		use: "list", short: "List destinations with their state and backlog", path: "/api/v1/destinations", single: true,
		heads: []string{"NAME", "STATE", "WAITING", "DEAD", "EVENTS", "TO", "LAST ERROR"},
		none:  `none found; "gaff destinations add" creates one`,
		cells: func(d wire.NewSecretDestination) []string {
			last := ""
			if at, ok := d.Health.LastFailure, d.Health.LastSuccess; !at.IsZero() && at.After(ok.Time) {
				last = string(d.Health.LastError)
			}
			return []string{
				clean(d.Name), destinationState(&d), fmt.Sprint(d.Backlog.Waiting), fmt.Sprint(d.Backlog.Dead), cut(strings.Join(d.Events, " "), 40),
				destinationTarget(&d), cut(last, 60),
			}
		},
	})
	show := showCommand(p, showing[wire.NewSecretDestination]{
		use: "show NAME", short: "Show a destination: its settings, health and backlog", path: "/api/v1/destinations", others: listDestinations,
		print: func(_ context.Context, _ *client, d *wire.NewSecretDestination) error { return p.showDestination(d) },
	})
	remove := p.actCommand(acting{
		use: "delete NAME", short: "Delete a destination and cancel its deliveries", method: http.MethodDelete, path: "/api/v1/destinations/{id}",
		others: listDestinations,
	})
	return group("destinations", "Where events are forwarded to: list, add, pause, resume, test", list, show, p.destinationsAddCommand(),
		p.destinationsPauseCommand(), p.destinationActCommand("resume", "Resume a destination, and close its circuit", nil),
		p.destinationsTestCommand(), p.destinationsRotateCommand(), remove)
}

func destinationCall(method, name, action string, body any) apiCall {
	path := "/api/v1/destinations/" + url.PathEscape(name)
	if action != "" {
		path += "/" + action
	}
	return apiCall{method: method, path: path, body: body, others: listDestinations}
}

func (p *program) showDestination(d *wire.NewSecretDestination) error {
	t := newTable(p.Stdout)
	t.row("name", clean(d.Name))
	t.row("state", strings.TrimSpace(destinationState(d)+" "+cut(d.Health.Reason, 200)))
	t.pair("next attempt at", when(d.Health.RetryAt))
	t.pair("last success", when(d.Health.LastSuccess))
	t.pair("last failure", when(d.Health.LastFailure))
	t.pair("last error", cut(d.Health.LastError, 200))
	t.row("waiting", fmt.Sprintf("%d (%d behind an earlier delivery of their key)", d.Backlog.Waiting, d.Backlog.Held))
	t.row("dead", fmt.Sprint(d.Backlog.Dead))
	t.row("to", destinationTarget(d))
	t.row("events", clean(strings.Join(d.Events, " ")))
	t.pair("filter", clean(d.Filter))
	t.row("format", clean(d.Format))
	t.pair("transform", clean(d.Transform))
	t.pair("transform in JavaScript", clean(d.TransformJS))
	t.pair("signature header", clean(d.SignatureHeader))
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		t.row("header "+clean(name), cut(d.Headers[name], 80))
	}
	if len(d.Secrets) > 0 {
		t.row("signed with", clean(strings.Join(d.Secrets, " ")))
	}
	if d.Delay != "0s" {
		t.pair("delay", clean(d.Delay))
	}
	t.row("attempts", fmt.Sprintf("%d, after %s up to %s, timeout %s", d.MaxAttempts, clean(d.FirstWait), clean(d.LongestWait), clean(d.Timeout)))
	t.row("concurrency", strconv.Itoa(d.Concurrency))
	if d.Rate > 0 {
		t.row("rate", fmt.Sprintf("%g per second, burst %d", d.Rate, d.Burst))
	}
	if d.Key != "" {
		t.row("key", clean(fmt.Sprintf("%s, %d at once, %s", d.Key, d.KeyConcurrency, perSecond(d.KeyRate))))
	}
	if d.BreakRate > 0 {
		t.row("circuit", fmt.Sprintf("opens if %.0f %% of %s fail", d.BreakRate*100, clean(d.BreakWindow)))
	}
	showDestinationParts(t, d)
	if d.Order != "" {
		t.row("order", clean(d.Order+" by "+d.OrderBy))
	}
	t.row("origin", clean(d.Origin))
	return t.flush()
}

func perSecond(rate float64) string {
	if rate == 0 {
		return "any rate"
	}
	return fmt.Sprintf("%g per second", rate)
}

func showDestinationParts(t table, d *wire.NewSecretDestination) {
	if o := d.OAuth; o != nil {
		t.row("oauth", clean(strings.TrimSpace(fmt.Sprintf("%s as %s %s", o.TokenURL, o.ClientID, strings.Join(o.Scopes, " ")))))
	}
	if c := d.TLS; c != nil {
		t.row("client certificate", strings.TrimSpace(clean(string(c.Subject))+", expires "+when(c.ExpiresAt)))
	}
	if b := d.Batch; b != nil {
		t.row("batch", clean(fmt.Sprintf("%d events or %s, %s", b.Size, b.Wait, b.Format)))
	}
	if a := d.Archive; a != nil {
		t.row("archived", fmt.Sprintf("%d events in %d files", a.Events, a.Files))
		t.pair("last file", clean(strings.TrimSpace(string(a.LastFile)+" "+when(a.At))))
		t.pair("archived up to", clean(a.Cursor))
	}
}

// when is stamp, but empty for the zero time.
func when(t wire.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

// newDestination is the request body of a new destination: the document of --file with the fields
// of the flags in it. Other members of the file stay as they are, so that the API can name those
// that it does not know.
type newDestination map[string]any

func (b newDestination) set(field, text string) {
	if text != "" {
		b[field] = text
	}
}

func (p *program) destinationsAddCommand() *cobra.Command {
	var events, headers []string
	var file, script string
	fields := map[string]*string{}
	cmd := callCommand(p, calling[wire.NewSecretDestination]{
		use: "add NAME [URL]", short: "Forward events to a URL, and print the signing secret",
		long: `Forward events to a URL. The gateway creates the signing secret and prints it once.
--file sets what has no flag, as JSON in the fields of POST /api/v1/destinations; flags win.`,
		args: arguments(1, 2, "a NAME and, unless --kind is pull, a URL"),
		call: func(args []string) (apiCall, error) {
			body := newDestination{}
			if file != "" {
				text, err := os.ReadFile(p.path(file))
				if err != nil {
					return apiCall{}, err
				}
				if err := json.Unmarshal(text, &body); err != nil {
					return apiCall{}, fmt.Errorf("%s: %w", file, err)
				}
			}
			body.set("name", args[0])
			if len(args) > 1 {
				body.set("url", args[1])
			}
			for field, text := range fields {
				body.set(field, *text)
			}
			if script != "" {
				text, err := p.readInput(script)
				if err != nil {
					return apiCall{}, err
				}
				body.set("transformJs", string(text))
			}
			if len(events) > 0 {
				body["events"] = events
			}
			if len(headers) > 0 {
				parsed, err := parseHeaders(headers)
				if err != nil {
					return apiCall{}, err
				}
				body["headers"] = parsed
			}
			return apiCall{method: http.MethodPost, path: "/api/v1/destinations", body: body}, nil
		},
		print: p.printSecret,
	})
	flags := cmd.Flags()
	flag := func(field, name, help string) {
		fields[field] = new(string)
		flags.StringVar(fields[field], name, "", help)
	}
	flags.StringSliceVar(&events, "events", nil, `which events: source:type with *, separated by commas (default "*:*", all webhooks)`)
	flag("filter", "filter", "a CEL condition over source, type, data, webhookId and correlationId")
	flag("format", "format", "envelope (default), original, cloudevents, cloudevents-binary or spec")
	flag("transform", "transform", "a CEL expression over the envelope's members; its value, an object, is the body")
	flags.StringVar(&script, "transform-js", "", "a file with JavaScript: function transform(event, out) returns the body; - for the standard input")
	flag("signatureHeader", "signature-header", "a header for the HMAC-SHA-256 of the body in hex, keyed by the first secret")
	flag("delay", "delay", "how long after its receipt an event is sent first, such as 10m")
	flag("kind", "kind", "http (default), pull or queue")
	flag("key", "key", "a JSON pointer or CEL expression, such as /user/id: one event of each key is sent at once")
	flag("topic", "topic", "a queue's subject, topic or stream")
	flag("orderBy", "order-by", "a JSON pointer into the data; events with the same value are kept in order")
	flag("order", "order", "skip-dead (default), hold-dead or latest")
	flags.StringArrayVar(&headers, "header", nil, "a header to send, 'Name: value'; may be repeated")
	flags.StringVar(&file, "file", "", "a JSON file with more fields")
	return cmd
}

// parseHeaders reads lines of the form "Name: value".
func parseHeaders(lines []string) (map[string]string, error) {
	headers := map[string]string{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, usagef("--header %q is not a header; write 'Name: value'", line)
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

// printSecret prints the new signing secret of a destination.
func (p *program) printSecret(_ context.Context, _ *client, d *wire.NewSecretDestination) error {
	if d.Secret == "" {
		fmt.Fprintf(p.Stderr, "%s receives %s\n", clean(d.Name), clean(strings.Join(d.Events, " ")))
		return nil
	}
	fmt.Fprintln(p.Stdout, clean(d.Secret))
	fmt.Fprintf(p.Stderr, "The secret above signs the requests to %s. It is not shown again.\n", clean(d.Name))
	return nil
}

// destinationActCommand posts an action of a destination and prints its state; body may be nil.
func (p *program) destinationActCommand(action, short string, body func() any) *cobra.Command {
	return callCommand(p, calling[wire.NewSecretDestination]{
		use: action + " NAME", short: short, args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			r := destinationCall(http.MethodPost, args[0], action, nil)
			if body != nil {
				r.body = body()
			}
			return r, nil
		},
		print: func(_ context.Context, _ *client, d *wire.NewSecretDestination) error {
			_, err := fmt.Fprintf(p.Stdout, "%s is %s; %d pending\n", clean(d.Name), destinationState(d), d.Backlog.Waiting)
			return err
		},
	})
}

func (p *program) destinationsPauseCommand() *cobra.Command {
	var pause wire.Pause
	cmd := p.destinationActCommand("pause", "Pause a destination; its deliveries stay pending", func() any { return pause })
	cmd.Flags().StringVar(&pause.Reason, "reason", "", "the reason, shown with the destination")
	return cmd
}

func (p *program) destinationsTestCommand() *cobra.Command {
	return callCommand(p, calling[wire.Exchange]{
		use: "test NAME", short: `Send a "gaff:test" event to a destination, and print its response`, args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			return destinationCall(http.MethodPost, args[0], "test", nil), nil
		},
		print: func(_ context.Context, _ *client, x *wire.Exchange) error {
			t := newTable(p.Stdout)
			if x.Response != nil {
				t.row("status", strconv.Itoa(x.Response.Status))
				t.pair("response", cut(x.Response.Body, 500))
			}
			t.pair("error", cut(x.Error, 500))
			t.row("took", fmt.Sprintf("%.0f ms", x.DurationMs))
			return t.flush()
		},
		failed: func(x *wire.Exchange) bool { return !x.OK },
	})
}

func (p *program) destinationsRotateCommand() *cobra.Command {
	var rotation wire.Rotation
	cmd := callCommand(p, calling[wire.NewSecretDestination]{
		use: "rotate NAME", short: "Sign with a new secret, and for now also with the previous one",
		long: `Create a new signing secret for a destination and print it, once. Requests are then signed
with both the new and the previous secret, so that the receiver can be changed later. After
that, "gaff destinations rotate --drop" creates another secret and drops the previous ones.`,
		args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			return destinationCall(http.MethodPost, args[0], "rotate", rotation), nil
		},
		print: p.printSecret,
	})
	cmd.Flags().BoolVar(&rotation.Drop, "drop", false, "sign with the new secret only")
	return cmd
}
