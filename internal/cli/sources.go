package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
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

// source is what the API says about a source.
type source struct {
	Name         string                        `json:"name"`
	Address      string                        `json:"address"`
	Path         string                        `json:"path"`
	Quiet        string                        `json:"quiet"`
	About        map[string]string             `json:"about"`
	MaxBodyBytes int64                         `json:"maxBodyBytes"`
	Handlers     []struct{ Name, Type string } `json:"handlers"`
	Counts       map[string]any                `json:"counts"`
	Keys         []wire.KeyUse                 `json:"keys"`
}

func (s *source) state() string {
	if s.Quiet != "" {
		return "refuses everything"
	}
	return "ready"
}

func (s *source) where() string {
	if s.Address != "" {
		return s.Address
	}
	return s.Path
}

// verifier is what the sender must do to be believed.
func (s *source) verifier() string {
	for _, name := range []string{"verifier", "fal.ai"} {
		if text := s.About[name]; text != "" {
			return text
		}
	}
	return "-"
}

// eachSource calls f for each source: of the running gateway, or, where none runs, of the
// configuration, which knows no handlers and no counts.
func (p *program) eachSource(ctx context.Context, f func(*source, json.RawMessage) error) error {
	cfg, err := p.load()
	if err == nil && p.locate(cfg) == "" {
		return p.eachConfigured(cfg, f)
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	text, err := c.call(ctx, http.MethodGet, "/api/v1/sources", nil, nil)
	if err != nil {
		return err
	}
	var page struct{ Docs []json.RawMessage }
	if err := json.Unmarshal(text, &page); err != nil {
		return fmt.Errorf("read the sources: %w", err)
	}
	for _, raw := range page.Docs {
		var s source
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read the sources: %w", err)
		}
		if err := f(&s, raw); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) eachConfigured(cfg *config.Config, f func(*source, json.RawMessage) error) error {
	built, err := p.sources(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stderr, "no gateway runs here: this is what the configuration says")
	for _, b := range built {
		s := source{
			Name: b.Name, Path: gaff.PathPrefix + b.Name, Quiet: b.DisabledReason, About: b.About, MaxBodyBytes: b.MaxBodyBytes,
			Handlers: []struct{ Name, Type string }{},
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
		Short: "List the senders: addresses, verifiers",
		Args:  arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			t := newTable(p.Stdout, "NAME", "STATE", "ADDRESS", "HANDLERS", "VERIFIER")
			err := p.eachSource(ctx, func(s *source, raw json.RawMessage) error {
				if asJSON {
					return writeRawJSON(p.Stdout, raw)
				}
				t.row(clean(s.Name), s.state(), clean(s.where()), strconv.Itoa(len(s.Handlers)), cut(s.verifier(), 100))
				return nil
			})
			if err != nil || asJSON {
				return err
			}
			return t.flush()
		}),
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(list)

	show := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a source or a preset, and what to enter at the sender",
		Args:  arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			var found *source
			var text json.RawMessage
			var names []string
			err := p.eachSource(ctx, func(s *source, raw json.RawMessage) error {
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
				return fmt.Errorf("there is no source %s; those known are %s", cut(args[0], 60), clean(strings.Join(names, ", ")))
			case asJSON:
				return writeRawJSON(p.Stdout, text)
			}
			return p.showSource(found)
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(show)
	return group("sources", "The senders: addresses, verifiers, handlers", list, show, p.sourcesTestCommand(), p.presetsCommand(), p.reloadCommand(), p.handedCommand())
}

func (p *program) showSource(s *source) error {
	t := newTable(p.Stdout)
	t.row("name", clean(s.Name))
	t.row("state", s.state())
	t.pair("why", clean(s.Quiet))
	if s.MaxBodyBytes > 0 {
		t.row("largest body", strconv.FormatInt(s.MaxBodyBytes, 10)+" bytes")
	}
	for _, h := range s.Handlers {
		t.row("handler", clean(h.Name)+" for "+clean(h.Type))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counts)) {
		t.row("count "+clean(name), clean(fmt.Sprint(s.Counts[name])))
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
	if preset := s.About["preset"]; preset != "" {
		address := s.Address
		if address == "" {
			address = "the gateway's public base, then " + s.Path + " (set WEBHOOK_BASE_URL to see it whole)"
		}
		return p.showSetup(preset, address)
	}
	t = newTable(p.Stdout)
	if s.Address != "" {
		t.row("  address", clean(s.Address))
	} else {
		t.row("  address", "the gateway's public base, then "+clean(s.Path)+" (set WEBHOOK_BASE_URL to see it whole)")
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
	switch s.Name {
	case "custom":
		t.row("  secret", "the value of WEBHOOK_SECRET")
	default:
		t.row("  secret", "the one under sources."+clean(s.Name)+".secrets in the configuration file")
	}
	return t.flush()
}
