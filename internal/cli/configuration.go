package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/internal/yamlfile"
)

const (
	// differsAnnotation marks commands whose exit code 2 says that something differs: their usage
	// errors exit with 1.
	differsAnnotation = "differs"
	// maxConfiguration is the longest document, in bytes.
	maxConfiguration = 4 << 20
)

func (p *program) exportCommand() *cobra.Command {
	var asJSON bool
	var workflows string
	cmd := &cobra.Command{
		Use: "export", Short: "Print the configuration that was set by API and console: sources, destinations, budgets, workflows",
		Long: `Print all sources, destinations, budgets and workflows that were set by the API, the console or
commands, as one YAML document. Objects of gaff.yaml and workflows of files are not in it. With
--workflows FOLDER, workflows are written there as files instead, NAME.yaml. Secrets are references to environment
variables, such as ${DESTINATION_CRM_SECRETS_0}: their values are not printed.

"gaff diff FILE" compares such a document with a gateway, and "gaff apply FILE" applies it.`,
		Example: `  gaff export > gateway.yaml
  gaff export --workflows workflows > gateway.yaml`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodGet, "/api/v1/configuration", nil, nil)
			if err != nil {
				return err
			}
			if workflows != "" {
				if raw, err = p.writeWorkflowFiles(workflows, raw); err != nil {
					return err
				}
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			text, err := yamlfile.FromJSON(raw)
			if err != nil {
				return fmt.Errorf("write YAML: %w", err)
			}
			_, err = p.Stdout.Write(text)
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of YAML")
	cmd.Flags().StringVar(&workflows, "workflows", "", "write workflows as files into this folder")
	p.clientFlags(cmd)
	return cmd
}

// applying are the flags of diff and apply.
type applying struct {
	prune, dryRun, asJSON bool
}

func (p *program) diffCommand() *cobra.Command {
	o := applying{dryRun: true}
	cmd := &cobra.Command{
		Use: "diff FILE", Short: "Compare a configuration document with the gateway's; exits with 2 if they differ",
		Long: `Compare a document of "gaff export" with the gateway. It exits with 0 if they are the same, with 2
if they differ, and with 1 after an error. A reference to a secret has the value of the
environment variable; if that is not set, the stored secret counts as the same.`,
		Example:     "  gaff diff gateway.yaml --prune",
		Args:        arguments(1, 1, "one FILE"),
		Annotations: map[string]string{differsAnnotation: "true"},
		RunE: work(func(ctx context.Context, args []string) error {
			n, err := p.applyFile(ctx, args[0], o)
			if err == nil && n > 0 {
				return errDiffers
			}
			return err
		}),
	}
	p.applyFlags(cmd, &o)
	return cmd
}

func (p *program) applyCommand() *cobra.Command {
	var o applying
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Make sources, destinations, budgets and workflows those of a document",
		Long: `Create and change the sources, destinations, budgets and workflows of a document of "gaff export".
Objects that the document does not have stay; --prune deletes them, of the kinds that the document has.
Everything is checked before the first change. The command can be repeated: it changes nothing
then. The values of references to secrets are read from the environment; a reference whose
variable is not set keeps the stored secret.`,
		Example: `  gaff apply gateway.yaml --dry-run
  DESTINATION_CRM_SECRETS_0=whsec_… gaff apply gateway.yaml --prune`,
		Args: arguments(1, 1, "one FILE"),
		RunE: work(func(ctx context.Context, args []string) error {
			_, err := p.applyFile(ctx, args[0], o)
			return err
		}),
	}
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only print the changes")
	p.applyFlags(cmd, &o)
	return cmd
}

func (p *program) applyFlags(cmd *cobra.Command, o *applying) {
	cmd.Flags().BoolVar(&o.prune, "prune", false, "delete objects that the document does not have, of the kinds that it has")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
}

var secretReference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}`)

// secretsFor returns the values of the variables that a document refers to.
func (p *program) secretsFor(text []byte) map[string]string {
	secrets := map[string]string{}
	for _, m := range secretReference.FindAllSubmatch(text, -1) {
		name := string(m[1])
		for _, pair := range p.Environ {
			if value, ok := strings.CutPrefix(pair, name+"="); ok && value != "" {
				secrets[name] = value
			}
		}
	}
	return secrets
}

// applyFile compares or applies a document, prints the changes, and returns their number.
func (p *program) applyFile(ctx context.Context, file string, o applying) (n int, err error) {
	text, err := p.readInput(file)
	if err != nil {
		return 0, err
	}
	doc, err := yamlfile.ToJSON(text, maxConfiguration)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	var known struct{ Version any }
	if err := json.Unmarshal(doc, &known); err != nil || known.Version == nil {
		return 0, fmt.Errorf(`%s: not a document of "gaff export": it has no version`, file)
	}
	c, err := p.dial()
	if err != nil {
		return 0, err
	}
	body := map[string]any{"configuration": json.RawMessage(doc), "secrets": p.secretsFor(doc), "prune": o.prune, "dryRun": o.dryRun}
	res, raw, err := decodeCall[wire.ConfigurationResult](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/configuration", body: body})
	if err != nil {
		return 0, err
	}
	if o.asJSON {
		return len(res.Changes), writeRawJSON(p.Stdout, raw)
	}
	for _, change := range res.Changes {
		if err := p.printChange(change); err != nil {
			return 0, err
		}
	}
	switch {
	case len(res.Changes) == 0:
		fmt.Fprintln(p.Stderr, "no changes")
	case res.Applied:
		fmt.Fprintf(p.Stderr, "%s made\n", counted(len(res.Changes), "change"))
	default:
		fmt.Fprintf(p.Stderr, "%s needed\n", counted(len(res.Changes), "change"))
	}
	return len(res.Changes), nil
}

func (p *program) printChange(c wire.ConfigurationChange) error {
	mark := map[string]string{wire.ConfigurationCreate: "+", wire.ConfigurationUpdate: "~", wire.ConfigurationDelete: "-"}[c.Action]
	if _, err := fmt.Fprintf(p.Stdout, "%s %s %s\n", mark, clean(c.Kind), clean(c.Name)); err != nil {
		return err
	}
	for _, f := range c.Fields {
		line := fmt.Sprintf("    %s: %s", clean(f.Name), value(f.To))
		if c.Action == wire.ConfigurationUpdate {
			line = fmt.Sprintf("    %s: %s -> %s", clean(f.Name), value(f.From), value(f.To))
		}
		if _, err := fmt.Fprintln(p.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// value prints a member of a change.
func value(v wire.JSON) string {
	if len(v) == 0 {
		return "(default)"
	}
	return cut(string(v), 200)
}
