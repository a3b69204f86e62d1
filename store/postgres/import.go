package postgres

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"gaff/internal/migrate"
)

// importSetting names the row that records which file was imported, and whether completely.
const importSetting = "import"

// notImported are tables that belong to a database rather than to its data. The numbers of the
// change log are the database's own, and PostgreSQL has the keys of events in an index.
var notImported = []string{"schema_version", "change", "event_key"}

// Import copies a SQLite store into the database at the address, which must be empty or have an
// interrupted import of the same file. It copies the tables and columns of the schema, and
// compares the number and hashes of the rows on both sides. Progress is written to out. No
// gateway may run on either meanwhile.
func Import(ctx context.Context, from *Store, source, address string, out io.Writer) error {
	cfg, err := parse(address)
	if err != nil {
		return err
	}
	if err := checkPooler(ctx, cfg); err != nil {
		return explain(err)
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	defer conn.Close()
	if _, err := migrate.Run(ctx, conn, "postgres", nil); err != nil {
		return explain(err)
	}
	return from.Between(func(src *sql.Conn) error {
		return conn.Raw(func(raw any) error {
			im := &importer{src: src, dst: raw.(*stdlib.Conn).Conn(), out: out}
			return im.run(ctx, source)
		})
	})
}

type importer struct {
	src *sql.Conn
	dst *pgx.Conn
	out io.Writer
}

func (im *importer) run(ctx context.Context, source string) error {
	tables, err := im.tables(ctx)
	if err != nil {
		return err
	}
	if err := im.claim(ctx, tables, source); err != nil {
		return err
	}
	for _, table := range tables {
		if err := im.table(ctx, table); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	if err := im.numbers(ctx); err != nil {
		return fmt.Errorf("set the sequences: %w", err)
	}
	if _, err := im.dst.Exec(ctx, `update setting set value = $2 where name = $1`, importSetting, "done "+source); err != nil {
		return err
	}
	_, err = im.dst.Exec(ctx, `analyze`)
	return err
}

// tables are those of the source; the target must have the same.
func (im *importer) tables(ctx context.Context) (names []string, err error) {
	rows, err := im.src.QueryContext(ctx, `select name from sqlite_schema where type = 'table' and name not like 'sqlite\_%' escape '\' order by name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if !slices.Contains(notImported, name) {
			names = append(names, name)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, name := range names {
		var there bool
		if err := im.dst.QueryRow(ctx, `select to_regclass($1) is not null`, pgx.Identifier{name}.Sanitize()).Scan(&there); err != nil {
			return nil, err
		}
		if !there {
			return nil, fmt.Errorf("the table %s is unknown to this version of gaff: use the one that wrote the file, or a newer one", name)
		}
	}
	return names, nil
}

// claim makes sure that the import overwrites only rows of an earlier import of the same file.
func (im *importer) claim(ctx context.Context, tables []string, source string) error {
	var state string
	err := im.dst.QueryRow(ctx, `select value from setting where name = $1`, importSetting).Scan(&state)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	case state == "running "+source:
		if err := im.onlyCopied(ctx, tables); err != nil {
			return err
		}
		fmt.Fprintln(im.out, "an import was interrupted; it begins again")
		var quoted []string
		for _, table := range tables {
			if table != "setting" {
				quoted = append(quoted, pgx.Identifier{table}.Sanitize())
			}
		}
		if _, err := im.dst.Exec(ctx, `truncate `+strings.Join(quoted, ", ")); err != nil {
			return err
		}
		if _, err := im.dst.Exec(ctx, `delete from setting where true `+im.besides("setting")); err != nil {
			return err
		}
	case strings.HasPrefix(state, "done "):
		return errors.New("an import into this database was done already; to repeat it, drop the database and create it again")
	case state != "":
		return errors.New("an import of another file into this database was interrupted; drop the database and create it again")
	default:
		for _, table := range tables {
			var used bool
			if err := im.dst.QueryRow(ctx, `select exists (select 1 from `+pgx.Identifier{table}.Sanitize()+` where true `+im.besides(table)+`)`).Scan(&used); err != nil {
				return err
			}
			if used {
				return fmt.Errorf("the database is not empty: the table %s has rows; import into a new one", table)
			}
		}
	}
	_, err = im.dst.Exec(ctx, `insert into setting (name, value) values ($1, $2)
		on conflict (name) do update set value = excluded.value`, importSetting, "running "+source)
	return err
}

// onlyCopied makes sure that an interrupted import can be repeated, which removes all rows: each
// must be in the source. A gateway that ran meanwhile has acknowledged others.
func (im *importer) onlyCopied(ctx context.Context, tables []string) error {
	for _, table := range tables {
		if table == "setting" {
			continue
		}
		_, key, err := im.columns(ctx, table)
		if err != nil {
			return err
		}
		if table == "event" { // both sides give the same numbers
			key = append(key, "source", "dedupe")
		}
		if err := im.allInSource(ctx, table, key); err != nil {
			return err
		}
	}
	return nil
}

func (im *importer) allInSource(ctx context.Context, table string, key []string) error {
	var quoted, equal []string
	for i, name := range key {
		quoted = append(quoted, pgx.Identifier{name}.Sanitize())
		equal = append(equal, fmt.Sprintf("%s = $%d", quote(name), i+1))
	}
	there, err := im.src.PrepareContext(ctx, `select exists (select 1 from `+quote(table)+` where `+strings.Join(equal, " and ")+`)`)
	if err != nil {
		return err
	}
	defer there.Close()
	rows, err := im.dst.Query(ctx, `select `+strings.Join(quoted, ", ")+` from `+pgx.Identifier{table}.Sanitize())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		var known bool
		if err := there.QueryRowContext(ctx, values...).Scan(&known); err != nil {
			return err
		}
		if !known {
			return fmt.Errorf("an import was interrupted, and the table %s has rows since (%s = %v) that the file lacks: a gateway has used the database. "+
				"Keep it and stop importing, or drop the database, create it again and run the import again", table, strings.Join(key, ", "), values)
		}
	}
	return rows.Err()
}

// unfinished returns an error if the database has a part of an import: running the import again
// would remove the events that a gateway acknowledged there.
func unfinished(ctx context.Context, conn *sql.Conn) error {
	var state string
	err := conn.QueryRowContext(ctx, `select value from setting where name = $1`, importSetting).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if source, running := strings.CutPrefix(state, "running "); running {
		return fmt.Errorf("an import from %s into this database was not finished: run the same gaff migrate --from … --to … again, "+
			"or drop the database and create it again", source)
	}
	return err
}

// besides leaves out rows that a new database has, and settings that are not copied.
func (im *importer) besides(table string) string {
	if table == "setting" {
		return `and name not in ('schema_needs', 'ready_at', '` + importSetting + `')`
	}
	return ""
}

// column is a column of a table.
type column struct {
	name string
	kind string // PostgreSQL's data_type
}

func (im *importer) columns(ctx context.Context, table string) (all []column, key []string, err error) {
	rows, err := im.dst.Query(ctx, `select column_name, data_type from information_schema.columns
		where table_schema = current_schema() and table_name = $1 order by ordinal_position`, table)
	if err != nil {
		return nil, nil, err
	}
	all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.kind)
		return c, err
	})
	if err != nil {
		return nil, nil, err
	}
	known, err := im.src.QueryContext(ctx, `select name, pk from pragma_table_info($1) order by pk`, table)
	if err != nil {
		return nil, nil, err
	}
	defer known.Close()
	have := map[string]bool{}
	for known.Next() {
		var name string
		var pk int
		if err := known.Scan(&name, &pk); err != nil {
			return nil, nil, err
		}
		if have[name] = true; pk > 0 {
			key = append(key, name)
		}
		if !slices.ContainsFunc(all, func(c column) bool { return c.name == name }) {
			return nil, nil, fmt.Errorf("the column %s is unknown to this version of gaff", name)
		}
	}
	all = slices.DeleteFunc(all, func(c column) bool { return !have[c.name] })
	return all, key, known.Err()
}

// progressEvery is the time between two lines of progress.
const progressEvery = 2 * time.Second

func (im *importer) table(ctx context.Context, table string) error {
	cols, key, err := im.columns(ctx, table)
	if err != nil {
		return err
	}
	var names, quoted []string
	for _, c := range cols {
		names, quoted = append(names, c.name), append(quoted, pgx.Identifier{c.name}.Sanitize())
	}
	var total int64
	filter := ` where true ` + im.besides(table)
	if err := im.src.QueryRowContext(ctx, `select count(*) from `+quote(table)+filter).Scan(&total); err != nil {
		return err
	}
	rows, err := im.src.QueryContext(ctx, `select `+strings.Join(quoted, ", ")+` from `+quote(table)+filter+` order by `+strings.Join(key, ", "))
	if err != nil {
		return err
	}
	defer rows.Close()
	source := &source{rows: rows, cols: cols, total: total, notify: func(n int64) {
		fmt.Fprintf(im.out, "%s: %d of %d\n", table, n, total)
	}}
	copied, err := im.dst.CopyFrom(ctx, pgx.Identifier{table}, names, source)
	if err != nil {
		return err
	}
	if err := rows.Err(); err != nil {
		return err
	}
	// Read back from PostgreSQL, and summed up.
	var sum sum
	back, err := im.dst.Query(ctx, `select `+strings.Join(quoted, ", ")+` from `+pgx.Identifier{table}.Sanitize()+filter)
	if err != nil {
		return err
	}
	defer back.Close()
	for back.Next() {
		values, err := back.Values()
		if err != nil {
			return err
		}
		sum.add(values)
	}
	if err := back.Err(); err != nil {
		return err
	}
	if copied != total || sum != source.sum {
		return fmt.Errorf("read %d rows (sum %x), PostgreSQL has %d (sum %x): not the same; is a gateway running on either?",
			source.sum.rows, source.sum.hash, sum.rows, sum.hash)
	}
	fmt.Fprintf(im.out, "%s: %d rows, sum %016x\n", table, sum.rows, sum.hash)
	return nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// numbers sets the sequences to the numbers after the copied ones.
func (im *importer) numbers(ctx context.Context) error {
	rows, err := im.dst.Query(ctx, `select table_name, column_name from information_schema.columns
		where table_schema = current_schema() and is_identity = 'YES'`)
	if err != nil {
		return err
	}
	type identity struct{ table, column string }
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (i identity, err error) {
		err = row.Scan(&i.table, &i.column)
		return i, err
	})
	if err != nil {
		return err
	}
	for _, i := range all {
		if _, err := im.dst.Exec(ctx, `select setval(pg_get_serial_sequence($1, $2), max(`+pgx.Identifier{i.column}.Sanitize()+`)) from `+
			pgx.Identifier{i.table}.Sanitize()+` having max(`+pgx.Identifier{i.column}.Sanitize()+`) is not null`, i.table, i.column); err != nil {
			return err
		}
	}
	_, err = im.dst.Exec(ctx, `select setval('event_seq', max(seq)) from event having max(seq) is not null`)
	return err
}

// source passes rows of SQLite to a COPY.
type source struct {
	rows   *sql.Rows
	cols   []column
	total  int64
	notify func(int64)
	told   time.Time
	sum    sum
	err    error
	row    []any
}

func (s *source) Next() bool {
	if s.err != nil || !s.rows.Next() {
		return false
	}
	row := make([]any, len(s.cols))
	into := make([]any, len(s.cols))
	for i := range row {
		into[i] = &row[i]
	}
	if s.err = s.rows.Scan(into...); s.err != nil {
		return false
	}
	for i, c := range s.cols {
		row[i] = fit(row[i], c.kind)
	}
	s.sum.add(row)
	s.row = row
	if s.told.IsZero() {
		s.told = time.Now()
	}
	if time.Since(s.told) > progressEvery {
		s.told = time.Now()
		s.notify(s.sum.rows)
	}
	return true
}

func (s *source) Values() ([]any, error) { return s.row, nil }
func (s *source) Err() error             { return errors.Join(s.err, s.rows.Err()) }

// fit converts a value of SQLite, where a column may have values of any type, into the column's
// type in PostgreSQL.
func fit(value any, kind string) any {
	switch v := value.(type) {
	case []byte:
		if v == nil { // the driver's form of an empty one
			v = []byte{}
			value = v
		}
		if kind == "text" {
			return fit(string(v), kind)
		}
	case string:
		if kind == "bytea" {
			return []byte(v)
		}
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return strings.ReplaceAll(strings.ToValidUTF8(v, "\ufffd"), "\x00", "\ufffd")
		}
	case int64:
		if kind == "double precision" {
			return float64(v)
		}
	case float64:
		if kind != "double precision" && v == math.Trunc(v) {
			return int64(v)
		}
	}
	return value
}

// sum counts rows and sums up their hashes, in any order.
type sum struct {
	rows int64
	hash uint64
}

func (s *sum) add(row []any) {
	h := fnv.New64a()
	var buf [9]byte
	field := func(kind byte, n uint64) {
		buf[0] = kind
		binary.BigEndian.PutUint64(buf[1:], n)
		h.Write(buf[:])
	}
	for _, value := range row {
		switch v := value.(type) {
		case nil:
			field('0', 0)
		case string:
			field('t', uint64(len(v)))
			_, _ = io.WriteString(h, v)
		case []byte:
			field('b', uint64(len(v)))
			h.Write(v)
		case int64:
			field('i', uint64(v))
		case int32:
			field('i', uint64(int64(v)))
		case int16:
			field('i', uint64(int64(v)))
		default:
			field('?', 0)
			fmt.Fprint(h, v)
		}
	}
	s.rows++
	s.hash += h.Sum64()
}
