package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gaff"
)

// hostTime is the least time that the attempt to connect to one of several hosts may take.
const hostTime = 700 * time.Millisecond

// parse reads the address. Errors do not repeat it: it may hold a password.
//
// If the address has several hosts, they are tried in order, and a connection is made to the
// first that accepts writes, unless the address has target_session_attrs.
func parse(address string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errors.New("the address cannot be read; want postgres://user:password@host:5432/database?sslmode=require, or several as host1:5432,host2:5432")
	}
	limit := connectTime
	if n := hosts(cfg); n > 1 {
		// A dead host must leave enough of a sender's time for the next one.
		limit = max(connectTime/time.Duration(n), hostTime)
		if cfg.ValidateConnect == nil {
			cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
		}
	}
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > limit {
		cfg.ConnectTimeout = limit
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "gaff"
	}
	cfg.OnNotice = noteUnreplicated
	return cfg, nil
}

// hosts counts the hosts of an address; pgx lists a host twice if it may be asked with TLS and
// without.
func hosts(cfg *pgx.ConnConfig) int {
	seen := map[string]bool{fmt.Sprint(cfg.Host, " ", cfg.Port): true}
	for _, other := range cfg.Fallbacks {
		seen[fmt.Sprint(other.Host, " ", other.Port)] = true
	}
	return len(seen)
}

// unreplicated is the mark of a connection whose last commit did not reach the synchronous standby.
const unreplicated = "unreplicated"

// noteUnreplicated marks a connection whose commit stopped waiting for the synchronous standby,
// because an operator cancelled it. The server answers such a commit like any other, and a failover
// would lose it. Each warning during a commit counts: their texts are translated.
func noteUnreplicated(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[unreplicated] = n.Message
	}
}

// replicated reports as an error that the commit before it warned that it was not replicated.
func replicated(c *pgconn.PgConn) error {
	warning, ok := c.CustomData()[unreplicated]
	if !ok {
		return nil
	}
	return fmt.Errorf("%w: the database committed with a warning: %v", gaff.ErrUnavailable, warning)
}

// errPooler is returned for an address at which sessions do not last.
var errPooler = errors.New("the address is that of a connection pooler in transaction mode (PgBouncer: pool_mode = transaction); " +
	"gaff needs pool_mode = session for this database, or the address of PostgreSQL itself: " +
	"LISTEN, session settings and prepared statements do not work in transaction mode")

const (
	poolerRounds = 8
	poolerTime   = 10 * time.Second
)

// checkPooler returns errPooler if statements of one connection reach different sessions of the
// server, or those of two connections the same one. PgBouncer gives clients process ids of its
// own, so that a direct connection is recognised without a second one.
func checkPooler(ctx context.Context, cfg *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, poolerTime)
	defer cancel()
	first, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return err
	}
	defer func() { _ = first.Close(context.WithoutCancel(ctx)) }()
	session, err := backend(ctx, first)
	if err != nil || session == strconv.FormatUint(uint64(first.PID()), 10) {
		return err
	}
	second, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	if err != nil {
		return err
	}
	defer func() { _ = second.Close(context.WithoutCancel(ctx)) }()
	for range poolerRounds {
		other, err := backend(ctx, second)
		if err != nil {
			return err
		}
		again, err := backend(ctx, first)
		if err != nil {
			return err
		}
		if other == session || again != session {
			return errPooler
		}
	}
	return nil
}

// backend returns the process id of the session that answers a connection.
func backend(ctx context.Context, c *pgconn.PgConn) (string, error) {
	results, err := c.Exec(ctx, `select pg_backend_pid()`).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return "", errors.New("the server did not return the id of its process")
	}
	return string(results[0].Rows[0][0]), nil
}
