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
	"gaff/provider/all"
)

// maxInput is the longest input of a file or the standard input, in bytes.
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
	return nil, nil, usagef("no source %q; configured are %s", name, strings.Join(names, ", "))
}

// signer returns the source's Sign, or an error if only the sender can sign.
func signer(src *app.Source) (func(*gaff.Request, time.Time, string) error, error) {
	if src.Sign == nil {
		return nil, fmt.Errorf("only the sender of %s has the key that signs, so gaff cannot send as it; check a captured request with gaff verify", src.Name)
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
		Short: "Create, sign and send a sample webhook",
		Long: `Act as a sender: create a sample webhook (or take the body from --data), sign it with the
source's configured secret, send it, and print success, status and response. It is sent to
the gateway of GAFF_URL or of the data folder, or else to the source's public URL.`,
		Example: `  gaff send ` + all.Default().Name + `
  gaff send custom --data event.json --to http://127.0.0.1:3000/api/v1/webhooks/custom
  gaff send custom --type order.paid --count 100`,
		Args: arguments(1, 1, "one SOURCE"),
		RunE: work(func(ctx context.Context, args []string) error { return p.send(ctx, args[0], o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.typ, "type", "", "the event's type (default: the source's first)")
	flags.StringVar(&o.data, "data", "", "file with the body to send instead of a sample; - is the standard input")
	flags.StringVar(&o.to, "to", "", "URL to send to")
	flags.StringVar(&o.secret, "secret", "", "secret to sign with instead of the configured one")
	flags.IntVar(&o.count, "count", 1, "how many to send, each with its own ids")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON document a line: {success, status, response} or {success, error}")
	flags.StringVar(&p.url, "url", "", "the gateway's URL [GAFF_URL] (default: read from the data folder)")
	p.settingFlags(cmd, "GAFF_DATA_DIR", "WEBHOOK_BASE_URL")
	return cmd
}

// sent is the result of one sent request.
type sent struct {
	Success  bool    `json:"success"`
	Status   int     `json:"status,omitempty"`
	Response *string `json:"response,omitempty"`
	Error    string  `json:"error,omitempty"`
}

func (p *program) send(ctx context.Context, name string, o sendOptions) error {
	if o.count < 1 {
		return usagef("--count %d: want at least 1", o.count)
	}
	if o.data != "" && o.typ != "" {
		return usagef("--data and --type: a body has its own type; leave one of them out")
	}
	cfg, src, err := p.configured(name)
	if err != nil {
		return err
	}
	sign, err := signer(src)
	if err != nil {
		return err
	}
	s := sending{p: p, src: src, sign: sign, o: o}
	if err := s.setTarget(cfg); err != nil {
		return err
	}
	if o.data != "" {
		if s.data, err = p.readInput(o.data); err != nil {
			return err
		}
	}
	return s.run(ctx)
}

// sending is one run of "gaff send".
type sending struct {
	p    *program
	src  *app.Source
	sign func(*gaff.Request, time.Time, string) error
	o    sendOptions
	// target is the URL that is called. public is the URL that is signed, as the sender knows it.
	target, public string
	client         *http.Client
	data           []byte // the body of --data; nil for samples
}

// setTarget chooses the URL: --to, else the gateway's, else the source's public URL.
func (s *sending) setTarget(cfg *config.Config) error {
	s.target, s.client = withScheme(s.o.to), s.p.http
	if s.target == "" {
		s.target = s.src.Address
		if base, client := s.p.locateReceiver(cfg); base != "" {
			s.client = client
			s.target = base + "/api/v1/webhooks/" + url.PathEscape(s.src.Name)
		}
	}
	// Without a public base URL the source's address is a path.
	if s.o.to == "" && !strings.Contains(s.target, "://") {
		return noGateway(cfg, "GAFF_URL or --to")
	}
	if u, err := url.Parse(s.target); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usagef("%q is not a URL; write one such as http://127.0.0.1:3000/api/v1/webhooks/%s", s.target, s.src.Name)
	}
	// Some schemes sign the gateway's public URL.
	s.public = s.target
	if s.o.to == "" && strings.Contains(s.src.Address, "://") {
		s.public = s.src.Address
	}
	return nil
}

// request returns a signed request.
func (s *sending) request() (*gaff.Request, error) {
	r := &gaff.Request{
		Method: http.MethodPost, URL: s.public, Body: bytes.Clone(s.data),
		Header: http.Header{"Content-Type": {"application/json"}, "User-Agent": {"gaff"}},
	}
	if s.o.data == "" {
		if s.src.Sample == nil {
			return nil, fmt.Errorf("no sample of %s exists; give a body with --data", s.src.Name)
		}
		body, err := s.src.Sample(s.o.typ)
		if err != nil {
			known := ""
			if len(s.src.Types) > 0 {
				known = "; the known types are " + strings.Join(s.src.Types, ", ")
			}
			return nil, usagef("make a sample: %w%s", err, known)
		}
		r.Body = bytes.Clone(body)
		if s.src.SampleHeader != nil {
			maps.Copy(r.Header, s.src.SampleHeader(s.o.typ))
		}
	}
	if err := s.sign(r, s.p.now(), s.o.secret); err != nil {
		return nil, fmt.Errorf("sign for %s: %w", s.src.Name, err)
	}
	return r, nil
}

// run sends the requests and prints each response, or a summary of many.
func (s *sending) run(ctx context.Context) error {
	p, o := s.p, s.o
	g := p.progress(o.count)
	outcomes := make(map[string]int)
	for range o.count {
		r, err := s.request()
		if err != nil {
			return err
		}
		res := s.post(ctx, r)
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

// post sends the signed request to the target. If signing added a query to the public URL, the
// target gets the same query.
func (s *sending) post(ctx context.Context, r *gaff.Request) sent {
	target := s.target
	if r.URL != s.public {
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
	res, err := s.client.Do(req)
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
