// Package migrate brings a database's schema up to date: numbered SQL files, forward
// only, each in a transaction of its own.
package migrate

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed sqlite/*.sql
var files embed.FS

// Step is one migration.
type Step struct {
	Version int
	Name    string
	SQL     string
}

// Steps returns the migrations of a dialect ("sqlite") in order.
func Steps(dialect string) ([]Step, error) {
	names, err := fs.Glob(files, dialect+"/*.sql")
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("migrations for %s: none embedded", dialect)
	}
	var steps []Step
	for i, name := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(name, dialect+"/"), ".sql")
		var version int
		if _, err := fmt.Sscanf(base, "%04d_", &version); err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{Version: version, Name: base, SQL: string(text)})
	}
	return steps, nil
}

// Run applies what is missing over c, which must be the only writer, and returns the
// names of the steps it applied. A schema newer than the program is an error: an older
// program must not write into it.
func Run(ctx context.Context, c *sql.Conn, dialect string) (applied []string, err error) {
	steps, err := Steps(dialect)
	if err != nil {
		return nil, err
	}
	if _, err := c.ExecContext(ctx, `create table if not exists schema_version (
		version integer primary key, name text not null)`); err != nil {
		return nil, fmt.Errorf("create schema_version: %w", err)
	}
	var current int
	if err := c.QueryRowContext(ctx, `select coalesce(max(version), 0) from schema_version`).Scan(&current); err != nil {
		return nil, fmt.Errorf("read schema_version: %w", err)
	}
	if current > len(steps) {
		return nil, fmt.Errorf("the database has schema %d, this program knows up to %d: use the gaff version that wrote it, or a newer one",
			current, len(steps))
	}
	for _, step := range steps[current:] {
		if err := apply(ctx, c, step); err != nil {
			return applied, fmt.Errorf("migration %s: %w", step.Name, err)
		}
		applied = append(applied, step.Name)
	}
	return applied, nil
}

func apply(ctx context.Context, c *sql.Conn, step Step) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `insert into schema_version (version, name) values ($1, $2)`,
		step.Version, step.Name); err != nil {
		return err
	}
	return tx.Commit()
}
