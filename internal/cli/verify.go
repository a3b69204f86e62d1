package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/app"
	"gaff/internal/config"
	"gaff/internal/wire"
	"gaff/sender"
)

func (p *program) verifyCommand() *cobra.Command {
	var o verifyOptions
	var vectors []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify a captured request, and print the reason if it is invalid",
		Long: `With --source and --request: verify a captured request, and print the reason if it is
invalid. The file holds the request as it was sent (request line, headers, an empty line,
the exact body) or the output of "gaff events show --json". It is verified at the time of
--at, or else at its own time (receivedAt, or its Date header), or else now.

With --vectors: run files of test vectors, each vector by its file's scheme (or by the
preset of that name, if the scheme is code) and at its own time. More files may follow as
arguments.`,
		Example: `  gaff events show evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD --json > event.json
  gaff verify --source stripe --request event.json
  gaff verify --vectors vectors/*.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(vectors) == 0 {
				return usagef("gaff verify takes no argument without --vectors; unexpected argument %q", args[0])
			}
			return nil
		},
		RunE: work(func(ctx context.Context, args []string) error {
			switch {
			case len(vectors) > 0 && (o.source != "" || o.request != "" || o.at != ""):
				return usagef("--vectors cannot be combined with --source, --request or --at")
			case len(vectors) > 0:
				return p.verifyVectors(append(vectors, args...), o.asJSON)
			case o.source == "" || o.request == "":
				return usagef("give --source NAME and --request FILE, or --vectors FILE…")
			}
			return p.verifyRequest(ctx, o)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.source, "source", "", "the source whose verifier and secrets are used")
	flags.StringVar(&o.request, "request", "", "file with the captured request; - is the standard input")
	flags.StringVar(&o.at, "at", "", "time at which it is verified, Unix seconds or RFC 3339")
	flags.StringVar(&o.address, "url", "", "the URL that the sender used, if the scheme signs it")
	flags.StringArrayVar(&vectors, "vectors", nil, "file of test vectors; may be repeated")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON: {valid, reason, …}, or {id, expect, got, reason, normative} a line")
	p.settingFlags(cmd, "WEBHOOK_BASE_URL")
	return cmd
}

// parseMoment reads Unix seconds or RFC 3339.
func parseMoment(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("is not a time; write Unix seconds or 2026-01-31T12:00:00Z")
}

// verdict is the result of verifying a captured request.
type verdict struct {
	Valid  bool      `json:"valid"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Scheme string    `json:"scheme,omitempty"`
	KeyID  string    `json:"keyId,omitempty"`
	ID     string    `json:"id,omitempty"`
	Type   string    `json:"type,omitempty"`
	// Unreadable is why an authentic request would be rejected nevertheless.
	Unreadable string `json:"unreadable,omitempty"`
}

// verifyOptions are the flags of "gaff verify" for a captured request.
type verifyOptions struct {
	source, request, at, address string
	asJSON                       bool
}

func (p *program) verifyRequest(ctx context.Context, o verifyOptions) error {
	text, err := p.readInput(o.request)
	if err != nil {
		return err
	}
	r, notes, err := parseRequest(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", o.request, err)
	}
	cfg, src, err := p.configured(o.source)
	if err != nil {
		return err
	}
	if err := p.setReceived(r, o.at); err != nil {
		return err
	}
	r.URL = publicURL(cfg, r, o.address)
	for _, note := range notes {
		fmt.Fprintln(p.Stderr, "note: "+clean(note))
	}
	res, err := judge(ctx, src, r)
	if err != nil {
		return fmt.Errorf("verify %s: %w", o.request, err)
	}
	if o.asJSON {
		err = writeJSON(p.Stdout, res)
	} else {
		err = p.printVerdict(res)
	}
	if err == nil && !res.Valid {
		err = errReported
	}
	return err
}

