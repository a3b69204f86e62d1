package app

import (
	"crypto/tls"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"gaff"
	"gaff/destination"
	brokers "gaff/destination/broker/all"
	"gaff/internal/blob"
	"gaff/internal/config"
	"gaff/internal/safehttp"
)

// forwardStore is what forwarding and its envelopes need of a store.
type forwardStore interface {
	destination.Store
	destination.Reader
}

// forwarder builds what keeps the destinations.
func forwarder(cfg *config.Config, st forwardStore, gw *gaff.Gateway, log *slog.Logger, traced func(*http.Client) *http.Client) (*destination.Manager, error) {
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, err
	}
	var specs []destination.Spec
	for _, name := range slices.Sorted(maps.Keys(cfg.Destinations)) {
		specs = append(specs, cfg.Destinations[name].Full())
	}
	return destination.NewManager(destination.ManagerOptions{
		Store: st, Gateway: gw, Log: log, Configured: specs, Client: traced(destination.NewClient(allow)),
		Lookup: destination.NewLookup(st), BaseURL: cfg.BaseURL, Shared: cfg.DatabaseURL != "",
		TLSClient: func(c *tls.Config) *http.Client { return traced(destination.NewTLSClient(allow, c)) },
		Broker:    func(s destination.Spec) (destination.Publisher, error) { return brokers.Open(s, allow) },
		Files:     func(url string) (destination.Files, error) { return blob.Open(url) },
	}), nil
}
