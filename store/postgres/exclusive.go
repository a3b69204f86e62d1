package postgres

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// errNotAlone is returned if another process with [Options.Exclusive] has the database open.
var errNotAlone = errors.New("another gateway is running on this database, and both would store files in folders that the other one cannot see: " +
	"set GAFF_MEDIA_URL on all nodes to a bucket (s3://…), to a folder that all of them share (file:///folder?shared=true), or to off")

const (
	// exclusiveWait is how long an open waits for a process that is stopping.
	exclusiveWait  = 5 * time.Second
	exclusiveRetry = 250 * time.Millisecond
)

// The server notices within half a minute that the machine of a lock's owner is gone.
const exclusiveSettings = `set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set idle_session_timeout = 0`

const exclusiveLock = `select pg_try_advisory_lock(hashtextextended('gaff: files of one node', 0))`

// exclusive holds the lock of the one process whose files no other sees, on a connection of its own.
type exclusive struct {
	cfg    *pgx.ConnConfig
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}
}

// holdExclusive takes the lock, and takes it again whenever its connection was lost, until close.
func holdExclusive(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) (*exclusive, error) {
	e := &exclusive{cfg: cfg, log: log, done: make(chan struct{})}
	deadline := time.Now().Add(exclusiveWait)
	for {
		c, err := e.lock(ctx)
		if err == nil {
			running, cancel := context.WithCancel(context.WithoutCancel(ctx))
			e.cancel = cancel
			go e.run(running, c)
			return e, nil
		}
		if !errors.Is(err, errNotAlone) || time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(exclusiveRetry):
		}
	}
}

// lock connects and tries to take the lock.
func (e *exclusive) lock(ctx context.Context) (_ *pgx.Conn, err error) {
	c, err := pgx.ConnectConfig(ctx, e.cfg.Copy())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close(context.WithoutCancel(ctx))
		}
	}()
	if _, err := c.Exec(ctx, exclusiveSettings); err != nil {
		return nil, err
	}
	var locked bool
	if err := c.QueryRow(ctx, exclusiveLock).Scan(&locked); err != nil {
		return nil, err
	}
	if !locked {
		return nil, errNotAlone
	}
	return c, nil
}

// run watches the connection, and replaces it.
func (e *exclusive) run(ctx context.Context, c *pgx.Conn) {
	defer close(e.done)
	warned := false
	for ctx.Err() == nil {
		if c == nil {
			var err error
			if c, err = e.lock(ctx); errors.Is(err, errNotAlone) && !warned {
				warned = true
				e.log.Error("files of this node are missing on another one", "error", err)
			}
		} else if err := alive(ctx, c); err != nil {
			_ = c.Close(context.WithoutCancel(ctx))
			c = nil
			continue
		} else {
			warned = false
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	if c != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}
}

func alive(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, txTime)
	defer cancel()
	return c.Ping(ctx)
}

func (e *exclusive) close() error {
	e.cancel()
	<-e.done
	return nil
}
