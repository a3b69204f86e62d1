package sqlite

import (
	"errors"
	"sync/atomic"
	"time"
)

// Disk plays what a store sees of a machine that fails.
type Disk struct {
	guard *guard
	clock atomic.Int64 // how far it is off
	looks atomic.Int64 // at it
}

// Attach has the store that is opened with o see it.
func (d *Disk) Attach(o *Options) {
	o.opened = func(g *guard) {
		d.guard = g
		g.wall = func() time.Time {
			d.looks.Add(1)
			return time.Now().Add(time.Duration(d.clock.Load()))
		}
	}
}

// Watching reports whether the clock was compared at least once.
func (d *Disk) Watching() bool { return d.looks.Load() > 1 }

// JumpClock moves the machine's clock, as far as the store looks for that.
func (d *Disk) JumpClock(by time.Duration) { d.clock.Add(int64(by)) }

// FailSync is what follows an error of a sync.
func (d *Disk) FailSync() { d.guard.setFailed(errors.New("disk I/O error (1034)")) }

// SeemDamaged is what follows an error that a damaged database gives.
func (d *Disk) SeemDamaged() {
	d.guard.block("the database is damaged", errors.New("database disk image is malformed (11)"), false)
}
