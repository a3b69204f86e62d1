package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gaff/sender"
	"gaff/verify"
)

// presetDoc is the JSON document of a preset.
type presetDoc struct {
	Name     string             `json:"name"`
	Title    string             `json:"title"`
	Category string             `json:"category"`
	Docs     string             `json:"docs,omitempty"`
	Where    string             `json:"where"`
	Secret   string             `json:"secret"`
	Events   string             `json:"events,omitempty"`
	Settings []string           `json:"settings"`
	Knows    []string           `json:"knows"`
	CanSend  bool               `json:"canSend"`
	Verify   sender.Description `json:"verify"`
	// Checked says what the preset was compared with, or Unchecked why it was not.
	Checked   *sender.Checked `json:"checked,omitempty"`
	Unchecked string          `json:"unchecked,omitempty"`
}

func newPresetDoc(name string) presetDoc {
	s, _ := sender.Preset(name)
	about := sender.PresetAbout(name)
	return presetDoc{
		Name: name, Title: about.Title, Category: about.Category, Docs: about.Docs, Where: about.Where, Secret: about.Secret, Events: about.Events,
		Settings: append([]string{}, s.Needs()...), Knows: append([]string{}, s.Traits()...), CanSend: s.CanSign(), Verify: s,
		Checked: about.Checked, Unchecked: about.Unchecked,
	}
}

func (p *program) presetsCommand() *cobra.Command {
	var asJSON bool
	var category string
	cmd := &cobra.Command{
		Use:   "presets [WORD]...",
		Short: "List the senders that gaff has presets for",
		Long: `List the presets: a source with "preset: NAME" in gaff.yaml needs only a secret. WORDs choose
presets that have all of them in their name, title or category. "gaff sources show NAME" prints
what to enter at the sender.

Categories: ` + strings.Join(sender.Categories, ", ") + `.`,
		Example: `  gaff sources presets stripe
  gaff sources presets --category ai`,
		RunE: work(func(_ context.Context, args []string) error {
			if category != "" && !slices.ContainsFunc(sender.Categories, func(c string) bool { return strings.EqualFold(c, category) }) {
				return usagef("unknown --category %q: want %s", category, alternatives(sender.Categories))
			}
			names := sender.SearchPresets(category, strings.Join(args, " "))
			if len(names) == 0 {
				return fmt.Errorf("no preset matches %q; without a WORD, all are listed. Describe any other sender under verify: in gaff.yaml", cut(strings.Join(args, " "), 60))
			}
			t := newSheet("PRESET", "SENDER", "CATEGORY", "KNOWS", "SETTINGS")
			for _, name := range names {
				doc := newPresetDoc(name)
				if asJSON {
					if err := writeJSON(p.Stdout, doc); err != nil {
						return err
					}
					continue
				}
				t.row(doc.Name, doc.Title, doc.Category, strings.Join(doc.Knows, ", "), strings.Join(doc.Settings, ", "))
			}
			if asJSON {
				return nil
			}
			return p.show(t)
		}),
	}
	cmd.Flags().StringVar(&category, "category", "", "only of this category")
	annotateEnum(cmd.Flags(), "category", sender.Categories...)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line, with the description")
	return cmd
}

// showPreset prints how to set up a sender that is not configured yet.
func (p *program) showPreset(name, address string, asJSON bool) error {
	doc := newPresetDoc(name)
	if asJSON {
		return writeJSON(p.Stdout, doc)
	}
	fmt.Fprintf(p.Stdout, "%s is a preset; no source with this name is configured. In gaff.yaml:\n\n  sources:\n    %s:\n      preset: %s\n", name, name, name)
	s := doc.Verify
	if verify.NeedsSecret(s.Scheme) && !strings.HasPrefix(doc.Secret, "leave secrets empty") {
		fmt.Fprintf(p.Stdout, "      secrets: [env:%s_SECRET]\n", strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	if len(doc.Settings) > 0 {
		fmt.Fprintln(p.Stdout, "      settings:")
		for _, setting := range doc.Settings {
			fmt.Fprintf(p.Stdout, "        %s: …\n", setting)
		}
	}
	fmt.Fprintln(p.Stdout, "\nTo enter at the sender:")
	return p.showSetup(name, address)
}

// showSetup prints what to enter at the sender of a preset.
func (p *program) showSetup(preset, address string) error {
	doc := newPresetDoc(preset)
	t := newTable(p.Stdout)
	t.row("  address", clean(address))
	t.row("  where", doc.Where)
	t.row("  secret", doc.Secret)
	t.pair("  events", doc.Events)
	for _, trait := range doc.Knows {
		switch trait {
		case "handshake":
			t.row("  handshake", "answered by gaff")
		case "batches":
			t.row("  batches", "each item is an event of its own")
		case "jobs":
			t.row("  jobs", "updates the jobs registered under this source's name, and adds their files")
		case "own answer":
			t.row("  answer", fmt.Sprintf("status %d %s", max(doc.Verify.Ack.Status, http.StatusOK), doc.Verify.Ack.Body))
		}
	}
	t.pair("  docs", doc.Docs)
	if doc.Checked != nil {
		t.row("  compared", doc.Checked.Date+" with "+doc.Checked.Source)
	} else {
		t.pair("  compared", doc.Unchecked)
	}
	return t.flush()
}
