package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/wire"
	"gaff/sender"
	"gaff/verify"
)

// presetDoc is a preset as it is shown.
type presetDoc struct {
	Name     string             `json:"name"`
	Title    string             `json:"title"`
	Docs     string             `json:"docs,omitempty"`
	Where    string             `json:"where"`
	Secret   string             `json:"secret"`
	Events   string             `json:"events,omitempty"`
	Settings []string           `json:"settings"`
	Knows    []string           `json:"knows"`
	CanSend  bool               `json:"canSend"`
	Verify   sender.Description `json:"verify"`
	// Checked or Unchecked is set: what the preset was compared with, or why it was not.
	Checked   *sender.Checked `json:"checked,omitempty"`
	Unchecked string          `json:"unchecked,omitempty"`
}

func newPresetDoc(name string) presetDoc {
	s, _ := sender.Preset(name)
	about := sender.PresetAbout(name)
	return presetDoc{
		Name: name, Title: about.Title, Docs: about.Docs, Where: about.Where, Secret: about.Secret, Events: about.Events,
		Settings: append([]string{}, s.Needs()...), Knows: append([]string{}, s.Traits()...), CanSend: s.CanSign(), Verify: s,
		Checked: about.Checked, Unchecked: about.Unchecked,
	}
}

func (p *program) presetsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "presets [WORD]",
		Short: "List the senders that gaff knows by name",
		Long: `List the senders whose description gaff keeps: a source with "preset: NAME" in gaff.yaml
needs a secret and nothing else. WORD chooses those whose name or title holds it.
"gaff sources show NAME" tells what to enter where.`,
		Args: arguments(0, 1, "at most one WORD"),
		RunE: work(func(_ context.Context, args []string) error {
			t := newTable(p.Stdout, "PRESET", "SENDER", "KNOWS", "SETTINGS")
			found := false
			for _, name := range sender.Presets() {
				doc := newPresetDoc(name)
				if len(args) > 0 && !strings.Contains(strings.ToLower(doc.Name+" "+doc.Title), strings.ToLower(args[0])) {
					continue
				}
				found = true
				if asJSON {
					if err := writeJSON(p.Stdout, doc); err != nil {
						return err
					}
					continue
				}
				t.row(doc.Name, doc.Title, strings.Join(doc.Knows, ", "), strings.Join(doc.Settings, ", "))
			}
			if !found {
				return fmt.Errorf("no preset has %s in its name; without a WORD, all are listed. Any other sender can be described under verify: in gaff.yaml", cut(args[0], 60))
			}
			if asJSON {
				return nil
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line, the description with it")
	return cmd
}

// showPreset tells how to set up a sender that is not configured yet.
func (p *program) showPreset(name, address string, asJSON bool) error {
	doc := newPresetDoc(name)
	if asJSON {
		return writeJSON(p.Stdout, doc)
	}
	fmt.Fprintf(p.Stdout, "%s is a preset, and no configured source has this name. In gaff.yaml:\n\n  sources:\n    %s:\n      preset: %s\n", name, name, name)
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

// showSetup prints what to paste where, for a preset.
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
			t.row("  jobs", "moves the jobs registered under this source's name, and adds their files")
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

// showKeys prints when each configured key was last used, so that an old one can be removed.
func (p *program) showKeys(s *source) error {
	used := map[string]wire.KeyUse{}
	for _, u := range s.Keys {
		used[u.KeyID] = u
	}
	t := newTable(p.Stdout)
	for i := 1; ; i++ {
		id, ok := s.About[fmt.Sprintf("key %d", i)]
		if !ok {
			break
		}
		when := "never used"
		if u, ok := used[id]; ok {
			when = "last used " + stamp(u.LastUsedAt)
		}
		if i > 1 {
			when += " (accepted; the first one signs)"
		}
		t.row(fmt.Sprintf("key %d", i), clean(id)+", "+when)
		delete(used, id)
	}
	for _, u := range s.Keys {
		if _, left := used[u.KeyID]; left {
			t.row("key", clean(u.KeyID)+", last used "+stamp(u.LastUsedAt)+" (fetched, or no longer configured)")
		}
	}
	return t.flush()
}

func (p *program) sourcesTestCommand() *cobra.Command {
	var typ string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Have the gateway send a signed sample to one of its sources",
		Long: `Have the gateway make a sample, sign it as the source's sender would, and receive it.
"gaff send" does the same from outside, with the secrets of this machine.`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			raw, err := c.call(ctx, http.MethodPost, "/api/v1/sources/"+url.PathEscape(args[0])+"/test", nil, map[string]string{"type": typ})
			if err != nil {
				return pointingTo("gaff sources list", err)
			}
			var sent struct {
				Status            int
				Response, EventID string
			}
			if err := json.Unmarshal(raw, &sent); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if asJSON {
				err = writeRawJSON(p.Stdout, raw)
			} else {
				_, err = fmt.Fprintf(p.Stdout, "answered %d  %s\n", sent.Status, cut(sent.Response, 500))
			}
			if err == nil && sent.Status/100 != 2 {
				return errReported
			}
			return err
		}),
	}
	cmd.Flags().StringVar(&typ, "type", "", "type of the sample (default: the source's first)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {status, response, eventId}")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) reloadCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running gateway read its sources' configuration again",
		Long: `Make the running gateway read .env, gaff.yaml and the files of secrets again, as SIGHUP
does: secrets, verifiers and limits of the sources change, and no request is lost. With a
fault in them, all stays as it was.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			text, err := c.call(ctx, http.MethodPost, "/api/v1/sources/reload", nil, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, text)
			}
			var doc struct{ Changed, NeedsRestart []string }
			if err := json.Unmarshal(text, &doc); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			fmt.Fprintf(p.Stdout, "%d sources changed", len(doc.Changed))
			if len(doc.Changed) > 0 {
				fmt.Fprint(p.Stdout, ": "+clean(strings.Join(doc.Changed, ", ")))
			}
			fmt.Fprintln(p.Stdout)
			for _, what := range doc.NeedsRestart {
				fmt.Fprintln(p.Stdout, "needs a restart: "+clean(what))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) handedCommand() *cobra.Command {
	var forget, asJSON bool
	var open time.Duration
	cmd := &cobra.Command{
		Use:   "key NAME",
		Short: "Take, print or forget the key that a sender hands over",
		Long: `Print the key that the source's sender handed over in its handshake (Notion, Asana): some
