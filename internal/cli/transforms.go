package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gaff"
	envelopes "gaff/client"
	"gaff/destination"
	"gaff/internal/diff"
	"gaff/internal/wire"
)

func (p *program) transformsCommand() *cobra.Command {
	return group("transforms", "Transformations of destinations: test them", p.transformsTestCommand())
}

// transformTest is what the flags of gaff transforms test say.
type transformTest struct {
	request       wire.PreviewRequest
	filter        string
	input, expect string
	asJSON, diff  bool
}

func (p *program) transformsTestCommand() *cobra.Command {
	var o transformTest
	cmd := &cobra.Command{
		Use: "test [FILE]", Short: "Show what a transformation makes of events; nothing is sent",
		Long: `Show what a transformation makes of events, without sending anything. FILE has JavaScript (.js) or
a CEL expression. The events are stored ones of a running gateway (role admin): those of --id, or
the newest that --events chooses. With --input they are envelopes of a file, and no gateway is used.

--expect compares the bodies with those of a file, in the same order; null is an event that is not
sent. Exit code 1 if a transformation fails or a body differs, so it can run in CI.`,
		Example: `  gaff transforms test app.js --events 'gaff:job.*' --last 3 --diff
  gaff transforms test app.js --input events.jsonl --expect bodies.jsonl
  gaff transforms test --destination app --id evt_…`,
		Args: arguments(0, 1, "one FILE"),
	}
	cmd.RunE = work(func(ctx context.Context, args []string) error {
		if len(args) == 0 && o.request.Destination == "" && o.filter == "" {
			return usagef("name the FILE of a transformation, or --destination NAME, or --filter")
		}
		if o.input != "" && (o.request.Destination != "" || len(o.request.IDs) > 0) {
			return usagef("--input needs no gateway: leave out --destination and --id")
		}
		if err := p.readTransform(&o, args); err != nil {
			return err
		}
		doc, err := p.previews(ctx, &o)
		if err != nil {
			return err
		}
		return p.showPreviews(&o, doc)
	})
	flags := cmd.Flags()
	flags.StringVar(&o.request.Destination, "destination", "", "a destination, whose settings the file and the flags replace")
	flags.StringSliceVar(&o.request.Events, "events", nil, "which events: source:type with *, separated by commas")
	flags.StringVar(&o.filter, "filter", "", "a CEL condition to test as well")
	flags.StringSliceVar(&o.request.IDs, "id", nil, "a stored event; may be repeated")
	flags.StringVar(&o.request.Source, "source", "", "only events of this source")
	flags.StringVar(&o.request.Type, "type", "", "only events of this type")
	flags.IntVar(&o.request.Limit, "last", 5, "how many of the newest events, at most 20")
	flags.StringVar(&o.input, "input", "", "a file with envelopes: one JSON object, an array, or one a line; - for the standard input")
	flags.StringVar(&o.expect, "expect", "", "a file with the expected bodies")
	flags.BoolVar(&o.diff, "diff", false, "print what differs from the envelope in place of the body")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

// readTransform reads the file into the request, as JavaScript or CEL by its name.
func (p *program) readTransform(o *transformTest, args []string) error {
	if o.filter != "" {
		o.request.Filter = &o.filter
	}
	if len(args) == 0 {
		return nil
	}
	text, err := p.readInput(args[0])
	if err != nil {
		return err
	}
	code := string(text)
	switch ext := filepath.Ext(args[0]); ext {
	case ".js", ".mjs":
		o.request.TransformJS = &code
	case ".cel", ".txt":
		o.request.Transform = &code
	default:
		return usagef("FILE %q: want a name that ends with .js (JavaScript) or .cel (CEL)", args[0])
	}
	return nil
}

// previews asks the gateway, or evaluates the envelopes of the input.
func (p *program) previews(ctx context.Context, o *transformTest) (*wire.Previews, error) {
	if o.input == "" {
		c, err := p.dial()
		if err != nil {
			return nil, err
		}
		doc, _, err := decodeCall[wire.Previews](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/destinations/preview", body: o.request, others: listDestinations})
		return doc, err
	}
	values, err := p.readValues(o.input)
	if err != nil {
		return nil, err
	}
	d, err := destination.New(o.request.Spec(destination.Spec{}), destination.Options{})
	if err != nil {
		return nil, err
	}
	doc := &wire.Previews{Events: []wire.Preview{}}
	for i, value := range values {
		var e envelopes.Envelope
		if err := json.Unmarshal(value, &e); err != nil {
			return nil, fmt.Errorf("%s: envelope %d: %w", o.input, i+1, err)
		}
		found, err := d.PreviewEnvelope(ctx, &e)
		if err != nil {
			return nil, fmt.Errorf("%s: envelope %d: %w", o.input, i+1, err)
		}
		one := wire.NewPreview(&gaff.Event{ID: e.ID, Source: e.Source, Type: e.Type, ReceivedAt: e.Timestamp}, found)
		if one.Error != "" {
			doc.Failed++
		}
		doc.Events = append(doc.Events, one)
	}
	return doc, nil
}

// readValues reads the JSON values of a file; those of arrays one by one.
func (p *program) readValues(name string) (values []json.RawMessage, err error) {
	text, err := p.readInput(name)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		switch err := dec.Decode(&value); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, fmt.Errorf("%s: value %d: %w", name, len(values)+1, err)
		}
		var list []json.RawMessage
		if value[0] == '[' && json.Unmarshal(value, &list) == nil {
			values = append(values, list...)
		} else {
			values = append(values, value)
		}
	}
}

