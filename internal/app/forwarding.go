package app

import (
	"log/slog"
	"maps"
	"slices"

	"gaff"
	"gaff/forward"
	"gaff/internal/broker"
	"gaff/internal/config"
	"gaff/internal/forwarding"
	"gaff/internal/safehttp"
)

// forwardStore is what forwarding and its envelopes need of a store.
type forwardStore interface {
	forwarding.Store
	forward.Reader
}

// forwarder builds what keeps the destinations.
func forwarder(cfg *config.Config, st forwardStore, gw *gaff.Gateway, log *slog.Logger) (*forwarding.Manager, error) {
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, err
	}
	var specs []forward.Spec
	for _, name := range slices.Sorted(maps.Keys(cfg.Destinations)) {
		specs = append(specs, cfg.Destinations[name].Full())
	}
	return forwarding.New(forwarding.Options{
		Store: st, Gateway: gw, Log: log, Configured: specs, Client: forward.NewClient(allow),
		Lookup: forward.NewLookup(st), BaseURL: cfg.BaseURL,
		Broker: func(s forward.Spec) (forwarding.Publisher, error) { return broker.Open(s, allow) },
	}), nil
}
