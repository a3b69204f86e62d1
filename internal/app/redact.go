package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/sqlstore"
)

// redactEvery is the time between two redactions of processed events.
const redactEvery = 30 * time.Second

// redactProcessed removes the values of redact: with when: processed, until ctx ends. sources returns
// the configured sources in force.
func redactProcessed(ctx context.Context, sources func() map[string]config.Source, st *sqlstore.Store, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(redactEvery):
		}
		for name, set := range sources() {
			r := redactionOf(set)
			if !r.Processed {
				continue
			}
			_, err := st.RedactProcessed(ctx, name, time.Now().Add(-set.Redact.FailedFor()), r.Apply)
			if err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
				log.Warn("redaction of processed events", "source", name, "error", err)
			}
		}
	}
}

// redactionOf is what a source's configuration redacts.
func redactionOf(set config.Source) (r gaff.Redaction) {
	if set.Redact != nil {
		r = gaff.Redaction{Pointers: set.Redact.Pointers, Headers: set.Redact.Headers, Processed: set.Redact.When == config.RedactProcessed}
	}
	return r
}

// configured returns the configured sources in force.
func (r *reloader) configured() map[string]config.Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg.Sources
}
