package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"
	"time"

	"gaff/internal/sqlstore"
)

const (
	// clockEvery is the time between two readings of the database's clock.
	clockEvery = 5 * time.Second
	// jumpEvery is the time between two comparisons of it with this machine's.
	jumpEvery = time.Second
)

// clock is the database's clock, as this process last read it. It continues by the machine's
// monotonic clock, so that a jump of the machine's time does not move it.
type clock struct {
	mu   sync.Mutex
	base time.Time // of the database
	mono time.Time // when it was read

	log    *slog.Logger
	wall   func() time.Time // this machine's time
	warned time.Duration    // the difference that was logged last
}

func newClock(log *slog.Logger) *clock { return &clock{log: log, wall: time.Now} }

// now is the database's time.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Since(c.mono))
}

type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// read reads the database's clock.
func (c *clock) read(ctx context.Context, db rower) error {
	before := time.Now()
	var us int64
	if err := db.QueryRowContext(ctx, `select (extract(epoch from clock_timestamp()) * 1000000)::bigint`).Scan(&us); err != nil {
		return err
	}
	took := time.Since(before)
	c.mu.Lock()
	defer c.mu.Unlock()
	// A slow response is less exact than the running clock.
	if c.base.IsZero() || took < sqlstore.MaxSkew {
		c.base, c.mono = time.UnixMicro(us).UTC(), before.Add(took/2)
	}
	return nil
}

// compare logs when this machine's clock and the database's differ, and when they agree again.
func (c *clock) compare() {
	skew := c.wall().Round(0).Sub(c.now())
	switch {
	case skew.Abs() > sqlstore.MaxSkew && (skew-c.warned).Abs() > sqlstore.MaxSkew:
		c.log.Warn("this machine's clock and the database's differ; leases and due times go by the database's; run NTP on both",
			"by", skew.Round(time.Millisecond).String())
		c.warned = skew
	case skew.Abs() <= sqlstore.MaxSkew && c.warned != 0:
		c.log.Info("this machine's clock and the database's agree again")
		c.warned = 0
	}
}

// run reads the database's clock until ctx ends.
func (c *clock) run(ctx context.Context, db *sql.DB) {
	tick := time.NewTicker(jumpEvery)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(last) >= clockEvery {
			last = time.Now()
			bounded, cancel := context.WithTimeout(ctx, sqlstore.MaxSkew)
			_ = c.read(bounded, db) // without a response the clock continues
			cancel()
		}
		c.compare()
	}
}
