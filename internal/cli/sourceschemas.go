package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/internal/yamlfile"
)

// maxSchemaFile is the longest file of a JSON Schema, in bytes.
const maxSchemaFile = 128 << 10

func (p *program) sourcesSchemaCommand() *cobra.Command {
	var set, remove []string
	var onViolation string
	cmd := callCommand(p, calling[wire.Source]{
		use: "schema NAME", short: "Show or change the JSON Schemas of a source",
		long: `Show the JSON Schemas by which a source validates the data of its events, by event type; "*"
is for types without one. --set and --delete change those of a source that was created by
the API; those of gaff.yaml are changed there. An event that violates its schema is stored
and marked, or with --on-violation refuse its request is answered 422.`,
		example: `  gaff sources schema shop --set order.paid=order-paid.schema.json
  gaff sources schema shop --delete order.paid
  gaff events list --source shop --violation`,
		args: arguments(1, 1, "one NAME"),
		call: func(args []string) (call apiCall, err error) {
			schemas := map[string]any{}
			for _, text := range set {
				eventType, file, ok := strings.Cut(text, "=")
				if !ok || eventType == "" || file == "" {
					return call, usagef("--set %q is not a schema; write TYPE=FILE", text)
				}
				raw, err := p.readInput(file)
				if err != nil {
					return call, err
				}
				document, err := yamlfile.ToJSON(raw, maxSchemaFile)
				if json.Valid(raw) {
					document, err = raw, nil
				}
				if err != nil {
					return call, fmt.Errorf("%s: %w", file, err)
				}
				schemas[eventType] = json.RawMessage(document)
			}
			for _, eventType := range remove {
				schemas[eventType] = nil
			}
			body := map[string]any{}
			if len(schemas) > 0 {
				body["schemas"] = schemas
			}
			if onViolation != "" {
				body["onViolation"] = onViolation
			}
			if len(body) == 0 {
				return sourceCall(http.MethodGet, args[0], "", nil), nil
			}
			return sourceCall(http.MethodPatch, args[0], "", body), nil
		},
		print: func(_ context.Context, _ *client, s *wire.Source) error { return p.printSchemas(s) },
	})
	flags := cmd.Flags()
	flags.StringArrayVar(&set, "set", nil, "set the schema of an event type, TYPE=FILE; may be repeated")
	flags.StringArrayVar(&remove, "delete", nil, "remove the schema of an event type; may be repeated")
	flags.StringVar(&onViolation, "on-violation", "", "warn: store and mark events that violate a schema; refuse: answer 422")
	annotateEnum(flags, "on-violation", "warn", "refuse")
	return cmd
}

func (p *program) printSchemas(s *wire.Source) error {
	switch {
	case s.Spec != nil && len(s.Spec.Schemas) > 0:
		for _, eventType := range slices.Sorted(maps.Keys(s.Spec.Schemas)) {
			fmt.Fprintf(p.Stdout, "%s: %s\n", clean(eventType), clean(string(s.Spec.Schemas[eventType])))
		}
	case s.About["schemas"] == "":
		fmt.Fprintf(p.Stderr, "%s has no schemas\n", clean(s.Name))
		return nil
	}
	_, err := fmt.Fprintf(p.Stdout, "%s: %s\n", clean(s.Name), clean(s.About["schemas"]))
	return err
}
