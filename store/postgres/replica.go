package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// replicaEvery is the time between two checks of the read replica. It is used while it has
	// all that the primary had at the check before, so lists are at most two of these old.
	replicaEvery = 2 * time.Second
	// replicaTime bounds a check.
	replicaTime = 1500 * time.Millisecond
)

// replica is a read replica of the database, for lists and searches.
type replica struct {
	db      *sql.DB
	log     *slog.Logger
	usable  atomic.Bool
	written string // the primary's position at the check before (LSN)
	warned  bool
}

// openReplica opens the database at the address, which need not be reachable yet. It returns nil
// if the address is empty.
func openReplica(address string, connections int, log *slog.Logger) (*replica, error) {
	if address == "" {
		return nil, nil
	}
	cfg, err := parse(address)
	if err != nil {
		return nil, err
	}
	cfg.ValidateConnect = nil // a standby is not read-write
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(setUp(readerSettings)))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return &replica{db: db, log: log}, nil
}

// lists returns the replica's connections, or nil while the primary has to answer.
func (r *replica) lists() *sql.DB {
	if r == nil || !r.usable.Load() {
		return nil
	}
	return r.db
}

// run checks the replica until ctx ends.
func (r *replica) run(ctx context.Context, primary *sql.DB) {
	tick := time.NewTicker(replicaEvery)
	defer tick.Stop()
	for {
		r.check(ctx, primary)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

const (
	writtenPosition  = `select pg_current_wal_lsn()::text`
	replayedPosition = `select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end >= $1::pg_lsn`
)

// check compares the replica with the primary's position at the check before.
func (r *replica) check(ctx context.Context, primary *sql.DB) {
	ctx, cancel := context.WithTimeout(ctx, replicaTime)
	defer cancel()
	before := r.written
	r.written = ""
	if err := primary.QueryRowContext(ctx, writtenPosition).Scan(&r.written); err != nil {
		r.set(false, "the primary's position is unknown: "+err.Error())
		return
	}
	if before == "" {
		return
	}
	var reached bool
	if err := r.db.QueryRowContext(ctx, replayedPosition, before).Scan(&reached); err != nil {
		r.set(false, err.Error())
		return
	}
	r.set(reached, "it is more than "+replicaEvery.String()+" behind")
}

// set records whether the replica can be used, and logs changes.
func (r *replica) set(usable bool, reason string) {
	switch was := r.usable.Swap(usable); {
	case usable && !was:
		r.log.Info("lists and searches are read from the replica")
		r.warned = false
	case !usable && !r.warned:
		r.log.Warn("lists and searches are read from the primary, since the replica cannot be used", "reason", reason)
		r.warned = true
	}
}

func (r *replica) close() error {
	if r == nil {
		return nil
	}
	return r.db.Close()
}
