package cli

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"gaff"
)

// signOptions are the flags of "gaff sign".
type signOptions struct {
	secret, at, address string
	asJSON              bool
}

func (p *program) signCommand() *cobra.Command {
	var o signOptions
	cmd := &cobra.Command{
		Use:   "sign SOURCE FILE|-",
		Short: "Print the headers that make a body authentic",
		Long: `Print the headers that make this body authentic for the source, one "Name: value" a
line. The body must then be sent byte for byte:

  gaff sign custom event.json > headers
  curl -H @headers --data-binary @event.json http://127.0.0.1:3000/api/v1/webhooks/custom`,
		Args: arguments(2, 2, "SOURCE and FILE (or -)"),
		RunE: work(func(_ context.Context, args []string) error { return p.sign(args[0], args[1], o) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.secret, "secret", "", "secret to sign with instead of the configured one")
	flags.StringVar(&o.at, "at", "", "time of the signature, Unix seconds or RFC 3339 (default: now)")
	flags.StringVar(&o.address, "url", "", "the URL that it will be sent to, if the scheme signs it (default: the source's)")
	flags.BoolVar(&o.asJSON, "json", false, "print {url, headers}, and {body} if the signature is in the body")
	p.settingFlags(cmd, "WEBHOOK_BASE_URL")
	return cmd
}

func (p *program) sign(source, file string, o signOptions) error {
	when := p.now()
	if o.at != "" {
		var err error
		if when, err = parseMoment(o.at); err != nil {
			return usagef("--at %q %w", o.at, err)
		}
	}
	_, src, err := p.configured(source)
	if err != nil {
		return err
	}
	sign, err := signer(src)
	if err != nil {
		return err
	}
	body, err := p.readInput(file)
	if err != nil {
		return err
	}
	address := o.address
	if address == "" {
		address = src.Address
	}
	r := &gaff.Request{Method: http.MethodPost, URL: address, Header: http.Header{}, Body: bytes.Clone(body)}
	if err := sign(r, when, o.secret); err != nil {
		return fmt.Errorf("sign for %s: %w", source, err)
	}
	changed := ""
	if !bytes.Equal(r.Body, body) {
		if changed = string(r.Body); !o.asJSON {
			return fmt.Errorf("%s signs within the body, so no header makes this body authentic. gaff send sends it signed, and --json prints the signed body", source)
		}
	}
	if o.asJSON {
		return writeJSON(p.Stdout, struct {
			URL     string      `json:"url,omitempty"`
			Headers http.Header `json:"headers"`
			Body    string      `json:"body,omitempty"`
		}{r.URL, r.Header, changed})
	}
	if r.URL != address {
		fmt.Fprintln(p.Stderr, "the signature is part of the URL: "+clean(r.URL))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(p.Stdout, "%s: %s\n", name, clean(value))
		}
	}
	return nil
}