senders want it back in a dialog. The handshake is not signed, so the source takes a key
only while it is open: --open 10m, and register the address at the sender then. --forget
drops the key; until another is taken the source refuses everything.`,
		Args: arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			path := "/api/v1/sources/" + url.PathEscape(args[0]) + "/key"
			if forget {
				if _, err := c.call(ctx, http.MethodDelete, path, nil, nil); err != nil || open == 0 {
					return err
				}
			}
			if open != 0 {
				return p.openKey(ctx, c, path, open, asJSON)
			}
			text, err := c.call(ctx, http.MethodGet, path, nil, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, text)
			}
			var doc struct{ Key string }
			if err := json.Unmarshal(text, &doc); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			fmt.Fprintln(p.Stdout, clean(doc.Key))
			return nil
		}),
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "drop it")
	cmd.Flags().DurationVar(&open, "open", 0, "take the key that the next handshake brings, for this long, at most 1h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: {key}, with --open {until}")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) openKey(ctx context.Context, c *client, path string, takes time.Duration, asJSON bool) error {
	text, err := c.call(ctx, http.MethodPost, path, nil, map[string]int64{"seconds": int64(takes / time.Second)})
	if err != nil {
		return err
	}
	if asJSON {
		return writeRawJSON(p.Stdout, text)
	}
	var doc struct{ Until string }
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintf(p.Stdout, "The source takes the first key that is handed over until %s. Register its address at the sender now.\n", clean(doc.Until))
	return nil
}

func (p *program) rescueCommand() *cobra.Command {
	var asJSON bool
	var all string
	cmd := &cobra.Command{
		Use:   "rescue REJECTION…",
		Short: "Verify refused webhooks again, and keep those that are authentic now",
		Long: `Verify refused webhooks again after the configuration was mended, by the source as it is
now and at the time each of them came, and keep those that are authentic. A webhook that
was rescued before, or that its sender has sent again, is found and not doubled.

Refused webhooks are kept whole in bounded size and for a bounded time (limits.quarantine,
limits.quarantine_for).`,
		Example: `  gaff events rescue rej_01KAVJ0Z6M3Q8R5T7W9XYZABCD
  gaff events rescue --source stripe`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) == 0) == (all == "") {
				return usagef("say which: REJECTION…, or --source NAME for all that are kept of a source")
			}
			return nil
		},
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			if all != "" {
				if args, err = p.rescuable(ctx, c, all); err != nil {
					return err
				}
				if len(args) == 0 {
					fmt.Fprintln(p.Stderr, "nothing of this source is kept whole")
				}
			}
			failed := 0
			for _, id := range args {
				text, err := c.call(ctx, http.MethodPost, "/api/v1/rejections/"+url.PathEscape(id)+"/rescue", nil, nil)
				if err != nil {
					if ctx.Err() != nil {
						return err
					}
					failed++
					fmt.Fprintf(p.Stderr, "%s: %v\n", clean(id), err)
					continue
				}
				if asJSON {
					if err := writeRawJSON(p.Stdout, text); err != nil {
						return err
					}
					continue
				}
				var doc struct {
					EventID   string
					Events    int
					Duplicate bool
				}
				if err := json.Unmarshal(text, &doc); err != nil {
					return fmt.Errorf("read the answer: %w", err)
				}
				note := "kept as " + doc.EventID
				switch {
				case doc.Events == 0:
					note = "authentic, and holds no event"
				case doc.Duplicate:
					note = "was known already: " + doc.EventID
				case doc.Events > 1:
					note += fmt.Sprintf(" and %d more", doc.Events-1)
				}
				fmt.Fprintf(p.Stdout, "%s %s\n", clean(id), clean(note))
			}
			if failed > 0 {
				return errReported
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line: {eventId, events, duplicate}")
	cmd.Flags().StringVar(&all, "source", "", "all refused webhooks of this source that are kept whole, oldest first")
	p.clientFlags(cmd)
	return cmd
}

const maxRescue = 10_000

// rescuable lists the refused webhooks of a source that are kept whole, oldest first.
func (p *program) rescuable(ctx context.Context, c *client, source string) (ids []string, err error) {
	query := url.Values{"source": {source}, "limit": {"500"}}
	for {
		text, err := c.call(ctx, http.MethodGet, "/api/v1/rejections", query, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Docs []struct {
				ID        string
				Rescuable bool
			}
			NextCursor *string
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("read the rejections: %w", err)
		}
		for _, doc := range page.Docs {
			if doc.Rescuable {
				ids = append([]string{doc.ID}, ids...)
			}
		}
		if page.NextCursor == nil || *page.NextCursor == "" {
			return ids, nil
		}
		if len(ids) >= maxRescue {
			return nil, errors.New("more than 10,000 are kept; name those to rescue")
		}
		query.Set("cursor", *page.NextCursor)
	}
}
