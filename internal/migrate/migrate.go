// Package migrate brings a database's schema up to date: numbered SQL files, forward
// only, each in a transaction of its own; a new database gets all of them in one.
//
// Several versions of gaff may work on one PostgreSQL for a while, so a step must leave
// room for the program that came before it: it adds tables, indexes and columns with a
// default, and takes nothing away. A step for which that is not so says from which schema
// on a program can work with it, in a line "-- needs: N".
package migrate

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// Step is one migration.
type Step struct {
	Version int
	Name    string
	SQL     string
	// Needs is the lowest schema that a program must know to work with this one.
	Needs int
}

var needs = regexp.MustCompile(`(?m)^-- needs: (\d+)$`)

// Steps returns the migrations of a dialect ("sqlite", "postgres") in order.
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
		step := Step{Version: version, Name: base, SQL: string(text)}
		if m := needs.FindSubmatch(text); m != nil {
			step.Needs, _ = strconv.Atoi(string(m[1]))
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// needsSetting names the row in which a database says what it needs.
const needsSetting = "schema_needs"

// Run applies the missing steps over c, and returns the names of those it applied. On a
// database that several processes open, one of them migrates and the others wait. A
// schema newer than the program is an error, unless it says that this program can work
// with it. begin, if not nil, is called with the names of the missing steps before they are applied to a
// database that has a schema, whose rows may make them take long.
func Run(ctx context.Context, c *sql.Conn, dialect string, begin func(names []string)) (applied []string, err error) {
	steps, err := Steps(dialect)
	if err != nil {
		return nil, err
	}
	return Apply(ctx, c, dialect, steps, begin)
}

// lockKey is that of PostgreSQL's advisory lock under which one process migrates.
const lockKey = 7261661

// Apply is Run for given steps.
func Apply(ctx context.Context, c *sql.Conn, dialect string, steps []Step, begin func(names []string)) (applied []string, err error) {
	if dialect == "postgres" {
		if _, err := c.ExecContext(ctx, `select pg_advisory_lock($1)`, lockKey); err != nil {
			return nil, fmt.Errorf("wait for another process that migrates: %w", err)
		}
		defer func() {
			_, uerr := c.ExecContext(context.WithoutCancel(ctx), `select pg_advisory_unlock($1)`, lockKey)
			err = errors.Join(err, uerr)
		}()
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
		return nil, newer(ctx, c, current, len(steps))
	}
	missing, atOnce := steps[current:], 1
	switch {
	case current == 0:
		atOnce = max(len(steps), 1) // a new database has no rows that would make a transaction long
	case begin != nil && len(missing) > 0:
		begin(namesOf(missing))
	}
	for together := range slices.Chunk(missing, atOnce) {
		if err := apply(ctx, c, dialect, together); err != nil {
			return applied, err
		}
		applied = append(applied, namesOf(together)...)
	}
	return applied, nil
}

func namesOf(steps []Step) []string {
	names := make([]string, len(steps))
	for i, step := range steps {
		names[i] = step.Name
	}
	return names
}

// newer judges a schema that a newer program left.
func newer(ctx context.Context, c *sql.Conn, current, known int) error {
	var text string
	err := c.QueryRowContext(ctx, `select value from setting where name = $1`, needsSetting).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read what the schema needs: %w", err)
	}
	if schema, need, ok := strings.Cut(text, " "); ok && schema == strconv.Itoa(current) {
		if n, err := strconv.Atoi(need); err == nil && known >= n {
			return nil
		}
	}
	return fmt.Errorf("the database has schema %d, this program knows up to %d: use the gaff version that wrote it, or a newer one",
		current, known)
}

// apply applies steps in one transaction.
func apply(ctx context.Context, c *sql.Conn, dialect string, steps []Step) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if dialect == "postgres" {
		// A change of a table waits for its readers, and everyone else waits behind it:
		// better to give up and be started again.
		if _, err := tx.ExecContext(ctx, `set local lock_timeout = '10s'`); err != nil {
			return err
		}
	}
	for _, step := range steps {
		if err := applyStep(ctx, tx, step); err != nil {
			return fmt.Errorf("migration %s: %w", step.Name, err)
		}
	}
	return tx.Commit()
}

func applyStep(ctx context.Context, tx *sql.Tx, step Step) error {
	if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `insert into schema_version (version, name) values ($1, $2)`,
		step.Version, step.Name); err != nil {
		return err
	}
	// What a former step needed holds on. The first step makes the table.
	need := step.Needs
	var text string
	err := tx.QueryRowContext(ctx, `select value from setting where name = $1`, needsSetting).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, former, ok := strings.Cut(text, " "); ok {
		n, _ := strconv.Atoi(former)
		need = max(need, n)
	}
	_, err = tx.ExecContext(ctx, `insert into setting (name, value) values ($1, $2)
		on conflict (name) do update set value = excluded.value`,
		needsSetting, fmt.Sprintf("%d %d", step.Version, need))
	return err
}

var tableName = regexp.MustCompile(`(?m)^\s*(?:create table|alter table \w+ rename to) (\w+)`)

// Tables returns the names of the tables that the migrations make, also of those that a later one
// removes.
func Tables(dialect string) (names []string, err error) {
	steps, err := Steps(dialect)
	for _, step := range steps {
		for _, m := range tableName.FindAllStringSubmatch(step.SQL, -1) {
			names = append(names, m[1])
		}
	}
	return names, err
}
