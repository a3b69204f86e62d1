package sqlstore

import (
	"context"
	"time"
)

// Compacted is the result of a compaction.
type Compacted struct {
	Before, After int64 // bytes
	Took          time.Duration
	Note          string // for people; may be empty
}

// Compact gives free space back to the system, and removes deleted rows from it. full allows it to
// block webhooks for longer.
func (s *Store) Compact(ctx context.Context, full bool) (Compacted, error) {
	c, err := s.opt.Compact(ctx, s, full)
	return c, s.fault(ctx, "compact", err)
}