func (p *program) showPreviews(o *transformTest, doc *wire.Previews) error {
	failed := doc.Failed > 0
	if o.asJSON {
		text, err := json.Marshal(doc)
		if err != nil {
			return err
		}
		if err := writeIndented(p.Stdout, text); err != nil {
			return err
		}
	} else {
		for _, e := range doc.Events {
			p.showPreview(o, &e)
		}
		fmt.Fprintf(p.Stderr, "%d events, %d failed\n", len(doc.Events), doc.Failed)
	}
	if o.expect != "" {
		differs, err := p.compareBodies(o.expect, doc.Events)
		if err != nil {
			return err
		}
		failed = failed || differs
	}
	if failed {
		return errReported
	}
	return nil
}

func (p *program) showPreview(o *transformTest, e *wire.Preview) {
	fmt.Fprintf(p.Stdout, "%s %s:%s: %s\n", clean(e.ID), clean(e.Source), clean(e.Type), previewOutcome(e))
	for _, line := range e.Logs {
		fmt.Fprintf(p.Stdout, "  log: %s\n", clean(line))
	}
	names := make([]string, 0, len(e.Headers))
	for name := range e.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(p.Stdout, "  %s: %s\n", clean(name), cut(e.Headers[name], 200))
	}
	switch {
	case e.After == "":
	case o.diff:
		p.showDiff(e.Before, string(e.After))
	default:
		fmt.Fprintln(p.Stdout, indentLines(readable(string(e.After))))
	}
}

// previewOutcome describes in a few words what happens with an event.
func previewOutcome(e *wire.Preview) string {
	switch {
	case e.Error != "":
		return cut(string(e.Error), 500)
	case !e.Matches:
		return "not sent: the events do not choose it"
	case e.FilterError != "":
		return "not sent: the filter has no value: " + cut(string(e.FilterError), 300)
	case !e.Passes:
		return "not sent: the filter is false"
	case !e.Sent:
		return "not sent: the transformation returned null"
	}
	return "sent"
}

// readable returns JSON with line breaks, and other text as it is.
func readable(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}

func indentLines(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		lines = append(lines, "  "+clean(line))
	}
	return strings.Join(lines, "\n")
}

func (p *program) showDiff(before, after string) {
	lines, ok := diff.Lines(readable(before), readable(after))
	if !ok {
		fmt.Fprintln(p.Stdout, "  too long to compare")
		return
	}
	for _, line := range lines {
		fmt.Fprintf(p.Stdout, "  %s %s\n", line.Op, clean(line.Text))
	}
}

// compareBodies reports whether a body differs from the expected one, and prints the differences.
func (p *program) compareBodies(name string, events []wire.Preview) (differs bool, err error) {
	want, err := p.readValues(name)
	if err != nil {
		return false, err
	}
	if len(want) != len(events) {
		return false, fmt.Errorf("%s has %d bodies, but there are %d events", name, len(want), len(events))
	}
	for i, e := range events {
		expected, got := readable(string(want[i])), "null"
		if e.Sent {
			got = readable(string(e.After))
		}
		var text string
		if json.Unmarshal(want[i], &text) == nil && string(want[i]) != "null" {
			expected = text // a text body
		}
		if sameJSON(expected, got) {
			continue
		}
		differs = true
		fmt.Fprintf(p.Stderr, "%s: the body of event %d differs (- expected, + got):\n", name, i+1)
		lines, _ := diff.Lines(expected, got)
		for _, line := range lines {
			fmt.Fprintf(p.Stderr, "  %s %s\n", line.Op, clean(line.Text))
		}
	}
	return differs, nil
}

// sameJSON compares two JSON texts regardless of the order of members, and other texts as they are.
func sameJSON(a, b string) bool {
	canonical := func(text string) string {
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) != nil || dec.More() {
			return text
		}
		out, _ := json.Marshal(v)
		return string(out)
	}
	return canonical(a) == canonical(b)
}
