package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"gaff"
	"gaff/internal/sqlstore"
)

const (
	// maxQuickCompact is the size, in bytes, up to which the database is rewritten without being
	// asked to: webhooks wait for some seconds at most, less than their senders do.
	maxQuickCompact = 128 << 20
	// compactRate is how many bytes a second a slow disk rewrites.
	compactRate = 32 << 20
	// memoryCompact is the size up to which the copy is made in memory.
	memoryCompact = 64 << 20
	// truncateTries bounds how often the log is emptied while a reader is in it.
	truncateTries = 5
)

// compact rewrites the database file without its free space, and empties the write-ahead log. No
// webhook is stored meanwhile, so a large database is compacted only if full is set.
//
// VACUUM copies all rows into fresh pages, so nothing deleted is left in the file.
func compact(ctx context.Context, conn *sql.Conn, path string, full bool) (c sqlstore.Compacted, err error) {
	began := time.Now()
	var pages, pageSize int64
	if err := conn.QueryRowContext(ctx, `pragma page_count`).Scan(&pages); err != nil {
		return c, explain(err)
	}
	if err := conn.QueryRowContext(ctx, `pragma page_size`).Scan(&pageSize); err != nil {
		return c, explain(err)
	}
	size := pages * pageSize
	if size > maxQuickCompact && !full {
		return c, fmt.Errorf("%w: the database has %d MiB: compacting it may take %s, and webhooks are answered 503 meanwhile (their senders retry): "+
			"compact in full at a quiet time, or stop the gateway and run gaff compact", gaff.ErrConflict, size>>20, (time.Duration(size/compactRate+1) * time.Second).String())
	}
	c.Before = diskSize(path)
	store := "memory"
	if size > memoryCompact {
		store = "file"
	}
	if _, err := conn.ExecContext(ctx, `pragma temp_store = `+store); err != nil {
		return c, explain(err)
	}
	_, err = conn.ExecContext(ctx, `vacuum`)
	if _, back := conn.ExecContext(context.WithoutCancel(ctx), `pragma temp_store = memory`); err == nil {
		err = back
	}
	if err != nil {
		return c, fmt.Errorf("compact: %w", explain(err))
	}
	if err := truncateLog(ctx, conn); err != nil {
		return c, err
	}
	c.After, c.Took = diskSize(path), time.Since(began)
	return c, nil
}

// truncateLog copies the whole write-ahead log into the database file, and empties it.
func truncateLog(ctx context.Context, conn *sql.Conn) error {
	for range truncateTries {
		var busy, pages, copied int
		if err := conn.QueryRowContext(ctx, `pragma wal_checkpoint(truncate)`).Scan(&busy, &pages, &copied); err != nil {
			return explain(err)
		}
		if busy == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: the database is compacted, but its write-ahead log is in use by a long query, and still has deleted rows: compact again", gaff.ErrConflict)
}

// diskSize is the size of the database file and its log.
func diskSize(path string) (size int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}
