package app

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/safehttp"
	"gaff/jobs"
	"gaff/provider/custom"
	"gaff/provider/described"
)

// describedClients makes the clients of the described providers, by name. Only a base URL that
// gaff.yaml sets may be of a private network: descriptions come from others.
func describedClients(cfg *config.Config, traced func(*http.Client) *http.Client) (map[string]*described.Client, error) {
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, fmt.Errorf("GAFF_ALLOW_ADDRESSES: %w", err)
	}
	if traced == nil {
		traced = func(c *http.Client) *http.Client { return c }
	}
	guarded, open := traced(safehttp.New(safehttp.Options{Allow: allow})), traced(ownClient())
	clients := map[string]*described.Client{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Described)) {
		p := cfg.Described[name]
		d := p.Description(name)
		if d == nil {
			return nil, fmt.Errorf("providers.%s: no description", name)
		}
		o := described.Options{Name: name, BaseURL: p.BaseURL, Secrets: map[string]string{}, HTTP: guarded, Muted: muted(p, d), Rate: p.Rate, Concurrency: p.Concurrency}
		if p.BaseURL != "" {
			o.HTTP = open
		}
		for secret, value := range p.Secrets {
			o.Secrets[secret] = string(value)
		}
		if len(p.WebhookSecrets) > 0 {
			o.WebhookSecret = string(p.WebhookSecrets[0])
		}
		if clients[name], err = described.New(d, o); err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
	}
	return clients, nil
}

// ownClient returns the client for URLs of the operator's own, which may be of this machine.
// Redirects are not followed, because the key would go along.
func ownClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// muted reports whether webhooks of a provider cannot be verified, so that it is polled.
func muted(p config.Provider, d *described.Description) bool {
	return d.Webhook != nil && !d.Webhook.Unsigned && len(p.WebhookSecrets) == 0
}

// describedSources builds the sources of the described providers that send webhooks.
func describedSources(cfg *config.Config, kept keys) (list []Source, err error) {
	clients, err := describedClients(cfg, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		p, c := cfg.Described[name], clients[name]
		hook := c.Description().Webhook
		if hook == nil {
			continue
		}
		var src Source
		secretsAt := "providers." + name + ".webhook_secrets"
		if hook.Unsigned {
			src, err = unsignedSource(name)
		} else {
			src, err = describedSource(name, config.Source{Preset: hook.Preset, Verify: hook.Verify, Secrets: p.WebhookSecrets, NoJobs: true}, kept, secretsAt)
		}
		if err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
		if src.DisabledReason != "" {
			src.DisabledReason = "it has no secret, so jobs are polled: set " + secretsAt
		}
		in := described.NewInterpreter(c)
		src.Interpreter, src.Source.Parser = in, in.Parser(src.Source.Parser)
		list = append(list, src)
	}
	return list, nil
}

// unsignedSource builds the source of a sender that signs nothing.
func unsignedSource(name string) (Source, error) {
	built, err := custom.Source(custom.Options{
		Name: name, Verifier: described.JobURLs{Source: name},
		About: map[string]string{
			"verifier": "none: the sender signs nothing. Only the URL of a job is accepted, and its result is fetched from the provider",
		},
	})
	return Source{
		Source: built, Types: []string{"test"},
		Sign: func(*gaff.Request, time.Time, string) error { return nil },
		Sample: func(eventType string) ([]byte, error) {
			return fmt.Appendf(nil, `{"type":%q}`, cmp.Or(eventType, "test")), nil
		},
	}, err
}

// fileHeaders returns the headers with which a file of a described provider is fetched.
func fileHeaders(clients map[string]jobs.Provider) func(provider, address string) http.Header {
	return func(provider, address string) http.Header {
		if c, ok := clients[provider].(*described.Client); ok {
			return c.FileHeaders(address)
		}
		return nil
	}
}

var (
	_ jobs.PolledOnly = (*described.Client)(nil)
	_ jobs.Paced      = (*described.Client)(nil)
	_ jobs.Slow       = (*described.Client)(nil)
	_ gaff.Verifier   = described.JobURLs{}
)
