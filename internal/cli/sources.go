package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/wire"
	"gaff/provider/all"
	"gaff/sender"
)

func sourceState(s *wire.Source) string {
	switch {
	case s.Paused != "":
		return "paused"
	case s.Quiet != "":
		return "rejects every request"
	}
	return "ready"
}

func sourceURL(s *wire.Source) string { return cmp.Or(s.Address, s.Path) }

// sourceVerifier returns how a source verifies its sender.
func sourceVerifier(s *wire.Source) string {
	return cmp.Or(s.About["verifier"], "-")
}

// eachSource calls f for each source of the running gateway, or, if none runs, of the
// configuration, which knows no handlers and no counts.
func (p *program) eachSource(ctx context.Context, f func(*wire.Source, json.RawMessage) error) error {
	cfg, err := p.load()
	if err == nil && p.locate(cfg) == "" {
		return p.eachConfigured(cfg, f)
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	return c.listOnce(ctx, "/api/v1/sources", func(raw json.RawMessage) error {
		var s wire.Source
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read the sources: %w", err)
		}
		return f(&s, raw)
	})
}

func (p *program) eachConfigured(cfg *config.Config, f func(*wire.Source, json.RawMessage) error) error {
	built, err := p.sources(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stderr, "no gateway is running here: this is the configuration")
	for _, b := range built {
		s := wire.Source{
			Name: b.Name, Path: gaff.PathPrefix + b.Name, Quiet: wire.Text(b.DisabledReason), About: b.About, MaxBodyBytes: b.MaxBodyBytes,
			Handlers: []wire.Handler{}, Keys: []wire.KeyUse{},
		}
		if strings.Contains(b.Address, "://") {
			s.Address = b.Address
		}
		raw, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("describe %s: %w", b.Name, err)
		}
		if err := f(&s, raw); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) sourcesCommand() *cobra.Command {
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the sources with their URLs and verifiers",
		Args:  arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			t := newSheet("NAME", "STATE", "ADDRESS", "HANDLERS", "VERIFIER")
			err := p.eachSource(ctx, func(s *wire.Source, raw json.RawMessage) error {
				if asJSON {
					return writeRawJSON(p.Stdout, raw)
				}
				t.row(clean(s.Name), sourceState(s), clean(sourceURL(s)), strconv.Itoa(len(s.Handlers)), cut(sourceVerifier(s), 100))
				return nil
			})
			if err != nil || asJSON {
				return err
			}
			return p.show(t)
		}),
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(list)

	show := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a source or a preset, and what to enter at the sender",
		Args:  arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			var found *wire.Source
			var text json.RawMessage
			var names []string
			err := p.eachSource(ctx, func(s *wire.Source, raw json.RawMessage) error {
				if names = append(names, s.Name); s.Name == args[0] {
					found, text = s, raw
				}
				return nil
			})
			switch {
			case err != nil:
				return err
			case found == nil && slices.Contains(sender.Presets(), args[0]):
				return p.showPreset(args[0], "the gateway's public base, then "+gaff.PathPrefix+args[0], asJSON)
			case found == nil:
				return fmt.Errorf("no source %s; the known ones are %s", cut(args[0], 60), clean(strings.Join(names, ", ")))
			case asJSON:
				return writeRawJSON(p.Stdout, text)
			}
			return p.showSource(found)
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(show)
	return group("sources", "Sources: URLs, verifiers, handlers, keys", list, show, p.sourcesCreateCommand(), p.sourcesTestCommand(), p.sourcesPauseCommand(), p.sourceActCommand("resume", "Resume a paused source", nil), p.sourcesRotateCommand(), p.sourcesSchemaCommand(), p.sourcesDeleteCommand(), p.presetsCommand(), p.reloadCommand(), p.sourceKeyCommand())
}

