package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gaff/internal/sqlstore"
)

// Restore writes a database to path, which must not exist, and verifies it. ready is called with it
// before it gets its name: if ready fails, nothing is restored. Restore returns the number of events.
func Restore(ctx context.Context, r io.Reader, path string, ready func(*sqlstore.Reader) error) (events int64, err error) {
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if _, err := os.Lstat(name); err == nil {
			return 0, fmt.Errorf("%s is there: stop the gateway and move its data folder away first", name)
		}
	}
	part := path + ".restore"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	f, err := createPrivate(part)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if events, err = inspect(ctx, part); err != nil {
		return 0, err
	}
	reader, err := Reader(part)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(ready(reader), reader.Close()); err != nil {
		return 0, err
	}
	if err := os.Rename(part, path); err != nil {
		return 0, err
	}
	return events, syncFile(filepath.Dir(path))
}
