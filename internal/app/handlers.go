package app

import (
	"context"
	"maps"
	"slices"
	"time"

	"gaff/internal/sqlstore"
	"gaff/internal/stats"
	"gaff/internal/wire"
)

// handlersOf returns a function that reads the queues of the handlers and their attempts in the last
// hour: first those with a backlog, the most due first, then the others by name.
func handlersOf(st *sqlstore.Store) func(context.Context) ([]wire.HandlerHealth, error) {
	return func(ctx context.Context) ([]wire.HandlerHealth, error) {
		now := time.Now()
		queues, err := st.HandlerQueues(ctx, now)
		if err != nil {
			return nil, err
		}
		attempts, err := stats.Handlers(ctx, st, now.Add(-time.Hour))
		if err != nil {
			return nil, err
		}
		var all []wire.HandlerHealth
		for _, q := range queues {
			h := wire.NewHandlerHealth(q.Handler, attempts[q.Handler])
			h.Pending, h.Due, h.OldestDue = q.Pending, q.Due, wire.Time{Time: q.OldestDue}
			all = append(all, h)
			delete(attempts, q.Handler)
		}
		for _, name := range slices.Sorted(maps.Keys(attempts)) {
			all = append(all, wire.NewHandlerHealth(name, attempts[name]))
		}
		return all, nil
	}
}
