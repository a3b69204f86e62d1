package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/app"
	"gaff/internal/config"
)

// maxInput bounds what is read from a file or the standard input, in bytes.
const maxInput = 256 << 20

// readInput reads a file, or the standard input for "-".
func (p *program) readInput(name string) ([]byte, error) {
	in := p.Stdin
	if name != "-" {
		f, err := os.Open(p.path(name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxInput {
		return nil, fmt.Errorf("read %s: larger than 256 MiB", name)
	}
	return text, nil
}

func (p *program) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, name)
}

// configured loads the configuration and finds one of its sources.
func (p *program) configured(name string) (*config.Config, *app.Source, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, nil, err
	}
	if p.devRuns(cfg) {
		if err := app.DevSecrets(cfg, p.path(app.DevDir)); err != nil {
			return nil, nil, err
		}
	}
	sources, err := p.sources(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for i := range sources {
		if sources[i].Name == name {
			return cfg, &sources[i], nil
		}
		names = append(names, sources[i].Name)
	}
	return nil, nil, usagef("there is no source %q; configured are %s", name, strings.Join(names, ", "))
}

// signer returns the source's Sign, or why there is none.
func signer(src *app.Source) (func(*gaff.Request, time.Time, string) error, error) {
	if src.Sign == nil {
		return nil, fmt.Errorf("the sender of %s holds the only key that signs, so it cannot be played; check a captured request with gaff verify", src.Name)
	}
	return src.Sign, nil
}

type sendOptions struct {
	typ, data, to, secret string
	count                 int
	asJSON                bool
}

func (p *program) sendCommand() *cobra.Command {
	var o sendOptions
	cmd := &cobra.Command{
		Use:   "send SOURCE",
		Short: "Make, sign and send a sample webhook",
		Long: `Play a sender: make a sample webhook (or take the body from --data), sign it with the
source's configured secret, send it, and print success, status and response. It goes to
the gateway of GAFF_URL or of the data folder, else to the source's public address.`,
		Example: `  gaff send fal --type generation.failed
  gaff send custom --data event.json --to http://127.0.0.1:3000/api/v1/webhooks/custom
  gaff send lastframe --count 100`,
		Args: arguments(1, 1, "one SOURCE"),
		RunE: work(func(ctx context.Context, args []string) error { return p.send(ctx, args[0], o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.typ, "type", "", "the event's type (default: the source's first)")
	flags.StringVar(&o.data, "data", "", "file with the body to send in place of a sample; - is the standard input")
	flags.StringVar(&o.to, "to", "", "address to send to")
	flags.StringVar(&o.secret, "secret", "", "secret to sign with in place of the configured one")
	flags.IntVar(&o.count, "count", 1, "how many to send, each with ids of its own")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON document a line: {success, status, response} or {success, error}")
	flags.StringVar(&p.url, "url", "", "the gateway's address [GAFF_URL] (default: found in the data folder)")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "WEBHOOK_BASE_URL")
	return cmd
}

// sent is what became of one request that was sent.
type sent struct {
	Success  bool    `json:"success"`
	Status   int     `json:"status,omitempty"`
	Response *string `json:"response,omitempty"`
	Error    string  `json:"error,omitempty"`
}

func (p *program) send(ctx context.Context, name string, o sendOptions) error {
	if o.count < 1 {
		return usagef("--count %d: at least 1", o.count)
	}
	if o.data != "" && o.typ != "" {
		return usagef("--data and --type: a body brings its own type; leave one of them out")
	}
	cfg, src, err := p.configured(name)
	if err != nil {
		return err
	}
	sign, err := signer(src)
	if err != nil {
		return err
	}
	target := withScheme(o.to)
	if target == "" {
		if base := p.locate(cfg); base != "" {
			target = base + "/api/v1/webhooks/" + url.PathEscape(name)
		} else {
			target = src.Address
		}
	}
	// Without a public base URL the source's address is a path.
	if o.to == "" && !strings.Contains(target, "://") {
		return noGateway(cfg, "GAFF_URL or --to")
	}
	if u, err := url.Parse(target); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usagef("%q is no address; write one like http://127.0.0.1:3000/api/v1/webhooks/%s", target, name)
	}
	// Some schemes sign the address as the gateway is known in public.
	public := target
	if o.to == "" && strings.Contains(src.Address, "://") {
		public = src.Address
	}
	var data []byte
	if o.data != "" {
		if data, err = p.readInput(o.data); err != nil {
			return err
		}
	}

	g := progress{w: p.Stderr, terminal: p.terminal(p.Stderr), total: o.count}
	outcomes := make(map[string]int)
	for range o.count {
		body := data
		if o.data == "" {
			if src.Sample == nil {
				return fmt.Errorf("there is no sample for %s; give a body with --data", name)
			}
			if body, err = src.Sample(o.typ); err != nil {
				known := ""
				if len(src.Types) > 0 {
					known = "; known are " + strings.Join(src.Types, ", ")
				}
				return usagef("make a sample: %w%s", err, known)
			}
		}
		r := &gaff.Request{
			Method: http.MethodPost, URL: public, Body: bytes.Clone(body),
			Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"gaff"}},
		}
		if o.data == "" && src.SampleHeader != nil {
			maps.Copy(r.Header, src.SampleHeader(o.typ))
		}
		if err := sign(r, p.now(), o.secret); err != nil {
			return fmt.Errorf("sign for %s: %w", name, err)
		}
		res := p.post(ctx, target, public, r)
		if ctx.Err() != nil {
			break
		}
		switch {
		case o.asJSON:
			if err := writeJSON(p.Stdout, res); err != nil {
				return err
			}
		case o.count == 1:
			if err := p.showSent(res); err != nil {
				return err
			}
		}
		if !res.Success {
			outcome := res.Error
			if res.Status != 0 {
				outcome = fmt.Sprintf("%d %s", res.Status, http.StatusText(res.Status))
			}
			outcomes[outcome]++
		}
		g.step(res.Success)
	}
	g.end()
	if o.count > 1 && !o.asJSON {
		fmt.Fprintf(p.Stdout, "%d sent: %d success, %d failed\n", g.done, g.done-g.failed, g.failed)
		for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
			fmt.Fprintf(p.Stdout, "  %d: %s\n", outcomes[outcome], clean(outcome))
		}
	}
	switch {
	case g.done < o.count:
		return ctx.Err()
	case g.failed > 0:
		return errReported
	}
	return nil
}