// setReceived sets the time by which a request is verified: at, if it is given, else the request's
// own time, else now.
func (p *program) setReceived(r *gaff.Request, at string) (err error) {
	switch {
	case at != "":
		if r.ReceivedAt, err = parseMoment(at); err != nil {
			return usagef("--at %q %w", at, err)
		}
	case r.ReceivedAt.IsZero():
		r.ReceivedAt = p.now()
		if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			r.ReceivedAt = date
		}
	}
	return nil
}

// judge verifies and parses a request as the source would. An error means that the request cannot
// be verified here at all.
func judge(ctx context.Context, src *app.Source, r *gaff.Request) (verdict, error) {
	res := verdict{At: r.ReceivedAt}
	if src.DisabledReason != "" {
		res.Reason = "the source rejects every request: " + src.DisabledReason
		return res, nil
	}
	if src.Verifier == nil {
		res.Reason = "the source has no verifier"
		return res, nil
	}
	v, envelope, unreadable, err := src.Read(ctx, r)
	if errors.Is(err, gaff.ErrUnverifiable) {
		return res, err
	}
	if err != nil {
		res.Reason = err.Error()
		return res, nil
	}
	res.Valid, res.Scheme, res.KeyID, res.ID, res.Type = true, v.Scheme, v.KeyID, v.ID, v.Type
	switch {
	case src.Parser == nil:
	case unreadable != nil:
		res.Unreadable = unreadable.Error()
	default:
		res.ID, res.Type = cmp.Or(envelope.ID, res.ID), envelope.Type
	}
	return res, nil
}

func (p *program) printVerdict(res verdict) error {
	word := "invalid"
	if res.Valid {
		word = "valid"
	}
	t := newTable(p.Stdout)
	t.row(word, clean(res.Reason))
	t.row("judged at", stamp(wire.Time{Time: res.At}))
	t.pair("scheme", clean(res.Scheme))
	t.pair("key", clean(res.KeyID))
	t.pair("type", clean(res.Type))
	t.pair("id", clean(res.ID))
	if res.Unreadable != "" {
		t.row("but", clean("authentic and not readable, so it would be rejected: "+res.Unreadable))
	}
	return t.flush()
}

// publicURL returns the URL that the sender used: as given, else the configured base with the
// request's path, else a URL of the request's Host header.
func publicURL(cfg *config.Config, r *gaff.Request, given string) string {
	if given != "" {
		return given
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.IsAbs() {
		return r.URL
	}
	if cfg.BaseURL != "" {
		return cfg.BaseURL + r.URL
	}
	if host := r.Header.Get("Host"); host != "" {
		return "https://" + host + r.URL
	}
	return r.URL
}

func (p *program) verifyVectors(files []string, asJSON bool) error {
	var agree, differ, choices int
	for _, name := range files {
		text, err := p.readInput(name)
		if err != nil {
			return err
		}
		var head struct{ Format string }
		if json.Unmarshal(text, &head) == nil && strings.HasPrefix(head.Format, "gaff-challenges/") {
			fmt.Fprintf(p.Stderr, "%s: handshakes, not vectors; skipped\n", clean(name))
			continue
		}
		results, err := sender.RunVectors(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, res := range results {
			if res.Detail != "" {
				fmt.Fprintf(p.Stderr, "%s: %s\n", clean(name), clean(res.Detail))
			}
			switch {
			case res.Agrees():
				agree++
			case res.Normative:
				differ++
			default:
				choices++
			}
			if asJSON {
				if err := writeJSON(p.Stdout, res); err != nil {
					return err
				}
				continue
			}
			if !res.Agrees() {
				word := "differs"
				if !res.Normative {
					word = "chooses (" + res.Policy + ")"
				}
				fmt.Fprintf(p.Stdout, "%s %s: %s, want %s; %s. %s\n",
					clean(res.ID), clean(word), clean(res.Got), clean(res.Expect), clean(res.Description), clean(res.Reason))
			}
		}
	}
	if !asJSON {
		fmt.Fprintf(p.Stdout, "%d agree, %d differ, %d choose otherwise\n", agree, differ, choices)
	}
	if differ > 0 {
		return errReported
	}
	return nil
}
