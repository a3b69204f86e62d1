package sqlstore

import (
	"context"
	"fmt"
	"time"
)

// If several nodes share a database, leases and due times go by its clock: a node whose own
// clock is wrong must not take over deliveries that other nodes process. Callers use their own
// clock; their times are converted into the database's, and results back.

// smallSkew is not corrected: a few round trips take as long.
const smallSkew = 250 * time.Millisecond

// startClock sets the transaction's time, and how far the clock of this process is behind it.
// now is the database's time.
func (t *tx) startClock(now time.Time) {
	t.now, t.skew = time.Now(), 0
	if skew := now.Sub(t.now.Round(0)); skew.Abs() > smallSkew {
		t.now, t.skew = now, skew
	}
}

// sharedTime converts a time of this process into one of the database.
func (t *tx) sharedTime(local time.Time) time.Time {
	if local.IsZero() {
		return local
	}
	return local.Add(t.skew)
}

// localTime converts a time of the database into one of this process.
func (t *tx) localTime(shared time.Time) time.Time {
	if shared.IsZero() {
		return shared
	}
	return shared.Add(-t.skew)
}

// MaxSkew is how far a clock may be off, or jump, before the log reports it.
const MaxSkew = 2 * time.Second

// JumpWatch detects jumps of this machine's clock by comparing it with a monotonic one.
type JumpWatch struct {
	wall time.Time
	mono time.Duration
}

// Jump returns by how much the clock jumped since the last call; zero for less than MaxSkew. A
// machine that was suspended jumps forward.
func (w *JumpWatch) Jump(wall time.Time, mono time.Duration) time.Duration {
	wall = wall.Round(0)
	jump := wall.Sub(w.wall) - (mono - w.mono)
	first := w.wall.IsZero()
	w.wall, w.mono = wall, mono
	if first || jump.Abs() < MaxSkew {
		return 0
	}
	return jump
}

// ClockJumped moves due times after a jump of the clock. After a jump back (by is less than
// zero) deliveries wait as long as they would have without it. After a jump forward they are due
// at once, and the queues are woken.
func (s *Store) ClockJumped(ctx context.Context, by time.Duration) error {
	defer s.Notified([]string{}, false)
	if by >= 0 || s.db.concurrent() {
		return nil
	}
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		_, err := tx.exec(`update delivery set run_at = run_at + $1 where state < 3 and run_at > $2 and run_at < $3`,
			by.Microseconds(), micros(tx.now), never)
		if err != nil {
			return fmt.Errorf("due times after a jump of the clock: %w", err)
		}
		tx.s.leases.forgetFronts()
		return nil
	}})
}