func (p *program) showSent(res sent) error {
	t := newTable(p.Stdout)
	t.row("success", fmt.Sprint(res.Success))
	if res.Response != nil {
		t.row("status", fmt.Sprint(res.Status))
		t.row("response", clean(strings.TrimSpace(*res.Response)))
	} else {
		t.row("error", clean(res.Error))
	}
	return t.flush()
}

// post sends the signed request to target. Where signing has changed the address, which
// was public before, the target's query follows.
func (p *program) post(ctx context.Context, target, public string, r *gaff.Request) sent {
	if r.URL != public {
		if signed, err := url.Parse(r.URL); err == nil {
			if u, err := url.Parse(target); err == nil {
				u.RawQuery = signed.RawQuery
				target = u.String()
			}
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return sent{Error: err.Error()}
	}
	req.Header = r.Header
	res, err := p.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return sent{Error: err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return sent{Error: fmt.Sprintf("read the response: %v", err)}
	}
	response := string(text)
	return sent{Success: res.StatusCode/100 == 2, Status: res.StatusCode, Response: &response}
}

func (p *program) signCommand() *cobra.Command {
	var secret, at, address string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sign SOURCE FILE|-",
		Short: "Print the headers that make a body authentic",
		Long: `Print the headers that make this body authentic for the source, one "Name: value" a
line. The body must then be sent byte for byte:

  gaff sign custom event.json > headers
  curl -H @headers --data-binary @event.json http://127.0.0.1:3000/api/v1/webhooks/custom`,
		Args: arguments(2, 2, "SOURCE and FILE (or -)"),
		RunE: work(func(_ context.Context, args []string) error {
			when := p.now()
			if at != "" {
				var err error
				if when, err = parseMoment(at); err != nil {
					return usagef("--at %q %w", at, err)
				}
			}
			_, src, err := p.configured(args[0])
			if err != nil {
				return err
			}
			sign, err := signer(src)
			if err != nil {
				return err
			}
			body, err := p.readInput(args[1])
			if err != nil {
				return err
			}
			if address == "" {
				address = src.Address
			}
			r := &gaff.Request{Method: http.MethodPost, URL: address, Header: http.Header{}, Body: bytes.Clone(body)}
			if err := sign(r, when, secret); err != nil {
				return fmt.Errorf("sign for %s: %w", args[0], err)
			}
			changed := ""
			if !bytes.Equal(r.Body, body) {
				if changed = string(r.Body); !asJSON {
					return fmt.Errorf("%s signs within the body; no header can make this one authentic. gaff send sends it signed, and --json prints the body that is", args[0])
				}
			}
			if asJSON {
				return writeJSON(p.Stdout, struct {
					URL     string      `json:"url,omitempty"`
					Headers http.Header `json:"headers"`
					Body    string      `json:"body,omitempty"`
				}{r.URL, r.Header, changed})
			}
			if r.URL != address {
				fmt.Fprintln(p.Stderr, "the signature is part of the address: "+clean(r.URL))
			}
			for _, name := range slices.Sorted(maps.Keys(r.Header)) {
				for _, value := range r.Header[name] {
					fmt.Fprintf(p.Stdout, "%s: %s\n", name, clean(value))
				}
			}
			return nil
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&secret, "secret", "", "secret to sign with in place of the configured one")
	flags.StringVar(&at, "at", "", "time of the signature, unix seconds or RFC 3339 (default: now)")
	flags.StringVar(&address, "url", "", "address that it will be sent to, where the scheme signs it (default: the source's)")
	flags.BoolVar(&asJSON, "json", false, "print {url, headers}, and {body} where the signature stands in it")
	p.settingFlags(cmd, "WEBHOOK_BASE_URL")
	return cmd
}
