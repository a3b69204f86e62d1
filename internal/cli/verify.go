package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/wire"
	"gaff/sender"
)

func (p *program) verifyCommand() *cobra.Command {
	var source, request, at, address string
	var vectors []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Tell whether a captured request verifies, and if not, why",
		Long: `With --source and --request: tell whether a captured request verifies, and if not, why.
The file holds the request as it went over the wire (request line, headers, an empty line,
the exact body) or what "gaff events show --json" prints. It is judged at --at, else at the
time that it tells of itself (receivedAt, or its Date header), else now.

With --vectors: run files of test vectors, each vector by its file's scheme (or the preset
of that name, where the scheme is code) and at its own time. More files may follow as
arguments.`,
		Example: `  gaff events show evt_01KAVJ0Z6M3Q8R5T7W9XYZABCD --json > event.json
  gaff verify --source fal --request event.json
  gaff verify --vectors vectors/*.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && len(vectors) == 0 {
				return usagef("gaff verify takes no argument without --vectors; %q is one", args[0])
			}
			return nil
		},
		RunE: work(func(ctx context.Context, args []string) error {
			switch {
			case len(vectors) > 0 && (source != "" || request != "" || at != ""):
				return usagef("--vectors goes with none of --source, --request and --at")
			case len(vectors) > 0:
				return p.verifyVectors(append(vectors, args...), asJSON)
			case source == "" || request == "":
				return usagef("say --source NAME and --request FILE, or --vectors FILE…")
			}
			return p.verifyRequest(ctx, source, request, at, address, asJSON)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&source, "source", "", "the source by whose verifier and secrets it is judged")
	flags.StringVar(&request, "request", "", "file with the captured request; - is the standard input")
	flags.StringVar(&at, "at", "", "time at which it is judged, unix seconds or RFC 3339")
	flags.StringVar(&address, "url", "", "the address as the sender knew it, where the scheme signs it")
	flags.StringArrayVar(&vectors, "vectors", nil, "file of test vectors; may be repeated")
	flags.BoolVar(&asJSON, "json", false, "print JSON: {valid, reason, …}, or {id, expect, got, reason, normative} a line")
	p.settingFlags(cmd, "WEBHOOK_BASE_URL")
	return cmd
}

// parseMoment reads unix seconds or RFC 3339.
func parseMoment(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("is no time; write unix seconds or 2026-01-31T12:00:00Z")
}

func (p *program) verifyRequest(ctx context.Context, name, file, at, address string, asJSON bool) error {
	text, err := p.readInput(file)
	if err != nil {
		return err
	}
	r, notes, err := parseRequest(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	cfg, src, err := p.configured(name)
	if err != nil {
		return err
	}
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
	r.URL = publicURL(cfg, r, address)
	for _, note := range notes {
		fmt.Fprintln(p.Stderr, "note: "+clean(note))
	}

	res := struct {
		Valid  bool      `json:"valid"`
		Reason string    `json:"reason,omitempty"`
		At     time.Time `json:"at"`
		Scheme string    `json:"scheme,omitempty"`
		KeyID  string    `json:"keyId,omitempty"`
		ID     string    `json:"id,omitempty"`
		Type   string    `json:"type,omitempty"`
		// Unreadable is why an authentic request would still be refused.
		Unreadable string `json:"unreadable,omitempty"`
	}{At: r.ReceivedAt}
	switch {
	case src.DisabledReason != "":
		res.Reason = "the source refuses everything: " + src.DisabledReason
	case src.Verifier == nil:
		res.Reason = "the source has no verifier"
	default:
		v, envelope, unreadable, err := src.Read(ctx, r)
		if errors.Is(err, gaff.ErrUnverifiable) {
			return fmt.Errorf("verify %s: %w", file, err)
		}
		if err != nil {
			res.Reason = err.Error()
			break
		}
		res.Valid, res.Scheme, res.KeyID, res.ID, res.Type = true, v.Scheme, v.KeyID, v.ID, v.Type
		if src.Parser == nil {
			break
		}
		if unreadable != nil {
			res.Unreadable = unreadable.Error()
			break
		}
		if envelope.ID != "" {
			res.ID = envelope.ID
		}
		res.Type = envelope.Type
	}

	if asJSON {
		err = writeJSON(p.Stdout, res)
	} else {
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
		t.pair("but", clean(prefixed("authentic and not readable, so it would be refused: ", res.Unreadable)))
		err = t.flush()
	}
	if err == nil && !res.Valid {
		err = errReported
	}
	return err
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// publicURL is the address as the sender knew it: as given, else the configured base
// with the request's path, else what the request tells of itself.
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

// parseRequest reads a captured request: raw HTTP, or JSON as the API shows an event or
// its request. ReceivedAt is zero if it is not told. The notes are about what was odd.
func parseRequest(text []byte) (r *gaff.Request, notes []string, err error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n\ufeff"); len(trimmed) > 0 && trimmed[0] == '{' {
		r, err = parseRequestJSON(trimmed)
		return r, nil, err
	}
	return parseRequestRaw(text)
}

func parseRequestJSON(text []byte) (*gaff.Request, error) {
	var doc struct {
		capturedRequest
		Request    *capturedRequest
		ReceivedAt time.Time
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	captured := &doc.capturedRequest
	if doc.Request != nil {
		captured = doc.Request
	}
	if captured.Headers == nil {
		return nil, errors.New(`there is no request in it; gaff events show ID --json prints one (events that gaff emitted itself have none)`)
	}
	body, err := captured.body()
	if err != nil {
		return nil, err
	}
	return &gaff.Request{
		Method: orPost(captured.Method), URL: captured.URL, RemoteAddr: captured.RemoteAddr,
		Header: http.Header(captured.Headers), Body: body, ReceivedAt: doc.ReceivedAt,
	}, nil
}

func orPost(method string) string {
	if method == "" {
		return http.MethodPost
	}
	return method
}

// parseRequestRaw reads a request as it went over the wire. Lines of the head may end
// in LF alone, as editors and tools leave them.
func parseRequestRaw(text []byte) (r *gaff.Request, notes []string, err error) {
	var lines []string
	rest := text
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		rest = after
		if len(line) == 0 && found {
			break
		}
		if !found {
			return nil, nil, errors.New("no empty line ends the headers: is this the whole request, request line first?")
		}
		lines = append(lines, string(line))
	}
	if len(lines) == 0 {
		return nil, nil, errors.New("it begins with an empty line; the request line (POST /path HTTP/1.1) is wanted first")
	}
	method, target, ok1 := strings.Cut(lines[0], " ")
	target, proto, ok2 := strings.Cut(target, " ")
	if !ok1 || !ok2 || !strings.HasPrefix(proto, "HTTP/") || method == "" || target == "" {
		return nil, nil, errors.New("the first line is no request line such as POST /path HTTP/1.1")
	}
	r = &gaff.Request{Method: method, URL: target, Header: http.Header{}, Body: rest}
	for i, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, nil, fmt.Errorf("line %d is no header such as Name: value", i+2)
		}
		r.Header.Add(textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t"))
	}
	if strings.EqualFold(r.Header.Get("Transfer-Encoding"), "chunked") {
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rest)))
		if err != nil {
			notes = append(notes, "Transfer-Encoding says chunked, but the body is not; it was taken as it is")
		} else {
			r.Body = body
		}
		return r, notes, nil
	}
	length, err := strconv.Atoi(r.Header.Get("Content-Length"))
	if err != nil || length < 0 || length == len(rest) {
		return r, nil, nil
	}
	if length < len(rest) && len(bytes.Trim(rest[length:], "\r\n")) == 0 {
		r.Body = rest[:length]
		return r, []string{"the line break after the body was left out: Content-Length does not count it"}, nil
	}
	return r, []string{fmt.Sprintf(
		"Content-Length says %d, but the body has %d bytes: it was changed when it was captured, and then no signature can match", length, len(rest),
	)}, nil
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
			fmt.Fprintf(p.Stderr, "%s: handshakes, not vectors; left out\n", clean(name))
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
				fmt.Fprintf(p.Stdout, "%s %s: %s, %s wanted; %s. %s\n",
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
