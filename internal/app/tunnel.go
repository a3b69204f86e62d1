package app

import (
	"context"
	"log/slog"
	"net/http"

	"gaff/internal/config"
	"gaff/internal/tunnel"
)

// openTunnel opens the tunnel and puts its address in place of the configured ones:
// whoever asks for it wants webhooks to come to this machine.
func openTunnel(ctx context.Context, cfg *config.Config, log *slog.Logger) (*tunnel.Tunnel, error) {
	log.Info("opening the tunnel", "domain", cfg.NgrokDomain)
	t, err := tunnel.Open(ctx, tunnel.Options{Token: string(cfg.NgrokAuthToken), Domain: cfg.NgrokDomain, Log: log})
	if err != nil {
		return nil, err
	}
	for name, set := range map[string]*string{
		"WEBHOOK_BASE_URL": &cfg.BaseURL, "FAL_WEBHOOK_URL": &cfg.FalWebhookURL, "LASTFRAME_WEBHOOK_URL": &cfg.LastFrameWebhookURL,
	} {
		if *set != "" && *set != t.URL() {
			log.Info("the tunnel takes the place of a configured address", "setting", name, "configured", *set)
		}
		*set = ""
	}
	cfg.BaseURL = t.URL()
	return t, nil
}

// serveTunnel answers what comes through the tunnel, until ctx ends.
func serveTunnel(ctx context.Context, t *tunnel.Tunnel, ingest http.Handler, cfg *config.Config, log *slog.Logger) {
	err := t.Serve(ctx, ingest, tunnel.ServeOptions{
		MaxHeaderBytes: cfg.Limits.MaxHeaderBytes, HeaderTimeout: cfg.Limits.HeaderTimeout, ReadTimeout: cfg.Limits.ReadTimeout,
		IdleTimeout: cfg.Limits.IdleTimeout, Connections: cfg.Limits.Connections, Log: log,
	})
	if err != nil {
		log.Error("tunnel closed; restart gaff to reopen it", "error", err)
	}
}
