package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"gaff/internal/config"
)

// compact compacts the database of the running gateway.
func (p *process) compact(ctx context.Context, full bool) (before, after int64, note string, err error) {
	c, err := p.store.Compact(ctx, full)
	if err == nil {
		p.log.InfoContext(ctx, "database compacted", "before", c.Before, "after", c.After, "took", c.Took.String())
	}
	return c.Before, c.After, c.Note, err
}

// Compact compacts a database that no gateway has open.
func Compact(ctx context.Context, cfg *config.Config, full bool, out io.Writer) error {
	if cfg.DatabaseURL == "" {
		if err := mustExist(filepath.Join(cfg.DataDir, DatabaseFile)); err != nil {
			return err
		}
		full = true // no webhook waits
	}
	st, err := openStore(ctx, cfg, slog.New(slog.DiscardHandler), false)
	if err != nil {
		return err
	}
	c, err := st.Compact(ctx, full)
	if err := errors.Join(err, st.Close()); err != nil {
		return err
	}
	return PrintCompacted(out, c.Before, c.After, c.Note)
}

// PrintCompacted prints the result of a compaction.
func PrintCompacted(out io.Writer, before, after int64, note string) error {
	text := fmt.Sprintf("compacted: %d bytes, was %d\n", after, before)
	if note != "" {
		text += note + "\n"
	}
	_, err := io.WriteString(out, text)
	return err
}
