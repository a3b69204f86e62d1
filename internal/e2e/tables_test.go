package e2e

import (
	"bytes"
	"database/sql"
	"slices"
	"testing"

	_ "modernc.org/sqlite" // reads copies of databases
)

// tablesNaming returns the tables and columns of a SQLite database that contain a text.
func tablesNaming(t *testing.T, file, text string) (found []string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	names, err := db.QueryContext(t.Context(), `select name from sqlite_master where type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	var tables []string
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		found = append(found, columnsNaming(t, db, table, text)...)
	}
	return slices.Compact(slices.Sorted(slices.Values(found)))
}

func columnsNaming(t *testing.T, db *sql.DB, table, text string) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `select * from "`+table+`"`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, to := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			t.Fatal(err)
		}
		for i, value := range values {
			if bytes.Contains(value, []byte(text)) {
				found = append(found, table+"."+columns[i])
			}
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
