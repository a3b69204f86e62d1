package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gaff/internal/config"
	"gaff/internal/suggest"
	"gaff/provider/described"
)

func (p *program) providersCommand() *cobra.Command {
	return group("providers", "Providers: the catalogue of descriptions, and tests of your own",
		p.providersListCommand(), p.providersShowCommand(), p.providersTestCommand(), p.providersPricesCommand())
}

// priceDoc is the JSON document of a price of the embedded table.
type priceDoc struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Job      string `json:"job"`
	Unit     string `json:"unit"`
	Currency string `json:"currency"`
	Date     string `json:"date"`
	Source   string `json:"source"`
	Note     string `json:"note"`
}

func (p *program) providersPricesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "prices", Short: "List the embedded prices, with date and source", Args: arguments(0, 0, ""),
		Long: `List the embedded prices. JOB is the estimate for a job, UNIT the price of what the provider reports.
Providers change prices: prices: in gaff.yaml goes before this table.`,
		RunE: work(func(context.Context, []string) error {
			t := newTable(p.Stdout, "PROVIDER", "MODEL", "JOB", "UNIT", "CURRENCY", "READ", "NOTE", "SOURCE")
			docs := []priceDoc{}
			for _, e := range config.KnownPrices() {
				docs = append(docs, priceDoc(e))
				t.row(e.Provider, e.Model, cmp.Or(e.Job, "-"), cmp.Or(e.Unit, "-"), e.Currency, e.Date, e.Note, e.Source)
			}
			if asJSON {
				return writeJSON(p.Stdout, docs)
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// providerDoc is the JSON document of a provider of the catalogue.
type providerDoc struct {
	Name      string             `json:"name"`
	Title     string             `json:"title"`
	Docs      string             `json:"docs"`
	Model     string             `json:"model"`
	Example   string             `json:"example"`
	Webhook   string             `json:"webhook"`
	Cancels   bool               `json:"cancels"`
	Cost      string             `json:"cost,omitempty"`
	Secrets   map[string]string  `json:"secrets"`
	Checked   *described.Checked `json:"checked"`
	Unchecked []string           `json:"unchecked"`
}

func newProviderDoc(name string) providerDoc {
	d, _ := described.Find(name)
	doc := providerDoc{
		Name: name, Title: d.Title, Docs: d.Docs, Model: cmp.Or(d.Model, "model"), Example: d.Example, Webhook: "polled",
		Cancels: d.Cancel != nil, Secrets: d.Secrets, Checked: d.Checked, Unchecked: d.Unchecked,
	}
	switch w := d.Webhook; {
	case w == nil && (d.Submit.Immediate != nil || d.Submit.Media != ""):
		doc.Webhook = "in the answer"
	case w == nil:
	case w.Unsigned:
		doc.Webhook = "unsigned"
	default:
		doc.Webhook = "signed"
	}
	if d.Billing != nil {
		doc.Cost = d.Billing.Unit
	}
	return doc
}

func (p *program) providersListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the providers of the catalogue",
		Long: `List the descriptions of providers that come with gaff. RESULT says how a result comes: by a signed
or an unsigned webhook, by polling, or in the answer to the submit. COST is the unit of the cost
that the provider reports.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(context.Context, []string) error {
			t := newSheet("NAME", "PROVIDER", "EXAMPLE", "RESULT", "CANCEL", "COST", "COMPARED")
			for _, name := range described.Catalogue() {
				doc := newProviderDoc(name)
				if asJSON {
					if err := writeJSON(p.Stdout, doc); err != nil {
						return err
					}
					continue
				}
				cancels := "no"
				if doc.Cancels {
					cancels = "yes"
				}
				t.row(doc.Name, doc.Title, doc.Example, doc.Webhook, cancels, doc.Cost, doc.Checked.Date)
			}
			if asJSON {
				return nil
			}
			return p.show(t)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	return cmd
}

func (p *program) providersShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Print the description of a provider of the catalogue, and how to set it up",
		Args:  arguments(1, 1, "one NAME"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return described.Catalogue(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: work(func(_ context.Context, args []string) error {
			name := args[0]
			text, ok := described.Text(name)
			if !ok {
				return fmt.Errorf("%q is not in the catalogue%s", name, suggest.Hint(name, described.Catalogue()))
			}
			d, _ := described.Find(name)
			fmt.Fprintf(p.Stdout, "# To use it, in gaff.yaml:\n#\n#   providers:\n#     %s:\n", name)
			variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			if len(d.Secrets) > 0 {
				fmt.Fprintln(p.Stdout, "#       secrets:")
			}
			for _, secret := range sortedKeys(d.Secrets) {
				fmt.Fprintf(p.Stdout, "#         %s: env:%s_%s\n", secret, variable, strings.ToUpper(secret))
			}
			switch w := d.Webhook; {
			case w == nil:
				fmt.Fprintln(p.Stdout, "#\n# It sends no webhooks: gaff polls it.")
			case w.Unsigned:
				fmt.Fprintln(p.Stdout, "#\n# Its webhooks are not signed: gaff accepts those to the URL of a job, and fetches the result.")
			default:
				fmt.Fprintf(p.Stdout, "#       webhook_secrets: [env:%s_WEBHOOK_SECRET]\n", variable)
				if w.Account {
					fmt.Fprintf(p.Stdout, "#\n# Enter the URL of the source (gaff sources show %s) at the provider.\n", name)
				}
			}
			fmt.Fprintf(p.Stdout, "#\n#   gaff jobs submit %s --provider %s --input '%s'\n\n", d.Example, name, d.Input)
			_, err := p.Stdout.Write(text)
			return err
		}),
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (p *program) providersTestCommand() *cobra.Command {
	var examples string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Check a description, and play it against examples of the provider's messages",
		Long: `Check the description of a provider in FILE (or a NAME of the catalogue), and play it on this machine
against a server that answers with the examples in FILE with .examples.yaml in place of .yaml, and
with faults: 429, 502, a cut connection, other bodies. The examples are copied from the provider's
own documents, with their source and date, so that a wrong description fails. Nothing is sent to
the provider. docs/providers/write-your-own.md describes both files.`,
		Example: `  gaff providers test acme.yaml
  gaff providers test acme.yaml --examples vendor/acme.yaml
  gaff providers test replicate`,
		Args: arguments(1, 1, "one FILE"),
		RunE: work(func(ctx context.Context, args []string) error {
			d, e, err := p.description(args[0], examples)
			if err != nil {
				return err
			}
			findings, err := described.Play(ctx, strings.TrimSuffix(filepath.Base(args[0]), ".yaml"), d, e)
			if err != nil {
				return err
			}
			failed := 0
			for _, f := range findings {
				if f.Problem == "" {
					fmt.Fprintf(p.Stdout, "ok    %s\n", f.Step)
					continue
				}
				failed++
				fmt.Fprintf(p.Stdout, "FAIL  %s: %s\n", f.Step, clean(f.Problem))
			}
			fmt.Fprintf(p.Stdout, "\nexamples: %s (%s)\n", clean(e.Source), clean(e.Date))
			if failed > 0 {
				return fmt.Errorf("%d of %d steps failed", failed, len(findings))
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&examples, "examples", "", "file with the provider's messages (default: FILE with .examples.yaml)")
	return cmd
}

// description reads a description and its examples: a file, or a name of the catalogue.
func (p *program) description(file, examples string) (*described.Description, *described.Examples, error) {
	if d, ok := described.Find(file); ok && examples == "" {
		e, err := described.ExamplesOf(file)
		return d, e, err
	}
	d, err := config.ReadDescription(p.path(file))
	if err != nil {
		return nil, nil, err
	}
	if examples == "" {
		examples = strings.TrimSuffix(file, filepath.Ext(file)) + ".examples.yaml"
	}
	text, err := os.ReadFile(p.path(examples))
	if err != nil {
		return nil, nil, fmt.Errorf("examples of the provider's messages: %w; --examples names the file", err)
	}
	e, err := described.ReadExamples(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", examples, err)
	}
	return d, e, nil
}
