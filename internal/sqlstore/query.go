package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/stale"
)

// readTime bounds every read: a reader that holds its snapshot for long keeps the
// write-ahead log from being reused.
const readTime = 10 * time.Second

func (s *Store) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, readTime,
		fmt.Errorf("%w: the query took longer than %s; narrow it down", gaff.ErrUnavailable, readTime))
}

// lists returns the database that answers a list or a search.
func (s *Store) lists(ctx context.Context) *sql.DB {
	if s.opt.Lists != nil && stale.Allowed(ctx) {
		if db := s.opt.Lists(); db != nil {
			return db
		}
	}
	return s.read
}

func (s *Store) fault(ctx context.Context, what string, err error) error {
	if err == nil || errors.Is(err, gaff.ErrNotFound) {
		return err // it names the missing row
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if !errors.Is(err, gaff.ErrInvalid) {
		err = s.opt.Dialect.Fault(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// snapshot are the options of a transaction whose queries see the same state.
func (s *Store) snapshot() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: s.opt.Dialect.Snapshot}
}

// predicate is a condition with a ? for each of its arguments.
type predicate struct {
	text string
	args []any
}

// where is a list of predicates, numbered as one statement.
type where struct {
	parts []string
	args  []any
}

// add appends a predicate; each ? in it becomes the number of the next argument.
func (w *where) add(text string, args ...any) {
	for _, arg := range args {
		w.args = append(w.args, arg)
		text = strings.Replace(text, "?", "$"+strconv.Itoa(len(w.args)), 1)
	}
	w.parts = append(w.parts, text)
}

// between bounds a column of times; a zero time bounds nothing.
func (w *where) between(column string, since, until time.Time) {
	if !since.IsZero() {
		w.add(column+" >= ?", micros(since))
	}
	if !until.IsZero() {
		w.add(column+" < ?", micros(until))
	}
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " where " + strings.Join(w.parts, " and ")
}

const (
	defaultLimit = 50
	maxLimit     = 500
)

// page reads the cursor: the seq of the last row of the former page.
func (w *where) page(column string, c gaff.Cursor) (limit int, err error) {
	limit = c.Limit
	switch {
	case limit == 0:
		limit = defaultLimit
	case limit < 0 || limit > maxLimit:
		return 0, fmt.Errorf("%w: limit %d is not between 1 and %d", gaff.ErrInvalid, limit, maxLimit)
	}
	if c.After != "" {
		seq, err := readCursor(c.After)
		if err != nil {
			return 0, err
		}
		w.add(column+" < ?", seq)
	}
	return limit, nil
}

func next[T any](items []T, limit int, seq func(T) int64) ([]T, string) {
	if len(items) <= limit {
		return items, ""
	}
	items = items[:limit]
	return items, writeCursor(seq(items[limit-1]))
}

// writeCursor names a place in a list: a number and three check digits. Without them any word
// could be read as a number, and would return arbitrary rows.
func writeCursor(n int64) string {
	sum := int64(crc32.ChecksumIEEE(strconv.AppendInt(nil, n, 10))) % (36 * 36 * 36)
	check := strconv.FormatInt(sum, 36)
	return strconv.FormatInt(n, 36) + strings.Repeat("0", 3-len(check)) + check
}

func readCursor(text string) (int64, error) {
	if len(text) > 3 {
		n, err := strconv.ParseInt(text[:len(text)-3], 36, 64)
		if err == nil && n >= 0 && writeCursor(n) == text {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown cursor %q; take it from nextCursor", gaff.ErrInvalid, excerpt.Text(text, 40))
}

// Like returns the pattern of texts that contain a text, for like … escape '\'.
func Like(text string) string { return contains(text) }

func contains(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// collect scans all rows of a query with scan.
func collect[T any](ctx context.Context, q querier, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, text, plainText(args)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, item)
	}
	return all, rows.Err()
}

func column[T any](ctx context.Context, q querier, text string, args ...any) ([]T, error) {
	return collect(ctx, q, func(rows *sql.Rows) (v T, err error) {
		err = rows.Scan(&v)
		return v, err
	}, text, args...)
}
