package sqlite

import (
	"errors"
	"sync/atomic"
	"time"
)

// Disk simulates failures of the machine for a store.
type Disk struct {
	guard *guard
	clock atomic.Int64 // the error of the clock
	looks atomic.Int64 // comparisons of the clock
}

// Attach attaches the disk to the store that is opened with o.
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

// JumpClock moves the machine's clock, as the store sees it.
func (d *Disk) JumpClock(by time.Duration) { d.clock.Add(int64(by)) }

// FailSync simulates an error of a sync.
func (d *Disk) FailSync() { d.guard.setFailed(errors.New("disk I/O error (1034)")) }

// SeemDamaged simulates an error that a damaged database returns.
func (d *Disk) SeemDamaged() {
	d.guard.block("the database is damaged", errors.New("database disk image is malformed (11)"), false)
}
