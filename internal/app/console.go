package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/internal/buildinfo"
	"gaff/internal/config"
	"gaff/internal/inproc"
	"gaff/internal/metrics"
	"gaff/internal/stats"
	"gaff/internal/ui"
	"gaff/internal/watch"
	"gaff/internal/wire"
	"gaff/provider/all"
)

// consoleOptions is what the console shows of the configuration.
func consoleOptions(cfg *config.Config, local string, find func(name string) (Source, bool)) ui.Options {
	return ui.Options{
		Version: buildinfo.Get().Short(),
		Sample:  all.Default().Name,
		Address: func(name string) string { return address(cfg, local, name) },
		SampleTypes: func(name string) []string {
			if src, ok := find(name); ok && src.Sample != nil && src.Sign != nil {
				return src.Types
			}
			return nil
		},
		SubmitURL: func(name, webhookURL string) string {
			if p, ok := all.Find(name); ok && p.SubmitURL != nil {
				return p.SubmitURL(webhookURL)
			}
			return ""
		},
	}
}

func apiSettings(cfg *config.Config) []wire.Setting {
	var all []wire.Setting
	for _, s := range cfg.Settings() {
		all = append(all, wire.Setting{Name: s.Name, Value: s.Value, Origin: s.From, Help: s.Help})
	}
	return all
}

// sampler sends signed samples through the receiving handler of this process, as their
// senders would from outside.
func sampler(ingest http.Handler, base string, find func(name string) (Source, bool)) func(context.Context, string, string) (wire.SampleSent, error) {
	return func(ctx context.Context, name, eventType string) (wire.SampleSent, error) {
		src, ok := find(name)
		if !ok {
			return wire.SampleSent{}, fmt.Errorf("source %s: %w; GET /api/v1/sources lists them", name, gaff.ErrNotFound)
		}
		switch {
		case src.Sample == nil || src.Sign == nil:
			return wire.SampleSent{}, fmt.Errorf("%w: there are no samples of the source %s, for its signing key is not ours", gaff.ErrInvalid, name)
		case eventType != "" && len(src.Types) > 0 && !slices.Contains(src.Types, eventType) && src.Name != "custom":
			return wire.SampleSent{}, fmt.Errorf("%w: there is no sample of the type %.60q; there are %s", gaff.ErrInvalid, eventType, strings.Join(src.Types, ", "))
		}
		body, err := src.Sample(eventType)
		if err != nil {
			return wire.SampleSent{}, fmt.Errorf("%w: make a sample of %s: %w", gaff.ErrInvalid, name, err)
		}
		now := time.Now()
		address := base + gaff.PathPrefix + name
		signed := &gaff.Request{
			Method: http.MethodPost, URL: address, Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"gaff-test"}}, Body: body, ReceivedAt: now,
		}
		if err := src.Sign(signed, now, ""); err != nil {
			return wire.SampleSent{}, fmt.Errorf("%w: sign a sample of %s: %w", gaff.ErrInvalid, name, err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, signed.URL, bytes.NewReader(signed.Body))
		if err != nil {
			return wire.SampleSent{}, err
		}
		req.Header, req.RemoteAddr, req.RequestURI = signed.Header, "127.0.0.1:0", req.URL.RequestURI()
		res := inproc.Ask(ingest, req)
		var reply struct{ ID string }
		_ = json.Unmarshal(res.Body, &reply)
		return wire.SampleSent{Status: res.Status, Response: string(res.Body), EventID: reply.ID}, nil
	}
}

// welcome says where the console is and how to get in.
func welcome(out io.Writer, local, hint, link string) {
	fmt.Fprintf(out, "\nThe console is at %s/; log in %s.\n", local, hint)
	if link != "" {
		fmt.Fprintf(out, "This link logs you in, once, within the hour:\n\n  %s%s%s\n", local, api.LoginPath, link)
	}
}

// hooks report events and attempts to metrics, plots and alerts.
func hooks(m *metrics.Metrics, c *stats.Collector, v *watch.Violations) gaff.Hooks {
	return gaff.Hooks{
		Replied: func(source string, status int, took time.Duration) {
			m.Replied(source, status, took)
			c.Replied(source, status, took)
		},
		Attempted: func(source, handler, outcome string, took, age time.Duration) {
			m.Attempted(source, handler, outcome, took, age)
			c.Attempted(source, handler, outcome, took, age)
		},
		Violated: func(source, schema string, refused bool) {
			m.Violated(source, schema, refused)
			v.Record(source, schema, refused)
		},
	}
}
