package pgtest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// standbyName is the standby's in synchronous_standby_names.
const standbyName = "standby"

// Standby starts a hot standby of the server. The server waits for it at each commit from then on.
func (s *Server) Standby() (*Server, error) { return s.StandbyAt("") }

// StandbyAt is Standby at an address, such as that of a primary that was lost; empty is any.
func (s *Server) StandbyAt(addr string) (*Server, error) {
	b := &Server{Addr: addr, settings: append(append([]string{}, s.settings...), "cluster_name="+standbyName)}
	if err := b.copyOf(s); err != nil {
		b.Close()
		return nil, fmt.Errorf("start a standby for the tests: %w", err)
	}
	if err := s.admin(func(ctx context.Context, c *pgx.Conn) error {
		for _, text := range []string{`alter system set synchronous_standby_names = '` + standbyName + `'`, `select pg_reload_conf()`} {
			if _, err := c.Exec(ctx, text); err != nil {
				return err
			}
		}
		return synchronous(ctx, c)
	}); err != nil {
		b.Close()
		return nil, fmt.Errorf("replicate to the standby: %w", err)
	}
	return b, nil
}

func (s *Server) copyOf(primary *Server) error {
	if err := s.place(); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(primary.Addr)
	if err != nil {
		return err
	}
	if out, err := s.tool("pg_basebackup", "-h", host, "-p", port, "-U", "postgres", "-D", filepath.Join(s.dir, "data"),
		"-R", "-X", "stream", "--checkpoint=fast", "--no-sync"); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	if s.Addr == "" {
		if err := s.choosePort(); err != nil {
			return err
		}
	}
	return s.Start()
}

// synchronous waits until the primary reports that the standby is in step.
func synchronous(ctx context.Context, c *pgx.Conn) error {
	for {
		var in bool
		if err := c.QueryRow(ctx, `select exists (select 1 from pg_stat_replication where application_name = $1 and sync_state = 'sync')`,
			standbyName).Scan(&in); err != nil || in {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Promote makes a primary of a standby, which waits for no other one.
func (s *Server) Promote() error {
	return s.admin(func(ctx context.Context, c *pgx.Conn) error {
		for _, text := range []string{`select pg_promote(true, 30)`, `alter system set synchronous_standby_names = ''`, `select pg_reload_conf()`} {
			if _, err := c.Exec(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Admin calls fn with a connection of a superuser to the database named postgres.
func (s *Server) Admin(fn func(context.Context, *pgx.Conn) error) error { return s.admin(fn) }

// Hosts returns the address of a database on this server and another one, in this order.
func (s *Server) Hosts(other *Server, role, database string) string {
	return fmt.Sprintf("postgres://%s@%s,%s/%s?sslmode=disable", role, s.Addr, other.Addr, database)
}
