package app

import (
	"context"
	"log/slog"
	"net/http"

	"gaff/internal/config"
	"gaff/internal/tunnel"
	"gaff/provider"
	"gaff/provider/all"
)

// openTunnel opens the tunnel and puts its address in place of the configured ones: a user
// who opens one wants webhooks to come to this machine.
func openTunnel(ctx context.Context, cfg *config.Config, log *slog.Logger) (*tunnel.Tunnel, error) {
	log.Info("opening the tunnel", "domain", cfg.NgrokDomain)
	t, err := tunnel.Open(ctx, tunnel.Options{Token: string(cfg.NgrokAuthToken), Domain: cfg.NgrokDomain, Log: log})
	if err != nil {
		return nil, err
	}
	replaced := func(name, value string) {
		if value != "" && value != t.URL() {
			log.Info("the tunnel's URL replaces a configured one", "setting", name, "configured", value)
		}
	}
	replaced("WEBHOOK_BASE_URL", cfg.BaseURL)
	for name, value := range webhookURLs(cfg) {
		replaced(name, value)
	}
	if err := unsetWebhookURLs(cfg); err != nil {
		t.Close()
		return nil, err
	}
	cfg.BaseURL = t.URL()
	return t, nil
}

// serveTunnel answers requests from the tunnel until ctx ends.
func serveTunnel(ctx context.Context, t *tunnel.Tunnel, ingest http.Handler, cfg *config.Config, log *slog.Logger) {
	err := t.Serve(ctx, ingest, tunnel.ServeOptions{
		MaxHeaderBytes: int(cfg.Limits.MaxHeaderBytes), HeaderTimeout: cfg.Limits.HeaderTimeout, ReadTimeout: cfg.Limits.ReadTimeout,
		IdleTimeout: cfg.Limits.IdleTimeout, Connections: cfg.Limits.Connections, Log: log,
	})
	if err != nil {
		log.Error("tunnel closed; restart gaff to reopen it", "error", err)
	}
}

// webhookURLs returns the configured webhook URLs of providers, by the setting's name.
func webhookURLs(cfg *config.Config) map[string]string {
	values, urls := cfg.ProviderValues(), map[string]string{}
	for _, p := range all.Providers() {
		if name := p.Setting(provider.WebhookURL); values.Text(name) != "" {
			urls[name] = values.Text(name)
		}
	}
	return urls
}

// unsetWebhookURLs has the webhook URLs of all providers built from the base URL.
func unsetWebhookURLs(cfg *config.Config) error {
	for name := range webhookURLs(cfg) {
		if err := cfg.SetProvider(name); err != nil {
			return err
		}
	}
	return nil
}
