package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// RowsNaming counts the rows of each table that contain a text in any column. It reads the whole
// database: it is for tests, and for a proof that an erasure left nothing.
func (s *Store) RowsNaming(ctx context.Context, text string) (map[string]int, error) {
	list := `select name from sqlite_master where type = 'table'`
	if s.opt.Dialect.Name != "sqlite" {
		list = `select table_name from information_schema.tables where table_schema = current_schema()`
	}
	tables, err := column[string](ctx, s.read, list)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	counts := map[string]int{}
	for _, table := range tables {
		_, err := collect(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
			columns, err := rows.Columns()
			if err != nil {
				return none, err
			}
			values := make([]sql.RawBytes, len(columns))
			to := make([]any, len(columns))
			for i := range values {
				to[i] = &values[i]
			}
			if err := rows.Scan(to...); err != nil {
				return none, err
			}
			for _, value := range values {
				if bytes.Contains(value, []byte(text)) {
					counts[table]++
					break
				}
			}
			return none, nil
		}, `select * from "`+strings.ReplaceAll(table, `"`, `""`)+`"`)
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", table, err)
		}
	}
	return counts, nil
}
