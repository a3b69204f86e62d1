package sqlstore

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// rowSQL is a statement that writes rows. It is declared once: PostgreSQL writes all rows of a
// batch by one statement over arrays, SQLite each by a statement of its own, since a call of
// SQLite costs no round trip.
type rowSQL struct {
	kinds []string // of the columns: text, bigint or bytea
	many  string   // for PostgreSQL; its parameters are arrays, one for each column
	one   string   // for PostgreSQL and one row; its parameters are the columns
	each  string   // for SQLite; a bare ? needs no search by name
	order []int    // the columns of each's parameters; nil if each column occurs once, in order
	// read is for SQLite the query of the columns that an update returns, and key has the columns
	// of its parameters.
	read string
	key  []int
}

// insertRows declares an insert into a table. columns is "name kind, name kind"; conflict is
// an on conflict clause, or empty.
func insertRows(table, columns, conflict string) rowSQL {
	names, kinds := columnsOf(columns)
	into := "insert into " + table + " (" + strings.Join(names, ", ") + ") "
	return rowSQL{
		kinds: kinds,
		many:  into + "select * from " + unnest(kinds, 1) + " " + conflict,
		one:   into + "values (" + parameters(len(names), "$") + ") " + conflict,
		each:  into + "values (" + parameters(len(names), "?") + ") " + conflict,
	}
}

// insertNewRows is insertRows for rows that are most likely new. Of several rows a conflict is
// an error, after which each is inserted alone: to search every unique index for conflicts
// costs more.
func insertNewRows(table, columns, conflict string) rowSQL {
	s := insertRows(table, columns, conflict)
	s.many = strings.TrimSuffix(s.many, conflict)
	return s
}

var (
	newColumn = regexp.MustCompile(`new\.(\w+)`)
	fromNew   = regexp.MustCompile(`\s+from new\b`)
)

// updateRows declares an update. Its text refers to the columns as new.name, and has "from
// new" before its condition, and "returning" before a list of columns, if there is one. Then key names
// the columns that find the row: SQLite reads the list by them after the update, if it is scanned. Its own
// returning takes as long as the update.
func updateRows(columns, text string, key ...string) rowSQL {
	names, kinds := columnsOf(columns)
	index := map[string]int{}
	for i, name := range names {
		index[name] = i
	}
	s := rowSQL{kinds: kinds}
	s.many = fromNew.ReplaceAllLiteralString(text, " from "+unnest(kinds, 1)+" with ordinality as new("+strings.Join(names, ", ")+", at)")
	s.many = strings.Replace(s.many, "returning ", "returning new.at - 1, ", 1)
	alone := fromNew.ReplaceAllLiteralString(text, "")
	s.one = newColumn.ReplaceAllStringFunc(alone, func(ref string) string {
		i := index[strings.TrimPrefix(ref, "new.")]
		return "$" + strconv.Itoa(i+1) + "::" + kinds[i]
	})
	if before, list, ok := strings.Cut(alone, "returning "); ok {
		alone = strings.TrimRight(before, " \t\n")
		table := strings.Fields(alone)[1]
		s.read = "select " + list + " from " + table + " where " + strings.Join(key, " = ? and ") + " = ?"
		for _, name := range key {
			s.key = append(s.key, index[name])
		}
	}
	s.each = newColumn.ReplaceAllStringFunc(alone, func(ref string) string {
		s.order = append(s.order, index[strings.TrimPrefix(ref, "new.")])
		return "?"
	})
	return s
}

// setNew sets every column to its new value.
func setNew(columns string) string {
	names, _ := columnsOf(columns)
	for i, name := range names {
		names[i] = name + " = new." + name
	}
	return strings.Join(names, ", ")
}

// columnsOf reads "name kind, name kind".
func columnsOf(text string) (names, kinds []string) {
	for column := range strings.SplitSeq(text, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(column), " ")
		names, kinds = append(names, name), append(kinds, kind)
	}
	return names, kinds
}

// parameters lists n parameters: numbered ones for "$", bare ones for "?".
func parameters(n int, sign string) string {
	list := make([]string, n)
	for i := range list {
		if list[i] = sign; sign == "$" {
			list[i] += strconv.Itoa(i + 1)
		}
	}
	return strings.Join(list, ", ")
}

// unnest makes rows of the arrays that are the parameters from first on.
func unnest(kinds []string, first int) string {
	list := make([]string, len(kinds))
	for i, kind := range kinds {
		list[i] = "$" + strconv.Itoa(first+i) + "::" + kind + "[]"
	}
	return "unnest(" + strings.Join(list, ", ") + ")"
}

// keyOf returns the parameters of read for a row.
func (s *rowSQL) keyOf(row []any) []any {
	key := make([]any, len(s.key))
	for i, column := range s.key {
		key[i] = row[column]
	}
	return key
}

// args returns the parameters of each for a row.
func (s *rowSQL) args(row []any) []any {
	if s.order == nil {
		return row
	}
	args := make([]any, len(s.order))
	for i, column := range s.order {
		args[i] = row[column]
	}
	return args
}

// arrays returns the parameters of many.
func (s *rowSQL) arrays(rows [][]any) ([]any, error) {
	args := make([]any, len(s.kinds))
	for c, kind := range s.kinds {
		var err error
		switch kind {
		case "bigint":
			args[c], err = bigints(rows, c)
		case "bytea":
			args[c], err = valuesOf[[]byte](rows, c)
		default:
			args[c], err = valuesOf[string](rows, c)
		}
		if err != nil {
			return nil, err
		}
	}
	return args, nil
}

// bigints returns a column of numbers: []int64, or []*int64 if one of them is null.
func bigints(rows [][]any, c int) (any, error) {
	numbers, err := valuesOf[int64](rows, c)
	if err != nil {
		return nil, err
	}
	var pointers []*int64
	for i, row := range rows {
		if row[c] == nil && pointers == nil {
			pointers = make([]*int64, len(rows))
			for j := range i {
				pointers[j] = &numbers[j]
			}
		}
		if row[c] != nil && pointers != nil {
			pointers[i] = &numbers[i]
		}
	}
	if pointers != nil {
		return pointers, nil
	}
	return numbers, nil
}

// valuesOf returns a column; a null is the zero value.
func valuesOf[T any](rows [][]any, c int) ([]T, error) {
	column := make([]T, len(rows))
	for i, row := range rows {
		value, ok := row[c].(T)
		if !ok && row[c] != nil {
			return nil, fmt.Errorf("column %d of a row is a %T, want %T", c+1, row[c], column[i])
		}
		column[i] = value
	}
	return column, nil
}

// placedRow has the returned columns of a row that was written.
type placedRow struct {
	row Row
	at  int // its place among the rows; -1 if that is the first column
}

// scan returns the row's place.
func (r placedRow) scan(dest ...any) (at int, err error) {
	if r.at >= 0 {
		return r.at, r.row.Scan(dest...)
	}
	err = r.row.Scan(append([]any{&at}, dest...)...)
	return at, err
}
