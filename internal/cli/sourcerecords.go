package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
)

const listSources = "gaff sources list"

func sourceCall(method, name, action string, body any) apiCall {
	path := "/api/v1/sources/" + url.PathEscape(name)
	if action != "" {
		path += "/" + action
	}
	return apiCall{method: method, path: path, body: body, others: listSources}
}

// secretOf reads a secret of a flag: @FILE, - for the standard input, or the text itself, which
// other users of the machine can see.
func (p *program) secretOf(text string) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile && text != "-" {
		return text, nil
	}
	raw, err := p.readInput(name)
	return strings.TrimRight(string(raw), "\r\n"), err
}

func (p *program) sourcesCreateCommand() *cobra.Command {
	var spec wire.SourceSpec
	var file string
	var secrets, settings []string
	var noSecret bool
	cmd := callCommand(p, calling[wire.NewSecretSource]{
		use: "create NAME", short: "Create a source, and print its URL and its secret",
		long: `Create a source of the running gateway, on all nodes. --preset names a known sender ("gaff
sources presets"); --file describes another one, as JSON in the fields of POST
/api/v1/sources; flags win. Without --secret, gaff makes a secret where the sender takes one,
and prints it once. If the sender shows its secret after the URL was entered there, create
the source with --no-secret, and set it later: gaff sources rotate NAME --secret @FILE.

Sources of gaff.yaml are changed there; they win over sources of the same name.`,
		example: `  gaff sources create shop --preset stripe --no-secret
  gaff sources create app --preset standard-webhooks`,
		args: arguments(1, 1, "one NAME"),
		call: func(args []string) (call apiCall, err error) {
			body := map[string]any{}
			if file != "" {
				text, err := os.ReadFile(p.path(file))
				if err != nil {
					return call, err
				}
				if err := json.Unmarshal(text, &body); err != nil {
					return call, fmt.Errorf("%s: %w", file, err)
				}
			}
			body["name"] = args[0]
			if spec.Preset != "" {
				body["preset"] = spec.Preset
			}
			if noSecret && len(secrets) > 0 {
				return call, usagef("--secret and --no-secret exclude each other")
			}
			if noSecret {
				body["secrets"] = []string{}
			}
			var given []string
			for _, text := range secrets {
				secret, err := p.secretOf(text)
				if err != nil {
					return call, err
				}
				given = append(given, secret)
			}
			if len(given) > 0 {
				body["secrets"] = given
			}
			if len(settings) > 0 {
				pairs := map[string]string{}
				for _, text := range settings {
					name, value, ok := strings.Cut(text, "=")
					if !ok {
						return call, usagef("--setting %q is not a setting; write NAME=VALUE", text)
					}
					pairs[name] = value
				}
				body["settings"] = pairs
			}
			return apiCall{method: http.MethodPost, path: "/api/v1/sources", body: body}, nil
		},
		print: func(_ context.Context, _ *client, s *wire.NewSecretSource) error {
			fmt.Fprintln(p.Stdout, clean(sourceURL(&s.Source)))
			return p.printSourceSecret(s)
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&spec.Preset, "preset", "", "a known sender, such as stripe")
	flags.StringVar(&file, "file", "", "a JSON file with the description")
	flags.StringArrayVar(&secrets, "secret", nil, "the sender's secret: @FILE, - for the standard input, or the secret; may be repeated")
	flags.BoolVar(&noSecret, "no-secret", false, "create it without a secret: it rejects everything until it has one")
	flags.StringArrayVar(&settings, "setting", nil, "a setting of the sender's scheme, NAME=VALUE; may be repeated")
	return cmd
}

// printSourceSecret prints a secret that was made for a source.
func (p *program) printSourceSecret(s *wire.NewSecretSource) error {
	switch {
	case s.Secret != "":
		fmt.Fprintln(p.Stdout, clean(s.Secret))
		fmt.Fprintf(p.Stderr, "Enter the URL and the secret at the sender of %s. The secret is not shown again.\n", clean(s.Name))
	case s.Quiet != "":
		fmt.Fprintf(p.Stderr, "%s rejects everything: %s (gaff sources rotate %s --secret @FILE)\n", clean(s.Name), clean(s.Quiet), clean(s.Name))
	default:
		fmt.Fprintf(p.Stderr, "%s is ready\n", clean(s.Name))
	}
	return nil
}

// sourceActCommand posts an action of a source and prints its state; body may be nil.
func (p *program) sourceActCommand(action, short string, body func() any) *cobra.Command {
	return callCommand(p, calling[wire.Source]{
		use: action + " NAME", short: short, args: arguments(1, 1, "one NAME"),
		call: func(args []string) (apiCall, error) {
			r := sourceCall(http.MethodPost, args[0], action, nil)
			if body != nil {
				r.body = body()
			}
			return r, nil
		},
		print: func(_ context.Context, _ *client, s *wire.Source) error {
			_, err := fmt.Fprintf(p.Stdout, "%s: %s\n", clean(s.Name), sourceState(s))
			return err
		},
	})
}

func (p *program) sourcesPauseCommand() *cobra.Command {
	var pause wire.Pause
	cmd := p.sourceActCommand("pause", "Pause a source: senders are answered 503, so that they come again", func() any { return pause })
	cmd.Flags().StringVar(&pause.Reason, "reason", "", "the reason, shown with the source")
	return cmd
}

func (p *program) sourcesRotateCommand() *cobra.Command {
	var rotation wire.SourceRotation
	cmd := callCommand(p, calling[wire.NewSecretSource]{
		use: "rotate NAME", short: "Replace the secret of a source; the former one is accepted for a while",
		long: `Replace the secret of a source that was created by the API. Without --secret, gaff makes one
and prints it once. The former secrets are accepted too, for --grace, so that no webhook is
lost while the sender is changed.`,
		args: arguments(1, 1, "one NAME"),
		call: func(args []string) (call apiCall, err error) {
			if rotation.Secret, err = p.secretOf(rotation.Secret); err != nil {
				return call, err
			}
			return sourceCall(http.MethodPost, args[0], "rotate", rotation), nil
		},
		print: func(_ context.Context, _ *client, s *wire.NewSecretSource) error { return p.printSourceSecret(s) },
	})
	cmd.Flags().StringVar(&rotation.Secret, "secret", "", "the new secret, if the sender makes it: @FILE, - for the standard input, or the secret")
	cmd.Flags().StringVar(&rotation.Grace, "grace", "", "how long former secrets are accepted too, up to 30d (default 24h)")
	return cmd
}

func (p *program) sourcesDeleteCommand() *cobra.Command {
	return p.actCommand(acting{
		use: "delete NAME", short: "Delete a source that was created by the API; its events stay", method: http.MethodDelete,
		path: "/api/v1/sources/{id}", done: "deleted", others: listSources,
	})
}
