package sqlite

import "errors"

// Disk plays what a store sees of a disk that fails.
type Disk struct{ guard *guard }

// Attach has the store that is opened with o see it.
func (d *Disk) Attach(o *Options) { o.opened = func(g *guard) { d.guard = g } }

// FailSync is what follows an error of a sync.
func (d *Disk) FailSync() { d.guard.setFailed(errors.New("disk I/O error (1034)")) }

// SeemDamaged is what follows an error that a damaged database gives.
func (d *Disk) SeemDamaged() {
	d.guard.block("the database is damaged", errors.New("database disk image is malformed (11)"), false)
}
