package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"gaff/internal/migrate"
	"gaff/internal/sqlstore"
)

// compact runs VACUUM over gaff's tables, which lets PostgreSQL use the space of deleted rows again.
// With full it runs VACUUM FULL, which rewrites the tables, gives the space back to the system, and
// locks each table meanwhile.
func compact(ctx context.Context, db *sql.DB, full bool) (c sqlstore.Compacted, err error) {
	began := time.Now()
	conn, err := db.Conn(ctx)
	if err != nil {
		return c, err
	}
	defer discardConn(conn) // its settings are changed
	if _, err := conn.ExecContext(ctx, `set statement_timeout = 0; set default_transaction_read_only = off; set lock_timeout = '5s'`); err != nil {
		return c, fmt.Errorf("compact: %w", err)
	}
	tables, err := tablesOf(ctx, conn)
	if err != nil {
		return c, fmt.Errorf("compact: %w", err)
	}
	how := `vacuum (analyze) `
	if full {
		how = `vacuum (full, analyze) `
	}
	const sizes = `select coalesce(sum(pg_total_relation_size(c.oid)), 0) from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'`
	if err := conn.QueryRowContext(ctx, sizes).Scan(&c.Before); err != nil {
		return c, fmt.Errorf("compact: %w", err)
	}
	for _, table := range tables {
		if _, err := conn.ExecContext(ctx, how+`"`+table+`"`); err != nil {
			return c, fmt.Errorf("compact table %s: %w", table, err)
		}
	}
	if err := conn.QueryRowContext(ctx, sizes).Scan(&c.After); err != nil {
		return c, fmt.Errorf("compact: %w", err)
	}
	c.Took = time.Since(began)
	if !full {
		c.Note = "Deleted rows can be left in the free space of PostgreSQL's files until it is overwritten; compacting in full (VACUUM FULL) rewrites the files. " +
			"Archived write-ahead logs and replicas have their own copies."
	}
	return c, nil
}

// tablesOf returns gaff's tables in the schema, which may have others.
func tablesOf(ctx context.Context, conn *sql.Conn) (tables []string, err error) {
	ours, err := migrate.Tables("postgres")
	if err != nil {
		return nil, err
	}
	rows, err := conn.QueryContext(ctx, `select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r' order by relname`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return nil, err
		}
		if slices.Contains(ours, table) {
			tables = append(tables, table)
		}
	}
	return tables, rows.Err()
}

func discardConn(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