func (p *program) showSource(s *wire.Source) error {
	t := newTable(p.Stdout)
	t.row("name", clean(s.Name))
	t.row("state", sourceState(s))
	t.pair("why", clean(s.Quiet))
	t.pair("paused", clean(s.Paused))
	t.row("managed by", map[bool]string{true: "the configuration", false: "the API"}[s.Managed])
	for _, f := range s.FormerSecrets {
		t.row("former secret", clean(f.Hint)+", accepted until "+stamp(f.Until))
	}
	if s.MaxBodyBytes > 0 {
		t.row("largest body", strconv.FormatInt(s.MaxBodyBytes, 10)+" bytes")
	}
	for _, h := range s.Handlers {
		t.row("handler", clean(h.Name)+" for "+clean(h.Type))
	}
	if n := s.Counts; n != nil {
		for _, count := range []struct {
			name string
			n    int64
		}{{"pending", n.Pending}, {"success", n.Success}, {"error", n.Error}, {"rejected", n.Rejected}} {
			t.row("count "+count.name, strconv.FormatInt(count.n, 10))
		}
		t.row("last received", stamp(n.LastReceivedAt))
	}
	for _, name := range slices.Sorted(maps.Keys(s.About)) {
		if !strings.HasPrefix(name, "key ") {
			t.row(clean(name), clean(s.About[name]))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := p.showKeys(s); err != nil {
		return err
	}

	fmt.Fprintln(p.Stdout, "\nTo enter at the sender:")
	return p.showSourceSetup(s)
}

// wholeURL describes the URL of a path of a gateway whose public base is unknown.
func wholeURL(path string) string {
	return "the gateway's public base, then " + path + " (set WEBHOOK_BASE_URL to see the whole URL)"
}

// showSourceSetup prints what to enter at the sender of a source.
func (p *program) showSourceSetup(s *wire.Source) error {
	if preset := s.About["preset"]; preset != "" {
		address := s.Address
		if address == "" {
			address = wholeURL(s.Path)
		}
		return p.showSetup(preset, address)
	}
	t := newTable(p.Stdout)
	if s.Address != "" {
		t.row("  address", clean(s.Address))
	} else {
		t.row("  address", wholeURL(clean(s.Path)))
	}
	if pr, ok := all.Find(s.Name); ok {
		address := s.Address
		if address == "" {
			address = "https://YOUR-GATEWAY" + s.Path
		}
		for _, step := range pr.Setup(address) {
			t.row("  "+step.Name, clean(step.Text))
		}
		return t.flush()
	}
	switch secret := s.About["secret"]; {
	case secret == "WEBHOOK_SECRET":
		t.row("  secret", "the value of WEBHOOK_SECRET")
	case secret != "":
		t.row("  secret", clean(secret))
	}
	return t.flush()
}

func (p *program) sourcesTestCommand() *cobra.Command {
	var sample wire.SampleRequest
	cmd := callCommand(p, calling[wire.SampleSent]{
		use: "test NAME", short: "Send a signed sample from the gateway to one of its sources",
		long: `Have the gateway create a sample, sign it as the source's sender would, and receive it.
"gaff send" does the same from outside, with the secrets of this machine.`,
		args: arguments(1, 1, "one NAME"), jsonHelp: "print JSON: {status, response, eventId}",
		call: func(args []string) (apiCall, error) {
			return apiCall{method: http.MethodPost, path: "/api/v1/sources/" + url.PathEscape(args[0]) + "/test", body: sample, others: "gaff sources list"}, nil
		},
		print: func(_ context.Context, _ *client, sent *wire.SampleSent) error {
			_, err := fmt.Fprintf(p.Stdout, "answered %d  %s\n", sent.Status, cut(sent.Response, 500))
			return err
		},
		failed: func(sent *wire.SampleSent) bool { return sent.Status/100 != 2 },
	})
	cmd.Flags().StringVar(&sample.Type, "type", "", "type of the sample (default: the source's first)")
	return cmd
}

func (p *program) reloadCommand() *cobra.Command {
	return callCommand(p, calling[wire.Reloaded]{
		use: "reload", short: "Make the running gateway read its sources' configuration again",
		long: `Make the running gateway read .env, gaff.yaml and the files of secrets again, as SIGHUP
does: secrets, verifiers and limits of the sources change, and no request is lost. If the
configuration has a fault, nothing changes.`,
		args: arguments(0, 0, ""),
		call: func([]string) (apiCall, error) {
			return apiCall{method: http.MethodPost, path: "/api/v1/sources/reload"}, nil
		},
		print: func(_ context.Context, _ *client, doc *wire.Reloaded) error {
			fmt.Fprintf(p.Stdout, "%d sources changed", len(doc.Changed))
			if len(doc.Changed) > 0 {
				fmt.Fprint(p.Stdout, ": "+clean(strings.Join(doc.Changed, ", ")))
			}
			fmt.Fprintln(p.Stdout)
			for _, what := range doc.NeedsRestart {
				fmt.Fprintln(p.Stdout, "needs a restart: "+clean(what))
			}
			return nil
		},
	})
}
