// Package app is the one place that knows all parts: it builds them from the
// configuration, starts them in order and stops them in reverse.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"gaff"
	"gaff/internal/config"
)

// Source is a source with the means to play its sender, for "gaff send" and "gaff sign".
type Source struct {
	gaff.Source
	// Address is where the sender has to send to, as far as it is known.
	Address string
	// Sign adds to r what makes its body authentic at the time; nil where the signing
	// key is not ours to hold. secret overrides the configured one if not empty.
	Sign func(r *gaff.Request, at time.Time, secret string) error
	// Types lists the event types for which Sample has a payload.
	Types []string
	// Sample makes a payload of a type, new ids each time; the empty type is the first
	// of Types.
	Sample func(eventType string) ([]byte, error)
}

// Sources builds the configured sources, by name.
func Sources(cfg *config.Config, log *slog.Logger) ([]Source, error) {
	return nil, errors.New("app: not built yet")
}

// Serve runs the gateway until ctx ends. What people should read at start (addresses,
// how to log in) goes to out.
func Serve(ctx context.Context, cfg *config.Config, log *slog.Logger, out io.Writer) error {
	return errors.New("app: not built yet")
}

// Migrate brings the database's schema up to date and reports to out what it did.
func Migrate(ctx context.Context, cfg *config.Config, out io.Writer) error {
	return errors.New("app: not built yet")
}
